// The loader that boots a Hermit application: runh finds it, and refuses what it would refuse.
//
// Contract: as hermit.go's. The loader runs inside the guest, so the image may bring its own; a path
// on the host comes from the operator only, never from the image or an annotation.

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// hermitLoader is the guest's boot loader, open for reading.
type hermitLoader struct {
	file *os.File
	path string // for messages and the state: in the image, or on the host
	host bool   // it is not the image's
	size int64
	loaderTraits
}

// loaderTraits is what a loader's own text shows of it.
type loaderTraits struct {
	room  int       // bytes for the kernel's command line
	entry int       // the entry version that it takes, 0 for unknown
	rusty bool      // it is called rusty-loader, as before 0.4.5
	table pageTable // what it hands to the kernel
}

// pageTable says whether a loader's page table maps itself, which kernels before 0.11 need.
type pageTable int

const (
	tableUnknown   pageTable = iota
	tableRecursive           // loaders before 0.5.7
	tableFlat                // since
)

// Where loader and application are in QEMU's jail: two files mounted there from open descriptors.
// QEMU opens a kernel by name only (a descriptor set, /dev/fdset, does not work for -kernel), and its
// -initrd is cut at commas and spaces, so no path of the image may ever stand in its command line.
const (
	vmmLoader = "/loader"
	vmmApp    = "/app"
)

// maxBootArgs is what one argument of a program can have: execve(2), MAX_ARG_STRLEN, less the NUL.
const maxBootArgs = 128<<10 - 1

// maxLoaderLine is what Hermit's own loaders can take, the kernel's name before it included. They copy
// the line into a heap of 4 KiB that gives nothing back; over a longer one they panic and then spin
// for ever (measured with 0.5.6 and 0.5.7, to the byte).
const maxLoaderLine = 388

// findLoader finds what boots app: a loader named by the annotation (a path in the image) or by the
// configuration (a path on the host), else one beside the application in the image, else one in the
// same folder of the operator's tree treeDir ("" for none). What the file is decides, never its
// name. It returns nil for an application that boots without a loader and has none.
func findLoader(root int, app *hermitApp, treeDir, imageLoader, hostLoader string) (*hermitLoader, error) {
	type place struct {
		root  int
		where string // for messages: where names of this place are
		names []string
		must  bool
	}
	if app.pvh && app.entryABI == 0 && imageLoader == "" {
		return nil, nil // no loader takes it; one that lies there, or that the host has, is for others
	}
	var places []place
	beside := make([]string, 0, 12)
	for _, n := range strings.Fields(loaderNames) {
		beside = append(beside, path.Join(path.Dir(app.path), n))
	}
	switch {
	case imageLoader != "":
		places = append(places, place{root, "", []string{path.Join("/", imageLoader)}, true})
	case hostLoader != "":
		places = append(places, place{unix.AT_FDCWD, "", []string{hostLoader}, true})
	default:
		places = append(places, place{root, "", beside, false})
		if treeDir != "" {
			if fd, err := unix.Open(treeDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
				defer unix.Close(fd)
				places = append(places, place{fd, strings.TrimRight(treeDir, "/"), beside, false})
			}
		}
	}
	var found []string // what was there but does not boot
	for _, pl := range places {
		for _, name := range pl.names {
			var f *os.File
			var st *unix.Stat_t
			var err error
			if pl.root == unix.AT_FDCWD {
				f, st, err = openHostFile(name)
			} else {
				f, st, err = openInRoot(pl.root, name)
			}
			if err != nil {
				if pl.must && errors.Is(err, unix.ENOENT) {
					// Not the kernel's words: engines take those for a missing program.
					return nil, fmt.Errorf("loader %s is not there", name)
				} else if pl.must {
					return nil, fmt.Errorf("loader: %w", err)
				}
				continue
			}
			kind, err := loaderKind(f)
			if err == nil && kind == "" {
				l := &hermitLoader{file: f, path: pl.where + name, host: pl.root != root, size: st.Size, loaderTraits: readLoaderTraits(f)}
				if err := l.boots(app); err != nil {
					f.Close()
					return nil, err
				}
				return l, nil
			}
			f.Close()
			if err != nil {
				kind = err.Error()
			}
			found = append(found, fmt.Sprintf("%s is %s", pl.where+name, kind))
		}
	}
	if app.pvh {
		return nil, nil
	}
	need := "needed is the multiboot loader, hermit-loader-x86_64-multiboot of a Hermit loader release"
	if len(found) > 0 {
		return nil, fmt.Errorf("no loader that QEMU can boot: %s; %s", strings.Join(found, ", "), need)
	}
	dirs := path.Dir(app.path) + " of the image"
	if treeDir != "" {
		dirs += " or in " + path.Join(treeDir, path.Dir(app.path))
	}
	return nil, fmt.Errorf("no loader in %s: %s, named hermit-loader", dirs, need)
}

// loaderNames in the order they are tried. Upstream has renamed its loader twice; the last line are
// loaders for other machines, looked at only for the sake of the message.
const loaderNames = `hermit-loader-multiboot hermit-loader-x86_64-multiboot hermit-loader hermit-loader-x86_64 rusty-loader rusty-loader-x86_64
	hermit-loader-linux hermit-loader-x86_64-linux hermit-loader-fc hermit-loader-x86_64-fc hermit-loader.efi hermit-loader-x86_64.efi`

// openHostFile opens a file that the operator named; the same care as for the image's costs nothing.
func openHostFile(p string) (*os.File, *unix.Stat_t, error) {
	fd, err := unix.Open(p, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: p, Err: err}
	}
	defer unix.Close(fd)
	return openRegular(fd, p)
}

// readLoaderTraits looks for text that the compiler leaves in every build: names of modules, paths of sources
// in the messages of panics, format strings. Versions of before 2024 log no version, so these must do.
func readLoaderTraits(f *os.File) loaderTraits {
	b := make([]byte, 1<<20)
	n, err := preadFull(f, b, 0)
	if err != nil {
		return loaderTraits{room: maxLoaderLine - len(vmmLoader+" ")} // the smaller one: QEMU will say what is wrong
	}
	b = b[:n]
	has := func(text string) bool { return bytes.Contains(b, []byte(text)) }
	t := loaderTraits{room: maxBootArgs, entry: entryTaken(b), rusty: has("rusty_loader")}
	if t.rusty || has("hermit_loader") {
		t.room = maxLoaderLine - len(vmmLoader+" ")
	}
	switch {
	case has("recursive_page_table"): // a source of the crate x86_64
		t.table = tableRecursive
	case has("Hermit Loader version "): // its first line of log, added when the recursive table went
		t.table = tableFlat
	}
	return t
}

// entryTaken is the entry version of the crate hermit-entry that b was built with, 0 for unknown. Loader and kernel
// have the number from that crate, and its panics name a file below hermit-entry-VERSION.
func entryTaken(b []byte) int {
	_, after, _ := bytes.Cut(b, []byte("hermit-entry-0."))
	var minor, patch int
	if n, _ := fmt.Sscanf(string(after[:min(len(after), 16)]), "%d.%d/", &minor, &patch); n < 2 {
		return 0
	}
	switch {
	case minor == 10:
		return 4
	case minor == 9 && patch >= 3:
		return 3
	case minor == 9:
		return 2
	}
	return 0
}

// loaderKind returns "" for a loader that QEMU boots with -kernel, else what the file is instead.
func loaderKind(f *os.File) (string, error) {
	// Multiboot specification, 3.1: the header lies in the first 8 KiB, aligned to 4 bytes.
	b := make([]byte, 8<<10)
	n, err := preadFull(f, b, 0)
	if err != nil {
		return "", err
	}
	b = b[:n]
	multiboot := false
	le := binary.LittleEndian
	for i := 0; i+12 <= len(b); i += 4 {
		if le.Uint32(b[i:]) == 0x1BADB002 && le.Uint32(b[i:])+le.Uint32(b[i+4:])+le.Uint32(b[i+8:]) == 0 {
			multiboot = true
			break
		}
	}
	switch {
	case n >= 2 && string(b[:2]) == "MZ":
		return "an EFI loader", nil
	case n < 52 || string(b[:4]) != "\x7fELF":
		return fmt.Sprintf("no ELF file (%d bytes)", n), nil
	case b[4] == 2 && multiboot:
		return "a 64-bit ELF file, which QEMU refuses (objcopy -O elf32-i386 converts it)", nil
	case b[4] == 2 && le.Uint16(b[18:]) != hermitMachine:
		return "a loader for another machine (" + elfMachineName(b) + ")", nil
	case b[4] == 2:
		return "a loader for the Linux boot protocol, which only Firecracker speaks", nil
	case le.Uint16(b[18:]) != 3: // EM_386
		return "a loader for another machine (" + elfMachineName(b) + ")", nil
	case !multiboot:
		return "a 32-bit ELF file without a multiboot header", nil
	}
	return "", nil
}

// boots refuses what the loader would refuse, or crash. A loader that refuses panics and then spins for
// ever, so this has to be found here. A loader that does not show which entry version it takes is held to
// version 4, but for a rusty-loader, which is from before it.
func (l *hermitLoader) boots(app *hermitApp) error {
	takes, unknown := l.entry, l.entry == 0
	if unknown {
		takes = hermitEntryABI
	}
	switch old := l.rusty || strings.HasPrefix(path.Base(l.path), "rusty-loader"); {
	case app.entryABI == takes, unknown && old && app.entryABI < hermitEntryABI:
	case app.entryABI == 0:
		return fmt.Errorf("%s has no Hermit entry note: loaders need entry version %d (a kernel built with the feature loader)", app.path, takes)
	default:
		return fmt.Errorf("%s has Hermit entry version %d: the loader takes version %d only%s", app.path, app.entryABI, takes, loadersTaking(app.entryABI))
	}
	if l.table == tableFlat && app.needsRecursiveTable() {
		return fmt.Errorf("%s has a kernel before 0.11, which crashes at once with a loader since 0.5.7, as %s is: the loader must be 0.5.6 or older", app.path, l.path)
	}
	return nil
}

// loadersTaking names the releases for an entry version, for the end of a message.
func loadersTaking(entry int) string {
	switch entry {
	case 2:
		return "; loaders 0.4.0 to 0.4.2 take version 2"
	case 3:
		return "; loaders 0.4.3 to 0.4.6 take version 3"
	case hermitEntryABI:
		return "; loaders since 0.5.0 take version 4"
	}
	return ""
}

// needsRecursiveTable says that the kernel inside is older than 0.11. Without a loader there is no loader's table.
func (a *hermitApp) needsRecursiveTable() bool {
	return !a.pvh && !a.atLeast(0, 11)
}
