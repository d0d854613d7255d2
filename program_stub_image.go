// The file that the stub is executed from: the interpreter as an ELF program,
// in a sealed memfd. Where the host forbids to execute those (vm.memfd_noexec=2)
// it is a file without a name, that only this one start has.

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stubCode is where the machine code begins; program_stub_amd64.s takes its address.
//
//lint:ignore U1000 called by nobody here
func stubCode()

func stubAddress() *byte

// stubImage opens a new image.
func stubImage() (int, error) {
	fd, err := unix.MemfdCreate("runh:init", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3 every memfd is executable and MFD_EXEC is unknown
		fd, err = unix.MemfdCreate("runh:init", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err == unix.EACCES {
		return fileImage()
	}
	if err != nil {
		return -1, fmt.Errorf("stub: %w", os.NewSyscallError("memfd_create", err))
	}
	_, err = unix.Write(fd, stubELF())
	if err == nil {
		const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("stub: write its image: %w", err)
	}
	return fd, nil
}

// fileImage is an image on a file system of its own, which is mounted nowhere
// and read-only in the end. An ordinary user has to take a directory of the
// host's instead.
func fileImage() (int, error) {
	dir, err := privateTmpfs()
	if err == nil {
		defer unix.Close(dir)
		var image int
		if image, err = unnamedFile(dir); err == nil {
			err = unix.MountSetattr(dir, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
			if err != nil {
				unix.Close(image)
			}
		}
		if err == nil {
			return image, nil
		}
	}
	for _, name := range []string{os.Getenv("XDG_RUNTIME_DIR"), "/tmp", "/var/tmp", "/dev/shm"} {
		dir, openErr := unix.Open(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if openErr != nil {
			continue
		}
		image, fileErr := unnamedFile(dir)
		unix.Close(dir)
		if fileErr == nil {
			return image, nil
		}
	}
	return -1, fmt.Errorf("stub: vm.memfd_noexec is 2, and neither a private tmpfs (%w) nor a directory for temporary files can hold the program", err)
}

func privateTmpfs() (dir int, err error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, os.NewSyscallError("fsconfig", err)
	}
	dir, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	return dir, os.NewSyscallError("fsmount", err)
}

// unnamedFile writes the image. The descriptor that is left cannot write, or
// the execve would find the file busy.
func unnamedFile(dir int) (int, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(dir, &fs); err != nil {
		return -1, os.NewSyscallError("fstatfs", err)
	}
	if fs.Flags&unix.ST_NOEXEC != 0 {
		return -1, errors.New("mounted noexec")
	}
	out, err := unix.Openat(dir, ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o500)
	if err != nil {
		return -1, os.NewSyscallError("openat", err)
	}
	defer unix.Close(out)
	if _, err := unix.Write(out, stubELF()); err != nil {
		return -1, os.NewSyscallError("write", err)
	}
	image, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", out), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return image, os.NewSyscallError("open", err)
}

// Where the code lies in the stub's memory.
const stubBase, stubHeaders = 0x400000, 64 + 2*56

// stubBytes is the interpreter, up to its end mark.
func stubBytes() []byte {
	code := unsafe.Slice(stubAddress(), 1024)
	return code[:bytes.Index(code, []byte{0x0f, 0x0b, 0x0f, 0x0b})]
}

// stubHandler is the address of the stub's signal handler, which follows the last mark.
func stubHandler() uint64 {
	mark := []byte{0x0f, 0x0b}
	return uint64(stubBase + stubHeaders + bytes.LastIndex(stubBytes(), mark) + len(mark))
}

// stubELF wraps the interpreter's machine code: one segment, read and execute.
func stubELF() []byte {
	code := stubBytes()
	type programHeader struct {
		Type, Flags                                  uint32
		Offset, Vaddr, Paddr, Filesz, Memsz, Aligned uint64
	}
	var b bytes.Buffer
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 8: 0, 15: 0})
	size := uint64(stubHeaders + len(code))
	for _, part := range []any{
		[]uint16{2, 62},
		uint32(1),                                                        // executable, x86-64
		uint64(stubBase + stubHeaders), uint64(64), uint64(0), uint32(0), // entry, program headers, no sections
		[]uint16{64, 56, 2, 64, 0, 0},
		programHeader{Type: 1, Flags: 5, Vaddr: stubBase, Paddr: stubBase, Filesz: size, Memsz: size, Aligned: 4096},
		programHeader{Type: 0x6474e551, Flags: 6}, // PT_GNU_STACK: the stack is not executable
	} {
		binary.Write(&b, binary.LittleEndian, part) // a bytes.Buffer does not fail
	}
	b.Write(code)
	return b.Bytes()
}
