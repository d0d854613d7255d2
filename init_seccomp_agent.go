// Seccomp's third party: system calls with SCMP_ACT_NOTIFY wait for an agent of
// the operator's, who listens on linux.seccomp.listenerPath and gets the
// filter's listener with the container process state (runtime-spec,
// config-linux.md, "The Container Process State").
//
// The kernel gives the listener to the process that loads the filter, which is
// under it from then on. So that process makes two more calls, and whoever
// waits for its execve (start, exec) talks to the agent: it sends the listener,
// and waits for a word.

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// listenerSize is the size of the message: no error, syncListener, and then
// the control message once more, which ends with the descriptor's number.
const listenerSize = 40

// handListener sends the listener that load has made, and goes on with rest.
// Where the filter does not let sendmsg pass, only the number goes over, by a
// write: a profile that notifies of writes is refused. From here to the execve
// there is no jump, for that would be a system call too.
func (c *processCompiler) handListener(load call, failing func(string, call), rest func()) {
	peer := c.peer
	answered := func() {
		// End of file: who should tell the agent is gone. A filter that refuses
		// even this call leaves nothing to wait with.
		c.call(unix.SYS_READ, peer, c.alloc(8), 8).ignoreAll().ifZero(&label{addr: c.opAddr(1)})
		rest()
	}
	message := c.words(0, uint64(syncListener), 20, uint64(unix.SOL_SOCKET)|uint64(unix.SCM_RIGHTS)<<32, 0)
	load.into(message + 32)
	var denied label
	if !notifies(c.plan.linux.Seccomp, "sendmsg") {
		iov := c.words(uint64(message), listenerSize)
		c.call(unix.SYS_SENDMSG, peer, c.words(0, 0, uint64(iov), 1, uint64(message+16), 24, 0), 0).orElse(&denied)
		answered()
	}
	c.place(&denied)
	failing("send the seccomp listener", c.call(unix.SYS_WRITE, peer, message, listenerSize))
	answered()
}

func notifies(s *specs.LinuxSeccomp, name string) bool {
	return slices.ContainsFunc(s.Syscalls, func(r specs.LinuxSyscall) bool {
		return r.Action == specs.ActNotify && slices.Contains(r.Names, name)
	})
}

// listener is what handListener has sent: the descriptor that came with the
// message, or else the one of that number in the process.
func (s *session) listener(pid int) (int, error) {
	if fd := s.take(); fd >= 0 {
		return fd, nil
	}
	if len(s.message) < listenerSize {
		return -1, errInitDied
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, errNotRunning
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, int(binary.NativeEndian.Uint64(s.message[32:])), 0)
	if err != nil {
		return -1, fmt.Errorf("take the seccomp listener from process %d: %w", pid, err)
	}
	return fd, nil
}

// informAgent gives the listener of a process's filter to the agent.
func (c *container) informAgent(s *specs.LinuxSeccomp, status specs.ContainerState, pid, listener int) error {
	defer unix.Close(listener)
	state := specs.ContainerProcessState{
		Version: specs.Version, Fds: []string{specs.SeccompFdName}, Pid: pid, Metadata: s.ListenerMetadata,
		State: c.hookState(status, c.Pid),
	}
	err := sendFD(c.signals, "seccomp agent", s.ListenerPath, string(encodeJSON(&state, "")), listener)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
		// Not the kernel's words: dockerd takes these for a missing program.
		return fmt.Errorf("failed to connect with seccomp agent %s: nobody listens there", s.ListenerPath)
	}
	return err
}

func checkAgent(s *specs.Spec) error {
	if p := s.Linux.Seccomp; p != nil && p.ListenerMetadata != "" && p.ListenerPath == "" {
		return errors.New("linux.seccomp.listenerMetadata is for the agent at listenerPath, which is missing")
	}
	return nil
}
