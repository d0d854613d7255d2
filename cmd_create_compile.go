// A program that is compiled and not run: for a listing, and because create wants to know whether it fits its memory
// before anything is made.
//
// Contract: no process, cgroup, descriptor or file is made.

package main

import (
	"os"
	"path"
	"slices"
)

// largeConfig is a size that no program can outgrow its memory for: a word of a
// list takes four bytes, and less than thirty operations.
const largeConfig = 128 << 10

// checkSize finds a program that outgrows its memory before anything is made: it
// compiles that of a large config and throws it away.
func (c *createPlan) checkSize() error {
	if len(c.raw) < largeConfig {
		return nil
	}
	plan := *c.init
	plan.mounts, plan.namespaces = slices.Clone(plan.mounts), readNamespaces(c.spec.Linux.Namespaces)
	if plan.cgroup = c.expectCgroup(); plan.cgroup == nil {
		plan.cgroup = &cgroup{}
	}
	compiler, err := (&createPlan{g: c.g, opts: c.opts, facts: c.facts, spec: c.spec, init: &plan}).compile(nil)
	if err == nil {
		compiler.close()
	}
	return err
}

// compile writes the init's program. Nothing will run it.
func (c *createPlan) compile(g *guest) (*initCompiler, error) {
	program, err := listedProgram(c.facts)
	if err != nil {
		return nil, err
	}
	p, done := newInitCompiler(program, c.init), false
	defer func() { // an error, or the panic of a program that outgrows its memory
		if !done {
			p.close()
		}
	}()
	if err := p.writeInit(0, &treeMaker{plan: c.init}, nil); err != nil {
		return nil, err
	}
	if c.init.noPivot {
		p.host = hostTable{mounts: []string{slot("each mount on the root of the host")}, bare: []string{slot("each whole procfs and sysfs of the host")}}
	}
	if g == nil {
		p.writeFinish(slot("executable"), slotHome(c.spec.Process.Env))
	} else if err := c.writeListedGuest(p, g); err != nil {
		return nil, err
	}
	done = true
	return p, nil
}

// expectCgroup is the cgroup that create would make, for explain; nil where it would make none.
func (c *createPlan) expectCgroup() *cgroup {
	inner, unit, err := wantedCgroup(c.opts.id, c.spec, c.g.systemdCgroup)
	if err != nil {
		return nil // explain does not explain cgroups
	}
	host, err := c.facts.cgroups(!path.IsAbs(inner))
	if err != nil {
		return nil
	}
	group := placeCgroup(host, inner)
	group.setUnit(unit)
	return group
}

// writeListedGuest writes the part of a guest.
func (c *createPlan) writeListedGuest(p *initCompiler, g *guest) error {
	jail, err := c.planJail(g, p, os.Getpid())
	if err != nil {
		return err
	}
	self := slot("runh")
	if err := p.cloneGuestHost(jail, self); err != nil {
		return err
	}
	return p.writeGuest(g, c.g, jail, &guestFiles{self: self, files: filesOf(jail), log: c.g.log != "", late: jail.late && c.networkAtStart(g.vm)})
}

// slotHome is an environment in which only HOME can be missing.
func slotHome(env []string) []string {
	if lookEnv(env, "HOME") != "" {
		return env
	}
	return append(append([]string(nil), env...), slot("HOME of /etc/passwd"))
}
