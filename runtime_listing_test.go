// explain --program against what create does: the program in the memory of a real init is the one that was listed.

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// programOf reads the program in a process's memory. What a memory has no room for, the names, it takes from the listed one.
func programOf(t *testing.T, pid int, listed *program) *program {
	t.Helper()
	mem, err := unix.Mmap(-1, 0, programSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, part := range []struct{ offset, size int64 }{{0, 1 << 20}, {dataOffset, 1 << 20}} {
		if _, err := io.ReadFull(io.NewSectionReader(f, programBase+part.offset, part.size), mem[part.offset:part.offset+part.size]); err != nil {
			t.Fatalf("the memory of process %d: %v", pid, err)
		}
	}
	p := &program{mem: mem, names: listed.names, sections: listed.sections, labels: listed.labels, begins: listed.begins}
	for p.op(p.ops).result != 0 {
		p.ops++
	}
	return p
}

// compareListing holds the listing of c's bundle against the memory of a process. The words are what only create knows.
func compareListing(t *testing.T, c *createPlan, pid int, known *strings.Replacer) {
	t.Helper()
	if err := c.readBundle(); err != nil {
		t.Fatal(err)
	}
	c.init.cgroup = c.expectCgroup()
	g, err := c.explainGuest()
	if err != nil {
		t.Fatal(err)
	}
	if g != nil {
		defer g.close()
	}
	c.init.namespaces = readNamespaces(c.spec.Linux.Namespaces)
	compiler, err := c.compile(g)
	if err != nil {
		t.Fatal(err)
	}
	defer compiler.close()
	comparePrograms(t, compiler.program, programOf(t, pid, compiler.program), known)
}

func comparePrograms(t *testing.T, listed, real *program, known *strings.Replacer) {
	t.Helper()
	if real.ops != listed.ops {
		t.Errorf("the process runs %d calls, listed are %d", real.ops, listed.ops)
	}
	real.ops = min(real.ops, listed.ops)
	want, got := newLister(real, false).part("", ""), newLister(listed, false).part("", "")
	line := func(c listingCall) string {
		return known.Replace(fmt.Sprintf("%d %s(%s)%s", c.Number, c.Call, strings.Join(c.Arguments, ", "), c.ends()))
	}
	for i, s := range want.Sections {
		for k, c := range s.Calls {
			if a, b := line(c), line(got.Sections[i].Calls[k]); a != b {
				t.Fatalf("the process runs %s\nlisted is        %s", a, b)
			}
		}
	}
}

// knownShell are the words that only create knows, for a shell of the containers here.
var knownShell = strings.NewReplacer(`"exec: \"/bin/sh\""`, `"exec: <executable>"`, `"/bin/sh"`, "<executable>",

	`"HOME=/root"`, "<HOME of /etc/passwd>", `"HOME=/home"`, "<HOME of /etc/passwd>", `"HOME=/"`, "<HOME of /etc/passwd>")

func TestListingIsWhatRuns(t *testing.T) {
	for _, x := range []struct {
		name  string
		edits []func(*specs.Spec)
	}{
		{"plain", nil},
		{"docker", []func(*specs.Spec){func(s *specs.Spec) {
			d := dockerSpec(t)
			d.Root, d.Process.Args, d.Linux.CgroupsPath = s.Root, s.Process.Args, s.Linux.CgroupsPath
			*s = *d
		}}},
		{"more", []func(*specs.Spec){func(s *specs.Spec) {
			s.Linux.Sysctl = map[string]string{"kernel.shmmax": "65536", "kernel.msgmax": "4096"}
			s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = []string{"/etc/passwd", "/tmp"}, []string{"/home"}
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/mnt/deep", Type: "bind", Source: "/etc", Options: []string{"rbind", "ro"}},
				specs.Mount{Destination: "/mnt/file", Type: "bind", Source: "/etc/passwd", Options: []string{"bind"}})
			s.Process.User = specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{7}}
			s.Process.NoNewPrivileges = true
		}}},
		{"user namespace", []func(*specs.Spec){func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 0, Size: 65536}}
			s.Linux.GIDMappings, s.Linux.Sysctl = s.Linux.UIDMappings, nil
		}}},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRT(t)
			r.onlyRunh("explain is runh's")
			c := r.sh("exit 0", x.edits...)
			c.create()
			facts := thisHost()
			facts.stdio = func(int) (unix.Stat_t, error) { return unix.Stat_t{Mode: unix.S_IFIFO}, nil } // as create has
			plan := &createPlan{g: &globals{root: r.root, log: r.log, logFormat: "json", systemdCgroup: rtSystemd()}, facts: facts, opts: createOptions{bundle: c.dir, id: c.id}}
			compareListing(t, plan, c.pid, knownShell)
			c.start()
			c.wait()
			r.do("delete", c.id).ok()
		})
	}
}

// QEMU's process waits for its network with the whole program in its memory.
func TestListingIsWhatRunsHermit(t *testing.T) {
	r := newHermit(t)
	r.onlyRunh("explain is runh's")
	c := r.guest("app", nil, annotated("network", "shared"))
	c.create()
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", c.pid, c.pid))
	r.must(err)
	pid, err := strconv.Atoi(strings.Fields(string(children))[0])
	r.must(err)
	plan := &createPlan{g: &globals{root: r.root, log: r.log, logFormat: "json"}, facts: thisHost(), opts: createOptions{bundle: c.dir, id: c.id}}
	self, err := filepath.EvalSymlinks(r.bin)
	r.must(err)
	compareListing(t, plan, pid, strings.NewReplacer(strconv.Quote(self), "<runh>", " to <argv, from create or start>", "", "<argv, from create or start>", "[]"))
	r.do("delete", "--force", c.id).ok()
}

// An exec is caught with its program in its memory while it waits for an agent that is busy: the queue of the agent's socket has room
// for the container's own listener.
func TestListingIsWhatRunsExec(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("explain is runh's")
	agent, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	r.must(err)
	defer unix.Close(agent)
	r.must(unix.Bind(agent, &unix.SockaddrUnix{Name: r.dir + "/agent"}))
	r.must(unix.Listen(agent, 0))
	c := r.sh("read end", func(s *specs.Spec) {
		s.Linux.Seccomp = &specs.LinuxSeccomp{
			DefaultAction: specs.ActAllow, ListenerPath: r.dir + "/agent",
			Syscalls: []specs.LinuxSyscall{{Names: []string{"chroot"}, Action: specs.ActNotify}},
		}
	})
	c.create().start()
	process := filepath.Join(c.dir, "process.json")
	r.must(os.WriteFile(process, []byte(`{"args":["sh","-c","exit 7"],"cwd":"/","env":["PATH=/bin"],"user":{"uid":5,"gid":6}}`), 0o644))
	cmd := r.cmd("exec", "--process", process, c.id)
	r.must(cmd.Start())
	pid := 0
	for end := time.Now().Add(rtLimit); pid == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			cmd.Process.Kill()
			t.Fatal("the process of exec has not loaded its filter")
		}
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", cmd.Process.Pid))
		r.must(err)
		var children []string
		for _, thread := range threads {
			children = append(children, strings.Fields(rtReadOr(thread))...)
		}
		for _, child := range children {
			if strings.Contains(rtReadOr("/proc/"+child+"/status"), "\nSeccomp:\t2\n") {
				pid, err = strconv.Atoi(child)
				r.must(err)
			}
		}
	}
	facts := thisHost()
	facts.stdio = func(int) (unix.Stat_t, error) { return unix.Stat_t{Mode: unix.S_IFCHR}, nil } // /dev/null
	plan, err := planProgram(&globals{root: r.root, systemdCgroup: rtSystemd()}, &explainOptions{bundle: c.dir}, facts)
	r.must(err)
	plan.opts.id = c.id
	plan.init.cgroup, plan.init.namespaces = plan.expectCgroup(), readNamespaces(plan.spec.Linux.Namespaces)
	e := newExecution(execOptions{process: process})
	e.plan.process, err = e.opts.readProcess(plan.spec.Process)
	r.must(err)
	program, err := plan.compileProcess(e)
	r.must(err)
	defer program.close()
	comparePrograms(t, program, programOf(t, pid, program), knownShell)
	for range 2 { // the container's connection, and exec's
		conn, _, err := unix.Accept4(agent, unix.SOCK_CLOEXEC)
		r.must(err)
		defer unix.Close(conn) // after exec has sent its listener
	}
	var status *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &status) || status.ExitCode() != 7 {
		t.Errorf("exec ended with %v", err)
	}
	c.stdin.Close()
	c.wait()
	r.do("delete", c.id).ok()
}

// explain --program needs no privilege, makes nothing, and says the same as text and as JSON.
func TestExplainProgram(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("explain is runh's")
	c := r.sh("exit 0", func(s *specs.Spec) {
		makeRootless(s)
		s.Process.User.AdditionalGids, s.Linux.Sysctl = nil, nil
		s.Linux.UIDMappings, s.Linux.GIDMappings = []specs.LinuxIDMapping{{HostID: 65534, Size: 1}}, []specs.LinuxIDMapping{{HostID: 65534, Size: 1}}
	})
	r.must(os.Chmod(r.dir, 0o755))
	bin := r.dir + "/runh"
	r.must(exec.Command("cp", r.bin, bin).Run()) // to where that user finds it
	cmd := exec.Command(bin, "explain", "--program", "--bundle", c.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	user := r.doCmd(cmd).ok().out
	for _, want := range []string{"=== the container's init ===", "unshare(CLONE_NEWUSER)", "== syncUser: the parent writes the id maps", "execve(<executable>, "} {
		if !strings.Contains(user, want) {
			t.Errorf("of an ordinary user the listing lacks %q", want)
		}
	}
	// A config that only root can run, with a volume of another host: an auditor gets its listing all the same.
	other := r.sh("exit 0", func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/mnt/x", Type: "bind", Source: "/nosuch-" + r.token, Options: []string{"bind"}})
	})
	cmd = exec.Command(bin, "explain", "--program", "--bundle", other.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	for _, want := range []string{"note    this is the listing of root", "/nosuch-" + r.token + ": no such file or directory: the listing takes it for a directory"} {
		if out := r.doCmd(cmd).ok().out; !strings.Contains(out, want) {
			t.Errorf("the notes lack %q", want)
		}
		cmd = exec.Command(bin, "explain", "--program", "--bundle", other.dir)
	}
	text := r.do("explain", "--program", "--bundle", c.dir).ok().out
	var l listing
	r.must(json.Unmarshal([]byte(r.do("explain", "--program", "--format", "json", "--bundle", c.dir).ok().out), &l))
	if l.text() != text {
		t.Error(firstDifference(text, l.text()))
	}
	process := filepath.Join(c.dir, "process.json")
	r.must(os.WriteFile(process, []byte(`{"args":["/bin/id","-u"],"cwd":"/tmp"}`), 0o644))
	if out := r.do("explain", "--program", "--exec", "--process", process, "--bundle", c.dir).ok().out; !strings.Contains(out, "=== exec ===") || !strings.Contains(out, `["/bin/id" "-u"]`) {
		t.Errorf("an exec is listed as %q", out)
	}
	r.do("explain", "--exec", "--bundle", c.dir).fails("flag --exec is for --program")
	r.do("explain", "--program", "--process", process, "--bundle", c.dir).fails("flag --process is for --exec")
	if _, err := os.Stat(r.root); err == nil {
		t.Error("explain has made the state root")
	}
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// What the command itself does, seen by strace: it reads, for a guest too, whose QEMU nobody has been asked about yet.
func TestExplainProgramDoesNothing(t *testing.T) {
	strace, err := exec.LookPath("strace")
	needs(t, err == nil, "strace")
	reads := regexp.MustCompile(`CLONE_THREAD|tgkill\(|wait4\(|exit|resumed>|O_RDONLY|O_PATH`)
	makes := regexp.MustCompile(`O_WRONLY|O_RDWR|O_CREAT|fork\(`)
	for _, kind := range []string{"linux", "hermit"} {
		t.Run(kind, func(t *testing.T) {
			var r *rt
			var c *ctr
			if kind == "linux" {
				r = newRT(t)
				c = r.sh("exit 0")
			} else {
				r = newHermit(t)
				c = r.guest("app", nil, annotated("network", "none"))
			}
			r.onlyRunh("explain is runh's")
			trace := filepath.Join(r.dir, "trace")
			cmd := exec.Command(strace, "-f", "-o", trace, "-e", "signal=none", "-e",
				"trace=process,openat,open,creat,mkdir,mkdirat,mknodat,unlinkat,renameat,symlinkat,memfd_create,mount,umount2,move_mount,open_tree,fsopen,mount_setattr,unshare,setns,bind,connect",
				r.bin, "--root", r.root, "explain", "--program", "--bundle", c.dir)
			res := r.doCmd(cmd).ok()
			if want := map[string]string{"linux": "execve(<executable>, ", "hermit": "--- QEMU's process: its jail ---"}[kind]; !strings.Contains(res.out, want) {
				t.Errorf("the listing lacks %q", want)
			}
			execs := 0
			for line := range strings.Lines(rtReadOr(trace)) {
				switch {
				case strings.Contains(line, "execve("):
					execs++
				case makes.MatchString(line), !reads.MatchString(line):
					t.Errorf("explain --program does %s", line)
				}
			}
			if execs != 1 {
				t.Errorf("%d programs were started", execs)
			}
		})
	}
}
