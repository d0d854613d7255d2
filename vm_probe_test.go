package main

import (
	"os"
	"strings"
	"testing"
)

const (
	lacksInvtsc = "host doesn't support requested feature: CPUID.80000007H:EDX.invtsc [bit 8]"
	lacksXsaves = "This feature depends on other features that were not requested: CPUID.(EAX=0DH,ECX=01H):EAX.xsaves [bit 3]"
)

// fakeQEMU is a script that ends as a QEMU does whose CPU is one of works, and counts how often it is asked. lacks are patterns of a CPU
// and the warnings that come with it.
func fakeQEMU(t *testing.T, works string, lacks ...[2]string) (qemu *qemuFiles, asked func() int) {
	t.Helper()
	dir := t.TempDir()
	script := `#!/bin/sh
echo asked >>` + dir + `/asked
while [ "$1" != -cpu ]; do shift; done
`
	for _, l := range lacks {
		script += `case "$2" in ` + l[0] + `) echo "qemu-system-x86_64: warning: ` + l[1] + `" >&2 ;; esac` + "\n"
	}
	script += `case "$2" in ` + works + `) read -r _; read -r quit; case "$quit" in *quit*) exit 0 ;; esac; exit 9 ;; esac
echo '{"QMP": {}}'
echo "qemu: assertion failed" >&2
exit 134
`
	if err := os.WriteFile(dir+"/qemu", []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return &qemuFiles{QEMU: dir + "/qemu"}, func() int {
		text, _ := os.ReadFile(dir + "/asked")
		return strings.Count(string(text), "asked")
	}
}

// The first CPU with which QEMU starts is taken, and QEMU is not asked again until it is another one.
func TestKVMLadder(t *testing.T) {
	for i, want := range kvmLadder {
		qemu, asked := fakeQEMU(t, `"`+want+`"`)
		root := t.TempDir()
		for range 2 {
			if cpu, err := kvmCPU(root, qemu, "microvm", false); cpu != want || err != nil {
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
	qemu, asked := fakeQEMU(t, "nothing")
	root := t.TempDir()
	for n := range 2 { // a failure is not kept
		_, err := kvmCPU(root, qemu, "microvm", false)
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
	qemu, _ = fakeQEMU(t, "max")
	if cpu, err := kvmCPU(root, qemu, "microvm", false); cpu != "max" {
		t.Error(cpu, err)
	}
	// A machine that is to be saved has no invtsc, also where that would work; both answers are kept.
	qemu, asked = fakeQEMU(t, "*")
	for range 2 {
		for saved, want := range map[bool]string{false: kvmLadder[0], true: "host"} {
			if cpu, err := kvmCPU(root, qemu, "microvm", saved); cpu != want || err != nil {
				t.Errorf("saved %v: %q, %v, want %q", saved, cpu, err, want)
			}
		}
	}
	if n := asked(); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
}

// A CPU without what it was asked for is no answer as long as there is another one. An older runh took it for one, and may have kept it.
func TestKVMLadderLacks(t *testing.T) {
	first := kvmLadder[0]
	for _, x := range []struct {
		name, works string
		lacks       [][2]string
		want        string
		asked       int
	}{
		{"no invtsc", "*", [][2]string{{"*invtsc*", lacksInvtsc}}, "host", 2}, // and what else asks for it is passed by
		{"no invtsc, and host ends it", "max|*-arch-capabilities|*invtsc*", [][2]string{{"*invtsc*", lacksInvtsc}}, "host,-arch-capabilities", 3},
		{"another feature", "*", [][2]string{{first, lacksXsaves}}, kvmLadder[1], 2},
		{"a warning of something else", "*", [][2]string{{"*", "Host physical bits (40) does not match phys-bits property (46)"}}, first, 1},
		{"each lacks something", "*", [][2]string{{"*", lacksXsaves}}, "max", len(kvmLadder)},
		{"all that QEMU makes lacks something", "host", [][2]string{{"*", lacksXsaves}}, "host", len(kvmLadder)},
	} {
		t.Run(x.name, func(t *testing.T) {
			qemu, asked := fakeQEMU(t, x.works, x.lacks...)
			root := t.TempDir()
			old := strings.Replace(probeKey(qemu), "runh/2", "runh/1", 1) + "\n" + first
			if err := os.WriteFile(root+"/"+kvmCPUCache, []byte(old), 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if cpu, err := kvmCPU(root, qemu, "microvm", false); cpu != x.want || err != nil {
					t.Errorf("%q, %v, want %q", cpu, err, x.want)
				}
			}
			if n := asked(); n != x.asked {
				t.Errorf("asked %d times, want %d", n, x.asked)
			}
		})
	}
}

// The real QEMU makes each machine.
func TestTryVM(t *testing.T) {
	qemu := needQEMU(t)
	for _, machine := range []string{"microvm", "pc", "q35"} {
		if _, err := makeVM(qemu, &vmConfig{Machine: machine, Accel: "tcg", CPU: "max"}); err != nil {
			t.Error(err)
		}
	}
	// What a CPU lacks it says in the words that are looked for, and makes the machine all the same.
	for cpu, want := range map[string]string{"max": "", "max,+avx512f": ".avx512f [bit 16]", "qemu64,+ibrs-all": ".ibrs-all [bit 1]"} {
		lacks, err := makeVM(qemu, &vmConfig{Machine: "pc", Accel: "tcg", CPU: cpu})
		if text := strings.Join(lacks, "\n"); err != nil || !strings.HasSuffix(text, want) || want == "" && text != "" {
			t.Errorf("%s lacks %q, %v; want %q", cpu, lacks, err, want)
		}
	}
	if _, err := makeVM(qemu, &vmConfig{Machine: "pc", Accel: "tcg", CPU: "nosuch"}); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Error(err)
	}
}
