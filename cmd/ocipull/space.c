/* SPDX-License-Identifier: Apache-2.0 */
#include "space.h"

#include "proc.h"

#include <string.h>
#include <sys/statvfs.h>

enum { EVERY_MS = 10, FACTOR = 2 };

long long space_estimate(const struct descriptor *d)
{
	const char *t = d->media_type;
	size_t n = strlen(t);
	bool plain = n > 4 && strcmp(t + n - 4, ".tar") == 0;
	return d->size * (plain ? 1 : FACTOR);
}

static double mb(unsigned long long n)
{
	return (double)n / 1e6;
}

static int look(const struct space *s, long long need, struct err *e)
{
	struct statvfs v;
	if (fstatvfs(s->root, &v) < 0)
		return err_sys(e, "statvfs %s", s->cfg->root);
	unsigned long long bytes = (unsigned long long)v.f_bavail * v.f_frsize;
	unsigned long long keep = (unsigned long long)s->cfg->min_free_bytes;
	if (bytes < keep + (unsigned long long)need)
		return err_set(e, ERR_EXHAUSTED,
			       "not enough space in %s: %.1f MB needed (%.1f MB for layers, %.1f "
			       "MB stay free), %.1f MB free",
			       s->cfg->root, mb((unsigned long long)need + keep),
			       mb((unsigned long long)need), mb(keep), mb(bytes));
	/* Some file systems make inodes as they are needed and tell of none. */
	if (v.f_files > 0 && v.f_favail < (fsfilcnt_t)s->cfg->min_free_inodes)
		return err_set(e, ERR_EXHAUSTED,
			       "not enough inodes in %s: %lld stay free, %llu are free",
			       s->cfg->root, (long long)s->cfg->min_free_inodes,
			       (unsigned long long)v.f_favail);
	return 0;
}

int space_begin(struct space *s, int root, const struct config *cfg, long long need, struct err *e)
{
	*s = (struct space){.root = root, .cfg = cfg, .checked_ms = proc_now_ms()};
	return need > 0 ? look(s, need, e) : 0;
}

int space_check(struct space *s, struct err *e)
{
	long long now = proc_now_ms();
	if (now - s->checked_ms < EVERY_MS)
		return 0;
	s->checked_ms = now;
	return look(s, 0, e);
}
