// The serial line of a Hermit guest as its user has it: on a terminal and in a pipe, and byte for byte.

package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Every byte there is, out of the guest and into it.
func TestHermitBinary(t *testing.T) {
	var all strings.Builder
	for i := range 256 {
		all.WriteByte(byte(i))
	}
	r := newHermit(t)
	if res := r.guest("app", []string{"bytes", "20"}).run(); res.code != 0 || res.out != strings.Repeat(all.String(), 20)+rtLastWords(0) {
		t.Errorf("out: exit code %d, %q", res.code, res.out)
	}
	in := strings.Repeat(all.String(), 4)
	c := r.guest("app", []string{"echo", strconv.Itoa(len(in)), ";", "exit", "4"})
	cmd := r.cmd("run", "--bundle", c.dir, c.id)
	cmd.Stdin = strings.NewReader(in)
	if res := r.doCmd(cmd); res.code != 4 || res.out != in+rtLastWords(4) {
		t.Errorf("in: exit code %d, %q", res.code, res.out)
	}
}

// `runh run` on a terminal: with terminal = raw the guest has it raw; its size is ours, and it is afterwards what it was.
func TestHermitRunTerminal(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", []string{"print", "ready", ";", "echo", "7", ";", "print", "", ";", "echo", ";", "exit", "5"}, annotated("terminal", "raw"))
	c.spec.Process.Terminal = true
	c.write()
	var out *sink
	code := r.onTerminal(r.cmd("run", "--bundle", c.dir, c.id), func(o *sink, in *os.File) {
		out = o
		r.must(unix.IoctlSetWinsize(int(in.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 111}))
		o.until("ready\r\n")
		keeper := c.state().Pid
		r.eventually("the container's terminal has our size", func() bool {
			f, err := os.OpenFile("/proc/"+strconv.Itoa(keeper)+"/fd/0", os.O_RDWR|unix.O_NOCTTY, 0)
			if err != nil {
				return false
			}
			defer f.Close()
			ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
			return err == nil && ws.Row == 40 && ws.Col == 111
		})
		in.WriteString("\x03\x1a\x1c\x11\x13\x04\x01") // each of them a terminal's own word, if it were not raw
		o.until("\x03\x1a\x1c\x11\x13\x04\x01")
		in.WriteString("typed\rquit\r")
		o.until("exit status 5\r\n")
	})
	if got := out.String(); code != 5 || strings.Count(got, "typed") != 1 {
		t.Errorf("exit code %d, %q", code, got)
	}
}

// A guest's terminal: Enter ends a line, Ctrl-C and Ctrl-\ end the machine, as they would a process; and no Ctrl-Z.
func TestHermitTerminalSignals(t *testing.T) {
	for key, want := range map[string]int{"\x03": 130, "\x1c": 131} {
		t.Run(strconv.Itoa(want), func(t *testing.T) {
			r := newHermit(t)
			c := r.guest("app-pci", []string{"print", "ready", ";", "echo", "5", ";", "echo"})
			c.spec.Process.Terminal = true
			c.write()
			var out *sink
			code := r.onTerminal(r.cmd("run", "--bundle", c.dir, c.id), func(o *sink, in *os.File) {
				out = o
				o.until("ready\r\n")
				in.WriteString("\x1ayes\r")
				o.until("\x1ayes\r\n")
				in.WriteString(key)
			})
			if code != want {
				t.Errorf("exit code %d, want %d: %q", code, want, out.String())
			}
		})
	}
}

// The kernel empties the serial port's buffer when it starts: what is on stdin before waits for it. The guest's first
// sign of life is a line, half a line, or that it waits.
func TestHermitEarlyStdin(t *testing.T) {
	for _, loader := range []string{"loader", "loader-verbose"} {
		for name, before := range map[string][]string{"line": {"print", "ready", ";"}, "half a line": {"nonl", "name: ", ";", "flush", ";"}, "nothing": nil} {
			t.Run(loader+"/"+name, func(t *testing.T) {
				r := newHermit(t)
				c := r.guest("app-pci", append(before, "echo", "19", ";", "exit", "4"), annotated("quiet", "all")).loader(loader)
				c.write()
				cmd := r.cmd("run", "--bundle", c.dir, c.id)
				cmd.Stdin = strings.NewReader("the first sixteen..")
				if res := r.doCmd(cmd); res.code != 4 || !strings.Contains(res.out, "the first sixteen..") {
					t.Errorf("exit code %d, %q", res.code, res.out)
				}
			})
		}
	}
}

// A guest whose kernel has reported an exception and idles is ended, as a process would be by SIGSEGV. The line alone ends
// nothing: a guest that goes on is left alone.
func TestHermitCrash(t *testing.T) {
	const line = "[    0.1][0][ERROR mm::paging] Page fault (#PF)!"
	t.Run("idle", func(t *testing.T) {
		r := newHermit(t)
		if res := r.guest("app-pci", []string{"pagefault"}).run(); res.code != 139 || !strings.Contains(res.out, "Page fault (#PF)!") {
			t.Errorf("exit code %d, %q", res.code, res.out)
		}
	})
	t.Run("kept", func(t *testing.T) {
		r := newHermit(t)
		c := r.guest("app", []string{"pagefault"}, annotated("crash", "keep")).create().start()
		c.out.until("}\n")
		time.Sleep((crashSettle + crashLook + 2000) * time.Millisecond)
		c.wantStatus("running")
		r.do("delete", "--force", c.id).ok()
	})
	for name, rest := range map[string][]string{"prints": {"clock", "80"}, "computes": {"spin"}} {
		t.Run("goes on and "+name, func(t *testing.T) {
			r := newHermit(t)
			c := r.guest("app", append([]string{"print", line, ";"}, rest...)).create().start()
			c.out.until("(#PF)!\n")
			time.Sleep((crashSettle + crashLook + 1500) * time.Millisecond)
			c.wantStatus("running")
			r.do("delete", "--force", c.id).ok()
		})
	}
	t.Run("paused meanwhile", func(t *testing.T) { // a machine that stands still is not idle
		r := newHermit(t)
		c := r.guest("app", []string{"print", line, ";", "spin"}).create().start()
		c.out.until("(#PF)!\n")
		r.do("pause", c.id).ok()
		time.Sleep((crashSettle + crashLook + 1500) * time.Millisecond)
		r.do("resume", c.id).ok()
		time.Sleep(1500 * time.Millisecond)
		c.wantStatus("running")
		r.do("delete", "--force", c.id).ok()
	})
}

// An open stdin that no kernel will read is worth a warning, and explain says what stdin is.
func TestHermitStdinWarning(t *testing.T) {
	r := newHermit(t)
	for image, unread := range map[string]bool{"app": true, "app-pci": false} {
		for _, open := range []bool{true, false} {
			os.Remove(r.dir + "/log")
			c := r.guest(image, []string{"hello"})
			cmd := r.cmd("--log", r.dir+"/log", "--log-level", "warn", "run", "--bundle", c.dir, c.id)
			if open {
				cmd.Stdin = strings.NewReader("")
			}
			r.doCmd(cmd).ok()
			log, err := os.ReadFile(r.dir + "/log")
			if warned := strings.Contains(string(log), "stdin: the guest does not read it"); warned != (unread && open) {
				t.Errorf("%s, open %v: %q, %v", image, open, log, err)
			}
			if out := r.do("explain", "--bundle", c.dir).ok().out; strings.Contains(out, "\nstdin         not read") != unread || !strings.Contains(out, "\nstdin ") {
				t.Errorf("%s is explained as %q", image, out)
			}
		}
	}
}
