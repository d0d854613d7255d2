// The machine with KVM: TCG emulates a processor with AMD's SVM and nested paging, so that the machine's kernel has a /dev/kvm that
// works. Guests run there as on a host of its users', on cgroup v2, with vhost-net and virtiofsd. What it is not: it has no VMX (Intel's)
// and no invariant time stamp counter, and each exit of a guest costs a millisecond, so nothing that prints much runs in it.
package main

import "testing"

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
		{name: "kvm", cgroup: "v2", kvm: true, tests: "TestKVM TestKVMNetwork TestKVMOutOfMemory TestHermitRun TestHermitExitCodes TestHermitSignals TestHermitHungQEMU TestHermitLifecycle " +
			"TestHermitJail TestHermitBreakout TestVMMSystemCalls TestHermitMemoryLimit TestHermitVMSection TestHermitUnified TestHermitSizeAbove TestHermitLimitsReach"},
		{name: "kvm, files and networks", cgroup: "v2", kvm: true, tests: "TestExplain TestKVMTree TestShareRootfs TestShareVolumes TestShareJail TestShareMemory TestNetworkShared TestNetworkAuto TestRealHermit"},
	}
}

// guests packs what Hermit containers need, and the tests of them.
func (c *cpio) guests() {
	for _, p := range []string{"ip", "tc", "nft", "nsenter", "unshare", "sysctl"} {
		for _, dir := range []string{"/usr/sbin/", "/usr/bin/"} {
			if regularFile(dir + p) {
				c.program(dir + p)
			}
		}
	}
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
