// The words of failure, and exit codes.
//
// Callers match these texts, not codes, so the sentinels are word for word what
// runc says and what shim, CRI-O, podman and dockerd look for: change none. An
// error is a chain, outermost step first, in lower case, without "failed to";
// each layer adds the thing it knows, and the sentinel stands at the end. Print
// a sentinel, "permission denied" or "no such file or directory" only where it
// is true of the container: dockerd turns them into exit codes 126 and 127.

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

var (
	errNotExist   = errors.New("container does not exist")
	errExist      = errors.New("container with given ID already exists")
	errInvalidID  = errors.New("invalid container ID format")
	errNotRunning = errors.New("container not running")
	errNotPaused  = errors.New("container not paused")
)

// errBroken: a state directory is runh's, and its record cannot be read. It is
// what a killed create or delete may leave; "delete --force" removes it.
var errBroken = errors.New(`the container's record is incomplete: "runh delete --force" removes what is left`)

// exitError ends the program with another code than 1. Without err nothing is
// printed: the code is the container's, or all has been said.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

func codeOf(err error) int {
	var exit exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	}
	return 1
}

// finish reports err, if there is something to say, and returns the exit code.
// The same line goes to stderr (go-runc, conmon and CRI-O read that) and as the
// one "error" entry to --log (the shim and podman read that).
func (g *globals) finish(err error) int {
	code := codeOf(err)
	var exit exitError
	if err == nil || errors.As(err, &exit) && exit.err == nil {
		return code
	}
	msg := "runh: " + err.Error()
	if g.verb != "" {
		msg = "runh: " + g.verb + ": " + err.Error()
	}
	msg = oneLine(msg)
	g.writeLog(levelError, levelError, msg)
	// With nobody left to read stderr there is nobody to tell.
	os.Stderr.WriteString(msg + "\n")
	return code
}

// lineMax keeps a message within what conmon reads (8 KiB) and engines show.
const lineMax = 4096

// oneLine makes a message a single line of printable text: hooks and bad config
// files can put anything into an error. Too long a text loses its middle, since
// the step stands at its head and the cause at its end.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.TrimSpace(s))
	if len(s) > lineMax {
		half := lineMax/2 - 4
		s = strings.ToValidUTF8(s[:half]+" ... "+s[len(s)-half:], "")
	}
	return s
}
