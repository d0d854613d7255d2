// The keeper's signal handler. Go's own needs two goroutines and three threads to tell the program of
// a signal, in a process whose whole point is to be small; and it never leaves the signals that end a
// process blocked, so that a signalfd would see them only by chance.

#include "textflag.h"

// The handler: void keeperSignal(int signal). It writes the number, as one byte, to the pipe
// keeperSignalFD; write(2) is async-signal-safe, and the kernel restores all registers afterwards.
TEXT ·keeperSignal(SB), NOSPLIT|NOFRAME, $0
	SUBQ $8, SP
	MOVQ DI, 0(SP)
	MOVQ $1, AX // write
	MOVQ $63, DI // keeperSignalFD
	MOVQ SP, SI
	MOVQ $1, DX
	SYSCALL
	ADDQ $8, SP
	RET

// Where the handler returns to: rt_sigreturn(2).
TEXT ·keeperSigreturn(SB), NOSPLIT|NOFRAME, $0
	MOVQ $15, AX
	SYSCALL
	INT $3

// func keeperHandlers() (handler, restorer uintptr)
TEXT ·keeperHandlers(SB), NOSPLIT, $0-16
	LEAQ ·keeperSignal(SB), AX
	MOVQ AX, handler+0(FP)
	LEAQ ·keeperSigreturn(SB), AX
	MOVQ AX, restorer+8(FP)
	RET
