// runh install: the managers' own files, edited and given back.

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// install is the command on a file, "" for none, and the file afterwards. Its binary is /opt/runh in all texts here.
func (r *rt) install(manager, text string, flags ...string) (result, string) {
	r.Helper()
	file := filepath.Join(r.dir, "etc", manager)
	r.must(os.RemoveAll(filepath.Dir(file)))
	if text != "" {
		r.must(os.MkdirAll(filepath.Dir(file), 0o755))
		r.must(os.WriteFile(file, []byte(text), 0o640))
	}
	res := r.do(append([]string{"install", manager, "--file", file, "--binary", r.program("runh")}, flags...)...)
	res.out = strings.ReplaceAll(res.out, r.program("runh"), "/opt/runh")
	return res, strings.ReplaceAll(rtReadOr(file), r.program("runh"), "/opt/runh")
}

// program is an executable file of that name.
func (r *rt) program(name string) string {
	path := filepath.Join(r.dir, "programs", name)
	r.must(os.MkdirAll(filepath.Dir(path), 0o755))
	if _, err := os.Stat(path); err != nil {
		r.must(os.WriteFile(path, []byte("#!/bin/true\n"), 0o755))
	}
	return path
}

var installTexts = []struct{ manager, before, after string }{
	{"docker", "", "{\n  \"runtimes\": {\n    \"runh\": {\"path\": \"/opt/runh\"}\n  }\n}\n"},
	{"docker", "{}\n", `{"runtimes":{"runh":{"path": "/opt/runh"}}}` + "\n"},
	{
		"docker", "{\n  \"debug\": true,\n  \"z\" : [ 1 ],\n  \"a\": null\n}\n",
		"{\"runtimes\":{\"runh\":{\"path\": \"/opt/runh\"}},\n  \"debug\": true,\n  \"z\" : [ 1 ],\n  \"a\": null\n}\n",
	},
	{
		"docker", `{"debug": true, "runtimes": { "kata": {"path": "/k"} }, "a": 1}`,
		`{"debug": true, "runtimes": {"runh":{"path": "/opt/runh"}, "kata": {"path": "/k"} }, "a": 1}`,
	},
	{"containerd", "", `# runh install: begin, "runh install --remove" takes this out again
version = 2
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runh]
  runtime_type = "io.containerd.runc.v2"
  pod_annotations = ["org.hermit-os.runh.*"]
  container_annotations = ["org.hermit-os.runh.*"]
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runh.options]
    BinaryName = "/opt/runh"
    Root = "/run/runh"
    SystemdCgroup = false
# runh install: end
`},
	{
		"containerd", "# of the operator\nversion = 3 # new\n\n[plugins]\n  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\n    SystemdCgroup = true # systemd\n",
		`# of the operator
version = 3 # new

[plugins]
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
    SystemdCgroup = true # systemd

# runh install: begin, "runh install --remove" takes this out again
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runh]
  runtime_type = "io.containerd.runc.v2"
  pod_annotations = ["org.hermit-os.runh.*"]
  container_annotations = ["org.hermit-os.runh.*"]
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runh.options]
    BinaryName = "/opt/runh"
    Root = "/run/runh"
    SystemdCgroup = true
# runh install: end
`,
	},
	{
		"containerd", "version = 4\n", `version = 4

# runh install: begin, "runh install --remove" takes this out again
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runh]
  runtime_type = "io.containerd.runc.v2"
  pod_annotations = ["org.hermit-os.runh.*"]
  container_annotations = ["org.hermit-os.runh.*"]
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runh.options]
    BinaryName = "/opt/runh"
    Root = "/run/runh"
    SystemdCgroup = false
# runh install: end
`,
	},
	{"crio", "", `# runh install: begin, "runh install --remove" takes this out again
[crio.runtime.runtimes.runh]
runtime_path = "/opt/runh"
runtime_type = "oci"
runtime_root = "/run/runh"
# runh install: end
`},
}

func TestInstall(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("a command of its own")
	for _, x := range installTexts {
		res, dry := r.install(x.manager, x.before, "--dry-run")
		if res.ok().out != x.after || dry != x.before {
			t.Errorf("%s --dry-run of %q: prints %q, and the file is %q", x.manager, x.before, res.out, dry)
		}
		res, got := r.install(x.manager, x.before)
		if got != x.after {
			t.Errorf("%s: %q became\n%s, want\n%s", x.manager, x.before, got, x.after)
		}
		if !strings.Contains(res.ok().out, ": changed") || !strings.Contains(res.out, "systemctl restart "+x.manager) {
			t.Errorf("%s says %q", x.manager, res.out)
		}
		file := filepath.Join(r.dir, "etc", x.manager)
		again := []string{"install", x.manager, "-f", file, "--binary", r.program("runh")}
		if x.before != "" {
			if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o640 || rtReadOr(file+".before-runh") != x.before {
				t.Errorf("%s: %v, %v, the copy is %q", x.manager, fi, err, rtReadOr(file+".before-runh"))
			}
		}
		if res := r.do(again...).ok(); res.out != file+": nothing to do\n" || rtReadOr(file) != strings.ReplaceAll(x.after, "/opt/runh", r.program("runh")) {
			t.Errorf("%s, the second time: %q, %q", x.manager, res.out, rtReadOr(file))
		}
		// Another binary, in the same place; then out again.
		r.do("install", x.manager, "-f", file, "--binary", r.program("other")).ok()
		if got, want := rtReadOr(file), strings.ReplaceAll(x.after, "/opt/runh", r.program("other")); got != want {
			t.Errorf("%s, with another binary: %q, want %q", x.manager, got, want)
		}
		r.do("install", "--remove", x.manager, "-f", file).ok()
		if got := rtReadOr(file); got != x.before && got != strings.TrimPrefix(x.before, "{}\n") {
			t.Errorf("%s --remove: %q, want %q", x.manager, got, x.before)
		}
		r.do("install", "--remove", x.manager, "-f", file).ok()
		if x.before != "" && rtReadOr(file+".before-runh") != x.before {
			t.Errorf("%s --remove: the copy became %q", x.manager, rtReadOr(file+".before-runh"))
		}
	}
	for _, x := range []struct{ manager, text, says string }{
		{"docker", `{"runtimes": ["runh"]}`, "a JSON array where an object is wanted"},
		{"docker", `{"debug": tru}`, "not JSON"},
		{"docker", `{} {}`, "not JSON"},
		{"containerd", "version = 1\n", "containerd config migrate"},
		{"containerd", "root = '/x'\n", "containerd config migrate"},
		{"containerd", "version = 5\n", "version is 5: allowed are 2, 3 and 4"},
		{"containerd", "disabled_plugins = ['cri']\n", "disabled_plugins has cri:"},
		{"containerd", "version = 2\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n", "disabled_plugins has io.containerd.grpc.v1.cri:"},
		{"containerd", "version = 3\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n", "disabled_plugins has io.containerd.grpc.v1.cri:"},
		{"containerd", "version = 4\ndisabled_plugins = ['io.containerd.cri.v1.runtime']\n", "disabled_plugins has io.containerd.cri.v1.runtime:"},
		{"containerd", "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runh]\n", "did not write"},
		{"containerd", "version = 2\nplugins = {}\n", "no TOML"},
		{"containerd", "version = 2\nx = \n", "toml"},
		{"containerd", "# runh install: begin, \"runh install --remove\" takes this out again\n", "but none"},
		{"crio", "[crio]\n", "did not write"},
	} {
		res, got := r.install(x.manager, x.text)
		if res.fails(x.says); got != x.text {
			t.Errorf("%s changed %q to %q", x.manager, x.text, got)
		}
	}
	res, _ := r.install("docker", `{"default-runtime": "runh", "runtimes": {"runh": {"path": "/x"}}}`, "--remove")
	res.fails("choose another")
	r.do("install").fails("docker, containerd, crio")
	r.do("install", "podman").fails("docker, containerd, crio")
	r.do("install", "docker", "--binary", "runh").fails("absolute path")

	// What was configured by hand stays, a link is followed.
	file := r.dir + "/etc/real"
	r.must(os.WriteFile(file, []byte(`{"runtimes": {"runh": {"runtimeArgs": ["-l", "warn"], "path": "/old"}}}`), 0o600))
	r.must(os.Symlink("real", r.dir+"/etc/link"))
	r.do("install", "docker", "-f", r.dir+"/etc/link", "--binary", r.program("runh")).ok()
	if got := strings.ReplaceAll(rtReadOr(file), r.program("runh"), "/opt/runh"); got != `{"runtimes": {"runh": {"runtimeArgs": ["-l", "warn"], "path": "/opt/runh"}}}` {
		t.Errorf("by hand: %q", got)
	}
	// By hand, as docs/kubernetes.md has it.
	res, _ = r.install("containerd", "version = 4\nplugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options.SystemdCgroup = true\n", "--dry-run")
	got := strings.ReplaceAll(res.ok().out, "/opt/runh", "/usr/local/sbin/runh")
	_, block, _ := strings.Cut(got, blockBegin)
	if block, _, _ = strings.Cut(block, blockEnd); !strings.Contains(rtRead(t, "docs/kubernetes.md"), "```toml\n"+block+"```\n") {
		t.Errorf("docs/kubernetes.md is without %s", block)
	}
	// The managers themselves read it.
	needsPrograms(t, "containerd")
	r.install("containerd", "version = 2\n")
	out, err := exec.Command("containerd", "-c", r.dir+"/etc/containerd", "config", "dump").CombinedOutput()
	if err != nil || !strings.Contains(string(out), `BinaryName = "`+r.program("runh")+`"`) {
		t.Errorf("containerd config dump: %v, %s", err, out)
	}
}

// A copy that was made is never written over, whatever is installed and removed, and in which order.
func TestInstallCopies(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("a command of its own")
	file := filepath.Join(r.dir, "daemon.json")
	first, second := "{\"debug\": true}\n", "{\"debug\": false}\n"
	hand := `{"runtimes": {"runh": {"runtimeArgs": ["-l", "warn"], "path": "/old"}}}` + "\n"
	install := func(text string, remove bool) {
		t.Helper()
		if text != "" {
			r.must(os.WriteFile(file, []byte(text), 0o644))
		}
		args := []string{"install", "docker", "-f", file, "--binary", r.program("runh")}
		if remove {
			args = []string{"install", "--remove", "docker", "-f", file}
		}
		r.do(args...).ok()
	}
	install(first, false)
	install("", true)
	install(second, false)
	install("", true)
	install(hand, true)
	install(hand, false)
	for name, want := range map[string]string{".before-runh": first, ".before-runh.2": second} {
		if got := rtReadOr(file + name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	names, _ := filepath.Glob(file + ".with-runh*")
	found := 0
	for _, name := range names {
		if rtReadOr(name) == hand {
			found++
		}
	}
	if found != 1 {
		t.Errorf("of %q %d have the settings that were made by hand, want 1", names, found)
	}
}

// A binary that no manager could start is refused before anything is changed.
func TestInstallBinary(t *testing.T) {
	r := newRT(t)
	r.onlyRunh("a command of its own")
	plain := filepath.Join(r.dir, "plain")
	r.must(os.WriteFile(plain, nil, 0o644))
	r.must(os.Symlink("nowhere", r.dir+"/dangling"))
	file := filepath.Join(r.dir, "daemon.json")
	for binary, says := range map[string]string{
		r.dir + "/nowhere": "does not exist", r.dir + "/dangling": "does not exist", plain + "/x": "not a directory", plain: "is not executable", r.dir: "is not a regular file",
	} {
		for _, flags := range [][]string{nil, {"--dry-run"}} {
			r.do(append([]string{"install", "docker", "-f", file, "--binary", binary}, flags...)...).fails(says)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the configuration was written")
	}
}

func TestCutJSON(t *testing.T) {
	for _, x := range []struct{ text, want string }{
		{`{"a": {"b": 1}}`, `{}`},
		{`{"a": {"b": 1, "c": 2}}`, `{"a": { "c": 2}}`},
		{`{"a": {"c": 2 , "b": 1 }}`, `{"a": {"c": 2 }}`},
		{`{"x": [{}], "a": {"b": {"a": {"b": 2}}} , "y": ","}`, `{"x": [{}] , "y": ","}`},
		{`{"a": {"b": ","} , "y": 1}`, `{ "y": 1}`},
		{`{"b": {"a": 1}}`, `{"b": {"a": 1}}`},
		{`{"a": 1}`, `{"a": 1}`},
		{`{"a": {}}`, `{"a": {}}`},
	} {
		if got, err := cutJSON(x.text, "a", "b"); got != x.want || err != nil {
			t.Errorf("%s without a.b: %s, %v, want %s", x.text, got, err, x.want)
		}
	}
}
