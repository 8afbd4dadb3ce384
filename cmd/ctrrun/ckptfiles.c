/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "ckpt.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct opt_strings ckpt_option_words;

int ckpt_options_parse(struct ckpt_options *o, bool restore, struct err *e)
{
	/* An address of the captured pod is mostly not the new one's: connections are closed. */
	*o = (struct ckpt_options){!restore, true, true};
	const struct {
		const char *key;
		bool *value;
	} known[] = {{"tcp-established", &o->tcp_established},
		     {"file-locks", &o->file_locks},
		     {"ext-unix-sk", &o->ext_unix_sk}};
	for (int i = 0; i < ckpt_option_words.count; i++) {
		const char *word = ckpt_option_words.v[i], *is = strchr(word, '=');
		size_t n = is ? (size_t)(is - word) : strlen(word), k = 0;
		while (k < ARRAY_LEN(known) &&
		       (strlen(known[k].key) != n || strncmp(word, known[k].key, n) != 0))
			k++;
		if (k == ARRAY_LEN(known))
			return err_set(e, ERR_BAD_INPUT, "unknown checkpoint option '%.80s'", word);
		if (!is || (strcmp(is, "=true") != 0 && strcmp(is, "=false") != 0))
			return err_set(e, ERR_BAD_INPUT,
				       "checkpoint option %s is not true or false", known[k].key);
		*known[k].value = strcmp(is, "=true") == 0;
	}
	return 0;
}

void ckpt_options_args(const struct ckpt_options *o, const char *args[CKPT_ARGS])
{
	size_t n = 0;
	if (o->tcp_established)
		args[n++] = "--tcp-established";
	if (o->file_locks)
		args[n++] = "--file-locks";
	if (o->ext_unix_sk)
		args[n++] = "--ext-unix-sk";
	args[n] = NULL;
}

int ckpt_can(const struct ctr *k, struct err *e)
{
	AUTO_JSON json_t *can = handler_can(&k->c->cfg, &k->handler);
	if (k->rec.sandboxed)
		return err_set(
			e, ERR_UNSUPPORTED,
			"runtime handler '%s' keeps its processes in a sandbox, which cannot "
			"be captured",
			k->rec.handler);
	if (!can || handler_can_do(can, "checkpoint") != 0)
		return 0;
	return err_set(e, ERR_UNSUPPORTED, "runtime handler '%s' cannot capture containers: %s",
		       k->rec.handler,
		       jsonx_opt_string(can, "checkpoint", "its runtime does not offer it"));
}

static int put_json(int dir, const char *name, json_t *j, struct err *e)
{
	if (!j)
		return err_set(e, ERR_BAD_STATE, "%s: not UTF-8", name);
	return jsonx_replace_bounded_at(dir, name, 0600, j, CKPT_JSON_MAX, e);
}

static void stamp(int64_t ns, char out[48])
{
	time_t t = (time_t)(ns / 1000000000);
	struct tm tm;
	gmtime_r(&t, &tm);
	size_t n = strftime(out, 24, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, 48 - n, ".%09dZ", (int)(ns % 1000000000));
}

static int put_config(const struct ctr *k, int dir, const char *name, struct err *e)
{
	char created[48], now[48];
	AUTO_FREE char *path = xstrdup(k->rec.runtime);
	stamp(k->rec.created_at, created);
	stamp(record_now_ns(), now);
	AUTO_JSON json_t *j =
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "id", k->id, "name",
			  name, "rootfsImage", k->rec.image_id, "rootfsImageRef", k->rec.image_id,
			  "rootfsImageName", k->rec.image, "runtime", basename(path), "createdTime",
			  created, "checkpointedTime", now, "restored", k->rec.restored);
	if (put_json(dir, "config.dump", j, e) < 0)
		return -1;
	AUTO_JSON json_t *status = json_pack(
		"{s:I, s:I, s:i, s:i, s:I, s:s, s:s}", "CreatedAt", (json_int_t)k->rec.created_at,
		"StartedAt", (json_int_t)k->rec.started_at, "FinishedAt", 0, "ExitCode", 0, "Pid",
		(json_int_t)k->rec.pid, "Reason", "", "Message", "");
	return put_json(dir, "status", status, e);
}

/* The words by which others know whose container a config.json is. */
static void annotate(json_t *spec, const struct ctr *k, const char *name)
{
	struct err ignored;
	json_t *notes = json_object_get(spec, "annotations");
	AUTO_CLOSE int pod = object_open(&k->c->st, OBJ_POD, k->rec.pod_id, &ignored);
	AUTO_JSON json_t *config = pod < 0 ? NULL : object_config_read(pod, OBJ_POD, &ignored);
	json_t *meta = json_object_get(config, "metadata");
	const char *words[][2] = {
		{"io.kubernetes.cri.container-name", name},
		{"io.kubernetes.cri.sandbox-id", k->rec.pod_id},
		{"io.kubernetes.cri.sandbox-name", jsonx_opt_string(meta, "name", "")},
		{"io.kubernetes.cri.sandbox-namespace", jsonx_opt_string(meta, "namespace", "")},
		{"io.kubernetes.cri.sandbox-uid", jsonx_opt_string(meta, "uid", "")}};
	if (!notes) {
		notes = json_object();
		json_object_set_new(spec, "annotations", notes);
	}
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (!json_object_get(notes, words[i][0]))
			json_object_set_new(notes, words[i][0], json_string(words[i][1]));
}

static int put_networks(const struct ctr *k, int dir, struct err *e)
{
	struct err ignored;
	AUTO_CLOSE int pod = object_open(&k->c->st, OBJ_POD, k->rec.pod_id, &ignored);
	AUTO_JSON json_t *net =
		pod < 0 ? NULL : jsonx_read_at(pod, "network.json", CKPT_JSON_MAX, &ignored);
	AUTO_JSON json_t *result = json_deep_copy(json_object_get(net, "result"));
	if (!result)
		result = json_object();
	return put_json(dir, "network.status", result, e);
}

static int put_rootfs(const struct ctr *k, int own, int dir, struct err *e)
{
	AUTO_JSON json_t *deleted = json_array();
	AUTO_CLOSE int upper = fs_open_dir(own, "upper", e);
	AUTO_CLOSE int fd = openat(dir, CKPT_DIFF, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (upper < 0)
		return -1;
	if (fd < 0)
		return err_sys(e, "create " CKPT_DIFF);
	(void)k;
	if (ckpt_tar(upper, fd, deleted, e) < 0)
		return -1;
	return put_json(dir, CKPT_DELETED, deleted, e);
}

int ckpt_describe(const struct ctr *k, int dir, struct err *e)
{
	AUTO_CLOSE int own = object_open(&k->c->st, OBJ_CONTAINER, k->id, e);
	AUTO_CLOSE int run = ctr_run_dir(k, e);
	if (own < 0 || run < 0)
		return -1;
	AUTO_JSON json_t *config = object_config_read(own, OBJ_CONTAINER, e);
	AUTO_JSON json_t *spec =
		config ? jsonx_read_at(run, "bundle/config.json", CKPT_JSON_MAX, e) : NULL;
	if (!spec)
		return -1;
	const char *name = jsonx_opt_string(json_object_get(config, "metadata"), "name", "");
	annotate(spec, k, name);
	if (put_config(k, dir, name, e) < 0 || put_json(dir, "spec.dump", spec, e) < 0 ||
	    put_json(dir, "container.json", config, e) < 0 || put_networks(k, dir, e) < 0)
		return -1;
	return put_rootfs(k, own, dir, e);
}

json_t *ckpt_open(const char *path, int *dir, struct err *e)
{
	static const struct jsonx_key keys[] = {{"version", JSON_INTEGER, JSONX_REQUIRED},
						{"runtime", JSON_STRING, JSONX_REQUIRED},
						{"handler", JSON_STRING, JSONX_REQUIRED},
						{"pod", JSON_OBJECT, JSONX_REQUIRED},
						{"created_at", JSON_INTEGER, 0},
						{"containers", JSON_ARRAY, JSONX_REQUIRED},
						{0}};
	struct stat st;
	if (*path != '/')
		return err_set_p(e, ERR_BAD_INPUT, "checkpoint '%.200s': not an absolute path",
				 path);
	*dir = fs_open_dir(AT_FDCWD, path, e);
	if (*dir < 0)
		return NULL;
	/* It says which memory runs with which rights: whoever can write it is root here. */
	if (fstat(*dir, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 022))
		return err_set_p(
			e, ERR_DENIED,
			"checkpoint %s: others than root can write to it, and to restore it is "
			"to run what they like as root",
			path);
	AUTO_JSON json_t *j = jsonx_read_at(*dir, CKPT_FILE, CKPT_JSON_MAX, e);
	if (!j || jsonx_check_keys(j, CKPT_FILE, keys, e) < 0)
		return err_wrap(e, "checkpoint %s", path), NULL;
	if (jsonx_opt_int(j, "version", 0) != 1)
		return err_set_p(e, ERR_BAD_INPUT, "checkpoint %s: its version is not known", path);
	return TAKE(j);
}
