/* fdt.h: the flattened device tree between loader and app; see fdt.c. */
#ifndef FDT_H
#define FDT_H

#include <stddef.h>
#include <stdint.h>

#define MAX_RANGES 16

struct range {
	uint64_t start, end;
};

/* What the tree says. */
struct fdt_content {
	const char *bootargs; /* NULL if there are none */
	size_t bootargs_len;
	struct range memory[MAX_RANGES];
	int memory_count;
};

/* Bytes that fdt_write needs at most. */
#define FDT_SIZE(bootargs_len) ((bootargs_len) + 4096)

void fdt_write(void *buf, const struct fdt_content *c);
int fdt_read(const void *fdt, struct fdt_content *c); /* 0, or -1 if it is no device tree */

#endif
