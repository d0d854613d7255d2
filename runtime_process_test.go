// The edge between the process and its surroundings: which entries of its environment count, and what of the caller of
// runh (CPUs, OOM score, keyring) stays with the caller.

package main

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestEnvironmentNames: a name has one value, the last one, in run, exec and hooks. getenv(3) takes the first of two.
func TestEnvironmentNames(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc 1.1 passes on all")
	log := r.dir + "/hook"
	twice := []string{"A=old", "B=1", "A=new", "HOME=/old", "HOME=", "PATH=/nosuch", "PATH=/bin"}
	// cat is no shell: nothing reads the environment before it is printed.
	c := r.bundle([]string{"cat", "/proc/self/environ"}, func(s *specs.Spec) { s.Process.Env = twice })
	setHook(c.spec, "createRuntime", specs.Hook{Path: "/bin/busybox", Args: []string{"cp", "/proc/self/environ", log}, Env: twice})
	c.write()
	if got := c.output(); got != "B=1\x00A=new\x00PATH=/bin\x00HOME=/\x00" && got != "B=1\x00A=new\x00PATH=/bin\x00HOME=/root\x00" {
		t.Errorf("the process has %q", got)
	}
	if got := rtReadOr(log); got != "B=1\x00A=new\x00HOME=\x00PATH=/bin\x00" {
		t.Errorf("the hook has %q", got)
	}
	d := r.bundle([]string{"sleep", "1000"}, func(s *specs.Spec) { s.Process.Env = []string{"PATH=/bin", "HOME=/", "A=1"} }).create().start()
	if res := r.do("exec", "-e", "A=2", "-e", "A=3", d.id, "cat", "/proc/self/environ").ok(); res.out != "PATH=/bin\x00HOME=/\x00A=3\x00" {
		t.Errorf("exec has %q", res.out)
	}
}

// TestCallersCPUs: the CPUs that the caller is bound to are not the container's, nor its QEMU's.
func TestCallersCPUs(t *testing.T) {
	needs(t, runtime.NumCPU() > 1, "two CPUs")
	bound := func(r *rt, cmd *exec.Cmd) *exec.Cmd {
		path, err := exec.LookPath("taskset")
		r.must(err)
		cmd.Path, cmd.Args = path, append([]string{"taskset", "-c", "0", cmd.Path}, cmd.Args[1:]...)
		return cmd
	}
	all := func(r *rt) string {
		b, err := exec.Command("taskset", "-c", "0-8191", "grep", "Cpus_allowed_list", "/proc/self/status").Output()
		r.must(err)
		return strings.TrimSpace(strings.TrimPrefix(string(b), "Cpus_allowed_list:"))
	}
	t.Run("linux", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("runc 1.1 keeps them")
		c := r.bundle([]string{"sleep", "1000"})
		if res := c.launchCmd(func(cmd *exec.Cmd) { bound(r, cmd) }, "create"); res.code != 0 {
			t.Fatalf("create: %q", res.err)
		}
		c.start()
		if got := rtStatus(t, c.pid, "Cpus_allowed_list"); got != all(r) {
			t.Errorf("the container runs on CPUs %s, want %s", got, all(r))
		}
		look := []string{"grep", "Cpus_allowed_list", "/proc/self/status"}
		if res := r.doCmd(bound(r, r.cmd(append([]string{"exec", c.id}, look...)...))).ok(); !strings.HasSuffix(strings.TrimSpace(res.out), "\t"+all(r)) {
			t.Errorf("exec: %q, want %s", res.out, all(r))
		}
		p := *c.spec.Process
		p.ExecCPUAffinity = &specs.CPUAffinity{Initial: "1"}
		if res := r.doCmd(bound(r, r.cmd("exec", "--process", c.processFile(&p, look...), c.id))).ok(); !strings.HasSuffix(strings.TrimSpace(res.out), "\t1") {
			t.Errorf("exec with initial 1: %q", res.out)
		}
	})
	t.Run("cpuset", func(t *testing.T) { // the cgroup's own choice holds
		r := newRT(t)
		r.onlyRunh("runc 1.1 keeps them")
		c := r.bundle([]string{"sleep", "1000"}, func(s *specs.Spec) { s.Linux.Resources.CPU = &specs.LinuxCPU{Cpus: "1"} })
		if res := c.launchCmd(func(cmd *exec.Cmd) { bound(r, cmd) }, "create"); res.code != 0 {
			t.Fatalf("create: %q", res.err)
		}
		if got := rtStatus(t, c.pid, "Cpus_allowed_list"); got != "1" {
			t.Errorf("the container runs on CPUs %s, want 1", got)
		}
	})
	t.Run("hermit", func(t *testing.T) {
		r := newHermit(t)
		c := r.guest("app", []string{"count"})
		if res := c.launchCmd(func(cmd *exec.Cmd) { bound(r, cmd) }, "create"); res.code != 0 {
			t.Fatalf("create: %q", res.err)
		}
		qemu := strings.Fields(rtReadOr("/proc/" + strconv.Itoa(c.pid) + "/task/" + strconv.Itoa(c.pid) + "/children"))
		if len(qemu) != 1 {
			t.Fatalf("the keeper's children are %q, want QEMU", qemu)
		}
		vmm, _ := strconv.Atoi(qemu[0])
		for _, pid := range []int{c.pid, vmm} {
			if got := rtStatus(t, pid, "Cpus_allowed_list"); got != all(r) {
				t.Errorf("process %d runs on CPUs %s, want %s", pid, got, all(r))
			}
		}
	})
}

// TestOOMScoreIsTheContainers: oomScoreAdj is its processes' only: not a hook's of the host, nor that of the runh that stays.
func TestOOMScoreIsTheContainers(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc 1.1 cannot set it as an ordinary root of a sandbox")
	score := 321
	log := r.dir + "/log"
	c := r.sh("cat /proc/self/oom_score_adj; echo ready; read x; true", func(s *specs.Spec) {
		s.Process.OOMScoreAdj = &score
		for _, kind := range []string{"createRuntime", "createContainer", "poststart"} {
			setHook(s, kind, shHook("cat /proc/self/oom_score_adj >>"+log))
		}
	})
	own := strings.TrimSpace(rtReadOr("/proc/self/oom_score_adj"))
	in, stdin, err := os.Pipe()
	r.must(err)
	cmd, out := r.cmd("run", "--bundle", c.dir, c.id), newSink(t)
	cmd.Stdin, cmd.Stdout = in, out.w
	r.must(cmd.Start())
	out.w.Close()
	if got := out.until("ready"); !strings.HasPrefix(got, "321\n") {
		t.Errorf("the container has %q", got)
	}
	if got := strings.TrimSpace(rtReadOr("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/oom_score_adj")); got != own {
		t.Errorf("the supervising run has %s, want %s", got, own)
	}
	r.eventually("three hooks", func() bool { return strings.Count(rtReadOr(log), "\n") == 3 })
	if got := rtReadOr(log); got != strings.Repeat(own+"\n", 3) {
		t.Errorf("the hooks have %q, want %s", got, own)
	}
	if res := r.do("exec", c.id, "cat", "/proc/self/oom_score_adj").ok(); res.out != "321\n" {
		t.Errorf("exec has %q", res.out)
	}
	stdin.Close()
	r.must(cmd.Wait())
}

// TestTerminalIntoFiles: a terminal in the foreground writes the container's newlines as they are into a pipe, and with CR
// on the user's own terminal. A console socket's receiver gets the terminal as it is made.
func TestTerminalIntoFiles(t *testing.T) {
	tty := func(s *specs.Spec) { s.Process.Terminal = true }
	t.Run("run and exec", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("runc needs a terminal of its own")
		if res := r.sh("echo one; echo two", tty).run().ok(); res.out != "one\ntwo\n" {
			t.Errorf("run: %q", res.out)
		}
		c := r.bundle([]string{"sleep", "1000"}).create().start()
		if res := r.do("exec", "-t", c.id, "sh", "-c", "echo one; echo two").ok(); res.out != "one\ntwo\n" {
			t.Errorf("exec -t: %q", res.out)
		}
	})
	t.Run("on a terminal", func(t *testing.T) {
		r := newRT(t)
		c := r.sh("echo one; echo two", tty)
		master, slave := openPty(t)
		cmd := r.cmd("run", "--bundle", c.dir, c.id)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		out := readSink(t, master, nil)
		if res := r.wait(cmd); res.code != 0 {
			t.Errorf("exit code %d", res.code)
		}
		if got := out.until("two\r\n"); got != "one\r\ntwo\r\n" {
			t.Errorf("%q", got)
		}
	})
	t.Run("only the output is a terminal", func(t *testing.T) { // which has the size
		r := newRT(t)
		c := r.sh("stty size", tty)
		master, slave := openPty(t)
		r.must(unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 22, Col: 66}))
		cmd := r.cmd("run", "--bundle", c.dir, c.id)
		cmd.Stdout, cmd.Stderr = slave, slave
		out := readSink(t, master, nil)
		if res := r.wait(cmd); res.code != 0 {
			t.Errorf("exit code %d", res.code)
		}
		if got := out.until("\n"); got != "22 66\r\n" {
			t.Errorf("%q", got)
		}
	})
	t.Run("hermit", func(t *testing.T) {
		r := newHermit(t)
		c := r.guest("app", []string{"hello"})
		tty(c.spec)
		c.write()
		if res := c.run(); strings.Contains(res.out, "\r\n") || !strings.Contains(res.out, "\n") {
			t.Errorf("exit code %d, %q", res.code, res.out)
		}
	})
}
