/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_JOBS_TOOL_H
#define CRISP_JOBS_TOOL_H
/* How crispd starts a tool: the command line's beginning and the environment. */
#include "crispd.h"

enum { JOBS_ENV_MAX = 32 };

struct jobs_tools {
	const struct crispd *d;
	bool say_root, say_runroot; /* they differ from what the configuration says */
	char *base[8];              /* variables that every tool gets */
	size_t n_base;
	char *level; /* CRISP_LOG_LEVEL=… */
	char *proxy[JOBS_ENV_MAX];
	size_t n_proxy;
	char req[48];
	const char *env[JOBS_ENV_MAX + 16];
	struct tool_path {
		const char *tool;
		char *path;
	} paths[8];
};

void jobs_tools_init(struct jobs_tools *t, const struct crispd *d);
/* The configuration's files have been read again, as `said`; the log level is that of now. */
void jobs_tools_reload(struct jobs_tools *t, const struct config *said);
void jobs_tools_release(struct jobs_tools *t);
size_t jobs_tools_argv(const struct jobs_tools *t, const char *tool, const char **argv);
const char *const *jobs_tools_env(struct jobs_tools *t, const char *req, bool proxy);
#endif
