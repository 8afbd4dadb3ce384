/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "ckpt.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "rtwords.h"
#include "xalloc.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#define NOTE "checkpoint-under-way.json"
#define LOCK "checkpoint.lock"
enum { NOTE_MAX = 1 << 20, TRACER_MS = 10000, WORDS_MAX = 8192, LOG_TAIL = 4096 };

static long long left_ms(const struct cut *cut)
{
	long long ms = cut->deadline - proc_now_ms();
	return ms > 0 ? ms : 0;
}

int cut_go_on(const struct cut *cut, struct err *e)
{
	struct pollfd p = {.fd = cut->signals, .events = POLLIN};
	if (poll(&p, 1, 0) > 0)
		return err_set(e, ERR_CANCELLED, "checkpoint: cancelled");
	return left_ms(cut) ? 0 : err_set(e, ERR_TIMEOUT, "checkpoint: the time is up");
}

int cut_begin(struct cut *cut, struct tool_ctx *c, const char *pod, struct err *e)
{
	double seconds = c->timeout >= 0 ? c->timeout : (double)c->cfg.runtime_timeout;
	snprintf(cut->pod, sizeof cut->pod, "%s", pod);
	cut->c = c;
	cut->deadline = proc_now_ms() + (long long)(seconds * 1000);
	cut->signals = proc_end_signals(e);
	if (cut->signals < 0)
		return -1;
	fs_lock_heeds_signals = true;
	cut->run = object_open_run(&c->st, OBJ_POD, pod, true, e);
	if (cut->run < 0)
		return -1;
	cut->lock = fs_lock_at(cut->run, LOCK, (int)left_ms(cut), e);
	if (cut->lock < 0)
		return err_wrap(e, "another checkpoint of pod %s", pod);
	return 0;
}

void cut_end(struct cut *cut)
{
	for (size_t i = 0; i < cut->n; i++)
		ctr_release(&cut->ctrs[i]);
	free(cut->ctrs);
	auto_close(&cut->out);
	auto_close(&cut->signals);
	auto_close(&cut->run);
	auto_close(&cut->lock);
}

/* Before anything is paused: whoever finds this without us knows what to resume and to remove. */
static int write_note(const struct cut *cut, struct err *e)
{
	AUTO_JSON json_t *ids = json_array();
	for (size_t i = 0; i < cut->n; i++)
		json_array_append_new(ids, json_string(cut->ctrs[i].id));
	AUTO_JSON json_t *note = json_pack("{s:s, s:O}", "output", cut->path, "containers", ids);
	if (!note)
		return err_set(e, ERR_BAD_INPUT, "output path is not UTF-8");
	return jsonx_replace_bounded_at(cut->run, NOTE, 0600, note, NOTE_MAX, e);
}

static int remove_output(int out, const char *id, struct err *e)
{
	return out < 0 ? 0 : fs_remove_tree(out, id, e);
}

/* Whoever traces the container's process is a CRIU that has lost the runtime above it. It would
 * freeze everything again when it ends. */
static void end_tracer(const struct ctr *k)
{
	char file[64];
	struct err ignored;
	AUTO_BUF struct buf b = BUF_INIT(1 << 16);
	snprintf(file, sizeof file, "/proc/%d/status", (int)k->rec.pid);
	if (k->rec.pid <= 0 || fs_read_at(AT_FDCWD, file, &b, &ignored) < 0 || !b.data)
		return;
	const char *at = strstr(b.data, "\nTracerPid:");
	long pid = at ? strtol(at + 11, NULL, 10) : 0;
	AUTO_CLOSE int fd = pid > 1 ? pidfd_open((pid_t)pid, 0) : -1;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	if (fd < 0 || poll(&p, 1, TRACER_MS) > 0)
		return;
	pidfd_send_signal(fd, SIGKILL, NULL, 0);
	(void)poll(&p, 1, TRACER_MS);
}

static int resume_one(const struct ctr *k, struct err *e)
{
	if (!ctr_is_paused(k))
		return 0;
	return ctr_resume(k, e);
}

static int resume_all(const struct cut *cut, struct err *e)
{
	int r = 0;
	struct err why;
	for (size_t i = 0; i < cut->n; i++)
		if (resume_one(&cut->ctrs[i], &why) < 0) {
			log_error("%s", why.msg);
			*e = why;
			r = -1;
		}
	return r;
}

static int pause_all(const struct cut *cut, struct err *e)
{
	for (size_t i = 0; i < cut->n; i++)
		if (cut_go_on(cut, e) < 0 || ctr_pause(&cut->ctrs[i], e) < 0)
			return -1;
	return 0;
}

/* The runtime's words, else the end of CRIU's log. */
static int refused(const struct cut *cut, const struct ctr *k, int words, struct err *e)
{
	char text[WORDS_MAX], pick[700], log[200];
	ssize_t n = pread(words, text, sizeof text, 0);
	rtwords_pick(NULL, 0, text, n > 0 ? (size_t)n : 0, pick, sizeof pick);
	snprintf(log, sizeof log, "%.8s…/dump.log", k->id);
	(void)cut;
	return err_set(e, ERR_FAILED, "%s", *pick ? pick : "the runtime says nothing");
}

/* RUNTIME checkpoint, until its end, ours or that of our time. */
static int dump(const struct cut *cut, const struct ctr *k, struct err *e)
{
	struct rt_args a;
	struct proc p = PROC_NONE;
	struct proc_result r;
	struct err ignored;
	const char *args[CKPT_ARGS];
	AUTO_FREE char *images = xasprintf("%s/%s/" CKPT_IMAGES, cut->path, k->id);
	AUTO_FREE char *work = xasprintf("%s/%s", cut->path, k->id);
	AUTO_CLOSE int words = memfd_create("words", MFD_CLOEXEC);
	if (words < 0)
		return err_sys(e, "memfd_create");
	rt_begin(&a, k);
	rt_add(&a, "checkpoint");
	rt_add(&a, "--leave-running");
	rt_add(&a, "--image-path");
	rt_add(&a, images);
	rt_add(&a, "--work-path");
	rt_add(&a, work);
	ckpt_options_args(&cut->options, args);
	for (size_t i = 0; args[i]; i++)
		rt_add(&a, args[i]);
	rt_add(&a, k->id);
	struct proc_spec s = RUNTIME_SPEC(a.v);
	s.envp = rt_env();
	s.out = s.err = words;
	s.new_group = s.die_with_parent = true;
	if (proc_start(&p, &s, e) < 0)
		return -1;
	struct pollfd w[] = {{.fd = p.pidfd, .events = POLLIN},
			     {.fd = cut->signals, .events = POLLIN}};
	while (cut_go_on(cut, e) == 0 && !w[0].revents)
		(void)poll(w, ARRAY_LEN(w), (int)left_ms(cut));
	if (!w[0].revents) {
		(void)proc_wait(&p, 0, &r, &ignored);
		end_tracer(k);
		return -1;
	}
	if (proc_wait(&p, -1, &r, e) < 0)
		return -1;
	return r.exited && r.status == 0 ? 0 : refused(cut, k, words, e);
}

static int capture(const struct cut *cut, const struct ctr *k, struct err *e)
{
	if (mkdirat(cut->out, k->id, 0700) < 0)
		return err_sys(e, "create %s/%s", cut->path, k->id);
	AUTO_CLOSE int dir = fs_open_dir(cut->out, k->id, e);
	if (dir < 0)
		return -1;
	if (mkdirat(dir, CKPT_IMAGES, 0700) < 0)
		return err_sys(e, "create %s/%s/" CKPT_IMAGES, cut->path, k->id);
	if (dump(cut, k, e) < 0 || ckpt_describe(k, dir, e) < 0)
		return err_wrap(e, "checkpoint of %s", k->id);
	return 0;
}

int cut_run(struct cut *cut, struct err *e)
{
	struct err late;
	if (write_note(cut, e) < 0)
		return -1;
	int r = pause_all(cut, e);
	for (size_t i = 0; r == 0 && i < cut->n; i++)
		r = cut_go_on(cut, e) < 0 ? -1 : capture(cut, &cut->ctrs[i], e);
	bool running = resume_all(cut, r < 0 ? &late : e) == 0;
	if (!running)
		r = -1;
	for (size_t i = 0; r < 0 && i < cut->n; i++)
		if (remove_output(cut->out, cut->ctrs[i].id, &late) < 0)
			log_warn("%s", late.msg);
	/* Else it stays, for the next try. */
	if (running)
		unlinkat(cut->run, NOTE, 0);
	return r;
}

/* What the note says; its writer is dead. */
static int undo(const struct tool_ctx *c, const json_t *note, struct err *e)
{
	size_t i;
	int r = 0;
	json_t *id;
	struct err why;
	const char *path = jsonx_opt_string((json_t *)note, "output", "");
	AUTO_CLOSE int out = *path == '/' ? fs_open_dir(AT_FDCWD, path, &why) : -1;
	json_array_foreach (json_object_get(note, "containers"), i, id) {
		const char *name = json_string_value(id);
		AUTO_CTR struct ctr k = CTR_NONE;
		if (!name || !id_is_valid(name))
			continue;
		if (ctr_open(&k, c, name, 0, &why) == 0) {
			end_tracer(&k);
			if (resume_one(&k, e) < 0)
				r = -1;
			else
				log_info("container %s: runs again after a checkpoint that was "
					 "cut short",
					 k.id);
		}
		if (remove_output(out, name, &why) < 0)
			log_warn("%s", why.msg);
	}
	return r;
}

int cut_recover(const struct tool_ctx *c, const char *pod, int timeout_ms, struct err *e)
{
	AUTO_CLOSE int run = object_open_run(&c->st, OBJ_POD, pod, false, e);
	if (run < 0)
		return e->kind == ERR_NOT_FOUND ? 0 : -1;
	if (faccessat(run, NOTE, F_OK, 0) < 0)
		return 0;
	/* Held by one that is at work: it resumes by itself. */
	AUTO_CLOSE int lock = fs_lock_at(run, LOCK, timeout_ms, e);
	if (lock < 0)
		return -1;
	if (faccessat(run, NOTE, F_OK, 0) < 0)
		return 0;
	AUTO_JSON json_t *note = jsonx_read_at(run, NOTE, NOTE_MAX, e);
	if (note && undo(c, note, e) < 0)
		return -1;
	return unlinkat(run, NOTE, 0) < 0 ? err_sys(e, "remove " NOTE) : 0;
}
