// start lets a created container's process go, and reports whether it went.
//
// Contract: silence on the start socket is the execve that has happened. A start that fails ends the container.

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func cmdStart(g *globals, args []string) error {
	id, err := parseID(args)
	if err != nil {
		return err
	}
	c, err := openContainer(g, id)
	if errors.Is(err, errCreating) {
		return errors.New("cannot start a container in the creating state")
	}
	if err != nil {
		return err
	}
	defer c.close()
	spec, err := c.snapshot()
	if err != nil {
		return err
	}
	ready, err := c.expectReady()
	if err != nil {
		return err
	}
	if spec.Hooks != nil || c.Hermit != nil { // else there is nothing to wait for, nor to undo
		g.takeSignals(false)
		c.signals = g.signals
	}
	if err := g.signals.begin(); err != nil {
		return err
	}
	if err := c.start(g, spec); err != nil {
		var hook *hookError
		if errors.As(err, &hook) { // runtime.md, lifecycle steps 7 and 9: go on at step 12, destroy it, and then the poststop hooks
			err = errors.Join(err, c.destroy(g, spec))
		}
		return err
	}
	c.close() // others may delete it while we wait
	g.signals.end()
	c.finishTemplate(g)
	ready.wait(c.Pid, c.Pid)
	return nil
}

// snapshot is the config as it was at create; later edits do not matter.
func (c *container) snapshot() (*specs.Spec, error) {
	data, err := readFile(filepath.Join(c.dir, "config.json"), configMax)
	if err != nil {
		return nil, err
	}
	spec, err := decodeSpec(data)
	if err != nil {
		return nil, fmt.Errorf("%s/config.json: %w", c.dir, err)
	}
	if spec.Linux == nil {
		spec.Linux = &specs.Linux{}
	}
	return spec, nil
}

// start lets the container's program run. A start that fails ends the container, and returns only when it is gone:
// Docker 20.10 removes a container after a failed start at once, and keeps for good one that still seems to live.
func (c *container) start(g *globals, spec *specs.Spec) error {
	switch status, err := c.status(); {
	case err != nil:
		return err
	case status == "running":
		return errors.New("cannot start an already running container")
	case status == "paused" || status == "created" && c.freezing():
		return errors.New("cannot start a container in the paused state")
	case status != "created":
		return errors.New("cannot start a container that has stopped")
	}
	if err := c.begin(g, spec); err != nil {
		return errors.Join(err, c.end())
	}
	return nil
}

// begin is start, once the container's status allows it.
func (c *container) begin(g *globals, spec *specs.Spec) error {
	if err := c.runStartHooks(g, spec); err != nil {
		return err
	}
	if err := c.launchVMM(g); err != nil {
		return err
	}
	if err := c.loadState(); err != nil {
		return err
	}
	if err := c.signals.settle(); err != nil {
		return err
	}
	if c.Hermit != nil && c.Hermit.Template != nil {
		var err error
		if c.pending, err = c.letPointGo(); err != nil {
			return err
		}
	} else if err := c.letGo(g, spec); err != nil {
		return err
	}
	if err := c.askGateway(); err != nil {
		g.warnf("network: ask for the gateway: %v", err) // the guest will, sooner or later
	}
	c.Phase = phaseRunning
	c.Losses = append(c.Losses, g.losses...)
	if err := c.save(); err != nil {
		return err
	}
	g.tellLosses()
	return c.runPoststart(spec) // runtime-spec, runtime.md, lifecycle step 9: its failure ends the container
}

// letGo connects to the init and waits for what becomes of it: end of file
// when its execve has closed the connection, or a message that says why not.
// Before that may come the listener of its seccomp filter.
func (c *container) letGo(g *globals, spec *specs.Spec) error {
	if c.Kind == "hermit" {
		return c.letGuestGo()
	}
	conn, err := c.askKeeper("")
	if err != nil {
		return errors.New("cannot start a container that has stopped")
	}
	s := &session{socket: conn, received: -1, signals: c.signals}
	defer s.close()
	err = s.drive(handlers{syncListener: func(int) error {
		listener, err := s.listener(c.Pid)
		if err != nil {
			return err
		}
		return c.informAgent(spec.Linux.Seccomp, specs.StateCreated, c.Pid, listener)
	}}, syncEnd)
	var step *stepError
	if errors.As(err, &step) && strings.HasPrefix(step.step, execStep) {
		return c.refusedProgram(g, conn, step)
	}
	return err
}

// refusedProgram: execve has refused the program (exec format error, an interpreter that does not exist). As with
// runc, that is the program's failure and not start's: the container's stderr has the line, and its exit code is 255.
// The init waits for the line, since it has no words for an errno.
func (c *container) refusedProgram(g *globals, s int, step *stepError) error {
	name := strings.TrimPrefix(step.step, execStep)
	if plain, err := strconv.Unquote(name); err == nil {
		name = plain
	}
	line := fmt.Sprintf("exec %s: %v", name, step.err)
	g.warnf("%s: the container has ended with exit code 255", line)
	// An init that is dead by now has nothing to say.
	unix.Sendto(s, []byte(line+"\n"), unix.MSG_NOSIGNAL, nil)
	if !exits(c.Pid, killTime) { // nobody reads its stderr
		return c.end()
	}
	return nil
}

// letGuestGo is letGo for a guest. A keeper that dies meanwhile says nothing.
func (c *container) letGuestGo() error {
	s, err := c.askWithLease(commandStart)
	if err != nil {
		return errors.New("cannot start a container that has stopped")
	}
	defer unix.Close(s)
	msg, err := c.receiveAnswer(s)
	switch {
	case err == nil && string(msg) == answerRuns:
		return nil
	case err == nil && len(msg) == 0:
		return errors.New("the keeper died before the guest ran")
	}
	err = heard(msg, err)
	exits(c.Pid, keeperEndTime) // by itself, and so with its own exit code
	return err
}
