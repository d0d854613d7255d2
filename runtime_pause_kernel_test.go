// pause and its relatives where a cgroup has members that are no processes of the container, or processes that do not stop. Before
// Linux 6.13, KVM and vhost put kernel threads there, which neither freeze nor die (runtime_vm_kvm_test.go has such a kernel).

package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// member starts a program of the host's in the container's cgroup, as far as the freezer goes, with files from 3 on.
func (c *ctr) member(args []string, files ...*os.File) *exec.Cmd {
	c.r.Helper()
	cmd := exec.Command("sh", append([]string{"-c", `echo $$ >"$0" && exec "$@"`, c.freezer() + "/cgroup.procs"}, args...)...)
	cmd.ExtraFiles = files
	c.r.must(cmd.Start())
	c.r.Cleanup(func() { cmd.Process.Kill() }) // the container's end collects it
	return cmd
}

// freezer is the container's directory in the hierarchy that freezes.
func (c *ctr) freezer() string {
	if dir := cgroupRoot + "/freezer" + c.group(); regularFile(dir + "/freezer.state") {
		return dir
	}
	return cgroupRoot + c.group()
}

// kernelThreads are those in the container's cgroup, by what the kernel says of each.
func (c *ctr) kernelThreads() (pids []int, names string) {
	c.r.Helper()
	for word := range strings.FieldsSeq(rtRead(c.r.T, c.freezer()+"/cgroup.procs")) {
		f, err := processStat("/proc/" + word + "/stat")
		if err != nil {
			continue // it has ended
		}
		if flags, _ := strconv.Atoi(f[9-3]); flags&0x200000 != 0 {
			pid, _ := strconv.Atoi(word)
			pids = append(pids, pid)
			names += rtReadOr("/proc/" + word + "/comm")
		}
	}
	slices.Sort(pids)
	return pids, names
}

// vhostOwner adds a process for which vhost works, and returns it and vhost's kernel thread.
func (c *ctr) vhostOwner() (owner, thread int) {
	c.r.Helper()
	self, err := os.Executable()
	c.r.must(err)
	vhost, err := os.OpenFile("/dev/vhost-net", os.O_RDWR, 0)
	c.r.must(err)
	defer vhost.Close()
	owner = c.member([]string{"env", "RUNH_TEST_VHOST=1", self, "-test.run=^TestVhostOwner$"}, vhost).Process.Pid
	c.r.eventually("it has a child", func() bool {
		return slices.ContainsFunc(c.hostPids(), func(pid int) bool {
			f, err := processStat(fmt.Sprintf("/proc/%d/stat", pid))
			return err == nil && f[4-3] == strconv.Itoa(owner)
		})
	})
	threads, names := c.kernelThreads()
	if len(threads) != 1 {
		c.r.Fatalf("kernel threads %v, %q; want one", threads, names)
	}
	return owner, threads[0]
}

func (c *ctr) refusesExec() {
	c.r.Helper()
	if res := c.r.do("exec", c.id, "true"); res.code != 255 || !strings.Contains(res.err, "cannot exec in a paused container") {
		c.r.Errorf("exec: exit code %d, stderr %q", res.code, res.err)
	}
}

// TestVhostOwner is no test: TestPauseKernelThread starts it in a container's cgroup, as one that has vhost work for it. It then waits in
// vfork(2), for a child that never gets to its program.
func TestVhostOwner(t *testing.T) {
	if os.Getenv("RUNH_TEST_VHOST") == "" {
		t.SkipNow()
	}
	const setOwner = 0xaf01 // VHOST_SET_OWNER
	if err := unix.IoctlSetInt(3, setOwner, 0); err != nil {
		t.Fatal(err)
	}
	if child, _, _ := syscall.RawSyscall(syscall.SYS_VFORK, 0, 0, 0); child == 0 {
		for {
			syscall.RawSyscall(syscall.SYS_PAUSE, 0, 0, 0)
		}
	}
	unix.Pause()
}

// A runh that runs in a container sees no kernel thread: a 0 stands in its place.
func TestPauseKernelThreadUnseen(t *testing.T) {
	if os.Getenv("RUNH_TEST_ACCEL") != "kvm" {
		leftToVM(t)
		t.SkipNow()
	}
	r := newRT(t)
	c := r.bundle([]string{"sleep", "1000"})
	self, err := os.Executable()
	r.must(err)
	script := `set -e
runh="$0 --root $1" bundle=$2 id=$3 procs=$4 self=$5
$runh create --bundle $bundle $id >/dev/null 2>&1
$runh start $id
RUNH_TEST_VHOST=1 sh -c 'echo $$ >"$0" && exec "$@"' $procs $self -test.run='^TestVhostOwner$' 3<>/dev/vhost-net >/dev/null 2>&1 &
until grep -qx 0 $procs; do sleep 0.01; done
for n in 1 2; do
	$runh pause $id
	$runh state $id | grep -o '"status": "[a-z]*"'
	$runh ps -f json $id | tr , '\n' | wc -l
	$runh resume $id
done
$runh exec $id echo ran
$runh delete --force $id`
	res := r.doCmd(exec.Command("unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", script, r.bin, r.root, c.dir, c.id, c.freezer()+"/cgroup.procs", self))
	if want := strings.Repeat("\"status\": \"paused\"\n3\n", 2) + "ran\n"; res.code != 0 || res.out != want { // sleep, the owner and its child
		t.Errorf("exit code %d, %q, %q; want %q", res.code, res.out, res.err, want)
	}
}

// A Linux container with a kernel thread in its cgroup is one without it for all commands.
func TestPauseKernelThread(t *testing.T) {
	if os.Getenv("RUNH_TEST_ACCEL") != "kvm" {
		leftToVM(t)
		t.SkipNow()
	}
	r := newRT(t)
	c := r.ticker()
	owner, thread := c.vhostOwner()
	for range 2 {
		if got := c.psPids("--format", "json"); slices.Contains(got, thread) || !slices.Contains(got, c.pid) || !slices.Contains(got, owner) {
			t.Errorf("ps: %v, want among them %d and %d, and not the kernel thread %d", got, c.pid, owner, thread)
		}
		r.do("pause", c.id).ok()
		c.wantStatus("paused")
		if events := rtRead(t, c.freezer()+"/cgroup.events"); !strings.Contains(events, "frozen 0") {
			t.Errorf("the kernel thread is frozen, too: %q", events)
		}
		c.wantStill()
		r.do("pause", c.id).fails("container not running")
		c.refusesExec()
		r.do("resume", c.id).ok()
		r.do("resume", c.id).fails("container not paused")
		c.wantStatus("running")
		c.wantTicking()
		r.do("exec", c.id, "true").ok()
	}
	r.do("pause", c.id).ok()
	r.do("kill", "--all", c.id, "TERM").ok()
	c.wantStatus("paused")
	r.do("resume", c.id).ok()
	if code := c.wait(); code != 5 {
		t.Errorf("exit code %d, want the trap's 5", code)
	}
	r.do("delete", c.id).ok()

	// One that works for a process elsewhere keeps the cgroup. Nobody waits for it as for a process that was killed, and it is named.
	c = r.ticker()
	owner, thread = c.vhostOwner()
	r.must(os.WriteFile(cgroupRoot+"/cgroup.procs", []byte(strconv.Itoa(owner)), 0))
	r.do("kill", "--all", c.id, "KILL").ok()
	c.wait()
	if out := strings.TrimSpace(r.do("ps", "--format", "json", c.id).ok().out); out != "null" {
		t.Errorf("ps: %s", out)
	}
	r.do("delete", c.id).fails(fmt.Sprintf("kernel threads in it: [%d]", thread))
	r.must(syscall.Kill(owner, syscall.SIGKILL))
	r.eventually("it ends with what it works for", func() bool { return len(c.hostPids()) == 0 })
	r.do("delete", c.id).ok()
}

// The same for a guest under KVM, with vhost-net: KVM's own thread is there from the first vCPU on.
func TestKVMPause(t *testing.T) {
	r := newKVM(t)
	c := r.attached(newWorld(r).pod("10.88.0.2/24"), "app", "count", "memory_size=64").create().start()
	c.counts(2)
	threads, names := c.kernelThreads()
	if !strings.Contains(names, "kvm-nx-lpage") || !strings.Contains(names, "vhost-") {
		t.Errorf("kernel threads %q", names)
	}
	users := slices.DeleteFunc(c.hostPids(), func(pid int) bool { return slices.Contains(threads, pid) })
	ps := func(when string) {
		t.Helper()
		if got := c.psPids("--format", "json"); !slices.Equal(got, users) || len(got) != 2 {
			t.Errorf("%s ps: %v, want keeper and QEMU %v", when, got, users)
		}
	}
	ps("running:")
	for range 2 {
		r.do("pause", c.id).ok()
		c.wantStatus("paused")
		ps("paused:")
		r.do("pause", c.id).fails("container not running")
		c.wantStill()
		r.do("resume", c.id).ok()
		c.wantStatus("running")
		c.counts(2)
	}
	r.do("pause", c.id).ok()
	c.checkpoint(r.dir+"/img", "--leave-running")
	c.wantStatus("paused")
	r.do("resume", c.id).ok()
	c.counts(2)
	r.do("kill", "--all", c.id, "KILL").ok()
	if code := c.wait(); code != 137 {
		t.Errorf("exit code %d, want 137", code)
	}
	r.do("delete", c.id).ok()
	counted(t, c.out.all(rtLimit))

	r.n++
	d := r.attached(newWorld(r).pod("10.88.0.2/24"), "app", "count", "memory_size=64").restore(r.dir + "/img")
	d.counts(2)
	r.do("pause", d.id).ok()
	r.do("delete", "--force", d.id).ok()
	if code := d.wait(); code != 137 {
		t.Errorf("exit code %d, want 137", code)
	}
}

// A container is paused when all its processes stand still, not before. One of them waits where no signal reaches it: for a directory that
// somebody outside has locked, who looks for a name in a file system that does not answer.
func TestPauseHalfway(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc says paused as soon as it was asked for")
	c := r.ticker()
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	needs(t, err == nil, "/dev/fuse")
	dir := r.dir + "/mute"
	r.must(os.Mkdir(dir, 0o755))
	r.must(unix.Mount("none", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse)))
	answer := sync.OnceFunc(func() { // to everything, with an error
		unix.Close(fuse)
		unix.Unmount(dir, unix.MNT_DETACH)
	})
	t.Cleanup(answer)
	waits := func(cmd *exec.Cmd, calls ...int) {
		t.Helper()
		r.eventually("a process waits", func() bool {
			nr, _, _ := strings.Cut(rtReadOr(fmt.Sprintf("/proc/%d/syscall", cmd.Process.Pid)), " ")
			call, err := strconv.Atoi(nr)
			return err == nil && slices.Contains(calls, call) && rtStat(t, cmd.Process.Pid, 3) == "D"
		})
	}
	outside := exec.Command("stat", dir+"/one")
	r.must(outside.Start())
	waits(outside, unix.SYS_STATX, unix.SYS_NEWFSTATAT)
	stuck := c.member([]string{"mkdir", dir + "/two"})
	waits(stuck, unix.SYS_MKDIR)

	// asked starts a pause and returns when the kernel was told.
	asked := func() *exec.Cmd {
		t.Helper()
		cmd := r.cmd("pause", c.id)
		r.must(cmd.Start())
		r.eventually("the cgroup is freezing", func() bool { freezing, _ := cgroupDirFreezing(c.freezer()); return freezing })
		return cmd
	}
	cmd, ended := asked(), make(chan error)
	go func() { ended <- cmd.Wait() }()
	for over := false; !over; {
		c.wantStatus("running")
		select {
		case <-ended:
			over = true
		default:
		}
	}
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(r.lastError(), "not all processes stopped within 2 s") {
		t.Errorf("exit code %d, %q", cmd.ProcessState.ExitCode(), r.lastError())
	}
	c.wantTicking()

	for range 2 {
		cmd = asked()
		r.must(cmd.Process.Kill())
		cmd.Wait()
		c.wantStatus("running")
		c.refusesExec() // it would never begin
		r.do("resume", c.id).ok()
		r.do("resume", c.id).fails("container not paused")
		c.wantTicking()
		r.do("exec", c.id, "true").ok()
	}

	cmd = asked()
	r.must(cmd.Process.Kill())
	cmd.Wait()
	c.wantStatus("running")
	answer()
	outside.Wait()
	r.eventually("all stand still at last", func() bool { return c.state().Status == "paused" })
	r.do("pause", c.id).fails("container not running")
	r.do("resume", c.id).ok()
	stuck.Wait()
	c.wantTicking()
}
