// linux.resources: the check of each limit, and the writing of the files that cgroup_files.go names.
//
// Contract: a limit that cannot be had is an error that names the field and the controller or the file. 0 means
// "leave alone", except for pids.limit (forgetZeroPids). All that can be known to be wrong is found before
// anything is made.

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// cgroupLimits are checked resources.
type cgroupLimits struct {
	resources *specs.LinuxResources // never nil
	files     []limitFile
	devices   []deviceRule
	rootless  bool
}

// newCgroupLimits checks the spec's resources against what the cgroup's trees
// can do.
func newCgroupLimits(c *cgroup, spec *specs.Spec, rootless bool, extra []deviceRule) (*cgroupLimits, error) {
	var r *specs.LinuxResources
	var nodes []specs.LinuxDevice
	if spec.Linux != nil {
		r, nodes = spec.Linux.Resources, spec.Linux.Devices
	}
	if err := checkResources(c, r); err != nil {
		return nil, err
	}
	limits := &cgroupLimits{resources: orZero(r), files: limitFiles(r, c.v2), rootless: rootless}
	var asked []deviceRule
	if r != nil {
		var err error
		if asked, err = readDeviceRules(r.Devices); err != nil {
			return nil, err
		}
	}
	limits.devices = deviceRules(asked, nodes, extra)
	if _, ok := c.place("devices"); !ok && !rootless {
		return nil, errors.New("the devices cgroup is not mounted: a container's devices could not be restricted")
	}
	if !c.v2 {
		if err := checkV1Devices(asked, c.unit != nil); err != nil {
			return nil, err
		}
	}
	return limits, nil
}

// A resourceNeed is one field that was really asked for, and the controller
// that provides it: on v1, and on v2 ("" where v2 has nothing for it).
type resourceNeed struct{ field, v1, v2 string }

// resourceNeeds lists what r asks for.
func resourceNeeds(r *specs.LinuxResources) []resourceNeed {
	var needs []resourceNeed
	need := func(asked bool, field, v1, v2 string) {
		if asked {
			needs = append(needs, resourceNeed{"linux.resources." + field, v1, v2})
		}
	}
	if m := r.Memory; m != nil {
		need(limitSet(m.Limit), "memory.limit", "memory", "memory")
		need(limitSet(m.Swap), "memory.swap", "memory", "memory")
		need(limitSet(m.Reservation), "memory.reservation", "memory", "memory")
		need(m.Swappiness != nil, "memory.swappiness", "memory", "memory")
		need(m.DisableOOMKiller != nil && *m.DisableOOMKiller, "memory.disableOOMKiller", "memory", "memory")
	}
	if p := r.CPU; p != nil {
		need(limitSet(p.Shares), "cpu.shares", "cpu", "cpu")
		need(limitSet(p.Quota), "cpu.quota", "cpu", "cpu")
		need(limitSet(p.Period), "cpu.period", "cpu", "cpu")
		need(limitSet(p.Burst), "cpu.burst", "cpu", "cpu")
		need(limitSet(p.Idle), "cpu.idle", "cpu", "cpu")
		need(limitSet(p.RealtimeRuntime), "cpu.realtimeRuntime", "cpu", "")
		need(limitSet(p.RealtimePeriod), "cpu.realtimePeriod", "cpu", "")
		need(p.Cpus != "", "cpu.cpus", "cpuset", "cpuset")
		need(p.Mems != "", "cpu.mems", "cpuset", "cpuset")
	}
	need(r.Pids != nil && r.Pids.Limit != nil, "pids.limit", "pids", "pids")
	if b := r.BlockIO; b != nil {
		need(limitSet(b.Weight), "blockIO.weight", "blkio", "io")
		need(limitSet(b.LeafWeight), "blockIO.leafWeight", "blkio", "")
		need(len(b.WeightDevice) > 0, "blockIO.weightDevice", "blkio", "io")
		need(len(b.ThrottleReadBpsDevice) > 0, "blockIO.throttleReadBpsDevice", "blkio", "io")
		need(len(b.ThrottleWriteBpsDevice) > 0, "blockIO.throttleWriteBpsDevice", "blkio", "io")
		need(len(b.ThrottleReadIOPSDevice) > 0, "blockIO.throttleReadIOPSDevice", "blkio", "io")
		need(len(b.ThrottleWriteIOPSDevice) > 0, "blockIO.throttleWriteIOPSDevice", "blkio", "io")
	}
	need(len(r.HugepageLimits) > 0, "hugepageLimits", "hugetlb", "hugetlb")
	need(len(r.Rdma) > 0, "rdma", "rdma", "rdma")
	if n := r.Network; n != nil {
		need(limitSet(n.ClassID), "network.classID", "net_cls", "")
		need(len(n.Priorities) > 0, "network.priorities", "net_prio", "")
	}
	return needs
}

// checkResources finds what can be known to be wrong before anything is made.
func checkResources(c *cgroup, r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	var available []string
	for _, p := range c.places {
		available = append(available, p.names...)
	}
	if c.v2 {
		// One that was opened exists, and tells its own.
		text, err := cgroupRead(cmp.Or(c.places[0].mount, c.places[0].dir) + "/cgroup.controllers")
		if err != nil {
			return err
		}
		available = strings.Fields(text)
	}
	for _, n := range resourceNeeds(r) {
		controller, version := n.v1, "v1"
		if c.v2 {
			controller, version = n.v2, "v2"
		}
		if controller == "" {
			return fmt.Errorf("%s: cgroup v2 has nothing like it", n.field)
		}
		if !slices.Contains(available, controller) {
			return fmt.Errorf("%s needs the %s controller, which cgroup %s does not have here (it has: %s)",
				n.field, controller, version, strings.Join(available, ", "))
		}
	}
	if len(r.Unified) > 0 && !c.v2 {
		return errors.New("invalid configuration: linux.resources.unified needs cgroup v2, this host has v1")
	}
	return checkResourceValues(r, c.v2)
}

func checkResourceValues(r *specs.LinuxResources, v2 bool) error {
	if m := r.Memory; m != nil {
		for _, f := range [3]struct {
			name  string
			value *int64
		}{{"limit", m.Limit}, {"swap", m.Swap}, {"reservation", m.Reservation}} {
			if f.value != nil && *f.value < -1 {
				return fmt.Errorf("linux.resources.memory.%s %d: must be -1 (unlimited), 0 (leave alone) or a number of bytes", f.name, *f.value)
			}
		}
		if limitSet(m.Swap) && *m.Swap > 0 {
			// swap counts memory and swap together.
			switch {
			case !limitSet(m.Limit):
				return fmt.Errorf("linux.resources.memory.swap %d: needs memory.limit too", *m.Swap)
			case *m.Limit == -1 && v2: // where swap has a limit of its own
			case *m.Limit == -1 || *m.Swap < *m.Limit:
				return fmt.Errorf("linux.resources.memory.swap %d: must not be below memory.limit %d, which it includes", *m.Swap, *m.Limit)
			}
		}
		if m.Swappiness != nil && *m.Swappiness > 100 {
			return fmt.Errorf("linux.resources.memory.swappiness %d: must be 0 to 100", *m.Swappiness)
		}
	}
	if p := r.CPU; p != nil && !v2 && limitSet(p.Shares) && (*p.Shares < 2 || *p.Shares > 1<<18) { // the kernel would take the nearest, without a word
		if *p.Shares < 2 {
			return fmt.Errorf("linux.resources.cpu.shares %d: the minimum allowed cpu-shares is 2", *p.Shares)
		}
		return fmt.Errorf("linux.resources.cpu.shares %d: the maximum allowed cpu-shares is %d", *p.Shares, 1<<18)
	}
	if b := r.BlockIO; b != nil && limitSet(b.Weight) && (*b.Weight < 10 || *b.Weight > 1000) {
		return fmt.Errorf("linux.resources.blockIO.weight %d: must be 10 to 1000, or 0 (leave alone)", *b.Weight)
	}
	if err := checkUnified(r.Unified); err != nil {
		return err
	}
	for _, h := range r.HugepageLimits {
		// <size><unit>B, as in the names of the hugetlb files.
		unit := strings.TrimLeft(h.Pagesize, "0123456789")
		if unit == h.Pagesize || unit != "KB" && unit != "MB" && unit != "GB" {
			return fmt.Errorf("linux.resources.hugepageLimits.pageSize %q: must be like 64KB, 2MB or 1GB", h.Pagesize)
		}
	}
	return nil
}

// apply sets the limits in the directories that create made, all but those of
// cgroup_cpu.go.
func (l *cgroupLimits) apply(c *cgroup) error {
	if len(c.places) == 0 {
		return nil // rootless
	}
	if !l.rootless { // the kernel would refuse every rule
		if err := c.setDevices(l.devices); err != nil {
			return err
		}
	}
	early, late := l.parts()
	if err := c.set(early); err != nil {
		return err
	}
	if len(late) > 0 && c.unit != nil {
		c.liftCPU(late)
	}
	return nil
}

// update sets the limits that r names in a cgroup that exists, and leaves the
// others and the devices alone.
func (c *cgroup) update(r *specs.LinuxResources) error {
	if err := checkResources(c, r); err != nil {
		return err
	}
	if err := c.checkUsage(r.Memory); err != nil {
		return err
	}
	if c.unit != nil {
		if err := c.unit.set(r, c.v2); err != nil {
			return err
		}
	}
	return c.set(limitFiles(r, c.v2))
}

// checkUsage refuses limits that the memory in use is above, for those who ask
// for that: v2 would kill, where v1 refuses by itself.
func (c *cgroup) checkUsage(m *specs.LinuxMemory) error {
	if !c.v2 || m == nil || m.CheckBeforeUpdate == nil || !*m.CheckBeforeUpdate {
		return nil
	}
	text, err := cgroupRead(c.places[0].dir + "/memory.current")
	if err != nil {
		return nil // not known: the kernel decides
	}
	usage, _ := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if limitSet(m.Swap) && *m.Swap > 0 && *m.Swap <= usage {
		return fmt.Errorf("rejecting memory+swap limit %d <= usage %d", *m.Swap, usage)
	}
	if limitSet(m.Limit) && *m.Limit > 0 && *m.Limit <= usage {
		return fmt.Errorf("rejecting memory limit %d <= usage %d", *m.Limit, usage)
	}
	return nil
}

// set writes the files. The kernel refuses a value that does not fit the present
// one of another file (a limit of memory above that of memory and swap, a period
// with the quota of before). So set tries a refused value again after the others.
func (c *cgroup) set(files []limitFile) error {
	last := slices.IndexFunc(files, func(f limitFile) bool { return f.unified })
	if last > 0 {
		if err := c.set(files[:last]); err != nil {
			return err
		}
		files = files[last:]
	}
	var again []limitFile
	for _, f := range files {
		switch err := c.write(&f); {
		case errors.Is(err, unix.EINVAL):
			again = append(again, f)
		case err != nil:
			return err
		}
	}
	for _, f := range again {
		if err := c.write(&f); err != nil {
			return err
		}
	}
	return nil
}

func (c *cgroup) write(f *limitFile) error {
	p, ok := c.place(f.controller())
	if !ok {
		return fmt.Errorf("linux.resources.%s: the container has no %s cgroup", f.field, f.controller())
	}
	err := cgroupWrite(p.dir+"/"+f.file, f.text)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist) && f.without == isNoLoss:
		return nil
	case errors.Is(err, fs.ErrNotExist) && f.instead != nil:
		return c.write(f.instead)
	case errors.Is(err, unix.EBUSY) && f.file == "memory.limit_in_bytes":
		usage, _ := cgroupRead(p.dir + "/memory.usage_in_bytes") // the refusal is the news
		peak, _ := cgroupRead(p.dir + "/memory.max_usage_in_bytes")
		return fmt.Errorf("linux.resources.memory.limit: unable to set memory limit to %s (current usage: %s, peak usage: %s)",
			f.text, strings.TrimSpace(usage), strings.TrimSpace(peak))
	}
	return limitError(f.field, err)
}

// limitError says which field of the spec the kernel did not like.
func limitError(field string, err error) error {
	if err != nil && errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("the kernel or the parent cgroup does not offer it: %w", err)
	}
	if err != nil {
		err = fmt.Errorf("linux.resources.%s: %w", field, err)
	}
	return err
}
