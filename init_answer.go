// Answers over the start socket: from the init, from QEMU's process while it waits for its command line, and
// from the keeper.
//
// Contract: silence is the execve that has happened. What is said is a reason, or an errno and the step.

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// execStep begins the name of the step that executes the program.
const execStep = "exec: "

const (
	// keeperPatience is how many milliseconds a keeper waits for QEMU's greeting, and for each of its answers. QEMU takes a few.
	keeperPatience = 60000
	// answerLimit is how long a command waits for a keeper that waits for QEMU. The keeper gives up first, except on a
	// QEMU that comes at start and never greets: it does not know when that one has begun.
	answerLimit = keeperPatience*time.Millisecond + 10*time.Second
)

// readAnswer waits for the end of a connection to the start socket of a guest.
func (c *container) readAnswer(s int) error {
	msg, err := c.receiveAnswer(s)
	return heard(msg, err)
}

// receiveAnswer waits for one that QEMU is part of.
func (c *container) receiveAnswer(s int) ([]byte, error) {
	switch ready, err := c.signals.await(time.Now().Add(answerLimit), s); {
	case err != nil:
		return nil, err
	case !ready:
		return nil, unix.EAGAIN
	}
	msg, _, err := receiveMessage(s)
	return msg, err
}

// heard reads what the init, the VMM's process or the keeper says.
func heard(msg []byte, err error) error {
	switch {
	case err == unix.EAGAIN:
		return fmt.Errorf("QEMU has not answered within %v", answerLimit)
	case errors.As(err, &exitError{}): // a signal has cancelled the wait
		return err
	case err != nil:
		return fmt.Errorf("the container's init died before its program ran: %w", err)
	case len(msg) == 0:
		return nil
	case len(msg) < 8 || bytes.IndexByte(msg[:8], 0) < 0: // the keeper's reason
		return errors.New(string(msg))
	}
	// The init's: an errno, and what it was about.
	return &stepError{string(msg[8:]), unix.Errno(binary.NativeEndian.Uint64(msg))}
}
