/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

#include "auto.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int open_way(int parent, const char *name, mode_t mode, struct err *e)
{
	struct stat st;
	AUTO_CLOSE int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "open %s", name);
	if ((st.st_mode & mode) != mode && fchmod(fd, (st.st_mode & 07777) | mode) < 0)
		return err_sys(e, "chmod %s", name);
	return 0;
}

static int check_parents(int dir, struct err *e)
{
	char link[32], path[PATH_MAX];
	struct stat st;
	snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
	ssize_t n = readlink(link, path, sizeof path - 1);
	if (n < 0)
		return err_sys(e, "path of the state directory");
	path[n] = '\0';
	for (char *slash = strrchr(path, '/'); slash && slash > path; slash = strrchr(path, '/')) {
		*slash = '\0';
		if (stat(path, &st) == 0 && !(st.st_mode & S_IXOTH))
			return err_set(e, ERR_UNSUPPORTED,
				       "%s lets nobody through (mode %03o): the root of a user "
				       "namespace cannot reach its containers below it",
				       path, st.st_mode & 07777);
	}
	return 0;
}

int state_let_through(const struct state *s, struct err *e)
{
	if (check_parents(s->run, e) < 0 || open_way(s->run, ".", 0711, e) < 0 ||
	    open_way(s->run, object_dir_name(OBJ_POD), 0711, e) < 0 ||
	    open_way(s->run, object_dir_name(OBJ_CONTAINER), 0711, e) < 0)
		return err_wrap(e, "%s", s->run_path);
	return 0;
}

int state_let_group_through(int dirfd, const char *name, gid_t gid, struct err *e)
{
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "open %s", name);
	return fchown(fd, 0, gid) < 0 || fchmod(fd, 0710) < 0 ? err_sys(e, "chmod %s", name) : 0;
}
