package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A keeper in these tests is the real one, without the container around it: a process of the test
// binary starts QEMU and becomes `runh keeper`, as the stub does.
func init() {
	if len(os.Args) > 1 && os.Args[1] == "keeper-parent" {
		keeperParent(os.Args[2], os.Args[3], os.Args[4:])
	}
}

// keeperParent has the descriptors 3: qmp, 4: serial in, 5: serial out, 6: errors, 7: start, 8: ready,
// 9: log, and then QEMU's ends, 10: qmp, 11: stdin, 12: stdout, 13: stderr.
func keeperParent(runh, plan string, qemu []string) {
	runtime.LockOSThread()
	if err := unix.CloseRange(3, 13, unix.CLOSE_RANGE_CLOEXEC); err != nil { // QEMU has its own
		panic(err)
	}
	pidfd := -1
	_, err := syscall.ForkExec(qemu[0], qemu, &syscall.ProcAttr{
		Files: []uintptr{11, 12, 13, 10},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, PidFD: &pidfd},
	})
	if err != nil {
		panic(err)
	}
	for fd := 3; fd <= 9; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			panic(err)
		}
	}
	if err := unix.Dup3(pidfd, 10, 0); err != nil {
		panic(err)
	}
	if os.Getenv("KEEPER_STRAY") != "" {
		if _, err := syscall.ForkExec("/bin/true", []string{"true"}, nil); err != nil {
			panic(err)
		}
	}
	var all unix.Sigset_t // as the stub does
	for i := range all.Val {
		all.Val[i] = ^uint64(0)
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, nil); err != nil {
		panic(err)
	}
	panic(syscall.Exec(runh, append([]string{"runh", "keeper"}, strings.Fields(plan)...), []string{"GOMAXPROCS=1"}))
}

// testGuest is the stand-in guest, built once.
var testGuest = sync.OnceValues(func() (string, error) {
	dir, err := filepath.Abs("build/guest")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("make", "-s", "-C", "testdata/guest", "OUT="+dir).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("testdata/guest: %v: %s", err, out)
	}
	return dir, nil
})

type keeperTest struct {
	t     *testing.T
	cmd   *exec.Cmd
	sock  string
	stdin io.WriteCloser
	out   bytes.Buffer
	log   string
	ready *os.File
}

type keeperOpts struct {
	image, loader string // of testdata/guest: "app", "loader"
	args          []string
	env           []string
	qemu          []string // more options for QEMU
	bad           bool     // QEMU without firmware
	fake          string   // a shell script in QEMU's place
	stdin, stdout *os.File
	plan          string
	stray         bool // the keeper has another child, a zombie to be
}

func startKeeper(t *testing.T, o keeperOpts) *keeperTest {
	t.Helper()
	qemu := needQEMU(t)
	guest, err := testGuest()
	if err != nil {
		needs(t, false, err.Error())
	}
	runh, err := rtBinary()
	if err != nil {
		t.Fatal(err)
	}
	app, st, err := openHostFile(filepath.Join(guest, firstWord(o.image, "app")))
	if err != nil {
		t.Fatal(err)
	}
	a, err := readHermit(app, st.Size, "/app")
	if err != nil {
		t.Fatal(err)
	}
	machine, err := a.machineFor()
	if err != nil {
		t.Fatal(err)
	}
	app.Close()
	vm := &vmConfig{Machine: machine, Accel: "tcg", CPU: "max", VCPUs: 1, MemoryMiB: 64, TBSizeMiB: 16, Network: "none"}
	spec := &specs.Spec{Process: &specs.Process{Args: append([]string{"/app"}, o.args...), Env: o.env}}
	if vm.Boot, _, err = bootArgs(spec, a, vm, "", 0, maxBootArgs); err != nil {
		t.Fatal(err)
	}
	argv := append([]string{qemu.QEMU}, qemuArgs(vm, 3)...)
	for i, w := range argv { // no jail here
		switch w {
		case vmmLoader:
			argv[i] = filepath.Join(guest, firstWord(o.loader, "loader"))
		case vmmApp:
			argv[i] = filepath.Join(guest, firstWord(o.image, "app"))
		case "qboot.rom":
			if o.bad {
				argv[i] = "nosuch.rom"
			}
		}
	}
	argv = append(argv, o.qemu...)
	if o.fake != "" {
		argv = []string{"/bin/sh", "-c", o.fake}
	}

	k := &keeperTest{t: t, log: filepath.Join(t.TempDir(), "log")}
	var keep []*os.File // ours; closed at the end
	pair := func(typ int) (*os.File, *os.File) {
		p, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
		if err == nil && typ == unix.SOCK_STREAM { // as vm_jail.go does, for QEMU's pid
			err = unix.SetsockoptInt(p[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(p[0]), ""), os.NewFile(uintptr(p[1]), "")
	}
	pipe := func() (*os.File, *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		return r, w
	}
	qmp, vmQMP := pair(unix.SOCK_STREAM)
	vmIn, serialIn := pipe()
	serialOut, vmOut := pipe()
	errs, vmErr := pipe()
	ready, readyW := pipe()
	k.ready = ready
	k.sock = filepath.Join(t.TempDir(), "start.sock")
	l, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		if err = unix.Bind(l, &unix.SockaddrUnix{Name: k.sock}); err == nil {
			err = unix.Listen(l, 8)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(k.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	plan := "vmm=10 qmp=3 serial-in=4 serial-out=5 errors=6 start=7 ready=8 log=9 log-level=4 " + o.plan
	k.cmd = exec.Command("/proc/self/exe", append([]string{"keeper-parent", runh, plan}, argv...)...)
	if o.stray {
		k.cmd.Env = append(os.Environ(), "KEEPER_STRAY=1")
	}
	listen := os.NewFile(uintptr(l), "")
	k.cmd.ExtraFiles = []*os.File{qmp, serialIn, serialOut, errs, listen, readyW, log, vmQMP, vmIn, vmOut, vmErr}
	keep = append(keep, k.cmd.ExtraFiles...)
	if o.stdout != nil {
		k.cmd.Stdout = o.stdout
	} else {
		k.cmd.Stdout = &k.out
	}
	if o.stdin != nil {
		k.cmd.Stdin = o.stdin
	} else if k.stdin, err = k.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	k.cmd.Stderr = os.Stderr
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range keep {
		f.Close()
	}
	t.Cleanup(func() {
		k.cmd.Process.Kill()
		k.cmd.Wait()
		ready.Close()
	})
	return k
}

// start does what `runh start` does, and returns the keeper's objection.
func (k *keeperTest) start() string {
	k.t.Helper()
	switch answer := k.ask(commandStart); answer {
	case answerRuns:
		return ""
	case "":
		return "no answer"
	default:
		return answer
	}
}

// ask sends a word, with descriptors, and returns the answer.
func (k *keeperTest) ask(word string, files ...int) string {
	k.t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		k.t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: k.sock}); err != nil {
		return err.Error()
	}
	if err := unix.Sendmsg(fd, []byte(word), unix.UnixRights(files...), nil, 0); err != nil {
		return err.Error()
	}
	b := make([]byte, 4096)
	n, err := ignoringEINTR(func() (int, error) { return unix.Read(fd, b) })
	if err != nil {
		return err.Error()
	}
	return string(b[:n])
}

// wait returns the exit code.
func (k *keeperTest) wait() int {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { k.cmd.Process.Kill() })
	defer stop()
	k.cmd.Wait()
	if ctx.Err() != nil {
		k.t.Fatalf("the keeper does not end; output %q, log %s", k.out.String(), k.logText())
	}
	return k.cmd.ProcessState.ExitCode()
}

func (k *keeperTest) logText() string {
	b, _ := os.ReadFile(k.log)
	return string(b)
}

func (k *keeperTest) readyText() string {
	b, _ := io.ReadAll(k.ready)
	return string(b)
}

func TestKeeperExitCodes(t *testing.T) {
	for _, tt := range []struct {
		image  string
		loader string
		args   string
		code   int
		out    string
	}{
		{"app", "", "hello", 0, "Hello from Hermit's stand-in!\n"},
		{"app", "", "exit 7", 7, ""},
		{"app", "", "exit -1", 255, ""},
		{"app", "", "exit 256", 0, ""}, // as Linux does
		{"app-exec", "", "exit 3", 3, ""},
		{"app-pci", "", "exit 9", 9, ""},
		{"app-old", "", "exit 5", 0, ""}, // powers off, and QEMU does not learn more
		{"app", "", "noline 0", 0, ""},
		{"app", "", "noline 5", 1, ""},
		{"app", "", "triple", 134, ""},
		{"app", "", "fake 0 3", 3, ""},
		{"app", "", "fake 5 0", 0, ""},
		{"app", "", "print exit status 0 ; triple", 134, "exit status 0\n"},
		{"app", "", "panic", 1, "PANIC"},
		{"app", "", "rustpanic", 255, "panicked"},
		{"app-badnote", "", "hello", 1, "[LOADER] panicked"},
		{"app", "loader-panic", "hello", 1, "[LOADER] panicked"},
		{"app", "loader-verbose", "print [LOADER] panicked ; exit 4", 4, "[LOADER] panicked\n"},
	} {
		t.Run(strings.ReplaceAll(tt.image+tt.loader+" "+tt.args, "/", ""), func(t *testing.T) {
			k := startKeeper(t, keeperOpts{image: tt.image, loader: tt.loader, args: strings.Fields(tt.args)})
			if problem := k.start(); problem != "" {
				t.Fatal("start:", problem)
			}
			if code := k.wait(); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if !strings.Contains(k.out.String(), tt.out) {
				t.Errorf("output %q, want %q", k.out.String(), tt.out)
			}
			if ready := k.readyText(); ready != "R" {
				t.Errorf("ready said %q", ready)
			}
			if t.Failed() {
				t.Log(k.logText(), k.out.String())
			}
		})
	}
}

func TestKeeperPlan(t *testing.T) {
	p := keeperPlan{vmm: 5, qmp: 6, serialIn: 7, serialOut: 8, errors: 9, start: 10, ready: -1, log: -1, stderr: 11, patience: 5, logLevel: levelDebug, logJSON: true, terminal: true, button: true, noLoader: true}
	got, err := parseKeeperPlan(p.args())
	if err != nil || *got != p {
		t.Errorf("%+v, %v", got, err)
	}
	for _, args := range [][]string{nil, {"vmm=1"}, {"nonsense"}, {"vmm=x"}, {"start=1", "qmp="}} {
		if _, err := parseKeeperPlan(args); err == nil {
			t.Error(args)
		}
	}
}

// Signals end the machine, whatever the guest does, and the code says which it was.
func TestKeeperStop(t *testing.T) {
	for _, tt := range []struct {
		args   string
		signal unix.Signal
		code   int
	}{
		{"hang", unix.SIGTERM, 143},
		{"spin", unix.SIGINT, 130},
		{"cat", unix.SIGHUP, 129},
		{"hang", sigRTMIN + 3, 165},
	} {
		t.Run(fmt.Sprint(tt.args, int(tt.signal)), func(t *testing.T) {
			k := startKeeper(t, keeperOpts{args: []string{"flush", ";", tt.args}})
			if problem := k.start(); problem != "" {
				t.Fatal(problem)
			}
			for _, harmless := range []unix.Signal{unix.SIGWINCH, unix.SIGCONT, unix.SIGCHLD, unix.SIGURG} {
				if err := k.cmd.Process.Signal(harmless); err != nil {
					t.Fatal(err)
				}
			}
			begin := time.Now()
			if err := k.cmd.Process.Signal(tt.signal); err != nil {
				t.Fatal(err)
			}
			if code := k.wait(); code != tt.code {
				t.Errorf("exit code %d, want %d; %s", code, tt.code, k.logText())
			}
			if d := time.Since(begin); d > time.Second {
				t.Errorf("it took %v", d)
			}
			if n := strings.Count(k.logText(), "stopped by signal"); n != 1 {
				t.Error(k.logText())
			}
		})
	}
}

func TestKeeperStopBeforeStart(t *testing.T) {
	k := startKeeper(t, keeperOpts{args: []string{"hello"}})
	if ready := k.readyText(); ready != "R" {
		t.Fatal(ready)
	}
	k.cmd.Process.Signal(unix.SIGTERM)
	if code := k.wait(); code != 143 || k.out.Len() != 0 {
		t.Error(code, k.out.String())
	}
	if problem := k.start(); !strings.Contains(problem, "refused") {
		t.Error("start of a dead one:", problem)
	}
}

func TestKeeperStartOnce(t *testing.T) {
	k := startKeeper(t, keeperOpts{args: []string{"hang"}})
	if problem := k.start(); problem != "" {
		t.Fatal(problem)
	}
	if problem := k.start(); !strings.Contains(problem, "started before") {
		t.Errorf("second start: %q", problem)
	}
}

// QEMU that cannot start: create and start hear the reason.
func TestKeeperBadQEMU(t *testing.T) {
	k := startKeeper(t, keeperOpts{args: []string{"hello"}, qemu: []string{"-machine", "nosuch"}})
	const want = "QEMU ended with status 1 before the guest ran: unsupported machine type"
	if ready := k.readyText(); !strings.HasPrefix(ready, "QEMU ended with status 1 before the guest ran: ") {
		t.Errorf("ready: %q", ready)
	}
	if problem := k.start(); !strings.HasPrefix(problem, "QEMU ended with status 1 before the guest ran: ") {
		t.Errorf("start: %q, want %q", problem, want)
	}
	if code := k.wait(); code != 125 {
		t.Error(code)
	}
	if strings.Contains(k.logText(), "level=error") {
		t.Error("start has told it already:", k.logText())
	}

	k = startKeeper(t, keeperOpts{args: []string{"hello"}, bad: true})
	if ready := k.readyText(); strings.Contains(strings.ToLower(ready), "no such file") || !strings.Contains(ready, "nosuch.rom") {
		t.Errorf("ready: %q", ready)
	}
	k.cmd.Process.Signal(unix.SIGTERM) // nobody starts it
	if code := k.wait(); code != 143 {
		t.Error(code)
	}
}

// A guest can end before QEMU has answered cont; that is no failed start. One that QEMU refuses to run is.
func TestKeeperShortGuest(t *testing.T) {
	const up = fakeUp + "read x <&3; "
	for end, want := range map[string]struct {
		code    int
		problem string
	}{
		"exit 3":                     {0, ""},
		"echo exit status 7; exit 1": {7, ""},
		`echo '{"error": {"desc": "no"}}' >&3; sleep 5`: {125, "QEMU was ended by signal 9"},
	} {
		k := startKeeper(t, keeperOpts{fake: up + end})
		if problem := k.start(); !strings.HasPrefix(problem, want.problem) || (problem == "") != (want.problem == "") {
			t.Errorf("%s: start says %q, want %q", end, problem, want.problem)
		}
		if code := k.wait(); want.problem == "" && code != want.code {
			t.Errorf("%s: exit code %d, want %d", end, code, want.code)
		}
	}
}

// QEMU that dies under a running guest is an error in the log.
func TestKeeperQEMUDies(t *testing.T) {
	k := startKeeper(t, keeperOpts{args: []string{"hang"}})
	if problem := k.start(); problem != "" {
		t.Fatal(problem)
	}
	if err := unix.Kill(keeperChild(t, k.cmd.Process.Pid), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := k.wait(); code != 137 || !strings.Contains(k.logText(), "level=error msg=\"the machine has ended, exit code 137: QEMU was ended by signal 9") {
		t.Error(code, k.logText())
	}
}

func keeperChild(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	child := 0
	fmt.Sscan(string(b), &child)
	if child == 0 {
		t.Fatal("no child")
	}
	return child
}

func TestKeeperBytes(t *testing.T) {
	k := startKeeper(t, keeperOpts{args: []string{"burst", "1048576"}})
	if problem := k.start(); problem != "" {
		t.Fatal(problem)
	}
	if code := k.wait(); code != 0 {
		t.Error(code, k.logText())
	}
	out := k.out.Bytes()
	if len(out) < 1<<20 {
		t.Fatalf("%d bytes", len(out))
	}
	for i, c := range out[:1<<20] {
		want := byte('a' + (i/64+i%64)%26)
		if i%64 == 63 {
			want = '\n'
		}
		if c != want {
			t.Fatalf("byte %d is %q, want %q", i, c, want)
		}
	}
}

// What is written to stdin arrives, also more than fits on the way, and its end ends nothing.
func TestKeeperStdin(t *testing.T) {
	const n = 20000 // QEMU's pipe, the keeper and the test's own pipe together hold more; the guest takes one byte at a time
	k := startKeeper(t, keeperOpts{image: "app-pci", args: strings.Fields("echo " + strconv.Itoa(n) + " ; exit 6")})
	want := make([]byte, n)
	for i := range want {
		want[i] = byte(i*7 + i/256)
	}
	if problem := k.start(); problem != "" {
		t.Fatal(problem)
	}
	if _, err := k.stdin.Write(want); err != nil {
		t.Fatal(err)
	}
	k.stdin.Close()
	if code := k.wait(); code != 6 {
		t.Error(code, k.logText())
	}
	if out := k.out.Bytes(); len(out) < n || !bytes.Equal(out[:n], want) {
		t.Errorf("%d bytes came back", len(out))
	}
}

// On its own terminal, raw, the container gets what is typed as it is typed: ^C is a byte, Enter is CR, and
// nothing is echoed but by the guest. What it prints gets CRs.
func TestKeeperTerminal(t *testing.T) {
	master, slave, err := keeperPty()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	k := startKeeper(t, keeperOpts{image: "app-pci", args: strings.Fields("print hello ; echo 5 ; print ; exit 3"), stdin: slave, stdout: slave, plan: "terminal raw"})
	if problem := k.start(); problem != "" {
		t.Fatal(problem)
	}
	var got []byte
	read := func(until string) {
		t.Helper()
		for b := make([]byte, 256); !strings.Contains(string(got), until); {
			n, err := master.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b[:n]...)
		}
	}
	read("hello\r\n")
	if _, err := master.Write([]byte("a\x03\x1a\x11\r")); err != nil {
		t.Fatal(err)
	}
	read("exit status")
	if code := k.wait(); code != 3 {
		t.Error(code, k.logText())
	}
	if !strings.Contains(string(got), "hello\r\na\x03\x1a\x11\r") {
		t.Errorf("%q", got)
	}
	after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal is left as %+v, was %+v (%v)", after, before, err)
	}
}

func keeperPty() (master, slave *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetUint32(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
	}
	return master, slave, err
}

// Processes that lose their parent in the container's pid namespace do not pile up.
func TestKeeperReaps(t *testing.T) {
	k := startKeeper(t, keeperOpts{args: []string{"hang"}, stray: true})
	if problem := k.start(); problem != "" {
		t.Fatal(problem)
	}
	keeperWait(t, "the zombie to be buried", func() bool {
		k.cmd.Process.Signal(unix.SIGCHLD) // it may have come before anybody looked
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", k.cmd.Process.Pid))
		return err == nil && len(strings.Fields(string(b))) == 1
	})
	k.cmd.Process.Signal(unix.SIGTERM)
	if code := k.wait(); code != 143 {
		t.Error(code, k.logText())
	}
}

// The budget: what one keeper weighs alone, its program's pages included.
func TestKeeperMemory(t *testing.T) {
	k := startKeeper(t, keeperOpts{args: strings.Fields("burst 50000 ; hang")})
	if problem := k.start(); problem != "" {
		t.Fatal(problem)
	}
	private := func() (kb int) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", k.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var n int
			if strings.HasPrefix(line, "Private_") {
				fmt.Sscan(strings.Fields(line)[1], &n)
				kb += n
			}
		}
		return kb
	}
	const budget = 1536
	keeperWait(t, "the keeper to get small", func() bool { return private() <= budget })
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", k.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d KiB private, %d threads", private(), len(threads))
}

// A reader that has stopped reading must not keep the container from being stopped.
func TestKeeperBlockedStdout(t *testing.T) {
	for _, kind := range []string{"pipe", "socket"} {
		t.Run(kind, func(t *testing.T) {
			p := make([]int, 2)
			var err error
			if kind == "pipe" {
				err = unix.Pipe2(p, unix.O_CLOEXEC)
			} else {
				var sp [2]int
				sp, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				p = sp[:]
			}
			if err != nil {
				t.Fatal(err)
			}
			r, w := os.NewFile(uintptr(p[0]), ""), os.NewFile(uintptr(p[1]), "")
			defer r.Close()
			k := startKeeper(t, keeperOpts{args: []string{"burst", "400000"}, stdout: w})
			if problem := k.start(); problem != "" {
				t.Fatal(problem)
			}
			keeperWait(t, "the pipe to be full", func() bool {
				fds := []unix.PollFd{{Fd: int32(w.Fd()), Events: unix.POLLOUT}}
				n, err := unix.Poll(fds, 0)
				return n == 0 && err == nil
			})
			w.Close()
			begin := time.Now()
			k.cmd.Process.Signal(unix.SIGTERM)
			if code := k.wait(); code != 143 {
				t.Error(code, k.logText())
			}
			if d := time.Since(begin); d > 3*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
}

func keeperWait(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no end of waiting for " + what)
		}
	}
}

// Output that nobody will ever read is no reason to end.
func TestKeeperClosedStdout(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	k := startKeeper(t, keeperOpts{args: strings.Fields("print x ; burst 100000 ; exit 5"), stdout: w})
	w.Close()
	if problem := k.start(); problem != "" {
		t.Fatal(problem)
	}
	if code := k.wait(); code != 5 {
		t.Error(code, k.logText())
	}
}
