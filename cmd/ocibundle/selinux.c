/* SPDX-License-Identifier: Apache-2.0 */
/* SELinux on hosts that have it: the label of the container's processes, that of its files, and the
 * relabelling of volumes. What a container is by default stands in the policy's lxc_contexts, as for
 * every other engine; the level, which keeps pods apart, is made from the pod's id when nobody says
 * another. */
#include "bundle.h"

#include "auto.h"
#include "digest.h"
#include "flat.h"
#include "fs.h"
#include "overlay.h"
#include "xalloc.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { CATEGORIES = 1024, DEPTH_MAX = 512 };

bool host_has_selinux(void)
{
	return access("/sys/fs/selinux/enforce", F_OK) == 0;
}

/* The value of NAME = "VALUE" or NAME=VALUE in a file of such lines, a new string; the fallback when
 * there is none. */
static char *setting(const char *file, const char *name, const char *fallback)
{
	struct err ignored;
	AUTO_BUF struct buf b = BUF_INIT(1 << 20);
	size_t n = strlen(name);
	if (fs_read_at(AT_FDCWD, file, &b, &ignored) < 0 || !b.len)
		return xstrdup(fallback);
	for (char *rest = b.data, *line; (line = strsep(&rest, "\n"));) {
		line += strspn(line, " \t");
		if (strncmp(line, name, n) != 0)
			continue;
		line += n;
		line += strspn(line, " \t");
		if (*line++ != '=')
			continue;
		line += strspn(line, " \t\"");
		return xstrndup(line, strcspn(line, " \t\""));
	}
	return xstrdup(fallback);
}

/* user:role:type:level of the policy's defaults for "process" or "file". */
static char *policy_context(const char *which, const char *fallback)
{
	AUTO_FREE char *type = setting("/etc/selinux/config", "SELINUXTYPE", "targeted");
	AUTO_FREE char *file = xasprintf("/etc/selinux/%s/contexts/lxc_contexts", type);
	return setting(file, which, fallback);
}

/* "s0:c5,c77": two different categories of the pod's own. */
static char *pod_level(const struct bundle *b)
{
	char hex[DIGEST_HEX_LEN + 1];
	digest_of(b->pod_rec.id, strlen(b->pod_rec.id), hex);
	hex[8] = '\0';
	unsigned long n = strtoul(hex, NULL, 16);
	unsigned long first = n % CATEGORIES, second = n / CATEGORIES % (CATEGORIES - 1);
	second += second >= first;
	return xasprintf("s0:c%lu,c%lu", first < second ? first : second,
			 first < second ? second : first);
}

/* The default with those fields replaced that are given; NULL keeps one. */
static char *compose(char *context, const char *user, const char *role, const char *type,
		     const char *level)
{
	const char *given[] = {user, role, type};
	const char *part[3];
	char *rest = context;
	for (size_t i = 0; i < ARRAY_LEN(part); i++) {
		part[i] = rest ? strsep(&rest, ":") : "";
		if (given[i] && *given[i])
			part[i] = given[i];
	}
	return xasprintf("%s:%s:%s:%s", part[0], part[1], part[2], level);
}

/* Does the loaded policy know such a context? */
static int check_context(const char *label, struct err *e)
{
	AUTO_CLOSE int fd = open("/sys/fs/selinux/context", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "/sys/fs/selinux/context");
	if (write(fd, label, strlen(label) + 1) >= 0)
		return 0;
	if (errno == EINVAL)
		return err_set(e, ERR_BAD_INPUT,
			       "selinux_options: this host's policy has no context '%.200s'",
			       label);
	return err_sys(e, "/sys/fs/selinux/context");
}

int selinux_labels(const struct bundle *b, char **process, char **file, struct err *e)
{
	const Runtime__V1__SELinuxOption *o = b->sec->selinux_options;
	bool asked = o && (*o->user || *o->role || *o->type || *o->level);
	*process = *file = NULL;
	/* A privileged container is not confined, unless it wants to be. */
	if (!host_has_selinux() || (b->sec->privileged && !asked))
		return 0;
	AUTO_FREE char *level = o && *o->level ? xstrdup(o->level) : pod_level(b);
	AUTO_FREE char *run = policy_context("process", "system_u:system_r:container_t:s0");
	AUTO_FREE char *data = policy_context("file", "system_u:object_r:container_file_t:s0");
	AUTO_FREE char *process_label =
		compose(run, o ? o->user : NULL, o ? o->role : NULL, o ? o->type : NULL, level);
	AUTO_FREE char *file_label = compose(data, NULL, NULL, NULL, level);
	if (check_context(process_label, e) < 0 || check_context(file_label, e) < 0)
		return -1;
	*process = TAKE(process_label);
	*file = TAKE(file_label);
	return 0;
}

int add_selinux(const struct bundle *b, json_t *process, json_t *lin, struct err *e)
{
	static const char from[] = "request linux.security_context.selinux_options";
	AUTO_FREE char *run = NULL;
	AUTO_FREE char *data = NULL;
	if (selinux_labels(b, &run, &data, e) < 0)
		return -1;
	if (!run)
		return 0;
	json_object_set_new(process, "selinuxLabel", json_string(run));
	json_object_set_new(lin, "mountLabel", json_string(data));
	why(b, "process.selinuxLabel", "%s", b->sec->selinux_options ? from : "pod (its level)");
	why(b, "linux.mountLabel", "%s", b->sec->selinux_options ? from : "pod (its level)");
	return 0;
}

/* Where selinuxfs is mounted and no policy is in force for us (a container of another engine has that),
 * processes have no context, and the kernel would not know the option. */
static bool is_in_force(void)
{
	char own[256];
	AUTO_CLOSE int fd = open("/proc/self/attr/current", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, own, sizeof own);
	return n > 0 && memchr(own, ':', (size_t)n);
}

int selinux_root(const struct bundle *b, struct err *e)
{
	AUTO_FREE char *run = NULL;
	char *data = NULL;
	if (!host_has_selinux() || !is_in_force())
		return 0;
	if (selinux_labels(b, &run, &data, e) < 0)
		return -1;
	overlay_context = data; /* as long as this program runs */
	return 0;
}

/* Never by way of a link; a file that has gone meanwhile is none. */
static int relabel_tree(int parent, const char *name, const char *label, int depth, struct err *e)
{
	char path[64];
	struct stat st;
	AUTO_CLOSE int fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return errno == ENOENT && depth ? 0 : err_sys(e, "relabel %s", name);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (S_ISLNK(st.st_mode))
		return 0; /* what it points at has a label of its own */
	if (setxattr(path, "security.selinux", label, strlen(label) + 1, 0) < 0 && errno != ENOTSUP)
		return err_sys(e, "relabel %s", name);
	if (!S_ISDIR(st.st_mode))
		return 0;
	if (depth > DEPTH_MAX)
		return err_set(e, ERR_BAD_INPUT, "relabel: directories nested too deep");
	int sub = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSEDIR DIR *d = sub < 0 ? NULL : fdopendir(sub);
	if (!d) {
		err_sys(e, "relabel %s", name);
		if (sub >= 0)
			close(sub);
		return -1;
	}
	for (const struct dirent *de; (de = readdir(d));)
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 &&
		    relabel_tree(sub, de->d_name, label, depth + 1, e) < 0)
			return -1;
	return 0;
}

int selinux_relabel(const struct bundle *b, const char *source, struct err *e)
{
	/* Whole parts of the host that a label of one pod would make unusable. */
	static const char *const host[] = {"/",    "/bin",   "/boot", "/dev",  "/etc", "/home",
					   "/lib", "/lib64", "/proc", "/root", "/run", "/sbin",
					   "/sys", "/tmp",   "/usr",  "/var"};
	AUTO_FREE char *run = NULL;
	AUTO_FREE char *data = NULL;
	if (b->dry_run || !host_has_selinux())
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(host); i++)
		if (strcmp(host[i], source) == 0)
			return err_set(e, ERR_BAD_INPUT, "selinux_relabel of %s is refused",
				       source);
	if (selinux_labels(b, &run, &data, e) < 0)
		return -1;
	return data ? relabel_tree(AT_FDCWD, source, data, 0, e) : 0;
}
