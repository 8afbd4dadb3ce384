/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "debt.h"
#include "event.h"
#include "fs.h"
#include "gc_survey.h"
#include "jsonx.h"
#include "log.h"
#include "network_care.h"
#include "ns.h"

#include <stdio.h>
#include <string.h>

/* Names the boot after which everything was cleaned up once; the boot clears it anyway. */
#define SETTLED_FILE "settled"
/* A hundred pods of the earlier boot, each with a plugin that hangs, is not worth more than this. */
enum { SETTLE_MS = 10 * 60 * 1000 };

/* Each thing that gc looks at gets one line: what it does to it and why. */
struct gc {
	struct tool_ctx *c;
	json_t *lines;
};

static void report(struct gc *g, const char *action, const char *kind, const char *id,
		   const char *why)
{
	json_t *text = json_string(why);
	json_array_append_new(g->lines,
			      json_pack("{s:s, s:s, s:s, s:o}", "action", action, "kind", kind,
					"id", id, "reason", text ? text : json_null()));
}

static void failed(struct gc *g, const char *kind, const char *id, const struct err *e)
{
	report(g, "failed", kind, id, e->msg);
}

/* What is to be done with a pod that has a directory, judged while its lock is held. */
static void judge_pod(struct gc *g, const struct pod *p)
{
	struct err e;
	AUTO_POD_RECORD struct pod_record r = {0};
	int read = pod_record_read_at(p->dir, &r, &e);
	if ((read < 0 && e.kind == ERR_BAD_STATE) ||
	    (!r.complete && pod_has_no_containers(p, &e) < 0)) {
		report(g, "keep", "pod", p->id, e.msg);
		return;
	}
	if (read < 0 || !r.complete) {
		report(g, "remove", "pod", p->id, "its creation was interrupted");
		if (!g->c->dry_run && pod_remove(p, &e) < 0)
			failed(g, "pod", p->id, &e);
		else if (!g->c->dry_run)
			event_publish(&g->c->st, "removed", "pod", p->id, p->id, false);
		return;
	}
	if (strcmp(r.state, "ready") == 0 && strcmp(r.boot_id, state_boot_id()) != 0) {
		report(g, "stop", "pod", p->id, "the host was rebooted");
		if (!g->c->dry_run && pod_stop(p, &e) < 0)
			failed(g, "pod", p->id, &e);
		else if (!g->c->dry_run)
			event_publish(&g->c->st, "changed", "pod", p->id, p->id, false);
		return;
	}
	report(g, "keep", "pod", p->id, r.state);
}

static int visit_pod(void *arg, const char *id, struct err *e)
{
	struct gc *g = arg;
	AUTO_POD struct pod p = {.dir = -1};
	/* Whoever holds the lock is at work on it. */
	AUTO_CLOSE int lock = object_lock(&g->c->st, OBJ_POD, id, 0, e);
	if (lock < 0 && e->kind == ERR_UNAVAILABLE)
		report(g, "keep", "pod", id, "in use by another process");
	if (lock >= 0 && pod_open(&p, g->c, id, e) == 0)
		judge_pod(g, &p);
	return 0;
}

static void visit_debt(struct gc *g, const char *id)
{
	struct err e;
	if (g->c->dry_run) {
		report(g, "pay", "debt", id, "a network attachment was not given back");
		return;
	}
	int r = debt_pay(g->c, id, &e);
	report(g, r > 0 ? "paid" : "keep", "debt", id,
	       r > 0 ? "the network attachment is given back" : e.msg);
}

/* A run directory without a record: its name is our root's intent, so everything by that id is
 * ours. Namespaces that no directory of ours names belong to another root. */
static int visit_run(void *arg, const char *id)
{
	struct gc *g = arg;
	struct err e;
	AUTO_POD struct pod p = {.dir = -1};
	AUTO_CLOSE int dir = object_open(&g->c->st, OBJ_POD, id, &e);
	if (dir >= 0)
		return 0;
	if (e.kind != ERR_NOT_FOUND) {
		failed(g, "leftover", id, &e);
		return 0;
	}
	report(g, "remove", "leftover", id, "its pod has no record");
	pod_init(&p, g->c, id);
	if (!g->c->dry_run &&
	    (pod_teardown(&p, &e) < 0 || object_discard(&g->c->st, OBJ_POD, id, &e) < 0))
		failed(g, "leftover", id, &e);
	return 0;
}

static int visit_runs(struct gc *g, struct err *e)
{
	int fd = fs_open_dir(g->c->st.run, "pods", e);
	const struct dirent *de;
	if (fd < 0)
		return -1;
	AUTO_CLOSEDIR DIR *d = fdopendir(fd);
	if (!d) {
		close(fd);
		return err_sys(e, "read pods");
	}
	while ((de = readdir(d)))
		if (id_is_valid(de->d_name))
			visit_run(g, de->d_name);
	return 0;
}

/* A claim counts only while its object exists (state.h): the rest is litter. */
static void visit_claim(struct gc *g, int dir, const char *name)
{
	char id[ID_SIZE] = "";
	struct err ignored;
	if (readlinkat(dir, name, id, ID_LEN) != ID_LEN || !id_is_valid(id))
		return;
	AUTO_CLOSE int pod = object_open(&g->c->st, OBJ_POD, id, &ignored);
	if (pod >= 0 || ignored.kind != ERR_NOT_FOUND)
		return;
	AUTO_CLOSE int ctr = object_open(&g->c->st, OBJ_CONTAINER, id, &ignored);
	if (ctr >= 0 || ignored.kind != ERR_NOT_FOUND)
		return;
	report(g, "remove", "claim", id, "the object it names does not exist");
	if (!g->c->dry_run)
		unlinkat(dir, name, 0);
}

static int visit_claims(struct gc *g, struct err *e)
{
	/* Held by whoever makes a claim and the object after it. */
	AUTO_CLOSE int guard = fs_lock_at(g->c->st.root, "reserved/.lock", 10000, e);
	int fd = guard < 0 ? -1 : fs_open_dir(g->c->st.root, "reserved", e);
	const struct dirent *de;
	if (fd < 0)
		return -1;
	AUTO_CLOSEDIR DIR *d = fdopendir(fd);
	if (!d) {
		close(fd);
		return err_sys(e, "read reserved");
	}
	while ((de = readdir(d)))
		visit_claim(g, dirfd(d), de->d_name);
	return 0;
}

/* GC of CNI 1.1: the plugins learn which attachments are valid, and free the rest. */
static void visit_networks(struct gc *g)
{
	AUTO_JSON json_t *networks = networks_in_use(g->c);
	const char *name;
	json_t *n;
	json_object_foreach (networks, name, n) {
		struct err e;
		const char *skipped;
		char why[96];
		if (network_gc(g->c, n, &skipped, &e) < 0) {
			failed(g, "network", name, &e);
			continue;
		}
		if (skipped)
			continue;
		snprintf(why, sizeof why, "CNI GC: %zu attachments are valid",
			 json_array_size(json_object_get(n, "valid")));
		report(g, g->c->dry_run ? "clean" : "cleaned", "network", name, why);
	}
}

static void print(const struct gc *g)
{
	size_t i;
	json_t *l;
	if (g->c->json) {
		json_dumpf(g->lines, stdout, JSON_INDENT(2));
		putchar('\n');
		return;
	}
	json_array_foreach (g->lines, i, l)
		printf("%s %s %s: %s\n", jsonx_opt_string(l, "action", ""),
		       jsonx_opt_string(l, "kind", ""), jsonx_opt_string(l, "id", ""),
		       jsonx_opt_string(l, "reason", ""));
}

/* Everything, in the order in which it frees what the next needs. The gc lock is held. */
static int collect(struct gc *g, struct err *e)
{
	size_t i;
	json_t *id;
	if (object_each(&g->c->st, OBJ_POD, visit_pod, g, e) < 0 || visit_runs(g, e) < 0 ||
	    visit_claims(g, e) < 0)
		return -1;
	AUTO_JSON json_t *debts = debt_list(g->c);
	json_array_foreach (debts, i, id)
		visit_debt(g, json_string_value(id));
	visit_networks(g);
	return 0;
}

static bool is_settled(const struct tool_ctx *c)
{
	AUTO_BUF struct buf b = BUF_INIT(64);
	struct err ignored;
	return fs_read_at(c->st.run, SETTLED_FILE, &b, &ignored) == 0 && b.data &&
	       strcmp(b.data, state_boot_id()) == 0;
}

static int settled(const struct tool_ctx *c, struct err *e)
{
	const char *boot = state_boot_id();
	return fs_replace_file_at(c->st.run, SETTLED_FILE, 0600, boot, strlen(boot), 0, e);
}

int boot_settle(struct tool_ctx *c, struct err *e)
{
	size_t i;
	json_t *l;
	if (c->dry_run || is_settled(c))
		return 0;
	AUTO_CLOSE int lock = fs_lock_at(c->st.root, "pods/.gc.lock", SETTLE_MS, e);
	if (lock < 0)
		return err_wrap(e, "wait for what the last boot left to be cleaned up");
	if (is_settled(c))
		return 0;
	AUTO_JSON json_t *lines = json_array();
	struct gc g = {.c = c, .lines = lines};
	if (collect(&g, e) < 0)
		return err_wrap(e, "clean up what the last boot left");
	json_array_foreach (lines, i, l)
		if (strcmp(jsonx_opt_string(l, "action", ""), "keep") != 0)
			log_info("first creation after a boot: %s %s %s: %s",
				 jsonx_opt_string(l, "action", ""), jsonx_opt_string(l, "kind", ""),
				 jsonx_opt_string(l, "id", ""), jsonx_opt_string(l, "reason", ""));
	return settled(c, e);
}

int cmd_gc(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_JSON json_t *lines = json_array();
	struct gc g = {.c = c, .lines = lines};
	(void)argc;
	(void)argv;
	/* One at a time: two would pay the same debt twice. */
	AUTO_CLOSE int lock = fs_lock_at(c->st.root, "pods/.gc.lock", pod_lock_ms(c), e);
	if (lock < 0 || collect(&g, e) < 0)
		return -1;
	if (c->dry_run)
		gc_survey(c, lines);
	else if (settled(c, e) < 0)
		return -1;
	print(&g);
	return 0;
}
