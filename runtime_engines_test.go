// The engines with their systemd drivers: containerd as Kubernetes uses it, Docker and podman. TestVMEngines runs these in its machine, with
// cgroup v2. What else engines do is the same with either driver, and tested where they are without systemd.

package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// hasEngine is false where a test is left to the machine that has systemd and an engine.
func hasEngine(t *testing.T) bool {
	t.Helper()
	if !rtSystemd() {
		leftToVM(t)
	}
	return rtSystemd()
}

// A scope is a container's unit as an engine names it.
type scope struct {
	*rt
	unit, dir string // its name; its cgroup
}

// scope demands that the unit is there, in a slice, and is the runtime's to divide.
func (r *rt) scope(unit, slice string) *scope {
	r.Helper()
	r.wantUnit(unit, "ActiveState=active", "Slice="+slice, "Delegate=yes")
	group := strings.TrimSpace(strings.TrimPrefix(r.unit(unit, "ControlGroup"), "ControlGroup="))
	if !strings.HasSuffix(group, slice+"/"+unit) {
		r.Fatalf("%s is in the cgroup %q", unit, group)
	}
	return &scope{r, unit, "/sys/fs/cgroup" + group}
}

// wantFiles demands what files of the cgroup hold: "memory.max=5".
func (s *scope) wantFiles(want ...string) {
	s.Helper()
	for _, w := range want {
		name, value, _ := strings.Cut(w, "=")
		if got := strings.TrimSpace(rtReadOr(s.dir + "/" + name)); got != value {
			s.Errorf("%s of %s is %q, want %q", name, s.unit, got, value)
		}
	}
}

// wantGuest demands that QEMU is in the scope, and how many processes are beside it.
func (s *scope) wantGuest() {
	s.Helper()
	names := ""
	filepath.WalkDir(s.dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			for _, pid := range strings.Fields(rtReadOr(p + "/cgroup.procs")) {
				names += rtReadOr("/proc/" + pid + "/comm")
			}
		}
		return nil
	})
	if !strings.Contains(names, "qemu-system-x86\n") {
		s.Errorf("in %s are %q, and no QEMU", s.unit, names)
	}
}

// gone demands that neither unit nor cgroup is left.
func (s *scope) gone() {
	s.Helper()
	s.noUnit(s.unit)
	if _, err := os.Stat(s.dir); err == nil {
		s.Errorf("%s is left", s.dir)
	}
}

// ownSlice is a slice of the test's, as the kubelet makes one for a pod.
func (r *rt) ownSlice(name string) {
	r.Helper()
	conn, err := dialSystemd(false)
	r.must(err)
	defer conn.close()
	r.must(conn.job("StartTransientUnit", name, "replace", []unitProperty{{"MemoryAccounting", true}, {"CPUAccounting", true}, {"TasksAccounting", true}}, noUnits{}))
	r.stopSlice(name)
}

// stopSlice stops it when the test has ended: a slice that is empty goes on.
func (r *rt) stopSlice(name string) {
	r.Cleanup(func() {
		conn, err := dialSystemd(false)
		r.must(err)
		defer conn.close()
		if err := conn.job("StopUnit", name, "replace"); err != nil {
			r.Errorf("stop %s: %v", name, err)
		}
	})
}

// underSystemd changes a Docker's settings to the systemd driver, without a bridge and rules for one, and returns the script that starts its
// containerd: Docker would not wait long enough for its own.
func (d *dockerDaemon) underSystemd(settings map[string]any) string {
	d.parent = filepath.Base(d.dir) + ".slice"
	maps.Copy(settings, map[string]any{
		"exec-opts": []string{"native.cgroupdriver=systemd"}, "cgroup-parent": d.parent, "default-runtime": "runh",
		"containerd": d.dir + "/c/s", "bridge": "none", "iptables": false,
	})
	return "echo 1 >/proc/sys/net/ipv4/ip_forward; containerd --root $PWD/c/root --state $PWD/c/state -a $PWD/c/s & until [ -S c/s ]; do sleep 0.1; done; "
}

// trapped asks for no memory once it is up: where that runs out, the kernel ends what does.
const trapped = "trap 'exit 5' TERM; echo up; sleep 100000 & wait"

func TestEngineCRI(t *testing.T) {
	if !hasEngine(t) {
		return
	}
	n, d := newCRI(t)
	n.stopSlice(n.token + ".slice")
	var version struct {
		Runtime string `json:"runtime_version"`
	}
	n.mustCall("Version", object{}, &version)
	engineVersion(t, "containerd", version.Runtime)
	before := n.traces(n.first)
	p := n.runPod(nil)
	slice := n.token + "-pod1.slice"
	pause := n.scope("cri-containerd-"+p.id+".scope", slice)

	// A Linux container: the unit, the files, and what the container itself sees.
	limits := object{"resources": object{
		"memory_limit_in_bytes": 64 << 20, "cpu_quota": 50000, "cpu_period": 100000, "cpu_shares": 512, "unified": object{"pids.max": "50"},
	}}
	id := p.start("limited", "bb", []string{"sh", "-c", trapped}, object{"linux": limits})
	c := n.scope("cri-containerd-"+id+".scope", slice)
	n.wantUnit(c.unit, "MemoryMax=67108864", "CPUQuotaPerSecUSec=500ms", "CPUWeight=59", "TasksMax=50")
	c.wantFiles("memory.max=67108864", "cpu.max=50000 100000", "cpu.weight=59", "pids.max=50")
	if r, err := p.exec(id, 20, "sh", "-c", "cat /proc/self/cgroup /sys/fs/cgroup/memory.max; exit 3"); err != nil || string(r.Stdout) != "0::/\n67108864\n" || r.ExitCode != 3 {
		t.Errorf("exec: %q, %q, %d, %v", r.Stdout, r.Stderr, r.ExitCode, err)
	}
	p.mustCall("UpdateContainerResources", object{"container_id": id, "linux": object{"memory_limit_in_bytes": 50 << 20, "cpu_quota": 20000, "cpu_period": 100000, "cpu_shares": 1024}}, &object{})
	n.wantUnit(c.unit, "MemoryMax=52428800", "CPUQuotaPerSecUSec=200ms", "CPUWeight=100", "TasksMax=50")
	c.wantFiles("memory.max=52428800", "cpu.max=20000 100000", "cpu.weight=100", "pids.max=50")

	// A guest: QEMU is in the scope, under the limit.
	guest := p.start("guest", "hermit", []string{"print", "of the guest", ";", "count"}, object{"linux": object{"resources": object{"memory_limit_in_bytes": 256 << 20, "cpu_quota": 100000, "cpu_period": 100000}}})
	g := n.scope("cri-containerd-"+guest+".scope", slice)
	p.wantLog("guest", "stdout", "of the guest\ncount 1\n")
	g.wantFiles("memory.max=268435456", "cpu.max=100000 100000")
	g.wantGuest()
	fails := p.start("fails", "hermit", []string{"exit", "7"}, nil)
	p.wantExit(fails, 7, "Error")

	// Statistics, of one and of all.
	type stats struct {
		Attributes struct{ ID string }
		CPU        struct {
			Usage struct{ Value string } `json:"usage_core_nano_seconds"`
		}
		Memory struct {
			WorkingSet struct{ Value string } `json:"working_set_bytes"`
		}
	}
	p.eventually("statistics of both", func() bool {
		var all struct{ Stats []stats }
		p.mustCall("ListContainerStats", object{}, &all)
		seen := 0
		for _, s := range all.Stats {
			var cpu, memory int
			fmt.Sscan(s.CPU.Usage.Value+" "+s.Memory.WorkingSet.Value, &cpu, &memory)
			if (s.Attributes.ID == id || s.Attributes.ID == guest) && cpu > 0 && memory > 0 && memory < 256<<20 {
				seen++
			}
		}
		return seen == 2
	})

	// Ends: out of memory, by TERM, both kinds.
	if r, err := p.exec(id, 20, "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"); err != nil || r.ExitCode != 137 {
		t.Errorf("a process over the memory limit ended with %d, %v, want 137", r.ExitCode, err)
	}
	p.mustCall("StopContainer", object{"container_id": id, "timeout": 20}, &object{})
	p.wantExit(id, 5, "OOMKilled")
	p.mustCall("StopContainer", object{"container_id": guest, "timeout": 20}, &object{})
	p.wantExit(guest, 143, "Error")
	for _, id := range []string{id, guest, fails} {
		p.mustCall("RemoveContainer", object{"container_id": id}, &object{})
	}
	c.gone()
	g.gone()
	p.stop()
	pause.gone()
	n.wantTraces(n.first, before)
	d.quiet()
}

func TestEngineDocker(t *testing.T) {
	if !hasEngine(t) {
		return
	}
	k := newDockHermit(t)
	k.stopSlice(k.d.parent)
	version, major := k.docker("version", "-f", "{{.Server.Version}}").out, 0
	fmt.Sscan(strings.SplitN(version, ".", 2)[0], &major)
	engineVersion(t, "Docker", version)
	k.want(k.docker("info", "-f", "{{.CgroupDriver}} {{.CgroupVersion}} {{.DefaultRuntime}}"), 0, "systemd 2 runh\n")
	c := k.start("--network", "none", "-m", "64m", "--memory-swap", "64m", "--cpus", "0.5", "--cpu-shares", "512", "--pids-limit", "50", "bb", "sh", "-c", trapped)
	s := k.scope("docker-"+k.inspect(c, "{{.Id}}")+".scope", k.d.parent)
	k.wantUnit(s.unit, "MemoryMax=67108864", "CPUQuotaPerSecUSec=500ms", "CPUWeight=59", "TasksMax=50")
	s.wantFiles("memory.max=67108864", "memory.swap.max=0", "cpu.max=50000 100000", "cpu.weight=59", "pids.max=50")
	k.want(k.docker("exec", c, "sh", "-c", "cat /proc/self/cgroup /sys/fs/cgroup/memory.max; exit 3"), 3, "0::/\n67108864\n")
	if f := strings.Fields(k.docker("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", c).ok().out); len(f) != 4 || f[0] == "0B" || f[2] != "64MiB" || f[3] == "0" {
		t.Errorf("docker stats: %q", f)
	}
	k.docker("update", "--memory", "50m", "--memory-swap", "50m", "--cpus", "0.2", c).ok()
	k.wantUnit(s.unit, "MemoryMax=52428800", "CPUQuotaPerSecUSec=200ms", "TasksMax=50")
	s.wantFiles("memory.max=52428800", "cpu.max=20000 100000", "pids.max=50")
	k.docker("pause", c).ok()
	s.wantFiles("cgroup.freeze=1")
	if state := k.inspect(c, "{{.State.Status}}"); state != "paused" {
		t.Errorf("state %s", state)
	}
	k.docker("unpause", c).ok()
	s.wantFiles("cgroup.freeze=0")
	k.docker("kill", "-s", "TERM", c).ok()
	k.want(k.docker("wait", c), 0, "5\n")
	s.gone()
	k.docker("start", c).ok() // the same unit again, with the limits of the update
	k.wantUnit(s.unit, "ActiveState=active", "MemoryMax=52428800")
	s.wantFiles("memory.max=52428800", "cpu.max=20000 100000")
	k.docker("kill", c).ok()
	k.want(k.docker("wait", c), 0, "137\n")
	s.gone()
	k.docker("rm", c).ok()

	// That State.OOMKilled stays false on cgroup v2 is this Docker's, with every runtime.
	oom := k.start("--network", "none", "-m", "16m", "--memory-swap", "16m", "bb", "sh", "-c", trapped)
	if res := k.docker("exec", oom, "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"); res.code != 137 {
		t.Errorf("a process over the memory limit ended with %d, %q", res.code, res.err)
	}
	k.docker("rm", "-f", oom).ok()

	// A network: from version 28 on Docker brings the interface between create and start, and before it by a hook of create's.
	net := k.network()
	served := k.start("--network", net, "-m", "128m", "hermit", "serve", "alpha")
	k.logs(served, "serving as alpha")
	res := k.run("--network", net, "bb", "sh", "-c", "(echo hello; sleep 1) | timeout 60 nc "+k.inspect(served, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")+" 9975 | head -n 1")
	if !strings.HasPrefix(res.out, "alpha ") {
		t.Errorf("a Linux container reads %q from the guest: %q", res.out, res.err)
	}
	k.docker("rm", "-f", served).ok()

	guest := k.start("--network", "none", "-m", "128m", "--memory-swap", "128m", "hermit", "print", "of the guest", ";", "count")
	counts := func() int { return strings.Count(k.docker("logs", guest).out, "count ") }
	k.eventually("the guest counts", func() bool { return counts() > 3 })
	g := k.scope("docker-"+k.inspect(guest, "{{.Id}}")+".scope", k.d.parent)
	g.wantFiles("memory.max=134217728")
	g.wantGuest()
	// From version 28 on Docker restores no container with a network namespace of its own, whatever the runtime: it looks for that in /proc/0.
	if major < 28 {
		k.save(guest, "one")
		g.gone()
		was := counts()
		k.settled()
		k.docker("start", "--checkpoint", "one", guest).ok()
		k.eventually("the guest goes on", func() bool { return counts() > was+3 })
		all, _ := strings.CutPrefix(k.docker("logs", guest).out, "of the guest\n")
		counted(t, all)
		g.wantFiles("memory.max=134217728")
		g.wantGuest()
	}
	k.docker("stop", "-t", "20", guest).ok()
	k.want(k.docker("wait", guest), 0, "143\n")
	g.gone()
	k.docker("rm", guest).ok()
}

func TestEnginePodman(t *testing.T) {
	if !hasEngine(t) {
		return
	}
	p := newPodman(t)
	p.stopSlice(p.parent())
	p.testSystemd(p.parent())
}

// testSystemd holds for root and for a user who was given a part of the cgroup tree.
func (p *podman) testSystemd(slice string) {
	p.Helper()
	if out := p.podman("info", "-f", "{{.Host.CgroupManager}} {{.Host.CgroupsVersion}}").out; out != "systemd v2\n" {
		p.Fatalf("podman info: %q", out)
	}
	engineVersion(p.T, "podman", p.podman("version", "-f", "{{.Client.Version}}").out)
	c := p.start("-m", "64m", "--cpus", "0.5", "--pids-limit", "50", "bb", "sh", "-c", trapped)
	s := p.podmanScope(c, slice)
	s.wantFiles("memory.max=67108864", "cpu.max=50000 100000", "pids.max=50")
	p.want(p.podman("exec", c, "sh", "-c", "cat /proc/self/cgroup; exit 3"), 3, "0::/\n")
	p.podman("pause", c).ok()
	s.wantFiles("cgroup.freeze=1")
	p.podman("unpause", c).ok()
	s.wantFiles("cgroup.freeze=0")
	if f := strings.Fields(p.podman("stats", "--no-stream", "--format", "{{.MemUsageBytes}} {{.PIDs}}", c).ok().out); len(f) != 4 || f[0] == "0B" || f[3] == "0" {
		p.Errorf("podman stats: %q", f)
	}
	p.podman("update", "--memory", "50m", "--cpus", "0.2", c).ok()
	s.wantFiles("memory.max=52428800", "cpu.max=20000 100000", "pids.max=50")
	p.podman("stop", "-t", "20", c).ok()
	p.want(p.podman("wait", c), 0, "5\n")
	p.podman("rm", c).ok()
	p.scopeGone(s)

	p.importHermit()
	guest := p.start("-m", "128m", "hermit", "print", "of the guest", ";", "count")
	p.eventually("the guest counts", func() bool { return strings.HasPrefix(p.podman("logs", guest).out, "of the guest\ncount 1\n") })
	g := p.podmanScope(guest, slice)
	g.wantFiles("memory.max=134217728")
	g.wantGuest()
	p.podman("stop", "-t", "20", guest).ok()
	p.want(p.podman("wait", guest), 0, "143\n")
	p.podman("rm", guest).ok()
	p.scopeGone(g)
}

// podmanScope is a container's: of the system's manager, or of the user's, whom only the cgroup tells about.
func (p *podman) podmanScope(name, slice string) *scope {
	p.Helper()
	id := p.inspect(name, "{{.Id}}")
	if p.enter == nil {
		return p.scope("libpod-"+id+".scope", slice)
	}
	s := &scope{p.rt, "libpod-" + id + ".scope", "/sys/fs/cgroup" + userManager + "/" + slice + "/libpod-" + id + ".scope"}
	if rtReadOr(s.dir+"/cgroup.procs")+rtReadOr(s.dir+"/container/cgroup.procs") == "" {
		p.Errorf("no process is in %s", s.dir)
	}
	return s
}

func (p *podman) scopeGone(s *scope) {
	p.Helper()
	if p.enter == nil {
		s.gone()
		return
	}
	p.eventually(s.dir+" is gone", func() bool { _, err := os.Stat(s.dir); return err != nil })
}

// The machine's user: his systemd's cgroup and directory.
const (
	userManager = "/system.slice/user.service"
	userRuntime = "/run/user/1000"
)

// TestEnginePodmanRootless is the way of an ordinary user whom systemd has given a part of the tree, from inside of which he calls.
func TestEnginePodmanRootless(t *testing.T) {
	if !hasEngine(t) {
		return
	}
	r := newRT(t)
	login := "/sys/fs/cgroup" + userManager + "/" + r.token
	r.must(os.Mkdir(login, 0o755))
	r.must(os.Chmod(r.dir, 0o711))
	home := r.dir + "/home"
	r.must(os.Mkdir(home, 0o700))
	for _, f := range []string{home, login, login + "/cgroup.procs"} {
		r.must(os.Chown(f, 1000, 1000))
	}
	t.Cleanup(func() {
		for _, pid := range r.processes() { // podman's own, which holds its namespaces
			if strings.HasPrefix(rtReadOr(fmt.Sprintf("/proc/%d/cmdline", pid)), "/usr/bin/podman\x00") {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		r.eventually("the login's cgroup is empty", func() bool { return os.Remove(login) == nil })
	})
	p := &podman{rt: r, home: home, bin: r.bin, enter: []string{ // a newer systemd gives its services the name root, and podman asks the name for its ids
		"sh", "-c", `export USER=user; echo 0 >"$0"/cgroup.procs && exec "$@"`, login, "/usr/bin/setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "--",
	}}
	p.prepare()
	p.testSystemd("user.slice")
}
