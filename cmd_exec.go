// exec runs one more process in a container: a program enters the container's
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
	plan    processPlan
	program *program
	session *session
	opts    execOptions

	master int // the terminal's master, or -1
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
	if e.hook != nil || err == nil {
		return err
	}
	return fmt.Errorf("unable to start container process: %w", err)
}

func startExec(g *globals, opts execOptions) (e *execution, err error) {
	runtime.LockOSThread() // see session
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
	if e.plan.process, err = opts.readProcess(spec.Process); err != nil {
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

// decide makes the plan of the process.
func (e *execution) decide(g *globals, id string, spec *specs.Spec, newKeyring bool, facts *hostFacts) (err error) {
	p := &e.plan
	p.id, p.linux, p.newKeyring = id, spec.Linux, newKeyring
	if err := checkLabels(p.process, facts); err != nil {
		return err
	}
	p.caps = readCapabilities(p.process.Capabilities, heldCapabilities(spec, facts), g.lossf)
	if p.seccomp, err = readSeccomp(spec, g.debugf); err != nil {
		return err
	}
	if p.process.OOMScoreAdj == nil {
		p.process.OOMScoreAdj = spec.Process.OOMScoreAdj
	}
	return nil
}

// begin starts the process with everything that confines the container's own.
func (e *execution) begin(g *globals, c *container, spec *specs.Spec) (err error) {
	e.warnf = g.warnf
	if err := e.decide(g, c.ID, spec, !c.CallersKeyring, thisHost()); err != nil {
		return err
	}
	process := e.plan.process
	process.User.AdditionalGids = settableGroups(process.User, c.Pid, g.lossf)
	if err := withinProgram(func() error { return e.launch(c) }); err != nil {
		return err
	}
	g.tellLosses()
	return nil
}

func (e *execution) checkTerminal() error {
	e.plan.process.Terminal = e.plan.process.Terminal || e.opts.tty
	return checkConsole(e.plan.process.Terminal, e.opts.detach, e.opts.consoleSocket)
}

// launch starts the process and returns when its execve has happened.
func (e *execution) launch(c *container) error {
	in, err := e.openTarget(c)
	defer in.close()
	if err != nil {
		return err
	}
	p := e.plan.process
	env := withHome(in.root, p.Env, p.User.UID)
	if e.hook != nil {
		env = hookEnv(e.hook, env)
	}
	exe, err := lookExecutable(in.root, in.file, p.Cwd, p.Env)
	if err != nil {
		return e.startError(err)
	}
	unix.Close(exe.file)
	if e.program, err = newProgram(thisHost(), e.stdio[0], e.stdio[1], e.stdio[2]); err != nil {
		return err
	}
	defer e.program.close()
	compiler := processCompiler{program: e.program, plan: &e.plan}
	if err := compiler.writeExec(in, exe.path, env); err != nil {
		return err
	}
	if err := e.plan.startOn(); err != nil {
		return err
	}
	if err := c.signals.begin(); err != nil {
		return err
	}
	started := false
	defer func() { // an error, a signal or a panic
		if e.session == nil {
			return
		}
		if !started {
			e.session.end(execEndTime)
		}
		e.session.close()
	}()
	e.session, err = startSession(e.program, c.signals, birth{0, in.group, p.OOMScoreAdj, e.warnf})
	if err != nil {
		return err
	}
	err = e.accompany(c, in.group)
	started = err == nil
	return err
}

// openTarget opens what the program needs of the container, which close closes.
func (e *execution) openTarget(c *container) (in *execTarget, err error) {
	in = &execTarget{pid: c.Pid, pidfd: -1, root: -1, file: e.file(), preserve: e.opts.preserveFds, group: openCgroup(c.Cgroup)}
	if in.pidfd, err = unix.PidfdOpen(c.Pid, 0); err != nil || !c.alive() {
		return in, errNotRunning
	}
	if in.root, err = unix.Open(fmt.Sprintf("/proc/%d/root", c.Pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return in, fmt.Errorf("open the container's root: %w", err)
	}
	if len(e.opts.cgroup) == 0 {
		in.group = in.group.besideInit(c.Pid)
	} else if in.group, err = in.group.below(e.opts.cgroup); err != nil {
		return in, err
	}
	if in.flags, err = joinFlags(c.Pid); err != nil {
		return in, err
	}
	if in.files, err = in.group.joinFDs(); err != nil {
		return in, err
	}
	more, err := c.Rdt.openTasks()
	in.files = append(in.files, more...)
	for _, t := range in.files {
		in.tasks = append(in.tasks, int(t.Fd()))
	}
	return in, err
}

func (in *execTarget) close() {
	unix.Close(in.pidfd)
	unix.Close(in.root)
	for _, f := range in.files {
		f.Close()
	}
}

// accompany is the parent's side of launch once the process runs its program.
func (e *execution) accompany(c *container, group *cgroup) error {
	s := e.session
	if err := s.drive(handlers{
		syncOutside: func(int) error { return e.enter(group) },
		syncConsole: func(int) (err error) { e.master, err = s.takeMaster(e.opts.consoleSocket); return err },
	}, syncReady); err != nil {
		return e.startError(err)
	}
	if err := e.program.checkCwd(e.plan.process.Cwd); err != nil {
		return err
	}
	if e.opts.consoleSocket != "" {
		if err := sendMaster(s.signals, e.opts.consoleSocket, e.master); err != nil {
			return err
		}
	}
	if e.opts.pidfdSocket != "" {
		if err := sendPidfd(s.signals, e.opts.pidfdSocket, s.child); err != nil {
			return err
		}
	}
	if e.opts.pidFile != "" {
		if err := writePidFile(e.opts.pidFile, s.child); err != nil {
			return err
		}
	}
	err := s.proceed()
	if err == nil {
		// The execve closes the process's end of the socket; so does its death,
		// which is then the process's end.
		err = s.drive(handlers{syncListener: func(int) error { return e.passListener(c) }}, syncEnd)
	}
	if err != nil && e.opts.pidFile != "" {
		os.Remove(e.opts.pidFile)
	}
	return e.startError(err)
}

// enter moves the process into the cgroup.
func (e *execution) enter(group *cgroup) error {
	if err := group.enter(e.session.child); err != nil {
		return err
	}
	return e.session.proceed()
}

// passListener brings the listener of the process's filter to the agent.
func (e *execution) passListener(c *container) error {
	listener, err := e.session.listener(e.session.child)
	if err != nil {
		return err
	}
	return c.informAgent(e.plan.linux.Seccomp, e.status, e.session.child, listener)
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
	signals.relay(e.session.child, t)
	status := reapChild(e.session.child)
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
