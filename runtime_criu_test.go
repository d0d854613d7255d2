// checkpoint and restore of Linux containers, with a script in criu's place: what it is told, and what becomes of the container around the
// processes that it says it has made. Whether criu can do it is criu's matter, and the kernel's.
package main

import (
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

const fakeCriu = `#!/bin/sh
printf '%s\n' "$@" >"$0.args"
[ ! -e "$0.fails" ] || exit 3
action=$1
while [ $# -gt 0 ]; do
	case $1 in
	--images-dir) images=$2 ;;
	--tree) tree=$2 ;;
	--pidfile) pidfile=$2 ;;
	--leave-running) stays=1 ;;
	esac
	shift
done
case $action in
dump)
	: >"$images/inventory.img"
	[ "$stays" ] || kill -9 "$tree" ;;
restore)
	sleep 1000 &
	printf %s $! >"$pidfile" ;;
esac
`

func TestCriu(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("criu is called in runh's way")
	criu := r.dir + "/criu"
	r.must(os.WriteFile(criu, []byte(fakeCriu), 0o755))
	r.global = append(r.global, "--criu", criu)
	told := func(words string) {
		t.Helper()
		all := " " + strings.ReplaceAll(rtRead(t, criu+".args"), "\n", " ")
		if !strings.Contains(all, " "+words+" ") {
			t.Errorf("criu was told%s, without %s", all, words)
		}
	}
	r.must(os.Mkdir(r.dir+"/data", 0o755))
	c := r.sh("sleep 1000", func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/mnt", Source: r.dir + "/data", Type: "bind", Options: []string{"rbind"}})
		s.Linux.MaskedPaths = []string{"/proc/kcore"}
	}).create().start()
	img := r.dir + "/img"
	r.must(os.WriteFile(criu+".fails", nil, 0o600))
	r.do("checkpoint", "--image-path", img, c.id).fails("criu dump: exit status 3, see " + img + "/dump.log")
	r.must(os.Remove(criu + ".fails"))
	c.wantStatus("running")
	r.do("checkpoint", "--image-path", img, "--work-path", r.dir+"/work", "--leave-running", "--tcp-established", "--file-locks", c.id).ok()
	c.wantStatus("running")
	told("dump --images-dir " + img + " --work-dir " + r.dir + "/work --log-file dump.log --manage-cgroups=soft --tcp-established --file-locks")
	told("--leave-running")
	told("--external mnt[/mnt]:/mnt")
	told("--external mnt[/proc/kcore]:/proc/kcore")
	r.do("checkpoint", "--image-path", img, c.id).ok()
	if code := c.wait(); code != 137 {
		t.Errorf("exit code %d", code)
	}
	r.do("state", c.id).fails("does not exist")

	r.do("restore", "--detach", "--bundle", c.dir, "--image-path", r.dir+"/work", c.id).fails("holds no checkpoint")
	r.must(os.WriteFile(criu+".fails", nil, 0o600))
	r.do("restore", "--detach", "--bundle", c.dir, "--image-path", img, c.id).fails("criu restore: exit status 3, see " + img + "/restore.log")
	r.must(os.Remove(criu + ".fails"))
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("a restore that failed left %q", left)
	}
	before := strings.Count(rtMounts(), r.token)
	if res := c.launch("restore", "--detach", "--image-path", img); res.code != 0 {
		t.Fatalf("restore: %s", res.err)
	}
	if strings.Count(rtMounts(), r.token) != before {
		t.Error("the mounts of the host have changed")
	}
	told("--restore-detached --restore-sibling")
	told("--external mnt[/mnt]:" + r.dir + "/data")
	told("--external mnt[/proc/kcore]:/dev/null")
	if args := rtRead(t, criu+".args"); !strings.Contains(args, "fd[1]:pipe:[") {
		t.Errorf("the container's stdout does not become ours: %s", args)
	}
	c.wantStatus("running")
	r.do("kill", c.id, "KILL").ok()
	c.wait()
	c.wantStatus("stopped")
	r.do("delete", c.id).ok()
}
