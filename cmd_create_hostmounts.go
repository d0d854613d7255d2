// A container without a mount namespace: its mounts are the host's, too.
//
// Contract: all of them lie on one private mount that covers the rootfs. delete, and a create that fails, take away
// that one and so everything.

package main

import (
	"errors"
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// checkHostMounts refuses what could only pretend to protect, or would cover
// the host's own root.
func (c *createPlan) checkHostMounts() error {
	if hasNamespace(c.spec, specs.MountNamespace) {
		return nil
	}
	l := c.spec.Linux
	switch {
	case c.init.rootfs == "/":
		return errors.New("root.path / needs a mount namespace: without one the mounts would cover the host")
	case len(l.MaskedPaths) > 0 || len(l.ReadonlyPaths) > 0:
		return errors.New("linux.maskedPaths and readonlyPaths need a mount namespace: without one the same paths can be reached on the host's mounts")
	}
	c.g.warnf("linux.namespaces has no mount namespace: the container's mounts are the host's until delete")
	return nil
}

// expectHostMounts remembers what the rootfs lies on before it is covered.
func (c *creation) expectHostMounts() {
	if !hasNamespace(c.plan.spec, specs.MountNamespace) {
		c.container.Uncovered = mountID(c.container.Rootfs)
	}
}

// uncover takes the mounts of such a container away.
func (c *container) uncover() error {
	if c.Uncovered == 0 {
		return nil
	}
	if id := mountID(c.Rootfs); id == 0 || id == c.Uncovered {
		return nil
	}
	err := unix.Unmount(c.Rootfs, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && err != unix.EINVAL { // what lies there is no mount: it was not ours
		return fmt.Errorf("unmount rootfs %s: %w", c.Rootfs, err)
	}
	return nil
}
