// linux.sysctl: which names are allowed, where each is below
// /proc/sys, and how the init writes it.

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// checkSysctl refuses what would change the host: a name must belong to a
// namespace that the container does not share with it.
func checkSysctl(s *specs.Spec) error {
	for name := range s.Linux.Sysctl {
		path := sysctlPath(name)
		kind, ok := sysctlNamespace(path)
		switch {
		case !ok:
			return fmt.Errorf("linux.sysctl: %q belongs to no namespace: it would change the host", name)
		case path == "kernel/hostname":
			return fmt.Errorf("linux.sysctl: %q: the hostname property is the place for it", name)
		case !hasNamespace(s, kind):
			return fmt.Errorf("linux.sysctl: %q needs a %s namespace: without one it would change the host", name, kind)
		}
	}
	return nil
}

// sysctlPath turns a name into its path under /proc/sys. The first separator
// decides which one is used, and the other stands for a dot inside a name:
// "net.ipv4.conf.eth0/1.x" is net/ipv4/conf/eth0.1/x (sysctl.d(5)).
func sysctlPath(name string) string {
	if i := strings.IndexAny(name, "./"); i < 0 || name[i] == '/' {
		return name
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, name)
}

func sysctlNamespace(path string) (specs.LinuxNamespaceType, bool) {
	for _, part := range strings.Split(path, "/") {
		if part == "" || part == "." || part == ".." || hasNUL(part) {
			return "", false
		}
	}
	switch path {
	case "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem", "kernel/shmall",
		"kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced":
		return specs.IPCNamespace, true
	case "kernel/domainname", "kernel/hostname":
		return specs.UTSNamespace, true
	}
	switch first, rest, _ := strings.Cut(path, "/"); {
	case first == "net" && rest != "":
		return specs.NetworkNamespace, true
	case first == "user" && rest != "":
		return specs.UserNamespace, true
	case strings.HasPrefix(path, "fs/mqueue/"):
		return specs.IPCNamespace, true
	}
	return "", false
}

// setSysctls writes through a procfs of our own that is mounted nowhere: no
// mount of the container can stand in its way.
func (c *initCompiler) setSysctls() {
	if len(c.plan.spec.Linux.Sysctl) == 0 {
		return
	}
	c.at("open a private procfs")
	proc := c.privateProc()
	for _, name := range slices.Sorted(maps.Keys(c.plan.spec.Linux.Sysctl)) {
		value := c.plan.spec.Linux.Sysctl[name]
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
