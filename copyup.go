// tmpcopyup: a tmpfs that begins with a copy of what it covers. Engines ask for
// it for /run and /tmp of images whose rootfs is read-only.
package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// copyUp copies the directory dest of the image into another directory, here
// the init's cwd. Both trees are only walked by descriptors, and no link is
// followed: the image is hostile.
func copyUp(rootfs, dest, into string) error {
	root, err := unix.Open(rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("tmpcopyup %s: %w", dest, err)
	}
	defer unix.Close(root)
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	from, err := unix.Openat2(root, beneath(dest), &how)
	if err != nil {
		return fmt.Errorf("tmpcopyup %s: %w", dest, err)
	}
	to, err := unix.Open(into, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(from)
		return fmt.Errorf("tmpcopyup %s: %w", dest, err)
	}
	if err := copyTree(from, to); err != nil {
		return fmt.Errorf("tmpcopyup %s: %w", dest, err)
	}
	return nil
}

// copyTree copies a directory's entries and closes both descriptors.
func copyTree(from, to int) error {
	source, target := os.NewFile(uintptr(from), "from"), os.NewFile(uintptr(to), "to")
	defer source.Close()
	defer target.Close()
	names, err := source.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := copyEntry(from, to, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func copyEntry(from, to int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	mode := st.Mode & 0o7777
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if err = unix.Mkdirat(to, name, mode); err != nil {
			return err
		}
		const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		var in, out int
		if in, err = unix.Openat(from, name, flags, 0); err != nil {
			return err
		}
		if out, err = unix.Openat(to, name, flags, 0); err != nil {
			unix.Close(in)
			return err
		}
		err = copyTree(in, out)
	case unix.S_IFREG:
		err = copyFile(from, to, name, mode)
	case unix.S_IFLNK:
		link := make([]byte, unix.PathMax)
		var n int
		if n, err = unix.Readlinkat(from, name, link); err == nil {
			err = unix.Symlinkat(string(link[:n]), to, name)
		}
	default: // device, pipe, socket
		err = unix.Mknodat(to, name, st.Mode, int(st.Rdev))
	}
	if err != nil {
		return err
	}
	if err := unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		// After the change of owner, which clears the set-id bits.
		return unix.Fchmodat(to, name, mode, 0)
	}
	return nil
}

func copyFile(from, to int, name string, mode uint32) error {
	in, err := unix.Openat(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	source := os.NewFile(uintptr(in), name)
	defer source.Close()
	out, err := unix.Openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return err
	}
	target := os.NewFile(uintptr(out), name)
	if _, err := io.Copy(target, source); err != nil {
		target.Close()
		return err
	}
	return target.Close()
}
