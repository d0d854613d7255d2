// Arguments of system calls in words: numbers, flags, descriptors, texts, and the
// structures that the calls read and write. Each kind of argument is a function.

package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// listingKind shows argument i of the operation at hand, whose value is v.
type listingKind func(l *lister, i int, v uint64) string

// argument shows one, by its kind or as the result of an earlier call.
func (l *lister) argument(i int, kind listingKind) string {
	v := l.o.args[i]
	if l.o.deref&(1<<i) != 0 {
		return l.reference(v)
	}
	return kind(l, i, v)
}

// reference is the word at an address: a result, or what a call has put there.
func (l *lister) reference(a uint64) string {
	if a < programBase+dataOffset {
		if n := l.opAt(a); a == l.p.valueAddr(n) {
			return "#" + strconv.Itoa(n)
		}
		return unknownWord(a)
	}
	switch {
	case l.named(a) != "":
		return l.named(a)
	case len(l.writers[a]) > 0:
		return strings.Join(l.writers[a], "/")
	case l.words[a] != "":
		return l.words[a]
	case l.inData(a, 8):
		if text, ok := l.text(a, 4); ok { // a text to compare with
			return text
		}
		return strconv.FormatUint(uint64(uint32(l.word(a))), 10)
	}
	return unknownWord(a)
}

func (l *lister) text(a uint64, n int) (string, bool) {
	b := l.bytes(a, n)
	for _, c := range b {
		if c < ' ' || c > '~' {
			return "", false
		}
	}
	return strconv.Quote(string(b)), n > 0
}

// puts remembers what the call at hand puts at an address.
func (l *lister) puts(a uint64, format string, args ...any) {
	l.words[a] = fmt.Sprintf("#%d", l.n) + fmt.Sprintf(format, args...)
	delete(l.names, a)
}

func (l *lister) inData(a uint64, n int) bool {
	return a >= programBase+dataOffset && a-programBase+uint64(n) <= uint64(len(l.p.mem))
}

func (l *lister) bytes(a uint64, n int) []byte {
	if n < 0 || !l.inData(a, n) {
		return nil
	}
	return l.p.view(addr(a), n)
}

func (l *lister) word(a uint64) uint64 {
	if b := l.bytes(a, 8); b != nil {
		return binary.NativeEndian.Uint64(b)
	}
	return 0
}

func (l *lister) half(a uint64) uint32 { return uint32(l.word(a&^7) >> (8 * (a & 7))) }

// cString reads a text that ends with a zero.
func (l *lister) cString(a uint64) string {
	var b strings.Builder
	for ; l.inData(a, 1) && l.bytes(a, 1)[0] != 0; a++ {
		b.WriteByte(l.bytes(a, 1)[0])
	}
	return quoted(b.String())
}

// quoted is a text in quotes, and one that is known only later without.
func quoted(text string) string { return slotless(strconv.Quote(text)) }

func asNumber(_ *lister, _ int, v uint64) string { return strconv.FormatInt(int64(v), 10) }

func asInt32(_ *lister, _ int, v uint64) string {
	if int64(v) == -1 || uint32(v) == ^uint32(0) {
		return "-1"
	}
	return strconv.FormatInt(int64(int32(v)), 10)
}

func asOctal(_ *lister, _ int, v uint64) string { return fmt.Sprintf("%04o", v) }

// asNull is a pointer that no program of ours uses.
func asNull(_ *lister, _ int, v uint64) string {
	if v == 0 {
		return "NULL"
	}
	return unknownWord(v)
}

func asText(l *lister, _ int, v uint64) string {
	switch {
	case v == 0:
		return "NULL"
	case !l.inData(v, 1):
		return unknownWord(v)
	}
	return l.cString(v)
}

// asData is what is written: the argument after it is the length.
func asData(l *lister, i int, v uint64) string {
	n := int(l.o.args[i+1])
	switch {
	case v == errnoAddr:
		return "{errno, call}"
	case l.o.deref&(1<<(i+1)) != 0:
		return l.buffer(v)
	case l.named(v) != "":
		return l.named(v)
	case l.o.nr == unix.SYS_WRITE && n == 16:
		return fmt.Sprintf("{0, %s}", l.syncPoint(l.word(v+8)).Name)
	case l.o.nr == unix.SYS_WRITE && n == listenerSize && l.word(v+8) == uint64(syncListener):
		return fmt.Sprintf("{0, syncListener, SCM_RIGHTS %s}", l.reference(v+32))
	case !l.inData(v, n):
		return unknownWord(v)
	}
	return quoted(strings.TrimRight(string(l.bytes(v, n)), "\x00"))
}

// named is memory with a name.
func (l *lister) named(a uint64) string {
	name := l.names[a]
	if name == "" || strings.Contains(name, "<") { // a descriptor, which has its number
		return name
	}
	return "<" + name + ">"
}

// buffer is memory that the call before has filled.
func (l *lister) buffer(a uint64) string {
	if name := l.named(a); name != "" {
		return name
	}
	if l.words[a] != "" {
		return l.words[a]
	}
	return unknownWord(a)
}

// asBuffer is memory that this call fills.
func asBuffer(l *lister, _ int, v uint64) string {
	if v == 0 {
		return "NULL"
	}
	l.puts(v, ".text")
	l.words[v+4] = fmt.Sprintf("#%d.text+4", l.n)
	return "buffer"
}

func asFD(l *lister, _ int, v uint64) string {
	switch {
	case v == at_FDCWD || uint32(v) == uint32(at_FDCWD&0xffffffff):
		return "AT_FDCWD"
	case int64(v) == -1 || uint32(v) == ^uint32(0):
		return "-1"
	case l.fds[v] != "":
		return fmt.Sprintf("%d<%s>", v, l.fds[v])
	}
	return strconv.FormatUint(v, 10)
}

// asNewFD is the number that a descriptor is given: from here on it is that. Some
// numbers are kept free for a descriptor that the init opens, and have its name.
func asNewFD(l *lister, i int, v uint64) string {
	from := l.argument(0, asFD)
	_, in, named := strings.Cut(from, "<")
	switch {
	case named:
		l.fds[v] = strings.TrimSuffix(in, ">")
	case v < firstFD || l.fds[v] == "":
		l.fds[v] = from
	}
	return asFD(l, i, v)
}

func asFirstFD(_ *lister, _ int, v uint64) string { return strconv.FormatUint(v, 10) }

func asLastFD(_ *lister, _ int, v uint64) string {
	if uint32(v) == ^uint32(0) {
		return "~0"
	}
	return strconv.FormatUint(v, 10)
}

// showFlags joins the words of v. What none of them covers is left as unknown.
func showFlags(v uint64, words []listingWord) string {
	var names []string
	var done uint64
	for _, w := range words {
		mask := w.mask
		if mask == 0 {
			mask = w.value
		}
		if mask&done == 0 && v&mask == w.value {
			names = append(names, w.name)
			done |= mask
		}
	}
	if rest := v &^ done; rest != 0 {
		names = append(names, unknownWord(rest))
	}
	if len(names) == 0 {
		return "0"
	}
	return strings.Join(names, "|")
}

func asFlags(l *lister, i int, v uint64) string {
	for _, f := range listingFlags {
		if f.nr == l.o.nr && f.arg == i {
			return showFlags(v, f.words)
		}
	}
	return unknownWord(v)
}

// asName is a number by name.
func asName(l *lister, i int, v uint64) string {
	for _, n := range listingNames {
		if n.nr == l.o.nr && n.arg == i && n.value == v {
			return n.name
		}
	}
	return unknownWord(v)
}

func oneWord(v uint64, words []listingWord) string {
	for _, w := range words {
		if w.value == v {
			return w.name
		}
	}
	return unknownWord(v)
}

func asSignal(_ *lister, _ int, v uint64) string {
	if name := unix.SignalName(unix.Signal(v)); name != "" {
		return name
	}
	return strconv.FormatUint(v, 10)
}

func asCapability(_ *lister, _ int, v uint64) string {
	if v < uint64(len(capabilityNames)) {
		return capabilityNames[v]
	}
	return unknownWord(v)
}

// asLimits is struct rlimit64, or NULL.
func asLimits(l *lister, _ int, v uint64) string {
	if v == 0 {
		return "NULL"
	}
	if l.words[v] != "" {
		return l.words[v]
	}
	limit := func(n uint64) string {
		if n == ^uint64(0) {
			return "RLIM_INFINITY"
		}
		return strconv.FormatUint(n, 10)
	}
	return fmt.Sprintf("{%s, %s}", limit(l.word(v)), limit(l.word(v+8)))
}

func asOldLimits(l *lister, _ int, v uint64) string {
	if v == 0 {
		return "NULL"
	}
	l.puts(v, ".limit")
	return "limit"
}

func asMode(_ *lister, _ int, v uint64) string {
	return showFlags(v&unix.S_IFMT, fileTypeWords) + fmt.Sprintf("|%04o", v&^unix.S_IFMT)
}

func asDevice(_ *lister, _ int, v uint64) string {
	if v == 0 {
		return "0"
	}
	return fmt.Sprintf("makedev(%d, %d)", unix.Major(v), unix.Minor(v))
}

func asOpenHow(l *lister, _ int, v uint64) string {
	s := "{" + showFlags(l.word(v), openWords)
	if mode := l.word(v + 8); mode != 0 {
		s += fmt.Sprintf(", %04o", mode)
	}
	return s + ", " + showFlags(l.word(v+16), resolveWords) + "}"
}

func asMountAttr(l *lister, _ int, v uint64) string {
	var fields []string
	for i, name := range []string{"set", "clear"} {
		if w := l.word(v + uint64(8*i)); w != 0 {
			fields = append(fields, name+" "+showFlags(w, mountAttrWords))
		}
	}
	if w := l.word(v + 16); w != 0 {
		fields = append(fields, "propagation "+showFlags(w, mountWords))
	}
	if w := l.word(v + 24); w != 0 {
		fields = append(fields, "userns "+asFD(l, 0, w))
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

// asArray is a list of texts, as execve takes it.
func asArray(l *lister, _ int, v uint64) string {
	if name := l.named(v); name != "" {
		return name
	}
	var words []string
	for ; l.word(v) != 0; v += 8 {
		words = append(words, l.cString(l.word(v)))
	}
	return "[" + strings.Join(words, " ") + "]"
}

func asGroups(l *lister, _ int, v uint64) string {
	var groups []string
	for i := range l.o.args[0] {
		groups = append(groups, strconv.FormatUint(uint64(l.half(v+4*i)), 10))
	}
	return "[" + strings.Join(groups, " ") + "]"
}

func asCapHeader(*lister, int, uint64) string { return "{_LINUX_CAPABILITY_VERSION_3, 0}" }

func asCapData(l *lister, _ int, v uint64) string {
	a, b, c := l.word(v), l.word(v+8), l.word(v+16)
	const lower = 1<<32 - 1
	set := func(bits uint64) string {
		var names []string
		for n, name := range capabilityNames {
			if bits&(1<<n) != 0 {
				names = append(names, name)
				bits &^= 1 << n
			}
		}
		if bits != 0 {
			names = append(names, unknownWord(bits))
		}
		if len(names) == 0 {
			return "none"
		}
		return strings.Join(names, "|")
	}
	return fmt.Sprintf("{effective %s, permitted %s, inheritable %s}", set(a&lower|b>>32<<32), set(a>>32|c&lower<<32), set(b&lower|c>>32<<32))
}

func asSigaction(l *lister, _ int, v uint64) string {
	switch handler := l.word(v); handler {
	case 0:
		return "{SIG_DFL}"
	case stubHandler():
		return "{exit(128 + signal), SA_RESTORER}"
	default:
		return unknownWord(handler)
	}
}

// asFilter is struct sock_fprog. The sum tells one filter from another.
func asFilter(l *lister, _ int, v uint64) string {
	n, code := int(l.word(v)), l.word(v+8)
	sum := sha256.Sum256(l.bytes(code, 8*n))
	return fmt.Sprintf("{%d instructions, SHA-256 %x}", n, sum[:6])
}
