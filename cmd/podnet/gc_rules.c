/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "gc_survey.h"
#include "jsonx.h"
#include "log.h"
#include "rules.h"
#include "xalloc.h"

#include <arpa/inet.h>
#include <string.h>

#define HEX "0123456789abcdef"
enum { PARTIAL_MIN = 12 };

void rule_find_id(const void *bytes, size_t len, char id[RULE_ID_SIZE])
{
	static const char mark[] = "id: ";
	const char *s = bytes;
	id[0] = '\0';
	for (size_t i = 0; i < len;) {
		size_t n = 0;
		while (i + n < len && s[i + n] && strchr(HEX, s[i + n]))
			n++;
		bool marked = i >= sizeof mark - 1 &&
			      memcmp(s + i - (sizeof mark - 1), mark, sizeof mark - 1) == 0;
		if (n == ID_LEN || (marked && n >= PARTIAL_MIN && n < ID_LEN)) {
			memcpy(id, s + i, n);
			id[n] = '\0';
			return;
		}
		i += n + 1;
	}
}

void rule_add_address(json_t *addresses, const void *raw, size_t len)
{
	static const unsigned char none[16];
	char text[INET6_ADDRSTRLEN];
	if ((len != 4 && len != 16) || memcmp(raw, none, len) == 0)
		return;
	if (inet_ntop(len == 4 ? AF_INET : AF_INET6, raw, text, sizeof text) &&
	    !jsonx_has_string(addresses, text))
		json_array_append_new(addresses, json_string(text));
}

/* Addresses that pods were given by others than host-local. */
static void own_addresses(struct tool_ctx *c, const char *id, json_t *owners)
{
	struct err ignored;
	size_t i, k;
	json_t *net, *ip;
	AUTO_CLOSE int dir = object_open(&c->st, OBJ_POD, id, &ignored);
	AUTO_JSON json_t *nets = network_records(dir);
	json_array_foreach (nets, i, net) {
		if (!network_is_attached(net))
			continue;
		json_array_foreach (json_object_get(net, "ips"), k, ip)
			if (json_is_string(ip))
				json_object_set_new(owners, json_string_value(ip), json_string(id));
	}
}

struct owners {
	struct tool_ctx *c;
	json_t *map;
};

static int visit_pod(void *arg, const char *id, struct err *e)
{
	struct owners *o = arg;
	(void)e;
	own_addresses(o->c, id, o->map);
	return 0;
}

static char *target_key(json_t *rule)
{
	return xasprintf("%s %s", jsonx_opt_string(rule, "table", ""),
			 jsonx_opt_string(rule, "jump", ""));
}

/* A plugin gives a pod a chain of its own, and names the pod where it jumps there. {"<table>
 * <chain>": id}, "" when rules of several pods lead there. */
static json_t *chain_owners(json_t *rules)
{
	json_t *out = json_object(), *rule;
	size_t i;
	json_array_foreach (rules, i, rule) {
		const char *id = jsonx_opt_string(rule, "id", "");
		if (!json_object_get(rule, "jump"))
			continue;
		AUTO_FREE char *key = target_key(rule);
		const char *known = jsonx_opt_string(out, key, id);
		json_object_set_new(out, key, json_string(strcmp(known, id) == 0 ? id : ""));
	}
	return out;
}

/* Whose rule it is: by its comment, by its chain, by an address in it. "" = nobody's. */
static const char *owner_of(json_t *rule, json_t *chains, json_t *owners)
{
	size_t i;
	json_t *ip;
	const char *id = jsonx_opt_string(rule, "id", "");
	AUTO_FREE char *chain = xasprintf("%s %s", jsonx_opt_string(rule, "table", ""),
					  jsonx_opt_string(rule, "chain", ""));
	if (!*id)
		id = jsonx_opt_string(chains, chain, "");
	json_array_foreach (json_object_get(rule, "addresses"), i, ip)
		if (!*id)
			id = jsonx_opt_string(owners, json_string_value(ip), "");
	return id;
}

static void add_rule(struct tool_ctx *c, json_t *lines, json_t *rule, const char *owner)
{
	struct err ignored;
	char whole[ID_SIZE];
	/* What a plugin cut short is a prefix of an id. */
	if (strlen(owner) != ID_LEN && object_resolve(&c->st, OBJ_POD, owner, whole, &ignored) == 0)
		owner = whole;
	AUTO_FREE char *what = xasprintf("%s of %.13s", jsonx_opt_string(rule, "where", ""), owner);
	gc_survey_add(c, lines, "rule", what, owner);
}

/* One of a plugin's, about an address that nobody has: the plugin firewall notes no ids. */
static void add_orphan(json_t *lines, json_t *rule)
{
	json_t *ip = json_array_get(json_object_get(rule, "addresses"), 0);
	if (!ip || strncmp(jsonx_opt_string(rule, "chain", ""), "CNI-", 4) != 0)
		return;
	json_array_append_new(
		lines,
		json_pack("{s:s, s:s, s:s, s:o}", "action", "keep", "kind", "rule", "id",
			  jsonx_opt_string(rule, "where", ""), "reason",
			  json_sprintf("no pod of this root has %s", json_string_value(ip))));
}

void gc_survey_rules(struct tool_ctx *c, json_t *lines, json_t *owners)
{
	struct err e;
	size_t i;
	json_t *rule;
	AUTO_JSON json_t *rules = json_array();
	struct owners o = {c, owners};
	if (rules_nft(rules, &e) < 0)
		log_warn("%s", e.msg);
	if (rules_legacy(rules, &e) < 0)
		log_warn("%s", e.msg);
	AUTO_JSON json_t *chains = chain_owners(rules);
	(void)object_each(&c->st, OBJ_POD, visit_pod, &o, &e);
	json_array_foreach (rules, i, rule) {
		const char *owner = owner_of(rule, chains, owners);
		if (*owner)
			add_rule(c, lines, rule, owner);
		else
			add_orphan(lines, rule);
	}
}
