// Where mounts, devices, masks and the working directory land: on what is there, in the order of the list, and never on another
// place than the one that was asked for.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Links that lead round in circles lead nowhere, and a link to / covers nothing: an error each time, and nothing mounted.
func TestMountTargetRefused(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("the messages; runc 1.1 mounts some of them elsewhere")
	vol := filepath.Join(r.dir, "vol")
	r.must(os.Mkdir(vol, 0o755))
	r.must(os.WriteFile(vol+"/file", nil, 0o644))
	r.must(os.Symlink("again", vol+"/again"))
	const loop, top = "too many levels of symbolic links", "leads to /, the rootfs's own place"
	device := func(path string) func(*specs.Spec) {
		return func(s *specs.Spec) {
			s.Linux.Devices = append(s.Linux.Devices, specs.LinuxDevice{Path: path, Type: "c", Major: 1, Minor: 3})
		}
	}
	for _, x := range []struct {
		edit func(*specs.Spec)
		err  string
	}{
		{addMount(bindAt(vol, "/etc/data", "bind")), loop}, // data -> data
		{addMount(bindAt(vol, "/etc/data/below", "bind")), loop},
		{addMount(tmpfsAt("/etc/one")), loop},  // one -> two -> one
		{addMount(tmpfsAt("/etc/back")), loop}, // back -> nowhere/../back
		{addMount(bindAt(vol+"/file", "/etc/data", "bind")), loop},
		{addMount(bindAt(vol, "/vol", "bind"), tmpfsAt("/vol/again")), loop}, // a volume brings the link
		{device("/etc/data/node"), loop},
		{func(s *specs.Spec) { s.Process.Cwd = "/etc/one" }, loop},
		{func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"/etc/one"} }, loop},
		{func(s *specs.Spec) { s.Linux.ReadonlyPaths = []string{"/etc/one"} }, loop},
		{addMount(bindAt(vol, "/etc/top", "bind")), top}, // top -> /
		{addMount(tmpfsAt("/etc/top")), top},
		{addMount(specs.Mount{Destination: "/etc/top", Type: "cgroup", Source: "cgroup"}), top},
		{func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"/etc/top"} }, top},
		{addMount(specs.Mount{Destination: "/etc/top", Type: "sysfs", Source: "sysfs"}), "must be mounted on ordinary directory"},
		{func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"/"} }, top},
	} {
		c := r.sh("echo ran", x.edit)
		for link, to := range map[string]string{"data": "data", "one": "two", "two": "/etc/one", "back": "nowhere/../back", "top": "/"} {
			r.must(os.Symlink(to, c.rootfs()+"/etc/"+link))
		}
		c.tryCreate().fails(x.err)
		if _, err := os.Lstat(c.rootfs() + "/etc/nowhere"); err == nil {
			t.Error("a directory was made on the way")
		}
	}
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// A path that is the root of a mount, by any name, becomes read-only itself.
func TestReadonlyPathIsMount(t *testing.T) {
	for _, path := range []string{"/", "/etc/top", "/etc/..", "/vol"} {
		t.Run(path, func(t *testing.T) {
			r := newRT(t)
			r.onlyRunh("runc 1.1 does it by accident")
			c := r.sh("touch "+path+"/x; touch /tmp/x && echo tmp", addMount(tmpfsAt("/vol"), tmpfsAt("/tmp")), func(s *specs.Spec) {
				s.Linux.ReadonlyPaths = []string{path}
			})
			r.must(os.Symlink("/", c.rootfs()+"/etc/top"))
			if res := c.run(); res.out != "tmp\n" || !strings.Contains(res.err, "Read-only file system") {
				t.Errorf("stdout %q, stderr %q", res.out, res.err)
			}
			if _, err := os.Lstat(c.rootfs() + "/x"); err == nil {
				t.Error("the container has written to its root")
			}
		})
	}
}

// Words that a mount cannot have are refused, for no word is without effect.
func TestMountOptionRefused(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("the message names the word")
	for _, x := range []struct{ fstype, word string }{
		{"bind", "readonly"}, {"bind", "dest-nofollow"}, {"bind", "size=1m"}, {"none", "RO"},
	} {
		m := bindAt("/etc", "/mnt", "bind", x.word)
		m.Type = x.fstype
		r.sh("true", addMount(m)).tryCreate().fails(fmt.Sprintf("mount /mnt: option %q is unknown: bind mounts cannot have any filesystem-specific options", x.word))
	}
	r.sh("true", addMount(specs.Mount{Destination: "/dev", Options: []string{"remount", "size=1m"}})).tryCreate().fails(`option "size=1m" is unknown`)
}

// A tmpfs has the mode of what it covers, wherever that comes from; with tmpcopyup the owner too. Where nothing was, it is 1777.
func TestTmpfsMode(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc since 1.4")
	vol := filepath.Join(r.dir, "vol")
	r.must(os.MkdirAll(vol+"/inner", 0o755))
	r.must(unix.Chmod(vol+"/inner", 0o2750))
	c := r.sh("cd /; stat -c '%a %u:%g %n' secret link/ own copy copied/own new/dir vol/inner; ls copy; grep -c ' /secret tmpfs .*mode=700' /proc/mounts", addMount(
		tmpfsAt("/secret"), tmpfsAt("/link", "size=1m"), tmpfsAt("/own", "mode=0711"), tmpfsAt("/new/dir"),
		tmpfsAt("/copy", "tmpcopyup"), tmpfsAt("/copied/own", "tmpcopyup", "mode=0700,uid=3", "gid=4"),
		bindAt(vol, "/vol", "bind"), tmpfsAt("/vol/inner"),
	))
	for dir, mode := range map[string]uint32{"secret": 0o700, "real": 0o1731, "own": 0o755, "copy": 0o2770, "copied/own": 0o755} {
		r.must(os.MkdirAll(c.rootfs()+"/"+dir, 0o755))
		r.must(unix.Chown(c.rootfs()+"/"+dir, 1000, 1001))
		r.must(unix.Chmod(c.rootfs()+"/"+dir, mode))
	}
	r.must(os.WriteFile(c.rootfs()+"/copy/file", nil, 0o644))
	r.must(os.Symlink("real", c.rootfs()+"/link"))
	const want = "700 0:0 secret\n1731 0:0 link/\n711 0:0 own\n2770 1000:1001 copy\n700 3:4 copied/own\n1777 0:0 new/dir\n2750 0:0 vol/inner\nfile\n1\n"
	if out := c.output(); out != want {
		t.Errorf("%q, want %q", out, want)
	}
}

// tmpcopyup copies what is there when its turn comes: of a volume, and not of the image below it.
func TestTmpCopyUpOfVolume(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc 1.1 copies from the image")
	vol := filepath.Join(r.dir, "vol")
	r.must(os.MkdirAll(vol+"/d", 0o755))
	r.must(os.WriteFile(vol+"/d/of-the-volume", nil, 0o644))
	c := r.sh("ls /v/d", addMount(bindAt(vol, "/v", "bind", "ro"), tmpfsAt("/v/d", "tmpcopyup")))
	r.must(os.MkdirAll(c.rootfs()+"/v/d", 0o755))
	r.must(os.WriteFile(c.rootfs()+"/v/d/of-the-image", nil, 0o644))
	if out := c.output(); out != "of-the-volume\n" {
		t.Errorf("%q", out)
	}
}

// A source inside the container's own rootfs is what the mounts before it have put there, and a link there leads nowhere else.
func TestBindSourceInRootfs(t *testing.T) {
	for _, users := range []bool{false, true} {
		t.Run(fmt.Sprintf("user namespace %v", users), func(t *testing.T) {
			r := newRT(t)
			r.onlyRunh("runc 1.1 follows the link to the host")
			vol := filepath.Join(r.dir, "vol")
			r.must(os.MkdirAll(vol+"/dir", 0o755))
			r.must(os.WriteFile(vol+"/dir/file", []byte("of the volume\n"), 0o644))
			r.must(os.Chmod(r.dir, 0o711))
			c := r.sh("cat /a/file /b /c; cat /d 2>&1; stat -c %u /mapped/file; ls /again/vol/dir")
			if users {
				c.guestUsers(65536)
			}
			root, link := c.rootfs(), r.dir+"/link"
			r.must(os.Symlink(root, link))
			c.spec.Root.Path = link
			addMount(bindAt(vol, "/vol", "bind"),
				bindAt(root+"/vol/dir", "/a", "rbind"),
				bindAt(root+"/vol/dir/file", "/b", "bind"),
				bindAt(link+"/a/file", link+"/c", "bind"), // the destination, too, by a name on the host
				bindAt(root+"/vol/link", "/d", "bind"),
				bindAt(root, "/again", "rbind"),
				specs.Mount{
					Destination: "/mapped", Type: "bind", Source: root + "/vol/dir", Options: []string{"bind"},
					UIDMappings: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100007, Size: 10}}, GIDMappings: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100007, Size: 10}},
				},
			)(c.spec)
			c.write()
			r.must(os.WriteFile(root+"/etc/hostname", []byte("of the image\n"), 0o644))
			r.must(os.Symlink("/etc/hostname", vol+"/link"))
			want := "7"
			if !users {
				want = "100007"
			}
			if out := c.output(); out != strings.Repeat("of the volume\n", 3)+"of the image\n"+want+"\nfile\n" {
				t.Errorf("%q", out)
			}
			c = r.sh("true")
			addMount(bindAt(c.rootfs()+"/not/there", "/x", "bind"))(c.spec)
			c.write()
			c.tryCreate().fails(c.rootfs() + "/not/there on /x: no such file or directory")
		})
	}
}

// A file over a directory, the other way round, and one of the two in the container itself.
func TestMountKinds(t *testing.T) {
	r := newRT(t)
	file := filepath.Join(r.dir, "file")
	r.must(os.WriteFile(file, nil, 0o644))
	c := r.sh("true")
	for _, m := range []specs.Mount{
		bindAt(file, "/tmp", "bind"), bindAt(r.dir, "/etc/passwd", "bind"),
		bindAt(c.rootfs()+"/etc/passwd", "/tmp", "bind"), bindAt(c.rootfs()+"/etc", "/etc/passwd", "bind"),
		tmpfsAt("/etc/passwd"),
	} {
		c = r.sh("true", addMount(m))
		c.tryCreate().fails("not a directory") // dockerd's hint hangs on these words
	}
	if _, err := os.Stat("/proc/sys/crypto/fips_enabled"); err == nil {
		r.sh("true", addMount(bindAt(file, "/proc/sys/crypto/fips_enabled", "bind", "ro"))).output()
	}
}

// With --no-pivot the host's procfs and sysfs stay in the mount namespace no more than with pivot_root: a nested user namespace
// gets no fresh one, in which nothing is masked.
func TestNoPivotProcfs(t *testing.T) {
	const script = `unshare -mrpf mount -t proc none /mnt; unshare -mrn mount -t sysfs none /mnt
		unshare -mr mount -t tmpfs none /mnt && echo "user namespaces work"; grep -c . /proc/self/mountinfo`
	edit := func(s *specs.Spec) { s.Linux.Seccomp = nil }
	want := func(t *testing.T, out, err string) {
		t.Helper()
		if !strings.HasPrefix(out, "user namespaces work\n") || strings.Count(err, "ermission denied")+strings.Count(err, "not permitted") != 2 {
			t.Errorf("stdout %q, stderr %q", out, err)
		}
	}
	t.Run("root", func(t *testing.T) {
		r := newRT(t)
		before := rtMountsBut(r)
		res := r.sh(script, edit).run("--no-pivot")
		want(t, res.out, res.err)
		if after := rtMountsBut(r); after != before {
			t.Errorf("the host's mounts changed:\n%s\nto\n%s", before, after)
		}
	})
	t.Run("shared", func(t *testing.T) { // a host whose mounts are shared, with a container that shares them
		r := newRT(t)
		needsPrograms(t, "unshare")
		c := r.sh(script, edit, func(s *specs.Spec) { s.Linux.RootfsPropagation = "shared" })
		runh := r.cmd("run", "--no-pivot", "--bundle", c.dir, c.id)
		const host = `mount --make-rshared / && cut -d' ' -f5 /proc/self/mountinfo >before; "$@"; cut -d' ' -f5 /proc/self/mountinfo | cmp before -`
		cmd := exec.Command("unshare", append([]string{"-m", "--propagation", "private", "sh", "-c", host, "host"}, runh.Args...)...)
		cmd.Env, cmd.Dir = runh.Env, runh.Dir
		res := r.doCmd(cmd)
		want(t, res.out, res.err)
		if res.code != 0 {
			t.Error("the host's mounts changed")
		}
	})
	t.Run("ordinary user", func(t *testing.T) { // who cannot detach the host's mounts
		u := newOrdinary(t, "rootless:300000:65536\n")
		res := u.runh("run", "--no-pivot", "--bundle", u.bundle(script, subordinate, func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
			for _, set := range []*[]string{&s.Process.Capabilities.Bounding, &s.Process.Capabilities.Permitted, &s.Process.Capabilities.Effective} {
				*set = append(*set, "CAP_SETFCAP") // to map the root of a nested namespace
			}
		}), "a")
		want(t, res.out, res.err)
	})
}

// A node that is right already is left alone: it may be the host's, and must not vanish for a moment.
func TestDevicesLeftAlone(t *testing.T) {
	r := newRT(t)
	c := r.sh("readlink /dev/ptmx; stat -c '%n %t:%T %a' /dev/null /dev/zero /dev/full", func(s *specs.Spec) { dropMount(s, "/dev") })
	dev := c.rootfs() + "/dev"
	r.must(unix.Mount("tmpfs", dev, "tmpfs", 0, "mode=755"))
	defer unix.Unmount(dev, unix.MNT_DETACH)
	node := func(name string, mode uint32, major, minor uint32) {
		r.must(unix.Mknod(dev+"/"+name, mode, int(unix.Mkdev(major, minor))))
		r.must(unix.Chmod(dev+"/"+name, mode&0o7777))
	}
	node("null", unix.S_IFCHR|0o666, 1, 3)
	node("tty", unix.S_IFCHR|0o666, 5, 0)
	r.must(unix.Chown(dev+"/tty", 0, 5))
	node("ptmx", unix.S_IFCHR|0o666, 5, 2)
	node("zero", unix.S_IFCHR|0o666, 1, 3) // another device
	node("full", unix.S_IFBLK|0o666, 1, 7) // another kind
	state := func(name string) string {
		var st unix.Stat_t
		r.must(unix.Lstat(dev+"/"+name, &st))
		return fmt.Sprint(st.Ino, st.Ctim, st.Mode, st.Uid, st.Gid)
	}
	keep := []string{"null", "tty", "ptmx"}
	before := map[string]string{}
	for _, n := range keep {
		before[n] = state(n)
	}
	if out := c.run().out; out != "/dev/null 1:3 666\n/dev/zero 1:5 666\n/dev/full 1:7 666\n" {
		t.Errorf("%q", out)
	}
	for _, n := range keep {
		if after := state(n); after != before[n] {
			t.Errorf("/dev/%s was %s and is %s", n, before[n], after)
		}
	}
	r.must(os.Remove(dev + "/ptmx"))
	r.must(os.Symlink("/dev/null", dev+"/ptmx"))
	if out := c.run().out; !strings.HasPrefix(out, "pts/ptmx\n") {
		t.Errorf("a link of the image's: %q", out)
	}
	link := state("ptmx")
	c.run()
	if after := state("ptmx"); after != link {
		t.Errorf("the link that was right was %s and is %s", link, after)
	}
}
