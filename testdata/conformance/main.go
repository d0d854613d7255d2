// Conformance runs the validation programs of opencontainers/runtime-tools against runh, runc and crun, and against two
// commands that are no runtimes (true, false); and runc's own suite against runh and runc (suite.go). It writes the tables of
// CONFORMANCE.md.
//
//	go run ./testdata/conformance -runh ./runh [-write CONFORMANCE.md] [-only PATTERN] [-keep]
//
// It exits with 1 if runh does not pass what runc or crun passes and reasons.go does not say that this is meant, or if one of
// the two that are no runtimes passes anything.
//
// An exit status of 0 proves nothing here: several programs assert nothing, and report what they find in a YAML block or
// not at all. So a program that passes is one with an assertion; see verdict.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The version is pinned, and the checksum database vouches for it: nothing of it is in this tree.
const (
	module  = "github.com/opencontainers/runtime-tools"
	version = "v0.9.1-0.20251114084447-edf4cb3d2116"
)

// programLimit bounds one program. It is for hangs: the slowest takes 20 s.
const programLimit = 90 * time.Second

var (
	runhFlag  = flag.String("runh", "./runh", "the binary to test")
	writeFlag = flag.String("write", "", "replace what stands between the conformance marks of this file")
	onlyFlag  = flag.String("only", "", "run only the programs, and the files of runc's suite, that match this pattern")
	keepFlag  = flag.Bool("keep", false, "keep the programs and what they wrote, and say where")
)

func main() {
	flag.Parse()
	var err error
	switch os.Getenv("RUNH_CONFORMANCE_PART") {
	case "":
		// runc makes directories for hierarchies of v1 that are not mounted, and leaves them; podman then takes them for
		// hierarchies. So the directory above is the suite's own.
		suite := ownNamespace("suite", `if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
	own=$(mktemp -d); mount -t tmpfs cgroups "$own"
	for h in /sys/fs/cgroup/*; do
		if [ -L "$h" ]; then cp -P "$h" "$own/"; else mkdir "$own/${h##*/}"; mount --rbind "$h" "$own/${h##*/}"; fi
	done
	mount --move "$own" /sys/fs/cgroup; rmdir "$own"
fi
exec "$@"`)
		// After the suite, for crun 1.8 gives the host's /dev/null away, whose owner the suite looks at.
		// crun refuses a host that has controllers in v2 and in v1: without /sys/fs/cgroup/unified every runtime sees the same
		// hierarchies.
		tools := ownNamespace("tools", `umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"`)
		os.Exit(max(tools, suite))
	case "tools":
		err = conformance()
	case "suite":
		err = runSuite()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// ownNamespace runs this program again where its mounts and message queues are nobody else's: a container without a mount
// namespace, which is one of the tests, leaves both to whom it was started by, and the program then removes all files that it
// finds there.
func ownNamespace(part, script string) int {
	cmd := exec.Command("unshare", append([]string{"--mount", "--ipc", "sh", "-c", script, "sh"}, os.Args...)...)
	cmd.Env = append(os.Environ(), "RUNH_CONFORMANCE_PART="+part)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return 1
	}
	return 0
}

// temporary makes the directory that a part works in, and says what removes it.
func temporary() (string, func(), error) {
	dir, err := os.MkdirTemp("", "conformance")
	if err != nil {
		return "", nil, err
	}
	if *keepFlag {
		fmt.Fprintln(os.Stderr, "kept:", dir)
		return dir, func() {}, os.Chmod(dir, 0o755)
	}
	return dir, func() { os.RemoveAll(dir) }, os.Chmod(dir, 0o755) // containers with a user namespace go through it
}

// run is one run of the whole: where things are, which programs there are, and what came of them.
type run struct {
	dir      string
	programs []string
	runtimes []*rt
	reap     *reaper
	cgroups  sync.Mutex // of the programs that use one fixed cgroup
}

// rt is a runtime, or a control: what is no runtime and so must pass nothing.
type rt struct {
	name, version string
	control       bool
	wrapper       string // what the programs call: the runtime with a --root of its own
	root, tmp     string
	results       map[string]result
}

func conformance() error {
	dir, remove, err := temporary()
	if err != nil {
		return err
	}
	defer remove()
	r := &run{dir: dir}
	if err := r.build(); err != nil {
		return err
	}
	if len(r.programs) == 0 { // -only means the other part
		return nil
	}
	if err := r.findRuntimes(); err != nil {
		return err
	}
	defer removeCgroups()
	if err := r.runAll(); err != nil {
		return err
	}
	r.discount()
	text := r.markdown()
	fmt.Print(text)
	if *writeFlag != "" {
		if err := replaceBetween(*writeFlag, "conformance", text); err != nil {
			return err
		}
	}
	return r.judge()
}

// build compiles the programs in a module that exists for this only.
func (r *run) build() error {
	mod := filepath.Join(r.dir, "module")
	bin := filepath.Join(r.dir, "bin")
	if err := errors.Join(os.Mkdir(mod, 0o755), os.Mkdir(bin, 0o755)); err != nil {
		return err
	}
	goTool := func(args ...string) (string, error) {
		cmd := exec.Command("go", args...)
		cmd.Dir = mod
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "CGO_ENABLED=0")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("go %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
		}
		return strings.TrimSpace(string(out)), nil
	}
	if _, err := goTool("mod", "init", "conformance"); err != nil {
		return err
	}
	if _, err := goTool("get", module+"@"+version); err != nil {
		return err
	}
	if _, err := goTool("build", "-trimpath", "-ldflags", "-s -w", "-o", bin, module+"/validation/...", module+"/cmd/runtimetest"); err != nil {
		return err
	}
	// The rootfs that they unpack is an archive in the module: busybox, /etc/passwd and empty directories.
	src, err := goTool("list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(src, "rootfs-*.tar.gz"))
	if err != nil {
		return err
	}
	for _, a := range archives {
		if err := os.Symlink(a, filepath.Join(bin, filepath.Base(a))); err != nil {
			return err
		}
	}
	only, err := regexp.Compile(*onlyFlag)
	if err != nil {
		return err
	}
	files, err := os.ReadDir(bin)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Name() != "runtimetest" && f.Type().IsRegular() && only.MatchString(f.Name()) {
			r.programs = append(r.programs, f.Name())
		}
	}
	return nil
}

func (r *run) findRuntimes() error {
	runh, err := filepath.Abs(*runhFlag)
	if err != nil {
		return err
	}
	for _, c := range [][2]string{{"runh", runh}, {"runc", "runc"}, {"crun", "crun"}, {"true", "true"}, {"false", "false"}} {
		bin, err := exec.LookPath(c[1])
		if err != nil {
			return err
		}
		t := &rt{
			name: c[0], results: map[string]result{},
			wrapper: filepath.Join(r.dir, c[0]+".sh"), root: filepath.Join(r.dir, c[0]+".root"), tmp: filepath.Join(r.dir, c[0]+".tmp"),
		}
		script := "#!/bin/sh\n"
		if t.control = c[0] == c[1] && c[0] != "runc" && c[0] != "crun"; t.control {
			script += "exec " + bin + "\n"
		} else {
			out, err := exec.Command(bin, "--version").Output()
			if err != nil {
				return fmt.Errorf("%s --version: %w", bin, err)
			}
			t.version, _, _ = strings.Cut(string(out), "\n")
			t.version = strings.Replace(t.version, " version", "", 1)
			if strings.Contains(string(out), "\nspec: 1.0") && c[0] == "crun" {
				// This crun takes ociVersion 1.0.x only, the programs write 1.3.0.
				script += `for a; do [ "$p" != --bundle ] || sed -i -E 's/("ociVersion": *"1)\.[0-9.]+(-[a-z0-9.]+)?"/\1.0.2"/' "$a/config.json"; p=$a; done` + "\n"
			}
			script += fmt.Sprintf("exec %s --root %s \"$@\"\n", bin, t.root)
		}
		if err := errors.Join(os.WriteFile(t.wrapper, []byte(script), 0o755), os.Mkdir(t.tmp, 0o755)); err != nil {
			return err
		}
		r.runtimes = append(r.runtimes, t)
	}
	return nil
}

// runAll runs each program once with each runtime: the runtimes side by side, since the programs mostly wait.
func (r *run) runAll() error {
	var err error
	if r.reap, err = newReaper(); err != nil {
		return err
	}
	begin := time.Now()
	errs := make([]error, len(r.runtimes))
	var all sync.WaitGroup
	for i, t := range r.runtimes {
		all.Go(func() { errs[i] = r.runOne(t) })
	}
	all.Wait()
	// The programs wait for 10 s at most, which a busy machine can exceed. What would be held against runh is tried again, alone.
	for _, p := range r.programs {
		if _, bad := r.behind(p); bad && !reasons(p).meant {
			errs = append(errs, r.program(r.runtimes[0], p))
		}
	}
	fmt.Fprintf(os.Stderr, "%d programs, %d runtimes: %v\n", len(r.programs), len(r.runtimes), time.Since(begin).Round(time.Second))
	return errors.Join(errs...)
}

func (r *run) runOne(t *rt) error {
	for _, p := range r.programs {
		if err := r.program(t, p); err != nil {
			return fmt.Errorf("%s with %s: %w", p, t.name, err)
		}
	}
	return nil
}

// program runs one program and removes what it leaves.
func (r *run) program(t *rt, p string) error {
	if strings.Contains(p, "cgroups") || strings.Contains(p, "resources") {
		r.cgroups.Lock()
		defer r.cgroups.Unlock()
	}
	// Files, not pipes: nothing that a container leaves behind can keep them from ending.
	out := filepath.Join(r.dir, t.name+"."+p)
	begin := time.Now()
	status, err := r.reap.run(programLimit, filepath.Join(r.dir, "bin"), out, []string{"RUNTIME=" + t.wrapper, "TMPDIR=" + t.tmp}, "./"+p)
	if err != nil {
		return err
	}
	stdout, err := os.ReadFile(out + ".out")
	if err != nil {
		return err
	}
	stderr, err := os.ReadFile(out + ".err")
	if err != nil {
		return err
	}
	res := verdict(string(stdout), string(stderr), status)
	res.took = time.Since(begin)
	t.results[p] = res
	if t.control {
		return nil
	}
	ids, _ := os.ReadDir(t.root)
	for _, id := range ids {
		if _, err := r.reap.run(programLimit, r.dir, out+".delete", nil, t.wrapper, "delete", "--force", id.Name()); err != nil {
			return err
		}
	}
	return unmountBelow(t.tmp)
}

// unmountBelow takes away what runc and crun mount for a container that has no mount namespace, and leave.
func unmountBelow(dir string) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for _, line := range slices.Backward(strings.Split(string(data), "\n")) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			if err := unix.Unmount(f[4], unix.MNT_DETACH); err != nil && err != unix.EINVAL {
				return &os.PathError{Op: "unmount", Path: f[4], Err: err}
			}
		}
	}
	return nil
}

// removeCgroups removes the parents of the programs' cgroups, which no runtime does: rmdir takes what is empty only.
func removeCgroups() {
	for _, name := range []string{"testdir/cgrouptest/container", "testdir/cgrouptest", "testdir", "cgrouptest"} {
		for _, at := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/", "/sys/fs/cgroup/*/*/", "/sys/fs/cgroup/*/*/*/"} {
			dirs, _ := filepath.Glob(at + name)
			for _, d := range dirs {
				_ = unix.Rmdir(d) // best effort
			}
		}
	}
}

// discount takes back what a control can pass: what /bin/false passes asks for failures only.
func (r *run) discount() {
	for _, p := range r.programs {
		if !slices.Contains(negativeOnly, p) {
			continue
		}
		for _, t := range r.runtimes {
			if res := t.results[p]; res.verdict == pass {
				res.verdict = silent
				t.results[p] = res
			}
		}
	}
}

// judge compares: a program, and within a program an assertion.
func (r *run) judge() error {
	var errs []error
	for _, t := range r.runtimes {
		for _, p := range r.programs {
			if t.control && t.results[p].verdict == pass {
				errs = append(errs, fmt.Errorf("%s passes %s: that proves nothing of the others", t.name, p))
			}
		}
	}
	for _, p := range r.programs {
		if why, bad := r.behind(p); bad && !reasons(p).meant {
			errs = append(errs, fmt.Errorf("%s: %s", p, why))
		}
	}
	return errors.Join(errs...)
}

// behind says whether a peer does better than runh at this program, and in what.
func (r *run) behind(p string) (string, bool) {
	ours := r.runtimes[0].results[p]
	for _, t := range r.runtimes[1:] {
		if t.control {
			continue
		}
		theirs := t.results[p]
		if theirs.verdict < ours.verdict {
			return fmt.Sprintf("%s with runh, %s with %s: %s", ours.verdict, theirs.verdict, t.name, ours.first), true
		}
		for what := range ours.bad {
			if theirs.good[what] && !theirs.bad[what] {
				return fmt.Sprintf("not ok with runh, ok with %s: %s", t.name, what), true
			}
		}
	}
	return "", false
}
