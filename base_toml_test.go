// TOML: what a document means, and what is refused.

package main

import (
	"bytes"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func TestReadTOML(t *testing.T) {
	const text = `
a = "x\ty" # a comment
"b c" = [1, 0x1f, -2, 1_000]
d.e = true
f = 'C:\n'
when = 1979-05-27
[t]
n = { x = 1, y.z = [ { q = 2 } ] }
[t.u]
f = 1.5
[[list]]
k = 1
[list.sub]
[[list]]
k = 2
[list.sub]
s = """
more"""
`
	want := map[string]any{
		"a": "x\ty", "b c": []any{int64(1), int64(31), int64(-2), int64(1000)}, "d": map[string]any{"e": true}, "f": `C:\n`, "when": "1979-05-27",
		"t":    map[string]any{"n": map[string]any{"x": int64(1), "y": map[string]any{"z": []any{map[string]any{"q": int64(2)}}}}, "u": map[string]any{"f": 1.5}},
		"list": []any{map[string]any{"k": int64(1), "sub": map[string]any{}}, map[string]any{"k": int64(2), "sub": map[string]any{"s": "more"}}},
	}
	if got, err := readTOML([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\nread %#v\nwant %#v", err, got, want)
	}
	for _, x := range []struct{ text, err string }{
		{"a = 1\nb = 2\na = 3", "line 3: toml: a is there twice"},
		{"[a]\n[b]\n[a]", "line 3: toml: table a is there twice"},
		{"a = 1\n[a]", "line 2: toml: a is no table"},
		{"a = {}\n[a.b]", "line 2: toml: a is no table"},
		{"a = {}\na.b = 1", "line 2: toml: a is no table"},
		{"a.b = 1\n[a]", "line 2: toml: table a is there twice"},
		{"[a]\nb.c = 1\n[a.b]", "line 3: toml: table a.b is there twice"},
		{"[a.b]\n[a]\nb.c = 1", "line 3: toml: b is no table that dotted keys add to"},
		{"a = [{b = 1}]\n[[a]]", "line 2: toml: a is there twice"},
		{"a = [{b = 1}]\n[a.c]", "line 2: toml: a is no table"},
		{"a = 1\n[[a]]", "line 2: toml: a is there twice"},
		{"a = [1]\n[a.b]", "line 2: toml: a is no table"},
		{"a = 99999999999999999999", "line 1: toml: "},
		{"\na =", "line 2: toml: "},
		{"a = \"", "line 1: toml: "},
		{"a = 012", "line 1: toml: "},
		{"\xff = 1", "line 1: toml: "},
	} {
		if got, err := readTOML([]byte(x.text)); err == nil || !strings.HasPrefix(err.Error(), x.err) {
			t.Errorf("%q: %v, %v, want %q", x.text, got, err, x.err)
		}
	}
}

var tomlDate = regexp.MustCompile(`[0-9][-:]`)

// A document is read, and refused, as by the decoder of the same library.
func FuzzReadTOML(f *testing.F) {
	for _, text := range []string{
		"a = 1", "[a]\nb = {c = [1, {d = 2}]}", "[[a]]\n[a.b]\n[[a.c]]", "a.b.c = 'x'", "a = [", "a = 1979-05-27T07:32:00Z",
		"[a.b]\n[a]\nb.c = 1", "[a.b.c]\n[a]\nb.d = 1", "[a]\nb.c = 1\n[a.b.d]", "a.b = 1\n[a.c]", "a = [{}]\n[[a]]", "[[a]]\nb.c = 1\n[[a]]\nb.c = 2", "[[a.b]]\n[a]", "[a]\n[[a.b]]\n[a.b.c]\n[[a.b]]\n[a.b.c]",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := readTOML(data)
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("more than one line: %q", err)
		}
		if tomlDate.Match(data) { // which is a text here, and not looked into
			return
		}
		var want map[string]any
		wanted := toml.Unmarshal(data, &want)
		if (err == nil) != (wanted == nil) {
			t.Errorf("%q: %v, and the decoder says %v", data, err, wanted)
		}
		if err == nil && !bytes.Contains(data, []byte("nan")) && len(want)+len(got) > 0 && !reflect.DeepEqual(got, want) { // nan is like nothing
			t.Errorf("%q: %#v, and the decoder reads %#v", data, got, want)
		}
	})
}
