// runh env: the Hermit environment as a tree of its own. Without one QEMU runs
// from the host's files, mounted one by one; a tree is for a host whose QEMU
// should not matter, and for taking along.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func cmdEnv(g *globals, args []string) error {
	words, err := parseFlags(nil, args, false)
	if err != nil {
		return err
	}
	if len(words) == 0 {
		return showEnv(g)
	}
	switch verb, rest := words[0], words[1:]; verb {
	case "build":
		dir := envDirectory(g, &hermitConfig{})
		if len(rest) > 0 {
			dir, rest = rest[0], rest[1:]
		}
		if err := noWords(rest); err != nil {
			return err
		}
		return buildEnv(g, dir)
	case "check":
		if err := noWords(rest); err != nil {
			return err
		}
		return tryEnv(g)
	default:
		return fmt.Errorf("%q is not one of build, check", verb)
	}
}

// showEnv prints what would be used, and from where.
func showEnv(g *globals) error {
	dir := envDirectory(g, &hermitConfig{})
	env, err := findEnv(g.root, dir)
	if err != nil {
		return err
	}
	var b strings.Builder
	defer env.unlock()
	from := "the host's files, mounted one by one"
	if env.root != "" {
		from = "the tree " + env.root
	}
	fmt.Fprintf(&b, "qemu   %s\nfrom   %s\n", env.QEMU, from)
	fmt.Fprintf(&b, "files  %s\n", env.Virtiofsd)
	var total int64
	for _, f := range env.allFiles() {
		switch {
		case f.Link != "":
			fmt.Fprintf(&b, "       %s -> %s\n", f.Guest, f.Link)
			continue
		case f.Dir:
			fmt.Fprintf(&b, "       %s/\n", f.Guest)
			continue
		}
		info, err := os.Stat(f.Host)
		if err != nil {
			return err
		}
		total += info.Size()
		fmt.Fprintf(&b, "       %s\n", f.Guest)
	}
	if total > 0 {
		fmt.Fprintf(&b, "size   %d.%d MB\n", total/1e6, total%1e6/1e5)
	}
	return printOut(b.String())
}

// tryEnv runs QEMU from the environment, once for each machine, up to the
// point where a guest would begin.
func tryEnv(g *globals) error {
	env, err := findEnv(g.root, envDirectory(g, &hermitConfig{}))
	if err != nil {
		return err
	}
	defer env.unlock()
	for _, machine := range []string{"microvm", "pc", "q35"} {
		vm := &vmConfig{Machine: machine, Accel: "tcg", CPU: defaultCPU("tcg")}
		if _, err := env.filesFor(vm); err != nil {
			return err
		}
		if err := tryVM(env, vm); err != nil {
			return err
		}
	}
	return printOut("ok     " + env.QEMU + ": microvm, pc, q35\n")
}

// buildEnv copies the host's QEMU, and what it needs, into a tree. One that is
// there is replaced, as soon as no container starts from it.
func buildEnv(g *globals, dir string) error {
	env, err := findEnv(g.root, "")
	if err != nil {
		return err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return err
	}
	if entries, err := os.ReadDir(dir); err == nil {
		if tree, err := treeEnv(dir); len(entries) > 0 && (err != nil || tree == nil) {
			return fmt.Errorf("%s is there and is no environment: it is left alone", dir)
		}
		lock, err := lockTree(dir, unix.LOCK_EX)
		if err != nil {
			return err
		}
		defer unix.Close(lock)
	}
	total, err := replaceTree(dir, env)
	if err != nil {
		return err
	}
	return printOut(fmt.Sprintf("%s: %d files, %d.%d MB\n", dir, len(env.allFiles()), total/1e6, total%1e6/1e5))
}

// replaceTree makes a tree of env's files. It appears at its place as a whole,
// or not at all.
func replaceTree(dir string, env *hermitEnv) (total int64, err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return 0, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return 0, err
	}
	for _, f := range env.allFiles() {
		n, err := copyEnvFile(f, filepath.Join(tmp, f.Guest))
		if err != nil {
			return 0, err
		}
		total += n
	}
	var st unix.Stat_t
	if err := unix.Stat(env.QEMU, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: env.QEMU, Err: err}
	}
	if err := os.WriteFile(filepath.Join(tmp, envStamp), []byte(env.QEMU+"\n"+envKey(env.QEMU, &st)+"\n"), 0o644); err != nil {
		return 0, err
	}
	err = unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOENT) {
		err = os.Rename(tmp, dir)
	}
	if err != nil {
		return 0, fmt.Errorf("put the environment at %s: %w", dir, err)
	}
	return total, nil
}

func copyEnvFile(f envFile, to string) (int64, error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return 0, err
	}
	if f.Link != "" {
		return 0, os.Symlink(f.Link, to)
	}
	in, err := os.Open(f.Host)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return 0, err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, in)
	return n, errors.Join(err, out.Close())
}
