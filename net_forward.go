// ip_forward, the one thing that a guest of mode shared changes beyond its own tap: set at start, and set back when
// the last such guest is deleted. A name of the loopback's tells whether runh has changed it. A tap that somebody
// has made persistent is removed here, too.
//
// Contract: everything here runs on a thread in the guest's network namespace. vm_network.go says when.

package main

import (
	"fmt"
	"strings"

	"github.com/mdlayher/netlink"
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
	if err := l.nameLoopback(unix.RTM_NEWLINKPROP); err == unix.EEXIST {
		if i, err := l.find(0, wasNotForwarding); err == nil && !i.loopback {
			return nameTaken(wasNotForwarding, "that ip_forward was 0", i)
		}
	} else if err != nil {
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

// removeTap removes a tap that has outlived its QEMU. Its index is of this namespace, and can only be another's if
// that one has asked for it.
func (l links) removeTap(index int32) error {
	if index == 0 { // it never had one
		return nil
	}
	i, err := l.find(index, "")
	if err == unix.ENODEV || err == nil && !i.isGuestTap() {
		return nil
	}
	if err == nil {
		_, err = l.execute(unix.RTM_DELLINK, netlink.Acknowledge, linkHeader(index, 0, 0))
	}
	if err != nil && err != unix.ENODEV {
		return fmt.Errorf("remove the tap with the index %d: %w", index, err)
	}
	return nil
}

// guests counts the taps in the namespace.
func (l links) guests() (n int, err error) {
	found, err := l.execute(unix.RTM_GETLINK, netlink.Dump, linkHeader(0, 0, 0))
	for _, m := range found {
		if i := readInterface(m.Data); i.isGuests() {
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
