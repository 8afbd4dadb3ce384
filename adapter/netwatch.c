/* SPDX-License-Identifier: Apache-2.0 */
#include "netwatch.h"

#include "auto.h"
#include "cniconf.h"
#include "index.h"
#include "jobs.h"
#include "jsonx.h"
#include "log.h"
#include "proc.h"
#include "svc.h"
#include "xalloc.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

enum {
	SETTLE_MS = 50,       /* several changes together */
	STATUS_OLD_MS = 3000, /* when a question is reason enough to ask the plugins again */
};

struct netwatch {
	struct crispd *d;
	int fd;
	struct watch watch;
	struct timer timer;
	bool asking, again; /* `podnet network` is at work; and is to be run once more */
	long long asked_ms;
	bool refused; /* it said no, for this reason: */
	struct err why;
	char *said; /* what the log was told last */
};

static const uint32_t changes = IN_CREATE | IN_DELETE | IN_CLOSE_WRITE | IN_MOVED_FROM |
				IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;

/* A directory that is not there yet is seen to come by the nearest one above it that is; and it may
 * come while that is being looked for. */
static void add_watch(struct netwatch *w, const char *path)
{
	AUTO_FREE char *p = xstrdup(path);
	while (*p && inotify_add_watch(w->fd, p, changes | IN_ONLYDIR) < 0) {
		char *slash = strrchr(p, '/');
		if (!slash || slash == p)
			return;
		*slash = '\0';
	}
	size_t n = strlen(p);
	if (!path[n])
		return;
	AUTO_FREE char *next = xstrndup(path, n + 1 + strcspn(path + n + 1, "/"));
	if (access(next, F_OK) == 0)
		(void)inotify_add_watch(w->fd, path, changes | IN_ONLYDIR);
}

static void add_watches(struct netwatch *w)
{
	size_t i;
	json_t *dir;
	add_watch(w, w->d->cfg.network_dir);
	json_array_foreach (w->d->cfg.plugin_dirs, i, dir)
		add_watch(w, json_string_value(dir));
}

/* The network of new pods, with its plugins present; NULL and why not. *asks: its plugins know
 * STATUS. */
static bool look(const struct crispd *d, bool *asks, char **name, struct err *e)
{
	AUTO_FREE char *file = NULL;
	AUTO_JSON json_t *list =
		cni_conf_find(d->cfg.network_dir, d->cfg.cni_default_network, &file, e);
	*asks = false;
	if (!list || cni_plugins_present(list, d->cfg.plugin_dirs, e) < 0)
		return false;
	*asks = cni_version_at_least(jsonx_opt_string(list, "cniVersion", ""), "1.1.0");
	if (name)
		*name = xasprintf("'%s' of %s", jsonx_opt_string(list, "name", ""), file);
	return true;
}

/* One line for each change of what we know. */
static void tell(struct netwatch *w)
{
	struct err e;
	bool asks;
	AUTO_FREE char *name = NULL;
	bool ready = look(w->d, &asks, &name, &e);
	if (ready && asks && w->refused) {
		ready = false;
		e = w->why;
	}
	char *now =
		ready ? xasprintf("ready: network %s", name) : xasprintf("not ready: %s", e.msg);
	if (!w->said || strcmp(w->said, now) != 0)
		log_msg(ready ? LOG_LVL_INFO : LOG_LVL_WARNING, "network: %s", now);
	free(w->said);
	w->said = now;
}

static void ask(struct netwatch *w);

static void on_answer(struct job *j)
{
	struct netwatch *w = job_daemon(j)->netwatch;
	const struct err *e = job_error(j);
	w->asking = false;
	w->refused = e;
	if (e)
		w->why = *e;
	tell(w);
	if (w->again)
		ask(w);
}

static void ask(struct netwatch *w)
{
	w->again = w->asking;
	if (w->asking)
		return;
	w->asking = true;
	w->asked_ms = proc_now_ms();
	struct job *j = job_new(w->d, "NetworkStatus", "", JOB_CHANGE);
	job_step(j, STEP_PLAIN, svc_network_ms(w->d), "podnet", "network");
	job_submit(j, on_answer);
}

static void on_settled(struct timer *t)
{
	struct netwatch *w = t->arg;
	struct err ignored;
	bool asks;
	/* What was replaced by another directory is another one to watch. */
	add_watches(w);
	if (look(w->d, &asks, NULL, &ignored) && asks)
		ask(w);
	tell(w);
}

static void on_change(struct watch *watch, uint32_t events)
{
	struct netwatch *w = watch->arg;
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	(void)events;
	while (read(w->fd, buf, sizeof buf) > 0)
		;
	loop_timer(w->d->loop, &w->timer, SETTLE_MS, on_settled, w);
}

/* A directory that is no longer one of them wakes us for nothing, that is all. */
void netwatch_reload(struct netwatch *w)
{
	loop_timer(w->d->loop, &w->timer, 0, on_settled, w);
}

int netwatch_ready(struct netwatch *w, struct err *e)
{
	bool asks;
	if (!look(w->d, &asks, NULL, e))
		return -1;
	if (asks && !w->asking && proc_now_ms() - w->asked_ms > STATUS_OLD_MS)
		ask(w);
	if (!asks || !w->refused)
		return 0;
	*e = w->why;
	return -1;
}

/* What a crash, a reboot or a broken plugin left is cleaned up before anybody asks for a pod. */
static void on_cleaned(struct job *j)
{
	index_rescan(job_daemon(j)->index);
}

static void clean_up(struct crispd *d)
{
	struct job *j = job_new(d, "Startup", "", JOB_REMOVE);
	job_step(j, STEP_PLAIN, svc_network_ms(d), "podnet", "gc");
	job_submit(j, on_cleaned);
}

struct netwatch *netwatch_new(struct crispd *d)
{
	struct netwatch *w = xcalloc(1, sizeof *w);
	struct err e;
	*w = (struct netwatch){.d = d, .watch = WATCH_NONE};
	d->netwatch = w;
	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (w->fd < 0 || loop_add(d->loop, &w->watch, w->fd, EPOLLIN, on_change, w, &e) < 0)
		log_warn("network: changes are seen only when somebody asks: no inotify");
	add_watches(w);
	loop_timer(d->loop, &w->timer, 0, on_settled, w);
	clean_up(d);
	return w;
}

void netwatch_free(struct netwatch *w)
{
	if (!w)
		return;
	loop_timer_cancel(w->d->loop, &w->timer);
	loop_del(w->d->loop, &w->watch);
	auto_close(&w->fd);
	free(w->said);
	free(w);
}
