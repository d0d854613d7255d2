// Device rules: which devices a container may use. This file checks them and writes those of cgroup v1;
// cgroup_device_bpf.go has the program for cgroup v2.
//
// Contract: of the rules that cover an access the last one decides. runh refuses rules that v1 cannot apply
// in that sense.

package main

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A deviceRule allows or forbids some kinds of access to some devices.
type deviceRule struct {
	allow        bool
	kind         byte  // 'c'haracter, 'b'lock, or 'a'll devices with all access
	major, minor int64 // anyDevice: whatever the number
	access       deviceAccess
}

const anyDevice = -1

// deviceAccess is a set of BPF_DEVCG_ACC_*.
type deviceAccess int32

const (
	accessMknod deviceAccess = unix.BPF_DEVCG_ACC_MKNOD
	accessRead  deviceAccess = unix.BPF_DEVCG_ACC_READ
	accessWrite deviceAccess = unix.BPF_DEVCG_ACC_WRITE
	accessAll                = accessMknod | accessRead | accessWrite
)

// String is the rule as devices.allow and devices.deny take it.
func (r deviceRule) String() string {
	number := func(n int64) string {
		if n == anyDevice {
			return "*"
		}
		return strconv.FormatInt(n, 10)
	}
	access := ""
	for _, a := range [3]struct {
		bit    deviceAccess
		letter string
	}{{accessRead, "r"}, {accessWrite, "w"}, {accessMknod, "m"}} {
		if r.access&a.bit != 0 {
			access += a.letter
		}
	}
	return string(r.kind) + " " + number(r.major) + ":" + number(r.minor) + " " + access
}

// deviceRules composes the device list in runc's order: the spec's rules, then
// what every container may do (runtime-spec config-linux.md, Default Devices), then ours. All start
// from "deny everything". A default device that the spec replaces by a node of
// its own is not allowed by default.
func deviceRules(asked []deviceRule, nodes []specs.LinuxDevice, extra []deviceRule) []deviceRule {
	rules := slices.Clone(asked)
	allow := func(kind byte, major, minor int64, access deviceAccess) {
		rules = append(rules, deviceRule{true, kind, major, minor, access})
	}
	// Nodes may be made freely: what they open is decided by the other rules.
	allow('c', anyDevice, anyDevice, accessMknod)
	allow('b', anyDevice, anyDevice, accessMknod)
	for _, d := range [6]struct {
		name         string
		major, minor int64
	}{{"null", 1, 3}, {"random", 1, 8}, {"full", 1, 7}, {"tty", 5, 0}, {"zero", 1, 5}, {"urandom", 1, 9}} {
		if !slices.ContainsFunc(nodes, func(n specs.LinuxDevice) bool { return path.Clean(n.Path) == "/dev/"+d.name }) {
			allow('c', d.major, d.minor, accessAll)
		}
	}
	// /dev/console is a pty, so 5:1, the host's own console, is not among them.
	allow('c', 136, anyDevice, accessAll) // /dev/pts/*
	allow('c', 5, 2, accessAll)           // /dev/ptmx
	allow('c', 10, 200, accessAll)        // /dev/net/tun: not in the spec, but relied upon
	return append(rules, extra...)
}

func readDeviceRules(asked []specs.LinuxDeviceCgroup) ([]deviceRule, error) {
	var rules []deviceRule
	for i, d := range asked {
		r, err := readDeviceRule(d)
		if err != nil {
			return nil, fmt.Errorf("linux.resources.devices[%d]: %w", i, err)
		}
		rules = append(rules, r...)
	}
	return rules, nil
}

// readDeviceRule translates one rule. The kernel and runc take type "a" for
// "everything", whatever else the rule says. For an allow rule that would grant
// more than was written, so one with numbers or with less than full access
// becomes a rule for character and one for block devices.
func readDeviceRule(d specs.LinuxDeviceCgroup) ([]deviceRule, error) {
	r := deviceRule{allow: d.Allow, major: anyDevice, minor: anyDevice}
	if !d.Allow { // "a" is everywhere else "all": a rule that forbids may mean more than it says, one that allows may not
		d.Access = strings.ReplaceAll(d.Access, "a", "rwm")
	}
	if d.Access == "" || strings.Trim(d.Access, "rwm") != "" {
		return nil, fmt.Errorf("access %q: must be some of \"r\", \"w\", \"m\"", d.Access)
	}
	for _, letter := range d.Access {
		r.access |= map[rune]deviceAccess{'r': accessRead, 'w': accessWrite, 'm': accessMknod}[letter]
	}
	for _, n := range [2]struct {
		name string
		from *int64
		to   *int64
	}{{"major", d.Major, &r.major}, {"minor", d.Minor, &r.minor}} {
		if n.from != nil {
			if *n.to = *n.from; *n.from < -1 || *n.from > 1<<32-1 {
				return nil, fmt.Errorf("%s %d: must be 0 to 4294967295, or -1 for all", n.name, *n.from)
			}
		}
	}
	all := r.access == accessAll && r.major == anyDevice && r.minor == anyDevice
	switch {
	case d.Type == "c" || d.Type == "b":
		r.kind = d.Type[0]
	case d.Type != "a" && d.Type != "":
		return nil, fmt.Errorf("type %q: must be \"a\", \"b\" or \"c\"", d.Type)
	case d.Allow && !all:
		char, block := r, r
		char.kind, block.kind = 'c', 'b'
		return []deviceRule{char, block}, nil
	default:
		r = deviceRule{d.Allow, 'a', anyDevice, anyDevice, accessAll}
	}
	return []deviceRule{r}, nil
}

// checkV1Devices refuses what v1 would silently do otherwise. It has one
// default, which a rule for all devices sets, and a list of exceptions from it.
// A rule that agrees with the default can only take back an exception for the
// very same devices; what it has in common with others would stay.
//
// systemd has no list of what is forbidden, and when it reloads its units it
// writes its own rules over ours.
func checkV1Devices(rules []deviceRule, systemd bool) error {
	var exceptions []deviceRule
	byDefault := false
	for _, r := range rules {
		switch {
		case r.kind == 'a':
			byDefault, exceptions = r.allow, nil
		case systemd && byDefault && !r.allow:
			return fmt.Errorf("linux.resources.devices: systemd on cgroup v1 cannot forbid %q where all else is allowed", r)
		case r.allow != byDefault:
			exceptions = append(exceptions, r)
		default:
			for _, e := range exceptions {
				same := e.kind == r.kind && e.major == r.major && e.minor == r.minor
				if !same && e.overlaps(r) {
					return fmt.Errorf("linux.resources.devices: cgroup v1 cannot make an exception for %q from the earlier rule %q", r, e)
				}
			}
		}
	}
	return nil
}

// overlaps: is there an access that both rules cover?
func (r deviceRule) overlaps(o deviceRule) bool {
	common := func(a, b int64) bool { return a == b || a == anyDevice || b == anyDevice }
	return r.kind == o.kind && common(r.major, o.major) && common(r.minor, o.minor) && r.access&o.access != 0
}

// setDevices puts the rules in force in a new cgroup.
func (c *cgroup) setDevices(rules []deviceRule) error {
	switch {
	case inUserNamespace(): // the kernel would refuse every rule
		return nil
	case c.v2:
		return attachDeviceFilter(c.places[0].dir, deviceFilter(rules))
	}
	i := slices.IndexFunc(c.places, func(p cgroupPlace) bool { return slices.Contains(p.names, "devices") })
	if i < 0 {
		return errors.New("linux.resources.devices needs the devices controller, which cgroup v1 does not have here")
	}
	dir := c.places[i].dir
	if err := cgroupWrite(dir+"/devices.deny", "a"); err != nil {
		return limitError("devices", err)
	}
	for _, rule := range rules {
		file := "/devices.deny"
		if rule.allow {
			file = "/devices.allow"
		}
		if err := cgroupWrite(dir+file, rule.String()); err != nil {
			return limitError("devices", err)
		}
	}
	return nil
}
