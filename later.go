// later.go holds the commands that this build knows the words of, and cannot
// do yet. Each reads its flags, so that a mistake in them is found, and then
// says so in one line. README, "What works", has the same table.

package main

import (
	"errors"
)

var errLater = errors.New(`this build cannot do it yet (see README, "What works")`)

func laterID(args []string, defs ...flagDef) error {
	words, err := parseFlags(defs, args, false)
	if err != nil {
		return err
	}
	if _, err := onlyID(words); err != nil {
		return err
	}
	return errLater
}

func cmdCheckpoint(g *globals, args []string) error {
	return laterID(args, criuFlags(
		[]string{"parent-path", "status-fd", "page-server"},
		[]string{"leave-running", "pre-dump"})...)
}

func cmdRestore(g *globals, args []string) error {
	defs := criuFlags(
		[]string{"bundle", "pid-file", "console-socket", "lsm-profile", "lsm-mount-context", "preserve-fds"},
		[]string{"detach", "no-subreaper", "no-pivot", "no-new-keyring", "keep"})
	for i := range defs {
		switch defs[i].name {
		case "bundle":
			defs[i].short = "b"
		case "detach":
			defs[i].short = "d"
		}
	}
	return laterID(args, defs...)
}

// criuFlags are the flags that checkpoint and restore share, and each one's own.
func criuFlags(values, switches []string) []flagDef {
	var value string
	var on bool
	var defs []flagDef
	for _, name := range append(values, "image-path", "work-path", "manage-cgroups-mode", "empty-ns") {
		defs = append(defs, flagDef{name, "", &value})
	}
	for _, name := range append(switches, "tcp-established", "tcp-skip-in-flight", "link-remap",
		"ext-unix-sk", "shell-job", "lazy-pages", "file-locks", "auto-dedup") {
		defs = append(defs, flagDef{name, "", &on})
	}
	return defs
}

// cmdPull: upstream's runh once fetched images. Engines, skopeo and umoci do
// that better; its words are read so that old scripts get this answer.
func cmdPull(g *globals, args []string) error {
	var value string
	_, err := parseFlags([]flagDef{
		{"username", "u", &value}, {"password", "p", &value}, {"bundle", "b", &value},
	}, args, false)
	if err != nil {
		return err
	}
	return errors.New(`runh pulls no images: "runh help pull" shows how to get a bundle`)
}
