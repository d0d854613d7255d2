// A whole Docker daemon whose default runtime is runh, through what happens to daemons: twenty mixed containers at once, restarts with and
// without warning under live-restore, restart policies, and what `docker events` says of it all.

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// newDockDaemon is a daemon of the test's own, which comes back when it ends until the test does.
func newDockDaemon(t *testing.T) *dock {
	t.Helper()
	k := &dock{rt: newHermit(t)}
	needsPrograms(t, "dockerd", "/usr/bin/docker", "containerd", "unshare", "iptables", "ip")
	var err error
	k.d, err = startDocker(k.rt, "touch again;", map[string]any{"default-runtime": "runh", "live-restore": true})
	k.must(err)
	t.Cleanup(k.d.stop)
	root := filepath.Join(k.d.dir, "image-hermit")
	hermitRootfs(k.rt, root, "app")
	k.must(k.d.importImage("hermit", root, `ENTRYPOINT ["/hermit/app"]`))
	return k
}

// dockerd is the daemon's pid: beside it the shims that it left are children of the shell.
func (d *dockerDaemon) dockerd() int {
	for _, sh := range children(d.cmd.Process.Pid) {
		for _, pid := range children(sh) {
			if rtReadOr(fmt.Sprintf("/proc/%d/comm", pid)) == "dockerd\n" {
				return pid
			}
		}
	}
	return 0
}

func (k *dock) restart(signal syscall.Signal) {
	k.Helper()
	before := k.d.dockerd()
	k.must(syscall.Kill(before, signal))
	k.eventually("another daemon answers", func() bool {
		now := k.d.dockerd()
		return now != 0 && now != before && k.docker("info").code == 0
	})
}

func TestDockerDaemon(t *testing.T) {
	k := newDockDaemon(t)
	if out := k.docker("info", "-f", "{{.DefaultRuntime}}").out; out != "runh\n" {
		t.Errorf("the default runtime is %q", out)
	}
	var names [20]string
	hermit := func(i int) bool { return i%4 == 0 }
	var wg sync.WaitGroup
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", k.token, i)
		args := []string{"run", "-d", "--network", "none", "--name", names[i]}
		if hermit(i) {
			args = append(args, "-m", "128m", "hermit", "count")
		} else {
			args = append(args, "bb", "sh", "-c", "trap 'exit 5' TERM; i=0; while :; do i=$((i+1)); echo count $i; sleep 0.2; done")
		}
		wg.Go(func() {
			if res := k.docker(args...); res.code != 0 {
				t.Errorf("%s: %s", names[i], res.err)
			}
		})
	}
	wg.Wait()
	pids := func() string {
		return k.docker(append([]string{"inspect", "-f", "{{.State.Status}} {{.State.Pid}}"}, names[:]...)...).ok().out
	}
	count := func(name string) (n int) {
		lines := strings.Split(strings.TrimSpace(k.docker("logs", "--tail", "1", name).out), " ")
		n, _ = strconv.Atoi(lines[len(lines)-1])
		return n
	}
	before := pids()
	if strings.Count(before, "running ") != len(names) {
		t.Fatalf("not all run: %s", before)
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		k.restart(signal)
		if after := pids(); after != before {
			t.Errorf("after %v to the daemon: %s, before: %s", signal, after, before)
		}
		for _, name := range names[:2] {
			had := count(name)
			k.eventually(name+" counts on", func() bool { return count(name) > had })
		}
		k.want(k.docker("exec", names[1], "echo", "in"), 0, "in\n")
	}
	k.docker(append([]string{"stop", "-t", "60"}, names[1:]...)...).ok()
	k.docker("kill", names[0]).ok()
	for i, name := range names {
		want := map[bool]string{false: "exited 5", true: "exited 143"}[hermit(i)]
		if i == 0 {
			want = "exited 137"
		}
		if s := k.inspect(name, "{{.State.Status}} {{.State.ExitCode}}"); s != want {
			t.Errorf("%s: %s, want %s", name, s, want)
		}
	}
	k.docker(append([]string{"rm"}, names[:]...)...).ok()
	for l := range strings.Lines(rtReadOr(k.d.dir + "/log")) {
		if strings.Contains(l, "level=error") && strings.Contains(l, k.bin) {
			t.Errorf("dockerd complains: %s", l)
		}
	}
}

// The restart policies of compose files: who comes back when.
func TestDockerRestartPolicies(t *testing.T) {
	k := newDockDaemon(t)
	a := k.start("--restart", "on-failure:2", "hermit", "exit", "7")
	k.eventually("it failed three times", func() bool {
		return k.inspect(a, "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}") == "exited 2 7"
	})
	b := k.start("--restart", "on-failure", "hermit", "exit", "0")
	k.want(k.docker("wait", b), 0, "0\n")
	c := k.start("--restart", "always", "hermit", "print", "up", ";", "count")
	k.eventually("it is up", func() bool { return strings.HasPrefix(k.docker("logs", c).out, "up\n") })
	first, _ := strconv.Atoi(k.inspect(c, "{{.State.Pid}}"))
	for _, sh := range children(k.d.cmd.Process.Pid) { // Docker's pids are of its namespace
		k.must(syscall.Kill(hostPid(t, sh, first), syscall.SIGKILL))
	}
	k.eventually("it is up again", func() bool { return strings.Count(k.docker("logs", c).out, "up\n") == 2 })
	d := k.start("--restart", "unless-stopped", "hermit", "count")
	e := k.start("--restart", "always", "hermit", "count")
	k.docker("stop", d, e).ok()
	k.restart(syscall.SIGTERM)
	k.eventually("what is always to run does", func() bool { return k.inspect(e, "{{.State.Status}}") == "running" })
	for name, want := range map[string]string{a: "exited", b: "exited", c: "running", d: "exited"} {
		if s := k.inspect(name, "{{.State.Status}}"); s != want {
			t.Errorf("after a restart of the daemon %s is %s, want %s", name, s, want)
		}
	}
}

// hostPid is what a pid of the namespace of first is for us.
func hostPid(t *testing.T, first, pid int) int {
	t.Helper()
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	ns, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", first))
	for _, dir := range dirs {
		for l := range strings.Lines(rtReadOr(dir + "/status")) {
			f := strings.Fields(l)
			if len(f) < 3 || f[0] != "NSpid:" || f[2] != strconv.Itoa(pid) {
				continue
			}
			// The container's first process is in a namespace below Docker's.
			if up, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", parent(dir))); up == ns {
				n, _ := strconv.Atoi(f[1])
				return n
			}
		}
	}
	t.Fatalf("no process has pid %d in the namespace of %d", pid, first)
	return 0
}

func parent(dir string) (pid int) {
	s := rtReadOr(dir + "/stat")
	fmt.Sscan(strings.Fields(s[strings.LastIndex(s, ")")+1:])[1], &pid)
	return pid
}

// What an operator's monitoring reads, of both kinds alike.
func TestDockerEvents(t *testing.T) {
	k := newDockDaemon(t)
	for kind, x := range map[string]struct{ args, events []string }{
		"linux": {
			[]string{"bb", "sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.1; done"},
			[]string{"create", "start", "pause", "unpause", "kill 15", "die 5", "stop", "start", "kill 9", "die 137", "destroy"},
		},
		"hermit": {
			[]string{"hermit", "count"},
			[]string{"create", "start", "pause", "unpause", "kill 15", "die 143", "stop", "start", "kill 9", "die 137", "destroy"},
		},
	} {
		name := k.start(append([]string{"--network", "none"}, x.args...)...)
		k.docker("pause", name).ok()
		k.docker("unpause", name).ok()
		k.docker("stop", "-t", "60", name).ok()
		k.docker("start", name).ok()
		k.docker("kill", name).ok()
		k.docker("wait", name).ok()
		k.docker("rm", name).ok()
		var got []string
		k.eventually(fmt.Sprintf("the events of %s are %q", kind, x.events), func() bool { // the last second's come later
			out := k.docker("events", "--since", "10m", "--until", "0s", "--filter", "type=container", "--filter", "container="+name,
				"--format", "{{.Action}} {{.Actor.Attributes.signal}}{{.Actor.Attributes.exitCode}}").ok().out
			got = strings.Split(strings.TrimSpace(strings.ReplaceAll(strings.ReplaceAll(out, "<no value>", ""), " \n", "\n")), "\n")
			return len(got) >= len(x.events)
		})
		if strings.Join(got, ", ") != strings.Join(x.events, ", ") {
			t.Errorf("%s: events %q, want %q", kind, got, x.events)
		}
	}
	c := k.start("-m", "16m", "--memory-swap", "16m", "bb", "sleep", "1000")
	if res := k.docker("exec", c, "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"); res.code != 137 {
		t.Errorf("a process over the memory limit ended with %d, %q", res.code, res.err)
	}
	k.eventually("an event says out of memory", func() bool {
		return strings.HasPrefix(k.docker("events", "--since", "10m", "--until", "0s", "--filter", "container="+c, "--filter", "event=oom", "--format", "{{.Action}}").out, "oom\n")
	})
}
