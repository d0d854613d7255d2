package main

import (
	"strings"
	"testing"
)

func TestQEMUArgs(t *testing.T) {
	const head = "-no-user-config -nodefaults -display none -no-reboot -S "
	const middle = " -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny" +
		" -chardev stdio,id=serial,mux=off,signal=off -serial chardev:serial -chardev socket,id=qmp,fd=7 -qmp chardev:qmp" +
		" -device isa-debug-exit,iobase=0xf4,iosize=0x04 "
	const rng = "-object rng-builtin,id=rng0 -device virtio-rng-pci,disable-legacy=on,rng=rng0 "
	for _, tt := range []struct {
		name string
		vm   vmConfig
		want string
	}{
		{
			"microvm",
			vmConfig{Machine: "microvm", Accel: "tcg", CPU: "max", VCPUs: 1, MemoryMiB: 64, TBSizeMiB: 16, Network: "none"},
			head + "-M microvm,x-option-roms=off,pit=off,pic=off,rtc=on,auto-kernel-cmdline=off,acpi=off -global virtio-mmio.force-legacy=off -bios qboot.rom" +
				" -accel tcg,tb-size=16 -cpu max -smp 1 -m 64" + middle + "-kernel /loader -initrd /app",
		},
		{
			"microvm with a network",
			vmConfig{Machine: "microvm", Accel: "kvm", CPU: "host", VCPUs: 2, MemoryMiB: 64, Network: "user", Boot: bootLine{Back: "-- a"}, Ports: []portForward{{"tcp", 80}, {"udp", 53}}},
			head + "-M microvm,x-option-roms=off,pit=off,pic=off,rtc=on,auto-kernel-cmdline=off,acpi=off -global virtio-mmio.force-legacy=off -bios qboot.rom" +
				" -accel kvm -cpu host -smp 2 -m 64" + middle +
				"-netdev user,id=net0,net=192.168.76.0/24,dhcpstart=192.168.76.9,hostfwd=tcp::80-:80,hostfwd=udp::53-:53 -device virtio-net-device,netdev=net0" +
				" -kernel /loader -initrd /app -append -- a",
		},
		{
			"microvm with a tap",
			vmConfig{Machine: "microvm", Accel: "kvm", CPU: "host", VCPUs: 2, MemoryMiB: 64, Network: "direct", Vhost: true, Lease: &lease{MAC: "02:00:00:00:00:01", IP: "10.0.0.9", Bits: 24, MTU: 1500}},
			head + "-M microvm,x-option-roms=off,pit=off,pic=off,rtc=on,auto-kernel-cmdline=off,acpi=off -global virtio-mmio.force-legacy=off -bios qboot.rom" +
				" -accel kvm -cpu host -smp 2 -m 64" + middle +
				"-netdev tap,id=net0,fd=100,vhost=on,vhostfd=101 -device virtio-net-device,netdev=net0,mac=02:00:00:00:00:01,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off" +
				" -kernel /loader -initrd /app -append -ip 10.0.0.9 -mask 255.255.255.0",
		},
		{
			"pc",
			vmConfig{Machine: "pc", RNG: true, Accel: "tcg", CPU: "max", VCPUs: 1, MemoryMiB: 64, TBSizeMiB: 8, Network: "none"},
			head + "-M pc -accel tcg,tb-size=8 -cpu max -smp 1 -m 64" + middle + rng + "-kernel /loader -initrd /app",
		},
		{
			"q35 with a network, no loader",
			vmConfig{Machine: "q35", RNG: true, Accel: "tcg", CPU: "max", VCPUs: 1, MemoryMiB: 64, TBSizeMiB: 8, Network: "user", PVH: true},
			head + "-M q35 -accel tcg,tb-size=8 -cpu max -smp 1 -m 64" + middle +
				"-netdev user,id=net0,net=192.168.76.0/24,dhcpstart=192.168.76.9 -device virtio-net-pci,disable-legacy=on,netdev=net0,romfile= " + rng + "-kernel /app",
		},
		{
			"shared files",
			vmConfig{Machine: "pc", RNG: true, Accel: "tcg", CPU: "max", VCPUs: 1, MemoryMiB: 64, TBSizeMiB: 8, Network: "none", Share: "/"},
			head + "-M pc -accel tcg,tb-size=8 -cpu max -smp 1 -m 64" + middle +
				"-object memory-backend-memfd,id=memory,size=64M,share=on -machine memory-backend=memory" +
				" -chardev socket,id=share,fd=4 -device vhost-user-fs-pci,queue-size=1024,chardev=share,tag=/ " + rng + "-kernel /loader -initrd /app",
		},
	} {
		got := qemuArgs(&tt.vm, 7)
		if got := strings.Join(got, " "); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestVMMSeccomp(t *testing.T) {
	none, user := vmmSeccomp(&vmConfig{Network: "none"}), vmmSeccomp(&vmConfig{Network: "user"})
	allowed := map[string]bool{}
	for _, s := range none.Syscalls {
		for _, n := range s.Names {
			allowed[n] = true
		}
	}
	for _, n := range strings.Fields(`ptrace mount umount2 bpf perf_event_open userfaultfd keyctl add_key kexec_load init_module setns unshare clone3
		fork vfork execveat kill tkill process_vm_readv process_vm_writev setuid capset chroot pivot_root socket connect bind listen sendto memfd_secret`) {
		if allowed[n] {
			t.Errorf("%s is allowed", n)
		}
	}
	if len(user.Syscalls) <= len(none.Syscalls) {
		t.Error("the user network needs sockets")
	}
	for _, p := range []string{"none", "user"} {
		if _, err := compileSeccomp(vmmSeccomp(&vmConfig{Network: p})); err != nil {
			t.Error(err)
		}
	}
}

func TestGuestEndCode(t *testing.T) {
	ran := guestEnd{greeted: true, started: true, serialWatch: serialWatch{output: true}}
	with := func(f func(e *guestEnd)) guestEnd { e := ran; f(&e); return e }
	line := func(n int32) func(e *guestEnd) {
		return func(e *guestEnd) { e.hasStatus, e.exitStatus = true, n }
	}
	both := func(fs ...func(e *guestEnd)) func(e *guestEnd) {
		return func(e *guestEnd) {
			for _, f := range fs {
				f(e)
			}
		}
	}
	status := func(n int) func(e *guestEnd) { return func(e *guestEnd) { e.status = n } }
	reason := func(r string) func(e *guestEnd) { return func(e *guestEnd) { e.reason = r } }
	signal := func(n int) func(e *guestEnd) { return func(e *guestEnd) { e.signal = n } }
	stop := func(n int) func(e *guestEnd) { return func(e *guestEnd) { e.stop = n } }
	kernelPanic := func(e *guestEnd) { e.kernelPanic = true }
	loaderPanic := func(e *guestEnd) { e.loaderPanic = true }
	silent := func(e *guestEnd) { e.output = false }
	complains := func(e *guestEnd) { e.errors = "cannot set up guest memory" }

	for _, tt := range []struct {
		name string
		end  guestEnd
		code int
		why  string
	}{
		// kernels since 0.10
		{"success", with(both(status(3), line(0))), 0, "exit status 0"},
		{"failure", with(both(status(1), line(7))), 7, "exit status 7"},
		{"128 and more", with(both(status(1), line(200))), 200, ""},
		{"negative", with(both(status(1), line(-1))), 255, ""},
		{"truncated as Linux does", with(both(status(1), line(256))), 0, ""},
		{"kernel panic", with(both(status(1), line(1), kernelPanic)), 1, ""},
		// forged lines
		{"says 0, fails", with(both(status(1), line(0))), 1, ""},
		{"says 5, succeeds", with(both(status(3), line(5))), 0, ""},
		{"says 0, crashes", with(both(status(0), line(0), reason("guest-reset"))), 134, ""},
		{"says 0, powers off", with(both(status(0), line(0), reason("guest-shutdown"))), 0, ""},
		{"says 5, powers off", with(both(status(0), line(5), reason("guest-shutdown"))), 5, ""},
		// kernels before 0.10
		{"old success", with(status(3)), 0, ""},
		{"old failure", with(status(1)), 1, ""},
		{"old failure, silent", with(both(status(1), silent)), 1, ""},
		{"older: power off", with(both(status(0), reason("guest-shutdown"))), 0, "the guest powered off"},
		{"older: 3 after a panic", with(both(status(3), kernelPanic)), 1, "the kernel panicked"},
		{"3 after a panic that was only printed", with(both(status(3), line(0), kernelPanic)), 0, ""},
		{"older: power off after a panic", with(both(status(0), reason("guest-shutdown"), kernelPanic)), 1, ""},
		// crashes
		{"triple fault", with(both(status(0), reason("guest-reset"))), 134, "the guest crashed"},
		{"triple fault after a panic", with(both(status(0), reason("guest-reset"), kernelPanic)), 134, ""},
		{"no reason", with(status(0)), 134, ""},
		{"guest-panic", with(both(status(0), reason("other"))), 134, ""},
		{"loader panic, ended by us", with(both(status(0), reason("host-qmp-quit"), loaderPanic)), 1, "the loader panicked"},
		{"loader panic, killed by us", with(both(signal(9), loaderPanic)), 1, "the loader panicked"},
		{"loader panic, then stopped", with(both(status(0), reason("host-qmp-quit"), loaderPanic, stop(15))), 1, ""},
		{"says so, but goes on", with(both(status(3), line(0), loaderPanic)), 0, ""},
		// other values at the exit port
		{"5", with(status(11)), 11, "the guest ended QEMU with status 11"},
		{"127", with(status(255)), 255, ""},
		// stops and kills
		{"SIGTERM", with(both(status(0), reason("host-qmp-quit"), stop(15))), 143, "stopped by signal 15"},
		{"SIGINT", with(both(status(0), reason("host-qmp-quit"), stop(2))), 130, ""},
		{"SIGTERM, QEMU killed", with(both(signal(9), stop(15))), 143, ""},
		{"SIGTERM, but the guest was faster", with(both(status(1), line(7), stop(15))), 7, ""},
		{"SIGTERM before start", guestEnd{greeted: true, reason: "host-qmp-quit", stop: 15}, 143, ""},
		{"SIGTERM before QEMU was up", guestEnd{signal: 9, stop: 15}, 143, ""},
		{"SIGTERM to QEMU", with(both(status(0), reason("host-signal"))), 143, "QEMU was told to end"},
		{"SIGKILL to QEMU", with(signal(9)), 137, "QEMU was ended by signal 9"},
		{"QEMU crashes", with(both(signal(11), complains)), 139, "QEMU was ended by signal 11: cannot set up guest memory"},
		// QEMU's own failures
		{"bad option", guestEnd{status: 1, errors: "invalid option"}, 125, "QEMU ended with status 1 before the guest ran: invalid option"},
		{"dead before start", guestEnd{status: 1, greeted: true}, 125, "QEMU ended with status 1 before the guest ran"},
		{"fails at once", with(both(status(1), silent, complains)), 125, "QEMU ended with status 1: cannot set up guest memory"},
		{"gives up", with(both(status(0), reason("host-error"), complains)), 125, "QEMU gave up: cannot set up guest memory"},
	} {
		code, why := tt.end.code()
		if code != tt.code || why == "" || !strings.Contains(why, tt.why) {
			t.Errorf("%s: %d (%s), want %d (%s)", tt.name, code, why, tt.code, tt.why)
		}
	}
}

func TestShutdownReason(t *testing.T) {
	for _, r := range []string{"host-qmp-quit", "host-signal", "host-error", "guest-shutdown", "guest-reset"} {
		if got := shutdownReason([]byte(r)); got != r {
			t.Error(r, got)
		}
	}
	if got := shutdownReason([]byte("guest-panic")); got != "other" {
		t.Error(got)
	}
}
