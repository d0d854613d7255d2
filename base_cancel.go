// Signals that reach a command while it makes a container or
// a process: create, run, restore, start, exec.
//
// Contract:
//   - HUP, INT, QUIT and TERM end such a command. Nothing is undone by the
//     signal itself: it is noted, every wait returns, and the command goes back
//     the way that any failure takes. The exit code is 128 + N.
//   - Before begin nothing is made, and the signal ends the command at once.
//   - After relay a signal is the process's. None is lost in between: what came
//     early is passed on then.
//   - The rollback is never interrupted. A hook of kind poststart or poststop is
//     ended by each further signal, so that it can hold nobody up.
//   - A signal that the caller ignores (nohup) cancels nothing.
//
// Only waits without a bound of their own end early: for the init, a hook, QEMU,
// criu. What is bounded (systemd's answer, a lock, the freezer) is awaited, since
// the rollback must know what has become of it.

package main

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A signals is one command's. All methods work on nil: then no signal is taken.
type signals struct {
	g       *globals
	taken   chan struct{} // closed when Go passes those that cancel to us,
	all     chan struct{} // and all others
	ignored map[os.Signal]bool

	mu    sync.Mutex
	phase signalPhase
	by    unix.Signal   // the first that cancels
	stop  int           // an eventfd: readable while a signal has not been answered
	early []unix.Signal // for the process, when it is there
	pid   int
	t     *terminal
	hook  bool // in phaseRelay: a hook runs that a signal ends
}

type signalPhase int

const (
	phaseFree   signalPhase = iota // nothing is made, or all is done
	phaseMaking                    // a signal cancels
	phaseRelay                     // a signal is for the process
)

// cancelling are also those that end an init which waits for start (endBySignals).
var cancelling = []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM}

// takeSignals begins to take those that cancel; with all, each that can be
// passed on to a process. Go needs some twenty microseconds for each, beside the
// command's first steps: begin waits for those that cancel, relay for the others.
func (g *globals) takeSignals(all bool) {
	s := &signals{g: g, taken: make(chan struct{}), all: make(chan struct{}), ignored: map[os.Signal]bool{}, stop: -1}
	g.signals = s
	ch := make(chan os.Signal, 64)
	go func() {
		for _, sig := range cancelling {
			s.ignored[sig] = signal.Ignored(sig)
		}
		signal.Notify(ch, cancelling...)
		close(s.taken)
		if all {
			signal.Notify(ch, relayedSignals()...)
		}
		close(s.all)
		for sig := range ch {
			s.take(sig.(unix.Signal))
		}
	}()
}

// relayedSignals are all but those that are about us: our children, Go's own
// SIGURG, our job control, a reader of ours that is gone. KILL and STOP cannot
// be taken; PROF is for Go's profiler, and 32 to 34, which C libraries use
// inside, Go does not pass on.
func relayedSignals() (list []os.Signal) {
	for s := unix.Signal(1); s <= 64; s++ {
		switch s {
		case unix.SIGCHLD, unix.SIGURG, unix.SIGPIPE, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU,
			unix.SIGKILL, unix.SIGSTOP, unix.SIGPROF, 32, 33, 34:
			continue
		}
		list = append(list, s)
	}
	return list
}

// take handles one signal.
func (s *signals) take(sig unix.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cancels := false
	for _, c := range cancelling {
		cancels = cancels || c == sig && !s.ignored[sig]
	}
	switch {
	case s.phase == phaseFree && cancels:
		// The command may hang where no signal reaches it: in a bundle that is a FIFO, or on a dead file system.
		os.Exit(s.g.finish(interrupted(sig)))
	case s.phase == phaseMaking && cancels:
		s.note(sig)
	case s.phase != phaseRelay:
		s.early = append(s.early, sig)
	default:
		s.pass(sig)
		if s.hook && cancels {
			s.note(sig)
		}
	}
}

// note wakes the step that waits.
func (s *signals) note(sig unix.Signal) {
	if s.by == 0 {
		s.by = sig
	}
	unix.Write(s.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

func (s *signals) pass(sig unix.Signal) {
	if sig == unix.SIGWINCH && s.t != nil {
		s.t.resize()
		return
	}
	unix.Kill(s.pid, sig)
}

// begin is called right before the first thing is made that must be undone.
func (s *signals) begin() (err error) {
	if s == nil {
		return nil
	}
	<-s.taken
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == phaseFree {
		s.phase = phaseMaking
		if s.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
			return os.NewSyscallError("eventfd", err)
		}
	}
	return nil
}

// cancelled is the error of a command that a signal has cancelled, or nil.
func (s *signals) cancelled() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == 0 {
		return nil
	}
	return interrupted(s.by)
}

func interrupted(sig unix.Signal) error {
	return exitError{code: 128 + int(sig), err: fmt.Errorf("interrupted by signal %d (%v)", sig, sig)}
}

// forProcess says whose the signals are from settle on, and whose window follows ours.
func (s *signals) forProcess(pid int, t *terminal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pid, s.t = pid, t
}

// settle ends the time in which a signal cancels, if there is a process to pass it on to.
func (s *signals) settle() error {
	if err := s.cancelled(); err != nil || s == nil {
		return err
	}
	<-s.all
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by != 0 {
		return interrupted(s.by)
	}
	if s.pid != 0 {
		s.relayLocked()
	}
	return nil
}

// relay passes signals on to a process that is there already.
func (s *signals) relay(pid int, t *terminal) {
	<-s.all
	s.forProcess(pid, t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by != 0 {
		s.early = append(s.early, s.by)
	}
	s.relayLocked()
}

func (s *signals) relayLocked() {
	s.phase = phaseRelay
	for _, sig := range s.early {
		s.pass(sig)
	}
	s.early = nil
}

// end is called when what follows may be cut short anywhere.
func (s *signals) end() {
	if s != nil {
		s.mu.Lock()
		s.phase = phaseFree
		s.mu.Unlock()
	}
}

// await waits for a descriptor to become readable, or to be hung up. It says
// whether that came before the deadline (the zero time: there is none); a
// signal that cancels is an error.
func (s *signals) await(deadline time.Time, fd int) (ready bool, err error) {
	if s == nil || s.stop < 0 {
		return deadline.IsZero() || pollUntil(deadline, fd) >= 0, nil
	}
	switch pollUntil(deadline, s.stop, fd) {
	case s.stop:
		return false, s.cancelled()
	case fd:
		return true, nil
	}
	return false, nil
}

// answered: a signal that has cancelled a command ends no hook of the rollback;
// the next one does.
func (s *signals) answered() {
	if s != nil && s.stop >= 0 {
		var count [8]byte
		unix.Read(s.stop, count[:]) // EAGAIN: none is due
	}
}

// endHook has a signal that is passed on to the process end a hook, too, until
// the result is called.
func (s *signals) endHook() (done func()) {
	if s == nil || s.stop < 0 {
		return func() {}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.hook = false
	}
}

// awaitEnd is await for the end of a process that we have started. It is not
// reaped.
func (s *signals) awaitEnd(deadline time.Time, pid int) (ended bool, err error) {
	if s == nil && deadline.IsZero() {
		return true, nil // the caller's wait is as good
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return true, nil
	}
	defer unix.Close(fd)
	return s.await(deadline, fd)
}
