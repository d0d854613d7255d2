// "ps": which processes a container has.
//
// They are those of its cgroup, as the host numbers them: what exec has added,
// and on a Hermit container the virtual machine, are among them. It only reads,
// and never waits for another command.
//
// As JSON it is what the shim reads stdout and stderr together for: one array,
// or null when there is none. As a table it is what the host's ps(1) prints,
// without the lines of other processes.

package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func cmdPs(g *globals, args []string) error {
	format := "table"
	words, err := parseFlags([]flagDef{{"format", "f", &format}}, args, true)
	if err != nil {
		return err
	}
	if len(words) == 0 || words[0] == "" {
		return errors.New("the container ID is missing")
	}
	if err := oneOf("format", format, "table", "json"); err != nil {
		return err
	}
	id := words[0]
	c, err := readContainer(g, id)
	if err != nil {
		return err
	}
	pids, err := c.processes()
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	if format == "json" {
		return printOut(string(encodeJSON(pids, "")) + "\n")
	}
	options := words[1:]
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	table, err := hostPs(options)
	if err != nil {
		return err
	}
	if table, err = psLines(table, pids); err != nil {
		return err
	}
	return printOut(table)
}

// processes are the container's, on the host; nil if there are none.
func (c *container) processes() ([]int, error) {
	if len(c.Cgroup.Paths) == 0 && c.alive() {
		return nil, errors.New("the container has no cgroup, so its processes are not known")
	}
	return openCgroup(c.Cgroup).pids()
}

// hostPs runs ps(1) on the host and returns what it prints.
func hostPs(options []string) (string, error) {
	program, err := hostProgram("ps")
	if err != nil {
		return "", fmt.Errorf("%w: the format json does without it", err)
	}
	r, err := (&hostCommand{path: program, args: options}).run()
	if err != nil {
		return "", err
	}
	// It exits with 1 also when it found nobody; then it complains of nothing.
	if err := r.failed(); err != nil && (r.status.Signaled() || len(r.complaint) > 0 || len(r.out) == 0) {
		return "", err
	}
	return string(r.out), nil
}

// psLines keeps the header and the lines of these processes. The column is
// found by the header's word PID, as runc does it.
func psLines(table string, pids []int) (string, error) {
	header, rest, _ := strings.Cut(table, "\n")
	column := slices.Index(strings.Fields(header), "PID")
	if column < 0 {
		return "", fmt.Errorf("ps printed no column PID, by which its lines could be told apart: %q", header)
	}
	var b strings.Builder
	b.WriteString(header + "\n")
	for line := range strings.Lines(rest) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if column >= len(fields) {
			return "", fmt.Errorf("ps printed a line without a PID: %q", line)
		}
		pid, err := strconv.Atoi(fields[column])
		if err != nil {
			return "", fmt.Errorf("ps: %q in the column PID is not a number: put pid before the columns that have blanks in them", fields[column])
		}
		if slices.Contains(pids, pid) {
			b.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		}
	}
	return b.String(), nil
}
