/* SPDX-License-Identifier: Apache-2.0 */
/* What the runtime cannot do is refused here, where the request can still be told: it would leave it
 * out without a word, or fail with fewer. Only what `ctrrun handlers` has found out counts. */
#include "edit.h"

#include "auto.h"
#include "jsonx.h"

#include <string.h>

static int refuse(const struct bundle *b, const char *what, struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, "%s: the runtime of handler '%s' cannot do it", what,
		       b->handler->name);
}

static int check_hooks(const struct bundle *b, const json_t *can, const json_t *spec, struct err *e)
{
	const json_t *known = json_object_get(json_object_get(can, "can"), "hooks");
	const char *stage;
	json_t *list;
	json_object_foreach (json_object_get(spec, "hooks"), stage, list)
		if (known && json_array_size(list) && !jsonx_has_string(known, stage)) {
			const char *path = jsonx_opt_string(json_array_get(list, 0), "path", "");
			return err_set(e, ERR_UNSUPPORTED,
				       "hook %.200s of stage %s: the runtime of handler '%s' does "
				       "not know that stage",
				       path, stage, b->handler->name);
		}
	return 0;
}

/* RuntimeDefault is the runtime's own idea of a default: one that filters by other means may ignore
 * our list. A profile by name it may not. */
static int check_seccomp(const struct bundle *b, const json_t *can, struct err *e)
{
	enum profile_kind kind = PROFILE_NONE;
	const char *ref = "";
	if (handler_can_do(can, "seccomp") != 0)
		return 0;
	if (seccomp_wanted(b, &kind, &ref, e) < 0)
		return -1;
	return kind == PROFILE_LOCALHOST && !b->sec->privileged ? refuse(b, "seccomp", e) : 0;
}

int can_check(const struct bundle *b, const json_t *spec, struct err *e)
{
	AUTO_JSON json_t *can = handler_can(b->cfg, b->handler);
	json_t *process = json_object_get(spec, "process"), *lin = json_object_get(spec, "linux");
	const struct {
		const char *word, *what;
		bool asked;
	} table[] = {
		{"apparmor", "apparmor", json_object_get(process, "apparmorProfile")},
		{"selinux", "selinux_options",
		 json_object_get(process, "selinuxLabel") || json_object_get(lin, "mountLabel")},
		{"terminal", "tty", b->ctr->tty},
		{"systemd_cgroup", "cgroup_manager systemd",
		 strcmp(b->cfg->cgroup_manager, "systemd") == 0},
		{b->cgroup2 ? "cgroup_v2" : "cgroup_v1",
		 b->cgroup2 ? "cgroup version 2" : "cgroup version 1", true},
	};
	if (!can)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].asked && handler_can_do(can, table[i].word) == 0)
			return refuse(b, table[i].what, e);
	return check_seccomp(b, can, e) < 0 ? -1 : check_hooks(b, can, spec, e);
}
