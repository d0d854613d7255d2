// The processes in a container's cgroup: listed and signalled, also by a command that did not make it.
// cgroup_freeze.go stops them.
//
// Contract: a cgroup that is gone is empty, never an error. On v1 the freezer's hierarchy speaks for all of them.
// Kernel threads in the cgroup are no processes of the container: KVM and vhost put their threads into the cgroup
// of the process that they work for, and end them with it. No signal reaches them.

package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// mainPlace is the directory that answers questions about processes.
func (c *cgroup) mainPlace() string {
	for _, name := range [3]string{"freezer", "devices", "pids"} {
		for _, p := range c.places {
			if slices.Contains(p.names, name) {
				return p.dir
			}
		}
	}
	if len(c.places) == 0 {
		return ""
	}
	return c.places[0].dir
}

// pids lists every process in the cgroup and in those below it. Zombies and
// kernel threads are not among them.
func (c *cgroup) pids() ([]int, error) {
	dir := c.mainPlace()
	if dir == "" {
		return nil, nil
	}
	pids, err := cgroupPids(dir)
	if pids = slices.DeleteFunc(pids, isKernelThread); len(pids) == 0 {
		return nil, err
	}
	return pids, err
}

// cgroupPids lists what pids lists, and kernel threads.
func cgroupPids(dir string) ([]int, error) {
	members, err := cgroupMembers(dir)
	// A signal to "0" would hit our own group.
	return slices.DeleteFunc(members, func(pid int) bool { return pid == unseen }), err
}

// unseen stands in cgroup.procs for a member that our pid namespace cannot see.
// Each kernel thread is one, for a runh that runs in a container.
const unseen = 0

func cgroupMembers(dir string) ([]int, error) {
	text, err := cgroupRead(dir + "/cgroup.procs")
	if errors.Is(err, unix.EOPNOTSUPP) {
		// A threaded v2 cgroup: its threads are all it can tell.
		text, err = cgroupRead(dir + "/cgroup.threads")
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var pids []int
	for word := range strings.FieldsSeq(text) {
		if pid, err := strconv.Atoi(word); err == nil {
			pids = append(pids, pid)
		}
	}
	for _, child := range cgroupChildren(dir) {
		more, err := cgroupMembers(child)
		if err != nil {
			return nil, err
		}
		pids = append(pids, more...)
	}
	return pids, nil
}

// isKernelThread: PF_KTHREAD of include/linux/sched.h in field 9 of proc_pid_stat(5).
func isKernelThread(pid int) bool {
	f, err := processStat("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false // it ended, or is hidden, and then it is no more than another process
	}
	flags, err := strconv.ParseUint(f[9-3], 10, 64)
	return err == nil && flags&0x00200000 != 0
}

// killAll sends sig to every process. With SIGKILL it returns when none is
// left: at once where the kernel has cgroup.kill, else by signalling what is
// there until nothing is, the cgroup frozen meanwhile so that nothing forks
// away. A frozen v1 process only dies once thawed.
func (c *cgroup) killAll(sig unix.Signal) error {
	deadline := time.Now().Add(10 * time.Second)
	wasFrozen := false
	if sig == unix.SIGKILL {
		for _, p := range c.places {
			if p.isV2() {
				// Kernels before 5.14 do not have it; the loop does it then.
				_ = cgroupWrite(p.dir+"/cgroup.kill", "1")
			}
		}
	} else {
		wasFrozen, _ = c.freezing() // unknown counts as no: we thaw what we froze
	}
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		pids, err := c.pids()
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cgroup %s: processes that SIGKILL did not end: %v", c.mainPlace(), pids)
		}
		// One alone is signalled as it is; if it forked, the next round sees.
		if len(pids) > 1 && !wasFrozen && c.freeze() == nil {
			if pids, err = c.pids(); err != nil {
				return errors.Join(err, c.thaw())
			}
		}
		err = signalAll(pids, sig)
		if !wasFrozen {
			err = errors.Join(err, c.thaw())
		}
		if err != nil || sig != unix.SIGKILL {
			return err
		}
		time.Sleep(pause)
	}
}

func signalAll(pids []int, sig unix.Signal) error {
	for _, pid := range pids {
		if err := unix.Kill(pid, sig); err != nil && err != unix.ESRCH {
			return fmt.Errorf("kill %d: %w", pid, err)
		}
	}
	return nil
}
