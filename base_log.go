// The log: --log, its formats and its levels.
//
// What engines rely on:
//   - At the default level a failed command writes exactly one line, of level
//     "error", as its last. podman reads the whole file as one JSON object, and
//     the shim takes the last "error" line of a file that all commands on one
//     container share.
//   - A successful one writes nothing but what a container was asked for and
//     does not have (lossf), of level "warning". Engines read the file only
//     when a command has failed; "state" has the same lines as an annotation.
//   - A JSON line is {"level","msg","time"}, time in RFC 3339: one other form
//     and the shim gives up on the file.
//   - The file is opened for appending, for each line, and never truncated. If
//     it cannot be opened when a command begins, that is the command's error;
//     kill and delete go on, for a lost log must not keep a container from being
//     stopped. The error is on stderr in any case.
//   - Nothing is ever logged to stdout. Without --log the levels below error go
//     to stderr. From commands that hand their stderr to the container (create,
//     run, exec, restore) only such losses do, as runc's warnings, and what
//     --debug asks for: give these --log or --debug-log.
//
// --debug-log (upstream's) writes all levels, as JSON, to
// <root>/log-<time>.json besides; --debug-config keeps a copy of each config in
// <root>/container-<id>.json.

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

type level int

const (
	levelError level = iota // also "off": the final error is part of the contract
	levelWarn
	levelInfo
	levelDebug
	levelTrace
)

func (l level) String() string {
	return [...]string{"error", "warning", "info", "debug", "trace"}[l]
}

// maxLevel is the least important level that is wanted.
func (g *globals) maxLevel() level {
	switch {
	case g.logLevel == "trace":
		return levelTrace
	case g.debug || g.logLevel == "debug":
		return levelDebug
	case g.logLevel == "info":
		return levelInfo
	case g.logLevel == "warn":
		return levelWarn
	}
	return levelError
}

func (g *globals) warnf(format string, args ...any) { g.logf(levelWarn, format, args...) }

// lossf notes something that the user asked for and does not get. tellLosses writes it.
func (g *globals) lossf(format string, args ...any) {
	g.losses = append(g.losses, fmt.Sprintf(format, args...))
}

// tellLosses is for a command that has succeeded: a failed one writes its error alone.
func (g *globals) tellLosses() {
	most := g.maxLevel()
	if g.logLevel == "" {
		most = max(most, levelWarn)
	}
	for _, loss := range g.losses {
		g.logUpTo(most, levelWarn, loss, true)
	}
	g.losses = nil
}

func (g *globals) infof(format string, args ...any)  { g.logf(levelInfo, format, args...) }
func (g *globals) debugf(format string, args ...any) { g.logf(levelDebug, format, args...) }

func (g *globals) logf(l level, format string, args ...any) {
	if l > g.maxLevel() && !g.debugLog {
		return
	}
	g.logUpTo(g.maxLevel(), l, fmt.Sprintf(format, args...), !g.quietStderr || g.debug)
}

// logUpTo writes a line that is wanted if it is no less important than most; with
// onStderr there, where there is no log.
func (g *globals) logUpTo(most, l level, msg string, onStderr bool) {
	g.writeLog(most, l, msg)
	if g.log == "" && onStderr && l <= most {
		os.Stderr.Write(logLine("text", l, msg, time.Now()))
	}
}

// writeLog appends one line to the files that want it.
func (g *globals) writeLog(most, l level, msg string) {
	if g.log != "" && l <= most {
		appendLine(g.log, 0o644, logLine(g.logFormat, l, msg, time.Now()))
	}
	if g.debugLog && g.root != "" {
		os.MkdirAll(g.root, 0o700)
		name := "log-" + g.started.UTC().Format(time.RFC3339) + ".json"
		appendLine(filepath.Join(g.root, name), 0o600, logLine("json", l, msg, time.Now()))
	}
}

// checkLog opens --log once, so that a log that nobody will ever read is told
// before anything is done.
func (g *globals) checkLog() error {
	if g.log == "" {
		return nil
	}
	f, err := os.OpenFile(g.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NONBLOCK, 0o644)
	if err == nil {
		return f.Close()
	}
	if g.verb == "kill" || g.verb == "delete" {
		fmt.Fprintf(os.Stderr, "runh: %s: --log: %v\n", g.verb, err)
		return nil
	}
	return fmt.Errorf("--log: %w", err)
}

// appendLine ignores errors, see above.
func appendLine(path string, mode os.FileMode, line []byte) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NONBLOCK, mode)
	if err != nil {
		return
	}
	f.SetWriteDeadline(time.Now().Add(time.Second)) // a FIFO whose reader has stopped; a file has none
	f.Write(line)
	f.Close()
}

// logLine formats one line. The time is UTC: the local zone would cost reading
// /etc/localtime.
func logLine(format string, l level, msg string, now time.Time) []byte {
	stamp := now.UTC().Format(time.RFC3339)
	if format != "json" {
		return fmt.Appendf(nil, "time=%q level=%s msg=%q\n", stamp, l, msg)
	}
	b := append(make([]byte, 0, len(msg)+64), `{"level":"`...)
	b = append(b, l.String()...)
	b = append(b, `","msg":"`...)
	b = appendJSON(b, msg)
	b = append(b, `","time":"`...)
	b = append(b, stamp...)
	return append(b, '"', '}', '\n')
}

// keepConfig is --debug-config: a copy of what the engine asked for, to look at
// afterwards.
func (g *globals) keepConfig(id string, config []byte) {
	if g.debugConfig {
		os.MkdirAll(g.root, 0o700)
		os.WriteFile(filepath.Join(g.root, "container-"+id+".json"), config, 0o600)
	}
}
