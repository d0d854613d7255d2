// This host's facts (program_facts.go), for create and exec.
//
// Contract: nothing here changes anything.

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// thisHost is what create and exec go by.
func thisHost() *hostFacts {
	return &hostFacts{
		user: os.Geteuid,
		held: ownCapabilities,
		limit: func(resource int) (l unix.Rlimit, err error) {
			err = unix.Getrlimit(resource, &l)
			return l, err
		},
		stdio: func(fd int) (st unix.Stat_t, err error) {
			err = unix.Fstat(fd, &st)
			return st, err
		},
		directory: func(path string) (bool, error) {
			info, err := os.Stat(path)
			return err == nil && info.IsDir(), err
		},
		exists: func(path string) bool {
			_, err := os.Lstat(path)
			return err == nil
		},
		procfs:     isProcfs,
		mountPoint: mountPoint,
		cgroups:    findCgroupHost,
		namespaces: (*namespaces).open,
		built:      (*namespaces).isBuilt,
		kvm: func() (st unix.Stat_t, err error) {
			if err = unix.Stat("/dev/kvm", &st); err != nil {
				err = fmt.Errorf("/dev/kvm: %w", err)
			}
			return st, err
		},
		qemu: func(stateRoot, dir, qemu string) (*qemuFiles, error) {
			if qemu != "" {
				return qemuFilesOf(stateRoot, qemu)
			}
			return findQEMUFiles(stateRoot, dir)
		},
		cpu:      kvmCPU,
		apparmor: hasAppArmor,
		selinux:  hasSELinux,
	}
}
