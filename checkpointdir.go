// checkpointdir.go writes the directory of a saved guest, which manifest.go reads.
//
// Contract: the state goes into a file without a name, and gets one only when all of it is there and safe
// on the disk. What fails or is killed before that leaves what was there before: the kernel drops the file.

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// criuName is a file of CRIU's without which podman takes a directory for no checkpoint. Nothing is in it.
const criuName = "inventory.img"

// image is a directory with a checkpoint, to be.
type image struct {
	dir   string
	where int // directory in which the state's file is, without a name
	state *os.File
}

// newImage makes the state's file, in dir if that is there, else beside it.
func newImage(dir string) (*image, error) {
	at := dir
	if _, err := os.Stat(dir); err != nil {
		at = filepath.Dir(dir)
		if err := os.MkdirAll(at, 0o700); err != nil {
			return nil, err
		}
	}
	fd, err := unix.Open(at, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: at, Err: err}
	}
	state, err := unix.Openat(fd, ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("a file without a name in %s: %w", at, err)
	}
	return &image{dir: dir, where: fd, state: os.NewFile(uintptr(state), dir+"/"+stateName)}, nil
}

func (i *image) close() {
	i.state.Close()
	unix.Close(i.where)
}

// commit gives the files their names, the manifest last: a directory without it is no checkpoint. A
// directory that is new appears with both. Until then it has a name of its own, which a kill would leave:
// nothing that takes time, like a sync, is done in between.
func (i *image) commit(m *manifest) error {
	dir, data := i.dir, m.encode()
	_, err := os.Stat(dir)
	fresh := err != nil
	if fresh {
		dir += fmt.Sprintf(".%d.new", os.Getpid())
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	if err = i.name(dir, data); err == nil && fresh {
		if err = os.Rename(dir, i.dir); err == nil {
			dir = i.dir
		}
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil && fresh {
		os.RemoveAll(dir)
	}
	return err
}

func (i *image) name(dir string, manifest []byte) error {
	for _, old := range []string{manifestName, stateName} { // of a checkpoint that was there before
		if err := os.Remove(filepath.Join(dir, old)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	fd := fmt.Sprintf("/proc/self/fd/%d", i.state.Fd())
	if err := unix.Linkat(unix.AT_FDCWD, fd, unix.AT_FDCWD, filepath.Join(dir, stateName), unix.AT_SYMLINK_FOLLOW); err != nil {
		return &os.LinkError{Op: "link", Old: "the state", New: filepath.Join(dir, stateName), Err: err}
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{criuName, nil}, {manifestName, manifest}} {
		if err := writeFile(filepath.Join(dir, f.name), f.data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
