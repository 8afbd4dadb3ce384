/* SPDX-License-Identifier: Apache-2.0 */
#include "admin.h"

#include "auto.h"
#include "jsonx.h"
#include "log.h"
#include "overlay.h"
#include "proc.h"
#include "record.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

enum { NSFS = 0x6e736673 }; /* linux/magic.h */

int admin_ps(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	size_t i;
	json_t *j;
	(void)argc, (void)argv;
	AUTO_JSON json_t *jobs = admin_ask(&c->st, "/ps", e);
	if (!jobs)
		return -1;
	if (c->json) {
		AUTO_FREE char *text = json_dumps(jobs, JSON_COMPACT);
		puts(text ? text : "[]");
		return 0;
	}
	printf("%-24s %-8s %-13s %-13s %-10s %8s  %s\n", "RPC", "REQUEST", "POD", "CONTAINER",
	       "TOOL", "SECONDS", "");
	json_array_foreach (jobs, i, j)
		printf("%-24s %-8s %-13.13s %-13.13s %-10s %8.1f  %s\n",
		       jsonx_opt_string(j, "rpc", ""), jsonx_opt_string(j, "req", ""),
		       jsonx_opt_string(j, "pod", ""), jsonx_opt_string(j, "container", ""),
		       *jsonx_opt_string(j, "tool", "") ? jsonx_opt_string(j, "tool", "") : "waits",
		       json_real_value(json_object_get(j, "seconds")),
		       jsonx_opt_bool(j, "stuck", false) ? "STUCK" : "");
	return 0;
}

int admin_config(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	const char *key;
	json_t *value;
	(void)argc, (void)argv, (void)e;
	AUTO_JSON json_t *all = config_dump(&c->cfg);
	AUTO_JSON json_t *out = json_object();
	json_object_foreach (all, key, value) {
		const char *from = jsonx_opt_string(c->cfg.sources, key, "default");
		AUTO_FREE char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
		if (c->json)
			json_object_set_new(
				out, key, json_pack("{s:O, s:s}", "value", value, "source", from));
		else
			printf("%-28s %-40s %s\n", key, text ? text : "", from);
	}
	AUTO_FREE char *text = c->json ? json_dumps(out, JSON_COMPACT) : NULL;
	if (text)
		puts(text);
	return 0;
}

/* One comparison of everything. */
struct check {
	const struct state *s;
	json_t *index;  /* NULL: no daemon */
	json_t *found;  /* [{"object","problem"}] */
	json_t *mounts; /* mount points */
	size_t pods, ctrs;
};

__attribute__((format(printf, 4, 5))) static void found(struct check *k, const char *kind,
							const char *id, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	AUTO_FREE char *object = xasprintf("%s %s", kind, id);
	json_array_append_new(k->found, json_pack("{s:s, s:s}", "object", object, "problem", text));
}

/* What the daemon says of the object; NULL = it does not know it. */
static const char *index_state(const struct check *k, const char *list, const char *id)
{
	size_t i;
	json_t *j;
	json_array_foreach (json_object_get(k->index, list), i, j)
		if (strcmp(jsonx_opt_string(j, "id", ""), id) == 0)
			return jsonx_opt_string(j, "state", "");
	return NULL;
}

static void compare(struct check *k, const char *kind, const char *list, const char *id,
		    const char *disk)
{
	const char *known = k->index ? index_state(k, list, id) : disk;
	if (!known)
		found(k, kind, id, "is on disk (%s), but crispd does not know it", disk);
	else if (strcmp(known, disk) != 0)
		found(k, kind, id, "is %s on disk, but crispd says %s", disk, known);
}

static bool is_namespace(const char *path)
{
	struct statfs fs;
	return statfs(path, &fs) == 0 && fs.f_type == NSFS;
}

static int look_at_pod(void *arg, const char *id, struct err *e)
{
	struct check *k = arg;
	struct err why;
	AUTO_POD_RECORD struct pod_record r = {.id = NULL};
	(void)e;
	k->pods++;
	if (pod_record_read(k->s, id, &r, &why) < 0) {
		found(k, "pod", id, "record: %s", why.msg);
		return 0;
	}
	compare(k, "pod", "pods", id, r.state);
	if (strcmp(r.state, "ready") != 0)
		return 0;
	if (strcmp(r.boot_id, state_boot_id()) != 0)
		found(k, "pod", id, "is ready, but of an earlier boot: podnet gc settles it");
	else if (*r.netns && !is_namespace(r.netns))
		found(k, "pod", id, "its network namespace %s is gone", r.netns);
	return 0;
}

static void look_at_running(struct check *k, const struct ctr_record *r)
{
	AUTO_FREE char *rootfs = xasprintf("%s/containers/%s/bundle/rootfs", k->s->run_path, r->id);
	if (!json_object_get(k->mounts, rootfs))
		found(k, "container", r->id, "runs, but %s is not mounted", rootfs);
	if (!proc_is_alive((pid_t)r->pid, (unsigned long long)r->pid_start))
		found(k, "container", r->id, "runs by its record, but process %lld is gone",
		      (long long)r->pid);
	else if (!proc_is_alive((pid_t)r->monitor, (unsigned long long)r->monitor_start))
		found(k, "container", r->id, "runs without its monitor, which was process %lld",
		      (long long)r->monitor);
}

static int look_at_ctr(void *arg, const char *id, struct err *e)
{
	struct check *k = arg;
	struct err why;
	AUTO_CTR_RECORD struct ctr_record r = {.id = NULL};
	AUTO_EXIT_RECORD struct exit_record x = {.reason = NULL};
	AUTO_POD_RECORD struct pod_record pod = {.id = NULL};
	(void)e;
	k->ctrs++;
	if (ctr_record_read(k->s, id, &r, &why) < 0) {
		found(k, "container", id, "record: %s", why.msg);
		return 0;
	}
	enum ctr_state state = ctr_effective(k->s, &r, &x);
	compare(k, "container", "containers", id, ctr_state_name(state));
	if (pod_record_read(k->s, r.pod_id, &pod, &why) < 0 && why.kind == ERR_NOT_FOUND)
		found(k, "container", id, "its pod %s is gone", r.pod_id);
	if (state == CTR_RUNNING)
		look_at_running(k, &r);
	else if (state == CTR_UNKNOWN)
		found(k, "container", id, "its state cannot be told");
	return 0;
}

/* The daemon's objects that the disk has not. */
static void look_at_index(struct check *k, enum object_kind kind, const char *list)
{
	size_t i;
	json_t *j;
	json_array_foreach (json_object_get(k->index, list), i, j) {
		struct err why;
		const char *id = jsonx_opt_string(j, "id", "");
		AUTO_CLOSE int dir = object_open(k->s, kind, id, &why);
		if (dir < 0 && why.kind == ERR_NOT_FOUND)
			found(k, object_kind_name(kind), id,
			      "crispd knows it, but it is not on disk");
	}
}

/* Mounts of objects that are no more. */
static void look_at_mounts(struct check *k)
{
	const char *path;
	json_t *ignored;
	char id[ID_SIZE];
	size_t len = strlen(k->s->run_path);
	static const enum object_kind kinds[] = {OBJ_POD, OBJ_CONTAINER};
	json_object_foreach (k->mounts, path, ignored) {
		if (strncmp(path, k->s->run_path, len) != 0 || path[len] != '/')
			continue;
		const char *rest = path + len + 1;
		for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
			struct err why;
			size_t n = strlen(object_dir_name(kinds[i]));
			if (strncmp(rest, object_dir_name(kinds[i]), n) != 0 || rest[n] != '/')
				continue;
			snprintf(id, sizeof id, "%.64s", rest + n + 1);
			AUTO_CLOSE int dir =
				id_is_valid(id) ? object_open(k->s, kinds[i], id, &why) : -1;
			if (dir < 0)
				found(k, "mount", path, "belongs to no %s",
				      object_kind_name(kinds[i]));
		}
	}
}

static int look(struct check *k, struct err *e)
{
	struct err why;
	json_decref(k->index);
	json_decref(k->found);
	json_decref(k->mounts);
	k->index = NULL;
	k->pods = k->ctrs = 0;
	k->found = json_array();
	k->mounts = mount_points("self", e);
	if (!k->mounts)
		return -1;
	k->index = admin_ask(k->s, "/index", &why);
	if (!k->index && why.kind != ERR_UNAVAILABLE) {
		*e = why;
		return -1;
	}
	if (object_each(k->s, OBJ_POD, look_at_pod, k, e) < 0 ||
	    object_each(k->s, OBJ_CONTAINER, look_at_ctr, k, e) < 0)
		return -1;
	look_at_index(k, OBJ_POD, "pods");
	look_at_index(k, OBJ_CONTAINER, "containers");
	look_at_mounts(k);
	return 0;
}

/* What changed while we looked is seen again as it is now: only what two looks find counts. */
static void keep_common(struct check *k, const json_t *before)
{
	size_t i = 0, b;
	json_t *old;
	while (i < json_array_size(k->found)) {
		bool same = false;
		json_array_foreach (before, b, old)
			same = same || json_equal(old, json_array_get(k->found, i));
		if (same)
			i++;
		else
			json_array_remove(k->found, i);
	}
}

static void print_check(const struct tool_ctx *c, const struct check *k)
{
	size_t i;
	json_t *j;
	if (c->json) {
		AUTO_JSON json_t *out = json_pack("{s:O, s:I, s:I, s:b}", "found", k->found, "pods",
						  (json_int_t)k->pods, "containers",
						  (json_int_t)k->ctrs, "crispd", k->index != NULL);
		AUTO_FREE char *text = out ? json_dumps(out, JSON_COMPACT) : NULL;
		puts(text ? text : "{}");
		return;
	}
	json_array_foreach (k->found, i, j)
		printf("%s: %s\n", jsonx_opt_string(j, "object", ""),
		       jsonx_opt_string(j, "problem", ""));
	if (!json_array_size(k->found))
		printf("%zu pods and %zu containers: everything agrees\n", k->pods, k->ctrs);
}

int admin_check(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	struct check k = {.s = &c->st};
	const struct err differs = {.kind = ERR_BAD_STATE};
	(void)argc, (void)argv;
	int r = look(&k, e);
	if (r == 0 && json_array_size(k.found) > 0) {
		AUTO_JSON json_t *before = json_incref(k.found);
		r = look(&k, e);
		if (r == 0)
			keep_common(&k, before);
	}
	if (r == 0) {
		if (!k.index)
			log_info("no crispd runs: only disk and kernel were compared");
		print_check(c, &k);
		r = json_array_size(k.found) ? err_exit_status(&differs) : 0;
	}
	json_decref(k.index);
	json_decref(k.found);
	json_decref(k.mounts);
	return r;
}
