// create of a guest, from its plan (cmd_create_guest.go) to a QEMU that is up and waits for start.

package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// startGuest accompanies the init through the fork of the VMM to the point
// where QEMU is up and the guest waits for start.
func (c *creation) startGuest(g *guest, root int) error {
	defer g.close()
	p := c.compiler
	jail, err := c.plan.planJail(g, p, c.child())
	if err != nil {
		return err
	}
	files := filesOf(jail)
	var log *os.File
	if c.plan.g.log != "" {
		if log, err = os.OpenFile(c.plan.g.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK, 0o644); err != nil {
			return fmt.Errorf("log: %w", err)
		}
		defer log.Close()
	}

	self, err := os.Executable()
	if err != nil {
		return err
	}
	err = p.cloneGuestHost(jail, self)
	defer jail.closeHost()
	if err != nil {
		return err
	}
	from := &guestFiles{self: self, files: files, log: log != nil, late: jail.late && c.plan.networkAtStart(g.vm)}
	if err := p.writeGuest(g, c.plan.g, jail, from); err != nil {
		return err
	}
	if err := c.session.proceed(); err != nil {
		return c.explain(err)
	}
	if err := jail.host.send(c.session); err != nil {
		return c.explain(err)
	}
	if jail.share != nil {
		if err := jail.share.host.send(c.session); err != nil {
			return c.explain(err)
		}
	}
	c.container.Kind = "hermit"
	c.container.Hermit = newHermitState(g.app, g.loader, g.qemu, g.vm)
	for _, f := range files {
		if err := c.session.send([]int{f.fd}); err != nil {
			return c.explain(err)
		}
	}
	if log != nil {
		if err := c.session.send([]int{int(log.Fd())}); err != nil {
			return c.explain(err)
		}
	}
	c.qemu = g.qemu
	c.container.Hermit.Template = g.request
	if g.from != nil {
		c.container.Hermit.Incoming, c.container.Hermit.Printed = true, g.from.Console.Position
	}
	if jail.late {
		c.container.Hermit.Launch = &launch{Address: jail.launchAt, QEMU: g.qemu.QEMU, VM: g.vm}
		if !c.plan.networkAtStart(g.vm) {
			if err := c.launchNow(g.vm, root); err != nil {
				return err
			}
		}
	}
	c.plan.g.debugf("guest %s: machine %s, accel %s, %d vCPU, %d MiB, loader %s, QEMU %s, files %s", g.app.path,
		g.vm.Machine, g.vm.Accel, g.vm.VCPUs, g.vm.MemoryMiB, c.container.Hermit.Loader, g.qemu.QEMU, g.share)
	return nil
}

// launchNow gives the VMM its network already at create. wakeKeeper hears what becomes of it.
func (c *creation) launchNow(vm *vmConfig, root int) error {
	a, err := c.container.attach(c.plan.g, vm, c.child(), root)
	if err != nil {
		return err
	}
	c.onFailure(func() { c.container.detach(c.plan.spec) })
	defer a.close()
	c.launching, err = c.container.sendLaunch(a)
	c.container.Hermit.Launch = nil
	return err
}

// planJail opens and chooses everything that the VMM will have, for a program. pid is
// the process that runs it.
func (c *createPlan) planJail(g *guest, p *initCompiler, pid int) (*vmmJail, error) {
	files, err := g.qemu.filesFor(g.vm)
	if err != nil {
		return nil, err
	}
	j := &vmmJail{
		qemu: g.qemu.QEMU, argv: qemuArgs(g.vm, vmmQMP), libPath: g.qemu.LibPath, files: files, image: g.qemu.image,
		uid: vmmID(g.uids, c.g.root, c.opts.id), gid: vmmID(g.gids, c.g.root, c.opts.id), at: c.init.rootfs, maxFiles: g.vm.maxFiles(),
		late: g.vm.usesTap(), listener: p.listener,
	}
	if j.app, err = newJailFile(vmmApp, int(g.app.file.Fd())); err != nil {
		return nil, err
	}
	if g.loader != nil {
		loader, err := newJailFile(vmmLoader, int(g.loader.file.Fd()))
		if err != nil {
			return nil, err
		}
		if g.loader.host && loader.open {
			c.cloneLoader(&loader, p.listed)
		}
		j.loader = &loader
	}
	if g.vm.Accel == "kvm" {
		st, err := c.facts.kvm()
		if err != nil {
			return nil, err
		}
		j.devices = append(j.devices, "/dev/kvm")
		if group, mapped := kvmGroup(g.gids, st.Gid); mapped { // it belongs to root and a group, usually kvm
			j.groups = append(j.groups, group)
		}
	}
	if g.share != nil {
		if j.share, err = c.planShareJail(g.share, p, pid); err != nil {
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

// cloneLoader clones a loader of the host's here. If we may not, it is copied.
func (c *createPlan) cloneLoader(j *jailFile, listed bool) {
	if listed {
		j.tree = c.facts.user() == 0
		j.open = j.tree
		return
	}
	tree, err := unix.OpenTree(j.fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		j.open = false
		return
	}
	j.fd, j.tree = tree, true
}

// wakeKeeper lets the init become the keeper, and waits until that has QEMU in
// hand. From its execve on, the container no longer dies with us; what delete
// needs, record has put on disk.
func (c *creation) wakeKeeper() error {
	if c.container.Kind != "hermit" {
		return nil
	}
	defer c.qemu.unlock()
	if err := c.session.proceed(); err != nil {
		return c.explain(err)
	}
	if c.launching > 0 {
		err := c.container.readAnswer(c.launching)
		unix.Close(c.launching)
		var step *stepError
		if errors.As(err, &step) { // else the keeper knows more
			return err
		}
	}
	return c.explain(c.session.drive(handlers{}, syncKeeper))
}

// networkAtStart says whether the network is looked at as late as possible: Docker puts the interface
// into a namespace of the container's own between create and start. With run there is nothing between.
func (c *createPlan) networkAtStart(vm *vmConfig) bool {
	return !c.opts.run && (vm.Network != "shared" || networkOf(c.spec) == ownNetwork)
}
