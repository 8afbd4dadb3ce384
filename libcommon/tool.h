/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_TOOL_H
#define CRISP_TOOL_H
/* The frame of every program: one table of options and verbs gives the parser, the usage errors,
 * --help and the completions. A main is
 *
 *	int main(int argc, char **argv) { return tool_main(&tool, argc, argv); }
 *
 * tool_main sets up logging, parses, loads the configuration, opens the state directories when the tool asks for
 * them, waits when it was started before it is wanted (gate.h, turnstile.h), runs the verb, prints its error and checks that stdout
 * could be written.
 * Options that mean the same everywhere are declared by flag (enum tool_flags), never by hand. */
#include "config.h"
#include "err.h"
#include "state.h"

#include <stdbool.h>

enum opt_type {
	OPT_FLAG,    /* bool *: set to true */
	OPT_STRING,  /* const char ** */
	OPT_INT,     /* long *: decimal, may be negative */
	OPT_SECONDS, /* double *: seconds, fractions allowed, not negative */
	OPT_STRINGS, /* struct opt_strings *: may be repeated */
};

enum { OPT_STRINGS_MAX = 64 };
struct opt_strings {
	const char *v[OPT_STRINGS_MAX];
	int count;
};

struct opt {
	const char *name; /* without the dashes; NULL ends a table */
	char short_name;  /* 0 = none */
	enum opt_type type;
	void *value;
	const char *arg; /* placeholder in the help; NULL for flags */
	const char *help;
};

/* Everything a verb gets that did not come from its own option table. */
struct tool_ctx {
	struct config cfg;
	struct state st;         /* open when the tool has TOOL_STATE */
	const char *config_file; /* as given, NULL = default */
	bool json;               /* --json */
	bool dry_run;            /* --dry-run */
	double timeout;          /* --timeout in seconds, < 0 = not given */
	int status_fd;           /* --status-fd, -1 = not given */
	int flags;               /* the tool's */
};

struct verb {
	const char *name;       /* NULL ends a table; "" = the tool has no verbs */
	const char *args;       /* operands in the help, e.g. "POD-ID CTR.json" */
	const char *help;       /* one line */
	const struct opt *opts; /* NULL = none */
	int min_args, max_args; /* max -1 = any number */
	/* Returns 0, another exit status for the process, or -1 with *e. argv holds the operands
	 * only. */
	int (*run)(struct tool_ctx *c, int argc, char **argv, struct err *e);
};

enum tool_flags {
	TOOL_STATE = 1,      /* --root, --runroot: the state directories are opened */
	TOOL_JSON = 2,       /* --json */
	TOOL_TIMEOUT = 4,    /* --timeout SECONDS */
	TOOL_DRY_RUN = 8,    /* --dry-run */
	TOOL_STATUS_FD = 16, /* --status-fd N */
	TOOL_NO_CONFIG = 32, /* no --config and no configuration is read */
	TOOL_OPERANDS_LAST =
		64, /* options end at the first operand (exec: the rest is a command) */
	TOOL_STATE_LATER =
		128, /* with TOOL_STATE: a verb that needs the directories opens them itself */
};

struct tool {
	const char *name;
	const char *summary; /* one line, for --help and completions */
	int flags;
	const struct opt *opts; /* valid for every verb; NULL = none */
	const struct verb *verbs;
};

int tool_main(const struct tool *t, int argc, char **argv);
/* The same for a program that must stay small (ctrmon): no configuration is read, no directory is
 * opened, neither jansson nor libcrypto is linked. cfg.root and cfg.runroot are what --root and
 * --runroot gave (NULL = not given), the rest of cfg is not set. */
int tool_main_bare(const struct tool *t, int argc, char **argv);

/* Parsers of single values, used by the tables; 0 or -1. */
int tool_parse_long(const char *s, long *out);
int tool_parse_seconds(const char *s, double *out);
#endif
