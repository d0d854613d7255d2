// A container's init: its program, in the order in which it runs. This file is
// the list; rootfs.go and init_process.go say how each part is done, program.go what
// an operation is, program_syncpoint.go where the init meets the parent.
//
// At syncMounted the root file system is built, and the host's is still there:
// hooks, and the search for the executable, happen then. At syncReady everything
// is done but what start waits for. From syncArmed on the init no longer dies
// with the parent.

package main

import (
	"encoding/binary"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// initPlan is what has been decided about a container before anything is made.
// Everything in it has been checked.
type initPlan struct {
	processPlan
	spec       *specs.Spec
	rootfs     string
	namespaces namespaces
	cgroup     *cgroup
	mounts     []mountRequest
	devices    []device
	noPivot    bool
}

// initCompiler writes the program of such an init.
type initCompiler struct {
	processCompiler
	plan *initPlan
	root rootfs
	host hostTable // with noPivot, once the init has come to syncMounted

	tasks     []valueAt // the way into the v1 hierarchies, once received
	inCgroup  bool      // from here on,
	ownCgroup bool      // and in its namespace

	keeperFD int // of a guest: the first descriptor of the keeper; one below is runh itself,
	self     any // which is this one until then
}

func newInitCompiler(p *program, plan *initPlan) *initCompiler {
	return &initCompiler{processCompiler: processCompiler{program: p, plan: &plan.processPlan}, plan: plan}
}

// writeSetup writes everything up to syncMounted.
func (c *initCompiler) writeSetup() error {
	c.section("create: namespaces and file system")
	c.cleanStart()
	c.awaitCgroup()
	c.enterNamespaces()
	c.nameHost()
	if c.plan.namespaces.isNew(unix.CLONE_NEWNET) {
		c.raiseLoopback()
	}
	if len(c.plan.linux.NetDevices) > 0 {
		c.meet(syncNetwork)
	}
	if !c.plan.namespaces.built {
		if err := c.buildRoot(); err != nil {
			return err
		}
	}
	c.setSysctls()
	c.enterCgroup()
	c.at("open the root")
	var root any = c.root.fd
	if c.plan.namespaces.built {
		root = c.call(unix.SYS_OPENAT, at_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	c.sendDescriptor(root, syncMounted)
	c.await()
	return nil
}

// meet waits for the parent at a synchronisation point. What the parent has sent before that is
// the way into the cgroup, which is taken first.
func (c *initCompiler) meet(point syncPoint) {
	switch {
	case !c.late():
		c.joinCgroups()
	case !c.plan.cgroup.pending(): // else there is none yet
		c.receiveTasks()
	}
	c.report(point)
	c.await()
}

// writeFinish writes the rest, for a Linux container: from the pivot to the
// execve of the process.
func (c *initCompiler) writeFinish(exe string, env []string) {
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
func (c *initCompiler) enterNamespaces() {
	n := &c.plan.namespaces
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
		c.meet(syncTime)
	}
	if n.fork {
		// Pid and time namespaces are entered by being born in them. The child
		// is a sibling, not a child, of this process: the parent waits for it.
		c.at("enter the pid namespace")
		c.forkLate(c.plan.cgroup, n.create&unix.CLONE_NEWPID)
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
func (c *initCompiler) joinCgroups() {
	if c.inCgroup {
		return
	}
	c.receiveTasks()
	c.joinCgroup(c.tasks)
	c.runOnAll()
	c.inCgroup = true
}

func (c *initCompiler) receiveTasks() {
	if n := c.plan.cgroup.v1Places(); n > 0 && c.tasks == nil {
		c.at("wait for the cgroup")
		c.tasks = c.receiveFiles(n)
	}
}

// enterCgroup also makes the cgroup namespace, whose root is the cgroup we are
// in.
func (c *initCompiler) enterCgroup() {
	c.joinCgroups()
	if c.plan.namespaces.isNew(unix.CLONE_NEWCGROUP) && !c.ownCgroup {
		c.ownCgroup = true
		c.at("make the cgroup namespace")
		c.call(unix.SYS_UNSHARE, unix.CLONE_NEWCGROUP)
	}
}

func (c *initCompiler) joinNamespace(j joinedNamespace) {
	c.at("join the %s namespace %s", j.kind, j.path)
	c.call(unix.SYS_SETNS, j.initFD, j.flag)
}

// enterUserNamespace enters the container's user namespace, if it has one, with
// all rights there; enterNamespaces becomes its root.
func (c *initCompiler) enterUserNamespace() {
	n := &c.plan.namespaces
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
		c.meet(syncUser)
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

func (c *initCompiler) nameHost() {
	if h := c.plan.spec.Hostname; h != "" {
		c.at("set the hostname to %q", h)
		c.call(unix.SYS_SETHOSTNAME, h, len(h))
	}
	if d := c.plan.spec.Domainname; d != "" {
		c.at("set the domainname to %q", d)
		c.call(unix.SYS_SETDOMAINNAME, d, len(d))
	}
}

func (c *initCompiler) raiseLoopback() {
	c.at("bring up the loopback interface")
	ifreq := make([]byte, 40)
	copy(ifreq, "lo")
	binary.NativeEndian.PutUint16(ifreq[16:], unix.IFF_UP|unix.IFF_RUNNING)
	fd := c.call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	c.call(unix.SYS_IOCTL, fd, unix.SIOCSIFFLAGS, ifreq)
	c.call(unix.SYS_CLOSE, fd)
}

// buildRoot mounts the rootfs and everything in it, without entering it yet.
func (c *initCompiler) buildRoot() error {
	r := &c.root
	r.mountRoot(c.plan.rootfs, c.plan.spec.Linux.RootfsPropagation, c.plan.namespaces.has(unix.CLONE_NEWNS))
	ownDev := true // does the container get a /dev to be filled?
	for i := range c.plan.mounts {
		m := &c.plan.mounts[i]
		m.index = i
		if m.fstype == "cgroup" || m.fstype == "cgroup2" {
			c.enterCgroup()
			r.mountCgroups(*m, cgroupMountPlan(c.plan.cgroup, false))
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
			c.meet(syncCopyUp.ofMount(i))
		}
		if m.dest == "/dev" && m.bind {
			ownDev = false
		}
	}
	if ownDev {
		r.makeDevices(c.plan.devices)
		r.devLinks()
	}
	if c.plan.spec.Process.Terminal {
		c.openTerminal()
	}
	c.at("make cwd %s", c.plan.spec.Process.Cwd)
	r.target(c.plan.spec.Process.Cwd, true, 0)
	return nil
}

// openTerminal takes a new terminal from the container's devpts, makes it
// /dev/console too, and sends its master to the parent.
func (c *initCompiler) openTerminal() {
	c.at("open a terminal from /dev/pts/ptmx")
	master := c.newTerminal(c.root.open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY, unix.RESOLVE_NO_SYMLINKS))
	c.at("bind the terminal on /dev/console")
	tree := c.call(unix.SYS_OPEN_TREE, c.pty, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	console := c.root.target("/dev/console", false, unix.RESOLVE_NO_SYMLINKS)
	c.call(unix.SYS_MOVE_MOUNT, tree, "", console, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	c.call(unix.SYS_DUP3, c.pty, c.root.tty, unix.O_CLOEXEC)
	c.pty = c.root.tty
	c.sendDescriptor(master, syncConsole)
}

// closeRoot hides and write-protects what the spec says, and enters the rootfs.
func (c *initCompiler) closeRoot() {
	c.protectRoot()
	c.enterRoot()
}

func (c *initCompiler) protectRoot() {
	if c.plan.namespaces.built {
		return // it is as its owner has made it
	}
	r := &c.root
	for _, path := range once(c.plan.spec.Linux.ReadonlyPaths) {
		r.readOnly(path)
	}
	for _, path := range once(c.plan.spec.Linux.MaskedPaths) {
		r.mask(path)
	}
	r.readOnlyLater(c.plan.mounts)
	if c.plan.spec.Root.Readonly {
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

func (c *initCompiler) enterRoot() {
	if c.plan.namespaces.built {
		c.at("enter the root of the mount namespace")
		c.call(unix.SYS_CHDIR, "/")
		return
	}
	r := &c.root
	if c.plan.noPivot && c.plan.namespaces.has(unix.CLONE_NEWNS) {
		r.moveOver(c.host)
	} else if c.plan.namespaces.has(unix.CLONE_NEWNS) {
		r.pivot()
	} else {
		r.chroot()
	}
	if f := propagationFlag(c.plan.spec.Linux.RootfsPropagation); f != 0 {
		c.at("set the propagation of the rootfs to %s", c.plan.spec.Linux.RootfsPropagation)
		c.call(unix.SYS_MOUNT, 0, "/", 0, f, 0)
	}
}

// ready is the last meeting before start, in two steps: the parent records the
// container, then lets the init live on alone.
func (c *initCompiler) ready() {
	c.at("get ready for start")
	c.dieWithParent() // the change of user has cleared it
	c.report(syncReady)
	c.await()
	c.call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0, 0, 0, 0)
	c.endBySignals() // before anybody hears of the container
	c.at("get ready for start")
	c.report(syncArmed)
}

// endBySignals has the signals by which people end a process end the init while it
// waits for start: as process 1 of a pid namespace it would not hear those that
// it has no handler for. The execve undoes this.
func (c *initCompiler) endBySignals() {
	c.at("catch signals until start")
	const saRestorer = 0x04000000 // x86-64 delivers no signal without it; the handler does not come back
	action := c.words(stubHandler(), saRestorer, stubHandler(), 0)
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM} {
		c.call(unix.SYS_RT_SIGACTION, uint64(sig), action, 0, 8)
	}
}

// serveStart waits for `runh start`, which connects to the start socket and
// reads: end of file is the execve that has happened, a message says why not.
func (c *initCompiler) serveStart() call {
	c.at("wait for start")
	// settle has put the start socket where the program's memory was.
	return c.call(unix.SYS_ACCEPT4, programFD, 0, 0, unix.SOCK_CLOEXEC)
}
