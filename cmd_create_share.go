// create's part in the files that a guest gets: vm_share.go says which these are, vm_share_jail.go how virtiofsd lives.

package main

import (
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// planShare returns nil for a guest that gets no files. A share that was not asked for but only follows
// from the volumes is no reason to fail: what stands in its way is a warning. root is the container's.
func (c *createPlan) planShare(o *hermitOptions, app *hermitApp, qemu *qemuFiles, root int) (*sharePlan, error) {
	mode := firstWord(o.settings.share, o.config.share, "auto")
	volumes := userVolumes(c.init.mounts)
	home := mode == "auto" && !slices.Contains(volumes, volume{imageHome, true}) && filesIn(root, imageHome)
	if mode == "none" || mode == "auto" && len(volumes) == 0 && !home {
		return nil, nil
	}
	found, err := app.contains("virtio-fs")
	if err != nil {
		return nil, err
	}
	if home = home && found; mode == "auto" && len(volumes) == 0 && !home {
		return nil, nil // an application without files misses none, whatever lies in its image
	}
	s := &sharePlan{daemon: qemu.virtiofsd(), tag: "root", rootfs: mode == "rootfs"}
	problem := ""
	switch {
	case s.daemon == nil:
		problem = "no virtiofsd in " + strings.Join(virtiofsdPaths, ", ") + ": install it (Debian 13: virtiofsd)"
	case namespaceOf(c.spec, specs.MountNamespace).Path != "":
		problem = "files are shared only from a mount namespace of the container's own"
	}
	switch {
	case problem != "" && s.rootfs:
		return nil, fmt.Errorf("share is \"rootfs\": %s", problem)
	case problem != "":
		if home {
			c.g.lossf("the guest does not see the files in the image's /root: %s", problem)
		}
		if len(volumes) > 0 {
			c.g.lossf("the guest does not see the container's volumes: %s", problem)
		}
		return nil, nil
	}
	if !found {
		c.g.lossf("the guest does not see the container's files: %s has no virtio-fs driver", app.path)
		if !s.rootfs {
			return nil, nil
		}
	}
	ownPaths := s.daemon.Rust && app.atLeast(0, 10)
	if problem := c.homeProblem(s, o, ownPaths || len(volumes) == 0); home && problem != "" {
		c.g.lossf("the guest does not see the files in the image's /root: %s", problem)
	} else if home {
		volumes = append(volumes, volume{imageHome, true})
		slices.SortFunc(volumes, byPath)
	}
	s.place(volumes, ownPaths, c.g.lossf)
	if !s.rootfs && len(s.volumes) == 0 {
		return nil, nil
	}
	if !s.daemon.Rust {
		c.g.lossf("virtiofsd %s refuses the names that Hermit's kernels use, whole paths: install the one that is written in Rust", s.daemon.Path)
	}
	return s, nil
}

// homeProblem says why the files in the image's /root are not shared unless somebody asks for them. A share is not
// for nothing: it rules out a template, and what is restored from a machine without one.
func (c *createPlan) homeProblem(s *sharePlan, o *hermitOptions, place bool) string {
	switch {
	case c.from != nil || o.settings.template.name != "":
		return "a machine that shares files cannot be saved or restored"
	case !s.daemon.Rust:
		return "virtiofsd " + s.daemon.Path + " refuses the names that Hermit's kernels use, whole paths: install the one that is written in Rust"
	case !place:
		return "a kernel before 0.10 can have them or volumes, not both"
	}
	return ""
}

// planShareJail looks at the mounts that the init has made.
func (c *createPlan) planShareJail(plan *sharePlan, p *initCompiler, pid int) (*shareJail, error) {
	filter, err := compileSeccomp(shareSeccomp())
	if err != nil {
		return nil, fmt.Errorf("virtiofsd's seccomp filter: %w", err)
	}
	j := &shareJail{plan: plan, seccomp: &filter, at: c.init.rootfs}
	if p.listed {
		j.hidden = []string{slot("each mount of a file system of the kernel")}
		return j, nil
	}
	mounts, err := readMountinfo(pid)
	if err != nil {
		return nil, err
	}
	j.hidden, err = kernelMounts(mounts, c.init.rootfs)
	return j, err
}
