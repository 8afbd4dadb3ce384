/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_AUTO_H
#define CRISP_AUTO_H
/* Scope-bound ownership. A variable marked AUTO_* owns its value and releases it at the end of its
 * scope; TAKE / TAKE_FD hand the value on and disarm it:
 *
 *	AUTO_FREE char *p = NULL;
 *	AUTO_CLOSE int fd = -1;
 *	...
 *	return TAKE_FD(fd);
 *
 * Every owned variable is initialised where it is declared. A module whose type owns something
 * defines AUTO_<TYPE> beside it (jsonx.h: AUTO_JSON, buf.h: AUTO_BUF). */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static inline void auto_free(void *pp)
{
	free(*(void **)pp);
}

/* Linux closes the fd even on EINTR, so this never retries; errno is kept for the caller's report.
 */
static inline void auto_close(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
	}
}

static inline void auto_closedir(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define AUTO_FREE __attribute__((cleanup(auto_free)))
#define AUTO_CLOSE __attribute__((cleanup(auto_close)))
#define AUTO_CLOSEDIR __attribute__((cleanup(auto_closedir)))

#define TAKE(p) \
	({ \
		__typeof__(p) take_ = (p); \
		(p) = NULL; \
		take_; \
	})
#define TAKE_FD(f) \
	({ \
		int take_ = (f); \
		(f) = -1; \
		take_; \
	})

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#endif
