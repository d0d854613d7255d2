package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wantCounters: what TestStateStreamQEMU has of QEMU shows where the counters are. That the way through the fields of a
// CPU is right can be seen in a register that QEMU's monitor shows as well.
func wantCounters(t *testing.T, state *os.File, cpus int, registers []string) {
	t.Helper()
	st, err := state.Stat()
	if err != nil {
		t.Fatal(err)
	}
	word := func(at int64) uint64 {
		var b [8]byte
		if _, err := state.ReadAt(b[:], at); err != nil {
			t.Fatal(err)
		}
		return binary.BigEndian.Uint64(b[:])
	}
	if tsc := findCounters(state, st.Size(), "tcg"); len(tsc) != 1 || word(tsc[0]) < 1e6 || word(tsc[0]) > 1e12 {
		t.Errorf("QEMU's counter is at %d", tsc)
	}
	if each := findCounters(state, st.Size(), "kvm"); len(each) != cpus {
		t.Errorf("the CPUs' counters are at %d", each)
	}
	var found []string
	for _, at := range findFields(state, st.Size(), "cpu", "env.cr[3]") {
		found = append(found, fmt.Sprintf("%016x", word(at)))
	}
	if !slices.Equal(found, registers) || len(found) != cpus {
		t.Errorf("CR3 is %q, want %q", found, registers)
	}
	if none := findFields(state, st.Size()-1, "timer", "cpu_ticks_offset"); none != nil {
		t.Errorf("found %d in a state that is cut off", none)
	}
}

// A description that says other than what is there leads nowhere.
func TestFindFields(t *testing.T) {
	const section = "\x04\x00\x00\x00\x05\x05timer\x00\x00\x00\x00\x00\x00\x00\x02"
	state := func(sections, description string) *os.File {
		b := append([]byte("memory"+sections+"\x00\x06"), 0, 0, 0, 0)
		binary.BigEndian.PutUint32(b[len(b)-4:], uint32(len(description)))
		return tempFile(t, append(b, description...))
	}
	timer := func(fields string) string {
		return `{"configuration": {"vmsd_name": "configuration"}, "page_size": 4096, "devices": [{"name": "timer", "instance_id": 0, "version": 2, "fields": [` + fields + `]}]}`
	}
	for _, tc := range []struct {
		name, sections, description string
		want                        []int64
	}{
		{"first", section + "12345678", timer(`{"name":"cpu_ticks_offset","size":8}`), []int64{6 + int64(len(section))}},
		{"behind an array", section + "123412345678", timer(`{"name":"x","size":2,"array_len":2},{"name":"cpu_ticks_offset","size":8}`), []int64{10 + int64(len(section))}},
		{"another size", section + "12345678", timer(`{"name":"cpu_ticks_offset","size":4}`), nil},
		{"not there", section + "12345678", timer(`{"name":"x","size":8}`), nil},
		{"twice", section + "12345678" + section + "12345678", timer(`{"name":"cpu_ticks_offset","size":8}`), nil},
		{"no section", "12345678", timer(`{"name":"cpu_ticks_offset","size":8}`), nil},
		{"behind all", section + "12345678", timer(`{"name":"x","size":100},{"name":"cpu_ticks_offset","size":8}`), nil},
		{"too large", section + "12345678", timer(`{"name":"x","size":9223372036854775807,"array_len":4},{"name":"cpu_ticks_offset","size":8}`), nil},
		{"negative", section + "12345678", timer(`{"name":"x","size":-9},{"name":"cpu_ticks_offset","size":8}`), nil},
		{"no JSON", section + "12345678", `{"page_size": 4096, "devices": [`, nil},
		{"a length of sixes", section + "12345678", timer(`{"name":"cpu_ticks_offset","size":8}` + strings.Repeat(" ", 0x606-len(timer(`{"name":"cpu_ticks_offset","size":8}`)))), []int64{6 + int64(len(section))}},
		{"no description", section + "12345678", "", nil},
	} {
		f := state(tc.sections, tc.description)
		st, _ := f.Stat()
		if got := findCounters(f, st.Size(), "tcg"); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}

// Whatever a state and its description say, what is found is in the state.
func FuzzFindFields(f *testing.F) {
	const section = "\x04\x00\x00\x00\x05\x05timer\x00\x00\x00\x00\x00\x00\x00\x02"
	f.Add(section+"12345678", `{"devices": [{"name": "timer", "instance_id": 0, "version": 2, "fields": [{"name": "cpu_ticks_offset", "size": 8}]}]}`)
	f.Add(section+"12345678"+section, `{"devices": [{"name": "timer", "version": 2, "fields": [{"name": "x", "size": 4194304, "array_len": 4194304}, {"name": "cpu_ticks_offset", "size": 8}]}]}`)
	file, err := os.Create(f.TempDir() + "/state")
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	f.Fuzz(func(t *testing.T, sections, description string) {
		b := append(binary.BigEndian.AppendUint32([]byte(sections+"\x00\x06"), uint32(len(description))), description...)
		if err := file.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		for _, at := range findCounters(file, int64(len(b)), "tcg") {
			if at < 0 || at+8 > int64(len(sections)+1) {
				t.Errorf("found %d of %d bytes", at, len(sections))
			}
		}
	})
}

func tempFile(t *testing.T, data []byte) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err == nil {
		_, err = f.Write(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestClockJump(t *testing.T) {
	now := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, tc := range []struct {
		stopped time.Time
		least   time.Duration
		want    uint64
	}{
		{now.Add(-time.Second), 0, 2000e6},
		{now.Add(-time.Second), minTemplateJump, 2020e6},
		{now.Add(-5 * time.Second), minTemplateJump, 10000e6},
		{now, 0, 0},
		{now.Add(time.Hour), 0, 0},
		{now.AddDate(-49, 0, 0), 0, uint64(now.Sub(now.AddDate(-49, 0, 0)).Microseconds()) * 2000},
		{now.AddDate(-60, 0, 0), 0, 0},
		{time.Time{}, 0, 0},
	} {
		c := savedClock{Stopped: tc.stopped, MHz: 2000}
		if got := c.jump(now, tc.least); got != tc.want {
			t.Errorf("stopped %v, least %v: %d ticks, want %d", tc.stopped, tc.least, got, tc.want)
		}
	}
}

func TestClockWarning(t *testing.T) {
	for _, tc := range []struct {
		clock *savedClock
		mhz   int
		want  string
	}{
		{nil, 2000, "goes on where it stood"},
		{&savedClock{MHz: 2000}, 2000, "goes on where it stood"},
		{&savedClock{MHz: 2000, Counters: []int64{0}}, 2019, ""},
		{&savedClock{MHz: 2000, Counters: []int64{0}}, 0, ""},
		{&savedClock{MHz: 2000, Counters: []int64{0}}, 2600, "a clock with 2000 MHz, and this host's has 2600"},
		{&savedClock{MHz: 2600, Counters: []int64{0}}, 2000, "too long or too short"},
	} {
		if got := tc.clock.warning(tc.mhz); !strings.Contains(got, tc.want) || tc.want == "" && got != "" {
			t.Errorf("%+v, here %d MHz: %q, want %q", tc.clock, tc.mhz, got, tc.want)
		}
	}
}

// What goes to QEMU is the file, but for the counters.
func TestFeed(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 20000)
	binary.BigEndian.PutUint64(data[1000:], 5)
	binary.BigEndian.PutUint64(data[1008:], 1<<63)
	stopped := time.Now().Add(-time.Hour)
	s := &savedGuest{manifest: &manifest{
		State: savedFile{Size: int64(len(data))},
		Clock: &savedClock{Stopped: stopped, MHz: 1000, Counters: []int64{1000, 1008, int64(len(data)) - 8}},
	}, state: tempFile(t, data)}
	r, w := blockingPipe(t)
	fed := make(chan error, 1)
	go func() { fed <- s.feed(w); unix.Close(w) }()
	got, err := io.ReadAll(r)
	if err := <-fed; err != nil {
		t.Error(err)
	}
	if err != nil || len(got) != len(data) {
		t.Fatalf("%d bytes of %d, %v", len(got), len(data), err)
	}
	for _, at := range s.Clock.Counters {
		ticks := binary.BigEndian.Uint64(got[at:]) - binary.BigEndian.Uint64(data[at:])
		if ticks < 3600e9 || ticks > 3600e9+60e9 {
			t.Errorf("the counter at %d has moved by %d", at, ticks)
		}
		copy(got[at:], data[at:at+8])
	}
	if !bytes.Equal(got, data) {
		t.Error("something else is different, too")
	}

	// The file has become shorter since; nobody reads.
	s.Clock = nil
	if err := s.state.Truncate(100); err != nil {
		t.Fatal(err)
	}
	r, w = blockingPipe(t)
	defer unix.Close(w)
	if err := s.feed(w); !errorHas(err, "it was truncated while it was read") {
		t.Error(err)
	}
	r.Close()
	if err := s.feed(w); !errorHas(err, "broken pipe") {
		t.Error(err)
	}
}

func blockingPipe(t *testing.T) (r *os.File, w int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r = os.NewFile(uintptr(p[0]), "pipe")
	t.Cleanup(func() { r.Close() })
	return r, p[1]
}

// A keeper whose QEMU waits for a state does not start it without, and says what became of one.
func TestKeeperLoad(t *testing.T) {
	k := startKeeper(t, keeperOpts{qemu: []string{"-incoming", "defer"}, plan: "incoming"})
	if got := k.start(); got != "what the guest goes on from has not been loaded" {
		t.Errorf("start before load: %q", got)
	}
	if got := k.ask(commandLoad); got != "" {
		t.Errorf("load without a pipe: %q", got)
	}
	r, w := blockingPipe(t)
	if _, err := unix.Write(w, []byte("this is no state")); err != nil {
		t.Fatal(err)
	}
	unix.Close(w)
	if got := k.ask(commandLoad, int(r.Fd())); !strings.Contains(got, "load of migration failed") {
		t.Errorf("load of something else: %q", got)
	}
	if code := k.wait(); code != 125 {
		t.Errorf("exit code %d", code)
	}
}
