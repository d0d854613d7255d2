// Which descriptors reach a container, and how many a container's set-up may need: looked at from outside, in
// /proc/PID/fd of the process that runs.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

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
