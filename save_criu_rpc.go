// The conversation with the program criu: `criu swrk 3` reads one request from a socket that it inherits, reports
// on its way how far it is, and answers. The messages are protocol buffers, described in criu's images/rpc.proto;
// here is what a container needs of them. The command line would not do: only here criu says which process it has
// made before it lets it go, and hands over a terminal's master.
//
// Contract: what does not decode is an error. A failure is one line with criu's own first words about it.

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A criuCall is one run of criu.
type criuCall struct {
	kind    uint64
	name    string // of kind, for people
	opts    protoMessage
	log     string
	signals *signals
	files   []*os.File                             // criu's descriptors from criuFirstFD on
	started func(pid int) error                    // criu runs, and waits for the request
	notify  func(script string, pid, fd int) error // criu waits for the end of it; fd is -1 or ours
}

// Kinds of request.
const (
	criuDump    = 1
	criuRestore = 2
	criuNotify  = 6
	criuPreDump = 13 // one, where 4 would wait for the dump to follow
)

// Fields of criu_opts.
const (
	criuImagesDir       = 1
	criuPid             = 2
	criuLeaveRunning    = 3
	criuExtUnixSk       = 4
	criuTCPEstablished  = 5
	criuEvasiveDevices  = 6
	criuShellJob        = 7
	criuFileLocks       = 8
	criuLogLevel        = 9
	criuLogFile         = 10
	criuPageServer      = 11
	criuScripts         = 12
	criuRoot            = 13
	criuParentImages    = 14
	criuTrackMemory     = 15
	criuAutoDedup       = 16
	criuWorkDir         = 17
	criuLinkRemap       = 18
	criuCgroupRoot      = 25
	criuRestoreSibling  = 26
	criuInheritFD       = 27
	criuCgroupMode      = 34
	criuExternal        = 37
	criuEmptyNS         = 38
	criuJoinNS          = 39
	criuFreezeCgroup    = 44
	criuTCPSkipInFlight = 46
	criuLazyPages       = 48
	criuStatusFD        = 49
	criuOrphanTerminal  = 50
	criuConfigFile      = 51
	criuLSMProfile      = 53
	criuLSMMountContext = 63
	criuNetworkLock     = 64
)

// criuFirstFD is where a call's files begin: after stdio and the socket.
const criuFirstFD = 4

// run returns the pid of the container's first process, after a restore.
func (c *criuCall) run(g *globals) (pid int, err error) {
	program := g.criu
	if program == "" {
		if program, err = hostProgram("criu"); err != nil {
			return 0, errors.New("a Linux container needs criu on the host: it is not installed (Debian: criu)")
		}
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), "criu")
	words, err := memoryFile("criu", nil) // what it says before it has its log
	if err != nil {
		return 0, err
	}
	said := os.NewFile(uintptr(words), "words")
	defer said.Close()
	// Our stdin may be the terminal of a shell job, which criu asks it for.
	p, err := os.StartProcess(program, []string{"criu", "swrk", "3"}, &os.ProcAttr{
		Files: append([]*os.File{os.Stdin, said, said, theirs}, c.files...), Env: os.Environ(),
	})
	theirs.Close()
	if err != nil {
		return 0, fmt.Errorf("criu: %w", err)
	}
	// What criu makes has its CPUs: all, as create gives them (runOnAll), and not what our caller was bound to.
	all := unix.NewCPUSet(maxCPUs)
	all.Fill()
	_ = unix.SchedSetaffinityDynamic(p.Pid, all) // a sandbox that refuses keeps its choice
	g.debugf("criu %s: log %s", c.name, c.log)
	a, err := c.talk(pair[0], p.Pid)
	if err != nil {
		unix.Shutdown(pair[0], unix.SHUT_RDWR) // it gives up and cleans up
		if c.signals.cancelled() != nil && !exits(p.Pid, criuGrace) {
			p.Kill()
		}
	}
	status, waitErr := p.Wait()
	switch {
	case err != nil && !errors.Is(err, errCriuGone):
		return 0, err
	case waitErr != nil:
		return 0, waitErr
	case err == nil && a.success && status.Success():
		return a.pid, nil
	}
	why := status.String()
	if a != nil && a.message != "" {
		why = criuWords(a.message)
	} else if first, err := io.ReadAll(io.NewSectionReader(said, 0, 1024)); err == nil && len(first) > 0 {
		why = criuWords(string(first))
	}
	return 0, fmt.Errorf("criu %s: %s, see %s", c.name, why, c.log)
}

// criuGrace is the time that criu has to clean up when a signal cancels a restore.
const criuGrace = 500 * time.Millisecond

// errCriuGone is for a conversation that ends in the middle; criu's exit status says why.
var errCriuGone = errors.New("criu has ended without an answer")

func (c *criuCall) talk(socket, pid int) (*criuAnswer, error) {
	if c.started != nil {
		if err := c.started(pid); err != nil {
			return nil, err
		}
	}
	var request protoMessage
	request.number(1, c.kind)
	request.message(2, c.opts)
	if unix.Send(socket, request, unix.MSG_NOSIGNAL) != nil {
		return nil, errCriuGone
	}
	for {
		if _, err := c.signals.await(time.Time{}, socket); err != nil {
			return nil, err
		}
		msg, fd, err := receiveMessage(socket)
		if err != nil || len(msg) == 0 {
			return nil, errCriuGone
		}
		a, err := readCriuAnswer(msg)
		if err == nil && a.kind == criuNotify && c.notify != nil {
			err = c.notify(a.script, a.pid, fd)
		} else if fd >= 0 {
			unix.Close(fd)
		}
		if err != nil || a.kind != criuNotify {
			return a, err
		}
		var heard protoMessage
		heard.number(1, criuNotify)
		heard.number(3, 1)
		if unix.Send(socket, heard, unix.MSG_NOSIGNAL) != nil {
			return nil, errCriuGone
		}
	}
}

// criuAnswer is criu_resp: the answer, or a notification with a script's name.
type criuAnswer struct {
	kind    uint64
	success bool
	pid     int
	script  string
	message string
}

func readCriuAnswer(msg []byte) (*criuAnswer, error) {
	a := &criuAnswer{}
	err := protoMessage(msg).each(func(field int, n uint64, data protoMessage) error {
		switch field {
		case 1:
			a.kind = n
		case 2:
			a.success = n != 0
		case 4: // criu_restore_resp
			return data.each(func(field int, n uint64, _ protoMessage) error {
				if field == 1 {
					a.pid = int(int32(n))
				}
				return nil
			})
		case 5: // criu_notify
			return data.each(func(field int, n uint64, data protoMessage) error {
				switch field {
				case 1:
					a.script = string(data)
				case 2:
					a.pid = int(int32(n))
				}
				return nil
			})
		case 9:
			a.message = string(data)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("criu's answer: %w", err)
	}
	return a, nil
}

// criuWords is the first line without the time and the place in criu's source: "(00.123) Error (criu/x.c:12): words".
func criuWords(message string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(message), "\n")
	if _, words, found := strings.Cut(line, "): "); found {
		line = words
	}
	return strings.ToValidUTF8(strings.TrimSpace(line), "?")
}

// protoMessage is a message of protocol buffers: numbers as varints, everything else as bytes with their length.
type protoMessage []byte

func (m *protoMessage) number(field int, n uint64) {
	*m = binary.AppendUvarint(binary.AppendUvarint(*m, uint64(field)<<3), n)
}

func (m *protoMessage) flag(field int, on bool) {
	if on {
		m.number(field, 1)
	}
}

func (m *protoMessage) text(field int, s string) {
	*m = binary.AppendUvarint(binary.AppendUvarint(*m, uint64(field)<<3|2), uint64(len(s)))
	*m = append(*m, s...)
}

func (m *protoMessage) message(field int, sub protoMessage) { m.text(field, string(sub)) }

// each calls f for every field, with its number or its bytes.
func (m protoMessage) each(f func(field int, n uint64, data protoMessage) error) error {
	damaged := errors.New("a message that is no protocol buffer")
	next := func() (n uint64, ok bool) {
		n, size := binary.Uvarint(m)
		if size <= 0 {
			return 0, false
		}
		m = m[size:]
		return n, true
	}
	for len(m) > 0 {
		key, _ := next()
		n, ok := next()
		var data protoMessage
		if ok && key&7 == 2 {
			if n > uint64(len(m)) {
				return damaged
			}
			data, m, n = m[:n], m[n:], 0
		}
		if !ok || key&7 != 0 && key&7 != 2 {
			return damaged
		}
		if err := f(int(key>>3), n, data); err != nil {
			return err
		}
	}
	return nil
}
