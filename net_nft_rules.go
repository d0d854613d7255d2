// The rules that connect a guest's tap with its network namespace. Each guest has one table of its own,
// which goes when its QEMU goes (net_nft.go); no rule of anybody else's is ever touched.
//
// direct: every frame that arrives on the interface goes to the guest, and every frame of the guest out
// of the interface, below the namespace's own stack, which is left as it is and hears nothing any more.
//
// shared: the guest lives behind the namespace's stack, on a private link, and shares its addresses with
// everything else in there: ports of the namespace are led to it, and what it sends goes out under the
// namespace's address.

package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const upstreamUserPort = 9975 // the port that upstream forwards when the container does not say which

// directRules translate between the guest's own address (guestAddr) and the one that the network knows (hostAddr). mtu is set if its packets may be too large: TCP's
// are then kept below that.
func directRules(eth *netInterface, t *tap, guestAddr, hostAddr *identity, mtu int) *nftTable {
	n := newNFT(unix.NFPROTO_NETDEV, fmt.Sprintf("runh-direct-%d", eth.index)) // so it is taken once for an interface
	const first = -500
	n.chain("in", "filter", unix.NF_NETDEV_INGRESS, first, eth.name)
	n.chain("out", "filter", unix.NF_NETDEV_INGRESS, first, t.name)
	n.rule("out", isEther(unix.ETH_P_IP), isTransport(unix.IPPROTO_UDP), toPort(67), drop()) // DHCP: we answer
	for _, x := range []struct{ ether, headers uint16 }{{unix.ETH_P_IP, 40}, {unix.ETH_P_IPV6, 60}} {
		if mtu != 0 {
			size := binary.BigEndian.AppendUint16(nil, uint16(mtu)-x.headers)
			for _, chain := range []string{"in", "out"} {
				n.rule(chain, isEther(x.ether), isTransport(unix.IPPROTO_TCP), isSYN(), []expr{load(unix.NFT_REG_1, size)}, lowerMSS())
			}
		}
	}
	n.translate(way{"in", forwardTo(t.index)}, way{"out", forwardTo(eth.index)}, guestAddr, hostAddr, eth)
	return n
}

// translatedLink are the rules of mode shared for a guest that is not known on its link as it believes.
func translatedLink(t *tap, guestAddr, hostAddr *identity) *nftTable {
	n := newNFT(unix.NFPROTO_NETDEV, t.name)
	n.chain("in", "filter", nfNetdevEgress, 0, t.name)
	n.chain("out", "filter", unix.NF_NETDEV_INGRESS, 0, t.name)
	// It may know its gateway by another's hardware address: the stack takes that for its own, too.
	n.rule("out", isEther(unix.ETH_P_IP), metaIs(unix.NFT_META_PKTTYPE, []byte{unix.PACKET_OTHERHOST}), metaSet(unix.NFT_META_PKTTYPE, []byte{unix.PACKET_HOST}))
	n.translate(way{"in", pass()}, way{"out", pass()}, guestAddr, hostAddr, nil)
	return n
}

// The private links of mode shared: four addresses each, the second is the namespace's and the guest's
// gateway, the third the guest's. The net is one that clouds leave alone.
const linkBits = 30

func linkNet(number int) (gateway, guest [4]byte) {
	first := byte(4 * number)
	return [4]byte{169, 254, 137, first + 1}, [4]byte{169, 254, 137, first + 2}
}

var linkNets = []byte{169, 254, 137} // how all of them begin

// What a guest without ports of its own has, for the namespace's own processes: one that connects cannot be seen to
// have no listener, so only known ports are led to it. At 127.0.0.1 loopbackRules do better.
var ownPorts = []portForward{{"tcp", upstreamUserPort}}

// sharedRules. ports are the guest's; none makes it the one that gets all on which nobody listens, or
// would, if no guest with a lower number had them already. dns are the ports on the namespace's loopback
// (by protocol) to which the gateway's port 53 leads. With loopback there are loopbackRules, too.
func sharedRules(t *tap, ports []portForward, resolver netip.Addr, dns []portForward, loopback bool) *nftTable {
	gateway, guest := linkNet(t.number)
	n := newNFT(unix.NFPROTO_INET, t.name)
	const dnat, snat, raw, mangle = -100, 100, -300, -150

	// The guest sends under its own address, and to the loopback only what is led there.
	n.chain("guard", "filter", unix.NF_INET_PRE_ROUTING, raw, "")
	n.rule("guard", fromDevice(t.index), isIPv4(), ipIs(unix.NFT_CMP_NEQ, ipSource, guest[:]), drop())
	n.rule("guard", fromDevice(t.index), isIPv4(), bytesAre(ipDestination, []byte{127}), drop())

	// What arrives for the namespace, from outside, from other guests, or from this one.
	n.chain("ports", "nat", unix.NF_INET_PRE_ROUTING, dnat, "")
	for _, p := range dns {
		n.rule("ports", fromDevice(t.index), isIPv4(), bytesAre(ipDestination, gateway[:]),
			isTransport(p.number()), toPort(53), divert(resolver.AsSlice(), p.Port))
	}
	n.rule("ports", local(unix.NFT_CMP_NEQ, unix.NFTA_FIB_F_DADDR), leave())
	n.rule("ports", isIPv4(), bytesAre(ipDestination, linkNets), leave())
	for _, p := range ports {
		n.rule("ports", isIPv4(), isTransport(p.number()), toPort(p.Port), divert(guest[:], 0))
	}
	if len(ports) == 0 {
		n.chain("rest", "nat", unix.NF_INET_PRE_ROUTING, dnat+10+int32(t.number), "")
		n.rule("rest", local(unix.NFT_CMP_NEQ, unix.NFTA_FIB_F_DADDR), leave())
		n.rule("rest", isIPv4(), bytesAre(ipDestination, linkNets), leave())
		n.rule("rest", fromDevice(t.index), leave())
		n.rule("rest", someoneListens(), leave())
		for _, p := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			n.rule("rest", isIPv4(), isTransport(p), divert(guest[:], 0))
		}
		ports = ownPorts
	}

	// What the namespace's own processes send to one of its addresses, 127.0.0.1 among them.
	n.chain("own", "nat", unix.NF_INET_LOCAL_OUT, dnat, "")
	n.rule("own", local(unix.NFT_CMP_NEQ, unix.NFTA_FIB_F_DADDR), leave())
	n.rule("own", isIPv4(), bytesAre(ipDestination, linkNets), leave())
	if loopback {
		n.rule("own", isIPv4(), bytesAre(ipDestination, loopbackIP), leave())
	}
	for _, p := range ports {
		n.rule("own", isIPv4(), isTransport(p.number()), toPort(p.Port), divert(guest[:], 0))
	}

	// Connections through the namespace: what is offered in both directions fits on the way, though neither side may hear of
	// a narrower one than its own interface has.
	n.chain("segments", "filter", unix.NF_INET_FORWARD, mangle, "")
	for _, one := range [][]expr{fromDevice(t.index), toDevice(t.index)} {
		n.rule("segments", one, isIPv4(), isTransport(unix.IPPROTO_TCP), isSYN(), pathMSS(), lowerMSS())
	}

	// Who sees the namespace's address as the sender's, and not the true one: the guest, of what came
	// from the namespace itself or from the guest; and the world, of what the guest sends.
	n.chain("senders", "nat", unix.NF_INET_POST_ROUTING, snat, "")
	n.rule("senders", toDevice(t.index), local(unix.NFT_CMP_EQ, unix.NFTA_FIB_F_SADDR), masquerade())
	n.rule("senders", fromDevice(t.index), toDevice(t.index), masquerade())
	n.rule("senders", fromDevice(t.index), isIPv4(), ipIs(unix.NFT_CMP_NEQ, ipDestination, linkNets), masquerade())
	return n
}

func (p portForward) number() byte {
	if p.Proto == "udp" {
		return unix.IPPROTO_UDP
	}
	return unix.IPPROTO_TCP
}

// loopbackServers finds the port behind which a resolver on the loopback really listens: Docker's takes
// any, and leads 53 there by rules for the namespace's own processes.
func loopbackServers(ip netip.Addr) []portForward {
	var list []portForward
	for _, proto := range []string{"udp", "tcp"} {
		port := 53
		data, _ := readFile("/proc/thread-self/net/"+proto, 1<<20)
		if p := listenerPort(string(data), ip); p != 0 {
			port = p
		}
		list = append(list, portForward{proto, port})
	}
	return list
}

// listenerPort looks for a socket that is bound to ip, and connected to nobody, in a table of /proc/net:
// lines of "sl: LOCAL:PORT REMOTE:PORT ...", all in hexadecimal.
func listenerPort(table string, ip netip.Addr) int {
	address := fmt.Sprintf("%08X", binary.NativeEndian.Uint32(ip.AsSlice()))
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 3 || f[2] != "00000000:0000" {
			continue
		}
		if port, ok := strings.CutPrefix(f[1], address+":"); ok {
			n, _ := strconv.ParseUint(port, 16, 16)
			return int(n)
		}
	}
	return 0
}
