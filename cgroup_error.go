// Which field of the spec a control file belongs to, for the errors of limits.

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// limitError names the spec's field where the library only names the file.
func limitError(err error) error {
	var file *fs.PathError
	if err == nil || !errors.As(err, &file) {
		return err
	}
	field := limitField(path.Base(file.Path))
	switch {
	case field == "":
		return err
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("linux.resources.%s: the kernel or the parent cgroup does not offer it: %w", field, err)
	}
	return fmt.Errorf("linux.resources.%s: %w", field, err)
}

func limitField(file string) string {
	switch file {
	case "memory.limit_in_bytes", "memory.max":
		return "memory.limit"
	case "memory.memsw.limit_in_bytes", "memory.swap.max":
		return "memory.swap"
	case "memory.soft_limit_in_bytes", "memory.low":
		return "memory.reservation"
	case "memory.swappiness":
		return "memory.swappiness"
	case "memory.kmem.tcp.limit_in_bytes":
		return "memory.kernelTCP"
	case "memory.oom_control":
		return "memory.disableOOMKiller"
	case "cpu.shares", "cpu.weight":
		return "cpu.shares"
	case "cpu.cfs_quota_us", "cpu.max":
		return "cpu.quota"
	case "cpu.cfs_period_us":
		return "cpu.period"
	case "cpu.cfs_burst_us", "cpu.max.burst":
		return "cpu.burst"
	case "cpu.idle":
		return "cpu.idle"
	case "cpu.rt_runtime_us":
		return "cpu.realtimeRuntime"
	case "cpu.rt_period_us":
		return "cpu.realtimePeriod"
	case "cpuset.cpus", "cpuset.mems":
		return strings.Replace(file, "cpuset", "cpu", 1)
	case "pids.max":
		return "pids.limit"
	case "devices.allow", "devices.deny", "devices.list":
		return "devices"
	}
	switch {
	case strings.Contains(file, "weight_device"):
		return "blockIO.weightDevice"
	case strings.Contains(file, "weight"):
		return "blockIO.weight"
	case strings.HasPrefix(file, "blkio.throttle"), file == "io.max":
		return "blockIO throttle"
	case strings.HasPrefix(file, "hugetlb"):
		return "hugepageLimits"
	case strings.HasPrefix(file, "net_"):
		return "network"
	case strings.HasPrefix(file, "rdma"):
		return "rdma"
	}
	return ""
}
