/* SPDX-License-Identifier: Apache-2.0 */
#include "standby.h"

#include "auto.h"
#include "fs.h"
#include "jobs.h"
#include "log.h"
#include "reaper.h"
#include "xalloc.h"

#include <signal.h>
#include <string.h>
#include <sys/epoll.h>

enum { WORDS_MAX = 32, TURN_MS = 1 };

struct standby {
	struct standby *next;
	struct standbys *all;
	char **argv; /* NULL-terminated, each word owned */
	long long for_ms;
	enum { QUEUED, WAITS } state;
	bool promised; /* its id is somebody's */
	struct timer clock;
	struct toolrun run;
	struct watch end;
	struct fs_stamp
		program; /* as it was started: an upgrade is not to run what it has replaced */
};

struct standbys {
	struct crispd *d;
	struct standby *head; /* the oldest first */
	struct timer turn;
};

/* The words with what comes before them, borrowed; how many come before. */
static size_t full(const struct standbys *all, const char *const *argv, const char **to)
{
	size_t n = jobs_argv(all->d->jobs, argv[0], to), before = n - 1;
	for (size_t i = 1; argv[i] && n < WORDS_MAX - 1; i++)
		to[n++] = argv[i];
	to[n] = NULL;
	return before;
}

/* Are they the same, but for the word at `but`? */
static bool same(const char *const *a, char *const *b, size_t but)
{
	size_t i = 0;
	for (; a[i] && b[i]; i++)
		if (i != but && strcmp(a[i], b[i]) != 0)
			return false;
	return a[i] == b[i];
}

struct standbys *standbys_new(struct crispd *d)
{
	struct standbys *all = xcalloc(1, sizeof *all);
	all->d = d;
	return all;
}

static void standby_free(struct standby *s)
{
	struct standbys *all = s->all;
	struct standby **p = &all->head;
	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	loop_timer_cancel(all->d->loop, &s->clock);
	loop_del(all->d->loop, &s->end);
	if (s->run.proc.pidfd >= 0)
		reaper_take(all->d->reaper, &s->run.proc);
	toolrun_close(&s->run);
	for (size_t i = 0; s->argv[i]; i++)
		free(s->argv[i]);
	free(s->argv);
	free(s);
}

/* It has ended by itself. */
static void on_end(struct watch *w, uint32_t events)
{
	(void)events;
	standby_free(w->arg);
}

/* A process on a disk that hangs dies when it likes. */
static void dismiss(struct standby *s)
{
	if (s->state == WAITS)
		proc_kill(&s->run.proc, SIGKILL);
	standby_free(s);
}

void standbys_drop(struct standbys *all)
{
	while (all->head)
		dismiss(all->head);
}

/* Those that wait end when their gates are closed. */
void standbys_free(struct standbys *all)
{
	if (!all)
		return;
	while (all->head)
		standby_free(all->head);
	loop_timer_cancel(all->d->loop, &all->turn);
	free(all);
}

static void on_clock(struct timer *t)
{
	dismiss(t->arg);
}

static int start(struct standby *s, struct err *e)
{
	struct crispd *d = s->all->d;
	const char *const *argv = (const char *const *)s->argv;
	s->program = fs_stamp(argv[0]);
	if (!toolrun_can_wait(argv[0]))
		return err_set(e, ERR_UNSUPPORTED, "%s is no program", argv[0]);
	if (toolrun_wait(&s->run, argv, jobs_env(d->jobs, "", false), e) < 0)
		return -1;
	if (loop_add(d->loop, &s->end, s->run.proc.pidfd, EPOLLIN, on_end, s, e) < 0) {
		proc_kill(&s->run.proc, SIGKILL);
		return -1;
	}
	s->state = WAITS;
	loop_timer(d->loop, &s->clock, s->for_ms, on_clock, s);
	return 0;
}

static void on_turn(struct timer *t)
{
	struct standbys *all = t->arg;
	struct standby *s = all->head;
	struct err e;
	while (s && s->state != QUEUED)
		s = s->next;
	if (!s)
		return;
	if (start(s, &e) < 0) {
		log_debug("not started before it is wanted: %s", e.msg);
		standby_free(s);
	}
	loop_timer(all->d->loop, &all->turn, TURN_MS, on_turn, all);
}

/* One with these words. */
static struct standby *find(const struct standbys *all, const char *const *words)
{
	struct standby *s = all->head;
	while (s && !same(words, s->argv, WORDS_MAX))
		s = s->next;
	return s;
}

/* One with these words but for the id, which nobody has yet. */
static struct standby *find_next(const struct standbys *all, const char *const *words, size_t place)
{
	struct standby *s = all->head;
	while (s && (s->promised || !same(words, s->argv, place)))
		s = s->next;
	return s;
}

/* False when all that wait are promised. */
static bool make_room(struct standbys *all)
{
	struct standby *oldest = NULL;
	size_t n = 0;
	for (struct standby *s = all->head; s; s = s->next) {
		n++;
		if (!oldest && !s->promised)
			oldest = s;
	}
	if (n < STANDBYS_MAX)
		return true;
	if (!oldest)
		return false;
	dismiss(oldest);
	return true;
}

void standby_want(struct standbys *all, long long for_ms, const char *const *argv)
{
	const char *words[WORDS_MAX];
	size_t n = 0;
	full(all, argv, words);
	if (find(all, words) || !make_room(all))
		return;
	struct standby *s = xcalloc(1, sizeof *s), **p = &all->head;
	*s = (struct standby){.all = all, .for_ms = for_ms, .run = TOOLRUN_NONE, .end = WATCH_NONE};
	s->argv = xcalloc(WORDS_MAX, sizeof *s->argv);
	for (; words[n]; n++)
		s->argv[n] = xstrdup(words[n]);
	while (*p)
		p = &(*p)->next;
	*p = s;
	loop_timer(all->d->loop, &all->turn, TURN_MS, on_turn, all);
}

void standby_want_next(struct standbys *all, long long for_ms, const char *const *argv, size_t at,
		       char id[ID_SIZE])
{
	const char *words[WORDS_MAX];
	size_t place = full(all, argv, words) + at;
	if (find_next(all, words, place))
		return;
	id_new(id);
	standby_want(all, for_ms, argv);
}

void standby_next_id(struct standbys *all, const char *const *argv, size_t at, char id[ID_SIZE])
{
	const char *words[WORDS_MAX];
	size_t place = full(all, argv, words) + at;
	struct standby *s = find_next(all, words, place);
	if (!s) {
		id_new(id);
		return;
	}
	memcpy(id, s->argv[place], ID_SIZE);
	s->promised = true;
	/* Whoever has it may never come. */
	s->for_ms = STANDBY_MS;
	if (s->state == WAITS)
		loop_timer(all->d->loop, &s->clock, s->for_ms, on_clock, s);
}

static bool is_current(const struct standby *s)
{
	struct fs_stamp now = fs_stamp(s->argv[0]);
	return fs_stamp_same(&now, &s->program);
}

bool standby_begin(struct standbys *all, const char *const *argv, const char *input,
		   size_t input_len, const char *req, struct toolrun *r)
{
	struct standby *s = find(all, argv);
	struct err e;
	if (!s)
		return false;
	if (s->state == QUEUED || !is_current(s)) {
		dismiss(s);
		return false;
	}
	if (toolrun_begin(&s->run, input, input_len, req, &e) < 0) {
		log_debug("%s: %s", argv[0], e.msg);
		dismiss(s);
		return false;
	}
	loop_del(all->d->loop, &s->end);
	*r = s->run;
	s->run = TOOLRUN_NONE;
	standby_free(s);
	return true;
}
