// The promises of ARCHITECTURE.md that every caller relies on, and callers that are killed, are many, or have no environment.

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Invariant 1: the pid of the pid file is in the container's cgroups and namespaces from the moment create returns, and
// an orphan that the caller collects.
func TestPidFile(t *testing.T) {
	r := newRT(t)
	c := r.sh("exit 7").create()
	raw, err := os.ReadFile(c.dir + "/pid")
	r.must(err)
	if string(raw) != strconv.Itoa(c.pid) {
		t.Errorf("pid file %q: want the bare number", raw)
	}
	for ns, listed := range map[string]bool{"net": true, "pid": true, "ipc": true, "uts": true, "mnt": true, "user": false} {
		mine, _ := os.Readlink("/proc/self/ns/" + ns)
		its, err := os.Readlink(pidNS(c.pid, ns))
		if err != nil || (its != mine) != listed {
			t.Errorf("namespace %s of init is %s (%v), ours %s", ns, its, err, mine)
		}
	}
	for _, l := range strings.Split(strings.TrimSpace(rtRead(t, fmt.Sprintf("/proc/%d/cgroup", c.pid))), "\n") {
		f := strings.SplitN(l, ":", 3)
		if f[0] == "0" && len(f) == 3 && f[1] == "" && hybridCgroup() {
			continue // the unified tree of a hybrid machine: containers need not be there
		}
		if !strings.HasSuffix(l, "/"+c.id) {
			t.Errorf("init's cgroup: %s", l)
		}
	}
	if ppid := rtStat(t, c.pid, 4); ppid != strconv.Itoa(os.Getpid()) {
		t.Errorf("init's parent is %s, want the subreaper %d", ppid, os.Getpid())
	}
	before, _ := os.Readlink(pidNS(c.pid, "net"))
	netns, err := os.Open(pidNS(c.pid, "net"))
	r.must(err)
	defer netns.Close()
	c.start()
	if code := c.wait(); code != 7 {
		t.Errorf("exit code %d, want 7 (namespace %s)", code, before)
	}
	if left, _ := filepath.Glob(c.dir + "/.pid*"); len(left) != 0 {
		t.Errorf("pid file's temporary: %v", left)
	}
}

func hybridCgroup() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err != nil
}

func rtRead(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// statField counts as proc(5) does, from 1; the command's name may hold anything but ends at the last parenthesis.
func rtStat(t *testing.T, pid, n int) string {
	t.Helper()
	s := rtRead(t, fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Fields(s[strings.LastIndex(s, ")")+2:])[n-3]
}

// Invariant 2: Docker 28 and later attach the network between create and start, through /proc/PID/ns/net.
func TestNetworkBetweenCreateAndStart(t *testing.T) {
	r := newRT(t)
	c := r.sh("ip -o addr show dev v0").create()
	for _, args := range []string{"link add v0 type veth peer name v1", "addr add 10.9.8.7/24 dev v0", "link set v0 up"} {
		cmd := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(c.pid), "-n", "ip"}, strings.Fields(args)...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	c.start()
	if code, out := c.wait(), c.out.all(rtLimit); code != 0 || !strings.Contains(out, "10.9.8.7/24") {
		t.Errorf("exit code %d, %q, stderr %q", code, out, c.err.String())
	}
}

// Invariant 3, checklist 37: a caller that reads a command's output to its end is never kept waiting by what the command
// left running; and when init is gone nothing holds the container's own pipes.
func TestPipesEnd(t *testing.T) {
	r := newRT(t)
	var slow []string
	do := func(args ...string) result {
		res := r.do(args...)
		if res.eof > 500*time.Millisecond {
			slow = append(slow, fmt.Sprintf("%s: %v", args[0], res.eof))
		}
		return res
	}
	hook := specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", "cat >/dev/null; sleep 0.01"}}
	c := r.bundle([]string{"sleep", "1000"}, func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{Poststart: []specs.Hook{hook}, Poststop: []specs.Hook{hook}}
	}).create()
	do("state", c.id).ok()
	do("start", c.id).ok()
	do("start", c.id).fails("")
	do("list").ok()
	do("kill", c.id, "0").ok()
	do("kill", c.id, "9").ok()
	c.wait()
	died := time.Now()
	c.out.all(rtLimit)
	c.err.all(rtLimit)
	if d := time.Since(died); d > 500*time.Millisecond {
		t.Errorf("the container's pipes were held for %v after init's end", d)
	}
	do("delete", c.id).ok()
	d := r.bundle([]string{"sleep", "1000"}).create()
	do("start", d.id).ok()
	do("delete", "--force", d.id).ok()
	do("state", d.id).fails("")
	for _, s := range slow {
		t.Errorf("held its caller's pipes: %s", s)
	}
}

// Invariant 4, checklist 38: the shim hands out an open socket by accident; it must reach neither the container nor a hook.
func TestNoStrayDescriptors(t *testing.T) {
	r := newRT(t)
	l, err := net.Listen("unix", filepath.Join(r.dir, "stray"))
	r.must(err)
	defer l.Close()
	sock, err := l.(*net.UnixListener).File()
	r.must(err)
	defer sock.Close()
	dir, err := os.Open("/")
	r.must(err)
	defer dir.Close()
	stray := make([]*os.File, 12) // fds 3 to 14
	for i := range stray {
		stray[i] = []*os.File{sock, dir}[i%2]
	}
	list := func(kind string) []specs.Hook {
		return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "ls -l /proc/self/fd >" + r.dir + "/fds." + kind + "; echo /proc/self/fd/* >>" + r.dir + "/fds." + kind}}}
	}
	c := r.sh("echo /proc/self/fd/*; ls -l /proc/self/fd", func(s *specs.Spec) {
		for _, kind := range hookKinds {
			if kind != "startContainer" { // which sees what the container sees
				setHook(s, kind, list(kind)...)
			}
		}
	})
	in, stdin, err := os.Pipe()
	r.must(err)
	c.stdin, c.out, c.err = stdin, newSink(t), newSink(t)
	cmd := r.cmd("create", "--bundle", c.dir, "--pid-file", c.dir+"/pid", c.id)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = in, c.out.w, c.err.w, stray
	if res := r.wait(cmd, c.out, c.err); res.code != 0 {
		t.Fatalf("create: %d: %s", res.code, c.err.String())
	}
	in.Close()
	c.pid, _ = strconv.Atoi(rtRead(t, c.dir+"/pid"))
	cmd = r.cmd("start", c.id)
	cmd.ExtraFiles = stray
	r.doCmd(cmd).ok()
	if code := c.wait(); code != 0 {
		t.Errorf("exit code %d: %s", code, c.err.String())
	}
	r.do("delete", c.id).ok()
	seen := map[string]string{"container": c.out.all(rtLimit)}
	for _, kind := range []string{"prestart", "createRuntime", "createContainer", "poststart", "poststop"} {
		seen[kind] = rtRead(t, r.dir+"/fds."+kind)
	}
	for where, fds := range seen {
		// ls and the shell's glob hold one directory descriptor while they look; the shell's redirection may be 10.
		if where == "createContainer" && !r.isRunh() {
			continue // runc 1.1 shows this hook its own
		}
		if where == "container" && strings.Contains(fds, "/fd/4") || strings.Contains(fds, "socket:") || strings.Contains(fds, "-> /\n") || strings.Contains(fds, "/fd/7") {
			t.Errorf("%s sees a stray descriptor:\n%s", where, fds)
		}
	}
}

// --preserve-fds and LISTEN_FDS are the descriptors that the caller means to hand over.
func TestPreservedDescriptors(t *testing.T) {
	read := "read a <&3; read b <&4; echo $a $b $LISTEN_FDS $LISTEN_PID; ls /proc/self/fd/ | wc -l"
	files := func(r *rt) (fs []*os.File) {
		for _, s := range []string{"one\n", "two\n", "three\n"} {
			rd, w, err := os.Pipe()
			r.must(err)
			w.WriteString(s)
			w.Close()
			r.Cleanup(func() { rd.Close() })
			fs = append(fs, rd)
		}
		return fs
	}
	t.Run("preserve-fds", func(t *testing.T) {
		r := newRT(t)
		c := r.sh(read)
		cmd := r.cmd("run", "--preserve-fds", "2", "--bundle", c.dir, c.id)
		cmd.ExtraFiles = files(r)
		if res := r.doCmd(cmd).ok(); res.out != "one two\n6\n" {
			t.Errorf("stdout %q", res.out)
		}
	})
	t.Run("LISTEN_FDS", func(t *testing.T) {
		r := newRT(t)
		c := r.sh(read)
		cmd := exec.Command("sh", "-c", `LISTEN_FDS=2 LISTEN_PID=$$ exec "$@"`, "sh", r.bin, "--root", r.root, "run", "--bundle", c.dir, c.id)
		cmd.ExtraFiles = files(r)
		if res := r.doCmd(cmd).ok(); res.out != "one two 2 1\n6\n" {
			t.Errorf("stdout %q", res.out)
		}
	})
}

// Invariant 6: a caller's death is the runtime's death (PDEATHSIG), at any line. What then is on disk and in the kernel,
// delete --force removes.
func TestCreateKilled(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc 1.1 leaves all its cgroups when killed in the middle third")
	r.endCreates(50, func(c *ctr) []string {
		var errors []string
		for range 2 {
			if res := r.do("delete", "--force", c.id); res.code != 0 {
				errors = append(errors, fmt.Sprintf("delete --force: exit code %d, %s", res.code, res.err))
			}
		}
		return errors
	}, syscall.SIGKILL)
}

// endCreates ends so many creates by the signals, in turn, at random points. Nothing may be left when after has done its part.
func (r *rt) endCreates(count int, after func(c *ctr) []string, signals ...syscall.Signal) {
	r.Helper()
	c := r.bundle([]string{"sleep", "1000"})
	estimate := c.tryCreate().took // of how long a create lasts just now, on a machine that does other things, too
	r.do("delete", "--force", c.id).ok()
	rtReap(c.pid, time.Second)
	c.stdin.Close()
	rnd := rand.New(rand.NewPCG(1, uint64(os.Getpid())))
	failed := 0
	for killed, tries := 0, 0; killed < count; tries++ {
		if tries == 5*count {
			r.Fatalf("only %d of %d creates could be killed before they were over", killed, tries)
		}
		os.Remove(c.dir + "/pid")
		said, err := os.Create(r.dir + "/said") // no pipe: a container that was made would hold it
		r.must(err)
		cmd := r.cmd("create", "--bundle", c.dir, "--pid-file", c.dir+"/pid", c.id)
		cmd.Stderr = said
		r.must(cmd.Start())
		said.Close()
		wait := time.Duration(rnd.Int64N(int64(estimate)))
		time.Sleep(wait)
		sig := signals[killed%len(signals)]
		cmd.Process.Signal(sig)
		cmd.Wait()
		var problems []string
		code := rtExit(cmd.ProcessState.Sys().(syscall.WaitStatus))
		if code == 0 {
			estimate = estimate * 9 / 10
			r.do("delete", "--force", c.id).ok()
		} else {
			estimate = estimate * 51 / 50
			killed++
			problems = after(c)
		}
		if code != 0 && code != 128+int(sig) {
			problems = append(problems, fmt.Sprintf("exit code %d, want %d; stderr %q", code, 128+int(sig), rtReadOr(r.dir+"/said")))
		}
		var left []string
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if left = r.leftovers(); len(left) == 0 {
				break
			}
		}
		if problems = append(problems, left...); len(problems) != 0 {
			r.Errorf("%v after %v: %q", sig, wait, problems)
			r.sweepKernel()
			if failed++; failed == 3 {
				r.Fatal("no more of this")
			}
			os.RemoveAll(filepath.Join(r.root, c.id))
		}
	}
	// The id is as good as new.
	c.create().start()
	r.do("delete", "--force", c.id).ok()
}

// The same for a delete that dies half-way.
func TestDeleteKilled(t *testing.T) {
	r := newRT(t)
	for i := range 10 {
		c := r.bundle([]string{"sleep", "1000"}).create().start()
		cmd := r.cmd("delete", "--force", c.id)
		r.must(cmd.Start())
		time.Sleep(time.Duration(i) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		r.do("delete", "--force", c.id).ok()
		r.do("delete", "--force", c.id).ok()
		rtReap(c.pid, rtLimit)
	}
}

func TestThirtyAtOnce(t *testing.T) {
	t.Run("different ids", func(t *testing.T) {
		r := newRT(t)
		var all [30]*ctr
		for i := range all {
			all[i] = r.sh(fmt.Sprintf("exit %d", i))
		}
		var wg sync.WaitGroup
		for _, c := range all {
			wg.Go(func() { c.tryCreate() })
		}
		wg.Wait()
		for i, c := range all {
			if c.pid == 0 {
				t.Errorf("create %d failed: %s", i, c.err.String())
				continue
			}
			wg.Go(func() { r.do("start", c.id) })
		}
		wg.Wait()
		for i, c := range all {
			if c.pid == 0 {
				continue
			}
			if code := c.wait(); code != i {
				t.Errorf("exit code of %d is %d", i, code)
			}
			wg.Go(func() { r.do("delete", c.id).ok() })
		}
		wg.Wait()
	})
	t.Run("same id", func(t *testing.T) {
		r := newRT(t)
		c := r.bundle([]string{"sleep", "1000"})
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for i := range 30 {
			wg.Go(func() {
				cmd := r.cmd("create", "--bundle", c.dir, "--pid-file", fmt.Sprintf("%s/pid%d", c.dir, i), c.id)
				out := newSink(t)
				cmd.Stderr = out.w
				res := r.wait(cmd, out)
				mu.Lock()
				defer mu.Unlock()
				if res.code == 0 {
					won++
					c.pid, _ = strconv.Atoi(rtRead(t, fmt.Sprintf("%s/pid%d", c.dir, i)))
				} else if msg := out.all(rtLimit); !strings.Contains(msg, "container with given ID already exists") {
					t.Errorf("a loser says %q", msg)
				}
			})
		}
		wg.Wait()
		if won != 1 {
			t.Errorf("%d creates of one id succeeded", won)
		}
		if files, _ := filepath.Glob(c.dir + "/pid*"); len(files) != 1 {
			t.Errorf("pid files: %v", files)
		}
		c.wantStatus("created")
		c.start()
		c.wantStatus("running")
		r.do("delete", "--force", c.id).ok()
	})
}

// CRI-O takes any failure of `state` for the container's death: it must never fail beside another command.
func TestStateBesideOthers(t *testing.T) {
	r := newRT(t)
	for range 3 {
		c := r.bundle([]string{"sleep", "1000"}).create()
		stop, done := make(chan bool), make(chan bool)
		var bad []string
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
				}
				out, err := r.cmd("state", c.id).CombinedOutput()
				if err != nil || !bytes.Contains(out, []byte(c.id)) {
					bad = append(bad, string(out))
				}
			}
		}()
		c.start()
		r.do("kill", c.id, "KILL").ok()
		c.wait()
		close(stop)
		<-done
		for _, b := range bad {
			t.Errorf("state beside start and kill: %q", b)
		}
		r.do("delete", c.id).ok()
	}
}

// Invariant 9: Docker writes zeros for what it does not mean to limit.
func TestZeroLimits(t *testing.T) {
	r := newRT(t)
	zero := int64(0)
	r.sh("true", func(s *specs.Spec) {
		var zero16 uint16
		var zeroU uint64
		s.Linux.Resources.CPU = &specs.LinuxCPU{Shares: &zeroU, Quota: &zero, Period: &zeroU}
		s.Linux.Resources.BlockIO = &specs.LinuxBlockIO{Weight: &zero16}
		//lint:ignore SA1019 Docker 20 sends kernel
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &zero, Reservation: &zero, Swap: &zero, Kernel: &zero}
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &zero}
	}).output()
}

// Invariant 10: podman and CRI-O may give no environment at all.
func TestEmptyEnvironment(t *testing.T) {
	r := newRT(t)
	r.env = []string{}
	c := r.sh("echo $HOME; exit 3").create().start()
	if code, out := c.wait(), c.out.all(rtLimit); code != 3 || out != "/root\n" {
		t.Errorf("exit code %d, stdout %q", code, out)
	}
	c.state()
	r.do("list").ok()
	r.do("delete", c.id).ok()
	r.do("features")
	r.do("--version").ok()
	d := r.bundle([]string{"sleep", "1000"}).create().start()
	r.do("kill", d.id, "9").ok()
	d.wait()
	r.do("delete", "--force", d.id).ok()
}

// With stdout or stderr closed nothing that the runtime opens may take their place.
func TestClosedStdio(t *testing.T) {
	r := newRT(t)
	c := r.sh("echo /proc/self/fd/* >/tmp/fds; exit 3")
	r.must(os.MkdirAll(r.root, 0o700))
	for _, verb := range []string{"--version", "list", "create --bundle " + c.dir + " --pid-file " + c.dir + "/pid " + c.id, "start " + c.id} {
		cmd := exec.Command("sh", "-c", "exec "+r.bin+" --root "+r.root+" "+verb+" <&- >&- 2>&-")
		if res := r.doCmd(cmd); res.code != 0 && (r.isRunh() || !strings.HasPrefix(verb, "--v") && verb != "list") {
			t.Errorf("%s with stdio closed: exit code %d", verb, res.code)
		}
	}
	c.pid, _ = strconv.Atoi(rtRead(t, c.dir+"/pid"))
	if code := c.wait(); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	r.do("delete", c.id).ok()
}

// Two state roots are two worlds: the same id in both, at the same time.
func TestTwoRoots(t *testing.T) {
	r := newRT(t)
	a, b := r.bundle([]string{"sleep", "1000"}), r.bundle([]string{"sleep", "1001"})
	own := b.id
	b.id = a.id
	first := r.root
	a.create().start()
	r.root += "2"
	b.create().start()
	r.do("delete", "--force", b.id).ok()
	b.id = own
	os.RemoveAll(r.root)
	r.root = first
	a.wantStatus("running")
}

// Global flags as all callers spell them, in their orders.
func TestGlobalFlagForms(t *testing.T) {
	r := newRT(t)
	c := r.bundle([]string{"sleep", "1000"}).create()
	for _, flags := range [][]string{
		{"--root=" + r.root, "--log=" + r.log, "--log-format=json"},
		{"--log-format", "json", "--log", r.log, "--root", r.root},
		{"-root", r.root},
		{"--debug", "--root", r.root, "--log", r.log, "--log-format", "json"},
		{"--root", r.root, "--rootless", "auto"},
		{"--root", r.root, "--rootless=false", "--systemd-cgroup=false"},
	} {
		res := r.doCmd(exec.Command(r.bin, append(flags, "state", c.id)...))
		if res.code != 0 || !strings.Contains(res.out, c.id) || !strings.HasPrefix(strings.TrimSpace(res.out), "{") {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q", flags, res.code, res.out, res.err)
		}
	}
	r.lastError() // every line that --debug wrote parses, too
}

// Without --log the one line goes to stderr, plain enough for podman to show; with it, nothing of level error is
// written by what succeeds.
func TestLog(t *testing.T) {
	r := newRT(t)
	res := r.doCmd(exec.Command(r.bin, "--root", r.root, "state", r.token))
	if res.code != 1 || !strings.Contains(res.err, "does not exist") || strings.Count(res.err, "\n") != 1 {
		t.Errorf("exit code %d, stderr %q", res.code, res.err)
	}
	c := r.sh("exit 1").create().start()
	c.wait()
	r.do("delete", c.id).ok()
	r.do("delete", "--force", c.id).ok()
	if msg := r.lastError(); msg != "" {
		t.Errorf("success left an error in --log: %q", msg)
	}
	log := rtReadOr(r.log)
	r.do("state", r.token).fails("does not exist")
	if got := strings.TrimPrefix(rtReadOr(r.log), log); strings.Count(got, "\n") != 1 {
		t.Errorf("a failure wrote %q to --log, want one line", got)
	}
	text := filepath.Join(r.dir, "text.log")
	r.doCmd(exec.Command(r.bin, "--root", r.root, "--log", text, "state", r.token))
	if got := rtReadOr(text); !strings.Contains(got, "does not exist") || strings.HasPrefix(got, "{") {
		t.Errorf("--log as text: %q", got)
	}
}

// A log that cannot be opened is an error before anything is done; but a container can be ended without one. Nobody
// reads the FIFO, and runh does not wait for that.
func TestLogUnopened(t *testing.T) {
	r := newRT(t)
	c := r.sh("sleep 60").create().start()
	fifo := filepath.Join(r.dir, "fifo")
	r.must(syscall.Mkfifo(fifo, 0o600))
	for _, log := range []string{r.dir + "/none/log", r.dir, r.bin + "/log", fifo} {
		fresh := r.sh("true")
		for _, args := range [][]string{{"state", c.id}, {"create", "--bundle", fresh.dir, fresh.id}, {"list"}} {
			res := r.doCmd(exec.Command(r.bin, append([]string{"--root", r.root, "--log", log}, args...)...))
			if res.code != 1 || res.out != "" || strings.Count(res.err, "\n") != 1 || !strings.Contains(res.err, "--log: open "+log) {
				t.Errorf("--log %s %s: exit code %d, stdout %q, stderr %q", log, args, res.code, res.out, res.err)
			}
		}
		r.do("state", fresh.id).fails("does not exist")
	}
	for _, args := range [][]string{{"kill", c.id, "KILL"}, {"delete", "--force", c.id}} {
		res := r.doCmd(exec.Command(r.bin, append([]string{"--root", r.root, "--log", r.dir + "/none/log"}, args...)...))
		if res.code != 0 || !strings.Contains(res.err, "--log: open ") {
			t.Errorf("%s: exit code %d, stderr %q", args, res.code, res.err)
		}
	}
}

func rtReadOr(name string) string {
	b, _ := os.ReadFile(name)
	return string(b)
}
