// The BPF program of a seccomp profile: this file cuts the call numbers of each architecture into spans with one
// treatment, and assembles the spans into a binary tree with the rules on arguments at its leaves. seccomp.go says
// what the program means. A tree of merged spans loads ten times faster than a chain of comparisons: the kernel
// walks it once for every call number to find out which calls it can let pass unseen.

package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	seccompENOSYS  = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	seccompX32     = 0x40000000 // the bit that marks x32 calls, which share x86_64's seccomp_data.arch
	seccompMaxProg = 4096       // BPF_MAXINSNS
)

// seccompSpan is a stretch of call numbers, up to the next span's first one, that are treated alike.
type seccompSpan struct {
	first uint32
	ret   uint32
	rules []*seccompRule // tried before ret
}

// seccompSpans cuts the ABI's numbers into spans, in order, and appends them. Equal neighbours are merged.
func seccompSpans(spans []seccompSpan, abi *seccompABI, rules []seccompRule, def uint32, enosys bool) ([]seccompSpan, error) {
	enosys = enosys && abi.named
	spans = seccompPut(spans, seccompSpan{first: abi.bit, ret: def})
	slices.Sort(abi.rules)
	for keys := abi.rules; len(keys) > 0; {
		span := seccompSpan{first: uint32(keys[0] >> 32), ret: def}
		n := 0
		for alone := false; n < len(keys) && uint32(keys[n]>>32) == span.first; n++ {
			switch rule := &rules[uint32(keys[n])]; {
			case alone:
			case len(rule.conds) == 0:
				span.ret, span.rules, alone = rule.ret, nil, true
			default:
				span.rules = append(span.rules, rule)
			}
		}
		keys = keys[n:]
		if enosys && span.first > abi.last|abi.bit {
			break
		}
		if err := seccompOrder(&span); err != nil {
			return nil, err
		}
		spans = seccompPut(spans, span)
		spans = seccompPut(spans, seccompSpan{first: span.first + 1, ret: def})
	}
	if enosys {
		spans = seccompPut(spans, seccompSpan{first: (abi.last | abi.bit) + 1, ret: seccompENOSYS})
	}
	return spans, nil
}

// seccompPut appends a span, which replaces one that starts at the same number.
func seccompPut(spans []seccompSpan, s seccompSpan) []seccompSpan {
	if n := len(spans); n > 0 && spans[n-1].first == s.first {
		spans = spans[:n-1]
	}
	if n := len(spans); n > 0 && s.rules == nil && spans[n-1].rules == nil && spans[n-1].ret == s.ret {
		return spans
	}
	return append(spans, s)
}

// seccompOrder sorts the alternatives for one call and drops repeated ones.
func seccompOrder(span *seccompSpan) error {
	if len(span.rules) < 2 {
		return nil
	}
	slices.SortStableFunc(span.rules, func(a, b *seccompRule) int { return seccompCompare(a.conds, b.conds) })
	for i := 1; i < len(span.rules); i++ {
		if a, b := span.rules[i-1], span.rules[i]; a.ret != b.ret && slices.Equal(a.conds, b.conds) {
			return fmt.Errorf("system call %d: two rules with the same arguments and different actions", span.first)
		}
	}
	span.rules = slices.CompactFunc(span.rules, func(a, b *seccompRule) bool { return slices.Equal(a.conds, b.conds) })
	return nil
}

// seccompCompare says which of two alternatives is tried first. It matters only where both match and their actions differ; the
// order is libseccomp's: later arguments first, equality before upper before lower bounds, the narrower bound first.
func seccompCompare(a, b []seccompCond) int {
	for i := range min(len(a), len(b)) {
		x, y := a[i], b[i]
		order := cmp.Or(cmp.Compare(y.arg, x.arg), cmp.Compare(seccompClass(y.op), seccompClass(x.op)), cmp.Compare(y.value, x.value))
		if order != 0 && x.arg == y.arg && seccompClass(x.op) == 2 && seccompClass(y.op) == 2 {
			order = -order
		}
		if order != 0 {
			return order
		}
	}
	return cmp.Compare(len(a), len(b))
}

func seccompClass(op specs.LinuxSeccompOperator) int {
	switch op {
	case specs.OpEqualTo, specs.OpNotEqual:
		return 3
	case specs.OpLessThan, specs.OpLessEqual:
		return 2
	}
	return 1
}

// seccompAssemble builds the program: by architecture, then down a binary tree over the call numbers, then through the rules
// on arguments. abis is in seccompABIs's order.
func seccompAssemble(abis []seccompABI, rules []seccompRule, def uint32) ([]unix.SockFilter, error) {
	asm := seccompAsm{code: make([]unix.SockFilter, 0, 512)}
	start := seccompTarget{at: -1, ret: unix.SECCOMP_RET_KILL_THREAD} // what no ABI claims
	for len(abis) > 0 {
		n := 1
		for n < len(abis) && abis[n].audit == abis[0].audit {
			n++
		}
		spans, err := seccompArch(abis[:n], rules, def)
		if err != nil {
			return nil, err
		}
		root := asm.load(0, asm.tree(spans, seccompPieces(spans))) // seccomp_data.nr
		start = asm.jump(unix.BPF_JEQ, abis[0].audit, root, start)
		abis = abis[n:]
	}
	asm.load(4, start) // seccomp_data.arch
	if len(asm.code) > seccompMaxProg {
		return nil, fmt.Errorf("the filter has %d instructions: the kernel takes at most %d", len(asm.code), seccompMaxProg)
	}
	slices.Reverse(asm.code)
	return asm.code, nil
}

// seccompArch returns the spans for one seccomp_data.arch: that of the one ABI, or of x86_64 with or without x32.
func seccompArch(abis []seccompABI, rules []seccompRule, def uint32) ([]seccompSpan, error) {
	enosys := def != seccompENOSYS
	switch def & unix.SECCOMP_RET_ACTION_FULL {
	case unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_LOG, unix.SECCOMP_RET_TRACE:
		enosys = false
	}
	spans := make([]seccompSpan, 0, 128)
	for i := range abis {
		var err error
		if spans, err = seccompSpans(spans, &abis[i], rules, def, enosys); err != nil {
			return nil, err
		}
	}
	if abis[0].audit != unix.AUDIT_ARCH_X86_64 {
		return spans, nil
	}
	// Above x86_64's numbers come x32's, and above those no one's, in which bit 30 still tells the two apart. A call through an
	// uncovered x32 kills like any uncovered ABI, but -1 is how a tracer says "skip this call".
	const kill = unix.SECCOMP_RET_KILL_THREAD
	above, aboveX32 := uint32(kill), uint32(kill)
	if len(abis) == 2 {
		above, aboveX32 = def, def
		if enosys && abis[1].named {
			aboveX32 = seccompENOSYS
		}
	} else {
		spans = seccompPut(spans, seccompSpan{first: seccompX32, ret: kill})
	}
	if enosys && abis[0].named {
		above = seccompENOSYS
	}
	spans = seccompPut(spans, seccompSpan{first: 1 << 31, ret: above})
	spans = seccompPut(spans, seccompSpan{first: 1<<31 | seccompX32, ret: aboveX32})
	if len(abis) == 1 {
		spans = seccompPut(spans, seccompSpan{first: 0xffffffff, ret: def})
	}
	return spans, nil
}

// seccompAsm writes a program from its last instruction to its first. BPF only jumps forward, so all targets of a jump are
// already in place and its distances are known; golang.org/x/net/bpf would want the same distances and allocate each
// instruction besides. Conditional jumps reach 255 instructions far; what is farther is bridged.
type seccompAsm struct {
	code []unix.SockFilter // last instruction first
	rets []seccompTarget   // the returns placed so far
}

// seccompTarget is where a jump leads: the instruction code[at], or, with at < 0, any "return ret".
type seccompTarget struct {
	at  int
	ret uint32
}

// seccompPiece is a part of the spans: spans[from], and up to spans[to-1] by turns single numbers amid it and its continuation.
type seccompPiece struct{ from, to int }

// seccompPieces divides the spans into pieces. A single number amid equal neighbours takes one JEQ instead of two JGE, but such
// tests come one after the other: a few to a piece, then the tree goes on.
func seccompPieces(spans []seccompSpan) []seccompPiece {
	const few = 5
	pieces := make([]seccompPiece, 0, len(spans))
	for from := 0; from < len(spans); {
		to := from + 1
		for to+1 < len(spans) && to < from+2*few && spans[from].rules == nil && spans[to+1].rules == nil &&
			spans[to+1].ret == spans[from].ret && spans[to+1].first == spans[to].first+1 {
			to += 2
		}
		pieces = append(pieces, seccompPiece{from, to})
		from = to
	}
	return pieces
}

// tree places the decision among pieces on the loaded call number.
func (a *seccompAsm) tree(spans []seccompSpan, pieces []seccompPiece) seccompTarget {
	if len(pieces) > 1 {
		mid := len(pieces) / 2
		above := a.tree(spans, pieces[mid:])
		below := a.tree(spans, pieces[:mid])
		return a.jump(unix.BPF_JGE, spans[pieces[mid].from].first, above, below)
	}
	next := a.leaf(&spans[pieces[0].from])
	for i := pieces[0].to - 2; i > pieces[0].from; i -= 2 {
		next = a.jump(unix.BPF_JEQ, spans[i].first, a.leaf(&spans[i]), next)
	}
	return next
}

// leaf places the rules of a span.
func (a *seccompAsm) leaf(span *seccompSpan) seccompTarget {
	next := seccompTarget{at: -1, ret: span.ret}
	for end := len(span.rules); end > 0; {
		start := end - 1
		for start > 0 && seccompSameWord(span.rules[start-1].conds, span.rules[end-1].conds) {
			start--
		}
		if end-start > 1 {
			next = a.values(span.rules[start:end], next)
		} else {
			yes := seccompTarget{at: -1, ret: span.rules[start].ret}
			for _, c := range slices.Backward(span.rules[start].conds) {
				yes = a.cond(c, yes, next)
			}
			next = yes
		}
		end = start
	}
	return next
}

// seccompSameWord tells whether both alternatives only want the same argument to equal something with the same high word.
func seccompSameWord(a, b []seccompCond) bool {
	return len(a) == 1 && len(b) == 1 && a[0].op == specs.OpEqualTo && b[0].op == specs.OpEqualTo &&
		a[0].arg == b[0].arg && a[0].mask == b[0].mask && a[0].value>>32 == b[0].value>>32
}

// values places alternatives of which seccompSameWord holds: the argument is loaded once for all of them.
func (a *seccompAsm) values(rules []*seccompRule, no seccompTarget) seccompTarget {
	c := rules[0].conds[0]
	next := no
	for _, rule := range slices.Backward(rules) {
		next = a.jump(unix.BPF_JEQ, uint32(rule.conds[0].value), seccompTarget{at: -1, ret: rule.ret}, next)
	}
	return a.high(c, unix.BPF_JEQ, a.low(c, next), no, no)
}

// cond places the test of one argument.
func (a *seccompAsm) cond(c seccompCond, yes, no seccompTarget) seccompTarget {
	op := uint16(unix.BPF_JEQ)
	switch c.op {
	case specs.OpNotEqual:
		yes, no = no, yes
	case specs.OpLessThan:
		op, yes, no = unix.BPF_JGE, no, yes
	case specs.OpGreaterEqual:
		op = unix.BPF_JGE
	case specs.OpLessEqual:
		op, yes, no = unix.BPF_JGT, no, yes
	case specs.OpGreaterThan:
		op = unix.BPF_JGT
	}
	if yes == no {
		return yes
	}
	next := yes
	if uint32(c.mask) != 0 {
		next = a.low(c, a.jump(op, uint32(c.value), yes, no))
	}
	return a.high(c, op, next, yes, no)
}

// low places the loading of the argument's low word. Both hosts are little-endian.
func (a *seccompAsm) low(c seccompCond, next seccompTarget) seccompTarget {
	return a.load(16+8*c.arg, a.and(uint32(c.mask), next))
}

// high places the test of the argument's high word: equal leads to the test of the low one, greater to greater.
func (a *seccompAsm) high(c seccompCond, op uint16, equal, greater, no seccompTarget) seccompTarget {
	mask, value := uint32(c.mask>>32), uint32(c.value>>32)
	if mask == 0 { // of a 32-bit ABI, or of no interest
		return equal
	}
	next := a.jump(unix.BPF_JEQ, value, equal, no)
	if op != unix.BPF_JEQ {
		next = a.jump(unix.BPF_JGT, value, greater, next)
	}
	return a.load(16+8*c.arg+4, a.and(mask, next))
}

// jump places "if A op k go yes else go no".
func (a *seccompAsm) jump(op uint16, k uint32, yes, no seccompTarget) seccompTarget {
	if yes == no {
		return yes
	}
	for {
		jt, jf := a.distance(yes), a.distance(no)
		switch {
		case jt > 255:
			yes = a.bridge(yes)
		case jf > 255:
			no = a.bridge(no)
		default:
			return a.place(unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | op, Jt: uint8(jt), Jf: uint8(jf), K: k})
		}
	}
}

// load places "A = the word at offset off of seccomp_data, go next".
func (a *seccompAsm) load(off uint32, next seccompTarget) seccompTarget {
	return a.before(next, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off})
}

// and places "A &= mask, go next".
func (a *seccompAsm) and(mask uint32, next seccompTarget) seccompTarget {
	if mask == 0xffffffff {
		return next
	}
	return a.before(next, unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: mask})
}

// before places an instruction that falls through to next.
func (a *seccompAsm) before(next seccompTarget, ins unix.SockFilter) seccompTarget {
	if a.distance(next) != 0 {
		a.bridge(next)
	}
	return a.place(ins)
}

// bridge places what takes a jump from here to the far target.
func (a *seccompAsm) bridge(to seccompTarget) seccompTarget {
	if to.at >= 0 {
		return a.place(unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(a.distance(to))})
	}
	a.rets = append(a.rets, seccompTarget{at: len(a.code), ret: to.ret})
	a.place(unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: to.ret})
	return to
}

// distance is what the next instruction to be placed jumps over on its way to the target; endless if it is a return that has
// no place yet.
func (a *seccompAsm) distance(to seccompTarget) int {
	at := to.at
	if at < 0 {
		for _, r := range slices.Backward(a.rets) {
			if r.ret == to.ret {
				at = r.at
				break
			}
		}
		if at < 0 {
			return 1 << 20
		}
	}
	return len(a.code) - 1 - at
}

func (a *seccompAsm) place(ins unix.SockFilter) seccompTarget {
	a.code = append(a.code, ins)
	return seccompTarget{at: len(a.code) - 1}
}
