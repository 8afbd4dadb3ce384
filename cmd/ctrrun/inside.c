/* SPDX-License-Identifier: Apache-2.0 */
/* A command whose process only the runtime sees (handler.h, "processes"). */
#include "exec.h"

#include "auto.h"
#include "console.h"
#include "fs.h"
#include "log.h"

#include <stdio.h>
#include <stdlib.h>

static void name_of(const struct exec *x, char *out, size_t size)
{
	snprintf(out, size, "%s.inside", x->pid_file);
}

void inside_path(const struct exec *x, char *out, size_t size)
{
	char name[64];
	name_of(x, name, sizeof name);
	console_path(x->run_dir, name, out, size);
}

void inside_kill(const struct exec *x)
{
	char name[64], number[16];
	struct err e;
	struct rt_args a;
	AUTO_BUF struct buf b = BUF_INIT(32);
	name_of(x, name, sizeof name);
	if (!x->k.rec.sandboxed || fs_read_at(x->run_dir, name, &b, &e) < 0 || !b.len)
		return;
	snprintf(number, sizeof number, "%ld", strtol(b.data, NULL, 10));
	rt_begin(&a, &x->k);
	rt_add(&a, "kill");
	rt_add(&a, "--pid");
	rt_add(&a, number);
	rt_add(&a, x->k.id);
	rt_add(&a, "KILL");
	if (rt_run(&x->k, &a, rt_timeout_ms(&x->k), &e) < 0)
		log_warn("the command goes on in its sandbox: %s", e.msg);
}

void inside_forget(const struct exec *x)
{
	char name[64];
	name_of(x, name, sizeof name);
	if (x->k.rec.sandboxed && *x->pid_file)
		unlinkat(x->run_dir, name, 0);
}
