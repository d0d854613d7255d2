// The ground of the black-box tests (runtime_*_test.go, engine_docker_test.go): one runtime binary, driven as containerd's shim,
// conmon and people drive it, and looked at from outside only. RUNTIME=/usr/sbin/runc runs the same tests against
// another runtime: that each of them can pass. RUNTIME=/bin/true, that each of them can fail.
//
// Every test has a directory, state root and token of its own (the token is part of the directory's name, of every
// container id and so of every cgroup, mount and command line), and whatever still carries the token when the test
// ends (state, cgroup, mount, process) is a failure of that test.

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
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
	"golang.org/x/sys/unix"
)

// rtLimit bounds one command of the runtime. It is for hangs: no test waits for it. A machine without KVM has more of it.
var rtLimit = func() time.Duration {
	if limit, err := time.ParseDuration(os.Getenv("RUNH_TEST_LIMIT")); err == nil {
		return limit
	}
	return 30 * time.Second
}()

var (
	rtTemp    string // of the whole run: the binary, the busybox that bundles link to
	rtSkipped struct {
		sync.Mutex
		why map[string]int
	}
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Inits are orphaned when create returns: this process collects them as a shim does.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	var err error
	if rtTemp, err = os.MkdirTemp("", "runhtest"); err != nil {
		panic(err)
	}
	code := m.Run()
	rtStopDocker()
	os.RemoveAll(rtTemp)
	for why, n := range rtSkipped.why {
		fmt.Printf("skipped %d: %s\n", n, why)
	}
	os.Exit(code)
}

// rtShort is the reason of every skip under -short.
const rtShort = "-short: only tests that need nothing of this machine"

// needs skips the test when this machine lacks what it needs, or fails it under RUNH_TEST_ALL=1. Under -short it skips
// every test that asks.
func needs(t *testing.T, have bool, what string) {
	t.Helper()
	if testing.Short() {
		t.Skip(rtShort)
	}
	if have {
		return
	}
	if os.Getenv("RUNH_TEST_ALL") == "1" {
		t.Fatalf("RUNH_TEST_ALL=1 allows no skip: needs %s", what)
	}
	rtSkipped.Lock()
	if rtSkipped.why == nil {
		rtSkipped.why = map[string]int{}
	}
	rtSkipped.why["needs "+what]++
	rtSkipped.Unlock()
	t.Skip("needs " + what)
}

// rtBinary is the runtime under test: $RUNTIME, or this tree as `make build` builds it.
var rtBinary = sync.OnceValues(func() (string, error) {
	if p := os.Getenv("RUNTIME"); p != "" {
		return p, nil
	}
	bin := filepath.Join(rtTemp, "runh")
	return bin, rtBuild(".", bin)
})

func rtBuild(dir, bin string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", bin, ".")
	cmd.Env, cmd.Dir = append(os.Environ(), "CGO_ENABLED=0"), dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	return nil
}

// rt is a runtime with a state root of its own.
type rt struct {
	*testing.T
	bin, token, dir, root, log string
	global                     []string // more global flags
	env                        []string // nil: the test's own
	n                          int
	ctrs                       []*ctr
}

// newRT is the first line of a black-box test.
func newRT(t *testing.T) *rt {
	t.Helper()
	needs(t, os.Geteuid() == 0, "root")
	bin, err := rtBinary()
	if err != nil {
		t.Fatal(err)
	}
	t.Parallel()
	dir, err := os.MkdirTemp("", "rt") // short: unix socket paths end at 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	r := &rt{T: t, bin: bin, token: filepath.Base(dir), dir: dir, root: dir + "/r", log: dir + "/log.json"}
	if rtSystemd() {
		r.global = []string{"--systemd-cgroup"}
	}
	t.Cleanup(r.cleanup)
	return r
}

// isRunh tells the runtime under test from the controls, for what only runh promises.
func (r *rt) isRunh() bool {
	return os.Getenv("RUNTIME") == "" || strings.Contains(filepath.Base(os.Getenv("RUNTIME")), "runh")
}

// onlyRunh leaves a test out of control runs, where the other runtimes are known to differ.
func (r *rt) onlyRunh(why string) {
	r.Helper()
	if !r.isRunh() {
		r.Skip("control run: " + why)
	}
}

func (r *rt) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// result is how one command of the runtime ended.
type result struct {
	r        *rt
	args     []string
	code     int // 128+n: died by signal n
	out, err string
	took     time.Duration // until it exited
	eof      time.Duration // from then until the last holder of its stdout and stderr was gone
}

func (r *rt) cmd(args ...string) *exec.Cmd {
	all := append([]string{"--root", r.root, "--log", r.log, "--log-format", "json"}, r.global...)
	cmd := exec.Command(r.bin, append(all, args...)...)
	if cmd.Env = r.env; cmd.Env == nil {
		cmd.Env = append(os.Environ(), "RUNH_TEST_TOKEN="+r.token)
	}
	cmd.Dir = r.dir
	return cmd
}

// do runs a command whose stdout and stderr the caller reads to their end.
func (r *rt) do(args ...string) result { r.Helper(); return r.doCmd(r.cmd(args...)) }

func (r *rt) doCmd(cmd *exec.Cmd) result {
	r.Helper()
	out, err := newSink(r.T), newSink(r.T)
	cmd.Stdout, cmd.Stderr = out.w, err.w
	end := time.Now().Add(rtLimit) // of the command and of its pipes
	res := r.wait(cmd, out, err)
	exited := time.Now()
	for _, s := range []*sink{out, err} {
		select {
		case <-s.done:
		case <-time.After(time.Until(end)):
			r.hung(cmd)
			r.Fatalf("%v: exit code %d, but a process still holds stdout or stderr after %v; stdout %q, stderr %q", res.args, res.code, rtLimit, out, err)
		}
	}
	res.out, res.err = out.String(), err.String()
	res.eof = time.Since(exited)
	return res
}

// wait starts cmd and waits for its exit, not for the end of what it left behind.
func (r *rt) wait(cmd *exec.Cmd, sinks ...*sink) result {
	r.Helper()
	res := result{r: r, args: cmd.Args[1:]}
	if n := len(r.global) + 6; len(res.args) > n && res.args[1] == r.root {
		res.args = res.args[n:] // without the global flags, which are the same everywhere
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		r.Fatalf("%s: %v", cmd.Path, err)
	}
	for _, s := range sinks {
		s.w.Close()
	}
	told := make(chan struct{})
	hung := time.AfterFunc(rtLimit, func() { defer close(told); r.hung(cmd) })
	cmd.Wait()
	res.took = time.Since(begin)
	if !hung.Stop() {
		<-told
		var said []string
		for _, s := range sinks {
			said = append(said, s.String())
		}
		r.Fatalf("%v did not end within %v; so far %q", res.args, rtLimit, said)
	}
	res.code = rtExit(cmd.ProcessState.Sys().(syscall.WaitStatus))
	return res
}

func rtExit(s syscall.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}

// ok demands success and, as callers parse combined output, silence on stderr.
func (res result) ok() result {
	res.r.Helper()
	if res.code != 0 || res.err != "" {
		res.r.Fatalf("%v: exit code %d, want 0 and nothing on stderr; stdout %q, stderr %q", res.args, res.code, res.out, res.err)
	}
	return res
}

// fails demands exit code 1, one line on stderr that contains text, nothing on stdout, and the same line as the last
// of --log, in the form that containerd's shim reads.
func (res result) fails(text string) result {
	r := res.r
	r.Helper()
	if res.code != 1 || res.out != "" {
		r.Errorf("%v: exit code %d, stdout %q, want 1 and nothing; stderr %q", res.args, res.code, res.out, res.err)
	}
	if !strings.Contains(res.err, text) {
		r.Errorf("%v: stderr %q lacks %q", res.args, res.err, text)
	}
	if n := strings.Count(strings.TrimSpace(res.err), "\n"); n != 0 || strings.TrimSpace(res.err) == "" {
		r.Errorf("%v: stderr is not one line: %q", res.args, res.err)
	}
	if msg := r.lastError(); !strings.Contains(msg, text) {
		r.Errorf("%v: the last error of --log is %q, lacks %q", res.args, msg, text)
	}
	if strings.Contains(res.err, "goroutine ") || strings.Contains(res.err, "panic") {
		r.Errorf("%v: crashed: %s", res.args, res.err)
	}
	return res
}

// lastError reads --log as the shim does: every line is an object, time is RFC 3339, the last of level "error" counts.
func (r *rt) lastError() string {
	r.Helper()
	f, err := os.Open(r.log)
	if err != nil {
		return ""
	}
	defer f.Close()
	last, dec := "", json.NewDecoder(f)
	for {
		var l struct {
			Level, Msg string
			Time       time.Time
		}
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			return last
		} else if err != nil {
			r.Errorf("--log does not parse as the shim parses it: %v", err)
			return last
		}
		if l.Level == "error" {
			last = l.Msg
		}
	}
}

// sink collects what arrives at the reading end of a pipe; whoever gets w must close our copy of it after the start.
type sink struct {
	w    *os.File
	mu   sync.Mutex
	buf  bytes.Buffer
	done chan struct{}
	t    *testing.T
}

func newSink(t *testing.T) *sink {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return readSink(t, r, w)
}

func readSink(t *testing.T, r io.Reader, w *os.File) *sink {
	s := &sink{w: w, done: make(chan struct{}), t: t}
	go func() {
		defer close(s.done)
		b := make([]byte, 64<<10)
		for {
			n, err := r.Read(b)
			s.mu.Lock()
			s.buf.Write(b[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return s
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// all waits for the end of file.
func (s *sink) all(limit time.Duration) string {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(limit):
		s.t.Errorf("a process still holds this pipe open after %v; so far %q", limit, s.String())
	}
	return s.String()
}

// until waits for text.
func (s *sink) until(text string) string {
	s.t.Helper()
	if !s.has(text) {
		s.t.Fatalf("no %q before the end, or within %v; got %q", text, rtLimit, s.String())
	}
	return s.String()
}

// has waits for text, and says whether it came.
func (s *sink) has(text string) bool {
	for end := time.Now().Add(rtLimit); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		select {
		case <-s.done:
			return strings.Contains(s.String(), text)
		default:
			if strings.Contains(s.String(), text) {
				return true
			}
		}
	}
	return false
}

// ctr is a container: its bundle, its stdio, and its pid once there is one.
type ctr struct {
	r        *rt
	id, dir  string
	spec     *specs.Spec
	stdin    *os.File // the container's stdin is a pipe from here; close it for end of file
	out, err *sink
	pid      int
	waited   bool
}

// bundle makes one: busybox, a config as Docker writes it, running args, then changed by the edits.
func (r *rt) bundle(args []string, edits ...func(*specs.Spec)) *ctr {
	r.Helper()
	r.n++
	c := &ctr{r: r, id: fmt.Sprintf("%s-%d", r.token, r.n)}
	c.dir = filepath.Join(r.dir, "b"+strconv.Itoa(r.n))
	r.must(os.MkdirAll(c.dir, 0o755))
	c.spec = dockerSpec(r.T)
	c.spec.Process.Args = args
	c.spec.Root.Path = "rootfs"
	c.spec.Linux.CgroupsPath = "/" + c.id
	if rtSystemd() {
		c.spec.Linux.CgroupsPath = "system.slice:runh:" + c.id
	}
	busyboxRootfs(r.T, c.rootfs())
	for _, edit := range edits {
		edit(c.spec)
	}
	c.write()
	r.ctrs = append(r.ctrs, c)
	return c
}

// sh is the commonest container: a script for busybox's shell.
func (r *rt) sh(script string, edits ...func(*specs.Spec)) *ctr {
	r.Helper()
	return r.bundle([]string{"sh", "-c", script}, edits...)
}

// rtSystemd: RUNH_TEST_CGROUP=systemd has every container in a scope of systemd's.
func rtSystemd() bool { return os.Getenv("RUNH_TEST_CGROUP") == "systemd" }

// group is the container's cgroup, below the top of a hierarchy.
func (c *ctr) group() string {
	if rtSystemd() {
		return "/system.slice/runh-" + c.id + ".scope"
	}
	return "/" + c.id
}

func (c *ctr) rootfs() string { return filepath.Join(c.dir, "rootfs") }

func (c *ctr) write() {
	c.r.Helper()
	b, err := json.Marshal(c.spec)
	c.r.must(err)
	c.r.must(os.WriteFile(filepath.Join(c.dir, "config.json"), b, 0o644))
}

// dockerSpec is Docker's config.json (testdata/docker-config.json, as dockerd 20.10 wrote it) without what only dockerd
// can serve: its network hook, its three files of /etc.
func dockerSpec(t *testing.T) *specs.Spec {
	t.Helper()
	b, err := os.ReadFile("testdata/docker-config.json")
	if err != nil {
		t.Fatal(err)
	}
	spec := new(specs.Spec)
	if err := json.Unmarshal(b, spec); err != nil {
		t.Fatal(err)
	}
	spec.Hooks = nil
	var mounts []specs.Mount
	for _, m := range spec.Mounts {
		if !strings.HasPrefix(m.Destination, "/etc/") {
			mounts = append(mounts, m)
		}
	}
	spec.Mounts = mounts
	return spec
}

// busyboxRootfs lays out a small root; the binary is a hard link to one copy made for the run.
func busyboxRootfs(t *testing.T, dir string) {
	t.Helper()
	busybox := filepath.Join(rtTemp, "busybox")
	rtBusybox.Do(func() { rtBusyboxErr = exec.Command("cp", "/bin/busybox", busybox).Run() })
	needs(t, rtBusyboxErr == nil, "busybox-static's /bin/busybox")
	for _, d := range []string{"bin", "etc", "tmp", "root", "home", "proc", "sys", "dev", "mnt"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(filepath.Join(dir, "tmp"), 0o1777)
	if err := os.Link(busybox, filepath.Join(dir, "bin/busybox")); err != nil {
		t.Fatal(err)
	}
	for _, a := range strings.Fields(rtApplets) {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", a)); err != nil {
			t.Fatal(err)
		}
	}
	passwd := "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n"
	if err := os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte(passwd), 0o644); err != nil {
		t.Fatal(err)
	}
}

const rtApplets = `sh cat echo ls id true false sleep env pwd mount umount grep stat readlink touch mkdir rmdir mknod dd
	hostname ip ps kill head tail wc sort seq cut tr test [ printf chmod chown ln rm cp mv find sed awk tty stty chroot setsid date
	sysctl nc du od tee timeout uname which xargs dirname basename realpath unshare nproc cmp usleep mkfifo`

var (
	rtBusybox    sync.Once
	rtBusyboxErr error
)

// launch runs create, or run -d: the container inherits the command's stdio.
func (c *ctr) launch(args ...string) result {
	c.r.Helper()
	return c.launchCmd(func(*exec.Cmd) {}, args...)
}

// launchCmd is launch with a command that is changed before it starts.
func (c *ctr) launchCmd(change func(*exec.Cmd), args ...string) result {
	r := c.r
	r.Helper()
	in, stdin, err := os.Pipe()
	r.must(err)
	c.stdin, c.out, c.err = stdin, newSink(r.T), newSink(r.T)
	cmd := r.cmd(append(args, "--bundle", c.dir, "--pid-file", c.dir+"/pid", c.id)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, c.out.w, c.err.w
	change(cmd)
	res := r.wait(cmd, c.out, c.err)
	in.Close()
	if res.code != 0 {
		res.out, res.err = c.out.all(2*time.Second), c.err.all(2*time.Second)
		return res
	}
	if b, err := os.ReadFile(c.dir + "/pid"); err == nil {
		c.pid, _ = strconv.Atoi(string(b))
	}
	if c.pid <= 0 {
		r.Fatalf("%v: exit code 0 but no pid in --pid-file", res.args)
	}
	return res
}

func (c *ctr) tryCreate(flags ...string) result {
	c.r.Helper()
	return c.launch(append([]string{"create"}, flags...)...)
}

func (c *ctr) create(flags ...string) *ctr {
	c.r.Helper()
	if res := c.tryCreate(flags...); res.code != 0 {
		c.r.Fatalf("%v: exit code %d, stderr %q", res.args, res.code, res.err)
	}
	return c
}

func (c *ctr) start() *ctr { c.r.Helper(); c.r.do("start", c.id).ok(); return c }

// wait is the caller's wait4 on the pid of the pid file: the container's exit code.
func (c *ctr) wait() int {
	c.r.Helper()
	code, err := rtReap(c.pid, rtLimit)
	if err != nil {
		c.r.Fatalf("init of %s, pid %d: %v", c.id, c.pid, err)
	}
	c.waited = true
	return code
}

// rtReap waits for an orphan that came to this process.
func rtReap(pid int, limit time.Duration) (int, error) {
	for end := time.Now().Add(limit); ; time.Sleep(2 * time.Millisecond) {
		var s syscall.WaitStatus
		got, err := syscall.Wait4(pid, &s, syscall.WNOHANG, nil)
		switch {
		case err != nil && !errors.Is(err, syscall.EINTR):
			return 0, fmt.Errorf("wait4: %w", err)
		case got == pid:
			return rtExit(s), nil
		case time.Now().After(end):
			return 0, fmt.Errorf("still runs after %v", limit)
		}
	}
}

// output creates, starts and waits: what the container wrote to stdout, with exit code 0 and a silent stderr.
func (c *ctr) output() string {
	c.r.Helper()
	c.create().start()
	c.stdin.Close()
	code := c.wait()
	out, err := c.out.all(rtLimit), c.err.all(rtLimit)
	if code != 0 || err != "" {
		c.r.Fatalf("%s: exit code %d, stdout %q, stderr %q", c.id, code, out, err)
	}
	c.r.do("delete", c.id).ok()
	return out
}

// run is the attached form; the result is the container's.
func (c *ctr) run(flags ...string) result {
	c.r.Helper()
	return c.r.do(append(append([]string{"run"}, flags...), "--bundle", c.dir, c.id)...)
}

// rtState is what callers read from `state` and `list`.
type rtState struct {
	OCIVersion, ID, Status, Bundle, Rootfs, Owner string
	Pid                                           int
	Created                                       time.Time
	Annotations                                   map[string]string
}

func (c *ctr) state() rtState {
	c.r.Helper()
	var s rtState
	if res := c.r.do("state", c.id).ok(); json.Unmarshal([]byte(res.out), &s) != nil {
		c.r.Fatalf("state is not JSON: %q", res.out)
	}
	return s
}

func (c *ctr) wantStatus(want string) {
	c.r.Helper()
	if got := c.state().Status; got != want {
		c.r.Errorf("status of %s is %q, want %q", c.id, got, want)
	}
}

// eventually polls for what another process brings about.
func (r *rt) eventually(what string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(rtLimit); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("not within %v: %s", rtLimit, what)
		}
	}
}

// cleanup deletes by force what the test left, then looks whether the runtime left anything, whatever the test did.
func (r *rt) cleanup() {
	defer r.sweep()
	for _, c := range r.ctrs {
		if _, err := os.Stat(filepath.Join(r.root, c.id)); err == nil {
			if res := r.do("delete", "--force", c.id); res.code != 0 {
				r.Errorf("delete --force %s: exit code %d, stderr %q", c.id, res.code, res.err)
			}
		}
		if c.stdin != nil {
			c.stdin.Close()
		}
	}
	var left []string
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if left = r.leftovers(); len(left) == 0 || time.Now().After(end) {
			break
		}
	}
	for _, l := range left {
		r.Errorf("left behind: %s", l)
	}
}

// leftovers names everything that still carries the test's token.
func (r *rt) leftovers() []string {
	var left []string
	entries, _ := os.ReadDir(r.root)
	for _, e := range entries {
		if e.Name() != qemuCacheName && e.Name() != kvmCPUCache && e.Name() != kvmCPUSaved { // what was found out once for all containers of a root
			left = append(left, "state "+filepath.Join(r.root, e.Name()))
		}
	}
	left = append(left, r.cgroups()...)
	if rtSystemd() {
		out, err := exec.Command("systemctl", "list-units", "--all", "--plain", "--no-legend", "*"+r.token+"*").CombinedOutput()
		if err != nil || len(out) > 0 {
			left = append(left, fmt.Sprintf("unit %s (%v)", out, err))
		}
	}
	for _, l := range strings.Split(rtMounts(), "\n") {
		if strings.Contains(l, r.token) {
			left = append(left, "mount "+l)
		}
	}
	for _, pid := range r.processes() {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		left = append(left, fmt.Sprintf("process %d %q", pid, bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
	}
	return left
}

func (r *rt) cgroups() []string {
	var found []string
	filepath.WalkDir("/sys/fs/cgroup", func(p string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(d.Name(), r.token) {
			found = append(found, "cgroup "+p)
			return filepath.SkipDir
		}
		return nil
	})
	return found
}

func rtMounts() string {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	return string(b)
}

// processes are those whose cgroup, command line, environment, root or working directory carries the token. Orphans that
// have come to us and ended are collected on the way: a caller would.
func (r *rt) processes() []int {
	var found []int
	for _, pid := range rtPids() {
		if pid == os.Getpid() || !r.carries(pid) {
			continue
		}
		var s syscall.WaitStatus
		if got, _ := syscall.Wait4(pid, &s, syscall.WNOHANG, nil); got == pid {
			continue
		}
		found = append(found, pid)
	}
	return found
}

func rtPids() []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(d))
		pids = append(pids, pid)
	}
	return pids
}

// carries tells whether a process carries the test's token.
func (r *rt) carries(pid int) bool {
	d := fmt.Sprintf("/proc/%d", pid)
	var seen []byte
	for _, f := range []string{"cgroup", "cmdline", "environ"} {
		b, _ := os.ReadFile(filepath.Join(d, f))
		seen = append(seen, b...)
	}
	for _, f := range []string{"root", "cwd"} {
		l, _ := os.Readlink(filepath.Join(d, f))
		seen = append(seen, l...)
	}
	return bytes.Contains(seen, []byte(r.token))
}

// sweep frees the machine of what a broken runtime left. A directory that still has a mount in it is not removed: the
// mount may be of something that is not ours.
func (r *rt) sweep() {
	r.sweepKernel()
	if !strings.Contains(rtMounts(), r.token) {
		os.RemoveAll(r.dir)
	}
}

func (r *rt) sweepKernel() {
	for _, pid := range r.processes() {
		syscall.Kill(pid, syscall.SIGKILL)
		rtReap(pid, time.Second)
	}
	for _, c := range r.cgroups() {
		var dirs []string
		filepath.WalkDir(strings.TrimPrefix(c, "cgroup "), func(p string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, p)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			os.Remove(dirs[i])
		}
	}
	lines := strings.Split(rtMounts(), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if f := strings.Fields(lines[i]); len(f) > 4 && strings.Contains(f[4], r.token) {
			unix.Unmount(f[4], unix.MNT_DETACH)
		}
	}
}
