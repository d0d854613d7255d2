// exec runs one more process in a container: the stub enters the container's
// cgroup and namespaces, and becomes the process as the init did.
//
// In a Hermit container that is a Linux process beside the VM, from the
// container's root file system; nothing can be run inside the guest.

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// execFailed is the exit code of an exec that did not come to its process.
const execFailed = 255

// execEndTime is how long an exec that fails waits for the end of its process: a
// frozen one dies of SIGKILL only when the container is resumed.
const execEndTime = time.Second / 2

func cmdExec(g *globals, args []string) error {
	opts, err := parseExec(args)
	if errors.Is(err, errHelp) {
		return err
	}
	if err == nil {
		g.takeSignals(!opts.detach)
		var e *execution
		if e, err = startExec(g, opts); err == nil {
			return e.follow(g.signals)
		}
		if cancelled := g.signals.cancelled(); cancelled != nil {
			return cancelled
		}
	}
	return exitError{code: execFailed, err: fmt.Errorf("exec failed: %w", err)}
}

// execution is an exec under way.
type execution struct {
	processPlan
	opts   execOptions
	child  int
	forked *sibling // the child of the stub's fork, which takes its place; nil: it does not fork
	master int      // the terminal's master, or -1
	stdio  [3]int
	hook   *specs.Hook          // a startContainer hook, which is started here, too; nil: none
	status specs.ContainerState // the container's, for an agent
	warnf  func(string, ...any)
}

func newExecution(opts execOptions) *execution {
	return &execution{opts: opts, master: -1, stdio: [3]int{0, 1, 2}, status: specs.StateRunning}
}

// startError is an error that comes before the process runs.
func (e *execution) startError(err error) error {
	if e.hook != nil {
		return err
	}
	return fmt.Errorf("unable to start container process: %w", err)
}

func startExec(g *globals, opts execOptions) (e *execution, err error) {
	runtime.LockOSThread() // the stub dies with this thread until it is a process
	c, err := readContainer(g, opts.id)
	if err != nil {
		return nil, err
	}
	switch status, err := c.status(); {
	case err != nil:
		return nil, err
	case status == "stopped" || status == "creating":
		return nil, fmt.Errorf("cannot exec in a %s container", status)
	case !opts.ignorePaused && c.freezing():
		return nil, errors.New("cannot exec in a paused container (use --ignore-paused to override)")
	}
	spec, err := c.snapshot()
	if err != nil {
		return nil, err
	}
	e = newExecution(opts)
	if e.process, err = opts.readProcess(spec.Process); err != nil {
		return nil, err
	}
	if err := e.checkTerminal(); err != nil {
		return nil, err
	}
	if err := e.begin(g, c, spec); err != nil {
		return nil, err
	}
	return e, nil
}

// plan decides what the process is.
func (e *execution) plan(g *globals, id string, spec *specs.Spec, newKeyring bool, facts *hostFacts) (err error) {
	e.id, e.linux, e.newKeyring = id, spec.Linux, newKeyring
	if err := checkLabels(e.process, facts); err != nil {
		return err
	}
	e.caps = readCapabilities(e.process.Capabilities, heldCapabilities(spec, facts), g.lossf)
	if e.seccomp, err = readSeccomp(spec, g.debugf); err != nil {
		return err
	}
	if e.process.OOMScoreAdj == nil {
		e.process.OOMScoreAdj = spec.Process.OOMScoreAdj
	}
	return nil
}

// begin starts the process with everything that confines the container's own.
func (e *execution) begin(g *globals, c *container, spec *specs.Spec) (err error) {
	e.warnf = g.warnf
	if err := e.plan(g, c.ID, spec, !c.CallersKeyring, thisHost()); err != nil {
		return err
	}
	e.process.User.AdditionalGids = settableGroups(e.process.User, c.Pid, g.lossf)
	if err := withinProgram(func() error { return e.launch(c) }); err != nil {
		return err
	}
	g.tellLosses()
	return nil
}

func (e *execution) checkTerminal() error {
	terminal := e.process.Terminal || e.opts.tty
	e.process.Terminal = terminal
	switch {
	case terminal && e.opts.detach && e.opts.consoleSocket == "":
		return errors.New("cannot allocate tty if runh will detach without setting console socket")
	case e.opts.consoleSocket != "" && !(terminal && e.opts.detach):
		return errors.New("cannot use console socket if runh will not detach or allocate tty")
	}
	return nil
}

// launch starts the process and returns when its execve has happened.
func (e *execution) launch(c *container) error {
	pidfd, err := unix.PidfdOpen(c.Pid, 0)
	if err != nil || !c.alive() {
		return errNotRunning
	}
	defer unix.Close(pidfd)
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", c.Pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the container's root: %w", err)
	}
	defer unix.Close(root)
	p := e.process
	env := withHome(root, p.Env, p.User.UID)
	if e.hook != nil {
		env = hookEnv(e.hook, env)
	}
	exe, err := lookExecutable(root, e.file(), p.Cwd, p.Env)
	if err != nil {
		return e.startError(err)
	}
	unix.Close(exe.file)
	if e.stub, err = newStub(uintptr(e.stdio[0]), uintptr(e.stdio[1]), uintptr(e.stdio[2])); err != nil {
		return err
	}
	defer e.close()
	e.signals = c.signals
	e.oomScore, e.warn = p.OOMScoreAdj, e.warnf
	group := openCgroup(c.Cgroup)
	if len(e.opts.cgroup) == 0 {
		group = group.besideInit(c.Pid)
	} else if group, err = group.below(e.opts.cgroup); err != nil {
		return err
	}
	flags, err := joinFlags(c.Pid)
	if err != nil {
		return err
	}
	tasks, err := group.joinFDs()
	if err != nil {
		return err
	}
	more, err := c.Rdt.openTasks()
	tasks = append(tasks, more...)
	for _, t := range tasks {
		defer t.Close()
	}
	if err != nil {
		return err
	}
	defer e.closeLent()
	in := &execTarget{pid: c.Pid, pidfd: pidfd, root: root, flags: flags, group: group}
	for _, t := range tasks {
		in.tasks = append(in.tasks, int(t.Fd()))
	}
	if e.forked, err = e.writeExec(in, exe.path, env); err != nil {
		return err
	}
	if err := e.startOn(); err != nil {
		return err
	}
	if err := c.signals.begin(); err != nil {
		return err
	}
	started := false
	defer func() { // an error, a signal or a panic
		if !started && e.child != 0 {
			e.followFork()
			endChild(e.child, execEndTime)
		}
	}()
	err = e.startIn(group, &syscall.SysProcAttr{})
	if e.child = e.pid; err != nil {
		return err
	}
	err = e.accompany(c, group)
	started = err == nil
	return err
}

// followFork makes the child of the stub's fork the one to wait for.
func (e *execution) followFork() {
	e.child = e.forked.follow(e.child, e.pid)
}

// accompany is the parent's side of launch once the stub runs.
func (e *execution) accompany(c *container, group *cgroup) error {
	for {
		place, err := e.wait()
		e.followFork()
		if err != nil {
			return e.startError(err)
		}
		if place == placeOutside {
			if err = group.enter(e.child); err == nil {
				err = e.proceed()
			}
			if err != nil {
				return fmt.Errorf("unable to start container process: %w", err)
			}
			continue
		}
		if place == placeConsole {
			e.master, e.received = e.received, -1
			if e.opts.consoleSocket == "" {
				if err := clearONLCR(e.master); err != nil {
					return err
				}
			}
			continue
		}
		break
	}
	if err := e.checkCwd(); err != nil {
		return err
	}
	if e.opts.consoleSocket != "" {
		if err := sendMaster(e.signals, e.opts.consoleSocket, e.master); err != nil {
			return err
		}
	}
	if e.opts.pidfdSocket != "" {
		if err := sendPidfd(e.signals, e.opts.pidfdSocket, e.child); err != nil {
			return err
		}
	}
	if e.opts.pidFile != "" {
		if err := writePidFile(e.opts.pidFile, e.child); err != nil {
			return err
		}
	}
	err := e.proceed()
	if err == nil && e.seccomp != nil && e.seccomp.notify {
		err = e.passListener(c)
	}
	if err == nil {
		// The execve closes the stub's end of the socket; so does its death,
		// which is then the process's end.
		_, err = e.wait()
		if errors.Is(err, errStubDied) {
			return nil
		}
	}
	if e.opts.pidFile != "" {
		os.Remove(e.opts.pidFile)
	}
	return e.startError(err)
}

// passListener brings the listener of the process's filter to the agent.
func (e *execution) passListener(c *container) error {
	if err := e.expect(placeListener); err != nil {
		return err
	}
	received := e.received
	e.received = -1
	listener, err := listenerMessage(e.message, received, e.child)
	if err != nil {
		return err
	}
	if err := c.informAgent(e.linux.Seccomp, e.status, e.child, listener); err != nil {
		return err
	}
	return e.proceed()
}

// follow stays with the process, unless it is detached, and ends as it does.
func (e *execution) follow(signals *signals) error {
	if e.opts.detach {
		return nil
	}
	var t *terminal
	if e.master >= 0 {
		t = attachTerminal(e.master)
	}
	runtime.UnlockOSThread()
	signals.relay(e.child, t)
	status := reapChild(e.child)
	if t != nil {
		t.end()
	}
	return exitStatus(status)
}

// readSeccomp compiles the spec's filter; nil is none.
func readSeccomp(spec *specs.Spec, debugf func(string, ...any)) (*seccompFilter, error) {
	if spec.Linux == nil || spec.Linux.Seccomp == nil {
		return nil, nil
	}
	filter, err := compileSeccomp(spec.Linux.Seccomp)
	if err != nil || len(filter.prog) == 0 {
		return nil, err
	}
	debugf("seccomp filter flags: %d", filter.flags)
	return &filter, nil
}
