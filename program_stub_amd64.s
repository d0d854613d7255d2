#include "textflag.h"

// The whole of the container's init, before it becomes the container's program:
// an interpreter for lists of system calls. program_stub_image.go copies these bytes into a
// tiny ELF file and starts that; nothing in runh's own process ever calls them.
// The layout of an operation is that of type op in program.go.
//
// R12 is the operation, R13 the shared memory. No stack, no other state.
TEXT ·stubCode(SB), NOSPLIT|NOFRAME, $0-0
	// mmap(programBase, programSize, READ|WRITE, SHARED|FIXED, programFD, 0)
	MOVQ $0x10000000, DI
	MOVQ $0x10000000, SI
	MOVQ $3, DX
	MOVQ $0x11, R10
	MOVQ $3, R8
	XORQ R9, R9
	MOVQ $9, AX
	SYSCALL
	MOVQ $0x10000000, R13
	MOVQ 0(R13), R12 // header.entry; a failed mmap faults here, and the parent sees the death

next:
	// Load the six arguments; a bit set in op.deref means "the value is at this address".
	MOVQ 56(R12), BX
	MOVQ 8(R12), DI
	BTQ  $0, BX
	JCC  arg1
	MOVQ (DI), DI

arg1:
	MOVQ 16(R12), SI
	BTQ  $1, BX
	JCC  arg2
	MOVQ (SI), SI

arg2:
	MOVQ 24(R12), DX
	BTQ  $2, BX
	JCC  arg3
	MOVQ (DX), DX

arg3:
	MOVQ 32(R12), R10
	BTQ  $3, BX
	JCC  arg4
	MOVQ (R10), R10

arg4:
	MOVQ 40(R12), R8
	BTQ  $4, BX
	JCC  arg5
	MOVQ (R8), R8

arg5:
	MOVQ 48(R12), R9
	BTQ  $5, BX
	JCC  call
	MOVQ (R9), R9

call:
	MOVQ 0(R12), AX
	SYSCALL
	CMPQ AX, $-4095
	JCC  failed // unsigned: -4095..-1 are errors

	TESTQ AX, AX
	JNE  store
	MOVQ 128(R12), BX // op.zero: another way on when the result is 0
	TESTQ BX, BX
	JEQ  store
	MOVQ BX, R12
	JMP  next

store:
	MOVQ 72(R12), BX // where op.result points
	MOVQ AX, (BX)
	ADDQ $144, R12
	JMP  next

failed:
	NEGQ AX
	CMPQ AX, $4 // EINTR: again
	JEQ  next
	CMPQ AX, 80(R12)
	JNE  second
	MOVQ 88(R12), R12
	JMP  next

second:
	CMPQ AX, 96(R12)
	JNE  third
	MOVQ 104(R12), R12
	JMP  next

third:
	CMPQ AX, 112(R12)
	JNE  other
	MOVQ 120(R12), R12
	JMP  next

other:
	MOVQ AX, 8(R13)   // header.errno
	MOVQ R12, 16(R13) // header.failed
	MOVQ 136(R12), R12
	JMP  next
	BYTE $0x0f; BYTE $0x0b // ud2: the mark before the handler

	// The handler of the signals that end a container before its start: exit_group(128 + signal). It does not return.
	SUBQ $-128, DI
	MOVQ $231, AX
	SYSCALL
	BYTE $0x0f; BYTE $0x0b; BYTE $0x0f; BYTE $0x0b // ud2 ud2: the end mark
	RET

// func stubAddress() *byte: where the bytes above are.
TEXT ·stubAddress(SB), NOSPLIT, $0-8
	LEAQ ·stubCode(SB), AX
	MOVQ AX, ret+0(FP)
	RET
