// The directories of a container's cgroups. The host's cgroup trees are found once per command; everything else
// here is pure: cgroupsPath to directories, and the list of directories that a mount of type "cgroup" shows to
// the container.
//
// Contract: nothing is made, joined or mounted here. The host's mount table is read at most once, and only if
// the usual directories under /sys/fs/cgroup do not answer.

package main

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// A cgroupTree is one mounted hierarchy: a v1 hierarchy with its controllers,
// the v2 hierarchy, or the v2 hierarchy beside the v1 ones on a hybrid host.
type cgroupTree struct {
	names []string // v1: "cpu", "cpuacct"; "name=systemd"; v2: none
	mount string   // where it is mounted
	own   string   // the directory of the cgroup that runh itself is in
}

func (t cgroupTree) isV2() bool { return len(t.names) == 0 }

// A cgroupHost is what the host offers. On a hybrid host v2 is false and the
// v2 tree comes last in trees.
type cgroupHost struct {
	v2    bool
	trees []cgroupTree
}

// findCgroupHost looks for the hierarchies where every distribution mounts
// them: statfs(2) of ten directories costs 20 µs, the mount table of a busy
// Docker host a hundred times that.
//
// runh's own cgroup is only looked up where a relative path needs it.
func findCgroupHost(needOwn bool) (*cgroupHost, error) {
	self, err := cgroupRead("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	joined := parseSelfCgroup(self)
	var table []cgroupMountpoint
	read := false
	mounts := func() []cgroupMountpoint {
		if !read {
			// An unreadable mount table is the same as an empty one: the
			// hierarchy counts as not mounted, and who needs it says so.
			text, _ := cgroupRead("/proc/self/mountinfo")
			table, read = parseCgroupMounts(text), true
		}
		return table
	}

	h := &cgroupHost{v2: cgroupFSType(cgroupRoot) == unix.CGROUP2_SUPER_MAGIC}
	var unified *cgroupTree
	for _, j := range joined {
		t := cgroupTree{names: j.names}
		switch {
		case h.v2 && !t.isV2():
			continue // nothing can be mounted as v1 beside a v2 root that we could use
		case h.v2:
			t.mount = cgroupRoot
		case t.isV2():
			if t.mount = cgroupRoot + "/unified"; cgroupFSType(t.mount) != unix.CGROUP2_SUPER_MAGIC {
				continue
			}
		default:
			if t.mount = usualCgroupMount(j.names); t.mount == "" {
				t.mount = findCgroupMount(mounts(), j.names[0]).mount
			}
			if t.mount == "" {
				continue
			}
		}
		if needOwn {
			t.own = path.Join(t.mount, j.path)
			if !isCgroupTreeRoot(t.mount) {
				t.own = ownCgroup(mounts(), t.mount, j.path)
			}
		}
		if t.isV2() && !h.v2 {
			unified = &t
			continue
		}
		h.trees = append(h.trees, t)
	}
	if len(h.trees) == 0 {
		return nil, fmt.Errorf("no cgroup hierarchy is mounted on %s", cgroupRoot)
	}
	if unified != nil {
		h.trees = append(h.trees, *unified)
	}
	return h, nil
}

// usualCgroupMount tries /sys/fs/cgroup/cpu,cpuacct, then /cpu, then /cpuacct.
func usualCgroupMount(names []string) string {
	all := strings.TrimPrefix(strings.Join(names, ","), "name=")
	for _, name := range append([]string{all}, names...) {
		dir := cgroupRoot + "/" + name
		if cgroupFSType(dir) == unix.CGROUP_SUPER_MAGIC {
			return dir
		}
	}
	return ""
}

func cgroupFSType(dir string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0
	}
	return int64(st.Type)
}

// ownCgroup is for a container's view without a cgroup namespace: the mount
// shows a part of the tree, but /proc/self/cgroup counts from the top.
func ownCgroup(table []cgroupMountpoint, mount, self string) string {
	own := mount
	for _, m := range table {
		rest, below := strings.CutPrefix(self+"/", strings.TrimSuffix(m.root, "/")+"/")
		if m.mount == mount && below {
			own = path.Join(mount, rest)
		}
	}
	return own
}

// isCgroupTreeRoot reports whether dir is the top of its hierarchy: kernfs
// gives the number 1 to the root alone.
func isCgroupTreeRoot(dir string) bool {
	var st unix.Stat_t
	return unix.Stat(dir, &st) == nil && st.Ino == 1
}

// A joinedCgroup is one line of /proc/self/cgroup.
type joinedCgroup struct {
	names []string
	path  string
}

// parseSelfCgroup reads "hierarchy:controllers:path" lines (cgroups(7)). Of the
// named hierarchies only systemd's matters to a container.
func parseSelfCgroup(text string) []joinedCgroup {
	var all []joinedCgroup
	for line := range strings.Lines(text) {
		_, rest, ok1 := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		list, dir, ok2 := strings.Cut(rest, ":")
		if !ok1 || !ok2 || strings.HasPrefix(list, "name=") && list != "name=systemd" {
			continue
		}
		j := joinedCgroup{path: dir}
		if list != "" {
			j.names = strings.Split(list, ",")
		}
		all = append(all, j)
	}
	return all
}

// A cgroupMountpoint is one v1 or v2 line of /proc/self/mountinfo.
type cgroupMountpoint struct {
	root, mount, fstype string
	options             []string // of the superblock: holds the controllers' names
}

// parseCgroupMounts reads proc_pid_mountinfo(5).
func parseCgroupMounts(text string) []cgroupMountpoint {
	var all []cgroupMountpoint
	for m := range mountLines(text) {
		if m.fstype != "cgroup" && m.fstype != "cgroup2" || len(m.super) < 2 {
			continue
		}
		all = append(all, cgroupMountpoint{root: m.root, mount: m.point, fstype: m.fstype, options: strings.Split(m.super[1], ",")})
	}
	return all
}

func findCgroupMount(table []cgroupMountpoint, name string) cgroupMountpoint {
	for _, m := range table {
		for _, o := range m.options {
			if m.fstype == "cgroup" && o == name {
				return m
			}
		}
	}
	return cgroupMountpoint{}
}

// cgroupInner checks linux.cgroupsPath and returns it cleaned. Absolute means
// from the top of every hierarchy, relative from runh's own cgroup there; an
// absent path is the container's id, relative, as in runc. ".." is refused
// rather than cleaned away: nobody who writes it wants what would be left.
func cgroupInner(id, cgroupsPath string) (string, error) {
	if cgroupsPath == "" {
		return id, nil
	}
	for part := range strings.SplitSeq(cgroupsPath, "/") {
		if part == ".." {
			return "", fmt.Errorf("linux.cgroupsPath %q: must not contain \"..\"", cgroupsPath)
		}
	}
	if strings.ContainsAny(cgroupsPath, "\x00\n") {
		return "", fmt.Errorf("linux.cgroupsPath %q: must not contain NUL or newline", cgroupsPath)
	}
	inner := path.Clean(cgroupsPath)
	if inner == "/" || inner == "." {
		return "", fmt.Errorf("linux.cgroupsPath %q: names no cgroup of the container's own", cgroupsPath)
	}
	return inner, nil
}

// cgroupDir is the container's directory in tree t.
func cgroupDir(t cgroupTree, hostV2 bool, inner string) string {
	switch {
	case path.IsAbs(inner):
		return path.Join(t.mount, inner)
	case hostV2:
		// A v2 cgroup with processes cannot have children with controllers
		// (the "no internal processes" rule), and ours has one: runh. So the
		// container becomes a sibling, as in runc.
		if t.own != t.mount {
			return path.Join(path.Dir(t.own), inner)
		}
	}
	return path.Join(t.own, inner)
}

// A cgroupMount is one directory below the container's cgroup mount.
type cgroupMount struct {
	Name   string   // its name there: "cpu,cpuacct", "systemd"; v2: "" (the mount itself)
	Links  []string // symbolic links to it beside it: "cpu", "cpuacct"
	Data   string   // mount(2) data for a mount of type cgroup: "cpu,cpuacct", "none,name=systemd"
	Host   string   // the hierarchy's mount point on the host
	Source string   // what to show, below Host: "/docker/ID", or "/" in a new cgroup namespace
}

// cgroupMountPlan says what a mount of type "cgroup" holds: for v1 one
// directory per hierarchy, for v2 a single one. Inside a cgroup namespace the
// kernel itself shows the container's cgroup as the root of a fresh mount, so
// Source is "/"; without one it is the directory to bind from the host. The
// v2 tree of a hybrid host is left out, as runc does: programs take its
// presence for a systemd host.
func cgroupMountPlan(c *cgroup, cgroupNS bool) []cgroupMount {
	var plan []cgroupMount
	for _, p := range c.places {
		if p.isV2() && !c.v2 {
			continue
		}
		m := cgroupMount{Host: p.mount, Source: "/"}
		if !cgroupNS {
			m.Source = "/" + strings.TrimPrefix(strings.TrimPrefix(p.dir, p.mount), "/")
		}
		if !p.isV2() {
			m.Name = path.Base(p.mount)
			m.Data = strings.Join(p.names, ",")
			if strings.HasPrefix(m.Data, "name=") {
				m.Data = "none," + m.Data
			}
			for _, name := range p.names {
				if len(p.names) > 1 && name != m.Name {
					m.Links = append(m.Links, name)
				}
			}
		}
		plan = append(plan, m)
	}
	return plan
}
