// What config.json asks of a Linux container, seen from inside: namespaces, process attributes, devices, seccomp, cgroups,
// terminal. Mounts and hooks have files of their own.

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// addProbe puts testdata/probe.c, compiled once, into the container as /bin/probe.
func (c *ctr) addProbe() *ctr {
	r := c.r
	r.Helper()
	rtProbe.Do(func() {
		out, err := exec.Command("gcc", "-static", "-Os", "-o", rtTemp+"/probe", "testdata/probe.c").CombinedOutput()
		if err != nil {
			rtProbeErr = fmt.Errorf("%w: %s", err, out)
		}
	})
	if rtProbeErr != nil {
		r.Log(rtProbeErr)
	}
	needs(r.T, rtProbeErr == nil, "gcc and a static libc for testdata/probe.c")
	r.must(os.Link(rtTemp+"/probe", c.rootfs()+"/bin/probe"))
	return c
}

var (
	rtProbe    sync.Once
	rtProbeErr error
)

var nsFiles = map[specs.LinuxNamespaceType]string{
	specs.MountNamespace: "mnt", specs.NetworkNamespace: "net", specs.UTSNamespace: "uts", specs.PIDNamespace: "pid",
	specs.IPCNamespace: "ipc", specs.CgroupNamespace: "cgroup",
}

func TestNamespacesNew(t *testing.T) {
	r := newRT(t)
	check := func(c *ctr, listed map[specs.LinuxNamespaceType]bool) {
		t.Helper()
		for kind, file := range nsFiles {
			mine, _ := os.Readlink("/proc/self/ns/" + file)
			its, err := os.Readlink(pidNS(c.pid, file))
			if err != nil || (its != mine) != listed[kind] {
				t.Errorf("%s namespace: its %s (%v), ours %s, listed: %v", kind, its, err, mine, listed[kind])
			}
		}
	}
	all := map[specs.LinuxNamespaceType]bool{}
	c := r.bundle([]string{"sleep", "1000"}, func(s *specs.Spec) {
		s.Linux.Namespaces = nil
		for kind := range nsFiles {
			all[kind] = true
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: kind})
		}
	}).create()
	check(c, all)
	c.start()
	check(c, all)
	// What is not listed is the runtime's own.
	for kind := range nsFiles {
		if kind == specs.MountNamespace {
			continue // every runtime demands it for a rootfs
		}
		d := r.bundle([]string{"sleep", "1000"}, func(s *specs.Spec) {
			s.Linux.Namespaces = c.spec.Linux.Namespaces
			dropNS(s, kind)
			if kind == specs.UTSNamespace {
				s.Hostname = ""
			}
			if kind == specs.NetworkNamespace {
				s.Linux.Sysctl = nil
			}
		}).create()
		all[kind] = false
		check(d, all)
		all[kind] = true
		r.do("delete", "--force", d.id).ok()
		rtReap(d.pid, rtLimit)
	}
	r.do("delete", "--force", c.id).ok()
}

func TestNamespacesJoined(t *testing.T) {
	for kind, file := range nsFiles {
		if kind == specs.MountNamespace {
			continue
		}
		t.Run(string(kind), func(t *testing.T) {
			r := newRT(t)
			a := r.bundle([]string{"sleep", "1000"}, func(s *specs.Spec) {
				s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
			}).create().start()
			b := r.sh("read x; exit 6", joinNS(kind, pidNS(a.pid, file)), func(s *specs.Spec) {
				if kind == specs.UTSNamespace {
					s.Hostname = ""
				}
				s.Linux.Sysctl = nil
			}).create()
			same := func() {
				t.Helper()
				its, _ := os.Readlink(pidNS(a.pid, file))
				ours, err := os.Readlink(pidNS(b.pid, file))
				if err != nil || its != ours {
					t.Errorf("%s namespace: %s and %s (%v)", kind, its, ours, err)
				}
			}
			same()
			b.start()
			same()
			if kind == specs.PIDNamespace {
				if l := rtStatus(t, b.pid, "NSpid"); len(strings.Fields(l)) != 2 {
					t.Errorf("NSpid: %q, want a host pid and one in the namespace", l)
				}
			}
			b.stdin.Close()
			if code := b.wait(); code != 6 {
				t.Errorf("exit code %d, want 6: %s", code, b.err.String())
			}
			r.do("delete", b.id).ok()
			a.wantStatus("running")
			r.do("delete", "--force", a.id).ok()
		})
	}
	t.Run("several", func(t *testing.T) { // a pod's second container
		r := newRT(t)
		a := r.bundle([]string{"sleep", "1000"}).create().start()
		b := r.sh("hostname; ls /proc | grep -c '^1$'", joinNS(specs.NetworkNamespace, pidNS(a.pid, "net")),
			joinNS(specs.IPCNamespace, pidNS(a.pid, "ipc")), joinNS(specs.UTSNamespace, pidNS(a.pid, "uts")),
			func(s *specs.Spec) { s.Hostname, s.Linux.Sysctl = "", nil })
		if out := b.output(); out != a.spec.Hostname+"\n1\n" {
			t.Errorf("%q", out)
		}
		r.do("delete", "--force", a.id).ok()
	})
	t.Run("bad", func(t *testing.T) {
		r := newRT(t)
		ns := func(l ...specs.LinuxNamespace) func(*specs.Spec) {
			return func(s *specs.Spec) {
				s.Linux.Namespaces = append([]specs.LinuxNamespace{{Type: specs.MountNamespace}}, l...)
				s.Hostname, s.Linux.Sysctl = "", nil
			}
		}
		r.sh("true", ns(specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: "/proc/self/ns/ipc"})).tryCreate().fails("")
		r.sh("true", ns(specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: "/nosuch/netns"})).tryCreate().fails("/nosuch/netns")
		r.sh("true", ns(specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: r.dir})).tryCreate().fails("")
		r.sh("true", ns(specs.LinuxNamespace{Type: "ipc"}, specs.LinuxNamespace{Type: "ipc"})).tryCreate().fails("")
		r.sh("true", ns(specs.LinuxNamespace{Type: "nosuch"})).tryCreate().fails("nosuch")
		if left := r.leftovers(); len(left) != 0 {
			t.Errorf("left %q", left)
		}
	})
}

func rtStatus(t *testing.T, pid int, field string) string {
	t.Helper()
	for _, l := range strings.Split(rtRead(t, fmt.Sprintf("/proc/%d/status", pid)), "\n") {
		if name, value, ok := strings.Cut(l, ":"); ok && name == field {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Each row is one container: a script, what it must print. They look at what process and linux ask for.
func TestProcessAttributes(t *testing.T) {
	status := func(fields string) string { return "grep -E '^(" + fields + "):' /proc/self/status | tr -d '\\t '" }
	umask := uint32(0o27)
	for _, x := range []struct {
		name, script, want string
		edit               func(*specs.Spec)
	}{
		{"environment", "", "PATH=/bin\nA=1\nB=two words\nHOME=/root\n", func(s *specs.Spec) {
			s.Process.Args, s.Process.Env = []string{"env"}, []string{"PATH=/bin", "A=1", "B=two words"}
		}},
		{"home of root", "echo $HOME", "/root\n", nil},
		{"home from passwd", "echo $HOME", "/home\n", func(s *specs.Spec) { s.Process.User.UID = 1000 }},
		{"home given", "echo $HOME", "/tmp\n", func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, "HOME=/tmp") }},
		{"home unknown", "echo $HOME", "/\n", func(s *specs.Spec) { s.Process.User.UID = 4242 }},
		{"program by PATH of the config", "echo found", "found\n", func(s *specs.Spec) {
			s.Process.Env, s.Process.Args[0] = []string{"PATH=/nosuch:/bin"}, "sh"
		}},
		{"cwd", "pwd; cd ..; pwd", "/mnt\n/\n", func(s *specs.Spec) { s.Process.Cwd = "/mnt" }},
		{"cwd is made", "pwd", "/made/on/the/way\n", func(s *specs.Spec) { s.Process.Cwd = "/made/on/the/way" }},
		{"cwd of the user", "pwd", "/private\n", func(s *specs.Spec) {
			s.Process.Cwd, s.Process.User.UID = "/private", 0
		}},
		{"user and groups", status("Uid|Gid|Groups") + "; id -G", "Uid:1000100010001000\nGid:1001100110011001\nGroups:52000\n1001 5 2000\n", func(s *specs.Spec) {
			s.Process.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{5, 2000}}
		}},
		{"no groups", status("Groups"), "Groups:\n", func(s *specs.Spec) { s.Process.User = specs.User{UID: 1, GID: 1} }},
		{"umask default", "umask", "0022\n", nil},
		{"umask", "umask", "0027\n", func(s *specs.Spec) { s.Process.User.Umask = &umask }},
		{"no new privileges unset", status("NoNewPrivs"), "NoNewPrivs:0\n", nil},
		{"no new privileges", status("NoNewPrivs"), "NoNewPrivs:1\n", func(s *specs.Spec) { s.Process.NoNewPrivileges = true }},
		{"oom score", "cat /proc/self/oom_score_adj", "321\n", func(s *specs.Spec) { n := 321; s.Process.OOMScoreAdj = &n }},
		{"limits", "ulimit -Sn; ulimit -Hn; ulimit -c", "100\n200\n0\n", func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}, {Type: "RLIMIT_CORE"}}
		}},
		{"a limit on memory", "grep 'Max address' /proc/self/limits | tr -s ' ' | cut -d' ' -f4", "1073741824\n", func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_AS", Soft: 1 << 30, Hard: 1 << 30}, {Type: "RLIMIT_CPU", Soft: 100, Hard: 100}}
		}},
		{"hostname", "hostname", "name.example\n", func(s *specs.Spec) { s.Hostname = "name.example" }},
		{"domainname", "cat /proc/sys/kernel/domainname", "domain.example\n", func(s *specs.Spec) { s.Domainname = "domain.example" }},
		{"sysctl", "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ping_group_range", "1\n8888\n0\t2147483647\n", func(s *specs.Spec) {
			s.Linux.Sysctl["net.ipv4.ip_forward"], s.Linux.Sysctl["kernel.msgmax"] = "1", "8888"
		}},
		{"session", "cut -d' ' -f1,5,6 /proc/$$/stat", "1 1 1\n", nil},
		{"loopback is up", "ip -o link show lo | grep -c 'LOOPBACK,UP'", "1\n", nil},
		{"signals", "", "end\n", func(s *specs.Spec) { s.Process.Args = []string{"probe", "sigs"} }},
		{"personality is free", "probe 135 0xffffffff", "ok\n", nil},
		{"no way back over the root", "probe chroot-escape", "in\n", nil},
		{"reopened stdout", "id -u; echo again >/proc/self/fd/1", "1000\nagain\n", func(s *specs.Spec) { s.Process.User.UID = 1000 }},
		{"not dumpable by others", "ls -ld /proc/1 | tr -s ' ' | cut -d' ' -f3", "user\n", func(s *specs.Spec) { s.Process.User.UID = 1000 }},
		{"cgroup namespace", "cut -d: -f3 /proc/self/cgroup | grep -v unified | sort -u", "/\n", func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRT(t)
			if x.name == "domainname" || x.name == "a limit on memory" {
				r.onlyRunh("runc 1.1 lacks the one and runs out of memory in the other")
			}
			c := r.sh(x.script).addProbe()
			if x.edit != nil {
				x.edit(c.spec)
				c.write()
			}
			if out := c.output(); out != x.want {
				t.Errorf("got %q, want %q", out, x.want)
			}
		})
	}
}

// The caller's signal state, limits and nothing else of it reach the container.
func TestInheritedState(t *testing.T) {
	r := newRT(t)
	c := r.sh("probe sigs; ulimit -Sn; env | grep -c RUNH_TEST").addProbe()
	cmd := exec.Command("bash", "-c", `ulimit -Sn 333; trap "" INT QUIT HUP PIPE; exec "$@"`, "bash", r.bin, "--root", r.root, "run", "--bundle", c.dir, c.id)
	if res := r.doCmd(cmd); res.out != "end\n333\n0\n" && (r.isRunh() || !strings.HasPrefix(res.out, "end\n")) {
		t.Errorf("stdout %q, stderr %q", res.out, res.err)
	}
	null := r.nullDevice()
	d := r.sh("id -u", func(s *specs.Spec) { s.Process.User.UID = 1000 })
	cmd = r.cmd("run", "--bundle", d.dir, d.id)
	cmd.Stdin = null
	r.doCmd(cmd).ok()
}

// nullDevice is a /dev/null of the test's own to be some container's stdin: handing it over must not give it away, for the next
// one would be the host's.
func (r *rt) nullDevice() *os.File {
	r.Helper()
	name := filepath.Join(r.dir, "null")
	r.must(unix.Mknod(name, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	f, err := os.Open(name)
	r.must(err)
	r.Cleanup(func() {
		var st syscall.Stat_t
		if err := syscall.Fstat(int(f.Fd()), &st); err != nil || st.Uid != 0 || st.Gid != 0 {
			r.Errorf("the null device that was stdin belongs to %d:%d now (%v)", st.Uid, st.Gid, err)
		}
		f.Close()
	})
	return f
}

func TestCapabilities(t *testing.T) {
	sets := func(t *testing.T, edit func(*specs.Spec)) map[string]string {
		r := newRT(t)
		out := r.sh("grep ^Cap /proc/self/status | tr -d '\\t'", edit).output()
		got := map[string]string{}
		for _, l := range strings.Split(strings.TrimSpace(out), "\n") {
			k, v, _ := strings.Cut(l, ":")
			got[k] = strings.TrimLeft(v, "0")
		}
		return got
	}
	const docker = "a80425fb"
	some := []string{"CAP_NET_RAW", "CAP_KILL"}
	for _, x := range []struct {
		name                    string
		inh, prm, eff, bnd, amb string
		edit                    func(*specs.Spec)
	}{
		{"Docker's", "", docker, docker, docker, "", nil},
		{"another user's", "", "", "", docker, "", func(s *specs.Spec) { s.Process.User.UID = 1000 }},
		{"all five", "2020", "2020", "2020", "2020", "2020", func(s *specs.Spec) {
			s.Process.User.UID = 1000
			s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: some, Effective: some, Inheritable: some, Permitted: some, Ambient: some}
		}},
		{"only bounding", "", "", "", "2000", "", func(s *specs.Spec) {
			s.Process.User.UID = 1000
			s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_NET_RAW"}}
		}},
		{"none", "", "", "", "", "", func(s *specs.Spec) { s.Process.Capabilities = &specs.LinuxCapabilities{} }},
		{"with no new privileges", "", docker, docker, docker, "", func(s *specs.Spec) { s.Process.NoNewPrivileges = true }},
	} {
		t.Run(x.name, func(t *testing.T) {
			got := sets(t, func(s *specs.Spec) {
				if x.edit != nil {
					x.edit(s)
				}
			})
			want := map[string]string{"CapInh": x.inh, "CapPrm": x.prm, "CapEff": x.eff, "CapBnd": x.bnd, "CapAmb": x.amb}
			for k, v := range want {
				if got[k] != v {
					t.Errorf("%s is %q, want %q", k, got[k], v)
				}
			}
		})
	}
	t.Run("unknown", func(t *testing.T) { // runtime-spec 1.3: a warning
		r := newRT(t)
		r.onlyRunh("its log has the message elsewhere")
		c := r.sh("grep ^CapEff /proc/self/status | tr -d '\\t'", func(s *specs.Spec) {
			for _, set := range []*[]string{&s.Process.Capabilities.Bounding, &s.Process.Capabilities.Effective, &s.Process.Capabilities.Permitted} {
				*set = append(*set, "CAP_NOSUCH", "cap_chown")
			}
			s.Process.Capabilities.Ambient = []string{"CAP_KILL"} // permitted, not inheritable
		})
		logged := c.run().ok()
		bare := r.doCmd(exec.Command(r.bin, "--root", r.root, "run", "--bundle", c.dir, c.id))
		for where, x := range map[string][2]string{"--log": {logged.out, rtReadOr(r.log)}, "stderr, without it": {bare.out, bare.err}} {
			if x[0] != "CapEff:00000000"+docker+"\n" || strings.Count(x[1], `ignoring unknown or unavailable capabilities: [\"CAP_NOSUCH\" \"cap_chown\"]`) != 1 ||
				!strings.Contains(x[1], "can't raise ambient capability CAP_KILL: ") {
				t.Errorf("%q, in %s %q", x[0], where, x[1])
			}
		}
	})
	t.Run("exec --user --cap", func(t *testing.T) { // ambient, but only where the config has it inheritable
		r := newRT(t)
		c := r.bundle([]string{"sleep", "1000"}, func(s *specs.Spec) { s.Process.Capabilities.Inheritable = []string{"CAP_NET_RAW"} }).create().start()
		look := []string{"sh", "-c", "grep -E '^Cap(Inh|Eff|Amb)' /proc/self/status | tr -d '\\t'"}
		for cap, want := range map[string]string{
			"CAP_NET_RAW": "CapInh:0000000000002000\nCapEff:0000000000002000\nCapAmb:0000000000002000\n",
			"CAP_KILL":    "CapInh:0000000000002000\nCapEff:0000000000000000\nCapAmb:0000000000000000\n",
		} {
			if res := r.do(append([]string{"exec", "--user", "1000:1000", "--cap", cap, c.id}, look...)...).ok(); res.out != want {
				t.Errorf("--cap %s: %q, want %q", cap, res.out, want)
			}
		}
	})
	// The specification: what the host cannot grant is a warning, not an error (Docker's --privileged lists all there are).
	t.Run("more than there are", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("runc dies of a capability that it lacks")
		var all []string
		for i := 0; i <= unix.CAP_LAST_CAP; i++ {
			all = append(all, capNames[i])
		}
		res := r.sh("grep ^CapEff /proc/self/status | tr -d '\\t'", func(s *specs.Spec) {
			s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all, Inheritable: all}
			s.Linux.Seccomp = nil
		}).run()
		want := "CapEff:" + rtStatus(t, os.Getpid(), "CapBnd") + "\n"
		if res.code != 0 || res.out != want || r.lastError() != "" {
			t.Errorf("exit code %d, stdout %q, want %q, stderr %q, log %q", res.code, res.out, want, res.err, r.lastError())
		}
	})
}

var capNames = strings.Fields(`CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID
	CAP_SETUID CAP_SETPCAP CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK
	CAP_IPC_OWNER CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE
	CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE CAP_AUDIT_CONTROL CAP_SETFCAP
	CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF
	CAP_CHECKPOINT_RESTORE`)

func TestDevices(t *testing.T) {
	t.Run("default", func(t *testing.T) {
		r := newRT(t)
		out := r.sh(`cd /dev; for d in null zero full random urandom tty; do stat -c "%n %t:%T %a %u:%g" $d; done
			for l in ptmx fd stdin stdout stderr; do echo $l $(readlink $l); done
			echo x >null; head -c 2 zero | wc -c; echo x 2>&1 >full; stat -c %F pts shm mqueue | sort -u;`).output()
		want := `null 1:3 666 0:0
zero 1:5 666 0:0
full 1:7 666 0:0
random 1:8 666 0:0
urandom 1:9 666 0:0
tty 5:0 666 0:0
ptmx pts/ptmx
fd /proc/self/fd
stdin /proc/self/fd/0
stdout /proc/self/fd/1
stderr /proc/self/fd/2
2
sh: write error: No space left on device
directory
`
		if out != want {
			t.Errorf("got %s\nwant %s", out, want)
		}
	})
	t.Run("asked for", func(t *testing.T) {
		r := newRT(t)
		mode, id := os.FileMode(0o640), uint32(1000)
		out := r.sh(`cd /dev; stat -c "%n %F %t:%T %a %u:%g" sub/mynull blk fifo; echo x >sub/mynull`, func(s *specs.Spec) {
			s.Linux.Devices = []specs.LinuxDevice{
				{Path: "/dev/sub/mynull", Type: "c", Major: 1, Minor: 3, FileMode: &mode, UID: &id, GID: &id},
				{Path: "/dev/blk", Type: "b", Major: 7, Minor: 200, FileMode: &mode},
				{Path: "/dev/fifo", Type: "p", FileMode: &mode, GID: &id},
				{Path: "/dev/null", Type: "c", Major: 1, Minor: 3}, // listed by some though it is there anyhow
			}
		}).output()
		want := "sub/mynull character special file 1:3 640 1000:1000\nblk block special file 7:c8 640 0:0\nfifo fifo 0:0 640 0:1000\n"
		if out != want {
			t.Errorf("got %s\nwant %s", out, want)
		}
	})
	// The cgroup's list, in order: what Docker does not allow cannot be opened even where it can be made.
	t.Run("denied", func(t *testing.T) {
		r := newRT(t)
		res := r.sh(`mknod /tmp/port c 10 237 && (: </tmp/port); mknod /tmp/loop b 7 0 && head -c 1 /tmp/loop; mknod /tmp/n c 1 3 && echo x >/tmp/n && echo null works`).run()
		if res.code != 0 || strings.Count(res.err, "Operation not permitted") != 2 || res.out != "null works\n" {
			t.Errorf("exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
		}
	})
	t.Run("allowed", func(t *testing.T) {
		r := newRT(t)
		needs(t, exec.Command("test", "-c", "/dev/loop-control").Run() == nil, "/dev/loop-control")
		r.sh(`mknod /tmp/loop c 10 237 && (: </tmp/loop)`, func(s *specs.Spec) {
			major, minor := int64(10), int64(237)
			s.Linux.Resources.Devices = append(s.Linux.Resources.Devices,
				specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: &major, Minor: &minor, Access: "rwm"})
		}).output()
	})
	t.Run("bad", func(t *testing.T) {
		r := newRT(t)
		r.sh("true", func(s *specs.Spec) {
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "q", Major: 1, Minor: 3}}
		}).tryCreate().fails("")
	})
}

func TestSeccomp(t *testing.T) {
	// Numbers of x86-64: clone3 435, personality 135, add_key 248, keyctl 250, acct 163, mkdir 83; of i386: getpid 20, add_key 286.
	t.Run("Docker's profile", func(t *testing.T) {
		r := newRT(t)
		out := r.sh(`grep ^Seccomp: /proc/self/status | tr -d '\t'; probe 435; probe 135 0x40000; probe 135 8; probe 248 0; probe 250 0
			probe 163 0; probe i386 20; probe i386 286; probe 39; probe 99999`).addProbe().output()
		if want := "Seccomp:2\n38\n1\nok\n1\n1\n1\nok\n1\nok\n38\n"; out != want {
			t.Errorf("got %q, want %q", out, want)
		}
	})
	t.Run("Docker's profile with no new privileges and no capability", func(t *testing.T) {
		r := newRT(t)
		out := r.sh("probe 248 0; id -u", func(s *specs.Spec) {
			s.Process.NoNewPrivileges, s.Process.User.UID = true, 1000
			s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_NET_RAW"}}
		}).addProbe().output()
		if want := "1\n1000\n"; out != want {
			t.Errorf("got %q, want %q", out, want)
		}
	})
	rule := func(action specs.LinuxSeccompAction, errno *uint, args ...specs.LinuxSeccompArg) func(*specs.Spec) {
		return func(s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{
				DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64},
				Syscalls: []specs.LinuxSyscall{{Names: []string{"personality", "nosuchcall"}, Action: action, ErrnoRet: errno, Args: args}},
			}
		}
	}
	five := uint(5)
	arg := func(op specs.LinuxSeccompOperator, v, two uint64) specs.LinuxSeccompArg {
		return specs.LinuxSeccompArg{Index: 0, Value: v, ValueTwo: two, Op: op}
	}
	const ask = "probe 135 0; probe 135 8; probe 135 0xffffffff"
	for _, x := range []struct {
		name, want string
		edit       func(*specs.Spec)
	}{
		{"errno default", "1\n1\n1\n", rule(specs.ActErrno, nil)},
		{"errno given", "5\n5\n5\n", rule(specs.ActErrno, &five)},
		{"log", "ok\nok\nok\n", rule(specs.ActLog, nil)},
		{"equal", "ok\n5\nok\n", rule(specs.ActErrno, &five, arg(specs.OpEqualTo, 8, 0))},
		{"not equal", "5\nok\n5\n", rule(specs.ActErrno, &five, arg(specs.OpNotEqual, 8, 0))},
		{"less", "5\nok\nok\n", rule(specs.ActErrno, &five, arg(specs.OpLessThan, 8, 0))},
		{"less or equal", "5\n5\nok\n", rule(specs.ActErrno, &five, arg(specs.OpLessEqual, 8, 0))},
		{"greater", "ok\nok\n5\n", rule(specs.ActErrno, &five, arg(specs.OpGreaterThan, 8, 0))},
		{"greater or equal", "ok\n5\n5\n", rule(specs.ActErrno, &five, arg(specs.OpGreaterEqual, 8, 0))},
		{"masked equal", "ok\n5\n5\n", rule(specs.ActErrno, &five, arg(specs.OpMaskedEqual, 8, 8))},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRT(t)
			if out := r.sh(ask, x.edit).addProbe().output(); out != x.want {
				t.Errorf("got %q, want %q", out, x.want)
			}
		})
	}
	for _, action := range []specs.LinuxSeccompAction{specs.ActKillProcess, specs.ActKill, specs.ActTrap} {
		t.Run(string(action), func(t *testing.T) {
			r := newRT(t)
			c := r.bundle([]string{"probe", "135", "0"}, rule(action, nil)).addProbe()
			dropNS(c.spec, specs.PIDNamespace)
			c.write()
			if res := c.run(); res.code != 128+31 {
				t.Errorf("exit code %d, want 159 (SIGSYS); stderr %q", res.code, res.err)
			}
		})
	}
	t.Run("bad", func(t *testing.T) {
		r := newRT(t)
		r.sh("true", rule("SCMP_ACT_NOSUCH", nil)).tryCreate().fails("")
		r.sh("true", func(s *specs.Spec) { s.Linux.Seccomp.Architectures = []specs.Arch{"SCMP_ARCH_NOSUCH"} }).tryCreate().fails("")
	})
}

// Limits of cgroup v1, where they are written; and that they bite.
func TestCgroupLimits(t *testing.T) {
	needs(t, hybridCgroup() && exec.Command("test", "-d", "/sys/fs/cgroup/memory").Run() == nil, "cgroup v1 hierarchies")
	t.Run("files", func(t *testing.T) {
		r := newRT(t)
		limit, soft, swap, pids := int64(64<<20), int64(32<<20), int64(128<<20), int64(20)
		shares, period, quota := uint64(512), uint64(100000), int64(50000)
		swappiness := uint64(10)
		c := r.bundle([]string{"sleep", "1000"}, func(s *specs.Spec) {
			s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit, Reservation: &soft, Swap: &swap, Swappiness: &swappiness}
			s.Linux.Resources.CPU = &specs.LinuxCPU{Shares: &shares, Period: &period, Quota: &quota, Cpus: "0", Mems: "0"}
			s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &pids}
		}).create()
		for file, want := range map[string]string{
			"memory/memory.limit_in_bytes": "67108864", "memory/memory.soft_limit_in_bytes": "33554432", "memory/memory.swappiness": "10",
			"memory/memory.memsw.limit_in_bytes": "134217728", "cpu/cpu.shares": "512", "cpu/cpu.cfs_period_us": "100000",
			"cpu/cpu.cfs_quota_us": "50000", "cpuset/cpuset.cpus": "0", "cpuset/cpuset.mems": "0", "pids/pids.max": "20",
		} {
			ctrl, name, _ := strings.Cut(file, "/")
			p := filepath.Join("/sys/fs/cgroup", ctrl, c.id, name)
			if _, err := os.Stat(filepath.Join("/sys/fs/cgroup", ctrl, name)); err != nil && strings.Contains(name, "memsw") {
				continue // a kernel without swap accounting
			}
			if got := strings.TrimSpace(rtReadOr(p)); got != want {
				t.Errorf("%s is %q, want %s", p, got, want)
			}
		}
		if got := rtReadOr("/sys/fs/cgroup/devices/" + c.id + "/devices.list"); strings.HasPrefix(got, "a ") || !strings.Contains(got, "c 1:3 rwm") {
			t.Errorf("devices.list: %q", got)
		}
	})
	t.Run("processes", func(t *testing.T) {
		r := newRT(t)
		pids := int64(4)
		res := r.sh("for i in 1 2 3 4 5 6; do sleep 1 & done; wait", func(s *specs.Spec) { s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &pids} }).run()
		if !strings.Contains(res.err, "fork") {
			t.Errorf("no fork failed under a limit of 4: exit code %d, stderr %q", res.code, res.err)
		}
	})
	t.Run("memory", func(t *testing.T) {
		r := newRT(t)
		limit := int64(16 << 20)
		c := r.bundle([]string{"dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"}, func(s *specs.Spec) {
			s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit, Swap: &limit}
		}).create().start()
		if code := c.wait(); code != 137 {
			t.Errorf("exit code %d of a program over its memory, want 137; stderr %q", code, c.err.String())
		}
	})
	t.Run("unlimited", func(t *testing.T) {
		r := newRT(t)
		no := int64(-1)
		r.sh("true", func(s *specs.Spec) {
			s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &no, Swap: &no}
			s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &no}
			s.Linux.Resources.CPU = &specs.LinuxCPU{Quota: &no}
		}).output()
	})
	t.Run("path forms", func(t *testing.T) {
		r := newRT(t)
		parent := "/" + r.token + "p"
		for _, x := range []struct{ path, where string }{
			{parent + "/leaf", parent + "/leaf"},
			{"//" + parent + "//leaf2/", parent + "/leaf2"},
			{r.token + "rel", r.token + "rel"}, // below the runtime's own cgroup
			{"", r.token},                      // from the id
		} {
			c := r.bundle([]string{"sleep", "1000"}, func(s *specs.Spec) { s.Linux.CgroupsPath = x.path }).create()
			for _, l := range strings.Split(strings.TrimSpace(rtRead(t, fmt.Sprintf("/proc/%d/cgroup", c.pid))), "\n") {
				if !strings.HasPrefix(l, "0::") && !strings.Contains(l, x.where) {
					t.Errorf("cgroupsPath %q: %s", x.path, l)
				}
			}
			r.do("delete", "--force", c.id).ok()
			rtReap(c.pid, rtLimit)
			if left, _ := filepath.Glob("/sys/fs/cgroup/*" + parent + "/leaf*"); len(left) != 0 {
				t.Errorf("cgroupsPath %q: delete left %v", x.path, left)
			}
		}
		// The parent is the caller's (kubelet's): it stays. Here it was ours to make, so it is ours to remove.
		dirs, _ := filepath.Glob("/sys/fs/cgroup/*" + parent)
		for _, d := range dirs {
			os.Remove(d + "/a")
			os.Remove(d)
		}
	})
	t.Run("v2 words on v1", func(t *testing.T) {
		r := newRT(t)
		r.sh("true", func(s *specs.Spec) { s.Linux.Resources.Unified = map[string]string{"memory.max": "1"} }).tryCreate().fails("")
	})
	t.Run("bad values", func(t *testing.T) {
		r := newRT(t)
		r.sh("true", func(s *specs.Spec) { s.Linux.Resources.CPU = &specs.LinuxCPU{Cpus: "99-100"} }).tryCreate().fails("")
		r.sh("true", func(s *specs.Spec) { s.Linux.Resources.CPU = &specs.LinuxCPU{Cpus: "nonsense"} }).tryCreate().fails("")
	})
}

// recvMaster is the caller's end of --console-socket: one message, a name and exactly one descriptor, the pty's master.
func recvMaster(l *net.UnixListener) (string, *os.File, error) {
	l.SetDeadline(time.Now().Add(rtLimit))
	conn, err := l.AcceptUnix()
	if err != nil {
		return "", nil, err
	}
	defer conn.Close()
	name, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4*4))
	n, oobn, _, _, err := conn.ReadMsgUnix(name, oob)
	if err != nil {
		return "", nil, err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		return "", nil, fmt.Errorf("%d control messages, want 1 (%v)", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 || n == 0 {
		return "", nil, fmt.Errorf("%d descriptors beside %d bytes, want 1 beside a name (%v)", len(fds), n, err)
	}
	return string(name[:n]), os.NewFile(uintptr(fds[0]), "master"), nil
}

// withTerminal creates the container on a pty; out is the master's output from then on.
func (c *ctr) withTerminal(size *specs.Box) *os.File {
	r := c.r
	r.Helper()
	c.spec.Process.Terminal, c.spec.Process.ConsoleSize = true, size
	c.write()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: c.dir + "/tty", Net: "unix"})
	r.must(err)
	defer l.Close()
	if res := c.tryCreate("--console-socket", c.dir+"/tty"); res.code != 0 {
		r.Fatalf("create with a terminal: exit code %d: %s", res.code, res.err)
	}
	name, master, err := recvMaster(l)
	r.must(err)
	r.Cleanup(func() { master.Close() })
	if !strings.HasPrefix(name, "/dev/pt") {
		r.Errorf("the terminal's name is %q", name)
	}
	c.out = readSink(r.T, master, nil)
	return master
}

func TestTerminal(t *testing.T) {
	t.Run("console socket", func(t *testing.T) {
		r := newRT(t)
		c := r.sh(`tty; stty size; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo terminal; echo x >/dev/tty && echo controlled
			stat -c "%t:%T %a" /dev/console; stat -c "%u:%g %a" $(tty); echo to console >/dev/console; read line; stty size; echo "got $line"; exit 11`)
		master := c.withTerminal(&specs.Box{Height: 33, Width: 77})
		c.start()
		c.out.until("to console")
		r.must(unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 44, Col: 88}))
		master.WriteString("a line\n")
		if code := c.wait(); code != 11 {
			t.Errorf("exit code %d, want 11", code)
		}
		out := strings.ReplaceAll(c.out.all(rtLimit), "\r\n", "\n")
		want := "/dev/pts/0\n33 77\nterminal\nx\ncontrolled\n88:0 620\n0:5 620\nto console\na line\n44 88\ngot a line\n"
		if out != want {
			t.Errorf("got %q, want %q", out, want)
		}
		r.do("delete", c.id).ok()
	})
	t.Run("signals of the keyboard", func(t *testing.T) {
		r := newRT(t)
		c := r.sh(`trap 'echo interrupted; exit 12' INT; echo ready; while :; do sleep 0.02; done`)
		master := c.withTerminal(nil)
		c.start()
		c.out.until("ready")
		master.WriteString("\x03")
		if code := c.wait(); code != 12 {
			t.Errorf("exit code %d, want 12", code)
		}
		c.out.until("interrupted")
	})
	t.Run("of another user", func(t *testing.T) {
		r := newRT(t)
		c := r.sh("echo x >/dev/tty; stat -c %u $(tty)", func(s *specs.Spec) { s.Process.User.UID = 1000 })
		c.withTerminal(nil)
		c.start()
		if code, out := c.wait(), c.out.all(rtLimit); code != 0 || out != "x\r\n1000\r\n" {
			t.Errorf("exit code %d, %q", code, out)
		}
	})
	t.Run("without a socket", func(t *testing.T) {
		r := newRT(t)
		r.sh("true", func(s *specs.Spec) { s.Process.Terminal = true }).tryCreate().fails("will detach without setting console socket")
		c := r.sh("true")
		c.tryCreate("--console-socket", c.dir+"/none").fails("will not detach or allocate tty")
		d := r.sh("true", func(s *specs.Spec) { s.Process.Terminal = true })
		d.tryCreate("--console-socket", d.dir+"/none").fails("")
		if left := r.leftovers(); len(left) != 0 {
			t.Errorf("left %q", left)
		}
	})
	t.Run("attached", func(t *testing.T) { // run on a pty of ours: it copies, follows our size, and gives our settings back
		r := newRT(t)
		c := r.sh(`tty; stty size; read x; echo "got $x"; exit 13`, func(s *specs.Spec) { s.Process.Terminal = true })
		master, slave := openPty(t)
		r.must(unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 22, Col: 66}))
		before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		r.must(err)
		cmd := r.cmd("run", "--bundle", c.dir, c.id)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		out := readSink(t, master, nil)
		go func() { out.until("22 66"); master.WriteString("typed\r") }()
		if res := r.wait(cmd); res.code != 13 {
			t.Errorf("exit code %d, want 13", res.code)
		}
		after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		r.must(err)
		if *before != *after {
			t.Errorf("run left the terminal changed")
		}
		if got := strings.ReplaceAll(out.until("got typed"), "\r\n", "\n"); got != "/dev/pts/0\n22 66\ntyped\ngot typed\n" {
			t.Errorf("%q", got)
		}
	})
}

func openPty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); slave.Close() })
	return master, slave
}

// Unknown properties must be ignored (runtime-spec, Extensibility); what engines of later versions write loads.
func TestUnknownProperties(t *testing.T) {
	r := newRT(t)
	c := r.sh("echo fine")
	var m map[string]any
	r.must(json.Unmarshal([]byte(rtRead(t, c.dir+"/config.json")), &m))
	m["somethingNew"] = map[string]any{"x": 1}
	m["linux"].(map[string]any)["other"] = []int{1}
	for _, version := range []string{"1.0.2-dev", "1.3.0", "1.99.0"} {
		m["ociVersion"] = version
		b, _ := json.Marshal(m)
		r.must(os.WriteFile(c.dir+"/config.json", b, 0o644))
		if res := c.run(); res.code != 0 || res.out != "fine\n" {
			t.Errorf("ociVersion %s: exit code %d, stderr %q", version, res.code, res.err)
		}
	}
}
