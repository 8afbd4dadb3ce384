/* SPDX-License-Identifier: Apache-2.0 */
/* rtnetlink, as little as an interface with addresses needs. */
#include "replay.h"

#include "auto.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { MESSAGE_MAX = 1024, MAC_LEN = 6 };

struct message {
	union {
		struct nlmsghdr h;
		char bytes[MESSAGE_MAX];
	};
};

static void *begin(struct message *m, int type, int flags, size_t body)
{
	memset(m, 0, sizeof *m);
	m->h.nlmsg_type = (uint16_t)type;
	m->h.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	m->h.nlmsg_len = NLMSG_LENGTH((uint32_t)body);
	return NLMSG_DATA(&m->h);
}

/* What is put is far less than MESSAGE_MAX. */
static struct rtattr *put(struct message *m, int type, const void *data, size_t len)
{
	struct rtattr *a = (struct rtattr *)(void *)(m->bytes + NLMSG_ALIGN(m->h.nlmsg_len));
	a->rta_type = (uint16_t)type;
	a->rta_len = (uint16_t)RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(a), data, len);
	m->h.nlmsg_len = NLMSG_ALIGN(m->h.nlmsg_len) + (uint32_t)RTA_ALIGN(a->rta_len);
	return a;
}

static void close_nest(const struct message *m, struct rtattr *a)
{
	a->rta_len = (uint16_t)(m->bytes + m->h.nlmsg_len - (const char *)a);
}

/* errno of the kernel's answer, 0 = done. */
static int ask(int fd, struct message *m)
{
	struct message answer;
	if (send(fd, m, m->h.nlmsg_len, 0) < 0)
		return errno;
	ssize_t n = recv(fd, &answer, sizeof answer, 0);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)) ||
	    answer.h.nlmsg_type != NLMSG_ERROR)
		return n < 0 ? errno : EPROTO;
	const struct nlmsgerr *err = NLMSG_DATA(&answer.h);
	return -err->error;
}

static bool parse_mac(const char *s, unsigned char mac[MAC_LEN])
{
	for (int i = 0; i < MAC_LEN; i++) {
		char *end;
		unsigned long v = strtoul(s, &end, 16);
		if (end != s + 2 || v > 255 || *end != (i == MAC_LEN - 1 ? '\0' : ':'))
			return false;
		mac[i] = (unsigned char)v;
		s = end + 1;
	}
	return true;
}

static int make_link(int fd, const char *name, const char *mac, const char *kind)
{
	struct message m;
	unsigned char hw[MAC_LEN];
	begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	put(&m, IFLA_IFNAME, name, strlen(name) + 1);
	if (parse_mac(mac, hw))
		put(&m, IFLA_ADDRESS, hw, sizeof hw);
	struct rtattr *info = put(&m, IFLA_LINKINFO, NULL, 0);
	put(&m, IFLA_INFO_KIND, kind, strlen(kind) + 1);
	if (strcmp(kind, "veth") == 0) {
		/* The other end stays in the same namespace. */
		const struct ifinfomsg none = {0};
		struct rtattr *data = put(&m, IFLA_INFO_DATA, NULL, 0);
		struct rtattr *peer = put(&m, VETH_INFO_PEER, &none, sizeof none);
		put(&m, IFLA_IFNAME, "nowhere", sizeof "nowhere");
		close_nest(&m, peer);
		close_nest(&m, data);
	}
	close_nest(&m, info);
	return ask(fd, &m);
}

static int raise_link(int fd, const char *name)
{
	struct message m;
	struct ifinfomsg *i = begin(&m, RTM_NEWLINK, 0, sizeof *i);
	i->ifi_index = (int)if_nametoindex(name);
	i->ifi_flags = i->ifi_change = IFF_UP;
	return i->ifi_index ? ask(fd, &m) : 0;
}

static int add_address(int fd, const char *name, const char *text, struct err *e)
{
	struct message m;
	unsigned char raw[16];
	char host[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	long bits = 0;
	size_t n = slash ? (size_t)(slash - text) : sizeof host;
	if (n >= sizeof host || tool_parse_long(slash + 1, &bits) < 0)
		return err_set(e, ERR_BAD_INPUT, "'%.80s' is no address", text);
	memcpy(host, text, n);
	host[n] = '\0';
	int family = strchr(host, ':') ? AF_INET6 : AF_INET;
	size_t len = family == AF_INET ? 4 : 16;
	if (inet_pton(family, host, raw) != 1 || bits < 0 || bits > (long)len * 8)
		return err_set(e, ERR_BAD_INPUT, "'%.80s' is no address", text);
	struct ifaddrmsg *a = begin(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *a);
	a->ifa_family = (uint8_t)family;
	a->ifa_prefixlen = (uint8_t)bits;
	a->ifa_index = if_nametoindex(name);
	a->ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0;
	put(&m, IFA_LOCAL, raw, len);
	put(&m, IFA_ADDRESS, raw, len);
	errno = ask(fd, &m);
	return errno ? err_sys(e, "address %s of %s", text, name) : 0;
}

/* Everything else is behind it, too; nobody will answer. */
static void add_default_route(int fd, const char *name, int family)
{
	struct message m;
	uint32_t index = if_nametoindex(name);
	struct rtmsg *r = begin(&m, RTM_NEWROUTE, NLM_F_CREATE, sizeof *r);
	r->rtm_family = (uint8_t)family;
	r->rtm_table = RT_TABLE_MAIN;
	r->rtm_protocol = RTPROT_STATIC;
	r->rtm_scope = RT_SCOPE_UNIVERSE;
	r->rtm_type = RTN_UNICAST;
	put(&m, RTA_OIF, &index, sizeof index);
	(void)ask(fd, &m);
}

int stubnet_link(const char *name, const char *mac, const json_t *addresses, struct err *e)
{
	size_t i;
	json_t *one;
	bool v4 = false, v6 = false;
	AUTO_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return err_sys(e, "netlink");
	if (!*name || strlen(name) >= IFNAMSIZ)
		return err_set(e, ERR_BAD_INPUT, "'%.40s' is no name of an interface", name);
	/* Not every kernel has the first. */
	int bad = make_link(fd, name, mac, "dummy");
	if (bad == EOPNOTSUPP)
		bad = make_link(fd, name, mac, "veth");
	errno = bad;
	if (bad)
		return err_sys(e, "make interface %s", name);
	errno = raise_link(fd, name);
	if (errno)
		return err_sys(e, "raise interface %s", name);
	(void)raise_link(fd, "nowhere");
	json_array_foreach (addresses, i, one) {
		const char *text = json_is_string(one) ? json_string_value(one) : "";
		if (add_address(fd, name, text, e) < 0)
			return -1;
		v6 = v6 || strchr(text, ':');
		v4 = v4 || !strchr(text, ':');
	}
	if (v4)
		add_default_route(fd, name, AF_INET);
	if (v6)
		add_default_route(fd, name, AF_INET6);
	return 0;
}
