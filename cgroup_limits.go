// What a container's cgroup limits: linux.resources, checked and handed to
// opencontainers/cgroups, which knows the files of both cgroup versions, and
// what it reports: statistics, OOM kills.
//
// Contract: with cgroup_stats.go the only one to call that library, which never
// attaches a process.
// A limit that cannot be had is an error that names the field and the
// controller. 0 means "leave alone", but for pids.limit (forgetZeroPids).

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/cgroups"
	cgroupfs1 "github.com/opencontainers/cgroups/fs"
	cgroupfs2 "github.com/opencontainers/cgroups/fs2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/sirupsen/logrus"
)

// cgroupLimits are checked resources in the library's terms.
type cgroupLimits struct {
	resources *cgroups.Resources
	devices   []deviceRule
	kernelTCP *int64
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
	limits := &cgroupLimits{resources: libraryResources(r, c.v2), rootless: rootless}
	var asked []deviceRule
	if r != nil {
		var err error
		if asked, err = readDeviceRules(r.Devices); err != nil {
			return nil, err
		}
	}
	limits.devices = deviceRules(asked, nodes, extra)
	if !c.v2 && !c.has("devices") && !rootless {
		return nil, errors.New("the devices cgroup is not mounted: a container's devices could not be restricted")
	}
	if !c.v2 {
		if err := checkV1Devices(asked, c.unit != nil); err != nil {
			return nil, err
		}
	}
	if r != nil && r.Memory != nil {
		limits.kernelTCP = r.Memory.KernelTCP
	}
	return limits, nil
}

func (c *cgroup) has(controller string) bool {
	return slices.ContainsFunc(c.places, func(p cgroupPlace) bool { return slices.Contains(p.names, controller) })
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

func limitSet[T int64 | uint64 | uint32 | uint16](v *T) bool { return v != nil && *v != 0 }

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

// libraryResources translates, without devices and kernelTCP. The limit of
// kernel memory as such is gone from the kernel and is ignored, as everywhere.
func libraryResources(r *specs.LinuxResources, v2 bool) *cgroups.Resources {
	out := &cgroups.Resources{}
	if r == nil {
		return out
	}
	if m := r.Memory; m != nil {
		out.Memory, out.MemorySwap, out.MemoryReservation = limitValue(m.Limit), limitValue(m.Swap), limitValue(m.Reservation)
		out.MemorySwappiness = m.Swappiness
		out.OomKillDisable = m.DisableOOMKiller != nil && *m.DisableOOMKiller
		out.MemoryCheckBeforeUpdate = m.CheckBeforeUpdate != nil && *m.CheckBeforeUpdate
	}
	if p := r.CPU; p != nil {
		out.CpuShares, out.CpuQuota, out.CpuPeriod = limitValue(p.Shares), limitValue(p.Quota), limitValue(p.Period)
		out.CpuWeight = cgroups.ConvertCPUSharesToCgroupV2Value(out.CpuShares)
		out.CpuRtRuntime, out.CpuRtPeriod = limitValue(p.RealtimeRuntime), limitValue(p.RealtimePeriod)
		out.CpuBurst, out.CPUIdle = p.Burst, p.Idle
		out.CpusetCpus, out.CpusetMems = p.Cpus, p.Mems
	}
	if r.Pids != nil && r.Pids.Limit != nil {
		limit := *r.Pids.Limit
		if limit == 0 {
			limit = 1 // the same to a process that exists; systemd takes no 0
		}
		out.PidsLimit = &limit
	}
	if b := r.BlockIO; b != nil {
		out.BlkioWeight, out.BlkioLeafWeight = limitValue(b.Weight), limitValue(b.LeafWeight)
		for _, d := range b.WeightDevice {
			out.BlkioWeightDevice = append(out.BlkioWeightDevice, cgroups.NewWeightDevice(d.Major, d.Minor, limitValue(d.Weight), limitValue(d.LeafWeight)))
		}
		throttle := func(list []specs.LinuxThrottleDevice) (out []*cgroups.ThrottleDevice) {
			for _, d := range list {
				if d.Rate == 0 && v2 {
					d.Rate = math.MaxUint64 // "max", which v1 writes as 0
				}
				out = append(out, cgroups.NewThrottleDevice(d.Major, d.Minor, d.Rate))
			}
			return out
		}
		out.BlkioThrottleReadBpsDevice = throttle(b.ThrottleReadBpsDevice)
		out.BlkioThrottleWriteBpsDevice = throttle(b.ThrottleWriteBpsDevice)
		out.BlkioThrottleReadIOPSDevice = throttle(b.ThrottleReadIOPSDevice)
		out.BlkioThrottleWriteIOPSDevice = throttle(b.ThrottleWriteIOPSDevice)
	}
	for _, h := range r.HugepageLimits {
		out.HugetlbLimit = append(out.HugetlbLimit, &cgroups.HugepageLimit{Pagesize: h.Pagesize, Limit: h.Limit})
	}
	for name, d := range r.Rdma {
		if out.Rdma == nil {
			out.Rdma = map[string]cgroups.LinuxRdma{}
		}
		out.Rdma[name] = cgroups.LinuxRdma{HcaHandles: d.HcaHandles, HcaObjects: d.HcaObjects}
	}
	if n := r.Network; n != nil {
		out.NetClsClassid = limitValue(n.ClassID)
		for _, p := range n.Priorities {
			out.NetPrioIfpriomap = append(out.NetPrioIfpriomap, &cgroups.IfPrioMap{Interface: p.Name, Priority: int64(p.Priority)})
		}
	}
	if len(r.Unified) > 0 { // the v1 manager refuses an empty map
		out.Unified = r.Unified
	}
	return out
}

func limitValue[T any](v *T) (zero T) {
	if v == nil {
		return zero
	}
	return *v
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
	first, last := splitCPU(l.resources)
	if err := c.set(first, l.rootless); err != nil {
		return err
	}
	if last != nil && c.unit != nil {
		c.liftCPU(last)
	}
	return c.setKernelTCP(l.kernelTCP)
}

// setKernelTCP sets the one limit of kernel memory that v1 still has. The
// library has dropped it with the others.
func (c *cgroup) setKernelTCP(limit *int64) error {
	if !limitSet(limit) {
		return nil
	}
	for _, p := range c.places {
		if slices.Contains(p.names, "memory") {
			return limitError(cgroupWrite(p.dir+"/memory.kmem.tcp.limit_in_bytes", strconv.FormatInt(*limit, 10)))
		}
	}
	return nil
}

// update sets the limits that r names in a cgroup that exists, and leaves the
// others and the devices alone.
func (c *cgroup) update(r *specs.LinuxResources) error {
	if err := checkResources(c, r); err != nil {
		return err
	}
	out := libraryResources(r, c.v2)
	if c.unit != nil {
		if c.v2 { // a property would not ask whether the memory is in use
			if err := cgroupfs2.CheckMemoryUsage(c.places[0].dir, out); err != nil {
				return err
			}
		}
		if err := c.unit.set(out, c.v2); err != nil {
			return err
		}
	}
	if err := c.set(out, false); err != nil || r.Memory == nil {
		return err
	}
	return c.setKernelTCP(r.Memory.KernelTCP)
}

// set has the library write r, and writes what it has as files itself.
func (c *cgroup) set(r *cgroups.Resources, rootless bool) error {
	known := *r
	known.Unified = nil
	m, err := c.manager(&known, rootless)
	if err != nil {
		return err
	}
	err = m.Set(&known)
	var file *fs.PathError
	if errors.As(err, &file) && strings.HasSuffix(file.Path, "/cpu.max") && r.CpuQuota == 0 {
		return fmt.Errorf("linux.resources.cpu.period: %w", err) // of the two in the file it is the one that was asked for
	}
	if err != nil {
		return limitError(err)
	}
	return c.setUnified(r.Unified)
}

// stats reads the statistics of all controllers.
func (c *cgroup) stats() (*cgroups.Stats, error) {
	m, err := c.manager(&cgroups.Resources{}, false)
	if err != nil {
		return nil, err
	}
	return m.GetStats()
}

// oomKilled reports whether the kernel has killed a process of the cgroup for
// want of memory.
func (c *cgroup) oomKilled() (bool, error) {
	if !c.v2 && !c.has("memory") {
		return false, nil
	}
	m, err := c.manager(&cgroups.Resources{}, false)
	if err != nil {
		return false, err
	}
	n, err := m.OOMKillCount()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return n > 0, err
}

// manager is the library's view of the cgroup. It is given every path, so that
// it looks for none itself. What it logs would land on create's stderr, which
// is the container's; its errors are returned as well.
func (c *cgroup) manager(r *cgroups.Resources, rootless bool) (cgroups.Manager, error) {
	logrus.SetOutput(io.Discard)
	config := &cgroups.Cgroup{Resources: r, Rootless: rootless}
	if c.v2 {
		return cgroupfs2.NewManager(config, c.places[0].dir)
	}
	return cgroupfs1.NewManager(config, c.state().Paths)
}
