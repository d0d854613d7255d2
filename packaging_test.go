// What make install and make deb put on a host: files that work there.

package main

import (
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// script runs one of testdata's for the binary under test.
func (r *rt) script(name string, env ...string) string {
	r.Helper()
	cmd := exec.Command("sh", "testdata/"+name)
	cmd.Env = append(append(os.Environ(), "RUNH="+r.bin), env...)
	res := r.doCmd(cmd)
	if res.code != 0 {
		r.Fatalf("%s: exit code %d, %s", name, res.code, res.err)
	}
	return res.out
}

func TestMakeInstall(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("its own scripts")
	to := r.dir + "/to"
	r.script("install.sh", "DESTDIR="+to, "PREFIX=/usr")
	if res := r.doCmd(exec.Command(to+"/usr/sbin/runh", "--version")); res.code != 0 || res.out != version() {
		t.Errorf("the installed binary: %d, %q", res.code, res.out)
	}
	f, err := os.Open(to + "/usr/share/man/man8/runh.8.gz")
	r.must(err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	r.must(err)
	page, err := io.ReadAll(z)
	r.must(err)
	for _, c := range commands {
		if !strings.Contains(string(page), "\n.SH RUNH "+strings.ToUpper(c.name)+"\n.nf\nrunh "+c.name) {
			t.Errorf("the man page lacks %s", c.name)
		}
	}

	// The operator's settings outlive an update; the sample's are allowed, and all there are.
	config := to + "/etc/runh/config.toml"
	sample := rtRead(t, config)
	r.must(os.WriteFile(config, []byte("smp = 2\n"), 0o644))
	r.script("install.sh", "DESTDIR="+to, "PREFIX=/usr")
	if got := rtRead(t, config); got != "smp = 2\n" {
		t.Errorf("after the second time config.toml is %q", got)
	}
	settings := regexp.MustCompile(`(?m)^# ([a-z_]+) = .*`).FindAllStringSubmatch(sample, -1)
	var c hermitConfig
	for _, s := range settings {
		if err := c.parse([]byte(strings.TrimPrefix(s[0], "# "))); err != nil {
			t.Errorf("%s: %v", s[0], err)
		}
	}
	_, allowed, _ := strings.Cut(c.parse([]byte("nosuch = 1")).Error(), "allowed are ")
	for _, key := range strings.Split(allowed, ", ") {
		if key != "kvm" && !slices.ContainsFunc(settings, func(s []string) bool { return s[1] == key }) {
			t.Errorf("docs/config.toml lacks %s", key)
		}
	}
}

func TestMakeDeb(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("its own scripts")
	var packages [2]string
	for i := range packages {
		out := filepath.Join(r.dir, "out"+string(rune('0'+i)))
		r.must(os.Mkdir(out, 0o755))
		r.script("deb.sh", "OUT="+out, "QEMU="+r.dir+"/none")
		packages[i] = rtRead(t, out+"/runh_"+release+"_amd64.deb")
	}
	if packages[0] == "" || packages[0] != packages[1] {
		t.Errorf("two packages of the same source differ: %d and %d bytes", len(packages[0]), len(packages[1]))
	}
	to := r.dir + "/to"
	deb := r.dir + "/out0/runh_" + release + "_amd64.deb"
	if out, err := exec.Command("dpkg-deb", "-x", deb, to).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb -x: %v: %s", err, out)
	}
	if res := r.doCmd(exec.Command(to+"/usr/sbin/runh", "--version")); res.code != 0 || res.out != version() {
		t.Errorf("the packaged binary: %d, %q", res.code, res.out)
	}
	out, err := exec.Command("dpkg-deb", "-I", deb, "conffiles").CombinedOutput()
	if err != nil || string(out) != "/etc/runh/config.toml\n" {
		t.Errorf("conffiles: %v: %q", err, out)
	}
}

// The second package is the tree of make qemu, whole and where runh looks for it.
func TestMakeDebQEMU(t *testing.T) {
	tree := rtQEMUTree(t)
	r := newRT(t)
	r.onlyRunh("its own scripts")
	var packages [2]string
	for i := range packages {
		out := filepath.Join(r.dir, "out"+string(rune('0'+i)))
		r.must(os.Mkdir(out, 0o755))
		r.script("deb.sh", "OUT="+out, "QEMU="+tree)
		found, err := filepath.Glob(out + "/runh-qemu_*_amd64.deb")
		if err != nil || len(found) != 1 {
			t.Fatalf("packages %q, %v", found, err)
		}
		packages[i] = found[0]
	}
	if rtRead(t, packages[0]) != rtRead(t, packages[1]) {
		t.Error("two packages of the same tree differ")
	}
	to := r.dir + "/to"
	if out, err := exec.Command("dpkg-deb", "-x", packages[0], to).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb -x: %v: %s", err, out)
	}
	if _, _, err := wholeTree(to + packagedTree); err != nil {
		t.Error(err)
	}
	if size := len(rtRead(t, packages[0])); size > 4e6 {
		t.Errorf("the package has %d bytes", size)
	}
}

// What the Tab key finds, in three shells.
func TestCompletion(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("its own scripts")
	needsPrograms(t, "bash", "zsh", "fish")
	bin := r.dir + "/bin"
	r.must(os.Mkdir(bin, 0o755))
	// The shells call the runh in $PATH; this one has the test's containers.
	r.must(os.WriteFile(bin+"/runh", []byte("#!/bin/sh\nexec "+r.bin+" --root "+r.root+" \"$@\"\n"), 0o755))
	c := r.bundle([]string{"true"}).create()
	top, err := filepath.Abs("completion")
	r.must(err)
	shells := map[string]func(words []string) []string{
		"bash": func(words []string) []string {
			return []string{
				"--norc", "-c", `source ` + top + `/runh.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _runh; printf '%s\n' "${COMPREPLY[@]}"`, "bash",
			}
		},
		"zsh": func(words []string) []string { // compadd is zsh's own to match with; here it is enough to see what it is given
			return []string{
				"-f", "-c", `compadd() { shift; print -l -- ${(M)@:#$words[CURRENT]*} }; words=("$@"); CURRENT=$#; script="$(<` + top + `/_runh)"; eval "${script/\"\$@\"/}"`, "zsh",
			}
		},
		"fish": func(words []string) []string {
			return []string{"--no-config", "-c", `source ` + top + `/runh.fish; complete -C "` + strings.Join(words, " ") + `"`}
		},
	}
	for _, x := range []struct{ words, want string }{
		{"runh st", "start state"},
		{"runh --debug che", "check checkpoint"},
		{"runh delete --f", "--force"},
		{"runh kill " + r.token, c.id},
		{"runh install ", "containerd crio docker"},
		{"runh help expl", "explain"},
	} {
		words := strings.Split(x.words, " ")
		for shell, args := range shells {
			all := args(words)
			if shell != "fish" {
				all = append(all, words...)
			}
			cmd := exec.Command(shell, all...)
			cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin:/usr/sbin", "HOME=" + r.dir}
			res := r.doCmd(cmd)
			var got []string
			for l := range strings.Lines(res.out) {
				word, _, _ := strings.Cut(strings.TrimSpace(l), "\t")
				got = append(got, word)
			}
			slices.Sort(got)
			if strings.Join(got, " ") != x.want {
				t.Errorf("%s: %q is completed by %q, want %q; %s", shell, x.words, got, x.want, res.err)
			}
		}
	}
}
