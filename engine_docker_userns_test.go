// A Docker daemon with userns-remap: its containers' root is an ordinary user of the host.

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A daemon of its own, whose containers' root is an ordinary user of the host: the users' files are the namespace's own.
func TestDockerUserns(t *testing.T) {
	k := &dock{rt: newRT(t)}
	needsPrograms(t, "dockerd", "/usr/bin/docker", "containerd", "unshare", "iptables", "ip")
	var err error
	k.d, err = startDocker(k.rt, `chmod 711 . &&
		echo remap:x:200000:200000::/:/bin/sh >u && echo remap:x:200000: >g && echo remap:200000:65536 >s && cat /etc/passwd >>u && cat /etc/group >>g &&
		touch /etc/subuid /etc/subgid && mount --bind u /etc/passwd && mount --bind g /etc/group && mount --bind s /etc/subuid && mount --bind s /etc/subgid &&`,
		map[string]any{"userns-remap": "remap"})
	k.must(err)
	t.Cleanup(k.d.stop)
	k.want(k.run("bb", "sh", "-c", "id -u; tr -s ' ' </proc/self/uid_map; stat -c %u:%g / /proc /dev/null; echo x >/new && chown 7:8 /new && stat -c %u:%g /new"), 0,
		"0\n 0 200000 65536\n0:0\n65534:65534\n65534:65534\n7:8\n")
	dir := filepath.Join(k.d.dir, "volume")
	k.must(os.Mkdir(dir, 0o777))
	k.must(os.Chmod(dir, 0o777))
	c := k.start("-v", dir+":/v", "-m", "64m", "bb", "sh", "-c", "touch /v/file; exec sleep 1000")
	k.want(k.docker("exec", "-u", "5:6", c, "sh", "-c", "id -u; id -g; readlink /proc/1/ns/user | cmp - /dev/null 2>/dev/null; touch /v/second"), 0, "5\n6\n")
	for name, uid := range map[string]uint32{"file": 200000, "second": 200005} {
		fi, err := os.Stat(filepath.Join(dir, name))
		k.must(err)
		if got := fi.Sys().(*syscall.Stat_t).Uid; got != uid {
			t.Errorf("%s belongs to %d on the host, want %d", name, got, uid)
		}
	}
	k.docker("pause", c).ok()
	k.docker("unpause", c).ok()
	k.want(k.run("--network", "container:"+c, "bb", "sh", "-c", "ip -o -4 addr show dev eth0 | wc -l"), 0, "1\n")
	k.want(k.run("--userns", "host", "bb", "sh", "-c", "tr -s ' ' </proc/self/uid_map"), 0, " 0 0 4294967295\n")
	k.docker("stop", "-t", "1", c).ok()
	if s := k.inspect(c, "{{.State.ExitCode}}"); s != "137" {
		t.Errorf("exit code %s after stop, want 137", s)
	}
	if !k.isRunh() {
		return
	}
	root := filepath.Join(k.d.dir, "image-hermit")
	hermitRootfs(k.rt, root, "app")
	k.must(k.d.importImage("hermit", root, `ENTRYPOINT ["/hermit/app"]`))
	k.want(k.run("hermit", "hello"), 0, "Hello from Hermit's stand-in!\n"+rtLastWords(0))
	k.want(k.run("hermit", "exit", "7"), 7, rtLastWords(7))
	h := k.start("-m", "256m", "hermit", "print", "one", ";", "count")
	k.eventually("the guest counts in the logs", func() bool { return strings.HasPrefix(k.docker("logs", h).out, "one\ncount 1\n") })
	users := map[string]int{}
	for _, l := range strings.Split(k.docker("top", h, "-o", "pid,uid,comm").ok().out, "\n") {
		if f := strings.Fields(l); len(f) == 3 && f[0] != "PID" {
			users[f[2]], _ = strconv.Atoi(f[1])
		}
	}
	if keeper, qemu := users["runh"], users["qemu-system-x86"]; keeper != 200000 || qemu < 232768 || qemu > 265535 {
		t.Errorf("docker top: %v, want the keeper as 200000 and QEMU as one of the upper half of 65536", users)
	}
	k.docker("stop", "-t", "20", h).ok()
	if s := k.inspect(h, "{{.State.ExitCode}}"); s != "143" {
		t.Errorf("exit code %s after stop, want 143", s)
	}
}
