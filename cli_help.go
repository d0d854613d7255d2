// Help: of runh, or of one command (cli_help_text.go).

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
	switch args[0] {
	case "help":
		return printHelp(helpHelp)
	case "version":
		return printHelp(helpVersion)
	}
	cmd := findCommand(args[0])
	if cmd == nil {
		//lint:ignore ST1005 runc's words
		return fmt.Errorf("No help topic for '%s': %w", args[0], unknownCommand(args[0]))
	}
	return printHelp(cmd.help)
}

// printHelp begins with runc's heading, which programs look for that read help.
func printHelp(text string) error { return printOut("NAME:\n   " + text) }

func unknownCommand(name string) error {
	names := []string{"help", "version"}
	for i := range commands {
		names = append(names, commands[i].name)
	}
	return fmt.Errorf(`unknown command %q%s: "runh help" lists them`, name, didYouMean(name, names, ""))
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
