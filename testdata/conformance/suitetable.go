package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// test is one test of runc's suite with one runtime.
type test struct {
	name    string
	verdict status // pass, skip or fail
	first   string // of a failure: the command or the assertion that failed
}

var (
	tapLine  = regexp.MustCompile(`^(not )?ok [0-9]+ (.*?)( # skip.*)?$`)
	tapCause = regexp.MustCompile("^#   `(.*)' failed")
)

// parseTAP reads what bats prints.
func parseTAP(text string) (tests []test) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if m := tapLine.FindStringSubmatch(line); m != nil {
			t := test{name: m[2]}
			switch {
			case m[1] != "":
				t.verdict = fail
			case m[3] != "":
				t.verdict = skip
			}
			tests = append(tests, t)
		} else if m := tapCause.FindStringSubmatch(line); m != nil && len(tests) > 0 && tests[len(tests)-1].first == "" {
			tests[len(tests)-1].first = m[1]
		}
	}
	return tests
}

func find(tests []test, name string) *test {
	for i := range tests {
		if tests[i].name == name {
			return &tests[i]
		}
	}
	return nil
}

// behind are the tests of a file that runc passes and runh does not.
func (s *suite) behind(file string) (names []string) {
	for _, theirs := range s.runtimes[0].tests[file] {
		if ours := find(s.runtimes[1].tests[file], theirs.name); theirs.verdict == pass && (ours == nil || ours.verdict != pass) {
			names = append(names, theirs.name)
		}
	}
	return names
}

// judge wants a reason for each test that only runc passes.
func (s *suite) judge() error {
	var errs []error
	for _, file := range s.files {
		if len(s.runtimes[0].tests[file]) == 0 {
			errs = append(errs, fmt.Errorf("%s.bats: no test ran with runc", file))
		}
		for _, name := range s.behind(file) {
			if suiteReason(file, name) == "" {
				errs = append(errs, fmt.Errorf("%s.bats: runc passes %q, runh does not: %s", file, name, s.failure(file, name)))
			}
		}
	}
	return errors.Join(errs...)
}

func (s *suite) failure(file, name string) string {
	t := find(s.runtimes[1].tests[file], name)
	switch {
	case t == nil:
		return "the test did not run"
	case t.verdict == skip:
		return "skipped"
	}
	return t.first
}

// markdown is both tables: the counts of each file, and a line for each test that only runc passes.
func (s *suite) markdown() string {
	var b, files, tests strings.Builder
	var sum [2][fail + 1]int
	for _, file := range s.files {
		fmt.Fprintf(&files, "| %s |", file)
		for i, rt := range s.runtimes {
			var n [fail + 1]int
			for _, t := range rt.tests[file] {
				n[t.verdict]++
				sum[i][t.verdict]++
			}
			fmt.Fprintf(&files, " %s |", counts(n))
		}
		files.WriteByte('\n')
		for _, name := range s.behind(file) {
			why := suiteReason(file, name)
			if why == "" {
				why = "not explained: " + s.failure(file, name)
			}
			fmt.Fprintf(&tests, "| %s | %s | %s |\n", file, cell(name), cell(why))
		}
	}
	fmt.Fprintf(&b, "%s %s, tests/integration; %s.\n\n", suiteModule, suiteVersion, cgroupLayout())
	b.WriteString("| | pass | fail | skip |\n|---|---|---|---|\n")
	for i, rt := range s.runtimes {
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", rt.version, sum[i][pass], sum[i][fail], sum[i][skip])
	}
	fmt.Fprintf(&b, "\n| file | runc | runh |\n|---|---|---|\n%s", files.String())
	fmt.Fprintf(&b, "\n| file | test that runc passes and runh does not | why |\n|---|---|---|\n%s", tests.String())
	return b.String()
}

// counts is a cell: how many passed of those that were not skipped, and how many were.
func counts(n [fail + 1]int) string {
	text := fmt.Sprintf("%d of %d", n[pass], n[pass]+n[fail])
	if n[skip] > 0 {
		text += fmt.Sprintf(", %d skipped", n[skip])
	}
	return text
}

func cell(text string) string {
	return strings.NewReplacer("|", "/", "\n", " ").Replace(text)
}
