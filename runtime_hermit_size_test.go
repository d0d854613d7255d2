// How large a machine is, who says so, and what becomes of a limit that changes under it; and whose QEMU it is.

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// The runtime-spec's own section for machines.
func TestHermitVMSection(t *testing.T) {
	r := newHermit(t)
	vcpus, memory, limit := uint32(2), uint64(96<<20), int64(256<<20)
	section := func(s *specs.Spec) {
		s.VM = &specs.VM{
			HwConfig: &specs.HWConfig{VCPUs: &vcpus, Memory: &memory},
			Kernel:   specs.VMKernel{Parameters: []string{"env=FROM=the vm section"}},
		}
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit}
	}
	c := r.guest("app", []string{"env", ";", "count"}, section).create().start()
	c.out.until("count 1")
	if out := c.out.String(); !strings.Contains(out, `"FROM=the vm section"`) {
		t.Errorf("kernel.parameters: %q", out)
	}
	var e struct {
		Data struct{ VM machineView }
	}
	r.must(json.Unmarshal([]byte(r.do("events", "--stats", c.id).ok().out), &e))
	if v := e.Data.VM; v.Machine != "microvm" || v.Accel != rtAccel() || v.VCPUs != 2 || v.Memory != memory || v.Needs <= memory || v.Needs > uint64(limit) {
		t.Errorf("events say %+v", v)
	}
	if line := rtReadOr(fmt.Sprintf("/proc/%d/cmdline", r.vmm(c))); !strings.Contains(line, "\x00-smp\x002\x00") || !strings.Contains(line, "\x00-m\x0096\x00") {
		t.Errorf("QEMU's command line %q", line)
	}
	// A limit in which the machine cannot live is refused, and nothing has changed; others say what they do not do.
	r.do("update", "--memory", "64m", c.id).fails("the running machine needs")
	r.global = []string{"--log-level", "warn"}
	r.do("update", "--memory", "512m", "--cpu-quota", "50000", c.id).ok()
	if log := rtReadOr(r.log); !strings.Contains(log, "keeps its 96 MiB and 2 vCPU") {
		t.Errorf("the log of update: %q", log)
	}
	r.global = nil
	r.do("delete", "--force", c.id).ok()
	// An annotation goes before it.
	res := r.do("explain", "--format", "json", "--bundle", r.guest("app", nil, section, annotated("memory_size", "64")).dir).ok()
	var x explanation
	r.must(json.Unmarshal([]byte(res.out), &x))
	if x.Memory != 64 || x.VCPUs != 2 || x.Needs <= x.Memory {
		t.Errorf("explained as %+v", x)
	}
}

// The operator may let config.json choose QEMU and the loader.
func TestHermitVMPaths(t *testing.T) {
	r := newHermit(t)
	config := filepath.Join(r.dir, "config.toml")
	r.must(os.WriteFile(config, []byte("allow_vm_paths = true\n"), 0o644))
	r.global = []string{"--config", config}
	dir, err := rtGuest()
	r.must(err)
	qemu, err := exec.LookPath("qemu-system-x86_64")
	r.must(err)
	c := r.guest("app", []string{"exit", "7"}, func(s *specs.Spec) {
		s.VM = &specs.VM{
			Hypervisor: specs.VMHypervisor{Path: qemu, Parameters: []string{"-name", "chosen"}},
			Kernel:     specs.VMKernel{Path: dir + "/loader"},
		}
	})
	r.must(os.Remove(c.rootfs() + "/hermit/hermit-loader"))
	if res := c.run(); res.code != 7 {
		t.Errorf("exit code %d, %q", res.code, res.err)
	}
	res := r.do("explain", "--format", "json", "--bundle", c.dir).ok()
	if !strings.Contains(res.out, `"-name"`) || !strings.Contains(res.out, dir+"/loader") {
		t.Errorf("explained as %s", res.out)
	}
	c.spec.VM.Hypervisor.Path = "/nosuch/qemu"
	c.write()
	c.run().fails("vm.hypervisor.path")
}

// The image's own QEMU runs if operator and image both say so: in the same jail, of which the image's programs are a part then.
func TestHermitImageVMM(t *testing.T) {
	r := newHermit(t)
	tree := filepath.Join(r.dir, "tree")
	r.do("env", "build", tree).ok()
	config := filepath.Join(r.dir, "config.toml")
	r.must(os.WriteFile(config, []byte("allow_image_vmm = true\n"), 0o644))
	r.global = []string{"--config", config}
	c := r.guest("app", []string{"count"}, annotated("vmm", "image"))
	c.run().fails("QEMU of the image")
	r.must(exec.Command("cp", "-a", tree+"/.", c.rootfs()).Run())
	r.must(os.MkdirAll(c.rootfs()+"/home/secret", 0o755))
	var x explanation
	r.must(json.Unmarshal([]byte(r.do("explain", "--format", "json", "--bundle", c.dir).ok().out), &x))
	if x.VMM != "image" {
		t.Errorf("explained as %+v", x)
	}
	c.create().start()
	c.out.until("count 1")
	root := fmt.Sprintf("/proc/%d/root", r.vmm(c))
	for name, want := range map[string]bool{"/usr/bin/qemu-system-x86_64": true, "/home": false, "/hermit": false, "/proc": false, "/dev": false, "/root": false} {
		if _, err := os.Lstat(root + name); (err == nil) != want {
			t.Errorf("%s in the jail: %v", name, err)
		}
	}
	a, err := os.Stat(root + "/usr/bin/qemu-system-x86_64")
	r.must(err)
	b, err := os.Stat(c.rootfs() + "/usr/bin/qemu-system-x86_64")
	r.must(err)
	if !os.SameFile(a, b) {
		t.Error("that is not the image's QEMU")
	}
	if v := rtStatus(t, r.vmm(c), "CapEff") + rtStatus(t, r.vmm(c), "NoNewPrivs"); strings.Trim(v, "0\t ") != "1" {
		t.Errorf("its capabilities and no_new_privs: %q", v)
	}
	r.do("delete", "--force", c.id).ok()
	// Without the annotation it is the host's.
	delete(c.spec.Annotations, "org.hermit-os.runh.vmm")
	c.spec.Process.Args = []string{"/hermit/app", "exit", "7"}
	c.write()
	r.must(os.WriteFile(c.rootfs()+"/usr/bin/qemu-system-x86_64", []byte("not a program"), 0o755))
	if res := c.run(); res.code != 7 {
		t.Errorf("exit code %d, %q", res.code, res.err)
	}
}

// The limit of tasks that is called enough is enough: for each machine, many CPUs, files, a checkpoint and a restore.
func TestHermitFewTasks(t *testing.T) {
	few := func(n int64) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &n} }
	}
	for _, x := range []struct {
		image, machine, smp, share string
		tasks                      int64
	}{
		{"app", "microvm", "1", "none", 10},
		{"app-pci", "pc", "1", "none", 10},
		{"app-pci", "q35", "4", "none", 13},
		{"app", "microvm", "2", "rootfs", 15},
	} {
		t.Run(x.machine+x.share, func(t *testing.T) {
			r := newHermit(t)
			if rtAccel() == "kvm" { // there may be a network, and its card the kernel's
				x.tasks += vhostTasks
			}
			edit := func(s *specs.Spec) {
				few(x.tasks)(s)
				s.Annotations = map[string]string{annotationPrefix + "machine": x.machine, annotationPrefix + "smp": x.smp, annotationPrefix + "share": x.share}
			}
			c := r.guest(x.image, []string{"count"}, edit).create().start()
			c.out.until("count 2")
			r.do("pause", c.id).ok()
			r.do("resume", c.id).ok()
			if x.share == "none" {
				dir := filepath.Join(r.dir, "saved")
				c.checkpoint(dir)
				c.wait()
				c.restore(dir)
				c.out.until("count")
			}
			r.do("update", "--pids-limit", fmt.Sprint(x.tasks-1), c.id).fails("is too small")
			r.do("delete", "--force", c.id).ok()
		})
	}
}

// A machine is made at the host's pace, too.
func TestHermitCPULast(t *testing.T) {
	r := newRT(t)
	c := r.guest("app", []string{"count"}, resources(t, `{"cpu":{"shares":2,"quota":90000,"period":100000},"pids":{"limit":100}}`))
	c.cpuLast("2 90000 100", "1 90000 100000 100")
}
