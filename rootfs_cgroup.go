// The container's /sys/fs/cgroup.

package main

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mountCgroups builds /sys/fs/cgroup: the container's own cgroup and nothing of
// the host's beside it. On v1 that is a tmpfs with a directory per hierarchy.
// With a cgroup namespace a bind shows the same as a fresh mount would.
func (r *rootfs) mountCgroups(m mountRequest, plan []cgroupMount) {
	r.at("mount cgroup on %s", m.dest)
	target := r.target(m.dest, true, 0)
	r.refuseRoot(target)
	r.covers = append(r.covers, m.dest)
	bind := m
	bind.fstype, bind.bind = "bind", true
	if len(plan) == 1 && plan[0].Name == "" { // cgroup v2
		bind.source = filepath.Join(plan[0].Host, plan[0].Source)
		r.attach(&bind, r.clone(&bind), target, atime)
		return
	}
	m.fstype, m.source, m.data = "tmpfs", "tmpfs", []string{"mode=755", "size=1m"}
	r.fresh(&m, target, strings.Join(m.data, ","))
	bind.propagation = 0
	for _, h := range plan {
		r.recycle()
		bind.source = filepath.Join(h.Host, h.Source)
		dir := r.target(m.dest+"/"+h.Name, true, 0)
		r.attach(&bind, r.clone(&bind), dir, atime)
	}
	dir := r.open(m.dest, unix.O_PATH|unix.O_DIRECTORY, 0)
	for _, h := range plan {
		for _, link := range h.Links {
			r.call(unix.SYS_SYMLINKAT, h.Name, dir, link).ignore(unix.EEXIST)
		}
	}
	if m.set&unix.MOUNT_ATTR_RDONLY != 0 {
		r.setattr(dir, unix.MOUNT_ATTR_RDONLY, 0, 0)
	}
}
