package main

import (
	"os/exec"
	"path/filepath"
	"time"
)

// busy measures create as a kubelet asks for it on a busy node: the least cpu.shares, which every pause and BestEffort
// container has, beside ten processes that never sleep. A runtime that puts the weight into force early pays for each of its
// own steps in the container's cgroup.
func (b *bench) busy() error {
	config, err := readJSON(filepath.Join(b.dir, "sleep-runh/config.json"))
	if err != nil {
		return err
	}
	config["linux"].(map[string]any)["resources"].(map[string]any)["cpu"] = map[string]any{"shares": 2}
	bundle := filepath.Join(b.dir, "shares")
	if err := writeJSON(bundle, config); err != nil {
		return err
	}
	for range 10 {
		loop := exec.Command("sh", "-c", "while :; do :; done")
		if err := loop.Start(); err != nil {
			return err
		}
		defer func() {
			loop.Process.Kill()
			loop.Wait()
		}()
	}
	rounds := b.rounds
	defer func() { b.rounds = rounds }()
	b.rounds = max(rounds/4, 3) // each takes a while
	s, err := b.rotate(len(b.rts), gap, func(c int) ([]time.Duration, error) {
		r, id := b.rts[c], b.id()
		pidFile := filepath.Join(b.dir, "pid")
		create, err := r.timed("create", "--bundle", bundle, "--pid-file", pidFile, id)
		if err != nil {
			return nil, err
		}
		if _, err = r.timed("kill", id, "KILL"); err != nil {
			return nil, err
		}
		if err := reap(pidFile); err != nil { // before delete: a process that has not been waited for keeps its cgroups busy
			return nil, err
		}
		_, err = r.timed("delete", id)
		return []time.Duration{create}, err
	})
	if err != nil {
		return err
	}
	b.rows = append(b.rows, s[0].row("", "≤ 1.0 × runc"))
	return nil
}
