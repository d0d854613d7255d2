// Network namespaces as engines and CNIs make them, each as one line of a table, with a guest in a namespace of its own and another that joins
// it: both reach the world and are reached, by TCP and UDP, from outside and from beside. And namespaces whose interface comes, goes and comes back.

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// beyond is an address of the world's that no interface of a namespace has in its prefix.
const beyond = "10.200.0.1"

// A netShape is how a namespace is connected. setup has commands of ip in the namespace; those that begin with one of these words are others:
//
//	W        ip in the world
//	sysctl   in the world
//	bridge   an interface of this name, on the world's bridge
//	veth     one whose other end is the world's, by the name "end"
//	macvlan, ipvlan   eth0 of this kind and mode, on the interface of a host that is 10.88.0.3 to the world
//	tunnel   tun0, whose other end is the world's
type netShape struct {
	name, setup string
	at          string // the namespace's address, for the world
	server      string // the one that the guests ask: beyond, or this one
	users       bool   // the namespace belongs to a user namespace
}

var netShapes = []netShape{
	{name: "Docker bridge", setup: "W address add 172.18.0.1/16 dev br0; bridge eth0; address add 172.18.0.2/16 dev eth0; route add default via 172.18.0.1", at: "172.18.0.2"},
	{name: "Docker bridge, two networks", setup: "W address add 172.18.0.1/16 dev br0; bridge eth0; address add 172.18.0.2/16 dev eth0; bridge eth1; address add 10.88.0.7/24 dev eth1; route add default via 172.18.0.1", at: "10.88.0.7", server: worldIP},
	{name: "Docker bridge, userns-remap", setup: "W address add 172.18.0.1/16 dev br0; bridge eth0; address add 172.18.0.2/16 dev eth0; route add default via 172.18.0.1", at: "172.18.0.2", users: true},
	{name: "Docker macvlan", setup: "macvlan bridge; address add 10.88.0.2/24 dev eth0; route add default via 10.88.0.1", at: "10.88.0.2"},
	// Not every kernel has ipvlan: an interface without ARP, both ends of which have one hardware address, is as silent.
	{name: "as ipvlan L3", setup: "veth eth0; W link set end arp off address 02:00:00:00:00:33; link set eth0 arp off address 02:00:00:00:00:33; address add 10.77.0.9/24 dev eth0; route add default dev eth0; W route add 10.77.0.9 dev end", at: "10.77.0.9"},
	{name: "Calico", setup: "W link add far type bridge; W link set far up; W route add 169.254.1.1 dev far; veth eth0; sysctl net.ipv4.conf.end.proxy_arp=1 net.ipv4.neigh.end.proxy_delay=0 net.ipv4.ip_forward=1; W route add 10.77.0.5 dev end; " +
		"address add 10.77.0.5/32 dev eth0; route add 169.254.1.1 dev eth0 scope link; route add default via 169.254.1.1 dev eth0", at: "10.77.0.5"},
	{name: "flannel", setup: "W address add 10.244.1.1/24 dev br0; bridge eth0; link set eth0 mtu 1450; address add 10.244.1.2/24 dev eth0; route add 10.244.0.0/16 via 10.244.1.1; route add default via 10.244.1.1", at: "10.244.1.2"},
	{name: "Cilium", setup: "veth eth0; W address add 10.0.1.1/32 dev end; W route add 10.0.1.7 dev end; address add 10.0.1.7/32 dev eth0; route add 10.0.1.1 dev eth0 scope link; route add default via 10.0.1.1 dev eth0 mtu 1450", at: "10.0.1.7"},
	{name: "AWS VPC CNI", setup: "veth eth0; W link set end address 02:00:00:00:00:aa; W route add 10.1.2.3 dev end; address add 10.1.2.3/32 dev eth0; route add 169.254.1.1 dev eth0 scope link; route add default via 169.254.1.1 dev eth0; neigh add 169.254.1.1 lladdr 02:00:00:00:00:aa dev eth0 nud permanent", at: "10.1.2.3"},
	{name: "proxy ARP, no gateway", setup: "veth eth0; sysctl net.ipv4.conf.end.proxy_arp=1 net.ipv4.neigh.end.proxy_delay=0; W route add 10.77.0.6 dev end; address add 10.77.0.6/32 dev eth0; route add default dev eth0", at: "10.77.0.6"},
	{name: "no default route", setup: "bridge eth0; address add 10.88.0.2/24 dev eth0", at: "10.88.0.2", server: worldIP},
	{name: "a tunnel without hardware address", setup: "tunnel; address add 10.55.0.2/32 dev tun0; route add default dev tun0; W route add 10.55.0.2 dev tun0", at: "10.55.0.2"},
	{name: "dual stack", setup: "bridge eth0; -6 address add fd00::2/64 dev eth0 nodad; address add 10.88.0.2/24 dev eth0; route add default via 10.88.0.1; -6 route add default via fd00::1", at: "10.88.0.2"},
}

func TestNetworkShapes(t *testing.T) {
	for _, s := range netShapes {
		t.Run(s.name, s.test)
	}
}

// ipvlan as it is: in the machine whose kernel has it.
func TestNetworkShapesIPvlan(t *testing.T) {
	if os.Getenv("RUNH_TEST_ACCEL") != "kvm" {
		leftToVM(t)
		return
	}
	for _, s := range []netShape{
		{name: "Docker ipvlan L2", setup: "ipvlan l2; address add 10.88.0.2/24 dev eth0; route add default via 10.88.0.1", at: "10.88.0.2"},
		{name: "Docker ipvlan L3", setup: "ipvlan l3; address add 10.77.0.9/24 dev eth0; route add default dev eth0; W route add 10.77.0.9 via 10.88.0.3", at: "10.77.0.9"},
	} {
		t.Run(s.name, s.test)
	}
}

func (s netShape) test(t *testing.T) {
	r := newHermit(t)
	w := newBeyond(r)
	server := firstWord(s.server, beyond)
	ask := fmt.Sprintf("connect %s 7000 q ; udp %[1]s 7000 q ; ", server)
	own := r.guest("app", strings.Fields(ask+"serve own"))
	if s.users {
		own.guestUsers(65536)
	}
	own.create()
	h := &hostNet{r, own.pid}
	w.connect(h, s.setup)
	own.start()
	own.out.until("serving as own\n")
	beside := r.attached(h, "app", ask+"serve beside", "ports=81,81/udp").create().start()
	beside.out.until("serving as beside\n")
	for _, c := range []*ctr{own, beside} {
		for _, network := range []string{"connect", "udp"} {
			if want := fmt.Sprintf("%s %s 7000: world %s:", network, server, s.at); !strings.Contains(c.out.String(), want) {
				t.Errorf("no %q in %q", want, c.out.String())
			}
		}
	}
	for _, network := range []string{"tcp", "udp"} {
		w.wants(network, s.at+":9000", "own", sourceTo(w, s.at))
		w.wants(network, s.at+":81", "beside", sourceTo(w, s.at))
		h.wants(network, "127.0.0.1:81", "beside", "169.254.137.5")
		h.wants(network, s.at+":81", "beside", "169.254.137.5")
	}
	h.wants("tcp", "127.0.0.1:9975", "own", "169.254.138.1") // as a health check does
}

// newBeyond is a world with an address beyond every gateway.
func newBeyond(r *rt) *world {
	r.Helper()
	w := newWorld(r)
	w.ip("address", "add", beyond+"/32", "dev", "lo")
	w.serve("tcp", beyond+":7000", "world")
	w.serve("udp", beyond+":7000", "world")
	return w
}

// connect makes a shape.
func (w *world) connect(h *hostNet, setup string) {
	w.r.Helper()
	for _, line := range strings.Split(setup, "; ") {
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "":
		case "W":
			w.ip(strings.Fields(rest)...)
		case "sysctl":
			if out, err := w.in(exec.Command("sysctl", append([]string{"-qw"}, strings.Fields(rest)...)...)).CombinedOutput(); err != nil {
				w.r.Fatalf("sysctl %s: %v: %s", rest, err, out)
			}
		case "bridge":
			w.plug(h.pid, rest)
			h.ip("link", "set", rest, "up")
		case "veth":
			w.ip("link", "add", "end", "type", "veth", "peer", "name", rest, "netns", fmt.Sprint(h.pid))
			w.ip("link", "set", "end", "up")
			h.ip("link", "set", rest, "up")
		case "macvlan", "ipvlan":
			host := w.pod("10.88.0.3/24")
			host.ip("link", "add", "link", "eth0", "name", "part", "type", word, "mode", rest)
			host.ip("link", "set", "part", "netns", fmt.Sprint(h.pid), "name", "eth0")
			h.ip("link", "set", "eth0", "up")
		case "tunnel":
			w.tunnel(h)
		default:
			h.ip(strings.Fields(line)...)
		}
	}
}

// tunnel connects a namespace by an interface that has no hardware address, as those of VPNs.
func (w *world) tunnel(h *hostNet) {
	w.r.Helper()
	a, b := w.openTunnel("tun0"), h.openTunnel("tun0")
	w.ip("link", "set", "tun0", "up")
	h.ip("link", "set", "tun0", "up")
	carry := func(to, from *os.File) {
		packet := make([]byte, 65536)
		for {
			n, err := from.Read(packet)
			if err != nil {
				return
			}
			to.Write(packet[:n])
		}
	}
	go carry(a, b)
	go carry(b, a)
}

func (h *hostNet) openTunnel(name string) *os.File {
	h.r.Helper()
	ns, err := openNetwork(h.pid)
	h.r.must(err)
	defer unix.Close(ns)
	var fd int
	h.r.must(inNetwork(ns, func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return err
		}
		var req struct {
			name  [unix.IFNAMSIZ]byte
			flags uint16
			_     [22]byte
		}
		copy(req.name[:], name)
		req.flags = unix.IFF_TUN | unix.IFF_NO_PI
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&req))); errno != 0 {
			return errno
		}
		return nil
	}))
	f := os.NewFile(uintptr(fd), name)
	h.r.Cleanup(func() { f.Close() })
	return f
}

// The engine takes the interface away and brings another, with another name and address (docker network disconnect and connect); or brings one
// only after the start. The guest is where its namespace is, and a name of 127.0.0.1 leads to it in between.
func TestNetworkReconnect(t *testing.T) {
	const first = "bridge eth0; address add 10.88.0.2/24 dev eth0; route add default via 10.88.0.1"
	for _, x := range []struct {
		name     string
		joined   bool
		settings string
		before   string // how it is connected at start
		away     string
	}{
		{"own", false, "", first, "link delete eth0"},
		{"joined", true, "", first, "link delete eth0"},
		{"own, an interface without address at first", false, "", "bridge eth0", "link delete eth0"},
		{"own, no interface at first", false, "network=shared", "", ""},
		{"joined, no interface at first", true, "", "", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newHermit(t)
			w := newBeyond(r)
			w.ip("address", "add", "172.19.0.1/16", "dev", "br0")
			const ask = "connect 10.200.0.1 7000 q ; udp 10.200.0.1 7000 q ; "
			script := "echo 1 ; " + ask + "serve it"
			if x.before == first {
				script = ask + script
			}
			var c *ctr
			var h *hostNet
			if x.joined {
				h = newHostNet(r)
				h.ip("link", "set", "lo", "up")
				w.connect(h, x.before)
				c = r.attached(h, "app", script).create()
			} else {
				c = r.guest("app", strings.Fields(script))
				annotate(c.spec, strings.Fields(x.settings)...)
				c.write()
				c.create()
				h = &hostNet{r, c.pid}
				w.connect(h, x.before)
			}
			c.start()
			if x.before == first {
				c.out.until("udp 10.200.0.1 7000: world 10.88.0.2:")
			}
			w.connect(h, x.away)
			w.connect(h, "bridge net1; address add 172.19.0.5/16 dev net1; route add default via 172.19.0.1")
			io.WriteString(c.stdin, "x")
			out := c.out.until("serving as it\n")
			for _, network := range []string{"connect", "udp"} {
				if want := network + " 10.200.0.1 7000: world 172.19.0.5:"; !strings.Contains(out, want) {
					t.Errorf("no %q in %q", want, out)
				}
			}
			for _, network := range []string{"tcp", "udp"} {
				w.wants(network, "172.19.0.5:9000", "it", sourceTo(w, "172.19.0.5"))
			}
			h.wants("tcp", "127.0.0.1:9975", "it", "169.254.138.1")
			h.ip("link", "delete", "net1")
			h.wants("tcp", "127.0.0.1:9975", "it", "169.254.138.1")
		})
	}
}
