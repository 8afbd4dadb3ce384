/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "buf.h"
#include "fs.h"
#include "rules.h"
#include "xalloc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

enum { AGAIN_MAX = 16, BLOB_MAX = 256 << 20 };

/* The two families' entries differ in what they match on; what follows it has the same layout. */
struct family {
	const char *program;
	const char *names; /* the tables that exist: asking for another one would make it */
	int domain, level, get_info, get_entries;
	size_t entry_size, next_at, target_at, src, dst, src_mask, dst_mask, address;
};

#define FAMILY(entry, ip, prog, file, dom, lev, info, entries, addr) \
	{ \
		.program = (prog), .names = (file), .domain = (dom), .level = (lev), \
		.get_info = (info), .get_entries = (entries), .entry_size = sizeof(struct entry), \
		.next_at = offsetof(struct entry, next_offset), \
		.target_at = offsetof(struct entry, target_offset), \
		.src = offsetof(struct entry, ip.src), .dst = offsetof(struct entry, ip.dst), \
		.src_mask = offsetof(struct entry, ip.smsk), \
		.dst_mask = offsetof(struct entry, ip.dmsk), .address = (addr), \
	}
static const struct family families[] = {
	FAMILY(ipt_entry, ip, "iptables-legacy", "/proc/net/ip_tables_names", AF_INET, SOL_IP,
	       IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES, sizeof(struct in_addr)),
	FAMILY(ip6t_entry, ipv6, "ip6tables-legacy", "/proc/net/ip6_tables_names", AF_INET6,
	       SOL_IPV6, IP6T_SO_GET_INFO, IP6T_SO_GET_ENTRIES, sizeof(struct in6_addr)),
};

/* A table as the kernel hands it out: entries one after the other, chain after chain. */
struct table {
	const struct family *f;
	char name[XT_TABLE_MAXNAMELEN];
	char *blob;
	size_t size;
	unsigned hooks, hook_entry[NF_INET_NUMHOOKS];
};

static uint16_t half_at(const char *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

/* Lengths of the entry at `at`; false when it does not fit. */
static bool measure(const struct table *t, size_t at, size_t *target, size_t *next)
{
	const struct family *f = t->f;
	if (at > t->size || t->size - at < f->entry_size)
		return false;
	*target = half_at(t->blob + at + f->target_at);
	*next = half_at(t->blob + at + f->next_at);
	return *target >= f->entry_size && *next <= t->size - at &&
	       *target + sizeof(struct xt_entry_target) <= *next;
}

static const char *builtin_at(const struct table *t, size_t at)
{
	static const char *const names[NF_INET_NUMHOOKS] = {"PREROUTING", "INPUT", "FORWARD",
							    "OUTPUT", "POSTROUTING"};
	for (unsigned h = 0; h < NF_INET_NUMHOOKS; h++)
		if ((t->hooks & 1U << h) && t->hook_entry[h] == at)
			return names[h];
	return NULL;
}

/* The name that the entry gives to the chain after it (target ERROR), or NULL. */
static const char *heading(const struct table *t, size_t at, size_t target, size_t next)
{
	const struct xt_error_target *x = (const void *)(t->blob + at + target);
	if (next - target < sizeof *x ||
	    strncmp(x->target.u.user.name, XT_ERROR_TARGET, sizeof x->target.u.user.name) != 0 ||
	    !memchr(x->errorname, '\0', sizeof x->errorname))
		return NULL;
	return x->errorname;
}

/* The chain whose first rule is at `where`: what a jump leads to. */
static const char *chain_at(const struct table *t, size_t where)
{
	size_t target, next;
	for (size_t at = 0; measure(t, at, &target, &next); at += next)
		if (at + next == where)
			return heading(t, at, target, next);
	return NULL;
}

static const char *jump_of(const struct table *t, size_t at, size_t target, size_t next)
{
	const struct xt_standard_target *x = (const void *)(t->blob + at + target);
	if (next - target < sizeof *x || x->target.u.user.name[0] != '\0' || x->verdict < 0)
		return NULL;
	return chain_at(t, (size_t)x->verdict);
}

static bool is_host(const char *mask, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)mask[i] != 0xff)
			return false;
	return true;
}

static void read_rule(json_t *rules, const struct table *t, const char *chain, int number,
		      size_t at, size_t target, size_t next)
{
	const struct family *f = t->f;
	const char *entry = t->blob + at, *jump = jump_of(t, at, target, next);
	char id[RULE_ID_SIZE];
	json_t *addresses = json_array();
	json_t *rule = json_pack("{s:o, s:o, s:s, s:o}", "where",
				 json_sprintf("%s %s %s %d", f->program, t->name, chain, number),
				 "table", json_sprintf("%s %s", f->program, t->name), "chain",
				 chain, "addresses", addresses);
	if (!rule)
		return;
	rule_find_id(entry + f->entry_size, next - f->entry_size, id);
	if (*id)
		json_object_set_new(rule, "id", json_string(id));
	if (jump)
		json_object_set_new(rule, "jump", json_string(jump));
	if (is_host(entry + f->src_mask, f->address))
		rule_add_address(addresses, entry + f->src, f->address);
	if (is_host(entry + f->dst_mask, f->address))
		rule_add_address(addresses, entry + f->dst, f->address);
	json_array_append_new(rules, rule);
}

/* Each chain ends with an entry that is no rule: its policy or its return. It has no match. */
static void read_table(json_t *rules, const struct table *t)
{
	const char *chain = "";
	size_t target, next, after_target, after_next;
	int number = 0;
	for (size_t at = 0; measure(t, at, &target, &next); at += next) {
		const char *head = heading(t, at, target, next), *builtin = builtin_at(t, at);
		if (head || builtin) {
			chain = head ? head : builtin;
			number = 0;
		}
		bool last = !measure(t, at + next, &after_target, &after_next) ||
			    heading(t, at + next, after_target, after_next) ||
			    builtin_at(t, at + next);
		if (!head && !last)
			read_rule(rules, t, chain, ++number, at, target, next);
	}
}

/* 1 read, 0 gone or changed meanwhile, -1 error. The blob is to be freed. */
static int fetch(struct table *t, int fd, struct err *e)
{
	const struct family *f = t->f;
	struct ipt_getinfo info = {.name = ""}; /* both families have one layout for these */
	socklen_t len = sizeof info;
	snprintf(info.name, sizeof info.name, "%s", t->name);
	if (getsockopt(fd, f->level, f->get_info, &info, &len) < 0)
		return errno == ENOENT ? 0 : err_sys(e, "read %s rules", f->program);
	if (info.size > BLOB_MAX)
		return err_set(e, ERR_EXHAUSTED, "read %s rules: %u bytes", f->program, info.size);
	size_t head = offsetof(struct ipt_get_entries, entrytable);
	struct ipt_get_entries *all = xcalloc(1, head + info.size);
	memcpy(all->name, info.name, sizeof all->name);
	all->size = info.size;
	len = (socklen_t)(head + info.size);
	if (getsockopt(fd, f->level, f->get_entries, all, &len) < 0) {
		free(all);
		return errno == EAGAIN || errno == ENOENT ? 0
							  : err_sys(e, "read %s rules", f->program);
	}
	t->size = info.size;
	t->hooks = info.valid_hooks;
	memcpy(t->hook_entry, info.hook_entry, sizeof t->hook_entry);
	/* What points into it needs its alignment: the entries to the front. */
	memmove(all, (const char *)all + head, info.size);
	t->blob = (char *)all;
	return 1;
}

static int read_family(json_t *rules, const struct family *f, struct err *e)
{
	struct table t = {.f = f};
	AUTO_BUF struct buf names = BUF_INIT(4096);
	/* No such file: not in this kernel, or not yet. Then there are no rules. */
	if (fs_read_at(AT_FDCWD, f->names, &names, e) < 0)
		return e->errnum == ENOENT ? 0 : -1;
	AUTO_CLOSE int fd = socket(f->domain, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	if (fd < 0)
		return err_sys(e, "read %s rules", f->program);
	for (char *rest = names.data, *name; (name = strsep(&rest, "\n"));) {
		int r = 0;
		if (!*name)
			continue;
		snprintf(t.name, sizeof t.name, "%s", name);
		for (int i = 0; i < AGAIN_MAX && r == 0; i++)
			r = fetch(&t, fd, e);
		if (r < 0)
			return -1;
		if (r > 0)
			read_table(rules, &t);
		free(t.blob);
		t.blob = NULL;
	}
	return 0;
}

int rules_legacy(json_t *rules, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		if (read_family(rules, &families[i], e) < 0)
			return -1;
	return 0;
}
