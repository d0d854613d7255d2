// Which devices a container may use: the rules of its devices cgroup.
//
// Contract: pure but for setDevices, which writes them to devices.allow and
// devices.deny on v1. On v2 the library makes a BPF program of them.

package main

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/cgroups"
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// deviceRules composes the device list in runc's order: the spec's rules, then
// what every container may do (linux.md Default Devices), then ours. All start
// from "deny everything"; a later rule wins. A default device that the spec
// replaces by a node of its own is not allowed by default.
func deviceRules(asked []specs.LinuxDeviceCgroup, nodes []specs.LinuxDevice, extra []specs.LinuxDeviceCgroup) ([]*devices.Rule, error) {
	var rules []*devices.Rule
	for i, d := range asked {
		r, err := deviceRule(d)
		if err != nil {
			return nil, fmt.Errorf("linux.resources.devices[%d]: %w", i, err)
		}
		rules = append(rules, r...)
	}
	allow := func(kind devices.Type, major, minor int64, access devices.Permissions) {
		rules = append(rules, &devices.Rule{Type: kind, Major: major, Minor: minor, Permissions: access, Allow: true})
	}
	// Nodes may be made freely: what they open is decided by the other rules.
	allow(devices.CharDevice, devices.Wildcard, devices.Wildcard, "m")
	allow(devices.BlockDevice, devices.Wildcard, devices.Wildcard, "m")
	for _, d := range [6]struct {
		name         string
		major, minor int64
	}{{"null", 1, 3}, {"random", 1, 8}, {"full", 1, 7}, {"tty", 5, 0}, {"zero", 1, 5}, {"urandom", 1, 9}} {
		if !slices.ContainsFunc(nodes, func(n specs.LinuxDevice) bool { return path.Clean(n.Path) == "/dev/"+d.name }) {
			allow(devices.CharDevice, d.major, d.minor, "rwm")
		}
	}
	// /dev/console is a pty, so 5:1, the host's own console, is not among them.
	allow(devices.CharDevice, 136, devices.Wildcard, "rwm") // /dev/pts/*
	allow(devices.CharDevice, 5, 2, "rwm")                  // /dev/ptmx
	allow(devices.CharDevice, 10, 200, "rwm")               // /dev/net/tun: not in the spec, but relied upon
	for i, d := range extra {
		r, err := deviceRule(d)
		if err != nil {
			return nil, fmt.Errorf("device rule %d of runh's own: %w", i, err)
		}
		rules = append(rules, r...)
	}
	return rules, nil
}

// deviceRule translates one rule. The kernel and runc take type "a" for
// "everything", whatever else the rule says. For an allow rule that would grant
// more than was written, so one with numbers or with less than full access
// becomes a rule for character and one for block devices.
func deviceRule(d specs.LinuxDeviceCgroup) ([]*devices.Rule, error) {
	r := devices.Rule{Major: devices.Wildcard, Minor: devices.Wildcard, Permissions: devices.Permissions(d.Access), Allow: d.Allow}
	if d.Access == "" || strings.Trim(d.Access, "rwm") != "" {
		return nil, fmt.Errorf("access %q: must be some of \"r\", \"w\", \"m\"", d.Access)
	}
	for _, n := range [2]struct {
		name string
		from *int64
		to   *int64
	}{{"major", d.Major, &r.Major}, {"minor", d.Minor, &r.Minor}} {
		if n.from != nil {
			if *n.to = *n.from; *n.from < -1 || *n.from > 1<<32-1 {
				return nil, fmt.Errorf("%s %d: must be 0 to 4294967295, or -1 for all", n.name, *n.from)
			}
		}
	}
	all := r.Permissions.Union("") == "rwm" && r.Major == devices.Wildcard && r.Minor == devices.Wildcard
	switch {
	case d.Type == "c":
		r.Type = devices.CharDevice
	case d.Type == "b":
		r.Type = devices.BlockDevice
	case d.Type != "a" && d.Type != "":
		return nil, fmt.Errorf("type %q: must be \"a\", \"b\" or \"c\"", d.Type)
	case d.Allow && !all:
		char, block := r, r
		char.Type, block.Type = devices.CharDevice, devices.BlockDevice
		return []*devices.Rule{&char, &block}, nil
	default:
		r.Type = devices.WildcardDevice
	}
	return []*devices.Rule{&r}, nil
}

// setDevices writes the device rules of a new v1 cgroup, in their order. The
// library would write the same ones sorted, and now finds nothing left to do
// but to check; what it would refuse or skip, it still can.
func (c *cgroup) setDevices(r *cgroups.Resources) error {
	i := slices.IndexFunc(c.places, func(p cgroupPlace) bool { return slices.Contains(p.names, "devices") })
	if i < 0 || r.SkipDevices || inUserNamespace() {
		return nil
	}
	dir := c.places[i].dir
	if err := cgroupWrite(dir+"/devices.deny", "a"); err != nil {
		return limitError(err)
	}
	for _, rule := range r.Devices {
		file := "/devices.deny"
		if rule.Allow {
			file = "/devices.allow"
		}
		if err := cgroupWrite(dir+file, rule.CgroupString()); err != nil {
			return limitError(err)
		}
	}
	return nil
}
