// Mounts of the spec: option words to attributes and flags. rootfs.go has the system calls.
//
// Contract, for all files that touch the rootfs: every path inside it is hostile. The image chose its names and
// symbolic links, and another container can be changing a shared volume meanwhile. So nothing inside the rootfs is
// named by a path from outside. A target is opened with openat2 beneath the root's descriptor (RESOLVE_IN_ROOT, no
// magic links), created component by component through directory descriptors if it is missing, and mounted on by
// descriptor. mount(2) is only called on "." after fchdir, on "/" to set propagation, and by rootfs_nopivot.go on mounts
// of the host.

package main

import (
	"fmt"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// mountOption is what one word of a mount's options stands for.
type mountOption struct {
	word        string
	set, clear  uint64  // mount attributes of this mount (mount_setattr)
	recursive   bool    // the attributes are for the mounts below as well
	flags       uintptr // flags that only mount(2) has: of the file system, not of the mount
	clearFlags  uintptr
	propagation uintptr
	bind, rbind bool
	tmpcopyup   bool
	remount     bool
	idmap       bool
}

// The attributes in which the access time has a share are a field of their own:
// setting one clears the others.
const atime = unix.MOUNT_ATTR__ATIME

var mountOptions = [...]mountOption{
	{word: "async", clearFlags: unix.MS_SYNCHRONOUS},
	{word: "atime", clear: atime, set: unix.MOUNT_ATTR_RELATIME},
	{word: "bind", bind: true},
	{word: "defaults"},
	{word: "dev", clear: unix.MOUNT_ATTR_NODEV},
	{word: "diratime", clear: unix.MOUNT_ATTR_NODIRATIME},
	{word: "dirsync", flags: unix.MS_DIRSYNC},
	{word: "exec", clear: unix.MOUNT_ATTR_NOEXEC},
	{word: "idmap", idmap: true},
	{word: "iversion", flags: unix.MS_I_VERSION},
	{word: "lazytime", flags: unix.MS_LAZYTIME},
	{word: "loud", clearFlags: unix.MS_SILENT},
	{word: "mand", flags: unix.MS_MANDLOCK},
	{word: "noatime", clear: atime, set: unix.MOUNT_ATTR_NOATIME},
	{word: "nodev", set: unix.MOUNT_ATTR_NODEV},
	{word: "nodiratime", set: unix.MOUNT_ATTR_NODIRATIME},
	{word: "noexec", set: unix.MOUNT_ATTR_NOEXEC},
	{word: "noiversion", clearFlags: unix.MS_I_VERSION},
	{word: "nolazytime", clearFlags: unix.MS_LAZYTIME},
	{word: "nomand", clearFlags: unix.MS_MANDLOCK},
	{word: "norelatime", clear: atime, set: unix.MOUNT_ATTR_STRICTATIME},
	{word: "nostrictatime", clear: atime, set: unix.MOUNT_ATTR_RELATIME},
	{word: "nosuid", set: unix.MOUNT_ATTR_NOSUID},
	{word: "nosymfollow", set: unix.MOUNT_ATTR_NOSYMFOLLOW},
	{word: "private", propagation: unix.MS_PRIVATE},
	{word: "ratime", clear: atime, set: unix.MOUNT_ATTR_RELATIME, recursive: true},
	{word: "rbind", rbind: true},
	{word: "rdev", clear: unix.MOUNT_ATTR_NODEV, recursive: true},
	{word: "rdiratime", clear: unix.MOUNT_ATTR_NODIRATIME, recursive: true},
	{word: "relatime", clear: atime, set: unix.MOUNT_ATTR_RELATIME},
	{word: "remount", remount: true},
	{word: "rexec", clear: unix.MOUNT_ATTR_NOEXEC, recursive: true},
	{word: "ridmap", idmap: true, recursive: true},
	{word: "rnoatime", clear: atime, set: unix.MOUNT_ATTR_NOATIME, recursive: true},
	{word: "rnodev", set: unix.MOUNT_ATTR_NODEV, recursive: true},
	{word: "rnodiratime", set: unix.MOUNT_ATTR_NODIRATIME, recursive: true},
	{word: "rnoexec", set: unix.MOUNT_ATTR_NOEXEC, recursive: true},
	{word: "rnorelatime", clear: atime, set: unix.MOUNT_ATTR_STRICTATIME, recursive: true},
	{word: "rnostrictatime", clear: atime, set: unix.MOUNT_ATTR_RELATIME, recursive: true},
	{word: "rnosuid", set: unix.MOUNT_ATTR_NOSUID, recursive: true},
	{word: "rnosymfollow", set: unix.MOUNT_ATTR_NOSYMFOLLOW, recursive: true},
	{word: "ro", set: unix.MOUNT_ATTR_RDONLY},
	{word: "rprivate", propagation: unix.MS_PRIVATE | unix.MS_REC},
	{word: "rrelatime", clear: atime, set: unix.MOUNT_ATTR_RELATIME, recursive: true},
	{word: "rro", set: unix.MOUNT_ATTR_RDONLY, recursive: true},
	{word: "rrw", clear: unix.MOUNT_ATTR_RDONLY, recursive: true},
	{word: "rshared", propagation: unix.MS_SHARED | unix.MS_REC},
	{word: "rslave", propagation: unix.MS_SLAVE | unix.MS_REC},
	{word: "rstrictatime", clear: atime, set: unix.MOUNT_ATTR_STRICTATIME, recursive: true},
	{word: "rsuid", clear: unix.MOUNT_ATTR_NOSUID, recursive: true},
	{word: "rsymfollow", clear: unix.MOUNT_ATTR_NOSYMFOLLOW, recursive: true},
	{word: "runbindable", propagation: unix.MS_UNBINDABLE | unix.MS_REC},
	{word: "rw", clear: unix.MOUNT_ATTR_RDONLY},
	{word: "shared", propagation: unix.MS_SHARED},
	{word: "silent", flags: unix.MS_SILENT},
	{word: "slave", propagation: unix.MS_SLAVE},
	{word: "strictatime", clear: atime, set: unix.MOUNT_ATTR_STRICTATIME},
	{word: "suid", clear: unix.MOUNT_ATTR_NOSUID},
	{word: "symfollow", clear: unix.MOUNT_ATTR_NOSYMFOLLOW},
	{word: "sync", flags: unix.MS_SYNCHRONOUS},
	{word: "tmpcopyup", tmpcopyup: true},
	{word: "unbindable", propagation: unix.MS_UNBINDABLE},
}

// mountOptionNames are the words that `features` advertises.
func mountOptionNames() []string {
	var names []string
	for _, o := range mountOptions {
		names = append(names, o.word)
	}
	return names
}

// mountRequest is one entry of the spec's mounts, read.
type mountRequest struct {
	dest, source, fstype string
	bind, recursive      bool
	remount, tmpcopyup   bool
	idmap, ridmap        bool
	uids, gids           []specs.LinuxIDMapping
	tree                 int    // descriptor in the init of a clone that the parent has made, see inheritTrees
	asks                 bool   // the init asks for that clone when it comes to it
	within               string // the source is this name in the container's own rootfs, see inRootfs
	index                int    // in the list, by which the init names it
	covered              int    // what a tmpfs with tmpcopyup covers, once the init has sent it, 0: nothing
	set, clear           uint64 // attributes of the mount,
	rset, rclear         uint64 // and of all below it
	flags                uintptr
	propagation          uintptr
	data                 []string // what is left is for the file system,
	options              addr     // where it is written in the program, with room for a mode before it
	xattr                string   // SELinux label of the root, where data cannot say it
}

// readMount reads one mount of the spec. Words it does not know are the file
// system's business, and an error where the mount makes none.
func readMount(m specs.Mount, bundle string) (mountRequest, error) {
	r := mountRequest{dest: filepath.Clean("/" + m.Destination), source: m.Source, fstype: m.Type}
	r.uids, r.gids = m.UIDMappings, m.GIDMappings
	r.idmap = len(r.uids) > 0
options:
	for _, word := range m.Options {
		for i := range mountOptions {
			o := &mountOptions[i]
			if o.word != word {
				continue
			}
			if o.recursive {
				r.rset, r.rclear = r.rset&^o.clear|o.set, r.rclear&^o.set|o.clear
			} else {
				r.set, r.clear = r.set&^o.clear|o.set, r.clear&^o.set|o.clear
			}
			r.flags = r.flags&^o.clearFlags | o.flags
			if o.propagation != 0 {
				r.propagation = o.propagation
			}
			r.idmap = r.idmap || o.idmap
			r.ridmap = r.ridmap || o.idmap && o.recursive
			r.bind = r.bind || o.bind || o.rbind
			r.recursive = r.recursive || o.rbind
			r.tmpcopyup = r.tmpcopyup || o.tmpcopyup
			r.remount = r.remount || o.remount
			continue options
		}
		if word != "" { // as in an empty list that somebody has joined and split again
			r.data = append(r.data, word)
		}
	}
	if r.fstype == "bind" || r.fstype == "rbind" {
		r.recursive = r.recursive || r.fstype == "rbind"
		r.bind = true
	}
	if r.bind {
		r.fstype = "bind"
		if !filepath.IsAbs(r.source) {
			r.source = filepath.Join(bundle, r.source)
		}
	}
	if (r.bind || r.remount) && len(r.data) > 0 {
		kind := "bind mounts"
		if !r.bind {
			kind = "remounts"
		}
		return r, fmt.Errorf("mount %s: option %q is unknown: %s cannot have any filesystem-specific options applied (runh features lists the words)", m.Destination, r.data[0], kind)
	}
	if r.tmpcopyup && r.fstype != "tmpfs" {
		return r, fmt.Errorf("mount %s: option tmpcopyup is for tmpfs, not for %q", m.Destination, r.fstype)
	}
	return r, nil
}

// mountFlags are the attributes as mount(2) spells them.
func (r *mountRequest) mountFlags() uintptr {
	f := r.flags
	for _, a := range [...]struct {
		attr uint64
		flag uintptr
	}{
		{unix.MOUNT_ATTR_RDONLY, unix.MS_RDONLY},
		{unix.MOUNT_ATTR_NOSUID, unix.MS_NOSUID},
		{unix.MOUNT_ATTR_NODEV, unix.MS_NODEV},
		{unix.MOUNT_ATTR_NOEXEC, unix.MS_NOEXEC},
		{unix.MOUNT_ATTR_NODIRATIME, unix.MS_NODIRATIME},
		{unix.MOUNT_ATTR_NOSYMFOLLOW, unix.MS_NOSYMFOLLOW},
	} {
		if r.set&a.attr != 0 {
			f |= a.flag
		}
	}
	switch {
	case r.clear&atime == 0:
	case r.set&unix.MOUNT_ATTR_NOATIME != 0:
		f |= unix.MS_NOATIME
	case r.set&unix.MOUNT_ATTR_STRICTATIME != 0:
		f |= unix.MS_STRICTATIME
	default:
		f |= unix.MS_RELATIME
	}
	return f
}
