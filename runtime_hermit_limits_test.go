// What limits make of a machine: linux.resources.unified, the cgroups above the container's, and whom a limit reaches.

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func (c *ctr) explained() (e explanation) {
	c.r.Helper()
	c.r.must(json.Unmarshal([]byte(c.r.do("explain", "--format", "json", "--bundle", c.dir).ok().out), &e))
	return e
}

// Files of cgroup v2, as podman's --cgroup-conf and the kubelet name them, size a machine as the other fields do; explain says so on any host.
func TestHermitSizeUnified(t *testing.T) {
	r := newHermit(t)
	two := min(2, runtime.NumCPU())
	for _, x := range []struct {
		name, resources string
		needs           int // MiB, at most; 0: as without a limit
		by              string
		cpus            int
	}{
		{"memory.max", `{"unified":{"memory.max":"201326592"}}`, 192, "linux.resources.unified memory.max", 1},
		{"memory.high", `{"unified":{"memory.high":"201326592"}}`, 192, "linux.resources.unified memory.high", 1},
		{"the kubelet's MemoryQoS", `{"memory":{"limit":268435456},"unified":{"memory.min":"134217728","memory.high":"254803968"}}`, 243, "linux.resources.unified memory.high", 1},
		{"memory.high above the limit", `{"memory":{"limit":201326592},"unified":{"memory.high":"256M"}}`, 192, "linux.resources.memory.limit", 1},
		{"memory.max goes last", `{"memory":{"limit":201326592},"unified":{"memory.max":"256M"}}`, 256, "linux.resources.unified memory.max", 1},
		{"memory.high of a node", `{"unified":{"memory.high":"32G"}}`, 0, "", 1},
		{"no limit at all", `{"unified":{"memory.max":"max","memory.high":"max","cpu.max":"max 100000"}}`, 0, "", 1},
		{"no limit of a machine's", `{"unified":{"memory.low":"16M","memory.min":"16M","memory.swap.max":"0","hugetlb.2MB.max":"0","cpu.weight":"1","io.weight":"1"}}`, 0, "", 1},
		{"cpu.max", `{"unified":{"cpu.max":"150000 100000"}}`, 0, "", two},
		{"cpu.max without a period", `{"cpu":{"period":25000},"unified":{"cpu.max":"50000"}}`, 0, "", two},
		{"cpu.max goes last", `{"cpu":{"quota":400000},"unified":{"cpu.max":"50000"}}`, 0, "", 1},
		{"cpuset.cpus", `{"unified":{"cpu.max":"400000","cpuset.cpus":"0"}}`, 0, "", 1},
	} {
		e := r.guest("app", nil, resources(t, x.resources)).explained()
		if x.needs == 0 {
			if e.Memory != defaultMemory || e.LimitBy != "" {
				t.Errorf("%s: explained as %+v, want %d MiB", x.name, e, defaultMemory)
			}
		} else if e.Needs > x.needs || e.Needs < x.needs-2 || e.Limit != int64(x.needs) || e.LimitBy != x.by {
			t.Errorf("%s: explained as %+v, want %d MiB in all, by %s", x.name, e, x.needs, x.by)
		}
		if e.VCPUs != x.cpus {
			t.Errorf("%s: %d CPUs, want %d", x.name, e.VCPUs, x.cpus)
		}
	}
	for _, x := range []struct{ resources, want string }{
		{`{"memory":{"limit":268435456},"unified":{"memory.high":"60M"}}`, "memory limit of 60 MiB (linux.resources.unified memory.high) is too small: the guest needs"},
		{`{"unified":{"memory.high":"plenty"}}`, `linux.resources.unified memory.high "plenty": must be "max" or a number of bytes`},
		{`{"unified":{"memory.max":"1.5G"}}`, `linux.resources.unified memory.max "1.5G": must be "max" or a number of bytes`},
		{`{"unified":{"cpu.max":"50000x"}}`, `linux.resources.unified cpu.max "50000x": must be "max" or microseconds`},
		{`{"unified":{"pids.max":"5"}}`, "linux.resources.unified pids.max of 5 is too small"},
		{`{"unified":{"pids.max":"few"}}`, `linux.resources.unified pids.max "few": must be "max" or a number of tasks`},
	} {
		c := r.guest("app", nil, resources(t, x.resources))
		r.do("explain", "--bundle", c.dir).fails(x.want)
		if hybridCgroup() {
			c.tryCreate().fails("linux.resources.unified needs cgroup v2, this host has v1") // as of any container
		}
	}
	c := r.guest("app", nil, resources(t, `{"unified":{"memory.high":"192M"}}`), annotated("memory_size", "180"))
	r.do("explain", "--bundle", c.dir).fails("memory_size is 180 MiB: the memory limit of 192 MiB (linux.resources.unified memory.high) leaves the guest")
}

// A machine fits into each cgroup that its own lies in, such as a pod's, whatever its own allows.
func TestHermitSizeAbove(t *testing.T) {
	r := newHermit(t)
	pod := r.above(map[controlFile]string{limitMemory: "201326592", limitPids: "12"})
	in := func(s *specs.Spec) { s.Linux.CgroupsPath = pod + "/" + r.token + "-in" }
	file := filepath.Join("/sys/fs/cgroup", "memory"+pod, "memory.limit_in_bytes")
	if !hybridCgroup() {
		file = filepath.Join("/sys/fs/cgroup", pod, "memory.max")
	}
	for _, x := range []struct{ name, resources string }{
		{"no limit of its own", `{}`},
		{"a larger one", `{"memory":{"limit":1073741824}}`},
	} {
		c := r.guest("app", []string{"touch", ";", "exit", "3"}, resources(t, x.resources), in)
		if e := c.explained(); e.Needs > 192 || e.Needs < 190 || e.LimitBy != file {
			t.Errorf("%s: explained as %+v, want 192 MiB by %s", x.name, e, file)
		}
		if res := c.run(); res.code != 3 || !strings.Contains(res.out, "touched") {
			t.Errorf("%s: exit code %d, %q, %q", x.name, res.code, res.out, res.err)
		}
	}
	// A smaller one of its own decides; a size that was asked for stays, and is warned of.
	if e := r.guest("app", nil, resources(t, `{"memory":{"limit":134217728}}`), in).explained(); e.Needs > 128 || e.Needs < 126 {
		t.Errorf("a smaller one: explained as %+v, want 128 MiB", e)
	}
	r.global = []string{"--log-level", "warn"}
	if res := r.guest("app", []string{"exit", "3"}, resources(t, `{}`), in, annotated("memory_size", "256")).run(); res.code != 3 {
		t.Errorf("exit code %d, %q", res.code, res.err)
	}
	r.global = nil
	if log := rtReadOr(r.log); !strings.Contains(log, "memory limit of 192 MiB ("+file+"): the machine needs ") {
		t.Errorf("the log of a guest that does not fit: %q", log)
	}
	r.guest("app", nil, in, annotated("smp", "8")).tryCreate().fails("pids.max of 12 is too small")
	low := r.above(map[controlFile]string{limitMemory: "33554432"})
	r.guest("app", nil, func(s *specs.Spec) { s.Linux.CgroupsPath = low + "/" + r.token + "-in" }).tryCreate().fails("memory limit of 32 MiB (/sys/fs/cgroup/")
}

// An ordinary user's container may have no cgroup of its own. Then it stays in that of its caller, a user's slice or a session's.
func TestRootlessSizeAbove(t *testing.T) {
	u := newOrdinary(t, "rootless:300000:65536\n")
	u.onlyRunh("only runh boots guests")
	session := u.above(map[controlFile]string{limitMemory: "201326592"})
	dir := filepath.Join("/sys/fs/cgroup/memory", session)
	if !hybridCgroup() {
		dir = filepath.Join("/sys/fs/cgroup", session)
	}
	u.enter = append([]string{"sh", "-c", `echo $$ >$0/cgroup.procs && exec "$@"`, dir}, u.enter...)
	bundle := u.bundle("", func(s *specs.Spec) {
		s.Process.Args = []string{"/hermit/app", "touch", ";", "exit", "3"}
		s.Process.Env = append(s.Process.Env, "RUNH_USER_PORT=0")
	})
	hermitRootfs(u.rt, bundle+"/rootfs", "app")
	var e explanation
	u.must(json.Unmarshal([]byte(u.runh("explain", "--format", "json", "--bundle", bundle).ok().out), &e))
	if e.Needs > 192 || e.Needs < 190 || !strings.HasPrefix(e.LimitBy, dir+"/") {
		t.Errorf("explained as %+v, want 192 MiB by %s", e, dir)
	}
	if res := u.runh("run", "--bundle", bundle, "a"); res.code != 3 || !strings.Contains(res.out, "touched") {
		t.Errorf("exit code %d, %q, %q", res.code, res.out, res.err)
	}
}

// above makes a cgroup for others to be in.
func (r *rt) above(limits map[controlFile]string) string {
	r.Helper()
	r.n++
	name := fmt.Sprintf("/%s-above%d", r.token, r.n)
	top := "/sys/fs/cgroup"
	for f, value := range limits {
		controller, v1, _ := strings.Cut(f.v1, "/")
		dir, file := filepath.Join(top, controller)+name, v1
		if !hybridCgroup() {
			dir, file = top+name, f.v2
			r.must(os.WriteFile(top+"/cgroup.subtree_control", []byte("+"+controller), 0))
		}
		r.must(os.MkdirAll(dir, 0o755))
		r.Cleanup(func() { // runh makes it in the other hierarchies, too
			for _, c := range r.ctrs {
				if _, err := os.Stat(filepath.Join(r.root, c.id)); err == nil {
					r.do("delete", "--force", c.id).ok()
				}
			}
			dirs, _ := filepath.Glob(top + "/*" + name)
			for _, d := range append(dirs, top+name) {
				os.Remove(d)
			}
		})
		r.must(os.WriteFile(filepath.Join(dir, file), []byte(value), 0))
	}
	return name
}

// Every process of a machine is in the container's cgroup, so all limits hold for it: of processors and memory nodes, of which each process tells,
// and of devices, blocks and swap, which need no word of runh's.
func TestHermitLimitsReach(t *testing.T) {
	r := newHermit(t)
	last := fmt.Sprint(runtime.NumCPU() - 1)
	source := filepath.Join(r.dir, "volume")
	r.must(os.Mkdir(source, 0o755))
	c := r.guest("app", []string{"count"}, resources(t, `{"cpu":{"cpus":"`+last+`","mems":"0"}}`), volumeAt(source, "/data", "bind")).create().start()
	c.out.until("count 1")
	r.vmm(c)
	var pids []int
	r.must(json.Unmarshal([]byte(r.do("ps", "--format", "json", c.id).ok().out), &pids))
	names := ""
	for _, pid := range pids {
		comm := strings.TrimSpace(rtReadOr(fmt.Sprintf("/proc/%d/comm", pid)))
		names += " " + comm
		if a, b := rtReadOr(fmt.Sprintf("/proc/%d/cgroup", pid)), rtReadOr(fmt.Sprintf("/proc/%d/cgroup", c.pid)); a != b {
			t.Errorf("%s is in the cgroups\n%s and the container's first process in\n%s", comm, a, b)
		}
		if cpus, mems := rtStatus(t, pid, "Cpus_allowed_list"), rtStatus(t, pid, "Mems_allowed_list"); cpus != last || mems != "0" {
			t.Errorf("%s runs on the CPUs %s and the memory nodes %s, want %s and 0", comm, cpus, mems, last)
		}
	}
	if !strings.Contains(names, "qemu") || !strings.Contains(names, "virtiofsd") || !strings.Contains(names, "runh") {
		t.Errorf("the container's processes are%s", names)
	}
	r.do("delete", "--force", c.id).ok()
}

// On cgroup v2 a guest lives under memory.high, and update refuses one in which it could not.
func TestHermitUnified(t *testing.T) {
	if hybridCgroup() {
		leftToVM(t)
		t.SkipNow()
	}
	r := newHermit(t)
	limits := `{"memory":{"limit":268435456,"swap":268435456},"unified":{"memory.high":"128M","cpu.max":"150000 100000","cpuset.cpus":"0","pids.max":"30"}}`
	c := r.guest("app", []string{"touch", ";", "count"}, resources(t, limits)).create().start()
	c.out.until("touched")
	c.out.until("count 1")
	if v := c.machine(); v.VCPUs != 1 || v.Needs > 128<<20 || v.Needs < 126<<20 {
		t.Errorf("events say %+v, want 1 CPU and 128 MiB in all", v)
	}
	if text := c.limit(controlFile{"", "memory.events"}); !strings.Contains(text, "\nhigh 0\n") {
		t.Errorf("the kernel has held the machine up: %q", text)
	}
	update := func(text string) result {
		cmd := r.cmd("update", "--resources", "-", c.id)
		cmd.Stdin = strings.NewReader(text)
		return r.doCmd(cmd)
	}
	update(`{"unified":{"memory.high":"96M"}}`).fails("memory limit of 96 MiB (linux.resources.unified memory.high): the running machine needs")
	update(`{"unified":{"memory.high":"lots"}}`).fails(`memory.high "lots": must be`)
	update(`{"unified":{"pids.max":"9"}}`).fails("pids.max of 9 is too small")
	c.wantLimit(controlFile{"", "memory.high"}, "", "134217728")
	r.global = []string{"--log-level", "warn"}
	update(`{"unified":{"memory.high":"200M","cpu.max":"50000"}}`).ok()
	r.global = nil
	if log := rtReadOr(r.log); !strings.Contains(log, "the running guest keeps its ") {
		t.Errorf("the log of update: %q", log)
	}
	c.wantLimit(controlFile{"", "memory.high"}, "", "209715200")
	r.do("delete", "--force", c.id).ok()
	for _, file := range []string{"memory.high", "cpu.max", "pids.max"} {
		r.guest("app", nil, resources(t, `{"unified":{"`+file+`":"much"}}`)).tryCreate().fails(file)
	}
	r.guest("app", nil, resources(t, `{"unified":{"memory.high":"60M"}}`)).tryCreate().fails("memory limit of 60 MiB (linux.resources.unified memory.high) is too small")
}

// systemd has words of its own for limits: a property that an annotation sets, and those of a slice.
func TestHermitSizeSystemd(t *testing.T) {
	if !rtSystemd() {
		leftToVM(t)
		t.SkipNow()
	}
	r := newHermit(t)
	slice := "runhabove.slice"
	if out, err := exec.Command("systemctl", "set-property", "--runtime", slice, "MemoryMax=192M").CombinedOutput(); err != nil {
		t.Fatalf("systemctl: %v: %s", err, out)
	}
	for name, edit := range map[string]func(*specs.Spec){
		"a property": func(s *specs.Spec) {
			s.Annotations = map[string]string{"org.systemd.property.MemoryHigh": "uint64 201326592"}
		},
		"a slice": func(s *specs.Spec) { s.Linux.CgroupsPath = slice + ":runh:" + r.token },
	} {
		c := r.guest("app", []string{"touch", ";", "count"}, edit).create().start()
		c.out.until("touched")
		if v := c.machine(); v.Needs > 192<<20 || v.Needs < 190<<20 {
			t.Errorf("%s: events say %+v, want 192 MiB in all", name, v)
		}
		r.do("delete", "--force", c.id).ok()
	}
}

// machine is what events say of it.
func (c *ctr) machine() machineView {
	c.r.Helper()
	var e struct {
		Data struct{ VM machineView }
	}
	c.r.must(json.Unmarshal([]byte(c.r.do("events", "--stats", c.id).ok().out), &e))
	return e.Data.VM
}
