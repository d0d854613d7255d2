// Docker, the real daemon of the distribution, with runh among its runtimes and upstream's documented runtimeArgs. One daemon serves
// all these tests: in its own pid, mount and network namespaces (so its bridge and rules are nobody else's, and all of it is
// gone when its first process is), with its own data, state, socket and cgroup parent. RUNTIME=/usr/sbin/runc is the control.

package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

type dockerDaemon struct {
	dir, sock, parent string
	cmd               *exec.Cmd // unshare; its only child is the namespaces' first process
	done              chan struct{}
	hermit            sync.Once // the Hermit images are there
}

var rtDocker struct {
	once sync.Once
	d    *dockerDaemon
	err  error
}

// dock is a test's view of the daemon.
type dock struct {
	*rt
	d *dockerDaemon
}

// newDock is the first line of a test with Docker.
func newDock(t *testing.T) *dock {
	t.Helper()
	r := newRT(t)
	needsPrograms(t, "dockerd", "/usr/bin/docker", "containerd", "unshare", "iptables", "ip")
	rtDocker.once.Do(func() { rtDocker.d, rtDocker.err = startDocker(r, "", nil) })
	if rtDocker.err != nil {
		t.Fatal(rtDocker.err)
	}
	return &dock{r, rtDocker.d}
}

func needsPrograms(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		_, err := exec.LookPath(p)
		needs(t, err == nil, p)
	}
}

// startDocker runs script in the new namespaces, in the daemon's directory, before the daemon, whose configuration more is added to.
func startDocker(r *rt, script string, more map[string]any) (*dockerDaemon, error) {
	dir, err := os.MkdirTemp("", "rd")
	if err != nil {
		return nil, err
	}
	d := &dockerDaemon{dir: dir, sock: dir + "/s", parent: "/" + filepath.Base(dir), done: make(chan struct{})}
	entry := map[string]any{"path": r.bin}
	if r.isRunh() {
		entry["runtimeArgs"] = []string{"-l", "debug", "--hermit-env", firstWord(rtHermitEnv(), dir+"/hermit"), "--debug-log", "--debug-config"}
	}
	runtimes := map[string]any{"runh": entry}
	if args, ok := entry["runtimeArgs"].([]string); ok {
		for name, config := range map[string]string{"files": `share = "rootfs"`, "broken": `cpu = "nosuch"`, "direct": `network = "direct"`} {
			file := dir + "/" + name + ".toml"
			if err := os.WriteFile(file, []byte(config+"\n"), 0o644); err != nil {
				return nil, err
			}
			runtimes["runh-"+name] = map[string]any{"path": r.bin, "runtimeArgs": append(slices.Clone(args), "--config", file)}
		}
	}
	settings := map[string]any{
		"runtimes": runtimes, "data-root": dir + "/data", "exec-root": dir + "/exec", "pidfile": dir + "/pid",
		"hosts": []string{"unix://" + d.sock}, "experimental": true, "cgroup-parent": d.parent,
	}
	if rtSystemd() {
		script += d.underSystemd(settings)
	}
	maps.Copy(settings, more)
	config, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(dir+"/daemon.json", config, 0o644); err != nil {
		return nil, err
	}
	log, err := os.Create(dir + "/log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	// The shell stays: it is the first process of the namespace and collects orphans.
	d.cmd = exec.Command("unshare", append(append([]string{"-m", "-n"}, daemonPIDs()...), "sh", "-c",
		"ip link set lo up; "+script+" dockerd --config-file daemon.json; while [ -e again ]; do dockerd --config-file daemon.json; done; :")...)
	d.cmd.Dir = dir
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the parent that Pdeathsig watches is this thread
		err := d.cmd.Start()
		started <- err
		if err == nil {
			d.cmd.Wait()
			close(d.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	serves := false
	defer func() {
		if !serves {
			d.stop()
		}
	}()
	for end := time.Now().Add(2 * rtLimit); exec.Command("/usr/bin/docker", "-H", "unix://"+d.sock, "info").Run() != nil; time.Sleep(50 * time.Millisecond) {
		select {
		case <-d.done:
			return nil, fmt.Errorf("dockerd ended: %s", tail(dir+"/log"))
		default:
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("dockerd does not answer: %s", tail(dir+"/log"))
		}
	}
	root := dir + "/bb"
	busyboxRootfs(r.T, root)
	if err := d.importImage("bb", root); err != nil {
		return nil, err
	}
	serves = true
	return d, nil
}

func tail(name string) string {
	s := rtReadOr(name)
	return s[max(0, len(s)-2000):]
}

// importImage is `docker import`: a tree of files and what the image's config says, no registry.
func (d *dockerDaemon) importImage(name, root string, changes ...string) error {
	var b bytes.Buffer
	if err := packTree(&b, root); err != nil {
		return err
	}
	args := []string{"-H", "unix://" + d.sock, "import"}
	for _, c := range changes {
		args = append(args, "-c", c)
	}
	cmd := exec.Command("/usr/bin/docker", append(args, "-", name)...)
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("docker import: %w: %s", err, out)
	}
	return nil
}

// packTree writes a tree of files as a tar archive. Unlike tar(1) it does not mind that other tests make links to the same files.
func packTree(to io.Writer, root string) error {
	w := tar.NewWriter(to)
	return errors.Join(w.AddFS(os.DirFS(root).(fs.ReadLinkFS)), w.Close())
}

// tarFile is packTree into a file.
func tarFile(t testing.TB, name, root string) {
	t.Helper()
	f, err := os.Create(name)
	if err == nil {
		err = errors.Join(packTree(f, root), f.Close())
	}
	if err != nil {
		t.Fatalf("pack %s: %v", root, err)
	}
}

// rtStopDocker is TestMain's.
func rtStopDocker() {
	if rtDocker.d != nil {
		rtDocker.d.stop()
	}
}

// stop ends the daemon by its pid, and with it containerd and every shim and container that is left.
func (d *dockerDaemon) stop() {
	os.Remove(d.dir + "/again")
	// unshare -> sh -> dockerd
	if sh := children(d.cmd.Process.Pid); len(sh) == 1 {
		for _, pid := range children(sh[0]) {
			syscall.Kill(pid, syscall.SIGTERM)
		}
	}
	select {
	case <-d.done:
	case <-time.After(20 * time.Second):
	}
	d.cmd.Process.Kill()
	<-d.done
	dirs, _ := filepath.Glob("/sys/fs/cgroup/*" + d.parent)
	for _, dir := range dirs {
		os.Remove(dir)
	}
	os.RemoveAll(d.dir)
}

func children(pid int) (pids []int) {
	for _, f := range strings.Fields(rtReadOr(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))) {
		var n int
		fmt.Sscan(f, &n)
		pids = append(pids, n)
	}
	return pids
}

func (k *dock) cmd(args ...string) *exec.Cmd {
	cmd := exec.Command("/usr/bin/docker", append([]string{"-H", "unix://" + k.d.sock}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+k.d.dir+"/client")
	return cmd
}

func (k *dock) docker(args ...string) result {
	k.Helper()
	res := k.doCmd(k.cmd(args...))
	res.args = args
	return res
}

// run is docker run --rm with our runtime.
func (k *dock) run(args ...string) result {
	k.Helper()
	return k.docker(append([]string{"run", "--rm", "--runtime=runh"}, args...)...)
}

// Docker 20's client waits for a container's end also where it is not to, and now and then says that its own return has interrupted it.
var dockerInterrupted = regexp.MustCompile(`(?m)^time="[^"]*" level=error msg="error waiting for container: context canceled"\n`)

// start is docker run -d; the test's cleanup removes it.
func (k *dock) start(args ...string) string {
	k.Helper()
	k.n++
	name := fmt.Sprintf("%s-%d", k.token, k.n)
	res := k.docker(append([]string{"run", "-d", "--name", name, "--runtime=runh"}, args...)...)
	res.err = dockerInterrupted.ReplaceAllString(res.err, "")
	res.ok()
	k.Cleanup(func() { k.docker("rm", "-f", name) })
	return name
}

func (k *dock) want(res result, code int, out string) {
	k.Helper()
	if res.code != code || res.out != out {
		k.Errorf("docker %q: exit code %d, stdout %q, want %d and %q; stderr %q", res.args, res.code, res.out, code, out, res.err)
	}
}

func (k *dock) inspect(name, format string) string {
	k.Helper()
	return strings.TrimSpace(k.docker("inspect", "-f", format, name).ok().out)
}

func TestDockerRun(t *testing.T) {
	k := newDock(t)
	k.want(k.run("bb", "echo", "hi"), 0, "hi\n")
	k.want(k.run("bb", "sh", "-c", "echo out; echo err >&2; exit 3"), 3, "out\n")
	k.want(k.run("bb", "true"), 0, "")
	k.want(k.run("bb", "sh", "-c", "kill -9 $$; sleep 1; exit 5"), 5, "") // pid 1 does not kill itself
	cmd := k.cmd("run", "--rm", "-i", "--runtime=runh", "bb", "cat")
	cmd.Stdin = strings.NewReader("through\n")
	k.want(k.doCmd(cmd), 0, "through\n")
	for _, x := range []struct {
		code int
		text string
		args []string
	}{
		{127, "executable file not found in $PATH", []string{"nosuch"}},
		{127, "no such file or directory", []string{"/nosuch"}},
		{126, "permission denied", []string{"/etc"}},
		{126, "permission denied", []string{"/etc/passwd"}},
	} {
		res := k.run(append([]string{"bb"}, x.args...)...)
		if res.code != x.code || !strings.Contains(res.err, x.text) {
			t.Errorf("%q: exit code %d, %q, want %d and %q", x.args, res.code, res.err, x.code, x.text)
		}
	}
}

func TestDockerDetached(t *testing.T) {
	k := newDock(t)
	c := k.start("bb", "sh", "-c", "echo one; echo two >&2; trap 'echo caught; exit 5' TERM; while :; do sleep 0.05; done")
	k.eventually("both lines are in the logs", func() bool {
		res := k.docker("logs", c)
		return res.out == "one\n" && res.err == "two\n"
	})
	if s := k.inspect(c, "{{.State.Status}} {{.State.Running}}"); s != "running true" {
		t.Errorf("state %s", s)
	}
	k.docker("stop", "-t", "10", c).ok()
	if s := k.inspect(c, "{{.State.Status}} {{.State.ExitCode}}"); s != "exited 5" {
		t.Errorf("after stop: %s", s)
	}
	if out := k.docker("logs", c).out; out != "one\ncaught\n" {
		t.Errorf("logs after stop: %q", out)
	}
	// The same ID again: delete must have taken all of it.
	for range 2 {
		k.docker("start", c).ok()
		k.docker("kill", "-s", "TERM", c).ok()
		if code := strings.TrimSpace(k.docker("wait", c).ok().out); code != "5" {
			t.Errorf("exit code %s after a restart, want 5", code)
		}
	}
	k.docker("rm", c).ok()
}

func TestDockerKill(t *testing.T) {
	k := newDock(t)
	c := k.start("bb", "sleep", "1000")
	k.docker("kill", c).ok()
	if code := strings.TrimSpace(k.docker("wait", c).ok().out); code != "137" {
		t.Errorf("exit code %s, want 137", code)
	}
	if res := k.docker("kill", c); res.code == 0 || strings.Contains(res.err, "unknown error") {
		t.Errorf("the second kill: exit code %d, %q", res.code, res.err)
	}
	d := k.start("bb", "sleep", "1000")
	k.docker("stop", "-t", "1", d).ok() // pid 1 has no handler: TERM is ignored, KILL follows
	if s := k.inspect(d, "{{.State.ExitCode}}"); s != "137" {
		t.Errorf("exit code %s after stop, want 137", s)
	}
	e := k.start("--pid", "host", "bb", "sh", "-c", "sleep 1001 & wait")
	k.docker("rm", "-f", e).ok()
	f := k.start("bb", "sleep", "1000")
	k.docker("rm", "-f", f).ok()
}

func TestDockerLimits(t *testing.T) {
	k := newDock(t)
	needs(t, hybridCgroup(), "cgroup v1")
	k.want(k.run("-m", "64m", "--cpus", "0.5", "--pids-limit", "20", "bb", "sh", "-c",
		"cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max"), 0, "67108864\n50000\n20\n")
	name := k.token + "oom"
	k.docker("run", "--name", name, "--runtime=runh", "-m", "16m", "bb", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
	if s := k.inspect(name, "{{.State.ExitCode}}"); s != "137" {
		t.Errorf("exit code %s of a container over its memory, want 137", s)
	}
	k.docker("rm", "-f", name).ok()
}

func TestDockerIdentity(t *testing.T) {
	k := newDock(t)
	k.want(k.run("--user", "1000:1001", "--group-add", "7", "bb", "sh", "-c", "id -u; id -g; id -G"), 0, "1000\n1001\n1001 7\n")
	k.want(k.run("--user", "user", "bb", "sh", "-c", "id -u; echo $HOME"), 0, "1000\n/home\n")
	k.want(k.run("--user", "1000:1000", "--cap-drop", "ALL", "--cap-add", "NET_RAW", "--security-opt", "no-new-privileges", "bb",
		"sh", "-c", "grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'"), 0,
		"CapEff:0000000000000000\nCapBnd:0000000000002000\nNoNewPrivs:1\nSeccomp:2\n")
	k.want(k.run("--hostname", "somename", "--sysctl", "net.ipv4.ip_forward=0", "--ulimit", "nofile=100:200", "--shm-size", "1m", "-w", "/made", "-e", "A=b c", "bb",
		"sh", "-c", "hostname; cat /proc/sys/net/ipv4/ip_forward; ulimit -Sn; ulimit -Hn; pwd; echo $A; grep shm /proc/self/mountinfo | grep -c size=1024k"), 0,
		"somename\n0\n100\n200\n/made\nb c\n1\n")
	k.want(k.run("--security-opt", "seccomp=unconfined", "bb", "sh", "-c", "grep ^Seccomp: /proc/self/status | tr -d '\\t'"), 0, "Seccomp:0\n")
	k.want(k.run("--device", "/dev/loop-control:/dev/lc", "bb", "sh", "-c", "stat -c '%t:%T' /dev/lc; (: </dev/lc) && echo opens"), 0, "a:ed\nopens\n")
	k.want(k.run("--init", "bb", "sh", "-c", "[ $$ != 1 ] && cut -d' ' -f2 /proc/1/stat; exit 4"), 4, "(docker-init)\n")
}

func TestDockerFiles(t *testing.T) {
	k := newDock(t)
	dir := filepath.Join(k.dir, "vol")
	k.must(os.Mkdir(dir, 0o777))
	k.must(os.WriteFile(dir+"/f", []byte("of the host\n"), 0o644))
	res := k.run("--read-only", "--tmpfs", "/run", "--tmpfs", "/t:size=1m", "-v", dir+":/ro:ro", "-v", dir+":/rw", "-v", dir+"/f:/made/file:ro", "bb",
		"sh", "-c", "cat /ro/f /made/file; for d in / /ro /made; do echo x >$d/new; done; for d in /run /t /rw /dev/shm; do echo x >$d/new && echo $d; done")
	if res.code != 0 || res.out != "of the host\nof the host\n/run\n/t\n/rw\n/dev/shm\n" || strings.Count(res.err, "Read-only file system") != 3 {
		t.Errorf("exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
	}
	if rtReadOr(dir+"/new") != "x\n" {
		t.Error("nothing arrived on the volume")
	}
	k.want(k.run("-v", "/anonymous", "bb", "sh", "-c", "echo x >/anonymous/y && cat /anonymous/y"), 0, "x\n")
	k.want(k.run("bb", "sh", "-c", "cat /etc/hostname | wc -l; grep -c localhost /etc/hosts; echo x >>/etc/hosts && echo writable"), 0, "1\n2\nwritable\n")
	c := k.token + "diff"
	k.docker("run", "--name", c, "--runtime=runh", "bb", "sh", "-c", "echo new >/tmp/new; rm /etc/passwd").ok()
	if out := k.docker("diff", c).ok().out; !strings.Contains(out, "A /tmp/new\n") || !strings.Contains(out, "D /etc/passwd\n") {
		t.Errorf("docker diff: %q", out)
	}
	k.docker("rm", c).ok()
}

func TestDockerNetworks(t *testing.T) {
	k := newDock(t)
	k.want(k.run("--network", "none", "bb", "sh", "-c", "ip -o link | wc -l"), 0, "1\n")
	res := k.run("--network", "bridge", "bb", "sh", "-c", "ip -o -4 addr show dev eth0; ip route | grep -c default")
	if res.code != 0 || !strings.Contains(res.out, "inet 172.") || !strings.HasSuffix(res.out, "\n1\n") {
		t.Errorf("bridge: exit code %d, %q, %q", res.code, res.out, res.err)
	}
	k.want(k.run("--network", "host", "bb", "sh", "-c", "ip -o link show docker0 | wc -l"), 0, "1\n")
	a := k.start("--ipc", "shareable", "bb", "sh", "-c", "while :; do echo answer | nc -l -p 5000; done")
	ip := k.inspect(a, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
	k.eventually("another container reaches it", func() bool { return k.run("bb", "nc", "-w", "2", ip, "5000").out == "answer\n" })
	k.want(k.run("--network", "container:"+a, "bb", "sh", "-c", "ip -o -4 addr show dev eth0 | grep -c "+ip), 0, "1\n")
	k.want(k.run("--pid", "container:"+a, "--ipc", "container:"+a, "bb", "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline | cut -c1-9"), 0, "sh -c whi\n")
	k.docker("rm", "-f", a).ok()
	k.want(k.run("--uts", "host", "--ipc", "host", "--pid", "host", "bb", "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline | cut -c1-5"), 0, "sh -c\n")
}

// -it with the client on a terminal: the guest's or container's side is one, too, of the same size, and the code comes through.
func (k *dock) interactive(args []string, talk func(out *sink, in *os.File)) int {
	k.Helper()
	return k.terminal(append([]string{"run", "--rm", "-it", "--runtime=runh"}, args...), talk)
}

func (k *dock) terminal(args []string, talk func(out *sink, in *os.File)) int {
	k.Helper()
	return k.onTerminal(k.cmd(args...), talk)
}

func (k *rt) onTerminal(cmd *exec.Cmd, talk func(out *sink, in *os.File)) int {
	k.Helper()
	master, slave := openPty(k.T)
	k.must(unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 31, Col: 97}))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	out := readSink(k.T, master, nil)
	go talk(out, master)
	res := k.wait(cmd)
	slave.Close() // the last one: what has been written can still be read, and then it ends
	out.all(rtLimit)
	if res.code == 137 {
		k.Errorf("on the terminal: %q", out.String())
	}
	return res.code
}

func TestDockerInteractive(t *testing.T) {
	k := newDock(t)
	var out *sink
	code := k.interactive([]string{"bb", "sh", "-c", `tty; [ -t 0 ] && [ -t 1 ] && echo terminal; read x; stty size; echo "got $x"; exit 11`}, func(o *sink, in *os.File) {
		out = o
		o.until("terminal")
		time.Sleep(100 * time.Millisecond) // the client sends the size when it has heard of the start
		in.WriteString("typed\r")
	})
	if got := strings.ReplaceAll(out.String(), "\r\n", "\n"); code != 11 || !strings.Contains(got, "/dev/pts/0\nterminal\ntyped\n31 97\ngot typed\n") {
		t.Errorf("exit code %d, %q", code, got)
	}
}

func TestDockerRestartPolicy(t *testing.T) {
	k := newDock(t)
	c := k.start("--restart", "on-failure:2", "bb", "false")
	k.eventually("it was tried three times", func() bool { return k.inspect(c, "{{.RestartCount}} {{.State.Status}}") == "2 exited" })
}

func TestDockerCgroupParent(t *testing.T) {
	k := newDock(t)
	needs(t, hybridCgroup(), "cgroup v1")
	parent := "/" + k.token + "parent"
	k.want(k.run("--cgroup-parent", parent, "bb", "sh", "-c", "grep -c "+parent+"/ /proc/self/cgroup | grep -cx '[0-9]*'"), 0, "1\n")
	dirs, _ := filepath.Glob("/sys/fs/cgroup/*" + parent)
	if len(dirs) == 0 {
		t.Error("the parent is not there")
	}
	for _, d := range dirs { // Docker does not remove what it was told to use
		if err := os.Remove(d); err != nil {
			t.Errorf("a cgroup is left in the parent: %v", err)
		}
	}
}

// Twenty at once, and when all tests' containers are gone nothing of theirs is.
func TestDockerMany(t *testing.T) {
	k := newDock(t)
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() { k.want(k.run("--network", "none", "bb", "sh", "-c", fmt.Sprintf("exit %d", i)), i, "") })
	}
	wg.Wait()
	id := strings.TrimSpace(k.docker("create", "--runtime=runh", "bb", "true").ok().out)
	k.docker("start", id).ok()
	k.docker("wait", id).ok()
	k.docker("rm", id).ok()
	for _, where := range []string{k.d.dir + "/exec/runtime-runc/moby/" + id, "/sys/fs/cgroup/*" + k.d.parent + "/" + id} {
		if left, _ := filepath.Glob(where); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// Upstream's flags make files beside the containers; they do not disturb what else uses the directory.
func TestDockerDebugFiles(t *testing.T) {
	k := newDock(t)
	k.onlyRunh("runh's own flags")
	k.run("bb", "true").ok()
	entries, err := os.ReadDir(k.d.dir + "/exec/runtime-runc/moby")
	k.must(err)
	seen := ""
	for _, e := range entries {
		seen += e.Name() + "\n"
	}
	if !regexp.MustCompile(`(?m)^container-[0-9a-f]{64}\.json$`).MatchString(seen) || !regexp.MustCompile(`(?m)^log-.*\.json$`).MatchString(seen) {
		t.Errorf("--debug-log and --debug-config left %q", seen)
	}
	k.must(exec.Command(k.bin, "--root", k.d.dir+"/exec/runtime-runc/moby", "list").Run())
}
