// The machines with the engines: systemd and cgroup v2, and the distribution's containerd, Docker, podman and QEMU in them, each with its
// systemd driver. What TestVM's machines do to runh alone, runtime_engines_test.go and runtime_engines_criu_test.go do here by the programs that call it.
package main

import "testing"

func TestVMEngines(t *testing.T) {
	needsPrograms(t, "qemu-system-x86_64", "containerd", "dockerd", "podman", "conmon", "newuidmap")
	for _, vm := range engineMachines() {
		t.Run(vm.name, func(t *testing.T) { vm.run(t) })
	}
}

func engineMachines() []vmMachine {
	return []vmMachine{
		{name: "containerd and Docker", systemd: true, engines: true, tests: "TestEngineCRI TestEngineDocker"},
		{name: "podman", systemd: true, engines: true, tests: "TestEnginePodman TestEnginePodmanRootless TestHermitSizeSystemd TestHermitUnified"},
		{name: "criu by Docker", systemd: true, engines: true, criu: true, tests: "TestCriuDocker"},
		{name: "criu by podman", systemd: true, engines: true, criu: true, tests: "TestCriuPodman"},
	}
}

// engines packs them, what they call, and what cannot be built inside.
func (c *cpio) engines() {
	for _, p := range []string{
		"containerd", "containerd-shim-runc-v2", "ctr", "dockerd", "docker", "runc", "podman", "conmon", "unshare", "nsenter", "setpriv", "ip", "iptables",
		"newuidmap", "newgidmap",
	} {
		for _, dir := range []string{"/usr/sbin/", "/usr/bin/"} {
			if regularFile(dir + p) {
				c.program(dir + p)
			}
		}
	}
	for _, p := range []string{"bridge", "host-local", "loopback"} {
		c.program("/usr/lib/cni/" + p)
	}
	c.qemu()
	cri, err := criClient()
	c.err = cmpErr(c.err, err)
	c.file(cri, "src/built/cri")
	c.standIn()
	c.file("/etc/containers/policy.json", "etc/containers/policy.json")
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
	c.file("/usr/share/dbus-1/session.conf", "usr/share/dbus-1/session.conf")
	c.dir("usr/share/dbus-1/services")
}
