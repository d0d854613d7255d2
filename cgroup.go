// A container's cgroup: one directory in every hierarchy of cgroup v1, or one
// directory of cgroup v2. This file makes it, hands out the descriptors by
// which a process gets in, and removes it. cgroup_place.go says where it is,
// cgroup_dir.go how a directory is made, cgroup_limits.go and cgroup_devices.go
// what it limits, cgroup_procs.go who is inside, cgroup_systemd.go what is
// different where systemd makes it.
//
// Contract: limits are in force before anything joins, but the share of the
// processors (cgroup_cpu.go), which comes last. No process identifier
// is ever written to cgroup.procs: that one write waits for an RCU grace period
// (5 to 14 ms). On v1 the container's single-threaded init writes "0" to the
// `tasks` file of every hierarchy, on v2 it is born inside (clone3 with
// CLONE_INTO_CGROUP). Only the container's own directories are ever removed,
// and what create made when it failed: a parent may belong to a kubelet or to
// another container.

package main

import (
	"errors"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A cgroup is a container's place in every tree, ready to be made or found
// again by another command.
type cgroup struct {
	driver string
	path   string // cgroupsPath, cleaned
	v2     bool
	places []cgroupPlace
	limits *cgroupLimits // nil for one that was opened
	made   []string      // the directories that create made, in that order

	unit *systemdUnit // with the systemd driver

	// Without privileges and without a cgroupsPath the cgroup is a wish: what
	// may not be made is left out.
	optional bool
}

// A cgroupPlace is the container's directory in one tree.
type cgroupPlace struct {
	cgroupTree
	dir string
}

// place is where a controller's files are: on v2 all are in one directory.
func (c *cgroup) place(controller string) (cgroupPlace, bool) {
	for _, p := range c.places {
		if c.v2 || slices.Contains(p.names, controller) {
			return p, true
		}
	}
	return cgroupPlace{}, false
}

// cgroupState is what other commands need to find the cgroup again. Paths maps
// each v1 controller ("cpu", "name=systemd") to its directory, and "" to the
// v2 one: the only one on a v2 host, one more on a hybrid host.
type cgroupState struct {
	Driver string            `json:"driver,omitempty"`
	Path   string            `json:"path,omitempty"`
	Unit   string            `json:"unit,omitempty"` // of systemd's,
	User   bool              `json:"user,omitempty"` // the user's own
	Paths  map[string]string `json:"paths,omitempty"`
}

// newCgroup decides the place and checks the resources. Nothing is made yet.
// extraDevices are rules for what runh itself runs in the cgroup (a VMM needs
// /dev/kvm); they come after all others.
func newCgroup(id string, spec *specs.Spec, systemd, rootless bool, extraDevices []deviceRule) (*cgroup, error) {
	inner, unit, err := wantedCgroup(id, spec, systemd)
	if err != nil {
		return nil, err
	}
	host, err := findCgroupHost(!path.IsAbs(inner))
	if err != nil {
		return nil, err
	}
	c := placeCgroup(host, inner)
	c.setUnit(unit)
	c.optional = rootless && unit == nil && (spec.Linux == nil || spec.Linux.CgroupsPath == "")
	// Before the place goes on record: a delete that follows kills whom it
	// finds there.
	if err := checkUnused(c.mainPlace()); err != nil {
		return nil, err
	}
	c.limits, err = newCgroupLimits(c, spec, rootless, extraDevices)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// wantedCgroup reads cgroupsPath: its place, which is relative to runh's own
// cgroup if it does not begin with a slash, and the unit of the systemd driver.
func wantedCgroup(id string, spec *specs.Spec, systemd bool) (inner string, unit *systemdUnit, err error) {
	wanted := ""
	if spec.Linux != nil {
		wanted = spec.Linux.CgroupsPath
	}
	if !systemd {
		inner, err = cgroupInner(id, wanted)
		return inner, nil, err
	}
	if unit, err = newSystemdUnit(id, spec, wanted); err == nil {
		inner, err = unit.place()
	}
	return inner, unit, err
}

// pending: is it a scope that systemd will make around its first process?
func (c *cgroup) pending() bool { return c.unit != nil && c.unit.pending }

// setUnit makes it the cgroup of a unit; nil is none.
func (c *cgroup) setUnit(unit *systemdUnit) {
	if unit != nil {
		c.driver, c.unit = "systemd", unit
	}
}

func placeCgroup(host *cgroupHost, inner string) *cgroup {
	c := &cgroup{driver: "cgroupfs", path: inner, v2: host.v2}
	for _, t := range host.trees {
		c.places = append(c.places, cgroupPlace{t, cgroupDir(t, host.v2, inner)})
	}
	return c
}

// create makes the directories and sets the limits. If it fails, nothing that
// it made is left.
func (c *cgroup) create() error {
	if err := c.createBirthplace(); err != nil {
		return err
	}
	if err := c.createRest(); err != nil {
		return err
	}
	err := c.limits.applyCPU(c)
	if err != nil {
		c.unmake()
	}
	return err
}

// unmake removes the directories that create made, as far as nobody uses them
// by now.
func (c *cgroup) unmake() {
	for _, dir := range slices.Backward(c.made) {
		_ = unix.Rmdir(dir) // best effort: the cause is what the caller must hear
	}
	c.made = nil
}

// createBirthplace is the part of create that a process can be born in: all of
// it on v2, but nothing where systemd will make a scope around the process. The
// v1 hierarchies of createRest are joined later, and can be made while the
// process does other things; but not where they may be refused, as what there
// is decides what the process waits for and mounts.
func (c *cgroup) createBirthplace() (err error) {
	if c.unit != nil {
		if c.unit.pending {
			return nil
		}
		if err := c.unit.start(c, 0); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				_ = c.unit.stop() // the cause is what the caller must hear
			}
		}()
	}
	if err := c.makePlaces(true); err != nil || !c.optional {
		return err
	}
	return c.makePlaces(false)
}

func (c *cgroup) createRest() error {
	if c.optional {
		return nil
	}
	return c.makePlaces(false)
}

func (c *cgroup) makePlaces(v2 bool) (err error) {
	defer func() {
		if err != nil {
			c.unmake()
		}
	}()
	kept := c.places[:0:0]
	for _, p := range c.places {
		if p.isV2() != v2 {
			kept = append(kept, p)
			continue
		}
		err := c.makePlace(p)
		switch {
		case err == nil:
			kept = append(kept, p)
		case c.optional && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS)):
			// A rootless container without limits does without.
		case p.isV2() && !c.v2:
			// The v2 tree of a hybrid host limits nothing; not every host
			// lets us write there.
		default:
			return err
		}
	}
	c.places = kept
	if c.v2 != v2 {
		return nil
	}
	return c.limits.apply(c)
}

// makePlace makes one directory, with its parents, and readies it for
// processes.
func (c *cgroup) makePlace(p cgroupPlace) error {
	switch err := c.makeDir(p.mount, p.dir); err {
	case nil:
	case unix.EEXIST:
		if c.unit != nil {
			break // systemd was here before us, and has put the init in
		}
		if err := checkUnused(p.dir); err != nil {
			return err
		}
	default:
		return &os.PathError{Op: "mkdir", Path: p.dir, Err: err}
	}
	if slices.Contains(p.names, "cpuset") {
		return inheritCpuset(p.mount, p.dir, orZero(c.limits.resources.CPU))
	}
	if c.v2 {
		return enableControllers(p.mount, p.dir)
	}
	return nil
}

// state is what to save.
func (c *cgroup) state() cgroupState {
	s := cgroupState{Driver: c.driver, Path: c.path, Paths: map[string]string{}}
	for _, p := range c.places {
		for _, name := range p.names {
			s.Paths[name] = p.dir
		}
		if p.isV2() {
			s.Paths[""] = p.dir
		}
	}
	if c.unit != nil {
		s.Unit, s.User = c.unit.name, c.unit.user
	}
	return s
}

// openCgroup is the cgroup of a saved state. Directories that are no longer
// there are no error, then or later: a cgroup may be gone before its container.
func openCgroup(s cgroupState) *cgroup {
	c := &cgroup{driver: s.Driver, path: s.Path}
	if s.Unit != "" {
		c.unit = &systemdUnit{name: s.Unit, user: s.User}
	}
	for name, dir := range s.Paths {
		i := slices.IndexFunc(c.places, func(p cgroupPlace) bool { return p.dir == dir })
		if i < 0 {
			i = len(c.places)
			c.places = append(c.places, cgroupPlace{dir: dir})
		}
		if name != "" {
			c.places[i].names = append(c.places[i].names, name)
			slices.Sort(c.places[i].names)
		}
	}
	slices.SortFunc(c.places, func(a, b cgroupPlace) int { return strings.Compare(a.dir, b.dir) })
	c.v2 = len(c.places) == 1 && c.places[0].isV2()
	return c
}

// destroy removes the container's directories with all below them; missing
// ones are fine. A process that was just killed leaves its cgroup only when
// the kernel has finished with it, so EBUSY is tried again for two seconds.
func (c *cgroup) destroy() error {
	var errs []error
	if c.unit != nil {
		errs = append(errs, c.unit.stop())
	}
	deadline := time.Now().Add(2 * time.Second)
	for _, p := range c.places {
		errs = append(errs, removeCgroup(p.dir, deadline))
	}
	return errors.Join(errs...)
}
