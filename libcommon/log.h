/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_LOG_H
#define CRISP_LOG_H
/* Diagnostics on stderr: one line each, one write(2) each, so that lines of several processes
 * sharing a stderr never interleave. Text for people by default:
 *
 *	ctrrun: error: start web-1: no such container
 *
 * CRISP_LOG=json (crispd sets it for its tools) gives one JSON object a line instead:
 *
 *	{"time":"…","level":"error","prog":"ctrrun","pid":42,"req":"17","code":"NOT_FOUND","msg":"…"}
 *
 * CRISP_LOG_LEVEL is one of error, warning, info, debug (default info); CRISP_REQ is the request id
 * that crispd gave. All three are inherited by children. Control characters and bytes that are not
 * UTF-8 are escaped either way, because messages quote untrusted names. */
struct err;

/* Not LOG_*: syslog.h has those names. */
enum log_level { LOG_LVL_ERROR, LOG_LVL_WARNING, LOG_LVL_INFO, LOG_LVL_DEBUG };

void log_init(const char *prog);
/* 0, or -1 if `name` is not a level. Also sets CRISP_LOG_LEVEL for the children. */
int log_set_level(const char *name);
/* The program's name as given to log_init. */
const char *log_prog(void);

__attribute__((format(printf, 2, 3))) void log_msg(enum log_level level, const char *fmt, ...);
#define log_error(...) log_msg(LOG_LVL_ERROR, __VA_ARGS__)
#define log_warn(...) log_msg(LOG_LVL_WARNING, __VA_ARGS__)
#define log_info(...) log_msg(LOG_LVL_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_LVL_DEBUG, __VA_ARGS__)

/* The first warning that this process has logged, or NULL. */
const char *log_warning(void);

/* Logs *e with its code and returns its exit status: `return log_err(&e);` ends a main. */
int log_err(const struct err *e);
#endif
