// Device nodes and the links of /dev.
//
// Contract: a node that is right already is left alone; one that cannot be made is bound from the host.

package main

import (
	"fmt"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// device is one node that the container gets.
type device struct {
	path     string
	mode     uint32 // type and permissions
	dev      uint64
	uid, gid uint32
}

// defaultDevices are in every container (runtime-spec, config-linux.md).
func defaultDevices() []device {
	const rw = unix.S_IFCHR | 0o666
	return []device{
		{path: "/dev/null", mode: rw, dev: unix.Mkdev(1, 3)},
		{path: "/dev/zero", mode: rw, dev: unix.Mkdev(1, 5)},
		{path: "/dev/full", mode: rw, dev: unix.Mkdev(1, 7)},
		{path: "/dev/random", mode: rw, dev: unix.Mkdev(1, 8)},
		{path: "/dev/urandom", mode: rw, dev: unix.Mkdev(1, 9)},
		{path: "/dev/tty", mode: rw, dev: unix.Mkdev(5, 0)},
	}
}

// specDevices are the nodes of the spec; they replace defaults of the same path.
func specDevices(list []specs.LinuxDevice) ([]device, error) {
	devices := defaultDevices()
next:
	for _, d := range list {
		n := device{path: filepath.Clean("/" + d.Path), mode: 0o666, dev: unix.Mkdev(uint32(d.Major), uint32(d.Minor))}
		if d.FileMode != nil {
			n.mode = uint32(*d.FileMode) & 0o7777
		}
		switch d.Type {
		case "c", "u":
			n.mode |= unix.S_IFCHR
		case "b":
			n.mode |= unix.S_IFBLK
		case "p":
			n.mode |= unix.S_IFIFO
			n.dev = 0
		default:
			return nil, fmt.Errorf("device %s: type %q is not one of c, u, b, p", d.Path, d.Type)
		}
		if d.UID != nil {
			n.uid = *d.UID
		}
		if d.GID != nil {
			n.gid = *d.GID
		}
		for i := range devices {
			if devices[i].path == n.path {
				devices[i] = n
				continue next
			}
		}
		devices = append(devices, n)
	}
	return devices, nil
}

// makeDevices makes the nodes, through the descriptor of their directory. A node
// that is there, of the right type, number and mode, stays: it may be the host's. All
// else that the image has under such a name gives way. In a user namespace mknod
// is refused, and the host's own node is bound there instead.
func (r *rootfs) makeDevices(devices []device) {
	dirs := map[string]any{}
	for _, d := range devices {
		r.at("make device %s", d.path)
		if r.recycle() {
			clear(dirs)
		}
		dir, name := filepath.Split(d.path)
		fd, known := dirs[dir]
		if !known {
			t := r.target(filepath.Clean(dir), true, 0)
			fd, dirs[dir] = t, t
		}
		mode := uint64(d.mode)
		var exists, made, refused, done label
		r.call(unix.SYS_MKNODAT, fd, name, mode, d.dev).on(unix.EEXIST, &exists).on(unix.EPERM, &refused)
		r.jump(&made)
		r.place(&exists)
		r.ifNode(fd, name, d, &done)
		r.call(unix.SYS_UNLINKAT, fd, name, 0)
		r.call(unix.SYS_MKNODAT, fd, name, mode, d.dev).on(unix.EPERM, &refused)
		r.place(&made)
		if d.uid != 0 || d.gid != 0 {
			r.call(unix.SYS_FCHOWNAT, fd, name, uint64(d.uid), uint64(d.gid), unix.AT_SYMLINK_NOFOLLOW)
		}
		r.jump(&done)
		r.place(&refused)
		r.call(unix.SYS_MKNODAT, fd, name, unix.S_IFREG|0o666, 0)
		tree := r.call(unix.SYS_OPEN_TREE, at_FDCWD, d.path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		r.call(unix.SYS_MOVE_MOUNT, tree, "", r.open(d.path, unix.O_PATH, unix.RESOLVE_NO_SYMLINKS), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
		r.place(&done)
	}
}

// ifNode goes to a label if a name is a node with this type, mode and number, and
// with the owner, where another than root is asked for.
func (r *rootfs) ifNode(dir any, name string, d device, to *label) {
	var other label
	buf := r.alloc(statxSize)
	r.call(unix.SYS_STATX, dir, name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, buf)
	r.differ(buf+28, d.mode, &other) // stx_mode, and two bytes that are 0
	r.differ(buf+128, unix.Major(d.dev), &other)
	r.differ(buf+132, unix.Minor(d.dev), &other)
	if d.uid != 0 || d.gid != 0 {
		r.differ(buf+20, d.uid, &other)
		r.differ(buf+24, d.gid, &other)
	}
	r.jump(to)
	r.place(&other)
}

// devLinks makes the symbolic links of /dev.
func (r *rootfs) devLinks() {
	r.at("make the links in /dev")
	dev := r.target("/dev", true, 0)
	for _, l := range [...][2]string{
		{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"},
	} {
		r.call(unix.SYS_SYMLINKAT, l[0], dev, l[1]).ignore(unix.EEXIST)
	}
	if r.facts.exists("/proc/kcore") {
		r.call(unix.SYS_SYMLINKAT, "/proc/kcore", dev, "core").ignore(unix.EEXIST)
	}
	// This one follows /dev/pts, and so does a node since Linux 4.7: it may be the
	// host's and stays. All else would be the image's.
	var exists, other, done label
	r.call(unix.SYS_SYMLINKAT, "pts/ptmx", dev, "ptmx").on(unix.EEXIST, &exists)
	r.jump(&done)
	r.place(&exists)
	r.ifNode(dev, "ptmx", device{mode: unix.S_IFCHR | 0o666, dev: unix.Mkdev(5, 2)}, &done)
	text, length := r.alloc(16), r.alloc(8)
	r.call(unix.SYS_READLINKAT, dev, "ptmx", text, 16).on(unix.EINVAL, &other).into(length)
	want := r.bytes([]byte("pts/ptmx"))
	r.differ(length, 8, &other)
	r.differ(text, valueAt(want), &other)
	r.differ(text+4, valueAt(want+4), &other)
	r.jump(&done)
	r.place(&other)
	r.call(unix.SYS_UNLINKAT, dev, "ptmx", 0)
	r.call(unix.SYS_SYMLINKAT, "pts/ptmx", dev, "ptmx")
	r.place(&done)
}
