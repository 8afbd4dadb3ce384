/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper.h"

#include "auto.h"
#include "fs.h"
#include "jobs.h"
#include "log.h"
#include "reaper.h"
#include "toolrun.h"
#include "turnstile.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { WORDS_MAX = 16, ENV_MAX = 16 };

struct stand {
	struct stand *next;
	struct keeper *k;
	struct proc proc;
	struct watch end, told;
	struct fs_stamp program; /* as it was started */
	bool retired;            /* gets no more, and goes with its last */
	size_t n_runs;
};

struct keeper {
	struct crispd *d;
	const char *tool, *verb;
	struct stand *head; /* the newest first; none but that is not retired */
	struct keeper_run *runs;
	unsigned long long last;
	struct timer idle;
	struct answer in;
	char text[TURNSTILE_MAX];
};

struct keeper *keeper_new(struct crispd *d, const char *tool, const char *verb)
{
	struct keeper *k = xcalloc(1, sizeof *k);
	k->d = d;
	k->tool = tool;
	k->verb = verb;
	return k;
}

/* Its runs end with it, where there are any. */
static void stand_close(struct stand *s)
{
	struct stand **p = &s->k->head;
	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	loop_del(s->k->d->loop, &s->end);
	loop_close(s->k->d->loop, &s->told);
	/* It would end by itself, unless it hangs. */
	proc_kill(&s->proc, SIGKILL);
	if (s->proc.pidfd >= 0)
		reaper_take(s->k->d->reaper, &s->proc);
	free(s);
}

static void let_go(struct stand *s)
{
	s->n_runs--;
	if (s->retired && !s->n_runs)
		stand_close(s);
}

static void over(struct keeper *k, struct keeper_run *r)
{
	struct keeper_run **p = &k->runs;
	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
	let_go(TAKE(r->at));
}

static void retire(struct stand *s)
{
	s->n_runs++;
	s->retired = true;
	let_go(s);
}

void keeper_drop(struct keeper *k)
{
	loop_timer_cancel(k->d->loop, &k->idle);
	if (k->head && !k->head->retired)
		retire(k->head);
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	loop_timer_cancel(k->d->loop, &k->idle);
	while (k->head)
		stand_close(k->head);
	free(k);
}

static void on_idle(struct timer *t)
{
	keeper_drop(t->arg);
}

static void take_answer(struct keeper *k)
{
	unsigned long long number = strtoull(k->in.id, NULL, 10);
	struct keeper_run *r = k->runs;
	while (r && r->number != number)
		r = r->next;
	if (r) {
		over(k, r);
		r->cb(r, &k->in);
	}
	answer_release(&k->in);
}

static void on_told(struct watch *w, uint32_t events)
{
	struct stand *s = w->arg;
	(void)events;
	s->n_runs++; /* it stays until the end of this, whatever is answered */
	while (answer_receive(w->fd, &s->k->in) > 0)
		take_answer(s->k);
	let_go(s);
}

/* It was killed, or found its words wrong. What its runs have told by then counts. */
static void on_end(struct watch *w, uint32_t events)
{
	struct stand *s = w->arg;
	struct keeper *k = s->k;
	struct proc_result result = {.status = SIGKILL};
	struct err e;
	char line[48];
	(void)events;
	s->retired = true;
	s->n_runs++; /* it stays until the end of this */
	on_told(&s->told, 0);
	loop_del(k->d->loop, w);
	(void)proc_try_reap(&s->proc, &result, &e);
	snprintf(line, sizeof line, TURNSTILE_ENDED, proc_exit_code(&result));
	k->in = (struct answer){.id = "", .line = line, .line_len = strlen(line), .body = ""};
	for (struct keeper_run *r = k->runs; r; r = r ? r->next : k->runs) {
		if (r->at != s)
			continue;
		over(k, r);
		r->cb(r, &k->in);
		r = NULL; /* from the beginning, whatever that has changed */
	}
	let_go(s);
}

/* Its log is ours, and so told in our way. */
static void copy_env(const struct keeper *k, const char **env)
{
	const char *ours = getenv("CRISP_LOG");
	size_t n = 0;
	for (const char *const *from = jobs_env(k->d->jobs, "", false); *from; from++)
		if (strncmp(*from, "CRISP_LOG=", 10) != 0 && n + 2 < ENV_MAX)
			env[n++] = *from;
	if (ours && strcmp(ours, "json") == 0)
		env[n++] = "CRISP_LOG=json";
	env[n] = NULL;
}

static int start(struct stand *s, const char *const *common, size_t n_common, struct err *e)
{
	struct keeper *k = s->k;
	const char *argv[WORDS_MAX + 4], *env[ENV_MAX];
	char option[32];
	int fds[2];
	size_t n = 0;
	if (!toolrun_can_wait(common[0]))
		return err_set(e, ERR_UNSUPPORTED, "%s is no program", common[0]);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(e, "socketpair");
	AUTO_CLOSE int theirs = fds[1];
	snprintf(option, sizeof option, TURNSTILE_OPTION "%d", theirs);
	argv[n++] = common[0];
	argv[n++] = option;
	for (size_t i = 1; i < n_common; i++)
		argv[n++] = common[i];
	argv[n++] = k->verb;
	argv[n] = NULL;
	copy_env(k, env);
	struct proc_spec spec = PROC_SPEC(argv);
	spec.envp = env;
	spec.keep = (const int[]){theirs, -1};
	spec.new_group = true;
	if (loop_add(k->d->loop, &s->told, fds[0], EPOLLIN, on_told, s, e) < 0) {
		close(fds[0]);
		return -1;
	}
	if (proc_start(&s->proc, &spec, e) < 0)
		return -1;
	return loop_add(k->d->loop, &s->end, s->proc.pidfd, EPOLLIN, on_end, s, e);
}

/* One that is what would be started now. */
static struct stand *need(struct keeper *k, struct err *e)
{
	const char *common[WORDS_MAX];
	size_t n = jobs_argv(k->d->jobs, k->tool, common);
	struct fs_stamp now = fs_stamp(common[0]);
	if (k->head && !k->head->retired && fs_stamp_same(&now, &k->head->program))
		return k->head;
	keeper_drop(k);
	struct stand *s = xcalloc(1, sizeof *s);
	*s = (struct stand){.next = k->head,
			    .k = k,
			    .proc = PROC_NONE,
			    .end = WATCH_NONE,
			    .told = WATCH_NONE,
			    .program = now};
	k->head = s;
	if (start(s, common, n, e) == 0)
		return s;
	stand_close(s);
	return NULL;
}

static int add(struct keeper *k, size_t *len, const char *word, struct err *e)
{
	size_t n = strlen(word) + 1;
	if (n > sizeof k->text - *len)
		return err_set(e, ERR_UNSUPPORTED, "more than %d bytes of words", TURNSTILE_MAX);
	memcpy(k->text + *len, word, n);
	*len += n;
	return 0;
}

int keeper_run(struct keeper *k, struct keeper_run *r, const char *const *words, const char *req,
	       void (*cb)(struct keeper_run *, const struct answer *), struct err *e)
{
	char number[24];
	size_t len = 0;
	*r = (struct keeper_run){.number = ++k->last, .arg = r->arg, .cb = cb};
	snprintf(number, sizeof number, "%llu", r->number);
	if (add(k, &len, number, e) < 0 || add(k, &len, req, e) < 0)
		return -1;
	for (; *words; words++)
		if (add(k, &len, *words, e) < 0)
			return -1;
	struct stand *s = need(k, e);
	if (!s)
		return -1;
	loop_timer(k->d->loop, &k->idle, KEEPER_IDLE_MS, on_idle, k);
	if (send(s->told.fd, k->text, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return err_sys(e, "send to the %s %s that waits", k->tool, k->verb);
	r->at = s;
	s->n_runs++;
	r->next = k->runs;
	k->runs = r;
	return 0;
}

void keeper_end(struct keeper_run *r)
{
	char number[24];
	int n = snprintf(number, sizeof number, "%llu", r->number);
	if (r->at && send(r->at->told.fd, number, (size_t)n + 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_warn("run %s of %s %s cannot be ended: %s", number, r->at->k->tool,
			 r->at->k->verb, strerror(errno));
}

void keeper_give_up(struct keeper *k, struct keeper_run *r)
{
	if (!r->at)
		return;
	log_warn("run %llu of %s %s does not end", r->number, k->tool, k->verb);
	retire(r->at);
	over(k, r);
}

void keeper_forget(struct keeper *k, struct keeper_run *r)
{
	if (!r->at)
		return;
	keeper_end(r);
	over(k, r);
}
