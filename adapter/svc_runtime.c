/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"
#include "auto.h"
#include "crispd.h"
#include "handler.h"
#include "imgpulls.h"
#include "jobs.h"
#include "jsonx.h"
#include "netwatch.h"
#include "proc.h"
#include "services.h"
#include "svc.h"
#include "xalloc.h"

#include "cri.pb-c.h"

#include <string.h>
#include <sys/utsname.h>

void svc_version(struct call *c, const ProtobufCMessage *request)
{
	Runtime__V1__VersionResponse r = RUNTIME__V1__VERSION_RESPONSE__INIT;
	(void)request;
	r.version = (char *)"0.1.0";
	r.runtime_name = (char *)"crisp";
	r.runtime_version = (char *)VERSION;
	r.runtime_api_version = (char *)"v1";
	call_reply(c, &r.base);
}

void svc_runtime_config(struct call *c, const ProtobufCMessage *request)
{
	Runtime__V1__RuntimeConfigResponse r = RUNTIME__V1__RUNTIME_CONFIG_RESPONSE__INIT;
	Runtime__V1__LinuxRuntimeConfiguration l = RUNTIME__V1__LINUX_RUNTIME_CONFIGURATION__INIT;
	(void)request;
	/* Said in either case: the absent message would mean systemd. */
	l.cgroup_driver = strcmp(call_daemon(c)->cfg.cgroup_manager, "systemd") == 0
				  ? RUNTIME__V1__CGROUP_DRIVER__SYSTEMD
				  : RUNTIME__V1__CGROUP_DRIVER__CGROUPFS;
	r.linux = &l;
	call_reply(c, &r.base);
}

static void answer_config(struct call *c, const struct job *j)
{
	Runtime__V1__UpdateRuntimeConfigResponse r =
		RUNTIME__V1__UPDATE_RUNTIME_CONFIG_RESPONSE__INIT;
	svc_answer(c, j, &r.base);
}

/* The node's pod CIDR, for a network template and for plugins that ask. */
void svc_update_runtime_config(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__UpdateRuntimeConfigRequest *q = (const void *)request;
	const Runtime__V1__NetworkConfig *n =
		q->runtime_config ? q->runtime_config->network_config : NULL;
	Runtime__V1__UpdateRuntimeConfigResponse nothing =
		RUNTIME__V1__UPDATE_RUNTIME_CONFIG_RESPONSE__INIT;
	struct crispd *d = call_daemon(c);
	if (!n || !*n->pod_cidr) {
		call_reply(c, &nothing.base);
		return;
	}
	struct job *j = job_new(d, call_rpc(c), call_id(c), JOB_CHANGE);
	job_step(j, STEP_PLAIN, SVC_BUNDLE_MS, "podnet", "cidr", "--", n->pod_cidr);
	job_wait(j, c, answer_config);
	job_submit(j, NULL);
}

static Runtime__V1__RuntimeCondition *condition(struct arena *a, const char *type,
						const char *reason, const struct err *e)
{
	Runtime__V1__RuntimeCondition *k =
		NEW_MSG(a, Runtime__V1__RuntimeCondition, runtime__v1__runtime_condition);
	k->type = (char *)type;
	k->status = !e;
	if (e) {
		k->reason = (char *)reason;
		k->message = arena_strdup(a, e->msg);
	}
	return k;
}

static int look_at_runtime(const struct config *cfg, struct err *e)
{
	AUTO_HANDLER struct handler h = {0};
	if (handler_find(&h, cfg, "", e) < 0)
		return err_wrap(e, "default runtime");
	if (access(h.path, X_OK) < 0)
		return err_sys(e, "default runtime '%s': %s", h.name, h.path);
	return 0;
}

static Runtime__V1__RuntimeHandler *handler_named(struct arena *a, const struct config *cfg,
						  const char *name)
{
	struct err ignored;
	AUTO_HANDLER struct handler known = {0};
	Runtime__V1__RuntimeHandler *h =
		NEW_MSG(a, Runtime__V1__RuntimeHandler, runtime__v1__runtime_handler);
	h->name = arena_strdup(a, name);
	h->features = NEW_MSG(a, Runtime__V1__RuntimeHandlerFeatures,
			      runtime__v1__runtime_handler_features);
	if (handler_find(&known, cfg, name, &ignored) < 0)
		return h;
	AUTO_JSON json_t *can = handler_can(cfg, &known);
	h->features->recursive_read_only_mounts = handler_rro(cfg, &known);
	h->features->user_namespaces = handler_can_do(can, "user_namespaces") == 1 &&
				       handler_can_do(can, "idmapped_layers") == 1;
	return h;
}

enum { PROBE_MS = 60000, PROBE_AGAIN_MS = 60000 };

static struct {
	bool asking;
	long long asked_ms;
} probe;

static void on_probed(struct job *j)
{
	(void)j;
	probe.asking = false;
}

/* Runtimes are asked by a job, never by a reader: who wants to know meanwhile hears of what was known
 * before, or of nothing. */
void svc_probe_handlers(struct crispd *d)
{
	if (probe.asking)
		return;
	probe.asking = true;
	probe.asked_ms = proc_now_ms();
	struct job *j = job_new(d, "Handlers", "", JOB_CHANGE);
	job_step(j, STEP_PLAIN, PROBE_MS, "ctrrun", "handlers");
	job_submit(j, on_probed);
}

/* A handler that is new, or whose runtime is another file than the one that was asked. */
static void look_for_changes(struct crispd *d)
{
	AUTO_JSON json_t *names = handler_list(&d->cfg);
	size_t i;
	json_t *name;
	struct err ignored;
	if (probe.asking || proc_now_ms() - probe.asked_ms < PROBE_AGAIN_MS)
		return;
	json_array_foreach (names, i, name) {
		AUTO_HANDLER struct handler h = {0};
		if (handler_find(&h, &d->cfg, json_string_value(name), &ignored) < 0)
			continue;
		AUTO_JSON json_t *can = handler_can(&d->cfg, &h);
		if (!can) {
			svc_probe_handlers(d);
			return;
		}
	}
}

static json_t *handlers_dump(const struct config *cfg)
{
	AUTO_JSON json_t *names = handler_list(cfg);
	json_t *out = json_object(), *name;
	size_t i;
	json_array_foreach (names, i, name) {
		struct err e;
		AUTO_HANDLER struct handler h = {0};
		json_t *can = NULL;
		if (handler_find(&h, cfg, json_string_value(name), &e) < 0)
			can = json_pack("{s:s}", "error", e.msg);
		else
			can = handler_can(cfg, &h);
		json_object_set_new(out, json_string_value(name), can ? can : json_null());
	}
	return out;
}

/* All by their names, and the default once more under the empty one. */
static void add_handlers(Runtime__V1__StatusResponse *r, struct arena *a, const struct config *cfg)
{
	AUTO_JSON json_t *names = handler_list(cfg);
	size_t i, n = json_array_size(names);
	json_t *name;
	r->runtime_handlers = arena_alloc(a, (n + 1) * sizeof(void *));
	r->runtime_handlers[r->n_runtime_handlers++] = handler_named(a, cfg, "");
	json_array_foreach (names, i, name)
		r->runtime_handlers[r->n_runtime_handlers++] =
			handler_named(a, cfg, json_string_value(name));
}

/* No error when every tool ends in its time. */
static int look_at_steps(const json_t *jobs, struct err *e)
{
	size_t i, n = 0;
	json_t *j, *first = NULL;
	json_array_foreach (jobs, i, j) {
		if (!jsonx_opt_bool(j, "stuck", false))
			continue;
		first = first ? first : j;
		n++;
	}
	if (!n)
		return 0;
	const char *ctr = jsonx_opt_string(first, "container", "");
	return err_set(e, ERR_UNAVAILABLE, "%zu stuck; the first: %s of %s %s for %.0f s (%s)", n,
		       jsonx_opt_string(first, "tool", ""), *ctr ? "container" : "pod",
		       *ctr ? ctr : jsonx_opt_string(first, "pod", ""),
		       json_real_value(json_object_get(first, "seconds")),
		       jsonx_opt_string(first, "rpc", ""));
}

static void add_entry(Runtime__V1__StatusResponse *r, struct arena *a, const char *key,
		      const json_t *what)
{
	AUTO_FREE char *text = json_dumps(what, JSON_COMPACT);
	Runtime__V1__StatusResponse__InfoEntry *entry =
		NEW_MSG(a, Runtime__V1__StatusResponse__InfoEntry,
			runtime__v1__status_response__info_entry);
	entry->key = (char *)key;
	entry->value = arena_strdup(a, text ? text : "{}");
	r->info[r->n_info++] = entry;
}

/* Those of the runtimes are with their handlers. */
static json_t *versions_dump(void)
{
	struct utsname u;
	return json_pack("{s:s, s:s, s:s}", "crisp", VERSION, "cri", "v1", "kernel",
			 uname(&u) < 0 ? "" : u.release);
}

static void add_info(Runtime__V1__StatusResponse *r, struct arena *a, const struct crispd *d,
		     const json_t *jobs)
{
	struct err ignored;
	AUTO_JSON json_t *dump = config_dump(&d->cfg);
	AUTO_JSON json_t *pulls = imgstore_pulls(&d->st, &ignored);
	AUTO_JSON json_t *handlers = handlers_dump(&d->cfg);
	AUTO_JSON json_t *versions = versions_dump();
	r->info = arena_alloc(a, 5 * sizeof(void *));
	add_entry(r, a, "versions", versions);
	add_entry(r, a, "handlers", handlers);
	add_entry(r, a, "config", dump);
	add_entry(r, a, "jobs", jobs);
	if (pulls)
		add_entry(r, a, "pulls", pulls);
}

void svc_status(struct call *c, const ProtobufCMessage *request)
{
	const Runtime__V1__StatusRequest *q = (const Runtime__V1__StatusRequest *)request;
	const struct config *cfg = &call_daemon(c)->cfg;
	AUTO_ARENA struct arena a = {0};
	Runtime__V1__StatusResponse r = RUNTIME__V1__STATUS_RESPONSE__INIT;
	Runtime__V1__RuntimeStatus status = RUNTIME__V1__RUNTIME_STATUS__INIT;
	Runtime__V1__RuntimeFeatures features = RUNTIME__V1__RUNTIME_FEATURES__INIT;
	struct err runtime, network, steps;
	AUTO_JSON json_t *jobs = jobs_dump(call_daemon(c)->jobs);
	bool runtime_ok = look_at_runtime(cfg, &runtime) == 0,
	     network_ok = netwatch_ready(call_daemon(c)->netwatch, &network) == 0;
	Runtime__V1__RuntimeCondition *conditions[] = {
		condition(&a, "RuntimeReady", "RuntimeNotReady", runtime_ok ? NULL : &runtime),
		condition(&a, "NetworkReady", "NetworkPluginNotReady",
			  network_ok ? NULL : &network),
		condition(&a, "CrispHasNoStuckSteps", "StepsAreStuck",
			  look_at_steps(jobs, &steps) == 0 ? NULL : &steps),
	};
	/* What ocibundle honours whatever the runtime; what a runtime must know itself is not
	 * claimed yet. */
	features.supplemental_groups_policy = true;
	features.mount_options = true;
	status.conditions = conditions;
	status.n_conditions = ARRAY_LEN(conditions);
	r.status = &status;
	r.features = &features;
	add_handlers(&r, &a, cfg);
	/* The first is the default. */
	features.user_namespaces_host_network = r.runtime_handlers[0]->features->user_namespaces;
	look_for_changes(call_daemon(c));
	if (q->verbose)
		add_info(&r, &a, call_daemon(c), jobs);
	call_reply(c, &r.base);
}
