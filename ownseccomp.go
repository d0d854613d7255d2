// The seccomp filters of the processes that stand around a guest: what QEMU's (qemu.go), virtiofsd's
// (virtiofs.go) and the keeper's have in common, and the keeper's.

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
// from a descriptor that is closed by that.
func keeperSeccomp() *specs.LinuxSeccomp {
	return ownFilter(allowCalls(keeperSyscalls), allowThreads(),
		allowCalls("execveat", argIs(0, keeperFD-1)),
		allowCalls("ioctl", argIs(1, unix.TIOCINQ)), allowCalls("ioctl", argIs(1, unix.TCGETS)), allowCalls("ioctl", argIs(1, unix.TCSETS)),
		allowCalls("prctl", argIs(0, unix.PR_SET_VMA))) // names of Go's memory
}

const keeperSyscalls = `
accept4 arch_prctl clock_gettime close close_range dup3 exit exit_group fcntl fstat futex getpid getrandom gettid
madvise mmap mprotect munmap nanosleep pidfd_send_signal pipe2 poll ppoll prlimit64 read recvmsg restart_syscall
rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield sendmsg sendto sigaltstack tgkill waitid write`
