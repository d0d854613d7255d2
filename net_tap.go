// Taps: a guest's end of the network on the host's side, an interface whose frames come out of a descriptor.
//
// Contract: QEMU alone holds that descriptor, and the tap is not persistent. So it is gone when QEMU is, with all
// that hangs on it (address, names, the rules of net_nft_rules.go). Everything here runs on a thread that has entered the
// guest's network namespace.

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// tapPrefix begins the names of taps, in every namespace: runh0, runh1 ...
const tapPrefix = "runh"

// maxTaps is how many guests a namespace has room for: private links of four addresses in a /24.
const maxTaps = 64

// portForward is one port of the container that leads to its guest.
type portForward struct {
	Proto string `json:"proto"` // "tcp" or "udp"
	Port  int    `json:"port"`
}

func isGuestLink(name string) bool {
	n, err := strconv.Atoi(strings.TrimPrefix(name, tapPrefix))
	return err == nil && n >= 0 && name == tapPrefix+strconv.Itoa(n)
}

// inNetwork runs f on a thread in the network namespace of a descriptor.
func inNetwork(ns int, f func() error) error { return inNamespace(ns, unix.CLONE_NEWNET, f) }

type tap struct {
	fd     int
	number int // in the namespace
	name   string
	index  int32
}

// openTap makes the first tap whose name is free. QEMU adds and takes headers that spare it and the
// kernel checksums and segments (IFF_VNET_HDR).
func openTap(l links) (*tap, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	t := &tap{fd: fd}
	for ; t.number < maxTaps; t.number++ {
		t.name = tapPrefix + strconv.Itoa(t.number)
		var req struct {
			name  [unix.IFNAMSIZ]byte
			flags uint16
			_     [22]byte
		}
		copy(req.name[:], t.name)
		req.flags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TUN_EXCL // never one that is there already
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&req)))
		switch errno {
		case 0:
			if t.index, err = l.link(t.name); err != nil {
				unix.Close(fd)
				return nil, fmt.Errorf("tap %s: %w", t.name, err)
			}
			return t, nil
		case unix.EBUSY, unix.EINVAL: // another guest's, or somebody's link of that name
		default:
			unix.Close(fd)
			return nil, fmt.Errorf("tap %s: %w", t.name, errno)
		}
	}
	unix.Close(fd)
	return nil, fmt.Errorf("this network namespace has %d guests, and no room for more", maxTaps)
}

// tapMAC is the hardware address of all taps, each of which is a link of its own: a guest that goes on
// in another place remembers it, as its gateway's.
var tapMAC = []byte{2, 'r', 'u', 'n', 'h', 1}

// minTapMTU is what every host must take (RFC 791), and so the size of our answers by DHCP. A guest may be told of less.
const minTapMTU = 576

// raise sets the tap up. The kernel itself has nothing to say on it in IPv6.
func (t *tap) raise(l links, mtu int) error {
	mtu = max(mtu, minTapMTU)
	// A kernel without IPv6 has no such file.
	if err := setSysctl("net/ipv6/conf/"+t.name+"/disable_ipv6", "1"); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	_, err := l.execute(unix.RTM_NEWLINK, netlink.Acknowledge, linkHeader(t.index, unix.IFF_UP, unix.IFF_UP),
		netlink.Attribute{Type: unix.IFLA_MTU, Data: native32(uint32(mtu))}, netlink.Attribute{Type: unix.IFLA_ADDRESS, Data: tapMAC})
	if err != nil {
		return fmt.Errorf("set up tap %s with an MTU of %d: %w", t.name, mtu, err)
	}
	return nil
}

// address gives the tap the first of four addresses; the guest's is the second.
func (t *tap) address(l links, ip [4]byte) error {
	header := make([]byte, unix.SizeofIfAddrmsg)
	header[0], header[1] = unix.AF_INET, linkBits
	binary.NativeEndian.PutUint32(header[4:], uint32(t.index))
	_, err := l.execute(unix.RTM_NEWADDR, netlink.Acknowledge|netlink.Create|netlink.Excl, header,
		netlink.Attribute{Type: unix.IFA_LOCAL, Data: ip[:]}, netlink.Attribute{Type: unix.IFA_ADDRESS, Data: ip[:]})
	if err != nil {
		return fmt.Errorf("give tap %s its address: %w", t.name, err)
	}
	return nil
}

// claim takes ports for the guest, as further names of its tap. A name is taken once in a namespace, by
// the kernel's own care, is free again when the tap is gone, and shows in `ip link`.
func (t *tap) claim(l links, ports []portForward) error {
	for _, p := range ports {
		name := fmt.Sprintf("runh-port-%d-%s", p.Port, p.Proto)
		_, err := l.execute(unix.RTM_NEWLINKPROP, netlink.Acknowledge|netlink.Create|netlink.Excl|netlink.Append, linkHeader(t.index, 0, 0),
			nested(unix.IFLA_PROP_LIST, textAttr(unix.IFLA_ALT_IFNAME, name)))
		switch {
		case errors.Is(err, unix.EEXIST):
			if i, err := l.find(0, name); err == nil && !i.isGuests() {
				return nameTaken(name, "the port as a guest's", i)
			}
			return taken{fmt.Sprintf("port %d/%s belongs to another guest in this network namespace", p.Port, p.Proto)}
		case err != nil:
			return fmt.Errorf("claim port %d/%s: %w", p.Port, p.Proto, err)
		}
	}
	return nil
}

// restName marks the tap of the guest that has the ports of nobody: see sharedRules.
const restName = "runh-port-rest"

// takeRest says whether the guest is the first in its namespace to have no ports of its own. One whose QEMU is just dying is
// given a moment; a name like this of somebody else's means nothing.
func (t *tap) takeRest(l links) bool {
	for end := time.Now().Add(200 * time.Millisecond); ; time.Sleep(10 * time.Millisecond) {
		_, err := l.execute(unix.RTM_NEWLINKPROP, netlink.Acknowledge|netlink.Create|netlink.Excl|netlink.Append, linkHeader(t.index, 0, 0),
			nested(unix.IFLA_PROP_LIST, textAttr(unix.IFLA_ALT_IFNAME, restName)))
		if !errors.Is(err, unix.EEXIST) {
			return true // without such names (Linux 5.5) nobody knows
		}
		if i, err := l.find(0, restName); err == nil && !i.isGuests() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// taken is what another guest has: possibly one whose QEMU is just dying.
type taken struct{ text string }

func (t taken) Error() string { return t.text }

// openDHCP makes a socket that sees the guest's requests for an address, and nothing else: net_dhcp.go
// answers them. In mode direct the frames go on to the interface, but a packet socket sees them before.
func openDHCP(index int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	const ipv4, udp, to67 = unix.ETH_P_IP, unix.IPPROTO_UDP, 67
	filter := []unix.SockFilter{
		{Code: 0x28, K: 12},
		{Code: 0x15, Jf: 8, K: ipv4}, // Ethernet type
		{Code: 0x30, K: 23},
		{Code: 0x15, Jf: 6, K: udp}, // protocol
		{Code: 0x28, K: 20},
		{Code: 0x45, Jt: 4, K: 0x1fff}, // not a later fragment
		{Code: 0xb1, K: 14},
		{Code: 0x48, K: 16},
		{Code: 0x15, Jf: 1, K: to67}, // destination port
		{Code: 0x06, K: dhcpFrame},
		{Code: 0x06, K: 0},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 1)
	}
	if err == nil {
		// For all protocols, as only such sockets see frames before the rules of mode direct do.
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: unix.ETH_P_ALL << 8, Ifindex: index}) // in network order
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("DHCP socket: %w", err)
	}
	return fd, nil
}

// setSysctl writes one of the namespace that this thread is in: /proc/sys/net shows everybody his own.
func setSysctl(name, v string) error {
	fd, err := unix.Open("/proc/sys/"+name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Write(fd, []byte(v))
		unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("sysctl %s: %w", name, err)
	}
	return nil
}

func openNetwork(pid int) (int, error) {
	ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("network namespace: %w", err)
	}
	return ns, nil
}
