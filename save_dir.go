// The directory of a saved guest, as checkpoint writes it. save_manifest.go reads it.
//
// Contract: the state goes into a file without a name, and gets one only when all of it is there and safe
// on the disk. What fails or is killed before that leaves what was there before: the kernel drops the file.
// A directory that holds a checkpoint already goes over from the old one to the new one in one step, the
// rename of the manifest, which names its state: the state has two names to choose from.

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
	fresh bool // it is not there yet
	where int  // directory in which the state's file is, without a name
	state *os.File
}

// newImage makes the state's file, in dir if that is there, else beside it.
func newImage(dir string) (*image, error) {
	i := &image{dir: dir}
	at := dir
	if _, err := os.Stat(dir); err != nil {
		i.fresh, at = true, filepath.Dir(dir)
		if err := os.MkdirAll(at, 0o700); err != nil {
			return nil, err
		}
	}
	var err error
	if i.where, err = unix.Open(at, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil, &os.PathError{Op: "open", Path: at, Err: err}
	}
	state, err := unix.Openat(i.where, ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		unix.Close(i.where)
		return nil, fmt.Errorf("a file without a name in %s: %w", at, err)
	}
	i.state = os.NewFile(uintptr(state), dir+"/"+stateName)
	return i, nil
}

func (i *image) close() {
	i.state.Close()
	unix.Close(i.where)
}

// commit gives the files their names, the manifest last: a directory without it is no checkpoint. A
// directory that is new appears with both. Until then it has a name of its own, which a kill would leave:
// nothing that takes time, like a sync, is done in between.
func (i *image) commit(m *manifest) error {
	if !i.fresh {
		return i.replace(m)
	}
	dir := i.dir + fmt.Sprintf(".%d.new", os.Getpid())
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	err := i.nameState(dir, stateName)
	if err == nil {
		err = nameManifest(dir, m, false)
	}
	if err == nil {
		if err = os.Rename(dir, i.dir); err == nil {
			dir = i.dir
			err = syncDir(dir)
		}
	}
	if err != nil {
		os.RemoveAll(dir)
	}
	return err
}

// replace puts the checkpoint in the place of one that may be there.
func (i *image) replace(m *manifest) error {
	old := stateOther // so that a directory without a checkpoint gets the usual name
	if there, err := openSaved(i.dir, false); err == nil {
		there.state.Close()
		old = there.stateFile()
	}
	name := stateName
	if old == stateName {
		name, m.StateAt = stateOther, stateOther
	}
	if err := i.nameState(i.dir, name); err != nil {
		return err
	}
	if err := nameManifest(i.dir, m, true); err != nil {
		return errors.Join(err, os.Remove(filepath.Join(i.dir, name)))
	}
	if err := syncDir(i.dir); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(i.dir, old)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// nameState gives the state's file a name, which only a checkpoint that was never finished can have.
func (i *image) nameState(dir, name string) error {
	path := filepath.Join(dir, name)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	fd := fmt.Sprintf("/proc/self/fd/%d", i.state.Fd())
	if err := unix.Linkat(unix.AT_FDCWD, fd, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW); err != nil {
		return &os.LinkError{Op: "link", Old: "the state", New: path, Err: err}
	}
	return nil
}

// nameManifest writes the manifest. safe has it on the disk before it takes the place of another.
func nameManifest(dir string, m *manifest, safe bool) error {
	inventory := filepath.Join(dir, criuName)
	if _, err := os.Stat(inventory); err != nil { // else it can be that of criu's own checkpoint, still the one that counts
		if err := writeFile(inventory, nil, 0o600); err != nil {
			return err
		}
	}
	return replaceFile(filepath.Join(dir, manifestName), m.encode(), 0o600, safe)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
