// The quick start of docs/ and the README's, as a reader would try them: every command of their blocks, in one machine made for it: namespaces in which /etc,
// /usr/local, /var/lib and the source tree are overlays, so that what is installed and configured there is gone with them.

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// docCommand is a command of a page, and what must come out of it.
type docCommand struct {
	page       string
	line       int
	text, want string
}

// docCommands are those of a page: of its console blocks, or of a section's indented lines.
func docCommands(t *testing.T, page, section string) (all []docCommand) {
	t.Helper()
	in, here := false, section == ""
	for i, l := range strings.Split(rtRead(t, page), "\n") {
		if section != "" {
			if strings.HasPrefix(l, "## ") {
				here = l == "## "+section
			}
			l, in = strings.CutPrefix(l, "    ")
			in = in && here && !strings.HasPrefix(l, "# ") // that is shown, not run
		}
		switch command, ok := strings.CutPrefix(l, "$ "); {
		case strings.HasPrefix(l, "```"):
			in = l == "```console"
		case in && ok:
			all = append(all, docCommand{page: page, line: i + 1, text: command})
		case in && len(all) == 0:
			t.Fatalf("%s:%d: output before any command", page, i+1)
		case in:
			all[len(all)-1].want += l + "\n"
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s %s has no commands", page, section)
	}
	return all
}

// answers says whether out is what the page has; "..." stands for anything, a line of it for any lines.
func (c *docCommand) answers(out string) bool {
	re := regexp.QuoteMeta(c.want)
	re = strings.ReplaceAll(re, `\.\.\.`+"\n", "(?s:.*)")
	re = strings.ReplaceAll(re, `\.\.\.`, ".*")
	return regexp.MustCompile(`\A` + re + `\z`).MatchString(out)
}

// systemctl is what the machine has instead of systemd; "restart" is all that the pages ask for. The images of registries are there already.
const docSystemctl = `#!/bin/sh
[ "$1" = restart ] || exit 1
running() { [ -s /run/$2.pid ] && kill -0 $(cat /run/$2.pid) 2>/dev/null; }
if running $*; then
	kill $(cat /run/$2.pid)
	while running $*; do sleep 0.05; done
fi
case $2 in
docker) dockerd >>/run/docker.log 2>&1 & asks='docker info' ;;
containerd) containerd >>/run/containerd.log 2>&1 & echo $! >/run/containerd.pid; asks='ctr version' ;;
crio) ! command -v crio >/dev/null || crio config >/dev/null; exit ;;
esac
while ! $asks >/dev/null 2>&1; do
	kill -0 $! || { cat /run/$2.log; exit 1; }
	sleep 0.05
done
[ $2 != docker ] || docker image inspect busybox >/dev/null 2>&1 || docker import /doc/busybox.tar busybox >/dev/null
`

const docMachine = `set -e
mkdir -p $T/run && mount --bind $T/run /run
for d in /etc /usr/local /var/lib $PWD; do
	mkdir -p $T/up$d $T/work$d
	mount -t overlay -o lowerdir=$d,upperdir=$T/up$d,workdir=$T/work$d none $d
done
cd $PWD
for d in docker containerd containers; do
	mkdir -p /var/lib/$d $T/lib/$d
	mount --bind $T/lib/$d /var/lib/$d # an overlay cannot be another's upper directory
done
mkdir -p /usr/local/bin /etc/docker /etc/containers /etc/containerd /run/netns
rm -f /etc/containerd/config.toml /etc/crio/crio.conf.d/20-runh.conf
mv $T/systemctl /usr/local/bin
echo '{"cgroup-parent": "/'$TOKEN'"}' >/etc/docker/daemon.json
echo 'disabled_plugins = ["io.containerd.internal.v1.opt"]
version = 2' >/etc/containerd/config.toml
# What a host without CAP_SYS_RESOURCE and without systemd needs.
echo '[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"' >/etc/containers/containers.conf
echo "{}" >$T/config.json # of docker and podman
ip link set lo up
export PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH DOCKER_CONFIG=$T
set +e
`

func TestQuickStart(t *testing.T) {
	r := newHermit(t)
	needs(t, hybridCgroup(), "cgroup v1")
	needsPrograms(t, "dockerd", "containerd", "ctr", "/usr/bin/podman", "unshare", "make", "bash")
	all := append(docCommands(t, "docs/quickstart.md", ""), docCommands(t, "docs/checkpoints.md", "")...)
	all = append(all, docCommand{text: "cd hello"})
	all = append(all, docCommands(t, "README.md", "With Docker")...)
	r.Cleanup(func() {
		rmLibpod()
		dirs, _ := filepath.Glob("/sys/fs/cgroup/*/" + r.token) // Docker's, of its containers' parent
		for _, dir := range dirs {
			syscall.Rmdir(dir)
		}
	})
	root := r.dir + "/bb"
	busyboxRootfs(t, root)
	tarFile(t, r.dir+"/busybox.tar", root)
	r.must(os.WriteFile(r.dir+"/systemctl", []byte(strings.ReplaceAll(docSystemctl, "/doc/", r.dir+"/")), 0o755))
	script := bytes.NewBufferString(docMachine)
	for i, c := range all {
		fmt.Fprintf(script, "{ %[1]s\n} >$T/out%[2]d 2>$T/err%[2]d </dev/null; echo $? >$T/code%[2]d\n", c.text, i)
	}
	script.WriteString("for p in docker containerd; do kill $(cat /run/$p.pid); done; while kill -0 $(cat /run/docker.pid) 2>/dev/null; do sleep 0.05; done\n")
	cmd := exec.Command("unshare", "-m", "-n", "-p", "-f", "--mount-proc", "--kill-child", "bash", "-c", script.String())
	cmd.Env = append(os.Environ(), "T="+r.dir, "TOKEN="+r.token, "CGO_ENABLED=0")
	if cmd.Dir, _ = os.Getwd(); cmd.Dir == "" {
		t.Fatal("no working directory")
	}
	log := newSink(t)
	cmd.Stdout, cmd.Stderr = log.w, log.w
	r.must(cmd.Start())
	log.w.Close()
	hung := time.AfterFunc(5*time.Minute, func() { cmd.Process.Kill() })
	cmd.Wait()
	if !hung.Stop() {
		t.Error("not done within five minutes")
	}
	for i, c := range all {
		out := rtReadOr(fmt.Sprintf("%s/out%d", r.dir, i))
		code := strings.TrimSpace(rtReadOr(fmt.Sprintf("%s/code%d", r.dir, i)))
		if code != "0" || !c.answers(out) {
			t.Fatalf("%s:%d: %s\nanswers, with exit code %s,\n%swant\n%s%s%s", c.page, c.line, c.text, code, out, c.want, rtReadOr(fmt.Sprintf("%s/err%d", r.dir, i)), log)
		}
	}
}
