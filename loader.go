// loader.go finds the loader that boots a Hermit application, and refuses what that loader would
// refuse. Contract: as hermit.go's. The loader runs inside the guest, so the image may bring its own;
// a path on the host comes from the operator only, never from the image or an annotation.

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
	room int // bytes for the kernel's command line
}

// findLoader finds what boots app: a loader named by the annotation (a path in the image) or by the
// configuration (a path on the host), else one beside the application in the image, else one in the
// same folder of the Hermit environment envDir ("" for none). What the file is decides, never its
// name. It returns nil for an application that boots without a loader and has none.
func findLoader(root int, app *hermitApp, envDir, imageLoader, hostLoader string) (*hermitLoader, error) {
	type place struct {
		root  int
		where string // for messages: where names of this place are
		names []string
		must  bool
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
		if envDir != "" {
			if fd, err := unix.Open(envDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
				defer unix.Close(fd)
				places = append(places, place{fd, strings.TrimRight(envDir, "/"), beside, false})
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
				l := &hermitLoader{file: f, path: pl.where + name, host: pl.root != root, size: st.Size, room: loaderRoom(f)}
				if err := checkEntry(app, path.Base(name)); err != nil {
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
	if envDir != "" {
		dirs += " or in " + path.Join(envDir, path.Dir(app.path))
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

// loaderRoom is how long the command line may be. Hermit's loaders have names of their modules in them.
func loaderRoom(f *os.File) int {
	b := make([]byte, 1<<20)
	n, err := preadFull(f, b, 0)
	if err != nil || bytes.Contains(b[:n], []byte("hermit_loader")) || bytes.Contains(b[:n], []byte("rusty_loader")) {
		return maxLoaderLine - len(vmmLoader+" ")
	}
	return maxBootArgs
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

// checkEntry refuses what the loader would refuse. A loader that refuses panics and then spins for
// ever, so this has to be found here. Loaders called rusty-loader are from before version 4 of the
// entry protocol, which images of that time do not speak either; which version they want cannot be seen.
func checkEntry(app *hermitApp, loader string) error {
	if strings.HasPrefix(loader, "rusty-loader") && app.entryABI < hermitEntryABI {
		return nil
	}
	switch app.entryABI {
	case hermitEntryABI:
		return nil
	case 0:
		return fmt.Errorf("%s has no Hermit entry note: loaders need entry version %d (a kernel built with the feature loader)", app.path, hermitEntryABI)
	}
	return fmt.Errorf("%s has Hermit entry version %d: the loader takes version %d only", app.path, app.entryABI, hermitEntryABI)
}
