/* SPDX-License-Identifier: Apache-2.0 */
#include "tool_run.h"

#include "auto.h"
#include "log.h"
#include "turnstile.h"
#include "xalloc.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

struct parse {
	const struct tool *t;
	const struct verb *v;
	struct tool_ctx *c;
	struct tool_common common;
};

int tool_parse_long(const char *s, long *out)
{
	char *end;
	errno = 0;
	long n = strtol(s, &end, 10);
	if (errno || end == s || *end)
		return -1;
	*out = n;
	return 0;
}

int tool_parse_seconds(const char *s, double *out)
{
	char *end;
	errno = 0;
	double d = strtod(s, &end);
	if (errno || end == s || *end || !isfinite(d) || d < 0 || d > 1e9)
		return -1;
	*out = d;
	return 0;
}

static int store(const struct opt *o, const char *value, struct err *e)
{
	switch (o->type) {
	case OPT_FLAG:
		*(bool *)o->value = true;
		return 0;
	case OPT_STRING:
		*(const char **)o->value = value;
		return 0;
	case OPT_INT:
		if (tool_parse_long(value, o->value) < 0)
			return err_set(e, ERR_USAGE, "--%s: '%s' is not a number", o->name, value);
		return 0;
	case OPT_SECONDS:
		if (tool_parse_seconds(value, o->value) < 0)
			return err_set(e, ERR_USAGE, "--%s: '%s' is not a number of seconds",
				       o->name, value);
		return 0;
	case OPT_STRINGS: {
		struct opt_strings *s = o->value;
		if (s->count == OPT_STRINGS_MAX)
			return err_set(e, ERR_USAGE, "--%s: given more than %d times", o->name,
				       OPT_STRINGS_MAX);
		s->v[s->count++] = value;
		return 0;
	}
	}
	return err_set(e, ERR_FAILED, "--%s: unknown option type", o->name);
}

static const struct opt *find_in(const struct opt *o, const char *name, size_t len, char short_name)
{
	for (; o && o->name; o++) {
		if (name ? strlen(o->name) == len && memcmp(o->name, name, len) == 0
			 : o->short_name && o->short_name == short_name)
			return o;
	}
	return NULL;
}

static const struct opt *find(struct parse *p, const char *name, size_t len, char short_name)
{
	const struct opt *o = NULL;
	if (p->v)
		o = find_in(p->v->opts, name, len, short_name);
	if (!o)
		o = find_in(p->t->opts, name, len, short_name);
	return o ? o : find_in(p->common.opts, name, len, short_name);
}

/* argv[*i] starts with '-': one long option or a cluster of short ones. */
static int parse_option(struct parse *p, int argc, char **argv, int *i, struct err *e)
{
	const char *a = argv[*i];
	if (a[1] == '-') {
		const char *name = a + 2, *eq = strchr(name, '=');
		size_t len = eq ? (size_t)(eq - name) : strlen(name);
		const struct opt *o = find(p, name, len, 0);
		if (!o)
			return err_set(e, ERR_USAGE, "unknown option --%.*s", (int)len, name);
		if (o->type == OPT_FLAG && eq)
			return err_set(e, ERR_USAGE, "--%s takes no value", o->name);
		if (o->type != OPT_FLAG && !eq && *i + 1 >= argc)
			return err_set(e, ERR_USAGE, "--%s needs a value: %s", o->name, o->arg);
		return store(o, o->type == OPT_FLAG ? NULL : eq ? eq + 1 : argv[++*i], e);
	}
	for (const char *s = a + 1; *s; s++) {
		const struct opt *o = find(p, NULL, 0, *s);
		if (!o)
			return err_set(e, ERR_USAGE, "unknown option -%c", *s);
		if (o->type == OPT_FLAG) {
			if (store(o, NULL, e) < 0)
				return -1;
			continue;
		}
		if (!s[1] && *i + 1 >= argc)
			return err_set(e, ERR_USAGE, "-%c needs a value: %s", *s, o->arg);
		return store(o, s[1] ? s + 1 : argv[++*i], e);
	}
	return 0;
}

static const struct verb *find_verb(const struct tool *t, const char *name)
{
	for (const struct verb *v = t->verbs; v->name; v++)
		if (strcmp(v->name, name) == 0)
			return v;
	return NULL;
}

/* Operands are moved to the front of argv; returns their number. */
static int parse_args(struct parse *p, int argc, char **argv, struct err *e)
{
	int n = 0;
	bool options = true;
	if (p->t->verbs[0].name[0] == '\0')
		p->v = &p->t->verbs[0];
	for (int i = 1; i < argc; i++) {
		if (options && strcmp(argv[i], "--") == 0) {
			options = false;
			continue;
		}
		if (options && argv[i][0] == '-' && argv[i][1]) {
			if (parse_option(p, argc, argv, &i, e) < 0)
				return -1;
			continue;
		}
		/* A program that does its main thing without a verb may have others. */
		if (p->v && !*p->v->name && n == 0 && p->v->max_args == 0 && p->t->verbs[1].name)
			p->v = NULL;
		if (!p->v) {
			p->v = find_verb(p->t, argv[i]);
			if (!p->v)
				return err_set(e, ERR_USAGE, "unknown verb '%s'", argv[i]);
			continue;
		}
		/* A command to run keeps its own options: they start after the last operand of
		 * ours. */
		if (p->t->flags & TOOL_OPERANDS_LAST && p->v->max_args < 0 &&
		    n + 1 >= p->v->min_args)
			options = options && n + 1 < p->v->min_args;
		argv[n++] = argv[i];
	}
	argv[n] = NULL;
	return n;
}

static int check_operands(const struct parse *p, int n, struct err *e)
{
	if (!p->v)
		return err_set(e, ERR_USAGE, "no verb given");
	if (n < p->v->min_args)
		return err_set(e, ERR_USAGE, "%s%smissing operand: %s", p->v->name,
			       *p->v->name ? ": " : "", p->v->args);
	if (p->v->max_args >= 0 && n > p->v->max_args)
		return err_set(e, ERR_USAGE, "%s%stoo many operands", p->v->name,
			       *p->v->name ? ": " : "");
	return 0;
}

/* Programs may be started with 0, 1 or 2 closed; the next open() must not become somebody's stdout.
 */
static void fill_std_fds(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			/* 1 is opened for reading only, so that writing results to a closed stdout
			 * fails. They stay open for the programs that we start. */
			(void)!open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY); /* lint: fd */
}

int tool_prepare_common(struct tool_ctx *c, const struct tool_common *k, struct err *e)
{
	if (k->log_level && log_set_level(k->log_level) < 0)
		return err_set(e, ERR_USAGE,
			       "--log-level: '%s' is not error, warning, info or debug",
			       k->log_level);
	c->json = k->json;
	c->dry_run = k->dry_run;
	c->timeout = k->timeout;
	c->status_fd = (int)k->status_fd;
	c->config_file = k->config;
	if (c->status_fd >= 0 && fcntl(c->status_fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_sys(e, "--status-fd %d", c->status_fd);
	return 0;
}

static int run(struct parse *p, int argc, char **argv, tool_prepare_fn *prepare, struct err *e)
{
	int n = parse_args(p, argc, argv, e);
	if (p->common.help) {
		tool_print_help(p->t, p->v, &p->common);
		return 0;
	}
	if (p->common.version) {
		printf("%s %s\n", p->t->name, VERSION);
		return 0;
	}
	if (p->common.option_table) {
		tool_print_table(p->t, &p->common);
		return 0;
	}
	/* Behind a turnstile the first words are what all runs have in common. */
	if (n < 0 || (!turnstile_given() && check_operands(p, n, e) < 0) ||
	    prepare(p->c, &p->common, e) < 0)
		return -1;
	if (turnstile_given()) {
		argv = turnstile_words(&argc);
		n = parse_args(p, argc, argv, e);
		if (n < 0 || check_operands(p, n, e) < 0 ||
		    tool_prepare_common(p->c, &p->common, e) < 0)
			return -1;
		p->c->status_fd = turnstile_socket();
	}
	return p->v->run(p->c, n, argv, e);
}

int tool_run(const struct tool *t, int argc, char **argv, tool_prepare_fn *prepare,
	     void (*finish)(struct tool_ctx *))
{
	struct tool_ctx c = {.timeout = -1, .status_fd = -1, .st = STATE_NONE, .flags = t->flags};
	struct parse p = {.t = t, .c = &c};
	struct err e = {.kind = ERR_OK};
	fill_std_fds();
	log_init(t->name);
	tool_common_init(&p.common, t->flags);
	int status = run(&p, argc, argv, prepare, &e);
	if (status < 0) {
		status = log_err(&e);
		if (e.kind == ERR_USAGE)
			fprintf(stderr, "Try '%s --help'.\n", t->name);
	}
	finish(&c);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		err_sys(&e, "write to standard output");
		log_error("%s", e.msg);
		status = status ? status : 1;
	}
	return status;
}

static int prepare_bare(struct tool_ctx *c, const struct tool_common *k, struct err *e)
{
	if (tool_prepare_common(c, k, e) < 0)
		return -1;
	c->cfg.root = k->root ? xstrdup(k->root) : NULL;
	c->cfg.runroot = k->runroot ? xstrdup(k->runroot) : NULL;
	return 0;
}

static void finish_bare(struct tool_ctx *c)
{
	free(c->cfg.root);
	free(c->cfg.runroot);
}

int tool_main_bare(const struct tool *t, int argc, char **argv)
{
	return tool_run(t, argc, argv, prepare_bare, finish_bare);
}
