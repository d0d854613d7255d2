// The machine with KVM: TCG emulates a processor with AMD's SVM and nested paging, so that the machine's kernel has a /dev/kvm that
// works. Guests run there as on a host of its users', on cgroup v2, with vhost-net and virtiofsd. It has no VMX (Intel's)
// and no invariant time stamp counter, and each exit of a guest costs a millisecond, so nothing that prints much runs in it.

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each machine keeps one processor busy, so two run at a time.
func TestVMKVM(t *testing.T) {
	for _, vm := range kvmMachines() {
		t.Run(vm.name, func(t *testing.T) {
			t.Parallel()
			vm.run(t)
		})
	}
}

func kvmMachines() []vmMachine {
	return []vmMachine{
		{name: "kvm", cgroup: "v2", kvm: true, tests: "TestKVM TestKVMNetwork TestKVMOutOfMemory TestHermitRun TestHermitExitCodes TestHermitSignals TestHermitPowerButton TestHermitHungQEMU TestHermitLifecycle " +
			"TestHermitJail TestHermitBreakout TestVMMSystemCalls TestHermitMemoryLimit TestHermitVMSection TestHermitUnified TestHermitSizeAbove TestHermitLimitsReach"},
		{name: "kvm with files and networks", cgroup: "v2", kvm: true, tests: "TestExplain TestKVMTree TestShareRootfs TestShareVolumes TestShareJail TestShareMemory TestNetworkShared TestNetworkAuto TestNetworkShapesIPvlan TestNetworkLoopback TestNetworkPathMTU TestRealHermit"},
		{name: "kvm and saved guests", cgroup: "v2", kvm: true, tests: "TestCheckpointCounter TestCheckpointConsole TestCheckpointTime TestCheckpointTwins TestTemplateTime TestTemplateLoaderLines"},
		{name: "kvm on one CPU", cgroup: "v2", kvm: true, cpus: 1, tests: "TestKVM TestKVMNetwork TestHermitRun TestHermitVMSection TestCheckpointTime"},
		{name: "kvm and pause", cgroup: "v2", kvm: true, tests: "TestKVMPause TestPauseKernelThread TestPauseKernelThreadUnseen TestHermitPause TestCheckpointInvtsc"},
	}
}

// again is a machine for tests that have failed under KVM, if they are few, and for the others. QEMU emulates SVM with errors that no
// processor has: testdata/guest/entry.S knows one, and once, on a host with a load of 14, a q35 said nothing for three minutes. The same tests run
// outside under TCG, where no second try hides what is wrong with runh.
func (vm *vmMachine) again(out string) (again, rest *vmMachine) {
	var failed, passed []string
	for _, name := range strings.Fields(vm.tests) {
		if strings.Contains("\n"+out, "\n--- PASS: "+name+" (") {
			passed = append(passed, name)
		} else {
			failed = append(failed, name)
		}
	}
	if !vm.kvm || len(failed) == 0 || len(failed) > 2 || len(passed) == 0 || failureCode(out) == 0 {
		return nil, nil
	}
	first, second := *vm, *vm
	first.tests, second.tests = strings.Join(passed, " "), strings.Join(failed, " ")
	return &second, &first
}

// failureCode is the test program's exit code if tests failed (1) or its time ran out (2, of a panic), and otherwise 0.
func failureCode(out string) int {
	switch {
	case strings.Contains(out, "\nvm: exit code 1\n"):
		return 1
	case strings.Contains(out, "panic: test timed out after ") && strings.Contains(out, "\nvm: exit code 2\n"):
		return 2
	}
	return 0
}

// guests packs what Hermit containers need, and the tests of them.
func (c *cpio) guests() {
	c.programs("ip", "tc", "nft", "nsenter", "unshare", "sysctl")
	c.qemu()
	if virtiofsd := hostVirtiofsd(); virtiofsd != nil {
		c.program(virtiofsd.Path)
	}
	c.standIn()
	breakout, err := rtBreakout()
	c.err = cmpErr(c.err, err)
	c.file(breakout, "src/built/breakout")
	for _, file := range []string{"hello_c", "hello_world", "rusty-loader-x86_64", "bin/virtiofsd"} { // of make deps
		c.file("build/hermit/"+file, "src/build/hermit/"+file)
	}
	c.data("etc/group", 0o644, "root:x:0:\nkvm:x:104:\n")
}

// qemu packs it, and the files that it needs.
func (c *cpio) qemu() {
	if c.tree != "" {
		c.program("/usr/bin/qemu-system-x86_64")
		c.same("/usr/share/seabios/bios-256k.bin", "/usr/share/qemu/qboot.rom", "/usr/share/qemu/kvmvapic.bin", "/usr/share/qemu/multiboot_dma.bin", "/usr/share/qemu/pvh.bin")
		return
	}
	files, _, err := hostQEMUFiles("/usr/bin/qemu-system-x86_64")
	c.err = cmpErr(c.err, err)
	if err != nil {
		return
	}
	c.program("/usr/bin/qemu-system-x86_64")
	for _, f := range files.Files {
		if !c.made[f.Guest] {
			c.made[f.Guest] = true
			c.file(f.Host, f.Guest[1:])
		}
	}
}

// standIn packs the images of testdata/guest, which cannot be built inside.
func (c *cpio) standIn() {
	guest, err := rtGuest()
	c.err = cmpErr(c.err, err)
	images, _ := os.ReadDir(guest)
	for _, i := range images {
		if i.Type().IsRegular() {
			c.file(filepath.Join(guest, i.Name()), "src/built/guest/"+i.Name())
		}
	}
}
