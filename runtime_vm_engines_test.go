// The machines with the engines: systemd and cgroup v2, and containerd, Docker, podman and QEMU in them, each with its systemd driver: those
// of this Debian, and those of Debian testing with testing's systemd and C library, from the tree that testdata/testing.sh makes.
// What TestVM's machines do to runh alone, runtime_engines_test.go and runtime_engines_criu_test.go do here by the programs that call it.

package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestVMEngines(t *testing.T) {
	needsPrograms(t, "qemu-system-x86_64", "containerd", "dockerd", "podman", "conmon", "newuidmap")
	for _, vm := range engineMachines() {
		t.Run(vm.name, func(t *testing.T) {
			_, err := os.Stat(cmp.Or(vm.tree, "/"))
			needs(t, err == nil, vm.tree+", which make deps unpacks from Debian testing")
			vm.wantTold(t, vm.run(t))
		})
	}
}

// engineVersion tells wantTold which version a test has met.
func engineVersion(t *testing.T, name, version string) {
	t.Helper()
	t.Logf("engine: %s %s", name, strings.TrimPrefix(strings.TrimSpace(version), "v"))
}

// wantTold demands that README's table of managers has the versions that ran. Those of a tree may be newer: it has what Debian testing has that day.
func (vm *vmMachine) wantTold(t *testing.T, console string) {
	t.Helper()
	number := func(version string) int {
		var major, minor int
		fmt.Sscanf(version, "%d.%d", &major, &minor)
		return major*1000 + minor
	}
	for line := range strings.Lines(console) {
		_, engine, is := strings.Cut(strings.TrimSpace(line), "engine: ")
		name, version, _ := strings.Cut(engine, " ")
		if !is {
			continue
		}
		_, row, _ := strings.Cut(rtRead(t, "README.md"), "\n| "+name)
		cells := strings.SplitN(row, "|", 3)
		if len(cells) < 3 {
			t.Fatalf("README's table of managers lacks %s", name)
		}
		told := slices.ContainsFunc(strings.Split(cells[1], ","), func(cell string) bool {
			cell = strings.TrimSpace(cell)
			return number(version) == number(cell) || vm.tree != "" && number(version) > number(cell)
		})
		t.Logf("%s %s", name, version)
		if !told {
			t.Errorf("%s %s ran, and README has %s", name, version, cells[1])
		}
	}
}

func engineMachines() []vmMachine {
	const kubernetes, podman, testing = "TestEngineCRI TestEngineDocker", "TestEnginePodman TestEnginePodmanRootless", "build/vm/testing"
	return []vmMachine{
		{name: "containerd and Docker", systemd: true, engines: true, tests: kubernetes},
		{name: "containerd and Docker of Debian testing", systemd: true, engines: true, tree: testing, tests: kubernetes},
		{name: "podman", systemd: true, engines: true, tests: podman + " TestHermitSizeSystemd TestHermitUnified"},
		{name: "podman of Debian testing", systemd: true, engines: true, tree: testing, tests: podman},
		{name: "criu by Docker", systemd: true, engines: true, criu: true, tests: "TestCriuDocker"},
		{name: "criu by podman", systemd: true, engines: true, criu: true, tests: "TestCriuPodman"},
	}
}

// engines packs them, what they call, and what cannot be built inside.
func (c *cpio) engines() {
	c.programs("containerd", "containerd-shim-runc-v2", "ctr", "dockerd", "docker", "docker-proxy", "runc", "podman", "conmon", "unshare", "nsenter", "setpriv", "ip", "newuidmap", "newgidmap")
	c.iptables()
	if c.tree != "" { // podman 5 does not start without these
		c.program("/usr/lib/podman/netavark")
		c.same("/usr/share/containers/containers.conf", "/usr/share/containers/seccomp.json")
	}
	for _, p := range []string{"bridge", "host-local", "loopback"} {
		c.program("/usr/lib/cni/" + p)
	}
	c.qemu()
	cri, err := criClient()
	c.err = cmpErr(c.err, err)
	c.file(cri, "src/built/cri")
	c.standIn()
	c.same("/etc/containers/policy.json")
	c.data("etc/hosts", 0o644, "127.0.0.1 localhost\n")
	c.data("etc/resolv.conf", 0o644, "")
	for _, f := range []string{"etc/subuid", "etc/subgid"} {
		c.data(f, 0o644, "user:100000:65536\n")
	}
	// The user's message bus, by the names that the user's systemd looks for.
	user := func(name, text string) {
		c.data("etc/systemd/user/"+name, 0o644, "[Unit]\nDefaultDependencies=no\n"+text)
	}
	user("default.target.d/bus.conf", "Requires=dbus.socket dbus.service\n")
	user("dbus.socket", "[Socket]\nListenStream=%t/bus\n")
	user("dbus.service", "Requires=dbus.socket\nAfter=dbus.socket\n[Service]\nType=notify\nNotifyAccess=main\n"+
		"ExecStart=/usr/bin/dbus-daemon --session --address=systemd: --nofork --nopidfile --systemd-activation\n")
	c.same("/usr/share/dbus-1/session.conf")
	c.dir("usr/share/dbus-1/services")
}
