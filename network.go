// A guest's network: which of five modes it gets, when, and how it is attached.
//
//	direct  the guest has the interface of a namespace of its own: address, MAC and all
//	shared  the guest stands behind the namespace, beside other guests and processes
//	user    QEMU's own network stack, which needs no privileges
//	none    no device
//	auto    one of these
//
// Contract: what is made in a namespace (tap, names, rules) is QEMU's and goes with it. The interface, its
// addresses and its routes stay as they are. The one thing that stays when a guest of mode shared
// crashes is the sysctl ip_forward, which delete sets back.

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// attachment is a guest's side of its network, before QEMU has it.
type attachment struct {
	*tap
	rules int // netlink socket that owns the nftables
	vhost int // /dev/vhost-net, or -1
	lease *lease
	mode  string // "direct" or "shared"
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

// pickNetwork decides as much as can be known at create.
//
// auto is user where runh may not make a tap, and in the host's own network, whose ports must not all
// lead to a guest. A namespace that somebody else made, a pod's, has or will have other processes that
// need it: shared. In one of the container's own it is decided at start, for only then the interface is
// there: attach does it.
func (vm *vmConfig) pickNetwork(spec *specs.Spec, c *hermitConfig, s *hermitSettings) error {
	vm.Network = firstWord(s.network, c.network, "auto")
	vm.Ports, vm.MTU = s.ports, s.mtu
	port, asked := containerEnv(spec, "RUNH_USER_PORT")
	n := upstreamUserPort
	if asked {
		var err error
		if n, err = parseRange("RUNH_USER_PORT", port, 0, 65535); err != nil {
			return fmt.Errorf("process.env: %w", err)
		}
	}
	where := networkOf(spec)
	if vm.Network == "auto" {
		switch {
		case asked && n > 0, where == hostNetwork, !canTap():
			vm.Network = "user"
		case where == joinedNetwork:
			vm.Network = "shared"
		}
	}
	switch {
	case vm.Network == "user" && len(vm.Ports) == 0 && n > 0 && (asked || where == ownNetwork):
		// Upstream's default only in a namespace of its own: in another, a second guest could not start.
		vm.Ports = []portForward{{"tcp", n}}
	case vm.Network == "none" && len(vm.Ports) > 0:
		return errors.New("ports are given but the network is \"none\"")
	case (vm.Network == "shared" || vm.Network == "direct") && where == hostNetwork:
		return fmt.Errorf("network is %q, but the container is in the host's network namespace: there only \"user\" and \"none\" are possible", vm.Network)
	}
	if vm.Network == "user" {
		vm.Lease = &lease{IP: userGuest, Bits: userBits, Gateway: userGateway, MTU: ethernetMTU}
	}
	return nil
}

// Whose network namespace a container is in.
const (
	hostNetwork = iota
	ownNetwork
	joinedNetwork
)

func networkOf(spec *specs.Spec) int {
	path, ok := networkPath(spec)
	switch {
	case !ok:
		return hostNetwork
	case path == "":
		return ownNetwork
	}
	if sameFile(path, "/proc/self/ns/net") {
		return hostNetwork
	}
	return joinedNetwork
}

// networkPath is what the spec says of the network namespace: "" is a new one.
func networkPath(spec *specs.Spec) (path string, ok bool) {
	if spec.Linux != nil {
		if ns := namespaceOf(spec, specs.NetworkNamespace); ns != nil {
			return ns.Path, true
		}
	}
	return "", false
}

// canTap: where a user namespace is all that we are root of, the network's owner may be another.
func canTap() bool {
	return !inUserNamespace() && ownCapabilities()&(1<<unix.CAP_NET_ADMIN) != 0 && unix.Access("/dev/net/tun", unix.R_OK|unix.W_OK) == nil
}

// usesTap: "auto" is still to be decided, between modes of which all but none have one.
func (vm *vmConfig) usesTap() bool {
	return vm.Network == "direct" || vm.Network == "shared" || vm.Network == "auto"
}

// networkAtStart says whether the network is looked at as late as possible: Docker puts the interface
// into a namespace of the container's own between create and start. With run there is nothing between.
func (c *creation) networkAtStart(vm *vmConfig) bool {
	return !c.opts.run && (vm.Network != "shared" || networkOf(c.spec) == ownNetwork)
}

// attach connects a guest with the network namespace of a process. The result is nil where there is
// nothing to be connected with: the guest then starts without a network, and the log says why.
// root is the container's.
func (c *container) attach(g *globals, vm *vmConfig, pid, root int) (*attachment, error) {
	ns, err := openNetwork(pid)
	if err != nil {
		return nil, err
	}
	defer unix.Close(ns)
	names := readResolver(root)
	c.Hermit.Namespace = namespaceID(ns)
	var a *attachment
	err = inNetwork(ns, func() error {
		// A guest that was killed a moment ago may still have what this one needs.
		for end := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			a, err = c.attachHere(g, vm, &names)
			if !errors.As(err, new(taken)) || time.Now().After(end) {
				return err
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	if a == nil {
		vm.Network, c.Hermit.Network = "none", "none"
		return nil, nil
	}
	vm.Network, vm.Lease = a.mode, a.lease
	c.Hermit.Network, c.Hermit.Lease, c.Hermit.Link = a.mode, a.lease, a.index
	if vm.Accel == "kvm" { // whose eventfds vhost needs
		a.vhost, _ = unix.Open("/dev/vhost-net", unix.O_RDWR|unix.O_CLOEXEC, 0) // -1: absent
		vm.Vhost = a.vhost >= 0
	}
	return a, nil
}

func openNetwork(pid int) (int, error) {
	ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("network namespace: %w", err)
	}
	return ns, nil
}

func (c *container) attachHere(g *globals, vm *vmConfig, names *resolver) (a *attachment, err error) {
	l, err := dialLinks(0)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	n, err := readNetwork(l)
	if err != nil {
		return nil, err
	}
	up, none := n.uplink()
	mode := vm.Network
	if mode == "auto" {
		mode = "direct"
		if none == nil && (up.more != "" || names.loopback.IsValid()) {
			mode = "shared" // in which the guest has all routes, and Docker's resolver
		}
	}
	if mode == "direct" && none != nil {
		g.warnf("network: %v; the guest starts without a network", none)
		return nil, nil
	}
	a = &attachment{rules: -1, vhost: -1, mode: mode}
	if a.tap, err = openTap(l); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			a.close()
			a = nil
		}
	}()
	if mode == "direct" {
		return a, a.direct(g, l, vm, up, names)
	}
	mtu := ethernetMTU
	if none == nil {
		mtu = up.mtu
	}
	return a, a.shared(l, vm, mtu, stableMAC(g.root, c.ID), names)
}

// direct gives the guest all that the interface has.
func (a *attachment) direct(g *globals, l links, vm *vmConfig, up *uplink, names *resolver) error {
	a.lease = up.lease(names)
	if vm.MTU != 0 {
		a.lease.MTU = vm.MTU
	}
	if up.more != "" {
		g.warnf("network: the guest has the interface %s, and not %s: the network mode \"shared\" would have both", up.name, up.more)
	}
	if names.loopback.IsValid() {
		g.warnf("network: the guest does not reach the name server %v, which is the namespace's own: in the network mode \"shared\" it would", names.loopback)
	}
	if len(up.mac) != 6 {
		return fmt.Errorf("interface %s is not of Ethernet's kind: the guest can share it, but not have it", up.name)
	}
	if err := a.raise(l, a.lease.MTU); err != nil {
		return err
	}
	var standIn netip.Addr
	if up.gateway.IsValid() && !up.onLink {
		standIn = neighbour(up.address.Addr())
	}
	var err error
	if a.rules, err = directRules(up.netInterface, a.tap, up.gateway, standIn).commit(); errors.Is(err, unix.EPERM) || errors.Is(err, unix.EEXIST) {
		return taken{fmt.Sprintf("the interface %s is another guest's", up.name)}
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
func (a *attachment) shared(l links, vm *vmConfig, mtu int, mac string, names *resolver) error {
	if err := a.claim(l, vm.Ports); err != nil {
		return err
	}
	gateway, guest := linkNet(a.number)
	a.lease = &lease{MAC: mac, IP: netip.AddrFrom4(guest).String(), Bits: linkBits, Gateway: netip.AddrFrom4(gateway).String(), MTU: mtu}
	a.lease.DNS = names.names(a.lease.Gateway)
	if vm.MTU != 0 {
		a.lease.MTU = vm.MTU
	}
	if err := a.raise(l, a.lease.MTU); err != nil {
		return err
	}
	if err := forward(l); err != nil {
		return err
	}
	// Connections of the loopback's are led to the guest, and the guest's to a resolver there.
	if err := setSysctl("net/ipv4/conf/"+a.name+"/route_localnet", "1"); err != nil {
		return err
	}
	if err := a.address(l, gateway); err != nil {
		return err
	}
	var dns []portForward
	if names.loopback.IsValid() {
		dns = loopbackServers(names.loopback)
	}
	var err error
	a.rules, err = sharedRules(a.tap, vm.Ports, names.loopback, dns).commit()
	return err
}

// wasNotForwarding is a name of the loopback's while a namespace passes packets on because of us.
const wasNotForwarding = "runh-ip-forward-was-0"

// forward has the namespace pass packets on.
func forward(l links) error {
	on, err := readFile("/proc/sys/net/ipv4/ip_forward", 16)
	if err != nil || strings.TrimSpace(string(on)) != "0" {
		return err
	}
	if err := l.nameLoopback(unix.RTM_NEWLINKPROP); err != nil && err != unix.EEXIST {
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

// detach sets ip_forward back once no guest is left in the namespace: QEMU is gone, and everything else
// with it. A namespace that cannot be found any more by its path in the spec is not ours to look for.
func (c *container) detach(spec *specs.Spec) error {
	if c.Hermit == nil || c.Hermit.Network != "shared" || spec == nil {
		return nil
	}
	path, _ := networkPath(spec)
	ns, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(ns)
	if namespaceID(ns) != c.Hermit.Namespace {
		return nil
	}
	return inNetwork(ns, func() error {
		l, err := dialLinks(0)
		if err != nil {
			return err
		}
		defer l.Close()
		if n, err := l.guests(); err != nil || n > 0 || l.nameLoopback(unix.RTM_DELLINKPROP) != nil {
			return err
		}
		if err := setSysctl("net/ipv4/ip_forward", "0"); err != nil {
			return err
		}
		// One that came meanwhile may have seen it on.
		if n, err := l.guests(); err != nil || n == 0 {
			return err
		}
		return forward(l)
	})
}

// guests counts the taps in the namespace.
func (l links) guests() (n int, err error) {
	names, err := l.list()
	for _, name := range names {
		if isGuestLink(name) {
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
