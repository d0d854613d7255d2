// The house: the package is flat, so the prefix of a file's name is its folder, and
// houseFloors is the order of the folders, from the kernel's side up. A file calls
// its own floor and those that its row names, and nothing above it.
//
// A use is a use wherever it stands: a function, method, type, constant, variable or
// field that another file declares. Only the type of a struct's field is none: a
// record can hold what it does not understand.

package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// houseFloors are the prefixes, each with those that it may call. ARCHITECTURE.md's
// code map has the same rows.
var houseFloors = []struct{ prefix, calls string }{
	{"base", ""},
	{"seccomp", ""},
	{"oci", "base"},
	{"cgroup", "base"},
	{"program", "base cgroup"},
	{"state", "base cgroup"},
	{"rootfs", "base cgroup program"},
	{"net", "base oci"},
	{"hermit", "base net"},
	{"init", "base seccomp oci cgroup program state rootfs net"},
	{"vm", "base seccomp oci cgroup program state rootfs net hermit init"},
	{"keeper", "base seccomp program state net hermit init vm"},
	{"save", "base oci cgroup program state rootfs net hermit init vm keeper"},
	{"cmd", "base seccomp oci cgroup program state rootfs net hermit init vm keeper save"},
	{"explain", "base oci cgroup program state rootfs net hermit init vm cmd"},
	{"cli", "base keeper cmd explain"},
}

// houseNames are files whose name is their subject.
var houseNames = map[string]string{"create.go": "cmd", "main.go": "cli", "mount.go": "rootfs", "netlink.go": "net", "qemu.go": "vm"}

// housePrefix is the prefix of a file.
func housePrefix(name string) string {
	if prefix, ok := houseNames[name]; ok {
		return prefix
	}
	return name[:strings.IndexAny(name, "_.")]
}

// parsePackage parses the package's own files, without its tests.
func parsePackage(t *testing.T) (*token.FileSet, map[string]*ast.File) {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	set, files := token.NewFileSet(), map[string]*ast.File{}
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		if files[name], err = parser.ParseFile(set, name, nil, parser.ParseComments|parser.SkipObjectResolution); err != nil {
			t.Fatal(err)
		}
	}
	return set, files
}

// noImports has go/types leave every import out: what other packages declare does not
// matter here, and to read it takes seconds.
type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("left out") }

// Every file begins with a comment about itself. Only main.go's belongs to the
// package, so that `go doc .` prints that one and nothing else.
func TestFileHeads(t *testing.T) {
	t.Parallel()
	_, files := parsePackage(t)
	for name, file := range files {
		if (file.Doc != nil) != (name == "main.go") {
			t.Errorf("%s: main.go, and no other file, has its head comment attached to the package clause", name)
		}
		if len(file.Comments) == 0 || file.Comments[0].Pos() > file.Package {
			t.Errorf("%s: no comment at its head", name)
		}
	}
}

func TestHouse(t *testing.T) {
	t.Parallel()
	may := map[string][]string{}
	for _, floor := range houseFloors {
		for _, below := range strings.Fields(floor.calls) {
			if may[below] == nil {
				t.Errorf("the table: %s calls %s, which is not below it", floor.prefix, below)
			}
		}
		may[floor.prefix] = append(strings.Fields(floor.calls), floor.prefix)
	}
	set, files := parsePackage(t)
	var list []*ast.File
	held := map[*ast.Ident]bool{} // types of fields
	empty := maps.Clone(may)
	for name, file := range files {
		if may[housePrefix(name)] == nil {
			t.Errorf("%s: no prefix of the table", name)
		}
		delete(empty, housePrefix(name))
		list = append(list, file)
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					ast.Inspect(f.Type, func(n ast.Node) bool {
						if id, ok := n.(*ast.Ident); ok {
							held[id] = true
						}
						return true
					})
				}
			}
			return true
		})
	}
	for prefix := range empty {
		t.Errorf("the table: no file has the prefix %s", prefix)
	}
	uses := map[*ast.Ident]types.Object{}
	config := types.Config{Importer: noImports{}, Error: func(error) {}}
	pkg, _ := config.Check("main", set, list, &types.Info{Uses: uses}) // errors there are, of what is left out
	wrong, right := map[string][]string{}, map[[2]string]bool{}
	for id, object := range uses {
		if object.Pkg() != pkg || held[id] || !object.Pos().IsValid() {
			continue
		}
		if v, isVar := object.(*types.Var); object.Parent() != pkg.Scope() && object.Parent() != nil || isVar && object.Parent() == nil && !v.IsField() {
			continue // of a function; a method or field has no scope
		}
		from, to := set.Position(id.Pos()).Filename, set.Position(object.Pos()).Filename
		above, below := housePrefix(from), housePrefix(to)
		right[[2]string{above, below}] = true
		if !slices.Contains(may[above], below) {
			what := fmt.Sprintf("%s uses %s of %s: %s_ may not call %s_", from, id.Name, to, above, below)
			wrong[what] = append(wrong[what], set.Position(id.Pos()).String())
		}
	}
	for what, at := range wrong {
		t.Errorf("%s (%s)", what, at[0])
	}
	for prefix, list := range may {
		for _, below := range list {
			if prefix != below && !right[[2]string{prefix, below}] {
				t.Errorf("the table: %s never calls %s", prefix, below)
			}
		}
	}
	if len(right) < 60 {
		t.Errorf("only %d arrows were seen: the package was not understood", len(right))
	}
}

// The code map of ARCHITECTURE.md has a row for each prefix, whose last cell are those that it calls.
func TestHouseMap(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := bytes.Cut(text, []byte("\n## Code map\n"))
	table, _, _ = bytes.Cut(table, []byte("\n## "))
	var rows, want []string
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		first := strings.Trim(strings.TrimSpace(cells[0]), "`")
		if prefix, _, ok := strings.Cut(first, "_"); ok && len(cells) == 3 {
			rows = append(rows, prefix+": "+strings.TrimSpace(cells[2]))
		}
	}
	for _, floor := range houseFloors {
		want = append(want, floor.prefix+": "+strings.ReplaceAll(floor.calls, " ", ", "))
	}
	if !slices.Equal(rows, want) {
		t.Errorf("the code map has\n%s\nwant\n%s", strings.Join(rows, "\n"), strings.Join(want, "\n"))
	}
}

// A test through the binary is known by its file's name: `go test -short` leaves it out, and a contributor knows what it needs.
func TestBlackBoxFiles(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	constructor := regexp.MustCompile(`(?m)^func (new\w+)\(\w+ \*(?:testing\.T|rt)\b`)
	constructors, others := []string{"rtBinary"}, map[string][]byte{}
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains([]string{"runtime", "engine", "docs", "packaging"}, housePrefix(name)) {
			others[name] = text
			continue
		}
		for _, found := range constructor.FindAllSubmatch(text, -1) {
			constructors = append(constructors, string(found[1]))
		}
	}
	uses := regexp.MustCompile(`\b(` + strings.Join(constructors, "|") + `)\(`)
	for name, text := range others {
		if found := uses.Find(text); found != nil {
			t.Errorf("%s uses %s: such a test belongs into a file runtime_*_test.go", name, found)
		}
	}
}

// ARCHITECTURE.md can be read in one sitting.
func TestArchitectureLength(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n > 250 {
		t.Errorf("%d lines: at most 250", n)
	}
}
