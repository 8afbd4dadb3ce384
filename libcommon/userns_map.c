/* SPDX-License-Identifier: Apache-2.0 */
#include "userns.h"

#include "auto.h"
#include "buf.h"

#include <inttypes.h>

enum { LINE_LEN_MAX = 34, MAP_MAX = USERNS_LINES_MAX * LINE_LEN_MAX };

static bool overlap(uint32_t a, uint32_t a_len, uint32_t b, uint32_t b_len)
{
	return a < (uint64_t)b + b_len && b < (uint64_t)a + a_len;
}

static int check_line(Runtime__V1__IDMapping *const *lines, size_t i, const char *what,
		      struct err *e)
{
	const Runtime__V1__IDMapping *m = lines[i];
	if (m->length == 0)
		return err_set(e, ERR_BAD_INPUT, "%s[%zu].length: 0 maps nothing", what, i);
	/* The highest number is "no id" to the kernel. */
	if ((uint64_t)m->container_id + m->length > UINT32_MAX ||
	    (uint64_t)m->host_id + m->length > UINT32_MAX)
		return err_set(e, ERR_BAD_INPUT,
			       "%s[%zu]: %" PRIu32 " ids from %" PRIu32 " (host: %" PRIu32
			       ") go beyond 32 bits",
			       what, i, m->length, m->container_id, m->host_id);
	for (size_t k = 0; k < i; k++)
		if (overlap(m->container_id, m->length, lines[k]->container_id, lines[k]->length) ||
		    overlap(m->host_id, m->length, lines[k]->host_id, lines[k]->length))
			return err_set(e, ERR_BAD_INPUT, "%s[%zu]: overlaps %s[%zu]", what, i, what,
				       k);
	return 0;
}

char *userns_map(Runtime__V1__IDMapping *const *lines, size_t n, const char *what, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(MAP_MAX);
	if (n == 0 || n > USERNS_LINES_MAX)
		return err_set_p(e, ERR_BAD_INPUT, "%s: %zu lines, not 1 to %d", what, n,
				 USERNS_LINES_MAX);
	for (size_t i = 0; i < n; i++)
		if (check_line(lines, i, what, e) < 0 ||
		    buf_addf(&b, e, "%" PRIu32 " %" PRIu32 " %" PRIu32 "\n", lines[i]->container_id,
			     lines[i]->host_id, lines[i]->length) < 0)
			return NULL;
	return buf_take(&b);
}

bool userns_wanted(const Runtime__V1__UserNamespace *u)
{
	return u && u->mode == RUNTIME__V1__NAMESPACE_MODE__POD;
}

/* The kernel takes more, but no client sends more, and the peers and the validation suite refuse it. */
static int check_pod_map(Runtime__V1__IDMapping *const *lines, size_t n, const char *what,
			 const char *ids, struct err *e)
{
	char field[96];
	snprintf(field, sizeof field, "%s.%s", what, ids);
	if (n != 1)
		return err_set(e, ERR_BAD_INPUT, "%s: %zu lines, a pod has exactly one", field, n);
	if (lines[0]->container_id != 0)
		return err_set(e, ERR_BAD_INPUT,
			       "%s[0].container_id: %" PRIu32 ", but id 0 must be mapped", field,
			       lines[0]->container_id);
	return check_line(lines, 0, field, e);
}

int userns_check(const Runtime__V1__UserNamespace *u, const char *what, struct err *e)
{
	if (!u)
		return 0;
	if (userns_wanted(u))
		return check_pod_map(u->uids, u->n_uids, what, "uids", e) < 0
			       ? -1
			       : check_pod_map(u->gids, u->n_gids, what, "gids", e);
	if (u->mode != RUNTIME__V1__NAMESPACE_MODE__NODE)
		return err_set(e, ERR_BAD_INPUT, "%s.mode: only POD or NODE, not %d", what,
			       (int)u->mode);
	if (u->n_uids || u->n_gids)
		return err_set(e, ERR_BAD_INPUT, "%s: mode NODE has no mappings", what);
	return 0;
}

bool userns_outside(Runtime__V1__IDMapping *const *lines, size_t n, uint32_t inside,
		    uint32_t *outside)
{
	for (size_t i = 0; i < n; i++)
		if (inside >= lines[i]->container_id &&
		    inside - lines[i]->container_id < lines[i]->length) {
			*outside = lines[i]->host_id + (inside - lines[i]->container_id);
			return true;
		}
	return false;
}

bool userns_same_map(Runtime__V1__IDMapping *const *a, size_t n_a, Runtime__V1__IDMapping *const *b,
		     size_t n_b)
{
	for (size_t i = 0; n_a == n_b && i < n_a; i++)
		if (a[i]->container_id != b[i]->container_id || a[i]->host_id != b[i]->host_id ||
		    a[i]->length != b[i]->length)
			return false;
	return n_a == n_b;
}

json_t *userns_oci_map(Runtime__V1__IDMapping *const *lines, size_t n)
{
	json_t *out = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(out, json_pack("{s:I, s:I, s:I}", "containerID",
						     (json_int_t)lines[i]->container_id, "hostID",
						     (json_int_t)lines[i]->host_id, "size",
						     (json_int_t)lines[i]->length));
	return out;
}
