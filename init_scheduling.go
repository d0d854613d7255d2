// Scheduling of the process: policy and nice value, I/O priority, the
// CPUs of an exec, the execution domain, and where its memory comes from. All
// of it is checked here, too, with the words of the manual pages.

package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// schedule writes the process's share of CPUs and disks.
//
// Real-time policies, negative nice values and real-time I/O want CAP_SYS_NICE
// of the host, and nothing that a user namespace gives stands in for that. So a
// process bound for one is scheduled before it enters, unless the policy would
// not live through the forks on the way; any other late, when nothing of the
// set-up is left to run with a priority that is the process's.
func (c *processCompiler) schedule(entering bool) {
	if c.scheduled || entering && !schedulerForks(c.plan.process.Scheduler) {
		return
	}
	c.scheduled = true
	if s := c.plan.process.Scheduler; s != nil {
		c.at("set the scheduler to %s, nice %d, priority %d%s", s.Policy, s.Nice, s.Priority, c.deadlineNote())
		c.call(unix.SYS_SCHED_SETATTR, 0, schedulerAttr(c.program, s), 0)
	}
	if io := c.plan.process.IOPriority; io != nil {
		c.at("set the I/O priority to %s, %d", io.Class, io.Priority)
		c.call(unix.SYS_IOPRIO_SET, ioprioProcess, 0, ioprioClass(io.Class)<<ioprioClassShift|io.Priority)
	}
}

// deadlineNote is what EPERM does not say: a deadline task must be allowed all CPUs of its root domain (sched_setattr(2)).
func (c *processCompiler) deadlineNote() string {
	if c.plan.process.Scheduler.Policy != specs.SchedDeadline || c.plan.linux == nil || c.plan.linux.Resources == nil ||
		c.plan.linux.Resources.CPU == nil || c.plan.linux.Resources.CPU.Cpus == "" {
		return ""
	}
	return fmt.Sprintf(": process scheduler can't be used together with AllowedCPUs %q", c.plan.linux.Resources.CPU.Cpus)
}

// linux/ioprio.h
const (
	ioprioProcess    = 1
	ioprioClassShift = 13
)

func ioprioClass(c specs.IOPriorityClass) int {
	switch c {
	case specs.IOPRIO_CLASS_RT:
		return 1
	case specs.IOPRIO_CLASS_BE:
		return 2
	case specs.IOPRIO_CLASS_IDLE:
		return 3
	}
	return -1
}

// schedulerForks says whether a policy is inherited by a child: a deadline task
// may not fork at all.
func schedulerForks(s *specs.Scheduler) bool {
	return s == nil || s.Policy != specs.SchedDeadline && schedulerFlags(s.Flags)&unix.SCHED_FLAG_RESET_ON_FORK == 0
}

// schedulerAttr is struct sched_attr.
func schedulerAttr(p *program, s *specs.Scheduler) addr {
	const size = 56 // with the two bounds of utilisation, which stay 0
	return p.words(size|uint64(schedulerPolicy(s.Policy))<<32, schedulerFlags(s.Flags),
		uint64(uint32(s.Nice))|uint64(s.Priority)<<32, s.Runtime, s.Deadline, s.Period, 0)
}

// schedulerPolicy is -1 for an unknown name.
func schedulerPolicy(p specs.LinuxSchedulerPolicy) int {
	switch p {
	case specs.SchedOther:
		return unix.SCHED_NORMAL
	case specs.SchedFIFO:
		return unix.SCHED_FIFO
	case specs.SchedRR:
		return unix.SCHED_RR
	case specs.SchedBatch:
		return unix.SCHED_BATCH
	case specs.SchedISO:
		return 4 // reserved; no kernel has it
	case specs.SchedIdle:
		return unix.SCHED_IDLE
	case specs.SchedDeadline:
		return unix.SCHED_DEADLINE
	}
	return -1
}

// schedulerFlags is 0 for an unknown name alone.
func schedulerFlags(list []specs.LinuxSchedulerFlag) (flags uint64) {
	for _, f := range list {
		switch f {
		case specs.SchedFlagResetOnFork:
			flags |= unix.SCHED_FLAG_RESET_ON_FORK
		case specs.SchedFlagReclaim:
			flags |= unix.SCHED_FLAG_RECLAIM
		case specs.SchedFlagDLOverrun:
			flags |= unix.SCHED_FLAG_DL_OVERRUN
		case specs.SchedFlagKeepPolicy:
			flags |= unix.SCHED_FLAG_KEEP_POLICY
		case specs.SchedFlagKeepParams:
			flags |= unix.SCHED_FLAG_KEEP_PARAMS
		case specs.SchedFlagUtilClampMin:
			flags |= unix.SCHED_FLAG_UTIL_CLAMP_MIN
		case specs.SchedFlagUtilClampMax:
			flags |= unix.SCHED_FLAG_UTIL_CLAMP_MAX
		}
	}
	return flags
}

// checkScheduling also serves exec's --process file.
func checkScheduling(p *specs.Process, where string) error {
	if s := p.Scheduler; s != nil {
		realtime := s.Policy == specs.SchedFIFO || s.Policy == specs.SchedRR
		switch {
		case s.Policy == "":
			return fmt.Errorf("%s.scheduler.policy is missing", where)
		case schedulerPolicy(s.Policy) < 0:
			return fmt.Errorf("%s.scheduler.policy %q is not one of SCHED_OTHER, _FIFO, _RR, _BATCH, _ISO, _IDLE, _DEADLINE", where, s.Policy)
		case s.Nice < -20 || s.Nice > 19:
			return fmt.Errorf("%s.scheduler.nice %d is not between -20 and 19", where, s.Nice)
		case s.Priority != 0 && !realtime:
			return fmt.Errorf("%s.scheduler.priority %d is for SCHED_FIFO and SCHED_RR, not for %s", where, s.Priority, s.Policy)
		case realtime && (s.Priority < 1 || s.Priority > 99):
			return fmt.Errorf("%s.scheduler.priority %d is not between 1 and 99", where, s.Priority)
		case s.Policy != specs.SchedDeadline && (s.Runtime != 0 || s.Deadline != 0 || s.Period != 0):
			return fmt.Errorf("%s.scheduler: runtime, deadline and period are for SCHED_DEADLINE, not for %s", where, s.Policy)
		}
		for _, f := range s.Flags {
			if schedulerFlags([]specs.LinuxSchedulerFlag{f}) == 0 {
				return fmt.Errorf("%s.scheduler.flags: unknown flag %q", where, f)
			}
		}
	}
	if io := p.IOPriority; io != nil {
		switch {
		case ioprioClass(io.Class) < 0:
			return fmt.Errorf("%s.ioPriority.class %q is not one of IOPRIO_CLASS_RT, IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE", where, io.Class)
		case io.Priority < 0 || io.Priority > 7:
			return fmt.Errorf("%s.ioPriority.priority %d is not between 0 and 7", where, io.Priority)
		}
	}
	if a := p.ExecCPUAffinity; a != nil {
		for name, list := range map[string]string{"initial": a.Initial, "final": a.Final} {
			if _, err := numberList(list); err != nil {
				return fmt.Errorf("%s.execCPUAffinity.%s %q: %w", where, name, list, err)
			}
		}
	}
	return nil
}

// startOn binds this thread, and so the process that it starts, to the CPUs of
// execCPUAffinity.initial: until the process has come to the container's cgroup.
func (p *processPlan) startOn() error {
	a := p.process.ExecCPUAffinity
	if a == nil || a.Initial == "" {
		return nil
	}
	mask, err := numberList(a.Initial)
	if err != nil {
		return err
	}
	var set unix.CPUSet
	for cpu := range 64 * len(mask) {
		if mask[cpu/64]&(1<<(cpu%64)) != 0 {
			set.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("execCPUAffinity.initial %q: %w", a.Initial, err)
	}
	return nil
}

// runOnAll gives the process all CPUs of its cgroup, which it is in by now: what the caller was bound to is not the
// container's business. Since Linux 6.2 joining a cpuset keeps a narrower choice (user_cpus_ptr in kernel/sched/core.c).
// The kernel cuts the mask to the CPUs that it knows, and to the cgroup's for as long as those are the cgroup's.
func (p *program) runOnAll() {
	p.at("run on all CPUs")
	p.call(unix.SYS_SCHED_SETAFFINITY, 0, maxCPUs/8, bytes.Repeat([]byte{0xff}, maxCPUs/8)).ignoreAll() // a sandbox that refuses keeps its choice
}

// runOn binds an exec'd process to the CPUs of execCPUAffinity.final, in its cgroup. Without final it stays on those of
// initial, and without both it has all.
func (c *processCompiler) runOn() {
	a := c.plan.process.ExecCPUAffinity
	switch {
	case a == nil || a.Initial == "" && a.Final == "":
		c.runOnAll()
		return
	case a.Final == "":
		return
	}
	c.at("set execCPUAffinity.final %q", a.Final)
	mask, _ := numberList(a.Final) // checked
	c.call(unix.SYS_SCHED_SETAFFINITY, 0, 8*len(mask), c.words(mask...))
}

// domain writes what the whole container has: personality and memory policy.
// They are the process's own, so exec sets them too.
func (c *processCompiler) domain() {
	if p := c.plan.linux.Personality; p != nil {
		c.at("set the personality to %s", p.Domain)
		domain := 0
		if p.Domain == specs.PerLinux32 {
			domain = 8 // linux/personality.h
		}
		c.call(unix.SYS_PERSONALITY, domain)
	}
	if m := c.plan.linux.MemoryPolicy; m != nil {
		c.at("set the memory policy to %s of nodes %q", m.Mode, m.Nodes)
		mode, _ := memoryPolicyMode(m) // checked
		nodes, _ := numberList(m.Nodes)
		if len(nodes) == 0 {
			c.call(unix.SYS_SET_MEMPOLICY, mode, 0, 0)
		} else {
			// The kernel takes one bit less than it is told.
			c.call(unix.SYS_SET_MEMPOLICY, mode, c.words(nodes...), 64*len(nodes)+1)
		}
	}
}

// memoryModes have the numbers of linux/mempolicy.h, memoryFlags its bits from 13 on.
var (
	memoryModes = []specs.MemoryPolicyModeType{
		specs.MpolDefault, specs.MpolPreferred, specs.MpolBind, specs.MpolInterleave, specs.MpolLocal, specs.MpolPreferredMany, specs.MpolWeightedInterleave,
	}
	memoryFlags = []specs.MemoryPolicyFlagType{specs.MpolFNumaBalancing, specs.MpolFRelativeNodes, specs.MpolFStaticNodes}
)

// memoryPolicyMode is the number of a mode with its flags.
func memoryPolicyMode(m *specs.LinuxMemoryPolicy) (int, error) {
	if m.Mode == "" {
		return 0, errors.New("memory policy: linux.memoryPolicy.mode is missing")
	}
	mode := slices.Index(memoryModes, m.Mode)
	if mode < 0 {
		return 0, fmt.Errorf("memory policy: linux.memoryPolicy.mode: unknown mode %q", m.Mode)
	}
	for _, f := range m.Flags {
		n := slices.Index(memoryFlags, f)
		if n < 0 {
			return 0, fmt.Errorf("memory policy: linux.memoryPolicy.flags: unknown flag %q", f)
		}
		mode |= 1 << (13 + n)
	}
	return mode, nil
}

// checkDomain: personality and memory policy.
func checkDomain(s *specs.Spec) error {
	if p := s.Linux.Personality; p != nil {
		switch {
		case p.Domain != specs.PerLinux && p.Domain != specs.PerLinux32:
			return fmt.Errorf("linux.personality.domain %q is not one of LINUX, LINUX32", p.Domain)
		case len(p.Flags) > 0:
			return fmt.Errorf("linux.personality.flags: unknown flag %q: there are none", p.Flags[0])
		}
	}
	if m := s.Linux.MemoryPolicy; m != nil {
		if _, err := memoryPolicyMode(m); err != nil {
			return err
		}
		mask, err := numberList(m.Nodes)
		if err != nil {
			return fmt.Errorf("memory policy: linux.memoryPolicy.nodes %q: %w", m.Nodes, err)
		}
		nodes := 0
		for _, word := range mask {
			nodes += bits.OnesCount64(word)
		}
		if nodes > 0 && (m.Mode == specs.MpolDefault || m.Mode == specs.MpolLocal) { // the kernel says EINVAL only
			return fmt.Errorf("memory policy: linux.memoryPolicy.nodes %q: %s mode requires 0 nodes but got %d", m.Nodes, m.Mode, nodes)
		}
	}
	return nil
}

// numberList is a list of CPUs or memory nodes as a bit mask.
func numberList(list string) (mask []uint64, err error) {
	const most = 1023 // CPUs in a unix.CPUSet, and nodes in any kernel
	numbers, err := parseNumbers(list, most)
	return bitMask(numbers), err
}
