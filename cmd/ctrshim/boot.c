/* SPDX-License-Identifier: Apache-2.0 */
/* A shim is started by running it with `start` in the bundle: it leaves a server behind and prints
 * where that listens. `delete` cleans up without a server. Facts: containerd's docs/runtime-v2.md. */
#include "shim.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "proc.h"
#include "rtwords.h"
#include "xalloc.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

enum { ANSWER_MAX = 1 << 16, ARGS_MAX = 16, ENV_MAX = 24 };

/* ---- what it is told */

static bool is_runc_kind(void)
{
	if (*opts.options)
		return strcmp(opts.options, "runc") == 0;
	return !*opts.config && strstr(opts.shim, "shim-runc-");
}

void boot_options(Shim__Any *any)
{
	struct err e;
	static char runc[] = "containerd.runc.v1.Options", other[] = "runtimeoptions.v1.Options";
	Shim__RuncOptions r = SHIM__RUNC_OPTIONS__INIT;
	Shim__RuntimeOptions o = SHIM__RUNTIME_OPTIONS__INIT;
	AUTO_FREE char *root = xasprintf("%s/.runc", opts.root);
	shim__any__init(any);
	if (is_runc_kind()) {
		r.root = root;
		r.binary_name = (char *)opts.binary;
		r.systemd_cgroup = opts.systemd;
		any->type_url = runc;
		any->value.data = ttrpc_pack(&r.base, &any->value.len, &e);
	} else if (*opts.config || strcmp(opts.options, "generic") == 0) {
		o.config_path = (char *)opts.config;
		any->type_url = other;
		any->value.data = ttrpc_pack(&o.base, &any->value.len, &e);
	}
}

static const char *self(void)
{
	static char path[PATH_MAX];
	ssize_t n = *path ? 0 : readlink("/proc/self/exe", path, sizeof path - 1);
	if (n > 0)
		path[n] = '\0';
	return path;
}

/* Of shims of containerd 2.3 and later, on standard input. */
static uint8_t *params_of(const struct place *p, size_t *len, struct err *e)
{
	enum { DEBUG = -4 };
	Shim__BootstrapParams b = SHIM__BOOTSTRAP_PARAMS__INIT;
	Shim__Extension extension = SHIM__EXTENSION__INIT, *list[] = {&extension};
	Shim__Any any;
	boot_options(&any);
	extension.value = &any;
	b.instance_id = p->id;
	b.namespace_ = p->rec.space;
	b.log_level = opts.debug ? DEBUG : 0;
	b.ttrpc_address = p->rec.events;
	b.grpc_address = (char *)opts.root;
	b.binary = (char *)self();
	b.n_extensions = *any.type_url ? 1 : 0;
	b.extensions = list;
	uint8_t *out = ttrpc_pack(&b.base, len, e);
	free(any.value.data);
	return out;
}

/* ---- running it */

struct run {
	const char *argv[ARGS_MAX];
	char *env[ENV_MAX];
	size_t n_env;
	struct buf out, err;
};

static void run_release(struct run *r)
{
	for (size_t i = 0; i < r->n_env; i++)
		free(r->env[i]);
	buf_release(&r->out);
	buf_release(&r->err);
}

static void run_init(struct run *r, const struct place *p, const char *action)
{
	static const char *const passed[] = {"PATH", "TMPDIR", "XDG_RUNTIME_DIR",
					     "DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS"};
	size_t n = 0;
	*r = (struct run){.out = BUF_INIT(ANSWER_MAX), .err = BUF_INIT(ANSWER_MAX)};
	const char *const args[] = {p->rec.shim,
				    "-namespace",
				    p->rec.space,
				    "-address",
				    opts.root,
				    "-publish-binary",
				    self(),
				    "-id",
				    p->id,
				    "-bundle",
				    p->path,
				    opts.debug ? "-debug" : action,
				    opts.debug ? action : NULL};
	for (size_t i = 0; i < ARRAY_LEN(args) && args[i]; i++)
		r->argv[n++] = args[i];
	for (size_t i = 0; i < ARRAY_LEN(passed); i++) {
		const char *v = getenv(passed[i]);
		if (v)
			r->env[r->n_env++] = xasprintf("%s=%s", passed[i], v);
		else if (i == 0)
			r->env[r->n_env++] = xstrdup("PATH=/usr/local/sbin:/usr/local/bin:"
						     "/usr/sbin:/usr/bin:/sbin:/bin");
	}
	/* Go's threads would be one a processor; containerd sets the same. */
	r->env[r->n_env++] = xstrdup("GOMAXPROCS=2");
	r->env[r->n_env++] = xstrdup("MAX_SHIM_VERSION=3");
	r->env[r->n_env++] = xasprintf("TTRPC_ADDRESS=%s", p->rec.events);
	r->env[r->n_env++] = xasprintf("GRPC_ADDRESS=%s", opts.root);
	r->env[r->n_env++] = xasprintf("NAMESPACE=%s", p->rec.space);
}

/* 0 when it said that all is well; else -1 with its words. */
static int run(struct run *r, const struct place *p, const void *input, size_t len, long long ms,
	       struct err *e)
{
	char words[800];
	struct proc_result result;
	struct proc_spec s = PROC_SPEC(r->argv);
	const char *name = strrchr(p->rec.shim, '/');
	s.envp = (const char *const *)r->env;
	s.cwd = p->dir;
	buf_clear(&r->out);
	buf_clear(&r->err);
	if (proc_run(&s, input, len, &r->out, &r->err, (int)ms, &result, e) < 0)
		return -1;
	if (result.exited && result.status == 0)
		return 0;
	name = name ? name + 1 : p->rec.shim;
	rtwords_pick(NULL, 0, r->err.data, r->err.len, words, sizeof words);
	if (!*words)
		rtwords_pick(NULL, 0, r->out.data, r->out.len, words, sizeof words);
	if (*words)
		return err_set(e, ERR_FAILED, "%s", words);
	return err_set(e, ERR_FAILED, "%s: %s %d", name,
		       result.exited ? "exit status" : "killed by signal", result.status);
}

/* ---- what it answers */

static int set_answer(struct boot_answer *a, const char *address, size_t len, const char *protocol,
		      long long version, struct err *e)
{
	if (len == 0 || len >= sizeof a->address || memchr(address, '\0', len) ||
	    memchr(address, '\n', len))
		return err_set(e, ERR_BAD_INPUT, "the shim's answer is no address");
	if (strcmp(protocol, "ttrpc") != 0)
		return err_set(e, ERR_UNSUPPORTED, "the shim speaks '%.32s', not ttrpc", protocol);
	if (version < 2 || version > 3)
		return err_set(e, ERR_UNSUPPORTED, "the shim's version is %lld, not 2 or 3",
			       version);
	memcpy(a->address, address, len);
	a->address[len] = '\0';
	snprintf(a->protocol, sizeof a->protocol, "%s", protocol);
	a->version = (int)version;
	return 0;
}

static int parse_json(const char *data, size_t len, struct boot_answer *a, struct err *e)
{
	AUTO_JSON json_t *j = jsonx_parse(data, len, "the shim's answer", e);
	if (!j)
		return -1;
	const char *address = jsonx_string(j, "the shim's answer", "address", e);
	if (!address)
		return -1;
	return set_answer(a, address, strlen(address), jsonx_opt_string(j, "protocol", "ttrpc"),
			  jsonx_opt_int(j, "version", 2), e);
}

int boot_parse(const char *data, size_t len, struct boot_answer *a, struct err *e)
{
	static const char version[] = {0x08}; /* field 1, a number */
	while (len && (data[len - 1] == '\n' || data[len - 1] == ' '))
		len--;
	if (len && data[0] == '{')
		return parse_json(data, len, a, e);
	if (!len || data[0] != version[0])
		return set_answer(a, data, len, "ttrpc", 2, e);
	Shim__BootstrapResult *r = shim__bootstrap_result__unpack(NULL, len, (const uint8_t *)data);
	if (!r)
		return err_set(e, ERR_BAD_INPUT, "the shim's answer is no address");
	int result = set_answer(a, r->address, strlen(r->address), r->protocol, r->version, e);
	shim__bootstrap_result__free_unpacked(r, NULL);
	return result;
}

int boot_start(struct place *p, struct err *e)
{
	struct run r;
	struct boot_answer a = {0};
	size_t len;
	run_init(&r, p, "start");
	int status = run(&r, p, "", 0, opts.timeout_ms, e);
	/* From containerd 2.3 on they want to be told by a message, which those before do not
	 * understand; and they say so. */
	if (status < 0 && strstr(e->msg, "bootstrap")) {
		AUTO_FREE uint8_t *params = params_of(p, &len, e);
		status = params ? run(&r, p, params, len, opts.timeout_ms, e) : -1;
	}
	if (status == 0)
		status = boot_parse(r.out.data ? r.out.data : "", r.out.len, &a, e);
	run_release(&r);
	if (status < 0)
		return err_wrap(e, "%s", p->rec.shim);
	record_string(&p->rec.address, a.address);
	p->rec.api = a.version;
	return 0;
}

int boot_delete(struct place *p, uint32_t *status, struct err *e)
{
	enum { KILLED = 137 };
	struct run r;
	*status = KILLED;
	run_init(&r, p, "delete");
	int result = run(&r, p, NULL, 0, opts.timeout_ms, e);
	Shim__DeleteResponse *d =
		result < 0 ? NULL
			   : shim__delete_response__unpack(NULL, r.out.len,
							   (const uint8_t *)r.out.data);
	if (d && d->exit_status)
		*status = d->exit_status;
	if (d)
		shim__delete_response__free_unpacked(d, NULL);
	run_release(&r);
	return result;
}

/* The record says which process it was; only if it runs the shim's program it is ended. */
static void kill_process(const struct record *r)
{
	struct err ignored;
	char link[32], exe[PATH_MAX], wanted[PATH_MAX];
	AUTO_CLOSE int fd = r->shim_pid > 1 ? proc_open(r->shim_pid, r->shim_start, &ignored) : -1;
	snprintf(link, sizeof link, "/proc/%d/exe", (int)r->shim_pid);
	ssize_t n = fd < 0 ? -1 : readlink(link, exe, sizeof exe - 1);
	if (n <= 0 || !realpath(r->shim, wanted))
		return;
	exe[n] = '\0';
	if (strcmp(exe, wanted) == 0)
		pidfd_send_signal(fd, SIGKILL, NULL, 0);
}

void boot_kill(struct place *p)
{
	static const char scheme[] = "unix://";
	const char *path = p->rec.address + sizeof scheme - 1;
	struct stat st;
	kill_process(&p->rec);
	if (strncmp(p->rec.address, scheme, sizeof scheme - 1) == 0 && lstat(path, &st) == 0 &&
	    S_ISSOCK(st.st_mode))
		unlink(path);
}

/* ---- what it can do */

/* From containerd 2.0 on a shim tells about its runtime. */
static int ask_shim(struct buf *out, struct err *e)
{
	struct proc_result result;
	const char *argv[] = {opts.shim, "-info", NULL};
	struct proc_spec s = PROC_SPEC(argv);
	AUTO_BUF struct buf text = BUF_INIT(1 << 20);
	Shim__Any any;
	size_t len;
	s.err = -1;
	boot_options(&any);
	AUTO_FREE uint8_t *input = ttrpc_pack(&any.base, &len, e);
	free(any.value.data);
	if (!input || proc_run(&s, input, *any.type_url ? len : 0, &text, NULL,
			       (int)opts.timeout_ms, &result, e) < 0)
		return -1;
	Shim__RuntimeInfo *info =
		result.exited && result.status == 0
			? shim__runtime_info__unpack(NULL, text.len, (const uint8_t *)text.data)
			: NULL;
	int r = info && info->features
			? buf_add(out, info->features->value.data, info->features->value.len, e)
			: err_set(e, ERR_UNSUPPORTED, "the shim does not say what it can do");
	if (info)
		shim__runtime_info__free_unpacked(info, NULL);
	return r;
}

/* As execvp would. */
static char *find_binary(const char *name)
{
	const char *path = getenv("PATH");
	AUTO_FREE char *dirs = xstrdup(path ? path
					    : "/usr/local/sbin:/usr/local/bin:/usr/sbin:"
					      "/usr/bin:/sbin:/bin");
	char *save = NULL;
	if (strchr(name, '/'))
		return xstrdup(name);
	for (char *d = strtok_r(dirs, ":", &save); d; d = strtok_r(NULL, ":", &save)) {
		char *full = xasprintf("%s/%s", d, name);
		if (access(full, X_OK) == 0)
			return full;
		free(full);
	}
	return NULL;
}

static int ask_binary(struct buf *out, struct err *e)
{
	struct proc_result result;
	AUTO_FREE char *binary = find_binary(*opts.binary ? opts.binary : "runc");
	if (!binary)
		return err_set(e, ERR_NOT_FOUND, "no program %s in PATH",
			       *opts.binary ? opts.binary : "runc");
	const char *argv[] = {binary, "features", NULL};
	struct proc_spec s = PROC_SPEC(argv);
	s.err = -1;
	buf_clear(out);
	if (proc_run(&s, NULL, 0, out, NULL, (int)opts.timeout_ms, &result, e) < 0)
		return -1;
	return result.exited && result.status == 0
		       ? 0
		       : err_set(e, ERR_UNSUPPORTED, "%s has no features", binary);
}

int boot_features(struct buf *out, struct err *e)
{
	if (ask_shim(out, e) == 0)
		return 0;
	return is_runc_kind() ? ask_binary(out, e) : -1;
}
