/* SPDX-License-Identifier: Apache-2.0 */
#include "spec.h"

#include "auto.h"
#include "buf.h"
#include "jsonx.h"
#include "userns.h"
#include "xalloc.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

enum { RESOLV_MAX = 64 << 10, HOSTNAME_LEN_MAX = 64, NAME_LEN_MAX = 253 };

/* The parts of a pod's name go into CNI_ARGS, where ; and = separate, and into file names of
 * plugins. */
static int check_name(const char *field, const char *s, struct err *e)
{
	if (!*s)
		return err_set(e, ERR_BAD_INPUT, "metadata.%s: missing", field);
	if (strlen(s) > NAME_LEN_MAX || strspn(s, ALNUM "-_.") != strlen(s) || !strchr(ALNUM, s[0]))
		return err_set(e, ERR_BAD_INPUT,
			       "metadata.%s: '%.80s' is no name (up to %d letters, digits, - _ .)",
			       field, s, NAME_LEN_MAX);
	return 0;
}

static int read_metadata(struct pod_spec *s, const Runtime__V1__PodSandboxMetadata *m,
			 struct err *e)
{
	if (!m)
		return err_set(e, ERR_BAD_INPUT, "metadata: missing");
	if (check_name("name", m->name, e) < 0 || check_name("namespace", m->namespace_, e) < 0 ||
	    check_name("uid", m->uid, e) < 0)
		return -1;
	s->claim = xasprintf("%s\n%s\n%s\n%u", m->namespace_, m->name, m->uid, m->attempt);
	s->k8s_args =
		xasprintf("IgnoreUnknown=1;K8S_POD_NAMESPACE=%s;K8S_POD_NAME=%s;K8S_POD_UID=%s",
			  m->namespace_, m->name, m->uid);
	return 0;
}

/* Labels of letters, digits and inner hyphens, joined by dots. */
static bool hostname_is_valid(const char *s)
{
	size_t n = strlen(s);
	if (n == 0 || n > HOSTNAME_LEN_MAX || strspn(s, ALNUM "-.") != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool first = i == 0 || s[i - 1] == '.', last = i + 1 == n || s[i + 1] == '.';
		if ((first || last) && !strchr(ALNUM, s[i]))
			return false;
	}
	return true;
}

static int read_hostname(struct pod_spec *s, const Runtime__V1__PodSandboxConfig *m, struct err *e)
{
	char host[HOST_NAME_MAX + 1] = "";
	if (*m->hostname && !hostname_is_valid(m->hostname))
		return err_set(e, ERR_BAD_INPUT, "hostname: '%.80s' is no host name", m->hostname);
	if (!s->host_net && *m->hostname) {
		s->hostname = xstrdup(m->hostname);
		return 0;
	}
	/* As Kubernetes names its pods: by the pod's name, cut to one label's length. */
	AUTO_FREE char *name = xstrndup(m->metadata->name, 63);
	if (!s->host_net && hostname_is_valid(name)) {
		s->hostname = TAKE(name);
		return 0;
	}
	gethostname(host, sizeof host - 1);
	s->hostname = xstrdup(*host ? host : "localhost");
	return 0;
}

/* A user namespace owns the pod's others. The host's IPC and processes it cannot own, so their file
 * systems (mqueue, proc) could not be mounted; Kubernetes refuses the same two. The host's network
 * goes together with it. */
static int read_userns(struct pod_spec *s, const Runtime__V1__NamespaceOption *n, struct err *e)
{
	const char *field = "namespace_options.userns_options";
	const Runtime__V1__UserNamespace *u = n->userns_options;
	if (userns_check(u, field, e) < 0)
		return -1;
	if (!userns_wanted(u))
		return 0;
	if (s->host_ipc || n->pid == RUNTIME__V1__NAMESPACE_MODE__NODE)
		return err_set(e, ERR_BAD_INPUT,
			       "%s.mode: POD does not go together with namespace_options.%s NODE",
			       field, s->host_ipc ? "ipc" : "pid");
	s->uid_map = userns_map(u->uids, u->n_uids, field, e);
	s->gid_map = userns_map(u->gids, u->n_gids, field, e);
	s->root_uid = u->uids[0]->host_id;
	s->root_gid = u->gids[0]->host_id;
	s->n_gids = u->gids[0]->length;
	return s->uid_map && s->gid_map ? 0 : -1;
}

static int pod_or_node(const char *field, Runtime__V1__NamespaceMode mode, bool *host,
		       struct err *e)
{
	*host = mode == RUNTIME__V1__NAMESPACE_MODE__NODE;
	if (*host || mode == RUNTIME__V1__NAMESPACE_MODE__POD)
		return 0;
	return err_set(e, ERR_BAD_INPUT, "namespace_options.%s: only POD or NODE, not %d", field,
		       (int)mode);
}

static int read_security(struct pod_spec *s, const Runtime__V1__LinuxSandboxSecurityContext *x,
			 struct err *e)
{
	const Runtime__V1__NamespaceOption *n = x ? x->namespace_options : NULL;
	if (x && x->run_as_group && !x->run_as_user)
		return err_set(e, ERR_BAD_INPUT,
			       "security_context.run_as_group: given without run_as_user");
	/* Absent options are the message's zeros, as the peers read them: the pod shares its
	 * processes. */
	s->shared_pid = !n || n->pid == RUNTIME__V1__NAMESPACE_MODE__POD;
	if (!n)
		return 0;
	if (pod_or_node("network", n->network, &s->host_net, e) < 0 ||
	    pod_or_node("ipc", n->ipc, &s->host_ipc, e) < 0)
		return -1;
	if (n->pid != RUNTIME__V1__NAMESPACE_MODE__POD &&
	    n->pid != RUNTIME__V1__NAMESPACE_MODE__CONTAINER &&
	    n->pid != RUNTIME__V1__NAMESPACE_MODE__NODE)
		return err_set(e, ERR_BAD_INPUT,
			       "namespace_options.pid: only POD, CONTAINER or NODE, not %d",
			       (int)n->pid);
	return read_userns(s, n, e);
}

static int check_path(const char *field, const char *path, bool slice, struct err *e)
{
	size_t n = strlen(path);
	if (n == 0)
		return 0;
	for (const char *s = path; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return err_set(e, ERR_BAD_INPUT, "%s: control characters", field);
	bool relative = path[0] != '/';
	if (relative && slice && n > 6 && strcmp(path + n - 6, ".slice") == 0)
		relative = strchr(path, '/') != NULL;
	if (relative || strstr(path, "/../") || (n >= 3 && strcmp(path + n - 3, "/..") == 0))
		return err_set(e, ERR_BAD_INPUT, "%s: '%.80s' is no absolute path", field, path);
	return n < PATH_MAX ? 0 : err_set(e, ERR_BAD_INPUT, "%s: too long", field);
}

static int check_word(const char *field, size_t i, const char *s, struct err *e)
{
	bool bad = !*s || strlen(s) > NAME_LEN_MAX + 2;
	for (const char *c = s; *c; c++)
		bad = bad || (unsigned char)*c <= ' ' || *c == 0x7f;
	return bad ? err_set(e, ERR_BAD_INPUT, "dns_config.%s[%zu]: '%.80s' is malformed", field, i,
			     s)
		   : 0;
}

static int check_dns(const Runtime__V1__DNSConfig *d, struct err *e)
{
	unsigned char raw[16];
	for (size_t i = 0; i < d->n_servers; i++) {
		const char *a = d->servers[i];
		/* A zone may follow an IPv6 address: fe80::1%eth0. */
		AUTO_FREE char *plain = xstrndup(a, strcspn(a, "%"));
		if (check_word("servers", i, a, e) < 0)
			return -1;
		if (inet_pton(strchr(plain, ':') ? AF_INET6 : AF_INET, plain, raw) != 1)
			return err_set(e, ERR_BAD_INPUT,
				       "dns_config.servers[%zu]: '%.64s' is no address", i, a);
	}
	for (size_t i = 0; i < d->n_searches; i++)
		if (check_word("searches", i, d->searches[i], e) < 0)
			return -1;
	for (size_t i = 0; i < d->n_options; i++)
		if (check_word("options", i, d->options[i], e) < 0)
			return -1;
	return 0;
}

static int add_line(struct buf *b, const char *keyword, char **words, size_t n, struct err *e)
{
	if (n > 0 && buf_addstr(b, keyword, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (buf_addf(b, e, " %s", words[i]) < 0)
			return -1;
	return n > 0 ? buf_addstr(b, "\n", e) : 0;
}

static int read_dns(struct pod_spec *s, const Runtime__V1__DNSConfig *d, struct err *e)
{
	AUTO_BUF struct buf b = BUF_INIT(RESOLV_MAX);
	if (!d || d->n_servers + d->n_searches + d->n_options == 0)
		return 0;
	if (check_dns(d, e) < 0)
		return -1;
	if (add_line(&b, "search", d->searches, d->n_searches, e) < 0)
		return -1;
	for (size_t i = 0; i < d->n_servers; i++)
		if (add_line(&b, "nameserver", d->servers + i, 1, e) < 0)
			return -1;
	if (add_line(&b, "options", d->options, d->n_options, e) < 0)
		return -1;
	s->resolv = buf_take(&b);
	return 0;
}

static int read_sysctls(struct pod_spec *s, const Runtime__V1__LinuxPodSandboxConfig *l,
			const struct config *cfg, struct err *e)
{
	if (sysctl_add_defaults(s->sysctls, cfg->default_sysctls, s, e) < 0)
		return -1;
	for (size_t i = 0; l && i < l->n_sysctls; i++)
		if (sysctl_add(s->sysctls, l->sysctls[i]->key, l->sysctls[i]->value, s, e) < 0)
			return err_wrap(e, "linux.sysctls");
	return 0;
}

int pod_spec_of(struct pod_spec *s, const Runtime__V1__PodSandboxConfig *m,
		const struct config *cfg, struct err *e)
{
	const Runtime__V1__LinuxPodSandboxConfig *l = m->linux;
	*s = (struct pod_spec){.sysctls = json_object(), .runtime = json_object()};
	s->cgroup_parent = xstrdup(l ? l->cgroup_parent : "");
	if (read_metadata(s, m->metadata, e) < 0)
		return -1;
	if (l && read_security(s, l->security_context, e) < 0)
		return err_wrap(e, "linux");
	if (read_hostname(s, m, e) < 0 || read_sysctls(s, l, cfg, e) < 0 ||
	    read_dns(s, m->dns_config, e) < 0 || capabilities_of(s->runtime, m, e) < 0)
		return -1;
	if (check_path("log_directory", m->log_directory, false, e) < 0)
		return -1;
	return check_path("linux.cgroup_parent", s->cgroup_parent, true, e);
}

void pod_spec_release(struct pod_spec *s)
{
	free(s->uid_map);
	free(s->gid_map);
	free(s->hostname);
	free(s->resolv);
	free(s->claim);
	free(s->k8s_args);
	free(s->cgroup_parent);
	json_decref(s->sysctls);
	json_decref(s->runtime);
	*s = (struct pod_spec){0};
}
