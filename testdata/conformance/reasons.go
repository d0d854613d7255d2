package main

// negativeOnly are the programs that only ask for failures, so that a command that always fails passes them: they count for nobody.
var negativeOnly = []string{"linux_ns_path_type"}

// reason says why runh does not pass a program. meant: it is right not to, whatever a peer does; CONFORMANCE.md says more.
type reason struct {
	text  string
	meant bool
}

func reasons(program string) reason {
	switch program {
	case "delete":
		return reason{"a created container can be deleted, as Docker and containerd count on; the program wants an error", true}
	case "delete_resources", "linux_cgroups_pids", "linux_cgroups_relative_pids":
		return reason{"the program compares the addresses of two limits, not the limits", false}
	case "hooks":
		return reason{"the program expects other lines than its own hooks write", false}
	case "linux_cgroups_blkio", "linux_cgroups_relative_blkio":
		return reason{"blkio.leaf_weight went with the CFQ scheduler (Linux 5.0)", false}
	case "linux_cgroups_hugetlb", "linux_cgroups_relative_hugetlb":
		return reason{"cgroup v1 has no hugetlb controller here", false}
	case "linux_cgroups_memory", "linux_cgroups_relative_memory":
		return reason{"the kernel has no limit of kernel memory any more", false}
	case "linux_cgroups_network", "linux_cgroups_relative_network":
		return reason{"cgroup v1 has no net_cls controller here", false}
	case "linux_process_apparmor_profile":
		return reason{"AppArmor is not enabled here", false}
	case "mounts":
		return reason{"a bind mount with the option `mode=755`: an error, as with runc since 1.2", true}
	case "process_capabilities_fail":
		return reason{"an unknown capability is a warning since version 1.3 (config.md); the program wants an error", true}
	case "misc_props":
		return reason{"the program starts /runtimetest, which it has not put into the rootfs", false}
	case "pidfile":
		return reason{"a race: the program kills a `true` and wants it to be still running", true}
	case "poststart":
		return reason{"a race: of a hook and a process that both run, it wants the process to write first", true}
	case "poststart_fail":
		return reason{"a failed poststart hook is an error and ends the container (runtime.md, Lifecycle 9); the program wants a warning", true}
	case "prestart":
		return reason{"the program wants prestart hooks at start; config.md puts them into create", false}
	case "process_capabilities":
		return reason{"a capability that nobody here has cannot be granted: a warning, as config.md wants", false}
	case "process_rlimits":
		return reason{"the program inside is in Go, whose start raises the soft RLIMIT_NOFILE that it then reads", false}
	case "start":
		return reason{"a config without process is refused at create; the program then wants start to succeed", false}
	}
	return reason{}
}
