/*
 * loader.c: stands in for hermit-loader-x86_64-multiboot. It takes the first
 * multiboot module, checks that it is a Hermit app of the entry version it takes, loads
 * and relocates it, and enters it with a device tree that holds the memory map
 * and the command line.
 *
 * As with Hermit's loader a refusal is a panic: one message that starts with
 * "[LOADER] panicked at", and then it spins for ever; the VM never ends.
 *
 * LOADER_LOG (compile time, as in Hermit): defined, it logs "[LOADER][INFO] ...".
 * LOADER_PANIC (ours): the loader panics whatever it is given.
 * LOADER_4K: it fails for lack of memory where Hermit's loader 0.5.7 does, whose
 * heap has 4 KiB: when the command line is longer than 388 bytes.
 * LOADER_SPARSE: it leaves the page tables as loaders up to 0.5.6 did, which
 * real apps with a kernel before 0.10 need.
 * LOADER_FLAT: its page table does not map itself, as since 0.5.7; kernels before
 * 0.11 triple-fault. LOADER_VERSION: it logs this version, as since 0.5.7.
 * ENTRY_TAKEN: the entry version that it takes, 4 unless set. LOADER_CRATE: the
 * crate with that version, whose path is in real loaders.
 */
#include "bootinfo.h"
#include "elf.h"
#include "fdt.h"
#include "lib.h"

#ifndef ENTRY_TAKEN
#define ENTRY_TAKEN HERMIT_ENTRY_VERSION
#endif

#define TABLE_FLAGS 3UL   /* present, writable */
#define PAGE_FLAGS 0x83UL /* ... and a huge page */
#define GIB (1UL << 30)
#define MIB2 (2UL << 20)

struct multiboot_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
	uint32_t syms[4], mmap_length, mmap_addr;
};
enum { HAS_CMDLINE = 1 << 2, HAS_MODULES = 1 << 3, HAS_MMAP = 1 << 6 };

struct multiboot_module {
	uint32_t start, end, string, reserved;
};

struct multiboot_mmap {
	uint32_t size; /* of the rest */
	uint64_t base, length;
	uint32_t type;
} __attribute__((packed));
enum { MMAP_AVAILABLE = 1 };

struct image {
	const uint8_t *bytes;
	uint64_t size;
};

extern char loader_start[], loader_end[];
extern uint64_t level4[512], level3[512], level2[512];
_Noreturn void enter_app(struct boot_info *info, uint64_t entry, uint64_t stack);

static uint64_t free_memory; /* the first byte nobody uses */

static void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format(serial_write, fmt, ap);
	va_end(ap);
}

#define panic(...) panic_at(__LINE__, __VA_ARGS__)
static _Noreturn void panic_at(int line, const char *fmt, ...)
{
	va_list ap;

	print("[LOADER] panicked at loader.c:%d:\n", line);
	va_start(ap, fmt);
	format(serial_write, fmt, ap);
	va_end(ap);
	print("\n");
	for (;;)
		;
}

#ifdef LOADER_LOG
#define log_info(fmt, ...) print("[LOADER][\033[32mINFO\033[0m] " fmt "\n", ##__VA_ARGS__)
#define log_warn(fmt, ...) print("[LOADER][\033[33mWARN\033[0m] " fmt "\n", ##__VA_ARGS__)
#else
#define log_info(...) ((void)0)
#define log_warn(...) ((void)0)
#endif

/* memory is taken upwards from above everything multiboot left behind */
static void *allocate(uint64_t size)
{
	uint64_t at = free_memory;

	free_memory += (size + MIB2 - 1) & ~(MIB2 - 1);
	return (void *)at;
}

static uint64_t max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t highest_address(const struct multiboot_info *mb)
{
	uint64_t top = (uint64_t)loader_end;

	top = max(top, (uint64_t)mb + 128);
	top = max(top, mb->mmap_addr + mb->mmap_length);
	if (mb->flags & HAS_CMDLINE)
		top = max(top, mb->cmdline + strlen((char *)(uint64_t)mb->cmdline) + 1);
	if (mb->flags & HAS_MODULES) {
		const struct multiboot_module *m = (void *)(uint64_t)mb->mods_addr;

		top = max(top, (uint64_t)(m + mb->mods_count));
		for (uint32_t i = 0; i < mb->mods_count; i++) {
			top = max(top, m[i].end);
			if (m[i].string)
				top = max(top, m[i].string + strlen((char *)(uint64_t)m[i].string) + 1);
		}
	}
	return top;
}

static void memory_map(const struct multiboot_info *mb, struct fdt_content *c)
{
	uint64_t at = mb->mmap_addr, end = at + mb->mmap_length;

	if (!(mb->flags & HAS_MMAP))
		panic("Could not find a memory map in the Multiboot information");
	while (at < end) {
		const struct multiboot_mmap *m = (void *)at;

		if (m->type == MMAP_AVAILABLE && c->memory_count < MAX_RANGES)
			c->memory[c->memory_count++] = (struct range){ m->base, m->base + m->length };
		at += m->size + 4;
	}
}

/* boot.S mapped the first GiB; map the rest up to the end of memory. */
static void identity_map(uint64_t end)
{
	uint32_t eax = 0x80000001, ebx, ecx, edx;

	__asm__("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
	if (end > 512 * GIB)
		panic("memory ends at %lx, this loader maps 512 GiB", end);
	for (uint64_t at = GIB; at < end; at += GIB) {
		if (edx & 1 << 26) { /* 1 GiB pages */
			level3[at / GIB] = at | PAGE_FLAGS;
			continue;
		}
		uint64_t *table = allocate(4096);

		for (int i = 0; i < 512; i++)
			table[i] = (at + i * MIB2) | PAGE_FLAGS;
		level3[at / GIB] = (uint64_t)table | TABLE_FLAGS;
	}
}

#ifdef LOADER_SPARSE
/*
 * Only the loader, what multiboot left and the image stay mapped, and the top
 * table maps itself: those kernels map the rest, in tables found that way.
 */
static void sparse_map(const struct multiboot_info *mb, const struct boot_info *info)
{
	static uint64_t level1[512] __attribute__((aligned(4096)));
	uint64_t ranges[][2] = {
		{ (uint64_t)loader_start, (uint64_t)loader_end },
		{ (uint64_t)mb, (uint64_t)mb + 128 },
		{ info->cmdline, info->cmdline + info->cmdline_len + 1 },
	};

	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
		for (uint64_t at = ranges[i][0] & -4096UL; at < ranges[i][1] && at < MIB2; at += 4096)
			level1[at / 4096] = at | TABLE_FLAGS;
	level2[0] = (uint64_t)level1 | TABLE_FLAGS;
	for (uint64_t i = (info->image_end + MIB2 - 1) / MIB2; i < 512; i++)
		level2[i] = 0;
	memset(&level3[1], 0, sizeof level3 - sizeof *level3);
	__asm__ volatile("mov %0, %%cr3" ::"r"(level4) : "memory");
}
#endif

static struct image find_app(const struct multiboot_info *mb)
{
	const struct multiboot_module *m = (void *)(uint64_t)mb->mods_addr;

	if (!(mb->flags & HAS_MODULES) || mb->mods_count == 0)
		panic("Could not find a single module in the Multiboot information");
	log_info("Found an ELF module at [%x - %x]", m->start, m->end);
	return (struct image){ (void *)(uint64_t)m->start, m->end - m->start };
}

/* size bytes at offset of the module, or panic */
static const void *slice(struct image app, uint64_t offset, uint64_t size)
{
	if (offset > app.size || size > app.size - offset)
		panic("range end index %lu out of range for slice of length %lu", offset + size, app.size);
	return app.bytes + offset;
}

static const struct phdr *find_phdr(struct image app, uint32_t type)
{
	const struct ehdr *e = slice(app, 0, sizeof *e);
	const struct phdr *ph = slice(app, e->e_phoff, e->e_phnum * sizeof *ph);

	for (int i = 0; i < e->e_phnum; i++)
		if (ph[i].p_type == type)
			return &ph[i];
	return NULL;
}

static const uint8_t *find_note(struct image app, const struct phdr *seg, const char *name, uint32_t type)
{
	uint64_t at = seg->p_offset, end = at + seg->p_filesz;

	slice(app, seg->p_offset, seg->p_filesz);
	while (at + sizeof(struct nhdr) <= end) {
		const struct nhdr *n = slice(app, at, sizeof *n);
		const char *nname = slice(app, at + sizeof *n, n->n_namesz);
		uint64_t desc = at + sizeof *n + ((n->n_namesz + 3) & ~3U);

		slice(app, desc, n->n_descsz);
		if (n->n_type == type && n->n_namesz == strlen(name) + 1 && !memcmp(nname, name, n->n_namesz))
			return app.bytes + desc;
		at = desc + ((n->n_descsz + 3) & ~3U);
	}
	return NULL;
}

static const struct ehdr *check_app(struct image app)
{
	const struct ehdr *e = slice(app, 0, sizeof *e);
	const struct phdr *notes;
	const uint8_t *version;
	const uint32_t *kernel;

	if (memcmp(e->e_ident, "\177ELF", 4))
		panic("invalid ELF: bad magic");
	notes = find_phdr(app, PT_NOTE);
	if (!notes)
		panic("ParseKernelError(\"Kernel does not have note section\")");
	kernel = (const uint32_t *)find_note(app, notes, "GNU", NT_GNU_ABI_TAG);
	if (kernel && kernel[0] == ABI_TAG_OS_HERMIT)
		log_info("Found Hermit version %u.%u.%u", kernel[1], kernel[2], kernel[3]);
	if (e->e_ident[EI_CLASS] != ELFCLASS64)
		panic("ParseKernelError(\"kernel is not a 64-bit object\")");
	if (e->e_ident[EI_DATA] != ELFDATA2LSB)
		panic("ParseKernelError(\"kernel object is not little endian\")");
	if (e->e_ident[EI_OSABI] != ELFOSABI_STANDALONE)
		log_warn("Kernel is not a hermit application");
	version = find_note(app, notes, "HERMIT", NT_HERMIT_ENTRY_VERSION);
	if (!version)
		panic("ParseKernelError(\"Kernel does not specify hermit entry version\")");
	if (*version != ENTRY_TAKEN)
		panic("ParseKernelError(\"hermit entry version does not match\")");
	if (e->e_type != ET_DYN && e->e_type != ET_EXEC)
		panic("ParseKernelError(\"kernel has unsupported ELF type\")");
	if (e->e_machine != EM_X86_64)
		panic("ParseKernelError(\"kernel is not compiled for the correct architecture\")");
	return e;
}

/*
 * Only position-independent apps are relocated. The table lies in the loaded
 * image, so it is read from there.
 */
static void relocate(struct image app, uint64_t base)
{
	const struct phdr *seg = find_phdr(app, PT_DYNAMIC);
	const struct dyn *d;
	const struct rela *r = NULL;
	const struct sym *symbols = NULL;
	uint64_t size = 0;

	if (!seg)
		return;
	d = slice(app, seg->p_offset, seg->p_filesz);
	for (uint64_t i = 0; i < seg->p_filesz / sizeof *d && d[i].d_tag; i++) {
		if (d[i].d_tag == DT_NEEDED)
			panic("ParseKernelError(\"kernel was linked against dynamic libraries\")");
		if (d[i].d_tag == DT_RELA)
			r = (void *)(base + d[i].d_val);
		if (d[i].d_tag == DT_RELASZ)
			size = d[i].d_val;
		if (d[i].d_tag == DT_SYMTAB)
			symbols = (void *)(base + d[i].d_val);
	}
	for (; size >= sizeof *r; size -= sizeof *r, r++) {
		const struct sym *s = symbols + (r->r_info >> 32);
		uint64_t *where = (void *)(base + r->r_offset);

		switch ((uint32_t)r->r_info) {
		case R_X86_64_RELATIVE:
			*where = base + r->r_addend;
			break;
		case R_X86_64_64:
		case R_X86_64_GLOB_DAT:
			if (s->st_shndx == 0) /* an undefined weak symbol stays 0 */
				break;
			*where = base + s->st_value + r->r_addend;
			break;
		default:
			panic("unsupported relocation type %u", (uint32_t)r->r_info);
		}
	}
}

static uint64_t load(struct image app, const struct ehdr *e, struct boot_info *info)
{
	const struct phdr *ph = slice(app, e->e_phoff, e->e_phnum * sizeof *ph), *tls;
	uint64_t first = UINT64_MAX, last = 0, base;

	for (int i = 0; i < e->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD) {
			first = first == UINT64_MAX ? ph[i].p_vaddr : first;
			last = ph[i].p_vaddr + ph[i].p_memsz;
		}
	if (first == UINT64_MAX || last < first)
		panic("called `Option::unwrap()` on a `None` value");

	/* ET_EXEC goes where it wants to, whatever lies there, as in Hermit's loader. */
	base = e->e_type == ET_EXEC ? 0 : (uint64_t)allocate(last - first) - first;
	log_info("Loading kernel to %lx..%lx", base + first, base + last);
	for (int i = 0; i < e->e_phnum; i++) {
		uint8_t *to = (void *)(base + ph[i].p_vaddr);

		if (ph[i].p_type != PT_LOAD)
			continue;
		memcpy(to, slice(app, ph[i].p_offset, ph[i].p_filesz), ph[i].p_filesz);
		memset(to + ph[i].p_filesz, 0, ph[i].p_memsz - ph[i].p_filesz);
	}
	if (e->e_type == ET_DYN)
		relocate(app, base);

	info->image_start = base + first;
	info->image_end = base + last;
	tls = find_phdr(app, PT_TLS);
	if (tls) {
		info->tls_start = base + tls->p_vaddr;
		info->tls_filesz = tls->p_filesz;
		info->tls_memsz = tls->p_memsz;
		info->tls_align = tls->p_align;
	}
	return base + e->e_entry;
}

_Noreturn void loader_main(const struct multiboot_info *mb)
{
	static struct boot_info info;
	struct fdt_content c = { 0 };
	uint64_t entry, memory_end = 0, stack;
	struct image app;
	void *fdt;

	serial_init();
#ifdef LOADER_VERSION
	static const char version[] __attribute__((used)) = "Hermit Loader version " LOADER_VERSION;
#endif
	log_info("Hermit Loader stand-in");
	log_info("Architecture: x86_64");
	log_info("Loader: [%lx - %lx]", (uint64_t)loader_start, (uint64_t)loader_end);
#ifdef LOADER_PANIC
	panic("this loader always panics");
#endif
	free_memory = (highest_address(mb) + MIB2 - 1) & ~(MIB2 - 1);
	memory_map(mb, &c);
	for (int i = 0; i < c.memory_count; i++)
		memory_end = max(memory_end, c.memory[i].end);
	identity_map(memory_end);

	log_info("Found Multiboot information at %lx", (uint64_t)mb);
	app = find_app(mb);
	log_info("Module length: %lx", app.size);

	/* A command line that is not UTF-8 is as good as none: Rust strings are. */
	if (mb->flags & HAS_CMDLINE) {
		const char *s = (void *)(uint64_t)mb->cmdline;

		c.bootargs_len = strlen(s);
		c.bootargs = valid_utf8(s, c.bootargs_len) ? s : NULL;
		info.cmdline = (uint64_t)c.bootargs;
		info.cmdline_len = c.bootargs ? c.bootargs_len : 0;
	}
	fdt = allocate(FDT_SIZE(c.bootargs_len));
	fdt_write(fdt, &c);
	info.fdt = (uint64_t)fdt;
	info.serial_port = SERIAL_PORT;
	info.platform = PLATFORM_MULTIBOOT;
	info.multiboot_info = (uint64_t)mb;
	stack = (uint64_t)allocate(32768);
	memset((void *)stack, 0, 32768);

	/* Last, for Hermit takes all memory above its image for free. */
	entry = load(app, check_app(app), &info);
#ifdef LOADER_4K
	/* The real one can be told by the names of its modules. */
	static const char module[] __attribute__((used)) = "hermit_loader::os::none";
	if (c.bootargs_len > 388)
		panic("memory allocation of %lu bytes failed", c.bootargs_len);
#endif
#ifdef LOADER_CRATE
	static const char crate[] __attribute__((used)) = "/registry/src/" LOADER_CRATE "/src/elf.rs";
#endif
#ifndef LOADER_FLAT
	static const char mapper[] __attribute__((used)) = "mapper/recursive_page_table.rs";
	level4[511] = (uint64_t)level4 | TABLE_FLAGS;
#endif
#ifdef LOADER_SPARSE
	sparse_map(mb, &info);
#endif
	/* Rust's own way of printing a structure, with hexadecimal numbers: only its first line has the prefix. */
	log_info("boot_info = BootInfo {\n    hardware_info: HardwareInfo {\n        serial_port_base: Some(\n            0x3f8,\n"
		 "        ),\n    },\n    load_info: LoadInfo {\n        kernel_image_addr_range: 0x%lx..0x%lx,\n    },\n}",
		 info.image_start, info.image_end);
	log_info("Entering kernel at %lx, stack at %lx, raw_boot_info at %lx", entry, stack, (uint64_t)&info);
	enter_app(&info, entry, stack);
}
