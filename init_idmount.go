// Bind mounts that only the host's root can prepare: those that show a file
// system's ids as others (mounts[].uidMappings, idmap, ridmap; mount_setattr(2),
// "ID-mapped mounts"), and those whose source the root of a user namespace
// cannot reach. The parent clones the source into a mount that is attached
// nowhere; the init inherits its descriptor and attaches it.

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// inheritedTrees is how many of them the init inherits. It asks for each of the
// others when it comes to it, so that many need no more descriptors than these.
const inheritedTrees = 64

// A treeMaker clones the sources of mounts.
type treeMaker struct {
	plan    *initPlan
	facts   *hostFacts
	maps    idMaps
	signals *signals
}

// inheritTrees prepares what the mounts need. The init must not have started yet.
func (c *initCompiler) inheritTrees(trees *treeMaker) error {
	n := &c.plan.namespaces
	trees.maps = idMaps{}
	for _, j := range n.join {
		if j.flag == unix.CLONE_NEWUSER && !c.listed {
			ns, err := unix.FcntlInt(uintptr(j.fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return os.NewSyscallError("fcntl", err)
			}
			trees.maps[joinedMap] = ns
		}
	}
	inherited := 0
	for i := range c.plan.mounts {
		m := &c.plan.mounts[i]
		if !m.bind || m.remount || m.within != "" || !m.idmap && !(n.has(unix.CLONE_NEWUSER) && c.facts.user() == 0) {
			continue
		}
		if inherited++; inherited > inheritedTrees {
			m.asks = true
			continue
		}
		var err error
		if m.tree, err = c.lend("clone of "+m.source, func() (int, error) { return trees.make(m) }); err != nil {
			return err
		}
	}
	return nil
}

// make clones a mount's source, and maps its ids.
func (t *treeMaker) make(m *mountRequest) (int, error) {
	tree, err := openTree(m, t.plan.linux.RootfsPropagation)
	if err != nil {
		return -1, fmt.Errorf("mount %s on %s: %w", m.source, m.dest, err)
	}
	if m.idmap {
		err = t.mapIDs(m, tree)
	}
	if err != nil {
		unix.Close(tree)
		return -1, err
	}
	return tree, nil
}

// mapIDs gives a mount that is attached nowhere yet the maps that were asked for.
func (t *treeMaker) mapIDs(m *mountRequest, tree int) error {
	ns, err := t.mapFor(m)
	if err == nil {
		err = mapTree(tree, ns, m.ridmap)
	}
	if err != nil {
		return fmt.Errorf("mount %s on %s: map its ids: %w", m.source, m.dest, err)
	}
	return nil
}

// openTree clones the mounts of a source. As in the init's own copy of the
// host's mounts, nothing goes out through them unless the spec asks for it.
func openTree(m *mountRequest, propagation string) (int, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if m.recursive {
		flags |= unix.AT_RECURSIVE
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, m.source, flags)
	if err != nil {
		return -1, err
	}
	attr := unix.MountAttr{Propagation: unix.MS_SLAVE}
	switch f := propagationFlag(propagation); {
	case f&unix.MS_SHARED != 0:
		return tree, nil
	case f&(unix.MS_PRIVATE|unix.MS_UNBINDABLE) != 0:
		attr.Propagation = unix.MS_PRIVATE
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		unix.Close(tree)
		return -1, err
	}
	return tree, nil
}

// mapTree gives a mount, which must be attached nowhere yet, the maps of a user
// namespace.
func mapTree(tree, ns int, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	err := unix.MountSetattr(tree, "", flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns)})
	switch err {
	case unix.EINVAL:
		return errors.New("the file system cannot do that")
	case unix.EPERM:
		return errors.New("only a privileged user of the file system's user namespace may do that")
	}
	return err
}

// mapFor is the user namespace with the maps that a mount asks for: its own, or
// else those of the container.
func (t *treeMaker) mapFor(m *mountRequest) (int, error) {
	uids, gids := m.uids, m.gids
	if len(uids) == 0 {
		if ns, joined := t.maps[joinedMap]; joined {
			return ns, nil
		}
		uids, gids = t.plan.linux.UIDMappings, t.plan.linux.GIDMappings
	}
	key := fmt.Sprint(uids, gids)
	if ns, ok := t.maps[key]; ok {
		return ns, nil
	}
	if len(t.maps) >= inheritedTrees { // each can have its own
		t.maps.forget()
	}
	ns, err := mapNamespace(t.facts, uids, gids, t.signals)
	if err == nil {
		t.maps[key] = ns
	}
	return ns, err
}

// idMaps are user namespaces by the maps that they were made for.
type idMaps map[string]int

// joinedMap is the key of the user namespace that the container joins.
const joinedMap = "joined"

// forget closes those that were made here.
func (m idMaps) forget() {
	for key, ns := range m {
		if key != joinedMap {
			unix.Close(ns)
			delete(m, key)
		}
	}
}

func (m idMaps) close() {
	for _, ns := range m {
		unix.Close(ns)
	}
}

// mapNamespace makes a user namespace that has these maps and nobody in it: its
// only inhabitant is gone when this returns.
func mapNamespace(facts *hostFacts, uids, gids []specs.LinuxIDMapping, signals *signals) (int, error) {
	p, err := newProgram(facts, 0, 1, 2)
	if err != nil {
		return -1, err
	}
	defer p.close()
	p.writeMapNamespace()
	s, err := startSession(p, signals, birth{})
	if err != nil {
		return -1, err
	}
	defer s.close()
	defer s.end(killTime)
	if err := s.drive(handlers{}, syncUser); err != nil {
		return -1, err
	}
	if err := writeIDMaps(s.pid, uids, gids, signals); err != nil {
		return -1, err
	}
	return unix.Open(fmt.Sprintf("/proc/%d/ns/user", s.pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// writeMapNamespace is the life of that inhabitant.
func (p *program) writeMapNamespace() {
	p.section("the maps of an id-mapped mount")
	p.at("make a user namespace")
	p.dieWithParent()
	p.closeOthers()
	p.call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER)
	p.report(syncUser)
	p.await()
}

// hostTrees are files and directories of the host as mounts that are attached
// nowhere, for what the init of a user namespace is to attach and might not find
// its way to. Empty, they leave it to go there itself.
type hostTrees struct {
	paths []string
	fds   []int              // here
	init  map[string]valueAt // in the init, by path
}

// cloneHost makes them, where that is needed and ours to do.
func (c *initCompiler) cloneHost(paths []string) (t hostTrees, err error) {
	if !hasNamespace(c.plan.spec, specs.UserNamespace) || c.facts.user() != 0 {
		return t, nil
	}
	if len(paths) > maxRights {
		return t, fmt.Errorf("QEMU runs from %d files of the host: in a user namespace %d are the most; --hermit-env takes a tree instead", len(paths), maxRights)
	}
	if c.listed {
		t.paths = paths
		return t, nil
	}
	for _, path := range paths {
		fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			t.close()
			return hostTrees{}, fmt.Errorf("clone %s: %w", path, err)
		}
		t.paths, t.fds = append(t.paths, path), append(t.fds, fd)
	}
	return t, nil
}

// maxRights is less than SCM_MAX_FD: how many descriptors one message carries.
const maxRights = 250

// take receives them in the init, and send is the other end of it.
func (t *hostTrees) take(p *program) {
	if len(t.paths) == 0 {
		return
	}
	t.init = map[string]valueAt{}
	for i, fd := range p.receiveFiles(len(t.paths)) {
		t.init[t.paths[i]] = fd
	}
}

func (t *hostTrees) send(s *session) error {
	if len(t.fds) == 0 {
		return nil
	}
	return s.send(t.fds)
}

// open is the mount of a path, in the init.
func (t *hostTrees) open(p *program, path string) any {
	if fd, ok := t.init[path]; ok {
		return fd
	}
	return p.call(unix.SYS_OPEN_TREE, at_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
}

func (t *hostTrees) close() {
	for _, fd := range t.fds {
		unix.Close(fd)
	}
}

// checkIDMappedMounts: an id-mapped mount shows something that exists, and a map
// is there for it.
func checkIDMappedMounts(s *specs.Spec) error {
	for i, m := range s.Mounts {
		if len(m.UIDMappings) == 0 && !slices.Contains(m.Options, "idmap") && !slices.Contains(m.Options, "ridmap") {
			continue
		}
		r, err := readMount(m, "/")
		if err != nil {
			return err
		}
		switch {
		case !r.bind:
			return fmt.Errorf("mounts[%d] (%s): only a bind mount can be id-mapped, not %q", i, m.Destination, m.Type)
		case len(m.UIDMappings) == 0 && !hasNamespace(s, specs.UserNamespace):
			return fmt.Errorf("mounts[%d] (%s): idmap without uidMappings and gidMappings needs a user namespace, whose maps it takes", i, m.Destination)
		}
	}
	return nil
}
