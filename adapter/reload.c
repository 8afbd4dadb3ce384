/* SPDX-License-Identifier: Apache-2.0 */
#include "reload.h"

#include "auto.h"
#include "index.h"
#include "jobs.h"
#include "jsonx.h"
#include "log.h"
#include "netwatch.h"
#include "services.h"
#include "streaming.h"
#include "telemetry.h"
#include "xalloc.h"

#include <string.h>

/* Objects on disk, open files and other processes hold on to these. */
static const char *const fixed[] = {"root",   "runroot",          "listen",
				    "record", "record_max_bytes", "tools_dir"};

static void hidden_again(struct crispd *d)
{
	index_reload(d->index);
}

static void images_again(struct crispd *d)
{
	index_refresh_images(d->index);
}

static void metrics_again(struct crispd *d)
{
	telemetry_listen(d->telemetry);
}

static void streaming_again(struct crispd *d)
{
	streaming_listen(d->streaming);
}

/* Who keeps something made from a key. All others are looked up at each use, here or by the tools,
 * which read the files themselves. */
static const struct {
	void (*again)(struct crispd *d);
	const char *keys[8];
} parts[] = {
	{hidden_again, {"adopt_hand_made"}},
	{images_again, {"pinned_images"}},
	{metrics_again, {"metrics_host", "metrics_port"}},
	{streaming_again,
	 {"stream_address", "stream_port", "stream_enable_tls", "stream_tls_cert", "stream_tls_key",
	  "stream_tls_ca"}},
};

static bool is_fixed(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		if (strcmp(fixed[i], name) == 0)
			return true;
	return false;
}

static void tell(const char *name, const struct config *cfg)
{
	AUTO_JSON json_t *all = config_dump(cfg);
	AUTO_FREE char *text =
		json_dumps(json_object_get(all, name), JSON_ENCODE_ANY | JSON_COMPACT);
	log_info("reload: %s: %.200s", name, text ? text : "");
}

/* Takes over what may change; how many of the others wait for the next start. */
static size_t take(struct crispd *d, struct config *fresh, const json_t *names)
{
	size_t i, waiting = 0;
	json_t *v;
	json_array_foreach ((json_t *)names, i, v) {
		const char *name = json_string_value(v);
		if (!is_fixed(name)) {
			config_copy_key(&d->cfg, fresh, name);
			tell(name, &d->cfg);
			continue;
		}
		log_warn("reload: %s: counts when crispd is started again", name);
		/* Told each time until then. */
		config_copy_key(fresh, &d->said, name);
		waiting++;
	}
	return waiting;
}

static void start_again(struct crispd *d, const json_t *names)
{
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		bool due = false;
		for (size_t k = 0; k < ARRAY_LEN(parts[i].keys) && parts[i].keys[k]; k++)
			due = due || jsonx_has_string(names, parts[i].keys[k]);
		if (due)
			parts[i].again(d);
	}
	/* The files in the directories of networks, plugins and handlers may be others, too. */
	netwatch_reload(d->netwatch);
	svc_probe_handlers(d);
}

static char *apply(struct crispd *d, struct config *fresh)
{
	AUTO_JSON json_t *names = config_differences(&d->said, fresh);
	size_t n = json_array_size(names);
	/* Before it is made to say what it said before: the tools read what it says now. */
	jobs_reload(d->jobs, fresh);
	size_t waiting = take(d, fresh, names);
	config_release(&d->said);
	d->said = *fresh;
	*fresh = (struct config){.root = NULL};
	start_again(d, names);
	return xasprintf("reload: %zu changed, %zu wait for the next start", n - waiting, waiting);
}

char *reload(struct crispd *d)
{
	AUTO_CONFIG struct config fresh;
	struct err e;
	int r = config_load(&fresh, d->config_file, &e);
	if (r == 0 && strcmp(fresh.log_level, d->said.log_level) != 0 &&
	    log_set_level(fresh.log_level) < 0)
		r = err_set(&e, ERR_BAD_INPUT,
			    "log_level: '%s' is not error, warning, info or debug",
			    fresh.log_level);
	char *text = r < 0 ? xasprintf("reload: nothing changes: %s", e.msg) : apply(d, &fresh);
	log_msg(r < 0 ? LOG_LVL_WARNING : LOG_LVL_INFO, "%s", text);
	return text;
}
