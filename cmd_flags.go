// The words after the program's name: the global flags and every
// subcommand's own.
//
// Callers were written for several argument parsers, so all their forms are
// taken: --bundle B, --bundle=B, -bundle B, -b B, -bB is not (nobody sends it),
// -it for two switches, --debug=false. Flags may stand before or after the ID
// (upstream runh takes both); exec, ps and the globals stop at the first word
// that is not a flag, since what follows belongs to another program. "--" ends
// the flags. The standard flag package knows neither short clusters nor flags
// after words, which is why these lines exist.

package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// errHelp asks main for the help text of the command being parsed.
var errHelp = errors.New("help asked for")

// A flagDef is one flag. to is where its value goes: *bool (a switch), *string,
// *int, *[]string (may be repeated), or a function that reads it.
type flagDef struct {
	name, short string
	to          any
}

// parseFlags stores the flags found in args and returns the other words. With
// stopAtWord it ends at the first of these.
func parseFlags(defs []flagDef, args []string, stopAtWord bool) ([]string, error) {
	var words []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return append(words, args...), nil
		case len(arg) < 2 || arg[0] != '-': // "-" alone is a word: standard input
			words = append(words, arg)
			if stopAtWord {
				return append(words, args...), nil
			}
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
		def := findFlag(defs, name)
		if def == nil {
			if name == "h" || name == "help" {
				return nil, errHelp
			}
			if !setCluster(defs, arg) {
				return nil, fmt.Errorf("unknown flag %q%s", arg, didYouMean(strings.TrimLeft(arg, "-"), flagNames(defs), "--"))
			}
			continue
		}
		if !hasValue {
			if setSwitch(def) {
				continue
			}
			if len(args) == 0 {
				return nil, fmt.Errorf("flag %s: its value is missing", arg)
			}
			value, args = args[0], args[1:]
		}
		if err := setFlag(def, value); err != nil {
			return nil, fmt.Errorf("flag --%s: %w", def.name, err)
		}
	}
	return words, nil
}

func flagNames(defs []flagDef) []string {
	names := []string{"help"}
	for _, d := range defs {
		names = append(names, d.name)
	}
	return names
}

func findFlag(defs []flagDef, name string) *flagDef {
	for i := range defs {
		if name != "" && (defs[i].name == name || defs[i].short == name) {
			return &defs[i]
		}
	}
	return nil
}

// setSwitch turns a flag without a value on, and says whether it is of that kind.
func setSwitch(def *flagDef) bool {
	to, ok := def.to.(*bool)
	if ok {
		*to = true
	}
	return ok
}

// setCluster reads "-it" as "-i -t", if all of its letters are switches.
func setCluster(defs []flagDef, arg string) bool {
	if arg[1] == '-' || len(arg) < 3 {
		return false
	}
	for _, c := range arg[1:] {
		def := findFlag(defs, string(c))
		if def == nil {
			return false
		}
		if _, ok := def.to.(*bool); !ok {
			return false
		}
	}
	for _, c := range arg[1:] {
		setSwitch(findFlag(defs, string(c)))
	}
	return true
}

func setFlag(def *flagDef, value string) error {
	switch to := def.to.(type) {
	case *bool:
		v, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", value)
		}
		*to = v
	case *int:
		v, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", value)
		}
		*to = v
	case *string:
		*to = value
	case *[]string:
		*to = append(*to, value)
	case func(string) error:
		return to(value)
	default:
		panic(fmt.Sprintf("BUG: flag %s has a value of type %T", def.name, def.to))
	}
	return nil
}

// onlyID takes the one word that most commands want.
func onlyID(words []string) (string, error) {
	switch {
	case len(words) == 0 || words[0] == "":
		return "", errors.New("the container ID is missing")
	case len(words) > 1:
		return "", fmt.Errorf("one container ID is wanted, and %d words were given: %q", len(words), words)
	}
	return words[0], nil
}

// noWords is for the commands that want none.
func noWords(words []string) error {
	if len(words) > 0 {
		return fmt.Errorf("no argument is wanted, and %q was given", words[0])
	}
	return nil
}

// The options of each command, as its owner gets them.

type createOptions struct {
	id, bundle                          string
	pidFile, consoleSocket, pidfdSocket string
	noPivot, noNewKeyring               bool
	preserveFds                         int
	run                                 bool // start follows at once
}

func (o *createOptions) flags() []flagDef {
	return []flagDef{
		{"bundle", "b", &o.bundle},
		{"pid-file", "", &o.pidFile},
		{"console-socket", "", &o.consoleSocket},
		{"pidfd-socket", "", &o.pidfdSocket},
		{"no-pivot", "", &o.noPivot},
		{"no-new-keyring", "", &o.noNewKeyring},
		{"preserve-fds", "", &o.preserveFds},
	}
}

// finish takes the words left over and fills the defaults.
func (o *createOptions) finish(words []string) (err error) {
	if o.bundle == "" {
		o.bundle = "."
	}
	if o.preserveFds < 0 {
		return fmt.Errorf("flag --preserve-fds: %d is less than 0", o.preserveFds)
	}
	o.id, err = onlyID(words)
	return err
}

func parseCreate(args []string) (createOptions, error) {
	var o createOptions
	words, err := parseFlags(o.flags(), args, false)
	if err != nil {
		return o, err
	}
	return o, o.finish(words)
}

type runOptions struct {
	createOptions
	detach, keep, noSubreaper bool
}

func (o *runOptions) flags() []flagDef {
	return append(o.createOptions.flags(),
		flagDef{"detach", "d", &o.detach},
		flagDef{"keep", "", &o.keep},
		flagDef{"no-subreaper", "", &o.noSubreaper})
}

func parseRun(args []string) (runOptions, error) {
	var o runOptions
	words, err := parseFlags(o.flags(), args, false)
	if err != nil {
		return o, err
	}
	return o, o.finish(words)
}

// parseID serves the commands without flags: start, state, pause, resume.
func parseID(args []string) (id string, err error) {
	words, err := parseFlags(nil, args, false)
	if err != nil {
		return "", err
	}
	return onlyID(words)
}

type deleteOptions struct {
	id    string
	force bool
}

func (o *deleteOptions) flags() []flagDef { return []flagDef{{"force", "f", &o.force}} }

func parseDelete(args []string) (o deleteOptions, err error) {
	words, err := parseFlags(o.flags(), args, false)
	if err != nil {
		return o, err
	}
	o.id, err = onlyID(words)
	return o, err
}

type killOptions struct {
	id, signal string
	all        bool
}

func (o *killOptions) flags() []flagDef { return []flagDef{{"all", "a", &o.all}} }

func parseKill(args []string) (o killOptions, err error) {
	words, err := parseFlags(o.flags(), args, false)
	if err != nil {
		return o, err
	}
	o.signal = "TERM"
	if len(words) == 2 {
		o.signal, words = words[1], words[:1]
	}
	o.id, err = onlyID(words)
	return o, err
}

type listOptions struct {
	format string
	quiet  bool
}

func (o *listOptions) flags() []flagDef {
	return []flagDef{{"format", "f", &o.format}, {"quiet", "q", &o.quiet}}
}

func parseList(args []string) (listOptions, error) {
	o := listOptions{format: "table"}
	words, err := parseFlags(o.flags(), args, false)
	if err != nil {
		return o, err
	}
	if err := noWords(words); err != nil {
		return o, err
	}
	return o, oneOf("format", o.format, "table", "json")
}

type specOptions struct {
	bundle   string
	rootless bool
	args     []string
}

func (o *specOptions) flags() []flagDef {
	return []flagDef{{"bundle", "b", &o.bundle}, {"rootless", "", &o.rootless}, {"args", "a", &o.args}}
}

// parseSpec: upstream's --args takes every word that follows it, so the words
// left over are arguments too, once --args has been given.
func parseSpec(args []string) (o specOptions, err error) {
	words, err := parseFlags(o.flags(), args, false)
	if err != nil {
		return o, err
	}
	if len(o.args) > 0 {
		o.args = append(o.args, words...)
		return o, nil
	}
	return o, noWords(words)
}

type execOptions struct {
	id                                    string
	command                               []string
	process                               string // a file with the OCI process, instead of command
	pidFile, consoleSocket, pidfdSocket   string
	cwd, user, apparmor, processLabel     string
	env, caps, additionalGids, cgroup     []string
	tty, detach, noNewPrivs, ignorePaused bool
	preserveFds                           int
}

func (o *execOptions) flags() []flagDef {
	return []flagDef{
		{"process", "p", &o.process},
		{"pid-file", "", &o.pidFile},
		{"console-socket", "", &o.consoleSocket},
		{"pidfd-socket", "", &o.pidfdSocket},
		{"cwd", "", &o.cwd},
		{"env", "e", &o.env},
		{"tty", "t", &o.tty},
		{"user", "u", &o.user},
		{"additional-gids", "g", &o.additionalGids},
		{"detach", "d", &o.detach},
		{"process-label", "", &o.processLabel},
		{"apparmor", "", &o.apparmor},
		{"no-new-privs", "", &o.noNewPrivs},
		{"cap", "c", &o.caps},
		{"preserve-fds", "", &o.preserveFds},
		{"cgroup", "", &o.cgroup},
		{"ignore-paused", "", &o.ignorePaused},
	}
}

func parseExec(args []string) (o execOptions, err error) {
	words, err := parseFlags(o.flags(), args, true)
	if err != nil {
		return o, err
	}
	if len(words) == 0 || words[0] == "" {
		return o, errors.New("the container ID is missing")
	}
	o.id, o.command = words[0], words[1:]
	switch {
	case o.preserveFds < 0:
		return o, fmt.Errorf("flag --preserve-fds: %d is less than 0", o.preserveFds)
	case o.process != "" && len(o.command) > 0:
		return o, fmt.Errorf("both --process and a command %q are given: one of them is wanted", o.command[0])
	case o.process == "" && len(o.command) == 0:
		return o, errors.New("neither a command nor --process is given")
	}
	return o, nil
}
