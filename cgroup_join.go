// How a process gets into the container's cgroup.
//
// The rule: on v2 it is born there, on v1 it moves its own single thread. Where
// namespaces take a fork, that goes for its child (cgroup_fork.go). The
// exceptions wait, at the very start of their program or after the fork, until
// they have been moved by their pid: by the parent, where the kernel or a
// sandbox refuses the birth; by systemd, which makes no scope without a process.

package main

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// startIn starts the stub in the cgroup, as far as a process can be born in
// it. When it fails the stub may run all the same: then pid is set.
func (c *processPlan) startIn(group *cgroup, sys *syscall.SysProcAttr) error {
	pending := group.unit != nil && group.unit.pending
	if c.forks {
		if pending {
			c.view(c.outside, 8)[0] = 1
		}
		return c.start(sys)
	}
	if pending {
		return c.startOutside(group, sys)
	}
	birth, err := group.dirFD()
	if err != nil {
		return err
	}
	if birth != nil {
		defer birth.Close()
		sys.UseCgroupFD, sys.CgroupFD = true, int(birth.Fd())
		if err = c.start(sys); err == nil {
			return nil
		}
		// Whatever it was: if it was not about the cgroup, it comes again.
		sys.UseCgroupFD = false
	}
	if !group.v2 {
		return c.start(sys) // v1; the v2 tree beside it is not worth a failure
	}
	return c.startOutside(group, sys)
}

// startOutside starts the stub, which waits at once until it has been moved in.
func (c *processPlan) startOutside(group *cgroup, sys *syscall.SysProcAttr) error {
	c.view(c.outside, 8)[0] = 1
	if err := c.start(sys); err != nil {
		return err
	}
	if err := group.enter(c.pid); err != nil {
		return err
	}
	return c.proceed()
}

// awaitCgroup holds up a process that could not be born in its cgroup.
func (c *processPlan) awaitCgroup() {
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

// enter moves a process that waits outside.
func (c *cgroup) enter(pid int) error {
	if c.unit != nil && c.unit.pending {
		if err := c.unit.start(c, pid); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
		if err := c.makePlaces(true); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
		return nil
	}
	for _, p := range c.places {
		if p.isV2() {
			if err := cgroupWrite(p.dir+"/cgroup.procs", fmt.Sprint(pid)); err != nil {
				return fmt.Errorf("join the cgroup: %w", err)
			}
		}
	}
	return nil
}

// dirFD opens the v2 directory for clone3(CLONE_INTO_CGROUP); nil where there
// is none. A hybrid host has both: there the child is born in the v2 tree and
// then joins the v1 ones.
func (c *cgroup) dirFD() (*os.File, error) {
	dir := c.v2Place()
	if dir == "" {
		return nil, nil
	}
	fd, err := openCgroupDir(dir)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// v2Place is its directory in the v2 tree, "" where there is none.
func (c *cgroup) v2Place() string {
	for _, p := range c.places {
		if p.isV2() {
			return p.dir
		}
	}
	return ""
}

func openCgroupDir(dir string) (int, error) {
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return fd, nil
}

// v1Places is how many files joinFDs opens at most.
func (c *cgroup) v1Places() (n int) {
	for _, p := range c.places {
		if !p.isV2() {
			n++
		}
	}
	return n
}

// joinFDs opens the v1 `tasks` files. A thread that writes "0" there moves
// itself, and only itself: the writer must be single-threaded. The caller
// closes them.
func (c *cgroup) joinFDs() ([]*os.File, error) {
	var files []*os.File
	for _, p := range c.places {
		if p.isV2() {
			continue
		}
		name := p.dir + "/tasks"
		fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			for _, f := range files {
				_ = f.Close() // nothing was written
			}
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
		files = append(files, os.NewFile(uintptr(fd), name))
	}
	return files, nil
}
