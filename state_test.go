package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestValidID(t *testing.T) {
	for _, id := range []string{"a", "A-b_c+d.e", "-x", ".x", "0", strings.Repeat("x", 255)} {
		if err := validID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"", ".", "..", "a/b", "../x", "/x", "a b", "a\nb", "ä", "a..b", "a\x00", "@x", strings.Repeat("x", 256)} {
		err := validID(id)
		if !errors.Is(err, errInvalidID) || len(err.Error()) > 256 || !strings.Contains(err.Error(), "invalid container ID format") {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// stateRoot is a root of its own, and a container in it that is this process.
func stateRoot(t *testing.T) *globals {
	return &globals{root: filepath.Join(t.TempDir(), "root")}
}

func stateClaim(t *testing.T, g *globals, id string) *container {
	t.Helper()
	c, err := claimContainer(g, id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

func TestStateRecord(t *testing.T) {
	g := stateRoot(t)
	c := stateClaim(t, g, "x")
	if info, err := os.Stat(g.root); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("root: %v, %v", info, err)
	}
	c.Bundle, c.Annotations = "/b", map[string]string{"a": "\"\n"}
	c.Pid, c.StartTime = 7, 1<<63
	c.Cgroup = cgroupState{Driver: "cgroupfs", Paths: map[string]string{"": "/sys/fs/cgroup/x"}}
	for range 2 {
		if err := c.save(); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readContainer(g, "x")
	if err != nil || !reflect.DeepEqual(got.state, c.state) {
		t.Errorf("read %+v, %v, want %+v", got, err, c.state)
	}
	if entries, _ := os.ReadDir(c.dir); len(entries) != 1 {
		t.Errorf("save left %v", entries)
	}
	if info, _ := os.Stat(c.dir + "/runh.json"); info.Mode().Perm() != 0o600 {
		t.Errorf("record's mode %v", info.Mode())
	}
	if err := c.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := readContainer(g, "x"); !errors.Is(err, errNotExist) {
		t.Errorf("after remove: %v", err)
	}
}

func TestStateClaim(t *testing.T) {
	g := stateRoot(t)
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			c, err := claimContainer(g, "x")
			if err == nil {
				won.Add(1)
				defer c.close()
				time.Sleep(time.Millisecond)
			} else if !errors.Is(err, errExist) || err.Error() != "x: container with given ID already exists" {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d creates won", won.Load())
	}
}

// Whoever waits for a container that is then deleted gets "does not exist", and
// never the next container of that name in the old one's place.
func TestStateLock(t *testing.T) {
	g := stateRoot(t)
	c := stateClaim(t, g, "x")
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	type opened struct {
		c   *container
		err error
	}
	waiter := make(chan opened)
	open := func() { c, err := openContainer(g, "x"); waiter <- opened{c, err} }
	go open()
	waitForLock(t)
	if err := c.remove(); err != nil {
		t.Fatal(err)
	}
	c.close()
	if got := <-waiter; !errors.Is(got.err, errNotExist) {
		t.Errorf("opened what was deleted: %+v", got)
	}

	c = stateClaim(t, g, "x")
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	go open()
	waitForLock(t)
	if err := c.remove(); err != nil {
		t.Fatal(err)
	}
	next := stateClaim(t, g, "x")
	next.Bundle = "/next"
	if err := next.save(); err != nil {
		t.Fatal(err)
	}
	c.close()
	select {
	case got := <-waiter:
		t.Errorf("opened a locked container: %+v", got)
	case <-time.After(20 * time.Millisecond):
	}
	next.close()
	got := <-waiter
	if got.err != nil || got.c.Bundle != "/next" {
		t.Errorf("opened %+v", got)
	}
	got.c.close()
}

// waitForLock returns when some thread of this process waits in flock(2).
func waitForLock(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		tasks, _ := filepath.Glob("/proc/self/task/*/syscall")
		for _, task := range tasks {
			data, _ := os.ReadFile(task)
			if strings.HasPrefix(string(data), strconv.Itoa(unix.SYS_FLOCK)+" ") {
				return
			}
		}
	}
	t.Fatal("nobody waits for the lock")
}

// What a killed create can leave is recognised; what another runtime left is not
// touched; links are not followed.
func TestStateForeign(t *testing.T) {
	g := stateRoot(t)
	make := func(name, text string) {
		path := g.root + "/" + name
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "/") {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	make("empty/", "")
	make("early/config.json", "{}")
	make("early/runh.json.runh-new", "{")
	make("first/config.json.runh-new", "")
	make("cut/runh.json", `{"magic":"runh/1","id":"cu`)
	make("none/runh.json", "")
	make("other/runh.json", `{"magic":"runh/9","id":"other"}`)
	make("moved/runh.json", `{"magic":"runh/1","id":"x"}`)
	make("runc/state.json", "{}")
	make("runc2/exec.fifo", "")
	make("mixed/config.json", "{}")
	make("mixed/state.json", "{}")
	make("bundle/config.json", "{}")
	make("file", "{}")
	make("@hermit-env.json", "{}")
	if err := os.Symlink("cut", g.root+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"empty", "early", "first", "cut", "none", "other", "moved"} {
		c, err := openContainer(g, id)
		if !errors.Is(err, errBroken) || c == nil || c.lock == nil || c.Pid != 0 {
			t.Errorf("%s: %+v, %v, want errBroken and the lock", id, c, err)
			continue
		}
		if err := c.remove(); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		c.close()
	}
	for _, id := range []string{"runc", "runc2", "mixed", "bundle", "file", "nosuch", "empty"} {
		if c, err := openContainer(g, id); !errors.Is(err, errNotExist) || c != nil {
			t.Errorf("%s: %+v, %v, want errNotExist", id, c, err)
		}
		if _, err := readContainer(g, id); !errors.Is(err, errNotExist) {
			t.Errorf("read %s: %v", id, err)
		}
	}
	if _, err := openContainer(g, "link"); !errors.Is(err, errNotExist) {
		t.Errorf("link: %v", err)
	}
	views, err := listContainers(g)
	if err != nil || len(views) != 0 {
		t.Errorf("list: %+v, %v", views, err)
	}
	if _, err := os.Stat(g.root + "/runc/state.json"); err != nil {
		t.Error(err)
	}
}

func TestStatus(t *testing.T) {
	g := stateRoot(t)
	c := stateClaim(t, g, "x")
	want := func(want string) {
		t.Helper()
		if err := c.save(); err != nil {
			t.Fatal(err)
		}
		r, err := readContainer(g, "x")
		if err != nil {
			t.Fatal(err)
		}
		v, err := r.view()
		if err != nil || v.Status != want || (v.Pid == 0) != (want == "stopped" || c.Pid == 0) {
			t.Errorf("%+v, %v, want %s", v, err, want)
		}
	}
	want("creating")
	child := exec.Command("sleep", "100")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Process.Kill()
	start, err := processStart(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	c.Pid, c.StartTime = child.Process.Pid, start
	want("creating")
	c.Phase = phaseCreated
	want("created")
	c.Phase = phaseRunning
	want("running")
	c.StartTime++ // another process with that pid
	want("stopped")
	c.StartTime--
	child.Process.Kill()
	// A zombie is gone, before anybody waits for it.
	for end := time.Now().Add(5 * time.Second); c.alive() && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	want("stopped")
	if _, err := processStart(child.Process.Pid); err != syscall.ESRCH {
		t.Errorf("start time of a zombie: %v", err)
	}
	child.Wait()
	want("stopped")
	c.Phase, c.Pid = phaseCreating, 0
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	c.close() // as if create had been killed
	r, err := readContainer(g, "x")
	if err != nil {
		t.Fatal(err)
	}
	if status, err := r.status(); status != "stopped" || err != nil {
		t.Errorf("an abandoned create: %s, %v", status, err)
	}
	again, err := openContainer(g, "x")
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	if status, err := again.status(); status != "stopped" || err != nil {
		t.Errorf("an abandoned create, locked: %s, %v", status, err)
	}
}

// A reader that comes between mkdir and the first record, or between the end of
// the record and that of the directory, waits to see which it is.
func TestStateBetween(t *testing.T) {
	g := stateRoot(t)
	c := stateClaim(t, g, "x")
	if r, err := readContainer(g, "x"); err != nil || r.Phase != phaseCreating || r.ID != "x" {
		t.Errorf("before the record: %+v, %v", r, err)
	}
	if err := c.kill(unix.SIGKILL, false); !errors.Is(err, errNotRunning) {
		t.Errorf("kill: %v", err)
	}
	type read struct {
		c       *container
		err     error
		patient bool // it has waited as long as it does, for a writer that was held up
	}
	reader := make(chan read)
	look := func() {
		begin := time.Now()
		r, err := readContainer(g, "x")
		reader <- read{r, err, time.Since(begin) >= 50*time.Millisecond && err == nil && r.Phase == phaseCreating}
	}
	go look()
	time.Sleep(5 * time.Millisecond) // the reader may be early or late: the answer is the same
	c.Phase, c.Bundle = phaseCreated, "/b"
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	if got := <-reader; !got.patient && (got.err != nil || got.c.Bundle != "/b") {
		t.Errorf("%+v", got)
	}
	if err := os.Remove(c.dir + "/runh.json"); err != nil {
		t.Fatal(err)
	}
	go look()
	time.Sleep(5 * time.Millisecond)
	if err := c.remove(); err != nil {
		t.Fatal(err)
	}
	if got := <-reader; !got.patient && !errors.Is(got.err, errNotExist) {
		t.Errorf("%+v", got)
	}
}

func TestOwnerName(t *testing.T) {
	for uid, want := range map[int]string{0: "root", 1: "daemon", 987654: "987654"} {
		if got := ownerName(uid); got != want {
			t.Errorf("%d: %s, want %s", uid, got, want)
		}
	}
}

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	text := strings.Repeat("0123456789", 10000)
	if err := writeFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := readFile(path, len(text)); string(data) != text || err != nil {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if _, err := readFile(path, len(text)-1); err == nil {
		t.Error("no limit")
	}
	if err := writeFile(path+"/x", nil, 0o600); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("write below a file: %v", err)
	}
	if _, err := readFile(filepath.Dir(path), 10); !errors.Is(err, unix.EISDIR) {
		t.Errorf("read a directory: %v", err)
	}
}
