/* SPDX-License-Identifier: Apache-2.0 */
#include "choose.h"

#include "auto.h"
#include "cni.h"
#include "jsonx.h"
#include "xalloc.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>

/* The kernel's rule for names of interfaces, without what a shell or sysctl(8) would stumble over. */
static bool ifname_is_valid(const char *s)
{
	static const char chars[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	size_t n = strlen(s);
	return n > 0 && n < IFNAMSIZ && s[0] != '-' && strspn(s, chars) == n &&
	       strcmp(s, "lo") != 0 && strcmp(s, "all") != 0 && strcmp(s, "default") != 0;
}

static bool is_taken(json_t *chosen, const char *key, const char *value)
{
	size_t i;
	json_t *one;
	json_array_foreach (chosen, i, one)
		if (strcmp(jsonx_opt_string(one, key, ""), value) == 0)
			return true;
	return false;
}

static int choose_one(struct tool_ctx *c, json_t *chosen, const char *name, const char *ifname,
		      struct err *e)
{
	AUTO_FREE char *file = NULL;
	AUTO_JSON json_t *list = cni_conf_find(c->cfg.network_dir, name, &file, e);
	if (!list || cni_negotiate(&c->cfg, c->st.run, list, e) < 0)
		return -1;
	json_array_append_new(chosen, json_pack("{s:O, s:s, s:s, s:O}", "name",
						json_object_get(list, "name"), "ifname", ifname,
						"file", file, "config", list));
	return 0;
}

static int choose_named(struct tool_ctx *c, json_t *chosen, const char *word, struct err *e)
{
	char automatic[IFNAMSIZ];
	size_t n = strcspn(word, "=");
	AUTO_FREE char *name = xstrndup(word, n);
	const char *ifname = word[n] ? word + n + 1 : automatic;
	snprintf(automatic, sizeof automatic, "eth%zu", json_array_size(chosen));
	if (!*name)
		return err_set(e, ERR_BAD_INPUT, "network '%.80s': no name", word);
	if (!ifname_is_valid(ifname))
		return err_set(e, ERR_BAD_INPUT, "network '%.80s': '%.40s' is no interface name",
			       word, ifname);
	if (is_taken(chosen, "ifname", ifname))
		return err_set(e, ERR_BAD_INPUT,
			       "network '%.80s': interface %s is another network's", word, ifname);
	/* A plugin knows an attachment by container and interface; host-local before 0.8 by the
	 * container alone. */
	if (is_taken(chosen, "name", name))
		return err_set(e, ERR_BAD_INPUT, "network '%s': named twice", name);
	if (json_array_size(chosen) >= NETWORKS_MAX)
		return err_set(e, ERR_BAD_INPUT, "more than %d networks", NETWORKS_MAX);
	return choose_one(c, chosen, name, ifname, e);
}

json_t *networks_choose(struct tool_ctx *c, json_t *typed, json_t *handlers, struct err *e)
{
	json_t *words = json_array_size(typed) > 0 ? typed : handlers, *word;
	AUTO_JSON json_t *chosen = json_array();
	size_t i;
	if (json_array_size(words) == 0 &&
	    choose_one(c, chosen, c->cfg.cni_default_network, "eth0", e) < 0)
		return NULL;
	json_array_foreach (words, i, word)
		if (choose_named(c, chosen, json_string_value(word), e) < 0)
			return NULL;
	return TAKE(chosen);
}
