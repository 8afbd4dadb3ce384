/* SPDX-License-Identifier: Apache-2.0 */
#include "imgpulls.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"

#include <stdio.h>
#include <string.h>

enum { PROGRESS_FILE_MAX = 1 << 20, PULLS_MAX = 1000 };

static json_t *look(int tmp, const char *name)
{
	struct err ignored;
	AUTO_CLOSE int dir = fs_open_dir(tmp, name, &ignored);
	if (dir < 0 || fs_is_locked_at(dir, "lock", &ignored) != 1)
		return NULL;
	json_t *j = jsonx_read_at(dir, "progress.json", PROGRESS_FILE_MAX, &ignored);
	if (!json_is_object(j)) {
		json_decref(j);
		j = json_object();
	}
	json_object_set_new(j, "pull", json_string(name));
	return j;
}

json_t *imgstore_pulls(const struct state *s, struct err *e)
{
	const struct dirent *de;
	int fd = fs_open_dir(s->root, "tmp", e);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return NULL;
	json_t *list = json_array();
	while ((de = readdir(d)) && json_array_size(list) < PULLS_MAX) {
		json_t *j = strncmp(de->d_name, "pull-", 5) == 0 ? look(fd, de->d_name) : NULL;
		if (j)
			json_array_append_new(list, j);
	}
	return list;
}
