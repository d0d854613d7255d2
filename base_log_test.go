package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestLogLine(t *testing.T) {
	now := time.Date(2026, 11, 23, 16, 0, 0, 0, time.FixedZone("", 3600))
	if got := string(logLine("json", levelError, "a \"b\"\n", now)); got != `{"level":"error","msg":"a \"b\"\n","time":"2026-11-23T15:00:00Z"}`+"\n" {
		t.Error(got)
	}
	if got := string(logLine("text", levelDebug, "a \"b\"\n", now)); got != `time="2026-11-23T15:00:00Z" level=debug msg="a \"b\"\n"`+"\n" {
		t.Error(got)
	}
}

func FuzzLogLine(f *testing.F) {
	f.Add("plain")
	f.Add("\"\\\x00\x1f\x7f\u2028\xff\xed\xa0\x80é\U0001F600")
	f.Fuzz(func(t *testing.T, msg string) {
		line := logLine("json", levelError, msg, time.Now())
		var l struct {
			Level, Msg string
			Time       time.Time
		}
		if err := json.Unmarshal(line, &l); err != nil || l.Msg != string([]rune(msg)) || l.Level != "error" {
			t.Errorf("%q: %q, %v", msg, line, err)
		}
		if strings.Count(string(line), "\n") != 1 {
			t.Errorf("not one line: %q", line)
		}
		if one := oneLine(msg); len(one) > lineMax || strings.ContainsAny(one, "\n\r\x00") || !utf8.ValidString(one) {
			t.Errorf("oneLine(%q) = %q", msg, one)
		}
	})
}

// At the default level a failure is one line, and nothing else is written.
func TestLogLevels(t *testing.T) {
	for name, want := range map[string]int{"": 1, "off": 1, "error": 1, "warn": 2, "info": 3, "debug": 4, "trace": 4} {
		dir := t.TempDir()
		g := &globals{log: dir + "/log", logFormat: "json", logLevel: name, verb: "create", quietStderr: true}
		g.warnf("w")
		g.infof("i")
		g.debugf("d %d", 1)
		g.writeLog(levelError, levelError, "e")
		data, err := os.ReadFile(dir + "/log")
		if got := strings.Count(string(data), "\n"); got != want || err != nil {
			t.Errorf("level %q: %d lines, want %d: %s, %v", name, got, want, data, err)
		}
	}
}

func TestDebugFiles(t *testing.T) {
	dir := t.TempDir()
	g := &globals{root: dir + "/root", debugLog: true, debugConfig: true, quietStderr: true, started: time.Unix(0, 0)}
	g.keepConfig("x", []byte("{}"))
	g.debugf("one")
	g.debugf("two")
	data, err := os.ReadFile(dir + "/root/log-1970-01-01T00:00:00Z.json")
	if err != nil || strings.Count(string(data), "\n") != 2 {
		t.Errorf("%s, %v", data, err)
	}
	if data, err := os.ReadFile(dir + "/root/container-x.json"); string(data) != "{}" || err != nil {
		t.Errorf("%s, %v", data, err)
	}
	if views, err := listContainers(g); len(views) != 0 || err != nil {
		t.Errorf("listed: %+v, %v", views, err)
	}
}

func TestFinish(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	for _, x := range []struct {
		err  error
		code int
		msg  string
	}{
		{nil, 0, ""},
		{exitError{code: 7}, 7, ""},
		{fmt.Errorf("x: %w", errNotExist), 1, "runh: state: x: container does not exist"},
		{exitError{255, errors.New("exec failed: a\nb")}, 255, "runh: state: exec failed: a b"},
		{fmt.Errorf("run: %w", exitError{3, errors.New("e")}), 3, "runh: state: run: e"},
	} {
		os.Remove(log)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		g := &globals{log: log, logFormat: "json", verb: "state"}
		stderr := os.Stderr
		os.Stderr = w
		code := g.finish(x.err)
		os.Stderr = stderr
		w.Close()
		buf := make([]byte, 4096)
		n, _ := r.Read(buf)
		r.Close()
		var l struct{ Level, Msg string }
		data, _ := os.ReadFile(log)
		if x.msg != "" {
			if err := json.Unmarshal(data, &l); err != nil || l.Msg != x.msg || l.Level != "error" {
				t.Errorf("log %s, %v, want %s", data, err, x.msg)
			}
			x.msg += "\n"
		} else if len(data) > 0 {
			t.Errorf("log %s, want none", data)
		}
		if got := string(buf[:n]); code != x.code || got != x.msg {
			t.Errorf("%v: code %d, stderr %q, want %d, %q", x.err, code, got, x.code, x.msg)
		}
	}
}
