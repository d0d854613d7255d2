// hermit.go tells whether a container's program is a Hermit application, and on which machine it can
// boot. Contract: the image is hostile. Every path is resolved beneath the container's root (openat2,
// RESOLVE_IN_ROOT), only regular files are ever opened for reading, what is read is bounded, and what
// comes back is an open descriptor, so that nobody resolves the image's paths a second time.

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What a Hermit application looks like: hermit-entry, src/note.rs and src/elf.rs.
const (
	hermitOSABI    = 0xff   // e_ident[EI_OSABI], ELFOSABI_STANDALONE; put there by Hermit's own build on purpose
	hermitMachine  = 62     // EM_X86_64
	hermitEntryABI = 4      // the entry version that loaders since 0.5.0 (2024) demand
	noteHermit     = 0x5a00 // name HERMIT: one byte, the entry version
	noteGNU        = 1      // name GNU, first word 6: the kernel's version, since kernel 0.10
	noteXenPVH     = 18     // name Xen: the entry point for a boot without a loader

	elfHeaderLen = 64
	elfPhdrLen   = 56
	maxPhdrs     = 64       // a Hermit application has about ten
	maxNotes     = 64 << 10 // bytes of all notes together
	maxDynamic   = 64 << 10 // bytes of the dynamic section
	maxScan      = 64 << 20 // bytes searched for the kernel's features
)

// hermitApp is a recognised Hermit application, open for reading.
type hermitApp struct {
	file     *os.File
	path     string    // in the container; for look-ups beside it and for messages
	size     int64     // bytes
	entryABI int       // version of Hermit's entry protocol, 0 without such a note
	kernel   [3]uint32 // version of the Hermit kernel inside, zero before 0.10
	pvh      bool      // bootable without a loader
	rodata   []elfSpan // where the kernel's texts are
}

// elfSpan is a part of the file: the bytes of one read-only segment.
type elfSpan struct{ off, len int64 }

// detectHermit looks at the program arg0 of a container whose root directory is root (an O_PATH
// descriptor). It returns nil, nil for anything that is not a Hermit application, and an error for
// one that cannot boot. mode is the annotation org.hermit-os.runh.mode: "auto" or "" looks, "linux"
// does not, and "hermit" makes everything else an error.
//
// A container with an ordinary program pays one openat2, one fstat, one open and one pread.
func detectHermit(root int, cwd, arg0 string, env []string, mode string) (*hermitApp, error) {
	switch mode {
	case "linux":
		return nil, nil
	case "", "auto", "hermit":
	default:
		return nil, fmt.Errorf("annotation %smode is %q: allowed are auto, hermit, linux", annotationPrefix, mode)
	}
	f, size, p, err := openProgram(root, cwd, arg0, env)
	if err == nil {
		var app *hermitApp
		if app, err = readHermit(f, size, p); app != nil {
			return app, nil
		}
		f.Close()
	}
	var not notHermit
	if errors.As(err, &not) && mode != "hermit" {
		return nil, nil
	}
	return nil, fmt.Errorf("%s: %w", arg0, err)
}

// engineInit says whether engines bind an init of theirs there, to run it before the program as process 1: docker, podman and nerdctl run --init.
func engineInit(p string) bool {
	return p == "/sbin/docker-init" || p == "/run/podman-init" || p == "/sbin/tini"
}

// pastInit is a program without that init, which could only crash on a Hermit application; a guest's process 1 is its keeper.
func pastInit(args []string) []string {
	if len(args) > 2 && engineInit(args[0]) && args[1] == "--" && args[2] != "" {
		return args[2:]
	}
	return args
}

// notHermit says why a file is not a Hermit application. Unless the user asked for one, that is no
// error: the kernel's execve will have its own opinion of the file.
type notHermit string

func (e notHermit) Error() string { return "not a Hermit application: " + string(e) }

// openProgram finds arg0 as execvp(3) would inside root: a name without a slash along the
// container's own PATH, a relative path from cwd.
func openProgram(root int, cwd, arg0 string, env []string) (*os.File, int64, string, error) {
	if arg0 == "" {
		return nil, 0, "", notHermit("the name is empty")
	}
	if strings.Contains(arg0, "/") {
		p := path.Join("/", arg0)
		if arg0[0] != '/' {
			p = path.Join("/", cwd, arg0)
		}
		f, st, err := openInRoot(root, p)
		if err != nil {
			return nil, 0, "", notHermit(err.Error())
		}
		return f, st.Size, p, nil
	}
	dirs := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			dirs = v
		}
	}
	for _, d := range strings.Split(dirs, ":") {
		if !strings.HasPrefix(d, "/") {
			continue
		}
		p := path.Join(d, arg0)
		f, st, err := openInRoot(root, p)
		if err != nil {
			continue
		}
		if st.Mode&0o111 != 0 {
			return f, st.Size, p, nil
		}
		f.Close()
	}
	return nil, 0, "", notHermit("no such program in PATH=" + dirs)
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

// readHermit reads the headers of f. The error is a notHermit as long as the file has not shown
// Hermit's mark, and a description of the damage afterwards.
func readHermit(f *os.File, size int64, p string) (*hermitApp, error) {
	var h [elfHeaderLen]byte
	n, err := preadFull(f, h[:], 0)
	if err != nil {
		return nil, notHermit(err.Error())
	}
	if n >= 2 && h[0] == 0x1f && h[1] == 0x8b {
		return nil, notHermit("it is gzip-compressed, an image for uhyve; QEMU needs the plain ELF file")
	}
	if n < 8 || string(h[:4]) != "\x7fELF" || h[7] != hermitOSABI {
		switch {
		case n < 4 || n < elfHeaderLen && string(h[:4]) == "\x7fELF":
			return nil, notHermit(fmt.Sprintf("%d bytes are too short for an ELF header (%d bytes)", n, elfHeaderLen))
		case string(h[:4]) != "\x7fELF":
			return nil, notHermit("it is no ELF file")
		}
		return nil, notHermit(fmt.Sprintf("its ELF OS ABI is %d, Hermit's is %d", h[7], hermitOSABI))
	}
	// From here it is Hermit's, and whatever is wrong is an error.
	bad := func(format string, args ...any) (*hermitApp, error) {
		return nil, fmt.Errorf("corrupt Hermit application: "+format, args...)
	}
	if n < elfHeaderLen {
		return bad("the file has %d bytes, an ELF header %d", n, elfHeaderLen)
	}
	le := binary.LittleEndian
	if h[4] != 2 || h[5] != 1 || le.Uint16(h[18:]) != hermitMachine {
		return nil, fmt.Errorf("a Hermit application for another machine (%s); this host runs x86_64", elfMachineName(h[:]))
	}
	if t := le.Uint16(h[16:]); t != 2 && t != 3 {
		return bad("ELF type %d, allowed are 2 (executable) and 3 (position-independent)", t)
	}
	phs, err := readPhdrs(f, h[:])
	if err != nil {
		return bad("%w", err)
	}
	app := &hermitApp{file: f, path: p, size: size}
	notes := 0
	for _, ph := range phs {
		if ph.typ != ptLoad && ph.typ != ptNote && ph.typ != ptDynamic {
			continue
		}
		if ph.off > uint64(size) || ph.filesz > uint64(size)-ph.off {
			return bad("truncated: a segment of %d bytes at byte %d, the file has %d", ph.filesz, ph.off, size)
		}
		off, filesz := int64(ph.off), int64(ph.filesz)
		switch ph.typ {
		case ptLoad:
			if ph.flags&2 == 0 { // not writable
				app.rodata = append(app.rodata, elfSpan{off, filesz})
			}
		case ptNote:
			if notes += int(min(filesz, maxNotes+1)); notes > maxNotes {
				return bad("more than %d bytes of notes", maxNotes)
			}
			b := make([]byte, filesz)
			if n, err := preadFull(f, b, off); err != nil || n < len(b) {
				return bad("truncated: its notes cannot be read")
			}
			app.readNotes(b)
		case ptDynamic:
			b := make([]byte, min(filesz, maxDynamic))
			n, err := preadFull(f, b, off)
			if err != nil {
				return bad("its dynamic section cannot be read: %w", err)
			}
			for b = b[:n]; len(b) >= 16 && le.Uint64(b) != 0; b = b[16:] {
				if le.Uint64(b) == dtNeeded {
					return bad("it is linked to shared libraries, which no loader can find")
				}
			}
		}
	}
	return app, nil
}

// ELF constants: elf(5).
const (
	ptLoad, ptDynamic, ptInterp, ptNote = 1, 2, 3, 4
	dtNeeded                            = 1
)

// elfPhdr is what concerns us of a program header.
type elfPhdr struct {
	typ, flags  uint32
	off, filesz uint64
}

// readPhdrs reads the program headers of a 64-bit, little-endian file whose ELF header is h.
func readPhdrs(f *os.File, h []byte) ([]elfPhdr, error) {
	le := binary.LittleEndian
	off, entsize, num := le.Uint64(h[32:]), int(le.Uint16(h[54:])), int(le.Uint16(h[56:]))
	if entsize != elfPhdrLen || num == 0 || num > maxPhdrs {
		return nil, fmt.Errorf("%d program headers of %d bytes, allowed are 1 to %d of %d", num, entsize, maxPhdrs, elfPhdrLen)
	}
	b := make([]byte, num*elfPhdrLen)
	if off > math.MaxInt64-uint64(len(b)) {
		return nil, fmt.Errorf("program headers at byte %d", off)
	}
	if n, err := preadFull(f, b, int64(off)); err != nil || n < len(b) {
		return nil, errors.New("truncated: the file ends before its program headers")
	}
	phs := make([]elfPhdr, num)
	for i := range phs {
		p := b[i*elfPhdrLen:]
		phs[i] = elfPhdr{le.Uint32(p), le.Uint32(p[4:]), le.Uint64(p[8:]), le.Uint64(p[32:])}
	}
	return phs, nil
}

// readNotes takes what concerns us from one PT_NOTE segment. A damaged note ends the reading, as in
// every other reader of notes; a missing one is judged by checkEntry.
func (a *hermitApp) readNotes(b []byte) {
	le := binary.LittleEndian
	for len(b) >= 12 {
		namesz, descsz, typ := le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:])
		b = b[12:]
		nameLen, descLen := (uint64(namesz)+3)&^3, (uint64(descsz)+3)&^3
		if nameLen > uint64(len(b)) || uint64(descsz) > uint64(len(b))-nameLen {
			return
		}
		name := string(bytes.TrimRight(b[:namesz], "\x00"))
		desc := b[nameLen:][:descsz]
		b = b[nameLen:][min(descLen, uint64(len(b))-nameLen):]
		switch {
		case name == "HERMIT" && typ == noteHermit && len(desc) >= 1:
			a.entryABI = int(desc[0])
		case name == "GNU" && typ == noteGNU && len(desc) >= 16 && le.Uint32(desc) == 6:
			a.kernel = [3]uint32{le.Uint32(desc[4:]), le.Uint32(desc[8:]), le.Uint32(desc[12:])}
		case name == "Xen" && typ == noteXenPVH:
			a.pvh = true
		}
	}
}

// machineFor says which machine the kernel inside can boot on. A kernel built with ACPI panics
// without its tables, one built with PCI drives nothing else, and a microvm has neither (its PCI
// bus exists, but with every address 0). The features are told by texts that such kernels contain;
// in doubt the answer is pc, where the other kernels boot too, only without a network device.
func (a *hermitApp) machineFor() (string, error) {
	found, err := a.contains("requires an ACPI-compliant system", " PCI BUS INFORMATION ")
	if err != nil {
		return "", err
	}
	return map[bool]string{true: "pc", false: "microvm"}[found], nil
}

// contains says whether one of these short texts is in the application, or may be: a file that is too large
// to be searched, or shrinks meanwhile, could hold anything.
func (a *hermitApp) contains(texts ...string) (bool, error) {
	const overlap = 64
	buf := make([]byte, 256<<10)
	left := int64(maxScan)
	for _, s := range a.rodata {
		kept := 0
		for s.len > 0 {
			if left <= 0 {
				return true, nil
			}
			n, err := preadFull(a.file, buf[kept:kept+int(min(s.len, int64(len(buf)-kept)))], s.off)
			if err != nil {
				return false, fmt.Errorf("read %s: %w", a.path, err)
			}
			if n == 0 {
				return true, nil
			}
			s.off, s.len, left = s.off+int64(n), s.len-int64(n), left-int64(n)
			b := buf[:kept+n]
			for _, text := range texts {
				if bytes.Contains(b, []byte(text)) {
					return true, nil
				}
			}
			kept = copy(buf, b[max(0, len(b)-overlap):])
		}
	}
	return false, nil
}

// atLeast says whether the kernel inside is known to be version major.minor or newer.
func (a *hermitApp) atLeast(major, minor uint32) bool {
	return a.kernel[0] > major || a.kernel[0] == major && a.kernel[1] >= minor
}

// elfMachineName names the machine of an ELF header of at least 20 bytes.
func elfMachineName(h []byte) string {
	var m uint16
	if h[5] == 2 {
		m = binary.BigEndian.Uint16(h[18:])
	} else {
		m = binary.LittleEndian.Uint16(h[18:])
	}
	name := "machine " + strconv.Itoa(int(m))
	switch m {
	case 3:
		name = "i386"
	case hermitMachine:
		name = "x86_64"
	case 183:
		name = "aarch64"
	case 243:
		name = "riscv64"
	}
	if h[5] == 2 {
		name += ", big-endian"
	}
	if h[4] != 2 {
		name += ", 32-bit"
	}
	return name
}

// preadFull reads until b is full or the file ends, and says how much it got.
func preadFull(f *os.File, b []byte, off int64) (int, error) {
	n, err := f.ReadAt(b, off)
	if err == io.EOF {
		err = nil
	}
	return n, err
}
