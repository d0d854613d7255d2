// Facts that a program depends on besides config.json: of the host, of the user, and of the limits that runh runs
// with. Everything that compiles a program asks here, so `explain --program` can compile one for another host.
// explain_listing_test.go does, and its listings are the same everywhere.
//
// Contract: nothing here changes anything. cmd_create_facts.go has this host's answers.

package main

import "golang.org/x/sys/unix"

// hostFacts are questions. Each is asked when it matters, and not before: a
// start pays only for those that its config leads to.
type hostFacts struct {
	user       func() int                                            // effective user id
	held       func() uint64                                         // permitted capabilities
	limit      func(resource int) (unix.Rlimit, error)               // of this process, which the init inherits
	stdio      func(fd int) (unix.Stat_t, error)                     // a descriptor that becomes 0, 1 or 2
	directory  func(path string) (bool, error)                       // is the source of a bind mount one?
	exists     func(path string) bool                                // without following a link
	procfs     func(path string) bool                                // the root of one
	mountPoint func(path string) string                              // where the mount begins that a directory lies on
	cgroups    func(needOwn bool) (*cgroupHost, error)               // the hierarchies
	namespaces func(n *namespaces) error                             // opens those to join
	built      func(n *namespaces, rootfs string) bool               // see isBuilt
	kvm        func() (unix.Stat_t, error)                           // the device
	qemu       func(stateRoot, dir, qemu string) (*qemuFiles, error) // of a QEMU, or else in a tree or the host's
	cpu        func(stateRoot string, qemu *qemuFiles, machine string, saved bool) (string, error)
	apparmor   func() bool // is it enabled?
	selinux    func() bool // is it enabled?
}

// hardFiles is the hard limit on descriptors, which the init inherits.
func (f *hostFacts) hardFiles() uint64 {
	limit, err := f.limit(unix.RLIMIT_NOFILE)
	if err != nil {
		return 0 // cannot happen
	}
	return limit.Max
}
