/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "jsonx.h"
#include "spec.h"
#include "xalloc.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const protocols[] = {"tcp", "udp", "sctp"};

static int check_port(const Runtime__V1__PortMapping *p, size_t i, struct err *e)
{
	unsigned char raw[16];
	const char *ip = p->host_ip;
	if ((unsigned)p->protocol >= ARRAY_LEN(protocols))
		return err_set(e, ERR_BAD_INPUT, "port_mappings[%zu].protocol: unknown: %d", i,
			       (int)p->protocol);
	if (p->host_port < 0 || p->host_port > 65535)
		return err_set(e, ERR_BAD_INPUT, "port_mappings[%zu].host_port: no port: %d", i,
			       p->host_port);
	if (p->container_port < (p->host_port > 0) || p->container_port > 65535)
		return err_set(e, ERR_BAD_INPUT, "port_mappings[%zu].container_port: no port: %d",
			       i, p->container_port);
	if (*ip && inet_pton(strchr(ip, ':') ? AF_INET6 : AF_INET, ip, raw) != 1)
		return err_set(e, ERR_BAD_INPUT, "port_mappings[%zu].host_ip: no address: '%.64s'",
			       i, ip);
	return 0;
}

static json_t *port_mappings(const Runtime__V1__PodSandboxConfig *m, struct err *e)
{
	AUTO_JSON json_t *out = json_array();
	for (size_t i = 0; i < m->n_port_mappings; i++) {
		const Runtime__V1__PortMapping *p = m->port_mappings[i];
		if (check_port(p, i, e) < 0)
			return NULL;
		if (p->host_port == 0)
			continue;
		json_t *one =
			json_pack("{s:i, s:i, s:s}", "hostPort", p->host_port, "containerPort",
				  p->container_port, "protocol", protocols[p->protocol]);
		if (*p->host_ip)
			json_object_set_new(one, "hostIP", json_string(p->host_ip));
		json_array_append_new(out, one);
	}
	return TAKE(out);
}

static json_t *strings(char **v, size_t n)
{
	json_t *out = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(out, json_string(v[i]));
	return out;
}

/* A Kubernetes quantity as bits a second: digits, perhaps a fraction, perhaps k M G T or Ki Mi Gi
 * Ti. */
static int quantity(const char *name, const char *text, json_int_t *out, struct err *e)
{
	static const struct {
		const char *suffix;
		double factor;
	} units[] = {{"", 1},         {"k", 1e3},      {"M", 1e6},      {"G", 1e9},    {"T", 1e12},
		     {"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"Ti", 0x1p40}};
	char *end = NULL;
	double d = strspn(text, "0123456789") ? strtod(text, &end) : -1;
	for (size_t i = 0; end && i < ARRAY_LEN(units); i++) {
		if (strcmp(end, units[i].suffix) != 0)
			continue;
		d *= units[i].factor;
		if (d < 1e3 || d > 1e15)
			break;
		*out = (json_int_t)d;
		return 0;
	}
	return err_set(e, ERR_BAD_INPUT,
		       "annotations.%s: '%.40s' is no bandwidth (1k to 1000T, in bits a second)",
		       name, text);
}

static int bandwidth(json_t *out, const char *key, const char *value, struct err *e)
{
	bool in = strcmp(key, "kubernetes.io/ingress-bandwidth") == 0;
	json_int_t rate = 0;
	if (!in && strcmp(key, "kubernetes.io/egress-bandwidth") != 0)
		return 0;
	if (quantity(key, value, &rate, e) < 0)
		return -1;
	/* The burst that the other runtimes give: as large as the plugin takes. */
	json_object_set_new(out, in ? "ingressRate" : "egressRate", json_integer(rate));
	json_object_set_new(out, in ? "ingressBurst" : "egressBurst", json_integer(INT32_MAX));
	return 0;
}

/* "aa:bb:cc:dd:ee:ff" of a single host. */
static bool is_mac(const char *s)
{
	for (int i = 0; i < 17; i++)
		if (i % 3 == 2 ? s[i] != ':' : !isxdigit((unsigned char)s[i]))
			return false;
	return s[17] == '\0' && !(strtoul(s, NULL, 16) & 1);
}

/* An address, perhaps with a prefix length. */
static bool is_address(const char *s)
{
	char ip[INET6_ADDRSTRLEN];
	unsigned char raw[16];
	size_t n = strcspn(s, "/");
	if (n >= sizeof ip || (s[n] && (!s[n + 1] || strspn(s + n + 1, "0123456789") > 3 ||
					s[n + 1 + strspn(s + n + 1, "0123456789")])))
		return false;
	snprintf(ip, sizeof ip, "%.*s", (int)n, s);
	return inet_pton(strchr(ip, ':') ? AF_INET6 : AF_INET, ip, raw) == 1;
}

static bool is_alias(const char *s)
{
	size_t n = strlen(s);
	return n > 0 && n <= 253 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == n;
}

/* A comma-separated annotation as an array whose members are `valid`. */
static int words(json_t *runtime, const char *cap, const char *key, const char *value,
		 bool (*valid)(const char *), struct err *e)
{
	AUTO_JSON json_t *out = json_array();
	for (const char *s = value;; s++) {
		AUTO_FREE char *one = xstrndup(s, strcspn(s, ","));
		if (!valid(one))
			return err_set(e, ERR_BAD_INPUT, "annotations.%s: '%.64s' is malformed",
				       key, one);
		json_array_append_new(out, json_string(one));
		s += strlen(one);
		if (!*s)
			break;
	}
	json_object_set(runtime, cap, out);
	return 0;
}

/* What the CRI has no field for is asked for by annotation. */
static int by_annotation(json_t *runtime, const char *key, const char *value, struct err *e)
{
	if (strcmp(key, "crisp.network/ips") == 0)
		return words(runtime, "ips", key, value, is_address, e);
	if (strcmp(key, "crisp.network/aliases") == 0)
		return words(runtime, "aliases", key, value, is_alias, e);
	if (strcmp(key, "crisp.network/mac") != 0)
		return 0;
	if (!is_mac(value))
		return err_set(e, ERR_BAD_INPUT, "annotations.%s: '%.64s' is no MAC address", key,
			       value);
	json_object_set_new(runtime, "mac", json_string(value));
	return 0;
}

int capabilities_of(json_t *runtime, const Runtime__V1__PodSandboxConfig *m, struct err *e)
{
	AUTO_JSON json_t *band = json_object();
	AUTO_JSON json_t *annotations = json_object();
	AUTO_JSON json_t *ports = port_mappings(m, e);
	if (!ports)
		return -1;
	for (size_t i = 0; i < m->n_annotations; i++) {
		const char *key = m->annotations[i]->key, *value = m->annotations[i]->value;
		if (bandwidth(band, key, value, e) < 0 || by_annotation(runtime, key, value, e) < 0)
			return -1;
		json_object_set_new(annotations, m->annotations[i]->key,
				    json_string(m->annotations[i]->value));
	}
	if (json_array_size(ports) > 0)
		json_object_set(runtime, "portMappings", ports);
	if (json_object_size(band) > 0)
		json_object_set(runtime, "bandwidth", band);
	if (json_object_size(annotations) > 0)
		json_object_set(runtime, "io.kubernetes.cri.pod-annotations", annotations);
	if (m->linux && *m->linux->cgroup_parent)
		json_object_set_new(runtime, "cgroupPath", json_string(m->linux->cgroup_parent));
	const Runtime__V1__DNSConfig *d = m->dns_config;
	if (d && d->n_servers + d->n_searches + d->n_options > 0)
		json_object_set_new(runtime, "dns",
				    json_pack("{s:o, s:o, s:o}", "servers",
					      strings(d->servers, d->n_servers), "searches",
					      strings(d->searches, d->n_searches), "options",
					      strings(d->options, d->n_options)));
	return 0;
}
