/* SPDX-License-Identifier: Apache-2.0 */
#include "sealed.h"

#include "auto.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#ifndef MFD_EXEC /* Linux 6.3: asks for what was the rule before */
#define MFD_EXEC 0x10U
#endif

/* Copying more takes longer than what it saves. */
enum { SIZE_MAX_COPIED = 2 << 20 };

static bool copies_itself(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash && strcmp(slash + 1, "crun") == 0;
}

/* A script's interpreter would be told a name that is closed by then. */
static bool is_elf(int fd)
{
	char magic[4];
	return pread(fd, magic, sizeof magic, 0) == sizeof magic &&
	       memcmp(magic, "\177ELF", sizeof magic) == 0;
}

static int new_memfd(void)
{
	int fd = memfd_create("crun", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	return fd >= 0 || errno != EINVAL ? fd
					  : memfd_create("crun", MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

int sealed_copy(const char *path)
{
	struct stat st;
	if (!copies_itself(path))
		return -1;
	AUTO_CLOSE int from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (from < 0 || fstat(from, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111) ||
	    st.st_size > SIZE_MAX_COPIED || !is_elf(from))
		return -1;
	AUTO_CLOSE int to = new_memfd();
	if (to < 0)
		return -1;
	for (off_t left = st.st_size; left > 0;) {
		ssize_t n = sendfile(to, from, NULL, (size_t)left);
		if (n <= 0)
			return -1;
		left -= n;
	}
	/* Exactly these, or it does not count as sealed. */
	if (fcntl(to, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return -1;
	return TAKE_FD(to);
}
