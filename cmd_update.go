// "update": other limits for a container that lives.
//
// Engines send linux.resources as JSON, people use flags; where both are given
// the flags go on top. What is absent, or 0, stays as it is: Docker sends 0 for
// all that its user did not name. Devices are not changed, as in runc: a
// plugin may have added some that the config does not know.
//
// Some limits are one to the kernel (memory with swap, a quota with its
// period), so one of them alone takes the other from the config. Therefore the
// snapshot of the config follows each update; the next update, exec and restore
// read it. A failed update is taken back as far as the config can tell how.
//
// A Hermit guest keeps the memory and the CPUs that it was started with: only
// the cgroup of its virtual machine is changed, and a limit in which that could
// not live is refused (vm_size.go).

package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func cmdUpdate(g *globals, args []string) error {
	id, r, schemata, err := parseUpdate(g, args)
	if err != nil {
		return err
	}
	c, err := openContainer(g, id)
	if err != nil {
		return err
	}
	defer c.close()
	if r.Pids != nil && r.Pids.Limit != nil && *r.Pids.Limit == 0 {
		spec, err := c.snapshot()
		if err != nil {
			return err
		}
		forgetZeroPids(spec.Version, r) // the engine that wrote the config speaks the same version here
	}
	warning := ""
	if c.Kind == "hermit" && c.Hermit != nil {
		warning, err = c.Hermit.follow(r)
	}
	if err == nil && len(schemata) > 0 && c.Rdt == nil {
		err = errors.New("the container has no linux.intelRdt, whose schemata could be set")
	}
	if err == nil {
		err = c.update(r)
	}
	if err == nil && len(schemata) > 0 {
		err = c.Rdt.write(schemata)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	if warning != "" {
		g.warnf("%s: %s", id, warning)
	}
	return nil
}

// parseUpdate also returns lines for resctrl, which are no resources.
func parseUpdate(g *globals, args []string) (id string, r *specs.LinuxResources, schemata []string, err error) {
	var file, kernel string
	var rdt specs.LinuxIntelRdt
	var weight *uint16
	m, p, pids := new(specs.LinuxMemory), new(specs.LinuxCPU), new(specs.LinuxPids)
	words, err := parseFlags([]flagDef{
		{"resources", "r", &file},
		{"memory", "", sizeFlag(&m.Limit)},
		{"memory-reservation", "", sizeFlag(&m.Reservation)},
		{"memory-swap", "", sizeFlag(&m.Swap)},
		{"kernel-memory", "", &kernel},
		{"kernel-memory-tcp", "", sizeFlag(&m.KernelTCP)},
		{"cpu-share", "", numberFlag(&p.Shares)},
		{"cpu-shares", "", numberFlag(&p.Shares)},
		{"cpu-period", "", numberFlag(&p.Period)},
		{"cpu-quota", "", numberFlag(&p.Quota)},
		{"cpu-burst", "", numberFlag(&p.Burst)},
		{"cpu-idle", "", numberFlag(&p.Idle)},
		{"cpu-rt-period", "", numberFlag(&p.RealtimePeriod)},
		{"cpu-rt-runtime", "", numberFlag(&p.RealtimeRuntime)},
		{"cpuset-cpus", "", &p.Cpus},
		{"cpuset-mems", "", &p.Mems},
		{"pids-limit", "", numberFlag(&pids.Limit)},
		{"blkio-weight", "", numberFlag(&weight)},
		{"l3-cache-schema", "", &rdt.L3CacheSchema},
		{"mem-bw-schema", "", &rdt.MemBwSchema},
	}, args, false)
	if err != nil {
		return "", nil, nil, err
	}
	if id, err = onlyID(words); err != nil {
		return "", nil, nil, err
	}
	if kernel != "" {
		g.warnf("the limit of kernel memory is ignored: the kernel has none any more")
	}
	r = new(specs.LinuxResources)
	if file != "" {
		if r, err = readResources(file); err != nil {
			return "", nil, nil, err
		}
	}
	overlayResources(r, &specs.LinuxResources{
		Memory: m, CPU: p, Pids: pids, BlockIO: &specs.LinuxBlockIO{Weight: weight},
	})
	return id, r, schemataLines(&rdt), nil
}

// readResources reads OCI resources; "-" is standard input.
func readResources(file string) (*specs.LinuxResources, error) {
	var data []byte
	var err error
	if file == "-" {
		if data, err = io.ReadAll(io.LimitReader(os.Stdin, configMax)); err != nil {
			return nil, fmt.Errorf("read the resources from standard input: %w", err)
		}
		file = "standard input"
	} else if data, err = readFile(file, configMax); err != nil {
		return nil, err
	}
	r := new(specs.LinuxResources)
	if err := decodeJSON(string(data), r); err != nil {
		return nil, fmt.Errorf("resources from %s: %w", file, err)
	}
	return r, nil
}

// sizeFlag reads a number of bytes; -1 is "without limit".
func sizeFlag(to **int64) func(string) error {
	return func(text string) error {
		if text == "" {
			return nil // as if it were not there, in runc's way
		}
		n, err := parseSize(text)
		*to = &n
		return err
	}
}

// parseSize reads 1048576, 64m, 64MB, 64MiB, 1.5g: Docker's sizes, whose units
// are powers of 1024 in whatever way they are written.
func parseSize(text string) (int64, error) {
	if text == "-1" {
		return -1, nil
	}
	wrong := fmt.Errorf("%q is not a size: wanted is a number of bytes, one like 64m or 1.5GiB, or -1 for no limit", text)
	end := strings.LastIndexAny(text, "0123456789.") + 1
	number, unit := text[:end], strings.ToLower(strings.TrimSpace(text[end:]))
	scale := int64(1)
	if unit != "" && unit != "b" {
		power := strings.IndexByte("kmgtp", unit[0]) + 1
		switch rest := unit[1:]; {
		case power == 0, rest != "" && rest != "b" && rest != "ib":
			return 0, wrong
		}
		scale <<= 10 * power
	}
	if n, err := strconv.ParseUint(number, 10, 63); err == nil && int64(n) <= (1<<63-1)/scale {
		return int64(n) * scale, nil
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.Trim(number, "0123456789.") != "" || n*float64(scale) >= 1<<63 {
		return 0, wrong
	}
	return int64(n * float64(scale)), nil
}

func numberFlag[T int64 | uint64 | uint16](to **T) func(string) error {
	return func(text string) error {
		if text == "" {
			return nil
		}
		n, err := strconv.ParseInt(text, 10, 64)
		v := T(n)
		if err != nil || int64(v) != n || (v < 0) != (n < 0) {
			return fmt.Errorf("%q is not a whole number that is possible here", text)
		}
		*to = &v
		return nil
	}
}

// update changes the limits that r names, and remembers them.
func (c *container) update(r *specs.LinuxResources) error {
	switch status, err := c.status(); {
	case err != nil:
		return err
	case status == "creating" || status == "stopped":
		return errNotRunning
	}
	spec, err := c.snapshot()
	if err != nil {
		return err
	}
	old := spec.Linux.Resources
	if old == nil {
		old = new(specs.LinuxResources)
	}
	group := openCgroup(c.Cgroup)
	if err := group.update(withPartners(r, old)); err != nil {
		_ = group.update(limitsBefore(r, old)) // the first error is the one to report
		return err
	}
	overlayResources(old, r)
	return c.saveResources(old)
}

// withPartners adds to r the limits of the config that the kernel takes
// together with those in r.
func withPartners(r, old *specs.LinuxResources) *specs.LinuxResources {
	out := *r
	if r.Memory != nil && old.Memory != nil {
		m := *r.Memory
		switch {
		case limitSet(m.Swap) && !limitSet(m.Limit):
			m.Limit = old.Memory.Limit
		case limitSet(m.Limit) && *m.Limit != -1 && !limitSet(m.Swap):
			m.Swap = old.Memory.Swap
		}
		out.Memory = &m
	}
	if r.CPU != nil && old.CPU != nil {
		p := *r.CPU
		switch {
		case limitSet(p.Quota) && !limitSet(p.Period):
			p.Period = old.CPU.Period
		case limitSet(p.Period) && !limitSet(p.Quota):
			p.Quota = old.CPU.Quota
		}
		out.CPU = &p
	}
	return &out
}

// limitsBefore takes r back: what the config says, and no limit where it says
// nothing of one that r has set.
func limitsBefore(r, old *specs.LinuxResources) *specs.LinuxResources {
	unlimited := int64(-1)
	out := &specs.LinuxResources{Memory: &specs.LinuxMemory{}, CPU: &specs.LinuxCPU{}, Pids: &specs.LinuxPids{}}
	if r.Memory != nil && limitSet(r.Memory.Limit) {
		out.Memory.Limit = &unlimited
	}
	if r.CPU != nil && limitSet(r.CPU.Quota) {
		out.CPU.Quota = &unlimited
	}
	if r.Pids != nil && r.Pids.Limit != nil {
		out.Pids.Limit = &unlimited
	}
	overlayResources(out, old)
	return out
}

// overlayResources puts what from names on top of to. 0 names nothing but for
// what is given: there it is a value like others.
func overlayResources(to, from *specs.LinuxResources) {
	if f := from.Memory; f != nil {
		t := orNew(&to.Memory)
		if limitSet(f.Limit) && *f.Limit == -1 {
			t.Swap = nil // no limit of memory takes that of swap with it
		}
		named(&t.Limit, f.Limit)
		named(&t.Swap, f.Swap)
		named(&t.Reservation, f.Reservation)
		named(&t.KernelTCP, f.KernelTCP)
		given(&t.Swappiness, f.Swappiness)
		given(&t.DisableOOMKiller, f.DisableOOMKiller)
		given(&t.CheckBeforeUpdate, f.CheckBeforeUpdate)
	}
	if f := from.CPU; f != nil {
		t := orNew(&to.CPU)
		named(&t.Shares, f.Shares)
		named(&t.Quota, f.Quota)
		named(&t.Period, f.Period)
		named(&t.RealtimeRuntime, f.RealtimeRuntime)
		named(&t.RealtimePeriod, f.RealtimePeriod)
		given(&t.Burst, f.Burst)
		given(&t.Idle, f.Idle)
		if f.Cpus != "" {
			t.Cpus = f.Cpus
		}
		if f.Mems != "" {
			t.Mems = f.Mems
		}
	}
	if f := from.Pids; f != nil {
		given(&orNew(&to.Pids).Limit, f.Limit)
	}
	if f := from.BlockIO; f != nil {
		t := orNew(&to.BlockIO)
		named(&t.Weight, f.Weight)
		named(&t.LeafWeight, f.LeafWeight)
		t.WeightDevice = upsert(t.WeightDevice, f.WeightDevice, func(a, b specs.LinuxWeightDevice) bool {
			return a.Major == b.Major && a.Minor == b.Minor
		})
		throttle := func(t *[]specs.LinuxThrottleDevice, f []specs.LinuxThrottleDevice) {
			*t = upsert(*t, f, func(a, b specs.LinuxThrottleDevice) bool { return a.Major == b.Major && a.Minor == b.Minor })
		}
		throttle(&t.ThrottleReadBpsDevice, f.ThrottleReadBpsDevice)
		throttle(&t.ThrottleWriteBpsDevice, f.ThrottleWriteBpsDevice)
		throttle(&t.ThrottleReadIOPSDevice, f.ThrottleReadIOPSDevice)
		throttle(&t.ThrottleWriteIOPSDevice, f.ThrottleWriteIOPSDevice)
	}
	to.HugepageLimits = upsert(to.HugepageLimits, from.HugepageLimits, func(a, b specs.LinuxHugepageLimit) bool {
		return a.Pagesize == b.Pagesize
	})
	given(&to.Network, from.Network)
	to.Rdma = joined(to.Rdma, from.Rdma)
	to.Unified = joined(to.Unified, from.Unified)
}

func orNew[T any](p **T) *T {
	if *p == nil {
		*p = new(T)
	}
	return *p
}

func named[T int64 | uint64 | uint16](to **T, from *T) {
	if from != nil && *from != 0 {
		*to = from
	}
}

func given[T any](to **T, from *T) {
	if from != nil {
		*to = from
	}
}

// upsert replaces the entries of a list that are about the same thing, and adds
// the others.
func upsert[T any](to, from []T, same func(a, b T) bool) []T {
next:
	for _, f := range from {
		for i := range to {
			if same(to[i], f) {
				to[i] = f
				continue next
			}
		}
		to = append(to, f)
	}
	return to
}

func joined[K comparable, V any](to, from map[K]V) map[K]V {
	if to == nil {
		return from
	}
	maps.Copy(to, from)
	return to
}

// saveResources replaces linux.resources in the snapshot. Everything else stays
// as the engine wrote it, what runh does not know included.
func (c *container) saveResources(r *specs.LinuxResources) error {
	file := filepath.Join(c.dir, "config.json")
	data, err := readFile(file, configMax)
	if err != nil {
		return err
	}
	text, err := replaceJSON(string(data), encodeJSON(r, ""), "linux", "resources")
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return writeFile(file, []byte(text), 0o600)
}
