// The birth of a keeper: the init of a Hermit container takes what it needs, gives up the rest, and executes
// `runh keeper`.

package main

import (
	"encoding/hex"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// becomeKeeper turns the init into the keeper: a runh that can be seen from
// inside only through a read-only mount (CVE-2019-5736), root with no power
// but to signal what is in its pid namespace.
func (c *initCompiler) becomeKeeper(io *vmmPipes, share *shareJail, pidfd valueAt, log valueAt, guest *guest, g *globals, filter *seccompFilter, late bool) {
	c.sessionKeyring()
	terminal := c.plan.process.Terminal
	if terminal {
		c.takeTerminal()
	} else {
		c.ownStdio(c.plan.process.User.UID)
	}
	c.at("keeper: move descriptors")
	plan := keeperPlan{share: -1, shareErrs: -1, log: -1, patience: keeperPatience, logJSON: g.logFormat == "json", logLevel: g.maxLevel(), terminal: terminal, late: late}
	plan.button = guest.vm.Machine != "microvm"
	plan.noLoader = guest.vm.Quiet == "all"
	plan.oldKernel = guest.loader != nil && guest.loader.table == tableUnknown && guest.app.needsRecursiveTable()
	plan.raw, plan.keepCrash = guest.vm.Terminal == "raw", guest.vm.Crash == "keep"
	plan.mark = hex.EncodeToString([]byte(guest.mark))
	plan.incoming, plan.said = guest.from != nil, guest.said
	// The numbers of the keeper's own can be in use by now, by one that is still to be moved. So each of them goes out of
	// the way first, and then to its place.
	next := c.keeperFD
	var moves []call
	move := func(field *int, from any) {
		moves = append(moves, c.call(unix.SYS_FCNTL, from, unix.F_DUPFD, c.keeperFD+keeperMost))
		*field = next
		next++
	}
	move(&plan.vmm, pidfd)
	move(&plan.qmp, io.qmp[0])
	move(&plan.serialIn, io.serialIn[1])
	move(&plan.serialOut, io.serialOut[0])
	move(&plan.errors, io.errors[0])
	if share != nil {
		move(&plan.share, share.pidfd)
		move(&plan.shareErrs, share.errors[0])
	}
	move(&plan.start, c.listener)
	move(&plan.ready, syncFD)
	if log != 0 {
		move(&plan.log, log)
	}
	move(&plan.stderr, 2)
	self := c.call(unix.SYS_FCNTL, c.self, unix.F_DUPFD, c.keeperFD+keeperMost)
	for i, away := range moves {
		c.call(unix.SYS_DUP3, away, c.keeperFD+i, 0)
	}
	c.call(unix.SYS_DUP3, self, c.keeperFD-1, unix.O_CLOEXEC)
	c.call(unix.SYS_CLOSE_RANGE, next, uint64(^uint32(0)), 0)
	c.call(unix.SYS_CLOSE_RANGE, firstFD, c.keeperFD-2, 0)
	c.at("keeper: limit")
	keep := capabilities{bounding: 1 << unix.CAP_KILL, effective: 1 << unix.CAP_KILL, permitted: 1 << unix.CAP_KILL}
	c.identity(specs.User{}, keep, 0)
	c.call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	c.call(unix.SYS_UMASK, 0o077)
	c.cwd = c.alloc(unix.PathMax)
	c.call(unix.SYS_GETCWD, c.cwd, unix.PathMax)
	c.dieWithParent()
	c.report(syncReady)
	c.await()
	c.call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0, 0, 0, 0)
	c.call(unix.SYS_RT_SIGPROCMASK, sigSetmask, c.words(^uint64(0)), 0, 8)
	c.at("keeper: exec")
	// Create hears what the keeper says before its loop: an error of its own, or Go's last words, such as that no
	// thread can be made. The container's stderr is no place for that.
	c.call(unix.SYS_DUP3, syncFD, 2, 0)
	argv := append([]string{"runh", "keeper"}, plan.args()...)
	// What keeper.go asks of the Go runtime.
	env := []string{"GOMAXPROCS=1"}
	c.call(unix.SYS_CLOSE_RANGE, programFD, syncFD, unix.CLOSE_RANGE_CLOEXEC)
	c.loadSeccomp(filter)
	c.call(unix.SYS_EXECVEAT, c.keeperFD-1, "", c.strs(argv), c.strs(env), unix.AT_EMPTY_PATH)
}

// keeperMost is more than the descriptors that the keeper takes along.
const keeperMost = 16

// openSelf makes a read-only mount of runh's own file, that nobody else can see.
// It must happen while the host's files are in sight.
func (c *initCompiler) openSelf(host *hostTrees, path string) {
	c.at("mount %s for the keeper", path)
	tree := host.open(c.program, path)
	c.call(unix.SYS_MOUNT_SETATTR, tree, "", unix.AT_EMPTY_PATH, c.words(unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, 0, 0, 0), 32)
	c.self = tree
}
