// An attachment is a guest's side of its network in the modes direct and shared, until QEMU has it: a tap, the
// socket that owns the rules, the lease.
//
// Contract: whatever is made here goes when the last descriptor is closed. vm_network.go chooses the mode, net_tap.go
// and net_nft_rules.go do the work.

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// attachment is a guest's side of its network, before QEMU has it.
type attachment struct {
	*tap
	rules int // netlink socket that owns the nftables
	vhost int // /dev/vhost-net, or -1
	lease *lease
	mode  string // "direct" or "shared"

	question *gatewayQuestion // of a restored guest
}

// close gives back our copies. If nobody else has any, that undoes it all.
func (a *attachment) close() {
	if a == nil {
		return
	}
	for _, fd := range []int{a.tap.fd, a.rules, a.vhost} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// direct gives the guest all that the interface has.
func (a *attachment) direct(g *globals, l links, vm *vmConfig, up *uplink, names *resolver) error {
	a.lease = up.lease(names)
	path := up.mtu
	if vm.MTU != 0 {
		a.lease.MTU, path = vm.MTU, vm.MTU
	}
	if len(up.mac) != 6 {
		return fmt.Errorf("the interface %s has no Ethernet address, without which a guest cannot have it: the network mode \"shared\" works there", up.name)
	}
	for _, why := range up.notDirect(l, names) {
		g.lossf("network: %s: the network mode \"shared\" has no such limit", why)
	}
	guestAddr, hostAddr, err := a.identities(vm)
	if err != nil {
		return err
	}
	hostAddr.gateway = up.gateway
	if vm.Keep {
		hostAddr.mac, hostAddr.ip = guestAddr.mac, guestAddr.ip
	}
	a.warnMTU(g, vm, up.mtu)
	if err := a.raise(l, a.lease.MTU); err != nil {
		return err
	}
	if path >= a.guestMTU(vm) {
		path = 0 // TCP fits
	}
	if a.rules, err = makeTables(directRules(up.netInterface, a.tap, &guestAddr, &hostAddr, path)); isOthers(err) {
		return taken{fmt.Sprintf("the interface %s is another guest's", up.name)}
	}
	if vm.Saved != nil && up.gateway.IsValid() {
		a.question = &gatewayQuestion{up.index, hostAddr.mac, hostAddr.ip.AsSlice(), up.gateway.AsSlice()}
	}
	return err
}

// notDirect is what a guest that has the interface cannot reach, because a guest knows one address, one gateway, and ARP.
func (u *uplink) notDirect(l links, names *resolver) (list []string) {
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if u.more != "" {
		add("the guest has the interface %s, and not %s", u.name, u.more)
	}
	if names.loopback.IsValid() {
		add("the guest does not reach the name server %v, which is the namespace's own", names.loopback)
	}
	switch {
	case u.noARP:
		add("there is no ARP on the interface %s (as on ipvlan in mode L3), by which alone the guest finds its neighbours", u.name)
	case u.bare:
		add("the guest reaches only %v, because the default route of the interface %s has no gateway", u.address.Masked(), u.name)
	case u.gateway.IsValid() && l.isPermanent(u.index, u.gateway):
		add("the guest finds the gateway %v only if that answers ARP: the interface %s has a permanent neighbour entry for it, as for one that does not", u.gateway, u.name)
	}
	return list
}

// identities are who the guest believes to be, and who it would be if it were started now. From here on
// the lease is the former.
func (a *attachment) identities(vm *vmConfig) (guestAddr, hostAddr identity, err error) {
	if hostAddr, err = a.lease.identity(); err != nil || vm.Saved == nil {
		return hostAddr, hostAddr, err
	}
	a.lease = vm.Saved
	guestAddr, err = a.lease.identity()
	return guestAddr, hostAddr, err
}

// guestMTU is the size of packets that the guest takes for possible.
func (a *attachment) guestMTU(vm *vmConfig) int {
	if vm.Saved == nil && !vm.Boot.Variables {
		return ethernetMTU // nothing tells this kernel
	}
	return a.lease.MTU
}

// warnMTU is for what clampMSS cannot help: UDP, for example.
func (a *attachment) warnMTU(g *globals, vm *vmConfig, path int) {
	if size := a.guestMTU(vm); size > path {
		g.lossf("network: the guest sends packets of up to %d bytes, but only %d bytes pass: TCP adapts, larger packets of other protocols are lost", size, path)
	}
}

// nowhere is the network of a guest that must have a card, where there is no interface for it: nobody is
// at the other end.
func (a *attachment) nowhere(l links, vm *vmConfig, mac string) (err error) {
	if a.lease = vm.Saved; a.lease == nil {
		a.lease = linkLease(a.number, mac, ethernetMTU)
	}
	if err = a.raise(l, a.lease.MTU); err == nil {
		a.rules, err = makeTables() // none: what a VMM is given has its place
	}
	return err
}

// lease is what the guest is to take itself for. A gateway out of its prefix, as beside an address /32,
// is nothing that a Hermit kernel can use: it is told a prefix of two addresses, itself and a gateway
// (see directRules).
func (u *uplink) lease(names *resolver) *lease {
	l := &lease{MAC: macText(append(u.mac[:len(u.mac):len(u.mac)], make([]byte, 6)...)), IP: u.address.Addr().String(), Bits: u.address.Bits(), DNS: names.names(""), MTU: u.mtu}
	switch {
	case !u.gateway.IsValid():
	case u.onLink:
		l.Gateway = u.gateway.String()
	default:
		l.Bits, l.Gateway = 31, neighbour(u.address.Addr()).String()
	}
	return l
}

// neighbour is the other address of the prefix of 31 bits.
func neighbour(a netip.Addr) netip.Addr {
	b := a.As4()
	b[3] ^= 1
	return netip.AddrFrom4(b)
}

// shared puts the guest on a link of its own behind the namespace.
func (a *attachment) shared(g *globals, l links, vm *vmConfig, mtu int, mac string, names *resolver) error {
	if err := a.claim(l, vm.Ports); err != nil {
		return err
	}
	gateway, _ := linkNet(a.number)
	a.lease = linkLease(a.number, mac, mtu)
	a.lease.DNS = names.names(a.lease.Gateway)
	if vm.MTU != 0 {
		a.lease.MTU = vm.MTU
	}
	guestAddr, hostAddr, err := a.identities(vm)
	if err != nil {
		return err
	}
	a.warnMTU(g, vm, mtu)
	if err := a.raise(l, a.lease.MTU); err != nil {
		return err
	}
	// Connections of the loopback's are led to the guest, and the guest's to a resolver there.
	if err := setSysctl("net/ipv4/conf/"+a.name+"/route_localnet", "1"); err != nil {
		return err
	}
	// What answers a connection of the loopback's comes from the loopback's own address (loopbackRules).
	for _, x := range [][2]string{{"accept_local", "1"}, {"rp_filter", "2"}} {
		if err := setSysctl("net/ipv4/conf/"+a.name+"/"+x[0], x[1]); err != nil {
			return err
		}
	}
	if err := a.address(l, gateway); err != nil {
		return err
	}
	if err := a.makeShared(g, vm, names, &guestAddr, &hostAddr); err != nil {
		return err
	}
	return forward(l) // last: what is before it goes with our descriptors
}

// makeShared makes the rules of mode shared. A kernel can be without those for the loopback (nft_dup_ipv4 is a module), and without
// those for a guest that has another address than its link (the egress hook is of 5.16).
func (a *attachment) makeShared(g *globals, vm *vmConfig, names *resolver, guestAddr, hostAddr *identity) (err error) {
	lacks := func(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) }
	if a.rules, err = makeTables(); err != nil {
		return err
	}
	loopback := len(vm.Ports) == 0
	if loopback {
		if err = addTable(a.rules, loopbackRules(a.tap)); lacks(err) {
			loopback, err = false, nil
			g.lossf("network: at 127.0.0.1 the guest has port %d alone: this kernel's nftables lack dup, ct or socket for IPv4 (module nft_dup_ipv4)", upstreamUserPort)
		}
	}
	if err == nil {
		var dns []portForward
		if names.loopback.IsValid() {
			dns = loopbackServers(names.loopback)
		}
		err = addTable(a.rules, sharedRules(a.tap, vm.Ports, names.loopback, dns, loopback))
	}
	if err == nil && !guestAddr.equal(hostAddr) {
		if err = addTable(a.rules, translatedLink(a.tap, guestAddr, hostAddr)); errors.Is(err, unix.EOPNOTSUPP) {
			return errNoEgress
		}
	}
	if isOthers(err) { // QEMU, on its way out, lets go of its tap first
		return taken{fmt.Sprintf("the nftables of %s are another guest's", a.name)}
	}
	return err
}

var errNoEgress = errors.New("the saved guest has another address than its link here, which takes a kernel with nftables' egress hook (5.16)")

// isOthers: the table is there already, with another owner.
func isOthers(err error) bool { return errors.Is(err, unix.EPERM) }

// linkLease is for the guest on a private link.
func linkLease(number int, mac string, mtu int) *lease {
	gateway, guest := linkNet(number)
	return &lease{MAC: mac, IP: netip.AddrFrom4(guest).String(), Bits: linkBits, Gateway: netip.AddrFrom4(gateway).String(), MTU: mtu}
}

// askGateway asks where the gateway is, once a restored guest runs: it hears the answer, and what it
// remembers may be another's hardware address. And the network learns where the guest is now.
func (c *container) askGateway() error {
	if c.Hermit == nil || c.Hermit.Question == nil {
		return nil
	}
	q := c.Hermit.Question
	c.Hermit.Question = nil
	frame := append(bytes.Repeat([]byte{0xff}, 6), q.MAC...)
	frame = append(frame, unix.ETH_P_ARP>>8, unix.ETH_P_ARP&0xff, 0, unix.ARPHRD_ETHER, unix.ETH_P_IP>>8, unix.ETH_P_IP&0xff, 6, 4, 0, 1)
	frame = append(append(frame, q.MAC...), q.IP...)
	frame = append(append(frame, 0, 0, 0, 0, 0, 0), q.Gateway...)
	ns, err := openNetwork(c.Pid)
	if err != nil {
		return err
	}
	defer unix.Close(ns)
	return inNetwork(ns, func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		defer unix.Close(fd)
		return os.NewSyscallError("sendto", unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: int(q.Link), Halen: 6}))
	})
}
