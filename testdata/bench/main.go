// Bench measures runh beside runc, crun and, for guests, the bare QEMU command: interleaved, in one process, on one machine, as
// medians and as the median of the ratios within each round. It writes the table of BENCHMARKS.md.
//
//	go run ./testdata/bench -runh ./runh [-quick] [-write BENCHMARKS.md] [-only PATTERN] [-accel tcg|kvm] [-cgroup PATH]
//
// All of it happens in a mount namespace of its own without /sys/fs/cgroup/unified, since crun refuses hosts that have
// controllers in both; so every runtime sees the same hierarchies.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var (
	runhFlag  = flag.String("runh", "./runh", "the binary to measure")
	quickFlag = flag.Bool("quick", false, "few rounds: a look, not a result")
	writeFlag = flag.String("write", "", "replace what stands between the bench marks of this file")
	onlyFlag  = flag.String("only", "", "measure only what matches this pattern")
	accelFlag = flag.String("accel", "", "measure guests under tcg or kvm alone; otherwise under TCG, and under KVM where it works")
	probeFlag = flag.String("probe", "", "be the client of a network row: an address")
	groupFlag = flag.String("cgroup", "", "make all containers in this cgroup, such as /quiet, which the bench itself is in")
)

func main() {
	flag.Parse()
	if *probeFlag != "" {
		if err := probe(*probeFlag); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv("RUNH_BENCH_NS") == "" {
		os.Exit(ownNamespace())
	}
	b, err := setUp()
	if err == nil {
		err = b.all()
		b.tearDown()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// ownNamespace runs this program again where its mounts are nobody else's.
func ownNamespace() int {
	script := `umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"`
	cmd := exec.Command("unshare", append([]string{"-m", "sh", "-c", script, "sh"}, os.Args...)...)
	cmd.Env = append(os.Environ(), "RUNH_BENCH_NS=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// bench is the whole of a run: three runtimes with a root each, bundles, and the rows measured so far.
type bench struct {
	dir    string
	roots  string // on a tmpfs, as /run is
	rts    []*rt
	rounds int
	rows   []row
	only   *regexp.Regexp
	accels []accelerator // of the guests
	accel  accelerator   // of the row that is being measured
	n      int
}

type rt struct{ name, bin, root string }

// row is one line of the table: a value for each runtime (or the bare command), "" where it has none.
type row struct {
	what   string
	values []string
	ratios []string // runh to each of the others
	budget string
}

const gap = 70 * time.Millisecond

func setUp() (*bench, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, err
	}
	runh, err := filepath.Abs(*runhFlag)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	roots, err := os.MkdirTemp("/dev/shm", "bench")
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir, roots: roots, rounds: 60}
	if *quickFlag {
		b.rounds = 8
	}
	if b.only, err = regexp.Compile(*onlyFlag); err != nil {
		return nil, err
	}
	for _, r := range [][2]string{{"runh", runh}, {"crun", "crun"}, {"runc", "runc"}} {
		bin, err := exec.LookPath(r[1])
		if err != nil {
			return nil, err
		}
		b.rts = append(b.rts, &rt{r[0], bin, filepath.Join(roots, r[0])})
	}
	if err := b.bundles(); err != nil {
		return nil, err
	}
	if err := b.pickAccels(); err != nil {
		b.tearDown()
		return nil, err
	}
	return b, nil
}

func (b *bench) tearDown() {
	for _, r := range b.rts {
		ids, _ := os.ReadDir(r.root)
		for _, id := range ids {
			exec.Command(r.bin, "--root", r.root, "delete", "--force", id.Name()).Run()
		}
	}
	os.RemoveAll(b.dir)
	os.RemoveAll(b.roots)
}

// bundles makes those that are used: what `runc spec` writes, running a static busybox; the same with Docker's seccomp profile; a guest.
func (b *bench) bundles() error {
	rootfs := filepath.Join(b.dir, "rootfs")
	if err := os.MkdirAll(rootfs+"/bin", 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "/bin/busybox", rootfs+"/bin/busybox").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	for _, a := range []string{"true", "sleep"} {
		if err := os.Symlink("busybox", rootfs+"/bin/"+a); err != nil {
			return err
		}
	}
	cmd := exec.Command("runc", "spec")
	cmd.Dir = b.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("runc spec: %w: %s", err, out)
	}
	docker, err := readJSON("testdata/docker-config.json")
	if err != nil {
		return err
	}
	profile := docker["linux"].(map[string]any)["seccomp"]
	sleeps := func(p, l map[string]any) { p["args"] = []string{"/bin/sleep", "1000"} }
	for name, edit := range map[string]func(process, linux map[string]any){
		"true":       func(p, l map[string]any) { p["args"] = []string{"/bin/true"} },
		"seccomp":    func(p, l map[string]any) { p["args"], l["seccomp"] = []string{"/bin/true"}, profile },
		"sleep-runh": sleeps, "sleep-crun": sleeps, "sleep-runc": sleeps, // at the same time
	} {
		config, err := readJSON(filepath.Join(b.dir, "config.json"))
		if err != nil {
			return err
		}
		config["ociVersion"] = "1.0.2" // all that crun 1.8 takes
		config["root"].(map[string]any)["path"] = rootfs
		process, linux := config["process"].(map[string]any), config["linux"].(map[string]any)
		process["terminal"] = false
		if *groupFlag != "" {
			linux["cgroupsPath"] = *groupFlag + "/" + name
		}
		edit(process, linux)
		if err := writeJSON(filepath.Join(b.dir, name), config); err != nil {
			return err
		}
	}
	return nil
}

func readJSON(name string) (map[string]any, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var m map[string]any
	return m, json.Unmarshal(data, &m)
}

// writeJSON makes a bundle: a directory with this config.json.
func writeJSON(bundle string, config map[string]any) error {
	data, err := json.Marshal(config)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(bundle, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(bundle, "config.json"), data, 0o644)
}

func (b *bench) id() string {
	b.n++
	return fmt.Sprintf("%s-%d", filepath.Base(b.dir), b.n)
}

// timed runs a command of a runtime with nothing on its stdio.
func (r *rt) timed(args ...string) (time.Duration, error) {
	cmd := exec.Command(r.bin, append([]string{"--root", r.root}, args...)...)
	var stderr bytes.Buffer
	if args[0] != "create" { // whose stdio is the container's
		cmd.Stderr = &stderr
	}
	begin := time.Now()
	err := cmd.Run()
	took := time.Since(begin)
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w: %s", r.name, args[0], err, strings.TrimSpace(stderr.String()))
	}
	return took, nil
}

// A step makes one row or several; of those without a name of their own it is the name.
type step struct {
	name  string
	do    func() error
	accel accelerator // of guests
}

func (b *bench) steps() []step {
	steps := []step{
		{name: "run of `true`, 70 ms apart", do: b.runs("true", gap, "≤ 0.6 × crun, ≤ 0.4 × runc")},
		{name: "run of `true`, back to back", do: b.runs("true", 0, "≤ 1.0 × crun, ≤ 0.4 × runc")},
		{name: "run with Docker's seccomp profile, 70 ms apart", do: b.runs("seccomp", gap, "≤ 0.5 × crun")},
		{name: "run with Docker's seccomp profile, back to back", do: b.runs("seccomp", 0, "")},
		{name: "create + start + delete, 70 ms apart", do: b.phases(gap, "≤ 0.5 × crun")},
		{name: "create + start + delete, back to back", do: b.phases(0, "")},
		{name: "create with cpu.shares=2 beside ten busy loops", do: b.busy},
		{name: "exec of `true`, 70 ms apart", do: b.onRunning(gap, true)},
		{name: "state, 70 ms apart", do: b.onRunning(gap, false)},
	}
	for _, a := range b.accels {
		steps = append(steps,
			step{"guest, boot and exit, 70 ms apart", b.guests("app", gap, false), a},
			step{"guest, boot and exit, back to back", b.guests("app", 0, false), a},
			step{"guest of kind pc, boot and exit, 70 ms apart", b.guests("app-pci", gap, false), a},
			step{"guest that shares its container's files, boot and exit, 70 ms apart", b.guests("app", gap, true), a},
			step{"guest to its first byte: from a template, beside a boot", b.templates("0", "1s", "1024"), a},
			step{"guest of 64 MiB to its first byte: from a template, beside a boot", b.templates("0", "1s", "64"), a},
			step{"guest of 4 GiB to its first byte: from a template, beside a boot", b.templates("0", "1s", "4096"), a},
			step{"guest with 1 s of start-up to its first byte: from a template, beside a boot", b.templates("1000", "3s", "1024"), a},
			step{"guest of 1 GiB: checkpoint and restore", b.saves, a},
			step{"20 guests on microvm at once, to the last exit", b.manyGuests, a},
			step{"network direct", b.network("direct"), a},
			step{"network shared", b.network("shared"), a},
		)
	}
	return append(steps,
		step{name: "smallest memory limit for `true`", do: b.memory},
		step{name: "keeper's private memory", do: b.keeper, accel: accelerator{name: b.accels[0].name, cpu: b.accels[0].cpu}},
		step{name: "binary", do: b.binary},
	)
}

func (b *bench) all() error {
	for _, s := range b.steps() {
		s.name += s.accel.mark
		if !b.only.MatchString(s.name) {
			continue
		}
		b.accel = s.accel
		fmt.Fprintf(os.Stderr, "%s ...\n", s.name)
		before := len(b.rows)
		if err := s.do(); err != nil {
			// A runtime that cannot do it is a line of the table, too.
			b.rows = append(b.rows[:before], row{what: s.name, budget: "not measured: " + firstLine(err.Error())})
		}
		for i := before; i < len(b.rows); i++ {
			if b.rows[i].what == "" {
				b.rows[i].what = s.name
			} else if !strings.HasSuffix(b.rows[i].what, s.accel.mark) {
				b.rows[i].what += s.accel.mark
			}
		}
	}
	text := b.markdown()
	fmt.Print(text)
	if *writeFlag == "" {
		return nil
	}
	return replaceBetween(*writeFlag, text)
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return strings.ReplaceAll(s, "|", "/")
}

// series holds the samples of one value, one for each round and contestant.
type series [][]time.Duration

func (s series) add(round []time.Duration) series { return append(s, round) }

// row turns samples into medians and paired ratios. The first contestant is runh.
func (s series) row(what, budget string) row {
	r := row{what: what, budget: budget}
	for c := range s[0] {
		var all []float64
		var ratio []float64
		for _, round := range s {
			all = append(all, round[c].Seconds()*1000)
			ratio = append(ratio, round[0].Seconds()/round[c].Seconds())
		}
		r.values = append(r.values, fmt.Sprintf("%.2f ms", median(all)))
		if c > 0 {
			r.ratios = append(r.ratios, fmt.Sprintf("%.2f", median(ratio)))
		}
	}
	return r
}

func median(v []float64) float64 {
	sort.Float64s(v)
	if len(v)%2 == 1 {
		return v[len(v)/2]
	}
	return (v[len(v)/2-1] + v[len(v)/2]) / 2
}

// rotate calls f for each contestant, another one first in each round; the first two rounds only warm up.
func (b *bench) rotate(contestants int, pause time.Duration, f func(c int) ([]time.Duration, error)) ([]series, error) {
	var out []series
	for round := range b.rounds + 2 {
		results := make([][]time.Duration, contestants)
		for i := range contestants {
			c := (i + round) % contestants
			time.Sleep(pause)
			var err error
			if results[c], err = f(c); err != nil {
				return nil, err
			}
		}
		if round < 2 {
			continue
		}
		for v := range results[0] {
			if len(out) <= v {
				out = append(out, nil)
			}
			var samples []time.Duration
			for c := range contestants {
				samples = append(samples, results[c][v])
			}
			out[v] = out[v].add(samples)
		}
	}
	return out, nil
}

func (b *bench) runs(bundle string, pause time.Duration, budget string) func() error {
	return func() error {
		s, err := b.rotate(len(b.rts), pause, func(c int) ([]time.Duration, error) {
			d, err := b.rts[c].timed("run", "--bundle", filepath.Join(b.dir, bundle), b.id())
			return []time.Duration{d}, err
		})
		if err != nil {
			return err
		}
		b.rows = append(b.rows, s[0].row("", budget))
		return nil
	}
}

// phases is what containerd does: create, start, wait for the init, delete. The container's own time is left out.
func (b *bench) phases(pause time.Duration, budget string) func() error {
	return func() error {
		s, err := b.rotate(len(b.rts), pause, func(c int) ([]time.Duration, error) {
			r, id := b.rts[c], b.id()
			pidFile := filepath.Join(b.dir, "pid")
			create, err := r.timed("create", "--bundle", filepath.Join(b.dir, "true"), "--pid-file", pidFile, id)
			if err != nil {
				return nil, err
			}
			start, err := r.timed("start", id)
			if err != nil {
				return nil, err
			}
			if err := reap(pidFile); err != nil {
				return nil, err
			}
			del, err := r.timed("delete", id)
			return []time.Duration{create + start + del, create, start, del}, err
		})
		if err != nil {
			return err
		}
		b.rows = append(b.rows, s[0].row("", budget))
		for i, name := range []string{"create", "start", "delete"} {
			b.rows = append(b.rows, s[i+1].row("– of that: "+name, ""))
		}
		return nil
	}
}

func reap(pidFile string) error {
	data, err := os.ReadFile(pidFile)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(data))
	if err != nil {
		return err
	}
	for {
		if _, err = syscall.Wait4(pid, nil, 0, nil); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// onRunning measures exec or state on a container that sleeps.
func (b *bench) onRunning(pause time.Duration, execs bool) func() error {
	return func() error {
		ids := make([]string, len(b.rts))
		for i, r := range b.rts {
			ids[i] = b.id()
			if _, err := r.timed("create", "--bundle", filepath.Join(b.dir, "sleep-"+r.name), ids[i]); err != nil {
				return err
			}
			if _, err := r.timed("start", ids[i]); err != nil {
				return err
			}
			defer r.timed("delete", "--force", ids[i])
		}
		s, err := b.rotate(len(b.rts), pause, func(c int) ([]time.Duration, error) {
			args := []string{"state", ids[c]}
			if execs {
				args = []string{"exec", ids[c], "/bin/true"}
			}
			d, err := b.rts[c].timed(args...)
			return []time.Duration{d}, err
		})
		if err != nil {
			return err
		}
		b.rows = append(b.rows, s[0].row("", ""))
		return nil
	}
}

// guests measures `runh run` of the stand-in against QEMU on the same files: to the first byte and to the exit. With share, runh's guest
// has its container's rootfs by virtiofsd, and the bare command's still has nothing.
func (b *bench) guests(image string, pause time.Duration, share bool) func() error {
	return func() error {
		bundle, bare, err := b.guest(image, "hello")
		if err != nil {
			return err
		}
		if share {
			config, err := readJSON(filepath.Join(bundle, "config.json"))
			if err != nil {
				return err
			}
			config["annotations"].(map[string]any)["org.hermit-os.runh.share"] = "rootfs"
			if err := writeJSON(bundle, config); err != nil {
				return err
			}
		}
		s, err := b.rotate(2, pause, func(c int) ([]time.Duration, error) {
			cmd := exec.Command(bare[0], bare[1:]...)
			if c == 0 {
				cmd = exec.Command(b.rts[0].bin, "--root", b.rts[0].root, "run", "--bundle", bundle, b.id())
			}
			first, exit, out, err := firstByte(cmd)
			if !strings.Contains(out, "exit status 0\n") {
				return nil, fmt.Errorf("the guest said %q, %w", out, errors.Join(err, errors.New(cmd.String())))
			}
			return []time.Duration{first, exit}, nil
		})
		if err != nil {
			return err
		}
		apart, kind := "back to back", "microvm"
		if pause > 0 {
			apart = "70 ms apart"
		}
		if image == "app-pci" {
			kind = "pc"
		}
		if share {
			kind += " with shared files"
		}
		for i, what := range []string{"first byte", "exit"} {
			r := s[i].row(fmt.Sprintf("guest on %s to its %s, %s", kind, what, apart), "")
			// The bare command has a column of its own.
			r.values = []string{r.values[0], "", "", r.values[1]}
			r.ratios = []string{"", "", r.ratios[0]}
			if what == "exit" && !share && b.accel.name == "tcg" {
				r.budget = "≤ 1.3 × QEMU"
			}
			b.rows = append(b.rows, r)
		}
		return nil
	}
}

// guest makes a bundle with an image of the stand-in, and the bare command for the same files.
func (b *bench) guest(image string, args ...string) (bundle string, bare []string, err error) {
	images := filepath.Join(b.dir, "images")
	if out, err := exec.Command("make", "-s", "-C", "testdata/guest", "OUT="+images).CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("make -C testdata/guest: %w: %s", err, out)
	}
	bundle = filepath.Join(b.dir, "guest-"+b.accel.name+"-"+image+"-"+strings.Join(args[:min(2, len(args))], "-"))
	for from, to := range map[string]string{image: "app", "loader": "hermit-loader"} {
		data, err := os.ReadFile(filepath.Join(images, from))
		if err != nil {
			return "", nil, err
		}
		p := filepath.Join(bundle, "rootfs/hermit", to)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return "", nil, err
		}
		if err := os.WriteFile(p, data, 0o755); err != nil {
			return "", nil, err
		}
	}
	config, err := readJSON(filepath.Join(b.dir, "true/config.json"))
	if err != nil {
		return "", nil, err
	}
	config["root"].(map[string]any)["path"] = "rootfs"
	delete(config["linux"].(map[string]any), "cgroupsPath") // many at a time; runh's default is in our own cgroup
	config["process"].(map[string]any)["args"] = append([]string{"/hermit/app"}, args...)
	config["annotations"] = map[string]string{"org.hermit-os.runh.network": "none", "org.hermit-os.runh.accel": b.accel.name}
	if err := writeJSON(bundle, config); err != nil {
		return "", nil, err
	}
	machine := []string{
		"-M", "microvm,x-option-roms=off,pit=off,pic=off,rtc=on,auto-kernel-cmdline=off,acpi=off", "-bios", "qboot.rom",
		"-global", "virtio-mmio.force-legacy=off",
	}
	if image == "app-pci" {
		machine = []string{"-M", "pc", "-object", "rng-builtin,id=rng0", "-device", "virtio-rng-pci,rng=rng0,disable-legacy=on"}
	}
	bare = append([]string{"qemu-system-x86_64"}, machine...)
	bare = append(bare, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-m", "1024")
	bare = append(bare, b.accel.bare()...)
	bare = append(bare, "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-serial", "stdio",
		"-kernel", filepath.Join(images, "loader"), "-initrd", filepath.Join(images, image), "-append", "-freq 2000 -- "+strings.Join(args, " "))
	return bundle, bare, nil
}

func firstByte(cmd *exec.Cmd) (first, exit time.Duration, out string, err error) {
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, "", err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, "", err
	}
	one := make([]byte, 1)
	n, _ := pipe.Read(one)
	first = time.Since(begin)
	rest, _ := io.ReadAll(pipe)
	err = cmd.Wait()
	return first, time.Since(begin), string(one[:n]) + string(rest) + stderr.String(), err
}

// manyGuests starts twenty at the same moment, and waits until the last one has ended.
func (b *bench) manyGuests() error {
	bundle, bare, err := b.guest("app", "hello")
	if err != nil {
		return err
	}
	rounds := b.rounds
	defer func() { b.rounds = rounds }()
	b.rounds = max(rounds/10, 2)
	s, err := b.rotate(2, gap, func(c int) ([]time.Duration, error) {
		const guests = 20
		failed := make(chan error, guests)
		begin := time.Now()
		for range guests {
			cmd := exec.Command(bare[0], bare[1:]...)
			if c == 0 {
				cmd = exec.Command(b.rts[0].bin, "--root", b.rts[0].root, "run", "--bundle", bundle, b.id())
			}
			go func() {
				out, err := cmd.CombinedOutput()
				if strings.Contains(string(out), "exit status 0\n") {
					err = nil // QEMU itself ends with 3
				} else {
					err = fmt.Errorf("the guest said %q, %w", out, errors.Join(err, errors.New(cmd.String())))
				}
				failed <- err
			}()
		}
		var errs []error
		for range guests {
			errs = append(errs, <-failed)
		}
		return []time.Duration{time.Since(begin)}, errors.Join(errs...)
	})
	if err != nil {
		return err
	}
	r := s[0].row("", "")
	r.values = []string{r.values[0], "", "", r.values[1]}
	r.ratios = []string{"", "", r.ratios[0]}
	b.rows = append(b.rows, r)
	return nil
}

// memory looks for the smallest limit in which `true` runs three times of three, with the limit on memory alone.
func (b *bench) memory() error {
	sizes := []int{64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 3072, 4096, 6144, 8192, 16384}
	r := row{budget: "≤ 256 KiB"}
	for _, rt := range b.rts {
		least := "none"
	sizes:
		for _, kib := range sizes {
			config, err := readJSON(filepath.Join(b.dir, "true/config.json"))
			if err != nil {
				return err
			}
			linux := config["linux"].(map[string]any)
			linux["resources"].(map[string]any)["memory"] = map[string]any{"limit": kib << 10}
			bundle := filepath.Join(b.dir, "memory")
			if err := writeJSON(bundle, config); err != nil {
				return err
			}
			for range 3 {
				id := b.id()
				if _, err := rt.timed("run", "--bundle", bundle, id); err != nil {
					rt.timed("delete", "--force", id)
					continue sizes
				}
			}
			least = fmt.Sprintf("%d KiB", kib)
			break
		}
		r.values = append(r.values, least)
	}
	b.rows = append(b.rows, r)
	return nil
}

// keeper reads the private memory of the process that stays with a running guest.
func (b *bench) keeper() error {
	bundle, _, err := b.guest("app", "count")
	if err != nil {
		return err
	}
	r, id, pidFile := b.rts[0], b.id(), filepath.Join(b.dir, "keeper.pid")
	if _, err := r.timed("create", "--bundle", bundle, "--pid-file", pidFile, id); err != nil {
		return err
	}
	defer r.timed("delete", "--force", id)
	if _, err := r.timed("start", id); err != nil {
		return err
	}
	time.Sleep(time.Second)
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		return err
	}
	smaps, err := os.ReadFile("/proc/" + string(pid) + "/smaps_rollup")
	if err != nil {
		return err
	}
	private := 0
	for _, m := range regexp.MustCompile(`(?m)^Private_\w+:\s+(\d+) kB$`).FindAllSubmatch(smaps, -1) {
		n, _ := strconv.Atoi(string(m[1]))
		private += n
	}
	b.rows = append(b.rows, row{values: []string{fmt.Sprintf("%d KiB", private)}, budget: "≤ 3072 KiB, then ≤ 1536"})
	return nil
}

func (b *bench) binary() error {
	r := row{budget: "≤ 6 000 000"}
	for _, rt := range b.rts {
		st, err := os.Stat(rt.bin)
		if err != nil {
			return err
		}
		r.values = append(r.values, fmt.Sprintf("%d bytes", st.Size()))
	}
	b.rows = append(b.rows, r)
	return nil
}

func (b *bench) markdown() string {
	var w strings.Builder
	fmt.Fprintf(&w, "%s\n\n", b.conditions())
	w.WriteString("| what | runh | crun | runc | QEMU | runh/crun | runh/runc | runh/QEMU | budget |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range b.rows {
		cells := append([]string{r.what}, pad(r.values, 4)...)
		cells = append(append(cells, pad(r.ratios, 3)...), r.budget)
		fmt.Fprintf(&w, "| %s |\n", strings.Join(cells, " | "))
	}
	return w.String()
}

func pad(cells []string, n int) []string {
	for len(cells) < n {
		cells = append(cells, "")
	}
	return cells
}

// conditions names everything that the numbers depend on.
func (b *bench) conditions() string {
	var uts unix.Utsname
	unix.Uname(&uts)
	cpu := "unknown"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(info); m != nil {
			cpu = string(m[1])
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	version := func(bin string, args ...string) string {
		out, _ := exec.Command(bin, args...).Output()
		return firstLine(string(out))
	}
	versions := []string{}
	for _, r := range b.rts {
		versions = append(versions, version(r.bin, "--version"))
	}
	versions = append(versions, version("qemu-system-x86_64", "--version"))
	return fmt.Sprintf("%d CPUs (%s), kernel %s, load at the end %s; %s; %s; %d rounds; medians, and medians of the ratios within a round.",
		runtime.NumCPU(), cpu, unix.ByteSliceToString(uts.Release[:]), strings.Fields(string(load))[0], strings.Join(versions, "; "), underWhich(b.accels), b.rounds)
}

func replaceBetween(name, text string) error {
	const begin, end = "<!-- bench: begin -->\n", "<!-- bench: end -->"
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(data), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no marks %q and %q", name, strings.TrimSpace(begin), end)
	}
	return os.WriteFile(name, []byte(head+begin+text+end+tail), 0o644)
}
