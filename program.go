// A program is a list of raw system calls for another process to make: the
// set-up of a container, compiled by the process that was asked for it and run
// by the stub (program_stub_amd64.s), which is nothing but an interpreter of such lists.
//
// It lives in shared memory. Operations are written there one by one; each may
// use the results of earlier ones, name the errors it expects and where they
// lead, and carries the name of its step for the error message. Nothing here
// makes a system call on behalf of the container: init.go, rootfs.go, init_process.go
// and vm_jail.go say which; program_session.go starts the interpreter and talks with it.

package main

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Where the shared memory is mapped in the stub, and how it is divided. The
// memory is sparse: only what is touched exists.
const (
	programBase = 0x10000000
	programSize = 0x10000000 // 256 MiB of address space
	opsOffset   = 0x1000     // the header has the first page
	dataOffset  = 0x8000000  // room for 932 000 operations
)

// header is the first page of the shared memory.
type header struct {
	entry  uint64 // address of the operation to begin with
	errno  uint64 // of the operation that failed last,
	failed uint64 // and its address
}

const errnoAddr = programBase + 8 // of header.errno, in the stub

// op is one system call. The field order is known to the stub.
type op struct {
	nr     uint64
	args   [6]uint64
	deref  uint64 // bit i: args[i] is the address of the value
	value  uint64 // the result, unless it is sent elsewhere
	result uint64 // address that gets the result: &value by default
	expect [3]struct {
		errno uint64 // an expected error
		to    uint64 // and where it leads
	}
	zero uint64 // where a result of 0 leads, 0: to the next operation
	fail uint64 // where any other error leads
}

const opSize = uint64(unsafe.Sizeof(op{}))

// program is the memory and its two fill marks, and the descriptors that the
// process begins with.
type program struct {
	memory int    // a memfd
	mem    []byte // our view of it
	ops    int
	data   int
	names  []string // by operation: the step that an error message names
	step   string
	onErr  uint64 // where unexpected errors lead from now on
	facts  *hostFacts
	begins []descriptor // by number

	// Words that both sides use while the program runs; 0: it has none.
	outside addr // not 0 there: the process waits to be moved into its cgroup
	sibling addr // the pid of the child that has taken its place
	cwd     addr // the name of its working directory

	// For a listing:
	listed   bool // the program never runs: no descriptor is opened for it
	sections []programSection
	labels   map[addr]string // words that the parent writes, by name
}

// programSection is a part of the program, to the beginning of the next.
type programSection struct {
	first int // operation
	name  string
	aside bool // another process runs it
}

// call is an operation already written. As an argument of a later one it
// stands for its result.
type call struct {
	p *program
	i int
}

// label is a place in the program, possibly not reached yet: the fields in
// wait are patched once it is.
type label struct {
	addr uint64
	wait []*uint64
}

// addr is a place in the stub's view of the shared memory.
type addr uint64

// valueAt stands, as an argument, for the value at an address at that time.
type valueAt addr

func (p *program) header() *header { return (*header)(unsafe.Pointer(&p.mem[0])) }

func (p *program) op(i int) *op {
	return (*op)(unsafe.Pointer(&p.mem[opsOffset+uint64(i)*opSize]))
}

func (p *program) opAddr(i int) uint64 { return programBase + opsOffset + uint64(i)*opSize }

// at names the step that the next operations belong to.
func (p *program) at(format string, args ...any) {
	if len(args) == 0 {
		p.step = format
		return
	}
	p.step = fmt.Sprintf(format, args...)
}

// section begins a part of the program.
func (p *program) section(name string) {
	p.sections = append(p.sections, programSection{first: p.ops, name: name})
}

// aside is a part that another process runs, born by the call before it. What is
// written after it belongs to the part that was begun before.
func (p *program) aside(name string, write func()) {
	outer := p.sections[len(p.sections)-1].name
	p.sections = append(p.sections, programSection{first: p.ops, name: name, aside: true})
	write()
	p.section(outer + ", continued")
}

// named names a word that the parent writes.
func (p *program) named(a addr, name string) addr {
	p.labels[a] = name
	return a
}

// call appends a system call. Arguments are numbers, strings and bytes (copied
// into the shared memory; their address is passed), earlier calls (their
// result is passed), or addresses.
func (p *program) call(nr int, args ...any) call {
	if p.ops >= (dataOffset-opsOffset)/int(opSize) {
		panic(programFull(fmt.Sprintf("more than %d steps", p.ops)))
	}
	i := p.ops
	p.ops++
	o := p.op(i)
	*o = op{nr: uint64(nr), fail: p.onErr, result: p.opAddr(i) + uint64(unsafe.Offsetof(o.value))}
	for n, a := range args {
		var deref bool
		o.args[n], deref = p.argument(a)
		if deref {
			o.deref |= 1 << n
		}
	}
	p.names = append(p.names, p.step)
	return call{p, i}
}

func (p *program) argument(a any) (v uint64, deref bool) {
	switch a := a.(type) {
	case int:
		return uint64(a), false
	case uint32:
		return uint64(a), false
	case uint64:
		return a, false
	case uintptr:
		return uint64(a), false
	case addr:
		return uint64(a), false
	case string:
		return uint64(p.str(a)), false
	case []byte:
		return uint64(p.bytes(a)), false
	case call:
		return p.op(a.i).result, true
	case valueAt:
		return uint64(a), true
	}
	panic(fmt.Sprintf("BUG: argument of type %T", a))
}

// on says where an expected error leads. A call has room for three.
func (c call) on(errno unix.Errno, to *label) call {
	o := c.p.op(c.i)
	for i := range o.expect {
		if e := &o.expect[i]; e.errno == 0 {
			e.errno = uint64(errno)
			to.refer(&e.to)
			return c
		}
	}
	panic("BUG: a fourth expected error")
}

// ignore goes on with the next operation when one of these errors occurs.
func (c call) ignore(errnos ...unix.Errno) call {
	for _, e := range errnos {
		c.on(e, &label{addr: c.p.opAddr(c.i + 1)})
	}
	return c
}

// ignoreAll goes on with the next operation whatever happens.
func (c call) ignoreAll() call {
	c.p.op(c.i).fail = c.p.opAddr(c.i + 1)
	return c
}

// orElse sends every unexpected error elsewhere.
func (c call) orElse(to *label) call {
	to.refer(&c.p.op(c.i).fail)
	return c
}

// ifZero sends a result of 0 elsewhere.
func (c call) ifZero(to *label) call {
	to.refer(&c.p.op(c.i).zero)
	return c
}

// into stores the result at an address, as 64 bits.
func (c call) into(a addr) call {
	c.p.op(c.i).result = uint64(a)
	return c
}

// retry repeats the call on this error.
func (c call) retry(errno unix.Errno) call {
	return c.on(errno, &label{addr: c.p.opAddr(c.i)})
}

// refer makes a field hold the label's address, now or when it is placed.
func (l *label) refer(field *uint64) {
	if l.addr != 0 {
		*field = l.addr
		return
	}
	l.wait = append(l.wait, field)
}

// place puts the label before the next operation.
func (p *program) place(l *label) {
	l.addr = p.opAddr(p.ops)
	for _, f := range l.wait {
		*f = l.addr
	}
	l.wait = nil
}

// jump goes to a label: the cheapest call whose result is always 0.
func (p *program) jump(to *label) {
	p.call(unix.SYS_SCHED_YIELD).ifZero(to)
}

// equal goes to a label when the 32-bit word at a has the given value. There is
// no comparison in the stub; a futex wait with no time to wait is one: EAGAIN
// says that the word differs, ETIMEDOUT that it does not.
func (p *program) equal(a addr, v uint32, to *label) {
	c := p.call(unix.SYS_FUTEX, a, futexWait, v, p.words(0, 0))
	c.ignore(unix.EAGAIN)
	c.on(unix.ETIMEDOUT, to)
}

// differ goes to a label when that word is another than v, which may be a value
// that is known only when the program runs.
func (p *program) differ(a addr, v any, to *label) {
	p.call(unix.SYS_FUTEX, a, futexWait, v, p.words(0, 0)).ignore(unix.ETIMEDOUT).on(unix.EAGAIN, to)
}

const futexWait, futexWake = 0, 1

// refuse fails with a sentence of ours instead of the kernel's.
func (p *program) refuse(format string, args ...any) {
	step := p.step
	p.at(refusal+format, args...)
	p.call(unix.SYS_CLOSE, -1)
	p.step = step
}

const refusal = "\x00" // begins the name of a step that is a whole sentence

// report tells the parent that the program has come to a synchronisation point.
func (p *program) report(point syncPoint) {
	p.call(unix.SYS_WRITE, syncFD, p.words(0, uint64(point)), 16)
}

// sendDescriptor reports a point, with a descriptor in the message.
func (p *program) sendDescriptor(fd any, point syncPoint) {
	// struct cmsghdr {len, level, type} and the number, which is stored there
	// as a 64-bit result: the padding takes the upper half.
	control := p.words(20, uint64(unix.SOL_SOCKET)|uint64(unix.SCM_RIGHTS)<<32, 0)
	p.call(unix.SYS_DUP, fd).into(control + 16)
	iov := p.words(uint64(p.words(0, uint64(point))), 16)
	msg := p.words(0, 0, uint64(iov), 1, uint64(control), 24, 0)
	p.call(unix.SYS_SENDMSG, syncFD, msg, 0)
}

// receiveFiles takes up to n descriptors that the parent sends in one message.
// They lie side by side, 32 bits each; the kernel reads a descriptor from the
// lower half of an argument, so each has an address. What does not come is -1.
func (p *program) receiveFiles(n int) []valueAt {
	size := 16 + (4*n+7)&^7
	control := p.alloc(size + 8)
	for i := 16; i < size+8; i++ {
		p.view(control, size+8)[i] = 0xff
	}
	iov := p.words(uint64(p.alloc(8)), 8)
	msg := p.words(0, 0, uint64(iov), 1, uint64(control), uint64(size), 0)
	p.call(unix.SYS_RECVMSG, syncFD, msg, unix.MSG_CMSG_CLOEXEC).ifZero(&label{addr: p.opAddr(1)})
	fds := make([]valueAt, n)
	for i := range fds {
		fds[i] = valueAt(control + addr(16+4*i))
	}
	return fds
}

// await waits for the parent's word, and exits if the parent is gone.
func (p *program) await() {
	var gone label
	gone.addr = p.opAddr(1)
	p.call(unix.SYS_READ, syncFD, p.alloc(8), 8).ifZero(&gone)
}

// failure is the error of the operation at an address.
func (p *program) failure(a, errno uint64) error {
	i := int(a-programBase-opsOffset) / int(opSize)
	if i < 0 || i >= len(p.names) {
		return &stepError{"unknown step", unix.Errno(errno)}
	}
	if sentence, ok := strings.CutPrefix(p.names[i], refusal); ok {
		return errors.New(sentence)
	}
	return &stepError{p.names[i], unix.Errno(errno)}
}
