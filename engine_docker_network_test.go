// The network of guests under the real Docker daemon of engine_docker_test.go, whose own network namespace stands for the host's.

package main

import (
	"strings"
	"testing"
)

// host is the network in which the daemon lives.
func (k *dock) host() *hostNet {
	k.Helper()
	sh := children(k.d.cmd.Process.Pid)
	if len(sh) != 1 {
		k.Fatalf("the daemon's namespaces have %d first processes", len(sh))
	}
	return &hostNet{k.rt, sh[0]}
}

// logs waits for text in a container's logs.
func (k *dock) logs(name, text string) (out string) {
	k.Helper()
	k.eventually("the logs of "+name+" have "+text, func() bool {
		out = k.docker("logs", name).out
		return strings.Contains(out, text)
	})
	return out
}

func (k *dock) network(args ...string) string {
	k.Helper()
	k.n++
	name := k.token + "net" + string(rune('a'+k.n))
	k.docker(append(append([]string{"network", "create"}, args...), name)...).ok()
	k.Cleanup(func() { k.docker("network", "rm", name) })
	return name
}

// The default bridge: a published port, the container's address, and the same again after a restart. Where the configuration says
// direct, what Docker gave is the guest's own.
func TestDockerNetworkBridge(t *testing.T) {
	k := newDockHermit(t)
	for _, x := range []struct{ runtime, image string }{{"runh", "hermit"}, {"runh", "hermit-pci"}, {"runh-direct", "hermit"}} {
		c := k.start("--runtime", x.runtime, "-p", "29975:9975", "-p", "29976:53/udp", "--mac-address", "02:42:0a:0b:0c:0d", "--dns", "10.9.8.7", x.image, "net", ";", "dhcp", ";", "serve", "docker")
		before := ""
		for range 2 {
			all := k.logs(c, "serving as docker")
			out := strings.TrimPrefix(all, before) // of this life: Docker may give another address then
			before = all
			ip, gateway := k.inspect(c, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"), k.inspect(c, "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}")
			want := map[string]string{"ip": "169.254.137.2", "gateway": "169.254.137.1", "mask": "255.255.255.252", "dns": "10.9.8.7,0.0.0.0"}
			if x.runtime == "runh-direct" {
				want = map[string]string{"ip": ip, "gateway": gateway, "mask": "255.255.0.0", "dns": "10.9.8.7,0.0.0.0", "mac": "02:42:0a:0b:0c:0d"}
			}
			for _, line := range []string{"net", "dhcp"} {
				got := told(t, out, line)
				for key, v := range want {
					if got[key] != v {
						t.Errorf("%s %s: the guest was told that its %s is %s, want %s", x.runtime, line, key, got[key], v)
					}
				}
			}
			h := k.host()
			for _, at := range []string{"127.0.0.1:29975", ip + ":9975", ip + ":80"} {
				if who, _ := h.ask("tcp", at); who != "docker" {
					t.Errorf("%s: %s answers", at, who)
				}
			}
			if who, _ := h.ask("udp", ip+":53"); who != "docker" {
				t.Errorf("%s answers by UDP", who)
			}
			k.docker("restart", "-t", "1", c).ok()
			k.eventually("it serves again", func() bool {
				return strings.Count(k.docker("logs", c).out, "serving as docker") > strings.Count(before, "serving as docker")
			})
		}
		k.docker("rm", "-f", c).ok()
	}
}

// A network that a user made has a name server on the container's loopback: guests find each other by name, and the world theirs.
func TestDockerNetworkNames(t *testing.T) {
	k := newDockHermit(t)
	net := k.network("--subnet", "10.123.0.0/24")
	a := k.start("--network", net, "--network-alias", "alpha", "--ip", "10.123.0.77", "hermit", "serve", "alpha")
	k.logs(a, "serving as alpha")
	res := k.run("--network", net, "hermit-pci", "resolve", "alpha", ";", "connect", "10.123.0.77", "9975", "q", ";", "udp", "10.123.0.77", "53", "q", ";", "exit", "0")
	for _, want := range []string{"resolve alpha: 10.123.0.77\n", "connect 10.123.0.77 9975: alpha 10.123.0.", "udp 10.123.0.77 53: alpha 10.123.0."} {
		if !strings.Contains(res.out, want) {
			t.Errorf("no %q in %q %q", want, res.out, res.err)
		}
	}
	// A Linux container reaches it by name too.
	res = k.run("--network", net, "bb", "sh", "-c", "(echo hello; sleep 1) | timeout 10 nc alpha 9975 | head -n 1")
	if !strings.HasPrefix(res.out, "alpha 10.123.0.") {
		t.Errorf("a Linux container reads %q %q", res.out, res.err)
	}
	if who, _ := k.host().ask("tcp", "10.123.0.77:9975"); who != "alpha" {
		t.Errorf("%s answers", who)
	}
}

// docker network disconnect and connect, to another network: outbound, names, and inbound.
func TestDockerNetworkReconnect(t *testing.T) {
	k := newDockHermit(t)
	one, two := k.network("--subnet", "10.124.0.0/24"), k.network("--subnet", "10.125.0.0/24")
	peer := k.start("--network", two, "--network-alias", "peer", "--ip", "10.125.0.77", "bb", "sleep", "1000")
	asks := k.start(append([]string{"--network", one, "hermit"}, strings.Fields(strings.Repeat("resolve peer ; udp 10.125.0.1 7000 q ; sleep 200 ; ", 100)+"exit 0")...)...)
	serves := k.start("--network", one, "hermit", "serve", "moved")
	k.host().serve("udp", "0.0.0.0:7000", "world")
	k.logs(serves, "serving as moved")
	k.logs(asks, "resolve peer: ")
	for _, c := range []string{asks, serves} {
		k.docker("network", "disconnect", one, c).ok()
		k.docker("network", "connect", two, c).ok()
	}
	k.logs(asks, "resolve peer: 10.125.0.77\n")
	k.logs(asks, "udp 10.125.0.1 7000: world "+k.inspect(asks, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")+":")
	ip := k.inspect(serves, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
	for _, network := range []string{"tcp", "udp"} {
		if who, _ := k.host().ask(network, ip+":9975"); who != "moved" {
			t.Errorf("%s: %s answers", network, who)
		}
	}
	if out := k.docker("exec", peer, "sh", "-c", "(echo hello; sleep 1) | timeout 10 nc "+ip+" 9975 | head -n 1").out; !strings.HasPrefix(out, "moved ") {
		t.Errorf("a neighbour on the new network reads %q", out)
	}
}

// Containers that join another's network stand side by side with what is in there.
func TestDockerNetworkJoined(t *testing.T) {
	k := newDockHermit(t)
	pod := k.start("bb", "sh", "-c", "while :; do echo side | nc -l -p 9000; done")
	ip := k.inspect(pod, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
	g := k.start("--network", "container:"+pod, "hermit", "connect", ip, "9000", "q", ";", "serve", "joined")
	if out := k.logs(g, "serving as joined"); !strings.Contains(out, "connect "+ip+" 9000: side") {
		t.Errorf("the guest's neighbour: %q", out)
	}
	if who, _ := k.host().ask("tcp", ip+":9975"); who != "joined" {
		t.Errorf("%s answers", who)
	}
	for _, at := range []string{"127.0.0.1", ip} {
		if out := k.docker("exec", pod, "sh", "-c", "(echo hello; sleep 1) | timeout 10 nc "+at+" 9975 | head -n 1").out; !strings.HasPrefix(out, "joined ") {
			t.Errorf("the neighbour reads %q", out)
		}
	}
}

// Without a network, and in the host's: a device of QEMU's own, which takes no port of the host's.
func TestDockerNetworkNone(t *testing.T) {
	k := newDockHermit(t)
	k.want(k.run("--network", "none", "hermit", "devices", ";", "exit", "7"), 7, rtLastWords(7))
	res := k.run("--network", "host", "hermit", "net", ";", "exit", "7")
	if got := told(t, res.out, "net"); res.code != 7 || got["ip"] != userGuest {
		t.Errorf("exit code %d, %v %q", res.code, got, res.err)
	}
}
