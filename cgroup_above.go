// The limits of the cgroups that a container's is in: a pod's, a slice of systemd's, the container that an engine
// runs in. A limit there holds for all that is below it, so a machine must fit into the smallest.
//
// Contract: reads only, from the container's own cgroup, where it is there, up to the mount. A file that is
// missing or cannot be read says nothing. Only the creation of a guest pays for this: some ten files.

package main

import (
	"iter"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A bound is a limit, and the field or the file that sets it: "" where there is none.
type bound struct {
	n  int64
	by string
}

// memoryAbove is the smallest limit of memory, or memory.high.
func (c *cgroup) memoryAbove() bound {
	files := []string{"memory.limit_in_bytes"}
	if c != nil && c.v2 {
		files = []string{"memory.max", "memory.high"}
	}
	b := c.smallestAbove("memory", parseNumber, files...)
	if b.n > 16<<40 { // v1 has no word for no limit: it is more than any machine has
		return bound{}
	}
	return b
}

func (c *cgroup) pidsAbove() bound { return c.smallestAbove("pids", parseNumber, "pids.max") }

// cpusAbove is how many CPUs quotas and cpusets leave. On v1 the kernel refuses a quota above that of the parent.
func (c *cgroup) cpusAbove() int64 {
	n := int64(math.MaxInt64)
	if c == nil {
		return n
	}
	file := "cpuset.effective_cpus"
	if c.v2 {
		file = "cpuset.cpus.effective"
		quota := c.smallestAbove("cpu", func(text string) (int64, bool) {
			quota, period, ok := parseCPUMax(text, 1)
			return roundUp(quota, max(period, 1)), ok && quota != 0
		}, "cpu.max")
		if quota.set() {
			n = quota.n
		}
	}
	for dir := range c.upwards("cpuset") {
		text, _ := cgroupRead(dir + "/" + file) // see the contract
		if set := countCPUs(text); set > 0 {
			return min(n, int64(set))
		}
	}
	return n
}

func parseNumber(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64) // "max" is none
	return n, err == nil
}

// smallestAbove is the smallest value in the files of these names.
func (c *cgroup) smallestAbove(controller string, parse func(string) (int64, bool), files ...string) (b bound) {
	for dir := range c.upwards(controller) {
		for _, file := range files {
			text, err := cgroupRead(dir + "/" + file)
			if err != nil {
				continue // see the contract
			}
			if n, ok := parse(strings.TrimSpace(text)); ok {
				b = b.smaller(bound{n, dir + "/" + file})
			}
		}
	}
	return b
}

// upwards are the directories of a controller, from the container's to the mount.
func (c *cgroup) upwards(controller string) iter.Seq[string] {
	return func(yield func(string) bool) {
		top, dir := c.within(controller)
		for dir != "" && yield(dir) && len(dir) > len(top) {
			dir = path.Dir(dir)
		}
	}
}

// within is where a controller is mounted, and the directory there.
func (c *cgroup) within(controller string) (top, dir string) {
	if c == nil {
		return "", ""
	}
	if p, ok := c.place(controller); ok {
		return p.mount, p.dir
	}
	if !c.optional {
		return "", ""
	}
	host, err := findCgroupHost(true) // a container that may have no cgroup stays in runh's
	if err != nil {
		return "", "" // see the contract
	}
	for _, t := range host.trees {
		if host.v2 || slices.Contains(t.names, controller) {
			return t.mount, t.own
		}
	}
	return "", ""
}

func (b bound) set() bool { return b.by != "" }

// smaller is the one that is reached first.
func (b bound) smaller(c bound) bound {
	if !b.set() || c.set() && c.n < b.n {
		return c
	}
	return b
}

// parseCPUMax reads cpu.max, whose period stays as it is where only a quota is written. Quota 0: none.
func parseCPUMax(text string, before int64) (quota, period int64, ok bool) {
	words := strings.Fields(text)
	if len(words) == 0 || len(words) > 2 {
		return 0, 0, false
	}
	period = before
	if len(words) == 2 {
		n, err := strconv.ParseUint(words[1], 10, 32)
		if err != nil || n == 0 {
			return 0, 0, false
		}
		period = int64(n)
	}
	if words[0] != "max" {
		n, err := strconv.ParseUint(words[0], 10, 63)
		if err != nil || n == 0 {
			return 0, 0, false
		}
		quota = int64(n)
	}
	return quota, period, true
}

func roundUp(quota, period int64) int64 {
	n := quota / period
	if quota%period != 0 {
		n++
	}
	return n
}

// countCPUs counts a cpuset; 0 for none. The kernel decides whether it is one at all, when the cgroup is made.
func countCPUs(set string) int {
	cpus, _ := parseNumbers(set, math.MaxUint16) // the kernel's own words
	return len(cpus)
}
