// A guest's network: which of five modes it gets, when, and how it is attached.
//
//	shared  the guest stands behind the namespace, beside other guests and processes
//	direct  the guest has the namespace's interface: address, MAC and all
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
	"slices"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// pickNetwork decides as much as can be known at create.
//
// auto is user where runh may not make a tap, and in the host's own network, whose ports must not all
// lead to a guest. Everywhere else it is shared: the namespace's stack knows what a guest cannot (routes
// without a gateway, neighbours that answer no ARP, links without hardware addresses), goes on when an
// engine takes the interface away and brings another, and leaves the namespace's own processes reachable.
// Only in a namespace of the container's own, auto is settled at start (attachHere): one that has no
// interface even then gets none.
func (vm *vmConfig) pickNetwork(spec *specs.Spec, c *hermitConfig, s *hermitSettings) error {
	vm.Network = firstWord(s.network, c.network, "auto")
	vm.Ports, vm.MTU = s.ports, s.mtu
	if err := vm.portsByVariable(spec, c); err != nil {
		return fmt.Errorf("process.env: %w", err)
	}
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

func (vm *vmConfig) portsByVariable(spec *specs.Spec, c *hermitConfig) (err error) {
	v, ok := containerEnv(spec, portsVariable)
	switch {
	case !ok || len(vm.Ports) > 0:
		return nil
	case c.allowAnnotations != nil && !slices.Contains(*c.allowAnnotations, "ports"):
		return fmt.Errorf("%s: allow_annotations in this host's configuration does not have ports", portsVariable)
	}
	vm.Ports, err = parsePorts(portsVariable, v)
	return err
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

// canTap: where a user namespace is all that we are root of, the network's owner may be another.
func canTap() bool {
	return !inUserNamespace() && ownCapabilities()&(1<<unix.CAP_NET_ADMIN) != 0 && unix.Access("/dev/net/tun", unix.R_OK|unix.W_OK) == nil
}

// usesTap: "auto" is settled at start, and has one unless it becomes none.
func (vm *vmConfig) usesTap() bool {
	return vm.Network == "direct" || vm.Network == "shared" || vm.Network == "auto"
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
	c.Hermit.Append, c.Hermit.Question = vm.Boot.with(a.lease), a.question
	if vm.Accel == "kvm" { // whose eventfds vhost needs
		a.vhost, _ = unix.Open("/dev/vhost-net", unix.O_RDWR|unix.O_CLOEXEC, 0) // -1: absent
		vm.Vhost = a.vhost >= 0
	}
	return a, nil
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
	switch {
	case mode != "auto":
	case vm.Keep && none == nil:
		mode = "direct" // only there a restored guest can keep its addresses
	default:
		mode = "shared"
	}
	// The interface, or its address, may come later. But a namespace of the container's own without any
	// interface is `docker run --network none`.
	attached := none == nil || vm.Saved != nil || vm.Card || mode == "shared" && (vm.Network == "shared" || !errors.Is(none, errNoInterface))
	if attached {
		a, err = c.attachAs(g, l, vm, mode, n, up, names)
		if errors.Is(err, errNoEgress) && vm.Network == "auto" {
			a, err = c.attachAs(g, l, vm, "direct", n, up, names)
		}
	}
	if none != nil && err == nil {
		tellAbsent(g, none, a != nil && a.mode == "shared")
	}
	return a, err
}

// tellAbsent logs why the namespace leads a guest nowhere.
func tellAbsent(g *globals, why error, later bool) {
	tell := g.lossf
	if errors.Is(why, errNoInterface) {
		tell = g.warnf
	}
	if later {
		tell("network: %v; the guest speaks IPv4 alone, and reaches nothing beyond this network namespace until there is one", why)
	} else {
		tell("network: %v; the guest starts without a network", why)
	}
}

// attachAs connects a guest in mode direct or shared; up is nil where the namespace has no uplink.
func (c *container) attachAs(g *globals, l links, vm *vmConfig, mode string, n *network, up *uplink, names *resolver) (a *attachment, err error) {
	told := len(g.losses)
	a = &attachment{rules: -1, vhost: -1, mode: mode}
	if a.tap, err = openTap(l); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			a.close()
			a, g.losses = nil, g.losses[:told] // the next attempt tells its own
		}
	}()
	switch {
	case mode == "direct" && up == nil:
		return a, a.nowhere(l, vm, stableMAC(g.root, c.ID))
	case mode == "direct":
		return a, a.direct(g, l, vm, up, names)
	}
	if len(vm.Ports) == 0 && !a.takeRest(l) {
		g.lossf("%s", unreached(c.Annotations))
	}
	if vm.Keep {
		g.lossf("network: the guest does not keep its network identity, which only the network mode \"direct\" can give it: others know it by this network namespace's addresses")
	}
	return a, a.shared(g, l, vm, n.mtu(), stableMAC(g.root, c.ID), names)
}

// unreached is the warning of a guest without ports in a namespace where another guest has all of them.
func unreached(annotations map[string]string) string {
	key := annotationPrefix + "ports"
	if self := containerName(annotations); self != "" {
		key += "." + self
	}
	return fmt.Sprintf("network: another guest in this network namespace has all ports on which nobody listens, so this one is not reached from outside: give it ports, by the annotation %s or the variable %s", key, portsVariable)
}

// detach removes the container's tap if it is still there, and sets ip_forward back once no guest is left in the
// namespace: QEMU is gone, and everything else with it. A namespace that cannot be found any more by its path in the
// spec is not ours to look for.
func (c *container) detach(spec *specs.Spec) error {
	if c.Hermit == nil || spec == nil || c.Hermit.Link == 0 && c.Hermit.Network != "shared" {
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
		if err := l.removeTap(c.Hermit.Link); err != nil || c.Hermit.Network != "shared" {
			return err
		}
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
