// The cgroup of an exec: the container's own, or one that the container has made inside.

package main

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// below is the cgroup that the values of --cgroup name: PATH, the same for all
// controllers, or CONTROLLERS:PATH, where each hierarchy of v1 has one of its
// own. PATH counts from the container's cgroup, and is there already.
func (c *cgroup) below(flags []string) (*cgroup, error) {
	out := *c
	out.places = slices.Clone(c.places)
	chosen := map[int]bool{}
	for _, flag := range flags {
		controllers, sub, each := strings.Cut(flag, ":")
		if !each {
			controllers, sub = "", flag
		}
		switch {
		case slices.Contains(strings.Split(sub, "/"), ".."):
			return nil, fmt.Errorf("--cgroup: bad sub cgroup path %q: must not contain \"..\"", flag)
		case !each && len(flags) > 1:
			return nil, fmt.Errorf("--cgroup %q: of several each must be CONTROLLER:PATH", flag)
		case each && c.v2:
			return nil, fmt.Errorf("--cgroup %q: cgroup v2 has one PATH for all controllers", flag)
		}
		for name := range strings.SplitSeq(controllers, ",") {
			found := false
			for i, p := range c.places {
				if each && !slices.Contains(p.names, name) {
					continue
				}
				dir := path.Join(p.dir, sub)
				err := unix.Access(dir, unix.F_OK)
				switch {
				case chosen[i] && out.places[i].dir != dir:
					return nil, fmt.Errorf("--cgroup %q: the controller %s has another path already", flag, name)
				case err != nil && p.isV2() && !c.v2:
					continue // the v2 tree beside v1 need not have it
				case err != nil:
					return nil, fmt.Errorf("--cgroup %q: adding pid to %s: %w", flag, dir, err)
				}
				out.places[i].dir, chosen[i], found = dir, true, true
			}
			if !found {
				return nil, fmt.Errorf("--cgroup %q: unknown controller %q: the container has none of that name", flag, name)
			}
		}
	}
	return &out, nil
}

// besideInit is the cgroup for what is to run where the container's first
// process is. A container that hands controllers on inside its v2 cgroup has no
// processes at the top, nor may it have.
func (c *cgroup) besideInit(pid int) *cgroup {
	if !c.v2 {
		return c
	}
	top := c.places[0].dir
	if given, err := cgroupRead(top + "/cgroup.subtree_control"); err != nil || strings.TrimSpace(given) == "" {
		return c
	}
	text, _ := cgroupRead(fmt.Sprintf("/proc/%d/cgroup", pid)) // without it the top is what is left to try
	for _, j := range parseSelfCgroup(text) {
		if dir := path.Join(cgroupRoot, j.path); len(j.names) == 0 && strings.HasPrefix(dir, top+"/") {
			out := *c
			out.places = []cgroupPlace{{dir: dir}}
			return &out
		}
	}
	return c
}
