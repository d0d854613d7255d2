package main

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// reaper is the only one here that waits for processes: its own and those that the runtimes orphan, as a container manager's
// shim does. Without it a container that has ended stays a zombie for as long as PID 1 likes, and counts as running.
type reaper struct {
	mu    sync.Mutex
	ended map[int]chan int
}

func newReaper() (*reaper, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, err
	}
	return &reaper{ended: map[int]chan int{}}, nil
}

// collect waits for any child; one goroutine runs it while there are some.
func (r *reaper) collect() {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil { // no child is left
			return
		}
		r.mu.Lock()
		if c := r.ended[pid]; c != nil {
			status := ws.ExitStatus()
			if ws.Signaled() {
				status = 128 + int(ws.Signal())
			}
			c <- status
			delete(r.ended, pid)
		}
		r.mu.Unlock()
	}
}

// run starts a command in a process group of its own with files for its output, and returns its exit status. At the limit the
// group is killed.
func (r *reaper) run(limit time.Duration, dir, out string, env []string, argv ...string) (int, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	return r.runOn(null, &syscall.SysProcAttr{Setpgid: true}, limit, dir, out, env, argv...)
}

// runOnTerminal is run in a session of its own, with a terminal.
func (r *reaper) runOnTerminal(limit time.Duration, dir, out string, env []string, argv ...string) (int, error) {
	master, slave, err := terminal()
	if err != nil {
		return 0, err
	}
	defer master.Close()
	defer slave.Close()
	return r.runOn(slave, &syscall.SysProcAttr{Setsid: true, Setctty: true}, limit, dir, out, env, argv...)
}

func (r *reaper) runOn(stdin *os.File, sys *syscall.SysProcAttr, limit time.Duration, dir, out string, env []string, argv ...string) (int, error) {
	stdout, err := os.Create(out + ".out")
	if err != nil {
		return 0, err
	}
	defer stdout.Close()
	stderr, err := os.Create(out + ".err")
	if err != nil {
		return 0, err
	}
	defer stderr.Close()

	ended := make(chan int, 1)
	r.mu.Lock()
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Dir: dir, Env: append(os.Environ(), env...),
		Files: []uintptr{stdin.Fd(), stdout.Fd(), stderr.Fd()},
		Sys:   sys,
	})
	if err == nil {
		r.ended[pid] = ended
	}
	r.mu.Unlock()
	if err != nil {
		return 0, &os.PathError{Op: "run", Path: argv[0], Err: err}
	}
	go r.collect()
	timer := time.AfterFunc(limit, func() { syscall.Kill(-pid, syscall.SIGKILL) })
	defer timer.Stop()
	return <-ended, nil
}
