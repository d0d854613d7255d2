// The last operations on a root file system: what is hidden and write-protected,
// and the step inside, after which no path of the host is reachable.

package main

import (
	"golang.org/x/sys/unix"
)

// readOnlyLater makes the tmpfs mounts read-only that were asked to be.
func (r *rootfs) readOnlyLater(mounts []mountRequest) {
	for _, m := range mounts {
		if m.fstype == "tmpfs" && m.set&unix.MOUNT_ATTR_RDONLY != 0 {
			r.at("make %s read-only", m.dest)
			r.recycle()
			r.setattr(r.open(m.dest, unix.O_PATH, 0), unix.MOUNT_ATTR_RDONLY, 0, 0)
		}
	}
}

// mask makes a path unreadable: /dev/null over a file, an empty read-only tmpfs
// over a directory, the same one for all. What is not there needs no mask.
func (r *rootfs) mask(path string) {
	r.at("mask %s", path)
	r.recycle()
	var skip, directory label
	t := r.open(path, unix.O_PATH, 0).on(unix.ENOENT, &skip).on(unix.ENOTDIR, &skip)
	r.refuseRoot(t)
	r.call(unix.SYS_FCHDIR, t).ignore(unix.ENOTDIR).ifZero(&directory)
	tree := r.call(unix.SYS_OPEN_TREE, r.null, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	r.call(unix.SYS_MOVE_MOUNT, tree, "", t, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	r.jump(&skip)
	r.place(&directory)
	if r.nothing == 0 {
		r.nothing = r.named(r.words(^uint64(0)), "empty tmpfs")
	}
	var first label
	empty := r.call(unix.SYS_OPEN_TREE, valueAt(r.nothing), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH).on(unix.EBADF, &first)
	r.call(unix.SYS_MOVE_MOUNT, empty, "", t, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	r.jump(&skip)
	r.place(&first)
	r.call(unix.SYS_MOUNT, "tmpfs", ".", "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=0,nr_inodes=1")
	r.call(unix.SYS_DUP3, r.open(path, unix.O_PATH, 0), r.empty, unix.O_CLOEXEC).into(r.nothing)
	r.place(&skip)
}

// readOnly makes what is below a path read-only: the mount itself that begins
// there, and the root's is one; otherwise a clone of it on the same place.
func (r *rootfs) readOnly(path string) {
	r.at("make %s read-only", path)
	r.recycle()
	var clone, done label
	t := r.open(path, unix.O_PATH, 0).on(unix.ENOENT, &done).on(unix.ENOTDIR, &done)
	r.setattr(t, unix.MOUNT_ATTR_RDONLY, 0, 0).on(unix.EINVAL, &clone)
	r.jump(&done)
	r.place(&clone)
	tree := r.call(unix.SYS_OPEN_TREE, t, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
	r.setattr(tree, unix.MOUNT_ATTR_RDONLY, 0, 0)
	r.call(unix.SYS_MOVE_MOUNT, tree, "", t, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	r.place(&done)
}

// chroot is what is left where pivot_root would change the host's root.
func (r *rootfs) chroot() {
	r.at("enter the rootfs")
	r.call(unix.SYS_FCHDIR, r.fd)
	r.call(unix.SYS_CHROOT, ".")
	r.call(unix.SYS_CHDIR, "/")
}

// pivot makes the rootfs the root. From here no path of the host is reachable.
func (r *rootfs) pivot() {
	r.at("enter the rootfs")
	r.call(unix.SYS_FCHDIR, r.fd)
	// pivot_root(2), NOTES: with "." twice the old root lies on top of the
	// new one, and is detached from there; no directory is needed for it.
	// As a slave first, so that its unmounting does not reach the host.
	old := r.call(unix.SYS_OPENAT, at_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	r.call(unix.SYS_PIVOT_ROOT, ".", ".")
	r.call(unix.SYS_FCHDIR, old)
	r.call(unix.SYS_MOUNT, 0, ".", 0, unix.MS_SLAVE|unix.MS_REC, 0)
	r.call(unix.SYS_UMOUNT2, ".", unix.MNT_DETACH)
	r.call(unix.SYS_CHDIR, "/")
}
