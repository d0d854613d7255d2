// The listings of explain --program: golden ones, which need neither root nor anything of this host's, and the program
// in a real init's memory, which they must equal.

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// go test -run TestListing -update writes testdata/golden anew.
var updateGolden = flag.Bool("update", false, "write testdata/golden, and what the docs have of the table of settings")

// listedHost is the host of the golden listings: the facts are the same everywhere.
func listedHost() *hostFacts {
	return &hostFacts{
		user: func() int { return 0 },
		held: func() uint64 { return 1<<len(capabilityNames) - 1 },
		limit: func(resource int) (unix.Rlimit, error) {
			if resource == unix.RLIMIT_NOFILE {
				return unix.Rlimit{Cur: 1024, Max: 524288}, nil
			}
			return unix.Rlimit{Cur: 4096, Max: 4096}, nil
		},
		stdio: func(fd int) (unix.Stat_t, error) { // stdin is /dev/null, the others are pipes
			if fd == 0 {
				return unix.Stat_t{Mode: unix.S_IFCHR | 0o666}, nil
			}
			return unix.Stat_t{Mode: unix.S_IFIFO | 0o600}, nil
		},
		directory: func(path string) (bool, error) {
			file := filepath.Ext(path) != "" || slices.Contains([]string{"hosts", "hostname", "null"}, filepath.Base(path))
			return !file, nil
		},
		exists:     func(string) bool { return true },
		procfs:     func(path string) bool { return path == "/proc" },
		mountPoint: func(string) string { return "/" },
		cgroups: func(bool) (*cgroupHost, error) {
			return &cgroupHost{v2: true, trees: []cgroupTree{{mount: cgroupRoot, own: cgroupRoot}}}, nil
		},
		namespaces: func(*namespaces) error { return nil },
		built:      func(*namespaces, string) bool { return false },
		kvm:        func() (unix.Stat_t, error) { return unix.Stat_t{Gid: 104}, nil },
		apparmor:   func() bool { return true },
		selinux:    func() bool { return true },
	}
}

func cgroupTrees(v1, v2 bool) func(bool) (*cgroupHost, error) {
	h := &cgroupHost{}
	if v1 {
		h.trees = []cgroupTree{
			{names: []string{"cpu", "cpuacct"}, mount: cgroupRoot + "/cpu,cpuacct", own: cgroupRoot + "/cpu,cpuacct"},
			{names: []string{"memory"}, mount: cgroupRoot + "/memory", own: cgroupRoot + "/memory"},
			{names: []string{"name=systemd"}, mount: cgroupRoot + "/systemd", own: cgroupRoot + "/systemd"},
		}
	}
	if v2 {
		h.trees = append(h.trees, cgroupTree{mount: cgroupRoot + "/unified", own: cgroupRoot + "/unified"})
	}
	return func(bool) (*cgroupHost, error) { return h, nil }
}

// listedAs are the golden listings that need more than their config: what the command line and the host say.
var listedAs = map[string]func(c *createPlan){
	"podman-rootless": func(c *createPlan) {
		c.facts.user = func() int { return 1000 }
		c.facts.held = func() uint64 { return 0 }
	},
	"joined-built-namespace": func(c *createPlan) { c.facts.built = func(*namespaces, string) bool { return true } },
	"user-namespace-joined": func(c *createPlan) {
		c.facts.namespaces = func(n *namespaces) error {
			for i := range n.join { // the network namespace belongs to the user namespace
				n.join[i].inside = n.join[i].flag == unix.CLONE_NEWNET
			}
			return nil
		}
	},
	"joined-namespaces": func(c *createPlan) {
		c.facts.namespaces = func(*namespaces) error {
			return errors.New("namespace \"pid\": open /proc/77/ns/pid: no such file or directory")
		}
	},
	"cgroup-v1":           func(c *createPlan) { c.facts.cgroups = cgroupTrees(true, false) },
	"cgroup-hybrid":       func(c *createPlan) { c.facts.cgroups = cgroupTrees(true, true) },
	"cgroup-systemd":      func(c *createPlan) { c.g.systemdCgroup = true },
	"cgroup-systemd-fork": func(c *createPlan) { c.g.systemdCgroup = true },
	"crio":                func(c *createPlan) { c.g.systemdCgroup = true },
	"exec-v1":             func(c *createPlan) { c.facts.cgroups = cgroupTrees(true, false) },
	"no-pivot":            func(c *createPlan) { c.opts.noPivot = true },
	"hermit-no-pivot":     func(c *createPlan) { c.opts.noPivot = true },
	"hermit-log":          func(c *createPlan) { c.g.log = "/var/log/runh.log" },
}

// TestListingGolden compares each config of testdata/golden with its listing.
func TestListingGolden(t *testing.T) {
	configs, err := filepath.Glob("testdata/golden/*.json")
	if err != nil || len(configs) < 40 {
		t.Fatalf("%d configs, %v", len(configs), err)
	}
	used, points := map[string]bool{}, map[string]bool{}
	for _, config := range configs {
		name := strings.TrimSuffix(filepath.Base(config), ".json")
		l, text := golden(t, name)
		for _, unknown := range l.unknown() {
			t.Errorf("%s: not decoded: %s", name, unknown)
		}
		for _, p := range l.Parts {
			for _, s := range p.Sections {
				for _, c := range s.Calls {
					used[c.Call] = true
					if c.Point != nil {
						points[c.Point.Name] = true
					}
					for _, to := range []*int{c.Others, c.Zero} {
						if to != nil && (*to < 0 || *to > p.last()) {
							t.Errorf("%s: %s #%d leads to %d", name, p.Name, c.Number, *to)
						}
					}
				}
			}
		}
		file := "testdata/golden/" + name + ".txt"
		if *updateGolden {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		} else if string(want) != text {
			t.Errorf("%s: the listing is another one (go test -run TestListing -update, and look at the difference):\n%s", name, firstDifference(string(want), text))
		}
	}
	for _, row := range listingTable {
		if !used[row.name] {
			t.Errorf("no golden listing has %s", row.name)
		}
	}
	for _, p := range syncTable[1:] {
		if !points[p.name] {
			t.Errorf("no golden listing comes to %s", p.name)
		}
	}
}

func (p *listingPart) last() (n int) {
	for _, s := range p.Sections {
		n = max(n, s.Calls[len(s.Calls)-1].Number)
	}
	return n
}

func firstDifference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\nwas %s\nis  %s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, and %d before", len(b), len(a))
}

// golden is the listing of a config, on the host of all of them, with /bundle as its bundle.
func golden(t *testing.T, name string) (*listing, string) {
	t.Helper()
	dir := t.TempDir()
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile("testdata/golden/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), bytes.ReplaceAll(config, []byte("BUNDLE"), []byte(dir)), 0o644); err != nil {
		t.Fatal(err)
	}
	c := &createPlan{g: &globals{root: "/run/runh", logLevel: "error"}, facts: listedHost(), opts: createOptions{bundle: dir, id: explainID}}
	if set := listedAs[name]; set != nil {
		set(c)
	}
	if err := c.readBundle(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if c.init.cgroup = c.expectCgroup(); c.g.systemdCgroup {
		c.init.cgroup = systemdGroup(t, c)
	}
	var g *guest
	if strings.HasPrefix(name, "hermit") {
		g = goldenGuest(t, name)
	}
	l := new(listing)
	if err := c.list(l, g, &explainOptions{exec: strings.HasPrefix(name, "exec")}); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return l, strings.ReplaceAll(l.text(), dir, "/bundle")
}

// systemdGroup is the scope that systemd would make, on a host that may have no systemd.
func systemdGroup(t *testing.T, c *createPlan) *cgroup {
	t.Helper()
	p, err := parseSystemdPath(c.opts.id, c.spec.Linux.CgroupsPath)
	if err != nil {
		t.Fatal(err)
	}
	host, _ := c.facts.cgroups(false)
	group := placeCgroup(host, "/"+p.slice+"/"+p.prefix+"-"+p.name+".scope")
	group.setUnit(&systemdUnit{name: p.name, parent: p.slice, pending: true})
	return group
}

// goldenGuest is a guest as create would have planned it: QEMU and the image are not needed.
func goldenGuest(t *testing.T, name string) *guest {
	t.Helper()
	file := func(mode os.FileMode) *os.File {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, make([]byte, 10000), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	_, kind, _ := strings.Cut(name, "-")
	mode := os.FileMode(0o755)
	if kind == "private" {
		mode = 0o600
	}
	own := []specs.LinuxIDMapping{{Size: 4294967295}}
	g := &guest{
		app: &hermitApp{file: file(mode), path: "/hermit/app", size: 10000}, loader: &hermitLoader{file: file(0o644), path: "/hermit/loader"}, uids: own, gids: own,
		qemu: &qemuFiles{QEMU: "/usr/bin/qemu-system-x86_64", LibPath: "/lib", Files: []qemuFile{
			{Host: "/usr/bin/qemu-system-x86_64", Guest: "/usr/bin/qemu-system-x86_64"},
			{Host: "/usr/lib/libglib-2.0.so.0", Guest: "/lib/libglib-2.0.so.0"},
			{Guest: "/lib64", Link: "lib"},
			{Host: "/usr/share/qemu", Guest: "/usr/share/qemu", Dir: true},
		}},
		vm: &vmConfig{Machine: "microvm", Accel: "tcg", CPU: "max", VCPUs: 1, MemoryMiB: 32, NeedsMiB: 40, Network: "none", Boot: bootLine{Front: "-ip none"}},
	}
	switch kind {
	case "user", "direct", "shared":
		g.vm.Network = kind
		if kind == "user" {
			g.vm.Lease = &lease{MAC: "02:00:00:00:00:01", IP: "10.0.2.15", Bits: 24, Gateway: "10.0.2.2", MTU: 1500}
		}
	case "kvm":
		g.vm.Accel, g.vm.CPU = "kvm", "host"
	case "no-loader":
		g.loader, g.vm.PVH = nil, true
	case "host-loader":
		g.loader.host = true
	case "image":
		g.qemu.image = []*jailFile{{name: "/usr", dir: true, open: true}, {name: "/lib", dir: true, open: true}}
		g.qemu.Files = nil
	case "template":
		g.mark = "ready"
	case "share", "volumes":
		g.share = &sharePlan{
			tag: "root", rootfs: true,
			daemon: &shareFiles{Path: "/usr/libexec/virtiofsd", Rust: true, Files: []qemuFile{{Host: "/usr/libexec/virtiofsd", Guest: "/usr/libexec/virtiofsd"}}},
		}
		if g.vm.Share = g.share.tag; kind == "volumes" {
			g.share.tag, g.share.volumes = "/", []volume{{"/data", true}, {"/etc/app.conf", false}}
		}
	}
	return g
}

// TestListingKnowsEveryCall: a call that a program makes somewhere in the source has a row in the table.
func TestListingKnowsEveryCall(t *testing.T) {
	known := map[string]bool{}
	for _, row := range listingTable {
		known["SYS_"+strings.ToUpper(row.name)] = true
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	calls := regexp.MustCompile(`\.call\(unix\.(SYS_[A-Z0-9_]+)`)
	n := 0
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range calls.FindAllStringSubmatch(string(text), -1) {
			if n++; !known[m[1]] {
				t.Errorf("%s: explain_listing_table.go does not know %s", source, m[1])
			}
		}
	}
	if n < 100 {
		t.Errorf("%d calls found", n)
	}
}

// TestSecurityListing: the lines that SECURITY.md explains are those of the listing.
func TestSecurityListing(t *testing.T) {
	security, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(security), "## What the init does, call by call")
	section, _, _ = strings.Cut(section, "\n## ")
	_, text := golden(t, "read-only")
	lines := map[string]bool{}
	for line := range strings.Lines(text) {
		lines[strings.TrimSpace(line)] = true
	}
	n := 0
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "    ") {
			if n++; !lines[strings.TrimSpace(line)] {
				t.Errorf("the listing has no line %q", strings.TrimSpace(line))
			}
		}
	}
	if n < 10 {
		t.Errorf("SECURITY.md shows %d calls", n)
	}
}

// TestListingJSON: the same facts.
func TestListingJSON(t *testing.T) {
	l, _ := golden(t, "kubernetes-container")
	var again listing
	if err := json.Unmarshal(encodeJSON(l, "  "), &again); err != nil {
		t.Fatal(err)
	}
	if again.text() != l.text() {
		t.Error(firstDifference(l.text(), again.text()))
	}
}
