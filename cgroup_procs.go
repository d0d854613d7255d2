// Who is inside a container's cgroup: list, signal, freeze and thaw them, also
// from a command that did not make it.
//
// Contract: a cgroup that is gone is empty and not frozen, never an error. On
// v1 the freezer's hierarchy speaks for all of them.

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

// pids lists every process in the cgroup and in those below it. Zombies are
// not among them.
func (c *cgroup) pids() ([]int, error) {
	dir := c.mainPlace()
	if dir == "" {
		return nil, nil
	}
	return cgroupPids(dir)
}

func cgroupPids(dir string) ([]int, error) {
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
		// 0 stands for a process that our pid namespace cannot see; a signal
		// to "0" would hit our own group.
		if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	for _, child := range cgroupChildren(dir) {
		more, err := cgroupPids(child)
		if err != nil {
			return nil, err
		}
		pids = append(pids, more...)
	}
	return pids, nil
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
		wasFrozen, _ = c.frozen() // unknown counts as no: we thaw what we froze
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

// freeze stops every process in the cgroup and returns when all have stopped.
// If some will not within two seconds, it thaws and fails: half a pause is
// worse than none.
func (c *cgroup) freeze() error {
	dir, v2 := c.freezer()
	switch {
	case len(c.places) == 0:
		return errors.New("the container has no cgroup: cannot pause")
	case dir == "":
		return errors.New("the freezer cgroup is not mounted: cannot pause")
	}
	deadline := time.Now().Add(2 * time.Second)
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		var done bool
		var err error
		if v2 {
			done, err = freezeV2(dir)
		} else {
			done, err = freezeV1(dir)
		}
		if done && err == nil {
			return nil
		}
		if err == nil && time.Now().After(deadline) {
			err = fmt.Errorf("cgroup %s: not all processes stopped within 2 s", dir)
		}
		if err != nil {
			_ = c.thaw() // the first error is the one to report
			return err
		}
		time.Sleep(pause)
	}
}

// freezeV1 writes FROZEN every time: what was forked while the state is
// FREEZING is only caught by another write.
func freezeV1(dir string) (bool, error) {
	if err := cgroupWrite(dir+"/freezer.state", "FROZEN"); err != nil {
		return false, err
	}
	state, err := cgroupRead(dir + "/freezer.state")
	return strings.TrimSpace(state) == "FROZEN", err
}

func freezeV2(dir string) (bool, error) {
	if err := cgroupWrite(dir+"/cgroup.freeze", "1"); err != nil {
		return false, err
	}
	events, err := cgroupRead(dir + "/cgroup.events")
	return strings.Contains(events, "frozen 1"), err
}

// thaw lets the processes run again; one that is not frozen stays as it is.
func (c *cgroup) thaw() error {
	dir, v2 := c.freezer()
	if dir == "" {
		return nil
	}
	file, value := "/freezer.state", "THAWED"
	if v2 {
		file, value = "/cgroup.freeze", "0"
	}
	err := cgroupWrite(dir+file, value)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// frozen reports whether the cgroup itself is frozen or about to be; one above
// it does not count, for we could not thaw that.
func (c *cgroup) frozen() (bool, error) {
	dir, _ := c.freezer()
	if dir == "" {
		return false, nil
	}
	return cgroupDirFrozen(dir)
}

func cgroupDirFrozen(dir string) (bool, error) {
	for _, file := range [2]string{"/freezer.self_freezing", "/cgroup.freeze"} {
		text, err := cgroupRead(dir + file)
		if err == nil {
			return strings.TrimSpace(text) == "1", nil
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
			return false, err
		}
	}
	return false, nil
}

func (c *cgroup) freezer() (dir string, v2 bool) {
	for _, p := range c.places {
		if slices.Contains(p.names, "freezer") {
			return p.dir, false
		}
	}
	if c.v2 {
		return c.places[0].dir, true
	}
	return "", false
}
