package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// status is what came of one program with one runtime, best first.
type status int

const (
	pass      status = iota // at least one assertion, all of them ok, exit status 0
	skip                    // it says that it cannot be tried here
	silent                  // no assertion and no complaint: nothing is proven
	complaint               // no assertion, and an error in a YAML block
	fail                    // an assertion that is not ok, or the program itself ended in an error
)

func (s status) String() string {
	return [...]string{"pass", "skip", "silent", "silent, complains", "fail"}[s]
}

type result struct {
	verdict   status
	oks, noks int
	good, bad map[string]bool // the assertions by their text
	first     string          // why it is no pass
	took      time.Duration
}

// cell is the result in the table: of a failure, how many assertions are ok nevertheless.
func (r result) cell() string {
	if r.verdict == fail && r.oks+r.noks > 0 {
		return fmt.Sprintf("fail (%d of %d)", r.oks, r.oks+r.noks)
	}
	return r.verdict.String()
}

var (
	assertion = regexp.MustCompile(`^(not )?ok(?: [0-9]+)?(?: - | )?(.*)$`)
	yamlError = regexp.MustCompile(`^\s+"?(?:error|stderr)"?: ?(.*)$`)
	logLine   = regexp.MustCompile(`^time="[^"]*" level=[a-z]+ msg=(".*")$`) // runc's and runh's
	exitText  = regexp.MustCompile(`^exit status [0-9]+$`)
	anyTemp   = regexp.MustCompile(`/[a-z/]*conformance[0-9]+/\S*?(ocitest[0-9]+)?/`)
	anyUUID   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)
)

// verdict reads what a program printed: TAP, with YAML blocks that are indented.
func verdict(stdout, stderr string, exit int) result {
	r := result{good: map[string]bool{}, bad: map[string]bool{}}
	var skips int
	var assertionError, anyError string // of the first assertion that is not ok, and the first at all
	for line := range strings.Lines(stdout) {
		line = strings.TrimRight(line, "\n")
		if m := yamlError.FindStringSubmatch(line); m != nil {
			anyError = cmp.Or(anyError, plain(m[1]))
			if r.noks > 0 {
				assertionError = cmp.Or(assertionError, plain(m[1]))
			}
			continue
		}
		m := assertion.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		what := anyUUID.ReplaceAllString(m[2], "ID")
		switch {
		case strings.HasPrefix(strings.ToUpper(what), "# SKIP"):
			skips++
		case m[1] == "":
			r.oks++
			r.good[what] = true
		default:
			r.noks++
			r.bad[what] = true
			r.first = cmp.Or(r.first, what)
		}
	}
	said := strings.TrimPrefix(strings.TrimSpace(stderr), "failed to create the container\n")
	said, _, _ = strings.Cut(said, "\n")
	if m := logLine.FindStringSubmatch(said); m != nil {
		said = plain(m[1])
	}
	switch {
	case exit != 0 || r.noks > 0:
		r.verdict = fail
		if r.first == "" || exitText.MatchString(r.first) {
			r.first = cmp.Or(said, r.first, fmt.Sprintf("exit status %d", exit))
		} else if assertionError != "" && !exitText.MatchString(assertionError) {
			r.first += ": " + assertionError
		}
	case r.oks > 0:
		r.verdict = pass
	case skips > 0:
		r.verdict = skip
	case anyError != "":
		r.verdict, r.first = complaint, anyError
	default:
		r.verdict = silent
	}
	if r.first = anyTemp.ReplaceAllString(r.first, "/…/"); len(r.first) > 200 {
		r.first = strings.ToValidUTF8(r.first[:200], "") + "…"
	}
	return r
}

// plain is a JSON string without its quotes and its reference to the specification.
func plain(text string) string {
	text = strings.TrimSuffix(text, ",")
	var s string
	if json.Unmarshal([]byte(text), &s) != nil {
		s = text
	}
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\nRefer to")
	return strings.Join(strings.Fields(s), " ")
}
