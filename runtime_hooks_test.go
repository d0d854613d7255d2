// Hooks (runtime-spec config.md, "POSIX-platform Hooks"): for each of the six kinds its moment, namespaces and input, and the
// consequence of its failure.

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// setHook puts one hook under its name in config.json.
func setHook(s *specs.Spec, kind string, h ...specs.Hook) {
	if s.Hooks == nil {
		s.Hooks = new(specs.Hooks)
	}
	list := map[string]*[]specs.Hook{
		//lint:ignore SA1019 deprecated, and what Docker 20 sends
		"prestart":      &s.Hooks.Prestart,
		"createRuntime": &s.Hooks.CreateRuntime, "createContainer": &s.Hooks.CreateContainer,
		"startContainer": &s.Hooks.StartContainer, "poststart": &s.Hooks.Poststart, "poststop": &s.Hooks.Poststop,
	}[kind]
	*list = append(*list, h...)
}

var hookKinds = []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}

// shHook runs a script; for startContainer it is a shell of the container's, which is at the same place.
func shHook(script string) specs.Hook {
	return specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin", "HOOK=yes"}}
}

// TestHooksAll runs two hooks of each kind and reads what each saw: its order, state, namespaces, root and working directory.
func TestHooksAll(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc 1.1 runs poststart at create, and says created to it")
	c := r.sh("echo program >>/log/order; sleep 0.05; exit 3")
	log := filepath.Join(r.dir, "log")
	r.must(os.Mkdir(log, 0o755))
	c.spec.Mounts = append(c.spec.Mounts, bindAt(log, "/log", "bind"))
	for _, kind := range hookKinds {
		dir := log
		if kind == "startContainer" {
			dir = "/log"
		}
		look := fmt.Sprintf(`cat >%[1]s/%[2]s.state; echo %[2]s >>%[1]s/order; readlink /proc/self/ns/mnt >%[1]s/%[2]s.mnt; readlink /proc/self/ns/net >%[1]s/%[2]s.net
			pwd >%[1]s/%[2]s.cwd; cat /proc/self/environ >%[1]s/%[2]s.env`, dir, kind)
		setHook(c.spec, kind, shHook(look), shHook(fmt.Sprintf("echo %s2 >>%s/order", kind, dir)))
	}
	c.write()
	c.create()
	mnt, _ := os.Readlink(pidNS(c.pid, "mnt"))
	netns, _ := os.Readlink(pidNS(c.pid, "net"))
	hostMnt, _ := os.Readlink("/proc/self/ns/mnt")
	hostNet, _ := os.Readlink("/proc/self/ns/net")
	if got := rtReadOr(log + "/order"); got != "prestart\nprestart2\ncreateRuntime\ncreateRuntime2\ncreateContainer\ncreateContainer2\n" {
		t.Errorf("at create ran: %q", got)
	}
	c.start()
	if code := c.wait(); code != 3 {
		t.Errorf("exit code %d, want 3: %s", code, c.err.String())
	}
	r.do("delete", c.id).ok()
	order := strings.Fields(rtReadOr(log + "/order"))
	at := map[string]int{}
	for i, o := range order {
		at[o] = i
	}
	if len(order) != 13 || at["startContainer2"] > at["program"] || at["poststart"] < at["startContainer2"] || at["poststop2"] != 12 {
		t.Errorf("ran in the order %q", order)
	}
	// The runtime's own namespaces for all but the two that have "container" in their names.
	statuses := map[string]string{
		"prestart": "created", "createRuntime": "created", "createContainer": "created", "startContainer": "created", "poststart": "running", "poststop": "stopped",
	}
	for _, kind := range hookKinds {
		read := func(what string) string { return strings.TrimSpace(rtReadOr(filepath.Join(log, kind+"."+what))) }
		wantMnt, wantNet := hostMnt, hostNet
		if kind == "createContainer" || kind == "startContainer" {
			wantMnt, wantNet = mnt, netns
		}
		if read("mnt") != wantMnt || read("net") != wantNet {
			t.Errorf("%s ran in %s and %s, want %s and %s", kind, read("mnt"), read("net"), wantMnt, wantNet)
		}
		if env := read("env"); !strings.Contains(env, "HOOK=yes") || strings.Contains(env, "RUNH_TEST") {
			t.Errorf("%s has the environment %q", kind, env)
		}
		var s rtState
		if err := json.Unmarshal([]byte(read("state")), &s); err != nil {
			t.Errorf("%s read %q from stdin: %v", kind, read("state"), err)
			continue
		}
		inside := kind == "createContainer" || kind == "startContainer"
		wantPid := c.pid
		if kind == "poststop" {
			wantPid = 0
		}
		if s.ID != c.id || s.Bundle != c.dir || s.Status != statuses[kind] || s.OCIVersion == "" || !inside && s.Pid != wantPid {
			t.Errorf("%s was told %+v, want status %s and pid %d", kind, s, statuses[kind], wantPid)
		}
	}
	if cwd := strings.TrimSpace(rtReadOr(log + "/prestart.cwd")); cwd != c.dir && r.isRunh() {
		t.Errorf("prestart's working directory is %q, want the bundle", cwd)
	}
}

// execve(path, args): args[0] is free. Docker's hook has the path of dockerd and the name of its work; no args means the path alone,
// and no env runh's own.
func TestHookArguments(t *testing.T) {
	r := newRT(t)
	r.env = append(os.Environ(), "CALLER=yes")
	c := r.sh("true")
	log := filepath.Join(r.dir, "args")
	r.must(os.WriteFile(r.dir+"/hook", []byte("#!/bin/sh\ntr '\\0' '|' </proc/$$/cmdline >>"+log+"\nenv | grep -e ^CALLER >>"+log+"\ntrue\n"), 0o755))
	setHook(c.spec, "prestart",
		specs.Hook{Path: "/bin/busybox", Args: []string{"sh", "-c", "tr '\\0' '|' </proc/$$/cmdline >" + log + "; echo >>" + log, "a  b", ""}},
		specs.Hook{Path: r.dir + "/hook"})
	c.write()
	c.output()
	want := "sh|-c|tr '\\0' '|' </proc/$$/cmdline >" + log + "; echo >>" + log + "|a  b||\n/bin/sh|" + r.dir + "/hook|CALLER=yes\n"
	if got := rtReadOr(log); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// A hook that fails before the program runs fails the command and leaves nothing; poststop runs even so.
func TestHookFails(t *testing.T) {
	for _, kind := range []string{"prestart", "createRuntime", "createContainer"} {
		t.Run(kind, func(t *testing.T) {
			r := newRT(t)
			c := r.sh("echo never")
			setHook(c.spec, kind, shHook("echo to stdout; echo the reason >&2; exit 9"), shHook("echo never >"+r.dir+"/second"))
			setHook(c.spec, "poststop", shHook("echo ran >"+r.dir+"/poststop"))
			c.write()
			res := c.tryCreate()
			if res.code != 1 || !strings.Contains(res.err, "hook") || !strings.Contains(res.err, "the reason") {
				t.Errorf("exit code %d, stderr %q", res.code, res.err)
			}
			if r.isRunh() {
				res.fails(kind)
				if rtReadOr(r.dir+"/poststop") != "ran\n" {
					t.Error("poststop did not run after a failed create")
				}
			}
			if _, err := os.Stat(r.dir + "/second"); err == nil {
				t.Error("the next hook ran all the same")
			}
			if left := r.leftovers(); len(left) != 0 {
				t.Errorf("left %q", left)
			}
		})
	}
	t.Run("startContainer", func(t *testing.T) {
		r := newRT(t)
		c := r.sh("echo never")
		setHook(c.spec, "startContainer", shHook("echo the reason >&2; exit 9"))
		setHook(c.spec, "poststop", shHook("echo ran >"+r.dir+"/poststop"))
		c.write()
		c.create()
		res := r.do("start", c.id)
		c.wait()
		if out := c.out.all(rtLimit); out != "" {
			t.Errorf("the program ran: %q", out)
		}
		if r.isRunh() {
			res.fails("startContainer")
			wantDestroyed(r, c)
		}
	})
	t.Run("poststart", func(t *testing.T) { // since 1.3 an error that stops the container
		r := newRT(t)
		r.onlyRunh("runc 1.1 runs it at create")
		c := r.bundle([]string{"sleep", "1000"})
		setHook(c.spec, "poststart", shHook("echo the reason >&2; exit 9"))
		setHook(c.spec, "poststop", shHook("echo ran >>"+r.dir+"/poststop"))
		c.write()
		c.create()
		r.do("start", c.id).fails("poststart")
		if code := c.wait(); code != 137 {
			t.Errorf("exit code %d, want 137", code)
		}
		wantDestroyed(r, c)
		// run does both, and poststop runs once.
		for _, flags := range [][]string{{}, {"--detach"}} {
			r.must(os.Remove(r.dir + "/poststop"))
			c.run(flags...).fails("poststart")
			wantDestroyed(r, c)
		}
	})
	t.Run("poststop", func(t *testing.T) { // a warning; the others run, and all is gone
		r := newRT(t)
		r.onlyRunh("runc 1.1 fails")
		c := r.sh("true")
		setHook(c.spec, "poststop", shHook("exit 9"), shHook("echo ran >"+r.dir+"/second"))
		c.write()
		c.create().start()
		c.wait()
		if res := r.do("delete", c.id); res.code != 0 {
			t.Errorf("delete: exit code %d: %s", res.code, res.err)
		}
		if rtReadOr(r.dir+"/second") != "ran\n" {
			t.Error("the hook after the failed one did not run")
		}
		r.do("state", c.id).fails("does not exist")
	})
	t.Run("missing program", func(t *testing.T) {
		r := newRT(t)
		c := r.sh("true")
		setHook(c.spec, "createRuntime", specs.Hook{Path: "/nosuch/hook"})
		c.write()
		if res := c.tryCreate(); res.code != 1 || !strings.Contains(res.err, "/nosuch/hook") {
			t.Errorf("exit code %d, stderr %q", res.code, res.err)
		}
	})
	t.Run("relative path", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("runc takes it")
		c := r.sh("true")
		setHook(c.spec, "createRuntime", specs.Hook{Path: "bin/sh"})
		c.write()
		c.tryCreate().fails("bin/sh")
	})
}

// wantDestroyed: runtime.md, lifecycle steps 7 and 9, go on at step 12: the container is destroyed, and the poststop hooks have run, once.
func wantDestroyed(r *rt, c *ctr) {
	r.Helper()
	r.do("state", c.id).fails("does not exist")
	if got := rtReadOr(r.dir + "/poststop"); got != "ran\n" {
		r.Errorf("poststop left %q", got)
	}
	if left := r.leftovers(); len(left) != 0 {
		r.Errorf("left %q", left)
	}
}

// TestStartHookConfined: the program of a startContainer hook is the image's, so nothing that holds the container's process
// leaves it free: what either sees of itself is the same.
func TestStartHookConfined(t *testing.T) {
	look := `for x in $(seq 9); do :; done; grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp|Cpus_allowed_list):' /proc/self/status; cat /proc/self/limits /proc/self/cgroup /proc/self/oom_score_adj
		pwd; umask; cat /proc/self/environ; for ns in mnt pid net ipc uts user cgroup; do readlink /proc/self/ns/$ns; done; ls /proc/self/fd | wc -l`
	score, umask, pids := 321, uint32(0o027), int64(20)
	hook := specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", "(" + look + ") >/log/hook"}}
	confine := func(s *specs.Spec) {
		s.Process.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{5}, Umask: &umask}
		s.Process.Cwd, s.Process.NoNewPrivileges, s.Process.OOMScoreAdj = "/mnt", true, &score
		s.Process.Env = append(s.Process.Env, "OF=the process", "OF=the process, again")
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 30, Hard: 40}, {Type: "RLIMIT_CORE"}}
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &pids}
		setHook(s, "startContainer", hook)
	}
	for name, more := range map[string]func(*specs.Spec){
		"as it is":   func(*specs.Spec) {},
		"privileges": func(s *specs.Spec) { s.Process.NoNewPrivileges, s.Process.User.UID = false, 0 },
		"user namespace": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
			s.Linux.UIDMappings, s.Linux.GIDMappings = ids, ids
			s.Linux.Sysctl = nil // a group range of the host's
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRT(t)
			r.onlyRunh("runc 1.1 has other descriptors")
			r.must(os.Chmod(r.dir, 0o755))
			log := filepath.Join(r.dir, "log")
			r.must(os.Mkdir(log, 0o777))
			r.must(os.Chmod(log, 0o777))
			c := r.sh("("+look+") >/log/process", confine, more)
			r.must(os.Mkdir(c.rootfs()+"/log", 0o755))
			c.spec.Mounts = append(c.spec.Mounts, bindAt(log, "/log", "bind"))
			c.write()
			r.env = append(os.Environ(), "OF=runh")
			c.output()
			got, want := rtReadOr(log+"/hook"), rtReadOr(log+"/process")
			if got != want || !strings.Contains(got, "again") || !strings.Contains(got, "/mnt\n") || !strings.Contains(got, "Seccomp:\t2") {
				t.Errorf("the hook sees of itself:\n%s\nthe process:\n%s", got, want)
			}
		})
	}
	t.Run("hermit", func(t *testing.T) { // a Linux process beside the machine, as exec's
		r := newHermit(t)
		c := r.guest("app", []string{"hello"})
		c.spec.Process.NoNewPrivileges = true
		r.must(exec.Command("cp", "/bin/busybox", c.rootfs()+"/busybox").Run())
		setHook(c.spec, "startContainer", specs.Hook{Path: "/busybox", Args: []string{"grep", "-E", "^(NoNewPrivs|Seccomp|CapEff):", "/proc/self/status"}},
			specs.Hook{Path: "/busybox", Args: []string{"false"}})
		setHook(c.spec, "startContainer", specs.Hook{Path: "/nosuch"})
		c.write()
		c.create()
		r.do("start", c.id).fails("startContainer hook #1: /busybox: exit status 1")
	})
}

// A hook past its time is killed with all that it started, and is a failure.
func TestHookTimeout(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc waits for what the killed hook started")
	one := 1
	c := r.sh("echo never")
	h := shHook("sleep 1003 & sleep 1004; true")
	h.Timeout = &one
	setHook(c.spec, "createRuntime", h)
	c.write()
	begin := time.Now()
	res := c.tryCreate()
	if took := time.Since(begin); res.code != 1 || took < 900*time.Millisecond || took > 5*time.Second {
		t.Errorf("exit code %d after %v, stderr %q", res.code, took, res.err)
	}
	res.fails("createRuntime")
	r.eventually("the hook's children are dead", func() bool { return len(r.processes()) == 0 })
	e := r.sh("echo never")
	setHook(e.spec, "startContainer", h)
	e.write()
	e.create()
	r.do("start", e.id).fails("timeout of 1s exceeded")
	e.wait()
	d := r.sh("true")
	zero := 0
	h = shHook("true")
	h.Timeout = &zero
	setHook(d.spec, "createRuntime", h)
	d.write()
	d.tryCreate().fails("timeout") // config.md: greater than zero
}

// The state on stdin is an offer; a hook that does not read it, however long it is, is no failure.
func TestHookStdinUnread(t *testing.T) {
	r := newRT(t)
	c := r.sh("true", func(s *specs.Spec) {
		s.Annotations = map[string]string{"long": strings.Repeat("x", 300_000)}
		for _, kind := range hookKinds {
			setHook(s, kind, shHook("exec <&-; exit 0"))
		}
	})
	c.output()
}

// Docker up to 27 attaches the network in a prestart hook, through /proc/PID/ns/net of the state's pid.
func TestHookSeesNamespaces(t *testing.T) {
	r := newRT(t)
	c := r.sh("ip -o addr show dev h0")
	script := `pid=$(sed 's/.*"pid": *\([0-9]*\).*/\1/'); mkdir -p ` + r.dir + `/x; exec nsenter -t $pid -n sh -c 'ip link add h0 type veth peer name h1; ip addr add 10.3.2.1/24 dev h0; ip link set h0 up'`
	setHook(c.spec, "prestart", specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin:/usr/bin:/sbin:/usr/sbin"}})
	c.write()
	if out := c.output(); !strings.Contains(out, "10.3.2.1/24") {
		t.Errorf("%q", out)
	}
}

// TestHookSurroundings: without env a hook has runh's environment, and one of the host runs in the bundle, wherever runh was called.
func TestHookSurroundings(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc runs poststart and poststop in the caller's directory")
	r.env = append(os.Environ(), "CALLER=yes", "LISTEN_FDS=0")
	c := r.sh("true")
	log := filepath.Join(r.dir, "log")
	for _, kind := range hookKinds {
		if kind == "startContainer" || kind == "createContainer" {
			continue
		}
		look := specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", fmt.Sprintf(`echo "%s $(pwd) $CALLER" >>%s`, kind, log)}}
		empty := specs.Hook{Path: "/bin/busybox", Args: []string{"cp", "/proc/self/environ", log + ".empty"}, Env: []string{}}
		setHook(c.spec, kind, look, empty)
	}
	c.write()
	config := c.dir + "/config.json"
	// specs.Hook leaves an empty list out.
	r.must(os.WriteFile(config, []byte(strings.ReplaceAll(rtRead(t, config), `/environ","`+log+`.empty"]`, `/environ","`+log+`.empty"],"env":[]`)), 0o644))
	c.output()
	want := ""
	for _, kind := range []string{"prestart", "createRuntime", "poststart", "poststop"} {
		want += kind + " " + c.dir + " yes\n"
	}
	if got := rtReadOr(log); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := rtReadOr(log + ".empty"); got != "" {
		t.Errorf("an empty env: %q", got)
	}
	// A caller that has removed the bundle before it deletes the container has its poststop hooks all the same.
	d := r.sh("true")
	setHook(d.spec, "poststop", shHook("echo ran >"+log+".gone"))
	d.write()
	d.create().start()
	d.wait()
	r.must(os.RemoveAll(d.dir))
	if res := r.do("delete", d.id); res.code != 0 || res.err != "" || rtReadOr(log+".gone") != "ran\n" {
		t.Errorf("delete without a bundle: exit code %d, %q", res.code, res.err)
	}
}
