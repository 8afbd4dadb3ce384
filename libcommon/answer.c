/* SPDX-License-Identifier: Apache-2.0 */
#include "answer.h"

#include "auto.h"
#include "fs.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

union control {
	struct cmsghdr align;
	char room[CMSG_SPACE(sizeof(int))];
};

static int in_file(const struct iovec body[ANSWER_PARTS], struct err *e)
{
	AUTO_CLOSE int fd = memfd_create("answer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return err_sys(e, "memfd_create");
	for (int i = 0; i < ANSWER_PARTS; i++)
		if (body[i].iov_len && fs_write_all(fd, body[i].iov_base, body[i].iov_len, e) < 0)
			return -1;
	if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return err_sys(e, "seal an answer");
	return TAKE_FD(fd);
}

/* `file`: of the bytes, or -1 when they are among the parts. */
static int send_it(int fd, struct iovec *io, size_t n, int file)
{
	union control control = {.room = {0}};
	struct msghdr m = {.msg_iov = io, .msg_iovlen = n};
	ssize_t sent;
	if (file >= 0) {
		m.msg_control = &control;
		m.msg_controllen = sizeof control;
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		*c = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
				      .cmsg_type = SCM_RIGHTS,
				      .cmsg_len = CMSG_LEN(sizeof file)};
		memcpy(CMSG_DATA(c), &file, sizeof file);
	}
	while ((sent = sendmsg(fd, &m, MSG_NOSIGNAL)) < 0 && errno == EINTR)
		;
	return sent < 0 ? -1 : 0;
}

int answer_send(int fd, const char *id, const char *line, const struct iovec body[ANSWER_PARTS],
		struct err *e)
{
	struct iovec io[2 + ANSWER_PARTS] = {{(char *)id, strlen(id) + 1},
					     {(char *)line, strlen(line) + 1}};
	size_t len = io[0].iov_len + io[1].iov_len;
	for (int i = 0; i < ANSWER_PARTS; i++) {
		io[2 + i] = body[i];
		len += body[i].iov_len;
	}
	/* A host may let sockets have less than that. */
	if (len <= ANSWER_MAX && send_it(fd, io, ARRAY_LEN(io), -1) == 0)
		return 0;
	if (len <= ANSWER_MAX && errno != EMSGSIZE)
		return err_sys(e, "send an answer");
	AUTO_CLOSE int file = in_file(body, e);
	if (file < 0)
		return -1;
	return send_it(fd, io, 2, file) < 0 ? err_sys(e, "send an answer") : 0;
}

/* The file may not become shorter while it is read. */
static int map(struct answer *a, int file)
{
	struct stat st;
	int seals = fcntl(file, F_GET_SEALS);
	if (seals < 0 || (seals & SEALS) != SEALS || fstat(file, &st) < 0 || st.st_size <= 0)
		return -1;
	void *at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, file, 0);
	if (at == MAP_FAILED)
		return -1;
	a->body = a->map = at;
	a->body_len = (size_t)st.st_size;
	return 0;
}

/* 0, or -1 when this is no answer. */
static int take_apart(struct answer *a, size_t len, int file)
{
	const char *id_end = memchr(a->room, '\0', len);
	a->line = id_end ? id_end + 1 : NULL;
	size_t left = a->line ? len - (size_t)(a->line - a->room) : 0;
	const char *line_end = left ? memchr(a->line, '\0', left) : NULL;
	if (!line_end)
		return -1;
	a->id = a->room;
	a->line_len = (size_t)(line_end - a->line);
	a->body = line_end + 1;
	a->body_len = left - a->line_len - 1;
	a->torn = a->torn || (file >= 0 && map(a, file) < 0);
	return 0;
}

int answer_receive(int fd, struct answer *a)
{
	for (;;) {
		union control control;
		struct iovec io = {.iov_base = a->room, .iov_len = sizeof a->room};
		struct msghdr m = {.msg_iov = &io,
				   .msg_iovlen = 1,
				   .msg_control = &control,
				   .msg_controllen = sizeof control};
		ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 && errno == EAGAIN ? 0 : -1;
		const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		AUTO_CLOSE int file = -1;
		if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			memcpy(&file, CMSG_DATA(c), sizeof file);
		a->map = NULL;
		a->torn = m.msg_flags & MSG_CTRUNC;
		if (!(m.msg_flags & MSG_TRUNC) && take_apart(a, (size_t)n, file) == 0)
			return 1;
	}
}

void answer_release(struct answer *a)
{
	if (a->map)
		munmap(a->map, a->body_len);
	a->map = NULL;
}
