package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// FuzzMountOptions: whatever words a mount has, no attribute is both set and cleared, the last word of two that
// contradict each other counts, and only what runh does not know is left for the file system.
func FuzzMountOptions(f *testing.F) {
	for _, seed := range [][2]string{
		{"tmpfs", "nosuid,noexec,nodev,size=65536k,mode=755"},
		{"bind", "rbind,ro,rprivate"},
		{"none", "bind,rro,rnosuid,noatime"},
		{"tmpfs", "tmpcopyup,strictatime,norelatime,atime"},
		{"", "ridmap,rshared,remount,,=,ro=1"},
		{"rbind", "rw,suid,exec,dev,defaults"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, kind, options string) {
		words := strings.Split(options, ",")
		read := func(more ...string) (mountRequest, error) {
			return readMount(specs.Mount{Destination: "/d", Type: kind, Source: "s", Options: append(slices.Clone(words), more...)}, "/bundle")
		}
		m, err := read()
		unknown := (m.bind || m.remount) && len(m.data) > 0 // words for a file system, of which neither makes one
		if wants := unknown || m.tmpcopyup && m.fstype != "tmpfs"; (err != nil) != wants {
			t.Fatalf("words %q and tmpcopyup %v on %q: %v", m.data, m.tmpcopyup, m.fstype, err)
		}
		if both := (m.set&m.clear | m.rset&m.rclear) &^ atime; both != 0 {
			t.Fatalf("attributes %#x are set and cleared", both)
		}
		if m.bind && (m.fstype != "bind" || !filepath.IsAbs(m.source)) {
			t.Fatalf("a bind mount of type %q from %q", m.fstype, m.source)
		}
		known := mountOptionNames()
		for _, word := range m.data {
			if slices.Contains(known, word) {
				t.Fatalf("the word %q is left for the file system", word)
			}
		}
		for word, want := range map[string][2]uint64{"ro": {unix.MOUNT_ATTR_RDONLY, 0}, "rw": {0, unix.MOUNT_ATTR_RDONLY}} {
			last, _ := read(word)
			if last.set&unix.MOUNT_ATTR_RDONLY != want[0] || last.clear&unix.MOUNT_ATTR_RDONLY != want[1] {
				t.Fatalf("%s comes last, and set is %#x, clear %#x", word, last.set, last.clear)
			}
		}
	})
}
