// Every control file that runh writes, compared with what runc's own code writes for the same limits (testdata/cgroups, a module of
// its own), for some hundred random linux.resources: on v1 here, on v2 in one of TestVM's machines.

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// oracleProgram needs cgo, as runc does, and no library where it runs.
func oracleProgram() (string, error) {
	if dir := os.Getenv("RUNH_TEST_BUILT"); dir != "" {
		return dir + "/cgroups", nil
	}
	bin := filepath.Join(rtTemp, "cgroups")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-tags", "osusergo,netgo", "-ldflags", "-s -w -linkmode external -extldflags -static", "-o", bin, ".")
	cmd.Env, cmd.Dir = append(os.Environ(), "CGO_ENABLED=1"), "testdata/cgroups"
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("testdata/cgroups: %w: %s", err, out)
	}
	return bin, nil
}

// An oracle is the program, at work.
type oracle struct {
	*testing.T
	in  io.Writer
	out *json.Decoder
}

func newOracle(t *testing.T) oracle {
	t.Helper()
	bin, err := oracleProgram()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin)
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := cmpErr(cmpErr(err1, err2), cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return oracle{t, in, json.NewDecoder(out)}
}

// set has it set limits, and returns its error; without limits it puts the statistics into stats.
func (o oracle) set(c *cgroup, r *specs.LinuxResources, stats any) string {
	o.Helper()
	paths := c.state().Paths
	if !c.v2 {
		delete(paths, "") // of a hybrid host
	}
	line, err := json.Marshal(map[string]any{"paths": paths, "resources": r})
	if err != nil {
		o.Fatal(err)
	}
	if _, err := o.in.Write(append(line, '\n')); err != nil {
		o.Fatal(err)
	}
	answer := struct {
		Error string
		Stats any
	}{"", stats}
	if err := o.out.Decode(&answer); err != nil {
		o.Fatal(err)
	}
	return answer.Error
}

// TestCgroupStats: the numbers of events are the library's, for a process that does nothing while they are read.
func TestCgroupStats(t *testing.T) {
	top := needCgroups(t)
	o := newOracle(t)
	c, err := newCgroup("id", cgroupSpec(top+"/stats", dockerResources()), false, false, nil)
	if err == nil {
		err = c.create()
	}
	if err != nil {
		t.Fatal(err)
	}
	child := startInCgroup(t, c, "dd if=/dev/zero of=/dev/null bs=1M count=50 2>/dev/null; exec sleep 1000")
	for range 1000 { // until it sleeps
		if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child.Process.Pid)); string(comm) == "sleep\n" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := c.freeze(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.thaw()
		_ = c.killAll(unix.SIGKILL)
		_ = child.Wait()
		_ = c.destroy()
	})
	var why []string
	// The kernel's own work is charged to the cgroup now and then, so not the first readings must be alike.
	for range 20 {
		v, err := c.statsView()
		if err != nil {
			t.Fatal(err)
		}
		var ours, theirs map[string]any
		if err := json.Unmarshal([]byte(encodeJSON(v, "")), &ours); err != nil {
			t.Fatal(err)
		}
		if text := o.set(c, nil, &theirs); text != "" {
			t.Fatal(text)
		}
		if why = statsDiffer(ours, theirs); why == nil {
			return
		}
	}
	t.Errorf("ours and theirs:\n%s", strings.Join(why, "\n"))
}

// statsDiffer compares runc's event with the library's statistics, by their names.
func statsDiffer(ours, theirs map[string]any) []string {
	var differ []string
	same := func(our, their string) {
		a, b := statsAt(ours, our), statsAt(theirs, their)
		if a != b {
			differ = append(differ, fmt.Sprintf("%s: %s, %s", our, a, b))
		}
	}
	for _, part := range []string{"usage", "swap", "kernel", "kernelTCP"} {
		their := map[string]string{"usage": "usage", "swap": "swap_usage", "kernel": "kernel_usage", "kernelTCP": "kernel_tcp_usage"}[part]
		same("memory."+part+".usage", "memory_stats."+their+".usage")
		same("memory."+part+".max", "memory_stats."+their+".max_usage")
		same("memory."+part+".failcnt", "memory_stats."+their+".failcnt")
		same("memory."+part+".limit", "memory_stats."+their+".limit")
	}
	for _, name := range []string{"cpus", "cpu_exclusive", "mems", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page", "memory_spread_slab", "memory_pressure", "sched_load_balance"} {
		same("cpuset."+name, "cpuset_stats."+name)
	}
	for our, their := range map[string]string{
		"cpu.usage.total": "cpu_stats.cpu_usage.total_usage", "cpu.usage.kernel": "cpu_stats.cpu_usage.usage_in_kernelmode", "cpu.usage.user": "cpu_stats.cpu_usage.usage_in_usermode",
		"cpu.usage.percpu": "cpu_stats.cpu_usage.percpu_usage", "cpu.usage.percpu_kernel": "cpu_stats.cpu_usage.percpu_usage_in_kernelmode",
		"cpu.usage.percpu_user": "cpu_stats.cpu_usage.percpu_usage_in_usermode", "cpu.throttling.periods": "cpu_stats.throttling_data.periods",
		"cpu.throttling.throttledPeriods": "cpu_stats.throttling_data.throttled_periods", "cpu.throttling.throttledTime": "cpu_stats.throttling_data.throttled_time",
		"memory.cache": "memory_stats.cache", "memory.raw": "memory_stats.stats", "pids": "pids_stats", "hugetlb": "hugetlb_stats",
		"blkio.ioServiceBytesRecursive": "blkio_stats.io_service_bytes_recursive", "blkio.ioServicedRecursive": "blkio_stats.io_serviced_recursive",
		"cpu.psi.some.total": "cpu_stats.psi.some.total", "memory.psi.full.total": "memory_stats.psi.full.total",
	} {
		same(our, their)
	}
	return differ
}

// statsAt is a value as text; an absent one and 0 are alike.
func statsAt(m map[string]any, path string) string {
	var at any = m
	for name := range strings.SplitSeq(path, ".") {
		inner, _ := at.(map[string]any)
		at = inner[name]
	}
	switch text := fmt.Sprint(at); text {
	case "<nil>", "0", "[]", "map[]":
		return ""
	default:
		return strings.ReplaceAll(text, "max_usage:", "max:")
	}
}

func TestCgroupOracle(t *testing.T) {
	top := needCgroups(t)
	o := newOracle(t)
	seed := uint64(os.Getpid())
	random := rand.New(rand.NewPCG(seed, 0))
	n := 0
	fresh := func(name string) *cgroup {
		n++
		c, err := newCgroup("id", cgroupSpec(fmt.Sprintf("%s/%s%d", top, name, n), nil), false, false, nil)
		if err == nil {
			err = c.create()
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	device := oracleDevice(t)
	var ours, theirs *cgroup
	end := func() {
		if ours != nil {
			if err := cmpErr(ours.destroy(), theirs.destroy()); err != nil {
				t.Error(err)
			}
		}
		ours = nil
	}
	defer end()
	equal, refused := 0, 0
	for i := range 400 {
		if ours == nil {
			ours, theirs = fresh("ours"), fresh("theirs")
		}
		r := randomResources(random, ours, device)
		text, _ := json.Marshal(r)
		want := o.set(theirs, r, nil)
		err := ours.update(r)
		switch {
		case (err == nil) != (want == "") && !oracleDiffers(r, ours.v2, fmt.Sprint(err), want):
			t.Errorf("seed %d, %d: %s\nours: %v\ntheirs: %q", seed, i, text, err, want)
		case err != nil || want != "":
			refused++
			end()
		default:
			equal++
			if a, b := controlFiles(t, ours), controlFiles(t, theirs); a != b {
				t.Errorf("seed %d, %d: %s\nours:\n%s\ntheirs:\n%s", seed, i, text, a, b)
				end()
			} else if random.IntN(4) == 0 {
				end() // the others are updated
			}
		}
	}
	t.Logf("%d equal, %d refused by both", equal, refused)
	if equal < 200 {
		t.Errorf("of 400 resources only %d were set", equal)
	}
}

// oracleDiffers: where runh does more or says more than runc, on purpose.
func oracleDiffers(r *specs.LinuxResources, v2 bool, ours, theirs string) bool {
	p := orZero(r.CPU)
	switch {
	case v2 && ours == "<nil>" && limitSet(p.Shares) && p.Idle != nil: // runc writes them in the wrong order
		return true
	case strings.Contains(ours, "must not be below memory.limit"), strings.Contains(ours, "needs memory.limit too"): // the kernel's EINVAL, or what was there before
		return true
	case !v2 && ours == "<nil>" && strings.Contains(theirs, "memory.limit_in_bytes"): // raised above an older limit with swap
		return limitSet(orZero(r.Memory).Limit)
	}
	return false
}

func oracleDevice(t *testing.T) specs.LinuxThrottleDevice {
	t.Helper()
	number, _, _ := blockDevice(t)
	var d specs.LinuxThrottleDevice
	if err := json.Unmarshal([]byte("{"+number+"}"), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// controlFiles is the text of all files that can be written and that no process or clock changes.
func controlFiles(t *testing.T, c *cgroup) string {
	t.Helper()
	var all []string
	for _, p := range c.places {
		entries, err := os.ReadDir(p.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil || !info.Mode().IsRegular() || info.Mode()&0o200 == 0 || info.Mode()&0o444 == 0 {
				continue
			}
			switch name := e.Name(); {
			case strings.HasPrefix(name, "cgroup."), name == "tasks", strings.HasSuffix(name, ".pressure"), strings.HasSuffix(name, "failcnt"), strings.Contains(name, "max_usage"),
				strings.HasSuffix(name, ".peak"), strings.HasPrefix(name, "cpuacct."), strings.HasSuffix(name, "reset_stats"):
			default:
				text, err := os.ReadFile(filepath.Join(p.dir, name))
				if err != nil && !strings.Contains(err.Error(), "not supported") {
					t.Fatal(err)
				}
				all = append(all, filepath.Base(filepath.Dir(filepath.Dir(p.dir)))+" "+name+": "+strings.TrimSpace(string(text)))
			}
		}
	}
	return strings.Join(all, "\n")
}

// randomResources are such as c can have, and a few that it cannot.
func randomResources(random *rand.Rand, c *cgroup, device specs.LinuxThrottleDevice) *specs.LinuxResources {
	some := func(of int) bool { return random.IntN(of) == 0 }
	int64s := func(values ...int64) *int64 { return new(values[random.IntN(len(values))]) }
	uint64s := func(values ...uint64) *uint64 { return new(values[random.IntN(len(values))]) }
	uint16s := func(values ...uint16) *uint16 { return new(values[random.IntN(len(values))]) }
	has := func(controller, file string) bool {
		p, ok := c.place(controller)
		_, err := os.Stat(p.dir + "/" + file)
		return ok && err == nil
	}
	r := &specs.LinuxResources{}
	if some(2) && (has("memory", "memory.limit_in_bytes") || has("memory", "memory.max")) {
		m := &specs.LinuxMemory{}
		if some(2) {
			m.Limit = int64s(-1, 0, 16<<20, 32<<20, 64<<20)
		}
		if limitSet(m.Limit) && some(2) && (has("memory", "memory.memsw.limit_in_bytes") || has("memory", "memory.swap.max")) {
			m.Swap = int64s(-1, 0, 16<<20, 64<<20, 128<<20)
		}
		if some(3) {
			m.Reservation = int64s(-1, 0, 8<<20)
		}
		if some(4) && !c.v2 {
			m.Swappiness = uint64s(0, 60, 100)
		}
		if some(8) && !c.v2 {
			m.DisableOOMKiller = new(true)
		}
		r.Memory = m
	}
	if some(2) && (has("cpu", "cpu.shares") || has("cpu", "cpu.weight")) {
		p := &specs.LinuxCPU{}
		if some(2) {
			p.Shares = uint64s(0, 2, 3, 10, 100, 512, 1024, 1025, 4096, 262144, random.Uint64N(262143)+2)
		}
		if some(2) {
			p.Quota = int64s(-1, 0, 1, 1000, 50_000, 200_000)
		}
		if some(2) {
			p.Period = uint64s(0, 1, 1000, 50_000, 100_000, 1_000_000)
		}
		if some(4) && (has("cpu", "cpu.max.burst") || has("cpu", "cpu.cfs_burst_us")) {
			p.Burst = uint64s(0, 1000, 20_000)
		}
		if some(8) && has("cpu", "cpu.idle") {
			p.Idle = int64s(0, 1, 2)
		}
		r.CPU = p
	}
	if some(4) && has("cpuset", "cpuset.cpus") {
		p := orNew(&r.CPU)
		p.Cpus = []string{"", "0", "0-1", "1", "900"}[random.IntN(5)]
		p.Mems = []string{"", "0", "9"}[random.IntN(3)]
	}
	if some(3) && has("pids", "pids.max") {
		r.Pids = &specs.LinuxPids{Limit: int64s(-1, 0, 1, 20, 1000)}
	}
	if some(3) && (has("blkio", "blkio.throttle.read_bps_device") || has("io", "io.max")) {
		b := &specs.LinuxBlockIO{}
		if some(2) && (has("blkio", "blkio.weight") || has("blkio", "blkio.bfq.weight") || has("io", "io.weight") || has("io", "io.bfq.weight")) {
			b.Weight = uint16s(0, 10, 100, 333, 1000)
		}
		for _, to := range []*[]specs.LinuxThrottleDevice{&b.ThrottleReadBpsDevice, &b.ThrottleWriteBpsDevice, &b.ThrottleReadIOPSDevice, &b.ThrottleWriteIOPSDevice} {
			if some(3) {
				d := device
				d.Rate = random.Uint64N(1<<30) + 1<<12
				*to = append(*to, d)
			}
		}
		r.BlockIO = b
	}
	if size := hugePageSizes(); some(4) && len(size) > 0 && (has("hugetlb", "hugetlb."+size[0]+".limit_in_bytes") || has("hugetlb", "hugetlb."+size[0]+".max")) {
		r.HugepageLimits = []specs.LinuxHugepageLimit{{Pagesize: size[0], Limit: *uint64s(0, 4<<20, 1<<30, 4097)}}
	}
	if some(6) && has("net_cls", "net_cls.classid") {
		r.Network = &specs.LinuxNetwork{ClassID: new(uint32(random.Uint32()))}
	}
	if some(6) && has("net_prio", "net_prio.ifpriomap") {
		orNew(&r.Network).Priorities = []specs.LinuxInterfacePriority{{Name: "lo", Priority: uint32(random.IntN(9))}}
	}
	if some(3) && c.v2 {
		r.Unified = map[string]string{}
		for file, values := range map[string][]string{
			"memory.high": {"max", "33554432"}, "pids.max": {"max", "77"}, "cpu.weight": {"1", "777"}, "cpu.max": {"max 50000", "20000 50000"}, "memory.min": {"0", "4096"}, "cgroup.max.depth": {"3", "max"},
		} {
			if some(4) && (file == "cgroup.max.depth" || has("", file)) {
				r.Unified[file] = values[random.IntN(len(values))]
			}
		}
	}
	return r
}
