/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_REDACT_RULES_H
#define CRISP_REDACT_RULES_H
/* Private to redact*.c. */
#include "redact.h"

/* Two grades: a name that always means a secret (password, token), and one that mostly does where
 * names are given to values (key, auth), yet is a word of any text, too. */
enum redact_grade { REDACT_NO, REDACT_WEAK, REDACT_STRONG };
enum redact_grade redact_grade_name(const char *name, size_t len);

/* The length of the secret that begins at s by its looks, up to left bytes; 0 = none. *skip is how
 * much of its head is no secret ("Bearer ", "https://user:"). at_word: no letter or digit before. */
size_t redact_looks(const char *s, size_t left, bool at_word, size_t *skip);
/* One long random word, hex counted or not. */
bool redact_is_random(const char *s, size_t len, bool hex_too);
bool redact_is_plain(const char *s, size_t len); /* a number, an address: nothing to remember */

/* The secrets that were found, and what stands for them. */
struct redact_known {
	json_t *numbers; /* value -> its number; NULL: they have none */
	json_t *spared;  /* set of values that are no secrets; NULL = none */
	char *names; /* texts with a newline behind each; what is part of one is not remembered */
	size_t names_len;
	struct {
		char *s;
		size_t len;
	} * v;
	size_t n, max, next;
	unsigned char
		first[8192]; /* one bit for each pair of first bytes, so that searching is fast */
};
void redact_known_add(struct redact_known *k, const char *s, size_t len);
/* REDACTED, or with numbers "[redacted:N]". */
enum { REDACT_TOKEN_SIZE = 32 };
void redact_token(const struct redact_known *k, const char *s, size_t len,
		  char token[REDACT_TOKEN_SIZE]);
/* Does a token, or the beginning of one, stand here? */
bool redact_is_token(const char *s, size_t left);
bool redact_is_spared(const struct redact_known *k, const char *s, size_t len);
/* The length of the longest that begins at s. */
size_t redact_known_at(const struct redact_known *k, const char *s, size_t left);
void redact_known_release(struct redact_known *k);

/* Text without its secrets, or NULL. *why: of the first. */
char *redact_scan(const struct redact_known *k, const char *text, size_t len, size_t *out_len,
		  const char **why);
#endif
