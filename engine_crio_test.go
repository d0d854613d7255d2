// CRI-O: conmon, the monitor that it starts for every container and every exec, run by hand the way CRI-O does, with what CRI-O then reads:
// the pid on a pipe, log, exit and OOM files, the attach socket. Where there is a crio in $PATH the pod of engine_cri_test.go runs there, too.

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// conmon starts one for c, in an empty environment but for the pipes. What it says on the first of them comes back as it is wanted.
func (c *ctr) conmon(args ...string) (said *sink) {
	r := c.r
	r.Helper()
	said = newSink(r.T)
	begin, go_, err := os.Pipe()
	r.must(err)
	stderr := newSink(r.T)
	cmd := exec.Command("conmon", append([]string{"-c", c.id, "-n", c.id, "-r", r.bin, "--socket-dir-path", r.dir + "/attach", "--log-level", "info", "--runtime-arg", "--root=" + r.root}, args...)...)
	cmd.Dir, cmd.Env = c.dir, []string{"_OCI_SYNCPIPE=3", "_OCI_STARTPIPE=4"}
	cmd.ExtraFiles = []*os.File{said.w, begin}
	cmd.Stdout, cmd.Stderr = stderr.w, stderr.w
	r.must(cmd.Start())
	begin.Close()
	said.w.Close()
	stderr.w.Close()
	go_.Write([]byte{0}) // CRI-O has moved it into its cgroup
	go_.Close()
	if err := cmd.Wait(); err != nil && !said.has("}") {
		r.Errorf("conmon: %v: %s", err, stderr)
	}
	return said
}

// conmonCreate is CreateContainer: conmon goes into the background once the runtime has made the container.
func (c *ctr) conmonCreate(args ...string) {
	r := c.r
	r.Helper()
	for _, d := range []string{"/exits", "/attach", "/persist"} {
		r.must(os.MkdirAll(r.dir+d, 0o755))
	}
	said := c.conmon(append([]string{
		"-b", c.dir, "-u", c.id, "--exit-dir", r.dir + "/exits", "--persist-dir", c.dir, "-l", c.dir + "/log",
		"-p", c.dir + "/pidfile", "-P", c.dir + "/conmon-pidfile",
	}, args...)...)
	var message struct {
		Pid     int
		Message string
	}
	if line := said.until("\n"); json.Unmarshal([]byte(line), &message) != nil || message.Pid <= 0 {
		r.Fatalf("conmon says %q", line)
	}
	if pid := rtRead(r.T, c.dir+"/pidfile"); pid != strconv.Itoa(message.Pid) {
		r.Errorf("pid file %q, conmon says %d", pid, message.Pid)
	}
	c.pid = message.Pid
}

// exited waits for the exit file.
func (c *ctr) exited(code string) {
	c.r.Helper()
	c.r.eventually("there is an exit file", func() bool { return rtReadOr(c.r.dir+"/exits/"+c.id) != "" })
	if got := rtReadOr(c.r.dir + "/exits/" + c.id); got != code {
		c.r.Errorf("exit file of %s: %q, want %s", c.id, got, code)
	}
}

// conmonExec is ExecSync: the output is in a log of its own, the exit code on the pipe.
func (c *ctr) conmonExec(terminal bool, cmd ...string) (code int, log string) {
	r := c.r
	r.Helper()
	r.n++
	name := fmt.Sprintf("%s/exec%d", c.dir, r.n)
	process := *c.spec.Process
	process.Args, process.Terminal = cmd, terminal
	text, err := json.Marshal(process)
	r.must(err)
	r.must(os.WriteFile(name, text, 0o644))
	args := []string{"-p", name + ".pid", "-e", "-l", name + ".log", "--exec-process-spec", name, "-T", "20", "--sync"}
	if terminal {
		args = append(args, "-t")
	}
	said := c.conmon(args...).all(rtLimit)
	for l := range strings.Lines(said) {
		var message struct {
			Exit    *int `json:"exit_code"`
			Message string
		}
		r.must(json.Unmarshal([]byte(l), &message))
		switch {
		case message.Exit == nil: // the pid
		case *message.Exit < 0:
			return *message.Exit, message.Message
		default:
			return *message.Exit, criLog(r, name+".log", "stdout")
		}
	}
	r.Fatalf("exec of %q: conmon says %q", cmd, said)
	return 0, ""
}

func TestCRIO(t *testing.T) {
	r := newHermit(t)
	needsPrograms(t, "conmon")
	c := r.sh("echo out; echo err >&2; read x; echo got $x; exit 6")
	c.conmonCreate("-i")
	c.wantStatus("created")
	r.do("start", c.id).ok()
	r.eventually("the log has both streams", func() bool {
		return criLog(r, c.dir+"/log", "stdout") == "out\n" && criLog(r, c.dir+"/log", "stderr") == "err\n"
	})
	for _, terminal := range []bool{false, true} {
		code, log := c.conmonExec(terminal, "sh", "-c", "[ -t 1 ] && tty; echo $0; exit 3")
		if want := map[bool]string{false: "sh\n", true: "/dev/pts/0\r\nsh\r\n"}[terminal]; code != 3 || log != want {
			t.Errorf("exec, terminal %v: exit code %d, %q, want 3 and %q", terminal, code, log, want)
		}
	}
	if code, message := c.conmonExec(false, "nosuch"); code >= 0 || !strings.Contains(message, "executable file not found in $PATH") {
		t.Errorf("exec of nothing: %d, %q", code, message)
	}
	// Attach: stdin as it is, the output with the number of its stream before it.
	conn, err := net.Dial("unixpacket", r.dir+"/attach/"+c.id+"/attach")
	r.must(err)
	defer conn.Close()
	conn.Write([]byte("typed\n"))
	b := make([]byte, 8192)
	n, err := conn.Read(b)
	r.must(err)
	if string(b[:n]) != "\x02got typed\n" {
		t.Errorf("attached: %q", b[:n])
	}
	c.exited("6")
	r.do("state", c.id).ok()
	r.do("delete", "--force", c.id).ok()

	// On a terminal.
	d := r.bundle([]string{"sh", "-c", "tty; exit 7"}, func(s *specs.Spec) { s.Process.Terminal = true })
	d.conmonCreate("-t")
	r.do("start", d.id).ok()
	d.exited("7")
	if log := criLog(r, d.dir+"/log", "stdout"); log != "/dev/pts/0\r\n" {
		t.Errorf("log of the terminal: %q", log)
	}
	r.do("delete", d.id).ok()

	// Out of memory.
	limit := int64(16 << 20)
	e := r.bundle([]string{"dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"}, func(s *specs.Spec) {
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit, Swap: &limit}
	})
	e.conmonCreate()
	r.do("start", e.id).ok()
	e.exited("137")
	if _, err := os.Stat(e.dir + "/oom"); err != nil {
		t.Errorf("no OOM file: %v", err)
	}
	r.do("delete", e.id).ok()

	// A guest: log, stop as CRI-O does it, exit file; and one that cannot be made, whose reason comes through the pipe.
	g := r.guest("app", []string{"print", "one", ";", "count"})
	g.conmonCreate()
	r.do("start", g.id).ok()
	r.eventually("the guest counts in its log", func() bool { return strings.HasPrefix(criLog(r, g.dir+"/log", "stdout"), "one\ncount 1\n") })
	r.do("kill", g.id, "15").ok()
	g.exited("143")
	r.do("delete", "--force", g.id).ok()
	os.Remove(g.rootfs() + "/hermit/hermit-loader")
	if said := g.conmon("-b", g.dir, "-u", g.id, "-l", g.dir+"/log2", "-p", g.dir+"/pidfile2", "--exit-dir", r.dir+"/exits").all(rtLimit); !strings.Contains(said, "no loader in") {
		t.Errorf("a guest without a loader: conmon says %q", said)
	}
}

// hasCRIO says whether there is one: a distribution has none.
func hasCRIO(t *testing.T) bool {
	_, err := exec.LookPath("crio")
	if err != nil {
		needs(t, true, "crio")
		t.Log("there is no crio in $PATH: TestCRIO and TestCRI have done what it would do")
	}
	return err == nil
}

func TestCRIOCheckpoint(t *testing.T) {
	if hasCRIO(t) {
		newCRIO(t, true).testCheckpoint()
	}
}

// A pod on CRI-O: with a container that holds the namespaces, and without, as it is by default.
func TestCRIOPod(t *testing.T) {
	if !hasCRIO(t) {
		return
	}
	for _, drop := range []bool{true, false} {
		t.Run(fmt.Sprintf("drop_infra_ctr=%v", drop), func(t *testing.T) {
			n := newCRIO(t, drop)
			n.testPod()
			n.testTwoGuests()
		})
	}
}

func newCRIO(t *testing.T, dropInfra bool) *node {
	t.Helper()
	r := newHermit(t)
	needs(t, hybridCgroup(), "cgroup v1")
	needsPrograms(t, "conmon", "pinns", "/usr/bin/podman")
	client, err := criClient()
	r.must(err)
	r.podNetwork()
	home := r.dir + "/d"
	r.must(os.Mkdir(home, 0o711))
	r.must(os.WriteFile(home+"/crio.conf", fmt.Appendf(nil, `[crio]
root = "%[1]s/d/root"
runroot = "%[1]s/d/run"
storage_driver = "vfs"
log_dir = "%[1]s/d/log"
version_file = ""
clean_shutdown_file = ""
[crio.api]
listen = "%[1]s/d/s"
[crio.runtime]
cgroup_manager = "cgroupfs"
conmon_cgroup = "pod"
apparmor_profile = "unconfined"
drop_infra_ctr = %[3]v
namespaces_dir = "%[1]s/d/ns"
container_exits_dir = "%[1]s/d/exits"
container_attach_socket_dir = "%[1]s/d/attach"
default_runtime = "runh"
[crio.checkpoint_restore]
container_level_enabled = "checkpoint_restore"
[crio.runtime.runtimes.runh]
runtime_path = "%[2]s"
runtime_type = "oci"
runtime_root = "%[1]s/r"
monitor_path = "/usr/bin/conmon"
monitor_cgroup = "pod"
[crio.image]
pause_image = "docker.io/library/pause:latest"
pause_command = ""
[crio.network]
network_dir = "%[1]s/cni"
plugin_dirs = ["/usr/lib/cni"]
`, r.dir, r.bin, dropInfra), 0o644))
	n := &node{rt: r, client: client, socket: home + "/s"}
	n.images(func(name, root string, args ...string) {
		archive := r.dir + "/" + name + ".tar"
		tarFile(t, archive, root)
		cmd := exec.Command("podman", "--root", home+"/root", "--runroot", home+"/run", "--storage-driver", "vfs", "import", "-q", "-c", `CMD ["`+strings.Join(args, `","`)+`"]`,
			"-c", "ENV PATH=/bin", archive, "docker.io/library/"+name+":latest")
		if res := r.doCmd(cmd); res.code != 0 {
			t.Fatalf("podman import: %s", res.err)
		}
	})
	n.first = r.startDaemon(home, "ip link set lo up; mount -t tmpfs none /run; mkdir -p /var/lib/cni /run/netns; mount -t tmpfs none /var/lib/cni; crio -c crio.conf -d ''", n.ready, "-m", "-n").first
	return n
}
