// A command that does not end in time: it costs its test one limit, tells where its processes stand, and leaves none.

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hung prints where the test's processes stand, and kills them, so that pipes end and cgroups empty. It collects none:
// cmd is Wait's.
func (r *rt) hung(cmd *exec.Cmd) {
	pids := r.involved(cmd.Process.Pid)
	for _, pid := range pids {
		r.Log(rtStands(pid))
	}
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// involved are the processes that carry the test's token, and the descendants of pid.
func (r *rt) involved(pid int) []int {
	found := []int{pid}
	for _, p := range rtPids() {
		if p != pid && p != os.Getpid() && r.carries(p) {
			found = append(found, p)
		}
	}
	for i := 0; i < len(found); i++ { // found grows
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", found[i]))
		for _, list := range lists {
			b, _ := os.ReadFile(list)
			for _, f := range strings.Fields(string(b)) {
				if p, err := strconv.Atoi(f); err == nil && !slices.Contains(found, p) {
					found = append(found, p)
				}
			}
		}
	}
	return found
}

// rtStands tells where a process stands: its command line, and for each thread the state, the CPU time in ticks (user,
// system), the system call and the kernel's stack, as far as they can be read.
func rtStands(pid int) string {
	dir := fmt.Sprintf("/proc/%d", pid)
	cmdline, _ := os.ReadFile(dir + "/cmdline")
	var b strings.Builder
	fmt.Fprintf(&b, "process %d: %s", pid, bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '}))
	threads, _ := filepath.Glob(dir + "/task/*")
	for _, thread := range threads {
		read := func(file string) string {
			text, _ := os.ReadFile(filepath.Join(thread, file))
			return strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", " < ")
		}
		stat := read("stat")
		fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // proc_pid_stat(5): from (3) state on
		if len(fields) < 13 {
			continue // has ended
		}
		fmt.Fprintf(&b, "\n\tthread %s %q: state %s, CPU %s+%s, wchan %s, syscall %s, stack %s",
			filepath.Base(thread), read("comm"), fields[0], fields[11], fields[12], read("wchan"), read("syscall"), read("stack"))
	}
	return b.String()
}

func TestHungCommand(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "sleep 1000 & wait")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &rt{T: t, token: "no process carries this"}
	for end := time.Now().Add(10 * time.Second); len(r.involved(cmd.Process.Pid)) < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the shell's child is not found")
		}
	}
	if got := rtStands(cmd.Process.Pid); !strings.Contains(got, "sleep 1000 & wait") || !strings.Contains(got, "state S") {
		t.Errorf("where the shell stands: %q", got)
	}
	child := r.involved(cmd.Process.Pid)[1]
	r.hung(cmd)
	cmd.Wait()
	rtReap(child, 10*time.Second) // the orphan comes to this process
	if err := syscall.Kill(child, 0); err == nil {
		t.Error("the shell's child still runs")
	}
}
