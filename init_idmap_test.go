package main

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// FuzzIDMaps holds the arithmetic on id maps, which are of 32 bits, to the same in 64; and QEMU's id is always one that
// the maps have.
func FuzzIDMaps(f *testing.F) {
	f.Add(uint32(0), uint32(1000), uint32(1), uint32(1), uint32(100000), uint32(65536), uint32(1000))
	f.Add(uint32(0), uint32(0), uint32(4294967295), uint32(0), uint32(0), uint32(0), uint32(4294967294))
	f.Add(uint32(5), uint32(4294967290), uint32(5), uint32(4000000000), uint32(7), uint32(294967295), uint32(8))
	f.Fuzz(func(t *testing.T, inside1, outside1, size1, inside2, outside2, size2, id uint32) {
		var maps []specs.LinuxIDMapping
		for _, m := range []specs.LinuxIDMapping{{ContainerID: inside1, HostID: outside1, Size: size1}, {ContainerID: inside2, HostID: outside2, Size: size2}} {
			const end = 1 << 32 // user_namespaces(7): what the kernel takes
			if m.Size > 0 && uint64(m.ContainerID)+uint64(m.Size) <= end && uint64(m.HostID)+uint64(m.Size) <= end {
				maps = append(maps, m)
			}
		}
		has, found, first := false, false, uint32(0)
		for _, m := range maps {
			n := uint64(id)
			has = has || n >= uint64(m.ContainerID) && n < uint64(m.ContainerID)+uint64(m.Size)
			if !found && n >= uint64(m.HostID) && n < uint64(m.HostID)+uint64(m.Size) {
				found, first = true, uint32(uint64(m.ContainerID)+n-uint64(m.HostID))
			}
		}
		if got := hasID(maps, id); got != has {
			t.Fatalf("hasID(%v, %d) is %v", maps, id, got)
		}
		if got, ok := insideID(maps, id); got != first || ok != found {
			t.Fatalf("insideID(%v, %d) is %d, %v, want %d, %v", maps, id, got, ok, first, found)
		}
		if got := vmmID(maps, "/root", "id"); len(maps) > 0 && got != 0 && !hasID(maps, got) {
			t.Fatalf("QEMU would be %d, of %v", got, maps)
		}
	})
}
