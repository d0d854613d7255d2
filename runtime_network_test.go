// The network of guests, in namespaces that the test makes: a bridge stands for the world, a namespace at the end of a veth pair for a
// pod or a container of Docker's. The stand-in guest (testdata/guest, net.c) says what it was told, asks, and serves.

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// world is a network with a bridge, and one server on it.
type world struct{ *hostNet }

const worldIP = "10.88.0.1"

func newWorld(r *rt) *world {
	r.Helper()
	needs(r.T, exec.Command("nft", "--version").Run() == nil, "nftables")
	needs(r.T, canTap(), "/dev/net/tun and CAP_NET_ADMIN")
	w := &world{newHostNet(r)}
	w.ip("link", "set", "lo", "up")
	w.ip("link", "add", "br0", "type", "bridge")
	w.ip("address", "add", worldIP+"/24", "dev", "br0")
	w.ip("link", "set", "br0", "up")
	w.serve("tcp", worldIP+":7000", "world")
	w.serve("udp", worldIP+":7000", "world")
	return w
}

// plug connects a namespace with the bridge, by an interface without addresses.
func (w *world) plug(ns int, name string) {
	w.r.Helper()
	w.r.n++
	peer := fmt.Sprintf("p%d", w.r.n)
	w.ip("link", "add", peer, "type", "veth", "peer", "name", name, "netns", fmt.Sprint(ns))
	w.ip("link", "set", peer, "master", "br0", "up")
}

// pod is a namespace with an address of the world's.
func (w *world) pod(address string) *hostNet {
	w.r.Helper()
	p := newHostNet(w.r)
	p.ip("link", "set", "lo", "up")
	w.plug(p.pid, "eth0")
	p.ip("address", "add", address, "dev", "eth0")
	p.ip("link", "set", "eth0", "up")
	p.ip("route", "add", "default", "via", worldIP)
	return p
}

// dial connects from the namespace; a guest may still be booting.
func (h *hostNet) dial(network, to string) (conn net.Conn, err error) {
	h.r.Helper()
	ns, err := unix.Open(pidNS(h.pid, "net"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	h.r.must(err)
	defer unix.Close(ns)
	err = inNetwork(ns, func() (err error) {
		conn, err = net.DialTimeout(network, to, 3*time.Second)
		return err
	})
	return conn, err
}

// serve has an ordinary process in the namespace: it answers like the guest's serve.
func (h *hostNet) serve(network, at, name string) io.Closer {
	h.r.Helper()
	ns, err := unix.Open(pidNS(h.pid, "net"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	h.r.must(err)
	defer unix.Close(ns)
	var l net.Listener
	var p net.PacketConn
	h.r.must(inNetwork(ns, func() (err error) {
		if network == "tcp" {
			l, err = net.Listen(network, at)
		} else {
			p, err = net.ListenPacket(network, at)
		}
		return err
	}))
	if network == "tcp" {
		h.r.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					fmt.Fprintf(c, "%s %s\n", name, c.RemoteAddr())
					io.Copy(c, c)
					c.Close()
				}()
			}
		}()
		return l
	}
	h.r.Cleanup(func() { p.Close() })
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := p.ReadFrom(b)
			if err != nil {
				return
			}
			p.WriteTo([]byte(fmt.Sprintf("%s %s\n%s", name, from, b[:n])), from)
		}
	}()
	return p
}

// ask connects, says a word, and returns who answered and whom he saw; the word must come back.
func (h *hostNet) ask(network, to string) (who, saw string) {
	h.r.Helper()
	word := "word for " + to
	var err error
	for end := time.Now().Add(rtLimit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var c net.Conn
		if c, err = h.dial(network, to); err != nil {
			continue
		}
		c.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(c, word)
		in := bufio.NewReaderSize(c, 4096)
		var first string
		echo := make([]byte, len(word))
		if first, err = in.ReadString('\n'); err == nil {
			_, err = io.ReadFull(in, echo)
		}
		c.Close()
		if err != nil {
			continue
		}
		if string(echo) != word {
			h.r.Fatalf("%s %s: %q came back as %q", network, to, word, echo)
		}
		who, saw, _ = strings.Cut(strings.TrimSpace(first), " ")
		saw, _, _ = strings.Cut(saw, ":")
		return who, saw
	}
	h.r.Fatalf("%s %s does not answer: %v", network, to, err)
	return "", ""
}

// wants asks and compares.
func (h *hostNet) wants(network, to, who, saw string) {
	h.r.Helper()
	if gotWho, gotSaw := h.ask(network, to); gotWho != who || gotSaw != saw {
		h.r.Errorf("%s %s: %s answers, and sees %s; want %s, %s", network, to, gotWho, gotSaw, who, saw)
	}
}

// traces is all that a guest could leave in a namespace.
func (h *hostNet) traces() string {
	h.r.Helper()
	dead := regexp.MustCompile(`@if.*NO-CARRIER`)
	h.r.eventually("the veth pair has come up", func() bool { return !dead.MatchString(h.ip("-o", "link")) })
	var all strings.Builder
	for _, cmd := range []string{
		"ip -o link", "ip -o address", "ip route show table all", "ip rule", "ip neighbour show nud permanent", "tc qdisc", "tc filter show dev eth0", "tc filter show dev eth0 ingress", "nft list ruleset",
		"sysctl net.ipv4.ip_forward net.ipv4.conf.all.route_localnet net.ipv4.conf.eth0.forwarding net.ipv4.conf.eth0.proxy_arp",
	} {
		out, _ := h.in(exec.Command("sh", "-c", cmd+" 2>&1")).CombinedOutput()
		fmt.Fprintf(&all, "# %s\n%s", cmd, out)
	}
	// Addresses that the kernel gives an interface by itself may be a while in coming.
	return regexp.MustCompile(`(?m)^.*(fe80:|multicast ff00:).*\n`).ReplaceAllString(all.String(), "")
}

// wantTraces demands that the namespace is as it was.
func (h *hostNet) wantTraces(before string) {
	h.r.Helper()
	if after := h.traces(); after != before {
		h.r.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// attached is a guest in a namespace, with annotations as "name=value".
func (r *rt) attached(h *hostNet, image string, args string, annotations ...string) *ctr {
	r.Helper()
	c := r.guest(image, strings.Fields(args), joinNS(specs.NetworkNamespace, pidNS(h.pid, "net")), func(s *specs.Spec) { annotate(s, annotations...) })
	c.resolver(worldIP)
	return c
}

func annotate(s *specs.Spec, annotations ...string) {
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	for _, a := range annotations {
		k, v, _ := strings.Cut(a, "=")
		s.Annotations[annotationPrefix+k] = v
	}
}

func (c *ctr) resolver(servers ...string) {
	c.r.must(os.MkdirAll(c.rootfs()+"/etc", 0o755))
	c.r.must(os.WriteFile(c.rootfs()+"/etc/resolv.conf", []byte("search x\nnameserver "+strings.Join(servers, "\nnameserver ")+"\n"), 0o644))
}

// told is what the guest says that it was told, by name: of a line "net ..." or "dhcp ...".
func told(t *testing.T, out, line string) map[string]string {
	t.Helper()
	m := map[string]string{}
	for l := range strings.Lines(out) {
		if words := strings.Fields(l); len(words) > 1 && words[0] == line {
			for _, w := range words[1:] {
				k, v, _ := strings.Cut(w, "=")
				m[k] = v
			}
			return m
		}
	}
	t.Errorf("no line %q in %q", line, out)
	return m
}

func mac(h *hostNet, name string) string {
	f := strings.Fields(h.ip("-o", "link", "show", name))
	return f[slices.Index(f, "link/ether")+1]
}

// Mode direct, for interfaces of all sorts: what the guest is told, by arguments and by DHCP, and that the world reaches it, and it the
// world.
func TestNetworkDirect(t *testing.T) {
	for _, x := range []struct {
		name, image, iface string
		setup              string // commands of ip in the pod; the world's are after a "W"
		want               string
		guest              string // where the world finds it
	}{
		{"24", "app", "eth0", "address add 10.88.0.2/24 dev eth0; route add default via 10.88.0.1", "ip=10.88.0.2 mask=255.255.255.0 gateway=10.88.0.1", "10.88.0.2"},
		{"24 on PCI", "app-pci", "eth0", "address add 10.88.0.2/24 dev eth0; route add default via 10.88.0.1", "ip=10.88.0.2 mask=255.255.255.0 gateway=10.88.0.1", "10.88.0.2"},
		{"20, a name of its own", "app", "ens1f0", "W address add 10.99.15.254/20 dev br0; address add 10.99.3.4/20 dev ens1f0; route add default via 10.99.15.254", "ip=10.99.3.4 mask=255.255.240.0 gateway=10.99.15.254", "10.99.3.4"},
		{"30", "app", "eth0", "W address add 10.99.0.1/30 dev br0; address add 10.99.0.2/30 dev eth0; route add default via 10.99.0.1", "ip=10.99.0.2 mask=255.255.255.252 gateway=10.99.0.1", "10.99.0.2"},
		{"32, gateway on the link", "app", "eth0", "W address add 169.254.1.1/32 dev br0; W route add 10.77.0.5 dev br0; address add 10.77.0.5/32 dev eth0; route add 169.254.1.1 dev eth0 scope link; route add default via 169.254.1.1 dev eth0 onlink", "ip=10.77.0.5 mask=255.255.255.254 gateway=10.77.0.4", "10.77.0.5"},
		{"32, gateway by proxy ARP", "app-pci", "eth0", "W address add 10.66.0.9/32 dev br0; W route add 10.77.0.6 dev br0; W proxy; address add 10.77.0.6/32 dev eth0; route add 169.254.1.1 dev eth0 scope link; route add default via 169.254.1.1 dev eth0 onlink", "ip=10.77.0.6 mask=255.255.255.254 gateway=10.77.0.7", "10.77.0.6"},
		{"no default route", "app", "eth0", "address add 10.88.0.2/24 dev eth0; route add 10.5.0.0/16 via 10.88.0.1", "ip=10.88.0.2 mask=255.255.255.0 gateway=10.88.0.1", "10.88.0.2"},
		{"other routes first", "app", "eth0", "address add 10.88.0.2/24 dev eth0; route add 10.5.0.0/16 via 10.88.0.77; route add default via 10.88.0.1 metric 9; route add default via 10.88.0.88 metric 99", "ip=10.88.0.2 mask=255.255.255.0 gateway=10.88.0.1", "10.88.0.2"},
		{"no route at all", "app", "eth0", "address add 10.88.0.2/24 dev eth0", "ip=10.88.0.2 mask=255.255.255.0 gateway=0.0.0.0", "10.88.0.2"},
		{"two addresses", "app", "eth0", "address add 10.44.0.2/24 dev eth0; address add 10.88.0.2/24 dev eth0; route add default via 10.88.0.1", "ip=10.88.0.2 mask=255.255.255.0 gateway=10.88.0.1", "10.88.0.2"},
		{"two interfaces", "app", "eth1", "link add eth0 type bridge; link set eth0 up; address add 10.44.0.2/24 dev eth0; address add 10.88.0.2/24 dev eth1; route add default via 10.88.0.1", "ip=10.88.0.2 mask=255.255.255.0 gateway=10.88.0.1", "10.88.0.2"},
		{"dual stack", "app", "eth0", "-6 address add fd00::2/64 dev eth0 nodad; address add 10.88.0.2/24 dev eth0; route add default via 10.88.0.1; -6 route add default via fd00::1", "ip=10.88.0.2 mask=255.255.255.0 gateway=10.88.0.1", "10.88.0.2"},
		{"a small MTU", "app", "eth0", "link set eth0 mtu 1400; address add 10.88.0.2/24 dev eth0; route add default via 10.88.0.1", "ip=10.88.0.2 mask=255.255.255.0 gateway=10.88.0.1 mtu=1400", "10.88.0.2"},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newHermit(t)
			w, p := newWorld(r), newHostNet(r)
			w.plug(p.pid, x.iface)
			p.ip("link", "set", x.iface, "up")
			server := worldIP
			for _, line := range strings.Split(x.setup, "; ") {
				switch rest, ok := strings.CutPrefix(line, "W "); {
				case rest == "proxy" && ok:
					r.must(w.in(exec.Command("sysctl", "-qw", "net.ipv4.conf.br0.proxy_arp=1", "net.ipv4.ip_forward=1", "net.ipv4.neigh.br0.proxy_delay=0")).Run())
					w.ip("link", "add", "far", "type", "bridge") // proxy ARP answers for what lies elsewhere
					w.ip("link", "set", "far", "up")
					w.ip("route", "add", "169.254.1.1", "dev", "far")
				case ok:
					w.ip(strings.Fields(rest)...)
				default:
					p.ip(strings.Fields(line)...)
				}
			}
			before := p.traces()
			c := r.attached(p, x.image, "net ; dhcp ; connect "+server+" 7000 question ; udp "+server+" 7000 question ; serve g1", "network=direct")
			if x.name == "no route at all" || x.name == "two addresses" || x.name == "two interfaces" {
				c.spec.Process.Args = append(c.spec.Process.Args, "80") // a port of its own, too
				c.write()
			}
			c.create().start()
			out := c.out.until("serving as g1\n")
			hw := mac(p, x.iface)
			for _, line := range []string{"net", "dhcp"} {
				got := told(t, out, line)
				for _, kv := range strings.Fields(x.want + " mac=" + hw + " dns=" + worldIP + ",0.0.0.0") {
					if k, v, _ := strings.Cut(kv, "="); got[k] != v {
						t.Errorf("%s: %s is %q, want %q", line, k, got[k], v)
					}
				}
			}
			for _, want := range []string{"connect " + server + " 7000: world " + x.guest + ":", "|question", "udp " + server + " 7000: world " + x.guest + ":"} {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in %q", want, out)
				}
			}
			w.wants("tcp", x.guest+":80", "g1", sourceTo(w, x.guest))
			r.do("kill", c.id, "KILL").ok()
			c.wait()
			p.wantTraces(before)
			r.do("delete", c.id).ok()
		})
	}
}

// sourceTo is the address from which the world speaks with another.
func sourceTo(w *world, to string) string {
	w.r.Helper()
	f := strings.Fields(w.ip("route", "get", to))
	return f[slices.Index(f, "src")+1]
}

// A namespace that leads nowhere: in direct the guest starts without a network, in shared with one for the processes beside it, and the log says why.
func TestNetworkAbsent(t *testing.T) {
	for _, x := range []struct{ name, setup, want string }{
		{"no interface", "", "there is no interface that is up, but the loopback"},
		{"down", "W link add eth0 type veth peer name end; W link set eth0 netns $pid", "there is no interface that is up, but the loopback"},
		{"no address", "bridge eth0", "there is no interface with an IPv4 address: eth0 has no address"},
		{"IPv6 only", "bridge eth0; -6 address add fd00::2/64 dev eth0 nodad", "there is no interface with an IPv4 address: eth0 has only addresses of IPv6"},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newHermit(t)
			r.global = []string{"--log-level", "warn"}
			w, p := newWorld(r), newHostNet(r)
			p.ip("link", "set", "lo", "up")
			w.connect(p, strings.ReplaceAll(x.setup, "$pid", fmt.Sprint(p.pid)))
			res := r.attached(p, "app", "devices ; exit 4", "network=direct").run()
			if res.code != 4 || res.out != rtLastWords(4) {
				t.Errorf("exit code %d, %q %q", res.code, res.out, res.err)
			}
			if log := rtReadOr(r.log); !strings.Contains(log, x.want+"; the guest starts without a network") {
				t.Errorf("the log says %s", log)
			}
			r.attached(p, "app", "serve it").create().start()
			p.wants("tcp", "127.0.0.1:9975", "it", "169.254.138.1")
			if log := rtReadOr(r.log); strings.Count(log, x.want+"; the guest speaks IPv4 alone, and reaches nothing beyond this network namespace until there is one") != 1 {
				t.Errorf("the log says %s", log)
			}
		})
	}
}

// What asks for direct is told what it does not get, and a link that has no Ethernet addresses is refused.
func TestNetworkDirectWarns(t *testing.T) {
	const plain = "bridge eth0; address add 10.88.0.2/24 dev eth0; route add default via 10.88.0.1"
	for _, x := range []struct{ name, setup, dns, want string }{
		{"plain", plain, worldIP, ""},
		{"no ARP", "bridge eth0; link set eth0 arp off; address add 10.88.0.2/24 dev eth0; route add default dev eth0", worldIP, "there is no ARP on the interface eth0"},
		{"no gateway", "bridge eth0; address add 10.88.0.2/24 dev eth0; route add default dev eth0", worldIP, "the guest reaches only 10.88.0.0/24, because the default route of the interface eth0 has no gateway"},
		{"permanent neighbour", plain + "; neigh add 10.88.0.1 lladdr 02:00:00:00:00:aa dev eth0 nud permanent", worldIP, "the guest finds the gateway 10.88.0.1 only if that answers ARP"},
		{"another permanent neighbour", plain + "; neigh add 10.88.0.9 lladdr 02:00:00:00:00:aa dev eth0 nud permanent", worldIP, ""},
		{"second interface", plain + "; bridge eth1; address add 10.44.0.2/24 dev eth1", worldIP, "the guest has the interface eth0, and not the interface eth1"},
		{"second gateway", plain + "; route add 10.5.0.0/16 via 10.88.0.77", worldIP, "the guest has the interface eth0, and not the route to 10.5.0.0/16 by 10.88.0.77"},
		{"names from the loopback", plain, "127.0.0.11", "the guest does not reach the name server 127.0.0.11, which is the namespace's own"},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newHermit(t)
			r.global = []string{"--log-level", "warn"}
			w, p := newWorld(r), newHostNet(r)
			w.connect(p, x.setup)
			c := r.attached(p, "app", "exit 4", "network=direct")
			c.resolver(x.dns)
			if res := c.run(); res.code != 4 {
				t.Errorf("exit code %d, %q", res.code, res.err)
			}
			log := rtReadOr(r.log)
			if n := strings.Count(log, `the network mode \"shared\" has no such limit`); !strings.Contains(log, "network: "+x.want) && x.want != "" || (n == 1) != (x.want != "") {
				t.Errorf("the log says %s", log)
			}
		})
	}
	r := newHermit(t)
	w, p := newWorld(r), newHostNet(r)
	w.connect(p, "tunnel; address add 10.55.0.2/32 dev tun0; route add default dev tun0")
	r.attached(p, "app", "exit 4", "network=direct").run().fails(`the interface tun0 has no Ethernet address, without which a guest cannot have it: the network mode "shared" works there`)
}

// A namespace of the container's own gets its interface by a hook, or only between create and start.
func TestNetworkOfItsOwn(t *testing.T) {
	for _, when := range []string{"by a hook", "between create and start", "never"} {
		t.Run(when, func(t *testing.T) {
			r := newHermit(t)
			w := newWorld(r)
			c := r.guest("app", strings.Fields("net ; serve own"))
			if when == "never" {
				c.spec.Process.Args = []string{"/hermit/app", "devices", ";", "exit", "3"}
				c.write()
				if res := c.run(); res.code != 3 || res.out != rtLastWords(3) {
					t.Errorf("exit code %d, %q", res.code, res.out)
				}
				return
			}
			if when == "by a hook" {
				w.hook(c, "10.88.0.9")
			}
			c.create()
			if when != "by a hook" {
				w.connect(&hostNet{r, c.pid}, "bridge eth0; address add 10.88.0.9/24 dev eth0; route add default via 10.88.0.1")
			}
			c.start()
			if got := told(t, c.out.until("serving"), "net"); got["ip"] != "169.254.137.2" || got["gateway"] != "169.254.137.1" {
				t.Errorf("the guest was told %v", got)
			}
			w.wants("tcp", "10.88.0.9:80", "own", worldIP)
			w.wants("udp", "10.88.0.9:80", "own", worldIP)
			if mode := c.networkMode(); mode != "shared" {
				t.Errorf("the network is %q", mode)
			}
		})
	}
}

// hook has the container bring its namespace an interface, with an address of the world's.
func (w *world) hook(c *ctr, address string) {
	w.r.Helper()
	c.spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{
		Path: "/bin/sh", Args: []string{"sh", "-c", fmt.Sprintf(`pid=$(sed 's/.*"pid":\([0-9]*\).*/\1/'); PATH=/usr/sbin:/usr/bin:/sbin:/bin
			nsenter --net=%s ip link add own type veth peer name eth0 netns $pid && nsenter --net=%[1]s ip link set own master br0 up &&
			nsenter --net=/proc/$pid/ns/net sh -c 'ip address add %s/24 dev eth0; ip link set eth0 up; ip route add default via 10.88.0.1'`, pidNS(w.pid, "net"), address)},
	}}}
	c.write()
}

// networkMode is what became of auto, by the container's record.
func (c *ctr) networkMode() string {
	c.r.Helper()
	var s struct {
		Hermit struct {
			Network string `json:"network"`
		} `json:"hermit"`
	}
	c.r.must(decodeJSON(rtRead(c.r.T, filepath.Join(c.r.root, c.id, "runh.json")), &s))
	return s.Hermit.Network
}

// Fifty times in one namespace, each time reachable, and nothing stays; in both modes, and however the machine ends.
func TestNetworkRestart(t *testing.T) {
	for _, mode := range []string{"direct", "shared"} {
		t.Run(mode, func(t *testing.T) {
			r := newHermit(t)
			w := newWorld(r)
			p := w.pod("10.88.0.2/24")
			before := p.traces()
			c := r.attached(p, "app", "serve again", "network="+mode)
			for i := range 50 {
				c.create().start()
				w.wants("tcp", "10.88.0.2:80", "again", worldIP)
				switch i % 3 {
				case 0:
					r.do("kill", c.id, "TERM").ok()
					c.wait()
				case 1:
					syscall.Kill(c.pid, syscall.SIGKILL)
					c.wait()
				}
				r.do("delete", "--force", c.id).ok()
				if i%3 == 2 {
					rtReap(c.pid, rtLimit)
				}
				c.stdin.Close()
			}
			if after := p.traces(); after != before {
				t.Errorf("before:\n%s\nafter 50 restarts:\n%s", before, after)
			}
		})
	}
}

// The keeper is killed, and the next guest takes over before anybody has cleaned up.
func TestNetworkAfterKill(t *testing.T) {
	for _, mode := range []string{"direct", "shared"} {
		t.Run(mode, func(t *testing.T) {
			r := newHermit(t)
			w := newWorld(r)
			p := w.pod("10.88.0.2/24")
			before := p.traces()
			a := r.attached(p, "app", "serve a 80", "network="+mode, "ports=80").create().start()
			w.wants("tcp", "10.88.0.2:80", "a", worldIP)
			syscall.Kill(a.pid, syscall.SIGKILL)
			b := r.attached(p, "app", "serve b 80", "network="+mode, "ports=80").create().start()
			w.wants("tcp", "10.88.0.2:80", "b", worldIP)
			r.do("delete", "--force", a.id).ok()
			w.wants("tcp", "10.88.0.2:80", "b", worldIP)
			r.do("delete", "--force", b.id).ok()
			p.wantTraces(before)
		})
	}
}

// An interface is one guest's.
// A table that the kernel refuses for more than one reason, as where it lacks a module, is forgotten: the next one is not blamed for it.
func TestNetworkTableAfterRefused(t *testing.T) {
	r := newHermit(t)
	ns, err := openNetwork(newHostNet(r).pid)
	r.must(err)
	defer unix.Close(ns)
	r.must(inNetwork(ns, func() error {
		fd, err := makeTables()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		bad := newNFT(unix.NFPROTO_IPV4, "bad")
		bad.chain("c", "filter", unix.NF_INET_PRE_ROUTING, 0, "")
		for range 3 {
			bad.rule("c", []expr{expression("nosuch")})
		}
		if err := addTable(fd, bad); !errors.Is(err, unix.ENOENT) {
			t.Errorf("a table of what the kernel does not know: %v", err)
		}
		return addTable(fd, newNFT(unix.NFPROTO_IPV4, "good"))
	}))
}

// A guest that ends gives up its tap's name before its nftables: the next one, of the same name, waits a little.
func TestNetworkTableTaken(t *testing.T) {
	r := newHermit(t)
	p := newWorld(r).pod("10.88.0.2/24")
	ns, err := openNetwork(p.pid)
	r.must(err)
	defer unix.Close(ns)
	table := -1
	r.must(inNetwork(ns, func() (err error) {
		table, err = makeTables(newNFT(unix.NFPROTO_INET, tapPrefix+"0"))
		return err
	}))
	r.attached(p, "app", "hello", "network=shared").tryCreate().fails("the nftables of runh0 are another guest's")
	time.AfterFunc(200*time.Millisecond, func() { unix.Close(table) })
	c := r.attached(p, "app", "exit 3", "network=shared").create().start()
	if code := c.wait(); code != 3 {
		t.Errorf("exit code %d", code)
	}
}

func TestNetworkTaken(t *testing.T) {
	r := newHermit(t)
	w := newWorld(r)
	p := w.pod("10.88.0.2/24")
	r.attached(p, "app", "serve a", "network=direct").create().start()
	b := r.attached(p, "app", "serve b", "network=direct").create()
	r.do("start", b.id).fails("network: the interface eth0 is another guest's")
	w.wants("tcp", "10.88.0.2:80", "a", worldIP)
}

// Names that runh gives its things in a namespace are theirs who have them: an uplink, a tap, a table, other interfaces' names.
func TestNetworkForeignNames(t *testing.T) {
	r := newHermit(t)
	w := newWorld(r)
	p := newHostNet(r)
	p.ip("link", "set", "lo", "up")
	w.plug(p.pid, "runh0") // the pod's only interface
	p.ip("address", "add", "10.88.0.2/24", "dev", "runh0")
	p.ip("link", "set", "runh0", "up")
	p.ip("route", "add", "default", "via", worldIP)
	p.ip("tuntap", "add", "runh1", "mode", "tap") // which anybody may attach to
	p.ip("link", "add", "other", "type", "bridge")
	before := p.traces()

	c := r.attached(p, "app", "net ; connect 10.88.0.1 7000 q ; serve guest", "network=shared", "ports=80").create().start()
	out := c.out.until("serving")
	if got := told(t, out, "net"); got["ip"] != "169.254.137.10" || !strings.Contains(out, "connect 10.88.0.1 7000: world 10.88.0.2:") {
		t.Errorf("a guest behind an uplink called runh0: %q", out)
	}
	w.wants("tcp", "10.88.0.2:80", "guest", worldIP)
	r.do("delete", "--force", c.id).ok()
	p.wantTraces(before) // ip_forward among them: runh0 is no guest

	d := r.attached(p, "app", "serve direct", "network=direct").create().start()
	w.wants("tcp", "10.88.0.2:80", "direct", worldIP)
	r.do("delete", "--force", d.id).ok()
	p.wantTraces(before)

	for _, x := range []struct{ make, unmake, want string }{
		{
			"ip link property add dev other altname runh-port-80-tcp", "ip link property del dev other altname runh-port-80-tcp",
			"network: the name runh-port-80-tcp, by which runh marks the port as a guest's, belongs to the interface other: remove it there",
		},
		{
			"ip link property add dev other altname runh-ip-forward-was-0", "ip link property del dev other altname runh-ip-forward-was-0",
			"network: the name runh-ip-forward-was-0, by which runh marks that ip_forward was 0, belongs to the interface other: remove it there",
		},
		{"nft add table inet runh2", "nft delete table inet runh2", "network: there is a table of nftables by the name runh2, and it is no guest's: remove it"},
	} {
		if out, err := p.in(exec.Command("sh", "-c", x.make)).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v, %s", x.make, err, out)
		}
		now := time.Now()
		r.attached(p, "app", "hello", "network=shared", "ports=80").tryCreate().fails(x.want)
		if took := time.Since(now); took > 2*time.Second {
			t.Errorf("%s: create has waited %v, as for a guest that ends", x.make, took)
		}
		if out, err := p.in(exec.Command("sh", "-c", x.unmake)).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v, %s", x.unmake, err, out)
		}
		p.wantTraces(before)
	}
}

// A tap that outlives its QEMU, by whatever means, is there until delete, and not longer.
func TestNetworkTapPersists(t *testing.T) {
	for _, mode := range []string{"direct", "shared"} {
		t.Run(mode, func(t *testing.T) {
			r := newHermit(t)
			w := newWorld(r)
			p := w.pod("10.88.0.2/24")
			before := p.traces()
			c := r.attached(p, "app", "serve a 80", "network="+mode, "ports=80").create().start()
			w.wants("tcp", "10.88.0.2:80", "a", worldIP)
			pidfd, err := unix.PidfdOpen(r.vmm(c), 0)
			r.must(err)
			defer unix.Close(pidfd)
			tap, err := unix.PidfdGetfd(pidfd, vmmTap, 0)
			r.must(err)
			r.must(unix.IoctlSetInt(tap, unix.TUNSETPERSIST, 1))
			unix.Close(tap)
			r.must(syscall.Kill(c.pid, syscall.SIGKILL))
			c.wait()
			if !p.has("runh0") {
				t.Fatal("the tap does not persist")
			}
			b := r.attached(p, "app", "serve b 81", "network="+mode, "ports=81").create().start() // beside it
			w.wants("tcp", "10.88.0.2:81", "b", worldIP)
			r.do("delete", "--force", b.id).ok()
			r.do("delete", c.id).ok()
			p.wantTraces(before)
		})
	}
}

// Mode shared: two guests and ordinary processes in one namespace. All are reached at its address from outside, and at it and at
// 127.0.0.1 from inside; all reach the world and each other.
func TestNetworkShared(t *testing.T) {
	r := newHermit(t)
	w := newWorld(r)
	p := w.pod("10.88.0.2/24")
	before := p.traces()
	p.serve("tcp", "0.0.0.0:9000", "side")
	p.serve("udp", "0.0.0.0:9000", "side")
	p.serve("tcp", "127.0.0.1:9001", "inner")
	p.serve("udp", "10.88.0.2:9002", "side2")
	ask := func(ports string) string {
		script := "net ; dhcp ; ping 10.88.0.1 2 "
		for _, at := range strings.Fields(ports) {
			script += " ; connect " + strings.Replace(at, ":", " ", 1) + " q"
		}
		return script
	}
	g1 := r.attached(p, "app", ask("10.88.0.1:7000 10.88.0.2:9000 169.254.137.1:9000")+" ; serve g1", "ports=8001,8053/udp").create().start()
	g1.out.until("serving")
	g2 := r.attached(p, "app-pci", ask("10.88.0.1:7000 10.88.0.2:9000 10.88.0.2:8001 10.88.0.2:8002 127.0.0.1:9001")+" ; serve g2").create().start()
	out := g2.out.until("serving")
	for _, want := range []string{
		"ping 10.88.0.1: 2 answers", "connect 10.88.0.1 7000: world 10.88.0.2:", "connect 10.88.0.2 9000: side 169.254.137.6:",
		"connect 10.88.0.2 8001: g1 169.254.137.6:",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("g2: no %q in %q", want, out)
		}
	}
	if strings.Contains(out, "inner") {
		t.Errorf("a guest reaches what listens on the pod's loopback only: %q", out)
	}
	if out := g1.out.String(); !strings.Contains(out, "connect 10.88.0.1 7000: world 10.88.0.2:") || !strings.Contains(out, "connect 10.88.0.2 9000: side 169.254.137.2:") {
		t.Errorf("g1: %q", out)
	}
	one, two := told(t, g1.out.String(), "dhcp"), told(t, out, "dhcp")
	if one["ip"] != "169.254.137.2" || two["ip"] != "169.254.137.6" || one["mac"] == two["mac"] || !strings.HasPrefix(one["mac"], "02:") || one["dns"] != worldIP+",0.0.0.0" {
		t.Errorf("the guests were told %v and %v", one, two)
	}
	// From outside. g2 has no ports of its own: it gets the rest.
	w.wants("tcp", "10.88.0.2:8001", "g1", worldIP)
	w.wants("udp", "10.88.0.2:8053", "g1", worldIP)
	w.wants("tcp", "10.88.0.2:9000", "side", worldIP)
	w.wants("udp", "10.88.0.2:9000", "side", worldIP)
	w.wants("udp", "10.88.0.2:9002", "side2", worldIP)
	w.wants("tcp", "10.88.0.2:7777", "g2", worldIP)
	w.wants("udp", "10.88.0.2:7777", "g2", worldIP)
	w.wants("tcp", "10.88.0.2:9975", "g2", worldIP)
	// From inside.
	for _, at := range []string{"127.0.0.1", "10.88.0.2"} {
		p.wants("tcp", at+":8001", "g1", "169.254.137.1")
		p.wants("udp", at+":8053", "g1", "169.254.137.1")
		p.wants("tcp", at+":9000", "side", at)
	}
	p.wants("tcp", "10.88.0.2:9975", "g2", "169.254.137.5")
	p.wants("tcp", "127.0.0.1:9975", "g2", "169.254.138.1")
	p.wants("tcp", "127.0.0.1:9001", "inner", "127.0.0.1")
	p.wants("tcp", "169.254.137.2:1", "g1", "169.254.137.1")
	// A process that begins to listen takes its port from the guest that only has the rest; when it stops, it is the guest's again.
	s := p.serve("tcp", "0.0.0.0:7777", "late")
	w.wants("tcp", "10.88.0.2:7777", "late", worldIP)
	s.Close()
	w.wants("tcp", "10.88.0.2:7777", "g2", worldIP)

	// One port is one guest's, which shows at create.
	r.attached(p, "app", "serve g3", "ports=1,8053/udp").tryCreate().fails("network: port 8053/udp belongs to another guest in this network namespace")
	r.attached(p, "app", "exit 3", "ports=8053").run() // that is TCP

	// A killed guest takes nothing with it but itself.
	syscall.Kill(g1.pid, syscall.SIGKILL)
	g1.wait()
	w.wants("tcp", "10.88.0.2:8001", "g2", worldIP)
	w.wants("tcp", "10.88.0.2:9000", "side", worldIP)
	r.do("delete", g1.id).ok()
	w.wants("tcp", "10.88.0.2:7777", "g2", worldIP)
	r.do("delete", "--force", g2.id).ok()
	p.wantTraces(before)
}

// A MAC that is the container's each time; the MTU of the interface, or of the annotation; a guest that cannot share what is not there.
func TestNetworkSharedDetails(t *testing.T) {
	r := newHermit(t)
	w := newWorld(r)
	p := w.pod("10.88.0.2/24")
	p.ip("link", "set", "eth0", "mtu", "1420")
	c := r.attached(p, "app", "net ; exit 0")
	first, second := told(t, c.run().out, "net"), told(t, c.run().out, "net")
	if first["mac"] != second["mac"] || first["mtu"] != "1420" {
		t.Errorf("%v, then %v", first, second)
	}
	if got := told(t, r.attached(p, "app", "dhcp ; exit 0", "mtu=1300").run().out, "dhcp"); got["mtu"] != "1300" || got["mac"] == first["mac"] {
		t.Errorf("%v", got)
	}
	alone := newHostNet(r)
	if got := told(t, r.attached(alone, "app", "net ; exit 0").run().out, "net"); got["ip"] != "169.254.137.2" {
		t.Errorf("without an interface: %v", got)
	}
	h := r.guest("app", []string{"exit", "0"}, func(s *specs.Spec) {
		dropNS(s, specs.NetworkNamespace)
		s.Linux.Sysctl = nil
		annotate(s, "network=shared")
	})
	h.tryCreate().fails(`network is "shared", but the container is in the host's network namespace: there only "user" and "none" are possible`)
}

// auto, in a namespace that a container has for itself: it has all routes of the namespace, and its name server.
func TestNetworkAuto(t *testing.T) {
	for _, x := range []struct{ name, setup, dns string }{
		{"a second gateway", "route add 10.5.0.0/16 via 10.88.0.77", worldIP},
		{"names from the loopback", "", "127.0.0.11"},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newHermit(t)
			w := newWorld(r)
			c := r.guest("app", strings.Fields("net ; connect 10.88.0.1 7000 q ; resolve names.test ; serve it"))
			c.resolver(x.dns)
			c.create()
			h := &hostNet{r, c.pid}
			w.plug(c.pid, "eth0")
			for _, line := range strings.Split("address add 10.88.0.2/24 dev eth0; link set eth0 up; route add default via 10.88.0.1; "+x.setup, "; ") {
				if line != "" {
					h.ip(strings.Fields(line)...)
				}
			}
			if x.dns == "127.0.0.11" {
				h.nameServer("127.0.0.11:0") // Docker's, on a port of its own
			} else {
				w.nameServer(worldIP + ":53")
			}
			c.start()
			out := c.out.until("serving")
			for _, want := range []string{"connect 10.88.0.1 7000: world 10.88.0.2:", "resolve names.test: 10.1.2.3\n"} {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in %q", want, out)
				}
			}
			w.wants("tcp", "10.88.0.2:80", "it", worldIP)
		})
	}
}

// nameServer answers every question with 10.1.2.3.
func (h *hostNet) nameServer(at string) {
	h.r.Helper()
	ns, err := unix.Open(pidNS(h.pid, "net"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	h.r.must(err)
	defer unix.Close(ns)
	var p net.PacketConn
	h.r.must(inNetwork(ns, func() (err error) {
		p, err = net.ListenPacket("udp", at)
		return err
	}))
	h.r.Cleanup(func() { p.Close() })
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := p.ReadFrom(b)
			if err != nil {
				return
			}
			reply := append([]byte{b[0], b[1], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}, b[12:n]...)
			p.WriteTo(append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 2, 3), from)
		}
	}()
}

// QEMU's own network, with ports of the namespace that lead to the guest.
func TestNetworkUser(t *testing.T) {
	r := newHermit(t)
	for _, x := range []struct {
		env, annotations string
		port             string
	}{
		{"", "network=user", "tcp 9975"},
		{"RUNH_USER_PORT=8080", "", "tcp 8080"},
		{"", "network=user ports=81,82/udp", "udp 82"},
	} {
		c := r.guest("app", strings.Fields("net ; dhcp ; serve inside"), func(s *specs.Spec) {
			annotate(s, strings.Fields(x.annotations)...)
			if x.env != "" {
				s.Process.Env = append(s.Process.Env, x.env)
			}
		})
		c.resolver("10.0.0.53")
		c.create().start()
		out := c.out.until("serving")
		if got := told(t, out, "net"); got["ip"] != userGuest || got["gateway"] != userGateway || got["dns"] != "10.0.0.53,0.0.0.0" {
			t.Errorf("%v", got)
		}
		if got := told(t, out, "dhcp"); got["ip"] != userGuest || got["gateway"] != userGateway {
			t.Errorf("%v", got)
		}
		network, port, _ := strings.Cut(x.port, " ")
		(&hostNet{r, c.pid}).wants(network, "127.0.0.1:"+port, "inside", userGateway)
		r.do("delete", "--force", c.id).ok()
	}
}

// The keeper that answers DHCP stays small, and answers as often as it is asked.
func TestNetworkKeeperMemory(t *testing.T) {
	r := newHermit(t)
	w := newWorld(r)
	p := w.pod("10.88.0.2/24")
	c := r.attached(p, "app", strings.Repeat("dhcp ; ", 30)+"serve it", "network=direct").create().start()
	out := c.out.until("serving")
	if n := strings.Count(out, "dhcp mac="); n != 30 {
		t.Errorf("%d answers of 30: %q", n, out)
	}
	r.eventually("the keeper has at most 3 MiB for itself", func() bool { return privateKiB(t, c.pid) <= 3<<10 })
	t.Logf("keeper: %d KiB", privateKiB(t, c.pid))
}
