// Processes: what the kernel says of them (proc(5)), and waits for their end.
//
// Contract: a pid alone names nobody, a pid with its start time one process for good.

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// killTime is how long a process may take to die of SIGKILL.
const killTime = 10 * time.Second

// processStart returns a process's start time, in clock ticks since boot, which
// together with the pid names it for good. A zombie counts as gone (ESRCH): its
// exit has happened, only its parent has not looked.
func processStart(pid int) (uint64, error) {
	f, err := processStat("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	if f[0] == "Z" || f[0] == "X" {
		return 0, syscall.ESRCH
	}
	return strconv.ParseUint(f[22-3], 10, 64)
}

// processStat returns the fields of a process's or thread's stat file from the third on, which is the state. The second, the
// name, may contain anything but ends at the last ')': proc_pid_stat(5). Field 22, the start time, is there.
func processStat(path string) ([]string, error) {
	data, err := readFile(path, 4096)
	if err != nil {
		return nil, err
	}
	s := string(data)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) <= 22-3 {
		return nil, fmt.Errorf("%s: %d fields are too few", path, len(f))
	}
	return f, nil
}

// inUserNamespace: only the first user namespace maps every id to itself.
func inUserNamespace() bool {
	data, err := readFile("/proc/self/uid_map", 4096)
	f := strings.Fields(string(data))
	return err == nil && !(len(f) == 3 && f[0] == "0" && f[1] == "0" && f[2] == "4294967295")
}

// inNamespace runs f on a thread in the network or mount namespace of a descriptor.
func inNamespace(ns, flag int, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this function
		if unix.Gettid() == unix.Getpid() {
			// The first thread cannot end, and /proc/self is about it: another one, while this waits.
			defer runtime.UnlockOSThread()
			done <- inNamespace(ns, flag, f)
			return
		}
		var err error
		if flag == unix.CLONE_NEWNS { // which a thread that shares its root and cwd cannot enter
			err = unix.Unshare(unix.CLONE_FS)
		}
		if err == nil {
			err = unix.Setns(ns, flag)
		}
		if err != nil {
			done <- fmt.Errorf("enter the namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// ownerName is the name of a user in /etc/passwd, or else the number.
func ownerName(uid int) string {
	if uid == 0 {
		return "root"
	}
	number := strconv.Itoa(uid)
	data, _ := readFile("/etc/passwd", configMax)
	for line := range strings.Lines(string(data)) {
		if f := strings.Split(line, ":"); len(f) > 2 && f[2] == number {
			return f[0]
		}
	}
	return number
}

// pollUntil waits for one of the descriptors to become readable or to be hung
// up, and says which; -1 if the time comes first. The zero time never comes.
func pollUntil(deadline time.Time, fds ...int) int {
	list := make([]unix.PollFd, len(fds))
	for i, fd := range fds {
		list[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	for {
		left := -1
		if !deadline.IsZero() {
			left = int(max(time.Until(deadline).Milliseconds(), 0))
		}
		n, err := unix.Poll(list, left)
		switch {
		case err == unix.EINTR:
			continue
		case n <= 0:
			return -1
		}
		for _, p := range list {
			if p.Revents != 0 {
				return int(p.Fd)
			}
		}
	}
}

// exits says whether a process ends within the time.
func exits(pid int, limit time.Duration) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	return pollUntil(time.Now().Add(limit), fd) >= 0
}

// endChild kills a child of ours. One that does not die within the time hangs in
// the kernel; the last of its parents reaps it.
func endChild(pid int, limit time.Duration) {
	unix.Kill(pid, unix.SIGKILL)
	if exits(pid, limit) {
		reapChild(pid)
	}
}

func reapChild(pid int) (status unix.WaitStatus) {
	for {
		if _, err := unix.Wait4(pid, &status, 0, nil); err != unix.EINTR {
			return status
		}
	}
}

// hostProgram finds a program of the host: by PATH, and, since engines may call
// us without one, where programs usually are.
func hostProgram(name string) (string, error) {
	dirs := append(filepath.SplitList(os.Getenv("PATH")),
		"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		var st unix.Stat_t
		if filepath.IsAbs(dir) && unix.Stat(path, &st) == nil &&
			st.Mode&unix.S_IFMT == unix.S_IFREG && unix.Access(path, unix.X_OK) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("the host has no program %s", name)
}

// memoryFile is an anonymous file with the given content, to be read from its
// beginning.
func memoryFile(name string, content []byte) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	if len(content) > 0 {
		if _, err := unix.Pwrite(fd, content, 0); err != nil {
			unix.Close(fd)
			return -1, os.NewSyscallError("write", err)
		}
	}
	return fd, nil
}

// noteLength is as much of a program's output as an error message has.
const noteLength = 1024

// outputNote is the end of a program's output, for an error message.
func outputNote(output []byte) string {
	if len(output) == 0 {
		return ""
	}
	return ", output: " + strings.TrimSpace(string(output[max(0, len(output)-noteLength):]))
}

// lastWords is that note of a hook's output, which can be without end.
func lastWords(out int) string {
	size, err := unix.Seek(out, 0, 2)
	if err != nil || size == 0 {
		return ""
	}
	buf := make([]byte, min(size, noteLength))
	n, err := unix.Pread(out, buf, size-int64(len(buf)))
	if err != nil {
		return ""
	}
	return outputNote(buf[:n])
}
