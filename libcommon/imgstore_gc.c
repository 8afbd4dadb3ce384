/* SPDX-License-Identifier: Apache-2.0 */
#include "imgstore.h"

#include "auto.h"
#include "fs.h"
#include "imgmount.h"
#include "imgpin.h"
#include "jsonx.h"
#include "proc.h"
#include "ref.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/ioprio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { LOCK_MS = 30000, RECORD_MAX = 4 << 20, NICEST = 19, LEAST_BEST_EFFORT = 7 };

/* What is found while the store's lock is held: who uses which image, and why a layer stays. */
struct gc {
	const struct state *s;
	const struct imgstore_report *r;
	struct imgstore_tmp trash;
	struct imgstore_users users;
	json_t *names; /* image_names */
	json_t *named; /* image -> one of its names */
	json_t *keep;  /* layer -> reason */
	char all[256]; /* a reason to keep all layers, "" = none */
	bool synced;   /* images/ is on disk */
};

static void say(const struct gc *g, const char *noun, const char *id, const char *why, bool removed)
{
	char what[NAME_MAX + 64];
	snprintf(what, sizeof what, "%s %.255s", noun, id);
	if (g->r && g->r->say)
		g->r->say(g->r->arg, what, why, removed);
}

static bool is_dry(const struct gc *g)
{
	return g->r && g->r->dry_run;
}

static void keep_layer(struct gc *g, const char *layer, const char *reason)
{
	if (!json_object_get(g->keep, layer))
		json_object_set_new(g->keep, layer, json_string(reason));
}

/* images/<entry>/image.json's layers are kept for that reason. */
static void keep_layers_of(struct gc *g, const char *entry, const char *reason)
{
	size_t i;
	json_t *layer;
	struct err why;
	char path[100];
	snprintf(path, sizeof path, "images/%.65s/image.json", entry);
	AUTO_JSON json_t *meta = jsonx_read_at(g->s->root, path, RECORD_MAX, &why);
	const json_t *layers = json_object_get(meta, "layers");
	if (!json_is_array(layers))
		snprintf(g->all, sizeof g->all, "%.90s is damaged, it may need any layer", path);
	json_array_foreach (layers, i, layer)
		keep_layer(g, jsonx_opt_string(layer, "id", ""), reason);
}

static int move_to_trash(struct gc *g, const char *dir, const char *entry, struct err *e)
{
	char from[120], to[120];
	if (is_dry(g))
		return 0;
	snprintf(from, sizeof from, "%s/%.90s", dir, entry);
	snprintf(to, sizeof to, "%s-%.90s", dir, *entry == '.' ? entry + 1 : entry);
	if (renameat(g->s->root, from, g->trash.dir, to) < 0 && errno != ENOENT)
		return err_sys(e, "remove %s", from);
	return 0;
}

/* An image that was removed: its list of layers counts while somebody uses them. */
static int look_at_hidden(struct gc *g, const char *entry, struct err *e)
{
	char id[IMAGE_ID_SIZE], reason[600];
	snprintf(id, sizeof id, "sha256:%.64s", entry + 1);
	const char *user = imgstore_user(&g->users, id);
	if (!user && *g->all)
		user = g->all;
	if (!user) {
		say(g, "image", id, "removed, and nobody uses it any more", true);
		return move_to_trash(g, "images", entry, e);
	}
	snprintf(reason, sizeof reason, user == g->all ? "%s" : "%s uses it (of a removed image)",
		 user);
	say(g, "image", id, reason, false);
	keep_layers_of(g, entry, reason);
	return 0;
}

static void look_at_image(struct gc *g, const char *hex)
{
	char id[IMAGE_ID_SIZE], reason[REF_STR_SIZE + 32] = "it has no name; rm removes it by id";
	snprintf(id, sizeof id, "sha256:%.64s", hex);
	const char *name = json_string_value(json_object_get(g->named, id));
	if (name)
		snprintf(reason, sizeof reason, "its name is %s", name);
	say(g, "image", id, reason, false);
	snprintf(reason, sizeof reason, "image %s has it", id);
	keep_layers_of(g, hex, reason);
}

static int look_at_images(struct gc *g, struct err *e)
{
	const struct dirent *de;
	int fd = fs_open_dir(g->s->root, "images", e);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return -1;
	while ((de = readdir(d))) {
		if (digest_is_hex(de->d_name))
			look_at_image(g, de->d_name);
		else if (de->d_name[0] == '.' && digest_is_hex(de->d_name + 1) &&
			 look_at_hidden(g, de->d_name, e) < 0)
			return -1;
	}
	return 0;
}

/* What a pull under way or a reader (tmp/read-<n>) counts on stays, wherever it came from. */
static int look_at_pulls(struct gc *g, struct err *e)
{
	const struct dirent *de;
	struct err why;
	size_t i;
	json_t *id;
	int fd = fs_open_dir(g->s->root, "tmp", e);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return -1;
	while ((de = readdir(d))) {
		bool is_pull = strncmp(de->d_name, "pull-", 5) == 0;
		if (!is_pull && strncmp(de->d_name, "read-", 5) != 0)
			continue;
		AUTO_CLOSE int dir = fs_open_dir(dirfd(d), de->d_name, &why);
		if (dir < 0 || fs_is_locked_at(dir, "lock", &why) != 1)
			continue;
		AUTO_JSON json_t *wants = jsonx_read_at(dir, "wants.json", RECORD_MAX, &why);
		json_array_foreach (wants, i, id)
			keep_layer(g, json_is_string(id) ? json_string_value(id) : "",
				   is_pull ? "a pull under way counts on it" : "it is being read");
	}
	return 0;
}

/* The removal of the images is on disk before any layer of theirs goes: after a power cut no image is
 * there by halves. */
static int take_layer(struct gc *g, const char *hex, struct err *e)
{
	if (!g->synced && !is_dry(g)) {
		AUTO_CLOSE int fd = fs_open_dir(g->s->root, "images", e);
		if (fd < 0)
			return -1;
		if (fsync(fd) < 0)
			return err_sys(e, "sync images");
		g->synced = true;
	}
	return move_to_trash(g, "layers", hex, e);
}

/* The damaged layer that a repair has replaced. */
static int look_at_replaced(struct gc *g, const char *entry, const char *hex, struct err *e)
{
	const char *user = imgstore_replaced_user(g->s, &g->users, hex);
	char reason[600];
	snprintf(reason, sizeof reason, "it was replaced%s%s", user ? ", and may be used: " : "",
		 user ? user : "");
	say(g, "layer", entry, reason, !user);
	return user ? 0 : take_layer(g, entry, e);
}

static int look_at_layers(struct gc *g, struct err *e)
{
	const struct dirent *de;
	char hex[DIGEST_HEX_LEN + 1];
	int fd = fs_open_dir(g->s->root, "layers", e);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return -1;
	while ((de = readdir(d))) {
		if (imgstore_is_replaced(de->d_name, hex) &&
		    look_at_replaced(g, de->d_name, hex, e) < 0)
			return -1;
		if (!digest_is_hex(de->d_name))
			continue;
		const char *why = json_string_value(json_object_get(g->keep, de->d_name));
		if (!why && *g->all)
			why = g->all;
		say(g, "layer", de->d_name, why ? why : "nothing needs it", !why);
		if (!why && take_layer(g, de->d_name, e) < 0)
			return -1;
	}
	return 0;
}

static int look_at_name(struct gc *g, int dir, const char *file, struct err *e)
{
	char name[REF_STR_SIZE], why[IMAGE_ID_SIZE + 16];
	bool plain = file[0] != '.' && image_name_unescape(file, name, sizeof name) == 0;
	struct stat st;
	if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISLNK(st.st_mode)) {
		say(g, "name", file, "it is no link to an image, and none of ours", false);
		return 0;
	}
	if (plain && faccessat(dir, file, F_OK, 0) == 0) {
		snprintf(why, sizeof why, "of image %s",
			 jsonx_opt_string(g->names, name, "unknown"));
		say(g, "name", name, why, false);
		return 0;
	}
	say(g, "name", plain ? name : file,
	    plain ? "its image is gone" : "left by a process that is gone", true);
	if (!is_dry(g) && unlinkat(dir, file, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove names/%s", file);
	return 0;
}

/* What a process that died between making a name and giving it its place has left, and names of
 * images that are gone. Nobody makes names while we hold the lock. */
static int look_at_names(struct gc *g, struct err *e)
{
	const struct dirent *de;
	int fd = fs_open_dir(g->s->root, "names", e);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return -1;
	while ((de = readdir(d)))
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 &&
		    look_at_name(g, dirfd(d), de->d_name, e) < 0)
			return -1;
	return 0;
}

static int look_at_pins(struct gc *g, struct err *e)
{
	char path[80];
	const char *what;
	json_t *ignored;
	AUTO_JSON json_t *pins = imgpin_read(g->s, e);
	if (!pins)
		return -1;
	json_object_foreach (pins, what, ignored) {
		bool is_id = strncmp(what, "sha256:", 7) == 0 && digest_is_hex(what + 7);
		snprintf(path, sizeof path, "images/%.64s", is_id ? what + 7 : "");
		bool stays = is_id ? faccessat(g->s->root, path, F_OK, 0) == 0
				   : json_object_get(g->names, what) != NULL;
		say(g, "pin", what, stays ? "what it pins is there" : "what it pins is gone",
		    !stays);
		if (!stays && !is_dry(g) && imgpin_clear(g->s, what, e) < 0)
			return -1;
	}
	return 0;
}

static int look_at_mount(void *arg, const struct imgmount *m, struct err *e)
{
	struct gc *g = arg;
	if (m->live) {
		say(g, "mount", *m->image ? m->dir : m->key,
		    *m->image ? m->image : "its record cannot be read", false);
		return 0;
	}
	say(g, "mount", m->dir, "it is not mounted any more", true);
	return is_dry(g) ? 0 : imgmount_forget(g->s, m, e);
}

static int collect(struct gc *g, struct err *e)
{
	const char *name;
	json_t *id;
	AUTO_CLOSE int lock = image_store_lock(g->s, LOCK_MS, e);
	if (lock < 0 || imgstore_users_read(g->s, &g->users, e) < 0)
		return -1;
	snprintf(g->all, sizeof g->all, "%s", g->users.all);
	if (!is_dry(g))
		imgmount_sweep(g->s);
	g->names = image_names(g->s, e);
	json_object_foreach (g->names, name, id)
		json_object_set_new(g->named, json_string_value(id), json_string(name));
	if (!g->names || look_at_names(g, e) < 0 || look_at_pins(g, e) < 0)
		return -1;
	if (imgmount_each(g->s, look_at_mount, g, e) < 0 || look_at_images(g, e) < 0 ||
	    look_at_pulls(g, e) < 0)
		return -1;
	return look_at_layers(g, e);
}

/* Not idle: whoever holds up the file system's journal is waited for by others. */
static void lower_priority(void)
{
	(void)setpriority(PRIO_PROCESS, 0, NICEST);
	(void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
		      IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, LEAST_BEST_EFFORT));
}

static int run(const struct state *s, const struct imgstore_report *r, bool behind, struct err *e)
{
	struct gc g = {.s = s, .r = r, .trash = IMGSTORE_TMP_NONE};
	struct err ignored;
	if (!is_dry(&g) && imgstore_tmp_new(s, "trash", &g.trash, e) < 0)
		return -1;
	g.keep = json_object();
	g.named = json_object();
	int rc = collect(&g, e);
	imgstore_users_release(&g.users);
	json_decref(g.names);
	json_decref(g.named);
	json_decref(g.keep);
	/* Only now: who waits for the store's lock waits for us. */
	if (behind)
		lower_priority();
	if (imgstore_tmp_drop(s, &g.trash, rc == 0 ? e : &ignored) < 0)
		rc = -1;
	return rc < 0 ? -1 : imgstore_clean_tmp(s, r, e);
}

int imgstore_gc(const struct state *s, const struct imgstore_report *r, struct err *e)
{
	return run(s, r, false, e);
}

/* Of all descriptors only the store's stay: who reads our output must not wait for the child. */
static void let_go(const struct state *s)
{
	int low = s->root < s->run ? s->root : s->run, high = s->root < s->run ? s->run : s->root;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd <= 2; fd++)
		(void)dup2(null, fd); /* lint: fd */
	if (low > 3)
		(void)close_range(3, (unsigned)low - 1, 0);
	if (high > low + 1)
		(void)close_range((unsigned)low + 1, (unsigned)high - 1, 0);
	(void)close_range((unsigned)high + 1, ~0U, 0);
	if (chdir("/") < 0)
		return;
}

int imgstore_gc_later(const struct state *s, struct err *e)
{
	struct err unheard;
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(e, "start the collection");
	if (pid > 0)
		return 0;
	(void)setsid();
	(void)proc_ignore(SIGHUP);
	let_go(s);
	_exit(run(s, NULL, true, &unheard) < 0);
}
