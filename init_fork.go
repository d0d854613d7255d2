// The init's way into its cgroup, and the fork by which some namespaces are entered.
//
// Contract: of the two processes only the one that stays is ever in the container's cgroup. A pids limit counts
// both if both are in it, and then refuses the fork: a container with one pid left would take no exec.

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// forkSibling goes on in a child of the parent's, as the parent sees it; this
// process ends. The child is born in the v2 cgroup of the descriptor group; 0
// is none. Where that is refused it is born beside, and outside is not 0 then.
func (p *program) forkSibling(namespaces uint64, group int, outside addr) {
	var child, born label
	pid := p.words(0)
	p.sibling = pid
	flags := namespaces | unix.CLONE_PARENT
	if group != 0 {
		var refused label
		cloneArgs := p.words(flags|unix.CLONE_INTO_CGROUP, 0, 0, 0, 0, 0, 0, 0, 0, 0, uint64(group)) // clone(2)
		p.call(unix.SYS_CLONE3, cloneArgs, 88).into(pid).ifZero(&child).orElse(&refused)
		p.jump(&born)
		p.place(&refused)
		p.call(unix.SYS_GETPID).into(outside) // which is never 0
	}
	p.call(unix.SYS_CLONE, flags|uint64(unix.SIGCHLD), 0, 0, 0, 0).into(pid).ifZero(&child)
	// The child may be faster than the half that stores its pid, and the parent
	// looks for that as soon as it hears from the child.
	p.place(&born)
	p.call(unix.SYS_FUTEX, pid, futexWake, 1)
	p.call(unix.SYS_EXIT_GROUP, 0)
	p.place(&child)
	p.call(unix.SYS_FUTEX, pid, futexWait, 0, p.words(10, 0)).ignore(unix.EAGAIN)
}

// inheritBirth gives the process the v2 cgroup to be born in after its fork.
func (c *processCompiler) inheritBirth(group *cgroup) (err error) {
	if !c.forks || group.pending() || group.v2Place() == "" {
		return nil
	}
	c.birth, err = c.lend("cgroup to be born in", func() (int, error) { return openCgroupDir(group.v2Place()) })
	return err
}

// late: is the program still in the half that stays out of the cgroup?
func (c *processCompiler) late() bool { return c.forks && !c.born }

// forkLate makes that fork. A child that could not be born in its cgroup, or
// whose scope systemd has yet to make, is moved there by its pid.
func (c *processCompiler) forkLate(group *cgroup, namespaces uint64) {
	outside := c.outside
	if !group.v2 {
		outside = c.words(0) // the v2 tree beside v1 is not worth a wait
	}
	c.named(outside, "outside the cgroup")
	c.forkSibling(namespaces, c.birth, outside)
	c.born = true
	c.dieWithParent()
	c.call(unix.SYS_SETSID)
	if c.birth != 0 {
		c.call(unix.SYS_CLOSE, c.birth)
	}
	c.at("wait for the cgroup")
	var inside label
	c.equal(c.outside, 0, &inside)
	c.report(syncOutside)
	c.await()
	c.place(&inside)
}

// inheritCgroupNamespace gives the process the container's cgroup namespace, for
// after the fork; 0: it is entered at once with the others. Inside, the kernel
// refuses a birth by a process whose own cgroup is outside (cgroups(7),
// nsdelegate). A namespace of the host's can only be entered by the host's root.
func (c *processCompiler) inheritCgroupNamespace(pid int, flags uint64) (fd int, err error) {
	if c.birth == 0 || flags&unix.CLONE_NEWCGROUP == 0 {
		return 0, nil
	}
	const what = "the container's cgroup namespace"
	if c.listed {
		return c.inherit(-1, what), nil
	}
	ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/cgroup", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open the container's cgroup namespace: %w", err)
	}
	if flags&unix.CLONE_NEWUSER != 0 {
		owner, err := unix.IoctlRetInt(ns, unix.NS_GET_USERNS)
		if err == nil {
			defer unix.Close(owner)
		}
		if err != nil || !sameFile(fmt.Sprintf("/proc/self/fd/%d", owner), fmt.Sprintf("/proc/%d/ns/user", pid)) {
			unix.Close(ns)
			return 0, nil
		}
	}
	return c.inherit(ns, what), nil // open here until runh ends or the process has begun
}

// awaitCgroup holds up a process that could not be born in its cgroup.
func (c *processCompiler) awaitCgroup() {
	c.outside = c.named(c.words(0), "outside the cgroup")
	if c.forks {
		return // forkLate does it
	}
	c.at("wait for the cgroup")
	var inside label
	c.equal(c.outside, 0, &inside)
	c.await()
	c.place(&inside)
}

// joinCgroup moves this one thread: writing "0" to tasks is a hundred times
// cheaper than any other way in, and the limits hold from here on. On v2 the
// process was born in its cgroup.
func (p *program) joinCgroup(tasks []valueAt) {
	p.at("join the cgroup")
	for _, fd := range tasks {
		p.call(unix.SYS_WRITE, fd, "0", 1).ignore(unix.EBADF) // a hierarchy that a rootless container does without
		p.call(unix.SYS_CLOSE, fd).ignore(unix.EBADF)
	}
}
