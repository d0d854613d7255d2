// The owner of a container's cgroup: on v2 the container's user can have it, so that a systemd, a Docker or a
// podman inside can make cgroups of its own (config-linux.md, "Cgroup Ownership").
//
// Contract: runh gives away the directory and the files that the kernel names for this, which move processes and
// enable controllers below. The files with the limits stay the host's. The container needs a cgroup namespace of
// its own and a writable mount of it.

package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func (c *cgroup) give(uid int) error {
	text, err := cgroupRead("/sys/kernel/cgroup/delegate")
	if err != nil { // before Linux 4.15
		text = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n"
	}
	dir := c.places[0].dir
	for _, file := range append([]string{"."}, strings.Fields(text)...) {
		var st unix.Stat_t
		err := unix.Lstat(dir+"/"+file, &st)
		if err == unix.ENOENT && file != "." {
			continue // of a controller that is not enabled here
		}
		if err == nil && int(st.Uid) == uid {
			continue
		}
		if err == nil {
			err = unix.Lchown(dir+"/"+file, uid, -1)
		}
		if err != nil {
			return fmt.Errorf("cgroup: give to user %d: %w", uid, &os.PathError{Op: "chown", Path: dir + "/" + file, Err: err})
		}
	}
	return nil
}
