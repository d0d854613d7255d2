// What is shipped: one static binary, the same for everybody who builds the same sources.

package main

import (
	"archive/zip"
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestBuildIsReproducible(t *testing.T) {
	needs(t, true, "the time of builds")
	t.Parallel()
	var files []string
	for _, glob := range []string{"*.go", "*.s", "*.h", "*.tbl", "go.mod", "go.sum"} {
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

// `go install MODULE@VERSION` builds runh from a module proxy: nothing of go.mod (a replace) and no file outside stands in its way.
func TestGoInstall(t *testing.T) {
	needs(t, true, "the time of builds")
	const module, version = "github.com/hermit-os/runh", "v0.0.1"
	dir := t.TempDir()
	proxy := filepath.Join(dir, "proxy", module, "@v")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(proxy, 0o755))
	archive, err := os.Create(filepath.Join(proxy, version+".zip"))
	must(err)
	w := zip.NewWriter(archive)
	var files []string
	for _, glob := range []string{"*.go", "*.s", "*.h", "*.tbl", "completion/*", "docs/*", "go.mod", "go.sum"} {
		found, err := filepath.Glob(glob)
		must(err)
		files = append(files, found...)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		data, err := os.ReadFile(name)
		must(err)
		f, err := w.Create(module + "@" + version + "/" + name)
		must(err)
		_, err = f.Write(data)
		must(err)
	}
	must(w.Close())
	must(archive.Close())
	mod, err := os.ReadFile("go.mod")
	must(err)
	must(os.WriteFile(filepath.Join(proxy, version+".mod"), mod, 0o644))
	must(os.WriteFile(filepath.Join(proxy, "list"), []byte(version+"\n"), 0o644))
	must(os.WriteFile(filepath.Join(proxy, version+".info"), []byte(`{"Version":"`+version+`"}`), 0o644))

	old, err := exec.Command("go", "env", "GOPROXY", "GOMODCACHE").Output()
	must(err)
	others, cache, _ := strings.Cut(strings.TrimSpace(string(old)), "\n")
	cmd := exec.Command("go", "install", module+"@"+version)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-modcacherw -trimpath", "GOBIN="+dir, "GOMODCACHE="+filepath.Join(dir, "cache"),
		"GOPROXY=file://"+filepath.Join(dir, "proxy")+",file://"+cache+"/cache/download,"+others, "GONOSUMDB="+module)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go install: %v: %s", err, out)
	}
	if out, err = exec.Command(dir+"/runh", "--version").Output(); err != nil || !strings.Contains(string(out), "runh") {
		t.Errorf("its --version: %v, %q", err, out)
	}
}
