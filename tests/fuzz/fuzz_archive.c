/* SPDX-License-Identifier: Apache-2.0 */
/* The archive of podreplay: compressed, and as the tar stream that is in it, whose digests no fuzzer would
 * find. What is taken has a name of the layout, comes once, and is as long as it said. */
#include "cmd/podreplay/archive.h"

#include "buf.h"
#include "jsonx.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { INDEX_MAX = 1 << 20 };

struct taken {
	char last[ARC_PATH_MAX];
	unsigned long long left;
	size_t count;
	struct buf index;
	int in_index;
};

static int begin(void *arg, const char *path, unsigned long long size, struct err *e)
{
	struct taken *t = arg;
	(void)e;
	if (t->left)
		abort();
	if (t->count++ == 0 ? strcmp(path, "SHA256SUMS") != 0
			    : !arc_path_is_valid(path) || strcmp(t->last, path) >= 0)
		abort();
	if (t->count > 1)
		memcpy(t->last, path, strlen(path) + 1);
	t->in_index = strcmp(path, "podreplay.json") == 0;
	t->left = size;
	return 0;
}

static int data(void *arg, const void *bytes, size_t len, struct err *e)
{
	struct taken *t = arg;
	struct err ignored;
	(void)e;
	if (len > t->left)
		abort();
	t->left -= len;
	if (t->in_index)
		(void)buf_add(&t->index, bytes, len, &ignored);
	return 0;
}

static int end(void *arg, struct err *e)
{
	const struct taken *t = arg;
	(void)e;
	if (t->left)
		abort();
	return 0;
}

struct plain {
	const uint8_t *data;
	size_t len;
};

static long next(void *arg, const void **block, struct err *e)
{
	struct plain *p = arg;
	size_t n = p->len < 1000 ? p->len : 1000;
	(void)e;
	*block = p->data;
	p->data += n;
	p->len -= n;
	return (long)n;
}

static void parse(const struct arc_input *in)
{
	struct err e = {.kind = ERR_OK};
	struct taken t = {.index = BUF_INIT(INDEX_MAX)};
	struct arc_sink out = {begin, data, end, &t};
	char pod[ID_SIZE];
	if (arc_parse(in, &out, &e) < 0 && (e.kind == ERR_OK || !*e.msg))
		abort();
	AUTO_JSON json_t *j =
		t.index.len ? jsonx_parse(t.index.data, t.index.len, "index", &e) : NULL;
	if (j && arc_check_index(j, pod, &e) == 0 && !id_is_valid(pod))
		abort();
	buf_release(&t.index);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct plain p = {bytes, size};
	struct arc_unzstd *z = arc_unzstd_new(-1, bytes, size);
	parse(&(struct arc_input){.next = arc_unzstd_next, .arg = z});
	arc_unzstd_free(z);
	parse(&(struct arc_input){.next = next, .arg = &p, .unsummed = true});
	return 0;
}
