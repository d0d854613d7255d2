// explain --program: the programs that create, and an exec, would have run, as a
// listing (explain_listing.go). They are written by the functions that create and exec
// use, into ordinary memory, and nothing runs them: no process, cgroup, mount,
// descriptor or file is made, and no privilege is needed. What is known only
// while a container is made stands there by name.

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// explainOptions are the flags of explain. All but the first two are for --program.
type explainOptions struct {
	bundle, format        string
	program, exec         bool
	process               string // a file as exec takes it, "" for the container's own process
	noPivot, noNewKeyring bool
}

// check refuses flags that have no effect.
func (o *explainOptions) check() error {
	switch {
	case o.process != "" && !o.exec:
		return errors.New("flag --process is for --exec")
	case o.exec && !o.program:
		return errors.New("flag --exec is for --program")
	case (o.noPivot || o.noNewKeyring) && !o.program:
		return errors.New("flags --no-pivot and --no-new-keyring are for --program")
	}
	return oneOf("format", o.format, "text", "json")
}

// explainProgram is the whole of `explain --program`.
func explainProgram(g *globals, o *explainOptions) (*listing, error) {
	l := &listing{Notes: []string{fmt.Sprintf("the container's id is %q here, for it has none yet", explainID)}}
	c, err := planProgram(g, o, thisHost())
	if err != nil && os.Geteuid() != 0 {
		// The config may be one that only root can run, and the reader somebody who audits it.
		var asRoot error
		if c, asRoot = planProgram(g, o, rootOf(thisHost())); asRoot == nil {
			l.Notes = append(l.Notes, fmt.Sprintf("this is the listing of root: an ordinary user's create ends with: %v", err))
			err = nil
		}
	}
	if err != nil {
		return nil, err
	}
	c.facts.directory = l.assumeDirectory(c.facts.directory)
	c.init.cgroup = c.expectCgroup()
	guest, err := c.explainGuest()
	if err != nil {
		return nil, err
	}
	if guest != nil {
		defer guest.close()
	}
	return l, c.list(l, guest, o)
}

func planProgram(g *globals, o *explainOptions, facts *hostFacts) (*createPlan, error) {
	facts.qemu, facts.cpu = listedQEMUFiles, listedCPU
	c := &createPlan{g: g, facts: facts}
	c.opts = createOptions{bundle: o.bundle, id: explainID, noPivot: o.noPivot, noNewKeyring: o.noNewKeyring}
	return c, c.readBundle()
}

// rootOf is the same host, as root sees it.
func rootOf(facts *hostFacts) *hostFacts {
	facts.user = func() int { return 0 }
	facts.held = func() uint64 { return 1<<len(capabilityNames) - 1 }
	return facts
}

// assumeDirectory lets a listing go on where the source of a mount cannot be looked at: on another host than the bundle's.
func (l *listing) assumeDirectory(look func(string) (bool, error)) func(string) (bool, error) {
	return func(path string) (bool, error) {
		directory, err := look(path)
		if err != nil {
			l.Notes = append(l.Notes, fmt.Sprintf("%v: the listing takes it for a directory", err))
			return true, nil
		}
		return directory, nil
	}
}

// explainGuest is the guest that create would find, as far as the rootfs shows it without the mounts.
func (c *createPlan) explainGuest() (*guest, error) {
	root, err := unix.Open(c.init.rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("rootfs %s: %w", c.init.rootfs, err)
	}
	defer unix.Close(root)
	return c.findGuest(root, os.Getpid())
}

// list adds the programs of a creation that has been planned. g is the guest, if it is one.
func (c *createPlan) list(l *listing, g *guest, o *explainOptions) error {
	l.Bundle, l.Kind = c.opts.bundle, "linux"
	if g != nil {
		l.Kind = "hermit"
	}
	if c.init.cgroup == nil {
		c.init.cgroup = &cgroup{}
		l.Notes = append(l.Notes, "the host's cgroups cannot be found: the listing has none")
	}
	if hasNewUsers(c.spec) && len(c.spec.Process.User.AdditionalGids) > 0 {
		l.Notes = append(l.Notes, "if the user namespace denies setgroups, create leaves process.user.additionalGids out")
	}
	return withinProgram(func() error {
		p := c.init
		p.namespaces = readNamespaces(c.spec.Linux.Namespaces)
		defer p.namespaces.close()
		c.lookAtNamespaces(l)
		if o.exec {
			return c.listExec(l, o.process)
		}
		if err := c.listInit(l, g); err != nil {
			return err
		}
		if err := c.listMaps(l); err != nil {
			return err
		}
		return c.listHooks(l)
	})
}

// lookAtNamespaces opens those to join, where that is possible: their owners decide over the order.
func (c *createPlan) lookAtNamespaces(l *listing) {
	n := &c.init.namespaces
	if len(n.join) == 0 {
		return
	}
	if err := c.facts.namespaces(n); err != nil {
		l.Notes = append(l.Notes, fmt.Sprintf("%v: the listing takes the namespaces to join for the host's", err))
		return
	}
	n.built = c.facts.built(n, c.init.rootfs)
}

// listInit lists the container's init, up to the program or the keeper.
func (c *createPlan) listInit(l *listing, g *guest) error {
	compiler, err := c.compile(g)
	if err != nil {
		return err
	}
	defer compiler.close()
	l.add(compiler.program, false, "the container's init", c.birth(compiler.forks))
	return nil
}

const plainBirth = "fork and execve of the interpreter"

// birth says how the init begins.
func (c *createPlan) birth(forks bool) string {
	s := plainBirth
	if flags := c.init.bornIn(); flags != 0 {
		s += ", with " + showFlags(uint64(flags), cloneWords)
	}
	return s + bornInCgroup(c.init.cgroup, forks)
}

func bornInCgroup(group *cgroup, forks bool) string {
	if group.v2Place() != "" && !forks && !group.pending() {
		return ", with CLONE_INTO_CGROUP"
	}
	return ""
}

// listMaps lists the process that holds the maps of an id-mapped mount, once for all of them.
func (c *createPlan) listMaps(l *listing) error {
	for _, m := range c.init.mounts {
		if !m.idmap || len(m.uids) == 0 && c.init.namespaces.joins(unix.CLONE_NEWUSER) {
			continue
		}
		p, err := listedProgram(c.facts)
		if err != nil {
			return err
		}
		defer p.close()
		p.writeMapNamespace()
		l.add(p, false, "the maps of an id-mapped mount, for each pair of maps", plainBirth)
		return nil
	}
	return nil
}

// listHooks lists the hooks in the order in which they run; those that are processes of the container's come last.
func (c *createPlan) listHooks(l *listing) error {
	h := c.spec.Hooks
	if h == nil {
		return nil
	}
	r := hookRun{cwd: c.opts.bundle, tied: true}
	list := func(kind string, hooks []specs.Hook) error {
		r.kind = kind
		for i := range hooks {
			if err := c.listHook(l, &r, &hooks[i], i); err != nil {
				return err
			}
		}
		return nil
	}
	//lint:ignore SA1019 Docker before 28 sets up its network in a prestart hook.
	err := errors.Join(list("prestart", h.Prestart), list("createRuntime", h.CreateRuntime))
	r.cwd, r.join = c.init.rootfs, 1
	err = errors.Join(err, list("createContainer", h.CreateContainer))
	r.cwd, r.join, r.tied = c.opts.bundle, 0, false
	err = errors.Join(err, list("poststart", h.Poststart))
	r.gone = true // the bundle may be
	if err = errors.Join(err, list("poststop", h.Poststop)); err != nil {
		return err
	}
	for i := range c.spec.Hooks.StartContainer {
		e := newExecution(execOptions{id: c.opts.id, detach: true})
		e.hook = &c.spec.Hooks.StartContainer[i]
		process := *c.spec.Process
		process.Args, process.Terminal, process.ConsoleSize, process.ExecCPUAffinity = hookArgs(e.hook), false, nil, nil
		e.plan.process = &process
		if err := c.listProcess(l, e, fmt.Sprintf("startContainer hook #%d", i)); err != nil {
			return err
		}
	}
	return nil
}

func (c *createPlan) listHook(l *listing, r *hookRun, h *specs.Hook, n int) error {
	p, err := listedProgram(c.facts)
	if err != nil {
		return err
	}
	defer p.close()
	if err := r.write(p, h, c.joinFlags()); err != nil {
		return err
	}
	l.add(p, true, fmt.Sprintf("%s hook #%d", r.kind, n), plainBirth)
	return nil
}

// joinFlags are the namespaces in which the container's processes differ from runh.
func (c *createPlan) joinFlags() uint64 {
	n := &c.init.namespaces
	flags := n.create
	for _, j := range n.join {
		flags |= j.flag
	}
	return flags
}

// listExec lists an exec into the container.
func (c *createPlan) listExec(l *listing, file string) error {
	e := newExecution(execOptions{id: c.opts.id, process: file, detach: true})
	var err error
	if file == "" {
		e.plan.process = c.spec.Process
	} else if e.plan.process, err = e.opts.readProcess(c.spec.Process); err != nil {
		return err
	}
	return c.listProcess(l, e, "exec")
}

func (c *createPlan) listProcess(l *listing, e *execution, name string) error {
	p, err := c.compileProcess(e)
	if err != nil {
		return err
	}
	defer p.close()
	born := plainBirth + bornInCgroup(c.init.cgroup, p.sibling != 0)
	if a := e.plan.process.ExecCPUAffinity; a != nil && a.Initial != "" {
		born += ", on CPUs " + strings.TrimSpace(a.Initial)
	}
	l.add(p, true, name, born)
	return nil
}

// compileProcess writes the program of a process that is added to the container.
func (c *createPlan) compileProcess(e *execution) (*program, error) {
	if err := e.decide(c.g, c.opts.id, c.spec, !c.opts.noNewKeyring, c.facts); err != nil {
		return nil, err
	}
	c.init.cgroup.unit = nil // by then it is a cgroup like others
	in := &execTarget{pid: 1, pidfd: -1, root: -1, flags: c.joinFlags(), group: c.init.cgroup, file: e.file(), preserve: e.opts.preserveFds}
	for range in.group.v1Places() {
		in.tasks = append(in.tasks, -1)
	}
	env := slotHome(e.plan.process.Env)
	if e.hook != nil {
		env = hookEnv(e.hook, env)
	}
	p, err := listedProgram(c.facts)
	if err != nil {
		return nil, err
	}
	compiler := processCompiler{program: p, plan: &e.plan}
	if err := compiler.writeExec(in, slot("executable"), env); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}
