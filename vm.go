// The description of a virtual machine, made of what its container asks for and may use.
//
// Contract: vmConfig is a value; newVM reads the host (memory, CPUs, /dev/kvm) and changes nothing.
//
// Who decides, first to last: the annotation, the vm section of config.json, the container's limits, the
// operator's configuration, the default. For the machine, upstream's variable RUNH_MICRO_VM comes after the
// annotation, and what the image needs comes last.

package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// vmConfig is everything QEMU has to know of a machine.
type vmConfig struct {
	Machine   string        `json:"machine"` // "microvm", "pc" or "q35"
	Accel     string        `json:"accel"`   // "tcg" or "kvm"
	CPU       string        `json:"cpu"`
	VCPUs     int           `json:"vcpus"`
	MemoryMiB int           `json:"memoryMiB"`
	TBSizeMiB int           `json:"tbSizeMiB,omitempty"` // TCG's buffer for translated code
	PVH       bool          `json:"pvh,omitempty"`       // the application boots by itself, there is no loader
	Network   string        `json:"network"`             // vm_network.go says which there are
	Ports     []portForward `json:"ports,omitempty"`     // the container's ports that lead to the guest
	MTU       int           `json:"mtu,omitempty"`       // 0: the interface's
	DHCP      bool          `json:"dhcp,omitempty"`      // the kernel asks for its address
	RNG       bool          `json:"rng,omitempty"`       // there is a source of randomness
	Lease     *lease        `json:"lease,omitempty"`     // nil: no network, or not known yet
	Incoming  bool          `json:"incoming,omitempty"`  // it goes on from a state, and does not boot
	Saved     *lease        `json:"saved,omitempty"`     // of the guest in that state, if it had a tap
	Keep      bool          `json:"keep,omitempty"`      // and others shall still find it under that address
	Card      bool          `json:"card,omitempty"`      // it gets a network card without a network, too: for those that go on from it
	Vhost     bool          `json:"vhost,omitempty"`     // the kernel carries the frames, not QEMU
	NeedsMiB  int           `json:"needsMiB"`            // the guest's memory, and what QEMU and keeper need besides
	Quiet     string        `json:"quiet,omitempty"`     // "kernel": the kernel keeps its log to itself; "all": the loader's lines are left out, too
	Terminal  string        `json:"terminal,omitempty"`  // "raw": each byte of the terminal goes to the guest as it is
	Crash     string        `json:"crash,omitempty"`     // "keep": a guest that has crashed stays
	Boot      bootLine      `json:"boot"`                // the kernel's command line
	Share     string        `json:"share,omitempty"`     // the tag of the container's files, "" for none
	Extra     []string      `json:"extra,omitempty"`     // the vm section's words for QEMU

	kernelWords []string // and for the kernel
	limit       bound    // the limit of memory that the machine is made to fit in
	above       bound    // one that it does not fit in, though its size was asked for
}

// What a Hermit container needs besides the guest's own memory, when a memory limit covers it all.
// guest = limit - overhead, with
//
//	overhead = vmBaseMiB + vmPCMiB (pc and q35) + TBSizeMiB (TCG) + vmShareMiB (virtiofsd) + the sizes of loader and application
//
// Measured on cgroup v1 with a guest that touches all its memory, QEMU's files cold, and TBSizeMiB
// counted as used: a microvm runs from 20 MiB on, a pc from 28; below that it first gets slow, for the
// kernel takes QEMU's own program away from it, and is then killed. Under KVM QEMU's own memory before the
// guest's first instruction is 3 MiB less than under TCG (11.7 MiB for 14.5 on a microvm, 14.0 for 16.9 on
// a pc; its program's files, 22 MiB, are shared): the same base holds.
const (
	vmBaseMiB     = 22
	vmPCMiB       = 8
	vmShareMiB    = 6
	defaultMemory = 1024 // MiB, as upstream; memory that the guest does not touch costs nothing
	defaultTBSize = 64   // MiB, where no limit says otherwise; QEMU's own default is 1 GiB
	minTBSize     = 8
	maxTBSize     = 32
)

// newVM sizes the machine for app, which loader boots (nil: it boots by itself), and share (nil: no files). group is the
// cgroup that it will be in.
func newVM(spec *specs.Spec, group *cgroup, c *hermitConfig, s *hermitSettings, app *hermitApp, loader *hermitLoader, share *sharePlan) (*vmConfig, error) {
	vm := &vmConfig{PVH: loader == nil, Extra: s.qemuArgs, kernelWords: s.kernelWords}
	if share != nil {
		vm.Share = share.tag
	}
	var err error
	if vm.Accel, err = pickAccel(c, s); err != nil {
		return nil, err
	}
	vm.CPU = firstWord(s.cpu, c.cpu, defaultCPU(vm.Accel))
	if vm.Machine, err = pickMachine(spec, c, s, app); err != nil {
		return nil, err
	}
	if vm.VCPUs, err = pickVCPUs(spec, group, c, s); err != nil {
		return nil, err
	}
	files := app.size
	if loader != nil {
		files += loader.size
	}
	if err := vm.pickMemory(spec, group, c, s, int((files+1<<20-1)>>20), int((app.size+1<<20-1)>>20)); err != nil {
		return nil, err
	}
	if vm.Quiet = firstWord(s.quiet, c.quiet); vm.Quiet == "off" {
		vm.Quiet = ""
	}
	vm.Terminal, vm.Crash = firstWord(s.terminal, c.terminal), firstWord(s.crash, c.crash)
	if err := vm.pickNetwork(spec, c, s); err != nil {
		return nil, err
	}
	if err := vm.pickDrivers(app); err != nil {
		return nil, err
	}
	return vm, checkTasks(specResources(spec), group, machineTasks(vm.VCPUs, vm.Accel == "kvm" && vm.usesTap(), vm.Share != ""))
}

// pickDrivers goes by texts that kernels with a driver contain. A kernel without one for randomness logs errors about the
// device, and one before 2026 drives a single device of a microvm only.
func (vm *vmConfig) pickDrivers(app *hermitApp) error {
	found, err := app.finds("DHCP config acquired!", "Virtio rng driver")
	if err != nil {
		return err
	}
	vm.DHCP = found[0] && vm.Network != "none"
	vm.RNG = found[1]
	return nil
}

// offersTSO says whether the network card offers to receive whole streams of segments at once. A kernel of July 2026 or
// later that takes the offer fills its receive queue with buffers of 65,589 bytes, 1024 on a microvm and else 256, at boot
// and from a tenth of its memory; without that much it panics. No other buffer needs them to be so large. With a small
// application a kernel of August 2026 was seen to panic up to 320 MiB on a microvm and 80 on pc. Into the guest TCP was
// 1.4 to 2.6 times as fast with the offer (TCG); out of it there is no difference.
func (vm *vmConfig) offersTSO() bool {
	if vm.Machine == "microvm" {
		return vm.MemoryMiB >= 1024
	}
	return vm.MemoryMiB >= 256
}

// pickAccel never chooses KVM by itself unless the CPU shows that it can virtualise: there are
// machines whose /dev/kvm opens and then hangs every guest.
func pickAccel(c *hermitConfig, s *hermitSettings) (string, error) {
	accel := firstWord(s.accel, c.accel)
	if accel == "" && c.kvm != nil && !*c.kvm {
		accel = "tcg"
	}
	switch accel {
	case "tcg":
		return "tcg", nil
	case "kvm":
		if err := openKVM(s.gids); err != nil {
			return "", fmt.Errorf("accel is \"kvm\": %w", err)
		}
		return "kvm", nil
	}
	// One page of cpuinfo holds the first CPU, and that is enough.
	info, err := readSome("/proc/cpuinfo", 4096)
	if err != nil || !bytes.Contains(info, []byte(" vmx")) && !bytes.Contains(info, []byte(" svm")) || openKVM(s.gids) != nil {
		return "tcg", nil
	}
	return "kvm", nil
}

// openKVM says whether QEMU will be able to use KVM. It runs as a user of its own, in the group that
// owns the device, if that has a place in the group map of the container's user namespace.
func openKVM(gids []specs.LinuxIDMapping) error {
	fd, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return unopened{"/dev/kvm", err.(unix.Errno)}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if _, mapped := kvmGroup(gids, st.Gid); !mapped && st.Mode&0o006 != 0o006 {
		return fmt.Errorf("/dev/kvm has mode %04o, and its group has no place in the user namespace's gidMappings", st.Mode&0o7777)
	}
	if st.Mode&0o060 != 0o060 && st.Mode&0o006 != 0o006 {
		return fmt.Errorf("/dev/kvm has mode %04o, which keeps QEMU's user out: allow its group to read and write it", st.Mode&0o7777)
	}
	return nil
}

// unopened is a device that does not open. Its text has the error's name only: engines take the kernel's words for a
// program that is missing.
type unopened struct {
	path  string
	errno unix.Errno
}

func (u unopened) Error() string {
	return fmt.Sprintf("%s does not open (%s)", u.path, unix.ErrnoName(u.errno))
}
func (u unopened) Unwrap() error { return u.errno }

// kvmGroup is the group of /dev/kvm as the container's user namespace knows it.
func kvmGroup(gids []specs.LinuxIDMapping, gid uint32) (inside uint32, mapped bool) {
	switch {
	case gids == nil:
		return gid, true
	case gid == nobody: // a group that is not even ours
		return 0, false
	}
	return insideID(gids, gid)
}

// warnings is what a user should know of a machine's limits.
func (vm *vmConfig) warnings() (list []string) {
	if vm.Accel == "tcg" && !vm.RNG {
		list = append(list, "without KVM the guest's CPU may lack RDSEED: an image without a virtio-rng driver then has predictable random numbers")
	}
	if vm.above.set() {
		list = append(list, fmt.Sprintf("%s: the machine needs %d MiB, %d of them for its guest", vm.above.memory(), vm.NeedsMiB, vm.MemoryMiB))
	}
	return list
}

// defaultCPU is everything that the accelerator has. Under KVM, where QEMU is not asked first (vm_probe.go), two corrections: there are
// hosts where plain "host" aborts QEMU over the register behind arch-capabilities; and migratable=no is with invtsc, which tells
// the guest its clock's frequency, where the host has it.
func defaultCPU(accel string) string {
	if accel == "kvm" {
		return "host,migratable=no,-arch-capabilities"
	}
	return "max"
}

func pickMachine(spec *specs.Spec, c *hermitConfig, s *hermitSettings, app *hermitApp) (string, error) {
	if s.machine != "" && s.machine != "auto" {
		return s.machine, nil
	}
	if v, ok := containerEnv(spec, "RUNH_MICRO_VM"); ok && s.machine == "" {
		n, err := parseRange("RUNH_MICRO_VM", v, 0, 1)
		if err != nil {
			return "", fmt.Errorf("process.env: %w", err)
		}
		return [2]string{"pc", "microvm"}[n], nil
	}
	if s.machine == "" && c.machine != "" && c.machine != "auto" {
		return c.machine, nil
	}
	return app.machineFor()
}

// hermitState is what other commands need to know of a Hermit container; it is part of the state.
type hermitState struct {
	App       string `json:"app"`    // path in the container
	Loader    string `json:"loader"` // in the image or on the host, "" for none
	QEMU      string `json:"qemu"`
	Machine   string `json:"machine"`
	Accel     string `json:"accel"`
	VCPUs     int    `json:"vcpus"`
	MemoryMiB int    `json:"memoryMiB"`
	NeedsMiB  int    `json:"needsMiB"`
	Network   string `json:"network"`
	Share     string `json:"share,omitempty"`
	CPU       string `json:"cpu"`
	Extra     string `json:"extra,omitempty"`    // arguments of QEMU by the vm section
	Append    string `json:"append"`             // the kernel's command line, but for a network that comes later
	MHz       int    `json:"mhz,omitempty"`      // of its clock, as it was told
	Incoming  bool   `json:"incoming,omitempty"` // start has it go on from a state
	Printed   uint64 `json:"printed,omitempty"`  // bytes of output before it was restored

	Template *templateRequest `json:"template,omitempty"`

	Launch    *launch `json:"launch,omitempty"`    // of the VMM, as long as it is still to come
	Lease     *lease  `json:"lease,omitempty"`     // what DHCP answers
	Link      int32   `json:"link,omitempty"`      // the tap
	Namespace uint64  `json:"namespace,omitempty"` // the network it is in

	Question *gatewayQuestion `json:"question,omitempty"` // to be asked when it runs
}

func newHermitState(app *hermitApp, loader *hermitLoader, qemu *qemuFiles, vm *vmConfig) *hermitState {
	st := &hermitState{
		App: app.path, QEMU: qemu.QEMU, Machine: vm.Machine, Accel: vm.Accel,
		VCPUs: vm.VCPUs, MemoryMiB: vm.MemoryMiB, NeedsMiB: vm.NeedsMiB, Network: vm.Network, Share: vm.Share,
		CPU: vm.CPU, Extra: strings.Join(vm.Extra, " "), Append: vm.Boot.with(vm.Lease), MHz: vm.Boot.MHz,
	}
	if loader != nil {
		st.Loader = loader.path
	}
	return st
}
