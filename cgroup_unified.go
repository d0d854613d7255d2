// linux.resources.unified: files of cgroup v2 that are written as they are named.
//
// Contract: the files are the container's limits, and nothing else. What a
// write to them would do to processes is refused.

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// checkUnified refuses what is no limit. The files of the core ("cgroup.") act
// on the container: frozen, its init would never be ready.
func checkUnified(files map[string]string) error {
	for _, file := range slices.Sorted(maps.Keys(files)) {
		controller, rest, ok := strings.Cut(file, ".")
		if !ok || controller == "" || rest == "" || strings.Contains(file, "/") {
			return fmt.Errorf("linux.resources.unified %q: must be the name of a file, \"controller.parameter\"", file)
		}
		switch {
		case file == "cgroup.max.depth" || file == "cgroup.max.descendants" || file == "cgroup.pressure":
		case controller == "cgroup":
			return fmt.Errorf("linux.resources.unified %q: is no limit: of the files cgroup.* only max.depth, max.descendants and pressure may be set", file)
		}
	}
	return nil
}
