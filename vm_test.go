package main

import (
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// microvmApp is an application of n MiB that nothing keeps from a microvm.
func microvmApp(t *testing.T, mib int64) *hermitApp {
	_, root := testRoot(t, map[string]string{"app": string(hermitELF().bytes())})
	app, err := detectHermit(root, "/", "/app", nil, annotation{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { app.file.Close() })
	app.size = mib << 20
	return app
}

func vmSpec(limitMiB, quota int64, env ...string) *specs.Spec {
	spec := bootSpec([]string{"/app"}, env)
	spec.Linux = &specs.Linux{Resources: &specs.LinuxResources{}, Namespaces: []specs.LinuxNamespace{{Type: specs.NetworkNamespace}}}
	if limitMiB != 0 {
		limit := limitMiB << 20
		spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit}
	}
	if quota != 0 {
		spec.Linux.Resources.CPU = &specs.LinuxCPU{Quota: &quota}
	}
	return spec
}

func TestNewVMMemory(t *testing.T) {
	for _, tt := range []struct {
		name       string
		limit      int64
		annotation int
		config     int
		accel      string
		app        int64 // MiB
		memory, tb int
		want       string
	}{
		{"default", 0, 0, 0, "tcg", 1, 1024, 64, ""},
		{"config", 0, 0, 256, "tcg", 1, 256, 64, ""},
		{"limit", 256, 0, 512, "tcg", 1, 256 - 22 - 32 - 2, 32, ""},
		{"small limit", 128, 0, 0, "tcg", 1, 128 - 22 - 16 - 2, 16, ""},
		{"unlimited", -1, 0, 0, "tcg", 1, 1024, 64, ""},
		{"annotation", 256, 64, 512, "tcg", 1, 64, 32, ""},
		{"annotation without a limit", 0, 65, 0, "tcg", 1, 64, 64, ""},
		{"annotation over the limit", 256, 250, 0, "tcg", 1, 0, 0, "memory_size is 250 MiB: the memory limit of 256 MiB leaves the guest 200 MiB"},
		{"smallest limit", 76, 0, 0, "tcg", 1, 44, 8, ""},
		{"limit too small", 75, 0, 0, "tcg", 1, 0, 0, "memory limit of 75 MiB is too small: the guest needs 44 MiB and its machine 32 MiB, together 76 MiB"},
		{"large application", 128, 0, 0, "tcg", 40, 0, 0, "is too small: the guest needs 122 MiB"},
		{"large application, little memory", 0, 64, 0, "tcg", 40, 0, 0, "64 MiB of memory are too little for a guest of 40 MiB: it needs 122 MiB"},
		{"more than there is", 1 << 30, 0, 0, "tcg", 1, (hostMemoryMiB() - 22 - 32 - 2) &^ 1, 32, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &hermitConfig{memorySize: tt.config, accel: tt.accel}
			s := &hermitSettings{memorySize: tt.annotation, memoryBy: "annotation memory_size"}
			vm, err := newVM(vmSpec(tt.limit, 0), nil, c, s, microvmApp(t, tt.app), &hermitLoader{size: 10000}, nil)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want %q", err, tt.want)
				}
				return
			}
			if err != nil || vm.MemoryMiB != tt.memory || vm.TBSizeMiB != tt.tb {
				t.Errorf("%+v, %v; want %d MiB, %d for code", vm, err, tt.memory, tt.tb)
			}
		})
	}
}

func TestNewVMChoices(t *testing.T) {
	needs(t, os.Geteuid() == 0, "root")
	tcg := hermitConfig{accel: "tcg"}
	no := false
	own, pod := "auto", "shared"
	if !canTap() {
		own, pod = "user", "user"
	}
	for _, tt := range []struct {
		name     string
		spec     *specs.Spec
		config   hermitConfig
		settings hermitSettings
		want     func(vm *vmConfig) bool
	}{
		{"default", vmSpec(0, 0), tcg, hermitSettings{}, func(vm *vmConfig) bool {
			return vm.Machine == "microvm" && vm.VCPUs == 1 && vm.CPU == "max" && vm.Network == own && vm.Lease == nil && vm.Ports == nil
		}},
		{"upstream's kvm = false", vmSpec(0, 0), hermitConfig{kvm: &no}, hermitSettings{}, func(vm *vmConfig) bool { return vm.Accel == "tcg" }},
		{
			"annotation over config", vmSpec(0, 0),
			hermitConfig{accel: "kvm", machine: "pc", cpu: "x", smp: 3},
			hermitSettings{accel: "tcg", machine: "q35", cpu: "y", smp: 2},
			func(vm *vmConfig) bool {
				return vm.Accel == "tcg" && vm.Machine == "q35" && vm.CPU == "y" && vm.VCPUs == 2
			},
		},
		{"RUNH_MICRO_VM=0", vmSpec(0, 0, "RUNH_MICRO_VM=0"), hermitConfig{accel: "tcg", machine: "microvm"}, hermitSettings{}, func(vm *vmConfig) bool { return vm.Machine == "pc" }},
		{"annotation over RUNH_MICRO_VM", vmSpec(0, 0, "RUNH_MICRO_VM=0"), tcg, hermitSettings{machine: "auto"}, func(vm *vmConfig) bool { return vm.Machine == "microvm" }},
		{"config over detection", vmSpec(0, 0), hermitConfig{accel: "tcg", machine: "q35"}, hermitSettings{}, func(vm *vmConfig) bool { return vm.Machine == "q35" }},
		{"smp", vmSpec(0, 0), hermitConfig{accel: "tcg", smp: 2}, hermitSettings{}, func(vm *vmConfig) bool { return vm.VCPUs == 2 }},
		{"smp, in a cpuset", func() *specs.Spec { s := vmSpec(0, 0); s.Linux.Resources.CPU = &specs.LinuxCPU{Cpus: "0"}; return s }(), hermitConfig{accel: "tcg", smp: 2}, hermitSettings{}, func(vm *vmConfig) bool { return vm.VCPUs == 1 }},
		{"quota over config", vmSpec(0, 50000), hermitConfig{accel: "tcg", smp: 2}, hermitSettings{}, func(vm *vmConfig) bool { return vm.VCPUs == 1 }},
		{"quota rounds up", vmSpec(0, 110000), tcg, hermitSettings{}, func(vm *vmConfig) bool { return vm.VCPUs == min(2, runtime.NumCPU()) }},
		{"large quota", vmSpec(0, 1<<40), tcg, hermitSettings{}, func(vm *vmConfig) bool { return vm.VCPUs == runtime.NumCPU() }},
		{"no network", vmSpec(0, 0), tcg, hermitSettings{network: "none"}, func(vm *vmConfig) bool { return vm.Network == "none" && vm.Ports == nil }},
		{"RUNH_USER_PORT", vmSpec(0, 0, "RUNH_USER_PORT=8080"), tcg, hermitSettings{}, func(vm *vmConfig) bool {
			return vm.Network == "user" && vm.Lease.IP == userGuest && reflect.DeepEqual(vm.Ports, []portForward{{"tcp", 8080}})
		}},
		{"the user network", vmSpec(0, 0), tcg, hermitSettings{network: "user"}, func(vm *vmConfig) bool { return reflect.DeepEqual(vm.Ports, []portForward{{"tcp", 9975}}) }},
		{"RUNH_USER_PORT=0", vmSpec(0, 0, "RUNH_USER_PORT=0"), tcg, hermitSettings{}, func(vm *vmConfig) bool { return vm.Network == own }},
		{"ports", vmSpec(0, 0, "RUNH_USER_PORT=1"), tcg, hermitSettings{ports: []portForward{{"udp", 53}}}, func(vm *vmConfig) bool { return reflect.DeepEqual(vm.Ports, []portForward{{"udp", 53}}) }},
		{"the host's network", func() *specs.Spec { s := vmSpec(0, 0); s.Linux.Namespaces = nil; return s }(), tcg, hermitSettings{}, func(vm *vmConfig) bool { return vm.Network == "user" && vm.Ports == nil }},
		{"a pod's network", func() *specs.Spec { s := vmSpec(0, 0); s.Linux.Namespaces[0].Path = "/run/netns/x"; return s }(), tcg, hermitSettings{}, func(vm *vmConfig) bool { return vm.Network == pod && vm.Ports == nil }},
		{"no linux section", bootSpec([]string{"/app"}, nil), tcg, hermitSettings{}, func(vm *vmConfig) bool { return vm.MemoryMiB == 1024 }},
	} {
		vm, err := newVM(tt.spec, nil, &tt.config, &tt.settings, microvmApp(t, 1), &hermitLoader{}, nil)
		if err != nil || !tt.want(vm) {
			t.Errorf("%s: %+v, %v", tt.name, vm, err)
		}
	}
	for _, tt := range []struct {
		spec     *specs.Spec
		settings hermitSettings
		want     string
	}{
		{vmSpec(0, 0, "RUNH_USER_PORT=x"), hermitSettings{}, `process.env: RUNH_USER_PORT is "x": allowed are 0 to 65535`},
		{vmSpec(0, 0, "RUNH_MICRO_VM=2"), hermitSettings{}, `process.env: RUNH_MICRO_VM is "2": allowed are 0 to 1`},
		{vmSpec(0, 0), hermitSettings{network: "none", ports: []portForward{{"tcp", 1}}}, `ports are given but the network is "none"`},
		{bootSpec([]string{"/app"}, nil), hermitSettings{network: "shared"}, `network is "shared", but the container is in the host's network namespace`},
	} {
		if _, err := newVM(tt.spec, nil, &tcg, &tt.settings, microvmApp(t, 1), nil, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	if vm, err := newVM(vmSpec(0, 0), nil, &tcg, &hermitSettings{}, microvmApp(t, 1), nil, nil); err != nil || !vm.PVH {
		t.Error("without a loader:", vm, err)
	}
}

func TestPickAccel(t *testing.T) {
	accel, err := pickAccel(&hermitConfig{}, &hermitSettings{})
	if err != nil || accel != "kvm" && accel != "tcg" {
		t.Fatal(accel, err)
	}
	info, err := readSome("/proc/cpuinfo", 4096)
	if err != nil {
		t.Fatal(err)
	}
	if accel == "kvm" && !strings.Contains(string(info), " vmx") && !strings.Contains(string(info), " svm") {
		t.Error("kvm on a CPU that cannot")
	}
	if w := (&vmConfig{Accel: "tcg"}).warnings(); len(w) != 1 || !strings.Contains(w[0], "RDSEED") {
		t.Error(w)
	}
	if unix.Access("/dev/kvm", unix.F_OK) != nil {
		if _, err := pickAccel(&hermitConfig{}, &hermitSettings{accel: "kvm"}); err == nil || !strings.Contains(err.Error(), `accel is "kvm": /dev/kvm does not open (ENOENT)`) {
			t.Error(err)
		}
	}
}
