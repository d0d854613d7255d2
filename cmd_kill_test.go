package main

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseSignal(t *testing.T) {
	for text, want := range map[string]unix.Signal{
		"15": 15, "0": 0, "999": 999, "TERM": 15, "SIGTERM": 15, "sigterm": 15, "Kill": 9, "USR1": 10,
		"SIGWINCH": 28, "IOT": 6, "CLD": 17, "POLL": 29, "SIGIO": 29, "RTMIN": 34, "SIGRTMIN+3": 37,
		"rtmin+30": 64, "RTMAX": 64, "RTMAX-1": 63, "SIGRTMAX-30": 34,
	} {
		if got, err := parseSignal(text); got != want || err != nil {
			t.Errorf("%s: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "SIG", "NOSUCH", "-1", "SIG9", "RTMIN-1", "RTMIN+31", "RTMAX+1", "RTMIN3", "RTMIN+", "TERM ", "15x", "1.5"} {
		if got, err := parseSignal(text); err == nil || !strings.Contains(err.Error(), "unknown signal") {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func TestKillInit(t *testing.T) {
	child := exec.Command("sleep", "100")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Process.Kill()
	start, err := processStart(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	c := &container{state: state{Pid: child.Process.Pid, StartTime: start + 1, Phase: phaseRunning}}
	// Somebody else has the pid now: he is not hit.
	for _, sig := range []unix.Signal{0, unix.SIGKILL} {
		if err := c.kill(sig, false); err != errNotRunning {
			t.Errorf("another process's pid, signal %d: %v", sig, err)
		}
	}
	c.StartTime = start
	if err := c.kill(0, false); err != nil {
		t.Errorf("signal 0: %v", err)
	}
	if err := c.kill(999, false); !errors.Is(err, unix.EINVAL) {
		t.Errorf("signal 999: %v", err)
	}
	if c.ownPidNamespace() {
		t.Error("sleep is taken for the first process of a pid namespace")
	}
	c.Phase = phaseCreating
	if err := c.kill(unix.SIGKILL, false); err != errNotRunning {
		t.Errorf("creating: %v", err)
	}
	c.Phase = phaseRunning
	if err := c.kill(unix.SIGUSR1, false); err != nil {
		t.Error(err)
	}
	child.Wait()
	if sig := child.ProcessState.Sys().(syscall.WaitStatus).Signal(); sig != syscall.SIGUSR1 {
		t.Errorf("died of %v", sig)
	}
	if err := c.kill(unix.SIGTERM, false); err != errNotRunning {
		t.Errorf("dead: %v", err)
	}
	if err := c.kill(unix.SIGKILL, true); err != nil {
		t.Errorf("--all of a dead one: %v", err)
	}
	c.Pid = 0
	if err := c.kill(unix.SIGTERM, false); err != errNotRunning {
		t.Errorf("no pid: %v", err)
	}
}
