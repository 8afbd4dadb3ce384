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

static void report_links(json_t *links)
{
	const char *path;
	json_t *target;
	json_object_foreach (links, path, target) {
		printf("l %s%cm %s", path, '\0', json_string_value(target));
		putchar('\0');
	}
}

static int report(struct untar *u, const char *hex)
{
	if (u->layer) {
		report_paths('o', u->tree.opaque);
		report_paths('w', u->tree.hiding);
		report_paths('i', u->tree.implied);
		report_links(u->tree.links);
		if (u->tree.root_named)
			printf("r %c", '\0');
	}
	printf("d %s %llu %llu %llu", hex, (unsigned long long)u->stream.bytes,
	       (unsigned long long)u->tree.inodes, (unsigned long long)u->tree.usage);
	putchar('\0');
	return fflush(stdout) == 0 ? 0 : 2;
}

static int unpack(struct untar *u, int recipe, char hex[DIGEST_HEX_LEN + 1], struct err *e)
{
	/* libcrypto reads its configuration at the first use. */
	stream_init(&u->stream, recipe);
	/* Down to the deepest directory, and down again where something is removed. */
	if (confine(CONFINE_FILES, 2 * TREE_DEPTH_MAX + 64, e) < 0 || tree_open(&u->tree, e) < 0)
		return -1;
	u->stream.in = inflate_new(0);
	return untar(u, e) < 0 ? -1 : stream_finish(&u->stream, hex, e);
}

int unpack_main(int argc, char **argv)
{
	static struct untar u; /* too large for a stack */
	struct err e = {.kind = ERR_OK}, read_error = {.kind = ERR_OK};
	char hex[DIGEST_HEX_LEN + 1];
	int recipe = -1;
	u.layer = argc == 5 && strcmp(argv[0], "layer") == 0;
	u.read_error = &read_error;
	if (u.layer)
		recipe = (int)strtol(argv[1], NULL, 10);
	if (argc >= 4) {
		u.stream.max.bytes = strtoull(argv[argc - 3], NULL, 10);
		u.tree.max_inodes = strtoull(argv[argc - 2], NULL, 10);
		u.stream.max.ratio = strtoull(argv[argc - 1], NULL, 10);
	}
	/* So that libarchive passes UTF-8 names through; this locale needs no files. */
	setlocale(LC_CTYPE, "C.UTF-8");
	int status = unpack(&u, recipe, hex, &e) < 0 ? report_error(&e) : report(&u, hex);
	/* Nothing is freed on a failure: the process ends here. */
	if (status == 0)
		untar_release(&u);
	_Exit(status);
}
