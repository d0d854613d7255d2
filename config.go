// Settings of Hermit containers: the operator's file /etc/runh/config.toml and the annotations
// org.hermit-os.runh.*, which win over it as far as the operator allows.
//
// Contract: no setting is ever ignored. An unknown key or a value out of range is an error that names
// the key, the value and what is allowed. Linux containers read none of this.

package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

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
	imageVMM   bool     // QEMU of the image
	others     []string // annotations for other containers of its pod

	// By the vm section of config.json alone: vmsection.go.
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

func (c *hermitConfig) set(key string, v any) error {
	var err error
	str := func(to *string, check func(name, v string) error) {
		s, ok := v.(string)
		if !ok {
			err = fmt.Errorf("%s is %v: allowed is a string", key, v)
			return
		}
		*to, err = s, check(key, s)
	}
	number := func(to *int, low, high int) {
		n, ok := v.(int64)
		if !ok || n < int64(low) || n > int64(high) {
			err = fmt.Errorf("%s is %v: allowed are %d to %d", key, v, low, high)
		}
		*to = int(n)
	}
	boolean := func() (b bool) {
		b, ok := v.(bool)
		if !ok {
			err = fmt.Errorf("%s is %v: allowed are true, false", key, v)
		}
		return b
	}
	switch key {
	case "kvm":
		b := boolean()
		c.kvm = &b
	case "smp":
		number(&c.smp, 1, maxVCPUs)
	case "memory_size":
		number(&c.memorySize, minMemoryMiB, maxMemoryMiB)
	case "accel":
		str(&c.accel, checkAccel)
	case "machine":
		str(&c.machine, checkMachine)
	case "cpu":
		str(&c.cpu, checkCPU)
	case "loader":
		str(&c.loader, checkAbsolute)
	case "hermit_env":
		str(&c.hermitEnv, checkAbsolute)
	case "network":
		str(&c.network, checkNetwork)
	case "share":
		str(&c.share, checkShare)
	case "allow_annotations":
		values, ok := v.([]any)
		if !ok {
			return fmt.Errorf("%s is %v: allowed is a list of strings", key, v)
		}
		list := make([]string, len(values))
		for i, v := range values {
			a, ok := v.(string)
			if list[i] = a; !ok || !slices.Contains(annotationNames(), a) {
				return fmt.Errorf("%s has %v: allowed are %s", key, v, strings.Join(annotationNames(), ", "))
			}
		}
		c.allowAnnotations = &list
	case "allow_image_vmm":
		c.allowImageVMM = boolean()
	case "allow_vm_paths":
		c.allowVMPaths = boolean()
	case "quiet":
		str(&c.quiet, checkQuiet)
	case "variables":
		str(&c.variables, checkVariables)
	case "terminal":
		str(&c.terminal, checkTerminal)
	case "crash":
		str(&c.crash, checkCrash)
	default:
		return fmt.Errorf("unknown key %q%s: allowed are %s", key, didYouMean(key, configKeys(), ""), strings.Join(configKeys(), ", "))
	}
	return err
}

// configKeys are the settings that config.toml can make.
func configKeys() []string {
	return []string{"kvm", "smp", "memory_size", "accel", "machine", "cpu", "loader", "hermit_env", "network", "share", "allow_annotations", "allow_image_vmm", "allow_vm_paths", "quiet", "terminal", "crash", "variables"}
}

// annotationNames are the settings that a container can ask for.
func annotationNames() []string {
	return []string{"accel", "cpu", "crash", "kernel_args", "loader", "machine", "memory_size", "mode", "mtu", "network", "network_identity", "ports", "quiet", "share", "smp", "template", "template_at", "terminal", "variables", "vmm"}
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

// set takes one setting; name is its name in messages.
func (s *hermitSettings) set(setting, name, v string, c *hermitConfig) (err error) {
	switch setting {
	case "mode":
		s.mode = v
		return checkWord(name, v, "auto", "hermit", "linux")
	case "memory_size":
		s.memorySize, err = parseRange(name, v, minMemoryMiB, maxMemoryMiB)
		s.memoryBy = "annotation " + name
	case "smp":
		s.smp, err = parseRange(name, v, 1, maxVCPUs)
	case "accel":
		s.accel = v
		return checkAccel(name, v)
	case "machine":
		s.machine = v
		return checkMachine(name, v)
	case "cpu":
		s.cpu = v
		return checkCPU(name, v)
	case "kernel_args":
		s.kernelArgs = v
	case "network":
		s.network = v
		return checkNetwork(name, v)
	case "ports":
		s.ports, err = parsePorts(name, v)
	case "loader":
		s.loader = v
	case "quiet":
		s.quiet = v
		return checkQuiet(name, v)
	case "variables":
		s.variables = v
		return checkVariables(name, v)
	case "terminal":
		s.terminal = v
		return checkTerminal(name, v)
	case "crash":
		s.crash = v
		return checkCrash(name, v)
	case "template":
		return s.template.setName(name, v)
	case "template_at":
		return s.template.setPoint(name, v)
	case "share":
		s.share = v
		return checkShare(name, v)
	case "network_identity":
		s.identity = v
		return checkIdentity(name, v)
	case "mtu":
		s.mtu, err = parseRange(name, v, 576, maxMTU)
	case "vmm":
		if v == "image" && !c.allowImageVMM {
			return fmt.Errorf("%s is %q: the host's configuration needs allow_image_vmm = true for it", name, v)
		}
		s.imageVMM = v == "image"
		return checkWord(name, v, "host", "image")
	}
	return err
}

// parsePorts reads a list such as "80,443/tcp,53/udp".
func parsePorts(name, v string) ([]portForward, error) {
	var ports []portForward
	for _, word := range strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' }) {
		number, proto, given := strings.Cut(word, "/")
		if !given {
			proto = "tcp"
		}
		port, err := strconv.Atoi(number)
		if err != nil || port < 1 || port > 65535 || proto != "tcp" && proto != "udp" {
			return nil, fmt.Errorf("%s is %q: %q is no port, allowed are 1 to 65535, with /tcp or /udp", name, v, word)
		}
		ports = append(ports, portForward{proto, port})
	}
	return ports, nil
}

// The checks below take "" for "not set".

func checkAccel(name, v string) error { return checkWord(name, v, "auto", "kvm", "tcg") }

func checkMachine(name, v string) error { return checkWord(name, v, "auto", "microvm", "pc", "q35") }

func checkQuiet(name, v string) error { return checkWord(name, v, "off", "kernel", "all") }
func checkVariables(name, v string) error {
	return checkWord(name, v, "all", "fitting")
}
func checkTerminal(name, v string) error { return checkWord(name, v, "cbreak", "raw") }
func checkCrash(name, v string) error    { return checkWord(name, v, "end", "keep") }
func checkIdentity(name, v string) error { return checkWord(name, v, "renewed", "kept") }

func checkShare(name, v string) error { return checkWord(name, v, "auto", "rootfs", "none") }

func checkNetwork(name, v string) error {
	return checkWord(name, v, "auto", "direct", "shared", "user", "none")
}

func checkAbsolute(name, v string) error {
	if !strings.HasPrefix(v, "/") {
		return fmt.Errorf("%s is %q: allowed is an absolute path", name, v)
	}
	return nil
}

// checkCPU lets through what a CPU model with features is made of: "host,-arch-capabilities".
func checkCPU(name, v string) error {
	for _, r := range v {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-+._,=", r)) {
			return fmt.Errorf("%s is %q: allowed is a QEMU CPU model, with features after commas", name, v)
		}
	}
	return nil
}

func checkWord(name, v string, allowed ...string) error {
	if v == "" || slices.Contains(allowed, v) {
		return nil
	}
	return fmt.Errorf("%s is %q: allowed are %s", name, v, strings.Join(allowed, ", "))
}

func parseRange(name, v string, low, high int) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%s is %q: allowed are %d to %d", name, v, low, high)
	}
	return n, nil
}
