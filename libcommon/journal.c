/* SPDX-License-Identifier: Apache-2.0 */
#include "journal.h"

#include "auto.h"
#include "buf.h"
#include "fs.h"
#include "log.h"
#include "record.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { LINE_MAX_BYTES = 64 << 10, JOURNAL_MAX = 1 << 20 };

/* A newline must not end the line: $'…' of bash, and of POSIX since 2024. */
static int add_escaped(struct buf *b, const char *word, struct err *e)
{
	if (buf_addstr(b, "$'", e) < 0)
		return -1;
	for (const char *s = word; *s; s++) {
		unsigned char c = (unsigned char)*s;
		int r = c == '\n'                ? buf_addstr(b, "\\n", e)
			: c < 0x20 || c == 0x7f  ? buf_addf(b, e, "\\%03o", c)
			: c == '\'' || c == '\\' ? buf_addf(b, e, "\\%c", c)
						 : buf_add(b, s, 1, e);
		if (r < 0)
			return -1;
	}
	return buf_addstr(b, "'", e);
}

static bool has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

/* Quoted for a shell only where it must be, so that lines stay readable. */
static int add_word(struct buf *b, const char *word, struct err *e)
{
	if (has_control(word))
		return add_escaped(b, word, e);
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "-_./:=@,+%";
	if (*word && strspn(word, plain) == strlen(word))
		return buf_addstr(b, word, e);
	if (buf_addstr(b, "'", e) < 0)
		return -1;
	for (const char *s = word; *s; s++)
		if ((*s == '\'' ? buf_addstr(b, "'\\''", e) : buf_add(b, s, 1, e)) < 0)
			return -1;
	return buf_addstr(b, "'", e);
}

/* The comment must stay on its line and keep the " # " unique. */
static int add_quoted(struct buf *b, const char *name, const char *s, struct err *e)
{
	if (!s || !*s)
		return 0;
	if (buf_addf(b, e, " %s=\"", name) < 0)
		return -1;
	for (; *s && *s != '\n'; s++) {
		char c = *s;
		if ((unsigned char)c < 0x20 || c == 0x7f || c == '#')
			c = '?';
		if ((c == '"' || c == '\\') && buf_addstr(b, "\\", e) < 0)
			return -1;
		if (buf_add(b, &c, 1, e) < 0)
			return -1;
	}
	return buf_addstr(b, "\"", e);
}

static int format(struct buf *b, const struct journal_step *st, struct err *e)
{
	int64_t ns = st->when_ns ? st->when_ns : record_now_ns();
	time_t sec = ns / 1000000000;
	struct tm tm;
	char when[32];
	for (size_t i = 0; st->argv[i]; i++)
		if ((i && buf_addstr(b, " ", e) < 0) || add_word(b, st->argv[i], e) < 0)
			return -1;
	if (st->stdin_file && (buf_addstr(b, " < ", e) < 0 || add_word(b, st->stdin_file, e) < 0))
		return -1;
	gmtime_r(&sec, &tm);
	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
	if (buf_addf(b, e, " # %s.%09lldZ %s", when, (long long)(ns % 1000000000), st->rpc) < 0)
		return -1;
	if (st->req && *st->req && buf_addf(b, e, " req=%s", st->req) < 0)
		return -1;
	if (buf_addf(b, e, " exit=%d ms=%lld", st->exit_status, st->ms) < 0)
		return -1;
	if (add_quoted(b, "error", st->error, e) < 0 ||
	    add_quoted(b, "warning", st->warning, e) < 0)
		return -1;
	return buf_addstr(b, "\n", e);
}

static int open_journal(int dir)
{
	return openat(dir, "journal", O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* Probes may fail for months: what is older makes way. */
static void rotate(int dir, int *fd)
{
	struct stat mine, named;
	if (fstat(*fd, &mine) < 0 || mine.st_size < JOURNAL_MAX)
		return;
	/* Unless another writer was first. */
	if (fstatat(dir, "journal", &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	    named.st_ino == mine.st_ino)
		(void)renameat(dir, "journal", dir, "journal.1");
	int fresh = open_journal(dir);
	if (fresh < 0)
		return;
	close(*fd);
	*fd = fresh;
}

void journal_append(const struct state *s, const char *pod_id, const struct journal_step *step)
{
	struct err e;
	AUTO_BUF struct buf line = BUF_INIT(LINE_MAX_BYTES);
	AUTO_CLOSE int dir = object_open(s, OBJ_POD, pod_id, &e);
	if (dir < 0) {
		if (e.kind != ERR_NOT_FOUND)
			log_warn("journal: %s", e.msg);
		return;
	}
	AUTO_CLOSE int fd = open_journal(dir);
	if (fd < 0) {
		log_warn("journal of pod %s: %s", pod_id, strerrordesc_np(errno));
		return;
	}
	rotate(dir, &fd);
	if (format(&line, step, &e) < 0 || fs_write_all(fd, line.data, line.len, &e) < 0)
		log_warn("journal of pod %s: %s", pod_id, e.msg);
}

void journal_by_hand(const struct state *s, const char *pod_id, const char *const *words,
		     const char *stdin_file, int64_t began_ns, const struct err *error)
{
	enum { WORDS = 32 };
	char exe[4096];
	const char *argv[WORDS] = {log_prog()};
	const char *req = getenv("CRISP_REQ");
	if (req && *req)
		return;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	if (n > 0) {
		exe[n] = '\0';
		argv[0] = exe;
	}
	for (size_t i = 0; words[i] && i + 2 < WORDS; i++)
		argv[i + 1] = words[i];
	struct journal_step step = {
		.rpc = "hand",
		.argv = argv,
		.stdin_file = stdin_file,
		.when_ns = began_ns,
		.exit_status = error ? err_exit_status(error) : 0,
		.ms = (record_now_ns() - began_ns) / 1000000,
		.error = error ? error->msg : NULL,
		.warning = log_warning(),
	};
	journal_append(s, pod_id, &step);
}
