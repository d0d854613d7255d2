/* shlex.h: see shlex.c. */
#ifndef SHLEX_H
#define SHLEX_H

#include <stddef.h>

struct shlex {
	char *in, *end; /* what is still to be read */
};

/* The next word, NUL-terminated, in place of what was read; NULL at the end. */
char *shlex_next(struct shlex *l);

#endif
