// The house: files that say what they are.

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

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
