/*
 * fdt.c: writes (loader) and reads (app) the device tree that Hermit's loader
 * makes: / { compatible; #address-cells; #size-cells; memory@ADDRESS {
 * device_type; reg }...; chosen { bootargs } }. Devicetree Specification 0.4,
 * chapter 5: big-endian header, reservation map, structure, strings.
 */
#include "fdt.h"
#include "lib.h"

enum { FDT_BEGIN_NODE = 1, FDT_END_NODE = 2, FDT_PROP = 3, FDT_NOP = 4, FDT_END = 9 };
enum { FDT_MAGIC = 0xd00dfeed, HEADER_SIZE = 40, RESERVATIONS_SIZE = 16 };

static const char names[] = "compatible\0#address-cells\0#size-cells\0device_type\0reg\0bootargs";

static uint32_t name_offset(const char *name)
{
	const char *s = names;

	while (strcmp(s, name))
		s += strlen(s) + 1;
	return s - names;
}

static char *put_u32(char *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, 4);
	return p + 4;
}

static char *put_u64(char *p, uint64_t v)
{
	return put_u32(put_u32(p, v >> 32), (uint32_t)v);
}

static char *put_bytes(char *p, const void *data, size_t n)
{
	memcpy(p, data, n);
	for (p += n; n % 4; n++)
		*p++ = 0;
	return p;
}

static char *begin_node(char *p, const char *name)
{
	return put_bytes(put_u32(p, FDT_BEGIN_NODE), name, strlen(name) + 1);
}

static char *property(char *p, const char *name, size_t len)
{
	return put_u32(put_u32(put_u32(p, FDT_PROP), len), name_offset(name));
}

static char *property_string(char *p, const char *name, const char *s, size_t n)
{
	p = property(p, name, n + 1);
	memcpy(p, s, n);
	p[n] = 0;
	for (p += ++n; n % 4; n++)
		*p++ = 0;
	return p;
}

static char *memory_node(char *p, const struct range *r)
{
	char name[24] = "memory@";
	int shift = 60, n = 7;

	while (shift && !(r->start >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		name[n++] = "0123456789abcdef"[r->start >> shift & 15];
	name[n] = 0;
	p = begin_node(p, name);
	p = property_string(p, "device_type", "memory", 6);
	p = put_u64(put_u64(property(p, "reg", 16), r->start), r->end - r->start);
	return put_u32(p, FDT_END_NODE);
}

void fdt_write(void *buf, const struct fdt_content *c)
{
	char *start = buf, *h = buf, *p = start + HEADER_SIZE + RESERVATIONS_SIZE;
	uint32_t structure = p - start, strings;

	memset(start, 0, HEADER_SIZE + RESERVATIONS_SIZE);
	p = begin_node(p, "");
	p = property_string(p, "compatible", "hermit,multiboot", 16);
	p = put_u32(property(p, "#address-cells", 4), 2);
	p = put_u32(property(p, "#size-cells", 4), 2);
	for (int i = 0; i < c->memory_count; i++)
		p = memory_node(p, &c->memory[i]);
	p = begin_node(p, "chosen");
	if (c->bootargs)
		p = property_string(p, "bootargs", c->bootargs, c->bootargs_len);
	p = put_u32(p, FDT_END_NODE);
	p = put_u32(p, FDT_END_NODE);
	p = put_u32(p, FDT_END);
	strings = p - start;
	p = put_bytes(p, names, sizeof names);

	h = put_u32(h, FDT_MAGIC);
	h = put_u32(h, p - start);
	h = put_u32(h, structure);
	h = put_u32(h, strings);
	h = put_u32(h, HEADER_SIZE);
	h = put_u32(h, 17); /* version, and the last one it is compatible with */
	h = put_u32(h, 16);
	h = put_u32(h, 0); /* boot CPU */
	h = put_u32(h, sizeof names);
	put_u32(h, strings - structure);
}

static uint32_t get_u32(const char *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return __builtin_bswap32(v);
}

static uint64_t get_u64(const char *p)
{
	return (uint64_t)get_u32(p) << 32 | get_u32(p + 4);
}

/* Looks at two levels only: properties of the root's children. */
int fdt_read(const void *fdt, struct fdt_content *c)
{
	const char *start = fdt, *p, *strings, *node = "";
	int depth = 0;

	if (!fdt || get_u32(start) != FDT_MAGIC)
		return -1;
	p = start + get_u32(start + 8);
	strings = start + get_u32(start + 12);
	memset(c, 0, sizeof *c);
	for (;;) {
		uint32_t token = get_u32(p);

		p += 4;
		if (token == FDT_BEGIN_NODE) {
			if (++depth == 2)
				node = p;
			p += (strlen(p) + 1 + 3) & ~3UL;
		} else if (token == FDT_END_NODE) {
			depth--;
		} else if (token == FDT_PROP) {
			uint32_t len = get_u32(p);
			const char *name = strings + get_u32(p + 4);

			p += 8;
			if (depth == 2 && !strcmp(node, "chosen") && !strcmp(name, "bootargs") && len) {
				c->bootargs = p;
				c->bootargs_len = len - 1;
			}
			if (depth == 2 && starts_with(node, "memory") && !strcmp(name, "reg"))
				for (uint32_t i = 0; i + 16 <= len && c->memory_count < MAX_RANGES; i += 16) {
					uint64_t at = get_u64(p + i);

					c->memory[c->memory_count++] = (struct range){ at, at + get_u64(p + i + 8) };
				}
			p += (len + 3) & ~3U;
		} else if (token != FDT_NOP) {
			return 0;
		}
	}
}
