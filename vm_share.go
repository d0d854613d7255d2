// A guest's share of the container's files: which it gets, under which names, and how virtiofsd is
// called for it.
//
// Contract: pure but for reading the spec's sources; vm_share_jail.go has the process.
//
// What Hermit's kernels do with a virtio-fs device decides the names. They take one device, the first. Its
// tag is the directory where all of the share appears ("root" is /root), but for the tag "/": then each
// top-level directory of the share is one of the guest. /tmp and /proc stay the kernel's own, and one that
// is called dev makes it panic. Hence:
//
//	share = "rootfs"        tag root: the container's rootfs with its mounts is the guest's /root
//	share = "auto"          tag /: the container's volumes, and nothing else, each at its own path; files in the
//	                        image's own /root count as a volume there, for upstream's runtime shares that directory
//	"rootfs" and volumes    tag /: both, the rootfs as the share's directory root
//
// They also send a whole path as one name ("/data/x"). The virtiofsd that is written in Rust resolves it
// beneath the share; the older one, QEMU's own in C, refuses it, and a kernel whose tag is / panics at that.
// So with the older one the tag is always root, and only guests that go name by name see their files.

package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

var errSharedState = errors.New("a machine that shares files with its container cannot be saved: QEMU does not write virtiofsd's state; share = \"none\" is without")

// sharePlan is what a guest gets of its container's files.
type sharePlan struct {
	daemon  *shareFiles
	tag     string
	rootfs  bool
	volumes []volume // at their own paths; without any the whole share is the rootfs
}

// volume is a mount of the container's that its user asked for.
type volume struct {
	dest string // in the container, and in the share
	dir  bool
}

// imageHome is the directory of the image that upstream's runtime shares.
const imageHome = "/root"

// filesIn says whether a directory of the container has anything in it.
func filesIn(root int, dir string) bool {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(root, beneath(dir), &how)
	if err != nil {
		return false // most images have none
	}
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	names, _ := f.Readdirnames(1) // one that cannot be read has nothing for virtiofsd, either
	return len(names) > 0
}

// place chooses the tag and the volumes that have a place under it. ownPaths says that the tag may be "/";
// kernels before 0.8 do not know it.
func (s *sharePlan) place(volumes []volume, ownPaths bool, lossf func(string, ...any)) {
	if s.rootfs && !ownPaths {
		return
	}
	for _, v := range volumes {
		top, rest, _ := strings.Cut(v.dest[1:], "/")
		switch {
		case s.rootfs && top == "root": // the rootfs has that name; it is there at /root/root
			continue
		case ownPaths && (top == "tmp" || top == "proc" || top == "dev" || rest == "" && !v.dir):
			if !s.rootfs {
				lossf("the guest does not see the volume %s: Hermit can mount directories only, and not /tmp, /proc or /dev", v.dest)
			}
			continue
		case slices.ContainsFunc(s.volumes, func(above volume) bool { return strings.HasPrefix(v.dest, above.dest+"/") }):
			continue // it comes with that one
		}
		s.volumes = append(s.volumes, v)
	}
	if ownPaths && len(s.volumes) > 0 {
		s.tag = "/"
	}
}

// userVolumes are the bind mounts that are not the engine's own, sorted by path.
func userVolumes(mounts []mountRequest) []volume {
	var list []volume
	for _, m := range mounts {
		if !m.bind || m.remount || engineMount(m.dest) {
			continue
		}
		info, err := os.Stat(m.source)
		v := volume{m.dest, err != nil || info.IsDir()}
		if !slices.ContainsFunc(list, func(old volume) bool { return old.dest == v.dest }) {
			list = append(list, v)
		}
	}
	slices.SortFunc(list, byPath)
	return list
}

func byPath(a, b volume) int { return strings.Compare(a.dest, b.dest) }

// engineMount says whether engines bind something on this path by themselves: names and addresses, secrets,
// what a container's /dev, /proc and /sys are made of.
func engineMount(dest string) bool {
	switch dest {
	case "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/.dockerenv", "/run/.containerenv", "/usr/share/zoneinfo/Etc/UTC":
		return true
	}
	if engineInit(dest) {
		return true
	}
	for _, dir := range []string{"/dev", "/proc", "/sys", "/run/secrets", "/var/run/secrets"} {
		if dest == dir || strings.HasPrefix(dest, dir+"/") {
			return true
		}
	}
	return false
}

// String is for explain and for the log.
func (s *sharePlan) String() string {
	if s == nil {
		return "none"
	}
	base := "/"
	if s.tag != "/" {
		base = "/" + s.tag
	}
	var parts []string
	if s.rootfs {
		parts = append(parts, "the rootfs at /root")
	}
	for _, p := range s.parts() {
		if p.source != "/" {
			parts = append(parts, path.Join(base, p.dest))
		}
	}
	return strings.Join(parts, ", ") + ", by " + s.daemon.Path
}

// Where things are in virtiofsd's jail.
const (
	shareTree  = "tree"  // the container's whole rootfs
	shareParts = "share" // what is put together from it, where that is not what the guest gets
	shareFD    = 3       // the socket on which virtiofsd awaits QEMU
)

// root is the directory in the jail that the guest gets.
func (s *sharePlan) root() string {
	if len(s.volumes) == 0 {
		return shareTree
	}
	return shareParts
}

// virtiofsdArgs is virtiofsd's command line after argv[0]. It leaves the rest of its jail by chroot, and
// then gives up what that needed.
func (s *sharePlan) virtiofsdArgs() []string {
	fd, none := fmt.Sprintf("--fd=%d", shareFD), "--rlimit-nofile=0" // the limit is set already
	const drop = "-mknod:-setfcap"
	if s.daemon.Rust {
		return []string{
			fd, none, "--shared-dir=/" + s.root(), "--sandbox=chroot", "--inode-file-handles=never",
			"--modcaps=" + drop, "--log-level=error",
		}
	}
	return []string{fd, none, "-o", "source=/" + s.root() + ",sandbox=chroot,log_level=err,modcaps=" + drop}
}

// shareCapabilities let virtiofsd act on files as any user of the container. The last two are what it begins
// with and then gives up: to leave the rest of its jail, and to bound what it keeps.
const shareCapabilities = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID |
	1<<unix.CAP_SETGID | 1<<unix.CAP_SETUID | 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_SETPCAP

// maxSharedFiles is virtiofsd's limit of descriptors: it holds one for each file that the guest has looked
// up, and Hermit's kernels never say that they have forgotten one.
const maxSharedFiles = 1 << 16

// shareSeccomp are the system calls of either virtiofsd. No socket: the one it talks on is open.
//
// Of ioctl it needs next to nothing: the guest's have no way through it. Whole, that call would change what it is
// given by a broken-out QEMU (a tap), and a shared file's flags and quota. Of fcntl it has no leases and no
// signals; of prctl what libcap-ng and libseccomp do.
func shareSeccomp() *specs.LinuxSeccomp {
	s := ownFilter(allowCalls(shareSyscalls), ownLimits(),
		allowCalls("clone", specs.LinuxSeccompArg{Index: 0, Value: newNamespaces, Op: specs.OpMaskedEqual}), // its child, too
		allowCalls("unshare", argIs(0, unix.CLONE_FS)))                                                      // each thread has a umask and a cwd of its own
	s.Syscalls = append(s.Syscalls, allowEach("ioctl", 1, []uint32{unix.TCGETS, fionbio, fioclex})...)
	s.Syscalls = append(s.Syscalls, allowEach("fcntl", 1, []uint32{
		unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL,
		unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW,
	})...)
	s.Syscalls = append(s.Syscalls, allowEach("prctl", 0, []uint32{
		unix.PR_CAPBSET_READ, unix.PR_CAPBSET_DROP, unix.PR_CAP_AMBIENT, unix.PR_GET_SECUREBITS, unix.PR_GET_KEEPCAPS,
		unix.PR_GET_NO_NEW_PRIVS, unix.PR_SET_NO_NEW_PRIVS, unix.PR_GET_SECCOMP, unix.PR_SET_SECCOMP, unix.PR_GET_DUMPABLE,
		unix.PR_GET_NAME, unix.PR_SET_NAME, unix.PR_SET_VMA,
	})...)
	return s
}

// Seen with strace in QEMU 7.2's virtiofsd, in virtiofsd 1.14 and in Debian's build of it, which asks whether what it was given is a
// socket (getsockopt) and shuts it down at the end; and what their other requests need.
const shareSyscalls = `
accept accept4 access arch_prctl brk capget capset chdir chroot clock_gettime clock_nanosleep close close_range copy_file_range
dup dup2 dup3 epoll_create1 epoll_ctl epoll_pwait epoll_wait eventfd2 execve exit exit_group
faccessat faccessat2 fallocate fchdir fchmod fchmodat fchown fchownat fdatasync flock fstat fstatfs fsync ftruncate futex
getcwd getdents64 getegid geteuid getgid getgroups getpid getppid getrandom getresgid getresuid getrlimit getsockopt gettid gettimeofday getuid
linkat lseek lstat madvise membarrier mkdirat mknodat mmap mprotect mremap munmap nanosleep newfstatat
open openat openat2 poll ppoll pread64 preadv preadv2 pwrite64 pwritev pwritev2
read readlink readlinkat readv recvmsg renameat renameat2 restart_syscall rseq rt_sigaction rt_sigprocmask rt_sigreturn
sched_getaffinity sched_yield seccomp sendmsg setgroups setresgid setresuid set_robust_list set_tid_address shutdown sigaltstack
stat statfs statx symlinkat syncfs sysinfo tgkill umask uname unlinkat utimensat write writev`
