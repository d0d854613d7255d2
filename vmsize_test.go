package main

import (
	"runtime"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestCountCPUs(t *testing.T) {
	for set, want := range map[string]int{"": 0, "0": 1, "0-3": 4, "0-3,7": 5, "1,2,4-4": 3, " 0 , 1 ": 2, "x": 0, "3-1": 0, "0-": 0, "-1": 0, "0,,1": 0} {
		if n := countCPUs(set); n != want {
			t.Errorf("%q: %d, want %d", set, n, want)
		}
	}
}

func TestCPUsFor(t *testing.T) {
	cpu := func(quota int64, period uint64, set string) *specs.LinuxResources {
		return &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: &quota, Period: &period, Cpus: set}}
	}
	for _, tt := range []struct {
		r    *specs.LinuxResources
		want int
	}{
		{nil, 0},
		{&specs.LinuxResources{}, 0},
		{cpu(-1, 0, ""), 0},
		{cpu(0, 0, "0"), 0},
		{cpu(1000, 0, ""), 1},
		{cpu(100000, 0, ""), 1},
		{cpu(100001, 0, ""), min(2, runtime.NumCPU())},
		{cpu(50000, 25000, ""), min(2, runtime.NumCPU())},
		{cpu(1<<50, 0, ""), runtime.NumCPU()},
		{cpu(1<<50, 0, "0"), 1},
		{cpu(200000, 100000, "0"), 1},
		{cpu(1<<50, 0, "0-1023"), runtime.NumCPU()},
	} {
		if n := cpusFor(tt.r); n != tt.want {
			t.Errorf("%+v: %d, want %d", tt.r, n, tt.want)
		}
	}
}

func TestMachineFollows(t *testing.T) {
	h := &hermitState{VCPUs: 2, MemoryMiB: 100, NeedsMiB: 140}
	memory := func(mib int64) *specs.LinuxResources {
		if mib > 0 {
			mib <<= 20
		}
		return &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &mib}}
	}
	quota, pids, more := int64(50000), int64(10), int64(11)
	for _, tt := range []struct {
		r         *specs.LinuxResources
		warn, err string
	}{
		{&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &pids}}, "", "linux.resources.pids.limit of 10 is too small: the guest's machine and its keeper need 11 tasks"},
		{&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &more}}, "", ""},
		{&specs.LinuxResources{Unified: map[string]string{"pids.max": "9"}}, "", "linux.resources.unified pids.max of 9 is too small"},
		{&specs.LinuxResources{Unified: map[string]string{"pids.max": "max"}}, "", ""},
		{memory(139), "", "memory limit of 139 MiB: the running machine needs 140 MiB, 100 of them for its guest"},
		{memory(140), "keeps its 100 MiB:", ""},
		{memory(-1), "keeps its 100 MiB:", ""},
		{memory(0), "", ""}, // Docker's "not named"
		{&specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: &quota}}, "keeps its 2 vCPU", ""},
		{&specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0"}}, "keeps its 2 vCPU", ""},
		{&specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0-1"}}, "", ""},
	} {
		warn, err := h.follow(tt.r)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) || (warn == "") != (tt.warn == "") || !strings.Contains(warn, tt.warn) {
			t.Errorf("%+v: %q, %v", tt.r, warn, err)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	limit := int64(64 << 20)
	for _, tt := range []struct {
		unified string
		want    int64
	}{{"", 64 << 20}, {"max", -1}, {"1048576", 1 << 20}, {"128M", 128 << 20}, {"2g", 2 << 30}, {"9MM", -1}, {"x", -1}, {"0", 0}, {"4294967296", 1 << 32}, {"99999999999G", -1}, {"-1", -1}} {
		r := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}
		if tt.unified != "" {
			r.Unified = map[string]string{"memory.max": tt.unified}
		}
		if got := memoryLimit(r); got != tt.want {
			t.Errorf("memory.max %q: %d, want %d", tt.unified, got, tt.want)
		}
	}
	if got := memoryLimit(nil); got != -1 {
		t.Errorf("without resources: %d", got)
	}
}

// The vm section goes behind the annotations and before the limits.
func TestTakeVM(t *testing.T) {
	vcpus, memory := uint32(3), uint64(96<<20)
	vm := &specs.VM{HwConfig: &specs.HWConfig{VCPUs: &vcpus, Memory: &memory}, Kernel: specs.VMKernel{Parameters: []string{"env=A=b c"}}}
	s := &hermitSettings{}
	if err := s.takeVM(vm, &hermitConfig{}); err != nil || s.smp != 3 || s.memorySize != 96 || len(s.kernelWords) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	s = &hermitSettings{smp: 1, memorySize: 64}
	if err := s.takeVM(vm, &hermitConfig{}); err != nil || s.smp != 1 || s.memorySize != 64 {
		t.Errorf("%+v, %v", s, err)
	}
	zero, tiny := uint32(0), uint64(1<<20)
	path := func(p string) *specs.VM { return &specs.VM{Hypervisor: specs.VMHypervisor{Path: p}} }
	for _, tt := range []struct {
		vm   *specs.VM
		c    hermitConfig
		want string
	}{
		{&specs.VM{HwConfig: &specs.HWConfig{VCPUs: &zero}}, hermitConfig{}, "vm.hwconfig.vcpus is 0: allowed are 1 to 255"},
		{&specs.VM{HwConfig: &specs.HWConfig{Memory: &tiny}}, hermitConfig{}, "vm.hwconfig.memory is 1048576"},
		{&specs.VM{HwConfig: &specs.HWConfig{DeviceTree: "/x"}}, hermitConfig{}, "vm.hwconfig.deviceTree"},
		{path("/usr/bin/qemu"), hermitConfig{}, `vm.hypervisor.path is "/usr/bin/qemu": this host's configuration needs allow_vm_paths = true`},
		{path("qemu"), hermitConfig{allowVMPaths: true}, "allowed is an absolute path"},
		{&specs.VM{Image: specs.VMImage{Path: "/disk"}}, hermitConfig{allowVMPaths: true}, "no driver for disks"},
	} {
		if err := (&hermitSettings{}).takeVM(tt.vm, &tt.c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	s = &hermitSettings{}
	if err := s.takeVM(path("/usr/bin/qemu"), &hermitConfig{allowVMPaths: true}); err != nil || s.qemu != "/usr/bin/qemu" {
		t.Errorf("%+v, %v", s, err)
	}
}
