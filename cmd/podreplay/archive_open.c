/* SPDX-License-Identifier: Apache-2.0 */
#include "archive.h"

#include "auto.h"
#include "buf.h"
#include "confine.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- unpacking: every name beneath one directory, through no link, into no file that is there */

struct unpack {
	int dir, archive;
	int fd; /* the file that is being made */
	int flags;
	bool skip;
};

static int make_parents(const struct unpack *u, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		return 0;
	AUTO_FREE char *parent = xstrndup(path, (size_t)(slash - path));
	return fs_mkdirs(u->dir, parent, 0700, e);
}

static int begin(void *arg, const char *path, unsigned long long size, struct err *e)
{
	struct unpack *u = arg;
	(void)size;
	u->skip = u->flags & ARC_WITHOUT_IMAGES && strncmp(path, "oci/", 4) == 0;
	if (u->skip)
		return 0;
	if (make_parents(u, path, e) == 0)
		u->fd = fs_open_beneath(u->dir, path, O_WRONLY | O_CREAT | O_EXCL, 0600, e);
	/* A file that is a directory as well. */
	if (u->fd < 0 && (e->errnum == ENOTDIR || e->errnum == EEXIST || e->errnum == EISDIR))
		e->kind = ERR_BAD_INPUT;
	return u->fd < 0 ? -1 : 0;
}

static int data(void *arg, const void *bytes, size_t len, struct err *e)
{
	const struct unpack *u = arg;
	return u->skip ? 0 : fs_write_all(u->fd, bytes, len, e);
}

static int end(void *arg, struct err *e)
{
	struct unpack *u = arg;
	(void)e;
	auto_close(&u->fd);
	u->fd = -1;
	return 0;
}

static int unpack(struct unpack *u, struct err *e)
{
	struct arc_unzstd *z = arc_unzstd_new(u->archive, NULL, 0);
	struct arc_input in = {.next = arc_unzstd_next, .arg = z};
	struct arc_sink out = {begin, data, end, u};
	int r = arc_parse(&in, &out, e);
	arc_unzstd_free(z);
	auto_close(&u->fd);
	return r;
}

/* In a child that can do nothing but make files below the directory. */
static int unpack_confined(void *arg, struct err *e)
{
	enum { DESCRIPTORS = 64 };
	struct unpack *u = arg;
	char hex[DIGEST_HEX_LEN + 1];
	/* libcrypto may want a file at its first use. */
	digest_of("", 0, hex);
	if (fchdir(u->dir) < 0)
		return err_sys(e, "chdir");
	return confine(CONFINE_FILES, DESCRIPTORS, e) < 0 ? -1 : unpack(u, e);
}

static int unpack_file(struct arc *a, const char *file, int flags, struct err *e)
{
	AUTO_CLOSE int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		err_sys(e, "open %.300s", file);
		return -1;
	}
	/* Without root there is nothing to give up. */
	struct unpack u = {.dir = a->st.root, .archive = fd, .fd = -1, .flags = flags};
	int r = geteuid() == 0 ? confine_child(unpack_confined, &u, "unpacking it failed", e)
			       : unpack(&u, e);
	return r < 0 ? err_wrap(e, "%.300s", file) : 0;
}

/* ---- podreplay.json */

static int check_rows(json_t *index, const char *list, const struct jsonx_key *keys, struct err *e)
{
	json_t *rows = json_object_get(index, list), *row;
	char what[64];
	size_t i;
	json_array_foreach (rows, i, row) {
		snprintf(what, sizeof what, "podreplay.json: %s[%zu]", list, i);
		if (jsonx_check_keys(row, what, keys, e) < 0)
			return -1;
		const char *id = jsonx_opt_string(row, "id", NULL), *hex = id;
		if (id && strcmp(list, "images") == 0 && !(hex = digest_parse(id, e)))
			return err_wrap(e, "%s: id", what);
		if (id && !id_is_valid(hex))
			return err_set(e, ERR_BAD_INPUT, "%s: id: '%.80s' is no id", what, id);
	}
	return 0;
}

int arc_check_index(json_t *index, char pod_id[ID_SIZE], struct err *e)
{
	static const struct jsonx_key top[] = {{"format", JSON_STRING, JSONX_REQUIRED},
					       {"version", JSON_INTEGER, JSONX_REQUIRED},
					       {"kind", JSON_STRING, JSONX_REQUIRED},
					       {"pod", JSON_OBJECT, JSONX_REQUIRED},
					       {"containers", JSON_ARRAY, JSONX_REQUIRED},
					       {"images", JSON_ARRAY, JSONX_REQUIRED},
					       {"volumes", JSON_ARRAY, JSONX_REQUIRED},
					       {"with", JSON_OBJECT, JSONX_REQUIRED},
					       {"replay", JSON_OBJECT, 0},
					       {0}};
	static const struct jsonx_key pod[] = {{"id", JSON_STRING, JSONX_REQUIRED},
					       {"name", JSON_STRING, JSONX_REQUIRED},
					       {"namespace", JSON_STRING, JSONX_REQUIRED},
					       {"uid", JSON_STRING, JSONX_REQUIRED},
					       {"attempt", JSON_INTEGER, JSONX_REQUIRED},
					       {"origin", JSON_STRING, JSONX_REQUIRED},
					       {"handler", JSON_STRING, JSONX_REQUIRED},
					       {"state", JSON_STRING, JSONX_REQUIRED},
					       {0}};
	static const struct jsonx_key containers[] = {{"id", JSON_STRING, JSONX_REQUIRED},
						      {"name", JSON_STRING, JSONX_REQUIRED},
						      {"attempt", JSON_INTEGER, JSONX_REQUIRED},
						      {"handler", JSON_STRING, JSONX_REQUIRED},
						      {"state", JSON_STRING, JSONX_REQUIRED},
						      {"image_id", JSON_STRING, JSONX_REQUIRED},
						      {0}};
	static const struct jsonx_key images[] = {
		{"id", JSON_STRING, JSONX_REQUIRED},
		{"names", JSON_ARRAY, JSONX_REQUIRED | JSONX_STRINGS},
		{"pull", JSON_ARRAY, JSONX_REQUIRED | JSONX_STRINGS},
		{"layers", JSON_TRUE, JSONX_REQUIRED},
		{0}};
	static const struct jsonx_key volumes[] = {{"host_path", JSON_STRING, JSONX_REQUIRED},
						   {"kind", JSON_STRING, JSONX_REQUIRED},
						   {"captured", JSON_TRUE, JSONX_REQUIRED},
						   {"why", JSON_STRING, 0},
						   {0}};
	json_int_t version = jsonx_opt_int(index, "version", 0);
	if (strcmp(jsonx_opt_string(index, "format", ""), "podreplay") != 0)
		return err_set(e, ERR_BAD_INPUT, "podreplay.json: format is not podreplay");
	if (version != ARC_VERSION)
		return err_set(e, ERR_UNSUPPORTED,
			       "podreplay.json: version %" JSON_INTEGER_FORMAT " is not known",
			       version);
	json_t *p = json_object_get(index, "pod");
	if (jsonx_check_keys(index, "podreplay.json", top, e) < 0 ||
	    jsonx_check_keys(p, "podreplay.json: pod", pod, e) < 0 ||
	    check_rows(index, "containers", containers, e) < 0 ||
	    check_rows(index, "images", images, e) < 0 ||
	    check_rows(index, "volumes", volumes, e) < 0)
		return -1;
	const char *id = jsonx_opt_string(p, "id", "");
	if (!id_is_valid(id))
		return err_set(e, ERR_BAD_INPUT, "podreplay.json: pod.id: '%.80s' is no id", id);
	memcpy(pod_id, id, ID_SIZE);
	return 0;
}

/* ---- open */

static int make_dir(struct arc *a, const char *parent, struct err *e)
{
	const char *tmp = getenv("TMPDIR");
	if (!parent)
		parent = tmp && *tmp == '/' ? tmp : "/tmp";
	char *path = xasprintf("%s/podreplay.XXXXXX", parent);
	if (!mkdtemp(path)) {
		err_sys(e, "make a directory in %.300s", parent);
		free(path);
		return -1;
	}
	a->path = path;
	a->st.root_path = path;
	a->st.root = fs_open_dir(AT_FDCWD, path, e);
	return a->st.root < 0 ? -1 : 0;
}

static int read_index(struct arc *a, struct err *e)
{
	AUTO_BUF struct buf sums = BUF_INIT(ARC_SUMS_MAX);
	if (fs_read_at(a->st.root, "SHA256SUMS", &sums, e) < 0)
		return -1;
	memcpy(a->digest, "sha256:", 7);
	digest_of(sums.data ? sums.data : "", sums.len, a->digest + 7);
	a->index = jsonx_read_at(a->st.root, "podreplay.json", ARC_FILE_MAX, e);
	if (!a->index && e->errnum == ENOENT)
		return err_set(e, ERR_BAD_INPUT, "no podreplay.json in it");
	return a->index ? arc_check_index(a->index, a->pod, e) : -1;
}

int arc_open(struct arc *a, const char *file, const char *parent, int flags, struct err *e)
{
	*a = ARC_NONE;
	int r = make_dir(a, parent, e);
	if (r == 0)
		r = unpack_file(a, file, flags, e);
	if (r == 0 && read_index(a, e) < 0)
		r = err_wrap(e, "%.300s", file);
	if (r < 0)
		arc_close(a);
	return r;
}

void arc_close(struct arc *a)
{
	struct err ignored;
	auto_close(&a->st.root);
	if (a->path)
		(void)fs_remove_tree(AT_FDCWD, a->path, &ignored);
	free(a->path);
	json_decref(a->index);
	*a = ARC_NONE;
}

static int open_named(const struct arc *a, const char *path, struct err *e)
{
	int fd = arc_path_is_valid(path)
			 ? fs_open_beneath(a->st.root, path, O_RDONLY | O_NOFOLLOW, 0, e)
			 : err_set(e, ERR_NOT_FOUND, "%.200s: no file of an archive", path);
	if (fd < 0 && e->errnum == ENOENT)
		return err_set(e, ERR_NOT_FOUND, "the archive has no %.200s", path);
	return fd;
}

int arc_file(const struct arc *a, struct err *e, const char *fmt, ...)
{
	char path[ARC_PATH_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(path, sizeof path, fmt, ap);
	va_end(ap);
	return open_named(a, path, e);
}

json_t *arc_json(const struct arc *a, struct err *e, const char *fmt, ...)
{
	char path[ARC_PATH_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(path, sizeof path, fmt, ap);
	va_end(ap);
	AUTO_CLOSE int fd = open_named(a, path, e);
	if (fd < 0)
		return NULL;
	return jsonx_read_at(a->st.root, path, ARC_FILE_MAX, e);
}
