// Id maps and clock offsets: the parent writes them for a user and a time namespace that the init has made.
//
// Contract: an ordinary user's maps are newuidmap's and newgidmap's to write, except for a map of the user alone.

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// writeIDMaps gives a user namespace its maps. Who may not write them (an
// ordinary user, for more than itself) lets newuidmap and newgidmap do it,
// which read /etc/subuid and /etc/subgid.
func writeIDMaps(pid int, uids, gids []specs.LinuxIDMapping, signals *signals) error {
	privileged := os.Geteuid() == 0
	if !privileged && onlySelf(gids, os.Getegid()) {
		// user_namespaces(7): the condition for an unprivileged gid map.
		if err := writeProc(pid, "setgroups", "deny"); err != nil {
			return err
		}
	}
	for _, m := range [...]struct {
		list                 []specs.LinuxIDMapping
		file, helper, ranges string
		self                 int
	}{
		{uids, "uid_map", "newuidmap", "/etc/subuid", os.Geteuid()},
		{gids, "gid_map", "newgidmap", "/etc/subgid", os.Getegid()},
	} {
		if privileged || onlySelf(m.list, m.self) {
			var lines strings.Builder
			for _, l := range m.list {
				fmt.Fprintf(&lines, "%d %d %d\n", l.ContainerID, l.HostID, l.Size)
			}
			if err := writeProc(pid, m.file, lines.String()); err != nil {
				return err
			}
			continue
		}
		args := []string{strconv.Itoa(pid)}
		for _, l := range m.list {
			for _, n := range []uint32{l.ContainerID, l.HostID, l.Size} {
				args = append(args, strconv.FormatUint(uint64(n), 10))
			}
		}
		if err := runHelper(m.helper, args, signals); err != nil {
			return fmt.Errorf("%w (more than the own id needs ranges in %s)", err, m.ranges)
		}
	}
	return nil
}

// onlySelf: a map of one id, the caller's own.
func onlySelf(list []specs.LinuxIDMapping, self int) bool {
	return len(list) == 1 && list[0].Size == 1 && int(list[0].HostID) == self
}

// writeProc writes a file of a process in one write, as these files demand.
func writeProc(pid int, file, content string) error {
	name := fmt.Sprintf("/proc/%d/%s", pid, file)
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Write(fd, []byte(content))
		unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("write %q to %s: %w", strings.TrimSpace(content), file, err)
	}
	return nil
}

// runHelper runs one of the set-uid programs of the host. They are looked for
// where distributions put them, not along a PATH that may be empty.
func runHelper(name string, args []string, signals *signals) error {
	for _, dir := range [...]string{"/usr/bin/", "/bin/", "/usr/local/bin/"} {
		r, err := (&hostCommand{path: dir + name, args: args, signals: signals}).run()
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err == nil {
			err = r.failed()
		}
		return err
	}
	return fmt.Errorf("%s is not installed (Debian: uidmap), and without it a user can only map himself", name)
}

// readIDMap reads a process's uid_map or gid_map: its user namespace's ids, and
// what each is to us.
func readIDMap(pid int, file string) ([]specs.LinuxIDMapping, error) {
	text, err := readFile(fmt.Sprintf("/proc/%d/%s", pid, file), 64<<10)
	if err != nil {
		return nil, err
	}
	var list []specs.LinuxIDMapping
	for line := range strings.Lines(string(text)) {
		var l specs.LinuxIDMapping
		if _, err := fmt.Sscan(line, &l.ContainerID, &l.HostID, &l.Size); err != nil {
			return nil, fmt.Errorf("%s %q: %w", file, line, err)
		}
		list = append(list, l)
	}
	return list, nil
}

// insideID is what one of our ids is in a user namespace with these maps.
func insideID(list []specs.LinuxIDMapping, ours uint32) (uint32, bool) {
	for _, l := range list {
		if ours-l.HostID < l.Size {
			return l.ContainerID + (ours - l.HostID), true
		}
	}
	return 0, false
}

// hasID: do the maps know this id of the user namespace?
func hasID(list []specs.LinuxIDMapping, inside uint32) bool {
	for _, l := range list {
		if inside-l.ContainerID < l.Size {
			return true
		}
	}
	return false
}

// writeTimeOffsets sets the clocks of a time namespace that nobody is in yet.
func writeTimeOffsets(pid int, offsets map[string]specs.LinuxTimeOffset) error {
	for clock, o := range offsets {
		if err := writeProc(pid, "timens_offsets", fmt.Sprintf("%s %d %d\n", clock, o.Secs, o.Nanosecs)); err != nil {
			return err
		}
	}
	return nil
}
