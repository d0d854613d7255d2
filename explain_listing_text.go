// A listing for people: one line for each operation, a line above it where a step
// begins, a line below it where the program meets the parent. Operations that
// differ in one argument only, as the bounding set's, share a line.

package main

import (
	"fmt"
	"strconv"
	"strings"
)

const listingLegend = `Each line is a system call of the process, by its number. #N is the result of call N, <NAME> is known only later, 5<NAME> is
descriptor 5. "ERROR -> N" is an expected error and the call that comes then, "next" is the call after this one, "again" the call itself, "0 -> N" is
for a result of 0. Every other error ends the program: calls 0 and 1 tell the parent, which names the step. A futex that does not
wait is a comparison, and sched_yield, whose result is always 0, a jump.
`

func (l *listing) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "bundle  %s\nkind    %s\n", l.Bundle, l.Kind)
	for _, note := range l.Notes {
		fmt.Fprintf(&b, "note    %s\n", note)
	}
	b.WriteString("\n" + listingLegend)
	for _, p := range l.Parts {
		fmt.Fprintf(&b, "\n\n=== %s ===\n\nborn    %s\n", p.Name, p.Born)
		for _, d := range p.Descriptors {
			fmt.Fprintf(&b, "has     %d<%s>\n", d.Number, d.Name)
		}
		for _, s := range p.Sections {
			fmt.Fprintf(&b, "\n--- %s ---\n", s.Name)
			writeCalls(&b, s.Calls)
		}
	}
	return b.String()
}

func writeCalls(b *strings.Builder, calls []listingCall) {
	step := ""
	for i := 0; i < len(calls); {
		c := &calls[i]
		if c.Step != step && c.Refuses == "" {
			step = c.Step
			fmt.Fprintf(b, "\n      # %s\n", step)
		}
		n, arguments := run(calls[i:])
		fmt.Fprintf(b, "%6d  %s(%s)%s\n", c.Number, c.Call, strings.Join(arguments, ", "), c.ends())
		if c.Point != nil {
			fmt.Fprintf(b, "     == %s: %s\n", c.Point.Name, c.Point.Parent)
		}
		i += n
	}
}

// run is how many calls from here on share a line, and the arguments that they have together.
func run(calls []listingCall) (n int, arguments []string) {
	first := &calls[0]
	arguments = append(arguments, first.Arguments...)
	var values []string
	differs := -1
	for n = 1; n < len(calls); n++ {
		c := &calls[n]
		at := first.differsIn(c)
		if at < 0 || differs >= 0 && at != differs {
			break
		}
		if differs = at; n == 1 {
			values = append(values, first.Arguments[at])
		}
		values = append(values, c.Arguments[at])
	}
	if n < 3 { // two are no run
		return 1, arguments
	}
	arguments[differs] = fmt.Sprintf("each of %d-%d: %s", first.Number, calls[n-1].Number, strings.Join(values, " "))
	return n, arguments
}

// differsIn is the one argument in which two calls differ, or -1: they differ in more.
func (c *listingCall) differsIn(o *listingCall) int {
	if c.Call != o.Call || c.Step != o.Step || len(c.Arguments) != len(o.Arguments) || c.Point != nil || o.Point != nil || c.ends() != o.ends() {
		return -1
	}
	at := -1
	for i := range c.Arguments {
		if c.Arguments[i] != o.Arguments[i] {
			if at >= 0 {
				return -1
			}
			at = i
		}
	}
	if at >= 0 && strings.Contains(c.Arguments[at]+o.Arguments[at], "#") {
		return -1 // the result of another call
	}
	return at
}

// ends are the ways on from a call.
func (c *listingCall) ends() string {
	var ways []string
	to := func(n int) string {
		switch n {
		case c.Number + 1:
			return "next"
		case c.Number:
			return "again"
		}
		return strconv.Itoa(n)
	}
	for _, e := range c.Errors {
		name := e.Error
		if e.Means != "" {
			name += " (" + e.Means + ")"
		}
		ways = append(ways, name+" -> "+to(e.To))
	}
	if c.Others != nil {
		ways = append(ways, "any error -> "+to(*c.Others))
	}
	if c.Zero != nil {
		ways = append(ways, "0 -> "+to(*c.Zero))
	}
	var s string
	if c.Result != "" {
		s = " = <" + c.Result + ">"
	}
	if c.Refuses != "" {
		s += "  refuses: " + c.Refuses
	}
	if len(ways) > 0 {
		s += "  " + strings.Join(ways, ", ")
	}
	return s
}
