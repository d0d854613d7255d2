// The parts of a container that come from outside, and that criu must not look for inside: the host's files that
// are mounted in it, and stdin, stdout and stderr.
//
// Contract: a file of runh's own among criu's images names them. At restore the new config.json and the stdio of
// restore take their places.

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const criuOutsideName = "runh.json"

// criuOutside is that file. Names are those that criu's images have.
type criuOutside struct {
	Stdio  []string       `json:"stdio"` // "": the container's own
	Mounts []outsideMount `json:"mounts"`
}

type outsideMount struct {
	Point   string `json:"point"`
	Name    string `json:"name"`    // the point by config.json, which may name it by symbolic links
	Options string `json:"options"` // of the mount, not of its file system
}

// insideMounts are those that a container has.
type insideMounts []mountLine

func readInsideMounts(pid int) (insideMounts, error) {
	table, err := readMountinfo(pid)
	if err != nil {
		return nil, errNotRunning
	}
	return slices.Collect(mountLines(table)), nil
}

// has says whether there is at point what of has elsewhere.
func (all insideMounts) has(point string, of mountLine) bool {
	return slices.ContainsFunc(all, func(m mountLine) bool { return m.point == point && m.device == of.device && m.root == of.root })
}

// original is the point of what m is a copy of. A recursive bind mount of a directory in which the container's own
// rootfs lies shows that again, with what had been mounted in it so far.
func (all insideMounts) original(m mountLine) string {
	for _, rootfs := range all {
		rest, below := strings.CutPrefix(m.point, rootfs.point+"/")
		if below && all.has("/", rootfs) && all.has("/"+rest, m) {
			m.point = "/" + rest
			return all.original(m)
		}
	}
	return m.point
}

// leaveOutside tells a dump what comes from outside.
func (c *container) leaveOutside(call *criuCall, spec *specs.Spec) (*criuOutside, error) {
	mounts, err := readInsideMounts(c.Pid)
	if err != nil {
		return nil, err
	}
	out := &criuOutside{}
	for fd := range 3 {
		name := c.stdioOutside(fd, mounts)
		if strings.HasPrefix(name, "file[") {
			call.opts.text(criuExternal, name)
		}
		out.Stdio = append(out.Stdio, name)
	}
	sources, err := readSources(spec, c.Bundle)
	if err != nil {
		return nil, err
	}
	for i := range sources {
		s := &sources[i]
		point, dir := c.resolve(s.name)
		if !dir || !s.alone { // a masked directory has a tmpfs of the container's own
			s.point = point
		}
	}
	v2 := openCgroup(c.Cgroup).v2
	for _, m := range mounts {
		name, found := sources.nameOf(mounts.original(m), v2)
		if !found {
			continue
		}
		out.Mounts = append(out.Mounts, outsideMount{m.point, name, m.options})
		call.opts.text(criuExternal, "mnt["+m.point+"]:"+name)
	}
	return out, nil
}

// stdioOutside is criu's name for a pipe, or for a file on a mount that is not the container's. Terminals it knows.
func (c *container) stdioOutside(fd int, inside insideMounts) string {
	path := fmt.Sprintf("/proc/%d/fd/%d", c.Pid, fd)
	if link, _ := os.Readlink(path); strings.HasPrefix(link, "pipe:[") {
		return link
	}
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil { // closed
		return ""
	}
	const unix98 = 136 // the first of eight majors of pseudo-terminals: devices.txt
	kind, major := st.Mode&unix.S_IFMT, unix.Major(uint64(st.Rdev))
	if kind != unix.S_IFREG && kind != unix.S_IFCHR || kind == unix.S_IFCHR && major >= unix98 && major < unix98+8 {
		return ""
	}
	info, _ := readFile(fmt.Sprintf("/proc/%d/fdinfo/%d", c.Pid, fd), 1<<16)
	for line := range strings.Lines(string(info)) {
		id, found := strings.CutPrefix(strings.TrimSpace(line), "mnt_id:\t")
		if found && !slices.ContainsFunc(inside, func(m mountLine) bool { return m.id == id }) {
			n, _ := strconv.Atoi(id)
			return fmt.Sprintf("file[%x:%x]", n, st.Ino)
		}
	}
	return ""
}

// resolve is where a path of config.json leads in the container, without symbolic links; "" is nowhere.
func (c *container) resolve(path string) (point string, dir bool) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", c.Pid), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", false
	}
	defer unix.Close(root)
	fd, err := openBeneath(root, path)
	if err != nil {
		return "", false
	}
	defer unix.Close(fd)
	point, _ = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	return point, isDir(fd)
}

func isDir(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// makePoint makes a mount point that a new root does not have yet, as create would.
func makePoint(root int, path string, dir bool) error {
	parent, name := root, ""
	parts := strings.Split(beneath(path), "/")
	for i := range parts {
		fd, err := openBeneath(root, strings.Join(parts[:i+1], "/"))
		if err == unix.ENOENT {
			name = parts[i]
			if i < len(parts)-1 || dir {
				err = unix.Mkdirat(parent, name, 0o755)
			} else {
				err = unix.Mknodat(parent, name, unix.S_IFREG|0o644, 0)
			}
			if err == nil {
				fd, err = openBeneath(root, strings.Join(parts[:i+1], "/"))
			}
		}
		if err != nil {
			return fmt.Errorf("make the mount point %s: %w", path, err)
		}
		defer unix.Close(fd)
		parent = fd
	}
	return nil
}

// A mountSource is a place in config.json where something is mounted.
type mountSource struct {
	name   string // as it is written there
	point  string // at checkpoint: where that is
	source string // of the host's; "" is none: a file system of the container's own
	attrs  uint64 // that the mount has by config.json
	rattrs uint64 // and that also those below have
	alone  bool   // nothing can be mounted below it
	groups bool   // a mount of type cgroup, without a cgroup namespace: cgroup v1 has a tmpfs there, and the cgroups in it
}

type mountSources []mountSource

func readSources(spec *specs.Spec, bundle string) (all mountSources, err error) {
	rootfs, _ := rootfsPath(bundle, spec) // a rootfs that is gone has no other name than the config's
	for _, m := range spec.Mounts {
		r, err := readMount(m, bundle)
		if err != nil {
			return nil, err
		}
		r.inRootfs(rootfs, spec, bundle)
		s := mountSource{name: r.dest}
		switch {
		case r.remount:
			continue
		case r.idmap || len(r.uids) > 0:
			return nil, fmt.Errorf("mount %s: criu does not know id maps of mounts", r.dest)
		case r.bind:
			s.source, s.attrs, s.rattrs = r.source, r.set|r.rset, r.rset
		case r.fstype == "cgroup" || r.fstype == "cgroup2":
			s.groups = !hasNamespace(spec, specs.CgroupNamespace)
		}
		all = append(all, s)
	}
	devices, err := specDevices(spec.Linux.Devices)
	if err != nil {
		return nil, err
	}
	for _, d := range devices { // mounted where they may not be made
		all = append(all, mountSource{name: d.path, source: d.path, alone: true})
	}
	for _, p := range spec.Linux.MaskedPaths { // a directory has a tmpfs instead, which is its own
		all = append(all, mountSource{name: filepath.Clean("/" + p), source: "/dev/null", alone: true})
	}
	return all, nil
}

// nameOf is the name of a mount from outside: that of the innermost source it belongs to, and the way on from there.
func (all mountSources) nameOf(point string, v2 bool) (name string, outside bool) {
	best := mountSource{}
	for _, s := range all {
		if len(s.point) >= len(best.point) && s.point != "" && (point == s.point || !s.alone && strings.HasPrefix(point, s.point+"/")) {
			best = s
		}
	}
	return best.name + strings.TrimPrefix(point, best.point), best.source != "" || best.groups && (point == best.point) == v2
}

// sourceOf is what a name stands for now, and the attributes that it has now.
func (all mountSources) sourceOf(name string, group *cgroup) (source string, attrs uint64, err error) {
	best, rest := mountSource{}, ""
	for _, s := range all {
		way, found := strings.CutPrefix(name, s.name)
		if found && len(s.name) >= len(best.name) && (way == "" || !s.alone && way[0] == '/') {
			best, rest = s, way
		}
	}
	if best.groups {
		for _, m := range cgroupMountPlan(group, false) {
			if rest == "" && m.Name == "" || rest == "/"+m.Name {
				return filepath.Join(m.Host, m.Source), 0, nil
			}
		}
	}
	if best.source == "" {
		return "", 0, errors.New("is of a container with a mount on " + name + ", which config.json has not")
	}
	if rest == "" {
		return best.source, best.attrs, nil
	}
	return filepath.Join(best.source, filepath.Clean("/"+rest)), best.rattrs, nil
}
