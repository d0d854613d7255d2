/*
 * lib.h: what a C library would otherwise give: port I/O, memory and string
 * functions, the UART and a small printf. Shared by the loader and the app.
 */
#ifndef LIB_H
#define LIB_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void outb(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port)); }
static inline uint16_t inw(uint16_t port) { uint16_t v; __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline void outw(uint16_t port, uint16_t v) { __asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port)); }
static inline void outl(uint16_t port, uint32_t v) { __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port)); }

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;
	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t v;
	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

/* lib.c */
void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
bool starts_with(const char *s, const char *prefix);
char *find_char(const char *s, char c);        /* NULL if s does not hold c */
bool parse_int(const char *s, long *out);      /* decimal with optional sign, all of s */
bool valid_utf8(const char *s, size_t n);

/*
 * format knows %s, %c, %d, %ld, %u, %lu, %x, %lx and %%, a field width, '0' and '-';
 * it calls put with the pieces in order.
 */
void format(void (*put)(const char *, size_t), const char *fmt, va_list ap);

/* serial.c: COM1, polled. Bytes go out as they are: '\n' gets no '\r'. */
#define SERIAL_PORT 0x3f8
void serial_init(void);
void serial_reset(void);
void serial_write(const char *s, size_t n);
int serial_read(void); /* a byte, or -1 if none has arrived */

#endif
