/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include "auto.h"
#include "err.h"
#include "utf8.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const level_names[] = {"error", "warning", "info", "debug"};
static struct {
	const char *prog;
	const char *req;
	bool as_json;
	enum log_level max;
	char warning[512]; /* the first */
} conf = {.prog = "?", .max = LOG_LVL_INFO};

int log_set_level(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
		if (strcmp(name, level_names[i]) == 0) {
			conf.max = (enum log_level)i;
			setenv("CRISP_LOG_LEVEL", name, 1);
			return 0;
		}
	}
	return -1;
}

void log_init(const char *prog)
{
	const char *format = getenv("CRISP_LOG");
	const char *level = getenv("CRISP_LOG_LEVEL");
	conf.prog = prog;
	conf.req = getenv("CRISP_REQ");
	conf.as_json = format && strcmp(format, "json") == 0;
	if (level)
		log_set_level(level);
}

const char *log_prog(void)
{
	return conf.prog;
}

/* Appends s so that it can end neither the JSON string nor the line; leaves 8 bytes for the end. */
static size_t put(char *line, size_t at, size_t size, const char *s)
{
	while (*s && at + 16 < size) {
		unsigned char c = (unsigned char)*s;
		size_t n = utf8_sequence(s, strlen(s));
		if (n == 0 && conf.as_json)
			at += (size_t)snprintf(line + at, size - at, "\\u00%02x", c);
		else if (n == 0)
			at += (size_t)snprintf(line + at, size - at, "\\x%02x", c);
		else if (c < 0x20 || c == 0x7f)
			at += (size_t)snprintf(line + at, size - at, "\\u%04x", c);
		else if (conf.as_json && (c == '"' || c == '\\'))
			at += (size_t)snprintf(line + at, size - at, "\\%c", c);
		else {
			for (size_t i = 0; i < n; i++)
				line[at++] = s[i];
		}
		s += n ? n : 1;
	}
	return at;
}

static size_t json_head(char *line, size_t size, enum log_level level, const char *code)
{
	struct timespec ts;
	struct tm tm;
	char when[32];
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
	size_t at = (size_t)snprintf(
		line, size, "{\"time\":\"%s.%09ldZ\",\"level\":\"%s\",\"prog\":\"%s\",\"pid\":%d",
		when, ts.tv_nsec, level_names[level], conf.prog, getpid());
	if (conf.req && strlen(conf.req) < 64) {
		at += (size_t)snprintf(line + at, size - at, ",\"req\":\"");
		at = put(line, at, size, conf.req);
		at += (size_t)snprintf(line + at, size - at, "\"");
	}
	if (code)
		at += (size_t)snprintf(line + at, size - at, ",\"code\":\"%s\"", code);
	return at + (size_t)snprintf(line + at, size - at, ",\"msg\":\"");
}

static void emit(enum log_level level, const char *code, const char *msg)
{
	int saved = errno;
	char line[4096];
	size_t at;
	if (conf.as_json)
		at = json_head(line, sizeof line, level, code);
	else
		at = (size_t)snprintf(line, sizeof line, "%s: %s: ", conf.prog, level_names[level]);
	at = put(line, at, sizeof line, msg);
	at += (size_t)snprintf(line + at, sizeof line - at, "%s\n", conf.as_json ? "\"}" : "");
	ssize_t ignored = write(STDERR_FILENO, line, at);
	(void)ignored;
	errno = saved;
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	char msg[2048];
	va_list ap;
	if (level > conf.max)
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof msg, fmt, ap);
	va_end(ap);
	if (level == LOG_LVL_WARNING && !*conf.warning)
		snprintf(conf.warning, sizeof conf.warning, "%.500s", msg);
	emit(level, NULL, msg);
}

const char *log_warning(void)
{
	return *conf.warning ? conf.warning : NULL;
}

int log_err(const struct err *e)
{
	emit(LOG_LVL_ERROR, err_name(e), e->msg);
	return err_exit_status(e);
}
