/* SPDX-License-Identifier: Apache-2.0 */
#include "registry.h"

#include "auto.h"
#include "source.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { AUTHORITIES_MAX = 4 << 20 };

static bool ends_in(const char *name, const char *suffix)
{
	size_t n = strlen(name), s = strlen(suffix);
	return n > s && name[0] != '.' && strcmp(name + n - s, suffix) == 0;
}

static int is_cert_file(const struct dirent *de)
{
	return ends_in(de->d_name, ".crt") || ends_in(de->d_name, ".cert");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int take_file(struct endpoint *ep, const char *dir, const char *name, struct err *e)
{
	AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
	if (ends_in(name, ".cert")) {
		size_t stem = strlen(path) - strlen(".cert");
		if (ep->cert)
			return 0;
		ep->key = xasprintf("%.*s.key", (int)stem, path);
		ep->cert = TAKE(path);
		return 0;
	}
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, "open %s", path);
	return read_regular(fd, path, &ep->authorities, e) < 0 ||
			       buf_addstr(&ep->authorities, "\n", e) < 0
		       ? -1
		       : 0;
}

int certs_dir_read(struct endpoint *ep, const char *dir, const char *host, struct err *e)
{
	struct dirent **list = NULL;
	AUTO_FREE char *path = xasprintf("%s/%s", dir, host);
	int rc = 0, n = *dir && ep->encrypted ? scandir(path, &list, is_cert_file, by_name) : 0;
	ep->authorities = BUF_INIT(AUTHORITIES_MAX);
	if (n < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(e, "certs_dir %s", path);
	for (int i = 0; i < n; i++) {
		if (rc == 0)
			rc = take_file(ep, path, list[i]->d_name, e);
		free(list[i]);
	}
	free(list);
	/* What registries_dir says of the host goes before. */
	if (!ep->tls.ca)
		ep->tls.more_ca = ep->authorities.data;
	if (!ep->tls.cert) {
		ep->tls.cert = ep->cert;
		ep->tls.key = ep->key;
	}
	return rc;
}
