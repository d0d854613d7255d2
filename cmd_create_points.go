// create, once the init runs: the parent meets it at the synchronisation points, does
// its own part there, and in the end lets the init live alone.

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// runSetup accompanies the init to the point where the file system stands.
func (c *creation) runSetup() error {
	p := c.plan.init
	if err := c.session.drive(handlers{
		syncOutside: func(int) error { return c.enterLate() },
		syncUser: func(int) error {
			return writeIDMaps(c.child(), p.linux.UIDMappings, p.linux.GIDMappings, c.container.signals)
		},
		syncTime:    func(int) error { return writeTimeOffsets(c.child(), p.linux.TimeOffsets) },
		syncNetwork: func(int) error { return c.moveDevices() },
		syncCovered: func(mount int) error { return c.compiler.takeCovered(&p.mounts[mount], c.session.take()) },
		syncIDMap:   func(mount int) error { return c.mapIDs(&p.mounts[mount]) },
		syncCopyUp:  func(mount int) error { return c.copyUp(&p.mounts[mount]) },
		syncTree:    func(mount int) error { return c.sendTree(&p.mounts[mount]) },
		syncConsole: func(int) (err error) { c.master, err = c.session.takeMaster(c.plan.opts.consoleSocket); return err },
	}, syncMounted); err != nil {
		return c.explain(err)
	}
	return c.atMounted()
}

// mapIDs maps the ids of the mount that the init has sent.
func (c *creation) mapIDs(m *mountRequest) error {
	tree := c.session.take()
	defer unix.Close(tree)
	return c.trees.mapIDs(m, tree)
}

// copyUp fills the tmpfs, which is the init's working directory.
func (c *creation) copyUp(m *mountRequest) error {
	if err := copyUp(m, fmt.Sprintf("/proc/%d/cwd", c.child())); err != nil {
		return fmt.Errorf("tmpcopyup %s: %w", m.dest, err)
	}
	return nil
}

// sendTree answers an init that asks for a clone of a mount's source.
func (c *creation) sendTree(m *mountRequest) error {
	tree, err := c.trees.make(m)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	return c.session.send([]int{tree})
}

// enterLate moves the init into the cgroup after its fork, and makes of that
// what had to wait for the init.
func (c *creation) enterLate() error {
	group := c.plan.init.cgroup
	waited := group.pending()
	if err := group.enter(c.child()); err != nil {
		return err
	}
	if err := c.session.proceed(); err != nil || !waited {
		return err
	}
	return c.makeCgroup()
}

// atMounted: the namespaces and the file system are there, the host's files
// are still visible to the init, and nothing of the container runs.
func (c *creation) atMounted() error {
	p := c.plan.init
	child := c.child()
	start, err := processStart(child)
	if err != nil {
		return c.explain(errInitDied)
	}
	c.container.Pid, c.container.StartTime = child, start
	if err := c.container.Rdt.join(child); err != nil {
		return err
	}
	if c.plan.spec.Hooks != nil {
		c.hooked = true
		if err := c.runCreateHooks(); err != nil {
			return err
		}
	}
	root := c.session.take() // as the init sees it, mounts included
	defer unix.Close(root)
	if p.noPivot {
		table, err := readMountinfo(child)
		if err == nil {
			c.compiler.host, err = readHostTable(table, p.rootfs)
		}
		if err != nil {
			return fmt.Errorf("--no-pivot: %w", err)
		}
	}
	if g, err := c.plan.findGuest(root, child); err != nil {
		return err
	} else if g != nil {
		return c.startGuest(g, root)
	}
	exe, err := lookExecutable(root, c.plan.spec.Process.Args[0], c.plan.spec.Process.Cwd, c.plan.spec.Process.Env)
	if err != nil {
		return err
	}
	unix.Close(exe.file)
	env := withHome(root, c.plan.spec.Process.Env, c.plan.spec.Process.User.UID)
	if n := listenFDs(); n > 0 {
		env = append(env, "LISTEN_FDS="+strconv.Itoa(n), "LISTEN_PID=1")
	}
	if err := c.giveCgroup(); err != nil {
		return err
	}
	p.process.User.AdditionalGids = settableGroups(p.process.User, child, c.plan.g.lossf)
	c.compiler.writeFinish(exe.path, append(env, c.notifyEnv()...))
	return c.session.proceed()
}

// runFinish waits until the init has done everything but what start is for.
func (c *creation) runFinish() error {
	if err := c.session.drive(handlers{}, syncReady); err != nil {
		return c.explain(err)
	}
	return c.compiler.checkCwd(c.plan.spec.Process.Cwd)
}

// record makes the container known: terminal, state and pid file are there
// before the init may outlive us.
func (c *creation) record() error { return c.recordAs(phaseCreated) }

func (c *creation) recordAs(phase string) error {
	if c.plan.opts.consoleSocket != "" {
		if err := sendMaster(c.container.signals, c.plan.opts.consoleSocket, c.master); err != nil {
			return err
		}
	}
	if c.plan.opts.pidfdSocket != "" {
		if err := sendPidfd(c.container.signals, c.plan.opts.pidfdSocket, c.child()); err != nil {
			return err
		}
	}
	c.container.Phase, c.container.Losses, c.container.Holder = phase, c.plan.g.losses, 0
	if err := c.container.save(); err != nil {
		return err
	}
	if c.plan.opts.pidFile != "" {
		if err := writePidFile(c.plan.opts.pidFile, c.child()); err != nil {
			return err
		}
		c.onFailure(func() { os.Remove(c.plan.opts.pidFile) })
	}
	return nil
}

// arm lets the init live without us.
func (c *creation) arm() error {
	if c.container.Kind == "hermit" {
		return nil // wakeKeeper has done it
	}
	if err := c.session.proceed(); err != nil {
		return c.explain(err)
	}
	return c.explain(c.session.drive(handlers{}, syncArmed))
}

// explain adds to a silent death how it came.
func (c *creation) explain(err error) error {
	if !errors.Is(err, errInitDied) {
		return err
	}
	var status unix.WaitStatus
	for {
		pid, werr := unix.Wait4(c.child(), &status, 0, nil)
		if werr == unix.EINTR {
			continue
		}
		if werr != nil || pid != c.child() {
			return err
		}
		break
	}
	switch oom, _ := c.plan.init.cgroup.oomKilled(); { // not known is no
	case oom:
		return fmt.Errorf("%w: the memory limit is too small for it", err)
	case c.plan.init.cgroup.unit != nil && status.Signal() == unix.SIGKILL:
		// systemd takes the cgroup away, and with it the count of such deaths.
		return fmt.Errorf("%w of signal 9 (killed): if it has a memory limit, that may be too small for it", err)
	case status.Signaled():
		return fmt.Errorf("%w of signal %d (%v)", err, status.Signal(), status.Signal())
	}
	return fmt.Errorf("%w with exit code %d", err, status.ExitStatus())
}

// giveCgroup makes the process's user the owner, by the id maps that the init
// has by now.
func (c *creation) giveCgroup() error {
	group := c.plan.init.cgroup
	if !group.v2 || !c.plan.init.namespaces.isNew(unix.CLONE_NEWCGROUP) || !c.plan.init.writesCgroup() {
		return nil
	}
	uids, err := readIDMap(c.child(), "uid_map")
	if err != nil {
		return c.explain(errInitDied)
	}
	uid := c.plan.spec.Process.User.UID
	for _, m := range uids {
		if uid < m.ContainerID || uid-m.ContainerID >= m.Size {
			continue
		}
		err := group.give(int(m.HostID + uid - m.ContainerID))
		if errors.Is(err, fs.ErrPermission) && c.plan.g.withoutCgroups() {
			return nil // an ordinary user can give nothing away
		}
		return err
	}
	return nil // nobody on the host
}

// writesCgroup: has the container a mount of its cgroup that it may write to?
func (p *initPlan) writesCgroup() bool {
	for _, m := range p.mounts {
		if (m.fstype == "cgroup" || m.fstype == "cgroup2") && m.set&unix.MOUNT_ATTR_RDONLY == 0 {
			return true
		}
	}
	return false
}

// moveDevices gives the container its devices, in the order of their names. It
// happens as soon as the network namespace is there: sysctls and hooks may be
// about them. A create that fails later gives them back.
func (c *creation) moveDevices() error {
	ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", c.child()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return c.explain(errInitDied)
	}
	c.onFailure(func() { unix.Close(ns) }) // it keeps the namespace, and what was moved, alive until then
	for _, name := range slices.Sorted(maps.Keys(c.plan.spec.Linux.NetDevices)) {
		inside := firstWord(c.plan.spec.Linux.NetDevices[name].Name, name)
		became, err := moveDevice(0, ns, name, inside)
		if err != nil {
			return fmt.Errorf("network device %s: %w", name, err)
		}
		c.onFailure(func() {
			host, err := os.Open("/proc/self/ns/net")
			if err != nil {
				return
			}
			defer host.Close()
			moveDevice(ns, int(host.Fd()), became, name)
		})
	}
	return nil
}
