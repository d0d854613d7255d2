// The way into a container's cgroup: descriptors to be born or to move there, and the move by pid.
//
// Contract: on v2 a process is born in the cgroup, on v1 it moves its own single thread. A process that can do
// neither waits at the start of its program, or after its fork, until it has been moved by its pid: by the
// parent, if the kernel or a sandbox refuses the birth; by systemd, which makes no scope without a process.
// program_session.go starts processes so, init_fork.go has the init's part.

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

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
