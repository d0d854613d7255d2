// What is left out of a machine's state: by made-up streams, by anything at all, and by those of a real QEMU, whose memory after a restore is
// compared page by page.

package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// streamText makes a stream of these words: QEVM, config=NAME, start=NAME, part, end, footer, sizes=NAME:MIB,NAME:MIB..., last, and
// records as zero=PAGE, zero=PAGE:BLOCK, page=PAGE, page=PAGE:BLOCK; anything else stands for itself.
func streamText(words ...string) (b []byte) {
	be := binary.BigEndian
	name := func(s string) { b = append(append(b, byte(len(s))), s...) }
	for _, w := range words {
		what, v, _ := strings.Cut(w, "=")
		switch what {
		case "QEVM":
			b = append(b, "QEVM\x00\x00\x00\x03"...)
		case "config":
			b = append(be.AppendUint32(append(b, 7), uint32(len(v))), v...)
		case "start":
			b = be.AppendUint32(append(b, 1), 2)
			name(v)
			b = append(b, "\x00\x00\x00\x00\x00\x00\x00\x04"...)
		case "part", "end", "footer":
			b = be.AppendUint32(append(b, map[string]byte{"part": 2, "end": 3, "footer": 0x7e}[what]), 2)
		case "sizes":
			var blocks []byte
			total := uint64(0)
			for x := range strings.SplitSeq(v, ",") {
				var mib uint64
				id, size, _ := strings.Cut(x, ":")
				fmt.Sscan(size, &mib)
				total += mib << 20
				blocks = be.AppendUint64(append(append(blocks, byte(len(id))), id...), mib<<20)
			}
			b = append(be.AppendUint64(b, total|4), blocks...)
		case "last":
			b = be.AppendUint64(b, 16)
		case "zero", "page":
			var page, flags uint64
			p, block, named := strings.Cut(v, ":")
			fmt.Sscan(p, &page)
			flags = map[string]uint64{"zero": 2, "page": 8}[what]
			if !named {
				flags |= 0x20
			}
			if b = be.AppendUint64(b, page<<12|flags); named {
				name(block)
			}
			if b = append(b, 0); what == "page" {
				b = append(b[:len(b)-1], bytes.Repeat([]byte{byte(page), 1}, 2048)...)
			}
		default:
			b = append(b, w...)
		}
	}
	return b
}

// filtered passes a stream through in pieces of so many bytes.
func filtered(in []byte, piece int) (out []byte) {
	s := newStateStream()
	for len(in) > 0 {
		n := copy(s.room(), in[:min(piece, len(in))])
		out = append(out, s.filter(n)...)
		in = in[n:]
	}
	return append(out, s.rest...)
}

func TestStateStream(t *testing.T) {
	head := []string{"QEVM", "config=microvm", "start=ram", "sizes=pc.ram:32,rom:1", "last", "footer"}
	for _, x := range []struct{ what, in, out string }{
		{"empty pages", "part zero=0:pc.ram zero=1 page=2 zero=3 zero=4 page=5 last footer", "part zero=0:pc.ram page=2 page=5 last footer"},
		{"the last sections, and devices", "end zero=0:pc.ram zero=1 last footer DEVICES zero=2 zero=3", "end zero=0:pc.ram last footer DEVICES zero=2 zero=3"},
		{"a small block", "part zero=0:rom zero=1 zero=2:pc.ram zero=3 last", "part zero=0:rom zero=1 zero=2:pc.ram last"},
		{"a page that comes again", "part page=7:pc.ram zero=8 last footer end zero=7 zero=9 page=8 last", "part page=7:pc.ram last footer end zero=7 page=8 last"},
		{"and again, in another block meanwhile", "part page=7:pc.ram page=0:rom zero=6:pc.ram zero=7 zero=8 last", "part page=7:pc.ram page=0:rom zero=6:pc.ram zero=7 last"},
		{"a page of the same byte", "part page=7:pc.ram \x00\x00\x00\x00\x00\x00\x80\x22\x01 zero=9 last", "part page=7:pc.ram \x00\x00\x00\x00\x00\x00\x80\x22\x01 last"},
		{"no block yet", "part zero=1 zero=2", ""},
		{"a block that was not named", "part zero=0:pc.bios zero=1 zero=2", ""},
		{"beyond the block", "part zero=0:pc.ram zero=1 zero=8192 zero=2", "part zero=0:pc.ram zero=8192 zero=2"},
		{"another section", "part zero=0:pc.ram zero=1 last \x02\x00\x00\x00\x03 zero=3", "part zero=0:pc.ram last \x02\x00\x00\x00\x03 zero=3"},
		{"another flag", "part zero=0:pc.ram zero=1 \x00\x00\x00\x00\x00\x00\x80\x62 zero=3 zero=4", "part zero=0:pc.ram \x00\x00\x00\x00\x00\x00\x80\x62 zero=3 zero=4"},
		{"sizes again", "part page=0:pc.ram zero=1 sizes=pc.ram:32 zero=0:pc.ram zero=1", "part page=0:pc.ram sizes=pc.ram:32 zero=0:pc.ram zero=1"},
		{"a second memory", "start=ram zero=0:pc.ram zero=1", ""},
	} {
		in, want := streamText(append(head, strings.Fields(x.in)...)...), streamText(append(head, strings.Fields(firstWord(x.out, x.in))...)...)
		for cut := range len(in) / 41 {
			checkFiltered(t, in[:cut*41], 1000)
		}
		for _, piece := range []int{1, 2, 7, 9, 4096, 1 << 20} {
			if got := filtered(in, piece); !bytes.Equal(got, want) {
				t.Errorf("%s, in pieces of %d: %d bytes of %d, want %d", x.what, piece, len(got), len(in), len(want))
			}
		}
	}
	// What begins like no stream of memory passes as it is.
	for _, in := range [][]string{
		{"", "zero=1"},
		{"QEVM"},
		{"QEVX"},
		{"QEVM\x00\x00\x00\x04", "start=ram"},
		{"QEVM", "config=" + strings.Repeat("x", 256), "start=ram", "sizes=pc.ram:32", "zero=0:pc.ram", "zero=1"},
		{"QEVM", "start=dirty-bitmap", "sizes=pc.ram:32", "zero=0:pc.ram", "zero=1"},
		{"QEVM", "start=ram", "sizes=pc.ram:32,pc.ram:32", "zero=0:pc.ram", "zero=1"},
		{"QEVM", "start=ram", "sizes=pc.ram:0,x:32", "zero=0:x", "zero=1"},
		{"QEVM", "start=ram", "\x00\x00\x00\x00\x01\x00\x00\x04\x01x\xff\xff\xff\xff\xff\xff\xf0\x00", "zero=0:x", "zero=1"},
		{"QEVM", "start=ram", "sizes=pc.ram:16" + strings.Repeat(",", 64) + "x:1", "zero=0:pc.ram", "zero=1"},
		{"QEVM", "footer", "part", "zero=0:pc.ram", "zero=1"},
	} {
		text := streamText(in...)
		if got := filtered(text, 5); !bytes.Equal(got, text) {
			t.Errorf("%q has become %q", text, got)
		}
	}
}

// memoryAfter is what a machine has in its memory once it has read a stream, as far as this knows streams: pages that are not all zero.
// It is another reading of the format than the filter's.
func memoryAfter(stream []byte) map[string]string {
	memory := map[string]string{}
	r := bytes.NewReader(stream)
	number := func(n int) (v uint64) {
		for range n {
			c, err := r.ReadByte()
			if err != nil {
				r.Reset(nil)
			}
			v = v<<8 | uint64(c)
		}
		return v
	}
	text := func(n uint64) string {
		b := make([]byte, min(n, 4096))
		if _, err := io.ReadFull(r, b); err != nil {
			r.Reset(nil)
		}
		return string(b)
	}
	if number(8) != 0x5145564d00000003 {
		return memory
	}
	empty, block := strings.Repeat("\x00", 4096), ""
	for r.Len() > 0 {
		switch number(1) {
		case 7:
			text(number(4))
			continue
		case 1:
			number(4)
			if text(number(1)) != "ram" {
				return memory
			}
			number(8)
		case 2, 3:
			number(4)
		case 0x7e:
			number(4)
			continue
		default:
			return memory
		}
		for flags := uint64(0); flags != 16 && r.Len() > 0; {
			address := number(8)
			flags = address & 0xfff
			address -= flags
			page := ""
			switch flags {
			case 16:
				continue
			case 4:
				for address > 0 && r.Len() > 0 {
					text(number(1))
					address -= number(8)
				}
				continue
			case 2, 8:
				block = text(number(1))
			case 0x22, 0x28:
			default:
				return memory
			}
			switch {
			case flags&8 != 0:
				page = text(4096)
			case flags&2 != 0:
				page = strings.Repeat(string(byte(number(1))), 4096)
			}
			if key := fmt.Sprintf("%s %x", block, address); page == empty {
				delete(memory, key)
			} else {
				memory[key] = page
			}
		}
	}
	return memory
}

func FuzzStateStream(f *testing.F) {
	f.Add(streamText("QEVM", "config=q35", "start=ram", "sizes=pc.ram:16,rom:1", "last", "footer", "part", "page=1:pc.ram", "zero=0", "zero=2", "last", "end", "zero=1", "zero=3", "last", "DEVICES"), 3)
	f.Add(streamText("QEVM", "start=ram", "sizes=pc.ram:16", "zero=0:pc.ram", "zero=1", "zero=2", "last", "footer"), 1000)
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		checkFiltered(t, in, max(piece, 1))
	})
}

// checkFiltered is what holds for any stream.
func checkFiltered(t *testing.T, in []byte, piece int) {
	t.Helper()
	out := filtered(in, 1<<20)
	if !bytes.Equal(out, filtered(in, piece)) {
		t.Fatal("pieces make a difference")
	}
	left := in
	for _, c := range out {
		at := bytes.IndexByte(left, c)
		if at < 0 {
			t.Fatal("there is something that was not there")
		}
		left = left[at+1:]
	}
	if (len(in)-len(out))%9 != 0 {
		t.Fatalf("%d bytes of %d: no whole records are missing", len(out), len(in))
	}
	if len(in) != len(out) && !maps.Equal(memoryAfter(in), memoryAfter(out)) {
		t.Fatal("another memory")
	}
}

// What the command does with the stream: the file, its size and its digest are of what is kept, a machine with arguments of its own is kept as
// it is, and who sends nothing but empty pages comes to an end, too.
func TestReceiveState(t *testing.T) {
	in := streamText("QEVM", "start=ram", "sizes=pc.ram:32", "last", "footer", "part", "page=1:pc.ram", "zero=2", "page=3", "last", "footer", "DEVICES")
	if len(filtered(in, 1<<20)) == len(in) {
		t.Error("nothing is left out")
	}
	for _, x := range []struct{ extra, want string }{{"", string(filtered(in, 1<<20))}, {"-object something", string(in)}} {
		m, file, err := receiveFrom(t, x.extra, in, 1)
		if err != nil || file != x.want || m.State.Size != int64(len(x.want)) || m.State.Digest != fmt.Sprintf("%x", sha256.Sum256([]byte(x.want))) {
			t.Errorf("extra %q: %d bytes of %d, %+v, %v", x.extra, len(file), len(in), m.State, err)
		}
	}
	if m, _, err := receiveFrom(t, "", append(streamText("QEVM", "start=ram", "sizes=pc.ram:32", "zero=0:pc.ram"), bytes.Repeat(streamText("zero=5"), 1<<10)...), 1<<20); err == nil || !strings.Contains(err.Error(), "larger than the machine") {
		t.Errorf("no end: %+v, %v", m.State, err)
	}
}

// receiveFrom has a machine of 32 MiB send its state, and the last of it so many times.
func receiveFrom(t *testing.T, extra string, state []byte, times int) (*manifest, string, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, err := w.Write(state)
		for range times - 1 {
			if err == nil {
				_, err = w.Write(state[len(state)-9<<10:])
			}
		}
		w.Close()
		unix.Write(pair[1], append([]byte{answerSaved}, make([]byte, 8)...))
	}()
	f, err := os.Create(t.TempDir() + "/state")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := &manifest{VM: savedVM{MemoryMiB: 32, Extra: extra}}
	unix.SetNonblock(int(r.Fd()), true)
	err = m.receive(pair[0], int(r.Fd()), f)
	r.Close()
	<-sent
	text, rerr := os.ReadFile(f.Name())
	if rerr != nil {
		t.Fatal(rerr)
	}
	return m, string(text), err
}

// A machine is saved by QEMU itself, restored from what is left of that, and saved again, without having run: its memory is the same, to the
// page. So nothing is in a fresh machine's memory, of the loader either, before it has read its state.
func TestStateStreamQEMU(t *testing.T) {
	needQEMU(t)
	dir, err := rtGuest()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ machine, image string }{{"microvm", "app"}, {"pc", "app-pci"}, {"q35", "app-pci"}} {
		t.Run(x.machine, func(t *testing.T) {
			vm := &vmConfig{Machine: x.machine, Accel: "tcg", CPU: "max", VCPUs: 2, MemoryMiB: 128, TBSizeMiB: 16, Network: "user", Boot: bootLine{Back: "-- touch 8 ; print ready ; echo 1"}}
			argv := unjailedArgs(vm, dir, x.image)
			first := startQMP(t, argv)
			first.do("cont")
			for line := ""; !strings.HasPrefix(line, "ready"); {
				if line, err = first.serial.ReadString('\n'); err != nil {
					t.Fatalf("the guest said no more than %q: %v", line, err)
				}
			}
			first.do("stop")
			registers := first.registers()
			whole := first.save()
			less := filtered(whole, 1<<20)
			before := memoryAfter(whole)
			if pages := len(before); pages < 2048 || pages > 8192 || len(whole)-len(less) < 9*(128<<8-pages-1024) {
				t.Errorf("%d pages hold something; %d bytes of %d are left", pages, len(less), len(whole))
			}
			t.Logf("%d bytes of %d are left", len(less), len(whole))

			state, err := os.Create(t.TempDir() + "/state")
			if err == nil {
				_, err = state.WriteAt(less, 0)
			}
			if err != nil {
				t.Fatal(err)
			}
			wantCounters(t, state, vm.VCPUs, registers)
			second := startQMP(t, append(argv, "-incoming", "defer"), state)
			second.do(`migrate-set-capabilities","arguments":{"capabilities":[{"capability":"events","state":true}]},"id":"`)
			second.do(`migrate-incoming","arguments":{"uri":"fd:4"},"id":"`)
			second.until(`"completed"`)
			again := second.save()
			if after := memoryAfter(again); !maps.Equal(before, after) {
				t.Errorf("%d pages held something, %d do after the restore", len(before), len(after))
			}
		})
	}
}

// qmpTest is a QEMU that a test talks to.
type qmpTest struct {
	t       *testing.T
	client  qmpClient
	answers *bufio.Reader
	serial  *bufio.Reader
}

func startQMP(t *testing.T, argv []string, files ...*os.File) *qmpTest {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), ""), os.NewFile(uintptr(pair[1]), "")
	cmd := exec.Command(needQEMU(t).QEMU, argv...)
	cmd.ExtraFiles = append([]*os.File{theirs}, files...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	limit := time.AfterFunc(rtLimit, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		limit.Stop()
		cmd.Process.Kill()
		cmd.Wait()
		stdin.Close()
		ours.Close()
	})
	q := &qmpTest{t: t, client: qmpClient{fd: pair[0]}, answers: bufio.NewReader(ours), serial: bufio.NewReader(stdout)}
	q.do(qmpCapabilities)
	return q
}

// do sends a command and waits for its answer.
func (q *qmpTest) do(command string) {
	q.t.Helper()
	if err := q.client.send(command); err != nil {
		q.t.Fatal(err)
	}
	q.until(`"return"`)
}

func (q *qmpTest) until(text string) (line string) {
	q.t.Helper()
	for !strings.Contains(line, text) {
		var err error
		if line, err = q.answers.ReadString('\n'); err != nil || strings.Contains(line, `"error"`) {
			q.t.Fatalf("QEMU: %q, %v", line, err)
		}
	}
	return line
}

// registers is what the machine's CPUs have in CR3, as sixteen digits each: one in 32-bit mode is shown with eight.
func (q *qmpTest) registers() (all []string) {
	q.t.Helper()
	if err := q.client.send(`human-monitor-command","arguments":{"command-line":"info registers -a"},"id":"`); err != nil {
		q.t.Fatal(err)
	}
	for _, cpu := range strings.Split(q.until(`"return"`), "CR3=")[1:] {
		all = append(all, fmt.Sprintf("%016s", strings.Fields(cpu)[0]))
	}
	return all
}

// save is the machine's state.
func (q *qmpTest) save() []byte {
	q.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		q.t.Fatal(err)
	}
	defer r.Close()
	q.client.pass = int(w.Fd())
	q.do(qmpGetfd)
	w.Close()
	q.do(qmpSpeed)
	q.do(qmpMigrate)
	all, err := io.ReadAll(r)
	if err != nil || len(all) == 0 {
		q.t.Fatalf("the state has %d bytes: %v", len(all), err)
	}
	return all
}
