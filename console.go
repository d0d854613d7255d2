// Terminals, from the host's side: handing the master to whoever asked for it
// (--console-socket), or serving it ourselves (run, attached).
package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// sendMaster gives a terminal's master to the listener at path: one message
// with the terminal's name and the descriptor.
func sendMaster(path string, master int) error {
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return fmt.Errorf("console socket: the terminal has no number: %w", err)
	}
	return sendFD("console socket", path, fmt.Sprintf("/dev/pts/%d", n), master)
}

// sendPidfd gives a descriptor of the init to the listener at path.
func sendPidfd(path string, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	return sendFD("pidfd socket", path, "pidfd", fd)
}

func sendFD(what, path, name string, fd int) error {
	const longest = 107 // sun_path, unix(7)
	if len(path) > longest {
		return fmt.Errorf("%s %s: the path has %d bytes, a socket's has at most %d", what, path, len(path), longest)
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	if err := unix.Connect(s, &unix.SockaddrUnix{Name: path}); err != nil {
		return fmt.Errorf("%s %s: %w", what, path, os.NewSyscallError("connect", err))
	}
	if err := unix.Sendmsg(s, []byte(name), unix.UnixRights(fd), nil, 0); err != nil {
		return fmt.Errorf("%s %s: %w", what, path, os.NewSyscallError("sendmsg", err))
	}
	return nil
}

// terminal is the attached side of a container's terminal: our own stdin and
// stdout, raw while it lasts.
type terminal struct {
	master *os.File
	saved  *unix.Termios // what our stdin was, if it is a terminal
	output chan struct{} // closed when the container's side is
}

// clearONLCR makes a terminal that runh serves pass on each newline as it is: in a pipe or a file nobody wants CR LF.
// The user's own terminal still turns it into CR LF. A terminal that goes to a console socket is left to its receiver,
// as runc leaves it. It is called before the process runs, so no output is early.
func clearONLCR(master int) error {
	t, err := unix.IoctlGetTermios(master, unix.TCGETS)
	if err == nil {
		t.Oflag &^= unix.ONLCR
		err = unix.IoctlSetTermios(master, unix.TCSETS, t)
	}
	if err != nil {
		return fmt.Errorf("set up the terminal: %w", err)
	}
	return nil
}

// attachTerminal starts copying both ways.
func attachTerminal(master int) *terminal {
	t := &terminal{master: os.NewFile(uintptr(master), "terminal"), output: make(chan struct{})}
	if old, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
		t.saved = old
		raw := *old
		// cfmakeraw(3), but for OPOST: the container's newlines still begin a new line here.
		raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
		raw.Oflag |= unix.OPOST
		raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
		raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
		unix.IoctlSetTermios(0, unix.TCSETS, &raw)
	}
	t.resize()
	go io.Copy(t.master, os.Stdin)
	go func() {
		io.Copy(os.Stdout, t.master) // ends with EIO when the last slave closes
		close(t.output)
	}()
	return t
}

// resize gives the container's terminal the size of ours: of the first of stdin, stdout and stderr that is one.
func (t *terminal) resize() {
	for fd := range 3 {
		if ws, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err == nil {
			unix.IoctlSetWinsize(int(t.master.Fd()), unix.TIOCSWINSZ, ws)
			return
		}
	}
}

// end waits for the rest of the output, and makes our stdin what it was.
func (t *terminal) end() {
	<-t.output
	if t.saved != nil {
		unix.IoctlSetTermios(0, unix.TCSETS, t.saved)
	}
}

// signalRelay passes on what is sent to us to a process. Go takes a tenth of a
// millisecond to take over a signal; that happens beside the making of the
// process, and what comes early waits for it.
type signalRelay struct {
	ch    chan os.Signal
	taken chan struct{}
}

func takeSignals() *signalRelay {
	r := &signalRelay{make(chan os.Signal, 64), make(chan struct{})}
	go func() {
		signal.Notify(r.ch, relayedSignals()...)
		close(r.taken)
	}()
	return r
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

// relay begins to pass signals on, and window changes to the terminal, if there
// is one.
func (r *signalRelay) relay(pid int, t *terminal) {
	<-r.taken
	go func() {
		for s := range r.ch {
			if s == unix.SIGWINCH && t != nil {
				t.resize()
				continue
			}
			unix.Kill(pid, s.(unix.Signal))
		}
	}()
}
