// The container's share of the processors, which takes effect last.
//
// Contract: while create works, the init has the processors as runh has them.
// The least weight, which every pause container of Kubernetes asks for, would
// make it wait for each of its steps on a busy host. Memory, pids, devices and
// the others are limits of what a process can do: those are in force before
// anything joins. So is real-time runtime, without which no real-time process
// gets into a cgroup.

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/opencontainers/cgroups"
)

// splitCPU parts the weight and the quota from all other limits; last is nil
// where there are none.
func splitCPU(r *cgroups.Resources) (first, last *cgroups.Resources) {
	early := *r
	early.CpuShares, early.CpuWeight, early.CpuQuota, early.CpuPeriod, early.CpuBurst, early.CPUIdle = 0, 0, 0, 0, nil, nil
	early.Unified = nil
	late := &cgroups.Resources{
		CpuShares: r.CpuShares, CpuWeight: r.CpuWeight, CpuQuota: r.CpuQuota, CpuPeriod: r.CpuPeriod, CpuBurst: r.CpuBurst, CPUIdle: r.CPUIdle,
	}
	some := r.CpuShares != 0 || r.CpuWeight != 0 || r.CpuQuota != 0 || r.CpuPeriod != 0 || r.CpuBurst != nil || r.CPUIdle != nil
	for file, value := range r.Unified {
		to := &early.Unified
		if strings.HasPrefix(file, "cpu.") {
			to, some = &late.Unified, true
		}
		if *to == nil {
			*to = map[string]string{}
		}
		(*to)[file] = value
	}
	if !some {
		late = nil
	}
	return &early, late
}

// liftCPU takes back what systemd has set with the unit: its properties name
// the limits from the beginning, so that systemd itself has no later change to
// make. Without success the init is slower, and that is all.
func (c *cgroup) liftCPU(last *cgroups.Resources) {
	const shares, weight = 1024, 100 // the kernel's own
	place := c.mainPlace()
	for _, p := range c.places {
		if slices.Contains(p.names, "cpu") {
			place = p.dir
		}
	}
	files := [][2]string{{"cpu.cfs_quota_us", "-1"}, {"cpu.shares", fmt.Sprint(shares)}}
	if c.v2 {
		files = [][2]string{{"cpu.max", "max"}, {"cpu.weight", fmt.Sprint(weight)}}
	}
	if last.CPUIdle != nil || last.Unified["cpu.idle"] != "" {
		files = append([][2]string{{"cpu.idle", "0"}}, files...)
	}
	for _, f := range files {
		_ = cgroupWrite(place+"/"+f[0], f[1]) // see above
	}
}

// applyCPU sets the weight and the quota, when the init has done its work.
func (l *cgroupLimits) applyCPU(c *cgroup) error {
	_, last := splitCPU(l.resources)
	if last == nil || len(c.places) == 0 {
		return nil
	}
	return c.set(last, l.rootless)
}

// limitCPU is the last step of create.
func (c *creation) limitCPU() error {
	err := c.init.cgroup.limits.applyCPU(c.init.cgroup)
	if errors.Is(err, fs.ErrNotExist) {
		if _, gone := processStart(c.child); gone != nil {
			return nil // systemd takes a scope away with its last process
		}
	}
	if err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	return nil
}
