// later.go holds the commands that this build knows the words of, and cannot
// do yet. Each reads its flags, so that a mistake in them is found, and then
// says so in one line. README, "What works", has the same table.

package main

import (
	"errors"
)

var errLater = errors.New(`this build cannot do it yet (see README, "What works")`)

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
