// check tells an operator, in one screen, whether this host can run Hermit
// containers, and what to do about what is missing (checkhost.go has the parts
// that are not about machines).
package main

import (
	"bytes"
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
	return []finding{
		checkKernel(), checkQEMU(g), checkKVM(g), checkTun(), checkVhostNet(), checkVirtiofsd(g), checkNftables(), checkCgroups(),
		checkUserNamespaces(), checkMemfd(), checkFilters(), checkLSM(),
	}
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

func checkQEMU(g *globals) finding {
	env, err := findEnv(g.root, envDirectory(g, &hermitConfig{}))
	if err != nil {
		return finding{what: "qemu", answer: "none", advice: err.Error(), fatal: true}
	}
	f := finding{what: "qemu", answer: env.QEMU}
	defer env.unlock()
	if env.root != "" {
		f.answer += " in " + env.root
	} else if out, err := outputOf(env.QEMU, "--version"); err == nil {
		first, _, _ := bytes.Cut(out, []byte("\n"))
		f.answer += ", " + string(first)
	}
	for _, machine := range []string{"microvm", "pc"} {
		vm := &vmConfig{Machine: machine, Accel: "tcg", CPU: defaultCPU("tcg")}
		_, err := env.filesFor(vm)
		if err == nil {
			err = tryVM(env, vm)
		}
		if err != nil {
			f.advice = err.Error()
		}
	}
	return f
}

func checkKVM(g *globals) finding {
	f := finding{what: "kvm", answer: "usable"}
	info, err := os.ReadFile("/proc/cpuinfo")
	flags := err == nil && (bytes.Contains(info, []byte(" vmx")) || bytes.Contains(info, []byte(" svm")))
	switch err := openKVM(nil); {
	case err != nil:
		f.answer, f.advice = err.Error(), "guests run slower, under TCG; load the module kvm_intel or kvm_amd, or enable virtualisation in the firmware"
	case !flags:
		f.answer, f.advice = "/dev/kvm opens, but the processor shows neither vmx nor svm", "guests run under TCG; accel = \"kvm\" in the configuration insists on KVM"
	}
	if f.advice == "" {
		env, err := findEnv(g.root, "")
		if err == nil {
			f.answer, err = kvmCPU(g.root, env, "microvm", false)
			f.answer = "usable, with -cpu " + f.answer
		}
		if err != nil {
			f.answer, f.advice = err.Error(), "guests run under TCG"
		}
	}
	return f
}

func checkTun() finding {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return finding{what: "tun", answer: fmt.Sprintf("/dev/net/tun does not open (%s)", unix.ErrnoName(err.(unix.Errno))), advice: "not needed by the network modes none and user; modprobe tun"}
	}
	unix.Close(fd)
	return finding{what: "tun", answer: "/dev/net/tun opens"}
}

func checkVhostNet() finding {
	if _, err := os.Stat("/dev/vhost-net"); err != nil {
		return finding{what: "vhost-net", answer: "absent", advice: "not needed; modprobe vhost_net makes networks with a tap faster"}
	}
	return finding{what: "vhost-net", answer: "there"}
}

func checkVirtiofsd(g *globals) finding {
	f := finding{what: "virtiofsd", answer: "none"}
	env, err := findEnv(g.root, envDirectory(g, &hermitConfig{}))
	if err == nil && env.Virtiofsd != nil {
		f.answer = env.Virtiofsd.String()
		if env.Virtiofsd.Rust {
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

// envDirectory is where a tree with a QEMU, or a loader, may be.
func envDirectory(g *globals, config *hermitConfig) string {
	return firstWord(g.hermitEnv, config.hermitEnv, filepath.Join(g.root, "hermit"))
}
