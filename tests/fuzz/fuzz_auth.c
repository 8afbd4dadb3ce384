/* SPDX-License-Identifier: Apache-2.0 */
/* What a registry, a token server, a credential helper and the node's files may say on credentials:
 * the first byte chooses which reader gets the rest. */
#include "cmd/ocipull/auth.c"
#include "cmd/ocipull/headers.c"

#include <stdint.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_headers(const char *text)
{
	struct challenge c;
	long long from, to, total;
	challenge_parse(&c, text);
	if (!c.bearer && (*c.realm || *c.service || *c.scope))
		abort();
	if (strlen(c.realm) >= sizeof c.realm || strlen(c.service) >= sizeof c.service ||
	    strlen(c.scope) >= sizeof c.scope)
		abort();
	long wait = retry_after_parse(text, 1000000000);
	if (wait < 0 || wait > RETRY_AFTER_MOST)
		abort();
	if (content_range_parse(text, &from, &to, &total) == 0 &&
	    (from < 0 || to < from || (total != -1 && total <= to)))
		abort();
	AUTO_FREE char *line = xstrdup(text);
	one_line(line);
	if (strpbrk(line, "\r\n\t\033"))
		abort();
}

/* Nothing that is found may break a header. */
static void check_auth(struct auth *a)
{
	const char *const all[] = {a->user, a->password, a->identity, a->token};
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (all[i] && strpbrk(all[i], "\r\n"))
			abort();
	if (a->user && strcmp(a->user, "<token>") == 0)
		abort();
	auth_release(a);
}

static void find(const struct auth_store *s)
{
	static const char *const hosts[] = {"docker.io", "r.io", "[::1]:5000"};
	struct auth a;
	struct err e;
	const char *helper;
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		if (auth_find(s, hosts[i], "a/b", &a, &helper, &e) == 0)
			check_auth(&a);
		else
			auth_release(&a);
		if (helper && auth_helper_name_is_good(helper) && strchr(helper, '/'))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct auth a = {.user = NULL};
	struct err e;
	if (size == 0)
		return 0;
	const char *rest = (const char *)data + 1;
	AUTO_FREE char *text = strndup(rest, size - 1);
	if (data[0] == 'H') {
		check_headers(text);
		return 0;
	}
	if (data[0] == 'S') {
		if (auth_from_helper(&a, rest, size - 1, "helper", &e) == 0)
			check_auth(&a);
		else
			auth_release(&a);
		return 0;
	}
	AUTO_JSON json_t *j = jsonx_parse(rest, size - 1, "credentials", &e);
	struct auth_store s = {.cri = data[0] == 'C' ? j : NULL,
			       .file = data[0] == 'C' ? NULL : j,
			       .image_host = "r.io"};
	if (j)
		find(&s);
	return 0;
}
