/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "imgmount.h"
#include "jsonx.h"
#include "ocistore.h"
#include "overlay.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* <sys/mount.h> and <linux/mount.h> define the same names in Debian 12's glibc. */
int umount2(const char *target, int flags);
enum { UNMOUNT_DETACH = 2, UNMOUNT_NOFOLLOW = 8, LOCK_MS = 30000 };

static bool umount_lazy;
const struct opt umount_opts[] = {
	{"lazy", 'l', OPT_FLAG, &umount_lazy, NULL, "also while its files are in use"},
	{.name = NULL},
};

static int print_mount(void *arg, const struct imgmount *m, struct err *e)
{
	const struct tool_ctx *c = arg;
	(void)e;
	if (!m->live || !*m->image)
		return 0;
	if (!c->json) {
		printf("%.12s %s%s\n", m->image + 7, m->dir,
		       m->here ? "" : " (in another mount namespace)");
		return 0;
	}
	AUTO_JSON json_t *j =
		json_pack("{s:s, s:s, s:b}", "id", m->image, "dir", m->dir, "here", (int)m->here);
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	return 0;
}

/* Where it goes: `dir` without symlinks, or a directory of ours. */
static int choose_dir(const struct tool_ctx *c, const char *dir, struct imgmount *m, struct err *e)
{
	m->own_dir = !dir;
	if (dir) {
		AUTO_FREE char *real = realpath(dir, NULL);
		struct stat st;
		if (!real || stat(real, &st) < 0)
			return err_sys(e, "%.300s", dir);
		if (!S_ISDIR(st.st_mode))
			return err_set(e, ERR_BAD_INPUT, "%.300s: not a directory", dir);
		snprintf(m->dir, sizeof m->dir, "%s", real);
	} else {
		AUTO_FREE char *run = realpath(c->st.run_path, NULL);
		int n = run ? snprintf(m->dir, sizeof m->dir, "%s/mounts/%s", run, m->image + 7)
			    : -1;
		if (n < 0 || (size_t)n >= sizeof m->dir)
			return err_set(e, ERR_BAD_INPUT, "path too long: %s", c->st.run_path);
	}
	imgmount_key(m->dir, m->key);
	return 0;
}

/* What was found for a directory. */
struct search {
	const char *key;
	struct imgmount found;
};

static int match_key(void *arg, const struct imgmount *m, struct err *e)
{
	struct search *q = arg;
	(void)e;
	if (strcmp(m->key, q->key) != 0)
		return 0;
	q->found = *m;
	return 1;
}

static int make_own_dir(const struct tool_ctx *c, const struct imgmount *m, struct err *e)
{
	char path[80];
	snprintf(path, sizeof path, "mounts/%s", m->image + 7);
	if (m->own_dir && mkdirat(c->st.run, path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "mkdir %s", m->dir);
	return 0;
}

/* Never a device, never a set-user-id program: what is in an image is not to be trusted, and the
 * directory may be one that everybody can enter. */
static int restrict_and_place(int fd, const char *dir, struct err *e)
{
	struct mount_attr attr = {.attr_set =
					  MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
	if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
		return err_sys(e, "make the mount read-only");
	if (dir && syscall(SYS_move_mount, fd, "", AT_FDCWD, dir, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(e, "mount at %s", dir);
	return 0;
}

static int mount_layers(const json_t *lower, const char *dir, struct err *e)
{
	const char *place = dir;
	AUTO_CLOSE int fd = overlay_mount(lower, NULL, NULL, NULL, e);
	/* Kernels before 6.8 take no more than one layer that way; they place it at once. */
	if (fd < 0 && e->kind == ERR_UNSUPPORTED) {
		fd = overlay_mount(lower, NULL, NULL, dir, e);
		place = NULL;
	}
	if (fd < 0)
		return -1;
	if (restrict_and_place(fd, place, e) == 0)
		return 0;
	if (!place)
		(void)umount2(dir, UNMOUNT_DETACH | UNMOUNT_NOFOLLOW);
	return -1;
}

/* The lock is held from resolving the image until it is mounted: the record of a mount that is not
 * there yet is nobody's to judge. */
static int mount_image(struct tool_ctx *c, const char *typed, const char *dir, struct err *e)
{
	struct imgmount m = {.live = false};
	struct search q = {.key = m.key};
	struct err ignored;
	AUTO_IMAGE struct image img = {.meta = NULL};
	AUTO_CLOSE int lock = image_store_lock(&c->st, LOCK_MS, e);
	if (lock < 0 || image_resolve(&c->st, typed, m.image, e) < 0 ||
	    image_open(&c->st, m.image, false, &img, e) < 0 || choose_dir(c, dir, &m, e) < 0)
		return -1;
	int known = imgmount_each(&c->st, match_key, &q, e);
	if (known < 0)
		return -1;
	if (known > 0 && q.found.live && strcmp(q.found.image, m.image) == 0 && q.found.here) {
		puts(m.dir);
		return 0;
	}
	if (known > 0 && q.found.live)
		return err_set(e, ERR_EXISTS, "%.300s: an image is mounted there already", m.dir);
	AUTO_JSON json_t *lower = image_lowerdirs(&c->st, &img, e);
	if (!lower)
		return -1;
	if (c->dry_run) {
		printf("would mount %s at %s\n", m.image, m.dir);
		return 0;
	}
	if (imgmount_record(&c->st, &m, e) < 0)
		return -1;
	if (make_own_dir(c, &m, e) < 0 || mount_layers(lower, m.dir, e) < 0) {
		(void)imgmount_forget(&c->st, &m, &ignored);
		return -1;
	}
	puts(m.dir);
	return 0;
}

int store_mount(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	if (argc == 0)
		return imgmount_each(&c->st, print_mount, c, e);
	return mount_image(c, argv[0], argc > 1 ? argv[1] : NULL, e);
}

/* What `umount` was told to unmount. */
struct target {
	struct tool_ctx *c;
	char image[IMAGE_ID_SIZE]; /* "" = by directory */
	char key[DIGEST_HEX_LEN + 1];
	int done;
};

static int unmount(void *arg, const struct imgmount *m, struct err *e)
{
	struct target *t = arg;
	int flags = UNMOUNT_NOFOLLOW | (umount_lazy ? UNMOUNT_DETACH : 0);
	if (*t->image ? strcmp(m->image, t->image) != 0 : strcmp(m->key, t->key) != 0)
		return 0;
	t->done++;
	if (t->c->dry_run) {
		printf("would unmount %s\n", m->dir);
		return 0;
	}
	if (m->live && !m->here)
		return err_set(
			e, ERR_BAD_STATE,
			"%.300s: mounted in another mount namespace, in which a process lives",
			m->dir);
	if (m->here && umount2(m->dir, flags) < 0 && errno != EINVAL)
		return errno == EBUSY
			       ? err_set(e, ERR_BAD_STATE, "%.300s: its files are in use", m->dir)
			       : err_sys(e, "unmount %.300s", m->dir);
	return imgmount_forget(&t->c->st, m, e);
}

static int umount_one(struct tool_ctx *c, const char *typed, struct err *e)
{
	struct target t = {.c = c};
	AUTO_CLOSE int lock = image_store_lock(&c->st, LOCK_MS, e);
	if (lock < 0)
		return -1;
	if (!c->dry_run)
		imgmount_sweep(&c->st);
	AUTO_FREE char *real = strchr(typed, '/') ? realpath(typed, NULL) : NULL;
	if (real) {
		imgmount_key(real, t.key);
		if (imgmount_each(&c->st, unmount, &t, e) < 0)
			return -1;
	}
	/* No mount of ours at such a path: an image, then. One that was removed has its id still. */
	if (t.done == 0) {
		const char *hex = strncmp(typed, "sha256:", 7) == 0 ? typed + 7 : typed;
		if (digest_is_hex(hex))
			snprintf(t.image, sizeof t.image, "sha256:%s", hex);
		else if (image_resolve(&c->st, typed, t.image, e) < 0)
			return e->kind == ERR_NOT_FOUND || real ? 0 : -1;
		if (imgmount_each(&c->st, unmount, &t, e) < 0)
			return -1;
	}
	return 0;
}

int store_umount(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	for (int i = 0; i < argc; i++)
		if (umount_one(c, argv[i], e) < 0)
			return -1;
	return 0;
}
