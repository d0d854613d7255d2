// Structures that system calls read and write, in words.

package main

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func asDeathSignal(l *lister, i int, v uint64) string {
	if v == 0 {
		return "0"
	}
	return asSignal(l, i, v)
}

// asSockaddr is a socket's name in the current directory.
func asSockaddr(l *lister, _ int, v uint64) string {
	if l.half(v)&0xffff != unix.AF_UNIX {
		return unknownWord(v)
	}
	return fmt.Sprintf("{AF_UNIX, %s}", l.cString(v+2))
}

// asPair is where a call puts two descriptors.
func asPair(l *lister, _ int, v uint64) string {
	l.puts(v, "[0]")
	l.words[v+4] = fmt.Sprintf("#%d[1]", l.n)
	return "pair"
}

func asPidfd(l *lister, _ int, v uint64) string {
	if v == 0 {
		return "NULL"
	}
	l.puts(v, ".pidfd")
	return "pidfd"
}

// asParts is an array of struct iovec.
func asParts(l *lister, _ int, v uint64) string {
	var parts []string
	for i := range l.o.args[2] {
		base, n := l.word(v+16*i), int(l.word(v+16*i+8))
		if base == errnoAddr {
			parts = append(parts, "errno")
		} else {
			parts = append(parts, strconv.Quote(slotless(string(l.bytes(base, n)))))
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// asSent is a message with a descriptor (struct msghdr).
func asSent(l *lister, _ int, v uint64) string {
	iov, control := l.word(v+16), l.word(v+32)
	place := l.syncPoint(l.word(l.word(iov) + 8)).Name
	return fmt.Sprintf("{0, %s, SCM_RIGHTS %s}", place, l.reference(control+16))
}

// asReceived is room for a message with descriptors. Those that do not come are -1.
func asReceived(l *lister, _ int, v uint64) string {
	iov, control, size := l.word(v+16), l.word(v+32), l.word(v+40)
	n := (size - 16) / 4
	for i := range n {
		a := control + 16 + 4*i
		l.words[a] = fmt.Sprintf("#%d[%d]", l.n, i)
	}
	into := fmt.Sprintf("%d bytes", l.word(iov+8))
	if name := l.named(l.word(iov)); name != "" {
		into += " to " + name
	}
	return fmt.Sprintf("{%s, SCM_RIGHTS up to %d}", into, n)
}

func asIntAt(l *lister, _ int, v uint64) string {
	return fmt.Sprintf("{%d}", l.half(v))
}

// asInterface is struct ifreq with flags.
func asInterface(l *lister, _ int, v uint64) string {
	return fmt.Sprintf("{%s, %s}", l.cString(v), showFlags(uint64(l.half(v+16)&0xffff), interfaceWords))
}

func asWindow(l *lister, _ int, v uint64) string {
	b := l.bytes(v, 4)
	return fmt.Sprintf("{%d rows, %d columns}", binary.NativeEndian.Uint16(b), binary.NativeEndian.Uint16(b[2:]))
}

// asCloneFlags has the signal of the end in its last byte.
func asCloneFlags(l *lister, i int, v uint64) string {
	flags := showFlags(v&^0xff, cloneWords)
	if signal := v & 0xff; signal != 0 {
		if flags == "0" {
			return asSignal(l, i, signal)
		}
		return flags + "|" + asSignal(l, i, signal)
	}
	return flags
}

func asCloneArgs(l *lister, _ int, v uint64) string {
	s := "{" + showFlags(l.word(v), cloneWords)
	if group := l.word(v + 80); group != 0 {
		s += ", cgroup " + asFD(l, 0, group)
	}
	return s + "}"
}

// asStatx and asStatfs name the fields that later calls compare.
func asStatx(l *lister, _ int, v uint64) string {
	l.puts(v, ".stat")
	for _, f := range []struct {
		offset uint64
		name   string
	}{
		{20, "stx_uid"},
		{24, "stx_gid"},
		{28, "stx_mode"},
		{32, "stx_ino"},
		{36, "stx_ino+4"},
		{128, "stx_rdev_major"},
		{132, "stx_rdev_minor"},
		{144, "stx_mnt_id"},
	} {
		l.words[v+f.offset] = fmt.Sprintf("#%d.%s", l.n, f.name)
	}
	return "buffer"
}

func asStatfs(l *lister, _ int, v uint64) string {
	l.puts(v, ".f_type")
	return "buffer"
}

// asCompared is the word of a futex.
func asCompared(l *lister, _ int, v uint64) string { return l.reference(v) }

// asWord is the value that it is compared with: sometimes with a name.
func asWord(l *lister, _ int, v uint64) string {
	if strings.HasSuffix(l.words[l.o.args[0]], ".f_type") {
		return oneWord(v, []listingWord{{name: "PROC_SUPER_MAGIC", value: unix.PROC_SUPER_MAGIC}, {name: "SYSFS_MAGIC", value: unix.SYSFS_MAGIC}})
	}
	if strings.HasSuffix(l.words[l.o.args[0]], ".stx_mode") {
		return asMode(l, 0, v)
	}
	return strconv.FormatUint(v, 10)
}

func asTime(l *lister, _ int, v uint64) string {
	if v == 0 {
		return "NULL"
	}
	return fmt.Sprintf("{%d, %d}", l.word(v), l.word(v+8))
}

func asSignals(l *lister, _ int, v uint64) string {
	switch l.word(v) {
	case 0:
		return "[]"
	case ^uint64(0):
		return "[all]"
	}
	return unknownWord(l.word(v))
}

// asCPUs is a set of CPUs, asNodes one of memory nodes.
func asCPUs(l *lister, _ int, v uint64) string { return l.set(v, int(l.o.args[1])/8) }

func asNodes(l *lister, _ int, v uint64) string {
	if v == 0 {
		return "NULL"
	}
	return l.set(v, int(l.o.args[2])/64)
}

// set is a set of small numbers, in words of bits.
func (l *lister) set(a uint64, words int) string {
	var list []string
	begin := -1
	for n := 0; n <= 64*words; n++ {
		in := n < 64*words && l.word(a+uint64(n/64*8))&(1<<(n%64)) != 0
		switch {
		case in && begin < 0:
			begin = n
		case !in && begin >= 0:
			list = append(list, strconv.Itoa(begin))
			if n-1 > begin {
				list[len(list)-1] += "-" + strconv.Itoa(n-1)
			}
			begin = -1
		}
	}
	return "[" + strings.Join(list, ",") + "]"
}

func asScheduler(l *lister, _ int, v uint64) string {
	fields := []string{oneWord(l.word(v)>>32, policyWords)}
	if flags := l.word(v + 8); flags != 0 {
		fields = append(fields, showFlags(flags, schedulerWords))
	}
	fields = append(fields, fmt.Sprintf("nice %d", int32(l.half(v+16))), fmt.Sprintf("priority %d", l.half(v+20)))
	for i, name := range []string{"runtime", "deadline", "period"} {
		if n := l.word(v + uint64(24+8*i)); n != 0 {
			fields = append(fields, fmt.Sprintf("%s %d", name, n))
		}
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

func asPriority(_ *lister, _ int, v uint64) string {
	const class = 7 << ioprioClassShift
	return showFlags(v&class, priorityWords) + fmt.Sprintf("|%d", v&^class)
}
