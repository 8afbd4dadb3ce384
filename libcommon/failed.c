/* SPDX-License-Identifier: Apache-2.0 */
#include "failed.h"

#include "auto.h"
#include "buf.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "record.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_MAX = 256 << 10, READ_MAX = 1 << 20, PREFIX_MIN = 4 };

static int open_file(int root)
{
	return openat(root, "failed", O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int add_line(const struct state *s, const char *text, struct err *e)
{
	struct stat st;
	AUTO_CLOSE int fd = open_file(s->root);
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > FILE_MAX) {
		(void)renameat(s->root, "failed", s->root, "failed.1");
		close(fd);
		fd = open_file(s->root);
	}
	if (fd < 0)
		return err_sys(e, "open %s/failed", s->root_path);
	return fs_write_all(fd, text, strlen(text), e);
}

void failed_append(const struct state *s, json_t *pod, int64_t began_ns, const struct err *why)
{
	struct err e;
	const char *req = getenv("CRISP_REQ");
	json_t *text = json_string(why->msg);
	json_object_set_new(pod, "time", json_integer(began_ns));
	json_object_set_new(pod, "ms", json_integer((record_now_ns() - began_ns) / 1000000));
	json_object_set_new(pod, "req", json_string(req ? req : ""));
	json_object_set_new(pod, "code", json_string(err_name(why)));
	json_object_set_new(pod, "error", text ? text : json_string("(not UTF-8)"));
	AUTO_FREE char *line = json_dumps(pod, JSON_COMPACT);
	json_decref(pod);
	AUTO_BUF struct buf b = BUF_INIT(READ_MAX);
	if (!line || buf_addf(&b, &e, "%s\n", line) < 0 || add_line(s, b.data, &e) < 0)
		log_warn("the record of pods that failed: %s", line ? e.msg : "not JSON");
}

static bool is_meant(json_t *row, const char *typed)
{
	size_t n = strlen(typed);
	return strcmp(jsonx_opt_string(row, "name", ""), typed) == 0 ||
	       (n >= PREFIX_MIN && strncmp(jsonx_opt_string(row, "id", ""), typed, n) == 0);
}

/* The last line of the file that is meant, or NULL. */
static json_t *last_of(const struct state *s, const char *file, const char *typed)
{
	struct err ignored;
	AUTO_BUF struct buf b = BUF_INIT(READ_MAX);
	if (fs_read_at(s->root, file, &b, &ignored) < 0 || !b.data)
		return NULL;
	for (size_t end = b.len; end > 0;) {
		const char *nl = memrchr(b.data, '\n', end - 1);
		size_t begin = nl ? (size_t)(nl - b.data) + 1 : 0;
		json_t *row = json_loadb(b.data + begin, end - begin, 0, NULL);
		if (is_meant(row, typed))
			return row;
		json_decref(row);
		end = begin;
	}
	return NULL;
}

json_t *failed_find(const struct state *s, const char *typed, struct err *e)
{
	json_t *row = last_of(s, "failed", typed);
	if (!row)
		row = last_of(s, "failed.1", typed);
	return row ? row : err_set_p(e, ERR_NOT_FOUND, "no such pod: %s", typed);
}
