/* SPDX-License-Identifier: Apache-2.0 */
/* The unpacking child without its cage: inflating, tar, the tree, the recipe. The root is a directory
 * of its own, whose names cannot lead out as the tree follows links by itself; owners and devices
 * fail or not as the user may, which is all the same here. */
#define NO_ISAL 1
#include "cmd/ocipull/gunzip.c"
#include "cmd/ocipull/inflate.c"
#include "cmd/ocipull/stream.c"
#include "cmd/ocipull/tree.c"
#include "cmd/ocipull/untar.c"

#include <stdint.h>
#include <sys/mman.h>

static int scratch = -1, home = -1;
static char scratch_path[] = "/dev/shm/crisp-fuzz.XXXXXX";

static void clean(void)
{
	struct err e;
	(void)fs_remove_tree(AT_FDCWD, scratch_path, &e);
}

static void set_up(void)
{
	home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (home < 0 || !mkdtemp(scratch_path))
		abort();
	scratch = open(scratch_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (scratch < 0)
		abort();
	umask(0);
	atexit(clean);
}

static void run(struct untar *u, int fd, int recipe)
{
	struct err e, read_error = {.kind = ERR_OK};
	char hex[DIGEST_HEX_LEN + 1];
	memset(u, 0, sizeof *u);
	u->layer = true;
	u->read_error = &read_error;
	u->tree.max_inodes = 300;
	u->stream.max.bytes = 4 << 20;
	u->stream.max.ratio = 500;
	stream_init(&u->stream, recipe);
	if (tree_open(&u->tree, &e) < 0)
		abort();
	u->stream.in = inflate_new(fd);
	bool done = untar(u, &e) == 0 && stream_finish(&u->stream, hex, &e) == 0;
	if (done && u->stream.recipe && u->stream.done != u->stream.bytes)
		abort();
	untar_release(u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct untar u;
	struct err e;
	if (scratch < 0)
		set_up();
	int fd = memfd_create("layer", MFD_CLOEXEC), recipe = memfd_create("recipe", MFD_CLOEXEC);
	if (fd < 0 || recipe < 0 || fs_write_all(fd, data, size, &e) < 0 ||
	    lseek(fd, 0, SEEK_SET) < 0 || mkdirat(scratch, "t", 0755) < 0)
		abort();
	int t = openat(scratch, "t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t < 0 || fchdir(t) < 0)
		abort();
	run(&u, fd, recipe);
	close(t);
	close(fd);
	close(recipe);
	if (fchdir(home) < 0 || fs_remove_tree(scratch, "t", &e) < 0)
		abort();
	return 0;
}
