/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "proc.h"
#include "recipe.h"
#include "verify.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { RECORD_MAX = 1 << 20 };

struct reader {
	struct proc proc;
	int in, out; /* our ends */
};

static int start(struct reader *r, struct err *e)
{
	int in[2] = {-1, -1}, out[2] = {-1, -1};
	const char *const argv[] = {"/proc/self/exe", VERIFY_ARG, NULL};
	const char *const envp[] = {"PATH=/", NULL};
	struct proc_spec spec = PROC_SPEC(argv);
	*r = (struct reader){.proc = PROC_NONE, .in = -1, .out = -1};
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0) {
		err_sys(e, "pipe");
		auto_close(&in[0]);
		auto_close(&in[1]);
		return -1;
	}
	spec.envp = envp;
	spec.in = in[0];
	spec.out = out[1];
	spec.new_group = true;
	spec.die_with_parent = true;
	int rc = proc_start(&r->proc, &spec, e);
	auto_close(&in[0]);
	auto_close(&out[1]);
	r->in = in[1];
	r->out = out[0];
	/* Fewer changes of context; refused beyond the user's share, which does no harm. */
	(void)fcntl(r->in, F_SETPIPE_SZ, 1 << 20);
	return rc;
}

static void stop(struct reader *r)
{
	struct proc_result res;
	struct err ignored;
	auto_close(&r->in);
	auto_close(&r->out);
	if (r->proc.pid <= 0)
		return;
	proc_kill(&r->proc, SIGKILL);
	(void)proc_wait(&r->proc, 10000, &res, &ignored);
}

static void on_bad(void *arg, const char *path, const char *why)
{
	verify_file_fault(arg, path, why);
}

/* The child says nothing before it has read everything, so neither waits for the other for ever. */
static int feed(struct verify *v, struct recipe *r, struct reader *child, struct err *e)
{
	const void *data;
	ssize_t n;
	struct err broken;
	bool listens = true;
	while ((n = recipe_next(r, &data, e)) > 0)
		listens = listens && fs_write_all(child->in, data, (size_t)n, &broken) == 0;
	auto_close(&child->in);
	child->in = -1;
	if (n == 0)
		return 1;
	if (e->kind != ERR_BAD_STATE)
		return -1;
	verify_file_fault(v, "recipe", e->msg);
	return 0;
}

static int check_streams(struct verify *v, int dir, struct recipe *r, struct err *e)
{
	struct reader child;
	void (*old)(int) = proc_ignore(SIGPIPE);
	AUTO_CLOSE int diff = fs_open_dir(dir, "diff", e);
	int rc = diff < 0 || start(&child, e) < 0 ? -1 : 0;
	if (rc == 0) {
		rc = feed(v, r, &child, e);
		if (rc > 0)
			rc = verify_tree(v, diff, child.out, e);
		/* What cannot be read as an archive is a fault of the layer, not of ours. */
		if (rc < 0 && e->kind == ERR_BAD_INPUT) {
			verify_file_fault(v, "", e->msg);
			rc = 0;
		}
		stop(&child);
	}
	signal(SIGPIPE, old);
	return rc;
}

static void check_record(struct verify *v, int dir, const struct recipe *r, const char *diff)
{
	char hex[DIGEST_HEX_LEN + 1], why[300];
	struct err e;
	recipe_diff_id(r, hex);
	AUTO_JSON json_t *j = jsonx_read_at(dir, "layer.json", RECORD_MAX, &e);
	const char *said = jsonx_opt_string(j, "diff_id", "");
	if (!j)
		verify_file_fault(v, "layer.json", e.msg);
	else if (strncmp(said, "sha256:", 7) != 0 || strcmp(said + 7, hex) != 0 ||
		 jsonx_opt_int(j, "size", -1) != (json_int_t)recipe_size(r))
		verify_file_fault(v, "layer.json", "it is not what the recipe says");
	snprintf(why, sizeof why, "it is of a layer with diff ID sha256:%s, not sha256:%s", hex,
		 diff);
	if (strcmp(hex, diff) != 0)
		verify_file_fault(v, "recipe", why);
}

/* Its record says so. */
static bool had_recipe(int dir)
{
	struct err ignored;
	AUTO_JSON json_t *j = jsonx_read_at(dir, "layer.json", RECORD_MAX, &ignored);
	return jsonx_opt_bool(j, "recipe", false);
}

static void say_unverified(struct verify *v)
{
	static const char why[] = "cannot be verified: stored without a recipe";
	if (v->silent)
		return;
	if (!v->ctx->json) {
		printf("layer %s: %s\n", v->layer, why);
		return;
	}
	AUTO_JSON json_t *j = json_pack("{s:s,s:s}", "layer", v->layer, "unverified", why);
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
}

static int check(struct verify *v, const char *id, const char *diff, struct err *e)
{
	char path[100];
	snprintf(path, sizeof path, "layers/%.64s", id);
	AUTO_CLOSE int dir = fs_open_dir(v->ctx->st.root, path, e);
	if (dir < 0 && (e->kind == ERR_NOT_FOUND || e->errnum == ENOTDIR)) {
		verify_file_fault(v, "", "missing");
		return 0;
	}
	if (dir < 0)
		return -1;
	struct recipe *r = recipe_open(dir, on_bad, v, e);
	if (!r && e->kind == ERR_NOT_FOUND && faccessat(dir, "diff", F_OK, 0) == 0) {
		if (had_recipe(dir))
			verify_file_fault(v, "recipe", "missing");
		else
			say_unverified(v);
		return 0;
	}
	if (!r && e->kind == ERR_NOT_FOUND)
		verify_file_fault(v, "diff", "missing");
	else if (!r && (e->kind == ERR_BAD_STATE || e->kind == ERR_BAD_INPUT))
		verify_file_fault(v, "recipe", e->msg);
	if (!r &&
	    (e->kind == ERR_NOT_FOUND || e->kind == ERR_BAD_STATE || e->kind == ERR_BAD_INPUT))
		return 0;
	if (!r)
		return -1;
	check_record(v, dir, r, diff);
	int rc = check_streams(v, dir, r, e);
	recipe_close(r);
	return rc;
}

int verify_layer(struct verify *v, const char *id, const char *diff, struct err *e)
{
	if (json_object_get(v->seen, id))
		return 0;
	json_object_set_new(v->seen, id, json_true());
	v->layer = id;
	v->told = json_object();
	verify_progress(v, id);
	int rc = check(v, id, diff, e);
	verify_progress(v, NULL);
	json_decref(v->told);
	v->told = NULL;
	return rc < 0 ? err_wrap(e, "layer %s", id) : 0;
}
