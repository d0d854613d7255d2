// criu.go is checkpoint and restore for Linux containers: the program criu does both, and runh tells it what it
// must know of a container. What is said here is criu(8)'s command line.

package main

import (
	"errors"
	"path/filepath"
)

// criuOptions are the flags that checkpoint and restore share.
type criuOptions struct {
	id, imagePath, workPath         string
	manageCgroups, statusFD         string
	pageServer                      string
	emptyNS                         []string
	tcpEstablished, tcpSkipInFlight bool
	linkRemap, extUnixSk, shellJob  bool
	lazyPages, fileLocks, autoDedup bool
}

func (o *criuOptions) flags() []flagDef {
	return []flagDef{
		{"image-path", "", &o.imagePath},
		{"work-path", "", &o.workPath},
		{"manage-cgroups-mode", "", &o.manageCgroups},
		{"empty-ns", "", &o.emptyNS},
		{"tcp-established", "", &o.tcpEstablished},
		{"tcp-skip-in-flight", "", &o.tcpSkipInFlight},
		{"link-remap", "", &o.linkRemap},
		{"ext-unix-sk", "", &o.extUnixSk},
		{"shell-job", "", &o.shellJob},
		{"lazy-pages", "", &o.lazyPages},
		{"file-locks", "", &o.fileLocks},
		{"auto-dedup", "", &o.autoDedup},
	}
}

// finish fills the defaults: runc's.
func (o *criuOptions) finish() (err error) {
	if o.imagePath == "" {
		o.imagePath = "checkpoint"
	}
	if o.workPath == "" {
		o.workPath = o.imagePath
	}
	for _, p := range []*string{&o.imagePath, &o.workPath} {
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	return oneOf("manage-cgroups-mode", o.manageCgroups, "", "soft", "full", "strict", "ignore")
}

// forGuest refuses what would change the meaning of a guest's checkpoint. The other flags are about things
// that a machine has none of: sockets, locks and terminals of the host's.
func (o *criuOptions) forGuest() error {
	if o.lazyPages {
		return errors.New("a guest's memory is read as a whole: --lazy-pages is for Linux containers")
	}
	return nil
}

func (c *container) dump(g *globals, o *checkpointOptions, spec any) error { return errLater }
func restoreLinux(g *globals, o *restoreOptions) error                     { return errLater }
