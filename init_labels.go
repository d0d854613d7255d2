// Security labels: the AppArmor profile or the SELinux label that the process gets at its execve, and the label of
// the files on the container's own file systems.
//
// Contract: a process whose module this host lacks is refused, since it would run unconfined. A label for files is
// not refused: it protects the files from confined processes only, and without SELinux there are none. A guest is
// no process of Linux's: its label is checked and then has no effect, as explain, the log and SECURITY.md say.

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// checkLabels compares what a process asks for with what this host has.
func checkLabels(p *specs.Process, facts *hostFacts) error {
	switch {
	case p.ApparmorProfile != "" && !facts.apparmor():
		return fmt.Errorf("process.apparmorProfile %q: AppArmor is not enabled on this host", p.ApparmorProfile)
	case p.SelinuxLabel != "" && !facts.selinux():
		return fmt.Errorf("process.selinuxLabel %q: SELinux is not enabled on this host", p.SelinuxLabel)
	}
	return nil
}

func hasAppArmor() bool {
	enabled, err := readFile("/sys/module/apparmor/parameters/enabled", 16)
	return err == nil && strings.HasPrefix(string(enabled), "Y")
}

func hasSELinux() bool {
	var st unix.Statfs_t
	return unix.Statfs("/sys/fs/selinux", &st) == nil && uint32(st.Type) == unix.SELINUX_MAGIC
}

// inheritProc gives the process the host's procfs, if there is a label to write. A
// label goes to a file of the process's own, and the container's /proc may be
// anything (CVE-2019-16884); a procfs of our own could not be mounted from
// inside a user namespace whose /proc is masked.
func (c *processCompiler) inheritProc() (err error) {
	if c.plan.process.ApparmorProfile == "" && c.plan.process.SelinuxLabel == "" {
		return nil
	}
	c.proc, err = c.lend("procfs of the host", func() (int, error) {
		if !isProcfs("/proc") {
			return -1, errors.New("/proc is not a procfs: labels cannot be set")
		}
		fd, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			err = fmt.Errorf("open /proc: %w", err)
		}
		return fd, err
	})
	return err
}

// label makes the next execve, which is that of the process, change over.
func (c *processCompiler) label() {
	if profile := c.plan.process.ApparmorProfile; profile != "" {
		c.at("set the AppArmor profile %q", profile)
		// Where modules are stacked the file without a directory is the first one's.
		var plain, done label
		fd := c.alloc(8)
		c.openAttr("apparmor/exec").on(unix.ENOENT, &plain).into(fd)
		c.jump(&done)
		c.place(&plain)
		c.openAttr("exec").into(fd)
		c.place(&done)
		var unknown, set label
		c.writeAttr(valueAt(fd), "exec "+profile).on(unix.ENOENT, &unknown)
		c.jump(&set)
		c.place(&unknown)
		c.refuse("%v", errUnknownProfile(profile))
		c.place(&set)
	}
	if context := c.plan.process.SelinuxLabel; context != "" {
		c.at("set the SELinux label %q", context)
		c.writeAttr(c.openAttr("exec"), context)
	}
}

// openAttr opens a file of this process's attributes: "self" is whoever opens
// it, and nothing mounted over it is crossed.
func (c *processCompiler) openAttr(name string) call {
	how := c.words(unix.O_WRONLY|unix.O_CLOEXEC, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_XDEV|unix.RESOLVE_NO_MAGICLINKS)
	return c.call(unix.SYS_OPENAT2, c.proc, "self/attr/"+name, how, 24)
}

func (c *processCompiler) writeAttr(fd any, value string) (write call) {
	write = c.call(unix.SYS_WRITE, fd, value, len(value))
	c.call(unix.SYS_CLOSE, fd)
	return write
}

func errUnknownProfile(profile string) error {
	return fmt.Errorf("process.apparmorProfile %q: the profile is not loaded", profile)
}

// tryLabels asks the kernel whether it knows what a process asks for, where nothing will be executed with it: a thread
// sets it for what it executes next, and ends without.
func tryLabels(p *specs.Process) error {
	if p.ApparmorProfile == "" && p.SelinuxLabel == "" {
		return nil
	}
	if !isProcfs("/proc") {
		return errors.New("/proc is not a procfs: labels cannot be checked")
	}
	told := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		told <- setOwnLabels(p)
	}()
	return <-told
}

func setOwnLabels(p *specs.Process) error {
	const attr = "/proc/thread-self/attr/"
	write := func(name, value string) error {
		fd, err := unix.Open(attr+name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			_, err = unix.Write(fd, []byte(value))
			unix.Close(fd)
		}
		return err
	}
	if profile := p.ApparmorProfile; profile != "" {
		name := "apparmor/exec"
		if _, err := os.Stat(attr + name); err != nil { // see label
			name = "exec"
		}
		switch err := write(name, "exec "+profile); {
		case err == unix.ENOENT:
			return errUnknownProfile(profile)
		case err != nil:
			return fmt.Errorf("set the AppArmor profile %q: %w", profile, err)
		}
	}
	if context := p.SelinuxLabel; context != "" {
		if err := write("exec", context); err != nil {
			return fmt.Errorf("set the SELinux label %q: %w", context, err)
		}
	}
	return nil
}

// labelMounts adds linux.mountLabel to the file systems that are made for the
// container. What shows the kernel's own objects keeps their labels.
func labelMounts(mounts []mountRequest, label string) {
	for i := range mounts {
		m := &mounts[i]
		switch {
		case m.bind || m.remount:
		case m.fstype == "proc" || m.fstype == "sysfs" || m.fstype == "cgroup" || m.fstype == "cgroup2":
		case m.fstype == "mqueue": // takes no options: see labelRoot
			m.xattr = label
		default:
			m.data = append(m.data, `context="`+label+`"`) // categories have commas
		}
	}
}
