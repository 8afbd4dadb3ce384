/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "ctr.h"
#include "jsonx.h"
#include "rtwords.h"
#include "xalloc.h"

#include <string.h>

enum { WORDS_MAX = 8192, STATE_MAX = 1 << 20 };

void rt_add(struct rt_args *a, const char *s)
{
	if (a->n + 1 < RT_ARGS_MAX)
		a->v[a->n++] = s;
	a->v[a->n] = NULL;
}

void rt_begin(struct rt_args *a, const struct ctr *k)
{
	size_t i;
	json_t *arg;
	*a = (struct rt_args){.n = 0};
	rt_add(a, k->rec.runtime);
	rt_add(a, "--root");
	rt_add(a, k->rec.runtime_root);
	json_array_foreach (k->handler.args, i, arg)
		if (json_is_string(arg) && i < OPT_STRINGS_MAX)
			rt_add(a, json_string_value(arg));
	if (strcmp(k->c->cfg.cgroup_manager, "systemd") == 0)
		rt_add(a, "--systemd-cgroup");
}

int rt_timeout_ms(const struct ctr *k)
{
	return (int)k->c->cfg.runtime_timeout * 1000;
}

const char *const *rt_env(void)
{
	static const char *const names[] = {"PATH",
					    "TMPDIR",
					    "CRISP_LOG",
					    "CRISP_LOG_LEVEL",
					    "XDG_RUNTIME_DIR",
					    "DBUS_SYSTEM_BUS_ADDRESS",
					    "DBUS_SESSION_BUS_ADDRESS",
					    "ASAN_OPTIONS",
					    "UBSAN_OPTIONS"};
	static const char *env[ARRAY_LEN(names) + 1];
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	size_t n = 0;
	if (env[0])
		return env;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *v = getenv(names[i]);
		if (v)
			env[n++] = xasprintf("%s=%s", names[i], v);
		else if (i == 0)
			env[n++] = path;
	}
	return env;
}

static int run(const struct ctr *k, const struct rt_args *a, const char *input, size_t len,
	       struct buf *out, int timeout_ms, struct err *e)
{
	char words[900];
	struct proc_result r;
	AUTO_BUF struct buf text = BUF_INIT(WORDS_MAX);
	struct proc_spec s = RUNTIME_SPEC(a->v);
	s.envp = rt_env();
	if (!*k->rec.runtime)
		return err_set(e, ERR_BAD_STATE, "the record names no runtime");
	if (proc_run(&s, input, len, out, &text, timeout_ms, &r, e) < 0)
		return -1;
	if (r.exited && r.status == 0)
		return 0;
	rtwords_pick(NULL, 0, text.data, text.len, words, sizeof words);
	if (*words)
		return err_set(e, ERR_FAILED, "%s", words);
	return err_set(e, ERR_FAILED, "%s: %s %d", k->rec.runtime,
		       r.exited ? "exit status" : "killed by signal", r.status);
}

int rt_run(const struct ctr *k, const struct rt_args *a, int timeout_ms, struct err *e)
{
	return rt_run_with(k, a, NULL, 0, timeout_ms, e);
}

int rt_run_with(const struct ctr *k, const struct rt_args *a, const char *input, size_t len,
		int timeout_ms, struct err *e)
{
	return run(k, a, input, len, NULL, timeout_ms, e);
}

bool rt_is_running(const struct ctr *k)
{
	struct err ignored;
	struct rt_args a;
	AUTO_BUF struct buf out = BUF_INIT(STATE_MAX);
	rt_begin(&a, k);
	rt_add(&a, "state");
	rt_add(&a, k->id);
	if (run(k, &a, NULL, 0, &out, rt_timeout_ms(k), &ignored) < 0)
		return false;
	AUTO_JSON json_t *j = jsonx_parse(out.data, out.len, "state", &ignored);
	return strcmp(jsonx_opt_string(j, "status", ""), "running") == 0;
}

int rt_call(const struct ctr *k, const char *verb, const char *option, const char *last,
	    struct err *e)
{
	struct rt_args a;
	rt_begin(&a, k);
	rt_add(&a, verb);
	if (option)
		rt_add(&a, option);
	rt_add(&a, k->id);
	if (last)
		rt_add(&a, last);
	return rt_run(k, &a, rt_timeout_ms(k), e);
}
