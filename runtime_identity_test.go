// Saved guests with a network of a namespace's: who they believe to be, and by which addresses others know them, after a restore in
// another place and from a template.

package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// moved is a container of the same bundle, in another namespace.
func (c *ctr) moved(h *hostNet, annotations ...string) *ctr {
	c.r.Helper()
	d := c.r.attached(h, "app", "", annotations...)
	d.spec.Process.Args = c.spec.Process.Args
	for k, v := range c.spec.Annotations {
		if _, given := d.spec.Annotations[k]; !given {
			d.spec.Annotations[k] = v
		}
	}
	d.write()
	return d
}

// A guest that is saved while it waits for input, and then asks its gateway, its name server and the world, and serves.
func TestCheckpointNetwork(t *testing.T) {
	for _, x := range []struct {
		name, mode, identity string
		pod, setup           string // the second namespace's address, and what else is there
		at                   string // where the world finds the guest
	}{
		{"direct, the same address", "direct", "", "10.88.0.2/24", "route add default via 10.88.0.1", "10.88.0.2"},
		{"direct, another address", "direct", "", "10.88.0.9/24", "route add default via 10.88.0.1", "10.88.0.9"},
		{"direct, another network", "direct", "renewed", "10.99.0.7/20", "W address add 10.99.15.254/20 dev br0; route add default via 10.99.15.254", "10.99.0.7"},
		{"direct, kept", "direct", "kept", "10.88.0.9/24", "route add default via 10.88.0.1", "10.88.0.2"},
		{"shared", "shared", "", "10.88.0.9/24", "route add default via 10.88.0.1", "10.88.0.9"},
		{"direct, then shared", "direct shared", "", "10.88.0.9/24", "route add default via 10.88.0.1", "10.88.0.9"},
		{"shared, then direct", "shared direct", "", "10.88.0.9/24", "route add default via 10.88.0.1", "10.88.0.9"},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newHermit(t)
			w := newWorld(r)
			w.nameServer(worldIP + ":53")
			p := w.pod("10.88.0.2/24")
			mode, then, _ := strings.Cut(x.mode, " ")
			ask := " ; resolve names.test ; connect 10.88.0.1 7000 question ; udp 10.88.0.1 7000 question ; "
			c := r.attached(p, "app", "net"+ask+"echo 1"+ask+"dhcp ; serve it", "network="+mode, "memory_size=64").create().start()
			c.out.until("udp 10.88.0.1 7000: world 10.88.0.2:")
			c.checkpoint(r.dir + "/img")
			before := c.life()
			p.ip("link", "set", "eth0", "down")

			q := newHostNet(r)
			w.plug(q.pid, "eth0")
			q.ip("link", "set", "eth0", "up")
			q.ip("address", "add", x.pod, "dev", "eth0")
			for _, line := range strings.Split(x.setup, "; ") {
				if rest, ok := strings.CutPrefix(line, "W "); ok {
					w.ip(strings.Fields(rest)...)
				} else {
					q.ip(strings.Fields(line)...)
				}
			}
			traces := q.traces()
			d := c.moved(q, "network="+firstWord(then, mode), "network_identity="+firstWord(x.identity, "renewed"))
			d.restore(r.dir + "/img")
			d.stdin.WriteString("x")
			out := d.out.until("serving as it\n")
			for _, want := range []string{"resolve names.test: 10.1.2.3\n", "connect 10.88.0.1 7000: world " + x.at + ":", "udp 10.88.0.1 7000: world " + x.at + ":", "|question"} {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in %q", want, out)
				}
			}
			// By DHCP it is told what it believes.
			if was, is := told(t, before, "net"), told(t, out, "dhcp"); was["ip"] != is["ip"] || was["mac"] != is["mac"] || was["gateway"] != is["gateway"] || was["dns"] != is["dns"] {
				t.Errorf("it was told %v, and then %v", was, is)
			}
			from := sourceTo(w, x.at)
			w.wants("tcp", x.at+":80", "it", from)
			w.wants("udp", x.at+":80", "it", from)
			// Saved once more, it comes back once more.
			d.checkpoint(r.dir + "/again")
			d.life()
			e := c.moved(q, "network="+firstWord(then, mode), "network_identity="+firstWord(x.identity, "renewed")).restore(r.dir + "/again")
			w.wants("tcp", x.at+":80", "it", from)
			r.do("kill", e.id, "KILL").ok()
			e.wait()
			r.do("delete", e.id).ok()
			q.wantTraces(traces)
		})
	}
}

// What was saved in direct, and goes on with auto in a namespace of its container's: behind the namespace, whose address it had not. It is direct again
// where it is to keep its address, or where the kernel cannot exchange addresses on a tap (before Linux 5.16; here strace says so).
func TestCheckpointNetworkAuto(t *testing.T) {
	_, err := exec.LookPath("strace")
	needs(t, err == nil, "strace")
	for _, x := range []struct{ name, settings, hook, mode, at string }{
		{"renewed", "", "10.88.0.9", "shared", "10.88.0.9"},
		{"kept", "network_identity=kept", "10.88.0.9", "direct", "10.88.0.2"},
		{"no egress hook", "", "10.88.0.9", "direct", "10.88.0.9"},
		{"no interface", "", "", "shared", ""},
		{"no interface, kept", "network_identity=kept", "", "shared", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newHermit(t)
			r.global = []string{"--log-level", "warn"}
			w := newWorld(r)
			p := w.pod("10.88.0.2/24")
			args := "print ready ; echo 1 ; connect 10.88.0.1 7000 question ; serve it"
			c := r.attached(p, "app", args, "network=direct", "memory_size=64").create().start()
			c.out.until("ready\n")
			c.checkpoint(r.dir + "/img")
			c.life()
			p.ip("link", "set", "eth0", "down")
			d := r.guest("app", strings.Fields(args), func(s *specs.Spec) { annotate(s, strings.Fields("memory_size=64 "+x.settings)...) })
			d.resolver(worldIP)
			if x.hook != "" {
				w.hook(d, x.hook)
			}
			d.launchCmd(func(cmd *exec.Cmd) {
				if x.name == "no egress hook" { // the third table in the thread that attaches the guest
					cmd.Path, _ = exec.LookPath("strace")
					cmd.Args = append([]string{"strace", "-f", "-b", "execve", "-qq", "-o", "/dev/null", "-e", "inject=sendto:error=EOPNOTSUPP:when=3"}, cmd.Args...)
				}
			}, "restore", "--detach", "--image-path", r.dir+"/img", "--work-path", r.dir).ok()
			d.stdin.WriteString("x")
			if out := d.out.until("serving as it\n"); x.at != "" && !strings.Contains(out, "connect 10.88.0.1 7000: world "+x.at+":") {
				t.Errorf("%q", out)
			}
			if x.at != "" {
				w.wants("tcp", x.at+":80", "it", worldIP)
			} else if log := rtReadOr(r.log); !strings.Contains(log, "there is no interface that is up, but the loopback") {
				t.Errorf("the log says %s", log)
			}
			if lost := strings.Contains(rtReadOr(r.log), "the guest does not keep its network identity"); lost != (x.mode == "shared" && x.settings != "") {
				t.Errorf("the log says %s", rtReadOr(r.log))
			}
			if mode := d.networkMode(); mode != x.mode {
				t.Errorf("the network is %q, want %s", mode, x.mode)
			}
		})
	}
}

// A guest that keeps its addresses keeps its connections.
func TestCheckpointConnection(t *testing.T) {
	r := newHermit(t)
	w := newWorld(r)
	p, q := w.pod("10.88.0.2/24"), w.pod("10.88.0.9/24")
	c := r.attached(p, "app", "net ; serve it", "network=direct", "memory_size=64").create().start()
	c.out.until("serving as it\n")
	conn, err := w.dial("tcp", "10.88.0.2:80")
	r.must(err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(rtLimit))
	in := bufio.NewReader(conn)
	hear := func(word string) {
		t.Helper()
		if got, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(got, word) {
			t.Fatalf("%q, %v, want %q", got, err, word)
		}
	}
	hear("it 10.88.0.1:")
	io.WriteString(conn, "before\n")
	hear("before\n")
	p.ip("link", "set", "eth0", "down") // or the namespace's own stack resets the connection as soon as the guest is gone
	c.checkpoint(r.dir + "/img")
	c.life()
	d := c.moved(q)
	d.launch("restore", "--detach", "--network-identity", "kept", "--image-path", r.dir+"/img", "--work-path", r.dir).ok()
	io.WriteString(conn, "after\n")
	hear("after\n")
	c.moved(q).launch("restore", "--detach", "--network-identity", "new", "--image-path", r.dir+"/img").fails(`flag --network-identity: "new" is not one of renewed, kept`)
}

// A guest and its twin on one network, and behind one namespace: each has an address of its own for others, and they reach each other.
func TestCheckpointTwins(t *testing.T) {
	r := newHermit(t)
	w := newWorld(r)
	p, q := w.pod("10.88.0.2/24"), w.pod("10.88.0.9/24")
	c := r.attached(p, "app", "net ; echo 1 ; connect 10.88.0.9 80 hello ; serve it", "network=direct", "memory_size=64").create().start()
	c.out.until("net mac")
	c.checkpoint(r.dir+"/img", "--leave-running")
	c.stdin.WriteString("x") // nobody answers at 10.88.0.9 yet
	c.out.until("serving as it\n")
	d := c.moved(q).restore(r.dir + "/img")
	d.stdin.WriteString("x")
	if out := d.out.until("serving as it\n"); !strings.Contains(out, "connect 10.88.0.9 80: it 10.88.0.9:") {
		t.Errorf("the twin has the address 10.88.0.9, and its elder has it to the twin: %q", out)
	}
	w.wants("tcp", "10.88.0.2:80", "it", worldIP)
	w.wants("tcp", "10.88.0.9:80", "it", worldIP)
	q2 := w.pod("10.88.0.20/24")
	q2.wants("udp", "10.88.0.9:80", "it", "10.88.0.20")

	s := w.pod("10.88.0.30/24")
	c = r.attached(s, "app", "net ; serve one", "network=shared", "ports=8001", "memory_size=64").create().start()
	c.out.until("serving as one\n")
	c.checkpoint(r.dir+"/two", "--leave-running")
	c.moved(s, "ports=8002").restore(r.dir + "/two")
	for _, port := range []string{"8001", "8002"} {
		w.wants("tcp", "10.88.0.30:"+port, "one", worldIP)
		w.wants("tcp", "10.88.0.30:"+port, "one", worldIP)
	}
	r.do("delete", "--force", c.id).ok()
	w.wants("tcp", "10.88.0.30:8002", "one", worldIP)
	c.moved(s, "ports=8002").tryRestore(r.dir + "/two").fails("network: port 8002/tcp belongs to another guest in this network namespace")
}

// What a saved guest with a network cannot have: none where it had one, another kind of card, or a lease that is none.
func TestCheckpointNetworkRefused(t *testing.T) {
	r := newHermit(t)
	r.global = []string{"--log-level", "warn"}
	w := newWorld(r)
	p := w.pod("10.88.0.2/24")
	c := r.attached(p, "app", "net ; count 200 ; exit 3", "network=direct", "memory_size=64").create().start()
	c.out.until("count 1\n")
	c.checkpoint(r.dir + "/img")
	c.life()
	for _, network := range []string{"user", "none"} {
		c.moved(p, "network="+network).tryRestore(r.dir + "/img").fails(`its network is "direct or shared", and this container's "` + network + `"`)
	}
	c.moved(p, "network_identity=other").tryRestore(r.dir + "/img").fails(`annotation org.hermit-os.runh.network_identity is "other": allowed are renewed, kept`)
	m := readManifest(t, r.dir+"/img")
	m.VM.Lease.IP = "fe80::1"
	r.must(os.WriteFile(r.dir+"/img/"+manifestName, m.encode(), 0o600))
	c.moved(p).tryRestore(r.dir + "/img").fails(`manifest.json: vm.lease.ip: "fe80::1": not an address of IPv4`)
	m.VM.Lease.IP = "10.88.0.2"
	r.must(os.WriteFile(r.dir+"/img/"+manifestName, m.encode(), 0o600))
	// Without an interface it goes on, and reaches nobody.
	d := c.moved(newHostNet(r))
	res := d.tryRestore(r.dir + "/img").ok()
	if !strings.Contains(res.err, "there is no interface that is up, but the loopback") && !strings.Contains(rtReadOr(r.log), "there is no interface that is up, but the loopback") {
		t.Errorf("nothing is said of the missing interface: %q, log %s", res.err, rtReadOr(r.log))
	}
	d.counts(3)
}

// Two containers of one template, with interfaces of their own: the second has not booted, and has its own address to others.
func TestTemplateNetwork(t *testing.T) {
	// The kernel of app-new asks for its address by DHCP, also before the point.
	for _, x := range [][2]string{{"direct", "app"}, {"shared", "app"}, {"auto", "app"}, {"direct", "app-new"}, {"shared", "app-new"}} {
		mode, image := x[0], x[1]
		t.Run(mode+" "+image, func(t *testing.T) {
			r := newTemplates(t)
			w := newWorld(r)
			args := strings.Fields("net ; connect 10.88.0.1 7000 first ; print runh: template ; sleep 300 ; connect 10.88.0.1 7000 then ; serve it")
			settings := []string{"network=" + mode, "memory_size=64", "template=net"}
			start := func(address string) string {
				t.Helper()
				var c *ctr
				if mode == "auto" { // as with Docker: the interface comes after create
					c = r.guest(image, args, func(s *specs.Spec) { annotate(s, settings...) })
					c.create()
					h := &hostNet{r, c.pid}
					w.plug(c.pid, "eth0")
					h.ip("address", "add", address+"/24", "dev", "eth0")
					h.ip("link", "set", "eth0", "up")
					h.ip("route", "add", "default", "via", worldIP)
				} else {
					c = r.attached(w.pod(address+"/24"), image, strings.Join(args, " "), settings...).create()
				}
				c.start()
				out := c.out.until("serving as it\n")
				if want := "connect 10.88.0.1 7000: world " + address + ":"; !strings.Contains(out, want) {
					t.Errorf("no %q in %q", want, out)
				}
				w.wants("tcp", address+":80", "it", worldIP)
				return out
			}
			if out := start("10.88.0.2"); !strings.Contains(out, "|first") {
				t.Errorf("the first start: %q", out)
			}
			if made := r.templates(); len(made) != 1 {
				t.Fatalf("templates %q; log %s", made, rtReadOr(r.log))
			}
			for _, address := range []string{"10.88.0.3", "10.88.0.4"} {
				if out := start(address); strings.Contains(out, "|first") || !strings.Contains(out, "|then") {
					t.Errorf("from the template: %q", out)
				}
			}
			w.wants("tcp", "10.88.0.2:80", "it", worldIP)
		})
	}
}

// A template that was made without an interface serves a container that has one, and the other way round.
func TestTemplateNoInterface(t *testing.T) {
	r := newTemplates(t)
	w := newWorld(r)
	bundle := func(h *hostNet) *ctr {
		return r.attached(h, "app", "net ; print boot ; print runh: template ; sleep 300 ; serve it", "template=net", "memory_size=64", "network=direct")
	}
	for i, h := range []*hostNet{newHostNet(r), w.pod("10.88.0.3/24"), newHostNet(r)} {
		c := bundle(h).create().start()
		if out := c.out.until("serving as it\n"); strings.Contains(out, "boot") != (i == 0) {
			t.Errorf("start %d: %q", i, out)
		}
	}
	w.wants("tcp", "10.88.0.3:80", "it", worldIP)
}

func (c *ctr) tryRestore(dir string) result {
	c.r.Helper()
	return c.launch("restore", "--detach", "--image-path", dir, "--work-path", c.r.dir)
}
