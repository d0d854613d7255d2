// How a Hermit container is stopped and paused: what the guest notices of it, and that nothing can be in its way.

package main

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// guestClock is the time that the guest's command clock printed last, in milliseconds.
func guestClock(out string) int {
	m := regexp.MustCompile(`(?m)^clock (\d+)\r?$`).FindAllStringSubmatch(out, -1)
	if m == nil {
		return -1
	}
	n, _ := strconv.Atoi(m[len(m)-1][1])
	return n
}

// While a container is paused its guest's clock stands still: by whomever it is paused and thawed, on each machine.
func TestHermitPause(t *testing.T) {
	for _, image := range []string{"app", "app-pci"} {
		t.Run(image, func(t *testing.T) {
			r := newHermit(t)
			c := r.guest(image, []string{"clock"}).create()
			r.do("pause", c.id).ok() // before its start, there is no clock yet
			c.wantStatus("paused")
			r.do("resume", c.id).ok()
			c.start()
			c.out.until("clock ")
			for range 2 {
				r.do("pause", c.id).ok()
				c.wantStatus("paused")
				r.do("pause", c.id).fails("container not running")
				before := c.out.String()
				time.Sleep(1500 * time.Millisecond) // this is what the guest must not see
				if after := c.out.String(); after != before {
					t.Errorf("a paused guest said %q", after[len(before):])
				}
				r.do("resume", c.id).ok()
				c.wantStatus("running")
				r.eventually("the guest goes on", func() bool { return len(c.out.String()) > len(before)+40 })
				next := guestClock(c.out.String()[:strings.Index(c.out.String()[len(before):], "\n")+len(before)+1])
				// KVM does not stop a processor's counter.
				if gap := next - guestClock(before); gap < 0 || gap > 1200 && rtAccel() != "kvm" {
					t.Errorf("between two lines the guest's clock went on by %d ms, 100 are right", gap)
				}
			}
			r.do("pause", c.id).ok()
			r.do("kill", c.id, "KILL").ok() // a paused one too
			if code := c.wait(); code != 137 {
				t.Errorf("exit code %d, want 137", code)
			}
			r.do("delete", c.id).ok()
		})
	}
	t.Run("pause is killed half-way", func(t *testing.T) { // nothing stands still for ever
		r := newHermit(t)
		c := r.guest("app", []string{"clock"}).create().start()
		c.out.until("clock ")
		for i := range 10 {
			cmd := r.cmd("pause", c.id)
			r.must(cmd.Start())
			time.Sleep(time.Duration(i) * time.Millisecond)
			cmd.Process.Kill()
			cmd.Wait()
			if c.state().Status == "paused" {
				r.do("resume", c.id).ok()
			}
			before := len(c.out.String())
			r.eventually("the guest goes on", func() bool { return len(c.out.String()) > before+20 })
		}
		r.do("delete", "--force", c.id).ok()
	})
	t.Run("a stop while it is paused", func(t *testing.T) { // takes effect with the thaw
		r := newHermit(t)
		c := r.guest("app", []string{"clock"}).create().start()
		c.out.until("clock ")
		r.do("pause", c.id).ok()
		r.do("kill", c.id, "TERM").ok()
		r.do("resume", c.id).ok()
		if code := c.wait(); code != 143 {
			t.Errorf("exit code %d, want 143", code)
		}
	})
}

// A guest that has an ear for its power button is given the chance to end by itself; another is not waited for.
func TestHermitPowerButton(t *testing.T) {
	for _, machine := range []string{"pc", "q35"} {
		t.Run(machine, func(t *testing.T) {
			r := newHermit(t)
			c := r.guest("app-pci", []string{"button", ";", "exit", "9"}, annotated("machine", machine)).create().start()
			c.out.until("listening")
			r.do("kill", c.id, "TERM").ok()
			if code := c.wait(); code != 9 {
				t.Errorf("exit code %d, want the guest's own 9", code)
			}
			if out := c.out.all(rtLimit); !strings.Contains(out, "power button\n") {
				t.Errorf("the guest said %q", out)
			}
		})
	}
	t.Run("a second signal does not wait", func(t *testing.T) {
		r := newHermit(t)
		c := r.guest("app-pci", []string{"button", ";", "print", "ignored", ";", "hang"}).create().start()
		c.out.until("listening")
		r.do("kill", c.id, "TERM").ok()
		c.out.until("ignored")
		begin := time.Now()
		r.do("kill", c.id, "TERM").ok()
		if code := c.wait(); code != 143 {
			t.Errorf("exit code %d, want 143", code)
		}
		if took := time.Since(begin); took > keeperPowerDelay*time.Millisecond/2 {
			t.Errorf("it took %v", took)
		}
	})
	t.Run("it is ignored", func(t *testing.T) {
		r := newHermit(t)
		c := r.guest("app-pci", []string{"button", ";", "spin"}).create().start()
		c.out.until("listening")
		r.do("kill", c.id, "TERM").ok()
		if code := c.wait(); code != 143 {
			t.Errorf("exit code %d, want 143", code)
		}
	})
	t.Run("nobody listens", func(t *testing.T) { // Hermit as it is
		r := newHermit(t)
		c := r.guest("app-pci", []string{"print", "ready", ";", "hang"}).create().start()
		c.out.until("ready")
		begin := time.Now()
		r.do("kill", c.id, "TERM").ok()
		if code := c.wait(); code != 143 {
			t.Errorf("exit code %d, want 143", code)
		}
		if took := time.Since(begin); took > keeperPowerDelay*time.Millisecond/2 {
			t.Errorf("it took %v", took)
		}
	})
}

// A QEMU that does not answer is in nobody's way.
func TestHermitHungQEMU(t *testing.T) {
	for signal, want := range map[string]int{"TERM": 143, "KILL": 137} {
		t.Run(signal, func(t *testing.T) {
			r := newHermit(t)
			c := r.guest("app-pci", []string{"count"}).create().start()
			c.out.until("count 1")
			r.must(syscall.Kill(r.vmm(c), syscall.SIGSTOP))
			r.do("kill", c.id, signal).ok()
			if code := c.wait(); code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
			r.eventually("QEMU is gone", func() bool { return len(r.processes()) == 0 })
			r.do("delete", c.id).ok()
		})
	}
}

// quiet: the kernel hears of it, and with "all" the loader's lines are left out.
func TestHermitQuiet(t *testing.T) {
	r := newHermit(t)
	const loud = "[LOADER]"
	run := func(edits ...func(c *ctr)) string {
		t.Helper()
		c := r.guest("app", []string{"print", "first", ";", "print", "[LOADER][INFO] is what I say", ";", "env"}).loader("loader-verbose")
		for _, e := range edits {
			e(c)
		}
		c.write()
		res := c.run()
		if res.code != 0 || !strings.Contains(res.out, "[LOADER][INFO] is what I say\n") {
			t.Errorf("exit code %d, %q", res.code, res.out)
		}
		return res.out
	}
	quiet := func(v string) func(*ctr) { return func(c *ctr) { annotated("quiet", v)(c.spec) } }
	if out := run(); !strings.Contains(out, loud) || strings.Contains(out, "NO_COLOR") {
		t.Errorf("without quiet: %q", out)
	}
	if out := run(quiet("kernel")); !strings.Contains(out, loud) || !strings.Contains(out, `"NO_COLOR=1"`) || !strings.Contains(out, `"HERMIT_LOG_LEVEL_FILTER=error"`) {
		t.Errorf("quiet kernel: %q", out)
	}
	if out := run(quiet("all")); !strings.HasPrefix(out, "first\n[LOADER][INFO] is what I say\n") || !strings.Contains(out, `"NO_COLOR=1"`) {
		t.Errorf("quiet all: %q", out)
	}
	config := r.dir + "/config.toml"
	r.must(os.WriteFile(config, []byte("quiet = \"all\"\n"), 0o644))
	r.global = []string{"--config", config}
	if out := run(); !strings.HasPrefix(out, "first\n[LOADER][INFO] is what I say\n") {
		t.Errorf("quiet by the configuration: %q", out)
	}
	if out := run(quiet("off")); !strings.Contains(out, "Loading") && strings.Count(out, loud) < 2 {
		t.Errorf("the annotation goes before the configuration: %q", out)
	}
	r.guest("app", nil, annotated("quiet", "yes")).run().fails(`quiet is "yes": allowed are off, kernel, all`)
	// A loader's panic is never left out.
	if res := r.guest("app", nil).loader("loader-panic").run(); res.code != 1 || !strings.Contains(res.out, "[LOADER] panicked at ") {
		t.Errorf("a panic: exit code %d, %q", res.code, res.out)
	}
}
