// spec.go owns config.json: it alone reads the bundle, and "runh spec" writes
// a config to start from. What a config must be is in speccheck.go.

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// configMax bounds config.json: the largest seen in the wild are under 100 KiB,
// and an engine's mistake must not fill the memory.
const configMax = 16 << 20

// loadSpec reads and decodes <bundle>/config.json, and returns its bytes too:
// they become the snapshot in the state directory.
func loadSpec(bundle string) (*specs.Spec, []byte, error) {
	path := filepath.Join(bundle, "config.json")
	data, err := readFile(path, configMax)
	switch {
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR):
		// Not the kernel's words: dockerd takes these for a missing program.
		if info, statErr := os.Stat(bundle); statErr != nil || !info.IsDir() {
			return nil, nil, fmt.Errorf("bundle %s is not a directory that exists", bundle)
		}
		return nil, nil, fmt.Errorf("bundle %s has no config.json", bundle)
	case err != nil:
		return nil, nil, err
	}
	spec, err := decodeSpec(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return spec, data, nil
}

// decodeSpec also serves the commands that read the snapshot.
func decodeSpec(data []byte) (*specs.Spec, error) {
	spec := new(specs.Spec)
	if err := decodeJSON(string(data), spec); err != nil {
		return nil, err
	}
	if spec.Linux != nil {
		forgetZeroPids(spec.Version, spec.Linux.Resources)
	}
	return spec, nil
}

// rootfsPath returns the directory that root.path names, with every link in it
// resolved: later steps compare and mount it.
func rootfsPath(bundle string, spec *specs.Spec) (string, error) {
	path := spec.Root.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(bundle, path)
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	switch err {
	case nil:
	case unix.ENOENT:
		return "", fmt.Errorf("rootfs %s is missing", path)
	case unix.ENOTDIR:
		return "", fmt.Errorf("rootfs %s is a file where a directory is wanted", path)
	default:
		return "", fmt.Errorf("rootfs %s: %w", path, err)
	}
	defer unix.Close(fd)
	return os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
}

// cmdSpec is "runh spec".
func cmdSpec(g *globals, args []string) error {
	o, err := parseSpec(args)
	if err != nil {
		return err
	}
	spec := exampleSpec(o.args)
	if cgroupFSType(cgroupRoot) == unix.CGROUP2_SUPER_MAGIC {
		// As runc: on v1 programs take the paths of /proc/self/cgroup for those below /sys/fs/cgroup.
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	if o.rootless {
		makeRootless(spec)
	}
	path := filepath.Join(o.bundle, "config.json")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("file %s exists: remove it first", path)
	} else if err != nil {
		return err
	}
	_, err = f.Write(append(encodeJSON(spec, "\t"), '\n'))
	return errors.Join(err, f.Close())
}

// exampleSpec is a container that shares nothing with the host but its cgroups' names. Without args it
// is a shell on a terminal, as other runtimes' examples are; a program named by
// --args needs no terminal, so that "create" works without a console socket.
func exampleSpec(args []string) *specs.Spec {
	terminal := len(args) == 0
	if terminal {
		args = []string{"sh"}
	}
	caps := []string{"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"}
	return &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			Terminal: terminal,
			Args:     args,
			Env:      []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"},
			Cwd:      "/",
			Capabilities: &specs.LinuxCapabilities{
				Bounding: caps, Effective: caps, Permitted: caps,
			},
			Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1024, Soft: 1024}},
			NoNewPrivileges: true,
		},
		Root:     &specs.Root{Path: "rootfs", Readonly: true},
		Hostname: "runh",
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{
				Destination: "/dev", Type: "tmpfs", Source: "tmpfs",
				Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"},
			},
			{
				Destination: "/dev/pts", Type: "devpts", Source: "devpts",
				Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"},
			},
			{
				Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
				Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"},
			},
			{
				Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue",
				Options: []string{"nosuid", "noexec", "nodev"},
			},
			{
				Destination: "/sys", Type: "sysfs", Source: "sysfs",
				Options: []string{"nosuid", "noexec", "nodev", "ro"},
			},
			{
				Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
				Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"},
			},
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.NetworkNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.MountNamespace},
			},
			Resources: &specs.LinuxResources{
				Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}},
			},
			MaskedPaths: []string{
				"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
				"/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
				"/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
			},
			ReadonlyPaths: []string{
				"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
			},
		},
	}
}

// makeRootless fits the example to an ordinary user: root inside is that user
// outside, the host's network is shared (a new one would have no way out), and
// what only the host's root may do is left out: a new sysfs, group 5 for
// terminals, cgroup limits.
func makeRootless(s *specs.Spec) {
	namespaces := []specs.LinuxNamespace{{Type: specs.UserNamespace}}
	for _, ns := range s.Linux.Namespaces {
		if ns.Type != specs.NetworkNamespace {
			namespaces = append(namespaces, ns)
		}
	}
	s.Linux.Namespaces = namespaces
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: uint32(os.Geteuid()), Size: 1}}
	s.Linux.GIDMappings = []specs.LinuxIDMapping{{HostID: uint32(os.Getegid()), Size: 1}}
	s.Linux.Resources = nil
	for i := range s.Mounts {
		m := &s.Mounts[i]
		switch m.Destination {
		case "/sys":
			m.Type, m.Source = "none", "/sys"
			m.Options = append([]string{"rbind"}, m.Options...)
		case "/dev/pts":
			m.Options = m.Options[:len(m.Options)-1] // gid=5
		}
	}
}
