// QEMU's side of a virtual machine: its command line and the meaning of its end.
//
// Contract: pure; nothing here starts a process.

package main

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The VMM's descriptors that come with the message of keeper_launch.go, higher than any that it has before. A third one, by being open,
// holds the nftables: they are about QEMU, so it has a number that QEMU cannot close (maxFiles).
const (
	vmmTap   = 100
	vmmVhost = 101
)

// qemuArgs is QEMU's command line after argv[0]. The guest's serial line is QEMU's stdin and stdout:
// two pipes, for a pipe takes 64 KiB of single bytes where a socket's buffer is full after 300.
// qmp is the descriptor of a connected stream socket. The machine does not run until QMP says "cont".
func qemuArgs(vm *vmConfig, qmp int) []string {
	a := []string{"-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-S"}
	bus := "pci,disable-legacy=on"
	switch vm.Machine {
	case "microvm":
		// rtc=on: the kernel waits for the clock chip. acpi=off: the devices are where it looks for
		// them. qboot: other firmware hangs without a word. What is off would only cost start-up time.
		a = append(a, "-M", "microvm,x-option-roms=off,pit=off,pic=off,rtc=on,auto-kernel-cmdline=off,acpi=off",
			"-global", "virtio-mmio.force-legacy=off", "-bios", "qboot.rom")
		bus = "device"
	default:
		a = append(a, "-M", vm.Machine)
	}
	accel := vm.Accel
	if accel == "tcg" {
		accel += ",tb-size=" + strconv.Itoa(vm.TBSizeMiB)
	}
	a = append(a, "-accel", accel, "-cpu", vm.CPU, "-smp", strconv.Itoa(vm.VCPUs), "-m", strconv.Itoa(vm.MemoryMiB),
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-chardev", "stdio,id=serial,mux=off,signal=off", "-serial", "chardev:serial",
		"-chardev", "socket,id=qmp,fd="+strconv.Itoa(qmp), "-qmp", "chardev:qmp",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=0x04")
	if vm.Network != "none" {
		netdev, mac := "user,id=net0,net="+userNet+",dhcpstart="+userGuest, ""
		if vm.usesTap() {
			netdev = "tap,id=net0,fd=" + strconv.Itoa(vmmTap)
			if vm.Vhost {
				netdev += ",vhost=on,vhostfd=" + strconv.Itoa(vmmVhost)
			}
			if vm.Lease != nil {
				mac = ",mac=" + vm.Lease.MAC
			}
		} else {
			for _, p := range vm.Ports {
				netdev += fmt.Sprintf(",hostfwd=%s::%d-:%d", p.Proto, p.Port, p.Port)
			}
		}
		// On a microvm the first device gets the interrupt that kernels before 0.14 expect.
		device := "virtio-net-" + bus + ",netdev=net0" + mac
		if vm.Machine != "microvm" {
			device += ",romfile=" // no network boot
		}
		if vm.usesTap() && !vm.offersTSO() {
			device += ",guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off"
		}
		a = append(a, "-netdev", netdev, "-device", device)
	}
	if vm.Share != "" {
		// virtiofsd maps the guest's memory, so that has to be a file. The tag is the guest's name for the share.
		a = append(a, "-object", fmt.Sprintf("memory-backend-memfd,id=memory,size=%dM,share=on", vm.MemoryMiB), "-machine", "memory-backend=memory",
			"-chardev", "socket,id=share,fd="+strconv.Itoa(vmmShare), "-device", "vhost-user-fs-"+strings.TrimSuffix(bus, ",disable-legacy=on")+",queue-size=1024,chardev=share,tag="+vm.Share)
	}
	if vm.RNG {
		// Behind the others, see above. Without RDSEED, which TCG lacks, this is the guest's only source of randomness.
		a = append(a, "-object", "rng-builtin,id=rng0", "-device", "virtio-rng-"+bus+",rng=rng0")
	}
	if vm.PVH {
		a = append(a, "-kernel", vmmApp)
	} else {
		a = append(a, "-kernel", vmmLoader, "-initrd", vmmApp)
	}
	if line := vm.Boot.with(vm.Lease); line != "" {
		a = append(a, "-append", line)
	}
	if vm.Incoming {
		a = append(a, "-incoming", "defer")
	}
	return append(a, vm.Extra...)
}

// guestEnd is all that is known when QEMU is gone.
type guestEnd struct {
	status int    // QEMU's exit status
	signal int    // or the signal that ended it
	errors string // the last complaint that QEMU wrote to its stderr; a warning is none

	greeted bool   // QEMU came up
	started bool   // and the guest ran
	reason  string // of QMP's SHUTDOWN event, "" for none

	serialWatch // what the guest said on its serial line

	crashed bool // the keeper ended the machine, because nothing ran in it after an exception

	share string // how virtiofsd ended before its time
	owed  string // what QEMU has not answered
	stop  int    // the signal on which the keeper ended the machine
}

// code is the container's exit code, and why. QEMU's own status cannot be it: 0 is a triple fault, an
// ACPI power-off, SIGTERM or "quit" alike, 1 a guest's failure or a bad option, and a guest has only 7
// bits to fill. Hermit kernels since 0.10 say "exit status N" as their last words and then end QEMU
// through isa-debug-exit with 3 for N = 0 and 1 for all others. The words count only where QEMU's
// status fits them: an application can print them too.
func (e *guestEnd) code() (int, string) {
	asked := e.reason == "host-qmp-quit" || e.reason == "host-signal"
	switch {
	case e.share != "" && e.stop == 0:
		return 125, e.share
	case e.owed != "" && e.stop == 0:
		return 125, "QEMU does not answer: " + e.owed
	case e.loaderPanic && (asked || e.signal != 0):
		return 1, "the loader panicked"
	case e.crashed && (asked || e.signal != 0):
		return 128 + int(unix.SIGSEGV), "the guest crashed: its kernel reported an exception, and nothing ran after that"
	case e.stop != 0 && (asked || e.signal != 0 || !e.started):
		return 128 + e.stop, "stopped by signal " + strconv.Itoa(e.stop)
	case e.signal != 0:
		return 128 + e.signal, "QEMU was ended by signal " + strconv.Itoa(e.signal) + e.because()
	case !e.greeted || !e.started:
		return 125, "QEMU ended with status " + strconv.Itoa(e.status) + " before the guest ran" + e.because()
	case asked:
		return 128 + int(unix.SIGTERM), "QEMU was told to end"
	}
	switch e.status {
	case 3:
		if e.kernelPanic && !e.hasStatus { // kernels before 0.7 end QEMU with 3 whatever has happened
			return 1, "the kernel panicked"
		}
		return 0, "exit status 0"
	case 1:
		if e.hasStatus && e.exitStatus != 0 {
			return int(uint8(e.exitStatus)), "exit status " + strconv.Itoa(int(e.exitStatus))
		}
		if !e.output && e.errors != "" {
			return 125, "QEMU ended with status 1" + e.because()
		}
		return 1, "the guest failed"
	case 0:
		if e.hasStatus && e.exitStatus != 0 {
			return int(uint8(e.exitStatus)), "exit status " + strconv.Itoa(int(e.exitStatus))
		}
		switch {
		case e.reason == "guest-shutdown" && e.kernelPanic:
			return 1, "the kernel panicked"
		case e.reason == "guest-shutdown": // kernels before 0.7 power off, whatever the application returned
			return 0, "the guest powered off"
		case e.reason == "host-error":
			return 125, "QEMU gave up" + e.because()
		}
		// guest-reset: a triple fault, under -no-reboot.
		return 134, "the guest crashed"
	}
	return e.status, "the guest ended QEMU with status " + strconv.Itoa(e.status) + e.because()
}

// shutdownReason takes the reasons that code knows; all others are one.
func shutdownReason(b []byte) string {
	switch string(b) {
	case "host-qmp-quit":
		return "host-qmp-quit"
	case "host-signal":
		return "host-signal"
	case "host-error":
		return "host-error"
	case "guest-shutdown":
		return "guest-shutdown"
	case "guest-reset":
		return "guest-reset"
	}
	return "other"
}

func (e *guestEnd) because() string {
	if e.errors == "" {
		return ""
	}
	return ": " + e.errors
}
