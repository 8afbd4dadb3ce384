/* SPDX-License-Identifier: Apache-2.0 */
#include "ports.h"

#include "auto.h"
#include "debt.h"
#include "fs.h"
#include "jsonx.h"
#include "tool_format.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LEDGER "hostports"
enum { NAME_SIZE = 80, LOCK_MS = 30000 };

/* One host port: on one address, on all of a family, or on all. */
struct hostport {
	char protocol[8], ip[INET6_ADDRSTRLEN]; /* ip "*" = every address */
	unsigned port;
};

static struct hostport hostport_of(json_t *mapping)
{
	struct hostport h = {.port = (unsigned)jsonx_opt_int(mapping, "hostPort", 0)};
	const char *ip = jsonx_opt_string(mapping, "hostIP", "");
	unsigned char raw[16];
	int family = strchr(ip, ':') ? AF_INET6 : AF_INET;
	snprintf(h.protocol, sizeof h.protocol, "%s", jsonx_opt_string(mapping, "protocol", ""));
	/* One spelling of each address. */
	if (!*ip || inet_pton(family, ip, raw) != 1 || !inet_ntop(family, raw, h.ip, sizeof h.ip))
		snprintf(h.ip, sizeof h.ip, "*");
	return h;
}

static bool hostport_parse(struct hostport *h, const char *name)
{
	char copy[NAME_SIZE];
	char *end;
	snprintf(copy, sizeof copy, "%s", name);
	char *port = strchr(copy, '-'), *ip = port ? strchr(port + 1, '-') : NULL;
	if (!ip || port - copy >= (long)sizeof h->protocol)
		return false;
	*port++ = *ip++ = '\0';
	unsigned long n = strtoul(port, &end, 10);
	if (*end || n == 0 || n > 65535)
		return false;
	h->port = (unsigned)n;
	snprintf(h->protocol, sizeof h->protocol, "%.7s", copy);
	snprintf(h->ip, sizeof h->ip, "%.45s", ip);
	return true;
}

static bool is_wild(const char *ip)
{
	return strcmp(ip, "*") == 0 || strcmp(ip, "0.0.0.0") == 0 || strcmp(ip, "::") == 0;
}

static bool overlap(const struct hostport *a, const struct hostport *b)
{
	if (a->port != b->port || strcmp(a->protocol, b->protocol) != 0)
		return false;
	if (strcmp(a->ip, "*") == 0 || strcmp(b->ip, "*") == 0)
		return true;
	if (!strchr(a->ip, ':') != !strchr(b->ip, ':'))
		return false;
	return is_wild(a->ip) || is_wild(b->ip) || strcmp(a->ip, b->ip) == 0;
}

static bool read_owner(int dir, const char *name, char id[ID_SIZE])
{
	id[ID_LEN] = '\0';
	return readlinkat(dir, name, id, ID_LEN) == ID_LEN && id_is_valid(id);
}

enum owner { OWNER_GONE, OWNER_LIVE, OWNER_ABANDONED, OWNER_DEBTOR };

static enum owner judge(const struct tool_ctx *c, const char *id)
{
	struct err e;
	AUTO_POD_RECORD struct pod_record r = {0};
	AUTO_CLOSE int dir = object_open(&c->st, OBJ_POD, id, &e);
	if (debt_owed(c, id))
		return OWNER_DEBTOR;
	if (dir < 0)
		return e.kind == ERR_NOT_FOUND ? OWNER_GONE : OWNER_LIVE;
	if (pod_record_read_at(dir, &r, &e) == 0 && r.complete)
		return strcmp(r.state, "notready") == 0 ? OWNER_GONE : OWNER_LIVE;
	return fs_is_locked_at(dir, "lock", &e) == 0 ? OWNER_ABANDONED : OWNER_LIVE;
}

/* Take one port. 1 done, 0 taken by owner[], -1 error. The ledger is locked. */
static int take(const struct pod *p, int dir, const struct hostport *want, char owner[ID_SIZE],
		enum owner *state, struct err *e)
{
	char name[NAME_SIZE];
	const struct dirent *de;
	int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSEDIR DIR *d = again < 0 ? NULL : fdopendir(again);
	if (!d)
		return err_sys(e, "read %s", LEDGER);
	while ((de = readdir(d))) {
		struct hostport have;
		if (!hostport_parse(&have, de->d_name) || !overlap(&have, want) ||
		    !read_owner(dir, de->d_name, owner) || strcmp(owner, p->id) == 0)
			continue;
		*state = judge(p->c, owner);
		if (*state != OWNER_GONE)
			return 0;
		unlinkat(dir, de->d_name, 0);
	}
	snprintf(name, sizeof name, "%s-%u-%s", want->protocol, want->port, want->ip);
	if (symlinkat(p->id, dir, name) < 0 && errno != EEXIST)
		return err_sys(e, "note host port %s", name);
	return 1;
}

static int refuse(const struct pod *p, const struct hostport *h, const char *owner, bool debt,
		  struct err *e)
{
	struct err ignored;
	AUTO_CLOSE int dir = object_open(&p->c->st, OBJ_POD, owner, &ignored);
	AUTO_JSON json_t *config = dir < 0 ? NULL : object_config_read(dir, OBJ_POD, &ignored);
	json_t *meta = json_object_get(config, "metadata");
	return err_set(e, ERR_EXISTS, "host port %s%s%u/%s is taken by pod %s%s%s%s%s%s",
		       strcmp(h->ip, "*") == 0 ? "" : h->ip, strcmp(h->ip, "*") == 0 ? "" : ":",
		       h->port, h->protocol, owner, meta ? " (" : "",
		       jsonx_opt_string(meta, "namespace", ""), meta ? "/" : "",
		       jsonx_opt_string(meta, "name", ""),
		       debt && meta ? "), whose detachment is a debt"
		       : debt       ? ", whose detachment is a debt"
		       : meta       ? ")"
				    : "");
}

/* Claim one, and help away an owner that only a dead process or an unpaid debt keeps. */
static int claim_one(const struct pod *p, const struct hostport *want, struct err *e)
{
	char owner[ID_SIZE] = "";
	enum owner state = OWNER_GONE;
	struct err why;
	for (int i = 0; i < 8; i++) {
		AUTO_CLOSE int dir = fs_open_dir(p->c->st.root, LEDGER, e);
		AUTO_CLOSE int lock = dir < 0 ? -1 : fs_lock_at(dir, ".lock", LOCK_MS, e);
		if (lock < 0)
			return -1;
		int r = take(p, dir, want, owner, &state, e);
		if (r != 0)
			return r < 0 ? -1 : 0;
		close(TAKE_FD(lock));
		if (state == OWNER_LIVE)
			break;
		if (state == OWNER_DEBTOR && debt_pay(p->c, owner, &why) <= 0)
			break;
		if (state == OWNER_ABANDONED && pod_clean_abandoned(p->c, owner, &why) < 0)
			break;
	}
	return refuse(p, want, owner, state == OWNER_DEBTOR, e);
}

int ports_claim(const struct pod *p, json_t *mappings, struct err *e)
{
	size_t i;
	json_t *m;
	if (json_array_size(mappings) == 0)
		return 0;
	if (mkdirat(p->c->st.root, LEDGER, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "mkdir %s", LEDGER);
	json_array_foreach (mappings, i, m) {
		struct hostport h = hostport_of(m);
		if (claim_one(p, &h, e) < 0)
			return -1;
	}
	return 0;
}

void ports_release(struct tool_ctx *c, const char *id)
{
	struct err ignored;
	char owner[ID_SIZE];
	const struct dirent *de;
	if (faccessat(c->st.root, LEDGER, F_OK, 0) < 0 || debt_owed(c, id))
		return;
	int fd = fs_open_dir(c->st.root, LEDGER, &ignored);
	AUTO_CLOSEDIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	while (d && (de = readdir(d)))
		if (read_owner(dirfd(d), de->d_name, owner) && strcmp(owner, id) == 0)
			unlinkat(dirfd(d), de->d_name, 0);
}

/* What a pod's record adds to an entry. */
static void describe(struct tool_ctx *c, const char *id, const struct hostport *h, json_t *out)
{
	struct err ignored;
	size_t i;
	json_t *m;
	AUTO_CLOSE int dir = object_open(&c->st, OBJ_POD, id, &ignored);
	AUTO_JSON json_t *nets = network_records(dir);
	json_t *net = json_array_get(nets, 0);
	AUTO_JSON json_t *config = dir < 0 ? NULL : object_config_read(dir, OBJ_POD, &ignored);
	AUTO_POD_RECORD struct pod_record r = {0};
	if (config)
		json_object_set(out, "metadata", json_object_get(config, "metadata"));
	if (dir >= 0 && pod_record_read_at(dir, &r, &ignored) == 0)
		json_object_set_new(out, "pod_ip", json_string(r.ip));
	json_array_foreach (json_object_get(json_object_get(net, "runtime"), "portMappings"), i,
			    m) {
		struct hostport own = hostport_of(m);
		if (own.port == h->port && strcmp(own.protocol, h->protocol) == 0 &&
		    strcmp(own.ip, h->ip) == 0)
			json_object_set(out, "container_port", json_object_get(m, "containerPort"));
	}
	if (debt_owed(c, id))
		json_object_set_new(out, "reason", json_string("its detachment is a debt"));
}

static json_t *list_ports(struct tool_ctx *c, const char *only)
{
	struct err ignored;
	json_t *out = json_array();
	struct dirent **names = NULL;
	AUTO_CLOSE int dir = openat(c->st.root, LEDGER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int n = dir < 0 ? 0 : scandirat(dir, ".", &names, NULL, versionsort);
	(void)ignored;
	for (int i = 0; i < n; i++) {
		struct hostport h;
		char id[ID_SIZE];
		if (hostport_parse(&h, names[i]->d_name) && read_owner(dir, names[i]->d_name, id) &&
		    (!only || strcmp(id, only) == 0) && judge(c, id) != OWNER_GONE) {
			json_t *one = json_pack("{s:s, s:s, s:i, s:s}", "protocol", h.protocol,
						"host_ip", strcmp(h.ip, "*") == 0 ? "" : h.ip,
						"host_port", (int)h.port, "pod", id);
			describe(c, id, &h, one);
			json_array_append_new(out, one);
		}
		free(names[i]);
	}
	free(names);
	return out;
}

static void print_port(json_t *p)
{
	char where[INET6_ADDRSTRLEN + 16], to[INET6_ADDRSTRLEN + 16];
	const char *ip = jsonx_opt_string(p, "host_ip", "");
	const char *pod = jsonx_opt_string(p, "pod_ip", "");
	json_t *meta = json_object_get(p, "metadata");
	snprintf(where, sizeof where, strchr(ip, ':') ? "[%s]:%d" : "%s:%d", *ip ? ip : "*",
		 (int)jsonx_opt_int(p, "host_port", 0));
	snprintf(to, sizeof to, strchr(pod, ':') ? "[%s]:%d" : "%s:%d", *pod ? pod : "-",
		 (int)jsonx_opt_int(p, "container_port", 0));
	printf("%-5s %-24s %-24s %-13.13s %s/%s%s%s\n", jsonx_opt_string(p, "protocol", ""), where,
	       to, jsonx_opt_string(p, "pod", ""), jsonx_opt_string(meta, "namespace", "-"),
	       jsonx_opt_string(meta, "name", "-"), json_object_get(p, "reason") ? "  " : "",
	       jsonx_opt_string(p, "reason", ""));
}

static const char *ports_format;
const struct opt ports_opts[] = {TOOL_FORMAT_OPT(&ports_format), {.name = NULL}};

int cmd_ports(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	char id[ID_SIZE];
	size_t i;
	json_t *p;
	if (tool_format_check(ports_format, e) < 0 ||
	    (argc > 0 && object_resolve(&c->st, OBJ_POD, argv[0], id, e) < 0))
		return -1;
	AUTO_JSON json_t *list = list_ports(c, argc > 0 ? id : NULL);
	if (ports_format) {
		json_array_foreach (list, i, p)
			tool_format_print(ports_format, p);
		return 0;
	}
	if (c->json) {
		json_dumpf(list, stdout, JSON_INDENT(2));
		putchar('\n');
		return 0;
	}
	printf("%-5s %-24s %-24s %-13s %s\n", "PROTO", "HOST", "POD ADDRESS", "POD ID", "POD");
	json_array_foreach (list, i, p)
		print_port(p);
	return 0;
}
