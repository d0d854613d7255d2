// Commands to a keeper, from other commands of runh. They connect to the start socket and send one word:
//
//	start   the guest may run. "runs" comes back when it does, or why not.
//	        With the word can come the lease and the socket to answer the guest's DHCP (net_dhcp.go).
//	lease   before a template's point: the same lease and socket alone; no answer.
//	guard   before QEMU runs: the socket that owns the nftables comes with the word. The keeper holds it until
//	        QEMU and virtiofsd have ended (keeper_end.go); no answer.
//	load    before that: QEMU reads the guest's state out of the pipe that comes with the word (keeper_save.go).
//	        The connection is closed when all of it is there.
//	pause   the machine's clock stops, and "paused" comes back, or why not. It stands still for as long as
//	        the connection lasts, and a keeper that is frozen does not see its end. So pause freezes the
//	        container and hangs up, and the clock goes on with the thaw, whoever does that.
//	        A pause that is killed half-way leaves nothing behind.
//
// Contract: one caller is served at a time. Only root can reach the socket: its directory is the state root.

package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	commandStart = "start"
	commandLease = "lease" // as long as commandStart
	commandGuard = "guard"
	commandLoad  = "load"
	commandPause = "pause"
	answerPaused = "paused"
)

// pauseLimit is how long a machine may take to stop its clock: it waits for what its devices are doing.
const pauseLimit = 10 * time.Second

// keeperEndTime is how long a keeper may take to end once it has said why.
const keeperEndTime = 2 * time.Second

// askKeeper connects to the container's start socket and sends a word, and descriptors. The answer comes
// on the connection, which the caller closes.
func (c *container) askKeeper(word string, files ...int) (socket int, err error) {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	name := fmt.Sprintf("/proc/self/fd/%d/start.sock", c.lock.Fd())
	if err := unix.Connect(s, &unix.SockaddrUnix{Name: name}); err != nil {
		unix.Close(s)
		return -1, err
	}
	if word != "" {
		var rights []byte
		if len(files) > 0 {
			rights = unix.UnixRights(files...)
		}
		// A keeper that is gone by now shows in the answer.
		if err := unix.Sendmsg(s, []byte(word), rights, nil, unix.MSG_NOSIGNAL); err != nil && err != unix.EPIPE && err != unix.ECONNRESET {
			unix.Close(s)
			return -1, fmt.Errorf("start socket: %w", err)
		}
	}
	return s, nil
}

// stopClock stops the clock of a Hermit container's machine until the result is closed.
func (c *container) stopClock() (socket int, err error) {
	s, err := c.askKeeper(commandPause)
	if err != nil {
		return -1, errNotRunning
	}
	msg, err := receiveWithin(s, pauseLimit)
	switch {
	case err == unix.EAGAIN:
		err = fmt.Errorf("the machine has not stopped its clock within %v", pauseLimit)
	case err != nil || len(msg) == 0:
		err = errNotRunning
	case string(msg) != answerPaused:
		err = fmt.Errorf("the machine does not stop its clock: %s", msg)
	default:
		return s, nil
	}
	unix.Close(s)
	return -1, err
}

// receiveWithin is receiveMessage for a limited time, after which the error is EAGAIN.
func receiveWithin(s int, limit time.Duration) (msg []byte, err error) {
	tv := unix.NsecToTimeval(int64(limit))
	if err := unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	msg, _, err = receiveMessage(s)
	return msg, err
}

// accept takes the next caller.
func (k *keeper) accept() {
	fd, _, err := unix.Accept4(k.start, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		return // whoever it was is gone already
	}
	k.caller, k.asked = fd, ""
	k.hear()
}

// hear reads what the caller wants, or that it has hung up.
func (k *keeper) hear() {
	var word [len(commandStart) + dhcpLeaseSize]byte
	var control [24]byte
	n, controlLen, _, _, err := unix.Recvmsg(k.caller, word[:], control[:], unix.MSG_CMSG_CLOEXEC)
	if n == len(word) && controlLen >= 20 && k.dhcp < 0 {
		k.dhcp = passedFD(&control)
		copy(k.lessor.lease[:], word[len(commandStart):])
		n = len(commandStart)
	}
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	switch {
	case k.asked == commandSave && k.saving == saveDone && err == nil && string(word[:n]) == commandEnd:
		k.endSaved()
	case k.asked == commandPoint && err == nil && string(word[:n]) == commandNow:
		k.end.marked = true
		k.atPoint()
	case k.asked != "" || err != nil || n <= 0:
		k.hangUp("")
	case string(word[:n]) == commandStart && k.released:
		k.hangUp("the guest has been started before")
	case string(word[:n]) == commandStart && k.incoming && k.loading != loadDone:
		k.hangUp("what the guest goes on from has not been loaded")
	case string(word[:n]) == commandStart:
		k.asked = commandStart
		k.cont() // or as soon as QEMU is ready
		if k.vmmGone {
			k.failStart()
		}
	case string(word[:n]) == commandLease:
		k.hangUp("")
	case string(word[:n]) == commandGuard && controlLen >= unix.CmsgLen(4) && k.rules < 0:
		k.rules = passedFD(&control)
		k.unguard()
		k.hangUp("")
	case string(word[:n]) == commandLoad && controlLen >= unix.CmsgLen(4) && k.incoming:
		k.pipe, k.asked = passedFD(&control), commandLoad
		k.load()
	case string(word[:n]) == commandPause && k.state == qmpRunning && !k.quit:
		k.asked = commandPause
		k.command(qmpStop)
	case string(word[:n]) == commandSave && controlLen >= unix.CmsgLen(4) && k.state == qmpRunning && !k.quit:
		k.pipe = passedFD(&control)
		k.beginSave()
	case string(word[:n]) == commandPoint && controlLen >= unix.CmsgLen(4) && !k.released:
		k.pipe = passedFD(&control)
		k.asked = commandPoint
		k.cont()
		if k.vmmGone {
			k.failStart()
		}
	default:
		k.hangUp("")
	}
}

// stopped: QEMU has stopped the clock, or will not.
func (k *keeper) stopped(failed bool) {
	switch {
	case k.asked == commandSave && k.saving == saveStopped && failed:
		k.hangUp("QEMU refuses")
	case k.asked == commandSave && k.saving == saveStopped:
		k.save()
	case k.asked != commandPause: // it hung up meanwhile, and cont is on its way
	case failed:
		k.hangUp("QEMU refuses")
	default:
		k.say(answerPaused)
	}
}

// hangUp ends a caller's connection, with a last word for it if there is one.
func (k *keeper) hangUp(word string) {
	if k.caller < 0 {
		return
	}
	if word != "" {
		k.say(word)
	}
	unix.Close(k.caller)
	if k.pipe >= 0 {
		unix.Close(k.pipe)
		k.pipe = -1
	}
	if k.asked == commandSave {
		k.unsave()
	}
	if k.asked == commandPause && !k.quit && k.state == qmpRunning {
		k.command(qmpCont)
	}
	k.caller, k.asked = -1, ""
}

func (k *keeper) say(word string) {
	unix.Sendto(k.caller, []byte(word), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil) // who does not listen does not need it
}

// passedFD is the descriptor in a control message: cmsg(3).
func passedFD(control *[24]byte) int {
	return int(binary.NativeEndian.Uint32(control[unix.CmsgLen(0):]))
}
