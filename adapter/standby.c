/* SPDX-License-Identifier: Apache-2.0 */
#include "standby.h"

#include "auto.h"
#include "jobs.h"
#include "log.h"
#include "xalloc.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { STANDBYS_MAX = 16, WORDS_MAX = 32, TURN_MS = 1 };

struct standby {
	struct standby *next;
	struct standbys *all;
	char **argv; /* NULL-terminated, each word owned */
	long long for_ms;
	struct timer clock;
	struct toolrun run;  /* run.gate < 0: not started yet */
	struct stat program; /* as it was started: an upgrade is not to run what it has replaced */
};

struct standbys {
	struct crispd *d;
	struct standby *head;
	size_t n;
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
	all->n--;
	loop_timer_cancel(all->d->loop, &s->clock);
	if (s->run.gate >= 0)
		toolrun_end(&s->run);
	for (size_t i = 0; s->argv[i]; i++)
		free(s->argv[i]);
	free(s->argv);
	free(s);
}

void standbys_drop(struct standbys *all)
{
	while (all->head)
		standby_free(all->head);
}

void standbys_free(struct standbys *all)
{
	if (!all)
		return;
	standbys_drop(all);
	loop_timer_cancel(all->d->loop, &all->turn);
	free(all);
}

static void on_clock(struct timer *t)
{
	standby_free(t->arg);
}

/* A script in a tool's place knows no gate: it would run. */
static bool is_program(const char *path, struct stat *st)
{
	char magic[4];
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && fstat(fd, st) == 0 && read(fd, magic, sizeof magic) == sizeof magic &&
	       memcmp(magic, "\177ELF", sizeof magic) == 0;
}

static void on_turn(struct timer *t)
{
	struct standbys *all = t->arg;
	struct standby *s = all->head;
	struct err e;
	while (s && s->run.gate >= 0)
		s = s->next;
	if (!s)
		return;
	const char *const *argv = (const char *const *)s->argv;
	if (!is_program(argv[0], &s->program) ||
	    toolrun_wait(&s->run, argv, jobs_env(all->d->jobs, "", false), &e) < 0)
		standby_free(s);
	else if (s->for_ms >= 0)
		loop_timer(all->d->loop, &s->clock, s->for_ms, on_clock, s);
	loop_timer(all->d->loop, &all->turn, TURN_MS, on_turn, all);
}

void standby_want(struct standbys *all, long long for_ms, const char *const *argv)
{
	const char *words[WORDS_MAX];
	size_t n = 0;
	full(all, argv, words);
	for (const struct standby *s = all->head; s; s = s->next)
		if (same(words, s->argv, WORDS_MAX))
			return;
	if (all->n == STANDBYS_MAX)
		return;
	struct standby *s = xcalloc(1, sizeof *s), **p = &all->head;
	*s = (struct standby){.all = all, .for_ms = for_ms, .run = TOOLRUN_NONE};
	s->argv = xcalloc(WORDS_MAX, sizeof *s->argv);
	for (; words[n]; n++)
		s->argv[n] = xstrdup(words[n]);
	while (*p)
		p = &(*p)->next;
	*p = s;
	all->n++;
	loop_timer(all->d->loop, &all->turn, TURN_MS, on_turn, all);
}

void standby_id(const struct standbys *all, const char *const *argv, size_t at, char id[ID_SIZE])
{
	const char *words[WORDS_MAX];
	size_t place = full(all, argv, words) + at;
	for (const struct standby *s = all->head; s; s = s->next)
		if (same(words, s->argv, place)) {
			memcpy(id, s->argv[place], ID_SIZE);
			return;
		}
	id_new(id);
}

static bool is_current(const struct standby *s)
{
	struct stat now;
	return stat(s->argv[0], &now) == 0 && now.st_ino == s->program.st_ino &&
	       now.st_dev == s->program.st_dev && now.st_ctim.tv_sec == s->program.st_ctim.tv_sec &&
	       now.st_ctim.tv_nsec == s->program.st_ctim.tv_nsec;
}

bool standby_take(struct standbys *all, const char *const *argv, struct toolrun *r)
{
	for (struct standby *s = all->head; s; s = s->next) {
		if (!same(argv, s->argv, WORDS_MAX))
			continue;
		bool waits = s->run.gate >= 0 && is_current(s);
		if (waits) {
			*r = s->run;
			s->run = TOOLRUN_NONE;
		}
		standby_free(s);
		return waits;
	}
	return false;
}
