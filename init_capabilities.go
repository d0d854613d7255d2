// process.capabilities: names to bits, the bits that this host grants, and capset(2).

package main

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// capabilities are the five sets as bit masks.
type capabilities struct {
	bounding, effective, permitted, inheritable, ambient uint64
}

// capabilitySet is one of the spec's, and its place among ours.
type capabilitySet struct {
	name string
	list []string
	mask *uint64
}

func (m *capabilities) sets(c *specs.LinuxCapabilities) []capabilitySet {
	return []capabilitySet{
		{"bounding", c.Bounding, &m.bounding},
		{"effective", c.Effective, &m.effective},
		{"permitted", c.Permitted, &m.permitted},
		{"inheritable", c.Inheritable, &m.inheritable},
		{"ambient", c.Ambient, &m.ambient},
	}
}

// readCapabilities reads the spec's sets, keeping what held permits. The specification asks for a warning, not an error,
// for what cannot be granted: it is one line, and runc's.
func readCapabilities(c *specs.LinuxCapabilities, held uint64, warn func(string, ...any)) (m capabilities) {
	if c == nil {
		return m
	}
	var lost []string
	for _, set := range m.sets(c) {
		for _, name := range set.list {
			if n := capabilityNumber(name); n >= 0 && held&(1<<n) != 0 {
				*set.mask |= 1 << n
			} else if !slices.Contains(lost, name) {
				lost = append(lost, name)
			}
		}
	}
	if len(lost) > 0 {
		slices.Sort(lost)
		warn("ignoring unknown or unavailable capabilities: %q", lost)
	}
	// What the kernel would refuse as a whole is trimmed to what is sound.
	m.effective &= m.permitted
	for n, name := range capabilityNames {
		if m.ambient&^(m.permitted&m.inheritable)&(1<<n) != 0 {
			warn("can't raise ambient capability %s: it is not both permitted and inheritable", name)
		}
	}
	m.ambient &= m.permitted & m.inheritable
	return m
}

// heldCapabilities is what this process may pass on: its permitted set. Root of
// a user namespace has them all, in it.
func heldCapabilities(spec *specs.Spec, facts *hostFacts) uint64 {
	if hasNamespace(spec, specs.UserNamespace) {
		return ^uint64(0)
	}
	return facts.held()
}

func ownCapabilities() uint64 {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return 0
	}
	return uint64(data[0].Permitted) | uint64(data[1].Permitted)<<32
}

// capset sets the effective, permitted and inheritable sets.
func (p *program) capset(effective, permitted, inheritable uint64) call {
	hdr := p.words(unix.LINUX_CAPABILITY_VERSION_3) // pid 0: itself
	lo := func(v uint64) uint64 { return v & 0xffffffff }
	data := p.words(lo(effective)|permitted<<32, lo(inheritable)|(effective>>32)<<32, permitted>>32|(inheritable>>32)<<32)
	return p.call(unix.SYS_CAPSET, hdr, data)
}

// capabilityNames is indexed by the kernel's number (linux/capability.h).
var capabilityNames = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID",
	"CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK",
	"CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
	"CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
	"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
}

// capabilityNumber is -1 for an unknown name.
func capabilityNumber(name string) int {
	for i, n := range capabilityNames {
		if n == name {
			return i
		}
	}
	return -1
}
