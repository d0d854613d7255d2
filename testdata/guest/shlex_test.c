/* shlex_test.c: run on the host by `make check`. */
#include <stdio.h>
#include <string.h>

#include "shlex.h"

static const struct {
	const char *in;
	const char *want; /* the words, each followed by '|' */
} cases[] = {
	{ "", "" },
	{ " \t\n", "" },
	{ "a b  c", "a|b|c|" },
	{ "'' \"\"", "||" },
	{ "'a b' c", "a b|c|" },
	{ "'it'\\''s'", "it's|" },
	{ "\"a\\$b\\`c\\\"d\\\\e\\f\"", "a$b`c\"d\\e\\f|" },
	{ "'new\nline' \"and\nhere\"", "new\nline|and\nhere|" },
	{ "a\\ b \\# c\\\nd", "a b|#|cd|" },
	{ "\"x\\\ny\"", "xy|" },
	{ "a #b 'c\nd", "a|d|" },
	{ "a#b", "a#b|" },
	{ "#only", "" },
	{ "# one\n# two\nx", "x|" },
	{ "a 'b c", "a|" },
	{ "a \"b c", "a|" },
	{ "a b\"c d' e", "a|" },
	{ "a \\", "a|" },
	{ "a \"b\\", "a|" },
	{ "a\rb", "a\rb|" },
	{ "gr\xc3\xbc\xc3\x9f 'stra\xc3\x9f e'", "gr\xc3\xbc\xc3\x9f|stra\xc3\x9f e|" },
	{ "-- 'env=K=V w' k=v", "--|env=K=V w|k=v|" },
};

int main(void)
{
	int failed = 0;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char buf[256], got[256] = "", *word;
		struct shlex l = { buf, buf + strlen(cases[i].in) };

		strcpy(buf, cases[i].in);
		while ((word = shlex_next(&l)))
			strcat(strcat(got, word), "|");
		if (strcmp(got, cases[i].want)) {
			printf("shlex: %s: got %s, want %s\n", cases[i].in, got, cases[i].want);
			failed = 1;
		}
	}
	return failed;
}
