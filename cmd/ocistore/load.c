/* SPDX-License-Identifier: Apache-2.0 */
#include "archive.h"
#include "auto.h"
#include "fs.h"
#include "image.h"
#include "imgstore.h"
#include "jsonx.h"
#include "proc.h"
#include "xalloc.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { OUT_MAX = 1 << 20, INDEX_MAX = 4 << 20, CHUNK = 1 << 20, LOOK_MS = 100 };
static const char *load_input = "-";

const struct opt load_opts[] = {
	{"input", 'i', OPT_STRING, &load_input, "FILE|DIR|-",
	 "where from (-: standard input, the default)"},
	{.name = NULL},
};

/* Beside ourselves: the one that belongs to us. */
static int ocipull_path(char out[PATH_MAX], struct err *e)
{
	ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
	char *slash = n > 0 ? memrchr(out, '/', (size_t)n) : NULL;
	if (!slash || slash - out + sizeof "/ocipull" > PATH_MAX)
		return err_sys(e, "find ocipull");
	memcpy(slash, "/ocipull", sizeof "/ocipull");
	return 0;
}

/* With CRISP_LOG=json the line is an object. */
static bool error_of_json(const char *line, size_t len, int status, struct err *e)
{
	struct err ignored;
	AUTO_JSON json_t *j = *line == '{' ? jsonx_parse(line, len, "error", &ignored) : NULL;
	const char *msg = jsonx_opt_string(j, "msg", NULL);
	if (msg)
		err_set(e, err_kind_of_exit(status), "%s", msg);
	return msg;
}

/* "ocipull: error: TEXT" -> TEXT, of the last line. */
static void error_of(const struct buf *b, int status, struct err *e)
{
	const char *text = b->data ? b->data : "", *end = text + b->len;
	while (end > text && end[-1] == '\n')
		end--;
	const char *nl = memrchr(text, '\n', (size_t)(end - text));
	const char *line = nl ? nl + 1 : text;
	if (error_of_json(line, (size_t)(end - line), status, e))
		return;
	static const char *const heads[] = {"ocipull: ", "error: "};
	for (size_t i = 0; i < ARRAY_LEN(heads); i++)
		if (strncmp(line, heads[i], strlen(heads[i])) == 0)
			line += strlen(heads[i]);
	if (line >= end)
		err_set(e, err_kind_of_exit(status), "ocipull ended with %d", status);
	else
		err_set(e, err_kind_of_exit(status), "%.*s", (int)(end - line), line);
}

static int run_pull(const char *const *argv, int in, int cwd, struct buf *out, struct err *e)
{
	struct proc_spec spec = PROC_SPEC(argv);
	struct proc_result r;
	AUTO_BUF struct buf errors = BUF_INIT(OUT_MAX);
	spec.in = in;
	spec.cwd = cwd;
	spec.die_with_parent = true; /* what it leaves is swept */
	if (proc_run(&spec, NULL, 0, out, &errors, -1, &r, e) < 0)
		return -1;
	int status = proc_exit_code(&r);
	if (status == 0)
		return 0;
	error_of(&errors, status, e);
	return -1;
}

int run_ocipull(const struct tool_ctx *c, const char *const *args, struct buf *out, struct err *e)
{
	enum { ARGS_MAX = 2 * OPT_STRINGS_MAX + 32 };
	char exe[PATH_MAX];
	const char *argv[ARGS_MAX] = {
		exe, "--root", c->cfg.root, "--runroot", c->cfg.runroot, "--progress", "none"};
	size_t n = 7;
	if (ocipull_path(exe, e) < 0)
		return -1;
	if (c->config_file) {
		argv[n++] = "--config";
		argv[n++] = c->config_file;
	}
	while (*args && n + 1 < ARGS_MAX)
		argv[n++] = *args++;
	argv[n] = NULL;
	if (run_pull(argv, -1, -1, out, e) < 0)
		return -1;
	while (out && out->len > 0 && out->data[out->len - 1] == '\n')
		out->data[--out->len] = '\0';
	return 0;
}

/* What the configuration keeps free for the rest of the node stays free. */
static int check_space(const struct tool_ctx *c, int dir, struct err *e)
{
	struct statvfs v;
	if (fstatvfs(dir, &v) < 0)
		return err_sys(e, "look for free space");
	if ((unsigned long long)v.f_bavail * v.f_frsize >=
	    (unsigned long long)c->cfg.min_free_bytes)
		return 0;
	return err_set(e, ERR_EXHAUSTED,
		       "no space: the archive would leave less than %lld bytes free "
		       "(min_free_bytes)",
		       (long long)c->cfg.min_free_bytes);
}

/* A pipe's bytes are put aside first, as the reader may want to go back. */
static int spool(const struct tool_ctx *c, const struct imgstore_tmp *t, int from, struct err *e)
{
	AUTO_CLOSE int fd = openat(t->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	AUTO_FREE char *chunk = xmalloc(CHUNK);
	if (fd < 0)
		return err_sys(e, "make a temporary file");
	for (size_t fresh = CHUNK * 16;;) {
		if (fresh >= CHUNK * 16) {
			if (check_space(c, t->dir, e) < 0)
				return -1;
			fresh = 0;
		}
		ssize_t n = read(from, chunk, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read the archive");
		if (n == 0)
			break;
		if (fs_write_all(fd, chunk, (size_t)n, e) < 0)
			return err_wrap(e, "put the archive aside");
		fresh += (size_t)n;
	}
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, "seek");
	return TAKE_FD(fd);
}

/* Read the child's report to its end; nothing tells of a disk that fills up, so that is looked at. */
static int watch(const struct tool_ctx *c, const struct imgstore_tmp *t, int out,
		 struct buf *report, struct err *e)
{
	struct pollfd p = {.fd = out, .events = POLLIN};
	for (;;) {
		if (check_space(c, t->dir, e) < 0)
			return -1;
		int n = poll(&p, 1, LOOK_MS);
		if (n < 0 && errno != EINTR)
			return err_sys(e, "poll");
		if (n <= 0)
			continue;
		if (buf_reserve(report, 4096, e) < 0)
			return -1;
		ssize_t got = read(out, report->data + report->len, 4096);
		if (got < 0 && errno != EINTR)
			return err_sys(e, "read the unpacking child's report");
		if (got == 0)
			return 0;
		buf_grew(report, got < 0 ? 0 : (size_t)got);
	}
}

static int start_unpacking(const struct tool_ctx *c, int dir, int archive, struct proc *p,
			   struct err *e)
{
	char exe[PATH_MAX], bytes[24], entries[24], ratio[24];
	int out[2];
	const char *argv[] = {exe, "--unpack-child", "files", bytes, entries, ratio, NULL};
	snprintf(bytes, sizeof bytes, "%lld", (long long)c->cfg.unpack_max_bytes);
	snprintf(entries, sizeof entries, "%lld", (long long)c->cfg.unpack_max_entries);
	snprintf(ratio, sizeof ratio, "%lld", (long long)c->cfg.unpack_max_ratio);
	if (ocipull_path(exe, e) < 0)
		return -1;
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	struct proc_spec spec = PROC_SPEC(argv);
	spec.in = archive;
	spec.out = out[1];
	spec.cwd = dir;
	spec.new_group = true;
	spec.die_with_parent = true;
	int rc = proc_start(p, &spec, e);
	auto_close(&out[1]);
	if (rc < 0)
		auto_close(&out[0]);
	return rc < 0 ? -1 : out[0];
}

/* The archive's files, unpacked by ocipull's confined child (its unpack.h), below the store's
 * tmp/. */
static int unpack(const struct tool_ctx *c, const struct imgstore_tmp *t, const char *base,
		  int archive, struct err *e)
{
	struct proc p = PROC_NONE;
	struct proc_result r;
	struct err ignored;
	AUTO_BUF struct buf report = BUF_INIT(OUT_MAX);
	if (mkdirat(t->dir, base, 0700) < 0)
		return err_sys(e, "mkdir %.200s", base);
	AUTO_CLOSE int dir = fs_open_dir(t->dir, base, e);
	AUTO_CLOSE int out = dir < 0 ? -1 : start_unpacking(c, dir, archive, &p, e);
	if (out < 0)
		return -1;
	if (watch(c, t, out, &report, e) < 0) {
		proc_kill(&p, SIGKILL);
		(void)proc_wait(&p, 10000, &r, &ignored);
		return -1;
	}
	if (proc_wait(&p, 10000, &r, e) < 0)
		return -1;
	if (r.exited && r.status == 0)
		return 0;
	/* "e KIND TEXT", NUL-terminated */
	char kind[32] = "";
	const char *text =
		report.len > 2 && report.data[0] == 'e' ? strchr(report.data + 2, ' ') : NULL;
	if (!text)
		return err_set(e, ERR_FAILED, "the unpacking child ended with %d",
			       proc_exit_code(&r));
	snprintf(kind, sizeof kind, "%.*s", (int)(text - report.data - 2), report.data + 2);
	return err_set(e, err_kind_of_name(kind), "%s", text + 1);
}

/* How many images are in the directory, and how ocipull is told to read it. */
static int look(int dir, const char **transport, size_t *count, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(INDEX_MAX);
	static const char *const files[] = {"manifest.json", "index.json"};
	static const char *const transports[] = {"docker-archive", "oci-archive"};
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		/* Nothing leads out of it: it may be a hostile archive's. */
		AUTO_CLOSE int fd = fs_open_in_root(dir, files[i], O_RDONLY | O_NONBLOCK, 0, e);
		if (fd < 0 && (e->kind == ERR_NOT_FOUND || e->errnum == ENOTDIR))
			continue;
		char path[40];
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		if (fd < 0 || fs_read_at(AT_FDCWD, path, &b, e) < 0)
			return err_wrap(e, "%s", files[i]);
		AUTO_JSON json_t *j = jsonx_parse(b.data ? b.data : "", b.len, files[i], e);
		json_t *list = j && i == 1 ? json_object_get(j, "manifests") : j;
		if (!j)
			return -1;
		if (!json_is_array(list) || json_array_size(list) == 0)
			return err_set(e, ERR_BAD_INPUT, "%s: no image in it", files[i]);
		*transport = transports[i];
		*count = json_array_size(list);
		return 0;
	}
	return err_set(e, ERR_BAD_INPUT,
		       "neither a docker archive nor an OCI layout: there is no manifest.json and "
		       "no index.json in it");
}

/* ids: in the order of the archive, each once. */
static int load_images(const struct tool_ctx *c, const char *dir, const char *transport,
		       size_t count, json_t *ids, struct err *e)
{
	char ref[PATH_MAX + 64];
	size_t k;
	json_t *seen;
	for (size_t i = 0; i < count; i++) {
		AUTO_BUF struct buf id = BUF_INIT(OUT_MAX);
		snprintf(ref, sizeof ref, "%s:%s:@%zu", transport, dir, i);
		const char *args[] = {ref, NULL};
		if (run_ocipull(c, args, &id, e) < 0)
			return -1;
		bool again = false;
		json_array_foreach (ids, k, seen)
			again = again ||
				strcmp(json_string_value(seen), id.data ? id.data : "") == 0;
		if (!again)
			json_array_append_new(ids, json_string(id.data ? id.data : ""));
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void print_image(const struct tool_ctx *c, const char *id, json_t *all)
{
	const char *name;
	json_t *target;
	size_t n = 0;
	AUTO_FREE const char **list = calloc(json_object_size(all) + 1, sizeof *list);
	json_object_foreach (all, name, target)
		if (list && strcmp(json_string_value(target), id) == 0)
			list[n++] = name;
	if (list)
		qsort(list, n, sizeof *list, by_name);
	AUTO_JSON json_t *names = json_array();
	for (size_t i = 0; i < n; i++) {
		json_array_append_new(names, json_string(list[i]));
		if (!c->json)
			printf("%s %s\n", id, list[i]);
	}
	if (c->json) {
		AUTO_JSON json_t *row = json_pack("{s:s,s:O}", "id", id, "names", names);
		json_dumpf(row, stdout, JSON_COMPACT);
		putchar('\n');
	} else if (n == 0) {
		printf("%s\n", id);
	}
}

/* dir: the layout's, or the unpacked archive's. */
static int load_dir(const struct tool_ctx *c, const char *path, struct err *e)
{
	const char *transport = NULL;
	size_t count = 0, i;
	json_t *id;
	AUTO_JSON json_t *ids = json_array();
	AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, "open");
	if (look(dir, &transport, &count, e) < 0 ||
	    load_images(c, path, transport, count, ids, e) < 0)
		return -1;
	AUTO_JSON json_t *names = image_names(&c->st, e);
	if (!names)
		return -1;
	json_array_foreach (ids, i, id)
		print_image(c, json_string_value(id), names);
	return 0;
}

static int load_archive(const struct tool_ctx *c, const struct imgstore_tmp *t, int fd,
			struct err *e)
{
	struct stat st;
	char path[PATH_MAX], base[NAME_MAX + 1];
	/* The directory has the archive's name, which an image may get that has only a tag. */
	const char *slash = strrchr(load_input, '/');
	snprintf(base, sizeof base, "%.240s", slash ? slash + 1 : load_input);
	if (strcmp(base, "-") == 0 || strcmp(base, "lock") == 0)
		snprintf(base, sizeof base, "loaded");
	if (fstat(fd, &st) < 0)
		return err_sys(e, "stat");
	AUTO_CLOSE int spooled = S_ISREG(st.st_mode) ? -1 : spool(c, t, fd, e);
	if (!S_ISREG(st.st_mode) && spooled < 0)
		return -1;
	if (unpack(c, t, base, spooled >= 0 ? spooled : fd, e) < 0)
		return -1;
	if ((size_t)snprintf(path, sizeof path, "%s/tmp/%s/%s", c->cfg.root, t->name, base) >=
	    sizeof path)
		return err_set(e, ERR_FAILED, "path too long");
	return load_dir(c, path, e);
}

int store_load(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	struct imgstore_tmp t = IMGSTORE_TMP_NONE;
	struct err ignored;
	struct stat st;
	const char *name = strcmp(load_input, "-") == 0 ? "standard input" : load_input;
	(void)argc;
	(void)argv;
	AUTO_CLOSE int fd = strcmp(load_input, "-") == 0
				    ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
				    : open(load_input, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_sys(e, "open %.300s", name);
	if (isatty(fd))
		return err_set(e, ERR_USAGE, "an archive is not read from a terminal: use -i FILE");
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		return load_dir(c, load_input, e) < 0 ? err_wrap(e, "%.300s", name) : 0;
	if (imgstore_clean_tmp(&c->st, NULL, e) < 0 || imgstore_tmp_new(&c->st, "load", &t, e) < 0)
		return -1;
	int rc = load_archive(c, &t, fd, e);
	if (imgstore_tmp_drop(&c->st, &t, rc == 0 ? e : &ignored) < 0)
		return -1;
	return rc < 0 ? err_wrap(e, "%.300s", name) : 0;
}
