// A container's init: the program that the stub runs, in the order in which it
// runs it. This file is the list; rootfs.go and process.go say how each part is
// done, program.go what an operation is.
//
// The parent and the init meet at these places; between two of them each may
// be ahead of the other:
//
//	placeOutside  the child of the fork could not be born in its cgroup
//	placeUser     a user namespace waits for its id maps
//	placeTime     a time namespace waits for its offsets
//	placeNetwork  a network namespace waits for devices of the host
//	placeCovered  a tmpfs is about to cover a directory, which comes with the
//	              message: its mode is taken over
//	placeIDMap    a clone of mounts waits for its id map
//	placeCopyUp   the cwd is a tmpfs that wants a copy of what it covers
//	placeTree     one mount needs the parent's clone of its source
//	placeConsole  the terminal exists; its master comes with the message
//	placeMounted  the root file system is built, the host's is still there:
//	              hooks, and the search for the executable, happen now; the
//	              root comes with the message
//	placeReady    everything is done but what start waits for
//	placeArmed    the parent may go: the init no longer dies with it
//	placeListener the filter is loaded, and its listener is for the agent; the
//	              one met is who waits for the execve

package main

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	placeUser = 1 + iota
	placeTime
	placeNetwork
	placeCovered
	placeIDMap
	placeCopyUp
	placeTree
	placeConsole
	placeMounted
	placeReady
	placeArmed
	placeListener
	placeOutside
)

// placeOf is a place that belongs to one of the mounts.
func placeOf(place uint64, mount int) uint64 { return place | uint64(mount)<<8 }

// initPlan is what the program is made from. Everything in it has been checked.
type initPlan struct {
	processPlan
	spec       *specs.Spec
	rootfs     string
	namespaces namespaces
	cgroup     *cgroup
	mounts     []mountRequest
	devices    []device
	noPivot    bool
	host       hostTable // with noPivot, once the init has come to placeMounted

	tasks     []valueAt // the way into the v1 hierarchies, once received
	inCgroup  bool      // from here on,
	ownCgroup bool      // and in its namespace
	root      rootfs

	keeperFD int // of a guest: the first descriptor of the keeper; one below is runh itself,
	self     any // which is this one until then
}

// writeSetup writes everything up to placeMounted.
func (c *initPlan) writeSetup() error {
	c.section("create: namespaces and file system")
	c.cleanStart()
	c.awaitCgroup()
	c.enterNamespaces()
	c.nameHost()
	if c.namespaces.isNew(unix.CLONE_NEWNET) {
		c.raiseLoopback()
	}
	if len(c.linux.NetDevices) > 0 {
		c.meet(placeNetwork)
	}
	if !c.namespaces.built {
		if err := c.buildRoot(); err != nil {
			return err
		}
	}
	c.setSysctls()
	c.enterCgroup()
	c.at("open the root")
	var root any = c.root.fd
	if c.namespaces.built {
		root = c.call(unix.SYS_OPENAT, at_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	c.sendDescriptor(root, placeMounted)
	c.await()
	return nil
}

// meet waits for the parent at a place. What the parent has sent before that is
// the way into the cgroup, which is taken first.
func (c *initPlan) meet(place uint64) {
	switch {
	case !c.late():
		c.joinCgroups()
	case !c.cgroup.pending(): // else there is none yet
		c.receiveTasks()
	}
	c.report(place)
	c.await()
}

// writeFinish writes the rest, for a Linux container: from the pivot to the
// execve of the process.
func (c *initPlan) writeFinish(exe string, env []string) {
	c.section("create: into the rootfs, and the process's identity")
	c.closeRoot()
	c.become(exe)
	c.ready()
	c.conn = c.serveStart()
	c.section("start: from the connection to the program")
	c.execute(exe, env)
}

// enterNamespaces joins what has a path and makes what has none.
//
// The user namespace decides over the others: one that belongs to the host is
// joined while we still have the host's privileges, and what is made, or
// joined inside, comes after it.
func (c *initPlan) enterNamespaces() {
	n := &c.namespaces
	for _, j := range n.join {
		if !j.inside && j.flag != unix.CLONE_NEWUSER {
			c.joinNamespace(j)
		}
	}
	c.enterUserNamespace()
	for _, j := range n.join {
		if j.inside {
			c.joinNamespace(j)
		}
	}
	if n.isNew(unix.CLONE_NEWTIME) {
		c.at("make the time namespace")
		c.call(unix.SYS_UNSHARE, unix.CLONE_NEWTIME)
		c.meet(placeTime)
	}
	if n.fork {
		// Pid and time namespaces are entered by being born in them. The child
		// is a sibling, not a child, of this process: the parent waits for it.
		c.at("enter the pid namespace")
		n.forked = c.forkLate(c.cgroup, n.create&unix.CLONE_NEWPID)
	}
	if n.has(unix.CLONE_NEWUSER) {
		// Only now: the fork needs the host's right to the cgroup.
		c.joinCgroups()
		c.rootInside()
		c.stayVisible()
	}
	// The cgroup namespace comes later, see enterCgroup.
	if flags := n.create &^ (unix.CLONE_NEWPID | unix.CLONE_NEWUSER | unix.CLONE_NEWTIME | unix.CLONE_NEWCGROUP); flags != 0 {
		c.at("make namespaces")
		c.call(unix.SYS_UNSHARE, flags)
	}
}

// joinCgroups joins the v1 hierarchies that the parent has made meanwhile.
func (c *initPlan) joinCgroups() {
	if c.inCgroup {
		return
	}
	c.receiveTasks()
	c.joinCgroup(c.tasks)
	c.runOnAll()
	c.inCgroup = true
}

func (c *initPlan) receiveTasks() {
	if n := c.cgroup.v1Places(); n > 0 && c.tasks == nil {
		c.at("wait for the cgroup")
		c.tasks = c.receiveFiles(n)
	}
}

// enterCgroup also makes the cgroup namespace, whose root is the cgroup we are
// in.
func (c *initPlan) enterCgroup() {
	c.joinCgroups()
	if c.namespaces.isNew(unix.CLONE_NEWCGROUP) && !c.ownCgroup {
		c.ownCgroup = true
		c.at("make the cgroup namespace")
		c.call(unix.SYS_UNSHARE, unix.CLONE_NEWCGROUP)
	}
}

func (c *initPlan) joinNamespace(j joinedNamespace) {
	c.at("join the %s namespace %s", j.kind, j.path)
	c.call(unix.SYS_SETNS, j.stubFD, j.flag)
}

// enterUserNamespace enters the container's user namespace, if it has one, with
// all rights there; enterNamespaces becomes its root.
func (c *initPlan) enterUserNamespace() {
	n := &c.namespaces
	if n.has(unix.CLONE_NEWUSER) {
		if !c.late() {
			c.joinCgroups()
		}
		c.spendPrivileges()
	}
	switch {
	case n.isNew(unix.CLONE_NEWUSER):
		c.at("make the user namespace")
		c.call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER)
		c.call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1, 0, 0, 0) // or an unprivileged parent could not write the maps
		c.meet(placeUser)
		c.call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	case n.joins(unix.CLONE_NEWUSER):
		for _, j := range n.join {
			if j.flag == unix.CLONE_NEWUSER {
				c.joinNamespace(j)
			}
		}
	default:
		return
	}
	c.stayVisible()
}

// rootInside becomes root in the user namespace that has just been entered.
func (p *program) rootInside() {
	p.at("become root in the user namespace")
	p.call(unix.SYS_SETGROUPS, 0, 0).ignore(unix.EPERM) // setgroups may be denied: then there are none to lose
	p.call(unix.SYS_SETRESGID, 0, 0, 0).ignore(unix.EINVAL)
	p.call(unix.SYS_SETRESUID, 0, 0, 0).ignore(unix.EINVAL) // a namespace that maps no root
	p.call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	p.dieWithParent() // the change of user has cleared it
}

func (c *initPlan) nameHost() {
	if h := c.spec.Hostname; h != "" {
		c.at("set the hostname to %q", h)
		c.call(unix.SYS_SETHOSTNAME, h, len(h))
	}
	if d := c.spec.Domainname; d != "" {
		c.at("set the domainname to %q", d)
		c.call(unix.SYS_SETDOMAINNAME, d, len(d))
	}
}

func (c *initPlan) raiseLoopback() {
	c.at("bring up the loopback interface")
	ifreq := make([]byte, 40)
	copy(ifreq, "lo")
	binary.NativeEndian.PutUint16(ifreq[16:], unix.IFF_UP|unix.IFF_RUNNING)
	fd := c.call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	c.call(unix.SYS_IOCTL, fd, unix.SIOCSIFFLAGS, ifreq)
	c.call(unix.SYS_CLOSE, fd)
}

// buildRoot mounts the rootfs and everything in it, without entering it yet.
func (c *initPlan) buildRoot() error {
	r := &c.root
	r.mountRoot(c.rootfs, c.spec.Linux.RootfsPropagation, c.namespaces.has(unix.CLONE_NEWNS))
	ownDev := true // does the container get a /dev to be filled?
	for i := range c.mounts {
		m := &c.mounts[i]
		m.index = i
		if m.fstype == "cgroup" || m.fstype == "cgroup2" {
			c.enterCgroup()
			r.mountCgroups(*m, cgroupMountPlan(c.cgroup, false))
			continue
		}
		if m.looksBelow() || m.idmap && m.within != "" || m.asks {
			c.joinCgroups() // before the init meets the parent, which only some mounts do
		}
		if err := r.mount(m); err != nil {
			return err
		}
		if m.tmpcopyup {
			c.call(unix.SYS_FCHDIR, r.open(m.dest, unix.O_PATH|unix.O_DIRECTORY, 0))
			c.meet(placeOf(placeCopyUp, i))
		}
		if m.dest == "/dev" && m.bind {
			ownDev = false
		}
	}
	if ownDev {
		r.makeDevices(c.devices)
		r.devLinks()
	}
	if c.spec.Process.Terminal {
		c.openTerminal()
	}
	c.at("make cwd %s", c.spec.Process.Cwd)
	r.target(c.spec.Process.Cwd, true, 0)
	return nil
}

// openTerminal takes a new terminal from the container's devpts, makes it
// /dev/console too, and sends its master to the parent.
func (c *initPlan) openTerminal() {
	c.at("open a terminal from /dev/pts/ptmx")
	master := c.newTerminal(c.root.open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY, unix.RESOLVE_NO_SYMLINKS))
	c.at("bind the terminal on /dev/console")
	tree := c.call(unix.SYS_OPEN_TREE, c.pty, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	console := c.root.target("/dev/console", false, unix.RESOLVE_NO_SYMLINKS)
	c.call(unix.SYS_MOVE_MOUNT, tree, "", console, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	c.call(unix.SYS_DUP3, c.pty, c.root.tty, unix.O_CLOEXEC)
	c.pty = c.root.tty
	c.sendDescriptor(master, placeConsole)
}

// setSysctls writes through a procfs of our own that is mounted nowhere: no
// mount of the container can stand in its way.
func (c *initPlan) setSysctls() {
	if len(c.spec.Linux.Sysctl) == 0 {
		return
	}
	c.at("open a private procfs")
	proc := c.privateProc()
	for _, name := range slices.Sorted(maps.Keys(c.spec.Linux.Sysctl)) {
		value := c.spec.Linux.Sysctl[name]
		c.at("write sysctl %s = %q", name, value)
		how := c.words(unix.O_WRONLY|unix.O_CLOEXEC, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_XDEV|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)
		fd := c.call(unix.SYS_OPENAT2, proc, "sys/"+sysctlPath(name), how, 24)
		c.call(unix.SYS_WRITE, fd, value, len(value))
		c.call(unix.SYS_CLOSE, fd)
	}
	c.call(unix.SYS_CLOSE, proc)
}

func (p *program) privateProc() call {
	fs := p.call(unix.SYS_FSOPEN, "proc", unix.FSOPEN_CLOEXEC)
	p.call(unix.SYS_FSCONFIG, fs, unix.FSCONFIG_CMD_CREATE, 0, 0, 0)
	return p.call(unix.SYS_FSMOUNT, fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

// closeRoot hides and write-protects what the spec says, and enters the rootfs.
func (c *initPlan) closeRoot() {
	c.protectRoot()
	c.enterRoot()
}

func (c *initPlan) protectRoot() {
	if c.namespaces.built {
		return // it is as its owner has made it
	}
	r := &c.root
	for _, path := range once(c.spec.Linux.ReadonlyPaths) {
		r.readOnly(path)
	}
	for _, path := range once(c.spec.Linux.MaskedPaths) {
		r.mask(path)
	}
	r.readOnlyLater(c.mounts)
	if c.spec.Root.Readonly {
		c.at("make the rootfs read-only")
		r.setattr(r.fd, unix.MOUNT_ATTR_RDONLY, 0, 0)
	}
}

// once is a list without what it names again: the second mount would lie on the first.
func once(list []string) (out []string) {
	seen := make(map[string]bool, len(list))
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

func (c *initPlan) enterRoot() {
	if c.namespaces.built {
		c.at("enter the root of the mount namespace")
		c.call(unix.SYS_CHDIR, "/")
		return
	}
	r := &c.root
	if c.noPivot && c.namespaces.has(unix.CLONE_NEWNS) {
		r.moveOver(c.host)
	} else if c.namespaces.has(unix.CLONE_NEWNS) {
		r.pivot()
	} else {
		r.chroot()
	}
	if f := propagationFlag(c.spec.Linux.RootfsPropagation); f != 0 {
		c.at("set the propagation of the rootfs to %s", c.spec.Linux.RootfsPropagation)
		c.call(unix.SYS_MOUNT, 0, "/", 0, f, 0)
	}
}

// ready is the last meeting before start, in two steps: the parent records the
// container, then lets the init live on alone.
func (c *initPlan) ready() {
	c.at("get ready for start")
	c.dieWithParent() // the change of user has cleared it
	c.report(placeReady)
	c.await()
	c.call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0, 0, 0, 0)
	c.report(placeArmed)
}

// endBySignals has the signals by which people end a process end the init while it
// waits for start: as process 1 of a pid namespace it would not hear those that
// it has no handler for. The execve undoes this.
func (c *initPlan) endBySignals() {
	c.at("catch signals until start")
	const saRestorer = 0x04000000 // x86-64 delivers no signal without it; the handler does not come back
	action := c.words(stubHandler(), saRestorer, stubHandler(), 0)
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM} {
		c.call(unix.SYS_RT_SIGACTION, uint64(sig), action, 0, 8)
	}
}

// serveStart waits for `runh start`, which connects to the start socket and
// reads: end of file is the execve that has happened, a message says why not.
func (c *initPlan) serveStart() call {
	c.endBySignals()
	c.at("wait for start")
	// settle has put the start socket where the program's memory was.
	return c.call(unix.SYS_ACCEPT4, programFD, 0, 0, unix.SOCK_CLOEXEC)
}
