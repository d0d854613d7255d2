// linux.intelRdt: shares of the processor's cache and memory bandwidth, in the groups of resctrl
// (the kernel's Documentation/filesystems/resctrl), which are no cgroups. create makes a group, or joins one that
// is there, delete removes what create made.
//
// Contract: who writes config.json says what a group of that name is to have, not what one that is there has:
// it is compared, and never changed but by `update`.

package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// rdtState is a container's place in resctrl; it is part of the record.
type rdtState struct {
	Group   string `json:"group"`             // directory
	Made    bool   `json:"made,omitempty"`    // by create
	Monitor string `json:"monitor,omitempty"` // group of its own in there to be measured by, made by create
}

const resctrlRoot = "/sys/fs/resctrl"

// needResctrl says why linux.intelRdt cannot be had.
func needResctrl() error {
	var st unix.Statfs_t
	if err := unix.Statfs(resctrlRoot, &st); err != nil || st.Type != unix.RDTGROUP_SUPER_MAGIC {
		return fmt.Errorf("linux.intelRdt: this host offers no resource control by the processor (resctrl is not mounted on %s)", resctrlRoot)
	}
	return nil
}

// checkRdt refuses names that are resctrl's own, or no names.
func checkRdt(r *specs.LinuxIntelRdt) error {
	switch {
	case r == nil || r.ClosID == "" || r.ClosID == "/": // the root of all groups
	case strings.ContainsAny(r.ClosID, "/\n") || r.ClosID == "." || r.ClosID == ".." || r.ClosID == "info" || strings.HasPrefix(r.ClosID, "mon_"):
		return fmt.Errorf("linux.intelRdt.closID is %q: it must be the name of a group of resctrl", r.ClosID)
	}
	return nil
}

// schemataLines are what the group is to have, the newest property first (config-linux.md).
func schemataLines(r *specs.LinuxIntelRdt) []string {
	if len(r.Schemata) > 0 {
		return r.Schemata
	}
	var lines []string
	for line := range strings.Lines(r.L3CacheSchema) {
		if line = strings.TrimSpace(line); line != "" && !(r.MemBwSchema != "" && strings.HasPrefix(line, "MB:")) {
			lines = append(lines, line)
		}
	}
	if r.MemBwSchema != "" {
		lines = append(lines, r.MemBwSchema)
	}
	return lines
}

// makeRdt makes or finds a container's group beneath root. What it made it takes away again if it fails.
func makeRdt(root, id string, r *specs.LinuxIntelRdt) (s *rdtState, err error) {
	s = &rdtState{Group: filepath.Join(root, firstWord(r.ClosID, id))}
	lines := schemataLines(r)
	defer func() {
		if err != nil {
			err = fmt.Errorf("linux.intelRdt: %w", errors.Join(err, s.remove()))
		}
	}()
	_, err = os.Stat(s.Group)
	switch {
	case err == nil && r.ClosID == "":
		return s, fmt.Errorf("the group %s exists already", s.Group)
	case err == nil:
		if err := compareSchemata(s.Group, lines); err != nil {
			return s, err
		}
	case r.ClosID != "" && len(lines) == 0:
		return s, fmt.Errorf("closID is %q: there is no such group, and no schema to make it with", r.ClosID)
	default:
		if err := os.Mkdir(s.Group, 0o755); err != nil {
			return s, err
		}
		s.Made = true
		if err := s.write(lines); err != nil {
			return s, err
		}
	}
	if r.EnableMonitoring {
		monitor := filepath.Join(s.Group, "mon_groups", id)
		if err := os.Mkdir(monitor, 0o755); err != nil {
			return s, err
		}
		s.Monitor = monitor
	}
	return s, nil
}

// write sets the lines of the group's schemata; others stay as they are.
func (s *rdtState) write(lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(s.Group, "schemata"), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	return errors.Join(err, f.Close())
}

// compareSchemata: a group that is there must have these lines among its own.
func compareSchemata(group string, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	text, err := readFile(filepath.Join(group, "schemata"), 1<<16)
	if err != nil {
		return err
	}
	has := map[string]map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, shares := parseSchema(line)
		has[name] = shares
	}
	for _, line := range lines {
		name, want := parseSchema(line)
		if got, ok := has[name]; !ok || !maps.Equal(got, want) {
			return fmt.Errorf("the group %s exists, and its schemata is not %q", group, line)
		}
	}
	return nil
}

// parseSchema reads "L3:0=00f;1=f". Numbers are without leading zeros, for the kernel writes some.
func parseSchema(line string) (name string, shares map[string]string) {
	name, list, _ := strings.Cut(strings.TrimSpace(line), ":")
	shares = map[string]string{}
	for share := range strings.SplitSeq(list, ";") {
		id, v, _ := strings.Cut(strings.TrimSpace(share), "=")
		shares[id] = strings.ToLower(strings.TrimLeft(strings.TrimSpace(v), "0"))
	}
	return name, shares
}

// openTasks opens the files through which a process enters.
func (s *rdtState) openTasks() (files []*os.File, err error) {
	if s == nil {
		return nil, nil
	}
	for _, dir := range []string{s.Group, s.Monitor} { // in this order: the monitor takes those of its group only
		if dir == "" {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, "tasks"), os.O_WRONLY, 0)
		if err != nil {
			return files, fmt.Errorf("linux.intelRdt: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

// join brings a process in. What it forks follows.
func (s *rdtState) join(pid int) error {
	files, err := s.openTasks()
	for _, f := range files {
		defer f.Close()
		if err != nil {
			continue
		}
		if _, err = f.WriteString(strconv.Itoa(pid)); err != nil {
			err = fmt.Errorf("linux.intelRdt: %w", err)
		}
	}
	return err
}

// remove takes away what create made.
func (s *rdtState) remove() error {
	if s == nil {
		return nil
	}
	var errs []error
	for _, dir := range []string{s.Monitor, map[bool]string{true: s.Group}[s.Made]} {
		if dir == "" {
			continue
		}
		if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
			errs = append(errs, &os.PathError{Op: "rmdir", Path: dir, Err: err})
		}
	}
	return errors.Join(errs...)
}
