// runh in the hands of an ordinary user, who exists only for the test: user namespaces, their maps, and all commands.

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

const ordinaryUID = 4321

// ordinary is a user of whom nobody knows outside of this test's mount namespace: his files are mounted over those of /etc.
// All that he starts is in a pid namespace, which ends with the test.
type ordinary struct {
	*rt
	home, bin string
	enter     []string // what comes before a command
	holder    int      // whose descendants are all that this user has started
}

// newOrdinary makes him; subids are the lines of /etc/subuid and subgid.
func newOrdinary(t *testing.T, subids string) *ordinary {
	t.Helper()
	u := &ordinary{rt: newRT(t)}
	needsPrograms(t, "newuidmap", "setpriv", "unshare", "nsenter")
	u.must(os.Chmod(u.dir, 0o711))
	u.bin, u.home = u.dir+"/runtime", u.dir+"/home"
	if out, err := exec.Command("cp", u.rt.bin, u.bin).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	u.must(os.Chmod(u.bin, 0o755))
	u.must(os.Mkdir(u.home, 0o700))
	u.must(os.Chown(u.home, ordinaryUID, ordinaryUID))
	for _, f := range []struct{ name, line string }{
		{"passwd", fmt.Sprintf("rootless:x:%d:%d::%s:/bin/sh\n", ordinaryUID, ordinaryUID, u.home)},
		{"group", fmt.Sprintf("rootless:x:%d:\n", ordinaryUID)},
		{"subuid", subids},
		{"subgid", subids},
	} {
		u.must(os.WriteFile(u.dir+"/"+f.name, []byte(rtReadOr("/etc/"+f.name)+f.line), 0o644))
		if _, err := os.Stat("/etc/" + f.name); err != nil { // uidmap makes its two only with the first user
			u.must(os.WriteFile("/etc/"+f.name, nil, 0o644))
		}
	}
	holder := exec.Command("unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c",
		"for f in passwd group subuid subgid; do mount --bind $f /etc/$f || exit; done; echo ready; cat; :")
	holder.Dir = u.dir
	out := newSink(t)
	holder.Stdout, holder.Stderr = out.w, out.w
	holder.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := holder.StdinPipe()
	u.must(err)
	u.must(holder.Start())
	out.w.Close()
	t.Cleanup(func() {
		stdin.Close()
		holder.Wait()
	})
	out.until("ready\n")
	first := children(holder.Process.Pid)
	if len(first) != 1 {
		t.Fatalf("unshare has the children %v", first)
	}
	u.holder = first[0]
	u.enter = []string{"nsenter", "-t", fmt.Sprint(u.holder), "-m", "-p", "setpriv", "--reuid", fmt.Sprint(ordinaryUID), "--regid", fmt.Sprint(ordinaryUID), "--clear-groups", "--"}
	return u
}

// cmd is a command of the user's.
func (u *ordinary) cmd(args ...string) *exec.Cmd {
	all := append(u.enter[:len(u.enter):len(u.enter)], args...)
	cmd := exec.Command(all[0], all[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+u.home, "XDG_RUNTIME_DIR="+u.home, "RUNH_TEST_TOKEN="+u.token)
	cmd.Dir = u.home
	return cmd
}

func (u *ordinary) runh(args ...string) result {
	u.Helper()
	res := u.doCmd(u.cmd(append([]string{u.bin}, args...)...))
	res.args = args
	return res
}

func (u *ordinary) want(res result, code int, out string) {
	u.Helper()
	if res.code != code || res.out != out || code == 0 && res.err != "" {
		u.Errorf("%q: exit code %d, stdout %q, want %d and %q; stderr %q", res.args, res.code, res.out, code, out, res.err)
	}
}

// refused demands exit code 1 and one line with text.
func (u *ordinary) refused(res result, text string) {
	u.Helper()
	if res.code != 1 || !strings.Contains(res.err, text) || strings.Count(res.err, "\n") != 1 {
		u.Errorf("%q: exit code %d, stderr %q, want 1 and one line with %q", res.args, res.code, res.err, text)
	}
}

// bundle is the user's own: busybox, and what `runh spec --rootless` writes, then changed by the edits.
func (u *ordinary) bundle(script string, edits ...func(*specs.Spec)) string {
	u.Helper()
	u.n++
	dir := fmt.Sprintf("%s/b%d", u.home, u.n)
	busyboxRootfs(u.T, dir+"/rootfs")
	if out, err := exec.Command("chown", "-hR", fmt.Sprintf("%d:%[1]d", ordinaryUID), dir).CombinedOutput(); err != nil {
		u.Fatalf("chown: %s", out)
	}
	u.runh("spec", "--rootless", "--bundle", dir, "--args", "sh", "--args", "-c", "--args", script).ok()
	if len(edits) == 0 {
		return dir
	}
	config := filepath.Join(dir, "config.json")
	spec := new(specs.Spec)
	u.must(json.Unmarshal([]byte(rtRead(u.T, config)), spec))
	for _, edit := range edits {
		edit(spec)
	}
	text, err := json.Marshal(spec)
	u.must(err)
	u.must(os.WriteFile(config, text, 0o644))
	return dir
}

func subordinate(s *specs.Spec) {
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: ordinaryUID, Size: 1}, {ContainerID: 1, HostID: 300000, Size: 65536}}
	s.Linux.GIDMappings = s.Linux.UIDMappings
}

// A program of the host that hangs holds up no cancelled create, and ends with it.
func TestRootlessHelperCancelled(t *testing.T) {
	u := newOrdinary(t, "rootless:300000:65536\n")
	u.onlyRunh("runc waits for the helper")
	mark := u.home + "/mark"
	script := u.dir + "/newuidmap"
	u.must(os.WriteFile(script, []byte(fmt.Sprintf("#!/bin/sh\necho hangs >%s\nsleep 1000 &\nsleep 1000\n", mark)), 0o755))
	if out, err := exec.Command("nsenter", "-t", fmt.Sprint(u.holder), "-m", "mount", "--bind", script, "/usr/bin/newuidmap").CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	cmd := u.cmd(u.bin, "run", "--bundle", u.bundle("echo ran", subordinate), "a")
	out, err := newSink(t), newSink(t)
	cmd.Stdout, cmd.Stderr = out.w, err.w
	u.must(cmd.Start())
	out.w.Close()
	err.w.Close()
	u.eventually("the helper hangs", func() bool { return rtReadOr(mark) != "" })
	runh := u.running(u.bin)
	hung := time.AfterFunc(20*time.Second, func() { syscall.Kill(runh, syscall.SIGKILL) })
	u.must(syscall.Kill(runh, syscall.SIGTERM))
	cmd.Wait()
	if !hung.Stop() {
		t.Error("it waited for the helper")
	}
	if code := cmd.ProcessState.ExitCode(); code != 128+15 || !strings.Contains(err.all(rtLimit), "interrupted by signal 15") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, out.all(rtLimit), err.all(rtLimit))
	}
	u.eventually("the helper and its child are gone", func() bool {
		return !slices.ContainsFunc(u.processes(), func(pid int) bool { return strings.Contains(rtReadOr(fmt.Sprintf("/proc/%d/cmdline", pid)), "sleep") })
	})
	if got := u.runh("list", "-q"); got.out != "" {
		t.Errorf("left %q", got.out)
	}
}

// running is the one process whose program this is.
func (u *ordinary) running(program string) int {
	u.Helper()
	for _, pid := range u.processes() {
		if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); exe == program {
			return pid
		}
	}
	u.Fatalf("%s does not run", program)
	return 0
}

// What `runh spec --rootless` writes runs as it is.
func TestRootlessRun(t *testing.T) {
	u := newOrdinary(t, "rootless:300000:65536\n")
	u.onlyRunh("the commands' forms")
	u.want(u.runh("run", "--bundle", u.bundle("id -u; tr -s ' ' </proc/self/uid_map; cat /proc/self/setgroups; echo x >/dev/null; stat -c %t:%T /dev/null; ls /sys/fs/cgroup; exit 3"), "a"),
		3, fmt.Sprintf("0\n 0 %d 1\ndeny\n1:3\n", ordinaryUID))
	for name, edits := range map[string][]func(*specs.Spec){
		"its own network": {func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
		}},
		"a fresh sysfs without an own network": {func(s *specs.Spec) {
			for i := range s.Mounts {
				if s.Mounts[i].Destination == "/sys" {
					s.Mounts[i] = specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}}
				}
			}
		}},
		"the host's pid namespace": {func(s *specs.Spec) {
			dropNS(s, specs.PIDNamespace)
			s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
		}},
		"group 5 for terminals": {func(s *specs.Spec) {
			for i := range s.Mounts {
				if s.Mounts[i].Destination == "/dev/pts" {
					s.Mounts[i].Options = append(s.Mounts[i].Options, "gid=5")
				}
			}
		}},
		"a time namespace": {func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1000}}
		}},
		"subordinate ids": {subordinate},
	} {
		res := u.runh("run", "--bundle", u.bundle("test -e /sys/kernel && test -e /proc/self/status && echo fine; exit 7", edits...), "b")
		if res.code != 7 || res.out != "fine\n" {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", name, res.code, res.out, res.err)
		}
	}
	// An option that only the replacement could not have is refused, not dropped.
	option := func(dest, word string) func(*specs.Spec) {
		return func(s *specs.Spec) {
			for i := range s.Mounts {
				if s.Mounts[i].Destination == dest {
					s.Mounts[i].Options = append(s.Mounts[i].Options, word)
				}
			}
		}
	}
	u.refused(u.runh("run", "--bundle", u.bundle("true", option("/dev/pts", "gid=7")), "b"), "mount devpts on /dev/pts: invalid argument")
	u.refused(u.runh("run", "--bundle", u.bundle("true", option("/proc", "hidepid=2"), func(s *specs.Spec) {
		dropNS(s, specs.PIDNamespace)
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
	}), "b"), "mount proc on /proc: operation not permitted")
	u.want(u.runh("run", "--bundle", u.bundle("id -u; id -g; touch /mnt/x && stat -c %u:%g /mnt/x", subordinate, func(s *specs.Spec) {
		s.Root.Readonly = false
		s.Process.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{7}}
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/mnt", Type: "tmpfs", Source: "tmpfs", Options: []string{"mode=1777"}})
	}), "c"), 0, "1000\n1001\n1000:1001\n")
}

// A mount that the host has restricted stays so; a word that asks for something else is an error, and not without effect.
func TestRootlessLockedFlags(t *testing.T) {
	u := newOrdinary(t, "")
	volume := u.home + "/volume"
	u.must(os.Mkdir(volume, 0o755))
	if out, err := exec.Command("nsenter", "-t", fmt.Sprint(u.holder), "-m", "mount", "-t", "tmpfs", "-o", "ro,nosuid,nodev,noexec,noatime", "none", volume).CombinedOutput(); err != nil {
		t.Fatalf("mount: %s", out)
	}
	for _, x := range []struct {
		options []string
		refused string // the words of the message
	}{
		{[]string{"rbind"}, ""},
		{[]string{"bind", "ro", "nosuid", "noatime"}, ""},
		{[]string{"bind", "rw"}, "the options ask for rw"},
		{[]string{"bind", "dev"}, "the options ask for dev"},
		{[]string{"bind", "suid"}, "the options ask for suid"},
		{[]string{"bind", "exec"}, "the options ask for exec"},
		{[]string{"bind", "strictatime"}, "the options ask for another access time"},
		{[]string{"rbind", "rrw", "rexec"}, "the options ask for rw, exec"},
	} {
		dir := u.bundle("cat /proc/self/mountinfo", addMount(bindAt(volume, "/m", x.options...)))
		res := u.runh("run", "--bundle", dir, "a")
		if x.refused != "" {
			u.refused(res, "mount "+volume+" on /m: cannot clear locked flags")
			u.refused(res, x.refused)
			continue
		}
		words := rtMountWords(res.out)["/m"]
		for _, w := range []string{"ro", "nosuid", "nodev", "noexec", "noatime"} {
			if !words[w] {
				t.Errorf("%q: exit code %d, mounted with %v, want %s; stderr %q", x.options, res.code, words, w, res.err)
			}
		}
	}
}

// Every command, on a container of the user's own.
func TestRootlessLifecycle(t *testing.T) {
	for name, edits := range map[string][]func(*specs.Spec){"own id": {func(*specs.Spec) {}}, "subordinate ids": {subordinate, func(s *specs.Spec) {
		s.Process.User = specs.User{UID: 1000, GID: 1000}
	}}} {
		t.Run(name, func(t *testing.T) {
			u := newOrdinary(t, "rootless:300000:65536\n")
			u.onlyRunh("the commands' forms")
			marks := u.home + "/marks"
			u.must(os.Mkdir(marks, 0o777))
			u.must(os.Chmod(marks, 0o777))
			u.must(os.Chmod(u.home, 0o711))
			hook := func(kind string) []specs.Hook {
				return []specs.Hook{{Path: "/bin/busybox", Args: []string{"sh", "-c", "readlink /proc/self/ns/user >" + marks + "/" + kind}}}
			}
			edits := append(edits, addMount(bindAt(marks, marks, "bind", "rw")), func(s *specs.Spec) {
				s.Hooks = &specs.Hooks{CreateRuntime: hook("createRuntime"), CreateContainer: hook("createContainer"), StartContainer: hook("startContainer"), Poststop: hook("poststop")}
				s.Root.Readonly = false
			})
			dir := u.bundle("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done", edits...)
			u.must(os.Link(rtTemp+"/busybox", dir+"/rootfs/bin/sh2"))
			out := newSink(t)
			cmd := u.cmd(u.bin, "create", "--bundle", dir, "--pid-file", u.home+"/pid", "c")
			cmd.Stdout, cmd.Stderr = out.w, out.w
			if res := u.wait(cmd, out); res.code != 0 {
				t.Fatalf("create: exit code %d, %q", res.code, out.String())
			}
			state := func(want string) {
				t.Helper()
				var s rtState
				if res := u.runh("state", "c").ok(); json.Unmarshal([]byte(res.out), &s) != nil || s.Status != want || s.Owner != "" && s.Owner != "rootless" {
					t.Errorf("state %q, want %s", res.out, want)
				}
			}
			state("created")
			u.want(u.runh("exec", "c", "sh", "-c", "echo before start; exit 4"), 4, "before start\n")
			u.runh("start", "c").ok()
			out.until("ready\n")
			state("running")
			if res := u.runh("list", "-q"); res.out != "c\n" {
				t.Errorf("list: %q", res.out)
			}
			if _, err := os.Stat(u.home + "/runh/c/runh.json"); err != nil {
				t.Error(err) // $XDG_RUNTIME_DIR/runh
			}
			u.want(u.runh("exec", "c", "sh", "-c", "for n in mnt net pid ipc uts cgroup user; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo $n; done; exit 3"), 3, "")
			u.want(u.runh("exec", "--user", "0:0", "c", "sh", "-c", "id -u; grep CapEff /proc/self/status | tr -d '\\t'"), 0, "0\nCapEff:0000000020000420\n")
			code := u.onTerminal(u.cmd(u.bin, "exec", "-t", "c", "sh", "-c", "tty; read x; exit $x"), func(o *sink, in *os.File) {
				o.until("/dev/pts/0")
				in.WriteString("12\r")
			})
			if code != 12 {
				t.Errorf("exec on a terminal: exit code %d, want 12", code)
			}
			if len(u.cgroups()) == 0 { // an ordinary user may make none on cgroup v1
				u.refused(u.runh("ps", "c"), "the container has no cgroup")
				u.refused(u.runh("pause", "c"), "the container has no cgroup")
			}
			u.runh("kill", "c", "TERM").ok()
			u.eventually("it is stopped", func() bool { return strings.Contains(u.runh("state", "c").out, `"stopped"`) })
			u.runh("delete", "c").ok()
			mine := rtLink("/proc/self/ns/user")
			for kind, inside := range map[string]bool{"createRuntime": false, "createContainer": true, "startContainer": true, "poststop": false} {
				if got := strings.TrimSpace(rtReadOr(marks + "/" + kind)); got == "" || (got != mine) != inside {
					t.Errorf("%s ran in the user namespace %q, ours is %s", kind, got, mine)
				}
			}
			u.refused(u.runh("state", "c"), "does not exist")
		})
	}
}

// Where the user namespace denies setgroups, a list of groups is no error: podman 5 names the user's own in each exec. The namespace may be
// the container's, or, as podman makes one, around it.
func TestRootlessGroupsDenied(t *testing.T) {
	u := newOrdinary(t, "")
	u.onlyRunh("runc refuses the own group, too, where it makes the namespace")
	const groups, kept = "id -G", "0\n"
	list := func(gids ...uint32) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Process.User.AdditionalGids = gids }
	}
	u.want(u.runh("run", "--bundle", u.bundle(groups, list(0)), "a"), 0, kept)
	u.want(u.runh("run", "-d", "--bundle", u.bundle("exec sleep 1000 </dev/null >/dev/null 2>&1"), "a"), 0, "")
	process := u.home + "/process.json"
	for _, x := range []struct{ gids, warning string }{
		{"[0]", ""},
		{"[0, 5, 6]", "the process does not get the groups [5 6]: the user namespace denies setgroups"},
	} {
		u.must(os.WriteFile(process, []byte(`{"user": {"uid": 0, "gid": 0, "additionalGids": `+x.gids+`}, "args": ["sh", "-c", "`+groups+`"], "env": ["PATH=/bin"], "cwd": "/"}`), 0o644))
		log := u.home + "/log"
		u.want(u.runh("--log", log, "exec", "--process", process, "a"), 0, kept)
		if text := rtReadOr(log); !strings.Contains(text, x.warning) || x.warning == "" && text != "" {
			t.Errorf("exec with %s logs %q, want %q", x.gids, text, x.warning)
		}
		u.must(os.RemoveAll(log))
	}
	u.want(u.runh("exec", "--additional-gids", "0", "a", "sh", "-c", groups), 0, kept)
	u.runh("delete", "--force", "a").ok()

	around := func(s *specs.Spec) {
		dropNS(s, specs.UserNamespace)
		s.Linux.UIDMappings, s.Linux.GIDMappings = nil, nil
	}
	res := u.doCmd(u.cmd("unshare", "-U", "-r", "-m", u.bin, "run", "--bundle", u.bundle(groups, around, list(0, 5)), "b"))
	if res.code != 0 || res.out != kept || !strings.Contains(res.err, "does not get the groups [5]") {
		t.Errorf("in such a namespace: exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
	}
}

// A pod without an engine: the second container joins the first one's namespaces, the user namespace too.
func TestRootlessJoined(t *testing.T) {
	u := newOrdinary(t, "rootless:300000:65536\n")
	u.onlyRunh("the commands' forms")
	u.want(u.runh("run", "-d", "--bundle", u.bundle("exec sleep 1000 </dev/null >/dev/null 2>&1", subordinate, func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	}), "a"), 0, "")
	var s rtState
	u.must(json.Unmarshal([]byte(u.runh("state", "a").ok().out), &s))
	join := func(spec *specs.Spec) {
		spec.Hostname = ""
		spec.Linux.UIDMappings, spec.Linux.GIDMappings = nil, nil
		for kind, file := range map[specs.LinuxNamespaceType]string{specs.UserNamespace: "user", specs.NetworkNamespace: "net", specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts", specs.PIDNamespace: "pid"} {
			joinNS(kind, pidNS(s.Pid, file))(spec)
		}
	}
	u.want(u.runh("run", "--bundle", u.bundle("tr -s ' ' </proc/self/uid_map; cat /proc/1/comm; exit 7", join), "b"), 7, fmt.Sprintf(" 0 %d 1\n 1 300000 65536\nsleep\n", ordinaryUID))
	u.runh("delete", "--force", "a").ok()
}

// What an ordinary user may not have is refused in words of the config.
func TestRootlessRefused(t *testing.T) {
	u := newOrdinary(t, "")
	u.onlyRunh("the texts are runh's")
	for _, x := range []struct {
		text string
		edit func(*specs.Spec)
	}{
		{"no user namespace: an ordinary user cannot do without one", func(s *specs.Spec) {
			dropNS(s, specs.UserNamespace)
			s.Linux.UIDMappings, s.Linux.GIDMappings = nil, nil
		}},
		{"more than the own id needs ranges in /etc/subuid", subordinate},
		{"must have a container ID 0", func(s *specs.Spec) { s.Linux.UIDMappings[0].ContainerID = 1000 }},
		{"process.user.uid 1000 has no place in linux.uidMappings", func(s *specs.Spec) { s.Process.User.UID = 1000 }},
		{"process.user.additionalGids", func(s *specs.Spec) { s.Process.User.AdditionalGids = []uint32{5} }},
		{"process.rlimits: RLIMIT_NOFILE: hard limit 1073741800 is more than the caller's own", func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 10, Hard: 1073741800}}
		}},
	} {
		u.refused(u.runh("run", "--bundle", u.bundle("true", x.edit), "a"), x.text)
		if left, _ := os.ReadDir(u.home + "/runh"); len(left) != 0 {
			t.Errorf("left %v", left)
		}
	}
	hidden := u.cmd(u.bin, "run", "--bundle", u.bundle("true", subordinate), "a")
	if out, err := exec.Command("nsenter", "-t", fmt.Sprint(u.holder), "-m", "sh", "-c", "for d in /usr/bin /bin /usr/local/bin; do [ ! -e $d/newuidmap ] || mount --bind /dev/null $d/newuidmap; done").CombinedOutput(); err != nil {
		t.Fatalf("mount: %s", out)
	}
	u.refused(u.doCmd(hidden), "newuidmap")
}

// A Hermit application of an ordinary user's, without an engine: with subordinate ids, and with the own id alone.
func TestRootlessHermit(t *testing.T) {
	u := newOrdinary(t, "rootless:300000:65536\n")
	u.onlyRunh("only runh boots guests")
	for _, x := range []struct {
		edit        func(*specs.Spec)
		first, last int
	}{
		{func(*specs.Spec) {}, ordinaryUID, ordinaryUID},
		{subordinate, 332768, 365535},
	} {
		guest := func(args ...string) string {
			dir := u.bundle("", x.edit, func(s *specs.Spec) {
				s.Process.Args = append([]string{"/hermit/app"}, args...)
				s.Process.Env = append(s.Process.Env, "RUNH_USER_PORT=0") // the network is the host's
			})
			hermitRootfs(u.rt, dir+"/rootfs", "app")
			return dir
		}
		u.want(u.runh("run", "--bundle", guest("hello"), "a"), 0, "Hello from Hermit's stand-in!\n"+rtLastWords(0))
		u.want(u.runh("run", "--bundle", guest("exit", "7"), "a"), 7, rtLastWords(7))
		out := newSink(t)
		cmd := u.cmd(u.bin, "run", "-d", "--bundle", guest("count"), "a")
		cmd.Stdout, cmd.Stderr = out.w, out.w
		u.wait(cmd, out)
		out.until("count 1")
		u.wantJailed(descendant(u.rt, u.holder, "qemu"), x.first, x.last)
		u.want(u.runh("exec", "a", "/hermit/nosuch"), 255, "")
		u.runh("delete", "--force", "a").ok()
	}
}

// descendant is a process below another whose name begins so, once it is there.
func descendant(r *rt, of int, name string) (found int) {
	r.Helper()
	var look func(pid int)
	look = func(pid int) {
		if strings.HasPrefix(rtReadOr(fmt.Sprintf("/proc/%d/comm", pid)), name) {
			found = pid
		}
		for _, child := range children(pid) {
			look(child)
		}
	}
	r.eventually(name+" is there", func() bool { look(of); return found != 0 })
	return found
}
