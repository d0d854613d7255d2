// The keeper's part in a checkpoint and a restore: what it tells QEMU, and what it passes on
// of QEMU's answers. It handles no state of a machine itself: that goes through a pipe between QEMU and the
// command that asked.
//
// A caller that sends "save" with the pipe's end gets "V" and QEMU's version, then "S", the number of bytes that
// the guest has printed (64 bits) and its last, unfinished line; or a reason why not. As in a pause, the clock
// stands still for as long as the caller holds the connection. The word "end" ends the machine instead. "point"
// with a pipe's end starts the guest ("runs" comes back) and is the same as "save" once the guest has printed the
// line of keeperPlan.mark, or the caller sends "now". A caller that dies in the middle so leaves a guest that
// runs.

package main

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

const (
	commandSave   = "save"
	commandEnd    = "end"
	commandPoint  = "point"
	commandNow    = "now"
	answerRuns    = "runs"
	answerVersion = 'V'
	answerSaved   = 'S'
)

// The commands of a migration, as qmpClient.send wants them. QEMU keeps a descriptor that came with getfd
// under its name.
const (
	qmpGetfd       = `getfd","arguments":{"fdname":"state"},"id":"`
	qmpEvents      = `migrate-set-capabilities","arguments":{"capabilities":[{"capability":"events","state":true}]},"id":"`
	qmpSpeed       = `migrate-set-parameters","arguments":{"max-bandwidth":1000000000000},"id":"`
	qmpVersion     = `query-version`
	qmpMigrate     = `migrate","arguments":{"uri":"fd:state"},"id":"`
	qmpAskMigrated = `query-migrate`
	qmpUnmigrate   = `migrate_cancel`
	qmpIncoming    = `migrate-incoming","arguments":{"uri":"fd:state"},"id":"`
)

// A machine's state, on its way out.
const (
	saveNone    = iota
	saveStopped // the clock stands still
	saveWriting // QEMU was told to write
	saveDone    // all of it is in the pipe
)

// A machine's state, on its way in.
const (
	loadNone = iota
	loadReading
	loadDone
)

// beginSave is the first step: the clock stops.
func (k *keeper) beginSave() {
	k.asked, k.saving, k.contTries = commandSave, saveStopped, 0
	k.command(qmpStop)
}

// atPoint: the guest may have come to the point that a caller waits for.
func (k *keeper) atPoint() {
	if k.asked == commandPoint && k.state == qmpRunning && k.end.marked && !k.quit {
		k.beginSave()
	}
}

const maxContTries = 1000 // each as long as an exchange with QEMU

// save goes on once the clock stands still. QEMU takes commands one after the other, so they are sent at
// once; after a failure the later ones fail too, and only the first is reported.
func (k *keeper) save() {
	k.saving = saveWriting
	k.handPipe()
	for _, c := range [...]string{qmpEvents, qmpSpeed, qmpVersion, qmpMigrate} {
		k.command(c)
	}
}

// saveAnswer is QEMU's answer to one of them.
func (k *keeper) saveAnswer(c string, m qmpMessage) {
	switch {
	case m.kind == 'e' && c != qmpUnmigrate:
		if c == qmpMigrate {
			k.saving = saveStopped // no event will come
		}
		k.failSave(m.desc)
	case c == qmpVersion && k.asked == commandSave:
		k.sayAll(append([]byte{answerVersion}, m.value...))
	case c == qmpAskMigrated:
		desc, _ := jsonMember(m.value, "error-desc")
		k.failSave(desc)
	}
}

// migrated is an event: how far a migration is.
func (k *keeper) migrated(status []byte) {
	over := false
	switch string(status) {
	case "completed", "failed", "cancelled":
		over = true
	}
	switch {
	case !over:
	case k.loading == loadReading:
		if string(status) != "completed" {
			break // QEMU ends, with a last line that says why
		}
		k.loading = loadDone
		if k.asked == commandLoad {
			k.hangUp("")
		}
	case k.saving != saveWriting:
	case k.asked != commandSave: // the caller has gone
		k.saving = saveNone
		k.command(qmpCont)
	case string(status) == "completed":
		k.saving = saveDone
		k.sayPosition()
	default:
		k.saving = saveStopped
		k.command(qmpAskMigrated)
	}
}

// sayPosition tells where the guest's output stands. What QEMU has written is in the pipe, if not here.
func (k *keeper) sayPosition() {
	for k.serialOut >= 0 && len(k.out) == 0 {
		if n, err := unix.IoctlGetInt(k.serialOut, unix.TIOCINQ); err != nil || n == 0 {
			break
		}
		k.readSerial()
	}
	waiting := 0 // bytes for a reader that does not read
	if k.serialOut >= 0 {
		waiting, _ = unix.IoctlGetInt(k.serialOut, unix.TIOCINQ)
	}
	msg := binary.NativeEndian.AppendUint64([]byte{answerSaved}, k.printed+uint64(waiting))
	k.sayAll(append(msg, k.end.line[:min(k.end.n, len(k.end.line))]...))
}

// failSave tells the caller, and hangs up: the clock goes on.
func (k *keeper) failSave(desc []byte) {
	if k.asked != commandSave {
		return
	}
	why := "QEMU does not write the machine's state"
	if desc = bytes.Trim(desc, `"`); len(desc) > 0 {
		why += ": " + plainError(desc)
	}
	k.hangUp(why)
}

// unsave is the end of a caller's connection: the guest goes on, as soon as QEMU has let go of it.
func (k *keeper) unsave() {
	if k.quit || k.state != qmpRunning {
		return
	}
	if k.saving == saveWriting {
		k.command(qmpUnmigrate)
		return // an event will say when
	}
	k.saving = saveNone
	k.command(qmpCont)
}

// abandoned: a migration goes on of which nobody wants to hear any more. Its end is an event.
func (k *keeper) abandoned() bool { return k.saving == saveWriting && k.asked != commandSave }

// endSaved ends the machine whose state has been kept.
func (k *keeper) endSaved() {
	k.end.stop = int(unix.SIGKILL)
	k.pressing = true // no power button for a guest that goes on elsewhere
	k.endVM()
	k.hangUp("")
}

// handPipe gives QEMU the caller's pipe.
func (k *keeper) handPipe() {
	k.client.pass = k.pipe
	k.command(qmpGetfd)
	unix.Close(k.pipe)
	k.pipe = -1
}

// load has QEMU read the state that it goes on from.
func (k *keeper) load() {
	switch {
	case k.loading == loadDone: // by a start that was killed
		k.hangUp("")
	case k.vmmGone:
		k.failStart()
	case k.loading == loadReading:
		k.hangUp("QEMU is reading a state already")
	default:
		k.loading = loadReading
		k.handPipe()
		k.command(qmpEvents)
		k.command(qmpIncoming)
	}
}

func (k *keeper) sayAll(b []byte) {
	unix.Sendto(k.caller, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil) // who does not listen does not need it
}
