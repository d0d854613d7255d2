// Images as others make them: Hermit applications that boot by themselves (PVH), and files in an image's own /root.
package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Without a note of the kernel's version it is 0.14 or later all the same: variables reach it. The image's loader, and the
// machine, do not matter.
func TestHermitPVH(t *testing.T) {
	for _, machine := range []string{"", "pc", "q35"} {
		t.Run("machine "+machine, func(t *testing.T) {
			r := newHermit(t)
			res := r.guest("app-pvh", []string{"env", ";", "devices", ";", "exit", "7"}, func(s *specs.Spec) {
				s.Process.Env = []string{"GREETING=two words"}
				s.Annotations = map[string]string{annotationPrefix + "network": "user"} // a device to see the machine by
				if machine != "" {
					s.Annotations[annotationPrefix+"machine"] = machine
				}
			}).run()
			if got := guestStrings(t, res.out, "env"); res.code != 7 || !slices.Contains(got, "GREETING=two words") || strings.Contains(res.out, "mmio") != (machine == "") {
				t.Errorf("exit code %d, stdout %q, stderr %q", res.code, res.out, res.err)
			}
			if left := r.leftovers(); len(left) != 0 {
				t.Errorf("left %q", left)
			}
		})
	}
	r := newHermit(t)
	r.guest("app-pvh-pie", []string{"hello"}).run().fails("/hermit/app: its PVH entry is address 0, as it is linked position-independent: link it to a fixed address")
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
	r.guest("app-pvh", []string{"hello"}, func(s *specs.Spec) {
		s.Annotations = map[string]string{annotationPrefix + "loader": "/hermit/hermit-loader"}
	}).run().fails("/hermit/app has no Hermit entry note")
}
