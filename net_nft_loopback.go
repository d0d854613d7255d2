// The way from the namespace's 127.0.0.1 to a guest without ports of its own: it gets the connections of processes
// there to ports on which nobody listens. `kubectl port-forward` connects so, and so do health checks.
//
// Contract: a port on which somebody listens is left alone; the guest reaches nothing on 127.0.0.1, but answers those
// connections.
//
// Whether somebody listens shows only where a packet arrives (PREROUTING): in OUTPUT the kernel finds the socket that
// sends. On arrival it is too late for NAT, which decided in OUTPUT that the connection stays as it is. So these rules
// write the addresses themselves: the guest sees standIn instead of 127.0.0.1. The kernel's entry of the connection
// (conntrack) has a mark then, by which later packets and the guest's answers are known.

package main

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

var (
	loopbackIP = []byte{127, 0, 0, 1}
	standIn    = []byte{169, 254, 138, 1} // nobody's address
)

// loopbackRules is a table of family ip: others have no "dup". The guest's packets pass the guard of sharedRules first.
func loopbackRules(t *tap) *nftTable {
	_, guest := linkNet(t.number)
	n := newNFT(unix.NFPROTO_IPV4, t.name)
	const raw, mangle, rest = -300, -150, -90
	mark := native32(0x72756e00 | uint32(t.number)) // "run"
	toGuest := [][]expr{writeIP(ipSource, standIn), writeIP(ipDestination, guest[:]), duplicate(guest[:], t.index), drop()}

	// To the guest. Of several without ports the one with the lowest number drops a packet first, as in sharedRules.
	n.chain("rest", "filter", unix.NF_INET_PRE_ROUTING, rest+int32(t.number), "")
	n.rule("rest", []expr{metaLoad(unix.NFT_META_IIFTYPE), compare(unix.NFT_CMP_NEQ, native16(unix.ARPHRD_LOOPBACK))}, leave())
	n.rule("rest", ipIs(unix.NFT_CMP_NEQ, ipSource, loopbackIP), leave())
	n.rule("rest", ipIs(unix.NFT_CMP_NEQ, ipDestination, loopbackIP), leave())
	n.rule("rest", append([][]expr{connectionIs(unix.NFT_CT_MARK, mark)}, toGuest...)...)
	n.rule("rest", connectionIsOld(), leave())
	n.rule("rest", someoneListens(), leave())
	for _, p := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		n.rule("rest", append([][]expr{isTransport(p), connectionIs(unix.NFT_CT_MARK, native32(0)), markConnection(mark)}, toGuest...)...)
	}

	// And back: before conntrack the addresses, so that it knows the connection; after it whatever is none of these ends.
	n.chain("answers", "filter", unix.NF_INET_PRE_ROUTING, raw+10, "")
	for _, p := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		n.rule("answers", fromDevice(t.index), bytesAre(ipDestination, standIn), isTransport(p), writeIP(ipSource, loopbackIP), writeIP(ipDestination, loopbackIP), pass())
	}
	// That nobody listens on a port of UDP is an answer as well: the message quotes the header of the packet that it is about.
	// No other message is: one that a packet was too large would make the loopback slow for all.
	const unreachable, port, quote = 3, 3, 8
	n.rule("answers", fromDevice(t.index), bytesAre(ipDestination, standIn), isTransport(unix.IPPROTO_ICMP), transportIs(0, []byte{unreachable, port}),
		writeQuoted(quote, ipSource, loopbackIP), writeQuoted(quote, ipDestination, loopbackIP), writeIP(ipSource, loopbackIP), writeIP(ipDestination, loopbackIP), pass())
	n.rule("answers", fromDevice(t.index), bytesAre(ipDestination, standIn), drop())
	n.chain("known", "filter", unix.NF_INET_PRE_ROUTING, mangle, "")
	n.rule("known", fromDevice(t.index), connectionIs(unix.NFT_CT_MARK, mark), connectionIs(unix.NFT_CT_DIRECTION, []byte{1}), pass()) // IP_CT_DIR_REPLY
	n.rule("known", fromDevice(t.index), bytesAre(ipDestination, loopbackIP[:1]), drop())
	return n
}

// connectionIs compares what conntrack knows of a packet's connection; it ends the rule if there is none.
func connectionIs(key uint32, v []byte) []expr {
	return []expr{connectionLoad(key), compare(unix.NFT_CMP_EQ, v)}
}

func connectionLoad(key uint32) expr {
	return expression("ct", number(unix.NFTA_CT_DREG, unix.NFT_REG_1), number(unix.NFTA_CT_KEY, key))
}

// connectionIsOld ends the rule if the packet is a connection's first.
func connectionIsOld() []expr {
	const isNew = 8 // NF_CT_STATE_BIT(IP_CT_NEW)
	return []expr{connectionLoad(unix.NFT_CT_STATE), masked(native32(isNew)), compare(unix.NFT_CMP_EQ, native32(0))}
}

func markConnection(v []byte) []expr {
	return []expr{load(unix.NFT_REG_1, v), expression("ct", number(unix.NFTA_CT_SREG, unix.NFT_REG_1), number(unix.NFTA_CT_KEY, unix.NFT_CT_MARK))}
}

func transportIs(offset uint32, v []byte) []expr {
	return []expr{payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, offset, uint32(len(v))), compare(unix.NFT_CMP_EQ, v)}
}

// writeQuoted replaces an address in a header of IPv4 that an ICMP message quotes. With the header's checksum that makes
// no difference to the message's own.
func writeQuoted(header, offset uint32, v []byte) []expr {
	return []expr{load(unix.NFT_REG_1, v), store(unix.NFT_PAYLOAD_TRANSPORT_HEADER, header+offset, uint32(len(v)),
		number(unix.NFTA_PAYLOAD_CSUM_TYPE, unix.NFT_PAYLOAD_CSUM_INET), number(unix.NFTA_PAYLOAD_CSUM_OFFSET, header+ipChecksum))}
}

// duplicate sends a copy of the packet to ip out of a device; conntrack takes no notice of the copy.
func duplicate(ip []byte, index int32) []expr {
	return []expr{
		load(unix.NFT_REG_1, ip), load(unix.NFT_REG_2, native32(uint32(index))),
		expression("dup", number(unix.NFTA_DUP_SREG_ADDR, unix.NFT_REG_1), number(unix.NFTA_DUP_SREG_DEV, unix.NFT_REG_2)),
	}
}

// masked keeps some bits of register 1.
func masked(mask []byte) expr {
	return expression("bitwise", number(unix.NFTA_BITWISE_SREG, unix.NFT_REG_1), number(unix.NFTA_BITWISE_DREG, unix.NFT_REG_1), number(unix.NFTA_BITWISE_LEN, uint32(len(mask))),
		value(unix.NFTA_BITWISE_MASK, mask), value(unix.NFTA_BITWISE_XOR, make([]byte, len(mask))))
}

func native16(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }
