// start lets a created container's process go, and reports whether it went.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func cmdStart(g *globals, args []string) error {
	id, err := parseID(args)
	if err != nil {
		return err
	}
	c, err := openContainer(g, id)
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
	if err := c.start(g, spec); err != nil {
		return err
	}
	c.close() // others may delete it while we wait
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

func (c *container) start(g *globals, spec *specs.Spec) error {
	switch status, err := c.status(); {
	case err != nil:
		return err
	case status == "running":
		return errors.New("cannot start an already running container")
	case status == "paused":
		return errors.New("cannot start a container in the paused state")
	case status != "created":
		return errors.New("cannot start a container that has stopped")
	}
	if err := c.runStartHooks(g, spec); err != nil {
		c.end()
		return err
	}
	if err := c.launchVMM(g); err != nil {
		c.end()
		return err
	}
	if err := c.loadState(); err != nil {
		c.end()
		return err
	}
	if c.Hermit != nil && c.Hermit.Template != nil {
		var err error
		if c.pending, err = c.letPointGo(); err != nil {
			return err
		}
	} else if err := c.letGo(spec); err != nil {
		return err
	}
	if err := c.askGateway(); err != nil {
		g.warnf("network: ask for the gateway: %v", err) // the guest will, sooner or later
	}
	c.Phase = phaseRunning
	if err := c.save(); err != nil {
		return err
	}
	if err := c.runPoststart(spec); err != nil {
		c.end() // runtime-spec, runtime.md, lifecycle step 9
		return err
	}
	return nil
}

// letGo connects to the init and waits for what becomes of it: end of file
// when its execve has closed the connection, or a message that says why not.
// Before that may come the listener of its seccomp filter.
func (c *container) letGo(spec *specs.Spec) error {
	if c.Kind == "hermit" {
		s, err := c.askStart()
		if err != nil {
			return errors.New("cannot start a container that has stopped")
		}
		defer unix.Close(s)
		return readAnswer(s)
	}
	s, err := c.askKeeper("")
	if err != nil {
		return errors.New("cannot start a container that has stopped")
	}
	defer unix.Close(s)
	msg, received, err := receiveMessage(s)
	if err == nil && len(msg) == listenerSize && binary.NativeEndian.Uint64(msg) == 0 {
		if err = c.passListener(spec, s, msg, received); err != nil {
			c.end()
			return err
		}
		msg, _, err = receiveMessage(s)
	}
	return heard(msg, err)
}

// readAnswer waits for the end of a connection to the start socket.
func readAnswer(s int) error {
	msg, _, err := receiveMessage(s)
	return heard(msg, err)
}

// heard reads what the init, the VMM's process or the keeper says.
func heard(msg []byte, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("the container's init died before its program ran: %w", err)
	case len(msg) == 0:
		return nil
	case len(msg) < 8 || bytes.IndexByte(msg[:8], 0) < 0: // the keeper's reason
		return errors.New(string(msg))
	}
	// The init's: an errno, and what it was about.
	return fmt.Errorf("%s: %w", msg[8:], unix.Errno(binary.NativeEndian.Uint64(msg)))
}

// passListener brings the listener to the agent, and lets the init go on.
func (c *container) passListener(spec *specs.Spec, s int, msg []byte, received int) error {
	listener, err := listenerMessage(msg, received, c.Pid)
	if err != nil {
		return err
	}
	if err := c.informAgent(spec.Linux.Seccomp, specs.StateCreated, c.Pid, listener); err != nil {
		return err
	}
	var word [8]byte
	_, err = unix.Write(s, word[:])
	return err
}
