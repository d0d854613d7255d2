// --no-pivot, for a host whose root is an initramfs, which pivot_root(2) refuses:
// the rootfs is moved over the host's root, and the process goes there by chroot.
//
// The host's root stays beneath it in the mount namespace. What is mounted on it
// must not stay: as long as a whole procfs or sysfs is anywhere in the namespace,
// the kernel lets a nested user namespace mount a fresh one, without the masks of
// the container's (mount_too_revealing in fs/namespace.c). So everything on the
// old root is detached. In a user namespace the host's mounts are locked and
// cannot be; there each procfs and sysfs is covered, which counts as a mask.

package main

import (
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// hostTable is what lies on the root of the host in the init's mount namespace;
// paths are relative to that root.
type hostTable struct {
	mounts []string // directly on the root, but for the rootfs
	bare   []string // each whole procfs and sysfs, but for the container's
}

// readHostTable reads it from a table of mounts.
func readHostTable(table, rootfs string) (t hostTable, err error) {
	if rootfs, err = filepath.EvalSymlinks(rootfs); err != nil {
		return t, err
	}
	var root string     // id of the first mount on /, which is the process's root
	var inside []string // ids of the rootfs and of what is mounted in it
	for m := range mountLines(table) {
		if m.point == "/" && root == "" {
			root = m.id
		}
		if m.point == rootfs {
			inside = []string{m.id} // the last one there is on top
		} else if slices.Contains(inside, m.parent) {
			inside = append(inside, m.id)
		}
	}
	for m := range mountLines(table) {
		point := strings.TrimPrefix(m.point, "/")
		if slices.Contains(inside, m.id) || point == "" {
			continue
		}
		if m.parent == root {
			t.mounts = append(t.mounts, point)
		}
		if m.root == "/" && (m.fstype == "proc" || m.fstype == "sysfs") {
			t.bare = append(t.bare, point)
		}
	}
	return t, nil
}

// moveOver makes the rootfs the root without pivot_root.
func (r *rootfs) moveOver(host hostTable) {
	r.at("enter the rootfs")
	old := r.call(unix.SYS_OPENAT, at_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	// On a shared root the move, and below it each unmount, would reach the host.
	r.call(unix.SYS_FCHDIR, old)
	r.call(unix.SYS_MOUNT, 0, ".", 0, unix.MS_SLAVE, 0)
	r.call(unix.SYS_FCHDIR, r.fd)
	r.call(unix.SYS_MOUNT, ".", "/", 0, unix.MS_MOVE, 0)
	r.call(unix.SYS_CHROOT, ".")

	r.call(unix.SYS_FCHDIR, old)
	for _, point := range host.mounts {
		r.at("detach %s of the host", point)
		var again, left label
		r.place(&again) // there may be several, one on the other
		r.call(unix.SYS_MOUNT, 0, point, 0, unix.MS_SLAVE|unix.MS_REC, 0).ignore(unix.ENOENT, unix.EINVAL)
		r.call(unix.SYS_UMOUNT2, point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW).on(unix.ENOENT, &left).on(unix.EINVAL, &left).on(unix.EPERM, &left)
		r.jump(&again)
		r.place(&left)
	}
	kind := r.alloc(120)
	for _, point := range host.bare {
		r.at("cover %s of the host", point)
		var cover, gone label
		r.call(unix.SYS_STATFS, point, kind).on(unix.ENOENT, &gone).on(unix.ENOTDIR, &gone)
		r.equal(kind, unix.PROC_SUPER_MAGIC, &cover)
		r.equal(kind, unix.SYSFS_MAGIC, &cover)
		r.jump(&gone)
		r.place(&cover)
		r.call(unix.SYS_MOUNT, "tmpfs", point, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=0,nr_inodes=1")
		r.place(&gone)
	}
	r.call(unix.SYS_CHDIR, "/")
}
