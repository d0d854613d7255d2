// The decisions of create, before it makes anything: from the command line, the
// bundle and the host to a plan of the init. A guest is planned once the mounts are
// there (cmd_create_guest.go), because they can hide its application, or bring it.
//
// Contract: nothing is made here, and nothing changed. explain uses the same plan.

package main

import (
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
)

type createPlan struct {
	g      *globals
	opts   createOptions
	facts  *hostFacts
	spec   *specs.Spec
	raw    []byte // config.json
	init   *initPlan
	hermit *hermitOptions // of a guest, once they are asked for
	from   *savedGuest    // restore: the guest goes on from it

	// takeTemplate gives the container a template, once there is a container. explain takes none.
	takeTemplate func(dir string) (*savedGuest, error)
}

// readBundle reads and checks everything that can be wrong before anything is
// made.
func (c *createPlan) readBundle() error {
	if c.opts.bundle == "" {
		c.opts.bundle = "."
	}
	bundle, err := filepath.Abs(c.opts.bundle)
	if err != nil {
		return err
	}
	c.opts.bundle = bundle
	spec, raw, err := loadSpec(bundle)
	if err != nil {
		return err
	}
	if err := checkSpec(spec); err != nil {
		return err
	}
	if spec.Linux == nil {
		spec.Linux = &specs.Linux{}
	}
	if spec.Linux.IntelRdt != nil {
		if err := needResctrl(); err != nil {
			return err
		}
	}
	rootfs, err := rootfsPath(bundle, spec)
	if err != nil {
		return err
	}
	if err := checkOrdinaryUser(spec, c.facts); err != nil {
		return err
	}
	c.spec = spec
	p := &initPlan{spec: spec, rootfs: rootfs, noPivot: c.opts.noPivot}
	p.owned = c.facts.user() != 0 && hasNewUsers(spec)
	p.id, p.process, p.linux, p.newKeyring = c.opts.id, spec.Process, spec.Linux, !c.opts.noNewKeyring
	c.init = p
	if err := c.checkHostMounts(); err != nil {
		return err
	}
	for _, m := range spec.Mounts {
		r, err := readMount(m, bundle)
		if err != nil {
			return err
		}
		r.inRootfs(rootfs, spec, bundle)
		p.mounts = append(p.mounts, r)
	}
	if c.facts.selinux() && spec.Linux.MountLabel != "" {
		labelMounts(p.mounts, spec.Linux.MountLabel)
	}
	if err := checkLabels(spec.Process, c.facts); err != nil {
		return err
	}
	if p.devices, err = specDevices(spec.Linux.Devices); err != nil {
		return err
	}
	p.caps = readCapabilities(spec.Process.Capabilities, heldCapabilities(spec, c.facts), c.g.lossf)
	if p.seccomp, err = readSeccomp(spec, c.g.debugf); err != nil {
		return err
	}
	c.raw = raw
	if c.opts.id != explainID { // which leaves nothing
		c.g.keepConfig(c.opts.id, raw)
	}
	return nil
}

func (c *createPlan) checkTerminal(detached bool) error {
	return checkConsole(c.spec.Process.Terminal, detached, c.opts.consoleSocket)
}
