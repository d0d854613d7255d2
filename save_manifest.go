// The description of a saved guest: manifest.json, beside the machine's state in a checkpoint's directory
// or in a template's.
//
// Contract: what is read here is untrusted input. Every read is bounded, only regular files of the
// directory itself are opened, and a description that differs in one byte from what was written, like a
// state that is shorter, longer or altered, is refused before anything of it is used. The digests are
// against damage and mistakes: who can write the directory can write both.

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	manifestMagic = "runh-checkpoint/1"
	manifestMax   = 1 << 20 // bytes; the kernel's command line, twice escaped, is the largest part
)

// manifest is what a restore needs to know, and what it compares.
type manifest struct {
	Magic   string       `json:"magic"`
	Runh    string       `json:"runh"` // version that wrote it
	Created time.Time    `json:"created"`
	ID      string       `json:"id"` // of the container
	QEMU    savedQEMU    `json:"qemu"`
	App     savedFile    `json:"app"`
	Loader  savedFile    `json:"loader"` // empty: the application boots by itself
	VM      savedVM      `json:"vm"`
	State   savedFile    `json:"state"`
	StateAt string       `json:"stateFile,omitempty"` // its name, "": stateName
	Console savedConsole `json:"console"`
	Clock   *savedClock  `json:"clock,omitempty"` // nil: it goes on where it stood
	Digest  string       `json:"digest"`          // of this file, with an empty digest
}

// savedQEMU: a machine's state fits the very program that wrote it.
type savedQEMU struct {
	Version string `json:"version"`
	Digest  string `json:"digest"`
}

// savedVM is the machine as far as its guest can tell.
type savedVM struct {
	Machine   string `json:"machine"`
	Accel     string `json:"accel"`
	CPU       string `json:"cpu"`
	VCPUs     int    `json:"vcpus"`
	MemoryMiB int    `json:"memoryMiB"`
	Network   string `json:"network"`
	Lease     *lease `json:"lease,omitempty"` // what the guest was told, if it has a tap
	Extra     string `json:"extra,omitempty"` // arguments of QEMU by the vm section
	Append    string `json:"append"`          // the kernel's command line: long read, but QEMU keeps a copy of its length
}

// savedConsole is where the guest's output stood.
type savedConsole struct {
	Position uint64 `json:"position"` // bytes since the guest's first start
	Line     string `json:"line"`     // what it had printed since the last newline, in hexadecimal
}

func (vm *vmConfig) saved() savedVM {
	return savedVM{
		Machine: vm.Machine, Accel: vm.Accel, CPU: vm.CPU, VCPUs: vm.VCPUs, MemoryMiB: vm.MemoryMiB, Network: vm.Network,
		Extra: strings.Join(vm.Extra, " "), Append: vm.Boot.with(vm.Lease),
	}
}

// encode is the manifest's text.
func (m *manifest) encode() []byte {
	m.Digest = ""
	sum := sha256.Sum256(encodeJSON(m, "  "))
	m.Digest = hex.EncodeToString(sum[:])
	return append(encodeJSON(m, "  "), '\n')
}

// decodeManifest reads a text that encode has written, and no other.
func decodeManifest(text []byte) (*manifest, error) {
	m := &manifest{}
	if err := decodeJSON(string(text), m); err != nil {
		return nil, err
	}
	if m.Magic != manifestMagic {
		return nil, fmt.Errorf("magic is %q: allowed is %q", m.Magic, manifestMagic)
	}
	if string(m.encode()) != string(text) {
		return nil, errors.New("it has been altered: its digest is another")
	}
	if err := oneOf("stateFile", m.StateAt, "", stateOther); err != nil {
		return nil, err
	}
	if _, err := m.Console.line(); err != nil {
		return nil, fmt.Errorf("console.line: %w", err)
	}
	if m.Clock != nil {
		if err := m.Clock.check(m.State.Size); err != nil {
			return nil, err
		}
	}
	if l := m.VM.Lease; l != nil {
		if _, err := l.identity(); err != nil {
			return nil, fmt.Errorf("vm.lease.%w", err)
		}
	}
	return m, nil
}

// stateFile is the name of the state.
func (m *manifest) stateFile() string { return firstWord(m.StateAt, stateName) }

func (c *savedConsole) line() ([]byte, error) {
	b, err := hex.DecodeString(c.Line)
	if err == nil && len(b) > maxConsoleLine {
		err = fmt.Errorf("%d bytes are more than %d", len(b), maxConsoleLine)
	}
	return b, err
}

// savedGuest is a checkpoint that has been found whole, its state open for reading.
type savedGuest struct {
	*manifest
	dir      string
	state    *os.File
	identity string // how it is to be known on its network, if restore's flag says so

	leastJump time.Duration // of its clock
}

// openSaved checks the files of a directory. The error says which one is not as it was. Without verify the
// state is taken to be what was written.
func openSaved(dir string, verify bool) (*savedGuest, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	f, size, err := openSavedFile(fd, manifestName)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", dir, manifestName, err)
	}
	defer f.Close()
	if size > manifestMax {
		return nil, fmt.Errorf("%s/%s has %d bytes: allowed are %d", dir, manifestName, size, manifestMax)
	}
	text, err := io.ReadAll(io.LimitReader(f, manifestMax))
	if err != nil {
		return nil, err
	}
	m, err := decodeManifest(text)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", dir, manifestName, err)
	}
	name := m.stateFile()
	state, size, err := openSavedFile(fd, name)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", dir, name, err)
	}
	if size != m.State.Size {
		err = fmt.Errorf("%s/%s has %d bytes where %d were written", dir, name, size, m.State.Size)
	} else if !verify {
		return &savedGuest{manifest: m, dir: dir, state: state}, nil
	} else if sum, serr := digestFile(state, size); serr != nil {
		err = serr
	} else if sum != m.State.Digest {
		err = fmt.Errorf("%s/%s has been altered: its digest is another", dir, name)
	}
	if err != nil {
		state.Close()
		return nil, err
	}
	return &savedGuest{manifest: m, dir: dir, state: state}, nil
}

// openSavedFile opens a regular file of the directory: no link, and nothing that an open could wait for.
func openSavedFile(dir int, name string) (*os.File, int64, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errors.New("not a regular file")
	}
	if err != nil {
		unix.Close(fd)
		return nil, 0, err
	}
	return os.NewFile(uintptr(fd), name), st.Size, nil
}
