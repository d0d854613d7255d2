// The system calls of runh's programs: one row for each, with the kinds of its
// arguments. A test holds the rows against the source: no program makes a call
// that is not here. All of it is data, which the linker lays out.

package main

import "golang.org/x/sys/unix"

// listingRow is one system call.
type listingRow struct {
	nr    uint64
	name  string
	args  [6]listingKind
	whole func(l *lister) []listingKind // where the first ones decide over the others
}

var listingTable = [...]listingRow{
	// Descriptors.
	{nr: unix.SYS_ACCEPT4, name: "accept4", args: [6]listingKind{asFD, asNull, asNull, asFlags}},
	{nr: unix.SYS_BIND, name: "bind", args: [6]listingKind{asFD, asSockaddr, asNumber}},
	{nr: unix.SYS_CLOSE, name: "close", args: [6]listingKind{asFD}},
	{nr: unix.SYS_CLOSE_RANGE, name: "close_range", args: [6]listingKind{asFirstFD, asLastFD, asFlags}},
	{nr: unix.SYS_CONNECT, name: "connect", args: [6]listingKind{asFD, asSockaddr, asNumber}},
	{nr: unix.SYS_DUP, name: "dup", args: [6]listingKind{asFD}},
	{nr: unix.SYS_DUP3, name: "dup3", args: [6]listingKind{asFD, asNewFD, asFlags}},
	{nr: unix.SYS_FCNTL, name: "fcntl", args: [6]listingKind{asFD, asName, asNumber}},
	{nr: unix.SYS_IOCTL, name: "ioctl", whole: ioctlKinds},
	{nr: unix.SYS_LISTEN, name: "listen", args: [6]listingKind{asFD, asNumber}},
	{nr: unix.SYS_PIPE2, name: "pipe2", args: [6]listingKind{asPair, asFlags}},
	{nr: unix.SYS_READ, name: "read", args: [6]listingKind{asFD, asBuffer, asNumber}},
	{nr: unix.SYS_RECVMSG, name: "recvmsg", args: [6]listingKind{asFD, asReceived, asFlags}},
	{nr: unix.SYS_SENDFILE, name: "sendfile", args: [6]listingKind{asFD, asFD, asNull, asNumber}},
	{nr: unix.SYS_SENDMSG, name: "sendmsg", args: [6]listingKind{asFD, asSent, asFlags}},
	{nr: unix.SYS_SETSOCKOPT, name: "setsockopt", args: [6]listingKind{asFD, asName, asName, asIntAt, asNumber}},
	{nr: unix.SYS_SOCKET, name: "socket", args: [6]listingKind{asName, asFlags, asNumber}},
	{nr: unix.SYS_SOCKETPAIR, name: "socketpair", args: [6]listingKind{asName, asFlags, asNumber, asPair}},
	{nr: unix.SYS_WRITE, name: "write", args: [6]listingKind{asFD, asData, asNumber}},
	{nr: unix.SYS_WRITEV, name: "writev", args: [6]listingKind{asFD, asParts, asNumber}},

	// Files.
	{nr: unix.SYS_CHDIR, name: "chdir", args: [6]listingKind{asText}},
	{nr: unix.SYS_CHROOT, name: "chroot", args: [6]listingKind{asText}},
	{nr: unix.SYS_FACCESSAT2, name: "faccessat2", args: [6]listingKind{asFD, asText, asName, asFlags}},
	{nr: unix.SYS_FCHDIR, name: "fchdir", args: [6]listingKind{asFD}},
	{nr: unix.SYS_FCHOWN, name: "fchown", args: [6]listingKind{asFD, asInt32, asInt32}},
	{nr: unix.SYS_FCHOWNAT, name: "fchownat", args: [6]listingKind{asFD, asText, asInt32, asInt32, asFlags}},
	{nr: unix.SYS_FSETXATTR, name: "fsetxattr", args: [6]listingKind{asFD, asText, asData, asNumber, asNumber}},
	{nr: unix.SYS_FSTATFS, name: "fstatfs", args: [6]listingKind{asFD, asStatfs}},
	{nr: unix.SYS_GETCWD, name: "getcwd", args: [6]listingKind{asBuffer, asNumber}},
	{nr: unix.SYS_MKDIR, name: "mkdir", args: [6]listingKind{asText, asOctal}},
	{nr: unix.SYS_MKDIRAT, name: "mkdirat", args: [6]listingKind{asFD, asText, asOctal}},
	{nr: unix.SYS_MKNOD, name: "mknod", args: [6]listingKind{asText, asMode, asDevice}},
	{nr: unix.SYS_MKNODAT, name: "mknodat", args: [6]listingKind{asFD, asText, asMode, asDevice}},
	{nr: unix.SYS_OPEN, name: "open", args: [6]listingKind{asText, asFlags, asOctal}},
	{nr: unix.SYS_OPENAT, name: "openat", args: [6]listingKind{asFD, asText, asFlags, asOctal}},
	{nr: unix.SYS_OPENAT2, name: "openat2", args: [6]listingKind{asFD, asText, asOpenHow, asNumber}},
	{nr: unix.SYS_READLINKAT, name: "readlinkat", args: [6]listingKind{asFD, asText, asBuffer, asNumber}},
	{nr: unix.SYS_STATFS, name: "statfs", args: [6]listingKind{asText, asStatfs}},
	{nr: unix.SYS_STATX, name: "statx", args: [6]listingKind{asFD, asText, asFlags, asFlags, asStatx}},
	{nr: unix.SYS_SYMLINK, name: "symlink", args: [6]listingKind{asText, asText}},
	{nr: unix.SYS_SYMLINKAT, name: "symlinkat", args: [6]listingKind{asText, asFD, asText}},
	{nr: unix.SYS_UMASK, name: "umask", args: [6]listingKind{asOctal}},
	{nr: unix.SYS_UNLINKAT, name: "unlinkat", args: [6]listingKind{asFD, asText, asNumber}},

	// Mounts.
	{nr: unix.SYS_FSCONFIG, name: "fsconfig", args: [6]listingKind{asFD, asName, asNull, asNull, asNumber}},
	{nr: unix.SYS_FSMOUNT, name: "fsmount", args: [6]listingKind{asFD, asFlags, asFlags}},
	{nr: unix.SYS_FSOPEN, name: "fsopen", args: [6]listingKind{asText, asFlags}},
	{nr: unix.SYS_MOUNT, name: "mount", args: [6]listingKind{asText, asText, asText, asFlags, asText}},
	{nr: unix.SYS_MOUNT_SETATTR, name: "mount_setattr", args: [6]listingKind{asFD, asText, asFlags, asMountAttr, asNumber}},
	{nr: unix.SYS_MOVE_MOUNT, name: "move_mount", args: [6]listingKind{asFD, asText, asFD, asText, asFlags}},
	{nr: unix.SYS_OPEN_TREE, name: "open_tree", args: [6]listingKind{asFD, asText, asFlags}},
	{nr: unix.SYS_PIVOT_ROOT, name: "pivot_root", args: [6]listingKind{asText, asText}},
	{nr: unix.SYS_UMOUNT2, name: "umount2", args: [6]listingKind{asText, asFlags}},

	// Namespaces and processes.
	{nr: unix.SYS_CLONE, name: "clone", args: [6]listingKind{asCloneFlags, asNull, asPidfd, asNull, asNull}},
	{nr: unix.SYS_CLONE3, name: "clone3", args: [6]listingKind{asCloneArgs, asNumber}},
	{nr: unix.SYS_EXECVE, name: "execve", args: [6]listingKind{asText, asArray, asArray}},
	{nr: unix.SYS_EXECVEAT, name: "execveat", args: [6]listingKind{asFD, asText, asArray, asArray, asFlags}},
	{nr: unix.SYS_EXIT_GROUP, name: "exit_group", args: [6]listingKind{asNumber}},
	{nr: unix.SYS_FUTEX, name: "futex", args: [6]listingKind{asCompared, asName, asWord, asTime}},
	{nr: unix.SYS_GETPID, name: "getpid"},
	{nr: unix.SYS_RT_SIGACTION, name: "rt_sigaction", args: [6]listingKind{asSignal, asSigaction, asNull, asNumber}},
	{nr: unix.SYS_RT_SIGPROCMASK, name: "rt_sigprocmask", args: [6]listingKind{asName, asSignals, asNull, asNumber}},
	{nr: unix.SYS_SETNS, name: "setns", args: [6]listingKind{asFD, asFlags}},
	{nr: unix.SYS_SETSID, name: "setsid"},
	{nr: unix.SYS_SCHED_YIELD, name: "sched_yield"},
	{nr: unix.SYS_UNSHARE, name: "unshare", args: [6]listingKind{asFlags}},

	// What a process is and may.
	{nr: unix.SYS_CAPSET, name: "capset", args: [6]listingKind{asCapHeader, asCapData}},
	{nr: unix.SYS_IOPRIO_SET, name: "ioprio_set", args: [6]listingKind{asName, asNumber, asPriority}},
	{nr: unix.SYS_KEYCTL, name: "keyctl", args: [6]listingKind{asName, asText}},
	{nr: unix.SYS_PERSONALITY, name: "personality", args: [6]listingKind{asName}},
	{nr: unix.SYS_PRCTL, name: "prctl", whole: prctlKinds},
	{nr: unix.SYS_PRLIMIT64, name: "prlimit64", args: [6]listingKind{asNumber, asName, asLimits, asOldLimits}},
	{nr: unix.SYS_SCHED_SETAFFINITY, name: "sched_setaffinity", args: [6]listingKind{asNumber, asNumber, asCPUs}},
	{nr: unix.SYS_SCHED_SETATTR, name: "sched_setattr", args: [6]listingKind{asNumber, asScheduler, asNumber}},
	{nr: unix.SYS_SECCOMP, name: "seccomp", args: [6]listingKind{asName, asFlags, asFilter}},
	{nr: unix.SYS_SETDOMAINNAME, name: "setdomainname", args: [6]listingKind{asText, asNumber}},
	{nr: unix.SYS_SETGROUPS, name: "setgroups", args: [6]listingKind{asNumber, asGroups}},
	{nr: unix.SYS_SETHOSTNAME, name: "sethostname", args: [6]listingKind{asText, asNumber}},
	{nr: unix.SYS_SETRESGID, name: "setresgid", args: [6]listingKind{asInt32, asInt32, asInt32}},
	{nr: unix.SYS_SETRESUID, name: "setresuid", args: [6]listingKind{asInt32, asInt32, asInt32}},
	{nr: unix.SYS_SET_MEMPOLICY, name: "set_mempolicy", args: [6]listingKind{asFlags, asNodes, asNumber}},
}

// kinds are those of the operation at hand.
func (r *listingRow) kinds(l *lister) []listingKind {
	if r.whole != nil {
		return r.whole(l)
	}
	n := 0
	for n < len(r.args) && r.args[n] != nil {
		n++
	}
	return r.args[:n]
}

func prctlKinds(l *lister) []listingKind {
	switch l.o.args[0] {
	case unix.PR_SET_PDEATHSIG:
		return []listingKind{asName, asDeathSignal}
	case unix.PR_CAPBSET_DROP:
		return []listingKind{asName, asCapability}
	case unix.PR_CAP_AMBIENT:
		if l.o.args[1] == unix.PR_CAP_AMBIENT_RAISE {
			return []listingKind{asName, asName, asCapability}
		}
		return []listingKind{asName, asName}
	}
	return []listingKind{asName, asNumber}
}

func ioctlKinds(l *lister) []listingKind {
	switch l.o.args[1] {
	case unix.SIOCSIFFLAGS:
		return []listingKind{asFD, asName, asInterface}
	case unix.TIOCSPTLCK:
		return []listingKind{asFD, asName, asIntAt}
	case unix.TIOCGPTPEER:
		return []listingKind{asFD, asName, asFlags}
	case unix.TIOCSWINSZ:
		return []listingKind{asFD, asName, asWindow}
	}
	return []listingKind{asFD, asName, asNumber}
}
