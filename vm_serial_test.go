package main

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func serialWatched(chunks ...string) *serialWatch {
	w := &serialWatch{}
	for _, c := range chunks {
		w.feed([]byte(c))
	}
	return w
}

func TestSerialWatch(t *testing.T) {
	burst := strings.Repeat("x", 1<<20)
	for _, tt := range []struct {
		name   string
		chunks []string
		status string // "" for none
		panics string // "k"ernel, "l"oader
	}{
		{"plain", []string{"exit status 7\n"}, "7", ""},
		{"split", []string{"ex", "it status", " -1", "2\n"}, "-12", ""},
		{"byte by byte", strings.Split("a\nexit status 3\n", ""), "3", ""},
		{"the last counts", []string{"exit status 1\nexit status 2\n"}, "2", ""},
		{"CR", []string{"exit status 4\r\n"}, "4", ""},
		{"colours", []string{"\x1b[0m\x1b[32;1mexit status 5\x1b[0m\n"}, "5", ""},
		{"cut colour", []string{"exit status 5\x1b[3\n"}, "5", ""},
		{"not at the start", []string{"my exit status 1\n"}, "", ""},
		{"indented", []string{" exit status 1\n"}, "", ""},
		{"more on the line", []string{"exit status 1 or 2\n"}, "", ""},
		{"no number", []string{"exit status \nexit status -\nexit status +1\nexit status 0x1\n"}, "", ""},
		{"no i32", []string{"exit status 2147483648\nexit status 99999999999999999999\n"}, "", ""},
		{"the limits", []string{"exit status 2147483647\nexit status -2147483648\n"}, "-2147483648", ""},
		{"unfinished", []string{"exit status 1"}, "", ""},
		{"after a burst", []string{burst, "exit status 1\n", "exit status 2\n"}, "2", ""},
		{"burst only", []string{burst}, "", ""},
		{"exactly full", []string{strings.Repeat("x", 160) + "\nexit status 6\n"}, "6", ""},
		{"a colour too many", []string{strings.Repeat("\x1b[0m", 50) + "exit status 6\n"}, "", ""},
		{"kernel panic", []string{"[0][PANIC] panicked at src/x.rs\n"}, "", "k"},
		{"old kernel panic", []string{"[1][!!!PANIC!!!] x\n"}, "", "k"},
		{"the word alone", []string{"PANIC\n[0][INFO] much later in the line comes a PANIC\n"}, "", ""},
		{"loader panic", []string{"[LOADER][INFO] x\n[LOADER] panicked at src/x.rs:1:2:\nmessage\n"}, "", "l"},
		{"coloured loader panic", []string{"\x1b[31m[LOADER][ERROR]\x1b[0m x\n\n[LOADER] panicked at\n"}, "", "l"},
		{"an application's words", []string{"[LOADER][INFO] x\nhello\n[LOADER] panicked at src/x.rs\n"}, "", ""},
		{"an application's long words", []string{"[LOADER][INFO] x\n" + burst + "\n[LOADER] panicked at src/x.rs\n"}, "", ""},
		{"loader panic behind a long line", []string{"[LOADER][INFO] " + burst + "\n[LOADER] panicked at src/x.rs:1:2:\n"}, "", "l"},
		{"loader panic behind a dump", []string{"[LOADER][INFO] boot_info = BootInfo {\n    a: Some(\n        0x1,\n    ),\n}\n[LOADER] panicked at src/x.rs:1:2:\n"}, "", "l"},
		{"behind the loader's last line", []string{"[LOADER][INFO] Entering kernel at 0x1\n[LOADER] panicked at src/x.rs:1:2:\n"}, "", ""},
		{"a dump that is none", []string{"[LOADER][INFO] x\n    a: 1\n[LOADER] panicked at src/x.rs:1:2:\n"}, "", ""},
	} {
		w := serialWatched(tt.chunks...)
		status, panics := "", ""
		if w.hasStatus {
			status = strconv.Itoa(int(w.exitStatus))
		}
		if w.kernelPanic {
			panics += "k"
		}
		if w.loaderPanic {
			panics += "l"
		}
		if status != tt.status || panics != tt.panics || !w.output {
			t.Errorf("%s: status %q, panics %q", tt.name, status, panics)
		}
	}
	if serialWatched().output || serialWatched("").output {
		t.Error("output out of nothing")
	}
	if n := testing.AllocsPerRun(10, func() { w := serialWatch{}; w.feed([]byte("exit status 1\n[0][PANIC]\n")) }); n > 1 {
		t.Errorf("%v allocations", n) // the test's own
	}
}

// A second opinion, with memory and regular expressions.
func FuzzSerialWatch(f *testing.F) {
	f.Add([]byte("exit status 1\nexit status -7\r\n"), 3)
	f.Add([]byte("[LOADER] panicked\n"), 1)
	f.Add([]byte("\x1b[0mexit status 1\x1b[0m\n"), 2)
	csi := regexp.MustCompile("\x1b\\[[^@-~]*[@-~]?")
	line := regexp.MustCompile(`^exit status (-?[0-9]{1,10})$`)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		w := &serialWatch{}
		for rest := data; len(rest) > 0; {
			n := min(max(step, 1), len(rest))
			w.feed(rest[:n])
			rest = rest[n:]
		}
		has, status, over, value, loaderPanic := false, int64(0), false, false, false
		for l := range bytes.Lines(data) {
			l, whole := bytes.CutSuffix(l, []byte("\n"))
			if !whole {
				break
			}
			long := len(l) > 160
			l = csi.ReplaceAll(bytes.TrimRight(l[:min(len(l), 160)], "\r"), nil)
			if m := line.FindSubmatch(l); m != nil && !long {
				if n, err := strconv.ParseInt(string(m[1]), 10, 32); err == nil {
					has, status = true, n
				}
			}
			if bytes.HasPrefix(l, []byte("[LOADER] panicked")) && !over && !long {
				loaderPanic = true
			}
			switch {
			case len(l) == 0 || over:
			case bytes.HasPrefix(l, []byte("[LOADER]")):
				value = bytes.ContainsAny(l[len(l)-1:], "{[(")
				over = bytes.Contains(l, []byte("] Entering kernel")) || bytes.Contains(l, []byte("] Jumping to HermitCore Application"))
			case value && bytes.ContainsAny(l[:1], " }])"):
				value = l[0] == ' '
			default:
				over = true
			}
		}
		if w.hasStatus != has || has && int64(w.exitStatus) != status || w.loaderPanic != loaderPanic {
			t.Errorf("%v %d %v, want %v %d %v", w.hasStatus, w.exitStatus, w.loaderPanic, has, status, loaderPanic)
		}
	})
}

// What the loader says is left out, whatever pieces it comes in, and not a byte of anything else.
func TestLoaderLines(t *testing.T) {
	const dump = "[LOADER][\x1b[32mINFO\x1b[0m] boot_info = BootInfo {\n    port: Some(\n        0x3f8,\n    ),\n}\n"
	long := "[LOADER][INFO] " + strings.Repeat("a long line ", 40) + "{\n    x\n}\n"
	said := dump + long + "[LOADER][INFO] Loading\n\n\x1b[0m\x1b[32;1m[LOADER]\x1b[0m[WARN] colours\n[LOADER][INFO] " + "Entering kernel\n"
	for _, rest := range []string{
		"", "hello\n", "\n", "[", "[LOADER] panicked at src/main.rs\nwhy\n", "[LOAD", "\x1b[1mhello\n[LOADER][INFO] repeated by the application\n",
		"\x1b", "\x00\xff[LOADER][INFO]\n", " indented\n", "}\n", strings.Repeat("\x1b[0m", 40) + "x", "[0][INFO] kernel\n",
	} {
		for _, head := range []string{"", said} {
			for _, size := range []int{1, 2, 3, 7, 1000} {
				var l loaderLines
				var got []byte
				for in := []byte(head + rest); len(in) > 0; {
					n := min(size, len(in))
					got = append(got, l.cut(append(make([]byte, loaderHeld), in[:n]...))...)
					in = in[n:]
				}
				if got = append(got, l.rest()...); string(got) != rest {
					t.Errorf("of %q in pieces of %d came %q", head+rest, size, got)
				}
			}
		}
	}
}

// The words of a kernel's report, in the forms of its log, and others' words.
func TestExceptionLine(t *testing.T) {
	for line, want := range map[string]bool{
		"[    1.234567][0][ERROR mm::paging] Page fault (#PF)!":                             true,
		"[1.2][3][\x1b[31mERROR\x1b[0m interrupts] Divide Error (#DE) Exception: Frame {\r": true,
		"[0][ERROR] General Protection (#GP) Exception: InterruptStackFrame {":              true,
		"[0][ERROR] Exception 31":                    true,
		"[0][ERROR] Exception in a handler":          false,
		"[0][INFO] Page fault (#PF)!":                false,
		"Page fault (#PF)!":                          false,
		"[0][ERROR net] no lease: Page fault (#PF)!": false,
		"said: [0][ERROR] Page fault (#PF)!":         false,
		"[ERROR":                                     false,
		"":                                           false,
	} {
		if got := serialWatched("[LOADER][INFO] Entering kernel\n", line, "\n").exception; got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}
