/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_CRISPD_H
#define CRISP_CRISPD_H
/* The daemon's context: one of it, made in main.c, handed to every part. */
#include "config.h"
#include "loop.h"
#include "notify.h"
#include "state.h"

struct index;     /* index.h: what the disk says, in memory */
struct jobs;      /* jobs.h: tool runs under way */
struct reaper;    /* reaper.h: processes that are to end */
struct standbys;  /* standby.h: tools that wait for their step */
struct server;    /* server.h: the CRI socket */
struct execs;     /* svc_exec.h: ExecSync under way */
struct streaming; /* streaming.h: tokens and new connections */
struct events;    /* bus.h: the nanomsg end */
struct disk;      /* disk.h: sizes of writable layers */
struct feed;      /* feed.h: GetContainerEvents */
struct netwatch;  /* netwatch.h: is there a network */
struct admin;     /* admin.h: the socket for crispd's own verbs */
struct telemetry; /* telemetry.h: what the daemon counts of itself */
struct recorder;  /* recorder.h: every call, written to a file */

struct crispd {
	struct config cfg;
	struct config said; /* the same as the files alone have it, at the last reading */
	struct state st;
	const char *config_file; /* as given, NULL = default */
	struct loop *loop;
	struct server *server;
	struct index *index;
	struct jobs *jobs;
	struct standbys *standbys;
	struct reaper *reaper;
	struct execs *execs;
	struct streaming *streaming;
	struct events *events;
	struct feed *feed;
	struct disk *disk;
	struct netwatch *netwatch;
	struct telemetry *telemetry;
	struct recorder *recorder; /* NULL = nothing is recorded */
	struct admin *admin;
	struct notify notify;
	char *tools_dir; /* where the tools are: cfg.tools_dir, else the daemon's own directory */
};
#endif
