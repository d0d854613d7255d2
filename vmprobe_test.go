package main

import (
	"os"
	"strings"
	"testing"
)

// fakeQEMU is a script that ends as a QEMU does whose CPU is one of works, and counts how often it is asked.
func fakeQEMU(t *testing.T, works string) (env *hermitEnv, asked func() int) {
	t.Helper()
	dir := t.TempDir()
	script := `#!/bin/sh
echo asked >>` + dir + `/asked
while [ "$1" != -cpu ]; do shift; done
case "$2" in ` + works + `) read -r _; read -r quit; case "$quit" in *quit*) exit 0 ;; esac; exit 9 ;; esac
echo '{"QMP": {}}'
echo "qemu: assertion failed" >&2
exit 134
`
	if err := os.WriteFile(dir+"/qemu", []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return &hermitEnv{QEMU: dir + "/qemu"}, func() int {
		text, _ := os.ReadFile(dir + "/asked")
		return strings.Count(string(text), "asked")
	}
}

// The first CPU with which QEMU starts is taken, and QEMU is not asked again until it is another one.
func TestKVMLadder(t *testing.T) {
	for i, want := range kvmLadder {
		env, asked := fakeQEMU(t, `"`+want+`"`)
		root := t.TempDir()
		for range 2 {
			if cpu, err := kvmCPU(root, env, "microvm", false); cpu != want || err != nil {
				t.Errorf("%q, %v, want %q", cpu, err, want)
			}
		}
		if n := asked(); n != i+1 {
			t.Errorf("%s: asked %d times, want %d", want, n, i+1)
		}
		other, asked := fakeQEMU(t, "max")
		if cpu, err := kvmCPU(root, other, "pc", false); cpu != "max" || err != nil || asked() != len(kvmLadder) {
			t.Errorf("another QEMU: %q, %v", cpu, err)
		}
	}
	env, asked := fakeQEMU(t, "nothing")
	root := t.TempDir()
	for n := range 2 { // a failure is not kept
		_, err := kvmCPU(root, env, "microvm", false)
		if err == nil || !strings.Contains(err.Error(), "KVM does not work with any CPU") || !strings.Contains(err.Error(), "qemu: assertion failed") || strings.Contains(err.Error(), "\n") {
			t.Error(err)
		}
		if asked() != (n+1)*len(kvmLadder) {
			t.Errorf("asked %d times", asked())
		}
	}
	if err := os.WriteFile(root+"/"+kvmCPUCache, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	env, _ = fakeQEMU(t, "max")
	if cpu, err := kvmCPU(root, env, "microvm", false); cpu != "max" {
		t.Error(cpu, err)
	}
	// A machine that is to be saved has no invtsc, also where that would work; both answers are kept.
	env, asked = fakeQEMU(t, "*")
	for range 2 {
		for saved, want := range map[bool]string{false: kvmLadder[0], true: "host"} {
			if cpu, err := kvmCPU(root, env, "microvm", saved); cpu != want || err != nil {
				t.Errorf("saved %v: %q, %v, want %q", saved, cpu, err, want)
			}
		}
	}
	if n := asked(); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
}

// The real QEMU makes each machine.
func TestTryVM(t *testing.T) {
	env := needQEMU(t)
	for _, machine := range []string{"microvm", "pc", "q35"} {
		if err := tryVM(env, &vmConfig{Machine: machine, Accel: "tcg", CPU: "max"}); err != nil {
			t.Error(err)
		}
	}
	if err := tryVM(env, &vmConfig{Machine: "pc", Accel: "tcg", CPU: "nosuch"}); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Error(err)
	}
}
