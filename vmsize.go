// vmsize.go is what a limit on CPUs or memory means to a machine, when it is made and when the limit
// changes under it: a guest keeps the CPUs and the memory that it was started with.

package main

import (
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// cpusFor is how many CPUs the limits let a container keep busy: quota / period, rounded up, and never
// more than the host or the container's cpuset has. 0: no limit says anything.
func cpusFor(r *specs.LinuxResources) int {
	if r == nil || r.CPU == nil || r.CPU.Quota == nil || *r.CPU.Quota <= 0 {
		return 0
	}
	period := int64(100000) // the kernel's default
	if r.CPU.Period != nil && *r.CPU.Period > 0 {
		period = int64(min(*r.CPU.Period, 1000000))
	}
	n := *r.CPU.Quota / period
	if *r.CPU.Quota%period != 0 {
		n++
	}
	return int(min(n, int64(cpusOf(r)), maxVCPUs))
}

// cpusOf is how many CPUs there are for a container.
func cpusOf(r *specs.LinuxResources) int {
	n := runtime.NumCPU()
	if r != nil && r.CPU != nil {
		if set := countCPUs(r.CPU.Cpus); set > 0 {
			n = min(n, set)
		}
	}
	return n
}

// countCPUs counts a cpuset such as "0-3,7"; 0 for none. Whether it is one at all the kernel decides,
// when the cgroup is made.
func countCPUs(set string) (n int) {
	for part := range strings.SplitSeq(set, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		first, err := strconv.ParseUint(low, 10, 16)
		if err != nil {
			return 0
		}
		last := first
		if isRange {
			if last, err = strconv.ParseUint(high, 10, 16); err != nil || last < first {
				return 0
			}
		}
		n += int(last-first) + 1
	}
	return n
}

// The tasks of a Hermit container, of which the pids controller counts each thread. Counted with QEMU 7.2, 10.0's are the
// same: main, RCU, monitor, one for each vCPU, and one while a state is written. vhost has one, in the kernel, which is
// QEMU's since Linux 6.4. The keeper has three to five, as Go thinks fit. virtiofsd has a main and, for each of two queues, one.
const (
	keeperTasks = 5
	vmmTasks    = 4
	vhostTasks  = 1
	shareTasks  = 4
)

// machineTasks is how many tasks a machine and its keeper need.
func machineTasks(vcpus int, vhost, share bool) int {
	n := keeperTasks + vmmTasks + vcpus
	if vhost {
		n += vhostTasks
	}
	if share {
		n += shareTasks
	}
	return n
}

func (h *hermitState) tasks() int {
	return machineTasks(h.VCPUs, h.Accel == "kvm" && cardOf(h.Network) != h.Network, h.Share != "")
}

// checkTasks: with too few tasks QEMU or the keeper ends in the middle of its start, or a checkpoint ends the guest.
func checkTasks(r *specs.LinuxResources, needs int) error {
	limit, field := pidsLimit(r)
	if limit < 0 || limit >= int64(needs) {
		return nil
	}
	return fmt.Errorf("%s of %d is too small: the guest's machine and its keeper need %d tasks", field, limit, needs)
}

// memoryLimit is the limit of memory in bytes, -1 if there is none.
func memoryLimit(r *specs.LinuxResources) int64 {
	switch {
	case r == nil:
	case r.Unified["memory.max"] != "": // which is written last
		word := r.Unified["memory.max"]
		number := strings.TrimRight(word, "KMGkmg") // as the kernel reads it (memparse)
		n, err := strconv.ParseInt(number, 10, 64)
		shift, known := map[string]int{"": 0, "k": 10, "m": 20, "g": 30}[strings.ToLower(word[len(number):])]
		if err == nil && known && n >= 0 && n <= math.MaxInt64>>shift {
			return n << shift
		}
	case r.Memory != nil && limitSet(r.Memory.Limit):
		return max(*r.Memory.Limit, -1)
	}
	return -1
}

// pidsLimit is the limit of tasks, -1 if there is none, and the field that says so.
func pidsLimit(r *specs.LinuxResources) (limit int64, field string) {
	switch {
	case r == nil:
	case r.Unified["pids.max"] != "": // which is written last
		if n, err := strconv.ParseInt(r.Unified["pids.max"], 10, 64); err == nil {
			return n, "linux.resources.unified pids.max"
		}
	case r.Pids != nil && r.Pids.Limit != nil:
		return *r.Pids.Limit, "linux.resources.pids.limit"
	}
	return -1, ""
}

// follow says what a running machine makes of new limits. A limit that it does not fit into would be
// its end, so that is an error; others hold for QEMU, while the guest is what it was.
func (h *hermitState) follow(r *specs.LinuxResources) (warning string, err error) {
	var stays []string
	if limit := memoryLimit(r); h.NeedsMiB > 0 && (limit >= 0 || r.Memory != nil && limitSet(r.Memory.Limit)) {
		limit >>= 20
		if limit >= 0 && limit < int64(h.NeedsMiB) {
			return "", fmt.Errorf("memory limit of %d MiB: the running machine needs %d MiB, %d of them for its guest, and cannot shrink", limit, h.NeedsMiB, h.MemoryMiB)
		}
		stays = append(stays, fmt.Sprintf("%d MiB", h.MemoryMiB))
	}
	if err := checkTasks(r, h.tasks()); err != nil {
		return "", err
	}
	if n := cpusFor(r); n != 0 && n != h.VCPUs || r.CPU != nil && r.CPU.Cpus != "" && countCPUs(r.CPU.Cpus) < h.VCPUs {
		stays = append(stays, fmt.Sprintf("%d vCPU", h.VCPUs))
	}
	if len(stays) == 0 {
		return "", nil
	}
	return "the running guest keeps its " + strings.Join(stays, " and ") + ": the new limits hold for its machine as a whole", nil
}

// machineView is what "events" says of a Hermit container's machine.
type machineView struct {
	Machine string `json:"machine"`
	Accel   string `json:"accel"`
	VCPUs   int    `json:"vcpus"`
	Memory  uint64 `json:"memory"` // the guest's, in bytes
	Needs   uint64 `json:"needs"`  // with QEMU and keeper
}

func (h *hermitState) view() *machineView {
	if h == nil {
		return nil
	}
	return &machineView{h.Machine, h.Accel, h.VCPUs, uint64(h.MemoryMiB) << 20, uint64(h.NeedsMiB) << 20}
}
