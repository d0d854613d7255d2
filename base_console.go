// Terminals, from the host's side: runh hands the master to a listener (--console-socket), or serves it itself
// (run and exec, attached).

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// sendMaster gives a terminal's master to the listener at path: one message
// with the terminal's name and the descriptor.
func sendMaster(signals *signals, path string, master int) error {
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return fmt.Errorf("console socket: the terminal has no number: %w", err)
	}
	return sendFD(signals, "console socket", path, fmt.Sprintf("/dev/pts/%d", n), master)
}

// sendPidfd gives a descriptor of the init to the listener at path.
func sendPidfd(signals *signals, path string, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	return sendFD(signals, "pidfd socket", path, "pidfd", fd)
}

// sendFD waits for a listener whose queue is full, unless a signal cancels that.
func sendFD(signals *signals, what, path, name string, fd int) error {
	const longest = 107 // sun_path, unix(7)
	if len(path) > longest {
		return fmt.Errorf("%s %s: the path has %d bytes, a socket's has at most %d", what, path, len(path), longest)
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	patience := unix.NsecToTimeval(int64(100 * time.Millisecond))
	err = unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience)
	if err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	for err = unix.EAGAIN; err == unix.EAGAIN || err == unix.EINTR; {
		if cancelled := signals.cancelled(); cancelled != nil {
			return cancelled
		}
		err = unix.Connect(s, &unix.SockaddrUnix{Name: path})
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, path, os.NewSyscallError("connect", err))
	}
	if err := unix.Sendmsg(s, []byte(name), unix.UnixRights(fd), nil, 0); err != nil {
		return fmt.Errorf("%s %s: %w", what, path, os.NewSyscallError("sendmsg", err))
	}
	return nil
}

// checkConsole: a terminal needs somebody who has its other end.
func checkConsole(terminal, detached bool, socket string) error {
	switch {
	case terminal && detached && socket == "":
		return errors.New("cannot allocate tty if runh will detach without setting console socket")
	case socket != "" && !(terminal && detached):
		return errors.New("cannot use console socket if runh will not detach or allocate tty")
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

// rawTermios is a terminal's mode in which each byte of input passes as it is: cfmakeraw(3), but for the output.
func rawTermios(t unix.Termios) unix.Termios {
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return t
}

// attachTerminal starts copying both ways.
func attachTerminal(master int) *terminal {
	t := &terminal{master: os.NewFile(uintptr(master), "terminal"), output: make(chan struct{})}
	if old, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
		t.saved = old
		raw := rawTermios(*old)
		raw.Oflag |= unix.OPOST // the container's newlines still begin a new line here
		raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
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
