// QEMU's system calls: the filter that still holds when a guest has broken into QEMU.
//
// Contract: what QEMU does on a guest's behalf works; a call that does many things does only those.
//
// Leaves to: seccomp_own.go, the words it is written in; vm_jail.go, the limits that it relies on.

package main

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxFiles is QEMU's limit of descriptors, hard and soft. dup2 and dup3 make none from there on. It is also the number of
// a descriptor that QEMU has beside a tap and cannot close: as that is beyond the limit, neither dup2 nor dup3 replaces it,
// and the filter lets close and fcntl (FD_CLOEXEC, for an execve) have smaller ones only. A power of two, for the filter's mask.
func (vm *vmConfig) maxFiles() uint32 {
	var limit unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) // it cannot fail
	most, room := uint32(256), limit.Max
	if vm.usesTap() {
		room-- // for that number
	}
	if vm.Network == "user" {
		most = vm.userFiles()
	}
	for most > 128 && uint64(most) > room {
		most /= 2
	}
	return most
}

// userFiles: QEMU alone has some fourteen descriptors. In the network of mode user each connection is one more, for seconds
// beyond its end (TIME_WAIT), and each port from which the guest sends by UDP, for minutes. QEMU does not say when it has
// no more, so there are many; but a connection takes 10 KiB, and strangers' must not take more than a sixteenth of the
// container's memory.
func (vm *vmConfig) userFiles() uint32 {
	const least, most, perMiB = 256, 4096, 1024 / 10 / 16
	n := uint32(least)
	for n < most && int(2*n) <= vm.NeedsMiB*perMiB {
		n *= 2
	}
	return n
}

// ownFile: the argument is a descriptor that QEMU may do away with.
func (vm *vmConfig) ownFile(index uint) specs.LinuxSeccompArg {
	return argMasked(index, ^(vm.maxFiles() - 1), 0)
}

// The letters of ioctl requests that belong to one driver alone, as the request's second byte.
const (
	ioctlKVM   = 0xae
	ioctlVhost = 0xaf
)

// ioctlsOf allows all requests with a letter. KVM has more than two hundred, new ones with each kernel and processor, and
// QEMU asks for each that the kernel knows. They work on QEMU's own machine only. No other driver that QEMU has a
// descriptor of takes these letters.
func ioctlsOf(letter uint32) specs.LinuxSyscall {
	return allowCalls("ioctl", argMasked(1, 0xff00, letter<<8))
}

// tapIoctls are what net/tap-linux.c of QEMU asks of a tap that it was given: what it is, how long headers are and in
// which order their bytes, which offloads the guest takes; and to have no program for choosing queues, at each reset
// (it has no bpf(2) to make one). Not: to outlive us or to have an owner (TUNSETPERSIST, TUNSETOWNER), another
// hardware address (SIOCSIFHWADDR), no carrier, filters, the network namespace's descriptor.
var tapIoctls = []uint32{
	unix.TUNGETIFF, unix.TUNGETFEATURES, unix.TUNSETSNDBUF, unix.TUNSETOFFLOAD, unix.TUNGETVNETHDRSZ, unix.TUNSETVNETHDRSZ,
	unix.TUNGETVNETLE, unix.TUNSETVNETLE, unix.TUNGETVNETBE, unix.TUNSETVNETBE, unix.TUNSETSTEERINGEBPF,
}

// vmmFcntl: no signals for whom it likes (F_SETOWN, F_SETSIG), no leases, no locks on files that it shares with others.
// The seals are of the guest's memory, where virtiofsd shares it.
var vmmFcntl = []uint32{
	unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL, unix.F_ADD_SEALS, unix.F_GET_SEALS,
}

// vmmPrctl: not the signal that ends it with its parent (PR_SET_PDEATHSIG), nor who may trace it, nor whom it shares
// a core with.
var vmmPrctl = []uint32{
	unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_SET_TIMERSLACK, unix.PR_GET_TIMERSLACK, unix.PR_MCE_KILL, unix.PR_SET_VMA,
	unix.PR_SET_NO_NEW_PRIVS, unix.PR_GET_NO_NEW_PRIVS, unix.PR_SET_SECCOMP, unix.PR_GET_SECCOMP, unix.PR_CAPBSET_READ, unix.PR_GET_DUMPABLE,
}

// vmmSignals are those that QEMU's threads and its C library's send each other: a virtual CPU is called out of the guest
// by SIGUSR1. Where QEMU has the user of others, as in a user namespace of one user, the worst of them ends a process.
var vmmSignals = []uint32{uint32(unix.SIGABRT), uint32(unix.SIGBUS), uint32(unix.SIGUSR1), uint32(unix.SIGUSR2), 32, 33}

// vmmSeccomp are the system calls that QEMU makes on vm's behalf, from its dynamic linker to its end.
// It stands below QEMU's own -sandbox, which takes some of them away again once QEMU is set up: execve
// is here for the start.
func vmmSeccomp(vm *vmConfig) *specs.LinuxSeccomp {
	s := ownFilter(allowCalls(vmmSyscalls), allowThreads(), ownLimits(), allowCalls("close", vm.ownFile(0)))
	add := func(rules ...specs.LinuxSyscall) { s.Syscalls = append(s.Syscalls, rules...) }
	add(allowEach("fcntl", 1, vmmFcntl, vm.ownFile(0))...)
	add(allowEach("prctl", 0, vmmPrctl)...)
	add(allowEach("tgkill", 2, vmmSignals)...)
	add(allowEach("ioctl", 1, []uint32{unix.TCGETS, unix.TIOCINQ, fionbio})...) // isatty; the network of mode user
	if vm.Accel == "kvm" {
		add(ioctlsOf(ioctlKVM))
	}
	if vm.usesTap() {
		add(allowEach("ioctl", 1, tapIoctls)...)
		if vm.Accel == "kvm" { // attach decides whether it gets /dev/vhost-net
			add(ioctlsOf(ioctlVhost))
		}
	}
	if vm.Share != "" {
		add(allowCalls("fstatfs"), allowCalls("socketpair", argIs(0, unix.AF_UNIX))) // virtiofsd gets one end
	}
	if vm.Network == "user" {
		add(allowCalls("accept accept4 bind connect getpeername listen recvfrom sendto shutdown"),
			allowCalls("socket", argIs(0, unix.AF_UNIX)), allowCalls("socket", argIs(0, unix.AF_INET)), allowCalls("socket", argIs(0, unix.AF_INET6)))
	}
	return s
}

// Seen with strace in QEMU 7.2 on all machines, under load, and under KVM; and what newer QEMUs and other C libraries
// need beyond that. Not io_uring: it does what other calls do, out of the filter's sight, and
// QEMU polls without it. Not close_range: it would close what is kept.
const vmmSyscalls = `
access arch_prctl brk clock_getres clock_gettime clock_nanosleep dup dup2 dup3
epoll_create1 epoll_ctl epoll_pwait epoll_wait eventfd2 execve exit exit_group
faccessat faccessat2 fadvise64 fallocate fchdir fdatasync fstat fsync ftruncate futex
get_mempolicy getcpu getcwd getdents64 getegid geteuid getgid getpeername getpid getppid getrandom getresgid getresuid
getrlimit getrusage getsockname getsockopt gettid gettimeofday getuid
lseek lstat
madvise mbind membarrier memfd_create mincore mlock mmap mprotect mremap munmap
nanosleep newfstatat open openat pipe2 poll ppoll pread64 preadv pselect6 pwrite64 pwritev
read readlink readlinkat readv recvmsg restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait
sched_getaffinity sched_getparam sched_getscheduler sched_yield seccomp select sendmsg set_mempolicy set_robust_list set_tid_address setsockopt
sigaltstack signalfd4 stat statfs statx sysinfo time timer_create timer_delete timer_settime timerfd_create timerfd_settime
umask uname unlink write writev`
