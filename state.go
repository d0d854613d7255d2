// State: what runh keeps of a container between two commands: the
// directory <root>/<id>, the record runh.json in it, and the lock.
//
// Contract:
//   - The record is replaced by rename, so a reader sees a whole one, old or
//     new, and needs no lock: "state" never waits for a long create.
//   - A command that changes a container holds the lock (state_lock.go).
//   - An ID is taken by mkdir: of two creates one wins.
//   - "paused" and "stopped" are never stored but looked up: a pid counts only
//     together with its start time, since pids are used again.
//   - The root may be shared (Docker gives every runtime the same one): what is
//     not recognisably runh's is neither listed nor touched.
//   - Nothing is fsynced: the root is on a tmpfs, or, where it is not, the
//     containers do not outlive what would lose the write.

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// stateMagic tells runh's records from anything else named so, and names their
// version.
const stateMagic = "runh/1"

// Phases: what runh itself last did.
const (
	phaseCreating = "creating"
	phaseCreated  = "created"
	phaseRunning  = "running"
)

type state struct {
	Magic          string            `json:"magic"`
	OCIVersion     string            `json:"ociVersion"`
	ID             string            `json:"id"`
	Bundle         string            `json:"bundle"`
	Rootfs         string            `json:"rootfs"`
	Kind           string            `json:"kind"`  // "linux" or "hermit"
	Phase          string            `json:"phase"` // phaseCreating, phaseCreated or phaseRunning
	Pid            int               `json:"pid"`
	StartTime      uint64            `json:"startTime"` // field 22 of /proc/PID/stat
	Created        time.Time         `json:"created"`
	Owner          string            `json:"owner"`
	Annotations    map[string]string `json:"annotations,omitempty"`
	Losses         []string          `json:"losses,omitempty"` // what it was asked for and does not have
	Cgroup         cgroupState       `json:"cgroup"`
	Rdt            *rdtState         `json:"rdt,omitempty"`
	CallersKeyring bool              `json:"callersKeyring,omitempty"` // create had --no-new-keyring
	Uncovered      uint64            `json:"uncovered,omitempty"`      // without a mount namespace: see cmd_create_hostmounts.go
	Holder         int               `json:"holder,omitempty"`         // the process that creates it, or starts it and runs hooks: state_lock.go
	Hermit         *hermitState      `json:"hermit,omitempty"`
}

// A container is an opened state directory. lock is nil for readers.
type container struct {
	dir string // <root>/<id>
	state
	lock    *os.File
	pending *pendingTemplate // a start that is to make a template
	saved   *savedGuest      // what it goes on from, in a restore
	signals *signals         // the command's
	claimed bool             // by this process: its create is under way
}

// Files of the directory beside the record, the config and the start socket.
const (
	notifyDir    = "notify"        // mounted on /run/notify
	manifestName = "manifest.json" // of a template that start makes or goes on from; a checkpoint's directory has one, too
	stateName    = "state"
	stateOther   = "state.2" // while the directory holds one that stays valid until the manifest is replaced
)

// claimContainer takes the ID and returns it locked, with a record that is not
// yet written: save it before making the first thing that delete must undo.
// Whoever puts one more file there adds its name to half.
func claimContainer(g *globals, id string) (*container, error) {
	if err := validID(id); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(g.root, 0o700); err != nil {
		return nil, err
	}
	c := &container{dir: filepath.Join(g.root, id), signals: g.signals}
	err := unix.Mkdir(c.dir, 0o700)
	switch {
	case err == unix.EEXIST:
		return nil, fmt.Errorf("%s: %w", id, errExist)
	case err != nil:
		return nil, &fs.PathError{Op: "mkdir", Path: c.dir, Err: err}
	}
	// Between mkdir and the lock a "delete --force" can take the empty
	// directory away. Then it has won, and this create has not happened.
	if err := c.takeLock(true); err != nil {
		return nil, fmt.Errorf("%s was deleted while it was being created: %w", id, err)
	}
	c.claimed = true
	c.state = state{Magic: stateMagic, ID: id, Phase: phaseCreating, Created: time.Now().UTC()}
	return c, nil
}

// openContainer locks a container and reads its record, for commands that
// change it. With errBroken it returns the container too, for delete --force.
func openContainer(g *globals, id string) (*container, error) { return lockContainer(g, id, false) }

// lockContainer is openContainer; with force a create or start that is under way is ended.
func lockContainer(g *globals, id string, force bool) (*container, error) {
	if err := validID(id); err != nil {
		return nil, err
	}
	c := &container{dir: filepath.Join(g.root, id), signals: g.signals}
	if err := c.takeLock(force); err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	err := c.load()
	if err == nil || errors.Is(err, errBroken) {
		return c, err
	}
	c.close()
	return nil, err
}

// readContainer reads the record without the lock, for commands that only look
// or signal. For a moment a container has a directory and no record: until
// create has written it, and when delete has removed it. Then there is a lock,
// and waiting a little tells which.
func readContainer(g *globals, id string) (*container, error) {
	if err := validID(id); err != nil {
		return nil, err
	}
	c := &container{dir: filepath.Join(g.root, id), signals: g.signals}
	for range 50 {
		if err := c.load(); !errors.Is(err, errBroken) || !c.busy() {
			return c, err
		}
		time.Sleep(time.Millisecond)
	}
	c.state = state{Magic: stateMagic, OCIVersion: specs.Version, ID: id, Phase: phaseCreating}
	return c, nil
}

// close gives the lock back.
func (c *container) close() {
	if c.lock != nil {
		c.lock.Close()
		c.lock = nil
	}
}

// load reads the record.
func (c *container) load() error {
	id := filepath.Base(c.dir)
	data, err := readFile(filepath.Join(c.dir, "runh.json"), configMax)
	switch {
	case err == nil:
		if err = decodeJSON(string(data), &c.state); err == nil && c.Magic == stateMagic && c.ID == id {
			return nil
		}
		c.state = state{}
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
	default:
		return err
	}
	if c.half() {
		return fmt.Errorf("%s: %w", id, errBroken)
	}
	return fmt.Errorf("%s: %w", id, errNotExist)
}

// half says whether a directory without a whole record is one of ours: of this
// user alone, and empty, or with nothing in it but what runh puts there.
// Another runtime's is not, nor a bundle: runh writes config.json after the
// first record and removes it before the last.
func (c *container) half() bool {
	var st unix.Stat_t
	if unix.Lstat(c.dir, &st) != nil || st.Mode&(unix.S_IFMT|0o077) != unix.S_IFDIR || st.Uid != uint32(os.Geteuid()) {
		return false
	}
	entries, err := os.ReadDir(c.dir)
	config, more := false, false
	for _, e := range entries {
		name, written := strings.CutSuffix(e.Name(), newSuffix)
		switch name {
		case "config.json":
			config, more = true, more || written
		case "runh.json", "criu.pid", "start.sock", notifyDir, manifestName, stateName:
			more = true
		default:
			return false
		}
	}
	return err == nil && (more || !config)
}

// save replaces the record. The lock makes this the only writer.
func (c *container) save() error {
	return writeFile(filepath.Join(c.dir, "runh.json"), encodeJSON(&c.state, ""), 0o600)
}

// remove takes the directory away, the record last but for the directory
// itself: a remove that is cut short leaves something "delete --force" knows.
func (c *container) remove() error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "runh.json" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(c.dir, e.Name())); err != nil {
			return err
		}
	}
	if err := unix.Unlink(filepath.Join(c.dir, "runh.json")); err != nil && err != unix.ENOENT {
		return &fs.PathError{Op: "unlink", Path: c.dir + "/runh.json", Err: err}
	}
	return os.Remove(c.dir)
}

// status derives what the spec calls the status (and "paused", which every
// engine knows). A container is paused when none of its processes runs any
// more: until pause has come so far, and if it never does, it is not.
func (c *container) status() (string, error) {
	switch {
	case c.Phase == phaseCreating && (c.claimed || c.lock == nil && c.busy()):
		return "creating", nil
	case c.Phase == phaseCreating || !c.alive():
		return "stopped", nil // a create that was killed has nothing alive to show
	}
	frozen, err := openCgroup(c.Cgroup).frozen()
	switch {
	case err != nil:
		// The process may have ended, and its cgroup gone, since we looked.
		if !c.alive() {
			return "stopped", nil
		}
		return "", err
	case frozen:
		return "paused", nil
	}
	return c.Phase, nil
}

// freezing: is it paused, or was a pause begun? A command that waits for one of
// its processes then waits until it is resumed.
func (c *container) freezing() bool {
	freezing, err := openCgroup(c.Cgroup).freezing()
	return err == nil && freezing
}

// alive: does the process that create made still run?
func (c *container) alive() bool {
	if c.Pid <= 0 {
		return false
	}
	start, err := processStart(c.Pid)
	return err == nil && start == c.StartTime
}

// validID keeps IDs fit to be a directory's name and a part of a cgroup's.
func validID(id string) error {
	if len(id) > 255 {
		return fmt.Errorf("%.32q...: %w: %d bytes are more than 255", id, errInvalidID, len(id))
	}
	valid := id != "" && id != "." && !strings.Contains(id, "..")
	for i := 0; i < len(id) && valid; i++ {
		c := id[i]
		valid = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == '_' || c == '+' || c == '-' || c == '.'
	}
	if !valid {
		return fmt.Errorf("%q: %w: letters, digits, _ + - and single dots are allowed", id, errInvalidID)
	}
	return nil
}

// hookState is the state that hooks of a kind are told.
func (c *container) hookState(status specs.ContainerState, pid int) specs.State {
	return specs.State{
		Version: specs.Version, ID: c.ID, Status: status, Pid: pid,
		Bundle: c.Bundle, Annotations: c.Annotations,
	}
}
