// checkpoint saves a running container to a directory. A Hermit container's machine is stopped, written by
// QEMU, described by a manifest, and then ended or let go on; cmd_checkpoint_criu.go does it for Linux containers.
//
// Contract: a checkpoint that fails or is killed leaves the container running, and in the directory what was
// there before: the keeper hears that its caller is gone, and of a state that is not whole there is no name.

package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

type checkpointOptions struct {
	criuOptions
	id                               string
	leaveRunning, preDump            bool
	parentPath, statusFD, pageServer string
}

func (o *checkpointOptions) flags() []flagDef {
	return append(o.criuOptions.flags(),
		flagDef{"leave-running", "", &o.leaveRunning},
		flagDef{"pre-dump", "", &o.preDump},
		flagDef{"parent-path", "", &o.parentPath},
		flagDef{"status-fd", "", &o.statusFD},
		flagDef{"page-server", "", &o.pageServer})
}

func parseCheckpoint(args []string) (o checkpointOptions, err error) {
	words, err := parseFlags(o.flags(), args, false)
	if err != nil {
		return o, err
	}
	if o.id, err = onlyID(words); err != nil {
		return o, err
	}
	return o, o.finish()
}

func cmdCheckpoint(g *globals, args []string) error {
	o, err := parseCheckpoint(args)
	if err != nil {
		return err
	}
	c, err := openContainer(g, o.id)
	if err != nil {
		return err
	}
	defer c.close()
	status, err := c.status()
	switch {
	case err != nil:
		return err
	case status == phaseCreated:
		return errors.New("the container has not been started: there is nothing to save yet")
	case status != phaseRunning && status != "paused":
		return errNotRunning
	}
	spec, err := c.snapshot()
	if err != nil {
		return err
	}
	if c.Kind != "hermit" {
		err = c.dump(g, &o, spec)
	} else {
		err = c.saveGuest(&o, c.freezing())
	}
	if err != nil || o.leaveRunning || o.preDump {
		return err
	}
	// It goes on elsewhere, as with runc.
	return c.destroy(g, spec)
}

// saveGuest is checkpoint for a Hermit container.
func (c *container) saveGuest(o *checkpointOptions, paused bool) error {
	if err := o.forGuest(); err != nil {
		return err
	}
	switch {
	case o.preDump || o.parentPath != "":
		return errors.New("a guest's memory is written as a whole: --pre-dump and --parent-path are for Linux containers")
	case o.pageServer != "" || o.statusFD != "":
		return errors.New("a guest's memory is written to --image-path: --page-server and --status-fd are for Linux containers")
	case c.Hermit.Share != "":
		return errSharedState
	}
	out, err := newImage(o.imagePath)
	if err != nil {
		return err
	}
	defer out.close()
	m, err := c.describe()
	if err != nil {
		return err
	}
	group := openCgroup(c.Cgroup)
	if paused { // whom we want to ask stands still
		if err := group.thaw(); err != nil {
			return err
		}
	}
	conn, err := c.saveMachine(m, out.state)
	if err != nil {
		err = explainUnsaved(err, c.Hermit.CPU)
		if paused {
			err = errors.Join(err, c.pause())
		}
		return err
	}
	defer unix.Close(conn)
	if err = out.state.Sync(); err == nil {
		err = out.commit(m)
	}
	switch {
	case paused && (err != nil || o.leaveRunning):
		err = errors.Join(err, group.freeze()) // before the keeper hears that we hang up
	case err == nil && !o.leaveRunning:
		unix.Sendto(conn, []byte(commandEnd), unix.MSG_NOSIGNAL, nil) // else destroy ends it
		if !exits(c.Pid, killTime) {
			err = fmt.Errorf("the machine did not end within %v", killTime)
		}
	}
	return err
}

// explainUnsaved adds to QEMU's refusal of a CPU with an invariant time stamp counter how to do without. Only QEMU knows whether the CPU
// has one: it does not go by the name alone, but by the host, the accelerator, and whether the counter's frequency was set.
func explainUnsaved(err error, cpu string) error {
	if !strings.Contains(err.Error(), "(invtsc flag)") {
		return err
	}
	return fmt.Errorf("the guest's CPU is %q, and QEMU cannot save its invtsc: the annotation %scpu can name another, such as host,-arch-capabilities (QEMU: %w)", cpu, annotationPrefix, err)
}

// describe is the manifest of a running guest, but for its state. QEMU's program and the files it has booted
// are found through its process: the host's may have been replaced since.
func (c *container) describe() (*manifest, error) {
	h := c.Hermit
	vmm, err := c.vmmProcess()
	if err != nil {
		return nil, err
	}
	m := &manifest{
		Magic: manifestMagic, Runh: release, Created: time.Now().UTC(), ID: c.ID,
		VM:      savedVM{Machine: h.Machine, Accel: h.Accel, CPU: h.CPU, VCPUs: h.VCPUs, MemoryMiB: h.MemoryMiB, Network: h.Network, Lease: h.Lease, Extra: h.Extra, Append: h.Append},
		Console: savedConsole{Position: h.Printed},
	}
	if h.MHz > 0 {
		m.Clock = &savedClock{MHz: h.MHz}
	}
	files := map[string]*savedFile{"exe": {}, "root" + vmmApp: &m.App}
	if h.Loader != "" {
		files["root"+vmmLoader] = &m.Loader
	}
	for name, to := range files {
		f, err := os.Open(fmt.Sprintf("/proc/%d/%s", vmm, name))
		if err != nil {
			return nil, errNotRunning // it has ended since
		}
		*to, err = describeFile(f)
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	m.QEMU.Digest = files["exe"].Digest
	return m, nil
}

// vmmProcess is QEMU's process: the keeper's first child.
func (c *container) vmmProcess() (int, error) {
	data, err := readFile(fmt.Sprintf("/proc/%d/task/%d/children", c.Pid, c.Pid), 1<<16)
	if first := strings.Fields(string(data)); err == nil && len(first) > 0 {
		return strconv.Atoi(first[0])
	}
	return 0, errNotRunning
}

// saveMachine has the keeper stop the clock and QEMU write the machine's state to f, and completes the
// manifest. The clock stands still until the connection is closed.
func (c *container) saveMachine(m *manifest, f *os.File) (conn int, err error) {
	conn, pipe, err := c.askToSave(commandSave)
	if err != nil {
		return -1, errNotRunning
	}
	defer unix.Close(pipe)
	if err := m.receive(conn, pipe, f); err != nil {
		unix.Close(conn)
		return -1, err
	}
	return conn, nil
}

// askToSave sends the keeper a command with one end of a pipe, and returns the other.
func (c *container) askToSave(command string) (conn, pipe int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, os.NewSyscallError("pipe2", err)
	}
	defer unix.Close(p[1])
	unix.FcntlInt(uintptr(p[0]), unix.F_SETPIPE_SZ, 1<<20) // or it takes a little longer
	if err = unix.SetNonblock(p[0], true); err == nil {
		conn, err = c.askKeeper("")
	}
	if err == nil {
		if err = unix.Sendmsg(conn, []byte(command), unix.UnixRights(p[1]), nil, unix.MSG_NOSIGNAL); err == nil {
			return conn, p[0], nil
		}
		unix.Close(conn)
	}
	unix.Close(p[0])
	return -1, -1, err
}

// receive copies the state from the pipe to f, less what a restore does not need, until the keeper says that
// it is whole. What comes is a guest's memory, from a process that the guest may have taken over.
func (m *manifest) receive(conn, pipe int, f *os.File) error {
	limit := int64(m.VM.MemoryMiB)<<20 + 256<<20 // pages have headers, machines have firmware
	left := limit
	sum := sha256.New()
	stream := newStateStream()
	if m.VM.Extra != "" {
		stream.next = nil // the machine may have memory that is not empty when it is new
	}
	keep := func(b []byte) error {
		m.State.Size += int64(len(b))
		sum.Write(b)
		_, err := f.Write(b)
		return err
	}
	for saved := false; ; {
		set := []unix.PollFd{{Fd: int32(pipe), Events: unix.POLLIN}, {Fd: int32(conn), Events: unix.POLLIN}}
		n, err := ignoringEINTR(func() (int, error) {
			if saved { // whatever was written before the keeper's word is in the pipe
				return 1, nil
			}
			return unix.Poll(set, int(saveStall.Milliseconds()))
		})
		switch {
		case err != nil:
			return os.NewSyscallError("poll", err)
		case n == 0:
			return fmt.Errorf("QEMU has written nothing for %v", saveStall)
		}
		n, err = 0, unix.EAGAIN
		if pipe >= 0 {
			n, err = ignoringEINTR(func() (int, error) { return unix.Read(pipe, stream.room()) })
		}
		switch {
		case n > 0:
			if left -= int64(n); left < 0 {
				return fmt.Errorf("the machine's state is larger than the machine: more than %d bytes", limit)
			}
			if err := keep(stream.filter(n)); err != nil {
				return err
			}
			continue
		case err != nil && err != unix.EAGAIN:
			return os.NewSyscallError("read", err)
		case saved:
			if err := keep(stream.rest); err != nil {
				return err
			}
			m.State.Digest = hex.EncodeToString(sum.Sum(nil))
			if m.Clock != nil {
				m.Clock.Counters = findCounters(f, m.State.Size, m.VM.Accel)
			}
			return nil
		case err == nil:
			pipe = -1 // QEMU has closed it; the keeper's word is on its way
		}
		if set[1].Revents != 0 {
			if saved, err = m.hear(conn); err != nil {
				return err
			}
		}
	}
}

// hear takes one message of the keeper's.
func (m *manifest) hear(conn int) (saved bool, err error) {
	msg, _, err := receiveMessage(conn)
	switch {
	case err != nil || len(msg) == 0:
		return false, errNotRunning
	case msg[0] == answerVersion:
		m.QEMU.Version = qemuVersion(msg[1:])
		if m.Clock != nil {
			m.Clock.Stopped = time.Now().UTC() // a moment ago
		}
		return false, nil
	case msg[0] != answerSaved:
		return false, errors.New(string(msg))
	case len(msg) < 9 || len(msg)-9 > maxConsoleLine:
		return false, fmt.Errorf("the keeper's answer has %d bytes", len(msg))
	}
	m.Console.Position += binary.NativeEndian.Uint64(msg[1:]) // on top of what an earlier life has printed
	m.Console.Line = hex.EncodeToString(msg[9:])
	return true, nil
}

// qemuVersion reads QMP's answer to query-version, for people: "7.2.22 (Debian 1:7.2+dfsg-7)".
func qemuVersion(answer []byte) string {
	var v struct {
		Package string `json:"package"`
		QEMU    struct {
			Major int `json:"major"`
			Minor int `json:"minor"`
			Micro int `json:"micro"`
		} `json:"qemu"`
	}
	if decodeJSON(string(answer), &v) != nil {
		return "unknown"
	}
	version := fmt.Sprintf("%d.%d.%d", v.QEMU.Major, v.QEMU.Minor, v.QEMU.Micro)
	if v.Package != "" {
		version += " (" + v.Package + ")"
	}
	return version
}
