// Labels of security modules. This kernel may have none that is enabled; then what is tested is that nobody who asked for
// confinement runs without, and that the question would reach the kernel.

package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestLabelsWithoutModule(t *testing.T) {
	needs(t, !hasAppArmor() && !hasSELinux(), "a kernel without AppArmor and SELinux")
	r := newRT(t)
	r.sh("true", func(s *specs.Spec) { s.Process.ApparmorProfile = "some-profile" }).tryCreate().fails("")
	r.sh("true", func(s *specs.Spec) { s.Process.SelinuxLabel = "a_u:b_r:c_t:s0" }).tryCreate().fails("")
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
	r.onlyRunh("what follows is its own way")
	r.sh("true", func(s *specs.Spec) { s.Process.ApparmorProfile = "some-profile" }).tryCreate().
		fails(`process.apparmorProfile "some-profile": AppArmor is not enabled on this host`)
	// Without SELinux runh ignores linux.mountLabel, as runc does.
	r.sh("true", func(s *specs.Spec) { s.Linux.MountLabel = "system_u:object_r:container_file_t:s0:c1,c2" }).output()

	c := r.bundle([]string{"sleep", "1000"}).create().start()
	for flag, text := range map[string]string{
		"--apparmor=some-profile": "AppArmor is not enabled on this host", "--process-label=a_u:b_r:c_t:s0": "SELinux is not enabled on this host",
	} {
		if res := r.do("exec", flag, c.id, "true"); res.code != 255 || !strings.Contains(res.err, text) {
			t.Errorf("exec %s: exit code %d, stderr %q", flag, res.code, res.err)
		}
	}
	p := *c.spec.Process
	p.ApparmorProfile = "some-profile"
	if res := r.do("exec", "--process", c.processFile(&p, "true"), c.id); res.code != 255 || !strings.Contains(res.err, "AppArmor") {
		t.Errorf("exec --process: exit code %d, stderr %q", res.code, res.err)
	}
}

// On a machine that only says it has AppArmor, the kernel refuses the label as invalid: it was asked, by the right process,
// through the right file, and its answer came back.
func TestLabelIsWritten(t *testing.T) {
	needs(t, !hasAppArmor() && !hasSELinux() && rtReadOr("/proc/self/attr/exec") == "", "a kernel without AppArmor and SELinux")
	r := newRT(t)
	r.onlyRunh("it looks for AppArmor elsewhere")
	asked := func(c *ctr, args ...string) result {
		script := `mount -t tmpfs none /sys/module && mkdir -p /sys/module/apparmor/parameters && echo Y >/sys/module/apparmor/parameters/enabled && exec "$@"`
		cmd := r.cmd(args...)
		cmd.Args = append([]string{"unshare", "-m", "sh", "-c", script, "sh", cmd.Path}, cmd.Args[1:]...)
		cmd.Path, _ = exec.LookPath("unshare")
		return r.doCmd(cmd)
	}
	const text = `set the AppArmor profile "some-profile": invalid argument`
	profile := func(s *specs.Spec) { s.Process.ApparmorProfile = "some-profile" }
	noSys := func(s *specs.Spec) { // a user namespace may not mount a sysfs of which the host sees but a part
		s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return strings.HasPrefix(m.Destination, "/sys") })
	}
	for _, c := range []*ctr{r.sh("true", profile), r.sh("true", profile, noSys).ownUsers()} {
		if res := asked(c, "run", "--bundle", c.dir, c.id); res.code != 1 || !strings.Contains(res.err, text) {
			t.Errorf("run: exit code %d, stderr %q", res.code, res.err)
		}
	}
	for _, c := range []*ctr{r.bundle([]string{"sleep", "1000"}), r.bundle([]string{"sleep", "1000"}).ownUsers()} {
		c.create().start()
		if res := asked(c, "exec", "--apparmor", "some-profile", c.id, "true"); res.code != 255 || !strings.Contains(res.err, text) {
			t.Errorf("exec: exit code %d, stderr %q", res.code, res.err)
		}
	}
	// A guest's process gets no label, and the kernel is asked all the same.
	g := r.guest("app", []string{"hello"}, profile)
	for _, args := range [][]string{{"run", "--bundle", g.dir, g.id}, {"explain", "--bundle", g.dir}} {
		if res := asked(g, args...); res.code != 1 || !strings.Contains(res.err, text) {
			t.Errorf("%s of a guest: exit code %d, stdout %q, stderr %q", args[0], res.code, res.out, res.err)
		}
	}
	if left, _ := os.ReadDir(r.root); len(left) != 2 {
		t.Errorf("%d containers are left, want the two that run", len(left))
	}
}

// With AppArmor in the kernel, and a profile of the test's own.
func TestAppArmor(t *testing.T) {
	if !hasAppArmor() {
		leftToVM(t)
		return
	}
	r := newRT(t)
	r.onlyRunh("the words are runh's")
	load := exec.Command("/sbin/apparmor_parser", "--replace", "--skip-cache")
	load.Stdin = strings.NewReader("profile " + r.token + " flags=(attach_disconnected,mediate_deleted) { file, capability, network, signal, ptrace, mount, umount, pivot_root, deny /mnt/** w, }\n")
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("apparmor_parser: %v: %s", err, out)
	}
	asks := func(profile string) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Process.ApparmorProfile = profile }
	}
	const script = "cat /proc/self/attr/current; touch /mnt/x 2>&1; touch /tmp/x && echo made"
	const confined = " (enforce)\ntouch: /mnt/x: Permission denied\nmade\n"
	if res := r.sh(script, asks(r.token)).run(); res.out != r.token+confined {
		t.Errorf("run: exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
	}
	c := r.bundle([]string{"sleep", "1000"}).create().start()
	if res := r.do("exec", "--apparmor", r.token, c.id, "sh", "-c", script); res.out != r.token+confined {
		t.Errorf("exec: exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
	}
	const unknown = `process.apparmorProfile "nosuch": the profile is not loaded`
	r.sh("true", asks("nosuch")).tryCreate().fails(unknown)
	r.guest("app", []string{"hello"}, asks("nosuch")).tryCreate().fails(unknown)
	if res := r.do("exec", "--apparmor", "nosuch", c.id, "true"); res.code != 255 || !strings.Contains(res.err, unknown) {
		t.Errorf("exec: exit code %d, stderr %q", res.code, res.err)
	}
	// One that is there stops no guest, and the log says that it has no effect. There is no QEMU here.
	r.global = append(r.global, "--log-level", "warn")
	r.guest("app", []string{"hello"}, asks(r.token)).tryCreate().fails("no QEMU")
	if want := `process.apparmorProfile \"` + r.token + `\" has no effect on a guest`; !strings.Contains(rtReadOr(r.log), want) {
		t.Errorf("the log lacks %q: %s", want, rtReadOr(r.log))
	}
}

// What explain lists: fields of a Linux process that this config sets.
func TestNotForGuests(t *testing.T) {
	c := &createPlan{spec: &specs.Spec{Root: &specs.Root{}, Linux: &specs.Linux{}, Process: &specs.Process{Cwd: "/"}}}
	if got := notForGuests(c, false); len(got) != 0 {
		t.Errorf("of an empty process: %q", got)
	}
	c.spec.Process.ApparmorProfile, c.spec.Process.SelinuxLabel = "docker-default", "a_u:b_r:c_t:s0"
	if got := strings.Join(notForGuests(c, false), " "); got != "process.apparmorProfile process.selinuxLabel" {
		t.Errorf("of one with labels: %q", got)
	}
}

func TestLabelMounts(t *testing.T) {
	mounts := []mountRequest{
		{fstype: "tmpfs", data: []string{"size=1m"}},
		{fstype: "bind", bind: true},
		{fstype: "proc"},
		{fstype: "mqueue"},
	}
	labelMounts(mounts, "u:r:t:s0:c1,c2")
	got := strings.Join(mounts[0].data, ",") + strings.Join(mounts[1].data, ",") + strings.Join(mounts[2].data, ",") + strings.Join(mounts[3].data, ",")
	if got != `size=1m,context="u:r:t:s0:c1,c2"` || mounts[3].xattr != "u:r:t:s0:c1,c2" {
		t.Errorf("%s, xattr %q", got, mounts[3].xattr)
	}
}
