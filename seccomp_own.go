// The seccomp filters of the processes that stand around a guest: what QEMU's (qemu.go), virtiofsd's
// (vm_share.go) and the keeper's have in common, and the keeper's.

package main

import (
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ownFilter: what no rule allows looks absent (ENOSYS), as on an older kernel, and libraries then do
// without: clone3, whose flags no filter can see, falls back to clone.
func ownFilter(rules ...specs.LinuxSyscall) *specs.LinuxSeccomp {
	absent := uint(unix.ENOSYS)
	return &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno, DefaultErrnoRet: &absent,
		Architectures: []specs.Arch{specs.ArchX86_64},
		Syscalls:      rules,
	}
}

func allowCalls(names string, args ...specs.LinuxSeccompArg) specs.LinuxSyscall {
	return specs.LinuxSyscall{Names: strings.Fields(names), Action: specs.ActAllow, Args: args}
}

func argIs(index uint, v uint64) specs.LinuxSeccompArg {
	return specs.LinuxSeccompArg{Index: index, Value: v, Op: specs.OpEqualTo}
}

// argMasked compares some bits of an argument.
func argMasked(index uint, mask, v uint32) specs.LinuxSeccompArg {
	return specs.LinuxSeccompArg{Index: index, Value: uint64(mask), ValueTwo: uint64(v), Op: specs.OpMaskedEqual}
}

// argInt compares an argument of which the kernel takes 32 bits: C leaves the upper half of the register as it
// happens to be (QEMU extends the sign of KVM's requests, for one).
func argInt(index uint, v uint32) specs.LinuxSeccompArg { return argMasked(index, ^uint32(0), v) }

// allowEach allows a call that does another thing with each value of an argument, with these values only. ioctl,
// fcntl and prctl each are dozens of calls, of which a process needs a few, and some reach beyond the process:
// a tap that outlives it, signals for others, the end of a parent that it is to share.
func allowEach(name string, index uint, values []uint32, more ...specs.LinuxSeccompArg) []specs.LinuxSyscall {
	var rules []specs.LinuxSyscall
	for _, v := range values {
		rules = append(rules, allowCalls(name, append([]specs.LinuxSeccompArg{argInt(index, v)}, more...)...))
	}
	return rules
}

// What golang.org/x/sys/unix has no name for: asm-generic/ioctls.h.
const (
	fionbio = 0x5421
	fioclex = 0x5451
)

// ownLimits: a process reads and lowers its own limits, and not another's.
func ownLimits() specs.LinuxSyscall { return allowCalls("prlimit64", argInt(0, 0)) }

// newNamespaces are clone(2)'s flags for them, as Docker's profile has the mask.
const newNamespaces = 0x7e020000

// allowThreads: threads, but no processes and no new namespaces.
func allowThreads() specs.LinuxSyscall {
	const thread = unix.CLONE_THREAD | unix.CLONE_VM
	return allowCalls("clone", specs.LinuxSeccompArg{Index: 0, Op: specs.OpMaskedEqual, Value: newNamespaces | thread, ValueTwo: thread})
}

// keeperSeccomp are the system calls of the keeper and of Go's runtime beneath it. It opens nothing,
// connects to nothing and starts nothing: all it deals with it was given. Of what a terminal can be told
// it has its settings, and not the keystrokes of others (TIOCSTI). Its execve is the one that makes it,
// from the descriptor self, which is closed by that. It has CAP_KILL for QEMU, by a pidfd: the signal that Go's threads
// send each other does nothing to other processes, and descriptors send none (F_SETOWN).
func keeperSeccomp(self int) *specs.LinuxSeccomp {
	s := ownFilter(allowCalls(keeperSyscalls), allowThreads(), ownLimits(),
		allowCalls("execveat", argIs(0, uint64(self))),
		allowCalls("tgkill", argInt(2, uint32(unix.SIGURG))),
		allowCalls("prctl", argInt(0, unix.PR_SET_VMA))) // names of Go's memory
	s.Syscalls = append(s.Syscalls, allowEach("ioctl", 1, []uint32{unix.TIOCINQ, unix.TCGETS, unix.TCSETS})...)
	s.Syscalls = append(s.Syscalls, allowEach("fcntl", 1, []uint32{unix.F_GETFD, unix.F_GETFL, unix.F_SETFL})...)
	return s
}

const keeperSyscalls = `
accept4 arch_prctl clock_gettime close close_range dup3 exit exit_group fstat futex getpid getrandom gettid
madvise mmap mprotect munmap nanosleep pidfd_send_signal pipe2 poll ppoll read recvmsg restart_syscall
rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield sendmsg sendto sigaltstack waitid write`
