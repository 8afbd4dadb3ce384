/* SPDX-License-Identifier: Apache-2.0 */
#include "tty.h"

#include "proc.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

void tty_raw(struct tty *t)
{
	struct termios raw;
	/* A background process that sets a terminal would be stopped. */
	proc_ignore(SIGTTOU);
	if (t->raw || tcgetattr(STDIN_FILENO, &t->saved) < 0)
		return;
	raw = t->saved;
	cfmakeraw(&raw);
	t->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

void tty_restore(struct tty *t)
{
	if (t->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &t->saved);
	t->raw = false;
}

static int parse_key(const char *s, size_t len)
{
	if (len == 1)
		return s[0];
	if (len != 6 || strncmp(s, "ctrl-", 5) != 0)
		return -1;
	if (s[5] >= 'a' && s[5] <= 'z')
		return s[5] - 'a' + 1;
	return s[5] && strchr("@[\\]^_", s[5]) ? s[5] - '@' : -1;
}

int detach_parse(struct detach *d, const char *text, struct err *e)
{
	*d = (struct detach){.count = 0};
	for (const char *at = text; *at;) {
		size_t n = strcspn(at, ",");
		int key = parse_key(at, n);
		if (key < 0 || d->count == DETACH_MAX)
			return err_set(e, ERR_USAGE, "detach keys '%.64s': not like ctrl-p,ctrl-q",
				       text);
		d->keys[d->count++] = (char)key;
		at += n;
		if (*at == ',')
			at++;
	}
	return 0;
}

bool detach_feed(struct detach *d, const char *in, size_t n, char *out, size_t *out_len)
{
	size_t k = 0;
	for (size_t i = 0; i < n; i++) {
		if (d->count && in[i] == d->keys[d->matched]) {
			if (++d->matched < d->count)
				continue;
			d->matched = 0;
			*out_len = k;
			return true;
		}
		memcpy(out + k, d->keys, d->matched);
		k += d->matched;
		d->matched = 0;
		if (d->count > 1 && in[i] == d->keys[0])
			d->matched = 1;
		else
			out[k++] = in[i];
	}
	*out_len = k;
	return false;
}
