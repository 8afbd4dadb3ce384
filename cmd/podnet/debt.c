/* SPDX-License-Identifier: Apache-2.0 */
#include "debt.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "ports.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { DEBT_MAX = 8 << 20, DEBT_VERSION = 1 };

static void debt_path(const char *id, size_t index, char path[96])
{
	if (index == 0)
		snprintf(path, 96, "debts/%s.json", id);
	else
		snprintf(path, 96, "debts/%s.%hhu.json", id, (unsigned char)index);
}

static bool owed_at(const struct tool_ctx *c, const char *id, size_t index)
{
	char path[96];
	debt_path(id, index, path);
	return faccessat(c->st.root, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

bool debt_owed(const struct tool_ctx *c, const char *id)
{
	for (size_t i = 0; i < NETWORKS_MAX; i++)
		if (owed_at(c, id, i))
			return true;
	return false;
}

json_t *debt_records(const struct tool_ctx *c, const char *id)
{
	json_t *out = json_array();
	for (size_t i = 0; i < NETWORKS_MAX; i++) {
		char path[96];
		struct err ignored;
		if (!owed_at(c, id, i))
			continue;
		debt_path(id, i, path);
		json_t *debt = jsonx_read_at(c->st.root, path, DEBT_MAX, &ignored);
		json_array_append_new(out, debt ? debt : json_null());
	}
	return out;
}

int debt_record(const struct pod *p, json_t *net, const char *why, struct err *e)
{
	char path[96];
	AUTO_JSON json_t *text = json_string(why);
	AUTO_JSON json_t *j = json_pack("{s:i, s:s, s:O, s:I, s:O}", "version", DEBT_VERSION, "pod",
					p->id, "error", text ? text : json_null(), "since",
					(json_int_t)record_now_ns(), "network", net);
	debt_path(p->id, (size_t)jsonx_opt_int(net, "index", 0), path);
	if (mkdirat(p->c->st.root, "debts", 0700) < 0 && errno != EEXIST)
		return err_sys(e, "mkdir debts");
	AUTO_CLOSE int dir = fs_open_dir(p->c->st.root, "debts", e);
	return dir < 0 ? -1 : jsonx_replace_at(dir, path + 6, 0600, j, 0, e);
}

static int pay_one(struct tool_ctx *c, const char *id, size_t index, struct err *e)
{
	char path[96];
	AUTO_POD struct pod p = {.dir = -1};
	pod_init(&p, c, id);
	debt_path(id, index, path);
	AUTO_JSON json_t *debt = jsonx_read_at(c->st.root, path, DEBT_MAX, e);
	if (!debt)
		return -1;
	if (jsonx_opt_int(debt, "version", 0) != DEBT_VERSION)
		return err_set(e, ERR_BAD_STATE, "%s: unknown version", path);
	/* The namespace went with the pod. */
	if (network_del(&p, json_object_get(debt, "network"), "", -1, e) < 0)
		return 0;
	if (unlinkat(c->st.root, path, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove %s", path);
	return 1;
}

int debt_pay(struct tool_ctx *c, const char *id, struct err *e)
{
	int ret = 1;
	struct err one;
	/* Each gets its turn, in the order of a DEL. */
	for (size_t i = NETWORKS_MAX; i-- > 0;) {
		int r = owed_at(c, id, i) ? pay_one(c, id, i, &one) : 1;
		if (r < ret) {
			ret = r;
			*e = one;
		}
	}
	/* Whoever stopped the pod left it its host ports until now. */
	if (ret == 1)
		ports_release(c, id);
	return ret;
}

static void add_entry(json_t *out, const char *name)
{
	char id[ID_SIZE];
	snprintf(id, sizeof id, "%.*s", ID_LEN, name);
	if (id_is_valid(id) && name[ID_LEN] == '.' && !jsonx_has_string(out, id))
		json_array_append_new(out, json_string(id));
}

json_t *debt_list(const struct tool_ctx *c)
{
	struct err ignored;
	json_t *out = json_array();
	const struct dirent *de;
	int fd = fs_open_dir(c->st.root, "debts", &ignored);
	if (fd < 0)
		return out;
	AUTO_CLOSEDIR DIR *d = fdopendir(fd);
	if (!d) {
		close(fd);
		return out;
	}
	while ((de = readdir(d)))
		add_entry(out, de->d_name);
	return out;
}
