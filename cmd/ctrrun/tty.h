/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRRUN_TTY_H
#define CTRRUN_TTY_H
/* Our own terminal, when a person sits at it: raw while the container's terminal interprets what is
 * typed, as it was afterwards; and the keys by which that person leaves. */
#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

struct tty {
	bool raw;
	struct termios saved;
};
/* Does nothing when standard input is no terminal. */
void tty_raw(struct tty *t);
void tty_restore(struct tty *t);

enum { DETACH_MAX = 16 };
struct detach {
	char keys[DETACH_MAX];
	size_t count, matched; /* count 0 = no such keys */
};
/* "ctrl-p,ctrl-q": single characters and ctrl-a to ctrl-z, ctrl-@ ctrl-[ ctrl-\ ctrl-] ctrl-^
 * ctrl-_; "" = none. */
int detach_parse(struct detach *d, const char *text, struct err *e);
/* What is typed, without a sequence that may be the keys until it proves not to be. out has room for
 * n + DETACH_MAX bytes. true when the keys were typed. */
bool detach_feed(struct detach *d, const char *in, size_t n, char *out, size_t *out_len);
#endif
