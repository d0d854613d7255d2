// criu.go is checkpoint and restore for Linux containers: the program criu does both, and runh tells it what
// it must know of a container: which mounts come from outside, where its root is, and whose stdin, stdout
// and stderr it has. What is said is criu(8)'s command line, as criu 3.17 has it.
//
// Contract: a failure is one line that ends with the name of criu's log. A restore that fails leaves nothing.

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// criuOptions are the flags that checkpoint and restore share.
type criuOptions struct {
	imagePath, workPath             string
	manageCgroups                   string
	emptyNS                         []string
	tcpEstablished, tcpSkipInFlight bool
	linkRemap, extUnixSk, shellJob  bool
	lazyPages, fileLocks, autoDedup bool
}

func (o *criuOptions) flags() []flagDef {
	return []flagDef{
		{"image-path", "", &o.imagePath},
		{"work-path", "", &o.workPath},
		{"manage-cgroups-mode", "", &o.manageCgroups},
		{"empty-ns", "", &o.emptyNS},
		{"tcp-established", "", &o.tcpEstablished},
		{"tcp-skip-in-flight", "", &o.tcpSkipInFlight},
		{"link-remap", "", &o.linkRemap},
		{"ext-unix-sk", "", &o.extUnixSk},
		{"shell-job", "", &o.shellJob},
		{"lazy-pages", "", &o.lazyPages},
		{"file-locks", "", &o.fileLocks},
		{"auto-dedup", "", &o.autoDedup},
	}
}

// finish fills the defaults: runc's.
func (o *criuOptions) finish() (err error) {
	if o.imagePath == "" {
		o.imagePath = "checkpoint"
	}
	if o.workPath == "" {
		o.workPath = o.imagePath
	}
	for _, p := range []*string{&o.imagePath, &o.workPath} {
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	return oneOf("manage-cgroups-mode", o.manageCgroups, "", "soft", "full", "strict", "ignore")
}

// forGuest refuses what would change the meaning of a guest's checkpoint. The other flags are about things
// that a machine has none of: sockets, locks and terminals of the host's.
func (o *criuOptions) forGuest() error {
	if o.lazyPages {
		return errors.New("a guest's memory is read as a whole: --lazy-pages is for Linux containers")
	}
	return nil
}

// args is criu's command line for what the flags say.
func (o *criuOptions) args(action, log string) []string {
	a := []string{
		action, "--images-dir", o.imagePath, "--work-dir", o.workPath, "--log-file", log,
		"--manage-cgroups=" + firstWord(o.manageCgroups, "soft"),
	}
	for _, x := range []struct {
		on   bool
		flag string
	}{
		{o.tcpEstablished, "--tcp-established"},
		{o.tcpSkipInFlight, "--skip-in-flight"},
		{o.linkRemap, "--link-remap"},
		{o.extUnixSk, "--ext-unix-sk"},
		{o.shellJob, "--shell-job"},
		{o.lazyPages, "--lazy-pages"},
		{o.fileLocks, "--file-locks"},
		{o.autoDedup, "--auto-dedup"},
	} {
		if x.on {
			a = append(a, x.flag)
		}
	}
	for _, ns := range o.emptyNS {
		a = append(a, "--empty-ns", ns)
	}
	return a
}

// criuStdio is a file of ours among the images: what stdin, stdout and stderr were.
const criuStdio = "runh-stdio.json"

// dump is checkpoint for a Linux container.
func (c *container) dump(g *globals, o *checkpointOptions, spec *specs.Spec) error {
	action, log := "dump", "dump.log"
	if o.preDump {
		action = "pre-dump"
	}
	args := append(o.criuOptions.args(action, log), "--tree", strconv.Itoa(c.Pid), "--root", c.Rootfs)
	if o.leaveRunning && !o.preDump {
		args = append(args, "--leave-running")
	}
	if o.preDump || o.parentPath != "" {
		args = append(args, "--track-mem")
	}
	if o.parentPath != "" {
		args = append(args, "--prev-images-dir", o.parentPath) // relative to the images, says criu
	}
	if o.pageServer != "" {
		host, port, err := net.SplitHostPort(o.pageServer)
		if err != nil {
			return fmt.Errorf("flag --page-server: %w", err)
		}
		args = append(args, "--page-server", "--address", host, "--port", port)
	}
	if o.statusFD != "" {
		args = append(args, "--status-fd", o.statusFD)
	}
	for _, m := range externalMounts(spec, c.Bundle) {
		args = append(args, "--external", "mnt["+m.inside+"]:"+m.inside)
	}
	args = append(args, criuNetwork(spec, nil)...)
	for _, dir := range []string{o.imagePath, o.workPath} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	var stdio [3]string
	for fd := range stdio {
		stdio[fd], _ = os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", c.Pid, fd)) // closed is ""
	}
	if err := writeFile(filepath.Join(o.imagePath, criuStdio), encodeJSON(stdio[:], ""), 0o600); err != nil {
		return err
	}
	return runCriu(g, args, filepath.Join(o.workPath, log))
}

// externalMount is one that criu finds and must not save: it comes from outside.
type externalMount struct{ inside, outside string }

func externalMounts(spec *specs.Spec, bundle string) (found []externalMount) {
	for _, m := range spec.Mounts {
		if r, err := readMount(m, bundle); err == nil && r.bind {
			found = append(found, externalMount{r.dest, r.source})
		}
	}
	for _, p := range spec.Linux.MaskedPaths {
		found = append(found, externalMount{filepath.Clean("/" + p), "/dev/null"}) // a directory has a tmpfs, which criu saves
	}
	return found
}

// criuNetwork is for a network namespace that the container has joined: criu leaves it alone.
func criuNetwork(spec *specs.Spec, inherited *os.File) []string {
	for _, ns := range spec.Linux.Namespaces {
		var st unix.Stat_t
		switch {
		case ns.Type != specs.NetworkNamespace || ns.Path == "":
		case inherited != nil:
			return []string{"--inherit-fd", "fd[3]:extRootNetNS"}
		case unix.Stat(ns.Path, &st) == nil:
			return []string{"--external", fmt.Sprintf("net[%d]:extRootNetNS", st.Ino)}
		}
	}
	return nil
}

// runCriu runs it to its end. files are its descriptors from 3 on; its stdio is ours, which the processes that it
// restores inherit.
func runCriu(g *globals, args []string, log string, files ...*os.File) error {
	program := g.criu
	if program == "" {
		var err error
		if program, err = hostProgram("criu"); err != nil {
			return errors.New("a Linux container needs criu on the host: it is not installed (Debian: criu)")
		}
	}
	g.debugf("%s %q", program, args)
	p, err := os.StartProcess(program, append([]string{"criu"}, args...), &os.ProcAttr{
		Files: append([]*os.File{os.Stdin, os.Stdout, os.Stderr}, files...), Env: os.Environ(),
	})
	if err != nil {
		return fmt.Errorf("criu: %w", err)
	}
	state, err := p.Wait()
	if err == nil && !state.Success() {
		err = fmt.Errorf("criu %s: %s, see %s", args[0], state, log)
	}
	return err
}

// restoreLinux is restore for a Linux container. The processes are criu's to make; the container around them is ours.
func restoreLinux(g *globals, o *restoreOptions) error {
	if _, err := os.Stat(filepath.Join(o.criu.imagePath, criuName)); err != nil {
		return fmt.Errorf("%s holds no checkpoint: neither %s nor criu's %s is there", o.criu.imagePath, manifestName, criuName)
	}
	var signals *signalRelay
	if !o.detach {
		signals = takeSignals()
	}
	runtime.LockOSThread() // for the mount namespace of this thread, and what it starts
	c := &creation{g: g, opts: o.createOptions, master: -1}
	for _, step := range []func() error{
		c.readBundle,
		func() error {
			if c.spec.Process.Terminal {
				return errors.New("process.terminal: a Linux container with a terminal cannot be restored yet")
			}
			return nil
		},
		c.claim,
		c.makeBirthplace,
		func() error { return c.init.cgroup.createRest() },
		func() error { return c.criuRestore(o) },
	} {
		if err := step(); err != nil {
			c.rollback()
			return err
		}
	}
	c.container.close()
	if o.detach {
		return nil
	}
	signals.relay(c.Pid, nil)
	status := waitFor(c.Pid)
	if o.keep {
		return exitStatus(status)
	}
	again, err := openContainer(g, c.ID)
	if err == nil {
		err = again.destroy(g, c.spec)
	}
	if err != nil && !errors.Is(err, errNotExist) { // somebody else may have deleted it
		return err
	}
	return exitStatus(status)
}

// criuRestore has criu make the processes, and records them. The root that criu is given must be a mount: it is
// one in a mount namespace of this thread's, which nobody else sees and which ends with it.
func (c *creation) criuRestore(o *restoreOptions) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	root := c.container.Rootfs
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("mount propagation: %w", err)
	}
	if err := unix.Mount(root, root, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s: %w", root, err)
	}
	const log = "restore.log"
	pidFile := filepath.Join(c.dir, "criu.pid")
	args := append(o.criu.args("restore", log), "--root", root, "--restore-detached", "--restore-sibling", "--pidfile", pidFile)
	for _, m := range externalMounts(c.spec, c.opts.bundle) {
		args = append(args, "--external", "mnt["+m.inside+"]:"+m.outside)
	}
	if o.lsmProfile != "" {
		args = append(args, "--lsm-profile", o.lsmProfile)
	}
	if o.lsmMountContext != "" {
		args = append(args, "--lsm-mount-context", o.lsmMountContext)
	}
	var files []*os.File
	for _, ns := range c.spec.Linux.Namespaces {
		if ns.Type == specs.NetworkNamespace && ns.Path != "" {
			f, err := os.Open(ns.Path)
			if err != nil {
				return err
			}
			defer f.Close()
			files = append(files, f)
			args = append(args, criuNetwork(c.spec, f)...)
		}
	}
	data, err := readFile(filepath.Join(o.criu.imagePath, criuStdio), 1<<16)
	var stdio []string
	if err == nil && decodeJSON(string(data), &stdio) == nil {
		for fd, was := range stdio {
			if fd < 3 && strings.HasPrefix(was, "pipe:[") {
				args = append(args, "--inherit-fd", fmt.Sprintf("fd[%d]:%s", fd, was))
			}
		}
	}
	if err := os.MkdirAll(o.criu.workPath, 0o700); err != nil {
		return err
	}
	if err := runCriu(c.g, args, filepath.Join(o.criu.workPath, log), files...); err != nil {
		return err
	}
	data, err = readFile(pidFile, 64)
	os.Remove(pidFile)
	if err == nil {
		c.Pid, err = strconv.Atoi(strings.TrimSpace(string(data)))
	}
	if err == nil {
		c.StartTime, err = processStart(c.Pid)
	}
	if err != nil {
		return fmt.Errorf("criu says it has restored the container, but not as which process: %w", err)
	}
	c.onFailure(func() {
		c.init.cgroup.killAll(unix.SIGKILL)
		c.end()
	})
	c.Phase = phaseRunning
	if err := c.save(); err != nil {
		return err
	}
	if c.opts.pidFile != "" {
		if err := writePidFile(c.opts.pidFile, c.Pid); err != nil {
			return err
		}
		c.onFailure(func() { os.Remove(c.opts.pidFile) })
	}
	return c.runPoststart(c.spec)
}
