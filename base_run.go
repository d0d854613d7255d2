// Programs of the host that run to their end while runh waits: newuidmap, ps, the
// dynamic linker, a QEMU that is asked something.
//
// Contract: such a program has exactly the descriptors 0, 1 and 2, of which the last
// two are files in memory, so nobody need read them while it runs. A limit, and a
// signal that cancels the command, kill it with all that it has started. runh talks
// with criu, with hooks and with a guest's QEMU, so they are started elsewhere.

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// hostCommand is such a program, as it is to run.
type hostCommand struct {
	path  string
	args  []string
	env   []string      // nil: runh's own
	stdin string        // at most what a pipe holds
	root  string        // its root directory, "" is ours
	limit time.Duration // 0: none

	signals *signals // those that end it; nil: it is in our process group, and gets them itself
}

// hostResult is how it ended.
type hostResult struct {
	command        *hostCommand
	out, complaint []byte // stdout and stderr
	status         unix.WaitStatus
}

// maxHostOutput bounds what such a program may print: a line of ps for each process
// that a kernel can have.
const maxHostOutput = 64 << 20

func (h *hostCommand) run() (*hostResult, error) {
	var in [2]int
	if err := unix.Pipe2(in[:], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe", err)
	}
	defer unix.Close(in[0])
	_, err := unix.Write(in[1], []byte(h.stdin))
	unix.Close(in[1])
	if err != nil {
		return nil, os.NewSyscallError("write", err)
	}
	out, err := memoryFile("stdout", nil)
	if err != nil {
		return nil, err
	}
	defer unix.Close(out)
	complaint, err := memoryFile("stderr", nil)
	if err != nil {
		return nil, err
	}
	defer unix.Close(complaint)
	attr := &syscall.ProcAttr{Env: h.env, Files: []uintptr{uintptr(in[0]), uintptr(out), uintptr(complaint)}, Sys: &syscall.SysProcAttr{Setsid: h.limit > 0 || h.signals != nil, Chroot: h.root}}
	if h.env == nil {
		attr.Env = os.Environ()
	}
	if h.root != "" {
		attr.Dir = "/"
	}
	pid, err := syscall.ForkExec(h.path, append([]string{filepath.Base(h.path)}, h.args...), attr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.path, err)
	}
	var deadline time.Time
	if h.limit > 0 {
		deadline = time.Now().Add(h.limit)
	}
	ended, err := h.signals.awaitEnd(deadline, pid)
	if !ended {
		unix.Kill(-pid, unix.SIGKILL)
	}
	r := &hostResult{command: h, status: reapChild(pid)}
	if err == nil {
		r.out, err = readFile(fmt.Sprintf("/proc/self/fd/%d", out), maxHostOutput)
	}
	if err == nil {
		r.complaint, err = readFile(fmt.Sprintf("/proc/self/fd/%d", complaint), maxHostOutput)
	}
	return r, err
}

// failed is nil for one that ended with 0.
func (r *hostResult) failed() error {
	what := strings.Join(append([]string{r.command.path}, r.command.args...), " ")
	words := outputNote(append(r.complaint[:len(r.complaint):len(r.complaint)], r.out...))
	switch {
	case r.status.Signaled():
		return fmt.Errorf("%s: killed by signal %d%s", what, r.status.Signal(), words)
	case r.status.ExitStatus() != 0:
		return fmt.Errorf("%s: exit status %d%s", what, r.status.ExitStatus(), words)
	}
	return nil
}
