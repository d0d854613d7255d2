// Files of the container in the guest, with the stand-in's virtio-fs client and the host's virtiofsd (or another: TestHermitOtherEnvironments): what it sees and may write, what a
// hostile image or guest reaches, how virtiofsd is confined, and how it ends.

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

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func newShare(t *testing.T) *rt {
	t.Helper()
	needs(t, rtVirtiofsd() != nil, "virtiofsd")
	return newHermit(t)
}

// shared asks for the rootfs; the volumes come by themselves.
func shared(s *specs.Spec) {
	s.Annotations = map[string]string{annotationPrefix + "share": "rootfs"}
}

func volumeAt(source, dest, options string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: dest, Type: "bind", Source: source, Options: strings.Split(options, ",")})
	}
}

// volumePath is where the guest has a volume: at its own path where virtiofsd is the one that Hermit's kernels can use it with.
func volumePath(p string) string {
	if rtVirtiofsd().Rust {
		return p
	}
	return "/root" + p
}

func TestShareRootfs(t *testing.T) {
	for _, image := range []string{"app", "app-pci", "app-old"} {
		t.Run(image, func(t *testing.T) {
			r := newShare(t)
			c := r.guest(image, []string{"cat", "/root/etc/file", ";", "write", "/root/etc/new", "of", "the guest", ";", "mkdir", "/root/dir", ";", "rm", "/root/etc/old", ";", "stat", "/root/etc/file", ";", "ls", "/root/proc"}, shared)
			r.must(os.MkdirAll(c.rootfs()+"/etc", 0o755))
			r.must(os.WriteFile(c.rootfs()+"/etc/file", []byte("of the image\n"), 0o600))
			r.must(os.Chown(c.rootfs()+"/etc/file", 1000, 1001))
			r.must(os.WriteFile(c.rootfs()+"/etc/old", nil, 0o600))
			res := c.run()
			want := "of the image\n/root/etc/file mode=100600 size=13 uid=1000 gid=1001\n.\n..\n"
			if got, _, _ := strings.Cut(res.out, "Number of interrupts"); res.code != 0 || got != want {
				t.Errorf("exit code %d, stdout %q, want %q; stderr %q", res.code, res.out, want, res.err)
			}
			if got := rtRead(t, c.rootfs()+"/etc/new"); got != "of the guest\n" {
				t.Errorf("the guest's file holds %q", got)
			}
			if _, err := os.Stat(c.rootfs() + "/dir"); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(c.rootfs() + "/etc/old"); err == nil {
				t.Error("what the guest removed is there")
			}
			if left := r.leftovers(); len(left) != 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func TestShareVolumes(t *testing.T) {
	r := newShare(t)
	dir := t.TempDir()
	r.must(os.Mkdir(dir+"/sub", 0o755))
	r.must(os.WriteFile(dir+"/file", []byte("of the volume\n"), 0o644))
	r.must(os.WriteFile(dir+"/sub/inner", []byte("inside\n"), 0o644))
	data, ro, app := volumePath("/data"), volumePath("/ro"), volumePath("/hermit")
	c := r.guest("app", []string{
		"cat", data + "/file", ";", "cat", data + "/sub/inner", ";", "write", data + "/new", "x", ";", "cat", ro + "/deep/file", ";",
		"write", ro + "/deep/no", "x", ";", "rm", ro + "/deep/file", ";", "ls", app + "/", ";", "write", volumePath("/ro/beside"), "x",
	}, volumeAt(dir, "/data", "rbind,rw"), volumeAt(dir, "/ro/deep", "rbind,ro"), volumeAt(dir+"/file", "/etc/hosts", "bind"))
	res := c.run()
	want := "of the volume\ninside\nof the volume\n" +
		"write " + ro + "/deep/no: errno 30\nrm " + ro + "/deep/file: errno 30\n" + // EROFS
		"ls " + app + "/: errno 2\n" + // the image is not shared
		"write " + ro + "/beside: errno 30\n" + rtLastWords(1)
	if res.code != 1 || res.out != want {
		t.Errorf("exit code %d, stdout\n%swant\n%s", res.code, res.out, want)
	}
	if got := rtRead(t, dir+"/new"); got != "x\n" {
		t.Errorf("the guest's file in the volume holds %q", got)
	}
	// Not asked for, and with nothing but the engine's own mounts: no virtiofsd.
	c = r.guest("app", []string{"devices"}, volumeAt(dir+"/file", "/etc/hosts", "bind"))
	if res := c.run(); res.code != 0 || strings.Contains(res.out, "id=26") {
		t.Errorf("without volumes: exit code %d, %q", res.code, res.out)
	}
	c = r.guest("app", []string{"devices"}, volumeAt(dir, "/data", "rbind"), func(s *specs.Spec) {
		s.Annotations = map[string]string{annotationPrefix + "share": "none"}
	})
	if res := c.run(); res.code != 0 || strings.Contains(res.out, "id=26") {
		t.Errorf("share = none: exit code %d, %q", res.code, res.out)
	}
}

// Secrets and ConfigMaps as the kubelet mounts them: each file is a link through another link. docs/kubernetes.md has the names for kernels that open no link.
func TestShareVolumesOfKubelet(t *testing.T) {
	r := newShare(t)
	dir := t.TempDir()
	r.must(os.Mkdir(dir+"/..2026_11_28", 0o755))
	r.must(os.WriteFile(dir+"/..2026_11_28/password", []byte("of the secret\n"), 0o644))
	r.must(os.Symlink("..2026_11_28", dir+"/..data"))
	r.must(os.Symlink("..data/password", dir+"/password"))
	whole, one := volumePath("/secret"), volumePath("/one")
	res := r.guest("app", []string{"cat", whole + "/..data/password", ";", "cat", one + "/password"},
		volumeAt(dir, "/secret", "rbind,ro"), volumeAt(dir+"/..data/password", "/one/password", "rbind,ro")).run()
	if got, _, _ := strings.Cut(res.out, "Number of interrupts"); res.code != 0 || got != "of the secret\nof the secret\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
	}
}

func TestShareReadOnly(t *testing.T) {
	r := newShare(t)
	c := r.guest("app", []string{"write", "/root/new", "x", ";", "cat", "/root/secret/file", ";", "cat", "/root/masked", ";", "write", "/root/kept/x", "y"}, shared, func(s *specs.Spec) {
		s.Root.Readonly = true
		s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, "/secret", "/masked")
		s.Linux.ReadonlyPaths = append(s.Linux.ReadonlyPaths, "/kept")
	})
	for _, d := range []string{"/secret", "/kept"} {
		r.must(os.Mkdir(c.rootfs()+d, 0o755))
	}
	r.must(os.WriteFile(c.rootfs()+"/secret/file", []byte("secret\n"), 0o644))
	r.must(os.WriteFile(c.rootfs()+"/masked", []byte("secret\n"), 0o644))
	res := c.run()
	// The mask of a file is a device node, which does not open here: not even to read nothing.
	if strings.Contains(res.out, "secret\n") || !strings.HasPrefix(res.out, "write /root/new: errno 30\ncat /root/secret/file: errno 2\n") || !strings.Contains(res.out, "write /root/kept/x: errno 30\n") {
		t.Errorf("exit code %d, %q", res.code, res.out)
	}
}

// Ids are those of the container's user namespace, where its root is an ordinary user of the host.
func TestShareUsers(t *testing.T) {
	r := newShare(t)
	dir := t.TempDir()
	r.must(os.WriteFile(dir+"/file", []byte("of user 5\n"), 0o600))
	r.must(os.Chown(dir+"/file", 100005, 100006))
	r.must(os.Chown(dir, 100000, 100000))
	r.must(os.Chmod(filepath.Dir(dir), 0o755))
	data := volumePath("/data")
	c := r.guest("app", []string{"stat", data + "/file", ";", "cat", data + "/file", ";", "write", data + "/new", "x"}, volumeAt(dir, "/data", "rbind")).guestUsers(65536)
	if res := c.run(); res.code != 0 || res.out != data+"/file mode=100600 size=10 uid=5 gid=6\nof user 5\n"+rtLastWords(0) {
		t.Errorf("exit code %d, %q, %q", res.code, res.out, res.err)
	}
	if fi, err := os.Stat(dir + "/new"); err != nil || fi.Sys().(*syscall.Stat_t).Uid != 100000 {
		t.Errorf("the guest's file: %v, %v", fi, err)
	}
}

// What a hostile image puts into the share, and what a hostile guest asks for, leads nowhere.
func TestShareHostile(t *testing.T) {
	r := newShare(t)
	outside := filepath.Join(t.TempDir(), "outside")
	r.must(os.WriteFile(outside, []byte("of the host\n"), 0o644))
	up := strings.Repeat("../", 40)
	c := r.guest("app", []string{
		"cat", "/root/absolute", ";", "cat", "/root/relative", ";", "lookup", up + outside, ";", "lookup", "up" + outside, ";", "cat", "/root/up" + outside, ";",
		"lookup", "..", ";", "stat", "/root/proc/self", ";", "stat", "/root/proc/1", ";", "stat", "/root/sys/kernel", ";", "mkdev", "/root/mem", ";", "cat", "/root/null",
	}, shared)
	r.must(os.Symlink(outside, c.rootfs()+"/absolute"))
	r.must(os.Symlink(up+outside, c.rootfs()+"/relative"))
	r.must(os.Symlink(up, c.rootfs()+"/up"))
	r.must(unix.Mknod(c.rootfs()+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	res := c.run()
	failed := map[string]bool{}
	for line := range strings.Lines(res.out) {
		if before, _, found := strings.Cut(line, ": errno "); found {
			failed[before] = true
		}
	}
	for _, must := range []string{
		"cat /root/absolute", "cat /root/relative", "lookup " + up + outside, "lookup up" + outside, "cat /root/up" + outside,
		"stat /root/proc/self", "stat /root/proc/1", "stat /root/sys/kernel", "mkdev /root/mem", "cat /root/null",
	} {
		if !failed[must] {
			t.Errorf("%s did not fail", must)
		}
	}
	if strings.Contains(res.out, "of the host") || res.code != 1 {
		t.Errorf("exit code %d, %q", res.code, res.out)
	}
	if _, err := os.Lstat(c.rootfs() + "/mem"); err == nil {
		t.Error("the guest made a device node")
	}
}

// virtiofsd is the pid of the container's.
func (r *rt) virtiofsd(c *ctr) int {
	r.Helper()
	found := 0
	r.eventually("virtiofsd is there", func() bool {
		for _, pid := range r.processes() {
			proc := fmt.Sprintf("/proc/%d/", pid)
			if rtReadOr(proc+"comm") == "virtiofsd\n" && strings.Contains(rtReadOr(proc+"cgroup"), c.id) {
				found = pid
			}
		}
		return found != 0
	})
	return found
}

func rtNames(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestShareJail(t *testing.T) {
	r := newShare(t)
	c := r.guest("app", []string{"cat", "/root/file", ";", "sleep", "600000"}, shared)
	r.must(os.WriteFile(c.rootfs()+"/file", []byte("ready\n"), 0o644))
	c.create().start()
	pid := r.virtiofsd(c)
	var status string
	r.eventually("virtiofsd has given up what it began with", func() bool {
		status = rtRead(t, fmt.Sprintf("/proc/%d/status", pid))
		return strings.Contains(status, "CapPrm:\t00000000000000db")
	})
	// chown, dac_override, fowner, fsetid, setgid, setuid: and nothing else, ever.
	for _, want := range []string{"CapInh:\t0000000000000000", "CapEff:\t00000000000000db", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(status, want) {
			t.Errorf("virtiofsd's status lacks %q:\n%s", want, status)
		}
	}
	for _, ns := range []string{"mnt", "pid", "net", "ipc"} {
		mine, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", c.state().Pid, ns))
		r.must(err)
		if its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, ns)); err != nil || its == mine {
			t.Errorf("virtiofsd's %s namespace is %s, the container's %s (%v)", ns, its, mine, err)
		}
	}
	for line := range strings.Lines(rtRead(t, fmt.Sprintf("/proc/%d/mountinfo", pid))) {
		// In its chroot it sees the share alone; each mount there has no devices.
		f := strings.Fields(line)
		if !strings.Contains(f[5], "nodev") || !strings.Contains(f[5], "nosuid") {
			t.Errorf("virtiofsd sees %s", line)
		}
	}
	for _, fd := range rtNames(t, fmt.Sprintf("/proc/%d/fd", pid)) {
		to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd))
		if err == nil && strings.HasPrefix(to, r.root) {
			t.Errorf("virtiofsd holds %s", to)
		}
	}
	r.do("delete", "--force", c.id).ok()
	r.eventually("virtiofsd is gone", func() bool { return unix.Kill(pid, 0) == unix.ESRCH })
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// virtiofsd is killed: the container ends, and the log says why. The keeper is killed: virtiofsd and QEMU go with it.
func TestShareEnds(t *testing.T) {
	r := newShare(t)
	c := r.guest("app", []string{"sleep", "600000"}, shared)
	c.create().start()
	r.must(unix.Kill(r.virtiofsd(c), unix.SIGKILL))
	if code := c.wait(); code != 125 {
		t.Errorf("exit code %d after virtiofsd was killed", code)
	}
	if log := rtRead(t, r.log); !strings.Contains(log, "virtiofsd was ended by signal 9, the guest has lost its files") {
		t.Errorf("log: %s", log)
	}
	r.do("delete", c.id).ok()

	c = r.guest("app", []string{"sleep", "600000"}, shared)
	c.create().start()
	children := []int{r.virtiofsd(c), r.vmm(c)}
	r.must(unix.Kill(c.state().Pid, unix.SIGKILL))
	for _, pid := range children {
		r.eventually("process "+strconv.Itoa(pid)+" is gone", func() bool { return unix.Kill(pid, 0) == unix.ESRCH })
	}
	r.do("delete", c.id).ok()
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestShareTwenty(t *testing.T) {
	r := newShare(t)
	dir := t.TempDir()
	var group sync.WaitGroup
	for i := range 20 {
		c := r.guest("app", []string{"write", fmt.Sprintf("%s/%d", volumePath("/data"), i), "x", ";", "exit", strconv.Itoa(i)}, volumeAt(dir, "/data", "rbind"))
		group.Go(func() {
			if res := c.run(); res.code != i || res.out != rtLastWords(i) {
				t.Errorf("guest %d: exit code %d, %q, %q", i, res.code, res.out, res.err)
			}
		})
	}
	group.Wait()
	if names := rtNames(t, dir); len(names) != 20 {
		t.Errorf("the guests wrote %q", names)
	}
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// The memory that vm.go counts for virtiofsd is enough: a guest that touches all of its own lives within the limit.
func TestShareMemory(t *testing.T) {
	r := newShare(t)
	limit := int64(96 << 20)
	c := r.guest("app", []string{"cat", "/root/file", ";", "touch"}, shared, func(s *specs.Spec) {
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit, Swap: &limit}
	})
	r.must(os.WriteFile(c.rootfs()+"/file", []byte("ready\n"), 0o644))
	if res := c.run(); res.code != 0 || res.out != "ready\ntouched\n"+rtLastWords(0) {
		t.Errorf("exit code %d, %q, %q", res.code, res.out, res.err)
	}
}

func TestShareRefused(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", nil, func(s *specs.Spec) { s.Annotations = map[string]string{annotationPrefix + "share": "all"} })
	if res := c.run(); res.code == 0 || !strings.Contains(res.err, `share is "all": allowed are auto, rootfs, none`) {
		t.Errorf("exit code %d, %q", res.code, res.err)
	}
}
