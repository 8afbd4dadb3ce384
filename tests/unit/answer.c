/* SPDX-License-Identifier: Apache-2.0 */
/* answer: what is told comes as it was, in the message or in a file; what is no answer is left out. */
#include "answer.h"

#include "tap.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int ours, theirs;
static struct answer a;

static bool sent(const char *id, const char *line, const char *one, size_t n_one, const char *two,
		 size_t n_two)
{
	struct err e;
	const struct iovec body[ANSWER_PARTS] = {{(char *)one, n_one}, {(char *)two, n_two}};
	return answer_send(theirs, id, line, body, &e) == 0;
}

static bool is(const char *id, const char *line, const char *body, size_t len)
{
	return strcmp(a.id, id) == 0 && strcmp(a.line, line) == 0 && a.line_len == strlen(line) &&
	       a.body_len == len && (!len || memcmp(a.body, body, len) == 0);
}

static void test_messages(void)
{
	ok(answer_receive(ours, &a) == 0, "nothing yet");
	ok(sent("7", "{}", "out\0", 4, "err", 3) && answer_receive(ours, &a) == 1 &&
		   is("7", "{}", "out\0err", 7) && !a.map,
	   "two parts, with a NUL in them");
	answer_release(&a);
	ok(sent("", "line", NULL, 0, NULL, 0) && answer_receive(ours, &a) == 1 &&
		   is("", "line", "", 0),
	   "no name and no bytes");
	answer_release(&a);
	ok(sent("1", "a", NULL, 0, "x", 1) && sent("2", "b", "y", 1, NULL, 0) &&
		   answer_receive(ours, &a) == 1 && is("1", "a", "x", 1) &&
		   answer_receive(ours, &a) == 1 && is("2", "b", "y", 1) &&
		   answer_receive(ours, &a) == 0,
	   "one after the other");
}

/* All lengths about the limit, and one far beyond. */
static void test_lengths(void)
{
	static char big[3 << 20];
	bool good = true, in_files = true;
	size_t head = strlen("9") + 1 + strlen("{}") + 1;
	for (size_t i = 0; i < sizeof big; i++)
		big[i] = (char)(i * 31 >> 3);
	for (size_t n = ANSWER_MAX - head - 2; n < ANSWER_MAX - head + 3; n++) {
		good = good && sent("9", "{}", big, 5, big + 5, n - 5) &&
		       answer_receive(ours, &a) == 1 && is("9", "{}", big, n);
		in_files = in_files && (a.map != NULL) == (n > ANSWER_MAX - head);
		answer_release(&a);
	}
	ok(good, "what just fits and what just does not");
	ok(in_files, "only the latter comes in a file");
	ok(sent("9", "{}", big, sizeof big, NULL, 0) && answer_receive(ours, &a) == 1 &&
		   is("9", "{}", big, sizeof big) && a.map,
	   "three MiB");
	answer_release(&a);
	ok(!a.map, "and they are let go");
}

/* A message of these bytes with this descriptor. */
static void pass(const char *text, size_t len, int fd)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof fd)];
	} control = {.room = {0}};
	struct iovec io = {(char *)text, len};
	struct msghdr m = {.msg_iov = &io,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof control};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	*c = (struct cmsghdr){
		.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	if (sendmsg(theirs, &m, 0) < 0)
		abort();
}

static void test_others(void)
{
	static const char no_end[] = {'1', '\0', '{', '}'};
	static char long_one[ANSWER_MAX + 1];
	int fd = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int before = dup(theirs);
	close(before);
	if (ftruncate(fd, 4096) < 0)
		abort();
	send(theirs, "1", 1, 0);
	send(theirs, no_end, sizeof no_end, 0);
	send(theirs, long_one, sizeof long_one, 0);
	pass("1\0{}", 5, fd);
	ok(answer_receive(ours, &a) == 1 && a.torn && !a.body_len,
	   "a file that may shrink is torn");
	ok(answer_receive(ours, &a) == 0, "no line, no end, too long");
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	pass("1\0{}", 5, fd);
	ok(answer_receive(ours, &a) == 1 && a.body_len == 4096 && a.map && !a.torn,
	   "the same file, sealed");
	answer_release(&a);
	struct rlimit had, low;
	getrlimit(RLIMIT_NOFILE, &had);
	low = had;
	low.rlim_cur = (rlim_t)before;
	setrlimit(RLIMIT_NOFILE, &low);
	pass("1\0{}", 5, fd);
	ok(answer_receive(ours, &a) == 1 && a.torn && !a.body_len && !a.map &&
		   strcmp(a.line, "{}") == 0,
	   "and when there is no descriptor left for it");
	setrlimit(RLIMIT_NOFILE, &had);
	int after = dup(theirs);
	ok(after == before, "no descriptor stays (%d, %d)", before, after);
	close(after);
	close(fd);
	close(theirs);
	ok(answer_receive(ours, &a) == -1, "the end");
}

int main(void)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	ours = fds[0];
	theirs = fds[1];
	test_messages();
	test_lengths();
	test_others();
	return tap_done();
}
