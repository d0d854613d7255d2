// restore of a guest: create and start, with its memory from a checkpoint instead of a boot. cmd_restore_criu.go does it
// for Linux containers.
//
// Contract: the checkpoint's files are checked before anything is made, and the bundle's guest is compared with the
// saved one before QEMU starts. QEMU itself finds a misfit only half-way through the state, if at all.

package main

import (
	"fmt"
	"os"
	"path/filepath"
)

type restoreOptions struct {
	runOptions
	criu criuOptions

	lsmProfile, lsmMountContext string
	identity                    string // of a guest
}

func (o *restoreOptions) flags() []flagDef {
	return append(append(o.runOptions.flags(), o.criu.flags()...),
		flagDef{"lsm-profile", "", &o.lsmProfile},
		flagDef{"lsm-mount-context", "", &o.lsmMountContext},
		flagDef{"network-identity", "", &o.identity})
}

func parseRestore(args []string) (o restoreOptions, err error) {
	words, err := parseFlags(o.flags(), args, false)
	if err != nil {
		return o, err
	}
	if err := o.runOptions.finish(words); err != nil {
		return o, err
	}
	if err := oneOf("network-identity", o.identity, "", "renewed", "kept"); err != nil {
		return o, err
	}
	return o, o.criu.finish()
}

func cmdRestore(g *globals, args []string) error {
	o, err := parseRestore(args)
	if err != nil {
		return err
	}
	dir := o.criu.imagePath
	if _, err := os.Lstat(filepath.Join(dir, manifestName)); err != nil {
		return restoreLinux(g, &o)
	}
	if err := o.criu.forGuest(); err != nil {
		return err
	}
	from, err := openSaved(dir, true)
	if err != nil {
		return fmt.Errorf("checkpoint %w", err)
	}
	defer from.state.Close()
	from.identity = o.identity
	return runContainer(g, o.runOptions, from)
}

// adopt makes the bundle's guest the saved one, if it is the same machine with the same programs.
func (s *savedGuest) adopt(g *guest, root int) error {
	was, is := &s.VM, g.vm.saved()
	for _, x := range []struct{ what, was, is, hint string }{
		{"machine", was.Machine, is.Machine, "annotation " + annotationPrefix + "machine"},
		{"accelerator", was.Accel, is.Accel, "annotation " + annotationPrefix + "accel"},
		{"CPU", was.CPU, is.CPU, "annotation " + annotationPrefix + "cpu"},
		{"number of CPUs", fmt.Sprint(was.VCPUs), fmt.Sprint(is.VCPUs), "annotation " + annotationPrefix + "smp"},
		{"memory", fmt.Sprint(was.MemoryMiB, " MiB"), fmt.Sprint(is.MemoryMiB, " MiB"), "annotation " + annotationPrefix + "memory_size"},
		{"network", cardOf(was.Network), cardOf(is.Network), "annotation " + annotationPrefix + "network"},
		{"further QEMU arguments", was.Extra, is.Extra, "vm.hypervisor.parameters"},
	} {
		if x.was != x.is {
			return fmt.Errorf("checkpoint %s: its %s is %q, and this container's %q (%s)", s.dir, x.what, x.was, x.is, x.hint)
		}
	}
	if qemu, err := g.qemu.digest(root); err != nil {
		return err
	} else if qemu != s.QEMU.Digest {
		return fmt.Errorf("checkpoint %s is of QEMU %s: %s here is another build", s.dir, s.QEMU.Version, g.qemu.QEMU)
	}
	for _, x := range []struct {
		what string
		file *os.File
		was  savedFile
	}{
		{"application", g.app.file, s.App},
		{"loader", g.loaderFile(), s.Loader},
	} {
		is := savedFile{}
		if x.file != nil {
			var err error
			if is, err = describeFile(x.file); err != nil {
				return err
			}
		}
		if is.Digest != x.was.Digest {
			return fmt.Errorf("checkpoint %s is of another %s: its SHA-256 is %.12q, and here %.12q", s.dir, x.what, x.was.Digest, is.Digest)
		}
	}
	g.goOn(s)
	return nil
}

// goOn has the guest go on from a state, instead of booting.
func (g *guest) goOn(s *savedGuest) {
	g.from, g.said, g.left = s, s.Console.Line, leftOut{}
	vm := g.vm
	vm.Incoming, vm.Saved = true, s.VM.Lease
	vm.Boot, vm.Lease = bootLine{Front: s.VM.Append, Whole: true}, nil
	if s.Clock != nil {
		vm.Boot.MHz = s.Clock.MHz
	}
}

func (g *guest) loaderFile() *os.File {
	if g.loader == nil {
		return nil
	}
	return g.loader.file
}
