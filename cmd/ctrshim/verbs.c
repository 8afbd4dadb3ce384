/* SPDX-License-Identifier: Apache-2.0 */
#include "shim.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "signame.h"
#include "xalloc.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const char *update_resources = "-", *ps_format = "table";
bool kill_all;

enum { CONFIG_MAX = 16 << 20, INPUT_MAX = 1 << 20 };

/* An existing container and a connection to its shim. */
static int open_both(struct place *p, struct task *t, const char *id, struct err *e)
{
	if (place_open(p, id, false, e) < 0)
		return -1;
	return task_open(t, p, e);
}

int verb_start(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_PLACE struct place p = PLACE_NONE;
	AUTO_TASK struct task t = TASK_NONE;
	(void)c;
	(void)argc;
	return open_both(&p, &t, argv[0], e) < 0 ? -1 : task_start(&t, p.id, "", NULL, e);
}

int verb_kill(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_PLACE struct place p = PLACE_NONE;
	AUTO_TASK struct task t = TASK_NONE;
	int number = SIGTERM;
	(void)c;
	if (argc > 1 && signame_parse(argv[1], &number, e) < 0)
		return -1;
	return open_both(&p, &t, argv[0], e) < 0 ? -1
						 : task_kill(&t, p.id, "", number, kill_all, e);
}

static int simple(const char *method, const char *id, struct err *e)
{
	AUTO_PLACE struct place p = PLACE_NONE;
	AUTO_TASK struct task t = TASK_NONE;
	Shim__IdRequest r = SHIM__ID_REQUEST__INIT;
	if (open_both(&p, &t, id, e) < 0)
		return -1;
	r.id = p.id;
	return task_empty(&t, method, &r.base, e);
}

int verb_pause(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	(void)c;
	(void)argc;
	return simple("Pause", argv[0], e);
}

int verb_resume(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	(void)c;
	(void)argc;
	return simple("Resume", argv[0], e);
}

/* A shim that is dead has taken its containers with it; delete ends what is left. */
static const char *status_of(const struct place *p, struct err *e)
{
	static const char *const names[] = {"unknown", "created", "running",
					    "stopped", "paused",  "paused"};
	AUTO_TASK struct task t = TASK_NONE;
	enum task_state state;
	if (!p->rec.complete)
		return "creating";
	if (task_open(&t, p, e) == 0 && task_state(&t, p->id, &state, e) == 0)
		return names[state];
	return e->kind == ERR_UNAVAILABLE || e->kind == ERR_NOT_FOUND ? "stopped" : NULL;
}

int verb_state(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_PLACE struct place p = PLACE_NONE;
	char created[64];
	struct tm tm;
	(void)c;
	(void)argc;
	if (place_open(&p, argv[0], false, e) < 0)
		return -1;
	const char *status = status_of(&p, e);
	AUTO_JSON json_t *config =
		status ? jsonx_read_at(p.dir, "config.json", CONFIG_MAX, e) : NULL;
	if (!config)
		return -1;
	time_t seconds = (time_t)(p.rec.created_at / 1000000000);
	gmtime_r(&seconds, &tm);
	size_t n = strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(created + n, sizeof created - n, ".%09dZ", (int)(p.rec.created_at % 1000000000));
	bool runs = strcmp(status, "stopped") != 0;
	const char *rootfs = jsonx_opt_string(json_object_get(config, "root"), "path", "");
	AUTO_JSON json_t *j =
		json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s}", "ociVersion",
			  jsonx_opt_string(config, "ociVersion", "1.0.2"), "id", p.id, "pid",
			  !runs ? 0 : (int)(p.rec.pid ? p.rec.pid : p.rec.keeper), "status", status,
			  "bundle", p.rec.bundle, "rootfs", rootfs, "created", created);
	json_t *annotations = json_object_get(config, "annotations");
	if (annotations)
		json_object_set(j, "annotations", annotations);
	json_dumpf(j, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}

int verb_ps(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	AUTO_PLACE struct place p = PLACE_NONE;
	AUTO_TASK struct task t = TASK_NONE;
	Shim__IdRequest r = SHIM__ID_REQUEST__INIT;
	Shim__PidsResponse *answer;
	bool json = strcmp(ps_format, "json") == 0;
	(void)c;
	(void)argc;
	if (!json && strcmp(ps_format, "table") != 0)
		return err_set(e, ERR_USAGE, "--format: '%.32s' is not table or json", ps_format);
	if (open_both(&p, &t, argv[0], e) < 0)
		return -1;
	r.id = p.id;
	if (task_call(&t, "Pids", &r.base, &shim__pids_response__descriptor, &answer, e) < 0)
		return -1;
	printf(json ? "[" : "PID\n");
	for (size_t i = 0; i < answer->n_processes; i++)
		printf(json ? "%s%u" : "%s%u\n", json && i ? "," : "", answer->processes[i]->pid);
	if (json)
		printf("]\n");
	shim__pids_response__free_unpacked(answer, NULL);
	return 0;
}

int verb_update(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	static char type[] = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";
	AUTO_PLACE struct place p = PLACE_NONE;
	AUTO_TASK struct task t = TASK_NONE;
	AUTO_BUF struct buf b = BUF_INIT(INPUT_MAX);
	Shim__UpdateTaskRequest r = SHIM__UPDATE_TASK_REQUEST__INIT;
	Shim__Any any = SHIM__ANY__INIT;
	(void)c;
	(void)argc;
	if (fs_read_operand(update_resources, &b, e) < 0)
		return -1;
	AUTO_JSON json_t *j = jsonx_parse(b.data ? b.data : "", b.len, "resources", e);
	if (!j || open_both(&p, &t, argv[0], e) < 0)
		return -1;
	if (!json_is_object(j))
		return err_set(e, ERR_BAD_INPUT, "resources: expected object");
	any.type_url = type;
	any.value = (ProtobufCBinaryData){.len = b.len, .data = (uint8_t *)b.data};
	r.id = p.id;
	r.resources = &any;
	return task_empty(&t, "Update", &r.base, e);
}

/* Honest: what goes through a shim, and no more. */
int verb_features(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	static const char *const verbs_missing[] = {"org.opencontainers.runc.checkpoint.enabled",
						    "run.oci.crun.checkpoint.enabled"};
	AUTO_BUF struct buf b = BUF_INIT(INPUT_MAX);
	(void)c;
	(void)argc;
	(void)argv;
	if (boot_features(&b, e) < 0)
		return -1;
	AUTO_JSON json_t *j = jsonx_parse(b.data ? b.data : "", b.len, "features", e);
	if (!j)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(verbs_missing); i++)
		json_object_del(json_object_get(j, "annotations"), verbs_missing[i]);
	json_dumpf(j, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}
