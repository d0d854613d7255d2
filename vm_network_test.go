// What is chosen of a namespace's network, what the guest is told of it, and the answers to its DHCP: without a network.

package main

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUplink(t *testing.T) {
	face := func(index int32, name string, addresses ...string) netInterface {
		i := netInterface{index: index, name: name, mac: []byte{2, 0, 0, 0, 0, byte(index)}, mtu: 1500}
		for _, a := range addresses {
			i.addresses = append(i.addresses, netip.MustParsePrefix(a))
		}
		return i
	}
	route := func(to, by string, index int32, metric uint32) netRoute {
		r := netRoute{to: netip.MustParsePrefix(to), index: index, metric: metric}
		if by != "" {
			r.gateway = netip.MustParseAddr(by)
		}
		return r
	}
	lo := netInterface{index: 1, name: "lo", loopback: true}
	six := face(3, "eth1")
	six.ipv6 = true
	for _, tt := range []struct {
		name       string
		interfaces []netInterface
		routes     []netRoute
		want       string // interface, address, gateway, what more there is; or the error
	}{
		{"nothing", nil, nil, "there is no interface that is up, but the loopback"},
		{"no address", []netInterface{lo, face(2, "eth0"), six}, nil, "there is no interface with an IPv4 address: eth0 has no address, eth1 has only addresses of IPv6"},
		{"Docker's", []netInterface{lo, face(2, "eth0", "172.17.0.2/16")}, []netRoute{route("0.0.0.0/0", "172.17.0.1", 2, 0), route("172.17.0.0/16", "", 2, 0)}, "eth0 172.17.0.2/16 172.17.0.1 -"},
		{"the lower metric", []netInterface{face(2, "eth0", "10.0.0.2/24"), face(3, "eth1", "10.1.0.2/24")}, []netRoute{route("0.0.0.0/0", "10.0.0.1", 2, 100), route("0.0.0.0/0", "10.1.0.1", 3, 50)}, "eth1 10.1.0.2/24 10.1.0.1 the interface eth0"},
		{"a default route without a gateway", []netInterface{face(2, "wg0", "10.0.0.2/32")}, []netRoute{route("0.0.0.0/0", "", 2, 0)}, "wg0 10.0.0.2/32 invalid IP -"},
		{"only another route", []netInterface{face(2, "eth0", "10.0.0.2/24")}, []netRoute{route("10.9.0.0/16", "10.0.0.9", 2, 0)}, "eth0 10.0.0.2/24 10.0.0.9 -"},
		{"the gateway's prefix", []netInterface{face(2, "eth0", "10.0.0.2/24", "10.1.0.2/24")}, []netRoute{route("0.0.0.0/0", "10.1.0.1", 2, 0)}, "eth0 10.1.0.2/24 10.1.0.1 -"},
		{"a second gateway", []netInterface{face(2, "eth0", "10.0.0.2/24")}, []netRoute{route("0.0.0.0/0", "10.0.0.1", 2, 0), route("10.9.0.0/16", "10.0.0.9", 2, 0)}, "eth0 10.0.0.2/24 10.0.0.1 the route to 10.9.0.0/16 by 10.0.0.9"},
		{"a route of an interface that is down", []netInterface{face(2, "eth0", "10.0.0.2/24")}, []netRoute{route("0.0.0.0/0", "10.5.0.1", 7, 0)}, "eth0 10.0.0.2/24 invalid IP -"},
	} {
		u, err := (&network{interfaces: tt.interfaces, routes: tt.routes}).uplink()
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = strings.Join([]string{u.name, u.address.String(), u.gateway.String(), firstWord(u.more, "-")}, " ")
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestLeaseOfUplink(t *testing.T) {
	up := func(address, gateway string) *uplink {
		u := &uplink{netInterface: &netInterface{mac: []byte{2, 0, 0, 0xab, 0, 1}, mtu: 1450}, address: netip.MustParsePrefix(address)}
		if gateway != "" {
			u.gateway = netip.MustParseAddr(gateway)
			u.onLink = u.address.Contains(u.gateway)
		}
		return u
	}
	for _, tt := range []struct{ address, gateway, want string }{
		{"10.0.0.2/24", "10.0.0.1", "-ip 10.0.0.2 -gateway 10.0.0.1 -mask 255.255.255.0"},
		{"10.0.5.2/20", "10.0.15.254", "-ip 10.0.5.2 -gateway 10.0.15.254 -mask 255.255.240.0"},
		{"10.0.0.2/32", "169.254.1.1", "-ip 10.0.0.2 -gateway 10.0.0.3 -mask 255.255.255.254"},
		{"10.0.0.255/32", "169.254.1.1", "-ip 10.0.0.255 -gateway 10.0.0.254 -mask 255.255.255.254"},
		{"10.0.0.2/32", "", "-ip 10.0.0.2 -mask 255.255.255.255"},
	} {
		l := up(tt.address, tt.gateway).lease(&resolver{})
		if got := strings.Join(l.bootWords(false, false), " "); got != tt.want || l.MAC != "02:00:00:ab:00:01" || l.MTU != 1450 {
			t.Errorf("%s by %s: %+v, %s", tt.address, tt.gateway, l, got)
		}
	}
}

func TestResolver(t *testing.T) {
	for _, tt := range []struct{ text, loopback, names string }{
		{"", "invalid IP", ""},
		{"# x\nsearch a b\nnameserver 10.0.0.1\nnameserver\t10.0.0.2 \nnameserver 10.0.0.3\n", "invalid IP", "10.0.0.1 10.0.0.2"},
		{"nameserver 127.0.0.11\noptions ndots:0\nnameserver 8.8.8.8", "127.0.0.11", "169.254.137.1 8.8.8.8"},
		{"nameserver fe80::1%eth0\nnameserver ::1\nnameserver x\nnameserver 0.0.0.0\nNAMESERVER 1.1.1.1\nnameserver", "invalid IP", ""},
	} {
		r := parseResolver(strings.NewReader(tt.text))
		if names := strings.Join(r.names("169.254.137.1"), " "); r.loopback.String() != tt.loopback || names != tt.names {
			t.Errorf("%q: %v, %s", tt.text, r, names)
		}
	}
	table := "  sl  local_address rem_address   st\n   0: 0100007F:0035 00000000:0000 07\n   1: 0B00007F:B7A1 0100007F:1000 01\n   2: 0B00007F:A001 00000000:0000 0A\n"
	if p := listenerPort(table, netip.MustParseAddr("127.0.0.11")); p != 0xa001 {
		t.Errorf("port %d", p)
	}
	if p := listenerPort(table, netip.MustParseAddr("127.0.0.12")); p != 0 {
		t.Errorf("port %d", p)
	}
}

func TestGuestLink(t *testing.T) {
	for name, want := range map[string]bool{"runh0": true, "runh63": true, "runh": false, "runh01": false, "runhx": false, "eth0": false, "xrunh0": false, "runh-1": false} {
		if isGuestLink(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
	if a, b := stableMAC("/r", "a"), stableMAC("/r", "b"); a == b || a != stableMAC("/r", "a") || len(a) != 17 || !strings.HasPrefix(a, "02:") {
		t.Error(a, b)
	}
}

// dhcpQuestion is what a client sends.
func dhcpQuestion(options ...byte) []byte {
	q := make([]byte, dhcpOptions, 400)
	copy(q[6:], []byte{2, 0, 0, 0, 0, 9, 8, 0, 0x45})
	q[23] = unix.IPPROTO_UDP
	copy(q[frameUDP:], []byte{0, 68, 0, 67})
	copy(q[frameDHCP:], []byte{1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef})
	copy(q[frameDHCP+28:], q[6:12])
	binary.BigEndian.PutUint32(q[dhcpOptions-4:], dhcpMagic)
	return append(q, options...)
}

func TestDHCP(t *testing.T) {
	l := &lease{IP: "10.1.2.3", Bits: 20, Gateway: "10.1.0.1", DNS: []string{"9.9.9.9", "1.1.1.1"}, MTU: 1450}
	a := &dhcpAnswer{lease: dhcpLease(l)}
	server := string(dhcpServer[:])
	for _, tt := range []struct {
		name    string
		options []byte
		want    byte // 0: silence
	}{
		{"discover", []byte{53, 1, 1, 255}, 2},
		{"discover, behind others", []byte{0, 0, 55, 3, 1, 3, 6, 53, 1, 1, 255}, 2},
		{"request", append([]byte{53, 1, 3, 50, 4, 10, 1, 2, 3, 54, 4}, server+"\xff"...), 5},
		{"reboot", []byte{53, 1, 3, 50, 4, 10, 1, 2, 3, 255}, 5},
		{"request of another address", []byte{53, 1, 3, 50, 4, 10, 1, 2, 4, 255}, 6},
		{"request to another server", []byte{53, 1, 3, 50, 4, 10, 1, 2, 3, 54, 4, 10, 0, 0, 1, 255}, 0},
		{"release", []byte{53, 1, 7, 255}, 0},
		{"nothing", []byte{255}, 0},
		{"cut", []byte{53, 1}, 0},
		{"too long", []byte{53, 200, 1, 255}, 0},
	} {
		q := dhcpQuestion(tt.options...)
		reply := a.to(q)
		if tt.want == 0 {
			if reply != nil {
				t.Errorf("%s: answered by %x", tt.name, reply)
			}
			continue
		}
		if reply == nil {
			t.Errorf("%s: no answer", tt.name)
			continue
		}
		udp := reply[frameUDP:]
		pseudo := uint32(unix.IPPROTO_UDP) + uint32(len(udp))
		if checksum(reply[frameIP:frameUDP], 0) != 0xffff || checksum(udp, uint32(checksum(reply[frameIP+ipSource:frameUDP], pseudo))) != 0xffff {
			t.Errorf("%s: the checksums are wrong", tt.name)
		}
		if int(binary.BigEndian.Uint16(reply[frameIP+2:])) != len(reply)-frameIP || int(binary.BigEndian.Uint16(udp[4:])) != len(udp) || len(reply) < 342 {
			t.Errorf("%s: the lengths are wrong", tt.name)
		}
		if !bytes.Equal(reply[:6], q[6:12]) || !bytes.Equal(reply[frameDHCP+4:frameDHCP+8], q[frameDHCP+4:frameDHCP+8]) || reply[frameDHCP] != 2 {
			t.Errorf("%s: this answers somebody else: %x", tt.name, reply)
		}
		options := map[byte]string{}
		for o := reply[dhcpOptions:]; o[0] != 255; o = o[2+o[1]:] {
			options[o[0]] = string(o[2 : 2+o[1]])
		}
		want := map[byte]string{53: string(rune(tt.want)), 54: server}
		address := []byte{0, 0, 0, 0}
		if tt.want != 6 {
			address = []byte{10, 1, 2, 3}
			want[1], want[3], want[6], want[26], want[51] = "\xff\xff\xf0\x00", "\x0a\x01\x00\x01", "\x09\x09\x09\x09\x01\x01\x01\x01", "\x05\xaa", "\xff\xff\xff\xff"
		}
		if !bytes.Equal(reply[frameDHCP+16:frameDHCP+20], address) || len(options) != len(want) {
			t.Errorf("%s: %v, options %q", tt.name, reply[frameDHCP+16:frameDHCP+20], options)
		}
		for k, v := range want {
			if options[k] != v {
				t.Errorf("%s: option %d is %q, want %q", tt.name, k, options[k], v)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { a.to(dhcpFixed) }); n != 0 {
		t.Errorf("%v allocations an answer", n)
	}
	bare := dhcpLease(&lease{IP: "10.1.2.3", Bits: 32, MTU: 1500})
	if o := bare[5 : 5+bare[4]]; slices.Contains([]byte{o[0], o[6], o[12], o[18]}, 3) || bytes.Contains(o, []byte{6, 0}) {
		t.Errorf("a lease without gateway and names: %v", o)
	}
}

var dhcpFixed = dhcpQuestion(53, 1, 1, 255)

// Whatever a guest sends, the keeper lives, and sends no more than a frame.
func FuzzDHCP(f *testing.F) {
	f.Add(dhcpFixed)
	f.Add(dhcpQuestion(53, 1, 3, 50, 4, 10, 1, 2, 3, 255))
	f.Add(dhcpQuestion(54, 4, 1))
	a := &dhcpAnswer{lease: dhcpLease(&longestLease)}
	f.Fuzz(func(t *testing.T, q []byte) {
		if r := a.to(q); len(r) > dhcpFrame {
			t.Errorf("%d bytes", len(r))
		}
	})
}

// Messages of the kernel's, cut anywhere: no panic.
func FuzzNetworkMessages(f *testing.F) {
	f.Add(make([]byte, 40))
	f.Add(append(make([]byte, unix.SizeofRtMsg), 12, 0, 9, 0, 20, 0, 0, 0, 1, 0, 0, 0))
	f.Fuzz(func(_ *testing.T, data []byte) {
		n := &network{}
		n.addInterface(data)
		n.addAddress(data)
		n.addRoute(data)
		n.uplink()
		nftAnswer(data, 0)
	})
}
