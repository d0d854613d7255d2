// Packets that are too large: a path narrower than the interface, as overlay networks have it, whose routes alone tell of it. What
// passes here and what is lost is real: see narrow.

package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// farIP is the world's, behind the pod's default route.
const farIP = "10.55.0.1"

// far has that address; the guest is asked for by ARP from its own network all the same.
func (w *world) far() {
	w.r.Helper()
	w.ip("address", "add", farIP+"/24", "dev", "br0")
	w.r.must(w.in(exec.Command("sysctl", "-qw", "net.ipv4.conf.all.arp_announce=2")).Run())
}

// narrow has the link of the last pod lose what is larger, both ways and without a word, as a tunnel does.
func (w *world) narrow(mtu int) {
	w.r.Helper()
	const ethernet = 14
	link := fmt.Sprintf("p%d", w.r.n)
	w.ip("link", "set", "br0", "gso_max_segs", "1") // so that each packet is seen as it would be sent
	rules := fmt.Sprintf(`table netdev tunnel {
		chain in { type filter hook ingress device %s priority 0; meta length > %d drop; }
		chain out { type filter hook egress device %[1]s priority 0; meta length > %[3]d drop; }
	}`, link, mtu, mtu+ethernet)
	cmd := w.in(exec.Command("nft", "-f", "-"))
	cmd.Stdin = strings.NewReader(strings.NewReplacer("; }", ";\n}").Replace(rules) + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		w.r.Fatalf("nft: %v, %s", err, out)
	}
}

// transfers sends more than one segment and gets as much back, after a greeting.
func (h *hostNet) transfers(to string) error {
	h.r.Helper()
	data := make([]byte, 8000)
	rand.Read(data)
	var err error
	for end := time.Now().Add(rtLimit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		c, failed := h.dial("tcp", to)
		if err = failed; err != nil {
			continue // it boots
		}
		defer c.Close()
		c.SetDeadline(end)
		in := bufio.NewReader(c)
		back := make([]byte, len(data))
		if _, err = in.ReadString('\n'); err == nil {
			if _, err = c.Write(data); err == nil {
				_, err = io.ReadFull(in, back)
			}
		}
		if err == nil && !bytes.Equal(back, data) {
			err = fmt.Errorf("what comes back is something else")
		}
		return err
	}
	return err
}

func TestNetworkRouteMTU(t *testing.T) {
	const plain = "address add 10.88.0.2/24 dev eth0; route add default via 10.88.0.1"
	for _, x := range []struct {
		name, image, mode, setup, annotation string
		narrow, told                         int // what the path takes; what the guest is told, 0: it cannot be
		loses                                string
	}{
		{"default route", "app", "shared", plain + " mtu 1450", "", 1450, 1450, ""},
		{"default route", "app", "direct", plain + " mtu 1450", "", 1450, 1450, ""},
		{"locked", "app", "shared", plain + " mtu lock 1450", "", 1450, 1450, ""},
		{"by DHCP", "app-new", "shared", plain + " mtu 1450", "", 1450, 1450, ""},
		{"several ways", "app", "shared", "address add 10.88.0.2/24 dev eth0; route add default mtu 1450 nexthop via 10.88.0.1 weight 1 nexthop via 10.88.0.1 weight 2", "", 1450, 1450, ""},
		{"another table", "app", "shared", plain + "; route add 10.55.0.0/24 via 10.88.0.1 mtu 1450 table 7; rule add lookup 7", "", 1450, 1450, ""},
		{"a narrow second interface", "app", "shared", plain + "; link add eth1 type bridge; link set eth1 mtu 1450 up; address add 10.44.0.2/24 dev eth1", "", 0, 1450, ""},
		{"a route of IPv6", "app", "shared", "-6 address add fd00::2/64 dev eth0 nodad; " + plain + "; -6 route add default via fd00::1 mtu 1300", "", 0, 1500, ""},
		// The guest takes more for possible: its connections are told otherwise.
		{"the operator's", "app", "shared", plain + " mtu 1450", "mtu=1500", 1450, 1500, "the guest sends packets of up to 1500 bytes, but only 1450 bytes pass"},
		{"a kernel before 0.10", "app-old", "shared", plain + " mtu 1450", "", 1450, 0, "the guest sends packets of up to 1500 bytes, but only 1450 bytes pass"},
		{"a kernel before 0.10", "app-old", "direct", plain + " mtu 1450", "", 1450, 0, "the guest sends packets of up to 1500 bytes, but only 1450 bytes pass"},
		{"less than a datagram of DHCP", "app-new", "direct", plain + " mtu 300", "", 300, 300, ""},
	} {
		t.Run(x.name+" "+x.mode+" "+x.image, func(t *testing.T) {
			r := newHermit(t)
			r.global = []string{"--log-level", "warn"}
			w, p := newWorld(r), newHostNet(r)
			w.far()
			w.plug(p.pid, "eth0")
			p.ip("link", "set", "lo", "up")
			p.ip("link", "set", "eth0", "up")
			for _, line := range strings.Split(x.setup, "; ") {
				p.ip(strings.Fields(line)...)
			}
			if x.narrow != 0 {
				w.narrow(x.narrow)
			}
			// From another network, so that what the guest sends takes the default route.
			w.ip("route", "add", "10.88.0.2", "dev", "br0", "src", farIP)
			c := r.attached(p, x.image, "net ; dhcp ; serve it", append(strings.Fields(x.annotation), "network="+x.mode)...).create().start()
			out := c.out.until("serving as it\n")
			if x.told != 0 {
				for _, line := range []string{"net", "dhcp"} {
					if got := told(t, out, line); got["mtu"] != fmt.Sprint(x.told) {
						t.Errorf("%s: the guest was told %v, want an MTU of %d", line, got, x.told)
					}
				}
			}
			if err := w.transfers("10.88.0.2:80"); err != nil {
				t.Errorf("data through a path of %d bytes: %v", x.narrow, err)
			}
			if log := rtReadOr(r.log); x.loses != "" && !strings.Contains(log, x.loses) || x.loses == "" && strings.Contains(log, "bytes pass") {
				t.Errorf("the log says %q", log)
			}
		})
	}
}

// A saved guest goes on where less passes than it knows.
func TestCheckpointNarrow(t *testing.T) {
	for _, mode := range []string{"shared", "direct"} {
		t.Run(mode, func(t *testing.T) {
			r := newHermit(t)
			w := newWorld(r)
			w.far()
			p := w.pod("10.88.0.2/24")
			c := r.attached(p, "app", "net ; serve it", "network="+mode, "memory_size=64").create().start()
			c.out.until("serving as it\n")
			c.checkpoint(r.dir + "/img")
			c.life()
			q := w.pod("10.88.0.9/24")
			w.narrow(1450)
			q.ip("route", "replace", "default", "via", worldIP, "mtu", "1450")
			w.ip("route", "add", "10.88.0.9", "dev", "br0", "src", farIP)
			c.moved(q, "network="+mode).restore(r.dir + "/img")
			if err := w.transfers("10.88.0.9:80"); err != nil {
				t.Error(err)
			}
		})
	}
}

// The largest interface is larger than a tap can be.
func TestNetworkLargestMTU(t *testing.T) {
	r := newHermit(t)
	w := newWorld(r)
	for i, mode := range []string{"shared", "direct"} {
		p := w.pod(fmt.Sprintf("10.88.0.%d/24", i+2))
		p.ip("link", "set", "eth0", "mtu", "65535")
		r.attached(p, "app", "net ; serve it", "network="+mode).create().start().out.until("serving")
		if link := p.ip("-o", "link", "show", "runh0"); !strings.Contains(link, " mtu 65521 ") {
			t.Errorf("%s: the tap is %s", mode, link)
		}
	}
}

// A router on the way says what passes there, and the guest hears it.
func TestNetworkPathMTU(t *testing.T) {
	for _, mode := range []string{"shared", "direct"} {
		t.Run(mode, func(t *testing.T) {
			r := newHermit(t)
			w := newWorld(r)
			r.must(w.in(exec.Command("sysctl", "-qw", "net.ipv4.ip_forward=1")).Run())
			far := newHostNet(r)
			w.ip("link", "add", "far", "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(far.pid))
			w.ip("address", "add", "10.55.0.1/24", "dev", "far")
			w.ip("link", "set", "far", "mtu", "1200", "up")
			far.ip("address", "add", "10.55.0.2/24", "dev", "eth0")
			far.ip("link", "set", "eth0", "up")
			far.ip("route", "add", "default", "via", "10.55.0.1")
			p := w.pod("10.88.0.2/24")
			c := r.attached(p, "app", "net ; serve it", "network="+mode).create().start()
			c.out.until("serving")
			conn, err := far.dial("udp", "10.88.0.2:80")
			r.must(err)
			defer conn.Close()
			conn.Write(make([]byte, 1165)) // its answer is longer by a greeting
			c.out.until("only 1200 bytes pass\n")
		})
	}
}
