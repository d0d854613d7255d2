// checkpoint and restore of Linux containers, by criu, which needs a kernel that it knows: TestVM runs these tests in machines with Debian's kernel and
// Debian's criu. Elsewhere they run where `criu check` is content, and are else only looked for in TestVM's lists.

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// newCriu returns nil where a test is left to the machines, for criu cannot work with this kernel.
func newCriu(t *testing.T) *rt {
	t.Helper()
	if !hasCriu(t) {
		return nil
	}
	r := newRT(t)
	r.onlyRunh("the error messages are runh's, and so is a file among the images")
	return r
}

func hasCriu(t *testing.T) bool {
	t.Helper()
	has := os.Getenv("RUNH_TEST_CRIU") != "" || exec.Command("criu", "check").Run() == nil
	if !has {
		leftToVM(t)
	}
	return has
}

const counting = `while :; do i=$((i+1)); echo count $i; sleep 0.05; done`

// counter prints "count 1", "count 2" and so on.
func (r *rt) counter(edits ...func(*specs.Spec)) *ctr { r.Helper(); return r.sh(counting, edits...) }

// fewMounts spares criu the tmpfs of Docker's, each of which it packs by itself.
func fewMounts(s *specs.Spec) {
	s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
	s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool {
		return !slices.Contains([]string{"proc", "devpts"}, m.Type) && m.Destination != "/dev"
	})
}

// dump is a checkpoint that must succeed.
func (c *ctr) dump(dir string, flags ...string) {
	c.r.Helper()
	res := c.r.do(append(append([]string{"checkpoint", "--image-path", dir, "--work-path", c.dir}, flags...), c.id)...)
	if log, _ := os.ReadFile(c.dir + "/dump.log"); res.code != 0 {
		c.r.Logf("%s", log)
	}
	res.ok()
}

// save is one after which the container is gone. The result is what it has printed.
func (c *ctr) save(dir string, flags ...string) string {
	c.r.Helper()
	c.dump(dir, flags...)
	return c.life()
}

func (c *ctr) bringBack(dir string, flags ...string) {
	c.r.Helper()
	c.launchBack(func(*exec.Cmd) {}, dir, flags...)
}

func (c *ctr) launchBack(change func(*exec.Cmd), dir string, flags ...string) {
	c.r.Helper()
	c.waited = false
	res := c.launchCmd(change, append([]string{"restore", "--detach", "--image-path", dir, "--work-path", c.dir}, flags...)...)
	if log, _ := os.ReadFile(c.dir + "/restore.log"); res.code != 0 {
		c.r.Fatalf("%v: exit code %d, stderr %q, log %s", res.args, res.code, res.err, log)
	}
	groups := rtRead(c.r.T, fmt.Sprintf("/proc/%d/cgroup", c.pid))
	if strings.Count(groups, c.group()+"\n") != strings.Count(groups, "\n") {
		c.r.Errorf("the restored container is not in %s everywhere: %s", c.group(), groups)
	}
}

// goesOn brings the container back, and looks whether it goes on with the number after the last one.
func (c *ctr) goesOn(dir, before string, flags ...string) {
	c.r.Helper()
	c.bringBack(dir, flags...)
	c.counts(3)
	counted(c.r.T, before+c.out.String())
}

// boundToOne runs f, and what f starts, on the first CPU. The result are those that there are.
func boundToOne(t *testing.T, f func()) (all string) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	all = allowedCPUs(t, unix.Gettid())
	var old, one unix.CPUSet
	one.Set(0)
	err := unix.SchedGetaffinity(0, &old)
	if err == nil {
		err = unix.SchedSetaffinity(0, &one)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &old)
	f()
	return all
}

func allowedCPUs(t *testing.T, pid int) string {
	t.Helper()
	_, list, _ := strings.Cut(rtRead(t, fmt.Sprintf("/proc/%d/status", pid)), "Cpus_allowed_list:")
	list, _, _ = strings.Cut(list, "\n")
	return strings.TrimSpace(list)
}

func (c *ctr) inside(script string) string {
	c.r.Helper()
	return c.r.do("exec", c.id, "sh", "-c", script).ok().out
}

func TestCriu(t *testing.T) {
	r := newCriu(t)
	if r == nil {
		return
	}
	limited := func(n int64) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &n} }
	}
	c, d := r.counter(limited(20)).create().start(), r.counter(limited(30))
	c.counts(3)
	img := r.dir + "/img"
	before := c.save(img)
	counted(t, before)
	r.do("state", c.id).fails("does not exist")
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("a checkpoint has left %q", left)
	}
	// Twice from the same images, beside each other: under the old name, and under another one with its own limits.
	for x, mode := range map[*ctr]string{c: "soft", d: "ignore"} {
		cpus := boundToOne(t, func() { x.goesOn(img, before, "--manage-cgroups-mode", mode) })
		if got := allowedCPUs(t, x.pid); got != cpus {
			t.Errorf("restored by a caller on one CPU it runs on %s, want %s", got, cpus)
		}
		if s := x.state(); s.Status != "running" || s.Pid != x.pid || s.Bundle != x.dir {
			t.Errorf("state %+v, want running with pid %d in %s", s, x.pid, x.dir)
		}
		x.wantLimit(limitPids, fmt.Sprint(*x.spec.Linux.Resources.Pids.Limit), fmt.Sprint(*x.spec.Linux.Resources.Pids.Limit))
		if ps := x.inside("ps -o pid,args"); !strings.Contains(ps, "1 sh -c while") {
			t.Errorf("ps in the restored container: %q", ps)
		}
	}
	r.do("pause", c.id).ok()
	c.wantStatus("paused")
	r.do("resume", c.id).ok()
	c.counts(1)
	r.do("kill", c.id, "KILL").ok()
	if code := c.wait(); code != 137 {
		t.Errorf("exit code %d after kill, want 137", code)
	}
	c.wantStatus("stopped")
	r.do("delete", c.id).ok()
}

// One that is paused, as containerd leaves it: it is saved all the same, and stays paused.
func TestCriuPaused(t *testing.T) {
	r := newCriu(t)
	if r == nil {
		return
	}
	c := r.counter(fewMounts).create().start()
	c.counts(3)
	r.do("pause", c.id).ok()
	c.dump(r.dir+"/one", "--leave-running")
	c.wantStatus("paused")
	r.do("resume", c.id).ok()
	c.counts(3)
	r.do("pause", c.id).ok()
	before := c.save(r.dir + "/two")
	c.goesOn(r.dir+"/two", before)
	c.wantStatus("running")
}

func TestCriuPreDump(t *testing.T) {
	r := newCriu(t)
	if r == nil {
		return
	}
	c := r.counter(fewMounts).create().start()
	c.counts(1)
	c.dump(r.dir+"/stays", "--leave-running")
	c.wantStatus("running")
	c.counts(3)
	c.dump(r.dir+"/pre", "--pre-dump")
	c.wantStatus("running")
	c.counts(3)
	before := c.save(r.dir+"/img", "--parent-path", "../pre")
	if to, err := os.Readlink(r.dir + "/img/parent"); to != "../pre" {
		t.Errorf("the images' parent is %q (%v)", to, err)
	}
	c.goesOn(r.dir+"/img", before)
	again := c.save(r.dir + "/again") // like any other
	c.goesOn(r.dir+"/again", before+again)
}

func TestCriuAttached(t *testing.T) {
	r := newCriu(t)
	if r == nil {
		return
	}
	c := r.sh("trap 'exit 7' TERM; "+counting, fewMounts).create().start()
	c.counts(3)
	img := r.dir + "/img"
	before := c.save(img)
	cmd := r.cmd("restore", "--image-path", img, "--work-path", c.dir, "--bundle", c.dir, c.id)
	out, done := newSink(t), make(chan result)
	cmd.Stdout, cmd.Stderr = out.w, out.w
	c.out = out
	go func() { done <- r.wait(cmd, out) }()
	c.counts(3)
	c.wantStatus("running")
	r.must(cmd.Process.Signal(syscall.SIGTERM))
	if res := <-done; res.code != 7 {
		t.Errorf("exit code %d of an attached restore, want 7; %q", res.code, out.String())
	}
	counted(t, before+out.all(rtLimit))
	r.do("state", c.id).fails("does not exist")
}

func TestCriuTerminal(t *testing.T) {
	r := newCriu(t)
	if r == nil {
		return
	}
	c := r.sh(`while read line; do echo "got $line $(stty size)"; echo to the console >/dev/console; done`, fewMounts)
	master := c.withTerminal(&specs.Box{Height: 33, Width: 77})
	c.start()
	master.WriteString("one\n")
	c.out.until("got one 33 77\r\nto the console\r\n")
	img := r.dir + "/img"
	c.dump(img)
	c.wait()
	c.launch("restore", "--detach", "--image-path", img).fails("setting console socket")

	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: c.dir + "/tty2", Net: "unix"})
	r.must(err)
	defer l.Close()
	c.bringBack(img, "--console-socket", c.dir+"/tty2")
	_, master, err = recvMaster(l)
	r.must(err)
	defer master.Close()
	out := readSink(t, master, nil)
	master.WriteString("two\n")
	out.until("got two 33 77\r\nto the console\r\n")
	r.must(unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 44, Col: 88}))
	master.WriteString("three\n")
	out.until("got three 44 88\r\n")
	c.dump(img)
	c.wait()

	// Attached, the terminal is ours to serve.
	cmd := r.cmd("restore", "--image-path", img, "--bundle", c.dir, c.id)
	stdin, err := cmd.StdinPipe()
	r.must(err)
	printed := newSink(t)
	cmd.Stdout, cmd.Stderr = printed.w, printed.w
	done := make(chan result)
	go func() { done <- r.wait(cmd, printed) }()
	stdin.Write([]byte("four\n"))
	printed.until("got four 44 88\r\nto the console\r\n")
	stdin.Write([]byte{4}) // the terminal's end of file
	if res := <-done; res.code != 0 {
		t.Errorf("exit code %d, %q", res.code, printed.String())
	}
}

// Files of the host as stdio: saved, they are the restore's.
func TestCriuStdio(t *testing.T) {
	r := newCriu(t)
	if r == nil {
		return
	}
	c := r.counter(fewMounts)
	logged := func(name string) func(*exec.Cmd) {
		log, err := os.Create(r.dir + name)
		r.must(err)
		t.Cleanup(func() { log.Close() })
		return func(cmd *exec.Cmd) { cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, log, log }
	}
	grows := func(name string) {
		have := len(rtRead(t, r.dir+name))
		r.eventually(name+" grows", func() bool { return len(rtRead(t, r.dir+name)) > have+10 })
	}
	if res := c.launchCmd(logged("/one"), "create"); res.code != 0 {
		t.Fatal(res.err)
	}
	c.start()
	grows("/one")
	c.dump(r.dir + "/img")
	c.wait()
	c.launchBack(logged("/two"), r.dir+"/img")
	grows("/two")
	counted(t, rtRead(t, r.dir+"/one")+rtRead(t, r.dir+"/two"))
}

// The mounts of the host's are those of the new config, in a root that has never seen them; all others are as they were.
func TestCriuMounts(t *testing.T) {
	r := newCriu(t)
	if r == nil {
		return
	}
	other := r.dir + "/other"
	r.must(os.Mkdir(other, 0o755))
	r.must(unix.Mount("tmpfs", other, "tmpfs", 0, ""))
	t.Cleanup(func() { unix.Unmount(other, unix.MNT_DETACH) })
	var all []*ctr
	for _, name := range []string{"one", "two"} {
		data := r.dir + "/" + name
		r.must(os.MkdirAll(data+"/below", 0o755))
		r.must(os.WriteFile(data+"/word", []byte(name), 0o644))
		r.must(unix.Mount(data, data+"/below", "", unix.MS_BIND, "")) // as anything can be mounted below
		t.Cleanup(func() { unix.Unmount(data+"/below", unix.MNT_DETACH) })
		c := r.counter(func(s *specs.Spec) {
			s.Mounts = append(s.Mounts,
				bindAt(data, "/data", "rbind", "rprivate"), bindAt(data, "/data/below/below", "bind", "ro"),
				bindAt(other, "/once", "bind", "ro"), bindAt(other, "/twice", "bind", "ro"),
				bindAt(data+"/word", "/link/word", "bind", "rprivate", map[string]string{"one": "rw", "two": "ro"}[name]),
				specs.Mount{Destination: "/new/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"size=64k"}})
		})
		r.must(os.Symlink("etc", c.rootfs()+"/link"))
		all = append(all, c)
	}
	c, d := all[0], all[1]
	mounts := func(c *ctr) string {
		return c.inside("echo kept >>/new/tmp/file; awk '{ print $5, $6, $7 }' /proc/1/mountinfo | tr -d 0-9 | sort")
	}
	c.create().start()
	c.counts(1)
	want := mounts(c)
	img := r.dir + "/img"
	before := c.save(img)
	d.goesOn(img, before)
	want = strings.ReplaceAll(want, "/etc/word rw", "/etc/word ro") // as its own config.json says
	if have := mounts(d); have != want {
		t.Errorf("mounts were\n%s\nand are\n%s", want, have)
	}
	if out := d.inside("cat /data/word /data/below/word /etc/word; wc -l </new/tmp/file; wc -c </proc/kcore; ls /sys/firmware; (echo 1 >/proc/sys/vm/swappiness) 2>&1; true"); out !=
		"twotwotwo2\n0\nsh: can't create /proc/sys/vm/swappiness: Read-only file system\n" {
		t.Errorf("the restored container sees %q", out)
	}
	d.spec.Mounts = d.spec.Mounts[:len(d.spec.Mounts)-2]
	d.write()
	r.do("kill", d.id, "KILL").ok()
	d.wait()
	r.do("delete", d.id).ok()
	r.do("restore", "--detach", "--image-path", img, "--bundle", d.dir, d.id).fails("is of a container with a mount on /link/word, which config.json has not")
}

// The container's own rootfs lies in what it has from outside, twice, and with it some of its own mounts.
func TestCriuMountsAgain(t *testing.T) {
	r := newCriu(t)
	if r == nil {
		return
	}
	c := r.counter(func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, bindAt(r.dir, "/data", "rbind", "rprivate"), bindAt(r.dir, "/more", "rbind", "rprivate"))
	})
	c.create().start()
	c.counts(1)
	rootfs := strings.TrimPrefix(c.rootfs(), r.dir)
	look := "echo kept >>/dev/kept; cd /more" + rootfs + "/data" + rootfs + " && cat dev/kept && ls sys && cat proc/1/comm; awk '{ print $5, $6 }' /proc/1/mountinfo | sort"
	want := c.inside(look)
	for _, line := range []string{"kept", "kernel", "sh", "/data" + rootfs + "/sys ro,", "/more" + rootfs + "/data" + rootfs + "/proc rw,"} {
		if !strings.Contains("\n"+want, "\n"+line) {
			t.Errorf("no %q in\n%s", line, want)
		}
	}
	img := r.dir + "/img"
	before := c.save(img)
	c.goesOn(img, before)
	if have := c.inside(look); have != "kept\n"+want {
		t.Errorf("the container saw\n%s\nand sees\n%s", want, have)
	}
}

// What `runh spec` proposes: a cgroup namespace, a root that is read-only. And a user namespace on top.
func TestCriuSpec(t *testing.T) {
	for _, users := range []bool{false, true} {
		t.Run(map[bool]string{false: "root", true: "user namespace"}[users], func(t *testing.T) {
			r := newCriu(t)
			if r == nil {
				return
			}
			c := r.counter()
			cgroup := c.spec.Linux.CgroupsPath
			r.must(os.Remove(c.dir + "/config.json"))
			r.do("spec", "--bundle", c.dir).ok()
			c.spec = new(specs.Spec)
			r.must(json.Unmarshal([]byte(rtRead(t, c.dir+"/config.json")), c.spec))
			c.spec.Process.Terminal, c.spec.Process.Args, c.spec.Linux.CgroupsPath = false, []string{"sh", "-c", counting}, cgroup
			if users {
				c.spec.Linux.Namespaces = append(c.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
				ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
				c.spec.Linux.UIDMappings, c.spec.Linux.GIDMappings = ids, ids
				r.must(os.Chmod(r.dir, 0o755))
				r.must(exec.Command("chown", "-R", "100000:100000", c.rootfs()).Run())
			}
			c.write()
			c.create().start()
			c.counts(3)
			look := "cat /proc/1/cgroup /proc/self/uid_map; ls /sys/fs/cgroup | head -n 3; touch /x 2>&1; awk '{ print $5, $6, $7 }' /proc/1/mountinfo | tr -d 0-9 | sort; echo >/dev/null"
			want := c.inside(look)
			before := c.save(r.dir + "/img")
			if users {
				c.launch("restore", "--detach", "--image-path", r.dir+"/img").fails("who may not: chmod o+x " + r.dir + "/img")
				r.must(os.Chmod(r.dir+"/img", 0o711))
			}
			c.goesOn(r.dir+"/img", before)
			if have := c.inside(look); have != want {
				t.Errorf("it saw\n%s\nand sees\n%s", want, have)
			}
		})
	}
}

// A network of the container's own comes back empty but for the loopback, and is for the hooks to fill; connections in it last.
func TestCriuNetwork(t *testing.T) {
	r := newCriu(t)
	if r == nil {
		return
	}
	c := r.sh("sleep 1000 | nc -l -p 700 & sleep 0.5; ("+counting+") | nc 127.0.0.1 700", fewMounts, func(s *specs.Spec) {
		s.Linux.Sysctl = map[string]string{"net.ipv4.ip_default_ttl": "77", "kernel.shmmni": "1000"}
		for _, kind := range hookKinds {
			if kind != "startContainer" {
				setHook(s, kind, shHook(fmt.Sprintf(`echo %s $(grep -o '"status":"[a-z]*"') >>%s/order`, kind, r.dir)))
			}
		}
	}).create().start()
	c.counts(3)
	img := r.dir + "/img"
	r.do("checkpoint", "--image-path", img, c.id).fails("criu dump: ")
	c.wantStatus("running")
	c.counts(3)
	before := c.save(img, "--tcp-established")
	r.must(os.WriteFile(r.dir+"/order", nil, 0o644))
	c.goesOn(img, before, "--tcp-established")
	if out := c.inside("cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/shmmni; ip link show lo | grep -o LOOPBACK,UP"); out != "77\n1000\nLOOPBACK,UP\n" {
		t.Errorf("sysctls and loopback: %q", out)
	}
	r.do("delete", "--force", c.id).ok()
	want := "prestart \"status\":\"created\"\ncreateRuntime \"status\":\"created\"\npoststart \"status\":\"running\"\npoststop \"status\":\"stopped\"\n"
	if order := rtRead(t, r.dir+"/order"); order != want {
		t.Errorf("hooks:\n%swant:\n%s", order, want)
	}
	// One that fails ends the restore, and poststop ones follow.
	setHook(c.spec, "createRuntime", shHook("echo no; exit 3"))
	c.write()
	r.do("restore", "--detach", "--image-path", img, "--bundle", c.dir, "--tcp-established", c.id).fails("error running createRuntime hook #1: /bin/sh: exit status 3")
	if order := rtRead(t, r.dir+"/order"); !strings.HasSuffix(order, "createRuntime \"status\":\"created\"\npoststop \"status\":\"stopped\"\n") {
		t.Errorf("hooks after one that failed:\n%s", order)
	}
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// A pod: network, ipc and uts are another container's, and another pod's at restore.
func TestCriuPod(t *testing.T) {
	r := newCriu(t)
	if r == nil {
		return
	}
	pod := func(name string) *ctr {
		// It reaps: a number that is in use, be it by a zombie's process group, cannot be had again.
		return r.sh("sleep 1000 & wait", fewMounts, func(s *specs.Spec) { s.Hostname = name }).create().start()
	}
	one, two := pod("one"), pod("two")
	join := func(c *ctr, pod *ctr) {
		for i, ns := range c.spec.Linux.Namespaces {
			if file := map[specs.LinuxNamespaceType]string{specs.NetworkNamespace: "net", specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts", specs.PIDNamespace: "pid"}[ns.Type]; file != "" {
				c.spec.Linux.Namespaces[i].Path = pidNS(pod.pid, file)
			}
		}
		c.spec.Hostname = ""
		c.write()
	}
	c := r.counter(fewMounts)
	join(c, one)
	c.create().start()
	c.counts(3)
	img := r.dir + "/img"
	before := c.save(img)
	if err := loopbackWorks(one.pid); err != nil {
		t.Errorf("the network that the saved container has left: %v", err)
	}
	c.goesOn(img, before)
	r.do("delete", "--force", c.id).ok()
	c.wait()
	join(c, two)
	c.goesOn(img, before)
	for _, ns := range []string{"net", "ipc", "uts", "pid"} {
		want, _ := os.Readlink(pidNS(two.pid, ns))
		if have, _ := os.Readlink(pidNS(c.pid, ns)); have != want {
			t.Errorf("%s namespace %s, want the pod's, %s", ns, have, want)
		}
	}
	if err := loopbackWorks(two.pid); err != nil {
		t.Errorf("the network of the restored container: %v", err)
	}
	c.spec.Linux.Namespaces = append(c.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace, Path: pidNS(one.pid, "cgroup")})
	c.write()
	r.do("delete", "--force", c.id).ok()
	c.wait()
	r.do("restore", "--detach", "--image-path", img, "--bundle", c.dir, c.id).fails(`namespace "cgroup": criu joins no other`)
}

// loopbackWorks connects to itself in a process's network.
func loopbackWorks(pid int) error {
	ns, err := os.Open(pidNS(pid, "net"))
	if err != nil {
		return err
	}
	defer ns.Close()
	return inNetwork(int(ns.Fd()), func() error {
		l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(l)
		at := &unix.SockaddrInet4{Port: 701, Addr: [4]byte{127, 0, 0, 1}}
		if err := unix.Bind(l, at); err != nil {
			return err
		}
		if err := unix.Listen(l, 1); err != nil {
			return err
		}
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 5})
		return unix.Connect(s, at)
	})
}

func TestCriuFailures(t *testing.T) {
	r := newCriu(t)
	if r == nil {
		return
	}
	c := r.counter(fewMounts)
	img := r.dir + "/img"
	c.create()
	r.do("checkpoint", "--image-path", img, c.id).fails("has not been started")
	c.start()
	c.counts(1)
	for flags, want := range map[string]string{
		"--page-server nowhere":          "--page-server",
		"--page-server 127.0.0.1:x":      `"x" is not the number of a port`,
		"--lazy-pages --page-server h:1": `"h" is not an IP address`,
		"--status-fd x":                  `"x" is not the number of a descriptor`,
		"--empty-ns uts":                 `"uts" is not one of network`,
		"--manage-cgroups-mode nonsense": `"nonsense" is not one of`,
		"--parent-path ../nosuch":        `--parent-path "../nosuch": stat `,
		"--parent-path /tmp":             `--parent-path "/tmp": must be relative`,
		"--parent-path ../img/file":      `--parent-path "../img/file": `,
	} {
		r.do(append(append([]string{"checkpoint", "--image-path", r.dir + "/x"}, strings.Fields(flags)...), c.id)...).fails(want)
		c.wantStatus("running")
	}
	// Into a directory that holds one: through a link, beside a file that is not criu's, and once without success.
	link := r.dir + "/link"
	r.must(os.Symlink("img", link))
	c.dump(img, "--leave-running")
	r.must(os.WriteFile(img+"/note", []byte("mine"), 0o600))
	r.must(os.WriteFile(img+"/core-99.img", nil, 0o600))
	r.do("checkpoint", "--image-path", link, "--page-server", "127.0.0.1:1", c.id).fails("criu dump: ")
	if _, err := os.Stat(img + "/core-99.img"); err != nil {
		t.Errorf("the old checkpoint, after a dump that has failed: %v", err)
	}
	c.wantStatus("running")
	c.save(link)
	if names := strings.Join(rtNames(t, img), " "); strings.Contains(names, "core-99.img") || !strings.Contains(names, "core-1.img") || rtRead(t, img+"/note") != "mine" {
		t.Errorf("the new checkpoint has %s", names)
	}
	if to, err := os.Readlink(link); err != nil || to != "img" || len(mustGlob(t, img+".*")) != 0 {
		t.Errorf("the link leads to %q, %v; beside it %q", to, err, mustGlob(t, img+".*"))
	}
	restore := []string{"restore", "--detach", "--bundle", c.dir, "--image-path", img, "--work-path", r.dir + "/logs", c.id}
	for _, damage := range []struct{ file, content, want string }{
		{"inventory.img", "nonsense", ", see " + r.dir + "/logs/restore.log"},
		{"core-1.img", "", ", see " + r.dir + "/logs/restore.log"},
		{"pstree.img", "nonsense", ", see " + r.dir + "/logs/restore.log"},
		{"mm-1.img", "", ", see " + r.dir + "/logs/restore.log"},
		{"runh.json", "{", "runh.json: "},
		{"cgroup.img", "nonsense", ", see " + r.dir + "/logs/restore.log"},
	} {
		whole := rtRead(t, img+"/"+damage.file)
		r.must(os.WriteFile(img+"/"+damage.file, []byte(damage.content), 0o600))
		r.do(restore...).fails(damage.want)
		if left := r.leftovers(); len(left) != 0 {
			t.Errorf("%s: left behind: %q", damage.file, left)
		}
		r.must(os.WriteFile(img+"/"+damage.file, []byte(whole), 0o600))
	}
	r.do(append([]string{"restore", "--detach", "--bundle", c.dir, "--image-path", r.dir}, c.id)...).fails("holds no checkpoint")
	// Killed half-way, restore leaves what delete --force removes, and criu undoes the rest.
	setHook(c.spec, "createRuntime", shHook("kill -9 $PPID"))
	c.write()
	if res := r.do(restore...); res.code != 137 {
		t.Errorf("exit code %d of a restore that was killed; %q", res.code, res.err)
	}
	r.do("delete", "--force", c.id).ok()
	r.eventually("nothing is left", func() bool { return len(r.leftovers()) == 0 })
	c.spec.Hooks = nil
	c.write()
	mounts := rtMounts()
	c.bringBack(img)
	c.counts(1)
	if rtMounts() != mounts {
		t.Error("the host's mounts have changed")
	}
	if yards, _ := filepath.Glob(c.dir + "/.criu*"); len(yards) != 0 {
		t.Errorf("left behind: %q", yards)
	}
}

// A dump that fails leaves the checkpoint that was there before, whatever criu has written.
func TestCriuKeepsOld(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc's criu writes over the old images")
	c := r.counter().create().start()
	c.counts(1)
	img, logs := r.dir+"/img", r.dir+"/logs"
	r.must(os.Mkdir(img, 0o751))
	r.must(os.WriteFile(img+"/inventory.img", []byte("old"), 0o600))
	// In the place of criu: it spoils all files of the directory that it is given, and fails.
	r.must(os.WriteFile(r.dir+"/criu", []byte(`#!/bin/sh
for d in /proc/$PPID/fd/*; do case $(readlink $d) in
`+logs+`) ;;
`+r.dir+`/*) if [ -d $d/ ]; then echo new >$d/inventory.img; echo new >$d/pages-1.img; stat -Lc %a $d/ >`+r.dir+`/mode; fi ;;
esac; done
echo Sorry; exit 3`), 0o755))
	r.global = []string{"--criu", r.dir + "/criu"}
	r.do("checkpoint", "--image-path", img, "--work-path", logs, c.id).fails("Sorry")
	if mode := strings.TrimSpace(rtRead(t, r.dir+"/mode")); mode != "751" {
		t.Errorf("criu's directory has mode %s, want the old one's", mode)
	}
	if got := rtRead(t, img+"/inventory.img"); got != "old" {
		t.Errorf("the old checkpoint's file says %q", got)
	}
	if names := rtNames(t, img); len(names) != 1 {
		t.Errorf("the old checkpoint has %q", names)
	}
	if left := mustGlob(t, img+".*"); len(left) != 0 {
		t.Errorf("left %q", left)
	}
	c.wantStatus("running")
}

// Without criu, or with one that does not answer: whatever the kernel.
func TestCriuAbsent(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("the error messages are runh's")
	c := r.counter().create().start()
	c.counts(1)
	img := r.dir + "/img"
	r.must(os.Mkdir(img, 0o755))
	for name, want := range map[string]string{"inventory.img": "", "runh.json": `{"stdio":[],"mounts":[]}`} {
		r.must(os.WriteFile(img+"/"+name, []byte(want), 0o600))
	}
	d := r.counter()
	for program, want := range map[string]string{
		"":                              "criu: fork/exec " + r.dir + "/criu: no such file",
		"#!/bin/sh\necho Sorry; exit 3": "Sorry, see " + img,
		"#!/bin/sh\nexit 3":             "exit status 3, see " + img,
		"#!/bin/cat":                    "see " + img,
	} {
		os.Remove(r.dir + "/criu")
		if program != "" {
			r.must(os.WriteFile(r.dir+"/criu", []byte(program), 0o755))
		}
		r.global = []string{"--criu", r.dir + "/criu"}
		r.do("checkpoint", "--image-path", img, c.id).fails(want)
		c.wantStatus("running")
		r.do("restore", "--detach", "--bundle", d.dir, "--image-path", img, d.id).fails(want)
		r.do("state", d.id).fails("does not exist")
	}
}
