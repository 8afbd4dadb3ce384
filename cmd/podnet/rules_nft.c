/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "jsonx.h"
#include "rules.h"
#include "xalloc.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { REPLY_SIZE = 1 << 16, REPLY_S = 10, AGAIN_MAX = 16 };

/* ---- attributes: length and type, then the value, padded to four bytes */

struct attr {
	const char *data;
	size_t len;
	unsigned type;
};

/* The next of them in [*at, end). Whatever does not fit ends the walk. */
static bool next_attr(const char **at, const char *end, struct attr *a)
{
	struct nlattr h;
	if (end - *at < (ptrdiff_t)sizeof h)
		return false;
	memcpy(&h, *at, sizeof h);
	if (h.nla_len < sizeof h || h.nla_len > end - *at)
		return false;
	*a = (struct attr){*at + sizeof h, h.nla_len - sizeof h, h.nla_type & NLA_TYPE_MASK};
	size_t step = NLA_ALIGN((size_t)h.nla_len);
	*at = step < (size_t)(end - *at) ? *at + step : end;
	return true;
}

static bool find_attr(const struct attr *in, unsigned type, struct attr *a)
{
	const char *at = in->data;
	while (next_attr(&at, in->data + in->len, a))
		if (a->type == type)
			return true;
	return false;
}

static char *text_of(const struct attr *in, unsigned type)
{
	struct attr a;
	return find_attr(in, type, &a) ? xstrndup(a.data, strnlen(a.data, a.len)) : xstrdup("");
}

/* ---- one rule */

static void read_expression(json_t *rule, json_t *addresses, const struct attr *e)
{
	struct attr data, a, b;
	AUTO_FREE char *name = text_of(e, NFTA_EXPR_NAME);
	if (!find_attr(e, NFTA_EXPR_DATA, &data))
		return;
	if (strcmp(name, "cmp") == 0 && find_attr(&data, NFTA_CMP_DATA, &a) &&
	    find_attr(&a, NFTA_DATA_VALUE, &b))
		rule_add_address(addresses, b.data, b.len);
	if (strcmp(name, "immediate") != 0 || !find_attr(&data, NFTA_IMMEDIATE_DATA, &a) ||
	    !find_attr(&a, NFTA_DATA_VERDICT, &b))
		return;
	AUTO_FREE char *chain = text_of(&b, NFTA_VERDICT_CHAIN);
	if (*chain)
		json_object_set_new(rule, "jump", json_string(chain));
}

static const char *family_name(unsigned char family)
{
	switch (family) {
	case NFPROTO_INET:
		return "inet";
	case NFPROTO_IPV4:
		return "ip";
	case NFPROTO_IPV6:
		return "ip6";
	case NFPROTO_ARP:
		return "arp";
	case NFPROTO_BRIDGE:
		return "bridge";
	case NFPROTO_NETDEV:
		return "netdev";
	default:
		return "unknown";
	}
}

static uint64_t handle_of(const struct attr *in)
{
	struct attr a;
	uint32_t half[2] = {0};
	if (find_attr(in, NFTA_RULE_HANDLE, &a) && a.len == sizeof half)
		memcpy(half, a.data, sizeof half);
	return (uint64_t)ntohl(half[0]) << 32 | ntohl(half[1]);
}

static void read_rule(json_t *rules, unsigned char family, const struct attr *in)
{
	char id[RULE_ID_SIZE];
	struct attr list, e;
	AUTO_FREE char *table = text_of(in, NFTA_RULE_TABLE);
	AUTO_FREE char *chain = text_of(in, NFTA_RULE_CHAIN);
	const char *name = family_name(family);
	json_t *addresses = json_array();
	json_t *rule = json_pack("{s:o, s:o, s:s, s:o}", "where",
				 json_sprintf("nft %s %s %s handle %llu", name, table, chain,
					      (unsigned long long)handle_of(in)),
				 "table", json_sprintf("nft %s %s", name, table), "chain", chain,
				 "addresses", addresses);
	if (!rule)
		return; /* a name that is no UTF-8 is not one of the plugins' */
	rule_find_id(in->data, in->len, id);
	if (*id)
		json_object_set_new(rule, "id", json_string(id));
	if (find_attr(in, NFTA_RULE_EXPRESSIONS, &list)) {
		const char *at = list.data;
		while (next_attr(&at, list.data + list.len, &e))
			read_expression(rule, addresses, &e);
	}
	json_array_append_new(rules, rule);
}

/* ---- the dump */

enum progress { MORE, DONE, AGAIN, FAILED };

static enum progress read_message(json_t *rules, const struct nlmsghdr *h, const char *body,
				  size_t len, struct err *e)
{
	struct nfgenmsg g;
	int error = 0;
	if (h->nlmsg_flags & NLM_F_DUMP_INTR)
		return AGAIN;
	if (h->nlmsg_type == NLMSG_ERROR || h->nlmsg_type == NLMSG_DONE) {
		if (len >= sizeof error)
			memcpy(&error, body, sizeof error);
		/* No nf_tables in this kernel. */
		if (error == 0 || error == -EOPNOTSUPP || error == -EINVAL)
			return DONE;
		errno = -error;
		err_sys(e, "read nftables rules");
		return error == -EINTR ? AGAIN : FAILED;
	}
	if (h->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE) || len < sizeof g)
		return MORE;
	memcpy(&g, body, sizeof g);
	struct attr all = {body + sizeof g, len - sizeof g, 0};
	read_rule(rules, g.nfgen_family, &all);
	return MORE;
}

static enum progress read_reply(json_t *rules, const char *reply, size_t len, struct err *e)
{
	while (len >= sizeof(struct nlmsghdr)) {
		struct nlmsghdr h;
		memcpy(&h, reply, sizeof h);
		if (h.nlmsg_len < sizeof h || h.nlmsg_len > len)
			break;
		enum progress p =
			read_message(rules, &h, reply + sizeof h, h.nlmsg_len - sizeof h, e);
		if (p != MORE)
			return p;
		size_t step = NLMSG_ALIGN((size_t)h.nlmsg_len);
		step = step < len ? step : len;
		reply += step;
		len -= step;
	}
	return MORE;
}

static enum progress dump(json_t *rules, char *reply, struct err *e)
{
	struct {
		struct nlmsghdr h;
		struct nfgenmsg g;
	} ask = {
		.h = {.nlmsg_len = sizeof ask,
		      .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.g = {.nfgen_family = NFPROTO_UNSPEC, .version = NFNETLINK_V0},
	};
	const struct timeval patience = {.tv_sec = REPLY_S};
	AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (fd < 0 && (errno == EPROTONOSUPPORT || errno == EAFNOSUPPORT))
		return DONE;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
	    send(fd, &ask, sizeof ask, 0) != (ssize_t)sizeof ask) {
		err_sys(e, "read nftables rules");
		return FAILED;
	}
	for (;;) {
		ssize_t n = recv(fd, reply, REPLY_SIZE, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			err_sys(e, "read nftables rules");
			return FAILED;
		}
		enum progress p = read_reply(rules, reply, (size_t)n, e);
		if (p != MORE)
			return p;
	}
}

int rules_nft(json_t *rules, struct err *e)
{
	AUTO_FREE char *reply = xcalloc(1, REPLY_SIZE);
	/* Another's change in the middle of a dump: once more from the start. */
	for (int i = 0; i < AGAIN_MAX; i++) {
		AUTO_JSON json_t *some = json_array();
		enum progress p = dump(some, reply, e);
		if (p == FAILED)
			return -1;
		if (p == AGAIN)
			continue;
		json_array_extend(rules, some);
		return 0;
	}
	return err_set(e, ERR_UNAVAILABLE, "read nftables rules: they change all the time");
}
