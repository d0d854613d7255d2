// serial.go reads along with a guest's serial line. Contract: bounded memory whatever the guest sends,
// no allocation, and nothing is ever changed in what passes.

package main

import (
	"bytes"
	"encoding/hex"
)

// serialWatch knows what the guest has said so far that matters for its end.
type serialWatch struct {
	output      bool  // anything at all
	hasStatus   bool  // a line "exit status N" came; the last one counts
	exitStatus  int32 // its N
	kernelPanic bool  // a line such as "[0][PANIC] ..." came
	loaderPanic bool  // the loader gave up, and spins from now on

	mark   []byte // a part of a line to wait for, empty: none
	marked bool   // it came

	pastLoader bool // a line came that is not the loader's
	n          int  // bytes of line; more than fit make a line that does not matter
	line       [160]byte
}

// resume is how a guest goes on that has spoken elsewhere; said, in hexadecimal, is the line it was in.
func (w *serialWatch) resume(said string) {
	w.pastLoader = true
	line, _ := hex.DecodeString(said)
	w.n = copy(w.line[:], line)
}

// feed takes the next bytes of the line.
func (w *serialWatch) feed(b []byte) {
	w.output = w.output || len(b) > 0
	for _, c := range b {
		switch {
		case c == '\n':
			if w.n <= len(w.line) {
				w.take(w.line[:w.n])
			} else {
				w.pastLoader = true
			}
			w.n = 0
		case w.n < len(w.line):
			w.line[w.n] = c
			w.n++
		default:
			w.n = len(w.line) + 1
		}
	}
}

// take judges one whole line.
func (w *serialWatch) take(line []byte) {
	line = plainLine(line)
	w.marked = w.marked || len(w.mark) > 0 && bytes.Contains(line, w.mark)
	if after, ok := cutBytes(line, "exit status "); ok {
		if n, ok := parseInt32(after); ok {
			w.hasStatus, w.exitStatus = true, n
		}
	}
	if len(line) == 0 {
		return
	}
	// Only before anybody else has spoken: an application that repeats its users' words must not be
	// taken for the loader.
	after, loader := cutBytes(line, "[LOADER]")
	if loader && !w.pastLoader {
		if _, ok := cutBytes(after, " panicked"); ok {
			w.loaderPanic = true
		}
	}
	w.pastLoader = w.pastLoader || !loader
	if line[0] == '[' && !loader {
		for i := 1; i < len(line) && i < 32; i++ { // "[0][PANIC]", before 0.6.8 "[0][!!!PANIC!!!]"
			if _, ok := cutBytes(line[i:], "PANIC"); ok {
				w.kernelPanic = true
			}
		}
	}
}

// plainLine takes carriage returns off the end and terminal colours (ECMA-48 CSI sequences) out, in place.
func plainLine(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == '\r' {
		b = b[:len(b)-1]
	}
	out := b[:0]
	for i := 0; i < len(b); i++ {
		if b[i] != 0x1b || i+1 >= len(b) || b[i+1] != '[' {
			out = append(out, b[i])
			continue
		}
		for i += 2; i < len(b) && (b[i] < 0x40 || b[i] > 0x7e); i++ {
		}
	}
	return out
}

func cutBytes(b []byte, prefix string) ([]byte, bool) {
	if len(b) < len(prefix) || string(b[:len(prefix)]) != prefix {
		return b, false
	}
	return b[len(prefix):], true
}

// parseInt32 takes what Rust prints for an i32, and nothing else.
func parseInt32(b []byte) (int32, bool) {
	b, negative := cutBytes(b, "-")
	if len(b) == 0 || len(b) > 10 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return int32(n), int64(int32(n)) == n
}

// loaderHeld is how many bytes of a line loaderLines holds back at most: it must be the loader's or
// somebody else's by then.
const loaderHeld = 64

// loaderLines leaves the loader's lines out of a guest's output, "[LOADER][INFO] ..." in colours or
// without, up to the first line that is somebody else's. What it says of its end stays.
type loaderLines struct {
	past bool // the loader has had its say
	drop bool // in a line of the loader's
	n    int
	held [loaderHeld]byte // the beginning of a line that may be the loader's
}

// cut returns what is left of buf[loaderHeld:], in place: the bytes before that are room for those held
// back so far.
func (l *loaderLines) cut(buf []byte) []byte {
	for at := loaderHeld; at < len(buf); at++ {
		switch c := buf[at]; {
		case l.past:
			n := copy(buf[at-l.n:at], l.held[:l.n])
			l.n = 0
			return buf[at-n:]
		case l.drop:
			l.drop = c != '\n'
		default:
			l.held[l.n] = c
			l.n++
			switch loader, sure := loadersLine(l.held[:l.n]); {
			case sure && loader:
				l.n, l.drop = 0, c != '\n'
			case sure || l.n == len(l.held):
				l.past = true
				at-- // this byte is held: give it back with the others
				l.n--
			}
		}
	}
	return nil
}

// rest is what is still held back at the end.
func (l *loaderLines) rest() []byte {
	n := l.n
	l.n = 0
	return l.held[:n]
}

// loadersLine says whether a line that begins like this is one to leave out, and whether that is sure.
func loadersLine(b []byte) (loader, sure bool) {
	const mark = "[LOADER]["
	seen := 0
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == 0x1b: // a colour: ESC [ ... letter
			for i++; i < len(b) && (b[i] < '@' || b[i] > '~' || b[i] == '['); i++ {
			}
		case b[i] != mark[seen]:
			return false, true
		default:
			if seen++; seen == len(mark) {
				return true, true
			}
		}
	}
	return false, false
}
