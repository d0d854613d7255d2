// Rows of guests that are saved, and that start from what was saved.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// templates measures a guest that starts from a template against the same guest that boots. It waits for a byte of its input
// after so many milliseconds of start-up, where the template is made.
func (b *bench) templates(startup, point, mib string) func() error {
	return func() error {
		bundle, _, err := b.guest("app", "sleep", startup, ";", "echo", "1")
		if err != nil {
			return err
		}
		config, err := readJSON(filepath.Join(bundle, "config.json"))
		if err != nil {
			return err
		}
		notes := config["annotations"].(map[string]any)
		notes["org.hermit-os.runh.memory_size"] = mib
		boots, template := bundle+"-boots-"+mib, "bench"+b.accel.name+startup+"-"+mib
		if err := os.CopyFS(boots, os.DirFS(bundle)); err != nil {
			return err
		}
		if err := writeJSON(boots, config); err != nil {
			return err
		}
		notes["org.hermit-os.runh.template"], notes["org.hermit-os.runh.template_at"] = template, point
		if err := writeJSON(bundle, config); err != nil {
			return err
		}
		run := func(bundle string) *exec.Cmd {
			return exec.Command(b.rts[0].bin, "--root", b.rts[0].root, "run", "--bundle", bundle, b.id())
		}
		first := run(bundle)
		in, err := first.StdinPipe() // which says nothing: the template is made where the guest waits for it
		if err != nil {
			return err
		}
		if err := first.Start(); err != nil {
			return err
		}
		made := func() bool {
			found, _ := filepath.Glob(b.rts[0].root + "/@templates/" + template + ".*/manifest.json")
			return len(found) > 0
		}
		for range 300 {
			if time.Sleep(100 * time.Millisecond); made() {
				break
			}
		}
		in.Close()
		first.Process.Kill()
		first.Wait()
		exec.Command(b.rts[0].bin, "--root", b.rts[0].root, "delete", "--force", first.Args[len(first.Args)-1]).Run()
		if !made() {
			return errors.New("no template was made")
		}
		s, err := b.rotate(2, gap, func(c int) ([]time.Duration, error) {
			cmd := run([]string{bundle, boots}[c])
			cmd.Stdin = strings.NewReader("x")
			first, _, out, err := firstByte(cmd)
			if !strings.HasPrefix(out, "x") || !strings.Contains(out, "exit status 0\n") {
				return nil, fmt.Errorf("the guest said %q, %w", out, errors.Join(err, errors.New(cmd.String())))
			}
			return []time.Duration{first}, nil
		})
		if err != nil {
			return err
		}
		r := s[0].row("", "")
		r.budget = fmt.Sprintf("the same guest booted: %s, ratio %s", r.values[1], r.ratios[0])
		r.values, r.ratios = r.values[:1], nil
		b.rows = append(b.rows, r)
		return nil
	}
}

// saves measures a checkpoint of a guest that waits for a byte of its input, and from there its restore until the byte comes back.
func (b *bench) saves() error {
	bundle, _, err := b.guest("app", "echo", "1")
	if err != nil {
		return err
	}
	if b.accel.name == "kvm" { // QEMU does not save invtsc
		config, err := readJSON(filepath.Join(bundle, "config.json"))
		if err != nil {
			return err
		}
		config["annotations"].(map[string]any)["org.hermit-os.runh.cpu"] = "host,-arch-capabilities"
		if err := writeJSON(bundle, config); err != nil {
			return err
		}
	}
	r, image, pidFile := b.rts[0], filepath.Join(b.dir, "saved"), filepath.Join(b.dir, "saved.pid")
	size := int64(0)
	s, err := b.rotate(1, gap, func(int) ([]time.Duration, error) {
		id := b.id()
		if _, err := r.timed("create", "--bundle", bundle, "--pid-file", pidFile, id); err != nil {
			return nil, err
		}
		if _, err := r.timed("start", id); err != nil {
			return nil, err
		}
		time.Sleep(300 * time.Millisecond) // it says nothing when it waits
		if err := os.RemoveAll(image); err != nil {
			return nil, err
		}
		checkpoint, err := r.timed("checkpoint", "--image-path", image, id)
		if err != nil {
			return nil, err
		}
		if err := reap(pidFile); err != nil {
			return nil, err
		}
		st, err := os.Stat(filepath.Join(image, "state"))
		if err != nil {
			return nil, err
		}
		size = st.Size()
		cmd := exec.Command(r.bin, "--root", r.root, "restore", "--bundle", bundle, "--image-path", image, id)
		cmd.Stdin = strings.NewReader("x")
		first, _, out, err := firstByte(cmd)
		if !strings.HasPrefix(out, "x") || !strings.Contains(out, "exit status 0\n") {
			return nil, fmt.Errorf("the guest said %q, %w", out, errors.Join(err, errors.New(cmd.String())))
		}
		return []time.Duration{checkpoint, first}, nil
	})
	if err != nil {
		return err
	}
	b.rows = append(b.rows, s[0].row("guest of 1 GiB: checkpoint", fmt.Sprintf("a state of %d bytes", size)), s[1].row("guest of 1 GiB: restore to its first byte", ""))
	return nil
}
