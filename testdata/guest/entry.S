/*
 * entry.S: the app's entry point, its notes, and what interrupts run into.
 * The entry ABI is in bootinfo.h; the loader's stack is not used.
 */
#include "variant.h"

	.text
	.globl	_start
_start:
	lea	stack_top(%rip), %rsp
	call	kernel_main
	ud2

/* One stub per exception: [vector, error code, rip, ...] on the stack. */
	.balign	16
	.globl	exception_stubs
exception_stubs:
	.set	vector, 0
	.rept	32
	.balign	16
	.if	((1 << vector) & 0x60227d00) == 0	/* pushes no error code itself */
	push	$0
	.endif
	push	$vector
	jmp	1f
	.set	vector, vector + 1
	.endr
1:	mov	%rsp, %rdi
	call	exception

/*
 * The timer only has to end a nap, which is "sti; hlt" (cpu.c). A processor takes no interrupt between the two. QEMU's TCG, when
 * it emulates SVM, does: it loses the interrupt shadow of sti at VMRUN. The timer fires once, so the hlt after it would never end.
 * So the hlt is stepped over if it is still to come. One that has waited needs nothing: the return address is behind it.
 */
	.globl	timer_stub
timer_stub:
	push	%rax
	mov	8(%rsp), %rax
	cmpb	$0xf4, (%rax)			/* hlt */
	jne	1f
	incq	8(%rsp)
1:	pop	%rax
	iretq

/* ELF notes, 4-byte aligned and in one segment. */
#ifndef PVH
	.section .note.ABI-tag, "a", @note
	.balign	4
#ifndef OLD
	.long	4, 16, 1
	.asciz	"GNU"
	.long	6, 0, 13, 2			/* Hermit, kernel version */
#endif
	.long	7, 1, 0x5a00
	.asciz	"HERMIT"
	.balign	4
	.byte	ENTRY_VERSION
	.balign	4
#endif

	.bss
	.balign	16
	.skip	32768
stack_top:

	.section .note.GNU-stack, "", @progbits
