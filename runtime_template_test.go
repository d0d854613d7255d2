// Templates: what the first start makes, what later ones skip, and that a container which differs in anything boots for itself.

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func withTemplate(name, at string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		hermitMemory("64")(s)
		s.Annotations[annotationPrefix+"template"] = name
		if at != "" {
			s.Annotations[annotationPrefix+"template_at"] = at
		}
	}
}

// templates are those of the root, forgotten at the end: nothing else removes them.
func (r *rt) templates() []string {
	r.Helper()
	return mustGlob(r.T, r.root+"/"+templatesName+"/*")
}

func newTemplates(t *testing.T) *rt {
	t.Helper()
	r := newHermit(t)
	t.Cleanup(func() { os.RemoveAll(r.root + "/" + templatesName) }) // before r's own
	return r
}

// The guest says "boot", takes a second, announces the point and waits there for input: what it prints tells whether it booted.
func TestTemplate(t *testing.T) {
	for _, x := range []struct{ name, at, announces string }{
		{"announced", "", templateMark}, {"line", "is ready", "it is ready now"}, {"time", "2500ms", "no point"},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newTemplates(t)
			args := append([]string{"print", "boot", ";", "sleep", "1000", ";", "print"}, strings.Fields(x.announces)...)
			args = append(args, ";", "echo", "2", ";", "exit", "6")
			run := func(how string) string {
				t.Helper()
				c := r.guest("app", args, withTemplate(x.name, x.at))
				if how == "run" {
					cmd := r.cmd("run", "--bundle", c.dir, c.id)
					cmd.Stdin = strings.NewReader("ab")
					res := r.doCmd(cmd)
					if res.code != 6 {
						t.Errorf("exit code %d, %q", res.code, res.err)
					}
					return res.out
				}
				c.create().start()
				c.stdin.WriteString("ab")
				if code := c.wait(); code != 6 {
					t.Errorf("exit code %d", code)
				}
				r.do("delete", c.id).ok()
				return c.out.all(rtLimit)
			}
			if out := run("start"); !strings.HasPrefix(out, "boot\n") || !strings.Contains(out, "ab") {
				t.Errorf("the first start: %q", out)
			}
			if made := r.templates(); len(made) != 1 || !strings.HasPrefix(filepath.Base(made[0]), x.name+".") {
				t.Fatalf("templates %q; log %s", made, rtReadOr(r.log))
			}
			r.do("explain", "--bundle", r.guest("app", args, withTemplate(x.name, x.at)).dir).ok()
			for _, how := range []string{"start", "run"} {
				if out := run(how); strings.Contains(out, "boot") || !strings.HasPrefix(out, "ab") {
					t.Errorf("from the template, %s: %q", how, out)
				}
			}
			var st unix.Stat_t
			r.must(unix.Stat(r.root+"/"+templatesName, &st))
			if st.Mode&0o777 != 0o700 {
				t.Errorf("the templates have mode %o", st.Mode)
			}
			// A container from a template can be saved and restored like others.
			c := r.guest("app", args, withTemplate(x.name, x.at)).create().start()
			c.checkpoint(r.dir + "/img")
			c.life()
			c.restore(r.dir + "/img")
			c.stdin.WriteString("ab")
			if code := c.wait(); code != 6 {
				t.Errorf("exit code %d after a restore", code)
			}
		})
	}
}

// The loader has had its say before a template or a checkpoint was made. What looks like its lines afterwards, before anything else, is the
// application's, also where the loader's are left out.
func TestTemplateLoaderLines(t *testing.T) {
	r := newTemplates(t)
	args := []string{"print", "ready", ";", "echo", "1", ";", "print", "LOADER][INFO] is what I say"}
	guest := func() *ctr {
		return r.guest("app", args, withTemplate("lines", "ready"), annotated("quiet", "all")).loader("loader-verbose")
	}
	goesOn := func(c *ctr) {
		t.Helper()
		c.stdin.WriteString("[")
		if code, out := c.wait(), c.out.all(rtLimit); code != 0 || !strings.HasPrefix(out, "[LOADER][INFO] is what I say\n") {
			t.Errorf("exit code %d, %q", code, out)
		}
	}
	c := guest().create().start()
	c.checkpoint(r.dir + "/img")
	if out := c.life(); out != "ready\n" {
		t.Errorf("the first life: %q", out)
	}
	goesOn(c.restore(r.dir + "/img"))
	goesOn(guest().create().start())
}

// A machine with volumes needs virtiofsd, whose state nobody writes.
func TestTemplateShared(t *testing.T) {
	r := newShare(t)
	volume := volumeAt(t.TempDir(), "/data", "rbind")
	for what, edits := range map[string][]func(*specs.Spec){
		"a volume":   {withTemplate("t", ""), volume},
		"the rootfs": {withTemplate("t", ""), annotated("share", "rootfs")},
	} {
		if r.guest("app", nil, edits...).tryCreate().fails(errSharedState.Error()); t.Failed() {
			t.Fatal(what)
		}
	}
	c := r.guest("app", []string{"echo", "1"}, shared).create().start()
	r.do("checkpoint", "--image-path", r.dir+"/img", c.id).fails(errSharedState.Error())
	if made := r.templates(); len(made) != 0 {
		t.Errorf("templates %q", made)
	}
}

// Each container here differs from the first in one thing and makes a template of its own; the last is like the first.
func TestTemplateKey(t *testing.T) {
	r := newTemplates(t)
	args := []string{"print", templateMark, ";", "echo", "1"}
	annotate := func(key, v string) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Annotations[annotationPrefix+key] = v }
	}
	other := func(args ...string) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Process.Args = append(s.Process.Args[:1:1], args...) }
	}
	for i, x := range []struct {
		what, image, loader string
		edit                func(*specs.Spec)
		boots               bool
	}{
		{"the first", "app", "loader", func(*specs.Spec) {}, true},
		{"name", "app", "loader", annotate("template", "other"), true},
		{"point", "app", "loader", annotate("template_at", "template"), true},
		{"arguments", "app", "loader", other("print", templateMark, ";", "echo", "1", ";", "exit", "0"), true},
		{"a variable", "app", "loader", func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, "SECRET=2") }, true},
		{"memory", "app", "loader", annotate("memory_size", "66"), true},
		{"network", "app", "loader", annotate("network", "none"), true},
		{"application", "app-exec", "loader", func(*specs.Spec) {}, true},
		{"loader", "app", "loader-verbose", func(*specs.Spec) {}, true},
		{"nothing", "app", "loader", func(*specs.Spec) {}, false},
	} {
		before := len(r.templates())
		c := r.guest(x.image, args, withTemplate("key", ""), x.edit).loader(x.loader).create().start()
		c.stdin.WriteString("x")
		c.wait()
		booted := strings.Contains(c.out.all(rtLimit), templateMark)
		if made := len(r.templates()) - before; booted != x.boots || (made == 1) != x.boots {
			t.Fatalf("%d, %s: booted %v, %d templates made; log %s", i, x.what, booted, made, rtReadOr(r.log))
		}
		r.do("delete", c.id).ok()
	}
}

func TestTemplateTrouble(t *testing.T) {
	r := newTemplates(t)
	r.global = []string{"--log-level", "warn"}
	args := []string{"print", templateMark, ";", "echo", "1"}
	run := func(edits ...func(*specs.Spec)) (out string) {
		t.Helper()
		c := r.guest("app", args, append([]func(*specs.Spec){withTemplate("t", "")}, edits...)...).create()
		cmd := r.cmd("start", c.id)
		if err := cmd.Run(); err != nil {
			t.Fatalf("start: %v", err)
		}
		c.stdin.WriteString("x")
		if code := c.wait(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		r.do("delete", c.id)
		return c.out.all(rtLimit)
	}
	run()
	// A damaged one is made anew; the guest boots meanwhile.
	dir := r.templates()[0]
	flipByte(t, dir+"/"+manifestName, 100)
	if out := run(); !strings.Contains(out, templateMark) {
		t.Errorf("from a damaged template: %q", out)
	}
	if out := run(); strings.Contains(out, templateMark) {
		t.Errorf("from the one made anew: %q", out)
	}
	// A directory that others can write to is not used.
	r.must(os.Chmod(filepath.Dir(dir), 0o777))
	if out := run(); !strings.Contains(out, templateMark) || !strings.Contains(rtReadOr(r.log), "this user's alone") {
		t.Errorf("with mode 777: %q, log %s", out, rtReadOr(r.log))
	}
	r.must(os.Chmod(filepath.Dir(dir), 0o700))
	// The guest ends before the point, or does not come to it: it has run, and that is all.
	c := r.guest("app", []string{"exit", "3"}, withTemplate("t", "nothing like it")).create()
	r.must(r.cmd("start", c.id).Run())
	if code := c.wait(); code != 3 {
		t.Errorf("exit code %d of a guest that ended before its point", code)
	}
	if !strings.Contains(rtReadOr(r.log), "no template was made") {
		t.Errorf("log %s", rtReadOr(r.log))
	}
	// While a first start waits, others can look, kill and delete.
	c = r.guest("app", []string{"count"}, withTemplate("t", "nothing like it")).create()
	start := r.cmd("start", c.id)
	r.must(start.Start())
	c.counts(2)
	c.wantStatus("running")
	begin := time.Now()
	r.do("delete", "--force", c.id).ok()
	start.Wait()
	if took := time.Since(begin); took > templateLimit/2 {
		t.Errorf("it took %v to delete a container that waits for its point", took)
	}
	// A start that is killed leaves a guest that runs.
	c = r.guest("app", []string{"count"}, withTemplate("t", "count 9")).create()
	start = r.cmd("start", c.id)
	r.must(start.Start())
	c.counts(2)
	start.Process.Kill()
	start.Wait()
	c.counts(12)
	// No more than sixteen, the least used goes. What is no template stays.
	store := filepath.Dir(r.templates()[0])
	precious := filepath.Join(store, "precious")
	r.must(os.Mkdir(precious, 0o700))
	r.must(os.WriteFile(precious+"/"+stateName, nil, 0o600))
	r.must(os.Chtimes(precious, time.Unix(0, 0), time.Unix(0, 0)))
	for i := range 20 {
		old := fmt.Sprintf("%s/t.%032x", store, i)
		r.must(os.Mkdir(old, 0o700))
		at := time.Now().Add(-time.Hour - time.Duration(i)*time.Minute)
		r.must(os.Chtimes(old, at, at))
	}
	run(func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, "ONE=more") })
	r.must(os.Remove(precious + "/" + stateName))
	r.must(os.Remove(precious))
	if n := len(r.templates()); n != maxTemplates {
		t.Errorf("%d templates, want %d", n, maxTemplates)
	}
	for _, x := range []struct{ key, v, text string }{
		{"template", "a/b", "allowed are 1 to 64 letters"},
		{"template", "", "allowed are 1 to 64 letters"},
		{"template", "..", "allowed are 1 to 64 letters"},
		{"template_at", "61s", "up to 1m0s"},
		{"template_at", "-1s", "up to 1m0s"},
		{"template_at", strings.Repeat("x", 200), "200 bytes"},
	} {
		r.global = nil
		r.guest("app", args, withTemplate("t", ""), func(s *specs.Spec) { s.Annotations[annotationPrefix+x.key] = x.v }).tryCreate().fails(x.text)
	}
}
