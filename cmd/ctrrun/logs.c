/* SPDX-License-Identifier: Apache-2.0 */
/* A container's log for people: the CRI's lines without their heads, as they come if asked. */
#include "attach.h"
#include "auto.h"
#include "crilog.h"
#include "ctr.h"
#include "logread.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

bool logs_follow, logs_timestamps;
long logs_tail = -1;
const char *logs_since;

struct follower {
	struct ctr k;
	int notify, end; /* end: pidfd of the monitor, or of the process that has none */
	bool of_process;
	struct logread log;
	char since[CRILOG_STAMP_SIZE];
	bool mid_line[2], hidden[2]; /* by stream */
};

/* "90s", "5m", "2h", "1d", plain seconds, or RFC 3339 in UTC (any part of it from the day on). */
static int parse_since(const char *text, char out[CRILOG_STAMP_SIZE], struct err *e)
{
	struct timespec ts;
	char *unit;
	unsigned long n = strtoul(text, &unit, 10);
	static const struct {
		const char *name;
		unsigned long seconds;
	} units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
	size_t len = strlen(text);
	if (len >= 10 && len < CRILOG_STAMP_SIZE && text[4] == '-' && text[7] == '-' &&
	    strspn(text, "0123456789-T:.Z") == len) {
		/* Times of one form are ordered as texts. */
		snprintf(out, CRILOG_STAMP_SIZE, "%.*s", (int)strcspn(text, "Z"), text);
		return 0;
	}
	clock_gettime(CLOCK_REALTIME, &ts);
	for (size_t i = 0; unit != text && i < ARRAY_LEN(units); i++) {
		if (strcmp(unit, units[i].name) != 0 ||
		    n > (unsigned long)ts.tv_sec / units[i].seconds)
			continue;
		ts.tv_sec -= (time_t)(n * units[i].seconds);
		crilog_stamp(out, &ts);
		return 0;
	}
	return err_set(e, ERR_USAGE, "--since '%.40s': not like 10m or 2026-08-22T10:00:00Z", text);
}

static void show(void *arg, const struct logline *l)
{
	struct follower *f = arg;
	FILE *to = l->stream ? stderr : stdout;
	if (!f->mid_line[l->stream])
		f->hidden[l->stream] = *f->since && l->stamp_len &&
				       strncmp(l->stamp, f->since, strlen(f->since)) < 0;
	bool begins = !f->mid_line[l->stream];
	f->mid_line[l->stream] = l->partial;
	if (f->hidden[l->stream])
		return;
	if (logs_timestamps && begins && l->stamp_len)
		fprintf(to, "%.*s ", (int)l->stamp_len, l->stamp);
	fwrite(l->text, 1, l->len, to);
	if (!l->partial)
		putc('\n', to);
}

/* What is there now; a file that was renamed is read to its end before its successor. */
static int catch_up(struct follower *f, struct err *e)
{
	do {
		if (logread_some(&f->log, show, f, e) < 0)
			return -1;
	} while (logread_next(&f->log));
	fflush(stderr);
	return fflush(stdout) == 0 ? 0 : err_sys(e, "write");
}

/* The monitor writes the last line before it ends. */
static void watch_end(struct follower *f)
{
	auto_close(&f->end);
	f->end = f->of_process ? -1 : ctr_monitor_pidfd(&f->k);
	if (f->end < 0) {
		f->of_process = true;
		f->end = ctr_pidfd(&f->k);
	}
}

static int follow(struct follower *f, struct err *e)
{
	char events[4096];
	bool over = false;
	for (;;) {
		if (catch_up(f, e) < 0)
			return -1;
		if (over)
			return 0;
		struct pollfd p[] = {{.fd = f->notify, .events = POLLIN},
				     {.fd = f->end, .events = POLLIN},
				     {.fd = STDOUT_FILENO}};
		if (poll(p, ARRAY_LEN(p), -1) < 0 && errno != EINTR)
			return err_sys(e, "poll");
		if (p[0].revents && read(f->notify, events, sizeof events) < 0 && errno != EAGAIN)
			return err_sys(e, "inotify");
		if (p[2].revents & (POLLERR | POLLHUP))
			return 0; /* nobody reads any more */
		if (!p[1].revents && f->end >= 0)
			continue;
		ctr_look(&f->k);
		over = f->of_process || f->k.state == CTR_EXITED;
		/* A monitor that was lost has its process still. */
		if (!over) {
			f->of_process = true;
			watch_end(f);
			over = f->end < 0;
		}
	}
}

static int open_notify(struct follower *f, struct err *e)
{
	char dir[PATH_MAX];
	const char *path = f->k.rec.log_path;
	int n = snprintf(dir, sizeof dir, "%.*s/", (int)(strrchr(path, '/') - path), path);
	if (n < 0 || (size_t)n >= sizeof dir)
		return err_set(e, ERR_BAD_INPUT, "log path: too long");
	f->notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	/* The directory's watch tells of its files' writes as well. */
	if (f->notify < 0 || inotify_add_watch(f->notify, dir,
					       IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM |
						       IN_DELETE | IN_ONLYDIR) < 0)
		return err_sys(e, "watch %s", dir);
	return 0;
}

static int run(struct follower *f, const char *typed, const struct tool_ctx *c, struct err *e)
{
	if (logs_since && parse_since(logs_since, f->since, e) < 0)
		return -1;
	if (ctr_open(&f->k, c, typed, 0, e) < 0)
		return -1;
	const char *path = f->k.rec.log_path;
	if (path[0] != '/')
		return err_set(e, ERR_NOT_FOUND, "container %s has no log", f->k.id);
	bool lives = f->k.state == CTR_RUNNING || f->k.state == CTR_CREATED;
	/* First the watch, then the look: what comes between them wakes us. */
	if (logs_follow && lives) {
		watch_end(f);
		if (open_notify(f, e) < 0)
			return -1;
	}
	if (logread_open(&f->log, path, logs_tail, e) < 0)
		return -1;
	return logs_follow && lives ? follow(f, e) : catch_up(f, e);
}

int verb_logs(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	struct follower f = {.k = CTR_NONE, .notify = -1, .end = -1, .log = LOGREAD_NONE};
	(void)argc;
	int r = run(&f, argv[0], c, e);
	logread_close(&f.log);
	auto_close(&f.notify);
	auto_close(&f.end);
	ctr_release(&f.k);
	return r;
}
