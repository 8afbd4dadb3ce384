/* SPDX-License-Identifier: Apache-2.0 */
#include "capture.h"

#include "auto.h"
#include "cniconf.h"
#include "fs.h"
#include "jsonx.h"
#include "proc.h"
#include "xalloc.h"

#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>

enum { WORDS_MAX = 4096, LINES_MAX = 8, ASK_MS = 10000, NETWORK_MAX = 4 << 20 };

/* What a program says of itself, the first lines of it; "" when it says nothing. */
static json_t *ask(const char *path, const char *argument)
{
	const char *argv[] = {path, argument, NULL};
	const char *envp[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	struct proc_spec s = PROC_SPEC(argv);
	struct proc_result r;
	struct err ignored;
	AUTO_BUF struct buf out = BUF_INIT(WORDS_MAX);
	AUTO_BUF struct buf words = BUF_INIT(WORDS_MAX);
	json_t *lines = json_array();
	s.envp = envp;
	if (path[0] != '/' || proc_run(&s, NULL, 0, &out, &words, ASK_MS, &r, &ignored) < 0)
		return lines;
	char *text = out.len ? out.data : words.data;
	for (char *line; (line = strsep(&text, "\n")) && json_array_size(lines) < LINES_MAX;)
		if (*line)
			json_array_append_new(lines, json_string(line));
	return lines;
}

static void add_program(json_t *to, const char *name, const char *path, const char *argument)
{
	if (!json_object_get(to, name))
		json_object_set_new(
			to, name,
			json_pack("{s:s, s:o}", "path", path, "says", ask(path, argument)));
}

/* A CNI plugin that is called without a command tells its version. */
static void add_plugins(struct capture *k, json_t *to)
{
	struct err ignored;
	size_t i;
	json_t *plugin;
	AUTO_CLOSE int dir = object_open(&k->c->st, OBJ_POD, k->pod, &ignored);
	AUTO_JSON json_t *net =
		dir < 0 ? NULL : jsonx_read_at(dir, "network.json", NETWORK_MAX, &ignored);
	json_array_foreach (json_object_get(json_object_get(net, "config"), "plugins"), i, plugin) {
		const char *type = jsonx_opt_string(plugin, "type", "");
		AUTO_FREE char *path = cni_plugin_find(k->c->cfg.plugin_dirs, type, &ignored);
		if (path)
			add_program(to, type, path, NULL);
	}
}

static json_t *system_name(void)
{
	struct err ignored;
	AUTO_BUF struct buf b = BUF_INIT(64 << 10);
	if (fs_read_at(AT_FDCWD, "/etc/os-release", &b, &ignored) < 0 &&
	    fs_read_at(AT_FDCWD, "/usr/lib/os-release", &b, &ignored) < 0)
		return json_string("");
	char *text = b.data;
	for (char *line; (line = strsep(&text, "\n"));) {
		static const char key[] = "PRETTY_NAME=";
		if (strncmp(line, key, sizeof key - 1) != 0)
			continue;
		char *value = line + sizeof key - 1;
		size_t quoted = *value == '"';
		value[strcspn(value + quoted, "\"") + quoted] = '\0';
		json_t *j = json_string(value + quoted);
		return j ? j : json_string("");
	}
	return json_string("");
}

int capture_versions(struct capture *k, struct err *e)
{
	struct utsname u;
	json_t *runtimes = json_object(), *plugins = json_object(), *path;
	const char *name;
	(void)e;
	(void)uname(&u);
	json_object_foreach (k->runtimes, name, path)
		add_program(runtimes, name, json_string_value(path), "--version");
	add_plugins(k, plugins);
	capture_json(k, "versions.json",
		     json_pack("{s:s, s:o, s:{s:s, s:s, s:s, s:s}, s:o, s:o}", "crisp", VERSION,
			       "system", system_name(), "kernel", "name", u.sysname, "release",
			       u.release, "version", u.version, "machine", u.machine, "runtimes",
			       runtimes, "plugins", plugins));
	return 0;
}
