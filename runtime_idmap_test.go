// Id-mapped mounts, and mounts in a user namespace: who a file of the host's belongs to inside, and who it belongs to on the
// host when it was made inside.

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ownedTree is a directory of the host's with files of root and of user 5, and a tmpfs below it.
func ownedTree(r *rt) string {
	r.Helper()
	dir := filepath.Join(r.dir, "owned")
	r.must(os.MkdirAll(dir+"/sub", 0o777))
	r.must(unix.Mount("tmpfs", dir+"/sub", "tmpfs", 0, "mode=777"))
	r.Cleanup(func() { unix.Unmount(dir+"/sub", unix.MNT_DETACH) })
	r.must(os.Chmod(dir, 0o777))
	for name, owner := range map[string]int{"root": 0, "five": 5, "sub/root": 0} {
		r.must(os.WriteFile(dir+"/"+name, nil, 0o644))
		r.must(os.Chown(dir+"/"+name, owner, owner))
	}
	return dir
}

func TestIDMappedMounts(t *testing.T) {
	ids := func(from, to, n uint32) []specs.LinuxIDMapping {
		return []specs.LinuxIDMapping{{ContainerID: from, HostID: to, Size: n}}
	}
	const look = `cd /m; stat -c '%n %u:%g' root five sub/root; echo >new && echo made`
	for _, x := range []struct {
		name, want string
		options    []string
		uids, gids []specs.LinuxIDMapping
		users      bool
		made       uint32 // the owner on the host of what the container's user makes
		user       uint32
	}{
		{"not mapped", "root 0:0\nfive 5:5\nsub/root 0:0\nmade\n", []string{"rbind"}, nil, nil, false, 1003, 1003},
		{"idmap", "root 1000:1001\nfive 1005:1006\nsub/root 0:0\nmade\n", []string{"rbind", "idmap"}, ids(0, 1000, 10), ids(0, 1001, 10), false, 3, 1003},
		{"by the maps alone", "root 1000:1000\nfive 1005:1005\nsub/root 0:0\nmade\n", []string{"rbind"}, ids(0, 1000, 10), ids(0, 1000, 10), false, 3, 1003},
		{"ridmap", "root 1000:1000\nfive 1005:1005\nsub/root 1000:1000\nmade\n", []string{"rbind", "ridmap"}, ids(0, 1000, 10), ids(0, 1000, 10), false, 3, 1003},
		// Who has no number in the map cannot be the owner of anything there.
		{"outside the map", "root 1000:1000\nfive 65534:65534\nsub/root 0:0\n", []string{"rbind", "idmap"}, ids(0, 1000, 3), ids(0, 1000, 3), false, 0, 1003},
		{"not mapped, in a user namespace", "root 65534:65534\nfive 65534:65534\nsub/root 65534:65534\nmade\n", []string{"rbind"}, nil, nil, true, 101003, 1003},
		{"the user namespace's map", "root 0:0\nfive 5:5\nsub/root 0:0\nmade\n", []string{"rbind", "ridmap"}, nil, nil, true, 1003, 1003},
		{"its own in a user namespace", "root 7:7\nfive 12:12\nsub/root 65534:65534\nmade\n", []string{"rbind", "idmap"}, ids(0, 100007, 10), ids(0, 100007, 10), true, 2, 9},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRT(t)
			if x.uids != nil || x.users {
				r.onlyRunh("runc 1.1 has no id-mapped mounts")
			}
			dir := ownedTree(r)
			m := bindAt(dir, "/m", x.options...)
			m.UIDMappings, m.GIDMappings = x.uids, x.gids
			c := r.sh(look, addMount(m), func(s *specs.Spec) { s.Process.User = specs.User{UID: x.user, GID: x.user} })
			if x.users {
				c.ownUsers()
			}
			if res := c.run(); res.out != x.want {
				t.Errorf("stdout %q, want %q; stderr %q", res.out, x.want, res.err)
			}
			var st syscall.Stat_t
			err := syscall.Stat(dir+"/new", &st)
			if strings.Contains(x.want, "made") && (err != nil || st.Uid != x.made) {
				t.Errorf("on the host the new file belongs to %d (%v), want %d", st.Uid, err, x.made)
			}
		})
	}
	t.Run("joined user namespace", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("runc 1.1 has no id-mapped mounts")
		a := r.bundle([]string{"sleep", "1000"}).ownUsers().create().start()
		b := r.sh(look, addMount(bindAt(ownedTree(r), "/m", "rbind", "ridmap"))).ownUsers()
		b.spec.Linux.UIDMappings, b.spec.Linux.GIDMappings = nil, nil
		dropNS(b.spec, specs.UserNamespace)
		joinNS(specs.UserNamespace, pidNS(a.pid, "user"))(b.spec)
		b.write()
		if res := b.run(); res.out != "root 0:0\nfive 5:5\nsub/root 0:0\nmade\n" {
			t.Errorf("stdout %q, stderr %q", res.out, res.err)
		}
	})
	t.Run("flags", func(t *testing.T) { // the other words keep their meaning
		r := newRT(t)
		r.onlyRunh("runc 1.1 has no id-mapped mounts")
		m := bindAt(ownedTree(r), "/m", "rbind", "idmap", "ro", "nosuid", "rslave")
		m.UIDMappings, m.GIDMappings = ids(0, 1000, 10), ids(0, 1000, 10)
		words := rtMountWords(r.sh("cat /proc/self/mountinfo", addMount(m)).output())["/m"]
		for _, w := range []string{"ro", "nosuid", "idmapped"} {
			if !words[w] {
				t.Errorf("mounted with %v, want %s", words, w)
			}
		}
	})
	t.Run("bad", func(t *testing.T) {
		r := newRT(t)
		r.onlyRunh("runc 1.1 has no id-mapped mounts")
		r.sh("true", addMount(tmpfsAt("/m", "idmap"))).ownUsers().tryCreate().fails(`only a bind mount can be id-mapped, not "tmpfs"`)
		r.sh("true", addMount(bindAt(r.dir, "/m", "idmap"))).tryCreate().fails("needs a user namespace, whose maps it takes")
		m := bindAt("/proc/self", "/m", "bind", "idmap")
		m.UIDMappings, m.GIDMappings = ids(0, 1000, 10), ids(0, 1000, 10)
		r.sh("true", addMount(m)).tryCreate().fails("mount /proc/self on /m: map its ids: the file system cannot do that")
		m.Source, m.GIDMappings = r.dir, nil
		r.sh("true", addMount(m)).tryCreate().fails("only allowed together")
		m.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1, Size: 5}, {ContainerID: 3, HostID: 9, Size: 5}}
		r.sh("true", addMount(m)).tryCreate().fails("map its ids: write ")
	})
}

// What is mounted into a container with a user namespace need not be open to that namespace's root on the host (/var/lib/docker
// is not). The container is shown the mount, not the way to it.
func TestUserNamespaceMountSources(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("runc 1.1 cannot")
	dir := ownedTree(r)
	r.must(os.WriteFile(dir+"/data", []byte("data\n"), 0o644))
	deep := filepath.Join(r.dir, "private", "deep")
	r.must(os.MkdirAll(deep, 0o755))
	r.must(os.WriteFile(deep+"/file", []byte("file\n"), 0o644))
	r.must(os.Chmod(filepath.Dir(deep), 0o700))
	c := r.sh("cat /m/file /f; cat /proc/self/mountinfo", addMount(
		bindAt(deep, "/m", "rbind", "rprivate", "ro"), bindAt(deep+"/file", "/f", "bind", "noexec"))).ownUsers()
	out := c.output()
	words := rtMountWords(out)
	if !strings.HasPrefix(out, "file\nfile\n") || !words["/m"]["ro"] || !words["/f"]["noexec"] {
		t.Errorf("%q", out)
	}
	// A shared source stays the host's: nothing mounted inside shows up outside.
	shared := filepath.Join(r.dir, "private", "shared")
	r.must(os.Mkdir(shared, 0o755))
	r.must(unix.Mount("tmpfs", shared, "tmpfs", 0, "mode=777"))
	defer unix.Unmount(shared, unix.MNT_DETACH)
	r.must(unix.Mount("", shared, "", unix.MS_SHARED, ""))
	d := r.sh("mkdir /m/x && mount -t tmpfs none /m/x && cat /proc/self/mountinfo", addMount(bindAt(shared, "/m", "rbind"))).ownUsers()
	all := append([]string{"CAP_SYS_ADMIN"}, d.spec.Process.Capabilities.Bounding...)
	d.spec.Process.Capabilities.Bounding, d.spec.Process.Capabilities.Effective, d.spec.Process.Capabilities.Permitted = all, all, all
	d.spec.Linux.Seccomp = nil
	d.write()
	words = rtMountWords(d.output())
	if words["/m"]["shared"] || !words["/m"]["master"] || words["/m/x"] == nil {
		t.Errorf("/m is %v, /m/x %v", words["/m"], words["/m/x"])
	}
	if strings.Contains(rtMounts(), fmt.Sprintf("%s/x ", shared)) {
		t.Error("a mount of the container's is on the host")
	}
}
