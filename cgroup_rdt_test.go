package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// fakeGroup is a group of resctrl with what the kernel puts there. No kernel of the tests has resctrl.
func fakeGroup(t *testing.T, root, name string) string {
	t.Helper()
	dir := filepath.Join(root, name)
	if err := os.MkdirAll(dir+"/mon_groups", 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"schemata": "    MB:0=100;1= 50\n    L3:0=0000f;1=fff00\n", "tasks": ""} {
		if err := os.WriteFile(dir+"/"+file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRdtGroup(t *testing.T) {
	root := t.TempDir()
	gold := fakeGroup(t, root, "gold")
	for _, x := range []struct {
		rdt  specs.LinuxIntelRdt
		want string // part of the error, "" for none
	}{
		{specs.LinuxIntelRdt{ClosID: "gold"}, ""},
		{specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:0=f;1=FFF00"}, ""},
		{specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:1=fff00;0=f", MemBwSchema: "MB:0=100;1=50"}, ""},
		{specs.LinuxIntelRdt{ClosID: "gold", Schemata: []string{"MB:0=100;1=50"}, L3CacheSchema: "L3:0=1"}, ""},
		{specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:0=f"}, `exists, and its schemata is not "L3:0=f"`},
		{specs.LinuxIntelRdt{ClosID: "gold", MemBwSchema: "MB:0=100;1=51"}, `is not "MB:0=100;1=51"`},
		{specs.LinuxIntelRdt{ClosID: "gold", Schemata: []string{"L2:0=1"}}, `is not "L2:0=1"`},
		{specs.LinuxIntelRdt{ClosID: "silver"}, `closID is "silver": there is no such group, and no schema to make it with`},
		{specs.LinuxIntelRdt{ClosID: "silver", L3CacheSchema: "L3:0=f"}, "silver/schemata"}, // which no kernel has made here
	} {
		s, err := makeRdt(root, "id", &x.rdt)
		if x.want != "" {
			if !errorHas(err, x.want) {
				t.Errorf("%+v: %v, want %q", x.rdt, err, x.want)
			}
		} else if err != nil || s.Group != gold || s.Made || s.Monitor != "" {
			t.Errorf("%+v: %+v, %v", x.rdt, s, err)
		}
		if left, _ := os.ReadDir(root); len(left) != 1 {
			t.Errorf("%+v left %v", x.rdt, left)
		}
	}
	// Without a name the group is the container's own; with monitoring there is one below. delete removes both, and no others.
	own, err := makeRdt(root, "id", &specs.LinuxIntelRdt{})
	if err != nil || own.Group != root+"/id" || !own.Made {
		t.Fatalf("%+v, %v", own, err)
	}
	if _, err := makeRdt(root, "id", &specs.LinuxIntelRdt{}); !errorHas(err, "exists already") {
		t.Error(err)
	}
	watched, err := makeRdt(root, "id", &specs.LinuxIntelRdt{ClosID: "gold", EnableMonitoring: true})
	if err != nil || watched.Monitor != gold+"/mon_groups/id" {
		t.Fatalf("%+v, %v", watched, err)
	}
	if err := os.WriteFile(watched.Monitor+"/tasks", nil, 0o644); err != nil { // as the kernel would
		t.Fatal(err)
	}
	if err := watched.join(4712); err != nil {
		t.Error(err)
	}
	for _, name := range []string{gold + "/tasks", gold + "/mon_groups/id/tasks"} {
		if b, _ := os.ReadFile(name); string(b) != "4712" {
			t.Errorf("%s has %q", name, b)
		}
	}
	os.Remove(watched.Monitor + "/tasks")
	for _, s := range []*rdtState{own, watched, nil} {
		if err := s.remove(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(gold + "/schemata"); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(gold + "/mon_groups"); len(left) != 0 {
		t.Error(left)
	}
}

func TestRdtJoinAndUpdate(t *testing.T) {
	s := &rdtState{Group: fakeGroup(t, t.TempDir(), "gold")}
	if err := s.join(4711); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(s.Group + "/tasks"); string(b) != "4711" {
		t.Errorf("%q", b)
	}
	_, _, lines, err := parseUpdate(&globals{}, []string{"--l3-cache-schema", "L3:0=3", "--mem-bw-schema", "MB:0=70", "id"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.write(lines); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(s.Group + "/schemata"); string(b) != "L3:0=3\nMB:0=70\n" {
		t.Errorf("%q", b)
	}
	// What l3CacheSchema says of memory gives way to memBwSchema, and both to schemata.
	r := &specs.LinuxIntelRdt{L3CacheSchema: "L3:0=f\nMB:0=10", MemBwSchema: "MB:0=20"}
	if lines := schemataLines(r); !slices.Equal(lines, []string{"L3:0=f", "MB:0=20"}) {
		t.Errorf("%q", lines)
	}
	if r.Schemata = []string{"L2:0=1"}; !slices.Equal(schemataLines(r), r.Schemata) {
		t.Errorf("%q", schemataLines(r))
	}
}
