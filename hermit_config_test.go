package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestHermitConfig(t *testing.T) {
	var c hermitConfig
	err := c.parse([]byte(`
# upstream's
kvm = false
smp = 2
memory_size = 1_024 # MiB
accel = "tcg"
machine = 'q35'
cpu = "host,-arch-capabilities"
loader = "/boot/loader"
hermit_env = "/srv/hermit"
network = "none"
allow_annotations = [
	"smp", # one
	"memory_size",
]
allow_image_vmm = true
`))
	if err != nil {
		t.Fatal(err)
	}
	if c.kvm == nil || *c.kvm || c.smp != 2 || c.memorySize != 1024 || c.accel != "tcg" || c.machine != "q35" || c.cpu != "host,-arch-capabilities" ||
		c.loader != "/boot/loader" || c.hermitEnv != "/srv/hermit" || c.network != "none" || strings.Join(*c.allowAnnotations, " ") != "smp memory_size" || !c.allowImageVMM {
		t.Errorf("%+v", c)
	}
}

func TestHermitConfigRefused(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`colour = "red"`, `unknown key "colour": allowed are accel, allow_annotations,`},
		{"[vm]\nsmp = 1", `unknown key "vm"`},
		{`smp = 0`, "smp is 0: allowed are 1 to 255"},
		{`smp = "two"`, "smp is two: allowed are 1 to 255"},
		{`memory_size = 31`, "memory_size is 31: allowed are 44 to 16777216"},
		{`memory_size = 512.5`, "memory_size is 512.5: allowed are 44"},
		{`kvm = 1`, "kvm is 1: allowed are true, false"},
		{`accel = "xen"`, `accel is "xen": allowed are auto, kvm, tcg`},
		{`machine = "virt"`, `machine is "virt": allowed are auto, microvm, pc, q35`},
		{`network = "bridge"`, `network is "bridge": allowed are auto, direct, shared, user, none`},
		{`cpu = "max -drive file=/etc/shadow"`, `allowed is a QEMU CPU model`},
		{`loader = "loader"`, `loader is "loader": allowed is an absolute path`},
		{`hermit_env = 1`, `hermit_env is 1: allowed is a string`},
		{`allow_annotations = ["everything"]`, `allow_annotations has everything: allowed are accel, cpu,`},
		{`allow_annotations = "smp"`, `allowed is a list of strings`},
		{"smp = 1\nsmp = 2", "line 2"},
		{"smp", "line 1"},
	} {
		var c hermitConfig
		if err := c.parse([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.text, err, tt.want)
		}
	}
}

func TestLoadHermitConfig(t *testing.T) {
	p := filepath.Join(t.TempDir(), "config.toml")
	if _, err := loadHermitConfig(p); err == nil || !strings.Contains(err.Error(), p+" is not there") || strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
	if err := os.WriteFile(p, []byte("smp = -1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := loadHermitConfig(p); err == nil || !strings.Contains(err.Error(), p+": smp is -1") {
		t.Error(err)
	}
	if err := os.WriteFile(p, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := loadHermitConfig(p); err != nil || *c != (hermitConfig{}) {
		t.Error(c, err)
	}
}

func TestAnnotations(t *testing.T) {
	only := []string{"smp"}
	for _, tt := range []struct {
		name, value string
		config      hermitConfig
		want        string // part of the error
	}{
		{"memory_size", "64", hermitConfig{}, ""},
		{"memory_size", "lots", hermitConfig{}, `annotation org.hermit-os.runh.memory_size is "lots": allowed are 44 to`},
		{"smp", "2", hermitConfig{allowAnnotations: &only}, ""},
		{"smp", "0", hermitConfig{}, `smp is "0": allowed are 1 to 255`},
		{"cpu", "max", hermitConfig{allowAnnotations: &only}, "allow_annotations in this host's configuration does not have cpu"},
		{"cpu", "max;reboot", hermitConfig{}, "allowed is a QEMU CPU model"},
		{"colour", "red", hermitConfig{}, "annotation org.hermit-os.runh.colour is unknown: allowed are"},
		{"mode", "hermit", hermitConfig{}, ""},
		{"mode", "maybe", hermitConfig{}, "allowed are auto, hermit, linux"},
		{"machine", "q35", hermitConfig{}, ""},
		{"ports", "80, 443/tcp 53/udp", hermitConfig{}, ""},
		{"ports", "80/icmp", hermitConfig{}, `"80/icmp" is no port`},
		{"ports", "0", hermitConfig{}, "is no port"},
		{"ports", "70000", hermitConfig{}, "is no port"},
		{"share", "none", hermitConfig{}, ""},
		{"share", "rootfs", hermitConfig{}, ""},
		{"share", "all", hermitConfig{}, "allowed are auto, rootfs, none"},
		{"mtu", "1400", hermitConfig{}, ""},
		{"mtu", "100", hermitConfig{}, "allowed are 576 to 65521"},
		{"vmm", "host", hermitConfig{}, ""},
		{"vmm", "image", hermitConfig{}, "needs allow_image_vmm = true"},
		{"vmm", "image", hermitConfig{allowImageVMM: true}, ""},
		{"vmm", "cloud", hermitConfig{}, "allowed are host, image"},
		{"kernel_args", "-v", hermitConfig{}, ""},
		{"loader", "/boot/l", hermitConfig{}, ""},
		{"network", "none", hermitConfig{}, ""},
		{"accel", "tcg", hermitConfig{}, ""},
	} {
		spec := &specs.Spec{Annotations: map[string]string{annotationPrefix + tt.name: tt.value, "io.kubernetes.pod": "x"}}
		_, err := readAnnotations(spec, &tt.config)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s=%s: %v, want %q", tt.name, tt.value, err, tt.want)
		}
	}
	s, err := readAnnotations(&specs.Spec{Annotations: map[string]string{annotationPrefix + "ports": "80,53/udp"}}, &hermitConfig{})
	if err != nil || len(s.ports) != 2 || s.ports[0] != (portForward{"tcp", 80}) || s.ports[1] != (portForward{"udp", 53}) {
		t.Error(s, err)
	}
}

// Whatever the keys are: only known settings are taken, the one for this container wins, and its value alone decides.
func FuzzAnnotations(f *testing.F) {
	for _, s := range []string{"ports", "ports.web", "ports.", "prots.web", "ports.web.", "ports.a.b", ".web", "", "ports..web", "mode.web", "ports.\x00", "PORTS.web"} {
		f.Add(s, "ports", "web")
	}
	f.Fuzz(func(t *testing.T, one, two, self string) {
		all := map[string]string{annotationPrefix + one: "1", annotationPrefix + two: "2", "io.kubernetes.cri.container-name": self}
		own, others, err := ownAnnotations(all)
		if err != nil {
			if len(own)+len(others) > 0 || !strings.HasPrefix(err.Error(), "annotation "+annotationPrefix) {
				t.Errorf("%q, %q for %q: %v, %v, %v", one, two, self, own, others, err)
			}
			return
		}
		if len(own) == 0 && len(others) == 0 {
			t.Errorf("%q, %q for %q: nothing", one, two, self)
		}
		for name, a := range own {
			specific := annotationPrefix + name + "." + self
			v, there := all[specific]
			if !slices.Contains(annotationNames(), name) || there != (a.key == specific) || there && v != a.value || !there && a != (annotation{annotationPrefix + name, all[annotationPrefix+name]}) {
				t.Errorf("%q, %q for %q: %s is %v", one, two, self, name, a)
			}
		}
		for _, key := range others {
			setting, container, _ := strings.Cut(strings.TrimPrefix(key, annotationPrefix), ".")
			if !slices.Contains(annotationNames(), setting) || container == self || container == "" || self == "" {
				t.Errorf("%q for %q is another's", key, self)
			}
		}
		if m := modeOf(all); m.value != "" && m != own["mode"] {
			t.Errorf("%q, %q for %q: mode %v, and %v", one, two, self, m, own["mode"])
		}
	})
}
