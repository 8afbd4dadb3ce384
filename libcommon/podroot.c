/* SPDX-License-Identifier: Apache-2.0 */
#include "podroot.h"

#include "auto.h"
#include "fs.h"
#include "log.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#ifndef PIPEFS_MAGIC
#define PIPEFS_MAGIC 0x50495045
#endif

void podroot_give_pipe(const char *runroot, const char *pod_id, int fd)
{
	char path[PATH_MAX];
	struct stat st;
	struct statfs sf;
	snprintf(path, sizeof path, "%s/pods/%.64s/hostname", runroot, pod_id);
	if (fd < 0 || lstat(path, &st) < 0 || (st.st_uid == 0 && st.st_gid == 0) ||
	    fstatfs(fd, &sf) < 0 || (unsigned long)sf.f_type != PIPEFS_MAGIC)
		return;
	if (fchown(fd, st.st_uid, st.st_gid) < 0)
		log_warn("pipe of a container: %s", strerror(errno));
}

void podroot_drop_mapped(const struct state *s, const char *ctr_id)
{
	char path[ID_SIZE + 32], point[NAME_MAX + 32];
	const struct dirent *de;
	struct err ignored;
	snprintf(path, sizeof path, "containers/%.64s/mapped", ctr_id);
	if (faccessat(s->run, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	int fd = fs_open_dir(s->run, path, &ignored);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		auto_close(&fd);
		return;
	}
	while ((de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(point, sizeof point, "/proc/self/fd/%d/%s", fd, de->d_name);
		if (umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL)
			log_warn("container %s: unmount mapped/%s: %s", ctr_id, de->d_name,
				 strerror(errno));
	}
}
