// The size of a machine: the limits on CPUs, memory and tasks, when it is made and when a limit changes under it. A
// guest keeps the CPUs and the memory that it was started with. vm_limits.go reads the limits.

package main

import (
	"cmp"
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// pickVCPUs gives the guest as many CPUs as the container may keep busy, and one if nothing says so:
// most Hermit kernels use only the first.
func pickVCPUs(spec *specs.Spec, group *cgroup, c *hermitConfig, s *hermitSettings) (int, error) {
	if s.smp != 0 {
		return s.smp, nil
	}
	r := specResources(spec)
	if n, err := cpusFor(r, group); n != 0 || err != nil {
		return n, err
	}
	n := max(c.smp, 1)
	if set := countCPUs(askedCPUs(r)); set > 0 {
		n = min(n, set)
	}
	return n, nil
}

// pickMemory makes the guest as large as the container's memory limit lets it be. Other limits, memory.high and those of the cgroups
// above, are no promise of memory: they only keep a machine from becoming larger. Where its size was asked for, a limit above, which
// others share, is not the container's to keep, and a warning.
func (vm *vmConfig) pickMemory(spec *specs.Spec, group *cgroup, c *hermitConfig, s *hermitSettings, filesMiB, appMiB int) error {
	// The application is in the guest's memory twice, as a file and unpacked. With one of 2.1 MiB a kernel 0.6.0 panics in
	// 40 MiB and runs in 48.
	least := 2*appMiB + 42
	own, err := memoryLimit(specResources(spec))
	if err != nil {
		return err
	}
	high, err := memoryHigh(specResources(spec))
	if err != nil {
		return err
	}
	overhead := vmBaseMiB + filesMiB
	if vm.Machine != "microvm" {
		overhead += vmPCMiB
	}
	if vm.Share != "" {
		overhead += vmShareMiB
	}
	above := group.memoryAbove()
	vm.limit = own.smaller(high)
	if s.memorySize == 0 {
		vm.limit = vm.limit.smaller(above)
	}
	wanted := cmp.Or(s.memorySize, c.memorySize, defaultMemory)
	if vm.Accel == "tcg" {
		vm.TBSizeMiB = defaultTBSize
	}
	if !own.set() && int64(wanted+overhead+vm.TBSizeMiB) <= vm.limit.n>>20 {
		vm.limit = bound{}
	}
	room := maxMemoryMiB // for the whole machine
	if vm.limit.set() {
		room = int(min(vm.limit.n>>20, maxMemoryMiB))
		if vm.Accel == "tcg" {
			// An eighth, but not of what the guest cannot do without: so the sum below is what is enough.
			vm.TBSizeMiB = min(max(min(room/8, room-overhead-least), minTBSize), maxTBSize)
		}
	}
	overhead += vm.TBSizeMiB
	if room-overhead < least {
		return fmt.Errorf("%s is too small: the guest needs %d MiB and its machine %d MiB, together %d MiB",
			vm.limit.memory(), least, overhead, least+overhead)
	}
	switch {
	case s.memorySize != 0 && wanted > room-overhead:
		return fmt.Errorf("%s is %d MiB: the %s leaves the guest %d MiB",
			s.memoryBy, wanted, vm.limit.memory(), room-overhead)
	case s.memorySize == 0 && vm.limit.set():
		// A limit above what the host has is no reason to promise the guest more than that.
		wanted = min(room, hostMemoryMiB()) - overhead
	}
	vm.MemoryMiB = wanted &^ 1 // the guest's pages have 2 MiB
	if vm.MemoryMiB < least {
		return fmt.Errorf("%d MiB of memory are too little for a guest of %d MiB: it needs %d MiB", vm.MemoryMiB, appMiB, least)
	}
	vm.NeedsMiB = vm.MemoryMiB + overhead
	if above.set() && above.n>>20 < int64(vm.NeedsMiB) {
		vm.above = above
	}
	return nil
}

func hostMemoryMiB() int {
	var si unix.Sysinfo_t
	if err := unix.Sysinfo(&si); err != nil {
		return maxMemoryMiB
	}
	return int(si.Totalram * uint64(si.Unit) >> 20)
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
func checkTasks(r *specs.LinuxResources, group *cgroup, needs int) error {
	limit, err := pidsLimit(r)
	if err != nil {
		return err
	}
	limit = limit.smaller(group.pidsAbove())
	if !limit.set() || limit.n >= int64(needs) {
		return nil
	}
	return fmt.Errorf("%s of %d is too small: the guest's machine and its keeper need %d tasks", limit.by, limit.n, needs)
}

// follow says what a running machine makes of new limits. A limit that it does not fit into would be
// its end, so that is an error; others hold for QEMU, while the guest is what it was.
func (h *hermitState) follow(r *specs.LinuxResources) (warning string, err error) {
	limit, err := memoryLimit(r)
	if err != nil {
		return "", err
	}
	high, err := memoryHigh(r)
	if err != nil {
		return "", err
	}
	if limit = limit.smaller(high); limit.set() && limit.n>>20 < int64(h.NeedsMiB) {
		return "", fmt.Errorf("%s: the running machine needs %d MiB, %d of them for its guest, and cannot shrink", limit.memory(), h.NeedsMiB, h.MemoryMiB)
	}
	if err := checkTasks(r, nil, h.tasks()); err != nil {
		return "", err
	}
	n, err := cpusFor(r, nil)
	if err != nil {
		return "", err
	}
	var stays []string
	if h.NeedsMiB > 0 && (limit.set() || r.Memory != nil && limitSet(r.Memory.Limit) || unifiedValue(r, "memory.max")+unifiedValue(r, "memory.high") != "") {
		stays = append(stays, fmt.Sprintf("%d MiB", h.MemoryMiB))
	}
	if set := countCPUs(askedCPUs(r)); n != 0 && n != h.VCPUs || set != 0 && set < h.VCPUs {
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

// cardOf names what a network is to QEMU: direct and shared differ outside of it, and auto is one of them.
func cardOf(network string) string {
	if network == "user" || network == "none" {
		return network
	}
	return "direct or shared"
}
