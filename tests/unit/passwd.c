/* SPDX-License-Identifier: Apache-2.0 */
/* ocibundle's parsers of an image's passwd and group files, and of signal names. */
#include "cmd/ocibundle/passwd.c"
#include "cmd/ocibundle/stopsig.c"
#include "tap.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "# a comment\n"
			     "short:x:1\n"
			     "bad:x:one:1:::\n"
			     ":x:7:7:::\n"
			     "negative:x:-1:5::/:\n"
			     "huge:x:4294967296:5::/:\n"
			     "nochange:x:4294967295:5::/:\n"
			     "crlf:x:12:13:c:/home/crlf:/bin/sh\r\n"
			     "twice:x:20:20::/a:\n"
			     "twice:x:21:21::/b:\n"
			     "0:x:99:99::/zero:\n"
			     "last:x:30:31::/last:/bin/sh";

static const char group[] = "root:x:0:\n"
			    "wheel:x:10:root,user\n"
			    "u:x:11:use,userr,xuser\n"
			    "again:x:10:user\n"
			    "extra:x:5:,,user,\n"
			    "bad:x::user\n"
			    "none\n"
			    "end:x:12:user";

static void test_passwd(void)
{
	struct passwd_entry p;
	size_t n = sizeof passwd - 1;
	ok(passwd_find(passwd, n, "root", 0, &p) && p.uid == 0 && strcmp(p.home, "/root") == 0,
	   "a user by name");
	ok(passwd_find(passwd, n, NULL, 12, &p) && strcmp(p.name, "crlf") == 0 && p.gid == 13 &&
		   strcmp(p.home, "/home/crlf") == 0,
	   "a user by number, on a line with CR");
	ok(passwd_find(passwd, n, "last", 0, &p) && p.gid == 31, "the last line needs no newline");
	ok(passwd_find(passwd, n, "twice", 0, &p) && p.uid == 20, "the first of two wins");
	ok(passwd_find(passwd, n, "0", 5, &p) && p.uid == 99, "a name made of digits");
	ok(!passwd_find(passwd, n, "short", 0, &p) && !passwd_find(passwd, n, "bad", 0, &p) &&
		   !passwd_find(passwd, n, "", 0, &p) &&
		   !passwd_find(passwd, n, "negative", 0, &p) &&
		   !passwd_find(passwd, n, "huge", 0, &p) &&
		   !passwd_find(passwd, n, "nochange", 0, &p),
	   "lines that are not of the form do not count");
	ok(!passwd_find(passwd, n, "roo", 0, &p) && !passwd_find(passwd, n, "rootx", 0, &p),
	   "no prefix is a name");
	ok(!passwd_find("", 0, "root", 0, &p) && !passwd_find(NULL, 0, NULL, 0, &p), "no file");
	ok(!passwd_find("a\0b:x:1:1::/:\n", 14, "a", 0, &p), "a NUL in a line");
	ok(passwd_find("a:x:1:1::/:\nb:x:2:2::/:\n", 12, "a", 0, &p) &&
		   !passwd_find("a:x:1:1::/:\nb:x:2:2::/:\n", 12, "b", 0, &p),
	   "nothing beyond the length is read");
}

static void test_group(void)
{
	uint32_t gid = 77;
	struct id_set s = {0};
	size_t n = sizeof group - 1;
	ok(group_find(group, n, "wheel", &gid) && gid == 10, "a group by name");
	ok(!group_find(group, n, "bad", &gid) && !group_find(group, n, "none", &gid) &&
		   !group_find(group, n, "whee", &gid),
	   "no such group");
	group_memberships(group, n, "user", &s);
	id_set_sort(&s);
	ok(s.count == 3 && s.ids[0] == 5 && s.ids[1] == 10 && s.ids[2] == 12,
	   "the groups of a member, sorted, each once");
	id_set_release(&s);
	group_memberships(group, n, "nobody", &s);
	id_set_sort(&s);
	ok(s.count == 0, "a member of none");
	id_set_release(&s);
}

static void test_ids(void)
{
	uint32_t id;
	ok(passwd_parse_id("0", 1, &id) && id == 0, "id 0");
	ok(passwd_parse_id("4294967294", 10, &id) && id == 4294967294U, "the largest id");
	ok(!passwd_parse_id("4294967295", 10, &id) && !passwd_parse_id("", 0, &id) &&
		   !passwd_parse_id("+1", 2, &id) && !passwd_parse_id("1 ", 2, &id) &&
		   !passwd_parse_id("99999999999", 11, &id),
	   "what is no id");
}

static const struct {
	const char *name;
	int want;
} signals[] = {
	{"SIGTERM", 15},
	{"TERM", 15},
	{"sigterm", 15},
	{"15", 15},
	{"9", 9},
	{"SIGRTMIN", 34},
	{"SIGRTMIN+3", 37},
	{"RTMAX-1", 63},
	{"SIGRTMINPLUS15", 49},
	{"SIGRTMAXMINUS14", 50},
	{"SIGRTMAX", 64},
	{"SIGCLD", 17},
	{"SIGPOLL", 29},
	{"", -1},
	{"SIG", -1},
	{"0", -1},
	{"65", -1},
	{"-9", -1},
	{"SIGRTMIN+", -1},
	{"SIGRTMIN-1", -1},
	{"SIGRTMIN+31", -1},
	{"SIGRTMAX+1", -1},
	{"SIGTERMX", -1},
	{"15x", -1},
	{"SIGRTMIN+-1", -1},
};

int main(void)
{
	test_passwd();
	test_group();
	test_ids();
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		ok(stopsig_number(signals[i].name) == signals[i].want, "signal '%s'",
		   signals[i].name);
	return tap_done();
}
