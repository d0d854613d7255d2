// virtiofsd's jail: which system calls lead from the container's init to a virtiofsd that can reach the
// shared files and nothing else. The init forks; the child runs these operations beside QEMU's process.
//
// What virtiofsd has: a root of its own with its program and libraries, read-only; the container's rootfs
// there, or its volumes alone, each mount as read-only as in the container; a procfs that shows itself; user
// 0 of the container's user namespace, with the capabilities to act on files as others; a pid, network, ipc
// and mount namespace of its own; the container's cgroup. Not there: device nodes that open, file systems of
// the kernel (a procfs in the share would be a way into virtiofsd itself), sockets, files of the host.
//
// QEMU does not wait for virtiofsd, nor the other way round: the socket between them is listening and
// connected before either exists.

package main

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// shareJail is what the operations are made from.
type shareJail struct {
	plan    *sharePlan
	hidden  []string // mounts beneath the rootfs that the guest does not get
	seccomp *seccompFilter
	at      string
	host    hostTrees // where virtiofsd's files are mounted from

	rootfs           valueAt // a detached copy of the rootfs with its mounts
	listener, client valueAt // the two ends of the socket
	errors           [2]valueAt
	pidfd            valueAt
	link             int // a number to be named by, that nothing else has
}

// kernelMounts are the mounts beneath a root that are windows into the kernel and not files; what lies
// beneath one of them goes with it.
func kernelMounts(table, root string) ([]string, error) {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, err
	}
	var inside []string // ids of the root and of what is mounted in it
	var list []string
	for m := range mountLines(table) {
		switch {
		case m.point == root:
			inside = []string{m.id} // the last one there is on top
			list = nil
		case !slices.Contains(inside, m.parent):
		case slices.Contains(kernelTypes, m.fstype):
			list = append(list, strings.TrimPrefix(strings.TrimPrefix(m.point, root), "/"))
		default:
			inside = append(inside, m.id)
		}
	}
	return list, nil
}

// kernelTypes are file systems whose files are the kernel's. A devtmpfs is none of them, for a mask is a
// bind mount of its null; no device node of the share opens in any case.
var kernelTypes = []string{
	"autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "efivarfs", "fusectl", "mqueue", "nsfs",
	"proc", "pstore", "rpc_pipefs", "securityfs", "selinuxfs", "smackfs", "sysfs", "tracefs",
}

// shareRoom is more than the descriptors that the init opens from the files that
// it has received to the mounts of virtiofsd's jail.
const shareRoom = 32

// takeShare copies the rootfs's mounts, and makes the socket: on a file system that nobody else can see,
// so that nobody else can connect.
func (c *initCompiler) takeShare(j *shareJail) {
	c.at("copy the mounts for the share")
	tree := c.alloc(8)
	c.call(unix.SYS_OPEN_TREE, c.root.fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH).into(tree)
	j.rootfs = valueAt(tree)
	c.root.setattr(j.rootfs, unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, 0, unix.MS_PRIVATE|unix.MS_REC)

	c.at("make the share's socket")
	fs := c.call(unix.SYS_FSOPEN, "tmpfs", unix.FSOPEN_CLOEXEC)
	c.call(unix.SYS_FSCONFIG, fs, unix.FSCONFIG_CMD_CREATE, 0, 0, 0)
	c.call(unix.SYS_FCHDIR, c.call(unix.SYS_FSMOUNT, fs, unix.FSMOUNT_CLOEXEC, 0))
	name := c.bytes([]byte{unix.AF_UNIX, 0, 's', 0})
	socket := func() valueAt {
		fd := c.alloc(8)
		c.call(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0).into(fd)
		return valueAt(fd)
	}
	j.listener, j.client = socket(), socket()
	c.call(unix.SYS_BIND, j.listener, name, 4)
	c.call(unix.SYS_LISTEN, j.listener, 1)
	c.call(unix.SYS_CONNECT, j.client, name, 4)
	c.call(unix.SYS_CHDIR, "/")
}

// forkVirtiofsd starts virtiofsd's process.
func (p *program) forkVirtiofsd(j *shareJail) {
	p.at("fork virtiofsd")
	j.errors = p.pipe()
	pidfd := p.alloc(8)
	var child, after label
	const own = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC
	p.call(unix.SYS_CLONE, own|unix.CLONE_PIDFD|uint64(unix.SIGCHLD), 0, pidfd, 0, 0).ifZero(&child)
	p.jump(&after)
	p.place(&child)
	p.aside("virtiofsd's process: its jail", func() { p.shareJail(j) })
	p.place(&after)
	j.pidfd = valueAt(pidfd)
}

// shareJail is the life of that process up to virtiofsd.
func (p *program) shareJail(j *shareJail) {
	p.at("virtiofsd's jail: prepare")
	p.dieWithParent() // the keeper's end is virtiofsd's
	p.call(unix.SYS_SETSID)
	p.call(unix.SYS_MOUNT, 0, "/", 0, unix.MS_REC|unix.MS_PRIVATE, 0)

	p.at("virtiofsd's jail: mount its root")
	p.call(unix.SYS_MOUNT, "tmpfs", j.at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=1m,nr_inodes=4096")
	p.call(unix.SYS_CHDIR, j.at)
	p.jailFiles(&vmmJail{files: j.plan.daemon.Files, host: j.host})
	for _, dir := range []string{"proc", shareTree, shareParts} {
		p.call(unix.SYS_MKDIR, dir, 0o755)
	}
	p.makeParts(j.plan)
	p.at("virtiofsd's jail: make it read-only")
	p.call(unix.SYS_MOUNT_SETATTR, at_FDCWD, ".", unix.AT_RECURSIVE, p.words(unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID, 0, 0, 0), 32)
	p.mountShare(j)
	p.at("virtiofsd's jail: mount its procfs")
	// Read-only, for an open descriptor of it leads out of the chroot that virtiofsd ends in.
	p.call(unix.SYS_MOUNT, "proc", "proc", "proc", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, 0)
	p.enterJail("virtiofsd's jail")

	p.at("virtiofsd's jail: connect")
	for fd := range 3 {
		p.call(unix.SYS_DUP3, j.errors[1], fd, 0)
	}
	p.call(unix.SYS_DUP3, j.listener, shareFD, 0)
	p.call(unix.SYS_CLOSE_RANGE, shareFD+1, uint64(^uint32(0)), unix.CLOSE_RANGE_CLOEXEC)

	p.at("virtiofsd's jail: limit")
	p.call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_CORE, p.words(0, 0), 0)
	p.call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, p.words(maxSharedFiles, maxSharedFiles), 0).ignore(unix.EPERM) // in a user namespace what there is must do
	keep := capabilities{bounding: shareCapabilities, effective: shareCapabilities, permitted: shareCapabilities}
	p.identity(specs.User{}, keep, 0)
	p.dieWithParent()
	p.call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	p.call(unix.SYS_UMASK, 0)
	d := j.plan.daemon
	p.execJailed("virtiofsd's jail", d.Path, j.plan.virtiofsdArgs(), d.LibPath, j.seccomp)
}

// makeParts makes the directories and files on which the parts of a share are mounted: in the jail's own
// file system, where no name is a link.
func (p *program) makeParts(s *sharePlan) {
	p.at("virtiofsd's jail: make the share's directories")
	var made []string
	mkdir := func(dir string) {
		var missing []string
		for ; dir != shareParts && !slices.Contains(made, dir); dir = filepath.Dir(dir) {
			missing = append(missing, dir)
		}
		for _, d := range slices.Backward(missing) {
			p.call(unix.SYS_MKDIR, d, 0o755)
			made = append(made, d)
		}
	}
	for _, v := range s.parts() {
		name := filepath.Join(shareParts, v.dest)
		if v.dir {
			mkdir(name)
			continue
		}
		mkdir(filepath.Dir(name))
		p.call(unix.SYS_MKNOD, name, unix.S_IFREG|0o644, 0)
	}
}

// mountShare attaches the copy of the rootfs, takes out of it what is not for the guest, and puts the parts
// of the share together.
func (p *program) mountShare(j *shareJail) {
	p.at("virtiofsd's jail: mount the share")
	const attach = unix.MOVE_MOUNT_F_EMPTY_PATH
	p.call(unix.SYS_MOVE_MOUNT, j.rootfs, "", at_FDCWD, shareTree, attach)
	tree := p.call(unix.SYS_OPENAT, at_FDCWD, shareTree, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for _, point := range j.hidden {
		p.at("virtiofsd's jail: take %s out of the share", point)
		// The kernel has told the path. If it leads elsewhere now, it is no mount point, and this fails.
		how := p.words(unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
		fd := p.call(unix.SYS_OPENAT2, tree, point, how, 24)
		p.call(unix.SYS_DUP3, fd, j.link, unix.O_CLOEXEC)
		p.call(unix.SYS_CLOSE, fd)
		p.call(unix.SYS_UMOUNT2, "/proc/self/fd/"+strconv.Itoa(j.link), unix.MNT_DETACH)
	}
	parts := j.plan.parts()
	for _, v := range parts {
		p.at("virtiofsd's jail: mount %s", v.dest)
		var from any = tree
		if v.source != "/" {
			how := p.words(unix.O_PATH|unix.O_CLOEXEC, 0, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
			from = p.call(unix.SYS_OPENAT2, tree, beneath(v.source), how, 24).retry(unix.EAGAIN)
		}
		part := p.call(unix.SYS_OPEN_TREE, from, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH)
		p.call(unix.SYS_MOVE_MOUNT, part, "", at_FDCWD, filepath.Join(shareParts, v.dest), attach)
		p.call(unix.SYS_CLOSE, part)
		if v.source != "/" {
			p.call(unix.SYS_CLOSE, from)
		}
	}
	if len(parts) > 0 {
		p.at("virtiofsd's jail: leave the rest of the rootfs")
		p.call(unix.SYS_UMOUNT2, shareTree, unix.MNT_DETACH)
	}
}

// sharePart is a place in a share that is put together.
type sharePart struct {
	source string // in the container
	dest   string // in the share
	dir    bool
}

// parts are the places, a directory before what is in it; none if the share is the rootfs itself. A share that
// the guest has at /root is that directory, if nothing else is in it.
func (s *sharePlan) parts() []sharePart {
	var list []sharePart
	if s.tag == "root" && len(s.volumes) == 1 && s.volumes[0] == (volume{imageHome, true}) {
		return []sharePart{{imageHome, "/", true}}
	}
	if s.rootfs && len(s.volumes) > 0 {
		list = append(list, sharePart{"/", "/root", true})
	}
	for _, v := range s.volumes {
		list = append(list, sharePart{v.dest, v.dest, v.dir})
	}
	return list
}
