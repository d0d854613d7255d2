package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// jsonSample has a property of every kind that a config or a record has.
type jsonSample struct {
	S     string            `json:"s"`
	B     bool              `json:"b"`
	I     int               `json:"i"`
	I64   int64             `json:"i64"`
	U16   uint16            `json:"u16"`
	U64   uint64            `json:"u64"`
	P     *uint32           `json:"p,omitempty"`
	L     []string          `json:"l"`
	M     map[string]string `json:"m,omitempty"`
	T     time.Time         `json:"t"`
	Child *jsonSample       `json:"child,omitempty"`
	List  []jsonSample      `json:"list,omitempty"`
	Named map[string]specs.LinuxTimeOffset
	specs.LinuxBlockIODevice
}

func TestJSONSample(t *testing.T) {
	n := uint32(7)
	sample := jsonSample{
		S: "a\"b\\c\n\t\x01é\U0001F600<&>\u2028", B: true, I: -5, I64: -1 << 63, U16: 65535, U64: 1<<64 - 1, P: &n,
		L: []string{"", "x"}, M: map[string]string{"b": "2", "a": "1"}, T: time.Date(2026, 11, 23, 15, 0, 0, 5, time.UTC),
		Child: &jsonSample{L: []string{}}, List: []jsonSample{{}, {I: 3}},
		Named: map[string]specs.LinuxTimeOffset{"boottime": {Secs: 9}},
	}
	sample.Major = 8
	for _, indent := range []string{"", "\t"} {
		out := encodeJSON(&sample, indent)
		var std, own jsonSample
		if err := json.Unmarshal(out, &std); err != nil || !reflect.DeepEqual(std, sample) {
			t.Errorf("encoding/json reads %s: %+v, %v", out, std, err)
		}
		if err := decodeJSON(string(out), &own); err != nil || !reflect.DeepEqual(own, sample) {
			t.Errorf("decodeJSON reads %s: %+v, %v", out, own, err)
		}
	}
}

// What is written of real values is what encoding/json would write.
func TestJSONLikeStandard(t *testing.T) {
	docker := dockerConfig(t)
	for name, v := range map[string]any{
		"docker": docker, "example": exampleSpec(nil), "features": supported(), "none": []containerView(nil),
		"hook state": specs.State{Version: "1.0.0", ID: "x", Status: specs.StateCreating, Pid: 3},
		"record":     &state{Magic: stateMagic, Created: time.Now().UTC(), Cgroup: cgroupState{Paths: map[string]string{"": "/x"}}},
	} {
		for _, indent := range []string{"", "  "} {
			var want bytes.Buffer
			enc := json.NewEncoder(&want)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", indent)
			if err := enc.Encode(v); err != nil {
				t.Fatal(err)
			}
			if got := string(encodeJSON(v, indent)) + "\n"; got != want.String() {
				t.Errorf("%s:\n%s\nwant\n%s", name, got, want.String())
			}
		}
	}
}

func dockerConfig(t testing.TB) *specs.Spec {
	data, err := os.ReadFile("testdata/docker-config.json")
	if err != nil {
		t.Fatal(err)
	}
	var std, own specs.Spec
	if err := json.Unmarshal(data, &std); err != nil {
		t.Fatal(err)
	}
	if err := decodeJSON(string(data), &own); err != nil || !reflect.DeepEqual(std, own) {
		t.Fatalf("Docker's config is read differently: %v", err)
	}
	return &own
}

func TestJSONErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", "line 1, column 1: not JSON: the text ends where a value is wanted"},
		{"{", "line 1, column 2: not JSON: the text ends where a property is wanted"},
		{"{\n  \"process\": {,}}", "line 2, column 15: not JSON: ',' where a property is wanted"},
		{"{\"ociVersion\": \"1.0.0\"\n\"process\": 1}", "line 2, column 1: not JSON: '\"' where ',' or '}' is wanted"},
		{`{"ociVersion": "1.0.0"} x`, "line 1, column 25: not JSON: 'x' after the end of the value"},
		{`{"ociVersion" "1.0.0"}`, "line 1, column 15: not JSON: '\"' where ':' is wanted"},
		{`{"process": {"args": [1]}}`, "line 1, column 23: process.args[0]: a JSON number where a string is wanted"},
		{`{"process": {"args": "sh"}}`, "line 1, column 22: process.args: a JSON string where an array is wanted"},
		{`{"process": {"user": {"uid": -1}}}`, "line 1, column 30: process.user.uid: -1 is not a whole number from 0 to 4294967295"},
		{`{"process": {"user": {"uid": 4294967296}}}`, "line 1, column 30: process.user.uid: 4294967296 is out of range for a whole number from 0 to 4294967295"},
		{`{"process": {"user": {"uid": 1e3}}}`, "line 1, column 30: process.user.uid: 1e3 is not a whole number from 0 to 4294967295"},
		{`{"process": {"user": {"uid": "0"}}}`, "line 1, column 30: process.user.uid: a JSON string where a whole number from 0 to 4294967295 is wanted"},
		{`{"mounts": [{"destination": "/x"}, {"options": {}}]}`, "line 1, column 48: mounts[1].options: a JSON object where an array is wanted"},
		{`{"root": {"readonly": "yes"}}`, "line 1, column 23: root.readonly: a JSON string where true or false is wanted"},
		{`{"annotations": {"a": 1}}`, "line 1, column 23: annotations.a: a JSON number where a string is wanted"},
		{`[]`, "line 1, column 1: a JSON array where an object is wanted"},
		{`{"x": tru}`, "line 1, column 10: not JSON: '}' in true"},
		{`{"x": 01}`, "line 1, column 8: not JSON: '1' where ',' or '}' is wanted"},
		{`{"x": "\q"}`, `line 1, column 9: not JSON: 'q' after \ in a string`},
		{"{\"x\": \"a\nb\"}", `line 1, column 9: not JSON: '\n' in a string`},
		{strings.Repeat("[", 1001), "not JSON: more than 1000 levels"},
		{"\ufeff{}", "line 1, column 1: not JSON: '\\ufeff' where a value is wanted"},
	}
	for _, x := range tests {
		var spec specs.Spec
		to := any(&spec)
		if x.text != "[]" && strings.HasPrefix(x.text, "[") {
			to = &jsonAnything{}
		}
		if err := decodeJSON(x.text, to); err == nil || !strings.HasSuffix(err.Error(), x.want) {
			t.Errorf("%.60q: error %v, want %s", x.text, err, x.want)
		}
	}
}

// jsonAnything takes an array of whatever.
type jsonAnything []struct{}

// Other platforms' properties and unknown ones are skipped, whatever they hold.
func TestJSONSkips(t *testing.T) {
	var spec specs.Spec
	err := decodeJSON(`{"windows": 5, "zos": [], "solaris": "x", "nosuch": {"a": [1, -2.5e+3, "\u00e9", null, true]},
		"OCIVersion": 1, "process": null, "hostname": "h", "linux": {"nosuch": 1}}`, &spec)
	if err != nil || spec.Hostname != "h" || spec.Process != nil || spec.Linux == nil || spec.Version != "" {
		t.Errorf("%+v, %v", spec, err)
	}
}

// FuzzJSON holds decodeJSON to encoding/json: the same texts are JSON, and what
// both can read they read alike.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`{"s":"x","b":true,"i":-1,"l":["a",null],"m":{"a":"b"},"t":"2026-11-23T15:00:00.5+01:00","child":{"list":[{},null]}}`,
		`{"s":"\ud83d\ude00\ud83d\u0041\udc00\u0000","p":4294967295,"u16":65536}`, "{\"s\":\"\xff\\n\xc3\"}",
		`{"Named":{"a":{"secs":1}},"major":5,"i64":-9223372036854775808}`, ` [1] `, `"x`, `{"i":1.0}`, `{"i":-0}`, `nul`, `null`,
		`{"a":1,}`, `[01]`, `{"s":"a","S":"b"}`, "{\"s\":\"\\ud800\"}", `{"t":"2026-11-23t15:00:00Z"}`, `{"m":{"":000`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var own, std jsonSample
		ownErr := decodeJSON(text, &own)
		// A wrong type is reported before the rest is looked at.
		switch valid := json.Valid([]byte(text)); {
		case valid && errors.Is(ownErr, errJSON) && strings.Count(text, "[")+strings.Count(text, "{") < jsonDepth,
			!valid && ownErr == nil:
			t.Fatalf("valid: %v, error: %v", valid, ownErr)
		}
		if ownErr != nil && !utf8.ValidString(oneLine(ownErr.Error())) {
			t.Fatalf("error is not UTF-8: %q", ownErr)
		}
		// encoding/json folds case, and merges properties given twice.
		var any any
		if errors.Is(ownErr, errJSON) || json.Unmarshal([]byte(text), &any) != nil || jsonAmbiguous(text, any) {
			return
		}
		stdErr := json.Unmarshal([]byte(text), &std)
		if (ownErr == nil) != (stdErr == nil) {
			t.Fatalf("error: %v, encoding/json: %v", ownErr, stdErr)
		}
		if ownErr == nil && !reflect.DeepEqual(own, std) {
			t.Fatalf("%+v\nencoding/json: %+v", own, std)
		}
	})
}

// jsonAmbiguous: is a property given twice, or in another case than it has?
func jsonAmbiguous(text string, v any) bool {
	names := 0
	var walk func(any) bool
	walk = func(v any) bool {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				if walk(e) {
					return true
				}
			}
		case map[string]any:
			names += len(v)
			for key, e := range v {
				known := ""
				for _, f := range jsonFields(nil, reflect.TypeFor[jsonSample](), nil) {
					if strings.EqualFold(f.name, key) {
						known = f.name
					}
				}
				if known != "" && known != key || walk(e) || strings.EqualFold(key, "secs") || strings.EqualFold(key, "nanosecs") {
					return true
				}
			}
		}
		return false
	}
	if walk(v) {
		return true
	}
	// As many names in the text as in the value: none is given twice.
	dec, given := json.NewDecoder(strings.NewReader(text)), 0
	type level struct{ object, key bool }
	var stack []level
	for {
		tok, err := dec.Token()
		if err != nil {
			break
		}
		if top := len(stack) - 1; top >= 0 && stack[top].object {
			if _, ok := tok.(string); ok && stack[top].key {
				given++
				stack[top].key = false
				continue
			}
			stack[top].key = true
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, level{true, true})
		case json.Delim('['):
			stack = append(stack, level{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
	}
	return given != names
}

func BenchmarkDecodeSpec(b *testing.B) {
	data, err := os.ReadFile("testdata/docker-config.json")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var spec specs.Spec
		if err := decodeJSON(string(data), &spec); err != nil {
			b.Fatal(err)
		}
	}
}

func TestReplaceJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                                    `{"a":{"b":[1]}}`,
		` { } `:                                 ` {"a":{"b":[1]} } `,
		`{"x":"\u00e9"}`:                        `{"a":{"b":[1]},"x":"\u00e9"}`,
		`{ "x":1.50, "a" : { } , "y":{"a":2} }`: `{ "x":1.50, "a" : {"b":[1] } , "y":{"a":2} }`,
		`{"a":{"c":{"b":3}}}`:                   `{"a":{"b":[1],"c":{"b":3}}}`,
		`{"a":null}`:                            `{"a":{"b":[1]}}`,
		"{\"a\":{\"x\":0,\n\t\"b\":\t{\"c\":[{}]} }}": "{\"a\":{\"x\":0,\n\t\"b\":\t[1] }}",
		`{"b":1,"a":{"b":null,"z":[[]]}}`:             `{"b":1,"a":{"b":[1],"z":[[]]}}`,
	} {
		got, err := replaceJSON(text, []byte("[1]"), "a", "b")
		if err != nil || got != want {
			t.Errorf("replaceJSON(%s) = %s, %v; want %s", text, got, err, want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("replaceJSON(%s) = %s, which is not JSON", text, got)
		}
	}
	for _, text := range []string{``, `[]`, `{"a":{"b":1}`, `{"a":{"b":1}} x`, `{"a":{"b":}}`, `{"a"}`, `null`} {
		if got, err := replaceJSON(text, []byte("[1]"), "a", "b"); err == nil {
			t.Errorf("replaceJSON(%s) = %s, want an error", text, got)
		}
	}
}
