// docker checkpoint create and docker start --checkpoint, which dockerd has when it is told to be experimental, for a Hermit container. dockerd pauses
// it, has containerd write the checkpoint into its store, and copies it from there.

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const containerdBlobs = "/io.containerd.content.v1.content/blobs/sha256/*"

// settled waits until containerd has collected what it wrote for a checkpoint: the same bytes once more, and Docker 20 says "already exists".
func (k *dock) settled() {
	k.Helper()
	k.eventually("containerd has nothing left of the last checkpoint", func() bool {
		own, _ := filepath.Glob(k.d.dir + "/data/containerd/daemon" + containerdBlobs)
		besides, _ := filepath.Glob(k.d.dir + "/c/root" + containerdBlobs) // see underSystemd
		return len(own)+len(besides) == 0
	})
}

// save ends a container with a checkpoint of it.
func (k *dock) save(c, name string) {
	k.Helper()
	k.docker("checkpoint", "create", c, name).ok()
	k.eventually("the saved container has ended", func() bool { return k.inspect(c, "{{.State.Status}}") == "exited" })
}

// ownDir is where the daemon keeps what belongs to a container, its checkpoints for one.
func (k *dock) ownDir(c string) string {
	k.Helper()
	dir := k.d.dir + "/data/containers/" + k.inspect(c, "{{.Id}}")
	_, err := os.Stat(dir + "/checkpoints")
	k.must(err)
	return dir
}

func (k *dock) goneDir(dir string) {
	k.Helper()
	if left, _ := filepath.Glob(dir + "/*"); len(left) != 0 {
		k.Errorf("left %q", left)
	}
}

func TestDockerCheckpoint(t *testing.T) {
	k := newDockHermit(t)
	c := k.start("--network", "none", "hermit", "count")
	counting := func(c string, from int) int {
		t.Helper()
		last := 0
		k.eventually("the guest counts in the logs", func() bool {
			last = strings.Count(k.docker("logs", c).out, "count ")
			return last >= from+3
		})
		return last
	}
	n := counting(c, 0)
	// Beside the running container first.
	k.docker("checkpoint", "create", "--leave-running", c, "one").ok()
	counting(c, n)
	k.settled()
	k.save(c, "two")
	if ls := k.docker("checkpoint", "ls", c).ok().out; !strings.Contains(ls, "one") || !strings.Contains(ls, "two") {
		t.Errorf("docker checkpoint ls: %q", ls)
	}
	before := strings.Count(k.docker("logs", c).out, "count ")
	k.settled()
	k.docker("start", "--checkpoint", "two", c).ok()
	counting(c, before)
	// One log with all lives: each number once, none left out.
	counted(t, k.docker("logs", c).out)
	own := k.ownDir(c)
	k.docker("kill", c).ok()
	k.docker("rm", c).ok()
	k.goneDir(own)
}

// With the default bridge Docker gives the container that it starts again whatever address is free: the guest has it, for others.
func TestDockerCheckpointBridge(t *testing.T) {
	k := newDockHermit(t)
	c := k.start("-p", "29977:9975", "hermit", "net", ";", "serve", "docker")
	k.logs(c, "serving as docker")
	address := func(c string) string { return k.inspect(c, "{{.NetworkSettings.IPAddress}}") }
	was := address(c)
	k.save(c, "one")
	for address(k.start("bb", "sleep", "1000")) != was { // takes an address that is free now
	}
	k.settled()
	k.docker("start", "--checkpoint", "one", c).ok()
	ip := address(c)
	if ip == was {
		t.Fatalf("Docker gave %s again", ip)
	}
	for _, at := range []string{"127.0.0.1:29977", ip + ":80"} {
		if who, _ := k.host().ask("tcp", at); who != "docker" {
			t.Errorf("%s: %s answers", at, who)
		}
	}
}

// podman container checkpoint and restore. podman asks criu for its version before it calls the runtime, and wants the program for that alone.
func TestPodmanCheckpoint(t *testing.T) {
	p := newPodman(t)
	p.onlyRunh("a Hermit image")
	needsPrograms(t, "criu")
	p.importHermit()
	res := p.podman("run", "-d", "--name", p.token+"c", "--cgroup-parent", p.parent(), "--network", "none", "hermit", "count")
	if res.code != 0 {
		t.Fatalf("podman run: %s", res.err)
	}
	c := p.token + "c"
	counting := func(from int) (last int) {
		t.Helper()
		p.eventually("the guest counts in the logs", func() bool {
			last = strings.Count(p.podman("logs", c).out, "count ")
			return last >= from+3
		})
		return last
	}
	n := counting(0)
	for _, way := range [][]string{{"--leave-running", "--export", p.dir + "/beside.tar.gz"}, {"--keep"}} {
		if res := p.podman(append(append([]string{"container", "checkpoint"}, way...), c)...); res.code != 0 {
			t.Fatalf("podman container checkpoint %v: %s", way, res.err)
		}
	}
	if status := strings.TrimSpace(p.podman("inspect", "--format", "{{.State.Status}}", c).out); status != "exited" {
		t.Errorf("a saved container is %s", status)
	}
	if res := p.podman("container", "restore", "--keep", c); res.code != 0 {
		t.Fatalf("podman container restore: %s", res.err)
	}
	counting(n)
	counted(t, p.podman("logs", c).out)
	p.podman("rm", "-f", "-t", "0", c)
	// From the archive: a container that podman makes anew.
	if res := p.podman("container", "restore", "--import", p.dir+"/beside.tar.gz"); res.code != 0 {
		t.Fatalf("podman container restore --import: %s", res.err)
	}
	counting(0)
}
