// How the container's process is scheduled, asked of the kernel from outside: what sched_getattr, ioprio_get and /proc say of
// its pid.

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ownUsers gives the container a user namespace: its root is the host's user 100000, to whom the rootfs now belongs.
func (c *ctr) ownUsers() *ctr {
	r := c.r
	r.Helper()
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	c.spec.Linux.Namespaces = append(c.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	c.spec.Linux.UIDMappings, c.spec.Linux.GIDMappings = ids, ids
	c.spec.Linux.Sysctl = nil
	c.write()
	r.must(os.Chmod(r.dir, 0o755))
	for _, d := range []string{".", "etc", "tmp", "root", "home", "mnt", "dev"} {
		r.must(os.Chown(c.rootfs()+"/"+d, 100000, 100000))
	}
	return c
}

// scheduling is the kernel's answer for one process.
func scheduling(r *rt, pid int) string {
	r.Helper()
	a, err := unix.SchedGetAttr(pid, 0)
	r.must(err)
	prio, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, 1, uintptr(pid), 0)
	if errno != 0 {
		r.Fatal("ioprio_get:", errno)
	}
	return fmt.Sprintf("policy %d flags %#x nice %d priority %d io %d:%d", a.Policy, a.Flags, a.Nice, a.Priority,
		prio>>13, prio&7)
}

func TestScheduler(t *testing.T) {
	for _, x := range []struct {
		name, want string
		s          *specs.Scheduler
		io         *specs.LinuxIOPriority
		users      bool
	}{
		{name: "not asked for", want: "policy 0 flags 0x0 nice 0 priority 0 io 0:0"},
		{
			name: "batch", want: "policy 3 flags 0x0 nice 5 priority 0 io 0:0",
			s: &specs.Scheduler{Policy: specs.SchedBatch, Nice: 5},
		},
		{
			name: "idle", want: "policy 5 flags 0x0 nice 0 priority 0 io 3:4",
			s: &specs.Scheduler{Policy: specs.SchedIdle}, io: &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_IDLE, Priority: 4},
		},
		{
			name: "negative nice", want: "policy 0 flags 0x1 nice -7 priority 0 io 2:6",
			s:  &specs.Scheduler{Policy: specs.SchedOther, Nice: -7, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}},
			io: &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 6},
		},
		{
			// A user namespace has no privilege to give for this: it must have happened before.
			name: "negative nice in a user namespace", want: "policy 0 flags 0x0 nice -7 priority 0 io 1:2", users: true,
			s: &specs.Scheduler{Policy: specs.SchedOther, Nice: -7}, io: &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_RT, Priority: 2},
		},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRT(t)
			if x.s != nil {
				r.onlyRunh("runc 1.1 has no scheduler")
			}
			c := r.bundle([]string{"sleep", "1000"}, func(s *specs.Spec) { s.Process.Scheduler, s.Process.IOPriority = x.s, x.io })
			if x.users {
				c.ownUsers()
			}
			c.create()
			if got := scheduling(r, c.pid); got != x.want {
				t.Errorf("created: %s, want %s", got, x.want)
			}
			c.start()
			if got := scheduling(r, c.pid); got != x.want {
				t.Errorf("running: %s, want %s", got, x.want)
			}
			// An exec by flags is scheduled as the container's process is.
			pid := c.execDetached("sleep", "1000")
			if got := scheduling(r, pid); got != x.want {
				t.Errorf("exec: %s, want %s", got, x.want)
			}
			unix.Kill(pid, unix.SIGKILL)
			rtReap(pid, rtLimit)
		})
	}
	t.Run("real time", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("runc 1.1 has no scheduler")
		res := r.bundle([]string{"true"}, func(s *specs.Spec) {
			s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedRR, Priority: 3}
		}).tryCreate()
		// With group scheduling of real-time tasks a new cgroup has no time for them: the kernel's word reaches the user.
		if res.code != 0 {
			res.fails("set the scheduler to SCHED_RR, nice 0, priority 3: operation not permitted")
		}
	})
	t.Run("deadline on some CPUs", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("runc 1.1 has no scheduler")
		res := r.bundle([]string{"true"}, func(s *specs.Spec) {
			s.Linux.Resources.CPU = &specs.LinuxCPU{Cpus: "0"}
			s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 42000, Deadline: 1000000, Period: 1000000}
		}).tryCreate()
		if res.code != 0 { // a machine of one CPU
			res.fails(`process scheduler can't be used together with AllowedCPUs "0": operation not permitted`)
		}
	})
	t.Run("bad", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("the texts are its own")
		for text, s := range map[string]specs.Scheduler{
			"policy is missing":        {},
			`policy "SCHED_X" is not`:  {Policy: "SCHED_X"},
			"nice 20 is not between":   {Policy: specs.SchedOther, Nice: 20},
			"priority 1 is for SCHED_": {Policy: specs.SchedBatch, Priority: 1},
			"priority 100 is not":      {Policy: specs.SchedFIFO, Priority: 100},
			"are for SCHED_DEADLINE":   {Policy: specs.SchedOther, Period: 1},
			`unknown flag "X"`:         {Policy: specs.SchedOther, Flags: []specs.LinuxSchedulerFlag{"X"}},
		} {
			r.bundle([]string{"true"}, func(spec *specs.Spec) { spec.Process.Scheduler = &s }).tryCreate().fails(text)
		}
	})
}

func TestExecCPUAffinity(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc 1.1 has no execCPUAffinity")
	needs(t, runtime.NumCPU() > 1, "two CPUs")
	c := r.bundle([]string{"sleep", "1000"}).create().start()
	if got := rtStatus(t, c.pid, "Cpus_allowed_list"); got == "1" {
		t.Fatalf("the container's process is bound to CPU %s", got)
	}
	for _, x := range []struct {
		affinity *specs.CPUAffinity
		want     string
	}{
		{&specs.CPUAffinity{Initial: "1"}, "1"},
		{&specs.CPUAffinity{Final: "1"}, "1"},
		{&specs.CPUAffinity{Initial: "0", Final: "1"}, "1"},
		{&specs.CPUAffinity{Final: "0-1"}, "0-1"},
		{nil, rtStatus(t, c.pid, "Cpus_allowed_list")},
	} {
		p := *c.spec.Process
		p.ExecCPUAffinity = x.affinity
		res := r.do("exec", "--process", c.processFile(&p, "sh", "-c", "grep Cpus_allowed_list /proc/self/status | cut -f2"), c.id).ok()
		if got := strings.TrimSpace(res.out); got != x.want {
			t.Errorf("%+v: runs on CPUs %s, want %s", x.affinity, got, x.want)
		}
	}
	for text, a := range map[string]specs.CPUAffinity{
		"execCPUAffinity.initial \"x\"": {Initial: "x"}, "execCPUAffinity.final \"1-0\"": {Final: "1-0"},
		"execCPUAffinity.initial \"999\"": {Initial: "999"}, "final \"999\": invalid argument": {Final: "999"},
	} {
		p := *c.spec.Process
		p.ExecCPUAffinity = &a
		if res := r.do("exec", "--process", c.processFile(&p, "true"), c.id); res.code != 255 || !strings.Contains(res.err, text) {
			t.Errorf("%+v: exit code %d, stderr %q, want %q", a, res.code, res.err, text)
		}
	}
}

// processFile writes the file of exec --process.
func (c *ctr) processFile(p *specs.Process, args ...string) string {
	c.r.Helper()
	p.Args = args
	file := c.dir + "/process.json"
	b, err := json.Marshal(p)
	c.r.must(err)
	c.r.must(os.WriteFile(file, b, 0o644))
	return file
}

func TestPersonalityAndMemoryPolicy(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc 1.1 has neither")
	needs(t, rtReadOr("/proc/self/numa_maps") != "", "a kernel with NUMA")
	c := r.sh("uname -m; read x", func(s *specs.Spec) {
		s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32}
		s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}}
	}).create().start()
	c.out.until("i686")
	added := c.execDetached("sleep", "1000")
	for name, pid := range map[string]int{"init": c.pid, "exec": added} {
		if got := strings.TrimSpace(rtRead(t, fmt.Sprintf("/proc/%d/personality", pid))); got != "00000008" {
			t.Errorf("%s: personality %s, want 8", name, got)
		}
		if maps := rtRead(t, fmt.Sprintf("/proc/%d/numa_maps", pid)); !strings.Contains(maps, " bind=static:0 ") {
			t.Errorf("%s: numa_maps: %.80q, want bind=static:0", name, maps)
		}
	}
	unix.Kill(added, unix.SIGKILL)
	rtReap(added, rtLimit)
	d := r.bundle([]string{"sleep", "1000"}, func(s *specs.Spec) {
		s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux}
		s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolInterleave, Nodes: "0"}
	}).create().start()
	if got := strings.TrimSpace(rtRead(t, fmt.Sprintf("/proc/%d/personality", d.pid))); got != "00000000" {
		t.Errorf("personality %s, want 0", got)
	}
	if maps := rtRead(t, fmt.Sprintf("/proc/%d/numa_maps", d.pid)); !strings.Contains(maps, " interleave:0 ") {
		t.Errorf("numa_maps: %.80q, want interleave:0", maps)
	}
	for text, edit := range map[string]func(*specs.Linux){
		`personality.domain "BSD"`: func(l *specs.Linux) { l.Personality = &specs.LinuxPersonality{Domain: "BSD"} },
		`unknown flag "ADDR"`: func(l *specs.Linux) {
			l.Personality = &specs.LinuxPersonality{Domain: "LINUX", Flags: []specs.LinuxPersonalityFlag{"ADDR"}}
		},
		`memoryPolicy.mode is miss`: func(l *specs.Linux) { l.MemoryPolicy = &specs.LinuxMemoryPolicy{Nodes: "0"} },
		"MPOL_DEFAULT mode requires 0 nodes but got 8": func(l *specs.Linux) {
			l.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolDefault, Nodes: "0-7"}
		},
		"MPOL_LOCAL mode requires 0 nodes but got 1": func(l *specs.Linux) {
			l.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolLocal, Nodes: "0"}
		},
		`memory policy: linux.memoryPolicy.flags: unknown flag "F"`: func(l *specs.Linux) {
			l.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Flags: []specs.MemoryPolicyFlagType{"F"}}
		},
		`unknown mode "MPOL_X"`:  func(l *specs.Linux) { l.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: "MPOL_X"} },
		`memoryPolicy.nodes "a"`: func(l *specs.Linux) { l.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "a"} },
		`unknown flag "MPOL_F_X"`: func(l *specs.Linux) {
			l.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Flags: []specs.MemoryPolicyFlagType{"MPOL_F_X"}}
		},
		"of nodes \"\": invalid arg": func(l *specs.Linux) { l.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind} },
	} {
		r.bundle([]string{"true"}, func(s *specs.Spec) { edit(s.Linux) }).tryCreate().fails(text)
	}
}
