// The tree of make qemu: guests on it, copies of it, the package's before the host's QEMU, and trees that are none.
package main

import (
	"bytes"
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// rtQEMUTree is what make qemu has built.
func rtQEMUTree(t *testing.T) string {
	t.Helper()
	tree, err := filepath.Abs("build/qemu")
	if err == nil {
		_, err = os.Stat(tree)
	}
	needs(t, err == nil, "build/qemu: make qemu")
	return tree
}

// copyTree copies a tree with all that its stamp tells of.
func (r *rt) copyTree(from, name string) string {
	r.Helper()
	to := filepath.Join(r.dir, name)
	r.must(exec.Command("cp", "-a", from, to).Run())
	return to
}

func TestQEMUTree(t *testing.T) {
	tree := rtQEMUTree(t)
	r := newHermit(t)
	r.global = []string{"--hermit-env", tree}
	if out := r.do("env").ok().out; !strings.Contains(out, "from   the tree "+tree+": qemu ") {
		t.Errorf("env: %q", out)
	}
	if out := r.do("env", "check").ok().out; !strings.HasSuffix(out, ": microvm, pc, q35\n") {
		t.Errorf("env check: %q", out)
	}
	if out := r.do("check").ok().out; !strings.Contains(out, "ok  qemu       /usr/bin/qemu-system-x86_64 in "+tree+": qemu ") {
		t.Errorf("check: %q", out)
	}
	for _, x := range []struct{ machine, image, network string }{
		{"microvm", "app", "none"},
		{"microvm", "app", "user"},
		{"microvm", "app", "shared"},
		{"microvm", "app-pvh", "none"},
		{"pc", "app-pci", "user"},
		{"pc", "app-pci", "shared"},
		{"pc", "app-pvh", "none"},
		{"q35", "app-pci", "shared"},
	} {
		t.Run(x.machine+" "+x.image+" "+x.network, func(t *testing.T) {
			c := r.guest(x.image, []string{"print", "here", ";", "exit", "9"}, annotated("machine", x.machine), annotated("network", x.network))
			if res := c.run(); res.code != 9 || !strings.Contains(res.out, "here") {
				t.Errorf("exit code %d, %q, %q", res.code, res.out, res.err)
			}
		})
	}
}

// What the tree promises: two programs' worth of files, no library, no path of the build, and no more than it should weigh.
func TestQEMUTreeContent(t *testing.T) {
	tree := rtQEMUTree(t)
	if _, _, err := wholeTree(tree); err != nil {
		t.Fatal(err)
	}
	var total int64
	var names []string
	err := filepath.WalkDir(tree, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		total += info.Size()
		if name, _ := filepath.Rel(tree, path); !strings.HasPrefix(name, "licences/") {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = ".runh-env usr/bin/qemu-system-x86_64 usr/share/qemu/bios-256k.bin usr/share/qemu/kvmvapic.bin usr/share/qemu/multiboot_dma.bin usr/share/qemu/pvh.bin usr/share/qemu/qboot.rom"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("files %q, want %q", got, want)
	}
	if total > 9e6 {
		t.Errorf("the tree has %d bytes", total)
	}
	data, err := os.ReadFile(tree + "/usr/bin/qemu-system-x86_64")
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > 8e6 {
		t.Errorf("QEMU has %d bytes", len(data))
	}
	for _, path := range []string{"/tmp/", "/build/", "/home/", filepath.Dir(filepath.Dir(tree))} {
		if i := bytes.Index(data, []byte(path)); i >= 0 && path != "/tmp/" {
			t.Errorf("QEMU has a path of the build: %q", data[i:i+60])
		}
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	relro := false
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_GNU_STACK && p.Flags&elf.PF_X != 0 {
			t.Errorf("segment %v %v", p.Type, p.Flags)
		}
		relro = relro || p.Type == elf.PT_GNU_RELRO
	}
	if f.Type != elf.ET_DYN || !relro || f.Section(".symtab") != nil {
		t.Errorf("type %v, relro %v: want a stripped program that is loaded anywhere, with relro", f.Type, relro)
	}
	for _, file := range []string{"sources", "GPL-2", "LGPL-2.1"} {
		if info, err := os.Stat(tree + "/licences/" + file); err != nil || info.Size() == 0 {
			t.Errorf("licences/%s: %v", file, err)
		}
	}
}

// A copy is as good as the tree. No QEMU of the host's has a say in it, and what the operator adds to it stays.
func TestEnvBuildFrom(t *testing.T) {
	tree := rtQEMUTree(t)
	r := newHermit(t)
	dir := filepath.Join(r.dir, "copy")
	r.do("env", "build", "--from", tree, dir).ok()
	r.must(os.WriteFile(dir+"/mine", nil, 0o644))
	r.do("env", "build", "--from="+tree, dir).ok()
	r.global = []string{"--hermit-env", dir}
	if out := r.do("env").ok().out; !strings.Contains(out, "from   the tree "+dir+": qemu ") {
		t.Errorf("env: %q", out)
	}
	before, err := os.Stat(dir)
	r.must(err)
	if res := r.guest("app", []string{"exit", "6"}).run(); res.code != 6 {
		t.Errorf("exit code %d, %q", res.code, res.err)
	}
	if after, err := os.Stat(dir); err != nil || !os.SameFile(before, after) {
		t.Errorf("the tree was built anew: %v", err)
	}
	if _, err := os.Stat(dir + "/mine"); err != nil {
		t.Error(err)
	}
	// From a copy, too; and the host's QEMU takes its place again, if asked.
	r.do("env", "build", "--from", dir, dir+"2").ok()
	r.do("env", "build", dir).ok()
	if out := r.do("env").ok().out; !strings.Contains(out, "from   the tree "+dir+"\n") {
		t.Errorf("env: %q", out)
	}
}

// Each tree that is none of make qemu's is refused in one line, and nothing is made.
func TestEnvBuildFromRefused(t *testing.T) {
	r := newHermit(t)
	fake := r.dir + "/fake"
	r.must(os.MkdirAll(fake+"/usr/bin", 0o755))
	r.must(os.WriteFile(fake+"/usr/bin/qemu-system-x86_64", []byte("a program"), 0o755))
	stamp := func(head string) {
		_ = os.Remove(fake + "/" + treeStampName)
		r.must(writeStamp(fake, head, strings.Repeat("0", 64)))
	}
	host := r.dir + "/host"
	r.do("env", "build", host).ok()
	for _, x := range []struct {
		name, from, says string
		prepare          func()
	}{
		{"missing", r.dir + "/nowhere", "no tree of make qemu", func() {}},
		{"no stamp", fake, "no tree of make qemu", func() {}},
		{"a copy of the host's", host, "no tree of make qemu", func() {}},
		{"another program", fake, "is damaged", func() { stamp("qemu 1") }},
		{"a file less", fake, "is not whole", func() {
			r.must(os.WriteFile(fake+"/more", nil, 0o644))
			stamp("qemu 1")
			r.must(os.Remove(fake + "/more"))
		}},
		{"another time", fake, "is not as it was built: usr/bin/qemu-system-x86_64", func() {
			stamp("qemu 1")
			r.must(os.Chtimes(fake+"/usr/bin/qemu-system-x86_64", time.Time{}, time.Unix(1, 0)))
		}},
		{"no QEMU", fake, "has no QEMU", func() {
			r.must(os.Rename(fake+"/usr/bin/qemu-system-x86_64", fake+"/usr/bin/other"))
			stamp("qemu 1")
		}},
	} {
		x.prepare()
		res := r.do("env", "build", "--from", x.from, r.dir+"/new").fails(x.says)
		if strings.Count(res.err, "\n") != 1 {
			t.Errorf("%s: more than a line: %q", x.name, res.err)
		}
	}
	if left, _ := filepath.Glob(r.dir + "/*new*"); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	r.do("env", "--from", host).fails("--from belongs to runh env build")
	r.do("env", "check", "--from", host).fails("--from belongs to runh env build")
}

// The package's tree goes before the host's QEMU, as long as it is whole, and after the operator's: in a mount namespace
// of the test's, where /usr/lib/runh/qemu is.
func TestQEMUPackaged(t *testing.T) {
	tree := rtQEMUTree(t)
	r := newHermit(t)
	r.onlyRunh("its own files")
	needsPrograms(t, "unshare")
	c := r.guest("app", []string{"exit", "6"})
	c.write()
	own := r.copyTree(tree, "own")
	inside := func(prepare string, args ...string) result {
		t.Helper()
		cmd := exec.Command("unshare", append([]string{"-m", "--propagation", "private", "sh", "-ec", `
			mkdir -p "$1/over"
			mount -t tmpfs none "$1/over"
			mkdir "$1/over/upper" "$1/over/work"
			mount -t overlay -o "lowerdir=/usr/lib,upperdir=$1/over/upper,workdir=$1/over/work" none /usr/lib
			mkdir -p /usr/lib/runh
			cp -a "$2" /usr/lib/runh/qemu
			cd /usr/lib/runh/qemu
			` + prepare + `
			shift 2
			exec "$@"`, "sh", r.dir, tree, r.bin, "--root", r.root}, args...)...)
		return r.doCmd(cmd)
	}
	const packaged = "the tree /usr/lib/runh/qemu of the package runh-qemu, before any QEMU of the host: qemu "
	run := []string{"run", "--bundle", c.dir, c.id}
	for _, x := range []struct{ name, prepare, says string }{
		{"whole", "", packaged},
		{"a changed program", "touch usr/bin/qemu-system-x86_64", "mounted one by one: /usr/lib/runh/qemu is not as it was built: usr/bin/qemu-system-x86_64"},
		{"a file less", "rm usr/share/qemu/qboot.rom", "mounted one by one: /usr/lib/runh/qemu is not whole"},
		{"no stamp", "rm .runh-env", "mounted one by one: /usr/lib/runh/qemu is no tree of make qemu"},
		{"empty", "cd .. && rm -r qemu && mkdir qemu", "mounted one by one: /usr/lib/runh/qemu is no tree of make qemu"},
		{"none", "cd .. && rm -r qemu", "from   the host's files, mounted one by one\n"},
	} {
		t.Run(x.name, func(t *testing.T) {
			if out := inside(x.prepare, "env").ok().out; !strings.Contains(out, x.says) {
				t.Errorf("env: %q lacks %q", out, x.says)
			}
			says := strings.TrimPrefix(strings.TrimSpace(x.says), "from   ")
			if out := inside(x.prepare, "explain", "--bundle", c.dir).ok().out; !strings.Contains(out, "\nvmm           QEMU from ") || !strings.Contains(out, says) {
				t.Errorf("explain: %q lacks %q", out, says)
			}
			if res := inside(x.prepare, run...); res.code != 6 {
				t.Errorf("exit code %d, %q", res.code, res.err)
			}
		})
	}
	if out := inside("", "check").ok().out; !strings.Contains(out, "ok  qemu       /usr/bin/qemu-system-x86_64 in "+strings.TrimPrefix(packaged, "the tree ")) {
		t.Errorf("check: %q", out)
	}
	if out := inside("rm usr/share/qemu/qboot.rom", "check").ok().out; !strings.Contains(out, "--  qemu ") || !strings.Contains(out, "/usr/lib/runh/qemu is not whole") {
		t.Errorf("check with a damaged tree: %q", out)
	}
	if out := inside("", "--hermit-env", own, "env").ok().out; !strings.Contains(out, "the tree "+own+": qemu ") {
		t.Errorf("env with a tree of the operator's: %q", out)
	}
	// `env build` copies the host's own QEMU, wherever guests get theirs from.
	if out := inside("", "env", "build", r.dir+"/built").ok().out; !strings.Contains(out, " files, ") || readStamp(r.dir+"/built").built() != "" {
		t.Errorf("env build: %q", out)
	}
}

// Debian's and Ubuntu's smallest QEMU goes by another name: it is the last that is looked for, and has one machine.
func TestQEMUMicrovm(t *testing.T) {
	tree := rtQEMUTree(t)
	r := newHermit(t)
	own := r.copyTree(tree, "own")
	r.must(os.Remove(own + "/" + treeStampName))
	r.must(os.Rename(own+"/usr/bin/qemu-system-x86_64", own+"/usr/bin/qemu-system-x86_64-microvm"))
	r.global = []string{"--hermit-env", own}
	if out := r.do("env", "check").ok().out; out != "ok     /usr/bin/qemu-system-x86_64-microvm: microvm\n" {
		t.Errorf("env check: %q", out)
	}
	if out := r.do("check").ok().out; !strings.Contains(out, "ok  qemu       /usr/bin/qemu-system-x86_64-microvm in "+own) {
		t.Errorf("check: %q", out)
	}
	if res := r.guest("app", []string{"exit", "6"}).run(); res.code != 6 {
		t.Errorf("exit code %d, %q", res.code, res.err)
	}
	r.guest("app-pci", []string{"exit", "6"}, func(s *specs.Spec) {}).tryCreate().fails("has no machine pc, only microvm")
}
