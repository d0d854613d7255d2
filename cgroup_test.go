package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestCgroupInner(t *testing.T) {
	for _, tc := range []struct{ path, want, err string }{
		{"", "id1", ""},
		{"/docker/abc", "/docker/abc", ""},
		{"//docker///abc/", "/docker/abc", ""},
		{"crio-abc", "crio-abc", ""},
		{"./a/./b", "a/b", ""},
		{"/a..b/c", "/a..b/c", ""},
		{"/", "", "names no cgroup"},
		{".", "", "names no cgroup"},
		{"/../etc", "", `must not contain ".."`},
		{"a/../b", "", `must not contain ".."`},
		{"a\nb", "", "newline"},
	} {
		got, err := cgroupInner("id1", tc.path)
		if got != tc.want || !errorHas(err, tc.err) {
			t.Errorf("%q: %q, %v; want %q, %q", tc.path, got, err, tc.want, tc.err)
		}
	}
}

func errorHas(err error, want string) bool {
	if want == "" || err == nil {
		return (want == "") == (err == nil)
	}
	return strings.Contains(err.Error(), want)
}

func TestParseSystemdPath(t *testing.T) {
	for _, tc := range []struct {
		path string
		want systemdPath
		err  string
	}{
		{"", systemdPath{"", "runh", "id1"}, ""},
		{"system.slice:docker:abc", systemdPath{"system.slice", "docker", "abc"}, ""},
		{":cri-o:abc", systemdPath{"", "cri-o", "abc"}, ""},
		{"/docker/abc", systemdPath{}, "slice:prefix:name"},
		{"a:b:", systemdPath{}, "slice:prefix:name"},
		{"a:b:c/d", systemdPath{}, "slice:prefix:name"},
	} {
		got, err := parseSystemdPath("id1", tc.path)
		if got != tc.want || !errorHas(err, tc.err) {
			t.Errorf("%q: %v, %v; want %v, %q", tc.path, got, err, tc.want, tc.err)
		}
	}
}

func TestParseSelfCgroup(t *testing.T) {
	got := parseSelfCgroup("12:name=elogind:/1\n11:name=systemd:/a.scope\n4:cpu,cpuacct:/user:x\n1:memory:/\n0::/init.scope\nrubbish\n")
	want := []joinedCgroup{
		{[]string{"name=systemd"}, "/a.scope"},
		{[]string{"cpu", "cpuacct"}, "/user:x"},
		{[]string{"memory"}, "/"},
		{nil, "/init.scope"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestParseCgroupMounts(t *testing.T) {
	table := parseCgroupMounts(`23 1 8:1 / / rw - ext4 /dev/sda1 rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/ab\040c /odd\040place rw,relatime - cgroup cgroup rw,memory
40 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
short
`)
	if len(table) != 3 {
		t.Fatalf("got %v", table)
	}
	if m := findCgroupMount(table, "cpuacct"); m.mount != "/sys/fs/cgroup/cpu,cpuacct" {
		t.Errorf("cpuacct: %v", m)
	}
	if m := findCgroupMount(table, "memory"); m.mount != "/odd place" || m.root != "/docker/ab c" {
		t.Errorf("memory: %v", m)
	}
	if m := findCgroupMount(table, "pids"); m.mount != "" {
		t.Errorf("pids: %v", m)
	}
	for _, tc := range []struct{ self, want string }{
		{"/docker/ab c", "/odd place"},
		{"/docker/ab c/d/e", "/odd place/d/e"},
		{"/docker/ab cd", "/odd place"}, // not below the mount's root
	} {
		if got := ownCgroup(table, "/odd place", tc.self); got != tc.want {
			t.Errorf("own of %q: %q, want %q", tc.self, got, tc.want)
		}
	}
}

// fakeHosts are hosts as the pure functions see them.
func fakeV1() *cgroupHost {
	return &cgroupHost{trees: []cgroupTree{
		{[]string{"cpu", "cpuacct"}, "/cg/cpu,cpuacct", "/cg/cpu,cpuacct/own"},
		{[]string{"memory"}, "/cg/memory", "/cg/memory/deep/own"},
		{[]string{"devices"}, "/cg/devices", "/cg/devices"},
		{[]string{"name=systemd"}, "/cg/systemd", "/cg/systemd"},
		{nil, "/cg/unified", "/cg/unified"},
	}}
}

func fakeV2() *cgroupHost {
	return &cgroupHost{v2: true, trees: []cgroupTree{{nil, "/cg", "/cg/user.slice/session-1.scope"}}}
}

func TestCgroupPlaces(t *testing.T) {
	for _, tc := range []struct {
		name  string
		host  *cgroupHost
		inner string
		want  map[string]string
	}{
		{"v1 absolute", fakeV1(), "/docker/x", map[string]string{
			"cpu": "/cg/cpu,cpuacct/docker/x", "cpuacct": "/cg/cpu,cpuacct/docker/x", "memory": "/cg/memory/docker/x",
			"devices": "/cg/devices/docker/x", "name=systemd": "/cg/systemd/docker/x", "": "/cg/unified/docker/x",
		}},
		{"v1 relative", fakeV1(), "x", map[string]string{
			"cpu": "/cg/cpu,cpuacct/own/x", "cpuacct": "/cg/cpu,cpuacct/own/x", "memory": "/cg/memory/deep/own/x",
			"devices": "/cg/devices/x", "name=systemd": "/cg/systemd/x", "": "/cg/unified/x",
		}},
		{"v2 absolute", fakeV2(), "/docker/x", map[string]string{"": "/cg/docker/x"}},
		{"v2 relative is a sibling", fakeV2(), "x", map[string]string{"": "/cg/user.slice/x"}},
	} {
		c := placeCgroup(tc.host, tc.inner)
		if got := c.state(); !reflect.DeepEqual(got.Paths, tc.want) || got.Path != tc.inner {
			t.Errorf("%s: %v", tc.name, got)
		}
		// What another command opens is the same cgroup.
		again := again(c)
		if !reflect.DeepEqual(again.state(), c.state()) || again.v2 != c.v2 || len(again.places) != len(c.places) {
			t.Errorf("%s: opened again: %+v", tc.name, again)
		}
	}
}

func TestCgroupMountPlan(t *testing.T) {
	for _, tc := range []struct {
		name string
		host *cgroupHost
		ns   bool
		want []cgroupMount
	}{
		{"v1", fakeV1(), false, []cgroupMount{
			{"cpu,cpuacct", []string{"cpu", "cpuacct"}, "cpu,cpuacct", "/cg/cpu,cpuacct", "/docker/x"},
			{"memory", nil, "memory", "/cg/memory", "/docker/x"},
			{"devices", nil, "devices", "/cg/devices", "/docker/x"},
			{"systemd", nil, "none,name=systemd", "/cg/systemd", "/docker/x"},
		}},
		{"v1 in a cgroup namespace", &cgroupHost{trees: fakeV1().trees[:1]}, true, []cgroupMount{
			{"cpu,cpuacct", []string{"cpu", "cpuacct"}, "cpu,cpuacct", "/cg/cpu,cpuacct", "/"},
		}},
		{"v2", fakeV2(), false, []cgroupMount{{Host: "/cg", Source: "/docker/x"}}},
		{"v2 in a cgroup namespace", fakeV2(), true, []cgroupMount{{Host: "/cg", Source: "/"}}},
	} {
		if got := cgroupMountPlan(placeCgroup(tc.host, "/docker/x"), tc.ns); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v", tc.name, got)
		}
	}
}

func TestCheckResources(t *testing.T) {
	num := func(n int64) *int64 { return &n }
	memory := func(limit, swap int64) *specs.LinuxResources {
		return &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Swap: &swap}}
	}
	for _, tc := range []struct {
		name string
		r    *specs.LinuxResources
		err  string
	}{
		{"nothing", nil, ""},
		{"zeros are not asked for", &specs.LinuxResources{
			BlockIO: &specs.LinuxBlockIO{Weight: new(uint16(0))},
			CPU:     &specs.LinuxCPU{RealtimeRuntime: num(0)}, Network: &specs.LinuxNetwork{ClassID: new(uint32(0))},
		}, ""},
		{"pids", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: num(5)}}, "linux.resources.pids.limit needs the pids controller, which cgroup v1 does not have here (it has: cpu, cpuacct, memory, devices, name=systemd)"},
		{"hugetlb", &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB"}}}, "linux.resources.hugepageLimits needs the hugetlb controller"},
		{"unified", &specs.LinuxResources{Unified: map[string]string{"memory.high": "1"}}, "needs cgroup v2"},
		{"memory and swap", memory(64, 128), ""},
		{"equal: no swap", memory(64, 64), ""},
		{"swap unlimited", memory(64, -1), ""},
		{"all unlimited", memory(-1, -1), ""},
		{"swap below memory", memory(64, 32), "linux.resources.memory.swap 32: must not be below memory.limit 64"},
		{"swap with unlimited memory", memory(-1, 32), "must not be below"},
		{"swap alone", memory(0, 32), "needs memory.limit too"},
		{"negative", memory(-2, 0), "linux.resources.memory.limit -2: must be -1"},
		{"swappiness", &specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: new(uint64(101))}}, "swappiness 101: must be 0 to 100"},
	} {
		if err := checkResources(placeCgroup(fakeV1(), "/x"), tc.r); !errorHas(err, tc.err) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.err)
		}
	}
	for _, tc := range []struct {
		name string
		r    *specs.LinuxResources
		err  string
	}{
		{"weight", &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: new(uint16(9))}}, "blockIO.weight 9: must be 10 to 1000"},
		{"page size", &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB"}, {Pagesize: "../2MB"}}}, `pageSize "../2MB"`},
		{"page sizes", &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "64KB"}, {Pagesize: "1GB"}}}, ""},
		{"page size without number", &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "MB"}}}, `pageSize "MB"`},
		{"unified", &specs.LinuxResources{Unified: map[string]string{"memory.high": "1"}}, ""},
		{"unified outside", &specs.LinuxResources{Unified: map[string]string{"../memory.high": "1"}}, "must be the name of a file"},
		{"unified without parameter", &specs.LinuxResources{Unified: map[string]string{"memory": "1"}}, "must be the name of a file"},
	} {
		if err := checkResourceValues(tc.r, false); !errorHas(err, tc.err) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.err)
		}
	}
}

func TestResourceNeedsV2(t *testing.T) {
	r := &specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimeRuntime: new(int64(5)), Cpus: "0"}, BlockIO: &specs.LinuxBlockIO{Weight: new(uint16(100))}}
	got := fmt.Sprint(resourceNeeds(r))
	want := "[{linux.resources.cpu.realtimeRuntime cpu } {linux.resources.cpu.cpus cpuset cpuset} {linux.resources.blockIO.weight blkio io}]"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What is written where, and in which order.
func TestLimitFiles(t *testing.T) {
	num := func(n int64) *int64 { return &n }
	big := func(n uint64) *uint64 { return &n }
	weight := func(n uint16) *uint16 { return &n }
	memory := func(limit, swap int64) *specs.LinuxResources {
		return &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Swap: &swap}}
	}
	cpu := func(p specs.LinuxCPU) *specs.LinuxResources { return &specs.LinuxResources{CPU: &p} }
	for _, tc := range []struct {
		name   string
		r      *specs.LinuxResources
		v1, v2 string
	}{
		{"nothing", nil, "", ""},
		{
			"Docker's", dockerResources(),
			"memory.limit_in_bytes=67108864 memory.memsw.limit_in_bytes=134217728 memory.kmem.tcp.limit_in_bytes=1048576 pids.max=20 cpu.cfs_period_us=100000 cpu.cfs_quota_us=50000",
			"memory.swap.max=67108864 memory.max=67108864 pids.max=20 cpu.max=50000 100000",
		},
		{"no swap", memory(64, 64), "memory.limit_in_bytes=64 memory.memsw.limit_in_bytes=64", "memory.swap.max=0? memory.max=64"},
		{"swap without limit", memory(64, -1), "memory.limit_in_bytes=64 memory.memsw.limit_in_bytes=-1", "memory.swap.max=max? memory.max=64"},
		{"memory without limit", memory(-1, 0), "memory.limit_in_bytes=-1 memory.memsw.limit_in_bytes=-1?", "memory.swap.max=max? memory.max=max"},
		{"only memory", memory(64, 0), "memory.limit_in_bytes=64", "memory.max=64"},
		{
			"memory's others", &specs.LinuxResources{Memory: &specs.LinuxMemory{Reservation: num(32), Swappiness: big(0), DisableOOMKiller: new(true)}},
			"memory.soft_limit_in_bytes=32 memory.oom_control=1 memory.swappiness=0", "memory.low=32",
		},
		{"pids without limit", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: num(-1)}}, "pids.max=max", "pids.max=max"},
		{"no pids", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: num(0)}}, "pids.max=1", "pids.max=1"},
		{"shares", cpu(specs.LinuxCPU{Shares: big(1024)}), "cpu.shares=1024", "cpu.weight=100"},
		{"shares and idle", cpu(specs.LinuxCPU{Shares: big(512), Idle: num(1)}), "cpu.shares=512 cpu.idle=1", "cpu.weight=59 cpu.idle=1"},
		{"not idle", cpu(specs.LinuxCPU{Idle: num(0)}), "cpu.idle=0?", "cpu.idle=0?"},
		{"quota", cpu(specs.LinuxCPU{Quota: num(-1), Burst: big(0)}), "cpu.cfs_burst_us=0? cpu.cfs_quota_us=-1", "cpu.max.burst=0 cpu.max=max 100000"},
		{"period", cpu(specs.LinuxCPU{Period: big(5000)}), "cpu.cfs_period_us=5000", "cpu.max=max 5000"},
		{
			"real time, cpuset", cpu(specs.LinuxCPU{RealtimePeriod: big(9), RealtimeRuntime: num(8), Cpus: "0-1", Mems: "0"}),
			"cpuset.cpus=0-1 cpuset.mems=0 cpu.rt_period_us=9 cpu.rt_runtime_us=8", "cpuset.cpus=0-1 cpuset.mems=0",
		},
		{
			"weights", &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: weight(300), LeafWeight: weight(200), WeightDevice: []specs.LinuxWeightDevice{weightDevice(8, 16, 500)}}},
			"blkio.weight=300|blkio.bfq.weight=300 blkio.leaf_weight=200 blkio.weight_device=8:16 500|blkio.bfq.weight_device=8:16 500",
			"io.bfq.weight=300|io.weight=2930 io.bfq.weight=8:16 500|io.weight=8:16 4950",
		},
		{
			"throttles", &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: throttle(5), ThrottleWriteBpsDevice: throttle(6), ThrottleReadIOPSDevice: throttle(7), ThrottleWriteIOPSDevice: throttle(0)}},
			"blkio.throttle.read_bps_device=8:0 5 blkio.throttle.write_bps_device=8:0 6 blkio.throttle.read_iops_device=8:0 7 blkio.throttle.write_iops_device=8:0 0",
			"io.max=8:0 rbps=5 io.max=8:0 wbps=6 io.max=8:0 riops=7 io.max=8:0 wiops=max",
		},
		{
			"huge pages", &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 0}}},
			"hugetlb.2MB.limit_in_bytes=0 hugetlb.2MB.rsvd.limit_in_bytes=0?", "hugetlb.2MB.max=0 hugetlb.2MB.rsvd.max=0?",
		},
		{
			"rdma", &specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"mlx5_1": {HcaHandles: new(uint32(3)), HcaObjects: new(uint32(0))}}},
			"rdma.max=mlx5_1 hca_handle=3 hca_object=0", "rdma.max=mlx5_1 hca_handle=3 hca_object=0",
		},
		{
			"network", &specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: new(uint32(1 << 20)), Priorities: []specs.LinuxInterfacePriority{{Name: "lo", Priority: 3}}}},
			"net_cls.classid=1048576 net_prio.ifpriomap=lo 3", "",
		},
		{
			"unified has the last word", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: num(5)}, Unified: map[string]string{"pids.max": "6", "io.max": "8:0 rbps=1\n8:16 rbps=2\n"}},
			"", "pids.max=5 io.max=8:0 rbps=1 io.max=8:16 rbps=2 pids.max=6",
		},
	} {
		for _, side := range []struct {
			v2   bool
			want string
		}{{false, tc.v1}, {true, tc.v2}} {
			if tc.r != nil && tc.r.Unified != nil && !side.v2 {
				continue // refused before
			}
			var got []string
			for _, f := range limitFiles(tc.r, side.v2) {
				text := f.file + "=" + f.text
				if f.instead != nil {
					text += "|" + f.instead.file + "=" + f.instead.text
				}
				if f.without == isNoLoss {
					text += "?"
				}
				got = append(got, text)
			}
			if strings.Join(got, " ") != side.want {
				t.Errorf("%s, v2 %v:\n got %s\nwant %s", tc.name, side.v2, strings.Join(got, " "), side.want)
			}
		}
	}
	for shares, want := range map[uint64]uint64{2: 1, 3: 2, 10: 4, 512: 59, 1024: 100, 1025: 101, 262143: 10000, 262144: 10000, 1 << 40: 10000} {
		if got := weightOfShares(shares); got != want {
			t.Errorf("%d shares are weight %d, want %d", shares, got, want)
		}
	}
}

func weightDevice(major, minor int64, weight uint16) (d specs.LinuxWeightDevice) {
	d.Major, d.Minor, d.Weight = major, minor, &weight
	return d
}

func throttle(rate uint64) []specs.LinuxThrottleDevice {
	d := specs.LinuxThrottleDevice{Rate: rate}
	d.Major = 8
	return []specs.LinuxThrottleDevice{d}
}

func TestDeviceRules(t *testing.T) {
	const defaults = "+c *:* m,+b *:* m,+c 1:3 rwm,+c 1:8 rwm,+c 1:7 rwm,+c 5:0 rwm,+c 1:5 rwm,+c 1:9 rwm,+c 136:* rwm,+c 5:2 rwm,+c 10:200 rwm"
	num := func(n int64) *int64 { return &n }
	for _, tc := range []struct {
		name  string
		asked []specs.LinuxDeviceCgroup
		nodes []specs.LinuxDevice
		extra []deviceRule
		want  string
		err   string
	}{
		{name: "none", want: defaults},
		{
			name: "the spec's come first, ours last", want: "-a *:* rwm,+b 8:* r," + defaults + ",+c 10:232 rw",
			asked: []specs.LinuxDeviceCgroup{{Access: "rwm"}, {Allow: true, Type: "b", Major: num(8), Access: "r"}},
			extra: []deviceRule{{true, 'c', 10, 232, accessRead | accessWrite}},
		},
		{name: "privileged", want: "+a *:* rwm," + defaults, asked: []specs.LinuxDeviceCgroup{{Allow: true, Type: "a", Major: num(-1), Access: "mrw"}}},
		{
			name: "a replaced default is not a default", want: strings.Replace(defaults, "+c 1:9 rwm,", "", 1),
			nodes: []specs.LinuxDevice{{Path: "/dev/urandom", Type: "c", Major: 1, Minor: 8}},
		},
		{
			name: "all devices with a number are not all devices", want: "+c 10:* rwm,+b 10:* rwm," + defaults,
			asked: []specs.LinuxDeviceCgroup{{Allow: true, Major: num(10), Access: "rwm"}},
		},
		{
			name: "nor with less access", want: "+c *:* r,+b *:* r," + defaults,
			asked: []specs.LinuxDeviceCgroup{{Allow: true, Type: "a", Access: "r"}},
		},
		{name: "access", asked: []specs.LinuxDeviceCgroup{{}, {Access: "rx"}}, err: `devices[0]: access ""`},
		{name: "type", asked: []specs.LinuxDeviceCgroup{{Type: "u", Access: "r"}}, err: `devices[0]: type "u": must be`},
		{name: "major", asked: []specs.LinuxDeviceCgroup{{Type: "c", Access: "r", Major: num(-2)}}, err: "major -2: must be"},
		{name: "minor", asked: []specs.LinuxDeviceCgroup{{Type: "c", Access: "r", Minor: num(1 << 32)}}, err: "minor 4294967296: must be"},
	} {
		asked, err := readDeviceRules(tc.asked)
		var got []string
		if err == nil {
			for _, r := range deviceRules(asked, tc.nodes, tc.extra) {
				got = append(got, map[bool]string{true: "+", false: "-"}[r.allow]+r.String())
			}
		}
		if strings.Join(got, ",") != tc.want || !errorHas(err, tc.err) {
			t.Errorf("%s:\n got %v, %v\nwant %s, %q", tc.name, strings.Join(got, ","), err, tc.want, tc.err)
		}
	}
}

// From here on: the kernel. Every cgroup is a child that the test makes.

// needCgroups gives a place for the test's cgroups on this host.
func needCgroups(t *testing.T) string {
	t.Helper()
	needs(t, os.Geteuid() == 0, "root, to make cgroups")
	top := fmt.Sprintf("/runh-test-%d", os.Getpid())
	t.Cleanup(func() {
		dirs, _ := filepath.Glob(cgroupRoot + "/*" + top)
		for _, dir := range append(dirs, cgroupRoot+top) {
			_ = unix.Rmdir(dir) // the parent that create made and destroy leaves
		}
		if left, _ := filepath.Glob(cgroupRoot + "/*" + top); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return top
}

func dockerResources() *specs.LinuxResources {
	num := func(n int64) *int64 { return &n }
	period, shares, weight := uint64(100000), uint64(0), uint16(0)
	return &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: num(64 << 20), Swap: num(128 << 20), Reservation: num(0), KernelTCP: num(1 << 20)},
		CPU:    &specs.LinuxCPU{Quota: num(50000), Period: &period, Shares: &shares},
		Pids:   &specs.LinuxPids{Limit: num(20)}, BlockIO: &specs.LinuxBlockIO{Weight: &weight},
		Devices: []specs.LinuxDeviceCgroup{
			{Allow: false, Access: "rwm"},
			{Allow: true, Type: "c", Major: num(1), Minor: num(5), Access: "rwm"},
			{Allow: true, Type: "c", Major: num(5), Minor: num(1), Access: "rwm"},
			{Allow: false, Type: "c", Major: num(10), Minor: num(229), Access: "rwm"},
		},
	}
}

func cgroupSpec(dir string, r *specs.LinuxResources) *specs.Spec {
	return &specs.Spec{Linux: &specs.Linux{CgroupsPath: dir, Resources: r}}
}

func TestCgroupLifecycle(t *testing.T) {
	top := needCgroups(t)
	extra := []deviceRule{{true, 'c', 10, 232, accessRead | accessWrite}}
	c, err := newCgroup("id", cgroupSpec(top+"/id", dockerResources()), false, false, extra)
	if err != nil {
		t.Fatal(err)
	}
	var before, after unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_MEMLOCK, &before) // compared below
	if err := c.create(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.destroy() })
	if _ = unix.Getrlimit(unix.RLIMIT_MEMLOCK, &after); before != after {
		t.Errorf("create changed RLIMIT_MEMLOCK, which the container inherits: %v, was %v", after, before)
	}
	for _, f := range []cgroupFile{
		{"memory", "memory.limit_in_bytes", "67108864", "memory.max", "67108864"},
		{"cpu", "cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000"},
		{"cpu", "cpu.cfs_period_us", "100000", "cpu.max", "50000 100000"},
		{"cpu", "cpu.shares", "1024", "cpu.weight", "100"},
		{"pids", "pids.max", "20", "pids.max", "20"},
	} {
		f.check(t, c)
	}
	if !c.v2 {
		cgroupFile{controller: "memory", v1: "memory.memsw.limit_in_bytes", want1: "134217728"}.check(t, c)
		list, _ := cgroupRead(c.state().Paths["devices"] + "/devices.list")
		rules := strings.Split(strings.TrimSpace(list), "\n")
		for _, want := range []string{"c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 5:1 rwm", "c 136:* rwm", "c 10:232 rw"} {
			if !slices.Contains(rules, want) {
				t.Errorf("devices.list lacks %q: %q", want, rules)
			}
		}
		if len(rules) < 2 || rules[0] != "c 1:5 rwm" || rules[1] != "c 5:1 rwm" {
			t.Errorf("devices.list is not in the order of the rules: %q", rules)
		}
		if slices.Contains(rules, "a *:* rwm") || slices.Contains(rules, "c 10:229 rwm") {
			t.Errorf("devices.list allows too much: %q", rules)
		}
	}
	if err := again(c).update(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: new(int64(21))}}); err != nil {
		t.Error(err)
	}
	cgroupFile{"pids", "pids.max", "21", "pids.max", "21"}.check(t, c)
	if !c.v2 {
		cgroupFile{controller: "memory", v1: "memory.kmem.tcp.limit_in_bytes", want1: "1048576"}.check(t, c)
		if err := again(c).update(&specs.LinuxResources{Memory: &specs.LinuxMemory{KernelTCP: new(int64(2 << 20))}}); err != nil {
			t.Error(err)
		}
		cgroupFile{controller: "memory", v1: "memory.kmem.tcp.limit_in_bytes", want1: "2097152"}.check(t, c)
	}
	cgroupFile{"memory", "memory.limit_in_bytes", "67108864", "memory.max", "67108864"}.check(t, c)

	child := startInCgroup(t, c, "exec sleep 1000")
	own, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", child.Process.Pid))
	for _, p := range c.places {
		if !strings.Contains(string(own), ":"+strings.Join(p.names, ",")+":"+top+"/id\n") {
			t.Errorf("the child is not in %v: %s", p.names, own)
		}
	}
	again := again(c)
	if pids, err := again.pids(); err != nil || !slices.Equal(pids, []int{child.Process.Pid}) {
		t.Errorf("pids %v, %v; want %d", pids, err, child.Process.Pid)
	}
	_, err = newCgroup("id", cgroupSpec(top+"/id", nil), false, false, nil)
	if again := *c; !errorHas(err, "not empty: 1 process") || !errorHas(again.create(), "not empty: 1 process") {
		t.Errorf("a second container in a cgroup in use: %v", err)
	}
	cgroupPauseTest(t, again)
	// SIGKILL ends a frozen process, too.
	if err := again.freeze(); err != nil {
		t.Error(err)
	}
	if err := again.killAll(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := child.Wait(); !strings.Contains(fmt.Sprint(err), "killed") {
		t.Errorf("the child ended with %v", err)
	}
	stats, err := again.statsView()
	if err != nil || stats.Memory.Usage.Limit != 64<<20 {
		t.Errorf("stats: %+v, %v", stats, err)
	}
	if killed, err := again.oomKilled(); killed || err != nil {
		t.Errorf("oomKilled: %v, %v", killed, err)
	}
	for range 2 { // the second time finds nothing to do
		if err := again.destroy(); err != nil {
			t.Error(err)
		}
	}
	cgroupGoneTest(t, again)
	for _, p := range c.places {
		if _, err := os.Stat(filepath.Dir(p.dir)); err != nil {
			t.Errorf("the parent went too: %v", err)
		}
	}
}

// A cgroupFile is a limit as either version shows it.
type cgroupFile struct{ controller, v1, want1, v2, want2 string }

func (f cgroupFile) check(t *testing.T, c *cgroup) {
	t.Helper()
	name, want := c.state().Paths[f.controller]+"/"+f.v1, f.want1
	if c.v2 {
		name, want = c.places[0].dir+"/"+f.v2, f.want2
	}
	if got, err := cgroupRead(name); strings.TrimSpace(got) != want {
		t.Errorf("%s is %q (%v), want %q", name, got, err, want)
	}
}

// again is the cgroup as another command sees it.
func again(c *cgroup) *cgroup { return openCgroup(c.state()) }

func mustPlace(t *testing.T, dir string) *cgroup {
	t.Helper()
	c, err := newCgroup("id", cgroupSpec(dir, nil), false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// deniedDevice is a shell function that fails where /dev/kmsg, which no default
// rule allows, can be opened.
const deniedDevice = `denied() {
	[ ! -e /dev/kmsg ] || ! (: </dev/kmsg) 2>/dev/null || { echo "/dev/kmsg opens"; exit 1; }
	: </dev/null
}
`

// startInCgroup starts a shell that enters as init does (born in the v2 tree, "0"
// to every v1 tasks file, one thread), and waits until it is in.
func startInCgroup(t *testing.T, c *cgroup, script string) *exec.Cmd {
	t.Helper()
	files, err := c.joinFDs()
	if err != nil {
		t.Fatal(err)
	}
	join := ""
	cmd := exec.Command("/bin/sh", "-c")
	for i, f := range files {
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		join += fmt.Sprintf("echo 0 >/proc/self/fd/%d || exit\n", 3+i)
	}
	dir, err := c.dirFD()
	if err != nil {
		t.Fatal(err)
	}
	if dir != nil {
		defer dir.Close()
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	}
	cmd.Args = append(cmd.Args, deniedDevice+join+"denied\necho joined\n"+script)
	return startJoined(t, cmd)
}

func startJoined(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // mostly dead already
		_ = cmd.Wait()
	})
	line := make([]byte, len("joined\n"))
	if n, err := out.Read(line); string(line[:n]) != "joined\n" {
		t.Fatalf("the child did not join: %q, %v", line[:n], err)
	}
	return cmd
}

func cgroupPauseTest(t *testing.T, c *cgroup) {
	t.Helper()
	for _, want := range []bool{true, false} {
		do := c.thaw
		if want {
			do = c.freeze
		}
		if err := do(); err != nil {
			t.Errorf("freeze=%v: %v", want, err)
		}
		if got, err := c.frozen(); got != want || err != nil {
			t.Errorf("frozen: %v, %v; want %v", got, err, want)
		}
	}
}

// cgroupGoneTest: on a cgroup that is gone nothing is an error.
func cgroupGoneTest(t *testing.T, c *cgroup) {
	t.Helper()
	pids, err1 := c.pids()
	frozen, err2 := c.frozen()
	err := errors.Join(err1, err2, c.thaw(), c.killAll(unix.SIGKILL), c.killAll(unix.SIGTERM), c.destroy())
	if err != nil || frozen || len(pids) > 0 {
		t.Errorf("a cgroup that is gone: pids %v, frozen %v, %v", pids, frozen, err)
	}
}

// A cgroup without a path lies below runh's own, in every tree.
func TestCgroupRelative(t *testing.T) {
	needCgroups(t)
	id := fmt.Sprintf("runh-test-%d-relative", os.Getpid())
	c, err := newCgroup(id, &specs.Spec{}, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.create(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.destroy() })
	self, _ := os.ReadFile("/proc/self/cgroup")
	for _, p := range c.places {
		rest := strings.TrimPrefix(filepath.Dir(p.dir), p.mount)
		if !c.v2 && !strings.Contains(string(self), ":"+strings.Join(p.names, ",")+":/"+strings.TrimPrefix(rest, "/")+"\n") {
			t.Errorf("%s is not below our own cgroup: %s", p.dir, self)
		}
	}
	if err := c.destroy(); err != nil {
		t.Error(err)
	}
}

// A create that fails removes what it made, parents too, and nothing else.
func TestCgroupRollback(t *testing.T) {
	top := needCgroups(t)
	var c *cgroup
	for _, tc := range []struct {
		name string
		r    *specs.LinuxResources
		err  string
	}{
		{"cpus", &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "4000"}}, "linux.resources.cpu.cpus"},
		{"quota", &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: new(int64(1))}}, "linux.resources.cpu.quota: "},
	} {
		var err error
		if c, err = newCgroup("id", cgroupSpec(top+"/a/b", tc.r), false, false, nil); err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if err := c.create(); !errorHas(err, tc.err) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.err)
			_ = c.destroy()
		}
		if left, _ := filepath.Glob(cgroupRoot + "/*" + top); len(left) > 0 {
			t.Errorf("%s: left behind: %v", tc.name, left)
		}
	}
}

// Processes that fork while they are being killed do not get away.
func TestCgroupKillForks(t *testing.T) {
	top := needCgroups(t)
	c := mustPlace(t, top+"/forks")
	// Without cgroup.kill the loop must do it; v2 hosts have no other.
	c.places = slices.DeleteFunc(c.places, func(p cgroupPlace) bool { return p.isV2() && !c.v2 })
	if err := c.create(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.destroy() })
	// Each link of the chain starts the next and ends.
	startInCgroup(t, c, `chain() { (chain) & exit; }; sleep 1000 & (chain) & (chain) & exec sleep 1000`)
	if err := again(c).killAll(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if pids, err := c.pids(); err != nil || len(pids) > 0 {
		t.Errorf("left: %v, %v", pids, err)
	}
	if err := c.destroy(); err != nil {
		t.Error(err)
	}
}

func TestCgroupOOM(t *testing.T) {
	top := needCgroups(t)
	limit := int64(8 << 20)
	c, err := newCgroup("id", cgroupSpec(top+"/oom", &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Swap: &limit}}), false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.create(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.destroy() })
	child := startInCgroup(t, c, "exec dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null")
	if err := child.Wait(); !strings.Contains(fmt.Sprint(err), "killed") {
		t.Errorf("the child ended with %v", err)
	}
	if killed, err := again(c).oomKilled(); !killed || err != nil {
		t.Errorf("oomKilled: %v, %v", killed, err)
	}
	if err := c.destroy(); err != nil {
		t.Error(err)
	}
}

// v2Host is the host's cgroup v2, be it only the one beside the v1 trees.
func v2Host(t *testing.T) *cgroupHost {
	t.Helper()
	for _, dir := range []string{cgroupRoot, cgroupRoot + "/unified"} {
		if cgroupFSType(dir) == unix.CGROUP2_SUPER_MAGIC {
			return &cgroupHost{v2: true, trees: []cgroupTree{{nil, dir, dir}}}
		}
	}
	needs(t, false, "a cgroup2 mount")
	return nil
}

// On a hybrid host this covers all of v2 but the controllers: the v1 trees
// have them.
func TestCgroupV2BesideV1(t *testing.T) {
	top := needCgroups(t)
	c := placeCgroup(v2Host(t), top+"/id")
	limits, err := newCgroupLimits(c, cgroupSpec("", nil), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.limits = limits
	if err := c.create(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.destroy() })
	child := startInCgroup(t, c, "sleep 1000 & exec sleep 1000")
	again := again(c)
	if files, err := again.joinFDs(); len(files) != 0 || err != nil {
		t.Errorf("joinFDs on v2: %v, %v", files, err)
	}
	cgroupPauseTest(t, again)

	// A cgroup that the container made inside its own, with a process in it.
	inner := again.places[0].dir + "/inner"
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	nested := startInCgroup(t, &cgroup{v2: true, places: []cgroupPlace{{dir: inner}}}, "exec sleep 1000")
	if pids, err := again.pids(); err != nil || len(pids) != 3 || !slices.Contains(pids, nested.Process.Pid) {
		t.Errorf("pids %v, %v; want 3 with %d", pids, err, nested.Process.Pid)
	}

	if err := again.killAll(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	for _, cmd := range []*exec.Cmd{child, nested} {
		if err := cmd.Wait(); !strings.Contains(fmt.Sprint(err), "killed") {
			t.Errorf("the child ended with %v", err)
		}
	}
	if err := again.destroy(); err != nil {
		t.Error(err)
	}
	cgroupGoneTest(t, again)
}
