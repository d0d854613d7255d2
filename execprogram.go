// The program of exec: into a container's cgroup and namespaces, and then what the
// container's own process became, too (process.go).

package main

import (
	"golang.org/x/sys/unix"
)

// execTarget is the container that a process is added to. In a listing its
// descriptors are -1.
type execTarget struct {
	pid, pidfd int // of its init
	root       int // the init's
	flags      uint64
	group      *cgroup
	tasks      []int // files of v1 hierarchies, and of resctrl
}

// writeExec writes the program. The result is its fork, if there is one.
func (e *execution) writeExec(in *execTarget, exe string, env []string) (forked *sibling, err error) {
	e.section("exec: into the container, and the process's identity")
	if err := e.inheritPreserved(e.opts.preserveFds); err != nil {
		return nil, err
	}
	var taskFDs []valueAt
	for _, fd := range in.tasks {
		number := e.inherit(fd, "tasks file")
		taskFDs = append(taskFDs, valueAt(e.named(e.words(uint64(number)), e.nameOf(number))))
	}
	if err := e.inheritProc(); err != nil {
		return nil, err
	}
	initFD, rootFD := e.inherit(in.pidfd, "pidfd of the container's init"), e.inherit(in.root, "root of the container")
	e.forks = in.flags&unix.CLONE_NEWPID != 0
	if err := e.inheritBirth(in.group); err != nil {
		return nil, err
	}
	cgroupNS, err := e.inheritCgroupNamespace(in.pid, in.flags)
	if err != nil {
		return nil, err
	}

	e.cleanStart() // closes all that has not been inherited by now
	e.awaitCgroup()
	if !e.forks {
		e.joinCgroup(taskFDs)
		e.runOn()
	}
	e.at("enter the container's namespaces")
	if in.flags&unix.CLONE_NEWUSER != 0 {
		e.spendPrivileges()
		e.at("enter the container's namespaces")
	}
	atOnce := in.flags
	if cgroupNS != 0 {
		atOnce &^= unix.CLONE_NEWCGROUP
	}
	if atOnce != 0 {
		e.call(unix.SYS_SETNS, initFD, atOnce)
	}
	if in.flags&unix.CLONE_NEWNS == 0 { // a container that was only chrooted
		e.call(unix.SYS_FCHDIR, rootFD)
		e.call(unix.SYS_CHROOT, ".")
	}
	if e.forks {
		f := e.forkLate(in.group, 0)
		forked = &f
		e.joinCgroup(taskFDs)
		e.runOn()
	}
	if cgroupNS != 0 {
		e.at("enter the container's cgroup namespace")
		e.call(unix.SYS_SETNS, cgroupNS, unix.CLONE_NEWCGROUP)
	}
	if in.flags&unix.CLONE_NEWUSER != 0 {
		e.rootInside()
	}
	e.call(unix.SYS_CHDIR, "/")
	if e.process.Terminal {
		e.at("open a terminal from /dev/pts/ptmx")
		how := e.words(unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)
		e.sendDescriptor(e.newTerminal(e.call(unix.SYS_OPENAT2, at_FDCWD, "/dev/pts/ptmx", how, 24)), placeConsole)
	}
	e.become(exe)
	e.report(placeReady)
	e.await()
	e.section("exec: the program")
	e.at("exec: %q", e.file())
	e.call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0, 0, 0, 0)
	e.execute(exe, env)
	return forked, nil
}

// file is the program as it was asked for.
func (e *execution) file() string {
	if e.hook != nil {
		return e.hook.Path
	}
	return e.process.Args[0]
}
