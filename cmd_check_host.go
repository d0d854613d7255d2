// `runh check` of the kernel's parts that a container uses beside QEMU. cmd_check.go has the guest's.

package main

import (
	"bytes"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// checkNftables asks the kernel, not for a program: nf_tables' GETGEN changes nothing, and loads the module.
func checkNftables() finding {
	const advice = "not needed by the network modes none and user; modprobe nf_tables"
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return finding{what: "nftables", answer: "absent", advice: advice}
	}
	defer unix.Close(fd)
	// nlmsghdr: length 20, type NFNL_SUBSYS_NFTABLES<<8 | NFT_MSG_GETGEN, NLM_F_REQUEST; then nfgenmsg.
	request := []byte{20, 0, 0, 0, 16, 10, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	limit := unix.Timeval{Sec: 5}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	var answer [4096]byte
	if err = unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err == nil {
		var n int
		n, err = unix.Read(fd, answer[:])
		if err == nil && n >= 16 && answer[5] == 10 {
			return finding{what: "nftables", answer: "there"}
		}
	}
	return finding{what: "nftables", answer: "absent", advice: advice}
}

func checkUserNamespaces() finding {
	f := finding{what: "userns", answer: "user namespaces can be made"}
	if text, err := readFile("/proc/sys/user/max_user_namespaces", 64); err != nil || strings.TrimSpace(string(text)) == "0" {
		f.answer = "user namespaces are turned off"
		f.advice = "containers with one do not start; sysctl user.max_user_namespaces=15000"
		return f
	}
	for name, on := range map[string]string{"kernel/unprivileged_userns_clone": "0", "kernel/apparmor_restrict_unprivileged_userns": "1"} {
		if text, err := readFile("/proc/sys/"+name, 64); err == nil && strings.TrimSpace(string(text)) == on {
			f.answer += ", by root only"
			f.advice = "for ordinary users: sysctl " + strings.ReplaceAll(name, "/", ".") + "=" + string('1'-on[0]+'0')
			return f
		}
	}
	return f
}

// checkMemfd: the init is a program in a memfd, which a host can forbid to execute.
func checkMemfd() finding {
	f := finding{what: "memfd", answer: "programs in memory can be executed"}
	if text, err := readFile("/proc/sys/vm/memfd_noexec", 16); err == nil && strings.TrimSpace(string(text)) == "2" {
		f.answer = "vm.memfd_noexec is 2: the init starts from a file without a name instead"
	}
	return f
}

func checkFilters() finding {
	if _, err := os.Stat("/proc/sys/kernel/seccomp/actions_avail"); err != nil {
		return finding{what: "seccomp", answer: "absent", advice: "QEMU's jail needs it: a kernel with CONFIG_SECCOMP_FILTER", fatal: true}
	}
	return finding{what: "seccomp", answer: "there"}
}

// checkLSM says which of the modules that know labels is in force: a config that asks for another is
// refused.
func checkLSM() finding {
	var on []string
	if text, err := readFile("/sys/module/apparmor/parameters/enabled", 8); err == nil && bytes.HasPrefix(text, []byte("Y")) {
		on = append(on, "AppArmor")
	}
	if hasSELinux() {
		on = append(on, "SELinux")
	}
	if len(on) == 0 {
		return finding{what: "lsm", answer: "neither AppArmor nor SELinux: profiles and labels are refused, if an engine asks for them"}
	}
	return finding{what: "lsm", answer: strings.Join(on, ", ")}
}
