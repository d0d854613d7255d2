// A checkpoint's manifest: what is written is read, and nothing else is.

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

func testManifest() *manifest {
	return &manifest{
		Magic: manifestMagic, Runh: "0", Created: time.Unix(1700000000, 5).UTC(), ID: "a",
		QEMU: savedQEMU{"7.2.22 (Debian 1:7.2)", "aa"}, App: savedFile{1, "bb"},
		VM:      savedVM{Machine: "microvm", Accel: "tcg", CPU: "max", VCPUs: 1, MemoryMiB: 64, Network: "user", Append: "-- 'a b' \x01 \U0001f600"},
		Console: savedConsole{Position: 1 << 63, Line: "00ff"},
		State:   savedFile{Size: 100},
		Clock:   &savedClock{Stopped: time.Unix(1700000000, 7).UTC(), MHz: 2600, Counters: []int64{3, 92}},
	}
}

func TestManifest(t *testing.T) {
	text := testManifest().encode()
	m, err := decodeManifest(text)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.encode(), text) || m.VM != testManifest().VM || m.Console.Position != 1<<63 {
		t.Errorf("%s", text)
	}
	for i := range text { // every byte counts
		damaged := bytes.Clone(text)
		damaged[i] ^= 1
		if _, err := decodeManifest(damaged); err == nil {
			t.Errorf("taken with byte %d altered: %s", i, damaged)
		}
		if _, err := decodeManifest(text[:i]); err == nil {
			t.Errorf("taken with %d of %d bytes", i, len(text))
		}
	}
	long := testManifest()
	long.Console.Line = strings.Repeat("0", 2*maxConsoleLine+2)
	if _, err := decodeManifest(long.encode()); err == nil {
		t.Error("a line that the keeper has no room for was taken")
	}
}

func TestQEMUVersion(t *testing.T) {
	for answer, want := range map[string]string{
		`{"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian 1"}`: "7.2.22 (Debian 1)",
		`{"qemu": {"micro": 0, "minor": 1, "major": 9}, "package": ""}`:          "9.1.0",
		`{"qemu": 1}`: "unknown",
		`{`:           "unknown",
	} {
		if got := qemuVersion([]byte(answer)); got != want {
			t.Errorf("%s: %q, want %q", answer, got, want)
		}
	}
}

// Whatever the two files hold, openSaved says yes only to what was written, and never fails otherwise than by an error.
func FuzzManifest(f *testing.F) {
	state := []byte("the state")
	good := testManifest()
	dir := f.TempDir()
	if err := os.WriteFile(dir+"/"+stateName, state, 0o600); err != nil {
		f.Fatal(err)
	}
	s, err := os.Open(dir + "/" + stateName)
	if err != nil {
		f.Fatal(err)
	}
	if good.State, err = describeFile(s); err != nil {
		f.Fatal(err)
	}
	s.Close()
	f.Add(good.encode(), state)
	f.Add([]byte(`{"magic":"runh-checkpoint/1"}`), []byte{})
	f.Add(bytes.Replace(good.encode(), []byte("microvm"), []byte("\\u006dicrovm"), 1), state)
	f.Fuzz(func(t *testing.T, text, state []byte) {
		for name, content := range map[string][]byte{manifestName: text, stateName: state} {
			if err := os.WriteFile(dir+"/"+name, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := openSaved(dir, true)
		if err != nil {
			if strings.Contains(err.Error(), "BUG") {
				t.Error(err)
			}
			return
		}
		defer got.state.Close()
		if !bytes.Equal(got.encode(), text) || got.State.Size != int64(len(state)) {
			t.Errorf("taken: %q with a state of %d bytes", text, len(state))
		}
		if _, err := got.Console.line(); err != nil {
			t.Error(err)
		}
	})
}
