// Idle machines: does one do anything? Two questions need the answer. Does the guest's kernel run, so that it can
// have what comes on stdin? And is it dead after an exception?
//
// stdin: a kernel that starts empties the serial port's buffer, and up to 16 bytes that came before are lost. So stdin
// waits until something has come out of the machine that is not the loader's, or the machine idles, as no loader does,
// or, in the end, for keeperMute.
//
// A crash: Hermit's kernel reports an exception, ends the task and idles for ever, where a process would end by a
// signal. Anybody can print such a line, so the line alone means nothing: it counts if the machine then prints nothing
// and uses no processor. One that goes on is left alone, until it prints such a line again.

package main

import "golang.org/x/sys/unix"

// Times in milliseconds.
const (
	lookEvery   = 250
	lookStill   = 10    // of the processor, in lookEvery: the machine idles
	keeperMute  = 10000 // stdin waits no longer than this
	crashSettle = 1000  // for the report to be printed, before the look begins
	crashLook   = 4000
	crashStill  = 200 // of the processor, in crashLook
)

// How far the look at a crash is.
const (
	crashNone = iota
	crashSettling
	crashLooking
)

// idleLook is a look at QEMU's use of the processor.
type idleLook struct {
	at      int64  // when to look next, 0: not at all
	waited  int    // how long stdin has waited
	still   int    // looks in a row that saw an idle machine
	cpu     int64  // what QEMU had used at the last look
	printed uint64 // and what the guest had printed
}

// heed takes note of what the guest has just printed.
func (k *keeper) heed() {
	if k.end.spoke && !k.listening {
		k.listening, k.look.at = true, 0
	}
	if k.end.exception && !k.keepCrash {
		k.end.exception = false
		k.settle()
	}
}

func (k *keeper) settle() {
	k.crash, k.look.at = crashSettling, monotonicMS()+crashSettle
}

// lookAtMachine looks, when it is time.
func (k *keeper) lookAtMachine() {
	late := monotonicMS() - k.look.at
	if k.look.at == 0 || late < 0 {
		return
	}
	before, printed := k.look.cpu, k.look.printed
	k.look.cpu, k.look.printed = k.vmmCPU(), k.printed
	used := k.look.cpu - before
	if k.quit || k.vmmGone || k.state != qmpRunning {
		k.look.at = 0
		return
	}
	// Whoever stands still himself, or holds up the machine, sees nothing.
	blind := late > keeperOverslept || k.look.cpu < 0 || before < 0 || k.asked == commandPause || k.saving != saveNone || len(k.out) > 0
	switch {
	case !k.listening:
		k.look.waited += lookEvery
		if k.look.still++; blind || before == 0 || used > lookStill {
			k.look.still = 0
		}
		k.look.at = monotonicMS() + lookEvery
		if k.look.still >= 2 || k.look.waited >= keeperMute {
			k.listening, k.look.at = true, 0
		}
	case k.crash == crashSettling:
		k.crash, k.look.at = crashLooking, monotonicMS()+crashLook
	case k.crash == crashLooking && blind && k.look.cpu >= 0:
		k.settle()
	case k.crash == crashLooking && !blind && k.printed == printed && used <= crashStill:
		k.look.at, k.end.crashed = 0, true
		k.pressing = true // no power button for a kernel that is dead
		k.endVM()
	default:
		k.crash, k.look.at = crashNone, 0
	}
}

// vmmCPU is the time of the processor that QEMU has used, in milliseconds, or -1. The clock of a process is
// known by its pid: see clock_getcpuclockid(3), and the kernel's posix-timers_types.h for the numbers.
func (k *keeper) vmmCPU() int64 {
	const cpuclockSched = 2
	var ts unix.Timespec
	if k.client.pid <= 0 || k.reaped || unix.ClockGettime(int32(^k.client.pid<<3|cpuclockSched), &ts) != nil {
		return -1
	}
	return ts.Nano() / 1e6
}
