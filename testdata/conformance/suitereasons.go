package main

import "slices"

// suiteReasons say why runh does not pass tests of runc's suite that runc passes. No test means: any of the file.
var suiteReasons = []struct {
	file  string
	tests []string
	why   string
}{
	{"cpu_affinity", []string{
		"runc exec [CPU affinity, only initial set from process.json]",
		"runc exec [CPU affinity, initial and final set from process.json]",
		"runc exec [CPU affinity, initial and final set from config.json]",
	}, "the test looks for a debug line of nsexec, runc's part in C; the affinity itself is right (TestExecCPUAffinity)"},
	{"debug", nil, internals},
	{"exec", []string{"runc --debug exec", "runc --debug --log exec"}, internals},
	{"help", []string{"runc -h"}, "the test looks for the name runc"},
	{"mounts_sshfs", []string{"runc run [explicit-rw bind mount of a ro fuse sshfs mount]"}, "runh refuses, too; the test wants runc's whole line"},
	{"mounts_sshfs", []string{
		"runc run [dev,exec,suid,atime bind mount of a nodev,nosuid,noexec,noatime fuse sshfs mount]",
		"runc run [bind mount {no,rel,strict}atime semantics]",
	}, "the option `atime` does what it says; runc ignores it, which the test marks as a fault"},
	{"mounts_sshfs", nil, "a bind mount keeps the restrictions of its source that its options do not name: the safer choice (README, What differs from runc)"},
	{"run", []string{"runc run [/proc/self/exe clone]"}, "the test looks for a debug line about runc's copy of itself; nothing of runh's file is within reach of a container (TestCVE_2019_5736)"},
	{"version", nil, "the test looks for the name runc"},
}

const internals = "the test looks for debug lines of runc's stages, which runh does not have"

// suiteReason is "" where runh should pass.
func suiteReason(file, test string) string {
	for _, r := range suiteReasons {
		if r.file == file && (r.tests == nil || slices.Contains(r.tests, test)) {
			return r.why
		}
	}
	return ""
}
