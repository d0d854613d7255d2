// The life of a container as callers drive it: create, start, state, kill, delete, list, run, the texts and codes they
// match on, and what each command says about an id in each state.

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestLifecycle(t *testing.T) {
	r := newRT(t)
	c := r.sh("echo out; echo err >&2; read line; echo got $line; exit 42", func(s *specs.Spec) {
		s.Annotations = map[string]string{"org.example.key": "a value"}
	})
	before := time.Now().Add(-time.Second)
	c.create()
	if c.out.String() != "" {
		t.Errorf("the program ran before start: %q", c.out.String())
	}
	s := c.state()
	switch {
	case s.Status != "created", s.Pid != c.pid, s.ID != c.id, s.Bundle != c.dir, s.OCIVersion == "":
		t.Errorf("state after create: %+v, pid file says %d", s, c.pid)
	case s.Annotations["org.example.key"] != "a value":
		t.Errorf("annotations: %v", s.Annotations)
	case s.Created.Before(before) || s.Created.After(time.Now()):
		t.Errorf("created: %v", s.Created)
	}
	r.do("delete", "nosuch-"+r.token).fails("container does not exist")

	// Later edits of the bundle must not matter (runtime-spec, lifecycle step 2).
	os.WriteFile(filepath.Join(c.dir, "config.json"), []byte("edited away"), 0o644)
	c.start()
	c.out.until("out\n")
	c.wantStatus("running")
	r.do("start", c.id).fails("")
	r.do("delete", c.id).fails("")
	c.wantStatus("running")
	c.stdin.WriteString("a line\n")
	c.stdin.Close()
	if code := c.wait(); code != 42 {
		t.Errorf("exit code %d, want 42", code)
	}
	if out, err := c.out.all(rtLimit), c.err.all(rtLimit); out != "out\ngot a line\n" || err != "err\n" {
		t.Errorf("stdout %q, stderr %q", out, err)
	}
	if s := c.state(); s.Status != "stopped" || s.Pid != 0 {
		t.Errorf("state after exit: %+v", s)
	}
	r.do("start", c.id).fails("")
	r.do("kill", c.id, "TERM").fails("container not running")
	r.do("kill", "--all", c.id, "9").ok()
	r.do("delete", c.id).ok()
	r.do("state", c.id).fails("does not exist")
	r.do("delete", c.id).fails("container does not exist")
	r.do("delete", "--force", c.id).ok()
}

// Every command answers an id that is not there with the words that callers take for "already gone".
func TestUnknownID(t *testing.T) {
	r := newRT(t)
	r.do("delete", "--force", r.token).ok()
	for _, args := range [][]string{{"state"}, {"start"}, {"delete"}, {"kill"}, {"kill", "--all"}} {
		r.do(append(args, r.token)...).fails("does not exist")
	}
	r.must(os.MkdirAll(r.root, 0o700))
	r.do("list").ok()
}

func TestIDInUse(t *testing.T) {
	r := newRT(t)
	c := r.sh("exit 3").create()
	d := r.sh("exit 4")
	mine := d.id
	d.id = c.id
	d.tryCreate().fails("container with given ID already exists")
	d.run().fails("container with given ID already exists")
	if _, err := os.Stat(d.dir + "/pid"); err == nil {
		t.Error("the failed create left a pid file")
	}
	c.wantStatus("created") // the loser took nothing from the winner
	c.start()
	if code := c.wait(); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	d.tryCreate().fails("container with given ID already exists") // a stopped one still has its id
	r.do("delete", c.id).ok()
	d.create().start()
	if code := d.wait(); code != 4 {
		t.Errorf("the id again: exit code %d, want 4", code)
	}
	r.do("delete", c.id).ok()
	d.id = mine
}

func TestBadIDs(t *testing.T) {
	r := newRT(t)
	for _, id := range []string{"", ".", "..", "a/b", "../x", "/x", "a b", "a\nb", "ä", "a..b/", strings.Repeat("x", 1100)} {
		c := r.sh("true")
		c.id = id
		res := c.tryCreate()
		if res.code != 1 || res.err == "" {
			t.Errorf("create with id %q: exit code %d, stderr %q", id, res.code, res.err)
		}
		c.id = "-" + r.token // nothing of that name: cleanup looks for the directory
		for _, verb := range []string{"state", "start", "kill", "delete"} {
			if res := r.do(verb, id); res.code != 1 || res.err == "" {
				t.Errorf("%s of id %q: exit code %d, stderr %q", verb, id, res.code, res.err)
			}
		}
	}
	if entries, _ := os.ReadDir(r.root); len(entries) != 0 {
		t.Errorf("the state root holds %v", entries)
	}
}

func TestKill(t *testing.T) {
	for _, sig := range []string{"", "TERM", "SIGTERM", "term", "15", "USR1", "sigusr1", "10", "KILL", "9"} {
		t.Run("signal "+sig, func(t *testing.T) {
			r := newRT(t)
			c := r.sh(`trap 'exit 5' TERM; trap 'exit 6' USR1; echo ready; while :; do sleep 0.02; done`).create().start()
			c.out.until("ready")
			args := []string{"kill", c.id}
			if sig != "" {
				args = append(args, sig)
			}
			r.do(args...).ok()
			want := map[string]int{"": 5, "TERM": 5, "SIGTERM": 5, "term": 5, "15": 5, "KILL": 137, "9": 137}[sig]
			if want == 0 {
				want = 6
			}
			if code := c.wait(); code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
			r.do("kill", c.id).fails("container not running")
			r.do("delete", c.id).ok()
		})
	}
	t.Run("zero and nonsense", func(t *testing.T) {
		r := newRT(t)
		c := r.sh("sleep 100").create()
		r.do("kill", c.id, "0").ok()
		c.start()
		r.do("kill", c.id, "0").ok()
		r.do("kill", c.id, "NOSUCH").fails("unknown signal")
		r.do("kill", c.id, "999").fails("")
		r.do("kill", c.id, "-1").fails("")
		c.wantStatus("running")
		r.do("kill", c.id, "9").ok()
		c.wait()
	})
	t.Run("created", func(t *testing.T) {
		r := newRT(t)
		c := r.sh("echo never").create()
		r.do("kill", c.id, "KILL").ok()
		if code := c.wait(); code != 137 {
			t.Errorf("exit code %d, want 137", code)
		}
		c.wantStatus("stopped")
		if out := c.out.all(rtLimit); out != "" {
			t.Errorf("a killed created container ran: %q", out)
		}
		r.do("start", c.id).fails("")
		r.do("delete", c.id).ok()
	})
	// What people end processes by ends one that has not been started, which could not handle it; other signals do not.
	t.Run("created and signalled", func(t *testing.T) {
		r := newRT(t)
		for _, sig := range [][]string{{"TERM"}, {"INT"}, {"HUP"}, {"QUIT"}, {"TERM", "--all"}, nil} {
			c := r.sh("echo ran").create()
			r.do("kill", c.id, "WINCH").ok()
			c.wantStatus("created")
			if sig == nil { // not by us, as with --pidfd-socket
				r.must(syscall.Kill(c.pid, syscall.SIGTERM))
			} else {
				r.do(append([]string{"kill", c.id}, sig...)...).ok()
			}
			if code := c.wait(); code < 129 || code > 143 {
				t.Errorf("%q: exit code %d, want 128 and the signal", sig, code)
			}
			c.wantStatus("stopped")
			if out := c.out.all(rtLimit); out != "" {
				t.Errorf("%q: a container that was never started ran: %q", sig, out)
			}
			r.do("delete", c.id).ok()
		}
	})
	// PID 1 of a pid namespace ignores what it has no handler for; `docker stop` counts on that.
	t.Run("pid 1 ignores", func(t *testing.T) {
		r := newRT(t)
		c := r.bundle([]string{"sleep", "100"}).create().start()
		r.do("kill", c.id, "TERM").ok()
		r.do("kill", c.id, "USR2").ok()
		c.wantStatus("running")
		r.do("kill", c.id, "KILL").ok()
		if code := c.wait(); code != 137 {
			t.Errorf("exit code %d, want 137", code)
		}
	})
}

// Without a pid namespace of its own the container's other processes outlive init: `kill --all` reaches them.
func TestKillAll(t *testing.T) {
	for _, flag := range []string{"--all", "-a"} {
		t.Run(flag, func(t *testing.T) {
			r := newRT(t)
			c := r.sh("sleep 1000 & sleep 1001 & echo ready; wait", func(s *specs.Spec) { dropNS(s, specs.PIDNamespace) }).create().start()
			c.out.until("ready")
			r.do("kill", c.id, "KILL").ok()
			if code := c.wait(); code != 137 {
				t.Errorf("exit code %d, want 137", code)
			}
			r.do("kill", flag, c.id, "9").ok()
			r.eventually("the children are gone", func() bool { return len(r.processes()) == 0 })
			c.out.all(rtLimit)
			r.do("kill", flag, c.id, "9").ok()
			r.do("delete", c.id).ok()
		})
	}
}

// What an init without a pid namespace of its own has left is reached by KILL, and by no other signal, which is for the
// init alone. A container of which nothing is left is not running.
func TestKillLeft(t *testing.T) {
	r := newRT(t)
	c := r.sh("sleep 1000 & sleep 1001 & exit 3", func(s *specs.Spec) { dropNS(s, specs.PIDNamespace) }).create().start()
	if code := c.wait(); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	r.do("kill", c.id, "TERM").fails("container not running")
	if n := len(r.processes()); n != 2 {
		t.Errorf("%d processes are left, want 2", n)
	}
	r.do("kill", c.id, "KILL").ok()
	r.eventually("none is left", func() bool { return len(r.processes()) == 0 })
	if r.isRunh() { // runc says nothing
		r.do("kill", c.id, "KILL").fails("container not running")
	}
}

func TestDeleteForms(t *testing.T) {
	t.Run("created", func(t *testing.T) { // runc's practice, which callers rely on, not the specification's letter
		r := newRT(t)
		c := r.sh("echo never").create()
		r.do("delete", c.id).ok()
		if code := c.wait(); code != 137 {
			t.Errorf("exit code %d, want 137", code)
		}
		if out := c.out.all(rtLimit); out != "" {
			t.Errorf("ran: %q", out)
		}
	})
	for _, force := range []string{"--force", "-f"} {
		t.Run("running "+force, func(t *testing.T) {
			r := newRT(t)
			c := r.sh("sleep 1000").create().start()
			r.do("delete", force, c.id).ok()
			if code := c.wait(); code != 137 {
				t.Errorf("exit code %d, want 137", code)
			}
			r.do("delete", force, c.id).ok()
		})
	}
	t.Run("running with other processes", func(t *testing.T) {
		r := newRT(t)
		c := r.sh("sleep 1000 & echo ready; wait", func(s *specs.Spec) { dropNS(s, specs.PIDNamespace) }).create().start()
		c.out.until("ready")
		r.do("delete", "--force", c.id).ok()
		c.wait()
	})
	t.Run("foreign directories", func(t *testing.T) { // Docker gives every runtime the same root
		r := newRT(t)
		r.onlyRunh("runc warns of what it cannot read")
		c := r.sh("sleep 1000").create()
		for _, f := range []string{"other/state.json", "empty/", "file"} {
			p := filepath.Join(r.root, r.token+f)
			r.must(os.MkdirAll(filepath.Dir(p), 0o700))
			if !strings.HasSuffix(f, "/") {
				r.must(os.WriteFile(p, []byte(`{"id":"other","init_process_pid":1}`), 0o600))
			}
		}
		list := r.list()
		if len(list) != 1 || list[0].ID != c.id {
			t.Errorf("list beside foreign directories: %+v", list)
		}
		r.do("state", r.token+"other").fails("does not exist")
		r.do("delete", "--force", c.id).ok()
		if _, err := os.Stat(filepath.Join(r.root, r.token+"other/state.json")); err != nil {
			t.Errorf("delete touched another runtime's state: %v", err)
		}
		os.RemoveAll(r.root)
	})
}

func TestList(t *testing.T) {
	r := newRT(t)
	for _, format := range []string{"table", "json"} { // as runc: a root that was named must be there
		r.do("list", "-f", format).fails(r.root + ": no such file or directory")
	}
	// The usual one is the machine's own: it is looked at from where it is not.
	usual := exec.Command("unshare", "-m", "sh", "-c", `mount -t tmpfs none /run && exec "$0" list -q`, r.bin)
	if res := r.doCmd(usual); res.code != 0 || res.out != "" || res.err != "" {
		t.Errorf("list without --root: exit code %d, %q, %q", res.code, res.out, res.err)
	}
	r.must(os.Mkdir(r.root, 0o700))
	if got := strings.TrimSpace(r.do("list", "-f", "json").ok().out); got != "null" {
		t.Errorf("list -f json of nothing: %q, want null", got)
	}
	if got := r.do("list", "-q").ok().out; got != "" {
		t.Errorf("list -q of nothing: %q", got)
	}
	a, b := r.sh("sleep 1000").create(), r.sh("exit").create().start()
	b.wait()
	byID := map[string]rtState{}
	for _, s := range r.list() {
		byID[s.ID] = s
	}
	if s := byID[a.id]; len(byID) != 2 || s.Status != "created" || s.Pid != a.pid || s.Bundle != a.dir || byID[b.id].Status != "stopped" {
		t.Errorf("list: %+v", byID)
	}
	if q := strings.Fields(r.do("list", "--quiet").ok().out); len(q) != 2 {
		t.Errorf("list --quiet: %q", q)
	}
	if out := r.do("list").ok().out; !strings.HasPrefix(out, "ID ") || !strings.Contains(out, a.id) || !strings.Contains(out, "created") {
		t.Errorf("list: %q", out)
	}
}

func (r *rt) list() []rtState {
	r.Helper()
	var all []rtState
	if res := r.do("list", "--format=json").ok(); json.Unmarshal([]byte(res.out), &all) != nil {
		r.Fatalf("list is not JSON: %q", res.out)
	}
	return all
}

func TestRunAttached(t *testing.T) {
	t.Run("exit code and streams", func(t *testing.T) {
		r := newRT(t)
		res := r.sh("echo out; echo err >&2; exit 42").run()
		if res.code != 42 || res.out != "out\n" || res.err != "err\n" {
			t.Errorf("exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
		}
		if left := r.leftovers(); len(left) != 0 {
			t.Errorf("run left %q", left)
		}
	})
	t.Run("stdin", func(t *testing.T) {
		r := newRT(t)
		c := r.bundle([]string{"cat"})
		cmd := r.cmd("run", "--bundle", c.dir, c.id)
		cmd.Stdin = strings.NewReader("a\nb")
		if res := r.doCmd(cmd).ok(); res.out != "a\nb" {
			t.Errorf("cat said %q", res.out)
		}
	})
	t.Run("killed by a signal", func(t *testing.T) {
		r := newRT(t)
		if res := r.sh("kill -9 $$; sleep 1", func(s *specs.Spec) { dropNS(s, specs.PIDNamespace) }).run(); res.code != 137 {
			t.Errorf("exit code %d, want 137", res.code)
		}
	})
	t.Run("keep", func(t *testing.T) {
		r := newRT(t)
		c := r.sh("exit 3")
		if res := c.run("--keep"); res.code != 3 {
			if strings.Contains(res.err, "flag provided but not defined") && !r.isRunh() {
				t.Skip("control run: runc 1.1 has no --keep")
			}
			t.Fatalf("exit code %d, stderr %q", res.code, res.err)
		}
		c.wantStatus("stopped")
		r.do("delete", c.id).ok()
	})
	t.Run("signals are passed on", func(t *testing.T) {
		r := newRT(t)
		c := r.sh(`trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done`)
		cmd := r.cmd("run", "--bundle", c.dir, c.id)
		out, err := newSink(t), newSink(t)
		cmd.Stdout, cmd.Stderr = out.w, err.w
		go func() { out.until("ready"); cmd.Process.Signal(syscall.SIGTERM) }()
		if res := r.wait(cmd, out, err); res.code != 5 {
			t.Errorf("exit code %d, want 5; stderr %q", res.code, err.String())
		}
	})
	t.Run("failure", func(t *testing.T) {
		r := newRT(t)
		r.bundle([]string{"nosuch"}).run().fails("executable file not found in $PATH")
		if left := r.leftovers(); len(left) != 0 {
			t.Errorf("run left %q", left)
		}
	})
}

func TestRunDetached(t *testing.T) {
	for _, flag := range []string{"-d", "--detach"} {
		t.Run(flag, func(t *testing.T) {
			r := newRT(t)
			c := r.sh("echo hi; read x; exit 9")
			if res := c.launch("run", flag); res.code != 0 {
				t.Fatalf("exit code %d, stderr %q", res.code, res.err)
			}
			c.out.until("hi")
			c.wantStatus("running")
			c.stdin.Close()
			if code := c.wait(); code != 9 {
				t.Errorf("exit code %d, want 9", code)
			}
			c.wantStatus("stopped")
			r.do("delete", c.id).ok()
		})
	}
}

// Docker's exit codes 126 and 127 hang on these words, and on create, not start, saying them.
func TestProgramNotFound(t *testing.T) {
	r := newRT(t)
	r.bundle([]string{"nosuch"}).tryCreate().fails("executable file not found in $PATH")
	r.bundle([]string{"/nosuch"}).tryCreate().fails("no such file or directory")
	r.bundle([]string{"/etc"}).tryCreate().fails("permission denied")
	r.bundle([]string{"/etc/passwd"}).tryCreate().fails("permission denied")
	r.bundle([]string{"bin/nosuch"}).tryCreate().fails("no such file or directory")
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// What only execve can tell is the program's own end, as with runc: start works, stderr has the line, the code is 255.
func TestProgramNotExecutable(t *testing.T) {
	r := newRT(t)
	for _, x := range []struct{ name, content, why string }{
		{"text", "neither ELF nor a script", "exec format error"},
		{"script", "#!/nosuch/interpreter\n", "no such file or directory"},
		{"dir", "#!/etc\n", "permission denied"},
		{"nested", "#!/bin/nested\n", "too many levels of symbolic links"},
	} {
		program := "/bin/" + x.name
		c := r.bundle([]string{program})
		r.must(os.WriteFile(c.rootfs()+program, []byte(x.content), 0o755))
		c.create().start()
		want, line := 255, "exec "+program+": "+x.why+"\n"
		if !r.isRunh() {
			want = c.wait() // 1 of runc 1.1
		} else if code := c.wait(); code != want {
			t.Errorf("%s: exit code %d, want %d", program, code, want)
		}
		if got := c.err.all(rtLimit); got != line {
			t.Errorf("%s: stderr is %q, want %q", program, got, line)
		}
		c.wantStatus("stopped")
		r.do("delete", c.id).ok()
		if res := c.run(); res.code != want || res.err != line || res.out != "" {
			t.Errorf("run of %s: exit code %d, stdout %q, stderr %q", program, res.code, res.out, res.err)
		}
		if got := r.lastError(); got != "" {
			t.Errorf("--log has an error: %q", got)
		}
	}
}

func TestSpecCommand(t *testing.T) {
	r := newRT(t)
	dir := filepath.Join(r.dir, "spec")
	r.must(os.Mkdir(dir, 0o755))
	r.do("spec", "--bundle", dir).ok()
	var s specs.Spec
	b, err := os.ReadFile(dir + "/config.json")
	r.must(err)
	r.must(json.Unmarshal(b, &s))
	if s.Version == "" || s.Process == nil || s.Root == nil || len(s.Mounts) == 0 || s.Linux == nil {
		t.Errorf("spec wrote %s", b)
	}
	if got, v2 := hasNamespace(&s, specs.CgroupNamespace), cgroupFSType(cgroupRoot) == unix.CGROUP2_SUPER_MAGIC; got != v2 {
		t.Errorf("a cgroup namespace: %v, want one on cgroup v2 only", got)
	}
	r.do("spec", "--bundle", dir).fails("exist") // never overwrites
	// What spec writes runs, with a rootfs beside it.
	busyboxRootfs(t, dir+"/rootfs")
	s.Process.Terminal, s.Process.Args = false, []string{"echo", "spec runs"}
	b, _ = json.Marshal(s)
	r.must(os.WriteFile(dir+"/config.json", b, 0o644))
	if res := r.do("run", "--bundle", dir, r.token+"-spec").ok(); res.out != "spec runs\n" {
		t.Errorf("stdout %q", res.out)
	}
	r.onlyRunh("runc has no spec --args")
	r.must(os.Remove(dir + "/config.json"))
	r.do("spec", "--bundle", dir, "--args", "/hermit/app", "--args", "two words").ok()
	b, _ = os.ReadFile(dir + "/config.json")
	r.must(json.Unmarshal(b, &s))
	if strings.Join(s.Process.Args, "|") != "/hermit/app|two words" {
		t.Errorf("spec --args: %q", s.Process.Args)
	}
}

func TestVersionAndFeatures(t *testing.T) {
	r := newRT(t)
	for _, f := range []string{"--version", "-v"} {
		out := r.do(f).ok().out
		if l := strings.Split(out, "\n"); len(l) < 2 || !strings.Contains(l[0], " version ") || !strings.Contains(out, "\nspec: ") {
			t.Errorf("%s: %q", f, out)
		}
	}
	var f struct {
		Min   string `json:"ociVersionMin"`
		Max   string `json:"ociVersionMax"`
		Hooks []string
		Linux struct {
			Namespaces, Capabilities []string
			Seccomp                  struct{ Enabled bool }
			MemoryPolicy             struct{ Modes, Flags []string }
			MountExtensions          struct{ IDMap struct{ Enabled bool } }
		}
		MountOptions []string
		Unsafe       []string `json:"potentiallyUnsafeConfigAnnotations"`
	}
	res := r.do("features")
	if res.code != 0 && !r.isRunh() {
		t.Skip("control run: no features command")
	}
	r.must(json.Unmarshal([]byte(res.ok().out), &f))
	if f.Min == "" || f.Max == "" || len(f.Hooks) != 6 || len(f.MountOptions) < 20 || len(f.Linux.Capabilities) < 38 || !f.Linux.Seccomp.Enabled {
		t.Errorf("features: %s", res.out)
	}
	if !r.isRunh() {
		return
	}
	// containerd asks for "user", idmap and "rro" before it makes pods with user namespaces and read-only mounts.
	if !f.Linux.MountExtensions.IDMap.Enabled || !slices.Contains(f.Linux.Namespaces, "user") || !slices.Contains(f.MountOptions, "rro") {
		t.Errorf("features: %s", res.out)
	}
	if p := f.Linux.MemoryPolicy; !slices.Contains(p.Modes, "MPOL_WEIGHTED_INTERLEAVE") || !slices.Contains(p.Flags, "MPOL_F_STATIC_NODES") {
		t.Errorf("features has the memory policies %+v", p)
	}
	if want := []string{"org.hermit-os.runh.", "org.systemd.property."}; !slices.Equal(f.Unsafe, want) {
		t.Errorf("features has the annotations %q, want %q", f.Unsafe, want)
	}
}

func TestUsageErrors(t *testing.T) {
	r := newRT(t)
	for _, args := range [][]string{
		{"nosuch"},
		{"create", "--nosuch", "x"},
		{"--nosuch", "list"},
		{"create"},
		{"start"},
		{"start", "a", "b"},
		{"state"},
		{"delete"},
		{"kill"},
	} {
		res := r.do(args...)
		if res.code == 0 || strings.TrimSpace(res.err) == "" && strings.TrimSpace(res.out) == "" {
			t.Errorf("%v: exit code %d, stderr %q", args, res.code, res.err)
		}
		if r.isRunh() && res.out != "" {
			t.Errorf("%v: an error on stdout: %q", args, res.out)
		}
	}
}

// dropNS takes a namespace out of the list: the container shares the runtime's.
func dropNS(s *specs.Spec, kind specs.LinuxNamespaceType) {
	var keep []specs.LinuxNamespace
	for _, ns := range s.Linux.Namespaces {
		if ns.Type != kind {
			keep = append(keep, ns)
		}
	}
	s.Linux.Namespaces = keep
}

// joinNS makes the container enter the namespace of a process, or at a path.
func joinNS(kind specs.LinuxNamespaceType, path string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		dropNS(s, kind)
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: path})
	}
}

func pidNS(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/ns/" + name }

// Whatever a supervisor sends to an attached run or exec arrives, but for what is about the client itself.
func TestSignalsRelayed(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc 1.1 is another list")
	signals := []syscall.Signal{1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 14, 15, 16, 18, 24, 25, 26, 28, 29, 30, 31, 35, 50, 64}
	var script strings.Builder
	for _, s := range signals {
		fmt.Fprintf(&script, "trap 'echo got %d' %d; ", s, s)
	}
	script.WriteString("trap 'echo bye; exit 0' 40; echo ready; while :; do sleep 0.05; done")
	idle := r.sh("sleep 60").create().start()
	for _, how := range []string{"run", "exec"} {
		c := r.sh(script.String())
		cmd := r.cmd("run", "--bundle", c.dir, c.id)
		if how == "exec" {
			cmd = r.cmd("exec", idle.id, "/bin/sh", "-c", script.String())
		}
		out := newSink(t)
		cmd.Stdout, cmd.Stderr = out.w, out.w
		r.must(cmd.Start())
		out.until("ready")
		for _, s := range append(signals, 40) {
			r.must(cmd.Process.Signal(s))
			want := fmt.Sprintf("got %d\n", s)
			if s == 40 {
				want = "bye"
			}
			out.until(want)
		}
		out.w.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
}

// The examples of the help texts do what they show. Their bundles are hello and server; server1 runs before it is
// deleted, paused or resumed.
func TestHelpExamples(t *testing.T) {
	for _, name := range []string{"create", "run", "start", "pause", "resume", "delete", "spec"} {
		t.Run(name, func(t *testing.T) {
			r := newRT(t)
			r.onlyRunh("the help texts are its own")
			needsPrograms(t, "jq")
			command := r.bin + " --root " + r.root
			// A person deletes what has ended; and names stand for cgroups of the host, which other tests have too.
			script := "set -e\nrunh() {\n" + `if [ "$*" = "delete hello1" ]; then for i in $(seq 200); do ` + command +
				` state hello1 | grep -q '"status": "running"' || break; sleep 0.05; done; fi` + "\n" + command + ` "$@" 2>&1` + "\n}\n"
			unique := strings.NewReplacer("server1", r.token+"-server", "hello1", r.token+"-hello").Replace
			for _, bundle := range []string{"hello", "server"} {
				busyboxRootfs(t, filepath.Join(r.dir, bundle, "rootfs"))
				os.Symlink("busybox", filepath.Join(r.dir, bundle, "rootfs/bin/date"))
			}
			server := "runh spec --bundle server --args /bin/sleep 100\n"
			running := "runh run --detach --bundle server server1 </dev/null >/dev/null\n"
			switch name {
			case "start":
				script += server
			case "delete":
				script += server + running + "runh spec --bundle hello --args /bin/true\nrunh run --keep --bundle hello hello1\n"
			case "pause", "resume":
				script += server + running
			case "spec":
				script += "cd hello\n"
			}
			if name == "resume" {
				script += "runh pause server1\n"
			}
			var shown []string
			first, _, _ := strings.Cut(findCommand(name).help[strings.Index(findCommand(name).help, "\n\n")+2:], "\n\n")
			for line := range strings.Lines(first) {
				line = strings.TrimSpace(line)
				command, found := strings.CutPrefix(line, "# ")
				command, _, _ = strings.Cut(command, "   ") // what it is an example of
				switch {
				case !found:
					shown = append(shown, line)
				case strings.Contains(command, "docker"), command == "runh spec && runh run hello1":
					script += "touch config.json\n" // an engine and a terminal are needed
				default:
					script += command + " || code=$?\n"
				}
			}
			script = strings.ReplaceAll(script, "echo $? ||", "echo $code ||") + "runh delete --force server1\nrunh delete --force hello1\n"
			out, err := exec.Command("sh", "-c", unique("cd "+r.dir+"\n"+script)).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s\n%s", err, out, script)
			}
			for _, line := range shown {
				if !strings.HasSuffix(line, "UTC 2026") && !strings.Contains(string(out), unique(line)+"\n") {
					t.Errorf("%q is not in %q", line, out)
				}
			}
			if strings.Count(string(out), "runh: ") != strings.Count(first, "runh: ") {
				t.Errorf("errors that are not shown: %s\n%s", out, script)
			}
		})
	}
}
