// The network of a namespace, and the part of it that a guest can use: one interface, one IPv4 address and one
// gateway.
//
// Contract: it is read over rtnetlink and chosen without asking anybody. Nothing here changes anything.

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// netInterface is an interface of a namespace.
type netInterface struct {
	index     int32
	name      string
	kind      string // "tun", "veth" ..., "" for hardware
	up        bool
	mac       []byte
	mtu       int // of the interface and of all routes out of it, the smallest
	loopback  bool
	noARP     bool           // nobody on the link answers ARP: ipvlan in mode L3, a tunnel
	addresses []netip.Prefix // IPv4
	ipv6      bool           // it has an address of IPv6 that others can see
}

// netRoute is one of IPv4, of the main table.
type netRoute struct {
	to      netip.Prefix
	gateway netip.Addr // invalid: what it leads to is on the link
	index   int32
	metric  uint32
}

type network struct {
	interfaces []netInterface
	routes     []netRoute
}

// readNetwork looks at the namespace of the connection.
func readNetwork(l links) (*network, error) {
	n := &network{}
	found, err := l.execute(unix.RTM_GETLINK, netlink.Dump, linkHeader(0, 0, 0))
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	for _, m := range found {
		n.addInterface(m.Data)
	}
	if found, err = l.execute(unix.RTM_GETADDR, netlink.Dump, make([]byte, unix.SizeofIfAddrmsg)); err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, m := range found {
		n.addAddress(m.Data)
	}
	header := make([]byte, unix.SizeofRtMsg)
	header[0] = unix.AF_INET
	if found, err = l.execute(unix.RTM_GETROUTE, netlink.Dump, header); err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	for _, m := range found {
		n.addRoute(m.Data)
	}
	return n, nil
}

// eachAttribute calls f for what follows a message's header; a broken message has none.
func eachAttribute(data []byte, header int, f func(kind uint16, v []byte)) {
	if len(data) < header {
		return
	}
	attrs, err := netlink.UnmarshalAttributes(data[header:])
	if err != nil {
		return
	}
	for _, a := range attrs {
		f(a.Type&^unix.NLA_F_NESTED, a.Data)
	}
}

// isGuests: the interface is a guest's tap. Anybody can give an interface such a name.
func (i *netInterface) isGuests() bool { return i.isGuestTap() && bytes.Equal(i.mac, tapMAC) }

// isGuestTap is that of one whose hardware address may not be set yet, or any more.
func (i *netInterface) isGuestTap() bool { return i.kind == "tun" && isGuestLink(i.name) }

// readInterface reads a message of rtnetlink's; a broken one is an interface without a name.
func readInterface(data []byte) (i netInterface) {
	if len(data) < unix.SizeofIfInfomsg {
		return i
	}
	flags := binary.NativeEndian.Uint32(data[8:])
	i = netInterface{index: int32(binary.NativeEndian.Uint32(data[4:])), loopback: flags&unix.IFF_LOOPBACK != 0, noARP: flags&unix.IFF_NOARP != 0, up: flags&unix.IFF_UP != 0}
	eachAttribute(data, unix.SizeofIfInfomsg, func(kind uint16, v []byte) {
		switch {
		case kind == unix.IFLA_IFNAME:
			i.name = unix.ByteSliceToString(v)
		case kind == unix.IFLA_ADDRESS:
			i.mac = v
		case kind == unix.IFLA_MTU && len(v) == 4:
			i.mtu = min(int(binary.NativeEndian.Uint32(v)), maxMTU)
		case kind == unix.IFLA_LINKINFO:
			eachAttribute(v, 0, func(kind uint16, v []byte) {
				if kind == unix.IFLA_INFO_KIND {
					i.kind = unix.ByteSliceToString(v)
				}
			})
		}
	})
	return i
}

func (n *network) addInterface(data []byte) {
	if i := readInterface(data); i.up && !i.isGuests() {
		n.interfaces = append(n.interfaces, i)
	}
}

// find asks for one interface, by its index or by any of its names.
func (l links) find(index int32, name string) (*netInterface, error) {
	var by []netlink.Attribute
	if name != "" {
		by = append(by, textAttr(unix.IFLA_ALT_IFNAME, name)) // an interface's first name counts, too
	}
	found, err := l.execute(unix.RTM_GETLINK, 0, linkHeader(index, 0, 0), by...)
	if err != nil {
		return nil, err
	}
	for _, m := range found {
		if i := readInterface(m.Data); i.name != "" {
			return &i, nil
		}
	}
	return nil, unix.ENODEV
}

// nameTaken is for a name by which runh marks something in a namespace, and which is another interface's.
func nameTaken(name, meaning string, i *netInterface) error {
	return fmt.Errorf("the name %s, by which runh marks %s, belongs to the interface %s: remove it there", name, meaning, i.name)
}

func (n *network) addAddress(data []byte) {
	if len(data) < unix.SizeofIfAddrmsg {
		return
	}
	family, bits, scope := data[0], int(data[1]), data[3]
	i := n.byIndex(int32(binary.NativeEndian.Uint32(data[4:])))
	if i == nil {
		return
	}
	if family == unix.AF_INET6 {
		i.ipv6 = i.ipv6 || scope == unix.RT_SCOPE_UNIVERSE
		return
	}
	eachAttribute(data, unix.SizeofIfAddrmsg, func(kind uint16, v []byte) {
		if ip, ok := netip.AddrFromSlice(v); kind == unix.IFA_LOCAL && ok && ip.Is4() && scope <= unix.RT_SCOPE_LINK {
			i.addresses = append(i.addresses, netip.PrefixFrom(ip, bits))
		}
	})
}

// addRoute takes the MTU of a route in any table: rules of the namespace may choose that table for what the guest sends.
func (n *network) addRoute(data []byte) {
	if len(data) < unix.SizeofRtMsg || data[0] != unix.AF_INET || data[7] != unix.RTN_UNICAST {
		return
	}
	to := netip.AddrFrom4([4]byte{})
	var r netRoute
	var mtu int
	var out []int32 // one interface, or one for each of several ways
	eachAttribute(data, unix.SizeofRtMsg, func(kind uint16, v []byte) {
		switch {
		case kind == unix.RTA_DST && len(v) == 4:
			to = netip.AddrFrom4([4]byte(v))
		case kind == unix.RTA_GATEWAY && len(v) == 4:
			r.gateway = netip.AddrFrom4([4]byte(v))
		case kind == unix.RTA_OIF && len(v) == 4:
			out = append(out, int32(binary.NativeEndian.Uint32(v)))
		case kind == unix.RTA_PRIORITY && len(v) == 4:
			r.metric = binary.NativeEndian.Uint32(v)
		case kind == unix.RTA_METRICS:
			eachAttribute(v, 0, func(kind uint16, v []byte) {
				if kind == unix.RTAX_MTU && len(v) == 4 { // locked (RTAX_LOCK) or not
					mtu = int(binary.NativeEndian.Uint32(v))
				}
			})
		case kind == unix.RTA_MULTIPATH:
			for len(v) >= unix.SizeofRtNexthop {
				end := min(len(v), max(unix.SizeofRtNexthop, int(binary.NativeEndian.Uint16(v))))
				out = append(out, int32(binary.NativeEndian.Uint32(v[4:])))
				eachAttribute(v[:end], unix.SizeofRtNexthop, func(kind uint16, v []byte) {
					if kind == unix.RTA_GATEWAY && len(v) == 4 && len(out) == 1 {
						r.gateway = netip.AddrFrom4([4]byte(v))
					}
				})
				v = v[min(len(v), (end+unix.RTNH_ALIGNTO-1)&^(unix.RTNH_ALIGNTO-1)):]
			}
		}
	})
	for _, index := range out {
		if i := n.byIndex(index); i != nil && mtu != 0 {
			i.mtu = min(i.mtu, max(mtu, minMTU))
		}
	}
	if data[4] != unix.RT_TABLE_MAIN || len(out) == 0 {
		return
	}
	r.to, r.index = netip.PrefixFrom(to, int(data[1])), out[0] // of several ways the first
	n.routes = append(n.routes, r)
}

// mtu is the size of packets that pass on all ways out of the namespace. A guest that sends larger ones may hear nothing
// of it: Hermit's network stack ignores the ICMP message that says so.
func (n *network) mtu() int {
	smallest := maxMTU + 1
	for i := range n.interfaces {
		l := &n.interfaces[i]
		routed := slices.ContainsFunc(n.routes, func(r netRoute) bool { return r.index == l.index })
		if !l.loopback && (routed || len(l.addresses) > 0) {
			smallest = min(smallest, l.mtu)
		}
	}
	if smallest > maxMTU {
		return ethernetMTU
	}
	return smallest
}

func (n *network) byIndex(index int32) *netInterface {
	for i := range n.interfaces {
		if n.interfaces[i].index == index {
			return &n.interfaces[i]
		}
	}
	return nil
}

// uplink is the interface through which a guest reaches the world.
type uplink struct {
	*netInterface
	address netip.Prefix
	gateway netip.Addr // invalid: there is none
	onLink  bool       // the gateway is in the address's prefix
	bare    bool       // its default route has no gateway: every address is looked for on the link
	more    string     // what a guest with this address alone would not have: "" for nothing
}

var errNoInterface = errors.New("there is no interface that is up, but the loopback")

// uplink chooses: the interface of the default route, else of the first route with a gateway, else the
// first with an address.
func (n *network) uplink() (*uplink, error) {
	var best *netRoute
	for i := range n.routes {
		r := &n.routes[i]
		if l := n.byIndex(r.index); l == nil || len(l.addresses) == 0 || r.to.Bits() != 0 && !r.gateway.IsValid() {
			continue
		}
		if best == nil || r.to.Bits() == 0 && (best.to.Bits() != 0 || r.metric < best.metric) {
			best = r
		}
	}
	u := &uplink{}
	if best != nil {
		u.netInterface, u.gateway = n.byIndex(best.index), best.gateway
		u.bare = !best.gateway.IsValid()
	}
	var others []string
	for i := range n.interfaces {
		l := &n.interfaces[i]
		switch {
		case l.loopback:
		case len(l.addresses) == 0:
			if l.ipv6 {
				others = append(others, l.name+" has only addresses of IPv6")
			} else {
				others = append(others, l.name+" has no address")
			}
		case u.netInterface == nil:
			u.netInterface = l
		case l.index != u.index:
			u.more = "the interface " + l.name
		}
	}
	if u.netInterface == nil {
		if len(others) == 0 {
			return nil, errNoInterface
		}
		return nil, fmt.Errorf("there is no interface with an IPv4 address: %s", strings.Join(others, ", "))
	}
	u.address = u.addresses[0]
	for _, a := range u.addresses {
		if u.gateway.IsValid() && a.Contains(u.gateway) {
			u.address, u.onLink = a, true
			break
		}
	}
	for _, r := range n.routes {
		if r.index == u.index && r.gateway.IsValid() && r.gateway != u.gateway {
			u.more = fmt.Sprintf("the route to %v by %v", r.to, r.gateway)
		}
	}
	return u, nil
}

// isPermanent says whether somebody has set the hardware address of a neighbour for good, as one does for those that answer no ARP.
func (l links) isPermanent(index int32, ip netip.Addr) bool {
	header := make([]byte, unix.SizeofNdMsg)
	header[0] = unix.AF_INET
	found, err := l.execute(unix.RTM_GETNEIGH, netlink.Dump, header)
	if err != nil {
		return false
	}
	for _, m := range found {
		if len(m.Data) < unix.SizeofNdMsg || int32(binary.NativeEndian.Uint32(m.Data[4:])) != index || binary.NativeEndian.Uint16(m.Data[8:])&unix.NUD_PERMANENT == 0 {
			continue
		}
		permanent := false
		eachAttribute(m.Data, unix.SizeofNdMsg, func(kind uint16, v []byte) {
			permanent = permanent || kind == unix.NDA_DST && bytes.Equal(v, ip.AsSlice())
		})
		if permanent {
			return true
		}
	}
	return false
}
