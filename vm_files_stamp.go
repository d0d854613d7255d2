// The stamp of a tree of `runh env build`. It tells runh's own files from the operator's: a tree may get a loader, a
// QEMU of one's own, a mount.
//
// Contract: the stamp lists each file as runh wrote it. A file that is not listed, or is no longer as it was
// written, is the operator's: a newer tree takes it over, the same inode under the same name, and no removal
// reaches it. A directory without a stamp is the operator's as a whole. make qemu stamps its trees, too
// (testdata/qemu/build.sh).

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// treeStampName in a tree has the path of the QEMU that it was built of, that QEMU's key, and a line for each file. A tree of
// make qemu has "qemu VERSION" and the program's SHA-256 in their place.
const treeStampName = ".runh-env"

// stampMax bounds a stamp; a tree of two hundred libraries has one of 20 kB.
const stampMax = 1 << 20

// treeStamp is a stamp that was read.
type treeStamp struct {
	qemu, key string
	files     map[string]string // what runh wrote, by path beneath the tree: fileMark
}

// readStamp returns nil for a tree that is not runh's.
func readStamp(dir string) *treeStamp {
	text, err := readFile(filepath.Join(dir, treeStampName), stampMax)
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) < 3 {
		return nil // not a whole stamp, or one without a list
	}
	s := &treeStamp{lines[0], lines[1], map[string]string{}}
	for _, line := range lines[2:] {
		mark, path, _ := strings.Cut(line, " ")
		s.files[path] = mark
	}
	return s
}

// built is the QEMU that make qemu built the tree of, "" for any other tree.
func (s *treeStamp) built() string {
	if s == nil || filepath.IsAbs(s.qemu) {
		return ""
	}
	return s.qemu
}

// wholeTree is the environment in a tree of make qemu, and its stamp, if all files are as they were built.
func wholeTree(dir string) (*qemuFiles, *treeStamp, error) {
	stamp := readStamp(dir)
	if stamp.built() == "" {
		return nil, nil, fmt.Errorf("%s is no tree of make qemu: it has no such stamp (%s)", dir, treeStampName)
	}
	for path, mark := range stamp.files {
		if info, err := os.Lstat(filepath.Join(dir, path)); err != nil {
			return nil, nil, fmt.Errorf("%s is not whole: %w", dir, err)
		} else if fileMark(info) != mark {
			return nil, nil, fmt.Errorf("%s is not as it was built: %s has another mode, size or time (cp -a keeps them)", dir, path)
		}
	}
	qemu, err := treeQEMUFiles(dir)
	if err == nil && qemu == nil {
		err = fmt.Errorf("%s has no QEMU", dir)
	}
	return qemu, stamp, err
}

// writeStamp lists what is in the tree.
func writeStamp(dir, qemu, key string) error {
	text := qemu + "\n" + key + "\n"
	err := walkTree(dir, func(path string, info fs.FileInfo) error {
		text += fileMark(info) + " " + path + "\n"
		return nil
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, treeStampName), []byte(text), 0o644)
}

// fileMark changes with a file's kind, mode, size or time.
func fileMark(info fs.FileInfo) string {
	return fmt.Sprintf("%v/%d/%d", info.Mode(), info.Size(), info.ModTime().UnixNano())
}

// walkTree calls do for all but the directories and the stamp.
func walkTree(dir string, do func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if path, err = filepath.Rel(dir, path); err != nil || path == treeStampName {
			return err
		}
		return do(path, info)
	})
}

// takeOver gives the new tree what the operator has in the old one: the same inodes, so that owner, mode and
// attributes are kept. Another file system that is mounted in the tree cannot be taken over: that is an error, and
// the old tree stays.
func (s *treeStamp) takeOver(old, tree string) error {
	var here, st unix.Stat_t
	if err := unix.Lstat(old, &here); err != nil {
		return &os.PathError{Op: "lstat", Path: old, Err: err}
	}
	return filepath.WalkDir(old, func(from string, e fs.DirEntry, err error) error {
		if err == nil {
			err = unix.Lstat(from, &st)
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(old, from)
		if err != nil || name == treeStampName {
			return err
		}
		to := filepath.Join(tree, name)
		if e.IsDir() {
			if st.Dev != here.Dev {
				return fmt.Errorf("%s is a mount: unmount it first", from)
			}
			err := os.Mkdir(to, 0o700)
			if name == "." {
				err = nil
			} else if errors.Is(err, os.ErrExist) {
				return nil // runh's own, with runh's mode
			}
			if err != nil {
				return err
			}
			return errors.Join(os.Lchown(to, int(st.Uid), int(st.Gid)), unix.Chmod(to, st.Mode&0o7777))
		}
		info, err := e.Info()
		if err != nil || s.files[name] == fileMark(info) {
			return err
		}
		if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) { // runh's new one
			return err
		}
		if err := os.Link(from, to); err != nil {
			return fmt.Errorf("%s is not runh's and cannot be taken over: %w", from, err)
		}
		return nil
	})
}

// removeTree removes a tree that another has replaced: the names that are in the new one too, or that runh wrote, and
// the directories that are empty then.
func (s *treeStamp) removeTree(old, tree string) error {
	var dirs []string
	err := filepath.WalkDir(old, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			dirs = append(dirs, path)
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(old, path)
		if err != nil {
			return err
		}
		taken, err := os.Lstat(filepath.Join(tree, name))
		if name == treeStampName || s.files[name] == fileMark(info) || err == nil && os.SameFile(info, taken) {
			return os.Remove(path)
		}
		return nil
	})
	for _, dir := range slices.Backward(dirs) {
		if err == nil {
			err = os.Remove(dir)
		}
	}
	if err != nil { // the operator has put a file there just now
		return fmt.Errorf("the new tree is in place, the old one is left: %w", err)
	}
	return nil
}
