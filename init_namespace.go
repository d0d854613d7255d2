// The spec's list of namespaces: which to make, which to join, and whether
// joining takes a second fork. init.go enters them.

package main

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// namespaces is what the spec's list comes to.
type namespaces struct {
	create uint64 // CLONE_NEW… of those to make
	join   []joinedNamespace
	fork   bool // a second fork is needed to enter them
	built  bool // the mount namespace that is joined has the container's root already
}

type joinedNamespace struct {
	kind   specs.LinuxNamespaceType
	path   string
	flag   uint64
	inside bool // it belongs to the user namespace that is joined, too
	fd     int  // here
	initFD int  // in the init
}

func (n *namespaces) isNew(flag uint64) bool { return n.create&flag != 0 }

func (n *namespaces) joins(flag uint64) bool {
	for _, j := range n.join {
		if j.flag == flag {
			return true
		}
	}
	return false
}

func (n *namespaces) has(flag uint64) bool { return n.isNew(flag) || n.joins(flag) }

func namespaceFlag(kind specs.LinuxNamespaceType) uint64 {
	switch kind {
	case specs.PIDNamespace:
		return unix.CLONE_NEWPID
	case specs.NetworkNamespace:
		return unix.CLONE_NEWNET
	case specs.MountNamespace:
		return unix.CLONE_NEWNS
	case specs.IPCNamespace:
		return unix.CLONE_NEWIPC
	case specs.UTSNamespace:
		return unix.CLONE_NEWUTS
	case specs.UserNamespace:
		return unix.CLONE_NEWUSER
	case specs.CgroupNamespace:
		return unix.CLONE_NEWCGROUP
	case specs.TimeNamespace:
		return unix.CLONE_NEWTIME
	}
	return 0
}

// readNamespaces is what the spec's list asks for. Nothing is opened yet.
func readNamespaces(list []specs.LinuxNamespace) (n namespaces) {
	for _, ns := range list {
		flag := namespaceFlag(ns.Type)
		if ns.Path == "" {
			n.create |= flag
			continue
		}
		n.join = append(n.join, joinedNamespace{kind: ns.Type, path: ns.Path, flag: flag, fd: -1})
	}
	// The mount namespace last: joining it changes root and cwd.
	slices.SortStableFunc(n.join, func(a, b joinedNamespace) int {
		return btoi(a.flag == unix.CLONE_NEWNS) - btoi(b.flag == unix.CLONE_NEWNS)
	})
	n.fork = n.joins(unix.CLONE_NEWPID) || n.isNew(unix.CLONE_NEWTIME) ||
		n.isNew(unix.CLONE_NEWPID) && (n.isNew(unix.CLONE_NEWUSER) || n.joins(unix.CLONE_NEWUSER))
	return n
}

// open opens the namespaces to join, and checks that each is what the spec calls it.
func (n *namespaces) open() error {
	for i := range n.join {
		j := &n.join[i]
		fd, err := unix.Open(j.path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("namespace %q: open %s: %w", j.kind, j.path, err)
		}
		j.fd = fd
		kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
		if err != nil {
			return fmt.Errorf("namespace %q: %s is not a namespace", j.kind, j.path)
		}
		if uint64(kind) != j.flag {
			return fmt.Errorf("namespace %q: %s is a namespace of another type", j.kind, j.path)
		}
	}
	n.findOwners()
	return nil
}

// findOwners marks the namespaces that belong to the user namespace that is
// joined with them.
func (n *namespaces) findOwners() {
	var user unix.Stat_t
	for _, j := range n.join {
		if j.flag == unix.CLONE_NEWUSER && unix.Fstat(j.fd, &user) != nil {
			return
		}
	}
	if user.Ino == 0 {
		return
	}
	for i := range n.join {
		owner, err := unix.IoctlRetInt(n.join[i].fd, unix.NS_GET_USERNS)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		n.join[i].inside = n.join[i].flag != unix.CLONE_NEWUSER && unix.Fstat(owner, &st) == nil && st.Ino == user.Ino && st.Dev == user.Dev
		unix.Close(owner)
	}
}

// isBuilt says of the mount namespace to join, if there is one, whether it is taken as it is. It is not, but gets
// the container's root file system, like a new one, where the rootfs can be seen and nothing
// has been made of it: a copy of the host's namespace. The host's own is never changed.
func (n *namespaces) isBuilt(rootfs string) bool {
	for _, j := range n.join {
		if j.flag != unix.CLONE_NEWNS {
			continue
		}
		for _, host := range []string{"/proc/self/ns/mnt", "/proc/1/ns/mnt"} {
			if sameFile(fmt.Sprintf("/proc/self/fd/%d", j.fd), host) {
				return true
			}
		}
		var here, there unix.Stat_t
		err := inNamespace(j.fd, unix.CLONE_NEWNS, func() error { return unix.Stat(rootfs, &there) })
		return err != nil || unix.Stat(rootfs, &here) != nil || here.Dev != there.Dev || here.Ino != there.Ino
	}
	return false
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (n *namespaces) close() {
	for i := range n.join {
		if j := &n.join[i]; j.fd >= 0 {
			unix.Close(j.fd)
			j.fd = -1
		}
	}
}
