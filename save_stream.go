// The stream of a machine's state, made smaller on its way from QEMU. A page of the guest's memory that holds nothing
// has a record of nine bytes, and QEMU, reading it back, looks at the whole page. A machine that is to be restored
// has its memory fresh from the kernel, and QEMU puts nothing there before it has read the state (rom_reset in
// its hw/core/loader.c): the record says what is so already, unless an earlier one has filled the page.
//
// Contract: out comes what came in, less whole records of that kind. The state is a guest's, and QEMU may be
// the guest's, too: a length in it is only ever compared, what is held back is less than one record, and from the first
// record that is not understood on, everything passes. The format: QEMU, docs/devel/migration, migration/ram.c.

package main

import "encoding/binary"

const (
	streamMagic = "QEVM\x00\x00\x00\x03" // and the version
	streamPage  = 4096

	// What a stream consists of up to the machine's devices, by its first byte.
	streamStart         = 0x01 // sections
	streamPart          = 0x02
	streamEnd           = 0x03
	streamFull          = 0x04 // a device, by which time the memory is over
	streamDescribed     = 0x06 // at the end
	streamConfiguration = 0x07
	streamFooter        = 0x7e // of a section

	// A record of a memory section is an address with these in its low bits.
	recordZero     = 0x02
	recordSizes    = 0x04
	recordPage     = 0x08
	recordLast     = 0x10
	recordContinue = 0x20 // in the same block as the last; else the block's name follows

	minSparseBlock  = 16 << 20 // what is smaller may be firmware, which a fresh machine has in its place
	maxMemoryBlocks = 64
	maxStreamRecord = 8 + 1 + 255 + streamPage
)

// stateStream is how far a stream has been understood.
type stateStream struct {
	next   func(*stateStream, []byte) (size int, keep bool) // nil: everything passes
	buf    []byte
	rest   []byte                  // of buf: a record that has not come whole, to be kept if nothing follows
	id     uint32                  // of the sections that hold the memory
	sizes  uint64                  // bytes of memory whose blocks have not been named yet
	blocks map[string]*memoryBlock // such as "pc.ram"
	block  *memoryBlock            // of the last record
}

// memoryBlock is a part of the machine's memory. QEMU goes through it upwards, and may come back.
type memoryBlock struct {
	size uint64
	seen uint64 // there has been a record of no page beyond
}

func newStateStream() *stateStream {
	return &stateStream{next: (*stateStream).magic, buf: make([]byte, 1<<20+maxStreamRecord), blocks: map[string]*memoryBlock{}}
}

// room is where the next bytes of the stream belong.
func (s *stateStream) room() []byte {
	n := copy(s.buf, s.rest)
	s.rest = s.buf[:n]
	return s.buf[n:]
}

// filter takes n bytes that were put there, and returns those to be kept. They are valid until the next room.
func (s *stateStream) filter(n int) []byte {
	b := s.buf[:len(s.rest)+n]
	kept, run, at := b[:0], 0, 0 // kept records move down over those that are left out, a run at a time
	for s.next != nil {
		size, keep := s.next(s, b[at:])
		if size < 0 {
			s.next = nil
		}
		if size <= 0 || size > len(b)-at {
			break
		}
		if !keep {
			kept = append(kept, b[run:at]...)
			run = at + size
		}
		at += size
	}
	if s.next == nil {
		at = len(b)
	}
	s.rest = b[at:]
	return append(kept, b[run:at]...)
}

// Each of these looks at what b begins with, and returns its size, which may be more than b has; 0 if b is too
// short to tell; -1 if it is unknown. Only of what is there as a whole they take notice.

func (s *stateStream) magic(b []byte) (int, bool) {
	n := len(streamMagic)
	switch {
	case len(b) < n:
		return 0, true
	case string(b[:n]) != streamMagic:
		return -1, true
	}
	s.next = (*stateStream).section
	return n, true
}

func (s *stateStream) section(b []byte) (int, bool) {
	if len(b) < 6 { // the shortest has five, and another byte follows it
		return 0, true
	}
	number := binary.BigEndian.Uint32(b[1:])
	switch b[0] {
	case streamConfiguration: // the machine's name
		if number > 255 {
			return -1, true
		}
		return 5 + int(number), true
	case streamStart:
		name := 6 + int(b[5])
		switch {
		case len(b) < name+8: // instance and version
			return 0, true
		case string(b[6:name]) != "ram" || len(s.blocks) > 0:
			return -1, true
		}
		s.id, s.next = number, (*stateStream).record
		return name + 8, true
	case streamPart, streamEnd, streamFooter:
		if len(s.blocks) == 0 || number != s.id {
			return -1, true
		}
		if b[0] != streamFooter {
			s.next = (*stateStream).record
		}
		return 5, true
	}
	return -1, true
}

func (s *stateStream) record(b []byte) (size int, keep bool) {
	if len(b) < 8 {
		return 0, true
	}
	v := binary.BigEndian.Uint64(b)
	address, flags, block := v&^(streamPage-1), v&(streamPage-1), s.block
	size = 8
	switch flags {
	case recordLast:
		s.next = (*stateStream).section
		return size, true
	case recordSizes:
		if len(s.blocks) > 0 {
			return -1, true
		}
		s.sizes, s.next = address, (*stateStream).size
		return size, true
	case recordZero, recordPage:
		if len(b) < 9 {
			return 0, true
		}
		if size += 1 + int(b[8]); len(b) < size {
			return 0, true
		}
		block = s.blocks[string(b[9:size])]
	case recordZero | recordContinue, recordPage | recordContinue:
	default:
		return -1, true
	}
	if block == nil || address >= block.size {
		return -1, true
	}
	if size++; flags&recordPage != 0 {
		size += streamPage - 1
	}
	if len(b) < size {
		return size, true
	}
	fresh := address >= block.seen
	s.block, block.seen = block, max(block.seen, address+streamPage)
	nothing := flags == recordZero|recordContinue && b[8] == 0
	return size, !nothing || !fresh || block.size < minSparseBlock
}

// size is one of the blocks of which the memory consists.
func (s *stateStream) size(b []byte) (int, bool) {
	if s.sizes == 0 {
		s.next = (*stateStream).record
		return s.record(b)
	}
	if len(b) == 0 || len(b) < 1+int(b[0])+8 {
		return 0, true
	}
	name := 1 + int(b[0])
	size := binary.BigEndian.Uint64(b[name:])
	if size == 0 || size > s.sizes || s.blocks[string(b[1:name])] != nil || len(s.blocks) == maxMemoryBlocks {
		return -1, true
	}
	s.sizes -= size
	s.blocks[string(b[1:name])] = &memoryBlock{size: size}
	return name + 8, true
}
