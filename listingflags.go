// The words of a listing: flags and numbers of system calls by name, as the
// manual pages have them. listingtable.go says which argument has which.

package main

import "golang.org/x/sys/unix"

// listingWord is a flag or a number by name. A mask is for numbers in a field
// among flags.
type listingWord struct {
	name  string
	value uint64
	mask  uint64 // 0: value itself
}

func openWords() []listingWord {
	return []listingWord{
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
}

func resolveWords() []listingWord {
	return []listingWord{
		{name: "RESOLVE_BENEATH", value: unix.RESOLVE_BENEATH},
		{name: "RESOLVE_IN_ROOT", value: unix.RESOLVE_IN_ROOT},
		{name: "RESOLVE_NO_XDEV", value: unix.RESOLVE_NO_XDEV},
		{name: "RESOLVE_NO_SYMLINKS", value: unix.RESOLVE_NO_SYMLINKS},
		{name: "RESOLVE_NO_MAGICLINKS", value: unix.RESOLVE_NO_MAGICLINKS},
	}
}

func openTreeWords() []listingWord {
	return []listingWord{
		{name: "OPEN_TREE_CLONE", value: unix.OPEN_TREE_CLONE},
		{name: "OPEN_TREE_CLOEXEC", value: unix.OPEN_TREE_CLOEXEC},
		{name: "AT_EMPTY_PATH", value: unix.AT_EMPTY_PATH},
		{name: "AT_RECURSIVE", value: unix.AT_RECURSIVE},
	}
}

func moveMountWords() []listingWord {
	return []listingWord{
		{name: "MOVE_MOUNT_F_EMPTY_PATH", value: unix.MOVE_MOUNT_F_EMPTY_PATH}, {name: "MOVE_MOUNT_T_EMPTY_PATH", value: unix.MOVE_MOUNT_T_EMPTY_PATH},
	}
}

func atWords() []listingWord {
	return []listingWord{
		{name: "AT_EMPTY_PATH", value: unix.AT_EMPTY_PATH},
		{name: "AT_RECURSIVE", value: unix.AT_RECURSIVE},
		{name: "AT_SYMLINK_NOFOLLOW", value: unix.AT_SYMLINK_NOFOLLOW},
	}
}

func mountAttrWords() []listingWord {
	const atimes = unix.MOUNT_ATTR__ATIME
	return []listingWord{
		{name: "MOUNT_ATTR_RDONLY", value: unix.MOUNT_ATTR_RDONLY},
		{name: "MOUNT_ATTR_NOSUID", value: unix.MOUNT_ATTR_NOSUID},
		{name: "MOUNT_ATTR_NODEV", value: unix.MOUNT_ATTR_NODEV},
		{name: "MOUNT_ATTR_NOEXEC", value: unix.MOUNT_ATTR_NOEXEC},
		{name: "MOUNT_ATTR__ATIME", value: atimes}, // the whole field, to be cleared
		{"MOUNT_ATTR_NOATIME", unix.MOUNT_ATTR_NOATIME, atimes},
		{"MOUNT_ATTR_STRICTATIME", unix.MOUNT_ATTR_STRICTATIME, atimes},
		{name: "MOUNT_ATTR_NODIRATIME", value: unix.MOUNT_ATTR_NODIRATIME},
		{name: "MOUNT_ATTR_NOSYMFOLLOW", value: unix.MOUNT_ATTR_NOSYMFOLLOW},
	}
}

func mountWords() []listingWord {
	return []listingWord{
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
}

func umountWords() []listingWord {
	return []listingWord{{name: "MNT_DETACH", value: unix.MNT_DETACH}, {name: "UMOUNT_NOFOLLOW", value: unix.UMOUNT_NOFOLLOW}}
}

func cloneWords() []listingWord {
	return []listingWord{
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
}

func fileTypeWords() []listingWord {
	return []listingWord{
		{"S_IFREG", unix.S_IFREG, unix.S_IFMT},
		{"S_IFCHR", unix.S_IFCHR, unix.S_IFMT},
		{"S_IFBLK", unix.S_IFBLK, unix.S_IFMT},
		{"S_IFIFO", unix.S_IFIFO, unix.S_IFMT},
		{"S_IFDIR", unix.S_IFDIR, unix.S_IFMT},
		{"S_IFSOCK", unix.S_IFSOCK, unix.S_IFMT},
	}
}

func statxWords() []listingWord {
	return []listingWord{
		{name: "STATX_BASIC_STATS", value: unix.STATX_BASIC_STATS}, {name: "STATX_INO", value: unix.STATX_INO}, {name: "STATX_MNT_ID", value: unix.STATX_MNT_ID},
	}
}

func closeRangeWords() []listingWord {
	return []listingWord{{name: "CLOSE_RANGE_CLOEXEC", value: unix.CLOSE_RANGE_CLOEXEC}}
}

func messageWords() []listingWord {
	return []listingWord{{name: "MSG_CMSG_CLOEXEC", value: unix.MSG_CMSG_CLOEXEC}}
}

func familyWords() []listingWord {
	return []listingWord{{name: "AF_UNIX", value: unix.AF_UNIX}, {name: "AF_INET", value: unix.AF_INET}}
}

func socketWords() []listingWord {
	const kinds = 0xf
	return []listingWord{
		{"SOCK_STREAM", unix.SOCK_STREAM, kinds}, {"SOCK_DGRAM", unix.SOCK_DGRAM, kinds}, {name: "SOCK_CLOEXEC", value: unix.SOCK_CLOEXEC},
	}
}

func interfaceWords() []listingWord {
	return []listingWord{{name: "IFF_UP", value: unix.IFF_UP}, {name: "IFF_RUNNING", value: unix.IFF_RUNNING}}
}

func filterWords() []listingWord {
	return []listingWord{
		{name: "SECCOMP_FILTER_FLAG_TSYNC", value: unix.SECCOMP_FILTER_FLAG_TSYNC},
		{name: "SECCOMP_FILTER_FLAG_LOG", value: unix.SECCOMP_FILTER_FLAG_LOG},
		{name: "SECCOMP_FILTER_FLAG_SPEC_ALLOW", value: unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		{name: "SECCOMP_FILTER_FLAG_NEW_LISTENER", value: unix.SECCOMP_FILTER_FLAG_NEW_LISTENER},
		{name: "SECCOMP_FILTER_FLAG_TSYNC_ESRCH", value: unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH},
		{name: "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", value: unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
	}
}

func schedulerWords() []listingWord {
	return []listingWord{
		{name: "SCHED_FLAG_RESET_ON_FORK", value: unix.SCHED_FLAG_RESET_ON_FORK},
		{name: "SCHED_FLAG_RECLAIM", value: unix.SCHED_FLAG_RECLAIM},
		{name: "SCHED_FLAG_DL_OVERRUN", value: unix.SCHED_FLAG_DL_OVERRUN},
		{name: "SCHED_FLAG_KEEP_POLICY", value: unix.SCHED_FLAG_KEEP_POLICY},
		{name: "SCHED_FLAG_KEEP_PARAMS", value: unix.SCHED_FLAG_KEEP_PARAMS},
		{name: "SCHED_FLAG_UTIL_CLAMP_MIN", value: unix.SCHED_FLAG_UTIL_CLAMP_MIN},
		{name: "SCHED_FLAG_UTIL_CLAMP_MAX", value: unix.SCHED_FLAG_UTIL_CLAMP_MAX},
	}
}

func policyWords() []listingWord {
	return []listingWord{
		{name: "SCHED_OTHER", value: unix.SCHED_NORMAL},
		{name: "SCHED_FIFO", value: unix.SCHED_FIFO},
		{name: "SCHED_RR", value: unix.SCHED_RR},
		{name: "SCHED_BATCH", value: unix.SCHED_BATCH},
		{name: "SCHED_ISO", value: 4},
		{name: "SCHED_IDLE", value: unix.SCHED_IDLE},
		{name: "SCHED_DEADLINE", value: unix.SCHED_DEADLINE},
	}
}

func memoryWords() []listingWord {
	words := []listingWord{
		{name: "MPOL_F_NUMA_BALANCING", value: 1 << 13}, {name: "MPOL_F_RELATIVE_NODES", value: 1 << 14}, {name: "MPOL_F_STATIC_NODES", value: 1 << 15},
	}
	for i, mode := range memoryModes {
		words = append(words, listingWord{string(mode), uint64(i), 1<<13 - 1})
	}
	return words
}

func priorityWords() []listingWord {
	const class = 7 << ioprioClassShift
	return []listingWord{
		{"IOPRIO_CLASS_RT", 1 << ioprioClassShift, class}, {"IOPRIO_CLASS_BE", 2 << ioprioClassShift, class}, {"IOPRIO_CLASS_IDLE", 3 << ioprioClassShift, class},
	}
}

// numberWords are numbers that are no flags.
func numberWords(kind string) []listingWord {
	switch kind {
	case "prctl":
		return []listingWord{
			{name: "PR_SET_PDEATHSIG", value: unix.PR_SET_PDEATHSIG},
			{name: "PR_SET_DUMPABLE", value: unix.PR_SET_DUMPABLE},
			{name: "PR_SET_KEEPCAPS", value: unix.PR_SET_KEEPCAPS},
			{name: "PR_CAPBSET_DROP", value: unix.PR_CAPBSET_DROP},
			{name: "PR_SET_NO_NEW_PRIVS", value: unix.PR_SET_NO_NEW_PRIVS},
			{name: "PR_CAP_AMBIENT", value: unix.PR_CAP_AMBIENT},
		}
	case "ambient":
		return []listingWord{{name: "PR_CAP_AMBIENT_RAISE", value: unix.PR_CAP_AMBIENT_RAISE}, {name: "PR_CAP_AMBIENT_CLEAR_ALL", value: unix.PR_CAP_AMBIENT_CLEAR_ALL}}
	case "ioctl":
		return []listingWord{
			{name: "SIOCSIFFLAGS", value: unix.SIOCSIFFLAGS},
			{name: "TIOCSPTLCK", value: unix.TIOCSPTLCK},
			{name: "TIOCGPTPEER", value: unix.TIOCGPTPEER},
			{name: "TIOCSWINSZ", value: unix.TIOCSWINSZ},
			{name: "TIOCSCTTY", value: unix.TIOCSCTTY},
		}
	case "fcntl":
		return []listingWord{{name: "F_DUPFD", value: unix.F_DUPFD}, {name: "F_DUPFD_CLOEXEC", value: unix.F_DUPFD_CLOEXEC}}
	case "futex":
		return []listingWord{{name: "FUTEX_WAIT", value: futexWait}, {name: "FUTEX_WAKE", value: futexWake}}
	case "fsconfig":
		return []listingWord{{name: "FSCONFIG_CMD_CREATE", value: unix.FSCONFIG_CMD_CREATE}}
	case "fsopen":
		return []listingWord{{name: "FSOPEN_CLOEXEC", value: unix.FSOPEN_CLOEXEC}}
	case "sigprocmask":
		return []listingWord{{name: "SIG_SETMASK", value: sigSetmask}}
	case "keyctl":
		return []listingWord{{name: "KEYCTL_JOIN_SESSION_KEYRING", value: unix.KEYCTL_JOIN_SESSION_KEYRING}}
	case "seccomp":
		return []listingWord{{name: "SECCOMP_SET_MODE_FILTER", value: 1}}
	case "access":
		return []listingWord{{name: "X_OK", value: unix.X_OK}}
	case "level":
		return []listingWord{{name: "SOL_SOCKET", value: unix.SOL_SOCKET}}
	case "option":
		return []listingWord{{name: "SO_PASSCRED", value: unix.SO_PASSCRED}}
	case "ioprio":
		return []listingWord{{name: "IOPRIO_WHO_PROCESS", value: ioprioProcess}}
	case "personality":
		return []listingWord{{name: "PER_LINUX", value: 0}, {name: "PER_LINUX32", value: 8}}
	}
	return nil
}

func rlimitNames() []string {
	return []string{
		"RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS", "RLIMIT_NPROC", "RLIMIT_NOFILE", "RLIMIT_MEMLOCK",
		"RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME",
	}
}
