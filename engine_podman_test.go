// podman with runh as its runtime: as root, and as an ordinary user who exists only for the test. podman has no daemon; every test
// has a store of its own. RUNTIME=/usr/sbin/runc is the control.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

type podman struct {
	*rt
	home   string   // its store and state
	bin    string   // the runtime
	pod    string   // the id of its pod, if it has one
	enter  []string // what comes before "podman": the way to be an ordinary user
	holder int      // whose descendants are all that this user has started
}

// newPodman is the first line of a test with podman as root.
func newPodman(t *testing.T) *podman {
	t.Helper()
	p := &podman{rt: newRT(t)}
	p.home, p.bin = p.dir+"/podman", p.rt.bin
	p.prepare()
	return p
}

// prepare writes podman's configuration and makes the image "bb".
func (p *podman) prepare() {
	p.Helper()
	needsPrograms(p.T, "/usr/bin/podman", "conmon")
	p.must(os.MkdirAll(p.home, 0o711))
	// The limits that podman sets by default need CAP_SYS_RESOURCE. Its locks would stay in /dev/shm.
	p.must(os.WriteFile(p.dir+"/containers.conf", []byte(`[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
lock_type = "file"
`), 0o644))
	root := p.dir + "/bb"
	busyboxRootfs(p.T, root)
	p.importImage("bb", root)
	p.Cleanup(func() {
		p.podman("rm", "-f", "-a", "-t", "0")
		if p.enter != nil || rtSystemd() {
			return
		}
		// podman leaves the parent there and, in it, what its pods and conmons were in; a container's is the runtime's to remove.
		p.eventually("podman's own cgroups can be removed", func() bool {
			left, _ := filepath.Glob("/sys/fs/cgroup/*" + p.parent())
			for _, d := range left {
				for _, below := range []string{filepath.Join(d, p.pod), d} {
					conmons, _ := filepath.Glob(below + "/*conmon*")
					for _, b := range append(conmons, below) {
						os.Remove(b)
					}
				}
			}
			below, _ := filepath.Glob("/sys/fs/cgroup/*" + p.parent() + "/*conmon*")
			return len(below) == 0
		})
	})
}

func (p *podman) parent() string {
	if rtSystemd() {
		return p.token + ".slice"
	}
	return "/" + p.token + "parent"
}

func (p *podman) importImage(name, root string, changes ...string) {
	p.Helper()
	archive := p.dir + "/" + filepath.Base(name) + ".tar"
	tarFile(p, archive, root)
	args := []string{"import", "-q"}
	for _, c := range changes {
		args = append(args, "-c", c)
	}
	if res := p.podman(append(args, archive, name)...); res.code != 0 {
		p.Fatalf("podman import: %s", res.err)
	}
}

// importHermit makes the image "hermit".
func (p *podman) importHermit() {
	p.Helper()
	root := filepath.Join(p.dir, "image-hermit")
	hermitRootfs(p.rt, root, "app")
	p.importImage("hermit", root, `ENTRYPOINT ["/hermit/app"]`)
}

func (p *podman) cmd(args ...string) *exec.Cmd {
	all := append(p.enter[:len(p.enter):len(p.enter)], "/usr/bin/podman", "--root", p.home+"/root", "--runroot", p.home+"/run", "--tmpdir", p.home+"/tmp",
		"--storage-driver", "vfs", "--cgroup-manager", map[bool]string{false: "cgroupfs", true: "systemd"}[rtSystemd()], "--events-backend", "file", "--runtime", p.bin)
	cmd := exec.Command(all[0], append(all[1:], args...)...)
	cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+p.dir+"/containers.conf", "HOME="+p.home, "XDG_RUNTIME_DIR="+p.runtimeDir())
	cmd.Dir = p.dir
	return cmd
}

// runtimeDir is XDG_RUNTIME_DIR.
func (p *podman) runtimeDir() string {
	if p.enter != nil && rtSystemd() {
		return userRuntime
	}
	return p.home
}

func (p *podman) podman(args ...string) result {
	p.Helper()
	res := p.doCmd(p.cmd(args...))
	res.args = args
	return res
}

// options are those of every container; networks other than none and host need plugins.
func (p *podman) options(args []string) []string {
	options := []string{"--network", "none"}
	if strings.Contains(strings.Join(args, " "), "--network") || strings.Contains(strings.Join(args, " "), "--pod ") {
		options = nil
	}
	if p.enter == nil {
		options = append(options, "--cgroup-parent", p.parent())
	}
	return append(options, args...)
}

func (p *podman) run(args ...string) result {
	p.Helper()
	return p.podman(append([]string{"run", "--rm"}, p.options(args)...)...)
}

func (p *podman) start(args ...string) string {
	p.Helper()
	p.n++
	name := fmt.Sprintf("%s-%d", p.token, p.n)
	p.podman(append([]string{"run", "-d", "--name", name}, p.options(args)...)...).ok()
	return name
}

func (p *podman) want(res result, code int, out string) {
	p.Helper()
	if res.code != code || res.out != out || code == 0 && res.err != "" {
		p.Errorf("podman %q: exit code %d, stdout %q, want %d and %q; stderr %q", res.args, res.code, res.out, code, out, res.err)
	}
}

func (p *podman) inspect(name, format string) string {
	p.Helper()
	return strings.TrimSpace(p.podman("inspect", "-f", format, name).ok().out)
}

func TestPodmanRun(t *testing.T)  { newPodman(t).testRun() }
func TestPodmanExec(t *testing.T) { newPodman(t).testExec() }
func TestPodmanEnds(t *testing.T) { newPodman(t).testEnds() }

// The main cases, which hold for every user.
func (p *podman) testRun() {
	p.want(p.run("bb", "echo", "hi"), 0, "hi\n")
	p.want(p.run("bb", "sh", "-c", "echo out; echo err >&2; exit 3"), 3, "out\n")
	p.want(p.run("--network", "host", "--pid", "host", "bb", "sh", "-c", "readlink /proc/self/ns/net >/dev/null; exit 4"), 4, "")
	cmd := p.cmd(append([]string{"run", "--rm", "-i"}, p.options([]string{"bb", "cat"})...)...)
	cmd.Stdin = strings.NewReader("through\n")
	p.want(p.doCmd(cmd), 0, "through\n")
	for _, x := range []struct {
		code int
		text string
		args []string
	}{
		{127, "executable file not found in $PATH", []string{"nosuch"}},
		{127, "no such file or directory", []string{"/nosuch"}},
		{126, "permission denied", []string{"/etc"}},
	} {
		res := p.run(append([]string{"bb"}, x.args...)...)
		if res.code != x.code || !strings.Contains(res.err, x.text) {
			p.Errorf("%q: exit code %d, %q, want %d and %q", x.args, res.code, res.err, x.code, x.text)
		}
	}
	p.want(p.run("--user", "1000:1001", "--hostname", "somename", "-e", "A=b c", "-w", "/tmp", "--read-only", "--tmpfs", "/t", "bb",
		"sh", "-c", "id -u; id -g; hostname; echo $A; pwd; touch /t/x && echo touched; touch /x 2>/dev/null || echo refused"), 0,
		"1000\n1001\nsomename\nb c\n/tmp\ntouched\nrefused\n")
	p.want(p.run("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "bb",
		"sh", "-c", "grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'"), 0,
		"CapEff:0000000000000000\nCapBnd:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n")

	cmd = p.cmd(append([]string{"run", "--rm", "--preserve-fds", "1"}, p.options([]string{"bb", "cat", "/proc/self/fd/3"})...)...)
	f, err := os.Open(p.dir + "/containers.conf")
	p.must(err)
	defer f.Close()
	if p.enter == nil { // podman itself does not hand it on into its user namespace when it has just made that
		cmd.ExtraFiles = []*os.File{f}
		p.want(p.doCmd(cmd), 0, rtReadOr(f.Name()))
	}

	var out *sink
	code := p.onTerminal(p.cmd(append([]string{"run", "--rm", "-it"}, p.options([]string{"bb", "sh", "-c", `tty; read x; stty size; echo "got $x"; exit 11`})...)...), func(o *sink, in *os.File) {
		out = o
		o.until("/dev/pts/0")
		in.WriteString("typed\r")
	})
	if got := strings.ReplaceAll(out.String(), "\r\n", "\n"); code != 11 || !strings.Contains(got, "31 97\ngot typed\n") {
		p.Errorf("on a terminal: exit code %d, %q", code, got)
	}
}

func (p *podman) testExec() {
	c := p.start("-e", "A=of the container", "bb", "sleep", "1000")
	p.want(p.podman("exec", c, "sh", "-c", "echo out; echo err >&2; exit 3"), 3, "out\n")
	p.want(p.podman("exec", "-u", "1000:1001", "-w", "/etc", "-e", "B=x", c, "sh", "-c", "id -u; id -g; pwd; echo $A $B"), 0, "1000\n1001\n/etc\nof the container x\n")
	p.want(p.podman("exec", c, "sh", "-c", `cmp /proc/1/cgroup /proc/self/cgroup
		for n in mnt net pid ipc uts cgroup user; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo $n; done
		for f in 1 self; do grep -E '^(Cap|Seccomp|NoNewPrivs)' /proc/$f/status; done | sort | uniq -u`), 0, "")
	cmd := p.cmd("exec", "-i", c, "cat")
	cmd.Stdin = strings.NewReader("through\n")
	p.want(p.doCmd(cmd), 0, "through\n")
	for text, args := range map[string][]string{"executable file not found in $PATH": {"nosuch"}, "permission denied": {"/etc"}} {
		res := p.podman(append([]string{"exec", c}, args...)...)
		if res.code != 126 && res.code != 127 || !strings.Contains(res.err, text) {
			p.Errorf("exec %q: exit code %d, %q, want 126 or 127 and %q", args, res.code, res.err, text)
		}
	}
	p.podman("exec", "-d", c, "sleep", "1002").ok()
	p.eventually("the detached process is listed", func() bool { return strings.Contains(p.podman("top", c, "args").ok().out, "sleep 1002") })
	code := p.onTerminal(p.cmd("exec", "-it", c, "sh", "-c", "tty; read x; exit $x"), func(o *sink, in *os.File) {
		o.until("/dev/pts/0")
		in.WriteString("12\r")
	})
	if code != 12 {
		p.Errorf("exec on a terminal: exit code %d, want 12", code)
	}
	p.podman("rm", "-f", "-t", "0", c).ok()
}

func (p *podman) testEnds() {
	c := p.start("bb", "sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")
	p.eventually("it is ready", func() bool { return p.podman("logs", c).out == "ready\n" })
	p.podman("stop", "-t", "20", c).ok()
	if s := p.inspect(c, "{{.State.Status}} {{.State.ExitCode}}"); s != "exited 5" {
		p.Errorf("after stop: %s", s)
	}
	p.podman("start", c).ok() // the same ID again
	p.podman("kill", c).ok()
	p.want(p.podman("wait", c), 0, "137\n")
	p.podman("rm", c).ok()

	d := p.token + "init"
	p.podman(append([]string{"create", "--name", d}, p.options([]string{"bb", "sh", "-c", "echo ran; exit 6"})...)...).ok()
	p.podman("init", d).ok()
	if s := p.inspect(d, "{{.State.Status}}"); s != "initialized" {
		p.Errorf("after init: %s", s)
	}
	if out := p.podman("logs", d).out; out != "" {
		p.Errorf("it ran before start: %q", out)
	}
	p.podman("start", d).ok()
	p.want(p.podman("wait", d), 0, "6\n")
	p.podman("rm", d).ok()

	e := p.start("--pid", "host", "bb", "sh", "-c", "sleep 1001 & wait") // no namespace ends these two with the first
	if res := p.podman("rm", "-f", "-t", "0", e); res.code != 0 {
		p.Errorf("rm -f: exit code %d, %q", res.code, res.err)
	}
}

func TestPodmanPauseAndUpdate(t *testing.T) {
	p := newPodman(t)
	needs(t, hybridCgroup(), "cgroup v1")
	c := p.start("-m", "64m", "bb", "sleep", "1000")
	p.podman("pause", c).ok()
	if s := p.inspect(c, "{{.State.Status}}"); s != "paused" {
		t.Errorf("state %s", s)
	}
	if res := p.podman("exec", c, "true"); res.code == 0 {
		t.Error("exec in a paused container")
	}
	p.podman("unpause", c).ok()
	p.want(p.podman("exec", c, "echo", "goes on"), 0, "goes on\n")
	p.podman("update", "--memory", "100m", "--cpus", "0.5", c).ok()
	p.want(p.podman("exec", c, "sh", "-c", "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us"), 0, "104857600\n50000\n")
	if f := strings.Fields(p.podman("stats", "--no-stream", "--format", "{{.MemUsageBytes}} {{.PIDs}}", c).ok().out); len(f) != 4 || f[0] == "0B" || f[3] != "1" {
		t.Errorf("podman stats: %q", f)
	}
	p.podman("pause", c).ok()
	p.podman("rm", "-f", "-t", "0", c).ok()

	d := p.start("-m", "16m", "bb", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
	p.want(p.podman("wait", d), 0, "137\n")
	p.want(p.run("--uidmap", "0:200000:1000", "bb", "sh", "-c", "id -u; tr -s ' ' </proc/self/uid_map"), 0, "0\n 0 200000 1000\n")
}

// A pod of a Linux container and a Hermit application, as root.
func TestPodmanPod(t *testing.T) {
	p := newPodman(t)
	pod := p.token + "pod"
	p.pod = p.podman("pod", "create", "--name", pod, "--cgroup-parent", p.parent(), "--network", "none", "--infra-image", "bb", "--infra-command", "sleep 1000").ok().out
	p.pod = strings.TrimSpace(p.pod)
	p.Cleanup(func() { p.podman("pod", "rm", "-f", "-t", "0", pod) })
	// What one container does to the shared namespaces the other sees.
	p.podman("run", "-d", "--pod", pod, "--name", pod+"a", "--cap-add", "NET_ADMIN", "bb", "sh", "-c", "ip link add dummy7 type dummy 2>/dev/null || ip addr add 10.7.7.7/32 dev lo; exec sleep 1000").ok()
	p.eventually("the other container sees the address", func() bool {
		return strings.Contains(p.podman("run", "--rm", "--pod", pod, "bb", "ip", "-o", "addr").out+p.podman("run", "--rm", "--pod", pod, "bb", "ip", "-o", "link").out, "7")
	})
	if !p.isRunh() {
		return
	}
	p.importHermit()
	p.want(p.podman("run", "--rm", "--pod", pod, "hermit", "exit", "7"), 7, rtLastWords(7))
	p.podman("run", "-d", "--pod", pod, "--name", pod+"h", "hermit", "print", "one", ";", "count").ok()
	p.eventually("the guest counts in the logs", func() bool { return strings.HasPrefix(p.podman("logs", pod+"h").out, "one\ncount 1\n") })
	p.podman("stop", "-t", "20", pod+"h").ok()
	if s := p.inspect(pod+"h", "{{.State.Status}} {{.State.ExitCode}}"); s != "exited 143" {
		t.Errorf("after stop: %s", s)
	}
	p.podman("pod", "rm", "-f", "-t", "0", pod).ok()
}

// rmLibpod removes podman's parent cgroup, in what uses no other, as far as it is empty.
func rmLibpod() {
	for _, parent := range []string{"libpod_parent/*/*", "libpod_parent/*", "libpod_parent"} {
		dirs, _ := filepath.Glob("/sys/fs/cgroup/*/" + parent)
		for _, dir := range dirs {
			syscall.Rmdir(dir)
		}
	}
}

// Manifests of Kubernetes, in and out: docs/pod.yaml is played, and described again. And what is refused.
func TestPodmanKube(t *testing.T) {
	p := newPodman(t)
	p.onlyRunh("only runh boots guests")
	p.Cleanup(rmLibpod)
	p.must(os.WriteFile(p.dir+"/containers.conf", []byte(rtRead(t, p.dir+"/containers.conf")+"infra_image = \"localhost/pause:latest\"\n"), 0o644))
	root := p.dir + "/bb-again"
	busyboxRootfs(t, root)
	p.importImage("docker.io/library/busybox", root, "ENV PATH=/bin")
	p.importImage("pause", root, `ENTRYPOINT ["/bin/sleep", "100000"]`)
	root = filepath.Join(p.dir, "image-hermit")
	hermitRootfs(p.rt, root, "app")
	p.importImage("docker.io/library/hello-hermit", root)
	manifest := strings.NewReplacer("name: hello", "name: "+p.token, "\n  restartPolicy", "\n  hostNetwork: true\n  restartPolicy").Replace(rtRead(t, "docs/pod.yaml"))
	p.must(os.WriteFile(p.dir+"/pod.yaml", []byte(manifest), 0o644))
	if res := p.podman("play", "kube", p.dir+"/pod.yaml"); res.code != 0 {
		t.Fatalf("play kube: %d, %s", res.code, res.err)
	}
	p.Cleanup(func() { p.podman("pod", "rm", "-f", "-t", "0", p.token) })
	p.eventually("the guest counts", func() bool {
		return strings.HasPrefix(p.podman("logs", p.token+"-guest").out, "of the guest\ncount 1\n")
	})
	if out := p.podman("logs", p.token+"-sidecar").out; out != "of the sidecar\n" {
		t.Errorf("log of the sidecar: %q", out)
	}
	out := p.podman("generate", "kube", p.token).out // it warns of annotations that are too long for Kubernetes
	for _, want := range []string{"kind: Pod", "image: docker.io/library/hello-hermit:latest", "- of the guest", "memory: 256Mi"} {
		if !strings.Contains(out, want) {
			t.Errorf("generate kube lacks %q: %s", want, out)
		}
	}
	if res := p.podman("container", "checkpoint", p.token+"-sidecar"); res.code == 0 || !strings.Contains(res.err, "checkpoint") {
		t.Errorf("checkpoint: exit code %d, %q", res.code, res.err)
	}
	if s := p.inspect(p.token+"-sidecar", "{{.State.Status}}"); s != "running" {
		t.Errorf("after the refused checkpoint the sidecar is %s", s)
	}
	// podman does not tell a runtime the container's name in the pod.
	one := strings.NewReplacer("name: "+p.token, "name: "+p.token+"-one\n  annotations:\n    org.hermit-os.runh.ports.guest: \"80\"").Replace(manifest)
	p.must(os.WriteFile(p.dir+"/one.yaml", []byte(one), 0o644))
	if res := p.podman("play", "kube", p.dir+"/one.yaml"); res.code == 0 || !strings.Contains(res.err, `annotation org.hermit-os.runh.ports.guest is for the container "guest" of a pod`) {
		t.Errorf("an annotation for one container: %d, %q", res.code, res.err)
	}
	p.podman("pod", "rm", "-f", "-t", "0", p.token+"-one")
	p.podman("pod", "restart", p.token)
	p.eventually("the guest counts again", func() bool {
		return strings.Count(p.podman("logs", p.token+"-guest").out, "of the guest\ncount 1\n") == 2
	})
	if res := p.podman("play", "kube", "--down", p.dir+"/pod.yaml"); res.code != 0 {
		t.Errorf("play kube --down: %d, %s", res.code, res.err)
	}
	if out := p.podman("ps", "-aq").ok().out; out != "" {
		t.Errorf("left: %q", out)
	}
}

// newPodmanUser is podman for the ordinary user of runtime_rootless_test.go.
func newPodmanUser(t *testing.T) *podman {
	t.Helper()
	u := newOrdinary(t, "rootless:300000:65536\n")
	p := &podman{rt: u.rt, home: u.home, bin: u.bin, enter: u.enter, holder: u.holder}
	p.prepare()
	return p
}

func TestPodmanRootless(t *testing.T) {
	p := newPodmanUser(t)
	p.want(p.run("bb", "sh", "-c", "id -u; tr -s ' ' </proc/self/uid_map; echo x >/dev/null && stat -c %t:%T /dev/null /dev/tty"), 0, "0\n 0 4321 1\n 1 300000 65536\n1:3\n5:0\n")
	p.want(p.run("--userns", "keep-id", "bb", "sh", "-c", "id -u; ls -d /sys/fs/cgroup"), 0, "4321\n/sys/fs/cgroup\n")
	dir := filepath.Join(p.home, "volume")
	p.must(os.Mkdir(dir, 0o755))
	p.must(os.Chown(dir, 4321, 4321))
	p.want(p.run("-v", dir+":/v", "bb", "sh", "-c", "touch /v/a; touch /v/b; chown 5 /v/b"), 0, "")
	for name, uid := range map[string]uint32{"a": 4321, "b": 300004} {
		fi, err := os.Stat(filepath.Join(dir, name))
		p.must(err)
		if got := fi.Sys().(*syscall.Stat_t).Uid; got != uid {
			t.Errorf("%s belongs to %d on the host, want %d", name, got, uid)
		}
	}
	p.testRun()
}

// A Hermit application of an ordinary user's: QEMU runs as one of the user's subordinate ids.
func TestPodmanRootlessHermit(t *testing.T) {
	p := newPodmanUser(t)
	if !p.isRunh() {
		t.Skip("control run: only runh boots guests")
	}
	p.importHermit()
	p.want(p.run("hermit", "hello"), 0, "Hello from Hermit's stand-in!\n"+rtLastWords(0))
	p.want(p.run("--network", "host", "hermit", "exit", "7"), 7, rtLastWords(7))
	p.want(p.run("--userns", "keep-id", "hermit", "exit", "7"), 7, rtLastWords(7))
	c := p.start("hermit", "print", "one", ";", "count")
	p.eventually("the guest counts in the logs", func() bool { return strings.HasPrefix(p.podman("logs", c).out, "one\ncount 1\n") })
	p.wantJailed(descendant(p.rt, p.holder, "qemu"), 332768, 365535)
	p.podman("stop", "-t", "20", c).ok()
	if s := p.inspect(c, "{{.State.Status}} {{.State.ExitCode}}"); s != "exited 143" {
		t.Errorf("after stop: %s", s)
	}
	d := p.start("hermit", "count")
	p.podman("kill", d).ok()
	p.want(p.podman("wait", d), 0, "137\n")
	p.podman("rm", d).ok()
}

// A pod of an ordinary user's, of a Linux container and a Hermit application: both join the infra container's namespaces.
func TestPodmanRootlessPod(t *testing.T) {
	p := newPodmanUser(t)
	pod := p.token + "pod"
	p.podman("pod", "create", "--name", pod, "--network", "none", "--infra-image", "bb", "--infra-command", "sleep 1000").ok()
	p.Cleanup(func() { p.podman("pod", "rm", "-f", "-t", "0", pod) })
	p.podman("run", "-d", "--pod", pod, "--name", pod+"a", "--cap-add", "NET_ADMIN", "bb", "sh", "-c", "ip addr add 10.7.7.7/32 dev lo && exec sleep 1000").ok()
	p.eventually("the other container sees the address", func() bool {
		return strings.Contains(p.podman("run", "--rm", "--pod", pod, "bb", "ip", "-o", "addr").out, "10.7.7.7")
	})
	p.want(p.podman("exec", pod+"a", "sh", "-c", "id -u; exit 4"), 4, "0\n")
	if p.isRunh() {
		p.importHermit()
		p.want(p.podman("run", "--rm", "--pod", pod, "hermit", "exit", "7"), 7, rtLastWords(7))
	}
	p.podman("pod", "rm", "-f", "-t", "0", pod).ok()
}

func TestPodmanRootlessExec(t *testing.T) { newPodmanUser(t).testExec() }
func TestPodmanRootlessEnds(t *testing.T) { newPodmanUser(t).testEnds() }
