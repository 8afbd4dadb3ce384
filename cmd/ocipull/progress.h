/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCIPULL_PROGRESS_H
#define OCIPULL_PROGRESS_H
/* Tells how a pull goes, on stderr and in a file.
 *
 * bars: on a terminal a line for each layer that moves and one for all, drawn anew in place; plain:
 * that one line alone, also what bars become on a terminal that is too small; json: one object a
 * line:
 *
 *	{"event":"progress","layer":"sha256:…","state":"loading","bytes":N,"size":N}
 *
 * states: waiting (another process or an earlier layer brings it), loading, done, present.
 *
 * The file is progress.json in the pull's directory (imgstore_pulls): written at the beginning, then
 * at most twice a second, never synced; who reads it sees one version whole:
 *
 *	{"reference":"…","started":ns,"pid":N,
 *	 "layers":[{"digest":"sha256:…","state":"new","bytes":N,"size":N}, …]} */
#include "err.h"
#include "manifest.h"

#include <stdbool.h>
#include <stddef.h>

enum progress_mode { PROGRESS_NONE, PROGRESS_PLAIN, PROGRESS_BARS, PROGRESS_JSON };
enum layer_state { LAYER_NEW, LAYER_WAITING, LAYER_LOADING, LAYER_DONE, LAYER_PRESENT };

struct progress_layer {
	enum layer_state state;
	long long bytes;
};

struct progress {
	enum progress_mode mode;
	int dir; /* where the file goes, borrowed; -1 = none */
	const char *reference;
	long long started; /* ns since 1970 */
	long long begun_ms, drawn_ms, written_ms;
	const struct manifest *m;
	struct progress_layer *layers;
	size_t lines;      /* drawn on the terminal */
	size_t longest;    /* of them */
	bool dirty, stale; /* the screen, the file do not show the latest */
};

/* how: "bars", "plain", "json", "none", or NULL: bars on a terminal. */
int progress_init(struct progress *p, const char *how, struct err *e);
/* The pull has its directory; then: its layers are known. `reference` and m are borrowed. */
void progress_begin(struct progress *p, int dir, const char *reference);
void progress_layers(struct progress *p, const struct manifest *m);
void progress_state(struct progress *p, size_t layer, enum layer_state state);
/* This many bytes of the layer are here. */
void progress_bytes(struct progress *p, size_t layer, long long bytes);
/* Show what has changed when its time has come; returns when to call again (proc_now_ms), 0 = no
 * need. */
long long progress_tick(struct progress *p);
void progress_end(struct progress *p);
#endif
