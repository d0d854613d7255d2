// linux.netDevices: a veth pair in a network of the test's own stands for the host's, and is looked at from both sides.

package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// hostNet is a network namespace that plays the host's: the runtime and ip(8) run in it.
type hostNet struct {
	r   *rt
	pid int
}

func newHostNet(r *rt) *hostNet {
	r.Helper()
	needs(r.T, exec.Command("ip", "-V").Run() == nil, "iproute2")
	cmd := exec.Command("unshare", "-n", "sh", "-c", "echo ready; exec sleep 1000")
	ready := newSink(r.T)
	cmd.Stdout = ready.w
	r.must(cmd.Start())
	ready.w.Close()
	r.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	ready.until("ready") // whoever is too early changes the network of the machine
	return &hostNet{r, cmd.Process.Pid}
}

// in changes a command to run in the namespace.
func (h *hostNet) in(cmd *exec.Cmd) *exec.Cmd {
	cmd.Args = append([]string{"nsenter", "--net=" + pidNS(h.pid, "net"), cmd.Path}, cmd.Args[1:]...)
	cmd.Path, _ = exec.LookPath("nsenter")
	return cmd
}

func (h *hostNet) ip(args ...string) string {
	h.r.Helper()
	out, err := h.in(exec.Command("ip", args...)).CombinedOutput()
	if err != nil {
		h.r.Fatalf("ip %v: %v: %s", args, err, out)
	}
	return string(out)
}

func (h *hostNet) has(name string) bool {
	return h.in(exec.Command("ip", "link", "show", name)).Run() == nil
}

// veth makes a pair whose one end has addresses and more to be kept.
func (h *hostNet) veth(name string) {
	h.r.Helper()
	h.ip("link", "add", name, "mtu", "1400", "type", "veth", "peer", "name", "peer-"+name)
	h.ip("link", "set", name, "address", "02:00:00:00:00:11", "alias", "kept", "up")
	h.ip("link", "set", "peer-"+name, "up")
	h.ip("address", "add", "10.11.12.13/24", "dev", name)
	h.ip("address", "add", "10.99.0.1/32", "dev", name, "scope", "link")                              // not global: stays behind
	h.ip("address", "add", "10.98.0.1/32", "dev", name, "valid_lft", "1000", "preferred_lft", "1000") // not permanent
	h.ip("-6", "address", "add", "fd00:11::13/64", "dev", name, "nodad")
}

func TestNetDevices(t *testing.T) {
	devices := func(d map[string]specs.LinuxNetDevice) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Linux.NetDevices = d }
	}
	const look = "ip -o link show; ip -o address show; read x"
	check := func(r *rt, c *ctr, name string) {
		t := r.T
		t.Helper()
		out := c.out.until("global")
		for _, want := range []string{
			": " + name, "02:00:00:00:00:11", "mtu 1400", "UP", " " + name + "    inet 10.11.12.13/24 ", "fd00:11::13/64 scope global",
		} {
			if !strings.Contains(strings.ReplaceAll(out, "@", "    "), want) && !strings.Contains(out, want) {
				t.Errorf("no %q in %s", want, out)
			}
		}
		for _, not := range []string{"10.99.0.1", "10.98.0.1"} {
			if strings.Contains(out, not) {
				t.Errorf("%s came along: %s", not, out)
			}
		}
	}
	for _, x := range []struct {
		name, inside, becomes string
		users                 bool
	}{
		{"same name", "", "vt0", false},
		{"renamed", "eth0", "eth0", false},
		{"template", "net%d", "net0", false},
		{"user namespace", "eth0", "eth0", true},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRT(t)
			r.onlyRunh("runc 1.1 has no netDevices")
			h := newHostNet(r)
			h.veth("vt0")
			c := r.sh(look, devices(map[string]specs.LinuxNetDevice{"vt0": {Name: x.inside}}))
			if x.users {
				c.ownUsers()
			}
			// sysctls of the device work: it is there before they are written.
			c.spec.Linux.Sysctl = map[string]string{"net.ipv4.conf." + x.becomes + ".forwarding": "1"}
			c.write()
			c.createIn(h).start()
			check(r, c, x.becomes)
			if h.has("vt0") || !h.has("peer-vt0") {
				t.Errorf("of the pair the host has: %s", h.ip("link"))
			}
			if alias := rtRead(t, fmt.Sprintf("/proc/%d/root/sys/class/net/%s/ifalias", c.pid, x.becomes)); alias != "kept\n" {
				t.Errorf("alias %q", alias)
			}
		})
	}
	t.Run("joined", func(t *testing.T) { // as a pod does, with a name that is taken there
		r := newRT(t)
		r.onlyRunh("runc 1.1 has no netDevices")
		h, pod := newHostNet(r), newHostNet(r)
		h.veth("vt0")
		pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
		into := joinNS(specs.NetworkNamespace, pidNS(pod.pid, "net"))
		c := r.sh(look, into, devices(map[string]specs.LinuxNetDevice{"vt0": {Name: "eth0"}}))
		c.createFailsIn(h, "network device vt0: the container has a device eth0 already")
		if !h.has("vt0") {
			t.Error("vt0 is gone from the host")
		}
		d := r.sh(look, into, devices(map[string]specs.LinuxNetDevice{"vt0": {Name: "eth%d"}})).createIn(h).start()
		check(r, d, "eth2")
	})
	t.Run("given back", func(t *testing.T) { // when create fails after the move
		r := newRT(t)
		r.onlyRunh("runc 1.1 has no netDevices")
		h, pod := newHostNet(r), newHostNet(r)
		h.veth("vt0")
		give := devices(map[string]specs.LinuxNetDevice{"vt0": {Name: "eth0"}})
		for _, edit := range []func(*specs.Spec){give, func(s *specs.Spec) {
			give(s)
			joinNS(specs.NetworkNamespace, pidNS(pod.pid, "net"))(s)
		}} {
			r.bundle([]string{"/no/such/program"}, edit).createFailsIn(h, "no such file")
			if out := h.ip("-o", "address", "show", "vt0"); !strings.Contains(out, "10.11.12.13/24") || !strings.Contains(out, "fd00:11::13/64") {
				t.Errorf("vt0 has now: %s", out)
			}
		}
		r.bundle([]string{"true"}, devices(map[string]specs.LinuxNetDevice{"vt0": {}, "vt1": {}})).
			createFailsIn(h, "network device vt1: find it: no such device")
		if !h.has("vt0") {
			t.Error("vt0 is gone from the host")
		}
	})
	t.Run("bad", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("runc 1.1 has no netDevices")
		for text, d := range map[string]map[string]specs.LinuxNetDevice{
			`"a/b" is not the name of`:          {"a/b": {}},
			`"sixteen-bytes-xx" is not a name`:  {"a": {Name: "sixteen-bytes-xx"}},
			`"e%d%d" is not a name`:             {"a": {Name: "e%d%d"}},
			`"e%s" is not a name`:               {"a": {Name: "e%s"}},
			"a and b are both to be called eth": {"a": {Name: "eth"}, "b": {Name: "eth"}},
		} {
			r.sh("true", devices(d)).tryCreate().fails(text)
		}
		c := r.sh("true", devices(map[string]specs.LinuxNetDevice{"vt0": {}}))
		dropNS(c.spec, specs.NetworkNamespace)
		c.spec.Linux.Sysctl = nil
		c.write()
		c.tryCreate().fails("needs a network namespace")
	})
}

// createIn is create with another network as the host's.
func (c *ctr) createIn(h *hostNet) *ctr {
	c.r.Helper()
	if res := c.launchCmd(func(cmd *exec.Cmd) { h.in(cmd) }, "create"); res.code != 0 {
		c.r.Fatalf("%v: exit code %d, stderr %q", res.args, res.code, res.err)
	}
	return c
}

func (c *ctr) createFailsIn(h *hostNet, text string) {
	c.r.Helper()
	c.launchCmd(func(cmd *exec.Cmd) { h.in(cmd) }, "create").fails(text)
}
