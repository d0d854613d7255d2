// The root file system itself: opening and creating what is beneath it, mounting
// on it, masking, and entering it. mount.go has read the spec; this file writes
// the operations.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// rootfs writes the operations on a root file system. Its descriptor in the
// stub has a fixed number, so that everything above it can be closed in one go.
type rootfs struct {
	*stub
	fd       int      // the root, in the stub
	host     int      // the same directory, here: only for reading names
	null     int      // the host's /dev/null, in the stub
	tty      int      // the terminal's slave, in the stub, if there is one
	hostPids bool     // the container has no pid namespace of its own
	above    int      // descriptors from here on are short-lived
	count    int      // mounts so far
	covers   []string // destinations of mounts so far
}

// mountRoot makes the rootfs a mount of its own, in the new mount namespace or,
// where there is none, among the host's mounts (hostmounts.go).
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
		r.call(unix.SYS_MOUNT, 0, mountPoint(path), 0, unix.MS_PRIVATE, 0)
		r.setattr(tree, 0, 0, unix.MS_PRIVATE)
	}
	r.call(unix.SYS_MOVE_MOUNT, tree, "", at_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if !own { // on a shared mount of the host it has become shared
		r.setattr(tree, 0, 0, unix.MS_PRIVATE|unix.MS_REC)
	}
	r.call(unix.SYS_DUP3, tree, r.fd, unix.O_CLOEXEC)

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

// open opens a path beneath the root.
func (r *rootfs) open(path string, flags, resolve uint64) call {
	how := r.words(flags|unix.O_CLOEXEC, 0, resolve|unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
	return r.call(unix.SYS_OPENAT2, r.fd, beneath(path), how, 24).retry(unix.EAGAIN)
}

// beneath is an absolute path as openat2 wants it.
func beneath(path string) string {
	if path = strings.TrimPrefix(filepath.Clean("/"+path), "/"); path == "" {
		return "."
	}
	return path
}

// target opens a path beneath the root, making what is missing of it: the
// directories on the way, and at the end a directory or an empty file.
func (r *rootfs) target(path string, directory bool, resolve uint64) valueAt {
	if resolve&unix.RESOLVE_NO_SYMLINKS == 0 {
		path = r.missing(path)
	}
	flags := uint64(unix.O_PATH)
	if directory {
		flags |= unix.O_DIRECTORY // ENOTDIR says more than what the mount would say
	}
	fd := r.alloc(8)
	var create, done label
	r.open(path, flags, resolve).on(unix.ENOENT, &create).into(fd)
	r.jump(&done)
	r.place(&create)
	parent, name := r.parent(path, resolve)
	if directory {
		r.call(unix.SYS_MKDIRAT, parent, name, 0o755).ignore(unix.EEXIST)
	} else {
		r.call(unix.SYS_MKNODAT, parent, name, unix.S_IFREG|0o644, 0).ignore(unix.EEXIST)
	}
	r.open(path, flags, resolve).into(fd)
	r.place(&done)
	return valueAt(fd)
}

// parent makes and opens the directory of a path, component by component.
func (r *rootfs) parent(path string, resolve uint64) (fd any, name string) {
	fd = r.fd
	parts := strings.Split(beneath(path), "/")
	for i, part := range parts[:len(parts)-1] {
		r.call(unix.SYS_MKDIRAT, fd, part, 0o755).ignore(unix.EEXIST)
		fd = r.open(strings.Join(parts[:i+1], "/"), unix.O_PATH|unix.O_DIRECTORY, resolve)
	}
	return fd, parts[len(parts)-1]
}

// missing follows the dangling symbolic links of a path that does not exist
// yet, by reading them here: an image may bring /etc/resolv.conf -> ../run/x,
// and /run/x is what must be created. The answer is only a name; whatever it
// says, it is opened beneath the root. Below a mount that the container brings
// itself there is nothing to read yet.
func (r *rootfs) missing(path string) string {
	for _, c := range r.covers {
		if path == c || strings.HasPrefix(path, c+"/") {
			return path
		}
	}
	if r.host < 0 {
		return path
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(r.host, beneath(path), &how)
	if err == nil {
		unix.Close(fd)
		return path
	}
	done := "/"
	rest := strings.Split(beneath(path), "/")
	for links := 0; len(rest) > 0 && links < 40; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			done = filepath.Dir(done)
			continue
		}
		next := filepath.Join(done, name)
		how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
		fd, err := unix.Openat2(r.host, beneath(next), &how)
		if err != nil {
			done = next
			continue
		}
		var buf [unix.PathMax]byte
		n, err := unix.Readlinkat(fd, "", buf[:])
		unix.Close(fd)
		if err != nil { // not a link
			done = next
			continue
		}
		links++
		to := string(buf[:n])
		if filepath.IsAbs(to) {
			done = "/"
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	return done
}

// procAllowed are the places below /proc over which a mount is legitimate:
// files that lxcfs provides.
func procAllowed(dest string) bool {
	switch dest {
	case "/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/net/dev",
		"/proc/slabinfo", "/proc/stat", "/proc/swaps", "/proc/sys/kernel/ns_last_pid", "/proc/uptime":
		return true
	}
	return false
}

// mount writes one mount. The error is about the request; what the kernel
// says comes back from the stub.
func (r *rootfs) mount(m mountRequest) error {
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
	if m.dest == "/proc" && m.fstype != "proc" && !(m.bind && isProcfs(m.source)) || below && !procAllowed(m.dest) && m.source != "/dev/null" {
		return fmt.Errorf("mount %s on %s: only procfs may be mounted on /proc, and nothing inside it but the files that lxcfs provides", what, m.dest)
	}
	var resolve uint64
	directory := true
	switch {
	case m.fstype == "proc" || m.fstype == "sysfs":
		resolve = unix.RESOLVE_NO_SYMLINKS
	case m.bind:
		info, err := os.Stat(m.source)
		if err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.source, m.dest, err)
		}
		directory = info.IsDir()
	}

	if m.remount {
		fd := r.open(m.dest, unix.O_PATH, 0)
		r.setFlags(fd, m.set, m.clear, m.propagation&unix.MS_REC)
		if m.propagation != 0 {
			r.setattr(fd, 0, 0, m.propagation)
		}
		return nil
	}
	target := r.target(m.dest, directory, resolve)
	if !below && m.dest != "/proc" {
		r.refuseProcfs(target)
	}
	if m.bind {
		r.bind(m, target)
	} else {
		r.fresh(m, target)
	}
	r.covers = append(r.covers, m.dest)
	return nil
}

// recycle closes the descriptors of earlier mounts, before they become many.
func (r *rootfs) recycle() {
	if r.count++; r.count%50 == 0 {
		r.call(unix.SYS_CLOSE_RANGE, r.above, uint64(^uint32(0)), 0)
	}
}

// refuseProcfs ends the program if a mount target turns out to lie in procfs: a
// symbolic link or a racing rename can lead there from any name.
func (r *rootfs) refuseProcfs(target any) {
	buf := r.alloc(120)
	var ok, bad label
	r.call(unix.SYS_FSTATFS, target, buf)
	r.equal(buf, unix.PROC_SUPER_MAGIC, &bad)
	r.jump(&ok)
	r.place(&bad)
	r.refuse("%s: the destination leads into procfs", r.step)
	r.place(&ok)
}

// bind clones the source's mounts, gives the clone its attributes while nobody
// can see it, and attaches it.
func (r *rootfs) bind(m mountRequest, target any) {
	tree := r.clone(&m)
	r.setFlags(tree, m.set, m.clear, 0)
	r.setFlags(tree, m.rset, m.rclear, unix.MS_REC)
	if m.propagation != 0 {
		r.setattr(tree, 0, 0, m.propagation)
	}
	r.call(unix.SYS_MOVE_MOUNT, tree, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// setFlags is setattr for a mount that is the host's. In a user namespace what the
// host has forbidden on it (dev, suid, exec, rw, another atime) stays forbidden,
// and is not asked for a second time.
func (r *rootfs) setFlags(fd any, set, clear uint64, depth uintptr) {
	if set|clear == 0 {
		return
	}
	try := r.setattr(fd, set, clear, depth)
	if clear == 0 {
		return
	}
	var locked, done label
	try.on(unix.EPERM, &locked)
	r.jump(&done)
	r.place(&locked)
	r.setattr(fd, set&^atime, 0, depth)
	r.place(&done)
}

// fresh mounts a new file system. A read-only tmpfs becomes so only after what
// belongs into it is there: see readOnlyLater.
func (r *rootfs) fresh(m mountRequest, target any) {
	r.call(unix.SYS_FCHDIR, target)
	flags := m.mountFlags()
	if m.fstype == "tmpfs" {
		flags &^= unix.MS_RDONLY
	}
	source := m.source
	if source == "" {
		source = m.fstype
	}
	mount := r.call(unix.SYS_MOUNT, source, ".", m.fstype, flags, strings.Join(m.data, ","))
	var refused, done label
	if data, has := withoutGroup(m.data); m.fstype == "devpts" && has {
		// Every config asks for group 5, which the user namespace need not know.
		mount.on(unix.EINVAL, &refused)
		r.jump(&done)
		r.place(&refused)
		r.call(unix.SYS_MOUNT, source, ".", m.fstype, flags, strings.Join(data, ","))
	} else if host := r.hostsOwn(m.fstype); host != "" {
		mount.on(unix.EPERM, &refused)
		r.jump(&done)
		r.place(&refused)
		tree := r.call(unix.SYS_OPEN_TREE, at_FDCWD, host, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		r.setFlags(tree, m.set, m.clear, unix.MS_REC)
		r.call(unix.SYS_MOVE_MOUNT, tree, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	}
	r.place(&done)
	r.labelRoot(&m)
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

// withoutGroup is a file system's options but for the group.
func withoutGroup(data []string) (rest []string, has bool) {
	for _, word := range data {
		if strings.HasPrefix(word, "gid=") {
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
