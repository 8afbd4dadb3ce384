/* SPDX-License-Identifier: Apache-2.0 */
/* ConfigMaps and Secrets: documents beside the pod, or directories with a file for each key. */
#include "podmanifest.h"

#include "auto.h"
#include "base64.h"
#include "fs.h"
#include "jsonx.h"
#include "utf8.h"
#include "xalloc.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* An API server takes 1 MiB for all of one object; a directory may hold somewhat more. */
enum { VALUE_MAX = 1 << 20, KEYS_MAX = 4096, KEY_NAME_MAX = 253 };

static bool key_is_plain(const char *key)
{
	size_t n = strlen(key);
	return n > 0 && n <= KEY_NAME_MAX && strncmp(key, "..", 2) != 0 && strcmp(key, ".") != 0 &&
	       strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
		       n;
}

static json_t *value_of(const char *data, size_t len)
{
	if (utf8_valid(data, len) && !memchr(data, '\0', len))
		return json_stringn(data, len);
	AUTO_FREE char *text = base64_encode(data, len);
	return json_pack("{s:s}", "base64", text);
}

char *source_bytes(const json_t *value, size_t *len)
{
	unsigned char *out;
	if (json_is_string(value)) {
		*len = json_string_length(value);
		return xstrndup(json_string_value(value), *len);
	}
	const char *text = str(value, "base64");
	if (base64_decode(text, strlen(text), &out, len) < 0) {
		*len = 0;
		return xstrdup("");
	}
	return (char *)out;
}

/* The members of one of the maps of a document. */
static int add_members(const struct pm *p, json_t *out, json_t *doc, const char *member,
		       bool encoded, const char *path, struct err *e)
{
	const char *key;
	json_t *v, *map = json_object_get(doc, member);
	if (!map || json_is_null(map))
		return 0;
	if (!json_is_object(map))
		return err_set(e, ERR_BAD_INPUT, "%s: %s.%s: expected object", p->what, path,
			       member);
	json_object_foreach (map, key, v) {
		const char *s = json_string_value(v);
		unsigned char *bytes = NULL;
		size_t len;
		if (!key_is_plain(key))
			return err_set(e, ERR_BAD_INPUT, "%s: %s.%s: '%.80s' is not a key", p->what,
				       path, member, key);
		if (!s)
			return err_set(e, ERR_BAD_INPUT, "%s: %s.%s.%s: expected string", p->what,
				       path, member, key);
		if (!encoded) {
			json_object_set(out, key, v);
			continue;
		}
		if (base64_decode(s, strlen(s), &bytes, &len) < 0)
			return err_set(e, ERR_BAD_INPUT, "%s: %s.%s.%s: not base64", p->what, path,
				       member, key);
		json_object_set_new(out, key, value_of((const char *)bytes, len));
		free(bytes);
	}
	return 0;
}

int sources_add_document(struct pm *p, json_t *doc, const char *path, struct err *e)
{
	const char *name = str(json_object_get(doc, "metadata"), "name");
	bool secret = strcmp(str(doc, "kind"), "Secret") == 0;
	AUTO_JSON json_t *out = json_object();
	if (!name_is_subdomain(name))
		return err_set(e, ERR_BAD_INPUT, "%s: %s.metadata.name: '%.80s' is not a name",
			       p->what, path, name);
	if (add_members(p, out, doc, "data", secret, path, e) < 0 ||
	    (secret && add_members(p, out, doc, "stringData", false, path, e) < 0) ||
	    (!secret && add_members(p, out, doc, "binaryData", true, path, e) < 0))
		return -1;
	json_object_set(secret ? p->secrets : p->configmaps, name, out);
	return 0;
}

static int add_file(json_t *out, int dirfd, const char *dir, const char *key, struct err *e)
{
	struct stat st;
	AUTO_BUF struct buf b = BUF_INIT(VALUE_MAX);
	/* Links are fine (a mounted configMap is made of them), what is no file is passed over. */
	if (fstatat(dirfd, key, &st, 0) < 0)
		return err_sys(e, "%s/%s", dir, key);
	if (!S_ISREG(st.st_mode))
		return 0;
	if (!key_is_plain(key))
		return err_set(e, ERR_BAD_INPUT, "%s: '%.80s' is not a key", dir, key);
	if (fs_read_at(dirfd, key, &b, e) < 0)
		return err_wrap(e, "%s", dir);
	json_object_set_new(out, key, value_of(b.data ? b.data : "", b.len));
	return json_object_size(out) <= KEYS_MAX
		       ? 0
		       : err_set(e, ERR_BAD_INPUT, "%s: more than %d files", dir, KEYS_MAX);
}

/* NAME=DIR of --configmap and --secret. */
static int add_directory(json_t *map, const char *option, const char *text, struct err *e)
{
	const char *eq = strchr(text, '=');
	AUTO_FREE char *name = eq ? xstrndup(text, (size_t)(eq - text)) : NULL;
	AUTO_JSON json_t *out = json_object();
	struct dirent *de;
	if (!name || !name_is_subdomain(name) || !eq[1])
		return err_set(e, ERR_USAGE, "%s: '%.80s' is not NAME=DIR", option, text);
	AUTO_CLOSEDIR DIR *d = opendir(eq + 1);
	if (!d)
		return err_sys(e, "%s", eq + 1);
	while ((de = readdir(d))) {
		if (strncmp(de->d_name, "..", 2) != 0 && strcmp(de->d_name, ".") != 0 &&
		    add_file(out, dirfd(d), eq + 1, de->d_name, e) < 0)
			return -1;
	}
	json_object_set(map, name, out);
	return 0;
}

int sources_load(struct pm *p, struct err *e)
{
	for (int i = 0; i < p->o->configmaps.count; i++)
		if (add_directory(p->configmaps, "--configmap", p->o->configmaps.v[i], e) < 0)
			return -1;
	for (int i = 0; i < p->o->secrets.count; i++)
		if (add_directory(p->secrets, "--secret", p->o->secrets.v[i], e) < 0)
			return -1;
	return 0;
}
