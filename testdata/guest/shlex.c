/*
 * shlex.c: splits the boot arguments into words as a POSIX shell would, with
 * the rules of the Rust crate that Hermit's kernel uses:
 *  - words end at space, tab and newline (not at CR);
 *  - '#' where a word would start begins a comment up to the newline;
 *  - '...' is literal; in "..." a backslash quotes only $ ` " \ and newline;
 *    elsewhere it quotes anything; backslash-newline vanishes;
 *  - an unbalanced quote, or a backslash as the last byte, loses that word and
 *    so everything after it, without a word of complaint.
 * Unquoting never makes a word longer, so the words are written over the input.
 */
#include <stdbool.h>

#include "shlex.h"

/* Each reads up to its closing quote and returns where its output ended, or NULL. */
static char *single_quoted(struct shlex *l, char *out)
{
	while (l->in < l->end) {
		char c = *l->in++;

		if (c == '\'')
			return out;
		*out++ = c;
	}
	return NULL;
}

static char *double_quoted(struct shlex *l, char *out)
{
	while (l->in < l->end) {
		char c = *l->in++;

		if (c == '"')
			return out;
		if (c == '\\') {
			if (l->in == l->end)
				return NULL;
			c = *l->in++;
			if (c == '\n')
				continue;
			if (c != '$' && c != '`' && c != '"' && c != '\\')
				*out++ = '\\';
		}
		*out++ = c;
	}
	return NULL;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n';
}

char *shlex_next(struct shlex *l)
{
	char *word, *out;

	for (;; l->in++) {
		if (l->in == l->end)
			return NULL;
		if (*l->in == '#') {
			while (l->in < l->end && *l->in != '\n')
				l->in++;
			if (l->in == l->end)
				return NULL;
		} else if (!is_space(*l->in)) {
			break;
		}
	}

	word = out = l->in;
	while (l->in < l->end) {
		char c = *l->in++;

		if (is_space(c)) {
			*out = 0;
			return word;
		}
		if (c == '\'') {
			out = single_quoted(l, out);
		} else if (c == '"') {
			out = double_quoted(l, out);
		} else if (c == '\\') {
			if (l->in == l->end)
				out = NULL;
			else if ((c = *l->in++) != '\n')
				*out++ = c;
		} else {
			*out++ = c;
		}
		if (!out) {
			l->in = l->end;
			return NULL;
		}
	}
	*out = 0; /* at most at l->end, which the caller keeps a byte for */
	return word;
}
