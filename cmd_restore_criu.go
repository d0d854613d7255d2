// restore of Linux containers, by criu. The processes and their namespaces are criu's to make; the
// container around them is ours: its id, its cgroups with their limits, its network, its hooks, its terminal.
//
// Contract: the container is on record before anything of it runs. A restore that fails leaves nothing.

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func restoreLinux(g *globals, o *restoreOptions) error {
	if _, err := os.Stat(filepath.Join(o.criu.imagePath, criuName)); err != nil {
		return fmt.Errorf("%s holds no checkpoint: neither %s nor criu's %s is there", o.criu.imagePath, manifestName, criuName)
	}
	g.takeSignals(!o.detach)
	runtime.LockOSThread() // for the mount namespace of this thread, and what it starts
	p := &createPlan{g: g, opts: o.createOptions, facts: thisHost()}
	c := &creation{plan: p, master: -1}
	if err := c.take(
		p.readBundle,
		func() error { return p.checkTerminal(o.detach) },
		func() error { return checkCriuNamespaces(p.spec) },
		c.claim,
		c.makeBirthplace,
		func() error { return c.criuRestore(o) },
		func() error { return c.container.runPoststart(c.plan.spec) },
	); err != nil {
		return err
	}
	c.container.close()
	if o.detach {
		return nil
	}
	var t *terminal
	if c.master >= 0 {
		t = attachTerminal(c.master)
	}
	g.signals.relay(c.container.Pid, t)
	status := waitFor(c.container.Pid)
	if t != nil {
		t.end()
	}
	if o.keep {
		return exitStatus(status)
	}
	again, err := openContainer(g, c.container.ID)
	if err == nil {
		err = again.destroy(g, c.plan.spec)
	}
	if err != nil && !errors.Is(err, errNotExist) { // somebody else may have deleted it
		return err
	}
	return exitStatus(status)
}

// criuRestore has criu make the processes.
func (c *creation) criuRestore(o *restoreOptions) error {
	if err := os.MkdirAll(o.criu.workPath, 0o700); err != nil {
		return err
	}
	root, err := c.readyRoot()
	if err != nil {
		return err
	}
	// In this mount namespace: criu mounts in its working directory.
	call, closeDirs, err := o.criu.call(criuRestore, "restore", "restore.log")
	if err != nil {
		return err
	}
	defer closeDirs()
	if err := checkImages(o.criu.imagePath, c.plan.spec); err != nil {
		return err
	}
	call.opts.text(criuRoot, root)
	call.opts.flag(criuRestoreSibling, true) // the container's first process is our child
	call.opts.flag(criuEvasiveDevices, true)
	if o.lsmProfile != "" {
		call.opts.text(criuLSMProfile, o.lsmProfile)
	}
	if o.lsmMountContext != "" {
		call.opts.text(criuLSMMountContext, o.lsmMountContext)
	}
	kept, err := c.bringOutside(call, o.criu.imagePath)
	if err != nil {
		return err
	}
	if err := call.joinNamespaces(c.plan.spec); err != nil {
		return err
	}
	defer func() {
		for _, f := range call.files[3:] {
			f.Close()
		}
	}()
	for _, p := range c.plan.init.cgroup.places {
		names := p.names
		if p.isV2() {
			names = []string{""}
		}
		for _, name := range names {
			var m protoMessage
			m.text(1, name)
			m.text(2, "/"+strings.TrimPrefix(strings.TrimPrefix(p.dir, p.mount), "/"))
			call.opts.message(criuCgroupRoot, m) // instead of the saved container's
		}
	}
	call.signals = c.container.signals
	// What criu has made so far is not left to it: its own end may come before its cleaning up.
	c.onFailure(func() { c.plan.init.cgroup.killAll(unix.SIGKILL) })
	call.started = func(pid int) error { return c.enterCgroups(pid, o.criu.manageCgroups == "ignore") }
	call.notify = func(script string, pid, fd int) error { return c.hearCriu(script, pid, fd, kept) }
	pid, err := call.run(c.plan.g)
	if err == nil && pid != c.container.Pid {
		err = fmt.Errorf("criu restore: process %d is back, where it has announced %d, see %s", pid, c.container.Pid, call.log)
	}
	return err
}

// readyRoot makes the rootfs a mount, which criu asks for: in a mount namespace of this thread's, which nobody else
// sees and which ends with it.
func (c *creation) readyRoot() (string, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return "", os.NewSyscallError("unshare", err)
	}
	root := c.container.Rootfs
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return "", fmt.Errorf("mount propagation: %w", err)
	}
	if err := unix.Mount(root, root, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return "", fmt.Errorf("mount %s: %w", root, err)
	}
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("rootfs %s: %w", root, err)
	}
	defer unix.Close(fd)
next:
	for _, m := range c.plan.init.mounts {
		for _, above := range c.plan.init.mounts {
			if strings.HasPrefix(m.dest, above.dest+"/") {
				continue next // its mount point is no file of the root's
			}
		}
		dir := true
		if m.bind {
			var st unix.Stat_t
			if err := unix.Stat(m.source, &st); err != nil {
				return "", fmt.Errorf("mount %s: %s: %w", m.dest, m.source, err)
			}
			dir = st.Mode&unix.S_IFMT == unix.S_IFDIR
		}
		if err := makePoint(fd, m.dest, dir); err != nil {
			return "", err
		}
	}
	return root, nil
}

// checkImages: in a user namespace criu reads them without the privileges of the host's root.
func checkImages(dir string, spec *specs.Spec) error {
	var st unix.Stat_t
	if !hasNewUsers(spec) || unix.Stat(dir, &st) != nil || st.Mode&0o001 != 0 {
		return nil
	}
	for _, m := range spec.Linux.UIDMappings {
		if m.ContainerID == 0 && m.HostID == st.Uid {
			return nil
		}
	}
	return fmt.Errorf("checkpoint %s: criu reads it as the root of the container's user namespace, who may not: chmod o+x %[1]s", dir)
}

// bringOutside tells a restore what stands for what came from outside. It returns the attributes that mounts must have
// in the end: those that they had, and those that config.json gives them.
func (c *creation) bringOutside(call *criuCall, images string) (kept map[string]uint64, err error) {
	out := &criuOutside{}
	data, err := readFile(filepath.Join(images, criuOutsideName), 1<<20)
	if err == nil {
		err = decodeJSON(string(data), out)
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %s: %w", images, criuOutsideName, err)
	}
	call.files = []*os.File{os.Stdin, os.Stdout, os.Stderr}
	for fd, name := range out.Stdio[:min(3, len(out.Stdio))] {
		// criu would compare a file's size with what the saved one had, if it did not find it by this name
		// first: for a file it is one without the slash that a path begins with.
		if strings.HasPrefix(name, "file[") {
			name = name[1:]
		}
		if name != "" {
			call.inherit(criuFirstFD+fd, name)
		}
	}
	sources, err := readSources(c.plan.spec, c.plan.opts.bundle)
	if err != nil {
		return nil, err
	}
	kept = map[string]uint64{}
	if c.plan.spec.Root.Readonly {
		kept["/"] = unix.MOUNT_ATTR_RDONLY
	}
	for _, m := range out.Mounts {
		source, attrs, err := sources.sourceOf(m.Name, c.plan.init.cgroup)
		if err != nil {
			return nil, fmt.Errorf("checkpoint %s %w", images, err)
		}
		kept[m.Point] = attrs&restricting | mountAttributes(m.Options)
		call.opts.text(criuExternal, "mnt["+m.Name+"]:"+source)
	}
	return kept, nil
}

func (c *criuCall) inherit(fd int, name string) {
	var m protoMessage
	m.text(1, name)
	m.number(2, uint64(fd))
	c.opts.message(criuInheritFD, m)
}

// joinNamespaces gives criu the namespaces that config.json names by path.
func (c *criuCall) joinNamespaces(spec *specs.Spec) error {
	for _, ns := range spec.Linux.Namespaces {
		switch {
		case ns.Path == "" && ns.Type == specs.NetworkNamespace:
			c.opts.number(criuEmptyNS, unix.CLONE_NEWNET)
		case ns.Path == "":
		case criuJoined[ns.Type] != "":
			f, err := os.Open(ns.Path)
			if err != nil {
				return fmt.Errorf("namespace %q: %w", ns.Type, err)
			}
			c.inherit(criuFirstFD+len(c.files), criuJoined[ns.Type])
			c.files = append(c.files, f)
		default:
			var m protoMessage
			m.text(1, criuNamespace(ns.Type))
			m.text(2, ns.Path)
			c.opts.message(criuJoinNS, m)
		}
	}
	return nil
}

// checkCriuNamespaces refuses to join what criu cannot.
func checkCriuNamespaces(spec *specs.Spec) error {
	for _, ns := range spec.Linux.Namespaces {
		if ns.Path != "" && (ns.Type == specs.MountNamespace || ns.Type == specs.UserNamespace || ns.Type == specs.CgroupNamespace) {
			return fmt.Errorf("namespace %q: criu joins no other by path than network, pid, ipc, uts and time", ns.Type)
		}
	}
	return nil
}

// enterCgroups makes the cgroups. criu moves the processes into them; it goes there itself only where it is to leave
// cgroups alone, and where systemd makes none without a process.
func (c *creation) enterCgroups(pid int, inherit bool) error {
	group := c.plan.init.cgroup
	if group.unit != nil && group.unit.pending {
		if err := group.enter(pid); err != nil {
			return err
		}
		inherit = true
	}
	if err := group.createRest(); err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	c.container.Cgroup = group.state()
	if !inherit {
		return nil
	}
	for _, p := range group.places {
		if err := cgroupWrite(p.dir+"/cgroup.procs", fmt.Sprint(pid)); err != nil {
			return fmt.Errorf("join the cgroup: %w", err)
		}
	}
	return nil
}

// hearCriu does what is ours when criu is at one of its stations.
func (c *creation) hearCriu(script string, pid, fd int, kept map[string]uint64) (err error) {
	switch script {
	case "setup-namespaces": // they are there, but for the mounts
		c.restored = pid
		err = c.setNetwork()
	case "orphan-pts-master":
		c.master = fd
		return nil
	case "post-restore": // it is complete, and stands still
		c.restored, c.container.Pid = pid, pid
		c.onFailure(func() {
			c.plan.init.cgroup.killAll(unix.SIGKILL)
			c.container.end()
		})
		if c.container.StartTime, err = processStart(pid); err == nil {
			err = c.restrictMounts(kept)
		}
		if err == nil {
			err = c.limitCPU()
		}
		if err == nil {
			err = c.recordAs(phaseRunning)
		}
	}
	if fd >= 0 {
		unix.Close(fd)
	}
	return err
}

// restrictMounts gives mounts of the restored container the attributes that criu has not: the root, and what is mounted
// from outside if another mount of its file system has the same ones. Of two read-only volumes the second could be
// written otherwise.
func (c *creation) restrictMounts(kept map[string]uint64) error {
	mounts, err := readInsideMounts(c.container.Pid)
	if err != nil {
		return err
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", c.container.Pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	return inNamespace(int(ns.Fd()), unix.CLONE_NEWNS, func() error {
		for _, m := range mounts {
			missing := kept[m.point] &^ mountAttributes(m.options)
			if missing == 0 {
				continue
			}
			if err := unix.MountSetattr(unix.AT_FDCWD, m.point, unix.AT_SYMLINK_NOFOLLOW, &unix.MountAttr{Attr_set: missing}); err != nil {
				return fmt.Errorf("restrict the mount %s: %w", m.point, err)
			}
		}
		return nil
	})
}

const restricting = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOSYMFOLLOW

// mountAttributes are those of an option list that take something away.
func mountAttributes(options string) uint64 {
	r, _ := readMount(specs.Mount{Options: strings.Split(options, ",")}, "/")
	return r.set & restricting
}

// setNetwork makes a network namespace what create would have made of it: criu makes it empty.
func (c *creation) setNetwork() error {
	if ns := namespaceOf(c.plan.spec, specs.NetworkNamespace); ns != nil && ns.Path == "" {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", c.child()))
		if err != nil {
			return err
		}
		defer f.Close()
		if err := inNetwork(int(f.Fd()), c.setNetworkInside); err != nil {
			return err
		}
	}
	if err := c.moveDevices(); err != nil {
		return err
	}
	if c.plan.spec.Hooks == nil {
		return nil
	}
	c.hooked, c.container.Pid = true, c.child()
	return c.runRuntimeHooks()
}

func (c *creation) setNetworkInside() error {
	l, err := dialLinks(0)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.up(1); err != nil {
		return fmt.Errorf("bring up the loopback interface: %w", err)
	}
	for name, value := range c.plan.spec.Linux.Sysctl {
		path := sysctlPath(name)
		if kind, _ := sysctlNamespace(path); kind != specs.NetworkNamespace {
			continue // criu saves the others
		}
		if err := setSysctl(path, value); err != nil {
			return err
		}
	}
	return nil
}
