// What a guest that has broken out of QEMU meets: testdata/breakout.c stands in QEMU's place, in the very jail that QEMU has, and
// tries. And what QEMU itself asks of the kernel, against what its filter lets through.

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// rtBreakout is testdata/breakout.c, made once.
var rtBreakout = sync.OnceValues(func() (string, error) {
	if built := os.Getenv("RUNH_TEST_BUILT"); built != "" && regularFile(built+"/breakout") {
		return built + "/breakout", nil
	}
	program := filepath.Join(rtTemp, "breakout")
	out, err := exec.Command("gcc", "-static", "-O1", "-Wall", "-o", program, "testdata/breakout.c").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return program, nil
})

// breakout is an environment with the attacker as its QEMU, and beside it a setuid program of root's.
func (r *rt) breakout() string {
	r.Helper()
	program, err := rtBreakout()
	needs(r.T, err == nil, fmt.Sprintf("gcc and a static libc for testdata/breakout.c: %v", err))
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

// A broken-out QEMU reaches nothing: each thing it tries fails, and what it finds of files and descriptors is what the jail lists. With a
// tap it sends a datagram to the namespace's loopback, and one to its address, having done what it can against the rules between.
func TestHermitBreakout(t *testing.T) {
	files := []string{"fd:0", "fd:1", "fd:2", "fd:3"}
	tapFiles := append([]string{"fd:100", "fd:256"}, files...)
	root := []string{"root:app", "root:loader", "root:usr"}
	may, tap := []string{}, []string{"frame:address", "frame:loopback", "frame:stand-in", "tap:TUNGETIFF"}
	kvm, vhost := "ENOSYS", "ENOSYS" // what a request on another descriptor meets
	if rtAccel() == "kvm" {
		root, may, kvm, vhost = append(root, "root:dev"), append(may, "open:/dev/kvm"), "ENOTTY", "ENOTTY"
		if hasVhost() {
			tapFiles = append(tapFiles, "fd:101")
		}
	}
	sorted := func(lists ...[]string) []string { return slices.Sorted(slices.Values(slices.Concat(lists...))) }
	for _, x := range []struct {
		network, words string
		sees           []string
		may            []string // what is not refused
		arrives        string
	}{
		{"none", "", sorted(files, root), may, ""},
		{"user", "", sorted(files, root), sorted(may, []string{"socket:inet", "socket:inet6", "socket:unix"}), ""},
		{"shared", "169.254.137.2 169.254.137.1 7001", sorted(tapFiles, root), sorted(may, tap), "address"},
		{"direct", "10.88.0.77 10.88.0.2 7001", sorted(tapFiles, root), sorted(may, tap), ""}, // all that it sends goes out of the interface
	} {
		t.Run("network "+x.network, func(t *testing.T) {
			r := newHermit(t)
			r.breakout()
			edits := []func(*specs.Spec){annotated("network", x.network)}
			before, arrived := func() string { return "" }, func() string { return "" }
			if x.words != "" {
				p := newWorld(r).pod("10.88.0.2/24")
				p.in(exec.Command("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")).Run()
				before, arrived = p.traces, p.datagrams(7001)
				edits = append(edits, joinNS(specs.NetworkNamespace, pidNS(p.pid, "net")))
			}
			was := before()
			c := r.guest("app", strings.Fields("attack "+x.words), edits...)
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
			if !slices.Equal(seen, x.sees) {
				t.Errorf("it finds %q, want %q", seen, x.sees)
			}
			slices.Sort(done)
			if !slices.Equal(done, x.may) {
				t.Errorf("it succeeds in %q, want %q", done, x.may)
			}
			if len(tried) < 130 {
				t.Errorf("it has tried %d things only", len(tried))
			}
			want := map[string]string{
				"ptrace": "ENOSYS", "mount": "ENOSYS", "kill": "ENOSYS", "clone:process": "ENOSYS", "socket:netlink": "ENOSYS", "bpf": "ENOSYS", "setuid": "ENOSYS",
				"tgkill": "ENOSYS", "tgkill:abort": "EPERM", "limit:files": "EPERM", "limit:core": "EPERM", "limit:another's": "ENOSYS",
				"prctl:parent's death": "ENOSYS", "ioctl:TIOCSTI": "ENOSYS", "ioctl:KVM": kvm, "ioctl:vhost": "ENOSYS", "fcntl:F_SETOWN": "ENOSYS",
				"write:new": "EROFS", "write:app": "EACCES", "write:tmpfile": "EROFS", "open:/etc/shadow": "ENOENT", "open:/proc/1/mem": "ENOENT", "open:/hermit/secret": "ENOENT",
			}
			if x.words != "" {
				for name, answer := range map[string]string{
					"ioctl:vhost": vhost, "tap:TUNSETPERSIST": "ENOSYS", "tap:SIOCSIFHWADDR": "ENOSYS", "rules:close": "ENOSYS", "rules:close, upper half": "ENOSYS",
					"rules:dup2": "EBADF", "rules:dup3": "EBADF", "rules:F_SETFD": "ENOSYS", "rules:flush": "EPERM",
				} {
					want[name] = answer
				}
			}
			for name, answer := range want {
				if tried[name] != answer {
					t.Errorf("%s met %s, want %s", name, tried[name], answer)
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
			if got := arrived(); got != x.arrives {
				t.Errorf("what it sent to the namespace: %q has arrived, want %q", got, x.arrives)
			}
			if now := before(); now != was {
				t.Errorf("it leaves\n%s\nafter\n%s", now, was)
			}
		})
	}
}

// datagrams hears a port of the namespace's, and first from itself, at 127.0.0.1. The result says what has come, after a last one
// of its own.
func (h *hostNet) datagrams(port int, fromItself ...string) func() string {
	h.r.Helper()
	ns, err := unix.Open(pidNS(h.pid, "net"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	h.r.must(err)
	defer unix.Close(ns)
	var c net.PacketConn
	h.r.must(inNetwork(ns, func() (err error) {
		c, err = net.ListenPacket("udp4", fmt.Sprintf("0.0.0.0:%d", port))
		return err
	}))
	h.r.Cleanup(func() { c.Close() })
	for _, text := range fromItself {
		_, err := c.WriteTo([]byte(text), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		h.r.must(err)
	}
	return func() string {
		h.r.Helper()
		last, err := h.dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
		h.r.must(err)
		defer last.Close()
		fmt.Fprint(last, "last")
		c.SetReadDeadline(time.Now().Add(rtLimit))
		var all []string
		for b := make([]byte, 100); ; {
			n, _, err := c.ReadFrom(b)
			h.r.must(err)
			if string(b[:n]) == "last" {
				return strings.Join(all, " ")
			}
			all = append(all, strings.TrimRight(string(b[:n]), "\x00"))
		}
	}
}

// Whichever of keeper and QEMU is killed, the other is gone too, and with both the tap and its rules: also where no pid namespace ends with
// the keeper, and QEMU would rather stay.
func TestHermitBreakoutStays(t *testing.T) {
	for _, network := range []string{"shared", "direct"} {
		for _, victim := range []string{"keeper", "QEMU"} {
			t.Run(network+" "+victim, func(t *testing.T) {
				r := newHermit(t)
				r.breakout()
				p := newWorld(r).pod("10.88.0.2/24")
				before := p.traces()
				c := r.guest("app", []string{"stay"}, annotated("network", network), joinNS(specs.NetworkNamespace, pidNS(p.pid, "net")),
					func(s *specs.Spec) { dropNS(s, specs.PIDNamespace) }).create().start()
				c.out.until("stays")
				vmm := r.vmm(c)
				if tables := p.nft(); !strings.Contains(tables, "flags owner") {
					t.Fatalf("the rules while it runs: %q", tables)
				}
				rules, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", vmm, (&vmConfig{Network: network}).maxFiles()))
				r.must(err)
				held := 0
				files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", c.pid))
				for _, f := range files {
					if to, _ := os.Readlink(f); to == rules {
						held++
					}
				}
				if held != 1 {
					t.Errorf("the keeper holds the rules %d times", held)
				}
				pid := vmm
				if victim == "keeper" {
					pid = c.pid
				}
				r.must(unix.Kill(pid, unix.SIGKILL))
				c.wait()
				if victim == "keeper" { // and QEMU is ours now
					rtReap(vmm, rtLimit)
				}
				r.eventually("QEMU is gone", func() bool { return unix.Kill(vmm, 0) == unix.ESRCH })
				r.eventually("the tap is gone", func() bool {
					return !strings.Contains(p.ip("-o", "link"), "runh") || network == "shared" && !strings.Contains(p.ip("-o", "link"), "runh0")
				})
				if tables := p.nft(); tables != "" {
					t.Errorf("the rules after its end: %q", tables)
				}
				r.do("delete", c.id).ok()
				p.wantTraces(before)
			})
		}
	}
}

func (h *hostNet) nft() string {
	h.r.Helper()
	out, err := h.in(exec.Command("nft", "list", "ruleset")).CombinedOutput()
	if err != nil {
		h.r.Fatalf("nft: %v, %s", err, out)
	}
	return string(out)
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

func hasVhost() bool { return unix.Access("/dev/vhost-net", unix.W_OK) == nil }

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

// tracedCalls are the system calls of a trace with all arguments as numbers (strace -e raw=all).
func tracedCalls(t *testing.T, trace string) (list []struct {
	name string
	call seccompCall
},
) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^\d+ +([a-z0-9_]+)\(([^)<]*)`).FindAllStringSubmatch(rtRead(t, trace), -1) {
		nr := new(seccompTable).find(m[1])[1]
		if nr < 0 {
			t.Errorf("a call %q in the trace", m[1])
			continue
		}
		call := seccompCall{arch: unix.AUDIT_ARCH_X86_64, nr: uint32(nr)}
		for i, arg := range strings.Split(m[2], ",") {
			if arg = strings.TrimSpace(arg); arg != "" && i < len(call.args) {
				v, err := strconv.ParseUint(arg, 0, 64)
				if err != nil {
					t.Fatalf("%s(%s): %v", m[1], m[2], err)
				}
				call.args[i] = v
			}
		}
		list = append(list, struct {
			name string
			call seccompCall
		}{m[1], call})
	}
	return list
}

// Every system call that QEMU makes, from its start to its end, passes the filter with its arguments, or QEMU is known to do without it.
func TestVMMSystemCalls(t *testing.T) {
	qemu := needQEMU(t)
	t.Run("of the host", func(t *testing.T) { testVMMSystemCalls(t, qemu.QEMU) })
	if os.Getenv("RUNH_TEST_BUILT") == "" { // a machine has no tree
		t.Run("of make qemu", func(t *testing.T) { testVMMSystemCalls(t, rtQEMUTree(t)+"/usr/bin/qemu-system-x86_64") })
	}
}

func testVMMSystemCalls(t *testing.T, qemu string) {
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
		"ioctl 0x5402":   "its stdout is no terminal whose settings it could put back (TCSETS)",
		"ioctl 0x5403":   "the same (TCSETSW)",
	}
	type machine struct{ machine, accel, image, network string }
	accel := cmp.Or(os.Getenv("RUNH_TEST_ACCEL"), "tcg")
	cases := []machine{
		{"microvm", accel, "app", "none"},
		{"microvm", accel, "app", "user"},
		{"microvm", accel, "app", "shared"},
		{"pc", accel, "app-pci", "user"},
		{"pc", accel, "app-pci", "direct"},
		{"q35", accel, "app-pci", "none"},
		{"q35", accel, "app-pci", "shared"},
	}
	runs := func(x machine) bool { return x.accel == accel }
	if accel == "tcg" && openKVM(nil) == nil {
		cases = append(cases, machine{"microvm", "kvm", "app", "none"}) // up to the guest's first instruction: there are hosts where it hangs
	}
	for _, x := range cases {
		t.Run(x.machine+" "+x.accel+" "+x.network, func(t *testing.T) {
			vm := &vmConfig{Machine: x.machine, Accel: x.accel, CPU: defaultCPU(x.accel), VCPUs: 2, MemoryMiB: 64, TBSizeMiB: 16, Network: x.network, Boot: bootLine{Back: "-- burst 3000 ; exit 0"}}
			if vm.usesTap() { // so that the guest sets its card up
				vm.Boot.Back = "-- net ; burst 3000 ; exit 0"
			}
			if x.accel == "kvm" {
				vm.Boot.Back = strings.Replace(vm.Boot.Back, "3000", "300", 1) // each byte is an exit, and each exit a dozen system calls for strace
				vm.Vhost = vm.usesTap() && hasVhost()
			}
			argv := unjailedArgs(vm, dir, x.image)
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			ours, theirs := os.NewFile(uintptr(pair[0]), ""), os.NewFile(uintptr(pair[1]), "")
			defer ours.Close()
			trace := t.TempDir() + "/trace"
			cmd := exec.Command("strace", append([]string{"-f", "-qq", "-e", "raw=all", "-e", "signal=none", "-o", trace, qemu}, argv...)...)
			cmd.ExtraFiles = []*os.File{theirs}
			if vm.usesTap() {
				tap := tapInNowhere(t)
				cmd.ExtraFiles = append(append(cmd.ExtraFiles, make([]*os.File, vmmTap-4)...), tap)
			}
			if vm.Vhost {
				vhost, err := os.OpenFile("/dev/vhost-net", os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer vhost.Close()
				cmd.ExtraFiles = append(cmd.ExtraFiles, vhost)
			}
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			theirs.Close()
			limit := time.AfterFunc(rtLimit, func() { cmd.Process.Kill() })
			defer limit.Stop()
			last := "quit"
			if runs(x) {
				last = "cont"
			}
			fmt.Fprintf(ours, "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":%q}\n", last)
			err = cmd.Wait()
			if runs(x) && !strings.Contains(out.String(), "exit status 0") {
				t.Fatalf("QEMU: %v, %q", err, out.String())
			}
			filter, err := compileSeccompFor("amd64", vmmSeccomp(vm))
			if err != nil {
				t.Fatal(err)
			}
			calls, refused := map[string]int{}, map[string]int{}
			for _, c := range tracedCalls(t, trace) {
				calls[c.name]++
				if c.name == "ioctl" && uint32(c.call.args[1]) == vhostNetSetBackend {
					calls["vhost's start"]++
				}
				if runSeccomp(t, filter.prog, c.call) != unix.SECCOMP_RET_ALLOW {
					what := c.name
					switch c.name {
					case "ioctl", "fcntl", "tgkill":
						what += fmt.Sprintf(" %#x", c.call.args[map[string]int{"ioctl": 1, "fcntl": 1, "tgkill": 2}[c.name]])
					case "prctl", "prlimit64", "close":
						what += fmt.Sprintf(" %#x", c.call.args[0])
					}
					refused[what]++
				}
			}
			if len(calls) < 30 || calls["ppoll"] == 0 || x.accel == "kvm" && calls["ioctl"] < 50 || vm.usesTap() && calls["ioctl"] < 8 {
				t.Fatalf("the trace has only %v", calls)
			}
			if vm.Vhost != (calls["vhost's start"] > 0) {
				t.Errorf("with vhost-net is %v, and it was started %d times", vm.Vhost, calls["vhost's start"])
			}
			for what, n := range refused {
				if without[what] == "" {
					t.Errorf("QEMU makes the call %s %d times, and the filter does not know it", what, n)
				}
			}
		})
	}
}

const vhostNetSetBackend = 0x4008af30 // linux/vhost.h

// tapInNowhere is a guest's tap, in a network namespace that ends with it.
func tapInNowhere(t *testing.T) *os.File {
	t.Helper()
	var tap *tap
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good if it cannot come back
		here, err := os.Open("/proc/thread-self/ns/net")
		if err == nil {
			defer here.Close()
			err = unix.Unshare(unix.CLONE_NEWNET)
		}
		if err == nil {
			var l links
			if l, err = dialLinks(0); err == nil {
				tap, err = openTap(l)
				l.Close()
			}
			// Even a thread that is given up stays if it is the first, whose namespaces are /proc/self's.
			if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back == nil {
				runtime.UnlockOSThread()
			}
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(tap.fd), "tap")
	t.Cleanup(func() { f.Close() })
	return f
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
	if files, _ := filepath.Glob(r.root + "/" + qemuCacheName + "*"); len(files) != 1 {
		t.Errorf("of the environment's list there are %q", files)
	}
}
