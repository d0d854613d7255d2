// Limits that decide how large a machine can be: of linux.resources, and of the cgroups that its container is in
// (cgroup_above.go).
//
// Contract: reads only. A file of linux.resources.unified decides before the other fields, because it is written
// last. Its value is taken as the kernel takes it, and a malformed one is an error.
//
// memory.low, memory.min, memory.swap.max, cpu.weight, hugetlb.* and the like limit no machine: the kernel applies
// them to QEMU as it does to any process.

package main

import (
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const memoryField = "linux.resources.memory.limit"

// memory begins a message about a limit of memory.
func (b bound) memory() string {
	text := fmt.Sprintf("memory limit of %d MiB", b.n>>20)
	if b.by != memoryField {
		text += " (" + b.by + ")"
	}
	return text
}

// unifiedValue is what the kernel keeps of a file: its last line.
func unifiedValue(r *specs.LinuxResources, file string) string {
	if r == nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(r.Unified[file]), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

func unifiedName(file string) string { return "linux.resources.unified " + file }

// memoryLimit is the memory that the container may use, in bytes.
func memoryLimit(r *specs.LinuxResources) (bound, error) {
	if unifiedValue(r, "memory.max") != "" {
		return unifiedBytes(r, "memory.max")
	}
	if r != nil && r.Memory != nil && limitSet(r.Memory.Limit) && *r.Memory.Limit > 0 {
		return bound{*r.Memory.Limit, memoryField}, nil
	}
	return bound{}, nil
}

// memoryHigh is the memory above which the kernel makes each page wait (memory.high): a machine that needs more stands still.
func memoryHigh(r *specs.LinuxResources) (bound, error) { return unifiedBytes(r, "memory.high") }

// unifiedBytes reads a number as the kernel does (page_counter_memparse): "max", or bytes with a unit.
func unifiedBytes(r *specs.LinuxResources, file string) (bound, error) {
	word := unifiedValue(r, file)
	if word == "" || word == "max" {
		return bound{}, nil
	}
	number := strings.TrimRight(word, "KMGTPEkmgtpe")
	n, err := strconv.ParseUint(number, 0, 63)
	unit := strings.ToUpper(word[len(number):])
	shift := 10 * (strings.Index("KMGTPE", unit) + 1)
	if unit == "" {
		shift = 0
	}
	if err != nil || strings.Trim(number, "0123456789") != "" || len(unit) > 1 || n > math.MaxInt64>>shift {
		return bound{}, fmt.Errorf("%s %q: must be \"max\" or a number of bytes, which may end in K, M, G, T, P or E", unifiedName(file), word)
	}
	return bound{int64(n) << shift, unifiedName(file)}, nil
}

// pidsLimit is how many tasks the container may have.
func pidsLimit(r *specs.LinuxResources) (bound, error) {
	switch word := unifiedValue(r, "pids.max"); {
	case word == "max":
	case word != "":
		n, err := strconv.ParseUint(word, 0, 31)
		if err != nil {
			return bound{}, fmt.Errorf("%s %q: must be \"max\" or a number of tasks", unifiedName("pids.max"), word)
		}
		return bound{int64(n), unifiedName("pids.max")}, nil
	case r != nil && r.Pids != nil && r.Pids.Limit != nil && *r.Pids.Limit >= 0:
		return bound{*r.Pids.Limit, "linux.resources.pids.limit"}, nil
	}
	return bound{}, nil
}

// cpusFor is how many CPUs the limits let a container keep busy: quota / period, rounded up, and never
// more than the host or the container's cpuset has. 0: no limit says anything.
func cpusFor(r *specs.LinuxResources, group *cgroup) (int, error) {
	n, err := quotaCPUs(r)
	if n == 0 || err != nil {
		return 0, err
	}
	n = min(n, int64(runtime.NumCPU()), maxVCPUs)
	if set := countCPUs(askedCPUs(r)); set > 0 {
		n = min(n, int64(set))
	}
	if n > 1 { // a guest has one in any case
		n = min(n, group.cpusAbove())
	}
	return int(n), nil
}

// quotaCPUs is the quota in whole CPUs; 0: none.
func quotaCPUs(r *specs.LinuxResources) (int64, error) {
	quota, period := int64(0), int64(100000) // the kernel's default
	if r != nil && r.CPU != nil {
		if limitSet(r.CPU.Period) {
			period = int64(min(*r.CPU.Period, 1000000))
		}
		quota = max(*orZero(r.CPU.Quota), 0)
	}
	if word := unifiedValue(r, "cpu.max"); word != "" {
		var ok bool
		if quota, period, ok = parseCPUMax(word, period); !ok {
			return 0, fmt.Errorf("%s %q: must be \"max\" or microseconds, which a period may follow, as in \"150000 100000\"", unifiedName("cpu.max"), word)
		}
	}
	return roundUp(quota, period), nil
}

// askedCPUs is the cpuset that is asked for.
func askedCPUs(r *specs.LinuxResources) string {
	if set := unifiedValue(r, "cpuset.cpus"); set != "" || r == nil || r.CPU == nil {
		return set
	}
	return r.CPU.Cpus
}
