/* SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

#include "auto.h"
#include "child.h"
#include "fs.h"
#include "jsonx.h"
#include "space.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int read_regular(int fd, const char *name, struct buf *b, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(e, "stat %s", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_BAD_INPUT, "%s: not a regular file", name);
	for (;;) {
		if (buf_reserve(b, 65536, e) < 0)
			return err_wrap(e, "%s", name);
		ssize_t n = read(fd, b->data + b->len, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read %s", name);
		buf_grew(b, (size_t)n);
		if (n == 0)
			return 0;
	}
}

int check_digest(const char *what, const char *want, json_int_t size, const struct buf *b,
		 struct err *e)
{
	char hex[DIGEST_HEX_LEN + 1];
	if (size >= 0 && (json_int_t)b->len != size)
		return err_set(e, ERR_BAD_INPUT, "%s: size mismatch: expected %lld bytes, got %zu",
			       what, (long long)size, b->len);
	digest_of(b->data ? b->data : "", b->len, hex);
	if (strcmp(want + 7, hex) != 0)
		return err_set(e, ERR_BAD_INPUT, "%s: digest mismatch: expected %s, got sha256:%s",
			       what, want, hex);
	return 0;
}

int source_file(const struct source *s, const char *path, struct err *e)
{
	const int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY;
	if (s->ours)
		return fs_open_in_root(s->dir, path, flags, 0, e);
	/* The user's own directory may well be made of links. */
	int fd = openat(s->dir, path, flags | O_CLOEXEC);
	return fd < 0 ? err_sys(e, "open %s", path) : fd;
}

static void blob_path(const char *digest, char out[96])
{
	snprintf(out, 96, "blobs/sha256/%.64s", digest + 7);
}

static int read_blob(struct source *s, const char *digest, struct buf *b, struct err *e)
{
	char path[96];
	blob_path(digest, path);
	AUTO_CLOSE int fd = source_file(s, path, e);
	return fd < 0 ? -1 : read_regular(fd, path, b, e);
}

struct wanted {
	const char *digest; /* NULL = not known */
	json_int_t size;
};

static int is_wanted(void *arg, struct fetch *f, const struct buf *b, struct err *e)
{
	const struct wanted *w = arg;
	const char *digest = w->digest, *says = f->http.content_digest;
	if (!digest && strncmp(says, "sha256:", 7) == 0 && digest_is_hex(says + 7))
		digest = says;
	return digest ? check_digest(fetch_where(f), digest, w->size, b, e) : 0;
}

static int registry_manifest(struct source *s, const char *digest, struct buf *b,
			     char media_type[128], char got[DIGEST_STR_LEN + 1], struct err *e)
{
	char path[160], what[REF_STR_SIZE + 16], hex[DIGEST_HEX_LEN + 1];
	if (!digest && *s->ref.digest)
		digest = s->ref.digest;
	struct wanted w = {.digest = digest, .size = -1};
	snprintf(path, sizeof path, "manifests/%.130s", digest ? digest : s->ref.tag);
	snprintf(what, sizeof what, "manifest of %s/%s%c%s", s->ref.host, s->ref.path,
		 digest ? '@' : ':', digest ? digest : s->ref.tag);
	if (fetch_checked(&s->fetch, &s->reg, path, manifest_accept, what, b, is_wanted, &w, e) < 0)
		return -1;
	snprintf(media_type, 128, "%s", s->fetch.http.content_type);
	digest_of(b->data ? b->data : "", b->len, hex);
	snprintf(got, DIGEST_STR_LEN + 1, "sha256:%s", hex);
	return 0;
}

int source_manifest(struct source *s, const char *digest, struct buf *b, char media_type[128],
		    char got[DIGEST_STR_LEN + 1], struct err *e)
{
	char what[100];
	if (s->kind == SOURCE_REGISTRY)
		return registry_manifest(s, digest, b, media_type, got, e);
	if (s->kind == SOURCE_DOCKER) {
		char hex[DIGEST_HEX_LEN + 1];
		digest_of(s->manifest_text.data, s->manifest_text.len, hex);
		snprintf(got, DIGEST_STR_LEN + 1, "sha256:%s", hex);
		media_type[0] = '\0';
		return buf_add(b, s->manifest_text.data, s->manifest_text.len, e);
	}
	if (!digest)
		snprintf(media_type, 128, "%s", s->top.media_type);
	else
		media_type[0] = '\0';
	snprintf(got, DIGEST_STR_LEN + 1, "%s", digest ? digest : s->top.digest);
	if (read_blob(s, got, b, e) < 0)
		return -1;
	snprintf(what, sizeof what, "manifest %s", got);
	return check_digest(what, got, -1, b, e);
}

int source_config(struct source *s, const struct descriptor *d, struct buf *b, struct err *e)
{
	char path[100], what[100];
	snprintf(what, sizeof what, "config %s", d->digest);
	int rc = 0;
	if (s->kind == SOURCE_DOCKER) {
		rc = buf_add(b, s->config_text.data, s->config_text.len, e);
	} else if (s->kind == SOURCE_OCI) {
		rc = read_blob(s, d->digest, b, e);
	} else {
		struct wanted w = {.digest = d->digest, .size = d->size};
		snprintf(path, sizeof path, "blobs/%s", d->digest);
		return fetch_checked(&s->fetch, &s->reg, path, NULL, what, b, is_wanted, &w, e);
	}
	return rc < 0 ? -1 : check_digest(what, d->digest, d->size, b, e);
}

int source_open_layer(struct source *s, size_t index, const struct descriptor *d, long long *size,
		      struct err *e)
{
	char path[96];
	struct stat st;
	blob_path(d->digest, path);
	const char *name = s->kind == SOURCE_DOCKER
				   ? json_string_value(json_array_get(s->layer_paths, index))
				   : path;
	AUTO_CLOSE int fd = source_file(s, name, e);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, ERR_BAD_INPUT, "%.200s: not a regular file", name);
	*size = st.st_size;
	return TAKE_FD(fd);
}

/* A fifo is there before anybody writes to it: to open it could take for ever. */
static int open_archive(struct engine *en, const char *file, struct err *e)
{
	struct stat st;
	bool ready = false;
	AUTO_CLOSE int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "open %s", file);
	while (S_ISFIFO(st.st_mode) && !ready) {
		engine_watch(en, fd, POLLIN, &ready);
		if (engine_wait(en, e) < 0)
			return -1;
	}
	/* The child waits for what comes. */
	if (fcntl(fd, F_SETFL, 0) < 0)
		return err_sys(e, "open %s", file);
	return TAKE_FD(fd);
}

/* Unpack an archive into tmp/files, which becomes the directory. */
static int unpack_archive(struct source *s, const char *file, const struct config *cfg,
			  const struct imgstore_tmp *tmp, struct err *e)
{
	const struct unpack_limits max = {(unsigned long long)cfg->unpack_max_bytes,
					  (unsigned long long)cfg->unpack_max_entries,
					  (unsigned long long)cfg->unpack_max_ratio};
	struct unpacker u = UNPACKER_NONE;
	struct space space;
	AUTO_CLOSE int fd = open_archive(s->engine, file, e);
	if (fd < 0 || space_begin(&space, tmp->dir, cfg, 0, e) < 0)
		return -1;
	if (mkdirat(tmp->dir, "files", 0700) < 0)
		return err_sys(e, "mkdir files");
	s->dir = fs_open_dir(tmp->dir, "files", e);
	s->ours = true;
	int rc = s->dir < 0 ? -1 : unpacker_start_files(&u, s->dir, fd, &max, e);
	while (rc == 0 && !u.ended) {
		unpacker_watch(&u, s->engine);
		rc = engine_wait(s->engine, e);
		rc = rc < 0 ? rc : unpacker_step(&u, e);
		rc = rc < 0 ? rc : space_check(&space, e);
	}
	if (rc == 0 && u.failed) {
		*e = u.error;
		rc = err_wrap(e, "%s", file);
	}
	unpacker_kill(&u);
	return rc;
}

/* The last component without what tells the format. */
static void base_name(const char *path, char *out, size_t size)
{
	static const char *const suffixes[] = {".gz", ".zst", ".tgz", ".tar", ".oci"};
	size_t len = strlen(path);
	while (len > 1 && path[len - 1] == '/')
		len--;
	size_t start = len;
	while (start > 0 && path[start - 1] != '/')
		start--;
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		size_t n = strlen(suffixes[i]);
		if (len - start > n && memcmp(path + len - n, suffixes[i], n) == 0)
			len -= n;
	}
	snprintf(out, size, "%.*s", (int)(len - start), path + start);
}

/* FILE[:REST]: a colon may belong to the name, so the longest name that exists is the file. */
static int split(const char *typed, char file[PATH_MAX], const char **rest, struct err *e)
{
	for (const char *end = typed + strlen(typed);;) {
		size_t len = (size_t)(end - typed);
		if (len == 0 || len >= PATH_MAX)
			break;
		memcpy(file, typed, len);
		file[len] = '\0';
		if (faccessat(AT_FDCWD, file, F_OK, 0) == 0) {
			*rest = *end ? end + 1 : "";
			return 0;
		}
		do
			end--;
		while (end > typed && *end != ':');
	}
	return err_set(e, ERR_NOT_FOUND, "no such file or directory: %.300s", typed);
}

static int open_local(struct source *s, const struct config *cfg, const struct imgstore_tmp *tmp,
		      const char *typed, bool archive, struct err *e)
{
	char file[PATH_MAX] = "";
	const char *rest = "";
	struct stat st;
	if (split(typed, file, &rest, e) < 0)
		return -1;
	base_name(file, s->base, sizeof s->base);
	if (archive && stat(file, &st) == 0 && S_ISDIR(st.st_mode)) {
		/* Somebody has unpacked it already. */
		s->dir = fs_open_dir(AT_FDCWD, file, e);
		s->ours = true;
		if (s->dir < 0)
			return -1;
	} else if (archive) {
		if (unpack_archive(s, file, cfg, tmp, e) < 0)
			return -1;
	} else {
		s->dir = open(file, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (s->dir < 0)
			return err_sys(e, "open %s", file);
	}
	int rc = s->kind == SOURCE_OCI ? layout_open(s, rest, e) : docker_archive_open(s, rest, e);
	return rc < 0 ? err_wrap(e, "%s", file) : 0;
}

/* Whoever writes there may take long, or for ever. */
static int read_auth(struct engine *en, int fd, struct buf *b, struct err *e)
{
	for (;;) {
		bool ready;
		engine_watch(en, fd, POLLIN, &ready);
		if (buf_reserve(b, 4096, e) < 0 || engine_wait(en, e) < 0)
			return -1;
		if (!ready)
			continue;
		ssize_t n = read(fd, b->data + b->len, 4096);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return err_sys(e, "read");
		buf_grew(b, (size_t)n);
		if (n == 0)
			return 0;
	}
}

static int open_registry(struct source *s, const struct config *cfg, int auth_fd, const char *typed,
			 struct err *e)
{
	AUTO_BUF struct buf cri = BUF_INIT(AUTH_MAX);
	s->kind = SOURCE_REGISTRY;
	if (ref_parse(&s->ref, typed, e) < 0)
		return -1;
	if (auth_fd >= 0 && read_auth(s->engine, auth_fd, &cri, e) < 0)
		return e->kind == ERR_CANCELLED ? -1 : err_wrap(e, "--auth-fd %d", auth_fd);
	int rc = auth_store_load(&s->auth, &cri, s->ref.host, cfg->auth_file, e);
	if (cri.data)
		explicit_bzero(cri.data, cri.len);
	return rc < 0 ? -1 : registry_open(&s->reg, s->engine, cfg, &s->ref, &s->auth, e);
}

int source_open(struct source *s, struct engine *en, const struct config *cfg, int auth_fd,
		const struct imgstore_tmp *tmp, const char *typed, struct err *e)
{
	*s = (struct source){.kind = SOURCE_OCI,
			     .engine = en,
			     .dir = -1,
			     .config_text = BUF_INIT(IMAGE_CONFIG_MAX),
			     .manifest_text = BUF_INIT(MANIFEST_MAX)};
	s->names = json_array();
	if (strncmp(typed, "oci:", 4) == 0)
		return open_local(s, cfg, tmp, typed + 4, false, e);
	if (strncmp(typed, "oci-archive:", 12) == 0)
		return open_local(s, cfg, tmp, typed + 12, true, e);
	if (strncmp(typed, "docker-archive:", 15) == 0) {
		s->kind = SOURCE_DOCKER;
		return open_local(s, cfg, tmp, typed + 15, true, e);
	}
	if (strncmp(typed, "docker://", 9) == 0)
		typed += 9;
	return open_registry(s, cfg, auth_fd, typed, e);
}

void source_release(struct source *s)
{
	fetch_release(&s->fetch);
	registry_release(&s->reg);
	auth_store_release(&s->auth);
	auto_close(&s->dir);
	buf_release(&s->config_text);
	buf_release(&s->manifest_text);
	json_decref(s->layer_paths);
	json_decref(s->names);
}
