// The session keyring: the container's own, unless --no-new-keyring leaves it the caller's.

package main

import (
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestSessionKeyring(t *testing.T) {
	r := newRT(t)
	noFilter := func(s *specs.Spec) { s.Linux.Seccomp = nil } // Docker's denies keyctl
	own := func(flags ...string) bool {
		c := r.bundle([]string{"probe", "keyring"}, noFilter).addProbe()
		res := c.run(flags...).ok()
		return strings.Contains(res.out, ";_ses."+c.id)
	}
	if !own() {
		t.Error("the container has no keyring of its own")
	}
	if own("--no-new-keyring") {
		t.Error("--no-new-keyring: the container has a keyring of its own")
	}
	for want, flags := range map[bool][]string{true: nil, false: {"--no-new-keyring"}} {
		c := r.bundle([]string{"sleep", "1000"}, noFilter).addProbe().create(flags...).start()
		if res := r.do("exec", c.id, "probe", "keyring").ok(); strings.Contains(res.out, ";_ses."+c.id) != want {
			t.Errorf("exec after create %q: the process has the keyring %q", flags, res.out)
		}
	}
}
