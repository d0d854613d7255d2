// Containers in systemd's scopes and slices. TestVM runs these tests in a machine with systemd as its init; elsewhere
// there is only an error to be had.

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func cgroupsPath(path string) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Linux.CgroupsPath = path }
}

func withProperty(name, value string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations["org.systemd.property."+name] = value
	}
}

// unit asks systemd for properties of a unit, as "name=value" lines.
func (r *rt) unit(name string, properties ...string) string {
	r.Helper()
	args := []string{"show", "-p", strings.Join(properties, ",")}
	if name != "" { // else systemd itself
		args = append(args, name)
	}
	out, err := exec.Command("systemctl", args...).CombinedOutput()
	if err != nil {
		r.Fatalf("systemctl: %v: %s", err, out)
	}
	return string(out)
}

func (r *rt) wantUnit(name string, want ...string) {
	r.Helper()
	var names []string
	for _, w := range want {
		property, _, _ := strings.Cut(w, "=")
		names = append(names, property)
	}
	have := "\n" + r.unit(name, names...)
	for _, w := range want {
		if !strings.Contains(have, "\n"+w+"\n") {
			r.Errorf("%s: want %s, have %s", name, w, have)
		}
	}
}

func (r *rt) noUnit(name string) {
	r.Helper()
	r.eventually("no unit "+name, func() bool { return r.unit(name, "LoadState") == "LoadState=not-found\n" })
}

func TestSystemd(t *testing.T) {
	if !rtSystemd() {
		r := newRT(t)
		r.onlyRunh("the text is runh's")
		r.global = []string{"--systemd-cgroup"}
		r.bundle([]string{"true"}, cgroupsPath("")).tryCreate().fails("this host does not run systemd")
		r.bundle([]string{"true"}).tryCreate().fails(`the systemd driver wants "slice:prefix:name"`)
		r.bundle([]string{"true"}, cgroupsPath("a:b:c")).tryCreate().fails(`"a" is not the name of a slice`)
		return
	}
	t.Run("bus", func(t *testing.T) {
		for _, a := range systemdAddresses(false) {
			c, err := dialDBus(a.socket)
			if err != nil {
				t.Errorf("%s: %v", a.socket, err)
				continue
			}
			defer c.close()
			if c.onBus = a.onBus; c.onBus {
				err = c.joinBus()
			}
			if err != nil {
				t.Errorf("%s: %v", a.socket, err)
			}
			version, err := c.version()
			for end := time.Now().Add(rtLimit); err != nil && time.Now().Before(end); version, err = c.version() {
				time.Sleep(10 * time.Millisecond) // systemd has yet to come to the bus
			}
			if err != nil || version < 200 {
				t.Errorf("%s: version %d, %v", a.socket, version, err)
			}
			// A job, and an answer that is none.
			unit := fmt.Sprintf("runhtest%d.slice", len(a.socket))
			if err := c.job("StartTransientUnit", unit, "replace", []unitProperty{{"Description", "of a test"}}, noUnits{}); err != nil {
				t.Errorf("%s: start: %v", a.socket, err)
			}
			if err := c.job("StopUnit", unit, "replace"); err != nil {
				t.Errorf("%s: stop: %v", a.socket, err)
			}
			if err := c.manager("SetUnitProperties", "nosuch.scope", true, []unitProperty{{"TasksMax", uint64(5)}}); err == nil {
				t.Errorf("%s: a unit that is not there was changed", a.socket)
			}
		}
	})
	t.Run("scope", func(t *testing.T) {
		r := newRT(t)
		c := r.bundle([]string{"sleep", "1000"}, withProperty("TimeoutStopSec", "uint64 7"), withProperty("Description", "'one of ours'"),
			resources(t, `{"memory":{"limit":33554432},"pids":{"limit":20},"cpu":{"quota":50500,"period":100000,"cpus":"0-1"}}`)).create()
		unit := filepath.Base(c.group())
		memory := map[bool]string{false: "MemoryMax", true: "MemoryLimit"}[hybridCgroup()] + "=33554432"
		want := []string{
			"ActiveState=active", "Slice=system.slice", "Delegate=yes", memory, "TasksMax=20", "CPUQuotaPerSecUSec=510ms", "AllowedCPUs=0-1",
			"DevicePolicy=strict", "TimeoutStopUSec=7s", "Description=one of ours", "ControlGroup=" + c.group(),
		}
		r.wantUnit(unit, want...)
		c.wantLimit(limitQuota, "50500", "50500 100000")
		c.start()
		r.do("update", "--pids-limit", "30", c.id).ok()
		r.wantUnit(unit, "TasksMax=30", memory)
		c.wantLimit(limitPids, "30", "30")
		// systemd reads all its units anew: nothing is lifted.
		if out, err := exec.Command("systemctl", "daemon-reload").CombinedOutput(); err != nil {
			t.Errorf("daemon-reload: %v: %s", err, out)
		}
		c.wantLimit(limitPids, "30", "30")
		c.wantLimit(limitMemory, "33554432", "33554432")
		if res := r.do("exec", c.id, "sh", "-c", "mknod /tmp/kmsg c 1 11; cat /tmp/kmsg"); !strings.Contains(res.err, "not permitted") {
			t.Errorf("/dev/kmsg: %q", res.err)
		}
		r.do("pause", c.id).ok()
		c.wantStatus("paused")
		r.do("resume", c.id).ok()
		r.bundle([]string{"true"}, cgroupsPath("system.slice:runh:"+c.id)).tryCreate().fails("not empty: 1 process")
		r.do("delete", "--force", c.id).ok()
		r.noUnit(unit)
	})
	t.Run("default", func(t *testing.T) {
		r := newRT(t)
		c := r.bundle([]string{"sleep", "1000"}, cgroupsPath("")).create().start()
		r.wantUnit("runh-"+c.id+".scope", "ActiveState=active", "Slice=system.slice")
		r.do("kill", c.id, "KILL").ok()
		c.wait()
		r.do("delete", c.id).ok()
		r.noUnit("runh-" + c.id + ".scope")
	})
	t.Run("another slice", func(t *testing.T) {
		r := newRT(t)
		c := r.bundle([]string{"cat", "/proc/self/cgroup"}, cgroupsPath("runhtest-deep.slice:pre:"+r.token))
		if res := c.run(); res.code != 0 || !strings.Contains(res.out, "/runhtest.slice/runhtest-deep.slice/pre-"+r.token+".scope\n") {
			t.Errorf("exit code %d, %q, %q", res.code, res.out, res.err)
		}
	})
	t.Run("a slice itself", func(t *testing.T) {
		r := newRT(t)
		name := "runhtest-" + r.token + ".slice"
		c := r.bundle([]string{"sleep", "1000"}, cgroupsPath("runhtest.slice:unused:"+name), resources(t, `{"pids":{"limit":20}}`)).create().start()
		r.wantUnit(name, "ActiveState=active", "TasksMax=20", "ControlGroup=/runhtest.slice/"+name)
		if got := rtRead(t, fmt.Sprintf("/proc/%d/cgroup", c.pid)); !strings.Contains(got, "/runhtest.slice/"+name+"\n") {
			t.Errorf("the container is in %q", got)
		}
		r.do("delete", "--force", c.id).ok()
		r.eventually("the slice is not active", func() bool { return !strings.Contains(r.unit(name, "ActiveState"), "=active") })
	})
	t.Run("a create that fails", func(t *testing.T) {
		r := newRT(t)
		for name, edit := range map[string]func(*specs.Spec){
			"program": func(s *specs.Spec) { s.Process.Args = []string{"/nosuch"} },
			"limit":   resources(t, `{"cpu":{"quota":1}}`),
			"cpus":    resources(t, `{"cpu":{"cpus":"400"}}`),
		} {
			c := r.bundle([]string{"true"}, edit)
			if res := c.tryCreate(); res.code != 1 {
				t.Errorf("%s: exit code %d, %q", name, res.code, res.err)
			}
			r.noUnit(filepath.Base(c.group()))
		}
	})
	t.Run("another pid namespace", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("others have a wrong process moved")
		c := r.bundle([]string{"true"})
		// Under cgroup v1 systemd moves units in other controllers' trees as it needs them: its own tree is what counts.
		ours := func() string {
			return regexp.MustCompile(`(?m)^(1:name=systemd|0:):.*`).FindString(rtRead(t, "/proc/self/cgroup"))
		}
		before := ours()
		res := r.doCmd(exec.Command("unshare", "-p", "-f", "--mount-proc", r.bin, "--root", r.root, "--systemd-cgroup", "run", "--bundle", c.dir, c.id))
		if res.code != 1 || !strings.Contains(res.err, "systemd is in another pid namespace") {
			t.Errorf("exit code %d, stderr %q", res.code, res.err)
		}
		r.noUnit(filepath.Base(c.group()))
		if after := ours(); before == "" || after != before {
			t.Errorf("we were in %q and are in %q now", before, after)
		}
	})
	t.Run("properties that are refused", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("others take them")
		for name, value := range map[string]string{"Wants": "['poweroff.target']", "PIDs": "[uint32 1]", "FailureAction": "'reboot'", "Slice": "'init.scope'"} {
			r.bundle([]string{"true"}, withProperty(name, value)).tryCreate().fails("nothing that concerns other units")
		}
		r.bundle([]string{"true"}, withProperty("CollectMode", "inactive")).tryCreate().fails("is no value like")
		r.bundle([]string{"true"}, withProperty("KillNoSuch", "5")).tryCreate().fails("KillNoSuch")
	})
}

// An ordinary user's container is a unit of the user's own manager, in the cgroup that this one was given. Here the
// driver alone is asked, by a process of that user.
func TestSystemdUser(t *testing.T) {
	switch {
	case os.Getenv("RUNH_TEST_USER") != "":
		systemdUserTest(t)
		return
	case !rtSystemd():
		if c := (&systemdUnit{user: true, name: "x.scope", parent: "user.slice"}); os.Getenv("XDG_RUNTIME_DIR") == "" {
			if _, err := c.place(); !errorHas(err, "XDG_RUNTIME_DIR is not set") {
				t.Error(err)
			}
		}
		return
	case hybridCgroup():
		return // v1 hierarchies are not given to users
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestSystemdUser$", "-test.v")
	cmd.Env = append(os.Environ(), "RUNH_TEST_USER=1", "XDG_RUNTIME_DIR=/run/user/1000", "TMPDIR=/tmp")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestSystemdUser") {
		t.Errorf("%v: %s", err, out)
	}
}

func systemdUserTest(t *testing.T) {
	limit := int64(20)
	c, err := newCgroup("one", cgroupSpec("", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}}), true, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.createBirthplace(); err != nil { // nothing, for a scope
		t.Fatal(err)
	}
	child := startJoined(t, exec.Command("/bin/sh", "-c", "echo joined; exec sleep 1000"))
	if err := c.enter(child.Process.Pid); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", child.Process.Pid))
	if !strings.HasSuffix(string(text), "/user.service/user.slice/runh-one.scope\n") || !strings.Contains(string(text), strings.TrimPrefix(c.places[0].dir, cgroupRoot)) {
		t.Errorf("it is in %s, and should be in %s", text, c.places[0].dir)
	}
	cgroupFile{"", "", "", "pids.max", "20"}.check(t, c)
	other := again(c)
	if err := other.update(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: new(int64(30))}}); err != nil {
		t.Error(err)
	}
	cgroupFile{"", "", "", "pids.max", "30"}.check(t, c)
	if err := other.killAll(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	_ = child.Wait() // it was killed
	if err := other.destroy(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(c.places[0].dir); err == nil {
		t.Errorf("%s is still there", c.places[0].dir)
	}
}
