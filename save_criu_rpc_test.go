package main

import (
	"reflect"
	"strings"
	"testing"
)

// What criu 3.17.1 sent, and what would be damage.
func TestCriuAnswer(t *testing.T) {
	for _, c := range []struct {
		name, msg string
		want      *criuAnswer
	}{
		{"notification", "\x08\x06\x10\x01\x2a\x15\x0a\x10setup-namespaces\x10\xad\x02", &criuAnswer{kind: criuNotify, success: true, script: "setup-namespaces", pid: 301}},
		{"restored", "\x08\x02\x10\x01\x22\x02\x08\x07", &criuAnswer{kind: criuRestore, success: true, pid: 7}},
		{"failed", "\x08\x01\x10\x00\x38\x16\x4a\x02no", &criuAnswer{kind: criuDump, message: "no"}},
		{"empty", "", &criuAnswer{}},
		{"cut off", "\x08", nil},
		{"longer than it is", "\x2a\x16\x0a", nil},
		{"longer inside", "\x2a\x03\x0a\x10x", nil},
		{"a number without end", "\x08" + strings.Repeat("\xff", 11), nil},
		{"of fixed size", "\x0d1234", nil},
	} {
		a, err := readCriuAnswer([]byte(c.msg))
		if (err == nil) != (c.want != nil) || !reflect.DeepEqual(a, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", c.name, a, err, c.want)
		}
	}
}

func TestCriuWords(t *testing.T) {
	for message, want := range map[string]string{
		"(00.068922) Error (criu/util.c:1040): Unable to mount x: Invalid argument\n": "Unable to mount x: Invalid argument",
		"Error (criu/image.c:582): one\nError (criu/cr-service.c:355): two\n":         "one",
		"no more than words": "no more than words",
	} {
		if have := criuWords(message); have != want {
			t.Errorf("%q gives %q, want %q", message, have, want)
		}
	}
}

func FuzzCriuAnswer(f *testing.F) {
	f.Add([]byte("\x08\x06\x10\x01\x2a\x15\x0a\x10setup-namespaces\x10\xad\x02"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		if a, err := readCriuAnswer(msg); (a == nil) == (err == nil) {
			t.Errorf("%v and %v", a, err)
		}
	})
}
