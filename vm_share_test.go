package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestUserVolumes(t *testing.T) {
	bind := func(dest string) mountRequest { return mountRequest{dest: dest, source: "/", bind: true} }
	got := userVolumes([]mountRequest{
		{dest: "/proc", fstype: "proc"},
		{dest: "/tmp", fstype: "tmpfs"},
		bind("/etc/hosts"), bind("/dev/shm"), bind("/run/secrets/key"), bind("/var/run/secrets"), bind("/sbin/docker-init"),
		bind("/data/inner"), bind("/data"), bind("/data"), bind("/etc/hosts.d"),
		{dest: "/ro", source: "/", bind: true, remount: true},
	})
	if want := []volume{{"/data", true}, {"/data/inner", true}, {"/etc/hosts.d", true}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestSharePlan(t *testing.T) {
	all := []volume{{"/data", true}, {"/data/inner", true}, {"/deep/er/file", false}, {"/dev2", true}, {"/root/x", true}, {"/tmp/x", true}, {"/top", false}}
	for _, tt := range []struct {
		name             string
		rootfs, ownPaths bool
		volumes          []volume
		tag, root, parts string
		warnings         int
	}{
		{"volumes", false, true, all, "/", "share", "/data /deep/er/file /dev2 /root/x", 2},
		{"volumes, old", false, false, all, "root", "share", "/data /deep/er/file /dev2 /root/x /tmp/x /top", 0},
		{"rootfs", true, true, nil, "root", "tree", "", 0},
		{"rootfs and volumes", true, true, all, "/", "share", "/root /data /deep/er/file /dev2", 0},
		{"rootfs and volumes, old", true, false, all, "root", "tree", "", 0},
		{"nothing that has a place", false, true, []volume{{"/tmp/x", true}, {"/top", false}}, "root", "tree", "", 2},
	} {
		s := &sharePlan{daemon: &shareFiles{}, tag: "root", rootfs: tt.rootfs}
		warnings := 0
		s.place(tt.volumes, tt.ownPaths, func(string, ...any) { warnings++ })
		var parts []string
		for _, p := range s.parts() {
			parts = append(parts, p.dest)
		}
		if s.tag != tt.tag || s.root() != tt.root || strings.Join(parts, " ") != tt.parts || warnings != tt.warnings {
			t.Errorf("%s: tag %s, root %s, parts %q, %d warnings", tt.name, s.tag, s.root(), parts, warnings)
		}
	}
}

func TestVirtiofsdArgs(t *testing.T) {
	s := &sharePlan{daemon: &shareFiles{}, tag: "root", rootfs: true}
	if got := strings.Join(s.virtiofsdArgs(), " "); got != "--fd=3 --rlimit-nofile=0 -o source=/tree,sandbox=chroot,log_level=err,modcaps=-mknod:-setfcap" {
		t.Error(got)
	}
	s.daemon.Rust = true
	if got := strings.Join(s.virtiofsdArgs(), " "); got != "--fd=3 --rlimit-nofile=0 --shared-dir=/tree --sandbox=chroot --inode-file-handles=never --modcaps=-mknod:-setfcap --log-level=error" {
		t.Error(got)
	}
}

func TestShareSeccomp(t *testing.T) {
	allowed := strings.Fields(shareSyscalls)
	for _, n := range strings.Fields(`ptrace mount umount2 bpf setns socket connect sendto clone3 fork vfork kill mknod io_uring_setup keyctl open_by_handle_at
		name_to_handle_at pivot_root move_mount open_tree process_vm_writev reboot init_module swapon quotactl`) {
		if slices.Contains(allowed, n) {
			t.Errorf("%s is allowed", n)
		}
	}
	if _, err := compileSeccomp(shareSeccomp()); err != nil {
		t.Error(err)
	}
}

func TestKernelMounts(t *testing.T) {
	dir := t.TempDir()
	line := func(id, parent int, point, fstype string) string {
		return fmt.Sprintf("%d %d 0:1 / %s rw,nosuid shared:1 - %s none rw\n", id, parent, strings.ReplaceAll(dir+point, " ", `\040`), fstype)
	}
	info := "1 0 0:1 / / rw - ext4 /dev/x rw\n" +
		line(2, 1, "", "overlay") + line(3, 2, "/proc", "proc") + // under what is on top now
		line(10, 1, "", "overlay") + line(11, 10, "/proc", "proc") + line(12, 11, "/proc/kcore", "devtmpfs") + line(13, 10, "/a b", "ext4") +
		line(14, 13, "/a b/sys", "sysfs") + line(15, 10, "/dev", "tmpfs") + line(16, 15, "/dev/pts", "devpts") + line(17, 1, "-other/proc", "proc")
	got, err := kernelMounts(info, dir)
	if want := []string{"proc", "a b/sys", "dev/pts"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	for escaped, want := range map[string]string{`/a`: "/a", `/a\040b\134\011`: "/a b\\\t", `\134040`: `\040`, `x\04`: `x\04`} {
		if got := unescapeMount(escaped); got != want {
			t.Errorf("%q: got %q, want %q", escaped, got, want)
		}
	}
}
