// The program to run, args[0], and HOME, as the container's files say.
//
// Contract: the container's files are read from outside, by descriptor and only beneath its root.

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// executable is what args[0] names inside the root.
type executable struct {
	path string // as execve gets it
	file int    // O_PATH descriptor here
}

// lookExecutable finds args[0] as execvp would do it in the container: by the
// container's PATH, and never outside its root. The texts are those that
// callers read an exit status of 126 or 127 from.
func lookExecutable(root int, arg0, cwd string, env []string) (executable, error) {
	if strings.Contains(arg0, "/") {
		name := arg0
		if !path.IsAbs(name) {
			name = path.Join(cwd, name)
		}
		e, err := openExecutable(root, name)
		e.path = arg0
		if err != nil {
			return e, fmt.Errorf("exec: %q: %w", arg0, err)
		}
		return e, nil
	}
	var denied error
	for _, dir := range strings.Split(lookEnv(env, "PATH"), ":") {
		if dir == "" {
			dir = "."
		}
		name := path.Join(dir, arg0)
		inside := name
		if !path.IsAbs(name) {
			inside = path.Join(cwd, name)
		}
		e, err := openExecutable(root, inside)
		if err == nil {
			e.path = name
			return e, nil
		}
		if errors.Is(err, unix.EACCES) {
			denied = err
		}
	}
	if denied != nil {
		return executable{}, fmt.Errorf("exec: %q: %w", arg0, denied)
	}
	return executable{}, fmt.Errorf("exec: %q: executable file not found in $PATH", arg0)
}

func openExecutable(root int, name string) (executable, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	fd, err := unix.Openat2(root, beneath(name), &how)
	if err != nil {
		return executable{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return executable{}, err
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		err = errIsDirectory
	case st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o111 == 0:
		err = unix.EACCES
	}
	if err != nil {
		unix.Close(fd)
		return executable{}, err
	}
	return executable{name, fd}, nil
}

// errIsDirectory is EACCES to who looks, as execve would have it.
var errIsDirectory = &directoryError{}

type directoryError struct{}

func (*directoryError) Error() string        { return "is a directory: permission denied" }
func (*directoryError) Is(target error) bool { return target == unix.EACCES }

func lookEnv(env []string, name string) string {
	value := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value = v
		}
	}
	return value
}

// lastOfEach is an environment with one entry for each name, the last one, in its place. execve(2) would pass on all of
// them, and a program reads the first (getenv) or the last (a shell).
func lastOfEach(env []string) []string {
	seen := make(map[string]bool, len(env))
	out := make([]string, 0, len(env))
	for _, kv := range slices.Backward(env) {
		name, _, _ := strings.Cut(kv, "=")
		if !seen[name] {
			seen[name] = true
			out = append(out, kv)
		}
	}
	slices.Reverse(out)
	return out
}

// withHome adds HOME to an environment that has none, from the container's
// /etc/passwd; "/" where it does not say.
func withHome(root int, env []string, uid uint32) []string {
	if lookEnv(env, "HOME") != "" {
		return env
	}
	home := "/"
	if f, _, err := openInRoot(root, "etc/passwd"); err == nil {
		// A passwd file without end is somebody's joke: 1 MiB is enough.
		lines := bufio.NewScanner(io.LimitReader(f, 1<<20))
		for lines.Scan() {
			field := strings.Split(lines.Text(), ":")
			if len(field) >= 6 && field[2] == strconv.FormatUint(uint64(uid), 10) {
				home = field[5]
				break
			}
		}
		f.Close()
	}
	kept := make([]string, 0, len(env)+1)
	for _, kv := range env {
		if !strings.HasPrefix(kv, "HOME=") {
			kept = append(kept, kv)
		}
	}
	return append(kept, "HOME="+home)
}
