/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of container monitor and runtime calls: CRI log lines, flat JSON, the runtime's
 * words. */
#include "auto.h"
#include "cgroup.h"
#include "crilog.h"
#include "exitinfo.h"
#include "flatjson.h"
#include "proc.h"
#include "rtwords.h"
#include "tap.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define STAMP "2026-08-22T10:00:00.123456789Z"

static char text[1 << 17];
static size_t text_len;
static int emits, bad_iov;

static void collect(void *arg, const struct iovec *iov, int count)
{
	(void)arg;
	emits++;
	for (int i = 0; i < count; i++) {
		const char *p = iov[i].iov_base, *nl = memchr(p, '\n', iov[i].iov_len);
		if (iov[i].iov_len == 0 || (nl && nl != p + iov[i].iov_len - 1))
			bad_iov++;
		if (text_len + iov[i].iov_len < sizeof text) {
			memcpy(text + text_len, p, iov[i].iov_len);
			text_len += iov[i].iov_len;
		}
	}
	if (count && ((const char *)iov[count - 1].iov_base)[iov[count - 1].iov_len - 1] != '\n')
		bad_iov++;
	text[text_len] = '\0';
}

static const struct crilog_sink sink = {collect, NULL};

static void feed(struct crilog *c, const char *s)
{
	crilog_feed(c, STAMP, s, strlen(s), &sink);
}

static bool got(const char *want)
{
	bool same = strcmp(text, want) == 0;
	if (!same)
		printf("# got: %s\n# not: %s\n", text, want);
	text_len = 0;
	text[0] = '\0';
	return same;
}

static void test_lines(void)
{
	struct crilog c = CRILOG_INIT("stdout", 8);
	feed(&c, "one\ntwo\n");
	ok(got(STAMP " stdout F one\n" STAMP " stdout F two\n"), "two lines of one read");
	feed(&c, "ha");
	ok(got(""), "half a line waits");
	feed(&c, "lf\n");
	ok(got(STAMP " stdout F half\n"), "and is joined");
	feed(&c, "\n\n");
	ok(got(STAMP " stdout F \n" STAMP " stdout F \n"), "empty lines are lines");
	feed(&c, "12345678\n");
	ok(got(STAMP " stdout F 12345678\n"), "a line of the limit is whole");
	feed(&c, "12345678");
	feed(&c, "\n");
	ok(got(STAMP " stdout F 12345678\n"), "also when its newline comes late");
	feed(&c, "123456789\n");
	ok(got(STAMP " stdout P 12345678\n" STAMP " stdout F 9\n"), "one byte more is two pieces");
	feed(&c, "abc");
	feed(&c, "defgh12345678xyz\n");
	ok(got(STAMP " stdout P abcdefgh\n" STAMP " stdout P 12345678\n" STAMP " stdout F xyz\n"),
	   "pieces across reads");
	feed(&c, "end");
	crilog_end(&c, STAMP, &sink);
	ok(got(STAMP " stdout F end\n"), "the end of the stream ends the line");
	crilog_end(&c, STAMP, &sink);
	ok(got(""), "once");
	crilog_feed(&c, STAMP, "a\0b\xff\n", 5, &sink);
	ok(text_len == strlen(STAMP " stdout F ") + 5 &&
		   memcmp(text + text_len - 5, "a\0b\xff\n", 5) == 0,
	   "any bytes");
	text_len = 0;
	crilog_release(&c);
}

/* However the bytes are cut into reads, the same text comes out. */
static void test_cuts(void)
{
	static char data[3000];
	static char whole[sizeof text];
	unsigned rnd = 7;
	for (size_t i = 0; i < sizeof data; i++) {
		rnd = rnd * 1103515245 + 12345;
		data[i] = rnd >> 16 & 15 ? (char)('a' + (rnd >> 20) % 26) : '\n';
	}
	bool same = true;
	for (int round = 0; round < 50; round++) {
		struct crilog c = CRILOG_INIT("stderr", 16);
		for (size_t at = 0, n; at < sizeof data; at += n) {
			rnd = rnd * 1103515245 + 12345;
			n = round == 0 ? sizeof data : 1 + (rnd >> 16) % 40;
			if (n > sizeof data - at)
				n = sizeof data - at;
			crilog_feed(&c, STAMP, data + at, n, &sink);
		}
		crilog_end(&c, STAMP, &sink);
		crilog_release(&c);
		if (round == 0)
			memcpy(whole, text, text_len + 1);
		else
			same = same && strcmp(whole, text) == 0;
		text_len = 0;
	}
	ok(same, "50 ways to cut 3000 bytes give one text");
	ok(bad_iov == 0, "newlines only at the ends of iovecs, none empty");
	text[0] = '\0';
}

static void test_batches(void)
{
	struct crilog c = CRILOG_INIT("stdout", 64);
	char *many = malloc(2001);
	memset(many, '\n', 2000);
	many[2000] = '\0';
	emits = 0;
	feed(&c, many);
	size_t lines = 0;
	for (size_t i = 0; i < text_len; i++)
		lines += text[i] == '\n';
	ok(emits > 1 && lines == 2000, "2000 lines in %d batches", emits);
	text_len = 0;
	free(many);
	crilog_release(&c);
}

static void test_stamp(void)
{
	char out[CRILOG_STAMP_SIZE];
	crilog_stamp(out, &(struct timespec){.tv_sec = 1787392800, .tv_nsec = 7});
	ok(strcmp(out, "2026-08-22T10:00:00.000000007Z") == 0, "fixed nanoseconds, UTC: %s", out);
}

#define STRING(t, k, size) flatjson_string(t, strlen(t), k, out, size)
static void test_flatjson(void)
{
	char out[64];
	int64_t n = 0;
	const char *t =
		"{\"a\":\"x\\n\\\"\\u00e9\\ud83d\\ude00\",\"n\": -12 ,\"b\":true,\"z\":null}\n";
	ok(STRING(t, "a", sizeof out) && strcmp(out, "x\n\"\xc3\xa9\xf0\x9f\x98\x80") == 0,
	   "escapes: %s", out);
	ok(flatjson_int(t, strlen(t), "n", &n) && n == -12, "an integer");
	ok(!flatjson_int(t, strlen(t), "a", &n) && !STRING(t, "n", sizeof out),
	   "types are kept apart");
	ok(!STRING(t, "c", sizeof out), "a missing key");
	ok(STRING("{\"a\":\"abcdef\"}", "a", 4) && strcmp(out, "abc") == 0, "cut to the buffer");
	ok(STRING("{\"a\":\"\\ud800\\u0000\"}", "a", sizeof out) &&
		   strcmp(out, "\xef\xbf\xbd\xef\xbf\xbd") == 0,
	   "lone surrogates and NUL are replaced");
	const char *bad[] = {"",
			     "{",
			     "{}",
			     "[]",
			     "{\"a\"}",
			     "{\"a\":",
			     "{\"a\":\"x",
			     "{\"a\":\"x\\",
			     "{\"a\":{\"a\":\"x\"}}",
			     "{\"a\":\"x\" \"b\":1}",
			     "{\"a\":\"x\","};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ok(!STRING(bad[i], "a", sizeof out), "not an object: %s", bad[i]);
	const char *rec = "{\"version\":1,\"state\":\"created\",\"started_at\":1795541232757845417,"
			  "\"tty\":false}\n";
	ok(flatjson_int(rec, strlen(rec), "started_at", &n) && n == 1795541232757845417,
	   "a record's time");
	const char *nested = "{\"l\":[1,{\"n\":\"]}\"}],\"o\":{},\"n\":3}";
	ok(flatjson_int(nested, strlen(nested), "n", &n) && n == 3,
	   "nested values are passed over");
	ok(!flatjson_int("{\"l\":[[1],\"n\":3}", 18, "n", &n), "unless they do not end");
	struct err e;
	struct buf b = BUF_INIT(256);
	ok(flatjson_put(&b, "a\"\\\n\x01\xff\xc3\xa9", 8, &e) == 0 &&
		   strcmp(b.data, "\"a\\\"\\\\\\n\\u0001\xef\xbf\xbd\xc3\xa9\"") == 0,
	   "quoting");
	buf_release(&b);
}

static void words(const char *log, const char *err_text, const char *want)
{
	char out[256];
	rtwords_pick(log, log ? strlen(log) : 0, err_text, err_text ? strlen(err_text) : 0, out,
		     sizeof out);
	ok(strcmp(out, want) == 0, "words: '%s'", out);
}

static void test_words(void)
{
	words("{\"msg\":\"first\",\"level\":\"error\"}\n{\"level\":\"warning\",\"msg\":\"not "
	      "me\"}\n",
	      "x", "first");
	words("msg\":\"cut "
	      "off\",\"level\":\"error\"}\n{\"level\":\"error\",\"msg\":\"whole\\tone\"}\n",
	      NULL, "whole one");
	words(NULL, "time=\"2026-11-24T17:09:37Z\" level=error msg=\"container does not exist\"\n",
	      "container does not exist");
	words("", "time=\"2026\" level=error msg=\"exec: \\\"sh\\\": not found\"\n",
	      "exec: \"sh\": not found");
	words(NULL, "2026-11-24T17:09:37.000001Z: open `x`: No such file\n\n",
	      "open `x`: No such file");
	words(NULL, "[crun:create]: nope\n", "nope");
	words(NULL, "plain\nlast\r\n", "last");
	words(NULL, NULL, "");
	words("{\"level\":\"warning\",\"msg\":\"w\"}\n", "\n", "");
}

static void put_file(int dir, const char *name, const char *content)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ok(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content), "%s", name);
	close(fd);
}

/* What the kernel writes into a container's group in either version. */
static void test_counters(void)
{
	char v1[] = "/tmp/crisp-unit.XXXXXX", v2[] = "/tmp/crisp-unit.XXXXXX";
	int a = open(mkdtemp(v1), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int b = open(mkdtemp(v2), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct cgroup_dirs old = {a, a, a}, new = {b, -1, -1};
	struct cgroup_counts n;
	cgroup_counts_read(&old, &n);
	ok(cgroup_oom_kills_at(a) == -1 && n.peak_memory == 0 && n.cpu_periods == 0,
	   "nothing told");
	put_file(a, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
	put_file(a, "memory.max_usage_in_bytes", "33554432\n");
	put_file(b, "memory.events", "low 0\nhigh 9\nmax 7\noom 5\noom_kill 2\noom_group_kill 1\n");
	put_file(b, "memory.peak", "12345678901\n");
	put_file(a, "memory.memsw.max_usage_in_bytes", "33554433\n");
	put_file(a, "memory.failcnt", "12\n");
	put_file(a, "cpu.stat", "nr_periods 40\nnr_throttled 30\nthrottled_time 123456789\n");
	put_file(b, "memory.swap.peak", "4096\n");
	put_file(b, "pids.peak", "17\n");
	put_file(b, "pids.events", "max 3\n");
	put_file(b, "cpu.stat", "usage_usec 9\nnr_periods 4\nnr_throttled 0\nthrottled_usec 5\n");
	cgroup_counts_read(&old, &n);
	ok(cgroup_oom_kills_at(a) == 3 && n.peak_memory == 33554432 &&
		   n.peak_memory_swap == 33554433 && n.peak_swap == 0 && n.memory_failures == 12 &&
		   n.peak_pids == 0 && n.cpu_periods == 40 && n.cpu_throttled == 30 &&
		   n.cpu_throttled_ns == 123456789,
	   "v1");
	cgroup_counts_read(&new, &n);
	ok(cgroup_oom_kills_at(b) == 2 && n.peak_memory == 12345678901 && n.peak_swap == 4096 &&
		   n.peak_memory_swap == 0 && n.memory_failures == 7 && n.peak_pids == 17 &&
		   n.pids_failures == 3 && n.cpu_periods == 4 && n.cpu_throttled == 0 &&
		   n.cpu_throttled_ns == 5000,
	   "v2");
	put_file(b, "memory.events", "low 0\nhigh 9\nmax 7\noom 5\noom_kill 0\n");
	ok(cgroup_oom_kills_at(b) == 0, "an allocation that failed is no kill");
	static const char *const names[] = {"memory.oom_control",
					    "memory.max_usage_in_bytes",
					    "memory.memsw.max_usage_in_bytes",
					    "memory.failcnt",
					    "cpu.stat",
					    "memory.events",
					    "memory.peak",
					    "memory.swap.peak",
					    "pids.peak",
					    "pids.events",
					    "cpu.stat"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		unlinkat(i < 5 ? a : b, names[i], 0);
	ok(rmdir(v1) == 0 && rmdir(v2) == 0, "removed");
	close(a);
	close(b);
}

static void test_exitinfo(void)
{
	static const struct {
		int exit, kill, code;
	} ways[] = {{0, 0, 0}, {7, 0, 7}, {255, 0, 255}, {0, SIGKILL, 137}, {0, SIGTERM, 143}};
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		int code = -1, signo = -1;
		pid_t pid = fork();
		if (pid == 0) {
			if (ways[i].kill)
				pause();
			_exit(ways[i].exit);
		}
		unsigned long long start = proc_start_time(pid);
		int fd = pidfd_open(pid, 0);
		if (ways[i].kill)
			kill(pid, ways[i].kill);
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ok(poll(&p, 1, 5000) == 1, "it ends");
		ok(exitinfo_read(fd, pid, start, &code, &signo) == 1 && code == ways[i].code &&
			   signo == ways[i].kill,
		   "not reaped: %d", code);
		waitpid(pid, NULL, 0);
		int known = exitinfo_read(fd, pid, start, &code, &signo);
		ok(!known || (code == ways[i].code && signo == ways[i].kill), "reaped: %s",
		   known ? "known all the same" : "unknown, before Linux 6.15");
		close(fd);
	}
}

int main(void)
{
	test_counters();
	test_exitinfo();
	test_lines();
	test_cuts();
	test_batches();
	test_stamp();
	test_flatjson();
	test_words();
	return tap_done();
}
