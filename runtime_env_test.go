// What an operator asks before anything runs: explain, check and env.
package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestExplain(t *testing.T) {
	r := newHermit(t)
	limit := int64(256 << 20)
	c := r.guest("app", []string{"exit", "5"}, func(s *specs.Spec) {
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit}
		s.Process.Env = append(s.Process.Env, "COLOUR=green", "LONG="+strings.Repeat("x", 500))
	}).loader("loader-4k")
	c.write()
	res := r.do("explain", "--bundle", c.dir, "--format", "json").ok()
	var e explanation
	r.must(json.Unmarshal([]byte(res.out), &e))
	if e.Kind != "hermit" || e.Machine != "microvm" || e.Accel != "tcg" || e.Loader != "/hermit/hermit-loader" || e.Limit != 256 || e.Memory >= 256 || e.Memory < 64 {
		t.Errorf("explained as %+v", e)
	}
	if !strings.Contains(e.BootArgs, "env=COLOUR=green") || !strings.HasSuffix(e.BootArgs, "-- exit 5") || strings.Join(e.Dropped, " ") != "LONG" {
		t.Errorf("boot arguments %q, left out %q", e.BootArgs, e.Dropped)
	}
	if line := strings.Join(e.QEMU, " "); !strings.Contains(line, "-M microvm,") || !strings.Contains(line, e.BootArgs) {
		t.Errorf("QEMU's command line %q", line)
	}
	if text := r.do("explain", "--bundle", c.dir).ok().out; !strings.Contains(text, "\nmachine       microvm, tcg, 1 vCPU\n") {
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
	other := filepath.Join(r.dir, "other")
	r.must(os.MkdirAll(other+"/precious", 0o755))
	r.do("env", "build", other).fails("left alone")
	if _, err := os.Stat(other + "/precious"); err != nil {
		t.Error(err)
	}
}

// A tree that was built of another QEMU than the host has now is built anew by the first who wants it, while others start from it.
func TestEnvRebuilt(t *testing.T) {
	r := newHermit(t)
	dir := filepath.Join(r.dir, "tree")
	r.do("env", "build", dir).ok()
	stamp := rtRead(t, dir+"/"+envStamp)
	qemu, _, _ := strings.Cut(stamp, "\n")
	r.global = []string{"--hermit-env", dir}
	for range 3 {
		r.must(os.WriteFile(dir+"/"+envStamp, []byte(qemu+"\nanother\n"), 0o644))
		r.must(os.WriteFile(dir+"/old", nil, 0o644))
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
		if now := rtReadOr(dir + "/" + envStamp); now != stamp {
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
