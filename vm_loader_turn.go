// The loader's turn on the serial line: this file tells what a loader prints from what comes after it, and leaves
// it out of the output where the user asks for that (quiet = all).
//
// Contract: bounded memory, no allocation, and not a byte of anybody else's is left out.
//
// The loader's turn begins with the first byte and ends behind "Entering kernel", its last line; a line that
// cannot be the loader's ends it at once. Its lines begin with "[LOADER]", except for those of a value that it
// prints over several lines: these are indented, up to the bracket that closes the value.

package main

import "bytes"

// loaderTurn is how far the loader has come.
type loaderTurn struct {
	over  bool // nothing of what comes now is the loader's
	began bool // it has printed a line
	value bool // inside a value of several lines
}

// take judges a whole line, without colours, and says whether it is the loader's. An empty line ends no turn.
func (t *loaderTurn) take(line []byte) bool {
	if t.over || len(line) == 0 {
		return !t.over && t.began
	}
	switch said, loader := cutBytes(line, "[LOADER]"); {
	case loader:
		t.began, t.value = true, opensValue(line[len(line)-1])
		// Loaders up to 0.4 say the other.
		t.over = bytes.Contains(said, []byte("] Entering kernel")) || bytes.Contains(said, []byte("] Jumping to HermitCore Application"))
		return true
	case t.value && inValue(line[0]):
		t.value = line[0] == ' '
		return true
	}
	t.over = true
	return false
}

// begins says whether a line that begins like this, colours included, is one of the loader's log, and whether that is sure.
func (t *loaderTurn) begins(b []byte) (loader, sure bool) {
	const mark = "[LOADER]["
	if t.over {
		return false, true
	}
	seen := 0
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == 0x1b: // a colour: ESC [ ... letter
			for i++; i < len(b) && (b[i] < '@' || b[i] > '~' || b[i] == '['); i++ {
			}
		case seen == 0 && t.value && inValue(b[i]):
			return true, true
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

func opensValue(c byte) bool { return c == '{' || c == '[' || c == '(' }

// inValue says whether a line that begins with c can be part of a value: Rust indents its members.
func inValue(c byte) bool { return c == ' ' || c == '}' || c == ']' || c == ')' }

// loaderHeld is how many bytes of a line loaderLines holds back at most: it must be the loader's or
// somebody else's by then. The words that end the loader's turn lie within them.
const loaderHeld = 96

// loaderLines leaves the loader's lines out of a guest's output, in colours or without. What it says of its end stays.
type loaderLines struct {
	turn loaderTurn
	drop bool // in a line of the loader's
	last byte // of that line, so far
	n    int
	held [loaderHeld]byte // the beginning of a line that may be the loader's
}

// cut returns what is left of buf[loaderHeld:], in place: the bytes before that are room for those held
// back so far.
func (l *loaderLines) cut(buf []byte) []byte {
	for at := loaderHeld; at < len(buf); at++ {
		switch c := buf[at]; {
		case l.turn.over:
			n := copy(buf[at-l.n:at], l.held[:l.n])
			l.n = 0
			return buf[at-n:]
		case l.drop && c == '\n':
			l.endLine()
		case l.drop:
			if l.n < len(l.held) {
				l.held[l.n] = c
				l.n++
			}
			if c != '\r' {
				l.last = c
			}
		case c == '\n' && l.n == 0 && l.turn.began:
			// an empty line of the loader's
		default:
			l.held[l.n] = c
			l.n++
			switch loader, sure := l.turn.begins(l.held[:l.n]); {
			case sure && loader:
				l.drop, l.last = true, c
			case sure || l.n == len(l.held):
				l.turn.over = true
				at-- // this byte is held: give it back with the others
				l.n--
			}
		}
	}
	return nil
}

// endLine: the loader's line is complete, or as much of it as is kept, and its last byte.
func (l *loaderLines) endLine() {
	line := plainLine(l.held[:l.n])
	if l.n == len(l.held) && len(line) > 0 {
		line[len(line)-1] = l.last
	}
	l.turn.take(line)
	l.n, l.drop = 0, false
}

// rest is what is still held back at the end.
func (l *loaderLines) rest() []byte {
	n := l.n
	l.n = 0
	if l.drop {
		return nil
	}
	return l.held[:n]
}
