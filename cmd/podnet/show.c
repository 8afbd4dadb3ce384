/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "init.h"
#include "jsonx.h"
#include "ns.h"
#include "podnet.h"
#include "sandbox.h"
#include "tool_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the record says, corrected by what is there: a "ready" pod whose namespace or boot is gone
 * is not. *why gets the reason. */
static const char *effective(const struct pod *p, const struct pod_record *r, const char **why)
{
	*why = r->reason;
	if (strcmp(r->state, "ready") != 0)
		return r->state;
	if (strcmp(r->boot_id, state_boot_id()) != 0)
		*why = "the host was rebooted";
	else if (*r->netns && !ns_is_pinned(r->netns))
		*why = "its network namespace is gone";
	else if (init_alive(p) == 0)
		*why = "its first process is gone";
	else if (r->sandbox && !sandbox_runs(p))
		*why = "its sandbox container has ended";
	else
		return r->state;
	return "notready";
}

static json_t *read_config(const struct pod *p, struct err *e)
{
	return object_config_read(p->dir, OBJ_POD, e);
}

/* A new object; `config` is borrowed and may be NULL. */
static json_t *describe(const struct pod *p, const struct pod_record *r, json_t *config)
{
	const char *why;
	const char *state = effective(p, r, &why);
	bool live = strcmp(state, "ready") == 0;
	AUTO_JSON json_t *none = json_array();
	AUTO_JSON json_t *nets = network_records(p->dir);
	json_t *meta = json_object_get(config, "metadata");
	return json_pack("{s:s, s:O, s:s, s:s, s:O, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:s}", "id",
			 p->id, "metadata", meta ? meta : json_null(), "state", state, "ip",
			 live ? r->ip : "", "additional_ips", live ? r->additional_ips : none,
			 "netns", r->netns, "network_mode", r->network_mode, "network",
			 jsonx_opt_string(json_array_get(nets, 0), "name", ""), "handler",
			 r->handler, "origin", r->origin, "cgroup_parent", r->cgroup_parent,
			 "created_at", (json_int_t)r->created_at, "reason", why);
}

/* Each network of the pod with what it gave; the first one's addresses are the pod's. */
static json_t *describe_networks(const struct pod *p)
{
	AUTO_JSON json_t *nets = network_records(p->dir);
	AUTO_JSON json_t *none = json_array();
	json_t *out = json_array(), *net;
	size_t i;
	json_array_foreach (nets, i, net) {
		json_t *ips = json_object_get(net, "ips");
		bool live = ips && network_is_attached(net);
		json_array_append_new(out, json_pack("{s:s, s:s, s:s, s:O}", "name",
						     jsonx_opt_string(net, "name", ""), "ifname",
						     jsonx_opt_string(net, "ifname", ""), "stage",
						     json_is_object(net)
							     ? jsonx_opt_string(net, "stage", "")
							     : "damaged",
						     "ips", live ? ips : none));
	}
	return out;
}

int cmd_status(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	char id[ID_SIZE];
	AUTO_POD struct pod p = {.dir = -1};
	AUTO_POD_RECORD struct pod_record r = {0};
	(void)argc;
	if (object_resolve(&c->st, OBJ_POD, argv[0], id, e) < 0 || pod_open(&p, c, id, e) < 0)
		return -1;
	if (pod_record_read_at(p.dir, &r, e) < 0) {
		/* The directory is there: a record that is not is damage, too. */
		e->kind = ERR_BAD_STATE;
		return err_wrap(e, "pod %s is damaged", id);
	}
	AUTO_JSON json_t *config = read_config(&p, e);
	if (!config) {
		e->kind = ERR_BAD_STATE;
		return err_wrap(e, "pod %s is damaged", id);
	}
	AUTO_JSON json_t *out = describe(&p, &r, config);
	json_object_set_new(out, "networks", describe_networks(&p));
	json_object_set(out, "config", config);
	json_dumpf(out, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}

static const char *ls_format;
const struct opt ls_opts[] = {TOOL_FORMAT_OPT(&ls_format), {.name = NULL}};

struct listing {
	struct tool_ctx *c;
	json_t *pods;
};

static int list_one(void *arg, const char *id, struct err *e)
{
	struct listing *l = arg;
	struct err bad = {.kind = ERR_OK};
	AUTO_POD struct pod p = {.dir = -1};
	AUTO_POD_RECORD struct pod_record r = {0};
	(void)e;
	/* Removed while we read the list. */
	if (pod_open(&p, l->c, id, &bad) < 0)
		return 0;
	AUTO_JSON json_t *config = read_config(&p, &bad);
	json_t *one = NULL;
	if (config && pod_record_read_at(p.dir, &r, &bad) == 0)
		one = describe(&p, &r, config);
	if (!one)
		one = json_pack("{s:s, s:s, s:s}", "id", id, "state", "damaged", "reason", bad.msg);
	json_array_append_new(l->pods, one);
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	json_t *const *x = a, *const *y = b;
	json_int_t tx = jsonx_opt_int(*x, "created_at", 0), ty = jsonx_opt_int(*y, "created_at", 0);
	if (tx != ty)
		return tx < ty ? 1 : -1;
	return strcmp(jsonx_opt_string(*x, "id", ""), jsonx_opt_string(*y, "id", ""));
}

static json_t *sorted(json_t *list)
{
	size_t n = json_array_size(list);
	json_t **v = calloc(n ? n : 1, sizeof(json_t *));
	json_t *out = json_array();
	for (size_t i = 0; v && i < n; i++)
		v[i] = json_array_get(list, i);
	if (v)
		qsort(v, n, sizeof(json_t *), newest_first);
	for (size_t i = 0; v && i < n; i++)
		json_array_append(out, v[i]);
	free(v);
	return out;
}

static void age_text(int64_t created, char out[24])
{
	static const struct {
		int64_t seconds;
		char letter;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
	int64_t age = created ? (record_now_ns() - created) / 1000000000 : -1;
	snprintf(out, 24, "%s", age < 0 ? "-" : "0s");
	for (size_t i = 0; i < ARRAY_LEN(units) && age > 0; i++) {
		if (age < units[i].seconds)
			continue;
		snprintf(out, 24, "%" PRId64 "%c", age / units[i].seconds, units[i].letter);
		return;
	}
}

static void print_row(json_t *pod)
{
	char age[24];
	json_t *meta = json_object_get(pod, "metadata");
	const char *ip = jsonx_opt_string(pod, "ip", "");
	age_text(jsonx_opt_int(pod, "created_at", 0), age);
	printf("%-13.13s  %-32s  %-16s  %-8s  %-15s  %s\n", jsonx_opt_string(pod, "id", ""),
	       jsonx_opt_string(meta, "name", "-"), jsonx_opt_string(meta, "namespace", "-"),
	       jsonx_opt_string(pod, "state", ""), *ip ? ip : "-", age);
}

int cmd_ls(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_JSON json_t *found = json_array();
	struct listing l = {.c = c, .pods = found};
	size_t i;
	json_t *pod;
	(void)argc;
	(void)argv;
	if (tool_format_check(ls_format, e) < 0 ||
	    object_each(&c->st, OBJ_POD, list_one, &l, e) < 0)
		return -1;
	AUTO_JSON json_t *pods = sorted(found);
	if (ls_format) {
		json_array_foreach (pods, i, pod)
			tool_format_print(ls_format, pod);
		return 0;
	}
	if (c->json) {
		json_dumpf(pods, stdout, JSON_INDENT(2));
		putchar('\n');
		return 0;
	}
	printf("%-13s  %-32s  %-16s  %-8s  %-15s  %s\n", "POD ID", "NAME", "NAMESPACE", "STATE",
	       "IP", "AGE");
	json_array_foreach (pods, i, pod)
		print_row(pod);
	return 0;
}
