// delete removes everything that create has made, and cleans up after a create or delete that was killed in the
// middle.
//
// Contract: the record goes last, so a delete that is cut short can be repeated. What is gone already is no error.

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func cmdDelete(g *globals, args []string) error {
	opts, err := parseDelete(args)
	if err != nil {
		return err
	}
	c, err := lockContainer(g, opts.id, opts.force)
	switch {
	case errors.Is(err, errCreating):
		return fmt.Errorf("cannot delete container %s that is not stopped: %s", opts.id, phaseCreating)
	case errors.Is(err, errNotExist) && opts.force:
		return nil // callers send a second delete to make sure
	case errors.Is(err, errBroken) && opts.force:
		defer c.close()
		return c.destroy(g, c.salvage(g))
	case err != nil:
		return err
	}
	defer c.close()
	status, err := c.status()
	if err != nil {
		return err
	}
	// A created container may go without force, as runc has it: its process
	// never ran.
	if (status == "running" || status == "paused") && !opts.force {
		return fmt.Errorf("cannot delete container %s that is not stopped: %s", c.ID, status)
	}
	spec, err := c.snapshot()
	if err != nil && !opts.force {
		return err
	}
	return c.destroy(g, spec)
}

// salvage finds out what it can of a container whose record is damaged, for
// destroy. The start socket tells that create had got as far as taking the
// cgroup for itself; which one, an absolute cgroupsPath says. A relative one
// depends on who asked: nobody is killed on the strength of that.
func (c *container) salvage(g *globals) *specs.Spec {
	c.ID = filepath.Base(c.dir)
	if _, err := os.Lstat(c.dir + "/start.sock"); err != nil {
		return nil
	}
	spec, err := c.snapshot()
	if err != nil {
		g.warnf("%v", err)
		return nil
	}
	inner, unit, err := wantedCgroup(c.ID, spec, g.systemdCgroup)
	if err != nil || !filepath.IsAbs(inner) {
		return spec
	}
	host, err := findCgroupHost(false)
	if err != nil {
		g.warnf("%v", err)
		return spec
	}
	group := placeCgroup(host, inner)
	group.setUnit(unit)
	c.Cgroup = group.state()
	return spec
}

// destroy ends what is left of the container and removes its traces, the
// record last. spec may be nil: then there are no hooks to run.
func (c *container) destroy(g *globals, spec *specs.Spec) error {
	if err := c.end(); err != nil {
		return err
	}
	group := openCgroup(c.Cgroup)
	if err := group.killAll(unix.SIGKILL); err != nil {
		return err
	}
	if err := c.uncover(); err != nil {
		return err
	}
	if err := group.destroy(); err != nil {
		return err
	}
	if err := c.Rdt.remove(); err != nil {
		return err
	}
	if err := c.detach(spec); err != nil {
		g.warnf("network: %v", err) // nothing that depends on it is left
	}
	if err := c.remove(); err != nil {
		return err
	}
	c.runPoststop(g, spec)
	return nil
}

// end kills the init and waits until it is gone. Nothing is done to a process
// that only has its number.
func (c *container) end() error {
	if !c.alive() {
		return nil
	}
	fd, err := unix.PidfdOpen(c.Pid, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	if !c.alive() { // between the two looks the number may have changed hands
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("kill process %d: %w", c.Pid, err)
	}
	if err := openCgroup(c.Cgroup).thaw(); err != nil {
		return err
	}
	if !exits(c.Pid, killTime) {
		return fmt.Errorf("process %d did not end within %v of SIGKILL", c.Pid, killTime)
	}
	return nil
}
