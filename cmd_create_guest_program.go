// The program of a guest's init, after the hooks: it takes the host's files, forks
// virtiofsd and QEMU into their jails (vm_share_jail.go, vm_jail.go), enters the rootfs and
// becomes the keeper (keeper_born.go).

package main

import "fmt"

// guestFiles is what such an init receives from the parent, in this order: mounts
// of the host's files for QEMU and for virtiofsd (jail.host, share.host), files, the log.
type guestFiles struct {
	self  string // runh's own program, which is among the files of the host
	files []*jailFile
	log   bool
	late  bool // QEMU comes at start
}

// filesOf are those of a jail.
func filesOf(jail *vmmJail) []*jailFile {
	files := []*jailFile{&jail.app}
	if jail.loader != nil {
		files = append(files, jail.loader)
	}
	return append(files, jail.image...)
}

// cloneGuestHost clones the files of the host, where that is needed.
func (c *initCompiler) cloneGuestHost(jail *vmmJail, self string) (err error) {
	if jail.host, err = c.cloneHost(append([]string{self}, hostPaths(jail.files)...)); err != nil {
		return err
	}
	if share := jail.share; share != nil { // clones of its own: each can be attached once
		share.host, err = c.cloneHost(hostPaths(share.plan.daemon.Files))
	}
	return err
}

func (j *vmmJail) closeHost() {
	j.host.close()
	if j.share != nil {
		j.share.host.close()
	}
}

// writeGuest writes the program.
func (p *initCompiler) writeGuest(g *guest, of *globals, jail *vmmJail, from *guestFiles) error {
	p.section("create: the guest's files")
	received := len(jail.host.paths) + 2*len(from.files) + 1
	if jail.share != nil {
		received += len(jail.share.host.paths)
	}
	p.at("take the files of the host")
	p.root.keep(received)
	jail.host.take(p.program)
	if jail.share != nil {
		jail.share.host.take(p.program)
	}
	p.take(from.files...)
	var logFD valueAt
	if from.log {
		p.at("take the log")
		logFD = p.receiveFiles(1)[0]
	}
	p.protectRoot()
	p.root.keep(0)
	p.keeperFD = max(p.root.above, keeperSignalFD+1) + 1
	p.openSelf(&jail.host, from.self)
	if jail.share != nil {
		jail.share.link = p.root.above + shareRoom
		p.takeShare(jail.share)
		p.forkVirtiofsd(jail.share)
	}
	var io vmmPipes
	pidfd := p.forkVMM(jail, &io)
	p.section("create: into the rootfs, and the keeper's birth")
	p.enterRoot()
	filter, err := compileSeccomp(keeperSeccomp(p.keeperFD - 1))
	if err != nil {
		return fmt.Errorf("the keeper's seccomp filter: %w", err)
	}
	p.becomeKeeper(&io, jail.share, pidfd, logFD, g, of, &filter, from.late)
	return nil
}
