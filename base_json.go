// JSON, read without what makes encoding/json slow in a program that
// lives for two milliseconds: at its first use of a type that one builds coders
// for all types reachable from it, and reads every text twice. For Docker's
// config.json that takes 0.75 ms, as much as starting the process, and this
// 0.2. Here a type is looked at only when a value of it turns up.
//
// The reader is stricter than encoding/json in one point: names match exactly,
// as the spec writes them. Otherwise it accepts and rejects the same texts and
// yields the same values; a fuzz test holds it to that. Properties of other
// platforms (the platform tag of runtime-spec: not linux, not vm) and unknown ones are skipped,
// but must be JSON. Errors name the place and the property.

package main

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// jsonDepth bounds nesting: an OCI config needs about ten levels.
const jsonDepth = 1000

type jsonReader struct {
	text  string
	pos   int
	depth int
	types map[reflect.Type][]jsonField
}

type jsonField struct {
	name  string
	index []int
	skip  bool
	omit  bool // when empty; for the writer
}

// decodeJSON stores the JSON in text in what the pointer to points to.
func decodeJSON(text string, to any) error {
	r := jsonReader{text: text, types: map[reflect.Type][]jsonField{}}
	err := r.value(reflect.ValueOf(to).Elem())
	if err == nil {
		if r.space(); r.pos < len(r.text) {
			err = r.unexpected("after the end of the value")
		}
	}
	if err != nil {
		before := r.text[:min(r.pos, len(r.text))]
		line := 1 + strings.Count(before, "\n")
		return fmt.Errorf("line %d, column %d: %w", line, len(before)-strings.LastIndexByte(before, '\n'), err)
	}
	return nil
}

// value reads one value into v; null leaves the zero value. An invalid v takes
// any value and drops it.
func (r *jsonReader) value(v reflect.Value) error {
	c := r.next()
	if c == 'n' {
		if v.IsValid() {
			v.SetZero()
		}
		return r.word("null")
	}
	if !v.IsValid() {
		return r.skip(c)
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return r.value(v.Elem())
	}
	switch kind := v.Kind(); {
	case v.Type() == reflect.TypeFor[time.Time]() && c == '"':
		return r.time(v)
	case kind == reflect.Struct && c == '{':
		return r.object(func(key string) error { return r.value(r.field(v, key)) })
	case kind == reflect.Map && c == '{':
		return r.mapping(v)
	case kind == reflect.Slice && c == '[':
		return r.list(v)
	case kind == reflect.String && c == '"':
		s, err := r.string()
		v.SetString(s)
		return err
	case kind == reflect.Bool && (c == 't' || c == 'f'):
		v.SetBool(c == 't')
		return r.skip(c)
	case v.CanInt() && (c == '-' || c >= '0' && c <= '9'):
		return r.number(v, func(s string) error {
			n, err := strconv.ParseInt(s, 10, v.Type().Bits())
			v.SetInt(n)
			return err
		})
	case v.CanUint() && (c == '-' || c >= '0' && c <= '9'):
		return r.number(v, func(s string) error {
			n, err := strconv.ParseUint(s, 10, v.Type().Bits())
			v.SetUint(n)
			return err
		})
	}
	// A value of another type; if it is a value at all.
	start := r.pos
	if err := r.skip(c); err != nil {
		return err
	}
	r.pos = start
	return fmt.Errorf("a JSON %s where %s is wanted", jsonKind(c), wantedKind(v.Type()))
}

// field finds the place for a property: invalid if there is none.
func (r *jsonReader) field(v reflect.Value, key string) reflect.Value {
	fields, ok := r.types[v.Type()]
	if !ok {
		fields = jsonFields(nil, v.Type(), nil)
		r.types[v.Type()] = fields
	}
	for i := range fields {
		if fields[i].name == key && !fields[i].skip {
			return v.FieldByIndex(fields[i].index)
		}
	}
	return reflect.Value{}
}

// jsonFields lists the properties of a struct, those of embedded structs among
// them.
func jsonFields(to []jsonField, t reflect.Type, index []int) []jsonField {
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(index[:len(index):len(index)], i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && tag == "" {
			to = jsonFields(to, f.Type, at)
			continue
		}
		if tag == "" {
			tag = f.Name
		}
		platform := f.Tag.Get("platform")
		to = append(to, jsonField{
			name: tag, index: at, omit: options == "omitempty",
			skip: tag == "-" || !f.IsExported() || platform != "" && !strings.Contains(platform, "linux") && platform != "vm",
		})
	}
	return to
}

// object calls member for each property, which must read its value.
func (r *jsonReader) object(member func(key string) error) error {
	if r.depth++; r.depth > jsonDepth {
		return fmt.Errorf("%w: more than %d levels", errJSON, jsonDepth)
	}
	r.pos++
	for first := true; !r.take('}'); first = false {
		if !first && !r.take(',') {
			return r.unexpected("where ',' or '}' is wanted")
		}
		if r.next() != '"' {
			return r.unexpected("where a property is wanted")
		}
		key, err := r.string()
		if err != nil {
			return err
		}
		if !r.take(':') {
			return r.unexpected("where ':' is wanted")
		}
		if err := member(key); err != nil {
			return inside(key, err)
		}
	}
	r.depth--
	return nil
}

// array calls element for each of them, which must read its value.
func (r *jsonReader) array(element func(i int) error) error {
	if r.depth++; r.depth > jsonDepth {
		return fmt.Errorf("%w: more than %d levels", errJSON, jsonDepth)
	}
	r.pos++
	for i := 0; !r.take(']'); i++ {
		if i > 0 && !r.take(',') {
			return r.unexpected("where ',' or ']' is wanted")
		}
		if err := element(i); err != nil {
			return inside("["+strconv.Itoa(i)+"]", err)
		}
	}
	r.depth--
	return nil
}

// A jsonPathError says in which property a value has the wrong type.
type jsonPathError struct {
	path string
	err  error
}

func (e *jsonPathError) Error() string { return e.path + ": " + e.err.Error() }
func (e *jsonPathError) Unwrap() error { return e.err }

func inside(name string, err error) error {
	var in *jsonPathError
	switch {
	case errors.Is(err, errJSON):
		return err // the place says all
	case !errors.As(err, &in):
		return &jsonPathError{name, err}
	case !strings.HasPrefix(in.path, "["):
		name += "."
	}
	in.path = name + in.path
	return in
}

func (r *jsonReader) list(v reflect.Value) error {
	if list, ok := v.Addr().Interface().(*[]string); ok {
		*list = []string{}
		return r.array(func(int) error {
			if r.next() != '"' {
				var s string
				err := r.value(reflect.ValueOf(&s).Elem())
				*list = append(*list, s)
				return err
			}
			s, err := r.string()
			*list = append(*list, s)
			return err
		})
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	return r.array(func(i int) error {
		v.Grow(1)
		v.SetLen(i + 1)
		v.Index(i).SetZero()
		return r.value(v.Index(i))
	})
}

func (r *jsonReader) mapping(v reflect.Value) error {
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	return r.object(func(key string) error {
		to := reflect.New(v.Type().Elem()).Elem()
		err := r.value(to)
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), to)
		return err
	})
}

func (r *jsonReader) time(v reflect.Value) error {
	start := r.pos
	s, err := r.string()
	if err != nil {
		return err
	}
	if v.Addr().Interface().(*time.Time).UnmarshalText([]byte(s)) != nil {
		r.pos = start
		return fmt.Errorf("%q is not a time such as 2026-11-23T15:00:00Z", s)
	}
	return nil
}

// number reads a whole number for v with parse.
func (r *jsonReader) number(v reflect.Value, parse func(string) error) error {
	start := r.pos
	if err := r.skipNumber(); err != nil {
		return err
	}
	s := r.text[start:r.pos]
	err := parse(s)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, strconv.ErrRange):
		err = fmt.Errorf("%s is out of range for %s", s, wantedKind(v.Type()))
	default:
		err = fmt.Errorf("%s is not %s", s, wantedKind(v.Type()))
	}
	r.pos = start
	return err
}

func jsonKind(c byte) string {
	switch {
	case c == '{':
		return "object"
	case c == '[':
		return "array"
	case c == '"':
		return "string"
	case c == 't' || c == 'f':
		return "bool"
	}
	return "number"
}

func wantedKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice:
		return "an array"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		return fmt.Sprintf("a whole number from 0 to %d", uint64(math.MaxUint64)>>(64-t.Bits()))
	}
	return fmt.Sprintf("a whole number of %d bits", t.Bits())
}
