// create, from the parent's side: everything between the command line and a
// container that waits for start, in order, and the way back from each step.
// cmd_run.go continues from here.

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// creation is a create under way: the plan, the program that is made of it, and the
// process that runs the program. undo has a way back for each thing made so far.
type creation struct {
	plan      *createPlan
	compiler  *initCompiler
	session   *session
	container *container
	restored  int // the first process, if criu has made it

	master    int  // the terminal's master, or -1
	hooked    bool // hooks have begun to run: a failure ends with the poststop ones
	undo      []func()
	trees     treeMaker
	launching int // connection to a VMM that has been given its network, 0: none

	qemu *qemuFiles // of a Hermit container, locked until its QEMU runs
}

func cmdCreate(g *globals, args []string) error {
	opts, err := parseCreate(args)
	if err != nil {
		return err
	}
	g.takeSignals(false)
	c, err := create(g, opts, nil, true)
	if err != nil {
		return err
	}
	c.release()
	return nil
}

// create makes the container. detached says that nobody of ours will be there
// to serve a terminal. from is what a guest goes on from, nil: it boots.
func create(g *globals, opts createOptions, from *savedGuest, detached bool) (*creation, error) {
	// The init dies with this thread until it is armed.
	runtime.LockOSThread()
	p := &createPlan{g: g, opts: opts, facts: thisHost(), from: from}
	c := &creation{plan: p, master: -1}
	if err := c.take(
		p.readBundle,
		func() error { return p.checkTerminal(detached) },
		p.checkSize,
		c.claim,
		c.makeBirthplace,
		c.startInit,
		c.makeCgroup,
		c.runSetup,
		c.runFinish,
		c.record,
		c.wakeKeeper,
		c.arm,
		c.limitCPU,
	); err != nil {
		return nil, err
	}
	g.tellLosses()
	return c, nil
}

// take goes through the steps. Whatever ends it early, an error, a signal or a
// panic, what has been made is undone.
func (c *creation) take(steps ...func() error) (err error) {
	done := false
	defer func() {
		if !done {
			c.rollback()
		}
	}()
	for _, step := range steps {
		err := withinProgram(step)
		if cancelled := c.plan.g.signals.cancelled(); cancelled != nil {
			err = cancelled // whatever a step has made of that
		}
		if err != nil {
			return err
		}
	}
	done = true
	return nil
}

// rollback undoes what has been done, last first.
func (c *creation) rollback() {
	for len(c.undo) > 0 {
		last := len(c.undo) - 1
		c.undo[last]()
		c.undo = c.undo[:last]
	}
	if c.hooked {
		c.container.runPoststop(c.plan.g, c.plan.spec)
	}
}

func (c *creation) onFailure(f func()) { c.undo = append(c.undo, f) }

// release gives back what only the parent held; the container stays.
func (c *creation) release() {
	if c.master >= 0 {
		unix.Close(c.master)
		c.master = -1
	}
	c.trees.maps.close()
	c.session.close()
	c.compiler.close()
	c.container.close()
}

// child is the container's first process; 0: there is none yet.
func (c *creation) child() int {
	if c.session != nil {
		return c.session.child
	}
	return c.restored
}

// claim takes the ID, and leaves enough on disk for `delete --force` to undo
// whatever follows, should this process be killed.
func (c *creation) claim() error {
	if err := c.plan.g.signals.begin(); err != nil {
		return err
	}
	made, err := claimContainer(c.plan.g, c.plan.opts.id)
	if err != nil {
		return err
	}
	c.container = made
	c.container.saved, c.plan.takeTemplate = c.plan.from, made.takeTemplate
	c.onFailure(func() {
		c.container.uncover()
		c.container.remove()
		c.container.close()
	})
	made.OCIVersion = specs.Version
	made.Bundle, made.Rootfs = c.plan.opts.bundle, c.plan.init.rootfs
	made.Kind = "linux"
	made.Holder = os.Getpid()
	made.CallersKeyring = c.plan.opts.noNewKeyring
	made.Owner = ownerName(os.Geteuid())
	made.Annotations = c.plan.spec.Annotations
	c.expectHostMounts()
	if err := c.shareNotify(); err != nil {
		return err
	}
	devices, err := c.plan.expectGuest()
	if err != nil {
		return err
	}
	c.plan.init.cgroup, err = newCgroup(c.plan.opts.id, c.plan.spec, c.plan.g.systemdCgroup, c.plan.g.withoutCgroups(), devices)
	if err != nil {
		return err
	}
	made.Cgroup = c.plan.init.cgroup.state()
	if r := c.plan.spec.Linux.IntelRdt; r != nil {
		if made.Rdt, err = makeRdt(resctrlRoot, made.ID, r); err != nil {
			return err
		}
		c.onFailure(func() { made.Rdt.remove() })
	}
	if err := made.save(); err != nil {
		return err
	}
	// After the record: see half.
	return writeFile(filepath.Join(made.dir, "config.json"), c.plan.raw, 0o600)
}

// makeBirthplace makes the cgroup as far as the init must be born in it.
func (c *creation) makeBirthplace() error {
	if err := c.plan.init.cgroup.createBirthplace(); err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	c.onFailure(func() {
		c.plan.init.cgroup.destroy()
		c.plan.init.cgroup.unmake()
	})
	c.container.Cgroup = c.plan.init.cgroup.state() // what could be had, which record saves
	return nil
}

// makeCgroup makes the v1 hierarchies, while the init builds its file system,
// and lets it in. Where systemd waits for the init's fork, enterLate calls it again.
func (c *creation) makeCgroup() error {
	group := c.plan.init.cgroup
	if group.v1Places() == 0 || group.pending() {
		return nil
	}
	var tasks []*os.File
	err := group.createRest()
	if err == nil {
		tasks, err = group.joinFDs()
	}
	if err != nil {
		if _, gone := processStart(c.child()); gone != nil {
			return nil // systemd takes a scope away with its last process
		}
		return fmt.Errorf("cgroup: %w", err)
	}
	var fds []int
	for _, t := range tasks {
		defer t.Close()
		fds = append(fds, int(t.Fd()))
	}
	// An init that is dead by now has left its reason, which runSetup reads.
	_ = c.session.send(fds)
	return nil
}

// startInit writes the program up to the mounts and starts it.
func (c *creation) startInit() error {
	p := c.plan.init
	program, err := newProgram(c.plan.facts, 0, 1, 2)
	if err != nil {
		return err
	}
	c.compiler = newInitCompiler(program, p)
	c.onFailure(c.compiler.close)
	p.namespaces = readNamespaces(c.plan.spec.Linux.Namespaces)
	defer p.namespaces.close()
	if err := c.plan.facts.namespaces(&p.namespaces); err != nil {
		return err
	}
	p.namespaces.built = c.plan.facts.built(&p.namespaces, p.rootfs)
	c.trees = treeMaker{plan: p, facts: c.plan.facts, signals: c.container.signals}
	if err := c.compiler.writeInit(listenFDs()+min(c.plan.opts.preserveFds, math.MaxInt32), &c.trees, c.listen); err != nil {
		return err
	}
	c.session, err = startSession(program, c.container.signals, birth{p.bornIn(), p.cgroup, c.plan.spec.Process.OOMScoreAdj, c.plan.g.warnf})
	if c.session != nil {
		c.onFailure(func() {
			c.session.end(killTime)
			p.cgroup.killAll(unix.SIGKILL)
			c.session.close()
		})
	}
	return err
}

// listen makes the start socket. Its directory may have a path too long for a
// socket's address, so it is named by descriptor.
func (c *creation) listen() (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	name := fmt.Sprintf("/proc/self/fd/%d/start.sock", c.container.lock.Fd())
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: name})
	if err == nil {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("start socket: %w", err)
	}
	return fd, nil
}

// writePidFile writes the number without a newline, and all at once: callers
// read it the moment it appears.
func writePidFile(path string, pid int) error {
	if err := writeFile(path, []byte(strconv.Itoa(pid)), 0o666); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}

// limitCPU is the last step of create.
func (c *creation) limitCPU() error {
	err := c.plan.init.cgroup.limits.applyCPU(c.plan.init.cgroup)
	if errors.Is(err, fs.ErrNotExist) {
		if _, gone := processStart(c.child()); gone != nil {
			return nil // systemd takes a scope away with its last process
		}
	}
	if err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	return nil
}
