// The root file system itself: opening and creating what is beneath it, mounting
// on it, masking, and entering it. mount.go has read the spec; this file writes
// the operations.

package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// rootfs writes the operations on a root file system. Its descriptor in the
// init has a fixed number, so that everything above it can be closed in one go.
type rootfs struct {
	*program
	fd       int      // the root, in the init
	host     int      // the same directory, here: only for reading names
	null     int      // the host's /dev/null, in the init
	self     addr     // what the root is, see identify;
	seen     addr     // and what the last target was
	empty    int      // the number that an empty tmpfs gets, once a directory is masked,
	nothing  addr     // where it is then written: -1 until then
	tty      int      // the terminal's slave, in the init, if there is one
	hostPids bool     // the container has no pid namespace of its own
	above    int      // descriptors from here on are short-lived
	recycled int      // how many operations there were when they were last closed
	covers   []string // destinations of mounts so far
}

// mountRoot makes the rootfs a mount of its own, in the new mount namespace or,
// where there is none, among the host's mounts (cmd_create_hostmounts.go).
func (r *rootfs) mountRoot(path, propagation string, own bool) {
	flags := uintptr(unix.MS_SLAVE | unix.MS_REC)
	if own {
		// What comes from the host may still come in (a volume mounted later),
		// but nothing of ours goes out; unless the spec asks for sharing.
		r.at("make / %s", "private to the container")
		switch f := propagationFlag(propagation); {
		case f&unix.MS_SHARED != 0:
			flags = f
		case f&(unix.MS_PRIVATE|unix.MS_UNBINDABLE) != 0: // an unbindable / could not be cloned below
			flags = unix.MS_PRIVATE | unix.MS_REC
		}
		r.call(unix.SYS_MOUNT, 0, "/", 0, flags, 0)
	}

	r.at("mount rootfs %s", path)
	tree := r.call(unix.SYS_OPEN_TREE, at_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if flags&unix.MS_SHARED != 0 {
		// What is mounted on a shared mount is mounted on the host's, too, and
		// pivot_root(2) takes neither a shared root nor one on a shared mount.
		r.call(unix.SYS_MOUNT, 0, r.facts.mountPoint(path), 0, unix.MS_PRIVATE, 0)
		r.setattr(tree, 0, 0, unix.MS_PRIVATE)
	}
	r.call(unix.SYS_MOVE_MOUNT, tree, "", at_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if !own { // on a shared mount of the host it has become shared
		r.setattr(tree, 0, 0, unix.MS_PRIVATE|unix.MS_REC)
	}
	r.call(unix.SYS_DUP3, tree, r.fd, unix.O_CLOEXEC)
	r.self = r.alloc(statxSize)
	r.identify(r.fd, r.self)

	r.at("open /dev/null of the host")
	null := r.call(unix.SYS_OPENAT, at_FDCWD, "/dev/null", unix.O_PATH|unix.O_CLOEXEC, 0)
	r.call(unix.SYS_DUP3, null, r.null, unix.O_CLOEXEC)
}

// mountPoint is where the mount begins that a directory of the host lies on.
func mountPoint(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	for mine := mountID(path); path != "/" && mountID(filepath.Dir(path)) == mine; {
		path = filepath.Dir(path)
	}
	return path
}

func propagationFlag(word string) uintptr {
	for i := range mountOptions {
		if mountOptions[i].word == word {
			return mountOptions[i].propagation
		}
	}
	return 0
}

const at_FDCWD = uint64(0xffffffffffffff9c) // AT_FDCWD as the kernel's register sees it

// setattr changes a mount given by descriptor; recursive applies to all below.
func (r *rootfs) setattr(fd any, set, clear uint64, propagation uintptr) call {
	flags := unix.AT_EMPTY_PATH
	if propagation&unix.MS_REC != 0 {
		flags |= unix.AT_RECURSIVE
	}
	attr := r.words(set, clear, uint64(propagation&^unix.MS_REC), 0)
	return r.call(unix.SYS_MOUNT_SETATTR, fd, "", flags, attr, 32)
}

// mount writes one mount. The error is about the request; what the kernel
// says comes back from the init.
func (r *rootfs) mount(m *mountRequest) error {
	what := m.fstype
	if m.bind {
		what = m.source
	}
	r.at("mount %s on %s", what, m.dest)
	if m.dest == "/" && !m.remount {
		return fmt.Errorf("mount %s on /: that is the rootfs's own place", what)
	}
	r.recycle()

	// Label writes and sysctls go through procfs; nothing may pretend to be it.
	below := strings.HasPrefix(m.dest, "/proc/")
	if m.dest == "/proc" && m.fstype != "proc" && !(m.bind && m.within == "" && r.facts.procfs(m.source)) || below && !procAllowed(m.dest) && m.source != "/dev/null" {
		return fmt.Errorf("mount %s on %s: only procfs may be mounted on /proc, and nothing inside it but the files that lxcfs provides", what, m.dest)
	}
	if m.remount {
		fd := r.open(m.dest, unix.O_PATH, 0)
		r.setFlags(fd, m.set, m.clear, m.propagation&unix.MS_REC, 0)
		if m.propagation != 0 {
			r.setattr(fd, 0, 0, m.propagation)
		}
		return nil
	}
	proc := below || m.dest == "/proc"
	if m.bind {
		if err := r.bindMount(m, proc); err != nil {
			return fmt.Errorf("%s: %w", r.step, err)
		}
	} else {
		r.freshMount(m, proc)
	}
	r.covers = append(r.covers, m.dest)
	return nil
}

// keep closes all that are short-lived. The next n that are opened stay.
func (r *rootfs) keep(n int) {
	r.call(unix.SYS_CLOSE_RANGE, r.above, uint64(^uint32(0)), 0)
	r.above += n
	r.recycled = r.ops
}

// recycle closes the descriptors of what has been done, before they become many:
// an operation opens one at most. It says whether it did.
func (r *rootfs) recycle() bool {
	if r.ops-r.recycled < 100 {
		return false
	}
	r.call(unix.SYS_CLOSE_RANGE, r.above, uint64(^uint32(0)), 0)
	r.recycled = r.ops
	return true
}

// freshMount mounts a new file system. One that has no mode of its own takes that
// of the directory that it covers: the parent looks and adds it to the options.
func (r *rootfs) freshMount(m *mountRequest, proc bool) {
	var resolve uint64
	if m.fstype == "proc" || m.fstype == "sysfs" {
		resolve = unix.RESOLVE_NO_SYMLINKS
	}
	text := strings.Join(m.data, ",")
	m.options = r.alloc(modeRoom + len(text) + 1)
	copy(r.view(m.options, len(text)), text)
	fd := r.alloc(8)
	r.targetInto(fd, m.dest, true, resolve, func() {
		if m.looksBelow() {
			r.sendDescriptor(valueAt(fd), syncCovered.ofMount(m.index))
			r.await()
		}
	})
	r.checkTarget(valueAt(fd), proc)
	r.fresh(m, valueAt(fd), m.options)
}

// fresh mounts a new file system. A read-only tmpfs becomes so only after what
// belongs into it is there: see readOnlyLater.
func (r *rootfs) fresh(m *mountRequest, target, options any) {
	r.call(unix.SYS_FCHDIR, target)
	flags := m.mountFlags()
	if m.fstype == "tmpfs" {
		flags &^= unix.MS_RDONLY
	}
	source := m.source
	if source == "" {
		source = m.fstype
	}
	mount := r.call(unix.SYS_MOUNT, source, ".", m.fstype, flags, options)
	var refused, done label
	if data, has := withoutGroup(m.data); m.fstype == "devpts" && has {
		// Every config asks for group 5, which the user namespace need not know. Any
		// other is meant.
		mount.on(unix.EINVAL, &refused)
		r.jump(&done)
		r.place(&refused)
		r.call(unix.SYS_MOUNT, source, ".", m.fstype, flags, strings.Join(data, ","))
	} else if host := r.hostsOwn(m.fstype); host != "" && len(m.data) == 0 { // the host's has its own options
		mount.on(unix.EPERM, &refused)
		r.jump(&done)
		r.place(&refused)
		tree := r.call(unix.SYS_OPEN_TREE, at_FDCWD, host, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		r.setFlags(tree, m.set, m.clear, unix.MS_REC, atime)
		r.call(unix.SYS_MOVE_MOUNT, tree, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	}
	r.place(&done)
	r.labelRoot(m)
	if m.rset|m.rclear != 0 || m.propagation != 0 {
		fd := r.open(m.dest, unix.O_PATH, 0)
		r.setattr(fd, m.rset, m.rclear, m.propagation)
	}
}

// hostsOwn is where the host has mounted a file system that shows a namespace, for
// a user namespace that may not mount it: it shares that namespace with the host.
// A sysfs is refused as well where the host hides a part of its own.
func (r *rootfs) hostsOwn(fstype string) string {
	switch {
	case fstype == "sysfs":
		return "/sys"
	case fstype == "proc" && r.hostPids:
		return "/proc"
	}
	return ""
}

// withoutGroup is a file system's options but for group 5.
func withoutGroup(data []string) (rest []string, has bool) {
	for _, word := range data {
		if word == "gid=5" {
			has = true
			continue
		}
		rest = append(rest, word)
	}
	return rest, has
}

// isProcfs says whether a directory of the host is the root of a procfs.
func isProcfs(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC
}

// labelRoot labels the root directory of a file system that has just been
// mounted.
func (r *rootfs) labelRoot(m *mountRequest) {
	if m.xattr == "" {
		return
	}
	fd := r.open(m.dest, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	r.call(unix.SYS_FSETXATTR, fd, "security.selinux", m.xattr, len(m.xattr), 0)
	r.call(unix.SYS_CLOSE, fd)
}

// mountID is the kernel's number for the mount that a path leads to; 0 if
// there is none. Since Linux 6.8 the number is used once.
func mountID(path string) uint64 {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID_UNIQUE, &st) == nil && st.Mask&unix.STATX_MNT_ID_UNIQUE != 0 {
		return st.Mnt_id
	}
	if unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &st) != nil {
		return 0
	}
	return st.Mnt_id
}
