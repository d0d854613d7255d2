// --debug, through the binary.

package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// --debug reaches stderr even of a command whose stderr is the container's; nothing else of the log does.
func TestDebugOnStderr(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc 1.1 needs libseccomp's version to say it")
	c := r.bundle([]string{"true"}, func(s *specs.Spec) {
		s.Linux.Seccomp = &specs.LinuxSeccomp{
			DefaultAction: specs.ActAllow, Flags: []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog},
			Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir"}, Action: specs.ActErrno}},
		}
	})
	for flag, want := range map[string]string{"--debug": `level=debug msg="seccomp filter flags: 2"`, "--log-level=debug": "", "--systemd-cgroup=false": ""} {
		cmd := exec.Command(r.bin, "--root", t.TempDir(), flag, "run", "--bundle", c.dir, r.token+"-debug")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil || !strings.Contains(stderr.String(), want) || want == "" && stderr.Len() > 0 {
			t.Errorf("%s: %v, stderr %q, want %q", flag, err, stderr.String(), want)
		}
	}
}
