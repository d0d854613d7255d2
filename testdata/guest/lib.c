/*
 * lib.c: memory and string functions, numbers and a small printf for code
 * that has no C library under it. gcc may call the mem* functions by itself.
 */
#include "lib.h"

void *memcpy(void *dst, const void *src, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n)::"memory");
	return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
	char *d = dst;
	const char *s = src;

	if (d <= s || d >= s + n)
		return memcpy(dst, src, n);
	while (n--)
		d[n] = s[n];
	return dst;
}

void *memset(void *dst, int c, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return (uint8_t)*a - (uint8_t)*b;
}

bool starts_with(const char *s, const char *prefix)
{
	return memcmp(s, prefix, strlen(prefix)) == 0;
}

char *find_char(const char *s, char c)
{
	for (; *s; s++)
		if (*s == c)
			return (char *)s;
	return NULL;
}

bool parse_int(const char *s, long *out)
{
	bool neg = *s == '-';
	long v = 0;

	if (*s == '-' || *s == '+')
		s++;
	if (!*s)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9' || v > 1L << 40)
			return false;
		v = v * 10 + (*s - '0');
	}
	*out = neg ? -v : v;
	return true;
}

/* RFC 3629, so no surrogates and no overlong forms. */
bool valid_utf8(const char *str, size_t n)
{
	const uint8_t *s = (const uint8_t *)str;
	size_t i = 0;

	while (i < n) {
		uint32_t c = s[i++], min;
		int more;

		if (c < 0x80)
			continue;
		else if (c >= 0xc2 && c < 0xe0)
			more = 1, min = 0x80, c &= 0x1f;
		else if (c >= 0xe0 && c < 0xf0)
			more = 2, min = 0x800, c &= 0x0f;
		else if (c >= 0xf0 && c < 0xf5)
			more = 3, min = 0x10000, c &= 0x07;
		else
			return false;
		for (; more; more--, i++) {
			if (i >= n || (s[i] & 0xc0) != 0x80)
				return false;
			c = c << 6 | (s[i] & 0x3f);
		}
		if (c < min || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
			return false;
	}
	return true;
}

static void put_padded(void (*put)(const char *, size_t), const char *s, size_t n, int width, bool left, char pad)
{
	if (left)
		put(s, n);
	for (int i = (int)n; i < width; i++)
		put(&pad, 1);
	if (!left)
		put(s, n);
}

void format(void (*put)(const char *, size_t), const char *fmt, va_list ap)
{
	while (*fmt) {
		const char *start = fmt;
		char digits[24], pad = ' ';
		int width = 0, n = 0, base = 10;
		bool left = false, wide = false, neg = false;
		uint64_t v = 0;

		while (*fmt && *fmt != '%')
			fmt++;
		if (fmt != start)
			put(start, fmt - start);
		if (!*fmt)
			return;
		fmt++;
		if (*fmt == '-')
			left = true, fmt++;
		if (*fmt == '0')
			pad = '0', fmt++;
		while (*fmt >= '0' && *fmt <= '9')
			width = width * 10 + *fmt++ - '0';
		if (*fmt == 'l')
			wide = true, fmt++;
		switch (*fmt++) {
		case 's': {
			const char *s = va_arg(ap, const char *);
			put_padded(put, s, strlen(s), width, left, pad);
			continue;
		}
		case 'c': {
			char c = (char)va_arg(ap, int);
			put(&c, 1);
			continue;
		}
		case 'd': {
			int64_t d = wide ? va_arg(ap, int64_t) : va_arg(ap, int);
			neg = d < 0;
			v = neg ? -(uint64_t)d : (uint64_t)d;
			break;
		}
		case 'x':
			base = 16; /* fall through */
		case 'u':
			v = wide ? va_arg(ap, uint64_t) : va_arg(ap, unsigned);
			break;
		case '%':
			put("%", 1);
			continue;
		default:
			return;
		}
		do
			digits[sizeof digits - ++n] = "0123456789abcdef"[v % base];
		while (v /= base);
		if (neg)
			digits[sizeof digits - ++n] = '-';
		put_padded(put, digits + sizeof digits - n, n, width, left, pad);
	}
}
