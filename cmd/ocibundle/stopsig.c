/* SPDX-License-Identifier: Apache-2.0 */
#include "stopsig.h"

#include "auto.h"
#include "tool.h"

#include <signal.h>
#include <string.h>
#include <strings.h>

/* The kernel's range, which is the container's too; libc's SIGRTMIN keeps some for itself. */
enum { RT_MIN = 34, RT_MAX = 64 };

static const struct {
	const char *name;
	int number;
} table[] = {
	{"HUP", SIGHUP},       {"INT", SIGINT},     {"QUIT", SIGQUIT}, {"ILL", SIGILL},
	{"TRAP", SIGTRAP},     {"ABRT", SIGABRT},   {"IOT", SIGABRT},  {"BUS", SIGBUS},
	{"FPE", SIGFPE},       {"KILL", SIGKILL},   {"USR1", SIGUSR1}, {"SEGV", SIGSEGV},
	{"USR2", SIGUSR2},     {"PIPE", SIGPIPE},   {"ALRM", SIGALRM}, {"TERM", SIGTERM},
	{"STKFLT", SIGSTKFLT}, {"CHLD", SIGCHLD},   {"CLD", SIGCHLD},  {"CONT", SIGCONT},
	{"STOP", SIGSTOP},     {"TSTP", SIGTSTP},   {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU},
	{"URG", SIGURG},       {"XCPU", SIGXCPU},   {"XFSZ", SIGXFSZ}, {"VTALRM", SIGVTALRM},
	{"PROF", SIGPROF},     {"WINCH", SIGWINCH}, {"IO", SIGIO},     {"POLL", SIGIO},
	{"PWR", SIGPWR},       {"SYS", SIGSYS},
};

/* What follows RTMIN or RTMAX: nothing, or a sign (or its word) and a distance. */
static int real_time(const char *rest, int base, int sign, const char *word)
{
	long n;
	size_t len = strlen(word);
	if (!*rest)
		return base;
	if (*rest == (sign > 0 ? '+' : '-'))
		rest++;
	else if (strncasecmp(rest, word, len) == 0)
		rest += len;
	else
		return -1;
	if (*rest < '0' || *rest > '9' || tool_parse_long(rest, &n) < 0 || n > RT_MAX - RT_MIN)
		return -1;
	return base + sign * (int)n;
}

int stopsig_number(const char *name)
{
	long n;
	if (*name >= '0' && *name <= '9')
		return tool_parse_long(name, &n) == 0 && n >= 1 && n <= RT_MAX ? (int)n : -1;
	if (strncasecmp(name, "SIG", 3) == 0)
		name += 3;
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (strcasecmp(table[i].name, name) == 0)
			return table[i].number;
	if (strncasecmp(name, "RTMIN", 5) == 0)
		return real_time(name + 5, RT_MIN, 1, "PLUS");
	if (strncasecmp(name, "RTMAX", 5) == 0)
		return real_time(name + 5, RT_MAX, -1, "MINUS");
	return -1;
}
