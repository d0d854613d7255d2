// Tests of the seccomp compiler. The compiled program is run by an interpreter of classic BPF written here, and compared with
// what the profile says (an evaluator that shares no code with the compiler), with the filters that runc and crun make of the
// same profile with libseccomp, and with what the kernel does with it.

package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// seccompCall is what a filter sees of a system call (struct seccomp_data without the instruction pointer).
type seccompCall struct {
	arch, nr uint32
	args     [6]uint64
}

// runSeccomp interprets the program as the kernel does.
func runSeccomp(t testing.TB, prog []unix.SockFilter, call seccompCall) uint32 {
	t.Helper()
	data := [16]uint32{call.nr, call.arch, 0xdead, 0xbeef}
	for i, a := range call.args {
		data[4+2*i], data[5+2*i] = uint32(a), uint32(a>>32)
	}
	var acc uint32
	for pc := 0; pc < len(prog); pc++ {
		ins := prog[pc]
		jump := func(cond bool) {
			if cond {
				pc += int(ins.Jt)
			} else {
				pc += int(ins.Jf)
			}
		}
		switch ins.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = data[ins.K/4]
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= ins.K
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(ins.K)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(acc == ins.K)
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			jump(acc > ins.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(acc >= ins.K)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			jump(acc&ins.K != 0)
		case unix.BPF_RET | unix.BPF_K:
			return ins.K
		default:
			t.Fatalf("instruction %d: %#x is not in the interpreter", pc, ins.Code)
		}
	}
	t.Fatal("the program runs past its end")
	return 0
}

// checkSeccomp applies the kernel's rules for a program (bpf_check_classic and seccomp_check_filter).
func checkSeccomp(t testing.TB, prog []unix.SockFilter) {
	t.Helper()
	if len(prog) == 0 || len(prog) > 4096 {
		t.Fatalf("%d instructions", len(prog))
	}
	for pc, ins := range prog {
		left := len(prog) - pc - 1
		switch {
		case ins.Code == unix.BPF_LD|unix.BPF_W|unix.BPF_ABS && (ins.K%4 != 0 || ins.K >= 64):
			t.Fatalf("instruction %d loads from %d", pc, ins.K)
		case ins.Code == unix.BPF_JMP|unix.BPF_JA && ins.K >= uint32(left):
			t.Fatalf("instruction %d of %d jumps over %d", pc, len(prog), ins.K)
		case ins.Code&7 == unix.BPF_JMP && (int(ins.Jt) >= left || int(ins.Jf) >= left):
			t.Fatalf("instruction %d of %d jumps over %d or %d", pc, len(prog), ins.Jt, ins.Jf)
		}
	}
	if last := prog[len(prog)-1]; last.Code != unix.BPF_RET|unix.BPF_K {
		t.Fatalf("the last instruction is %#x", last.Code)
	}
}

// seccompReference says what a profile means for a call, as plainly as can be. Where alternatives of different actions match
// the same call, it returns the actions of all: which comes first is not its subject.
type seccompReference struct {
	profile *specs.LinuxSeccomp
	numbers map[string][]int // the table's columns by name; -1 is none
	said    []seccompSaid
}

// seccompSaid is what the profile says about one name.
type seccompSaid struct {
	numbers      []int
	ret          uint32
	alternatives [][]specs.LinuxSeccompArg
}

func newSeccompReference(s *specs.LinuxSeccomp) *seccompReference {
	ref := &seccompReference{profile: s, numbers: map[string][]int{}}
	for line := range strings.Lines(seccompNumbers) {
		f := append(strings.Fields(line), "-", "-")[:8]
		numbers := make([]int, len(f))
		for i, text := range f {
			n, err := strconv.Atoi(text)
			if err != nil {
				n = -1
			}
			numbers[i] = n
		}
		ref.numbers[f[0]] = numbers
	}
	if s != nil {
		for _, block := range s.Syscalls {
			for _, name := range block.Names {
				if numbers := ref.numbers[name]; numbers != nil {
					ref.said = append(ref.said, seccompSaid{numbers, ref.action(block.Action, block.ErrnoRet), ref.alternatives(block.Args)})
				}
			}
		}
	}
	return ref
}

// number is the call's number in the table's column, without x32's bit.
func (ref *seccompReference) number(name string, column int) (uint32, bool) {
	if f := ref.numbers[name]; f != nil && f[column] >= 0 {
		return uint32(f[column]), true
	}
	return 0, false
}

func (ref *seccompReference) action(a specs.LinuxSeccompAction, errno *uint) uint32 {
	data := uint32(unix.EPERM)
	if errno != nil {
		data = uint32(*errno)
	}
	switch a {
	case "SCMP_ACT_KILL_PROCESS":
		return 0x80000000
	case "SCMP_ACT_TRAP":
		return 0x00030000
	case "SCMP_ACT_ERRNO":
		return 0x00050000 | data
	case "SCMP_ACT_NOTIFY":
		return 0x7fc00000
	case "SCMP_ACT_TRACE":
		return 0x7ff00000 | data
	case "SCMP_ACT_LOG":
		return 0x7ffc0000
	case "SCMP_ACT_ALLOW":
		return 0x7fff0000
	}
	return 0 // KILL, KILL_THREAD
}

func (ref *seccompReference) wants(call seccompCall) []uint32 {
	s := ref.profile
	def := ref.action(s.DefaultAction, s.DefaultErrnoRet)
	has := func(a specs.Arch) bool { return slices.Contains(s.Architectures, a) }
	kill := []uint32{0}
	x32 := has("SCMP_ARCH_X32")
	var column int
	var wide bool
	nr := call.nr
	switch {
	case call.arch == unix.AUDIT_ARCH_X86_64 && nr&0x40000000 == 0:
		column, wide = 1, true
	case call.arch == unix.AUDIT_ARCH_X86_64 && x32:
		column, nr = 3, nr&^0x40000000
	case call.arch == unix.AUDIT_ARCH_X86_64 && nr == 0xffffffff:
		return []uint32{def}
	case call.arch == unix.AUDIT_ARCH_I386 && has("SCMP_ARCH_X86"):
		column = 2
	default:
		return kill
	}

	newest := -1
	for _, said := range ref.said {
		if inside := said.numbers[6] >= 0; column != 2 || !inside {
			newest = max(newest, said.numbers[column])
		}
	}
	permissive := s.DefaultAction == "SCMP_ACT_ALLOW" || s.DefaultAction == "SCMP_ACT_LOG" || s.DefaultAction == "SCMP_ACT_TRACE"
	if !permissive && def != 0x00050026 && newest >= 0 && nr > uint32(newest) {
		return []uint32{0x00050026} // ENOSYS
	}
	if call.arch == unix.AUDIT_ARCH_X86_64 && nr >= 0x80000000 && !x32 {
		return kill
	}

	var matches []uint32
	for _, said := range ref.said {
		direct := nr == uint32(said.numbers[column])
		inside := column == 2 && nr == uint32(said.numbers[6])
		if said.ret == def || nr > 1<<30 || !direct && !inside {
			continue
		}
		for _, conds := range said.alternatives {
			all, any := true, false
			if inside {
				all, any = uint32(call.args[0]) == uint32(said.numbers[7]), true
			}
			for _, c := range conds {
				if inside && c.Index == 0 || ref.tautology(c, wide) {
					continue
				}
				all, any = all && ref.holds(c, call.args[c.Index], wide), true
			}
			if !any { // the first without conditions decides alone
				return []uint32{said.ret}
			}
			if all {
				matches = append(matches, said.ret)
			}
		}
	}
	// An unconditional rule after conditional ones was found above; what is here is conditional only.
	if len(matches) == 0 {
		return []uint32{def}
	}
	return matches
}

func (ref *seccompReference) alternatives(args []specs.LinuxSeccompArg) [][]specs.LinuxSeccompArg {
	var each [][]specs.LinuxSeccompArg
	twice := false
	for i, a := range args {
		twice = twice || slices.ContainsFunc(args[:i], func(b specs.LinuxSeccompArg) bool { return a.Index == b.Index })
		each = append(each, []specs.LinuxSeccompArg{a})
	}
	if twice {
		return each
	}
	return [][]specs.LinuxSeccompArg{args}
}

func (ref *seccompReference) tautology(a specs.LinuxSeccompArg, wide bool) bool {
	return a.Op == "SCMP_CMP_MASKED_EQ" && (a.Value == 0 || !wide && uint32(a.Value) == 0)
}

func (ref *seccompReference) holds(a specs.LinuxSeccompArg, x uint64, wide bool) bool {
	v, two := a.Value, a.ValueTwo
	if !wide {
		x, v, two = x&0xffffffff, v&0xffffffff, two&0xffffffff
	}
	switch a.Op {
	case "SCMP_CMP_NE":
		return x != v
	case "SCMP_CMP_LT":
		return x < v
	case "SCMP_CMP_LE":
		return x <= v
	case "SCMP_CMP_EQ":
		return x == v
	case "SCMP_CMP_GE":
		return x >= v
	case "SCMP_CMP_GT":
		return x > v
	}
	return x&v == two&v
}

// randomSeccompProfile makes a profile of known calls. With mixed, several conditional rules for one call may have different
// actions.
func randomSeccompProfile(r *rand.Rand, names []string, mixed bool) *specs.LinuxSeccomp {
	actions := []specs.LinuxSeccompAction{"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"}
	s := &specs.LinuxSeccomp{DefaultAction: seccompPick(r, actions)}
	for _, a := range []specs.Arch{"SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_S390X"} {
		if r.IntN(2) == 0 {
			s.Architectures = append(s.Architectures, a)
		}
	}
	few := []string{seccompPick(r, names), seccompPick(r, names), "socket", "semop", "clone", "send", "personality"}
	action := seccompPick(r, actions)
	for range 1 + r.IntN(12) {
		block := specs.LinuxSyscall{Action: action}
		if mixed {
			block.Action = seccompPick(r, actions)
		}
		if block.Action == "SCMP_ACT_ERRNO" && mixed {
			errno := uint(r.IntN(100))
			block.ErrnoRet = &errno
		}
		if r.IntN(2) == 0 {
			block.Names = []string{seccompPick(r, few)}
		}
		for range r.IntN(30) {
			block.Names = append(block.Names, seccompPick(r, names))
		}
		for range r.IntN(4) {
			block.Args = append(block.Args, specs.LinuxSeccompArg{
				Index: uint(r.IntN(3)), Value: randomSeccompArg(r), ValueTwo: randomSeccompArg(r),
				Op: specs.LinuxSeccompOperator(seccompPick(r, seccompOperators())),
			})
		}
		s.Syscalls = append(s.Syscalls, block)
	}
	return s
}

func randomSeccompArg(r *rand.Rand) uint64 {
	return seccompPick(r, []uint64{0, 1, 2, 5, 21, 1 << 31, 1 << 32, 1<<32 + 1, 5 << 32, 1<<32 - 1, 1<<64 - 1, 0x7e020000})
}

func seccompPick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// randomSeccompCall makes a call that is likely to be one the profile has an opinion on.
func randomSeccompCall(r *rand.Rand, ref *seccompReference) (c seccompCall) {
	c.arch = seccompPick(r, []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_ARM})
	c.nr = uint32(r.IntN(600))
	for i := range c.args {
		c.args[i] = randomSeccompArg(r)
	}
	if blocks := ref.profile.Syscalls; len(blocks) > 0 && r.IntN(3) > 0 {
		block := seccompPick(r, blocks)
		for _, a := range block.Args {
			v := a.Value
			if a.Op == "SCMP_CMP_MASKED_EQ" {
				v = a.ValueTwo
			}
			if a.Index < 6 {
				c.args[a.Index] = v + seccompPick(r, []uint64{0, 0, 1, ^uint64(0), 1 << 32, ^uint64(1<<32 - 1), 8})
			}
		}
		if len(block.Names) > 0 {
			name := seccompPick(r, block.Names)
			if nr, ok := ref.number(name, seccompPick(r, []int{1, 2, 3})); ok {
				c.nr = nr
			}
			if nr, ok := ref.number(name, 6); ok && r.IntN(3) == 0 {
				sub, _ := ref.number(name, 7)
				c.arch, c.nr, c.args[0] = unix.AUDIT_ARCH_I386, nr, uint64(sub)
			}
		}
	}
	c.nr |= seccompPick(r, []uint32{0, 0, 0, 0, 1 << 30, 1 << 30, 1 << 31, 3 << 30})
	if r.IntN(50) == 0 {
		c.nr = seccompPick(r, []uint32{0xffffffff, 0xfffffffe, 0x7fffffff, 0x80000000, 0xc0000000, 0x40000000, 0x3fffffff, 0xbfffffff})
	}
	return c
}

// compareSeccomp runs n random calls through the program and the reference.
func compareSeccomp(t testing.TB, r *rand.Rand, s *specs.LinuxSeccomp, prog []unix.SockFilter, n int) {
	t.Helper()
	ref := newSeccompReference(s)
	for range n {
		c := randomSeccompCall(r, ref)
		if got, want := runSeccomp(t, prog, c), ref.wants(c); !slices.Contains(want, got) {
			text, _ := json.Marshal(s)
			t.Fatalf("%+v: the program returns %#x, the profile says %#x\n%s", c, got, want, text)
		}
	}
}

// dockerSeccomp is the profile Docker gives its containers by default.
func dockerSeccomp(t testing.TB) *specs.LinuxSeccomp {
	t.Helper()
	text, err := os.ReadFile("testdata/docker-config.json")
	if err != nil {
		t.Fatal(err)
	}
	var spec specs.Spec
	if err := json.Unmarshal(text, &spec); err != nil {
		t.Fatal(err)
	}
	return spec.Linux.Seccomp
}

// seccompNames are the names of the table that are no newer than the given x86_64 number.
func seccompNames(newest uint32) (names []string) {
	ref := newSeccompReference(nil)
	for name := range ref.numbers {
		old := true
		for column := 1; column <= 3; column++ {
			if nr, ok := ref.number(name, column); ok && (nr > newest && nr < 512 || name == "uretprobe" || name == "uprobe") {
				old = false
			}
		}
		if old {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestSeccompTable(t *testing.T) {
	last := ""
	for line := range strings.Lines(seccompNumbers) {
		f := strings.Fields(line)
		if f[0] <= last {
			t.Errorf("%q comes after %q", f[0], last)
		}
		last = f[0]
		if len(f) != 6 && len(f) != 8 {
			t.Errorf("%q has %d columns", f[0], len(f))
		}
		for _, cursor := range []int{0, strings.Index(seccompNumbers, "mmap "), len(seccompNumbers)} {
			got := (&seccompTable{at: cursor}).find(f[0])
			for column, text := range f[1:] {
				if text == "-" {
					text = "-1"
				}
				if strconv.Itoa(int(got[column+1])) != text {
					t.Errorf("find(%q) from %d = %v, the line is %q", f[0], cursor, got, line)
				}
			}
		}
	}
	for _, unknown := range []string{"", "#", "a", "zzz", "acces", "accesss", "write "} {
		if got := new(seccompTable).find(unknown); got[1] != -1 || got[2] != -1 {
			t.Errorf("find(%q) = %v", unknown, got)
		}
	}
	for name, nr := range map[string]uint32{"read": unix.SYS_READ, "clone3": unix.SYS_CLONE3, "openat2": unix.SYS_OPENAT2, "personality": unix.SYS_PERSONALITY} {
		column := 1
		if runtime.GOARCH == "arm64" {
			column = 4
		}
		if got := new(seccompTable).find(name); got[column] != int32(nr) {
			t.Errorf("%s is %d, x/sys says %d", name, got[column], nr)
		}
	}
}

func TestSeccompActions(t *testing.T) {
	const (
		allow, eperm, enosys = 0x7fff0000, 0x00050001, 0x00050026
		x64, i386, arm       = uint32(unix.AUDIT_ARCH_X86_64), uint32(unix.AUDIT_ARCH_I386), uint32(unix.AUDIT_ARCH_ARM)
		x32                  = uint32(0x40000000)
	)
	type call struct {
		arch, nr uint32
		args     []uint64
		want     uint32
	}
	for _, test := range []struct {
		name, profile string
		calls         []call
	}{
		{
			"default action and errno, one name",
			`{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":22,"syscalls":[{"names":["write"],"action":"SCMP_ACT_ALLOW"}]}`,
			[]call{{x64, 1, nil, allow}, {x64, 0, nil, 0x00050016}, {x64, 2, nil, enosys}, {i386, 4, nil, 0}, {arm, 4, nil, 0}, {x64, x32 | 1, nil, 0}},
		},
		{
			"every action",
			`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL"},{"names":["write"],"action":"SCMP_ACT_KILL_THREAD"},
			{"names":["open"],"action":"SCMP_ACT_KILL_PROCESS"},{"names":["close"],"action":"SCMP_ACT_TRAP"},{"names":["stat"],"action":"SCMP_ACT_ERRNO"},
			{"names":["fstat"],"action":"SCMP_ACT_ERRNO","errnoRet":0},{"names":["lstat"],"action":"SCMP_ACT_TRACE"},{"names":["poll"],"action":"SCMP_ACT_TRACE","errnoRet":1234},
			{"names":["lseek"],"action":"SCMP_ACT_LOG"},{"names":["mmap"],"action":"SCMP_ACT_NOTIFY"}],"listenerPath":"/agent"}`,
			[]call{
				{x64, 0, nil, 0},
				{x64, 1, nil, 0},
				{x64, 2, nil, 0x80000000},
				{x64, 3, nil, 0x00030000},
				{x64, 4, nil, eperm},
				{x64, 5, nil, 0x00050000},
				{x64, 6, nil, 0x7ff00001},
				{x64, 7, nil, 0x7ff004d2},
				{x64, 8, nil, 0x7ffc0000},
				{x64, 9, nil, 0x7fc00000},
				{x64, 10, nil, allow},
				{x64, 1000, nil, allow}, // a permissive default has no ENOSYS
			},
		},
		{
			"ENOSYS starts behind the newest call named, whatever the rule says; unknown names do not count",
			`{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"],"syscalls":[{"names":["read","no_such_call"],"action":"SCMP_ACT_ALLOW"},
			{"names":["setns"],"action":"SCMP_ACT_ERRNO"}]}`,
			[]call{
				{x64, 0, nil, allow},
				{x64, 308, nil, eperm},
				{x64, 309, nil, enosys},
				{x64, 0x3fffffff, nil, enosys},
				{x64, 0x80000000, nil, enosys},
				{x64, x32, nil, allow},
				{x64, x32 | 308, nil, eperm},
				{x64, x32 | 309, nil, enosys},
				{x64, 0xffffffff, nil, enosys},
				{i386, 3, nil, allow},
				{i386, 346, nil, eperm},
				{i386, 347, nil, enosys},
			},
		},
		{
			"KILL as default: probes of new calls live",
			`{"defaultAction":"SCMP_ACT_KILL","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}`,
			[]call{{x64, 0, nil, allow}, {x64, 1, nil, enosys}},
		},
		{
			"x32 has numbers of its own",
			`{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X32"],"syscalls":[{"names":["execve"],"action":"SCMP_ACT_ERRNO"}]}`,
			[]call{{x64, 59, nil, eperm}, {x64, x32 | 59, nil, allow}, {x64, x32 | 520, nil, eperm}, {x64, 520, nil, allow}},
		},
		{
			"without x32 its calls kill, but -1 is a tracer's",
			`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["execve"],"action":"SCMP_ACT_ERRNO"}]}`,
			[]call{{x64, x32 | 59, nil, 0}, {x64, x32, nil, 0}, {x64, 0xfffffffe, nil, 0}, {x64, 0xffffffff, nil, allow}},
		},
		{
			"operators on 64 bits",
			`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
			{"names":["read"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"op":"SCMP_CMP_EQ","value":4294967301}]},
			{"names":["write"],"action":"SCMP_ACT_ERRNO","args":[{"index":1,"op":"SCMP_CMP_NE","value":4294967301}]},
			{"names":["open"],"action":"SCMP_ACT_ERRNO","args":[{"index":2,"op":"SCMP_CMP_LT","value":4294967301}]},
			{"names":["close"],"action":"SCMP_ACT_ERRNO","args":[{"index":3,"op":"SCMP_CMP_LE","value":4294967301}]},
			{"names":["stat"],"action":"SCMP_ACT_ERRNO","args":[{"index":4,"op":"SCMP_CMP_GE","value":4294967301}]},
			{"names":["fstat"],"action":"SCMP_ACT_ERRNO","args":[{"index":5,"op":"SCMP_CMP_GT","value":4294967301}]},
			{"names":["lstat"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"op":"SCMP_CMP_MASKED_EQ","value":4294967303,"valueTwo":21474836485}]}]}`,
			[]call{
				{x64, 0, []uint64{0x100000005}, eperm},
				{x64, 0, []uint64{5}, allow},
				{x64, 0, []uint64{0x100000004}, allow},
				{x64, 1, []uint64{0, 0x100000005}, allow},
				{x64, 1, []uint64{0, 5}, eperm},
				{x64, 1, []uint64{0, 0x100000004}, eperm},
				{x64, 2, []uint64{0, 0, 0x100000004}, eperm},
				{x64, 2, []uint64{0, 0, 0x100000005}, allow},
				{x64, 2, []uint64{0, 0, 0x200000000}, allow},
				{x64, 2, []uint64{0, 0, 0xffffffff}, eperm},
				{x64, 3, []uint64{0, 0, 0, 0x100000005}, eperm},
				{x64, 3, []uint64{0, 0, 0, 0x100000006}, allow},
				{x64, 3, []uint64{0, 0, 0, 0xffffffff}, eperm},
				{x64, 4, []uint64{0, 0, 0, 0, 0x100000005}, eperm},
				{x64, 4, []uint64{0, 0, 0, 0, 0x100000004}, allow},
				{x64, 4, []uint64{0, 0, 0, 0, 0x200000000}, eperm},
				{x64, 5, []uint64{0, 0, 0, 0, 0, 0x100000005}, allow},
				{x64, 5, []uint64{0, 0, 0, 0, 0, 0x100000006}, eperm},
				{x64, 5, []uint64{0, 0, 0, 0, 0, 0xffffffff}, allow},
				{x64, 6, []uint64{0xf1000000f5}, eperm},
				{x64, 6, []uint64{0xf5}, allow},
				{x64, 6, []uint64{0x1000000f4}, allow}, // valueTwo is masked
			},
		},
		{
			"32-bit ABIs compare the low half",
			`{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"op":"SCMP_CMP_EQ","value":4294967301}]},
			{"names":["close"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"op":"SCMP_CMP_MASKED_EQ","value":18446744069414584320,"valueTwo":1}]}]}`,
			[]call{{i386, 3, []uint64{5}, eperm}, {i386, 3, []uint64{0x100000005}, eperm}, {x64, 0, []uint64{5}, allow}, {i386, 6, []uint64{7}, eperm}, {x64, 3, []uint64{1 << 40}, allow}},
		},
		{
			"one rule's conditions are ANDed, an argument named twice makes alternatives, rules are alternatives",
			`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
			{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":1,"op":"SCMP_CMP_EQ","value":2},{"index":0,"op":"SCMP_CMP_EQ","value":1}]},
			{"names":["write"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"op":"SCMP_CMP_EQ","value":1},{"index":0,"op":"SCMP_CMP_EQ","value":2},{"index":1,"op":"SCMP_CMP_EQ","value":3}]},
			{"names":["open"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"op":"SCMP_CMP_EQ","value":1}]},
			{"names":["open"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"op":"SCMP_CMP_EQ","value":2}]}]}`,
			[]call{
				{x64, 0, []uint64{1, 2}, allow},
				{x64, 0, []uint64{1, 3}, eperm},
				{x64, 0, []uint64{2, 2}, eperm},
				{x64, 1, []uint64{1, 0}, allow},
				{x64, 1, []uint64{2, 0}, allow},
				{x64, 1, []uint64{0, 3}, allow},
				{x64, 1, []uint64{0, 0}, eperm},
				{x64, 2, []uint64{1}, allow},
				{x64, 2, []uint64{2}, allow},
				{x64, 2, []uint64{3}, eperm},
			},
		},
		{
			"the first rule without arguments decides alone",
			`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
			{"names":["read"],"action":"SCMP_ACT_KILL","args":[{"index":0,"op":"SCMP_CMP_EQ","value":1}]},
			{"names":["read","write"],"action":"SCMP_ACT_ALLOW"},
			{"names":["read","write"],"action":"SCMP_ACT_TRAP"},
			{"names":["write"],"action":"SCMP_ACT_ERRNO"}]}`,
			[]call{{x64, 0, []uint64{1}, allow}, {x64, 1, nil, allow}},
		},
		{
			"overlapping alternatives: later argument, then equality, then the narrower bound",
			`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
			{"names":["read"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"op":"SCMP_CMP_EQ","value":1}]},
			{"names":["read"],"action":"SCMP_ACT_LOG","args":[{"index":1,"op":"SCMP_CMP_EQ","value":1}]},
			{"names":["write"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"op":"SCMP_CMP_GT","value":1}]},
			{"names":["write"],"action":"SCMP_ACT_LOG","args":[{"index":0,"op":"SCMP_CMP_GT","value":5}]},
			{"names":["write"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"op":"SCMP_CMP_EQ","value":9}]},
			{"names":["open"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"op":"SCMP_CMP_LT","value":9}]},
			{"names":["open"],"action":"SCMP_ACT_LOG","args":[{"index":0,"op":"SCMP_CMP_LT","value":5}]}]}`,
			[]call{
				{x64, 0, []uint64{1, 1}, 0x7ffc0000},
				{x64, 0, []uint64{1, 0}, 0x00030000},
				{x64, 1, []uint64{3}, 0x00030000},
				{x64, 1, []uint64{6}, 0x7ffc0000},
				{x64, 1, []uint64{9}, eperm},
				{x64, 2, []uint64{6}, 0x00030000},
				{x64, 2, []uint64{4}, 0x7ffc0000},
			},
		},
		{
			"socketcall and ipc carry calls on i386",
			`{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[{"names":["fsync","socket","shmat","clone3"],"action":"SCMP_ACT_ALLOW"}]}`,
			[]call{{i386, 102, []uint64{1}, allow}, {i386, 102, []uint64{2}, eperm}, {i386, 117, []uint64{21}, allow}, {i386, 117, []uint64{22}, eperm}, {i386, 359, nil, allow}, {i386, 397, nil, allow}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s specs.LinuxSeccomp
			if err := json.Unmarshal([]byte(test.profile), &s); err != nil {
				t.Fatal(err)
			}
			f, err := compileSeccompFor("amd64", &s)
			if err != nil {
				t.Fatal(err)
			}
			checkSeccomp(t, f.prog)
			for _, c := range test.calls {
				call := seccompCall{arch: c.arch, nr: c.nr}
				copy(call.args[:], c.args)
				if got := runSeccomp(t, f.prog, call); got != c.want {
					t.Errorf("arch %#x call %d args %#x: %#x, want %#x", c.arch, c.nr, c.args, got, c.want)
				}
			}
		})
	}
}

func TestSeccompArm64(t *testing.T) {
	f, err := compileSeccompFor("arm64", &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno,
		Architectures: []specs.Arch{specs.ArchAARCH64, specs.ArchARM, specs.ArchX86},
		Syscalls:      []specs.LinuxSyscall{{Names: []string{"write", "set_tls"}, Action: specs.ActAllow}},
	})
	if err != nil {
		t.Fatal(err)
	}
	checkSeccomp(t, f.prog)
	for _, c := range []struct{ arch, nr, want uint32 }{
		{unix.AUDIT_ARCH_AARCH64, 64, 0x7fff0000},
		{unix.AUDIT_ARCH_AARCH64, 63, 0x00050001},
		{unix.AUDIT_ARCH_AARCH64, 65, 0x00050026},
		{unix.AUDIT_ARCH_ARM, 4, 0x7fff0000},
		{unix.AUDIT_ARCH_ARM, 0xf0005, 0x7fff0000},
		{unix.AUDIT_ARCH_ARM, 0xf0004, 0x00050001},
		{unix.AUDIT_ARCH_I386, 4, 0},
	} {
		if got := runSeccomp(t, f.prog, seccompCall{arch: c.arch, nr: c.nr}); got != c.want {
			t.Errorf("arch %#x call %d: %#x, want %#x", c.arch, c.nr, got, c.want)
		}
	}
	if _, err := compileSeccompFor("mips", &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}); err == nil {
		t.Error("mips compiles, without a table")
	}
}

func TestSeccompFlags(t *testing.T) {
	const notify = `"syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}],"listenerPath":"/agent"`
	for profile, want := range map[string]seccompFilter{
		`{"defaultAction":"SCMP_ACT_ALLOW"}`:                                       {flags: unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		`{"defaultAction":"SCMP_ACT_ALLOW","flags":[]}`:                            {},
		`{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_TSYNC"]}`: {},
		`{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG"]}`:   {flags: unix.SECCOMP_FILTER_FLAG_LOG},
		`{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/unused"}`:              {flags: unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		`{"defaultAction":"SCMP_ACT_ALLOW","flags":[],` + notify + `}`:             {flags: unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, notify: true},
		`{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_SPEC_ALLOW","SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],` + notify + `}`: {
			flags: unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW | unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, notify: true,
		},
	} {
		var s specs.LinuxSeccomp
		if err := json.Unmarshal([]byte(profile), &s); err != nil {
			t.Fatal(err)
		}
		if got, err := compileSeccomp(&s); err != nil || got.flags != want.flags || got.notify != want.notify || len(got.prog) == 0 {
			t.Errorf("%s: flags %#x notify %v, %d instructions, error %v; want %#x, %v", profile, got.flags, got.notify, len(got.prog), err, want.flags, want.notify)
		}
	}
	for _, s := range []*specs.LinuxSeccomp{nil, {}} {
		if f, err := compileSeccomp(s); err != nil || f.prog != nil {
			t.Errorf("%v is a filter of %d instructions, error %v", s, len(f.prog), err)
		}
	}
}

func TestSeccompRefuses(t *testing.T) {
	rule := func(text string) string { return `{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[` + text + `]}` }
	for profile, want := range map[string]string{
		`{"defaultAction":"SCMP_ACT_FOO"}`:                                                           `seccomp: defaultAction: unknown action "SCMP_ACT_FOO": one of SCMP_ACT_ALLOW SCMP_ACT_ERRNO `,
		`{"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}`:                                `seccomp: defaultAction: unknown action "": one of `,
		`{"defaultAction":"SCMP_ACT_NOTIFY","listenerPath":"/agent"}`:                                `SCMP_ACT_NOTIFY cannot be used as default action`,
		`{"defaultAction":"SCMP_ACT_KILL","defaultErrnoRet":1}`:                                      `seccomp: defaultAction: errnoRet 1 with action SCMP_ACT_KILL: only SCMP_ACT_ERRNO and SCMP_ACT_TRACE take one`,
		`{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}`:                                  `errnoRet 4096 with action SCMP_ACT_ERRNO: at most 4095`,
		`{"defaultAction":"SCMP_ACT_ALLOW","architectures":["x86"]}`:                                 `seccomp: unknown architecture "x86": one of SCMP_ARCH_AARCH64 `,
		`{"defaultAction":"SCMP_ACT_ALLOW","flags":["LOG"]}`:                                         `seccomp: unknown flag "LOG": one of SECCOMP_FILTER_FLAG_LOG `,
		`{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}`:      `needs a rule with SCMP_ACT_NOTIFY`,
		rule(`{"names":["read"],"action":"allow"}`):                                                  `seccomp: syscalls[0]: unknown action "allow": one of `,
		rule(`{"names":[""],"action":"SCMP_ACT_ALLOW"}`):                                             `seccomp: syscalls[0]: empty name`,
		rule(`{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":6,"op":"SCMP_CMP_EQ"}]}`): `argument index 6: system calls have arguments 0 to 5`,
		rule(`{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"op":"EQ"}]}`):          `unknown operator "EQ": one of SCMP_CMP_EQ `,
		rule(`{"names":["write"],"action":"SCMP_ACT_NOTIFY"}`):                                       `SCMP_ACT_NOTIFY cannot be used for the write syscall`,
		rule(`{"names":["read"],"action":"SCMP_ACT_NOTIFY"}`):                                        `SCMP_ACT_NOTIFY needs listenerPath`,
		rule(`{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"op":"SCMP_CMP_EQ"}]},
		{"names":["read"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"op":"SCMP_CMP_EQ"}]}`): `system call 0: two rules with the same arguments and different actions`,
	} {
		var s specs.LinuxSeccomp
		if err := json.Unmarshal([]byte(profile), &s); err != nil {
			t.Fatal(err)
		}
		if _, err := compileSeccompFor("amd64", &s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n got: %v\nwant: %s", profile, err, want)
		}
	}

	var many []specs.LinuxSyscall
	for i := range uint64(3000) {
		many = append(many, specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Value: i * 3, Op: specs.OpNotEqual}}})
	}
	_, err := compileSeccompFor("amd64", &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: many})
	if err == nil || !strings.Contains(err.Error(), "the kernel takes at most 4096") {
		t.Errorf("3000 alternatives: %v", err)
	}
}

// A long program needs jumps over more than 255 instructions, to rules, returns and architectures.
func TestSeccompLong(t *testing.T) {
	s := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86, specs.ArchX32}}
	for i, name := range seccompNames(1000) {
		errno := uint(i)
		s.Syscalls = append(s.Syscalls, specs.LinuxSyscall{Names: []string{name}, Action: specs.ActErrno, ErrnoRet: &errno})
		if i%3 == 0 {
			s.Syscalls[i].Args = []specs.LinuxSeccompArg{{Index: 1, Op: specs.OpGreaterThan, Value: 1<<32 + 5}}
		}
	}
	f, err := compileSeccompFor("amd64", s)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.prog) < 2000 {
		t.Errorf("only %d instructions", len(f.prog))
	}
	checkSeccomp(t, f.prog)
	compareSeccomp(t, rand.New(rand.NewPCG(1, 1)), s, f.prog, 20000)
}

// Docker's profile: for every number of every ABI, and small enough.
func TestSeccompDocker(t *testing.T) {
	s := dockerSeccomp(t)
	f, err := compileSeccompFor("amd64", s)
	if err != nil {
		t.Fatal(err)
	}
	checkSeccomp(t, f.prog)
	t.Logf("%d instructions", len(f.prog))
	if len(f.prog) > 400 {
		t.Errorf("%d instructions, want at most 400", len(f.prog))
	}
	ref := newSeccompReference(s)
	for _, arch := range []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_AARCH64} {
		for _, high := range []uint32{0, 1 << 30, 1 << 31, 3 << 30} {
			for nr := range uint32(600) {
				c := seccompCall{arch: arch, nr: nr | high}
				if got, want := runSeccomp(t, f.prog, c), ref.wants(c); got != want[0] {
					t.Errorf("arch %#x call %#x: %#x, want %#x", arch, c.nr, got, want)
				}
			}
		}
	}
	compareSeccomp(t, rand.New(rand.NewPCG(2, 2)), s, f.prog, 50000)
}

func TestSeccompRandom(t *testing.T) {
	names := append(seccompNames(1000), "unknown_call")
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 3))
		s := randomSeccompProfile(r, names, seed%3 == 0)
		f, err := compileSeccompFor("amd64", s)
		if err != nil {
			if !strings.Contains(err.Error(), "two rules with the same arguments") {
				t.Errorf("seed %d: %v", seed, err)
			}
			continue
		}
		checkSeccomp(t, f.prog)
		compareSeccomp(t, r, s, f.prog, 400)
	}
}

// A name that the table does not have is skipped: in the VMM's list that would be a typing error.
func TestSeccompVMM(t *testing.T) {
	for _, vm := range []vmConfig{{Network: "none"}, {Network: "user", Share: "root"}, {Network: "auto"}, {Network: "none", Accel: "kvm"}, {Network: "shared", Accel: "kvm"}} {
		s := vmmSeccomp(&vm)
		for _, block := range s.Syscalls {
			for _, name := range block.Names {
				if new(seccompTable).find(name)[1] < 0 {
					t.Errorf("x86_64 has no system call %q", name)
				}
			}
		}
		f, err := compileSeccompFor("amd64", s)
		if err != nil {
			t.Fatal(err)
		}
		checkSeccomp(t, f.prog)
		compareSeccomp(t, rand.New(rand.NewPCG(3, 3)), s, f.prog, 5000)
		kvm, tap := vm.Accel == "kvm", vm.usesTap()
		for _, x := range []struct {
			name    string
			nr      uint32
			args    [6]uint64
			allowed bool
		}{
			// Under KVM nothing of what QEMU asks for may be missing. Its requests are an int there, whose sign is extended.
			{"KVM_GET_API_VERSION", unix.SYS_IOCTL, [6]uint64{9, 0xae00}, kvm},
			{"KVM_RUN", unix.SYS_IOCTL, [6]uint64{9, 0xae80}, kvm},
			{"KVM_SET_USER_MEMORY_REGION2", unix.SYS_IOCTL, [6]uint64{9, 0x40a0ae49}, kvm},
			{"KVM_GET_MSRS", unix.SYS_IOCTL, [6]uint64{9, 0xffffffffc008ae88}, kvm},
			{"VHOST_SET_OWNER", unix.SYS_IOCTL, [6]uint64{vmmVhost, 0xaf01}, kvm && tap},
			{"VHOST_GET_FEATURES", unix.SYS_IOCTL, [6]uint64{vmmVhost, 0xffffffff8008af00}, kvm && tap},
			{"TUNSETOFFLOAD", unix.SYS_IOCTL, [6]uint64{vmmTap, unix.TUNSETOFFLOAD}, tap},
			{"TUNSETPERSIST", unix.SYS_IOCTL, [6]uint64{vmmTap, unix.TUNSETPERSIST}, false},
			{"SIOCSIFHWADDR", unix.SYS_IOCTL, [6]uint64{vmmTap, unix.SIOCSIFHWADDR}, false},
			{"PR_MCE_KILL", unix.SYS_PRCTL, [6]uint64{unix.PR_MCE_KILL}, true},
			{"PR_SET_PDEATHSIG", unix.SYS_PRCTL, [6]uint64{1<<32 | unix.PR_SET_PDEATHSIG}, false},
			{"SIGUSR1 for a virtual CPU", unix.SYS_TGKILL, [6]uint64{2, 3, 10}, true},
			{"SIGKILL", unix.SYS_TGKILL, [6]uint64{2, 3, 9}, false},
			{"close", unix.SYS_CLOSE, [6]uint64{1<<32 | 255}, true},
			{"close of what is kept", unix.SYS_CLOSE, [6]uint64{1<<32 | uint64(vm.maxFiles())}, false},
		} {
			if got := runSeccomp(t, f.prog, seccompCall{unix.AUDIT_ARCH_X86_64, x.nr, x.args}) == unix.SECCOMP_RET_ALLOW; got != x.allowed {
				t.Errorf("network %s, accel %q: %s: allowed is %v", vm.Network, vm.Accel, x.name, got)
			}
		}
		t.Logf("network %s, accel %q: %d instructions", vm.Network, vm.Accel, len(f.prog))
	}
}

// QEMU's descriptors: in the network of mode user each connection needs one, and 10 KiB.
func TestVMMFiles(t *testing.T) {
	for _, x := range []struct {
		network string
		needs   int
		want    uint32
	}{{"user", 64, 256}, {"user", 128, 512}, {"user", 256, 1024}, {"user", 1118, 4096}, {"user", 1 << 20, 4096}, {"shared", 1118, 256}, {"none", 64, 256}} {
		if got := (&vmConfig{Network: x.network, NeedsMiB: x.needs}).maxFiles(); got != x.want {
			t.Errorf("network %s, a machine of %d MiB: %d descriptors, want %d", x.network, x.needs, got, x.want)
		}
	}
}

// What stands beside QEMU has of these calls what it needs, too: a broken-out QEMU can send virtiofsd its tap, and the keeper has CAP_KILL.
func TestSeccompBesideVMM(t *testing.T) {
	for _, x := range []struct {
		name             string
		profile          *specs.LinuxSeccomp
		allowed, refused []seccompCall
	}{
		{
			"virtiofsd", shareSeccomp(),
			[]seccompCall{
				{nr: unix.SYS_IOCTL, args: [6]uint64{3, unix.TCGETS}},
				{nr: unix.SYS_FCNTL, args: [6]uint64{3, unix.F_OFD_SETLK}},
				{nr: unix.SYS_PRCTL, args: [6]uint64{unix.PR_CAPBSET_DROP, 1}},
			},
			[]seccompCall{
				{nr: unix.SYS_IOCTL, args: [6]uint64{3, unix.TUNSETPERSIST, 1}},
				{nr: unix.SYS_IOCTL, args: [6]uint64{3, 1<<32 | unix.TUNSETPERSIST, 1}},
				{nr: unix.SYS_IOCTL, args: [6]uint64{3, unix.FS_IOC_SETFLAGS}},
				{nr: unix.SYS_FCNTL, args: [6]uint64{3, unix.F_SETLEASE}},
				{nr: unix.SYS_FCNTL, args: [6]uint64{3, unix.F_SETSIG, 9}},
				{nr: unix.SYS_PRCTL, args: [6]uint64{unix.PR_SET_PDEATHSIG}},
				{nr: unix.SYS_PRLIMIT64, args: [6]uint64{1, unix.RLIMIT_NOFILE}},
			},
		},
		{
			"keeper", keeperSeccomp(99),
			[]seccompCall{
				{nr: unix.SYS_IOCTL, args: [6]uint64{0, unix.TCSETS}},
				{nr: unix.SYS_FCNTL, args: [6]uint64{3, unix.F_SETFL}},
				{nr: unix.SYS_TGKILL, args: [6]uint64{1, 2, uint64(unix.SIGURG)}},
			},
			[]seccompCall{
				{nr: unix.SYS_IOCTL, args: [6]uint64{0, unix.TIOCSTI}},
				{nr: unix.SYS_FCNTL, args: [6]uint64{3, unix.F_SETOWN, 7}},
				{nr: unix.SYS_TGKILL, args: [6]uint64{7, 7, uint64(unix.SIGKILL)}},
				{nr: unix.SYS_PRLIMIT64, args: [6]uint64{7, unix.RLIMIT_CPU}},
				{nr: unix.SYS_PRCTL, args: [6]uint64{unix.PR_SET_PDEATHSIG}},
			},
		},
	} {
		for _, block := range x.profile.Syscalls {
			for _, name := range block.Names {
				if new(seccompTable).find(name)[1] < 0 {
					t.Errorf("%s: x86_64 has no system call %q", x.name, name)
				}
			}
		}
		f, err := compileSeccompFor("amd64", x.profile)
		if err != nil {
			t.Fatal(err)
		}
		checkSeccomp(t, f.prog)
		for _, want := range []bool{true, false} {
			calls := x.refused
			if want {
				calls = x.allowed
			}
			for _, c := range calls {
				c.arch = unix.AUDIT_ARCH_X86_64
				if got := runSeccomp(t, f.prog, c) == unix.SECCOMP_RET_ALLOW; got != want {
					t.Errorf("%s: call %d with %#x: allowed is %v", x.name, c.nr, c.args, got)
				}
			}
		}
	}
}

func FuzzCompileSeccomp(f *testing.F) {
	docker, err := json.Marshal(dockerSeccomp(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(docker, uint64(1))
	names := seccompNames(1000)
	for seed := range uint64(8) { // each of them has arguments, several architectures and multiplexed calls
		text, _ := json.Marshal(randomSeccompProfile(rand.New(rand.NewPCG(seed, 4)), names, seed%2 == 0))
		f.Add(text, seed)
	}
	f.Add([]byte(`{"defaultAction":"SCMP_ACT_ALLOW","flags":[],"listenerPath":"/a","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}`), uint64(2))
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		var s specs.LinuxSeccomp
		if json.Unmarshal(text, &s) != nil || len(s.Syscalls) > 100 {
			return
		}
		filter, err := compileSeccompFor("amd64", &s)
		if err != nil || s.DefaultAction == "" {
			return
		}
		checkSeccomp(t, filter.prog)
		compareSeccomp(t, rand.New(rand.NewPCG(seed, 5)), &s, filter.prog, 50)
	})
}

func BenchmarkCompileSeccomp(b *testing.B) {
	s := dockerSeccomp(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := compileSeccompFor("amd64", s); err != nil {
			b.Fatal(err)
		}
	}
}
