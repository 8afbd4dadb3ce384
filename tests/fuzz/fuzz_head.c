/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a streaming request: first in crispd, which looks for its token, then in ctrstream,
 * which takes it apart and answers. The first byte says for which kind of session. */
#include "adapter/heads.c"
#include "adapter/streaming.c"
#define parse http_parse
#define header http_header
#include "cmd/ctrstream/http.c"
#include "cmd/ctrstream/sha1.c"

size_t jobs_argv(const struct jobs *jobs, const char *tool, const char **argv)
{
	(void)jobs;
	argv[0] = tool;
	return 1;
}

const char *const *jobs_env(struct jobs *jobs, const char *req, bool proxy)
{
	(void)jobs;
	(void)req;
	(void)proxy;
	return NULL;
}

static const char token[] = "0123456789abcdef0123456789abcdef";

static void look_for_token(const uint8_t *data, size_t size)
{
	struct token *t = xcalloc(1, sizeof *t);
	struct streaming s = {.tokens = t, .n_tokens = 1};
	struct head *h = xcalloc(1, sizeof *h);
	size_t len;
	h->len = size < sizeof h->data ? size : sizeof h->data - 1;
	memcpy(h->data, data, h->len);
	memcpy(t->text, token, sizeof token);
	t->due_ms = INT64_MAX;
	(void)head_asks(h, "/metrics");
	/* Only the whole token finds it. */
	if (find_token(&s, head_data(h, &len)) && (!strstr(h->data, token) || s.n_tokens))
		abort();
	token_free(t);
	free(h);
}

static void answer_it(const uint8_t *data, size_t size, enum work work)
{
	struct upgrade u;
	struct err e;
	AUTO_BUF struct buf b = BUF_INIT(8192);
	char *head = xmalloc(size + 1);
	memcpy(head, data, size);
	head[size] = '\0';
	int r = http_upgrade(head, size, work, &u, &b, &e);
	if (r == 0)
		r = http_accept(&u, &b, &e);
	/* Something is always said, and it is one head, whatever was in the request. */
	if (!b.len || strncmp(b.data, r == 0 ? "HTTP/1.1 101 " : "HTTP/1.1 4", 10) != 0 ||
	    !memmem(b.data, b.len, "\r\n\r\n", 4))
		abort();
	if (u.protocol && (u.version < 0 || u.version > 5))
		abort();
	free(head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > (16 << 10))
		return 0;
	look_for_token(data + 1, size - 1);
	answer_it(data + 1, size - 1, (enum work)(data[0] % 3));
	return 0;
}
