// create, for a container whose program is a Hermit application: instead of
// becoming the program, the init forks QEMU's process into its jail (jail.go)
// and becomes the keeper (keeperborn.go).
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// guest is what is decided about a Hermit container before its VM exists.
type guest struct {
	app    *hermitApp
	loader *hermitLoader // nil: the application boots by itself
	env    *hermitEnv
	vm     *vmConfig
	share  *sharePlan // nil: the guest gets no files

	uids, gids []specs.LinuxIDMapping // of the user namespace that it runs in

	wish    *templateWish // a template that start makes, nil: none
	mark    string        // where
	from    *savedGuest   // what it goes on from, nil: it boots
	dropped []string      // variables for which the kernel's command line has no room
}

const modeAnnotation = annotationPrefix + "mode"

// hermitOptions is what operator and container say about guests.
type hermitOptions struct {
	config   *hermitConfig
	settings *hermitSettings
	tsc      tscSample // the earlier it is taken, the less there is to wait for
}

// expectGuest takes a first look, before the cgroup is made: a VMM that uses KVM
// needs its device allowed there. The look that counts comes after the mounts,
// which can hide the application or bring it.
func (c *creation) expectGuest() ([]deviceRule, error) {
	root, err := unix.Open(c.init.rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("rootfs %s: %w", c.init.rootfs, err)
	}
	defer unix.Close(root)
	p := c.spec.Process
	mode := c.spec.Annotations[modeAnnotation]
	app, err := detectHermit(root, p.Cwd, pastInit(p.Args)[0], p.Env, mode)
	if app != nil {
		app.file.Close()
	} else if err == nil || mode != "hermit" {
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

func (c *creation) hermitOptions() (*hermitOptions, error) {
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
// what it takes to run it.
func (c *creation) findGuest(root int) (*guest, error) {
	p := c.spec.Process
	args := pastInit(p.Args)
	app, err := detectHermit(root, p.Cwd, args[0], p.Env, c.spec.Annotations[modeAnnotation])
	switch {
	case err != nil:
		return nil, err
	case app == nil && c.from != nil:
		return nil, fmt.Errorf("checkpoint %s is of a Hermit guest, and %s is no Hermit application", c.from.dir, args[0])
	case app == nil:
		return nil, nil
	}
	p.Args = args
	g := &guest{app: app}
	if err := c.planGuest(g, root); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *guest) close() {
	g.app.file.Close()
	if g.loader != nil {
		g.loader.file.Close()
	}
	if g.env != nil {
		for _, f := range g.env.image {
			unix.Close(f.fd)
		}
	}
}

func (c *creation) planGuest(g *guest, root int) error {
	if !hasNamespace(c.spec, specs.MountNamespace) {
		return errors.New("a Hermit application needs a mount namespace: its keeper never enters the rootfs otherwise")
	}
	o, err := c.hermitOptions()
	if err != nil {
		return err
	}
	config, settings := o.config, o.settings
	if g.uids, err = readIDMap(c.child, "uid_map"); err != nil {
		return err
	}
	if g.gids, err = readIDMap(c.child, "gid_map"); err != nil {
		return err
	}
	settings.gids = g.gids
	envDir := envDirectory(c.g, config)
	if g.loader, err = findLoader(root, g.app, envDir, settings.loader, firstWord(settings.hostLoader, config.loader)); err != nil {
		return err
	}
	if firstWord(settings.network, config.network, "auto") == "auto" {
		switch { // what a saved machine has in its memory cannot be another network's
		case c.from != nil:
			settings.network = c.from.VM.Network
		case settings.template.name != "":
			settings.network = "user"
		}
	}
	if g.env, err = c.chooseEnv(settings, root, envDir); err != nil {
		return err
	}
	if g.share, err = c.planShare(o, g.app, g.env); err != nil {
		return err
	}
	if g.vm, err = newVM(c.spec, config, settings, g.app, g.loader, g.share); err != nil {
		return err
	}
	if g.vm.Accel == "kvm" {
		works, err := c.pickKVM(g)
		if err == nil && !works {
			g.vm, err = newVM(c.spec, config, settings, g.app, g.loader, g.share)
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
	if g.vm.Boot, g.dropped, err = bootArgs(c.spec, g.app, g.vm, settings.kernelArgs, o.tsc.mhz(), room); err != nil {
		return err
	}
	if len(g.dropped) > 0 {
		c.g.warnf("process.env: the guest does not get %s: the kernel's command line has room for %d bytes", strings.Join(g.dropped, ", "), room)
	}
	if w := g.vm.warning(); w != "" {
		c.g.warnf("%s", w)
	}
	switch {
	case g.share != nil && (c.from != nil || settings.template.name != ""):
		return errSharedState
	case c.from != nil:
		return c.from.adopt(g, root)
	case settings.template.name != "":
		line, _, _ := bootArgs(c.spec, g.app, g.vm, settings.kernelArgs, 0, room) // as above, without the frequency
		return c.findTemplate(g, &settings.template, line.with(g.vm.Lease))
	}
	return nil
}

// chooseEnv is where QEMU comes from: the image, a path in the vm section, or the environment.
func (c *creation) chooseEnv(s *hermitSettings, root int, envDir string) (*hermitEnv, error) {
	switch {
	case s.imageVMM:
		return imageEnv(root)
	case s.qemu != "":
		env, err := envOf(c.g.root, s.qemu)
		if err == nil && env == nil {
			err = fmt.Errorf("vm.hypervisor.path is %q: it is no program of the host", s.qemu)
		}
		return env, err
	}
	return findEnv(c.g.root, envDir)
}

// pickKVM finds a CPU for a machine under KVM, where nobody names one. If there
// is none, and KVM was our own idea, the machine runs without it.
func (c *creation) pickKVM(g *guest) (works bool, err error) {
	config, settings := c.hermit.config, c.hermit.settings
	if firstWord(settings.cpu, config.cpu) != "" || len(g.env.image) > 0 || g.env.root != "" {
		return true, nil // nobody asks the image's programs; and a tree has no /dev/kvm before the jail
	}
	cpu, err := kvmCPU(c.g.root, g.env, g.vm.Machine)
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

// startGuest accompanies the init through the fork of the VMM to the point
// where QEMU is up and the guest waits for start.
func (c *creation) startGuest(g *guest, root int) error {
	defer g.close()
	p := c.init
	jail, err := c.planJail(g)
	if err != nil {
		return err
	}
	files := []*jailFile{&jail.app}
	if jail.loader != nil {
		files = append(files, jail.loader)
	}
	files = append(files, jail.image...)
	var log *os.File
	if c.g.log != "" {
		if log, err = os.OpenFile(c.g.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644); err != nil {
			return fmt.Errorf("log: %w", err)
		}
		defer log.Close()
	}

	self, err := os.Executable()
	if err != nil {
		return err
	}
	hostFiles := []string{self}
	hostFiles = append(hostFiles, hostPaths(jail.files)...)
	if jail.host, err = c.cloneHost(hostFiles); err != nil {
		return err
	}
	defer jail.host.close()
	if share := jail.share; share != nil { // clones of its own: each can be attached once
		if share.host, err = c.cloneHost(hostPaths(share.plan.daemon.Files)); err != nil {
			return err
		}
		defer share.host.close()
	}
	p.call(unix.SYS_CLOSE_RANGE, p.root.above, uint64(^uint32(0)), 0)
	p.at("take the files of the host")
	jail.host.take(p.program)
	if jail.share != nil {
		jail.share.host.take(p.program)
	}
	p.openSelf(&jail.host, self)
	p.take(files...)
	if jail.state != nil {
		p.at("take the machine's state")
		jail.stateAt = p.receiveFiles(1)[0]
	}
	var logFD valueAt
	if log != nil {
		p.at("take the log")
		logFD = p.receiveFiles(1)[0]
	}
	p.protectRoot()
	if jail.share != nil {
		p.takeShare(jail.share)
		p.forkVirtiofsd(jail.share)
	}
	var io vmmPipes
	pidfd := p.forkVMM(jail, &io)
	p.enterRoot()
	p.becomeKeeper(&io, jail.share, pidfd, logFD, g, c.g, jail.late && c.networkAtStart(g.vm))
	if err := p.proceed(); err != nil {
		return c.explain(err)
	}
	if err := jail.host.send(p.stub); err != nil {
		return c.explain(err)
	}
	if jail.share != nil {
		if err := jail.share.host.send(p.stub); err != nil {
			return c.explain(err)
		}
	}
	c.Kind = "hermit"
	c.Hermit = newHermitState(g.app, g.loader, g.env, g.vm)
	for _, f := range files {
		if err := p.sendFiles([]int{f.fd}); err != nil {
			return c.explain(err)
		}
	}
	if jail.state != nil {
		if err := p.sendFiles([]int{int(jail.state.Fd())}); err != nil {
			return c.explain(err)
		}
	}
	if log != nil {
		if err := p.sendFiles([]int{int(log.Fd())}); err != nil {
			return c.explain(err)
		}
	}
	c.env = g.env
	c.Hermit.Template = g.wish
	if g.from != nil {
		c.Hermit.Printed = g.from.Console.Position
	}
	if jail.late {
		c.Hermit.Launch = &launch{Address: jail.launchAt, QEMU: g.env.QEMU, VM: g.vm}
		if !c.networkAtStart(g.vm) {
			if err := c.launchNow(g.vm, root); err != nil {
				return err
			}
		}
	}
	c.g.debugf("guest %s: machine %s, accel %s, %d vCPU, %d MiB, loader %s, QEMU %s, files %s", g.app.path,
		g.vm.Machine, g.vm.Accel, g.vm.VCPUs, g.vm.MemoryMiB, c.Hermit.Loader, g.env.QEMU, g.share)
	return nil
}

// launchNow gives the VMM its network already at create. wakeKeeper hears what becomes of it.
func (c *creation) launchNow(vm *vmConfig, root int) error {
	a, err := c.attach(c.g, vm, c.child, root)
	if err != nil {
		return err
	}
	c.onFailure(func() { c.detach(c.spec) })
	defer a.close()
	c.launching, err = c.sendLaunch(a)
	c.Hermit.Launch = nil
	return err
}

// planJail opens and chooses everything that the VMM will have.
func (c *creation) planJail(g *guest) (*vmmJail, error) {
	files, err := g.env.filesFor(g.vm)
	if err != nil {
		return nil, err
	}
	j := &vmmJail{
		qemu: g.env.QEMU, argv: qemuArgs(g.vm, vmmQMP), libPath: g.env.LibPath, files: files, image: g.env.image,
		uid: vmmID(g.uids, c.g.root, c.ID), gid: vmmID(g.gids, c.g.root, c.ID), at: c.init.rootfs,
		late: g.vm.usesTap(), listener: c.init.listener,
	}
	if j.app, err = newJailFile(vmmApp, int(g.app.file.Fd()), false); err != nil {
		return nil, err
	}
	if g.loader != nil {
		loader, err := newJailFile(vmmLoader, int(g.loader.file.Fd()), g.loader.host)
		if err != nil {
			return nil, err
		}
		j.loader = &loader
	}
	if g.from != nil {
		j.argv = append(j.argv, "-incoming", "defer")
		j.state = g.from.state
	}
	if g.vm.Accel == "kvm" {
		var st unix.Stat_t
		if err := unix.Stat("/dev/kvm", &st); err != nil {
			return nil, fmt.Errorf("/dev/kvm: %w", err)
		}
		j.devices = append(j.devices, "/dev/kvm")
		if group, mapped := kvmGroup(g.gids, st.Gid); mapped { // it belongs to root and a group, usually kvm
			j.groups = append(j.groups, group)
		}
	}
	if g.share != nil {
		if j.share, err = c.planShareJail(g.share); err != nil {
			return nil, err
		}
	}
	filter, err := compileSeccomp(vmmSeccomp(g.vm))
	if err != nil {
		return nil, fmt.Errorf("the VMM's seccomp filter: %w", err)
	}
	j.seccomp = &filter
	return j, nil
}

// newJailFile prepares an open file for the jail. One that only its owner may
// read is copied there: QEMU is somebody else. So is one of the host's that we
// may not clone.
func newJailFile(name string, fd int, host bool) (jailFile, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return jailFile{}, os.NewSyscallError("fstat", err)
	}
	j := jailFile{name: name, fd: fd, size: st.Size, open: st.Mode&0o004 != 0}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		j.dir, j.open = true, true // what in it QEMU may not read it does without
	}
	if j.open {
		// A file of the host's is cloned here; one of the image's lies in the
		// init's mount namespace, and the init clones it (EINVAL).
		if tree, err := unix.OpenTree(j.fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH); err == nil {
			j.fd, j.tree = tree, true
		} else if host {
			j.open = false
		}
	}
	return j, nil
}
