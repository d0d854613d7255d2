// The bytes that pass through the keeper: from the guest's serial line to the
// container's stdout, and from its stdin to the serial line.
//
// Contract: unchanged, in order and without loss; a reader that stops
// reading holds up the guest, and nothing else.

package main

import (
	"golang.org/x/sys/unix"
)

// readSerial takes what the guest sent and passes it on at once.
func (k *keeper) readSerial() {
	n, err := unix.Read(k.serialOut, k.outBuf[loaderHeld:])
	switch {
	case err == unix.EINTR || err == unix.EAGAIN && !k.vmmGone:
		return
	case err != nil || n == 0: // after QEMU's end, EAGAIN too: nobody else will write
		unix.Close(k.serialOut)
		k.serialOut = -1
		k.out = k.loader.rest()
		return
	}
	got := k.outBuf[loaderHeld : loaderHeld+n]
	k.end.feed(got)
	k.printed += uint64(len(got))
	k.heed()
	k.atPoint()
	if k.noLoader {
		got = k.loader.cut(k.outBuf[:loaderHeld+n])
	}
	if k.end.loaderPanic && !k.quit && k.deadline == 0 {
		k.deadline = monotonicMS() + keeperPanicDelay
	}
	if k.stdout {
		k.out = got
		k.writeStdout()
	}
}

// writeStdout writes what it can without waiting: a reader that has stopped reading must not keep us
// from hearing a signal. The descriptor's own mode is not ours to change, so a pipe is asked first,
// and gets no more than fits (pipe(7): a page, when it is writable).
func (k *keeper) writeStdout() {
	for len(k.out) > 0 {
		b := k.out
		var n int
		var err error
		switch k.outKind {
		case 'p':
			set := [1]unix.PollFd{{Fd: 1, Events: unix.POLLOUT}}
			if r, err := unix.Poll(set[:], 0); r == 0 || err != nil {
				return
			}
			n, err = unix.Write(1, b[:min(len(b), 4096)])
		case 's':
			n, err = unix.SendmsgN(1, b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		default:
			n, err = unix.Write(1, b)
		}
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return
		case err != nil: // nobody reads any more, now or ever
			k.stdout, k.out = false, nil
		default:
			k.out = b[n:]
		}
	}
	k.out = nil
}

func (k *keeper) readStdin() {
	n, err := unix.Read(0, k.inBuf[:])
	switch {
	case err == unix.EINTR || err == unix.EAGAIN:
	case err != nil || n == 0:
		k.stdin = false // a serial line has no end of file: the guest is not told
	default:
		k.in = k.inBuf[:n]
		k.writeSerial()
	}
}

// writeSerial: QEMU takes bytes as the guest does, so here they may have to wait.
func (k *keeper) writeSerial() {
	n, err := unix.Write(k.serialIn, k.in)
	switch {
	case err == unix.EINTR || err == unix.EAGAIN:
	case err != nil:
		unix.Close(k.serialIn)
		k.serialIn, k.in, k.stdin = -1, nil, false
	default:
		k.in = k.in[n:]
	}
}
