// events: statistics and lack of memory, in the JSON that go-runc and others decode.

package main

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// rtEvent is an event as its readers know it.
type rtEvent struct {
	Type, ID string
	Data     *struct {
		CPU struct {
			Usage      struct{ Total, Kernel, User uint64 }
			Throttling struct{ Periods, ThrottledPeriods, ThrottledTime uint64 }
		}
		Memory struct {
			Cache                          uint64
			Usage, Swap, Kernel, KernelTCP struct{ Limit, Usage, Max, Failcnt uint64 }
			Raw                            map[string]uint64
		}
		Pids  struct{ Current, Limit uint64 }
		Blkio struct {
			IoServiceBytesRecursive, IoServicedRecursive []struct {
				Major, Minor, Value uint64
				Op                  string
			}
		}
		Hugetlb map[string]struct{ Usage, Max, Failcnt uint64 }
	}
}

func (r *rt) readEvent(line string) (e rtEvent) {
	r.Helper()
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		r.Fatalf("%q: %v", line, err)
	}
	return e
}

func (c *ctr) stats() rtEvent {
	c.r.Helper()
	out := c.r.do("events", "--stats", c.id).ok().out
	if strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, `{"type":"stats","id":"`+c.id+`","data":{"`) {
		c.r.Fatalf("events --stats: %q, want one line", out)
	}
	e := c.r.readEvent(out)
	if e.Data == nil {
		c.r.Fatalf("events --stats: %q lacks data", out)
	}
	return e
}

func TestEventsStats(t *testing.T) {
	needsLimits(t)
	r := newRT(t)
	c := r.sh("sleep 1000 & echo ready; read line; i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; echo burnt; sleep 1000", func(s *specs.Spec) {
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: new(int64(64 << 20))}
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: new(int64(20))}
	}).create()
	if e := c.stats(); e.Data.Pids.Current != 1 && r.isRunh() { // runc's has threads
		t.Errorf("a created container's processes: %+v, want 1", e.Data.Pids)
	}
	c.start()
	c.out.until("ready")
	before := c.stats().Data
	if before.Pids.Current != 2 || before.Pids.Limit != 20 {
		t.Errorf("pids: %+v, want 2 of 20", before.Pids)
	}
	m := before.Memory
	if m.Usage.Limit != 64<<20 || m.Usage.Usage < 64<<10 || m.Usage.Usage > m.Usage.Limit || m.Swap.Limit < m.Usage.Limit || len(m.Raw) < 10 {
		t.Errorf("memory: %+v", m)
	}
	c.stdin.WriteString("go\n")
	c.out.until("burnt")
	after := c.stats().Data
	if used := after.CPU.Usage.Total - before.CPU.Usage.Total; int64(used) < int64(time.Millisecond) || used > uint64(time.Minute) {
		t.Errorf("a loop of 30000 rounds used %v of CPU", time.Duration(used))
	}
	if after.CPU.Usage.User+after.CPU.Usage.Kernel == 0 {
		t.Errorf("cpu: %+v", after.CPU)
	}

	// Whoever decodes them into unsigned integers must not fail: but for the shares of PSI, and runc's -1 of cpuset.
	var all map[string]any
	dec := json.NewDecoder(strings.NewReader(r.do("events", "--stats", c.id).ok().out))
	dec.UseNumber()
	r.must(dec.Decode(&all))
	numbers := 0
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, m := range v {
				walk(path+"."+k, m)
			}
		case []any:
			for _, m := range v {
				walk(path, m)
			}
		case json.Number:
			numbers++
			exempt := strings.Contains(path, ".psi.") && strings.Contains(path, ".avg") || !r.isRunh() && strings.HasSuffix(path, ".sched_relax_domain_level")
			if strings.Trim(v.String(), "0123456789") != "" && !exempt {
				t.Errorf("%s is %s, want an unsigned integer", path, v)
			}
		}
	}
	walk("", all)
	if numbers < 30 {
		t.Errorf("only %d numbers", numbers)
	}
	data := all["data"].(map[string]any)
	for _, member := range []string{"cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"} {
		if _, ok := data[member]; !ok {
			t.Errorf("data lacks %s", member)
		}
		delete(data, member)
	}
	if len(data) != 0 {
		t.Errorf("data has members that runc's has not: %v", data)
	}

	r.do("pause", c.id).ok()
	if e := c.stats(); e.Data.Pids.Current != 2 {
		t.Errorf("a paused container's processes: %+v, want 2", e.Data.Pids)
	}
	r.do("kill", c.id, "9").ok()
	c.wait()
	r.do("events", "--stats", c.id).fails("not running")
	r.do("events", c.id).fails("not running")
	r.do("events", "--stats", "nosuch-"+r.token).fails("does not exist")
	for _, bad := range []string{"0", "0s", "-1s", "soon"} {
		if res := r.do("events", "--interval", bad, c.id); res.code == 0 || res.err == "" {
			t.Errorf("--interval %s: exit code %d, stderr %q", bad, res.code, res.err)
		}
	}
}

// watched is an `events` that runs beside the test.
type watched struct {
	*exec.Cmd
	out, err *sink
}

func (c *ctr) watch(interval string) *watched {
	r := c.r
	r.Helper()
	w := &watched{r.cmd("events", "--interval="+interval, c.id), newSink(r.T), newSink(r.T)}
	w.Stdout, w.Stderr = w.out.w, w.err.w
	r.must(w.Start())
	w.out.w.Close()
	w.err.w.Close()
	r.Cleanup(func() { w.Process.Kill() })
	return w
}

// ends demands that it ends by itself, successfully and without a word; it returns its lines.
func (w *watched) ends(r *rt) []rtEvent {
	r.Helper()
	out, err := w.out.all(rtLimit), w.err.all(rtLimit)
	if e := w.Wait(); e != nil || err != "" {
		r.Errorf("events: %v, stderr %q", e, err)
	}
	var all []rtEvent
	for line := range strings.Lines(out) {
		all = append(all, r.readEvent(line))
	}
	return all
}

func TestEventsStream(t *testing.T) {
	r := newRT(t)
	c := r.bundle([]string{"sleep", "1000"}).create().start()
	w := c.watch("30ms")
	began := time.Now()
	r.eventually("four lines", func() bool { return strings.Count(w.out.String(), "\n") >= 4 })
	if took := time.Since(began); took < 90*time.Millisecond {
		t.Errorf("four lines after %v, at an interval of 30ms", took)
	}
	r.do("pause", c.id).ok() // nobody waits for a lock
	n := strings.Count(w.out.String(), "\n")
	r.eventually("lines while paused", func() bool { return strings.Count(w.out.String(), "\n") > n })
	r.do("resume", c.id).ok()
	if r.isRunh() {
		r.do("kill", c.id, "9").ok()
		c.wait()
	} else {
		r.do("delete", "--force", c.id).ok() // runc 1.1 waits for the cgroup's end
		c.wait()
	}
	for i, e := range w.ends(r) {
		if e.Type != "stats" || e.ID != c.id || e.Data == nil || i == 0 && e.Data.CPU.Usage.Total == 0 {
			t.Errorf("event %+v", e)
		}
	}
}

func TestEventsOOM(t *testing.T) {
	needsLimits(t)
	limit := func(s *specs.Spec) {
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: new(int64(16 << 20)), Swap: new(int64(16 << 20))}
	}
	hog := "dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null"
	t.Run("a child", func(t *testing.T) {
		r := newRT(t)
		c := r.sh("while read line; do "+hog+"; echo $?; done", limit).create().start()
		w := c.watch("50ms")
		w.out.until("\n") // it listens
		want := `{"type":"oom","id":"` + c.id + `"}` + "\n"
		for _, n := range []int{1, 2} {
			c.stdin.WriteString("go\n")
			r.eventually("the shell's child is killed", func() bool { return strings.Count(c.out.String(), "137\n") == n })
			r.eventually("its event", func() bool { return strings.Count(w.out.String(), want) >= n })
		}
		c.stdin.Close()
		c.wait()
		if !r.isRunh() {
			r.do("delete", c.id).ok()
		}
		all := w.ends(r)
		if n := len(slices.DeleteFunc(all, func(e rtEvent) bool { return e.Type != "oom" })); n != 2 {
			t.Errorf("%d oom events for two kills", n)
		}
	})
	t.Run("init", func(t *testing.T) {
		r := newRT(t)
		c := r.sh("read line; exec "+hog, limit).create().start()
		w := c.watch("50ms")
		w.out.until("\n")
		c.stdin.WriteString("go\n")
		if code := c.wait(); code != 137 {
			t.Errorf("exit code %d, want 137", code)
		}
		if !r.isRunh() {
			r.do("delete", c.id).ok()
		}
		all := w.ends(r)
		// systemd removes the cgroup with its last process, often before its events can be read.
		if !rtSystemd() && !slices.ContainsFunc(all, func(e rtEvent) bool { return e.Type == "oom" && e.Data == nil }) {
			t.Errorf("what init died of is not told: %+v", all)
		}
	})
	t.Run("no lack", func(t *testing.T) {
		r := newRT(t)
		c := r.sh("read line", limit).create().start()
		w := c.watch("20ms")
		w.out.until("\n")
		// The cgroup's end is no lack of memory, also if it comes together with that of init.
		r.must(w.Process.Signal(syscall.SIGSTOP))
		c.stdin.Close()
		c.wait()
		r.do("delete", c.id).ok()
		time.Sleep(200 * time.Millisecond) // it is told from a work queue
		r.must(w.Process.Signal(syscall.SIGCONT))
		for _, e := range w.ends(r) {
			if e.Type != "stats" {
				t.Errorf("event %+v", e)
			}
		}
	})
}
