/* SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"

#include "auto.h"
#include "bars.h"
#include "jsonx.h"
#include "proc.h"
#include "record.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DRAW_MS = 100, JSON_MS = 500, FILE_MS = 500 };

static const char *const state_names[] = {"new", "waiting", "loading", "done", "present"};

int progress_init(struct progress *p, const char *how, struct err *e)
{
	*p = (struct progress){.mode = PROGRESS_NONE, .dir = -1};
	if (!how)
		p->mode = isatty(STDERR_FILENO) ? PROGRESS_BARS : PROGRESS_NONE;
	else if (strcmp(how, "bars") == 0)
		p->mode = PROGRESS_BARS;
	else if (strcmp(how, "plain") == 0)
		p->mode = PROGRESS_PLAIN;
	else if (strcmp(how, "json") == 0)
		p->mode = PROGRESS_JSON;
	else if (strcmp(how, "none") != 0)
		return err_set(e, ERR_USAGE, "--progress: '%s' is not bars, plain, json or none",
			       how);
	return 0;
}

static json_t *layer_list(const struct progress *p)
{
	json_t *list = json_array();
	for (size_t i = 0; p->m && i < p->m->count; i++) {
		const struct progress_layer *l = &p->layers[i];
		json_array_append_new(
			list, json_pack("{s:s,s:s,s:I,s:I}", "digest", p->m->layers[i].digest,
					"state", state_names[l->state], "bytes",
					(json_int_t)l->bytes, "size", p->m->layers[i].size));
	}
	return list;
}

/* Nobody's work depends on it: what fails is left out. */
static void write_file(struct progress *p)
{
	struct err ignored;
	p->stale = false;
	p->written_ms = proc_now_ms();
	if (p->dir < 0)
		return;
	AUTO_JSON json_t *j =
		json_pack("{s:s,s:I,s:i,s:o}", "reference", p->reference, "started",
			  (json_int_t)p->started, "pid", (int)getpid(), "layers", layer_list(p));
	if (j)
		(void)jsonx_replace_at(p->dir, "progress.json", 0600, j, 0, &ignored);
}

static void json_line(const struct progress *p, size_t i)
{
	char line[320];
	int n = snprintf(line, sizeof line,
			 "{\"event\":\"progress\",\"layer\":\"%.71s\",\"state\":\"%.16s\","
			 "\"bytes\":%lld,\"size\":%lld}\n",
			 p->m->layers[i].digest, state_names[p->layers[i].state],
			 p->layers[i].bytes, (long long)p->m->layers[i].size);
	(void)!write(STDERR_FILENO, line, (size_t)n);
}

void progress_begin(struct progress *p, int dir, const char *reference)
{
	p->dir = dir;
	p->reference = reference;
	p->started = record_now_ns();
	p->begun_ms = proc_now_ms();
	write_file(p);
}

void progress_layers(struct progress *p, const struct manifest *m)
{
	p->layers = xcalloc(m->count + 1, sizeof *p->layers);
	p->m = m;
	p->stale = p->dirty = true;
}

void progress_state(struct progress *p, size_t i, enum layer_state state)
{
	p->layers[i].state = state;
	p->stale = p->dirty = true;
	if (p->mode == PROGRESS_JSON)
		json_line(p, i);
}

void progress_bytes(struct progress *p, size_t i, long long bytes)
{
	p->layers[i].bytes = bytes;
	p->stale = p->dirty = true;
}

static void show(struct progress *p)
{
	p->dirty = false;
	p->drawn_ms = proc_now_ms();
	if (p->mode != PROGRESS_JSON) {
		bars_draw(p);
		return;
	}
	for (size_t i = 0; i < p->m->count; i++)
		if (p->layers[i].state == LAYER_LOADING && p->layers[i].bytes > 0)
			json_line(p, i);
}

long long progress_tick(struct progress *p)
{
	long long now = proc_now_ms(), next = 0;
	if (p->stale && now - p->written_ms >= FILE_MS)
		write_file(p);
	if (p->stale)
		next = p->written_ms + FILE_MS;
	if (p->mode == PROGRESS_NONE || !p->m)
		return next;
	int every = p->mode == PROGRESS_JSON ? JSON_MS : DRAW_MS;
	if (p->dirty && now - p->drawn_ms >= every)
		show(p);
	if (p->dirty && (!next || p->drawn_ms + every < next))
		next = p->drawn_ms + every;
	return next;
}

void progress_end(struct progress *p)
{
	if (p->m && (p->mode == PROGRESS_BARS || p->mode == PROGRESS_PLAIN)) {
		bars_draw(p);
		bars_leave(p);
	}
	free(p->layers);
	p->layers = NULL;
	p->m = NULL;
}
