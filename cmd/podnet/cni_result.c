/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "cni.h"
#include "jsonx.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* The error object of the specification: {"code": 7, "msg": "…", "details": "…"}. */
static bool is_error(json_t *j, json_int_t *code)
{
	const json_t *c = json_object_get(j, "code");
	*code = json_is_integer(c) ? json_integer_value(c) : 0;
	return *code != 0;
}

static void describe(json_t *j, json_int_t code, char *text, size_t size)
{
	const char *msg = jsonx_opt_string(j, "msg", "no message");
	const char *details = jsonx_opt_string(j, "details", "");
	snprintf(text, size, "%.600s%s%.300s (code %" JSON_INTEGER_FORMAT ")", msg,
		 *details ? ": " : "", details, code);
}

json_t *cni_result_parse(const char *out, size_t len, struct err *e)
{
	char text[1024];
	json_int_t code;
	if (len == 0)
		return err_set_p(e, ERR_FAILED, "printed no result");
	AUTO_JSON json_t *j = jsonx_parse(out, len, "result", e);
	if (!j) {
		e->kind = ERR_FAILED; /* the plugin's fault, not the caller's */
		return NULL;
	}
	if (!json_is_object(j))
		return err_set_p(e, ERR_FAILED, "result: expected object, found %s",
				 jsonx_type_name(json_typeof(j)));
	if (is_error(j, &code)) {
		describe(j, code, text, sizeof text);
		return err_set_p(e, ERR_FAILED, "exit status 0 with an error: %s", text);
	}
	return TAKE(j);
}

/* The last line that is not blank; plugins print the reason there. */
static void last_line(const char *s, size_t len, char *text, size_t size)
{
	while (len > 0 && strchr(" \t\r\n", s[len - 1]))
		len--;
	size_t start = len;
	while (start > 0 && s[start - 1] != '\n')
		start--;
	int n = (int)(len - start > 600 ? 600 : len - start);
	snprintf(text, size, "%.*s", n, s + start);
}

void cni_error_text(const char *out, size_t out_len, const char *errout, size_t err_len, char *text,
		    size_t size, json_int_t *code)
{
	struct err ignored;
	AUTO_JSON json_t *j = out_len ? jsonx_parse(out, out_len, "result", &ignored) : NULL;
	*code = 0;
	if (j && (is_error(j, code) || json_object_get(j, "msg"))) {
		describe(j, *code, text, size);
		return;
	}
	last_line(errout ? errout : "", errout ? err_len : 0, text, size);
	if (!*text)
		last_line(out ? out : "", out_len, text, size);
	if (!*text)
		snprintf(text, size, "no message");
}

/* 1 if ips[].interface points at `ifname` in a sandbox, or is absent; 0 if at something else. */
static int is_ours(json_t *result, json_t *ip, const char *ifname, size_t i, struct err *e)
{
	json_t *index = json_object_get(ip, "interface");
	if (!index || json_is_null(index))
		return 1;
	if (!json_is_integer(index))
		return err_set(e, ERR_FAILED, "result: ips[%zu].interface: expected integer", i);
	json_int_t n = json_integer_value(index);
	if (n < 0) /* 0.3.1 plugins write -1 for none */
		return 1;
	json_t *iface = json_array_get(json_object_get(result, "interfaces"), (size_t)n);
	if (!json_is_object(iface))
		return err_set(e, ERR_FAILED,
			       "result: ips[%zu].interface: no interface %" JSON_INTEGER_FORMAT, i,
			       n);
	return *jsonx_opt_string(iface, "sandbox", "") &&
	       strcmp(jsonx_opt_string(iface, "name", ""), ifname) == 0;
}

static json_t *address_of(json_t *ip, size_t i, struct err *e)
{
	char text[INET6_ADDRSTRLEN + 8];
	unsigned char raw[16];
	const char *a = json_string_value(json_object_get(ip, "address"));
	if (!a)
		return err_set_p(e, ERR_FAILED, "result: ips[%zu].address: expected string", i);
	size_t n = strcspn(a, "/");
	snprintf(text, sizeof text, "%.*s", n > INET6_ADDRSTRLEN ? INET6_ADDRSTRLEN : (int)n, a);
	if (inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, raw) != 1)
		return err_set_p(e, ERR_FAILED, "result: ips[%zu].address: '%.64s' is no address",
				 i, a);
	return json_string(text);
}

json_t *cni_result_ips(json_t *result, const char *ifname, struct err *e)
{
	AUTO_JSON json_t *out = json_array();
	json_t *ips = json_object_get(result, "ips"), *ip;
	size_t i;
	if (!ips || json_is_null(ips))
		return TAKE(out);
	if (!json_is_array(ips))
		return err_set_p(e, ERR_FAILED, "result: ips: expected array, found %s",
				 jsonx_type_name(json_typeof(ips)));
	if (json_array_size(ips) > CNI_IPS_MAX)
		return err_set_p(e, ERR_FAILED, "result: ips: more than %d", CNI_IPS_MAX);
	json_array_foreach (ips, i, ip) {
		if (!json_is_object(ip))
			return err_set_p(e, ERR_FAILED, "result: ips[%zu]: expected object", i);
		int ours = is_ours(result, ip, ifname, i, e);
		if (ours < 0)
			return NULL;
		if (!ours)
			continue;
		json_t *a = address_of(ip, i, e);
		if (!a)
			return NULL;
		json_array_append_new(out, a);
	}
	return TAKE(out);
}
