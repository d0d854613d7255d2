/* elf.h: the parts of ELF64 that the loader reads (System V gABI, chapter 4-5). */
#ifndef ELF_H
#define ELF_H

#include <stdint.h>

enum {
	EI_CLASS = 4, ELFCLASS64 = 2,
	EI_DATA = 5, ELFDATA2LSB = 1,
	EI_OSABI = 7, ELFOSABI_STANDALONE = 255,
	ET_EXEC = 2, ET_DYN = 3,
	EM_X86_64 = 62,
	PT_LOAD = 1, PT_DYNAMIC = 2, PT_NOTE = 4, PT_TLS = 7,
	DT_NEEDED = 1, DT_SYMTAB = 6, DT_RELA = 7, DT_RELASZ = 8,
	R_X86_64_64 = 1, R_X86_64_GLOB_DAT = 6, R_X86_64_RELATIVE = 8,
	NT_GNU_ABI_TAG = 1, NT_HERMIT_ENTRY_VERSION = 0x5a00,
	ABI_TAG_OS_HERMIT = 6,
};

struct ehdr {
	uint8_t e_ident[16];
	uint16_t e_type, e_machine;
	uint32_t e_version;
	uint64_t e_entry, e_phoff, e_shoff;
	uint32_t e_flags;
	uint16_t e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx;
};

struct phdr {
	uint32_t p_type, p_flags;
	uint64_t p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align;
};

struct nhdr {
	uint32_t n_namesz, n_descsz, n_type;
};

struct dyn {
	uint64_t d_tag, d_val;
};

struct rela {
	uint64_t r_offset, r_info;
	int64_t r_addend;
};

struct sym {
	uint32_t st_name;
	uint8_t st_info, st_other;
	uint16_t st_shndx;
	uint64_t st_value, st_size;
};

#endif
