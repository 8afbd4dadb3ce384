/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "exec.h"
#include "jsonx.h"

#include <string.h>
#include <sys/ioctl.h>

enum { CONFIG_MAX = 8 << 20 };

static bool has_variable(const json_t *env, const char *name)
{
	size_t i, n = strlen(name);
	json_t *v;
	json_array_foreach ((json_t *)env, i, v) {
		const char *s = json_string_value(v);
		if (s && strncmp(s, name, n) == 0 && s[n] == '=')
			return true;
	}
	return false;
}

/* From the start, not when the master arrives: a command that is quick would see none. */
static void set_size(json_t *process)
{
	struct winsize ws;
	json_object_del(process, "consoleSize");
	if (terminal_size(&ws))
		json_object_set_new(
			process, "consoleSize",
			json_pack("{s:i, s:i}", "height", ws.ws_row, "width", ws.ws_col));
}

json_t *exec_process(const struct ctr *k, char *const *command, bool tty, struct err *e)
{
	AUTO_CLOSE int dir = object_open_run(&k->c->st, OBJ_CONTAINER, k->id, false, e);
	AUTO_JSON json_t *config =
		dir < 0 ? NULL : jsonx_read_at(dir, "bundle/config.json", CONFIG_MAX, e);
	if (!config)
		return NULL;
	json_t *process = jsonx_get(config, "config.json", JSON_OBJECT, e, "process", (char *)NULL);
	if (!process)
		return NULL;
	json_t *args = json_array();
	for (; *command; command++) {
		json_t *s = json_string(*command);
		if (!s) {
			json_decref(args);
			return err_set_p(e, ERR_BAD_INPUT, "command: not UTF-8");
		}
		json_array_append_new(args, s);
	}
	json_object_set_new(process, "args", args);
	json_object_set_new(process, "terminal", json_boolean(tty));
	set_size(process);
	json_t *env = json_object_get(process, "env");
	if (tty && json_is_array(env) && !has_variable(env, "TERM"))
		json_array_append_new(env, json_string("TERM=xterm"));
	return json_incref(process);
}
