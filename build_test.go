// What is shipped: one static binary, the same for everybody who builds the same sources.
package main

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestBuildIsReproducible(t *testing.T) {
	t.Parallel()
	var files []string
	for _, glob := range []string{"*.go", "*.s", "*.h", "*.tbl", "go.mod", "go.sum", "third_party"} {
		found, err := filepath.Glob(glob)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	dir := t.TempDir()
	if out, err := exec.Command("cp", append([]string{"-r"}, append(files, dir)...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	a, b := filepath.Join(rtTemp, "first"), filepath.Join(dir, "second")
	if err := rtBuild(".", a); err != nil {
		t.Fatal(err)
	}
	if err := rtBuild(dir, b); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(b); err != nil || !bytes.Equal(first, second) {
		t.Errorf("two builds from two directories differ (%v)", err)
	}
	if wd, _ := os.Getwd(); bytes.Contains(first, []byte(wd)) {
		t.Errorf("the binary names the directory that it was built in")
	}
	f, err := elf.Open(a)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("not static: %v", p.Type)
		}
		if p.Type == elf.PT_GNU_STACK && p.Flags&elf.PF_X != 0 {
			t.Error("the stack is executable")
		}
	}
	if f.Section(".symtab") != nil || f.Section(".debug_info") != nil {
		t.Error("not stripped")
	}
}
