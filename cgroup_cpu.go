// The container's share of the processors, which takes effect last.
//
// Contract: while create works, the init has the processors as runh has them.
// The least weight, which every pause container of Kubernetes asks for, would
// make it wait for each of its steps on a busy host. Memory, pids, devices and
// the others are limits of what a process can do: those are in force before
// anything joins. So is real-time runtime, without which no real-time process
// gets into a cgroup.

package main

import "slices"

// parts divides the writes: early ones are in force before anything joins.
func (l *cgroupLimits) parts() (early, late []limitFile) {
	for _, f := range l.files {
		if f.late() {
			late = append(late, f)
		} else {
			early = append(early, f)
		}
	}
	return early, late
}

// liftCPU takes back what systemd has set with the unit: its properties name
// the limits from the beginning, so that systemd itself has no later change to
// make. Without success the init is slower, and that is all.
func (c *cgroup) liftCPU(late []limitFile) {
	p, ok := c.place("cpu")
	if !ok {
		return
	}
	files := [][2]string{{"cpu.cfs_quota_us", "-1"}, {"cpu.shares", "1024"}} // the kernel's own
	if c.v2 {
		files = [][2]string{{"cpu.max", "max"}, {"cpu.weight", "100"}}
	}
	if slices.ContainsFunc(late, func(f limitFile) bool { return f.file == "cpu.idle" }) {
		files = append([][2]string{{"cpu.idle", "0"}}, files...)
	}
	for _, f := range files {
		_ = cgroupWrite(p.dir+"/"+f[0], f[1]) // see above
	}
}

// applyCPU sets the weight and the quota, when the init has done its work.
func (l *cgroupLimits) applyCPU(c *cgroup) error {
	_, late := l.parts()
	if len(c.places) == 0 {
		return nil
	}
	return c.set(late)
}
