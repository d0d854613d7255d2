// later.go holds the command that this build knows the words of, and does not
// do: it reads its flags, so that a mistake in them is found, and then says so.

package main

import "errors"

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
