/* SPDX-License-Identifier: Apache-2.0 */
#include "recorder.h"

#include "auto.h"
#include "crilog.h"
#include "fs.h"
#include "grpc.h"
#include "jsonx.h"
#include "log.h"
#include "pbjson.h"
#include "redact.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* Secrets that are remembered over calls. */
enum { SECRETS_MAX = 256 };

struct recorder {
	char *path, *older; /* FILE, FILE.1 */
	int fd;
	off_t size, max;
	unsigned long long lost; /* lines that could not be written since the last that could */
	struct redactor *redactor;
};

static json_t *now(void)
{
	char stamp[CRILOG_STAMP_SIZE];
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	crilog_stamp(stamp, &ts);
	return json_string(stamp);
}

static int open_file(struct recorder *r, struct err *e)
{
	struct stat st;
	/* Nothing that could make us wait, such as a pipe. */
	AUTO_CLOSE int fd = open(
		r->path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "record: open %s", r->path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_BAD_INPUT, "record: %s is no regular file", r->path);
	r->size = st.st_size;
	return TAKE_FD(fd);
}

/* One write: the readers see whole lines, whoever is killed when. What a full disk took of one is taken
 * back. */
static int write_line(struct recorder *r, const json_t *line, struct err *e)
{
	AUTO_FREE char *text = json_dumps(line, JSON_COMPACT);
	char newline[] = "\n";
	struct stat st;
	if (!text)
		return err_set(e, ERR_EXHAUSTED, "record: out of memory");
	struct iovec iov[2] = {{text, strlen(text)}, {newline, 1}};
	ssize_t want = (ssize_t)iov[0].iov_len + 1, n;
	do
		n = writev(r->fd, iov, ARRAY_LEN(iov));
	while (n < 0 && errno == EINTR);
	if (n == want) {
		r->size += n;
		return 0;
	}
	if (n < 0)
		return err_sys(e, "record: write %s", r->path);
	if (fstat(r->fd, &st) < 0 || ftruncate(r->fd, st.st_size - n) < 0)
		return err_sys(e, "record: truncate %s", r->path);
	return err_set(e, ERR_EXHAUSTED, "record: write %s: no space", r->path);
}

/* The first line of a file, and of what a daemon adds to it: request ids count anew from there. */
static int write_head(struct recorder *r, struct err *e)
{
	AUTO_JSON json_t *j = json_pack("{s:s,s:i,s:s,s:o}", "record", "cri", "version", 1, "crisp",
					VERSION, "time", now());
	return write_line(r, j, e);
}

/* -1: it is full, and cannot make way. */
static int rotate(struct recorder *r, struct err *e)
{
	if (r->size < r->max)
		return 0;
	if (rename(r->path, r->older) < 0 && errno != ENOENT)
		return err_sys(e, "record: rename %s", r->path);
	int fd = open_file(r, e);
	if (fd < 0)
		return -1;
	close(r->fd);
	r->fd = fd;
	return write_head(r, e);
}

/* Takes over the line. */
static void add_line(struct recorder *r, json_t *line)
{
	struct err e;
	if (json_array_size(redactor_list(r->redactor)))
		json_object_set(line, "redacted", redactor_list(r->redactor));
	if (r->lost)
		json_object_set_new(line, "lost", json_integer((json_int_t)r->lost));
	int n = rotate(r, &e) < 0 ? -1 : write_line(r, line, &e);
	json_decref(line);
	redactor_forget_list(r->redactor);
	if (n == 0) {
		r->lost = 0;
		return;
	}
	/* Said once, not for each call while the disk is full. */
	if (!r->lost++)
		log_err(&e);
}

static json_t *new_line(const char *req, const char *rpc)
{
	return json_pack("{s:o,s:s,s:s}", "time", now(), "req", req, "rpc", rpc);
}

/* As a client decodes it: the items of lists are in our answers ready packed (packed.h). */
static json_t *message_json(const ProtobufCMessage *m, size_t len)
{
	struct err e;
	AUTO_FREE uint8_t *data = xmalloc(len + 1);
	protobuf_c_message_pack(m, data);
	AUTO_PB ProtobufCMessage *copy = protobuf_c_message_unpack(m->descriptor, NULL, len, data);
	return copy ? pbjson_write(copy, 0, &e) : NULL;
}

static void set_message(struct recorder *r, json_t *line, const char *key,
			const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	json_t *j = len <= RECORDER_MESSAGE_MAX ? message_json(m, len) : NULL;
	if (j) {
		redactor_json(r->redactor, key, j);
		json_object_set_new(line, key, j);
	} else {
		json_object_set_new(line, "omitted", json_integer((json_int_t)len));
	}
}

void recorder_request(struct recorder *r, const char *req, const char *rpc,
		      const ProtobufCMessage *request)
{
	if (!r)
		return;
	json_t *line = new_line(req, rpc);
	set_message(r, line, "request", request);
	add_line(r, line);
}

void recorder_message(struct recorder *r, const char *req, const char *rpc,
		      const ProtobufCMessage *msg)
{
	if (!r)
		return;
	json_t *line = new_line(req, rpc);
	set_message(r, line, "message", msg);
	add_line(r, line);
}

void recorder_end(struct recorder *r, const char *req, const char *rpc, int code, const char *text,
		  const ProtobufCMessage *answer, long long us)
{
	if (!r)
		return;
	json_t *line = new_line(req, rpc);
	const char *name = grpc_code_name(code);
	json_object_set_new(line, "code", name ? json_string(name) : json_integer(code));
	json_object_set_new(line, "us", json_integer(us));
	if (text) {
		size_t len;
		AUTO_FREE char *clean =
			redactor_text(r->redactor, "text", text, strlen(text), &len);
		json_t *s = json_string(clean ? clean : text);
		json_object_set_new(line, "text", s ? s : json_string(REDACTED));
	}
	if (answer)
		set_message(r, line, "answer", answer);
	add_line(r, line);
}

struct recorder *recorder_new(const struct crispd *d, struct err *e)
{
	struct recorder *r = xcalloc(1, sizeof *r);
	r->path = xstrdup(d->cfg.record);
	r->older = xasprintf("%s.1", r->path);
	r->max = (off_t)d->cfg.record_max_bytes / 2;
	r->redactor = redactor_new(SECRETS_MAX);
	r->fd = open_file(r, e);
	if (r->fd < 0 || write_head(r, e) < 0) {
		recorder_free(r);
		return NULL;
	}
	log_warn("every call is recorded in %s", r->path);
	return r;
}

void recorder_free(struct recorder *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	redactor_free(r->redactor);
	free(r->path);
	free(r->older);
	free(r);
}
