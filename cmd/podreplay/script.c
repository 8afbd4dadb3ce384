/* SPDX-License-Identifier: Apache-2.0 */
/* podreplay script: what podreplay run does, as a shell script of the tools for people to read, to change
 * and to run. The archive is hostile: every word of it is quoted, every document stands behind a quoted
 * delimiter of its own, and in comments nothing ends a line. */
#include "auto.h"
#include "buf.h"
#include "jsonx.h"
#include "podreplay.h"
#include "story.h"
#include "utf8.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SCRIPT_MAX = 256 << 20, COMMENT_SIZE = 1024 };

struct script {
	const struct arc *a;
	struct story s;
	struct buf out;
	struct err *e;
	bool failed; /* *e says why: what is written after that is nothing */
};

__attribute__((format(printf, 2, 3))) static void line(struct script *p, const char *fmt, ...)
{
	va_list ap;
	char *text;
	va_start(ap, fmt);
	int n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	if (!p->failed)
		p->failed = buf_add(&p->out, text, (size_t)n, p->e) < 0 ||
			    buf_addstr(&p->out, "\n", p->e) < 0;
	free(text);
}

static void blank(struct script *p)
{
	line(p, "%s", "");
}

/* One word of the shell; to be freed. */
static char *quoted(const char *s)
{
	struct err ignored;
	struct buf b = BUF_INIT(SCRIPT_MAX);
	(void)buf_addstr(&b, "'", &ignored);
	for (; *s; s++)
		(void)(*s == '\'' ? buf_addstr(&b, "'\\''", &ignored)
				  : buf_add(&b, s, 1, &ignored));
	(void)buf_addstr(&b, "'", &ignored);
	return buf_take(&b);
}

static void comment(struct script *p, const char *before, const char *text)
{
	char clean[COMMENT_SIZE];
	utf8_escape(text, clean, sizeof clean);
	line(p, "# %s%s", before, clean);
}

/* A document in $work, in which @WORK@ is that directory. No line of JSON is the delimiter, since each
 * begins with a blank, a brace or a bracket. */
static void document(struct script *p, const char *name, const json_t *j)
{
	AUTO_FREE char *text = json_dumps(j, JSON_INDENT(2));
	line(p, "here %s <<'END'\n%s\nEND", name, text ? text : "{}");
}

/* ---- volumes ---- */

/* The place of a recorded host path, NULL = it is none of the archive's. */
static char *place_of(const struct script *p, const char *host)
{
	size_t n;
	json_t *row;
	json_array_foreach (json_object_get(p->a->index, "volumes"), n, row)
		if (strcmp(jsonx_opt_string(row, "host_path", ""), host) == 0)
			return xasprintf("@WORK@/volumes/%zu", n);
	return NULL;
}

static void set_owner(struct script *p, const char *word, json_t *en, bool is_link)
{
	json_int_t uid = jsonx_opt_int(en, "uid", 0), gid = jsonx_opt_int(en, "gid", 0);
	unsigned long mode = strtoul(jsonx_opt_string(en, "mode", "0"), NULL, 8) & 01777;
	if (uid || gid)
		line(p, "chown -h %lld:%lld %s", (long long)uid, (long long)gid, word);
	if (mode && !is_link)
		line(p, "chmod %04lo %s", mode, word);
}

static void add_entry(struct script *p, size_t n, json_t *en)
{
	const char *type = jsonx_opt_string(en, "type", "");
	const char *path = jsonx_opt_string(en, "path", "");
	AUTO_FREE char *place = xasprintf("volumes/%zu/%s", n, path);
	AUTO_FREE char *word = quoted(place);
	AUTO_FREE char *target = quoted(jsonx_opt_string(en, "target", ""));
	bool is_link = strcmp(type, "link") == 0;
	if (!arc_path_is_valid(place))
		return;
	if (strcmp(type, "dir") == 0)
		line(p, "mkdir -p %s", word);
	else if (is_link)
		line(p, "ln -s -- %s %s", target, word);
	else if (faccessat(p->a->st.root, place, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		line(p, ": >%s", word);
	set_owner(p, word, en, is_link);
}

static void add_volume(struct script *p, size_t n, json_t *row)
{
	static const char *const order[] = {"dir", "file", "link"};
	struct err why;
	size_t i;
	json_t *en;
	AUTO_JSON json_t *v = arc_json(p->a, &why, "volumes/%zu.json", n);
	const char *type = jsonx_opt_string(v, "type", "dir");
	bool is_file = strcmp(type, "dir") != 0 && strcmp(type, "missing") != 0;
	bool captured = jsonx_opt_bool(row, "captured", false);
	char word[32];
	snprintf(word, sizeof word, "volumes/%zu", n);
	blank(p);
	comment(p, captured ? "stands for " : "empty, not in the archive: stands for ",
		jsonx_opt_string(row, "host_path", ""));
	if (is_file) {
		if (captured)
			line(p, "unpack volumes/%zu.file && mv volumes/%zu.file %s", n, n, word);
		else
			line(p, ": >%s", word);
		set_owner(p, word, v, false);
		return;
	}
	line(p, "mkdir %s", word);
	if (captured && faccessat(p->a->st.root, word, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		line(p, "unpack %s", word);
	/* Links last, so that nothing is made through one. */
	for (size_t k = 0; k < ARRAY_LEN(order); k++)
		json_array_foreach (json_object_get(v, "entries"), i, en)
			if (strcmp(jsonx_opt_string(en, "type", ""), order[k]) == 0)
				add_entry(p, n, en);
	set_owner(p, word, v, false);
}

static void add_volumes(struct script *p)
{
	size_t n;
	json_t *row;
	json_array_foreach (json_object_get(p->a->index, "volumes"), n, row)
		add_volume(p, n, row);
}

/* ---- images ---- */

static void add_images(struct script *p)
{
	size_t i, k;
	json_t *row, *ref;
	json_array_foreach (json_object_get(p->a->index, "images"), i, row) {
		AUTO_FREE char *id = quoted(jsonx_opt_string(row, "id", ""));
		blank(p);
		json_array_foreach (json_object_get(row, "names"), k, ref)
			if (json_is_string(ref))
				comment(p, "image ", json_string_value(ref));
		if (jsonx_opt_bool(row, "layers", false)) {
			line(p,
			     "has %s || { unpack oci && ocistore load -i oci >/dev/null; }\nneed "
			     "%s",
			     id, id);
			continue;
		}
		json_array_foreach (json_object_get(row, "pull"), k, ref) {
			AUTO_FREE char *word =
				quoted(json_is_string(ref) ? json_string_value(ref) : "");
			line(p, "has %s || ocipull %s >/dev/null || true", id, word);
		}
		line(p, "need %s", id);
	}
}

/* ---- the pod and its containers ---- */

static void say_redacted(struct script *p)
{
	struct err why;
	size_t i;
	json_t *row;
	AUTO_JSON json_t *doc = arc_json(p->a, &why, "redacted.json");
	json_t *list = json_object_get(doc, "redacted");
	if (!json_array_size(list))
		return;
	line(p, "#\n# These were left out of the archive; put them in where [redacted:N] stands:");
	json_array_foreach (list, i, row) {
		const char *where = jsonx_opt_string(row, "where", "");
		AUTO_FREE char *text = xasprintf("%s: [redacted:%lld]", where,
						 (long long)jsonx_opt_int(row, "value", 0));
		if (strstr(where, "/pod.json: ") || strstr(where, "/container.json: "))
			comment(p, "  ", text);
	}
}

static int add_pod(struct script *p, struct err *e)
{
	AUTO_JSON json_t *pod = json_deep_copy(p->s.config);
	if (!json_is_object(pod))
		return err_set(e, ERR_BAD_INPUT, "the archive has no pod.json");
	json_t *in = json_object_get(pod, "linux");
	json_object_set_new(pod, "log_directory", json_string("@WORK@/logs"));
	/* Where it was is the other machine's. */
	json_object_del(in, "cgroup_parent");
	line(p, "\n# The pod: its namespaces, its network, its address.");
	document(p, "pod.json", pod);
	line(p, "pod=$(podnet create --handler \"$handler\" pod.json)");
	return 0;
}

static void fix_mounts(struct script *p, json_t *config)
{
	size_t i;
	json_t *m;
	json_array_foreach (json_object_get(config, "mounts"), i, m) {
		const char *host = jsonx_opt_string(m, "host_path", "");
		AUTO_FREE char *place = *host ? place_of(p, host) : NULL;
		if (place)
			json_object_set_new(m, "host_path", json_string(place));
	}
}

/* Its end is told by its log, so it needs one; the kubelet has made the directory. */
static void add_log(struct script *p, json_t *config, size_t n)
{
	const char *log = jsonx_opt_string(config, "log_path", "");
	const char *slash = strrchr(log, '/');
	if (!*log)
		json_object_set_new(config, "log_path", json_sprintf("%zu.log", n));
	if (!slash)
		return;
	AUTO_FREE char *dir = xasprintf("logs/%.*s", (int)(slash - log), log);
	AUTO_FREE char *word = quoted(dir);
	line(p, "mkdir -p %s", word);
}

/* Those that had ended when this one was made, have to now. */
static void wait_for_earlier(struct script *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p->s.ctrs[i].state == CTR_EXITED && p->s.ctrs[i].exit.finished_at > 0 &&
		    p->s.ctrs[i].exit.finished_at <= p->s.ctrs[n].rec.created_at)
			line(p, "await \"$ctr%zu\"", i);
}

static int add_container(struct script *p, size_t n, struct err *e)
{
	const struct story_ctr *c = &p->s.ctrs[n];
	AUTO_JSON json_t *config = json_deep_copy(c->config);
	char name[32];
	if (!json_is_object(config))
		return err_set(e, ERR_BAD_INPUT,
			       "container %.64s of the archive has no container.json", c->name);
	if (c->has_rec && *c->rec.image_id)
		json_object_set_new(config, "image",
				    json_pack("{s:s, s:s}", "image", c->rec.image_id,
					      "user_specified_image", c->rec.image));
	fix_mounts(p, config);
	add_log(p, config, n);
	snprintf(name, sizeof name, "%zu.json", n);
	blank(p);
	comment(p, "container ", c->name);
	wait_for_earlier(p, n);
	document(p, name, config);
	line(p, "ctr%zu=$(ocibundle create \"$pod\" %s)", n, name);
	/* As crispd does, whose containers are created also when the runtime refuses. */
	const char *defer =
		strcmp(p->s.rec.origin ? p->s.rec.origin : "", "cri") == 0 ? "--defer-errors " : "";
	if (c->state == CTR_CREATED && !*c->rec.start_error)
		line(p, "ctrrun create %s\"$ctr%zu\"", defer, n);
	else
		line(p,
		     "{ ctrrun create %s\"$ctr%zu\" && ctrrun start \"$ctr%zu\"; } || "
		     "failed \"$ctr%zu\"",
		     defer, n, n, n);
	return 0;
}

static void add_end(struct script *p)
{
	line(p, "\n# How it ended: each container's exit code, the end of its log.");
	for (size_t i = 0; i < p->s.n_ctrs; i++) {
		AUTO_FREE char *name = quoted(p->s.ctrs[i].name);
		if (p->s.ctrs[i].state == CTR_EXITED)
			line(p, "report %s \"$ctr%zu\"", name, i);
		else
			line(p, "ctrrun logs --tail 10 \"$ctr%zu\" || true", i);
	}
	line(p, "exit \"$status\"");
}

/* What the steps below are written in. */
static const char functions[] =
	"here() { sed \"s|@WORK@|$work|g\" >\"$1\"; }\n"
	"has() { ocistore inspect \"$1\" >/dev/null 2>&1; }\n"
	"need() { has \"$1\" || { echo \"image $1 is not here\" >&2 && exit 1; }; }\n"
	"unpack() { tar --zstd -xf \"$archive\" \"$1\"; }\n"
	"failed() { lost=\"$lost $1\"; }\n"
	"# Its log ends when it does; one that was never started has no end.\n"
	"await() {\n"
	"  case \"$lost \" in *\" $1 \"*) return ;; esac\n"
	"  ctrrun logs -f --tail 0 \"$1\" >/dev/null || true\n"
	"}\n"
	"report() {\n"
	"  await \"$2\"\n"
	"  code=$(ctrrun ls --format '{id} {exit_code}' | sed -n \"s/^$2 //p\")\n"
	"  echo \"$1: exit code ${code:-none}\"\n"
	"  ctrrun logs --tail 10 \"$2\" || true\n"
	"  [ \"$status\" != 0 ] || status=${code:-1}\n"
	"}\n"
	"clean() {\n"
	"  [ -z \"${KEEP:-}\" ] || { echo \"pod $pod, files in $work\" && return; }\n"
	"  for ctr in $(ctrrun ls --format '{id} {pod_id}' | sed -n \"s/ ${pod:-none}\\$//p\"); "
	"do\n"
	"    ctrrun rm --force \"$ctr\" && ocibundle rm \"$ctr\"\n"
	"  done\n"
	"  [ -z \"$pod\" ] || podnet rm \"$pod\"\n"
	"  cd / && rm -rf \"$work\"\n"
	"}\n"
	"trap clean EXIT";

static void add_head(struct script *p, const char *file)
{
	json_t *pod = json_object_get(p->a->index, "pod");
	AUTO_FREE char *archive = quoted(file);
	AUTO_FREE char *handler = quoted(jsonx_opt_string(pod, "handler", ""));
	line(p, "#!/bin/sh");
	comment(p, "What 'podreplay run' does, by hand, with the pod ",
		jsonx_opt_string(pod, "name", ""));
	line(p, "# of the archive %s.", p->a->digest);
	line(p,
	     "#\n# sh SCRIPT [ARCHIVE [HANDLER]]; KEEP=1 leaves the pod there. The exit status is "
	     "that of the\n# first container that fails, in the order of the pod.");
	say_redacted(p);
	line(p, "set -eu\nrecorded_archive=%s\nrecorded_handler=%s", archive, handler);
	line(p, "archive=${1:-$recorded_archive} handler=${2:-$recorded_handler}\n"
		"case $archive in /*) ;; *) archive=$PWD/$archive ;; esac\n"
		"work=$(mktemp -d) && cd \"$work\" && mkdir logs volumes\n"
		"pod='' lost='' status=0\n");
	line(p, "%s", functions);
}

int podreplay_script(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_ARC struct arc a = ARC_NONE;
	struct script p = {.a = &a, .out = BUF_INIT(SCRIPT_MAX), .e = e};
	(void)c, (void)argc;
	int r = arc_open(&a, argv[0], NULL, ARC_WITHOUT_IMAGES, e) < 0 ? -1 : 0;
	if (r == 0 && (r = story_read_archive(&p.s, &a, e)) == 0) {
		add_head(&p, argv[0]);
		add_images(&p);
		add_volumes(&p);
		r = add_pod(&p, e);
		for (size_t i = 0; r == 0 && i < p.s.n_ctrs; i++)
			r = add_container(&p, i, e);
		add_end(&p);
	}
	if (r == 0 && !p.failed)
		printf("%s", p.out.data);
	story_release(&p.s);
	buf_release(&p.out);
	return r == 0 && !p.failed ? 0 : -1;
}
