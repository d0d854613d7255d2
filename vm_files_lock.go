// Locks on a tree of `runh env build`, which stays in step with the host's QEMU while containers start
// from it: a tree of another QEMU than the host's is built anew by whoever finds it first, beside the old
// one, and put in its place as a whole.
//
// Contract: who starts a container holds a shared lock on the tree's directory from the look at it until
// QEMU runs, who replaces it an exclusive one. The lock is flock(2) on the directory itself, so it needs no
// file of its own and ends with its holder. A tree without a stamp is the operator's: nobody touches it.

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockTree opens the directory and locks it, LOCK_SH or LOCK_EX. It may have been replaced while we
// waited: then the new one is wanted.
func lockTree(dir string, how int) (fd int, err error) {
	for {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		if err := flock(fd, how); err != nil {
			unix.Close(fd)
			return -1, &os.PathError{Op: "flock", Path: dir, Err: err}
		}
		var locked, there unix.Stat_t
		if unix.Fstat(fd, &locked) == nil && unix.Stat(dir, &there) == nil && locked.Dev == there.Dev && locked.Ino == there.Ino {
			return fd, nil
		}
		unix.Close(fd)
	}
}

// staleTree says whether a tree is ours and its QEMU on the host is another by now. One that is gone from
// the host is no reason: the tree is what keeps it. One of make qemu has none there.
func staleTree(dir string) (qemu string, stale bool) {
	stamp := readStamp(dir)
	if stamp == nil {
		return "", false
	}
	var st unix.Stat_t
	return stamp.qemu, stamp.built() == "" && unix.Stat(stamp.qemu, &st) == nil && qemuKey(stamp.qemu, &st) != stamp.key
}

// useTree is the tree in dir, locked until its QEMU runs; nil if there is none.
func useTree(stateRoot, dir string) (*qemuFiles, error) {
	for {
		lock, err := lockTree(dir, unix.LOCK_SH)
		if err != nil {
			return nil, nil // a directory that is not there holds no QEMU
		}
		qemu, stale := staleTree(dir)
		if !stale {
			files, err := treeQEMUFiles(dir)
			if files == nil {
				unix.Close(lock)
				return files, err
			}
			files.lock = lock
			return files, nil
		}
		unix.Close(lock)
		if err := rebuildTree(stateRoot, dir, qemu); err != nil {
			return nil, fmt.Errorf("hermit environment %s is of another QEMU than %s: %w", dir, qemu, err)
		}
	}
}

// rebuildTree builds a stale tree anew, if nobody else has meanwhile.
func rebuildTree(stateRoot, dir, qemu string) error {
	dir, err := filepath.EvalSymlinks(dir) // a link to the tree stays one
	if err != nil {
		return err
	}
	lock, err := lockTree(dir, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unix.Close(lock)
	stamp := readStamp(dir)
	if _, stale := staleTree(dir); !stale {
		return nil
	}
	files, err := qemuFilesOf(stateRoot, qemu)
	if err == nil && files == nil {
		err = errors.New("it is no program")
	}
	if err != nil {
		return err
	}
	of, err := stampOf(files)
	if err != nil {
		return err
	}
	_, err = replaceTree(dir, files, of, stamp)
	return err
}

// stampOf is the head of a stamp for a copy of the host's QEMU.
func stampOf(files *qemuFiles) (*treeStamp, error) {
	var st unix.Stat_t
	if err := unix.Stat(files.QEMU, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: files.QEMU, Err: err}
	}
	return &treeStamp{qemu: files.QEMU, key: qemuKey(files.QEMU, &st)}, nil
}

func (q *qemuFiles) unlock() {
	if q != nil && q.lock > 0 {
		unix.Close(q.lock)
		q.lock = 0
	}
}

// replaceTree makes a tree of env's files. It appears at its place as a whole,
// or not at all, and has all that the operator has put into the one before it.
// stamp is that one's, nil if nothing is there; of is the head of the new one's.
func replaceTree(dir string, qemu *qemuFiles, of, stamp *treeStamp) (total int64, err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return 0, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".")
	if err != nil {
		return 0, err
	}
	replaced := false
	defer func() {
		if !replaced { // all in it is ours, or a second name of the operator's
			os.RemoveAll(tmp)
		}
	}()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return 0, err
	}
	for _, f := range qemu.allFiles() {
		n, err := copyQEMUFile(f, filepath.Join(tmp, f.Guest))
		if err != nil {
			return 0, err
		}
		total += n
	}
	if err := writeStamp(tmp, of.qemu, of.key); err != nil {
		return 0, err
	}
	if stamp == nil {
		err = unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, dir, unix.RENAME_NOREPLACE)
	} else if err = stamp.takeOver(dir, tmp); err != nil {
		return 0, err
	} else {
		err = unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
	}
	if err != nil {
		return 0, fmt.Errorf("put the environment at %s: %w", dir, err)
	}
	replaced = true
	if stamp == nil {
		return total, nil
	}
	return total, stamp.removeTree(tmp, dir)
}

func copyQEMUFile(f qemuFile, to string) (int64, error) {
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
