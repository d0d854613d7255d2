// Which descriptors reach a container, and how many a container's set-up may need: looked at from outside, in
// /proc/PID/fd of the process that runs.

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// rtThrough starts the command by way of a shell, which closes all but 0, 1 and 2 and then does what before says.
func rtThrough(cmd *exec.Cmd, before string) {
	const closeAll = `for f in /proc/$$/fd/*; do n=${f##*/}; [ $n -gt 2 ] && eval "exec $n>&-"; done`
	cmd.Args = append([]string{"bash", "-c", closeAll + "\n" + before + "\n" + `exec "$@"`, "bash", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/bash"
}

// rtDescriptors lists a process's descriptors from 3 on, as "NUMBER TARGET".
func rtDescriptors(t *testing.T, pid int) (list []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if n, _ := strconv.Atoi(e.Name()); n >= 3 {
			target, _ := os.Readlink(filepath.Join(dir, e.Name()))
			list = append(list, e.Name()+" "+target)
		}
	}
	slices.Sort(list)
	return list
}

// A process has what its caller handed over, and nothing else: whatever the flags, and whatever the caller has not open.
func TestDescriptorsReachProcess(t *testing.T) {
	for _, x := range []struct {
		name, before string
		flags        []string
		want         []string // of create and run
		exec         []string // of exec, which socket activation is not for
	}{
		{"nothing", "", nil, nil, nil},
		{"preserve none of 1", "", []string{"--preserve-fds", "1"}, nil, nil},
		{"preserve none of 90", "", []string{"--preserve-fds", "90"}, nil, nil},
		{"preserve none of very many", "", []string{"--preserve-fds", "2147483647"}, nil, nil},
		{"preserve with holes", "exec 9<b", []string{"--preserve-fds", "7"}, []string{"9 b"}, []string{"9 b"}},
		{"preserve all", "exec 3<a 4<b 5<a", []string{"--preserve-fds", "3"}, []string{"3 a", "4 b", "5 a"}, []string{"3 a", "4 b", "5 a"}},
		{"preserve the first alone", "exec 3<a 9<b", []string{"--preserve-fds", "6"}, []string{"3 a"}, []string{"3 a"}},
		{"preserve the second alone", "exec 4<b", []string{"--preserve-fds", "2"}, []string{"4 b"}, []string{"4 b"}},
		{"not preserved", "exec 3<a 9<b", nil, nil, nil},
		{"LISTEN_FDS for nobody", "exec 3<a; export LISTEN_FDS=1", nil, nil, nil},
		{"LISTEN_FDS for another", "exec 3<a; export LISTEN_FDS=1 LISTEN_PID=1", nil, nil, nil},
		{"LISTEN_FDS with nothing open", "export LISTEN_FDS=3 LISTEN_PID=$$", nil, nil, nil},
		{"LISTEN_FDS of ours", "exec 3<a 9<b; export LISTEN_FDS=1 LISTEN_PID=$$", nil, []string{"3 a"}, nil},
		{"both", "exec 3<a 4<b 5<a; export LISTEN_FDS=1 LISTEN_PID=$$", []string{"--preserve-fds", "1"}, []string{"3 a", "4 b"}, []string{"3 a"}},
	} {
		t.Run(strings.ReplaceAll(x.name, " ", "-"), func(t *testing.T) {
			r := newRT(t)
			r.onlyRunh("runc hands out its own descriptors and refuses holes")
			for _, name := range []string{"a", "b"} {
				r.must(os.WriteFile(filepath.Join(r.dir, name), nil, 0o600))
			}
			through := func(cmd *exec.Cmd) { rtThrough(cmd, x.before) }
			check := func(where string, pid int, want []string) {
				t.Helper()
				got := rtDescriptors(t, pid)
				for i := range got {
					got[i] = strings.Replace(got[i], r.dir+"/", "", 1)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: descriptors %q, want %q", where, got, want)
				}
			}
			c := r.bundle([]string{"sleep", "1000"})
			if res := c.launchCmd(through, append([]string{"create"}, x.flags...)...); res.code != 0 {
				t.Fatalf("create: %d: %s", res.code, res.err)
			}
			c.start()
			check("create", c.pid, x.want)

			c = r.bundle([]string{"sleep", "1000"})
			if res := c.launchCmd(through, append([]string{"run", "--detach"}, x.flags...)...); res.code != 0 {
				t.Fatalf("run: %d: %s", res.code, res.err)
			}
			check("run", c.pid, x.want)

			cmd := r.cmd(append(append([]string{"exec", "--detach", "--pid-file", c.dir + "/execpid"}, x.flags...), c.id, "sleep", "1000")...)
			through(cmd)
			r.must(cmd.Run())
			pid, _ := strconv.Atoi(rtRead(t, c.dir+"/execpid"))
			check("exec", pid, x.exec)
			unix.Kill(pid, unix.SIGKILL)
			rtReap(pid, rtLimit)
		})
	}
}

// An exec that fails says so, and writes nothing into the descriptors that it was given: one of them has the number of
// the socket on which failures are told.
func TestExecFailsWithDescriptors(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc numbers its own sockets otherwise")
	c := r.bundle([]string{"sleep", "1000"}).create().start()
	r.must(os.WriteFile(filepath.Join(c.rootfs(), "bad"), []byte("\x7fELF and no more"), 0o755))
	given := filepath.Join(r.dir, "given")
	cmd := r.cmd("exec", "--preserve-fds", "2", c.id, "/bad")
	rtThrough(cmd, "exec 3>"+given+" 4>&3")
	res := r.doCmd(cmd)
	if res.code != 255 || !strings.Contains(res.err, "exec format error") {
		t.Errorf("exit code %d, stderr %q", res.code, res.err)
	}
	if data := rtRead(t, given); data != "" {
		t.Errorf("the descriptors that were handed over got %q", data)
	}
}

// The directory of a pid file may be another's: what lies there under the name that runh writes first is not written to,
// and holds up nobody. The same for all other files that are replaced as a whole.
func TestPidFilePlanted(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("the name is runh's own")
	victim := filepath.Join(r.dir, "victim")
	r.must(os.WriteFile(victim, []byte("important"), 0o600))
	c := r.bundle([]string{"sleep", "1000"})
	plant := func(dir, name string, fifo bool) {
		r.must(os.MkdirAll(dir, 0o755))
		for _, tmp := range []string{"." + name, name + ".new", name + newSuffix} {
			os.Remove(filepath.Join(dir, tmp))
			if fifo {
				r.must(unix.Mkfifo(filepath.Join(dir, tmp), 0o666))
			} else {
				r.must(os.Symlink(victim, filepath.Join(dir, tmp)))
			}
		}
		if !fifo {
			os.Remove(filepath.Join(dir, name))
			r.must(os.Symlink(victim, filepath.Join(dir, name)))
		}
	}
	for _, fifo := range []bool{false, true} {
		dir := filepath.Join(r.dir, fmt.Sprint("fifo-", fifo))
		plant(dir, "create", fifo)
		plant(dir, "exec", fifo)
		in, err := os.Open(os.DevNull)
		r.must(err)
		cmd := r.cmd("create", "--bundle", c.dir, "--pid-file", dir+"/create", c.id)
		cmd.Stdin = in
		if res := r.wait(cmd); res.code != 0 {
			t.Fatalf("create: exit code %d", res.code)
		}
		r.do("start", c.id).ok()
		cmd = r.cmd("exec", "--detach", "--pid-file", dir+"/exec", c.id, "sleep", "1000")
		cmd.Stdin = in
		if res := r.wait(cmd); res.code != 0 {
			t.Fatalf("exec: exit code %d", res.code)
		}
		in.Close()
		for _, name := range []string{"create", "exec"} {
			if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || !info.Mode().IsRegular() {
				t.Errorf("pid file %s: %v, %v", name, info, err)
			}
			if _, err := os.Lstat(filepath.Join(dir, name+newSuffix)); err == nil {
				t.Errorf("left %s", name+newSuffix)
			}
		}
		for _, name := range []string{"exec", "create"} { // the first process ends when the other has been collected
			pid, err := strconv.Atoi(rtRead(t, filepath.Join(dir, name)))
			r.must(err)
			unix.Kill(pid, unix.SIGKILL)
			rtReap(pid, rtLimit)
		}
		r.do("delete", c.id).ok()
	}
	if got := rtRead(t, victim); got != "important" {
		t.Errorf("the file that the links led to has %q", got)
	}

	// The configuration of an engine, and the copy of the old one.
	config := filepath.Join(r.dir, "etc/daemon.json")
	for _, fifo := range []bool{false, true} {
		plant(filepath.Dir(config), "daemon.json", fifo)
		plant(filepath.Dir(config), "daemon.json.before-runh", fifo)
		os.Remove(config)
		r.must(os.WriteFile(config, []byte("{}\n"), 0o600))
		r.do("install", "docker", "--file", config, "--binary", r.bin)
		if !strings.Contains(rtRead(t, config), "runh") {
			t.Errorf("install with fifo %v did not change %s", fifo, config)
		}
	}
	if got := rtRead(t, victim); got != "important" {
		t.Errorf("install wrote %q to the file that the links led to", got)
	}
}

// A FIFO in the place of --log that nobody reads is an error, and no command waits for its reader.
func TestLogFIFO(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc waits for a reader")
	c := r.sh("true")
	r.must(unix.Mkfifo(r.dir+"/fifo", 0o600))
	r.log = r.dir + "/fifo"
	res := r.do("create", "--bundle", c.dir, c.id)
	if res.code == 0 || !strings.Contains(res.err, "fifo") {
		t.Errorf("exit code %d, stderr %q", res.code, res.err)
	}
	// One who reads no more: what does not fit is not written.
	fd, err := unix.Open(r.dir+"/fifo", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	r.must(err)
	defer unix.Close(fd)
	for err == nil {
		_, err = unix.Write(fd, make([]byte, 4096))
	}
	res = r.do("state", "nosuch")
	if res.code == 0 || !strings.Contains(res.err, "nosuch") {
		t.Errorf("a full FIFO: exit code %d, stderr %q", res.code, res.err)
	}
	r.log = r.dir + "/log.json"
}

// vm.memfd_noexec=2 forbids to execute a memfd, which the init is. It belongs to a pid namespace.
func TestMemfdNoexec(t *testing.T) {
	r := newRT(t)
	_, err := os.Stat("/proc/sys/vm/memfd_noexec")
	if err != nil {
		t.Skip("this kernel has no vm.memfd_noexec: it came with Linux 6.3")
	}
	c := r.sh("echo ran", func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/true"}}}
	})
	cmd := r.cmd("run", "--bundle", c.dir, c.id)
	script := "echo 2 >/proc/sys/vm/memfd_noexec && " + `"$@"; code=$?; ` + r.bin + " check 2>&1; exit $code"
	cmd.Args = append([]string{"unshare", "-m", "-p", "-f", "--mount-proc", "sh", "-c", script, "sh", cmd.Path}, cmd.Args[1:]...)
	cmd.Path, err = exec.LookPath("unshare")
	r.must(err)
	res := r.doCmd(cmd)
	if res.code != 0 || !strings.HasPrefix(res.out, "ran\n") {
		t.Errorf("exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
	}
	if r.isRunh() && !strings.Contains(res.out, "vm.memfd_noexec is 2") {
		t.Errorf("check does not say it: %q", res.out)
	}
}

// A config may ask for many of each kind, and for more than a thousand of them all: the set-up gives back what is done
// with, so that a usual limit on descriptors is enough.
func TestManyOfEach(t *testing.T) {
	const n = 1100
	each := func(format string) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprintf(format, i))
		}
		return list
	}
	make := func(c *ctr, dirs bool, names ...string) {
		for _, name := range names {
			p := filepath.Join(c.rootfs(), name)
			if dirs {
				c.r.must(os.MkdirAll(p, 0o755))
				continue
			}
			c.r.must(os.MkdirAll(filepath.Dir(p), 0o755))
			c.r.must(os.WriteFile(p, []byte("x"), 0o644))
		}
	}
	users := func(s *specs.Spec) {
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
		s.Linux.GIDMappings = s.Linux.UIDMappings
		s.Linux.Sysctl = nil // of ids that are not mapped
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	}
	binds := func(c *ctr, s *specs.Spec, options ...string) {
		for i := range n {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: fmt.Sprintf("/mnt/%d", i), Type: "bind", Source: c.r.dir, Options: append([]string{"bind"}, options...)})
		}
	}
	for _, x := range []struct {
		name, script string
		edit         func(c *ctr, s *specs.Spec)
	}{
		{"masked files", "[ -z \"$(cat /mnt/1099)\" ] && grep -c ' /mnt/' /proc/mounts", func(c *ctr, s *specs.Spec) {
			s.Linux.MaskedPaths = each("/mnt/%d")
			make(c, false, s.Linux.MaskedPaths...)
		}},
		{"masked directories", "[ -z \"$(ls /mnt/1099)\" ] && ! touch /mnt/1099/x 2>/dev/null && grep -c '^tmpfs /mnt/.* ro,' /proc/mounts", func(c *ctr, s *specs.Spec) {
			s.Linux.MaskedPaths = each("/mnt/%d")
			make(c, false, each("/mnt/%d/x")...)
		}},
		{"read-only paths", "! touch /mnt/1099/x 2>/dev/null && grep -c ' /mnt/.* ro[, ]' /proc/mounts", func(c *ctr, s *specs.Spec) {
			s.Linux.ReadonlyPaths = each("/mnt/%d")
			make(c, true, s.Linux.ReadonlyPaths...)
		}},
		{"devices", "ls /dev/many | wc -l", func(c *ctr, s *specs.Spec) {
			for _, p := range each("/dev/many/%d") {
				s.Linux.Devices = append(s.Linux.Devices, specs.LinuxDevice{Path: p, Type: "c", Major: 1, Minor: 3})
			}
		}},
		{"devices in directories of their own", "ls /dev/many | wc -l", func(c *ctr, s *specs.Spec) {
			for _, p := range each("/dev/many/%d/null") {
				s.Linux.Devices = append(s.Linux.Devices, specs.LinuxDevice{Path: p, Type: "c", Major: 1, Minor: 3})
			}
		}},
		{"mounts", "grep -c ' /mnt/' /proc/mounts", func(c *ctr, s *specs.Spec) { binds(c, s, "ro") }},
		{"tmpfs mounts", "grep -c '^tmpfs /mnt/.* ro,' /proc/mounts", func(c *ctr, s *specs.Spec) {
			for _, p := range each("/mnt/%d") {
				s.Mounts = append(s.Mounts, specs.Mount{Destination: p, Type: "tmpfs", Source: "tmpfs", Options: []string{"ro"}})
			}
		}},
		{"id-mapped mounts", "grep -c ' /mnt/' /proc/mounts", func(c *ctr, s *specs.Spec) {
			binds(c, s)
			for i := range s.Mounts {
				if m := &s.Mounts[i]; m.Type == "bind" {
					m.UIDMappings = []specs.LinuxIDMapping{{HostID: uint32(i), Size: 1}}
					m.GIDMappings = m.UIDMappings
				}
			}
		}},
		{"mounts in a user namespace", "grep -c ' /mnt/' /proc/mounts", func(c *ctr, s *specs.Spec) {
			users(s)
			binds(c, s)
			c.r.must(filepath.WalkDir(c.rootfs(), func(p string, _ os.DirEntry, err error) error {
				return errors.Join(err, os.Lchown(p, 100000, 100000))
			}))
		}},
	} {
		t.Run(strings.ReplaceAll(x.name, " ", "-"), func(t *testing.T) {
			r := newRT(t)
			r.onlyRunh("runc 1.1 needs more descriptors")
			r.must(os.Chmod(r.dir, 0o755))
			c := r.sh(x.script+"; ulimit -n; ulimit -Hn", func(s *specs.Spec) { s.Process.Rlimits = nil })
			x.edit(c, c.spec)
			c.write()
			cmd := r.cmd("run", "--bundle", c.dir, c.id)
			rtThrough(cmd, "ulimit -Sn 1000; ulimit -Hn 1024")
			if res := r.doCmd(cmd); res.code != 0 || res.err != "" || res.out != fmt.Sprintf("%d\n1000\n1024\n", n) {
				t.Errorf("exit code %d, stdout %.200q, stderr %.300q", res.code, res.out, res.err)
			}
		})
	}
	t.Run("preserved-descriptors", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("runc hands out its own descriptors, too")
		c := r.bundle([]string{"sleep", "1000"}, func(s *specs.Spec) { s.Process.Rlimits = nil })
		res := c.launchCmd(func(cmd *exec.Cmd) {
			rtThrough(cmd, `ulimit -n 1024; for i in $(seq 3 952); do eval "exec $i</dev/null"; done`)
		}, "create", "--preserve-fds", "950")
		if res.code != 0 {
			t.Fatalf("exit code %d: %s", res.code, res.err)
		}
		c.start()
		if got := rtDescriptors(t, c.pid); len(got) != 950 {
			t.Errorf("%d descriptors", len(got))
		}
	})
}

// A config can ask for more than the set-up has room for: that is an error like others, and nothing is left.
func TestTooMuch(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc has no such limit")
	c := r.sh("echo ran", func(s *specs.Spec) {
		for i := range 30000 {
			s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, fmt.Sprintf("/nope/%d", i))
		}
	})
	if res := c.run(); res.code != 0 || res.out != "ran\n" {
		t.Errorf("30000 masked paths: exit code %d, stdout %q, stderr %.300q", res.code, res.out, res.err)
	}
	for i := range 170000 {
		c.spec.Linux.MaskedPaths = append(c.spec.Linux.MaskedPaths, fmt.Sprintf("/nope/more%d", i))
	}
	hooked := r.dir + "/hooked"
	c.spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/touch", Args: []string{"touch", hooked}}}}
	c.write()
	c.run().fails("the config asks for too much")
	c.tryCreate().fails("the config asks for too much")
	if _, err := os.Stat(hooked); err == nil {
		t.Error("a hook has run before the error was found")
	}
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// A guest starts where its caller may have few descriptors, and may not have more.
func TestHermitFewDescriptors(t *testing.T) {
	for _, x := range []struct {
		name string
		edit func(*specs.Spec)
	}{
		{"", func(*specs.Spec) {}},
		{" many masks", func(s *specs.Spec) {
			for i := range 300 {
				s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, fmt.Sprintf("/mnt/%d", i))
			}
		}},
	} {
		t.Run("ulimit 256"+x.name, func(t *testing.T) {
			r := newHermit(t)
			c := r.guest("app", []string{"hello"}, x.edit)
			for i := range 300 {
				r.must(os.MkdirAll(filepath.Join(c.rootfs(), "mnt", strconv.Itoa(i)), 0o755))
			}
			cmd := r.cmd("run", "--bundle", c.dir, c.id)
			rtThrough(cmd, "ulimit -n 256")
			if res := r.doCmd(cmd); res.code != 0 || !strings.Contains(res.out, "Hello") {
				t.Errorf("exit code %d, stdout %.200q, stderr %.300q", res.code, res.out, res.err)
			}
		})
	}
	t.Run("ulimit 256 with a tap", func(t *testing.T) {
		r := newHermit(t)
		p := newWorld(r).pod("10.88.0.2/24")
		before := p.traces()
		c := r.guest("app", []string{"net"}, annotated("network", "shared"), joinNS(specs.NetworkNamespace, pidNS(p.pid, "net")))
		cmd := r.cmd("run", "--bundle", c.dir, c.id)
		rtThrough(cmd, "ulimit -n 256")
		if res := r.doCmd(cmd); res.code != 0 || !strings.Contains(res.out, "net mac=") {
			t.Errorf("exit code %d, stdout %.200q, stderr %.300q", res.code, res.out, res.err)
		}
		p.wantTraces(before)
	})
}
