// DHCP, as far as it takes to tell one guest its one address (RFC 2131). The keeper answers, through a
// packet socket on the guest's tap that `start` has opened for it: no address, no port, no daemon, and
// it works the same whether the frames go on to the namespace's stack or to its interface.
//
// Contract: what comes from the guest is hostile; fixed buffers, no allocation. The lease is the guest's
// for ever, so it asks once.

package main

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	dhcpFrame     = 590 // Ethernet, IP, UDP and the 548 bytes that every client must take
	dhcpLeaseSize = 64
)

// dhcpServer is who answers. Nobody needs to reach it: the lease never ends.
var dhcpServer = [4]byte{169, 254, 137, 253}

// dhcpLease is a lease as the keeper gets it: the address, the length of the options, and these.
func dhcpLease(l *lease) (b [dhcpLeaseSize]byte) {
	address := func(s string) []byte {
		ip, err := netip.ParseAddr(s)
		if err != nil {
			panic("BUG: " + err.Error()) // we wrote it ourselves
		}
		return ip.AsSlice()
	}
	copy(b[:], address(l.IP))
	o := append(b[5:5], 54, 4)
	o = append(o, dhcpServer[:]...)
	o = append(o, 51, 4, 0xff, 0xff, 0xff, 0xff, 1, 4)
	o = append(o, address(l.mask())...)
	if l.Gateway != "" {
		o = append(append(o, 3, 4), address(l.Gateway)...)
	}
	if len(l.DNS) > 0 {
		o = append(o, 6, byte(4*len(l.DNS)))
		for _, s := range l.DNS {
			o = append(o, address(s)...)
		}
	}
	o = append(o, 26, 2, byte(l.MTU>>8), byte(l.MTU))
	b[4] = byte(len(o))
	return b
}

// dhcpAnswer is the keeper's part.
type dhcpAnswer struct {
	lease [dhcpLeaseSize]byte
	frame [dhcpFrame]byte
}

// Offsets in a frame without IP options, as all clients send it and we do.
const (
	frameIP, frameUDP, frameDHCP = 14, 34, 42
	dhcpOptions                  = frameDHCP + 240
	dhcpMagic                    = 0x63825363
)

// to makes the answer to a frame; nil is none. DISCOVER gets an OFFER, REQUEST an ACK, or a NAK if it
// is for an address that is not the guest's.
func (a *dhcpAnswer) to(q []byte) []byte {
	if len(q) < dhcpOptions || q[frameIP] != 0x45 || q[frameDHCP] != 1 || q[frameDHCP+1] != 1 || q[frameDHCP+2] != 6 ||
		binary.BigEndian.Uint32(q[dhcpOptions-4:]) != dhcpMagic {
		return nil
	}
	kind, wanted := byte(0), q[frameDHCP+12:frameDHCP+16] // ciaddr, of who renews
	for o := q[dhcpOptions:]; len(o) > 2 && o[0] != 255; {
		if o[0] == 0 {
			o = o[1:]
			continue
		}
		size := int(o[1])
		if len(o) < 2+size {
			return nil
		}
		switch {
		case o[0] == 53 && size == 1:
			kind = o[2]
		case o[0] == 50 && size == 4:
			wanted = o[2:6]
		case o[0] == 54 && size == 4 && [4]byte(o[2:6]) != dhcpServer:
			return nil // it has chosen another server
		}
		o = o[2+size:]
	}
	address, options := a.lease[:4], a.lease[5:5+int(a.lease[4])]
	const discover, offer, request, ack, nak = 1, 2, 3, 5, 6
	switch {
	case kind == discover:
		kind = offer
	case kind == request && [4]byte(wanted) == [4]byte(address):
		kind = ack
	case kind == request:
		kind, address, options = nak, []byte{0, 0, 0, 0}, options[:6] // the server's name only
	default:
		return nil
	}
	return a.write(q, kind, address, options)
}

func (a *dhcpAnswer) write(q []byte, kind byte, address, options []byte) []byte {
	f := &a.frame
	clear(f[:])
	const tail = 3 + 1 // the kind, and the end
	size := max(dhcpOptions+tail+len(options), frameDHCP+300)
	copy(f[0:6], q[6:12])
	copy(f[6:14], []byte{2, 0, 0, 0, 0, 1, 8, 0})
	ip := f[frameIP:frameUDP]
	copy(ip, []byte{0x45, 0, byte((size - frameIP) >> 8), byte(size - frameIP), 0, 0, 0, 0, 64, unix.IPPROTO_UDP})
	copy(ip[ipSource:], dhcpServer[:])
	copy(ip[ipDestination:], []byte{255, 255, 255, 255})
	binary.BigEndian.PutUint16(ip[10:], ^checksum(ip, 0))
	udp := f[frameUDP:size]
	copy(udp, []byte{0, 67, 0, 68, byte(len(udp) >> 8), byte(len(udp))})
	d := f[frameDHCP:size]
	copy(d, []byte{2, 1, 6, 0})
	copy(d[4:12], q[frameDHCP+4:frameDHCP+12]) // transaction, seconds, flags
	copy(d[16:20], address)
	copy(d[28:44], q[frameDHCP+28:frameDHCP+44]) // the client's hardware address
	binary.BigEndian.PutUint32(d[236:], dhcpMagic)
	copy(d[240:], []byte{53, 1, kind})
	copy(d[243:], options)
	d[243+len(options)] = 255
	sum := checksum(ip[ipSource:], uint32(unix.IPPROTO_UDP)+uint32(len(udp)))
	if sum = ^checksum(udp, uint32(sum)); sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	return f[:size]
}

// checksum is the Internet's, of an even number of bytes, not inverted.
func checksum(b []byte, sum uint32) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
