/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "ctr.h"
#include "event.h"
#include "freezer.h"
#include "jsonx.h"
#include "log.h"
#include "overlay.h"
#include "podroot.h"
#include "xalloc.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { REPORT_MAX = 16384, MONITOR_MARGIN_MS = 10000, ARGS_MAX = 2 * OPT_STRINGS_MAX + 64 };

bool create_defer_errors;

/* What ctrmon said. */
struct report {
	bool created, by_runtime;
	json_int_t pid, pid_start;
	struct err why;
};

struct monitor_args {
	const char *v[ARGS_MAX];
	size_t n;
	char path[PATH_MAX], timeout[24], line_max[24], fd[12], rate[24];
};

static void add(struct monitor_args *a, const char *name, const char *value)
{
	a->v[a->n++] = name;
	if (value)
		a->v[a->n++] = value;
	a->v[a->n] = NULL;
}

/* Beside ourselves, unless the configuration says where. */
static int find_monitor(struct monitor_args *a, const struct config *cfg, struct err *e)
{
	char self[PATH_MAX];
	const char *dir = cfg->tools_dir;
	if (!*dir) {
		ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
		if (n < 0)
			return err_sys(e, "read /proc/self/exe");
		self[n] = '\0';
		dir = dirname(self);
	}
	int n = snprintf(a->path, sizeof a->path, "%s/ctrmon", dir);
	if (n < 0 || (size_t)n >= sizeof a->path)
		return err_set(e, ERR_BAD_INPUT, "tools_dir: path too long");
	return 0;
}

/* The handler's limit, which annotations of container and pod can lower but not raise. */
static void add_log_limit(struct monitor_args *a, const struct ctr *k)
{
	struct log_limit l = loglimit_of(k);
	if (!l.rate)
		return;
	snprintf(a->rate, sizeof a->rate, "%lld", (long long)l.rate);
	add(a, "--log-rate-limit", a->rate);
	add(a, "--log-rate-policy", l.policy);
}

static void add_restore(struct monitor_args *a, const struct ctr *k)
{
	if (k->restore)
		add(a, "--restore", k->restore);
	for (const char *const *p = k->restore ? k->restore_args : NULL; p && *p; p++)
		add(a, "--restore-arg", *p);
}

static long create_timeout(const struct ctr *k)
{
	return k->handler.create_timeout ? k->handler.create_timeout
					 : (long)k->c->cfg.runtime_timeout;
}

static int build(struct monitor_args *a, const struct ctr *k, bool adopt, int status_fd,
		 struct err *e)
{
	const struct config *cfg = &k->c->cfg;
	size_t i;
	json_t *arg;
	a->n = 0;
	if (find_monitor(a, cfg, e) < 0)
		return -1;
	snprintf(a->timeout, sizeof a->timeout, "%ld", create_timeout(k));
	snprintf(a->line_max, sizeof a->line_max, "%lld",
		 (long long)cfg->max_container_log_line_size);
	snprintf(a->fd, sizeof a->fd, "%d", status_fd);
	add(a, a->path, NULL);
	add(a, "--root", cfg->root);
	add(a, "--runroot", cfg->runroot);
	add(a, "--runtime", k->rec.runtime);
	add(a, "--runtime-root", k->rec.runtime_root);
	json_array_foreach (k->handler.args, i, arg) {
		if (!json_is_string(arg) || i >= OPT_STRINGS_MAX)
			continue;
		add(a, "--runtime-arg", json_string_value(arg));
	}
	if (strcmp(cfg->cgroup_manager, "systemd") == 0)
		add(a, "--systemd-cgroup", NULL);
	if (*k->rec.pod_id)
		add(a, "--pod", k->rec.pod_id);
	if (*k->rec.log_path)
		add(a, "--log-path", k->rec.log_path);
	add(a, "--log-line-max", a->line_max);
	if (k->rec.tty)
		add(a, "--tty", NULL);
	if (k->rec.stdin_open)
		add(a, "--stdin", NULL);
	if (k->rec.stdin_once)
		add(a, "--stdin-once", NULL);
	add(a, "--timeout", a->timeout);
	add(a, "--status-fd", a->fd);
	add_log_limit(a, k);
	if (k->rec.sandboxed) {
		add(a, "--sandboxed", NULL);
		add(a, "--wait", NULL);
	}
	add_restore(a, k);
	if (adopt)
		add(a, "--adopt", NULL);
	add(a, k->id, NULL);
	return 0;
}

static int start_monitor(const struct ctr *k, bool take_over, struct proc *p, int *status,
			 struct err *e)
{
	struct monitor_args a;
	int fds[2];
	AUTO_CLOSE int run = ctr_run_dir(k, e);
	if (run < 0)
		return -1;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	AUTO_CLOSE int ours = fds[0];
	AUTO_CLOSE int theirs = fds[1];
	/* Not our stderr: whoever reads that would wait for the monitor's end. */
	AUTO_CLOSE int log = openat(run, "monitor.log",
				    O_WRONLY | O_CREAT | (take_over ? 0 : O_TRUNC) | O_APPEND |
					    O_NOFOLLOW | O_CLOEXEC,
				    0600);
	if (log < 0)
		return err_sys(e, "create monitor.log");
	if (build(&a, k, take_over, theirs, e) < 0)
		return -1;
	int keep[] = {theirs, -1};
	struct proc_spec s = PROC_SPEC(a.v);
	s.envp = rt_env();
	s.err = log;
	s.keep = keep;
	s.new_session = true;
	if (proc_start(p, &s, e) < 0)
		return -1;
	*status = TAKE_FD(ours);
	return 0;
}

/* Until the line is whole, the monitor ended or the time is up. */
static int read_report(int fd, struct buf *b, int timeout_ms, struct err *e)
{
	long long deadline = proc_now_ms() + timeout_ms;
	while (!b->data || !memchr(b->data, '\n', b->len)) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		long long left = deadline - proc_now_ms();
		if (left <= 0)
			return err_set(e, ERR_TIMEOUT, "the monitor does not answer");
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return err_sys(e, "poll");
		if (!p.revents)
			continue;
		if (buf_reserve(b, 4096, e) < 0)
			return -1;
		ssize_t n = read(fd, b->data + b->len, 4096);
		if (n < 0 && errno != EINTR)
			return err_sys(e, "read from the monitor");
		if (n == 0)
			return err_set(e, ERR_FAILED, "the monitor died");
		if (n > 0)
			buf_grew(b, (size_t)n);
	}
	return 0;
}

static int parse_report(const struct buf *b, struct report *r, struct err *e)
{
	AUTO_JSON json_t *j = jsonx_parse(b->data, b->len, "monitor", e);
	if (!j)
		return -1;
	*r = (struct report){.created = strcmp(jsonx_opt_string(j, "event", ""), "created") == 0};
	if (r->created)
		return jsonx_int(j, "monitor", "pid", &r->pid, e) < 0
			       ? -1
			       : jsonx_int(j, "monitor", "pid_start", &r->pid_start, e);
	r->by_runtime = strcmp(jsonx_opt_string(j, "stage", ""), "runtime") == 0;
	err_set(&r->why, err_kind_of_name(jsonx_opt_string(j, "code", "")), "%s",
		jsonx_opt_string(j, "msg", "no reason given"));
	return 0;
}

/* Runs the monitor up to its report. It has ended unless the container was created. */
static int run_monitor(struct ctr *k, bool take_over, struct report *r, struct err *e)
{
	struct proc p = PROC_NONE;
	struct proc_result ignored;
	AUTO_CLOSE int status = -1;
	AUTO_BUF struct buf b = BUF_INIT(REPORT_MAX);
	if (start_monitor(k, take_over, &p, &status, e) < 0)
		return -1;
	if (read_report(status, &b, (int)create_timeout(k) * 1000 + MONITOR_MARGIN_MS, e) == 0 &&
	    parse_report(&b, r, e) == 0 && r->created) {
		k->rec.monitor = p.pid;
		k->rec.monitor_start = (int64_t)proc_start_time(p.pid);
		k->rec.pid = r->pid;
		k->rec.pid_start = r->pid_start;
		close(p.pidfd);
		return 0;
	}
	bool reported = b.data && memchr(b.data, '\n', b.len) && *r->why.msg;
	struct err late;
	(void)proc_wait(&p, reported ? MONITOR_MARGIN_MS : 0, &ignored, &late);
	return reported ? 0 : -1;
}

static int commit(struct ctr *k, const char *start_error, struct err *e)
{
	record_set(&k->rec.state, "created");
	record_set(&k->rec.boot_id, state_boot_id());
	record_set(&k->rec.start_error, start_error);
	k->rec.started_at = 0;
	/* The runtime has bound them, or never will. */
	podroot_drop_mapped(&k->c->st, k->id);
	if (ctr_save(k, e) < 0)
		return -1;
	event_publish(&k->c->st, "created", "container", k->id, k->rec.pod_id, false);
	return 0;
}

/* Its pod may have been stopped since the bundle was made. A bundle from elsewhere has no pod. */
static int check_pod(const struct ctr *k, struct err *e)
{
	AUTO_POD_RECORD struct pod_record pod = {0};
	if (!*k->rec.pod_id || ctr_is_sandbox(&k->rec))
		return 0;
	return pod_record_read(&k->c->st, k->rec.pod_id, &pod, e) < 0 ? -1
								      : pod_check_ready(&pod, e);
}

/* What a runtime that was killed in the middle of it leaves behind: processes that are frozen, and the
 * root file system mounted where CRIU wants it. */
static void forget_restore(const struct ctr *k)
{
	struct err e;
	AUTO_FREE char *root = xasprintf("%s/%s", k->rec.runtime_root, k->id);
	freezer_thaw_path(k->rec.cgroup_path, k->id);
	if (unmount_below(root, &e) < 0)
		log_warn("%s", e.msg);
}

int ctr_make(struct ctr *k, struct err *e)
{
	struct err late;
	struct report r = {0};
	k->rec.restored = k->restore != NULL;
	/* What a creation that was killed has left. */
	if (ctr_cleanup(k, e) < 0)
		return err_wrap(e, "create %s", k->id);
	if (run_monitor(k, false, &r, e) == 0 && r.created) {
		if (commit(k, "", e) == 0)
			return 0;
	} else if (r.why.msg[0]) {
		*e = r.why;
	}
	err_wrap(e, "%s %s", k->restore ? "restore" : "create", k->id);
	if (k->restore)
		forget_restore(k);
	if (ctr_cleanup(k, &late) < 0)
		log_warn("%s", late.msg);
	k->rec.pid = k->rec.pid_start = k->rec.monitor = k->rec.monitor_start = 0;
	if (create_defer_errors && r.by_runtime && r.why.kind != ERR_TIMEOUT) {
		log_info("%s (told when it is started)", e->msg);
		return commit(k, r.why.msg, e);
	}
	return -1;
}

int ctr_check_prepared(const struct ctr *k, struct err *e)
{
	if (k->state != CTR_PREPARED)
		return err_set(e, ERR_BAD_STATE, "container %s is %s, not prepared", k->id,
			       ctr_state_name(k->state));
	if (k->rec.runtime[0] != '/' || !*k->rec.runtime_root)
		return err_set(e, ERR_BAD_STATE, "container %s: the record names no runtime",
			       k->id);
	return check_pod(k, e);
}

int verb_create(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_CTR struct ctr k = CTR_NONE;
	(void)argc;
	if (ctr_open(&k, c, argv[0], CTR_LOCKED, e) < 0 || ctr_check_prepared(&k, e) < 0)
		return -1;
	return ctr_make(&k, e);
}

/* With the container's lock held and the record read since. */
static int take_over(struct ctr *k, struct err *e)
{
	struct report r = {0};
	AUTO_CLOSE int monitor = ctr_monitor_pidfd(k);
	if (monitor >= 0 || *k->rec.start_error ||
	    (k->state != CTR_RUNNING && k->state != CTR_CREATED))
		return 0;
	if (run_monitor(k, true, &r, e) < 0 || !r.created) {
		if (r.why.msg[0])
			*e = r.why;
		return -1;
	}
	log_warn("container %s: its monitor was lost, a new one has taken over", k->id);
	if (ctr_save(k, e) < 0)
		return -1;
	event_publish(&k->c->st, "changed", "container", k->id, k->rec.pod_id, false);
	return 0;
}

int ctr_adopt(struct ctr *k, struct err *e)
{
	if (k->lock >= 0)
		return take_over(k, e);
	AUTO_CLOSE int monitor = ctr_monitor_pidfd(k);
	if (monitor >= 0 || (k->state != CTR_RUNNING && k->state != CTR_CREATED))
		return 0;
	AUTO_CTR struct ctr locked = CTR_NONE;
	if (ctr_open(&locked, k->c, k->id, CTR_LOCKED, e) < 0 || take_over(&locked, e) < 0)
		return -1;
	k->rec.monitor = locked.rec.monitor;
	k->rec.monitor_start = locked.rec.monitor_start;
	return 0;
}

void ctr_try_adopt(struct ctr *k)
{
	struct err e;
	if (ctr_adopt(k, &e) < 0)
		log_info("container %s: no new monitor: %s", k->id, e.msg);
}

int verb_adopt(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_CTR struct ctr k = CTR_NONE;
	(void)argc;
	if (ctr_open(&k, c, argv[0], CTR_LOCKED, e) < 0)
		return -1;
	if (k.state != CTR_RUNNING && k.state != CTR_CREATED)
		return err_set(e, ERR_BAD_STATE, "container %s is %s, not running", k.id,
			       ctr_state_name(k.state));
	return ctr_adopt(&k, e) < 0 ? err_wrap(e, "adopt %s", k.id) : 0;
}
