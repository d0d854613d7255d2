// What checkpoint and restore pass on to criu: locks, files without a name, sockets of the host's, and where the memory comes from and goes to.

package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// refused demands that a checkpoint without a flag fails, and harms nothing.
func (c *ctr) refused(want string, flags ...string) {
	c.r.Helper()
	c.r.do(append(append([]string{"checkpoint", "--image-path", c.r.dir + "/refused", "--work-path", c.dir}, flags...), c.id)...).fails(want)
	c.wantStatus("running")
	c.counts(3)
}

// A lock is held again; whoever asks for it does not get it.
func TestCriuFileLocks(t *testing.T) {
	r := newCriu(t)
	if r == nil {
		return
	}
	needsPrograms(t, "/usr/bin/flock") // util-linux's: busybox has none
	c := r.sh("exec 9>/lock; flock 9; "+counting, fewMounts, func(s *specs.Spec) {
		for _, at := range []string{"/usr/bin/flock", "/lib", "/lib64"} {
			s.Mounts = append(s.Mounts, bindAt(at, at, "rbind", "ro"))
		}
	}).create().start()
	c.counts(3)
	img := r.dir + "/img"
	c.refused("criu dump: ")
	before := c.save(img, "--file-locks")
	c.goesOn(img, before, "--file-locks")
	if out := c.inside("flock -n /lock echo had || echo held; flock -n /other echo had"); out != "held\nhad\n" {
		t.Errorf("the restored lock: %q", out)
	}
}

// An open file whose name is gone, but not its other name.
func TestCriuLinkRemap(t *testing.T) {
	r := newCriu(t)
	if r == nil {
		return
	}
	c := r.sh("exec 8>/a; ln /a /b; rm /a; "+strings.Replace(counting, "sleep", "echo $i >&8; sleep", 1), fewMounts).create().start()
	c.counts(3)
	img := r.dir + "/img"
	c.refused("criu dump: ")
	before := c.save(img, "--link-remap")
	size := func() int { return len(rtRead(t, c.rootfs()+"/b")) }
	was := size()
	c.goesOn(img, before, "--link-remap")
	r.eventually("what is written comes out under the other name", func() bool { return size() > was })
	for _, name := range []string{"/a", "/link_remap.*"} {
		if left, _ := filepath.Glob(c.rootfs() + name); len(left) != 0 {
			t.Errorf("left behind: %q", left)
		}
	}
}

// A socket that is connected to one of the host's: by its name, which leads there in the container.
func TestCriuExternalSocket(t *testing.T) {
	r := newCriu(t)
	if r == nil {
		return
	}
	dir := r.dir + "/host"
	r.must(os.Mkdir(dir, 0o755))
	at := &net.UnixAddr{Name: dir + "/sock", Net: "unixgram"}
	l, err := net.ListenUnixgram("unixgram", at)
	r.must(err)
	defer l.Close()
	var mu sync.Mutex
	var heard bytes.Buffer
	go func() {
		for b := make([]byte, 100); ; {
			n, err := l.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			heard.Write(b[:n])
			mu.Unlock()
		}
	}()
	all := func() string { mu.Lock(); defer mu.Unlock(); return heard.String() }
	s, err := net.DialUnix("unixgram", nil, at)
	r.must(err)
	defer s.Close()
	f, err := s.File()
	r.must(err)
	defer f.Close()
	c := r.sh(strings.Replace(counting, "sleep", "echo count $i >&3; sleep", 1), fewMounts, func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, bindAt(dir, dir, "bind"))
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
			return n.Type == specs.NetworkNamespace // criu looks for sockets in one network
		})
		s.Linux.Sysctl = nil
	})
	if res := c.launchCmd(func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{f} }, "create", "--preserve-fds", "1"); res.code != 0 {
		t.Fatal(res.err)
	}
	f.Close()
	s.Close()
	c.start()
	c.counts(3)
	img := r.dir + "/img"
	c.refused("criu dump: ")
	before := c.save(img, "--ext-unix-sk")
	c.goesOn(img, before, "--ext-unix-sk")
	have := strings.Count(all(), "\n")
	r.eventually("the socket's other end hears more", func() bool { return strings.Count(all(), "\n") > have+3 })
	counted(t, all())
}

// What the new images have, the old ones and those that have been read give back to the file system.
func TestCriuAutoDedup(t *testing.T) {
	r := newCriu(t)
	if r == nil {
		return
	}
	c := r.counter(fewMounts).create().start()
	c.counts(3)
	c.dump(r.dir+"/pre", "--pre-dump")
	c.counts(3)
	blocks := func(dir string) int64 {
		t.Helper()
		var st unix.Stat_t
		r.must(unix.Stat(r.dir+dir+"/pages-1.img", &st))
		return st.Blocks
	}
	full := blocks("/pre")
	before := c.save(r.dir+"/img", "--parent-path", "../pre", "--auto-dedup")
	if left := blocks("/pre"); left == 0 || left >= full {
		t.Errorf("the first images have %d blocks, and had %d", left, full)
	}
	c.goesOn(r.dir+"/img", before, "--auto-dedup")
	if left := blocks("/img"); left != 0 {
		t.Errorf("the images that were read have %d blocks", left)
	}
}

// background runs criu, which must end well by itself.
func (c *ctr) background(args ...string) (end func()) {
	r := c.r
	r.Helper()
	out, done := newSink(r.T), make(chan result)
	cmd := exec.Command("criu", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, out.w, out.w
	go func() { done <- r.wait(cmd, out) }()
	return func() {
		r.Helper()
		if res := <-done; res.code != 0 {
			r.Errorf("criu %s: exit code %d, %q", args[0], res.code, out.String())
		}
	}
}

// freePort is one of the loopback's.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func TestCriuPageServer(t *testing.T) {
	r := newCriu(t)
	if r == nil {
		return
	}
	c := r.counter(fewMounts).create().start()
	c.counts(3)
	img, pages, port := r.dir+"/img", r.dir+"/pages", freePort(t)
	r.must(os.Mkdir(pages, 0o700))
	end := c.background("page-server", "--images-dir", pages, "--address", "127.0.0.1", "--port", port, "-v4", "--log-file", c.dir+"/server.log")
	r.eventually("the server listens", func() bool { return strings.Contains(rtReadOr("/proc/net/tcp"), listening(port)) })
	before := c.save(img, "--page-server", "127.0.0.1:"+port)
	end()
	if here, _ := filepath.Glob(img + "/pages-*"); len(here) != 0 {
		t.Errorf("pages beside the images: %q", here)
	}
	there, _ := filepath.Glob(pages + "/*.img")
	for _, f := range there {
		r.must(os.Rename(f, img+"/"+filepath.Base(f)))
	}
	c.goesOn(img, before)
}

// listening is a port as /proc/net/tcp has it.
func listening(port string) string {
	var n int
	fmt.Sscan(port, &n)
	return fmt.Sprintf("0100007F:%04X 00000000:0000 0A", n)
}

// Memory that comes when it is asked for: from images, and from the container that has been saved and waits until it is all read.
func TestCriuLazyPages(t *testing.T) {
	r := newCriu(t)
	if r == nil {
		return
	}
	c, d := r.counter(fewMounts).create().start(), r.counter(fewMounts)
	c.counts(3)
	daemon := func(x *ctr, img string, flags ...string) (end func()) {
		t.Helper()
		end = x.background(append([]string{"lazy-pages", "--images-dir", img, "--work-dir", x.dir, "-v4", "--log-file", x.dir + "/lazy.log"}, flags...)...)
		r.eventually("criu serves pages", func() bool { _, err := os.Stat(x.dir + "/lazy-pages.socket"); return err == nil })
		return end
	}
	img := r.dir + "/one"
	before := c.save(img)
	end := daemon(c, img)
	c.goesOn(img, before, "--lazy-pages")
	end()
	c.counts(3)

	img = r.dir + "/two"
	port := freePort(t)
	tells, status, err := os.Pipe()
	r.must(err)
	defer tells.Close()
	out, done := newSink(t), make(chan result)
	cmd := r.cmd("checkpoint", "--image-path", img, "--work-path", c.dir, "--lazy-pages", "--page-server", "127.0.0.1:"+port, "--status-fd", "3", c.id)
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = []*os.File{status}, out.w, out.w
	go func() { done <- r.wait(cmd, out) }()
	tells.SetReadDeadline(time.Now().Add(rtLimit))
	if n, err := tells.Read(make([]byte, 1)); n != 1 {
		t.Fatalf("--status-fd: %v; criu's log: %s", err, rtReadOr(c.dir+"/dump.log"))
	}
	status.Close()
	if open := rtReadOr("/proc/net/tcp"); !strings.Contains(open, listening(port)) {
		t.Errorf("criu serves port %s not at the address that it was given: %s", port, open)
	}
	end = daemon(d, img, "--page-server", "--address", "127.0.0.1", "--port", port)
	d.bringBack(img, "--lazy-pages")
	end()
	if res := <-done; res.code != 0 {
		t.Fatalf("checkpoint --lazy-pages: exit code %d, %q", res.code, out.String())
	}
	before += c.life()
	d.counts(3)
	counted(t, before+d.out.String())
}
