/* SPDX-License-Identifier: Apache-2.0 */
#include "podmanifest.h"

#include "auto.h"
#include "buf.h"
#include "xalloc.h"

#include <string.h>

/* More than any command line can carry. */
enum { EXPANDED_MAX = 4 << 20 };

/* What stands after a "$": "$" is one dollar, "(NAME)" the variable, and when there is none of that
 * name, the text as it was; anything else is itself. Returns what it has taken of s. */
static size_t expand_one(const char *s, const json_t *vars, struct buf *out, struct err *e)
{
	const char *close = *s == '(' ? strchr(s, ')') : NULL;
	if (*s == '$') {
		(void)buf_add(out, "$", 1, e);
		return 1;
	}
	if (!close) {
		(void)buf_add(out, "$", 1, e);
		(void)buf_add(out, s, *s != '\0', e);
		return *s != '\0';
	}
	AUTO_FREE char *name = xstrndup(s + 1, (size_t)(close - s - 1));
	const char *value = json_string_value(json_object_get(vars, name));
	if (value)
		(void)buf_addstr(out, value, e);
	else
		(void)buf_addf(out, e, "$(%s)", name);
	return (size_t)(close - s) + 1;
}

char *expand(const char *s, const json_t *vars)
{
	AUTO_BUF struct buf out = BUF_INIT(EXPANDED_MAX);
	struct err
		full; /* beyond the bound the rest is cut off; the caller's own bounds are smaller */
	while (*s) {
		size_t plain = strcspn(s, "$");
		(void)buf_add(&out, s, plain, &full);
		s += plain;
		if (*s)
			s += 1 + expand_one(s + 1, vars, &out, &full);
	}
	return buf_take(&out);
}
