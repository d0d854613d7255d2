// The words of JSON (RFC 8259): what base_json.go stores, and what
// it skips.

package main

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// errJSON marks a text that is no JSON at all, as against a wrong type.
var errJSON = errors.New("not JSON")

// unexpected is the syntax error at the current byte.
func (r *jsonReader) unexpected(where string) error {
	if r.pos >= len(r.text) {
		return fmt.Errorf("%w: the text ends %s", errJSON, where)
	}
	c, _ := utf8.DecodeRuneInString(r.text[r.pos:])
	return fmt.Errorf("%w: %q %s", errJSON, c, where)
}

func (r *jsonReader) space() {
	for r.pos < len(r.text) {
		switch r.text[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// next skips space and returns the byte there, 0 at the end.
func (r *jsonReader) next() byte {
	r.space()
	if r.pos == len(r.text) {
		return 0
	}
	return r.text[r.pos]
}

// take consumes c if it is next.
func (r *jsonReader) take(c byte) bool {
	if r.next() != c {
		return false
	}
	r.pos++
	return true
}

// string reads a string; r.pos is at its first quote. Without escapes the result
// is a piece of the text, and costs nothing.
func (r *jsonReader) string() (string, error) {
	r.pos++
	start := r.pos
	for r.pos < len(r.text) {
		switch c := r.text[r.pos]; {
		case c == '"':
			s := r.text[start:r.pos]
			r.pos++
			if !utf8.ValidString(s) {
				// Byte by byte, as encoding/json does it.
				s = string([]rune(s))
			}
			return s, nil
		case c == '\\':
			return r.escaped(start)
		case c < ' ':
			return "", r.unexpected("in a string")
		}
		r.pos++
	}
	return "", r.unexpected("in a string")
}

// escaped goes on with a string that began at start and has an escape at r.pos.
func (r *jsonReader) escaped(start int) (string, error) {
	b := []byte(string([]rune(r.text[start:r.pos])))
	for r.pos < len(r.text) {
		c, size := utf8.DecodeRuneInString(r.text[r.pos:])
		switch {
		case c == '"':
			r.pos++
			return string(b), nil
		case c == '\\':
			c, err := r.escape()
			if err != nil {
				return "", err
			}
			b = utf8.AppendRune(b, c)
			continue
		case c < ' ':
			return "", r.unexpected("in a string")
		}
		b = utf8.AppendRune(b, c)
		r.pos += size
	}
	return "", r.unexpected("in a string")
}

func (r *jsonReader) escape() (rune, error) {
	r.pos++
	if r.pos == len(r.text) {
		return 0, r.unexpected("in a string")
	}
	c := r.text[r.pos]
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		r.pos++
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	first, ok := r.hex(r.pos)
	if !ok {
		return 0, r.unexpected("after \\ in a string")
	}
	r.pos += 5
	if utf16.IsSurrogate(first) && strings.HasPrefix(r.text[r.pos:], `\`) {
		if second, ok := r.hex(r.pos + 1); ok {
			if both := utf16.DecodeRune(first, second); both != utf8.RuneError {
				r.pos += 6
				return both, nil
			}
		}
	}
	if utf16.IsSurrogate(first) {
		return utf8.RuneError, nil
	}
	return first, nil
}

// hex reads uXXXX at pos.
func (r *jsonReader) hex(pos int) (rune, bool) {
	if pos+5 > len(r.text) || r.text[pos] != 'u' {
		return 0, false
	}
	for _, c := range []byte(r.text[pos+1 : pos+5]) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
			return 0, false
		}
	}
	n, _ := strconv.ParseUint(r.text[pos+1:pos+5], 16, 16)
	return rune(n), true
}

func (r *jsonReader) skipNumber() error {
	digits := func() bool {
		start := r.pos
		for r.pos < len(r.text) && r.text[r.pos] >= '0' && r.text[r.pos] <= '9' {
			r.pos++
		}
		return r.pos > start
	}
	at := func(set string) bool { return r.pos < len(r.text) && strings.IndexByte(set, r.text[r.pos]) >= 0 }
	if at("-") {
		r.pos++
	}
	if at("0") {
		r.pos++ // nothing may follow a leading zero
	} else if !digits() {
		return r.unexpected("in a number")
	}
	if at(".") {
		if r.pos++; !digits() {
			return r.unexpected("in a number")
		}
	}
	if at("eE") {
		if r.pos++; at("+-") {
			r.pos++
		}
		if !digits() {
			return r.unexpected("in a number")
		}
	}
	return nil
}

func (r *jsonReader) word(w string) error {
	for i := range len(w) {
		if r.pos == len(r.text) || r.text[r.pos] != w[i] {
			return r.unexpected("in " + w)
		}
		r.pos++
	}
	return nil
}

// skip reads a value that nobody wants; c is its first byte.
func (r *jsonReader) skip(c byte) error {
	switch {
	case c == '{':
		return r.object(func(string) error { return r.value(reflect.Value{}) })
	case c == '[':
		return r.array(func(int) error { return r.value(reflect.Value{}) })
	case c == '"':
		_, err := r.string()
		return err
	case c == 't':
		return r.word("true")
	case c == 'f':
		return r.word("false")
	case c == '-' || c >= '0' && c <= '9':
		return r.skipNumber()
	}
	return r.unexpected("where a value is wanted")
}
