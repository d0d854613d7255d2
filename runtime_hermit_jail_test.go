// What a guest that has broken out of QEMU meets: testdata/breakout.c stands in QEMU's place, in the very jail that QEMU has, and
// tries. And what QEMU itself asks of the kernel, against what its filter lets through.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// breakout is an environment with the attacker as its QEMU, and beside it a setuid program of root's.
func (r *rt) breakout() string {
	r.Helper()
	program := r.dir + "/breakout"
	out, err := exec.Command("gcc", "-static", "-O1", "-Wall", "-o", program, "testdata/breakout.c").CombinedOutput()
	needs(r.T, err == nil, fmt.Sprintf("gcc and a static libc for testdata/breakout.c: %s", out))
	env := r.dir + "/env"
	r.must(os.MkdirAll(env+"/usr/bin", 0o755))
	r.must(os.MkdirAll(env+"/home/secret", 0o755))
	for _, name := range []string{"qemu-system-x86_64", "suid"} {
		r.must(exec.Command("cp", program, env+"/usr/bin/"+name).Run())
	}
	r.must(os.Chmod(env+"/usr/bin/suid", 0o4755))
	r.global = append(r.global, "--hermit-env", env)
	return env
}

// A broken-out QEMU reaches nothing: each thing it tries fails, and what it finds of files and descriptors is what the jail lists.
func TestHermitBreakout(t *testing.T) {
	for _, x := range []struct {
		network string
		may     []string // what is not refused
	}{
		{"none", nil},
		{"user", []string{"socket:inet", "socket:inet6", "socket:unix"}},
	} {
		t.Run("network "+x.network, func(t *testing.T) {
			r := newHermit(t)
			r.breakout()
			c := r.guest("app", []string{"attack"}, annotated("network", x.network))
			r.must(os.WriteFile(c.rootfs()+"/hermit/secret", []byte("the image's"), 0o644))
			res := c.run()
			if res.code != 0 {
				t.Fatalf("exit code %d, %q, %q", res.code, res.out, res.err)
			}
			attack, after, found := strings.Cut(res.out, "end\n")
			if !found {
				t.Fatalf("it did not come to its end: %q", res.out)
			}
			var seen, done []string
			tried := map[string]string{}
			for line := range strings.Lines(attack) {
				i := strings.LastIndex(line, " ")
				name, answer := line[:i], strings.TrimSpace(line[i:])
				switch {
				case strings.HasPrefix(name, "root:") || strings.HasPrefix(name, "fd:"):
					seen = append(seen, name)
				case answer == "ok":
					done = append(done, name)
				}
				tried[name] = answer
			}
			slices.Sort(seen)
			if want := []string{"fd:0", "fd:1", "fd:2", "fd:3", "root:app", "root:loader", "root:usr"}; !slices.Equal(seen, want) {
				t.Errorf("it finds %q, want %q", seen, want)
			}
			if !slices.Equal(done, x.may) {
				t.Errorf("it succeeds in %q, want %q", done, x.may)
			}
			if len(tried) < 100 {
				t.Errorf("it has tried %d things only", len(tried))
			}
			for name, want := range map[string]string{
				"ptrace": "ENOSYS", "mount": "ENOSYS", "kill": "ENOSYS", "clone:process": "ENOSYS", "socket:netlink": "ENOSYS", "bpf": "ENOSYS", "setuid": "ENOSYS",
				"tgkill": "EPERM", "limit:files": "EPERM", "limit:core": "EPERM", "limit:another's": "EPERM",
				"write:new": "EROFS", "write:app": "EACCES", "write:tmpfile": "EROFS", "open:/etc/shadow": "ENOENT", "open:/proc/1/mem": "ENOENT", "open:/hermit/secret": "ENOENT",
			} {
				if tried[name] != want {
					t.Errorf("%s met %s, want %s", name, tried[name], want)
				}
			}
			// What it can still execute is in its jail, and gives it nothing: no user, no capability, no system call more.
			said := strings.Fields(after)
			if len(said) < 2 || said[0] != "suid" || said[1] != "nobody" {
				t.Errorf("a setuid program of root's said %q", after)
			}
			if !strings.Contains(after, "socket:packet ENOSYS") {
				t.Errorf("a new program has another filter: %q", after)
			}
		})
	}
}

// The device cgroup of a guest without KVM does not have it, and QEMU's own filter is on top of ours.
func TestHermitJailDevices(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", []string{"count"}, annotated("accel", "tcg")).create().start()
	c.out.until("count 1")
	if list, err := os.ReadFile("/sys/fs/cgroup/devices" + c.group() + "/devices.list"); err == nil && bytes.Contains(list, []byte("10:232")) {
		t.Errorf("/dev/kvm is allowed: %s", list)
	}
	if n, _ := strconv.Atoi(strings.TrimSpace(rtStatus(t, r.vmm(c), "Seccomp_filters"))); n < 2 {
		t.Errorf("QEMU has %d seccomp filters, wanted are ours and its own", n)
	}
	r.do("delete", "--force", c.id).ok()
}

// unjailedArgs are QEMU's arguments outside of its jail, with an image of the stand-in's in dir.
func unjailedArgs(vm *vmConfig, dir, image string) []string {
	argv := qemuArgs(vm, 3)
	for i, w := range argv {
		switch w {
		case vmmLoader:
			argv[i] = dir + "/loader"
		case vmmApp:
			argv[i] = dir + "/" + image
		}
	}
	return argv
}

// Every system call that QEMU makes, from its start to its end, is in the filter, or QEMU is known to do without it.
func TestVMMSystemCalls(t *testing.T) {
	env := needQEMU(t)
	dir, err := rtGuest()
	if err != nil {
		t.Fatal(err)
	}
	_, err = exec.LookPath("strace")
	needs(t, err == nil, "strace")
	without := map[string]string{ // answered by ENOSYS
		"clone3":         "the C library falls back to clone",
		"io_uring_setup": "QEMU polls without it",
		"rseq":           "the C library does without",
		"socket":         "QEMU looks for nscd and the like",
		"connect":        "the same",
	}
	cases := []struct{ machine, accel, image, network string }{
		{"microvm", "tcg", "app", "none"}, {"microvm", "tcg", "app", "user"}, {"pc", "tcg", "app-pci", "user"}, {"q35", "tcg", "app-pci", "none"},
	}
	if openKVM(nil) == nil {
		cases = append(cases, struct{ machine, accel, image, network string }{"microvm", "kvm", "app", "none"})
	}
	for _, x := range cases {
		t.Run(x.machine+" "+x.accel+" "+x.network, func(t *testing.T) {
			vm := &vmConfig{Machine: x.machine, Accel: x.accel, CPU: "max", VCPUs: 2, MemoryMiB: 64, TBSizeMiB: 16, Network: x.network, Boot: bootLine{Back: "-- burst 3000 ; exit 0"}}
			if x.accel == "kvm" {
				vm.CPU = defaultCPU("kvm")
			}
			argv := unjailedArgs(vm, dir, x.image)
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			ours, theirs := os.NewFile(uintptr(pair[0]), ""), os.NewFile(uintptr(pair[1]), "")
			defer ours.Close()
			trace := t.TempDir() + "/trace"
			cmd := exec.Command("strace", append([]string{"-f", "-qq", "-o", trace, env.QEMU}, argv...)...)
			cmd.ExtraFiles = []*os.File{theirs}
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			theirs.Close()
			limit := time.AfterFunc(rtLimit, func() { cmd.Process.Kill() })
			defer limit.Stop()
			last := "cont"
			if x.accel == "kvm" { // what the guest does is the kernel's; and there are hosts where it hangs
				last = "quit"
			}
			fmt.Fprintf(ours, "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":%q}\n", last)
			err = cmd.Wait()
			if x.accel == "tcg" && !strings.Contains(out.String(), "exit status 0") {
				t.Fatalf("QEMU: %v, %q", err, out.String())
			}
			allowed := map[string]bool{"execve": true}
			for _, s := range vmmSeccomp(vm).Syscalls {
				for _, n := range s.Names {
					allowed[n] = true
				}
			}
			text, err := os.ReadFile(trace)
			if err != nil {
				t.Fatal(err)
			}
			calls := map[string]int{}
			for _, m := range regexp.MustCompile(`(?m)^\d+ +([a-z0-9_]+)\(`).FindAllSubmatch(text, -1) {
				calls[string(m[1])]++
			}
			if len(calls) < 30 || calls["ppoll"] == 0 || x.accel == "kvm" && calls["ioctl"] < 50 {
				t.Fatalf("the trace has only %v", calls)
			}
			for name, n := range calls {
				if !allowed[name] && without[name] == "" {
					t.Errorf("QEMU makes the call %s %d times, and the filter does not know it", name, n)
				}
			}
		})
	}
}

// The keeper has a filter, in which nothing is missing of what it does in its life.
func TestKeeperSystemCalls(t *testing.T) {
	r := newHermit(t)
	_, err := exec.LookPath("strace")
	needs(t, err == nil, "strace")
	c := r.guest("app", []string{"echo", "3", ";", "print", "waiting", ";", "spin"}, annotated("memory_size", "64")).create()
	if status := rtRead(t, fmt.Sprintf("/proc/%d/status", c.pid)); !strings.Contains(status, "Seccomp:\t2\n") || !strings.Contains(status, "Seccomp_filters:\t1\n") {
		t.Errorf("the keeper's filter: %q", status)
	}
	trace := r.dir + "/trace"
	strace := exec.Command("strace", "-f", "-o", trace, "-p", fmt.Sprint(c.pid))
	said := newSink(t)
	strace.Stderr = said.w
	r.must(strace.Start())
	said.until("attached")
	c.start()
	c.stdin.WriteString("ab")
	c.out.until("ab")
	r.do("pause", c.id).ok()
	r.do("resume", c.id).ok()
	c.checkpoint(r.dir+"/img", "--leave-running")
	c.stdin.WriteString("c")
	c.out.until("waiting\n")
	r.do("kill", c.id, "TERM").ok()
	c.wait()
	strace.Wait() // with what it traced
	text := rtRead(t, trace)
	for _, call := range []string{"ppoll(", "read(", "write(", "accept4(", "recvmsg(", "sendto(", "exit_group("} {
		if !strings.Contains(text, call) {
			t.Errorf("the trace has no %s", call)
		}
	}
	for line := range strings.Lines(text) {
		if strings.Contains(line, "ENOSYS") {
			t.Errorf("the filter refuses %s", line)
		}
	}
}

// Everything that a guest says arrives, whoever reads it as slowly as may be, and costs no memory.
func TestHermitFlood(t *testing.T) {
	const size = 100 << 20
	r := newHermit(t)
	r.breakout()
	c := r.guest("app", []string{"flood"})
	rd, w, err := os.Pipe()
	r.must(err)
	cmd := r.cmd("run", "--bundle", c.dir, c.id)
	cmd.Stdout = w
	r.must(cmd.Start())
	w.Close()
	buf := make([]byte, 64<<10)
	total, most := 0, 0
	for {
		n, err := rd.Read(buf)
		for i, b := range buf[:n] {
			if at := (total + i) & 0xffff; b != byte(at+at>>8) {
				t.Fatalf("byte %d is %#x", total+i, b)
			}
		}
		if before := total; before>>24 != (total+n)>>24 { // now and then it is slow, and looks
			time.Sleep(20 * time.Millisecond)
			if pid := c.state().Pid; pid > 0 {
				most = max(most, keeperPrivate(t, pid))
			}
		}
		total += n
		if err != nil {
			break
		}
	}
	r.must(cmd.Wait())
	if total != size {
		t.Errorf("%d bytes arrived of %d", total, size)
	}
	t.Logf("private memory of the keeper meanwhile: at most %d KiB", most)
	if most == 0 || most > 3<<10 {
		t.Errorf("private memory of the keeper: %d KiB, allowed are 3072", most)
	}
}

// keeperPrivate is a process's private memory in KiB.
func keeperPrivate(t *testing.T, pid int) (private int) {
	t.Helper()
	for l := range strings.Lines(rtReadOr(fmt.Sprintf("/proc/%d/smaps_rollup", pid))) {
		if f := strings.Fields(l); len(f) == 3 && strings.HasPrefix(f[0], "Private_") {
			n, _ := strconv.Atoi(f[1])
			private += n
		}
	}
	return private
}

// A fresh host on which twenty guests are wanted at once: all boot, each ends as it will, and nothing stays.
func TestHermitTwenty(t *testing.T) {
	r := newHermit(t)
	const n = 20
	var all [n]*ctr
	for i := range all {
		all[i] = r.guest("app", []string{"print", "up", ";", "echo", "1", ";", "exit", strconv.Itoa(100 + i)}, annotated("memory_size", "64"), annotated("network", "none"))
	}
	var wg sync.WaitGroup
	results := make([]result, n)
	for i, c := range all {
		wg.Go(func() {
			if results[i] = c.tryCreate(); results[i].code == 0 {
				results[i] = r.do("start", c.id)
			}
		})
	}
	wg.Wait()
	for i, c := range all {
		if results[i].code != 0 {
			t.Fatalf("guest %d: %v: exit code %d, %q", i, results[i].args, results[i].code, results[i].err)
		}
		c.out.until("up")
	}
	for i, c := range all { // all of them are there now
		var st specs.State
		r.must(json.Unmarshal([]byte(r.do("state", c.id).ok().out), &st))
		if st.Status != "running" {
			t.Errorf("guest %d is %s", i, st.Status)
		}
		if private := keeperPrivate(t, c.pid); private == 0 || private > 3<<10 {
			t.Errorf("guest %d: %d KiB of private memory of its keeper, allowed are 3072", i, private)
		}
	}
	for i, c := range all {
		c.stdin.WriteString("x")
		if code := c.wait(); code != 100+i {
			t.Errorf("guest %d: exit code %d, %q", i, code, c.out.String())
		}
	}
	for _, c := range all {
		r.do("delete", c.id).ok()
	}
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
	if files, _ := filepath.Glob(r.root + "/" + envCacheName + "*"); len(files) != 1 {
		t.Errorf("of the environment's list there are %q", files)
	}
}
