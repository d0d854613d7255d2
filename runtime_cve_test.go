// Known attacks on container runtimes, replayed: a hostile image or volume, and what of the host must not change. Each test is
// named after the first report of its mechanism; SECURITY.md says what stands against it. Debian 12's runc 1.1.5 fails
// TestCVE_2021_30465, TestCVE_2025_31133, TestCVE_2026_41579 and TestHostileRootfs: they can tell.

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// victim is a directory of the host that must be the same when the test ends: names, contents, modes, owners, times of change.
func (r *rt) victim() string {
	r.Helper()
	r.works()
	dir := filepath.Join(r.dir, "victim")
	r.must(os.Mkdir(dir, 0o755))
	for _, f := range []string{"file", "null", "console", "ptmx", "core"} {
		r.must(os.WriteFile(filepath.Join(dir, f), []byte("of the host\n"), 0o600))
	}
	before := snapshot(r, dir)
	r.Cleanup(func() {
		if after := snapshot(r, dir); after != before {
			r.Errorf("the host's directory changed from\n%s\nto\n%s", before, after)
		}
	})
	return dir
}

// works runs a harmless container: a runtime that refuses everything withstands every attack, too, and shows nothing.
func (r *rt) works() {
	r.Helper()
	if out := r.sh("echo works").output(); out != "works\n" {
		r.Fatalf("%q", out)
	}
}

func snapshot(r *rt, dir string) string {
	var b strings.Builder
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err.Error()
	}
	for _, e := range append(entries, nil) {
		name := "."
		if e != nil {
			name = e.Name()
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(filepath.Join(dir, name), &st); err != nil {
			r.Error(err)
		}
		text := ""
		if st.Mode&syscall.S_IFMT == syscall.S_IFREG {
			text = rtReadOr(filepath.Join(dir, name))
		}
		fmt.Fprintf(&b, "%s %o %d:%d %x %d.%d %q\n", name, st.Mode, st.Uid, st.Gid, st.Rdev, st.Ctim.Sec, st.Ctim.Nsec, text)
	}
	return b.String()
}

// rootfsLink replaces a directory of the image by a link.
func (c *ctr) rootfsLink(name, to string) {
	c.r.Helper()
	c.r.must(os.RemoveAll(filepath.Join(c.rootfs(), name)))
	c.r.must(os.Symlink(to, filepath.Join(c.rootfs(), name)))
}

func dropMount(s *specs.Spec, prefix string) {
	var keep []specs.Mount
	for _, m := range s.Mounts {
		if m.Destination != prefix && !strings.HasPrefix(m.Destination, prefix+"/") {
			keep = append(keep, m)
		}
	}
	s.Mounts = keep
}

// CVE-2019-5736: a container whose program is /proc/self/exe, or whose interpreter that is, must not get hold of the runtime's
// binary; neither by a descriptor, nor by running it, nor by opening it for writing.
func TestCVE_2019_5736(t *testing.T) {
	r := newRT(t)
	before, err := os.ReadFile(r.bin)
	r.must(err)
	c := r.bundle([]string{"/proc/self/exe", "--version"})
	if res := c.run(); strings.Contains(res.out, " version ") {
		t.Errorf("the container ran the runtime's binary: %q", res.out)
	}
	d := r.bundle([]string{"/bin/script"})
	r.must(os.WriteFile(d.rootfs()+"/bin/script", []byte("#!/proc/self/exe --version\n"), 0o755))
	if res := d.run(); strings.Contains(res.out, " version ") {
		t.Errorf("the container ran the runtime's binary as an interpreter: %q", res.out)
	}
	// While init waits, and while a second container joins the first one's pid namespace, its exe is not writable from inside.
	a := r.sh(`while :; do for p in /proc/[0-9]*; do (: >>$p/exe) 2>/dev/null && readlink $p/exe; done; done`).create().start()
	for range 3 {
		b := r.bundle([]string{"true"}, joinNS(specs.PIDNamespace, pidNS(a.pid, "pid"))).create()
		f, err := os.OpenFile(fmt.Sprintf("/proc/%d/exe", b.pid), os.O_RDWR, 0)
		if err == nil {
			f.Close()
			t.Error("the waiting init's exe can be opened for writing")
		}
		b.start()
		if code := b.wait(); code != 0 {
			t.Errorf("exit code %d: %s", code, b.err.String())
		}
		r.do("delete", b.id).ok()
	}
	r.do("delete", "--force", a.id).ok()
	for _, l := range strings.Fields(a.out.String()) {
		if l != "/bin/busybox" {
			t.Errorf("the container could write to %s", l)
		}
	}
	if after, _ := os.ReadFile(r.bin); !bytes.Equal(before, after) {
		t.Fatal("the runtime's binary has changed")
	}
}

// CVE-2019-16884: a volume in the place of /proc, or of a file in it, would take what the runtime writes there.
func TestCVE_2019_16884(t *testing.T) {
	r := newRT(t)
	dir := filepath.Join(r.dir, "fake")
	r.must(os.MkdirAll(dir+"/self/attr", 0o755))
	r.must(os.WriteFile(dir+"/self/attr/exec", nil, 0o666))
	for _, m := range []specs.Mount{
		bindAt(dir, "/proc", "bind"), tmpfsAt("/proc"), tmpfsAt("/proc/self"), tmpfsAt("/proc/self/attr"),
		bindAt(dir, "/proc/self", "rbind"), tmpfsAt("/tmp/../proc"), tmpfsAt("/tmp/../proc/self"), tmpfsAt("/proc/sys"), tmpfsAt("/proc/1"),
	} {
		c := r.sh("true", addMount(m))
		if res := c.tryCreate(); res.code == 0 {
			if r.isRunh() || m.Destination != "/proc/self/attr" { // which runc 1.1 takes
				t.Errorf("create took a mount of %s on %s", m.Type, m.Destination)
			}
			r.do("delete", "--force", c.id).ok()
		}
	}
	// What lxcfs does stays possible.
	r.must(os.WriteFile(dir+"/uptime", []byte("1.00 2.00\n"), 0o644))
	if out := r.sh("cat /proc/uptime", addMount(bindAt(dir+"/uptime", "/proc/uptime", "bind", "ro"))).output(); out != "1.00 2.00\n" {
		t.Errorf("a file over /proc/uptime: %q", out)
	}
}

// CVE-2019-19921, 2019-18837, 2023-27561, 2023-28642: /proc or /sys of the image is a link, or comes as one from a volume.
func TestCVE_2019_19921(t *testing.T) {
	r := newRT(t)
	victim := r.victim()
	before := rtMountsBut(r)
	for _, x := range []struct{ name, to string }{
		{"proc", "/etc"}, {"proc", "../../../../.." + victim}, {"proc", "tmp/proc"}, {"sys", "../../../../.." + victim}, {"sys", "/tmp"}, {"proc", "nosuch"},
	} {
		c := r.sh("cat /proc/self/status | head -1")
		c.rootfsLink(x.name, x.to)
		if res := c.tryCreate(); res.code == 0 {
			t.Errorf("create took an image whose /%s is a link to %s", x.name, x.to)
			r.do("delete", "--force", c.id).ok()
		}
	}
	// A volume mounted before brings the link.
	vol := filepath.Join(r.dir, "vol")
	r.must(os.Mkdir(vol, 0o755))
	r.must(os.Symlink("../../../../../.."+victim, vol+"/proc"))
	c := r.sh("true", func(s *specs.Spec) {
		s.Mounts = append([]specs.Mount{bindAt(vol, "/v", "bind"), {Destination: "/v/proc", Type: "proc", Source: "proc"}}, s.Mounts...)
	})
	if res := c.tryCreate(); res.code == 0 {
		r.do("delete", "--force", c.id).ok() // inside the root it may be followed; the host's mounts tell
	}
	if after := rtMountsBut(r); after != before {
		t.Errorf("the host's mounts changed:\n%s\nto\n%s", before, after)
	}
}

// swapper turns path from a directory into a link to where, and back, as fast as it can: the attacker's half of a race.
func swapper(r *rt, path, where string) (stop func()) {
	r.Helper()
	r.must(os.MkdirAll(path, 0o755))
	r.must(os.Symlink(where, path+".link"))
	quit, done := make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			default:
			}
			unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, path+".link", unix.RENAME_EXCHANGE)
			time.Sleep(20 * time.Microsecond)
		}
	}()
	return func() { close(quit); <-done }
}

// CVE-2021-30465 and CVE-2024-45310: a volume shared with a hostile container changes under the runtime's feet, while it makes and
// mounts targets in it. Nothing may be mounted, made or seen outside.
func TestCVE_2021_30465(t *testing.T) {
	r := newRT(t)
	victim := r.victim()
	vol := filepath.Join(r.dir, "vol")
	r.must(os.MkdirAll(vol, 0o755))
	r.must(os.MkdirAll(r.dir+"/src", 0o755))
	r.must(os.WriteFile(r.dir+"/src/mine", []byte("mine\n"), 0o644))
	stop := swapper(r, vol+"/a", "../../../../../../../../.."+victim)
	defer stop()
	before := rtMountsBut(r)
	c := r.sh("cat /v/a/b/mine /v/a/file /v/a/c/d; ls /v/a", addMount(
		bindAt(vol, "/v", "bind"), bindAt(r.dir+"/src", "/v/a/b", "bind"), tmpfsAt("/v/a/made/deep"),
		bindAt(r.dir+"/src/mine", "/v/a/c/d", "bind"),
	))
	limit := time.Now().Add(8 * time.Second)
	tries, ran := 0, 0
	for ; tries < 60 && time.Now().Before(limit); tries++ {
		res := c.run()
		if strings.Contains(res.out, "of the host") {
			t.Fatalf("the container saw the host's file: %q", res.out)
		}
		if res.code == 0 || strings.Contains(res.out, "mine") {
			ran++
		}
		if after := rtMountsBut(r); after != before {
			t.Fatalf("the host's mounts changed:\n%s\nto\n%s", before, after)
		}
	}
	if ran == 0 {
		t.Errorf("none of %d containers ran", tries)
	}
}

// CVE-2024-21626: no descriptor of the host reaches the container, and no working directory leads out through one.
func TestCVE_2024_21626(t *testing.T) {
	r := newRT(t)
	r.works()
	dir, err := os.Open("/")
	r.must(err)
	defer dir.Close()
	var root syscall.Stat_t
	r.must(syscall.Stat("/", &root))
	outside := fmt.Sprintf("%d", root.Ino)
	for fd := 3; fd < 24; fd++ {
		c := r.sh("stat -c %i . .. ; pwd -P; ls -d etc/debian_version root/.bashrc 2>/dev/null; true", func(s *specs.Spec) { s.Process.Cwd = fmt.Sprintf("/proc/self/fd/%d", fd) })
		cmd := r.cmd("run", "--bundle", c.dir, c.id)
		for range 12 {
			cmd.ExtraFiles = append(cmd.ExtraFiles, dir)
		}
		if res := r.doCmd(cmd); strings.Contains(res.out, "debian_version") || strings.HasPrefix(res.out, outside+"\n") {
			t.Errorf("cwd /proc/self/fd/%d led outside: %q", fd, res.out)
		}
	}
	// Also through a link of the image.
	c := r.sh("ls -d etc/debian_version", func(s *specs.Spec) { s.Process.Cwd = "/work" })
	r.must(os.Symlink("/proc/self/fd/7", c.rootfs()+"/work"))
	cmd := r.cmd("run", "--bundle", c.dir, c.id)
	for range 12 {
		cmd.ExtraFiles = append(cmd.ExtraFiles, dir)
	}
	if res := r.doCmd(cmd); strings.Contains(res.out, "debian_version") {
		t.Errorf("a link to a descriptor as cwd led outside: %q", res.out)
	}
}

// CVE-2025-31133: /dev/null of the image is something else; the masks must still be masks.
func TestCVE_2025_31133(t *testing.T) {
	r := newRT(t)
	victim := r.victim()
	for _, to := range []string{"../../../../../../.." + victim + "/null", "/secret", "/nosuch", "zero"} {
		c := r.sh("cat /secret; cat /masked; true", func(s *specs.Spec) {
			dropMount(s, "/dev")
			s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, "/masked")
		})
		for _, f := range []string{"secret", "masked"} {
			r.must(os.WriteFile(filepath.Join(c.rootfs(), f), []byte("data of "+f+"\n"), 0o644))
		}
		r.must(os.Symlink(to, c.rootfs()+"/dev/null"))
		if res := c.run(); strings.Contains(res.out, "data of masked") || strings.Contains(res.out, "of the host") {
			t.Errorf("with /dev/null -> %s the masked file reads %q", to, res.out)
		}
	}
}

// CVE-2025-52565 and crun's CVE-2026-88264: console and pts of the image are links. A tty of ours or a failure, never a host's file.
func TestCVE_2025_52565(t *testing.T) {
	r := newRT(t)
	victim := r.victim()
	for _, x := range []struct{ name, to string }{
		{"console", "../../../../../../.." + victim + "/console"},
		{"ptmx", "../../../../../../.." + victim + "/ptmx"},
		{"pts", "../../../../../../.." + victim},
		{"fd", "../../../../../../.." + victim},
		{"core", "../../../../../../.." + victim + "/core"},
		{"shm", "../../../../../../.." + victim},
	} {
		c := r.sh("echo written >/dev/console; true", func(s *specs.Spec) {
			dropMount(s, "/dev")
			s.Process.Terminal = true
		})
		r.must(os.Symlink(x.to, c.rootfs()+"/dev/"+x.name))
		master, slave := openPty(t)
		cmd := r.cmd("run", "--bundle", c.dir, c.id)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		readSink(t, master, nil)
		r.wait(cmd)
	}
}

// CVE-2026-41579, crun's CVE-2026-47766: /dev of the image leads out; what the runtime makes there and removes must not.
func TestCVE_2026_41579(t *testing.T) {
	for _, mounted := range []bool{false, true} {
		t.Run(fmt.Sprintf("dev mounted %v", mounted), func(t *testing.T) {
			r := newRT(t)
			victim := r.victim()
			for _, to := range []string{"../../../../../../.." + victim, victim} {
				c := r.sh("true", func(s *specs.Spec) {
					if !mounted {
						dropMount(s, "/dev")
					}
				})
				c.rootfsLink("dev", to)
				c.run() // that it works is not asked
			}
		})
	}
}

// crun's CVE-2026-88264 and 88265: without a mount on /dev, null and console of the image are links to files of the host.
func TestCVE_2026_88264(t *testing.T) {
	r := newRT(t)
	victim := r.victim()
	null := r.nullDevice()
	for _, name := range []string{"null", "console", "zero", "tty", "stdin"} {
		c := r.sh("echo x >/dev/null; true", func(s *specs.Spec) {
			dropMount(s, "/dev")
			s.Process.User = specs.User{UID: 1000, GID: 1000}
		})
		r.must(os.Symlink("../../../../../../.."+victim+"/"+name, c.rootfs()+"/dev/"+name))
		cmd := r.cmd("run", "--bundle", c.dir, c.id)
		cmd.Stdin = null
		r.doCmd(cmd)
	}
}

// CVE-2025-52881: what the runtime writes to /proc/sys and /proc/self must get there, though a mount is in the way.
func TestCVE_2025_52881(t *testing.T) {
	r := newRT(t)
	r.works()
	dir := filepath.Join(r.dir, "fake")
	r.must(os.MkdirAll(dir+"/ipv4", 0o755))
	r.must(os.WriteFile(dir+"/ipv4/ip_forward", []byte("fake\n"), 0o666))
	r.must(os.WriteFile(dir+"/ipv4/ip_unprivileged_port_start", []byte("fake\n"), 0o666))
	r.must(os.WriteFile(dir+"/ipv4/ping_group_range", []byte("fake\n"), 0o666))
	for _, m := range []specs.Mount{bindAt(dir, "/proc/sys/net", "bind"), tmpfsAt("/proc/sys/net"), tmpfsAt("/proc/self"), tmpfsAt("/proc/thread-self")} {
		c := r.bundle([]string{"sleep", "1000"}, addMount(m), func(s *specs.Spec) { s.Linux.Sysctl["net.ipv4.ip_forward"] = "1" })
		res := c.tryCreate()
		if res.code != 0 {
			continue
		}
		out, err := exec.Command("nsenter", "-t", fmt.Sprint(c.pid), "-n", "cat", "/proc/sys/net/ipv4/ip_forward").CombinedOutput()
		if err != nil || string(out) != "1\n" {
			t.Errorf("a %s on %s caught the sysctl: it is %q (%v)", m.Type, m.Destination, out, err)
		}
		r.do("delete", "--force", c.id).ok()
	}
	for f, want := range map[string]string{"ip_forward": "fake\n", "ping_group_range": "fake\n"} {
		if got := rtReadOr(dir + "/ipv4/" + f); got != want {
			t.Errorf("the fake %s holds %q", f, got)
		}
	}
}

// CVE-2021-43784: lengths in what the runtime hands to its init. A long path or list is an error or works; it never turns into another.
func TestCVE_2021_43784(t *testing.T) {
	r := newRT(t)
	r.sh("true", func(s *specs.Spec) { s.Linux.Namespaces[1].Path = "/" + strings.Repeat("x", 70_000) }).tryCreate().fails("")
	r.sh("true", addMount(tmpfsAt("/"+strings.Repeat("x", 70_000)))).tryCreate().fails("")
	r.sh("true", func(s *specs.Spec) { s.Root.Path = "/" + strings.Repeat("x", 70_000) }).tryCreate().fails("")
	many := r.sh("echo $LAST; ls /many | wc -l", func(s *specs.Spec) {
		for i := range 3000 {
			s.Process.Env = append(s.Process.Env, fmt.Sprintf("V%d=%s", i, strings.Repeat("y", 100)))
		}
		s.Process.Env = append(s.Process.Env, "LAST=last")
		for i := range 150 {
			s.Mounts = append(s.Mounts, tmpfsAt(fmt.Sprintf("/many/%d", i)))
		}
	})
	if out := many.output(); out != "last\n150\n" {
		t.Errorf("%q", out)
	}
	for _, n := range []int{130_000, 140_000} { // one string's limit is 128 KiB
		c := r.bundle([]string{"sh", "-c", "echo ${#A}"}, func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, "A="+strings.Repeat("z", n)) })
		res := c.run()
		if n == 130_000 && res.out != "130000\n" {
			t.Errorf("a variable of %d bytes: exit code %d, %q, %q", n, res.code, res.out, res.err)
		}
		if n == 140_000 && (res.code == 0 || !strings.Contains(res.err, "too long")) && r.isRunh() {
			t.Errorf("a variable of %d bytes: exit code %d, %q", n, res.code, res.err)
		}
	}
}

// CVE-2022-29162 and its kin: nothing is inheritable that the config does not name.
func TestCVE_2022_29162(t *testing.T) {
	r := newRT(t)
	if out := r.sh("grep -E '^Cap(Inh|Amb)' /proc/self/status | tr -d '\\t'").output(); out != "CapInh:0000000000000000\nCapAmb:0000000000000000\n" {
		t.Errorf("%q", out)
	}
}

// CVE-2016-9962: while init waits it holds nothing of the host's, and another process of the container cannot trace it.
func TestCVE_2016_9962(t *testing.T) {
	r := newRT(t)
	a := r.sh("echo ready; read x; for p in /proc/[0-9]*; do [ $p = /proc/1 ] || [ $p = /proc/$$ ] || ls -l $p/fd 2>&1; done; read x").create().start()
	a.out.until("ready")
	b := r.bundle([]string{"sleep", "1000"}, joinNS(specs.PIDNamespace, pidNS(a.pid, "pid"))).create()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", b.pid))
	r.must(err)
	for _, f := range fds {
		to, _ := os.Readlink(f)
		if strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "/memfd:") && to != "/" {
			var st unix.Statfs_t
			if unix.Statfs(f, &st) == nil && r.isRunh() {
				t.Errorf("the waiting init holds %s", to)
			}
		}
	}
	a.stdin.WriteString("look\n")
	r.do("delete", "--force", b.id).ok()
	b.wait() // a pid namespace ends when its last process is collected
	a.stdin.WriteString("end\n")
	r.do("delete", "--force", a.id).ok()
	if out := a.out.all(rtLimit); strings.Contains(out, r.dir) {
		t.Errorf("the container saw %q", out)
	}
}

// Whatever runh writes beneath a hostile root (mount points, devices, the working directory) stays there, also where a file of
// the image is in its way.
func TestHostileRootfs(t *testing.T) {
	r := newRT(t)
	victim := r.victim()
	up := "../../../../../../../.." + victim
	for _, x := range []struct {
		name  string
		spoil func(c *ctr)
	}{
		{"cwd through a link", func(c *ctr) { c.rootfsLink("work", up); c.spec.Process.Cwd = "/work/new/dir" }},
		{"mount point through a link", func(c *ctr) {
			c.rootfsLink("l", up)
			c.spec.Mounts = append(c.spec.Mounts, tmpfsAt("/l/new"), bindAt("/etc/hostname", "/l/newfile", "bind"))
		}},
		{"device through a link", func(c *ctr) {
			c.rootfsLink("l", up)
			c.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/l/file", Type: "c", Major: 1, Minor: 3}, {Path: "/l/newdev", Type: "c", Major: 1, Minor: 3}}
		}},
		{"mask through a link", func(c *ctr) {
			c.rootfsLink("l", up)
			c.spec.Linux.MaskedPaths, c.spec.Linux.ReadonlyPaths = []string{"/l/file", "/l"}, []string{"/l"}
		}},
		{"program through a link", func(c *ctr) { c.rootfsLink("prog", up+"/file"); c.spec.Process.Args = []string{"/prog"} }},
		{"passwd is a link", func(c *ctr) { c.rootfsLink("etc/passwd", up+"/file") }},
		{"passwd is a fifo", func(c *ctr) {
			os.Remove(c.rootfs() + "/etc/passwd")
			c.r.must(unix.Mkfifo(c.rootfs()+"/etc/passwd", 0o644))
		}},
		{"program is a fifo", func(c *ctr) {
			c.r.must(unix.Mkfifo(c.rootfs()+"/fifo", 0o755))
			c.spec.Process.Args = []string{"/fifo"}
		}},
		{"a loop of links", func(c *ctr) {
			c.rootfsLink("loop", "loop")
			c.spec.Mounts = append(c.spec.Mounts, tmpfsAt("/loop/x"))
		}},
		{"sys and proc are files", func(c *ctr) {
			os.Remove(c.rootfs() + "/sys")
			c.r.must(os.WriteFile(c.rootfs()+"/sys", nil, 0o644))
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			begin := time.Now()
			c := r.sh("true")
			x.spoil(c)
			c.write()
			c.run() // fails or stays inside: the victim tells
			if d := time.Since(begin); d > 10*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}
