// containerd alone, by way of ctr --runc-binary: the shim io.containerd.runc.v2 that Kubernetes uses, with bundles whose rootfs is a
// relative path. One daemon for these tests, in namespaces of its own that end with it. RUNTIME=/usr/sbin/runc is the control.

package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// containerd is a daemon of one test.
type containerd struct {
	*rt
	daemon
	home      string
	namespace string // ctr's
}

func newContainerd(t *testing.T) *containerd {
	t.Helper()
	d := &containerd{rt: newRT(t), namespace: "default"}
	d.start(`disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]`, "", "-m", "-n")
	root := d.dir + "/bb"
	busyboxRootfs(t, root)
	d.importImage("bb", root, "sh")
	return d
}

// start runs the daemon with more configuration, after a script, in a new pid namespace and what else the flags of unshare say.
func (d *containerd) start(config, script string, flags ...string) {
	d.Helper()
	needsPrograms(d.T, "containerd", "containerd-shim-runc-v2", "ctr")
	d.home = d.dir + "/d"
	d.must(os.Mkdir(d.home, 0o711))
	d.must(os.WriteFile(d.home+"/config.toml", fmt.Appendf(nil, `version = 2
root = "%[1]s/root"
state = "%[1]s/state"
%[2]s
[grpc]
address = "%[1]s/s"
`, d.home, config), 0o644))
	d.daemon = d.startDaemon(d.home, script+" containerd -c config.toml", func() bool { return d.command("version").Run() == nil }, flags...)
}

// daemon runs in namespaces of its own, which end with the test.
type daemon struct {
	first  int // their first process
	output *sink
}

// startDaemon runs script in dir, in a new pid namespace and what else the flags of unshare say, until the daemon that it starts answers.
func (r *rt) startDaemon(dir, script string, answers func() bool, flags ...string) daemon {
	r.Helper()
	needsPrograms(r.T, "unshare")
	out := newSink(r.T)
	cmd := exec.Command("unshare", append(append(flags, daemonPIDs()...), "sh", "-c", script+"; :")...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out.w, out.w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.must(cmd.Start())
	out.w.Close()
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	r.Cleanup(func() {
		for _, sh := range children(cmd.Process.Pid) {
			if rtSystemd() { // what is left of the daemon's is the test's to find
				for _, pid := range children(sh) {
					syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			syscall.Kill(sh, syscall.SIGKILL) // the first process of the namespace
		}
		<-done
	})
	r.eventually("the daemon answers", func() bool {
		select {
		case <-done:
			r.Fatalf("the daemon ended: %s", out)
		default:
		}
		return answers()
	})
	return daemon{children(cmd.Process.Pid)[0], out}
}

// daemonPIDs are unshare's flags for a pid namespace that ends with the daemon; none of its own where systemd is told of processes by their
// numbers.
func daemonPIDs() []string {
	if rtSystemd() {
		return []string{"-f"}
	}
	return []string{"-p", "-f", "--mount-proc", "--kill-child"}
}

// importImage makes a docker-archive of one layer and imports it as docker.io/library/NAME:latest.
func (d *containerd) importImage(name, root string, args ...string) {
	d.Helper()
	var layer, image bytes.Buffer
	w := tar.NewWriter(&layer)
	d.must(w.AddFS(os.DirFS(root).(fs.ReadLinkFS)))
	d.must(w.Close())
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux",
		"config": map[string]any{"Env": []string{"PATH=/bin"}, "Cmd": args},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer.Bytes()))}},
	})
	d.must(err)
	manifest, err := json.Marshal([]any{map[string]any{"Config": "config.json", "RepoTags": []string{"docker.io/library/" + name + ":latest"}, "Layers": []string{"layer.tar"}}})
	d.must(err)
	w = tar.NewWriter(&image)
	for _, f := range []struct {
		name string
		data []byte
	}{{"manifest.json", manifest}, {"config.json", config}, {"layer.tar", layer.Bytes()}} {
		d.must(w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.data))}))
		_, err := w.Write(f.data)
		d.must(err)
	}
	d.must(w.Close())
	archive := d.dir + "/" + name + ".tar"
	d.must(os.WriteFile(archive, image.Bytes(), 0o644))
	if res := d.ctr("image", "import", archive); res.code != 0 {
		d.Fatalf("ctr image import: %s", res.err)
	}
}

func (d *containerd) command(args ...string) *exec.Cmd {
	return exec.Command("ctr", append([]string{"-a", d.home + "/s", "-n", d.namespace}, args...)...)
}

func (d *containerd) ctr(args ...string) result {
	d.Helper()
	res := d.doCmd(d.command(args...))
	res.args = args
	return res
}

// runArgs are ctr's for a new container, whose name comes first.
func (d *containerd) runArgs(flags []string, image string, args ...string) (string, []string) {
	d.n++
	name := fmt.Sprintf("%s-%d", d.token, d.n)
	return name, append(d.runFlags(flags, image, name), args...)
}

func (d *containerd) runFlags(flags []string, image, name string) []string {
	all := []string{"run", "--runtime", "io.containerd.runc.v2", "--runc-binary", d.bin, "--runc-root", d.home + "/runtime", "--cgroup", "/" + name}
	return append(append(all, flags...), "docker.io/library/"+image+":latest", name)
}

func (d *containerd) run(image string, args ...string) result {
	d.Helper()
	_, all := d.runArgs([]string{"--rm"}, image, args...)
	return d.ctr(all...)
}

func (d *containerd) want(res result, code int, out string) {
	d.Helper()
	if res.code != code || res.out != out {
		d.Errorf("ctr %q: exit code %d, stdout %q, want %d and %q; stderr %q", res.args, res.code, res.out, code, out, res.err)
	}
}

// status is the task's as `ctr task ls` has it.
func (d *containerd) status(name string) string {
	d.Helper()
	for l := range strings.Lines(d.ctr("task", "ls").ok().out) {
		if f := strings.Fields(l); len(f) == 3 && f[0] == name {
			return f[2]
		}
	}
	return ""
}

func TestContainerd(t *testing.T) {
	d := newContainerd(t)
	d.want(d.run("bb", "sh", "-c", "echo out; echo err >&2; exit 3"), 3, "out\n")
	d.want(d.run("bb", "sh", "-c", "kill -9 $$; exit 5"), 5, "")    // pid 1 does not kill itself
	_, args := d.runArgs([]string{"--rm"}, "bb", "head", "-n", "1") // ctr passes no end of file on
	cmd := d.command(args...)
	cmd.Stdin = strings.NewReader("through\n")
	d.want(d.doCmd(cmd), 0, "through\n")
	for text, args := range map[string][]string{"executable file not found in $PATH": {"nosuch"}, "permission denied": {"/etc"}} {
		name, all := d.runArgs(nil, "bb", args...)
		if res := d.ctr(all...); res.code != 1 || !strings.Contains(res.err, text) {
			t.Errorf("%q: exit code %d, %q, want 1 and %q", args, res.code, res.err, text)
		}
		d.ctr("container", "rm", name)
	}
	_, args = d.runArgs([]string{"--rm", "-t"}, "bb", "sh", "-c", "tty; read x; exit $x")
	code := d.onTerminal(d.command(args...), func(o *sink, in *os.File) {
		o.until("/dev/pts/0")
		in.WriteString("12\r")
	})
	if code != 12 {
		t.Errorf("on a terminal: exit code %d, want 12", code)
	}
	// The binary's own root is honoured, and empty again.
	if left, _ := filepath.Glob(d.home + "/runtime/default/" + d.token + "*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := os.Stat(d.home + "/runtime/default"); err != nil {
		t.Errorf("--runc-root: %v", err)
	}
}

func TestContainerdTask(t *testing.T) {
	d := newContainerd(t)
	needs(t, hybridCgroup(), "cgroup v1")
	name, args := d.runArgs([]string{"-d", "--memory-limit", "67108864"}, "bb", "sleep", "1000")
	d.ctr(args...).ok()
	if s := d.status(name); s != "RUNNING" {
		t.Errorf("status %s", s)
	}
	d.want(d.ctr("task", "exec", "--exec-id", "one", name, "sh", "-c", "echo in; exit 4"), 4, "in\n")
	d.want(d.ctr("task", "exec", "--exec-id", "two", "--cwd", "/etc", "--user", "1000", name, "sh", "-c", "pwd; id -u"), 0, "/etc\n1000\n")
	d.ctr("task", "exec", "--exec-id", "three", "-d", name, "sleep", "1001").ok()
	if n := strings.Count(d.ctr("task", "ps", name).ok().out, "\n"); n != 3 {
		t.Errorf("ctr task ps has %d lines, want a heading and two processes", n)
	}
	used := uint64(0)
	for l := range strings.Lines(d.ctr("task", "metrics", name).ok().out) {
		if f := strings.Fields(l); len(f) == 2 && f[0] == "memory.usage_in_bytes" {
			used, _ = strconv.ParseUint(f[1], 10, 64)
		}
	}
	if used == 0 || used > 67108864 {
		t.Errorf("ctr task metrics: %d bytes of memory in use", used)
	}
	d.ctr("task", "pause", name).ok()
	if s := d.status(name); s != "PAUSED" {
		t.Errorf("status %s, want PAUSED", s)
	}
	d.ctr("task", "resume", name).ok()
	d.ctr("task", "kill", "-s", "KILL", "--exec-id", "three", name).ok()
	d.eventually("the exec'd process is gone", func() bool { return strings.Count(d.ctr("task", "ps", name).out, "\n") == 2 })
	if s := d.status(name); s != "RUNNING" {
		t.Errorf("status %s after the end of an exec'd process", s)
	}
	d.ctr("task", "kill", "-a", "-s", "KILL", name).ok()
	d.eventually("it has stopped", func() bool { return d.status(name) == "STOPPED" })
	if res := d.ctr("task", "delete", name); !strings.Contains(res.err, "137") {
		t.Errorf("ctr task delete: exit code %d, %q, want the task's 137", res.code, res.err)
	}
	d.ctr("task", "start", "-d", name).ok() // the same ID again
	d.ctr("task", "pause", name).ok()
	if res := d.ctr("task", "delete", "-f", name); d.status(name) != "" {
		t.Errorf("ctr task delete -f of a paused task: exit code %d, %q", res.code, res.err)
	}
	d.ctr("container", "rm", name).ok()
}

func (d *containerd) importHermit() {
	d.Helper()
	dir, err := rtGuest()
	d.must(err)
	root := filepath.Join(d.dir, "image-hermit")
	d.must(os.MkdirAll(root+"/hermit", 0o755))
	for from, to := range map[string]string{"app": "app", "loader": "hermit-loader"} {
		d.must(os.WriteFile(filepath.Join(root, "hermit", to), []byte(rtRead(d.T, filepath.Join(dir, from))), 0o755))
	}
	d.importImage("hermit", root, "/hermit/app")
}

func TestContainerdHermit(t *testing.T) {
	d := newContainerd(t)
	d.onlyRunh("only runh boots guests")
	d.importHermit()
	d.want(d.run("hermit", "/hermit/app", "exit", "7"), 7, rtLastWords(7))
}

// Two hundred containers, eight at a time, every seventh a guest, ended by TERM and by KILL. Afterwards the daemon is as it was.
func TestContainerdCycles(t *testing.T) {
	d := newContainerd(t)
	d.onlyRunh("only runh boots guests")
	d.importHermit()
	cycle := func(i int) {
		image, code, args := "bb", 5, []string{"sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done"}
		if i%7 == 0 {
			image, code, args = "hermit", 143, []string{"/hermit/app", "print", "up", ";", "sleep", "1000000"}
		}
		name := fmt.Sprintf("%s-cycle%d", d.token, i)
		out, stderr := newSink(t), newSink(t)
		cmd := d.command(append(d.runFlags([]string{"--rm"}, image, name), args...)...)
		cmd.Stdout, cmd.Stderr = out.w, stderr.w
		ended := make(chan int)
		go func() { ended <- d.wait(cmd, out, stderr).code }()
		if !out.has("up\n") {
			t.Errorf("%s did not start: %s", name, stderr)
		}
		signal := "TERM"
		if i%2 == 1 {
			signal, code = "KILL", 137
		}
		if res := d.ctr("task", "kill", "-s", signal, name); res.code != 0 {
			t.Errorf("kill of %s: %s", name, res.err)
		}
		if got := <-ended; got != code {
			t.Errorf("%s: exit code %d, want %d; %s", name, got, code, stderr)
		}
	}
	cycle(0) // what the daemon and runh do once only
	before, descriptors := d.traces(d.first), d.descriptors()
	next := make(chan int)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range next {
				cycle(i)
			}
		})
	}
	for i := range 200 {
		next <- i
	}
	close(next)
	wg.Wait()
	d.wantTraces(d.first, before)
	d.eventually("containerd has no more descriptors than before", func() bool { return d.descriptors() <= descriptors })
	if out := d.ctr("container", "ls", "-q").ok().out + d.ctr("task", "ls", "-q").ok().out; out != "" {
		t.Errorf("left: %q", out)
	}
	d.quiet()
}

// descriptors is how many the daemon has open.
func (d *containerd) descriptors() int {
	d.Helper()
	n := 0
	for _, pid := range children(d.first) {
		fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		n += len(fds)
	}
	return n
}

// traces is what containers may leave with their daemon, whose namespaces first is the first process of: processes, mounts, network
// namespaces and links.
func (r *rt) traces(first int) []string {
	r.Helper()
	var found []string
	for _, l := range strings.Split(rtReadOr(fmt.Sprintf("/proc/%d/mountinfo", first)), "\n") {
		if f := strings.Fields(l); len(f) > 4 && (strings.Contains(f[4], r.token) || strings.Contains(f[4], "/netns/")) {
			found = append(found, "mount "+f[4])
		}
	}
	var walk func(pid int)
	walk = func(pid int) {
		found = append(found, "process "+strings.ReplaceAll(rtReadOr(fmt.Sprintf("/proc/%d/cmdline", pid)), "\x00", " "))
		for _, c := range children(pid) {
			walk(c)
		}
	}
	walk(first)
	links, err := exec.Command("nsenter", "-t", strconv.Itoa(first), "-n", "ip", "-o", "link").Output()
	r.must(err)
	for l := range strings.Lines(string(links)) {
		name, _, _ := strings.Cut(strings.Fields(l)[1], "@")
		if name != "cni0:" {
			found = append(found, "link "+name)
		}
	}
	return found
}

// wantTraces waits until only what was there before is there, too.
func (r *rt) wantTraces(first int, before []string) {
	r.Helper()
	var left []string
	for end := time.Now().Add(rtLimit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		had := map[string]int{}
		for _, l := range before {
			had[l]++
		}
		left = nil
		for _, l := range r.traces(first) {
			if had[l]--; had[l] < 0 {
				left = append(left, l)
			}
		}
		if left == nil {
			return
		}
	}
	r.Errorf("containers left %q", left)
}

// quiet demands that nothing is left in the runtime's root, and that the daemon had no complaint about it but the expected ones.
func (d *containerd) quiet(expected ...string) {
	d.Helper()
	left, _ := filepath.Glob(d.home + "/runtime/*/*")
	for _, l := range left {
		if filepath.Base(l) != "@hermit-env" {
			d.Errorf("left behind: %s", l)
		}
	}
	for l := range strings.Lines(d.output.String()) {
		if strings.Contains(l, "level=error") && strings.Contains(l, "runh") && !slices.ContainsFunc(expected, func(e string) bool { return strings.Contains(l, e) }) {
			d.Errorf("containerd complains: %s", l)
		}
	}
}
