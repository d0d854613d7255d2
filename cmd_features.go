// "features": what this build supports, for engines that ask
// before they use it. They read stdout and stderr as one, so nothing else is
// printed; and they act on it, so only what works is named.

package main

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

func cmdFeatures(g *globals, args []string) error {
	words, err := parseFlags(nil, args, false)
	if err != nil {
		return err
	}
	if err := noWords(words); err != nil {
		return err
	}
	return printOut(string(encodeJSON(supported(), "  ")) + "\n")
}

func supported() *features.Features {
	yes := true
	return &features.Features{
		OCIVersionMin: "1.0.0",
		OCIVersionMax: specs.Version,
		Hooks:         []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		MountOptions:  mountOptionNames(),
		Linux: &features.Linux{
			Namespaces:   []string{"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"},
			Capabilities: capabilityNames[:],
			Cgroup:       &features.Cgroup{V1: &yes, V2: &yes, Systemd: &yes, SystemdUser: &yes, Rdma: &yes},
			Seccomp: &features.Seccomp{
				Enabled:        &yes,
				Actions:        seccompActions(),
				Operators:      seccompOperators(),
				Archs:          seccompArchs(),
				KnownFlags:     seccompFlags(),
				SupportedFlags: seccompFlags(),
			},
			Apparmor:        &features.Apparmor{Enabled: &yes},
			Selinux:         &features.Selinux{Enabled: &yes},
			IntelRdt:        &features.IntelRdt{Enabled: &yes, Schemata: &yes, Monitoring: &yes},
			MemoryPolicy:    &features.MemoryPolicy{Modes: texts(memoryModes), Flags: texts(memoryFlags)},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &yes}},
			NetDevices:      &features.NetDevices{Enabled: &yes},
		},
		Annotations: map[string]string{
			"org.hermit-os.runh.version": release,
			"org.hermit-os.runh.commit":  commit(),
		},
		// Each of these changes how the container runs.
		PotentiallyUnsafeConfigAnnotations: []string{"org.hermit-os.runh.", propertyAnnotation},
	}
}

func texts[T ~string](names []T) []string {
	var list []string
	for _, n := range names {
		list = append(list, string(n))
	}
	return list
}
