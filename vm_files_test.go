package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// needQEMU skips a test on a host without QEMU, and returns what QEMU needs.
func needQEMU(t *testing.T) *qemuFiles {
	t.Helper()
	qemu, err := findQEMUFiles(t.TempDir(), "")
	needs(t, err == nil, fmt.Sprintf("QEMU (%v)", err))
	return qemu
}

func TestHostEnv(t *testing.T) {
	qemu := needQEMU(t)
	var guests []string
	for _, f := range qemu.Files {
		guests = append(guests, f.Guest)
	}
	all := strings.Join(guests, "\n")
	for _, want := range []string{qemu.QEMU, "/ld-linux", "/libc.so.6", "/libglib-2.0.so.0", "qboot.rom", "bios-256k.bin", "accel-tcg-x86_64.so"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %s in\n%s", want, all)
		}
	}
	for machine, not := range map[string]string{"microvm": "bios-256k.bin", "pc": "qboot.rom", "q35": "qboot.rom"} {
		files, err := qemu.filesFor(&vmConfig{Machine: machine, Accel: "kvm"})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f.Guest, not) || strings.Contains(f.Guest, "accel-tcg") {
				t.Errorf("%s under kvm does not need %s", machine, f.Guest)
			}
		}
	}
	if _, err := (&qemuFiles{QEMU: "/q"}).filesFor(&vmConfig{Machine: "microvm"}); err == nil || !strings.Contains(err.Error(), "qboot.rom") {
		t.Error("missing firmware:", err)
	}
}

func TestEnvCache(t *testing.T) {
	root := t.TempDir()
	first, err := findQEMUFiles(root, "")
	if err != nil {
		t.Skip(err)
	}
	cache := filepath.Join(root, qemuCacheName)
	start := time.Now()
	again, err := findQEMUFiles(root, "")
	if err != nil || len(again.Files) != len(first.Files) || again.LibPath != first.LibPath {
		t.Fatal("from the cache:", again, err)
	}
	t.Logf("%d files, from the cache in %v", len(again.Files), time.Since(start))
	for name, data := range map[string]string{
		"damaged": "{", "stale": `{"key":"runh/1 other","env":{"qemu":"/evil","files":[{"guest":"/x"}]}}`, "empty": "",
	} {
		if err := os.WriteFile(cache, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if qemu, err := findQEMUFiles(root, ""); err != nil || qemu.QEMU != first.QEMU {
			t.Error(name, qemu, err)
		}
	}
	if err := os.WriteFile(cache, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if qemu, err := findQEMUFiles(root, ""); err != nil || len(qemu.Files) != len(first.Files) {
				t.Error("twenty at once:", qemu, err)
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) != 1 {
		t.Error("left behind:", entries, err)
	}
	// The digest of QEMU's program is computed once, and kept.
	sum, err := first.digest(-1)
	if data, rerr := os.ReadFile(first.QEMU); rerr != nil || err != nil || sum != fmt.Sprintf("%x", sha256.Sum256(data)) {
		t.Error("digest:", sum, err, rerr)
	}
	text, err := os.ReadFile(cache)
	if err != nil || !strings.Contains(string(text), sum) {
		t.Fatalf("the cache: %v, %.80s", err, text)
	}
	if err := os.WriteFile(cache, bytes.Replace(text, []byte(sum), []byte("kept"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if kept, err := findQEMUFiles(root, ""); err != nil || kept.Digest != "kept" || len(kept.Files) != len(first.Files) {
		t.Error("with a digest:", kept, err)
	} else if sum, err := kept.digest(-1); sum != "kept" || err != nil {
		t.Error("it was computed again:", sum, err)
	}
	// A state root that cannot be written costs time only.
	if _, err := findQEMUFiles("/proc/nowhere", ""); err != nil {
		t.Error(err)
	}
}

func TestTreeEnv(t *testing.T) {
	dir := t.TempDir()
	if files, err := treeQEMUFiles(dir); files != nil || err != nil {
		t.Error("a tree without QEMU:", files, err)
	}
	if files, err := treeQEMUFiles(dir + "/missing"); files != nil || err != nil {
		t.Error("no tree:", files, err)
	}
	if err := os.MkdirAll(dir+"/usr/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("usr/lib", dir+"/lib"); err != nil {
		t.Fatal(err)
	}
	qemu := dir + "/usr/bin/qemu-system-x86_64"
	if err := os.WriteFile(qemu, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := findQEMUFiles(dir, dir); err == nil || !strings.Contains(err.Error(), "not executable") {
		t.Error("a QEMU that cannot run:", err)
	}
	if err := os.Chmod(qemu, 0o755); err != nil {
		t.Fatal(err)
	}
	files, err := findQEMUFiles(dir, dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []qemuFile{{Guest: "/lib", Link: "usr/lib"}, {Host: dir + "/usr", Guest: "/usr", Dir: true}}
	if files.QEMU != "/usr/bin/qemu-system-x86_64" || len(files.Files) != 2 || files.Files[0] != want[0] || files.Files[1] != want[1] {
		t.Errorf("%+v", files)
	}
	if _, err := files.filesFor(&vmConfig{Machine: "microvm"}); err != nil {
		t.Error(err)
	}
}

func TestListLibrariesErrors(t *testing.T) {
	f := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(f, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := elfInterpreter(f); err == nil || !strings.Contains(err.Error(), "wrapper script") {
		t.Error(err)
	}
	interp, err := elfInterpreter("/usr/bin/env")
	if err != nil || interp == "" {
		t.Skip("needs a dynamically linked /usr/bin/env")
	}
	if _, err := listLibraries(interp, f); err == nil {
		t.Error("the linker took a script")
	}
	if unix.Access(interp, unix.X_OK) != nil {
		t.Error(interp)
	}
}
