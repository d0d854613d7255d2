// TOML: what a document means, and what is refused.

package main

import (
	"reflect"
	"strings"
	"testing"
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
	want := tomlTable{
		"a": "x\ty", "b c": []any{int64(1), int64(31), int64(-2), int64(1000)}, "d": tomlTable{"e": true}, "f": `C:\n`, "when": "1979-05-27",
		"t":    tomlTable{"n": tomlTable{"x": int64(1), "y": tomlTable{"z": []any{tomlTable{"q": int64(2)}}}}, "u": tomlTable{"f": 1.5}},
		"list": []any{tomlTable{"k": int64(1), "sub": tomlTable{}}, tomlTable{"k": int64(2), "sub": tomlTable{"s": "more"}}},
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

// A document is read or refused, whatever it is.
func FuzzReadTOML(f *testing.F) {
	for _, text := range []string{"a = 1", "[a]\nb = {c = [1, {d = 2}]}", "[[a]]\n[a.b]\n[[a.c]]", "a.b.c = 'x'", "a = [", "a = 1979-05-27T07:32:00Z"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := readTOML(data); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("more than one line: %q", err)
		}
	})
}
