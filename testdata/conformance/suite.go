package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// runc's own tests, in bats. As above: pinned, vouched for, and nothing of it in this tree.
const (
	suiteModule  = "github.com/opencontainers/runc"
	suiteVersion = "v1.6.0-rc.1"
)

// fileLimit bounds one file of tests. A test that fails can leave a helper behind that bats waits for.
const fileLimit = 4 * time.Minute

// suite is one run of runc's tests against runc and runh. One after the other: both use the same cgroups.
type suite struct {
	dir, src string
	files    []string
	runtimes [2]*suiteRuntime // runc, runh
	reap     *reaper
}

type suiteRuntime struct {
	name, bin, version string
	tests              map[string][]test // of each file
}

func runSuite() error {
	dir, remove, err := temporary()
	if err != nil {
		return err
	}
	defer remove()
	s := &suite{dir: dir, src: filepath.Join(dir, "runc")}
	if err := s.fetch(); err != nil || len(s.files) == 0 {
		return err
	}
	if err := s.build(); err != nil {
		return err
	}
	if s.reap, err = newReaper(); err != nil {
		return err
	}
	defer s.cleanUp()
	if err := s.runFiles(); err != nil {
		return err
	}
	text := s.markdown()
	fmt.Print(text)
	if *writeFlag != "" {
		if err := replaceBetween(*writeFlag, "suite", text); err != nil {
			return err
		}
	}
	return s.judge()
}

// fetch copies the module's source to where it can be built and run: the module cache is read-only, and has no mode bits.
func (s *suite) fetch() error {
	out, err := s.command("", "go", "mod", "download", "-json", suiteModule+"@"+suiteVersion)
	if err != nil {
		return err
	}
	var mod struct{ Dir string }
	if err := json.Unmarshal([]byte(out), &mod); err != nil {
		return fmt.Errorf("go mod download: %w", err)
	}
	if err := os.CopyFS(s.src, os.DirFS(mod.Dir)); err != nil {
		return err
	}
	only, err := regexp.Compile(*onlyFlag)
	if err != nil {
		return err
	}
	err = filepath.WalkDir(s.src, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		if name, isTest := strings.CutSuffix(d.Name(), ".bats"); isTest && only.MatchString(d.Name()) {
			s.files = append(s.files, name)
		}
		return os.Chmod(p, 0o755)
	})
	return err
}

// build makes runc, what the tests call, and the root file systems.
func (s *suite) build() error {
	helpers := filepath.Join(s.src, "tests/cmd/_bin")
	if err := os.Mkdir(helpers, 0o755); err != nil {
		return err
	}
	runc := filepath.Join(s.dir, "bin/runc")
	// A commit, for `runc --version` to have the line that a test looks for.
	for _, args := range [][]string{{"-ldflags", "-X main.gitCommit=" + suiteVersion, "-o", runc, "."}, {"-o", helpers, "./tests/cmd/..."}} {
		build := append([]string{"go", "build", "-mod=mod", "-trimpath", "-tags", "seccomp urfave_cli_no_template"}, args...)
		if _, err := s.command(s.src, build...); err != nil {
			return err
		}
	}
	if _, err := s.command("", "sh", "testdata/conformance/images.sh", filepath.Join(s.src, "tests/integration/testdata")); err != nil {
		return err
	}
	runh, err := filepath.Abs(*runhFlag)
	if err != nil {
		return err
	}
	for i, bin := range []string{runc, runh} {
		out, err := s.command("", bin, "--version")
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(out, "\n")
		s.runtimes[i] = &suiteRuntime{
			name: [...]string{"runc", "runh"}[i], bin: bin,
			version: strings.Replace(first, " version", "", 1), tests: map[string][]test{},
		}
	}
	return nil
}

func (s *suite) command(dir string, argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1", "GOWORK=off")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv[:2], " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// runFiles runs all files with both. A test that only runc passes, without a reason, is tried once more, alone.
func (s *suite) runFiles() error {
	begin := time.Now()
	for _, file := range s.files {
		for _, rt := range s.runtimes {
			tests, err := s.run(rt, file, "")
			if err != nil {
				return err
			}
			rt.tests[file] = tests
		}
		for _, name := range s.behind(file) {
			if suiteReason(file, name) != "" {
				continue
			}
			again, err := s.run(s.runtimes[1], file, "^"+regexp.QuoteMeta(name)+"$")
			if err != nil {
				return err
			}
			if len(again) == 1 && again[0].verdict == pass {
				*find(s.runtimes[1].tests[file], name) = again[0]
			}
		}
	}
	fmt.Fprintf(os.Stderr, "runc's suite, %d files, twice: %v\n", len(s.files), time.Since(begin).Round(time.Second))
	return nil
}

// run runs the tests of a file that match a pattern. They want a terminal, as a person has one.
func (s *suite) run(rt *suiteRuntime, file, pattern string) ([]test, error) {
	tmp := filepath.Join(s.dir, "tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return nil, err
	}
	bats, err := exec.LookPath("bats")
	if err != nil {
		return nil, err
	}
	argv := []string{bats, "--tap", "--print-output-on-failure"}
	if pattern != "" {
		argv = append(argv, "--filter", pattern)
	}
	out := filepath.Join(s.dir, rt.name+"."+file)
	if pattern != "" {
		out += ".again"
	}
	_, err = s.reap.runOnTerminal(fileLimit, filepath.Join(s.src, "tests/integration"), out,
		[]string{"RUNC=" + rt.bin, "TMPDIR=" + tmp, "GOFLAGS=-mod=mod"}, append(argv, file+".bats")...)
	if err != nil {
		return nil, err
	}
	stdout, err := os.ReadFile(out + ".out")
	if err != nil {
		return nil, err
	}
	return parseTAP(string(stdout)), errors.Join(unmountBelow(tmp), os.RemoveAll(tmp))
}

// cleanUp removes the parents of the tests' cgroups.
func (s *suite) cleanUp() {
	for _, at := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		dirs, _ := filepath.Glob(at + "runc-cgroups-integration-test")
		for _, d := range dirs {
			_ = unix.Rmdir(d) // best effort
		}
	}
}
