// help.go prints help: of runh, or of one command (helptext.go).

package main

import (
	"errors"
	"fmt"
	"strings"
)

// help is "runh help [COMMAND]".
func help(args []string) error {
	switch {
	case len(args) == 0:
		return printOut(usage())
	case len(args) > 1:
		return errors.New("help: one command is wanted")
	}
	cmd := findCommand(args[0])
	if cmd == nil {
		return fmt.Errorf(`unknown command %q: "runh help" lists them`, args[0])
	}
	return printOut(cmd.help)
}

func usage() string {
	var b strings.Builder
	b.WriteString(helpHead)
	for i := range commands {
		fmt.Fprintf(&b, "  %-11s %s\n", commands[i].name, commands[i].summary)
	}
	b.WriteString(helpTail)
	return b.String()
}
