// A guest that is decided about, and what an operator and a container have said of it.

package main

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// guest is what is decided about a Hermit container before its VM exists.
type guest struct {
	app    *hermitApp
	loader *hermitLoader // nil: the application boots by itself
	qemu   *qemuFiles
	vm     *vmConfig
	share  *sharePlan // nil: the guest gets no files

	uids, gids []specs.LinuxIDMapping // of the user namespace that it runs in

	request *templateRequest // a template that start makes, nil: none
	mark    string           // where
	from    *savedGuest      // what it goes on from, nil: it boots
	said    string           // the line that it was in there
	left    leftOut          // variables that it does not get
}

// hermitOptions is what operator and container say about guests.
type hermitOptions struct {
	config   *hermitConfig
	settings *hermitSettings
	tsc      tscSample // the earlier it is taken, the less there is to wait for
}

func (g *guest) close() {
	g.app.file.Close()
	if g.loader != nil {
		g.loader.file.Close()
	}
	if g.qemu != nil {
		for _, f := range g.qemu.image {
			unix.Close(f.fd)
		}
	}
}
