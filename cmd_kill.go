// "kill": a signal to a container's init, or with --all to each of
// its processes.
//
// It takes no lock: a container must be killable while another command works on
// it. The pid in the record is signalled through a pidfd and only after its
// start time has matched, so a stranger who got the number is never hit.
// Engines kill what has ended by itself all the time, and know that from the
// words "container not running".

package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func cmdKill(g *globals, args []string) error {
	o, err := parseKill(args)
	if err != nil {
		return err
	}
	sig, err := parseSignal(o.signal)
	if err != nil {
		return err
	}
	c, err := readContainer(g, o.id)
	if err != nil {
		return err
	}
	if err := c.kill(sig, o.all); err != nil {
		return fmt.Errorf("%s: %w", o.id, err)
	}
	return nil
}

// kill signals the init, or all processes. SIGKILL to an init that is not the
// first process of a pid namespace means all, too, and those that it has left:
// the kernel would leave them alive. Nothing frozen can die on cgroup v1, so SIGKILL thaws.
func (c *container) kill(sig unix.Signal, all bool) error {
	if !all {
		if status, err := c.status(); err == nil && status == phaseCreating {
			return errCreating
		}
		if c.Phase == phaseCreating {
			return errNotRunning
		}
		all = sig == unix.SIGKILL && !c.ownPidNamespace()
		if err := c.signalInit(sig); err != nil && !(all && errors.Is(err, errNotRunning) && c.leftBehind()) {
			return err
		}
	}
	if all {
		// --all on a container that has ended is how the shim sweeps up what
		// shared its pid namespace: none left is success.
		if err := openCgroup(c.Cgroup).killAll(sig); err != nil {
			return err
		}
	}
	if sig == unix.SIGKILL {
		return openCgroup(c.Cgroup).thaw()
	}
	return nil
}

// leftBehind: has the init left processes in the cgroup?
func (c *container) leftBehind() bool {
	pids, err := openCgroup(c.Cgroup).pids()
	return err == nil && len(pids) > 0
}

// signalInit sends one signal to the container's first process, or says that it
// is not there.
func (c *container) signalInit(sig unix.Signal) error {
	if c.Pid <= 0 {
		return errNotRunning
	}
	fd, err := unix.PidfdOpen(c.Pid, 0)
	if err == unix.ESRCH || err == unix.EINVAL || err == unix.ENOENT {
		// The last two say that the number has only a session or a group left,
		// of processes that the init left behind.
		return errNotRunning
	} else if err != nil {
		return fmt.Errorf("pidfd_open %d: %w", c.Pid, err)
	}
	defer unix.Close(fd)
	// The descriptor holds one process; if that is still the one we started, it
	// stays so.
	if !c.alive() {
		return errNotRunning
	}
	err = unix.PidfdSendSignal(fd, sig, nil, 0)
	switch err {
	case nil:
		return nil
	case unix.ESRCH:
		return errNotRunning
	case unix.EINVAL:
		return fmt.Errorf("signal %d: %w", int(sig), err)
	}
	return fmt.Errorf("signal %d to process %d: %w", int(sig), c.Pid, err)
}

// ownPidNamespace: is the init process 1 of its pid namespace, or was it? Of one
// that is gone the config tells.
func (c *container) ownPidNamespace() bool {
	data, err := readFile("/proc/"+strconv.Itoa(c.Pid)+"/status", 64<<10)
	if err != nil || !c.alive() {
		spec, err := c.snapshot()
		return err != nil || slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
			return n.Type == specs.PIDNamespace && n.Path == ""
		})
	}
	for line := range strings.Lines(string(data)) {
		// proc_pid_status(5): the pid in each nested namespace, innermost last.
		if pids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			f := strings.Fields(pids)
			return len(f) > 0 && f[len(f)-1] == "1"
		}
	}
	return true
}

var errSignal = errors.New("unknown signal")

// parseSignal reads 15, TERM, SIGTERM, term, RTMIN+3, SIGRTMAX-1. A number the
// kernel does not know is the kernel's to refuse; 0 probes.
func parseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 0 {
			return 0, fmt.Errorf("%w %q", errSignal, s)
		}
		return unix.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	switch name {
	case "IOT":
		name = "ABRT"
	case "CLD":
		name = "CHLD"
	case "POLL":
		name = "IO"
	case "UNUSED":
		name = "SYS"
	}
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig, nil
	}
	// The C library keeps 32 and 33 for itself: what people call RTMIN is 34.
	const rtMin, rtMax = 34, 64
	base, offset := 0, ""
	switch {
	case strings.HasPrefix(name, "RTMIN"):
		base, offset = rtMin, name[len("RTMIN"):]
	case strings.HasPrefix(name, "RTMAX"):
		base, offset = rtMax, name[len("RTMAX"):]
	}
	if base != 0 {
		n, err := strconv.Atoi(offset)
		if offset == "" {
			n, err = 0, nil
		} else if offset[0] != '+' && offset[0] != '-' {
			err = errSignal
		}
		if sig := base + n; err == nil && sig >= rtMin && sig <= rtMax {
			return unix.Signal(sig), nil
		}
	}
	return 0, fmt.Errorf("%w %q", errSignal, s)
}
