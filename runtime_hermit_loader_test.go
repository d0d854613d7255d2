// Kernels and loaders of different years: which pairs run, which are refused, and what is said of one that crashes.

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestHermitLoaderVersions(t *testing.T) {
	for _, x := range []struct {
		image, loader string
		name          string // of the loader in the image
		code          int    // of the container; -1: create refuses it
		want          string // in stdout, in the error, or for 134 in the log
	}{
		{"app-badnote", "loader-entry3", "hermit-loader", 0, "Hello"},
		{"app-badnote", "loader-entry3", "rusty-loader", 0, "Hello"},
		{"app", "loader-entry3", "hermit-loader", -1, "/hermit/app has Hermit entry version 4: the loader takes version 3 only; loaders since 0.5.0 take version 4"},
		{"app", "loader-entry3", "rusty-loader", -1, "the loader takes version 3 only"},
		{"app-badnote", "loader-flat", "hermit-loader", -1, "/hermit/app has Hermit entry version 3: the loader takes version 4 only; loaders 0.4.3 to 0.4.6 take version 3"},
		{"app-badnote", "loader-flat", "rusty-loader", -1, "the loader takes version 4 only"}, // what the file is counts, not its name
		{"app-old", "loader", "hermit-loader", 0, "Hello"},
		{"app-old", "loader-flat", "hermit-loader", -1, "/hermit/app has a kernel before 0.11, which crashes at once with a loader since 0.5.7, as /hermit/hermit-loader is: the loader must be 0.5.6 or older"},
		{"app-old", "loader-flat-unversioned", "hermit-loader", 134, "exit code 134: the guest crashed; its kernel is older than 0.11, which loaders since 0.5.7 cannot boot"},
		{"app", "loader-flat", "hermit-loader", 0, "Hello"},
		{"app", "loader-flat-unversioned", "hermit-loader", 0, "Hello"},
	} {
		t.Run(x.image+" "+x.loader+" "+x.name, func(t *testing.T) {
			r := newHermit(t)
			c := r.guest(x.image, []string{"hello"}, func(s *specs.Spec) { s.Process.Env = nil }).loader(x.loader)
			r.must(os.Rename(c.rootfs()+"/hermit/hermit-loader", c.rootfs()+"/hermit/"+x.name))
			res := c.run()
			where := res.out
			switch x.code {
			case -1:
				res.fails(x.want)
				where = res.err
			case 134:
				where = rtRead(t, r.log)
			}
			if x.code >= 0 && res.code != x.code || !strings.Contains(where, x.want) {
				t.Errorf("exit code %d, %q lacks %q; stderr %q", res.code, where, x.want, res.err)
			}
			if left := r.leftovers(); len(left) != 0 {
				t.Errorf("left %q", left)
			}
		})
	}
	// Not the loader's fault where it is known to be old enough: the message does not lead astray.
	r := newHermit(t)
	c := r.guest("app-old", []string{"triple"}, func(s *specs.Spec) { s.Process.Env = nil })
	if res, log := c.run(), rtRead(t, r.log); res.code != 134 || strings.Contains(log, "0.5.7") {
		t.Errorf("exit code %d, log %q", res.code, log)
	}
}
