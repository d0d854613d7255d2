// The seccomp agent: a socket and a process beside the runtime, which decides about system calls that the profile leaves to it.

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// seccompAgent takes listeners on a socket and answers what they ask: mkdir fails with EDOM, everything else goes on.
type seccompAgent struct {
	r    *rt
	path string
	mu   sync.Mutex
	got  []specs.ContainerProcessState
	bad  []string
	nrs  map[int32]int // system calls asked about
}

const agentAnswer = int32(unix.EDOM)

func newSeccompAgent(r *rt) *seccompAgent {
	r.Helper()
	a := &seccompAgent{r: r, path: r.dir + "/agent", nrs: map[int32]int{}}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: a.path, Net: "unix"})
	r.must(err)
	r.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			a.take(conn)
		}
	}()
	return a
}

// take reads one connection to its end.
func (a *seccompAgent) take(conn *net.UnixConn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(rtLimit))
	data, oob := make([]byte, 1<<16), make([]byte, 256)
	n, oobn, _, _, err := conn.ReadMsgUnix(data, oob)
	a.mu.Lock()
	defer a.mu.Unlock()
	var state specs.ContainerProcessState
	if err == nil {
		err = json.Unmarshal(data[:n], &state)
	}
	if err != nil {
		a.bad = append(a.bad, fmt.Sprintf("%v: %q", err, data[:n]))
		return
	}
	if n, _ := conn.Read(data[:1]); n != 0 {
		a.bad = append(a.bad, "more than one state in a connection")
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		a.bad = append(a.bad, fmt.Sprintf("%d control messages: %v", len(msgs), err))
		return
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		a.bad = append(a.bad, fmt.Sprintf("%d descriptors: %v", len(fds), err))
		return
	}
	a.got = append(a.got, state)
	go a.answer(fds[0])
}

// answer serves one filter until nobody is under it.
func (a *seccompAgent) answer(fd int) {
	defer unix.Close(fd)
	const recv, send, goOn = 0xc0502100, 0xc0182101, 1 // SECCOMP_IOCTL_NOTIF_RECV, _SEND; SECCOMP_USER_NOTIF_FLAG_CONTINUE
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, -1); err == unix.EINTR {
			continue
		}
		if p[0].Revents&unix.POLLIN == 0 {
			return
		}
		var req struct {
			id         uint64
			pid, flags uint32
			nr         int32
			arch       uint32
			ip         uint64
			args       [6]uint64
		}
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), recv, uintptr(unsafe.Pointer(&req))); e != 0 {
			continue
		}
		a.mu.Lock()
		a.nrs[req.nr]++
		a.mu.Unlock()
		resp := struct {
			id    uint64
			val   int64
			errno int32
			flags uint32
		}{id: req.id, flags: goOn}
		if req.nr == unix.SYS_MKDIR || req.nr == unix.SYS_MKDIRAT {
			resp.errno, resp.flags = -agentAnswer, 0
		}
		unix.Syscall(unix.SYS_IOCTL, uintptr(fd), send, uintptr(unsafe.Pointer(&resp)))
	}
}

// states waits for the next one that was taken.
func (a *seccompAgent) state(n int) specs.ContainerProcessState {
	a.r.Helper()
	a.r.eventually("a state for the agent", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.got) > n || len(a.bad) > 0
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.bad) > 0 {
		a.r.Fatalf("the agent got %q", a.bad)
	}
	return a.got[n]
}

func (a *seccompAgent) asked(nr int32) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.nrs[nr]
}

// profile leaves the named calls to the agent.
func (a *seccompAgent) profile(names ...string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Linux.Seccomp = &specs.LinuxSeccomp{
			DefaultAction: specs.ActAllow, ListenerPath: a.path, ListenerMetadata: "about " + a.r.token,
			Syscalls: []specs.LinuxSyscall{{Names: names, Action: specs.ActNotify}},
		}
	}
}

func TestSeccompAgent(t *testing.T) {
	const script = "mkdir /tmp/x; echo $?; id -u; read x"
	t.Run("container", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("the listener comes when the filter is loaded, which is at another time")
		a := newSeccompAgent(r)
		c := r.sh(script, a.profile("mkdir", "mkdirat"), func(s *specs.Spec) { s.Annotations = map[string]string{"a": "b"} }).create()
		if len(a.got) != 0 {
			t.Error("the agent has heard of a container before its start")
		}
		c.start()
		s := a.state(0)
		if len(s.Fds) != 1 || s.Fds[0] != "seccompFd" || s.Version == "" || s.Pid != c.pid || s.Metadata != "about "+r.token ||
			s.State.ID != c.id || s.State.Pid != c.pid || s.State.Bundle != c.dir || s.State.Status != "created" || s.State.Annotations["a"] != "b" {
			t.Errorf("state %+v", s)
		}
		c.out.until("1\n0\n")
		if err := c.err.until("argument"); !strings.Contains(err, unix.Errno(agentAnswer).Error()) && !strings.Contains(err, "argument out of domain") {
			t.Errorf("mkdir said %q", err)
		}
		if a.asked(unix.SYS_MKDIR)+a.asked(unix.SYS_MKDIRAT) != 1 {
			t.Errorf("asked about %v", a.nrs)
		}
		// An exec has a filter, a listener and a state of its own.
		if res := r.do("exec", c.id, "sh", "-c", "mkdir /tmp/y; echo $?; echo $$"); res.code != 0 || !strings.HasPrefix(res.out, "1\n") {
			t.Errorf("exec: exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
		}
		if s := a.state(1); s.Pid == c.pid || s.Pid <= 0 || s.State.Pid != c.pid || s.State.Status != "running" || s.Metadata != "about "+r.token {
			t.Errorf("exec: state %+v", s)
		}
	})
	// What the last steps to the program need may itself be left to the agent, or denied.
	for _, x := range []struct {
		name  string
		names []string
		nnp   bool
		edit  func(*specs.LinuxSeccomp)
	}{
		{"execve", []string{"execve", "mkdir"}, false, nil},
		{"no new privileges", []string{"execve", "mkdir"}, true, nil},
		{"all that comes after", []string{"execve", "read", "capset", "openat", "close", "mkdir", "sendmsg", "futex", "sched_yield"}, false, nil},
		{"sendmsg", []string{"sendmsg", "mkdir"}, false, nil},
		{"sendmsg denied", []string{"mkdir"}, false, func(s *specs.LinuxSeccomp) {
			s.Syscalls = append(s.Syscalls, specs.LinuxSyscall{Names: []string{"sendmsg", "sched_yield", "futex"}, Action: specs.ActErrno})
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRT(t)
			r.onlyRunh("the listener comes at another time")
			a := newSeccompAgent(r)
			c := r.sh(script, a.profile(x.names...), func(s *specs.Spec) { s.Process.NoNewPrivileges = x.nnp })
			if x.edit != nil {
				x.edit(c.spec.Linux.Seccomp)
				c.write()
			}
			c.create().start()
			c.out.until("1\n0\n")
			if s := a.state(0); s.Pid != c.pid {
				t.Errorf("state %+v", s)
			}
			if a.asked(unix.SYS_MKDIR) != 1 {
				t.Errorf("asked about %v", a.nrs)
			}
			res := r.do("exec", c.id, "mkdir", "/tmp/y")
			if res.code != 1 || a.asked(unix.SYS_MKDIR) != 2 {
				t.Errorf("exec: exit code %d, stderr %q, asked about %v", res.code, res.err, a.nrs)
			}
		})
	}
	t.Run("run", func(t *testing.T) {
		r := newRT(t)
		a := newSeccompAgent(r)
		res := r.sh("mkdir /tmp/x; echo $?", a.profile("mkdir")).run()
		if res.code != 0 || res.out != "1\n" || a.asked(unix.SYS_MKDIR) != 1 {
			t.Errorf("exit code %d, stdout %q, stderr %q, asked about %v", res.code, res.out, res.err, a.nrs)
		}
	})
	t.Run("user namespace", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("the listener comes at another time")
		a := newSeccompAgent(r)
		c := r.sh(script, a.profile("mkdir", "sendmsg")).ownUsers().create().start()
		c.out.until("1\n0\n")
		if s := a.state(0); s.Pid != c.pid {
			t.Errorf("state %+v", s)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("the listener comes at another time")
		nobody := &seccompAgent{r: r, path: r.dir + "/nobody"}
		c := r.sh("echo ran; read x", nobody.profile("mkdir")).create()
		r.do("start", c.id).fails("failed to connect with seccomp agent " + nobody.path + ": nobody listens there")
		c.wait()
		if out := c.out.all(rtLimit); out != "" {
			t.Errorf("the program ran: %q", out)
		}
		c.wantStatus("stopped")
		d := r.sh("echo ran", nobody.profile("mkdir"))
		d.run().fails("nobody listens there")
	})
	t.Run("no listener", func(t *testing.T) { // a path without a rule is without meaning
		r := newRT(t)
		nobody := &seccompAgent{r: r, path: r.dir + "/nobody"}
		r.sh("true", nobody.profile("mkdir"), func(s *specs.Spec) { s.Linux.Seccomp.Syscalls[0].Action = specs.ActErrno }).output()
	})
	t.Run("bad", func(t *testing.T) {
		r := newRT(t)
		a := &seccompAgent{r: r, path: r.dir + "/nobody"}
		r.sh("true", a.profile("write")).tryCreate().fails("SCMP_ACT_NOTIFY cannot be used for the write syscall")
		r.onlyRunh("the texts are its own")
		r.sh("true", a.profile("mkdir"), func(s *specs.Spec) { s.Linux.Seccomp.ListenerPath = "" }).tryCreate().fails("listenerPath")
		r.sh("true", a.profile("mkdir"), func(s *specs.Spec) {
			s.Linux.Seccomp.ListenerPath, s.Linux.Seccomp.Syscalls[0].Action = "", specs.ActErrno
		}).tryCreate().fails("listenerMetadata is for the agent at listenerPath")
		long := "/" + strings.Repeat("x", 120)
		c := r.sh("true", a.profile("mkdir"), func(s *specs.Spec) { s.Linux.Seccomp.ListenerPath = long }).create()
		r.do("start", c.id).fails("at most 107")
		c.wait()
	})
}

// The listener is the agent's: no descriptor of it is left in the container.
func TestSeccompAgentDescriptors(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("the listener comes at another time")
	a := newSeccompAgent(r)
	c := r.bundle([]string{"sleep", "1000"}, a.profile("mkdir")).create().start()
	a.state(0)
	fds, err := os.ReadDir("/proc/" + strconv.Itoa(c.pid) + "/fd")
	r.must(err)
	if len(fds) != 3 {
		t.Errorf("%d descriptors, want 3", len(fds))
	}
}
