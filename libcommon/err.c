/* SPDX-License-Identifier: Apache-2.0 */
#include "err.h"

#include "auto.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	int exit, grpc;
	const char *token;
} table[] = {
#define X(name, exit, grpc, token, text) {#name, exit, grpc, token},
	ERR_KINDS(X)
#undef X
};

static enum err_kind kind_of_errno(int n)
{
	switch (n) {
	case ENOENT:
	case ESRCH:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_EXISTS;
	case EACCES:
	case EPERM:
	case EROFS:
		return ERR_DENIED;
	case ENOSPC:
	case EDQUOT:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
		return ERR_EXHAUSTED;
	case EBUSY:
	case EAGAIN:
		return ERR_UNAVAILABLE;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case ELOOP:
	case ENAMETOOLONG:
		return ERR_BAD_INPUT;
	default:
		return ERR_FAILED;
	}
}

int err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
	va_list ap;
	e->kind = kind;
	e->errnum = 0;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
	return -1;
}

int err_sys(struct err *e, const char *fmt, ...)
{
	int n = errno;
	va_list ap;
	e->kind = kind_of_errno(n);
	e->errnum = n;
	va_start(ap, fmt);
	int len = vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
	if (len >= 0 && (size_t)len < sizeof e->msg)
		snprintf(e->msg + len, sizeof e->msg - (size_t)len, ": %s", strerrordesc_np(n));
	return -1;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char old[sizeof e->msg];
	va_list ap;
	memcpy(old, e->msg, sizeof old);
	va_start(ap, fmt);
	int len = vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
	/* A chain too long for msg loses its tail, never its head. */
	if (len >= 0 && (size_t)len < sizeof e->msg)
		snprintf(e->msg + len, sizeof e->msg - (size_t)len, ": %.*s",
			 (int)(sizeof e->msg - (size_t)len), old);
	return -1;
}

int err_exit_status(const struct err *e)
{
	return table[e->kind].exit;
}

int err_grpc_status(const struct err *e)
{
	return table[e->kind].grpc;
}

const char *err_name(const struct err *e)
{
	return table[e->kind].name;
}

void err_grpc_message(const struct err *e, char *buf, size_t size)
{
	const char *token = table[e->kind].token;
	snprintf(buf, size, "%s%s%s", token, *token ? ": " : "", e->msg);
}

enum err_kind err_kind_of_exit(int status)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].exit == status)
			return (enum err_kind)i;
	return ERR_FAILED;
}

enum err_kind err_kind_of_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (strcmp(table[i].name, name) == 0)
			return (enum err_kind)i;
	return ERR_FAILED;
}

enum err_kind err_kind_of_grpc(int code)
{
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].grpc == code)
			return (enum err_kind)i;
	return ERR_FAILED;
}
