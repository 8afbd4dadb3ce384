/* SPDX-License-Identifier: Apache-2.0 */
#include "owners.h"

#include "auto.h"
#include "flat.h"
#include "fs.h"
#include "log.h"
#include "overlay.h"
#include "userns.h"
#include "xalloc.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

const Runtime__V1__UserNamespace *owners_of_pod(const struct bundle *b)
{
	const Runtime__V1__UserNamespace *u = b->pod_ns->userns_options;
	return userns_wanted(u) ? u : NULL;
}

int owners_check(const struct bundle *b, struct err *e)
{
	static const char field[] = "namespace_options.userns_options";
	const Runtime__V1__NamespaceOption *n = b->sec->namespace_options;
	const Runtime__V1__UserNamespace *own = n ? n->userns_options : NULL,
					 *pod = owners_of_pod(b);
	if (userns_check(own, field, e) < 0)
		return -1;
	if (own && userns_wanted(own) != (pod != NULL))
		return err_set(e, ERR_BAD_INPUT, "%s.mode: %s, but the pod has %s user namespace",
			       field, userns_wanted(own) ? "POD" : "NODE", pod ? "a" : "no");
	if (pod && own &&
	    (!userns_same_map(own->uids, own->n_uids, pod->uids, pod->n_uids) ||
	     !userns_same_map(own->gids, own->n_gids, pod->gids, pod->n_gids)))
		return err_set(e, ERR_BAD_INPUT, "%s: not the mappings of the pod", field);
	if (pod && n && n->pid == RUNTIME__V1__NAMESPACE_MODE__NODE)
		return err_set(e, ERR_BAD_INPUT,
			       "namespace_options.pid: NODE does not go together with the pod's "
			       "user namespace");
	return 0;
}

int owners_check_mount(const struct bundle *b, size_t i, struct err *e)
{
	char field[64];
	const Runtime__V1__Mount *m = b->ctr->mounts[i];
	/* The kernel lets no mount out of a user namespace, and a mapped mount's peers are not. */
	if (m->propagation == RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL &&
	    (owners_of_pod(b) || m->n_uidmappings))
		return err_set(e, ERR_UNSUPPORTED,
			       "mounts[%zu].propagation: BIDIRECTIONAL does not go together with a "
			       "user namespace or mappings",
			       i);
	if (!m->n_uidmappings && !m->n_gidmappings)
		return 0;
	snprintf(field, sizeof field, "mounts[%zu].uidMappings", i);
	AUTO_FREE char *uids = userns_map(m->uidmappings, m->n_uidmappings, field, e);
	snprintf(field, sizeof field, "mounts[%zu].gidMappings", i);
	AUTO_FREE char *gids = uids ? userns_map(m->gidmappings, m->n_gidmappings, field, e) : NULL;
	return gids ? 0 : -1;
}

int owners_open(struct bundle *b, struct err *e)
{
	if (!owners_of_pod(b))
		return 0;
	AUTO_FREE char *path = xasprintf("%s/ns/user", b->pod_run);
	b->userns = open(path, O_RDONLY | O_CLOEXEC);
	return b->userns < 0
		       ? err_set(e, ERR_BAD_STATE, "the pod's user namespace is gone (%s)", path)
		       : 0;
}

int owners_check_ids(const struct bundle *b, uint32_t uid, const uint32_t *gids, size_t n,
		     struct err *e)
{
	const Runtime__V1__UserNamespace *u = owners_of_pod(b);
	uint32_t ignored;
	if (!u)
		return 0;
	if (!userns_outside(u->uids, u->n_uids, uid, &ignored))
		return err_set(e, ERR_BAD_INPUT,
			       "user %" PRIu32 " is not in the pod's user namespace", uid);
	for (size_t i = 0; i < n; i++)
		if (!userns_outside(u->gids, u->n_gids, gids[i], &ignored))
			return err_set(e, ERR_BAD_INPUT,
				       "group %" PRIu32 " is not in the pod's user namespace",
				       gids[i]);
	return 0;
}

void owners_outside(const struct bundle *b, uint32_t *uid, uint32_t *gid)
{
	const Runtime__V1__UserNamespace *u = owners_of_pod(b);
	if (!u)
		return;
	if (!userns_outside(u->uids, u->n_uids, *uid, uid))
		*uid = u->uids[0]->host_id;
	if (!userns_outside(u->gids, u->n_gids, *gid, gid))
		*gid = u->gids[0]->host_id;
}

int owners_let_through(const struct bundle *b, int dirfd, const char *name, struct err *e)
{
	const Runtime__V1__UserNamespace *u = owners_of_pod(b);
	return u ? state_let_group_through(dirfd, name, u->gids[0]->host_id, e) : 0;
}

/* A dry run looks only at what the files say: it needs no mapping. */
int owners_overlay(const struct bundle *b, const json_t *lower, const char *upper, const char *work,
		   const char *target, struct err *e)
{
	if (b->userns < 0)
		return overlay_mount(lower, upper, work, target, e);
	return idmap_overlay(lower, upper, work, target, b->userns, e);
}

static int mapping_of(const struct bundle *b, const Runtime__V1__Mount *m, struct err *e)
{
	const Runtime__V1__UserNamespace *pod = owners_of_pod(b);
	if (pod && b->userns >= 0 &&
	    userns_same_map(m->uidmappings, m->n_uidmappings, pod->uids, pod->n_uids) &&
	    userns_same_map(m->gidmappings, m->n_gidmappings, pod->gids, pod->n_gids))
		return fcntl(b->userns, F_DUPFD_CLOEXEC, 3);
	AUTO_FREE char *uids = userns_map(m->uidmappings, m->n_uidmappings, "uidMappings", e);
	AUTO_FREE char *gids =
		uids ? userns_map(m->gidmappings, m->n_gidmappings, "gidMappings", e) : NULL;
	return gids ? userns_open(uids, gids, e) : -1;
}

/* With what is mounted below, as the bind is recursive. Where one of those cannot be mapped, the
 * volume itself still is, as the runtimes do it: the rest then has no owner inside. */
static int map_tree(const char *source, int userns, struct err *e)
{
	int fd = idmap_clone(source, true, userns, e);
	if (fd >= 0 || e->kind != ERR_UNSUPPORTED)
		return fd;
	struct err whole = *e;
	fd = idmap_clone(source, false, userns, e);
	if (fd >= 0)
		log_warn("%s: what is mounted below it keeps its owners: %s", source, whole.msg);
	return fd;
}

static int make_point(const char *source, const char *point, struct err *e)
{
	struct stat st;
	if (stat(source, &st) < 0)
		return err_sys(e, "%s", source);
	if (S_ISDIR(st.st_mode))
		return fs_mkdirs(AT_FDCWD, point, 0700, e);
	AUTO_CLOSE int fd = open(point, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? err_sys(e, "create %s", point) : 0;
}

/* The mapped mount is made here and not by the runtime (mounts[].uidMappings of config.json): few
 * runtimes know those fields, runc only from 1.2 on, and one that does not would pass them over, while
 * binding a mount that is mapped already needs nothing of it. Its price is a mount on the host that
 * would hold the volume's file system busy after the container's end: so ctrrun takes it away as soon
 * as the runtime has bound it (mapped.h). */
char *owners_mount_make(struct bundle *b, size_t number, const char *source, struct err *e)
{
	const Runtime__V1__Mount *m = b->ctr->mounts[number];
	AUTO_FREE char *dir = xasprintf("%s/mapped", b->run);
	AUTO_FREE char *point = xasprintf("%s/%zu", dir, number);
	if (b->dry_run)
		return TAKE(point);
	AUTO_CLOSE int ns = mapping_of(b, m, e);
	if (ns < 0 || fs_mkdirs(AT_FDCWD, dir, 0700, e) < 0 ||
	    owners_let_through(b, AT_FDCWD, dir, e) < 0 || make_point(source, point, e) < 0)
		return NULL;
	AUTO_CLOSE int tree = map_tree(source, ns, e);
	if (tree < 0 || idmap_attach(tree, point, e) < 0)
		return NULL;
	return TAKE(point);
}
