/* SPDX-License-Identifier: Apache-2.0 */
#include "policy.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { POLICY_FILE_MAX = 1 << 20 };

static const struct jsonx_key keys[] = {
	{"prefix", JSON_STRING, 0},   {"rule", JSON_STRING, 0},       {"keys", JSON_ARRAY, 0},
	{"signers", JSON_INTEGER, 0}, {"identity", JSON_STRING, 0},   {"signed_as", JSON_STRING, 0},
	{"verify", JSON_TRUE, 0},     {"repository", JSON_STRING, 0}, {0},
};

/* The index of a word in a list that NULL ends. */
static int word_of(json_t *doc, const char *key, const char *fallback, const char *const *words,
		   const char *file, struct err *e)
{
	const char *have = jsonx_opt_string(doc, key, fallback);
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], have) == 0)
			return i;
	return err_set(e, ERR_BAD_INPUT, "%s: %s: unknown word '%.100s'", file, key, have);
}

/* HOST or HOST/PATH in normal form, so that it can be compared with a reference's. */
static int name_of(const char *typed, const char *file, const char *key, char out[REF_STR_SIZE],
		   struct err *e)
{
	char probe[REF_STR_SIZE];
	struct ref r;
	/* Two components more, for Docker's short forms have at most one. */
	if (snprintf(probe, sizeof probe, "%s/x/x", typed) >= (int)sizeof probe)
		return err_set(e, ERR_BAD_INPUT, "%s: %s: too long", file, key);
	if (ref_parse(&r, probe, e) < 0)
		return err_wrap(e, "%s: %s", file, key);
	snprintf(out, REF_STR_SIZE, "%s/%s", r.host, r.path);
	out[strlen(out) - 4] = '\0';
	bool hub = strncmp(typed, "index.docker.io", 15) == 0;
	if (!hub && strcmp(out, typed) != 0)
		return err_set(e, ERR_BAD_INPUT, "%s: %s: '%.200s' must be written in full: '%s'",
			       file, key, typed, out);
	return 0;
}

static int set_prefix(struct policy *p, json_t *doc, struct err *e)
{
	const char *typed = jsonx_string(doc, p->file, "prefix", e);
	if (!typed)
		return -1;
	if (strcmp(typed, "*") == 0)
		p->prefix[0] = '\0';
	else if (strcmp(typed, POLICY_LOCAL) == 0)
		snprintf(p->prefix, sizeof p->prefix, "%s", typed);
	else
		return name_of(typed, p->file, "prefix", p->prefix, e);
	return 0;
}

static int set_signers(struct policy *p, json_t *doc, struct err *e)
{
	size_t i;
	json_t *item, *list = json_object_get(doc, "keys");
	size_t n = json_array_size(list);
	if (n == 0 || n > POLICY_KEYS_MAX)
		return err_set(e, ERR_BAD_INPUT, "%s: keys: %zu keys where 1 to %d are expected",
			       p->file, n, POLICY_KEYS_MAX);
	json_array_foreach (list, i, item)
		if (!json_is_string(item) || !*json_string_value(item))
			return err_set(e, ERR_BAD_INPUT, "%s: keys[%zu]: expected a file name",
				       p->file, i);
	p->signers = jsonx_opt_int(doc, "signers", 1);
	if (p->signers < 1 || p->signers > (json_int_t)n)
		return err_set(e, ERR_BAD_INPUT,
			       "%s: signers: %lld is not between 1 and the number of keys", p->file,
			       (long long)p->signers);
	p->keys = json_incref(list);
	return 0;
}

static int set_required(struct policy *p, json_t *doc, struct err *e)
{
	static const char *const identities[] = {"exact", "repository", "prefix", "any", NULL};
	int identity = word_of(doc, "identity", "exact", identities, p->file, e);
	if (identity < 0 || set_signers(p, doc, e) < 0)
		return -1;
	p->identity = (enum policy_identity)identity;
	const char *as = jsonx_opt_string(doc, "signed_as", NULL);
	if (as && p->identity == IDENTITY_ANY)
		return err_set(e, ERR_BAD_INPUT, "%s: signed_as: not with identity 'any'", p->file);
	if (as && name_of(as, p->file, "signed_as", p->signed_as, e) < 0)
		return -1;
	const char *where = jsonx_opt_string(doc, "repository", NULL);
	char name[REF_STR_SIZE];
	if (!where)
		return 0;
	if (name_of(where, p->file, "repository", name, e) < 0)
		return -1;
	if (ref_parse(&p->repository, name, e) < 0)
		return err_wrap(e, "%s: repository", p->file);
	p->elsewhere = true;
	return 0;
}

int policy_parse(struct policy *p, json_t *doc, const char *file, struct err *e)
{
	static const char *const rules[] = {"accept", "reject", "require", NULL};
	*p = (struct policy){.rule = POLICY_ACCEPT};
	snprintf(p->file, sizeof p->file, "%s", file);
	if (jsonx_check_keys(doc, file, keys, e) < 0 || !jsonx_string(doc, file, "rule", e))
		return -1;
	int rule = word_of(doc, "rule", "", rules, file, e);
	if (rule < 0 || set_prefix(p, doc, e) < 0)
		return -1;
	p->rule = (enum policy_rule)rule;
	bool local = strcmp(p->prefix, POLICY_LOCAL) == 0;
	p->verify = jsonx_opt_bool(doc, "verify", !local);
	if (p->rule == POLICY_REQUIRE && local)
		return err_set(e, ERR_BAD_INPUT,
			       "%s: rule: signatures are looked for in registries only", file);
	if (p->rule == POLICY_REQUIRE)
		return set_required(p, doc, e);
	static const char *const only[] = {"keys", "signers", "identity", "signed_as",
					   "repository"};
	for (size_t i = 0; i < ARRAY_LEN(only); i++)
		if (json_object_get(doc, only[i]))
			return err_set(e, ERR_BAD_INPUT, "%s: %s: only with rule 'require'", file,
				       only[i]);
	return 0;
}

void policy_release(struct policy *p)
{
	json_decref(p->keys);
	p->keys = NULL;
}

bool policy_covers(const char *prefix, const char *name)
{
	if (!*prefix)
		return true;
	const char *below = prefix + strcspn(prefix, "/"), *path = name + strcspn(name, "/");
	size_t n = strlen(below);
	return ref_same_host(prefix, name) && strncasecmp(below, path, n) == 0 &&
	       (path[n] == '\0' || path[n] == '/');
}

/* Of prefixes that cover the same name: how far, and so which is the longer one, in however many
 * bytes its host is written. */
static size_t reach(const char *prefix)
{
	return *prefix ? 1 + strlen(prefix + strcspn(prefix, "/")) : 0;
}

/* One more file: it becomes *best when it fits better. 1 it did, 0 not. */
static int consider(struct policy *best, bool *have, int dir, const char *file, const char *name,
		    struct err *e)
{
	struct stat st;
	struct policy p = {.keys = NULL};
	if (fstatat(dir, file, &st, 0) < 0)
		return err_sys(e, "%s", file);
	if (st.st_mode & S_IWOTH)
		return err_set(e, ERR_BAD_INPUT, "%s: anybody may write it", file);
	AUTO_JSON json_t *doc = jsonx_read_at(dir, file, POLICY_FILE_MAX, e);
	if (!doc)
		return -1;
	if (policy_parse(&p, doc, file, e) < 0) {
		policy_release(&p);
		return -1;
	}
	bool local = strcmp(name, POLICY_LOCAL) == 0;
	bool fits = local ? strcmp(p.prefix, name) == 0 : policy_covers(p.prefix, name);
	if (fits && *have && reach(best->prefix) == reach(p.prefix)) {
		policy_release(&p);
		return err_set(e, ERR_BAD_INPUT, "%s and %s are for the same prefix '%s'",
			       best->file, file, *p.prefix ? p.prefix : "*");
	}
	if (!fits || (*have && reach(p.prefix) < reach(best->prefix))) {
		policy_release(&p);
		return 0;
	}
	policy_release(best);
	*best = p;
	*have = true;
	return 1;
}

int policy_find(struct policy *p, const char *dir, const struct ref *ref, struct err *e)
{
	char name[REF_STR_SIZE] = POLICY_LOCAL;
	struct dirent **list = NULL;
	bool have = false;
	int r = 0;
	*p = (struct policy){.rule = POLICY_ACCEPT, .verify = ref != NULL};
	if (ref)
		snprintf(name, sizeof name, "%s/%s", ref->host, ref->path);
	AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, "policy_dir %s", dir);
	int n = scandirat(fd, ".", &list, fs_is_json_file, fs_by_bytes);
	if (n < 0)
		return err_sys(e, "policy_dir %s", dir);
	for (int i = 0; i < n; i++) {
		if (r >= 0)
			r = consider(p, &have, fd, list[i]->d_name, name, e);
		free(list[i]);
	}
	free(list);
	return r < 0 ? err_wrap(e, "policy_dir %s", dir) : 0;
}
