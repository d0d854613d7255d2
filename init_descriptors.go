// The caller's descriptors that the process gets (--preserve-fds, and systemd's
// LISTEN_FDS), and the end of all others.
//
// Contract: the process has 0, 1, 2 and what the caller handed over, each under the caller's number,
// and nothing else. Close-on-exec tells the two kinds apart: everything that runh opens has it, and a
// descriptor that the caller passes on cannot have it. A number in the range that is not the caller's
// stays closed.

package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// preserved are the caller's descriptors in the process: under their own numbers,
// but for those that the set-up's own two have taken.
type preserved struct {
	numbers []int       // as the caller and the process know them, ascending
	waiting map[int]int // where the displaced ones are, by their number
	end     int         // the descriptors from here on are the set-up's
}

// inheritPreserved takes the caller's descriptors over. It must come before
// every other inherit.
func (c *processCompiler) inheritPreserved(count int) error {
	numbers, err := callersDescriptors(count)
	if err != nil {
		return err
	}
	c.preserved = preserved{numbers: numbers, waiting: map[int]int{}}
	for _, fd := range numbers {
		if fd < firstFD {
			continue
		}
		for len(c.begins) < fd {
			c.inherit(-1, "") // which stays closed
		}
		c.inherit(fd, "the caller's "+strconv.Itoa(fd))
	}
	for _, fd := range numbers {
		if fd < firstFD {
			c.preserved.waiting[fd] = c.inherit(fd, "the caller's "+strconv.Itoa(fd))
		}
	}
	c.preserved.end = len(c.begins)
	return nil
}

// callersDescriptors are the numbers from 3 to 3+count-1 that the caller has
// left open for us.
func callersDescriptors(count int) (numbers []int, err error) {
	if count == 0 {
		return nil, nil
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, fmt.Errorf("look for the caller's descriptors: %w", err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < 3 || fd-3 >= count {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			numbers = append(numbers, fd)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// listenFDs is how many descriptors socket activation passes to us, from 3 on.
// They may be meant for another: sd_listen_fds(3), NOTES.
func listenFDs() int {
	n, err := strconv.ParseUint(os.Getenv("LISTEN_FDS"), 10, 16)
	if err != nil || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return 0
	}
	return int(n)
}

// settle closes what is not needed any more; the start socket becomes 3.
func (c *processCompiler) settle() {
	c.at("close descriptors")
	if c.listener != 0 {
		c.call(unix.SYS_DUP3, c.listener, programFD, unix.O_CLOEXEC)
	}
	c.call(unix.SYS_CLOSE_RANGE, c.preserved.end, uint64(^uint32(0)), 0)
}

// handOver gives the process its descriptors, and makes everything else end
// with the execve.
func (c *processCompiler) handOver(failing func(what string, op call)) {
	if c.conn.p != nil {
		c.peer = c.conn
	} else if c.peer = syncFD; slices.Contains(c.preserved.numbers, syncFD) {
		c.at("move the socket to the parent")
		c.peer = c.call(unix.SYS_FCNTL, syncFD, unix.F_DUPFD_CLOEXEC, 0)
	}
	gap := 3
	for _, fd := range c.preserved.numbers {
		if gap < fd {
			failing("close descriptors", c.call(unix.SYS_CLOSE_RANGE, gap, fd-1, unix.CLOSE_RANGE_CLOEXEC))
		}
		gap = fd + 1
		if from, displaced := c.preserved.waiting[fd]; displaced {
			failing("move descriptors", c.call(unix.SYS_DUP3, from, fd, 0))
		}
	}
	failing("close descriptors", c.call(unix.SYS_CLOSE_RANGE, gap, uint64(^uint32(0)), unix.CLOSE_RANGE_CLOEXEC))
}

// raiseFiles lets the set-up have as many descriptors as it may. What the
// caller had is the process's, unless its config says otherwise.
func (c *processCompiler) raiseFiles() {
	c.nofile = c.alloc(16)
	c.call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, 0, c.nofile)
	hard := c.facts.hardFiles()
	c.call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, c.words(hard, hard), 0)
	if hard < plentyFiles {
		c.call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, c.words(plentyFiles, plentyFiles), 0).ignoreAll() // only some may
	}
}

// plentyFiles are more descriptors than any set-up needs.
const plentyFiles = 1024

// ownFileLimit gives the process its own limit. rlimits has raised the hard one, if
// that was asked for: this needs no privilege.
func (c *processCompiler) ownFileLimit() call {
	limit := c.nofile
	for _, l := range c.plan.process.Rlimits {
		if rlimitNumber(l.Type) == unix.RLIMIT_NOFILE {
			limit = c.words(l.Soft, l.Hard)
		}
	}
	return c.call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, limit, 0)
}
