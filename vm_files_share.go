// virtiofsd and its files, which are found as vm_files.go finds QEMU's: in the operator's tree, or on
// the host with exactly the files it opens.

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// shareFiles is for virtiofsd what qemuFiles is for QEMU.
type shareFiles struct {
	Path    string     `json:"path"`
	Rust    bool       `json:"rust"` // the one that is written in Rust; else QEMU's older one
	LibPath string     `json:"libPath,omitempty"`
	Files   []qemuFile `json:"files"`
}

// virtiofsdPaths are where distributions have it, the newer one first.
var virtiofsdPaths = []string{
	"/usr/local/bin/virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/bin/virtiofsd",
	"/usr/lib/qemu/virtiofsd", "/usr/lib/kvm/virtiofsd",
}

func (e *shareFiles) String() string {
	switch {
	case e == nil:
		return "no virtiofsd: guests get no files of their containers"
	case e.Rust:
		return e.Path
	}
	return e.Path + ", the older one in C"
}

// virtiofsd is the one that guests get: a tree of make qemu and an image bring QEMU and nothing else. The host's is
// looked for when it is asked for.
func (q *qemuFiles) virtiofsd() *shareFiles {
	if q.Virtiofsd == nil && (q.built != "" || len(q.image) > 0) {
		q.Virtiofsd = hostVirtiofsd()
	}
	return q.Virtiofsd
}

// allFiles are QEMU's and virtiofsd's.
func (q *qemuFiles) allFiles() []qemuFile {
	all := slices.Clone(q.Files)
	if q.Virtiofsd != nil {
		for _, f := range q.Virtiofsd.Files {
			if !slices.ContainsFunc(all, func(old qemuFile) bool { return old.Guest == f.Guest }) {
				all = append(all, f)
			}
		}
	}
	return all
}

// treeVirtiofsd is the one in the tree at root, of which the jail gets the same directories as QEMU's.
func treeVirtiofsd(root int, files []qemuFile) *shareFiles {
	for _, p := range virtiofsdPaths {
		f, st, err := openInRoot(root, p)
		if err != nil {
			continue
		}
		rust, err := isRust(f)
		f.Close()
		if err == nil && st.Mode&0o111 != 0 {
			return &shareFiles{Path: p, Rust: rust, Files: files}
		}
	}
	return nil
}

// hostVirtiofsd lists the files of the host's virtiofsd, nil if there is none.
func hostVirtiofsd() *shareFiles {
	return findVirtiofsd(func(e *shareFiles, interp string) error {
		libs, err := listLibraries(interp, e.Path)
		if err == nil {
			e.Files, e.LibPath = addLibraries(e.Files, e.LibPath, interp, libs)
		}
		return err
	})
}

// findVirtiofsd looks for it; add adds the files that it opens besides.
func findVirtiofsd(add func(e *shareFiles, interp string) error) *shareFiles {
	for _, p := range virtiofsdPaths {
		f, err := os.Open(p)
		if err != nil {
			continue
		}
		rust, err := isRust(f)
		f.Close()
		if err != nil {
			continue
		}
		interp, err := elfInterpreter(p)
		if err != nil {
			continue // a script, or a directory
		}
		e := &shareFiles{Path: p, Rust: rust, Files: []qemuFile{{Host: p, Guest: p}}}
		if interp == "" || add(e, interp) == nil { // else it could not run
			return e
		}
	}
	return nil
}

// isRust tells the two programs of that name apart, by an option that only one of them has.
func isRust(f *os.File) (bool, error) {
	b, err := io.ReadAll(io.LimitReader(f, 64<<20))
	return bytes.Contains(b, []byte("shared-dir")), err
}

// virtiofsdKey is the identity of the host's, wherever it is.
func virtiofsdKey() string {
	var key string
	for _, p := range virtiofsdPaths {
		var st unix.Stat_t
		if unix.Stat(p, &st) == nil {
			key += fmt.Sprint(p, st.Dev, st.Ino, st.Size, st.Mtim)
		}
	}
	return key
}
