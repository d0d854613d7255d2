/*
 * boot.S: the loader's two ends. multiboot enters at _start in 32-bit protected
 * mode with ebx = information structure; this maps the first GiB, enters long
 * mode and calls loader_main(ebx). enter_app jumps to the app.
 *
 * The loader is linked as ELF64 and objcopied to ELF32, as Hermit's is: QEMU
 * takes no 64-bit multiboot image.
 */
	.set	FLAGS, 3			/* page-aligned modules, memory map */

	.section .multiboot, "a"
	.balign	4
	.long	0x1badb002, FLAGS, -(0x1badb002 + FLAGS)

	.text
	.code32
	.globl	_start
_start:
	cli
	mov	$stack_top, %esp
	mov	%ebx, %edi			/* first argument of loader_main */

	mov	$0x80000000, %eax		/* long mode, or spin as Hermit's loader does */
	cpuid
	cmp	$0x80000001, %eax
	jb	.
	mov	$0x80000001, %eax
	cpuid
	bt	$29, %edx
	jnc	.

	movl	$level3 + 3, level4		/* present, writable */
	movl	$level2 + 3, level3
	xor	%ecx, %ecx
	mov	$0x83, %eax			/* ... and a 2 MiB page */
1:	mov	%eax, level2(, %ecx, 8)
	add	$0x200000, %eax
	inc	%ecx
	cmp	$512, %ecx
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
	call	loader_main
	ud2

/* enter_app(struct boot_info *, entry, stack): rdi stays, see bootinfo.h. */
	.globl	enter_app
enter_app:
	mov	%rdx, %rsp
	mov	%rsi, %rax
	xor	%esi, %esi
	jmp	*%rax

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
	.globl	level4, level3, level2
level4:	.skip	4096
level3:	.skip	4096
level2:	.skip	4096
	.skip	16384
stack_top:

	.section .note.GNU-stack, "", @progbits
