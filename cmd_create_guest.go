// create, for a container whose program is a Hermit application: instead of
// becoming the program, the init forks QEMU's process into its jail (vm_jail.go)
// and becomes the keeper (keeper_born.go).

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// explainID is the name of a container that will never be.
const explainID = "explain"

// expectGuest takes a first look, before the cgroup is made: a VMM that uses KVM
// needs its device allowed there. The look that counts comes after the mounts,
// which can hide the application or bring it.
func (c *createPlan) expectGuest() ([]deviceRule, error) {
	root, err := unix.Open(c.init.rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("rootfs %s: %w", c.init.rootfs, err)
	}
	defer unix.Close(root)
	p := c.spec.Process
	mode := modeOf(c.spec.Annotations)
	app, err := detectHermit(root, p.Cwd, pastInit(p.Args)[0], p.Env, mode)
	if app != nil {
		app.file.Close()
	} else if err == nil || mode.value != "hermit" {
		return nil, nil
	}
	options, err := c.hermitOptions()
	if err != nil {
		return nil, err
	}
	accel, err := pickAccel(options.config, options.settings)
	if err != nil || accel != "kvm" {
		return nil, err
	}
	return []deviceRule{{true, 'c', 10, 232, accessRead | accessWrite}}, nil
}

func (c *createPlan) hermitOptions() (*hermitOptions, error) {
	if c.hermit != nil {
		return c.hermit, nil
	}
	o := &hermitOptions{tsc: takeTSC()}
	var err error
	if o.config, err = loadHermitConfig(c.g.config); err != nil {
		return nil, err
	}
	if o.settings, err = readAnnotations(c.spec, o.config); err != nil {
		return nil, err
	}
	c.hermit = o
	return o, nil
}

// findGuest says whether the container's program is a Hermit application, and
// what it takes to run it. pid is a process with the container's id maps.
func (c *createPlan) findGuest(root, pid int) (*guest, error) {
	p := c.spec.Process
	args := pastInit(p.Args)
	app, err := detectHermit(root, p.Cwd, args[0], p.Env, modeOf(c.spec.Annotations))
	switch {
	case err != nil:
		return nil, err
	case app == nil && c.from != nil:
		return nil, fmt.Errorf("checkpoint %s is of a Hermit guest, and %s is no Hermit application", c.from.dir, args[0])
	case app == nil:
		return nil, nil
	}
	p.Args = args
	if err := c.dropLabels(); err != nil {
		app.file.Close()
		return nil, err
	}
	g := &guest{app: app}
	if err := c.planGuest(g, root, pid); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// dropLabels: what a profile or a label allows is meant for a program of the image. Keeper, QEMU and virtiofsd are none,
// see SECURITY.md; exec's processes get it.
func (c *createPlan) dropLabels() error {
	p := c.spec.Process
	if err := tryLabels(p); err != nil {
		return err
	}
	for _, l := range []struct{ field, value string }{{"process.apparmorProfile", p.ApparmorProfile}, {"process.selinuxLabel", p.SelinuxLabel}} {
		if l.value != "" {
			c.g.warnf("%s %q has no effect on a guest: QEMU is confined by its jail", l.field, l.value)
		}
	}
	return nil
}

func (c *createPlan) planGuest(g *guest, root, pid int) error {
	if !hasNamespace(c.spec, specs.MountNamespace) {
		return errors.New("a Hermit application needs a mount namespace: its keeper never enters the rootfs otherwise")
	}
	o, err := c.hermitOptions()
	if err != nil {
		return err
	}
	config, settings := o.config, o.settings
	if g.uids, err = readIDMap(pid, "uid_map"); err != nil {
		return err
	}
	if g.gids, err = readIDMap(pid, "gid_map"); err != nil {
		return err
	}
	settings.gids = g.gids
	treeDir := treeDirectory(c.g, config)
	if g.loader, err = findLoader(root, g.app, treeDir, settings.loader, firstWord(settings.hostLoader, config.loader)); err != nil {
		return err
	}
	if from := c.from; from != nil && from.VM.Lease == nil && firstWord(settings.network, config.network, "auto") == "auto" {
		settings.network = from.VM.Network // user or none, which are no tap's
	}
	if g.qemu, err = c.chooseQEMUFiles(settings, root, treeDir); err != nil {
		return err
	}
	if g.share, err = c.planShare(o, g.app, g.qemu, root); err != nil {
		return err
	}
	if g.vm, err = newVM(c.spec, c.init.cgroup, config, settings, g.app, g.loader, g.share); err != nil {
		return err
	}
	if g.vm.Accel == "kvm" {
		works, err := c.pickKVM(g)
		if err == nil && !works {
			g.vm, err = newVM(c.spec, c.init.cgroup, config, settings, g.app, g.loader, g.share)
		}
		if err != nil {
			return err
		}
	}
	room := maxBootArgs
	if g.loader != nil {
		room = g.loader.room
	}
	if g.vm.Network == "user" {
		names := readResolver(root)
		g.vm.Lease.DNS = names.names("")
	}
	if g.vm.Boot, g.left, err = bootArgs(c.spec, g.app, g.vm, settings.kernelArgs, o.tsc.mhz(), room); err != nil {
		return err
	}
	if c.from == nil { // which has what it was booted with
		if err := c.checkVariables(g, firstWord(settings.variables, config.variables), room); err != nil {
			return err
		}
	}
	for _, w := range g.vm.warnings() {
		c.g.warnf("%s", w)
	}
	if err := c.warnStdin(g.app); err != nil {
		return err
	}
	switch {
	case g.share != nil && (c.from != nil || settings.template.name != ""):
		return errSharedState
	case c.from != nil:
		g.vm.Keep = firstWord(c.from.identity, settings.identity) == "kept"
		if w := c.from.Clock.warning(g.vm.Boot.MHz); w != "" {
			c.g.warnf("%s", w)
		}
		return c.from.adopt(g, root)
	case settings.template.name != "":
		line, _, _ := bootArgs(c.spec, g.app, g.vm, settings.kernelArgs, 0, room) // as above, without the frequency
		return c.findTemplate(g, &settings.template, line.with(g.vm.Lease))
	}
	return nil
}

// warnStdin warns of input that no kernel will read. explain says so by itself.
func (c *createPlan) warnStdin(app *hermitApp) error {
	if c.opts.id == explainID || !c.spec.Process.Terminal && !stdinOpen() {
		return nil
	}
	reads, err := app.readsSerial()
	if err == nil && !reads {
		c.g.lossf("stdin: the guest does not read it, because the application was built without the feature pci")
	}
	return err
}

// stdinOpen says whether anything can come on our stdin, which is the container's.
func stdinOpen() bool {
	var st unix.Stat_t
	if unix.Fstat(0, &st) != nil {
		return false
	}
	return st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 3) // /dev/null
}

// checkVariables: a program without its settings does harm, so a variable that does not fit is an error, unless somebody
// has said that it is none.
func (c *createPlan) checkVariables(g *guest, allowed string, room int) error {
	if len(g.left.added) > 0 {
		c.g.infof("process.env: the guest does not get %s, which Kubernetes adds", strings.Join(g.left.added, ", "))
	}
	names := strings.Join(g.left.own, ", ")
	switch {
	case names == "":
	case !g.vm.Boot.Variables:
		c.g.lossf("process.env: the guest does not get %s: its kernel takes no variables (they need Hermit 0.10)", names)
	case allowed != "fitting":
		return fmt.Errorf("process.env: the kernel's command line has room for %d bytes, and not for %s (the annotation %svariables = \"fitting\" leaves these out)", room, names, annotationPrefix)
	default:
		c.g.lossf("process.env: the guest does not get %s: the kernel's command line has room for %d bytes", names, room)
	}
	return nil
}

// chooseQEMUFiles are where QEMU comes from: the image, a path in the vm section, the operator's tree, or the host.
func (c *createPlan) chooseQEMUFiles(s *hermitSettings, root int, treeDir string) (*qemuFiles, error) {
	switch {
	case s.vmm == "image":
		return imageQEMUFiles(root)
	case s.qemu != "":
		qemu, err := c.facts.qemu(c.g.root, "", s.qemu)
		if err == nil && qemu == nil {
			err = fmt.Errorf("vm.hypervisor.path is %q: it is no program of the host", s.qemu)
		}
		return qemu, err
	}
	return c.facts.qemu(c.g.root, treeDir, "")
}

// pickKVM finds a CPU for a machine under KVM, where nobody names one. If there
// is none, and KVM was our own idea, the machine runs without it.
func (c *createPlan) pickKVM(g *guest) (works bool, err error) {
	config, settings := c.hermit.config, c.hermit.settings
	saved := settings.template.name != ""
	switch {
	case firstWord(settings.cpu, config.cpu) != "":
		return true, nil
	case len(g.qemu.image) > 0 || g.qemu.root != "" && g.qemu.built == "": // nobody asks the image's programs; and a tree has no /dev/kvm before the jail
		if saved {
			g.vm.CPU = "host,-arch-capabilities"
		}
		return true, nil
	}
	cpu, err := c.facts.cpu(c.g.root, g.qemu, g.vm.Machine, saved)
	if err == nil {
		g.vm.CPU = cpu
		return true, nil
	}
	if firstWord(settings.accel, config.accel) == "kvm" {
		return false, err
	}
	c.g.warnf("%v; the guest runs without it", err)
	settings.accel = "tcg"
	return false, nil
}
