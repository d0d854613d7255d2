// Hooks: programs of the operator's that run at six points of a container's
// life (runtime-spec, config.md, "POSIX-platform Hooks"). Each gets the state as
// JSON on stdin, exactly its own argv and environment, and as long as its
// timeout allows; one without env has runh's. A hook is a session, as
// the init is: createContainer enters the container's namespaces there, and
// startContainer becomes a process of the container's, as confined as its own.
//
// A hook's output goes to a file in memory, not to a pipe: nobody need read it
// while it comes, a child that it leaves behind holds nobody up, and the end
// of it is there for the error message.

package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hookError is a hook that failed.
type hookError struct {
	kind   string
	number int
	path   string
	err    error
}

func (e *hookError) Error() string {
	return fmt.Sprintf("error running %s hook #%d: %s: %v", e.kind, e.number, e.path, e.err)
}

func (e *hookError) Unwrap() error { return e.err }

// hookRun is one point of the life cycle: which hooks, and where they run.
type hookRun struct {
	kind  string
	hooks []specs.Hook
	first int // the number of the first of them in config.json
	state specs.State
	cwd   string
	gone  bool // cwd may not exist any more: a caller can remove the bundle before it deletes the container
	tied  bool // a hook dies with this thread
	join  int  // a process whose namespaces the hooks enter, or 0

	signals *signals // those that end a hook

	// inside starts a hook as a process of the container's, nil: a hook is the host's
	inside func(h *specs.Hook, in, out int) (pid int, err error)
}

// run runs the hooks in order; the first failure ends it.
func (r *hookRun) run() error {
	if len(r.hooks) == 0 {
		return nil
	}
	stdin := encodeJSON(r.state, "")
	for i := range r.hooks {
		if err := withinProgram(func() error { return r.one(&r.hooks[i], stdin) }); err != nil {
			return &hookError{r.kind, r.first + i, r.hooks[i].Path, err}
		}
	}
	return nil
}

func (r *hookRun) one(h *specs.Hook, stdin []byte) error {
	in, err := memoryFile("state", stdin)
	if err != nil {
		return err
	}
	defer unix.Close(in)
	out, err := memoryFile("output", nil)
	if err != nil {
		return err
	}
	defer unix.Close(out)
	start := r.outside
	if r.inside != nil {
		start = r.inside
	}
	pid, err := start(h, in, out)
	if err != nil {
		return err
	}
	return r.result(h, pid, out)
}

// outside starts a hook of the host's, and returns when its execve has happened.
func (r *hookRun) outside(h *specs.Hook, in, out int) (pid int, err error) {
	p, err := newProgram(thisHost(), in, out, out)
	if err != nil {
		return 0, err
	}
	defer p.close()
	var flags uint64
	if r.join != 0 {
		if flags, err = joinFlags(r.join); err != nil {
			return 0, err
		}
	}
	if err := r.write(p, h, flags); err != nil {
		return 0, err
	}
	s, err := startSession(p, r.signals, birth{})
	if err != nil {
		return 0, err
	}
	defer s.close()
	if err := s.drive(handlers{}, syncEnd); err != nil {
		endHook(s.child)
		return 0, err
	}
	return s.child, nil
}

// write writes a hook's program. The flags are the namespaces to enter, where
// there are any.
func (r *hookRun) write(p *program, h *specs.Hook, flags uint64) error {
	p.section(r.kind + " hook " + h.Path)
	p.begins[0].name, p.begins[1].name, p.begins[2].name = "the state", "output", "output"
	if r.join != 0 {
		pidfd, err := p.lend("pidfd of the container's init", func() (int, error) {
			pidfd, err := unix.PidfdOpen(r.join, 0)
			if err != nil {
				err = errNotRunning
			}
			return pidfd, err
		})
		if err != nil {
			return err
		}
		p.at("enter the container's namespaces")
		p.call(unix.SYS_SETNS, pidfd, flags)
		if flags&unix.CLONE_NEWUSER != 0 {
			p.rootInside()
		}
		if flags&unix.CLONE_NEWPID != 0 {
			p.forkSibling(0, 0, 0)
		}
	}
	p.at("prepare")
	p.closeOthers()
	p.call(unix.SYS_CLOSE_RANGE, 3, uint64(^uint32(0)), unix.CLOSE_RANGE_CLOEXEC)
	if r.tied {
		p.dieWithParent()
	}
	p.call(unix.SYS_SETSID) // so that a timeout ends what the hook has started, too
	p.at("chdir to %s", r.cwd)
	chdir := p.call(unix.SYS_CHDIR, r.cwd)
	if r.gone {
		chdir.ignore(unix.ENOENT)
	}
	p.at("exec")
	p.call(unix.SYS_EXECVE, h.Path, p.strs(hookArgs(h)), p.strs(hookEnv(h, p.environ())))
	return nil
}

// result waits for the hook's end, and makes an error of a bad one.
func (r *hookRun) result(h *specs.Hook, pid, out int) error {
	var limit time.Duration
	var deadline time.Time
	if h.Timeout != nil {
		limit = time.Duration(*h.Timeout) * time.Second
		deadline = time.Now().Add(limit)
	}
	switch ended, err := r.signals.awaitEnd(deadline, pid); {
	case err != nil:
		endHook(pid)
		return err
	case !ended:
		endHook(pid)
		return fmt.Errorf("timeout of %v exceeded%s", limit, lastWords(out))
	}
	status := reapChild(pid)
	switch {
	case status.Signaled():
		return fmt.Errorf("killed by signal %d (%v)%s", status.Signal(), status.Signal(), lastWords(out))
	case status.ExitStatus() != 0:
		return fmt.Errorf("exit status %d%s", status.ExitStatus(), lastWords(out))
	}
	return nil
}

// endHook kills a hook with what it has started.
func endHook(pid int) {
	unix.Kill(-pid, unix.SIGKILL)
	endChild(pid, killTime)
}

func hookArgs(h *specs.Hook) []string {
	if len(h.Args) == 0 {
		return []string{h.Path}
	}
	return h.Args
}

// hookEnv is a hook's own environment, or else the given one. An empty list is an environment, too: an empty one.
func hookEnv(h *specs.Hook, inherited []string) []string {
	if h.Env != nil {
		return lastOfEach(h.Env)
	}
	return lastOfEach(inherited)
}

// joinFlags are the namespaces in which a process differs from us; entering one
// that is ours already may need privileges for nothing.
func joinFlags(pid int) (flags uint64, err error) {
	for _, ns := range [...]struct {
		file string
		flag uint64
	}{
		{"mnt", unix.CLONE_NEWNS},
		{"net", unix.CLONE_NEWNET},
		{"ipc", unix.CLONE_NEWIPC},
		{"uts", unix.CLONE_NEWUTS},
		{"pid", unix.CLONE_NEWPID},
		{"cgroup", unix.CLONE_NEWCGROUP},
		{"user", unix.CLONE_NEWUSER},
		{"time", unix.CLONE_NEWTIME},
	} {
		ours, missing := os.Readlink("/proc/self/ns/" + ns.file)
		if missing != nil {
			continue // a kernel without this kind
		}
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, ns.file))
		if err != nil {
			return 0, fmt.Errorf("look at the container's namespaces: %w", err)
		}
		if ours != theirs {
			flags |= ns.flag
		}
	}
	return flags, nil
}

// runCreateHooks runs what comes before the pivot: prestart and createRuntime
// in our namespaces, createContainer in the container's. All are told
// "created", as by crun: they come after step 2 of the life cycle (runtime.md),
// which is where "creating" ends. runc says "creating".
func (c *creation) runCreateHooks() error {
	if err := c.runRuntimeHooks(); err != nil {
		return err
	}
	state := c.container.hookState(specs.StateCreated, pidInside(c.container.Pid))
	createContainer := hookRun{kind: "createContainer", hooks: c.plan.spec.Hooks.CreateContainer, state: state, cwd: c.container.Rootfs, join: c.container.Pid, tied: true, signals: c.container.signals}
	return createContainer.run()
}

// runRuntimeHooks runs those of them that stay in the host's namespaces.
func (c *creation) runRuntimeHooks() error {
	h := c.plan.spec.Hooks
	state := c.container.hookState(specs.StateCreated, c.container.Pid)
	//lint:ignore SA1019 Docker before 28 sets up its network in a prestart hook.
	prestart := hookRun{kind: "prestart", hooks: h.Prestart, state: state, cwd: c.container.Bundle, tied: true, signals: c.container.signals}
	if err := prestart.run(); err != nil {
		return err
	}
	createRuntime := hookRun{kind: "createRuntime", hooks: h.CreateRuntime, state: state, cwd: c.container.Bundle, tied: true, signals: c.container.signals}
	return createRuntime.run()
}

// runStartHooks runs what comes right before the process, in its place. Their programs are the image's, so each is
// started as exec starts a process: in the container's cgroup and namespaces, with the identity, limits, seccomp filter,
// working directory and, without env, the environment of the container's process.
func (c *container) runStartHooks(g *globals, spec *specs.Spec) error {
	if spec.Hooks == nil || len(spec.Hooks.StartContainer) == 0 {
		return nil
	}
	if err := c.saveHolder(); err != nil {
		return err
	}
	runtime.LockOSThread() // the hook dies with this thread until it runs
	defer runtime.UnlockOSThread()
	r := hookRun{kind: "startContainer", hooks: spec.Hooks.StartContainer, state: c.hookState(specs.StateCreated, pidInside(c.Pid)), signals: c.signals}
	r.inside = func(h *specs.Hook, in, out int) (int, error) {
		e := newExecution(execOptions{id: c.ID, detach: true})
		e.hook, e.stdio, e.status = h, [3]int{in, out, out}, specs.StateCreated
		process := *spec.Process
		process.Args, process.Terminal, process.ConsoleSize, process.ExecCPUAffinity = hookArgs(h), false, nil, nil
		e.plan.process = &process
		if err := e.begin(g, c, spec); err != nil {
			return 0, err
		}
		return e.session.child, nil
	}
	return r.run()
}

func (c *container) runPoststart(spec *specs.Spec) error {
	if spec.Hooks == nil || len(spec.Hooks.Poststart) == 0 {
		return nil
	}
	if err := c.saveHolder(); err != nil {
		return err
	}
	r := hookRun{kind: "poststart", hooks: spec.Hooks.Poststart, state: c.hookState(specs.StateRunning, c.Pid), cwd: c.Bundle, signals: c.signals}
	defer c.signals.endHook()()
	return r.run()
}

// runPoststop runs all of them, whatever happens: the container is gone, and a
// failure changes nothing about that.
func (c *container) runPoststop(g *globals, spec *specs.Spec) {
	if spec == nil || spec.Hooks == nil {
		return
	}
	for i, h := range spec.Hooks.Poststop {
		r := hookRun{kind: "poststop", hooks: []specs.Hook{h}, first: i, state: c.hookState(specs.StateStopped, 0), cwd: c.Bundle, gone: true, signals: c.signals}
		c.signals.answered()
		done := c.signals.endHook()
		if err := r.run(); err != nil {
			g.warnf("%v", err)
		}
		done()
	}
}

// pidInside is a process's number in its own pid namespace.
func pidInside(pid int) int {
	data, err := readFile(fmt.Sprintf("/proc/%d/status", pid), 1<<16)
	if err != nil {
		return pid
	}
	for line := range strings.Lines(string(data)) {
		if list, ok := strings.CutPrefix(line, "NSpid:"); ok {
			numbers := strings.Fields(list)
			inside := 0
			if _, err := fmt.Sscan(numbers[len(numbers)-1], &inside); err == nil {
				return inside
			}
		}
	}
	return pid
}
