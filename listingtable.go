// The system calls of runh's programs: one row for each, with the kinds of its
// arguments. A test holds the rows against the source: no program makes a call
// that is not here.

package main

import "golang.org/x/sys/unix"

// listingRow is one system call.
type listingRow struct {
	nr    uint64
	name  string
	args  []listingKind
	whole func(l *lister) []listingKind // where the first ones decide over the others
}

func listingTable() []listingRow {
	open, at := asFlags(openWords()), asFlags(atWords())
	row := func(nr int, name string, args ...listingKind) listingRow {
		return listingRow{nr: uint64(nr), name: name, args: args}
	}
	decided := func(nr int, name string, whole func(l *lister) []listingKind) listingRow {
		return listingRow{nr: uint64(nr), name: name, whole: whole}
	}
	return []listingRow{
		// Descriptors.
		row(unix.SYS_ACCEPT4, "accept4", asFD, asNull, asNull, asFlags(socketWords())),
		row(unix.SYS_BIND, "bind", asFD, asSockaddr, asNumber),
		row(unix.SYS_CLOSE, "close", asFD),
		row(unix.SYS_CLOSE_RANGE, "close_range", asFirstFD, asLastFD, asFlags(closeRangeWords())),
		row(unix.SYS_CONNECT, "connect", asFD, asSockaddr, asNumber),
		row(unix.SYS_DUP, "dup", asFD),
		row(unix.SYS_DUP3, "dup3", asFD, asNewFD, open3),
		row(unix.SYS_FCNTL, "fcntl", asFD, asOneOf(numberWords("fcntl")), asNumber),
		decided(unix.SYS_IOCTL, "ioctl", ioctlKinds),
		row(unix.SYS_LISTEN, "listen", asFD, asNumber),
		row(unix.SYS_PIPE2, "pipe2", asPair, open3),
		row(unix.SYS_READ, "read", asFD, asBuffer, asNumber),
		row(unix.SYS_RECVMSG, "recvmsg", asFD, asReceived, asFlags(messageWords())),
		row(unix.SYS_SENDFILE, "sendfile", asFD, asFD, asNull, asNumber),
		row(unix.SYS_SENDMSG, "sendmsg", asFD, asSent, asFlags(messageWords())),
		row(unix.SYS_SETSOCKOPT, "setsockopt", asFD, asOneOf(numberWords("level")), asOneOf(numberWords("option")), asIntAt, asNumber),
		row(unix.SYS_SOCKET, "socket", asOneOf(familyWords()), asFlags(socketWords()), asNumber),
		row(unix.SYS_SOCKETPAIR, "socketpair", asOneOf(familyWords()), asFlags(socketWords()), asNumber, asPair),
		row(unix.SYS_WRITE, "write", asFD, asTextOf(2), asNumber),
		row(unix.SYS_WRITEV, "writev", asFD, asParts, asNumber),

		// Files.
		row(unix.SYS_CHDIR, "chdir", asText),
		row(unix.SYS_CHROOT, "chroot", asText),
		row(unix.SYS_FACCESSAT2, "faccessat2", asFD, asText, asOneOf(numberWords("access")), asFlags([]listingWord{{name: "AT_EACCESS", value: unix.AT_EACCESS}})),
		row(unix.SYS_FCHDIR, "fchdir", asFD),
		row(unix.SYS_FCHOWN, "fchown", asFD, asInt32, asInt32),
		row(unix.SYS_FCHOWNAT, "fchownat", asFD, asText, asInt32, asInt32, at),
		row(unix.SYS_FSETXATTR, "fsetxattr", asFD, asText, asTextOf(3), asNumber, asNumber),
		row(unix.SYS_FSTATFS, "fstatfs", asFD, asStatfs),
		row(unix.SYS_GETCWD, "getcwd", asBuffer, asNumber),
		row(unix.SYS_MKDIR, "mkdir", asText, asOctal),
		row(unix.SYS_MKDIRAT, "mkdirat", asFD, asText, asOctal),
		row(unix.SYS_MKNOD, "mknod", asText, asMode, asDevice),
		row(unix.SYS_MKNODAT, "mknodat", asFD, asText, asMode, asDevice),
		row(unix.SYS_OPEN, "open", asText, open, asOctal),
		row(unix.SYS_OPENAT, "openat", asFD, asText, open, asOctal),
		row(unix.SYS_OPENAT2, "openat2", asFD, asText, asOpenHow, asNumber),
		row(unix.SYS_READLINKAT, "readlinkat", asFD, asText, asBuffer, asNumber),
		row(unix.SYS_STATFS, "statfs", asText, asStatfs),
		row(unix.SYS_STATX, "statx", asFD, asText, at, asFlags(statxWords()), asStatx),
		row(unix.SYS_SYMLINK, "symlink", asText, asText),
		row(unix.SYS_SYMLINKAT, "symlinkat", asText, asFD, asText),
		row(unix.SYS_UMASK, "umask", asOctal),
		row(unix.SYS_UNLINKAT, "unlinkat", asFD, asText, asNumber),

		// Mounts.
		row(unix.SYS_FSCONFIG, "fsconfig", asFD, asOneOf(numberWords("fsconfig")), asNull, asNull, asNumber),
		row(unix.SYS_FSMOUNT, "fsmount", asFD, asFlags([]listingWord{{name: "FSMOUNT_CLOEXEC", value: unix.FSMOUNT_CLOEXEC}}), asFlags(mountAttrWords())),
		row(unix.SYS_FSOPEN, "fsopen", asText, asFlags(numberWords("fsopen"))),
		row(unix.SYS_MOUNT, "mount", asText, asText, asText, asFlags(mountWords()), asText),
		row(unix.SYS_MOUNT_SETATTR, "mount_setattr", asFD, asText, at, asMountAttr, asNumber),
		row(unix.SYS_MOVE_MOUNT, "move_mount", asFD, asText, asFD, asText, asFlags(moveMountWords())),
		row(unix.SYS_OPEN_TREE, "open_tree", asFD, asText, asFlags(openTreeWords())),
		row(unix.SYS_PIVOT_ROOT, "pivot_root", asText, asText),
		row(unix.SYS_UMOUNT2, "umount2", asText, asFlags(umountWords())),

		// Namespaces and processes.
		row(unix.SYS_CLONE, "clone", asCloneFlags, asNull, asPidfd, asNull, asNull),
		row(unix.SYS_CLONE3, "clone3", asCloneArgs, asNumber),
		row(unix.SYS_EXECVE, "execve", asText, asArray, asArray),
		row(unix.SYS_EXECVEAT, "execveat", asFD, asText, asArray, asArray, at),
		row(unix.SYS_EXIT_GROUP, "exit_group", asNumber),
		row(unix.SYS_FUTEX, "futex", asCompared, asOneOf(numberWords("futex")), asWord, asTime),
		row(unix.SYS_GETPID, "getpid"),
		row(unix.SYS_RT_SIGACTION, "rt_sigaction", asSignal, asSigaction, asNull, asNumber),
		row(unix.SYS_RT_SIGPROCMASK, "rt_sigprocmask", asOneOf(numberWords("sigprocmask")), asSignals, asNull, asNumber),
		row(unix.SYS_SETNS, "setns", asFD, asFlags(cloneWords())),
		row(unix.SYS_SETSID, "setsid"),
		row(unix.SYS_SCHED_YIELD, "sched_yield"),
		row(unix.SYS_UNSHARE, "unshare", asFlags(cloneWords())),

		// What a process is and may.
		row(unix.SYS_CAPSET, "capset", asCapHeader, asCapData),
		row(unix.SYS_IOPRIO_SET, "ioprio_set", asOneOf(numberWords("ioprio")), asNumber, asPriority),
		row(unix.SYS_KEYCTL, "keyctl", asOneOf(numberWords("keyctl")), asText),
		row(unix.SYS_PERSONALITY, "personality", asOneOf(numberWords("personality"))),
		decided(unix.SYS_PRCTL, "prctl", prctlKinds),
		row(unix.SYS_PRLIMIT64, "prlimit64", asNumber, asRlimit, asLimits, asOldLimits),
		row(unix.SYS_SCHED_SETAFFINITY, "sched_setaffinity", asNumber, asNumber, asBits(1)),
		row(unix.SYS_SCHED_SETATTR, "sched_setattr", asNumber, asScheduler, asNumber),
		row(unix.SYS_SECCOMP, "seccomp", asOneOf(numberWords("seccomp")), asFlags(filterWords()), asFilter),
		row(unix.SYS_SETDOMAINNAME, "setdomainname", asText, asNumber),
		row(unix.SYS_SETGROUPS, "setgroups", asNumber, asGroups),
		row(unix.SYS_SETHOSTNAME, "sethostname", asText, asNumber),
		row(unix.SYS_SETRESGID, "setresgid", asInt32, asInt32, asInt32),
		row(unix.SYS_SETRESUID, "setresuid", asInt32, asInt32, asInt32),
		row(unix.SYS_SET_MEMPOLICY, "set_mempolicy", asFlags(memoryWords()), asBits(2), asNumber),
	}
}

// open3 are the flags of a call that makes descriptors.
func open3(_ *lister, _ int, v uint64) string {
	return showFlags(v, []listingWord{{name: "O_CLOEXEC", value: unix.O_CLOEXEC}})
}

func prctlKinds(l *lister) []listingKind {
	option := asOneOf(numberWords("prctl"))
	switch l.o.args[0] {
	case unix.PR_SET_PDEATHSIG:
		return []listingKind{option, asDeathSignal}
	case unix.PR_CAPBSET_DROP:
		return []listingKind{option, asCapability}
	case unix.PR_CAP_AMBIENT:
		ambient := asOneOf(numberWords("ambient"))
		if l.o.args[1] == unix.PR_CAP_AMBIENT_RAISE {
			return []listingKind{option, ambient, asCapability}
		}
		return []listingKind{option, ambient}
	}
	return []listingKind{option, asNumber}
}

func ioctlKinds(l *lister) []listingKind {
	request := asOneOf(numberWords("ioctl"))
	switch l.o.args[1] {
	case unix.SIOCSIFFLAGS:
		return []listingKind{asFD, request, asInterface}
	case unix.TIOCSPTLCK:
		return []listingKind{asFD, request, asIntAt}
	case unix.TIOCGPTPEER:
		return []listingKind{asFD, request, asFlags(openWords())}
	case unix.TIOCSWINSZ:
		return []listingKind{asFD, request, asWindow}
	}
	return []listingKind{asFD, request, asNumber}
}
