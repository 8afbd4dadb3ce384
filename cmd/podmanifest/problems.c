/* SPDX-License-Identifier: Apache-2.0 */
#include "podmanifest.h"

#include "auto.h"
#include "jsonx.h"
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void problem(struct pm *p, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	json_t *j = json_string(text);
	/* A text that was cut within a character; its path is ASCII. */
	if (!j) {
		for (char *c = text; *c; c++)
			*c = (char)((unsigned char)*c < 0x80 ? *c : '?');
		j = json_string(text);
	}
	if (!jsonx_has_string(p->problems, text))
		json_array_append(p->problems, j);
	json_decref(j);
}

/* One error with all of them, as far as it has room; or a warning each. */
int problems_settle(struct pm *p, struct err *e)
{
	size_t i, n = json_array_size(p->problems);
	json_t *one;
	if (n == 0)
		return 0;
	if (p->o->lenient) {
		json_array_foreach (p->problems, i, one)
			log_warn("%s: %s", p->what, json_string_value(one));
		json_array_clear(p->problems);
		return 0;
	}
	char text[700];
	size_t len = 0;
	json_array_foreach (p->problems, i, one) {
		const char *s = json_string_value(one);
		size_t room = sizeof text - len;
		if (i && strlen(s) + 40 > room) {
			snprintf(text + len, room, "; and %zu more", n - i);
			break;
		}
		int k = snprintf(text + len, room, "%s%s", i ? "; " : "", s);
		len += (size_t)k < room ? (size_t)k : room - 1;
	}
	return err_set(e, ERR_UNSUPPORTED, "%s: %s (--lenient goes on without)", p->what, text);
}

int spend(struct pm *p, size_t bytes, const char *path, struct err *e)
{
	enum { SPENT_MAX = 64 << 20 };
	p->spent += bytes;
	return p->spent <= SPENT_MAX ? 0
				     : err_set(e, ERR_EXHAUSTED,
					       "%s: %s: the manifest becomes more than %d bytes",
					       p->what, path, SPENT_MAX);
}

const char *str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

bool flag(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

bool is_sidecar(const json_t *container)
{
	return strcmp(str(container, "restartPolicy"), "Always") == 0;
}

size_t containers_count(const struct pm *p)
{
	return json_array_size(json_object_get(p->spec, "initContainers")) +
	       json_array_size(json_object_get(p->spec, "containers"));
}

json_t *container_at(const struct pm *p, size_t i, bool *init)
{
	json_t *first = json_object_get(p->spec, "initContainers");
	size_t n = json_array_size(first);
	*init = i < n;
	return i < n ? json_array_get(first, i)
		     : json_array_get(json_object_get(p->spec, "containers"), i - n);
}
