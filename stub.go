// The stub is the process that runs a program (program.go): 300 bytes of
// machine code in a sealed memfd, started by fork and exec. It becomes the
// container's init, the process of `exec`, or QEMU in its jail.
//
// Why not runh itself, as other runtimes do it: a second start of the Go
// runtime costs a millisecond, needs megabytes inside the container's memory
// limit, has threads (setns to a user namespace refuses those), and would show
// the host's runh binary to the container as /proc/PID/exe (CVE-2019-5736).
// What the container can see here is a sealed copy of nothing worth having.

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Descriptors of the stub: 0, 1 and 2 are the container's, then these two,
// then what inherit handed out.
const (
	programFD = 3
	syncFD    = 4
	firstFD   = 5
)

// stubCode is where the machine code begins; stub_amd64.s takes its address.
//
//lint:ignore U1000 called by nobody here
func stubCode()

func stubAddress() *byte

// noFile leaves a number in the stub closed.
const noFile = ^uintptr(0)

// stub is one interpreter process and the program it runs.
type stub struct {
	*program
	pid    int
	files  []uintptr // by descriptor number in the stub, or noFile
	memory int       // memfd of the program
	sync   int       // our end of the socket pair
	theirs int

	given  []string // what the descriptors are, by number: for a listing
	lent   []int    // those that were opened for the stub alone
	listed bool     // nothing runs the program, see listedStub

	signals  *signals
	oomScore *int // the process's, nil: the caller's
	warn     func(string, ...any)
	received int    // the descriptor that came with the last message that had one
	message  []byte // the last message
}

// stepError says which step of a program failed and why.
type stepError struct {
	step string
	err  error
}

func (e *stepError) Error() string { return e.step + ": " + e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

// errStubDied is what wait returns when the process is gone without a word.
var errStubDied = errors.New("the container's init died")

// newStub makes an empty program. The three descriptors become 0, 1 and 2.
func newStub(stdin, stdout, stderr uintptr) (*stub, error) {
	memory, err := unix.MemfdCreate("program", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("program memory: %w", os.NewSyscallError("memfd_create", err))
	}
	s := &stub{memory: memory, sync: -1, theirs: -1, received: -1}
	if err := unix.Ftruncate(memory, programSize); err != nil {
		s.close()
		return nil, fmt.Errorf("program memory: %w", os.NewSyscallError("ftruncate", err))
	}
	mem, err := unix.Mmap(memory, 0, programSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		s.close()
		return nil, fmt.Errorf("program memory: %w", os.NewSyscallError("mmap", err))
	}
	s.program = newProgram(mem)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		s.close()
		return nil, os.NewSyscallError("socketpair", err)
	}
	s.sync, s.theirs = pair[0], pair[1]
	s.files = []uintptr{stdin, stdout, stderr, uintptr(memory), uintptr(s.theirs)}
	s.given = stubGiven
	return s, nil
}

// stubGiven are the descriptors that every stub has.
var stubGiven = []string{"stdin", "stdout", "stderr", "program", "parent"}

// listedStub is a stub for a listing: a program in ordinary memory that nothing
// runs. Its descriptors are numbers and names; none of them is open.
func listedStub(facts *hostFacts) (*stub, error) {
	mem, err := unix.Mmap(-1, 0, programSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("program memory: %w", os.NewSyscallError("mmap", err))
	}
	s := &stub{program: newProgram(mem), memory: -1, sync: -1, theirs: -1, received: -1, listed: true}
	s.facts = facts
	s.files, s.given = []uintptr{0, 1, 2, noFile, noFile}, stubGiven
	return s, nil
}

// inherit gives the stub a descriptor and returns its number there. What says
// what it is.
func (s *stub) inherit(fd int, what string) int {
	s.files = append(s.files, uintptr(fd))
	for len(s.given) < len(s.files)-1 {
		s.given = append(s.given, "") // numbers that stay closed
	}
	s.given = append(s.given, what)
	return len(s.files) - 1
}

// nameOf is what a listing calls a descriptor: its number, and what it is.
func (s *stub) nameOf(fd int) string { return fmt.Sprintf("%d<%s>", fd, s.given[fd]) }

// lend gives the stub a descriptor that is opened for it alone and closed here
// once it runs. A listing does without: it has the number and the name.
func (s *stub) lend(what string, open func() (int, error)) (int, error) {
	fd := -1
	if !s.listed {
		var err error
		if fd, err = open(); err != nil {
			return 0, err
		}
		s.lent = append(s.lent, fd)
	}
	return s.inherit(fd, what), nil
}

// slot stands in a listing for a text that is known only later.
func slot(name string) string { return slotMark + name + slotMark }

const slotMark = "\x01"

// environ is runh's own environment.
func (s *stub) environ() []string {
	if s.listed {
		return []string{slot("the environment of runh")}
	}
	return os.Environ()
}

// closeLent closes what has been lent.
func (s *stub) closeLent() {
	for _, fd := range s.lent {
		unix.Close(fd)
	}
	s.lent = nil
}

// closeOthers closes what the stub has not been given on purpose: the image
// of itself, and what the caller's process has left open.
func (s *stub) closeOthers() {
	s.call(unix.SYS_CLOSE_RANGE, len(s.files), uint64(^uint32(0)), 0)
}

// start forks, execs the interpreter, and lets it run the program as far as it
// is written. The process dies with the thread that called start until the
// program says otherwise (PR_SET_PDEATHSIG), so that thread must be locked.
func (s *stub) start(sys *syscall.SysProcAttr) error {
	image, err := stubImage()
	if err != nil {
		return err
	}
	defer unix.Close(image)
	// The image is the last descriptor, and the first that the program closes
	// (closeOthers).
	defer s.wearOOMScore()()
	pid, err := syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", len(s.files)), []string{"runh:init"},
		&syscall.ProcAttr{Files: append(s.files, uintptr(image)), Sys: sys})
	if err != nil {
		return fmt.Errorf("start the container's init: %w", err)
	}
	unix.Close(s.theirs)
	s.theirs = -1
	s.pid = pid
	return nil
}

// wearOOMScore makes the process's oom_score_adj ours for the moment of the fork, in which it is inherited: a process in
// a user namespace may not write its own, nor may we write that of another user's. The result takes it off.
func (s *stub) wearOOMScore() (takeOff func()) {
	const file = "/proc/self/oom_score_adj"
	if s.oomScore == nil {
		return func() {}
	}
	data, err := os.ReadFile(file)
	old, score := strings.TrimSpace(string(data)), strconv.Itoa(*s.oomScore)
	if err == nil && old == score {
		return func() {}
	}
	if err == nil {
		err = os.WriteFile(file, []byte(score), 0)
	}
	if err != nil {
		s.warn("process.oomScoreAdj %s: %v; it stays at %s", score, err, old)
		return func() {}
	}
	return func() {
		if err := os.WriteFile(file, []byte(old), 0); err != nil {
			s.warn("oom_score_adj of runh itself: %v; it stays at %s", err, score)
		}
	}
}

// wait is where the program has come to: it reported a place, failed at a step,
// or is dead.
func (s *stub) wait() (place uint64, err error) {
	if _, err := s.signals.await(time.Time{}, s.sync); err != nil {
		return 0, err
	}
	msg, received, err := receiveMessage(s.sync)
	if err != nil || len(msg) < 16 {
		return 0, errStubDied
	}
	s.message = msg
	if received >= 0 {
		s.received = received
	}
	return s.reported(msg)
}

// receiveMessage reads one message, of at most a page, and the descriptor that
// came with it, or -1. The end of file is an empty message.
func receiveMessage(socket int) (msg []byte, received int, err error) {
	msg, received = make([]byte, 4096), -1
	var control [24]byte
	var controlLen int
	n, err := ignoringEINTR(func() (n int, err error) {
		n, controlLen, _, _, err = unix.Recvmsg(socket, msg, control[:], unix.MSG_CMSG_CLOEXEC)
		if err == unix.ECONNRESET {
			// The other end died with something of ours unread. The kernel says so
			// once, before the last words that are still to be read.
			n, controlLen, _, _, err = unix.Recvmsg(socket, msg, control[:], unix.MSG_CMSG_CLOEXEC)
		}
		return n, err
	})
	if err != nil {
		return nil, -1, err
	}
	if m, err := unix.ParseSocketControlMessage(control[:controlLen]); err == nil && len(m) > 0 {
		if fds, err := unix.ParseUnixRights(&m[0]); err == nil {
			received = fds[0]
		}
	}
	return msg[:n], received, nil
}

// reported reads a message of the program's: an errno and the place of it.
func (s *stub) reported(msg []byte) (place uint64, err error) {
	errno := binary.NativeEndian.Uint64(msg[0:])
	where := binary.NativeEndian.Uint64(msg[8:])
	if errno != 0 {
		return 0, s.failure(where, errno)
	}
	return where, nil
}

// proceed lets the program go on after an await.
func (s *stub) proceed() error {
	var word [8]byte
	_, err := unix.Write(s.sync, word[:])
	if err != nil {
		return errStubDied
	}
	return nil
}

// expect waits for a place and takes any other for a bug.
func (s *stub) expect(place uint64) error {
	got, err := s.wait()
	if err == nil && got != place {
		panic(fmt.Sprintf("BUG: the program is at place %d, not %d", got, place))
	}
	return err
}

// sendFiles gives the program descriptors, to be taken with receiveFiles.
func (s *stub) sendFiles(fds []int) error {
	var word [8]byte
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if err := unix.Sendmsg(s.sync, word[:], rights, nil, 0); err != nil {
		return errStubDied
	}
	return nil
}

// receiveFiles takes up to n descriptors that the parent sends in one message.
// They lie side by side, 32 bits each; the kernel reads a descriptor from the
// lower half of an argument, so each has an address. What does not come is -1.
func (p *program) receiveFiles(n int) []valueAt {
	size := 16 + (4*n+7)&^7
	control := p.alloc(size + 8)
	for i := 16; i < size+8; i++ {
		p.view(control, size+8)[i] = 0xff
	}
	iov := p.words(uint64(p.alloc(8)), 8)
	msg := p.words(0, 0, uint64(iov), 1, uint64(control), uint64(size), 0)
	p.call(unix.SYS_RECVMSG, syncFD, msg, unix.MSG_CMSG_CLOEXEC).ifZero(&label{addr: p.opAddr(1)})
	fds := make([]valueAt, n)
	for i := range fds {
		fds[i] = valueAt(control + addr(16+4*i))
	}
	return fds
}

// close gives back what the parent holds. The process, if there is one, goes on.
func (s *stub) close() {
	for _, fd := range []*int{&s.memory, &s.sync, &s.theirs, &s.received} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
	if s.program != nil {
		unix.Munmap(s.mem)
		s.program = nil
	}
}

func ignoringEINTR(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}
