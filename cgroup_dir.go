// The directories of a cgroup: made with their parents, readied for processes,
// removed with all below them.
//
// Contract: every function works on one directory of one tree and knows
// nothing of containers. Reading and writing control files is here, too.

package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// makeDir is mkdir -p that remembers what it made. In nearly every run the
// parent is there, so the last directory is tried first.
func (c *cgroup) makeDir(top, dir string) error {
	err := unix.Mkdir(dir, 0o755)
	if err == unix.ENOENT && len(dir) > len(top) {
		if err := c.makeDir(top, path.Dir(dir)); err != nil && err != unix.EEXIST {
			return err
		}
		err = unix.Mkdir(dir, 0o755)
	}
	if err == nil {
		c.made = append(c.made, dir)
	}
	return err
}

// checkUnused refuses a directory that was there before and is in use: its
// processes would be limited, frozen and killed along with the container.
func checkUnused(dir string) error {
	pids, err := cgroupPids(dir)
	if err != nil {
		return err
	}
	if len(pids) > 0 {
		return fmt.Errorf("container's cgroup is not empty: %d process(es) in %s, the first is %d", len(pids), dir, pids[0])
	}
	if freezing, err := cgroupDirFreezing(dir); err != nil || freezing {
		return errors.Join(err, fmt.Errorf("container's cgroup unexpectedly frozen: %s", dir))
	}
	return nil
}

// inheritCpuset fills in the processors and memory nodes of a v1 cpuset. A new
// one has none and takes no process in; so does a parent that we just made.
func inheritCpuset(top, dir string, p *specs.LinuxCPU) error {
	for _, f := range [2]struct{ name, value, field string }{
		{"cpuset.cpus", p.Cpus, "cpu.cpus"}, {"cpuset.mems", p.Mems, "cpu.mems"},
	} {
		if f.value == "" {
			if _, err := cpusetOf(top, dir, f.name); err != nil {
				return err
			}
			continue
		}
		// The parent must have the processors before we can ask for some.
		has, err := cpusetOf(top, path.Dir(dir), f.name)
		if err != nil {
			return err
		}
		if err := cgroupWrite(dir+"/"+f.name, f.value); err != nil {
			return fmt.Errorf("linux.resources.%s %q: %w (the parent cgroup has %q)", f.field, f.value, err, has)
		}
	}
	return nil
}

// cpusetOf returns dir's value of a cpuset file; an empty one gets its
// parent's first.
func cpusetOf(top, dir, file string) (string, error) {
	text, err := cgroupRead(dir + "/" + file)
	if err != nil {
		return "", err
	}
	if value := strings.TrimSpace(text); value != "" || len(dir) <= len(top) {
		return value, nil
	}
	value, err := cpusetOf(top, path.Dir(dir), file)
	if err != nil {
		return "", err
	}
	return value, cgroupWrite(dir+"/"+file, value)
}

// enableControllers hands every controller of the v2 tree down to dir. What
// is not to be had (a parent with processes of its own, a delegated subtree)
// matters only if a limit needs it, and then the limit's error says so.
func enableControllers(top, dir string) error {
	all, err := cgroupRead(top + "/cgroup.controllers")
	if err != nil {
		return err
	}
	have, err := cgroupRead(dir + "/cgroup.controllers")
	if err != nil {
		return err
	}
	if len(strings.Fields(have)) < len(strings.Fields(all)) {
		for at := top; at != dir; {
			enableChildren(at)
			next, _, _ := strings.Cut(strings.TrimPrefix(dir[len(at):], "/"), "/")
			at += "/" + next
		}
	}
	kind, err := cgroupRead(dir + "/cgroup.type")
	if err != nil || strings.TrimSpace(kind) == "domain" {
		return err
	}
	return fmt.Errorf("cgroup %s is %q and takes no container: a cgroup above it has processes or threads of its own", dir, strings.TrimSpace(kind))
}

// enableChildren enables in dir's children what dir has, one by one: a single
// write is all or nothing.
func enableChildren(dir string) {
	have, _ := cgroupRead(dir + "/cgroup.controllers")
	given, _ := cgroupRead(dir + "/cgroup.subtree_control")
	done := strings.Fields(given)
	for name := range strings.FieldsSeq(have) {
		if !slices.Contains(done, name) {
			_ = cgroupWrite(dir+"/cgroup.subtree_control", "+"+name) // see enableControllers
		}
	}
}

func removeCgroup(dir string, deadline time.Time) error {
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		err := unix.Rmdir(dir)
		switch err {
		case nil, unix.ENOENT:
			return nil
		case unix.EINTR:
			continue
		case unix.EBUSY:
		default:
			return &os.PathError{Op: "rmdir", Path: dir, Err: err}
		}
		// Cgroups that the container made inside its own go first.
		for _, child := range cgroupChildren(dir) {
			if err := removeCgroup(child, deadline); err != nil {
				return err
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("rmdir %s: %w (%s)", dir, err, occupants(dir))
		}
		time.Sleep(pause)
	}
}

// occupants names the processes in a cgroup that cannot be removed. If there are none, kernel threads can be left: of KVM or vhost,
// if the container has handed its descriptors to somebody outside.
func occupants(dir string) string {
	all, _ := cgroupPids(dir)
	pids := slices.DeleteFunc(slices.Clone(all), isKernelThread)
	if len(pids) == 0 && len(all) > 0 {
		return fmt.Sprintf("kernel threads in it: %v, which work for a process outside and end with it", all)
	}
	return fmt.Sprintf("processes in it: %v", pids)
}

// cgroupChildren lists the cgroups directly below dir. kernfs counts them in
// the directory's link count, which saves reading forty names for nothing.
func cgroupChildren(dir string) []string {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil || st.Nlink == 2 {
		return nil
	}
	entries, _ := os.ReadDir(dir) // a directory that vanished has no children
	var children []string
	for _, e := range entries {
		if e.IsDir() {
			children = append(children, dir+"/"+e.Name())
		}
	}
	return children
}

// cgroupRead and cgroupWrite are one open, one transfer and one close: os.File
// would set up its poller for files that never block.
func cgroupRead(name string) (string, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer func() { _ = unix.Close(fd) }() // only read from
	var text []byte
	for buf := make([]byte, 4096); ; {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return "", &os.PathError{Op: "read", Path: name, Err: err}
		}
		if n == 0 {
			return string(text), nil
		}
		text = append(text, buf[:n]...)
	}
}

func cgroupWrite(name, value string) error {
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer func() { _ = unix.Close(fd) }() // the kernel took or refused the value at write
	for {
		_, err := unix.Write(fd, []byte(value))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "write " + value + " to", Path: name, Err: err}
		}
		return nil
	}
}
