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
	source := ""
	words, err := parseFlags([]flagDef{{"from", "", &source}}, args, false)
	if err != nil {
		return err
	}
	if source != "" && (len(words) == 0 || words[0] != "build") {
		return errors.New("--from belongs to runh env build")
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
		return buildTree(g, source, dir)
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
	fmt.Fprintf(&b, "qemu   %s\nfrom   %s\nfiles  %s\n", qemu.QEMU, qemu.from(), qemu.virtiofsd())
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
	for _, machine := range qemu.machines() {
		if err := tryMachine(qemu, machine); err != nil {
			return err
		}
	}
	return printOut("ok     " + qemu.QEMU + ": " + strings.Join(qemu.machines(), ", ") + "\n")
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

// buildTree copies the host's QEMU, and what it needs, into a tree, or the files of source, a tree of make qemu. One of
// runh's that is there is replaced, as soon as no container starts from it; all else that is there is left as it is.
func buildTree(g *globals, source, dir string) error {
	qemu, of, err := envToCopy(g, source)
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
	total, err := replaceTree(dir, qemu, of, stamp)
	if err != nil {
		return err
	}
	return printOut(fmt.Sprintf("%s: %d files, %d.%d MB\n", dir, len(qemu.allFiles()), total/1e6, total%1e6/1e5))
}

// envToCopy is the environment that buildTree copies, and what the copy's stamp says of it.
func envToCopy(g *globals, source string) (*qemuFiles, *treeStamp, error) {
	if source == "" {
		files, err := lookOnHost("", func(qemu string) (*qemuFiles, error) { return qemuFilesOf(g.root, qemu) })
		if err != nil {
			return nil, nil, err
		}
		of, err := stampOf(files)
		return files, of, err
	}
	files, of, err := wholeTree(source)
	if err != nil {
		return nil, nil, err
	}
	if digest, err := files.digest(-1); err != nil {
		return nil, nil, err
	} else if digest != of.key {
		return nil, nil, fmt.Errorf("%s is damaged: the digest of its %s is not the stamp's", source, files.QEMU)
	}
	files.Files = nil
	for path := range of.files {
		files.Files = append(files.Files, qemuFile{Host: filepath.Join(source, path), Guest: "/" + path})
	}
	return files, of, nil
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
