// Hermit applications under the real Docker daemon of engine_docker_test.go.

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// newDockHermit is newDock with three images of the stand-in, as `docker build` of FROM scratch and two COPY would make them.
func newDockHermit(t *testing.T) *dock {
	t.Helper()
	if os.Getenv("RUNTIME") != "" && !strings.Contains(os.Getenv("RUNTIME"), "runh") {
		t.Skip("control run: only runh boots guests")
	}
	k := newDock(t)
	k.d.hermit.Do(func() {
		for _, i := range []struct{ name, app, change string }{
			{"hermit", "app", `ENTRYPOINT ["/hermit/app"]`},
			{"hermit-cmd", "app", `CMD ["/hermit/app"]`},
			{"hermit-pci", "app-pci", `ENTRYPOINT ["/hermit/app"]`},
		} {
			root := filepath.Join(k.d.dir, "image-"+i.name)
			hermitRootfs(k.rt, root, i.app)
			k.must(k.d.importImage(i.name, root, i.change))
		}
	})
	return k
}

// hermitRootfs lays out an image: an application and a loader.
func hermitRootfs(r *rt, root, app string) {
	r.Helper()
	dir, err := rtGuest()
	r.must(err)
	r.must(os.MkdirAll(root+"/hermit", 0o755))
	for from, to := range map[string]string{app: "app", "loader": "hermit-loader"} {
		r.must(os.WriteFile(filepath.Join(root, "hermit", to), []byte(rtRead(r.T, filepath.Join(dir, from))), 0o755))
	}
}

// The main job: docker run --runtime=runh IMAGE prints what the guest prints, nothing else, and returns what it returns.
func TestDockerHermitRun(t *testing.T) {
	k := newDockHermit(t)
	k.want(k.run("hermit-cmd"), 0, "Hello from Hermit's stand-in!\n"+rtLastWords(0))
	k.want(k.run("hermit", "exit", "0"), 0, rtLastWords(0))
	k.want(k.run("hermit", "exit", "7"), 7, rtLastWords(7))
	k.want(k.run("hermit", "triple"), 134, "")
	k.want(k.run("--init", "hermit", "exit", "7"), 7, rtLastWords(7))
	k.want(k.run("hermit-pci", "hello", ";", "exit", "7"), 7, "Hello from Hermit's stand-in!\n"+rtLastWords(7))
	res := k.run("-e", "A=b c", "hermit", "env")
	if got := guestStrings(t, res.out, "env"); !strings.Contains("\x00"+strings.Join(got, "\x00")+"\x00", "\x00A=b c\x00") {
		t.Errorf("-e A='b c': %q", res.out)
	}
	res = k.run("hermit", "args", "two words", "'\"\n", "")
	if got := guestStrings(t, res.out, "arg"); strings.Join(got, "|") != "bin|args|two words|'\"\n|" {
		t.Errorf("arguments: %q", res.out)
	}
}

// A start that fails leaves no shim, cgroup or state: with Docker 20.10 a matter of when start returns.
func TestDockerFailedStart(t *testing.T) {
	k := newDockHermit(t)
	bad := filepath.Join(k.d.dir, "image-notelf")
	busyboxRootfs(k.T, bad)
	k.must(os.WriteFile(bad+"/bin/notelf", []byte("neither ELF nor a script"), 0o755))
	k.must(k.d.importImage("notelf", bad))
	for range 8 {
		res := k.docker("run", "--runtime", "runh-broken", "hermit", "exit", "0")
		if res.code != 125 || !strings.Contains(res.err, "nosuch") {
			t.Errorf("a QEMU that fails: exit code %d, stderr %q", res.code, res.err)
		}
		res = k.docker("run", "--runtime", "runh", "notelf", "/bin/notelf")
		if res.code != 255 || res.err != "exec /bin/notelf: exec format error\n" {
			t.Errorf("a program that is none: exit code %d, stderr %q", res.code, res.err)
		}
	}
	ids := strings.Fields(k.docker("ps", "-aq", "--no-trunc", "--filter", "ancestor=hermit", "--filter", "status=created").ok().out)
	ids = append(ids, strings.Fields(k.docker("ps", "-aq", "--no-trunc", "--filter", "ancestor=notelf").ok().out)...)
	if len(ids) < 16 {
		t.Fatalf("%d containers, want 16", len(ids))
	}
	for _, id := range ids {
		k.eventually("no shim of "+id, func() bool {
			out, _ := exec.Command("pgrep", "-f", "containerd-shim.* -id "+id).Output()
			return len(out) == 0
		})
		if left := mustGlob(t, k.d.dir+"/exec/runtime-runc/moby/"+id); len(left) != 0 {
			t.Errorf("left %q", left)
		}
		if left, _ := filepath.Glob("/sys/fs/cgroup/*" + k.d.parent + "/" + id); len(left) != 0 {
			t.Errorf("left %q", left)
		}
		k.docker("rm", id).ok()
	}
}

func TestDockerHermitNetworks(t *testing.T) {
	k := newDockHermit(t)
	for _, network := range []string{"none", "bridge", "host"} {
		k.want(k.run("--network", network, "hermit", "exit", "7"), 7, rtLastWords(7))
	}
}

func TestDockerHermitDetached(t *testing.T) {
	k := newDockHermit(t)
	c := k.start("hermit", "print", "one", ";", "count")
	k.eventually("the guest counts in the logs", func() bool { return strings.HasPrefix(k.docker("logs", c).out, "one\ncount 1\n") })
	begin := time.Now()
	k.docker("stop", c).ok()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("stop took %v", took)
	}
	if s := k.inspect(c, "{{.State.Status}} {{.State.ExitCode}}"); s != "exited 143" {
		t.Errorf("after stop: %s", s)
	}
	k.docker("start", c).ok() // the same ID again
	k.docker("kill", c).ok()
	if code := strings.TrimSpace(k.docker("wait", c).ok().out); code != "137" {
		t.Errorf("exit code %s after kill, want 137", code)
	}
	k.docker("rm", c).ok()
	d := k.start("-p", "127.0.0.1:9975:9975", "hermit", "count") // upstream's acceptance test
	k.docker("rm", "-f", d).ok()
}

func TestDockerHermitInteractive(t *testing.T) {
	k := newDockHermit(t)
	var out *sink
	code := k.interactive([]string{"hermit", "print", "ready", ";", "echo", ";", "exit", "5"}, func(o *sink, in *os.File) {
		out = o
		o.until("ready")
		in.WriteString("typed\rquit\r")
	})
	if got := out.String(); code != 5 || strings.Count(got, "typed") != 1 || !strings.Contains(got, "exit status 5") {
		t.Errorf("exit code %d, %q", code, got)
	}
	cmd := k.cmd("run", "--rm", "-i", "--runtime=runh", "hermit", "echo", "6", ";", "exit", "4")
	cmd.Stdin = strings.NewReader("piped\n")
	k.want(k.doCmd(cmd), 4, "piped\n"+rtLastWords(4))
}

func TestDockerHermitLimits(t *testing.T) {
	k := newDockHermit(t)
	k.want(k.run("-m", "128m", "--cpus", "0.9", "--pids-limit", "50", "--read-only", "--user", "1000", "hermit", "touch", ";", "exit", "7"), 7, "touched\n"+rtLastWords(7))
	res := k.run("-m", "8m", "hermit")
	if res.code != 125 || !strings.Contains(res.err, "memory limit of 8 MiB is too small") {
		t.Errorf("exit code %d, %q", res.code, res.err)
	}
}

func TestDockerHermitPod(t *testing.T) {
	k := newDockHermit(t)
	a := k.start("bb", "sleep", "1000")
	k.want(k.run("--network", "container:"+a, "hermit", "exit", "7"), 7, rtLastWords(7))
	k.docker("rm", "-f", a).ok()
}

// What an engine does to a running container: pause and unpause, other limits, a stop that a guest may answer.
func TestDockerHermitRunning(t *testing.T) {
	k := newDockHermit(t)
	c := k.start("-m", "192m", "hermit", "clock")
	logs := func() string { return k.docker("logs", c).out }
	k.eventually("the guest's clock runs", func() bool { return guestClock(logs()) > 0 })
	k.docker("pause", c).ok()
	before := logs()
	time.Sleep(1500 * time.Millisecond) // this is what the guest must not see
	if after := logs(); after != before {
		t.Errorf("a paused guest said %q", strings.TrimPrefix(after, before))
	}
	k.docker("unpause", c).ok()
	k.eventually("the guest goes on", func() bool { return len(logs()) > len(before)+20 })
	next, _, _ := strings.Cut(strings.TrimPrefix(logs(), before), "\n")
	if gap := guestClock(next+"\n") - guestClock(before); gap < 0 || gap > 1200 {
		t.Errorf("the guest's clock went on by %d ms meanwhile", gap)
	}
	if res := k.docker("update", "-m", "64m", "--memory-swap", "64m", c); res.code == 0 || !strings.Contains(res.err, "the running machine needs") {
		t.Errorf("a limit that is too small: exit code %d, %q", res.code, res.err)
	}
	k.docker("update", "-m", "256m", "--memory-swap", "256m", "--cpus", "0.5", c).ok()
	k.docker("kill", c).ok()
	k.docker("rm", "-f", c).ok()

	b := k.start("hermit-pci", "button", ";", "exit", "9")
	k.eventually("the guest listens for its power button", func() bool { return strings.Contains(k.docker("logs", b).out, "listening\n") })
	k.docker("stop", b).ok()
	if s := k.inspect(b, "{{.State.Status}} {{.State.ExitCode}}"); s != "exited 9" {
		t.Errorf("after stop: %s", s)
	}
	k.docker("rm", b).ok()
}

// Twenty guests at once, each with its own end.
func TestDockerHermitTwenty(t *testing.T) {
	k := newDockHermit(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			code := 100 + i
			k.want(k.run("-m", "128m", "--network", "none", "hermit", "exit", strconv.Itoa(code)), code, rtLastWords(code))
		})
	}
	wg.Wait()
}
