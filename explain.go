// explain says what create would do with a bundle, and does none of it: Linux
// or Hermit and why, and for Hermit the loader, the machine, the memory and
// QEMU's exact command line.

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// explanation is what explain prints; its JSON is for programs.
type explanation struct {
	Bundle   string   `json:"bundle"`
	Rootfs   string   `json:"rootfs"`
	Kind     string   `json:"kind"` // "linux" or "hermit"
	Why      string   `json:"why"`
	Program  string   `json:"program"`
	Loader   string   `json:"loader,omitempty"`
	Machine  string   `json:"machine,omitempty"`
	Accel    string   `json:"accel,omitempty"`
	VCPUs    int      `json:"vcpus,omitempty"`
	Memory   int      `json:"memoryMiB,omitempty"`
	Needs    int      `json:"needsMiB,omitempty"` // with QEMU and keeper
	Limit    int64    `json:"memoryLimitMiB,omitempty"`
	LimitBy  string   `json:"memoryLimitBy,omitempty"` // the field or file that sets it
	Network  string   `json:"network,omitempty"`
	Share    string   `json:"share,omitempty"`
	Stdin    string   `json:"stdin,omitempty"`
	BootArgs string   `json:"bootArgs,omitempty"`
	Dropped  []string `json:"droppedVariables,omitempty"` // for which the kernel's command line has no room
	VMM      string   `json:"vmm,omitempty"`              // whose QEMU it is: "host" or "image"
	VMMFrom  string   `json:"vmmFrom,omitempty"`          // the files that it runs from
	QEMU     []string `json:"qemu,omitempty"`
	NoEffect []string `json:"withoutEffect,omitempty"` // fields of config.json
	Others   []string `json:"forOthers,omitempty"`     // annotations for other containers of the pod
	Warnings []string `json:"warnings,omitempty"`      // of what the guest would not have
}

func cmdExplain(g *globals, args []string) error {
	o := explainOptions{bundle: ".", format: "text"}
	words, err := parseFlags([]flagDef{
		{"bundle", "b", &o.bundle},
		{"format", "f", &o.format},
		{"program", "", &o.program},
		{"exec", "", &o.exec},
		{"process", "p", &o.process},
		{"no-pivot", "", &o.noPivot},
		{"no-new-keyring", "", &o.noNewKeyring},
	}, args, false)
	if err != nil {
		return err
	}
	if err := noWords(words); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	var e interface{ text() string }
	if o.program {
		e, err = explainProgram(g, &o)
	} else {
		e, err = explain(g, o.bundle)
	}
	if err != nil {
		return err
	}
	if o.format == "json" {
		return printOut(string(encodeJSON(e, "  ")) + "\n")
	}
	return printOut(e.text())
}

// explain goes the way of create, as far as that only reads. The application
// is looked for in the rootfs as it lies there: mounts are not made.
func explain(g *globals, bundle string) (*explanation, error) {
	c := &createPlan{g: g, facts: thisHost(), opts: createOptions{bundle: bundle, id: explainID}}
	if err := c.readBundle(); err != nil {
		return nil, err
	}
	c.init.cgroup = c.expectCgroup()
	p := c.spec.Process
	e := &explanation{Bundle: c.opts.bundle, Rootfs: c.init.rootfs, Kind: "linux", Program: p.Args[0]}
	root, err := unix.Open(c.init.rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("rootfs %s: %w", c.init.rootfs, err)
	}
	defer unix.Close(root)
	guest, err := c.findGuest(root, os.Getpid())
	if err != nil {
		return nil, err
	}
	if guest == nil {
		mode := modeOf(c.spec.Annotations)
		switch {
		case mode.value != "linux":
			e.Why = "it is no Hermit application (an ELF file with OS ABI 255)"
		case mode.key == "":
			e.Why = "it is the sandbox of a pod"
		default:
			e.Why = "the annotation " + mode.key + " says so"
		}
		exe, err := lookExecutable(root, p.Args[0], p.Cwd, p.Env)
		if err != nil {
			return nil, err
		}
		unix.Close(exe.file)
		e.Program = exe.path
		return e, nil
	}
	defer guest.close()
	e.Kind, e.Why, e.Program = "hermit", "an ELF file with OS ABI 255", guest.app.path
	e.Loader = "none: the application has a PVH entry of its own"
	if guest.loader != nil {
		e.Loader = guest.loader.path
	}
	vm := guest.vm
	e.Machine, e.Accel, e.VCPUs, e.Memory, e.BootArgs = vm.Machine, vm.Accel, vm.VCPUs, vm.MemoryMiB, vm.Boot.with(vm.Lease)
	e.Needs = vm.NeedsMiB
	e.Dropped = slices.Concat(guest.left.own, guest.left.added)
	e.Limit, e.LimitBy = vm.limit.n>>20, vm.limit.by
	e.Network = vm.Network
	switch vm.Network {
	case "auto":
		e.Network = "auto: shared; none if the network namespace has no interface at start"
	case "shared":
		e.Network = "shared, behind the network namespace"
	case "direct":
		e.Network = "direct, with the address that the interface has at start"
	}
	for i, port := range vm.Ports {
		if i == 0 {
			e.Network += ", ports"
		}
		e.Network += fmt.Sprintf(" %d/%s", port.Port, port.Proto)
	}
	e.Others = c.hermit.settings.others
	if w := c.warnUnreached(vm); w != "" {
		e.Warnings = append(e.Warnings, w)
	}
	if e.VMM = "host"; len(guest.qemu.image) > 0 {
		e.VMM = "image"
	}
	e.VMMFrom = guest.qemu.from()
	e.Share = guest.share.String()
	e.Stdin = "the serial line; the guest does not learn where it ends"
	if reads, err := guest.app.readsSerial(); err != nil {
		return nil, err
	} else if !reads {
		e.Stdin = "not read: the application was built without the feature pci"
	}
	e.QEMU = append([]string{guest.qemu.QEMU}, qemuArgs(vm, vmmQMP)...)
	e.NoEffect = notForGuests(c, guest.share != nil)
	return e, nil
}

// warnUnreached looks into the network that the guest would join. One that cannot be looked into is create's to complain of.
func (c *createPlan) warnUnreached(vm *vmConfig) string {
	path, _ := networkPath(c.spec)
	if path == "" || vm.Network != "shared" || len(vm.Ports) > 0 {
		return ""
	}
	ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(ns)
	l, err := dialLinks(ns)
	if err != nil {
		return ""
	}
	defer l.Close()
	tap, err := l.find(0, restName)
	if err != nil || !tap.isGuests() || c.isRunning(namespaceID(ns), tap.index) {
		return ""
	}
	return unreached(c.spec.Annotations)
}

// isRunning says whether that tap belongs to a container that was made of this very bundle.
func (c *createPlan) isRunning(namespace uint64, tap int32) bool {
	entries, _ := os.ReadDir(c.g.root)
	for _, e := range entries {
		other, err := readContainer(c.g, e.Name())
		if err == nil && other.Bundle == c.opts.bundle && other.Hermit != nil && other.Hermit.Namespace == namespace && other.Hermit.Link == tap {
			return true
		}
	}
	return false
}

// notForGuests are the fields that describe a Linux process, which a guest is
// not. They hold for what `exec` runs beside it.
func notForGuests(c *createPlan, shared bool) []string {
	var list []string
	p := c.spec.Process
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"process.cwd", p.Cwd != "/"},
		{"process.user", p.User.UID != 0 || p.User.GID != 0 || len(p.User.AdditionalGids) > 0},
		{"process.capabilities", p.Capabilities != nil},
		{"process.rlimits", len(p.Rlimits) > 0},
		{"process.noNewPrivileges", p.NoNewPrivileges},
		{"process.apparmorProfile", p.ApparmorProfile != ""},
		{"process.selinuxLabel", p.SelinuxLabel != ""},
		{"linux.seccomp", c.spec.Linux.Seccomp != nil},
		{"root.readonly", c.spec.Root.Readonly && !shared},
	} {
		if f.set {
			list = append(list, f.name)
		}
	}
	return list
}

func (e *explanation) text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s "+format+"\n", append([]any{name}, args...)...)
	}
	line("bundle", "%s", e.Bundle)
	line("rootfs", "%s", e.Rootfs)
	line("program", "%s", e.Program)
	line("kind", "%s: %s", e.Kind, e.Why)
	if e.Kind != "hermit" {
		return b.String()
	}
	line("loader", "%s", e.Loader)
	line("machine", "%s, %s, %d vCPU", e.Machine, e.Accel, e.VCPUs)
	memory := fmt.Sprintf("%d MiB for the guest, %d with its machine", e.Memory, e.Needs)
	if e.LimitBy != "" {
		memory += fmt.Sprintf(", of a limit of %d MiB by %s", e.Limit, e.LimitBy)
	}
	line("memory", "%s", memory)
	line("network", "%s", e.Network)
	line("files", "%s", e.Share)
	line("stdin", "%s", e.Stdin)
	line("boot args", "%s", e.BootArgs)
	if len(e.Dropped) > 0 {
		line("left out", "%s: the kernel's command line has no room for them", strings.Join(e.Dropped, " "))
	}
	if len(e.NoEffect) > 0 {
		line("no effect", "%s", strings.Join(e.NoEffect, " "))
	}
	if len(e.Others) > 0 {
		line("for others", "%s", strings.Join(e.Others, " "))
	}
	for _, w := range e.Warnings {
		line("warning", "%s", w)
	}
	var words strings.Builder
	addShellWords(&words, e.QEMU...)
	line("vmm", "QEMU from %s", e.VMMFrom)
	line("qemu", "%s", words.String())
	return b.String()
}
