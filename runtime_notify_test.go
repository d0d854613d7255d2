// runh as a service of Type=notify: the container's READY reaches the service manager, and nothing else of it does.

package main

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// manager is the socket of a service manager.
type manager struct {
	r    *rt
	conn *net.UnixConn
}

func newManager(r *rt) *manager {
	r.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: r.dir + "/manager", Net: "unixgram"})
	r.must(err)
	r.Cleanup(func() { conn.Close() })
	r.env = append(os.Environ(), "RUNH_TEST_TOKEN="+r.token, "NOTIFY_SOCKET="+r.dir+"/manager")
	return &manager{r, conn}
}

// next is the next message, with the one that systemd answers by closing what came with it taken for an answer.
func (m *manager) next() string {
	m.r.Helper()
	m.conn.SetReadDeadline(time.Now().Add(rtLimit))
	b := make([]byte, 4096)
	n, err := m.conn.Read(b) // without room for descriptors: the kernel closes them
	m.r.must(err)
	return string(b[:n])
}

// quiet: nothing has come.
func (m *manager) quiet() {
	m.r.Helper()
	m.conn.SetReadDeadline(time.Now())
	b := make([]byte, 4096)
	if n, err := m.conn.Read(b); err == nil {
		m.r.Errorf("the manager got %q", b[:n])
	}
}

// said takes the messages of one that became ready.
func (m *manager) said(pid int) {
	m.r.Helper()
	got := m.next()
	if pid > 0 && got != "READY=1\nMAINPID="+strconv.Itoa(pid)+"\n" {
		m.r.Errorf("the manager got %q, want READY of process %d", got, pid)
	}
	if pid == 0 && !strings.HasPrefix(got, "READY=1\nMAINPID=") {
		m.r.Errorf("the manager got %q", got)
	}
	if got := m.next(); got != "BARRIER=1" {
		m.r.Errorf("after that the manager got %q", got)
	}
	m.quiet()
}

func TestNotifySocket(t *testing.T) {
	const script = `probe notify STATUS=beginning; probe notify "MAINPID=1
STOPPING=1"; cat /tmp/go; probe notify "STATUS=done
READY=1"; probe notify READY=1; echo $NOTIFY_SOCKET; read x`
	fifo := func(c *ctr) string { // the container waits for us at /tmp/go
		path := c.rootfs() + "/tmp/go"
		c.r.must(unix.Mkfifo(path, 0o666))
		return path
	}
	for _, x := range []struct {
		name  string
		edit  func(*specs.Spec)
		users bool
	}{
		{"root", func(*specs.Spec) {}, false},
		{"another user", func(s *specs.Spec) { s.Process.User = specs.User{UID: 1000, GID: 1000} }, false},
		{"user namespace", func(*specs.Spec) {}, true},
	} {
		t.Run("start by "+x.name, func(t *testing.T) {
			r := newRT(t)
			r.onlyRunh("runc says it in two messages")
			m := newManager(r)
			c := r.sh(script, x.edit).addProbe()
			path := fifo(c)
			if x.users {
				c.ownUsers()
			}
			r.must(os.Chmod(path, 0o666))
			c.create()
			m.quiet()
			started := make(chan result)
			go func() { started <- r.do("start", c.id) }()
			c.out.until("ok\nok\n")
			select {
			case res := <-started:
				t.Errorf("start did not wait: %v", res)
			case <-time.After(50 * time.Millisecond): // only to catch a start that does not wait
			}
			m.quiet()
			c.wantStatus("running") // and others can work with it meanwhile
			r.must(os.WriteFile(path, nil, 0))
			m.said(c.pid)
			if res := <-started; res.ok().eof > time.Second {
				t.Errorf("start's output was held open for %v", res.eof)
			}
			c.out.until("/run/notify/notify.sock")
		})
	}
	t.Run("run --detach", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("runc says it in two messages")
		m := newManager(r)
		c := r.sh("probe notify READY=1; read x").addProbe()
		started := make(chan result)
		go func() { started <- c.launch("run", "--detach") }()
		m.said(0)
		if res := <-started; res.code != 0 {
			t.Fatalf("exit code %d, stderr %q", res.code, res.err)
		}
	})
	t.Run("run", func(t *testing.T) { // stays, so the service is its own process
		r := newRT(t)
		r.onlyRunh("runc says it in two messages")
		m := newManager(r)
		c := r.sh("probe notify READY=1; exit 5").addProbe()
		ended := make(chan result)
		go func() { ended <- c.run() }()
		m.said(0)
		if res := <-ended; res.code != 5 || res.out != "ok\n" {
			t.Errorf("exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
		}
	})
	t.Run("never ready", func(t *testing.T) {
		r := newRT(t)
		m := newManager(r)
		c := r.sh("exit 4").create().start()
		if code := c.wait(); code != 4 {
			t.Errorf("exit code %d", code)
		}
		m.quiet()
	})
	t.Run("deleted while it is awaited", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("it is what the lock is for")
		m := newManager(r)
		c := r.sh("echo here; read x").create()
		started := make(chan result)
		go func() { started <- r.do("start", c.id) }()
		c.out.until("here")
		r.do("delete", "--force", c.id).ok()
		(<-started).ok()
		m.quiet()
	})
	t.Run("nobody asks", func(t *testing.T) {
		r := newRT(t)
		if res := r.sh("ls -d /run/notify; env | grep NOTIFY; true").run(); res.out != "" {
			t.Errorf("stdout %q", res.out)
		}
	})
}
