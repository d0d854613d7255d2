// runh env: QEMU's files as a tree of their own. Without one QEMU runs
// from the host's files, mounted one by one; a tree is for a host whose QEMU
// should not matter, and for taking along.

package main

import (
	"errors"
	"fmt"
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
		return showQEMUFiles(g)
	}
	switch verb, rest := words[0], words[1:]; verb {
	case "build":
		var dir string
		if len(rest) > 0 {
			dir, rest = rest[0], rest[1:]
		} else if dir, err = configuredTree(g); err != nil {
			return err
		}
		if err := noWords(rest); err != nil {
			return err
		}
		if dir == "" {
			return errors.New("the directory is \"\": name a new or empty one")
		}
		return buildTree(g, dir)
	case "check":
		if err := noWords(rest); err != nil {
			return err
		}
		return tryQEMUFiles(g)
	default:
		return fmt.Errorf("%q is not one of build, check", verb)
	}
}

// showQEMUFiles prints what would be used, and from where.
func showQEMUFiles(g *globals) error {
	qemu, err := commandQEMUFiles(g)
	if err != nil {
		return err
	}
	var b strings.Builder
	defer qemu.unlock()
	from := "the host's files, mounted one by one"
	if qemu.root != "" {
		from = "the tree " + qemu.root
	}
	fmt.Fprintf(&b, "qemu   %s\nfrom   %s\n", qemu.QEMU, from)
	fmt.Fprintf(&b, "files  %s\n", qemu.Virtiofsd)
	var total int64
	for _, f := range qemu.allFiles() {
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

// tryQEMUFiles runs that QEMU, once for each machine, up to the
// point where a guest would begin.
func tryQEMUFiles(g *globals) error {
	qemu, err := commandQEMUFiles(g)
	if err != nil {
		return err
	}
	defer qemu.unlock()
	for _, machine := range []string{"microvm", "pc", "q35"} {
		vm := &vmConfig{Machine: machine, Accel: "tcg", CPU: defaultCPU("tcg")}
		if _, err := qemu.filesFor(vm); err != nil {
			return err
		}
		if err := tryVM(qemu, vm); err != nil {
			return err
		}
	}
	return printOut("ok     " + qemu.QEMU + ": microvm, pc, q35\n")
}

// configuredTree is the directory that run would look in.
func configuredTree(g *globals) (string, error) {
	config, err := loadHermitConfig(g.config)
	if err != nil {
		return "", err
	}
	return treeDirectory(g, config), nil
}

// commandQEMUFiles are the files that run would use.
func commandQEMUFiles(g *globals) (*qemuFiles, error) {
	dir, err := configuredTree(g)
	if err != nil {
		return nil, err
	}
	return findQEMUFiles(g.root, dir)
}

// buildTree copies the host's QEMU, and what it needs, into a tree. One of runh's that is there is replaced, as soon
// as no container starts from it; all else that is there is left as it is.
func buildTree(g *globals, dir string) error {
	qemu, err := findQEMUFiles(g.root, "")
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	var stamp *treeStamp
	if _, err := os.Lstat(dir); err == nil {
		target, err := filepath.EvalSymlinks(dir) // a link to the tree stays one
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		dir = target
		lock, err := lockTree(dir, unix.LOCK_EX)
		if err != nil {
			return fmt.Errorf("%s: %w: it is left untouched; name a new or empty directory", dir, err)
		}
		defer unix.Close(lock)
		if stamp, err = replaceable(dir); err != nil {
			return err
		}
	}
	total, err := replaceTree(dir, qemu, stamp)
	if err != nil {
		return err
	}
	return printOut(fmt.Sprintf("%s: %d files, %d.%d MB\n", dir, len(qemu.allFiles()), total/1e6, total%1e6/1e5))
}

// replaceable returns the stamp of a directory that may be replaced; an empty one has an empty stamp.
func replaceable(dir string) (*treeStamp, error) {
	if stamp := readStamp(dir); stamp != nil {
		return stamp, nil
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("directory %s has files that runh env build did not make: it is left untouched; name a new or empty directory", dir)
	}
	return &treeStamp{}, err
}
