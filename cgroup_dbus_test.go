package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A call as the specification has it, written out by hand: systemd's own judgement is asked in TestSystemd.
func TestDBusRequest(t *testing.T) {
	want := "l\x01\x00\x01" + "\x4c\x00\x00\x00" + "\x07\x00\x00\x00" + "\x4d\x00\x00\x00" + // 76 bytes of body, serial 7, 77 of fields
		"\x01\x01o\x00" + "\x02\x00\x00\x00/o\x00" + "\x00\x00\x00\x00\x00" +
		"\x02\x01s\x00" + "\x03\x00\x00\x00a.B\x00" + "\x00\x00\x00\x00" +
		"\x03\x01s\x00" + "\x01\x00\x00\x00M\x00" + "\x00\x00\x00\x00\x00\x00" +
		"\x06\x01s\x00" + "\x01\x00\x00\x00d\x00" + "\x00\x00\x00\x00\x00\x00" +
		"\x08\x01g\x00" + "\x07sa(sv)b\x00" + "\x00\x00\x00" +
		"\x01\x00\x00\x00x\x00" + "\x00\x00" + // "x"
		"\x37\x00\x00\x00" + "\x00\x00\x00\x00" + // 55 bytes of properties
		"\x01\x00\x00\x00T\x00" + "\x01t\x00" + "\x00\x00\x00\x00\x00\x00\x00" + "\x05\x00\x00\x00\x00\x00\x00\x00" +
		"\x01\x00\x00\x00L\x00" + "\x02as\x00" + "\x00\x00" + "\x0f\x00\x00\x00" + "\x01\x00\x00\x00a\x00" + "\x00\x00" + "\x02\x00\x00\x00bc\x00" + "\x00" +
		"\x01\x00\x00\x00"
	got := dbusRequest(7, "d", "/o", "a.B", "M", "x", []unitProperty{{"T", uint64(5)}, {"L", []string{"a", "bc"}}}, true)
	if string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if size, err := dbusSize(got[:16]); err != nil || size != len(got) {
		t.Errorf("dbusSize: %d, %v; want %d", size, err, len(got))
	}
}

// answer is a message to us.
func answer(kind byte, replyTo uint32, member, problem string, args ...any) []byte {
	var body dbusWriter
	for _, a := range args {
		body.value(a)
	}
	w := dbusWriter{[]byte{'l', kind, 0, 1}}
	w.uint32(uint32(len(body.b)))
	w.uint32(1)
	w.array(8, func() {
		field := func(code byte, v any) {
			w.align(8)
			w.b = append(w.b, code)
			w.variant(v)
		}
		if replyTo != 0 {
			field(dbusFieldReplySerial, replyTo)
		}
		if member != "" {
			field(dbusFieldMember, member)
		}
		if problem != "" {
			field(dbusFieldErrorName, problem)
		}
	})
	w.align(8)
	return append(w.b, body.b...)
}

// A systemd of the test's answers.
func TestSystemdConversation(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &systemdConn{fd: pair[0], removed: map[string]string{}}
	defer c.close()
	var said []byte
	for _, m := range [][]byte{
		[]byte("DATA\r\nOK 0123\r\n"),
		answer(dbusReturn, 1, "", "", "unused"),
		answer(dbusSignal, 0, "JobRemoved", "", uint32(5), dbusPath("/job/5"), "other.scope", "done"),
		answer(dbusSignal, 0, "JobRemoved", "", uint32(6), dbusPath("/job/6"), "x.scope", "done"),
		answer(dbusReturn, 2, "", "", dbusPath("/job/6")), // after the end of its job
		answer(dbusReturn, 3, "", "", dbusPath("/job/7")),
		answer(dbusSignal, 0, "Reloading", "", true),
		answer(dbusSignal, 0, "JobRemoved", "", uint32(7), dbusPath("/job/7"), "x.scope", "failed"),
		answer(dbusError, 4, "", "org.freedesktop.systemd1.NoSuchUnit", "Unit x.scope not loaded."),
	} {
		said = append(said, m...)
	}
	if _, err := unix.Write(pair[1], said); err != nil {
		t.Fatal(err)
	}
	if err := c.authenticate(); err != nil {
		t.Error(err)
	}
	if err := c.manager("Anything"); err != nil {
		t.Error(err)
	}
	if err := c.job("StartTransientUnit", "x.scope"); err != nil {
		t.Error(err)
	}
	if err := c.job("StopUnit", "x.scope"); !errorHas(err, `StopUnit: the job ended with "failed"`) {
		t.Error(err)
	}
	var failure *dbusFailure
	if err := c.job("StopUnit", "x.scope"); !errors.As(err, &failure) || failure.name != systemdName+".NoSuchUnit" || err.Error() != "Unit x.scope not loaded." {
		t.Error(err)
	}
	unix.Close(pair[1])
	if err := c.manager("Anything"); err == nil {
		t.Error("a manager that has gone answered")
	}
}

func TestDBusNotLetIn(t *testing.T) {
	for _, text := range []string{"REJECTED EXTERNAL\r\n", "DATA\r\nREJECTED\r\n", strings.Repeat("x", 1000)} {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		c := &systemdConn{fd: pair[0]}
		if _, err := unix.Write(pair[1], []byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := c.authenticate(); !errorHas(err, "not let in") {
			t.Errorf("%.20q: %v", text, err)
		}
		c.close()
		unix.Close(pair[1])
	}
}

// Nothing that comes over the socket is more than an error.
func FuzzDBus(f *testing.F) {
	f.Add(answer(dbusSignal, 0, "JobRemoved", "", uint32(5), dbusPath("/job/5"), "x.scope", "done"))
	f.Add(answer(dbusError, 4, "", "a.b", "text"))
	f.Add(dbusRequest(7, "d", "/o", "a.B", "M", []unitProperty{{"T", uint64(5)}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 16 {
			return
		}
		size, err := dbusSize(data[:16])
		if err != nil || size > len(data) {
			return
		}
		m, err := parseDBus(data[:size])
		if err != nil {
			return
		}
		for range 3 {
			m.body.uint32()
			m.body.string()
			m.body.signature()
		}
		if m.body.at > len(m.body.b) {
			t.Error("read beyond the end")
		}
	})
}

func TestDBusSize(t *testing.T) {
	head := answer(dbusReturn, 1, "", "")[:16]
	for at, value := range map[int]byte{0: 'B', 3: 2, 7: 1, 15: 1} {
		bad := append([]byte(nil), head...)
		bad[at] = value
		if size, err := dbusSize(bad); err == nil {
			t.Errorf("byte %d is %d: %d bytes", at, value, size)
		}
	}
	binary.LittleEndian.PutUint32(head[4:], math.MaxUint32)
	binary.LittleEndian.PutUint32(head[12:], math.MaxUint32)
	if size, err := dbusSize(head); err == nil {
		t.Errorf("%d bytes", size)
	}
}

func TestSliceDir(t *testing.T) {
	for _, tc := range []struct{ slice, want string }{
		{"a.slice", "/a.slice"},
		{"a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"},
		{"-.slice", "/"},
		{"a--b.slice", ""},
		{"-a.slice", ""},
		{"a-.slice", ""},
		{".slice", ""},
		{"a.scope", ""},
		{"a/b.slice", ""},
		{"", ""},
	} {
		if got, err := sliceDir(tc.slice); got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%q: %q, %v; want %q", tc.slice, got, err, tc.want)
		}
	}
}

func TestLimitProperties(t *testing.T) {
	period, limit, weight := uint64(100000), int64(-1), uint64(50)
	r := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: new(int64(64)), Swap: new(int64(64)), Reservation: new(int64(32))},
		CPU:    &specs.LinuxCPU{Shares: new(uint64(1024)), Quota: new(int64(12345)), Period: &period, Cpus: "0,2-3,8"},
		Pids:   &specs.LinuxPids{Limit: &limit},
		Unified: map[string]string{
			"memory.high": "max", "pids.max": " 7 ", "cpu.max": "max 5000", "cpuset.mems": "0", "io.weight": "default 50", "memory.oom.group": "1", "cpu.weight": "x",
		},
	}
	v2 := fmt.Sprint([]unitProperty{
		{"MemoryMax", uint64(64)},
		{"MemoryLow", uint64(32)},
		{"MemorySwapMax", uint64(0)},
		{"CPUWeight", uint64(100)},
		{"CPUQuotaPeriodUSec", period},
		{"CPUQuotaPerSecUSec", uint64(130000)},
		{"TasksMax", uint64(math.MaxUint64)},
		{"AllowedCPUs", []byte{13, 1}},
		{"AllowedMemoryNodes", []byte{1}},
		{"CPUQuotaPerSecUSec", uint64(math.MaxUint64)},
		{"CPUQuotaPeriodUSec", uint64(5000)},
		{"IOWeight", weight},
		{"MemoryHigh", uint64(math.MaxUint64)},
		{"TasksMax", uint64(7)},
	})
	if got, err := limitProperties(r, true, 252); err != nil || fmt.Sprint(got) != v2 {
		t.Errorf("v2: %v, %v\nwant %v", got, err, v2)
	}
	r.Unified = nil
	v1 := "[{MemoryLimit 64} {CPUShares 1024} {CPUQuotaPerSecUSec 130000} {TasksMax 18446744073709551615}]"
	if got, err := limitProperties(r, false, 239); err != nil || fmt.Sprint(got) != v1 {
		t.Errorf("v1, old: %v, %v\nwant %v", got, err, v1)
	}
	idle := &specs.LinuxResources{Unified: map[string]string{"cpu.idle": "1"}}
	if got, err := limitProperties(idle, true, 252); err != nil || fmt.Sprint(got) != "[{CPUWeight 0}]" {
		t.Errorf("unified cpu.idle: %v, %v", got, err)
	}
	if got, err := limitProperties(&specs.LinuxResources{}, true, 252); err != nil || len(got) > 0 {
		t.Errorf("nothing: %v, %v", got, err)
	}
	for _, list := range []string{"4-2", "x", ",", "0-99999", "-1"} {
		if _, err := limitProperties(&specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: list}}, true, 252); !errorHas(err, "linux.resources.cpu.cpus") {
			t.Errorf("%q: %v", list, err)
		}
	}
}

// What systemd is told to allow is never less than what the rules do.
func TestDeviceProperties(t *testing.T) {
	const auto = "[{DevicePolicy auto} {DeviceAllow []}]"
	all := deviceRule{true, 'a', anyDevice, anyDevice, accessAll}
	null := deviceRule{true, 'c', 1, 3, accessAll}
	for _, tc := range []struct {
		rules   []deviceRule
		version int
		want    string
	}{
		{nil, 252, "[{DevicePolicy strict} {DeviceAllow []}]"},
		{[]deviceRule{{true, 'c', anyDevice, anyDevice, accessMknod}, null, {true, 'b', 8, anyDevice, accessRead}}, 252, "[{DevicePolicy strict} {DeviceAllow [{char-* m} {/dev/char/1:3 rwm} {block-8 r}]}]"},
		{[]deviceRule{all, {false, 'c', 1, 3, accessAll}}, 252, auto},
		{[]deviceRule{all, {false, 'a', anyDevice, anyDevice, accessAll}, null}, 252, "[{DevicePolicy strict} {DeviceAllow [{/dev/char/1:3 rwm}]}]"},
		{[]deviceRule{null}, 239, auto},
		{[]deviceRule{null, {false, 'c', 1, 3, accessWrite}}, 252, "[{DevicePolicy strict} {DeviceAllow [{/dev/char/1:3 rm}]}]"},
		{[]deviceRule{null, {false, 'c', 1, 3, accessAll}}, 252, "[{DevicePolicy strict} {DeviceAllow []}]"},
	} {
		if got := fmt.Sprint(deviceProperties(tc.rules, tc.version)); got != tc.want {
			t.Errorf("%v: %s, want %s", tc.rules, got, tc.want)
		}
	}
}

func TestAnnotatedProperties(t *testing.T) {
	for _, tc := range []struct {
		name, value string
		want        any
		err         string
	}{
		{"TimeoutStopUSec", "uint64 123", uint64(123), ""},
		{"TimeoutStopUSec", "@t 123", uint64(123), ""},
		{"TimeoutStopSec", "1.5", uint64(1500000), ""},
		{"TimeoutStopSec", "-1", nil, "not a possible number of seconds"},
		{"RuntimeMaxSec", "'x'", nil, "a number of seconds is wanted"},
		{"CollectMode", "'inactive-or-failed'", "inactive-or-failed", ""},
		{"Description", `"it's \"one\""`, `it's "one"`, ""},
		{"Description", "'a' b", nil, "follows the text"},
		{"Description", "'a", nil, "no end"},
		{"After", "['a.service', \"b.service\" ]", []string{"a.service", "b.service"}, ""},
		{"After", "@as []", []string{}, ""},
		{"After", "['a' 'b']", nil, "is no value"},
		{"SendSIGHUP", "true", true, ""},
		{"KillSignal", "9", int32(9), ""},
		{"KillSignal", "byte 300", nil, "is no value"},
		{"CPUWeight", "uint64 -1", nil, "is no value"},
		{"CPUWeight", "", nil, "is no value"},
		{"Wants", "['poweroff.target']", nil, "nothing that concerns other units"},
		{"PIDs", "[1]", nil, "nothing that concerns other units"},
		{"JobTimeoutAction", "'reboot'", nil, "nothing that concerns other units"},
		{"IO.x", "1", nil, "nothing that concerns other units"},
		{"Memory\nX", "1", nil, "nothing that concerns other units"},
	} {
		got, err := annotatedProperties(map[string]string{"org.systemd.property." + tc.name: tc.value, "other": "x"})
		if !errorHas(err, tc.err) || err == nil && (len(got) != 1 || !reflect.DeepEqual(got[0].value, tc.want)) {
			t.Errorf("%s = %s: %#v, %v; want %#v, %q", tc.name, tc.value, got, err, tc.want, tc.err)
		}
	}
}

func TestSystemdAddresses(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	if got := fmt.Sprint(systemdAddresses(true)); got != "[{/run/user/7/systemd/private false} {/run/user/7/bus true}]" {
		t.Error(got)
	}
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/x/bus,guid=1")
	if got := fmt.Sprint(systemdAddresses(true)); got != "[{/run/user/7/systemd/private false} {/x/bus true}]" {
		t.Error(got)
	}
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(t.TempDir(), "none"))
	if _, err := dialSystemd(true); !errorHas(err, "systemd cannot be reached: ") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
}
