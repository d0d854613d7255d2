// The statistics of cgroup v1, whose controllers each have a directory.

package main

import "math"

func (v *statsView) readV1(c *cgroup) error {
	for _, read := range []struct {
		controller string
		from       func(*statReader)
	}{
		{"cpu", v.CPU.Throttling.readV1},
		{"cpuacct", v.CPU.Usage.readV1},
		{"cpuset", v.Cpuset.readV1},
		{"memory", v.Memory.readV1},
		{"pids", v.Pids.read},
		{"blkio", v.Blkio.readV1},
		{"hugetlb", v.readHugetlbV1},
	} {
		p, ok := c.place(read.controller)
		if !ok {
			continue
		}
		r := &statReader{dir: p.dir}
		if read.from(r); r.err != nil {
			return r.err
		}
	}
	return nil
}

func (v *cpuThrottlingView) readV1(r *statReader) {
	t := r.table("cpu.stat")
	*v = cpuThrottlingView{t["nr_periods"], t["nr_throttled"], t["throttled_time"]}
}

func (v *cpuUsageView) readV1(r *statReader) {
	const tick = 1_000_000_000 / 100 // ns; USER_HZ is 100 on every architecture
	t := r.table("cpuacct.stat")
	v.Total, v.User, v.Kernel = r.number("cpuacct.usage"), t["user"]*tick, t["system"]*tick
	for f := range r.lines("cpuacct.usage_percpu") {
		for _, n := range f {
			v.Percpu = append(v.Percpu, r.parse("cpuacct.usage_percpu", n))
		}
	}
	for f := range r.lines("cpuacct.usage_all") { // "cpu user system", and a line for each
		if len(f) >= 3 && f[0] != "cpu" {
			v.PercpuUser = append(v.PercpuUser, r.parse("cpuacct.usage_all", f[1]))
			v.PercpuKernel = append(v.PercpuKernel, r.parse("cpuacct.usage_all", f[2]))
		}
	}
}

func (v *cpusetView) readV1(r *statReader) {
	v.CPUs, _ = parseNumbers(r.text("cpuset.cpus"), math.MaxUint16)
	v.Mems, _ = parseNumbers(r.text("cpuset.mems"), math.MaxUint16)
	for file, to := range map[string]*uint64{
		"cpu_exclusive": &v.CPUExclusive, "mem_exclusive": &v.MemExclusive, "mem_hardwall": &v.MemHardwall, "memory_migrate": &v.MemoryMigrate,
		"memory_pressure": &v.MemoryPressure, "memory_spread_page": &v.MemorySpreadPage, "memory_spread_slab": &v.MemorySpreadSlab,
		"sched_load_balance": &v.SchedLoadBalance,
	} {
		*to = r.number("cpuset." + file)
	}
	v.SchedRelaxDomainLevel = int64(r.number("cpuset.sched_relax_domain_level")) // -1, the usual, is left out
}

func (v *memoryView) readV1(r *statReader) {
	v.Raw = r.table("memory.stat")
	v.Cache = v.Raw["cache"]
	for part, to := range map[string]*memoryUseView{"": &v.Usage, "memsw.": &v.Swap, "kmem.": &v.Kernel, "kmem.tcp.": &v.KernelTCP} {
		file := "memory." + part
		*to = memoryUseView{r.number(file + "usage_in_bytes"), r.number(file + "max_usage_in_bytes"), r.number(file + "failcnt"), r.number(file + "limit_in_bytes")}
	}
}

func (v *pidsView) read(r *statReader) {
	v.Current, v.Limit = r.number("pids.current"), 0
	if limit := r.text("pids.max"); limit != "max" {
		v.Limit = r.parse("pids.max", limit)
	}
}

// readV1 takes the first of the schedulers' sets of files that counts something:
// bfq's, with debugging or without, cfq's, and those of the throttle, which are
// always there.
func (v *blkioView) readV1(r *statReader) {
	counts := []struct {
		name string
		to   *[]blkioEntry
	}{
		{"io_serviced", &v.IoServiced},
		{"io_service_bytes", &v.IoServiceBytes}, // all have these two
		{"sectors", &v.Sectors},
		{"io_service_time", &v.IoServiceTime},
		{"io_wait_time", &v.IoWaitTime},
		{"io_merged", &v.IoMerged},
		{"io_queued", &v.IoQueued},
		{"time", &v.IoTime},
	}
	for _, names := range [][2]string{{"blkio.bfq.", "_recursive"}, {"blkio.", "_recursive"}, {"blkio.throttle.", "_recursive"}, {"blkio.throttle.", ""}} {
		for _, c := range counts {
			*c.to = r.entries(names[0] + c.name + names[1])
		}
		if v.IoServiced != nil {
			return
		}
	}
}

// entries reads lines like "8:0 Read 124" and "8:0 6792"; those of all devices
// together are left out.
func (r *statReader) entries(file string) []blkioEntry {
	var out []blkioEntry
	for f := range r.lines(file) {
		if len(f) < 2 || f[0] == "Total" {
			continue
		}
		e := blkioEntry{Value: r.parse(file, f[len(f)-1])}
		e.Major, e.Minor = r.device(file, f[0])
		if len(f) == 3 {
			e.Op = f[1]
		}
		out = append(out, e)
	}
	return out
}

func (v *statsView) readHugetlbV1(r *statReader) {
	for _, size := range hugePageSizes() {
		file := "hugetlb." + size
		if r.text(file+".rsvd.usage_in_bytes") != "" { // reservations are counted since Linux 5.7
			file += ".rsvd"
		}
		v.Hugetlb[size] = hugetlbView{r.number(file + ".usage_in_bytes"), r.number(file + ".max_usage_in_bytes"), r.number(file + ".failcnt")}
	}
}
