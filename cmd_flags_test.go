package main

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Each command line is one that some caller sends (see ARCHITECTURE.md), or a
// mistake that a person makes.
func TestParseCommands(t *testing.T) {
	create := createOptions{id: "c", bundle: "B"}
	full := createOptions{
		id: "c", bundle: "B", pidFile: "P", consoleSocket: "S", pidfdSocket: "F",
		noPivot: true, noNewKeyring: true, preserveFds: 2,
	}
	parse := map[string]func([]string) (any, error){
		"create": func(a []string) (any, error) { return parseCreate(a) },
		"run":    func(a []string) (any, error) { return parseRun(a) },
		"start":  func(a []string) (any, error) { return parseID(a) },
		"delete": func(a []string) (any, error) { return parseDelete(a) },
		"kill":   func(a []string) (any, error) { return parseKill(a) },
		"list":   func(a []string) (any, error) { return parseList(a) },
		"spec":   func(a []string) (any, error) { return parseSpec(a) },
		"exec":   func(a []string) (any, error) { return parseExec(a) },
	}
	tests := []struct {
		line string // words separated by one space; ~ is an empty word
		want any    // a string is the error
	}{
		{"create --bundle B c", create},
		{"create --bundle=B c", create},
		{"create -bundle B c", create},
		{"create -bundle=B c", create},
		{"create -b B c", create},
		{"create -b=B c", create},
		{"create c -b B", create},
		{"create c", createOptions{id: "c", bundle: "."}},
		{"create --bundle B --pid-file P --console-socket S --pidfd-socket F --no-pivot --no-new-keyring --preserve-fds 2 c", full},
		{"create c --preserve-fds=2 --no-new-keyring=true --no-pivot --pidfd-socket=F --console-socket=S --pid-file=P -b B", full},
		{"create -- -c", createOptions{id: "-c", bundle: "."}},
		{"create", "the container ID is missing"},
		{"create ~", "the container ID is missing"},
		{"create c d", `one container ID is wanted, and 2 words were given: ["c" "d"]`},
		{"create --bundle", "flag --bundle: its value is missing"},
		{"create --nosuch c", `unknown flag "--nosuch"`},
		{"create -x c", `unknown flag "-x"`},
		{"create --=B c", `unknown flag "--=B"`},
		{"create --preserve-fds two c", `flag --preserve-fds: "two" is not a whole number`},
		{"create --preserve-fds -1 c", "flag --preserve-fds: -1 is less than 0"},
		{"create --no-pivot=maybe c", `flag --no-pivot: "maybe" is neither true nor false`},
		{"run -d --keep --no-subreaper -b B c", runOptions{create, true, true, true}},
		{"run --detach -keep=true -no-subreaper c --bundle B", runOptions{create, true, true, true}},
		{"start c", "c"},
		{"delete c", deleteOptions{id: "c"}},
		{"delete --force c", deleteOptions{"c", true}},
		{"delete c -f", deleteOptions{"c", true}},
		{"kill c", killOptions{id: "c", signal: "TERM"}},
		{"kill c 15", killOptions{id: "c", signal: "15"}},
		{"kill --all c 9", killOptions{"c", "9", true}},
		{"kill -a c KILL", killOptions{"c", "KILL", true}},
		{"kill c KILL -a", killOptions{"c", "KILL", true}},
		{"kill a b c", `one container ID is wanted, and 3 words were given: ["a" "b" "c"]`},
		{"kill -9 c", `unknown flag "-9"`},
		{"list", listOptions{format: "table"}},
		{"list --format=json", listOptions{format: "json"}},
		{"list -q -f json", listOptions{"json", true}},
		{"list -f xml", `flag --format: "xml" is not one of table, json`},
		{"list c", `no argument is wanted, and "c" was given`},
		{"spec", specOptions{}},
		{"spec --bundle . --args /hermit/app", specOptions{bundle: ".", args: []string{"/hermit/app"}}},
		{"spec -a /bin/sh -a -c -b x", specOptions{bundle: "x", args: []string{"/bin/sh", "-c"}}},
		{"spec --args /bin/echo a b --rootless", specOptions{rootless: true, args: []string{"/bin/echo", "a", "b"}}},
		{"spec --args /bin/sh -- -c true", specOptions{args: []string{"/bin/sh", "-c", "true"}}},
		{"spec x", `no argument is wanted, and "x" was given`},
		{"exec c ls -l --all", execOptions{id: "c", command: []string{"ls", "-l", "--all"}}},
		{"exec -td -e A=1 -e B= --env=C=x=y c sh", execOptions{id: "c", command: []string{"sh"}, tty: true, detach: true, env: []string{"A=1", "B=", "C=x=y"}}},
		{"exec --process P --detach --pid-file F --preserve-fds 1 c", execOptions{id: "c", command: []string{}, process: "P", detach: true, pidFile: "F", preserveFds: 1}},
		{"exec -te c sh", `unknown flag "-te"`},
		{"exec c", "neither a command nor --process is given"},
		{"exec -p P c sh", `both --process and a command "sh" are given: one of them is wanted`},
		{"exec", "the container ID is missing"},
	}
	for _, x := range tests {
		t.Run(x.line, func(t *testing.T) {
			words := strings.Split(strings.ReplaceAll(x.line, "~", ""), " ")
			got, err := parse[words[0]](words[1:])
			if want, ok := x.want.(string); ok && words[0] != "start" {
				if err == nil || err.Error() != want {
					t.Errorf("error %v, want %s", err, want)
				}
			} else if err != nil || !reflect.DeepEqual(got, x.want) {
				t.Errorf("%+v, %v, want %+v", got, err, x.want)
			}
		})
	}
}

func TestParseGlobals(t *testing.T) {
	tests := []struct {
		line  string
		want  globals
		words []string
		err   string
	}{
		// containerd's shim, and the other order.
		{
			line: "--root /r --log /b/log.json --log-format json --systemd-cgroup create --bundle /b c",
			want: globals{root: "/r", log: "/b/log.json", logFormat: "json", systemdCgroup: true}, words: []string{"create", "--bundle", "/b", "c"},
		},
		{line: "--log-format=json --log=/l --root=/r list", want: globals{root: "/r", log: "/l", logFormat: "json"}, words: []string{"list"}},
		// Upstream's Docker settings.
		{
			line: "--root /r -l debug --hermit-env /e --debug-log --debug-config start c",
			want: globals{root: "/r", logLevel: "debug", hermitEnv: "/e", debugLog: true, debugConfig: true}, words: []string{"start", "c"},
		},
		{
			line: "-root /r --debug --rootless=true --criu /x --config /c state c",
			want: globals{root: "/r", debug: true, rootless: "true", criu: "/x", config: "/c"}, words: []string{"state", "c"},
		},
		{line: "--root /r exec -t c sh", want: globals{root: "/r"}, words: []string{"exec", "-t", "c", "sh"}},
		{line: "--log-format xml list", err: `flag --log-format: "xml" is not one of text, json`},
		{line: "--log-level loud list", err: `flag --log-level: "loud" is not one of trace, debug, info, warn, error, off`},
		{line: "--rootless maybe list", err: `flag --rootless: "maybe" is not one of true, false, auto`},
		{line: "--nosuch list", err: `unknown flag "--nosuch"`},
		{line: "--root", err: "flag --root: its value is missing"},
	}
	for _, x := range tests {
		t.Run(x.line, func(t *testing.T) {
			var g globals
			words, err := g.parse(strings.Fields(x.line))
			if x.err != "" {
				if err == nil || err.Error() != x.err {
					t.Errorf("error %v, want %s", err, x.err)
				}
				return
			}
			if x.want.logFormat == "" {
				x.want.logFormat = "text"
			}
			if x.want.rootless == "" {
				x.want.rootless = "auto"
			}
			if err != nil || !reflect.DeepEqual(g, x.want) || !slices.Equal(words, x.words) {
				t.Errorf("%+v, %q, %v, want %+v, %q", g, words, err, x.want, x.words)
			}
		})
	}
}

func TestDefaultRoot(t *testing.T) {
	needs(t, os.Geteuid() == 0, "root")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	if got := defaultRoot(); inUserNamespace() != (got == "/run/user/7/runh") {
		t.Errorf("root %s", got)
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	if got := defaultRoot(); !strings.HasPrefix(got, "/run/") || !strings.HasSuffix(got, "/runh") {
		t.Errorf("root %s", got)
	}
}

// Every command has a help text that begins with its usage, shows it at work,
// and names each of its flags.
func TestHelp(t *testing.T) {
	flags := map[string][]flagDef{
		"create": new(createOptions).flags(), "run": new(runOptions).flags(), "delete": new(deleteOptions).flags(),
		"kill": new(killOptions).flags(), "list": new(listOptions).flags(), "spec": new(specOptions).flags(),
		"exec": new(execOptions).flags(), "checkpoint": new(checkpointOptions).flags(), "restore": new(restoreOptions).flags(),
	}
	for _, cmd := range commands {
		if !strings.HasPrefix(cmd.help, "runh "+cmd.name+" ") || !strings.Contains(cmd.help, "\n  # ") {
			t.Errorf("help of %s shows no usage or no example", cmd.name)
		}
		for line := range strings.Lines(cmd.help) {
			if len(line) > 81 || strings.HasSuffix(line, " \n") {
				t.Errorf("help of %s: line %q", cmd.name, line)
			}
		}
		for _, def := range flags[cmd.name] {
			if !strings.Contains(cmd.help, "--"+def.name) || def.short != "" && !strings.Contains(cmd.help, "-"+def.short+", --") {
				t.Errorf("help of %s lacks --%s %s", cmd.name, def.name, def.short)
			}
		}
		if !strings.Contains(usage(), "\n  "+cmd.name+" ") {
			t.Errorf("usage lacks %s", cmd.name)
		}
		var g globals
		for _, h := range []string{"-h", "--help", "-help"} {
			if err := cmd.run(&g, []string{h}); !errors.Is(err, errHelp) {
				t.Errorf("%s %s: %v", cmd.name, h, err)
			}
		}
	}
}

func TestBadWords(t *testing.T) {
	for _, line := range []string{"update", "update --nosuch c", "events a b", "check x"} {
		words := strings.Fields(line)
		if err := findCommand(words[0]).run(&globals{}, words[1:]); err == nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// A message names the word that was meant, and is silent where nothing is near.
func TestDidYouMean(t *testing.T) {
	words := []string{"bundle", "pid-file", "no-pivot", "help"}
	for typed, want := range map[string]string{
		"bundel": "bundle", "bundl": "bundle", "bnudle": "bundle", "Bundle": "bundle", "pidfile": "pid-file", "hepl": "help",
		"no-pivots": "no-pivot", "x": "", "": "", "log": "", "bottle-it": "", strings.Repeat("b", 100): "",
	} {
		if want != "" {
			want = " (did you mean --" + want + "?)"
		}
		if got := didYouMean(typed, words, "--"); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
	_, err := readAnnotations(&specs.Spec{Annotations: map[string]string{"org.hermit-os.runh.memory-size": "64"}}, &hermitConfig{})
	if err == nil || !strings.Contains(err.Error(), "(did you mean org.hermit-os.runh.memory_size?)") {
		t.Errorf("an annotation: %v", err)
	}
}
