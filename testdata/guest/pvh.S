/*
 * pvh.S: where QEMU enters an app without a loader, as Hermit's kernels since
 * 0.14 can be: 32-bit protected mode with ebx = hvm_start_info (pvh.c). This maps
 * the first 3 GiB and enters long mode. Only for apps at a fixed address: in a
 * position-independent one the note would hold 0 until somebody relocates it.
 */
#ifdef PVH
	.section .note.Xen, "a", @note
	.balign	4
	.long	4, 8, 18			/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
#ifdef __PIE__
	.quad	0
#else
	.quad	pvh_start

	.text
	.code32
pvh_start:
	cli
	mov	$pvh_stack, %esp
	mov	%ebx, %edi			/* first argument of pvh_main */

	movl	$level3 + 3, level4		/* present, writable */
	mov	$level2 + 3, %eax
	xor	%ecx, %ecx
1:	mov	%eax, level3(, %ecx, 8)
	add	$4096, %eax
	inc	%ecx
	cmp	$3, %ecx
	jb	1b
	xor	%ecx, %ecx
	mov	$0x83, %eax			/* ... and a 2 MiB page */
1:	mov	%eax, level2(, %ecx, 8)
	add	$0x200000, %eax
	inc	%ecx
	cmp	$3 * 512, %ecx
	jb	1b

	mov	$level4, %eax
	mov	%eax, %cr3
	mov	%cr4, %eax
	or	$0x20, %eax			/* PAE */
	mov	%eax, %cr4
	mov	$0xc0000080, %ecx		/* EFER.LME */
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	%cr0, %eax
	or	$0x80000000, %eax
	mov	%eax, %cr0
	lgdt	gdt_pointer
	ljmp	$8, $1f

	.code64
1:	mov	$16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	call	pvh_main
	ud2

	.section .rodata
	.balign	8
gdt:
	.quad	0
	.quad	0x00af9a000000ffff		/* 64-bit code */
	.quad	0x00cf92000000ffff		/* data */
gdt_pointer:
	.word	. - gdt - 1
	.long	gdt

	.bss
	.balign	4096
level4:	.skip	4096
level3:	.skip	4096
level2:	.skip	3 * 4096
	.skip	16384
pvh_stack:
#endif
#endif

	.section .note.GNU-stack, "", @progbits
