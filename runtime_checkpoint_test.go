// checkpoint and restore of Hermit containers: a guest that counts, and goes on counting; what is refused; what a killed checkpoint leaves;
// a hundred rounds. The pipes of a container end with a checkpoint, so what each life printed is known to the byte.

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func hermitMemory(mib string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations[annotationPrefix+"memory_size"] = mib
	}
}

// counted is the last number of a guest's "count", and checks that none was left out. A machine can be saved in the middle of a line: the output
// must be that of all its lives, and what has no end yet is no number.
func counted(t *testing.T, out string) (last int) {
	t.Helper()
	for line := range strings.Lines(out) {
		n, found := strings.CutPrefix(line, "count ")
		n, whole := strings.CutSuffix(n, "\n")
		if got, err := strconv.Atoi(n); found && whole && err == nil {
			if last++; got != last {
				t.Fatalf("count %d follows count %d", got, last-1)
			}
		}
	}
	return last
}

// counts waits for n more numbers than there are.
func (c *ctr) counts(n int) {
	c.r.Helper()
	have := strings.Count(c.out.String(), "count ")
	c.r.eventually(fmt.Sprintf("%d more numbers", n), func() bool { return strings.Count(c.out.String(), "count ") >= have+n })
}

// checkpoint saves the container and waits for its end, as the shim does.
func (c *ctr) checkpoint(dir string, flags ...string) {
	c.r.Helper()
	c.r.do(append(append([]string{"checkpoint", "--image-path", dir, "--work-path", c.r.dir}, flags...), c.id)...).ok()
}

func (c *ctr) restore(dir string) *ctr {
	c.r.Helper()
	if res := c.tryRestore(dir); res.code != 0 {
		c.r.Fatalf("%v: exit code %d, stderr %q", res.args, res.code, res.err)
	}
	return c
}

// life is all that a container printed until it was saved.
func (c *ctr) life() string {
	c.r.Helper()
	if code := c.wait(); code != 137 {
		c.r.Errorf("exit code %d of a saved container, want 137", code)
	}
	return c.out.all(rtLimit)
}

func TestCheckpointCounter(t *testing.T) {
	for _, image := range []string{"app", "app-pci"} {
		t.Run(image, func(t *testing.T) {
			r := newHermit(t)
			c := r.guest(image, []string{"count", "30", ";", "exit", "7"}, hermitMemory("64")).create().start()
			c.counts(5)
			c.checkpoint(r.dir + "/i/one")
			before := c.life()
			counted(t, before)
			r.do("state", c.id).fails("does not exist")
			if left := r.leftovers(); len(left) != 0 {
				t.Errorf("left after a checkpoint: %q", left)
			}
			// From a copy, under another name, and a second one beside it, which the first one knows nothing of.
			r.must(exec.Command("cp", "-r", r.dir+"/i/one", r.dir+"/copy").Run())
			r.must(os.RemoveAll(r.dir + "/i"))
			d := r.guest(image, []string{"count", "30", ";", "exit", "7"}, hermitMemory("64"))
			for _, x := range []*ctr{c, d} {
				x.restore(r.dir + "/copy").wantStatus("running")
				if list := r.do("list", "-q").ok().out; !strings.Contains(list, x.id+"\n") {
					t.Errorf("list: %q", list)
				}
			}
			for _, x := range []*ctr{c, d} {
				if code := x.wait(); code != 7 {
					t.Errorf("exit code %d, want 7", code)
				}
				if last := counted(t, before+x.out.all(rtLimit)); last != 30 {
					t.Errorf("it counted to %d", last)
				}
				x.wantStatus("stopped")
				r.do("delete", x.id).ok()
			}
		})
	}
}

// A state is as large as what the guest has written to, not as its memory: a record for each page of 1 GiB would be 2.4 MB.
func TestCheckpointSize(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", []string{"count"}, hermitMemory("1024")).create().start()
	c.counts(1)
	c.checkpoint(r.dir + "/img")
	if m := readManifest(t, r.dir+"/img"); m.State.Size > 1<<20 {
		t.Errorf("the state has %d bytes", m.State.Size)
	}
	counted(t, c.life())
	c.restore(r.dir + "/img").counts(2)
}

func TestCheckpointLeaveRunning(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", []string{"count"}, hermitMemory("64")).create().start()
	c.counts(3)
	c.checkpoint(r.dir+"/img", "--leave-running")
	c.counts(3)
	c.wantStatus("running")
	// Docker saves a container that it has paused. It stays so.
	r.do("pause", c.id).ok()
	c.checkpoint(r.dir+"/img", "--leave-running") // in the place of the other
	c.wantStatus("paused")
	before := c.out.String()
	r.do("resume", c.id).ok()
	c.counts(3)
	d := r.guest("app", []string{"count"}, hermitMemory("64")).restore(r.dir + "/img")
	d.counts(3)
	m := readManifest(t, r.dir+"/img")
	if want := int(m.Console.Position); len(before) > want {
		t.Errorf("%d bytes had been printed, the manifest says %d", len(before), want)
	}
	all := c.out.String()[:m.Console.Position] + d.out.String()
	counted(t, all)
	r.do("kill", c.id, "KILL").ok()
	counted(t, c.life())

	r.do("pause", d.id).ok()
	d.checkpoint(r.dir + "/end")
	if n := readManifest(t, r.dir+"/end").Console.Position; n != m.Console.Position+uint64(len(d.life())) {
		t.Errorf("position %d after %d and %d", n, m.Console.Position, len(d.life()))
	}
}

func readManifest(t *testing.T, dir string) *manifest {
	t.Helper()
	m, err := decodeManifest([]byte(rtRead(t, dir+"/"+manifestName)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A CPU that was asked for invtsc and has not got it, which is TCG's and that of most clouds' machines, can be saved: QEMU decides.
func TestCheckpointInvtsc(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", []string{"count"}, hermitMemory("64"), annotated("cpu", "max,+invtsc")).create().start()
	c.counts(2)
	c.checkpoint(r.dir + "/img")
	before := c.life()
	c.restore(r.dir + "/img").counts(2)
	counted(t, before+c.out.String())
	// Where it has, there is QEMU's answer, and a way out.
	refused := explainUnsaved(errors.New("State blocked by non-migratable CPU device (invtsc flag)"), "host,+invtsc")
	if !errorHas(refused, `the guest's CPU is "host,+invtsc", and QEMU cannot save its invtsc: the annotation org.hermit-os.runh.cpu can name another`) {
		t.Error(refused)
	}
	if other := errors.New("none of its business"); explainUnsaved(other, "host,+invtsc") != other {
		t.Error(explainUnsaved(other, "host,+invtsc"))
	}
}

// A line that was half printed, and a guest that waits for input: what comes after the restore completes both.
func TestCheckpointConsole(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", []string{"print", "one", ";", "nonl", "[LOADER]", ";", "flush", ";", "echo", "3", ";", "exit", "4"}, hermitMemory("64")).create().start()
	c.out.until("[LOADER]")
	c.checkpoint(r.dir + "/img")
	if m := readManifest(t, r.dir+"/img"); m.Console.Line != fmt.Sprintf("%x", "[LOADER]") || m.Console.Position != uint64(len(c.life())) {
		t.Errorf("%+v", m.Console)
	}
	c.restore(r.dir + "/img")
	c.stdin.WriteString("abc")
	if code, out := c.wait(), c.out.all(rtLimit); code != 4 || !strings.HasPrefix(out, "abc") {
		t.Errorf("exit code %d, %q", code, out)
	}
	// Attached, as `run`: the exit code and the output are the guest's, nothing is left.
	r.do("delete", c.id).ok()
	cmd := r.cmd("restore", "--bundle", c.dir, "--image-path", r.dir+"/img", c.id)
	cmd.Stdin = strings.NewReader("xyz")
	if res := r.doCmd(cmd); res.code != 4 || !strings.HasPrefix(res.out, "xyz") || res.err != "" {
		t.Errorf("attached: exit code %d, %q, %q", res.code, res.out, res.err)
	}
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

func TestCheckpointRefused(t *testing.T) {
	r := newHermit(t)
	edit := func(key, v string) func(*specs.Spec) {
		return func(s *specs.Spec) {
			hermitMemory("64")(s)
			s.Annotations[annotationPrefix+key] = v
		}
	}
	c := r.guest("app", []string{"count"}, hermitMemory("64")).create()
	r.do("checkpoint", "--image-path", r.dir+"/none", c.id).fails("has not been started")
	c.start()
	for _, flag := range []string{"--pre-dump", "--parent-path=p", "--page-server=1:2", "--status-fd=3", "--lazy-pages"} {
		r.do("checkpoint", "--image-path", r.dir+"/none", flag, c.id).fails("for Linux containers")
	}
	r.do("checkpoint", "--image-path", "/proc/none/img", c.id).fails("/proc/none")
	if _, err := os.Stat(r.dir + "/none"); err == nil {
		t.Error("a refused checkpoint left its directory")
	}
	c.counts(2)
	img := r.dir + "/img"
	c.checkpoint(img)
	c.life()
	r.do("checkpoint", "--image-path", r.dir+"/none", c.id).fails("does not exist")

	// What is not as it was.
	damaged := func(change func(dir string)) string {
		r.n++
		dir := fmt.Sprint(r.dir, "/damaged", r.n)
		r.must(exec.Command("cp", "-r", img, dir).Run())
		change(dir)
		return dir
	}
	alter := func(change func(*manifest)) string {
		return damaged(func(dir string) {
			m := readManifest(t, dir)
			change(m)
			r.must(os.WriteFile(dir+"/"+manifestName, m.encode(), 0o600))
		})
	}
	big := func(dir string) { r.must(os.Truncate(dir+"/"+manifestName, 2<<20)) }
	for what, x := range map[string]struct {
		dir, text string
	}{
		"state truncated":    {damaged(func(dir string) { r.must(os.Truncate(dir+"/state", 1000)) }), "has 1000 bytes where"},
		"state longer":       {damaged(func(dir string) { appendTo(t, dir+"/state", "x") }), "bytes where"},
		"state altered":      {damaged(func(dir string) { flipByte(t, dir+"/state", 5000) }), "/state has been altered"},
		"no state":           {damaged(func(dir string) { r.must(os.Remove(dir + "/state")) }), "/state"},
		"a link":             {damaged(func(dir string) { r.must(os.Rename(dir+"/state", dir+"/x")); r.must(os.Symlink("x", dir+"/state")) }), "/state"},
		"a fifo":             {damaged(func(dir string) { r.must(os.Remove(dir + "/state")); r.must(unix.Mkfifo(dir+"/state", 0o600)) }), "not a regular file"},
		"manifest altered":   {damaged(func(dir string) { flipByte(t, dir+"/"+manifestName, 60) }), manifestName},
		"manifest truncated": {damaged(func(dir string) { r.must(os.Truncate(dir+"/"+manifestName, 300)) }), manifestName},
		"manifest too large": {damaged(big), "allowed are 1048576"},
		"another magic":      {alter(func(m *manifest) { m.Magic = "runh-checkpoint/9" }), "runh-checkpoint/9"},
		"another machine":    {alter(func(m *manifest) { m.VM.Machine = "q35" }), `its machine is "q35", and this container's "microvm"`},
		"another accel":      {alter(func(m *manifest) { m.VM.Accel = "kvm" }), `its accelerator is "kvm"`},
		"another build":      {alter(func(m *manifest) { m.QEMU.Digest = "00" }), "is of QEMU "},
	} {
		res := r.do("restore", "--detach", "--bundle", c.dir, "--image-path", x.dir, c.id)
		if res.fails(x.text); t.Failed() {
			t.Fatal(what)
		}
	}
	// A container that is not the saved one.
	for _, x := range []struct {
		c    *ctr
		text string
	}{
		{r.guest("app", []string{"count"}, hermitMemory("66")), `its memory is "64 MiB", and this container's "66 MiB"`},
		{r.guest("app", []string{"count"}, edit("smp", "2")), "its number of CPUs is"},
		{r.guest("app", []string{"count"}, edit("cpu", "qemu64")), `its CPU is "max", and this container's "qemu64"`},
		{r.guest("app", []string{"count"}, edit("network", "user")), "its network is"},
		{r.guest("app", []string{"count"}, edit("machine", "pc")), `its machine is "microvm", and this container's "pc"`},
		{r.guest("app-exec", []string{"count"}, hermitMemory("64")), "is of another application"},
		{r.guest("app", []string{"count"}, hermitMemory("64")).loader("loader-4k"), "is of another loader"},
		{r.sh("true"), "is of a Hermit guest"},
	} {
		r.do("restore", "--detach", "--bundle", x.c.dir, "--image-path", img, x.c.id).fails(x.text)
	}
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
	// Another build of QEMU, in a tree of its own.
	r.do("env", "build", r.dir+"/tree")
	appendTo(t, r.dir+"/tree/usr/bin/qemu-system-x86_64", "x")
	r.global = []string{"--hermit-env", r.dir + "/tree"}
	r.do("restore", "--detach", "--bundle", c.dir, "--image-path", img, c.id).fails("here is another build")
	r.global = nil
	c.restore(img).counts(2)
}

func appendTo(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func flipByte(t *testing.T, name string, at int) {
	t.Helper()
	b := []byte(rtRead(t, name))
	b[at] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A checkpoint that is killed leaves a guest that runs, and a whole directory or none.
func TestCheckpointKilled(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", []string{"touch", "100", ";", "count"}, hermitMemory("256")).create().start()
	c.counts(1)
	begin := time.Now()
	c.checkpoint(r.dir+"/whole", "--leave-running")
	whole, kept := time.Since(begin), 0
	for i := range 12 {
		dir := fmt.Sprint(r.dir, "/images/", i)
		cmd := r.cmd("checkpoint", "--leave-running", "--image-path", dir, c.id)
		r.must(cmd.Start())
		time.Sleep(whole * time.Duration(i) / 9) // a point of it, not a wait
		cmd.Process.Kill()
		cmd.Wait()
		c.counts(2)
		c.wantStatus("running")
		entries, _ := os.ReadDir(r.dir + "/images")
		kept = 0
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".new") {
				continue // a kill in the moment before the rename leaves it (save_dir.go); nobody takes it for a checkpoint
			}
			kept++
			if _, err := openSaved(filepath.Join(r.dir, "images", e.Name()), true); err != nil {
				t.Errorf("killed at point %d: %v", i, err)
			}
		}
	}
	if kept == 12 {
		t.Error("each was done before it was killed")
	}
	t.Logf("%d of 12 were done before they were killed", kept)
	// QEMU cannot be told to write where nobody reads; a full disk is another matter.
	r.must(os.Mkdir(r.dir+"/full", 0o700))
	r.must(unix.Mount("tmpfs", r.dir+"/full", "tmpfs", 0, "size=4m"))
	defer unix.Unmount(r.dir+"/full", unix.MNT_DETACH)
	r.do("checkpoint", "--image-path", r.dir+"/full/img", c.id).fails("no space left")
	if entries, _ := os.ReadDir(r.dir + "/full"); len(entries) != 0 {
		t.Errorf("a full disk has %v", entries)
	}
	c.counts(2)
	c.checkpoint(r.dir + "/last")
	counted(t, c.life())
	c.restore(r.dir + "/last").counts(2)
	// The guest ends while it is being saved, or the keeper is killed: the checkpoint says so and leaves nothing.
	cmd := r.cmd("checkpoint", "--leave-running", "--image-path", r.dir+"/gone", c.id)
	errs := newSink(t)
	cmd.Stderr = errs.w
	r.must(cmd.Start())
	errs.w.Close()
	syscall.Kill(c.pid, syscall.SIGKILL)
	err := cmd.Wait()
	if _, serr := os.Stat(r.dir + "/gone"); (serr == nil) != (err == nil) {
		t.Errorf("%v, %v: %q", err, serr, errs.all(rtLimit))
	}
}

// A directory that is saved into holds the old checkpoint until the new one is whole, whenever the command is killed and
// whatever fails; and afterwards no file of the old one.
func TestCheckpointOver(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", []string{"touch", "60", ";", "count"}, hermitMemory("128")).create().start()
	c.counts(1)
	dir := r.dir + "/img"
	c.checkpoint(dir, "--leave-running")
	old := readManifest(t, dir)
	whole := func(when string) {
		t.Helper()
		s, err := openSaved(dir, true)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		s.state.Close()
	}
	// The last step but one fails: a directory stands where a file is to be.
	r.must(os.Mkdir(dir+"/"+manifestName+newSuffix, 0o700))
	r.do("checkpoint", "--leave-running", "--image-path", dir, c.id).fails(manifestName)
	whole("a commit that fails")
	if m := readManifest(t, dir); m.Digest != old.Digest {
		t.Error("the manifest is another")
	}
	r.must(os.Remove(dir + "/" + manifestName + newSuffix))

	begin := time.Now()
	c.checkpoint(dir, "--leave-running")
	took := time.Since(begin)
	for i := range 20 {
		cmd := r.cmd("checkpoint", "--leave-running", "--image-path", dir, c.id)
		r.must(cmd.Start())
		time.Sleep(took * time.Duration(i+1) / 20)
		cmd.Process.Kill()
		cmd.Wait()
		whole(fmt.Sprint("killed at point ", i))
	}
	for range 3 { // each in the place of the one before
		c.counts(1)
		c.checkpoint(dir, "--leave-running")
		whole("one over another")
		if names := rtNames(t, dir); len(names) != 3 {
			t.Errorf("the directory has %q", names)
		}
	}
	position := readManifest(t, dir).Console.Position
	if position <= old.Console.Position {
		t.Errorf("position %d, and before that %d", position, old.Console.Position)
	}
	r.do("kill", c.id, "KILL").ok()
	c.wait()
	r.guest("app", []string{"touch", "60", ";", "count"}, hermitMemory("128")).restore(dir).counts(2)
}

// A hundred rounds of one guest, each from a copy: it misses no number, and nothing grows.
func TestCheckpointHundredTimes(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", []string{"count"}, hermitMemory("48")).create().start()
	c.counts(2)
	all, first := "", int64(0)
	dir := r.dir + "/img0"
	for i := range 100 {
		c.checkpoint(dir)
		all += c.life()
		counted(t, all)
		m := readManifest(t, dir)
		if m.Console.Position != uint64(len(all)) {
			t.Fatalf("round %d: position %d, %d bytes have come", i, m.Console.Position, len(all))
		}
		if i == 1 {
			first = m.State.Size
		}
		if i > 1 && m.State.Size > first+first/20 {
			t.Fatalf("round %d: the state has %d bytes, the second had %d", i, m.State.Size, first)
		}
		next := fmt.Sprint(r.dir, "/img", i+1)
		r.must(exec.Command("cp", "-r", dir, next).Run())
		r.must(os.RemoveAll(dir))
		dir = next
		c.restore(dir).counts(1)
	}
	// And of one keeper: the same descriptors, the same memory.
	fds := func() int { return len(mustGlob(t, fmt.Sprintf("/proc/%d/fd/*", c.pid))) }
	before := fds()
	for range 20 {
		c.checkpoint(dir, "--leave-running")
	}
	c.counts(2)
	if after := fds(); after != before {
		t.Errorf("the keeper had %d descriptors, and has %d", before, after)
	}
	vmm, err := (&container{state: state{Pid: c.pid}}).vmmProcess()
	r.must(err)
	if n := len(mustGlob(t, fmt.Sprintf("/proc/%d/fd/*", vmm))); n > 40 {
		t.Errorf("QEMU has %d descriptors", n)
	}
	r.do("kill", c.id).ok()
	if code := c.wait(); code != 143 {
		t.Errorf("exit code %d", code)
	}
	counted(t, all+c.out.all(rtLimit))
	r.do("delete", c.id).ok()
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

func mustGlob(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return names
}
