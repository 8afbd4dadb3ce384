/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_STATE_H
#define CRISP_STATE_H
/* The state directories (DESIGN: truth is on disk) and the objects in them.
 *
 *	<root>/pods/<id>/        pod.json state.json network.json journal lock
 *	<root>/containers/<id>/  container.json state.json exit.json lock upper/ work/
 *	<root>/images/<hex>/ names/ layers/ reserved/ tmp/
 *	<runroot>/pods/<id>/     ns/ shm/ resolv.conf hostname cni/
 *	<runroot>/containers/<id>/  bundle/ monitor.lock ctl.sock
 *
 * An object (pod, container) is a directory named by 64 hex digits. Its `lock` file serialises
 * whoever changes it: order pod, container, store. Readers take no lock: every JSON file is replaced
 * atomically, but for what an object is made with (pod.json, container.json, the bundle), which is there when its
 * state.json says that it is complete.
 *
 * A creation claims a name (pod name, namespace, uid, attempt; or pod, container name, attempt) by
 * a symlink reserved/<sha256 of the name> -> id. The claim counts while the object's directory
 * exists and either its state.json says it was completed or the lock of its creator is held;
 * whatever a dead creator left is reported as abandoned, for the caller to remove and try again. */
#include "err.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

enum { ID_LEN = 64, ID_SIZE = 65 };

struct state {
	int root, run;                    /* O_PATH-like directory descriptors */
	const char *root_path, *run_path; /* borrowed */
};
#define STATE_NONE ((struct state){.root = -1, .run = -1})

enum object_kind { OBJ_POD, OBJ_CONTAINER };

/* Creates what is missing, mode 0700. The paths must outlive the state;
 * a relative path is ERR_BAD_INPUT. */
int state_open(struct state *s, const char *root, const char *runroot, struct err *e);
void state_close(struct state *s);

bool id_is_valid(const char *s);
void id_new(char id[ID_SIZE]);

/* The full id for what a person typed: an id, a unique prefix of one (at least 4 digits), or a
 * unique name (metadata.name in pod.json / container.json). ERR_NOT_FOUND, or ERR_BAD_INPUT when
 * ambiguous. */
int object_resolve(const struct state *s, enum object_kind kind, const char *typed,
		   char id[ID_SIZE], struct err *e);

/* The object's directory under root or under runroot. ERR_NOT_FOUND "no such pod ab12". The runroot
 * one is created when `create` is true. */
int object_open(const struct state *s, enum object_kind kind, const char *id, struct err *e);
int object_open_run(const struct state *s, enum object_kind kind, const char *id, bool create,
		    struct err *e);

/* pod.json and container.json in the object's directory, written once. What could not be read again is refused
 * with ERR_EXHAUSTED; a new reference, or NULL. */
int object_config_write(int dir, enum object_kind kind, const json_t *config, struct err *e);
json_t *object_config_read(int dir, enum object_kind kind, struct err *e);

/* Lock an existing object; ERR_NOT_FOUND if it went away while we waited. timeout_ms as in
 * fs_lock_at. */
int object_lock(const struct state *s, enum object_kind kind, const char *id, int timeout_ms,
		struct err *e);

/* Until whoever holds the object's lock lets go or the object is gone: for CLAIM_BUSY, before another
 * try. ERR_UNAVAILABLE when that takes longer than timeout_ms. */
int object_wait_unlocked(const struct state *s, enum object_kind kind, const char *id,
			 int timeout_ms, struct err *e);

enum object_claim { CLAIM_NEW, CLAIM_EXISTS, CLAIM_BUSY, CLAIM_ABANDONED };

struct object_new {
	enum object_claim claim;
	char id[ID_SIZE]; /* ours for CLAIM_NEW, the other's otherwise */
	int dir, lock;    /* for CLAIM_NEW: the directory and its held lock */
};

/* Claim `name` (any bytes; parts separated by '\n' by convention) and make the object's directory
 * with its lock held. want_id NULL draws a new id; an id that is in use already is ERR_EXISTS. For
 * CLAIM_NEW the caller commits by writing a state.json with "complete":true (record.h), or gives up
 * with object_discard. */
int object_create(const struct state *s, enum object_kind kind, const char *name, size_t name_len,
		  const char *want_id, struct object_new *out, struct err *e);

/* A pod with a user namespace has a root that is nobody outside, and an OCI runtime sets up its mounts
 * as that root. So runroot, its pods/ and its containers/ become 0711: who knows an id gets through,
 * nobody can look around. ERR_UNSUPPORTED naming a directory above runroot that lets nobody through. */
int state_let_through(const struct state *s, struct err *e);
/* A directory below them that only members of the group may pass: root:gid, 0710. */
int state_let_group_through(int dirfd, const char *name, gid_t gid, struct err *e);

/* Remove directory (root and runroot) and claim. Idempotent. Mounts below must be gone already. */
int object_discard(const struct state *s, enum object_kind kind, const char *id, struct err *e);

/* Call fn for every object's id; a nonzero return ends the walk and is returned. */
int object_each(const struct state *s, enum object_kind kind,
		int (*fn)(void *arg, const char *id, struct err *e), void *arg, struct err *e);

/* The kernel's boot id (36 characters), read once. */
const char *state_boot_id(void);

const char *object_dir_name(enum object_kind kind);  /* "pods" */
const char *object_kind_name(enum object_kind kind); /* "pod" */
#endif
