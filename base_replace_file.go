// Files that appear as a whole: written under a name of our own, then renamed.
//
// The directory may be another's (--pid-file, a checkpoint, the configuration
// of an engine). So nothing that is already there under our name is opened: it
// is removed, whether a killed runh or somebody else has left it. A planted
// link leads nowhere, and a planted FIFO holds up nobody. The rename replaces a
// link, it does not follow it.

package main

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// writeFile replaces a file as a whole: a reader sees the old or the new one.
func writeFile(path string, data []byte, mode uint32) error {
	return replaceFile(path, data, mode, false)
}

// replaceFile is writeFile; safe has the data on the disk before the rename.
func replaceFile(path string, data []byte, mode uint32, safe bool) error {
	fd, tmp, err := createBeside(path, mode)
	if err != nil {
		return err
	}
	for len(data) > 0 && err == nil {
		var n int
		if n, err = unix.Write(fd, data); err == unix.EINTR {
			err = nil
		}
		data = data[max(n, 0):]
	}
	if err == nil && safe {
		err = unix.Fsync(fd)
	}
	if closeErr := unix.Close(fd); err == nil {
		err = closeErr
	}
	if err != nil {
		unix.Unlink(tmp)
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	if err := unix.Rename(tmp, path); err != nil {
		unix.Unlink(tmp)
		return &os.LinkError{Op: "rename", Old: tmp, New: path, Err: err}
	}
	return nil
}

// createBeside makes the new file that is to replace another.
func createBeside(path string, mode uint32) (fd int, tmp string, err error) {
	tmp = path + newSuffix
	for range 10 { // others may race for the name
		fd, err = unix.Open(tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		if err != unix.EEXIST || unix.Unlink(tmp) != nil {
			break
		}
	}
	if err != nil {
		return -1, "", &fs.PathError{Op: "open", Path: tmp, Err: err}
	}
	return fd, tmp, nil
}
