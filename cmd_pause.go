// "pause" and "resume": all processes of a container stand still,
// or run again.
//
// Both hold the lock, so that what they find is what they change; a created
// container can be paused like a running one. That a container is paused is
// written down nowhere: the freezer of its cgroup is asked each time
// (cgroup_freeze.go). A pause that was killed half-way is undone by the next
// one, and by resume.
//
// Callers match the texts: a second pause says "container not running", a
// resume of what is not paused "container not paused".

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func cmdPause(g *globals, args []string) error { return freezing(g, args, (*container).pause) }

func cmdResume(g *globals, args []string) error { return freezing(g, args, (*container).resume) }

func freezing(g *globals, args []string, do func(*container) error) error {
	id, err := parseID(args)
	if err != nil {
		return err
	}
	c, err := openContainer(g, id)
	if err != nil {
		return err
	}
	defer c.close()
	if err := do(c); err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	return nil
}

// pause returns when every process has stopped; if one will not, all run on. A
// Hermit container's machine stops its clock before: with nothing but the
// freezer its guest would find, at the next instruction, that hours have passed.
// Its clock goes on with the thaw (keeper_command.go). Under KVM that goes for the
// machine's devices alone: the processor's counter, by which Hermit tells the
// time, goes on as the host's does. A Linux container's clock is the host's, too.
func (c *container) pause() error {
	switch status, err := c.status(); {
	case err != nil:
		return err
	case status != phaseCreated && status != phaseRunning:
		return errNotRunning
	case c.freezing():
		// Half a pause is left: the keeper may be frozen, and not hear us.
		if err := openCgroup(c.Cgroup).thaw(); err != nil {
			return err
		}
	}
	if c.Phase == phaseRunning && c.Kind == "hermit" {
		clock, err := c.stopClock()
		if err != nil {
			return err
		}
		defer unix.Close(clock)
	}
	err := openCgroup(c.Cgroup).freeze()
	if err != nil && !c.alive() {
		return errNotRunning // it ended, and its cgroup went, as we came
	}
	return err
}

func (c *container) resume() error {
	switch status, err := c.status(); {
	case err != nil:
		return err
	case status != "paused" && (status == "stopped" || !c.freezing()):
		return errNotPaused
	}
	return openCgroup(c.Cgroup).thaw()
}
