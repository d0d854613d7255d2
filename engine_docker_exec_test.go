// What Docker does to a container that runs: exec, top, stats, pause, update, restart, cp, commit, health checks. The daemon is engine_docker_test.go's.

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestDockerExec(t *testing.T) {
	k := newDock(t)
	c := k.start("-e", "A=of the container", "--hostname", "somename", "bb", "sleep", "1000")
	k.want(k.docker("exec", c, "sh", "-c", "echo out; echo err >&2; exit 3"), 3, "out\n")
	k.want(k.docker("exec", c, "sh", "-c", "kill -9 $$"), 137, "")
	k.want(k.docker("exec", "-w", "/etc", "-e", "B=x y", c, "sh", "-c", "pwd; echo $A, $B; hostname"), 0, "/etc\nof the container, x y\nsomename\n")
	k.want(k.docker("exec", "-u", "1000:1001", c, "sh", "-c", "id -u; id -g; echo $HOME"), 0, "1000\n1001\n/home\n")
	k.want(k.docker("exec", "-u", "user", c, "sh", "-c", "id -u; grep ^CapEff /proc/self/status"), 0, "1000\nCapEff:\t0000000000000000\n")
	cmd := k.cmd("exec", "-i", c, "cat")
	cmd.Stdin = strings.NewReader("through\n")
	k.want(k.doCmd(cmd), 0, "through\n")

	// The same cgroups, namespaces, capabilities and filter as the container's first process.
	k.want(k.docker("exec", c, "sh", "-c", `for f in cgroup; do cmp /proc/1/$f /proc/self/$f; done
		for n in mnt net pid ipc uts cgroup user; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo $n; done
		for p in 1 self; do grep -E '^(Cap|Seccomp|NoNewPrivs)' /proc/$p/status; done | sort | uniq -u
		ls /proc/self/fd | wc -l`), 0, "4\n")

	for _, x := range []struct {
		text string
		args []string
	}{
		{"executable file not found in $PATH", []string{c, "nosuch"}},
		{"no such file or directory", []string{c, "/nosuch"}},
		{"permission denied", []string{c, "/etc"}},
		{"no such file or directory", []string{"-w", "/nope", c, "pwd"}},
	} {
		res := k.docker(append([]string{"exec"}, x.args...)...)
		if res.code != 126 && res.code != 127 || !strings.Contains(res.out+res.err, x.text) {
			t.Errorf("%q: exit code %d, %q, %q, want 126 or 127 and %q", x.args, res.code, res.out, res.err, x.text)
		}
	}
}

// The capability to set limits is not everywhere: what the host lacks is left out, and not a failure as it is with runc 1.1.
func TestDockerExecPrivileged(t *testing.T) {
	k := newDock(t)
	k.onlyRunh("capabilities that the host lacks")
	c := k.start("--user", "1000", "bb", "sleep", "1000")
	var have uint64
	for _, l := range strings.Split(rtReadOr("/proc/self/status"), "\n") {
		fmt.Sscanf(l, "CapBnd:\t%x", &have)
	}
	have &= 1<<38 - 1 // all that this Docker knows of
	k.want(k.docker("exec", "--privileged", "-u", "0", c, "sh", "-c", "grep ^CapEff /proc/self/status"), 0, fmt.Sprintf("CapEff:\t%016x\n", have))
	k.want(k.docker("exec", c, "sh", "-c", "grep ^CapEff /proc/self/status"), 0, "CapEff:\t0000000000000000\n")
}

func TestDockerExecDetached(t *testing.T) {
	k := newDock(t)
	c := k.start("bb", "sleep", "1000")
	k.want(k.docker("exec", "-d", c, "sh", "-c", "echo $$ >/tmp/pid; exec sleep 1002"), 0, "")
	k.eventually("the detached process runs", func() bool {
		return k.docker("exec", c, "sh", "-c", "tr '\\0' ' ' </proc/$(cat /tmp/pid)/cmdline").out == "sleep 1002 "
	})
	top := k.docker("top", c).ok().out
	if !strings.Contains(top, "sleep 1000") || !strings.Contains(top, "sleep 1002") || strings.Count(top, "\n") != 3 {
		t.Errorf("docker top: %q", top)
	}
	top = k.docker("top", c, "-o", "pid,args").ok().out
	if !strings.Contains(top, "sleep 1002\n") || strings.Contains(top, "PPID") {
		t.Errorf("docker top -o: %q", top)
	}
	k.docker("exec", c, "sh", "-c", "kill -9 $(cat /tmp/pid)").ok()
	k.eventually("the detached process is gone", func() bool { return !strings.Contains(k.docker("top", c).out, "sleep 1002") })
}

// When the first process ends, so do the others, and their callers hear of it.
func TestDockerExecOfTheDead(t *testing.T) {
	k := newDock(t)
	c := k.start("bb", "sleep", "1000")
	out, stderr := newSink(t), newSink(t)
	cmd := k.cmd("exec", c, "sh", "-c", "echo runs; exec sleep 1003")
	cmd.Stdout, cmd.Stderr = out.w, stderr.w
	ended := make(chan int)
	go func() { ended <- k.wait(cmd, out, stderr).code }()
	out.until("runs\n")
	k.docker("kill", c).ok()
	if code := <-ended; code != 137 {
		t.Errorf("exit code %d of exec in a container that was killed, want 137; %q", code, stderr.String())
	}
	if res := k.docker("exec", c, "true"); res.code != 1 || !strings.Contains(res.err, "is not running") {
		t.Errorf("exec in a stopped container: exit code %d, %q", res.code, res.err)
	}
}

func TestDockerExecInteractive(t *testing.T) {
	k := newDock(t)
	c := k.start("bb", "sleep", "1000")
	var out *sink
	code := k.terminal([]string{"exec", "-it", c, "sh", "-c", `tty; [ -t 0 ] && [ -t 1 ] && echo terminal; read x; stty size; echo "got $x"; exit 11`}, func(o *sink, in *os.File) {
		out = o
		o.until("terminal")
		time.Sleep(100 * time.Millisecond) // the client sends the size when it has heard of the start
		in.WriteString("typed\r")
	})
	if got := strings.ReplaceAll(out.String(), "\r\n", "\n"); code != 11 || !strings.Contains(got, "/dev/pts/0\nterminal\ntyped\n31 97\ngot typed\n") {
		t.Errorf("exit code %d, %q", code, got)
	}
	code = k.terminal([]string{"exec", "-it", c, "sh"}, func(o *sink, in *os.File) {
		o.until("#")
		in.WriteString("sleep 1000\r")
		o.until("sleep 1000\r\n")
		prompts := func() int { return strings.Count(o.String(), "#") }
		for before, end := prompts(), time.Now().Add(rtLimit); time.Now().Before(end) && prompts() == before; time.Sleep(20 * time.Millisecond) {
			in.WriteString("\x03") // which the shell itself gets until the job is the terminal's
		}
		in.WriteString("\rexit 12\r")
	})
	if code != 12 {
		t.Errorf("exit code %d of a shell whose job was interrupted, want 12", code)
	}
}

func TestDockerPause(t *testing.T) {
	k := newDock(t)
	c := k.start("bb", "sh", "-c", "i=0; while :; do i=$((i+1)); echo $i >/tmp/i; usleep 10000; done")
	count := func() string { return k.docker("cp", c+":/tmp/i", "-").out }
	k.docker("pause", c).ok()
	if s := k.inspect(c, "{{.State.Status}} {{.State.Paused}}"); s != "paused true" {
		t.Errorf("state %s", s)
	}
	before := count()
	if res := k.docker("exec", c, "true"); res.code != 1 || !strings.Contains(res.err, "is paused") {
		t.Errorf("exec in a paused container: exit code %d, %q", res.code, res.err)
	}
	if after := count(); before != after {
		t.Errorf("it went on while paused: %q, then %q", before, after)
	}
	k.docker("unpause", c).ok()
	k.eventually("it goes on", func() bool { return count() != before })
	k.docker("pause", c).ok()
	k.docker("stop", "-t", "1", c).ok()
	if s := k.inspect(c, "{{.State.Status}} {{.State.ExitCode}}"); s != "exited 137" {
		t.Errorf("stopped while paused: %s", s)
	}
	k.docker("start", c).ok()
	k.docker("pause", c).ok()
	k.docker("rm", "-f", c).ok()
}

func TestDockerUpdateAndStats(t *testing.T) {
	k := newDock(t)
	needs(t, hybridCgroup(), "cgroup v1")
	c := k.start("-m", "64m", "--cpu-shares", "512", "bb", "sleep", "1000")
	k.docker("update", "--memory", "100m", "--memory-swap", "200m", "--cpus", "0.5", "--pids-limit", "77", c).ok()
	files := "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.shares pids/pids.max"
	k.want(k.docker("exec", c, "sh", "-c", files), 0, "104857600\n209715200\n50000\n512\n77\n")
	k.docker("update", "--memory", "32m", "--memory-swap", "32m", c).ok()
	k.want(k.docker("exec", c, "sh", "-c", files), 0, "33554432\n33554432\n50000\n512\n77\n")
	f := strings.Fields(k.docker("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", c).ok().out)
	if len(f) != 4 || f[0] == "0B" || f[2] != "32MiB" || f[3] != "1" {
		t.Errorf("docker stats: %q", f)
	}
}

func TestDockerOutOfMemory(t *testing.T) {
	k := newDock(t)
	// containerd's shim begins to listen for it only when start has returned.
	c := k.start("-m", "16m", "--memory-swap", "16m", "bb", "sh", "-c", "sleep 1; exec dd if=/dev/zero of=/dev/null bs=64M count=1")
	k.docker("wait", c).ok()
	if s := k.inspect(c, "{{.State.ExitCode}} {{.State.OOMKilled}}"); s != "137 true" {
		t.Errorf("a container over its memory ended with %s", s)
	}
	d := k.start("bb", "sh", "-c", "exit 3")
	k.docker("wait", d).ok()
	if s := k.inspect(d, "{{.State.ExitCode}} {{.State.OOMKilled}}"); s != "3 false" {
		t.Errorf("a container within its memory ended with %s", s)
	}
}

func TestDockerRestart(t *testing.T) {
	k := newDock(t)
	c := k.start("bb", "sh", "-c", "echo x >>/tmp/starts; trap 'exit 0' TERM; while :; do sleep 0.05; done")
	pid := k.inspect(c, "{{.State.Pid}}")
	k.eventually("it started", func() bool { return k.docker("exec", c, "cat", "/tmp/starts").out == "x\n" })
	k.docker("restart", "-t", "20", c).ok()
	if s := k.inspect(c, "{{.State.Status}}"); s != "running" {
		t.Errorf("state %s after a restart", s)
	}
	if again := k.inspect(c, "{{.State.Pid}}"); again == pid {
		t.Errorf("pid %s before and after a restart", pid)
	}
	k.eventually("it started again, from the same files", func() bool { return k.docker("exec", c, "cat", "/tmp/starts").out == "x\nx\n" })
	// A process that ends by itself, under the policy that brings it back.
	d := k.start("--restart", "always", "bb", "sh", "-c", "sleep 0.1; exit 1")
	k.eventually("it came back", func() bool { n, _ := strconv.Atoi(k.inspect(d, "{{.RestartCount}}")); return n >= 2 })
}

func TestDockerCopyAndCommit(t *testing.T) {
	k := newDock(t)
	k.must(os.WriteFile(k.dir+"/in", []byte("from outside\n"), 0o644))
	c := k.start("-v", "/volume", "bb", "sleep", "1000")
	k.docker("cp", k.dir+"/in", c+":/tmp/in").ok()
	k.want(k.docker("exec", c, "cat", "/tmp/in"), 0, "from outside\n")
	k.docker("exec", c, "sh", "-c", "echo from inside >/tmp/out; rm /etc/passwd").ok()
	k.docker("cp", c+":/tmp/out", k.dir+"/out").ok()
	if got := rtReadOr(k.dir + "/out"); got != "from inside\n" {
		t.Errorf("docker cp out: %q", got)
	}
	if out := k.docker("diff", c).ok().out; !strings.Contains(out, "A /tmp/in\n") || !strings.Contains(out, "D /etc/passwd\n") {
		t.Errorf("docker diff: %q", out)
	}
	image := strings.ToLower(k.token)
	k.docker("commit", c, image).ok() // pauses
	k.Cleanup(func() { k.docker("rmi", "-f", image) })
	if s := k.inspect(c, "{{.State.Status}}"); s != "running" {
		t.Errorf("state %s after a commit", s)
	}
	k.want(k.run(image, "cat", "/tmp/in", "/tmp/out"), 0, "from outside\nfrom inside\n")
}

func TestDockerSecurityOptions(t *testing.T) {
	k := newDock(t)
	k.want(k.run("--cap-drop", "ALL", "bb", "sh", "-c", "grep ^Cap /proc/self/status | cut -f2 | sort -u; chown 1 /tmp 2>/dev/null || echo refused"), 0,
		"0000000000000000\nrefused\n")
	profile := filepath.Join(k.dir, "profile.json")
	k.must(os.WriteFile(profile, []byte(`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
		{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 30},
		{"names": ["sethostname"], "action": "SCMP_ACT_KILL_PROCESS"},
		{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]}]}`), 0o644))
	c := k.start("--security-opt", "seccomp="+profile, "--cap-add", "SYS_ADMIN", "bb", "sleep", "1000")
	for _, via := range [][]string{{"run", "--rm", "--runtime=runh", "--security-opt", "seccomp=" + profile, "--cap-add", "SYS_ADMIN", "bb"}, {"exec", c}} {
		res := k.docker(append(via, "sh", "-c", "mkdir /tmp/x; hostname new; echo $?; kill -USR1 $$; kill -0 $$ && echo lives")...)
		if res.code != 0 || res.out != "159\nlives\n" || !strings.Contains(res.err, "Read-only file system") || !strings.Contains(res.err, "not permitted") {
			t.Errorf("%s under a profile: exit code %d, %q, %q", via[0], res.code, res.out, res.err)
		}
	}
}

// The daemon runs the check as it runs docker exec.
func TestDockerHealth(t *testing.T) {
	k := newDock(t)
	c := k.start("--health-cmd", "test -e /tmp/ok", "--health-interval", "100ms", "--health-timeout", "20s", "--health-retries", "1", "bb", "sleep", "1000")
	k.eventually("it is unhealthy", func() bool { return k.inspect(c, "{{.State.Health.Status}}") == "unhealthy" })
	k.docker("exec", c, "touch", "/tmp/ok").ok()
	k.eventually("it is healthy", func() bool { return k.inspect(c, "{{.State.Health.Status}}") == "healthy" })
}
