// The seccomp compiler against others: the filters that runc and crun make of the same profile with libseccomp, and the
// kernel.

package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// seccompNewest is the newest call that Debian 12's libseccomp 2.5.4 has; later ones it does not know.
const seccompNewest = 450

// seccompBundle is a bundle for a foreign runtime, with an empty program that is never started.
func seccompBundle(t *testing.T, s *specs.LinuxSeccomp, noNewPrivileges bool) (dir, id string) {
	t.Helper()
	dir = t.TempDir()
	for _, d := range []string{"proc", "dev", "sys"} {
		if err := os.MkdirAll(filepath.Join(dir, "rootfs", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	id = fmt.Sprintf("seccomp-%d-%s", os.Getpid(), filepath.Base(filepath.Dir(dir))+filepath.Base(dir))
	spec := specs.Spec{
		Version: "1.0.2",
		Root:    &specs.Root{Path: "rootfs"},
		Process: &specs.Process{Args: []string{"/none"}, Cwd: "/", NoNewPrivileges: noNewPrivileges},
		Mounts:  []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}},
		Linux: &specs.Linux{
			Namespaces:  []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}},
			CgroupsPath: "/" + id,
			Seccomp:     s,
		},
	}
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"config.json": text, "rootfs/none": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir, id
}

// seccompForeign creates the container with a runtime, calls look with its pid, and deletes it.
func seccompForeign(t *testing.T, dir, id string, runtime []string, create []string, look func(pid int)) error {
	t.Helper()
	do := func(args ...string) error {
		out, err := os.Create(filepath.Join(dir, "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		cmd := exec.Command(runtime[0], append(append(runtime[1:len(runtime):len(runtime)], "--root", filepath.Join(dir, "root")), args...)...)
		cmd.Stdout, cmd.Stderr = out, out // not a pipe: the container would keep it open
		if err := cmd.Run(); err != nil {
			text, _ := os.ReadFile(out.Name())
			return fmt.Errorf("%s: %w: %s", args[0], err, text)
		}
		return nil
	}
	pidFile := filepath.Join(dir, "pid")
	if err := do(append(create, "--bundle", dir, "--pid-file", pidFile, id)...); err != nil {
		return err
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	look(pid)
	if err := do("delete", "--force", id); err != nil {
		t.Error(err)
	}
	if _, err := rtReap(pid, rtLimit); err != nil {
		t.Error(err)
	}
	return nil
}

// crunSeccomp returns the filter that crun has libseccomp make: crun leaves it in a file beside its state. Where the cgroup
// file systems of both versions are mounted this crun gives up, so it sees one of them only.
func crunSeccomp(t *testing.T, s *specs.LinuxSeccomp) (prog []unix.SockFilter, err error) {
	t.Helper()
	dir, id := seccompBundle(t, s, true)
	crun := []string{"unshare", "-m", "sh", "-c", `umount /sys/fs/cgroup/unified 2>/dev/null; exec crun --cgroup-manager=disabled "$@"`, "crun"}
	err = seccompForeign(t, dir, id, crun, []string{"create"}, func(int) {
		text, err := os.ReadFile(filepath.Join(dir, "root", id, "seccomp.bpf"))
		if err != nil {
			t.Fatal(err)
		}
		for ; len(text) > 0; text = text[8:] {
			prog = append(prog, unix.SockFilter{
				Code: binary.NativeEndian.Uint16(text), Jt: text[2], Jf: text[3], K: binary.NativeEndian.Uint32(text[4:]),
			})
		}
	})
	return prog, err
}

// runcSeccomp returns the filter that runc loads, read back from the container's init. The profile must let init live.
func runcSeccomp(t *testing.T, s *specs.LinuxSeccomp) (prog []unix.SockFilter) {
	t.Helper()
	dir, id := seccompBundle(t, s, false)
	err := seccompForeign(t, dir, id, []string{"runc"}, []string{"create"}, func(pid int) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := unix.PtraceSeize(pid); err != nil {
			t.Fatal(os.NewSyscallError("ptrace(SEIZE)", err))
		}
		if err := unix.PtraceInterrupt(pid); err != nil {
			t.Fatal(os.NewSyscallError("ptrace(INTERRUPT)", err))
		}
		if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != nil {
			t.Fatal(os.NewSyscallError("wait4", err))
		}
		prog = make([]unix.SockFilter, seccompMaxProg)
		n, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SECCOMP_GET_FILTER, uintptr(pid), 0, uintptr(unsafe.Pointer(&prog[0])), 0, 0)
		if err := unix.PtraceDetach(pid); err != nil {
			t.Error(os.NewSyscallError("ptrace(DETACH)", err))
		}
		if errno != 0 {
			t.Fatal(os.NewSyscallError("ptrace(SECCOMP_GET_FILTER)", errno))
		}
		prog = prog[:n]
	})
	if err != nil {
		t.Fatal(err)
	}
	return prog
}

// sameSeccomp compares the two programs on calls the profile has an opinion on and on n random ones.
func sameSeccomp(t *testing.T, r *rand.Rand, s *specs.LinuxSeccomp, ours, theirs []unix.SockFilter, n int) {
	t.Helper()
	ref := newSeccompReference(s)
	check := func(c seccompCall) {
		if a, b := runSeccomp(t, ours, c), runSeccomp(t, theirs, c); a != b {
			text, _ := json.Marshal(s)
			t.Fatalf("%+v: %#x, libseccomp's filter says %#x\n%s", c, a, b, text)
		}
	}
	for range n {
		check(randomSeccompCall(r, ref))
	}
	for _, arch := range []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_AARCH64} {
		for _, high := range []uint32{0, 1 << 30, 1 << 31, 3 << 30} {
			for nr := range uint32(600) {
				c := seccompCall{arch: arch, nr: nr | high}
				c.args[0] = randomSeccompArg(r)
				check(c)
			}
		}
	}
}

// Random profiles mean the same to libseccomp. The default actions are those behind which runc's and our ENOSYS do not show:
// crun has none. A call gets one rule with arguments at most, or several that want one argument to equal something: where
// libseccomp merges other alternatives it loses some (TestSeccompRandom has those).
func TestSeccompLikeLibseccomp(t *testing.T) {
	_, err := exec.LookPath("crun")
	needs(t, err == nil && os.Geteuid() == 0 && runtime.GOARCH == "amd64", "crun, root, amd64")
	names := seccompNames(seccompNewest)
	defaults := []specs.LinuxSeccompAction{specs.ActAllow, specs.ActLog, specs.ActTrace, specs.ActErrno}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 6))
		s := randomSeccompProfile(r, names, true)
		s.Syscalls = s.Syscalls[:0]
		s.Architectures = slices.DeleteFunc(s.Architectures, func(a specs.Arch) bool { return a == specs.ArchS390X }) // big-endian: refused there
		if s.DefaultAction, s.DefaultErrnoRet = defaults[seed%4], nil; s.DefaultAction == specs.ActErrno {
			enosys := uint(unix.ENOSYS)
			s.DefaultErrnoRet = &enosys
		}
		used := map[string]bool{}
		for range 3 {
			for _, block := range randomSeccompProfile(r, names, true).Syscalls {
				var fresh []string
				for _, name := range block.Names {
					if len(block.Args) == 0 || !used[name] {
						fresh = append(fresh, name)
					}
					used[name] = used[name] || len(block.Args) > 0
				}
				if block.Names = fresh; fresh == nil {
					continue
				}
				for i, a := range block.Args[:max(0, len(block.Args)-1)] {
					if a.Index == block.Args[i+1].Index { // an argument twice makes alternatives
						for j := range block.Args {
							block.Args[j].Index, block.Args[j].Op = a.Index, specs.OpEqualTo
						}
					}
				}
				s.Syscalls = append(s.Syscalls, block)
			}
		}
		ours, ourErr := compileSeccomp(s)
		theirs, theirErr := crunSeccomp(t, s)
		if ourErr == nil && theirErr != nil && strings.Contains(theirErr.Error(), "File exists") {
			continue // a rule within an earlier one's conditions, with another action: refused there, ours has the wider rule win
		}
		if (ourErr == nil) != (theirErr == nil) {
			text, _ := json.Marshal(s)
			t.Errorf("seed %d: ours: %v\ncrun's: %v\n%s", seed, ourErr, theirErr, text)
		}
		if ourErr == nil && theirErr == nil {
			sameSeccomp(t, r, s, ours.prog, theirs, 5000)
		}
	}
}

// Docker's profile, with other architectures and default actions, means the same to runc, its ENOSYS included. The host's own
// ABI is always listed: runc 1.1.5 forgets to return ENOSYS for it otherwise.
func TestSeccompLikeRunc(t *testing.T) {
	_, err := exec.LookPath("runc")
	needs(t, err == nil && os.Geteuid() == 0 && runtime.GOARCH == "amd64", "runc, root, amd64")
	for i, archs := range [][]specs.Arch{
		{specs.ArchX86_64, specs.ArchX86, specs.ArchX32},
		{specs.ArchX86_64},
		{specs.ArchX86_64, specs.ArchX86},
		{specs.ArchX32, specs.ArchX86_64},
		{specs.ArchX86, specs.ArchX86_64, specs.ArchX32},
	} {
		s := dockerSeccomp(t)
		s.Architectures = archs
		s.DefaultAction = []specs.LinuxSeccompAction{specs.ActErrno, specs.ActKill, specs.ActTrap, specs.ActErrno, specs.ActKillProcess}[i]
		if i > 2 { // an author who knew no call newer than this
			var old []string
			for _, name := range s.Syscalls[0].Names {
				if nr := new(seccompTable).find(name)[1]; nr < unix.SYS_GETRANDOM+3 && nr != 135 {
					old = append(old, name)
				}
			}
			s.Syscalls[0].Names = append(old, "close_range", "openat2", "fchmodat", "pidfd_open", "rseq", "clone3", "statx")
		}
		ours, err := compileSeccomp(s)
		if err != nil {
			t.Fatal(err)
		}
		theirs := runcSeccomp(t, s)
		t.Logf("%s %v: %d instructions, runc's has %d", s.DefaultAction, archs, len(ours.prog), len(theirs))
		sameSeccomp(t, rand.New(rand.NewPCG(uint64(i), 7)), s, ours.prog, theirs, 20000)
	}
}

// onFilteredThread loads the filter into a thread of its own, which ends with do.
func onFilteredThread(t testing.TB, f seccompFilter, do func()) (load time.Duration) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread must not run anything else
		done <- func() error {
			if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
				return os.NewSyscallError("prctl(PR_SET_NO_NEW_PRIVS)", err)
			}
			prog := unix.SockFprog{Len: uint16(len(f.prog)), Filter: &f.prog[0]}
			start := time.Now()
			_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, f.flags, uintptr(unsafe.Pointer(&prog)))
			load = time.Since(start)
			if errno != 0 {
				return os.NewSyscallError("seccomp", errno)
			}
			do()
			return nil
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return load
}

func TestSeccompInKernel(t *testing.T) {
	needs(t, runtime.GOARCH == "amd64", "amd64")
	f, err := compileSeccomp(dockerSeccomp(t))
	if err != nil {
		t.Fatal(err)
	}
	type probe struct {
		what string
		nr   uintptr
		args [3]uintptr
		want unix.Errno
		got  unix.Errno
	}
	probes := []probe{
		{what: "getpid", nr: unix.SYS_GETPID},
		{what: "clone3, which the profile answers itself", nr: unix.SYS_CLONE3, want: unix.ENOSYS},
		{what: "clone with a new user namespace", nr: unix.SYS_CLONE, args: [3]uintptr{unix.CLONE_NEWUSER | uintptr(unix.SIGCHLD)}, want: unix.EPERM},
		{what: "personality, asked for", nr: unix.SYS_PERSONALITY, args: [3]uintptr{0xffffffff}},
		{what: "personality with ADDR_NO_RANDOMIZE", nr: unix.SYS_PERSONALITY, args: [3]uintptr{0x40000}, want: unix.EPERM},
		{what: "personality in the high word", nr: unix.SYS_PERSONALITY, args: [3]uintptr{1<<32 | 0xffffffff}, want: unix.EPERM},
		{what: "unshare(0)", nr: unix.SYS_UNSHARE, want: unix.EPERM},
		{what: "close of no file", nr: unix.SYS_CLOSE, args: [3]uintptr{1 << 30}, want: unix.EBADF},
		{what: "a call newer than the profile", nr: 460, want: unix.ENOSYS},
		{what: "a call that does not exist", nr: 100000, want: unix.ENOSYS},
		{what: "an unused number amid the table", nr: 400, want: unix.EPERM},
	}
	onFilteredThread(t, f, func() {
		for i := range probes {
			p := &probes[i]
			_, _, p.got = unix.RawSyscall(p.nr, p.args[0], p.args[1], p.args[2])
		}
	})
	for _, p := range probes {
		if p.got != p.want {
			t.Errorf("%s: %v, want %v", p.what, p.got, p.want)
		}
	}
}

// Every program the compiler makes must pass the kernel's check.
func TestSeccompKernelAccepts(t *testing.T) {
	needs(t, runtime.GOARCH == "amd64", "amd64")
	names := seccompNames(1000)
	for seed := range uint64(40) {
		s := randomSeccompProfile(rand.New(rand.NewPCG(seed, 8)), names, true)
		s.DefaultAction, s.DefaultErrnoRet = specs.ActLog, nil
		s.Architectures = append(s.Architectures, specs.ArchX32)
		for i := range s.Syscalls { // nothing may happen to this test's own calls
			if s.Syscalls[i].Action = specs.ActAllow; s.Syscalls[i].ErrnoRet != nil {
				s.Syscalls[i].ErrnoRet = nil
			}
		}
		f, err := compileSeccomp(s)
		if err != nil {
			t.Fatal(err)
		}
		onFilteredThread(t, f, func() {})
	}
}

func BenchmarkLoadSeccomp(b *testing.B) {
	f, err := compileSeccomp(dockerSeccomp(b))
	if err != nil {
		b.Fatal(err)
	}
	var total time.Duration
	for b.Loop() {
		total += onFilteredThread(b, f, func() {})
	}
	b.ReportMetric(float64(total.Nanoseconds())/float64(b.N), "load-ns/op")
	b.ReportMetric(float64(len(f.prog)), "instructions")
}
