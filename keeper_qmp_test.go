package main

import (
	"encoding/json"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseQMP(t *testing.T) {
	for _, tt := range []struct {
		line                string
		kind                byte
		event, reason, desc string
	}{
		{`{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}}`, 'g', "", "", ""},
		{`{"return": {}}`, 'r', "", "", ""},
		{"{\"return\": {}}\r", 'r', "", "", ""},
		{`{"error": {"class": "GenericError", "desc": "it does not work"}}`, 'e', "", "", "it does not work"},
		{`{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}`, 'v', "SHUTDOWN", "guest-reset", ""},
		{`{"event": "STOP", "data": {"reason": "x"}}`, 'v', "STOP", "", ""},
		{`{"data":{"event":"SHUTDOWN"},"return":{}}`, 'r', "", "", ""},
		{`{"a\"b": [1, {"QMP": 1}], "c": "}{", "return" : null}`, 'r', "", "", ""},
		{`{}`, 0, "", "", ""},
		{``, 0, "", "", ""},
		{`{"event"`, 0, "", "", ""},
		{`{"event":`, 0, "", "", ""},
		{`[{"x"`, 0, "", "", ""},
		{`{"a" "b"}`, 0, "", "", ""},
		{`{"a\`, 0, "", "", ""},
		{`}}}}`, 0, "", "", ""},
	} {
		m := parseQMP([]byte(tt.line))
		if m.kind != tt.kind || string(m.event) != tt.event || string(m.reason) != tt.reason || string(m.desc) != tt.desc {
			t.Errorf("%s: %c %s %s %s", tt.line, m.kind, m.event, m.reason, m.desc)
		}
	}
}

func TestQMPClient(t *testing.T) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	q := &qmpClient{fd: p[0]}
	if err := q.send(qmpCapabilities); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := unix.Read(p[1], b)
	if err != nil || string(b[:n]) != "{\"execute\":\"qmp_capabilities\"}\n" {
		t.Error(string(b[:n]), err)
	}
	var kinds []byte
	take := func(m qmpMessage) { kinds = append(kinds, m.kind) }
	for _, chunk := range []string{
		`{"QMP": `, "{}}\r\n{\"return\": {}}\r\n{\"re", "turn\": {}}\r\n",
		`{"event":"` + strings.Repeat("x", 5000), strings.Repeat("y", 5000) + "\"}\n", "\n{\"return\": 1}\n",
	} {
		if _, err := unix.Write(p[1], []byte(chunk)); err != nil {
			t.Fatal(err)
		}
		if !q.read(take) {
			t.Fatal("closed")
		}
	}
	if string(kinds) != "grr\x00r" {
		t.Errorf("%q", kinds)
	}
	unix.Close(p[1])
	if q.read(take) {
		t.Error("still open")
	}
	if err := q.send(qmpQuit); err == nil {
		t.Error("sent to nobody")
	}
}

// Where encoding/json reads an object, jsonMember finds the same members.
func FuzzJSONMember(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":{"c":["d",{}]},"e":"\"f"}`), "b")
	f.Add([]byte(` { "a" : "}" , "b" : -1.5e3 } `), "b")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		got, ok := jsonMember(data, name)
		var members map[string]json.RawMessage
		if json.Unmarshal(data, &members) != nil || members == nil {
			return
		}
		if strings.ContainsAny(string(data), `\`) || strings.ContainsAny(name, "\"\\\ufffd") {
			return // other spellings of a name are not looked for
		}
		if strings.Count(string(data), `"`+name+`"`) > 1 {
			return // the first counts here, the last there
		}
		want, there := members[name]
		if ok != there || ok && string(got) != string(want) {
			t.Errorf("%q, %v; want %q, %v", got, ok, want, there)
		}
	})
}

func TestButtonHeeded(t *testing.T) {
	for value, want := range map[string]bool{
		`"portw[0x0602] = 0x0100\r\n"`: true, `"portw[0x0602] = 0x0321\r\n"`: true, `"portw[0x0602] = 0xfb00\r\n"`: true,
		`"portw[0x0602] = 0x0000\r\n"`: false, `"portw[0x0602] = 0x0020\r\n"`: false, `"portw[0x0602] = 0xfa00\r\n"`: false,
		`"unknown command: 'i'\r\n"`: false, `{}`: false, ``: false, `"= 0x1"`: false,
	} {
		if buttonHeeded([]byte(value)) != want {
			t.Errorf("%s: want %v", value, want)
		}
	}
}
