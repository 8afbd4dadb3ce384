/* SPDX-License-Identifier: Apache-2.0 */
#include "cidr.h"

#include "auto.h"
#include "cniconf.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define CIDR_FILE "podcidr.json"
#define CONF_FILE "10-crisp.conflist"
#define ONE "{{.PodCIDR}}"
enum { CIDRS_MAX = 16, TEMPLATE_MAX = 1 << 20, DEPTH_MAX = 32 };

static int check_cidr(const char *s, struct err *e)
{
	char address[INET6_ADDRSTRLEN];
	unsigned char raw[16];
	size_t n = strcspn(s, "/");
	char *end = NULL;
	unsigned long bits = s[n] ? strtoul(s + n + 1, &end, 10) : 999;
	snprintf(address, sizeof address, "%.*s", n < sizeof address ? (int)n : 0, s);
	bool six = strchr(address, ':');
	if (inet_pton(six ? AF_INET6 : AF_INET, address, raw) != 1 || !end || *end ||
	    s[n + 1] < '0' || s[n + 1] > '9' || bits > (six ? 128 : 32))
		return err_set(e, ERR_BAD_INPUT, "pod CIDR: '%.64s' is no address range", s);
	return 0;
}

/* "a/8,b/64" as an array of strings. */
static json_t *parse_cidrs(const char *text, struct err *e)
{
	AUTO_JSON json_t *out = json_array();
	for (const char *s = text; *text; s = strchr(s, ',') + 1) {
		AUTO_FREE char *one = xstrndup(s, strcspn(s, ","));
		if (check_cidr(one, e) < 0)
			return NULL;
		json_array_append_new(out, json_string(one));
		if (json_array_size(out) > CIDRS_MAX)
			return err_set_p(e, ERR_BAD_INPUT, "pod CIDR: more than %d ranges",
					 CIDRS_MAX);
		if (!strchr(s, ','))
			break;
	}
	return TAKE(out);
}

static json_t *ranges_of(json_t *cidrs)
{
	json_t *out = json_array(), *c;
	size_t i;
	json_array_foreach (cidrs, i, c)
		json_array_append_new(out, json_pack("[{s:O}]", "subnet", c));
	return out;
}

static json_t *routes_of(json_t *cidrs)
{
	json_t *out = json_array(), *c;
	size_t i;
	bool four = false, six = false;
	json_array_foreach (cidrs, i, c) {
		bool colon = strchr(json_string_value(c), ':');
		four = four || !colon;
		six = six || colon;
	}
	if (four)
		json_array_append_new(out, json_pack("{s:s}", "dst", "0.0.0.0/0"));
	if (six)
		json_array_append_new(out, json_pack("{s:s}", "dst", "::/0"));
	return out;
}

static json_t *render_string(const char *s, json_t *cidrs, struct err *e)
{
	const char *at = strstr(s, "{{");
	if (!at)
		return json_string(s);
	if (strcmp(s, "{{.PodCIDRRanges}}") == 0)
		return ranges_of(cidrs);
	if (strcmp(s, "{{.Routes}}") == 0)
		return routes_of(cidrs);
	if (strncmp(at, ONE, strlen(ONE)) != 0 || strstr(at + 1, "{{"))
		return err_set_p(e, ERR_BAD_INPUT, "'%.80s': unknown placeholder", s);
	return json_sprintf("%.*s%s%s", (int)(at - s), s,
			    json_string_value(json_array_get(cidrs, 0)), at + strlen(ONE));
}

static json_t *render(json_t *in, json_t *cidrs, int depth, struct err *e)
{
	const char *key;
	size_t i;
	json_t *v, *r;
	if (depth > DEPTH_MAX)
		return err_set_p(e, ERR_BAD_INPUT, "nested too deeply");
	if (json_is_string(in))
		return render_string(json_string_value(in), cidrs, e);
	if (!json_is_object(in) && !json_is_array(in))
		return json_incref(in);
	AUTO_JSON json_t *out = json_is_object(in) ? json_object() : json_array();
	json_object_foreach (in, key, v) {
		r = render(v, cidrs, depth + 1, e);
		if (!r)
			return NULL;
		json_object_set_new(out, key, r);
	}
	json_array_foreach (in, i, v) {
		r = render(v, cidrs, depth + 1, e);
		if (!r)
			return NULL;
		json_array_append_new(out, r);
	}
	return TAKE(out);
}

static int write_conf(const struct config *cfg, json_t *cidrs, bool dry_run, struct err *e)
{
	AUTO_JSON json_t *in = jsonx_read_at(AT_FDCWD, cfg->network_template, TEMPLATE_MAX, e);
	AUTO_JSON json_t *out = in ? render(in, cidrs, 0, e) : NULL;
	AUTO_JSON json_t *list = out ? cni_list_of(out, cfg->network_template, e) : NULL;
	if (!list)
		return err_wrap(e, "network_template %s", cfg->network_template);
	if (dry_run) {
		json_dumpf(out, stdout, JSON_INDENT(2));
		putchar('\n');
		return 0;
	}
	if (fs_mkdirs(AT_FDCWD, cfg->network_dir, 0755, e) < 0)
		return -1;
	AUTO_CLOSE int dir = fs_open_dir(AT_FDCWD, cfg->network_dir, e);
	AUTO_FREE char *text = json_dumps(out, JSON_INDENT(2));
	if (dir < 0 || !text)
		return dir < 0 ? -1 : err_set(e, ERR_FAILED, "network_template: no JSON");
	return fs_replace_file_at(dir, CONF_FILE, 0644, text, strlen(text), 0, e);
}

int cmd_cidr(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	(void)argc;
	AUTO_JSON json_t *cidrs = parse_cidrs(argv[0], e);
	if (!cidrs)
		return -1;
	/* The kubelet says nothing until it knows its range. */
	if (json_array_size(cidrs) == 0)
		return 0;
	if (*c->cfg.network_template && write_conf(&c->cfg, cidrs, c->dry_run, e) < 0)
		return -1;
	if (c->dry_run)
		return 0;
	AUTO_JSON json_t *record = json_pack("{s:i, s:O}", "version", 1, "cidrs", cidrs);
	return jsonx_replace_at(c->st.root, CIDR_FILE, 0600, record, 0, e);
}

json_t *cidr_ranges(const struct tool_ctx *c)
{
	struct err ignored;
	AUTO_JSON json_t *record = jsonx_read_at(c->st.root, CIDR_FILE, 1 << 16, &ignored);
	json_t *cidrs = json_object_get(record, "cidrs");
	return json_array_size(cidrs) > 0 ? ranges_of(cidrs) : NULL;
}
