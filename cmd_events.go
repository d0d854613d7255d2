// "events": what a container uses, and that it wanted more
// memory than it may have, as one JSON object per line in runc's form.
//
// With --stats it is one line. Otherwise a line of statistics comes at each
// interval and an "oom" line as soon as the kernel runs into the memory limit,
// until the container's init has ended: what it died of is still printed. It
// takes no lock and changes nothing. One poll waits for all: the init's end,
// the kernel's notice, the next interval.

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An event is one line.
type event struct {
	Type string     `json:"type"` // "stats" or "oom"
	ID   string     `json:"id"`
	Data *statsView `json:"data,omitempty"`
}

func (e event) print() error {
	return printOut(string(encodeJSON(e, "")) + "\n")
}

func cmdEvents(g *globals, args []string) error {
	var once bool
	var text string
	words, err := parseFlags([]flagDef{{"stats", "", &once}, {"interval", "", &text}}, args, false)
	if err != nil {
		return err
	}
	id, err := onlyID(words)
	if err != nil {
		return err
	}
	interval := 5 * time.Second
	if text != "" {
		if interval, err = time.ParseDuration(text); err != nil || interval <= 0 {
			return fmt.Errorf("flag --interval: %q is not a time above 0, like 5s or 100ms", text)
		}
	}
	c, err := readContainer(g, id)
	if err != nil {
		return err
	}
	if once {
		var e event
		if e, err = c.stats(); err == nil {
			return e.print()
		}
	} else {
		err = c.follow(g, interval)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	return nil
}

func (c *container) stats() (event, error) {
	if !c.alive() {
		return event{}, errNotRunning
	}
	stats, err := openCgroup(c.Cgroup).statsView()
	if err != nil && !c.alive() {
		err = errNotRunning // it ended, and its cgroup went, while we read
	}
	if stats != nil {
		stats.Machine = c.Hermit.view()
	}
	return event{"stats", c.ID, stats}, err
}

// follow prints until the container's init has ended.
func (c *container) follow(g *globals, interval time.Duration) error {
	init, err := unix.PidfdOpen(c.Pid, 0)
	if err != nil || !c.alive() {
		return errNotRunning
	}
	defer unix.Close(init)
	oom, err := watchOOM(openCgroup(c.Cgroup))
	if err != nil {
		return fmt.Errorf("watch for lack of memory: %w", err)
	}
	defer oom.close()
	for next := time.Now().Add(interval); ; {
		// poll passes over a descriptor of -1.
		fds := []unix.PollFd{{Fd: int32(init), Events: unix.POLLIN}, {Fd: int32(oom.fd), Events: unix.POLLIN}}
		// Rounded up: waking a moment too early would cost another round.
		wait := min(max(time.Until(next), 0)+time.Millisecond, time.Hour)
		if _, err := unix.Poll(fds, int(wait.Milliseconds())); err != nil && err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
		if oom.happened() {
			if err := (event{Type: "oom", ID: c.ID}).print(); err != nil {
				return err
			}
		}
		if fds[0].Revents != 0 {
			return nil
		}
		if time.Now().Before(next) {
			continue
		}
		for !time.Now().Before(next) { // one line, however many intervals we slept through
			next = next.Add(interval)
		}
		e, err := c.stats()
		switch {
		case errors.Is(err, errNotRunning): // poll says so next
		case err != nil:
			g.warnf("%s: %v", c.ID, err)
		default:
			if err := e.print(); err != nil {
				return err
			}
		}
	}
}

// An oomWatch hears of a cgroup's lack of memory. On v1 an eventfd is told when
// the limit has been hit, whether or not somebody is killed for it; on v2 a
// file counts the killed, and inotify tells of its changes. It hears nothing if
// the cgroup has no memory controller.
type oomWatch struct {
	fd      int
	control string // v1: memory.oom_control's directory, which goes with the cgroup
	events  string // v2: memory.events
	killed  uint64 // v2: its count when last looked at
}

func watchOOM(group *cgroup) (*oomWatch, error) {
	w := &oomWatch{fd: -1}
	var err error
	if group.v2 {
		w.events = group.places[0].dir + "/memory.events"
		w.killed = w.count()
		w.fd, err = watchFile(w.events)
		if errors.Is(err, unix.ENOENT) {
			err = nil
		}
	} else if w.control = group.state().Paths["memory"]; w.control != "" {
		w.fd, err = watchOOMControl(w.control)
	}
	return w, err
}

func watchFile(name string) (int, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return -1, os.NewSyscallError("inotify_init1", err)
	}
	if _, err := unix.InotifyAddWatch(fd, name, unix.IN_MODIFY); err != nil {
		unix.Close(fd)
		return -1, &os.PathError{Op: "inotify_add_watch", Path: name, Err: err}
	}
	return fd, nil
}

// watchOOMControl registers an eventfd: cgroup-v1/memory.rst, section 10.
func watchOOMControl(dir string) (int, error) {
	control, err := unix.Open(dir+"/memory.oom_control", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: dir + "/memory.oom_control", Err: err}
	}
	defer unix.Close(control) // the kernel has its own hold on it once registered
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, os.NewSyscallError("eventfd", err)
	}
	if err := cgroupWrite(dir+"/cgroup.event_control", fmt.Sprintf("%d %d", fd, control)); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// happened says whether memory has run out since the last call. It looks where
// the kernel counts, not only whether it was woken: what kills the init may be
// told after its end.
func (w *oomWatch) happened() bool {
	if w.fd < 0 {
		return false
	}
	var buf [4096]byte
	n, err := unix.Read(w.fd, buf[:])
	if w.events == "" {
		// A cgroup that is removed is told, too: then its directory is gone.
		return err == nil && n == 8 && binary.NativeEndian.Uint64(buf[:]) > 0 &&
			unix.Access(w.control+"/memory.oom_control", unix.F_OK) == nil
	}
	before := w.killed
	w.killed = max(w.count(), before)
	return w.killed > before
}

// count is how many processes the kernel has killed; 0 also if it cannot tell.
func (w *oomWatch) count() uint64 {
	text, _ := cgroupRead(w.events)
	for line := range strings.Lines(text) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			killed, _ := strconv.ParseUint(strings.TrimSpace(n), 10, 64)
			return killed
		}
	}
	return 0
}

func (w *oomWatch) close() {
	if w.fd >= 0 {
		unix.Close(w.fd)
	}
}
