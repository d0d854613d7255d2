// A session is one run of a program (program.go): the process of the interpreter,
// and the parent's end of the socket to it. create, exec, hooks, the maps of
// id-mapped mounts and start all go through drive, each with a table of its own
// that says what the parent does at a synchronisation point (program_syncpoint.go).
//
// The process is the stub: 300 bytes of machine code (program_stub_amd64.s) in a sealed
// memfd, started by fork and exec. It becomes the container's init, the process
// of `exec`, or QEMU in its jail.
//
// Why not runh itself, as other runtimes do it: a second start of the Go
// runtime costs a millisecond, needs megabytes inside the container's memory
// limit, has threads (setns to a user namespace refuses those), and would show
// the host's runh binary to the container as /proc/PID/exe (CVE-2019-5736).
// The container sees a sealed copy of the interpreter here, and nothing worth having.
//
// Contract: the process dies with the thread that has started it, until its
// program says otherwise, so that thread is locked. A wait ends early when a
// signal cancels the command (base_cancel.go). end undoes a session.

package main

import (
	"bytes"
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

type session struct {
	program *program // nil: the program of another command's session
	pid     int      // of the process that was started,
	child   int      // and of the one that it has become: itself, or the child of its fork
	socket  int
	signals *signals

	message  []byte // the last one,
	received int    // and the descriptor that came with it, or -1
	words    []byte // of a keeper that does not come to its loop
}

// birth is how the process begins, beside its program.
type birth struct {
	namespaces uintptr // that it is born in
	group      *cgroup // that it is born in; nil: ours
	oomScore   *int    // nil: ours
	warn       func(string, ...any)
}

// stepError says which step of a program failed and why.
type stepError struct {
	step string
	err  error
}

func (e *stepError) Error() string { return e.step + ": " + e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

// errInitDied is what wait returns when the process is gone without a word.
var errInitDied = errors.New("the container's init died")

// startSession starts the interpreter, which runs the program as far as it is
// written. With an error the process may run all the same: then there is a
// session, to be ended.
func startSession(p *program, signals *signals, b birth) (*session, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[1])
	s := &session{program: p, socket: pair[0], received: -1, signals: signals}
	p.begins[syncFD].fd = pair[1]
	if err = s.startIn(b); s.pid == 0 {
		s.close()
		return nil, err
	}
	return s, err
}

// fork makes the process, and gives it its descriptors. Those that were lent are
// the process's alone from then on.
func (s *session) fork(b birth, sys *syscall.SysProcAttr) error {
	image, err := stubImage()
	if err != nil {
		return err
	}
	defer unix.Close(image)
	files := make([]uintptr, 0, len(s.program.begins)+1)
	for _, d := range s.program.begins {
		files = append(files, uintptr(d.fd)) // -1 stays closed
	}
	// The image is the last descriptor, and the first that the program closes
	// (closeOthers).
	defer wearOOMScore(b.oomScore, b.warn)()
	sys.Cloneflags = b.namespaces
	s.pid, err = syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", len(files)), []string{"runh:init"},
		&syscall.ProcAttr{Files: append(files, uintptr(image)), Sys: sys})
	if err != nil {
		s.pid = 0
		return fmt.Errorf("start the container's init: %w", err)
	}
	s.child = s.pid
	s.program.closeLent()
	return nil
}

// wearOOMScore makes the process's oom_score_adj ours for the moment of the fork, in which it is inherited: a process in
// a user namespace may not write its own, nor may we write that of another user's. The result takes it off.
func wearOOMScore(adj *int, warn func(string, ...any)) (takeOff func()) {
	const file = "/proc/self/oom_score_adj"
	if adj == nil {
		return func() {}
	}
	data, err := os.ReadFile(file)
	old, score := strings.TrimSpace(string(data)), strconv.Itoa(*adj)
	if err == nil && old == score {
		return func() {}
	}
	if err == nil {
		err = os.WriteFile(file, []byte(score), 0)
	}
	if err != nil {
		warn("process.oomScoreAdj %s: %v; it stays at %s", score, err, old)
		return func() {}
	}
	return func() {
		if err := os.WriteFile(file, []byte(old), 0); err != nil {
			warn("oom_score_adj of runh itself: %v; it stays at %s", err, score)
		}
	}
}

// handlers are what the parent does at the synchronisation points that it
// expects. The number is that of the mount which the point is about.
type handlers [syncPoints]func(mount int) error

// drive accompanies the process to a synchronisation point, which the caller
// answers. At each point on the way it does what the table says, and lets the
// process go on.
func (s *session) drive(at handlers, until syncPoint) error {
	for {
		point, mount, err := s.wait()
		switch {
		case until == syncEnd && errors.Is(err, errInitDied):
			return nil
		case err != nil:
			return err
		case point == until:
			return nil
		case point >= syncPoints || at[point] == nil:
			panic(fmt.Sprintf("BUG: the program is at %v, on its way to %v", point, until))
		}
		err = at[point](mount)
		if err == nil && syncTable[point].answered {
			err = s.proceed()
		}
		if err != nil {
			return err
		}
	}
}

// wait returns the synchronisation point that the process has come to, or the
// error at which its program has ended.
func (s *session) wait() (point syncPoint, mount int, err error) {
	for {
		if _, err := s.signals.await(time.Time{}, s.socket); err != nil {
			return 0, 0, err
		}
		msg, received, err := receiveMessage(s.socket)
		s.follow()
		s.message = msg
		if received >= 0 {
			s.received = received
		}
		switch {
		case err != nil:
			return 0, 0, fmt.Errorf("%w: %w", errInitDied, err)
		case len(msg) == 0:
			return 0, 0, s.ended()
		case string(msg) == keeperReady && len(s.words) == 0:
			return syncKeeper, 0, nil
		case len(msg) < 16 && s.program != nil || bytes.IndexByte(msg[:min(8, len(msg))], 0) < 0:
			if len(s.words) < maxWords { // which come in pieces
				s.words = append(s.words, msg...)
			}
			continue
		}
		return s.reported(msg)
	}
}

// reported reads a message of the program's: an errno, and a synchronisation
// point or what failed.
func (s *session) reported(msg []byte) (point syncPoint, mount int, err error) {
	errno := binary.NativeEndian.Uint64(msg)
	if errno != 0 && s.program == nil { // the init's words to start
		return 0, 0, &stepError{string(msg[8:]), unix.Errno(errno)}
	}
	where := binary.NativeEndian.Uint64(msg[8:])
	if errno != 0 {
		return 0, 0, s.program.failure(where, errno)
	}
	point, mount = syncPointOf(where)
	return point, mount, nil
}

// maxWords is room for what a keeper says, of which the first line counts.
const maxWords = 4096

// ended is the error of a process that is gone: the keeper's words, if it has come
// so far as to say some.
func (s *session) ended() error {
	line, _, _ := bytes.Cut(bytes.TrimSpace(s.words), []byte("\n"))
	if len(line) == 0 {
		return errInitDied
	}
	return errors.New("keeper: " + strings.TrimPrefix(string(line), "runh: keeper: "))
}

// follow makes the child of the process's fork the one to wait for, and reaps
// the half that only forked.
func (s *session) follow() {
	if s.program == nil || s.program.sibling == 0 || s.child != s.pid {
		return
	}
	if born := s.program.word(s.program.sibling); born != 0 {
		reapChild(s.pid)
		s.child = int(born)
	}
}

// proceed lets the process go on.
func (s *session) proceed() error { return s.send(nil) }

// send lets it go on with descriptors, which the program takes with receiveFiles.
func (s *session) send(fds []int) error {
	var word [8]byte
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if err := unix.Sendmsg(s.socket, word[:], rights, nil, 0); err != nil {
		return errInitDied
	}
	return nil
}

// take is the descriptor that came with the last message; it is the caller's.
func (s *session) take() int {
	fd := s.received
	s.received = -1
	return fd
}

// takeMaster takes the master of the terminal that the process has sent. A console
// socket, if there is one, gets it as it is.
func (s *session) takeMaster(consoleSocket string) (master int, err error) {
	master = s.take()
	if consoleSocket == "" {
		err = clearONLCR(master)
	}
	return master, err
}

// end kills the process. It can have forked since it was last heard of.
func (s *session) end(limit time.Duration) {
	s.follow()
	endChild(s.child, limit)
}

// close gives back what the parent holds. The process, if there is one, goes on.
func (s *session) close() {
	for _, fd := range []*int{&s.socket, &s.received} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
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

// startIn starts the process in the cgroup, as far as it can be born in it.
func (s *session) startIn(b birth) error {
	group := b.group
	switch {
	case group == nil:
		return s.fork(b, &syscall.SysProcAttr{})
	case s.program.sibling != 0: // its child is born there, or waits
		s.program.waitOutside(group.pending())
		return s.fork(b, &syscall.SysProcAttr{})
	case group.pending():
		return s.startOutside(b)
	}
	dir, err := group.dirFD()
	if err != nil {
		return err
	}
	if dir != nil {
		defer dir.Close()
		if err = s.fork(b, &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}); err == nil {
			return nil
		}
		// Whatever it was: if it was not about the cgroup, it comes again.
	}
	if !group.v2 {
		return s.fork(b, &syscall.SysProcAttr{}) // v1; the v2 tree beside it is not worth a failure
	}
	return s.startOutside(b)
}

// startOutside starts a process that waits at once until it has been moved in.
func (s *session) startOutside(b birth) error {
	s.program.waitOutside(true)
	if err := s.fork(b, &syscall.SysProcAttr{}); err != nil {
		return err
	}
	if err := b.group.enter(s.pid); err != nil {
		return err
	}
	return s.proceed()
}

// waitOutside has the process wait to be moved, if it begins outside of its cgroup.
func (p *program) waitOutside(outside bool) {
	if outside {
		p.view(p.outside, 8)[0] = 1
	}
}
