// JSON, written: the other half of base_json.go, for the same reason.

package main

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// encodeJSON writes v as encoding/json does, but for the escapes of HTML. With an
// indent each member has a line.
func encodeJSON(v any, indent string) []byte {
	w := jsonWriter{indent: indent, types: map[reflect.Type][]jsonField{}}
	w.value(reflect.ValueOf(v), 0)
	return w.out
}

type jsonWriter struct {
	out    []byte
	indent string
	types  map[reflect.Type][]jsonField
}

func (w *jsonWriter) value(v reflect.Value, depth int) {
	switch kind := v.Kind(); {
	case kind == reflect.Invalid || (kind == reflect.Pointer || kind == reflect.Slice || kind == reflect.Map) && v.IsNil():
		w.out = append(w.out, "null"...)
	case kind == reflect.Pointer || kind == reflect.Interface:
		w.value(v.Elem(), depth)
	case v.Type() == reflect.TypeFor[time.Time]():
		w.string(v.Interface().(time.Time).Format(time.RFC3339Nano))
	case kind == reflect.Struct:
		w.object(v, depth)
	case kind == reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		w.list('{', '}', len(keys), depth, func(i int) {
			w.string(keys[i].String())
			w.colon()
			w.value(v.MapIndex(keys[i]), depth+1)
		})
	case kind == reflect.Slice || kind == reflect.Array:
		w.list('[', ']', v.Len(), depth, func(i int) { w.value(v.Index(i), depth+1) })
	case kind == reflect.String:
		w.string(v.String())
	case kind == reflect.Bool:
		w.out = strconv.AppendBool(w.out, v.Bool())
	case v.CanInt():
		w.out = strconv.AppendInt(w.out, v.Int(), 10)
	case v.CanUint():
		w.out = strconv.AppendUint(w.out, v.Uint(), 10)
	case v.CanFloat():
		w.out = strconv.AppendFloat(w.out, v.Float(), 'f', -1, 64)
	default:
		panic(fmt.Sprintf("BUG: no JSON for %s", v.Type()))
	}
}

func (w *jsonWriter) object(v reflect.Value, depth int) {
	fields, ok := w.types[v.Type()]
	if !ok {
		fields = jsonFields(nil, v.Type(), nil)
		w.types[v.Type()] = fields
	}
	members := make([]int, 0, len(fields))
	for i, f := range fields {
		if !f.skip && !(f.omit && jsonEmpty(v.FieldByIndex(f.index))) {
			members = append(members, i)
		}
	}
	w.list('{', '}', len(members), depth, func(i int) {
		f := fields[members[i]]
		w.string(f.name)
		w.colon()
		w.value(v.FieldByIndex(f.index), depth+1)
	})
}

// jsonEmpty is what omitempty leaves out: structs never.
func jsonEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

func (w *jsonWriter) list(open, end byte, n, depth int, member func(i int)) {
	w.out = append(w.out, open)
	for i := range n {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.line(depth + 1)
		member(i)
	}
	if n > 0 {
		w.line(depth)
	}
	w.out = append(w.out, end)
}

func (w *jsonWriter) line(depth int) {
	if w.indent == "" {
		return
	}
	w.out = append(w.out, '\n')
	for range depth {
		w.out = append(w.out, w.indent...)
	}
}

func (w *jsonWriter) colon() {
	w.out = append(w.out, ':')
	if w.indent != "" {
		w.out = append(w.out, ' ')
	}
}

func (w *jsonWriter) string(s string) {
	w.out = append(w.out, '"')
	w.out = appendJSON(w.out, s)
	w.out = append(w.out, '"')
}

// appendJSON escapes s as the inside of a JSON string; bytes that are not UTF-8
// become the replacement character.
func appendJSON(b []byte, s string) []byte {
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, '\\', 'n')
		case r == '\t':
			b = append(b, '\\', 't')
		case r < ' ':
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// replaceJSON puts value in the place that path leads to from the object in
// text, and leaves every other byte as it is. A member that is missing is added.
func replaceJSON(text string, value []byte, path ...string) (string, error) {
	r := jsonReader{text: text}
	p, err := r.place(path)
	if err == nil {
		if r.space(); r.pos < len(text) {
			err = r.unexpected("after the end of the value")
		}
	}
	return text[:p.start] + p.before + string(value) + p.after + text[p.end:], err
}

// A jsonPlace is where a value stands, or is to be put, and what goes around it
// there.
type jsonPlace struct {
	start, end    int
	before, after string
}

// place finds path in the object that is next.
func (r *jsonReader) place(path []string) (p jsonPlace, err error) {
	if r.next() != '{' {
		return p, r.unexpected("where an object is wanted")
	}
	// If nothing is found: at the object's beginning.
	start := r.pos + 1
	p = jsonPlace{start, start, jsonPath(path), strings.Repeat("}", len(path)-1)}
	if !strings.HasPrefix(strings.TrimLeft(r.text[start:], " \t\r\n"), "}") {
		p.after += ","
	}
	err = r.object(func(key string) (err error) {
		switch {
		case key != path[0]:
			return r.value(reflect.Value{})
		case len(path) > 1 && r.next() == '{':
			p, err = r.place(path[1:])
			return err
		}
		r.space()
		start := r.pos
		err = r.value(reflect.Value{})
		p = jsonPlace{start: start, end: r.pos}
		if len(path) > 1 { // null, where an object is wanted
			p.before, p.after = "{"+jsonPath(path[1:]), strings.Repeat("}", len(path)-1)
		}
		return err
	})
	return p, err
}

// jsonPath begins an object in an object and so on: "a":{"b":
func jsonPath(path []string) string { return `"` + strings.Join(path, `":{"`) + `":` }

// cutJSON takes the member that path leads to out of the object in text, and the objects around it that have no other. Every other
// byte stays as it is, as does a text without that member.
func cutJSON(text string, path ...string) (string, error) {
	r := jsonReader{text: text}
	start, end, _, err := r.member(path)
	return text[:start] + text[end:], err
}

// member finds where the member and a comma beside it stand, and whether the object is empty without it.
func (r *jsonReader) member(path []string) (start, end int, only bool, err error) {
	if r.next() != '{' {
		return 0, 0, false, r.unexpected("where an object is wanted")
	}
	members, found, last := 0, -1, r.pos+1 // the end of the member before
	err = r.object(func(key string) (err error) {
		begin, whole := last, key == path[0] && len(path) == 1
		if key == path[0] && !whole && r.next() == '{' {
			start, end, whole, err = r.member(path[1:])
		} else {
			r.space()
			err = r.value(reflect.Value{})
		}
		if whole {
			found, start, end = members, begin, r.pos
		}
		members++
		last = r.pos
		return err
	})
	if found == 0 && members > 1 { // the comma after it; of all others the one before
		end += strings.IndexByte(r.text[end:], ',') + 1
	}
	return start, end, found == 0 && members == 1, err
}
