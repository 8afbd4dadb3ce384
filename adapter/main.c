/* SPDX-License-Identifier: Apache-2.0 */
#include "admin.h"
#include "auto.h"
#include "bus.h"
#include "crispd.h"
#include "disk.h"
#include "feed.h"
#include "fs.h"
#include "index.h"
#include "jobs.h"
#include "log.h"
#include "netwatch.h"
#include "proc.h"
#include "reaper.h"
#include "recorder.h"
#include "reload.h"
#include "server.h"
#include "services.h"
#include "standby.h"
#include "streaming.h"
#include "svc_exec.h"
#include "telemetry.h"
#include "tool.h"
#include "xalloc.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long calls may go on after SIGTERM, and the children of one that was killed be about to execute. */
enum { DRAIN_MS = 5000, ORPHANS_MS = 5000 };

#define LOCK "crispd.lock"

static const char *listen_opt, *record_opt;

static const struct opt opts[] = {
	{"listen", 0, OPT_STRING, &listen_opt, "PATH", "the CRI socket (<runroot>/crisp.sock)"},
	{"record", 0, OPT_STRING, &record_opt, "FILE",
	 "write each call and its answer there, without secrets"},
	{0},
};

/* Everything of the daemon except its socket. The bus opens before the index reads: what happens
 * meanwhile is said again once the loop runs. */
static int parts_open(struct crispd *d, struct err *e)
{
	d->jobs = jobs_new(d);
	d->reaper = reaper_new(d);
	d->standbys = standbys_new(d);
	d->events = events_open(d, e);
	d->index = d->events ? index_new(d, e) : NULL;
	if (!d->index)
		return -1;
	d->feed = feed_new(d);
	d->disk = disk_new(d);
	d->netwatch = netwatch_new(d);
	d->execs = execs_new(d);
	d->streaming = streaming_new(d);
	d->telemetry = telemetry_new(d);
	d->admin = admin_new(d);
	svc_probe_handlers(d);
	svc_thaw(d);
	return 0;
}

/* Tools that are at work are left to finish. */
static void parts_close(struct crispd *d)
{
	events_close(d->events);
	execs_free(d->execs);
	streaming_free(d->streaming);
	admin_free(d->admin);
	telemetry_free(d->telemetry);
	netwatch_free(d->netwatch);
	standbys_free(d->standbys);
	jobs_free(d->jobs);
	reaper_free(d->reaper);
	feed_free(d->feed);
	disk_free(d->disk);
	index_free(d->index);
}

static char *own_directory(struct err *e)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	if (n < 0) {
		err_sys(e, "/proc/self/exe");
		return NULL;
	}
	path[n] = '\0';
	return xstrdup(dirname(path));
}

static void tell_ready(struct crispd *d, const char *more)
{
	AUTO_FREE char *text = xasprintf("serving the CRI on %s%s", d->cfg.listen, more);
	notify_ready(&d->notify, text);
}

static void on_hangup(struct crispd *d)
{
	notify_reloading(&d->notify);
	AUTO_FREE char *text = reload(d);
	AUTO_FREE char *more = xasprintf("; %s", text);
	tell_ready(d, more);
}

static void on_drained(void *arg)
{
	struct crispd *d = arg;
	loop_stop(d->loop);
}

static void on_signal(int signo, void *arg)
{
	struct crispd *d = arg;
	if (signo == SIGHUP) {
		on_hangup(d);
		return;
	}
	log_info("%s: shutting down; containers go on", strsignal(signo));
	notify_stopping(&d->notify, "answering what is under way; containers go on");
	server_drain(d->server, DRAIN_MS, on_drained, d);
}

static int catch_signals(struct crispd *d, struct err *e)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	proc_ignore(SIGPIPE);
	return loop_signals(d->loop, &set, on_signal, d, e);
}

static int serve(struct crispd *d, struct err *e)
{
	if (*d->cfg.record && !(d->recorder = recorder_new(d, e)))
		return -1;
	/* An answer that takes a millisecond is not to wait for its turn behind what is started. */
	if (!proc_go_first())
		log_debug("no priority: %s", strerror(errno));
	if (catch_signals(d, e) < 0 || parts_open(d, e) < 0)
		return -1;
	d->server = server_new(d, e);
	if (!d->server)
		return -1;
	log_info("crisp %s: serving the CRI on %s", VERSION, d->cfg.listen);
	tell_ready(d, "");
	return loop_run(d->loop, e);
}

/* The configuration as the command line and the defaults complete it. */
static int settle(struct crispd *d, struct err *e)
{
	if (config_load(&d->said, d->config_file, e) < 0)
		return -1;
	if (listen_opt || !*d->cfg.listen) {
		free(d->cfg.listen);
		d->cfg.listen = listen_opt ? xstrdup(listen_opt)
					   : xasprintf("%s/crisp.sock", d->cfg.runroot);
	}
	if (record_opt) {
		free(d->cfg.record);
		d->cfg.record = xstrdup(record_opt);
	}
	/* --log-level and CRISP_LOG_LEVEL go before the file. */
	if (!getenv("CRISP_LOG_LEVEL") && log_set_level(d->cfg.log_level) < 0)
		return err_set(e, ERR_BAD_INPUT,
			       "log_level: '%s' is not error, warning, info or debug",
			       d->cfg.log_level);
	d->tools_dir = *d->cfg.tools_dir ? xstrdup(d->cfg.tools_dir) : own_directory(e);
	return d->tools_dir ? 0 : -1;
}

/* Who holds the lock stands in its file: process and start time, always of the same width. */
static bool holder_lives(int dir)
{
	char text[64] = "", *rest;
	AUTO_CLOSE int fd = openat(dir, LOCK, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || pread(fd, text, sizeof text - 1, 0) <= 0)
		return false;
	pid_t pid = (pid_t)strtol(text, &rest, 10);
	return proc_is_alive(pid, strtoull(rest, NULL, 10));
}

/* One daemon for a run directory. One that was killed can be survived for a moment by a child that has not
 * yet executed its program and holds the lock until then: that is waited for, a living one is not. */
static int only_one(const struct crispd *d, struct err *e)
{
	char text[64];
	long long until = proc_now_ms() + ORPHANS_MS;
	int lock = fs_lock_at(d->st.run, LOCK, 0, e);
	while (lock < 0 && e->kind == ERR_UNAVAILABLE && proc_now_ms() < until &&
	       !holder_lives(d->st.run))
		lock = fs_lock_at(d->st.run, LOCK, 100, e);
	if (lock < 0)
		return e->kind == ERR_UNAVAILABLE
			       ? err_set(e, ERR_UNAVAILABLE, "another crispd runs on %s",
					 d->cfg.runroot)
			       : -1;
	int n = snprintf(text, sizeof text, "%10d %20llu\n", (int)getpid(),
			 proc_start_time(getpid()));
	if (pwrite(lock, text, (size_t)n, 0) != n) /* the lock is what counts */
		log_debug("%s: not signed", LOCK);
	return lock;
}

static int run(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	/* The configuration is lent: what settle replaces goes back with it. */
	struct crispd d = {.cfg = c->cfg, .st = c->st, .config_file = c->config_file};
	(void)argc, (void)argv;
	AUTO_CLOSE int lock = only_one(&d, e);
	if (lock < 0)
		return -1;
	int r = settle(&d, e);
	if (r == 0) {
		d.loop = loop_new(e);
		notify_open(&d.notify, d.loop);
		r = d.loop ? serve(&d, e) : -1;
	}
	server_free(d.server);
	d.server = NULL;
	parts_close(&d);
	recorder_free(d.recorder);
	notify_close(&d.notify);
	loop_free(d.loop);
	free(d.tools_dir);
	config_release(&d.said);
	c->cfg = d.cfg;
	return r;
}

static const struct verb verbs[] = {
	{"", "", "serve the kubelet's Container Runtime Interface on a unix socket", NULL, 0, 0,
	 run},
	{"ps", "", "what the running crispd has under way", NULL, 0, 0, admin_ps},
	{"check", "", "compare what crispd knows with the disk, and that with the kernel", NULL, 0,
	 0, admin_check},
	{"config", "", "each value of the configuration and where it comes from", NULL, 0, 0,
	 admin_config},
	{0},
};

static const struct tool tool = {
	.name = "crispd",
	.summary = "serve the Container Runtime Interface by running the other tools",
	.flags = TOOL_STATE | TOOL_JSON,
	.opts = opts,
	.verbs = verbs,
};

int main(int argc, char **argv)
{
	return tool_main(&tool, argc, argv);
}
