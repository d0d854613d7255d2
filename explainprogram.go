// explain --program: the programs that create, and an exec, would have run, as a
// listing (listing.go). They are written by the functions that create and exec
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

func planProgram(g *globals, o *explainOptions, facts *hostFacts) (*creation, error) {
	facts.env, facts.cpu = listedEnv, listedCPU
	c := &creation{g: g, facts: facts, master: -1, child: os.Getpid()}
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
func (c *creation) explainGuest() (*guest, error) {
	root, err := unix.Open(c.init.rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("rootfs %s: %w", c.init.rootfs, err)
	}
	defer unix.Close(root)
	return c.findGuest(root)
}

// list adds the programs of a creation that has been planned. g is the guest, if it is one.
func (c *creation) list(l *listing, g *guest, o *explainOptions) error {
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
func (c *creation) lookAtNamespaces(l *listing) {
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
func (c *creation) listInit(l *listing, g *guest) error {
	done, err := c.compile(g)
	defer done()
	if err == nil {
		l.Parts = append(l.Parts, newLister(c.init.program, c.init.given, false).part("the container's init", c.birth()))
	}
	return err
}

// compile writes the init's program into ordinary memory, which done gives back.
func (c *creation) compile(g *guest) (done func(), err error) {
	p := c.init
	if p.stub, err = listedStub(c.facts); err != nil {
		return func() {}, err
	}
	done = func() {
		p.close()
		for _, fd := range c.closers {
			unix.Close(fd)
		}
	}
	if err := c.writeInit(0); err != nil {
		return done, err
	}
	if p.noPivot {
		p.host = hostTable{mounts: []string{slot("each mount on the root of the host")}, bare: []string{slot("each whole procfs and sysfs of the host")}}
	}
	if g != nil {
		return done, c.writeListedGuest(g)
	}
	p.writeFinish(slot("executable"), slotHome(c.spec.Process.Env))
	return done, nil
}

// slotHome is an environment in which only HOME can be missing.
func slotHome(env []string) []string {
	if lookEnv(env, "HOME") != "" {
		return env
	}
	return append(append([]string(nil), env...), slot("HOME of /etc/passwd"))
}

// birth says how the init begins.
func (c *creation) birth() string {
	s := "fork and execve of the interpreter"
	if flags := c.init.bornIn(); flags != 0 {
		s += ", with " + showFlags(uint64(flags), cloneWords)
	}
	return s + bornInCgroup(c.init.cgroup, c.init.forks)
}

func bornInCgroup(group *cgroup, forks bool) string {
	if group.v2Place() != "" && !forks && !group.pending() {
		return ", with CLONE_INTO_CGROUP"
	}
	return ""
}

// writeListedGuest writes the part of a guest.
func (c *creation) writeListedGuest(g *guest) error {
	jail, err := c.planJail(g)
	if err != nil {
		return err
	}
	self := slot("runh")
	if err := c.cloneGuestHost(jail, self); err != nil {
		return err
	}
	return c.writeGuest(g, jail, &guestFiles{self: self, files: filesOf(jail), log: c.g.log != "", late: jail.late && c.networkAtStart(g.vm)})
}

// listMaps lists the process that holds the maps of an id-mapped mount, once for all of them.
func (c *creation) listMaps(l *listing) error {
	for _, m := range c.init.mounts {
		if !m.idmap || len(m.uids) == 0 && c.init.namespaces.joins(unix.CLONE_NEWUSER) {
			continue
		}
		s, err := listedStub(c.facts)
		if err != nil {
			return err
		}
		defer s.close()
		s.writeMapNamespace()
		l.Parts = append(l.Parts, newLister(s.program, s.given, false).part("the maps of an id-mapped mount, for each pair of maps", "fork and execve of the interpreter"))
		return nil
	}
	return nil
}

// listHooks lists the hooks in the order in which they run; those that are processes of the container's come last.
func (c *creation) listHooks(l *listing) error {
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
		e.process = &process
		if err := c.listProcess(l, e, fmt.Sprintf("startContainer hook #%d", i)); err != nil {
			return err
		}
	}
	return nil
}

func (c *creation) listHook(l *listing, r *hookRun, h *specs.Hook, n int) error {
	s, err := listedStub(c.facts)
	if err != nil {
		return err
	}
	defer s.close()
	s.given = append([]string{"the state", "output", "output"}, s.given[3:]...)
	if _, err := r.write(s, h, c.joinFlags()); err != nil {
		return err
	}
	l.Parts = append(l.Parts, newLister(s.program, s.given, true).part(fmt.Sprintf("%s hook #%d", r.kind, n), "fork and execve of the interpreter"))
	return nil
}

// joinFlags are the namespaces in which the container's processes differ from runh.
func (c *creation) joinFlags() uint64 {
	n := &c.init.namespaces
	flags := n.create
	for _, j := range n.join {
		flags |= j.flag
	}
	return flags
}

// listExec lists an exec into the container.
func (c *creation) listExec(l *listing, file string) error {
	e := newExecution(execOptions{id: c.opts.id, process: file, detach: true})
	var err error
	if file == "" {
		e.process = c.spec.Process
	} else if e.process, err = e.opts.readProcess(c.spec.Process); err != nil {
		return err
	}
	return c.listProcess(l, e, "exec")
}

func (c *creation) listProcess(l *listing, e *execution, name string) error {
	defer func() {
		if e.stub != nil {
			e.close()
		}
	}()
	if err := c.compileProcess(e); err != nil {
		return err
	}
	born := "fork and execve of the interpreter" + bornInCgroup(c.init.cgroup, e.forks)
	if a := e.process.ExecCPUAffinity; a != nil && a.Initial != "" {
		born += ", on CPUs " + strings.TrimSpace(a.Initial)
	}
	l.Parts = append(l.Parts, newLister(e.program, e.given, true).part(name, born))
	return nil
}

// compileProcess writes the program of a process that is added to the container, into ordinary memory.
func (c *creation) compileProcess(e *execution) (err error) {
	if err := e.plan(c.g, c.opts.id, c.spec, !c.opts.noNewKeyring, c.facts); err != nil {
		return err
	}
	if e.stub, err = listedStub(c.facts); err != nil {
		return err
	}
	c.init.cgroup.unit = nil // by then it is a cgroup like others
	in := &execTarget{pid: 1, pidfd: -1, root: -1, flags: c.joinFlags(), group: c.init.cgroup}
	for range in.group.v1Places() {
		in.tasks = append(in.tasks, -1)
	}
	env := slotHome(e.process.Env)
	if e.hook != nil {
		env = hookEnv(e.hook, env)
	}
	_, err = e.writeExec(in, slot("executable"), env)
	return err
}
