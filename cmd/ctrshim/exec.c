/* SPDX-License-Identifier: Apache-2.0 */
#include "shim.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

const char *exec_process_file, *exec_cwd, *exec_user;
struct opt_strings exec_env;
bool exec_tty, exec_detach;

enum { CONFIG_MAX = 16 << 20 };

static int set_user(json_t *process, const char *text, struct err *e)
{
	char copy[32];
	long uid, gid = 0;
	snprintf(copy, sizeof copy, "%s", text);
	char *colon = strchr(copy, ':');
	if (colon)
		*colon++ = '\0';
	if (tool_parse_long(copy, &uid) < 0 || uid < 0 || uid > UINT32_MAX ||
	    (colon && (tool_parse_long(colon, &gid) < 0 || gid < 0 || gid > UINT32_MAX)))
		return err_set(e, ERR_USAGE, "--user: '%.32s' is not UID[:GID]", text);
	json_object_set_new(
		process, "user",
		json_pack("{s:I, s:I}", "uid", (json_int_t)uid, "gid", (json_int_t)gid));
	return 0;
}

/* The container's own process with another command. */
static json_t *build(const struct place *p, int argc, char **argv, struct err *e)
{
	AUTO_JSON json_t *config = jsonx_read_at(p->dir, "config.json", CONFIG_MAX, e);
	json_t *process =
		config ? jsonx_get(config, "config.json", JSON_OBJECT, e, "process", (char *)NULL)
		       : NULL;
	if (!process)
		return NULL;
	json_t *args = json_array();
	json_object_set_new(process, "args", args);
	for (int i = 0; i < argc; i++)
		json_array_append_new(args, json_string(argv[i]));
	json_t *env = json_object_get(process, "env");
	for (int i = 0; i < exec_env.count && json_is_array(env); i++)
		json_array_append_new(env, json_string(exec_env.v[i]));
	if (exec_cwd)
		json_object_set_new(process, "cwd", json_string(exec_cwd));
	json_object_set_new(process, "terminal", json_boolean(exec_tty));
	if (exec_user && set_user(process, exec_user, e) < 0)
		return NULL;
	return json_incref(process);
}

static json_t *load(const struct place *p, int argc, char **argv, struct err *e)
{
	if (!exec_process_file && argc == 0)
		return err_set_p(e, ERR_USAGE, "exec: neither --process nor a command");
	if (!exec_process_file)
		return build(p, argc, argv, e);
	AUTO_JSON json_t *process = jsonx_read_at(AT_FDCWD, exec_process_file, CONFIG_MAX, e);
	if (process && !json_is_object(process))
		return err_set_p(e, ERR_BAD_INPUT, "%s: expected object", exec_process_file);
	return process ? json_incref(process) : NULL;
}

int verb_exec(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_PLACE struct place p = PLACE_NONE;
	unsigned long long number;
	char id[40];
	(void)c;
	if (place_open(&p, argv[0], false, e) < 0)
		return -1;
	AUTO_JSON json_t *process = load(&p, argc - 1, argv + 1, e);
	AUTO_FREE char *text = process ? json_dumps(process, JSON_COMPACT) : NULL;
	if (!text)
		return -1;
	if (getrandom(&number, sizeof number, 0) != sizeof number)
		return err_sys(e, "getrandom");
	snprintf(id, sizeof id, "exec%016llx", number);
	json_t *size = json_object_get(process, "consoleSize");
	struct keep_spec s = {
		.p = &p,
		.exec = id,
		.process = text,
		.terminal = jsonx_opt_bool(process, "terminal", false),
		.console = create_console,
		.width = (int)(jsonx_opt_int(size, "width", 0) & 0xffff),
		.height = (int)(jsonx_opt_int(size, "height", 0) & 0xffff),
		.pid_file = create_pid_file,
		.foreground = !exec_detach,
	};
	if (s.terminal && !s.console && exec_detach)
		return err_set(e, ERR_USAGE,
			       "a detached command with a terminal: --console-socket is needed");
	return keep(&s, e);
}
