/* SPDX-License-Identifier: Apache-2.0 */
#include "gate.h"

#include "sanitizer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int gate = -1;

/* What the work will touch is mapped while there is time: later each page of it costs a fault. Where that
 * fails, the faults come. */
static void populate(uintptr_t begin, uintptr_t end, bool write)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	begin &= ~(page - 1);
	if (begin < end)
		madvise((void *)begin, (size_t)(end - begin),
			write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

/* The program itself: what of its data was relocated is read-only by now, and was touched for that. */
static int load(struct dl_phdr_info *info, size_t size, void *arg)
{
	uintptr_t fixed = 0;
	(void)size, (void)arg;
	for (size_t i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_GNU_RELRO)
			fixed = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr +
				info->dlpi_phdr[i].p_memsz;
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t begin = info->dlpi_addr + p->p_vaddr, end = begin + p->p_memsz;
		bool write = p->p_flags & PF_W;
		if (p->p_type == PT_LOAD)
			populate(write && fixed > begin ? fixed : begin, end, write);
	}
	return 1; /* the first is the program */
}

/* The heap as far as malloc has it, and some stack. */
static void touch(void)
{
	char stack[32 << 10];
	void *first = malloc(1);
	populate((uintptr_t)first, (uintptr_t)sbrk(0), true);
	free(first);
	explicit_bzero(stack, sizeof stack);
}

/* The line without its end; false when there is none. */
static bool read_line(int fd, char *line)
{
	size_t len = 0;
	while (len < GATE_LINE_MAX) {
		ssize_t n = read(fd, line + len, GATE_LINE_MAX - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		len += (size_t)n;
		char *end = memchr(line, '\n', len);
		if (end) {
			*end = '\0';
			return true;
		}
	}
	return false;
}

/* The number of the descriptor, or -1 when the word is another. */
static int number_of(const char *word, const char *option)
{
	size_t n = strlen(option);
	char *end;
	if (!word || strncmp(word, option, n) != 0)
		return -1;
	long fd = strtol(word + n, &end, 10);
	return end > word + n && !*end && fd > 2 && fd < INT_MAX ? (int)fd : -1;
}

int gate_take_word(int *argc, char **argv, const char *option)
{
	int fd = *argc > 1 ? number_of(argv[1], option) : -1;
	if (fd < 0)
		return -1;
	memmove(argv + 1, argv + 2, (size_t)(*argc - 1) * sizeof *argv);
	--*argc;
	return fd;
}

void gate_take(int *argc, char **argv)
{
	gate = gate_take_word(argc, argv, GATE_OPTION);
}

bool gate_given(void)
{
	return gate >= 0;
}

void gate_tell(int status)
{
	unsigned char byte = (unsigned char)status;
	/* What the sanitizer finds at the end is in the status that the end tells. */
	if (gate >= 0 && !SANITIZED)
		(void)!send(gate, &byte, sizeof byte, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool gate_wait(void)
{
	char line[GATE_LINE_MAX], name[16], waiting[16];
	if (gate < 0)
		return false;
	/* ps(1) does not show one that waits as one that works. */
	prctl(PR_GET_NAME, name);
	snprintf(waiting, sizeof waiting, "gate:%.10s", name);
	prctl(PR_SET_NAME, waiting);
	dl_iterate_phdr(load, NULL);
	touch();
	if (!read_line(gate, line))
		_exit(0);
	fcntl(gate, F_SETFD, FD_CLOEXEC);
	prctl(PR_SET_NAME, name);
	setenv("CRISP_REQ", line, 1);
	return true;
}
