/* SPDX-License-Identifier: Apache-2.0 */
/* Apart from state.c, so that only who creates objects is linked with libcrypto. */
#include "auto.h"
#include "digest.h"
#include "fs.h"
#include "jsonx.h"
#include "state.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { RECORD_MAX = 4 << 20 };

static bool is_complete(int dir)
{
	struct err ignored;
	AUTO_JSON json_t *j = jsonx_read_at(dir, "state.json", RECORD_MAX, &ignored);
	return jsonx_opt_bool(j, "complete", false);
}

/* Is the object that a claim points at finished, being made, or left by a dead creator? Called with
 * the claims' lock held, so that nobody is between symlink and directory. */
static enum object_claim judge(const struct state *s, enum object_kind kind, const char *id)
{
	struct err ignored;
	AUTO_CLOSE int dir = object_open(s, kind, id, &ignored);
	if (dir < 0)
		return CLAIM_NEW;
	if (is_complete(dir))
		return CLAIM_EXISTS;
	if (fs_is_locked_at(dir, "lock", &ignored) == 1)
		return CLAIM_BUSY;
	/* Its creator may have ended between the two looks: well, or by removing it. */
	if (is_complete(dir))
		return CLAIM_EXISTS;
	AUTO_CLOSE int again = object_open(s, kind, id, &ignored);
	return again < 0 ? CLAIM_NEW : CLAIM_ABANDONED;
}

static int make_object(const struct state *s, enum object_kind kind, const char *claim,
		       struct object_new *out, struct err *e)
{
	char path[96];
	snprintf(path, sizeof path, "%s/%s", object_dir_name(kind), out->id);
	/* The claim comes first: a crash after this line leaves a link to nothing, which counts as
	 * free. */
	if (symlinkat(out->id, s->root, claim) < 0)
		return err_sys(e, "claim %s", claim);
	if (mkdirat(s->root, path, 0700) < 0) {
		err_sys(e, "%s %s", object_kind_name(kind), out->id);
		unlinkat(s->root, claim, 0);
		return -1;
	}
	AUTO_CLOSE int dir = object_open(s, kind, out->id, e);
	if (dir < 0)
		return -1;
	out->lock = fs_lock_at(dir, "lock", 0, e);
	if (out->lock < 0)
		return -1;
	/* Its name, so that removal finds the claim whatever else is damaged. */
	if (symlinkat(claim, dir, "claim") < 0)
		return err_sys(e, "record claim");
	out->dir = TAKE_FD(dir);
	out->claim = CLAIM_NEW;
	return 0;
}

int object_create(const struct state *s, enum object_kind kind, const char *name, size_t name_len,
		  const char *want_id, struct object_new *out, struct err *e)
{
	char hex[DIGEST_HEX_LEN + 1], claim[80], found[ID_SIZE] = "";
	*out = (struct object_new){.dir = -1, .lock = -1};
	if (want_id && !id_is_valid(want_id))
		return err_set(e, ERR_BAD_INPUT, "'%.80s' is not an id (64 hex digits)", want_id);
	digest_of(name, name_len, hex);
	snprintf(claim, sizeof claim, "reserved/%s", hex);
	AUTO_CLOSE int guard = fs_lock_at(s->root, "reserved/.lock", 10000, e);
	if (guard < 0)
		return -1;
	ssize_t n = readlinkat(s->root, claim, found, ID_LEN);
	if (n == ID_LEN && id_is_valid(found)) {
		out->claim = judge(s, kind, found);
		memcpy(out->id, found, ID_SIZE);
		if (out->claim != CLAIM_NEW)
			return 0;
	}
	if (n >= 0 && unlinkat(s->root, claim, 0) < 0 && errno != ENOENT)
		return err_sys(e, "drop stale claim %s", claim);
	if (want_id)
		memcpy(out->id, want_id, ID_SIZE);
	else
		id_new(out->id);
	return make_object(s, kind, claim, out, e);
}
