// TOML: runh's own configuration, and those of containerd and CRI-O, which
// `runh install` edits. The parser is go-toml's. Its decoder, which would bring
// encoding/json, is not linked: this file makes tables of what the parser reads.
//
// Contract: it refuses what go-toml's decoder refuses, with the line (FuzzReadTOML
// compares the two). No table or key is defined twice, and nothing is added to a
// value from outside. A date or time is its own text, which nothing looks into.

package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// tomlNode is a table while the document is read. Its keys hold a *tomlNode, a
// []*tomlNode (an array of tables) or a value.
type tomlNode struct {
	keys map[string]any
	from tomlOrigin
}

// tomlOrigin decides who may add to a table.
type tomlOrigin int

const (
	tomlPath   tomlOrigin = iota // a header names a table below it; a header of its own may follow
	tomlHeader                   // it has had its header
	tomlDotted                   // dotted keys have made it, and only they add to it
	tomlInline                   // in braces: it is whole
)

func newTOMLNode(from tomlOrigin) *tomlNode { return &tomlNode{map[string]any{}, from} }

// tomlReader reads one document.
type tomlReader struct {
	parser  unstable.Parser
	root    *tomlNode
	current *tomlNode // of the last header
}

// readTOML reads a document: values are strings, bools, int64, float64, []any and
// map[string]any.
func readTOML(data []byte) (map[string]any, error) {
	r := &tomlReader{root: newTOMLNode(tomlHeader)}
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
	return r.root.plain(), err
}

// at adds the line of the expression's key.
func (r *tomlReader) at(node *unstable.Node, err error) error {
	keys := node.Key()
	keys.Next()
	return fmt.Errorf("line %d: toml: %w", r.parser.Shape(keys.Node().Raw).Start.Line, err)
}

// plain is the table without its origins.
func (t *tomlNode) plain() map[string]any {
	for key, v := range t.keys {
		t.keys[key] = plainTOML(v)
	}
	return t.keys
}

func plainTOML(v any) any {
	switch v := v.(type) {
	case *tomlNode:
		return v.plain()
	case []*tomlNode:
		list := []any{}
		for _, t := range v {
			list = append(list, t.plain())
		}
		return list
	case []any:
		for i := range v {
			v[i] = plainTOML(v[i])
		}
	}
	return v
}

func (r *tomlReader) expression(node *unstable.Node) error {
	path := tomlKeys(node)
	switch node.Kind {
	case unstable.KeyValue:
		return r.set(r.current, path, node.Value())
	case unstable.Table:
		return r.open(path)
	case unstable.ArrayTable:
		return r.append(path)
	}
	return nil
}

func tomlKeys(node *unstable.Node) (path []string) {
	for keys := node.Key(); keys.Next(); {
		path = append(path, string(keys.Node().Data))
	}
	return path
}

// open is a header [PATH].
func (r *tomlReader) open(path []string) error {
	parent, last, err := r.above(path)
	if err != nil {
		return err
	}
	switch t := parent.keys[last].(type) {
	case nil:
		r.current = newTOMLNode(tomlHeader)
		parent.keys[last] = r.current
		return nil
	case *tomlNode:
		if t.from == tomlPath {
			t.from, r.current = tomlHeader, t
			return nil
		}
		return fmt.Errorf("table %w", twice(path))
	}
	return noTable(path)
}

// append is a header [[PATH]].
func (r *tomlReader) append(path []string) error {
	parent, last, err := r.above(path)
	if err != nil {
		return err
	}
	list, isList := parent.keys[last].([]*tomlNode)
	if parent.keys[last] != nil && !isList {
		return twice(path)
	}
	r.current = newTOMLNode(tomlHeader)
	parent.keys[last] = append(list, r.current)
	return nil
}

// above goes down to the table that holds the last key of a header. It makes
// tables on the way; of an array it takes the last one.
func (r *tomlReader) above(path []string) (t *tomlNode, last string, err error) {
	t = r.root
	for i, key := range path[:len(path)-1] {
		switch next := t.keys[key].(type) {
		case nil:
			made := newTOMLNode(tomlPath)
			t.keys[key], t = made, made
			continue
		case *tomlNode:
			if next.from != tomlInline {
				t = next
				continue
			}
		case []*tomlNode:
			t = next[len(next)-1]
			continue
		}
		return nil, "", noTable(path[:i+1])
	}
	return t, path[len(path)-1], nil
}

// set gives a table a key, which may have dots.
func (r *tomlReader) set(t *tomlNode, path []string, node *unstable.Node) (err error) {
	last := len(path) - 1
	for i, key := range path[:last] {
		next, isTable := t.keys[key].(*tomlNode)
		switch {
		case t.keys[key] == nil:
			next = newTOMLNode(tomlDotted)
			t.keys[key] = next
		case !isTable || next.from != tomlDotted:
			return fmt.Errorf("%w that dotted keys add to", noTable(path[:i+1]))
		}
		t = next
	}
	if t.keys[path[last]] != nil {
		return twice(path)
	}
	t.keys[path[last]], err = r.value(node)
	return err
}

func twice(path []string) error { return fmt.Errorf("%s is there twice", strings.Join(path, ".")) }

func noTable(path []string) error { return fmt.Errorf("%s is no table", strings.Join(path, ".")) }

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
		t := newTOMLNode(tomlInline)
		for children := node.Children(); children.Next(); {
			if err := r.set(t, tomlKeys(children.Node()), children.Node().Value()); err != nil {
				return nil, err
			}
		}
		return t, nil
	}
	return text, nil // a string, or a date
}
