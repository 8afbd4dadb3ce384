/* SPDX-License-Identifier: Apache-2.0 */
/* A layer's recipe: written by us, but of a hostile archive, and disks err. The first byte says whether
 * the rest is the file as it is, or the records in it. */
#include "libcommon/recipe_read.c"

#include <stdint.h>

static int layer = -1;
static char dir[] = "/tmp/fuzz-recipe.XXXXXX";

static void clean_up(void)
{
	struct err ignored;
	(void)fs_remove_tree(AT_FDCWD, dir, &ignored);
}

static void put(const char *name, const void *data, size_t len)
{
	struct err e;
	int fd = openat(layer, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || fs_write_all(fd, data, len, &e) < 0)
		abort();
	close(fd);
}

static void make_layer(void)
{
	if (!mkdtemp(dir) || (layer = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		abort();
	if (mkdirat(layer, "diff", 0700) < 0 || mkdirat(layer, "diff/d", 0700) < 0 ||
	    symlinkat("/etc/passwd", layer, "diff/s") < 0)
		abort();
	atexit(clean_up);
	put("diff/a", "hello", 5);
	put("diff/d/b", "hello, world", 12);
}

static void on_bad(void *arg, const char *path, const char *why)
{
	size_t *n = arg;
	*n += strlen(path) + strlen(why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char packed[1 << 20];
	struct err e;
	const void *piece;
	ssize_t n = 0;
	size_t told = 0;
	uint64_t sum = 0;
	if (layer < 0)
		make_layer();
	if (size < 1 || size > sizeof packed / 2)
		return 0;
	if (data[0] & 1) {
		size_t len = ZSTD_compress(packed, sizeof packed, data + 1, size - 1, 1);
		put("recipe", packed, len);
	} else {
		put("recipe", data + 1, size - 1);
	}
	struct recipe *r = recipe_open(layer, data[0] & 2 ? on_bad : NULL, &told, &e);
	/* Zeros may take the place of any number of bytes. */
	while (r && sum < 1 << 20 && (n = recipe_next(r, &piece, &e)) > 0) {
		if (n > RECIPE_PIECE_MAX)
			abort();
		sum += (uint64_t)n;
	}
	if (r && n == 0 && sum < 1 << 20 && sum != recipe_size(r))
		abort();
	recipe_close(r);
	return 0;
}
