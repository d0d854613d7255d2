/*
 * pvh.c: what the loader otherwise does for the app: it turns what QEMU hands
 * over at a PVH boot into the app's boot information. Memory above 3 GiB is not used.
 */
#include "bootinfo.h"
#include "kernel.h"
#include "variant.h"

#if defined(PVH) && !defined(__PIE__)
#define MIB2 (2UL << 20)

struct hvm_memory {
	uint64_t base, length;
	uint32_t type, reserved;
};
enum { HVM_RAM = 1 };

struct hvm_start_info {
	uint32_t magic, version, flags, modules;
	uint64_t module_list, cmdline, rsdp, memory_map;
	uint32_t memory_ranges, reserved;
};

extern char __executable_start[], _end[];
_Noreturn void kernel_main(const struct boot_info *info);

_Noreturn void pvh_main(const struct hvm_start_info *start)
{
	static struct boot_info info;
	const struct hvm_memory *m = (void *)start->memory_map;
	struct fdt_content c = { 0 };

	for (uint32_t i = 0; i < start->memory_ranges; i++)
		if (m[i].type == HVM_RAM && m[i].base < 3UL << 30 && c.memory_count < MAX_RANGES)
			c.memory[c.memory_count++] = (struct range){ m[i].base, m[i].base + m[i].length };
	if (start->cmdline) {
		const char *s = (void *)start->cmdline;

		c.bootargs_len = strlen(s);
		c.bootargs = valid_utf8(s, c.bootargs_len) ? s : NULL;
	}
	info.image_start = (uint64_t)__executable_start;
	info.image_end = (uint64_t)_end;
	info.fdt = (info.image_end + MIB2 - 1) & -MIB2;
	info.serial_port = SERIAL_PORT;
	fdt_write((void *)info.fdt, &c);
	kernel_main(&info);
}
#endif
