// The tests that need another machine than this: cgroup v2 alone, v1, both, and systemd as init. Each boots Debian's
// cloud kernel in QEMU, under TCG, with an initramfs made here: this very test program, the runtime under test,
// busybox, and for systemd that and a message bus, as the host has them. Inside, the program runs itself again, with a
// list of tests; testdata/vm/init is what brings it there. What it prints comes over the serial line, and each of its
// tests becomes a subtest here.

package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// vmLimit bounds one machine, from power on to off. It is for hangs: longer than the limit of the test program inside.
const vmLimit = 13 * time.Minute

// vmMachines are TestVM's; TestVMEngines and TestVMKVM have some more.
func vmMachines() []vmMachine {
	const kernel = "TestCgroupLifecycle TestCgroupRelative TestCgroupRollback TestCgroupKillForks TestCgroupOOM TestCgroupV2BesideV1"
	const limits = " TestPidsForOne TestCPULast TestResources TestLimitsBite TestDeviceRulesBite TestBornInCgroup TestCgroupNamespace TestCgroupOwner TestExecCgroup TestDiesWhole TestTwentyRuns"
	const commands = " TestPidsZero TestKillLeft TestUpdateResources TestUpdateMemoryAndSwap TestUpdateBites TestPause TestPausedEnds TestEventsStats TestEventsOOM TestLifecycle TestKillAll"
	return []vmMachine{
		{name: "cgroup v2", cgroup: "v2", tests: kernel + " TestCgroupOracle TestCgroupStats TestResources TestPidsZero TestPidsForOne TestCPULast TestLimitsBite TestDeviceRulesBite TestDeviceFilterLoads TestBornInCgroup TestCgroupNamespace TestCgroupOwner TestExecCgroup TestDiesWhole TestTwentyRuns"},
		{name: "cgroup v1 and v2", cgroup: "hybrid", criu: true, tests: kernel + " TestPidsForOne TestCPULast TestResources TestBornInCgroup TestCgroupNamespace TestCgroupOwner TestExecCgroup TestCriu"},
		{name: "systemd", systemd: true, tests: "TestSystemd TestSystemdUser TestCreateKilled TestCreateCancelled TestHookCancelled TestCreateHangs TestDeleteKilled" + limits + commands},
		{name: "systemd and cgroup v1", systemd: true, cgroup: "hybrid", tests: "TestSystemd" + limits},
		{name: "criu", cgroup: "v2", criu: true, tests: "TestCriu TestCriuPreDump TestCriuAttached TestCriuTerminal TestCriuStdio TestCriuMounts TestCriuMountsAgain TestCriuSpec TestCriuNetwork TestCriuPod TestCriuFailures " +
			"TestCriuFileLocks TestCriuLinkRemap TestCriuExternalSocket TestCriuAutoDedup TestCriuPageServer TestCriuLazyPages"},
		{name: "systemd and iptables", systemd: true, criu: true, tests: "TestCriuPaused"},
		{name: "AppArmor", cgroup: "v2", apparmor: true, tests: "TestAppArmor"},
	}
}

func TestVM(t *testing.T) {
	for _, vm := range vmMachines() {
		t.Run(vm.name, func(t *testing.T) { vm.run(t) })
	}
}

// leftToVM is all that is left of a test on a host that has not what it takes: one of the machines must run it.
func leftToVM(t *testing.T) {
	t.Helper()
	name, _, _ := strings.Cut(t.Name(), "/")
	for _, vm := range slices.Concat(vmMachines(), engineMachines(), kvmMachines()) {
		if vm.runs(name) {
			needs(t, true, "a machine") // under -short, a test that has done nothing is skipped
			return
		}
	}
	t.Errorf("no machine runs %s", name)
}

// A vmMachine is one boot.
type vmMachine struct {
	name, cgroup string
	systemd      bool
	criu         bool   // with the program, and what it calls
	apparmor     bool   // with the program that loads profiles, and guests, but without QEMU
	engines      bool   // with containerd, Docker, podman and QEMU; see runtime_vm_engines_test.go
	kvm          bool   // with a /dev/kvm, and QEMU; see runtime_vm_kvm_test.go
	cpus         int    // 0: 2
	tree         string // a directory whose programs the machine has instead of this host's
	tests        string // names, in words
}

func (vm *vmMachine) runs(test string) bool { return slices.Contains(strings.Fields(vm.tests), test) }

// run boots the machine and returns what it printed.
func (vm *vmMachine) run(t *testing.T) string {
	kernel := vmKernel(t)
	bin, err := rtBinary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	image := filepath.Join(dir, "initramfs")
	if err := vm.pack(image, bin, filepath.Dir(kernel)); err != nil {
		t.Fatal(err)
	}
	out, off := vm.boot(t, image)
	if !off && !strings.Contains(out, "--- FAIL: ") {
		// The test program has a time limit of its own, which is shorter: not even its clock ran any more.
		t.Logf("the machine itself hung and is tried once more; its console:\n%s", out)
		out, off = vm.boot(t, image)
	}
	if !off {
		t.Errorf("the machine did not end within %v", vmLimit)
	}
	again, rest := vm.again(out)
	if again == nil {
		vm.report(t, out, 0)
		return out
	}
	t.Logf("under emulated SVM these failed, and are tried once more: %s; the machine's console:\n%s", again.tests, out)
	if err := again.pack(image, bin, filepath.Dir(kernel)); err != nil {
		t.Fatal(err)
	}
	rest.report(t, out, failureCode(out))
	more, _ := again.boot(t, image)
	again.report(t, more, 0)
	return out + more
}

// boot runs the machine and returns what it printed, and whether it went off by itself. One that does not gets a
// non-maskable interrupt at the end of its time, which its kernel answers with where it is, and a panic.
//
// One thread of QEMU's emulates both processors in turn: that needs less of a loaded host than two threads that wait for
// each other. Such a host may keep the timer from ticking for longer than the kernel waits when it looks for one (no_timer_check).
func (vm *vmMachine) boot(t *testing.T, image string) (out string, off bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), vmLimit)
	defer cancel()
	monitor := filepath.Join(t.TempDir(), "monitor")
	append := "console=ttyS0 loglevel=4 unknown_nmi_panic=1 panic=-1 rdinit=/init mitigations=off cryptomgr.notests no_timer_check"
	if vm.systemd {
		append += " systemd.show_status=0 systemd.log_level=warning systemd.log_target=kmsg systemd.unified_cgroup_hierarchy=" +
			map[bool]string{true: "0", false: "1"}[vm.cgroup == "hybrid"]
	}
	if vm.engines {
		append += " lsm=landlock,yama,bpf" // no AppArmor: there is no program to load Docker's profile
	}
	memory, code := "1536", "256"
	if vm.engines {
		memory = "3072"
	}
	if vm.kvm {
		memory, code = "2560", "512" // the guests' code is translated, too
	}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg,thread=single,tb-size="+code, "-cpu", "max,-la57", "-smp", strconv.Itoa(cmp.Or(vm.cpus, 2)), "-m", memory,
		"-nodefaults", "-display", "none", "-serial", "stdio", "-monitor", "unix:"+strings.ReplaceAll(monitor, ",", ",,")+",server=on,wait=off",
		"-no-reboot", "-kernel", vmKernel(t), "-initrd", image, "-append", append)
	cmd.Cancel = func() error {
		conn, err := net.Dial("unix", monitor)
		if err == nil {
			_, err = conn.Write([]byte("nmi\n"))
		}
		return err
	}
	cmd.WaitDelay = time.Minute
	begin := time.Now()
	console, err := cmd.CombinedOutput()
	t.Logf("%v from power on to off, %v of processor time", time.Since(begin).Round(time.Second/10),
		(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Round(time.Second/10))
	if err != nil && ctx.Err() == nil {
		t.Errorf("QEMU: %v", err)
	}
	return string(bytes.ReplaceAll(console, []byte("\r"), nil)), ctx.Err() == nil
}

// report turns the output of `test -test.v` into subtests. code is what it has to end with.
func (vm *vmMachine) report(t *testing.T, out string, code int) {
	seen := 0
	for _, name := range strings.Fields(vm.tests) {
		_, rest, ran := strings.Cut(out, "=== RUN   "+name+"\n")
		if !ran {
			t.Errorf("%s did not run", name)
			continue
		}
		seen++
		t.Run(name, func(t *testing.T) {
			if !strings.Contains("\n"+rest, "\n--- PASS: "+name+" (") {
				t.Error("failed in the machine")
			}
		})
	}
	if !strings.Contains(out, fmt.Sprintf("\nvm: exit code %d\n", code)) || seen == 0 || t.Failed() {
		t.Errorf("the machine's console:\n%s", out)
	} else if testing.Verbose() {
		t.Log(out)
	}
}

// vmKernel is the kernel that `make deps` unpacked.
func vmKernel(t *testing.T) string {
	t.Helper()
	kernel := "build/vm/vmlinuz"
	_, err := os.Stat(kernel)
	needs(t, err == nil, kernel+", which make deps takes from Debian's linux-image-cloud-amd64")
	return kernel
}

// pack writes the initramfs.
func (vm *vmMachine) pack(image, runtime, boot string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	defer f.Close()
	c := &cpio{w: f, tree: vm.tree, made: map[string]bool{}}
	for _, d := range []string{"bin", "dev", "etc", "mnt", "modules", "proc", "run", "src", "sys", "tmp", "var/tmp"} {
		c.dir(d)
	}
	c.file("/bin/busybox", "bin/busybox")
	c.file("testdata/vm/init", "init")
	c.file(self, "src/test")
	c.file(runtime, "src/runh")
	c.file("testdata/docker-config.json", "src/testdata/docker-config.json")
	c.data("etc/passwd", 0o644, "root:x:0:0:root:/:/bin/sh\nmessagebus:x:100:100:bus:/:/bin/false\nuser:x:1000:1000:user:/tmp:/bin/sh\n")
	c.data("tests", 0o644, fmt.Sprintf("cgroup=%s\nsystemd=%s\nlist='^(%s)$'\nexport RUNTIME=/src/runh RUNH_TEST_ALL=1 RUNH_TEST_LIMIT=3m RUNH_TEST_CGROUP=%s RUNH_TEST_CRIU=%s RUNH_TEST_BUILT=%s RUNH_TEST_ACCEL=%s\n",
		vm.cgroup, map[bool]string{true: "1"}[vm.systemd], strings.Join(strings.Fields(vm.tests), "|"),
		map[bool]string{true: "systemd"}[vm.systemd], map[bool]string{true: "1"}[vm.criu], map[bool]string{true: "/src/built"}[vm.engines || vm.apparmor || vm.kvm || vm.runs("TestCgroupOracle")],
		map[bool]string{true: "kvm"}[vm.kvm]))
	c.program("/usr/bin/strace")
	if vm.apparmor {
		c.program("/sbin/apparmor_parser")
		c.standIn()
	}
	if vm.criu {
		c.program("/usr/sbin/criu")
		c.program("/bin/tar") // by which criu saves what is in a tmpfs
		c.program("/bin/gzip")
		c.program("/usr/bin/flock")
	}
	if vm.criu && vm.systemd { // the others have nftables in the kernel, and no program for it
		c.iptables()
		for _, name := range []string{"libxt_mark.so", "libxt_standard.so"} {
			c.file(xtables+name, xtables[1:]+name)
		}
	}
	if vm.systemd {
		c.systemd()
	}
	if vm.engines {
		c.engines()
	}
	if vm.kvm {
		c.guests()
	}
	if vm.runs("TestCgroupOracle") {
		oracle, err := oracleProgram()
		c.err = cmpErr(c.err, err)
		c.file(oracle, "src/built/cgroups")
	}
	vm.modules(c, boot)
	c.entry("TRAILER!!!", 0, "")
	if c.err == nil {
		c.err = f.Close()
	}
	return c.err
}

const xtables = "/usr/lib/x86_64-linux-gnu/xtables/"

// systemd packs it, a message bus, and the units for both and for the tests.
func (c *cpio) systemd() {
	c.program("/lib/systemd/systemd")
	if c.has("/usr/lib/systemd/systemd-executor") { // systemd starts a service by it since version 255, and no longer links all that it uses
		c.program("/usr/lib/systemd/systemd-executor")
		c.program("/usr/lib/x86_64-linux-gnu/libmount.so.1")
	}
	c.program("/usr/bin/dbus-daemon")
	c.program("/bin/systemctl")
	c.data("etc/systemd/user/default.target", 0o644, "[Unit]\nDefaultDependencies=no\n") // of the user's manager
	c.same("/usr/share/dbus-1/system.conf", "/usr/share/dbus-1/system.d/org.freedesktop.systemd1.conf")
	c.data("etc/group", 0o644, "root:x:0:\nuser:x:1000:\nmessagebus:x:100:\n")
	unit := func(name, text string) {
		c.data("etc/systemd/system/"+name, 0o644, "[Unit]\nDefaultDependencies=no\n"+text)
	}
	unit("default.target", "Requires=dbus.socket dbus.service tests.service\nWants=user.service\n")
	unit("dbus.socket", "[Socket]\nListenStream=/run/dbus/system_bus_socket\n") // by these names systemd finds its bus
	unit("dbus.service", "Requires=dbus.socket\nAfter=dbus.socket\n[Service]\nType=notify\nNotifyAccess=main\n"+
		"ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation\n")
	unit("user.service", "After=dbus.service\n[Service]\nType=notify\nUser=user\nDelegate=yes\nRuntimeDirectory=user/1000\n"+
		"Environment=XDG_RUNTIME_DIR=/run/user/1000\nExecStart=/lib/systemd/systemd --user\n")
	unit("tests.service", "After=dbus.service user.service\n[Service]\nExecStart=/init\nStandardOutput=file:/dev/ttyS0\nStandardError=file:/dev/ttyS0\n")
}

// modules packs the kernel modules that make deps has found. KVM is for the machines that are about it alone.
func (vm *vmMachine) modules(c *cpio, dir string) {
	modules, _ := filepath.Glob(filepath.Join(dir, "*.ko*"))
	for _, m := range modules {
		if vm.kvm || !strings.HasPrefix(filepath.Base(m), "kvm") {
			c.file(m, "modules/"+filepath.Base(m))
		}
	}
}

// program packs one of the host's or of the tree's, with its libraries. Those of a tree its own dynamic linker finds, with the tree as its root.
func (c *cpio) program(file string) {
	c.same(file)
	interp, err := elfInterpreter(c.tree + file)
	c.err = cmpErr(c.err, err)
	if err != nil || interp == "" {
		return
	}
	list := exec.Command(interp, "--list", file)
	if c.tree != "" {
		list.SysProcAttr = &syscall.SysProcAttr{Chroot: c.tree}
		list.Dir = "/"
	}
	out, err := list.Output()
	c.err = cmpErr(c.err, err)
	libs, err := librariesOf(string(out))
	c.err = cmpErr(c.err, err)
	for _, lib := range append(libs, interp) {
		if !c.made[lib] {
			c.made[lib] = true
			c.same(lib)
		}
	}
}

// programs packs those of the names that are there.
func (c *cpio) programs(names ...string) {
	for _, name := range names {
		for _, dir := range []string{"/usr/sbin/", "/usr/bin/"} {
			if c.has(dir + name) {
				c.program(dir + name)
			}
		}
	}
}

// iptables packs the program of that name, which is another's by its first argument.
func (c *cpio) iptables() {
	const multi = "/usr/sbin/xtables-nft-multi"
	c.program(multi)
	for _, name := range []string{"iptables", "iptables-restore", "ip6tables", "ip6tables-restore"} {
		c.file(c.tree+multi, "usr/sbin/"+name)
	}
}

// same packs files at the paths that they have.
func (c *cpio) same(files ...string) {
	for _, f := range files {
		c.file(c.tree+f, f[1:])
	}
}

func (c *cpio) has(file string) bool { return regularFile(c.tree + file) }

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// cpio writes the "newc" format (kernel: Documentation/driver-api/early-userspace/buffer-format.rst).
type cpio struct {
	w    io.Writer
	tree string // where programs are from: "", the host's root
	n    int
	made map[string]bool
	err  error
}

func (c *cpio) dir(name string) {
	if name == "." || c.made[name] {
		return
	}
	c.dir(filepath.Dir(name))
	c.made[name] = true
	c.entry(name, 0o040755, "")
}

func (c *cpio) data(name string, mode int, data string) {
	c.dir(filepath.Dir(name))
	c.entry(name, 0o100000|mode, data)
}

// file packs a file of the host.
func (c *cpio) file(host, name string) {
	data, err := os.ReadFile(host)
	if err != nil {
		c.err = cmpErr(c.err, err)
		return
	}
	mode := 0o755
	if fi, err := os.Stat(host); err == nil && fi.Mode()&os.ModeSetuid != 0 {
		mode |= unix.S_ISUID
	}
	c.data(name, mode, string(data))
}

func (c *cpio) entry(name string, mode int, data string) {
	c.n++
	head := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", c.n, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	pad := func(n int) string { return "\x00\x00\x00"[:(4-n%4)%4] }
	head += name + "\x00"
	_, err := io.WriteString(c.w, head+pad(len(head))+data+pad(len(data)))
	c.err = cmpErr(c.err, err)
}
