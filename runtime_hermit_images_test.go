// Images as others make them: Hermit applications that boot by themselves (PVH), and files in an image's own /root.

package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Without a note of the kernel's version it is 0.14 or later all the same: variables reach it. The image's loader, and the
// machine, do not matter.
func TestHermitPVH(t *testing.T) {
	for _, machine := range []string{"", "pc", "q35"} {
		t.Run("machine "+machine, func(t *testing.T) {
			r := newHermit(t)
			res := r.guest("app-pvh", []string{"env", ";", "devices", ";", "exit", "7"}, func(s *specs.Spec) {
				s.Process.Env = []string{"GREETING=two words"}
				s.Annotations = map[string]string{annotationPrefix + "network": "user"} // a device to see the machine by
				if machine != "" {
					s.Annotations[annotationPrefix+"machine"] = machine
				}
			}).run()
			if got := guestStrings(t, res.out, "env"); res.code != 7 || !slices.Contains(got, "GREETING=two words") || strings.Contains(res.out, "mmio") != (machine == "") {
				t.Errorf("exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
			}
			if left := r.leftovers(); len(left) != 0 {
				t.Errorf("left %q", left)
			}
		})
	}
	r := newHermit(t)
	r.guest("app-pvh-pie", []string{"hello"}).run().fails("/hermit/app: its PVH entry is address 0, as it is linked position-independent: link it to a fixed address")
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
	r.guest("app-pvh", []string{"hello"}, func(s *specs.Spec) {
		s.Annotations = map[string]string{annotationPrefix + "loader": "/hermit/hermit-loader"}
	}).run().fails("/hermit/app has no Hermit entry note")
}

// A Hermit image as uhyve takes it is refused with the cure, and not left to Linux, which has no word for it.
func TestHermitGzip(t *testing.T) {
	r := newHermit(t)
	c := r.guest("app", nil)
	r.must(os.Remove(c.rootfs() + "/hermit/app"))
	r.must(os.WriteFile(c.rootfs()+"/hermit/app", []byte("\x1f\x8b\x08\x00"), 0o755))
	c.run().fails("/hermit/app: it is gzip-compressed: Linux cannot run it")
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// withHome puts files into the image's /root, as upstream's webserver image has them.
func (c *ctr) withHome() *ctr {
	c.r.Helper()
	c.r.must(os.MkdirAll(c.rootfs()+"/root", 0o755))
	c.r.must(os.WriteFile(c.rootfs()+"/root/index.html", []byte("<p>of the image\n"), 0o644))
	return c
}

// The image's own /root is the guest's, as with upstream's runtime: alone, beside volumes, and with volumes in it. Where
// virtiofsd is the one that Hermit's kernels have no use for, there is a warning in its place.
func TestShareHome(t *testing.T) {
	r := newShare(t)
	dir := t.TempDir()
	r.must(os.WriteFile(dir+"/file", []byte("of the volume\n"), 0o644))
	page, data := "<p>of the image\n", volumePath("/data")
	rust := data == "/data"
	const warning = "the guest does not see the files in the image's /root: "
	for _, x := range []struct {
		name, image string
		args        []string
		edits       []func(*specs.Spec)
		want        string // with virtiofsd in Rust, before the last words
		warns       string
	}{
		{"microvm", "app", []string{"cat", "/root/index.html", ";", "write", "/root/new", "x", ";", "ls", "/hermit/"}, nil, page + "ls /hermit/: errno 2\n", ""},
		{"pc", "app-pci", []string{"cat", "/root/index.html"}, nil, page, ""},
		{"an old kernel", "app-old", []string{"cat", "/root/index.html"}, nil, page, ""},
		{"beside a volume", "app", []string{"cat", "/root/index.html", ";", "cat", "/data/file"}, []func(*specs.Spec){volumeAt(dir, "/data", "rbind")}, page + "of the volume\n", ""},
		{"a volume in it", "app", []string{"cat", "/root/index.html", ";", "cat", "/root/data/file"}, []func(*specs.Spec){volumeAt(dir, "/root/data", "rbind")}, page + "of the volume\n", ""},
		{
			"an old kernel and a volume", "app-old",
			[]string{"cat", "/root/data/file", ";", "cat", "/root/index.html"},
			[]func(*specs.Spec){volumeAt(dir, "/data", "rbind")},
			"of the volume\ncat /root/index.html: errno 2\n", "a kernel before 0.10 can have them or volumes, not both",
		},
		{"a template", "app", []string{"cat", "/root/index.html"}, []func(*specs.Spec){func(s *specs.Spec) {
			s.Annotations = map[string]string{annotationPrefix + "template": "home"}
		}}, "cat /root/index.html: errno 19\n", "a machine that shares files cannot be saved or restored"},
		{"none", "app", []string{"cat", "/root/index.html"}, []func(*specs.Spec){func(s *specs.Spec) {
			s.Annotations = map[string]string{annotationPrefix + "share": "none"}
		}}, "cat /root/index.html: errno 19\n", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newShare(t)
			r.global = append(r.global, "--log-level", "warn")
			c := r.guest(x.image, x.args, x.edits...).withHome()
			res := c.run()
			got, _, _ := strings.Cut(res.out, "Number of interrupts")
			log := rtRead(t, r.log)
			switch {
			case !rust && x.name != "none" && x.name != "a template": // C
				if !strings.Contains(log, warning+"virtiofsd ") || strings.Contains(res.out, page) {
					t.Errorf("exit code %d, stdout %q, log %q", res.code, res.out, log)
				}
			case (rust || x.name == "none") && got != x.want:
				t.Errorf("exit code %d, stdout %q, want %q; stderr %q, log %q", res.code, res.out, x.want, res.err, log)
			case x.warns != "" && !strings.Contains(log, warning+x.warns), x.warns == "" && strings.Contains(log, warning):
				t.Errorf("log: %q", log)
			}
			if rust && x.name == "microvm" && rtReadOr(c.rootfs()+"/root/new") != "x\n" {
				t.Error("what the guest has written is not there")
			}
			os.RemoveAll(r.root + "/@templates") // is to stay
			if left := r.leftovers(); len(left) != 0 {
				t.Errorf("left %q", left)
			}
		})
	}
}

// A hostile image's /root leads nowhere; an empty one, and one that is no directory, are none.
func TestShareHomeHostile(t *testing.T) {
	r := newShare(t)
	for _, x := range []struct{ name, link string }{{"absolute", "/etc"}, {"relative", "../../../../../../etc"}, {"kernel", "/proc"}, {"nowhere", "/nowhere"}, {"itself", "root"}, {"empty", ""}} {
		c := r.guest("app", []string{"cat", "/root/passwd", ";", "stat", "/root/self"})
		r.must(os.MkdirAll(c.rootfs()+"/etc", 0o755))
		r.must(os.WriteFile(c.rootfs()+"/etc/passwd", []byte("of the image\n"), 0o644))
		if x.link == "" {
			r.must(os.Mkdir(c.rootfs()+"/root", 0o755))
		} else {
			r.must(os.Symlink(x.link, c.rootfs()+"/root"))
		}
		res := c.run()
		if res.code != 1 || strings.Contains(res.out, "root:x:0") || !strings.Contains(res.out, "stat /root/self: errno") {
			t.Errorf("%s: exit code %d, %q, %q", x.name, res.code, res.out, res.err)
		}
	}
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}
