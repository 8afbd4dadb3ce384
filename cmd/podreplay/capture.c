/* SPDX-License-Identifier: Apache-2.0 */
#include "capture.h"

#include "auto.h"
#include "fs.h"
#include "handler.h"
#include "jsonx.h"
#include "log.h"
#include "podreplay.h"
#include "record.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { DOC_MAX = 32 << 20, JOURNAL_MAX = 4 << 20, LOG_MAX = 1 << 20, NETWORKS = 16 };

/* Either JSON or text. */
struct capture_doc {
	char *path;
	json_t *json;
	char *text;
	size_t len;
};

static struct capture_doc *new_doc(struct capture *k, const char *path)
{
	if (k->n_docs == k->room) {
		k->room = k->room ? 2 * k->room : 64;
		k->docs = xrealloc(k->docs, k->room * sizeof *k->docs);
	}
	struct capture_doc *d = &k->docs[k->n_docs++];
	*d = (struct capture_doc){.path = xstrdup(path)};
	return d;
}

void capture_json(struct capture *k, const char *path, json_t *j)
{
	new_doc(k, path)->json = j;
}

void capture_text(struct capture *k, const char *path, char *data, size_t len)
{
	struct capture_doc *d = new_doc(k, path);
	d->text = data;
	d->len = len;
}

void capture_record(struct capture *k, int dir, const char *name, const char *path)
{
	struct err why;
	AUTO_BUF struct buf b = BUF_INIT(DOC_MAX);
	if (fs_read_at(dir, name, &b, &why) < 0) {
		if (why.kind != ERR_NOT_FOUND)
			log_warn("%s is left out: %s", path, why.msg);
		return;
	}
	json_t *j = jsonx_parse(b.data ? b.data : "", b.len, path, &why);
	size_t len = b.len;
	if (j)
		capture_json(k, path, j);
	else
		capture_text(k, path, buf_take(&b), len);
}

void capture_public(struct capture *k, const char *text)
{
	if (k->redactor && *text)
		redactor_spare(k->redactor, text);
}

/* ---- the pod */

static void add_text_file(struct capture *k, int dir, const char *name, const char *path)
{
	struct err why;
	struct buf b = BUF_INIT(JOURNAL_MAX);
	if (fs_read_at(dir, name, &b, &why) == 0) {
		size_t len = b.len;
		capture_text(k, path, buf_take(&b), len);
	} else if (why.kind != ERR_NOT_FOUND) {
		log_warn("%s is left out: %s", path, why.msg);
	}
	buf_release(&b);
}

static void add_pod_files(struct capture *k, int dir)
{
	static const char *const records[] = {"pod.json", "state.json", "resources.json",
					      "network.json"};
	static const char *const texts[] = {"journal.1", "journal"};
	for (size_t i = 0; i < ARRAY_LEN(records); i++) {
		AUTO_FREE char *path = xasprintf("pods/%s/%s", k->pod, records[i]);
		capture_record(k, dir, records[i], path);
	}
	for (int i = 1; i < NETWORKS; i++) {
		AUTO_FREE char *name = xasprintf("network.%d.json", i);
		AUTO_FREE char *path = xasprintf("pods/%s/%s", k->pod, name);
		if (faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			break;
		capture_record(k, dir, name, path);
	}
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		AUTO_FREE char *path = xasprintf("pods/%s/%s", k->pod, texts[i]);
		add_text_file(k, dir, texts[i], path);
	}
}

/* The handler as it resolves now; by the name that was asked for when it is gone. */
static void add_handler(struct capture *k, const char *asked, char **resolved)
{
	AUTO_HANDLER struct handler h = {0};
	struct err why;
	if (handler_find(&h, &k->c->cfg, asked, &why) < 0) {
		log_warn("%s", why.msg);
		*resolved = xstrdup(asked);
		return;
	}
	*resolved = xstrdup(h.name);
	json_object_set_new(k->runtimes, h.name, json_string(h.path));
	AUTO_FREE char *file = xasprintf("handlers/%s.json", h.name);
	AUTO_FREE char *can = xasprintf("handlers/%s.can.json", h.name);
	if (h.file)
		capture_record(k, AT_FDCWD, h.file, file);
	json_t *j = handler_can(&k->c->cfg, &h);
	if (j)
		capture_json(k, can, j);
}

static int add_pod(struct capture *k, struct err *e)
{
	struct err why;
	AUTO_POD_RECORD struct pod_record rec = {0};
	AUTO_FREE char *handler = NULL;
	AUTO_CLOSE int dir = object_open(&k->c->st, OBJ_POD, k->pod, e);
	if (dir < 0)
		return -1;
	AUTO_JSON json_t *config = object_config_read(dir, OBJ_POD, &why);
	json_t *meta = json_object_get(config, "metadata");
	if (pod_record_read_at(dir, &rec, &why) < 0)
		log_warn("pod %s: %s", k->pod, why.msg);
	add_handler(k, rec.handler ? rec.handler : "", &handler);
	json_t *pod =
		json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:s}", "id", k->pod, "name",
			  jsonx_opt_string(meta, "name", ""), "namespace",
			  jsonx_opt_string(meta, "namespace", ""), "uid",
			  jsonx_opt_string(meta, "uid", ""), "attempt",
			  jsonx_opt_int(meta, "attempt", 0), "origin", rec.origin ? rec.origin : "",
			  "handler", handler, "state", rec.state ? rec.state : "damaged");
	json_object_set_new(k->index, "pod", pod);
	static const char *const names[] = {"id", "name", "namespace", "uid", "handler"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		capture_public(k, jsonx_opt_string(pod, names[i], ""));
	capture_public(k, jsonx_opt_string(config, "hostname", ""));
	add_pod_files(k, dir);
	return 0;
}

/* ---- its containers */

struct row {
	char id[ID_SIZE];
	int64_t created;
};

struct found {
	struct row *rows;
	size_t n, room;
	const char *pod;
	const struct state *st;
};

static int take_container(void *arg, const char *id, struct err *e)
{
	struct found *f = arg;
	struct err why;
	AUTO_CTR_RECORD struct ctr_record r = {0};
	(void)e;
	if (ctr_record_read(f->st, id, &r, &why) < 0 || strcmp(r.pod_id, f->pod) != 0 ||
	    ctr_is_sandbox(&r))
		return 0;
	if (f->n == f->room) {
		f->room = f->room ? 2 * f->room : 16;
		f->rows = xrealloc(f->rows, f->room * sizeof *f->rows);
	}
	struct row *row = &f->rows[f->n++];
	snprintf(row->id, ID_SIZE, "%s", id);
	row->created = r.created_at;
	return 0;
}

static int by_creation(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	if (x->created != y->created)
		return x->created < y->created ? -1 : 1;
	return strcmp(x->id, y->id);
}

/* The last lines of the file, no more than fit, from the beginning of a line. */
static char *tail(int fd, long lines, size_t *len)
{
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0 || lines <= 0)
		return NULL;
	off_t from = st.st_size > LOG_MAX ? st.st_size - LOG_MAX : 0;
	char *text = xmalloc(LOG_MAX + 1);
	ssize_t n = pread(fd, text, LOG_MAX, from);
	size_t at = n > 0 ? (size_t)n : 0, end = at;
	if (at && text[at - 1] == '\n')
		at--;
	for (; at > 0 && lines > 0; at--)
		lines -= text[at - 1] == '\n';
	if (lines <= 0)
		at++;
	else if (from) { /* in the middle of a line */
		const char *nl = memchr(text, '\n', end);
		at = nl ? (size_t)(nl - text) + 1 : end;
	}
	*len = end - at;
	memmove(text, text + at, *len);
	text[*len] = '\0';
	return text;
}

static void add_log(struct capture *k, const char *id, const char *file)
{
	size_t len = 0;
	if (!*file)
		return;
	AUTO_CLOSE int fd = open(file, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	char *text = fd < 0 ? NULL : tail(fd, k->opt->log_lines, &len);
	if (fd < 0 && errno != ENOENT)
		log_warn("log of container %s is left out: %s: %s", id, file,
			 strerrordesc_np(errno));
	AUTO_FREE char *path = xasprintf("containers/%s/log", id);
	if (text)
		capture_text(k, path, text, len);
}

/* How one ended of which nobody has written it down. */
static json_t *exit_json(const struct exit_record *x)
{
	json_t *j =
		json_pack("{s:i, s:I, s:I, s:b, s:I, s:I, s:I, s:I, s:s?, s:s?, s:s?}", "version",
			  1, "exit_code", (json_int_t)x->exit_code, "signal", (json_int_t)x->signal,
			  "oom", x->oom, "started_at", (json_int_t)x->started_at, "finished_at",
			  (json_int_t)x->finished_at, "lost_lines", (json_int_t)x->lost_lines,
			  "dropped_lines", (json_int_t)x->dropped_lines, "reason", x->reason,
			  "message", x->message, "stderr_tail", x->stderr_tail);
	record_put_counts(j, &x->used);
	return j;
}

static void add_container_files(struct capture *k, const char *id, int dir)
{
	static const char *const records[] = {"container.json", "state.json", "exit.json",
					      "resources.json"};
	struct err ignored;
	for (size_t i = 0; i < ARRAY_LEN(records); i++) {
		AUTO_FREE char *path = xasprintf("containers/%s/%s", id, records[i]);
		capture_record(k, dir, records[i], path);
	}
	AUTO_CLOSE int run = object_open_run(&k->c->st, OBJ_CONTAINER, id, false, &ignored);
	AUTO_CLOSE int bundle = run < 0 ? -1 : fs_open_dir(run, "bundle", &ignored);
	AUTO_FREE char *path = xasprintf("containers/%s/config.json", id);
	if (bundle >= 0)
		capture_record(k, bundle, "config.json", path);
}

static void note_container(struct capture *k, const char *id, const struct ctr_record *r,
			   json_t *config, const char *state)
{
	json_t *meta = json_object_get(config, "metadata"), *image;
	size_t i;
	json_array_append_new(json_object_get(k->index, "containers"),
			      json_pack("{s:s, s:s, s:I, s:s, s:s, s:s}", "id", id, "name",
					jsonx_opt_string(meta, "name", ""), "attempt",
					jsonx_opt_int(meta, "attempt", 0), "handler", r->handler,
					"state", state, "image_id", r->image_id));
	json_array_append_new(k->containers, json_pack("{s:s, s:O}", "id", id, "config", config));
	if (*r->image_id)
		json_object_set_new(k->images, r->image_id, json_true());
	json_array_foreach (r->mount_images, i, image)
		if (json_is_string(image))
			json_object_set_new(k->images, json_string_value(image), json_true());
	if (*r->runtime)
		json_object_set_new(k->runtimes, r->handler, json_string(r->runtime));
	capture_public(k, id);
	capture_public(k, jsonx_opt_string(meta, "name", ""));
	capture_public(k, r->image);
	capture_public(k, r->image_id);
}

static void add_container(struct capture *k, const char *id)
{
	struct err why;
	AUTO_CTR_RECORD struct ctr_record r = {0};
	AUTO_EXIT_RECORD struct exit_record x = {0};
	AUTO_CLOSE int dir = object_open(&k->c->st, OBJ_CONTAINER, id, &why);
	if (dir < 0 || ctr_record_read_at(dir, &r, &why) < 0) {
		log_warn("%s", why.msg); /* removed meanwhile */
		return;
	}
	AUTO_JSON json_t *config = object_config_read(dir, OBJ_CONTAINER, &why);
	if (!config)
		config = json_object();
	enum ctr_state state = ctr_effective(&k->c->st, &r, &x);
	note_container(k, id, &r, config, ctr_state_name(state));
	add_container_files(k, id, dir);
	if (state == CTR_EXITED && faccessat(dir, "exit.json", F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
		AUTO_FREE char *path = xasprintf("containers/%s/exit.json", id);
		capture_json(k, path, exit_json(&x));
	}
	add_log(k, id, r.log_path);
}

/* Oldest first. */
static int add_containers(struct capture *k, struct err *e)
{
	struct found f = {.pod = k->pod, .st = &k->c->st};
	int r = object_each(&k->c->st, OBJ_CONTAINER, take_container, &f, e);
	if (r == 0 && f.n > 0)
		qsort(f.rows, f.n, sizeof *f.rows, by_creation);
	for (size_t i = 0; r == 0 && i < f.n; i++)
		add_container(k, f.rows[i].id);
	free(f.rows);
	return r;
}

/* ---- the archive */

/* The configuration of plugins and runtimes is of forms that nobody knows: what a member's name gives
 * away there goes as it would from text. */
static void clean_members(struct capture *k, struct capture_doc *d)
{
	struct err ignored;
	size_t len;
	const char *leaf = strrchr(d->path, '/');
	if (strncmp(d->path, "handlers/", 9) != 0 && (!leaf || strncmp(leaf, "/network", 8) != 0))
		return;
	AUTO_FREE char *text = json_dumps(d->json, JSON_COMPACT);
	AUTO_FREE char *clean =
		text ? redactor_text(k->redactor, d->path, text, strlen(text), &len) : NULL;
	json_t *j = clean ? jsonx_parse(clean, len, d->path, &ignored) : NULL;
	if (!j)
		return;
	json_decref(d->json);
	d->json = j;
}

static int put_doc(struct capture *k, struct capture_doc *d, struct err *e)
{
	if (d->json) {
		if (k->redactor) {
			redactor_json(k->redactor, d->path, d->json);
			clean_members(k, d);
		}
		return arc_add_json(k->out, d->path, d->json, e);
	}
	size_t len = d->len;
	AUTO_FREE char *clean =
		k->redactor ? redactor_text(k->redactor, d->path, d->text, d->len, &len) : NULL;
	return arc_add(k->out, d->path, clean ? clean : d->text, clean ? len : d->len, e);
}

/* The belt to the braces: nothing that was learned may be in any file. What an image says of itself is
 * there as it is, since its digest is its name. */
static int check_file(void *arg, const char *path, const char *data, size_t len, struct err *e)
{
	if (strncmp(path, "images/", 7) == 0 || !redactor_knows(arg, data, len))
		return 0;
	return err_set(e, ERR_FAILED, "%s: a secret could not be taken out of it", path);
}

static int put_docs(struct capture *k, struct err *e)
{
	for (size_t i = 0; k->redactor && i < k->n_docs; i++)
		if (k->docs[i].json)
			redactor_study(k->redactor, k->docs[i].json);
	for (size_t i = 0; i < k->n_docs; i++)
		if (put_doc(k, &k->docs[i], e) < 0)
			return -1;
	if (arc_add_json(k->out, "podreplay.json", k->index, e) < 0)
		return -1;
	AUTO_JSON json_t *list = json_pack("{s:i, s:O*}", "version", 1, "redacted",
					   k->redactor ? redactor_list(k->redactor) : NULL);
	if (arc_add_json(k->out, "redacted.json", list, e) < 0)
		return -1;
	return k->redactor ? arc_each_added(k->out, check_file, k->redactor, e) : 0;
}

static void learn_given(struct capture *k, json_t *given)
{
	const char *name;
	json_t *v;
	json_object_foreach (given, name, v)
		if (k->redactor && json_is_string(v))
			redactor_learn_lines(k->redactor, json_string_value(v),
					     json_string_length(v));
}

static int gather(struct capture *k, json_t *given, struct err *e)
{
	if (add_pod(k, e) < 0 || add_containers(k, e) < 0 || capture_images(k, e) < 0)
		return -1;
	learn_given(k, given);
	if (capture_volumes(k, e) < 0 || capture_versions(k, e) < 0)
		return -1;
	capture_json(k, "crisp.json", config_dump(&k->c->cfg));
	return 0;
}

static void capture_release(struct capture *k)
{
	struct err ignored;
	for (size_t i = 0; i < k->n_docs; i++) {
		free(k->docs[i].path);
		free(k->docs[i].text);
		json_decref(k->docs[i].json);
	}
	free(k->docs);
	arc_writer_free(k->out);
	redactor_free(k->redactor);
	json_decref(k->index);
	json_decref(k->containers);
	json_decref(k->images);
	json_decref(k->runtimes);
	if (k->tmp)
		(void)fs_remove_tree(AT_FDCWD, k->tmp, &ignored);
	free(k->tmp);
}

int capture_pod(struct tool_ctx *c, const char *pod, const struct capture_options *opt,
		json_t *given, json_t *replay, const char *out, struct err *e)
{
	__attribute__((cleanup(capture_release))) struct capture k = {
		.c = c,
		.opt = opt,
		.out = arc_writer_new(),
		.redactor = opt->secrets ? NULL : redactor_new(0),
		.index = json_pack("{s:s, s:i, s:s, s:{}, s:[], s:[], s:[], s:{s:b, s:b, s:s}}",
				   "format", "podreplay", "version", ARC_VERSION, "kind",
				   replay ? "replay" : "capture", "pod", "containers", "images",
				   "volumes", "with", "images", opt->images, "secrets",
				   opt->secrets, "volumes", opt->volumes ? opt->volumes : ""),
		.containers = json_array(),
		.images = json_object(),
		.runtimes = json_object(),
	};
	if (k.redactor)
		redactor_number(k.redactor);
	if (replay)
		json_object_set(k.index, "replay", replay);
	memcpy(k.pod, pod, ID_SIZE);
	if (gather(&k, given, e) < 0 || put_docs(&k, e) < 0)
		return err_wrap(e, "capture of pod %.12s", pod);
	return arc_write(k.out, out, e);
}

/* ---- the verb */

static struct capture_options options = {.log_lines = 1000};
static const char *output;

int podreplay_capture(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	char id[ID_SIZE];
	(void)argc;
	if (!output)
		return err_set(e, ERR_USAGE, "capture: -o FILE is missing");
	if (options.log_lines < 0)
		return err_set(e, ERR_USAGE, "--log-lines: not negative");
	if (podreplay_state(c, e) < 0 || object_resolve(&c->st, OBJ_POD, argv[0], id, e) < 0)
		return -1;
	return capture_pod(c, id, &options, NULL, NULL, output, e);
}

const struct opt capture_table[] = {
	{"output", 'o', OPT_STRING, &output, "FILE|-", "the archive to write"},
	{"with-images", 0, OPT_FLAG, &options.images, NULL, "put the images' layers into it"},
	{"with-volumes", 0, OPT_STRING, &options.volumes, "KIND|PATH,...",
	 "put the files of volumes into it: configmap, secret, emptydir, projected, downwardapi, "
	 "csi, "
	 "all, or a host path"},
	{"with-secrets", 0, OPT_FLAG, &options.secrets, NULL, "leave nothing out"},
	{"log-lines", 0, OPT_INT, &options.log_lines, "N",
	 "how much of each container's log to take (1000)"},
	{.name = NULL},
};
