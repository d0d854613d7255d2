// What only a host with KVM can show, in the machine that has it: that runh finds it, that QEMU uses it, and vhost-net with it. All
// else about guests is shown there by the tests that run here under TCG; runtime_vm_kvm_test.go has the list.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// newKVM is the first line of a test that is left to the machine with KVM.
func newKVM(t *testing.T) *rt {
	t.Helper()
	if os.Getenv("RUNH_TEST_ACCEL") != "kvm" {
		leftToVM(t)
		t.SkipNow()
	}
	return newHermit(t)
}

// KVM is what guests get without being asked, on a host whose devices are as udev makes them.
func TestKVM(t *testing.T) {
	r := newKVM(t)
	if out := r.do("check").ok().out; !strings.Contains(out, "ok  kvm        usable, with -cpu ") {
		t.Errorf("check says %q", out)
	}
	c := r.guest("app", []string{"print", "up", ";", "echo", "1", ";", "exit", "7"})
	delete(c.spec.Annotations, annotationPrefix+"accel")
	c.write()
	var e explanation
	r.must(json.Unmarshal([]byte(r.do("explain", "--bundle", c.dir, "--format", "json").ok().out), &e))
	if i := slices.Index(e.QEMU, "-accel"); e.Accel != "kvm" || i < 0 || e.QEMU[i+1] != "kvm" {
		t.Errorf("explained as %+v", e)
	}
	c.create().start()
	c.out.until("up")
	held := openFiles(t, r.vmm(c))
	for _, file := range []string{"/dev/kvm", "anon_inode:kvm-vm", "anon_inode:kvm-vcpu:0"} {
		if !slices.Contains(held, file) {
			t.Errorf("QEMU holds %q, and no %s", held, file)
		}
	}
	c.stdin.WriteString("x")
	if code := c.wait(); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
	r.do("delete", c.id).ok()
}

// openFiles are the names of the files that a process holds.
func openFiles(t *testing.T, pid int) (names []string) {
	t.Helper()
	for _, fd := range rtNames(t, fmt.Sprintf("/proc/%d/fd", pid)) {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd))
		names = append(names, to)
	}
	return names
}
