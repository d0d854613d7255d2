// The service manager's "ready": if runh runs as a service of Type=notify,
// NOTIFY_SOCKET names the socket of systemd or of podman's conmon. The
// container gets a socket of its own instead, /run/notify/notify.sock, of whose
// messages one goes on to the manager: READY. Anything else would be a word of
// the container's about runh's own service (MAINPID=1 would do).
//
// Nothing stays behind to pass that on: start, and run --detach, wait until the
// container is ready or gone, as the manager does.

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	notifySocket = "notify.sock"
)

// shareNotify gives the container the directory in which start will put the
// socket.
func (c *creation) shareNotify() error {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	dir := filepath.Join(c.container.dir, notifyDir)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the umask is the caller's
		return err
	}
	c.plan.init.mounts = append(c.plan.init.mounts, mountRequest{
		dest: "/run/notify", source: dir, fstype: "bind", bind: true, propagation: unix.MS_PRIVATE,
		set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC,
	})
	return nil
}

// notifyEnv is what the process has to know of it.
func (c *creation) notifyEnv() []string {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	return []string{"NOTIFY_SOCKET=/run/notify/" + notifySocket}
}

// readiness is the wait for READY.
type readiness struct {
	manager string // its socket
	socket  int    // the container's, or -1: it cannot know of one
}

// expectReady opens the container's socket, before its process runs; nil if
// nobody wants to know.
func (c *container) expectReady() (*readiness, error) {
	manager := os.Getenv("NOTIFY_SOCKET")
	if manager == "" {
		return nil, nil
	}
	r := &readiness{manager, -1}
	dir, err := unix.Open(filepath.Join(c.dir, notifyDir), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	switch {
	case err == unix.ENOENT && c.Kind != "hermit": // create was not told
		return nil, nil
	case c.Kind == "hermit": // a guest has no such socket: it is ready once it runs
		unix.Close(dir)
		return r, nil
	case err != nil:
		return nil, fmt.Errorf("notify socket: %w", err)
	}
	defer unix.Close(dir)
	if r.socket, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	name := fmt.Sprintf("/proc/self/fd/%d/%s", dir, notifySocket) // the directory's own name may be too long
	if err = unix.Bind(r.socket, &unix.SockaddrUnix{Name: name}); err == nil {
		err = unix.Chmod(name, 0o777) // the process may be anybody
	}
	if err != nil {
		unix.Close(r.socket)
		return nil, fmt.Errorf("notify socket: %w", err)
	}
	return r, nil
}

// wait passes READY on, and that the service is now the process mainPID. It
// returns when that is done, or process pid is gone, or there is nobody to tell:
// none of that is the container's fault.
func (r *readiness) wait(pid, mainPID int) {
	if r == nil {
		return
	}
	if r.socket >= 0 {
		defer unix.Close(r.socket)
		if !r.ready(pid) {
			return
		}
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(s)
	manager := &unix.SockaddrUnix{Name: r.manager}
	if unix.Sendto(s, []byte("READY=1\nMAINPID="+strconv.Itoa(mainPID)+"\n"), 0, manager) != nil {
		return
	}
	// sd_notify_barrier(3): systemd must have read the message while we still
	// exist, for it looks us up. Then it closes this pipe.
	var pipe [2]int
	if unix.Pipe2(pipe[:], unix.O_CLOEXEC) != nil {
		return
	}
	defer unix.Close(pipe[0])
	err = unix.Sendmsg(s, []byte("BARRIER=1"), unix.UnixRights(pipe[1]), manager, 0)
	unix.Close(pipe[1])
	if err == nil {
		pollUntil(time.Now().Add(5*time.Second), pipe[0])
	}
}

// ready waits for the message, or for the end of the process: its last words
// are heard.
func (r *readiness) ready(pid int) bool {
	pidfd, err := unix.PidfdOpen(pid, 0)
	gone := err != nil
	if !gone {
		defer unix.Close(pidfd)
	}
	for {
		gone = gone || pollUntil(time.Time{}, pidfd, r.socket) == pidfd
		for {
			var msg [4096]byte
			n, err := unix.Read(r.socket, msg[:])
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				break // no more
			}
			for line := range bytes.SplitSeq(msg[:n], []byte("\n")) {
				if string(line) == "READY=1" {
					return true
				}
			}
		}
		if gone {
			return false
		}
	}
}
