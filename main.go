// The Go runtime does not look how many CPUs the cgroup grants: it would cost a
// command of two milliseconds a tenth, and keep two files of the container's
// /sys/fs/cgroup open in the keeper.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Runh is an OCI container runtime. Container engines (Docker, containerd,
// CRI-O, podman) call it where they would call runc, and people can too:
//
//	# mkdir -p hello/rootfs/hermit && cp hermit-loader app hello/rootfs/hermit/
//	# runh spec --bundle hello --args /hermit/app
//	# runh run --bundle hello hello1
//
// A container whose program is a Hermit application (a unikernel: an ELF file
// with OS ABI 255) runs inside a QEMU machine; every other container runs as an
// ordinary Linux container.
//
// The command line is
//
//	runh [global flags] COMMAND [flags] [ID] [arguments]
//
// "runh help" lists the commands, "runh help COMMAND" shows one at work.
//
// The exit code is 0 for success and 1 for failure; "run" and "exec" return the
// code of the process, 128 + N if signal N ended it, and "exec" returns 255 when
// it cannot start that process. A failure is one line on stderr, and the same
// line in --log; a success writes nothing to stderr.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A command is one line of the table that drives dispatch and help.
type command struct {
	name    string
	summary string
	help    string // usage, prose and worked examples, see cli_help_text.go
	run     func(g *globals, args []string) error
	// stdio: the command hands its own stdin, stdout and stderr to a
	// container, so no log line may go there.
	stdio bool
}

var commands = [...]command{
	{"create", "make a container and stop just before its program", helpCreate, cmdCreate, true},
	{"start", "let a created container's program go", helpStart, cmdStart, false},
	{"run", "create and start, and wait for the end", helpRun, cmdRun, true},
	{"state", "print what is known of a container, as JSON", helpState, cmdState, false},
	{"list", "list the containers of this root", helpList, cmdList, false},
	{"kill", "send a signal to a container", helpKill, cmdKill, false},
	{"delete", "remove a container and all that create made", helpDelete, cmdDelete, false},
	{"spec", "write a starting config.json", helpSpec, cmdSpec, false},
	{"features", "print what this build supports, as JSON", helpFeatures, cmdFeatures, false},
	{"exec", "run another process in a container", helpExec, cmdExec, true},
	{"ps", "list the processes of a container", helpPs, cmdPs, false},
	{"pause", "freeze all processes of a container", helpPause, cmdPause, false},
	{"resume", "thaw a paused container", helpResume, cmdResume, false},
	{"update", "change a container's resource limits", helpUpdate, cmdUpdate, false},
	{"events", "print statistics and out-of-memory events", helpEvents, cmdEvents, false},
	{"checkpoint", "save a running container to disk", helpCheckpoint, cmdCheckpoint, false},
	{"restore", "bring a saved container back", helpRestore, cmdRestore, true},
	{"explain", "say what create would do with a bundle", helpExplain, cmdExplain, false},
	{"env", "show, build and check the tree QEMU runs from", helpEnv, cmdEnv, false},
	{"check", "say what this host offers and lacks", helpCheck, cmdCheck, false},
	{"install", "make runh known to Docker, containerd or CRI-O", helpInstall, cmdInstall, false},
}

func main() {
	// The keeper is PID 1 of a Hermit container: no flags, no log, nothing
	// between it and its work.
	if len(os.Args) > 1 && os.Args[1] == "keeper" {
		os.Exit(codeOf(keeperMain(os.Args[2:])))
	}
	g := &globals{started: time.Now()}
	os.Exit(g.finish(g.dispatch(os.Args[1:])))
}

// dispatch reads the command line and runs the command. A panic becomes an
// error here, after the commands' own deferred undoing, so that callers find
// one line as for any other failure; --debug shows the stack.
func (g *globals) dispatch(args []string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			g.debugf("%s", debug.Stack())
			err = fmt.Errorf("internal error, please report it: %v", r)
		}
	}()
	words, err := g.parse(args)
	if errors.Is(err, errHelp) {
		return printOut(usage())
	} else if err != nil || words == nil {
		return err
	}
	name, args := words[0], words[1:]
	switch name {
	case "help":
		return help(args)
	case "version":
		return printOut(version())
	}
	cmd := findCommand(name)
	switch {
	case cmd == nil && len(args) > 0 && (args[0] == "-h" || args[0] == "--help"):
		return help([]string{name})
	case cmd == nil:
		return unknownCommand(name)
	}
	g.verb, g.quietStderr = name, cmd.stdio
	if err := g.checkLog(); err != nil {
		return err
	}
	g.debugf("%q", os.Args)
	err = cmd.run(g, args)
	if errors.Is(err, errHelp) {
		return printHelp(cmd.help)
	}
	return err
}

// parse reads the global flags and returns the words from the command on; nil
// if there is nothing more to do.
func (g *globals) parse(args []string) ([]string, error) {
	var printVersion bool
	g.logFormat, g.rootless = "text", "auto"
	words, err := parseFlags([]flagDef{
		{"root", "", &g.root},
		{"log", "", &g.log},
		{"log-format", "", &g.logFormat},
		{"log-level", "l", &g.logLevel},
		{"debug", "", &g.debug},
		{"systemd-cgroup", "", &g.systemdCgroup},
		{"rootless", "", &g.rootless},
		{"hermit-env", "", &g.hermitEnv},
		{"config", "", &g.config},
		{"debug-log", "", &g.debugLog},
		{"debug-config", "", &g.debugConfig},
		{"criu", "", &g.criu},
		{"version", "v", &printVersion},
	}, args, true)
	if err != nil {
		return nil, err
	}
	if printVersion {
		return nil, printOut(version())
	}
	if len(words) == 0 {
		io.WriteString(os.Stderr, usage())
		return nil, exitError{code: 1}
	}
	if err := oneOf("log-format", g.logFormat, "text", "json"); err != nil {
		g.logFormat = "text" // for the line that reports it
		return nil, err
	}
	if err := oneOf("rootless", g.rootless, "true", "false", "auto"); err != nil {
		return nil, err
	}
	if g.logLevel != "" {
		if err := oneOf("log-level", g.logLevel, "trace", "debug", "info", "warn", "error", "off"); err != nil {
			return nil, err
		}
	}
	if g.root == "" {
		g.root, g.usualRoot = defaultRoot(), true
	}
	// Absolute from here on: commands may change their directory.
	for _, path := range []*string{&g.root, &g.log, &g.hermitEnv, &g.config} {
		if *path == "" || filepath.IsAbs(*path) {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return nil, err
		}
	}
	return words, nil
}

// defaultRoot is /run/runh for root and $XDG_RUNTIME_DIR/runh for others. The
// root of a user namespace that an ordinary user made (rootless podman) counts
// as another: /run is not its to write.
func defaultRoot() string {
	xdg, uid := os.Getenv("XDG_RUNTIME_DIR"), os.Geteuid()
	switch {
	case uid == 0 && (xdg == "" || !inUserNamespace()):
		return "/run/runh"
	case xdg == "":
		return fmt.Sprintf("/run/user/%d/runh", uid)
	}
	return filepath.Join(xdg, "runh")
}

func findCommand(name string) *command {
	for i := range commands {
		if commands[i].name == name {
			return &commands[i]
		}
	}
	return nil
}

// version is what engines parse: go-runc and dockerd want exactly these three
// first lines.
func version() string {
	return fmt.Sprintf("runh version %s\ncommit: %s\nspec: %s\n", release, commit(), specs.Version)
}
