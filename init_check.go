// The check of a config, before anything is done for it.
//
// checkSpec is pure: it looks at the config and at nothing else, and refuses
// what could not work or would change the host, in one line that names the
// property, its value and what is allowed. Whether this kernel can do it, and
// what seccomp and cgroup settings mean, is left to the files that own these.
// Unknown properties are ignored (runtime-spec config.md, Extensibility).

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// checkSpec is the whole check, in the order of the config. Each may count on
// those before it: a process, a root and linux are there.
func checkSpec(s *specs.Spec) error {
	for _, check := range []func(*specs.Spec) error{
		checkVersion, checkProcess, checkRlimits, checkRoot,
		checkMounts, checkHooks, checkNamespaces, checkIDMappings, checkSysctl,
		checkLinux, checkDomain, checkNetDevices, checkAgent, checkIDMappedMounts,
	} {
		if err := check(s); err != nil {
			return fmt.Errorf("config.json: %w", err)
		}
	}
	return nil
}

// checkVersion: ociVersion is SemVer 2.0.0, and this is a runtime of major 1.
func checkVersion(s *specs.Spec) error {
	core, _, _ := strings.Cut(s.Version, "+")
	core, _, _ = strings.Cut(core, "-")
	parts := strings.Split(core, ".")
	valid := len(parts) == 3
	for _, p := range parts {
		_, err := strconv.ParseUint(p, 10, 32)
		valid = valid && err == nil && (p == "0" || p[0] != '0')
	}
	switch {
	case s.Version == "":
		return errors.New("ociVersion is missing")
	case !valid:
		return fmt.Errorf("ociVersion %q is not a version such as %s", s.Version, specs.Version)
	case parts[0] != "1":
		return fmt.Errorf("ociVersion %q: this runtime knows versions 1.0.0 to %s", s.Version, specs.Version)
	}
	return nil
}

func checkProcess(s *specs.Spec) error {
	p := s.Process
	if p == nil {
		// Allowed by the spec until start; but a container that can never be
		// started is a mistake, which create is the place to report.
		return errors.New("process is missing")
	}
	if err := checkProcessValues(p, "process"); err != nil {
		return err
	}
	return nil
}

// checkProcessValues also serves exec's --process file.
func checkProcessValues(p *specs.Process, where string) error {
	switch {
	case len(p.Args) == 0:
		return fmt.Errorf("%s.args is empty: the program is missing", where)
	case p.Args[0] == "":
		return fmt.Errorf("%s.args[0] is empty: the program is missing", where)
	case p.Cwd == "":
		return fmt.Errorf("%s.cwd is missing", where)
	case !filepath.IsAbs(p.Cwd):
		return fmt.Errorf("%s.cwd %q is not an absolute path", where, p.Cwd)
	case hasNUL(p.Cwd):
		return fmt.Errorf("%s.cwd %q contains a zero byte", where, p.Cwd)
	// setresuid(2) takes -1 for "leave it alone": the process would stay root.
	case p.User.UID == ^uint32(0):
		return fmt.Errorf("%s.user.uid %d is not a user ID", where, p.User.UID)
	case p.User.GID == ^uint32(0):
		return fmt.Errorf("%s.user.gid %d is not a group ID", where, p.User.GID)
	case p.User.Umask != nil && *p.User.Umask > 0o777:
		return fmt.Errorf("%s.user.umask %d is more than 511 (octal 777)", where, *p.User.Umask)
	case p.OOMScoreAdj != nil && (*p.OOMScoreAdj < -1000 || *p.OOMScoreAdj > 1000):
		return fmt.Errorf("%s.oomScoreAdj %d is not between -1000 and 1000", where, *p.OOMScoreAdj)
	}
	for i, arg := range p.Args {
		if hasNUL(arg) {
			return fmt.Errorf("%s.args[%d] %q contains a zero byte", where, i, arg)
		}
	}
	for i, env := range p.Env {
		switch eq := strings.IndexByte(env, '='); {
		case eq < 0:
			return fmt.Errorf("%s.env[%d] %q has no '='", where, i, env)
		case eq == 0:
			return fmt.Errorf("%s.env[%d] %q has no name before '='", where, i, env)
		case hasNUL(env):
			return fmt.Errorf("%s.env[%d] %q contains a zero byte", where, i, env)
		}
	}
	return checkScheduling(p, where)
}

func checkRlimits(s *specs.Spec) error {
	for i, limit := range s.Process.Rlimits {
		switch {
		case rlimitNumber(limit.Type) < 0:
			return fmt.Errorf("process.rlimits[%d]: unknown type %q", i, limit.Type)
		case limit.Soft > limit.Hard:
			return fmt.Errorf("process.rlimits[%d]: %s: soft limit %d is more than the hard limit %d", i, limit.Type, limit.Soft, limit.Hard)
		}
		for _, other := range s.Process.Rlimits[:i] {
			if other.Type == limit.Type {
				return fmt.Errorf("process.rlimits[%d]: %s is listed twice", i, limit.Type)
			}
		}
	}
	return nil
}

// rlimitNumber is -1 for an unknown name.
func rlimitNumber(name string) int {
	switch name {
	case "RLIMIT_CPU":
		return unix.RLIMIT_CPU
	case "RLIMIT_FSIZE":
		return unix.RLIMIT_FSIZE
	case "RLIMIT_DATA":
		return unix.RLIMIT_DATA
	case "RLIMIT_STACK":
		return unix.RLIMIT_STACK
	case "RLIMIT_CORE":
		return unix.RLIMIT_CORE
	case "RLIMIT_RSS":
		return unix.RLIMIT_RSS
	case "RLIMIT_NPROC":
		return unix.RLIMIT_NPROC
	case "RLIMIT_NOFILE":
		return unix.RLIMIT_NOFILE
	case "RLIMIT_MEMLOCK":
		return unix.RLIMIT_MEMLOCK
	case "RLIMIT_AS":
		return unix.RLIMIT_AS
	case "RLIMIT_LOCKS":
		return unix.RLIMIT_LOCKS
	case "RLIMIT_SIGPENDING":
		return unix.RLIMIT_SIGPENDING
	case "RLIMIT_MSGQUEUE":
		return unix.RLIMIT_MSGQUEUE
	case "RLIMIT_NICE":
		return unix.RLIMIT_NICE
	case "RLIMIT_RTPRIO":
		return unix.RLIMIT_RTPRIO
	case "RLIMIT_RTTIME":
		return unix.RLIMIT_RTTIME
	}
	return -1
}

func checkRoot(s *specs.Spec) error {
	switch {
	case s.Root == nil:
		return errors.New("root is missing")
	case s.Root.Path == "":
		return errors.New("root.path is missing")
	case hasNUL(s.Root.Path):
		return fmt.Errorf("root.path %q contains a zero byte", s.Root.Path)
	}
	return nil
}

// checkMounts allows a relative destination: it counts from "/" (config.md,
// "for compatibility with old tools").
func checkMounts(s *specs.Spec) error {
	for i, m := range s.Mounts {
		switch {
		case m.Destination == "":
			return fmt.Errorf("mounts[%d].destination is missing", i)
		case hasNUL(m.Destination + m.Source + m.Type + strings.Join(m.Options, ",")):
			return fmt.Errorf("mounts[%d] (%q) contains a zero byte", i, m.Destination)
		case (len(m.UIDMappings) == 0) != (len(m.GIDMappings) == 0):
			return fmt.Errorf("mounts[%d] (%s): uidMappings and gidMappings are only allowed together", i, m.Destination)
		}
	}
	return nil
}

func checkHooks(s *specs.Spec) error {
	h := s.Hooks
	if h == nil {
		return nil
	}
	for _, point := range []struct {
		name  string
		hooks []specs.Hook
	}{
		//lint:ignore SA1019 Docker before 28 sets up its network in one
		{"prestart", h.Prestart},
		{"createRuntime", h.CreateRuntime},
		{"createContainer", h.CreateContainer},
		{"startContainer", h.StartContainer},
		{"poststart", h.Poststart},
		{"poststop", h.Poststop},
	} {
		for i, hook := range point.hooks {
			switch {
			case !filepath.IsAbs(hook.Path):
				return fmt.Errorf("hooks.%s[%d].path %q is not an absolute path", point.name, i, hook.Path)
			case hook.Timeout != nil && *hook.Timeout <= 0:
				return fmt.Errorf("hooks.%s[%d].timeout %d is not more than 0", point.name, i, *hook.Timeout)
			case hasNUL(hook.Path + strings.Join(hook.Args, "") + strings.Join(hook.Env, "")):
				return fmt.Errorf("hooks.%s[%d] (%q) contains a zero byte", point.name, i, hook.Path)
			}
		}
	}
	return nil
}

func checkNamespaces(s *specs.Spec) error {
	if s.Linux == nil {
		return errors.New("linux is missing: a container has namespaces")
	}
	for i, ns := range s.Linux.Namespaces {
		switch ns.Type {
		case specs.PIDNamespace, specs.NetworkNamespace, specs.MountNamespace, specs.IPCNamespace,
			specs.UTSNamespace, specs.UserNamespace, specs.CgroupNamespace, specs.TimeNamespace:
		case "":
			return fmt.Errorf("linux.namespaces[%d].type is missing", i)
		default:
			return fmt.Errorf("linux.namespaces[%d]: unknown namespace %q", i, ns.Type)
		}
		if ns.Path != "" && !filepath.IsAbs(ns.Path) {
			return fmt.Errorf("linux.namespaces[%d] (%s): path %q is not an absolute path", i, ns.Type, ns.Path)
		}
		for _, other := range s.Linux.Namespaces[:i] {
			if other.Type == ns.Type {
				return fmt.Errorf("linux.namespaces[%d]: %s is listed twice", i, ns.Type)
			}
		}
	}
	switch uts := hasNamespace(s, specs.UTSNamespace); {
	case s.Hostname != "" && !uts:
		return fmt.Errorf("hostname %q needs a uts namespace: without one it would rename the host", s.Hostname)
	case s.Domainname != "" && !uts:
		return fmt.Errorf("domainname %q needs a uts namespace: without one it would rename the host", s.Domainname)
	case len(s.Hostname) > 64:
		return fmt.Errorf("hostname %q is longer than 64 bytes", s.Hostname)
	case len(s.Domainname) > 64:
		return fmt.Errorf("domainname %q is longer than 64 bytes", s.Domainname)
	}
	return nil
}

func checkIDMappings(s *specs.Spec) error {
	l, user := s.Linux, namespaceOf(s, specs.UserNamespace)
	mapped := len(l.UIDMappings) > 0 || len(l.GIDMappings) > 0
	time := namespaceOf(s, specs.TimeNamespace)
	switch {
	case mapped && user == nil:
		return errors.New("linux.uidMappings and gidMappings need a user namespace")
	case user != nil && user.Path == "" && (len(l.UIDMappings) == 0 || len(l.GIDMappings) == 0):
		return errors.New("a new user namespace needs both linux.uidMappings and linux.gidMappings")
	case mapped && !(hasID(l.UIDMappings, 0) && hasID(l.GIDMappings, 0)):
		return errors.New("linux.uidMappings and gidMappings must have a container ID 0: who sets the container up is root in its user namespace")
	case mapped && user.Path == "" && !hasID(l.UIDMappings, s.Process.User.UID):
		return fmt.Errorf("process.user.uid %d has no place in linux.uidMappings", s.Process.User.UID)
	case mapped && user.Path == "" && !hasID(l.GIDMappings, s.Process.User.GID):
		return fmt.Errorf("process.user.gid %d has no place in linux.gidMappings", s.Process.User.GID)
	case hasNewUsers(s) && len(otherGroups(s.Process.User)) > 0 && onlySelf(l.GIDMappings, os.Getegid()) && ownCapabilities()&(1<<unix.CAP_SETGID) == 0:
		return errors.New("process.user.additionalGids: an ordinary user who maps only the own group may not set others (setgroups is denied there)")
	case len(l.TimeOffsets) > 0 && (time == nil || time.Path != ""):
		return errors.New("linux.timeOffsets needs a new time namespace")
	}
	for clock := range l.TimeOffsets {
		if clock != "monotonic" && clock != "boottime" {
			return fmt.Errorf("linux.timeOffsets: unknown clock %q: monotonic and boottime have offsets", clock)
		}
	}
	return nil
}

// checkOrdinaryUser refuses what only a privileged user may have, in the words of
// the config rather than of a system call half-way. Root of a user namespace is an
// ordinary user where limits are concerned: the kernel says so then.
func checkOrdinaryUser(s *specs.Spec, facts *hostFacts) error {
	if facts.held()&(1<<unix.CAP_SYS_ADMIN) != 0 {
		return nil
	}
	if !hasNamespace(s, specs.UserNamespace) {
		return errors.New("linux.namespaces has no user namespace: an ordinary user cannot do without one (see runh spec --rootless)")
	}
	for _, l := range s.Process.Rlimits {
		if own, err := facts.limit(rlimitNumber(l.Type)); err == nil && l.Hard > own.Max {
			return fmt.Errorf("process.rlimits: %s: hard limit %d is more than the caller's own %d, which only a privileged user may raise", l.Type, l.Hard, own.Max)
		}
	}
	return nil
}

func checkLinux(s *specs.Spec) error {
	l := s.Linux
	if err := checkRdt(l.IntelRdt); err != nil {
		return err
	}
	for i, d := range l.Devices {
		switch {
		case !filepath.IsAbs(d.Path) || hasNUL(d.Path):
			return fmt.Errorf("linux.devices[%d].path %q is not an absolute path", i, d.Path)
		case d.Type != "c" && d.Type != "u" && d.Type != "b" && d.Type != "p":
			return fmt.Errorf("linux.devices[%d] (%s): type %q is not one of c, u, b, p", i, d.Path, d.Type)
		case d.Type != "p" && (d.Major < 0 || d.Major > 1<<12-1 || d.Minor < 0 || d.Minor > 1<<20-1):
			return fmt.Errorf("linux.devices[%d] (%s): %d:%d is not a device number", i, d.Path, d.Major, d.Minor)
		}
	}
	switch strings.TrimPrefix(l.RootfsPropagation, "r") {
	case "", "private", "slave", "shared", "unbindable":
	default:
		return fmt.Errorf("linux.rootfsPropagation %q is not one of [r]private, [r]slave, [r]shared, [r]unbindable", l.RootfsPropagation)
	}
	for _, list := range []struct {
		name  string
		paths []string
	}{{"maskedPaths", l.MaskedPaths}, {"readonlyPaths", l.ReadonlyPaths}} {
		for i, path := range list.paths {
			if !filepath.IsAbs(path) || hasNUL(path) {
				return fmt.Errorf("linux.%s[%d] %q is not an absolute path", list.name, i, path)
			}
		}
	}
	return nil
}
