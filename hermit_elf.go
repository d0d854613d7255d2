// ELF files, as far as runh reads them: the headers of a Hermit application or loader, and the texts by which the kernel
// inside shows what it was built with.
//
// Contract: as hermit.go's. The file is hostile: every offset is checked against its size, and everything that is read
// has a bound.

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
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

// ELF constants: elf(5).
const (
	ptLoad, ptDynamic, ptInterp, ptNote = 1, 2, 3, 4
	dtNeeded                            = 1
)

// readHermit reads the headers of f. The error is a notHermit as long as the file has not shown
// Hermit's mark, and a description of the damage afterwards.
func readHermit(f *os.File, size int64, p string) (*hermitApp, error) {
	var h [elfHeaderLen]byte
	n, err := preadFull(f, h[:], 0)
	if err != nil {
		return nil, notHermit(err.Error())
	}
	if n >= 2 && h[0] == 0x1f && h[1] == 0x8b {
		// For Linux it is no program either. uhyve unpacks one itself; Hermit's loaders and kernels do not yet.
		return nil, errors.New("it is gzip-compressed: Linux cannot run it, and of a Hermit image (a tar with hermit.toml, for uhyve) QEMU needs the ELF file inside")
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
	var writable []elfSpan // searched where a linker's script has put all into one segment
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
			} else {
				writable = append(writable, elfSpan{off, filesz})
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
	if len(app.rodata) == 0 {
		app.rodata = writable
	}
	if err := app.checkPVH(le.Uint16(h[16:]) == 3); err != nil {
		return nil, err
	}
	return app, nil
}

// checkPVH judges the note by which QEMU boots a kernel without a loader. Kernels have it since 0.14, also where no other
// note tells their version. It holds an absolute address; in a position-independent file that waits for a relocation,
// which nobody applies before the boot, so it is 0. With a note for loaders, too, such a file boots as any other.
func (a *hermitApp) checkPVH(independent bool) error {
	switch {
	case !a.pvh:
	case a.pvhEntry != 0:
		if a.kernel == [3]uint32{} {
			a.kernel = [3]uint32{0, 14, 0}
		}
	case a.entryABI != 0:
		a.pvh = false
	case independent:
		return errors.New("its PVH entry is address 0, as it is linked position-independent: link it to a fixed address (-C relocation-model=static), or build it for a loader (feature hermit/loader)")
	default:
		return errors.New("corrupt Hermit application: its PVH entry is address 0")
	}
	return nil
}

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
// every other reader of notes; a missing one is judged by boots (hermit_loader.go).
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
		case name == "Xen" && typ == noteXenPVH && len(desc) >= 4:
			a.pvh, a.pvhEntry = true, uint64(le.Uint32(desc))
			if len(desc) >= 8 {
				a.pvhEntry = le.Uint64(desc)
			}
		}
	}
}

// contains says whether one of these short texts is in the application, or may be: a file that is too large
// to be searched, or shrinks meanwhile, could hold anything.
func (a *hermitApp) contains(texts ...string) (bool, error) {
	found := false
	whole, err := a.scan(func(b []byte) bool {
		for _, text := range texts {
			found = found || bytes.Contains(b, []byte(text))
		}
		return found
	})
	return found || !whole, err
}

// finds says of each of these short texts whether it is in the application for certain.
func (a *hermitApp) finds(texts ...string) ([]bool, error) {
	found, left := make([]bool, len(texts)), len(texts)
	_, err := a.scan(func(b []byte) bool {
		for i, text := range texts {
			if !found[i] && bytes.Contains(b, []byte(text)) {
				found[i] = true
				left--
			}
		}
		return left == 0
	})
	return found, err
}

// scan shows the application's texts to look, in pieces that overlap, until that has seen enough. whole is false
// for a file that is too large to be searched, or has shrunk.
func (a *hermitApp) scan(look func(b []byte) (enough bool)) (whole bool, err error) {
	const overlap = 64
	buf := make([]byte, 256<<10)
	left := int64(maxScan)
	for _, s := range a.rodata {
		kept := 0
		for s.len > 0 {
			if left <= 0 {
				return false, nil
			}
			n, err := preadFull(a.file, buf[kept:kept+int(min(s.len, int64(len(buf)-kept)))], s.off)
			if err != nil {
				return false, fmt.Errorf("read %s: %w", a.path, err)
			}
			if n == 0 {
				return false, nil
			}
			s.off, s.len, left = s.off+int64(n), s.len-int64(n), left-int64(n)
			b := buf[:kept+n]
			if look(b) {
				return true, nil
			}
			kept = copy(buf, b[max(0, len(b)-overlap):])
		}
	}
	return true, nil
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
