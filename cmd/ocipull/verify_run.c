/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "log.h"
#include "program.h"
#include "pull.h"
#include "verify.h"
#include "xalloc.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { SAYS_MAX = 4096, LINE_MAX_SHOWN = 400 };

/* A file with this content, to be read by a child. */
static int content(const char *name, const char *data, size_t len, struct err *e)
{
	AUTO_CLOSE int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return err_sys(e, "memfd_create");
	if (fs_write_all(fd, data, len, e) < 0)
		return -1;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0 ||
	    lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, "seal %s", name);
	return TAKE_FD(fd);
}

/* What is known of the image, besides its manifest. */
static int describe(const struct pull *p, const char *name, struct err *e)
{
	static const char *const kinds[] = {"registry", "oci", "docker-archive"};
	const struct platform *pf = &p->platform;
	AUTO_JSON json_t *config =
		jsonx_parse(p->config_text.data, p->config_text.len, "config", e);
	if (!config)
		return -1;
	AUTO_JSON json_t *j = json_pack(
		"{s:s,s:s,s:s,s:s,s:s,s:{s:s,s:s,s:s},s:O}", "reference", name, "source",
		kinds[p->src.kind], "digest", p->served_digest, "manifest_digest",
		p->manifest_digest, "id", p->manifest.config.digest, "platform", "os", pf->os,
		"architecture", pf->arch, "variant", pf->variant, "config", config);
	AUTO_FREE char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	if (!text)
		return err_set(e, ERR_FAILED, "cannot describe the image");
	return content("image.json", text, strlen(text), e);
}

static int trusted(int fd, const char *path, bool dir, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(e, "stat %s", path);
	if (!dir && !S_ISREG(st.st_mode))
		return err_set(e, ERR_BAD_INPUT, "%s: not a regular file", path);
	if (st.st_uid != 0)
		return err_set(e, ERR_BAD_INPUT, "%s: does not belong to root", path);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return err_set(e, ERR_BAD_INPUT, "%s: others than its owner may write it", path);
	if (!dir && !(st.st_mode & S_IXUSR))
		return err_set(e, ERR_BAD_INPUT, "%s: not executable", path);
	return 0;
}

static int start(struct program *v, const char *path, const char *name, const struct pull *p,
		 struct err *e)
{
	static const char *const envp[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LC_ALL=C.UTF-8", "HOME=/", NULL};
	char number[40];
	AUTO_CLOSE int manifest =
		content("manifest.json", p->manifest_text.data, p->manifest_text.len, e);
	AUTO_CLOSE int image = manifest < 0 ? -1 : describe(p, name, e);
	AUTO_CLOSE int root = image < 0 ? -1 : fs_open_dir(AT_FDCWD, "/", e);
	if (root < 0)
		return -1;
	snprintf(number, sizeof number, "/dev/fd/%d", image);
	const char *const argv[] = {path, name, p->served_digest, number, NULL};
	const int keep[] = {image, -1};
	struct proc_spec spec = PROC_SPEC(argv);
	spec.envp = envp;
	spec.in = manifest;
	spec.cwd = root;
	spec.keep = keep;
	return program_start(v, &spec, false, e);
}

static int verdict(const struct program *v, const struct proc_result *r, struct err *e)
{
	const char *says = v->says.data ? v->says.data : "";
	size_t n = strcspn(says, "\r\n");
	if (r->exited && r->status == 0)
		return 0;
	if (!r->exited)
		return err_set(e, ERR_SIGNATURE, "it was ended by signal %d", r->status);
	if (n == 0)
		return err_set(e, ERR_SIGNATURE, "it exits with %d", r->status);
	return err_set(e, ERR_SIGNATURE, "%.*s", n > LINE_MAX_SHOWN ? LINE_MAX_SHOWN : (int)n,
		       says);
}

static int run_one(struct pull *p, const char *path, const char *name, struct err *e)
{
	struct program v = PROGRAM_INIT(SAYS_MAX);
	long seconds = (long)p->ctx->cfg.verify_timeout;
	struct proc_result r = {.exited = false};
	struct err ignored;
	log_debug("run %s", path);
	int rc = start(&v, path, name, p, e);
	if (rc == 0) {
		rc = program_wait(&v, p->src.engine, seconds, e);
		if (rc == 0)
			rc = err_set(e, ERR_TIMEOUT, "no verdict within %ld s", seconds);
		/* What it started goes with it. */
		proc_kill(&v.proc, SIGKILL);
		if (proc_wait(&v.proc, -1, &r, rc < 0 ? &ignored : e) < 0)
			rc = -1;
		program_listen(&v);
	}
	if (rc > 0)
		rc = verdict(&v, &r, e);
	program_release(&v);
	return rc;
}

static int visible(const struct dirent *de)
{
	return de->d_name[0] != '.';
}

static int check_and_run(struct pull *p, int dir, const char *file, const char *name, struct err *e)
{
	AUTO_FREE char *path = xasprintf("%s/%s", p->ctx->cfg.verify_dir, file);
	/* No links: who may change what they lead to cannot be told by looking at one file. */
	AUTO_CLOSE int fd = openat(dir, file, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "open %s", path);
	if (trusted(fd, path, false, e) < 0)
		return -1;
	if (run_one(p, path, name, e) < 0)
		return e->kind == ERR_CANCELLED ? -1 : err_wrap(e, "%s: verifier %s", name, file);
	return 0;
}

int verify_run(struct pull *p, const char *name, struct err *e)
{
	struct dirent **list = NULL;
	const char *where = p->ctx->cfg.verify_dir;
	AUTO_CLOSE int dir = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = 0;
	if (dir < 0)
		return errno == ENOENT ? 0 : err_sys(e, "verify_dir %s", where);
	int n = scandirat(dir, ".", &list, visible, fs_by_bytes);
	if (n < 0)
		return err_sys(e, "verify_dir %s", where);
	if (n > 0 && trusted(dir, where, true, e) < 0)
		rc = err_wrap(e, "verify_dir");
	for (int i = 0; i < n; i++) {
		if (rc == 0)
			rc = check_and_run(p, dir, list[i]->d_name, name, e);
		free(list[i]);
	}
	free(list);
	return rc;
}
