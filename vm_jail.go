// The jail QEMU runs in: which system calls lead from the container's init to a
// QEMU that can reach nothing but its guest. The init forks; the child runs
// these operations while the init goes on with its own.
//
// What QEMU has: a root of its own with its program, libraries and firmware
// (vm_files.go), the loader and the application, everything read-only; a user id of
// its own; three pipes and one socket to the keeper; a tap; the device nodes its
// machine needs; the container's cgroup, network, pid, ipc and uts namespaces.
// What it has not: capabilities, other files of the image, the container or the
// host, /proc, /sys, a way to gain privileges, or system calls that a VMM does
// not make.

package main

import (
	"fmt"
	"hash/fnv"
	"os"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// vmmJail is what the operations are made from.
type vmmJail struct {
	qemu     string // its path in the jail
	argv     []string
	libPath  string
	files    []qemuFile
	host     hostTrees   // where files are mounted from
	image    []*jailFile // directories of the image, instead of most of these
	app      jailFile
	loader   *jailFile // nil: the application boots by itself
	devices  []string  // device nodes of the host
	uid      uint32
	gid      uint32
	maxFiles uint32 // its limit of descriptors
	groups   []uint32
	seccomp  *seccompFilter
	share    *shareJail // nil: no files are shared
	at       string     // a directory on which the jail's root is mounted; only QEMU's mount namespace sees that

	late     bool   // argv comes later (keeper_launch.go), to
	listener int    // this descriptor in the init,
	launchAt uint64 // and this address
}

// jailFile is a file that the parent has opened and sends to the init.
type jailFile struct {
	name string // in the jail
	fd   int    // here
	tree bool   // fd is a detached mount already
	dir  bool   // a directory
	size int64
	open bool // everybody may read it; else QEMU gets a copy

	got valueAt // the descriptor in the init
}

// vmmPipes are the VMM's connections, as addresses of descriptors in the init.
// pipe2 and socketpair write two 32-bit numbers side by side; the kernel reads
// a descriptor from the lower half of an argument, so each has an address.
type vmmPipes struct {
	serialIn, serialOut, errors, qmp [2]valueAt // [0] reads, [1] writes; qmp: [0] is the keeper's
}

// launchSize is room for qemuArgs, of which -append can have 128 KiB. It fits into a socket's buffer.
const launchSize = 160 << 10

// vmmID is the user or group id of a container's QEMU: far above what people and
// user namespaces use, and different for each container, but for one chance in 16
// million that two have the same.
//
// A user namespace hardly maps such an id. There it is one of the upper half of
// the longest range, where the fewest ids of an image are, and not nobody's. A
// namespace that maps root alone leaves QEMU no choice.
func vmmID(maps []specs.LinuxIDMapping, root, id string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(root + "\x00" + id))
	hash := h.Sum32()
	if far := 0x70000000 | hash&0xffffff; hasID(maps, far) {
		return far
	}
	var first, n uint32
	for _, m := range maps {
		if m.ContainerID == 0 {
			m.ContainerID, m.Size = 1, m.Size-1
		}
		if m.Size > n {
			first, n = m.ContainerID, m.Size
		}
	}
	if n == 0 {
		return 0
	}
	picked := first + n/2 + hash%(n-n/2)
	if picked == nobody && n > 1 {
		picked--
	}
	return picked
}

// nobody is the id that the kernel shows for those that have no place in a map.
const nobody = 65534

func (p *program) pipe() [2]valueAt {
	a := p.alloc(16)
	p.call(unix.SYS_PIPE2, a, unix.O_CLOEXEC)
	return [2]valueAt{valueAt(a), valueAt(a + 4)}
}

func (p *program) socketpair() [2]valueAt {
	a := p.alloc(16)
	p.call(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0, a)
	return [2]valueAt{valueAt(a), valueAt(a + 4)}
}

// take receives the files, and makes mounts of them: while the init is still
// in the mount namespace that the descriptors belong to.
func (p *program) take(files ...*jailFile) {
	for _, f := range files {
		p.at("take %s", f.name)
		f.got = p.receiveFiles(1)[0]
		if !f.tree && f.open {
			tree := p.alloc(8)
			p.call(unix.SYS_OPEN_TREE, f.got, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH).into(tree)
			f.got = valueAt(tree)
		}
	}
}

// forkVMM starts the VMM's process beside the program that writes on from here.
// The result is a pidfd of it.
func (p *program) forkVMM(j *vmmJail, io *vmmPipes) valueAt {
	p.at("make the VMM's pipes")
	io.serialIn, io.serialOut, io.errors, io.qmp = p.pipe(), p.pipe(), p.pipe(), p.socketpair()
	on := p.alloc(4)
	p.view(on, 4)[0] = 1
	p.call(unix.SYS_SETSOCKOPT, io.qmp[0], unix.SOL_SOCKET, unix.SO_PASSCRED, on, 4) // tells the keeper QEMU's pid
	var child, after label
	p.at("fork the VMM")
	// Its mount namespace is a copy from the very start: the init is about to
	// leave the host's files behind.
	pidfd := p.alloc(8)
	p.call(unix.SYS_CLONE, unix.CLONE_NEWNS|unix.CLONE_PIDFD|uint64(unix.SIGCHLD), 0, pidfd, 0, 0).ifZero(&child)
	p.jump(&after)
	p.place(&child)
	p.aside("QEMU's process: its jail", func() { p.jail(j, io) })
	p.place(&after)
	return valueAt(pidfd)
}

// copies is how many bytes the jail's own file system has to hold.
func (j *vmmJail) copies() int64 {
	var n int64
	for _, f := range []*jailFile{&j.app, j.loader} {
		if f != nil && !f.open {
			n += f.size + 4096
		}
	}
	return n
}

// jail is the life of the VMM's process up to QEMU.
func (p *program) jail(j *vmmJail, io *vmmPipes) {
	p.at("VMM jail: prepare")
	p.dieWithParent() // the keeper's end is QEMU's
	p.call(unix.SYS_SETSID)
	p.call(unix.SYS_MOUNT, 0, "/", 0, unix.MS_REC|unix.MS_PRIVATE, 0)

	p.at("VMM jail: mount its root")
	p.call(unix.SYS_MOUNT, "tmpfs", j.at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("mode=0755,size=%d,nr_inodes=4096", 1<<20+j.copies()))
	p.call(unix.SYS_CHDIR, j.at)
	p.jailFiles(j)
	p.at("VMM jail: make it read-only")
	p.call(unix.SYS_MOUNT_SETATTR, at_FDCWD, ".", unix.AT_RECURSIVE, p.words(unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID, 0, 0, 0), 32)

	p.enterJail("VMM jail")

	p.at("VMM jail: connect")
	p.call(unix.SYS_DUP3, io.serialIn[0], 0, 0)
	p.call(unix.SYS_DUP3, io.serialOut[1], 1, 0)
	p.call(unix.SYS_DUP3, io.errors[1], 2, 0)
	p.call(unix.SYS_DUP3, io.qmp[1], vmmQMP, 0)
	p.call(unix.SYS_CLOSE_RANGE, vmmQMP+1, uint64(^uint32(0)), unix.CLOSE_RANGE_CLOEXEC)
	if j.share != nil {
		p.call(unix.SYS_DUP3, j.share.client, vmmShare, 0)
	}

	p.at("VMM jail: limit")
	p.call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_CORE, p.words(0, 0), 0)
	p.identity(specs.User{UID: j.uid, GID: j.gid, AdditionalGids: j.groups}, capabilities{}, 0)
	p.dieWithParent() // the change of user has cleared it
	p.at("VMM jail: set no_new_privs")
	p.call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if !j.late {
		p.limitFiles(j.maxFiles)
		p.execJailed("VMM jail", j.qemu, j.argv, j.libPath, j.seccomp)
		return
	}
	argv, conn := p.awaitLaunch(j)
	p.limitFiles(j.maxFiles) // one of them is beyond that
	var failed label
	for _, c := range p.execAt("VMM jail", j.qemu, argv, j.libPath, j.seccomp) {
		c.orElse(&failed)
	}
	p.place(&failed)
	what := "VMM jail: exec " + j.qemu
	p.call(unix.SYS_WRITEV, conn, p.words(errnoAddr, 8, uint64(p.str(what)), uint64(len(what))), 2).ignoreAll()
	p.call(unix.SYS_EXIT_GROUP, 1)
}

func (p *program) limitFiles(most uint32) {
	p.at("VMM jail: limit its files")
	p.call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, p.words(uint64(most), uint64(most)), 0)
}

// enterJail makes the current directory the root, and leaves the host's files.
func (p *program) enterJail(jail string) {
	p.at("%s: enter it", jail)
	old := p.call(unix.SYS_OPENAT, at_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	p.call(unix.SYS_PIVOT_ROOT, ".", ".")
	p.call(unix.SYS_FCHDIR, old)
	p.call(unix.SYS_UMOUNT2, ".", unix.MNT_DETACH)
	p.call(unix.SYS_CHDIR, "/")
}

// execJailed is the last that a jailed process does as ours.
func (p *program) execJailed(jail, file string, args []string, libPath string, filter *seccompFilter) {
	p.execAt(jail, file, p.strs(append([]string{file}, args...)), libPath, filter)
}

// execAt has argv at an address. The result is the calls that can fail.
func (p *program) execAt(jail, file string, argv addr, libPath string, filter *seccompFilter) (last []call) {
	var env []string
	if libPath != "" {
		env = append(env, "LD_LIBRARY_PATH="+libPath)
	}
	envp := p.strs(env)
	if filter != nil {
		p.at("%s: load its seccomp filter", jail)
		last = append(last, p.loadSeccomp(filter))
	}
	p.at("%s: exec %s", jail, file)
	return append(last, p.call(unix.SYS_EXECVE, file, argv, envp))
}

// Descriptors of QEMU, after stdin, stdout and stderr.
const (
	vmmQMP   = 3 // its monitor
	vmmShare = 4 // virtiofsd, if there is one
)

// jailFiles fills the jail's root, which is the current directory.
func (p *program) jailFiles(j *vmmJail) {
	var dirs []string
	need := func(dir string) {
		for ; dir != "/" && dir != "."; dir = path.Dir(dir) {
			if !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	for _, f := range j.files {
		need(path.Dir(f.Guest))
	}
	for _, d := range j.devices {
		need(path.Dir(d))
	}
	sort.Strings(dirs) // a directory before what is in it
	p.at("VMM jail: make directories")
	for _, d := range dirs {
		p.call(unix.SYS_MKDIR, d[1:], 0o755)
	}
	for _, f := range j.files {
		p.at("VMM jail: mount %s", f.Guest)
		name := strings.TrimPrefix(f.Guest, "/")
		switch {
		case f.Link != "":
			p.call(unix.SYS_SYMLINK, f.Link, name)
			continue
		case f.Dir:
			p.call(unix.SYS_MKDIR, name, 0o755)
		default:
			p.call(unix.SYS_MKNOD, name, unix.S_IFREG|0o444, 0)
		}
		p.bindHere(j, f.Host, name)
	}
	for _, d := range j.devices {
		p.at("VMM jail: mount %s", d)
		p.call(unix.SYS_MKNOD, d[1:], unix.S_IFREG|0o444, 0)
		p.bindHere(j, d, d[1:])
	}
	for _, f := range append([]*jailFile{&j.app, j.loader}, j.image...) {
		if f == nil || f.name == "" {
			continue
		}
		p.at("VMM jail: mount %s", f.name)
		name := f.name[1:]
		if f.open {
			if f.dir {
				p.call(unix.SYS_MKDIR, name, 0o755)
			} else {
				p.call(unix.SYS_MKNOD, name, unix.S_IFREG|0o444, 0)
			}
			p.call(unix.SYS_MOVE_MOUNT, f.got, "", at_FDCWD, name, unix.MOVE_MOUNT_F_EMPTY_PATH)
			continue
		}
		// A file that only its owner may read: QEMU is somebody else.
		out := p.call(unix.SYS_OPEN, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o444)
		p.call(unix.SYS_SENDFILE, out, f.got, 0, uint64(f.size))
		p.call(unix.SYS_CLOSE, out)
	}
}

// bindHere mounts a file or directory of the host, in one system call for each
// of many: that they are read-only comes later, for all at once.
func (p *program) bindHere(j *vmmJail, host, name string) {
	if tree, ok := j.host.init[host]; ok {
		p.call(unix.SYS_MOVE_MOUNT, tree, "", at_FDCWD, name, unix.MOVE_MOUNT_F_EMPTY_PATH)
		return
	}
	p.call(unix.SYS_MOUNT, host, name, 0, unix.MS_BIND, 0)
}

// newJailFile prepares an open file for the jail. One that only its owner may
// read is copied there: QEMU is somebody else. A file of the image lies in the
// init's mount namespace, and the init clones it.
func newJailFile(name string, fd int) (jailFile, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return jailFile{}, os.NewSyscallError("fstat", err)
	}
	j := jailFile{name: name, fd: fd, size: st.Size, open: st.Mode&0o004 != 0}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		j.dir, j.open = true, true // what in it QEMU may not read it does without
	}
	return j, nil
}

// awaitLaunch waits for the message. The result is argv's address, and the connection, which the execve
// closes: that is the answer.
func (p *program) awaitLaunch(j *vmmJail) (argv addr, conn call) {
	p.at("VMM jail: wait for its network")
	const listener = vmmTap - 1
	if j.listener != listener {
		p.call(unix.SYS_DUP3, j.listener, listener, unix.O_CLOEXEC)
	}
	p.call(unix.SYS_CLOSE_RANGE, firstFD, listener-1, 0) // so that what is received has small numbers
	p.call(unix.SYS_CLOSE_RANGE, vmmTap, uint64(^uint32(0)), 0)
	conn = p.call(unix.SYS_ACCEPT4, listener, 0, 0, unix.SOCK_CLOEXEC)
	argv = p.named(p.alloc(launchSize), "argv, from create or start")
	j.launchAt = uint64(argv)
	const files = 3
	control := p.alloc(32)
	for i := range p.view(control, 32) {
		p.view(control, 32)[i] = 0xff // what does not come is -1
	}
	iov := p.words(uint64(argv), launchSize)
	msg := p.words(0, 0, uint64(iov), 1, uint64(control), 16+4*files, 0)
	p.call(unix.SYS_RECVMSG, conn, msg, unix.MSG_CMSG_CLOEXEC).ifZero(&label{addr: p.opAddr(1)})
	for i, fd := range [files]int{vmmTap, int(j.maxFiles), vmmVhost} {
		p.call(unix.SYS_DUP3, valueAt(control+addr(16+4*i)), fd, 0).ignore(unix.EBADF)
	}
	return argv, conn
}
