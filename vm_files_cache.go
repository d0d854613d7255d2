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

// envCacheName in the state root; '@' keeps it apart from containers.
const envCacheName = "@hermit-env"

type savedFile struct {
	Size   int64  `json:"size"`
	Digest string `json:"digest"` // SHA-256, in hexadecimal
}

// envOf is the environment of a QEMU of the host's, from the cache if it is there; nil if there is no
// such program.
func envOf(stateRoot, qemu string) (*hermitEnv, error) {
	cache := filepath.Join(stateRoot, envCacheName)
	env, key := keptEnv(cache, qemu)
	switch {
	case key == "":
		return nil, nil
	case env != nil:
		env.cache, env.key = cache, key
		return env, nil
	}
	env, complete, err := hostEnv(qemu)
	if err == nil {
		env.Virtiofsd = hostVirtiofsd()
	}
	if err == nil && complete {
		env.cache, env.key = cache, key
		env.keep()
	}
	return env, err
}

// keptEnv is what the cache knows of a QEMU, nil if it does not; key "" says that there is no such program.
func keptEnv(cache, qemu string) (env *hermitEnv, key string) {
	var st unix.Stat_t
	if unix.Stat(qemu, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o111 == 0 {
		return nil, ""
	}
	key = envKey(qemu, &st)
	return readEnvCache(cache, key), key
}

// digest is the SHA-256 of QEMU's program, on the host or beneath root, the container's.
func (e *hermitEnv) digest(root int) (string, error) {
	if e.Digest != "" {
		return e.Digest, nil
	}
	qemu, err := e.openQEMU(root)
	if err != nil {
		return "", err
	}
	defer qemu.Close()
	is, err := describeFile(qemu)
	if e.Digest = is.Digest; err == nil && e.cache != "" {
		e.keep()
	}
	return e.Digest, err
}

// envKey is the identity of what the list was made from.
func envKey(qemu string, st *unix.Stat_t) string {
	var ld unix.Stat_t
	unix.Stat("/etc/ld.so.cache", &ld) // all zero where the linker has none
	return fmt.Sprint("runh/2 ", virtiofsdKey(), qemu, st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim, ld.Ino, ld.Size, ld.Mtim)
}

type envCache struct {
	Key string     `json:"key"`
	Env *hermitEnv `json:"env"`
}

// readEnvCache returns nil for a cache that is missing, damaged or of another QEMU: it is then made again.
func readEnvCache(file, key string) *hermitEnv {
	data, err := readFile(file, 1<<20)
	if err != nil {
		return nil
	}
	var c envCache
	if decodeJSON(string(data), &c) != nil || c.Key != key || c.Env == nil || len(c.Env.Files) == 0 {
		return nil
	}
	return c.Env
}

// keep replaces the cache as a whole. Others may do the same at the same time, with the same
// content. Not being able to is no error: the next one only has to look again.
func (e *hermitEnv) keep() {
	f, err := os.CreateTemp(filepath.Dir(e.cache), envCacheName+".*")
	if err != nil {
		return
	}
	_, err = f.Write(encodeJSON(envCache{e.key, e}, ""))
	if errors.Join(err, f.Close()) != nil || os.Rename(f.Name(), e.cache) != nil {
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
