/* SPDX-License-Identifier: Apache-2.0 */
/* Host name, /etc/hosts and DNS: kubelet_pods.go, network/dns/dns.go. */
#include "podmanifest.h"

#include "auto.h"
#include "buf.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	FILE_MAX = 1 << 20,
	HOSTNAME_LEN_MAX = 63,
	SERVERS_MAX = 3,
	SEARCHES_MAX = 32,
	SEARCH_BYTES_MAX = 2048
};

static int check_name(const struct pm *p, const char *key, bool (*is_good)(const char *),
		      struct err *e)
{
	const char *s = str(p->spec, key);
	return !*s || is_good(s)
		       ? 0
		       : err_set(e, ERR_BAD_INPUT, "%s: spec.%s: '%.100s' is not a host's name",
				 p->what, key, s);
}

static int set_names(struct pm *p, struct err *e)
{
	const char *override = str(p->spec, "hostnameOverride"), *own = str(p->spec, "hostname");
	const char *sub = str(p->spec, "subdomain");
	if (check_name(p, "hostnameOverride", name_is_subdomain, e) < 0 ||
	    check_name(p, "hostname", name_is_label, e) < 0 ||
	    check_name(p, "subdomain", name_is_label, e) < 0)
		return -1;
	free(p->hostname);
	free(p->domain);
	p->hostname = xstrdup(*override ? override : *own ? own : p->name);
	p->domain = *sub && !*override
			    ? xasprintf("%s.%s.svc.%s", sub, p->namespace_, p->o->cluster_domain)
			    : xstrdup("");
	size_t n = strlen(p->hostname);
	if (n > HOSTNAME_LEN_MAX) {
		n = HOSTNAME_LEN_MAX;
		while (n > 1 && strchr("-.", p->hostname[n - 1]))
			n--;
		p->hostname[n] = '\0';
	}
	return 0;
}

static int add_aliases(const struct pm *p, struct buf *b, struct err *e)
{
	size_t i, k;
	json_t *alias, *name, *aliases = json_object_get(p->spec, "hostAliases");
	unsigned char addr[sizeof(struct in6_addr)];
	if (json_array_size(aliases) && buf_addstr(b, "\n# Entries added by HostAliases.\n", e) < 0)
		return -1;
	json_array_foreach (aliases, i, alias) {
		const char *ip = str(alias, "ip");
		if (inet_pton(AF_INET, ip, addr) != 1 && inet_pton(AF_INET6, ip, addr) != 1)
			return err_set(e, ERR_BAD_INPUT,
				       "%s: spec.hostAliases[%zu].ip: '%.60s' is no address",
				       p->what, i, ip);
		if (buf_addstr(b, ip, e) < 0)
			return -1;
		json_array_foreach (json_object_get(alias, "hostnames"), k, name) {
			if (!name_is_subdomain(json_string_value(name)))
				return err_set(e, ERR_BAD_INPUT,
					       "%s: spec.hostAliases[%zu].hostnames[%zu]: '%.100s'",
					       p->what, i, k, json_string_value(name));
			if (buf_addf(b, e, "\t%s", json_string_value(name)) < 0)
				return -1;
		}
		if (buf_addstr(b, "\n", e) < 0)
			return -1;
	}
	return 0;
}

static int hosts_text(struct pm *p, struct buf *b, struct err *e)
{
	static const char head[] = "# Kubernetes-managed hosts file.\n"
				   "127.0.0.1\tlocalhost\n"
				   "::1\tlocalhost ip6-localhost ip6-loopback\n"
				   "fe00::0\tip6-localnet\n"
				   "fe00::0\tip6-mcastprefix\n"
				   "fe00::1\tip6-allnodes\n"
				   "fe00::2\tip6-allrouters\n";
	if (flag(p->spec, "hostNetwork")) {
		if (buf_addstr(b, "# Kubernetes-managed hosts file (host network).\n", e) < 0 ||
		    fs_read_at(AT_FDCWD, "/etc/hosts", b, e) < 0)
			return -1;
		return add_aliases(p, b, e);
	}
	const char *dot = *p->domain ? "." : "";
	if (buf_addstr(b, head, e) < 0 ||
	    (*p->domain ? buf_addf(b, e, "%s\t%s%s%s\t%s\n", p->pod_ip, p->hostname, dot, p->domain,
				   p->hostname)
			: buf_addf(b, e, "%s\t%s\n", p->pod_ip, p->hostname)) < 0)
		return -1;
	return add_aliases(p, b, e);
}

int hosts_prepare(struct pm *p, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(FILE_MAX);
	AUTO_FREE char *file = xasprintf("%s/etc-hosts", p->dir);
	if (set_names(p, e) < 0 || hosts_text(p, &b, e) < 0)
		return -1;
	if (!p->o->pod_ip && !flag(p->spec, "hostNetwork"))
		json_array_append_new(p->late, json_string(file));
	if (!p->write)
		return 0;
	return fs_replace_file_at(AT_FDCWD, file, 0644, b.data, b.len, 0, e);
}

static void add_word(json_t *list, const char *word)
{
	if (!jsonx_has_string(list, word))
		json_array_append_new(list, json_string(word));
}

/* The node's resolv.conf. Its last search and options lines hold, nameservers add up. */
static int read_resolv_conf(const struct pm *p, json_t *dns, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(FILE_MAX);
	char *line, *rest, *word, *words;
	if (fs_read_at(AT_FDCWD, p->o->resolv_conf, &b, e) < 0)
		return -1;
	for (line = b.data ? strtok_r(b.data, "\n", &rest) : NULL; line;
	     line = strtok_r(NULL, "\n", &rest)) {
		word = strtok_r(line, " \t\r", &words);
		if (!word || *word == '#')
			continue;
		bool server = strcmp(word, "nameserver") == 0, search = strcmp(word, "search") == 0;
		if (!server && !search && strcmp(word, "options") != 0)
			continue;
		json_t *list = json_object_get(dns, server   ? "servers"
						    : search ? "searches"
							     : "options");
		if (!server)
			json_array_clear(list);
		while ((word = strtok_r(NULL, " \t\r", &words))) {
			size_t n = strlen(word);
			if (search && n > 1 && word[n - 1] == '.')
				word[n - 1] = '\0';
			json_array_append_new(list, json_stringn(word, strlen(word)));
		}
	}
	return 0;
}

static void of_cluster(const struct pm *p, json_t *dns)
{
	json_t *servers = json_array(), *searches = json_array(), *one;
	const char *domain = p->o->cluster_domain;
	size_t i;
	for (int k = 0; k < p->o->cluster_dns.count; k++)
		json_array_append_new(servers, json_string(p->o->cluster_dns.v[k]));
	if (*domain) {
		AUTO_FREE char *ns = xasprintf("%s.svc.%s", p->namespace_, domain);
		AUTO_FREE char *svc = xasprintf("svc.%s", domain);
		add_word(searches, ns);
		add_word(searches, svc);
		add_word(searches, domain);
	}
	json_array_foreach (json_object_get(dns, "searches"), i, one)
		add_word(searches, json_string_value(one));
	json_object_set_new(dns, "servers", servers);
	json_object_set_new(dns, "searches", searches);
	json_object_set_new(dns, "options", json_pack("[s]", "ndots:5"));
}

/* An option of the pod takes the place of the one of its name. */
static void add_option(json_t *options, const char *name, const char *value)
{
	size_t i;
	json_t *one;
	AUTO_FREE char *text = *value ? xasprintf("%s:%s", name, value) : xstrdup(name);
	json_array_foreach (options, i, one) {
		const char *s = json_string_value(one);
		size_t n = strcspn(s, ":");
		if (n == strlen(name) && strncmp(s, name, n) == 0) {
			json_array_set_new(options, i, json_string(text));
			return;
		}
	}
	json_array_append_new(options, json_string(text));
}

static void of_pod(const struct pm *p, json_t *dns)
{
	json_t *config = json_object_get(p->spec, "dnsConfig"), *one;
	size_t i, bytes = 0;
	json_array_foreach (json_object_get(config, "nameservers"), i, one)
		add_word(json_object_get(dns, "servers"), json_string_value(one));
	json_array_foreach (json_object_get(config, "searches"), i, one)
		add_word(json_object_get(dns, "searches"), json_string_value(one));
	json_array_foreach (json_object_get(config, "options"), i, one)
		add_option(json_object_get(dns, "options"), str(one, "name"), str(one, "value"));
	json_t *servers = json_object_get(dns, "servers"),
	       *searches = json_object_get(dns, "searches");
	while (json_array_size(servers) > SERVERS_MAX)
		json_array_remove(servers, json_array_size(servers) - 1);
	for (i = 0; i < json_array_size(searches); i++) {
		bytes += json_string_length(json_array_get(searches, i)) + 1;
		if (i >= SEARCHES_MAX || bytes > SEARCH_BYTES_MAX)
			json_array_remove(searches, i--);
	}
}

json_t *dns_config(struct pm *p, struct err *e)
{
	const char *policy = str(p->spec, "dnsPolicy");
	bool host = flag(p->spec, "hostNetwork"), none = strcmp(policy, "None") == 0;
	bool with_host = strcmp(policy, "ClusterFirstWithHostNet") == 0;
	bool first = !*policy || strcmp(policy, "ClusterFirst") == 0;
	AUTO_JSON json_t *dns = json_pack("{s:[], s:[], s:[]}", "servers", "searches", "options");
	if (!none && !with_host && !first && strcmp(policy, "Default") != 0)
		return err_set_p(e, ERR_BAD_INPUT, "%s: spec.dnsPolicy: '%.60s'", p->what, policy);
	if (!none && read_resolv_conf(p, dns, e) < 0)
		return NULL;
	/* Without a cluster's server a kubelet falls back to the node's. */
	if ((with_host || (first && !host)) && p->o->cluster_dns.count)
		of_cluster(p, dns);
	of_pod(p, dns);
	return TAKE(dns);
}
