// QEMUs that do not answer, and what they print: shell scripts in QEMU's place.

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What fake QEMUs in QEMU's place say: the greeting, and the answer to each command, which it reads first.
const (
	fakeUp     = `echo '{"QMP": {}}' >&3; ` + fakeAnswer
	fakeAnswer = `read x <&3; echo '{"return": {}}' >&3; `
)

// A QEMU that does not answer is ended after a while, and there is one line about it.
func TestKeeperPatience(t *testing.T) {
	for _, x := range []struct{ name, fake, plan, ask, ready, want string }{
		{"no greeting", "sleep 100", "", "", "no greeting within 1 s", "no greeting within 1 s"},
		{"no greeting, but noise", "while sleep 0.1; do echo noise; done", "", "", "no greeting within 1 s", "no greeting within 1 s"},
		{"nothing after the greeting", `echo '{"QMP": {}}' >&3; sleep 100`, "", "", "no reply to qmp_capabilities within 1 s", "no reply to qmp_capabilities within 1 s"},
		{"cont", fakeUp + "sleep 100", "", "", "R", "no reply to cont within 1 s"},
		{"stop", fakeUp + fakeAnswer + "sleep 100", "", commandPause, "R", "no reply to stop within 1 s"},
		{"cont after a pause", fakeUp + fakeAnswer + fakeAnswer + "sleep 100", "", commandPause, "R", "no reply to cont within 1 s"},
		{"a migration", fakeUp + fakeAnswer + fakeAnswer + "sleep 100", "", commandSave, "R", "no reply to getfd within 1 s"},
		{"the end of a migration", fakeUp + strings.Repeat(fakeAnswer, 9) + "sleep 100", "", commandSave, "R", "no end of a migration within 1 s"},
		{"a closed monitor", fakeUp + "exec 3>&- 3<&-; sleep 100", "", "", "R", "its monitor is closed, and there is no end within 1 s"},
		{"a state", fakeUp + "sleep 100", "incoming", commandLoad, "R", "no reply to getfd within 1 s"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			k := startKeeper(t, keeperOpts{fake: x.fake, plan: "patience=900 " + x.plan})
			if ready := k.readyText(); !strings.Contains(ready, x.ready) {
				t.Errorf("ready: %q, want %q", ready, x.ready)
			}
			answer := ""
			if x.plan == "" {
				answer = k.start()
			}
			if x.ask != "" {
				if answer != "" {
					t.Errorf("start: %q", answer)
				}
				var p [2]int
				if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
					t.Fatal(err)
				}
				k.ask(x.ask, p[1])
				unix.Close(p[0])
				unix.Close(p[1])
			} else if !strings.Contains(answer, x.want) {
				t.Errorf("start: %q, want %q", answer, x.want)
			}
			if code := k.wait(); code != 125 || strings.Count(k.logText(), x.want) != 1 {
				t.Errorf("exit code %d, want 125; log %s", code, k.logText())
			}
		})
	}
}

// Time that a keeper has stood still, as in a frozen container, does not count.
func TestKeeperPatienceFrozen(t *testing.T) {
	go1 := filepath.Join(t.TempDir(), "go")
	k := startKeeper(t, keeperOpts{fake: fakeUp + "read x <&3; while [ ! -e " + go1 + " ]; do sleep 0.05; done; echo '{\"return\": {}}' >&3; exit 3", plan: "patience=1500"})
	if ready := k.readyText(); ready != "R" {
		t.Fatal(ready)
	}
	asked := make(chan string)
	go func() { asked <- k.start() }()
	time.Sleep(300 * time.Millisecond)
	k.cmd.Process.Signal(unix.SIGSTOP)
	time.Sleep((keeperOverslept + 2000) * time.Millisecond)
	k.cmd.Process.Signal(unix.SIGCONT)
	time.Sleep(300 * time.Millisecond)
	if err := os.WriteFile(go1, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if problem := <-asked; problem != "" {
		t.Errorf("start: %q", problem)
	}
	if code := k.wait(); code != 0 {
		t.Errorf("exit code %d; log %s", code, k.logText())
	}
}

// A warning of QEMU's is no reason of an end, and a flood of them does not hide the reason.
func TestKeeperWarnings(t *testing.T) {
	const flood = "i=0; while [ $i -lt 400 ]; do echo \"qemu-system-x86_64: warning: TCG doesn't support requested feature: CPUID.01H:ECX.pcid [bit $i]\" >&2; i=$((i+1)); done; "
	for _, x := range []struct {
		fake string
		code int
		why  string
	}{
		{flood + "exit 1", 1, "the guest failed"},
		{"echo 'qemu-system-x86_64: info: x' >&2; exit 1", 1, "the guest failed"},
		{"echo 'qemu-system-x86_64: -device x: warning: y' >&2; exit 1", 1, "the guest failed"},
		{flood + "echo 'qemu-system-x86_64: the last word' >&2; exit 1", 125, "QEMU ended with status 1: the last word"},
		{"echo 'qemu-system-x86_64: the last word' >&2; " + flood + "exit 1", 125, "QEMU ended with status 1: the last word"},
	} {
		k := startKeeper(t, keeperOpts{fake: fakeUp + fakeAnswer + x.fake})
		if problem := k.start(); problem != "" {
			t.Errorf("start: %q", problem)
		}
		if code := k.wait(); code != x.code || !strings.Contains(k.logText(), x.why) {
			t.Errorf("exit code %d, want %d; the log lacks %q: %.300s", code, x.code, x.why, k.logText())
		}
		if n := len(k.logText()); n > 3*maxKeeperLog {
			t.Errorf("the log has %d bytes", n)
		}
	}
	// Before the guest runs a warning explains nothing either.
	k := startKeeper(t, keeperOpts{fake: flood + "exit 1"})
	if ready := k.readyText(); ready != "QEMU ended with status 1 before the guest ran" {
		t.Errorf("ready: %q", ready)
	}
}
