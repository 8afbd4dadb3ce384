/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODREPLAY_STORY_H
#define PODREPLAY_STORY_H
/* What the records tell of a pod: the steps of its journal, its containers with their configurations,
 * states and ends, the last lines of their logs. It is read alike from the state directories of this
 * machine and from an archive (archive.h), and nothing in it is trusted: a record that is damaged or
 * missing leaves its part empty. */
#include "archive.h"
#include "record.h"
#include "usage.h"

#include <stdbool.h>
#include <stdint.h>

enum { STORY_STEPS_MAX = 100000, STORY_LOG_MAX = 1 << 20 };

/* One line of the journal (journal.h). */
struct story_step {
	int64_t when; /* ns since 1970 */
	char *command;
	char *rpc;   /* "hand" for a tool that was run by hand */
	char *req;   /* "" = none */
	char *error; /* "" = none */
	int exit_status;
	long long ms;
	size_t times; /* how often in a row, with the same result (probes) */
};

struct story_ctr {
	char id[ID_SIZE];
	char *name; /* "" when its configuration does not tell */
	json_int_t attempt;
	json_t *config; /* container.json, or NULL */
	json_t *spec;   /* config.json of its bundle, or NULL */
	struct ctr_record rec;
	bool has_rec;
	enum ctr_state state;
	struct exit_record exit; /* when state is CTR_EXITED */
	struct usage use;        /* of one that runs on this machine; nothing of it is known else */
	struct cgroup_counts so_far; /* of the same */
	char *log;                   /* the end of it, CRI log lines; NULL = none */
	size_t log_len;
};

struct story {
	char pod[ID_SIZE];
	json_t *config; /* pod.json, or NULL */
	struct pod_record rec;
	bool has_rec;
	json_t *index; /* podreplay.json, borrowed; NULL unless read from an archive */
	json_t *crisp; /* the configuration that counted: crisp.json, or config_dump */
	struct story_step *steps;
	size_t n_steps;
	struct story_ctr *ctrs; /* oldest first */
	size_t n_ctrs;
};

/* cfg: the present configuration. log_lines: of each container. */
int story_read(struct story *s, const struct state *st, const struct config *cfg, const char *pod,
	       long log_lines, struct err *e);
int story_read_archive(struct story *s, const struct arc *a, struct err *e);
void story_release(struct story *s);
#define AUTO_STORY __attribute__((cleanup(story_release)))

/* ---- story_journal.c: pure */

/* Append the steps of a journal's text; lines that are no steps are passed over. A step that is like the
 * one before, of the same RPC with the same result, is counted in its `times` when it is ExecSync. */
void story_add_journal(struct story *s, const char *text, size_t len);
/* Is it that verb of that tool ("ocibundle", "create"), whatever its options and its directory? */
bool story_step_is(const struct story_step *st, const char *tool, const char *verb);
/* "2026-08-22T10:00:00.123456789Z" as ns; false when it is none. */
bool story_time(const char *s, size_t len, int64_t *ns);

/* A line of the CRI log format: text without stamp and tags, which may be one of several pieces. */
struct story_line {
	const char *stamp, *text;
	size_t stamp_len, len;
	bool is_stderr, is_partial;
};
/* The line that begins at *at, which moves on; false at the end. */
bool story_next_line(const char *log, size_t log_len, size_t *at, struct story_line *l);
#endif
