// Checkpoints of Linux containers by Docker and podman, which TestVMEngines runs in its machines: there runh's criu has a kernel that it knows.

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// trapCounting counts in the log, and ends with 5 when it is asked to.
const trapCounting = "trap 'exit 5' TERM; " + counting

// A countingLog is that of a container in an engine: one for all the lives that it has had.
type countingLog struct {
	*rt
	read func() string
}

// more waits for three numbers after those that are there, and demands that none is left out and none repeated.
func (l *countingLog) more() {
	l.Helper()
	from, all := strings.Count(l.read(), "count "), ""
	l.eventually("the container counts in the logs", func() bool {
		all = l.read()
		return strings.Count(all, "count ") >= from+3
	})
	counted(l.T, all)
}

// again waits for a new first number, and demands that the others are one row.
func (l *countingLog) again() {
	l.Helper()
	const first = "count 1\n"
	all := ""
	l.eventually("the container counts from 1", func() bool {
		all = l.read()
		return strings.Count(all, first+"count 2\ncount 3\n") == 2
	})
	at := strings.LastIndex(all, first)
	counted(l.T, all[:at])
	counted(l.T, all[at:])
}

func TestCriuDocker(t *testing.T) {
	if !hasCriu(t) {
		return
	}
	k := newDock(t)
	k.stopSlice(k.d.parent)
	k.docker("network", "create", k.token).ok()
	k.Cleanup(func() { k.docker("network", "rm", k.token) })
	run := func(script string, how ...string) (c string, s *scope, log *countingLog) {
		c = k.start(slices.Concat(how, []string{"bb", "sh", "-c", script})...)
		log = &countingLog{k.rt, func() string { return strings.ReplaceAll(k.docker("logs", c).out, "\r", "") }}
		log.more()
		return c, k.scope("docker-"+k.inspect(c, "{{.Id}}")+".scope", k.d.parent), log
	}
	state := func(c, want string) {
		t.Helper()
		k.eventually("the container is "+want, func() bool { return k.inspect(c, "{{.State.Status}}") == want })
	}
	save := func(c, name string, s *scope) {
		t.Helper()
		k.settled()
		k.save(c, name)
		s.gone()
		k.settled()
	}

	c, s, log := run(trapCounting, "--network", "none", "-m", "64m", "--pids-limit", "50")
	k.docker("checkpoint", "create", "--leave-running", c, "one").ok()
	state(c, "running")
	log.more()
	save(c, "two", s)
	k.docker("start", "--checkpoint", "two", c).ok()
	state(c, "running")
	log.more()
	// What comes back is a container like any other.
	s.wantFiles("memory.max=67108864", "pids.max=50")
	k.want(k.docker("exec", c, "sh", "-c", "cat /proc/self/cgroup; exit 3"), 3, "0::/\n")
	own := k.ownDir(c)
	k.docker("rm", "-f", c).ok()
	s.gone()
	k.goneDir(own)

	// A terminal, and all that is mounted; a network with interfaces, which Docker makes anew.
	c, s, log = run(trapCounting, "--network", k.token, "-t", "--read-only", "--tmpfs", "/tmp", "-v", k.dir+":/data")
	save(c, "one", s)
	k.docker("start", "--checkpoint", "one", c).ok()
	log.more()
	k.docker("exec", c, "busybox", "ping", "-c", "1", k.inspect(c, "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}")).ok()
	k.docker("kill", "-s", "TERM", c).ok() // the trap has been saved with it
	k.want(k.docker("wait", c), 0, "5\n")
	s.gone()
	k.docker("start", c).ok() // without the checkpoint: from the beginning
	log.again()
	k.docker("rm", "-f", c).ok()

	// A connection, which Docker has no flag for: it goes on, or is saved where criu's configuration says so.
	c, s, log = run("sleep 1000 | nc -l -p 700 & sleep 0.5; ("+counting+") | nc 127.0.0.1 700", "--network", "none")
	if res := k.docker("checkpoint", "create", c, "one"); res.code == 0 || !strings.Contains(res.err, "criu dump: ") {
		t.Errorf("docker checkpoint create of a container with a connection: exit code %d, %s", res.code, res.err)
	}
	state(c, "running")
	log.more()
	if os.Getenv("RUNH_TEST_CRIU") != "" { // a machine of ours
		k.must(os.MkdirAll(filepath.Dir(criuConfig), 0o755))
		k.must(os.WriteFile(criuConfig, []byte("tcp-established\n"), 0o644))
		save(c, "two", s)
		k.docker("start", "--checkpoint", "two", c).ok()
		log.more()
	}
	k.docker("rm", "-f", c).ok()
	s.gone()
}

func TestCriuPodman(t *testing.T) {
	if !hasCriu(t) {
		return
	}
	p := newPodman(t)
	p.stopSlice(p.parent())
	c := p.start("-m", "64m", "--pids-limit", "50", "bb", "sh", "-c", trapCounting)
	log := &countingLog{p.rt, func() string { return strings.ReplaceAll(p.podman("logs", c).out, "\r", "") }}
	state := func(want string) {
		t.Helper()
		if have := p.inspect(c, "{{.State.Status}}"); have != want {
			t.Errorf("the container is %s, want %s", have, want)
		}
	}
	save := func(flags ...string) {
		t.Helper()
		// What it may say on stderr is its own: of a log that grows while it packs it.
		if res := p.podman(slices.Concat([]string{"container", "checkpoint"}, flags, []string{c})...); res.code != 0 {
			t.Fatalf("podman container checkpoint %v: exit code %d, %s", flags, res.code, res.err)
		}
	}
	s := p.podmanScope(c, p.parent())
	log.more()
	save("--leave-running", "--export", p.dir+"/beside.tar.gz")
	state("running")
	log.more()
	save("--pre-checkpoint")
	state("running")
	log.more()
	save("--with-previous")
	state("exited")
	s.gone()
	p.podman("container", "restore", c).ok()
	state("running")
	log.more()
	p.podmanScope(c, p.parent())
	s.wantFiles("memory.max=67108864", "pids.max=50")
	p.want(p.podman("exec", c, "sh", "-c", "cat /proc/self/cgroup; exit 3"), 3, "0::/\n")
	p.podman("pause", c).ok()
	s.wantFiles("cgroup.freeze=1")
	p.podman("unpause", c).ok()
	log.more()
	save("--export", p.dir+"/last.tar.gz")
	state("exited")
	s.gone()
	p.podman("start", c).ok()
	log.again()
	p.podman("stop", "-t", "20", c).ok()
	p.want(p.podman("wait", c), 0, "5\n")
	p.podman("rm", c).ok()
	s.gone()
	// From the archives: under its name, and under another with an id of its own.
	p.podman("container", "restore", "--import", p.dir+"/last.tar.gz").ok()
	p.podman("container", "restore", "--import", p.dir+"/beside.tar.gz", "--name", c+"-copy").ok()
	for _, name := range []string{c, c + "-copy"} {
		p.eventually(name+" counts", func() bool { return strings.Count(p.podman("logs", name).out, "count ") > 3 })
		p.podman("stop", "-t", "20", name).ok()
		p.want(p.podman("wait", name), 0, "5\n")
		p.podman("rm", name).ok()
	}
	// A terminal, and mounts, in an order that is not always the same: podman's store, too, with the container's rootfs in it.
	c = p.start("-t", "--read-only", "--tmpfs", "/tmp", "-v", p.dir+":/data", "-v", p.dir+":/other:ro", "bb", "sh", "-c", trapCounting)
	log.more()
	for range 2 {
		save()
		p.podman("container", "restore", c).ok()
		log.more()
	}
	p.want(p.podman("exec", c, "sh", "-c", "touch /tmp/x /data/x; (touch /x || touch /other/x) 2>/dev/null || echo read-only"), 0, "read-only\n")
	p.podman("rm", "-f", "-t", "0", c).ok()
	// A connection inside.
	c = p.start("bb", "sh", "-c", "sleep 1000 | nc -l -p 700 & sleep 0.5; ("+counting+") | nc 127.0.0.1 700")
	log.more()
	if res := p.podman("container", "checkpoint", c); res.code == 0 {
		t.Error("a connection was saved without --tcp-established")
	}
	state("running")
	log.more()
	save("--tcp-established")
	p.podman("container", "restore", "--tcp-established", c).ok()
	log.more()
}
