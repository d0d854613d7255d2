// linux.intelRdt: shares of the processor's cache and memory bandwidth, in the
// groups of resctrl, which are no cgroups. runh makes none, and says so.

package main

import (
	"errors"
	"fmt"
	"os"
)

// noResctrl says why linux.intelRdt cannot be had. dir is where resctrl would be
// mounted.
func noResctrl(dir string) error {
	if _, err := os.Stat(dir + "/schemata"); err != nil {
		return fmt.Errorf("linux.intelRdt: this host offers no resource control by the processor (resctrl is not mounted on %s)", dir)
	}
	return errors.New("linux.intelRdt is not supported by this build")
}
