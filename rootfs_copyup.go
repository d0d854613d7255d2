// A tmpfs and the directory that it covers. It takes over the mode, if its options name none. With tmpcopyup it
// gets a copy, owner included, which engines ask for in images whose rootfs is read-only (/run, /tmp).
//
// Contract: the image is hostile, so both trees are walked by descriptor and no link is followed. A tmpfs that
// covers nothing has the kernel's mode, 1777.

package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// modeRoom is what "mode=0000," takes.
const modeRoom = len("mode=0000,")

// looksBelow says whether the mount depends on what it covers.
func (m *mountRequest) looksBelow() bool {
	return m.fstype == "tmpfs" && (m.tmpcopyup || !m.hasOption("mode"))
}

// hasOption says whether the file system's options set this one.
func (m *mountRequest) hasOption(name string) bool {
	for _, word := range m.data {
		for option := range strings.SplitSeq(word, ",") {
			if strings.HasPrefix(option, name+"=") {
				return true
			}
		}
	}
	return false
}

// takeCovered looks at what a tmpfs is about to cover, and takes the descriptor.
func (p *program) takeCovered(m *mountRequest, fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return fmt.Errorf("mount tmpfs on %s: %w", m.dest, os.NewSyscallError("fstat", err))
	}
	if !m.hasOption("mode") {
		text := strings.Join(append([]string{fmt.Sprintf("mode=%04o", st.Mode&0o7777)}, m.data...), ",")
		copy(p.view(m.options, len(text)), text)
	}
	if m.tmpcopyup {
		m.covered = fd
		return nil
	}
	return unix.Close(fd)
}

// copyUp copies what the mount has covered into another directory, here the
// init's cwd. Both trees are only walked by descriptors, and no link is followed:
// the image is hostile.
func copyUp(m *mountRequest, into string) error {
	if m.covered == 0 {
		return nil
	}
	defer unix.Close(m.covered)
	from, err := unix.Openat(m.covered, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	to, err := unix.Open(into, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(from)
		return err
	}
	if err := copyOwner(m, from, to); err != nil {
		unix.Close(from)
		unix.Close(to)
		return err
	}
	return copyTree(from, to)
}

// copyOwner gives the tmpfs the owner of what it covers, where the options name
// none. The mode again after that, for a change of owner clears the set-id bits.
func copyOwner(m *mountRequest, from, to int) error {
	var old, now unix.Stat_t
	if err := unix.Fstat(from, &old); err != nil {
		return err
	}
	if err := unix.Fstat(to, &now); err != nil {
		return err
	}
	uid, gid := int(old.Uid), int(old.Gid)
	if m.hasOption("uid") {
		uid = int(now.Uid)
	}
	if m.hasOption("gid") {
		gid = int(now.Gid)
	}
	if uid == int(now.Uid) && gid == int(now.Gid) {
		return nil
	}
	if err := unix.Fchown(to, uid, gid); err != nil {
		return err
	}
	return unix.Fchmod(to, now.Mode&0o7777)
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
