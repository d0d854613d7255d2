// What an operator asks before anything runs: explain, check and env.

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestExplain(t *testing.T) {
	r := newHermit(t)
	limit := int64(256 << 20)
	c := r.guest("app", []string{"exit", "5"}, func(s *specs.Spec) {
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit}
		s.Process.Env = append(s.Process.Env, "COLOUR=green", "LONG="+strings.Repeat("x", 500))
	}, annotated("variables", "fitting")).loader("loader-4k")
	c.write()
	res := r.do("explain", "--bundle", c.dir, "--format", "json").ok()
	var e explanation
	r.must(json.Unmarshal([]byte(res.out), &e))
	if e.Kind != "hermit" || e.Machine != "microvm" || e.Accel != rtAccel() || e.Loader != "/hermit/hermit-loader" || e.Limit != 256 || e.Memory >= 256 || e.Memory < 64 {
		t.Errorf("explained as %+v", e)
	}
	if !strings.Contains(e.BootArgs, "env=COLOUR=green") || !strings.HasSuffix(e.BootArgs, "-- exit 5") || strings.Join(e.Dropped, " ") != "LONG" {
		t.Errorf("boot arguments %q, left out %q", e.BootArgs, e.Dropped)
	}
	if line := strings.Join(e.QEMU, " "); !strings.Contains(line, "-M microvm,") || !strings.Contains(line, e.BootArgs) {
		t.Errorf("QEMU's command line %q", line)
	}
	if text := r.do("explain", "--bundle", c.dir).ok().out; !strings.Contains(text, "\nmachine       microvm, "+rtAccel()+", 1 vCPU\n") {
		t.Errorf("as text: %q", text)
	}
	// It is what then happens, and nothing has happened yet.
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("explain left %q", left)
	}
	if res := c.run(); res.code != 5 {
		t.Errorf("exit code %d, %q", res.code, res.err)
	}

	l := r.sh("true")
	r.must(json.Unmarshal([]byte(r.do("explain", "--bundle", l.dir, "--format", "json").ok().out), &e))
	if e.Kind != "linux" || e.Program != "sh" && !strings.HasSuffix(e.Program, "/sh") {
		t.Errorf("a shell is explained as %+v", e)
	}
	os.Remove(c.rootfs() + "/hermit/hermit-loader")
	r.do("explain", "--bundle", c.dir).fails("no loader")
	r.do("explain", "--bundle", c.dir, "--format", "yaml").fails("yaml")
}

func TestCheck(t *testing.T) {
	r := newHermit(t)
	out := r.do("check").ok().out
	for _, want := range []string{"ok  kernel ", "ok  qemu ", "kvm ", "cgroup ", " tun ", " vhost-net ", " nftables ", " userns ", "ok  seccomp ", " lsm "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q lacks %q", out, want)
		}
	}
}

// A tree of its own is used once it is built, replaced as a whole, and nothing else is ever overwritten.
func TestEnvBuild(t *testing.T) {
	r := newHermit(t)
	dir := filepath.Join(r.dir, "tree")
	if out := r.do("env").ok().out; !strings.Contains(out, "mounted one by one") {
		t.Errorf("without a tree: %q", out)
	}
	for range 2 {
		r.do("env", "build", dir).ok()
	}
	r.global = []string{"--hermit-env", dir}
	if out := r.do("env").ok().out; !strings.Contains(out, "the tree "+dir) {
		t.Errorf("with a tree: %q", out)
	}
	r.do("env", "check").ok()
	if res := r.guest("app", []string{"exit", "6"}).run(); res.code != 6 {
		t.Errorf("exit code %d, %q", res.code, res.err)
	}
	entries, err := os.ReadDir(r.dir)
	r.must(err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".tree") {
			t.Errorf("%s is left", e.Name())
		}
	}
}

// Nothing of the operator's is replaced: no directory with files of his, though a QEMU be among them, no file in the
// directory's place, and no link to the tree.
func TestEnvBuildElsewhere(t *testing.T) {
	r := newHermit(t)
	built, link := filepath.Join(r.dir, "built"), filepath.Join(r.dir, "link")
	r.must(os.Mkdir(built, 0o750))
	r.must(os.Symlink("built", link))
	for range 2 {
		r.do("env", "build", link).ok()
	}
	if fi, err := os.Lstat(link); err != nil || fi.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link to the tree: %v, %v", fi, err)
	}
	if fi, err := os.Stat(built); err != nil || fi.Mode().Perm() != 0o750 {
		t.Errorf("the directory's mode: %v, %v, want 0750", fi, err)
	}
	sum := func() string { // names, kinds, owners, times, content
		out, err := exec.Command("sh", "-c", `cd "$1" && find foreign unpacked file dangling roots/hermit -printf '%p %y %m %s %i %T@\n' | sort && cat file foreign/precious`, "sh", r.dir).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	r.must(exec.Command("sh", "-ec", `cd "$1"
		mkdir -p foreign roots/hermit/data
		echo mine >foreign/precious
		cp -a built unpacked && rm unpacked/.runh-env
		echo mine >file
		ln -s nowhere dangling`, "sh", r.dir).Run())
	before := sum()
	for _, name := range []string{"foreign", "unpacked", "file", "dangling"} {
		dir := filepath.Join(r.dir, name)
		r.do("env", "build", dir).fails(dir)
		r.do("--hermit-env", dir, "env", "build").fails(dir)
		config := filepath.Join(r.dir, "config.toml")
		r.must(os.WriteFile(config, []byte("hermit_env = \""+dir+"\"\n"), 0o644))
		r.do("--config", config, "env", "build").fails(dir)
	}
	r.do("--root", r.dir+"/roots", "env", "build").fails("left untouched")
	if after := sum(); after != before {
		was := strings.Split(before, "\n")
		for _, line := range strings.Split(after, "\n") {
			if !slices.Contains(was, line) {
				t.Errorf("now %q", line)
			}
		}
		t.Error("what was there has changed")
	}
}

// What the operator has put into a tree of runh's, or changed there, is in the next one too.
func TestEnvBuildKeeps(t *testing.T) {
	r := newHermit(t)
	dir := filepath.Join(r.dir, "tree")
	r.do("env", "build", dir).ok()
	r.global = []string{"--hermit-env", dir}
	c := r.guest("app", []string{"exit", "6"})
	r.must(os.MkdirAll(dir+"/hermit", 0o700))
	loader := dir + "/hermit/hermit-loader"
	r.must(os.Rename(c.rootfs()+"/hermit/hermit-loader", loader))
	r.must(os.MkdirAll(dir+"/empty", 0o700))
	r.must(os.Symlink("/etc", dir+"/to-etc"))
	rom, err := filepath.Glob(dir + "/usr/share/*/qboot.rom")
	if err != nil || len(rom) != 1 {
		t.Fatalf("qboot.rom: %q, %v", rom, err)
	}
	changed := rtRead(t, rom[0])
	future := time.Now().Add(time.Hour)
	r.must(os.Chtimes(rom[0], future, future))
	stale := func() {
		stamp := rtRead(t, dir+"/"+treeStampName)
		qemu, rest, _ := strings.Cut(stamp, "\n")
		_, rest, _ = strings.Cut(rest, "\n")
		r.must(os.WriteFile(dir+"/"+treeStampName, []byte(qemu+"\nanother\n"+rest), 0o644))
	}
	for _, build := range []func(){
		func() { r.do("env", "build", dir).ok() },
		func() { stale(); r.do("env").ok() },
	} {
		old, err := os.Stat(dir)
		r.must(err)
		build()
		if now, err := os.Stat(dir); err != nil || os.SameFile(old, now) {
			t.Fatalf("no new tree: %v", err)
		}
		for _, name := range []string{loader, dir + "/empty", dir + "/to-etc"} {
			if _, err := os.Lstat(name); err != nil {
				t.Error(err)
			}
		}
		if fi, err := os.Stat(rom[0]); err != nil || !fi.ModTime().Equal(future) || rtRead(t, rom[0]) != changed {
			t.Errorf("the changed file: %v, %v", fi, err)
		}
		if fi, err := os.Stat(dir + "/hermit"); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("the added directory: %v, %v", fi, err)
		}
	}
	if res := c.run(); res.code != 6 {
		t.Errorf("exit code %d, %q", res.code, res.err)
	}
	if left, _ := filepath.Glob(r.dir + "/.tree*"); len(left) != 0 {
		t.Errorf("left %q", left)
	}
	// Another file system in the tree is the operator's, with all that is in it.
	mount := dir + "/empty"
	r.must(unix.Mount("tmpfs", mount, "tmpfs", 0, ""))
	t.Cleanup(func() { unix.Unmount(mount, unix.MNT_DETACH) })
	r.must(os.WriteFile(mount+"/precious", nil, 0o644))
	r.do("env", "build", dir).fails("is a mount")
	if _, err := os.Stat(mount + "/precious"); err != nil {
		t.Error(err)
	}
}

// env and check look where run does: at hermit_env of --config, and at nothing else.
func TestEnvOfConfig(t *testing.T) {
	r := newHermit(t)
	dir, config := filepath.Join(r.dir, "tree"), filepath.Join(r.dir, "config.toml")
	r.must(os.WriteFile(config, []byte("hermit_env = \""+dir+"\"\n"), 0o644))
	r.global = []string{"--config", config}
	r.do("env", "build").ok()
	if out := r.do("env").ok().out; !strings.Contains(out, "the tree "+dir) {
		t.Errorf("env: %q", out)
	}
	if out := r.do("check").ok().out; !strings.Contains(out, " in "+dir+"\n") || !strings.Contains(out, "ok  config     "+config) {
		t.Errorf("check: %q", out)
	}
	qemu := dir + "/usr/bin/qemu-system-x86_64"
	r.must(os.Chmod(qemu, 0o644))
	for _, args := range [][]string{{"env"}, {"env", "check"}, {"check"}} {
		if res := r.do(args...); res.code != 1 || !strings.Contains(res.out+res.err, "not executable") {
			t.Errorf("%s with a broken tree: exit code %d, %q, %q", args, res.code, res.out, res.err)
		}
	}
	r.must(os.WriteFile(config, []byte("hermit_evn = \"/x\"\n"), 0o644))
	for _, args := range [][]string{{"env"}, {"env", "check"}, {"env", "build"}, {"check"}} {
		if res := r.do(args...); res.code != 1 || !strings.Contains(res.out+res.err, "did you mean hermit_env?") {
			t.Errorf("%s with a broken config: exit code %d, %q, %q", args, res.code, res.out, res.err)
		}
	}
}

// The advice fits the error: a device of the host's is hidden or closed in a mount namespace of the test's.
func TestCheckDevices(t *testing.T) {
	r := newHermit(t)
	if _, err := os.Stat("/dev/kvm"); err != nil {
		needs(t, false, "/dev/kvm, to be covered")
	}
	check := func(script string, user int) string {
		cmd := exec.Command("unshare", "-m", "--propagation", "private", "sh", "-ec", script+`
			exec setpriv --reuid `+strconv.Itoa(user)+` --clear-groups "$0" --root "$1/checked" check`, r.bin, r.dir)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		out, _ := cmd.CombinedOutput()
		_, kvm, _ := strings.Cut(string(out), " kvm  ")
		return kvm
	}
	r.must(os.Chmod(r.dir, 0o755))
	for _, x := range []struct {
		script, says string
		user         int
	}{
		{`mount -t tmpfs -o mode=755 none /dev; mknod -m 666 /dev/null c 1 3`, "(ENOENT) guests run slower, under TCG; ", 0},
		{`mount -t tmpfs -o mode=755 none /dev; mknod -m 666 /dev/null c 1 3; mknod -m 600 /dev/kvm c 10 232`, "(EACCES) guests run slower, under TCG; join the group kvm: ", 1234},
		{`mount -t tmpfs -o mode=755 none /dev; mknod -m 666 /dev/null c 1 3; mknod -m 600 /dev/kvm c 60 1`, "(ENXIO) guests run slower, under TCG; ", 0},
	} {
		if got := strings.Join(strings.Fields(check(x.script, x.user)), " "); !strings.Contains(got, x.says) {
			t.Errorf("%s: %q, want %q", x.script, got, x.says)
		}
	}
}

// A tree that was built of another QEMU than the host has now is built anew by the first who wants it, while others start from it.
func TestEnvRebuilt(t *testing.T) {
	r := newHermit(t)
	dir := filepath.Join(r.dir, "tree")
	r.do("env", "build", dir).ok()
	stamp := rtRead(t, dir+"/"+treeStampName)
	qemu, _, _ := strings.Cut(stamp, "\n")
	r.global = []string{"--hermit-env", dir}
	for range 3 {
		// One more file that is in the list, and so runh's.
		r.must(os.WriteFile(dir+"/old", nil, 0o644))
		info, err := os.Stat(dir + "/old")
		r.must(err)
		list := strings.SplitN(rtRead(t, dir+"/"+treeStampName), "\n", 3)[2]
		r.must(os.WriteFile(dir+"/"+treeStampName, []byte(qemu+"\nanother\n"+fileMark(info)+" old\n"+list), 0o644))
		var wg sync.WaitGroup
		for range 6 {
			c := r.guest("app", []string{"exit", "6"}, annotated("network", "none"))
			wg.Go(func() {
				if res := c.run(); res.code != 6 {
					t.Errorf("exit code %d, %q", res.code, res.err)
				}
			})
		}
		wg.Wait()
		if now := rtReadOr(dir + "/" + treeStampName); strings.SplitN(now, "\n", 3)[1] != strings.SplitN(stamp, "\n", 3)[1] {
			t.Errorf("the tree is of %q, want %q", now, stamp)
		}
		if _, err := os.Stat(dir + "/old"); err == nil {
			t.Error("the old tree is still there")
		}
	}
	if left, _ := filepath.Glob(r.dir + "/.tree*"); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// What upstream's users have: a Linux base image, unpacked, with a QEMU from its distribution and the loader for images that bring
// nothing but their application.
func TestEnvBaseImage(t *testing.T) {
	r := newHermit(t)
	built, dir := filepath.Join(r.dir, "built"), filepath.Join(r.dir, "base")
	r.do("env", "build", built).ok()
	r.must(exec.Command("sh", "-ec", `
		mkdir -p $2/hermit $2/root $2/proc $2/etc
		cp -a $1/usr $2/usr
		for d in lib lib64; do
			if [ -d $1/$d ]; then mkdir -p $2/usr/$d; cp -a $1/$d/. $2/usr/$d/; fi
			ln -s usr/$d $2/$d
		done
		echo secret >$2/root/secret
		echo localhost >$2/etc/hostname`, "sh", built, dir).Run())
	r.global = []string{"--hermit-env", dir}
	for image, machine := range map[string]string{"app": "microvm", "app-pci": "pc"} {
		c := r.guest(image, []string{"exit", "8"})
		r.must(os.Rename(c.rootfs()+"/hermit/hermit-loader", dir+"/hermit/hermit-loader"))
		if res := c.run(); res.code != 8 {
			t.Errorf("%s: exit code %d, %q", machine, res.code, res.err)
		}
	}
	r.do("env", "check").ok()
	r.do("check").ok()
	r.must(os.Remove(dir + "/usr/bin/qemu-system-x86_64"))
	if out := r.do("env").ok().out; !strings.Contains(out, "mounted one by one") {
		t.Errorf("a tree without QEMU: %q", out)
	}
}
