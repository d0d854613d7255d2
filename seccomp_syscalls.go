// System call numbers by name. The table costs nothing until it is asked: it is searched where it lies in the
// binary, and never parsed whole.

package main

import (
	_ "embed"
	"strings"
)

// seccompNumbers has a line for each system call: its name and its number on each ABI, written by testdata/seccomp/gentbl.go.
// It is searched where it lies.
//
//go:embed syscalls.tbl
var seccompNumbers string

// seccompLine holds the columns of a line of the table: 1 to 5 the ABIs' numbers, 6 the i386 call that carries this one, 7 its
// sub-call there; -1 is none. Column 0, the name, is not kept.
type seccompLine [8]int32

// seccompTable remembers where the last search ended: profiles list most names in order.
type seccompTable struct{ at int }

// find returns the named call's line. All columns of an unknown name are -1.
func (t *seccompTable) find(name string) seccompLine {
	near := t.at
	for lo, hi := 0, len(seccompNumbers); lo < hi; {
		start := near
		if near < lo || near >= hi {
			mid := (lo + hi) / 2
			start = lo + strings.LastIndexByte(seccompNumbers[lo:mid], '\n') + 1
		}
		space := start + strings.IndexByte(seccompNumbers[start:], ' ')
		order := strings.Compare(seccompNumbers[start:space], name)
		if order == 0 {
			line, end := seccompParse(space)
			t.at = end
			return line
		}
		end := space + strings.IndexByte(seccompNumbers[space:], '\n') + 1
		switch {
		case order > 0:
			hi, near = start, -1
		case near >= 0 && near < t.at+120: // a few lines more, then by halves
			lo, near = end, end
		default:
			lo, near = end, -1
		}
	}
	return seccompLine{-1, -1, -1, -1, -1, -1, -1, -1}
}

// seccompParse reads the columns behind a name, which ends at the given place, and tells where the next line starts.
func seccompParse(at int) (line seccompLine, next int) {
	line = seccompLine{-1, -1, -1, -1, -1, -1, -1, -1}
	column := 0
	for ; seccompNumbers[at] != '\n'; at++ {
		switch c := seccompNumbers[at]; {
		case c == ' ':
			column++
		case c == '-':
		case line[column] < 0:
			line[column] = int32(c - '0')
		default:
			line[column] = line[column]*10 + int32(c-'0')
		}
	}
	return line, at + 1
}
