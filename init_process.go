// The container's process: user, groups, capabilities, limits, working
// directory, terminal, and what it executes. Everything here only writes
// operations; init.go says in which order.

package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// processPlan is what has been decided about a process: the container's own, or
// one that exec adds.
type processPlan struct {
	id         string
	process    *specs.Process
	linux      *specs.Linux // the container's
	caps       capabilities
	seccomp    *seccompFilter // nil: none
	newKeyring bool
	owned      bool // an ordinary user looks into a user namespace that he owns, see stayVisible
}

// processCompiler writes a process's operations. Its other fields tell later
// operations of earlier ones.
type processCompiler struct {
	*program
	plan *processPlan

	preserved preserved
	listener  int  // the start socket, if the process waits for start
	proc      int  // the host's procfs, where there are labels to set
	scheduled bool // see schedule
	nofile    addr // the limit on descriptors that the caller had

	forks bool // the program forks on its way: only the child joins the cgroup
	born  bool // that fork is written
	birth int  // the v2 cgroup where the child of that fork is born, or 0

	pty  any    // the terminal's slave
	keep uint64 // capabilities kept until the filter is loaded
	conn call   // the connection of who called start, if errors go there
	peer any    // whom they go to, from handOver on
}

// become turns the stub into the process as far as that goes without an execve.
func (c *processCompiler) become(exe string) {
	p := c.plan.process
	c.sessionKeyring()
	if p.Terminal {
		c.takeTerminal()
	} else {
		c.ownStdio(p.User.UID)
	}
	c.label()
	c.settle()
	c.schedule(false)
	c.domain()
	c.rlimits(p.Rlimits)
	again := c.enterCwd(p.Cwd)
	// Without no_new_privs a filter is loaded only by who has CAP_SYS_ADMIN;
	// the filter comes last, so that capability stays until then.
	if c.plan.seccomp != nil && !p.NoNewPrivileges {
		c.keep = 1 << unix.CAP_SYS_ADMIN
	}
	c.identity(p.User, c.plan.caps, c.keep)
	c.stayVisible()
	if p.NoNewPrivileges {
		c.at("set no_new_privs")
		c.call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	again()
	c.cwd = c.alloc(unix.PathMax)
	c.call(unix.SYS_GETCWD, c.cwd, unix.PathMax)
	c.at("exec: %q", p.Args[0])
	c.call(unix.SYS_FACCESSAT2, at_FDCWD, exe, unix.X_OK, unix.AT_EACCESS).ignore(unix.ENOSYS)
	c.at("set the umask")
	umask := uint32(0o022)
	if p.User.Umask != nil {
		umask = *p.User.Umask
	}
	c.call(unix.SYS_UMASK, umask)
}

// spendPrivileges does what only the host's root may do, and root of the user
// namespace that is entered next may not.
func (c *processCompiler) spendPrivileges() {
	c.schedule(true)
	c.raiseLimits(c.plan.process.Rlimits)
}

// identity becomes the user of the process. The capabilities in keep stay
// permitted and effective for what is still to be done before the execve.
func (p *program) identity(user specs.User, caps capabilities, keep uint64) {
	p.at("drop capabilities from the bounding set")
	for n := range capabilityNames {
		if caps.bounding&(1<<n) == 0 {
			p.call(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, n, 0, 0, 0).ignore(unix.EINVAL) // a kernel that does not know it
		}
	}
	p.at("set the user %d:%d", user.UID, user.GID)
	p.call(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0, 0, 0)
	groups := p.alloc(4 * len(user.AdditionalGids))
	for i, g := range user.AdditionalGids {
		binary.NativeEndian.PutUint32(p.view(groups+addr(4*i), 4), g)
	}
	set := p.call(unix.SYS_SETGROUPS, len(user.AdditionalGids), groups)
	if len(user.AdditionalGids) == 0 {
		set.ignore(unix.EPERM) // a user namespace that denies setgroups: there are none
	}
	p.call(unix.SYS_SETRESGID, uint64(user.GID), uint64(user.GID), uint64(user.GID))
	p.call(unix.SYS_SETRESUID, uint64(user.UID), uint64(user.UID), uint64(user.UID))
	p.at("set capabilities")
	p.capset(caps.effective|keep, caps.permitted|keep, caps.inheritable)
	p.call(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0).ignore(unix.EINVAL)
	for n := range capabilityNames {
		if caps.ambient&(1<<n) != 0 {
			p.call(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, n, 0, 0)
		}
	}
}

// settableGroups is what identity may ask for in the user namespace that a process is in. A namespace whose maker has denied setgroups(2), and
// all below it, refuse any list: there the process keeps the caller's groups and runs, as with runc and crun. Engines write the user's
// own group into the list, too, which it has anyway.
func settableGroups(user specs.User, pid int, lossf func(string, ...any)) []uint32 {
	if len(user.AdditionalGids) == 0 {
		return nil
	}
	rule, err := os.ReadFile(fmt.Sprintf("/proc/%d/setgroups", pid))
	if err != nil || string(rule) != "deny\n" {
		return user.AdditionalGids // where it is not allowed for another reason, the kernel says so
	}
	if more := otherGroups(user); len(more) > 0 {
		lossf("process.user.additionalGids: the process does not get the groups %v: the user namespace denies setgroups", more)
	}
	return nil
}

// otherGroups are the additional groups but for the user's own.
func otherGroups(user specs.User) []uint32 {
	return slices.DeleteFunc(slices.Clone(user.AdditionalGids), func(g uint32) bool { return g == user.GID })
}

// rlimits sets the resource limits. They come late: a limit on address space
// is the process's, not the set-up's. The one on descriptors comes last of all,
// see ownFileLimit.
func (p *program) rlimits(list []specs.POSIXRlimit) {
	for _, l := range list {
		p.at("set %s to soft %d, hard %d", l.Type, l.Soft, l.Hard)
		soft := l.Soft
		if rlimitNumber(l.Type) == unix.RLIMIT_NOFILE && l.Soft <= l.Hard {
			if l.Hard <= p.facts.hardFiles() {
				continue
			}
			soft = l.Hard
		}
		p.call(unix.SYS_PRLIMIT64, 0, rlimitNumber(l.Type), p.words(soft, l.Hard), 0)
	}
}

// raiseLimits lifts the hard limits that the process is to have and we have not:
// inside a user namespace nobody may, whatever its capabilities there.
func (p *program) raiseLimits(list []specs.POSIXRlimit) {
	for _, l := range list {
		if old, err := p.facts.limit(rlimitNumber(l.Type)); err == nil && old.Max < l.Hard {
			p.at("raise %s to %d", l.Type, l.Hard)
			p.call(unix.SYS_PRLIMIT64, 0, rlimitNumber(l.Type), p.words(l.Hard, l.Hard), 0)
		}
	}
}

// enterCwd is called before and after the change of user: the directory may be
// open only to root, or (on a network file system) only to the user.
func (p *program) enterCwd(cwd string) (again func()) {
	p.at("chdir to cwd (%q) set in config.json failed", cwd)
	notYet := p.words(1) // becomes the 0 of a chdir that worked
	p.call(unix.SYS_CHDIR, cwd).ignore(unix.EACCES, unix.EPERM).into(notYet)
	return func() {
		p.at("chdir to cwd (%q) set in config.json failed", cwd)
		var done label
		p.equal(notYet, 0, &done)
		p.call(unix.SYS_CHDIR, cwd)
		p.place(&done)
	}
}

// ownStdio gives pipes and terminals on 0, 1 and 2 to the user, who may want to
// open /dev/stdout again. Never a device that others share (/dev/null!), and
// never a file, which keeps the owner it has.
func (p *program) ownStdio(uid uint32) {
	p.at("change the owner of stdio")
	for n, d := range p.begins[:3] {
		st, err := p.facts.stdio(d.fd)
		if err != nil || st.Uid == uid {
			continue
		}
		if t := st.Mode & unix.S_IFMT; t == unix.S_IFIFO || t == unix.S_IFSOCK {
			p.call(unix.SYS_FCHOWN, n, uint64(uid), -1).ignoreAll() // a refusal matters only to who reopens it
		}
	}
}

// newTerminal makes a terminal's slave of the process's own from a master that
// has just been opened. TIOCGPTPEER takes no path, and fails on anything that
// is not a terminal's master: nothing the image has under these names is
// trusted.
func (c *processCompiler) newTerminal(master call) call {
	c.call(unix.SYS_IOCTL, master, unix.TIOCSPTLCK, c.words(0))
	c.pty = c.call(unix.SYS_IOCTL, master, unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	c.call(unix.SYS_FCHOWN, c.pty, uint64(c.plan.process.User.UID), -1)
	if size := c.plan.process.ConsoleSize; size != nil {
		var ws [8]byte
		binary.NativeEndian.PutUint16(ws[0:], uint16(size.Height))
		binary.NativeEndian.PutUint16(ws[2:], uint16(size.Width))
		c.call(unix.SYS_IOCTL, c.pty, unix.TIOCSWINSZ, ws[:])
	}
	return master
}

// cleanStart undoes what the caller's process may have left in us, and ties
// the init's life to the parent's until syncArmed.
func (c *processCompiler) cleanStart() {
	c.at("prepare")
	c.dieWithParent()
	c.closeOthers()
	c.raiseFiles()
	byDefault := c.alloc(32) // struct sigaction: SIG_DFL, no flags
	for sig := 1; sig <= 64; sig++ {
		if sig != int(unix.SIGKILL) && sig != int(unix.SIGSTOP) {
			c.call(unix.SYS_RT_SIGACTION, sig, byDefault, 0, 8)
		}
	}
	c.call(unix.SYS_RT_SIGPROCMASK, sigSetmask, c.words(0), 0, 8)
	c.call(unix.SYS_UMASK, 0)
	c.call(unix.SYS_SETSID)
	// Until the execve nobody without CAP_SYS_PTRACE over us may look in.
	c.call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// stayVisible lets an ordinary user look into the init that he has started: he
// lacks CAP_SYS_PTRACE over it until its execve. Nobody else is in the user
// namespace yet, and who is in another may not look into this one.
func (c *processCompiler) stayVisible() {
	if c.plan.owned {
		c.call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	}
}

const sigSetmask = 2

func (p *program) dieWithParent() {
	p.call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uint64(unix.SIGKILL), 0, 0, 0)
}

// sessionKeyring gives the container a session keyring of its own: the
// caller's may hold keys that are not its business.
func (c *processCompiler) sessionKeyring() {
	if !c.plan.newKeyring {
		return
	}
	c.at("make a session keyring")
	c.call(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, "_ses."+c.plan.id).ignore(unix.ENOSYS, unix.EPERM, unix.EDQUOT)
}

// takeTerminal makes the terminal 0, 1 and 2, and the session's own.
func (c *processCompiler) takeTerminal() {
	c.at("take the terminal")
	for fd := range 3 {
		c.call(unix.SYS_DUP3, c.pty, fd, 0)
	}
	c.call(unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 0)
}

// execute becomes the process. Errors go to who called start, where that is
// another than the parent.
func (c *processCompiler) execute(exe string, env []string) {
	var failures []failure
	failing := func(what string, op call) {
		f := failure{what: what, at: new(label)}
		op.orElse(f.at)
		failures = append(failures, f)
	}
	c.handOver(failing)
	failing("set RLIMIT_NOFILE", c.ownFileLimit())
	argv, envp := c.strs(c.plan.process.Args), c.strs(lastOfEach(env))
	rest := func() {
		if c.keep != 0 {
			failing("set capabilities", c.capset(c.plan.caps.effective, c.plan.caps.permitted, c.plan.caps.inheritable))
		}
		failing(execStep+strconv.Quote(exe), c.call(unix.SYS_EXECVE, exe, argv, envp))
	}
	next := rest
	if c.plan.seccomp != nil {
		load := c.loadSeccomp(c.plan.seccomp)
		failing("load the seccomp filter", load)
		if c.plan.seccomp.notify {
			next = func() { c.handListener(load, failing, rest) }
		}
	}
	next()

	c.section("errors on the way to the program")
	for _, f := range failures {
		c.place(f.at)
		if c.conn.p == nil {
			c.at("%s", f.what)
			c.call(unix.SYS_WRITE, c.peer, addr(errnoAddr), 16).ignoreAll()
			c.call(unix.SYS_EXIT_GROUP, 1)
			continue
		}
		text := c.bytes([]byte(f.what))
		iov := c.words(errnoAddr, 8, uint64(text), uint64(len(f.what)))
		c.call(unix.SYS_WRITEV, c.conn, iov, 2).ignoreAll()
		// What start has to say of that to the container's stderr: often nothing.
		line, length := c.alloc(4096), c.alloc(8)
		c.call(unix.SYS_READ, c.conn, line, 4096).ignoreAll().into(length)
		c.call(unix.SYS_WRITE, 2, line, valueAt(length)).ignoreAll()
		c.call(unix.SYS_EXIT_GROUP, 255) // runc's exit code for an init that fails
	}
}

// failure is an end of the program that tells the caller of start.
type failure struct {
	what string
	at   *label
}

// loadSeccomp installs the filter; from here on it judges us too.
func (p *program) loadSeccomp(f *seccompFilter) call {
	code := p.alloc(8 * len(f.prog))
	for i, ins := range f.prog {
		b := p.view(code+addr(8*i), 8)
		binary.NativeEndian.PutUint16(b, ins.Code)
		b[2], b[3] = ins.Jt, ins.Jf
		binary.NativeEndian.PutUint32(b[4:], ins.K)
	}
	const setModeFilter = 1
	return p.call(unix.SYS_SECCOMP, setModeFilter, f.flags, p.words(uint64(len(f.prog)), uint64(code)))
}

// checkCwd looks at the name of the working directory, once the process has
// written it. CVE-2024-21626: one outside the root, reached through a descriptor
// or a mount that slipped in, has no name that begins with a slash.
func (p *program) checkCwd(cwd string) error {
	if p.view(p.cwd, 1)[0] != '/' {
		return fmt.Errorf("chdir to cwd (%q) set in config.json failed: it is outside the rootfs", cwd)
	}
	return nil
}
