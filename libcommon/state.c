/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

#include "auto.h"
#include "digest.h"
#include "fs.h"
#include "jsonx.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { CONFIG_MAX = 16 << 20, PREFIX_MIN = 4 };

static const struct {
	const char *dir, *noun, *config;
} kinds[] = {
	[OBJ_POD] = {"pods", "pod", "pod.json"},
	[OBJ_CONTAINER] = {"containers", "container", "container.json"},
};

const char *object_dir_name(enum object_kind kind)
{
	return kinds[kind].dir;
}

const char *object_kind_name(enum object_kind kind)
{
	return kinds[kind].noun;
}

int object_config_write(int dir, enum object_kind kind, const json_t *config, struct err *e)
{
	return jsonx_create_at(dir, kinds[kind].config, 0600, config, CONFIG_MAX, e);
}

json_t *object_config_read(int dir, enum object_kind kind, struct err *e)
{
	return jsonx_read_at(dir, kinds[kind].config, CONFIG_MAX, e);
}

static int open_top(const char *path, const char *const *subdirs, struct err *e)
{
	if (path[0] != '/')
		return err_set(e, ERR_BAD_INPUT, "state directory %s: not an absolute path", path);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		if (fs_mkdirs(AT_FDCWD, path, 0700, e) < 0)
			return -1;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return err_sys(e, "state directory %s", path);
	for (; *subdirs; subdirs++)
		if (mkdirat(fd, *subdirs, 0700) < 0 && errno != EEXIST)
			return err_sys(e, "mkdir %s/%s", path, *subdirs);
	return TAKE_FD(fd);
}

int state_open(struct state *s, const char *root, const char *runroot, struct err *e)
{
	static const char *const root_dirs[] = {"images",     "names",    "layers", "pods",
						"containers", "reserved", "tmp",    NULL};
	static const char *const run_dirs[] = {"pods", "containers", NULL};
	*s = STATE_NONE;
	s->root_path = root;
	s->run_path = runroot;
	s->root = open_top(root, root_dirs, e);
	if (s->root < 0)
		return -1;
	s->run = open_top(runroot, run_dirs, e);
	return s->run < 0 ? -1 : 0;
}

void state_close(struct state *s)
{
	auto_close(&s->root);
	auto_close(&s->run);
	*s = STATE_NONE;
}

bool id_is_valid(const char *s)
{
	return digest_is_hex(s);
}

void id_new(char id[ID_SIZE])
{
	unsigned char raw[ID_LEN / 2];
	/* 32 bytes come whole or not at all once the pool is up (getrandom(2)). */
	while (getrandom(raw, sizeof raw, 0) != sizeof raw)
		;
	for (size_t i = 0; i < sizeof raw; i++)
		snprintf(id + 2 * i, 3, "%02x", raw[i]);
}

int object_each(const struct state *s, enum object_kind kind,
		int (*fn)(void *arg, const char *id, struct err *e), void *arg, struct err *e)
{
	int fd = fs_open_dir(s->root, kinds[kind].dir, e);
	if (fd < 0)
		return -1;
	AUTO_CLOSEDIR DIR *d = fdopendir(fd);
	const struct dirent *de;
	if (!d) {
		close(fd);
		return err_sys(e, "read %s", kinds[kind].dir);
	}
	while ((de = readdir(d))) {
		int r = id_is_valid(de->d_name) ? fn(arg, de->d_name, e) : 0;
		if (r)
			return r;
	}
	return 0;
}

struct search {
	const struct state *s;
	enum object_kind kind;
	const char *typed;
	bool by_name;
	char *found;
	int count;
};

static int name_matches(const struct search *q, const char *id)
{
	struct err ignored;
	AUTO_CLOSE int dir = object_open(q->s, q->kind, id, &ignored);
	AUTO_JSON json_t *j = dir < 0 ? NULL : object_config_read(dir, q->kind, &ignored);
	const char *name = jsonx_opt_string(json_object_get(j, "metadata"), "name", "");
	return strcmp(name, q->typed) == 0;
}

static int try_match(void *arg, const char *id, struct err *e)
{
	struct search *q = arg;
	(void)e;
	if (q->by_name ? name_matches(q, id) : strncmp(id, q->typed, strlen(q->typed)) == 0) {
		memcpy(q->found, id, ID_SIZE);
		q->count++;
	}
	return 0;
}

int object_resolve(const struct state *s, enum object_kind kind, const char *typed,
		   char id[ID_SIZE], struct err *e)
{
	struct search q = {.s = s, .kind = kind, .typed = typed, .found = id};
	size_t len = strlen(typed);
	if (id_is_valid(typed)) {
		memcpy(id, typed, ID_SIZE);
		return 0;
	}
	if (len >= PREFIX_MIN && len < ID_LEN && strspn(typed, "0123456789abcdef") == len)
		if (object_each(s, kind, try_match, &q, e) < 0)
			return -1;
	if (q.count == 0) {
		q.by_name = true;
		if (object_each(s, kind, try_match, &q, e) < 0)
			return -1;
	}
	if (q.count > 1)
		return err_set(e, ERR_BAD_INPUT, "%s '%.64s' names %d objects: give more of the id",
			       kinds[kind].noun, typed, q.count);
	if (q.count == 0)
		return err_set(e, ERR_NOT_FOUND, "no such %s: %.80s", kinds[kind].noun, typed);
	return 0;
}

static void object_path(enum object_kind kind, const char *id, char path[96])
{
	snprintf(path, 96, "%s/%s", kinds[kind].dir, id);
}

int object_open(const struct state *s, enum object_kind kind, const char *id, struct err *e)
{
	char path[96];
	if (!id_is_valid(id))
		return err_set(e, ERR_NOT_FOUND, "no such %s: %.80s", kinds[kind].noun, id);
	object_path(kind, id, path);
	int fd = openat(s->root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return err_set(e, ERR_NOT_FOUND, "no such %s: %s", kinds[kind].noun, id);
	return fd < 0 ? err_sys(e, "open %s/%s", s->root_path, path) : fd;
}

int object_open_run(const struct state *s, enum object_kind kind, const char *id, bool create,
		    struct err *e)
{
	char path[96];
	if (!id_is_valid(id))
		return err_set(e, ERR_NOT_FOUND, "no such %s: %.80s", kinds[kind].noun, id);
	object_path(kind, id, path);
	if (create && mkdirat(s->run, path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "mkdir %s/%s", s->run_path, path);
	int fd = openat(s->run, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_sys(e, "open %s/%s", s->run_path, path) : fd;
}

int object_lock(const struct state *s, enum object_kind kind, const char *id, int timeout_ms,
		struct err *e)
{
	struct stat st;
	AUTO_CLOSE int dir = object_open(s, kind, id, e);
	if (dir < 0)
		return -1;
	AUTO_CLOSE int lock = fs_lock_at(dir, "lock", timeout_ms, e);
	if (lock < 0)
		return err_wrap(e, "%s %s", kinds[kind].noun, id);
	if (fstat(lock, &st) < 0 || st.st_nlink == 0)
		return err_set(e, ERR_NOT_FOUND, "no such %s: %s", kinds[kind].noun, id);
	return TAKE_FD(lock);
}

int object_wait_unlocked(const struct state *s, enum object_kind kind, const char *id,
			 int timeout_ms, struct err *e)
{
	AUTO_CLOSE int lock = object_lock(s, kind, id, timeout_ms, e);
	return lock >= 0 || e->kind == ERR_NOT_FOUND ? 0 : -1;
}

/* The claim is dropped only if it still points at this object. */
static int drop_claim(const struct state *s, int dir, const char *id, struct err *e)
{
	char claim[96] = "", found[ID_SIZE] = "";
	ssize_t n = readlinkat(dir, "claim", claim, sizeof claim - 1);
	if (n <= 0 || strncmp(claim, "reserved/", 9) != 0 || !digest_is_hex(claim + 9))
		return 0;
	AUTO_CLOSE int guard = fs_lock_at(s->root, "reserved/.lock", 10000, e);
	if (guard < 0)
		return -1;
	if (readlinkat(s->root, claim, found, ID_LEN) == ID_LEN && strcmp(found, id) == 0 &&
	    unlinkat(s->root, claim, 0) < 0 && errno != ENOENT)
		return err_sys(e, "drop claim");
	return 0;
}

int object_discard(const struct state *s, enum object_kind kind, const char *id, struct err *e)
{
	char path[96];
	struct err ignored;
	if (!id_is_valid(id))
		return err_set(e, ERR_NOT_FOUND, "no such %s: %.80s", kinds[kind].noun, id);
	object_path(kind, id, path);
	if (fs_remove_tree(s->run, path, e) < 0)
		return -1;
	AUTO_CLOSE int dir = object_open(s, kind, id, &ignored);
	if (dir < 0)
		return 0;
	if (drop_claim(s, dir, id, e) < 0)
		return -1;
	return fs_remove_tree(s->root, path, e);
}

const char *state_boot_id(void)
{
	static char id[40];
	struct err ignored;
	if (!*id) {
		AUTO_BUF struct buf b = BUF_INIT(64);
		if (fs_read_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &b, &ignored) == 0 &&
		    b.len >= 36)
			snprintf(id, sizeof id, "%.36s", b.data);
		else
			snprintf(id, sizeof id, "unknown");
	}
	return id;
}
