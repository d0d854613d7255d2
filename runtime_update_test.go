// update as Docker, containerd, CRI-O and people call it. Only the named limits change in the cgroup.

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A controlFile is one control file in both versions of cgroups.
type controlFile struct{ v1, v2 string }

var (
	limitMemory  = controlFile{"memory/memory.limit_in_bytes", "memory.max"}
	limitSwap    = controlFile{"memory/memory.memsw.limit_in_bytes", "memory.swap.max"} // v1 counts memory in
	limitSoft    = controlFile{"memory/memory.soft_limit_in_bytes", "memory.low"}
	limitQuota   = controlFile{"cpu/cpu.cfs_quota_us", "cpu.max"} // v2: quota and period
	limitPeriod  = controlFile{"cpu/cpu.cfs_period_us", "cpu.max"}
	limitShares  = controlFile{"cpu/cpu.shares", "cpu.weight"}
	limitBurst   = controlFile{"cpu/cpu.cfs_burst_us", "cpu.max.burst"}
	limitIdle    = controlFile{"cpu/cpu.idle", "cpu.idle"}
	limitCpus    = controlFile{"cpuset/cpuset.cpus", "cpuset.cpus"}
	limitMems    = controlFile{"cpuset/cpuset.mems", "cpuset.mems"}
	limitPids    = controlFile{"pids/pids.max", "pids.max"}
	limitWeight  = controlFile{"blkio/blkio.bfq.weight", "io.bfq.weight"}
	limitWeights = controlFile{"blkio/blkio.weight", "io.weight"}
)

// limit reads a control file of the container's; "" if there is none.
func (c *ctr) limit(f controlFile) string { return strings.TrimSpace(rtReadOr(c.limitName(f))) }

func (c *ctr) limitName(f controlFile) string {
	if hybridCgroup() {
		controller, file, _ := strings.Cut(f.v1, "/")
		return filepath.Join("/sys/fs/cgroup", controller, c.group(), file)
	}
	return filepath.Join("/sys/fs/cgroup", c.group(), f.v2)
}

func (c *ctr) wantLimit(f controlFile, v1, v2 string) {
	c.r.Helper()
	want := v2
	if hybridCgroup() {
		want = v1
	}
	if got := c.limit(f); got != want {
		c.r.Errorf("%s is %q, want %q", f, got, want)
	}
}

// allLimits is for seeing that nothing has changed.
func (c *ctr) allLimits() string {
	var all []string
	for _, f := range []controlFile{
		limitMemory, limitSwap, limitSoft, limitQuota, limitPeriod, limitShares, limitBurst, limitIdle,
		limitCpus, limitMems, limitPids, limitWeight, limitWeights,
	} {
		all = append(all, c.limit(f))
	}
	return strings.Join(all, ",")
}

// limited is a container that waits, with limits on all that update changes.
func (r *rt) limited(edits ...func(*specs.Spec)) *ctr {
	r.Helper()
	return r.sh("read line; exec dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null", append([]func(*specs.Spec){func(s *specs.Spec) {
		res := s.Linux.Resources
		res.Memory = &specs.LinuxMemory{Limit: new(int64(32 << 20)), Swap: new(int64(64 << 20)), Reservation: new(int64(24 << 20))}
		res.CPU = &specs.LinuxCPU{Shares: new(uint64(100)), Quota: new(int64(50000)), Period: new(uint64(100000))}
		res.Pids = &specs.LinuxPids{Limit: new(int64(20))}
	}}, edits...)...)
}

func needsLimits(t *testing.T) {
	t.Helper()
	name := "/sys/fs/cgroup/cgroup.controllers"
	have := true
	for _, controller := range []string{"memory", "cpu", "cpuset", "pids"} {
		if hybridCgroup() {
			_, err := os.Stat("/sys/fs/cgroup/" + controller)
			have = have && err == nil
		} else {
			have = have && strings.Contains(rtReadOr(name), controller)
		}
	}
	needs(t, have, "the memory, cpu, cpuset and pids controllers")
}

func TestUpdateFlags(t *testing.T) {
	needsLimits(t)
	r := newRT(t)
	c := r.limited().create().start()
	swap := c.limit(limitSwap) != "" // a kernel without swap accounting
	for _, x := range []struct {
		flags  string
		file   controlFile
		v1, v2 string
	}{
		{"--memory 67108864 --memory-swap 134217728", limitMemory, "67108864", "67108864"},
		{"--memory 50M", limitMemory, "52428800", "52428800"},
		{"--memory=48m", limitMemory, "50331648", "50331648"},
		{"--memory 46MiB", limitMemory, "48234496", "48234496"},
		{"--memory 1.5k --memory 45mb", limitMemory, "47185920", "47185920"},
		{"--memory-reservation 33554432", limitSoft, "33554432", "33554432"},
		{"--memory-swap 96m", limitSwap, "100663296", "53477376"}, // v2: without the 45 of memory
		{"--memory-swap -1", limitSwap, unlimitedV1(), "max"},
		{"--cpu-quota 60000", limitQuota, "60000", "60000 100000"},
		{"--cpu-period 90000", limitPeriod, "90000", "60000 90000"},
		{"--cpu-quota 70000", limitQuota, "70000", "70000 90000"},
		{"--cpu-burst 5000", limitBurst, "5000", "5000"},
		{"--cpu-burst 0", limitBurst, "0", "0"},
		{"--cpu-quota=-1", limitQuota, "-1", "max 90000"},
		{"--cpu-period 80000", limitPeriod, "80000", "max 80000"},
		{"--cpu-share 200", limitShares, "200", ""},
		{"--cpu-idle 1", limitIdle, "1", "1"},
		{"--cpu-idle 0", limitIdle, "0", "0"},
		{"--cpuset-cpus 0", limitCpus, "0", "0"},
		{"--cpuset-mems 0", limitMems, "0", "0"},
		{"--pids-limit 31", limitPids, "31", "31"},
		{"--pids-limit -1", limitPids, "max", "max"},
		{"--pids-limit 33 --pids-limit 34", limitPids, "34", "34"},
		{"--blkio-weight 400", limitWeight, "400", "default 400"},
		{"--kernel-memory 1000000 --kernel-memory-tcp 100000 --pids-limit 35", limitPids, "35", "35"}, // the first is ignored
		{"--memory -1", limitMemory, unlimitedV1(), "max"},
	} {
		had := c.limit(x.file)
		if had == "" && (x.file == limitSwap && !swap || x.file == limitBurst || x.file == limitIdle || x.file == limitWeight) {
			continue // this kernel does not offer it
		}
		if !r.isRunh() && (strings.Contains(x.flags, "burst") || strings.Contains(x.flags, "idle") || strings.Contains(x.flags, "kernel")) {
			continue // runc 1.1 does not know them, or warns
		}
		flags := strings.Fields(x.flags)
		if len(flags)%4 == 0 { // flags stand before and after the id
			flags = append(flags, c.id)
		} else {
			flags = append([]string{c.id}, flags...)
		}
		if res := r.do(append([]string{"update"}, flags...)...).ok(); res.out != "" {
			t.Errorf("update %s: stdout %q", x.flags, res.out)
		}
		if hybridCgroup() || x.v2 != "" {
			c.wantLimit(x.file, x.v1, x.v2)
		} else if now := c.limit(x.file); now == had {
			t.Errorf("update %s: %s is %q as before", x.flags, x.file.v2, now)
		}
	}
	if swap {
		c.wantLimit(limitSwap, unlimitedV1(), "max") // no limit of memory takes that of swap with it
	}
	c.wantStatus("running")
}

// unlimitedV1 is what the kernel shows of -1: the largest number of whole pages.
func unlimitedV1() string { return "9223372036854771712" }

func TestUpdateSpelling(t *testing.T) {
	needsLimits(t)
	r := newRT(t)
	r.onlyRunh("runc knows only --cpu-share, and ignores flags beside --resources")
	c := r.limited().create()
	before := c.limit(limitShares)
	r.do("update", "--cpu-shares", "300", c.id).ok()
	if now := c.limit(limitShares); now == before {
		t.Errorf("cpu shares stay %q", now)
	}
	file := c.dir + "/res.json"
	r.must(os.WriteFile(file, []byte(`{"pids":{"limit":41},"memory":{"limit":33554432}}`), 0o644))
	r.do("update", "-r", file, "--memory", "40m", c.id).ok() // the flags go on top
	c.wantLimit(limitPids, "41", "41")
	c.wantLimit(limitMemory, "41943040", "41943040")
}

// update reads OCI resources as the engines send them; 0, null and what is absent change nothing.
func TestUpdateResources(t *testing.T) {
	needsLimits(t)
	r := newRT(t)
	c := r.limited().create().start()
	update := func(flag string, json string) result {
		t.Helper()
		cmd := r.cmd(append(append([]string{"update"}, strings.Fields(flag)...), c.id)...)
		cmd.Stdin = strings.NewReader(json)
		return r.doCmd(cmd)
	}
	// Docker 20.10: --memory 100m --memory-swap 200m --cpus .5 --pids-limit 77.
	docker := `{"memory":{"limit":104857600,"reservation":0,"swap":209715200,"kernel":0},
		"cpu":{"shares":0,"quota":50000,"period":100000},"pids":{"limit":77},"blockIO":{"weight":0}}`
	shares, soft := c.limit(limitShares), c.limit(limitSoft)
	for _, flag := range []string{"--resources -", "--resources=-", "-r -"} {
		r.do("update", "--pids-limit", "20", "--memory", "32m", "--memory-swap", "64m", "--cpu-quota", "30000", c.id).ok()
		update(flag, docker).ok()
		c.wantLimit(limitMemory, "104857600", "104857600")
		if c.limit(limitSwap) != "" {
			c.wantLimit(limitSwap, "209715200", "104857600")
		}
		c.wantLimit(limitQuota, "50000", "50000 100000")
		c.wantLimit(limitPids, "77", "77")
		if now := c.limit(limitShares); now != shares {
			t.Errorf("cpu.shares 0 made them %q, were %q", now, shares)
		}
		if now := c.limit(limitSoft); now != soft {
			t.Errorf("memory.reservation 0 made it %q, was %q", now, soft)
		}
	}
	before := c.allLimits()
	nothing := []string{
		`{}`, `{"memory":{},"cpu":{},"pids":{},"blockIO":{}}`,
		`{"cpu":{"cpus":"","mems":""},"unknown":{"a":[1]}}`,
		`{"memory":{"limit":0,"reservation":0,"swap":0,"kernel":0,"kernelTCP":0,"disableOOMKiller":false},"cpu":{"shares":0,"quota":0,"period":0,
			"realtimeRuntime":0,"realtimePeriod":0},"blockIO":{"weight":0}}`,
		`{"devices":[{"allow":true,"access":"rwm"}]}`,
	}
	if r.isRunh() {
		// What runc 1.1 crashes of.
		nothing = append(nothing, `{"memory":null,"cpu":null,"pids":null,"blockIO":null}`,
			`{"cpu":{"shares":null,"quota":null}}`, `null`)
	}
	for _, text := range nothing {
		update("-r -", text).ok()
		if now := c.allLimits(); now != before {
			t.Errorf("%s made of %s: %s", text, before, now)
		}
	}
	if hybridCgroup() {
		if got := rtReadOr("/sys/fs/cgroup/devices/" + c.id + "/devices.list"); strings.HasPrefix(got, "a ") {
			t.Errorf("update changed the device rules: %q", got)
		}
	}
	file := c.dir + "/res.json"
	r.must(os.WriteFile(file, []byte(`{"pids":{"limit":51}}`), 0o644))
	update("--resources "+file, "").ok()
	c.wantLimit(limitPids, "51", "51")

	for _, text := range []string{``, `x`, `[]`, `{"pids":{"limit":"many"}}`, `{"pids":{"limit":1.5}}`, `{"cpu":{"shares":-1}}`, `{"pids"`} {
		update("-r -", text).fails("")
	}
	update("-r "+c.dir+"/nosuch", "").fails("no such file")
	if r.isRunh() { // runc has no check of its own
		update("-r -", `{"memory":{"limit":-5}}`).fails("memory.limit")
	}
	if hybridCgroup() {
		update("-r -", `{"unified":{"pids.max":"9"}}`).fails("")
	} else {
		update("-r -", `{"unified":{"pids.max":"52"}}`).ok()
		c.wantLimit(limitPids, "", "52")
	}
}

// Memory, and memory with swap, bound each other: which is written first depends on where both go.
func TestUpdateMemoryAndSwap(t *testing.T) {
	needsLimits(t)
	r := newRT(t)
	c := r.limited().create().start()
	needs(t, c.limit(limitSwap) != "", "swap accounting")
	for _, x := range []struct{ memory, swap, v1Memory, v1Swap, v2Swap string }{
		{"100m", "200m", "104857600", "209715200", "104857600"}, // both above the old swap
		{"16m", "20m", "16777216", "20971520", "4194304"},       // both below the old memory
		{"30m", "50m", "31457280", "52428800", "20971520"},
		{"60m", "80m", "62914560", "83886080", "20971520"},
		{"70m", "70m", "73400320", "73400320", "0"},
		{"20m", "-1", "20971520", unlimitedV1(), "max"},
		{"-1", "-1", unlimitedV1(), unlimitedV1(), "max"},
		{"40m", "60m", "41943040", "62914560", "20971520"},
	} {
		r.do("update", "--memory", x.memory, "--memory-swap", x.swap, c.id).ok()
		v2Memory := x.v1Memory
		if x.memory == "-1" {
			v2Memory = "max"
		}
		c.wantLimit(limitMemory, x.v1Memory, v2Memory)
		c.wantLimit(limitSwap, x.v1Swap, x.v2Swap)
	}
	// One of them alone keeps the other as it was set, the last update included.
	before := c.allLimits()
	r.do("update", "--memory", "61m", c.id).fails("")
	r.do("update", "--memory-swap", "39m", c.id).fails("")
	if now := c.allLimits(); now != before {
		t.Errorf("refused updates made of %s: %s", before, now)
	}
	r.do("update", "--memory", "50m", c.id).ok()
	c.wantLimit(limitMemory, "52428800", "52428800")
	c.wantLimit(limitSwap, "62914560", "10485760")
	r.do("update", "--memory-swap", "55m", c.id).ok()
	c.wantLimit(limitMemory, "52428800", "52428800")
	c.wantLimit(limitSwap, "57671680", "5242880")
	// No limit of memory ends that of swap, for good.
	r.do("update", "--memory", "-1", c.id).ok()
	c.wantLimit(limitSwap, unlimitedV1(), "max")
	r.do("update", "--memory", "90m", c.id).ok()
	c.wantLimit(limitMemory, "94371840", "94371840")
}

// An update that fails in the middle leaves the limits as they were.
func TestUpdateFails(t *testing.T) {
	needsLimits(t)
	r := newRT(t)
	r.onlyRunh("runc leaves what it had written, and checks less")
	c := r.limited().create().start()
	before := c.allLimits()
	for _, flags := range []string{
		"--memory 40m --cpu-period 1",
		"--memory 40m --memory-swap 50m --pids-limit 99 --cpu-period 1 --cpu-quota 1",
		"--cpu-quota 70000 --pids-limit 30 --blkio-weight 5",
		"--cpuset-cpus 4095", "--cpuset-cpus nonsense", "--cpuset-mems 63",
	} {
		r.do(append(append([]string{"update"}, strings.Fields(flags)...), c.id)...).fails("")
		if now := c.allLimits(); now != before {
			t.Errorf("update %s made of %s: %s", flags, before, now)
			before = now
		}
	}
	for _, flags := range []string{
		"--memory 1x", "--memory 1mm", "--memory -2", "--memory m", "--memory 1e3", "--memory 9999999p", "--pids-limit many", "--pids-limit 1.5",
		"--cpu-share -1", "--cpu-period -1", "--cpu-quota 9999999999999999999", "--blkio-weight 70000", "--blkio-weight -1", "--nosuch 1",
	} {
		r.do(append(append([]string{"update"}, strings.Fields(flags)...), c.id)...).fails("")
		if now := c.allLimits(); now != before {
			t.Errorf("update %s made of %s: %s", flags, before, now)
		}
	}
	for _, flag := range []string{"--l3-cache-schema", "--mem-bw-schema"} {
		r.do("update", flag, "L3:0=f", c.id).fails("the container has no linux.intelRdt")
	}
	r.do("update", "--pids-limit", "9", "nosuch-"+r.token).fails("does not exist")
	c.wantStatus("running")
	r.do("kill", c.id, "9").ok()
	c.wait()
	r.do("update", "--pids-limit", "9", c.id).fails("container not running")
}

// A created and a paused container can be updated, and the new limit bites.
func TestUpdateBites(t *testing.T) {
	needsLimits(t)
	r := newRT(t)
	c := r.limited(func(s *specs.Spec) {
		s.Linux.Resources.Memory.Limit, s.Linux.Resources.Memory.Swap = new(int64(512<<20)), new(int64(512<<20))
	}).create()
	r.do("update", "--pids-limit", "44", c.id).ok()
	c.wantLimit(limitPids, "44", "44")
	c.wantStatus("created")
	c.start()
	r.do("pause", c.id).ok()
	r.do("update", "--memory", "16m", "--memory-swap", "16m", c.id).ok()
	c.wantLimit(limitMemory, "16777216", "16777216")
	c.wantStatus("paused")
	r.do("resume", c.id).ok()
	c.stdin.WriteString("go\n")
	if code := c.wait(); code != 137 {
		t.Errorf("exit code %d of a program over its new limit, want 137", code)
	}
}

// The copy of config.json that later commands read follows, and keeps all else, also what no runtime knows.
func TestUpdateRemembered(t *testing.T) {
	needsLimits(t)
	r := newRT(t)
	r.onlyRunh("it is runh's own file")
	c := r.limited()
	config := map[string]any{}
	r.must(json.Unmarshal([]byte(rtRead(t, c.dir+"/config.json")), &config))
	config["org.example.unknown"] = map[string]any{"a": []any{"<&>", 1.5, nil}}
	linux := config["linux"].(map[string]any)
	linux["unknown"] = "too"
	text, err := json.Marshal(config)
	r.must(err)
	r.must(os.WriteFile(c.dir+"/config.json", text, 0o644))
	c.create().start()
	r.do("update", "--memory", "40m", "--cpuset-cpus", "0", "--pids-limit", "22", c.id).ok()
	r.do("update", "--cpu-quota", "-1", "--blkio-weight", "0", "--pids-limit", "0", "--memory", "0", c.id).ok()
	r.do("update", "--cpu-period", "1", "--pids-limit", "23", c.id).fails("") // and a failed one does not

	saved := map[string]any{}
	r.must(json.Unmarshal([]byte(rtRead(t, filepath.Join(r.root, c.id, "config.json"))), &saved))
	resources := linux["resources"].(map[string]any)
	resources["memory"].(map[string]any)["limit"] = 40 << 20
	resources["cpu"].(map[string]any)["cpus"] = "0"
	resources["cpu"].(map[string]any)["quota"] = -1
	resources["pids"].(map[string]any)["limit"] = 22
	got, want := rtIndent(saved), rtIndent(config)
	if got != want {
		diff := exec.Command("diff", "-u", "/dev/stdin", c.dir+"/want")
		r.must(os.WriteFile(c.dir+"/want", []byte(want), 0o644))
		diff.Stdin = strings.NewReader(got)
		out, _ := diff.CombinedOutput()
		t.Errorf("the config remembered, and what is wanted:\n%s", out)
	}
	res := r.do("exec", c.id, "true") // it is still a config
	if res.code != 0 || res.err != "" {
		t.Errorf("exec after update: exit code %d, stderr %q", res.code, res.err)
	}
}

func rtIndent(v any) string {
	b, _ := json.MarshalIndent(v, "", " ")
	return string(b)
}
