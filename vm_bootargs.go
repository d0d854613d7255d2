// The command line of a Hermit kernel.
//
// Contract: pure but for the clock's frequency. The kernel takes the line apart like a POSIX shell
// (the Rust crate shlex); what comes out there is exactly what went in here, or this is an error:
//
//	-freq MHZ  env=NAME=VALUE ...  kernel_args ...  (network)  --  args[1:] ...
//
// QEMU puts the loader's name before it, which the kernel skips. Later words win, so what the
// network needs (net_lease.go) stands behind the image's variables; it may become known later than the
// rest. The guest's argv[0] is always "bin".
//
// hermit_variables.go says which variables there are. Kernels before 0.10 know no env= (the older of them panic):
// these get none.

package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The user network, with upstream's addresses.
const (
	userNet     = "192.168.76.0/24"
	userGateway = "192.168.76.2"
	userGuest   = "192.168.76.9"
	userBits    = 24
)

// bootLine is the kernel's command line, with a gap for the network.
type bootLine struct {
	Front     string `json:"front"`
	Back      string `json:"back"`
	Variables bool   `json:"variables"`       // this kernel knows env=
	DHCP      bool   `json:"dhcp,omitempty"`  // this kernel asks for its address
	Whole     bool   `json:"whole,omitempty"` // Front is all of it, without a gap: written before
	MHz       int    `json:"mhz,omitempty"`   // that it names
}

// with fills the gap; nil is no network.
func (b *bootLine) with(l *lease) string {
	var line strings.Builder
	line.WriteString(b.Front)
	if l != nil && !b.Whole {
		addShellWords(&line, l.bootWords(b.Variables, b.DHCP)...)
	}
	if b.Back != "" {
		if line.Len() > 0 {
			line.WriteByte(' ')
		}
		line.WriteString(b.Back)
	}
	return line.String()
}

// bootArgs writes the kernel's command line for the container's arguments and variables. mhz is the
// frequency of the time stamp counter, which a kernel on a microvm cannot find out; 0 leaves it out.
// At most room bytes are used: variables that do not fit are left out and returned by name.
func bootArgs(spec *specs.Spec, app *hermitApp, vm *vmConfig, kernelArgs string, mhz, room int) (line bootLine, left leftOut, err error) {
	var front, kernel, back strings.Builder
	line.Variables, line.DHCP = app.atLeast(0, 10), vm.DHCP
	if mhz > 0 && mhz < 1<<16 { // the kernel's type is u16, and it panics over anything else
		addShellWords(&front, "-freq", strconv.Itoa(mhz))
		line.MHz = mhz
	}
	if vm.Quiet != "" && app.atLeast(0, 10) {
		// Kernels since 0.14 read them at run time, and to those before they are variables like others.
		addShellWords(&kernel, "env=HERMIT_LOG_LEVEL_FILTER=error", "env=NO_COLOR=1")
	}
	for i, w := range append(strings.Fields(kernelArgs), vm.kernelWords...) {
		from := "annotation " + annotationPrefix + "kernel_args"
		if i >= len(strings.Fields(kernelArgs)) {
			from = "vm.kernel.parameters"
		}
		if err := checkBootText(from, w); err != nil {
			return line, left, err
		}
		if w == "--" {
			return line, left, fmt.Errorf("%s has a word %q, which would end the kernel's arguments", from, w)
		}
		addShellWords(&kernel, w)
	}
	if args := spec.Process.Args; len(args) > 1 {
		addShellWords(&back, "--")
		for i, a := range args[1:] {
			if err := checkBootText("process.args["+strconv.Itoa(i+1)+"]", a); err != nil {
				return line, left, err
			}
			addShellWords(&back, a)
		}
	}
	network := vm.Lease
	if network == nil && vm.usesTap() {
		network = &longestLease
	}
	line.Front, line.Back = kernel.String(), back.String()
	rest := len(line.with(network))
	if n := front.Len() + 1 + rest; n > room {
		return line, left, fmt.Errorf("process.args, kernel_args and the network take %d bytes on the kernel's command line, where this loader has room for %d", n, room)
	}
	own, added := guestVariables(spec.Process.Env)
	for _, list := range []struct {
		variables []string
		left      *[]string
	}{{own, &left.own}, {added, &left.added}} {
		for _, kv := range list.variables {
			name, _, _ := strings.Cut(kv, "=")
			var word strings.Builder
			addShellWords(&word, "env="+kv)
			if !line.Variables || front.Len()+1+word.Len()+1+rest > room {
				*list.left = append(*list.left, name)
				continue
			}
			if err := checkBootText("process.env "+strconv.Quote(name), kv); err != nil {
				return line, left, err
			}
			addShellWords(&front, "env="+kv)
		}
	}
	if front.Len() > 0 && kernel.Len() > 0 {
		front.WriteByte(' ')
	}
	line.Front = front.String() + kernel.String()
	return line, left, nil
}

func addShellWords(b *strings.Builder, words ...string) {
	for _, w := range words {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		writeShellWord(b, w)
	}
}

// checkBootText refuses what would not arrive: the line ends at a NUL, and a single byte that is not
// UTF-8 makes the loader drop the whole line.
func checkBootText(what, s string) error {
	if strings.IndexByte(s, 0) >= 0 {
		return fmt.Errorf("%s has a NUL byte, which a kernel's command line cannot carry", what)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s is not UTF-8: a Hermit kernel takes nothing else", what)
	}
	return nil
}

// writeShellWord writes w so that a POSIX shell reads it back. The single quote is the only character
// that single quotes do not hold.
func writeShellWord(b *strings.Builder, w string) {
	plain := w != ""
	for i := 0; plain && i < len(w); i++ {
		c := w[i]
		plain = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_=./:,+@%", c) >= 0
	}
	if plain {
		b.WriteString(w)
		return
	}
	b.WriteByte('\'')
	b.WriteString(strings.ReplaceAll(w, "'", `'\''`))
	b.WriteByte('\'')
}
