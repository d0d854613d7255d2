package main

import (
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

// allowed is what the rules mean: each kind of access as the last rule says that covers it.
func allowed(rules []deviceRule, kind byte, major, minor int64, access deviceAccess) bool {
	for bit := deviceAccess(1); bit <= accessAll; bit <<= 1 {
		ok := false
		for _, r := range rules {
			if r.kind == 'a' || r.access&bit != 0 && r.kind == kind && (r.major == anyDevice || r.major == major) && (r.minor == anyDevice || r.minor == minor) {
				ok = r.allow
			}
		}
		if access&bit != 0 && !ok {
			return false
		}
	}
	return true
}

// runDeviceFilter runs the program, as the kernel would.
func runDeviceFilter(t *testing.T, p []bpfInstruction, kind byte, major, minor int64, access deviceAccess) bool {
	t.Helper()
	context := map[int16]int64{0: int64(access)<<16 | map[byte]int64{'b': unix.BPF_DEVCG_DEV_BLOCK, 'c': unix.BPF_DEVCG_DEV_CHAR}[kind], 4: major, 8: minor}
	var r [11]int64
	for pc := 0; ; pc++ {
		i := p[pc]
		to, from := &r[i.registers&15], r[i.registers>>4]
		switch i.code {
		case 0x61: // load
			*to = context[i.offset]
		case 0x77:
			*to >>= i.imm
		case 0x57:
			*to &= int64(i.imm)
		case 0xb7:
			*to = int64(i.imm)
		case 0xbf:
			*to = from
		case 0x55: // unequal
			if *to != int64(i.imm) {
				pc += int(i.offset)
			}
		case 0x15: // equal
			if *to == int64(i.imm) {
				pc += int(i.offset)
			}
		case 0x95:
			return r[0] == 1
		default:
			t.Fatalf("instruction %d: %+v", pc, i)
		}
	}
}

// someRules makes a list in which much overlaps.
func someRules(rnd *rand.Rand) []deviceRule {
	rules := make([]deviceRule, rnd.IntN(8))
	for i := range rules {
		number := func() int64 { return int64(rnd.IntN(4)) - 1 }
		rules[i] = deviceRule{rnd.IntN(2) == 0, 'c', number(), number(), deviceAccess(1 + rnd.IntN(7))}
		switch rnd.IntN(8) {
		case 0:
			rules[i] = deviceRule{rules[i].allow, 'a', anyDevice, anyDevice, accessAll}
		case 1:
			rules[i].kind = 'b'
		case 2:
			rules[i].minor = 1<<32 - 1 // no device has it
		}
	}
	return rules
}

func TestDeviceFilter(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		rules := someRules(rnd)
		p := deviceFilter(rules)
		for n := range int64(2 * 3 * 3 * 7) {
			kind, major, minor, access := "bc"[n%2], n/2%3, n/6%3, deviceAccess(1+n/18)
			if got, want := runDeviceFilter(t, p, kind, major, minor, access), allowed(rules, kind, major, minor, access); got != want {
				t.Fatalf("%v: %c %d:%d access %d: %v, want %v", rules, kind, major, minor, access, got, want)
			}
		}
	}
}

// The kernel's verifier takes the programs, and a long one too.
func TestDeviceFilterLoads(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	long := make([]deviceRule, 1000)
	for i := range long {
		long[i] = deviceRule{i%3 != 0, 'c', int64(i % 50), int64(i), deviceAccess(1 + i%7)}
	}
	lists := [][]deviceRule{nil, deviceRules(nil, nil, nil), long}
	for range 200 {
		lists = append(lists, someRules(rnd))
	}
	for _, rules := range lists {
		fd, err := loadDeviceFilter(deviceFilter(rules))
		needs(t, err != unix.EPERM, "CAP_BPF and CAP_SYS_ADMIN")
		if err != nil {
			t.Fatalf("%v: %v", rules, err)
		}
		unix.Close(fd)
	}
}

func TestV1Devices(t *testing.T) {
	allow := func(kind byte, major, minor int64, access deviceAccess) deviceRule {
		return deviceRule{true, kind, major, minor, access}
	}
	deny := func(kind byte, major, minor int64, access deviceAccess) deviceRule {
		return deviceRule{false, kind, major, minor, access}
	}
	const any = anyDevice
	for _, tc := range []struct {
		name  string
		rules []deviceRule
		err   string
	}{
		{"nothing", nil, ""},
		{"Docker's", []deviceRule{deny('a', any, any, accessAll), allow('c', 1, 5, accessAll), deny('c', 10, 229, accessAll)}, ""},
		{"taken back", []deviceRule{allow('c', 1, any, accessAll), deny('c', 1, any, accessWrite)}, ""},
		{"other access", []deviceRule{allow('c', 1, any, accessRead), deny('c', 1, 5, accessWrite)}, ""},
		{"other kind", []deviceRule{allow('c', 1, any, accessRead), deny('b', 1, 5, accessRead)}, ""},
		{"all, but", []deviceRule{allow('a', any, any, accessAll), deny('c', 1, any, accessAll)}, ""},
		{"after a new start", []deviceRule{allow('c', 1, any, accessAll), allow('a', any, any, accessAll), deny('c', 1, 5, accessAll)}, ""},
		{"a hole", []deviceRule{allow('c', 1, any, accessAll), deny('c', 1, 5, accessRead)}, `cannot make an exception for "c 1:5 r" from the earlier rule "c 1:* rwm"`},
		{"a wider one", []deviceRule{allow('c', 1, 5, accessAll), deny('c', any, any, accessAll)}, `for "c *:* rwm" from the earlier rule "c 1:5 rwm"`},
		{"a hole in what is denied", []deviceRule{allow('a', any, any, accessAll), deny('b', 8, any, accessAll), allow('b', 8, 1, accessRead)}, `for "b 8:1 r"`},
	} {
		if err := checkV1Devices(tc.rules, false); !errorHas(err, tc.err) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.err)
		}
	}
}

// With systemd, which would lift them at its next reload, there are no exceptions from "all".
func TestV1DevicesSystemd(t *testing.T) {
	all := deviceRule{true, 'a', anyDevice, anyDevice, accessAll}
	mem := deviceRule{false, 'c', 1, 1, accessAll}
	for _, tc := range []struct {
		rules []deviceRule
		err   string
	}{
		{[]deviceRule{all}, ""},
		{[]deviceRule{all, mem}, `cannot forbid "c 1:1 rwm"`},
		{[]deviceRule{mem, all}, ""},
		{[]deviceRule{mem}, ""},
	} {
		if err := checkV1Devices(tc.rules, true); !errorHas(err, tc.err) {
			t.Errorf("%v: %v", tc.rules, err)
		}
	}
}
