/* SPDX-License-Identifier: Apache-2.0 */
#include "signame.h"

#include "tool.h"

#include <signal.h>
#include <string.h>
#include <strings.h>

static int parse_real_time(const char *name, int *number)
{
	bool up = strncasecmp(name, "RTMIN", 5) == 0, down = strncasecmp(name, "RTMAX", 5) == 0;
	long n = 0;
	if ((!up && !down) || (name[5] && tool_parse_long(name + 5, &n) < 0) || n < -64 || n > 64)
		return -1;
	n += up ? SIGRTMIN : SIGRTMAX;
	*number = (int)n;
	return n >= SIGRTMIN && n <= SIGRTMAX ? 0 : -1;
}

int signame_parse(const char *s, int *number, struct err *e)
{
	long n;
	if (tool_parse_long(s, &n) == 0 && n >= 1 && n <= SIGRTMAX) {
		*number = (int)n;
		return 0;
	}
	const char *name = strncasecmp(s, "SIG", 3) == 0 ? s + 3 : s;
	for (int i = 1; i < NSIG; i++) {
		const char *known = sigabbrev_np(i);
		if (known && strcasecmp(known, name) == 0) {
			*number = i;
			return 0;
		}
	}
	if (parse_real_time(name, number) == 0)
		return 0;
	return err_set(e, ERR_USAGE, "'%.32s' is not a signal", s);
}
