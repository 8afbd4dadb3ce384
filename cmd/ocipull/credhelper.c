/* SPDX-License-Identifier: Apache-2.0 */
#include "credhelper.h"

#include "auto.h"
#include "headers.h"
#include "program.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { ANSWER_MAX = 64 << 10 };

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static const char *search_path(void)
{
	const char *path = getenv("PATH");
	return path && *path ? path : default_path;
}

/* The program's absolute path, or NULL. */
static char *find(const char *name)
{
	for (const char *p = search_path(); *p; p += *p == ':') {
		size_t n = strcspn(p, ":");
		AUTO_FREE char *file = xasprintf("%.*s/docker-credential-%s", (int)n, p, name);
		if (*p == '/' && access(file, X_OK) == 0)
			return TAKE(file);
		p += n;
	}
	return NULL;
}

static int start(struct program *c, const char *program, const char *server, struct err *e)
{
	const char *home = getenv("HOME");
	AUTO_FREE char *env_home = xasprintf("HOME=%s", home && *home ? home : "/root");
	AUTO_FREE char *env_path = xasprintf("PATH=%s", search_path());
	const char *const argv[] = {program, "get", NULL};
	const char *const envp[] = {env_home, env_path, NULL};
	int in[2];
	if (pipe2(in, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	AUTO_CLOSE int in_read = in[0];
	AUTO_CLOSE int in_write = in[1];
	/* A name fits into an empty pipe: this cannot block. */
	ssize_t len = (ssize_t)strlen(server);
	if (write(in_write, server, (size_t)len) != len)
		return err_sys(e, "write");
	struct proc_spec spec = PROC_SPEC(argv);
	spec.envp = envp;
	spec.in = in_read;
	/* Both streams together, as docker reads them. */
	return program_start(c, &spec, true, e);
}

static int take_answer(const struct program *c, const char *who, const struct proc_result *res,
		       struct auth *a, struct err *e)
{
	char said[300];
	if (res->exited && res->status == 0)
		return auth_from_helper(a, c->says.data, c->says.len, who, e);
	snprintf(said, sizeof said, "%.*s", c->says.len < 290 ? (int)c->says.len : 290,
		 c->says.data ? c->says.data : "");
	one_line(said);
	/* The words that docker's own helpers have for "none". */
	if (strstr(said, "credentials not found"))
		return 0;
	for (size_t n = strlen(said); n > 0 && said[n - 1] == ' '; n--)
		said[n - 1] = '\0';
	return err_set(e, ERR_DENIED, "%s fails (%s %d): %s", who, res->exited ? "exit" : "signal",
		       res->status, *said ? said : "it says nothing");
}

int credhelper_get(struct engine *en, const char *name, const char *host, long seconds,
		   struct auth *a, struct err *e)
{
	struct program c = PROGRAM_INIT(ANSWER_MAX);
	struct proc_result res = {.exited = false};
	char who[100];
	*a = (struct auth){.user = NULL};
	if (!auth_helper_name_is_good(name))
		return err_set(e, ERR_BAD_INPUT,
			       "auth_file: bad name of a credential helper '%.60s'", name);
	snprintf(who, sizeof who, "docker-credential-%s", name);
	AUTO_FREE char *program = find(name);
	if (!program)
		return err_set(e, ERR_DENIED, "%s, which auth_file names, is not in PATH", who);
	const char *server = strcmp(host, "docker.io") == 0 ? "https://index.docker.io/v1/" : host;
	int rc = start(&c, program, server, e);
	if (rc < 0)
		err_wrap(e, "%s", who);
	else
		rc = program_wait(&c, en, seconds, e);
	if (rc == 0)
		rc = err_set(e, ERR_DENIED, "%s: no answer within %ld s", who, seconds);
	if (rc > 0)
		rc = proc_wait(&c.proc, -1, &res, e);
	if (rc == 0)
		rc = take_answer(&c, who, &res, a, e);
	program_release(&c);
	return rc;
}
