// Bind mounts: the source, its clone, and the attachment. The clone gets its attributes while nobody can see it.
//
// Contract: a source inside the container's own rootfs is a name in the container, and as hostile as the others.
// It is opened beneath the root, after the mounts that come before it in the list; only the init can see whether
// it is a directory. init_idmount.go has the parent's clones.

package main

import (
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// inRootfs reads paths that begin with the rootfs's, by its real name or as the
// config names it, as what they are: names in the container.
func (m *mountRequest) inRootfs(rootfs string, spec *specs.Spec, bundle string) {
	named := filepath.Clean(spec.Root.Path)
	if !filepath.IsAbs(named) {
		named = filepath.Join(bundle, named)
	}
	for _, root := range [...]string{rootfs, named} {
		if root == "/" || root == "" {
			continue
		}
		if name, ok := nameIn(m.dest, root); ok {
			m.dest = name
		}
		if name, ok := nameIn(filepath.Clean(m.source), root); ok && m.bind {
			m.within = name
		}
	}
}

// nameIn is what a path of the host is called in a root, if it is in there.
func nameIn(path, root string) (string, bool) {
	rest, ok := strings.CutPrefix(path, root)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return filepath.Clean("/" + rest), true
}

// bindMount clones the source's mounts and attaches the clone. A file goes on a
// file, a directory on a directory.
func (r *rootfs) bindMount(m *mountRequest, proc bool) error {
	target := r.alloc(8)
	var tree any
	if m.within != "" {
		tree = r.clone(m)
		var file, found label
		r.call(unix.SYS_FCHDIR, tree).ignore(unix.EACCES).on(unix.ENOTDIR, &file)
		r.targetInto(target, m.dest, true, 0, nil)
		r.jump(&found)
		r.place(&file)
		r.fileTarget(target, m.dest)
		r.place(&found)
	} else {
		directory, err := r.facts.directory(m.source)
		if err != nil {
			return err
		}
		if directory {
			r.targetInto(target, m.dest, true, 0, nil)
		} else {
			r.fileTarget(target, m.dest)
		}
		tree = r.clone(m)
	}
	r.checkTarget(valueAt(target), proc)
	r.attach(m, tree, valueAt(target), 0)
	return nil
}

// fileTarget is a target for a file. move_mount(2) has only EINVAL for a directory.
func (r *rootfs) fileTarget(fd addr, path string) {
	r.targetInto(fd, path, false, 0, nil)
	var directory, done label
	r.call(unix.SYS_FCHDIR, valueAt(fd)).on(unix.ENOTDIR, &done).on(unix.EACCES, &directory)
	r.place(&directory)
	r.refuse("%s: not a directory: the source is a file, the destination a directory", r.step)
	r.place(&done)
}

// attach gives a clone of mounts its attributes and mounts it.
func (r *rootfs) attach(m *mountRequest, tree, target any, lenient uint64) {
	r.setFlags(tree, m.set, m.clear, 0, lenient)
	r.setFlags(tree, m.rset, m.rclear, unix.MS_REC, lenient)
	if m.propagation != 0 {
		r.setattr(tree, 0, 0, m.propagation)
	}
	r.call(unix.SYS_MOVE_MOUNT, tree, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// setFlags is setattr for a mount that is the host's. In a user namespace what the
// host has forbidden on it stays forbidden: dev, suid, exec, rw, another access
// time. A word that asks for it nevertheless is an error, but for the lenient ones,
// which are then left as they are.
func (r *rootfs) setFlags(fd any, set, clear uint64, depth uintptr, lenient uint64) {
	if set|clear == 0 {
		return
	}
	try := r.setattr(fd, set, clear, depth)
	if clear == 0 {
		return
	}
	var locked, refused, done label
	try.on(unix.EPERM, &locked)
	r.jump(&done)
	r.place(&locked)
	if clear&lenient != 0 {
		r.setattr(fd, set&^lenient, clear&^lenient, depth).on(unix.EPERM, &refused)
		r.jump(&done)
		r.place(&refused)
	}
	r.refuse("%s: cannot clear locked flags: in a user namespace the host's mount keeps what it forbids, and the options ask for %s", r.step, lockable(clear))
	r.place(&done)
}

// lockable are the words for attributes to clear that a user namespace can find
// locked.
func lockable(clear uint64) string {
	var words []string
	for _, o := range [...]struct {
		attr uint64
		word string
	}{
		{unix.MOUNT_ATTR_RDONLY, "rw"},
		{unix.MOUNT_ATTR_NODEV, "dev"},
		{unix.MOUNT_ATTR_NOEXEC, "exec"},
		{unix.MOUNT_ATTR_NOSUID, "suid"},
		{unix.MOUNT_ATTR_NODIRATIME, "diratime"},
		{atime, "another access time"},
	} {
		if clear&o.attr != 0 {
			words = append(words, o.word)
		}
	}
	return strings.Join(words, ", ")
}

// clone is the mount that a bind attaches: the parent's, where that has been
// mapped; otherwise one of our own making, in which nobody here can undo what
// the host has locked, unless the way to the source is closed to us. What lies in
// the container's own rootfs is cloned here in any case, and mapped by the parent.
func (r *rootfs) clone(m *mountRequest) any {
	flags := uint64(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if m.recursive {
		flags |= unix.AT_RECURSIVE
	}
	if m.within != "" {
		tree := r.call(unix.SYS_OPEN_TREE, r.open(m.within, unix.O_PATH, 0), "", flags|unix.AT_EMPTY_PATH)
		if m.idmap {
			r.sendDescriptor(tree, syncIDMap.ofMount(m.index))
			r.await()
		}
		return tree
	}
	if m.idmap {
		return r.theirs(m)
	}
	ours := r.call(unix.SYS_OPEN_TREE, at_FDCWD, m.source, flags)
	if m.tree == 0 && !m.asks {
		return ours
	}
	var closed, done label
	fd := r.alloc(8)
	ours.on(unix.EACCES, &closed).into(fd)
	r.jump(&done)
	r.place(&closed)
	r.call(unix.SYS_DUP, r.theirs(m)).into(fd)
	r.place(&done)
	return valueAt(fd)
}

// theirs is the parent's clone: inherited, or asked for.
func (r *rootfs) theirs(m *mountRequest) any {
	if !m.asks {
		return m.tree
	}
	r.report(syncTree.ofMount(m.index))
	return r.receiveFiles(1)[0]
}
