// nfnetlink: a table of nftables, with its chains and rules, in one transaction
// (which the kernel takes whole or not at all). net_nft_rules.go says which rules.
//
// Contract: the table belongs to the socket that made it ("flags owner", Linux 5.12): nobody else can
// change it, and the kernel removes it when the last descriptor of the socket is closed. QEMU holds one,
// which it cannot close (vm_seccomp.go), and the keeper another, until QEMU has ended: so rules end with the
// machine, however it ends, not before, and nothing has to clean up.
//
// A table and a dozen kinds of expressions are all that is needed; google/nftables would cost 230 KB.

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// What golang.org/x/sys/unix has no name for: linux/netfilter/nf_tables.h.
const (
	nftTableOwner     = 2 // NFT_TABLE_F_OWNER
	nftaFwdDevice     = 1 // NFTA_FWD_SREG_DEV
	nftaSocketKey     = 1 // NFTA_SOCKET_KEY
	nftaSocketDreg    = 2 // NFTA_SOCKET_DREG
	nftSocketWildcard = 2 // NFT_SOCKET_WILDCARD
	nftaSetElemKey    = 1 // NFTA_SET_ELEM_KEY
	nftExthdrTCP      = 1 // NFT_EXTHDR_OP_TCPOPT
	nfDrop            = 0 // NF_DROP
	nfAccept          = 1 // NF_ACCEPT
	nfNetdevEgress    = 1 // NF_NETDEV_EGRESS, Linux 5.16
)

// nftTable is a table to be made: messages that collect.
type nftTable struct {
	family byte
	name   string
	batch  []byte
	seq    uint32
	last   int // where in the batch the last message begins
}

// expr is one expression of a rule: a test, which ends the rule if it fails, or a deed.
type expr = netlink.Attribute

func nested(kind uint16, attrs ...netlink.Attribute) netlink.Attribute {
	data, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		panic("BUG: " + err.Error()) // an attribute of more than 64 KiB
	}
	return netlink.Attribute{Type: kind | unix.NLA_F_NESTED, Data: data}
}

func textAttr(kind uint16, s string) netlink.Attribute {
	return netlink.Attribute{Type: kind, Data: append([]byte(s), 0)}
}

// number is in network order, as nfnetlink has all its numbers.
func number(kind uint16, v uint32) netlink.Attribute {
	return netlink.Attribute{Type: kind, Data: binary.BigEndian.AppendUint32(nil, v)}
}

// newNFT begins a table; the family is NFPROTO_INET or NFPROTO_NETDEV.
func newNFT(family byte, name string) *nftTable {
	t := &nftTable{family: family, name: name}
	t.message(unix.NFNL_MSG_BATCH_BEGIN, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, 0)
	t.add(unix.NFT_MSG_NEWTABLE, netlink.Create|netlink.Excl,
		textAttr(unix.NFTA_TABLE_NAME, name), number(unix.NFTA_TABLE_FLAGS, nftTableOwner))
	return t
}

// message appends a netlink message with its nfgenmsg header.
func (t *nftTable) message(kind uint16, family byte, resource uint16, flags netlink.HeaderFlags, attrs ...netlink.Attribute) {
	data, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	t.last = len(t.batch)
	size := unix.NLMSG_HDRLEN + 4 + len(data)
	b := binary.NativeEndian.AppendUint32(t.batch, uint32(size))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, uint16(netlink.Request|flags))
	b = binary.NativeEndian.AppendUint32(b, t.seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(b, family, 0)
	b = binary.BigEndian.AppendUint16(b, resource)
	t.batch = append(b, data...) // attributes are padded, so messages are aligned
	t.seq++
}

func (t *nftTable) add(kind uint16, flags netlink.HeaderFlags, attrs ...netlink.Attribute) {
	t.message(unix.NFNL_SUBSYS_NFTABLES<<8|kind, t.family, 0, flags, attrs...)
}

// chain adds one that the kernel calls at a hook; device is for NFPROTO_NETDEV.
func (t *nftTable) chain(name, kind string, hook uint32, priority int32, device string) {
	at := []netlink.Attribute{number(unix.NFTA_HOOK_HOOKNUM, hook), number(unix.NFTA_HOOK_PRIORITY, uint32(priority))}
	if device != "" {
		at = append(at, textAttr(unix.NFTA_HOOK_DEV, device))
	}
	t.add(unix.NFT_MSG_NEWCHAIN, netlink.Create, textAttr(unix.NFTA_CHAIN_TABLE, t.name), textAttr(unix.NFTA_CHAIN_NAME, name),
		nested(unix.NFTA_CHAIN_HOOK, at...), textAttr(unix.NFTA_CHAIN_TYPE, kind))
}

// rule appends one to a chain.
func (t *nftTable) rule(chain string, parts ...[]expr) {
	var list []netlink.Attribute
	for _, p := range parts {
		list = append(list, p...)
	}
	t.add(unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append, textAttr(unix.NFTA_RULE_TABLE, t.name), textAttr(unix.NFTA_RULE_CHAIN, chain),
		nested(unix.NFTA_RULE_EXPRESSIONS, list...))
}

// makeTables has the kernel make tables. They live as long as the descriptor, which is the caller's.
func makeTables(tables ...*nftTable) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	for _, t := range tables {
		if err := addTable(fd, t); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

// addTable makes one more, with the same life. If it fails, the others stay.
func addTable(fd int, t *nftTable) error {
	err := t.send(fd)
	if errors.Is(err, unix.EEXIST) { // a guest's has an owner: that is EPERM
		return fmt.Errorf("there is a table of nftables by the name %s, and it is no guest's: remove it", t.name)
	}
	return err
}

// send has the kernel make one, which belongs to the socket.
func (t *nftTable) send(fd int) error {
	// The acknowledgement is asked for with the last message of the table: before Linux 6.10 the end of a batch gets none.
	last := t.seq - 1
	binary.NativeEndian.PutUint16(t.batch[t.last+6:], binary.NativeEndian.Uint16(t.batch[t.last+6:])|uint16(netlink.Acknowledge))
	t.message(unix.NFNL_MSG_BATCH_END, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, 0)
	if err := unix.Sendto(fd, t.batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	// The answers are the errors, in order, or the one to the last message. They are there when the kernel has taken
	// the batch; one that will not come must not be waited for.
	buf := make([]byte, 64<<10)
	n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
	if err != nil {
		return os.NewSyscallError("recvfrom", err)
	}
	answer := nftAnswer(buf[:n], last)
	for err == nil && answer != nil { // each message that is refused has an answer, and the next table is not to find one
		_, _, err = unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
	}
	return answer
}

func nftAnswer(b []byte, last uint32) error {
	if len(b) < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(b[4:]) != unix.NLMSG_ERROR {
		return errors.New("nftables: the kernel's answer is not one")
	}
	seq := binary.NativeEndian.Uint32(b[8:])
	if errno := -int32(binary.NativeEndian.Uint32(b[unix.NLMSG_HDRLEN:])); errno != 0 {
		return fmt.Errorf("nftables, message %d: %w", seq, unix.Errno(errno))
	}
	return nil
}

// ---- expressions ----

func expression(name string, attrs ...netlink.Attribute) expr {
	return nested(unix.NFTA_LIST_ELEM, textAttr(unix.NFTA_EXPR_NAME, name), nested(unix.NFTA_EXPR_DATA, attrs...))
}

func value(kind uint16, v []byte) netlink.Attribute {
	return nested(kind, netlink.Attribute{Type: unix.NFTA_DATA_VALUE, Data: v})
}

// compare ends the rule unless register 1 is v (op NFT_CMP_EQ), or is not (NFT_CMP_NEQ).
func compare(op uint32, v []byte) expr {
	return expression("cmp", number(unix.NFTA_CMP_SREG, unix.NFT_REG_1), number(unix.NFTA_CMP_OP, op), value(unix.NFTA_CMP_DATA, v))
}

func metaLoad(key uint32) expr {
	return expression("meta", number(unix.NFTA_META_DREG, unix.NFT_REG_1), number(unix.NFTA_META_KEY, key))
}

// metaIs compares what the kernel knows of a packet, in the host's byte order.
func metaIs(key uint32, v []byte) []expr {
	return []expr{metaLoad(key), compare(unix.NFT_CMP_EQ, v)}
}

func metaSet(key uint32, v []byte) []expr {
	return []expr{load(unix.NFT_REG_1, v), expression("meta", number(unix.NFTA_META_SREG, unix.NFT_REG_1), number(unix.NFTA_META_KEY, key))}
}

func fromDevice(index int32) []expr { return metaIs(unix.NFT_META_IIF, native32(uint32(index))) }
func toDevice(index int32) []expr   { return metaIs(unix.NFT_META_OIF, native32(uint32(index))) }
func isIPv4() []expr                { return metaIs(unix.NFT_META_NFPROTO, []byte{unix.NFPROTO_IPV4}) }
func isTransport(p byte) []expr     { return metaIs(unix.NFT_META_L4PROTO, []byte{p}) }

// isEther compares the type of an Ethernet frame.
func isEther(kind uint16) []expr {
	return metaIs(unix.NFT_META_PROTOCOL, binary.BigEndian.AppendUint16(nil, kind))
}

func payload(base, offset, size uint32) expr {
	return expression("payload", number(unix.NFTA_PAYLOAD_DREG, unix.NFT_REG_1), number(unix.NFTA_PAYLOAD_BASE, base),
		number(unix.NFTA_PAYLOAD_OFFSET, offset), number(unix.NFTA_PAYLOAD_LEN, size))
}

// Where things are in an Ethernet header, in an IPv4 header, in a transport header and in an ARP message.
const (
	etherDestination, etherSource = 0, 6
	ipChecksum                    = 10
	ipSource, ipDestination       = 12, 16
	portSource, portDestination   = 0, 2
	arpOperation                  = 6
	arpSenderMAC, arpSenderIP     = 8, 14 // side by side
	arpTargetMAC, arpTargetIP     = 18, 24
)

// ipIs compares an IPv4 address, or as many first bytes of it as v has.
func ipIs(op, offset uint32, v []byte) []expr {
	return []expr{payload(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, uint32(len(v))), compare(op, v)}
}

// bytesAre compares bytes of the network header, which an ARP message counts as.
func bytesAre(offset uint32, v []byte) []expr { return ipIs(unix.NFT_CMP_EQ, offset, v) }

func etherIs(offset uint32, v []byte) []expr {
	return []expr{payload(unix.NFT_PAYLOAD_LL_HEADER, offset, uint32(len(v))), compare(unix.NFT_CMP_EQ, v)}
}

func fromPort(port int) []expr { return portIs(portSource, port) }
func toPort(port int) []expr   { return portIs(portDestination, port) }

func portIs(offset uint32, port int) []expr {
	return []expr{payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, offset, 2), compare(unix.NFT_CMP_EQ, binary.BigEndian.AppendUint16(nil, uint16(port)))}
}

// store writes register 1 over bytes of a header.
func store(base, offset, size uint32, checksum ...netlink.Attribute) expr {
	return expression("payload", append([]netlink.Attribute{
		number(unix.NFTA_PAYLOAD_SREG, unix.NFT_REG_1), number(unix.NFTA_PAYLOAD_BASE, base), number(unix.NFTA_PAYLOAD_OFFSET, offset), number(unix.NFTA_PAYLOAD_LEN, size),
	}, checksum...)...)
}

// write replaces bytes of the network header by v; no checksum covers them.
func write(offset uint32, v []byte) []expr {
	return []expr{load(unix.NFT_REG_1, v), store(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, uint32(len(v)))}
}

func writeEther(offset uint32, v []byte) []expr {
	return []expr{load(unix.NFT_REG_1, v), store(unix.NFT_PAYLOAD_LL_HEADER, offset, uint32(len(v)))}
}

// writeIP replaces an address of IPv4, which two checksums cover: the header's, and UDP's or TCP's.
func writeIP(offset uint32, v []byte) []expr {
	return []expr{load(unix.NFT_REG_1, v), store(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, uint32(len(v)),
		number(unix.NFTA_PAYLOAD_CSUM_TYPE, unix.NFT_PAYLOAD_CSUM_INET), number(unix.NFTA_PAYLOAD_CSUM_OFFSET, ipChecksum),
		number(unix.NFTA_PAYLOAD_CSUM_FLAGS, unix.NFT_PAYLOAD_L4CSUM_PSEUDOHDR))}
}

// copyBytes copies at most 16 bytes of the network header to another place in it.
func copyBytes(from, to, size uint32) []expr {
	return []expr{payload(unix.NFT_PAYLOAD_NETWORK_HEADER, from, size), store(unix.NFT_PAYLOAD_NETWORK_HEADER, to, size)}
}

// etherAnswer sends a frame back to where it came from.
func etherAnswer(from []byte) []expr {
	back := []expr{payload(unix.NFT_PAYLOAD_LL_HEADER, etherSource, 6), store(unix.NFT_PAYLOAD_LL_HEADER, etherDestination, 6)}
	return append(back, writeEther(etherSource, from)...)
}

// local compares the kind of an address (flag NFTA_FIB_F_SADDR or _DADDR) with "one of ours".
func local(op, flag uint32) []expr {
	return []expr{
		expression("fib", number(unix.NFTA_FIB_DREG, unix.NFT_REG_1), number(unix.NFTA_FIB_RESULT, unix.NFT_FIB_RESULT_ADDRTYPE), number(unix.NFTA_FIB_FLAGS, flag)),
		compare(op, native32(unix.RTN_LOCAL)),
	}
}

// someoneListens ends the rule unless a socket of this network takes the packet: a listening one, on
// the address or on all of them, or a connected one.
func someoneListens() []expr {
	return []expr{expression("socket", number(nftaSocketKey, nftSocketWildcard), number(nftaSocketDreg, unix.NFT_REG_1))}
}

// isSYN ends the rule unless the TCP segment opens a connection, or answers one that does.
func isSYN() []expr {
	const flags, syn = 13, 2
	return []expr{
		payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, flags, 1),
		masked([]byte{syn}),
		compare(unix.NFT_CMP_NEQ, []byte{0}),
	}
}

// pathMSS loads the largest segment of TCP that passes on the packet's way there and back.
func pathMSS() []expr {
	return []expr{
		expression("rt", number(unix.NFTA_RT_DREG, unix.NFT_REG_1), number(unix.NFTA_RT_KEY, unix.NFT_RT_TCPMSS)),
		expression("byteorder", number(unix.NFTA_BYTEORDER_SREG, unix.NFT_REG_1), number(unix.NFTA_BYTEORDER_DREG, unix.NFT_REG_1),
			number(unix.NFTA_BYTEORDER_OP, unix.NFT_BYTEORDER_HTON), number(unix.NFTA_BYTEORDER_LEN, 2), number(unix.NFTA_BYTEORDER_SIZE, 2)),
	}
}

// lowerMSS replaces the segment size that a SYN offers by the loaded one, if that is smaller (nft_exthdr.c). Like pathMSS it is part
// of every nf_tables that has owners.
func lowerMSS() []expr {
	const mss, atSize, size = 2, 2, 2
	return []expr{expression("exthdr", number(unix.NFTA_EXTHDR_SREG, unix.NFT_REG_1), netlink.Attribute{Type: unix.NFTA_EXTHDR_TYPE, Data: []byte{mss}},
		number(unix.NFTA_EXTHDR_OFFSET, atSize), number(unix.NFTA_EXTHDR_LEN, size), number(unix.NFTA_EXTHDR_OP, nftExthdrTCP))}
}

func load(register uint32, v []byte) expr {
	return expression("immediate", number(unix.NFTA_IMMEDIATE_DREG, register), value(unix.NFTA_IMMEDIATE_DATA, v))
}

func verdict(code uint32) []expr {
	return []expr{expression("immediate", number(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT),
		nested(unix.NFTA_IMMEDIATE_DATA, nested(unix.NFTA_DATA_VERDICT, number(unix.NFTA_VERDICT_CODE, code))))}
}

func leave() []expr { return verdict(^uint32(4)) } // NFT_RETURN, -5
func drop() []expr  { return verdict(nfDrop) }
func pass() []expr  { return verdict(nfAccept) }

// divert changes the packet's destination; port 0 leaves the port.
func divert(ip []byte, port int) []expr {
	list := []expr{load(unix.NFT_REG_1, ip)}
	to := []netlink.Attribute{
		number(unix.NFTA_NAT_TYPE, unix.NFT_NAT_DNAT), number(unix.NFTA_NAT_FAMILY, unix.NFPROTO_IPV4),
		number(unix.NFTA_NAT_REG_ADDR_MIN, unix.NFT_REG_1),
	}
	if port != 0 {
		list = append(list, load(unix.NFT_REG_2, binary.BigEndian.AppendUint16(nil, uint16(port))))
		to = append(to, number(unix.NFTA_NAT_REG_PROTO_MIN, unix.NFT_REG_2))
	}
	return append(list, expression("nat", to...))
}

func masquerade() []expr { return []expr{expression("masq")} }

// forwardTo sends the frame out of a device as it is.
func forwardTo(index int32) []expr {
	return []expr{load(unix.NFT_REG_1, native32(uint32(index))), expression("fwd", number(nftaFwdDevice, unix.NFT_REG_1))}
}

func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
