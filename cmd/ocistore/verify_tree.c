/* SPDX-License-Identifier: Apache-2.0 */
/* A directory against what its layer says of it. */
#include "auto.h"
#include "fs.h"
#include "layerattr.h"
#include "recipe.h"
#include "verify.h"
#include "xalloc.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

enum { NAMES_MAX = 65536, READ_SIZE = 1 << 16 };

#define OPAQUE "trusted.overlay.opaque"

struct answer {
	struct fact f;
	char name[PATH_MAX], target[PATH_MAX], link[PATH_MAX];
	char *xattrs;
};

struct walk {
	struct verify *v;
	int diff;
	FILE *in;
	struct answer a;
	char path[2 * PATH_MAX]; /* of the entry at hand */
	/* The directory at hand; fd -1: it is not there, which has been told. */
	int fd;
	char dir[PATH_MAX];
	char **names; /* what is in it */
	size_t count, next;
};

__attribute__((format(printf, 2, 3))) static void tell(struct walk *w, const char *fmt, ...)
{
	char why[2 * PATH_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	verify_file_fault(w->v, w->path, why);
}

static void entry_path(struct walk *w, const char *name)
{
	snprintf(w->path, sizeof w->path, "%s%s%s", w->dir, *w->dir ? "/" : "", name);
}

static void leave_dir(struct walk *w)
{
	struct stat st;
	for (; w->next < w->count; w->next++) {
		entry_path(w, w->names[w->next]);
		if (fstatat(w->fd, w->names[w->next], &st, AT_SYMLINK_NOFOLLOW) == 0)
			tell(w, "unexpected %s", recipe_kind_of(st.st_mode));
	}
	for (size_t i = 0; i < w->count; i++)
		free(w->names[i]);
	free(w->names);
	auto_close(&w->fd);
	w->fd = -1;
	w->names = NULL;
	w->count = w->next = 0;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int enter_dir(struct walk *w, struct err *e)
{
	struct err why;
	const struct dirent *de;
	leave_dir(w);
	snprintf(w->dir, sizeof w->dir, "%s", w->a.name);
	w->fd = fs_open_beneath(w->diff, *w->dir ? w->dir : ".", O_RDONLY | O_DIRECTORY, 0, &why);
	if (w->fd < 0)
		return 0;
	int copy = fcntl(w->fd, F_DUPFD_CLOEXEC, 0);
	AUTO_CLOSEDIR DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (!d)
		return err_sys(e, "read directory %.300s", w->dir);
	while ((de = readdir(d))) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		if ((w->count & (w->count - 1)) == 0)
			w->names = xrealloc(w->names, (w->count * 2 + 1) * sizeof *w->names);
		w->names[w->count++] = xstrdup(de->d_name);
	}
	if (w->count > 0)
		qsort(w->names, w->count, sizeof *w->names, by_bytes);
	return 0;
}

static void compare_time(struct walk *w, const struct stat *st)
{
	const struct fact *f = &w->a.f;
	if (st->st_mtim.tv_sec != f->mtime || (uint32_t)st->st_mtim.tv_nsec != f->nsec)
		tell(w, "time is %lld.%09ld, not %lld.%09u", (long long)st->st_mtim.tv_sec,
		     st->st_mtim.tv_nsec, (long long)f->mtime, f->nsec);
}

static void compare_target(struct walk *w, const char *name)
{
	char have[PATH_MAX];
	ssize_t n = readlinkat(w->fd, name, have, sizeof have - 1);
	have[n < 0 ? 0 : n] = '\0';
	if (strcmp(have, w->a.target) != 0)
		tell(w, "link is to '%s', not to '%s'", have, w->a.target);
}

/* The name in what the layer sets; NULL: it does not set it. */
static const char *expected(const struct answer *a, const char *name, uint32_t *len)
{
	const char *found = NULL;
	for (size_t at = 0; at < a->f.xattr_len;) {
		const char *p = a->xattrs + at;
		size_t left = a->f.xattr_len - at, n = strnlen(p, left) + 1;
		uint32_t size;
		if (n + sizeof size > left)
			break;
		memcpy(&size, p + n, sizeof size);
		if (size > left - n - sizeof size)
			break;
		/* Given twice: the last one was set last. */
		if (strcmp(p, name) == 0) {
			found = p + n + sizeof size;
			*len = size;
		}
		at += n + sizeof size + size;
	}
	return found;
}

static void compare_set(struct walk *w, int fd)
{
	static char have[NAMES_MAX];
	const struct answer *a = &w->a;
	for (size_t at = 0; at < a->f.xattr_len;) {
		const char *p = a->xattrs + at;
		size_t left = a->f.xattr_len - at, n = strnlen(p, left) + 1;
		uint32_t size, len;
		if (n + sizeof size > left)
			return;
		memcpy(&size, p + n, sizeof size);
		const char *want = expected(a, p, &len);
		if (!want || size > left - n - sizeof size)
			return;
		ssize_t got = fgetxattr(fd, p, have, sizeof have);
		if (got < 0 && errno == ENODATA)
			tell(w, "extended attribute %s is missing", p);
		else if (got >= 0 && ((size_t)got != len || memcmp(have, want, len) != 0))
			tell(w, "extended attribute %s differs", p);
		at += n + sizeof size + size;
	}
}

static void compare_xattrs(struct walk *w, const char *name)
{
	static char list[NAMES_MAX];
	uint32_t len;
	struct err ignored;
	AUTO_CLOSE int fd =
		fs_open_beneath(w->fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &ignored);
	if (fd < 0)
		return;
	if (!w->a.f.implied)
		compare_set(w, fd);
	ssize_t n = flistxattr(fd, list, sizeof list);
	for (const char *p = list; n > 0 && p < list + n; p += strlen(p) + 1) {
		if (!w->a.f.implied && layer_xattr_allowed(p) && !expected(&w->a, p, &len))
			tell(w, "unexpected extended attribute %s", p);
		if (strcmp(p, OPAQUE) == 0 && !w->a.f.opaque)
			tell(w, "hides what is below it, and should not");
	}
	char y = 'n';
	if (w->a.f.opaque && (fgetxattr(fd, OPAQUE, &y, 1) != 1 || y != 'y'))
		tell(w, "should hide what is below it, and does not");
}

static void compare_link(struct walk *w, const struct stat *st)
{
	struct stat other;
	struct err ignored;
	AUTO_CLOSE int fd = fs_open_beneath(w->diff, w->a.link, O_PATH | O_NOFOLLOW, 0, &ignored);
	if (fd >= 0 && fstat(fd, &other) == 0 &&
	    (other.st_ino != st->st_ino || other.st_dev != st->st_dev))
		tell(w, "is not the same file as %s", w->a.link);
}

static bool has_acl(const struct answer *a)
{
	uint32_t len;
	return expected(a, "system.posix_acl_access", &len);
}

static void compare_meta(struct walk *w, const struct stat *st)
{
	const struct fact *f = &w->a.f;
	/* An ACL has its own idea of the group's bits. */
	unsigned mask = has_acl(&w->a) ? 07707 : 07777;
	if (!S_ISLNK(f->mode) && (st->st_mode & mask) != (f->mode & mask))
		tell(w, "mode is %04o, not %04o", st->st_mode & 07777, f->mode & 07777);
	if (st->st_uid != f->uid || st->st_gid != f->gid)
		tell(w, "owner is %u:%u, not %u:%u", st->st_uid, st->st_gid, f->uid, f->gid);
	if (S_ISREG(f->mode) && st->st_size != f->size)
		tell(w, "size is %lld, not %lld", (long long)st->st_size, (long long)f->size);
	if ((S_ISCHR(f->mode) || S_ISBLK(f->mode)) && st->st_rdev != makedev(f->major, f->minor))
		tell(w, "device is %u:%u, not %u:%u", major(st->st_rdev), minor(st->st_rdev),
		     f->major, f->minor);
	compare_time(w, st);
}

static bool is_whiteout(const struct fact *f)
{
	return S_ISCHR(f->mode) && !f->major && !f->minor;
}

static void compare(struct walk *w, const char *name, const struct stat *st)
{
	const struct fact *f = &w->a.f;
	if ((st->st_mode & S_IFMT) != (f->mode & S_IFMT)) {
		tell(w, "is a %s, not a %s", recipe_kind_of(st->st_mode), recipe_kind_of(f->mode));
		return;
	}
	if (is_whiteout(f)) {
		if (st->st_rdev != 0)
			tell(w, "device is %u:%u, not 0:0", major(st->st_rdev), minor(st->st_rdev));
		return;
	}
	if (!f->implied)
		compare_meta(w, st);
	if (S_ISLNK(f->mode))
		compare_target(w, name);
	if (S_ISDIR(f->mode) || (S_ISREG(f->mode) && !f->implied))
		compare_xattrs(w, name);
	if (f->link_len > 0)
		compare_link(w, st);
}

static int on_entry(struct walk *w, struct err *e)
{
	struct stat st;
	const char *name = w->a.name;
	if (w->fd < 0)
		return 0;
	while (w->next < w->count && strcmp(w->names[w->next], name) < 0) {
		entry_path(w, w->names[w->next]);
		if (fstatat(w->fd, w->names[w->next], &st, AT_SYMLINK_NOFOLLOW) == 0)
			tell(w, "unexpected %s", recipe_kind_of(st.st_mode));
		w->next++;
	}
	if (w->next < w->count && strcmp(w->names[w->next], name) == 0)
		w->next++;
	entry_path(w, name);
	if (fstatat(w->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		compare(w, name, &st);
	else if (errno != ENOENT)
		return err_sys(e, "stat %.300s", w->path);
	else
		tell(w, "missing");
	return 0;
}

static int on_dir(struct walk *w, struct err *e)
{
	struct stat st;
	if (enter_dir(w, e) < 0)
		return -1;
	/* All other directories were compared as entries of theirs. */
	w->path[0] = '\0';
	if (!*w->dir && w->fd >= 0 && fstat(w->fd, &st) == 0) {
		snprintf(w->path, sizeof w->path, ".");
		compare(w, ".", &st);
	}
	return 0;
}

static int get(struct walk *w, void *out, size_t len, struct err *e)
{
	if (len == 0 || fread(out, 1, len, w->in) == len)
		return 0;
	return err_set(e, ERR_FAILED, "the child that reads the archive broke off");
}

static int get_text(struct walk *w, char out[PATH_MAX], size_t len, struct err *e)
{
	if (len >= PATH_MAX)
		return err_set(e, ERR_FAILED, "the child that reads the archive answers nonsense");
	out[len] = '\0';
	return get(w, out, len, e);
}

static int get_answer(struct walk *w, struct err *e)
{
	struct answer *a = &w->a;
	if (get(w, &a->f, sizeof a->f, e) < 0 || get_text(w, a->name, a->f.name_len, e) < 0 ||
	    get_text(w, a->target, a->f.target_len, e) < 0 ||
	    get_text(w, a->link, a->f.link_len, e) < 0)
		return -1;
	if (a->f.xattr_len > FACT_XATTRS_MAX ||
	    (a->f.kind == FACT_ENTRY && (!*a->name || strchr(a->name, '/'))))
		return err_set(e, ERR_FAILED, "the child that reads the archive answers nonsense");
	a->xattrs = xrealloc(a->xattrs, a->f.xattr_len + 1);
	a->xattrs[a->f.xattr_len] = '\0';
	return get(w, a->xattrs, a->f.xattr_len, e);
}

static int compare_all(struct walk *w, struct err *e)
{
	for (;;) {
		if (get_answer(w, e) < 0)
			return -1;
		if (w->a.f.kind == FACT_END)
			break;
		if (w->a.f.kind == FACT_ERROR)
			return err_set(e, ERR_BAD_INPUT, "%.900s", w->a.name);
		if ((w->a.f.kind == FACT_DIR ? on_dir(w, e) : on_entry(w, e)) < 0)
			return -1;
	}
	leave_dir(w);
	return 0;
}

int verify_tree(struct verify *v, int diff, int fd, struct err *e)
{
	static struct walk w;
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	w = (struct walk){
		.v = v, .diff = diff, .fd = -1, .in = copy < 0 ? NULL : fdopen(copy, "r")};
	if (!w.in) {
		auto_close(&copy);
		return err_sys(e, "read the child's answer");
	}
	setvbuf(w.in, NULL, _IOFBF, READ_SIZE);
	int rc = compare_all(&w, e);
	/* Without an end nothing can be said of what is left in a directory. */
	if (rc < 0)
		w.next = w.count;
	leave_dir(&w);
	free(w.a.xattrs);
	fclose(w.in);
	return rc;
}
