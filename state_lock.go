// The lock of a container: a flock on its directory, which the
// kernel drops with the process that holds it, however that ends.
//
// Contract:
//   - A command waits for its turn, as long as it takes: the others are short.
//   - No command waits for a create. Its hooks can take any time, so the others
//     say that the container is being created, and "delete --force" ends it; a
//     start that runs hooks as well.
//   - No command waits for one that waits for it: a hook that changes its own
//     container gets an error.
//   - The kernel says which process holds the lock (/proc/locks, proc(5)). The
//     record adds that the process is a create, or a start with hooks. runh
//     signals a pid only while its process holds the lock.

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// errCreating is what other commands say of a container whose create is under
// way; callers know its last words.
var errCreating = fmt.Errorf("it is being created: %w", errNotRunning)

const (
	// readersTurn is more than a command needs that only asks whether somebody holds the lock (busy).
	readersTurn = 20 * time.Millisecond
	// unseenTurn bounds the wait for a command that cannot be seen from here: it could wait for us.
	unseenTurn = 10 * time.Second
)

// takeLock waits until the directory is ours. A directory that was removed
// meanwhile, or replaced by the next container of that name, is not it.
func (c *container) takeLock(force bool) error {
	for {
		fd, err := unix.Open(c.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		switch err {
		case nil:
		case unix.ENOENT, unix.ENOTDIR, unix.ELOOP:
			return errNotExist
		default:
			return &fs.PathError{Op: "open", Path: c.dir, Err: err}
		}
		err = flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == unix.EWOULDBLOCK {
			err = c.awaitLock(fd, force)
		}
		if err != nil {
			unix.Close(fd)
			return err
		}
		if names(c.dir, fd) {
			c.lock = os.NewFile(uintptr(fd), c.dir)
			return nil
		}
		unix.Close(fd)
	}
}

// awaitLock waits for the command that holds the lock.
func (c *container) awaitLock(fd int, force bool) error {
	holds := lockHolder(fd)
	if holds.isAncestor() {
		return errors.New("a hook cannot change its own container")
	}
	record := container{dir: c.dir}
	_ = record.load() // none: a create has just begun, or a delete is about to end
	locked := make(chan error, 1)
	go func() { locked <- flock(fd, unix.LOCK_EX) }() // ends with this process, if not before
	wait := func(limit time.Duration) (bool, error) {
		select {
		case err := <-locked:
			return true, err
		case <-time.After(limit):
			return false, nil
		}
	}
	known := holds.pid != 0 && holds.pid == record.Holder
	switch {
	case record.Phase == phaseCreating && !force && (known || holds.pid == 0):
		got, err := wait(readersTurn)
		if !got {
			err = errCreating
		}
		return err
	case holds.pid == 0:
		got, err := wait(unseenTurn)
		if !got {
			err = fmt.Errorf("another command, which cannot be seen from here, has held the container's lock for %v", unseenTurn)
		}
		return err
	case known && force:
		return c.endHolder(fd, holds, wait)
	}
	return <-locked
}

// endHolder has a create or a start go back to its beginning; one that does not
// is killed, and its container is ours to clean up.
func (c *container) endHolder(fd int, h holder, wait func(time.Duration) (bool, error)) error {
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := h.signal(fd, sig); err != nil {
			return err
		}
		if got, err := wait(killTime); got {
			return err
		}
	}
	return fmt.Errorf("process %d, which creates or starts the container, did not end within %v of SIGKILL", h.pid, killTime)
}

// saveHolder puts on record that this process runs hooks while it holds the lock.
func (c *container) saveHolder() error {
	c.Holder = os.Getpid()
	return c.save()
}

// A holder is the process that has a lock for itself; pid 0: none can be seen from here.
type holder struct{ pid int }

// lockHolder finds who holds the lock of an open directory. The kernel lists
// locks by the number of the inode; the device that it names is not always the
// one that stat(2) knows (btrfs), so the process's own descriptors decide.
func lockHolder(fd int) holder {
	var st unix.Stat_t
	// A procfs of another pid namespace would name other processes by these numbers.
	self, err := os.Readlink("/proc/self")
	if err != nil || self != strconv.Itoa(os.Getpid()) || unix.Fstat(fd, &st) != nil {
		return holder{}
	}
	list, err := readFile("/proc/locks", 16<<20)
	if err != nil {
		return holder{}
	}
	inode := ":" + strconv.FormatUint(st.Ino, 10)
	for line := range strings.Lines(string(list)) {
		// 1: FLOCK  ADVISORY  WRITE 1637 fe:00:11248297 0 EOF
		f := strings.Fields(line)
		if len(f) != 8 || f[1] != "FLOCK" || f[3] != "WRITE" || !strings.HasSuffix(f[5], inode) {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil && pid > 0 && opened(pid, &st) {
			return holder{pid}
		}
	}
	return holder{}
}

// opened: has the process this directory open?
func opened(pid int, dir *unix.Stat_t) bool {
	fds := "/proc/" + strconv.Itoa(pid) + "/fd/"
	entries, _ := os.ReadDir(fds) // another user's process shows none
	for _, e := range entries {
		var st unix.Stat_t
		if unix.Stat(fds+e.Name(), &st) == nil && st.Dev == dir.Dev && st.Ino == dir.Ino {
			return true
		}
	}
	return false
}

// signal goes to the holder alone: if the process that the descriptor stands for
// still holds the lock, it is the one that was seen.
func (h holder) signal(lock int, sig unix.Signal) error {
	fd, err := unix.PidfdOpen(h.pid, 0)
	if err != nil {
		return nil // it is gone, and the lock with it
	}
	defer unix.Close(fd)
	if lockHolder(lock) != h {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("end process %d, which creates or starts the container: %w", h.pid, err)
	}
	return nil
}

// isAncestor: does the holder wait for this process, as a command for its hook?
func (h holder) isAncestor() bool {
	for pid := os.Getppid(); pid > 1; {
		if pid == h.pid {
			return true
		}
		f, err := processStat("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			return false
		}
		if pid, err = strconv.Atoi(f[4-3]); err != nil { // ppid
			return false
		}
	}
	return false
}

// names: is the path still that of the open directory?
func names(path string, fd int) bool {
	var open, named unix.Stat_t
	return unix.Fstat(fd, &open) == nil && unix.Lstat(path, &named) == nil && open.Dev == named.Dev && open.Ino == named.Ino
}

// busy: does some command hold the lock?
func (c *container) busy() bool {
	fd, err := unix.Open(c.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd) // drops the lock, if we got it
	return flock(fd, unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK
}
