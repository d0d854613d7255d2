// Which accelerators the guests' rows are measured under: TCG, and KVM where it works. A guest of runh's and the bare command beside it
// always have the same one, and under KVM the same CPU.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// accelerator is one of QEMU's. mark stands in the names of its rows.
type accelerator struct{ name, cpu, mark string }

var tcg = accelerator{name: "tcg", cpu: "max"}

// kvmBoot is how long a guest may take to boot and end. There are machines whose /dev/kvm opens and then hangs every guest.
const kvmBoot = 30 * time.Second

// pickAccels obeys the flag -accel. Without it the guests run under TCG, and then under KVM if that works.
func (b *bench) pickAccels() error {
	switch *accelFlag {
	case "tcg":
		b.accels = []accelerator{tcg}
		return nil
	case "", "kvm":
	default:
		return fmt.Errorf("flag -accel is %q: must be tcg or kvm, or left out for each that works", *accelFlag)
	}
	kvm, err := b.findKVM()
	switch {
	case err != nil && *accelFlag == "kvm":
		return fmt.Errorf("flag -accel is \"kvm\": %w", err)
	case err != nil:
		fmt.Fprintf(os.Stderr, "guests are measured under TCG only: %v\n", err)
		b.accels = []accelerator{tcg}
	case *accelFlag == "kvm":
		b.accels = []accelerator{kvm}
	default:
		b.accels = []accelerator{tcg, kvm}
	}
	return nil
}

// findKVM goes by what runh itself says of KVM, and by a guest that boots under it.
func (b *bench) findKVM() (accelerator, error) {
	runh := b.rts[0]
	out, err := exec.Command(runh.bin, "--root", runh.root, "check").CombinedOutput()
	kvm := regexp.MustCompile(`(?m)^\S+ +kvm +(.*)$`).FindSubmatch(out)
	if kvm == nil {
		return accelerator{}, fmt.Errorf("runh check says nothing of KVM: %w: %s", err, out)
	}
	cpu, usable := strings.CutPrefix(string(kvm[1]), "usable, with -cpu ")
	if !usable {
		return accelerator{}, errors.New(string(kvm[1]))
	}
	b.accel = accelerator{"kvm", cpu, " (KVM)"}
	bundle, _, err := b.guest("app", "hello")
	if err != nil {
		return accelerator{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), kvmBoot)
	defer cancel()
	id := b.id()
	defer exec.Command(runh.bin, "--root", runh.root, "delete", "--force", id).Run()
	cmd := exec.CommandContext(ctx, runh.bin, "--root", runh.root, "run", "--bundle", bundle, id)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); !strings.Contains(string(out), "exit status 0\n") {
		return accelerator{}, fmt.Errorf("a guest under KVM did not boot and end within %v: it said %q, %w", kvmBoot, out, errors.Join(err, ctx.Err()))
	}
	return b.accel, nil
}

// bare are the words of the bare command.
func (a accelerator) bare() []string {
	if a.name == "tcg" {
		return []string{"-accel", "tcg,tb-size=64", "-cpu", a.cpu}
	}
	return []string{"-accel", a.name, "-cpu", a.cpu}
}

// vhost is what runh adds to a tap where it can.
func (a accelerator) vhost() string {
	if f, err := os.OpenFile("/dev/vhost-net", os.O_RDWR, 0); err == nil && a.name == "kvm" {
		f.Close()
		return ",vhost=on"
	}
	return ""
}

// underWhich is a sentence of the table's head.
func underWhich(accels []accelerator) string {
	var s []string
	for _, a := range accels {
		text := strings.ToUpper(a.name)
		if a.name == "kvm" {
			text += " with -cpu " + a.cpu + " where the row says so"
		}
		s = append(s, text)
	}
	return "guests under " + strings.Join(s, ", and under ")
}
