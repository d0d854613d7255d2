// The program of exec: into a container's cgroup and namespaces, and then what the
// container's own process became, too (init_process.go).

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// execTarget is the container that a process is added to. In a listing its
// descriptors are -1.
type execTarget struct {
	pid, pidfd int // of its init
	root       int // the init's
	flags      uint64
	group      *cgroup
	tasks      []int      // files of v1 hierarchies, and of resctrl
	files      []*os.File // those files, which keep the descriptors open

	file     string // the program, as it was asked for
	preserve int    // how many descriptors of the caller's it is to have
}

// writeExec writes the program.
func (c *processCompiler) writeExec(in *execTarget, exe string, env []string) error {
	c.section("exec: into the container, and the process's identity")
	if err := c.inheritPreserved(in.preserve); err != nil {
		return err
	}
	var taskFDs []valueAt
	for _, fd := range in.tasks {
		number := c.inherit(fd, "tasks file")
		taskFDs = append(taskFDs, valueAt(c.named(c.words(uint64(number)), c.nameOf(number))))
	}
	if err := c.inheritProc(); err != nil {
		return err
	}
	initFD, rootFD := c.inherit(in.pidfd, "pidfd of the container's init"), c.inherit(in.root, "root of the container")
	c.forks = in.flags&unix.CLONE_NEWPID != 0
	if err := c.inheritBirth(in.group); err != nil {
		return err
	}
	cgroupNS, err := c.inheritCgroupNamespace(in.pid, in.flags)
	if err != nil {
		return err
	}

	c.cleanStart() // closes all that has not been inherited by now
	c.awaitCgroup()
	if !c.forks {
		c.joinCgroup(taskFDs)
		c.runOn()
	}
	c.at("enter the container's namespaces")
	if in.flags&unix.CLONE_NEWUSER != 0 {
		c.spendPrivileges()
		c.at("enter the container's namespaces")
	}
	atOnce := in.flags
	if cgroupNS != 0 {
		atOnce &^= unix.CLONE_NEWCGROUP
	}
	if atOnce != 0 {
		c.call(unix.SYS_SETNS, initFD, atOnce)
	}
	if in.flags&unix.CLONE_NEWNS == 0 { // a container that was only chrooted
		c.call(unix.SYS_FCHDIR, rootFD)
		c.call(unix.SYS_CHROOT, ".")
	}
	if c.forks {
		c.forkLate(in.group, 0)
		c.joinCgroup(taskFDs)
		c.runOn()
	}
	if cgroupNS != 0 {
		c.at("enter the container's cgroup namespace")
		c.call(unix.SYS_SETNS, cgroupNS, unix.CLONE_NEWCGROUP)
	}
	if in.flags&unix.CLONE_NEWUSER != 0 {
		c.rootInside()
	}
	c.call(unix.SYS_CHDIR, "/")
	if c.plan.process.Terminal {
		c.at("open a terminal from /dev/pts/ptmx")
		how := c.words(unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)
		c.sendDescriptor(c.newTerminal(c.call(unix.SYS_OPENAT2, at_FDCWD, "/dev/pts/ptmx", how, 24)), syncConsole)
	}
	c.become(exe)
	c.report(syncReady)
	c.await()
	c.section("exec: the program")
	c.at("exec: %q", in.file)
	c.call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0, 0, 0, 0)
	c.execute(exe, env)
	return nil
}

// file is the program as it was asked for.
func (e *execution) file() string {
	if e.hook != nil {
		return e.hook.Path
	}
	return e.plan.process.Args[0]
}
