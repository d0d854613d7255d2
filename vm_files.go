// The files that QEMU runs from: a tree that the operator unpacked (--hermit-env, with a QEMU in it), the
// tree of the package runh-qemu, or the host's own QEMU with exactly the files it opens.
//
// Contract: nothing of an image is looked at; the result says which files of the host appear where in
// QEMU's jail, all of them read-only, and no others. What was found out about the host's QEMU is kept:
// vm_files_cache.go.

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// qemuFiles is the tree that QEMU sees as its root.
type qemuFiles struct {
	QEMU    string     `json:"qemu"`              // its path in the jail; as argv[0] it is also how QEMU finds its files
	LibPath string     `json:"libPath,omitempty"` // LD_LIBRARY_PATH in the jail
	Files   []qemuFile `json:"files"`

	Virtiofsd *shareFiles `json:"virtiofsd,omitempty"` // nil: there is none
	Digest    string      `json:"digest,omitempty"`    // of QEMU's program, "" as long as nobody has asked

	root   string // the tree that QEMU and Files are in, "" for the host's own
	built  string // the QEMU that make qemu built the tree of, "" for any other tree
	lock   int    // on that tree, while a container starts: vm_files_lock.go
	passed string // why the package's tree is not used although it exists

	image []*jailFile // directories of the image, opened, if its own QEMU is to run

	cache, key string // file that keeps it, and for what; "" for none
}

// qemuFile is one name in the jail.
type qemuFile struct {
	Host  string `json:"host,omitempty"` // the file or directory on the host that is mounted there, links followed
	Guest string `json:"guest"`          // its absolute path in the jail
	Link  string `json:"link,omitempty"` // a symbolic link with this target instead
	Dir   bool   `json:"dir,omitempty"`  // a directory, mounted with all that is in it
	For   string `json:"for,omitempty"`  // needed by this accelerator or machine only: "tcg", "microvm", "pc"
}

// hostPaths are the files of the host in a list.
func hostPaths(files []qemuFile) []string {
	var paths []string
	for _, f := range files {
		if f.Host != "" {
			paths = append(paths, f.Host)
		}
	}
	return paths
}

// findQEMUFiles returns those in dir, if there is a QEMU, else the host's. stateRoot is
// where the host's list is kept.
func findQEMUFiles(stateRoot, dir string) (*qemuFiles, error) {
	return lookForQEMUFiles(dir, func(dir string) (*qemuFiles, error) { return useTree(stateRoot, dir) },
		func(qemu string) (*qemuFiles, error) { return qemuFilesOf(stateRoot, qemu) })
}

// packagedTree is where the package runh-qemu has its tree.
const packagedTree = "/usr/lib/runh/qemu"

// microvmOnly is the end of the name of a QEMU that has no other machine worth having: Debian's and Ubuntu's.
const microvmOnly = "-microvm"

// hostQEMUs are where distributions have QEMU.
var hostQEMUs = [...]string{
	"/usr/local/bin/qemu-system-x86_64", "/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm", "/usr/bin/qemu-system-x86_64" + microvmOnly,
}

// lookForQEMUFiles is the order in which QEMU is looked for: in the operator's tree, in the package's, then on the host. A package's
// tree that is damaged does not keep guests from running.
func lookForQEMUFiles(dir string, inTree, ofQEMU func(string) (*qemuFiles, error)) (*qemuFiles, error) {
	where, passed := "", ""
	if dir != "" {
		if qemu, err := inTree(dir); qemu != nil || err != nil {
			return qemu, err
		}
		where = dir + " and "
	}
	if _, err := os.Lstat(packagedTree); err == nil {
		qemu, _, err := wholeTree(packagedTree)
		if err == nil {
			return qemu, nil
		}
		where, passed = where+err.Error()+"; ", err.Error()
	}
	qemu, err := lookOnHost(where, ofQEMU)
	if err == nil {
		qemu.passed = passed
	}
	return qemu, err
}

// lookOnHost is the last part of it; where says where else there is no QEMU.
func lookOnHost(where string, ofQEMU func(string) (*qemuFiles, error)) (*qemuFiles, error) {
	for _, qemu := range hostQEMUs {
		if files, err := ofQEMU(qemu); files != nil || err != nil {
			return files, err
		}
	}
	return nil, fmt.Errorf("no QEMU: looked in %s%s; install it (Debian: qemu-system-x86), or name a tree that holds one with --hermit-env", where, strings.Join(hostQEMUs[:], ", "))
}

// from says whose files QEMU runs from, and why not others.
func (q *qemuFiles) from() string {
	switch {
	case len(q.image) > 0:
		return "the image"
	case q.root == packagedTree:
		return "the tree " + q.root + " of the package runh-qemu, before any QEMU of the host: " + q.built
	case q.built != "":
		return "the tree " + q.root + ": " + q.built
	case q.root != "":
		return "the tree " + q.root
	case q.passed != "":
		return "the host's files, mounted one by one: " + q.passed
	}
	return "the host's files, mounted one by one"
}

// machines are those that QEMU can be expected to have.
func (q *qemuFiles) machines() []string {
	if strings.HasSuffix(q.QEMU, microvmOnly) {
		return []string{"microvm"}
	}
	return []string{"microvm", "pc", "q35"}
}

// filesFor are the files that vm's machine needs.
func (q *qemuFiles) filesFor(vm *vmConfig) ([]qemuFile, error) {
	machine := vm.Machine
	if !slices.Contains(q.machines(), machine) {
		return nil, fmt.Errorf("QEMU %s has no machine %s, only microvm: install the whole QEMU (Debian: qemu-system-x86)", q.QEMU, machine)
	}
	if machine == "q35" {
		machine = "pc"
	}
	var files []qemuFile
	firmware := len(q.image) > 0 // what is not there QEMU will say
	for _, f := range q.Files {
		if f.For == "" || f.For == vm.Accel || f.For == machine {
			files = append(files, f)
			firmware = firmware || f.For == machine || f.Dir
		}
	}
	if !firmware {
		return nil, fmt.Errorf("QEMU %s has no firmware for the machine %s: install %s", q.QEMU, vm.Machine,
			map[bool]string{true: "qboot.rom (Debian: qemu-system-data)", false: "SeaBIOS (Debian: seabios)"}[machine == "microvm"])
	}
	return files, nil
}

// treeQEMUFiles looks for a QEMU in the tree dir; nil if there is none. The jail gets the tree's top-level
// directories, as far as programs live in them.
func treeQEMUFiles(dir string) (*qemuFiles, error) {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil // a directory that is not there holds no QEMU
	}
	defer unix.Close(root)
	qemu := &qemuFiles{root: dir, built: readStamp(dir).built()}
	if qemu.QEMU, err = qemuIn(root); err != nil || qemu.QEMU == "" {
		if err != nil {
			err = fmt.Errorf("hermit environment %s: %w", dir, err)
		}
		return nil, err
	}
	for _, name := range programDirs {
		host := filepath.Join(dir, name)
		info, err := os.Lstat(host)
		switch {
		case err != nil:
			continue
		case info.IsDir():
			qemu.Files = append(qemu.Files, qemuFile{Host: host, Guest: "/" + name, Dir: true})
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(host)
			if err != nil {
				return nil, fmt.Errorf("hermit environment: %w", err)
			}
			qemu.Files = append(qemu.Files, qemuFile{Guest: "/" + name, Link: target})
		}
	}
	qemu.Virtiofsd = treeVirtiofsd(root, qemu.Files)
	return qemu, nil
}

// programDirs are the top-level directories of a Linux tree that programs live in.
var programDirs = [...]string{"bin", "etc", "lib", "lib32", "lib64", "opt", "sbin", "usr"}

// qemuIn finds a QEMU in a tree, "" for none.
func qemuIn(root int) (string, error) {
	for _, p := range [...]string{"/usr/bin/qemu-system-x86_64", "/usr/local/bin/qemu-system-x86_64", "/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm", "/usr/bin/qemu-system-x86_64" + microvmOnly} {
		if f, st, err := openInRoot(root, p); err == nil {
			f.Close()
			if st.Mode&0o111 == 0 {
				return "", fmt.Errorf("%s is not executable", p)
			}
			return p, nil
		}
	}
	return "", nil
}

// imageQEMUFiles are the image's, for a container that may and wants to run its own QEMU:
// programDirs, opened beneath its root, without the volumes that may be mounted in them.
func imageQEMUFiles(root int) (*qemuFiles, error) {
	qemu := &qemuFiles{}
	var err error
	if qemu.QEMU, err = qemuIn(root); err == nil && qemu.QEMU == "" {
		err = errors.New("it has none, at /usr/bin/qemu-system-x86_64 or thereabouts")
	}
	for _, name := range programDirs {
		if err != nil {
			break
		}
		var link [4096]byte
		if n, linkErr := unix.Readlinkat(root, name, link[:]); linkErr == nil {
			qemu.Files = append(qemu.Files, qemuFile{Guest: "/" + name, Link: string(link[:n])})
			continue
		}
		fd, openErr := unix.Openat(root, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if openErr != nil {
			continue // most images have only some of them
		}
		var f jailFile
		if f, err = newJailFile("/"+name, fd); err == nil {
			qemu.image = append(qemu.image, &f)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("vmm is \"image\": QEMU of the image: %w", err)
	}
	return qemu, nil
}

// hostQEMUFiles lists the files of the host's QEMU, each at its own path. complete says that none of those
// is missing that a package could still bring.
func hostQEMUFiles(qemu string) (files *qemuFiles, complete bool, err error) {
	interp, err := elfInterpreter(qemu)
	if err != nil {
		return nil, false, fmt.Errorf("QEMU %s: %w", qemu, err)
	}
	files = &qemuFiles{QEMU: qemu, Files: []qemuFile{{Host: qemu, Guest: qemu}}}
	add := func(file, purpose string) bool {
		if !regularFile(file) {
			return false
		}
		if !slices.ContainsFunc(files.Files, func(f qemuFile) bool { return f.Guest == file }) {
			files.Files = append(files.Files, qemuFile{Host: file, Guest: file, For: purpose})
		}
		return true
	}
	complete = true
	// QEMU's own modules: the one that translates is a file of its own in most distributions.
	modules := []string{qemu}
	prefix := filepath.Dir(filepath.Dir(qemu))
	for _, d := range []string{"lib/x86_64-linux-gnu/qemu", "lib64/qemu", "lib/qemu", "lib64/qemu-kvm"} {
		if module := filepath.Join(prefix, d, "accel-tcg-x86_64.so"); add(module, "tcg") {
			modules = append(modules, module)
		}
	}
	if interp != "" {
		for _, m := range modules {
			libs, err := listLibraries(interp, m)
			if err != nil {
				return nil, false, fmt.Errorf("QEMU %s: %w", qemu, err)
			}
			files.Files, files.LibPath = addLibraries(files.Files, files.LibPath, interp, libs)
		}
	}
	// Firmware: what strace shows a machine without graphics, disks and network boot to open.
	out, err := outputOf(qemu, "-L", "help")
	if err != nil {
		return nil, false, err
	}
	dirs := strings.Fields(string(out))
	for _, fw := range []struct {
		name, purpose string
		must          bool
	}{
		{"qboot.rom", "microvm", true},
		{"bios-256k.bin", "pc", true},
		{"kvmvapic.bin", "pc", false},
		{"multiboot_dma.bin", "pc", false},
		{"pvh.bin", "pc", false},
	} {
		found := slices.ContainsFunc(dirs, func(d string) bool { return add(filepath.Join(d, fw.name), fw.purpose) })
		complete = complete && (found || !fw.must || !slices.Contains(files.machines(), fw.purpose))
	}
	return files, complete, nil
}

// addLibraries adds a program's dynamic linker and libraries, each once and at its own path.
func addLibraries(files []qemuFile, libPath, interp string, libs []string) ([]qemuFile, string) {
	for _, lib := range append([]string{interp}, libs...) {
		if !slices.ContainsFunc(files, func(f qemuFile) bool { return f.Guest == lib }) {
			files = append(files, qemuFile{Host: lib, Guest: lib})
		}
		if d := filepath.Dir(lib); lib != interp && !slices.Contains(filepath.SplitList(libPath), d) {
			libPath = strings.TrimPrefix(libPath+":"+d, ":")
		}
	}
	return files, libPath
}

// listLibraries asks the dynamic linker what it would load for file. Its own answer counts: search
// paths, variants for the CPU and the cache are its business.
func listLibraries(interp, file string) ([]string, error) {
	out, err := outputOf(interp, "--list", file)
	if err != nil {
		return nil, err
	}
	return librariesOf(string(out))
}

// librariesOf reads what the dynamic linker has listed.
func librariesOf(list string) (libs []string, err error) {
	for line := range strings.Lines(list) {
		// "libc.so.6 => /lib/libc.so.6 (0x7f..)", "/lib64/ld-linux-x86-64.so.2 (0x7f..)", "libx.so => not found"
		name, target, found := strings.Cut(strings.TrimSpace(line), " => ")
		if !found {
			target = name
		}
		if target == "not found" {
			return nil, fmt.Errorf("its library %s is not installed", name)
		}
		if p, _, _ := strings.Cut(target, " ("); strings.HasPrefix(p, "/") {
			libs = append(libs, p)
		}
	}
	return libs, nil
}

// elfInterpreter is the dynamic linker that a program names, "" for a static one.
func elfInterpreter(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var h [elfHeaderLen]byte
	if n, err := preadFull(f, h[:], 0); err != nil || n < len(h) || string(h[:4]) != "\x7fELF" || h[4] != 2 || h[5] != 1 {
		return "", errors.New("not a 64-bit ELF program; a wrapper script cannot run in the jail")
	}
	phs, err := readPhdrs(f, h[:])
	if err != nil {
		return "", err
	}
	for _, ph := range phs {
		if ph.typ == ptInterp {
			b := make([]byte, min(ph.filesz, 4096))
			n, err := preadFull(f, b, int64(ph.off))
			return strings.TrimRight(string(b[:n]), "\x00"), err
		}
	}
	return "", nil
}

// outputOf runs a program of the host and returns what it prints.
func outputOf(path string, args ...string) ([]byte, error) {
	r, err := (&hostCommand{path: path, args: args, env: []string{"LC_ALL=C"}, limit: probeLimit}).run()
	if err != nil {
		return nil, err
	}
	return r.out, r.failed()
}

func regularFile(p string) bool {
	var st unix.Stat_t
	return unix.Stat(p, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

// openQEMU opens QEMU's program, on the host or beneath root, the container's.
func (q *qemuFiles) openQEMU(root int) (*os.File, error) {
	if len(q.image) > 0 {
		file, _, err := openInRoot(root, q.QEMU)
		return file, err
	}
	for _, f := range q.Files {
		switch {
		case f.Link != "":
		case f.Guest == q.QEMU:
			file, _, err := openHostFile(f.Host)
			return file, err
		case f.Dir && strings.HasPrefix(q.QEMU, f.Guest+"/"):
			root, err := unix.Open(strings.TrimSuffix(f.Host, f.Guest), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				return nil, err
			}
			defer unix.Close(root)
			file, _, err := openInRoot(root, q.QEMU)
			return file, err
		}
	}
	return nil, errors.New("BUG: QEMU is not among its own files")
}
