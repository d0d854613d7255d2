// The runtime-spec's own section for virtual machines, "vm" in config.json (config-vm.md), as far as it
// means something to a Hermit guest. It goes before the limits and the operator's file, and behind the
// annotations.
//
// Contract: nothing in it is ignored. What it says is done, or it is an error that names the property.
//
// Numbers and the kernel's parameters are taken from everybody. A path there names a file of the host,
// and a parameter of the hypervisor can do anything: these count only where the operator says so, by
// allow_vm_paths in the configuration.

package main

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// takeVM adds what the vm section asks for to what the annotations have left open.
func (s *hermitSettings) takeVM(vm *specs.VM, c *hermitConfig) error {
	if vm == nil {
		return nil
	}
	for _, f := range []struct{ name, value string }{
		{"hypervisor.path", vm.Hypervisor.Path},
		{"hypervisor.parameters", firstWord(vm.Hypervisor.Parameters...)},
		{"kernel.path", vm.Kernel.Path},
	} {
		if f.value != "" && !c.allowVMPaths {
			return fmt.Errorf("vm.%s is %q: this host's configuration needs allow_vm_paths = true for it", f.name, f.value)
		}
	}
	for _, f := range []struct{ name, value string }{
		{"hypervisor.path", vm.Hypervisor.Path},
		{"kernel.path", vm.Kernel.Path},
	} {
		if f.value != "" {
			if err := checkAbsolute("vm."+f.name, f.value); err != nil {
				return err
			}
		}
	}
	switch {
	case vm.Kernel.InitRD != "":
		return fmt.Errorf("vm.kernel.initrd is %q: a Hermit guest's is its application, process.args[0]", vm.Kernel.InitRD)
	case vm.Image.Path != "":
		return fmt.Errorf("vm.image.path is %q: Hermit has no driver for disks", vm.Image.Path)
	}
	s.qemu, s.qemuArgs = vm.Hypervisor.Path, vm.Hypervisor.Parameters
	s.hostLoader, s.kernelWords = vm.Kernel.Path, vm.Kernel.Parameters
	return s.takeHardware(vm.HwConfig)
}

func (s *hermitSettings) takeHardware(hw *specs.HWConfig) error {
	if hw == nil {
		return nil
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"deviceTree", hw.DeviceTree != ""},
		{"dtdevs", len(hw.DtDevs) > 0},
		{"iomems", len(hw.IOMems) > 0},
		{"irqs", len(hw.Irqs) > 0},
	} {
		if f.set {
			return fmt.Errorf("vm.hwconfig.%s: a Hermit guest's machine gets no devices of the host", f.name)
		}
	}
	if n := hw.VCPUs; n != nil {
		if *n < 1 || *n > maxVCPUs {
			return fmt.Errorf("vm.hwconfig.vcpus is %d: allowed are 1 to %d", *n, maxVCPUs)
		}
		if s.smp == 0 {
			s.smp = int(*n)
		}
	}
	if n := hw.Memory; n != nil {
		mib := *n >> 20
		if mib < minMemoryMiB || mib > maxMemoryMiB {
			return fmt.Errorf("vm.hwconfig.memory is %d: allowed are %d to %d MiB, in bytes", *n, minMemoryMiB, maxMemoryMiB)
		}
		if s.memorySize == 0 {
			s.memorySize, s.memoryBy = int(mib), "vm.hwconfig.memory"
		}
	}
	return nil
}
