// The keeper is the process that stays with a virtual machine: `runh keeper`, started by the stub as
// process 1 of a Hermit container, with QEMU as its child. It carries the bytes between the container's
// stdin and stdout and the guest's serial line, lets the guest run when `runh start` says so, turns
// signals into the machine's end, and the machine's end into the container's exit code.
//
// Contract: it lives as long as the container does, on every host many times, so memory is the point.
// One goroutine, one poll(2) over all descriptors, fixed buffers, no allocation per event, none of fmt,
// encoding/json, os/signal or the network poller, and so no garbage collector. It opens no file, for
// its root is the image. Whatever comes from QEMU or the guest is hostile.
//
// Its parent gives it a descriptor for each field of keeperPlan and no others, and this environment:
// GOMAXPROCS=1 (one thread less).

package main

import (
	"encoding/hex"
	"os"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Where the keeper is in its dialogue with QEMU.
const (
	qmpGreeting = iota // QEMU is starting
	qmpSetup           // the greeting came, capabilities were sent
	qmpReady           // it takes commands; the guest has not run yet
	qmpStarting        // the first cont was sent
	qmpRunning         // the guest has begun
	qmpClosed          // QEMU has closed the socket
)

// Times in milliseconds.
const (
	keeperIdleDelay  = 50   // without any event: time to get small
	keeperPanicDelay = 100  // for the rest of a loader's message
	keeperQuitDelay  = 2000 // QEMU takes "quit" at once or never
	keeperPowerDelay = 8000 // for a guest that heeds its power button; engines kill after 10 s
	keeperDrainDelay = 500  // after a stop, for whoever does not read the container's output

	keeperOverslept = 1000 // so much later than asked, poll returns only to a keeper that stood still
)

const maxKeeperLog = 16 << 10 // bytes of QEMU's complaints: each costs memory, and nobody frees it

type keeper struct {
	keeperPlan
	end    guestEnd
	client qmpClient
	state  int // qmp...

	signals   int       // pipe with a byte for each
	caller    int       // who has connected to the start socket, -1: nobody
	asked     string    // the caller's command, once it is known
	sent      [8]string // commands that QEMU has not answered yet, the oldest first
	sentLen   int
	pressing  bool   // the stop went by the power button, or it is being tried
	saving    int    // save...
	loading   int    // load...
	pipe      int    // for the state, until QEMU has it
	contTries int    // how often QEMU has refused to go on after a save
	printed   uint64 // bytes that the guest has printed
	told      bool   // somebody knows why QEMU could not be started
	dhcp      int    // packet socket with the guest's questions (net_dhcp.go), or -1
	rules     int    // netlink socket that owns the guest's nftables (net_nft.go), or -1
	lessor    dhcpAnswer

	stdin, stdout bool // still open
	listening     bool // the kernel takes what comes on stdin (keeper_idle.go)
	crash         int  // crash...
	look          idleLook
	outKind       byte // of stdout: 'p'ipe, 's'ocket, 'n'on-blocking terminal, 'f'ile
	out           []byte
	outBuf        [16 << 10]byte
	loader        loaderLines
	in            []byte
	inBuf         [1 << 10]byte
	tty           *unix.Termios // to be restored at the end

	vmmErrors   errorLines
	shareErrors errorLines

	idle     bool // nothing has happened for a while
	released bool // cont was sent: the guest may run, whether or not QEMU has said so
	vmmGone  bool
	reaped   bool  // and it is certain
	quit     bool  // the machine was told to end
	killed   bool  // and by force
	deadline int64 // when to lose patience, 0: never
	overdue  int64 // when QEMU's greeting or oldest answer is, 0: nothing is owed
}

// keeperMain is `runh keeper`. It returns only if it cannot begin.
func keeperMain(args []string) error {
	debug.SetGCPercent(-1) // nothing here makes garbage
	plan, err := parseKeeperPlan(args)
	if err != nil {
		return err
	}
	k := &keeper{keeperPlan: *plan, caller: -1, pipe: -1, dhcp: -1, rules: -1, stdin: true, stdout: true}
	k.client.fd = k.qmp
	k.vmmErrors.fd, k.shareErrors.fd = k.errors, k.shareErrs
	if err := k.setup(); err != nil {
		return err // to our stderr, which is create's
	}
	k.takeStderr()
	mark, _ := hex.DecodeString(k.mark)
	k.end.mark = mark
	if k.incoming {
		k.end.resume(k.said)
		k.listening = true
		k.loader.turn.over = true
	}
	if k.late {
		k.tellReady(keeperReady) // QEMU comes at start, which waits for it
	} else {
		k.await()
	}
	for !k.finished() {
		k.step()
	}
	os.Exit(k.close())
	return nil
}

// setup makes our own ends of the pipes non-blocking, and the terminal raw. The container's stdin and
// stdout stay as they are, for they may be shared with others; all but its own terminal.
func (k *keeper) setup() error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	k.signals = p[0]
	if err := unix.Dup3(p[1], keeperSignalFD, unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("dup3", err)
	}
	unix.Close(p[1])
	if err := catchSignals(); err != nil {
		return err
	}
	// Not the start socket: the VMM's process may wait on the same one (keeper_launch.go), and a connection
	// to a UNIX socket that poll has seen does not go away.
	for _, fd := range []int{k.qmp, k.serialIn, k.serialOut, k.errors, k.shareErrs} {
		if fd >= 0 {
			if err := unix.SetNonblock(fd, true); err != nil {
				return os.NewSyscallError("fcntl", err)
			}
		}
	}
	var st unix.Stat_t
	k.outKind = 'f'
	if unix.Fstat(1, &st) != nil {
		k.stdout = false
	} else if st.Mode&unix.S_IFMT == unix.S_IFIFO {
		k.outKind = 'p'
	} else if st.Mode&unix.S_IFMT == unix.S_IFSOCK {
		k.outKind = 's'
	}
	if !k.terminal {
		return nil
	}
	if t, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
		k.tty = t
		mode := guestTermios(*t, k.raw)
		unix.IoctlSetTermios(0, unix.TCSETS, &mode) // a terminal that is already gone shows at the next read
		if unix.SetNonblock(1, true) == nil {
			k.outKind = 'n'
		}
	}
	return nil
}

// guestTermios is the mode of a guest's terminal. The guest echoes, and has no line discipline. So by default the
// terminal does for it what does not need lines: Enter is a newline, and INTR and QUIT (Ctrl-C, Ctrl-\) are signals,
// which end the machine. There is no job control. A signal leaves alone what is on its way. Raw, each byte passes as
// it is. Whether what the guest prints gets a CR before each NL is the other side's choice, see clearONLCR.
func guestTermios(t unix.Termios, raw bool) unix.Termios {
	if t = rawTermios(t); raw {
		return t
	}
	t.Iflag |= unix.ICRNL
	t.Lflag |= unix.ISIG | unix.NOFLSH
	t.Cc[unix.VSUSP] = 0 // _POSIX_VDISABLE
	return t
}

// takeStderr: from here on nobody but the log hears us, and the container's stderr stays open as long as we live.
func (k *keeper) takeStderr() {
	if k.stderr >= 0 {
		unix.Dup3(k.stderr, 2, 0) // two open descriptors: this cannot fail
		unix.Close(k.stderr)
		k.stderr = -1
	}
}

// Places in the poll set.
const (
	pollSignals = iota
	pollVMM
	pollQMP
	pollSerialOut
	pollSerialIn
	pollStdin
	pollStdout
	pollErrors
	pollShare
	pollShareErrors
	pollStart
	pollCaller
	pollDHCP
	pollCount
)

// step waits for something to happen and deals with it.
func (k *keeper) step() {
	if k.vmmGone && k.serialOut >= 0 && len(k.out) == 0 {
		k.readSerial() // what is left; no more will come
		return
	}
	var set [pollCount]unix.PollFd
	want := func(i, fd int, events int16, cond bool) {
		set[i] = unix.PollFd{Fd: -1, Events: events}
		if cond {
			set[i].Fd = int32(fd)
		}
	}
	running := k.state == qmpRunning
	want(pollSignals, k.signals, unix.POLLIN, true)
	want(pollVMM, k.vmm, unix.POLLIN, !k.vmmGone)
	want(pollQMP, k.qmp, unix.POLLIN, k.state != qmpClosed)
	want(pollSerialOut, k.serialOut, unix.POLLIN, k.serialOut >= 0 && len(k.out) == 0)
	want(pollSerialIn, k.serialIn, unix.POLLOUT, k.serialIn >= 0 && len(k.in) > 0)
	want(pollStdin, 0, unix.POLLIN, running && k.listening && k.stdin && len(k.in) == 0)
	want(pollStdout, 1, unix.POLLOUT, len(k.out) > 0)
	want(pollErrors, k.vmmErrors.fd, unix.POLLIN, k.vmmErrors.fd >= 0)
	want(pollShare, k.share, unix.POLLIN, k.share >= 0)
	want(pollShareErrors, k.shareErrors.fd, unix.POLLIN, k.shareErrors.fd >= 0)
	// Before QEMU is there, a connection may be for its process (keeper_launch.go).
	want(pollStart, k.start, unix.POLLIN, k.start >= 0 && k.caller < 0 && k.saving == saveNone && (k.state >= qmpReady || k.vmmGone))
	want(pollCaller, k.caller, unix.POLLIN, k.caller >= 0 && k.asked != commandStart)
	want(pollDHCP, k.dhcp, unix.POLLIN, k.dhcp >= 0)

	timeout := -1
	switch {
	case k.deadline != 0:
		timeout = int(k.deadline - monotonicMS())
		if timeout <= 0 {
			k.impatient()
			return
		}
	case !k.idle:
		timeout = keeperIdleDelay
	}
	if left := int(max(k.overdue-monotonicMS(), 0)); k.overdue != 0 && (timeout < 0 || left < timeout) {
		timeout = left
	}
	if left := int(max(k.look.at-monotonicMS(), 0)); k.look.at != 0 && (timeout < 0 || left < timeout) {
		timeout = left
	}
	if n, err := unix.Poll(set[:], timeout); err != nil {
		return // EINTR: if the signal means something, the pipe says so next
	} else if n == 0 {
		if k.overdue != 0 {
			k.missAnswer()
		}
		k.lookAtMachine()
		if k.deadline == 0 && !k.idle {
			k.idle = true
			dropProgramPages()
		}
		return
	}
	k.idle = false
	happened := func(i int) bool { return set[i].Revents != 0 }
	if happened(pollSerialOut) {
		k.readSerial()
	}
	if happened(pollStdout) {
		k.writeStdout()
	}
	if happened(pollStdin) {
		k.readStdin()
	}
	if happened(pollSerialIn) {
		k.writeSerial()
	}
	if happened(pollStart) {
		k.accept()
	}
	if happened(pollCaller) {
		k.hear()
	}
	if happened(pollDHCP) {
		k.answerDHCP()
	}
	if happened(pollErrors) {
		k.vmmErrors.read(k.vmmGone, k.showError)
	}
	if happened(pollShareErrors) {
		k.shareErrors.read(k.share < 0, k.showShare)
	}
	if happened(pollQMP) && !k.client.read(k.message) {
		k.state = qmpClosed
		k.await() // its end comes with that
	}
	if happened(pollSignals) {
		k.readSignals()
	}
	if happened(pollVMM) {
		k.reapVMM()
	}
	if happened(pollShare) {
		k.reapShare()
	}
	if k.overdue != 0 { // whatever else QEMU does
		k.missAnswer()
	}
	k.lookAtMachine()
}

// finished: QEMU is gone, and all that it said has been passed on. What could not be started stays
// until somebody has asked for the reason.
func (k *keeper) finished() bool {
	if !k.vmmGone || k.serialOut >= 0 || len(k.out) > 0 {
		return false
	}
	return k.end.started || k.end.stop != 0 || k.told
}

// dropProgramPages gives back the pages of the program's file: 3.5 of the 4.2 MB that the keeper would
// weigh for the rest of its life, most of them touched only once, at the start. What is needed again
// comes back from the page cache, in a few microseconds. MADV_DONTNEED, of pages that nobody can write, loses nothing (madvise(2)); failing costs nothing.
func dropProgramPages() {
	auxv, err := unix.Auxv()
	if err != nil {
		return
	}
	const atPhdr, atPhnum = 3, 5
	var table, num uintptr
	for _, a := range auxv {
		switch a[0] {
		case atPhdr:
			table = a[1]
		case atPhnum:
			num = a[1]
		}
	}
	if table == 0 || num > maxPhdrs {
		return
	}
	for i := range num {
		// Elf64_Phdr: type, flags, offset, address, physical address, size in the file, ...
		ph := *(*[7]uint64)(*(*unsafe.Pointer)(unsafe.Pointer(&[1]uintptr{table + i*elfPhdrLen})))
		if uint32(ph[0]) == ptLoad && ph[0]>>32&2 == 0 { // not writable
			addr, end := ph[2]&^4095, ph[2]+ph[4]
			unix.Syscall(unix.SYS_MADVISE, uintptr(addr), uintptr(end-addr), unix.MADV_DONTNEED)
		}
	}
}

func monotonicMS() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano() / 1e6
}
