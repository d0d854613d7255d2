// `runh install` makes runh known to Docker, containerd or CRI-O: it adds runh to that manager's own
// configuration, or takes it out again.
//
// Contract: nothing else in the file changes, not a comment and not the order of a key; the second time
// nothing is left to do; --remove gives back what was there before; the file is replaced as a whole, after a
// copy of it was made; a file that is not understood is not touched, and one line says why. No manager is
// asked or restarted.

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// An installer knows one manager: where its configuration is, what to do for it to be read, and how to edit it. For a missing
// file the text is empty; an empty result is no file.
type installer struct {
	name, file, reload string
	add                func(text, binary string) (string, error)
	remove             func(text string) (string, error)
}

var installers = [...]installer{
	{"docker", "/etc/docker/daemon.json", "systemctl restart docker", addToDocker, removeFromDocker},
	{"containerd", "/etc/containerd/config.toml", "systemctl restart containerd", addToContainerd, removeBlock},
	{"crio", "/etc/crio/crio.conf.d/20-runh.conf", "systemctl restart crio", addToCRIO, removeBlock},
}

func cmdInstall(_ *globals, args []string) error {
	var file, binary string
	var dryRun, remove bool
	words, err := parseFlags([]flagDef{{"file", "f", &file}, {"binary", "", &binary}, {"dry-run", "n", &dryRun}, {"remove", "", &remove}}, args, false)
	if err != nil {
		return err
	}
	if len(words) != 1 {
		return errors.New("one of docker, containerd, crio is wanted")
	}
	if err := oneOf("manager", words[0], "docker", "containerd", "crio"); err != nil {
		return err
	}
	var in installer
	for _, in = range installers {
		if in.name == words[0] {
			break
		}
	}
	if file == "" {
		file = in.file
	}
	if binary == "" {
		if binary, err = os.Executable(); err != nil {
			return err
		}
	}
	if err := checkAbsolute("binary", binary); err != nil {
		return err
	}
	if !remove {
		if err := checkBinary(binary); err != nil {
			return err
		}
	}
	// What is a link to the file stays one.
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target
	}
	old, err := readFile(file, 1<<20)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	var text string
	if remove {
		text, err = in.remove(string(old))
	} else {
		text, err = in.add(string(old), binary)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", file, err)
	case dryRun:
		return printOut(text)
	case text == string(old):
		return printOut(file + ": nothing to do\n")
	}
	return in.replace(file, string(old), text)
}

// replace writes the new configuration, and says what is to be done.
func (in *installer) replace(file, old, text string) error {
	mode := fs.FileMode(0o644)
	if fi, err := os.Stat(file); err == nil {
		mode = fi.Mode().Perm()
	}
	said := file + ": changed"
	if old != "" && !strings.HasPrefix(old, blockBegin) {
		kept, err := in.keepOld(file, old, mode)
		if err != nil {
			return err
		}
		said += ", the previous version is " + kept
	}
	if text == "" {
		said = strings.Replace(said, ": changed", ": removed", 1)
		if err := os.Remove(file); err != nil {
			return err
		}
	} else {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := writeFile(file, []byte(text), uint32(mode)); err != nil {
			return err
		}
	}
	return printOut(said + "; now: " + in.reload + "\n")
}

// keepOld makes a copy beside the file: FILE.before-runh of a text without runh, FILE.with-runh of one with it, which
// can have settings that were added by hand. A copy with another text keeps its name: this one gets the next.
func (in *installer) keepOld(file, old string, mode fs.FileMode) (string, error) {
	suffix := ".before-runh"
	if without, err := in.remove(old); err != nil || without != old {
		suffix = ".with-runh"
	}
	for n := 1; ; n++ {
		name := file + suffix
		if n > 1 {
			name += fmt.Sprintf(".%d", n)
		}
		info, err := os.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return name, writeFile(name, []byte(old), uint32(mode))
		} else if err != nil {
			return "", err
		}
		if info.Mode().IsRegular() {
			if there, err := readFile(name, 1<<20); err == nil && string(there) == old {
				return name, nil
			}
		}
		if n == 1000 {
			return "", fmt.Errorf("%s and 999 more copies are there: remove some", file+suffix)
		}
	}
}

// checkBinary: a manager would find out only when it starts a container.
func checkBinary(path string) error {
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("binary %s does not exist", path)
	case err != nil:
		return fmt.Errorf("binary: %w", err)
	case !fi.Mode().IsRegular():
		return fmt.Errorf("binary %s is not a regular file", path)
	case fi.Mode()&0o111 == 0:
		return fmt.Errorf("binary %s is not executable", path)
	}
	return nil
}

// daemonJSON is what matters here of daemon.json; with a runtime that was configured by hand only its path is ours to change.
type daemonJSON struct {
	Default  string                           `json:"default-runtime"`
	Runtimes map[string]struct{ Path string } `json:"runtimes"`
}

const dockerDefault = `{
  "runtimes": {
    "runh": {"path": %s}
  }
}
`

func addToDocker(text, binary string) (string, error) {
	path := quoteJSON(binary)
	if strings.TrimSpace(text) == "" {
		return fmt.Sprintf(dockerDefault, path), nil
	}
	var c daemonJSON
	if err := decodeJSON(text, &c); err != nil {
		return "", err
	}
	if _, there := c.Runtimes["runh"]; !there {
		return replaceJSON(text, []byte(`{"path": `+path+`}`), "runtimes", "runh")
	}
	return replaceJSON(text, []byte(path), "runtimes", "runh", "path")
}

func removeFromDocker(text string) (string, error) {
	if strings.TrimSpace(text) == "" {
		return text, nil
	}
	var c daemonJSON
	if err := decodeJSON(text, &c); err != nil {
		return "", err
	}
	if c.Default == "runh" {
		return "", errors.New("default-runtime is runh: choose another first")
	}
	left, err := cutJSON(text, "runtimes", "runh")
	if err == nil && left != text && strings.Join(strings.Fields(left), "") == "{}" {
		left = ""
	}
	return left, err
}

func quoteJSON(s string) string { return `"` + string(appendJSON(nil, s)) + `"` }

// What runh writes into a TOML file stands between these lines: a parser's output would have lost the file's comments.
const (
	blockBegin = "# runh install: begin, \"runh install --remove\" takes this out again\n"
	blockEnd   = "# runh install: end\n"
)

const containerdBlock = blockBegin + `%[4]s[plugins."%[1]s".containerd.runtimes.runh]
  runtime_type = "io.containerd.runc.v2"
  pod_annotations = ["org.hermit-os.runh.*"]
  container_annotations = ["org.hermit-os.runh.*"]
  [plugins."%[1]s".containerd.runtimes.runh.options]
    BinaryName = %[2]s
    Root = "/run/runh"
    SystemdCgroup = %[3]v
` + blockEnd

func addToContainerd(text, binary string) (string, error) {
	before, after, err := cutBlock(text)
	if err != nil {
		return "", err
	}
	c, err := readTOML([]byte(before + after))
	if err != nil {
		return "", err
	}
	plugin, first := "io.containerd.grpc.v1.cri", ""
	disabled, _ := c["disabled_plugins"].([]any)
	for _, cri := range []any{"cri", plugin, "io.containerd.cri.v1.runtime"} {
		if slices.Contains(disabled, cri) {
			return "", fmt.Errorf("disabled_plugins has %s: without that plugin there are no handlers, take it out first", cri)
		}
	}
	switch v := c["version"]; {
	case v == int64(3), v == int64(4): // 4 has moved other settings only
		plugin = "io.containerd.cri.v1.runtime"
	case v == nil && len(c) == 0:
		first = "version = 2\n"
	case v == nil, v == int64(1):
		return "", errors.New(`the form of version 1, where 2, 3 or 4 is wanted: "containerd config migrate" prints it`)
	case v != int64(2):
		return "", fmt.Errorf("version is %v: allowed are 2, 3 and 4", v)
	}
	runtimes := tomlAt(c, "plugins", plugin, "containerd", "runtimes")
	if tomlAt(runtimes, "runh") != nil {
		return "", errors.New("it has a runtime runh that this command did not write: take that out first")
	}
	systemd := tomlAt(runtimes, "runc", "options", "SystemdCgroup") == true // the kubelet's driver, as it is runc's
	text = putBlock(before, fmt.Sprintf(containerdBlock, plugin, quoteJSON(binary), systemd, first), after)
	if _, err := readTOML([]byte(text)); err != nil {
		return "", fmt.Errorf("with runh added it would be no TOML: %w", err)
	}
	return text, nil
}

const crioBlock = blockBegin + `[crio.runtime.runtimes.runh]
runtime_path = %s
runtime_type = "oci"
runtime_root = "/run/runh"
` + blockEnd

func addToCRIO(text, binary string) (string, error) {
	before, after, err := cutBlock(text)
	if err == nil && before+after != "" {
		err = errors.New("it has lines that this command did not write: name another file with --file")
	}
	return fmt.Sprintf(crioBlock, quoteJSON(binary)), err
}

func removeBlock(text string) (string, error) {
	before, after, err := cutBlock(text)
	return before + after, err
}

// cutBlock takes the block out, with the empty line that putBlock put before it. Without a block all is before.
func cutBlock(text string) (before, after string, err error) {
	before, rest, found := strings.Cut(text, blockBegin)
	if !found {
		return text, "", nil
	}
	_, after, found = strings.Cut(rest, blockEnd)
	if !found {
		return "", "", fmt.Errorf("it has the line %q, but none %q after it", strings.TrimSpace(blockBegin), strings.TrimSpace(blockEnd))
	}
	if strings.HasSuffix(before, "\n\n") {
		before = before[:len(before)-1]
	}
	return before, after, nil
}

// putBlock keeps a block in its place.
func putBlock(before, block, after string) string {
	if before != "" {
		if !strings.HasSuffix(before, "\n") {
			before += "\n"
		}
		before += "\n"
	}
	return before + block + after
}

// tomlAt follows tables; nil is nothing there.
func tomlAt(v any, path ...string) any {
	for _, name := range path {
		table, _ := v.(map[string]any)
		v = table[name]
	}
	return v
}
