// The keeper's dialogue with QEMU over QMP, and what becomes of QEMU's complaints.

package main

import (
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// message is one line of QMP.
func (k *keeper) message(m qmpMessage) {
	switch m.kind {
	case 'g':
		if k.state == qmpGreeting {
			k.end.greeted = true
			k.state, k.overdue = qmpSetup, 0
			k.command(qmpCapabilities)
		}
	case 'v':
		if len(m.reason) > 0 {
			k.end.reason = shutdownReason(m.reason)
		}
		if len(m.status) > 0 {
			k.migrated(m.status)
		}
	case 'r', 'e':
		k.answer(m)
	}
}

// command sends one; QEMU that does not take it is dying, and its end will tell.
func (k *keeper) command(c string) {
	if k.sentLen < len(k.sent) {
		k.sent[k.sentLen] = c
		k.sentLen++
	}
	if k.overdue == 0 {
		k.await()
	}
	_ = k.client.send(c)
}

// await: from now on QEMU owes something.
func (k *keeper) await() { k.overdue = monotonicMS() + int64(k.patience) }

// missAnswer ends a QEMU that has not answered in time. A container that was frozen, or a host that slept, has
// held up QEMU as well: it gets the time once more.
func (k *keeper) missAnswer() {
	late := monotonicMS() - k.overdue
	switch {
	case late < 0:
	case k.quit || k.vmmGone: // impatient looks after that
		k.overdue = 0
	case late > keeperOverslept:
		k.await()
	default:
		k.overdue = 0
		switch {
		case k.state == qmpClosed:
			k.end.owed = "its monitor is closed, and there is no end"
		case k.state == qmpGreeting:
			k.end.owed = "no greeting"
		case k.sentLen > 0:
			name, _, _ := strings.Cut(k.sent[0], `"`)
			k.end.owed = "no reply to " + name
		default:
			k.end.owed = "no end of a migration"
		}
		k.end.owed += " within " + strconv.Itoa((k.patience+999)/1000) + " s"
		k.killVM()
	}
}

// answer is what has come of the oldest command: QEMU answers in order.
func (k *keeper) answer(m qmpMessage) {
	if k.sentLen == 0 {
		return // to nothing that was asked
	}
	c := k.sent[0]
	k.sentLen--
	copy(k.sent[:], k.sent[1:])
	if k.overdue = 0; k.sentLen > 0 || k.abandoned() {
		k.await()
	}
	failed := m.kind == 'e'
	switch {
	case failed && (k.state == qmpSetup || k.state == qmpStarting || k.loading == loadReading):
		k.vmmErrors.keep(m.desc)
		k.endVM()
	case c == qmpCapabilities:
		k.prepared()
	case c == qmpCont && k.state == qmpStarting:
		k.state = qmpRunning
		k.end.started = true
		k.look.at = monotonicMS() + lookEvery
		if k.asked == commandPoint {
			k.say(answerRuns)
			k.atPoint()
		} else {
			k.hangUp(answerRuns)
		}
		dropProgramPages()
	case c == qmpStop:
		k.stopped(failed)
	case c == qmpAskButton:
		k.press(!failed && buttonHeeded(m.value))
	case c == qmpCont && failed && k.saving == saveNone && k.contTries < maxContTries && !k.quit:
		// A migration is over for QEMU itself a moment after it has said so.
		k.contTries++
		k.command(qmpCont)
	default:
		k.saveAnswer(c, m)
	}
}

// prepared: QEMU takes commands, and a guest that boots is in its memory.
func (k *keeper) prepared() {
	k.state = qmpReady
	k.tellReady(keeperReady)
	k.cont()
}

// cont lets the guest run for the first time.
func (k *keeper) cont() {
	if k.state == qmpReady && (k.asked == commandStart || k.asked == commandPoint) && !k.quit {
		k.state, k.released = qmpStarting, true
		k.command(qmpCont)
	}
}

// failStart tells who waits that QEMU is dead, and why.
func (k *keeper) failStart() {
	if !k.end.started {
		_, why := k.code()
		k.tellReady(why)
		if k.asked == commandStart || k.asked == commandPoint || k.asked == commandLoad {
			k.hangUp(why)
			k.told = true
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

// showError logs a line of QEMU's.
func (k *keeper) showError(line []byte) { k.logf(levelWarn, qemuError(plainError(line))) }

// qemuError is a line of QEMU's without its name.
func qemuError(line string) string { return strings.TrimPrefix(line, "qemu-system-x86_64: ") }

// code is the container's exit code by now, and why.
func (k *keeper) code() (int, string) {
	k.end.errors = qemuError(k.vmmErrors.text())
	code, why := k.end.code()
	if code == 134 && k.oldKernel {
		why += "; its kernel is older than 0.11, which loaders since 0.5.7 cannot boot"
	}
	return code, why
}

// plainError is a line of another program. Messages go where callers look for certain words (base_error.go), which
// in its mouth are about its own files.
func plainError(b []byte) string {
	s := strings.ToValidUTF8(string(b), "?")
	s = strings.ReplaceAll(s, "No such file or directory", "it is not there")
	s = strings.ReplaceAll(s, "Permission denied", "not allowed")
	return strings.ReplaceAll(s, "Operation not permitted", "not allowed")
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
