/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_HEADERS_H
#define OCIPULL_HEADERS_H
/* Values of HTTP headers, as hostile as whoever sent them. Nothing here touches the world. */
#include <stdbool.h>
#include <time.h>

/* WWW-Authenticate: all challenges of an answer, joined by commas where there were several headers.
 * Of several bearer challenges the first counts. A realm that does not fit is as good as none. */
struct challenge {
	bool bearer, basic;
	char realm[1024], service[256], scope[512]; /* of the bearer challenge */
};
void challenge_parse(struct challenge *c, const char *header);

/* Retry-After in seconds, from a number or an HTTP date: 0 when there is nothing to wait for or
 * the value is neither, at most RETRY_AFTER_MOST. */
enum { RETRY_AFTER_MOST = 86400 };
long retry_after_parse(const char *value, time_t now);

/* Content-Range: "bytes FROM-TO/TOTAL". total -1 = "*". Returns -1 when it is not that. */
int content_range_parse(const char *value, long long *from, long long *to, long long *total);

/* Text from outside for one of our messages: one line, no control characters. */
void one_line(char *text);
#endif
