// Probes: a QEMU that runs for a moment, to see whether it can do what is asked of it: the machine is
// made, and ended before its guest would run its first instruction.
//
// Under KVM that decides the CPU. What the host has and what QEMU passes on do not always agree: there are
// hosts where plain "host" ends QEMU with a failed assertion, and hosts without a feature that is asked for,
// where QEMU only warns, and would do so at each start. So a ladder is tried from the top, once for each QEMU
// and host, and the answer kept in the state root.

package main

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kvmLadder: invtsc, which needs migratable=no, tells the guest its clock's frequency, and is missing in the machines of most
// clouds; the register behind arch-capabilities is what some hosts do not let QEMU set. A machine with invtsc cannot be saved.
var (
	kvmLadder = []string{"host,migratable=no,+invtsc", "host,migratable=no,+invtsc,-arch-capabilities", "host", "host,-arch-capabilities", "max"}
	kvmSaved  = []string{"host", "host,-arch-capabilities", "max"}
)

const (
	kvmCPUCache = "@kvm-cpu" // in the state root
	kvmCPUSaved = "@kvm-cpu-saved"
	probeLimit  = 10 * time.Second
)

// tryMachine makes a machine with the environment's QEMU and ends it.
func tryMachine(qemu *qemuFiles, machine string) error {
	vm := &vmConfig{Machine: machine, Accel: "tcg", CPU: defaultCPU("tcg")}
	if strings.HasSuffix(qemu.QEMU, microvmOnly) {
		vm.Accel = "qtest" // Debian's has KVM alone, which is not everywhere
	}
	_, err := qemu.filesFor(vm)
	if err == nil {
		_, err = makeVM(qemu, vm)
	}
	return err
}

// makeVM makes vm's machine and ends it. lacks says in QEMU's words which features the machine's CPU lacks of those that were
// asked for.
func makeVM(qemu *qemuFiles, vm *vmConfig) (lacks []string, err error) {
	probe := &hostCommand{
		path: qemu.QEMU, args: []string{"-no-user-config", "-nodefaults", "-display", "none", "-M", vm.Machine, "-accel", vm.Accel, "-cpu", vm.CPU, "-m", "32", "-S", "-qmp", "stdio", "-device", "isa-debug-exit"},
		env: []string{"LC_ALL=C"}, root: qemu.root, limit: probeLimit,
		stdin: `{"execute":"qmp_capabilities"}` + "\n" + `{"execute":"quit"}` + "\n",
	}
	if vm.Machine == "microvm" {
		probe.args = append(probe.args, "-bios", "qboot.rom")
	}
	if qemu.LibPath != "" {
		probe.env = append(probe.env, "LD_LIBRARY_PATH="+qemu.LibPath)
	}
	if qemu.built != "" { // static, and finds its firmware beside it; and it sees /dev/kvm
		probe.path, probe.root = filepath.Join(qemu.root, qemu.QEMU), ""
	}
	r, err := probe.run()
	switch {
	case err != nil:
		return nil, err
	case r.failed() == nil:
		return missingFeatures(r.complaint), nil
	}
	state := "killed by signal " + strconv.Itoa(int(r.status.Signal()))
	if r.status.Exited() {
		state = "exit status " + strconv.Itoa(r.status.ExitStatus())
	}
	return nil, fmt.Errorf("QEMU %s with -M %s -accel %s -cpu %s: %s: %s", qemu.QEMU, vm.Machine, vm.Accel, vm.CPU, state, lastLine(r.complaint))
}

// missingFeatures are QEMU's warnings of features that it leaves out: of each it names the bit of CPUID or of a register. It leaves
// out what the host does not have, and what depends on that.
//
//	qemu-system-x86_64: warning: host doesn't support requested feature: CPUID.80000007H:EDX.invtsc [bit 8]
//	qemu-system-x86_64: warning: This feature depends on other features that were not requested: CPUID.(EAX=0DH,ECX=01H):EAX.xsaves [bit 3]
func missingFeatures(said []byte) (lines []string) {
	for line := range strings.Lines(string(said)) {
		if strings.Contains(line, "doesn't support requested feature") || strings.Contains(line, "depends on other features") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// lastLine is the last line that QEMU printed beside its QMP.
func lastLine(said []byte) string {
	last := "it says nothing"
	for line := range bytes.Lines(said) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '{' {
			last = string(line)
		}
	}
	return last
}

// keptCPU is the answer of an earlier time, "" if there is none, and where the next one is kept.
func keptCPU(stateRoot string, qemu *qemuFiles, saved bool) (cache, key, cpu string) {
	cache = filepath.Join(stateRoot, kvmCPUCache)
	if saved {
		cache = filepath.Join(stateRoot, kvmCPUSaved)
	}
	key = probeKey(qemu)
	if text, err := readFile(cache, 4096); err == nil {
		if k, kept, found := strings.Cut(string(text), "\n"); found && k == key {
			cpu = kept
		}
	}
	return cache, key, cpu
}

// kvmCPU is the first CPU of the ladder that QEMU makes here as it is asked for. If there is none, it is the last
// one that QEMU makes at all. saved says that the machine's state is to be kept.
func kvmCPU(stateRoot string, qemu *qemuFiles, machine string, saved bool) (string, error) {
	ladder := kvmLadder
	if saved {
		ladder = kvmSaved
	}
	cache, key, cpu := keptCPU(stateRoot, qemu, saved)
	if cpu != "" {
		return cpu, nil
	}
	var errs error
	works, lacked := "", ""
	for _, cpu := range ladder {
		if strings.Contains(lacked, ".invtsc ") && strings.Contains(cpu, "+invtsc") {
			continue
		}
		lacks, err := makeVM(qemu, &vmConfig{Machine: machine, Accel: "kvm", CPU: cpu})
		if errs = errors.Join(errs, err); err != nil {
			continue
		}
		works = cpu
		if len(lacks) == 0 {
			break
		}
		lacked += strings.Join(lacks, "\n")
	}
	if works == "" {
		first, _, _ := strings.Cut(errs.Error(), "\n")
		return "", fmt.Errorf("KVM does not work with any CPU: %s", first)
	}
	_ = writeFile(cache, []byte(key+"\n"+works), 0o600) // or it is tried again
	return works, nil
}

// probeKey is what an answer holds for: this QEMU on this kernel and processor. The number at its beginning is another one whenever an
// earlier runh may have kept an answer that this one would not give.
func probeKey(qemu *qemuFiles) string {
	var st unix.Stat_t
	unix.Stat(filepath.Join(qemu.root, qemu.QEMU), &st)
	var u unix.Utsname
	unix.Uname(&u)
	info, _ := readSome("/proc/cpuinfo", 4096)
	var cpu []string
	for line := range strings.Lines(string(info)) {
		if name, value, found := strings.Cut(line, ":"); found && cpuIdentity[strings.TrimSpace(name)] {
			cpu = append(cpu, strings.TrimSpace(value))
		}
	}
	return fmt.Sprint("runh/2 ", qemu.root, qemu.QEMU, st.Ino, st.Size, st.Mtim, unix.ByteSliceToString(u.Release[:]), cpu)
}

var cpuIdentity = map[string]bool{"cpu family": true, "model": true, "stepping": true, "microcode": true}
