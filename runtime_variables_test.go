// Which variables a guest gets, what is said of those that it does not get, and what a kernel of August 2026 needs else: DHCP
// without words on its command line, receive buffers that fit, a source of randomness on a microvm.

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func environment(vars ...string) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, vars...) }
}

// A variable for which there is no room is an error, or, where that is allowed, told at the default level and in the state.
func TestHermitVariablesRoom(t *testing.T) {
	r := newHermit(t)
	long := environment("A=1", "DATABASE_URL="+strings.Repeat("x", 400))
	refused := r.guest("app", []string{"env"}, long).loader("loader-4k")
	refused.tryCreate().fails("DATABASE_URL")
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("a refused create left %q", left)
	}
	r.guest("app", []string{"env"}, long, annotated("variables", "some")).tryCreate().fails("allowed are all, fitting")

	c := r.guest("app", []string{"env"}, long, annotated("variables", "fitting")).loader("loader-4k").create()
	const told = "the guest does not get DATABASE_URL"
	if s := c.state(); !strings.Contains(s.Annotations[annotationPrefix+"warnings"], told) {
		t.Errorf("the state's annotations are %q", s.Annotations)
	}
	if log := rtReadOr(r.log); !strings.Contains(log, told) || !strings.Contains(log, `"warning"`) && !strings.Contains(log, "level=warning") || strings.Contains(log, "RDSEED") {
		t.Errorf("the log at the default level: %q", log)
	}
	c.start()
	if out := c.out.until("A=1"); strings.Contains(out, "DATABASE_URL") {
		t.Errorf("the guest says %q", out)
	}
	// A kernel that knows no variables is no reason to fail, and told, too.
	old := r.guest("app-old", []string{"hello"}, environment("A=1")).create()
	if s := old.state(); !strings.Contains(s.Annotations[annotationPrefix+"warnings"], "does not get A") {
		t.Errorf("the old kernel's annotations are %q", s.Annotations)
	}
}

// The kubelet writes them in another order each time, and its own with them.
func TestHermitVariablesOrder(t *testing.T) {
	r := newHermit(t)
	vars := []string{"AAA=1", "BBB=2", "WEB_PORT=80", "ZZZ=" + strings.Repeat("z", 120)}
	for _, service := range []string{"KUBERNETES", "DB_PORT", "WEB_1"} {
		vars = append(vars, service+"_SERVICE_HOST=10.0.0.1", service+"_SERVICE_PORT=443", service+"_SERVICE_PORT_HTTPS=443", service+"_PORT=tcp://10.0.0.1:443",
			service+"_PORT_443_TCP=tcp://10.0.0.1:443", service+"_PORT_443_TCP_PROTO=tcp", service+"_PORT_443_TCP_PORT=443", service+"_PORT_443_TCP_ADDR=10.0.0.1")
	}
	var first string
	for range 4 {
		rand.Shuffle(len(vars), func(i, j int) { vars[i], vars[j] = vars[j], vars[i] })
		c := r.guest("app", []string{"env"}, environment(vars...)).loader("loader-4k")
		c.write()
		var e explanation
		r.must(json.Unmarshal([]byte(r.do("explain", "--bundle", c.dir, "--format", "json").ok().out), &e))
		_, line, _ := strings.Cut(e.BootArgs, "env=") // the clock's frequency stands before
		if first == "" {
			first = line
		}
		if line != first {
			t.Fatalf("two orders make %q and %q", line, first)
		}
		for _, name := range []string{"AAA", "BBB", "WEB_PORT", "ZZZ"} {
			if slices.Contains(e.Dropped, name) {
				t.Errorf("left out %q", e.Dropped)
			}
		}
		if len(e.Dropped) == 0 {
			t.Errorf("all fits: %q", e.BootArgs)
		}
	}
}

// A kernel with DHCP is told its address by DHCP alone.
func TestNetworkDHCPKernel(t *testing.T) {
	r := newHermit(t)
	w := newWorld(r)
	for i, mode := range []string{"direct", "shared"} {
		ip := fmt.Sprintf("10.88.0.%d", 40+i)
		p := w.pod(ip + "/24")
		c := r.attached(p, "app-new", "net ; serve it", "network="+mode, "kernel_args=env=HERMIT_LOG_LEVEL_FILTER=warn").create().start()
		out := c.out.until("serving")
		if strings.Contains(out, "HERMIT_IP was set") {
			t.Errorf("%s: the kernel complains: %q", mode, out)
		}
		if line := rtReadOr(fmt.Sprintf("/proc/%d/cmdline", r.vmm(c))); strings.Contains(line, "-gateway") || strings.Contains(line, "HERMIT_DNS") {
			t.Errorf("%s: QEMU's command line %q", mode, line)
		}
		w.wants("tcp", ip+":80", "it", worldIP)
	}
}

// Receive buffers for offloads that a small machine has no memory for are not asked for.
func TestNetworkSmallMemory(t *testing.T) {
	r := newHermit(t)
	p := newWorld(r).pod("10.88.0.50/24")
	for _, x := range []struct {
		image, memory string
		offered       bool
	}{{"app-new", "64", false}, {"app-new", "1022", false}, {"app-new", "1024", true}, {"app-new-pci", "128", false}, {"app-new-pci", "256", true}} {
		c := r.attached(p, x.image, "net ; count", "network=shared", "memory_size="+x.memory).create().start()
		c.out.until("count 1")
		if line := rtReadOr(fmt.Sprintf("/proc/%d/cmdline", r.vmm(c))); strings.Contains(line, "guest_tso4=off") == x.offered {
			t.Errorf("%s with %s MiB: QEMU's command line %q", x.image, x.memory, line)
		}
		r.do("delete", "--force", c.id).ok()
	}
}

// On a microvm only a kernel with the driver gets a source of randomness; others complain of it, or know one device only.
func TestHermitRandomness(t *testing.T) {
	r := newHermit(t)
	for image, want := range map[string]bool{"app": false, "app-new": true} {
		if res := r.guest(image, []string{"devices"}, annotated("network", "none")).run(); res.code != 0 || strings.Contains(res.out, "id=4") != want {
			t.Errorf("%s: %d, %q", image, res.code, res.out)
		}
	}
}

// Of two guests without ports the second is told that it is not reached; by the variable it is, as by the annotation.
func TestNetworkTwoWithoutPorts(t *testing.T) {
	r := newHermit(t)
	p := newWorld(r).pod("10.88.0.60/24")
	const told = "is not reached from outside"
	warnings := func(c *ctr) (told string) { // of the network
		for line := range strings.Lines(c.state().Annotations[annotationPrefix+"warnings"]) {
			if strings.HasPrefix(line, "network: ") {
				told += line
			}
		}
		return told
	}
	first := r.attached(p, "app", "serve first", "network=shared").create().start()
	second := r.attached(p, "app", "serve second", "network=shared").create().start()
	if one, two := warnings(first), warnings(second); one != "" || !strings.Contains(two, told) {
		t.Errorf("the first is told %q, the second %q", one, two)
	}
	// explain says it before; of the bundle of the guest that has the ports it does not.
	next := r.attached(p, "app", "serve next", "network=shared")
	for bundle, want := range map[string]bool{first.dir: false, second.dir: true, next.dir: true} {
		var e explanation
		r.must(json.Unmarshal([]byte(r.do("explain", "--bundle", bundle, "--format", "json").ok().out), &e))
		if got := strings.Contains(strings.Join(e.Warnings, "\n"), told); got != want {
			t.Errorf("%s is explained as %+v", bundle, e)
		}
	}
	annotate(next.spec, "ports.next=8002")
	next.spec.Annotations["io.kubernetes.cri.container-name"] = "next"
	next.write()
	if out := r.do("explain", "--bundle", next.dir).ok().out; strings.Contains(out, told) || !strings.Contains(out, ", ports 8002/tcp\n") {
		t.Errorf("with ports of its own it is explained as %q", out)
	}
	next.spec.Annotations["io.kubernetes.cri.container-name"] = "other"
	next.write()
	if out := r.do("explain", "--bundle", next.dir).ok().out; !strings.Contains(out, "\nwarning       network: another guest") || !strings.Contains(out, annotationPrefix+"ports.other or") {
		t.Errorf("with ports for another container it is explained as %q", out)
	}
	third := r.attached(p, "app", "serve third", "network=shared")
	environment("RUNH_PORTS=8003")(third.spec)
	third.write()
	third.create().start()
	if got := warnings(third); got != "" {
		t.Errorf("the third is told %q", got)
	}
	third.out.until("serving")
	p.wants("tcp", "127.0.0.1:8003", "third", "169.254.137.9")
	// The name is free again when the first guest is gone.
	r.do("delete", "--force", first.id).ok()
	if got := warnings(r.attached(p, "app", "serve fourth", "network=shared").create().start()); got != "" {
		t.Errorf("the fourth is told %q", got)
	}
	bad := r.attached(p, "app", "serve bad", "network=shared")
	environment("RUNH_PORTS=x")(bad.spec)
	bad.write()
	bad.tryCreate().fails("process.env: RUNH_PORTS is \"x\"")
}
