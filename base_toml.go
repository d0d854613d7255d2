// TOML: runh's own configuration, and those of containerd and CRI-O, which
// `runh install` edits. The parser is go-toml's; its decoder, which would bring
// encoding/json, is not linked. What a document means is put together here.
//
// Contract: a table that is defined twice, a key that is given twice, and what is
// added to an inline table from outside are errors, with the line. Dates and times
// are their own texts.

package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

type tomlTable = map[string]any

// tomlInline is a table in braces, until all is read: nothing is added to it.
type tomlInline tomlTable

// tomlReader reads one document.
type tomlReader struct {
	parser  unstable.Parser
	root    tomlTable
	current tomlTable       // of the last header
	headers map[string]bool // tables that have had theirs
}

// readTOML reads a document: values are strings, bools, int64, float64, []any and
// tables.
func readTOML(data []byte) (tomlTable, error) {
	r := &tomlReader{root: tomlTable{}, headers: map[string]bool{}}
	r.current = r.root
	r.parser.Reset(data)
	for r.parser.NextExpression() {
		node := r.parser.Expression()
		if err := r.expression(node); err != nil {
			return nil, r.at(node, err)
		}
	}
	err := r.parser.Error()
	var said *unstable.ParserError
	if errors.As(err, &said) {
		return nil, fmt.Errorf("line %d: toml: %s", r.parser.Shape(r.parser.Range(said.Highlight)).Start.Line, said.Message)
	}
	return plainTOML(r.root).(tomlTable), err
}

// plainTOML makes ordinary tables of inline ones.
func plainTOML(v any) any {
	switch v := v.(type) {
	case tomlInline:
		return plainTOML(tomlTable(v))
	case tomlTable:
		for key := range v {
			v[key] = plainTOML(v[key])
		}
	case []any:
		for i := range v {
			v[i] = plainTOML(v[i])
		}
	}
	return v
}

// at adds the line.
func (r *tomlReader) at(node *unstable.Node, err error) error {
	keys := node.Key()
	for keys.Next() {
		return fmt.Errorf("line %d: toml: %w", r.parser.Shape(keys.Node().Raw).Start.Line, err)
	}
	return err
}

func (r *tomlReader) expression(node *unstable.Node) (err error) {
	path := keysOf(node)
	switch node.Kind {
	case unstable.KeyValue:
		return r.set(r.current, path, node.Value())
	case unstable.Table:
		name := strings.Join(path, "\x00")
		if r.headers[name] {
			return fmt.Errorf("table %s is there twice", strings.Join(path, "."))
		}
		r.headers[name] = true
		r.current, err = r.walk(r.root, path)
	case unstable.ArrayTable:
		parent, err := r.walk(r.root, path[:len(path)-1])
		if err != nil {
			return err
		}
		last := path[len(path)-1]
		list, isList := parent[last].([]any)
		if parent[last] != nil && !isList {
			return fmt.Errorf("%s is there twice", strings.Join(path, "."))
		}
		r.current = tomlTable{}
		parent[last] = append(list, r.current)
		r.headers = map[string]bool{} // what is below begins anew
	}
	return err
}

func keysOf(node *unstable.Node) (path []string) {
	for keys := node.Key(); keys.Next(); {
		path = append(path, string(keys.Node().Data))
	}
	return path
}

// walk goes down to a table, and makes what is missing. Of an array it takes the
// last table.
func (r *tomlReader) walk(t tomlTable, path []string) (tomlTable, error) {
	for i, key := range path {
		switch next := t[key].(type) {
		case nil:
			made := tomlTable{}
			t[key] = made
			t = made
		case tomlTable:
			t = next
		case []any:
			last, ok := lastOf(next).(tomlTable)
			if !ok {
				return nil, fmt.Errorf("%s is no table", strings.Join(path[:i+1], "."))
			}
			t = last
		default:
			return nil, fmt.Errorf("%s is no table", strings.Join(path[:i+1], "."))
		}
	}
	return t, nil
}

func lastOf(list []any) any {
	if len(list) == 0 {
		return nil
	}
	return list[len(list)-1]
}

func (r *tomlReader) set(t tomlTable, path []string, node *unstable.Node) error {
	t, err := r.walk(t, path[:len(path)-1])
	if err != nil {
		return err
	}
	key := path[len(path)-1]
	if _, there := t[key]; there {
		return fmt.Errorf("%s is there twice", strings.Join(path, "."))
	}
	t[key], err = r.value(node)
	return err
}

func (r *tomlReader) value(node *unstable.Node) (any, error) {
	text := string(node.Data)
	switch node.Kind {
	case unstable.Bool:
		return text == "true", nil
	case unstable.Integer:
		return strconv.ParseInt(text, 0, 64) // with TOML's prefixes and underscores, which are Go's
	case unstable.Float:
		return strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	case unstable.Array:
		list := []any{}
		for children := node.Children(); children.Next(); {
			v, err := r.value(children.Node())
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case unstable.InlineTable:
		t := tomlTable{}
		for children := node.Children(); children.Next(); {
			if err := r.set(t, keysOf(children.Node()), children.Node().Value()); err != nil {
				return nil, err
			}
		}
		return tomlInline(t), nil
	}
	return text, nil // a string, or a date
}
