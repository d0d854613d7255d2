// The OCI seccomp profile (linux.seccomp), turned into the classic BPF program that the kernel runs before every
// system call of the container. It is pure: it reads no file, makes no system call and installs nothing; init's
// program loads the result with seccomp(2).
//
// Contract: the program decides as libseccomp under runc decides for the same profile.
//   - The host's own ABI is always covered, whether listed or not; of the others the listed ones of this machine's family. A
//     call through an ABI that is not covered kills its thread. Foreign architectures in the list are ignored: this kernel
//     never makes such a call.
//   - Names that no kernel of this table knows are skipped. A rule whose action is the default action says nothing.
//   - Among the rules of one call the first one without arguments decides alone. Otherwise every rule with arguments is an
//     alternative, tried in a fixed order (seccompCompare); the conditions of one rule must all hold, except that a rule
//     naming an argument twice stands for one rule for each of its conditions. (libseccomp 2.5 loses some of several
//     overlapping alternatives for one call, and refuses a few others; here they hold as written.)
//   - On ABIs with 32-bit arguments only the low halves are compared.
//   - A call newer than every call the profile names gets ENOSYS, not the default action, unless the default lets calls pass
//     (ALLOW, LOG, TRACE): C libraries probe for new calls and fall back on ENOSYS only.
//   - On x86 (i386) a rule for a socket or System V IPC call also covers its form inside socketcall(2) and ipc(2). There the
//     arguments are behind a pointer, so of the rule's conditions the one on argument 0 gives way to the sub-call's number.
//
// The filter holds for everything after it is loaded, runh's own last calls and execve included: a profile that
// denies execve makes `start` fail, as with runc.

package main

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// seccompFilter is what seccomp(SECCOMP_SET_MODE_FILTER, flags, prog) takes. An empty prog means: no filter.
type seccompFilter struct {
	prog   []unix.SockFilter
	flags  uintptr // SECCOMP_FILTER_FLAG_*, with NEW_LISTENER when notify is set
	notify bool    // a rule asks the agent at listenerPath
}

// The words a profile may use.
const (
	seccompActionWords = "SCMP_ACT_ALLOW SCMP_ACT_ERRNO SCMP_ACT_KILL SCMP_ACT_KILL_PROCESS SCMP_ACT_KILL_THREAD SCMP_ACT_LOG " +
		"SCMP_ACT_NOTIFY SCMP_ACT_TRACE SCMP_ACT_TRAP"
	seccompOperatorWords = "SCMP_CMP_EQ SCMP_CMP_GE SCMP_CMP_GT SCMP_CMP_LE SCMP_CMP_LT SCMP_CMP_MASKED_EQ SCMP_CMP_NE"
	seccompFlagWords     = "SECCOMP_FILTER_FLAG_LOG SECCOMP_FILTER_FLAG_SPEC_ALLOW SECCOMP_FILTER_FLAG_TSYNC " +
		"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
	seccompArchWords = "SCMP_ARCH_AARCH64 SCMP_ARCH_ARM SCMP_ARCH_LOONGARCH64 SCMP_ARCH_M68K SCMP_ARCH_MIPS SCMP_ARCH_MIPS64 " +
		"SCMP_ARCH_MIPS64N32 SCMP_ARCH_MIPSEL SCMP_ARCH_MIPSEL64 SCMP_ARCH_MIPSEL64N32 SCMP_ARCH_PARISC SCMP_ARCH_PARISC64 " +
		"SCMP_ARCH_PPC SCMP_ARCH_PPC64 SCMP_ARCH_PPC64LE SCMP_ARCH_RISCV64 SCMP_ARCH_S390 SCMP_ARCH_S390X SCMP_ARCH_SH " +
		"SCMP_ARCH_SHEB SCMP_ARCH_X32 SCMP_ARCH_X86 SCMP_ARCH_X86_64"
)

// What `runh features` lists.
func seccompActions() []string   { return strings.Fields(seccompActionWords) }
func seccompOperators() []string { return strings.Fields(seccompOperatorWords) }
func seccompFlags() []string     { return strings.Fields(seccompFlagWords) }
func seccompArchs() []string     { return strings.Fields(seccompArchWords) }

// compileSeccomp compiles the profile for this machine. No profile, or one without default action and rules, is no filter.
func compileSeccomp(s *specs.LinuxSeccomp) (seccompFilter, error) {
	return compileSeccompFor(runtime.GOARCH, s)
}

func compileSeccompFor(goarch string, s *specs.LinuxSeccomp) (seccompFilter, error) {
	var f seccompFilter
	if s == nil || s.DefaultAction == "" && len(s.Syscalls) == 0 {
		return f, nil
	}
	def, err := seccompReturn(s.DefaultAction, s.DefaultErrnoRet)
	if err != nil {
		return f, fmt.Errorf("seccomp: defaultAction: %w", err)
	}
	abis, err := seccompABIs(goarch, s.Architectures)
	if err != nil {
		return f, fmt.Errorf("seccomp: %w", err)
	}
	rules, err := seccompCollect(abis, s.Syscalls, def)
	if err != nil {
		return f, fmt.Errorf("seccomp: %w", err)
	}
	if f.flags, f.notify, err = seccompFlagBits(s); err != nil {
		return f, fmt.Errorf("seccomp: %w", err)
	}
	if f.prog, err = seccompAssemble(abis, rules, def); err != nil {
		return seccompFilter{}, fmt.Errorf("seccomp: %w", err)
	}
	return f, nil
}

// seccompReturn is the filter's return value for an action.
func seccompReturn(action specs.LinuxSeccompAction, errnoRet *uint) (uint32, error) {
	data, most := uint(unix.EPERM), uint(0)
	var ret uint32
	switch action {
	case specs.ActErrno:
		ret, most = unix.SECCOMP_RET_ERRNO, 4095 // the kernel's MAX_ERRNO
	case specs.ActTrace:
		ret, most = unix.SECCOMP_RET_TRACE, unix.SECCOMP_RET_DATA
	case specs.ActKill, specs.ActKillThread:
		ret = unix.SECCOMP_RET_KILL_THREAD
	case specs.ActKillProcess:
		ret = unix.SECCOMP_RET_KILL_PROCESS
	case specs.ActTrap:
		ret = unix.SECCOMP_RET_TRAP
	case specs.ActAllow:
		ret = unix.SECCOMP_RET_ALLOW
	case specs.ActLog:
		ret = unix.SECCOMP_RET_LOG
	case specs.ActNotify:
		ret = unix.SECCOMP_RET_USER_NOTIF
	default:
		return 0, fmt.Errorf("unknown action %q: one of %s", action, seccompActionWords)
	}
	if errnoRet != nil {
		if most == 0 {
			return 0, fmt.Errorf("errnoRet %d with action %s: only SCMP_ACT_ERRNO and SCMP_ACT_TRACE take one", *errnoRet, action)
		}
		if *errnoRet > most {
			return 0, fmt.Errorf("errnoRet %d with action %s: at most %d", *errnoRet, action, most)
		}
		data = *errnoRet
	}
	if most == 0 {
		return ret, nil
	}
	return ret | uint32(data), nil
}

// seccompFlagBits translates flags, and checks what belongs to NOTIFY: runh hands the listener to the agent, so the profile
// must say where the agent is, and write(2) cannot wait for an agent that has not got the listener yet.
func seccompFlagBits(s *specs.LinuxSeccomp) (flags uintptr, notify bool, err error) {
	if s.DefaultAction == specs.ActNotify {
		return 0, false, errors.New("SCMP_ACT_NOTIFY cannot be used as default action")
	}
	for _, block := range s.Syscalls {
		if block.Action == specs.ActNotify {
			notify = true
			if slices.Contains(block.Names, "write") {
				return 0, false, errors.New("SCMP_ACT_NOTIFY cannot be used for the write syscall")
			}
		}
	}
	if notify {
		flags |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
		if s.ListenerPath == "" {
			return 0, false, errors.New("SCMP_ACT_NOTIFY needs listenerPath, the agent's socket")
		}
	}
	if s.Flags == nil { // not even the empty list: the speculation mitigation costs more than it gives
		flags |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	}
	for _, flag := range s.Flags {
		switch flag {
		case "SECCOMP_FILTER_FLAG_TSYNC": // the loading process has one thread: nothing to synchronise
		case specs.LinuxSeccompFlagLog:
			flags |= unix.SECCOMP_FILTER_FLAG_LOG
		case specs.LinuxSeccompFlagSpecAllow:
			flags |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		case specs.LinuxSeccompFlagWaitKillableRecv:
			if !notify {
				return 0, false, fmt.Errorf("flag %s needs a rule with SCMP_ACT_NOTIFY", flag)
			}
			flags |= unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
		default:
			return 0, false, fmt.Errorf("unknown flag %q: one of %s", flag, seccompFlagWords)
		}
	}
	return flags, notify, nil
}

// seccompABI is one way into the kernel: an architecture with its numbering of the system calls, and the rules for it.
type seccompABI struct {
	audit  uint32 // seccomp_data.arch
	bit    uint32 // set in every number of this ABI
	column int    // of syscalls.tbl
	wide   bool   // arguments have 64 bits
	mux    bool   // has socketcall(2) and ipc(2)

	rules []uint64 // number<<32 | place in the list of alternatives, which is in the profile's order
	named bool     // the profile names a call of this ABI ...
	last  uint32   // ... and this is the newest one
}

// seccompRule is one alternative for the calls that refer to it.
type seccompRule struct {
	ret   uint32
	conds []seccompCond // ordered by arg; none: whatever the arguments are
}

// seccompCond holds when (argument & mask) op value. MASKED_EQ has become EQ; the other operators have a full mask.
type seccompCond struct {
	arg         uint32
	op          specs.LinuxSeccompOperator
	mask, value uint64
}

// seccompABIs returns the native ABI and the listed ones this machine's kernel has.
func seccompABIs(goarch string, listed []specs.Arch) ([]seccompABI, error) {
	for _, arch := range listed {
		if !seccompWord(seccompArchWords, string(arch)) {
			return nil, fmt.Errorf("unknown architecture %q: one of %s", arch, seccompArchWords)
		}
	}
	switch goarch {
	case "amd64":
		abis := []seccompABI{{audit: unix.AUDIT_ARCH_X86_64, column: 1, wide: true}}
		if slices.Contains(listed, specs.ArchX32) { // right behind x86_64: seccompAssemble relies on it
			abis = append(abis, seccompABI{audit: unix.AUDIT_ARCH_X86_64, bit: seccompX32, column: 3})
		}
		if slices.Contains(listed, specs.ArchX86) {
			abis = append(abis, seccompABI{audit: unix.AUDIT_ARCH_I386, column: 2, mux: true})
		}
		return abis, nil
	case "arm64":
		abis := []seccompABI{{audit: unix.AUDIT_ARCH_AARCH64, column: 4, wide: true}}
		if slices.Contains(listed, specs.ArchARM) {
			abis = append(abis, seccompABI{audit: unix.AUDIT_ARCH_ARM, column: 5})
		}
		return abis, nil
	}
	return nil, fmt.Errorf("no system call table for %s: only amd64 and arm64", goarch)
}

// seccompWord tells whether word is one of the space-separated words.
func seccompWord(words, word string) bool {
	for w := range strings.SplitSeq(words, " ") {
		if w == word {
			return true
		}
	}
	return false
}

// seccompCollect checks the profile's blocks, and returns their alternatives and files them under each ABI's numbers.
func seccompCollect(abis []seccompABI, blocks []specs.LinuxSyscall, def uint32) ([]seccompRule, error) {
	names := 0
	for i := range blocks {
		names += len(blocks[i].Names)
	}
	for i := range abis {
		abis[i].rules = make([]uint64, 0, names)
	}
	rules := make([]seccompRule, 0, 2*len(blocks))
	var table seccompTable
	for i := range blocks {
		block := &blocks[i]
		ret, err := seccompReturn(block.Action, block.ErrnoRet)
		if err != nil {
			return nil, fmt.Errorf("syscalls[%d]: %w", i, err)
		}
		wide := len(rules)
		if rules, err = seccompAlternatives(rules, block.Args, ret, ^uint64(0)); err != nil {
			return nil, fmt.Errorf("syscalls[%d]: %w", i, err)
		}
		narrow := len(rules)
		if rules, err = seccompAlternatives(rules, block.Args, ret, 0xffffffff); err != nil {
			return nil, fmt.Errorf("syscalls[%d]: %w", i, err)
		}
		end := len(rules)
		for _, name := range block.Names {
			if name == "" {
				return nil, fmt.Errorf("syscalls[%d]: empty name of a system call", i)
			}
			line := table.find(name)
			for j := range abis {
				abi := &abis[j]
				call := abi.see(&line)
				if ret == def { // says nothing, and only tells which calls the author knew
					continue
				}
				from, to := narrow, end
				if abi.wide {
					from, to = wide, narrow
				}
				if abi.mux && line[6] >= 0 {
					inside := len(rules)
					rules = seccompInside(rules, from, to, line[7])
					abi.file(line[6], inside, len(rules))
				}
				abi.file(call, from, to)
			}
		}
	}
	return rules, nil
}

// see returns the call's number, or -1, and notes whether it is the newest one.
func (abi *seccompABI) see(line *seccompLine) int32 {
	call := line[abi.column]
	// libseccomp does not count i386's direct socket and ipc calls, which are younger than what they stand for.
	if call >= 0 && !(abi.mux && line[6] >= 0) {
		abi.last, abi.named = max(abi.last, uint32(call)), true
	}
	return call
}

// file lets the rules from..to decide on the call.
func (abi *seccompABI) file(call int32, from, to int) {
	for i := from; i < to && call >= 0; i++ {
		abi.rules = append(abi.rules, uint64(uint32(call)|abi.bit)<<32|uint64(i))
	}
}

// seccompInside appends the rules from..to again, made for the call that carries the meant one as a sub-call.
func seccompInside(rules []seccompRule, from, to int, sub int32) []seccompRule {
	for _, r := range rules[from:to] {
		conds := []seccompCond{{arg: 0, op: specs.OpEqualTo, mask: 0xffffffff, value: uint64(sub)}}
		for _, c := range r.conds {
			if c.arg != 0 {
				conds = append(conds, c)
			}
		}
		rules = append(rules, seccompRule{r.ret, conds})
	}
	return rules
}

// seccompAlternatives appends the rules that args stand for; width is the mask of the ABI's arguments.
func seccompAlternatives(rules []seccompRule, args []specs.LinuxSeccompArg, ret uint32, width uint64) ([]seccompRule, error) {
	var conds []seccompCond
	var seen [6]bool
	twice := false
	for _, a := range args {
		if a.Index >= uint(len(seen)) {
			return nil, fmt.Errorf("argument index %d: system calls have arguments 0 to 5", a.Index)
		}
		twice = twice || seen[a.Index]
		seen[a.Index] = true
		c := seccompCond{arg: uint32(a.Index), op: a.Op, mask: width, value: a.Value & width}
		switch a.Op {
		case specs.OpMaskedEqual:
			c.op, c.mask, c.value = specs.OpEqualTo, a.Value&width, a.Value&a.ValueTwo&width
		case specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpGreaterThan, specs.OpGreaterEqual:
		default:
			return nil, fmt.Errorf("unknown operator %q: one of %s", a.Op, seccompOperatorWords)
		}
		conds = append(conds, c)
	}
	always := func(c seccompCond) bool { return c.mask == 0 }
	if twice {
		for i := range conds {
			rules = append(rules, seccompRule{ret, slices.DeleteFunc(conds[i:i+1:i+1], always)})
		}
		return rules, nil
	}
	conds = slices.DeleteFunc(conds, always)
	slices.SortFunc(conds, func(a, b seccompCond) int { return cmp.Compare(a.arg, b.arg) })
	return append(rules, seccompRule{ret, conds}), nil
}
