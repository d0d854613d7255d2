// startGuest: from a guest that is decided about (guest.go) to a QEMU that is up and waits for start.

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

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
		if log, err = os.OpenFile(c.g.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK, 0o644); err != nil {
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
	received := len(jail.host.paths) + 2*len(files) + 1
	if jail.share != nil {
		received += len(jail.share.host.paths)
	}
	p.at("take the files of the host")
	p.root.keep(received)
	jail.host.take(p.program)
	if jail.share != nil {
		jail.share.host.take(p.program)
	}
	p.take(files...)
	var logFD valueAt
	if log != nil {
		p.at("take the log")
		logFD = p.receiveFiles(1)[0]
	}
	p.protectRoot()
	p.root.keep(0)
	p.keeperFD = max(p.root.above, keeperSignalFD+1) + 1
	p.openSelf(&jail.host, self)
	if jail.share != nil {
		jail.share.link = p.root.above + shareRoom
		p.takeShare(jail.share)
		p.forkVirtiofsd(jail.share)
	}
	var io vmmPipes
	pidfd := p.forkVMM(jail, &io)
	p.enterRoot()
	filter, err := compileSeccomp(keeperSeccomp(p.keeperFD - 1))
	if err != nil {
		return fmt.Errorf("the keeper's seccomp filter: %w", err)
	}
	p.becomeKeeper(&io, jail.share, pidfd, logFD, g, c.g, &filter, jail.late && c.networkAtStart(g.vm))
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
	if log != nil {
		if err := p.sendFiles([]int{int(log.Fd())}); err != nil {
			return c.explain(err)
		}
	}
	c.env = g.env
	c.Hermit.Template = g.wish
	if g.from != nil {
		c.Hermit.Incoming, c.Hermit.Printed = true, g.from.Console.Position
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
		uid: vmmID(g.uids, c.g.root, c.ID), gid: vmmID(g.gids, c.g.root, c.ID), at: c.init.rootfs, maxFiles: g.vm.maxFiles(),
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
