package main

import "strings"

// suiteReason says why runh does not pass a test of runc's suite that runc passes, or "": then it should.
func suiteReason(file, test string) string {
	const (
		internals = "the test looks for debug lines of runc's C and Go stages, which runh does not have"
		flags     = "a bind mount keeps the restrictions of its source that its options do not name, the safer choice (README, What differs from runc)"
	)
	switch {
	case file == "debug",
		file == "exec" && strings.Contains(test, "--debug"),
		file == "cpu_affinity" && strings.Contains(test, "from process.json") || file == "cpu_affinity" && strings.Contains(test, "from config.json"):
		return internals
	case file == "help" && strings.Contains(test, "foo"):
		return "runh names the nearest command instead of \"No help topic\""
	case file == "help":
		return "runh's help is text of its own, without runc's headings"
	case file == "mounts_sshfs":
		return flags
	}
	return ""
}
