// The table of settings: each has all that it needs, and the README's table and docs/config.toml are made of it.

package main

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	var seen []string
	for i := range settings {
		x := &settings[i]
		if slices.Contains(seen, x.name) {
			t.Errorf("%s is there twice", x.name)
		}
		seen = append(seen, x.name)
		if x.values == "" || x.file == nil && x.own == nil {
			t.Errorf("%s: it is said nowhere what is allowed, or nobody can set it", x.name)
		}
		for _, word := range x.words {
			if !strings.Contains(x.values, "`"+word+"`") {
				t.Errorf("%s: what it says of its values lacks %s", x.name, word)
			}
		}
		if x.high != 0 && !strings.Contains(x.values, fmt.Sprintf("%d to %d", x.low, x.high)) {
			t.Errorf("%s: what it says of its values lacks %d to %d", x.name, x.low, x.high)
		}
		if x.file != nil && x.sample == "" && x.name != "kvm" { // upstream's, for which there is accel
			t.Errorf("%s: docs/config.toml does not show it", x.name)
		}
		if x.file != nil {
			var c hermitConfig
			if err := c.set(x.name, struct{}{}); err == nil || !strings.Contains(err.Error(), "allowed") {
				t.Errorf("%s: the file takes anything: %v", x.name, err)
			}
		}
		if x.file == nil {
			var c hermitConfig
			if err := c.set(x.name, "x"); err == nil || !strings.Contains(err.Error(), "unknown key") {
				t.Errorf("%s: the file takes it: %v", x.name, err)
			}
		}
	}
	// All others are the operator's alone: a container with them could open the host.
	const asked = "accel cpu crash kernel_args loader machine memory_size mode mtu network network_identity ports quiet share smp template template_at terminal variables vmm"
	if got := strings.Join(annotationNames(), " "); got != asked {
		t.Errorf("a container can ask for %s\nand should for        %s", got, asked)
	}
}

// A setting changes the field of its name and no other.
func TestSettingsFields(t *testing.T) {
	t.Parallel()
	changed := func(name string, from, to any) {
		t.Helper()
		a, b := reflect.ValueOf(from), reflect.ValueOf(to)
		n := 0
		for i := range a.NumField() {
			if fmt.Sprintf("%+v", a.Field(i)) == fmt.Sprintf("%+v", b.Field(i)) {
				continue
			}
			field := a.Type().Field(i).Name
			if n++; !strings.Contains(strings.ReplaceAll(name, "_", ""), strings.ToLower(field)) && (name != "memory_size" || field != "memoryBy") {
				t.Errorf("%s changes %s", name, field)
			}
		}
		if n == 0 {
			t.Errorf("%s changes nothing", name)
		}
	}
	for i := range settings {
		x := &settings[i]
		text := "/x"
		switch {
		case x.words != nil:
			text = x.words[len(x.words)-1]
		case x.high != 0:
			text = strconv.Itoa(x.high)
		case x.name == "ports":
			text = "80"
		case x.check != nil && x.name == "cpu", x.name == "template":
			text = "max"
		}
		if x.file != nil {
			var c hermitConfig
			var v any = text
			switch x.file(&c).(type) {
			case *int:
				v = int64(x.high)
			case *bool, **bool:
				v = true
			case **[]string:
				v = []any{"smp"}
			}
			if err := c.set(x.name, v); err != nil {
				t.Errorf("%s = %v: %v", x.name, v, err)
			}
			changed(x.name, hermitConfig{}, c)
		}
		if x.own != nil {
			var s hermitSettings
			if err := s.set(x.name, annotationPrefix+x.name, text, &hermitConfig{allowImageVMM: true}); err != nil {
				t.Errorf("annotation %s = %q: %v", x.name, text, err)
			}
			changed(x.name, hermitSettings{}, s)
		}
	}
}

// settingsTable is the README's.
func settingsTable() string {
	var b strings.Builder
	b.WriteString("| name | file | annotation | values | default |\n|---|---|---|---|---|\n")
	yes := map[bool]string{true: "yes"}
	for i := range settings {
		x := &settings[i]
		line := fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", x.name, yes[x.file != nil], yes[x.own != nil], x.values, x.initial)
		b.WriteString(strings.ReplaceAll(line, "|  |", "| |"))
	}
	return strings.ReplaceAll(b.String(), "|  |", "| |")
}

// sampleConfig is docs/config.toml.
func sampleConfig() string {
	var b strings.Builder
	b.WriteString("# /etc/runh/config.toml: settings for Hermit containers; Linux containers read none of it. What is commented out is the default.\n" +
		"# README, \"Settings\", says what each one means and which of them a container may set for itself.\n\n")
	for i := range settings {
		if x := &settings[i]; x.sample != "" {
			value, note, noted := strings.Cut(x.sample, " #")
			line := "# " + x.name + " = " + value
			if noted {
				line = fmt.Sprintf("%-27s #%s", line, note)
			}
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

func TestSettingsInDocs(t *testing.T) {
	t.Parallel()
	table := regexp.MustCompile(`\| name \| file \| annotation \| values \| default \|\n(\|.*\n)*`)
	for _, x := range []struct {
		file string
		with func(text string) string
	}{
		{"README.md", func(text string) string { return table.ReplaceAllLiteralString(text, settingsTable()) }},
		{"docs/config.toml", func(string) string { return sampleConfig() }},
	} {
		old := rtRead(t, x.file)
		text := x.with(old)
		if x.file == "README.md" && !table.MatchString(old) {
			t.Errorf("%s has no table of settings", x.file)
		}
		if *updateGolden && text != old {
			if err := os.WriteFile(x.file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if text != old {
			t.Errorf("%s: go test -run TestSettingsInDocs -update:\n%s", x.file, firstDifference(old, text))
		}
	}
	// The sample's values are allowed.
	var c hermitConfig
	for _, line := range strings.Split(sampleConfig(), "\n") {
		if key, ok := strings.CutPrefix(line, "# "); ok && strings.Contains(key, " = ") {
			if err := c.parse([]byte(key)); err != nil {
				t.Errorf("docs/config.toml: %s: %v", key, err)
			}
		}
	}
}
