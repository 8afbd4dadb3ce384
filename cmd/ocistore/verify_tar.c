/* SPDX-License-Identifier: Apache-2.0 */
/* The child that reads a layer's tar stream and says what directory it makes, by the rules of
 * ocipull's untar.c and tree.c. Confined: it has two pipes and memory, nothing else. It frees
 * nothing. */
#include "auto.h"
#include "confine.h"
#include "fs.h"
#include "layerattr.h"
#include "verify.h"
#include "xalloc.h"

#include <archive.h>
#include <archive_entry.h>
#include <limits.h>
#include <locale.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK = 256 << 10, DEPTH_MAX = 1024, LINKS_MAX = 40, DESCRIPTORS = 16 };

struct inode {
	struct fact fact;
	char *target, *xattrs;
	struct node *first; /* a name of it */
	unsigned names;
};

struct node {
	const char *name;
	struct node *up;
	void *kids; /* tsearch(3), by name */
	struct inode *inode;
	unsigned depth;
	bool implied, opaque;
};

struct tar {
	struct node root;
	char chunk[CHUNK];
	size_t bytes;
	bool padded;
};

static int bad(struct err *e, const char *path, const char *why)
{
	return err_set(e, ERR_BAD_INPUT, "%.300s: %s", path, why);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct node *)a)->name, ((const struct node *)b)->name);
}

static struct node *find(const struct node *dir, const char *name)
{
	const struct node key = {.name = name};
	struct node *const *found = tfind(&key, (void *const *)&dir->kids, by_name);
	return found ? *found : NULL;
}

static bool is_dir(const struct node *n)
{
	return n && S_ISDIR(n->inode->fact.mode);
}

static bool is_whiteout(const struct node *n)
{
	const struct fact *f = &n->inode->fact;
	return S_ISCHR(f->mode) && !f->major && !f->minor;
}

static struct inode *new_inode(unsigned mode)
{
	struct inode *i = xcalloc(1, sizeof *i);
	i->fact.kind = FACT_ENTRY;
	i->fact.mode = mode;
	return i;
}

static void give(struct node *n, struct inode *i)
{
	if (i->names++ == 0)
		i->first = n;
	n->inode = i;
}

static struct node *add(struct node *dir, const char *name, struct inode *i)
{
	struct node *n = xcalloc(1, sizeof *n);
	n->name = xstrdup(name);
	n->up = dir;
	n->depth = dir->depth + 1;
	give(n, i);
	if (!tsearch(n, &dir->kids, by_name))
		abort();
	return n;
}

static void take_first(struct node *n);

/* Names of a removed file that were its first: the others can no longer refer to them. */
static void drop_kid(const void *at, VISIT which, void *arg)
{
	(void)arg;
	if (which == postorder || which == leaf)
		take_first(*(struct node *const *)at);
}

static void take_first(struct node *n)
{
	if (n->kids)
		twalk_r(n->kids, drop_kid, NULL);
	n->inode->names--;
	if (n->inode->first == n)
		n->inode->first = NULL;
}

static void remove_node(struct node *n)
{
	take_first(n);
	tdelete(n, &n->up->kids, by_name);
}

/* One component down, made when it is missing. Returns NULL when it is a link (*link) or cannot
 * be. */
static struct node *down(struct node *dir, const char *name, const char **link, struct err *e)
{
	struct node *n = find(dir, name);
	bool hides = false;
	*link = NULL;
	if (is_dir(n))
		return n;
	if (n && S_ISLNK(n->inode->fact.mode)) {
		*link = n->inode->target;
		return NULL;
	}
	if (n && !is_whiteout(n))
		return bad(e, name, "is not a directory"), NULL;
	if (n) {
		remove_node(n);
		hides = true;
	}
	if (dir->depth >= DEPTH_MAX)
		return bad(e, name, "too deep"), NULL;
	n = add(dir, name, new_inode(S_IFDIR | 0755));
	n->implied = true;
	n->opaque = hides;
	return n;
}

static size_t component(const char **p, char name[NAME_MAX + 1])
{
	*p += strspn(*p, "/");
	size_t len = strcspn(*p, "/");
	if (len > NAME_MAX)
		return len;
	memcpy(name, *p, len);
	name[len] = '\0';
	*p += len;
	return len;
}

/* The directory that `path` names, links on the way followed. */
static struct node *walk(struct tar *t, const char *path, struct err *e)
{
	char todo[PATH_MAX], name[NAME_MAX + 1], next[PATH_MAX];
	struct node *at = &t->root;
	const char *p = todo, *link;
	int links = 0;
	snprintf(todo, sizeof todo, "%s", path);
	for (;;) {
		size_t len = component(&p, name);
		if (len == 0)
			return at;
		if (len > NAME_MAX)
			return bad(e, path, "name too long"), NULL;
		if (strcmp(name, ".") == 0)
			continue;
		if (strcmp(name, "..") == 0) {
			at = at->up ? at->up : at;
			continue;
		}
		struct node *n = down(at, name, &link, e);
		if (n)
			at = n;
		if (!n && !link)
			return NULL;
		if (n)
			continue;
		if (++links > LINKS_MAX ||
		    (size_t)snprintf(next, sizeof next, "%s/%s", link, p) >= sizeof next)
			return bad(e, path, "too many symbolic links"), NULL;
		at = *link == '/' ? &t->root : at;
		memcpy(todo, next, sizeof todo);
		p = todo;
	}
}

/* Without ".", ".." and doubled slashes, as text. */
static int clean(const char *name, char out[PATH_MAX], struct err *e)
{
	char part[NAME_MAX + 1];
	size_t n = 0, len;
	for (const char *p = name; (len = component(&p, part)) > 0;) {
		if (len > NAME_MAX || n + len + 2 > PATH_MAX)
			return bad(e, name, "name too long");
		if (strcmp(part, "..") == 0) {
			while (n > 0 && out[--n] != '/')
				;
		} else if (strcmp(part, ".") != 0) {
			if (n > 0)
				out[n++] = '/';
			memcpy(out + n, part, len);
			n += len;
		}
	}
	out[n] = '\0';
	return 0;
}

/* The directory of a cleaned path, and the last component. */
static struct node *parent_of(struct tar *t, const char *path, const char **leaf, struct err *e)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) : 0, path);
	*leaf = slash ? slash + 1 : path;
	return walk(t, dir, e);
}

static void take_xattrs(struct inode *i, struct archive_entry *ae)
{
	const char *name;
	const void *value;
	size_t size;
	archive_entry_xattr_reset(ae);
	while (archive_entry_xattr_next(ae, &name, &value, &size) == ARCHIVE_OK) {
		size_t n = name ? strlen(name) + 1 : 0;
		uint32_t len = (uint32_t)size;
		if (!name || !layer_xattr_allowed(name) ||
		    n + size + sizeof len > FACT_XATTRS_MAX - i->fact.xattr_len)
			continue;
		i->xattrs = xrealloc(i->xattrs, i->fact.xattr_len + n + sizeof len + size);
		char *p = i->xattrs + i->fact.xattr_len;
		memcpy(p, name, n);
		memcpy(p + n, &len, sizeof len);
		memcpy(p + n + sizeof len, value, size);
		i->fact.xattr_len += (uint32_t)(n + sizeof len + size);
	}
}

static void fill(struct inode *i, struct archive_entry *ae)
{
	struct fact *f = &i->fact;
	f->mode = archive_entry_filetype(ae) | (archive_entry_perm(ae) & 07777);
	f->uid = (uint32_t)archive_entry_uid(ae);
	f->gid = (uint32_t)archive_entry_gid(ae);
	f->mtime = archive_entry_mtime(ae);
	f->nsec = (uint32_t)archive_entry_mtime_nsec(ae);
	if (S_ISREG(f->mode))
		f->size = archive_entry_size(ae);
	if (S_ISCHR(f->mode) || S_ISBLK(f->mode)) {
		f->major = (uint32_t)archive_entry_rdevmajor(ae);
		f->minor = (uint32_t)archive_entry_rdevminor(ae);
	}
	const char *target = S_ISLNK(f->mode) ? archive_entry_symlink(ae) : NULL;
	if (S_ISLNK(f->mode)) {
		i->target = xstrdup(target ? target : "");
		f->target_len = (uint32_t)strlen(i->target);
	}
	if (S_ISREG(f->mode) || S_ISDIR(f->mode))
		take_xattrs(i, ae);
}

static int put_dir(struct node *dir, const char *leaf, struct inode *i, struct err *e)
{
	struct node *n = find(dir, leaf);
	if (is_dir(n)) {
		/* Attributes that it had already stay; the new ones count. */
		give(n, i);
		n->implied = false;
		return 0;
	}
	if (dir->depth >= DEPTH_MAX)
		return bad(e, leaf, "too deep");
	/* Whatever stood there, it hid a directory below. */
	if (n)
		remove_node(n);
	add(dir, leaf, i)->opaque = n != NULL;
	return 0;
}

static int put_link(struct tar *t, const char *path, const char *to, struct err *e)
{
	char target[PATH_MAX];
	const char *leaf;
	if (clean(to, target, e) < 0)
		return -1;
	struct node *dir = parent_of(t, target, &leaf, e);
	struct node *from = dir ? find(dir, leaf) : NULL;
	if (from && is_dir(from))
		return bad(e, path, "hard link to a directory");
	/* Of a layer below: copied from there, so that nothing is known of it here. */
	if (dir && !from) {
		from = add(dir, leaf, new_inode(S_IFREG));
		from->inode->fact.implied = true;
	}
	dir = from ? parent_of(t, path, &leaf, e) : NULL;
	if (!dir)
		return -1;
	struct node *old = find(dir, leaf);
	if (old && old->inode == from->inode)
		return 0;
	struct inode *i = from->inode;
	if (old)
		remove_node(old);
	add(dir, leaf, i);
	return 0;
}

/* 1: it was one. */
static int put_whiteout(struct node *dir, const char *leaf)
{
	if (strncmp(leaf, ".wh.", 4) != 0)
		return 0;
	const char *name = leaf + 4;
	if (strcmp(name, ".wh..opq") == 0) {
		dir->opaque = true;
		return 1;
	}
	if (strncmp(name, ".wh.", 4) == 0)
		return 1;
	struct node *n = find(dir, name);
	if (!n)
		add(dir, name, new_inode(S_IFCHR));
	else if (is_dir(n)) {
		n->opaque = true;
		n->implied = false;
	}
	return 1;
}

static int put_entry(struct tar *t, struct archive_entry *ae, struct err *e)
{
	char path[PATH_MAX];
	const char *leaf, *name = archive_entry_pathname(ae), *to = archive_entry_hardlink(ae);
	if (!name)
		return err_set(e, ERR_BAD_INPUT, "an entry's name cannot be read");
	if (clean(name, path, e) < 0)
		return -1;
	struct node *dir = parent_of(t, path, &leaf, e);
	if (!dir)
		return -1;
	if (put_whiteout(dir, leaf))
		return 0;
	if (to && *path)
		return put_link(t, path, to, e);
	struct inode *i = new_inode(0);
	fill(i, ae);
	if (!*path) {
		t->root.implied = false;
		give(&t->root, i);
		return S_ISDIR(i->fact.mode) ? 0 : bad(e, "/", "is not a directory");
	}
	if (S_ISDIR(i->fact.mode))
		return put_dir(dir, leaf, i, e);
	struct node *old = find(dir, leaf);
	if (old)
		remove_node(old);
	add(dir, leaf, i);
	return 0;
}

static la_ssize_t next_block(struct archive *a, void *arg, const void **data)
{
	enum { BLOCK = 512 };
	struct tar *t = arg;
	ssize_t n;
	do
		n = read(STDIN_FILENO, t->chunk, CHUNK);
	while (n < 0 && errno == EINTR);
	*data = t->chunk;
	if (n < 0) {
		archive_set_error(a, errno, "read");
		return ARCHIVE_FATAL;
	}
	/* An end right behind the last file's bytes is as good as a padded one. */
	size_t part = t->bytes % BLOCK;
	if (n == 0 && part > 0 && !t->padded) {
		t->padded = true;
		memset(t->chunk, 0, BLOCK);
		return (la_ssize_t)(BLOCK - part);
	}
	t->bytes += (size_t)n;
	return n;
}

static int read_all(struct tar *t, struct err *e)
{
	struct archive_entry *ae;
	const void *rest;
	int rc;
	struct archive *a = archive_read_new();
	if (!a)
		return err_set(e, ERR_EXHAUSTED, "no memory for libarchive");
	archive_read_support_format_tar(a);
	archive_read_support_format_empty(a);
	rc = archive_read_open(a, t, NULL, next_block, NULL);
	while (rc >= ARCHIVE_WARN && (rc = archive_read_next_header(a, &ae)) != ARCHIVE_EOF) {
		if (rc == ARCHIVE_RETRY)
			rc = ARCHIVE_OK;
		else if (rc >= ARCHIVE_WARN && put_entry(t, ae, e) < 0)
			return -1;
	}
	if (rc != ARCHIVE_EOF)
		return err_set(e, ERR_BAD_INPUT, "damaged tar archive: %s",
			       archive_error_string(a));
	while (next_block(a, t, &rest) > 0)
		;
	return 0;
}

static void put(const void *data, size_t len)
{
	if (len > 0 && fwrite(data, 1, len, stdout) != len)
		_Exit(2);
}

static size_t path_of(const struct node *n, char out[PATH_MAX])
{
	if (!n->up) {
		out[0] = '\0';
		return 0;
	}
	size_t at = path_of(n->up, out), len = strlen(n->name);
	if (at + len + 2 > PATH_MAX)
		_Exit(2);
	if (at > 0)
		out[at++] = '/';
	memcpy(out + at, n->name, len + 1);
	return at + len;
}

static void put_fact(const struct node *n, enum fact_kind kind, const char *name)
{
	char link[PATH_MAX] = "";
	const struct inode *i = n->inode;
	struct fact f = i->fact;
	f.kind = (uint8_t)kind;
	f.implied = f.implied || n->implied;
	f.opaque = n->opaque;
	f.name_len = (uint32_t)strlen(name);
	if (!S_ISDIR(f.mode) && i->names > 1 && i->first && i->first != n)
		f.link_len = (uint32_t)path_of(i->first, link);
	put(&f, sizeof f);
	put(name, f.name_len);
	put(i->target, f.target_len);
	put(link, f.link_len);
	put(i->xattrs, f.xattr_len);
}

static void put_kid(const void *at, VISIT which, void *arg)
{
	const struct node *n = *(struct node *const *)at;
	(void)arg;
	if (which == postorder || which == leaf)
		put_fact(n, FACT_ENTRY, n->name);
}

static void put_tree(const struct node *dir);

static void put_subdir(const void *at, VISIT which, void *arg)
{
	const struct node *n = *(struct node *const *)at;
	(void)arg;
	if ((which == postorder || which == leaf) && is_dir(n))
		put_tree(n);
}

static void put_tree(const struct node *dir)
{
	char path[PATH_MAX];
	path_of(dir, path);
	put_fact(dir, FACT_DIR, path);
	if (dir->kids)
		twalk_r(dir->kids, put_kid, NULL);
	if (dir->kids)
		twalk_r(dir->kids, put_subdir, NULL);
}

static int run(struct tar *t, struct err *e)
{
	t->root.name = "";
	t->root.implied = true;
	give(&t->root, new_inode(S_IFDIR | 0755));
	if (confine(CONFINE_PIPES, DESCRIPTORS, e) < 0 || read_all(t, e) < 0)
		return -1;
	put_tree(&t->root);
	return 0;
}

int verify_tar_main(void)
{
	static struct tar t;
	struct err e = {.kind = ERR_OK};
	struct fact f = {.kind = FACT_END};
	/* As in ocipull's unpack.c. */
	setlocale(LC_CTYPE, "C.UTF-8");
	if (run(&t, &e) < 0) {
		f.kind = FACT_ERROR;
		f.name_len = (uint32_t)strlen(e.msg);
	}
	put(&f, sizeof f);
	put(e.msg, f.name_len);
	_Exit(fflush(stdout) == 0 ? 0 : 2);
}
