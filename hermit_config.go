// Settings of Hermit containers: the operator's file /etc/runh/config.toml and the annotations
// org.hermit-os.runh.*, which win over it as far as the operator allows.
//
// Contract: no setting is ever ignored, see hermit_settings.go. Linux containers read none of this.

package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	hermitConfigPath = "/etc/runh/config.toml"
	annotationPrefix = "org.hermit-os.runh."

	minMemoryMiB = 44       // what the smallest Hermit application boots in: see pickMemory
	maxMemoryMiB = 16 << 20 // 16 TiB: more is a mistake in the unit
	maxVCPUs     = 255
)

// hermitConfig is the operator's file. The zero value is what holds without one.
type hermitConfig struct {
	kvm              *bool // upstream's: false means accel "tcg", true means "auto"
	smp              int
	memorySize       int // MiB
	accel            string
	machine          string
	cpu              string
	loader           string
	hermitEnv        string
	network          string
	share            string
	allowAnnotations *[]string // nil allows all
	allowImageVMM    bool
	allowVMPaths     bool
	quiet            string
	variables        string
	terminal         string
	crash            string
}

// hermitSettings is what one container asks for in its annotations; the zero value of a field means
// that it does not ask.
type hermitSettings struct {
	mode       string // "auto", "hermit" or "linux"
	memorySize int    // MiB
	memoryBy   string // where memorySize is from
	smp        int
	accel      string
	machine    string
	cpu        string
	kernelArgs string
	network    string
	ports      []portForward
	mtu        int
	identity   string // of a restored guest: "renewed" or "kept"
	loader     string // a path in the image
	quiet      string // "off", "kernel" or "all"
	variables  string // "all": it must get all of them, or "fitting"
	terminal   string // "cbreak" or "raw"
	crash      string // "end" or "keep"
	template   templateSettings
	vmm        string   // "image": QEMU of the image
	others     []string // annotations for other containers of its pod

	// By the vm section of config.json alone: hermit_vm_section.go.
	kernelWords []string
	hostLoader  string
	qemu        string
	qemuArgs    []string

	gids  []specs.LinuxIDMapping // of the container's user namespace, once it is known
	share string
}

// loadHermitConfig reads the configuration from path, or from its usual place, where it may be missing.
func loadHermitConfig(path string) (*hermitConfig, error) {
	c := &hermitConfig{}
	must := path != ""
	if !must {
		path = hermitConfigPath
	}
	data, err := readFile(path, 1<<20)
	switch {
	case errors.Is(err, unix.ENOENT) && !must:
		return c, nil
	case errors.Is(err, unix.ENOENT):
		return nil, fmt.Errorf("config %s is not there", path)
	case err != nil:
		return nil, fmt.Errorf("config: %w", err)
	}
	if err := c.parse(data); err != nil {
		return nil, fmt.Errorf("config %s: %w", path, err)
	}
	return c, nil
}

// parse reads the settings. Which keys and values there are is ours to say; the
// library says what is TOML.
func (c *hermitConfig) parse(data []byte) error {
	settings, err := readTOML(data)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if err := c.set(key, settings[key]); err != nil {
			return err
		}
	}
	return nil
}

// readAnnotations takes a container's own settings.
func readAnnotations(spec *specs.Spec, c *hermitConfig) (*hermitSettings, error) {
	own, others, err := ownAnnotations(spec.Annotations)
	if err != nil {
		return nil, err
	}
	s := &hermitSettings{others: others}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		a := own[name]
		if c.allowAnnotations != nil && !slices.Contains(*c.allowAnnotations, name) {
			return nil, fmt.Errorf("annotation %s: allow_annotations in this host's configuration does not have %s", a.key, name)
		}
		if err := s.set(name, a.key, a.value, c); err != nil {
			return nil, fmt.Errorf("annotation %w", err)
		}
	}
	return s, s.takeVM(spec.VM, c)
}
