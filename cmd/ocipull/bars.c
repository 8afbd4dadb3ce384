/* SPDX-License-Identifier: Apache-2.0 */
#include "bars.h"

#include "auto.h"
#include "buf.h"
#include "proc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WIDTH_MIN = 60, HEIGHT_MIN = 6, LAYERS_MAX = 8, WIDTH_MAX = 120, TEXT_MAX = 64 << 10 };

struct picture {
	struct buf text;
	size_t width, lines, longest;
};

/* A line of the picture, cut to the terminal's width. */
__attribute__((format(printf, 2, 3))) static void add_line(struct picture *pic, const char *fmt,
							   ...)
{
	char line[WIDTH_MAX + 1];
	struct err ignored;
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	size_t len = n < 0 ? 0 : strnlen(line, sizeof line - 1);
	if (len > pic->width)
		len = pic->width;
	if (pic->lines++)
		(void)buf_addstr(&pic->text, "\n", &ignored);
	(void)buf_add(&pic->text, line, len, &ignored);
	if (len > pic->longest)
		pic->longest = len;
}

static void layer_line(struct picture *pic, const struct progress *p, size_t i)
{
	char bar[WIDTH_MAX];
	long long size = p->m->layers[i].size, bytes = p->layers[i].bytes;
	size_t room = pic->width - 45, full = room;
	if (size > 0 && bytes < size)
		full = (size_t)((double)bytes / (double)size * (double)room);
	memset(bar, ' ', room);
	memset(bar, '=', full);
	if (full < room)
		bar[full] = '>';
	if (p->layers[i].state == LAYER_WAITING)
		add_line(pic, "%.12s  waiting: it is on its way already",
			 p->m->layers[i].digest + 7);
	else
		add_line(pic, "%.12s [%.*s] %9.1f of %.1f MB", p->m->layers[i].digest + 7,
			 (int)room, bar, (double)bytes / 1e6, (double)size / 1e6);
}

static void sum_line(struct picture *pic, const struct progress *p)
{
	size_t done = 0;
	long long bytes = 0, total = 0, ms = proc_now_ms() - p->begun_ms;
	for (size_t i = 0; i < p->m->count; i++) {
		const struct progress_layer *l = &p->layers[i];
		done += l->state == LAYER_DONE || l->state == LAYER_PRESENT;
		if (l->state == LAYER_PRESENT)
			continue;
		bytes += l->bytes;
		total += p->m->layers[i].size;
	}
	add_line(pic, "%zu of %zu layers, %.1f of %.1f MB, %.1f MB/s", done, p->m->count,
		 (double)bytes / 1e6, (double)total / 1e6,
		 ms > 0 ? (double)bytes / 1e3 / (double)ms : 0.0);
}

/* Back to where the last picture began. A terminal that was made narrower meanwhile has wrapped its
 * lines. */
static void go_back(const struct progress *p, struct buf *b, size_t columns)
{
	char up[32];
	struct err ignored;
	size_t rows = p->lines, wraps = columns ? p->longest / columns : 0;
	rows += wraps * p->lines;
	if (rows > 1) {
		snprintf(up, sizeof up, "\033[%zuA", rows - 1);
		(void)buf_addstr(b, up, &ignored);
	}
	(void)buf_addstr(b, "\r\033[J", &ignored);
}

void bars_draw(struct progress *p)
{
	struct winsize ws = {.ws_col = 0};
	bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0;
	bool bars = p->mode == PROGRESS_BARS && known && ws.ws_col > WIDTH_MIN &&
		    ws.ws_row >= HEIGHT_MIN;
	struct picture pic = {.text = BUF_INIT(TEXT_MAX), .width = known ? ws.ws_col - 1U : 79};
	size_t left = bars ? LAYERS_MAX : 0;
	if (pic.width > WIDTH_MAX - 1)
		pic.width = WIDTH_MAX - 1;
	if (bars && left > ws.ws_row - 3U)
		left = ws.ws_row - 3U;
	go_back(p, &pic.text, known ? ws.ws_col : 0);
	for (size_t i = 0; i < p->m->count && left > 0; i++) {
		enum layer_state s = p->layers[i].state;
		if (s != LAYER_LOADING && s != LAYER_WAITING)
			continue;
		layer_line(&pic, p, i);
		left--;
	}
	sum_line(&pic, p);
	(void)!write(STDERR_FILENO, pic.text.data, pic.text.len);
	p->lines = pic.lines;
	p->longest = pic.longest;
	buf_release(&pic.text);
}

void bars_leave(struct progress *p)
{
	if (p->lines)
		(void)!write(STDERR_FILENO, "\n", 1);
	p->lines = 0;
}
