// Bad input: one clear line, exit code 1, and nothing left behind, whatever is wrong.

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestBadConfig runs create (and run) on each; want is a word that the line must hold: what is wrong, by its name.
func TestBadConfig(t *testing.T) {
	edit := func(f func(s *specs.Spec)) func(*ctr) {
		return func(c *ctr) { f(c.spec); c.write() }
	}
	raw := func(text string) func(*ctr) {
		return func(c *ctr) { c.r.must(os.WriteFile(c.dir+"/config.json", []byte(text), 0o644)) }
	}
	users := func(first, size, user uint32) func(*specs.Spec) {
		return func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: first, HostID: 100000, Size: size}}
			s.Linux.GIDMappings = s.Linux.UIDMappings
			s.Process.User.UID = user
		}
	}
	for _, x := range []struct {
		name, want string
		spoil      func(*ctr)
		runc       bool // runc 1.1 refuses it, too
	}{
		{"no bundle", "", func(c *ctr) { c.r.must(os.RemoveAll(c.dir)); c.r.must(os.Mkdir(c.dir, 0o755)) }, true},
		{"no config.json", "config.json", func(c *ctr) { c.r.must(os.Remove(c.dir + "/config.json")) }, true},
		{"config.json is a directory", "config.json", func(c *ctr) {
			c.r.must(os.Remove(c.dir + "/config.json"))
			c.r.must(os.Mkdir(c.dir+"/config.json", 0o755))
		}, true},
		{"empty config.json", "", raw(""), true},
		{"not JSON", "", raw("process: {}"), true},
		{"cut off", "", raw(`{"ociVersion":"1.0.2","process":{"args":["sh"`), true},
		{"wrong type", "args", raw(`{"ociVersion":"1.0.2","process":{"args":"sh","cwd":"/"},"root":{"path":"rootfs"}}`), true},
		{"an array", "", raw(`[]`), true},
		{"null", "", raw(`null`), true},
		{"deep", "", raw(strings.Repeat("[", 100_000)), true},
		{"no process", "process", edit(func(s *specs.Spec) { s.Process = nil }), true},
		{"no args", "args", edit(func(s *specs.Spec) { s.Process.Args = nil }), true},
		{"empty args[0]", "args", edit(func(s *specs.Spec) { s.Process.Args = []string{""} }), false},
		{"relative cwd", "cwd", edit(func(s *specs.Spec) { s.Process.Cwd = "tmp" }), true},
		{"no cwd", "cwd", edit(func(s *specs.Spec) { s.Process.Cwd = "" }), true},
		{"no root", "root", edit(func(s *specs.Spec) { s.Root = nil }), true},
		{"no linux", "", edit(func(s *specs.Spec) { s.Linux = nil }), true}, // so no mount namespace
		{"rootfs is missing", "nosuch", edit(func(s *specs.Spec) { s.Root.Path = "nosuch" }), true},
		{"rootfs is a file", "config.json", edit(func(s *specs.Spec) { s.Root.Path = "config.json" }), false},
		{"version", "3.0.0", edit(func(s *specs.Spec) { s.Version = "3.0.0" }), false},
		{"not a version", "one", edit(func(s *specs.Spec) { s.Version = "one" }), false},
		{"namespace", "nosuch", edit(func(s *specs.Spec) { s.Linux.Namespaces[0].Type = "nosuch" }), true},
		{"relative namespace path", "", edit(func(s *specs.Spec) { s.Linux.Namespaces[1].Path = "proc/self/ns/net" }), true},
		{"no mount namespace", "mount", edit(func(s *specs.Spec) { dropNS(s, specs.MountNamespace) }), true},
		{"hostname without its namespace", "", edit(func(s *specs.Spec) { dropNS(s, specs.UTSNamespace) }), true},
		{"rlimit", "RLIMIT_NOSUCH", edit(func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOSUCH"}} }), true},
		{"rlimit twice", "RLIMIT_NOFILE", edit(func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 10, Hard: 10}, {Type: "RLIMIT_NOFILE", Soft: 9, Hard: 9}}
		}), false},
		{"rlimit soft over hard", "RLIMIT_NOFILE", edit(func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 20, Hard: 10}}
		}), true},
		{"oom score", "", edit(func(s *specs.Spec) { n := 2000; s.Process.OOMScoreAdj = &n }), true},
		{"sysctl of the host", "vm.swappiness", edit(func(s *specs.Spec) { s.Linux.Sysctl["vm.swappiness"] = "1" }), true},
		{"sysctl of the host's network", "net.", edit(func(s *specs.Spec) { dropNS(s, specs.NetworkNamespace) }), true},
		{"sysctl with a path", "..", edit(func(s *specs.Spec) { s.Linux.Sysctl["net/../../kernel/hostname"] = "x" }), true},
		{"sysctl unknown", "net.nosuch", edit(func(s *specs.Spec) { s.Linux.Sysctl["net.nosuch"] = "1" }), true},
		{"environment without =", "", edit(func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, "A\x00B=1") }), false},
		{"NUL in an argument", "", edit(func(s *specs.Spec) { s.Process.Args = []string{"echo", "a\x00b"} }), false},
		{"mount without destination", "destination", edit(func(s *specs.Spec) { s.Mounts = append(s.Mounts, specs.Mount{Type: "tmpfs"}) }), false},
		{"cgroup path out", "..", edit(func(s *specs.Spec) { s.Linux.CgroupsPath = "../../" + s.Linux.CgroupsPath }), false},
		{"user namespace without maps", "", edit(func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		}), true},
		{"user namespace without root", "must have a container ID 0", edit(users(1, 10, 1)), false},
		{"user outside its user namespace", "process.user.uid 1000 has no place in linux.uidMappings", edit(users(0, 1000, 1000)), false},
		{"apparmor where there is none", "AppArmor", edit(func(s *specs.Spec) { s.Process.ApparmorProfile = "docker-default" }), true},
		{"negative timeout", "timeout", edit(func(s *specs.Spec) {
			minus := -1
			setHook(s, "prestart", specs.Hook{Path: "/bin/true", Timeout: &minus})
		}), false},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRT(t)
			if x.name == "apparmor where there is none" && exec.Command("test", "-d", "/sys/kernel/security/apparmor").Run() == nil {
				t.Skip("AppArmor is here")
			}
			if !x.runc {
				r.onlyRunh("runc 1.1 takes it")
			}
			c := r.sh("echo never")
			x.spoil(c)
			before := rtMountsBut(r)
			res := c.tryCreate()
			if !r.isRunh() { // runc's texts are its own
				if res.code == 0 || res.err == "" {
					t.Errorf("exit code %d, stderr %q", res.code, res.err)
				}
			} else {
				res.fails(x.want)
				c.run().fails(x.want)
			}
			if _, err := os.Stat(c.dir + "/pid"); err == nil {
				t.Error("left a pid file")
			}
			if left := r.leftovers(); len(left) != 0 {
				t.Errorf("left %q", left)
			}
			if after := rtMountsBut(r); after != before {
				t.Errorf("the host's mounts changed:\n%s\nto\n%s", before, after)
			}
		})
	}
}

// What create is given beside the bundle can be wrong, too; the container that was all but ready is undone.
func TestBadCreateFlags(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc 1.1 hides some of these")
	c := r.sh("echo never")
	r.do("create", "--bundle", "/nosuch/bundle", c.id).fails("/nosuch/bundle")
	r.do("create", "--bundle", c.dir, "--pid-file", "/nosuch/dir/pid", c.id).fails("/nosuch/dir/")
	r.do("create", "--bundle", c.dir, "--preserve-fds", "-1", c.id).fails("preserve-fds")
	r.do("create", "--bundle", c.dir, "--preserve-fds", "x", c.id).fails("preserve-fds")
	r.do("create", "--bundle", c.dir, "--preserve-fds", "9x", c.id).fails("preserve-fds")
	d := r.sh("true", func(s *specs.Spec) { s.Process.Terminal = true })
	r.do("create", "--bundle", d.dir, "--console-socket", "/nosuch/socket", d.id).fails("/nosuch/socket")
	r.do("create", "--bundle", d.dir, "--console-socket", "/"+strings.Repeat("x", 120), d.id).fails("")
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// The state of a container can be damaged: by a full disk, by hand. Other containers do not suffer, and force removes it.
func TestDamagedState(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"empty":         func(p string) error { return os.Truncate(p, 0) },
		"cut":           func(p string) error { return os.Truncate(p, 40) },
		"not ours":      func(p string) error { return os.WriteFile(p, []byte(`{"id":"x","pid":1,"magic":"other/1"}`), 0o600) },
		"gone":          os.Remove,
		"of a dead pid": func(p string) error { return rtEditState(p, "pid", 4_000_000) },
		"a reused pid":  func(p string) error { return rtEditState(p, "pid", os.Getpid()) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRT(t)
			r.onlyRunh("this is about runh's own file")
			c, other := r.sh("sleep 1000").create().start(), r.sh("sleep 1000").create()
			r.must(damage(filepath.Join(r.root, c.id, "runh.json")))
			if name == "a reused pid" { // never signal another process
				r.do("kill", c.id, "KILL").fails("container not running")
			}
			if res := r.do("list", "-q"); res.code != 0 || !strings.Contains(res.out, other.id) {
				t.Errorf("list beside it: exit code %d, %q, %q", res.code, res.out, res.err)
			}
			other.wantStatus("created")
			if res := r.do("delete", "--force", c.id); res.code != 0 {
				t.Errorf("delete --force: exit code %d, %s", res.code, res.err)
			}
			r.do("delete", "--force", c.id).ok()
			r.do("delete", "--force", other.id).ok()
			if name == "of a dead pid" || name == "a reused pid" {
				rtReap(c.pid, rtLimit)
			}
		})
	}
}

// rtEditState changes one member of a JSON file, whatever the case of its name.
func rtEditState(p, member string, value any) error {
	b, err := os.ReadFile(p)
	if err != nil {
		return err
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	for k := range m {
		if strings.EqualFold(k, member) {
			m[k] = value
		}
	}
	b, err = json.Marshal(m)
	if err != nil {
		return err
	}
	return os.WriteFile(p, b, 0o600)
}

// linux.intelRdt without resctrl, and with a name that is none.
func TestIntelRdt(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("the text is runh's")
	rdt := func(closID string) func(*specs.Spec) {
		return func(s *specs.Spec) {
			s.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: closID, L3CacheSchema: "L3:0=f"}
		}
	}
	if needResctrl() != nil {
		r.bundle([]string{"true"}, rdt("gold")).tryCreate().fails("linux.intelRdt: this host offers no resource control by the processor")
	}
	for _, name := range []string{"..", "a/b", "info", "mon_groups", "../x"} {
		r.bundle([]string{"true"}, rdt(name)).tryCreate().fails(fmt.Sprintf("linux.intelRdt.closID is %q: it must be the name of a group of resctrl", name))
	}
}

// A word that is not known names the one that was meant, and help and version have a page of their own.
func TestUnknownWords(t *testing.T) {
	r := newRT(t)
	r.do("run", "--bundel", ".", "c").fails("unknown flag \"--bundel\" (did you mean --bundle?)")
	r.do("lsit").fails("unknown command \"lsit\" (did you mean list?)")
	r.do("help", "lsit").fails("No help topic for 'lsit': unknown command \"lsit\" (did you mean list?)")
	r.do("lsit", "-h").fails("No help topic for 'lsit'")
	for _, name := range []string{"help", "version"} {
		if out := r.do("help", name).ok().out; !strings.HasPrefix(out, "NAME:\n   runh "+name+" ") {
			t.Errorf("help %s: %q", name, out)
		}
	}
}
