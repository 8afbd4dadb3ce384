/* SPDX-License-Identifier: Apache-2.0 */
#include "ctr.h"

#include "attach.h"
#include "ckpt.h"
#include "handlers.h"

#include "auto.h"
#include "journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct opt create_opts[] = {
	{"defer-errors", 0, OPT_FLAG, &create_defer_errors, NULL,
	 "a refusal of the runtime is told by start"},
	{0},
};
static const struct opt rm_opts[] = {
	{"force", 'f', OPT_FLAG, &rm_force, NULL, "also a running container, which is killed"},
	{0},
};
static const struct opt exec_opts[] = {
	{"tty", 't', OPT_FLAG, &exec_tty, NULL, "give the command a terminal"},
	{"stdin", 'i', OPT_FLAG, &exec_stdin, NULL, "pass our standard input on"},
	{"collect", 0, OPT_FLAG, &exec_collect, NULL,
	 "its output goes, with the status, to the socket of --status-fd"},
	{"detach-keys", 0, OPT_STRING, &attach_keys, "KEYS", "how to leave (ctrl-p,ctrl-q)"},
	{0},
};
static const struct opt attach_opts[] = {
	{"no-stdin", 0, OPT_FLAG, &attach_no_stdin, NULL, "only look on"},
	{"detach-keys", 0, OPT_STRING, &attach_keys, "KEYS", "how to leave (ctrl-p,ctrl-q)"},
	{0},
};
static const struct opt logs_opts[] = {
	{"follow", 'f', OPT_FLAG, &logs_follow, NULL, "go on until the container ends"},
	{"tail", 'n', OPT_INT, &logs_tail, "N", "only the last N lines"},
	{"since", 0, OPT_STRING, &logs_since, "TIME", "only lines after 10m ago, or a time"},
	{"timestamps", 0, OPT_FLAG, &logs_timestamps, NULL, "begin each line with its time"},
	{0},
};

static const struct opt ckpt_opts[] = {
	{"option", 'o', OPT_STRINGS, &ckpt_option_words, "KEY=BOOL",
	 "tcp-established, file-locks or ext-unix-sk; may be repeated"},
	{0},
};

/* Verbs that change a container leave a line in its pod's journal when they are run by hand. */
struct hand_step {
	const char *words[8];
	size_t n;
	char id[ID_SIZE], pod[ID_SIZE], timeout[32];
};

static void add_word(struct hand_step *h, const char *word)
{
	if (word && h->n + 1 < ARRAY_LEN(h->words))
		h->words[h->n++] = word;
}

/* Before the verb runs: afterwards the record may be gone. */
static void note_begin(struct hand_step *h, const struct tool_ctx *c, const char *name, char **argv)
{
	struct err ignored;
	AUTO_CTR_RECORD struct ctr_record r = {0};
	if (getenv("CRISP_REQ") ||
	    object_resolve(&c->st, OBJ_CONTAINER, argv[0], h->id, &ignored) < 0 ||
	    ctr_record_read(&c->st, h->id, &r, &ignored) < 0 || !id_is_valid(r.pod_id))
		return;
	memcpy(h->pod, r.pod_id, ID_SIZE);
	add_word(h, name);
	if (create_defer_errors)
		add_word(h, "--defer-errors");
	if (rm_force)
		add_word(h, "--force");
	if (c->timeout >= 0) {
		snprintf(h->timeout, sizeof h->timeout, "--timeout=%g", c->timeout);
		add_word(h, h->timeout);
	}
	add_word(h, h->id);
	add_word(h, argv[1]);
}

static int noted(struct tool_ctx *c, int argc, char **argv, struct err *e, const char *name,
		 int (*verb)(struct tool_ctx *, int, char **, struct err *))
{
	struct hand_step h = {.n = 0};
	int64_t began = record_now_ns();
	note_begin(&h, c, name, argv);
	int r = verb(c, argc, argv, e);
	if (*h.pod)
		journal_by_hand(&c->st, h.pod, h.words, NULL, began, r < 0 ? e : NULL);
	return r;
}

#define NOTED(name) \
	static int noted_##name(struct tool_ctx *c, int argc, char **argv, struct err *e) \
	{ \
		return noted(c, argc, argv, e, #name, verb_##name); \
	}
NOTED(create)
NOTED(start)
NOTED(stop)
NOTED(kill)
NOTED(rm)
NOTED(update)
NOTED(pause)
NOTED(resume)
NOTED(checkpoint)
NOTED(restore)

static const struct verb verbs[] = {
	{"create", "CTR", "create a prepared container by its runtime", create_opts, 1, 1,
	 noted_create},
	{"start", "CTR", "start a created container", NULL, 1, 1, noted_start},
	{"stop", "CTR", "signal, wait for --timeout, kill", NULL, 1, 1, noted_stop},
	{"kill", "CTR SIGNAL", "send a signal to the container's first process", NULL, 2, 2,
	 noted_kill},
	{"rm", "CTR", "remove what create made; the bundle stays", rm_opts, 1, 1, noted_rm},
	{"update", "CTR FILE|-", "change the limits to those of a LinuxContainerResources", NULL, 2,
	 2, noted_update},
	{"pause", "CTR", "freeze all that runs in it", NULL, 1, 1, noted_pause},
	{"resume", "CTR", "let a paused one run on", NULL, 1, 1, noted_resume},
	{"checkpoint", "CTR FILE", "save a running container as an archive; it runs on", ckpt_opts,
	 2, 2, noted_checkpoint},
	{"checkpoint-pod", "POD DIR CTR...",
	 "save running containers of one pod at one moment into an empty directory", ckpt_opts, 3,
	 -1, verb_checkpoint_pod},
	{"checkpoint-check", "DIR HANDLER NAME...",
	 "is that what such a directory has, and can the handler restore it?", NULL, 3, -1,
	 verb_checkpoint_check},
	{"restore", "CTR DIR", "as create, from such a directory; start lets it run on", ckpt_opts,
	 2, 2, noted_restore},
	{"thaw", "[POD]", "end what checkpoints that were killed have left", NULL, 0, 1, verb_thaw},
	{"exec", "CTR COMMAND...", "run a command in a running container", exec_opts, 2, -1,
	 verb_exec},
	{"attach", "CTR", "sit at a running container's streams", attach_opts, 1, 1, verb_attach},
	{"logs", "CTR", "print the container's log", logs_opts, 1, 1, verb_logs},
	{"state", "CTR", "print record and present state as JSON", NULL, 1, 1, verb_state},
	{"ls", "", "list containers, newest first", ls_opts, 0, 0, verb_ls},
	{"handlers", "", "ask each handler's runtime what it can do", handlers_opts, 0, 0,
	 verb_handlers},
	{"adopt", "CTR", "give a container that lost its monitor a new one", NULL, 1, 1,
	 verb_adopt},
	{"reopen", "CTR", "open the log anew after it was renamed", NULL, 1, 1, verb_reopen},
	{0},
};

static const struct tool tool = {
	.name = "ctrrun",
	.summary = "container life cycle by any OCI runtime",
	.flags = TOOL_STATE | TOOL_JSON | TOOL_TIMEOUT | TOOL_STATUS_FD | TOOL_OPERANDS_LAST,
	.verbs = verbs,
};

int main(int argc, char **argv)
{
	if (argc > 0 && restore_is_script(argv[0]))
		return restore_script(argv[0]);
	return tool_main(&tool, argc, argv);
}
