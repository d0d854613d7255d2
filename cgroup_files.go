// linux.resources as control files: which file gets which text, on cgroup v1 and
// on v2, in the order of the kernel's own dependencies.
//
// Contract: pure. A limit that the spec does not ask for has no write: absent
// and 0 both mean "leave alone", but for pids.limit, a burst of 0 and an idle of
// 0, which are values. cgroup_limits.go has checked the values, and writes.

package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A limitFile is one write to one control file.
type limitFile struct {
	field      string // of linux.resources
	file, text string
	without    without
	instead    *limitFile // the write on a kernel without this file
	unified    bool       // has the last word
}

// without says what the absence of the file means.
type without int

const (
	isError  without = iota // the limit cannot be had
	isNoLoss                // without the file there is nothing to limit
)

// controller is the part of the name that says which hierarchy of v1 has the file.
func (f *limitFile) controller() string {
	name, _, _ := strings.Cut(f.file, ".")
	return name
}

// late: the container's share of the processors takes effect last (cgroup_cpu.go).
// Real-time runtime does not: without it no real-time process gets into a cgroup.
func (f *limitFile) late() bool {
	return f.controller() == "cpu" && !strings.HasPrefix(f.file, "cpu.rt_")
}

// limitFiles lists the writes for r.
func limitFiles(r *specs.LinuxResources, v2 bool) []limitFile {
	if r == nil {
		return nil
	}
	l := &limitList{v2: v2}
	l.cpuset(orZero(r.CPU))
	l.memory(orZero(r.Memory))
	l.pids(orZero(r.Pids))
	l.blockIO(orZero(r.BlockIO))
	l.cpu(orZero(r.CPU))
	for _, h := range r.HugepageLimits {
		suffix := l.either(".limit_in_bytes", ".max")
		l.number("hugepageLimits", "hugetlb."+h.Pagesize+suffix, &h.Limit, isError)
		l.number("hugepageLimits", "hugetlb."+h.Pagesize+".rsvd"+suffix, &h.Limit, isNoLoss) // reservations: since Linux 5.7
	}
	for _, name := range slices.Sorted(maps.Keys(r.Rdma)) {
		l.rdma(name, r.Rdma[name])
	}
	if n := r.Network; n != nil && !v2 {
		l.set("network.classID", "net_cls.classid", n.ClassID)
		for _, p := range n.Priorities {
			l.add("network.priorities", "net_prio.ifpriomap", fmt.Sprintf("%s %d", p.Name, p.Priority))
		}
	}
	for _, file := range slices.Sorted(maps.Keys(r.Unified)) {
		for line := range strings.Lines(r.Unified[file]) { // io.max takes one device at a time
			line = strings.TrimSuffix(line, "\n")
			l.add(fmt.Sprintf("unified %q = %q", file, line), file, line).unified = true
		}
	}
	return l.files
}

func orZero[T any](p *T) *T { return cmp.Or(p, new(T)) }

// A limitList gathers writes.
type limitList struct {
	v2    bool
	files []limitFile
}

func (l *limitList) either(v1, v2 string) string {
	if l.v2 {
		return v2
	}
	return v1
}

func (l *limitList) add(field, file, text string) *limitFile {
	l.files = append(l.files, limitFile{field: field, file: file, text: text})
	return &l.files[len(l.files)-1]
}

// set writes a number that was asked for.
func (l *limitList) set(field, file string, v any) {
	if n := limitText(v); n != "" && n != "0" {
		l.add(field, file, n)
	}
}

// number writes a number that counts also as 0.
func (l *limitList) number(field, file string, v any, w without) {
	if n := limitText(v); n != "" {
		l.add(field, file, n).without = w
	}
}

// limitText is the number that a pointer of the spec's leads to; "" is none.
func limitText(v any) string {
	switch v := v.(type) {
	case *int64:
		if v != nil {
			return strconv.FormatInt(*v, 10)
		}
	case *uint64:
		if v != nil {
			return strconv.FormatUint(*v, 10)
		}
	case *uint32:
		if v != nil {
			return strconv.FormatUint(uint64(*v), 10)
		}
	case *uint16:
		if v != nil {
			return strconv.FormatUint(uint64(*v), 10)
		}
	}
	return ""
}

func (l *limitList) cpuset(p *specs.LinuxCPU) {
	if p.Cpus != "" {
		l.add("cpu.cpus", "cpuset.cpus", p.Cpus)
	}
	if p.Mems != "" {
		l.add("cpu.mems", "cpuset.mems", p.Mems)
	}
}

// memory: v1 counts swap together with memory, v2 by itself. v2 takes the limit
// of swap first, so that what a smaller limit of memory pushes out is counted.
func (l *limitList) memory(m *specs.LinuxMemory) {
	if l.v2 {
		if swap, ok := swapAlone(m); ok {
			w := isError
			if swap <= 0 {
				w = isNoLoss // a host without swap
			}
			l.add("memory.swap", "memory.swap.max", limitOrMax(swap)).without = w
		}
		if limitSet(m.Limit) {
			l.add("memory.limit", "memory.max", limitOrMax(*m.Limit))
		}
		if limitSet(m.Reservation) {
			l.add("memory.reservation", "memory.low", limitOrMax(*m.Reservation))
		}
		return
	}
	l.set("memory.limit", "memory.limit_in_bytes", m.Limit)
	if limitSet(m.Limit) && *m.Limit == -1 && !limitSet(m.Swap) {
		l.add("memory.swap", "memory.memsw.limit_in_bytes", "-1").without = isNoLoss // it includes memory
	}
	l.set("memory.swap", "memory.memsw.limit_in_bytes", m.Swap)
	l.set("memory.reservation", "memory.soft_limit_in_bytes", m.Reservation)
	if m.DisableOOMKiller != nil && *m.DisableOOMKiller {
		l.add("memory.disableOOMKiller", "memory.oom_control", "1")
	}
	l.number("memory.swappiness", "memory.swappiness", m.Swappiness, isError)
	l.set("memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes", m.KernelTCP)
}

// swapAlone is v2's limit of swap, -1 for none. Memory without a limit takes the
// limit of swap with it, as on v1.
func swapAlone(m *specs.LinuxMemory) (limit int64, ok bool) {
	switch {
	case !limitSet(m.Swap):
		return -1, limitSet(m.Limit) && *m.Limit == -1
	case *m.Swap == -1 || !limitSet(m.Limit) || *m.Limit == -1:
		return *m.Swap, true
	}
	return *m.Swap - *m.Limit, true
}

// limitOrMax is how v2 writes a limit; -1 is v1's word for none.
func limitOrMax(n int64) string {
	if n < 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

// pidsMax is pids.limit as it is set. 0 stands for 1, which is the same to a
// process that exists, because systemd takes no 0.
func pidsMax(p *specs.LinuxPids) (limit int64, ok bool) {
	if p == nil || p.Limit == nil {
		return 0, false
	}
	return cmp.Or(*p.Limit, 1), true
}

func (l *limitList) pids(p *specs.LinuxPids) {
	if limit, ok := pidsMax(p); ok {
		l.add("pids.limit", "pids.max", limitOrMax(limit))
	}
}

// cpu: the weight comes before idle, since an idle group takes none.
func (l *limitList) cpu(p *specs.LinuxCPU) {
	idle := isError
	if p.Idle != nil && *p.Idle == 0 {
		idle = isNoLoss // a kernel without idle groups
	}
	if l.v2 {
		if limitSet(p.Shares) {
			l.add("cpu.shares", "cpu.weight", strconv.FormatUint(weightOfShares(*p.Shares), 10))
		}
		l.number("cpu.idle", "cpu.idle", p.Idle, idle)
		l.number("cpu.burst", "cpu.max.burst", p.Burst, isError)
		if limitSet(p.Quota) || limitSet(p.Period) {
			const usual = 100_000 // µs, the kernel's own period
			field, quota, period := "cpu.quota", int64(-1), uint64(usual)
			if limitSet(p.Period) {
				period = *p.Period
			}
			if limitSet(p.Quota) {
				quota = *p.Quota
			} else {
				field = "cpu.period" // of the two in the file it is the one that was asked for
			}
			l.add(field, "cpu.max", fmt.Sprintf("%s %d", limitOrMax(quota), period))
		}
		return
	}
	l.set("cpu.shares", "cpu.shares", p.Shares)
	l.set("cpu.period", "cpu.cfs_period_us", p.Period)
	l.number("cpu.burst", "cpu.cfs_burst_us", p.Burst, isNoLoss)
	l.set("cpu.quota", "cpu.cfs_quota_us", p.Quota)
	l.number("cpu.idle", "cpu.idle", p.Idle, idle)
	l.set("cpu.realtimePeriod", "cpu.rt_period_us", p.RealtimePeriod)
	l.set("cpu.realtimeRuntime", "cpu.rt_runtime_us", p.RealtimeRuntime)
}

// weightOfShares makes v2's weight (1 to 10000, usually 100) of v1's shares (2 to
// 262144, usually 1024). Engines rely on the curve that runc has had since 1.3.2:
// the power of ten whose exponent is a quadratic function of log2(shares), through
// these three points.
func weightOfShares(shares uint64) uint64 {
	switch {
	case shares <= 2:
		return 1
	case shares >= 1<<18:
		return 10_000
	}
	log := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (log*log+125*log)/612-7.0/34)))
}

// ioWeight makes v2's weight (1 to 10000) of v1's (10 to 1000), on a straight line.
func ioWeight(weight uint16) uint64 { return 1 + (uint64(weight)-10)*9999/990 }

// blockIO: the weight is that of the scheduler bfq where the kernel has it, and
// of iocost (v2) or cfq (v1) where it has not.
func (l *limitList) blockIO(b *specs.LinuxBlockIO) {
	weight := func(field, device string, w *uint16) {
		if !limitSet(w) {
			return
		}
		text, suffix := device+limitText(w), ""
		if device != "" {
			suffix = "_device"
		}
		if l.v2 {
			l.add(field, "io.bfq.weight", text).instead = &limitFile{field: field, file: "io.weight", text: device + strconv.FormatUint(ioWeight(*w), 10)}
		} else {
			l.add(field, "blkio.weight"+suffix, text).instead = &limitFile{field: field, file: "blkio.bfq.weight" + suffix, text: text}
		}
	}
	weight("blockIO.weight", "", b.Weight)
	if !l.v2 {
		l.set("blockIO.leafWeight", "blkio.leaf_weight", b.LeafWeight)
	}
	for _, d := range b.WeightDevice {
		device := fmt.Sprintf("%d:%d ", d.Major, d.Minor)
		weight("blockIO.weightDevice", device, d.Weight)
		if limitSet(d.LeafWeight) && !l.v2 {
			l.add("blockIO.weightDevice", "blkio.leaf_weight_device", device+limitText(d.LeafWeight))
		}
	}
	for _, t := range [4]struct {
		list          []specs.LinuxThrottleDevice
		field, v1, v2 string
	}{
		{b.ThrottleReadBpsDevice, "ReadBps", "read_bps", "rbps"},
		{b.ThrottleWriteBpsDevice, "WriteBps", "write_bps", "wbps"},
		{b.ThrottleReadIOPSDevice, "ReadIOPS", "read_iops", "riops"},
		{b.ThrottleWriteIOPSDevice, "WriteIOPS", "write_iops", "wiops"},
	} {
		for _, d := range t.list {
			field, device, rate := "blockIO.throttle"+t.field+"Device", fmt.Sprintf("%d:%d ", d.Major, d.Minor), strconv.FormatUint(d.Rate, 10)
			switch {
			case !l.v2:
				l.add(field, "blkio.throttle."+t.v1+"_device", device+rate) // 0 is no limit
			case d.Rate == 0:
				l.add(field, "io.max", device+t.v2+"=max")
			default:
				l.add(field, "io.max", device+t.v2+"="+rate)
			}
		}
	}
}

func (l *limitList) rdma(device string, d specs.LinuxRdma) {
	text := device
	if d.HcaHandles != nil {
		text += " hca_handle=" + limitText(d.HcaHandles)
	}
	if d.HcaObjects != nil {
		text += " hca_object=" + limitText(d.HcaObjects)
	}
	l.add("rdma", "rdma.max", text)
}
