// A start that fails: what it leaves, and when it returns.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// failedStarts are containers that create takes and start does not.
func failedStarts(r *rt) map[string]*ctr {
	bad := specs.Hook{Path: "/bin/false"}
	all := map[string]*ctr{
		"startContainer hook": r.sh("sleep 100", func(s *specs.Spec) { s.Hooks = &specs.Hooks{StartContainer: []specs.Hook{bad}} }),
		"poststart hook":      r.sh("sleep 100", func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststart: []specs.Hook{bad}} }),
	}
	if r.isRunh() {
		all["QEMU"] = r.guest("app", []string{"hello"}, annotated("cpu", "nosuch"))
		all["template of a QEMU"] = r.guest("app", []string{"hello"}, annotated("cpu", "nosuch"), func(s *specs.Spec) {
			s.Annotations[annotationPrefix+"template"] = "t"
		})
	}
	return all
}

// An engine removes a container whose start has failed at once: it must be over by then. The caller, here this
// process, has only to collect its exit status.
func TestFailedStart(t *testing.T) {
	r := newHermit(t)
	for range 4 {
		for name, c := range failedStarts(r) {
			c.create()
			res := r.do("start", c.id)
			stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(c.pid), "stat"))
			if err == nil && !strings.Contains(string(stat), ") Z ") {
				t.Errorf("%s: start has returned, and the init lives: %s", name, stat)
			}
			if res.code != 1 || strings.Count(res.err, "\n") != 1 {
				t.Errorf("%s: start: exit code %d, stderr %q", name, res.code, res.err)
			}
			hook := strings.HasSuffix(name, "hook") && r.isRunh() // after a failed hook nothing is left to be deleted
			if !hook {
				c.wantStatus("stopped")
			}
			if code := c.wait(); name == "QEMU" && code != 125 {
				t.Errorf("%s: exit code %d, want 125", name, code)
			}
			if hook {
				r.do("delete", c.id).fails("does not exist")
			} else {
				r.do("delete", c.id).ok()
			}
		}
	}
}

// A keeper that cannot begin says why to create, and not to the container's stderr. Here its user may have no thread more.
func TestKeeperCannotBegin(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", []string{"hello"}).guestUsers(1000)
	base := 0x60000000 + os.Getpid()*1000 // nobody else's ids: the kernel counts by user
	c.spec.Linux.UIDMappings[0].HostID, c.spec.Linux.GIDMappings[0].HostID = uint32(base), uint32(base)
	c.write()
	r.must(os.Chown(c.rootfs(), base, base))
	for _, detach := range []string{"create", "run"} {
		res := c.launchCmd(func(cmd *exec.Cmd) {
			limited := exec.Command("prlimit", append([]string{"--nproc=2", cmd.Path}, cmd.Args[1:]...)...)
			cmd.Path, cmd.Args, cmd.Err = limited.Path, limited.Args, limited.Err
		}, detach)
		if res.code != 1 || !strings.Contains(res.err, "keeper: runtime: failed to create new OS thread") || strings.Count(res.err, "\n") != 1 {
			t.Errorf("%s: exit code %d, stderr %q", detach, res.code, res.err)
		}
	}
}

// A keeper that dies while start waits for it is no guest that runs. QEMU stands still, so that start has to wait.
func TestKeeperDiesAtStart(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", []string{"count"}, annotated("network", "none")).create()
	r.must(syscall.Kill(r.vmm(c), syscall.SIGSTOP))
	sockets := func() (list []string) {
		for _, fd := range mustGlob(t, fmt.Sprintf("/proc/%d/fd/*", c.pid)) {
			if to := rtLink(fd); strings.HasPrefix(to, "socket:") {
				list = append(list, to)
			}
		}
		return list
	}
	before := sockets()
	failed := make(chan result)
	go func() { failed <- r.do("start", c.id) }()
	r.eventually("the keeper has start's connection", func() bool {
		return slices.ContainsFunc(sockets(), func(s string) bool { return !slices.Contains(before, s) })
	})
	r.must(syscall.Kill(c.pid, syscall.SIGKILL))
	(<-failed).fails("the keeper died before the guest ran")
	c.wantStatus("stopped")
	if code := c.wait(); code != 137 {
		t.Errorf("exit code %d, want 137", code)
	}
}
