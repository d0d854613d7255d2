// Mounts as config.json orders them: every option word, where targets come from, what of the host may be seen through them.

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

func addMount(m ...specs.Mount) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Mounts = append(s.Mounts, m...) }
}

func tmpfsAt(dst string, options ...string) specs.Mount {
	return specs.Mount{Destination: dst, Type: "tmpfs", Source: "tmpfs", Options: options}
}

func bindAt(src, dst string, options ...string) specs.Mount {
	return specs.Mount{Destination: dst, Type: "bind", Source: src, Options: options}
}

// The words of the specification's table, one container for all of those that a mount's own flags show.
func TestMountFlags(t *testing.T) {
	r := newRT(t)
	rows := []struct {
		options []string
		want    string // words of mountinfo's mount options, "-x" for one that must be absent
	}{
		{nil, "rw -nosuid -nodev -noexec relatime"},
		{[]string{"ro"}, "ro"},
		{[]string{"ro", "rw"}, "rw"},
		{[]string{"nosuid"}, "nosuid"},
		{[]string{"nosuid", "suid"}, "-nosuid"},
		{[]string{"nodev"}, "nodev"},
		{[]string{"nodev", "dev"}, "-nodev"},
		{[]string{"noexec"}, "noexec"},
		{[]string{"noexec", "exec"}, "-noexec"},
		{[]string{"noatime"}, "noatime -relatime"},
		{[]string{"noatime", "atime"}, "-noatime"},
		{[]string{"nodiratime"}, "nodiratime"},
		{[]string{"nodiratime", "diratime"}, "-nodiratime"},
		{[]string{"relatime"}, "relatime"},
		{[]string{"strictatime"}, "-relatime -noatime"},
		{[]string{"sync"}, "sync"},
		{[]string{"dirsync"}, "dirsync"},
		{[]string{"async", "silent", "loud", "nomand", "norelatime", "nostrictatime"}, "rw"},
		{[]string{"size=1m", "mode=0700", "nr_inodes=100", "uid=7", "gid=8"}, "size=1024k mode=700 nr_inodes=100 uid=7 gid=8"},
		{[]string{"nosuid", "noexec", "nodev", "rprivate", "size=2m"}, "nosuid noexec nodev size=2048k"}, // docker --tmpfs
	}
	if r.isRunh() {
		rows = append(rows, []struct {
			options []string
			want    string
		}{
			{[]string{"defaults"}, "rw -nosuid relatime"},
			{[]string{"nosymfollow"}, "nosymfollow"},
			{[]string{"nosymfollow", "symfollow"}, "-nosymfollow"},
		}...)
	}
	c := r.sh("cat /proc/self/mountinfo")
	for i, row := range rows {
		c.spec.Mounts = append(c.spec.Mounts, tmpfsAt(fmt.Sprintf("/m/%d", i), row.options...))
	}
	c.write()
	got := rtMountWords(c.output())
	for i, row := range rows {
		have := got[fmt.Sprintf("/m/%d", i)]
		if have == nil {
			t.Errorf("%q: not mounted", row.options)
			continue
		}
		for _, w := range strings.Fields(row.want) {
			if absent := strings.HasPrefix(w, "-"); have[strings.TrimPrefix(w, "-")] == absent {
				t.Errorf("%q: mounted with %v, want %s", row.options, have, row.want)
			}
		}
	}
}

// rtMountWords is mountinfo by mount point; the last mount on one point counts. Optional fields ("shared:1") are among them.
func rtMountWords(mountinfo string) map[string]map[string]bool {
	all := map[string]map[string]bool{}
	for _, l := range strings.Split(strings.TrimSpace(mountinfo), "\n") {
		f := strings.Fields(l)
		if len(f) < 10 || f[len(f)-4] != "-" {
			continue // something else in the output
		}
		set := map[string]bool{}
		for i, w := range f {
			if i == 5 || i == len(f)-1 {
				for _, o := range strings.Split(w, ",") {
					set[o] = true
				}
			} else if i > 5 && w != "-" {
				set[strings.SplitN(w, ":", 2)[0]] = true
			}
		}
		all[f[4]] = set
	}
	return all
}

func TestBindMounts(t *testing.T) {
	// src is a tree of the host: a file, a directory, and another file system mounted below it.
	src := func(r *rt) string {
		dir := filepath.Join(r.dir, "src")
		r.must(os.MkdirAll(dir+"/sub", 0o755))
		r.must(os.WriteFile(dir+"/file", []byte("of the host\n"), 0o644))
		r.must(unix.Mount("tmpfs", dir+"/sub", "tmpfs", 0, ""))
		r.Cleanup(func() { unix.Unmount(dir+"/sub", unix.MNT_DETACH) })
		r.must(os.WriteFile(dir+"/sub/inner", []byte("inner\n"), 0o644))
		return dir
	}
	const try = `cat /x/file; echo 1 >/x/new && rm /x/new && echo top; cat /x/sub/inner; echo 1 >/x/sub/new && rm /x/sub/new && echo sub; true`
	for _, x := range []struct {
		name    string
		options []string
		out     string
		denied  int
		runh    bool
	}{
		{"bind", []string{"bind"}, "of the host\ntop\nsub\n", 0, false},
		{"rbind", []string{"rbind"}, "of the host\ntop\ninner\nsub\n", 0, false},
		{"ro", []string{"rbind", "ro"}, "of the host\ninner\nsub\n", 1, false},
		{"Docker's ro", []string{"rbind", "ro", "rprivate"}, "of the host\ninner\nsub\n", 1, false},
		{"rro", []string{"rbind", "rro"}, "of the host\ninner\n", 2, true},
		{"rro then rrw", []string{"rbind", "rro", "rrw"}, "of the host\ntop\ninner\nsub\n", 0, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRT(t)
			if x.runh {
				r.onlyRunh("runc 1.1 has no such word")
			}
			res := r.sh(try, addMount(bindAt(src(r), "/x", x.options...))).run()
			if res.out != x.out || strings.Count(res.err, "Read-only file system") != x.denied {
				t.Errorf("stdout %q, want %q; stderr %q", res.out, x.out, res.err)
			}
		})
	}
	t.Run("flags of a bind", func(t *testing.T) {
		r := newRT(t)
		got := rtMountWords(r.sh("cat /proc/self/mountinfo", addMount(
			bindAt(src(r), "/a", "rbind", "nosuid", "nodev", "noexec", "ro"),
			bindAt(src(r), "/b", "bind", "noatime"),
			specs.Mount{Destination: "/c", Type: "none", Source: r.dir + "/src", Options: []string{"rbind"}},
			specs.Mount{Destination: "/d", Source: r.dir + "/src", Options: []string{"rbind"}},
			bindAt(r.dir+"/src/file", "/e/f/g"),
		), func(s *specs.Spec) { s.Mounts[len(s.Mounts)-1].Options = []string{"bind", "ro"} }).output())
		for point, words := range map[string]string{"/a": "ro nosuid nodev noexec", "/b": "noatime rw", "/c": "rw", "/d": "rw", "/c/sub": "rw", "/e/f/g": "ro"} {
			for _, w := range strings.Fields(words) {
				if !got[point][w] {
					t.Errorf("%s is mounted with %v, want %s", point, got[point], words)
				}
			}
		}
	})
	t.Run("missing source", func(t *testing.T) {
		r := newRT(t)
		r.sh("true", addMount(bindAt("/nosuch/source", "/x", "bind"))).tryCreate().fails("/nosuch/source")
		r.sh("true", addMount(specs.Mount{Destination: "/x", Type: "nosuchfs", Source: "x"})).tryCreate().fails("no such device")
		r.sh("true", addMount(tmpfsAt("/x", "nosuchoption=1"))).tryCreate().fails("invalid argument")
		if left := r.leftovers(); len(left) != 0 {
			t.Errorf("left %q", left)
		}
	})
	t.Run("a directory on a file and back", func(t *testing.T) {
		r := newRT(t)
		r.sh("true", addMount(bindAt(src(r), "/etc/passwd", "rbind"))).tryCreate().fails("not a directory")
		r.sh("true", addMount(bindAt(r.dir+"/src/file", "/tmp", "bind"))).tryCreate().fails("")
	})
	t.Run("source through a symbolic link", func(t *testing.T) {
		r := newRT(t)
		src(r)
		r.must(os.Symlink("src", r.dir+"/link"))
		if out := r.sh("cat /x/file", addMount(bindAt(r.dir+"/link", "/x", "rbind"))).output(); out != "of the host\n" {
			t.Errorf("%q", out)
		}
	})
	t.Run("relative source", func(t *testing.T) { // of the bundle
		r := newRT(t)
		c := r.sh("cat /x", addMount(bindAt("beside", "/x", "bind")))
		r.must(os.WriteFile(c.dir+"/beside", []byte("in the bundle\n"), 0o644))
		if out := c.output(); out != "in the bundle\n" {
			t.Errorf("%q", out)
		}
	})
}

// Targets are made where they are missing, and links in the image lead nowhere but into the image.
func TestMountTargets(t *testing.T) {
	r := newRT(t)
	c := r.sh("cat /proc/self/mountinfo; ls -d /tmp/real/deep /etc/made /mnt/rel; ls -l / | grep -c esc", addMount(
		tmpfsAt("/link/deep"), // /link -> /tmp/real, absolute, in the image
		bindAt("/etc/hostname", "/etc/made", "bind"),
		tmpfsAt("/up"), // -> ../../../../../../escaped
		tmpfsAt("mnt/rel"),
		tmpfsAt("/mnt/../mnt/./dots//x/"),
		tmpfsAt("/dangling/x"),
	))
	r.must(os.Mkdir(c.rootfs()+"/tmp/real", 0o755))
	for link, to := range map[string]string{"link": "/tmp/real", "up": "../../../../../../escaped", "dangling": "/not/there"} {
		r.must(os.Symlink(to, filepath.Join(c.rootfs(), link)))
	}
	got := rtMountWords(c.output())
	for _, p := range []string{"/tmp/real/deep", "/etc/made", "/escaped", "/mnt/rel", "/mnt/dots/x", "/not/there/x"} {
		if got[p] == nil {
			t.Errorf("nothing is mounted on %s", p)
		}
	}
	if _, err := os.Lstat("/escaped"); err == nil {
		t.Error("a link of the image led out of it: /escaped exists on the host")
	}
}

func TestPropagation(t *testing.T) {
	for _, x := range []struct {
		root, option  string
		shared, slave bool // of a volume that is shared on the host
	}{
		{"", "", false, true},
		{"rslave", "rslave", false, true},
		{"private", "private", false, false},
		{"rprivate", "rprivate", false, false},
		{"rshared", "rshared", true, false},
		{"rslave", "rprivate", false, false},
	} {
		t.Run(x.root+" "+x.option, func(t *testing.T) {
			r := newRT(t)
			if x.option == "" {
				r.onlyRunh("what holds when neither is given is not the same everywhere")
			}
			dir := filepath.Join(r.dir, "vol")
			r.must(os.Mkdir(dir, 0o755))
			r.must(unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
			defer unix.Unmount(dir, unix.MNT_DETACH)
			r.must(unix.Mount("", dir, "", unix.MS_SHARED, ""))
			options := []string{"rbind"}
			if x.option != "" {
				options = append(options, x.option)
			}
			out := r.sh("cat /proc/self/mountinfo", addMount(bindAt(dir, "/vol", options...)),
				func(s *specs.Spec) { s.Linux.RootfsPropagation = x.root }).output()
			if o := rtMountWords(out)["/vol"]; o["shared"] != x.shared || o["master"] != x.slave {
				t.Errorf("rootfsPropagation %q, option %q: %v", x.root, x.option, o)
			}
		})
	}
	// The root's own, and what is mounted on the host meanwhile comes in where it should; never the other way.
	for _, x := range []struct {
		word    string
		is      string // of mountinfo's optional fields
		arrives bool
	}{{"shared", "shared", true}, {"slave", "", true}, {"private", "", false}, {"unbindable", "unbindable", false}} {
		t.Run("root "+x.word, func(t *testing.T) {
			r := newRT(t)
			r.onlyRunh("runc 1.1 makes no shared root")
			dir := filepath.Join(r.dir, "vol")
			r.must(os.Mkdir(dir, 0o755))
			r.must(unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
			defer unix.Unmount(dir, unix.MNT_DETACH)
			r.must(unix.Mount("", dir, "", unix.MS_SHARED, ""))
			r.must(os.Mkdir(dir+"/sub", 0o755))
			before := rtMountsBut(r)
			c := r.sh("cat /proc/self/mountinfo; echo ready; read x; ls /vol/sub", addMount(bindAt(dir, "/vol", "rbind", x.word)),
				func(s *specs.Spec) { s.Linux.RootfsPropagation = x.word }).create()
			if after := rtMountsBut(r); after != before {
				t.Errorf("the host's mounts changed:\n%s\nto\n%s", before, after)
			}
			c.start()
			root := rtMountWords(strings.TrimSuffix(c.out.until("ready"), "ready\n"))["/"]
			for _, w := range []string{"shared", "unbindable"} { // "master" only where the host's root is shared
				if root[w] != (w == x.is) {
					t.Errorf("the root is %v, want %q", root, x.is)
				}
			}
			r.must(unix.Mount("tmpfs", dir+"/sub", "tmpfs", 0, ""))
			defer unix.Unmount(dir+"/sub", unix.MNT_DETACH)
			r.must(os.WriteFile(dir+"/sub/late", nil, 0o644))
			c.stdin.Close()
			if code := c.wait(); code != 0 || strings.HasSuffix(c.out.all(rtLimit), "late\n") != x.arrives {
				t.Errorf("exit code %d, %q", code, c.out.String())
			}
		})
	}
	t.Run("unbindable", func(t *testing.T) {
		r := newRT(t)
		if o := rtMountWords(r.sh("cat /proc/self/mountinfo", addMount(tmpfsAt("/x", "unbindable"))).output())["/x"]; !o["unbindable"] {
			t.Errorf("%v", o)
		}
	})
	t.Run("nothing comes back to the host", func(t *testing.T) {
		r := newRT(t)
		before := rtMountsBut(r)
		c := r.sh("echo ready; read x").create().start()
		c.out.until("ready")
		if after := rtMountsBut(r); after != before {
			t.Errorf("the host's mounts changed:\n%s\nto\n%s", before, after)
		}
		r.do("delete", "--force", c.id).ok()
	})
	t.Run("bad", func(t *testing.T) {
		r := newRT(t)
		r.sh("true", func(s *specs.Spec) { s.Linux.RootfsPropagation = "nosuch" }).tryCreate().fails("nosuch")
	})
}

// rtMountsBut is the machine's mounts without those of other tests at the same time.
func rtMountsBut(r *rt) string {
	var keep []string
	for _, l := range strings.Split(rtMounts(), "\n") {
		if f := strings.Fields(l); len(f) > 4 && (strings.Contains(f[4], r.token) || !strings.HasPrefix(f[4], os.TempDir()+"/r")) {
			keep = append(keep, l)
		}
	}
	return strings.Join(keep, "\n")
}

func TestReadonlyRoot(t *testing.T) {
	r := newRT(t)
	res := r.sh(`echo 1 >/x; mkdir /etc/y; echo 1 >/tmp/ok && echo tmp; echo 1 >/dev/shm/ok && echo shm; cat /made/on/ro/f`, func(s *specs.Spec) {
		s.Root.Readonly = true
	}, addMount(tmpfsAt("/tmp"), bindAt("/etc/hostname", "/made/on/ro/f", "bind", "ro"))).run()
	if host := rtRead(t, "/etc/hostname"); res.out != "tmp\nshm\n"+host || strings.Count(res.err, "Read-only file system") != 2 {
		t.Errorf("stdout %q, stderr %q", res.out, res.err)
	}
}

func TestMaskedAndReadonlyPaths(t *testing.T) {
	r := newRT(t)
	c := r.sh(`cat /proc/keys /secret | wc -c; ls -A /sys/firmware; ls -A /hidden; touch /hidden/x; echo 1 >/proc/sys/kernel/msgmax
		touch /fixed/x; cat /fixed/y; stat -c %t:%T /secret; cat /proc/self/mountinfo`, func(s *specs.Spec) {
		s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, "/secret", "/hidden", "/not/there", "/also/not", "/secret", "/hidden")
		s.Linux.ReadonlyPaths = append(s.Linux.ReadonlyPaths, "/fixed", "/nor/this", "/fixed")
	})
	for _, f := range []string{"secret", "hidden/x", "fixed/y"} {
		r.must(os.MkdirAll(filepath.Dir(filepath.Join(c.rootfs(), f)), 0o755))
		r.must(os.WriteFile(filepath.Join(c.rootfs(), f), []byte("see me\n"), 0o644))
	}
	res := c.run()
	if !strings.HasPrefix(res.out, "0\nsee me\n1:3\n") {
		t.Errorf("stdout %q", res.out)
	}
	if n := strings.Count(res.err, "Read-only file system"); n != 3 {
		t.Errorf("%d writes were refused, want 3: %s", n, res.err)
	}
	mounted := rtMountWords(res.out)
	for _, p := range []string{"/secret", "/hidden", "/fixed"} { // named twice each
		if n := strings.Count(res.out, " "+p+" "); n != 1 {
			t.Errorf("%d mounts on %s, want 1", n, p)
		}
	}
	for _, p := range append(c.spec.Linux.MaskedPaths, c.spec.Linux.ReadonlyPaths...) {
		on := p
		if !strings.HasPrefix(p, "/proc/") && !strings.HasPrefix(p, "/sys/") {
			on = filepath.Join(c.rootfs(), p)
		}
		st, err := os.Stat(on)
		have := mounted[p]
		switch {
		case err != nil && have != nil:
			t.Errorf("%s is not there, and yet mounted on", p)
		case err == nil && have == nil:
			t.Errorf("%s is left as it was", p)
		case err == nil && !have["ro"] && (st.IsDir() || p == "/proc/sysrq-trigger"):
			t.Errorf("%s is mounted with %v, want ro", p, have)
		}
	}
}

// The cgroup mount: the container's own groups, read-only as Docker asks, with and without a namespace for them.
func TestCgroupMount(t *testing.T) {
	needs(t, hybridCgroup(), "cgroup v1")
	own := func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	for _, x := range []struct {
		name string
		edit func(*specs.Spec)
	}{{"namespace", own}, {"no namespace", func(*specs.Spec) {}}} {
		t.Run(x.name, func(t *testing.T) {
			r := newRT(t)
			c := r.sh(`cd /sys/fs/cgroup; cat memory/cgroup.procs | head -1; cat memory/memory.limit_in_bytes; mkdir memory/x; ls -d cpu pids freezer systemd; mkdir x`, x.edit)
			limit := int64(64 << 20)
			c.spec.Linux.Resources.Memory.Limit = &limit
			c.write()
			res := c.run()
			refused := 2
			if !r.isRunh() {
				refused = 1 // runc leaves the directory that holds the hierarchies writable
			}
			if res.out != "1\n67108864\ncpu\nfreezer\npids\nsystemd\n" || strings.Count(res.err, "Read-only file system") != refused {
				t.Errorf("stdout %q, stderr %q", res.out, res.err)
			}
		})
	}
	t.Run("writable", func(t *testing.T) {
		r := newRT(t)
		r.sh(`mkdir /sys/fs/cgroup/memory/x && echo $$ >/sys/fs/cgroup/memory/x/cgroup.procs`, own, func(s *specs.Spec) {
			for i, m := range s.Mounts {
				if m.Type == "cgroup" {
					s.Mounts[i].Options = []string{"rw", "nosuid", "noexec", "nodev"}
				}
			}
		}).output() // and delete removes the nested group: cleanup looks
	})
}

// tmpcopyup keeps what the image has where a tmpfs comes (CRI-O's read-only images).
func TestTmpCopyUp(t *testing.T) {
	r := newRT(t)
	c := r.sh("cat /data/f /data/d/g; readlink /data/l; stat -c '%a %u' /data/d; echo 1 >/data/new && ls /data", addMount(tmpfsAt("/data", "tmpcopyup")))
	r.must(os.MkdirAll(c.rootfs()+"/data/d", 0o755))
	r.must(os.Chmod(c.rootfs()+"/data/d", 0o750))
	r.must(os.Chown(c.rootfs()+"/data/d", 1000, 1000))
	r.must(os.WriteFile(c.rootfs()+"/data/f", []byte("f\n"), 0o644))
	r.must(os.WriteFile(c.rootfs()+"/data/d/g", []byte("g\n"), 0o644))
	r.must(os.Symlink("f", c.rootfs()+"/data/l"))
	if out := c.output(); out != "f\ng\nf\n750 1000\nd\nf\nl\nnew\n" {
		t.Errorf("%q", out)
	}
	if _, err := os.Stat(c.rootfs() + "/data/new"); err == nil {
		t.Error("written through to the image")
	}
}

// --no-pivot is for a root that cannot be pivoted (a ramdisk).
func TestNoPivot(t *testing.T) {
	r := newRT(t)
	c := r.sh("ls / | tr '\\n' ' '; probe chroot-escape").addProbe().create("--no-pivot").start()
	if code, out := c.wait(), c.out.all(rtLimit); code != 0 || !strings.HasSuffix(out, "in\n") || !strings.Contains(out, "bin dev etc") {
		t.Errorf("exit code %d, %q, stderr %q", code, out, c.err.String())
	}
}

// The rootfs of an engine: overlay, absolute, outside the bundle, shared with the host or a symbolic link.
func TestRootfsForms(t *testing.T) {
	t.Run("overlay", func(t *testing.T) {
		r := newRT(t)
		c := r.sh("echo 1 >/new; ls /new; sh -c 'echo again'")
		for _, d := range []string{"up", "work", "merged"} {
			r.must(os.Mkdir(filepath.Join(c.dir, d), 0o755))
		}
		data := fmt.Sprintf("lowerdir=%s,upperdir=%s/up,workdir=%s/work", c.rootfs(), c.dir, c.dir)
		r.must(unix.Mount("overlay", c.dir+"/merged", "overlay", 0, data))
		defer unix.Unmount(c.dir+"/merged", unix.MNT_DETACH)
		c.spec.Root.Path = c.dir + "/merged"
		c.write()
		if out := c.output(); out != "/new\nagain\n" {
			t.Errorf("%q", out)
		}
		if _, err := os.Stat(c.dir + "/up/new"); err != nil {
			t.Error("what the container wrote is not where the engine looks for it:", err)
		}
	})
	t.Run("shared parent", func(t *testing.T) { // pivot_root refuses one
		r := newRT(t)
		dir := filepath.Join(r.dir, "shared")
		r.must(os.Mkdir(dir, 0o755))
		r.must(unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
		defer unix.Unmount(dir, unix.MNT_DETACH)
		r.must(unix.Mount("", dir, "", unix.MS_SHARED, ""))
		c := r.sh("echo fine")
		if out, err := exec.Command("cp", "-a", c.rootfs(), dir+"/rootfs").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		c.spec.Root.Path = dir + "/rootfs"
		c.write()
		if out := c.output(); out != "fine\n" {
			t.Errorf("%q", out)
		}
	})
}

// A container without a mount namespace has the host's: its mounts are there, all below its rootfs, until delete or a failed create
// takes them away. What would only pretend to protect is refused (TestBadInput).
func TestNoMountNamespace(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc 1.1 leaves the mounts behind")
	before := rtMountsBut(r)
	edit := func(s *specs.Spec) {
		dropNS(s, specs.MountNamespace)
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
		s.Mounts = append(s.Mounts, tmpfsAt("/fresh"))
	}
	c := r.sh("ls / >/fresh/ls; test -c /dev/null; readlink /proc/self/ns/mnt; exec sleep 1000", edit)
	c.create()
	host, _ := os.Readlink("/proc/self/ns/mnt")
	if got, _ := os.Readlink(pidNS(c.pid, "mnt")); got != host {
		t.Errorf("the container is in %s, want the host's %s", got, host)
	}
	c.start()
	c.out.until(host)
	if got := rtReadOr(c.rootfs() + "/fresh/ls"); !strings.Contains(got, "fresh\n") || strings.Contains(got, "boot\n") {
		t.Errorf("the container's root is %q", got)
	}
	if res := r.do("exec", c.id, "ls", "/fresh"); res.out != "ls\n" {
		t.Errorf("exec: %+v", res)
	}
	r.do("delete", "--force", c.id).ok()
	c.wait()
	if after := rtMountsBut(r); after != before {
		t.Errorf("the host's mounts changed:\n%s\nto\n%s", before, after)
	}
	c = r.sh("true", edit)
	setHook(c.spec, "createRuntime", shHook("test -d "+c.rootfs()+"/proc/1 && exit 9"))
	c.write()
	c.tryCreate().fails("exit status 9")
	if after := rtMountsBut(r); after != before {
		t.Errorf("a failed create changed the host's mounts:\n%s\nto\n%s", before, after)
	}
}
