// The cache of what runh has found out about the host's QEMU, kept in the state root for as long as QEMU and the
// linker's cache are the same files: the list of its files, which costs 30 ms (its dynamic linker and QEMU itself
// are asked), and, once a restore has asked for it, its program's digest, which costs 20.

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// qemuCacheName in the state root; '@' keeps it apart from containers.
const qemuCacheName = "@hermit-env"

type savedFile struct {
	Size   int64  `json:"size"`
	Digest string `json:"digest"` // SHA-256, in hexadecimal
}

// qemuFilesOf are those of a QEMU of the host's, from the cache if it is there; nil if there is no
// such program.
func qemuFilesOf(stateRoot, qemu string) (*qemuFiles, error) {
	cache := filepath.Join(stateRoot, qemuCacheName)
	files, key := keptQEMUFiles(cache, qemu)
	switch {
	case key == "":
		return nil, nil
	case files != nil:
		files.cache, files.key = cache, key
		return files, nil
	}
	files, complete, err := hostQEMUFiles(qemu)
	if err == nil {
		files.Virtiofsd = hostVirtiofsd()
	}
	if err == nil && complete {
		files.cache, files.key = cache, key
		files.keep()
	}
	return files, err
}

// keptQEMUFiles is what the cache knows of a QEMU, nil if it does not; key "" says that there is no such program.
func keptQEMUFiles(cache, qemu string) (files *qemuFiles, key string) {
	var st unix.Stat_t
	if unix.Stat(qemu, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o111 == 0 {
		return nil, ""
	}
	key = qemuKey(qemu, &st)
	return readQEMUCache(cache, key), key
}

// digest is the SHA-256 of QEMU's program, on the host or beneath root, the container's.
func (q *qemuFiles) digest(root int) (string, error) {
	if q.Digest != "" {
		return q.Digest, nil
	}
	qemu, err := q.openQEMU(root)
	if err != nil {
		return "", err
	}
	defer qemu.Close()
	is, err := describeFile(qemu)
	if q.Digest = is.Digest; err == nil && q.cache != "" {
		q.keep()
	}
	return q.Digest, err
}

// qemuKey is the identity of what the list was made from.
func qemuKey(qemu string, st *unix.Stat_t) string {
	var ld unix.Stat_t
	unix.Stat("/etc/ld.so.cache", &ld) // all zero where the linker has none
	return fmt.Sprint("runh/2 ", virtiofsdKey(), qemu, st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim, ld.Ino, ld.Size, ld.Mtim)
}

type qemuCache struct {
	Key string     `json:"key"`
	Env *qemuFiles `json:"env"`
}

// readQEMUCache returns nil for a cache that is missing, damaged or of another QEMU: it is then made again.
func readQEMUCache(file, key string) *qemuFiles {
	data, err := readFile(file, 1<<20)
	if err != nil {
		return nil
	}
	var c qemuCache
	if decodeJSON(string(data), &c) != nil || c.Key != key || c.Env == nil || len(c.Env.Files) == 0 {
		return nil
	}
	return c.Env
}

// keep replaces the cache as a whole. Others may do the same at the same time, with the same
// content. Not being able to is no error: the next one only has to look again.
func (q *qemuFiles) keep() {
	f, err := os.CreateTemp(filepath.Dir(q.cache), qemuCacheName+".*")
	if err != nil {
		return
	}
	_, err = f.Write(encodeJSON(qemuCache{q.key, q}, ""))
	if errors.Join(err, f.Close()) != nil || os.Rename(f.Name(), q.cache) != nil {
		os.Remove(f.Name())
	}
}

func describeFile(f *os.File) (savedFile, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return savedFile{}, os.NewSyscallError("fstat", err)
	}
	sum, err := digestFile(f, st.Size)
	return savedFile{Size: st.Size, Digest: sum}, err
}

// digestFile is the SHA-256 of a file's first size bytes. The file's offset does not move.
func digestFile(f *os.File, size int64) (string, error) {
	h := sha256.New()
	buf := make([]byte, 256<<10)
	for off := int64(0); off < size; {
		n, err := unix.Pread(int(f.Fd()), buf[:min(int64(len(buf)), size-off)], off)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return "", &os.PathError{Op: "read", Path: f.Name(), Err: err}
		case n == 0:
			return "", fmt.Errorf("%s was truncated while it was read", f.Name())
		}
		h.Write(buf[:n])
		off += int64(n)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
