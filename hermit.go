// Hermit applications: whether a container's program is one, and on which machine it can boot.
//
// Contract: the image is hostile. Every path is resolved beneath the container's root (openat2,
// RESOLVE_IN_ROOT), only regular files are ever opened for reading, what is read is bounded, and what
// comes back is an open descriptor, so that nobody resolves the image's paths a second time.

package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
)

// hermitApp is a recognised Hermit application, open for reading.
type hermitApp struct {
	file     *os.File
	path     string    // in the container; for look-ups beside it and for messages
	size     int64     // bytes
	entryABI int       // version of Hermit's entry protocol, 0 without such a note
	kernel   [3]uint32 // version of the Hermit kernel inside, zero before 0.10
	pvh      bool      // bootable without a loader
	pvhEntry uint64    // where that begins
	rodata   []elfSpan // where the kernel's texts are
}

// elfSpan is a part of the file: the bytes of one read-only segment.
type elfSpan struct{ off, len int64 }

// detectHermit looks at the program arg0 of a container whose root directory is root (an O_PATH
// descriptor). It returns nil, nil for anything that is not a Hermit application, and an error for
// one that cannot boot. mode, see modeOf: "auto" or "" looks, "linux" does not, and "hermit" makes
// everything else an error.
//
// A container with an ordinary program pays one openat2, one fstat, one open and one pread.
func detectHermit(root int, cwd, arg0 string, env []string, mode annotation) (*hermitApp, error) {
	switch mode.value {
	case "linux":
		return nil, nil
	case "", "auto", "hermit":
	default:
		return nil, fmt.Errorf("annotation %s is %q: allowed are auto, hermit, linux", mode.key, mode.value)
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
	if errors.As(err, &not) && mode.value != "hermit" {
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

// pciText is in each kernel that was built with PCI.
const pciText = " PCI BUS INFORMATION "

// machineFor says which machine the kernel inside can boot on. A kernel built with ACPI panics
// without its tables, one built with PCI drives nothing else, and a microvm has neither (its PCI
// bus exists, but with every address 0). The features are told by texts that such kernels contain;
// in doubt the answer is pc, where the other kernels boot too, only without a network device.
func (a *hermitApp) machineFor() (string, error) {
	found, err := a.contains("requires an ACPI-compliant system", pciText)
	if err != nil {
		return "", err
	}
	if found {
		return "pc", nil
	}
	return "microvm", nil
}

// readsSerial says whether the kernel inside reads the serial line: only those built with PCI take its interrupt.
func (a *hermitApp) readsSerial() (bool, error) { return a.contains(pciText) }

// atLeast says whether the kernel inside is known to be version major.minor or newer.
func (a *hermitApp) atLeast(major, minor uint32) bool {
	return a.kernel[0] > major || a.kernel[0] == major && a.kernel[1] >= minor
}
