/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "flatjson.h"
#include "fs.h"
#include "monitor.h"

#include <fcntl.h>
#include <string.h>

#define NEW_NAME ".exit.json.new"
/* Every byte of the tail may become a \u escape. */
enum { RECORD_MAX = 6 * STDERR_TAIL + 2048, STATE_MAX = 1 << 20 };

int exitrec_prepare(struct monitor *m, struct err *e)
{
	m->exit.fd = openat(m->root_dir, NEW_NAME,
			    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (m->exit.fd < 0)
		return err_sys(e, "create %s", NEW_NAME);
	/* A disk that is full when the container ends must not cost its exit code. File systems
	 * without the call get the best effort. */
	if (fallocate(m->exit.fd, 0, 0, RECORD_MAX) < 0 && errno == ENOSPC)
		return err_sys(e, "reserve space for exit.json");
	return 0;
}

static int64_t started_at(const struct monitor *m)
{
	struct err ignored;
	int64_t at = 0;
	AUTO_BUF struct buf b = BUF_INIT(STATE_MAX);
	/* ctrrun start writes it before it starts, so it is there however fast the container was.
	 */
	if (fs_read_at(m->root_dir, "state.json", &b, &ignored) == 0 && b.data)
		flatjson_int(b.data, b.len, "started_at", &at);
	return at;
}

static const char *message_of(const struct monitor *m)
{
	if (m->exit.sandbox_ended)
		return "the pod's sandbox has ended";
	if (m->exit.unknown)
		return m->opts->wait ? "unknown, the runtime does not say"
				     : "unknown, monitor lost";
	return "";
}

static int format(const struct monitor *m, struct buf *b, struct err *e)
{
	const struct exitrec *x = &m->exit;
	const char *reason = x->unknown     ? "ContainerStatusUnknown"
			     : x->code == 0 ? "Completed"
			     : x->oom       ? "OOMKilled"
					    : "Error";
	if (buf_addf(b, e,
		     "{\"version\":1,\"exit_code\":%lld,\"signal\":%lld,\"oom\":%s,"
		     "\"started_at\":%lld,\"finished_at\":%lld,"
		     "\"lost_lines\":%llu,\"dropped_lines\":%llu,\"reason\":\"%"
		     "s\",\"message\":\"%s\"",
		     (long long)x->code, (long long)x->signal, x->oom ? "true" : "false",
		     (long long)started_at(m), (long long)x->finished_at,
		     (unsigned long long)m->log.lost_total,
		     (unsigned long long)m->log.limit.dropped_total, reason, message_of(m)) < 0)
		return -1;
	for (const struct cgroup_counter *k = cgroup_counters; k->name; k++)
		if (buf_addf(b, e, ",\"%s\":%lld", k->name, (long long)cgroup_count(&x->used, k)) <
		    0)
			return -1;
	if (buf_addstr(b, ",\"stderr_tail\":", e) < 0)
		return -1;
	if (flatjson_put(b, m->io.tail, m->io.tail_len, e) < 0)
		return -1;
	return buf_addstr(b, "}\n", e);
}

int exitrec_write(struct monitor *m, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(RECORD_MAX);
	if (format(m, &b, e) < 0)
		return -1;
	/* Not truncated before it is written: that would give the reserved blocks back. */
	if (lseek(m->exit.fd, 0, SEEK_SET) < 0 || fs_write_all(m->exit.fd, b.data, b.len, e) < 0 ||
	    ftruncate(m->exit.fd, (off_t)b.len) < 0 ||
	    renameat(m->root_dir, NEW_NAME, m->root_dir, "exit.json") < 0)
		return err_sys(e, "write exit.json");
	return 0;
}
