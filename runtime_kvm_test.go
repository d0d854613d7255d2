// What only a host with KVM can show, in the machine that has it: that runh finds it, that QEMU uses it, and vhost-net with it. All
// else about guests is shown there by the tests that run here under TCG; runtime_vm_kvm_test.go has the list.

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
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

// Frames between guest and tap are the kernel's to carry: its thread for them works when the guest is spoken to.
func TestKVMNetwork(t *testing.T) {
	for _, x := range []struct{ image, network string }{{"app", "shared"}, {"app-pci", "direct"}} {
		t.Run(x.image+" "+x.network, func(t *testing.T) {
			r := newKVM(t)
			w := newWorld(r)
			p := w.pod("10.88.0.2/24")
			c := r.attached(p, x.image, "connect "+worldIP+" 7000 question ; serve g1", "network="+x.network).create().start()
			if out := c.out.until("serving as g1\n"); !strings.Contains(out, "connect "+worldIP+" 7000: world 10.88.0.2:") {
				t.Errorf("the guest reaches the world: %q", out)
			}
			vmm := r.vmm(c)
			if held := openFiles(t, vmm); !slices.Contains(held, "/dev/vhost-net") {
				t.Errorf("QEMU holds %q, and no vhost-net", held)
			}
			thread := vhostThread(t, vmm)
			before := switches(t, thread)
			for range 20 {
				w.wants("udp", "10.88.0.2:80", "g1", worldIP)
			}
			if after := switches(t, thread); after < before+20 {
				t.Errorf("the kernel's thread was awake %d times for 20 questions and their answers", after-before)
			}
			r.do("kill", c.id, "KILL").ok()
			c.wait()
			r.do("delete", c.id).ok()
		})
	}
}

// A tree of the operator's: KVM's device comes into QEMU's jail there, too, and virtiofsd is the one written in Rust.
func TestKVMTree(t *testing.T) {
	r := newKVM(t)
	tree, dir := r.dir+"/tree", t.TempDir()
	r.do("--hermit-env", tree, "env", "build").ok()
	r.must(os.MkdirAll(tree+"/usr/local/bin", 0o755))
	r.must(exec.Command("cp", realHermit(t, "bin/virtiofsd"), tree+"/usr/local/bin/").Run())
	r.must(os.WriteFile(dir+"/file", []byte("of the volume\n"), 0o644))
	r.global = append(r.global, "--hermit-env", tree)
	r.do("env", "check").ok()
	res := r.guest("app", []string{"cat", "/data/file", ";", "write", "/data/new", "x", ";", "exit", "4"}, volumeAt(dir, "/data", "rbind")).run()
	if res.code != 4 || res.out != "of the volume\n"+rtLastWords(4) || rtReadOr(dir+"/new") != "x\n" {
		t.Errorf("exit code %d, %q, %q; the guest wrote %q", res.code, res.out, res.err, rtReadOr(dir+"/new"))
	}
}

// The guest's memory is the cgroup's under KVM, too: where the limit is lowered behind runh's back, the kernel ends QEMU.
func TestKVMOutOfMemory(t *testing.T) {
	r := newKVM(t)
	limit := int64(128 << 20)
	c := r.guest("app", []string{"print", "up", ";", "echo", "1", ";", "touch", ";", "exit", "3"}, func(s *specs.Spec) {
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit, Swap: &limit}
	}).create().start()
	c.out.until("up")
	r.must(os.WriteFile("/sys/fs/cgroup"+c.group()+"/memory.max", []byte("67108864"), 0o644))
	c.stdin.WriteString("x")
	if code := c.wait(); code != 137 {
		t.Errorf("exit code %d, want 137; the guest said %q", code, c.out.String())
	}
	if events := rtReadOr("/sys/fs/cgroup" + c.group() + "/memory.events"); !strings.Contains(events, "\noom_kill 1\n") {
		t.Errorf("memory.events says %q", events)
	}
	c.wantStatus("stopped")
	r.do("delete", c.id).ok()
}

// vhostThread is the kernel's thread for a process's vhost devices: its own process, by a name that has its owner's pid.
func vhostThread(t *testing.T, owner int) (pid int) {
	t.Helper()
	name := fmt.Sprintf("vhost-%d\n", owner)
	dirs, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, file := range dirs {
		if rtReadOr(file) == name {
			pid, _ = strconv.Atoi(filepath.Base(filepath.Dir(file)))
		}
	}
	if pid == 0 {
		t.Fatalf("there is no thread %q", name)
	}
	return pid
}

// switches says how often a thread has waited for something.
func switches(t *testing.T, pid int) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(rtStatus(t, pid, "voluntary_ctxt_switches")))
	if err != nil {
		t.Fatal(err)
	}
	return n
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
