// The end of a keeper and its machine: by a signal, by QEMU's own end, or by lost patience.
//
// Contract: whatever QEMU, the guest and the reader of its output do, a stop ends within seconds.

package main

import (
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keeperSignalFD is known to the handler in keeper_signal_amd64.s. What the keeper takes along is above it (cmd_create_guest_start.go).
const keeperSignalFD = 63

func keeperHandlers() (handler, restorer uintptr)

// catchSignals sends to the pipe the signals that end the machine, and SIGCHLD: the kernel gives that one to
// whatever thread it likes, so it would not always interrupt the poll. A guest has no signals; all
// others do what Go has them do, which is nothing in process 1.
func catchSignals() error {
	handler, restorer := keeperHandlers()
	action := struct {
		handler, flags, restorer uintptr
		mask                     uint64
	}{handler, saRestorer | saOnStack | saRestart, restorer, ^uint64(0)}
	var unblock unix.Sigset_t // Go leaves blocked what was blocked before it, but for some
	for _, s := range [...]unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGABRT, unix.SIGPWR, sigRTMIN + 3, sigRTMIN + 4, unix.SIGCHLD} {
		_, _, errno := unix.Syscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
		if errno != 0 {
			return os.NewSyscallError("rt_sigaction", errno)
		}
		unblock.Val[0] |= 1 << (s - 1)
	}
	return os.NewSyscallError("rt_sigprocmask", unix.PthreadSigmask(unix.SIG_UNBLOCK, &unblock, nil))
}

const (
	saOnStack  = 0x08000000
	saRestart  = 0x10000000
	saRestorer = 0x04000000
	sigRTMIN   = unix.Signal(34) // the C library's; +3 and +4 are systemd's "halt" and "power off"
)

// readSignals: a guest has no signals, so those that end a process end the machine, and all others
// do nothing.
func (k *keeper) readSignals() {
	var b [1]byte
	for {
		if n, err := unix.Read(k.signals, b[:]); err != nil || n != 1 {
			return
		}
		if unix.Signal(b[0]) == unix.SIGCHLD {
			k.reapStrangers()
			continue
		}
		if k.end.stop == 0 {
			k.end.stop = int(b[0])
		}
		k.endVM()
	}
}

// endVM ends the machine: with "quit" where QEMU listens, and by force where it does not (yet).
func (k *keeper) endVM() {
	switch {
	case k.vmmGone: // it has ended by itself; what remains is output that nobody reads
		k.deadline = monotonicMS() + keeperDrainDelay
	case k.quit:
	case k.button && k.state == qmpRunning && !k.pressing && k.asked != commandPause && k.saving == saveNone:
		// First the guest's own chance, if it has an ear for it. A second signal does not wait.
		k.pressing = true
		k.deadline = monotonicMS() + keeperQuitDelay
		k.command(qmpAskButton)
	case k.state >= qmpReady && k.state != qmpClosed:
		k.quit = true
		k.deadline = monotonicMS() + keeperQuitDelay
		k.command(qmpQuit)
	default:
		k.killVM()
	}
}

// press presses the machine's power button, where the guest heeds it, and gives it time. To a guest that
// does not, as all of Hermit's kernels so far, that time would be lost.
func (k *keeper) press(heeded bool) {
	if !heeded || k.quit {
		k.endVM()
		return
	}
	k.deadline = monotonicMS() + keeperPowerDelay
	k.command(qmpPowerdown)
}

// killVM ends QEMU by force. It has a user of its own, so this may not be allowed; then the end of its
// parent does it.
func (k *keeper) killVM() {
	k.quit, k.killed = true, true
	k.deadline = monotonicMS() + keeperQuitDelay
	if unix.PidfdSendSignal(k.vmm, unix.SIGKILL, nil, 0) == unix.EPERM {
		k.giveUp()
	}
}

// giveUp stops waiting for QEMU.
func (k *keeper) giveUp() {
	k.vmmGone = true
	k.end.signal = int(unix.SIGKILL)
	k.deadline = monotonicMS() + keeperDrainDelay
}

// impatient: the deadline has passed.
func (k *keeper) impatient() {
	k.deadline = 0
	switch {
	case k.vmmGone: // and nobody reads the rest of the output
		k.out, k.stdout = nil, false
	case k.killed: // and still there: stuck in the kernel
		k.giveUp()
	case k.quit:
		k.killVM()
	default: // the loader has had its say, or the guest its chance
		k.endVM()
	}
}

// reapVMM takes QEMU's exit status.
func (k *keeper) reapVMM() {
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PIDFD, k.vmm, &info, unix.WEXITED|unix.WNOHANG, nil); err != nil || siginfoPid(&info) == 0 {
		if err != unix.ECHILD {
			return
		}
	}
	k.vmmGone, k.reaped = true, true
	k.unguard()
	k.end.status, k.end.signal = 0, 0
	if info.Code == 1 { // CLD_EXITED
		k.end.status = siginfoStatus(&info)
	} else {
		k.end.signal = siginfoStatus(&info)
	}
	// What it still said: QMP events and stderr decide what its end means.
	if k.state != qmpClosed {
		k.client.read(k.message)
		k.state = qmpClosed
	}
	for k.vmmErrors.fd >= 0 {
		k.vmmErrors.read(true, k.showError)
	}
	if k.released && !k.quit && k.end.signal == 0 && !k.end.started {
		// A short guest's end comes before QEMU's answer to cont, and instead of it.
		k.end.started = true
		if k.asked == commandStart {
			k.say(answerRuns)
		}
		k.hangUp("")
	}
	k.deadline = 0
	if k.end.stop != 0 {
		k.deadline = monotonicMS() + keeperDrainDelay
	}
	k.failStart()
}

// unguard lets go of the guest's nftables once nobody has its tap: QEMU may have given that to virtiofsd. QEMU holds
// them as well (keeper_launch.go), in case it is the keeper that ends first.
func (k *keeper) unguard() {
	if k.rules >= 0 && k.reaped && k.share < 0 {
		unix.Close(k.rules)
		k.rules = -1
	}
}

// endShare ends a virtiofsd that has not followed QEMU by itself, while there are rules that hold it.
func (k *keeper) endShare() {
	if k.rules < 0 || k.share < 0 || unix.PidfdSendSignal(k.share, unix.SIGKILL, nil, 0) != nil {
		return
	}
	gone := [1]unix.PollFd{{Fd: int32(k.share), Events: unix.POLLIN}}
	unix.Poll(gone[:], keeperDrainDelay) // one that is stuck in the kernel runs no more
}

// reapStrangers buries processes that came into the container's pid namespace and lost their parent
// there. QEMU's own end is reapVMM's, virtiofsd's is reapShare's.
func (k *keeper) reapStrangers() {
	for {
		var info unix.Siginfo
		if unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) != nil || siginfoPid(&info) == 0 {
			return
		}
		if hasExited(k.vmm) || hasExited(k.share) {
			return // poll will say so
		}
		if unix.Waitid(unix.P_PID, siginfoPid(&info), nil, unix.WEXITED|unix.WNOHANG, nil) != nil {
			return
		}
	}
}

func hasExited(pidfd int) bool {
	var info unix.Siginfo
	return unix.Waitid(unix.P_PIDFD, pidfd, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == nil && siginfoPid(&info) != 0
}

// The fields of siginfo_t for SIGCHLD on 64-bit machines: sigaction(2).
func siginfoPid(s *unix.Siginfo) int    { return int(*(*int32)(unsafe.Add(unsafe.Pointer(s), 16))) }
func siginfoStatus(s *unix.Siginfo) int { return int(*(*int32)(unsafe.Add(unsafe.Pointer(s), 24))) }

// close puts the terminal back and returns the exit code.
func (k *keeper) close() int {
	k.endShare()
	code, why := k.code()
	l := levelInfo
	if code == 125 || code == 134 || k.end.loaderPanic || k.end.crashed || k.end.signal != 0 && k.end.stop == 0 {
		l = levelError
	}
	if !k.end.started {
		l = levelInfo // start has told it
	}
	k.logf(l, "the machine has ended, exit code "+strconv.Itoa(code)+": "+why)
	if k.tty != nil {
		unix.IoctlSetTermios(0, unix.TCSETS, k.tty)
	}
	return code
}
