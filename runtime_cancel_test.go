// Signals that end a command which makes something, delete --force of a create that hangs, and hooks that turn against
// their own container (base_cancel.go, state_lock.go).

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Nothing is left of a create that a signal ends, at any point, and nobody has to ask for that.
func TestCreateCancelled(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc has no rollback on a signal")
	count := 200
	if rtSystemd() { // in a machine without KVM a create takes a second
		count = 30
	}
	r.endCreates(count, func(c *ctr) (problems []string) {
		if _, err := os.Lstat(c.dir + "/pid"); err == nil {
			problems = append(problems, "pid file")
		}
		return problems
	}, syscall.SIGTERM, syscall.SIGINT)
}

// hanging starts a command that is expected to hang.
func (c *ctr) hanging(args ...string) (cmd *exec.Cmd, end func() result) {
	r := c.r
	r.Helper()
	out, err := newSink(r.T), newSink(r.T)
	cmd = r.cmd(args...)
	cmd.Stdout, cmd.Stderr = out.w, err.w
	r.must(cmd.Start())
	out.w.Close()
	err.w.Close()
	return cmd, func() result {
		r.Helper()
		hung := time.AfterFunc(rtLimit, func() { cmd.Process.Kill() })
		cmd.Wait()
		if !hung.Stop() {
			r.Errorf("%v did not end", args)
		}
		return result{r: r, args: args, code: rtExit(cmd.ProcessState.Sys().(syscall.WaitStatus)), out: out.all(rtLimit), err: err.all(rtLimit)}
	}
}

// hangingHook is one with a child, of which each hangs. The test sees both by the token, in whose name they run.
func (r *rt) hangingHook(mark string) (script string, hangs func() bool) {
	return fmt.Sprintf("export RUNH_TEST_TOKEN=%s; sleep 1000 & echo hangs >>%s; exec sleep 1000", r.token, mark), func() bool { return rtReadOr(mark) != "" }
}

func (r *rt) nothingLeft() {
	r.Helper()
	r.eventually("nothing is left", func() bool {
		left := r.leftovers()
		if len(left) != 0 {
			r.Logf("left: %q", left)
		}
		return len(left) == 0
	})
}

// A command that hangs in a hook ends by a signal, with the hook and what that has started.
func TestHookCancelled(t *testing.T) {
	for _, x := range []struct {
		command string
		kinds   []string
	}{
		{"create", hookKinds[:3]},
		{"run", hookKinds[:5]},
		{"start", hookKinds[3:5]},
	} {
		for i, kind := range x.kinds {
			t.Run(x.command+" "+kind, func(t *testing.T) {
				r := newRT(t)
				r.onlyRunh("runc ends without a rollback")
				c := r.sh("sleep 1000")
				mark := r.dir + "/mark"
				if kind == "startContainer" {
					r.must(os.Mkdir(c.dir+"/log", 0o755))
					c.spec.Mounts = append(c.spec.Mounts, bindAt(c.dir+"/log", "/log", "bind"))
					mark = "/log/mark"
				}
				script, hangs := r.hangingHook(mark)
				if kind == "startContainer" {
					hangs = func() bool { return rtReadOr(c.dir+"/log/mark") != "" }
				}
				setHook(c.spec, kind, shHook(script))
				setHook(c.spec, "poststop", shHook("echo ran >"+r.dir+"/poststop"))
				c.write()
				args := []string{x.command, "--bundle", c.dir, c.id}
				if x.command == "start" {
					c.create()
					args = []string{"start", c.id}
				}
				cmd, end := c.hanging(args...)
				r.eventually("the hook hangs", hangs)
				sig := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP}[i%3]
				cmd.Process.Signal(sig)
				res := end()
				if want := fmt.Sprintf("interrupted by signal %d (%v)", sig, sig); res.code != 128+int(sig) || res.out != "" || !strings.Contains(res.err, want) || strings.Count(res.err, "\n") != 1 {
					t.Errorf("exit code %d, want %d; stdout %q, stderr %q, want one line with %q", res.code, 128+int(sig), res.out, res.err, want)
				}
				if x.command == "start" {
					rtReap(c.pid, rtLimit)
				}
				r.nothingLeft()
				if rtReadOr(r.dir+"/poststop") != "ran\n" {
					t.Error("the poststop hook did not run")
				}
			})
		}
	}
}

// A rollback is never cut short. A hook that hangs in it is ended by the next signal.
func TestRollbackCancelled(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc ends without a rollback")
	c := r.sh("true")
	script, hangs := r.hangingHook(r.dir + "/mark")
	late, hangsLate := r.hangingHook(r.dir + "/late")
	setHook(c.spec, "prestart", shHook(script))
	setHook(c.spec, "poststop", shHook(late), shHook("echo ran >"+r.dir+"/second"))
	c.write()
	cmd, end := c.hanging("create", "--bundle", c.dir, c.id)
	r.eventually("the hook hangs", hangs)
	cmd.Process.Signal(syscall.SIGINT)
	r.eventually("the poststop hook hangs", hangsLate)
	cmd.Process.Signal(syscall.SIGTERM)
	if res := end(); res.code != 130 || !strings.Contains(res.err, "interrupted by signal 2") {
		t.Errorf("exit code %d, stderr %q", res.code, res.err)
	}
	r.nothingLeft()
	if rtReadOr(r.dir+"/second") != "ran\n" {
		t.Error("the second poststop hook did not run")
	}
}

// waitsIn: is a thread of the command in this system call?
func waitsIn(cmd *exec.Cmd, nr int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", cmd.Process.Pid))
	for _, t := range threads {
		if strings.HasPrefix(rtReadOr(t), fmt.Sprintf("%d ", nr)) {
			return true
		}
	}
	return false
}

// Before anything is made, and where the kernel itself waits: a config.json that is a FIFO, a listener that takes no
// connection, a frozen container.
func TestCancelledElsewhere(t *testing.T) {
	t.Run("bundle", func(t *testing.T) {
		r := newRT(t)
		c := r.sh("true")
		os.Remove(c.dir + "/config.json")
		r.must(unix.Mkfifo(c.dir+"/config.json", 0o600))
		cmd, end := c.hanging("run", "--bundle", c.dir, c.id)
		r.eventually("runh waits in openat", func() bool { return waitsIn(cmd, unix.SYS_OPENAT) })
		cmd.Process.Signal(syscall.SIGTERM)
		if res := end(); res.code != 143 {
			t.Errorf("exit code %d, stderr %q", res.code, res.err)
		}
		r.nothingLeft()
	})
	t.Run("console socket", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("runc's own signals")
		c := r.sh("true")
		c.spec.Process.Terminal = true
		c.write()
		path := r.dir + "/console"
		listener, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		r.must(err)
		defer unix.Close(listener)
		r.must(unix.Bind(listener, &unix.SockaddrUnix{Name: path}))
		r.must(unix.Listen(listener, 0))
		full, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		r.must(err)
		defer unix.Close(full)
		r.must(unix.Connect(full, &unix.SockaddrUnix{Name: path})) // the queue has room for one
		cmd, end := c.hanging("create", "--bundle", c.dir, "--console-socket", path, c.id)
		r.eventually("runh waits in connect", func() bool { return waitsIn(cmd, unix.SYS_CONNECT) })
		cmd.Process.Signal(syscall.SIGTERM)
		if res := end(); res.code != 143 || !strings.Contains(res.err, "interrupted by signal 15") {
			t.Errorf("exit code %d, stderr %q", res.code, res.err)
		}
		r.nothingLeft()
	})
	t.Run("exec", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("runc waits for resume")
		c := r.sh("sleep 1000").create().start()
		r.do("pause", c.id).ok()
		cmd, end := c.hanging("exec", "--ignore-paused", c.id, "true")
		r.eventually("the process is in the frozen cgroup", func() bool {
			return strings.Contains(r.do("ps", "--format", "json", c.id).out, ",")
		})
		cmd.Process.Signal(syscall.SIGINT)
		cmd.Wait() // on cgroup v1 nothing frozen dies, so stderr stays open
		r.do("resume", c.id).ok()
		if res := end(); res.code != 130 || !strings.Contains(res.err, "interrupted by signal 2") {
			t.Errorf("exit code %d, stderr %q", res.code, res.err)
		}
		r.eventually("the process has ended", func() bool {
			r.processes() // which reaps it
			return !strings.Contains(r.do("ps", "--format", "json", c.id).out, ",")
		})
		c.wantStatus("running")
	})
}

// While a create hangs the other commands say so, at once, and in the words that callers know. delete --force ends it:
// one that goes back by itself, and one that does not.
func TestCreateHangs(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		t.Run(fmt.Sprintf("stopped %v", stopped), func(t *testing.T) {
			r := newRT(t)
			r.onlyRunh("runc has no container before create has ended")
			c := r.sh("true")
			script, hangs := r.hangingHook(r.dir + "/mark")
			if stopped { // then the hook dies with the create, and what it has started is nobody's
				script = strings.Replace(script, "sleep 1000 & ", "", 1)
				setHook(c.spec, "prestart", shHook(script))
			} else {
				setHook(c.spec, "createContainer", shHook(script))
			}
			c.write()
			cmd, end := c.hanging("create", "--bundle", c.dir, c.id)
			r.eventually("the hook hangs", hangs)
			if stopped {
				cmd.Process.Signal(syscall.SIGSTOP)
			}
			c.wantStatus("creating")
			r.do("list").ok()
			r.do("kill", c.id).fails("it is being created: container not running")
			r.do("delete", c.id).fails("cannot delete container " + c.id + " that is not stopped: creating")
			r.do("start", c.id).fails("cannot start a container in the creating state")
			r.do("pause", c.id).fails("container not running")
			r.do("update", "--pids-limit", "9", c.id).fails("it is being created: container not running")
			r.do("create", "--bundle", c.dir, c.id).fails("container with given ID already exists")
			if res := r.do("exec", c.id, "true"); res.code != 255 || !strings.Contains(res.err, "cannot exec in a creating container") {
				t.Errorf("exec: exit code %d, stderr %q", res.code, res.err)
			}
			r.do("ps", c.id)
			r.do("delete", "--force", c.id).ok()
			want := 128 + int(syscall.SIGTERM)
			if stopped {
				want = 128 + int(syscall.SIGKILL)
			}
			if res := end(); res.code != want {
				t.Errorf("create: exit code %d, want %d; stderr %q", res.code, want, res.err)
			}
			r.nothingLeft()
		})
	}
	t.Run("start", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("runc knows no locks")
		c := r.sh("sleep 1000")
		script, hangs := r.hangingHook(r.dir + "/mark")
		setHook(c.spec, "poststart", shHook(script))
		c.write()
		c.create()
		_, end := c.hanging("start", c.id)
		r.eventually("the hook hangs", hangs)
		r.do("delete", "--force", c.id).ok()
		if res := end(); res.code != 143 {
			t.Errorf("start: exit code %d, stderr %q", res.code, res.err)
		}
		rtReap(c.pid, rtLimit)
		r.nothingLeft()
	})
}

// A hook may look at its container, and gets an error for what would wait for itself.
func TestHookOwnContainer(t *testing.T) {
	for _, kind := range []string{"prestart", "createRuntime", "createContainer", "poststart", "poststop"} {
		t.Run(kind, func(t *testing.T) {
			r := newRT(t)
			r.onlyRunh("of runc's container is nothing to be found before create has ended")
			c := r.sh("sleep 1000")
			log := r.dir + "/said"
			var script strings.Builder
			fmt.Fprintf(&script, "exec >>%s 2>&1; runh() { echo \"$1: $(timeout 60 %s --root %s \"$@\" 2>&1 | tr '\\n' ' ')\"; }\n", log, r.bin, r.root)
			for _, command := range []string{"state", "kill ID 0", "start", "exec ID true", "pause", "delete", "delete --force"} {
				if !strings.Contains(command, "ID") {
					command += " ID"
				}
				fmt.Fprintf(&script, "runh %s\n", strings.ReplaceAll(command, "ID", c.id))
			}
			setHook(c.spec, kind, shHook(script.String()+"exit 0"))
			c.write()
			c.create().start()
			r.do("delete", "--force", c.id).ok()
			rtReap(c.pid, rtLimit)
			said := rtReadOr(log)
			own := "a hook cannot change its own container"
			want := map[string][]string{
				"poststart": {`"status": "running"`, "kill: \n", "start: runh: start: " + c.id + ": " + own, "exec: \n", "pause: runh", "delete: runh: delete: " + c.id + ": " + own},
				"poststop":  {"does not exist", "delete: \n"},
				"createContainer": {
					`"status": "creating"`, "it is being created: container not running", "start: runh: start: cannot start a container in the creating state",
					"cannot exec in a creating container", "that is not stopped: creating", "delete: runh: delete: " + c.id,
				},
			}[kind]
			if want == nil {
				want = []string{
					`"status": "creating"`, "it is being created: container not running", "start: runh: start: " + c.id + ": " + own,
					"cannot exec in a creating container", "delete: runh: delete: " + c.id + ": " + own,
				}
			}
			for _, w := range want {
				if !strings.Contains(said, w) {
					t.Errorf("the hook was told %q, which lacks %q", said, w)
				}
			}
			r.nothingLeft()
		})
	}
}

// Whatever ends the steps early, what they have made is undone, last first.
func TestStepsUndone(t *testing.T) {
	for _, x := range []struct {
		name  string
		last  func() error
		panic bool
	}{
		{"error", func() error { return errors.New("no") }, false},
		{"a program that is too large", func() error { panic(programFull("more")) }, false},
		{"panic", func() error { panic("BUG: one") }, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := &creation{plan: &createPlan{g: &globals{}}}
			var undone []int
			step := func(n int) func() error {
				return func() error { c.onFailure(func() { undone = append(undone, n) }); return nil }
			}
			var err error
			panicked := func() (p any) {
				defer func() { p = recover() }()
				err = c.take(step(1), step(2), x.last, step(3))
				return nil
			}()
			if (panicked != nil) != x.panic || !x.panic && err == nil {
				t.Errorf("error %v, panic %v", err, panicked)
			}
			if fmt.Sprint(undone) != "[2 1]" {
				t.Errorf("undone: %v", undone)
			}
		})
	}
}

// The same for a guest: no QEMU, no keeper and no tap stays.
func TestHermitCreateCancelled(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", []string{"count"})
	begin := time.Now()
	c.create()
	took := time.Since(begin)
	r.do("delete", "--force", c.id).ok()
	c.wait()
	for i := range 20 {
		cmd, end := c.hanging("create", "--bundle", c.dir, c.id)
		time.Sleep(took * time.Duration(i) / 20)
		sig := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}[i%2]
		cmd.Process.Signal(sig)
		cmd.Wait()
		if cmd.ProcessState.Success() { // it was faster
			r.do("delete", "--force", c.id).ok()
		}
		if res := end(); res.code != 0 && res.code != 128+int(sig) {
			t.Errorf("%v after %d/20 of %v: exit code %d, stderr %q", sig, i, took, res.code, res.err)
		}
		r.nothingLeft()
	}
}
