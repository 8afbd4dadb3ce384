/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PODREPLAY_ARCHIVE_H
#define PODREPLAY_ARCHIVE_H
/* A captured pod: one tar archive, compressed with zstd. podreplay-archive(5) is the manual of what is
 * in it; in short, it mirrors the state directory (state.h), so that what reads records by a `struct
 * state` reads an archive as well:
 *
 *	SHA256SUMS                      first: "<hex>  <path>" of all that follows, in its order
 *	podreplay.json                  struct of the archive, see below
 *	crisp.json                      the effective configuration (config_dump)
 *	versions.json                   of crisp, the system, kernel, runtime, CNI plugins
 *	redacted.json                   what was left out or replaced, where and why; never a value
 *	pods/<id>/                      pod.json state.json journal journal.1 network.json
 *	                                network.<n>.json resources.json, each as on disk, if it is there
 *	containers/<id>/                container.json state.json; exit.json when it has ended;
 *	                                config.json (of its bundle); log (the end of it, CRI log lines)
 *	images/<hex>/                   manifest.json config.json image.json
 *	handlers/<name>.json            the handler's file, if it has one
 *	handlers/<name>.can.json        what its runtime said of itself (handler.h)
 *	volumes/<n>.json                one mounted host path: what it is, who mounts it, its entries
 *	volumes/<n>/<path>              a regular file of it
 *	volumes/<n>.file                the mounted path itself, when it is a file
 *	oci/…                           with images: an OCI layout of them
 *
 * podreplay.json:
 *
 *	{ "format": "podreplay", "version": 1, "kind": "capture"|"replay",
 *	  "pod": {"id", "name", "namespace", "uid", "attempt", "origin", "handler", "state"},
 *	  "containers": [ {"id", "name", "attempt", "handler", "state", "image_id"} ],   oldest first
 *	  "images": [ {"id", "names": […], "pull": ["HOST/PATH@sha256:…", …], "layers": true|false} ],
 *	  "volumes": [ {"host_path", "kind", "captured": true|false, "why"} ],           <n> is the index
 *	  "with": {"images", "secrets": true|false, "volumes": […]},
 *	  "replay": {"archive": "sha256:…", "containers": {"<id here>": "<id in that archive>"},
 *	             "paths": {"<host path here>": "<host path there>"}} }
 *
 * "handler" is the resolved name. "state" of a container is what it was in truth (ctr_effective), not
 * what state.json says; one that was found to have ended without a word has an exit.json all the same.
 * "replay" is there in what `podreplay run` writes.
 *
 * Equal state gives equal bytes: nothing of an archive tells when or where it was made, entries are
 * sorted, owners and times are zero.
 *
 * An archive is hostile until arc_open has returned: only regular files with names of this layout are
 * taken, in the order of SHA256SUMS, whose digests must hold; whatever else is there, is missing or too
 * much is ERR_BAD_INPUT that names the archive and the entry, and nothing stays of it. What the files
 * say is still hostile after that: read them as documents from outside (jsonx.h). */
#include "config.h"
#include "digest.h"
#include "err.h"
#include "state.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum {
	ARC_VERSION = 1,
	ARC_PATH_MAX = 1024,
	ARC_ENTRIES_MAX = 100000,
	ARC_SUMS_MAX = 16 << 20,
	ARC_FILE_MAX = 64 << 20, /* bytes of one file that is not below oci/ */
};
#define ARC_TOTAL_MAX (1ULL << 30)    /* of all that are not */
#define ARC_UNPACKED_MAX (1ULL << 37) /* of the whole, uncompressed */

/* ---- writing (archive_write.c) */

struct arc_writer;
struct arc_writer *arc_writer_new(void);
void arc_writer_free(struct arc_writer *w);
static inline void auto_arc_writer(struct arc_writer **w)
{
	arc_writer_free(*w);
}
#define AUTO_ARC_WRITER __attribute__((cleanup(auto_arc_writer)))

/* Add a file. The bytes are copied. A path that is no archive's, or is there already, is
 * ERR_BAD_INPUT. */
int arc_add(struct arc_writer *w, const char *path, const void *data, size_t len, struct err *e);
/* Indented, keys in their order, with a newline at the end. */
int arc_add_json(struct arc_writer *w, const char *path, const json_t *j, struct err *e);
/* A large file, which is read by arc_write: dir/name must stay there and unchanged until then. */
int arc_add_file(struct arc_writer *w, const char *path, int dir, const char *name, struct err *e);
/* Call fn for each file that was added with its bytes, in the order of the archive. */
int arc_each_added(const struct arc_writer *w,
		   int (*fn)(void *arg, const char *path, const char *data, size_t len,
			     struct err *e),
		   void *arg, struct err *e);
/* Write the archive to a new file beside `out` and rename it, mode 0600; "-" is standard output. */
int arc_write(struct arc_writer *w, const char *out, struct err *e);

/* May a file of an archive have this path? */
bool arc_path_is_valid(const char *path);

/* ---- reading (archive_read.c): bytes in, files out, no file system */

/* Where the uncompressed tar stream comes from. */
struct arc_input {
	/* The next bytes, valid until the next call; 0 at the end, -1 with *e. */
	long (*next)(void *arg, const void **data, struct err *e);
	void *arg;
	bool unsummed; /* for the fuzzer, which does not find digests: do not compare them */
};
/* Where the files go, SHA256SUMS first. Each may return -1 with *e, which ends the reading. */
struct arc_sink {
	int (*begin)(void *arg, const char *path, unsigned long long size, struct err *e);
	int (*data)(void *arg, const void *data, size_t len, struct err *e);
	int (*end)(void *arg, struct err *e);
	void *arg;
};
int arc_parse(const struct arc_input *in, const struct arc_sink *out, struct err *e);

/* zstd: compressed bytes in (a descriptor, or memory when fd is -1), an arc_input out. What is not
 * one or more whole frames is ERR_BAD_INPUT; so is what grows beyond all measure. */
struct arc_unzstd;
struct arc_unzstd *arc_unzstd_new(int fd, const void *data, size_t len);
long arc_unzstd_next(void *unzstd, const void **data, struct err *e);
void arc_unzstd_free(struct arc_unzstd *z);

/* ---- an archive that is open (archive_open.c) */

enum arc_flags { ARC_WITHOUT_IMAGES = 1 /* do not unpack oci/ */ };

struct arc {
	char *path;    /* a private directory with the files; removed by arc_close */
	json_t *index; /* podreplay.json, checked: all members of the layout above have their types,
			   ids are ids, names are no longer than a file name */
	struct state st; /* st.root is that directory; there is no st.run */
	char pod[ID_SIZE];
	char digest[DIGEST_STR_LEN + 1]; /* "sha256:…" of SHA256SUMS, which stands for the whole */
};
#define ARC_NONE ((struct arc){.st = STATE_NONE})

/* Verify and unpack below `parent` (NULL: $TMPDIR, else /tmp). ERR_NOT_FOUND when there is no such
 * file. */
int arc_open(struct arc *a, const char *file, const char *parent, int flags, struct err *e);
void arc_close(struct arc *a);
#define AUTO_ARC __attribute__((cleanup(arc_close)))

/* What arc_open has found good in podreplay.json; the id of its pod. */
int arc_check_index(json_t *index, char pod_id[ID_SIZE], struct err *e);

/* A JSON file of it: arc_json(a, e, "containers/%s/config.json", id). A new reference, or NULL;
 * ERR_NOT_FOUND when it is not in the archive. */
__attribute__((format(printf, 3, 4))) json_t *arc_json(const struct arc *a, struct err *e,
						       const char *fmt, ...);
/* The descriptor of a file of it, or -1. */
__attribute__((format(printf, 3, 4))) int arc_file(const struct arc *a, struct err *e,
						   const char *fmt, ...);
#endif
