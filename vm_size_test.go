package main

import (
	"os"
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
	unified := func(r *specs.LinuxResources, file, value string) *specs.LinuxResources {
		r.Unified = map[string]string{file: value}
		return r
	}
	two := min(2, runtime.NumCPU())
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
		{cpu(100001, 0, ""), two},
		{cpu(50000, 25000, ""), two},
		{cpu(1<<50, 0, ""), runtime.NumCPU()},
		{cpu(1<<50, 0, "0"), 1},
		{cpu(200000, 100000, "0"), 1},
		{cpu(1<<50, 0, "0-1023"), runtime.NumCPU()},
		{unified(&specs.LinuxResources{}, "cpu.max", "150000 100000"), two},
		{unified(&specs.LinuxResources{}, "cpu.max", "50000"), 1},
		{unified(&specs.LinuxResources{}, "cpu.max", "max 100000"), 0},
		{unified(cpu(200000, 100000, ""), "cpu.max", "max"), 0},   // which is written last
		{unified(cpu(200000, 100000, ""), "cpu.max", "50000"), 1}, // of the period before
		{unified(cpu(0, 25000, ""), "cpu.max", "50000"), two},     // the same
		{unified(cpu(50000, 0, ""), "cpu.max", "300000\n150000 100000\n"), two},
		{unified(cpu(200000, 100000, "0-1"), "cpuset.cpus", "0"), 1},
		{unified(cpu(200000, 100000, "0"), "cpuset.cpus", "0-1"), two},
		{unified(cpu(200000, 100000, ""), "cpu.weight", "1"), two}, // no limit
	} {
		if n, err := cpusFor(tt.r, nil); n != tt.want || err != nil {
			t.Errorf("%+v: %d, %v, want %d", tt.r, n, err, tt.want)
		}
	}
	for _, value := range []string{"x", "-1", "0", "100000 0", "100000 x", "1 2 3", "max max", "100000x", "1e5", "99999999999999999999"} {
		_, err := cpusFor(unified(&specs.LinuxResources{}, "cpu.max", value), nil)
		if err == nil || !strings.HasPrefix(err.Error(), `linux.resources.unified cpu.max "`+value+`": must be`) {
			t.Errorf("cpu.max %q: %v", value, err)
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
	unified := func(file, value string) *specs.LinuxResources {
		return &specs.LinuxResources{Unified: map[string]string{file: value}}
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
		{unified("memory.high", "139M"), "", "memory limit of 139 MiB (linux.resources.unified memory.high): the running machine needs 140 MiB"},
		{unified("memory.max", "139M"), "", "memory limit of 139 MiB (linux.resources.unified memory.max): the running machine needs 140 MiB"},
		{unified("memory.high", "140M"), "keeps its 100 MiB:", ""},
		{unified("memory.high", "max"), "keeps its 100 MiB:", ""},
		{unified("memory.high", "much"), "", `memory.high "much": must be`},
		{unified("memory.low", "1"), "", ""},
		{unified("memory.swap.max", "0"), "", ""},
		{unified("cpu.max", "50000 100000"), "keeps its 2 vCPU", ""},
		{unified("cpu.max", "much"), "", `cpu.max "much": must be`},
		{unified("cpu.weight", "1"), "", ""},
		{unified("cpuset.cpus", "1"), "keeps its 2 vCPU", ""},
		{unified("pids.max", "few"), "", `pids.max "few": must be`},
	} {
		warn, err := h.follow(tt.r)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) || (warn == "") != (tt.warn == "") || !strings.Contains(warn, tt.warn) {
			t.Errorf("%+v: %q, %v", tt.r, warn, err)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	limit := int64(64 << 20)
	r := func(file, value string) *specs.LinuxResources {
		return &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}, Unified: map[string]string{file: value}}
	}
	for value, want := range map[string]int64{
		"max": -1, "1048576": 1 << 20, "128M": 128 << 20, "2g": 2 << 30, "1T": 1 << 40, "0": 0, "4294967296": 1 << 32, "512\n96M\n": 96 << 20, " 1K": 1024, "010": 8,
	} {
		for file, read := range map[string]func(*specs.LinuxResources) (bound, error){"memory.max": memoryLimit, "memory.high": memoryHigh} {
			b, err := read(r(file, value))
			if err != nil || b.set() != (want >= 0) || b.set() && b != (bound{want, "linux.resources.unified " + file}) {
				t.Errorf("%s %q: %+v, %v, want %d", file, value, b, err, want)
			}
		}
	}
	for _, value := range []string{"x", "-1", "9MM", "12MB", "0x10", "1.5G", "99999999999G", "1_0", "M", "99999999999999999999"} {
		if _, err := memoryHigh(r("memory.high", value)); err == nil || !strings.HasPrefix(err.Error(), `linux.resources.unified memory.high "`+value+`": must be "max" or a number of bytes`) {
			t.Errorf("memory.high %q: %v", value, err)
		}
	}
	for _, other := range []*specs.LinuxResources{r("memory.max", ""), r("memory.low", "1"), r("memory.min", "1"), r("memory.swap.max", "0"), r("hugetlb.2MB.max", "0")} {
		b, err := memoryLimit(other)
		high, err2 := memoryHigh(other)
		if b != (bound{limit, memoryField}) || high.set() || err != nil || err2 != nil {
			t.Errorf("%v: %+v, %+v, %v, %v", other.Unified, b, high, err, err2)
		}
	}
	if b, err := memoryLimit(nil); b.set() || err != nil {
		t.Errorf("without resources: %+v, %v", b, err)
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

// fakeCgroup is a cgroup of v2 with one above it, whose files are given.
func fakeCgroup(t *testing.T, files map[string]string) *cgroup {
	top := t.TempDir()
	if err := os.MkdirAll(top+"/pod/c", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(top+"/"+name, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &cgroup{v2: true, places: []cgroupPlace{{cgroupTree{mount: top}, top + "/pod/c"}}}
}

// What the cgroups above allow: the smallest of them, and those without a limit say nothing.
func TestLimitsAbove(t *testing.T) {
	none := fakeCgroup(t, map[string]string{"pod/memory.max": "max", "pod/c/memory.max": "max", "pod/c/memory.high": "max", "pod/pids.max": "max", "pod/cpu.max": "max 100000"})
	if m, p, n := none.memoryAbove(), none.pidsAbove(), none.cpusAbove(); m.set() || p.set() || n < maxVCPUs {
		t.Errorf("without limits: %+v, %+v, %d", m, p, n)
	}
	if m := (*cgroup)(nil).memoryAbove(); m.set() {
		t.Errorf("without a cgroup: %+v", m)
	}
	some := fakeCgroup(t, map[string]string{
		"memory.max": "300", "pod/memory.max": "200", "pod/memory.high": "150", "pod/c/memory.max": "160", "pod/pids.max": "9", "pod/c/pids.max": "10",
		"pod/cpu.max": "250000 100000", "pod/c/cpu.max": "max 100000", "cpuset.cpus.effective": "0-7", "pod/cpuset.cpus.effective": "0-1,4,6",
	})
	if m, p := some.memoryAbove(), some.pidsAbove(); m.n != 150 || !strings.HasSuffix(m.by, "/pod/memory.high") || p.n != 9 || !strings.HasSuffix(p.by, "/pod/pids.max") {
		t.Errorf("%+v, %+v", m, p)
	}
	if n := some.cpusAbove(); n != 3 {
		t.Errorf("%d CPUs, want 3", n)
	}
	if n := fakeCgroup(t, map[string]string{"cpuset.cpus.effective": "0-7", "pod/cpuset.cpus.effective": "2-3"}).cpusAbove(); n != 2 {
		t.Errorf("%d CPUs, want 2", n)
	}
}

func TestNewVMAbove(t *testing.T) {
	above := func(files ...string) *cgroup {
		all := map[string]string{}
		for i := 0; i < len(files); i += 2 {
			all[files[i]] = files[i+1]
		}
		return fakeCgroup(t, all)
	}
	ends := func(name, want string) bool { return strings.HasSuffix(name, want) && (name == "") == (want == "") }
	const mib256, gib = "268435456", "1073741824"
	high := func(limit int64, value string) *specs.Spec {
		s := vmSpec(limit, 0)
		s.Linux.Resources.Unified = map[string]string{"memory.high": value}
		return s
	}
	for _, tt := range []struct {
		name       string
		spec       *specs.Spec
		group      *cgroup
		annotation int
		config     int
		memory, tb int
		by, warned string // how the names end
		want       string // of an error
	}{
		{"a pod's limit", vmSpec(0, 0), above("pod/memory.max", mib256), 0, 0, 256 - 22 - 32 - 2, 32, "/pod/memory.max", "", ""},
		{"a pod's, under the limit", vmSpec(512, 0), above("pod/memory.max", mib256), 0, 0, 256 - 22 - 32 - 2, 32, "/pod/memory.max", "", ""},
		{"a pod's, above the limit", vmSpec(128, 0), above("pod/memory.max", mib256), 0, 0, 128 - 22 - 16 - 2, 16, memoryField, "", ""},
		{"the operator's size fits", vmSpec(0, 0), above("pod/memory.max", mib256), 0, 128, 128, 64, "", "", ""},
		{"the operator's size does not fit", vmSpec(0, 0), above("pod/memory.max", mib256), 0, 512, 256 - 22 - 32 - 2, 32, "/pod/memory.max", "", ""},
		{"the default fits", vmSpec(0, 0), above("memory.high", "4294967296"), 0, 0, 1024, 64, "", "", ""},
		{"the default does not fit", vmSpec(0, 0), above("memory.high", gib), 0, 0, 1024 - 22 - 32 - 2, 32, "/memory.high", "", ""},
		{"asked for, and it fits", vmSpec(0, 0), above("pod/memory.max", mib256), 64, 0, 64, 64, "", "", ""},
		{"asked for, and it does not fit", vmSpec(0, 0), above("pod/memory.max", mib256), 512, 0, 512, 64, "", "/pod/memory.max", ""},
		{"asked for and limited, and it does not fit", vmSpec(1024, 0), above("pod/memory.max", mib256), 512, 0, 512, 32, memoryField, "/pod/memory.max", ""},
		{"too small a pod", vmSpec(0, 0), above("pod/memory.max", "33554432"), 0, 0, 0, 0, "", "", "/pod/memory.max) is too small"},
		{"memory.high", high(512, mib256), nil, 0, 0, 256 - 22 - 32 - 2, 32, " memory.high", "", ""},
		{"memory.high alone", high(0, mib256), nil, 0, 0, 256 - 22 - 32 - 2, 32, " memory.high", "", ""},
		{"memory.high of a node", high(0, "64G"), nil, 0, 0, 1024, 64, "", "", ""},
		{"memory.high, and a size that fits", high(0, mib256), nil, 128, 0, 128, 64, "", "", ""},
		{"memory.high, and a size that just fits", high(0, mib256), nil, 200, 0, 200, 32, " memory.high", "", ""},
		{"memory.high, and a size that does not fit", high(0, mib256), nil, 202, 0, 0, 0, "", "", "leaves the guest 200 MiB"},
		{"memory.high of 0", high(0, "0"), nil, 0, 0, 0, 0, "", "", "memory limit of 0 MiB (linux.resources.unified memory.high) is too small"},
		{"too few tasks above", vmSpec(0, 0), above("pod/pids.max", "9"), 0, 0, 0, 0, "", "", "/pod/pids.max of 9 is too small"},
	} {
		vm, err := newVM(tt.spec, tt.group, &hermitConfig{accel: "tcg", memorySize: tt.config}, &hermitSettings{memorySize: tt.annotation, memoryBy: "annotation memory_size"}, microvmApp(t, 1), &hermitLoader{size: 10000}, nil)
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		} else if vm.MemoryMiB != tt.memory || vm.TBSizeMiB != tt.tb || !ends(vm.limit.by, tt.by) || !ends(vm.above.by, tt.warned) {
			t.Errorf("%s: %d MiB, %d for code, %+v, %+v; want %+v", tt.name, vm.MemoryMiB, vm.TBSizeMiB, vm.limit, vm.above, tt)
		}
	}
}
