// The matter of a program besides its operations: the memory that it lies in, and
// the descriptors that its process begins with.
//
// The memory is a memfd, 256 MiB of addresses of which only what is touched exists.
// The process maps it where the addresses in it say; the parent goes on writing
// there while it runs.

package main

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// descriptor is one that the process begins with.
type descriptor struct {
	fd   int // here; -1: none, the number stays closed
	name string
	lent bool // it was opened for the process alone
}

// Descriptors that every program has, after 0, 1 and 2.
const (
	programFD = 3
	syncFD    = 4
	firstFD   = 5
)

// newProgram makes an empty program for a process with these descriptors as 0, 1
// and 2.
func newProgram(facts *hostFacts, stdin, stdout, stderr int) (*program, error) {
	memory, err := unix.MemfdCreate("program", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("program memory: %w", os.NewSyscallError("memfd_create", err))
	}
	p := &program{memory: memory, facts: facts}
	if err := unix.Ftruncate(memory, programSize); err != nil {
		p.close()
		return nil, fmt.Errorf("program memory: %w", os.NewSyscallError("ftruncate", err))
	}
	return p, p.begin(unix.MAP_SHARED, stdin, stdout, stderr)
}

// listedProgram is one for a listing. Its memory is ordinary, and its descriptors
// are numbers and names.
func listedProgram(facts *hostFacts) (*program, error) {
	p := &program{memory: -1, facts: facts, listed: true}
	return p, p.begin(unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE, 0, 1, 2)
}

// begin writes the default end of all errors, the first two operations: tell the
// parent, and exit.
func (p *program) begin(mapping, stdin, stdout, stderr int) (err error) {
	if p.mem, err = unix.Mmap(p.memory, 0, programSize, unix.PROT_READ|unix.PROT_WRITE, mapping); err != nil {
		p.close()
		return fmt.Errorf("program memory: %w", os.NewSyscallError("mmap", err))
	}
	p.data, p.labels = dataOffset, map[addr]string{}
	p.begins = []descriptor{{fd: stdin, name: "stdin"}, {fd: stdout, name: "stdout"}, {fd: stderr, name: "stderr"}, {fd: p.memory, name: "program"}, {fd: -1, name: "parent"}}
	p.section("the end of all errors")
	p.step = "report"
	p.call(unix.SYS_WRITE, syncFD, addr(errnoAddr), 16)
	p.call(unix.SYS_EXIT_GROUP, 1)
	p.onErr = p.opAddr(0)
	p.header().entry = p.opAddr(p.ops)
	return nil
}

// close gives the memory back here. A process that runs the program has its own.
func (p *program) close() {
	if p.mem != nil {
		unix.Munmap(p.mem)
		p.mem = nil
	}
	if p.memory >= 0 {
		unix.Close(p.memory)
		p.memory = -1
	}
	p.closeLent()
}

// inherit gives the process a descriptor and returns its number there. The name is
// for a listing.
func (p *program) inherit(fd int, name string) int {
	p.begins = append(p.begins, descriptor{fd: fd, name: name})
	return len(p.begins) - 1
}

// lend gives the process a descriptor that is opened for it alone and closed here
// once it runs. A listing does without: it has the number and the name.
func (p *program) lend(name string, open func() (int, error)) (int, error) {
	if p.listed {
		return p.inherit(-1, name), nil
	}
	fd, err := open()
	if err != nil {
		return 0, err
	}
	p.begins = append(p.begins, descriptor{fd, name, true})
	return len(p.begins) - 1, nil
}

func (p *program) closeLent() {
	for i := range p.begins {
		if d := &p.begins[i]; d.lent {
			unix.Close(d.fd)
			d.fd, d.lent = -1, false
		}
	}
}

// nameOf is a descriptor in a listing: its number and its name.
func (p *program) nameOf(fd int) string { return fmt.Sprintf("%d<%s>", fd, p.begins[fd].name) }

// slot stands in a listing for a text that is known only later.
func slot(name string) string { return slotMark + name + slotMark }

const slotMark = "\x01"

// environ is runh's own environment.
func (p *program) environ() []string {
	if p.listed {
		return []string{slot("the environment of runh")}
	}
	return os.Environ()
}

// closeOthers closes what the process has not been given on purpose: the image
// of the interpreter, and what the caller has left open.
func (p *program) closeOthers() {
	p.call(unix.SYS_CLOSE_RANGE, len(p.begins), uint64(^uint32(0)), 0)
}

// programFull is the panic of a program that outgrows its memory: a config can
// ask for that, in any of a hundred places.
type programFull string

// withinProgram makes an ordinary error of it.
func withinProgram(write func() error) (err error) {
	defer func() {
		switch full := recover().(type) {
		case nil:
		case programFull:
			err = fmt.Errorf("the config asks for too much: %s (for mounts, devices, masked and read-only paths, arguments ...)", string(full))
		default:
			panic(full)
		}
	}()
	return write()
}

// alloc reserves n zero bytes, aligned to 8.
func (p *program) alloc(n int) addr {
	a := p.data
	if p.data += (n + 7) &^ 7; p.data > len(p.mem) {
		panic(programFull(fmt.Sprintf("more than %d MiB of names and values", (programSize-dataOffset)>>20)))
	}
	return addr(programBase + a)
}

// bytes copies b into the shared memory.
func (p *program) bytes(b []byte) addr {
	a := p.alloc(len(b))
	copy(p.view(a, len(b)), b)
	return a
}

// str copies s and its terminating zero into the shared memory.
func (p *program) str(s string) addr {
	a := p.alloc(len(s) + 1)
	copy(p.view(a, len(s)), s)
	return a
}

// strs lays out a zero-terminated array of strings, as execve wants it.
func (p *program) strs(list []string) addr {
	a := p.alloc(8 * (len(list) + 1))
	for i, s := range list {
		binary.NativeEndian.PutUint64(p.view(a, 8*(len(list)+1))[8*i:], uint64(p.str(s)))
	}
	return a
}

// words lays out 64-bit words.
func (p *program) words(w ...uint64) addr {
	a := p.alloc(8 * len(w))
	for i, v := range w {
		binary.NativeEndian.PutUint64(p.view(a+addr(8*i), 8), v)
	}
	return a
}

// word is a word of the memory, which the process may have written.
func (p *program) word(a addr) uint64 { return binary.NativeEndian.Uint64(p.view(a, 8)) }

// view is the parent's view of n bytes of the shared memory.
func (p *program) view(a addr, n int) []byte {
	off := int(a - programBase)
	return p.mem[off : off+n : off+n]
}
