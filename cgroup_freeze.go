// The freezer: it stops all processes of a container's cgroup, lets them run again, and says whether they stand still.
//
// Contract: a cgroup that is gone is not frozen, never an error. A cgroup is freezing once it was told to. It is frozen
// when, besides, none of its processes runs: then pause returns, and state says "paused". On v2 the kernel's own answer
// (frozen in cgroup.events) counts kernel threads, and those never freeze. So if the answer is no and kernel threads are
// members, the processes are looked at one by one.
//
// Freezing is what counts for a command that would wait for a process of the container, and for resume, which also
// undoes a pause that was killed half-way.

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

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
		// v1 is told every time: what was forked while the state is FREEZING
		// is only caught by another write.
		err := cgroupWrite(freezerFile(dir, v2), freezerWord(v2, true))
		var done bool
		if err == nil {
			done, err = allFrozen(dir, v2)
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

// thaw lets the processes run again; one that is not frozen stays as it is.
func (c *cgroup) thaw() error {
	dir, v2 := c.freezer()
	if dir == "" {
		return nil
	}
	err := cgroupWrite(freezerFile(dir, v2), freezerWord(v2, false))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// frozen reports whether the cgroup itself was told to freeze, and all its
// processes stand still.
func (c *cgroup) frozen() (bool, error) {
	freezing, err := c.freezing()
	if err != nil || !freezing {
		return false, err
	}
	frozen, err := allFrozen(c.freezer())
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return false, nil
	}
	return frozen, err
}

// freezing reports whether the cgroup itself was told to freeze; one above it
// does not count, for we could not thaw that.
func (c *cgroup) freezing() (bool, error) {
	dir, _ := c.freezer()
	if dir == "" {
		return false, nil
	}
	return cgroupDirFreezing(dir)
}

func cgroupDirFreezing(dir string) (bool, error) {
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
	p, _ := c.place("freezer")
	return p.dir, c.v2
}

func freezerFile(dir string, v2 bool) string {
	if v2 {
		return dir + "/cgroup.freeze"
	}
	return dir + "/freezer.state"
}

func freezerWord(v2, freeze bool) string {
	switch {
	case v2 && freeze:
		return "1"
	case v2:
		return "0"
	case freeze:
		return "FROZEN"
	}
	return "THAWED"
}

// allFrozen reports whether a freezing cgroup is frozen. On v1 the kernel leaves
// its own threads out of that.
func allFrozen(dir string, v2 bool) (bool, error) {
	if !v2 {
		state, err := cgroupRead(dir + "/freezer.state")
		return strings.TrimSpace(state) == "FROZEN", err
	}
	events, err := cgroupRead(dir + "/cgroup.events")
	if err != nil || strings.Contains(events, "frozen 1") {
		return err == nil, err
	}
	return kernelThreadsAlone(dir)
}

// kernelThreadsAlone: does only the kernel's own work go on in a v2 cgroup that is freezing? Before Linux 6.13 a cgroup
// with a machine under KVM never gets further. A member that our pid namespace cannot see counts as a kernel thread: if
// it is a process, it is stopping like all others.
func kernelThreadsAlone(dir string) (bool, error) {
	members, err := cgroupMembers(dir)
	kernel := 0
	for _, pid := range members {
		switch {
		case pid == unseen || isKernelThread(pid):
			kernel++
		case !standsStill(pid):
			return false, nil
		}
	}
	return kernel > 0, err
}

// standsStill: has each thread of a process in a freezing cgroup stopped? The kernel woke every thread that slept, and lets
// none sleep again (S) but in the freezer; a stopped or traced one (T, t) enters it before it goes on. A thread that waits
// for something in the kernel and hears no signal (D) has not stopped. The exception is a parent in vfork(2), which waits
// for its child: the kernel calls it frozen, too.
func standsStill(pid int) bool {
	dir := "/proc/" + strconv.Itoa(pid) + "/task/"
	threads, err := os.ReadDir(dir)
	if err != nil {
		return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) // it has ended
	}
	for _, t := range threads {
		f, err := processStat(dir + t.Name() + "/stat")
		switch {
		case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH):
		case err != nil:
			return false
		case strings.Contains("STtZX", f[0]):
		case f[0] == "D" && waitsInFork(dir+t.Name()):
		default:
			return false
		}
	}
	return true
}

// waitsInFork goes by the name of the function in which the thread waits.
func waitsInFork(thread string) bool {
	wchan, err := readFile(thread+"/wchan", 4096)
	return err == nil && (string(wchan) == "kernel_clone" || string(wchan) == "wait_for_vfork_done")
}
