// The device rules of cgroup v2, which are a BPF program that the kernel asks
// about every access to a device.
//
// Contract: the program decides as the list does, rule by rule from the last
// to the first. A cgroup may have more programs, on itself and on its parents
// (systemd's own, for one); each of them can only forbid.

package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bpfInstruction is struct bpf_insn: an extended BPF instruction, unlike
// seccomp's.
type bpfInstruction struct {
	code      uint8
	registers uint8 // destination, and the source in the upper half
	offset    int16
	imm       int32
}

// Offsets in struct bpf_cgroup_dev_ctx, to which register 1 points. The type of
// the device is the lower half of the first word, the access the upper one.
const (
	deviceTypeAt  = 0
	deviceMajorAt = 4
	deviceMinorAt = 8
)

// deviceFilter makes the program. Register 3 holds the kinds of access that no
// rule has decided yet; the access is allowed once there are none.
func deviceFilter(rules []deviceRule) []bpfInstruction {
	var p []bpfInstruction
	add := func(code int, registers uint8, offset int16, imm int32) {
		p = append(p, bpfInstruction{uint8(code), registers, offset, imm})
	}
	load := func(to uint8, offset int16) { add(unix.BPF_LDX|unix.BPF_MEM|unix.BPF_W, 1<<4|to, offset, 0) }
	end := func(allow bool) {
		verdict := int32(0)
		if allow {
			verdict = 1
		}
		add(unix.BPF_ALU64|unix.BPF_MOV|unix.BPF_K, 0, 0, verdict)
		add(unix.BPF_JMP|unix.BPF_EXIT, 0, 0, 0)
	}
	load(3, deviceTypeAt)
	add(unix.BPF_ALU64|unix.BPF_RSH|unix.BPF_K, 3, 0, 16)
	for i := len(rules) - 1; i >= 0; i-- {
		r := rules[i]
		if r.kind == 'a' {
			end(r.allow)
			return p // the kernel refuses what can never be reached
		}
		if max(r.major, r.minor) > math.MaxInt32 {
			continue // no device has such a number
		}
		// What is loaded again for every rule is forgotten after it, so that
		// the kernel's verifier need not follow each rule's outcomes apart.
		var next []int // jumps to the next rule
		unless := func(code int, register uint8, imm int32) {
			next = append(next, len(p))
			add(unix.BPF_JMP|code|unix.BPF_K, register, 0, imm)
		}
		load(2, deviceTypeAt)
		add(unix.BPF_ALU64|unix.BPF_AND|unix.BPF_K, 2, 0, math.MaxUint16)
		kind := int32(unix.BPF_DEVCG_DEV_CHAR)
		if r.kind == 'b' {
			kind = unix.BPF_DEVCG_DEV_BLOCK
		}
		unless(unix.BPF_JNE, 2, kind)
		if r.major != anyDevice {
			load(2, deviceMajorAt)
			unless(unix.BPF_JNE, 2, int32(r.major))
		}
		if r.minor != anyDevice {
			load(2, deviceMinorAt)
			unless(unix.BPF_JNE, 2, int32(r.minor))
		}
		if r.allow {
			add(unix.BPF_ALU64|unix.BPF_AND|unix.BPF_K, 3, 0, int32(accessAll&^r.access))
			unless(unix.BPF_JNE, 3, 0)
		} else {
			add(unix.BPF_ALU64|unix.BPF_MOV|unix.BPF_X, 3<<4|2, 0, 0)
			add(unix.BPF_ALU64|unix.BPF_AND|unix.BPF_K, 2, 0, int32(r.access))
			unless(unix.BPF_JEQ, 2, 0)
		}
		end(r.allow)
		for _, jump := range next {
			p[jump].offset = int16(len(p) - jump - 1)
		}
	}
	end(false)
	return p
}

// attachDeviceFilter loads the program and adds it to a cgroup's.
func attachDeviceFilter(dir string, filter []bpfInstruction) error {
	program, err := loadDeviceFilter(filter)
	if err != nil {
		return fmt.Errorf("linux.resources.devices: load the BPF program: %w", err)
	}
	defer unix.Close(program) // the cgroup holds it
	group, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(group)
	attach := struct{ target, program, kind, flags uint32 }{uint32(group), uint32(program), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI}
	if _, err := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attach), unsafe.Sizeof(attach)); err != nil {
		return fmt.Errorf("linux.resources.devices: attach the BPF program to %s: %w", dir, err)
	}
	return nil
}

func loadDeviceFilter(filter []bpfInstruction) (int, error) {
	// Before Linux 5.11 the program counts against this limit, which the
	// container must find as it was.
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return -1, os.NewSyscallError("getrlimit", err)
	}
	if unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}) == nil {
		defer unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit)
	}
	licence := [...]byte{'M', 'I', 'T', 0}
	load := struct {
		kind, count   uint32
		code, licence uint64
		_             [3]uint64 // the verifier's log
	}{
		kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, count: uint32(len(filter)),
		code: uint64(uintptr(unsafe.Pointer(&filter[0]))), licence: uint64(uintptr(unsafe.Pointer(&licence))),
	}
	// The addresses are numbers in there: what they point to must stay.
	var pinned runtime.Pinner
	defer pinned.Unpin()
	pinned.Pin(&filter[0])
	pinned.Pin(&licence)
	for try := 0; ; try++ {
		fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&load), unsafe.Sizeof(load))
		if err != unix.EAGAIN || try == 100 { // EAGAIN: a signal has interrupted the verifier
			return fd, err
		}
	}
}

func bpf(command int, attr unsafe.Pointer, size uintptr) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(command), uintptr(attr), size)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
