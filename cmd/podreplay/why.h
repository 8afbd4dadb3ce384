/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODREPLAY_WHY_H
#define PODREPLAY_WHY_H
/* podreplay why: a story (story.h) as one JSON document, which --json prints and why_print tells.
 *
 *	{ "version": 1,
 *	  "pod": {"id", "name", "namespace", "attempt", "handler", "origin", "state", "reason", "ip"},
 *	  "verdict": VERDICT,                  of the pod: that of what failed first
 *	  "steps": [ {"time", "rpc", "req", "command", "exit", "ms", "error", "times"} ],
 *	  "events": [ {"time", "event": "created"|"started"|"not started"|"exited", "container"} ],
 *	  "first_failed": the index of the first step that failed,
 *	  "containers": [ {"id", "name", "attempt", "image", "image_id", "handler", "state",
 *	      "asked": {"args": […], "memory_limit", "cpu_quota", "cpu_period", "pids_limit"},
 *	      "created_at", "started_at", "finished_at",
 *	      "exit": {"code", "signal", "signal_name", "oom", "reason", "meaning"},
 *	      "memory": {"peak", "limit", "limit_met": times, "now", "oom_kills", "swap_peak",
 *	          "with_swap_peak", "with_swap_limit"},
 *	      "cpu": {"limit": processors, "periods", "throttled": of them, "throttled_percent", "throttled_ms"},
 *	      "pids": {"peak", "limit", "refused": times, "now"},
 *	      "verdict": VERDICT, "log": [ {"time", "stream", "text"} ] } ] }
 *
 *	VERDICT: {"class", "text", "words": of the runtime or plugin, "failed": bool, "try": […]}
 *
 * Times are as in the journal; members without a value are left out. class is one of why_verdict.c's. */
#include "story.h"

/* What became of a container, of a pod that was made, of one that was not (failed.h). New references. */
json_t *why_verdict_ctr(const struct story *s, const struct story_ctr *c);
json_t *why_verdict_pod(const struct story *s);
json_t *why_verdict_unmade(json_t *failure);

/* 137: "killed by signal 9 (KILL)"; a new string. */
char *why_exit_meaning(const struct exit_record *x);
const char *why_signal_name(int64_t n); /* "KILL"; NULL = no such signal */
/* What it got, "memory", "cpu", "pids": config.json's linux.resources, NULL without. The limits below
 * are of this, or of what was asked for. */
json_t *why_given(const struct story_ctr *c, const char *what);
json_t *why_asked_for(const struct story_ctr *c); /* a LinuxContainerResources; NULL without */
/* The limit of memory in bytes that the container had in the end, 0 = none. */
json_int_t why_memory_limit(const struct story_ctr *c);
/* Its limit of processors, 0 = none; of processes, 0 = none. */
double why_cpu_limit(const struct story_ctr *c);
json_int_t why_pids_limit(const struct story_ctr *c);
/* Of one that has ended at its end, of one that runs so far. */
const struct cgroup_counts *why_counts(const struct story_ctr *c);
/* In how many of a hundred periods its limit of processors held it back. */
int why_throttled_percent(const struct cgroup_counts *n);
/* A step that failed: not one of a command within (ExecSync), whose status is its own. */
bool why_step_failed(const struct story_step *st);
/* 65536 as "64.0 KiB", to be freed. */
char *why_bytes(json_int_t n);

/* only: the id of the one container that is wanted, NULL = all. A new reference. */
json_t *why_document(const struct story *s, const char *only);
void why_print(json_t *doc);
#endif
