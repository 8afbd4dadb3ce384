/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack.h"

#include "confine.h"
#include "untar.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int report_error(const struct err *e)
{
	printf("e %s %s", err_name(e), e->msg);
	putchar('\0');
	return fflush(stdout) == 0 ? 1 : 2;
}

static void report_paths(char letter, json_t *set)
{
	const char *path;
	json_t *ignored;
	json_object_foreach (set, path, ignored) {
		printf("%c %s", letter, path);
		putchar('\0');
	}
}

static int report(struct untar *u)
{
	char hex[DIGEST_HEX_LEN + 1];
	if (u->layer) {
		report_paths('o', u->tree.opaque);
		report_paths('i', u->tree.implied);
	}
	digest_hex(&u->hash, hex);
	printf("d %s %llu", hex, u->bytes);
	putchar('\0');
	return fflush(stdout) == 0 ? 0 : 2;
}

static int unpack(struct untar *u, struct err *e)
{
	/* libcrypto reads its configuration at the first use. */
	digest_init(&u->hash);
	if (confine(CONFINE_FILES, TREE_DEPTH_MAX + 64, e) < 0 || tree_open(&u->tree, e) < 0)
		return -1;
	u->in = inflate_new(0);
	return untar(u, e);
}

int unpack_main(const char *mode)
{
	static struct untar u; /* too large for a stack */
	struct err e = {.kind = ERR_OK}, read_error = {.kind = ERR_OK};
	u.layer = strcmp(mode, "layer") == 0;
	u.read_error = &read_error;
	/* So that libarchive passes UTF-8 names through; this locale needs no files. */
	setlocale(LC_CTYPE, "C.UTF-8");
	int status = unpack(&u, &e) < 0 ? report_error(&e) : report(&u);
	/* Nothing is freed on a failure: the process ends here. */
	if (status == 0)
		untar_release(&u);
	_Exit(status);
}
