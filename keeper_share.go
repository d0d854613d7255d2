// The keeper's side of virtiofsd: it hears when that ends, and what it complains about.
//
// virtiofsd ends by itself, with status 0, when QEMU closes their socket; a little before QEMU's own end is
// seen. Any other end takes the guest's files away under its feet: that ends the machine.

package main

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"
)

// errorLines is a stderr that goes to the log, line by line and not without end. The last complaint is kept
// whether or not it was logged: it can be the reason of an end.
type errorLines struct {
	fd     int // -1: closed
	line   [256]byte
	length int
	logged int // bytes of it in the log
	last   [256]byte
	kept   int // bytes of last
}

// keep takes a line for the last complaint.
func (e *errorLines) keep(line []byte) { e.kept = copy(e.last[:], line) }

// text is the last complaint, "" for none.
func (e *errorLines) text() string { return plainError(e.last[:e.kept]) }

// isRemark says whether a line of QEMU's is no complaint: QEMU prints "PROGRAM: warning: ..." and "info: ..."
// (warn_report, info_report) and goes on.
func isRemark(line []byte) bool {
	for _, mark := range [...]string{"warning: ", "info: "} {
		if i := bytes.Index(line, []byte(mark)); i == 0 || i > 1 && line[i-1] == ' ' && line[i-2] == ':' {
			return true
		}
	}
	return false
}

// read passes on what has come. ended says that no more will.
func (e *errorLines) read(ended bool, show func(line []byte)) {
	var b [256]byte
	n, err := unix.Read(e.fd, b[:])
	switch {
	case err == unix.EINTR || err == unix.EAGAIN && !ended:
		return
	case err != nil || n == 0:
		unix.Close(e.fd)
		e.fd = -1
		n = 0
		if e.length > 0 {
			b[0], n = '\n', 1
		}
	}
	for _, c := range b[:n] {
		switch {
		case c == '\n':
			if e.length > 0 {
				if !isRemark(e.line[:e.length]) {
					e.keep(e.line[:e.length])
				}
				if e.logged += e.length; e.logged < maxKeeperLog {
					show(e.line[:e.length])
				}
			}
			e.length = 0
		case e.length < len(e.line):
			e.line[e.length] = c
			e.length++
		}
	}
}

// showShare logs a line of virtiofsd's. Most are no complaints.
func (k *keeper) showShare(line []byte) { k.logf(levelInfo, "virtiofsd: "+plainError(line)) }

// reapShare takes virtiofsd's exit status.
func (k *keeper) reapShare() {
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PIDFD, k.share, &info, unix.WEXITED|unix.WNOHANG, nil); err != nil || siginfoPid(&info) == 0 {
		if err != unix.ECHILD {
			return
		}
	}
	unix.Close(k.share)
	k.share = -1
	k.unguard()
	for k.shareErrors.fd >= 0 {
		k.shareErrors.read(true, k.showShare)
	}
	status := siginfoStatus(&info)
	if k.vmmGone || k.quit || info.Code == 1 && status == 0 { // CLD_EXITED
		return
	}
	how := "was ended by signal "
	if info.Code == 1 {
		how = "ended with status "
	}
	k.end.share = "virtiofsd " + how + strconv.Itoa(status) + ", the guest has lost its files"
	if says := k.shareErrors.text(); says != "" {
		k.end.share += ": " + says
	}
	k.pressing = true // no use in asking the guest
	k.endVM()
}
