// ps, pause and resume as the shim, podman and people call them.

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// hostPids asks the kernel, not the runtime: every process that says it is in the container's cgroup.
func (c *ctr) hostPids() []int {
	c.r.Helper()
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		groups, _ := os.ReadFile(d + "/cgroup")
		stat, _ := os.ReadFile(d + "/stat")
		zombie := strings.Contains(string(stat), ") Z ")
		if strings.Contains(string(groups), c.group()+"\n") && !zombie {
			pid, _ := strconv.Atoi(filepath.Base(d))
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// execDetached adds a process. When it dies it is this process's to collect: init of a pid namespace only ends after it.
func (c *ctr) execDetached(args ...string) int {
	c.r.Helper()
	file := c.dir + "/execpid"
	cmd := c.r.cmd(append([]string{"exec", "--detach", "--pid-file", file, c.id}, args...)...)
	if res := c.r.wait(cmd); res.code != 0 { // with /dev/null, not a pipe that the process would hold
		c.r.Fatalf("%v: exit code %d", res.args, res.code)
	}
	pid, err := strconv.Atoi(rtRead(c.r.T, file))
	c.r.must(err)
	return pid
}

// psPids is `ps --format json` as the shim reads it.
func (c *ctr) psPids(format ...string) []int {
	c.r.Helper()
	res := c.r.do(append(append([]string{"ps"}, format...), c.id)...).ok()
	var pids []int
	if err := json.Unmarshal([]byte(res.out), &pids); err != nil {
		c.r.Fatalf("%v: %q: %v", res.args, res.out, err)
	}
	slices.Sort(pids)
	return pids
}

// psTable is the table's header, and its lines by pid.
func (c *ctr) psTable(options ...string) (string, map[int]string) {
	c.r.Helper()
	res := c.r.do(append([]string{"ps", c.id}, options...)...).ok()
	header, rest, _ := strings.Cut(res.out, "\n")
	column := slices.Index(strings.Fields(header), "PID")
	lines := map[int]string{}
	for line := range strings.Lines(rest) {
		if f := strings.Fields(line); column >= 0 && column < len(f) {
			pid, _ := strconv.Atoi(f[column])
			lines[pid] = strings.TrimRight(line, "\n")
		}
	}
	if column < 0 || len(lines) != strings.Count(rest, "\n") {
		c.r.Fatalf("%v: %q", res.args, res.out)
	}
	return header, lines
}

func TestPs(t *testing.T) {
	r := newRT(t)
	c := r.sh("sleep 1001 & sleep 1002 & echo ready; wait")
	c.create()
	if got := c.psPids("--format", "json"); !slices.Equal(got, []int{c.pid}) {
		t.Errorf("ps of a created container: %v, want only its init %d", got, c.pid)
	}
	c.start()
	c.out.until("ready")
	r.eventually("the container has three processes", func() bool { return len(c.hostPids()) == 3 })
	added := c.execDetached("sleep", "1003")
	want := c.hostPids()
	if len(want) != 4 || !slices.Contains(want, c.pid) || !slices.Contains(want, added) {
		t.Fatalf("host pids %v, init %d, exec'd %d", want, c.pid, added)
	}
	for _, format := range [][]string{{"--format", "json"}, {"--format=json"}, {"-f", "json"}} {
		if got := c.psPids(format...); !slices.Equal(got, want) {
			t.Errorf("ps %v: %v, want %v", format, got, want)
		}
	}
	check := func(what string, lines map[int]string) {
		t.Helper()
		for _, pid := range want {
			if lines[pid] == "" {
				t.Errorf("%s lacks process %d: %v", what, pid, lines)
			}
		}
		if len(lines) != len(want) {
			t.Errorf("%s has %d lines, want %d: %v", what, len(lines), len(want), lines)
		}
		if !strings.Contains(lines[added], "sleep 1003") {
			t.Errorf("%s, line of %d: %q", what, added, lines[added])
		}
	}
	header, lines := c.psTable()
	check("the table", lines)
	if f := strings.Fields(header); len(f) != 8 || f[0] != "UID" || f[7] != "CMD" {
		t.Errorf("header %q, want that of ps -ef", header)
	}
	header, lines = c.psTable("-e", "-o", "user,pid,args")
	check("the table of -o user,pid,args", lines)
	if got := strings.Join(strings.Fields(header), " "); got != "USER PID COMMAND" {
		t.Errorf("header %q", got)
	}
	_, lines = c.psTable("aux")
	check("the table of aux", lines)

	r.do("ps", "--format", "xml", c.id).fails("")
	r.do("ps", c.id, "-o", "args").fails("PID")
	if r.isRunh() { // runc prints a usage text on stdout, and all lines of ps's
		r.do("ps", c.id, "--nosuchoption").fails("unknown")
		r.do("ps").fails("")
	}
	r.do("ps", "nosuch-"+r.token).fails("does not exist")
	r.do("ps", "-f", "json", "nosuch-"+r.token).fails("does not exist")

	r.do("kill", c.id, "9").ok()
	rtReap(added, rtLimit)
	c.wait()
	r.eventually("the others have died with init", func() bool { return len(c.hostPids()) == 0 })
	if got := r.do("ps", "-f", "json", c.id).ok().out; strings.TrimSpace(got) != "null" {
		t.Errorf("ps of a stopped container: %q, want null", got)
	}
	if _, lines := c.psTable(); len(lines) != 0 {
		t.Errorf("ps of a stopped container: %v", lines)
	}
}

// The host's ps(1) is found without PATH; where there is none, the json form still works.
func TestPsProgram(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc looks for ps in PATH only")
	c := r.bundle([]string{"sleep", "1000"}).create().start()
	r.env = []string{"RUNH_TEST_TOKEN=" + r.token}
	if _, lines := c.psTable(); len(lines) != 1 || lines[c.pid] == "" {
		t.Errorf("ps without PATH: %v", lines)
	}
	r.env = nil
	without := func(args ...string) result {
		cmd := r.cmd(append([]string{"ps"}, args...)...)
		// A device is no program: PATH search passes it by.
		script := `for p in /bin/ps /usr/bin/ps; do [ ! -e $p ] || mount --bind /dev/null $p; done; exec "$0" "$@"`
		wrapped := exec.Command("unshare", append([]string{"-m", "sh", "-c", script}, cmd.Args...)...)
		wrapped.Env, wrapped.Dir = cmd.Env, cmd.Dir
		return r.doCmd(wrapped)
	}
	without(c.id).fails("the host has no program ps")
	if out := without("--format", "json", c.id).ok().out; out != "["+strconv.Itoa(c.pid)+"]\n" {
		t.Errorf("ps --format json without ps(1): %q", out)
	}
}

// ticker is a container that shows on stdout that it runs.
func (r *rt) ticker() *ctr {
	r.Helper()
	c := r.sh("trap 'exit 5' TERM; while :; do echo tick; usleep 2000; done").create().start()
	c.out.until("tick")
	return c
}

// wantStill fails if the container writes anything for a while in which a running ticker writes dozens of lines.
func (c *ctr) wantStill() {
	c.r.Helper()
	time.Sleep(30 * time.Millisecond) // what it wrote before is on its way to us
	before := c.out.String()
	time.Sleep(150 * time.Millisecond)
	if after := c.out.String(); after != before {
		c.r.Errorf("paused, and it wrote %d bytes", len(after)-len(before))
	}
}

func (c *ctr) wantTicking() {
	c.r.Helper()
	before := len(c.out.String())
	c.r.eventually("it writes again", func() bool { return len(c.out.String()) > before })
}

func TestPause(t *testing.T) {
	r := newRT(t)
	c := r.ticker()
	r.do("resume", c.id).fails("container not paused")
	c.wantTicking()
	fastest := map[string]time.Duration{}
	quick := func(res result) {
		t.Helper()
		if res.ok(); res.eof > 500*time.Millisecond || res.out != "" {
			t.Errorf("%v: held the pipes for %v after its end, stdout %q", res.args, res.eof, res.out)
		}
		if d, ok := fastest[res.args[0]]; !ok || res.took < d {
			fastest[res.args[0]] = res.took
		}
	}
	quick(r.do("pause", c.id))
	c.wantStatus("paused")
	if s := c.state(); s.Pid != c.pid {
		t.Errorf("pid of a paused container: %d, want %d", s.Pid, c.pid)
	}
	c.wantStill()
	r.do("pause", c.id).fails("container not running")
	r.do("start", c.id).fails("")
	r.do("delete", c.id).fails("that is not stopped: paused")
	if res := r.do("exec", c.id, "true"); res.code != 255 || !strings.Contains(res.err, "paused") {
		t.Errorf("exec: exit code %d, stderr %q", res.code, res.err)
	}
	if got := c.psPids("-f", "json"); !slices.Contains(got, c.pid) {
		t.Errorf("ps of a paused container: %v", got)
	}
	c.wantStatus("paused")
	quick(r.do("resume", c.id))
	c.wantStatus("running")
	c.wantTicking()
	r.do("resume", c.id).fails("container not paused")
	quick(r.do("pause", c.id))
	quick(r.do("resume", c.id))
	c.wantTicking()
	for verb, d := range fastest { // of two: the machine may be busy with other tests
		if d > 2*time.Second {
			t.Errorf("%s took %v", verb, d)
		}
	}
	r.do("kill", c.id, "9").ok()
	c.wait()
	r.do("pause", c.id).fails("container not running")
	r.do("resume", c.id).fails("container not paused")
	for _, verb := range []string{"pause", "resume"} {
		r.do(verb, "nosuch-"+r.token).fails("does not exist")
		if r.isRunh() { // runc prints a usage text on stdout
			r.do(verb).fails("")
			r.do(verb, c.id, "more").fails("")
		}
	}
}

func TestPauseCreated(t *testing.T) {
	r := newRT(t)
	c := r.sh("echo ran").create()
	r.do("pause", c.id).ok()
	c.wantStatus("paused")
	r.do("start", c.id).fails("paused")
	r.do("resume", c.id).ok()
	if r.isRunh() { // runc takes every resumed container for a running one
		c.wantStatus("created")
	}
	if got := c.out.String(); got != "" {
		t.Errorf("it ran before start: %q", got)
	}
	if r.isRunh() {
		c.start()
		c.out.until("ran")
		c.wait()
	}
}

// All processes stop: those that exec added, and those that are being forked while the freezer works.
func TestPauseForking(t *testing.T) {
	r := newRT(t)
	c := r.sh("for i in 1 2 3; do while :; do /bin/true; done & done; echo ready; wait").create().start()
	c.out.until("ready")
	added := c.execDetached("sh", "-c", "while :; do /bin/true; done")
	for range 5 {
		r.do("pause", c.id).ok()
		pids := c.hostPids()
		if len(pids) < 5 {
			t.Errorf("paused processes: %v, want at least 5", pids)
		}
		if !slices.Contains(pids, added) {
			t.Errorf("the exec'd process %d is not among %v", added, pids)
		}
		used := cpuTicks(t, pids)
		time.Sleep(60 * time.Millisecond)
		if now := cpuTicks(t, pids); now != used {
			t.Errorf("paused, and it used %d clock ticks of CPU time", now-used)
		}
		if after := c.hostPids(); !slices.Equal(after, pids) {
			t.Errorf("paused, and its processes changed from %v to %v", pids, after)
		}
		r.do("resume", c.id).ok()
	}
	r.do("kill", c.id, "9").ok()
	rtReap(added, rtLimit)
	c.wait()
}

func cpuTicks(t *testing.T, pids []int) (sum int) {
	t.Helper()
	for _, pid := range pids {
		for _, field := range []int{14, 15} { // utime, stime
			n, err := strconv.Atoi(rtStat(t, pid, field))
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	return sum
}

// How Docker ends a paused container: stop sends TERM, resumes, and KILL; rm -f sends KILL and resumes, which may fail.
func TestPausedEnds(t *testing.T) {
	t.Run("kill", func(t *testing.T) {
		r := newRT(t)
		c := r.ticker()
		r.do("pause", c.id).ok()
		r.do("kill", c.id, "KILL").ok()
		if code := c.wait(); code != 137 {
			t.Errorf("exit code %d, want 137", code)
		}
		r.do("resume", c.id).fails("container not paused")
		r.do("delete", c.id).ok()
	})
	t.Run("kill --all, no pid namespace", func(t *testing.T) {
		r := newRT(t)
		c := r.sh("sleep 1000 & echo ready; wait", func(s *specs.Spec) { dropNS(s, specs.PIDNamespace) }).create().start()
		c.out.until("ready")
		r.do("pause", c.id).ok()
		r.do("kill", "--all", c.id, "9").ok()
		if code := c.wait(); code != 137 {
			t.Errorf("exit code %d, want 137", code)
		}
		r.eventually("the others are gone", func() bool { return len(c.hostPids()) == 0 })
	})
	t.Run("term and resume", func(t *testing.T) {
		r := newRT(t)
		c := r.ticker()
		r.do("pause", c.id).ok()
		r.do("kill", c.id, "15").ok()
		c.wantStatus("paused")
		r.do("resume", c.id).ok()
		if code := c.wait(); code != 5 {
			t.Errorf("exit code %d, want the trap's 5", code)
		}
	})
	t.Run("delete --force", func(t *testing.T) {
		r := newRT(t)
		c := r.ticker()
		r.do("pause", c.id).ok()
		r.do("delete", "--force", c.id).ok()
		if code := c.wait(); code != 137 {
			t.Errorf("exit code %d, want 137", code)
		}
	})
	t.Run("delete --force, created", func(t *testing.T) {
		r := newRT(t)
		c := r.sh("echo never").create()
		r.do("pause", c.id).ok()
		r.do("delete", "--force", c.id).ok()
		if code := c.wait(); code != 137 {
			t.Errorf("exit code %d, want 137", code)
		}
	})
}

// Of several pauses at once one has paused the container; each of the others is told that it was not running.
func TestPausesAtOnce(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc takes no lock: two may both believe to be the one")
	c := r.ticker()
	for _, verb := range []string{"pause", "resume"} {
		var wg sync.WaitGroup
		codes := make([]int, 6)
		for i := range codes {
			wg.Go(func() {
				cmd := r.cmd(verb, c.id)
				cmd.Run()
				codes[i] = cmd.ProcessState.ExitCode()
			})
		}
		wg.Wait()
		if slices.Sort(codes); !slices.Equal(codes, []int{0, 1, 1, 1, 1, 1}) {
			t.Errorf("exit codes of six times %s: %v, want one success", verb, codes)
		}
	}
	c.wantTicking()
}
