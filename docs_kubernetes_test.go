// docs/kubernetes.md and the manifests beside it: they are YAML, agree with each other, and ask for nothing that runh does not know. engine_cri_test.go runs the
// page's pod, engine_podman_test.go docs/pod.yaml.

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

type yamlLine struct {
	indent int
	text   string
}

// readYAML reads what the manifests use of YAML: mappings and sequences by indentation, lists in brackets, strings. A number is the string of it.
func readYAML(text string) (v any, err error) {
	defer func() {
		if e := recover(); e != nil {
			err = fmt.Errorf("%v", e)
		}
	}()
	var lines []yamlLine
	for l := range strings.Lines(text) {
		l, _, _ = strings.Cut(strings.TrimRight(l, "\n"), " #")
		body := strings.TrimLeft(l, " ")
		if body == "" || body[0] == '#' {
			continue
		}
		indent := len(l) - len(body)
		for strings.HasPrefix(body, "- ") { // an entry is a block of its own
			lines = append(lines, yamlLine{indent, "-"})
			indent, body = indent+2, body[2:]
		}
		lines = append(lines, yamlLine{indent, body})
	}
	v = yamlBlock(&lines)
	if len(lines) > 0 {
		return nil, fmt.Errorf("%q is indented as nothing before it", lines[0].text)
	}
	return v, nil
}

// yamlBlock takes the lines of one value off the front.
func yamlBlock(lines *[]yamlLine) any {
	first := (*lines)[0]
	here := func() bool { return len(*lines) > 0 && (*lines)[0].indent == first.indent }
	within := func() any {
		if *lines = (*lines)[1:]; len(*lines) == 0 || (*lines)[0].indent <= first.indent {
			panic(fmt.Sprintf("%q has no value", first.text))
		}
		return yamlBlock(lines)
	}
	switch {
	case first.text == "-":
		var list []any
		for here() && (*lines)[0].text == "-" {
			list = append(list, within())
		}
		return list
	case !regexp.MustCompile(`^[\w./-]+:( |$)`).MatchString(first.text):
		*lines = (*lines)[1:]
		return yamlScalar(first.text)
	}
	m := object{}
	for here() {
		key, v, found := strings.Cut((*lines)[0].text, ":")
		if _, twice := m[key]; !found || twice {
			panic(fmt.Sprintf("%q is no new key", (*lines)[0].text))
		}
		if v = strings.TrimSpace(v); v == "" {
			m[key] = within()
			continue
		}
		m[key] = yamlScalar(v)
		*lines = (*lines)[1:]
	}
	return m
}

func yamlScalar(text string) any {
	if !strings.ContainsRune(`"[`, rune(text[0])) {
		if strings.ContainsAny(text[:1], "{}&*!|>'%@`,") || strings.Contains(text, ": ") {
			panic(fmt.Sprintf("%q needs quotes, or a better reader", text))
		}
		return text
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(fmt.Sprintf("%s: %v", text, err))
	}
	return v
}

// docManifests are those of docs/, by file; docs/kubernetes.md#0 is the first block of that page.
func docManifests(t *testing.T) map[string]object {
	t.Helper()
	texts := map[string]string{}
	for _, file := range []string{"docs/pod.yaml", "docs/runtimeclass.yaml"} {
		texts[file] = rtRead(t, file)
	}
	for i, m := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(rtRead(t, "docs/kubernetes.md"), -1) {
		texts[fmt.Sprintf("docs/kubernetes.md#%d", i)] = m[1]
	}
	all := map[string]object{}
	for file, text := range texts {
		v, err := readYAML(text)
		m, ok := v.(object)
		if err != nil || !ok {
			t.Fatalf("%s: %v, %v", file, v, err)
		}
		all[file] = m
	}
	return all
}

// yamlAt follows keys; nil is nothing there.
func yamlAt(v any, keys ...string) any {
	for _, k := range keys {
		m, _ := v.(object)
		v = m[k]
	}
	return v
}

func TestDocsKubernetes(t *testing.T) {
	all := docManifests(t)
	class := all["docs/runtimeclass.yaml"]
	if class["kind"] != "RuntimeClass" || class["handler"] != "runh" || class["overhead"] != nil {
		t.Errorf("docs/runtimeclass.yaml: %v", class)
	}
	pods := 0
	for file, m := range all {
		if m["kind"] != "Pod" {
			continue
		}
		pods++
		if yamlAt(m, "spec", "runtimeClassName") != yamlAt(class, "metadata", "name") || yamlAt(m, "spec", "enableServiceLinks") != "false" {
			t.Errorf("%s: runtimeClassName %v, enableServiceLinks %v", file, yamlAt(m, "spec", "runtimeClassName"), yamlAt(m, "spec", "enableServiceLinks"))
		}
		names := map[string]bool{}
		annotations := map[string]string{}
		notes, _ := yamlAt(m, "metadata", "annotations").(object)
		for k, v := range notes {
			annotations[k] = v.(string)
			if len(k) > 63 {
				t.Errorf("%s: annotation %s: Kubernetes takes 63 characters", file, k)
			}
		}
		for _, c := range yamlAt(m, "spec", "containers").([]any) {
			name := yamlAt(c, "name").(string)
			names[name] = true
			for _, limit := range []string{"cpu", "memory"} {
				if yamlAt(c, "resources", "limits", limit) == nil {
					t.Errorf("%s: container %s has no limit of %s", file, name, limit)
				}
			}
			spec := &specs.Spec{Annotations: maps.Clone(annotations)}
			maps.Copy(spec.Annotations, namedByContainerd(name))
			if _, err := readAnnotations(spec, &hermitConfig{}); err != nil {
				t.Errorf("%s: container %s: %v", file, name, err)
			}
		}
		for k := range annotations {
			if _, container, specific := strings.Cut(strings.TrimPrefix(k, annotationPrefix), "."); specific && !names[container] {
				t.Errorf("%s: annotation %s: there is no container %s", file, k, container)
			}
		}
	}
	if pods != 2 {
		t.Errorf("%d pods", pods)
	}

	// What the text names.
	page := rtRead(t, "docs/kubernetes.md")
	for _, m := range regexp.MustCompile(`org\.hermit-os\.runh\.([a-z_]+)`).FindAllStringSubmatch(page, -1) {
		if !slices.Contains(annotationNames(), m[1]) && m[0] != lossAnnotation {
			t.Errorf("docs/kubernetes.md has the annotation %s, which does not exist", m[0])
		}
	}
	for _, v := range regexp.MustCompile(`RUNH_\w+`).FindAllString(page, -1) {
		if forwardedVariable(v) {
			t.Errorf("docs/kubernetes.md has the variable %s, which is none of runh's", v)
		}
	}
	for _, m := range regexp.MustCompile(`\bdocs/[\w.]+`).FindAllString(page, -1) {
		if _, err := os.Stat(filepath.Clean(strings.TrimRight(m, "."))); err != nil {
			t.Error(err)
		}
	}
	longest := slices.MaxFunc(annotationNames(), func(a, b string) int { return len(a) - len(b) })
	for _, want := range []string{
		fmt.Sprintf("Without `limits.memory` it has %d MiB", defaultMemory),
		fmt.Sprintf("%d for CONTAINER with `ports`, and %d with `%s`, the longest", 63-len(annotationPrefix+"ports."), 63-len(annotationPrefix+longest+"."), longest),
	} {
		if !strings.Contains(page, want) {
			t.Errorf("docs/kubernetes.md lacks %q", want)
		}
	}
}
