/* SPDX-License-Identifier: Apache-2.0 */
#include "grpc.h"

#include "auto.h"
#include "utf8.h"

#include <stdio.h>
#include <string.h>

const char *grpc_code_name(int code)
{
	static const char *const names[] = {
#define X(name, number) [number] = #name,
		GRPC_CODES(X)
#undef X
	};
	return code >= 0 && code < (int)ARRAY_LEN(names) ? names[code] : NULL;
}

enum grpc_code grpc_code_of_http(int status)
{
	switch (status) {
	case 400:
		return GRPC_INTERNAL;
	case 401:
		return GRPC_UNAUTHENTICATED;
	case 403:
		return GRPC_PERMISSION_DENIED;
	case 404:
		return GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return GRPC_UNAVAILABLE;
	default:
		return GRPC_UNKNOWN;
	}
}

enum grpc_code grpc_code_of_reset(uint32_t error_code)
{
	switch (error_code) {
	case 7: /* REFUSED_STREAM: not processed, safe to repeat */
		return GRPC_UNAVAILABLE;
	case 8: /* CANCEL */
		return GRPC_CANCELLED;
	case 11: /* ENHANCE_YOUR_CALM */
		return GRPC_RESOURCE_EXHAUSTED;
	case 12: /* INADEQUATE_SECURITY */
		return GRPC_PERMISSION_DENIED;
	default:
		return GRPC_INTERNAL;
	}
}

enum err_kind grpc_err_kind(int code, const char *message)
{
	static const struct {
		const char *token;
		enum err_kind kind;
	} kinds[] = {
#define X(name, exit, grpc, token, text) {token, ERR_##name},
		ERR_KINDS(X)
#undef X
	};
	if (code == GRPC_UNKNOWN) {
		for (size_t i = 0; message && i < ARRAY_LEN(kinds); i++) {
			const char *token = kinds[i].token;
			if (*token && strncmp(message, token, strlen(token)) == 0)
				return kinds[i].kind;
		}
		return ERR_FAILED;
	}
	/* Codes that no kind of ours has, by what a caller can do about them. */
	if (code == GRPC_UNAUTHENTICATED)
		return ERR_DENIED;
	if (code == GRPC_OUT_OF_RANGE)
		return ERR_BAD_INPUT;
	if (code == GRPC_ABORTED)
		return ERR_UNAVAILABLE;
	return err_kind_of_grpc(code);
}

void grpc_prefix_write(uint8_t prefix[GRPC_PREFIX_LEN], size_t len)
{
	prefix[0] = 0;
	for (int i = 1; i < GRPC_PREFIX_LEN; i++)
		prefix[i] = (uint8_t)(len >> (8 * (4 - i)));
}

void grpc_deframer_init(struct grpc_deframer *d, size_t limit)
{
	*d = (struct grpc_deframer){.msg = BUF_INIT(limit)};
}

static int check_prefix(struct grpc_deframer *d, struct err *e)
{
	const uint8_t *p = d->prefix;
	if (p[0] == 1)
		return err_set(e, ERR_FAILED, "a compressed message, which was not offered");
	if (p[0])
		return err_set(e, ERR_FAILED, "malformed message prefix");
	d->want = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
	if (d->want > d->msg.limit)
		return err_set(e, ERR_EXHAUSTED, "a message of %zu bytes is larger than %zu",
			       d->want, d->msg.limit);
	return 0;
}

static size_t take(void *to, const uint8_t **data, size_t *len, size_t want)
{
	size_t n = want < *len ? want : *len;
	if (n)
		memcpy(to, *data, n);
	*data += n;
	*len -= n;
	return n;
}

int grpc_deframe(struct grpc_deframer *d, const uint8_t **data, size_t *len, struct err *e)
{
	if (d->is_done) {
		buf_clear(&d->msg);
		d->have = 0;
		d->is_done = false;
	}
	if (d->have < GRPC_PREFIX_LEN) {
		d->have += take(d->prefix + d->have, data, len, GRPC_PREFIX_LEN - d->have);
		if (d->have < GRPC_PREFIX_LEN)
			return 0;
		if (check_prefix(d, e) < 0)
			return -1;
	}
	size_t left = d->want - d->msg.len, n = left < *len ? left : *len;
	if (n) {
		if (buf_add(&d->msg, *data, n, e) < 0)
			return -1;
		*data += n;
		*len -= n;
	}
	d->is_done = d->msg.len == d->want;
	return d->is_done;
}

bool grpc_deframer_is_within(const struct grpc_deframer *d)
{
	return !d->is_done && d->have > 0;
}

void grpc_deframer_release(struct grpc_deframer *d)
{
	buf_release(&d->msg);
}

bool grpc_timeout_parse(const char *s, long long *ms)
{
	size_t digits = strspn(s, "0123456789");
	long long n = 0;
	if (digits < 1 || digits > 8 || !s[digits] || s[digits + 1])
		return false;
	for (size_t i = 0; i < digits; i++)
		n = n * 10 + (s[i] - '0');
	switch (s[digits]) {
	case 'H':
		*ms = n * 3600000;
		return true;
	case 'M':
		*ms = n * 60000;
		return true;
	case 'S':
		*ms = n * 1000;
		return true;
	case 'm':
		*ms = n;
		return true;
	case 'u':
		*ms = (n + 999) / 1000;
		return true;
	case 'n':
		*ms = (n + 999999) / 1000000;
		return true;
	default:
		return false;
	}
}

void grpc_timeout_format(long long ms, char out[GRPC_TIMEOUT_SIZE])
{
	static const struct {
		long long ms;
		char unit;
	} units[] = {{1, 'm'}, {1000, 'S'}, {60000, 'M'}, {3600000, 'H'}};
	const long long max = 99999999;
	if (ms < 0)
		ms = 0;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		long long n = ms / units[i].ms + (ms % units[i].ms != 0);
		if (n <= max || i == ARRAY_LEN(units) - 1) {
			snprintf(out, GRPC_TIMEOUT_SIZE, "%u%c", (unsigned)(n <= max ? n : max),
				 units[i].unit);
			return;
		}
	}
}

static size_t encoded_len(const char *s, size_t len)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++)
		n += s[i] >= 0x20 && s[i] <= 0x7e && s[i] != '%' ? 1 : 3;
	return n;
}

void grpc_message_encode(const char *text, char *out, size_t size)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t left = strlen(text);
	while (left) {
		size_t n = utf8_sequence(text, left), need;
		if (n == 0)
			n = 1; /* a byte that is not UTF-8 stands for itself */
		need = encoded_len(text, n);
		if (need >= size)
			break;
		for (size_t i = 0; i < n; i++) {
			unsigned char c = (unsigned char)text[i];
			if (need == 1) {
				*out++ = (char)c;
				continue;
			}
			*out++ = '%';
			*out++ = hex[c >> 4];
			*out++ = hex[c & 15];
		}
		size -= need;
		text += n;
		left -= n;
	}
	if (size)
		*out = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

void grpc_message_decode(char *s)
{
	char *to = s;
	while (*s) {
		int high = *s == '%' ? hex_value(s[1]) : -1;
		int low = high >= 0 ? hex_value(s[2]) : -1;
		char c = *s;
		if (low >= 0) {
			c = (char)(high << 4 | low);
			s += 2;
		}
		s++;
		if (c)
			*to++ = c;
	}
	*to = '\0';
}
