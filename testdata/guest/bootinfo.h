/*
 * bootinfo.h: what the loader hands to the app, in the layout of Hermit's
 * entry ABI version 4 (RawBootInfo, repr(C)). The app is entered in long mode
 * with memory identity-mapped, rdi = struct boot_info *, esi = 0 and rsp at
 * the bottom of 32 KiB of zeroed stack, which the app does not use.
 */
#ifndef BOOTINFO_H
#define BOOTINFO_H

#include <stdint.h>

#define HERMIT_ENTRY_VERSION 4
#define PLATFORM_MULTIBOOT 0

struct boot_info {
	uint64_t phys_start, phys_end; /* left 0: the device tree has the memory */
	uint16_t serial_port;
	uint64_t fdt;
	uint64_t image_start, image_end;
	uint64_t tls_start, tls_filesz, tls_memsz, tls_align;
	uint32_t platform;
	/* PLATFORM_MULTIBOOT */
	uint64_t cmdline, cmdline_len;
	uint64_t multiboot_info;
};

_Static_assert(sizeof(struct boot_info) == 112, "RawBootInfo's layout");

#endif
