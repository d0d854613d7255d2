// A Hermit guest's files under the real Docker daemon: volumes as Docker mounts them, and what `docker diff`, `cp` and `commit` see of
// what a guest has written.

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDockerShare(t *testing.T) {
	needs(t, hostVirtiofsd() != nil, "virtiofsd")
	k := newDockHermit(t)
	host := filepath.Join(k.d.dir, "shared")
	k.must(os.MkdirAll(host, 0o755))
	k.must(os.WriteFile(host+"/file", []byte("of the host\n"), 0o644))

	// Volumes, without a word about files: a named one outlives its container, a read-only one refuses.
	data := volumePath("/data")
	k.want(k.run("-v", "named:/data", "hermit", "write", data+"/kept", "by", "a guest"), 0, rtLastWords(0))
	k.want(k.run("-v", "named:/data", "hermit", "cat", data+"/kept"), 0, "by a guest\n"+rtLastWords(0))
	k.want(k.run("-v", "named:/data", "bb", "cat", "/data/kept"), 0, "by a guest\n")
	k.want(k.run("-v", host+":/data:ro", "hermit", "cat", data+"/file", ";", "write", data+"/file", "x"), 1,
		"of the host\nwrite "+data+"/file: errno 30\n"+rtLastWords(1))
	if got := rtRead(t, host+"/file"); got != "of the host\n" {
		t.Errorf("the guest changed a read-only volume: %q", got)
	}

	// All of the container's files, by the operator's configuration: its rootfs is the one that Docker shows.
	name := k.token + "-files"
	res := k.docker("run", "--name", name, "--runtime=runh-files", "hermit", "write", "/root/written", "by a guest", ";", "ls", "/root/hermit")
	if res.code != 0 || !strings.Contains(res.out, "hermit-loader\n") {
		t.Fatalf("exit code %d, %q, %q", res.code, res.out, res.err)
	}
	if diff := k.docker("diff", name).ok().out; !strings.Contains(diff, "A /written\n") || strings.Contains(diff, "hermit") {
		t.Errorf("docker diff: %q", diff)
	}
	copied := filepath.Join(k.d.dir, "copied")
	k.docker("cp", name+":/written", copied).ok()
	if got := rtRead(t, copied); got != "by a guest\n" {
		t.Errorf("docker cp: %q", got)
	}
	image := strings.ToLower(k.token) + "-committed"
	k.docker("commit", name, image)
	k.docker("rm", name).ok()
	k.want(k.docker("run", "--rm", "--runtime=runh-files", image, "cat", "/root/written"), 0, "by a guest\n"+rtLastWords(0))
}
