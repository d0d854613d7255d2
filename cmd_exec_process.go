// The process of an exec: that of the file of --process, or the container's own as the flags change it.

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// readProcess is what to run: the file of --process, or the container's own
// process as the flags change it.
func (o *execOptions) readProcess(own *specs.Process) (*specs.Process, error) {
	if o.process != "" {
		data, err := readFile(o.process, configMax)
		if err != nil {
			return nil, err
		}
		p := new(specs.Process)
		if err := decodeJSON(string(data), p); err != nil {
			return nil, fmt.Errorf("%s: %w", o.process, err)
		}
		return p, checkProcessValues(p, o.process)
	}
	p := *own
	p.Args, p.Terminal = o.command, o.tty
	p.ConsoleSize = nil
	if o.cwd != "" {
		p.Cwd = o.cwd
	}
	p.Env = append(append([]string(nil), p.Env...), o.env...)
	p.NoNewPrivileges = p.NoNewPrivileges || o.noNewPrivs
	if o.apparmor != "" {
		p.ApparmorProfile = o.apparmor
	}
	if o.processLabel != "" {
		p.SelinuxLabel = o.processLabel
	}
	if len(o.caps) > 0 {
		// Never inheritable: what the process executes would gain them (CVE-2022-29162). Ambient, where the config has them
		// inheritable: else another user than root would have no use of them.
		caps := specs.LinuxCapabilities{}
		if p.Capabilities != nil {
			caps = *p.Capabilities
		}
		for _, set := range []*[]string{&caps.Bounding, &caps.Effective, &caps.Permitted} {
			*set = append(slices.Clone(*set), o.caps...)
		}
		for _, name := range o.caps {
			if slices.Contains(caps.Inheritable, name) {
				caps.Ambient = append(slices.Clone(caps.Ambient), name)
			}
		}
		p.Capabilities = &caps
	}
	if o.user != "" {
		uid, gid, both := strings.Cut(o.user, ":")
		var err error
		if p.User.UID, err = parseUserID("--user", uid); err != nil {
			return nil, err
		}
		if both {
			if p.User.GID, err = parseUserID("--user", gid); err != nil {
				return nil, err
			}
		}
	}
	for _, g := range o.additionalGids {
		gid, err := parseUserID("--additional-gids", g)
		if err != nil {
			return nil, err
		}
		p.User.AdditionalGids = append(p.User.AdditionalGids[:len(p.User.AdditionalGids):len(p.User.AdditionalGids)], gid)
	}
	return &p, checkProcessValues(&p, "exec")
}

// parseUserID reads one number; anything else is refused, since whoever types
// it does not mean root.
func parseUserID(flag, s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 1<<32-1 {
		return 0, fmt.Errorf("%s %q: a number from 0 to 4294967294 is wanted", flag, s)
	}
	return uint32(n), nil
}
