// create, once the init runs: the parent meets it at the places of init.go, does
// what is the parent's to do there, and in the end lets it live alone.

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// runSetup accompanies the init to the point where the file system stands.
func (c *creation) runSetup() error {
	p := c.init
	for {
		place, err := p.wait()
		if err != nil {
			return c.explain(err)
		}
		c.followFork()
		switch place & 0xff {
		case placeOutside:
			err = c.enterLate()
		case placeUser:
			err = writeIDMaps(c.child, c.spec.Linux.UIDMappings, c.spec.Linux.GIDMappings)
			if err == nil {
				err = p.proceed()
			}
		case placeTime:
			err = writeTimeOffsets(c.child, c.spec.Linux.TimeOffsets)
			if err == nil {
				err = p.proceed()
			}
		case placeNetwork:
			err = c.moveDevices()
			if err == nil {
				err = p.proceed()
			}
		case placeCovered, placeIDMap, placeCopyUp:
			err = c.meetMount(&p.mounts[place>>8], place&0xff)
			if err == nil {
				err = p.proceed()
			}
		case placeTree:
			err = c.sendTree(&p.mounts[place>>8])
		case placeConsole:
			c.master, p.received = p.received, -1
			if c.opts.consoleSocket == "" {
				err = clearONLCR(c.master)
			}
		case placeMounted:
			return c.atMounted()
		}
		if err != nil {
			return err
		}
	}
}

// followFork makes the child of the init's fork the one to wait for.
func (c *creation) followFork() {
	p := c.init
	if p.namespaces.fork {
		c.child = p.namespaces.forked.follow(c.child, p.pid)
	}
}

// meetMount does the parent's part of one mount.
func (c *creation) meetMount(m *mountRequest, place uint64) error {
	p := c.init
	switch place {
	case placeCovered:
		fd := p.received
		p.received = -1
		return p.takeCovered(m, fd)
	case placeIDMap:
		if err := c.mapIDs(m, p.received); err != nil {
			return err
		}
		unix.Close(p.received)
		p.received = -1
	case placeCopyUp:
		if err := copyUp(m, fmt.Sprintf("/proc/%d/cwd", c.child)); err != nil {
			return fmt.Errorf("tmpcopyup %s: %w", m.dest, err)
		}
	}
	return nil
}

// sendTree answers an init that asks for a clone of a mount's source.
func (c *creation) sendTree(m *mountRequest) error {
	tree, err := c.makeTree(m)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	return c.init.sendFiles([]int{tree})
}

// enterLate moves the init into the cgroup after its fork, and makes of that
// what had to wait for the init.
func (c *creation) enterLate() error {
	p := c.init
	waited := p.cgroup.pending()
	if err := p.cgroup.enter(c.child); err != nil {
		return err
	}
	if err := p.proceed(); err != nil || !waited {
		return err
	}
	return c.makeCgroup()
}

// atMounted: the namespaces and the file system are there, the host's files
// are still visible to the init, and nothing of the container runs.
func (c *creation) atMounted() error {
	p := c.init
	start, err := processStart(c.child)
	if err != nil {
		return c.explain(errStubDied)
	}
	c.Pid, c.StartTime = c.child, start
	if err := c.Rdt.join(c.child); err != nil {
		return err
	}
	if c.spec.Hooks != nil {
		c.hooked = true
		if err := c.runCreateHooks(); err != nil {
			return err
		}
	}
	root := p.received // as the init sees it, mounts included
	p.received = -1
	defer unix.Close(root)
	if p.noPivot {
		table, err := readMountinfo(c.child)
		if err == nil {
			p.host, err = readHostTable(table, p.rootfs)
		}
		if err != nil {
			return fmt.Errorf("--no-pivot: %w", err)
		}
	}
	if g, err := c.findGuest(root); err != nil {
		return err
	} else if g != nil {
		return c.startGuest(g, root)
	}
	exe, err := lookExecutable(root, c.spec.Process.Args[0], c.spec.Process.Cwd, c.spec.Process.Env)
	if err != nil {
		return err
	}
	unix.Close(exe.file)
	env := withHome(root, c.spec.Process.Env, c.spec.Process.User.UID)
	if n := listenFDs(); n > 0 {
		env = append(env, "LISTEN_FDS="+strconv.Itoa(n), "LISTEN_PID=1")
	}
	if err := c.giveCgroup(); err != nil {
		return err
	}
	p.process.User.AdditionalGids = settableGroups(p.process.User, c.child, c.g.lossf)
	p.writeFinish(exe.path, append(env, c.notifyEnv()...))
	return p.proceed()
}

// runFinish waits until the init has done everything but what start is for.
func (c *creation) runFinish() error {
	p := c.init
	if err := p.expect(placeReady); err != nil {
		return c.explain(err)
	}
	return p.checkCwd()
}

// record makes the container known: terminal, state and pid file are there
// before the init may outlive us.
func (c *creation) record() error { return c.recordAs(phaseCreated) }

func (c *creation) recordAs(phase string) error {
	if c.opts.consoleSocket != "" {
		if err := sendMaster(c.signals, c.opts.consoleSocket, c.master); err != nil {
			return err
		}
	}
	if c.opts.pidfdSocket != "" {
		if err := sendPidfd(c.signals, c.opts.pidfdSocket, c.child); err != nil {
			return err
		}
	}
	c.Phase, c.Losses, c.Holder = phase, c.g.losses, 0
	if err := c.save(); err != nil {
		return err
	}
	if c.opts.pidFile != "" {
		if err := writePidFile(c.opts.pidFile, c.child); err != nil {
			return err
		}
		c.onFailure(func() { os.Remove(c.opts.pidFile) })
	}
	return nil
}

// arm lets the init live without us.
func (c *creation) arm() error {
	if c.Kind == "hermit" {
		return nil // wakeKeeper has done it
	}
	if err := c.init.proceed(); err != nil {
		return c.explain(err)
	}
	return c.explain(c.init.expect(placeArmed))
}

// explain adds to a silent death how it came.
func (c *creation) explain(err error) error {
	if !errors.Is(err, errStubDied) {
		return err
	}
	var status unix.WaitStatus
	for {
		pid, werr := unix.Wait4(c.child, &status, 0, nil)
		if werr == unix.EINTR {
			continue
		}
		if werr != nil || pid != c.child {
			return err
		}
		break
	}
	switch oom, _ := c.init.cgroup.oomKilled(); { // not known is no
	case oom:
		return fmt.Errorf("%w: the memory limit is too small for it", err)
	case c.init.cgroup.unit != nil && status.Signal() == unix.SIGKILL:
		// systemd takes the cgroup away, and with it the count of such deaths.
		return fmt.Errorf("%w of signal 9 (killed): if it has a memory limit, that may be too small for it", err)
	case status.Signaled():
		return fmt.Errorf("%w of signal %d (%v)", err, status.Signal(), status.Signal())
	}
	return fmt.Errorf("%w with exit code %d", err, status.ExitStatus())
}
