// Binaries that Hermit's own people built (testdata/hermit): a loader and applications of 2023, which show what the stand-in is a stand-in
// for; and the guests' tests once more with other programs around them: virtiofsd in Rust, and QEMU of Debian testing.

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// realHermit is where `make deps` puts them.
func realHermit(t *testing.T, file string) string {
	t.Helper()
	p, err := filepath.Abs("build/hermit/" + file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(p)
	needs(t, err == nil, "build/hermit/"+file+", which make deps fetches")
	return p
}

// realRootfs lays out an image with one of the applications and the loader, under names that say nothing about its age.
func realRootfs(r *rt, root, app string) {
	r.Helper()
	r.must(os.MkdirAll(root+"/hermit", 0o755))
	for from, to := range map[string]string{app: "app", "rusty-loader-x86_64": "hermit-loader"} {
		r.must(os.WriteFile(root+"/hermit/"+to, []byte(rtRead(r.T, realHermit(r.T, from))), 0o755))
	}
}

func (r *rt) realGuest(app string, args []string, edits ...func(*specs.Spec)) *ctr {
	r.Helper()
	c := r.bundle(append([]string{"/hermit/app"}, args...), append(edits, accelerated)...)
	r.must(os.RemoveAll(c.rootfs()))
	realRootfs(r, c.rootfs(), app)
	return c
}

// realOutput is what hello_c prints with these arguments, without the log of loader and kernel around it: kernel 0.6 has no words for argv[0].
func realOutput(args ...string) string {
	out := "Hello World!!!\nargv[0] = {name}\n"
	for i, a := range args {
		out += fmt.Sprintf("argv[%d] = %s\n", i+1, a)
	}
	return out
}

func TestRealHermit(t *testing.T) {
	r := newHermit(t)
	for _, args := range [][]string{nil, {"two words", "it's", `a"b`, "$HOME", `\\`, "--flag=x"}} {
		res := r.realGuest("hello_c", args).run()
		if res.code != 0 || res.err != "" || !strings.Contains(res.out, realOutput(args...)) || !strings.Contains(res.out, "[LOADER][INFO] Jumping to HermitCore Application Entry Point at ") {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q", args, res.code, res.out, res.err)
		}
	}
	// The standard library of that one panics with QEMU 7.2, and does not with 11.1. Kernels before 0.7 power off whatever an application returned.
	res := r.realGuest("hello_world", nil).run()
	panics := strings.Contains(res.out, "panicked at 'called `Option::unwrap()` on a `None` value'") && strings.Contains(res.out, "thread panicked while panicking. aborting.")
	if res.code != 0 || res.err != "" || !panics && !strings.Contains(res.out, "\nHello World!\n") {
		t.Errorf("a panic: exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
	}
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// The guest has the memory that runh has worked out, at the smallest limit that create takes, too.
func TestRealHermitMemory(t *testing.T) {
	r := newHermit(t)
	limit := func(mib int64) func(*specs.Spec) {
		return func(s *specs.Spec) {
			n := mib << 20
			s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &n, Swap: &n}
		}
	}
	res := r.realGuest("hello_c", nil, limit(16)).run().fails("memory limit of 16 MiB is too small")
	least := int64(16)
	for range 3 { // a larger limit has a larger share of QEMU's in it, so the sum is known only near it
		if m := regexp.MustCompile(`together (\d+) MiB`).FindStringSubmatch(res.err); m != nil {
			fmt.Sscan(m[1], &least)
		}
		if res = r.realGuest("hello_c", nil, limit(least)).run(); !strings.Contains(res.err, "is too small") {
			break
		}
	}
	if least > 160 || res.code != 0 && !strings.Contains(res.out, "PANIC") {
		t.Fatalf("limit %d MiB: exit code %d, %q", least, res.code, res.err)
	}
	before := 0
	for _, mib := range []int64{least, 160, 256} {
		res := r.realGuest("hello_c", nil, limit(mib)).run()
		var has int
		if _, after, found := strings.Cut(res.out, "Total memory size: "); found {
			fmt.Sscan(after, &has)
		}
		// That kernel puts 20 MiB of heap beside itself, and in 32 MiB it panics: the container must not end with 0.
		panics := mib == least && res.code == 1 && strings.Contains(res.out, "[0][PANIC] panicked at ")
		if !panics && (res.code != 0 || !strings.Contains(res.out, realOutput())) || has <= before || int64(has) >= mib {
			t.Errorf("limit %d MiB: exit code %d, the guest has %d MiB (before %d); stdout %q, stderr %q", mib, res.code, has, before, res.out, res.err)
		}
		before = has
	}
}

// An application of entry version 4 is nothing for that loader, and runh says so. Where it cannot know, the loader panics and spins,
// and the container ends none the less.
func TestRealHermitLoaderPanics(t *testing.T) {
	r := newHermit(t)
	old := []byte(rtRead(t, realHermit(t, "rusty-loader-x86_64")))
	use := func(loader []byte) *ctr {
		c := r.guest("app", []string{"hello"})
		r.must(os.Remove(c.rootfs() + "/hermit/hermit-loader"))
		r.must(os.WriteFile(c.rootfs()+"/hermit/hermit-loader", loader, 0o755))
		return c
	}
	use(old).run().fails("/hermit/app has Hermit entry version 4: the loader takes version 3 only")
	res := use(bytes.ReplaceAll(old, []byte("hermit-entry-0.9.3"), []byte("hermit-entry-?????"))).run()
	if res.code != 1 || !strings.Contains(res.out, "[LOADER] panicked at ") || !strings.Contains(res.out, "hermit entry version does not match") {
		t.Errorf("exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
	}
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

func TestDockerRealHermit(t *testing.T) {
	k := newDockHermit(t)
	root := filepath.Join(k.d.dir, "image-real")
	realRootfs(k.rt, root, "hello_c")
	k.must(k.d.importImage("hermit-real", root, `ENTRYPOINT ["/hermit/app"]`))
	for _, flags := range [][]string{nil, {"-m", "256m"}, {"--network", "none"}} {
		res := k.run(append(flags, "hermit-real", "two words", "it's")...)
		// Its network is its environment.
		out := regexp.MustCompile(`(?m)^environ\[\d\] = HERMIT_.*\n`).ReplaceAllString(res.out, "")
		if res.code != 0 || !strings.Contains(out, realOutput("two words", "it's")) || (len(flags) == 0) && !strings.Contains(res.out, "HERMIT_IP=169.254.") {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q", flags, res.code, res.out, res.err)
		}
	}
	res := k.docker("run", "--rm", "--runtime=runh", "-m", "16m", "hermit-real")
	if res.code == 0 || !strings.Contains(res.err, "memory limit of 16 MiB is too small") {
		t.Errorf("16 MiB: exit code %d, stderr %q", res.code, res.err)
	}
}

func TestContainerdRealHermit(t *testing.T) {
	d := newContainerd(t)
	d.onlyRunh("only runh boots guests")
	root := d.dir + "/real"
	realRootfs(d.rt, root, "hello_c")
	d.importImage("hermit-real", root, "/hermit/app")
	if res := d.run("hermit-real", "/hermit/app", "two words"); res.code != 0 || !strings.Contains(res.out, realOutput("two words")) {
		t.Errorf("exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
	}
}

// rtHermitEnv is the tree that a run of guests' tests is to use, "" for the host's programs.
func rtHermitEnv() string { return os.Getenv("RUNH_TEST_HERMIT_ENV") }

// rtVirtiofsd is the one that guests get here, nil for none.
func rtVirtiofsd() *shareFiles {
	if dir := rtHermitEnv(); dir != "" {
		if qemu, err := treeQEMUFiles(dir); err == nil && qemu != nil {
			return qemu.virtiofsd()
		}
		return nil
	}
	return hostVirtiofsd()
}

// The tests of this list again, by this test program, in two trees as an operator would make them: the host's QEMU with a virtiofsd of
// his own build, and an unpacked Debian testing.
func TestHermitOtherEnvironments(t *testing.T) {
	r := newHermit(t)
	if rtHermitEnv() != "" {
		t.Skip("this is such a run")
	}
	r.onlyRunh("only runh boots guests")
	_, err := rtGuest()
	r.must(err)
	r.must(os.Chmod(r.dir, 0o711)) // for guests whose root is an ordinary user
	own := r.dir + "/own"
	r.do("--hermit-env", own, "env", "build").ok()
	r.must(os.MkdirAll(own+"/usr/local/bin", 0o755))
	r.must(exec.Command("cp", realHermit(t, "bin/virtiofsd"), own+"/usr/local/bin/").Run())
	const files = "^TestDockerDropIn$|^TestShare(Rootfs|Volumes|Home|ReadOnly|Hostile|Jail|Ends|Twenty|Memory|Refused|Users)"
	for _, x := range []struct{ name, dir, tests string }{
		{"virtiofsd in Rust", own, files},
		{
			"make qemu", rtQEMUTree(t),
			"^TestHermit(Run|ExitCodes|Arguments|Output|Binary|Stdin|Signals|Lifecycle|PowerButton|MemoryLimit|LoaderVersions|Jail|Breakout)|^TestNetwork(Ports|Restart|User)|^TestCheckpoint(Counter|Time)|^TestTemplate(Key|Time)|^TestShare(Rootfs|Volumes)",
		},
		{
			"Debian testing", filepath.Dir(filepath.Dir(filepath.Dir(realHermit(t, "testing/usr/bin/qemu-system-x86_64")))),
			files + "|^TestRealHermit|^TestHermit(Run|ExitCodes|Arguments|Output|Stdin|Signals|Lifecycle|Pause|PowerButton|MemoryLimit|LoaderVersions)",
		},
	} {
		t.Run(x.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run", x.tests, "-test.timeout=10m", "-test.v")
			cmd.Env = append(os.Environ(), "RUNH_TEST_HERMIT_ENV="+x.dir, "RUNH_TEST_BUILT="+rtTemp, "RUNTIME="+r.bin)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v:\n%s", err, out)
			}
			if n := bytes.Count(out, []byte("\n--- PASS: ")); n < 9 {
				t.Errorf("%d tests passed, fewer than there are:\n%s", n, out)
			}
		})
	}
}
