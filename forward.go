// The one thing that a guest of mode shared changes in its namespace beyond its own tap: packets are passed
// on (ip_forward) as long as there is a guest. delete sets it back; a name of the loopback's tells it to.

package main

import (
	"fmt"
	"strings"

	"github.com/mdlayher/netlink"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// wasNotForwarding is a name of the loopback's while a namespace passes packets on because of us.
const wasNotForwarding = "runh-ip-forward-was-0"

// forward has the namespace pass packets on.
func forward(l links) error {
	on, err := readFile("/proc/sys/net/ipv4/ip_forward", 16)
	if err != nil || strings.TrimSpace(string(on)) != "0" {
		return err
	}
	if err := l.nameLoopback(unix.RTM_NEWLINKPROP); err != nil && err != unix.EEXIST {
		return fmt.Errorf("note that ip_forward was 0: %w", err)
	}
	return setSysctl("net/ipv4/ip_forward", "1")
}

// nameLoopback adds or removes that name.
func (l links) nameLoopback(kind netlink.HeaderType) error {
	index, err := l.link("lo")
	if err != nil {
		return err
	}
	flags := netlink.Acknowledge
	if kind == unix.RTM_NEWLINKPROP {
		flags |= netlink.Create | netlink.Excl | netlink.Append
	}
	_, err = l.execute(kind, flags, linkHeader(index, 0, 0), nested(unix.IFLA_PROP_LIST, textAttr(unix.IFLA_ALT_IFNAME, wasNotForwarding)))
	return err
}

// detach sets ip_forward back once no guest is left in the namespace: QEMU is gone, and everything else
// with it. A namespace that cannot be found any more by its path in the spec is not ours to look for.
func (c *container) detach(spec *specs.Spec) error {
	if c.Hermit == nil || c.Hermit.Network != "shared" || spec == nil {
		return nil
	}
	path, _ := networkPath(spec)
	ns, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(ns)
	if namespaceID(ns) != c.Hermit.Namespace {
		return nil
	}
	return inNetwork(ns, func() error {
		l, err := dialLinks(0)
		if err != nil {
			return err
		}
		defer l.Close()
		if n, err := l.guests(); err != nil || n > 0 || l.nameLoopback(unix.RTM_DELLINKPROP) != nil {
			return err
		}
		if err := setSysctl("net/ipv4/ip_forward", "0"); err != nil {
			return err
		}
		// One that came meanwhile may have seen it on.
		if n, err := l.guests(); err != nil || n == 0 {
			return err
		}
		return forward(l)
	})
}

// guests counts the taps in the namespace.
func (l links) guests() (n int, err error) {
	names, err := l.list()
	for _, name := range names {
		if isGuestLink(name) {
			n++
		}
	}
	return n, err
}

// namespaceID names a namespace as long as it exists.
func namespaceID(fd int) uint64 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Ino
}
