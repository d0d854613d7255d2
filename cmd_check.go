// check tells an operator, in one screen, whether this host can run Hermit
// containers, and what to do about what is missing (cmd_check_host.go has the parts
// that are not about machines).

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// finding is one line of check.
type finding struct {
	what   string
	answer string
	advice string // "": all is well, or there is nothing to do
	fatal  bool   // without it no Hermit container runs
}

func cmdCheck(g *globals, args []string) error {
	words, err := parseFlags(nil, args, false)
	if err != nil {
		return err
	}
	if err := noWords(words); err != nil {
		return err
	}
	var b strings.Builder
	bad := 0
	for _, f := range checkHost(g) {
		mark := "ok"
		switch {
		case f.fatal:
			mark = "NO"
			bad++
		case f.advice != "":
			mark = "--"
		}
		fmt.Fprintf(&b, "%-2s  %-10s %s\n", mark, f.what, f.answer)
		if f.advice != "" {
			fmt.Fprintf(&b, "    %-10s %s\n", "", f.advice)
		}
	}
	if err := printOut(b.String()); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("this host cannot run Hermit containers: %d of the points above must be mended", bad)
	}
	return nil
}

// checkHost looks at one thing after the other.
func checkHost(g *globals) []finding {
	config, settings := checkConfig(g)
	dir := treeDirectory(g, settings)
	return []finding{
		checkKernel(), config, checkQEMU(g, dir), checkKVM(g, dir), checkTun(), checkVhostNet(), checkVirtiofsd(g, dir), checkNftables(), checkCgroups(),
		checkUserNamespaces(), checkMemfd(), checkFilters(), checkLSM(),
	}
}

// checkConfig reads the settings as run does. Those of a file that cannot be read are the usual ones, for the rest of
// the checks.
func checkConfig(g *globals) (finding, *hermitConfig) {
	f := finding{what: "config", answer: firstWord(g.config, hermitConfigPath)}
	c, err := loadHermitConfig(g.config)
	if err != nil {
		f.answer, f.advice, f.fatal = "unusable", err.Error(), true
		return f, &hermitConfig{}
	}
	if _, err := os.Stat(f.answer); err != nil {
		f.answer = "none"
	}
	if c.loader != "" {
		if file, _, err := openHostFile(c.loader); err != nil {
			f.advice = "loader: " + err.Error()
		} else {
			file.Close()
		}
	}
	return f, c
}

func checkKernel() finding {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return finding{what: "kernel", answer: err.Error(), fatal: true}
	}
	f := finding{what: "kernel", answer: "Linux " + unix.ByteSliceToString(u.Release[:])}
	// The youngest call that runh cannot do without.
	if err := unix.MountSetattr(-1, "", 0, &unix.MountAttr{}); err == unix.ENOSYS {
		f.fatal, f.advice = true, "mount_setattr(2) is missing: Linux 5.12 or later is needed"
	}
	return f
}

func checkQEMU(g *globals, dir string) finding {
	qemu, err := findQEMUFiles(g.root, dir)
	if err != nil {
		return finding{what: "qemu", answer: "none", advice: err.Error(), fatal: true}
	}
	f := finding{what: "qemu", answer: qemu.QEMU}
	defer qemu.unlock()
	if qemu.root != "" {
		f.answer += " in " + strings.TrimPrefix(qemu.from(), "the tree ")
	} else if out, err := outputOf(qemu.QEMU, "--version"); err == nil {
		first, _, _ := bytes.Cut(out, []byte("\n"))
		f.answer += ", " + string(first)
	}
	f.advice = qemu.passed
	for _, machine := range qemu.machines() {
		if err := tryMachine(qemu, machine); err != nil {
			f.advice = err.Error()
		}
	}
	return f
}

func checkKVM(g *globals, dir string) finding {
	f := finding{what: "kvm", answer: "usable"}
	info, err := os.ReadFile("/proc/cpuinfo")
	flags := err == nil && (bytes.Contains(info, []byte(" vmx")) || bytes.Contains(info, []byte(" svm")))
	switch err := openKVM(nil); {
	case err != nil:
		f.answer, f.advice = err.Error(), "guests run slower, under TCG"
		var errno unix.Errno
		if errors.As(err, &errno) {
			f.advice += "; " + deviceAdvice("/dev/kvm", "kvm", "c 10:232 rw", kvmModule(flags), errno)
		}
	case !flags:
		f.answer, f.advice = "/dev/kvm opens, but the processor shows neither vmx nor svm", "guests run under TCG; accel = \"kvm\" in the configuration insists on KVM"
	}
	if f.advice == "" {
		qemu, err := findQEMUFiles(g.root, dir)
		defer qemu.unlock()
		if err == nil {
			f.answer, err = kvmCPU(g.root, qemu, "microvm", false)
			f.answer = "usable, with -cpu " + f.answer
		}
		if err != nil {
			f.answer, f.advice = err.Error(), "guests run under TCG"
		}
	}
	return f
}

func kvmModule(flags bool) string {
	if flags {
		return "load the module: modprobe kvm_intel, or modprobe kvm_amd"
	}
	return "the processor shows neither vmx nor svm: enable virtualisation in the firmware, or nested virtualisation on the host of this machine"
}

func checkTun() finding {
	const path = "/dev/net/tun"
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		errno := err.(unix.Errno)
		return finding{what: "tun", answer: fmt.Sprintf("%s does not open (%s)", path, unix.ErrnoName(errno)), advice: "not needed by the network modes none and user; " + deviceAdvice(path, "", "c 10:200 rw", "modprobe tun", errno)}
	}
	unix.Close(fd)
	return finding{what: "tun", answer: path + " opens"}
}

func checkVhostNet() finding {
	const path = "/dev/vhost-net"
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		errno := err.(unix.Errno)
		return finding{what: "vhost-net", answer: fmt.Sprintf("%s does not open (%s)", path, unix.ErrnoName(errno)), advice: "not needed, and networks with a tap are faster with it; " + deviceAdvice(path, "kvm", "c 10:238 rw", "modprobe vhost_net", errno)}
	}
	unix.Close(fd)
	return finding{what: "vhost-net", answer: path + " opens"}
}

// deviceAdvice is what to do about a device that does not open: each error has a cause of its own. group may open it
// in most distributions, "" where there is none.
func deviceAdvice(path, group, rule, module string, errno unix.Errno) string {
	switch errno {
	case unix.ENOENT, unix.ENODEV, unix.ENXIO:
		return module
	case unix.EACCES:
		if group != "" {
			return "join the group " + group + ": usermod -aG " + group + " USER, and log in again"
		}
		return "give this user read and write access to " + path
	case unix.EPERM:
		return "the device cgroup of this process forbids it: allow \"" + rule + "\""
	case unix.EBUSY:
		return "another hypervisor uses the processor's virtualisation: end it"
	}
	return errno.Error()
}

func checkVirtiofsd(g *globals, dir string) finding {
	f := finding{what: "virtiofsd", answer: "none"}
	qemu, err := findQEMUFiles(g.root, dir)
	defer qemu.unlock()
	if err == nil && qemu.virtiofsd() != nil {
		f.answer = qemu.Virtiofsd.String()
		if qemu.Virtiofsd.Rust {
			return f
		}
	}
	f.advice = "guests that see their containers' files and volumes need the one that is written in Rust (Debian 13: virtiofsd)"
	return f
}

func checkCgroups() finding {
	host, err := findCgroupHost(false)
	if err != nil {
		return finding{what: "cgroup", answer: err.Error(), advice: "limits cannot be set", fatal: true}
	}
	f := finding{what: "cgroup", answer: "v1"}
	if host.v2 {
		f.answer = "v2"
	}
	var names []string
	for _, t := range host.trees {
		names = append(names, t.names...)
		if t.isV2() && !host.v2 {
			f.answer = "v1 and v2 (hybrid)"
		}
	}
	if len(names) > 0 {
		f.answer += ": " + strings.Join(names, " ")
	}
	return f
}

// treeDirectory is where a tree with a QEMU, or a loader, may be.
func treeDirectory(g *globals, config *hermitConfig) string {
	return firstWord(g.hermitEnv, config.hermitEnv, filepath.Join(g.root, "hermit"))
}
