// checkpoint and restore of Linux containers, by the program criu: the flags of both, and checkpoint.
//
// Contract: a failure is one line that ends with the name of criu's log. A restore that fails leaves nothing.
// cmd_restore_criu.go has the way back, save_criu_outside.go the parts of a container that come from outside, save_criu_dir.go the
// directory, save_criu_rpc.go the conversation.

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

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
	for _, ns := range o.emptyNS { // it always is: see leaveNamespaces
		if err := oneOf("empty-ns", ns, "network"); err != nil {
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

// criuConfig is the operator's, who may set there what no flag says; criu does without it.
const criuConfig = "/etc/criu/runh.conf"

// cgroupModes are criu_cg_mode.
var cgroupModes = map[string]uint64{"ignore": 0, "": 3, "soft": 3, "full": 4, "strict": 5}

// call is a request with what both directions have in common. The directories stay open until it has run.
func (o *criuOptions) call(kind uint64, name, log string) (c *criuCall, closeDirs func(), err error) {
	c = &criuCall{kind: kind, name: name, log: filepath.Join(o.workPath, log)}
	var dirs []*os.File
	closeDirs = func() {
		for _, d := range dirs {
			d.Close()
		}
	}
	for field, path := range map[int]string{criuImagesDir: o.imagePath, criuWorkDir: o.workPath} {
		d, err := os.Open(path)
		if err != nil {
			closeDirs()
			return nil, nil, err
		}
		dirs = append(dirs, d)
		c.opts.number(field, uint64(d.Fd()))
	}
	c.opts.text(criuLogFile, log)
	c.opts.number(criuLogLevel, 4) // everything
	c.opts.flag(criuScripts, true)
	c.opts.flag(criuOrphanTerminal, true)
	c.opts.flag(criuExtUnixSk, o.extUnixSk)
	c.opts.flag(criuTCPEstablished, o.tcpEstablished)
	c.opts.flag(criuTCPSkipInFlight, o.tcpSkipInFlight)
	c.opts.flag(criuShellJob, o.shellJob)
	c.opts.flag(criuFileLocks, o.fileLocks)
	c.opts.flag(criuAutoDedup, o.autoDedup)
	c.opts.flag(criuLinkRemap, o.linkRemap)
	c.opts.flag(criuLazyPages, o.lazyPages)
	c.opts.number(criuCgroupMode, cgroupModes[o.manageCgroups])
	c.opts.text(criuConfigFile, criuConfig)
	if _, err := hostProgram("iptables-restore"); err != nil {
		c.opts.number(criuNetworkLock, 2) // by nftables, which criu needs no program for
	}
	return c, closeDirs, nil
}

// checkParent checks --parent-path, which counts from the images. criu would not name the flag.
func (o *checkpointOptions) checkParent() error {
	switch {
	case o.parentPath == "":
		return nil
	case filepath.IsAbs(o.parentPath):
		return fmt.Errorf("--parent-path %q: must be relative to --image-path", o.parentPath)
	}
	dir := filepath.Join(o.imagePath, o.parentPath)
	st, err := os.Stat(dir)
	if err == nil && !st.IsDir() {
		err = &os.PathError{Op: "open", Path: dir, Err: unix.ENOTDIR}
	}
	if err != nil {
		return fmt.Errorf("--parent-path %q: %w", o.parentPath, err)
	}
	return nil
}

// dump is checkpoint for a Linux container.
func (c *container) dump(g *globals, o *checkpointOptions, spec *specs.Spec) (err error) {
	if err := checkCriuNamespaces(spec); err != nil {
		return err
	}
	if err := o.checkParent(); err != nil {
		return err
	}
	for _, dir := range []string{o.imagePath, o.workPath} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	into, err := newDumpDir(o.imagePath, o.lazyPages)
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			err = into.commit()
		} else {
			err = errors.Join(err, into.drop())
		}
	}()
	o.imagePath = into.images()
	kind, name := uint64(criuDump), "dump"
	if o.preDump {
		kind, name = criuPreDump, "pre-dump"
	}
	call, closeDirs, err := o.call(kind, name, "dump.log")
	if err != nil {
		return err
	}
	defer closeDirs()
	call.opts.number(criuPid, uint64(c.Pid))
	call.opts.text(criuRoot, c.Rootfs)
	call.opts.flag(criuTrackMemory, o.preDump || o.parentPath != "")
	if o.parentPath != "" {
		call.opts.text(criuParentImages, o.parentPath)
	}
	if o.pageServer != "" {
		if err := call.pageServer(o.pageServer, o.lazyPages); err != nil {
			return err
		}
		defer func() {
			for _, f := range call.files {
				f.Close()
			}
		}()
	}
	if o.statusFD != "" {
		fd, err := strconv.ParseUint(o.statusFD, 10, 31)
		if err != nil {
			return fmt.Errorf("flag --status-fd: %q is not the number of a descriptor", o.statusFD)
		}
		call.opts.number(criuStatusFD, fd)
	}
	if dir, _ := openCgroup(c.Cgroup).freezer(); dir != "" {
		call.opts.text(criuFreezeCgroup, dir) // criu stops them all at once; the paused ones need it
	}
	out, err := c.leaveOutside(call, spec)
	if err != nil {
		return err
	}
	if err := call.leaveNamespaces(spec); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(o.imagePath, criuOutsideName), encodeJSON(out, ""), 0o600); err != nil {
		return err
	}
	return c.runDump(g, call, o, spec)
}

// runDump takes care that a network which others have, too, is not left as criu leaves it after a dump: locked, for connections
// that go on elsewhere. What has stood still since the dump can as well be ended by us.
func (c *container) runDump(g *globals, call *criuCall, o *checkpointOptions, spec *specs.Spec) (err error) {
	stays := o.leaveRunning
	net := namespaceOf(spec, specs.NetworkNamespace)
	if !stays && !o.preDump && !o.tcpEstablished && net != nil && net.Path != "" {
		stays = true
		group := openCgroup(c.Cgroup)
		if paused, _ := group.frozen(); !paused {
			if err := group.freeze(); err != nil {
				return err
			}
			defer func() {
				if err != nil {
					err = errors.Join(err, group.thaw())
				}
			}()
		}
	}
	call.opts.flag(criuLeaveRunning, stays)
	_, err = call.run(g)
	return err
}

// pageServer names the server to which a dump sends the pages, or of a lazy one the address at which criu is the server.
func (c *criuCall) pageServer(address string, lazy bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("flag --page-server: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("flag --page-server: %q is not the number of a port", port)
	}
	var m protoMessage
	m.text(1, host)
	m.number(2, n)
	c.opts.message(criuPageServer, m)
	if !lazy || host == "" {
		return nil
	}
	return c.serveAt(host)
}

// serveAt: of a lazy dump's request criu 3.17.1 takes the port alone, and would serve the container's memory to all who reach any of
// the host's addresses. From its configuration it takes the address, too. What the operator has there still has the last word.
func (c *criuCall) serveAt(host string) error {
	if a, err := netip.ParseAddr(host); err != nil || a.Zone() != "" {
		return fmt.Errorf("flag --page-server: %q is not an IP address", host)
	}
	operators, err := readFile(criuConfig, 1<<20)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	fd, err := memoryFile("criu.conf", append([]byte("address "+host+"\n"), operators...))
	if err != nil {
		return err
	}
	c.opts.text(criuConfigFile, fmt.Sprintf("/proc/self/fd/%d", criuFirstFD+len(c.files))) // of two the last one counts
	c.files = append(c.files, os.NewFile(uintptr(fd), "criu.conf"))
	return nil
}

// leaveNamespaces keeps out of the images what belongs to others: a network that is joined, and all of
// the container's own but its existence. Who has given it interfaces gives them again: hooks, or the engine.
func (c *criuCall) leaveNamespaces(spec *specs.Spec) error {
	for _, ns := range spec.Linux.Namespaces {
		var st unix.Stat_t
		switch {
		case ns.Path == "" && ns.Type == specs.NetworkNamespace:
			c.opts.number(criuEmptyNS, unix.CLONE_NEWNET)
		case ns.Path == "" || criuJoined[ns.Type] == "":
		case unix.Stat(ns.Path, &st) != nil:
			return fmt.Errorf("namespace %q: %s is not there any more", ns.Type, ns.Path)
		default:
			c.opts.text(criuExternal, fmt.Sprintf("%s[%d]:%s", criuNamespace(ns.Type), st.Ino, criuJoined[ns.Type]))
		}
	}
	return nil
}

// criuJoined are the namespaces that criu can leave to others, and their names in the images (runc's).
var criuJoined = map[specs.LinuxNamespaceType]string{
	specs.NetworkNamespace: "extRootNetNS",
	specs.PIDNamespace:     "extRootPidNS",
}

// criuNamespace is the kernel's name for a kind.
func criuNamespace(kind specs.LinuxNamespaceType) string {
	if kind == specs.NetworkNamespace {
		return "net"
	}
	return string(kind)
}
