/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum key_type { KEY_STRING, KEY_INT, KEY_STRINGS, KEY_MAP, KEY_BOOL };

/* One row a key. Strings' and lists' defaults are JSON text; an integer's default is in `number`,
 * and its allowed range is min..max. */
static const struct key {
	const char *name;
	enum key_type type;
	size_t offset;
	const char *text;
	json_int_t number, min, max;
} keys[] = {
#define STR(field, dflt) \
	{ \
#field, KEY_STRING, offsetof(struct config, field), dflt, 0, 0, 0 \
	}
#define INT(field, dflt, lo, hi) \
	{ \
#field, KEY_INT, offsetof(struct config, field), NULL, dflt, lo, hi \
	}
#define LIST(field, dflt) \
	{ \
#field, KEY_STRINGS, offsetof(struct config, field), dflt, 0, 0, 0 \
	}
#define MAP(field, dflt) \
	{ \
#field, KEY_MAP, offsetof(struct config, field), dflt, 0, 0, 0 \
	}
#define BOOL(field, dflt) \
	{ \
#field, KEY_BOOL, offsetof(struct config, field), NULL, dflt, 0, 0 \
	}
	STR(root, "/var/lib/crisp"),
	STR(runroot, "/run/crisp"),
	STR(listen, ""),
	STR(stream_address, "127.0.0.1"),
	STR(stream_port, "0"),
	STR(record, ""),
	STR(metrics_host, "127.0.0.1"),
	STR(metrics_port, ""),
	STR(log_level, "info"),
	STR(default_runtime, ""),
	STR(handlers_dir, "/etc/crisp/handlers.d"),
	STR(registries_dir, "/etc/crisp/registries.d"),
	STR(certs_dir, "/etc/docker/certs.d"),
	STR(auth_file, ""),
	STR(policy_dir, "/etc/crisp/policy.d"),
	STR(verify_dir, "/etc/crisp/verify.d"),
	STR(cgroup_manager, "cgroupfs"),
	STR(network_dir, "/etc/cni/net.d"),
	STR(cni_default_network, ""),
	STR(network_template, ""),
	STR(seccomp_profile, ""),
	STR(tools_dir, ""),
	STR(detach_keys, "ctrl-p,ctrl-q"),
	LIST(plugin_dirs, "[\"/opt/cni/bin\",\"/usr/lib/cni\"]"),
	LIST(pinned_images, "[]"),
	LIST(default_capabilities,
	     "[\"CAP_CHOWN\",\"CAP_DAC_OVERRIDE\",\"CAP_FOWNER\",\"CAP_FSETID\",\"CAP_KILL\","
	     "\"CAP_NET_BIND_SERVICE\",\"CAP_SETFCAP\",\"CAP_SETGID\",\"CAP_SETPCAP\",\"CAP_"
	     "SETUID\","
	     "\"CAP_AUDIT_WRITE\",\"CAP_MKNOD\",\"CAP_NET_RAW\",\"CAP_SYS_CHROOT\"]"),
	LIST(hooks_dir, "[\"/usr/share/containers/oci/hooks.d\",\"/etc/containers/oci/hooks.d\"]"),
	LIST(cdi_spec_dirs, "[\"/etc/cdi\",\"/var/run/cdi\"]"),
	MAP(default_sysctls, "{}"),
	LIST(default_ulimits, "[]"),
	LIST(additional_devices, "[]"),
	INT(ctr_stop_timeout, 30, 0, 86400),
	INT(runtime_timeout, 120, 1, 86400),
	INT(network_timeout, 60, 1, 86400),
	INT(pull_progress_timeout, 60, 1, 86400),
	INT(pull_progress_rate, 1024, 1, 1 << 30),
	INT(max_parallel_downloads, 3, 1, 64),
	INT(min_free_bytes, 128 << 20, 0, 1LL << 50),
	INT(min_free_inodes, 1024, 0, 1LL << 40),
	INT(unpack_max_bytes, 128LL << 30, 0, 1LL << 62),
	INT(unpack_max_entries, 2000000, 0, 1LL << 62),
	INT(unpack_max_ratio, 500, 0, 1 << 30),
	INT(verify_timeout, 60, 1, 3600),
	INT(exec_drain_timeout, 2, 0, 3600),
	INT(max_container_log_line_size, 16384, 256, 1 << 20),
	INT(grpc_max_recv_msg_size, 16 << 20, 1 << 16, 1 << 30),
	INT(grpc_max_send_msg_size, 16 << 20, 1 << 16, 1 << 30),
	INT(record_max_bytes, 128 << 20, 1 << 20, 1LL << 50),
	BOOL(stream_enable_tls, 0),
	BOOL(adopt_hand_made, 0),
	STR(stream_tls_cert, ""),
	STR(stream_tls_key, ""),
	STR(stream_tls_ca, ""),
	INT(stream_idle_timeout, 4 * 3600, 0, 365 * 86400),
	INT(stream_creation_timeout, 30, 1, 3600),
#undef STR
#undef INT
#undef LIST
#undef MAP
#undef BOOL
};

/* The files and directories that were read, or missed, as they were before that. */
struct config_seen {
	struct {
		char *path;
		struct fs_stamp stamp;
	} * v;
	size_t n;
	struct timespec when;
};

static void see(struct config *c, const char *path)
{
	struct config_seen *s = c->seen;
	s->v = xrealloc(s->v, (s->n + 1) * sizeof *s->v);
	s->v[s->n].path = xstrdup(path);
	s->v[s->n++].stamp = fs_stamp(path);
}

static void forget_seen(struct config_seen *s)
{
	for (size_t i = 0; s && i < s->n; i++)
		free(s->v[i].path);
	if (s)
		free(s->v);
	free(s);
}

static void *field(struct config *c, const struct key *k)
{
	return (char *)c + k->offset;
}

static void set_defaults(struct config *c)
{
	memset(c, 0, sizeof *c);
	c->sources = json_object();
	c->seen = xcalloc(1, sizeof *c->seen);
	clock_gettime(CLOCK_REALTIME, &c->seen->when);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const struct key *k = &keys[i];
		if (k->type == KEY_STRING)
			*(char **)field(c, k) = xstrdup(k->text);
		else if (k->type == KEY_INT)
			*(json_int_t *)field(c, k) = k->number;
		else if (k->type == KEY_BOOL)
			*(bool *)field(c, k) = k->number != 0;
		else
			*(json_t **)field(c, k) = json_loads(k->text, 0, NULL);
	}
}

static bool only_strings(const json_t *v)
{
	size_t i;
	const char *name;
	json_t *item;
	json_array_foreach ((json_t *)v, i, item)
		if (!json_is_string(item))
			return false;
	json_object_foreach ((json_t *)v, name, item)
		if (!json_is_string(item))
			return false;
	return true;
}

static int set_key(struct config *c, const struct key *k, json_t *v, const char *file,
		   struct err *e)
{
	static const json_type want[] = {JSON_STRING, JSON_INTEGER, JSON_ARRAY, JSON_OBJECT,
					 JSON_TRUE};
	if (k->type == KEY_BOOL && json_is_boolean(v)) {
		*(bool *)field(c, k) = json_is_true(v);
		return 0;
	}
	if (json_typeof(v) != want[k->type])
		return err_set(e, ERR_BAD_INPUT, "%s: %s: expected %s, found %s", file, k->name,
			       jsonx_type_name(want[k->type]), jsonx_type_name(json_typeof(v)));
	if (k->type == KEY_STRING) {
		free(*(char **)field(c, k));
		*(char **)field(c, k) = xstrdup(json_string_value(v));
		return 0;
	}
	if (k->type == KEY_INT) {
		json_int_t n = json_integer_value(v);
		if (n < k->min || n > k->max)
			return err_set(e, ERR_BAD_INPUT,
				       "%s: %s: %" JSON_INTEGER_FORMAT
				       " is not within %" JSON_INTEGER_FORMAT
				       " to %" JSON_INTEGER_FORMAT,
				       file, k->name, n, k->min, k->max);
		*(json_int_t *)field(c, k) = n;
		return 0;
	}
	if (!only_strings(v))
		return err_set(e, ERR_BAD_INPUT, "%s: %s: every member must be a string", file,
			       k->name);
	json_decref(*(json_t **)field(c, k));
	*(json_t **)field(c, k) = json_incref(v);
	return 0;
}

static const struct key *find_key(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

static int apply_file(struct config *c, const char *file, struct err *e)
{
	see(c, file);
	AUTO_JSON json_t *j = jsonx_read_at(AT_FDCWD, file, 1 << 20, e);
	const char *name;
	json_t *v;
	if (!j)
		return err_wrap(e, "configuration");
	if (!json_is_object(j))
		return err_set(e, ERR_BAD_INPUT, "configuration: %s: expected object, found %s",
			       file, jsonx_type_name(json_typeof(j)));
	json_object_foreach (j, name, v) {
		const struct key *k = find_key(name);
		if (!k)
			return err_set(e, ERR_BAD_INPUT, "configuration: %s: %s: unknown key", file,
				       name);
		if (set_key(c, k, v, file, e) < 0)
			return err_wrap(e, "configuration");
		json_object_set_new(c->sources, name, json_string(file));
	}
	return 0;
}

static int apply_dropins(struct config *c, const char *main_file, struct err *e)
{
	AUTO_FREE char *copy = xstrdup(main_file);
	AUTO_FREE char *dir = xasprintf("%s/conf.d", dirname(copy));
	struct dirent **list = NULL;
	see(c, dir);
	int n = scandir(dir, &list, fs_is_json_file, fs_by_bytes), r = 0;
	if (n < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0
							   : err_sys(e, "configuration: %s", dir);
	for (int i = 0; i < n; i++) {
		AUTO_FREE char *file = xasprintf("%s/%s", dir, list[i]->d_name);
		if (r == 0)
			r = apply_file(c, file, e);
		free(list[i]);
	}
	free(list);
	return r;
}

int config_load(struct config *c, const char *file, struct err *e)
{
	const char *env = getenv("CRISP_CONFIG");
	set_defaults(c);
	if (!file && env && *env)
		file = env;
	if (file || access(CONFIG_DEFAULT_FILE, F_OK) == 0) {
		if (apply_file(c, file ? file : CONFIG_DEFAULT_FILE, e) < 0)
			return -1;
	} else {
		see(c, CONFIG_DEFAULT_FILE);
	}
	return apply_dropins(c, file ? file : CONFIG_DEFAULT_FILE, e);
}

/* The clock of a file system goes in steps, of seconds here and there: what is written within one leaves no trace. */
static bool is_young(const struct timespec *changed, const struct timespec *when)
{
	long long ms = (long long)(when->tv_sec - changed->tv_sec) * 1000 +
		       (when->tv_nsec - changed->tv_nsec) / 1000000;
	return ms < (changed->tv_nsec ? FS_STAMP_MS : 2000);
}

bool config_is_current(const struct config *c)
{
	const struct config_seen *s = c->seen;
	for (size_t i = 0; s && i < s->n; i++) {
		struct fs_stamp now = fs_stamp(s->v[i].path);
		if (!fs_stamp_same(&s->v[i].stamp, &now) || is_young(&now.changed, &s->when))
			return false;
	}
	return s;
}

void config_release(struct config *c)
{
	forget_seen(c->seen);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (keys[i].type == KEY_STRING)
			free(*(char **)field(c, &keys[i]));
		else if (keys[i].type != KEY_INT && keys[i].type != KEY_BOOL)
			json_decref(*(json_t **)field(c, &keys[i]));
	}
	json_decref(c->sources);
	memset(c, 0, sizeof *c);
}

json_t *config_dump(const struct config *c)
{
	json_t *out = json_object();
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const void *at = (const char *)c + keys[i].offset;
		if (keys[i].type == KEY_STRING)
			json_object_set_new(out, keys[i].name, json_string(*(char *const *)at));
		else if (keys[i].type == KEY_INT)
			json_object_set_new(out, keys[i].name,
					    json_integer(*(const json_int_t *)at));
		else if (keys[i].type == KEY_BOOL)
			json_object_set_new(out, keys[i].name, json_boolean(*(const bool *)at));
		else
			json_object_set(out, keys[i].name, *(json_t *const *)at);
	}
	return out;
}

json_t *config_differences(const struct config *a, const struct config *b)
{
	AUTO_JSON json_t *one = config_dump(a), *other = config_dump(b);
	json_t *names = json_array();
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (!json_equal(json_object_get(one, keys[i].name),
				json_object_get(other, keys[i].name)))
			json_array_append_new(names, json_string(keys[i].name));
	return names;
}

void config_copy_key(struct config *to, const struct config *from, const char *name)
{
	const struct key *k = find_key(name);
	const void *v = (const char *)from + k->offset;
	json_t *source = json_object_get(from->sources, name);
	if (k->type == KEY_STRING) {
		free(*(char **)field(to, k));
		*(char **)field(to, k) = xstrdup(*(char *const *)v);
	} else if (k->type == KEY_INT) {
		*(json_int_t *)field(to, k) = *(const json_int_t *)v;
	} else if (k->type == KEY_BOOL) {
		*(bool *)field(to, k) = *(const bool *)v;
	} else {
		json_decref(*(json_t **)field(to, k));
		*(json_t **)field(to, k) = json_deep_copy(*(json_t *const *)v);
	}
	if (source)
		json_object_set(to->sources, name, source);
	else
		json_object_del(to->sources, name);
}

char *config_tool(const struct config *c, const char *name, struct err *e)
{
	char self[PATH_MAX];
	const char *dir = c->tools_dir;
	if (!*dir) {
		ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
		if (n < 0)
			return err_sys(e, "read /proc/self/exe"), NULL;
		self[n] = '\0';
		dir = dirname(self);
	}
	char *path = xasprintf("%s/%s", dir, name);
	if (access(path, R_OK) == 0)
		return path;
	err_sys(e, "%s", path);
	free(path);
	return NULL;
}
