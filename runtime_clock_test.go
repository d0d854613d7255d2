// The clock of a guest that goes on from a saved state, and of one from a template, through the binary.

package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// clocks are the milliseconds that a guest has said.
func clocks(t *testing.T, out string) (all []int) {
	t.Helper()
	for line := range strings.Lines(out) {
		n, found := strings.CutPrefix(line, "clock ")
		n, whole := strings.CutSuffix(n, "\n")
		if ms, err := strconv.Atoi(n); found && whole && err == nil {
			all = append(all, ms)
		}
	}
	return all
}

// A guest that was saved knows how late it is. Its clock began with the machine, so it cannot have counted more than
// has passed since; and after a pause it stands where it stood.
func TestCheckpointTime(t *testing.T) {
	for _, image := range []string{"app", "app-pci"} {
		t.Run(image, func(t *testing.T) {
			r := newHermit(t)
			c := r.guest(image, []string{"clock"}).create()
			began := time.Now()
			c.start()
			spoken := func() (first, last int) {
				t.Helper()
				var all []int
				r.eventually("the guest tells the time", func() bool { all = clocks(t, c.out.String()); return len(all) > 1 })
				return all[0], all[len(all)-1]
			}
			_, before := spoken()
			c.checkpoint(r.dir + "/img")
			const gap = 2 * time.Second
			time.Sleep(gap)
			c.life()
			c.restore(r.dir + "/img")
			after, last := spoken()
			if most := time.Since(began).Milliseconds() + 20; after < before+int(gap.Milliseconds()) || int64(last) > most {
				t.Errorf("%d ms before, %d and %d after a gap of %v; at most %d can have passed", before, after, last, gap, most)
			}
			r.do("delete", "--force", c.id).ok()
		})
	}
}

// All guests of a template are at least a second older than the point: a kernel that takes a new seed for its random
// numbers each second does so then.
func TestTemplateTime(t *testing.T) {
	r := newTemplates(t)
	run := func() []int {
		t.Helper()
		c := r.guest("app", []string{"clock", "1", ";", "print", templateMark, ";", "sleep", "1000", ";", "clock", "1"}, withTemplate("time", "")).create().start()
		if code := c.wait(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		return clocks(t, c.out.all(rtLimit))
	}
	first := run()
	for range 2 {
		if later := run(); len(first) != 2 || len(later) != 1 || later[0] < first[0]+int(minTemplateJump.Milliseconds()) {
			t.Errorf("the first guest said %d ms, this one %d", first, later)
		}
	}
}

// What start needs of a template is the container's own: the template may be gone by then.
func TestTemplateGone(t *testing.T) {
	r := newTemplates(t)
	guest := func() *ctr {
		return r.guest("app", []string{"print", templateMark, ";", "sleep", "1000", ";", "print", "on"}, withTemplate("gone", ""))
	}
	guest().create().start().wait()
	c := guest().create()
	if err := os.RemoveAll(r.root + "/" + templatesName); err != nil {
		t.Fatal(err)
	}
	c.start()
	if code, out := c.wait(), c.out.all(rtLimit); code != 0 || !strings.HasPrefix(out, "on\n") {
		t.Errorf("exit code %d, %q", code, out)
	}
	for _, name := range []string{stateName, manifestName} {
		if _, err := os.Stat(r.root + "/" + c.id + "/" + name); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
}
