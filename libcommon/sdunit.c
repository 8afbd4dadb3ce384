/* SPDX-License-Identifier: Apache-2.0 */
#include "sdunit.h"

#include "auto.h"
#include "proc.h"
#include "xalloc.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { BUS_MS = 10000, PATH_LIMIT = 4096 };

#define SLICE ".slice"

char *sdunit_slice_path(const char *slice)
{
	size_t len = strlen(slice), suffix = sizeof SLICE - 1;
	struct err ignored;
	if (strcmp(slice, "-" SLICE) == 0)
		return xstrdup("");
	if (len <= suffix || len > NAME_MAX || strcmp(slice + len - suffix, SLICE) != 0 ||
	    slice[0] == '-' || slice[len - suffix - 1] == '-' || strchr(slice, '/') ||
	    strstr(slice, "--"))
		return NULL;
	len -= suffix;
	AUTO_BUF struct buf out = BUF_INIT(PATH_LIMIT);
	/* Each prefix that ends before a dash is a slice around it. */
	for (size_t i = 1; i <= len; i++)
		if ((slice[i] == '-' || i == len) &&
		    buf_addf(&out, &ignored, "/%.*s" SLICE, (int)i, slice) < 0)
			return NULL;
	return buf_take(&out);
}

char *sdunit_scope_path(const char *cgroups_path)
{
	const char *prefix = strchr(cgroups_path, ':');
	const char *name = prefix ? strchr(prefix + 1, ':') : NULL;
	if (!name || *cgroups_path == '/' || !name[1] || strchr(name, '/'))
		return NULL;
	AUTO_FREE char *slice = xstrndup(cgroups_path, (size_t)(prefix - cgroups_path));
	AUTO_FREE char *path = sdunit_slice_path(*slice ? slice : "system" SLICE);
	int n = (int)(name - prefix - 1);
	return path ? xasprintf("%s/%.*s%s%s.scope", path, n, prefix + 1, n ? "-" : "", name + 1)
		    : NULL;
}

static int ask(const char *const *words, struct err *e)
{
	static const char *const places[] = {"/usr/bin/busctl", "/bin/busctl"};
	const char *argv[32] = {places[access(places[0], X_OK) < 0],
				"--quiet",
				"call",
				"org.freedesktop.systemd1",
				"/org/freedesktop/systemd1",
				"org.freedesktop.systemd1.Manager"};
	size_t n = 6;
	struct proc_result r;
	AUTO_BUF struct buf said = BUF_INIT(512);
	while (*words && n < ARRAY_LEN(argv) - 1)
		argv[n++] = *words++;
	struct proc_spec s = PROC_SPEC(argv);
	if (proc_run(&s, NULL, 0, NULL, &said, BUS_MS, &r, e) < 0)
		return err_wrap(e, "systemd");
	if (r.exited && r.status == 0)
		return 0;
	int len = said.data ? (int)strcspn(said.data, "\n") : 0;
	return err_set(e, ERR_FAILED, "systemd: %.*s", len, len ? said.data : "");
}

int sdunit_scope(const char *scope, const char *slice, pid_t pid, struct err *e)
{
	char number[16];
	snprintf(number, sizeof number, "%d", (int)pid);
	const char *words[] = {"StartTransientUnit",
			       "ssa(sv)a(sa(sv))",
			       scope,
			       "fail",
			       "4",
			       "PIDs",
			       "au",
			       "1",
			       number,
			       "Slice",
			       "s",
			       slice,
			       "CollectMode",
			       "s",
			       "inactive-or-failed",
			       "DefaultDependencies",
			       "b",
			       "false",
			       "0",
			       NULL};
	return ask(words, e);
}

int sdunit_stop(const char *unit, struct err *e)
{
	const char *words[] = {"StopUnit", "ss", unit, "replace", NULL};
	return ask(words, e);
}
