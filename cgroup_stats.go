// Statistics of a container's cgroup, in the JSON that runc's "events" prints and its readers decode (go-runc,
// cri tools). cgroup_stats_v1.go and cgroup_stats_v2.go know the files.
//
// Contract: a controller that the cgroup or the kernel does not have reports nothing, and is no error. Times are
// nanoseconds, sizes bytes, and every number is whole and not negative, as its readers expect. Two of runc's are
// not: the averages of PSI, which are percentages and are printed as runc does; and sched_relax_domain_level,
// whose usual -1 ("no request") is left out.

package main

import (
	"errors"
	"io/fs"
	"iter"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

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
	PSI        *pressureView     `json:"psi,omitempty"`
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
	PSI       *pressureView     `json:"psi,omitempty"`
}

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
	IoServiceBytes []blkioEntry  `json:"ioServiceBytesRecursive,omitempty"`
	IoServiced     []blkioEntry  `json:"ioServicedRecursive,omitempty"`
	IoQueued       []blkioEntry  `json:"ioQueueRecursive,omitempty"`
	IoServiceTime  []blkioEntry  `json:"ioServiceTimeRecursive,omitempty"`
	IoWaitTime     []blkioEntry  `json:"ioWaitTimeRecursive,omitempty"`
	IoMerged       []blkioEntry  `json:"ioMergedRecursive,omitempty"`
	IoTime         []blkioEntry  `json:"ioTimeRecursive,omitempty"`
	Sectors        []blkioEntry  `json:"sectorsRecursive,omitempty"`
	PSI            *pressureView `json:"psi,omitempty"`
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

// A pressureView is one file of PSI (kernel: Documentation/accounting/psi.rst).
type pressureView struct {
	Some pressureTimes `json:"some"`
	Full pressureTimes `json:"full"`
}

type pressureTimes struct {
	Avg10  float64 `json:"avg10"`
	Avg60  float64 `json:"avg60"`
	Avg300 float64 `json:"avg300"`
	Total  uint64  `json:"total"` // µs
}

// statsView reads all controllers that the cgroup has.
func (c *cgroup) statsView() (*statsView, error) {
	v := &statsView{Hugetlb: map[string]hugetlbView{}}
	var err error
	if c.v2 {
		err = v.readV2(c.places[0].dir)
	} else {
		err = v.readV1(c)
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// oomKilled reports whether the kernel has killed a process of the cgroup for
// want of memory.
func (c *cgroup) oomKilled() (bool, error) {
	p, ok := c.place("memory")
	if !ok {
		return false, nil
	}
	file := "memory.oom_control"
	if c.v2 {
		file = "memory.events"
	}
	r := &statReader{dir: p.dir}
	n := r.table(file)["oom_kill"]
	return n > 0, r.err
}

// A statReader reads the control files of a directory. An absent file is empty;
// the first other error stays.
type statReader struct {
	dir string
	err error
}

func (r *statReader) text(file string) string {
	text, err := cgroupRead(r.dir + "/" + file)
	switch {
	case err == nil:
		return strings.TrimSpace(text)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV): // the cgroup is going
	case errors.Is(err, unix.EOPNOTSUPP): // PSI that is switched off, on some kernels
	case r.err == nil:
		r.err = err
	}
	return ""
}

func (r *statReader) number(file string) uint64 { return r.parse(file, r.text(file)) }

// parse reads a number; "max" is the largest. The kernel's counters of memory can
// be off by a little and then negative: that is 0.
func (r *statReader) parse(file, text string) uint64 {
	if text == "" || strings.HasPrefix(text, "-") {
		return 0
	}
	if text == "max" {
		return math.MaxUint64
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil && r.err == nil {
		r.err = &os.PathError{Op: "read", Path: r.dir + "/" + file, Err: err}
	}
	return n
}

// lines yields the fields of each line.
func (r *statReader) lines(file string) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for line := range strings.Lines(r.text(file)) {
			if fields := strings.Fields(line); len(fields) > 0 && !yield(fields) {
				return
			}
		}
	}
}

// table reads lines like "name 5".
func (r *statReader) table(file string) map[string]uint64 {
	out := map[string]uint64{}
	for f := range r.lines(file) {
		if len(f) == 2 {
			out[f[0]] = r.parse(file, f[1])
		}
	}
	return out
}

// device reads "8:16".
func (r *statReader) device(file, text string) (major, minor uint64) {
	first, second, _ := strings.Cut(text, ":")
	return r.parse(file, first), r.parse(file, second)
}

// hugePageSizes are the kernel's, as in the names of the hugetlb files.
func hugePageSizes() []string {
	entries, _ := os.ReadDir("/sys/kernel/mm/hugepages") // without it the kernel has none
	var sizes []string
	for _, e := range entries {
		text := strings.TrimSuffix(strings.TrimPrefix(e.Name(), "hugepages-"), "kB")
		size, err := strconv.ParseUint(text, 10, 64)
		unit := "KB"
		switch {
		case err != nil:
			continue
		case size >= 1<<20:
			size, unit = size>>20, "GB"
		case size >= 1<<10:
			size, unit = size>>10, "MB"
		}
		sizes = append(sizes, strconv.FormatUint(size, 10)+unit)
	}
	return sizes
}
