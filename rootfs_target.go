// Targets of mounts, devices and directories: a path beneath the root, opened, made if it is missing, and refused if
// it leads to a directory that nothing may cover. Names that lead round in circles lead nowhere (ELOOP).

package main

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

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
	fd := r.alloc(8)
	r.targetInto(fd, path, directory, resolve, nil)
	return valueAt(fd)
}

// targetInto does that with the result at fd. There adds what is to be done only
// with a target that was there before.
func (r *rootfs) targetInto(fd addr, path string, directory bool, resolve uint64, there func()) {
	if resolve&unix.RESOLVE_NO_SYMLINKS == 0 {
		real, err := r.missing(path)
		if err != nil {
			r.refuse("%s: %v", r.step, err)
			return
		}
		path = real
	}
	flags := uint64(unix.O_PATH)
	if directory {
		flags |= unix.O_DIRECTORY // ENOTDIR says more than what the mount would say
	}
	var create, link, done label
	first := r.open(path, flags, resolve).on(unix.ENOENT, &create).into(fd)
	if there != nil {
		there()
	}
	r.jump(&done)
	if directory && resolve&unix.RESOLVE_NO_SYMLINKS != 0 {
		first.on(unix.ELOOP, &link)
		r.place(&link)
		r.refuse("%s: must be mounted on ordinary directory, and there is a symbolic link", r.step)
	}
	r.place(&create)
	parent, name := r.parent(path, resolve)
	if directory {
		r.call(unix.SYS_MKDIRAT, parent, name, 0o755).ignore(unix.EEXIST)
	} else {
		r.call(unix.SYS_MKNODAT, parent, name, unix.S_IFREG|0o644, 0).ignore(unix.EEXIST)
	}
	r.open(path, flags, resolve).into(fd)
	r.place(&done)
}

// parent makes and opens the directory of a path, component by component.
func (r *rootfs) parent(path string, resolve uint64) (fd any, name string) {
	fd = r.fd
	parts := strings.Split(beneath(path), "/")
	for i, part := range parts[:len(parts)-1] {
		r.call(unix.SYS_MKDIRAT, fd, part, 0o755).ignore(unix.EEXIST)
		next := r.open(strings.Join(parts[:i+1], "/"), unix.O_PATH|unix.O_DIRECTORY, resolve)
		if i > 0 { // a path can have two thousand of them
			r.call(unix.SYS_CLOSE, fd)
		}
		fd = next
	}
	return fd, parts[len(parts)-1]
}

// missing follows the dangling symbolic links of a path that does not exist
// yet, by reading them here: an image may bring /etc/resolv.conf -> ../run/x,
// and /run/x is what must be created. The answer is only a name; whatever it
// says, it is opened beneath the root. Below a mount that the container brings
// itself there is nothing to read yet. Every other error is left for the init
// to meet, on the same path.
func (r *rootfs) missing(path string) (string, error) {
	for _, c := range r.covers {
		if path == c || strings.HasPrefix(path, c+"/") {
			return path, nil
		}
	}
	if r.host < 0 {
		return path, nil
	}
	fd, err := r.lookHere(path, 0)
	if err != unix.ENOENT {
		if err == nil {
			unix.Close(fd)
		}
		return path, nil
	}
	done := "/"
	rest := strings.Split(beneath(path), "/")
	for links := 0; len(rest) > 0; {
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
		fd, err := r.lookHere(next, unix.O_NOFOLLOW)
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
		// A name that does not exist can lead back as well (a -> no/../a), which
		// the kernel does not see. Its limit is ours.
		if links++; links > 40 {
			return "", unix.ELOOP
		}
		to := string(buf[:n])
		if filepath.IsAbs(to) {
			done = "/"
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	return done, nil
}

// lookHere opens a path beneath the root in this process, only to see what it is.
func (r *rootfs) lookHere(path string, flags uint64) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | flags, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(r.host, beneath(path), &how)
		if err != unix.EAGAIN && err != unix.EINTR { // EAGAIN: a name on the way was changed meanwhile
			return fd, err
		}
	}
}

// procAllowed are the places below /proc over which a mount is legitimate: files
// that lxcfs provides, and the switch that an engine shows as the host's.
func procAllowed(dest string) bool {
	switch dest {
	case "/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/net/dev",
		"/proc/slabinfo", "/proc/stat", "/proc/swaps", "/proc/sys/crypto/fips_enabled", "/proc/sys/kernel/ns_last_pid", "/proc/uptime":
		return true
	}
	return false
}

// checkTarget refuses what nothing may be mounted on: the root itself, and procfs,
// but where the mount is allowed to be in it.
func (r *rootfs) checkTarget(target any, proc bool) {
	r.refuseRoot(target)
	if !proc {
		r.refuseProcfs(target)
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

// refuseRoot ends the program if a target turns out to be the root itself, which
// any link can lead to. What is mounted there, a mask too, lies above the root
// that the container enters: it would have no effect.
func (r *rootfs) refuseRoot(target any) {
	var is, done label
	r.ifRoot(target, &is)
	r.jump(&done)
	r.place(&is)
	r.refuse("%s: it leads to /, the rootfs's own place", r.step)
	r.place(&done)
}

// ifRoot goes to a label if a descriptor is the root: the same inode of the same
// mount.
func (r *rootfs) ifRoot(fd any, to *label) {
	if r.self == 0 {
		panic("BUG: the root is not open yet")
	}
	var other label
	if r.seen == 0 {
		r.seen = r.alloc(statxSize)
	}
	r.identify(fd, r.seen)
	for _, field := range [...]addr{32, 36, 144} { // stx_ino, stx_mnt_id
		r.differ(r.seen+field, valueAt(r.self+field), &other)
	}
	r.jump(to)
	r.place(&other)
}

// identify writes down what a descriptor is: struct statx.
func (r *rootfs) identify(fd any, to addr) {
	r.call(unix.SYS_STATX, fd, "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_MNT_ID, to)
}

const statxSize = 256
