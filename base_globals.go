// The flags before the command, and everything that goes with a command from its first line to its
// last: the root, the log, what was lost, signals. This build's version, and the writing of results.
//
// Contract: nothing here knows a container. dispatch (main.go) fills globals in.

package main

import (
	"io"
	"os"
	"runtime/debug"
	"time"
)

// globals are the flags before the command.
type globals struct {
	root, log, logFormat, logLevel, rootless, hermitEnv, config, criu string
	debug, systemdCgroup, debugLog, debugConfig                       bool

	// usualRoot: no --root was given.
	usualRoot bool
	// verb is the command being run, for messages.
	verb string
	// quietStderr: stderr belongs to the container, see base_log.go.
	quietStderr bool
	// started names this command's --debug-log file.
	started time.Time
	// signals are taken while the command makes something; nil: none are, see base_cancel.go.
	signals *signals
	// losses are what lossf has noted.
	losses []string
}

// release is the version of CHANGELOG.md; -ldflags "-X main.release=..." sets
// another.
var release = "0.1.0"

// withoutCgroups is what --rootless decides: whether cgroups that may not be
// made are done without. The root of a user namespace is no root to cgroupfs.
func (g *globals) withoutCgroups() bool {
	if g.rootless == "auto" {
		return os.Geteuid() != 0 || inUserNamespace()
	}
	return g.rootless == "true"
}

// printOut writes a command's result. A reader that is gone or a full disk is a
// failure of the command: its caller did not get the answer.
func printOut(text string) error {
	_, err := io.WriteString(os.Stdout, text)
	return err
}

// commit is what the go command wrote into the binary: "unknown" if it was told
// not to, for the sake of reproducible builds.
func commit() string {
	revision, dirty := "unknown", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = "-dirty"
			}
		}
	}
	return revision + dirty
}
