// Small files and paths, read without Go's poller, whose start costs more than the reading.
//
// Contract: every read has a bound. What is opened beneath a root by a name of the image's is resolved there
// (openat2, RESOLVE_IN_ROOT, no magic links), and opened for reading only if it is a regular file.

package main

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// configMax bounds config.json: the largest seen in the wild are under 100 KiB,
// and an engine's mistake must not fill the memory.
const configMax = 16 << 20

// newSuffix ends the name under which a file is written.
const newSuffix = ".runh-new"

// readFile reads a file of at most limit bytes. Unlike os.ReadFile it does not
// start Go's poller, which costs more than the reading.
func readFile(path string, limit int) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	data := make([]byte, 0, min(16<<10, limit+1))
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := unix.Read(fd, data[len(data):cap(data)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return data, nil
		default:
			data = data[:len(data)+n]
		}
		if len(data) > limit {
			return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
		}
	}
}

// readSome reads the first bytes of a file of the kernel's.
func readSome(path string, n int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	n, err = f.Read(b)
	return b[:n], err
}

// sameFile: do two paths lead to one file? It also tells whether two namespaces are one.
func sameFile(a, b string) bool {
	var x, y unix.Stat_t
	return unix.Stat(a, &x) == nil && unix.Stat(b, &y) == nil && x.Dev == y.Dev && x.Ino == y.Ino
}

// openInRoot opens the regular file p beneath root for reading.
//
// Two steps, because opening is not harmless: an image can hold a device node, and the mere open of
// a watchdog reboots the host. O_PATH touches nothing; only what fstat then shows to be a regular
// file is opened, through the descriptor and so without a second resolution.
func openInRoot(root int, p string) (*os.File, *unix.Stat_t, error) {
	fd, err := openBeneath(root, p)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: p, Err: err}
	}
	defer unix.Close(fd)
	return openRegular(fd, p)
}

// openBeneath opens whatever p is beneath root, and touches nothing (O_PATH).
func openBeneath(root int, p string) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(root, p, &how)
		if err != unix.EINTR && err != unix.EAGAIN { // EAGAIN: openat2(2), a rename raced with ".."
			return fd, err
		}
	}
}

// openRegular opens for reading what the O_PATH descriptor fd refers to, if that is a regular file.
func openRegular(fd int, p string) (*os.File, *unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, nil, &os.PathError{Op: "stat", Path: p, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, nil, fmt.Errorf("%s is not a regular file", p)
	}
	rfd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: p, Err: err}
	}
	return os.NewFile(uintptr(rfd), p), &st, nil
}

// flock locks an open file or directory: flock(2).
func flock(fd, how int) error {
	_, err := ignoringEINTR(func() (int, error) { return 0, unix.Flock(fd, how) })
	return err
}

// ignoringEINTR repeats a call that a signal has interrupted.
func ignoringEINTR(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}
