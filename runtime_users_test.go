// User namespaces as the host's root makes them: a Hermit application in one, namespaces that several containers share,
// exec into them. runtime_rootless_test.go has those of an ordinary user; runtime_idmap_test.go the mounts.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// guestUsers gives a bundle with a guest a user namespace of these many ids.
func (c *ctr) guestUsers(size uint32) *ctr {
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: size}}
	c.spec.Linux.Namespaces = append(c.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	c.spec.Linux.UIDMappings, c.spec.Linux.GIDMappings = ids, ids
	c.spec.Linux.Sysctl = nil
	c.write()
	c.r.must(os.Chmod(c.r.dir, 0o755))
	c.r.must(os.Chown(c.rootfs(), 100000, 100000))
	return c
}

// wantJailed checks what holds for every QEMU; its ids on the host are from first to last.
func (r *rt) wantJailed(pid, first, last int) {
	r.Helper()
	for field, bad := range map[string]string{"CapEff": `[1-9a-f]`, "CapPrm": `[1-9a-f]`, "CapBnd": `[1-9a-f]`, "CapAmb": `[1-9a-f]`, "CapInh": `[1-9a-f]`, "NoNewPrivs": `0`, "Seccomp": `[01]`, "Groups": `\d`} {
		if v := rtStatus(r.T, pid, field); regexp.MustCompile(bad).MatchString(v) {
			r.Errorf("QEMU's %s is %q", field, v)
		}
	}
	for _, field := range []string{"Uid", "Gid"} {
		f := strings.Fields(rtStatus(r.T, pid, field))
		n, err := strconv.Atoi(f[0])
		if err != nil || n < first || n > last || f[1] != f[0] || f[2] != f[0] || f[3] != f[0] {
			r.Errorf("QEMU's %s is %q, want one of %d to %d", field, f, first, last)
		}
	}
	for _, p := range []string{"/etc", "/root", "/tmp", "/bin/sh", "/hermit", "/proc", "/sys"} {
		if _, err := os.Lstat(fmt.Sprintf("/proc/%d/root%s", pid, p)); err == nil {
			r.Errorf("QEMU's root has %s", p)
		}
	}
	if mine, its := rtLink("/proc/self/ns/user"), rtLink(pidNS(pid, "user")); mine == its {
		r.Error("QEMU is in the host's user namespace")
	}
}

func rtLink(name string) string { to, _ := os.Readlink(name); return to }

// A Hermit application in a user namespace: QEMU is one of the namespace's ordinary users, where there is one.
func TestHermitUserNamespace(t *testing.T) {
	for _, x := range []struct {
		name        string
		size        uint32
		first, last int // QEMU's user, on the host
	}{
		{"of 65536 ids", 65536, 132768, 165535},
		{"of two ids", 2, 100001, 100001},
		{"of root alone", 1, 100000, 100000},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newHermit(t)
			for _, code := range []int{0, 7} {
				res := r.guest("app", []string{"exit", strconv.Itoa(code)}).guestUsers(x.size).run()
				if res.code != code || res.out != rtLastWords(code) || res.err != "" {
					t.Errorf("exit code %d, want %d; stdout %q, stderr %q", res.code, code, res.out, res.err)
				}
			}
			c := r.guest("app", []string{"count"}).guestUsers(x.size).create().start()
			c.out.until("count 1")
			r.wantJailed(r.vmm(c), x.first, x.last)
			r.do("kill", c.id, "TERM").ok()
			if code := c.wait(); code != 143 {
				t.Errorf("exit code %d after SIGTERM, want 143", code)
			}
			r.do("delete", c.id).ok()
		})
	}
	t.Run("joined", func(t *testing.T) {
		r := newHermit(t)
		a := r.bundle([]string{"sleep", "1000"}).ownUsers().create().start()
		c := r.guest("app", []string{"count"}).guestUsers(65536)
		c.spec.Linux.UIDMappings, c.spec.Linux.GIDMappings = nil, nil
		joinNS(specs.UserNamespace, pidNS(a.pid, "user"))(c.spec)
		joinNS(specs.NetworkNamespace, pidNS(a.pid, "net"))(c.spec)
		c.write()
		c.create().start()
		c.out.until("count 1")
		r.wantJailed(r.vmm(c), 132768, 165535)
		r.do("delete", "--force", c.id).ok()
	})
	t.Run("files that its root cannot reach", func(t *testing.T) {
		r := newHermit(t)
		r.must(os.Mkdir(r.dir+"/private", 0o700))
		env := r.dir + "/private/env"
		r.do("env", "build", env).ok()
		r.global = []string{"--hermit-env", env}
		if res := r.guest("app", []string{"exit", "7"}).guestUsers(65536).run(); res.code != 7 || res.out != rtLastWords(7) {
			t.Errorf("exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
		}
	})
}

// A container that joins another's mount namespace has that one's root.
func TestJoinedMountNamespace(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc 1.1 cannot")
	a := r.sh("echo theirs >/tmp/file; exec sleep 1000").create().start()
	r.eventually("the file is there", func() bool { return rtReadOr(a.rootfs()+"/tmp/file") == "theirs\n" })
	b := r.sh("cat /tmp/file; pwd", joinNS(specs.MountNamespace, pidNS(a.pid, "mnt")), func(s *specs.Spec) {
		s.Mounts, s.Process.Cwd = nil, "/tmp"
	})
	if got := b.output(); got != "theirs\n/tmp\n" {
		t.Errorf("%q", got)
	}
	// A copy of the host's namespace gets the container's own rootfs; the host's own namespace is entered, and stays as it is.
	cmd := exec.Command("unshare", "-m", "sleep", "1000")
	r.must(cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	own, err := os.Readlink("/proc/self/ns/mnt")
	r.must(err)
	r.eventually("a mount namespace", func() bool {
		its, err := os.Readlink(pidNS(cmd.Process.Pid, "mnt"))
		return err == nil && its != own && rtReadOr(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid)) == "sleep\n"
	})
	c := r.sh("ls -d /etc/debian_version /bin/sh", joinNS(specs.MountNamespace, pidNS(cmd.Process.Pid, "mnt")))
	if got := c.run().out; got != "/bin/sh\n" {
		t.Errorf("%q", got)
	}
	d := r.sh("ls -d /etc/debian_version", joinNS(specs.MountNamespace, "/proc/self/ns/mnt"), func(s *specs.Spec) { s.Mounts = nil })
	if got := d.run().out; got != "/etc/debian_version\n" {
		t.Errorf("%q", got)
	}
	if mounts := rtReadOr("/proc/self/mountinfo"); strings.Contains(mounts, c.rootfs()) || strings.Contains(mounts, d.rootfs()) {
		t.Errorf("the host's mounts:\n%s", mounts)
	}
}
