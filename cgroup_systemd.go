// The systemd driver: a container's cgroup is a scope of systemd's, or a slice,
// whose limits are properties of the unit. This file names the unit, starts it,
// changes it and stops it; cgroup_unit_property.go says what its properties are.
//
// Contract: systemd makes the directories of the controllers that it knows; the
// rest, the exact limits, and everything else that is done to a cgroup is as
// with the cgroupfs driver. A scope does not exist without a process, so the
// container's init waits outside until it has been put there by its pid. A slice
// does, and is joined as any other cgroup. What a create has started, destroy
// stops; a unit that fails is forgotten at once (CollectMode).

package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A systemdUnit is a container's.
type systemdUnit struct {
	name    string // "runh-ID.scope", "a-b.slice"
	user    bool   // of the user's own manager
	parent  string // a slice
	options []unitProperty
	pending bool // a scope whose first process is still to come
}

func (u *systemdUnit) isSlice() bool { return strings.HasSuffix(u.name, ".slice") }

// newSystemdUnit reads cgroupsPath, "slice:prefix:name", and the properties
// that annotations ask for. Nothing is started.
func newSystemdUnit(id string, spec *specs.Spec, wanted string) (*systemdUnit, error) {
	p, err := parseSystemdPath(id, wanted)
	if err != nil {
		return nil, err
	}
	if st, err := os.Lstat("/run/systemd/system"); err != nil || !st.IsDir() {
		return nil, errors.New("--systemd-cgroup: this host does not run systemd (there is no /run/systemd/system): use the cgroupfs driver")
	}
	u := &systemdUnit{user: os.Geteuid() != 0 || inUserNamespace(), parent: p.slice, name: p.name}
	if u.parent == "" {
		u.parent = map[bool]string{false: "system.slice", true: "user.slice"}[u.user]
	}
	if !u.isSlice() {
		u.name, u.pending = p.prefix+"-"+p.name+".scope", true
	}
	u.options, err = annotatedProperties(spec.Annotations)
	return u, err
}

// A systemdPath is cgroupsPath as the systemd driver has it.
type systemdPath struct{ slice, prefix, name string }

// parseSystemdPath splits "slice:prefix:name". The defaults are runc's, with
// our own prefix.
func parseSystemdPath(id, cgroupsPath string) (systemdPath, error) {
	if cgroupsPath == "" {
		return systemdPath{"", "runh", id}, nil
	}
	parts := strings.Split(cgroupsPath, ":")
	if len(parts) != 3 || parts[2] == "" || strings.ContainsAny(parts[1]+parts[2], "/\x00\n") {
		return systemdPath{}, fmt.Errorf("linux.cgroupsPath %q: the systemd driver wants \"slice:prefix:name\"", cgroupsPath)
	}
	p := systemdPath{parts[0], parts[1], parts[2]}
	slices := []string{p.slice}
	if strings.HasSuffix(p.name, ".slice") {
		slices = append(slices, p.name)
	}
	for _, s := range slices {
		if _, err := sliceDir(s); s != "" && err != nil {
			return systemdPath{}, fmt.Errorf("linux.cgroupsPath %q: %w", cgroupsPath, err)
		}
	}
	return p, nil
}

// sliceDir is where a slice lies: a-b.slice in a.slice, and -.slice at the top
// (systemd.slice(5)).
func sliceDir(slice string) (string, error) {
	name, ok := strings.CutSuffix(slice, ".slice")
	if ok && name == "-" {
		return "/", nil
	}
	dir := "/"
	for i := 0; ok && i <= len(name); i++ {
		if i == len(name) || name[i] == '-' {
			ok = i > 0 && name[i-1] != '-'
			dir = path.Join(dir, name[:i]+".slice")
		}
	}
	if !ok || strings.ContainsAny(name, "/\x00\n") {
		return "", fmt.Errorf("%q is not the name of a slice", slice)
	}
	return dir, nil
}

// place is where systemd will have the unit, from the top of every hierarchy.
func (u *systemdUnit) place() (string, error) {
	top := "/"
	if u.user {
		conn, err := dialSystemd(true)
		if err != nil {
			return "", err
		}
		defer conn.close()
		if top, err = conn.property("ControlGroup"); err != nil {
			return "", err
		}
	}
	if u.isSlice() {
		dir, err := sliceDir(u.name)
		return path.Join(top, dir), err
	}
	dir, err := sliceDir(u.parent)
	return path.Join(top, dir, u.name), err
}

// start makes the unit, with the container's limits, around a process; 0 is
// none, for a slice.
func (u *systemdUnit) start(c *cgroup, pid int) error {
	conn, err := dialSystemd(u.user)
	if err != nil {
		return err
	}
	defer conn.close()
	if pid != 0 && conn.countsElsewhere() {
		return fmt.Errorf("systemd unit %s: systemd is in another pid namespace and would take our process %d for another: use the cgroupfs driver", u.name, pid)
	}
	properties := []unitProperty{
		{"Description", "runh container"},
		{"DefaultDependencies", false},
		{"CollectMode", "inactive-or-failed"},
		{"MemoryAccounting", true},
		{"CPUAccounting", true},
		{"TasksAccounting", true},
		{map[bool]string{true: "IOAccounting", false: "BlockIOAccounting"}[c.v2], true},
	}
	if u.isSlice() {
		properties = append(properties, unitProperty{"Wants", []string{u.parent}})
	} else {
		properties = append(properties, unitProperty{"Slice", u.parent}, unitProperty{"Delegate", true}, unitProperty{"PIDs", []uint32{uint32(pid)}})
	}
	version, err := conn.version()
	if err != nil {
		return err
	}
	limits, err := limitProperties(c.limits.resources, c.v2, version)
	if err != nil {
		return err
	}
	properties = append(properties, limits...)
	if !u.user {
		properties = append(properties, deviceProperties(c.limits.devices, version)...)
	}
	properties = append(properties, u.options...)
	start := func() error { return conn.job("StartTransientUnit", u.name, "replace", properties, noUnits{}) }
	err = start()
	var failure *dbusFailure
	if errors.As(err, &failure) && failure.name == systemdName+".UnitExists" {
		// What is left of a unit that failed goes when systemd is told to forget it.
		_ = conn.manager("ResetFailedUnit", u.name) // start tells
		err = start()
	}
	if err != nil {
		return fmt.Errorf("systemd unit %s: %w", u.name, err)
	}
	u.pending = false
	return nil
}

// set changes the properties that r has.
func (u *systemdUnit) set(r *specs.LinuxResources, v2 bool) error {
	conn, err := dialSystemd(u.user)
	if err != nil {
		return err
	}
	defer conn.close()
	version, err := conn.version()
	if err != nil {
		return err
	}
	properties, err := limitProperties(r, v2, version)
	if err != nil || len(properties) == 0 {
		return err
	}
	const runtime = true // until the next boot
	if err := conn.manager("SetUnitProperties", u.name, runtime, properties); err != nil {
		return fmt.Errorf("systemd unit %s: %w", u.name, err)
	}
	return nil
}

// stop ends the unit. One that is gone, or was never there, is none to stop.
func (u *systemdUnit) stop() error {
	conn, err := dialSystemd(u.user)
	if err != nil {
		return err
	}
	defer conn.close()
	err = conn.job("StopUnit", u.name, "replace")
	_ = conn.manager("ResetFailedUnit", u.name) // mostly it is gone by now
	var failure *dbusFailure
	if err == nil || errors.As(err, &failure) && failure.name == systemdName+".NoSuchUnit" {
		return nil
	}
	return fmt.Errorf("systemd unit %s: %w", u.name, err)
}

// version is systemd's, of which "v252.3-1" is 252.
func (c *systemdConn) version() (int, error) {
	text, err := c.property("Version")
	if err != nil {
		return 0, err
	}
	number := strings.TrimPrefix(text, "v")
	end := strings.IndexFunc(number, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		number = number[:end]
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		return 0, fmt.Errorf("systemd's version %q has no number", text)
	}
	return n, nil
}
