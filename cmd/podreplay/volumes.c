/* SPDX-License-Identifier: Apache-2.0 */
/* What the containers mount from the host: what it is, and if asked the files. What is in a secret is
 * read in any case, so that it can be found in logs and elsewhere. */
#include "capture.h"

#include "auto.h"
#include "base64.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "utf8.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_BYTES = 16 << 20, ALL_BYTES = 256 << 20, ENTRIES_MAX = 20000, DEPTH_MAX = 16 };

struct volume {
	struct capture *k;
	size_t index;
	const char *host;
	json_t *entries;
	bool take;   /* its files go into the archive */
	bool secret; /* what is in them does not */
	size_t count;
	unsigned long long bytes;
};

const char *volume_kind(const char *host, const char *inside)
{
	static const char *const plugins[][2] = {
		{"configmap", "configmap"},      {"secret", "secret"},
		{"empty-dir", "emptydir"},       {"projected", "projected"},
		{"downward-api", "downwardapi"}, {"csi", "csi"}};
	static const char mark[] = "/volumes/kubernetes.io~", account[] = "/secrets/kubernetes.io/";
	const char *at = strstr(host, mark), *leaf = strrchr(host, '/');
	if (inside && strstr(inside, account))
		return "serviceaccount";
	for (size_t i = 0; at && i < ARRAY_LEN(plugins); i++) {
		size_t n = strlen(plugins[i][0]);
		const char *name = at + sizeof mark - 1;
		if (strncmp(name, plugins[i][0], n) == 0 && (name[n] == '/' || !name[n]))
			return plugins[i][1];
	}
	if (leaf && strcmp(leaf, "/etc-hosts") == 0)
		return "hosts";
	if (inside && strcmp(inside, "/dev/termination-log") == 0)
		return "termination";
	return "hostpath";
}

/* Is it one that was asked for? */
static bool is_wanted(const char *list, const char *kind, const char *host)
{
	while (list && *list) {
		size_t n = strcspn(list, ",");
		AUTO_FREE char *word = xstrndup(list, n);
		if (strcmp(word, kind) == 0 || strcmp(word, host) == 0 ||
		    (strcmp(word, "all") == 0 && strcmp(kind, "hostpath") != 0))
			return true;
		list += n + (list[n] == ',');
	}
	return false;
}

/* ---- one file */

/* Its content is taken for what it is: the data of a Secret. */
static char *hide(struct volume *v, const char *path, const char *name, struct buf *b, size_t *len)
{
	size_t n = b->len;
	while (n && (b->data[n - 1] == '\n' || b->data[n - 1] == '\r'))
		n--;
	json_t *value = json_stringn(b->data ? b->data : "", n);
	AUTO_FREE char *b64 = value ? NULL : base64_encode(b->data, n);
	if (!value)
		value = json_pack("{s:s}", "base64", b64);
	AUTO_JSON json_t *doc = json_pack("{s:s, s:{s:o}}", "kind", "Secret", "data", name, value);
	redactor_json(v->k->redactor, path, doc);
	const char *token = jsonx_opt_string(json_object_get(doc, "data"), name, "");
	char *text = xasprintf("%s%s", token, n < b->len ? "\n" : "");
	*len = strlen(text);
	return text;
}

static void leave_out(json_t *entry, const char *why)
{
	json_object_set_new(entry, "left_out", json_string(why));
}

/* path: below the volume; "" when it is a file itself. */
static void add_file(struct volume *v, int dir, const char *name, const char *path, json_t *entry)
{
	struct err why;
	AUTO_BUF struct buf b = BUF_INIT(FILE_BYTES);
	AUTO_FREE char *place = *path ? xasprintf("volumes/%zu/%s", v->index, path)
				      : xasprintf("volumes/%zu.file", v->index);
	if (!arc_path_is_valid(place)) {
		leave_out(entry, "its name");
		return;
	}
	if (fs_read_at(dir, name, &b, &why) < 0) {
		leave_out(entry, why.kind == ERR_EXHAUSTED ? "its size" : why.msg);
		return;
	}
	v->bytes += b.len;
	struct redactor *r = v->k->redactor;
	if (v->secret && r)
		redactor_learn_lines(r, b.data ? b.data : "", b.len);
	if (!v->take)
		return;
	if (v->bytes > ALL_BYTES) {
		leave_out(entry, "the volume's size");
		return;
	}
	size_t len = b.len;
	if (v->secret && r && len) {
		char *text = hide(v, place, *path ? path : name, &b, &len);
		json_object_set_new(entry, "redacted", json_true());
		capture_text(v->k, place, text, len);
	} else {
		capture_text(v->k, place, buf_take(&b), len);
	}
}

/* ---- a tree */

static json_t *new_entry(struct volume *v, const struct stat *st, const char *path)
{
	char mode[8];
	snprintf(mode, sizeof mode, "%04o", (unsigned)st->st_mode & 07777);
	json_t *en = json_pack("{s:s, s:s, s:s, s:I, s:I}", "path", path, "type",
			       S_ISREG(st->st_mode)   ? "file"
			       : S_ISDIR(st->st_mode) ? "dir"
			       : S_ISLNK(st->st_mode) ? "link"
						      : "other",
			       "mode", mode, "uid", (json_int_t)st->st_uid, "gid",
			       (json_int_t)st->st_gid);
	json_array_append_new(v->entries, en);
	return en;
}

static void walk(struct volume *v, int dir, const char *at, int depth);

static void add_entry(struct volume *v, int dir, const char *name, const char *at, int depth)
{
	struct stat st;
	struct err why;
	char target[ARC_PATH_MAX];
	if (!utf8_valid(name, strlen(name)) || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	AUTO_FREE char *path = xasprintf("%s%s%s", at, *at ? "/" : "", name);
	json_t *en = new_entry(v, &st, path);
	if (S_ISREG(st.st_mode)) {
		add_file(v, dir, name, path, en);
	} else if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlinkat(dir, name, target, sizeof target - 1);
		json_t *j = n > 0 ? json_stringn(target, (size_t)n) : NULL;
		if (j)
			json_object_set_new(en, "target", j);
		else
			leave_out(en, "its target");
	} else if (S_ISDIR(st.st_mode)) {
		AUTO_CLOSE int sub = fs_open_dir(dir, name, &why);
		if (sub >= 0)
			walk(v, sub, path, depth + 1);
	} else {
		leave_out(en, "neither file, directory nor link");
	}
}

static void walk(struct volume *v, int dir, const char *at, int depth)
{
	struct dirent **names = NULL;
	int n = depth < DEPTH_MAX ? scandirat(dir, ".", &names, NULL, fs_by_bytes) : 0;
	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;
		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && v->count++ < ENTRIES_MAX)
			add_entry(v, dir, name, at, depth);
		free(names[i]);
	}
	free(names);
}

/* ---- one volume */

static const char *type_of(const char *host, struct stat *st)
{
	if (stat(host, st) < 0)
		return "missing";
	return S_ISDIR(st->st_mode)    ? "dir"
	       : S_ISREG(st->st_mode)  ? "file"
	       : S_ISSOCK(st->st_mode) ? "socket"
				       : "other";
}

static void read_files(struct volume *v, const struct stat *st)
{
	AUTO_FREE char *parent = xstrdup(v->host);
	char *slash = strrchr(parent, '/');
	if (S_ISREG(st->st_mode) && slash) {
		*slash = '\0';
		AUTO_CLOSE int dir =
			open(*parent ? parent : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		json_t *en = new_entry(v, st, "");
		if (dir >= 0)
			add_file(v, dir, slash + 1, "", en);
		return;
	}
	AUTO_CLOSE int dir = open(v->host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		walk(v, dir, "", 0);
	else
		log_warn("%s: %s", v->host, strerrordesc_np(errno));
}

static void add_volume(struct capture *k, const char *host, json_t *found)
{
	struct stat st = {0};
	json_t *index = json_object_get(k->index, "volumes");
	const char *kind = jsonx_opt_string(found, "kind", ""), *type = type_of(host, &st);
	bool there = strcmp(type, "dir") == 0 || strcmp(type, "file") == 0;
	struct volume v = {.k = k,
			   .index = json_array_size(index),
			   .host = host,
			   .entries = json_array(),
			   .secret = jsonx_opt_bool(found, "secret", false),
			   .take = there && is_wanted(k->opt->volumes, kind, host)};
	if (there && (v.take || (v.secret && k->redactor)))
		read_files(&v, &st);
	/* What was only read to know its secrets. */
	if (!v.take)
		json_array_clear(v.entries);
	char mode[8];
	snprintf(mode, sizeof mode, "%04o", (unsigned)st.st_mode & 07777);
	json_t *row =
		json_pack("{s:s, s:s, s:b}", "host_path", host, "kind", kind, "captured", v.take);
	if (!v.take)
		json_object_set_new(row, "why",
				    json_string(there ? "not asked for" : "no file or directory"));
	json_array_append_new(index, row);
	AUTO_FREE char *path = xasprintf("volumes/%zu.json", v.index);
	capture_json(k, path,
		     json_pack("{s:i, s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:O, s:O}", "version", 1,
			       "host_path", host, "kind", kind, "type", type, "mode", mode, "uid",
			       (json_int_t)st.st_uid, "gid", (json_int_t)st.st_gid, "captured",
			       v.take, "mounts", json_object_get(found, "mounts"), "entries",
			       v.entries));
	json_decref(v.entries);
}

/* ---- all of them: host path -> {"kind", "secret", "mounts": [{"container", "path"}]} */

static void find_mounts(json_t *all, const char *id, json_t *config)
{
	size_t i;
	json_t *m;
	json_array_foreach (json_object_get(config, "mounts"), i, m) {
		const char *host = jsonx_opt_string(m, "host_path", "");
		const char *inside = jsonx_opt_string(m, "container_path", "");
		if (host[0] != '/')
			continue;
		json_t *v = json_object_get(all, host);
		const char *kind = volume_kind(host, inside);
		if (!v) {
			v = json_pack("{s:s, s:b, s:[]}", "kind", kind, "secret", 0, "mounts");
			json_object_set_new(all, host, v);
		}
		if (strcmp(kind, "secret") == 0 || strcmp(kind, "serviceaccount") == 0 ||
		    redact_mount_is_secret(host, inside))
			json_object_set_new(v, "secret", json_true());
		if (strcmp(kind, "hostpath") != 0)
			json_object_set_new(v, "kind", json_string(kind));
		json_array_append_new(json_object_get(v, "mounts"),
				      json_pack("{s:s, s:s}", "container", id, "path", inside));
	}
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int capture_volumes(struct capture *k, struct err *e)
{
	size_t n = 0, i;
	const char *host;
	json_t *v;
	AUTO_JSON json_t *all = json_object();
	(void)e;
	json_array_foreach (k->containers, i, v)
		find_mounts(all, jsonx_opt_string(v, "id", ""), json_object_get(v, "config"));
	AUTO_FREE const char **hosts = xcalloc(json_object_size(all) + 1, sizeof *hosts);
	json_object_foreach (all, host, v)
		hosts[n++] = host;
	qsort(hosts, n, sizeof *hosts, by_text);
	for (i = 0; i < n; i++)
		capture_public(k, hosts[i]);
	for (i = 0; i < n; i++)
		add_volume(k, hosts[i], json_object_get(all, hosts[i]));
	return 0;
}
