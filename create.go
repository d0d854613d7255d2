// create, from the parent's side: everything between the command line and a
// container that waits for start, in order, and the way back from each step.
// run.go continues from here.

package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// creation is a create under way. undo lists what has been made so far.
type creation struct {
	g     *globals
	opts  createOptions
	facts *hostFacts
	*container
	spec *specs.Spec
	raw  []byte // config.json

	init   *initPlan
	child  int // the pid to wait for, once there is one
	master int // the terminal's master, or -1
	hermit *hermitOptions
	from   *savedGuest // restore: the guest goes on from it
	hooked bool        // hooks have begun to run: a failure ends with the poststop ones
	undo   []func()

	maps      idMaps // for id-mapped mounts
	closers   []int  // descriptors to close in the end
	launching int    // connection to a VMM that has been given its network, 0: none

	env *hermitEnv // of a Hermit container, locked until its QEMU runs
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
	c := &creation{g: g, opts: opts, facts: thisHost(), from: from, master: -1}
	if err := c.take(
		c.readBundle,
		func() error { return c.checkTerminal(detached) },
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
		if cancelled := c.g.signals.cancelled(); cancelled != nil {
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
		c.runPoststop(c.g, c.spec)
	}
}

func (c *creation) onFailure(f func()) { c.undo = append(c.undo, f) }

// release gives back what only the parent held; the container stays.
func (c *creation) release() {
	if c.master >= 0 {
		unix.Close(c.master)
		c.master = -1
	}
	for _, fd := range c.closers {
		unix.Close(fd)
	}
	c.closers = nil
	c.maps.close()
	c.init.close()
	c.container.close()
}

// readBundle reads and checks everything that can be wrong before anything is
// made.
func (c *creation) readBundle() error {
	if c.opts.bundle == "" {
		c.opts.bundle = "."
	}
	bundle, err := filepath.Abs(c.opts.bundle)
	if err != nil {
		return err
	}
	c.opts.bundle = bundle
	spec, raw, err := loadSpec(bundle)
	if err != nil {
		return err
	}
	if err := checkSpec(spec); err != nil {
		return err
	}
	if spec.Linux == nil {
		spec.Linux = &specs.Linux{}
	}
	if spec.Linux.IntelRdt != nil {
		if err := needResctrl(); err != nil {
			return err
		}
	}
	rootfs, err := rootfsPath(bundle, spec)
	if err != nil {
		return err
	}
	if err := checkOrdinaryUser(spec, c.facts); err != nil {
		return err
	}
	c.spec = spec
	p := &initPlan{spec: spec, rootfs: rootfs, noPivot: c.opts.noPivot}
	p.owned = c.facts.user() != 0 && hasNewUsers(spec)
	p.id, p.process, p.linux, p.newKeyring = c.opts.id, spec.Process, spec.Linux, !c.opts.noNewKeyring
	c.init = p
	if err := c.checkHostMounts(); err != nil {
		return err
	}
	for _, m := range spec.Mounts {
		r, err := readMount(m, bundle)
		if err != nil {
			return err
		}
		r.inRootfs(rootfs, spec, bundle)
		p.mounts = append(p.mounts, r)
	}
	if c.facts.selinux() && spec.Linux.MountLabel != "" {
		labelMounts(p.mounts, spec.Linux.MountLabel)
	}
	if err := checkLabels(spec.Process, c.facts); err != nil {
		return err
	}
	if p.devices, err = specDevices(spec.Linux.Devices); err != nil {
		return err
	}
	p.caps = readCapabilities(spec.Process.Capabilities, heldCapabilities(spec, c.facts), c.g.lossf)
	if p.seccomp, err = readSeccomp(spec, c.g.debugf); err != nil {
		return err
	}
	c.raw = raw
	if c.opts.id != explainID { // which leaves nothing
		c.g.keepConfig(c.opts.id, raw)
	}
	return nil
}

// checkTerminal: a terminal needs somebody who has its other end.
func (c *creation) checkTerminal(detached bool) error {
	terminal := c.spec.Process.Terminal
	switch {
	case terminal && detached && c.opts.consoleSocket == "":
		return errors.New("cannot allocate tty if runh will detach without setting console socket")
	case c.opts.consoleSocket != "" && !(terminal && detached):
		return errors.New("cannot use console socket if runh will not detach or allocate tty")
	}
	return nil
}

// claim takes the ID, and leaves enough on disk for `delete --force` to undo
// whatever follows, should this process be killed.
func (c *creation) claim() error {
	if err := c.g.signals.begin(); err != nil {
		return err
	}
	made, err := claimContainer(c.g, c.opts.id)
	if err != nil {
		return err
	}
	c.container = made
	c.saved = c.from
	c.onFailure(func() {
		c.uncover()
		c.container.remove()
		c.container.close()
	})
	made.OCIVersion = specs.Version
	made.Bundle, made.Rootfs = c.opts.bundle, c.init.rootfs
	made.Kind = "linux"
	made.Holder = os.Getpid()
	made.CallersKeyring = c.opts.noNewKeyring
	made.Owner = ownerName(os.Geteuid())
	made.Annotations = c.spec.Annotations
	c.expectHostMounts()
	if err := c.shareNotify(); err != nil {
		return err
	}
	devices, err := c.expectGuest()
	if err != nil {
		return err
	}
	c.init.cgroup, err = newCgroup(c.opts.id, c.spec, c.g.systemdCgroup, c.g.withoutCgroups(), devices)
	if err != nil {
		return err
	}
	made.Cgroup = c.init.cgroup.state()
	if r := c.spec.Linux.IntelRdt; r != nil {
		if made.Rdt, err = makeRdt(resctrlRoot, made.ID, r); err != nil {
			return err
		}
		c.onFailure(func() { made.Rdt.remove() })
	}
	if err := made.save(); err != nil {
		return err
	}
	// After the record: see half.
	return writeFile(filepath.Join(made.dir, "config.json"), c.raw, 0o600)
}

// makeBirthplace makes the cgroup as far as the init must be born in it.
func (c *creation) makeBirthplace() error {
	if err := c.init.cgroup.createBirthplace(); err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	c.onFailure(func() {
		c.init.cgroup.destroy()
		c.init.cgroup.unmake()
	})
	c.Cgroup = c.init.cgroup.state() // what could be had, which record saves
	return nil
}

// makeCgroup makes the v1 hierarchies, while the init builds its file system,
// and lets it in. Where systemd waits for the init's fork, runSetup calls it again.
func (c *creation) makeCgroup() error {
	p := c.init
	if p.cgroup.v1Places() == 0 || p.cgroup.pending() {
		return nil
	}
	var tasks []*os.File
	err := p.cgroup.createRest()
	if err == nil {
		tasks, err = p.cgroup.joinFDs()
	}
	if err != nil {
		if _, gone := processStart(c.child); gone != nil {
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
	_ = p.sendFiles(fds)
	return nil
}

// startInit writes the program up to the mounts and starts it.
func (c *creation) startInit() error {
	p := c.init
	var err error
	if p.stub, err = newStub(0, 1, 2); err != nil {
		return err
	}
	p.signals = c.signals
	c.onFailure(p.stub.close)
	p.namespaces = readNamespaces(c.spec.Linux.Namespaces)
	defer p.namespaces.close()
	if err := c.facts.namespaces(&p.namespaces); err != nil {
		return err
	}
	p.namespaces.built = c.facts.built(&p.namespaces, p.rootfs)
	defer p.closeLent()
	if err := c.writeInit(listenFDs() + min(c.opts.preserveFds, math.MaxInt32)); err != nil {
		return err
	}
	sys := &syscall.SysProcAttr{Cloneflags: p.bornIn()}
	p.oomScore, p.warn = c.spec.Process.OOMScoreAdj, c.g.warnf
	err = p.startIn(p.cgroup, sys)
	if c.child = p.pid; c.child != 0 {
		c.onFailure(func() {
			c.followFork() // an init that was not waited for may have come so far
			endChild(c.child, killTime)
			p.cgroup.killAll(unix.SIGKILL)
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
	name := fmt.Sprintf("/proc/self/fd/%d/start.sock", c.lock.Fd())
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

// endChild kills a child of ours. One that does not die within the time hangs in
// the kernel; the last of its parents reaps it.
func endChild(pid int, limit time.Duration) {
	unix.Kill(pid, unix.SIGKILL)
	if exits(pid, limit) {
		reapChild(pid)
	}
}

func reapChild(pid int) (status unix.WaitStatus) {
	for {
		if _, err := unix.Wait4(pid, &status, 0, nil); err != unix.EINTR {
			return status
		}
	}
}
