/* SPDX-License-Identifier: Apache-2.0 */
#include "image.h"

#include "auto.h"
#include "fs.h"
#include "imgpulls.h"
#include "imgstore.h"
#include "jsonx.h"
#include "tap.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define A "aaaa111111111111111111111111111111111111111111111111111111111111"
#define B "aaaa222222222222222222222222222222222222222222222222222222222222"
#define C "cccc333333333333333333333333333333333333333333333333333333333333"

static char root[PATH_MAX], run[PATH_MAX + 8];

static void link_name(const struct state *s, const char *name, const char *target)
{
	char path[PATH_MAX] = "names/";
	if (image_name_escape(name, path + 6, sizeof path - 6) < 0 ||
	    symlinkat(target, s->root, path) < 0)
		printf("Bail out! %s\n", name);
}

static void fill(const struct state *s)
{
	struct err e;
	static const struct {
		const char *dir, *file, *text;
	} files[] = {
		{"images/" A, "image.json",
		 "{\"version\":1,\"layers\":[{\"id\":\"" A "\"},{\"id\":\"" B "\"},{\"id\":\"" A
		 "\"},{\"id\":\"" C "\"}]}"},
		{"images/" A, "config.json", "{\"os\":\"linux\"}"},
		{"images/" B, "image.json", "{\"version\":2,\"layers\":[]}"},
		{"images/" C, "image.json", "not json"},
	};
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		if (mkdirat(s->root, files[i].dir, 0700) < 0 && errno != EEXIST)
			printf("Bail out! mkdir\n");
		AUTO_CLOSE int dir = fs_open_dir(s->root, files[i].dir, &e);
		if (fs_replace_file_at(dir, files[i].file, 0600, files[i].text,
				       strlen(files[i].text), 0, &e) < 0)
			printf("Bail out! %s\n", e.msg);
	}
	link_name(s, "docker.io/library/busybox:latest", "../images/" A);
	link_name(s, "r.io/x:1", "../images/" B);
	link_name(s, "r.io/x@sha256:" C, "../images/" A);
	link_name(s, "r.io/dangling:1",
		  "../images/dddd333333333333333333333333333333333333333333333333333333333333");
	link_name(s, "r.io/evil:1", "../../etc");
	link_name(s, "docker.io/library/cccc:latest", "../images/" A);
}

static bool resolves(const struct state *s, const char *typed, const char *hex)
{
	char id[IMAGE_ID_SIZE] = "";
	struct err e = {.msg = ""};
	bool good = image_resolve(s, typed, id, &e) == 0 && !strcmp(id + 7, hex);
	return ok(good, "%s is %.12s… %s", typed, hex, e.msg);
}

static bool fails(const struct state *s, const char *typed, enum err_kind kind)
{
	char id[IMAGE_ID_SIZE];
	struct err e = {.kind = ERR_OK};
	int rc = image_resolve(s, typed, id, &e);
	return ok(rc == -1 && e.kind == kind, "'%s': %s", typed, e.msg);
}

static void check_resolve(const struct state *s)
{
	resolves(s, "sha256:" A, A);
	resolves(s, A, A);
	resolves(s, "aaaa1", A);
	resolves(s, "sha256:aaaa2", B);
	resolves(s, "busybox", A);
	resolves(s, "docker.io/library/busybox:latest", A);
	resolves(s, "r.io/x:1", B);
	resolves(s, "r.io/x@sha256:" C, A);
	resolves(s, "r.io/x:1@sha256:" C, A);
	resolves(s, "cccc", A);
	resolves(s, "cccc3", C);
	fails(s, "aaaa", ERR_BAD_INPUT);
	fails(s, "aaa", ERR_NOT_FOUND);
	fails(s, "Upper/Case:x", ERR_BAD_INPUT);
	fails(s, "x:Bad Tag", ERR_BAD_INPUT);
	fails(s, "r.io/dangling:1", ERR_NOT_FOUND);
	fails(s, "r.io/evil:1", ERR_NOT_FOUND);
	fails(s, "", ERR_BAD_INPUT);
	fails(s, "../../etc/passwd", ERR_BAD_INPUT);
	fails(s, "sha256:dddd333333333333333333333333333333333333333333333333333333333333",
	      ERR_NOT_FOUND);
}

static void check_open(const struct state *s)
{
	struct err e;
	AUTO_IMAGE struct image img = {.meta = NULL};
	ok(image_open(s, "sha256:" A, true, &img, &e) == 0 &&
		   !strcmp(jsonx_opt_string(img.config, "os", ""), "linux"),
	   "open with configuration");
	AUTO_JSON json_t *dirs = image_lowerdirs(s, &img, &e);
	char want[PATH_MAX + 128];
	snprintf(want, sizeof want, "%s/layers/" C "/diff", root);
	ok(json_array_size(dirs) == 3 && !strcmp(json_string_value(json_array_get(dirs, 0)), want),
	   "lower directories top first, a repeated layer once");
	snprintf(want, sizeof want, "%s/layers/" A "/diff", root);
	ok(!strcmp(json_string_value(json_array_get(dirs, 1)), want), "at its top place");
	json_object_set_new(json_array_get(json_object_get(img.meta, "layers"), 2), "opaque",
			    json_true());
	AUTO_JSON json_t *cut = image_lowerdirs(s, &img, &e);
	ok(json_array_size(cut) == 2, "nothing below a layer whose root is opaque");
	struct image other;
	ok(image_open(s, "sha256:" B, false, &other, &e) < 0 && e.kind == ERR_BAD_STATE,
	   "a later version is refused: %s", e.msg);
	ok(image_open(s, "sha256:" C, false, &other, &e) < 0 && e.kind == ERR_BAD_STATE,
	   "a damaged record is told: %s", e.msg);
	ok(image_open(s, "sha256:dddd", false, &other, &e) < 0 && e.kind == ERR_BAD_INPUT,
	   "not an id: %s", e.msg);
	AUTO_JSON json_t *names = image_names(s, &e);
	ok(json_object_size(names) == 5 && !json_object_get(names, "r.io/evil:1"),
	   "names: %zu, without the one that points elsewhere", json_object_size(names));
}

static void check_names(void)
{
	char out[NAME_MAX + 1], back[300], longname[400];
	ok(image_name_escape("r.io/a%b:c", out, sizeof out) == 0 && !strcmp(out, "r.io%2fa%25b:c"),
	   "escaped: %s", out);
	ok(image_name_unescape(out, back, sizeof back) == 0 && !strcmp(back, "r.io/a%b:c"),
	   "and back: %s", back);
	ok(image_name_unescape("a%zz", back, sizeof back) < 0 &&
		   image_name_unescape("a%2", back, sizeof back) < 0,
	   "bad escapes are refused");
	memset(longname, 'a', sizeof longname);
	longname[399] = '\0';
	ok(image_name_escape(longname, out, sizeof out) < 0, "too long for a file name");
	AUTO_JSON json_t *p = json_pack("[sss]", "busybox", "r.io/pin/*", "Bad:pattern:");
	ok(image_name_is_pinned(p, "docker.io/library/busybox:latest"), "pinned by a short name");
	ok(image_name_is_pinned(p, "r.io/pin/x:1"), "pinned by a glob");
	ok(!image_name_is_pinned(p, "r.io/x:1"), "not pinned");
}

static void check_lock(const struct state *s)
{
	struct err e;
	AUTO_CLOSE int lock = image_store_lock(s, 0, &e);
	ok(lock >= 0, "the lock is free");
	pid_t pid = fork();
	if (pid == 0)
		_exit(image_store_lock(s, 0, &e) < 0 && e.kind == ERR_UNAVAILABLE ? 0 : 1);
	int status;
	ok(waitpid(pid, &status, 0) == pid && status == 0, "and nobody else gets it");
}

static void check_pulls(const struct state *s)
{
	struct err e;
	struct imgstore_tmp live, dead;
	ok(imgstore_tmp_new(s, "pull", &live, &e) == 0 &&
		   imgstore_tmp_new(s, "pull", &dead, &e) == 0,
	   "two pulls");
	AUTO_JSON json_t *told = json_pack("{s:s}", "reference", "r.io/x:1");
	ok(jsonx_replace_at(live.dir, "progress.json", 0600, told, 0, &e) == 0, "one tells");
	AUTO_JSON json_t *both = imgstore_pulls(s, &e);
	ok(json_array_size(both) == 2, "both are seen");
	close(dead.lock);
	AUTO_JSON json_t *one = imgstore_pulls(s, &e);
	json_t *first = json_array_get(one, 0);
	ok(json_array_size(one) == 1 && !strcmp(jsonx_opt_string(first, "pull", ""), live.name) &&
		   !strcmp(jsonx_opt_string(first, "reference", ""), "r.io/x:1"),
	   "one whose lock is free is none");
	AUTO_CLOSE int fd = openat(live.dir, "progress.json", O_WRONLY | O_TRUNC | O_CLOEXEC);
	AUTO_JSON json_t *bad = imgstore_pulls(s, &e);
	ok(fd >= 0 && json_array_size(bad) == 1 && json_object_size(json_array_get(bad, 0)) == 1,
	   "a file that cannot be read leaves the name");
	close(dead.dir);
	ok(imgstore_tmp_drop(s, &live, &e) == 0, "drop");
}

int main(void)
{
	struct state s;
	struct err e;
	const char *tmp = getenv("TMPDIR");
	snprintf(root, sizeof root, "%s/crisp-image.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(root))
		return 1;
	snprintf(run, sizeof run, "%s/run", root);
	if (state_open(&s, root, run, &e) < 0) {
		printf("Bail out! %s\n", e.msg);
		return 1;
	}
	fill(&s);
	check_resolve(&s);
	check_open(&s);
	check_names();
	check_lock(&s);
	check_pulls(&s);
	state_close(&s);
	if (fs_remove_tree(AT_FDCWD, root, &e) < 0)
		printf("# %s\n", e.msg);
	return tap_done();
}
