// The program of a container's init as create begins it: the descriptors that the
// init starts with, and the operations up to the mounts (init.go).

package main

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// bornIn are the namespaces that the init is born in; it makes all others itself.
func (p *initPlan) bornIn() uintptr {
	if p.namespaces.fork {
		return 0
	}
	return uintptr(p.namespaces.create & unix.CLONE_NEWPID)
}

// writeInit gives the init its descriptors and writes the program up to the
// mounts. preserved is how many descriptors of the caller's come first, trees
// makes those of the mounts, and listen the start socket.
func (c *initCompiler) writeInit(preserved int, trees *treeMaker, listen func() (int, error)) error {
	p := c.plan
	if err := c.inheritPreserved(preserved); err != nil {
		return err
	}
	for i := range p.namespaces.join {
		j := &p.namespaces.join[i]
		j.initFD = c.inherit(j.fd, string(j.kind)+" namespace")
	}
	err := c.inheritTrees(trees)
	if err != nil {
		return err
	}
	if c.listener, err = c.lend("start socket", listen); err != nil {
		return err
	}
	if err := c.inheritProc(); err != nil {
		return err
	}
	host, err := unix.Open(p.rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("rootfs %s: %w", p.rootfs, err)
	}
	// Numbers for descriptors that the init will open itself.
	c.root = rootfs{program: c.program, host: host, fd: c.inherit(host, "rootfs"), null: c.inherit(host, "/dev/null of the host"), empty: c.inherit(host, "empty tmpfs"), tty: c.inherit(host, "terminal"), above: len(c.begins)}
	c.root.hostPids = !hasNamespace(p.spec, specs.PIDNamespace)
	c.forks = p.namespaces.fork
	if err := c.inheritBirth(p.cgroup); err != nil {
		return err
	}
	return c.writeSetup()
}

// close gives back what the program has taken here.
func (c *initCompiler) close() {
	if c.root.program != nil {
		unix.Close(c.root.host)
		c.root.program = nil
	}
	c.program.close()
}
