// A container's cgroup from outside: where it is, what it limits, how processes get in and out of it. Every test here
// holds on cgroup v1, v2, and a host with both, with and without systemd: vm_test.go runs them on each.

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// resources replaces linux.resources, but for the device rules, by JSON.
func resources(t *testing.T, text string) func(*specs.Spec) {
	t.Helper()
	r := new(specs.LinuxResources)
	if err := json.Unmarshal([]byte(text), r); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return func(s *specs.Spec) {
		if r.Devices == nil {
			r.Devices = s.Linux.Resources.Devices
		}
		s.Linux.Resources = r
	}
}

// Every field of linux.resources arrives in its file, or the error says what is missing. A field that this machine has
// no controller or no file for is refused; nothing is skipped.
func TestResources(t *testing.T) {
	disk, diskName, weights := blockDevice(t)
	for _, x := range []struct {
		name, resources string
		v1, v2          string // "controller/file=value", "," between two; in v1 file names $ stands for the controller
	}{
		{
			"memory", `{"memory":{"limit":67108864,"swap":134217728,"reservation":33554432,"swappiness":10}}`,
			"memory/memory.limit_in_bytes=67108864,memory/memory.memsw.limit_in_bytes=134217728,memory/memory.soft_limit_in_bytes=33554432,memory/memory.swappiness=10",
			"memory/memory.max=67108864,memory/memory.swap.max=67108864,memory/memory.low=33554432",
		},
		{
			"memory without swap, and what the kernel has no more", `{"memory":{"limit":33554432,"swap":33554432,"kernel":16777216,"kernelTCP":16777216,"useHierarchy":true}}`,
			"memory/memory.limit_in_bytes=33554432,memory/memory.memsw.limit_in_bytes=33554432", "memory/memory.max=33554432,memory/memory.swap.max=0",
		},
		{
			"memory check", `{"memory":{"limit":33554432,"checkBeforeUpdate":true,"disableOOMKiller":false}}`,
			"memory/memory.limit_in_bytes=33554432", "memory/memory.max=33554432",
		},
		{
			"no OOM killer", `{"memory":{"limit":33554432,"disableOOMKiller":true}}`,
			"memory/memory.oom_control=oom_kill_disable 1\nunder_oom 0\noom_kill 0", "memory/memory.max=33554432", // v2 always has it
		},
		{
			"unlimited", `{"memory":{"limit":-1,"swap":-1},"pids":{"limit":-1},"cpu":{"quota":-1}}`,
			"memory/memory.limit_in_bytes=" + unlimitedV1() + ",pids/pids.max=max,cpu/cpu.cfs_quota_us=-1", "memory/memory.max=max,pids/pids.max=max",
		},
		{
			"cpu", `{"cpu":{"shares":512,"quota":50000,"period":100000,"burst":10000}}`,
			"cpu/cpu.shares=512,cpu/cpu.cfs_quota_us=50000,cpu/cpu.cfs_period_us=100000,cpu/cpu.cfs_burst_us=10000",
			"cpu/cpu.weight=59,cpu/cpu.max=50000 100000,cpu/cpu.max.burst=10000",
		},
		{"idle", `{"cpu":{"idle":1}}`, "cpu/cpu.idle=1", "cpu/cpu.idle=1"},
		{"realtime", `{"cpu":{"realtimePeriod":1000000,"realtimeRuntime":5000}}`, "cpu/cpu.rt_period_us=1000000,cpu/cpu.rt_runtime_us=5000", "-has nothing like it"},
		{"cpuset", `{"cpu":{"cpus":"0","mems":"0"}}`, "cpuset/cpuset.cpus=0,cpuset/cpuset.mems=0", "cpuset/cpuset.cpus=0,cpuset/cpuset.mems=0"},
		{"pids", `{"pids":{"limit":20}}`, "pids/pids.max=20", "pids/pids.max=20"},
		{"pids 0 is no limit", `{"pids":{"limit":0}}`, "pids/pids.max=max", "pids/pids.max=max"}, // before 1.3 of the specification, see TestPidsZero
		{
			"throttle", `{"blockIO":{"throttleReadBpsDevice":[{` + disk + `,"rate":1048576}],"throttleWriteBpsDevice":[{` + disk + `,"rate":2097152}],
				"throttleReadIOPSDevice":[{` + disk + `,"rate":300}],"throttleWriteIOPSDevice":[{` + disk + `,"rate":400}]}}`,
			"blkio/blkio.throttle.read_bps_device=" + diskName + " 1048576,blkio/blkio.throttle.write_bps_device=" + diskName + " 2097152," +
				"blkio/blkio.throttle.read_iops_device=" + diskName + " 300,blkio/blkio.throttle.write_iops_device=" + diskName + " 400",
			"io/io.max=" + diskName + " rbps=1048576 wbps=2097152 riops=300 wiops=400",
		},
		{"weight", `{"blockIO":{"weight":300}}`, "blkio/blkio.bfq.weight=300", "io/io.bfq.weight=default 300"},
		{
			"weight of a device", `{"blockIO":{"weightDevice":[{` + disk + `,"weight":400}]}}`,
			map[bool]string{true: "blkio/blkio.bfq.weight_device=~\n" + diskName + " 400", false: "-linux.resources.blockIO.weightDevice: "}[weights],
			map[bool]string{true: "io/io.bfq.weight=default 100\n" + diskName + " 400", false: "-linux.resources.blockIO.weight"}[weights],
		},
		{"leaf weight", `{"blockIO":{"leafWeight":300}}`, "blkio/blkio.leaf_weight=300", "-has nothing like it"},
		{"huge pages", `{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}`, "hugetlb/hugetlb.2MB.limit_in_bytes=4194304", "hugetlb/hugetlb.2MB.max=4194304"},
		{"class of packets", `{"network":{"classID":1048577}}`, "net_cls/net_cls.classid=1048577", "-has nothing like it"},
		{"priority of packets", `{"network":{"priorities":[{"name":"lo","priority":5}]}}`, "net_prio/net_prio.ifpriomap=~lo 5", "-has nothing like it"},
		{"rdma", `{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000}}}`, "rdma/rdma.max=!rdma", "rdma/rdma.max=!rdma"}, // there is no such card
		{
			"unified", `{"unified":{"memory.high":"16777216","pids.max":"33","cpu.weight":"321"}}`,
			"-invalid configuration: linux.resources.unified needs cgroup v2", "memory/memory.high=16777216,pids/pids.max=33,cpu/cpu.weight=321",
		},
		{"unified goes last", `{"pids":{"limit":20},"unified":{"pids.max":"21"}}`, "-needs cgroup v2", "pids/pids.max=21"},
		{"unlimited memory with swap", `{"memory":{"limit":-1,"swap":33554432}}`, "-must not be below memory.limit", "memory/memory.max=max,memory/memory.swap.max=33554432"},
		{
			"throttle by 0", `{"blockIO":{"throttleReadBpsDevice":[{` + disk + `,"rate":0}],"throttleWriteBpsDevice":[{` + disk + `,"rate":2097152}]}}`,
			"blkio/blkio.throttle.write_bps_device=" + diskName + " 2097152", "io/io.max=" + diskName + " rbps=max wbps=2097152 riops=max wiops=max",
		},
		{"unified wrong", `{"unified":{"cpu.weight":"many"}}`, "-needs cgroup v2", `-linux.resources.unified "cpu.weight" = "many"`},
		{"unified frozen", `{"unified":{"cgroup.freeze":"1"}}`, "-needs cgroup v2", `-unified "cgroup.freeze": is no limit`},
		{"unified killed", `{"unified":{"cgroup.kill":"1"}}`, "-needs cgroup v2", `-unified "cgroup.kill": is no limit`},
		{"unified threaded", `{"unified":{"cgroup.type":"threaded"}}`, "-needs cgroup v2", `-unified "cgroup.type": is no limit`},
		{"unified moved", `{"unified":{"cgroup.procs":"1"}}`, "-needs cgroup v2", `-unified "cgroup.procs": is no limit`},
		{"unified depth", `{"unified":{"cgroup.max.depth":"3"}}`, "-needs cgroup v2", "pids/cgroup.max.depth=3"},
		{"unified unknown", `{"unified":{"memory.nosuch":"1"}}`, "-needs cgroup v2", "memory/x=!memory.nosuch"},
		{"nothing", `{"memory":{"limit":0,"swap":0,"reservation":0},"cpu":{"shares":0,"quota":0,"period":0},"blockIO":{"weight":0}}`, "pids/pids.max=max", "pids/pids.max=max"},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRT(t)
			r.onlyRunh("runc has other words for what is missing, and lets some of it pass")
			c := r.bundle([]string{"sleep", "1000"}, resources(t, x.resources))
			want := x.v2
			if hybridCgroup() {
				want = x.v1
			}
			if why, refused := strings.CutPrefix(want, "-"); refused {
				c.tryCreate().fails(why)
				return
			}
			files := strings.Split(want, ",")
			controller, rest, _ := strings.Cut(files[0], "/")
			file, value, _ := strings.Cut(rest, "=")
			why, fails := strings.CutPrefix(value, "!")
			switch {
			case !hasController(controller):
				c.tryCreate().fails("needs the " + controller + " controller")
				return
			case fails:
				c.tryCreate().fails(why)
				return
			case !r.offers(controller, file):
				c.tryCreate().fails("does not offer it")
				return
			}
			c.create()
			for _, f := range files {
				controller, rest, _ := strings.Cut(f, "/")
				file, value, _ := strings.Cut(rest, "=")
				got := c.limit(controlFile{controller + "/" + file, file})
				if got == "" && strings.Contains(file, "sw") {
					continue // a kernel without swap accounting
				}
				if file == "pids.max" && value == "max" && !strings.Contains(x.resources, "pids\":{\"limit\":-1") {
					value = r.noPids()
				}
				part, contains := strings.CutPrefix(value, "~")
				if got != value && !(contains && strings.Contains(got, part)) {
					t.Errorf("%s/%s is %q, want %q", controller, file, got, value)
				}
			}
		})
	}
}

// blockDevice is one of this machine's, as JSON and as the kernel writes it; weights says whether its scheduler has any.
func blockDevice(t *testing.T) (inJSON, inFile string, weights bool) {
	t.Helper()
	for _, name := range []string{"loop0", "vda", "sda", "nvme0n1"} {
		if number := strings.TrimSpace(rtReadOr("/sys/block/" + name + "/dev")); number != "" {
			major, minor, _ := strings.Cut(number, ":")
			scheduler := rtReadOr("/sys/block/" + name + "/queue/scheduler")
			return `"major":` + major + `,"minor":` + minor, number, strings.Contains(scheduler, "[bfq]")
		}
	}
	needs(t, false, "a block device")
	return "", "", false
}

func hasController(name string) bool {
	if hybridCgroup() {
		_, err := os.Stat("/sys/fs/cgroup/" + name + "/cgroup.procs")
		return err == nil
	}
	return strings.Contains(" "+strings.TrimSpace(rtReadOr("/sys/fs/cgroup/cgroup.controllers"))+" ", " "+name+" ")
}

// offers: does the kernel have the file in a cgroup below the top? One that is made shows it.
func (r *rt) offers(controller, file string) bool {
	dir := "/sys/fs/cgroup"
	if hybridCgroup() {
		dir = filepath.Join(dir, controller)
	} else if !strings.Contains(rtReadOr(dir+"/cgroup.subtree_control"), controller) {
		r.must(os.WriteFile(dir+"/cgroup.subtree_control", []byte("+"+controller), 0))
	}
	dir = filepath.Join(dir, r.token+"-look")
	r.must(os.Mkdir(dir, 0o755))
	defer os.Remove(dir)
	_, err := os.Stat(filepath.Join(dir, file))
	return err == nil || strings.Contains(file, "sw")
}

// Before version 1.3 of the specification pids.limit 0 was the word for no limit, and CRI-O's configs are of that kind.
func TestPidsZero(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("others go by their own version")
	for _, x := range []struct{ version, limit, updated string }{{"1.0.2", "max", "9"}, {"1.2.1", "max", "9"}, {"1.3.0", "1", "1"}} {
		c := r.bundle([]string{"sleep", "1000"}, resources(t, `{"pids":{"limit":0}}`), func(s *specs.Spec) { s.Version = x.version }).create().start()
		if x.limit == "max" {
			x.limit = r.noPids()
		}
		c.wantLimit(limitPids, x.limit, x.limit)
		update := func(text string) {
			cmd := r.cmd("update", "--resources", "-", c.id)
			cmd.Stdin = strings.NewReader(text)
			r.doCmd(cmd).ok()
		}
		update(`{"pids":{"limit":9}}`)
		update(`{"pids":{"limit":0}}`)
		c.wantLimit(limitPids, x.updated, x.updated)
	}
}

// A container whose limit is one process gets that one, whatever it takes to enter its namespaces; and exec gets in where
// no process is free, as what is moved into a cgroup does. What only forks on the way is never counted.
func TestPidsForOne(t *testing.T) {
	needsLimits(t)
	with := func(kinds ...specs.LinuxNamespaceType) func(*specs.Spec) {
		return func(s *specs.Spec) {
			for _, kind := range kinds {
				s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: kind})
			}
		}
	}
	for _, x := range []struct {
		name  string
		users bool
		edit  func(*specs.Spec)
	}{
		{"plain", false, with()},
		{"time", false, with(specs.TimeNamespace)},
		{"cgroup", false, with(specs.CgroupNamespace)},
		{"users", true, with()},
		{"users, time, cgroup", true, with(specs.TimeNamespace, specs.CgroupNamespace)},
		{"host pid", false, func(s *specs.Spec) { dropNamespace(s, specs.PIDNamespace) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRT(t)
			r.onlyRunh("an init of Go takes more threads than one")
			c := r.bundle([]string{"sleep", "1000"}, x.edit, resources(t, `{"pids":{"limit":1}}`))
			if x.users {
				c.ownUsers()
			}
			c.create().start()
			c.wantLimit(limitPids, "1", "1")
			for range 3 {
				if out := r.do("exec", c.id, "cat", "/proc/self/cgroup").ok().out; !strings.Contains(out, ":/") {
					t.Errorf("exec: %q", out)
				}
			}
			r.eventually("one process", func() bool { return len(c.hostPids()) == 1 })
		})
	}
	t.Run("shared pid namespace", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("an init of Go takes more threads than one")
		a := r.bundle([]string{"sleep", "1000"}).create().start()
		c := r.bundle([]string{"sleep", "1000"}, joinNS(specs.PIDNamespace, pidNS(a.pid, "pid")), resources(t, `{"pids":{"limit":1}}`)).create().start()
		r.do("exec", c.id, "true").ok()
		r.do("delete", "--force", c.id).ok() // before the namespace, whose end waits for it
		c.wait()
	})
}

// The share of the processors takes effect last, when create has done its work; all else is in force before it begins.
func TestCPULast(t *testing.T) {
	needsLimits(t)
	for _, x := range []struct{ name, resources, v1, v2 string }{
		{"shares", `{"cpu":{"shares":2},"pids":{"limit":20}}`, "2 -1 20", "1 max 100000 20"},
		{"quota", `{"cpu":{"shares":512,"quota":50000,"period":100000},"pids":{"limit":20}}`, "512 50000 20", "59 50000 100000 20"},
		{"unified", `{"unified":{"cpu.weight":"7","cpu.max":"30000 100000","pids.max":"20"}}`, "", "7 30000 100000 20"},
		{"none", `{"pids":{"limit":20}}`, "1024 -1 20", "100 max 100000 20"},
	} {
		t.Run(x.name, func(t *testing.T) {
			if hybridCgroup() && x.v1 == "" {
				return
			}
			r := newRT(t)
			r.onlyRunh("others are slow on a busy host")
			c := r.bundle([]string{"sleep", "1000"}, resources(t, x.resources))
			c.cpuLast(x.v1, x.v2)
		})
	}
	t.Run("refused", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("the text is runh's")
		r.sh("echo ran", resources(t, `{"cpu":{"quota":1}}`)).tryCreate().fails("linux.resources.cpu.quota")
		r.sh("echo ran", resources(t, `{"cpu":{"period":1}}`)).tryCreate().fails("linux.resources.cpu.period")
	})
}

// cpuLast creates the container, and looks at weight, quota and pids limit in a hook and in the end.
func (c *ctr) cpuLast(v1, v2 string) {
	c.r.Helper()
	files := []controlFile{limitShares, limitQuota, limitPids}
	seen, script := filepath.Join(c.dir, "seen"), ""
	for _, f := range files {
		script += "cat " + c.limitName(f) + "; "
	}
	setHook(c.spec, "createRuntime", shHook("("+script+") >"+seen))
	c.write()
	c.create()
	now := ""
	for _, f := range files {
		now += " " + c.limit(f)
	}
	want, early := v2, "100 max 100000"
	if hybridCgroup() {
		want, early = v1, "1024 -1"
	}
	early += want[strings.LastIndex(want, " "):] // the pids limit is in force
	if now = now[1:]; now != want {
		c.r.Errorf("in the end: %q, want %q", now, want)
	}
	if saw := strings.Join(strings.Fields(rtRead(c.r.T, seen)), " "); saw != early {
		c.r.Errorf("while create works: %q, want %q", saw, early)
	}
}

// noPids is pids.max of a container without pids.limit: systemd's administrator decides that of a unit.
func (r *rt) noPids() string {
	if !rtSystemd() {
		return "max"
	}
	return strings.TrimSpace(strings.TrimPrefix(r.unit("", "DefaultTasksMax"), "DefaultTasksMax="))
}

// Limits bite, in the container and in what exec adds.
func TestLimitsBite(t *testing.T) {
	needsLimits(t)
	t.Run("pids", func(t *testing.T) {
		r := newRT(t)
		res := r.sh("for i in 1 2 3 4 5 6; do sleep 1 & done; wait", resources(t, `{"pids":{"limit":4}}`)).run()
		if !strings.Contains(res.err, "fork") {
			t.Errorf("no fork failed under a limit of 4: exit code %d, stderr %q", res.code, res.err)
		}
	})
	t.Run("cpu", func(t *testing.T) {
		r := newRT(t)
		c := r.sh("while :; do :; done", resources(t, `{"cpu":{"quota":2000,"period":50000}}`)).create().start()
		r.eventually("the busy loop is throttled", func() bool {
			text := c.limit(controlFile{"cpu/cpu.stat", "cpu.stat"})
			return strings.Contains(text, "nr_throttled") && !strings.Contains(text, "nr_throttled 0\n")
		})
	})
	t.Run("memory", func(t *testing.T) {
		r := newRT(t)
		over := []string{"dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"}
		limit := resources(t, `{"memory":{"limit":16777216,"swap":16777216}}`)
		c := r.bundle(over, limit).create().start()
		if code := c.wait(); code != 137 {
			t.Errorf("exit code %d of a program over its memory, want 137; stderr %q", code, c.err.String())
		}
		if n := c.oomKills(); !rtSystemd() && n != "1" { // systemd has removed the cgroup with its last process
			t.Errorf("the cgroup counts %q kills for want of memory, want 1", n)
		}
		// The same exit code for another reason is told apart.
		c = r.bundle([]string{"sleep", "1000"}, limit).create().start()
		res := r.do("exec", c.id, "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
		if res.code != 137 || c.oomKills() != "1" {
			t.Errorf("exec: exit code %d, want 137; the cgroup counts %s kills, want 1", res.code, c.oomKills())
		}
		r.do("kill", c.id, "KILL").ok()
		if code := c.wait(); code != 137 || !rtSystemd() && c.oomKills() != "1" {
			t.Errorf("killed: exit code %d, want 137; the cgroup counts %s kills, want 1 as before", code, c.oomKills())
		}
		// A limit that not even the way to the program fits in.
		if res := r.bundle(over, resources(t, `{"memory":{"limit":4096,"swap":4096}}`)).tryCreate(); res.code != 1 || !strings.Contains(res.err, "memory") {
			t.Errorf("a page of memory: exit code %d, stderr %q", res.code, res.err)
		}
	})
	t.Run("check before update", func(t *testing.T) {
		r := newRT(t)
		c := r.sh("dd if=/dev/zero of=/dev/shm/x bs=1M count=16 2>/dev/null; echo full; exec sleep 1000", resources(t, `{"memory":{"limit":67108864,"swap":67108864}}`)).create().start()
		c.out.until("full")
		cmd := r.cmd("update", "--resources", "-", c.id)
		cmd.Stdin = strings.NewReader(`{"memory":{"limit":4194304,"swap":4194304,"checkBeforeUpdate":true}}`)
		r.doCmd(cmd).fails("memory")
		c.wantStatus("running")
		c.wantLimit(limitMemory, "67108864", "67108864")
	})
}

func (c *ctr) oomKills() string {
	for line := range strings.Lines(c.limit(controlFile{"memory/memory.oom_control", "memory.events"})) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strings.TrimSpace(n)
		}
	}
	return ""
}

// What the device rules forbid cannot be opened, neither by the container nor by what exec adds: on v2 a BPF program
// sees to that.
func TestDeviceRulesBite(t *testing.T) {
	// Devices that no driver serves: what may be opened is not there, what may not is not permitted.
	const open = `for d in null odd other; do case $(cat /dev/$d 2>&1) in *permitted*) echo $d no;; *) echo $d yes;; esac; done
		mknod $1 c 1 77; case $(cat $1 2>&1) in *permitted*) echo made no;; esac`
	odd := func(s *specs.Spec) {
		for name, minor := range map[string]int64{"odd": 77, "other": 78} {
			s.Linux.Devices = append(s.Linux.Devices, specs.LinuxDevice{Path: "/dev/" + name, Type: "c", Major: 1, Minor: minor})
		}
	}
	const none = "null yes\nodd no\nother no\nmade no\n"
	for _, x := range []struct{ name, rules, want string }{
		{"denied by default", `{}`, none},
		{"denied", `{"devices":[{"allow":false,"access":"rwm"}]}`, none},
		{"one allowed", `{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":77,"access":"r"}]}`, "null yes\nodd yes\nother no\n"},
		{"to be written allowed", `{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":77,"access":"w"}]}`, none},
		{"all of a major number", `{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"access":"rwm"}]}`, "null yes\nodd yes\nother yes\n"},
		{"all", `{"devices":[{"allow":true,"access":"rwm"}]}`, "null yes\nodd yes\nother yes\n"},
		{"all but one", `{"devices":[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":78,"access":"rw"}]}`, "null yes\nodd yes\nother no\n"},
		{"all of a major number but one", `{"devices":[{"allow":true,"type":"c","major":1,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":78,"access":"rw"}]}`, "null yes\nodd yes\nother no\n"},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRT(t)
			c := r.bundle([]string{"sh", "-c", "read line;" + open, "sh", "/tmp/n"}, odd, resources(t, x.rules))
			if rtSystemd() && hybridCgroup() && x.name == "all but one" {
				c.tryCreate().fails("systemd on cgroup v1 cannot forbid")
				return
			}
			if x.name == "all of a major number but one" && hybridCgroup() {
				r.onlyRunh("says it in its own words")
				c.tryCreate().fails(`cgroup v1 cannot make an exception for "c 1:78 rw" from the earlier rule "c 1:* rwm"`)
				return
			}
			c.create().start()
			if res := r.do("exec", c.id, "sh", "-c", open, "sh", "/tmp/m"); res.out != x.want {
				t.Errorf("exec: %q, want %q; stderr %q", res.out, x.want, res.err)
			}
			c.stdin.WriteString("\n")
			c.wait()
			if out := c.out.all(rtLimit); out != x.want {
				t.Errorf("%q, want %q", out, x.want)
			}
		})
	}
}

// A process is never moved into its cgroup by its pid, which is what takes other runtimes longest: on v2 it is born
// there, on v1 it writes "0" to tasks itself.
func TestBornInCgroup(t *testing.T) {
	strace, err := exec.LookPath("strace")
	needs(t, err == nil, "strace")
	r := newRT(t)
	r.onlyRunh("others move by pid")
	traced := func(options []string, args ...string) (string, result) {
		t.Helper()
		log := filepath.Join(r.dir, "trace")
		cmd := r.cmd(args...)
		cmd.Args = append(append([]string{strace, "-f", "--seccomp-bpf", "-o", log}, options...), cmd.Args...)
		cmd.Path = strace
		res := r.doCmd(cmd)
		return rtRead(t, log), res
	}
	c := r.bundle([]string{"cat", "/proc/self/cgroup"})
	long := r.bundle([]string{"sleep", "1000"}).create().start()
	for _, args := range [][]string{{"run", "--bundle", c.dir, c.id}, {"exec", long.id, "cat", "/proc/self/cgroup"}} {
		trace, res := traced([]string{"-e", "trace=openat,clone3"}, args...)
		if res.code != 0 || !strings.Contains(res.out, strings.TrimPrefix(filepath.Base(c.group()), "/")[:len(r.token)]) && !strings.Contains(res.out, r.token) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", args[0], res.code, res.out, res.err)
		}
		born := strings.Contains(trace, "CLONE_INTO_CGROUP")
		if viaUnit := rtSystemd() && args[0] == "run"; !hybridCgroup() && born == viaUnit {
			t.Errorf("%s: clone3(CLONE_INTO_CGROUP): %v", args[0], born)
		}
		for line := range strings.Lines(trace) {
			if strings.Contains(line, "cgroup.procs") && !strings.Contains(line, "O_RDONLY") {
				t.Errorf("%s: moved by pid: %s", args[0], line)
			}
		}
	}
	// A sandbox that refuses clone3 (its filter does not know it) is no reason to fail.
	for _, args := range [][]string{{"run", "--bundle", c.dir, c.id}, {"exec", long.id, "cat", "/proc/self/cgroup"}} {
		_, res := traced([]string{"-e", "trace=clone3", "-e", "inject=clone3:error=ENOSYS"}, args...)
		if res.code != 0 || !strings.Contains(res.out, r.token) {
			t.Errorf("%s without clone3: exit code %d, stdout %q, stderr %q", args[0], res.code, res.out, res.err)
		}
	}
}

// The cgroup's name as the container sees it: with a namespace it is the top, without it is what the host sees.
func TestCgroupNamespace(t *testing.T) {
	r := newRT(t)
	for _, own := range []bool{true, false} {
		c := r.bundle([]string{"sleep", "1000"}, func(s *specs.Spec) {
			if own {
				s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
			}
		}).create().start()
		outside := rtRead(t, fmt.Sprintf("/proc/%d/cgroup", c.pid))
		inside := r.do("exec", c.id, "cat", "/proc/self/cgroup").ok().out
		for line := range strings.Lines(outside) {
			if hybridCgroup() && strings.HasPrefix(line, "0::") {
				continue
			}
			if !strings.HasSuffix(line, c.group()+"\n") {
				t.Errorf("own namespace %v: outside it is in %q", own, line)
			}
		}
		for line := range strings.Lines(inside) {
			if strings.HasSuffix(line, ":/\n") != own && !strings.HasPrefix(line, "0::") {
				t.Errorf("own namespace %v: inside it is in %q", own, line)
			}
		}
	}
}

// On v2 the cgroup is its user's, where the container has a cgroup namespace and a writable mount: the directory and the
// files that the kernel names, and no limit.
func TestCgroupOwner(t *testing.T) {
	if hybridCgroup() {
		leftToVM(t)
		return
	}
	// What systemd does when it begins: a cgroup below for itself, controllers for others.
	const nest = `cd /sys/fs/cgroup && mkdir sub && echo 0 >sub/cgroup.procs && echo +pids >cgroup.subtree_control && mkdir other && echo 5 >other/pids.max && echo nested; echo 7 >pids.max; sleep 1000`
	own := func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	writable := func(s *specs.Spec) {
		for i := range s.Mounts {
			if s.Mounts[i].Type == "cgroup" {
				s.Mounts[i].Options = slices.DeleteFunc(s.Mounts[i].Options, func(o string) bool { return o == "ro" })
			}
		}
	}
	user := func(s *specs.Spec) { s.Process.User.UID, s.Process.User.GID = 1000, 1000 }
	limit := resources(t, `{"pids":{"limit":50}}`)
	for _, x := range []struct {
		name  string
		users bool
		edits []func(*specs.Spec)
		owner uint32
	}{
		{"users", true, []func(*specs.Spec){own, writable}, 100000},
		{"users and user", true, []func(*specs.Spec){own, writable, user}, 101000},
		{"user", false, []func(*specs.Spec){own, writable, user}, 1000},
		{"root", false, []func(*specs.Spec){own, writable}, 0},
		{"read-only", true, []func(*specs.Spec){own}, 0},
		{"host's namespace", true, []func(*specs.Spec){writable}, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRT(t)
			r.onlyRunh("runc does it under systemd alone")
			c := r.sh(nest, append(x.edits, limit)...)
			if x.users {
				c.ownUsers()
			}
			c.create()
			dir := "/sys/fs/cgroup" + c.group()
			for file, owner := range map[string]uint32{".": x.owner, "cgroup.procs": x.owner, "cgroup.subtree_control": x.owner, "cgroup.threads": x.owner, "pids.max": 0, "cgroup.freeze": 0} {
				if st, err := os.Stat(filepath.Join(dir, file)); err != nil || st.Sys().(*syscall.Stat_t).Uid != owner {
					t.Errorf("%s: %v, owner %v, want %d", file, err, st.Sys().(*syscall.Stat_t).Uid, owner)
				}
			}
			c.start()
			if x.owner == 0 {
				return
			}
			c.out.until("nested")
			c.wantLimit(limitPids, "50", "50")
			if out := r.do("exec", c.id, "cat", "/proc/self/cgroup").ok().out; out != "0::/sub\n" {
				t.Errorf("exec: %q, want it beside init", out)
			}
		})
	}
}

// Processes that share the host's pid namespace die with their container, however it ends.
func TestDiesWhole(t *testing.T) {
	forks := "sleep 1000 & sleep 1000 & (setsid sh -c 'sleep 1000 & exec sleep 1000') & "
	host := func(s *specs.Spec) { dropNamespace(s, specs.PIDNamespace) }
	t.Run("run", func(t *testing.T) {
		r := newRT(t)
		if res := r.sh(forks+"exit 3", host).run(); res.code != 3 {
			t.Errorf("exit code %d, want 3", res.code)
		}
	}) // cleanup looks for what is left
	t.Run("kill", func(t *testing.T) {
		r := newRT(t)
		c := r.sh(forks+"echo all; wait", host).create().start()
		c.out.until("all")
		r.eventually("five processes", func() bool { return len(c.hostPids()) >= 5 })
		r.do("kill", c.id, "KILL").ok()
		c.wait()
		r.eventually("no process", func() bool { r.processes(); return len(c.hostPids()) == 0 })
	})
	t.Run("delete", func(t *testing.T) {
		r := newRT(t)
		c := r.sh(forks+"exit 0", host).create().start()
		c.wait()
		r.do("delete", c.id).ok()
		r.eventually("no process", func() bool { r.processes(); return len(c.hostPids()) == 0 })
	})
	t.Run("frozen", func(t *testing.T) {
		r := newRT(t)
		c := r.sh(forks+"echo all; wait", host).create().start()
		c.out.until("all")
		r.do("pause", c.id).ok()
		r.do("delete", "--force", c.id).ok()
		r.eventually("no process", func() bool { r.processes(); return len(c.hostPids()) == 0 })
	})
}

func dropNamespace(s *specs.Spec, kind specs.LinuxNamespaceType) {
	var kept []specs.LinuxNamespace
	for _, n := range s.Linux.Namespaces {
		if n.Type != kind {
			kept = append(kept, n)
		}
	}
	s.Linux.Namespaces = kept
}

// Twenty at once, with limits, and what each leaves: nothing.
func TestTwentyRuns(t *testing.T) {
	r := newRT(t)
	var all sync.WaitGroup
	for i := range 20 {
		c := r.sh(fmt.Sprintf("exit %d", i+1), resources(t, `{"memory":{"limit":33554432},"pids":{"limit":10},"cpu":{"quota":90000,"period":100000}}`))
		all.Go(func() {
			out, err := r.cmd("run", "--bundle", c.dir, c.id).CombinedOutput()
			if !strings.Contains(fmt.Sprint(err), fmt.Sprintf("exit status %d", i+1)) || len(out) > 0 {
				t.Errorf("container %d: %v, %q", i, err, out)
			}
		})
	}
	all.Wait()
}

// exec --cgroup: a cgroup that the container has made inside its own, for all controllers or, on v1, for some.
func TestExecCgroup(t *testing.T) {
	r := newRT(t)
	c := r.bundle([]string{"sleep", "1000"}).create().start()
	tops := []string{"/sys/fs/cgroup" + c.group()}
	if hybridCgroup() {
		links, _ := filepath.Glob("/sys/fs/cgroup/*" + c.group()) // cpu and cpuacct may be one
		tops = slices.DeleteFunc(links, func(dir string) bool {
			st, err := os.Lstat(strings.TrimSuffix(dir, c.group()))
			return err != nil || !st.IsDir() || strings.HasPrefix(dir, "/sys/fs/cgroup/unified/")
		})
	}
	for _, top := range tops {
		r.must(os.MkdirAll(top+"/sub/deep", 0o755))
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if value := rtReadOr(top + "/" + file); hybridCgroup() && value != "" { // or no process may enter
				r.must(os.WriteFile(top+"/sub/"+file, []byte(value), 0))
				r.must(os.WriteFile(top+"/sub/deep/"+file, []byte(value), 0))
			}
		}
	}
	where := func(flags ...string) result {
		return r.do(append(append([]string{"exec"}, flags...), c.id, "cat", "/proc/self/cgroup")...)
	}
	refused := func(text string, flags ...string) {
		t.Helper()
		if res := where(flags...); res.code != 255 || !strings.Contains(res.err, text) {
			t.Errorf("%v: exit code %d, want 255 and %q; stderr %q", flags, res.code, text, res.err)
		}
	}
	for _, path := range []string{"sub", "/sub/deep"} {
		want := c.group() + "/" + strings.TrimPrefix(path, "/") + "\n"
		if out := where("--cgroup", path).ok().out; strings.Count(out, want) < len(tops) {
			t.Errorf("--cgroup %s: not in %s: %s", path, want, out)
		}
	}
	refused("adding pid to /sys/fs/cgroup", "--cgroup", "nosuch")
	refused(`must not contain ".."`, "--cgroup", "sub/../..")
	refused("CONTROLLER:PATH", "--cgroup", "sub", "--cgroup", "sub/deep")
	if hybridCgroup() {
		out := where("--cgroup", "pids:sub", "--cgroup", "memory,freezer:sub/deep").ok().out
		for _, want := range []string{":pids:" + c.group() + "/sub\n", ":memory:" + c.group() + "/sub/deep\n", ":freezer:" + c.group() + "/sub/deep\n", ":devices:" + c.group() + "\n"} {
			if !strings.Contains(out, want) {
				t.Errorf("controllers by name: no %q in %s", want, out)
			}
		}
		refused(`unknown controller "nosuch"`, "--cgroup", "nosuch:sub")
		return
	}
	refused("one PATH for all controllers", "--cgroup", "pids:sub")
	// A container that hands controllers on has no processes at the top of its cgroup.
	r.must(os.WriteFile(tops[0]+"/sub/cgroup.procs", []byte(fmt.Sprint(c.pid)), 0))
	r.must(os.WriteFile(tops[0]+"/cgroup.subtree_control", []byte("+pids"), 0))
	if out := where().ok().out; !strings.HasSuffix(out, c.group()+"/sub\n") {
		t.Errorf("beside init: %s", out)
	}
}
