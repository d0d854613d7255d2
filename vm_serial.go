// A guest's serial line, read along.
//
// Contract: bounded memory whatever the guest sends, no allocation, and nothing is ever changed in
// what passes.

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
	spoke       bool  // something came that is not the loader's: the kernel runs
	exception   bool  // the kernel's line of a processor's exception came: "[...][ERROR ...] Page fault (#PF)!"

	mark   []byte // a part of a line to wait for, empty: none
	marked bool   // it came

	loader loaderTurn
	n      int // bytes of line; more than fit make a line that does not matter
	line   [maxConsoleLine]byte
}

// resume is how a guest goes on that has spoken elsewhere; said, in hexadecimal, is the line it was in.
func (w *serialWatch) resume(said string) {
	w.loader.over, w.spoke = true, true
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
				w.loader.take(plainLine(w.line[:])) // its beginning says whose it is
			}
			w.n = 0
		case w.n < len(w.line):
			w.line[w.n] = c
			w.n++
		default:
			w.n = len(w.line) + 1
		}
		if !w.spoke {
			w.spoke = w.heard()
		}
	}
}

// heard says whether what has come so far includes something that is not the loader's, if only half a line.
func (w *serialWatch) heard() bool {
	loader, sure := w.loader.begins(w.line[:min(w.n, len(w.line))])
	return w.n > 0 && sure && !loader
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
	if !w.loader.over && bytes.HasPrefix(line, []byte("[LOADER] panicked")) {
		w.loaderPanic = true
	}
	loader := w.loader.take(line)
	w.exception = w.exception || !loader && isException(line)
	if line[0] == '[' && !loader {
		for i := 1; i < len(line) && i < 32; i++ { // "[0][PANIC]", before 0.6.8 "[0][!!!PANIC!!!]"
			if _, ok := cutBytes(line[i:], "PANIC"); ok {
				w.kernelPanic = true
			}
		}
	}
}

// isException says whether a line is the kernel's first one about an exception that ends a task: an error
// of its log, such as "[0.5][0][ERROR mm] Page fault (#PF)!", "... Divide Error (#DE) Exception: ...", "... Exception 31".
func isException(line []byte) bool {
	failed := false
	for len(line) > 0 && line[0] == '[' {
		end := bytes.IndexByte(line, ']')
		if end < 0 {
			return false
		}
		failed = failed || bytes.HasPrefix(line[1:end], []byte("ERROR"))
		line = bytes.TrimLeft(line[end+1:], " ")
	}
	if !failed {
		return false
	}
	if number, ok := cutBytes(line, "Exception "); ok {
		_, ok = parseInt32(number)
		return ok
	}
	return bytes.HasPrefix(line, []byte("Page fault (#PF)!")) || bytes.Contains(line, []byte(") Exception: "))
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
