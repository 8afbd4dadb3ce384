/* SPDX-License-Identifier: Apache-2.0 */
/* The mounts of config.json: the kernel's file systems, the pod's files, then what the request and
 * the image ask for. What the request mounts replaces ours at the same place. */
#include "bundle.h"

#include "auto.h"
#include "buf.h"
#include "edit.h"
#include "flat.h"
#include "fs.h"
#include "jsonx.h"
#include "owners.h"
#include "xalloc.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { VOLUMES_MAX = 128, HOSTS_MAX = 64 << 10 };

/* "/a//b/./c/" -> "/a/b/c"; the path has no "..". */
char *mount_tidy(const char *path)
{
	char *out = xmalloc(strlen(path) + 2), *w = out;
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		if (n && !(n == 1 && *p == '.')) {
			*w++ = '/';
			memcpy(w, p, n);
			w += n;
		}
		p += n + (p[n] == '/');
	}
	if (w == out)
		*w++ = '/';
	*w = '\0';
	return out;
}

static bool is_at_or_below(const char *path, const char *top)
{
	size_t n = strlen(top);
	return strncmp(path, top, n) == 0 && (!path[n] || path[n] == '/');
}

/* Does the request mount at `path` itself or at a directory above it? */
static bool requested(const struct bundle *b, const char *path)
{
	for (size_t i = 0; i < b->ctr->n_mounts; i++) {
		AUTO_FREE char *at = mount_tidy(b->ctr->mounts[i]->container_path);
		if (is_at_or_below(path, at))
			return true;
	}
	return false;
}

static void add_mount(json_t *out, const char *at, const char *type, const char *source,
		      json_t *options)
{
	json_array_append_new(out, json_pack("{s:s, s:s, s:s, s:o}", "destination", at, "type",
					     type, "source", source, "options", options));
}

static json_t *words(const char *list)
{
	json_t *out = json_array();
	while (*list) {
		size_t n = strcspn(list, " ");
		json_array_append_new(out, json_stringn(list, n));
		list += n + (list[n] == ' ');
	}
	return out;
}

/* sysfs shows a network namespace and can be mounted only by who has rights over it: a user namespace
 * has none over the host's. So it gets the host's mount, as the peers do it; what a file in it allows is
 * still decided by the host's ids. */
static bool add_host_sys(const struct bundle *b, json_t *out, const char *at)
{
	if (strcmp(at, "/sys") != 0 || !owners_of_pod(b) ||
	    b->pod_ns->network != RUNTIME__V1__NAMESPACE_MODE__NODE)
		return false;
	add_mount(out, at, "bind", "/sys",
		  words(handler_rro(b->cfg, b->handler) ? "rbind rprivate nosuid noexec nodev rro"
							: "rbind rprivate nosuid noexec nodev ro"));
	why(b, "mounts[/sys]",
	    "pod linux.security_context.namespace_options (network NODE, userns)");
	return true;
}

static void add_kernel(const struct bundle *b, json_t *out)
{
	static const struct {
		const char *at, *type, *source, *options;
		bool guarded; /* read-only unless privileged */
	} table[] = {
		{"/proc", "proc", "proc", "nosuid noexec nodev", false},
		{"/dev", "tmpfs", "tmpfs", "nosuid strictatime mode=755 size=65536k", false},
		{"/dev/pts", "devpts", "devpts",
		 "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5", false},
		{"/dev/mqueue", "mqueue", "mqueue", "nosuid noexec nodev", false},
		{"/sys", "sysfs", "sysfs", "nosuid noexec nodev", true},
		{"/sys/fs/cgroup", "cgroup", "cgroup", "nosuid noexec nodev relatime", true},
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if (requested(b, table[i].at) || add_host_sys(b, out, table[i].at))
			continue;
		json_t *options = words(table[i].options);
		if (table[i].guarded)
			json_array_append_new(options,
					      json_string(b->sec->privileged ? "rw" : "ro"));
		if (table[i].guarded && b->sec->privileged)
			why_at(b, "request linux.security_context.privileged",
			       "mounts[%s].options[rw]", table[i].at);
		add_mount(out, table[i].at, table[i].type, table[i].source, options);
	}
}

static void add_shm(const struct bundle *b, json_t *out)
{
	bool host = b->pod_ns->ipc == RUNTIME__V1__NAMESPACE_MODE__NODE;
	AUTO_FREE char *own = xasprintf("%s/shm", b->pod_run);
	if (requested(b, "/dev/shm"))
		return;
	why(b, "mounts[/dev/shm]",
	    host ? "pod linux.security_context.namespace_options.ipc (NODE)"
		 : "pod (its /dev/shm)");
	add_mount(out, "/dev/shm", "bind", host ? "/dev/shm" : own,
		  words("bind rprivate rw nosuid noexec nodev"));
}

static int add_pod_hosts(const struct bundle *b, struct buf *text, struct err *e)
{
	AUTO_FREE char *name = pod_hostname(b);
	const struct pod_record *p = &b->pod_rec;
	size_t i;
	json_t *ip;
	if (*name && *p->ip && buf_addf(text, e, "%s\t%s\n", p->ip, name) < 0)
		return -1;
	json_array_foreach (p->additional_ips, i, ip)
		if (*name && json_is_string(ip) &&
		    buf_addf(text, e, "%s\t%s\n", json_string_value(ip), name) < 0)
			return -1;
	return 0;
}

/* Kubelets mount an /etc/hosts; everybody else gets a plain one, on the host's network a copy of
 * the host's. */
static int write_hosts(const struct bundle *b, const char *path, struct err *e)
{
	static const char plain[] = "127.0.0.1\tlocalhost\n"
				    "::1\tlocalhost ip6-localhost ip6-loopback\n";
	struct err ignored;
	AUTO_BUF struct buf text = BUF_INIT(HOSTS_MAX);
	bool host = b->pod_ns->network == RUNTIME__V1__NAMESPACE_MODE__NODE;
	if (b->dry_run)
		return 0;
	if (!host || fs_read_at(AT_FDCWD, "/etc/hosts", &text, &ignored) < 0) {
		buf_clear(&text);
		if (buf_addstr(&text, plain, e) < 0 || add_pod_hosts(b, &text, e) < 0)
			return -1;
	}
	if (fs_replace_file_at(AT_FDCWD, path, 0644, text.data ? text.data : "", text.len, 0, e) <
	    0)
		return -1;
	uint32_t uid = 0, gid = 0;
	owners_outside(b, &uid, &gid);
	/* The umask of whoever started us must not decide what the container can read. */
	return chmod(path, 0644) < 0 || chown(path, uid, gid) < 0 ? err_sys(e, "owner of %s", path)
								  : 0;
}

static const char readonly_source[] = "request linux.security_context.readonly_rootfs";

static int add_etc(const struct bundle *b, json_t *out, struct err *e)
{
	static const char *const files[] = {"resolv.conf", "hostname"};
	const char *options = b->sec->readonly_rootfs ? "bind rprivate ro" : "bind rprivate rw";
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		AUTO_FREE char *source = xasprintf("%s/%s", b->pod_run, files[i]);
		AUTO_FREE char *at = xasprintf("/etc/%s", files[i]);
		if (!requested(b, at) && access(source, F_OK) == 0)
			add_mount(out, at, "bind", source, words(options));
		why_at(b, "pod (its file)", "mounts[%s]", at);
		if (b->sec->readonly_rootfs)
			why_at(b, readonly_source, "mounts[%s].options[ro]", at);
	}
	if (requested(b, "/etc/hosts"))
		return 0;
	AUTO_FREE char *hosts = xasprintf("%s/hosts", b->run);
	add_mount(out, "/etc/hosts", "bind", hosts, words(options));
	return write_hosts(b, hosts, e);
}

/* The optional fields of the mount that holds path ("shared:7 master:3"), a new string. */
static char *mount_peers(const char *path, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(64 << 20);
	char want[24];
	struct statx sx;
	if (statx(AT_FDCWD, path, 0, STATX_MNT_ID, &sx) < 0)
		return err_sys(e, "%s", path), NULL;
	if (fs_read_at(AT_FDCWD, "/proc/self/mountinfo", &b, e) < 0)
		return NULL;
	int n = snprintf(want, sizeof want, "%llu ", (unsigned long long)sx.stx_mnt_id);
	for (char *rest = b.data, *line; (line = strsep(&rest, "\n"));) {
		char *end = strncmp(line, want, (size_t)n) == 0 ? strstr(line, " - ") : NULL;
		if (!end)
			continue;
		*end = '\0';
		for (int i = 0; line && i < 6; i++)
			strsep(&line, " ");
		return xstrdup(line ? line : "");
	}
	return xstrdup("");
}

/* Events pass through a mount only if the host's side takes part; otherwise the container would
 * wait for mounts that never come. */
static int check_peers(const char *source, bool both_ways, struct err *e)
{
	AUTO_FREE char *peers = mount_peers(source, e);
	if (!peers)
		return -1;
	if (strstr(peers, "shared:") || (!both_ways && strstr(peers, "master:")))
		return 0;
	return err_set(e, ERR_BAD_STATE, "%s is on a mount that is not shared%s: no propagation",
		       source, both_ways ? "" : " nor a slave of a shared one");
}

static int add_propagation(struct bundle *b, const Runtime__V1__Mount *m, const char *source,
			   json_t *options, struct err *e)
{
	bool both = m->propagation == RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL;
	if (m->propagation == RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_PRIVATE) {
		json_array_append_new(options, json_string("rprivate"));
		return 0;
	}
	/* Of a mapped volume the original counts: our mount of it hears of the host in any case. */
	if (check_peers(*m->host_path ? m->host_path : source, both, e) < 0)
		return -1;
	json_array_append_new(options, json_string(both ? "rshared" : "rslave"));
	/* The root's propagation caps that of the mounts below it. */
	if (both || !b->root_propagation)
		b->root_propagation = both ? "rshared" : "rslave";
	return 0;
}

/* The path to bind, a new string: a host path with its links resolved, or an image's mount. */
static char *mount_source(struct bundle *b, size_t i, struct err *e)
{
	const Runtime__V1__Mount *m = b->ctr->mounts[i];
	if (m->image && *m->image->image)
		return image_mount_make(b, (unsigned)i, m, e);
	AUTO_FREE char *real = realpath(m->host_path, NULL);
	if (!real)
		return err_sys(e, "mounts[%zu].host_path: %s", i, m->host_path), NULL;
	if (!m->n_uidmappings)
		return TAKE(real);
	char *mapped = owners_mount_make(b, i, real, e);
	if (!mapped)
		err_wrap(e, "mounts[%zu].uidMappings", i);
	return mapped;
}

static void why_request(const struct bundle *b, size_t i, const char *at)
{
	const Runtime__V1__Mount *m = b->ctr->mounts[i];
	static const char *const propagations[] = {"rprivate", "rslave", "rshared"};
	char source[64];
	snprintf(source, sizeof source, "request mounts[%zu]", i);
	why_at(b, source, "mounts[%s]", at);
	snprintf(source, sizeof source, "request mounts[%zu].%s", i,
		 m->image && *m->image->image ? "image" : "host_path");
	why_at(b, source, "mounts[%s].source", at);
	snprintf(source, sizeof source, "request mounts[%zu].readonly", i);
	why_at(b, source, "mounts[%s].options[%s]", at, m->readonly ? "ro" : "rw");
	snprintf(source, sizeof source, "request mounts[%zu].propagation", i);
	for (size_t k = 0; k < ARRAY_LEN(propagations); k++)
		why_at(b, source, "mounts[%s].options[%s]", at, propagations[k]);
	snprintf(source, sizeof source, "request mounts[%zu].recursive_read_only", i);
	why_at(b, source, "mounts[%s].options[rro]", at);
	snprintf(source, sizeof source, "request mounts[%zu].mount_options", i);
	for (size_t k = 0; k < m->n_mount_options; k++)
		why_at(b, source, "mounts[%s].options[%s]", at, m->mount_options[k]);
}

static int add_request(struct bundle *b, size_t i, json_t *out, struct err *e)
{
	const Runtime__V1__Mount *m = b->ctr->mounts[i];
	AUTO_FREE char *at = mount_tidy(m->container_path);
	AUTO_FREE char *source = mount_source(b, i, e);
	AUTO_JSON json_t *options = words("rbind");
	if (!source)
		return -1;
	if (add_propagation(b, m, source, options, e) < 0 ||
	    (m->selinux_relabel && !(m->image && *m->image->image) &&
	     selinux_relabel(b, source, e) < 0))
		return err_wrap(e, "mounts[%zu]", i);
	json_array_append_new(options, json_string(m->readonly ? "ro" : "rw"));
	if (m->recursive_read_only)
		json_array_append_new(options, json_string("rro"));
	for (size_t k = 0; k < m->n_mount_options; k++)
		json_array_append_new(options, json_string(m->mount_options[k]));
	add_mount(out, at, "bind", source, json_incref(options));
	why_request(b, i, at);
	return 0;
}

static bool volume_is_taken(const struct bundle *b, const json_t *done, const char *at)
{
	size_t i;
	json_t *m;
	for (i = 0; i < b->ctr->n_mounts; i++) {
		AUTO_FREE char *other = mount_tidy(b->ctr->mounts[i]->container_path);
		if (strcmp(other, at) == 0)
			return true;
	}
	json_array_foreach (done, i, m)
		if (strcmp(jsonx_opt_string(m, "destination", ""), at) == 0)
			return true;
	return false;
}

static int add_volumes(struct bundle *b, json_t *out, struct err *e)
{
	json_t *config = json_object_get(b->img.config, "config"), *v;
	const char *path;
	unsigned n = 0;
	json_object_foreach (json_object_get(config, "Volumes"), path, v) {
		AUTO_FREE char *at = mount_tidy(path);
		if (path[0] != '/' || !path_is_plain(path) || !at[1])
			return err_set(e, ERR_BAD_INPUT,
				       "the image's volume '%.200s' is not an absolute path below "
				       "/",
				       path);
		if (n >= VOLUMES_MAX)
			return err_set(e, ERR_EXHAUSTED, "the image declares more than %d volumes",
				       VOLUMES_MAX);
		if (volume_is_taken(b, out, at))
			continue;
		AUTO_FREE char *source = volume_make(b, n++, at, e);
		if (!source)
			return err_wrap(e, "the image's volume %s", at);
		add_mount(out, at, "bind", source, words("rbind rprivate rw"));
		why_at(b, "image Volumes", "mounts[%s]", at);
	}
	return 0;
}

static size_t depth_of(const json_t *mount)
{
	size_t n = 0;
	for (const char *p = json_string_value(json_object_get(mount, "destination")); *p; p++)
		n += *p == '/';
	return n;
}

/* Outer before inner, or the outer would hide the inner; otherwise as they came. */
void mounts_sort(json_t *list)
{
	for (size_t i = 1; i < json_array_size(list); i++) {
		size_t at = i, depth = depth_of(json_array_get(list, i));
		while (at > 0 && depth_of(json_array_get(list, at - 1)) > depth)
			at--;
		if (at < i) {
			json_t *m = json_incref(json_array_get(list, i));
			json_array_remove(list, i);
			json_array_insert_new(list, at, m);
		}
	}
}

json_t *mounts_json(struct bundle *b, struct err *e)
{
	AUTO_JSON json_t *out = json_array();
	add_kernel(b, out);
	add_shm(b, out);
	if (add_etc(b, out, e) < 0)
		return NULL;
	for (size_t i = 0; i < b->ctr->n_mounts; i++)
		if (add_request(b, i, out, e) < 0)
			return NULL;
	if (add_volumes(b, out, e) < 0)
		return NULL;
	mounts_sort(out);
	return TAKE(out);
}
