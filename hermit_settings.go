// The settings of Hermit containers, in one table: the keys of the operator's file, the
// annotations of a container, what is allowed for each, and what the README and
// docs/config.toml say of it (hermit_settings_test.go writes both).
//
// Contract: no setting is ever ignored. An unknown key or annotation, or a value out of
// range, is an error that names the key, the value and the allowed ones. A setting
// without "own" is the operator's alone. hermit_config.go reads the file, and
// hermit_annotation.go says which annotations are a container's.

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// setting is one row. A value is one of the words, or a number from low to high, or
// what check lets through.
type setting struct {
	name      string
	words     []string
	low, high int
	check     func(name, v string) error

	// Where a value goes: *string, *int, *bool, **bool, **[]string, *[]portForward, or a function that takes it.
	file func(c *hermitConfig) any   // from the operator's file; nil: not there
	own  func(s *hermitSettings) any // from an annotation; nil: a container has no say
	and  func(s *hermitSettings, c *hermitConfig, name, v string) error

	// For people:
	values  string
	initial string // what holds without it
	sample  string // in docs/config.toml
}

var settings = [...]setting{
	{
		name: "mode", words: []string{"auto", "hermit", "linux"}, own: func(s *hermitSettings) any { return &s.mode },
		values:  "`auto`, `hermit` (anything else is an error), `linux` (never a guest)",
		initial: "`auto`",
	},
	{
		name: "memory_size", low: minMemoryMiB, high: maxMemoryMiB, file: func(c *hermitConfig) any { return &c.memorySize }, own: func(s *hermitSettings) any { return &s.memorySize },
		and: func(s *hermitSettings, _ *hermitConfig, name, _ string) error {
			s.memoryBy = "annotation " + name
			return nil
		},
		values:  `MiB, 44 to 16777216`,
		initial: `see below, else 1024`,
		sample:  `1024 # MiB, for containers without a memory limit`,
	},
	{
		name: "smp", low: 1, high: maxVCPUs, file: func(c *hermitConfig) any { return &c.smp }, own: func(s *hermitSettings) any { return &s.smp },
		values:  `1 to 255`,
		initial: `CPU quota / period rounded up, at most the CPUs of host, cpuset and the cgroups above; else 1`,
		sample:  `1 # virtual CPUs, for containers without a CPU quota`,
	},
	{
		name: "accel", words: []string{"auto", "kvm", "tcg"}, file: func(c *hermitConfig) any { return &c.accel }, own: func(s *hermitSettings) any { return &s.accel },
		values:  "`auto`, `kvm`, `tcg`",
		initial: "`auto`: KVM where `/dev/kvm` opens and the CPU shows vmx or svm",
		sample:  `"auto" # or "kvm", "tcg"`,
	},
	{
		name: "kvm", file: func(c *hermitConfig) any { return &c.kvm },
		values: "`false` is `accel = \"tcg\"`, `true` is `auto`",
	},
	{
		name: "machine", words: []string{"auto", "microvm", "pc", "q35"}, file: func(c *hermitConfig) any { return &c.machine }, own: func(s *hermitSettings) any { return &s.machine },
		values:  "`auto`, `microvm`, `pc`, `q35`",
		initial: "`auto`: microvm unless the application was built with PCI or ACPI",
		sample:  `"auto" # or "microvm", "pc", "q35"`,
	},
	{
		name: "cpu", check: checkCPU, file: func(c *hermitConfig) any { return &c.cpu }, own: func(s *hermitSettings) any { return &s.cpu },
		values:  `a QEMU CPU model with features`,
		initial: "`max`; KVM: the first of `host,migratable=no,+invtsc`, the same with `-arch-capabilities`, `host`, `host,-arch-capabilities`, `max` that QEMU makes here without a warning of a missing feature (asked once; in a tree or image: `host,migratable=no,-arch-capabilities`)",
		sample:  `"max" # a QEMU CPU model with features`,
	},
	{
		name: "loader", check: checkLoader, file: func(c *hermitConfig) any { return &c.loader }, own: func(s *hermitSettings) any { return &s.loader },
		values:  `file: absolute path on the host; annotation: path in the image`,
		initial: `beside the application, then in the environment`,
		sample:  `"/opt/hermit/hermit-loader-x86_64-multiboot"`,
	},
	{
		name: "hermit_env", check: checkAbsolute, file: func(c *hermitConfig) any { return &c.hermitEnv },
		values:  "absolute path, like `--hermit-env`",
		initial: "`ROOT/hermit`",
		sample:  `"/run/runh/hermit"`,
	},
	{
		name: "network", words: []string{"auto", "direct", "shared", "user", "none"}, file: func(c *hermitConfig) any { return &c.network }, own: func(s *hermitSettings) any { return &s.network },
		values:  "`auto`, `direct`, `shared`, `user`, `none`",
		initial: `see "Network"`,
		sample:  `"auto" # or "shared", "direct", "user", "none"; auto is shared wherever a tap can be made`,
	},
	{
		name: "ports", own: func(s *hermitSettings) any { return &s.ports },
		values:  "ports of the container that lead to the guest: `80,443/tcp,53/udp`",
		initial: "shared: all that nobody else in there has; user: `9975/tcp`, in a network namespace of its own",
	},
	{
		name: "kernel_args", own: func(s *hermitSettings) any { return &s.kernelArgs },
		values: "words for the kernel's command line; not `--`",
	},
	{
		name: "share", words: []string{"auto", "rootfs", "none"}, file: func(c *hermitConfig) any { return &c.share }, own: func(s *hermitSettings) any { return &s.share },
		values:  "`auto`: the volumes and the image's `/root`, if there are any; `rootfs`: all of the container's files; `none`",
		initial: "`auto`",
		sample:  `"auto" # or "rootfs", "none": which of its files a guest sees`,
	},
	{
		name: "vmm", words: []string{"host", "image"}, own: func(s *hermitSettings) any { return &s.vmm }, and: allowVMM,
		values:  "`host`; `image`: QEMU of the image, in the same jail, needs `allow_image_vmm`",
		initial: "`host`",
	},
	{
		name: "mtu", low: 576, high: maxMTU, own: func(s *hermitSettings) any { return &s.mtu },
		values:  `576 to 65521`,
		initial: "the smallest of the interface and its routes; in `shared`, of all interfaces",
	},
	{
		name: "network_identity", words: []string{"renewed", "kept"}, own: func(s *hermitSettings) any { return &s.identity },
		values:  "of a restored guest in mode `direct`: `renewed`, `kept`; see \"Checkpoints and templates\"",
		initial: "`renewed`",
	},
	{
		name: "quiet", words: []string{"off", "kernel", "all"}, file: func(c *hermitConfig) any { return &c.quiet }, own: func(s *hermitSettings) any { return &s.quiet },
		values:  "`off`; `kernel`: HERMIT_LOG_LEVEL_FILTER=error and NO_COLOR=1 for it, whatever the container's own variables say (heeded since 0.14); `all`: the loader's lines are left out, too, but for a panic",
		initial: "`off`",
		sample:  `"off" # or "kernel", "all": what of the boot messages is left out`,
	},
	{
		name: "variables", words: []string{"all", "fitting"}, file: func(c *hermitConfig) any { return &c.variables }, own: func(s *hermitSettings) any { return &s.variables },
		values:  "`all`: create fails where the kernel's command line has no room for one; `fitting`: those are left out, by name the last first",
		initial: "`all`",
		sample:  `"all" # or "fitting": what has no room on the kernel's command line is left out`,
	},
	{
		name: "terminal", words: []string{"cbreak", "raw"}, file: func(c *hermitConfig) any { return &c.terminal }, own: func(s *hermitSettings) any { return &s.terminal },
		values:  "of a guest with `-t`: `cbreak`: Enter is a newline, Ctrl-C and Ctrl-\\ end the machine (130, 131); `raw`: each byte goes to the guest as it is",
		initial: "`cbreak`",
		sample:  `"cbreak" # or "raw": every key goes to the guest, Ctrl-C too`,
	},
	{
		name: "crash", words: []string{"end", "keep"}, file: func(c *hermitConfig) any { return &c.crash }, own: func(s *hermitSettings) any { return &s.crash },
		values:  "`end`: a machine whose kernel has reported an exception, and which then prints nothing and uses no processor for 4 s, is ended with 139; `keep`: it stays, for debugging",
		initial: "`end`",
		sample:  `"end" # or "keep": what becomes of a machine whose kernel has reported an exception and idles`,
	},
	{
		name: "template", own: func(s *hermitSettings) any { return s.template.setName },
		values:  `a name: the guest starts from a template, or makes it; see below`,
		initial: `boot`,
	},
	{
		name: "template_at", own: func(s *hermitSettings) any { return s.template.setPoint },
		values:  "where a template is made: a time since the start (`1500ms`, at most 60 s), or a part of a line that the guest prints",
		initial: "the line `runh: template`",
	},
	{
		name: "allow_annotations", file: func(c *hermitConfig) any { return &c.allowAnnotations },
		values:  `list of the names above that containers may use`,
		initial: `all`,
		sample:  `["memory_size", "smp", "kernel_args", "ports", "mode"]`,
	},
	{
		name: "allow_image_vmm", file: func(c *hermitConfig) any { return &c.allowImageVMM },
		values:  "`true`, `false`: for `vmm = image`",
		initial: "`false`",
		sample:  `false`,
	},
	{
		name: "allow_vm_paths", file: func(c *hermitConfig) any { return &c.allowVMPaths },
		values:  "`true`, `false`: for paths and hypervisor parameters in the section `vm`",
		initial: "`false`",
		sample:  `false # paths in the section vm of config.json`,
	},
}

// configKeys are the settings that the operator's file can make.
func configKeys() []string { return settingNames(func(t *setting) bool { return t.file != nil }) }

// annotationNames are the settings that a container can ask for.
func annotationNames() []string { return settingNames(func(t *setting) bool { return t.own != nil }) }

func settingNames(which func(t *setting) bool) (names []string) {
	for i := range settings {
		if which(&settings[i]) {
			names = append(names, settings[i].name)
		}
	}
	slices.Sort(names)
	return names
}

// findSetting is nil where there is none.
func findSetting(name string) *setting {
	for i := range settings {
		if settings[i].name == name {
			return &settings[i]
		}
	}
	return nil
}

// isAnnotation: can a container ask for it?
func isAnnotation(name string) bool {
	t := findSetting(name)
	return t != nil && t.own != nil
}

// allows is nil for a text that is allowed. "" is no choice of a word.
func (t *setting) allows(name, v string) error {
	switch {
	case t.words != nil && v != "" && !slices.Contains(t.words, v):
		return fmt.Errorf("%s is %q: allowed are %s", name, v, strings.Join(t.words, ", "))
	case t.check != nil:
		return t.check(name, v)
	}
	return nil
}

// set takes a key of the operator's file.
func (c *hermitConfig) set(key string, v any) error {
	t := findSetting(key)
	if t == nil || t.file == nil {
		return fmt.Errorf("unknown key %q%s: allowed are %s", key, didYouMean(key, configKeys(), ""), strings.Join(configKeys(), ", "))
	}
	fits, allowed := false, ""
	switch to := t.file(c).(type) {
	case *string:
		allowed = "is a string"
		if *to, fits = v.(string); fits {
			return t.allows(key, *to)
		}
	case *int:
		n, number := v.(int64)
		*to, fits, allowed = int(n), number && n >= int64(t.low) && n <= int64(t.high), fmt.Sprintf("are %d to %d", t.low, t.high)
	case *bool:
		*to, fits = v.(bool)
		allowed = "are true, false"
	case **bool:
		var b bool
		b, fits = v.(bool)
		*to, allowed = &b, "are true, false"
	case **[]string:
		var list []any
		list, fits = v.([]any)
		names := []string{}
		for _, one := range list {
			name, _ := one.(string)
			if !isAnnotation(name) {
				return fmt.Errorf("%s has %v: allowed are %s", key, one, strings.Join(annotationNames(), ", "))
			}
			names = append(names, name)
		}
		*to, allowed = &names, "is a list of strings"
	default:
		panic(fmt.Sprintf("BUG: the setting %s goes to a %T", key, to))
	}
	if !fits {
		return fmt.Errorf("%s is %v: allowed %s", key, v, allowed)
	}
	return nil
}

// set takes one setting of a container; name is its name in messages.
func (s *hermitSettings) set(setting, name, v string, c *hermitConfig) (err error) {
	t := findSetting(setting)
	if err := t.allows(name, v); err != nil {
		return err
	}
	switch to := t.own(s).(type) {
	case *string:
		*to = v
	case *int:
		*to, err = parseRange(name, v, t.low, t.high)
	case *[]portForward:
		*to, err = parsePorts(name, v)
	case func(name, v string) error:
		err = to(name, v)
	default:
		panic(fmt.Sprintf("BUG: the setting %s goes to a %T", setting, to))
	}
	if err == nil && t.and != nil {
		err = t.and(s, c, name, v)
	}
	return err
}

// allowVMM asks the operator about QEMU of the image.
func allowVMM(_ *hermitSettings, c *hermitConfig, name, v string) error {
	if v == "image" && !c.allowImageVMM {
		return fmt.Errorf("%s is %q: the host's configuration needs allow_image_vmm = true for it", name, v)
	}
	return nil
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

func checkAbsolute(name, v string) error {
	if !strings.HasPrefix(v, "/") {
		return fmt.Errorf("%s is %q: allowed is an absolute path", name, v)
	}
	return nil
}

// checkLoader: the operator's is a path of the host, a container's (which has the
// annotation's name) one in its image, which is looked for like any other.
func checkLoader(name, v string) error {
	if name != "loader" {
		return nil
	}
	return checkAbsolute(name, v)
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

func parseRange(name, v string, low, high int) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%s is %q: allowed are %d to %d", name, v, low, high)
	}
	return n, nil
}
