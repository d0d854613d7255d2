// keeperstart.go is the keeper's side of a start: its dialogue with QEMU over QMP, with who wants to
// know whether QEMU is ready, with `runh start`, and what becomes of QEMU's complaints.

package main

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// message is one line of QMP.
func (k *keeper) message(m qmpMessage) {
	switch {
	case m.kind == 'g' && k.state == qmpGreeting:
		k.end.greeted = true
		k.state = qmpSetup
		k.command(qmpCapabilities)
	case m.kind == 'r' && k.state == qmpSetup:
		k.state = qmpReady
		k.tellReady("R")
		k.cont()
	case m.kind == 'r' && k.state == qmpStarting:
		k.state = qmpRunning
		k.end.started = true
		k.answerStart("")
		dropProgramPages()
	case m.kind == 'e' && (k.state == qmpSetup || k.state == qmpStarting):
		k.setErrLine(m.desc)
		k.endVM()
	case m.kind == 'v' && len(m.reason) > 0:
		k.end.reason = shutdownReason(m.reason)
	}
}

// command sends one; QEMU that does not take it is dying, and its end will tell.
func (k *keeper) command(c string) { _ = k.client.send(c) }

// acceptStart: somebody wants the guest to run. If QEMU is not ready yet, or no more, the connection
// waits for what comes of it.
func (k *keeper) acceptStart() {
	fd, _, err := unix.Accept4(k.start, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		return // whoever it was is gone already
	}
	k.startConn = fd
	if k.vmmGone {
		k.failStart()
		return
	}
	k.cont()
}

func (k *keeper) cont() {
	if k.state == qmpReady && k.startConn >= 0 && !k.quit {
		k.state, k.released = qmpStarting, true
		k.command(qmpCont)
	}
}

// answerStart ends a start: with an empty answer, the closed connection, if the guest runs. There is
// one start in a container's life, so the socket goes too; the next to connect is refused.
func (k *keeper) answerStart(problem string) {
	if k.startConn >= 0 {
		if problem != "" {
			unix.Sendto(k.startConn, []byte(problem), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil) // or it sees just the end
		}
		unix.Close(k.startConn)
		k.startConn = -1
	}
	if k.start >= 0 {
		unix.Close(k.start)
		k.start = -1
	}
}

// failStart tells who waits that QEMU is dead, and why.
func (k *keeper) failStart() {
	if !k.end.started {
		_, why := k.end.code()
		k.tellReady(why)
		if k.startConn >= 0 {
			k.answerStart(why)
		}
	}
}

func (k *keeper) tellReady(what string) {
	if k.ready >= 0 {
		unix.Write(k.ready, []byte(what)) // who does not wait does not need it
		unix.Close(k.ready)
		k.ready = -1
	}
}

// readErrors passes QEMU's stderr on to the log, line by line and not without end.
func (k *keeper) readErrors() {
	var b [256]byte
	n, err := unix.Read(k.errors, b[:])
	switch {
	case err == unix.EINTR || err == unix.EAGAIN && !k.vmmGone:
		return
	case err != nil || n == 0:
		unix.Close(k.errors)
		k.errors = -1
		n = 0
		if k.errLen > 0 {
			b[0], n = '\n', 1
		}
	}
	for _, c := range b[:n] {
		switch {
		case c == '\n':
			if k.errLen > 0 {
				if k.logged += k.errLen; k.logged < maxKeeperLog {
					k.setErrLine(k.errLine[:k.errLen])
					k.logf(levelWarn, k.end.errors)
				}
			}
			k.errLen = 0
		case k.errLen < len(k.errLine):
			k.errLine[k.errLen] = c
			k.errLen++
		}
	}
}

// setErrLine keeps a line for messages. These go where callers look for certain words (error.go), which
// in QEMU's mouth are about its own files.
func (k *keeper) setErrLine(b []byte) {
	s := strings.TrimPrefix(strings.ToValidUTF8(string(b), "?"), "qemu-system-x86_64: ")
	s = strings.ReplaceAll(s, "No such file or directory", "it is not there")
	s = strings.ReplaceAll(s, "Permission denied", "not allowed")
	k.end.errors = strings.ReplaceAll(s, "Operation not permitted", "not allowed")
}

// logf writes a line to the log, as every other command of runh does.
func (k *keeper) logf(l level, text string) {
	if k.log < 0 || l > k.logLevel {
		return
	}
	format := "text"
	if k.logJSON {
		format = "json"
	}
	unix.Write(k.log, logLine(format, l, text, time.Now())) // a log that cannot be written must not end a container
}
