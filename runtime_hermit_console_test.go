// The serial line of a Hermit guest as its user has it: on a terminal and in a pipe, and byte for byte.
package main

import (
	"os"
	"strconv"
	"strings"
	"testing"

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

// `runh run` on a terminal: the guest has it raw, its size is ours, and it is afterwards what it was.
func TestHermitRunTerminal(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", []string{"print", "ready", ";", "echo", "7", ";", "print", "", ";", "echo", ";", "exit", "5"})
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
