// The words of a listing: flags and numbers of system calls by name, as the
// manual pages have them. explain_listing_table.go says which argument has which.

package main

import "golang.org/x/sys/unix"

// listingWord is a flag or a number by name. A mask is for numbers in a field
// among flags.
type listingWord struct {
	name  string
	value uint64
	mask  uint64 // 0: value itself
}

var openWords = []listingWord{
	{"O_PATH", unix.O_PATH, unix.O_PATH | unix.O_ACCMODE}, // which has no access mode
	{"O_RDONLY", unix.O_RDONLY, unix.O_ACCMODE},
	{"O_WRONLY", unix.O_WRONLY, unix.O_ACCMODE},
	{"O_RDWR", unix.O_RDWR, unix.O_ACCMODE},
	{name: "O_CREAT", value: unix.O_CREAT},
	{name: "O_EXCL", value: unix.O_EXCL},
	{name: "O_NOCTTY", value: unix.O_NOCTTY},
	{name: "O_NONBLOCK", value: unix.O_NONBLOCK},
	{name: "O_DIRECTORY", value: unix.O_DIRECTORY},
	{name: "O_NOFOLLOW", value: unix.O_NOFOLLOW},
	{name: "O_CLOEXEC", value: unix.O_CLOEXEC},
}

var resolveWords = []listingWord{
	{name: "RESOLVE_BENEATH", value: unix.RESOLVE_BENEATH},
	{name: "RESOLVE_IN_ROOT", value: unix.RESOLVE_IN_ROOT},
	{name: "RESOLVE_NO_XDEV", value: unix.RESOLVE_NO_XDEV},
	{name: "RESOLVE_NO_SYMLINKS", value: unix.RESOLVE_NO_SYMLINKS},
	{name: "RESOLVE_NO_MAGICLINKS", value: unix.RESOLVE_NO_MAGICLINKS},
}

var openTreeWords = []listingWord{
	{name: "OPEN_TREE_CLONE", value: unix.OPEN_TREE_CLONE},
	{name: "OPEN_TREE_CLOEXEC", value: unix.OPEN_TREE_CLOEXEC},
	{name: "AT_EMPTY_PATH", value: unix.AT_EMPTY_PATH},
	{name: "AT_RECURSIVE", value: unix.AT_RECURSIVE},
}

var moveMountWords = []listingWord{
	{name: "MOVE_MOUNT_F_EMPTY_PATH", value: unix.MOVE_MOUNT_F_EMPTY_PATH}, {name: "MOVE_MOUNT_T_EMPTY_PATH", value: unix.MOVE_MOUNT_T_EMPTY_PATH},
}

var atWords = []listingWord{
	{name: "AT_EMPTY_PATH", value: unix.AT_EMPTY_PATH},
	{name: "AT_RECURSIVE", value: unix.AT_RECURSIVE},
	{name: "AT_SYMLINK_NOFOLLOW", value: unix.AT_SYMLINK_NOFOLLOW},
}

var mountAttrWords = []listingWord{
	{name: "MOUNT_ATTR_RDONLY", value: unix.MOUNT_ATTR_RDONLY},
	{name: "MOUNT_ATTR_NOSUID", value: unix.MOUNT_ATTR_NOSUID},
	{name: "MOUNT_ATTR_NODEV", value: unix.MOUNT_ATTR_NODEV},
	{name: "MOUNT_ATTR_NOEXEC", value: unix.MOUNT_ATTR_NOEXEC},
	{name: "MOUNT_ATTR__ATIME", value: unix.MOUNT_ATTR__ATIME}, // the whole field, to be cleared
	{"MOUNT_ATTR_NOATIME", unix.MOUNT_ATTR_NOATIME, unix.MOUNT_ATTR__ATIME},
	{"MOUNT_ATTR_STRICTATIME", unix.MOUNT_ATTR_STRICTATIME, unix.MOUNT_ATTR__ATIME},
	{name: "MOUNT_ATTR_NODIRATIME", value: unix.MOUNT_ATTR_NODIRATIME},
	{name: "MOUNT_ATTR_NOSYMFOLLOW", value: unix.MOUNT_ATTR_NOSYMFOLLOW},
}

var mountWords = []listingWord{
	{name: "MS_RDONLY", value: unix.MS_RDONLY},
	{name: "MS_NOSUID", value: unix.MS_NOSUID},
	{name: "MS_NODEV", value: unix.MS_NODEV},
	{name: "MS_NOEXEC", value: unix.MS_NOEXEC},
	{name: "MS_SYNCHRONOUS", value: unix.MS_SYNCHRONOUS},
	{name: "MS_REMOUNT", value: unix.MS_REMOUNT},
	{name: "MS_MANDLOCK", value: unix.MS_MANDLOCK},
	{name: "MS_DIRSYNC", value: unix.MS_DIRSYNC},
	{name: "MS_NOSYMFOLLOW", value: unix.MS_NOSYMFOLLOW},
	{name: "MS_NOATIME", value: unix.MS_NOATIME},
	{name: "MS_NODIRATIME", value: unix.MS_NODIRATIME},
	{name: "MS_BIND", value: unix.MS_BIND},
	{name: "MS_MOVE", value: unix.MS_MOVE},
	{name: "MS_REC", value: unix.MS_REC},
	{name: "MS_SILENT", value: unix.MS_SILENT},
	{name: "MS_UNBINDABLE", value: unix.MS_UNBINDABLE},
	{name: "MS_PRIVATE", value: unix.MS_PRIVATE},
	{name: "MS_SLAVE", value: unix.MS_SLAVE},
	{name: "MS_SHARED", value: unix.MS_SHARED},
	{name: "MS_RELATIME", value: unix.MS_RELATIME},
	{name: "MS_I_VERSION", value: unix.MS_I_VERSION},
	{name: "MS_STRICTATIME", value: unix.MS_STRICTATIME},
	{name: "MS_LAZYTIME", value: unix.MS_LAZYTIME},
}

var umountWords = []listingWord{{name: "MNT_DETACH", value: unix.MNT_DETACH}, {name: "UMOUNT_NOFOLLOW", value: unix.UMOUNT_NOFOLLOW}}

var cloneWords = []listingWord{
	{name: "CLONE_NEWNS", value: unix.CLONE_NEWNS},
	{name: "CLONE_NEWUTS", value: unix.CLONE_NEWUTS},
	{name: "CLONE_NEWIPC", value: unix.CLONE_NEWIPC},
	{name: "CLONE_NEWUSER", value: unix.CLONE_NEWUSER},
	{name: "CLONE_NEWPID", value: unix.CLONE_NEWPID},
	{name: "CLONE_NEWNET", value: unix.CLONE_NEWNET},
	{name: "CLONE_NEWCGROUP", value: unix.CLONE_NEWCGROUP},
	{name: "CLONE_NEWTIME", value: unix.CLONE_NEWTIME},
	{name: "CLONE_PARENT", value: unix.CLONE_PARENT},
	{name: "CLONE_PIDFD", value: unix.CLONE_PIDFD},
	{name: "CLONE_INTO_CGROUP", value: unix.CLONE_INTO_CGROUP},
}

var fileTypeWords = []listingWord{
	{"S_IFREG", unix.S_IFREG, unix.S_IFMT},
	{"S_IFCHR", unix.S_IFCHR, unix.S_IFMT},
	{"S_IFBLK", unix.S_IFBLK, unix.S_IFMT},
	{"S_IFIFO", unix.S_IFIFO, unix.S_IFMT},
	{"S_IFDIR", unix.S_IFDIR, unix.S_IFMT},
	{"S_IFSOCK", unix.S_IFSOCK, unix.S_IFMT},
}

var statxWords = []listingWord{
	{name: "STATX_BASIC_STATS", value: unix.STATX_BASIC_STATS}, {name: "STATX_INO", value: unix.STATX_INO}, {name: "STATX_MNT_ID", value: unix.STATX_MNT_ID},
}

var closeRangeWords = []listingWord{{name: "CLOSE_RANGE_CLOEXEC", value: unix.CLOSE_RANGE_CLOEXEC}}

var messageWords = []listingWord{{name: "MSG_CMSG_CLOEXEC", value: unix.MSG_CMSG_CLOEXEC}}

var socketWords = []listingWord{
	{"SOCK_STREAM", unix.SOCK_STREAM, 0xf}, {"SOCK_DGRAM", unix.SOCK_DGRAM, 0xf}, {name: "SOCK_CLOEXEC", value: unix.SOCK_CLOEXEC},
}

var interfaceWords = []listingWord{{name: "IFF_UP", value: unix.IFF_UP}, {name: "IFF_RUNNING", value: unix.IFF_RUNNING}}

var filterWords = []listingWord{
	{name: "SECCOMP_FILTER_FLAG_TSYNC", value: unix.SECCOMP_FILTER_FLAG_TSYNC},
	{name: "SECCOMP_FILTER_FLAG_LOG", value: unix.SECCOMP_FILTER_FLAG_LOG},
	{name: "SECCOMP_FILTER_FLAG_SPEC_ALLOW", value: unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
	{name: "SECCOMP_FILTER_FLAG_NEW_LISTENER", value: unix.SECCOMP_FILTER_FLAG_NEW_LISTENER},
	{name: "SECCOMP_FILTER_FLAG_TSYNC_ESRCH", value: unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH},
	{name: "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", value: unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
}

var schedulerWords = []listingWord{
	{name: "SCHED_FLAG_RESET_ON_FORK", value: unix.SCHED_FLAG_RESET_ON_FORK},
	{name: "SCHED_FLAG_RECLAIM", value: unix.SCHED_FLAG_RECLAIM},
	{name: "SCHED_FLAG_DL_OVERRUN", value: unix.SCHED_FLAG_DL_OVERRUN},
	{name: "SCHED_FLAG_KEEP_POLICY", value: unix.SCHED_FLAG_KEEP_POLICY},
	{name: "SCHED_FLAG_KEEP_PARAMS", value: unix.SCHED_FLAG_KEEP_PARAMS},
	{name: "SCHED_FLAG_UTIL_CLAMP_MIN", value: unix.SCHED_FLAG_UTIL_CLAMP_MIN},
	{name: "SCHED_FLAG_UTIL_CLAMP_MAX", value: unix.SCHED_FLAG_UTIL_CLAMP_MAX},
}

var policyWords = []listingWord{
	{name: "SCHED_OTHER", value: unix.SCHED_NORMAL},
	{name: "SCHED_FIFO", value: unix.SCHED_FIFO},
	{name: "SCHED_RR", value: unix.SCHED_RR},
	{name: "SCHED_BATCH", value: unix.SCHED_BATCH},
	{name: "SCHED_ISO", value: 4},
	{name: "SCHED_IDLE", value: unix.SCHED_IDLE},
	{name: "SCHED_DEADLINE", value: unix.SCHED_DEADLINE},
}

// memoryWords are the flags, and the modes in the order of memoryModes.
var memoryWords = []listingWord{
	{name: "MPOL_F_NUMA_BALANCING", value: 1 << 13},
	{name: "MPOL_F_RELATIVE_NODES", value: 1 << 14},
	{name: "MPOL_F_STATIC_NODES", value: 1 << 15},
	{"MPOL_DEFAULT", 0, 1<<13 - 1},
	{"MPOL_PREFERRED", 1, 1<<13 - 1},
	{"MPOL_BIND", 2, 1<<13 - 1},
	{"MPOL_INTERLEAVE", 3, 1<<13 - 1},
	{"MPOL_LOCAL", 4, 1<<13 - 1},
	{"MPOL_PREFERRED_MANY", 5, 1<<13 - 1},
	{"MPOL_WEIGHTED_INTERLEAVE", 6, 1<<13 - 1},
}

var priorityWords = []listingWord{
	{"IOPRIO_CLASS_RT", 1 << ioprioClassShift, 7 << ioprioClassShift}, {"IOPRIO_CLASS_BE", 2 << ioprioClassShift, 7 << ioprioClassShift}, {"IOPRIO_CLASS_IDLE", 3 << ioprioClassShift, 7 << ioprioClassShift},
}

var (
	newWords     = []listingWord{{name: "O_CLOEXEC", value: unix.O_CLOEXEC}} // of a call that makes descriptors
	fsopenWords  = []listingWord{{name: "FSOPEN_CLOEXEC", value: unix.FSOPEN_CLOEXEC}}
	fsmountWords = []listingWord{{name: "FSMOUNT_CLOEXEC", value: unix.FSMOUNT_CLOEXEC}}
	accessWords  = []listingWord{{name: "AT_EACCESS", value: unix.AT_EACCESS}}
)

// listingFlags are the arguments that are flags.
var listingFlags = [...]struct {
	nr    uint64
	arg   int
	words []listingWord
}{
	{unix.SYS_ACCEPT4, 3, socketWords},
	{unix.SYS_CLOSE_RANGE, 2, closeRangeWords},
	{unix.SYS_DUP3, 2, newWords},
	{unix.SYS_PIPE2, 1, newWords},
	{unix.SYS_IOCTL, 2, openWords},
	{unix.SYS_RECVMSG, 2, messageWords},
	{unix.SYS_SENDMSG, 2, messageWords},
	{unix.SYS_SOCKET, 1, socketWords},
	{unix.SYS_SOCKETPAIR, 1, socketWords},
	{unix.SYS_FACCESSAT2, 3, accessWords},
	{unix.SYS_FCHOWNAT, 4, atWords},
	{unix.SYS_OPEN, 1, openWords},
	{unix.SYS_OPENAT, 2, openWords},
	{unix.SYS_STATX, 2, atWords},
	{unix.SYS_STATX, 3, statxWords},
	{unix.SYS_FSMOUNT, 1, fsmountWords},
	{unix.SYS_FSMOUNT, 2, mountAttrWords},
	{unix.SYS_FSOPEN, 1, fsopenWords},
	{unix.SYS_MOUNT, 3, mountWords},
	{unix.SYS_MOUNT_SETATTR, 2, atWords},
	{unix.SYS_MOVE_MOUNT, 4, moveMountWords},
	{unix.SYS_OPEN_TREE, 2, openTreeWords},
	{unix.SYS_UMOUNT2, 1, umountWords},
	{unix.SYS_EXECVEAT, 4, atWords},
	{unix.SYS_SETNS, 1, cloneWords},
	{unix.SYS_UNSHARE, 0, cloneWords},
	{unix.SYS_SECCOMP, 1, filterWords},
	{unix.SYS_SET_MEMPOLICY, 0, memoryWords},
}

// listingNames are the arguments that are one of some numbers.
var listingNames = [...]struct {
	nr    uint64
	arg   int
	name  string
	value uint64
}{
	{unix.SYS_PRCTL, 0, "PR_SET_PDEATHSIG", unix.PR_SET_PDEATHSIG},
	{unix.SYS_PRCTL, 0, "PR_SET_DUMPABLE", unix.PR_SET_DUMPABLE},
	{unix.SYS_PRCTL, 0, "PR_SET_KEEPCAPS", unix.PR_SET_KEEPCAPS},
	{unix.SYS_PRCTL, 0, "PR_CAPBSET_DROP", unix.PR_CAPBSET_DROP},
	{unix.SYS_PRCTL, 0, "PR_SET_NO_NEW_PRIVS", unix.PR_SET_NO_NEW_PRIVS},
	{unix.SYS_PRCTL, 0, "PR_CAP_AMBIENT", unix.PR_CAP_AMBIENT},
	{unix.SYS_PRCTL, 1, "PR_CAP_AMBIENT_RAISE", unix.PR_CAP_AMBIENT_RAISE},
	{unix.SYS_PRCTL, 1, "PR_CAP_AMBIENT_CLEAR_ALL", unix.PR_CAP_AMBIENT_CLEAR_ALL},
	{unix.SYS_IOCTL, 1, "SIOCSIFFLAGS", unix.SIOCSIFFLAGS},
	{unix.SYS_IOCTL, 1, "TIOCSPTLCK", unix.TIOCSPTLCK},
	{unix.SYS_IOCTL, 1, "TIOCGPTPEER", unix.TIOCGPTPEER},
	{unix.SYS_IOCTL, 1, "TIOCSWINSZ", unix.TIOCSWINSZ},
	{unix.SYS_IOCTL, 1, "TIOCSCTTY", unix.TIOCSCTTY},
	{unix.SYS_FCNTL, 1, "F_DUPFD", unix.F_DUPFD},
	{unix.SYS_FCNTL, 1, "F_DUPFD_CLOEXEC", unix.F_DUPFD_CLOEXEC},
	{unix.SYS_FUTEX, 1, "FUTEX_WAIT", futexWait},
	{unix.SYS_FUTEX, 1, "FUTEX_WAKE", futexWake},
	{unix.SYS_FSCONFIG, 1, "FSCONFIG_CMD_CREATE", unix.FSCONFIG_CMD_CREATE},
	{unix.SYS_RT_SIGPROCMASK, 0, "SIG_SETMASK", sigSetmask},
	{unix.SYS_KEYCTL, 0, "KEYCTL_JOIN_SESSION_KEYRING", unix.KEYCTL_JOIN_SESSION_KEYRING},
	{unix.SYS_SECCOMP, 0, "SECCOMP_SET_MODE_FILTER", 1},
	{unix.SYS_FACCESSAT2, 2, "X_OK", unix.X_OK},
	{unix.SYS_IOPRIO_SET, 0, "IOPRIO_WHO_PROCESS", ioprioProcess},
	{unix.SYS_SETSOCKOPT, 1, "SOL_SOCKET", unix.SOL_SOCKET},
	{unix.SYS_SETSOCKOPT, 2, "SO_PASSCRED", unix.SO_PASSCRED},
	{unix.SYS_SOCKET, 0, "AF_UNIX", unix.AF_UNIX},
	{unix.SYS_SOCKET, 0, "AF_INET", unix.AF_INET},
	{unix.SYS_SOCKETPAIR, 0, "AF_UNIX", unix.AF_UNIX},
	{unix.SYS_PRLIMIT64, 1, "RLIMIT_CPU", unix.RLIMIT_CPU},
	{unix.SYS_PRLIMIT64, 1, "RLIMIT_FSIZE", unix.RLIMIT_FSIZE},
	{unix.SYS_PRLIMIT64, 1, "RLIMIT_DATA", unix.RLIMIT_DATA},
	{unix.SYS_PRLIMIT64, 1, "RLIMIT_STACK", unix.RLIMIT_STACK},
	{unix.SYS_PRLIMIT64, 1, "RLIMIT_CORE", unix.RLIMIT_CORE},
	{unix.SYS_PRLIMIT64, 1, "RLIMIT_RSS", unix.RLIMIT_RSS},
	{unix.SYS_PRLIMIT64, 1, "RLIMIT_NPROC", unix.RLIMIT_NPROC},
	{unix.SYS_PRLIMIT64, 1, "RLIMIT_NOFILE", unix.RLIMIT_NOFILE},
	{unix.SYS_PRLIMIT64, 1, "RLIMIT_MEMLOCK", unix.RLIMIT_MEMLOCK},
	{unix.SYS_PRLIMIT64, 1, "RLIMIT_AS", unix.RLIMIT_AS},
	{unix.SYS_PRLIMIT64, 1, "RLIMIT_LOCKS", unix.RLIMIT_LOCKS},
	{unix.SYS_PRLIMIT64, 1, "RLIMIT_SIGPENDING", unix.RLIMIT_SIGPENDING},
	{unix.SYS_PRLIMIT64, 1, "RLIMIT_MSGQUEUE", unix.RLIMIT_MSGQUEUE},
	{unix.SYS_PRLIMIT64, 1, "RLIMIT_NICE", unix.RLIMIT_NICE},
	{unix.SYS_PRLIMIT64, 1, "RLIMIT_RTPRIO", unix.RLIMIT_RTPRIO},
	{unix.SYS_PRLIMIT64, 1, "RLIMIT_RTTIME", unix.RLIMIT_RTTIME},
	{unix.SYS_PERSONALITY, 0, "PER_LINUX", 0},
	{unix.SYS_PERSONALITY, 0, "PER_LINUX32", 8},
}
