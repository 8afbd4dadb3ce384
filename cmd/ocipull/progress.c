/* SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"

#include "proc.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PLAIN_MS = 200, JSON_MS = 500 };

int progress_init(struct progress *p, const char *how, struct err *e)
{
	*p = (struct progress){.mode = PROGRESS_NONE};
	if (!how)
		p->mode = isatty(STDERR_FILENO) ? PROGRESS_PLAIN : PROGRESS_NONE;
	else if (strcmp(how, "plain") == 0)
		p->mode = PROGRESS_PLAIN;
	else if (strcmp(how, "json") == 0)
		p->mode = PROGRESS_JSON;
	else if (strcmp(how, "none") != 0)
		return err_set(e, ERR_USAGE, "--progress: '%s' is not plain, json or none", how);
	return 0;
}

static void draw(struct progress *p)
{
	char line[160];
	int n = snprintf(line, sizeof line, "\r%zu of %zu layers, %.1f of %.1f MB\033[K", p->done,
			 p->layers, (double)p->bytes / 1e6, (double)p->total / 1e6);
	p->drawn = true;
	(void)!write(STDERR_FILENO, line, (size_t)n);
}

static void json_line(const char *digest, const char *state, long long bytes, long long size)
{
	char line[320];
	int n = snprintf(line, sizeof line,
			 "{\"event\":\"progress\",\"layer\":\"%.71s\",\"state\":\"%.16s\","
			 "\"bytes\":%lld,\"size\":%lld}\n",
			 digest, state, bytes, size);
	(void)!write(STDERR_FILENO, line, (size_t)n);
}

void progress_state(struct progress *p, const char *digest, const char *state, long long bytes,
		    long long size)
{
	if (strcmp(state, "done") == 0 || strcmp(state, "present") == 0)
		p->done++;
	if (strcmp(state, "present") == 0)
		p->total -= size;
	if (p->mode == PROGRESS_JSON)
		json_line(digest, state, bytes, size);
	else if (p->mode == PROGRESS_PLAIN)
		draw(p);
}

void progress_bytes(struct progress *p, const char *digest, long long n, long long bytes,
		    long long size)
{
	long long now;
	p->bytes += n;
	if (p->mode == PROGRESS_NONE)
		return;
	now = proc_now_ms();
	if (now - p->last_ms < (p->mode == PROGRESS_JSON ? JSON_MS : PLAIN_MS))
		return;
	p->last_ms = now;
	if (p->mode == PROGRESS_JSON)
		json_line(digest, "loading", bytes, size);
	else
		draw(p);
}

void progress_end(struct progress *p)
{
	if (p->drawn)
		(void)!write(STDERR_FILENO, "\n", 1);
	p->drawn = false;
}
