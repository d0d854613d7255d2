// Translation of addresses, for a guest that goes on from a saved state: its memory has the addresses that it had
// then, and nothing from outside changes them. Rules on its tap exchange the guest's own addresses and those that
// the network knows. Its gateway answers ARP under the old address, too, and its name servers DNS.
//
// Contract: only addresses are exchanged, in ARP and in the headers of IPv4, and packet by packet: no connection
// is tracked. Addresses in a payload (ICMP errors, FTP) stay as they are.

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// identity is how a guest, its gateway and its name servers are addressed: as it believes, or as it is.
type identity struct {
	mac     []byte
	ip      netip.Addr
	gateway netip.Addr // invalid: none
	dns     []netip.Addr
}

// identity is what the guest believes who was told this.
func (l *lease) identity() (identity, error) {
	mac, err := net.ParseMAC(l.MAC)
	if err == nil && len(mac) != 6 {
		err = fmt.Errorf("%q has %d bytes: allowed are 6", l.MAC, len(mac))
	}
	if err != nil {
		return identity{}, fmt.Errorf("mac: %w", err)
	}
	id := identity{mac: mac}
	if id.ip, err = parseIPv4(l.IP); err != nil {
		return id, fmt.Errorf("ip: %w", err)
	}
	if l.Gateway != "" {
		if id.gateway, err = parseIPv4(l.Gateway); err != nil {
			return id, fmt.Errorf("gateway: %w", err)
		}
	}
	for _, s := range l.DNS {
		server, err := parseIPv4(s)
		if err != nil {
			return id, fmt.Errorf("dns: %w", err)
		}
		id.dns = append(id.dns, server)
	}
	switch {
	case l.Bits < 1 || l.Bits > 32:
		err = fmt.Errorf("bits is %d: allowed are 1 to 32", l.Bits)
	case l.MTU < minMTU || l.MTU > maxMTU:
		err = fmt.Errorf("mtu is %d: allowed are %d to %d", l.MTU, minMTU, maxMTU)
	case len(l.DNS) > 2:
		err = fmt.Errorf("dns has %d addresses: allowed are 2", len(l.DNS))
	}
	return id, err
}

func parseIPv4(s string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(s)
	if err == nil && !ip.Is4() {
		err = errors.New("not an address of IPv4")
	}
	if err != nil {
		return ip, fmt.Errorf("%q: %w", s, err)
	}
	return ip, nil
}

// way is one that frames take: a chain of rules, and what becomes of a frame at its end.
type way struct {
	chain string
	end   []expr
}

// translate adds the rules between the guest's own address and the one that others know it by: out is the way of what it
// sends, in of what it gets. On eth its frames come and go with their Ethernet header; nil is the
// namespace's own stack, which makes frames for it.
func (n *nftTable) translate(in, out way, guestAddr, hostAddr *identity, eth *netInterface) {
	arp := func(w way, parts ...[]expr) { n.rule(w.chain, append([][]expr{isEther(unix.ETH_P_ARP)}, parts...)...) }
	ip := func(w way, parts ...[]expr) { n.rule(w.chain, append([][]expr{isEther(unix.ETH_P_IP)}, parts...)...) }
	was, is := guestAddr.ip.AsSlice(), hostAddr.ip.AsSlice() // to itself and to others
	if eth != nil && !guestAddr.equal(hostAddr) {
		// Who asks for the guest may have an address that is not in the prefix it believes in; it would
		// not answer. So it is not asked: the question turns round and becomes the answer.
		arp(in, bytesAre(arpOperation, []byte{0, 1}), bytesAre(arpTargetIP, is),
			copyBytes(arpSenderMAC, arpTargetMAC, 10), write(arpSenderMAC, append(slices.Clone(hostAddr.mac), is...)), write(arpOperation, []byte{0, 2}),
			etherAnswer(hostAddr.mac), forwardTo(eth.index))
	}
	if eth != nil && !bytes.Equal(guestAddr.mac, hostAddr.mac) {
		n.rule(out.chain, etherIs(etherSource, guestAddr.mac), writeEther(etherSource, hostAddr.mac))
		n.rule(in.chain, etherIs(etherDestination, hostAddr.mac), writeEther(etherDestination, guestAddr.mac))
		arp(out, bytesAre(arpSenderMAC, guestAddr.mac), write(arpSenderMAC, hostAddr.mac))
		arp(in, bytesAre(arpTargetMAC, hostAddr.mac), write(arpTargetMAC, guestAddr.mac))
	}
	if guestAddr.ip != hostAddr.ip {
		arp(out, bytesAre(arpSenderIP, was), write(arpSenderIP, is))
		arp(in, bytesAre(arpTargetIP, is), write(arpTargetIP, was))
		ip(out, bytesAre(ipSource, was), writeIP(ipSource, is))
		ip(in, bytesAre(ipDestination, is), writeIP(ipDestination, was))
	}
	// Of the rules for others, the first that fits ends the frame's way: none is exchanged twice.
	const dns = 53
	for _, p := range changed(guestAddr.dns, hostAddr.dns) {
		a, b := p.was.AsSlice(), p.is.AsSlice()
		for _, protocol := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
			ip(out, bytesAre(ipDestination, a), isTransport(protocol), toPort(dns), writeIP(ipDestination, b), out.end)
			ip(in, bytesAre(ipSource, b), isTransport(protocol), fromPort(dns), writeIP(ipSource, a), in.end)
		}
	}
	if p := (peer{guestAddr.gateway, hostAddr.gateway}); p.was != p.is && p.was.IsValid() && p.is.IsValid() {
		arp(out, bytesAre(arpTargetIP, p.was.AsSlice()), write(arpTargetIP, p.is.AsSlice()), out.end)
		arp(in, bytesAre(arpSenderIP, p.is.AsSlice()), write(arpSenderIP, p.was.AsSlice()), in.end)
	}
	if guestAddr.ip != hostAddr.ip { // who has the guest's old address now has its new one to it: it may be its twin
		arp(out, bytesAre(arpTargetIP, is), write(arpTargetIP, was), out.end)
		arp(in, bytesAre(arpSenderIP, was), write(arpSenderIP, is), in.end)
		ip(out, bytesAre(ipDestination, is), writeIP(ipDestination, was), out.end)
		ip(in, bytesAre(ipSource, was), writeIP(ipSource, is), in.end)
	}
	n.rule(out.chain, out.end)
	n.rule(in.chain, in.end)
}

// peer is somebody whom the guest knows by an address, and who has another.
type peer struct{ was, is netip.Addr }

// changed pairs those that are only in was with those that are only in is, as many as there are.
func changed(was, is []netip.Addr) (list []peer) {
	missing := func(a, b []netip.Addr) []netip.Addr {
		return slices.DeleteFunc(slices.Clone(a), func(ip netip.Addr) bool { return slices.Contains(b, ip) })
	}
	was, is = missing(was, is), missing(is, was)
	for i := range min(len(was), len(is)) {
		list = append(list, peer{was[i], is[i]})
	}
	return list
}

func (id *identity) equal(other *identity) bool {
	return bytes.Equal(id.mac, other.mac) && id.ip == other.ip && id.gateway == other.gateway && len(changed(id.dns, other.dns)) == 0
}

// gatewayQuestion is one by ARP, asked in a guest's name.
type gatewayQuestion struct {
	Link    int32  `json:"link"`
	MAC     []byte `json:"mac"`
	IP      []byte `json:"ip"`
	Gateway []byte `json:"gateway"`
}
