// The clock of a saved guest: runh brings it back into the present. The guest's clock is its time stamp counter,
// and it reads the time of day only when it boots: a guest whose counter goes on where it stood lives in the past
// for ever. So the counter is moved by what has passed meanwhile, in the state, on its way to QEMU.
//
// Contract: the counters' places are found when the state is saved, from the description that QEMU puts at its end.
// It is QEMU's, and may be the guest's: in doubt nothing is found, and the guest's clock goes on where it stood. A
// saved file is not changed, and nothing of it but these eight bytes for each counter.

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// savedClock is a guest's clock that stands still.
type savedClock struct {
	Stopped  time.Time `json:"stopped"`
	MHz      int       `json:"mhz"`      // its ticks in a microsecond, as the guest was told
	Counters []int64   `json:"counters"` // where they are in the state: 64 bits each, the highest first
}

// minTemplateJump: guests of one template have one state of their kernel's random number generator. Hermit's takes
// a new seed when it is asked a second after the last one, if the machine has a source.
const minTemplateJump = 1010 * time.Millisecond

const (
	maxClockJump    = 50 * 365 * 24 * time.Hour // more is a wrong clock, and could be more than the counter can hold
	maxDevicesState = 4 << 20                   // of a stream: what is behind the memory
)

// streamDescription is the end of a stream, as far as it concerns us: QEMU's docs/devel/migration.
type streamDescription struct {
	Devices []struct {
		Name     string `json:"name"`
		Instance uint32 `json:"instance_id"`
		Version  uint32 `json:"version"`
		Fields   []struct {
			Name  string `json:"name"`
			Size  int64  `json:"size"`
			Count int64  `json:"array_len"`
		} `json:"fields"`
	} `json:"devices"`
}

// saveStall is how long nothing at all may come from a QEMU that writes a machine's state.
const saveStall = 60 * time.Second

// findCounters looks for the counters in a state of that many bytes: QEMU's own, or that of each CPU.
func findCounters(state *os.File, size int64, accel string) []int64 {
	if accel == "kvm" {
		return findFields(state, size, "cpu", "env.tsc")
	}
	return findFields(state, size, "timer", "cpu_ticks_offset")
}

// findFields looks for a field of 64 bits in all devices of a name.
func findFields(state *os.File, size int64, device, field string) []int64 {
	start := max(0, size-maxDevicesState)
	b := make([]byte, size-start)
	if _, err := state.ReadAt(b, start); err != nil {
		return nil
	}
	at := bytes.LastIndexByte(b, streamDescribed) // JSON has no such byte, but its length may
	for at >= 0 && (len(b)-at < 5 || int64(binary.BigEndian.Uint32(b[at+1:])) != int64(len(b)-at-5)) {
		at = bytes.LastIndexByte(b[:at], streamDescribed)
	}
	var d streamDescription
	if at < 0 || decodeJSON(string(b[at+5:]), &d) != nil {
		return nil
	}
	var found []int64
	for _, dev := range d.Devices {
		if dev.Name != device {
			continue
		}
		section := streamSection(b[:at], dev.Name, dev.Instance, dev.Version)
		if section < 0 {
			return nil
		}
		for _, f := range dev.Fields {
			if f.Name == field && f.Size == 8 && section+8 <= int64(at) {
				found = append(found, start+section)
				break
			}
			if f.Size < 0 || f.Size > maxDevicesState || f.Count < 0 || f.Count > maxDevicesState {
				return nil
			}
			section += f.Size * max(f.Count, 1)
		}
	}
	slices.Sort(found)
	return found
}

// streamSection is where a device's section has its contents, -1 unless there is exactly one.
func streamSection(b []byte, name string, instance, version uint32) int64 {
	head := append([]byte{byte(len(name))}, name...)
	head = binary.BigEndian.AppendUint32(head, instance)
	head = binary.BigEndian.AppendUint32(head, version)
	at := bytes.Index(b, head)
	if at < 5 || b[at-5] != streamFull || bytes.Contains(b[at+1:], head) {
		return -1
	}
	return int64(at + len(head))
}

// jump is how many ticks have passed by now.
func (c *savedClock) jump(now time.Time, least time.Duration) uint64 {
	passed := max(now.Sub(c.Stopped), least)
	if passed < 0 || passed > maxClockJump {
		return 0
	}
	return uint64(passed.Microseconds()) * uint64(c.MHz)
}

// warning is about a clock that goes on where it stood, or a host whose counter is not as fast as the guest believes.
func (c *savedClock) warning(mhz int) string {
	switch {
	case c == nil || len(c.Counters) == 0:
		return "the guest's clock goes on where it stood: the checkpoint does not say where it is"
	case mhz == 0 || 100*max(c.MHz-mhz, mhz-c.MHz) <= mhz:
		return ""
	}
	return fmt.Sprintf("the guest was told of a clock with %d MHz, and this host's has %d: its seconds are too long or too short", c.MHz, mhz)
}

// check refuses what no clock of ours can be.
func (c *savedClock) check(size int64) error {
	last := int64(0)
	for _, at := range c.Counters {
		if at < last || at > size-8 {
			return errors.New("clock.counters are not in the state")
		}
		last = at + 8
	}
	if c.MHz < 1 || c.MHz >= 1<<16 {
		return errors.New("clock.mhz is out of range")
	}
	return nil
}

// waitWritable waits for a QEMU that reads a state, and not for ever.
func waitWritable(pipe int) error {
	set := []unix.PollFd{{Fd: int32(pipe), Events: unix.POLLOUT}}
	n, err := ignoringEINTR(func() (int, error) { return unix.Poll(set, int(saveStall.Milliseconds())) })
	switch {
	case err != nil:
		return os.NewSyscallError("poll", err)
	case n == 0:
		return fmt.Errorf("QEMU has read nothing for %v", saveStall)
	}
	return nil
}

// feed writes the state to a pipe that does not block, with the present time. That nobody reads any more is no error here.
func (s *savedGuest) feed(pipe int) error {
	size, done := s.State.Size, int64(0)
	copyTo := func(end int64) error {
		for done < end {
			n, err := ignoringEINTR(func() (int, error) {
				return unix.Sendfile(pipe, int(s.state.Fd()), &done, int(min(end-done, 1<<30)))
			})
			switch {
			case err == unix.EAGAIN:
				if err := waitWritable(pipe); err != nil {
					return err
				}
				continue
			case err == nil && n == 0:
				err = errors.New("it was truncated while it was read")
			}
			if err != nil {
				return &os.PathError{Op: "read", Path: s.dir + "/" + s.stateFile(), Err: err}
			}
		}
		return nil
	}
	if s.Clock != nil {
		for _, at := range s.Clock.Counters {
			var word [8]byte
			if err := copyTo(at); err != nil {
				return err
			}
			if _, err := s.state.ReadAt(word[:], at); err != nil {
				return err
			}
			binary.BigEndian.PutUint64(word[:], binary.BigEndian.Uint64(word[:])+s.Clock.jump(time.Now(), s.leastJump))
			if err := waitWritable(pipe); err != nil { // of a page, says pipe(7)
				return err
			}
			if _, err := unix.Write(pipe, word[:]); err != nil {
				return os.NewSyscallError("write", err)
			}
			done += 8
		}
	}
	return copyTo(size)
}

// loadState has QEMU read what the guest goes on from. It comes as late as this, so that no time is lost between.
func (c *container) loadState() error {
	if c.Hermit == nil || !c.Hermit.Incoming {
		return nil
	}
	from := c.saved
	if from == nil {
		var err error
		if from, err = c.openOwnTemplate(); err != nil {
			return err
		}
		defer from.state.Close()
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, 1<<20) // or it takes a little longer
	if err := unix.SetNonblock(p[1], true); err != nil {
		unix.Close(p[0])
		unix.Close(p[1])
		return os.NewSyscallError("fcntl", err)
	}
	conn, err := c.askKeeper(commandLoad, p[0])
	unix.Close(p[0])
	if err != nil {
		unix.Close(p[1])
		return errors.New("cannot start a container that has stopped")
	}
	defer unix.Close(conn)
	err = from.feed(p[1])
	unix.Close(p[1])
	if err != nil && !errors.Is(err, unix.EPIPE) {
		return err
	}
	if why := c.readAnswer(conn); why != nil || err != nil { // the keeper knows why nobody read on
		return why
	}
	c.Hermit.Incoming = false
	c.dropOwnTemplate()
	return c.save()
}

// openOwnTemplate opens what takeTemplate has linked, of our own making: the state's digest is not computed anew
// each time.
func (c *container) openOwnTemplate() (*savedGuest, error) {
	s, err := openSaved(c.dir, false)
	if err == nil {
		s.leastJump = minTemplateJump
	}
	return s, err
}

// dropOwnTemplate removes the links, of which there may be none.
func (c *container) dropOwnTemplate() {
	os.Remove(filepath.Join(c.dir, manifestName))
	os.Remove(filepath.Join(c.dir, stateName))
}
