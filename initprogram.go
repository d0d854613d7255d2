// The program of a container's init as create writes it: the descriptors that the
// init begins with, and the operations up to the mounts (init.go).

package main

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// bornIn are the namespaces that the init is born in; it makes all others itself.
func (c *initPlan) bornIn() uintptr {
	if c.namespaces.fork {
		return 0
	}
	return uintptr(c.namespaces.create & unix.CLONE_NEWPID)
}

// writeInit gives the stub its descriptors and writes the program up to the
// mounts. preserved is how many descriptors of the caller's come first.
func (c *creation) writeInit(preserved int) error {
	p := c.init
	if err := p.inheritPreserved(preserved); err != nil {
		return err
	}
	for i := range p.namespaces.join {
		j := &p.namespaces.join[i]
		j.stubFD = p.inherit(j.fd, string(j.kind)+" namespace")
	}
	err := c.openTrees()
	if err != nil {
		return err
	}
	if p.listener, err = p.lend("start socket", c.listen); err != nil {
		return err
	}
	if err := p.inheritProc(); err != nil {
		return err
	}
	host, err := unix.Open(p.rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("rootfs %s: %w", p.rootfs, err)
	}
	c.closers = append(c.closers, host)
	// Numbers for descriptors that the init will open itself.
	p.root = rootfs{stub: p.stub, host: host, fd: p.inherit(host, "rootfs"), null: p.inherit(host, "/dev/null of the host"), empty: p.inherit(host, "empty tmpfs"), tty: p.inherit(host, "terminal"), above: len(p.files)}
	p.root.hostPids = !hasNamespace(c.spec, specs.PIDNamespace)
	p.forks = p.namespaces.fork
	if err := p.inheritBirth(p.cgroup); err != nil {
		return err
	}
	return p.writeSetup()
}
