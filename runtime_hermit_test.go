// Hermit containers, with the stand-in guest of testdata/guest (its README says what each image and command does): what reaches the
// guest, what comes out, how it ends, what surrounds it, and what is refused before it starts.

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// rtGuest is the directory of the guest's images, made once.
var rtGuest = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(rtTemp, "guest")
	if built := os.Getenv("RUNH_TEST_BUILT"); built != "" { // there is no compiler where we run
		return dir, exec.Command("cp", "-r", built+"/guest", dir).Run() // to where bundles can link to it
	}
	out, err := exec.Command("make", "-s", "-j2", "-C", "testdata/guest", "OUT="+dir).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("make -C testdata/guest: %w: %s", err, out)
	}
	return dir, nil
})

// newHermit is the first line of a test with guests.
func newHermit(t *testing.T) *rt {
	t.Helper()
	if os.Getenv("RUNTIME") != "" && !strings.Contains(os.Getenv("RUNTIME"), "runh") {
		t.Skip("control run: only runh boots guests")
	}
	_, err := exec.LookPath("qemu-system-x86_64")
	needs(t, err == nil, "qemu-system-x86_64")
	r := newRT(t)
	if dir := rtHermitEnv(); dir != "" {
		r.global = append(r.global, "--hermit-env", dir)
	}
	return r
}

// rtAccel is the accelerator of the guests: RUNH_TEST_ACCEL insists on one, as in a machine that has KVM. Otherwise it is as runh decides.
var rtAccel = sync.OnceValue(func() string {
	accel, _ := pickAccel(&hermitConfig{accel: os.Getenv("RUNH_TEST_ACCEL")}, &hermitSettings{})
	return accel
})

// accelerated puts RUNH_TEST_ACCEL into a container that does not say otherwise.
func accelerated(s *specs.Spec) {
	if accel := os.Getenv("RUNH_TEST_ACCEL"); accel != "" && s.Annotations[annotationPrefix+"accel"] == "" {
		annotated("accel", accel)(s)
	}
}

// guest is a bundle with one of the stand-in's images as /hermit/app, and its loader beside it: no other file.
func (r *rt) guest(image string, args []string, edits ...func(*specs.Spec)) *ctr {
	r.Helper()
	dir, err := rtGuest()
	r.must(err)
	c := r.bundle(append([]string{"/hermit/app"}, args...), append(edits, accelerated)...)
	r.must(os.RemoveAll(c.rootfs()))
	r.must(os.MkdirAll(c.rootfs()+"/hermit", 0o755))
	r.must(os.Link(filepath.Join(dir, image), c.rootfs()+"/hermit/app"))
	c.loader("loader")
	return c
}

func (c *ctr) loader(image string) *ctr {
	c.r.Helper()
	dir, err := rtGuest()
	c.r.must(err)
	p := c.rootfs() + "/hermit/hermit-loader"
	os.Remove(p)
	c.r.must(os.Link(filepath.Join(dir, image), p))
	return c
}

// rtLastWords is how a guest's output ends, for the images since 0.10.
func rtLastWords(status int) string {
	return fmt.Sprintf("Number of interrupts\n[0][Timer]: 1\nexit status %d\n", status)
}

func TestHermitRun(t *testing.T) {
	for _, image := range []string{"app", "app-exec", "app-pci"} {
		t.Run(image, func(t *testing.T) {
			r := newHermit(t)
			res := r.guest(image, []string{"hello"}).run()
			if want := "Hello from Hermit's stand-in!\n" + rtLastWords(0); res.code != 0 || res.out != want || res.err != "" {
				t.Errorf("exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
			}
			if left := r.leftovers(); len(left) != 0 {
				t.Errorf("left %q", left)
			}
		})
	}
}

// The container's exit code, for every way that a guest can end.
func TestHermitExitCodes(t *testing.T) {
	for _, x := range []struct {
		args string
		code int
		out  string // all of it, or "..." and a part of it
		edit string // image, or loader
	}{
		{"exit 0", 0, rtLastWords(0), "app"},
		{"exit 7", 7, rtLastWords(7), "app"},
		{"exit 1", 1, rtLastWords(1), "app"},
		{"exit 255", 255, rtLastWords(255), "app"},
		{"exit -1", 255, rtLastWords(-1), "app"},
		{"exit 256", 0, rtLastWords(256), "app"}, // as exit(256) ends a Linux process
		{"exit 7", 7, rtLastWords(7), "app-pci"},
		{"nonl unfinished ; exit 9", 9, "unfinished" + rtLastWords(9), "app"},
		{"fake 0 3", 3, "exit status 0\n" + rtLastWords(3), "app"},
		{"fake 5 0", 0, "exit status 5\n" + rtLastWords(0), "app"},
		{"print begun ; noline 0", 0, "begun\nNumber of interrupts\n[0][Timer]: 1\n", "app"},
		{"print begun ; noline 3", 1, "begun\nNumber of interrupts\n[0][Timer]: 1\n", "app"},
		{"print begun ; silent 0", 0, "begun\n", "app"},
		{"print begun ; silent 3", 1, "begun\n", "app"},
		{"panic", 1, "...explicit panic", "app"},
		{"rustpanic", 255, "...exit status -1\n", "app"},
		{"fault", 1, "...[PANIC]", "app"},
		{"print begun ; triple", 134, "begun\n", "app"},
		{"print begun ; triple", 134, "begun\n", "app-pci"},
		{"print exit status 0 ; triple", 134, "exit status 0\n", "app"},
		{"print begun ; acpi-exit", 0, "begun\n", "app-pci"},
		{"print begun ; exit 3", 0, "begun\nNumber of interrupts\n[0][Timer]: 1\n", "app-old"}, // that kernel tells nobody
		{"hello", 1, "...[LOADER] panicked at ", "loader-panic"},
	} {
		t.Run(x.edit+" "+x.args, func(t *testing.T) {
			r := newHermit(t)
			image := x.edit
			if strings.HasPrefix(image, "loader") {
				image = "app"
			}
			c := r.guest(image, strings.Fields(x.args), func(s *specs.Spec) {
				if image == "app-old" {
					s.Process.Env = nil
				}
			})
			if image != x.edit {
				c.loader(x.edit)
			}
			res := c.run()
			part, some := strings.CutPrefix(x.out, "...")
			if res.code != x.code || some && !strings.Contains(res.out, part) || !some && res.out != x.out {
				t.Errorf("exit code %d, stdout %q, want %d and %q; stderr %q", res.code, res.out, x.code, x.out, res.err)
			}
		})
	}
	t.Run("the loader's panic is in the log", func(t *testing.T) {
		r := newHermit(t)
		r.global = []string{"--debug"}
		c := r.guest("app", nil).loader("loader-panic").create().start()
		if code := c.wait(); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
		if out := c.out.all(rtLimit); !strings.Contains(out, "[LOADER] panicked at ") {
			t.Errorf("stdout %q", out)
		}
		r.eventually("the log says so", func() bool { return strings.Contains(rtReadOr(r.log), "panicked") })
	})
}

// An engine's init before the program, as `docker run --init` has it, is left out: the guest's process 1 is the keeper. Nor is it a volume.
func TestHermitInit(t *testing.T) {
	r := newHermit(t)
	for _, args := range [][]string{{"/sbin/docker-init", "--", "/hermit/app", "exit", "7"}, {"/run/podman-init", "--", "app", "exit", "7"}} {
		c := r.guest("app", nil, volumeAt("/bin/busybox", args[0], "bind,ro"), func(s *specs.Spec) {
			s.Process.Args, s.Process.Env = args, []string{"PATH=/hermit"}
		})
		c.write()
		var e explanation
		r.must(json.Unmarshal([]byte(r.do("explain", "--bundle", c.dir, "--format", "json").ok().out), &e))
		if e.Share != "none" || !strings.HasSuffix(e.BootArgs, "-- exit 7") {
			t.Errorf("%q is explained as %+v", args, e)
		}
		if res := c.run(); res.code != 7 || res.out != rtLastWords(7) {
			t.Errorf("%q: exit code %d, %q, %q", args, res.code, res.out, res.err)
		}
	}
}

// What is given as arguments and environment arrives byte for byte.
func TestHermitArguments(t *testing.T) {
	r := newHermit(t)
	args := []string{
		"args", "two words", "", " ", "'", `"`, `\`, "$HOME", "`x`", "a=b", "=", "new\nline", "\t", "#comment", "a#b", "--", "-freq", "env=A=B",
		"grüße", "日本語", "😀", "'; exit 1; '", "*", "a,b", "\x01\x7f", strings.Repeat("x", 1000), "; last",
	}
	vars := []string{"PLAIN=1", "SPACES= a  b ", "EMPTY=", "QUOTES='\"`\\", "EQUALS=a=b=c", "LINES=a\nb\n", "UNICODE=ü日😀", "HASH=# no comment", "_x.y-z=odd name"}
	c := r.guest("app", args, func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, vars...) })
	res := c.run()
	if res.code != 0 {
		t.Fatalf("exit code %d, %q, %q", res.code, res.out, res.err)
	}
	if got := guestStrings(t, res.out, "arg"); strings.Join(got, "\x00") != strings.Join(append([]string{"bin"}, args...), "\x00") {
		t.Errorf("got %q\nwant bin and %q", got, args)
	}
	c.spec.Process.Args = []string{"/hermit/app", "env"}
	c.write()
	got := guestStrings(t, c.run().out, "env")
	seen := "\x00" + strings.Join(got, "\x00") + "\x00"
	for _, kv := range vars {
		if !strings.Contains(seen, "\x00"+kv+"\x00") {
			t.Errorf("%q is not in the guest's environment %q", kv, got)
		}
	}
	if strings.Contains(seen, "\x00PATH=") || strings.Contains(seen, "\x00RUNH_") {
		t.Errorf("what is not for the guest reached it: %q", got)
	}
	// A kernel from before env= panics at it: it gets none.
	if res := r.guest("app-old", []string{"hello"}, func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, vars...) }).run(); !strings.Contains(res.out, "Hello") || strings.Contains(res.out, "PANIC") {
		t.Errorf("an old kernel: exit code %d, %q", res.code, res.out)
	}
	for _, bad := range [][]string{{"a\x00b"}, {strings.Repeat("y", 140_000)}} {
		r.guest("app", bad).run().fails("")
	}
}

// Hermit's own loaders hang over a command line of more than 388 bytes. What is not for the machine but for the application, its
// variables, gives way, one by one, where that is asked for; arguments that do not fit are refused.
func TestHermitLongLine(t *testing.T) {
	r := newHermit(t)
	r.global = []string{"--log-level", "warn"}
	vars := []string{"FIRST=1", "BIG=" + strings.Repeat("b", 400), "LAST=2"}
	c := r.guest("app", []string{"env"}, func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, vars...) }, annotated("variables", "fitting")).loader("loader-4k")
	res := c.run()
	if seen := fmt.Sprintf("%q", guestStrings(t, res.out, "env")); res.code != 0 || !strings.Contains(seen, "FIRST=1") || !strings.Contains(seen, "LAST=2") || strings.Contains(seen, "BIG=") {
		t.Errorf("exit code %d, environment %s", res.code, seen)
	}
	if log := rtReadOr(r.log); !strings.Contains(log, "BIG") {
		t.Errorf("the log does not say what was left out: %q", log)
	}
	// To the byte: what fits boots, one more is refused.
	boots := 99 + sort.Search(300, func(i int) bool {
		c := r.guest("app", []string{"print", strings.Repeat("x", 100+i)}, func(s *specs.Spec) { s.Process.Env = nil }).loader("loader-4k")
		res := c.tryCreate()
		if res.code != 0 {
			res.fails("room for")
			return true
		}
		r.do("delete", "--force", c.id).ok()
		return false
	})
	if boots < 100 || boots > 388 {
		t.Fatalf("the longest argument has %d bytes", boots)
	}
	c = r.guest("app", []string{"print", strings.Repeat("x", boots)}, func(s *specs.Spec) { s.Process.Env = nil }).loader("loader-4k")
	if res := c.run(); res.code != 0 || !strings.Contains(res.out, strings.Repeat("x", boots)) {
		t.Errorf("the longest line: exit code %d, %q", res.code, res.out)
	}
}

// guestStrings reads what the guest's commands args and env print: name[I]="quoted".
func guestStrings(t *testing.T, out, name string) (all []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^`+name+`\[\d+\]=(".*")$`).FindAllStringSubmatch(out, -1) {
		s, err := strconv.Unquote(m[1])
		if err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
		all = append(all, s)
	}
	return all
}

func TestHermitOutput(t *testing.T) {
	t.Run("a megabyte", func(t *testing.T) {
		r := newHermit(t)
		var want strings.Builder
		for i := range 1 << 20 {
			if i%64 == 63 {
				want.WriteByte('\n')
			} else {
				want.WriteByte(byte('a' + (i/64+i%64)%26))
			}
		}
		if res := r.guest("app", []string{"burst"}).run(); res.code != 0 || res.out != want.String()+rtLastWords(0) {
			t.Errorf("exit code %d, %d bytes arrived of %d", res.code, len(res.out), want.Len()+len(rtLastWords(0)))
		}
	})
	t.Run("a slow reader", func(t *testing.T) {
		r := newHermit(t)
		c := r.guest("app", []string{"burst", "300000"})
		rd, w, err := os.Pipe()
		r.must(err)
		cmd := r.cmd("run", "--bundle", c.dir, c.id)
		cmd.Stdout = w
		r.must(cmd.Start())
		w.Close()
		time.Sleep(500 * time.Millisecond) // the guest is stuck on a full pipe meanwhile
		s := readSink(t, rd, nil)
		r.must(cmd.Wait())
		if got := s.all(rtLimit); len(got) != 300_000+len(rtLastWords(0)) {
			t.Errorf("%d bytes arrived", len(got))
		}
	})
	t.Run("nobody reads", func(t *testing.T) { // docker attach that went away: the guest must not be in the way of its end
		r := newHermit(t)
		c := r.guest("app", []string{"count"})
		rd, w, err := os.Pipe()
		r.must(err)
		rd.Close()
		cmd := r.cmd("create", "--bundle", c.dir, "--pid-file", c.dir+"/pid", c.id)
		cmd.Stdout = w
		if res := r.wait(cmd); res.code != 0 {
			t.Fatalf("create: %d", res.code)
		}
		w.Close()
		c.pid, _ = strconv.Atoi(rtRead(t, c.dir+"/pid"))
		c.start()
		time.Sleep(300 * time.Millisecond)
		r.do("kill", c.id, "TERM")
		c.wait()
		r.do("delete", c.id).ok()
	})
	t.Run("only the guest's bytes", func(t *testing.T) { // whatever is logged
		r := newHermit(t)
		r.global = []string{"--debug"}
		c := r.guest("app", []string{"print", "x"}).create().start()
		if code, out, err := c.wait(), c.out.all(rtLimit), c.err.all(rtLimit); code != 0 || out != "x\n"+rtLastWords(0) || err != "" {
			t.Errorf("exit code %d, stdout %q, stderr %q", code, out, err)
		}
	})
}

func TestHermitStdin(t *testing.T) {
	t.Run("piped", func(t *testing.T) {
		r := newHermit(t)
		c := r.guest("app", []string{"echo", "8", ";", "exit", "4"})
		cmd := r.cmd("run", "--bundle", c.dir, c.id)
		cmd.Stdin = strings.NewReader("a line\n!")
		if res := r.doCmd(cmd); res.code != 4 || !strings.HasPrefix(res.out, "a line\n!") {
			t.Errorf("exit code %d, %q, %q", res.code, res.out, res.err)
		}
	})
	t.Run("its end does not end the guest", func(t *testing.T) {
		r := newHermit(t)
		c := r.guest("app", []string{"count", "3"}).create()
		c.stdin.Close()
		c.start()
		if code, out := c.wait(), c.out.all(rtLimit); code != 0 || out != "count 1\ncount 2\ncount 3\n"+rtLastWords(0) {
			t.Errorf("exit code %d, %q", code, out)
		}
	})
	t.Run("much", func(t *testing.T) {
		r := newHermit(t)
		n := 20_000
		c := r.guest("app", []string{"echo", strconv.Itoa(n)})
		cmd := r.cmd("run", "--bundle", c.dir, c.id)
		in := strings.Repeat("0123456789abcdefghi\n", n/20)
		cmd.Stdin = strings.NewReader(in)
		if res := r.doCmd(cmd); res.code != 0 || res.out != in+rtLastWords(0) {
			t.Errorf("exit code %d, %d bytes came back of %d", res.code, len(res.out), n)
		}
	})
	t.Run("terminal", func(t *testing.T) {
		r := newHermit(t)
		c := r.guest("app", []string{"print", "ready", ";", "echo", ";", "exit", "5"})
		master := c.withTerminal(&specs.Box{Height: 30, Width: 90})
		c.start()
		c.out.until("ready\r\n")
		master.WriteString("typed\rquit\r")
		if code := c.wait(); code != 5 {
			t.Errorf("exit code %d, want 5", code)
		}
		out := c.out.all(rtLimit)
		if strings.Count(out, "typed") != 1 || strings.Count(out, "exit status 5\r\n") != 1 {
			t.Errorf("on the terminal: %q", out)
		}
	})
	t.Run("interrupt key", func(t *testing.T) { // in a raw terminal it is the guest's to read: QEMU must not take it
		r := newHermit(t)
		c := r.guest("app", []string{"print", "ready", ";", "echo", "2", ";", "exit", "6"}, annotated("terminal", "raw"))
		master := c.withTerminal(nil)
		c.start()
		c.out.until("ready")
		master.WriteString("\x03\x01")
		if code := c.wait(); code != 6 {
			t.Errorf("exit code %d, want 6: %q", code, c.out.String())
		}
	})
}

func TestHermitSignals(t *testing.T) {
	for _, x := range []struct {
		signal string
		code   int
	}{{"TERM", 143}, {"KILL", 137}, {"INT", 130}} {
		t.Run(x.signal, func(t *testing.T) {
			r := newHermit(t)
			c := r.guest("app", []string{"count"}).create().start()
			c.out.until("count 2")
			r.do("kill", c.id, x.signal).ok()
			if code := c.wait(); code != x.code {
				t.Errorf("exit code %d, want %d", code, x.code)
			}
			c.out.all(rtLimit)
			c.wantStatus("stopped")
			r.do("kill", c.id, x.signal).fails("container not running")
			r.do("delete", c.id).ok()
		})
	}
	for _, how := range []string{"hang", "spin"} {
		t.Run("a guest that does "+how, func(t *testing.T) {
			r := newHermit(t)
			c := r.guest("app", []string{"print", "ready", ";", how}).create().start()
			c.out.until("ready")
			r.do("kill", c.id, "TERM").ok()
			if code := c.wait(); code != 143 {
				t.Errorf("exit code %d, want 143", code)
			}
		})
	}
	for signal, want := range map[string]int{"TERM": 143, "KILL": 137} {
		t.Run(signal+" before start", func(t *testing.T) {
			r := newHermit(t)
			c := r.guest("app", []string{"hello"}).create()
			r.do("kill", c.id, signal).ok()
			if code := c.wait(); code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
			if out := c.out.all(rtLimit); out != "" {
				t.Errorf("stdout %q", out)
			}
			r.do("start", c.id).fails("")
			r.do("delete", c.id).ok()
		})
	}
	t.Run("QEMU is killed", func(t *testing.T) {
		r := newHermit(t)
		c := r.guest("app", []string{"count"}).create().start()
		c.out.until("count 1")
		r.must(syscall.Kill(r.vmm(c), syscall.SIGKILL))
		if code := c.wait(); code != 137 {
			t.Errorf("exit code %d, want 137", code)
		}
	})
	t.Run("the keeper is killed", func(t *testing.T) { // and QEMU goes with it
		r := newHermit(t)
		c := r.guest("app", []string{"count"}).create().start()
		c.out.until("count 1")
		r.must(syscall.Kill(c.pid, syscall.SIGKILL))
		if code := c.wait(); code != 137 {
			t.Errorf("exit code %d, want 137", code)
		}
		r.eventually("QEMU is gone", func() bool { return len(r.processes()) == 0 })
		r.do("delete", c.id).ok()
	})
}

// vmm is the pid of the container's QEMU: the process of its cgroup that has QEMU's name.
func (r *rt) vmm(c *ctr) int {
	r.Helper()
	found := 0
	r.eventually("QEMU is there", func() bool {
		for _, pid := range r.processes() {
			comm := rtReadOr(fmt.Sprintf("/proc/%d/comm", pid))
			if strings.HasPrefix(comm, "qemu") && strings.Contains(rtReadOr(fmt.Sprintf("/proc/%d/cgroup", pid)), c.id) {
				found = pid
			}
		}
		return found != 0
	})
	return found
}

func TestHermitLifecycle(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", []string{"print", "runs", ";", "echo", "1", ";", "exit", "7"}).create()
	if s := c.state(); s.Status != "created" || s.Pid != c.pid {
		t.Errorf("state %+v", s)
	}
	time.Sleep(100 * time.Millisecond)
	if out := c.out.String(); out != "" {
		t.Errorf("the guest ran before start: %q", out)
	}
	if res := r.do("start", c.id).ok(); res.eof > 500*time.Millisecond {
		t.Errorf("start's pipes were held for %v", res.eof)
	}
	c.out.until("runs")
	c.wantStatus("running")
	r.do("start", c.id).fails("")
	r.do("delete", c.id).fails("")
	c.stdin.WriteString("x")
	if code := c.wait(); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
	c.out.all(rtLimit)
	c.err.all(rtLimit)
	c.wantStatus("stopped")
	r.do("delete", c.id).ok()
	// The same id at once again; by force while it runs.
	c.create().start()
	c.out.until("runs")
	r.do("delete", "--force", c.id).ok()
	if code := c.wait(); code != 137 {
		t.Errorf("exit code %d after delete --force, want 137", code)
	}
	r.env = []string{}
	if res := r.guest("app", []string{"exit", "3"}).run(); res.code != 3 {
		t.Errorf("without an environment: exit code %d, %q", res.code, res.err)
	}
}

// Where the application may lie in an image, and what names it may have.
func TestHermitPlaces(t *testing.T) {
	try := func(name string, edit func(c *ctr)) {
		t.Run(name, func(t *testing.T) {
			r := newHermit(t)
			c := r.guest("app", []string{"exit", "7"})
			edit(c)
			c.write()
			if res := c.run(); res.code != 7 {
				t.Errorf("exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
			}
		})
	}
	try("odd names", func(c *ctr) {
		c.r.must(os.Rename(c.rootfs()+"/hermit", c.rootfs()+"/a,b c"))
		c.r.must(os.Rename(c.rootfs()+"/a,b c/app", c.rootfs()+"/a,b c/-app'\"=,x y"))
		c.spec.Process.Args[0] = "/a,b c/-app'\"=,x y"
	})
	try("by PATH", func(c *ctr) {
		c.spec.Process.Args[0], c.spec.Process.Env = "app", []string{"PATH=/bin:/hermit"}
	})
	try("relative", func(c *ctr) { c.spec.Process.Args[0], c.spec.Process.Cwd = "./app", "/hermit" })
	try("through links", func(c *ctr) {
		c.r.must(os.Symlink("/hermit", c.rootfs()+"/link"))
		c.r.must(os.Symlink("/link/app", c.rootfs()+"/start"))
		c.r.must(os.Symlink("/link/hermit-loader", c.rootfs()+"/hermit-loader"))
		c.spec.Process.Args[0] = "/start"
	})
	try("by a mount", func(c *ctr) {
		c.r.must(os.Rename(c.rootfs()+"/hermit", c.dir+"/outside"))
		c.spec.Mounts = append(c.spec.Mounts, bindAt(c.dir+"/outside", "/hermit", "bind", "ro"))
	})
	try("not executable", func(c *ctr) {
		c.r.must(exec.Command("cp", "--remove-destination", c.rootfs()+"/hermit/app", c.dir+"/app").Run())
		c.r.must(os.Chmod(c.dir+"/app", 0o644))
		c.r.must(os.Rename(c.dir+"/app", c.rootfs()+"/hermit/app"))
	})
	for _, name := range []string{"hermit-loader-multiboot", "hermit-loader-x86_64-multiboot", "hermit-loader-x86_64", "rusty-loader"} {
		try("loader "+name, func(c *ctr) {
			c.r.must(os.Rename(c.rootfs()+"/hermit/hermit-loader", c.rootfs()+"/hermit/"+name))
		})
	}
	try("a loader that boots beside one that does not", func(c *ctr) {
		c.r.must(os.WriteFile(c.rootfs()+"/hermit/hermit-loader-multiboot", []byte("MZ not this one"), 0o755))
	})
	try("read-only root", func(c *ctr) { c.spec.Root.Readonly = true })
	try("another user", func(c *ctr) { c.spec.Process.User = specs.User{UID: 1000, GID: 1000} })
	try("no mounts", func(c *ctr) { c.spec.Mounts = nil })
	try("no capabilities", func(c *ctr) { c.spec.Process.Capabilities = nil })
	try("no network namespace", func(c *ctr) { dropNS(c.spec, specs.NetworkNamespace); c.spec.Linux.Sysctl = nil })
	try("no pid namespace", func(c *ctr) { dropNS(c.spec, specs.PIDNamespace) })
	try("a cgroup namespace", func(c *ctr) {
		c.spec.Linux.Namespaces = append(c.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	})
	t.Run("loader in the environment", func(t *testing.T) {
		r := newHermit(t)
		c := r.guest("app", []string{"exit", "7"})
		r.must(os.MkdirAll(r.dir+"/env/hermit", 0o755))
		r.must(os.Rename(c.rootfs()+"/hermit/hermit-loader", r.dir+"/env/hermit/hermit-loader"))
		r.global = []string{"--hermit-env", r.dir + "/env"}
		if res := c.run(); res.code != 7 {
			t.Errorf("exit code %d, stderr %q", res.code, res.err)
		}
	})
	t.Run("hidden by a mount", func(t *testing.T) {
		r := newHermit(t)
		r.guest("app", nil, addMount(tmpfsAt("/hermit"))).run().fails("no such file or directory")
	})
}

// What cannot boot is refused by create, in one line that names it, and leaves nothing.
func TestHermitRefused(t *testing.T) {
	cut := func(n int64) func(*ctr) {
		return func(c *ctr) {
			p := c.rootfs() + "/hermit/app"
			b := rtRead(c.r.T, p)
			os.Remove(p)
			c.r.must(os.WriteFile(p, []byte(b[:n]), 0o755))
		}
	}
	limit := func(mib int64) func(*ctr) {
		return func(c *ctr) {
			n := mib << 20
			c.spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &n}
		}
	}
	pids := func(n int64) func(*ctr) {
		return func(c *ctr) { c.spec.Linux.Resources.Pids = &specs.LinuxPids{Limit: &n} }
	}
	annotation := func(name, value string) func(*ctr) {
		return func(c *ctr) { c.spec.Annotations = map[string]string{"org.hermit-os.runh." + name: value} }
	}
	for _, x := range []struct {
		name, image, want string
		spoil             func(*ctr)
	}{
		{"no loader", "app", "loader", func(c *ctr) { os.Remove(c.rootfs() + "/hermit/hermit-loader") }},
		{"a loader for Linux boot", "app", "hermit-loader", func(c *ctr) {
			os.Remove(c.rootfs() + "/hermit/hermit-loader")
			c.r.must(exec.Command("cp", "/bin/busybox", c.rootfs()+"/hermit/hermit-loader").Run())
		}},
		{"an empty loader", "app", "hermit-loader", func(c *ctr) {
			os.Remove(c.rootfs() + "/hermit/hermit-loader")
			c.r.must(os.WriteFile(c.rootfs()+"/hermit/hermit-loader", nil, 0o755))
		}},
		{"a loader that is a fifo", "app", "loader", func(c *ctr) {
			os.Remove(c.rootfs() + "/hermit/hermit-loader")
			c.r.must(unix.Mkfifo(c.rootfs()+"/hermit/hermit-loader", 0o755))
		}},
		{"another entry version", "app-badnote", "entry", nil},
		{"63 bytes", "app", "", cut(63)},
		{"64 bytes", "app", "", cut(64)},
		{"half", "app", "", cut(9000)},
		{"0 bytes, mode hermit", "app", "not a Hermit application", func(c *ctr) { cut(0)(c); annotation("mode", "hermit")(c) }},
		{"63 bytes, mode hermit", "app", "Hermit", func(c *ctr) { cut(63)(c); annotation("mode", "hermit")(c) }},
		{"memory limit", "app", "memory limit", limit(8)},
		{"memory limit of a page", "app", "memory limit", func(c *ctr) { n := int64(4096); c.spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &n} }},
		{"pids limit of 1", "app", "linux.resources.pids.limit of 1 is too small: the guest's machine and its keeper need 10 tasks", pids(1)},
		{"pids limit", "app", "linux.resources.pids.limit of 9 is too small", pids(9)},
		{"pids limit of many CPUs", "app", "need 13 tasks", func(c *ctr) { pids(12)(c); annotation("smp", "4")(c) }},
		{"pids limit of a share", "app", "need 14 tasks", func(c *ctr) { pids(13)(c); annotation("share", "rootfs")(c) }},
		{"memory_size too small", "app", "memory_size", annotation("memory_size", "8")},
		{"memory_size no number", "app", "memory_size", annotation("memory_size", "much")},
		{"memory_size over the limit", "app", "memory_size", func(c *ctr) { limit(128)(c); annotation("memory_size", "512")(c) }},
		{"machine", "app", "machine", annotation("machine", "q36")},
		{"accel", "app", "accel", annotation("accel", "hvf")},
		{"network", "app", "network", annotation("network", "nosuch")},
		{"unknown annotation", "app", "nosuch", annotation("nosuch", "1")},
		{"vmm of the image", "app", "vmm", annotation("vmm", "image")},
		{"hypervisor of the vm section", "app", "vm.hypervisor.path", func(c *ctr) { c.spec.VM = &specs.VM{Hypervisor: specs.VMHypervisor{Path: "/bin/sh"}} }},
		{"hypervisor's parameters", "app", "vm.hypervisor.parameters", func(c *ctr) { c.spec.VM = &specs.VM{Hypervisor: specs.VMHypervisor{Parameters: []string{"-S"}}} }},
		{"kernel of the vm section", "app", "vm.kernel.path", func(c *ctr) { c.spec.VM = &specs.VM{Kernel: specs.VMKernel{Path: "/etc/passwd"}} }},
		{"initrd of the vm section", "app", "vm.kernel.initrd", func(c *ctr) { c.spec.VM = &specs.VM{Kernel: specs.VMKernel{InitRD: "/etc/passwd"}} }},
		{"disk image", "app", "vm.image.path", func(c *ctr) { c.spec.VM = &specs.VM{Image: specs.VMImage{Path: "/dev/sda", Format: "raw"}} }},
		{"devices of the vm section", "app", "vm.hwconfig.irqs", func(c *ctr) { c.spec.VM = &specs.VM{HwConfig: &specs.HWConfig{Irqs: []uint32{1}}} }},
		{"vm section over the limit", "app", "vm.hwconfig.memory", func(c *ctr) {
			limit(128)(c)
			n := uint64(512 << 20)
			c.spec.VM = &specs.VM{HwConfig: &specs.HWConfig{Memory: &n}}
		}},
		{"loader that is not there", "app", "/nosuch/loader", annotation("loader", "/nosuch/loader")},
		{"port", "app", "RUNH_USER_PORT", func(c *ctr) { c.spec.Process.Env = append(c.spec.Process.Env, "RUNH_USER_PORT=99999") }},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newHermit(t)
			c := r.guest(x.image, []string{"hello"})
			if x.spoil != nil {
				x.spoil(c)
				c.write()
			}
			res := c.run().fails(x.want)
			if strings.Contains(res.err, "no such file or directory") {
				t.Errorf("Docker takes this for a missing command: %s", res.err)
			}
			if left := r.leftovers(); len(left) != 0 {
				t.Errorf("left %q", left)
			}
		})
	}
	t.Run("no QEMU", func(t *testing.T) {
		r := newHermit(t)
		c := r.guest("app", nil)
		hide := ""
		for _, dir := range []string{"/usr/bin", "/usr/local/bin", "/usr/libexec"} {
			names, _ := filepath.Glob(dir + "/qemu-*")
			for _, n := range names {
				hide += "mount --bind /dev/null " + n + " && "
			}
		}
		cmd := r.cmd("run", "--bundle", c.dir, c.id)
		wrapped := exec.Command("unshare", append([]string{"-m", "sh", "-c", hide + `exec "$@"`, "sh"}, cmd.Args...)...)
		wrapped.Env = cmd.Env
		res := r.doCmd(wrapped)
		if res.code != 1 || !strings.Contains(res.err, "QEMU") || strings.Count(res.err, "\n") != 1 || strings.Contains(res.err, "no such file or directory") {
			t.Errorf("exit code %d, stderr %q", res.code, res.err)
		}
		if left := r.leftovers(); len(left) != 0 {
			t.Errorf("left %q", left)
		}
	})
	t.Run("nothing of an application", func(t *testing.T) { // so it is a Linux program, and the kernel refuses it
		r := newHermit(t)
		for _, n := range []int64{0, 1} {
			c := r.guest("app", []string{"hello"})
			cut(n)(c)
			if res := c.run(); res.code != 255 || res.out != "" || res.err != "exec /hermit/app: exec format error\n" {
				t.Errorf("%d bytes: exit code %d, stdout %q, stderr %q", n, res.code, res.out, res.err)
			}
		}
	})
	t.Run("mode hermit for a Linux program", func(t *testing.T) {
		r := newHermit(t)
		c := r.sh("true", func(s *specs.Spec) { s.Annotations = map[string]string{"org.hermit-os.runh.mode": "hermit"} })
		c.run().fails("not a Hermit application")
	})
}

// Settings: annotations, over the limits of the spec, over the configuration file, over what holds without.
func TestHermitSettings(t *testing.T) {
	memory := func(t *testing.T, r *rt, edit func(*specs.Spec)) int {
		t.Helper()
		res := r.guest("app", []string{"mem"}, edit).run()
		m := regexp.MustCompile(`(?m)^memory=(\d+)$`).FindStringSubmatch(res.out)
		if m == nil {
			t.Fatalf("exit code %d, %q, %q", res.code, res.out, res.err)
		}
		n, _ := strconv.Atoi(m[1])
		return n >> 20
	}
	annotate := func(name, value string) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Annotations = map[string]string{"org.hermit-os.runh." + name: value} }
	}
	r := newHermit(t)
	if n := memory(t, r, annotate("memory_size", "96")); n < 94 || n > 96 {
		t.Errorf("memory_size 96 gave the guest %d MiB", n)
	}
	limit := int64(192 << 20)
	if n := memory(t, r, func(s *specs.Spec) { s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit} }); n < 64 || n > 180 {
		t.Errorf("a limit of 192 MiB gave the guest %d MiB", n)
	}
	config := filepath.Join(r.dir, "config.toml")
	r.must(os.WriteFile(config, []byte("memory_size = 80\nmachine = \"pc\"\n"), 0o644))
	r.global = []string{"--config", config}
	if n := memory(t, r, func(*specs.Spec) {}); n < 78 || n > 80 {
		t.Errorf("memory_size 80 in the configuration gave the guest %d MiB", n)
	}
	for text, want := range map[string]string{"nosuch = 1\n": "nosuch", "memory_size = 1\n": "memory_size", "smp = \"two\"\n": "smp", "not toml": "config.toml"} {
		r.must(os.WriteFile(config, []byte(text), 0o644))
		r.guest("app", nil).run().fails(want)
	}
	// A Linux container does not care.
	if res := r.sh("echo fine").run(); res.out != "fine\n" {
		t.Errorf("a Linux container under a bad configuration: %d, %q", res.code, res.err)
	}
	r.global = nil
	res := r.guest("app", []string{"env"}, annotate("kernel_args", "env=FROM=annotation")).run()
	if got := guestStrings(t, res.out, "env"); !strings.Contains(strings.Join(got, " "), "FROM=annotation") {
		t.Errorf("kernel_args: %q", got)
	}
	for name, want := range map[string]string{"pc": "pc", "microvm": "microvm"} {
		c := r.guest("app", []string{"count"}, annotate("machine", name)).create().start()
		c.out.until("count 1")
		if line := rtReadOr(fmt.Sprintf("/proc/%d/cmdline", r.vmm(c))); !strings.Contains(line, "\x00"+want) {
			t.Errorf("machine %s: %q", name, line)
		}
		r.do("delete", "--force", c.id).ok()
	}
}

// A limit on memory holds for all of it, QEMU too; within it the guest can touch every page that it was promised.
func TestHermitMemoryLimit(t *testing.T) {
	r := newHermit(t)
	limit := int64(128 << 20)
	res := r.guest("app", []string{"touch", ";", "exit", "3"}, func(s *specs.Spec) {
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit, Swap: &limit}
	}).run()
	if res.code != 3 || !strings.Contains(res.out, "touched") {
		t.Errorf("exit code %d, %q, %q", res.code, res.out, res.err)
	}
}

// What stands between a hostile guest and the host: QEMU's own uid, no capability, no privilege to gain, a filter, a root of its own,
// the container's cgroups and network, and no descriptor too many.
func TestHermitJail(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", []string{"count"})
	// An image's own QEMU is never run.
	marker := filepath.Join(r.dir, "ran")
	for _, p := range []string{"/usr/bin/qemu-system-x86_64", "/usr/local/bin/qemu-system-x86_64", "/bin/qemu-system-x86_64", "/usr/bin/virtiofsd"} {
		r.must(os.MkdirAll(filepath.Dir(c.rootfs()+p), 0o755))
		r.must(os.WriteFile(c.rootfs()+p, []byte("#!/bin/sh\necho x >"+marker+"\n"), 0o755))
	}
	c.create().start()
	c.out.until("count 1")
	pid := r.vmm(c)
	for field, bad := range map[string]string{"Uid": `\b0\b`, "Gid": `\b0\b`, "Groups": `\b0\b`, "CapEff": `[1-9a-f]`, "CapPrm": `[1-9a-f]`, "CapBnd": `[1-9a-f]`, "CapAmb": `[1-9a-f]`, "CapInh": `[1-9a-f]`, "NoNewPrivs": `0`, "Seccomp": `[01]`} {
		if v := rtStatus(t, pid, field); regexp.MustCompile(bad).MatchString(v) {
			t.Errorf("QEMU's %s is %q", field, v)
		}
	}
	if !strings.Contains(rtRead(t, fmt.Sprintf("/proc/%d/cgroup", pid)), c.id) {
		t.Error("QEMU is not in the container's cgroups")
	}
	init, _ := os.Readlink(pidNS(c.pid, "net"))
	vmm, _ := os.Readlink(pidNS(pid, "net"))
	host, _ := os.Readlink("/proc/self/ns/net")
	if vmm != init || vmm == host {
		t.Errorf("network namespaces: QEMU's %s, init's %s, ours %s", vmm, init, host)
	}
	for _, ns := range []string{"mnt", "ipc", "uts", "pid"} {
		a, _ := os.Readlink(pidNS(pid, ns))
		if b, _ := os.Readlink("/proc/self/ns/" + ns); a == b {
			t.Errorf("QEMU is in the host's %s namespace", ns)
		}
	}
	root := fmt.Sprintf("/proc/%d/root", pid)
	for _, p := range []string{"/etc/passwd", "/etc/shadow", "/root", "/home", "/bin/sh", "/usr/bin/env", "/tmp/" + r.token, "/hermit/app", "/sys/kernel", "/dev/sda", "/dev/vda", "/dev/mem"} {
		if _, err := os.Lstat(root + p); err == nil {
			t.Errorf("QEMU's root has %s", p)
		}
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid)); err != nil {
		t.Errorf("QEMU's exe: %v", err)
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	r.must(err)
	for _, fd := range fds {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
		if strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "/memfd:") && !strings.HasPrefix(to, "/dev/") && !strings.HasSuffix(to, "/hermit/app") && !strings.HasSuffix(to, "/hermit/hermit-loader") {
			t.Errorf("QEMU holds %s", to)
		}
	}
	if line := rtReadOr(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.Contains(line, "/hermit/") || strings.Contains(line, r.token) {
		t.Errorf("a path of the image is on QEMU's command line: %q", line)
	}
	r.do("delete", "--force", c.id).ok()
	if _, err := os.Stat(marker); err == nil {
		t.Error("the image's QEMU was run")
	}
}

// The keeper lives as long as the guest, so its memory is bounded (ARCHITECTURE.md, the table of promises).
func TestHermitKeeperMemory(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", []string{"count"}).create().start()
	c.out.until("count 3")
	private := privateKiB(t, c.pid)
	t.Logf("private memory of the keeper: %d KiB", private)
	if private > 3<<10 {
		t.Errorf("private memory of the keeper: %d KiB, allowed are 3072", private)
	}
	r.do("delete", "--force", c.id).ok()
}

// privateKiB is the memory that a process has for itself.
func privateKiB(t *testing.T, pid int) (private int) {
	t.Helper()
	for _, l := range strings.Split(rtRead(t, fmt.Sprintf("/proc/%d/smaps_rollup", pid)), "\n") {
		if f := strings.Fields(l); len(f) == 3 && strings.HasPrefix(f[0], "Private_") {
			n, _ := strconv.Atoi(f[1])
			private += n
		}
	}
	return private
}

// A create of a guest that dies half-way leaves nothing that delete --force does not take.
func TestHermitCreateKilled(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", []string{"count"})
	begin := time.Now()
	c.create()
	took := time.Since(begin)
	r.do("delete", "--force", c.id).ok()
	c.wait()
	for i := range 20 {
		cmd := r.cmd("create", "--bundle", c.dir, c.id)
		r.must(cmd.Start())
		time.Sleep(took * time.Duration(i) / 20)
		cmd.Process.Kill()
		cmd.Wait()
		r.do("delete", "--force", c.id).ok()
		var left []string
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if left = r.leftovers(); len(left) == 0 {
				break
			}
		}
		if len(left) != 0 {
			t.Fatalf("killed after %d/20 of %v: left %q", i, took, left)
		}
	}
}

// Several guests at once, and a Linux container that shares a pod's network with one.
func TestHermitTogether(t *testing.T) {
	r := newHermit(t)
	pause := r.sh("sleep 1000").create().start()
	share := joinNS(specs.NetworkNamespace, pidNS(pause.pid, "net"))
	noSysctl := func(s *specs.Spec) { s.Linux.Sysctl = nil }
	var wg sync.WaitGroup
	for i := range 4 {
		c := r.guest("app", []string{"count", "2", ";", "exit", strconv.Itoa(20 + i)}, share, noSysctl)
		wg.Go(func() {
			if res := c.run(); res.code != 20+i {
				t.Errorf("guest %d: exit code %d, %q, %q", i, res.code, res.out, res.err)
			}
		})
	}
	wg.Wait()
	pause.wantStatus("running")
	r.do("delete", "--force", pause.id).ok()
}

// annotated gives a container one setting of ours.
func annotated(name, value string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations["org.hermit-os.runh."+name] = value
	}
}
