// config.json: this file alone reads the bundle, and answers what everybody asks of a spec. What a config must be
// is in init_check.go.

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

// forgetZeroPids: since version 1.3 of the specification pids.limit may be left
// out, and 0 is a limit. Before that it could not be left out, and 0 was what
// programs wrote who wanted none: CRI-O does.
func forgetZeroPids(version string, r *specs.LinuxResources) {
	if r == nil || r.Pids == nil || limitSet(r.Pids.Limit) {
		return
	}
	parts := strings.Split(version+"..", ".")
	if minor, err := strconv.Atoi(parts[1]); err == nil && parts[0] == "1" && minor < 3 {
		r.Pids.Limit = nil
	}
}

// hasNamespace: is there one of this type, new or joined?
func hasNamespace(s *specs.Spec, kind specs.LinuxNamespaceType) bool {
	return namespaceOf(s, kind) != nil
}

// hasNewUsers: does the container get a user namespace of its own?
func hasNewUsers(s *specs.Spec) bool {
	ns := namespaceOf(s, specs.UserNamespace)
	return ns != nil && ns.Path == ""
}

func namespaceOf(s *specs.Spec, kind specs.LinuxNamespaceType) *specs.LinuxNamespace {
	for i := range s.Linux.Namespaces {
		if s.Linux.Namespaces[i].Type == kind {
			return &s.Linux.Namespaces[i]
		}
	}
	return nil
}

// networkPath is what the spec says of the network namespace: "" is a new one.
func networkPath(spec *specs.Spec) (path string, ok bool) {
	if spec.Linux != nil {
		if ns := namespaceOf(spec, specs.NetworkNamespace); ns != nil {
			return ns.Path, true
		}
	}
	return "", false
}

// containerEnv looks a name up in process.env; the last one counts, as in a shell.
func containerEnv(spec *specs.Spec, name string) (v string, ok bool) {
	if spec.Process == nil {
		return "", false
	}
	for _, kv := range spec.Process.Env {
		if k, val, found := strings.Cut(kv, "="); found && k == name {
			v, ok = val, true
		}
	}
	return v, ok
}

func specResources(spec *specs.Spec) *specs.LinuxResources {
	if spec.Linux == nil {
		return nil
	}
	return spec.Linux.Resources
}
