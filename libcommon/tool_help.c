/* SPDX-License-Identifier: Apache-2.0 */
#include "tool_help.h"

#include "auto.h"

#include <stdio.h>
#include <string.h>

void tool_common_init(struct tool_common *c, int flags)
{
	*c = (struct tool_common){.timeout = -1, .status_fd = -1};
	const struct {
		int need, without;
		struct opt opt;
	} all[] = {
		{TOOL_STATE,
		 0,
		 {"root", 0, OPT_STRING, &c->root, "DIR", "persistent state (/var/lib/crisp)"}},
		{TOOL_STATE,
		 0,
		 {"runroot", 0, OPT_STRING, &c->runroot, "DIR", "volatile state (/run/crisp)"}},
		{0,
		 TOOL_NO_CONFIG,
		 {"config", 0, OPT_STRING, &c->config, "FILE", "configuration file"}},
		{TOOL_JSON, 0, {"json", 0, OPT_FLAG, &c->json, NULL, "print JSON"}},
		{TOOL_TIMEOUT,
		 0,
		 {"timeout", 0, OPT_SECONDS, &c->timeout, "SECONDS", "give up after so long"}},
		{TOOL_STATUS_FD,
		 0,
		 {"status-fd", 0, OPT_INT, &c->status_fd, "N",
		  "write status lines (JSON) to descriptor N"}},
		{TOOL_DRY_RUN,
		 0,
		 {"dry-run", 0, OPT_FLAG, &c->dry_run, NULL, "print what would be done"}},
		{0,
		 0,
		 {"log-level", 0, OPT_STRING, &c->log_level, "LEVEL",
		  "error, warning, info or debug"}},
		{0, 0, {"help", 'h', OPT_FLAG, &c->help, NULL, "print this text"}},
		{0, 0, {"version", 0, OPT_FLAG, &c->version, NULL, "print the version"}},
		{0, 0, {"option-table", 0, OPT_FLAG, &c->option_table, NULL, NULL}},
	};
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if ((flags & all[i].need) == all[i].need && !(flags & all[i].without))
			c->opts[n++] = all[i].opt;
	c->opts[n].name = NULL;
}

static void print_opts(const struct opt *o)
{
	for (; o && o->name; o++) {
		char head[80];
		if (!o->help) /* internal */
			continue;
		if (o->short_name)
			snprintf(head, sizeof head, "-%c, --%s%s%s", o->short_name, o->name,
				 o->arg ? " " : "", o->arg ? o->arg : "");
		else
			snprintf(head, sizeof head, "    --%s%s%s", o->name, o->arg ? " " : "",
				 o->arg ? o->arg : "");
		printf("  %-28s %s\n", head, o->help);
	}
}

static void print_verb(const struct tool *t, const struct verb *v)
{
	printf("usage: %s%s%s [options]%s%s\n%s\n", t->name, *v->name ? " " : "", v->name,
	       *v->args ? " " : "", v->args, *v->name ? v->help : t->summary);
	if (v->opts)
		puts("\nOptions:");
	print_opts(v->opts);
}

void tool_print_help(const struct tool *t, const struct verb *v, const struct tool_common *c)
{
	if (v) {
		print_verb(t, v);
	} else {
		printf("usage: %s [options] VERB [operands]\n%s\n\nVerbs:\n", t->name, t->summary);
		for (v = t->verbs; v->name; v++) {
			char head[80];
			snprintf(head, sizeof head, "%s %s", v->name, v->args);
			printf("  %-28s %s\n", head, v->help);
		}
		printf("\n'%s VERB --help' tells a verb's own options.\n", t->name);
	}
	puts("\nCommon options:");
	print_opts(t->opts);
	print_opts(c->opts);
}

static void table_rows(const char *tool, const char *verb, const struct opt *o)
{
	for (; o && o->name; o++)
		if (o->help)
			printf("%s\t%s\t--%s\t%s%c\t%s\t%s\n", tool, verb, o->name,
			       o->short_name ? "-" : "", o->short_name ? o->short_name : '-',
			       o->arg ? o->arg : "-", o->help);
}

void tool_print_table(const struct tool *t, const struct tool_common *c)
{
	table_rows(t->name, "-", t->opts);
	table_rows(t->name, "-", c->opts);
	for (const struct verb *v = t->verbs; v->name; v++) {
		printf("%s\t%s\t%s\t-\t%s\t%s\n", t->name, *v->name ? v->name : "-",
		       *v->name ? "-" : "operands", *v->args ? v->args : "-", v->help);
		table_rows(t->name, *v->name ? v->name : "-", v->opts);
	}
}
