// The late start of a VMM. Its command line holds the guest's address, and the address may be known only
// at start; so the VMM's process, in its jail and with all privileges dropped, waits on the container's
// start socket for a message: the command line, and the descriptors of the network. `create` sends it
// where the network is there already, so that QEMU is ready at start; else `start` does, before it
// connects a second time, to the keeper.
//
// The message is read into the memory of the program that the process runs, at an address that create
// notes in the record: a table of pointers that is argv, and the strings it points to.

package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// launch is a VMM that waits.
type launch struct {
	Address uint64    `json:"address"` // where the message will lie
	QEMU    string    `json:"qemu"`
	VM      *vmConfig `json:"vm"`
}

// launchMessage lays argv out for the address.
func (l *launch) message() ([]byte, error) {
	argv := append([]string{l.QEMU}, qemuArgs(l.VM, vmmQMP)...)
	table := 8 * (len(argv) + 1)
	b := make([]byte, table)
	for i, word := range argv {
		binary.NativeEndian.PutUint64(b[8*i:], l.Address+uint64(len(b)))
		b = append(append(b, word...), 0)
	}
	if len(b) > launchSize {
		return nil, fmt.Errorf("QEMU's command line has %d bytes: allowed are %d", len(b), launchSize)
	}
	return b, nil
}

// sendLaunch gives the waiting process its command line and network; a may be nil. Who has the connection
// hears what becomes of it: the end of file, or a reason.
func (c *container) sendLaunch(a *attachment) (conn int, err error) {
	msg, err := c.Hermit.Launch.message()
	if err != nil {
		return -1, err
	}
	var files []int
	if a != nil {
		files = []int{a.tap.fd, a.rules}
		if a.vhost >= 0 {
			files = append(files, a.vhost)
		}
	}
	if conn, err = c.askKeeper(string(msg), files...); err != nil {
		return -1, errors.New("cannot start a container that has stopped")
	}
	if a != nil {
		if err := c.guard(a.rules); err != nil {
			unix.Close(conn)
			return -1, err
		}
	}
	return conn, nil
}

// guard has the keeper hold the rules, too, for as long as anybody can have the tap. The keeper hears of it when QEMU
// is up; until then the queue of the socket holds them.
func (c *container) guard(rules int) error {
	conn, err := c.askKeeper(commandGuard, rules)
	if err != nil {
		return errors.New("cannot start a container that has stopped")
	}
	unix.Close(conn)
	return nil
}

// launchVMM is sendLaunch at start, to its end.
func (c *container) launchVMM(g *globals) error {
	if c.Hermit == nil || c.Hermit.Launch == nil {
		return nil
	}
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", c.Pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("look into the container's root: %w", err)
	}
	defer unix.Close(root)
	a, err := c.attach(g, c.Hermit.Launch.VM, c.Pid, root)
	if err != nil {
		return err
	}
	defer a.close()
	conn, err := c.sendLaunch(a)
	if err == nil {
		err = c.readAnswer(conn)
		unix.Close(conn)
	}
	if err != nil {
		_ = c.save() // so that delete knows where the guest's network was; without it the next one there does
		return err
	}
	c.Hermit.Launch = nil
	return c.save()
}
