package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestCheckSpec(t *testing.T) {
	// The example has a cgroup namespace on cgroup v2 only.
	added := fmt.Sprintf("linux.namespaces[%d]", len(exampleSpec(nil).Linux.Namespaces))
	num := func(n int) *int { return &n }
	mask := func(n uint32) *uint32 { return &n }
	tests := []struct {
		want string // "" is valid
		edit func(*specs.Spec)
	}{
		{"", func(s *specs.Spec) {}},
		{"ociVersion is missing", func(s *specs.Spec) { s.Version = "" }},
		{"", func(s *specs.Spec) { s.Version = "1.0.2-dev" }},
		{"", func(s *specs.Spec) { s.Version = "1.9.0+build.5" }},
		{`ociVersion "1.0" is not a version such as 1.3.0`, func(s *specs.Spec) { s.Version = "1.0" }},
		{`ociVersion "v1.0.0" is not a version`, func(s *specs.Spec) { s.Version = "v1.0.0" }},
		{`ociVersion "1.02.0" is not a version`, func(s *specs.Spec) { s.Version = "1.02.0" }},
		{`ociVersion "1..0" is not a version`, func(s *specs.Spec) { s.Version = "1..0" }},
		{`ociVersion "2.0.0": this runtime knows versions 1.0.0 to`, func(s *specs.Spec) { s.Version = "2.0.0" }},
		{`ociVersion "0.9.9": this runtime knows`, func(s *specs.Spec) { s.Version = "0.9.9" }},

		{"process is missing", func(s *specs.Spec) { s.Process = nil }},
		{"process.args is empty", func(s *specs.Spec) { s.Process.Args = nil }},
		{`process.args[1] "a\x00b" contains a zero byte`, func(s *specs.Spec) { s.Process.Args = []string{"sh", "a\x00b"} }},
		{"process.cwd is missing", func(s *specs.Spec) { s.Process.Cwd = "" }},
		{`process.cwd "tmp" is not an absolute path`, func(s *specs.Spec) { s.Process.Cwd = "tmp" }},
		{`process.cwd "/\x00" contains a zero byte`, func(s *specs.Spec) { s.Process.Cwd = "/\x00" }},
		{`process.env[0] "PATH" has no '='`, func(s *specs.Spec) { s.Process.Env = []string{"PATH"} }},
		{`process.env[1] "=x" has no name`, func(s *specs.Spec) { s.Process.Env = []string{"A==", "=x"} }},
		{`contains a zero byte`, func(s *specs.Spec) { s.Process.Env = []string{"A=\x00"} }},
		{"process.user.uid 4294967295 is not a user ID", func(s *specs.Spec) { s.Process.User.UID = 1<<32 - 1 }},
		{"process.user.gid 4294967295 is not a group ID", func(s *specs.Spec) { s.Process.User.GID = 1<<32 - 1 }},
		{"process.user.umask 512 is more than", func(s *specs.Spec) { s.Process.User.Umask = mask(512) }},
		{"", func(s *specs.Spec) { s.Process.User.Umask = mask(0o777) }},
		{"process.oomScoreAdj 1001 is not between", func(s *specs.Spec) { s.Process.OOMScoreAdj = num(1001) }},
		{"", func(s *specs.Spec) { s.Process.OOMScoreAdj = num(-1000) }},
		{"", func(s *specs.Spec) { s.Process.Capabilities.Inheritable = capabilityNames[:] }},
		{"", func(s *specs.Spec) { s.Process.Capabilities = nil }},
		{`process.rlimits[1]: unknown type "NOFILE"`, func(s *specs.Spec) { s.Process.Rlimits = append(s.Process.Rlimits, specs.POSIXRlimit{Type: "NOFILE"}) }},
		{"process.rlimits[1]: RLIMIT_NOFILE is listed twice", func(s *specs.Spec) { s.Process.Rlimits = append(s.Process.Rlimits, s.Process.Rlimits[0]) }},
		{"soft limit 2 is more than the hard limit 1", func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CPU", Soft: 2, Hard: 1}} }},

		{"root is missing", func(s *specs.Spec) { s.Root = nil }},
		{"root.path is missing", func(s *specs.Spec) { s.Root.Path = "" }},
		{"mounts[0].destination is missing", func(s *specs.Spec) { s.Mounts[0].Destination = "" }},
		{"", func(s *specs.Spec) { s.Mounts[0].Destination = "proc" }},
		{"contains a zero byte", func(s *specs.Spec) { s.Mounts[0].Options = []string{"ro", "\x00"} }},
		{"uidMappings and gidMappings are only allowed together", func(s *specs.Spec) { s.Mounts[0].UIDMappings = []specs.LinuxIDMapping{{Size: 1}} }},

		{`hooks.createRuntime[0].path "true" is not an absolute path`, func(s *specs.Spec) { s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "true"}}} }},
		{"hooks.poststop[0].timeout 0 is not more than 0", func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/true", Timeout: num(0)}}}
		}},
		{"", func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/true", Timeout: num(1)}}}
		}},

		{"linux is missing", func(s *specs.Spec) { s.Linux, s.Hostname = nil, "" }},
		{"", func(s *specs.Spec) { dropNS(s, specs.MountNamespace) }}, // cmd_create_hostmounts.go
		{added + `: unknown namespace "net"`, func(s *specs.Spec) { addNamespace(s, "net", "") }},
		{added + ".type is missing", func(s *specs.Spec) { addNamespace(s, "", "") }},
		{added + ": pid is listed twice", func(s *specs.Spec) { addNamespace(s, "pid", "") }},
		{added + ` (time): path "ns" is not an absolute path`, func(s *specs.Spec) { addNamespace(s, "time", "ns") }},
		{`hostname "runh" needs a uts namespace`, func(s *specs.Spec) { dropNS(s, specs.UTSNamespace) }},
		{`domainname "d" needs a uts namespace`, func(s *specs.Spec) { dropNS(s, specs.UTSNamespace); s.Hostname, s.Domainname = "", "d" }},
		{"is longer than 64 bytes", func(s *specs.Spec) { s.Hostname = strings.Repeat("x", 65) }},

		{"a new user namespace needs both", func(s *specs.Spec) { addNamespace(s, "user", "") }},
		{"", func(s *specs.Spec) { addNamespace(s, "user", "/proc/1/ns/user") }},
		{"need a user namespace", func(s *specs.Spec) { s.Linux.GIDMappings = []specs.LinuxIDMapping{{Size: 1}} }},
		{"", makeRootless},
		{"linux.timeOffsets needs a new time namespace", func(s *specs.Spec) {
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {}}
		}},
		{`unknown clock "realtime"`, func(s *specs.Spec) {
			addNamespace(s, "time", "")
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"realtime": {}}
		}},

		{`linux.devices[0].path "dev/x" is not`, func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "dev/x", Type: "c"}} }},
		{`type "d" is not one of c, u, b, p`, func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "d"}} }},
		{"-1:0 is not a device number", func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "b", Major: -1}} }},
		{"", func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "p", Major: -1}} }},
		{`linux.rootfsPropagation "rrslave" is not one of`, func(s *specs.Spec) { s.Linux.RootfsPropagation = "rrslave" }},
		{"", func(s *specs.Spec) { s.Linux.RootfsPropagation = "rshared" }},
		{`linux.maskedPaths[0] "proc/x" is not`, func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"proc/x"} }},

		{`linux.sysctl: "vm.swappiness" belongs to no namespace`, func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"vm.swappiness": "1"} }},
		{`belongs to no namespace`, func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net/../vm/swappiness": "1"} }},
		{`belongs to no namespace`, func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net": "1"} }},
		{`the hostname property is the place`, func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.hostname": "x"} }},
		{`"user.max_pid_namespaces" needs a user namespace`, func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"user.max_pid_namespaces": "1"} }},
		{"", func(s *specs.Spec) {
			s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1", "kernel/shmmax": "1", "fs.mqueue.msg_max": "1", "kernel.domainname": "x"}
		}},
	}
	for _, x := range tests {
		s := exampleSpec(nil)
		x.edit(s)
		err := checkSpec(s)
		switch {
		case x.want == "" && err != nil, x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)):
			t.Errorf("error %v, want %q", err, x.want)
		case err != nil && oneLine(err.Error()) != err.Error():
			t.Errorf("not one line: %q", err)
		}
	}
	if err := checkSpec(dockerConfig(t)); err != nil {
		t.Errorf("Docker's config: %v", err)
	}
}

func addNamespace(s *specs.Spec, kind, path string) {
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.LinuxNamespaceType(kind), Path: path})
}

func TestSysctlPath(t *testing.T) {
	for name, want := range map[string]string{
		"net.ipv4.ip_forward":     "net/ipv4/ip_forward",
		"net/ipv4/ip_forward":     "net/ipv4/ip_forward",
		"net.ipv4.conf.eth0/1.rp": "net/ipv4/conf/eth0.1/rp",
		"net/ipv4/conf/eth0.1/rp": "net/ipv4/conf/eth0.1/rp",
		"kernel":                  "kernel",
		"net.ipv4.a/../x":         "net/ipv4/a.//.x", // refused: it has empty parts
	} {
		if got := sysctlPath(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestLoadSpec(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, x := range []struct{ bundle, want string }{
		{dir + "/nosuch", "bundle " + dir + "/nosuch is not a directory that exists"},
		{dir, "bundle " + dir + " has no config.json"},
		{write("{\n"), dir + "/config.json: line 2, column 1: not JSON: the text ends where a property is wanted"},
		{dir + "/config.json", "bundle " + dir + "/config.json is not a directory that exists"},
	} {
		if x.want == "bundle "+dir+" has no config.json" {
			os.Remove(dir + "/config.json")
		} else if x.bundle != dir+"/nosuch" {
			write("{\n")
		}
		_, _, err := loadSpec(x.bundle)
		if err == nil || err.Error() != x.want {
			t.Errorf("error %v, want %s", err, x.want)
		}
	}
	text := `{"ociVersion":"1.0.0"}`
	spec, data, err := loadSpec(write(text))
	if err != nil || string(data) != text || spec.Version != "1.0.0" {
		t.Errorf("%+v, %q, %v", spec, data, err)
	}
	f, err := os.Create(dir + "/config.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(configMax + 1); err != nil {
		t.Fatal(err)
	}
	if _, _, err := loadSpec(dir); err == nil || !strings.Contains(err.Error(), "is larger than 16777216 bytes") {
		t.Errorf("a huge config: %v", err)
	}
}

func TestRootfsPath(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/rootfs", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("rootfs", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ path, want string }{
		{"rootfs", dir + "/rootfs"},
		{"./link/", dir + "/rootfs"},
		{dir + "/rootfs", dir + "/rootfs"},
		{"file", "rootfs " + dir + "/file is a file where a directory is wanted"},
		{"nosuch", "rootfs " + dir + "/nosuch is missing"},
		{dir + "/file/x", "rootfs " + dir + "/file/x is a file where a directory is wanted"},
	} {
		got, err := rootfsPath(dir, &specs.Spec{Root: &specs.Root{Path: x.path}})
		if err != nil {
			got = err.Error()
		}
		if got != x.want {
			t.Errorf("%s: %s, want %s", x.path, got, x.want)
		}
	}
}

func TestSpec(t *testing.T) {
	dir := t.TempDir()
	var g globals
	if err := cmdSpec(&g, []string{"-b", dir, "--args", "/hermit/app", "two words"}); err != nil {
		t.Fatal(err)
	}
	spec, data, err := loadSpec(dir)
	if err != nil || checkSpec(spec) != nil || spec.Process.Terminal || !reflect.DeepEqual(spec.Process.Args, []string{"/hermit/app", "two words"}) {
		t.Errorf("%s: %v, %v", data, err, checkSpec(spec))
	}
	if !json.Valid(data) || !strings.Contains(string(data), "\n\t\"process\": {\n") {
		t.Errorf("not made for editing: %s", data)
	}
	err = cmdSpec(&g, []string{"-b", dir})
	if err == nil || err.Error() != "file "+dir+"/config.json exists: remove it first" {
		t.Errorf("a second spec: %v", err)
	}
	if err := cmdSpec(&g, []string{"-b", dir + "/nosuch"}); err == nil {
		t.Error("spec made a directory")
	}
}

// FuzzSpec: a config.json is refused in one line, or everything that create reads of it before it makes anything can be
// read; and it is the same after it has been written again.
func FuzzSpec(f *testing.F) {
	docker, err := os.ReadFile("testdata/docker-config.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(docker))
	f.Add(`{"ociVersion":"1.0.0","process":{"args":["sh"],"cwd":"/"},"root":{"path":"r"}}`)
	f.Add(`{"ociVersion":"1.3.0","process":{"args":["sh"],"cwd":"/","user":{"uid":1}},"root":{"path":"r"},"linux":{"namespaces":[{"type":"user"},{"type":"mount"}],` +
		`"uidMappings":[{"containerID":0,"hostID":1000,"size":2}],"gidMappings":[{"containerID":0,"hostID":1000,"size":1}],"sysctl":{"kernel.domainname":"x"}},` +
		`"mounts":[{"destination":"/a","type":"bind","source":"s","options":["ridmap"]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := decodeSpec([]byte(text))
		if err != nil {
			return
		}
		if err := checkSpec(s); err != nil {
			if strings.ContainsAny(oneLine(err.Error()), "\n\r") {
				t.Fatalf("more than one line: %q", err)
			}
			return
		}
		if s.Linux == nil {
			s.Linux = &specs.Linux{}
		}
		for _, m := range s.Mounts {
			if r, err := readMount(m, "/bundle"); err == nil && !filepath.IsAbs(r.dest) {
				t.Fatalf("mount on %q", r.dest)
			}
		}
		specDevices(s.Linux.Devices)
		readCapabilities(s.Process.Capabilities, 0, func(string, ...any) {})
		readSeccomp(s, func(string, ...any) {})
		readAnnotations(s, &hermitConfig{})
		if s.Linux.Resources != nil {
			readDeviceRules(s.Linux.Resources.Devices)
		}
		written := encodeJSON(s, "")
		again, err := decodeSpec(written)
		if err != nil || string(encodeJSON(again, "")) != string(written) {
			t.Fatalf("%s\nbecomes\n%s\n%v", written, encodeJSON(again, ""), err)
		}
	})
}
