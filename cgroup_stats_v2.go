// The statistics of cgroup v2, in one directory, told in the terms of v1.

package main

import (
	"math"
	"strconv"
	"strings"
)

func (v *statsView) readV2(dir string) error {
	r := &statReader{dir: dir}
	v.CPU.readV2(r)
	v.Memory.readV2(r)
	v.Blkio.readV2(r)
	if v.Pids.read(r); v.Pids.Current == 0 { // without the controller
		v.Pids.Current = uint64(len(strings.Fields(r.text("cgroup.procs"))))
	}
	for _, size := range hugePageSizes() {
		file := "hugetlb." + size
		used := file + ".rsvd.current"
		if r.text(used) == "" {
			used = file + ".current"
		}
		if r.text(used) != "" {
			v.Hugetlb[size] = hugetlbView{Usage: r.number(used), Failcnt: r.table(file + ".events")["max"]}
		}
	}
	return r.err
}

func (v *cpuView) readV2(r *statReader) {
	const µs = 1000 // ns
	t := r.table("cpu.stat")
	v.Usage = cpuUsageView{Total: t["usage_usec"] * µs, User: t["user_usec"] * µs, Kernel: t["system_usec"] * µs}
	v.Throttling = cpuThrottlingView{t["nr_periods"], t["nr_throttled"], t["throttled_usec"] * µs}
	v.PSI = r.pressure("cpu.pressure")
}

// readV2: the limit and use of swap include memory, as on v1.
func (v *memoryView) readV2(r *statReader) {
	v.Raw = r.table("memory.stat")
	v.Cache = v.Raw["file"]
	v.Usage = memoryUseView{Usage: r.number("memory.current"), MaxUsage: r.number("memory.peak"), Limit: r.number("memory.max")}
	v.Swap = memoryUseView{Usage: v.Usage.Usage + r.number("memory.swap.current"), Limit: r.number("memory.swap.max")}
	if v.Swap.Limit > math.MaxUint64-v.Usage.Limit {
		v.Swap.Limit = math.MaxUint64
	} else {
		v.Swap.Limit += v.Usage.Limit
	}
	v.PSI = r.pressure("memory.pressure")
}

// readV2 reads lines like "8:0 rbytes=1 wbytes=2 rios=3 wios=4".
func (v *blkioView) readV2(r *statReader) {
	for f := range r.lines("io.stat") {
		major, minor := r.device("io.stat", f[0])
		for _, field := range f[1:] {
			name, text, _ := strings.Cut(field, "=")
			add := func(to *[]blkioEntry, op string) {
				*to = append(*to, blkioEntry{major, minor, op, r.parse("io.stat", text)})
			}
			switch name {
			case "rbytes":
				add(&v.IoServiceBytes, "Read")
			case "wbytes":
				add(&v.IoServiceBytes, "Write")
			case "rios":
				add(&v.IoServiced, "Read")
			case "wios":
				add(&v.IoServiced, "Write")
			}
		}
	}
	v.PSI = r.pressure("io.pressure")
}

// pressure reads lines like "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"; nil
// where the kernel does not measure it.
func (r *statReader) pressure(file string) *pressureView {
	var v *pressureView
	for f := range r.lines(file) {
		if v == nil {
			v = new(pressureView)
		}
		to := &v.Some
		if f[0] == "full" {
			to = &v.Full
		}
		for _, field := range f[1:] {
			name, text, _ := strings.Cut(field, "=")
			average, _ := strconv.ParseFloat(text, 64) // the kernel's own
			switch name {
			case "avg10":
				to.Avg10 = average
			case "avg60":
				to.Avg60 = average
			case "avg300":
				to.Avg300 = average
			case "total":
				to.Total = r.parse(file, text)
			}
		}
	}
	return v
}
