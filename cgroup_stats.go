// What a container's cgroup reports, in the JSON that runc's "events" prints
// and its readers decode (go-runc, cri tools). The numbers come from
// opencontainers/cgroups, which knows the files of both cgroup versions.
//
// Contract: times are nanoseconds, sizes bytes, and every number is a whole one
// that is not negative, as those who decode them expect. Two of runc's are not:
// the averages of PSI, which are percentages by nature and are printed as runc
// does; and sched_relax_domain_level, whose usual -1 ("no request") is left out.

package main

import "github.com/opencontainers/cgroups"

// A statsView is the "data" of a stats event.
type statsView struct {
	CPU        cpuView                `json:"cpu"`
	Cpuset     cpusetView             `json:"cpuset"`
	Memory     memoryView             `json:"memory"`
	Pids       pidsView               `json:"pids"`
	Blkio      blkioView              `json:"blkio"`
	Hugetlb    map[string]hugetlbView `json:"hugetlb"`
	IntelRdt   struct{}               `json:"intel_rdt"`
	Interfaces []struct{}             `json:"network_interfaces"` // null, as runc's is for every OCI config
	Machine    *machineView           `json:"vm,omitempty"`       // of a Hermit container
}

type cpuView struct {
	Usage      cpuUsageView      `json:"usage"`
	Throttling cpuThrottlingView `json:"throttling"`
	PSI        any               `json:"psi,omitempty"`
}

type cpuUsageView struct {
	Total        uint64   `json:"total,omitempty"`
	Percpu       []uint64 `json:"percpu,omitempty"`
	PercpuKernel []uint64 `json:"percpu_kernel,omitempty"`
	PercpuUser   []uint64 `json:"percpu_user,omitempty"`
	Kernel       uint64   `json:"kernel"`
	User         uint64   `json:"user"`
}

type cpuThrottlingView struct {
	Periods          uint64 `json:"periods,omitempty"`
	ThrottledPeriods uint64 `json:"throttledPeriods,omitempty"`
	ThrottledTime    uint64 `json:"throttledTime,omitempty"`
}

// cpusetView has the members of the library's type, so that one converts to
// the other.
type cpusetView struct {
	CPUs                  []uint16 `json:"cpus,omitempty"`
	CPUExclusive          uint64   `json:"cpu_exclusive"`
	Mems                  []uint16 `json:"mems,omitempty"`
	MemHardwall           uint64   `json:"mem_hardwall"`
	MemExclusive          uint64   `json:"mem_exclusive"`
	MemoryMigrate         uint64   `json:"memory_migrate"`
	MemorySpreadPage      uint64   `json:"memory_spread_page"`
	MemorySpreadSlab      uint64   `json:"memory_spread_slab"`
	MemoryPressure        uint64   `json:"memory_pressure"`
	SchedLoadBalance      uint64   `json:"sched_load_balance"`
	SchedRelaxDomainLevel int64    `json:"sched_relax_domain_level,omitempty"`
}

type memoryView struct {
	Cache     uint64            `json:"cache,omitempty"`
	Usage     memoryUseView     `json:"usage"`
	Swap      memoryUseView     `json:"swap"` // memory and swap together
	Kernel    memoryUseView     `json:"kernel"`
	KernelTCP memoryUseView     `json:"kernelTCP"`
	Raw       map[string]uint64 `json:"raw,omitempty"`
	PSI       any               `json:"psi,omitempty"`
}

// memoryUseView has the members of the library's type, as cpusetView.
type memoryUseView struct {
	Usage    uint64 `json:"usage,omitempty"`
	MaxUsage uint64 `json:"max,omitempty"`
	Failcnt  uint64 `json:"failcnt"`
	Limit    uint64 `json:"limit"`
}

type pidsView struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"` // absent: none
}

type blkioView struct {
	IoServiceBytes []blkioEntry `json:"ioServiceBytesRecursive,omitempty"`
	IoServiced     []blkioEntry `json:"ioServicedRecursive,omitempty"`
	IoQueued       []blkioEntry `json:"ioQueueRecursive,omitempty"`
	IoServiceTime  []blkioEntry `json:"ioServiceTimeRecursive,omitempty"`
	IoWaitTime     []blkioEntry `json:"ioWaitTimeRecursive,omitempty"`
	IoMerged       []blkioEntry `json:"ioMergedRecursive,omitempty"`
	IoTime         []blkioEntry `json:"ioTimeRecursive,omitempty"`
	Sectors        []blkioEntry `json:"sectorsRecursive,omitempty"`
	PSI            any          `json:"psi,omitempty"`
}

type blkioEntry struct {
	Major uint64 `json:"major,omitempty"`
	Minor uint64 `json:"minor,omitempty"`
	Op    string `json:"op,omitempty"`
	Value uint64 `json:"value,omitempty"`
}

type hugetlbView struct {
	Usage    uint64 `json:"usage,omitempty"`
	MaxUsage uint64 `json:"max,omitempty"`
	Failcnt  uint64 `json:"failcnt"`
}

// statsView reads all controllers that the cgroup has.
func (c *cgroup) statsView() (*statsView, error) {
	s, err := c.stats()
	if err != nil {
		return nil, err
	}
	v := &statsView{Cpuset: cpusetView(s.CPUSetStats), Pids: pidsView(s.PidsStats), Hugetlb: map[string]hugetlbView{}}
	v.Cpuset.SchedRelaxDomainLevel = max(v.Cpuset.SchedRelaxDomainLevel, 0)
	use := s.CpuStats.CpuUsage
	v.CPU.Usage = cpuUsageView{
		Total: use.TotalUsage, Kernel: use.UsageInKernelmode, User: use.UsageInUsermode,
		Percpu: use.PercpuUsage, PercpuKernel: use.PercpuUsageInKernelmode, PercpuUser: use.PercpuUsageInUsermode,
	}
	v.CPU.Throttling = cpuThrottlingView(s.CpuStats.ThrottlingData)
	m := s.MemoryStats
	v.Memory = memoryView{
		Cache: m.Cache, Usage: memoryUseView(m.Usage), Swap: memoryUseView(m.SwapUsage),
		Kernel: memoryUseView(m.KernelUsage), KernelTCP: memoryUseView(m.KernelTCPUsage), Raw: m.Stats,
	}
	b := s.BlkioStats
	v.Blkio = blkioView{
		IoServiceBytes: blkioEntries(b.IoServiceBytesRecursive), IoServiced: blkioEntries(b.IoServicedRecursive),
		IoQueued: blkioEntries(b.IoQueuedRecursive), IoServiceTime: blkioEntries(b.IoServiceTimeRecursive),
		IoWaitTime: blkioEntries(b.IoWaitTimeRecursive), IoMerged: blkioEntries(b.IoMergedRecursive),
		IoTime: blkioEntries(b.IoTimeRecursive), Sectors: blkioEntries(b.SectorsRecursive),
	}
	for size, h := range s.HugetlbStats {
		v.Hugetlb[size] = hugetlbView(h)
	}
	// A nil pointer in an interface would be printed, as null.
	if p := s.CpuStats.PSI; p != nil {
		v.CPU.PSI = p
	}
	if p := m.PSI; p != nil {
		v.Memory.PSI = p
	}
	if p := b.PSI; p != nil {
		v.Blkio.PSI = p
	}
	return v, nil
}

func blkioEntries(list []cgroups.BlkioStatEntry) []blkioEntry {
	var out []blkioEntry
	for _, e := range list {
		out = append(out, blkioEntry(e))
	}
	return out
}
