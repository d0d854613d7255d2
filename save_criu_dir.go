// The directory of a criu checkpoint: criu writes into the directory itself if it holds none, otherwise beside it.
//
// Contract: a directory that holds a checkpoint goes over to the new one in one step, once that is whole and on the
// disk. A dump that fails leaves the old one as it was. Files that are no part of a checkpoint stay.

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// dumpDir is the directory of a dump.
type dumpDir struct {
	dir    string // that the caller has named
	beside string // where criu writes, "": there
}

// newDumpDir finds the place. A lazy dump's images are read while criu still runs, so that one writes where it is
// told to; and so does every other on a mount point, which cannot be renamed.
func newDumpDir(dir string, lazy bool) (*dumpDir, error) {
	d := &dumpDir{dir: dir}
	var st unix.Stat_t
	if err := unix.Stat(d.dir, &st); err != nil || lazy || !holdsDump(d.dir) || isMountPoint(d.dir) {
		return d, nil
	}
	real, err := filepath.EvalSymlinks(d.dir) // a link stays one
	if err != nil {
		return nil, err
	}
	d.dir = real
	beside := fmt.Sprintf("%s.%d.new", d.dir, os.Getpid())
	if err := os.Mkdir(beside, 0o700); err != nil {
		return nil, err
	}
	d.beside = beside
	// Whoever could enter the old one can enter the new one: criu itself, in a user namespace.
	err = os.Chown(beside, int(st.Uid), int(st.Gid))
	if err == nil {
		err = os.Chmod(beside, os.FileMode(st.Mode&0o777))
	}
	if err != nil {
		return nil, errors.Join(err, d.drop())
	}
	return d, nil
}

// images is the directory for criu.
func (d *dumpDir) images() string { return firstWord(d.beside, d.dir) }

// drop forgets a dump that has failed.
func (d *dumpDir) drop() error {
	if d.beside == "" {
		return nil
	}
	return os.RemoveAll(d.beside)
}

// commit puts the new checkpoint in the place of the old one. The container may be gone by now: a new one that does not
// get there is kept.
func (d *dumpDir) commit() error {
	if d.beside == "" {
		return nil
	}
	if err := syncFileSystem(d.beside); err != nil {
		return fmt.Errorf("the new checkpoint is %s: %w", d.beside, err)
	}
	old := d.beside
	err := unix.Renameat2(unix.AT_FDCWD, d.beside, unix.AT_FDCWD, d.dir, unix.RENAME_EXCHANGE)
	if err == unix.EINVAL || err == unix.ENOSYS { // this file system does not exchange: for a moment there is none of that name
		old = d.beside + ".old"
		if err = unix.Rename(d.dir, old); err == nil {
			err = unix.Rename(d.beside, d.dir)
		}
	}
	if err != nil {
		return fmt.Errorf("the new checkpoint is %s: put it in the place of %s: %w", d.beside, d.dir, err)
	}
	return errors.Join(d.keepOthers(old), os.RemoveAll(old), syncDir(filepath.Dir(d.dir)))
}

// keepOthers brings along what is no part of the old checkpoint: logs, and files of the caller's.
func (d *dumpDir) keepOthers(old string) error {
	entries, err := os.ReadDir(old)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if partOfDump(e.Name()) {
			continue
		}
		to := filepath.Join(d.dir, e.Name())
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		if err := os.Rename(filepath.Join(old, e.Name()), to); err != nil {
			return err
		}
	}
	return nil
}

// partOfDump: criu's images, their link to those before them, and runh's own files.
func partOfDump(name string) bool {
	switch name {
	case "parent", criuOutsideName, manifestName, stateName, stateOther:
		return true
	}
	return strings.HasSuffix(name, ".img")
}

// holdsDump says whether there is a checkpoint, of whatever kind.
func holdsDump(dir string) bool {
	for _, name := range []string{criuName, manifestName} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// isMountPoint: the kernel says so since Linux 5.8; else the rename fails.
func isMountPoint(dir string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, dir, 0, 0, &st)
	return err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

func syncFileSystem(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(d.Fd())))
}
