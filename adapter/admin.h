/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_ADMIN_H
#define CRISP_ADMIN_H
/* Looking into a running daemon: it answers a few GETs on <runroot>/admin.sock (HTTP/1, root only),
 * and `crispd ps`, `check` and `config` ask there or read what it reads. By hand:
 *
 *	curl --unix-socket /run/crisp/admin.sock http://crispd/ps
 *
 *	/ps       [{"rpc","req","pod","container","what","tool","seconds","stuck"}], as jobs.h has it
 *	/index    {"pods":[{"id","state"}],"containers":[{"id","state"}]}, hand-made ones included
 *	/metrics  telemetry.h */
#include "crispd.h"
#include "tool.h"

/* Never NULL; without the socket everything else works. */
struct admin *admin_new(struct crispd *d);
void admin_free(struct admin *a);

/* admin_verbs.c: the verbs of the program. */
int admin_ps(struct tool_ctx *c, int argc, char **argv, struct err *e);
int admin_check(struct tool_ctx *c, int argc, char **argv, struct err *e);
int admin_config(struct tool_ctx *c, int argc, char **argv, struct err *e);

/* admin_ask.c: the page as JSON (a new reference); ERR_UNAVAILABLE when no daemon runs. */
json_t *admin_ask(const struct state *s, const char *page, struct err *e);
#endif
