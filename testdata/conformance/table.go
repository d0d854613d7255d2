package main

import (
	"fmt"
	"os"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// markdown is the table, with the counts above it.
func (r *run) markdown() string {
	var b strings.Builder
	var uts unix.Utsname
	unix.Uname(&uts)
	fmt.Fprintf(&b, "%s %s, %d programs; Linux %s, %s.\n\n", module, version, len(r.programs), unix.ByteSliceToString(uts.Release[:]), cgroupLayout())
	b.WriteString("| | pass | fail | silent | skip |\n|---|---|---|---|---|\n")
	for _, t := range r.runtimes {
		var n [5]int
		for _, res := range t.results {
			n[res.verdict]++
		}
		name := t.version
		if t.control {
			name = "`" + t.name + "`, no runtime"
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", name, n[pass], n[fail], n[silent]+n[complaint], n[skip])
	}
	b.WriteString("\n| program | runh | runc | crun | why |\n|---|---|---|---|---|\n")
	for _, p := range r.programs {
		fmt.Fprintf(&b, "| %s |", p)
		for _, t := range r.runtimes {
			if !t.control {
				fmt.Fprintf(&b, " %s |", t.results[p].cell())
			}
		}
		fmt.Fprintf(&b, " %s |\n", r.why(p))
	}
	return b.String()
}

// why says why a program is not passed: of runh, and of who comes to the same result, what reasons.go knows; else what the
// program or the runtime says first.
func (r *run) why(p string) string {
	var whys []string
	known, ours := reasons(p).text, r.runtimes[0].results[p]
	for _, t := range r.runtimes {
		res := t.results[p]
		switch {
		case t.control || res.verdict == pass || res.verdict == silent:
		case known != "" && t == r.runtimes[0]:
			whys = append(whys, known)
		case known != "" && res.verdict == ours.verdict && res.oks == ours.oks && res.noks == ours.noks:
		default:
			whys = append(whys, t.name+": "+res.first)
		}
	}
	return strings.NewReplacer("|", "/", "\n", " ").Replace(strings.Join(whys, "; "))
}

func cgroupLayout() string {
	var fs unix.Statfs_t
	if unix.Statfs("/sys/fs/cgroup", &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
		return "cgroup v2"
	}
	dirs, _ := os.ReadDir("/sys/fs/cgroup")
	var names []string
	for _, d := range dirs {
		if unix.Statfs("/sys/fs/cgroup/"+d.Name(), &fs) == nil && fs.Type == unix.CGROUP_SUPER_MAGIC {
			names = append(names, d.Name())
		}
	}
	sort.Strings(names)
	return "cgroup v1 (" + strings.Join(names, " ") + ")"
}

func replaceBetween(file, mark, text string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+mark+": begin -->\n", "<!-- "+mark+": end -->"
	head, rest, ok1 := strings.Cut(string(data), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s: no %s marks", file, mark)
	}
	return os.WriteFile(file, []byte(head+begin+text+end+tail), 0o644)
}
