// run is create and start in one; attached, it also stays until the process
// ends, returns its exit code, and cleans up.

package main

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

func cmdRun(g *globals, args []string) error {
	opts, err := parseRun(args)
	if err != nil {
		return err
	}
	return runContainer(g, opts, nil)
}

// runContainer is run, and restore of a guest from what it goes on from.
func runContainer(g *globals, opts runOptions, from *savedGuest) error {
	if !opts.detach && !opts.noSubreaper {
		// What outlives its parent inside a shared pid namespace is ours to reap.
		unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
	g.takeSignals(!opts.detach)
	opts.run = true
	c, err := create(g, opts.createOptions, from, opts.detach)
	if err != nil {
		return err
	}
	if opts.detach {
		return c.detached(g)
	}
	return c.attached(g, opts.keep)
}

// detached starts the container and leaves it alone.
func (c *creation) detached(g *globals) error {
	defer c.release()
	ready, err := c.container.expectReady()
	if err == nil {
		err = c.container.start(g, c.plan.spec)
	}
	if err != nil {
		c.container.destroy(g, c.plan.spec)
		return err
	}
	c.container.close()
	g.signals.end()
	c.container.finishTemplate(g)
	ready.wait(c.container.Pid, c.container.Pid)
	return nil
}

// attached starts the container and stays with it.
func (c *creation) attached(g *globals, keep bool) error {
	var t *terminal
	if c.master >= 0 {
		t = attachTerminal(c.master)
		c.master = -1
	}
	runtime.UnlockOSThread() // the init no longer depends on this thread
	g.signals.forProcess(c.child(), t)
	ready, err := c.container.expectReady()
	told := make(chan bool)
	if err == nil {
		err = c.container.start(g, c.plan.spec)
	}
	if err == nil {
		if ready != nil {
			go func() { ready.wait(c.child(), os.Getpid()); close(told) }()
			defer func() { <-told }()
		}
		// Others may look at, signal or delete the container meanwhile.
		c.container.close()
		c.container.finishTemplate(g)
	} else {
		unix.Kill(c.child(), unix.SIGKILL)
	}
	status := waitFor(c.child())
	if t != nil {
		t.end()
	}
	c.release()
	if err == nil && keep {
		return exitStatus(status)
	}
	if again, lockErr := openContainer(g, c.container.ID); lockErr == nil {
		lockErr = again.destroy(g, c.plan.spec)
		if err == nil {
			err = lockErr
		}
	} else if err != nil {
		c.container.destroy(g, c.plan.spec)
	}
	if err != nil {
		return err
	}
	return exitStatus(status)
}

// waitFor reaps until the process has ended.
func waitFor(child int) unix.WaitStatus {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid == child {
			return status
		}
	}
}

// exitStatus is the process's end as our own.
func exitStatus(status unix.WaitStatus) error {
	switch {
	case status.Signaled():
		return exitError{code: 128 + int(status.Signal())}
	case status.ExitStatus() != 0:
		return exitError{code: status.ExitStatus()}
	}
	return nil
}
