/* SPDX-License-Identifier: Apache-2.0 */
/* Probes and lifecycle hooks as commands: inside the container, or on the node against the pod's
 * address (pkg/probe, pkg/kubelet/lifecycle). */
#include "podmanifest.h"

#include "auto.h"
#include "jsonx.h"
#include "xalloc.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

int port_number(json_t *container, const json_t *port, const char *path, struct err *e)
{
	const char *name = json_string_value(port);
	json_int_t n = json_integer_value(port);
	size_t i;
	json_t *one;
	json_array_foreach (json_object_get(container, "ports"), i, one)
		if (name && strcmp(str(one, "name"), name) == 0)
			n = json_integer_value(json_object_get(one, "containerPort"));
	if (name && n == 0) {
		long parsed;
		n = tool_parse_long(name, &parsed) == 0 ? parsed : 0;
	}
	if (n < 1 || n > 65535)
		return err_set(e, ERR_BAD_INPUT, "%s.port: '%.60s' is no port", path,
			       name ? name : "");
	return (int)n;
}

static const char *host_of(const struct pm *p, const json_t *action)
{
	const char *host = str(action, "host");
	if (*host)
		return host;
	return flag(p->spec, "hostNetwork") ? "127.0.0.1" : p->pod_ip;
}

/* Any answer from 200 to 399 is success; certificates are not looked at, proxies not used. */
static json_t *http_command(struct pm *p, json_t *container, json_t *action, json_int_t timeout,
			    const char *path, struct err *e)
{
	const char *scheme = str(action, "scheme"), *file = str(action, "path");
	const char *s = strcmp(scheme, "HTTPS") == 0 ? "https" : "http";
	bool agent = false, accept = false;
	int port = port_number(container, json_object_get(action, "port"), path, e);
	size_t i;
	json_t *one;
	if (port < 0)
		return NULL;
	if (*scheme && strcmp(scheme, "HTTP") != 0 && strcmp(scheme, "HTTPS") != 0)
		return err_set_p(e, ERR_BAD_INPUT, "%s.scheme: '%.40s'", path, scheme);
	AUTO_FREE char *url = xasprintf("%s://%s:%d%s%s", s, host_of(p, action), port,
					file[0] == '/' ? "" : "/", file);
	AUTO_FREE char *most = xasprintf("%lld", (long long)timeout);
	json_t *out = json_pack("[s, s, s, s, s, s, s, s]", "curl", "-fsSk", "--noproxy", "*",
				"--max-time", most, "-o", "/dev/null");
	json_array_foreach (json_object_get(action, "httpHeaders"), i, one) {
		AUTO_FREE char *line = xasprintf("%s: %s", str(one, "name"), str(one, "value"));
		agent = agent || strcasecmp(str(one, "name"), "User-Agent") == 0;
		accept = accept || strcasecmp(str(one, "name"), "Accept") == 0;
		json_array_append_new(out, json_string("-H"));
		json_array_append_new(out, json_string(line));
	}
	if (!agent) {
		json_array_append_new(out, json_string("-H"));
		json_array_append_new(out, json_string("User-Agent: kube-probe/1.36"));
	}
	if (!accept) {
		json_array_append_new(out, json_string("-H"));
		json_array_append_new(out, json_string("Accept: */*"));
	}
	json_array_append_new(out, json_string(url));
	return out;
}

static json_t *tcp_command(struct pm *p, json_t *container, json_t *action, json_int_t timeout,
			   const char *path, struct err *e)
{
	int port = port_number(container, json_object_get(action, "port"), path, e);
	if (port < 0)
		return NULL;
	AUTO_FREE char *most = xasprintf("%lld", (long long)timeout);
	AUTO_FREE char *number = xasprintf("%d", port);
	return json_pack("[s, s, s, s, s, s]", "nc", "-z", "-w", most, host_of(p, action), number);
}

/* {"kind", "where", "command"} of a probe or hook; NULL with an error, json_null for a problem. */
static json_t *action_of(struct pm *p, json_t *container, json_t *j, json_int_t timeout,
			 const char *path, struct err *e)
{
	json_t *action, *command = NULL;
	AUTO_FREE char *at = NULL;
	const char *kind = "exec";
	if ((action = json_object_get(j, kind)))
		command = json_incref(json_object_get(action, "command"));
	else if ((action = json_object_get(j, kind = "httpGet"))) {
		at = xasprintf("%s: %s.httpGet", p->what, path);
		command = http_command(p, container, action, timeout, at, e);
	} else if ((action = json_object_get(j, kind = "tcpSocket"))) {
		at = xasprintf("%s: %s.tcpSocket", p->what, path);
		command = tcp_command(p, container, action, timeout, at, e);
	} else if ((action = json_object_get(j, kind = "sleep"))) {
		AUTO_FREE char *seconds =
			xasprintf("%lld", (long long)jsonx_opt_int(action, "seconds", 0));
		command = json_pack("[s, s]", "sleep", seconds);
	} else if (json_object_get(j, "grpc")) {
		problem(p, "%s.grpc: there is no command that speaks it", path);
		return json_null();
	}
	if (!action || (!command && strcmp(kind, "exec") == 0) ||
	    (command && !json_array_size(command))) {
		json_decref(command);
		return err_set_p(e, ERR_BAD_INPUT, "%s: %s: says nothing to do", p->what, path);
	}
	return command ? json_pack("{s:s, s:s, s:o}", "kind", kind, "where",
				   strcmp(kind, "exec") == 0 ? "container" : "node", "command",
				   command)
		       : NULL;
}

static json_t *probe_of(struct pm *p, json_t *container, json_t *j, const char *path, struct err *e)
{
	static const struct {
		const char *from, *to;
		int fallback;
	} numbers[] = {{"initialDelaySeconds", "initial_delay_seconds", 0},
		       {"timeoutSeconds", "timeout_seconds", 1},
		       {"periodSeconds", "period_seconds", 10},
		       {"successThreshold", "success_threshold", 1},
		       {"failureThreshold", "failure_threshold", 3}};
	json_int_t timeout = jsonx_opt_int(j, "timeoutSeconds", 1);
	json_t *out = action_of(p, container, j, timeout < 1 ? 1 : timeout, path, e);
	if (!json_is_object(out))
		return out;
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		json_int_t n = jsonx_opt_int(j, numbers[i].from, numbers[i].fallback);
		/* 0 is "not said", but for the delay. */
		n = n > 0 ? n : numbers[i].fallback;
		json_object_set_new(out, numbers[i].to, json_integer(n));
	}
	return out;
}

int container_probes(struct pm *p, json_t *container, json_t *out, const char *path, struct err *e)
{
	static const struct {
		const char *group, *from, *to;
	} table[] = {{NULL, "startupProbe", "startup"},
		     {NULL, "livenessProbe", "liveness"},
		     {NULL, "readinessProbe", "readiness"},
		     {"lifecycle", "postStart", "post_start"},
		     {"lifecycle", "preStop", "pre_stop"}};
	json_t *probes = json_object(), *hooks = json_object();
	json_object_set_new(out, "probes", probes);
	json_object_set_new(out, "lifecycle", hooks);
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		const char *group = table[i].group;
		json_t *in = group ? json_object_get(container, group) : container;
		json_t *j = json_object_get(in, table[i].from);
		AUTO_FREE char *at = xasprintf("%s.%s%s%s", path, group ? group : "",
					       group ? "." : "", table[i].from);
		enum { HOOK_TIMEOUT = 30 };
		json_t *made = !j      ? json_null()
			       : group ? action_of(p, container, j, HOOK_TIMEOUT, at, e)
				       : probe_of(p, container, j, at, e);
		if (!made)
			return -1;
		if (json_is_object(made))
			json_object_set_new(group ? hooks : probes, table[i].to, made);
	}
	return 0;
}
