// The kernel's table of mounts, /proc/PID/mountinfo: proc_pid_mountinfo(5).

package main

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// A mountLine is one mount.
type mountLine struct {
	id, parent   string
	device, root string // of what file system, and which directory of it
	point        string
	options      string // of the mount
	fstype       string
	super        []string // source and options of the file system
}

func readMountinfo(pid int) (string, error) {
	text, err := readFile(fmt.Sprintf("/proc/%d/mountinfo", pid), 16<<20)
	return string(text), err
}

// mountLines are the lines of a table. What is none is left out.
func mountLines(table string) iter.Seq[mountLine] {
	return func(yield func(mountLine) bool) {
		for line := range strings.Lines(table) {
			// id, parent, device, root, mount point, options, optional fields, "-", type, source, options
			left, right, _ := strings.Cut(line, " - ")
			l, r := strings.Fields(left), strings.Fields(right)
			if len(l) < 6 || len(r) == 0 {
				continue
			}
			if !yield(mountLine{l[0], l[1], l[2], unescapeMount(l[3]), unescapeMount(l[4]), l[5], r[0], r[1:]}) {
				return
			}
		}
	}
}

// unescapeMount undoes what mountinfo does to spaces, tabs, newlines and backslashes.
func unescapeMount(s string) string {
	for i := strings.IndexByte(s, '\\'); i >= 0 && i+4 <= len(s); {
		if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
			s = s[:i] + string([]byte{byte(n)}) + s[i+4:]
		}
		next := strings.IndexByte(s[i+1:], '\\')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return s
}
