/* SPDX-License-Identifier: Apache-2.0 */
#include "overlay.h"

#include "auto.h"
#include "buf.h"
#include "fs.h"
#include "xalloc.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

/* <sys/mount.h> and <linux/mount.h> define the same names in Debian 12's glibc. */
int mount(const char *source, const char *target, const char *type, unsigned long flags,
	  const void *data);
int umount2(const char *target, int flags);
enum { UNMOUNT_DETACH = 2, UNMOUNT_NOFOLLOW = 8 };

enum { LAYERS_MAX = 500, OPTION_MAX = 255, PAGE = 4096 };

/* Open descriptors of the layers (and of upper and work), for paths that are too long or hold
 * characters that overlay's option parser reads as its own. */
struct fds {
	int v[LAYERS_MAX + 2];
	size_t count;
};

static void fds_close(struct fds *f)
{
	for (size_t i = 0; i < f->count; i++)
		close(f->v[i]);
}

static int fds_open(struct fds *f, const char *path, struct err *e)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "open %s", path);
	if (f->count == ARRAY_LEN(f->v)) {
		close(fd);
		return err_set(e, ERR_EXHAUSTED, "more than %d layers", LAYERS_MAX);
	}
	f->v[f->count++] = fd;
	return fd;
}

/* What the kernel has to say about a failed fsconfig or fsmount: "e overlay: …". */
static int mount_error(int fs, const char *what, struct err *e)
{
	char text[256];
	int saved = errno;
	ssize_t n = read(fs, text, sizeof text - 1);
	errno = saved;
	err_sys(e, "%s", what);
	if (n > 2) {
		text[n] = '\0';
		text[strcspn(text, "\n")] = '\0';
		size_t len = strlen(e->msg);
		snprintf(e->msg + len, sizeof e->msg - len, " (%s)", text + 2);
		/* Overlay knows "lowerdir+" since Linux 6.8. */
		if (strcmp(what, "lowerdir+") == 0 && strstr(text, "nknown parameter"))
			e->kind = ERR_UNSUPPORTED;
	}
	return -1;
}

static int set_string(int fs, const char *key, const char *value)
{
	return (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0);
}

static int set_dir(int fs, struct fds *f, const char *key, const char *path, struct err *e)
{
	char by_fd[32];
	if (strlen(path) > OPTION_MAX || strpbrk(path, "\\,:")) {
		int fd = fds_open(f, path, e);
		if (fd < 0)
			return -1;
		snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d", fd);
		path = by_fd;
	}
	return set_string(fs, key, path) < 0 ? mount_error(fs, key, e) : 0;
}

const char *overlay_context;

static int configure(int fs, struct fds *f, const json_t *lower, const char *upper,
		     const char *work, struct err *e)
{
	size_t i;
	const json_t *dir;
	json_array_foreach (lower, i, dir)
		if (set_dir(fs, f, "lowerdir+", json_string_value(dir), e) < 0)
			return -1;
	if (upper &&
	    (set_dir(fs, f, "upperdir", upper, e) < 0 || set_dir(fs, f, "workdir", work, e) < 0))
		return -1;
	if (upper && syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "volatile", NULL, 0) < 0)
		return mount_error(fs, "volatile", e);
	if (upper && (set_string(fs, "index", "off") < 0 || set_string(fs, "metacopy", "off") < 0))
		return mount_error(fs, "overlay options", e);
	if (overlay_context && set_string(fs, "context", overlay_context) < 0)
		return mount_error(fs, "context", e);
	set_string(fs, "source", "crisp");
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return mount_error(fs, "mount overlay", e);
	return 0;
}

/* With the mount API: one option a layer, so any number fits. ERR_UNSUPPORTED when this kernel
 * cannot do it. */
static int mount_by_api(struct fds *f, const json_t *lower, const char *upper, const char *work,
			const char *target, struct err *e)
{
	AUTO_CLOSE int fs = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
	if (fs < 0)
		return errno == ENOSYS ? err_set(e, ERR_UNSUPPORTED, "no mount API")
				       : err_sys(e, "open the overlay file system");
	if (configure(fs, f, lower, upper, work, e) < 0)
		return -1;
	AUTO_CLOSE int mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	if (mnt < 0)
		return mount_error(fs, "mount overlay", e);
	if (target &&
	    syscall(SYS_move_mount, mnt, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(e, "mount overlay at %s", target);
	return TAKE_FD(mnt);
}

/* With mount(2): all options share one page, so the layers are named by descriptor ("5:6:7"),
 * relative to /proc/self/fd: 100 layers need 400 bytes. */
static int mount_by_page(struct fds *f, const json_t *lower, const char *upper, const char *work,
			 const char *target, struct err *e)
{
	AUTO_BUF struct buf o = BUF_INIT(PAGE - 1);
	size_t i;
	const json_t *dir;
	if (buf_addstr(&o, "lowerdir=", e) < 0)
		return -1;
	json_array_foreach (lower, i, dir) {
		int fd = fds_open(f, json_string_value(dir), e);
		if (fd < 0 || buf_addf(&o, e, "%s%d", i ? ":" : "", fd) < 0)
			return -1;
	}
	if (upper) {
		int up = fds_open(f, upper, e), wk = up < 0 ? -1 : fds_open(f, work, e);
		if (wk < 0 ||
		    buf_addf(&o, e, ",upperdir=%d,workdir=%d,index=off,metacopy=off,volatile", up,
			     wk) < 0)
			return -1;
	}
	if (overlay_context && buf_addf(&o, e, ",context=\"%s\"", overlay_context) < 0)
		return -1;
	AUTO_CLOSE int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (here < 0 || chdir("/proc/self/fd") < 0)
		return err_sys(e, "enter /proc/self/fd");
	int r = mount("crisp", target, "overlay", 0, o.data);
	if (r < 0)
		err_sys(e, "mount overlay at %s", target);
	if (fchdir(here) < 0)
		return err_sys(e, "return from /proc/self/fd");
	return r < 0 ? -1 : fs_open_dir(AT_FDCWD, target, e);
}

/* Overlay wants two directories at least; a single read-only layer is a bind mount of itself. */
static int mount_single(const char *dir, const char *target, struct err *e)
{
	AUTO_CLOSE int tree =
		(int)syscall(SYS_open_tree, AT_FDCWD, dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};
	if (tree < 0)
		return err_sys(e, "bind %s", dir);
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &ro, sizeof ro) < 0)
		return err_sys(e, "make %s read-only", dir);
	if (target &&
	    syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(e, "bind %s at %s", dir, target);
	return TAKE_FD(tree);
}

int overlay_mount(const json_t *lower, const char *upper, const char *work, const char *target,
		  struct err *e)
{
	struct fds f = {.count = 0};
	if (json_array_size(lower) == 0)
		return err_set(e, ERR_BAD_INPUT, "the image has no layers");
	if (!upper && json_array_size(lower) == 1)
		return mount_single(json_string_value(json_array_get(lower, 0)), target, e);
	int fd = mount_by_api(&f, lower, upper, work, target, e);
	if (fd < 0 && e->kind == ERR_UNSUPPORTED && target)
		fd = mount_by_page(&f, lower, upper, work, target, e);
	fds_close(&f);
	return fd;
}

/* A mount point in /proc/self/mountinfo: blanks, tabs, newlines and backslashes are octal. */
static void unescape(char *s)
{
	char *out = s;
	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

static bool is_below(const char *point, const char *path, size_t len)
{
	return strncmp(point, path, len) == 0 && (point[len] == '\0' || point[len] == '/');
}

/* The fifth field of the line, unescaped in place; NULL when the line is not of the form. */
static char *mount_point(char *line)
{
	char *field = NULL;
	for (int i = 0; i < 5; i++)
		field = strsep(&line, " ");
	if (field)
		unescape(field);
	return field;
}

json_t *mount_points(const char *process, struct err *e)
{
	char path[300];
	snprintf(path, sizeof path, "/proc/%.255s/mountinfo", process);
	AUTO_BUF struct buf b = BUF_INIT(64 << 20);
	if (fs_read_at(AT_FDCWD, path, &b, e) < 0)
		return NULL;
	json_t *points = json_object();
	char *rest = b.data, *line;
	while ((line = strsep(&rest, "\n"))) {
		const char *point = mount_point(line);
		if (point)
			json_object_set_new(points, point, json_true());
	}
	return points;
}

int unmount_below(const char *path, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(64 << 20);
	size_t len = strlen(path), count = 0;
	if (fs_read_at(AT_FDCWD, "/proc/self/mountinfo", &b, e) < 0)
		return -1;
	AUTO_FREE char **points = NULL;
	char *rest = b.data, *line;
	while ((line = strsep(&rest, "\n"))) {
		char *point = strstr(line, path) || strchr(line, '\\') ? mount_point(line) : NULL;
		if (!point || !is_below(point, path, len))
			continue;
		points = xrealloc(points, (count + 1) * sizeof *points);
		points[count++] = point;
	}
	/* Later lines are mounted on earlier ones. */
	while (count-- > 0)
		if (umount2(points[count], UNMOUNT_DETACH | UNMOUNT_NOFOLLOW) < 0 &&
		    errno != EINVAL && errno != ENOENT)
			return err_sys(e, "unmount %s", points[count]);
	return 0;
}
