// The keeper's orders: descriptors and settings, as arguments of `runh keeper`.

package main

import (
	"errors"
	"strconv"
	"strings"
)

// keeperPlan is what the keeper is told, in its arguments. Descriptors are -1 where there is none.
type keeperPlan struct {
	vmm       int  // pidfd of QEMU, a child of this process
	qmp       int  // our end of QEMU's QMP socket
	serialIn  int  // pipe to QEMU's stdin, the guest's serial input
	serialOut int  // pipe from QEMU's stdout, the guest's serial output
	errors    int  // pipe from QEMU's stderr
	share     int  // pidfd of virtiofsd, a child too
	shareErrs int  // pipe from virtiofsd's stderr
	start     int  // listening SOCK_SEQPACKET socket, for the commands of keeper_command.go
	ready     int  // gets "R" once QEMU is up, or the reason why it will not be, or just closes
	log       int  // file, open for appending
	logJSON   bool // lines of the log are JSON
	logLevel  level
	patience  int    // milliseconds that QEMU has for an answer
	stderr    int    // the container's; until the loop begins, ours goes to whoever waits at ready
	terminal  bool   // stdin and stdout are the container's own terminal
	button    bool   // the machine may have a power button
	noLoader  bool   // the loader's lines are left out of the output
	oldKernel bool   // it may be too old for its loader: said if the guest crashes
	incoming  bool   // QEMU goes on from a state, which comes before start
	raw       bool   // and every byte of it goes to the guest as it is
	keepCrash bool   // a guest that has crashed stays as it is
	late      bool   // QEMU comes only at start: nobody waits for it at create
	mark      string // the line at which a template is made, in hexadecimal
	said      string // what the guest had printed of a line before that, in hexadecimal
}

// words are the fields that are there or not.
func (p *keeperPlan) words() []struct {
	name string
	set  *bool
} {
	return []struct {
		name string
		set  *bool
	}{
		{"log-json", &p.logJSON},
		{"terminal", &p.terminal},
		{"button", &p.button},
		{"no-loader", &p.noLoader},
		{"old-kernel", &p.oldKernel},
		{"incoming", &p.incoming},
		{"late", &p.late},
		{"raw", &p.raw},
		{"keep-crash", &p.keepCrash},
	}
}

func (p *keeperPlan) fields() []struct {
	name string
	fd   *int
} {
	return []struct {
		name string
		fd   *int
	}{
		{"vmm", &p.vmm},
		{"qmp", &p.qmp},
		{"serial-in", &p.serialIn},
		{"serial-out", &p.serialOut},
		{"errors", &p.errors},
		{"share", &p.share},
		{"share-errors", &p.shareErrs},
		{"start", &p.start},
		{"ready", &p.ready},
		{"log", &p.log},
		{"log-level", (*int)(&p.logLevel)},
		{"patience", &p.patience},
		{"stderr", &p.stderr},
	}
}

// args is the plan as the arguments of `runh keeper`.
func (p *keeperPlan) args() []string {
	var a []string
	for _, f := range p.fields() {
		a = append(a, f.name+"="+strconv.Itoa(*f.fd))
	}
	for _, w := range p.words() {
		if *w.set {
			a = append(a, w.name)
		}
	}
	if p.said != "" {
		a = append(a, "said="+p.said)
	}
	if p.mark != "" {
		a = append(a, "mark="+p.mark)
	}
	return a
}

func parseKeeperPlan(args []string) (*keeperPlan, error) {
	p := &keeperPlan{vmm: -1, qmp: -1, serialIn: -1, serialOut: -1, errors: -1, share: -1, shareErrs: -1, start: -1, ready: -1, log: -1, stderr: -1, patience: keeperPatience}
next:
	for _, a := range args {
		for _, w := range p.words() {
			if w.name == a {
				*w.set = true
				continue next
			}
		}
		name, v, _ := strings.Cut(a, "=")
		switch name {
		case "said":
			p.said = v
			continue
		case "mark":
			p.mark = v
			continue
		}
		for _, f := range p.fields() {
			if n, err := strconv.Atoi(v); f.name == name && err == nil {
				*f.fd = n
				continue next
			}
		}
		return nil, errors.New("keeper: argument " + a)
	}
	if p.vmm < 0 || p.qmp < 0 || p.serialIn < 0 || p.serialOut < 0 {
		return nil, errors.New("keeper: runh starts it by itself, for a Hermit container")
	}
	return p, nil
}
