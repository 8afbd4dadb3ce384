/* SPDX-License-Identifier: Apache-2.0 */
#include "podmanifest.h"

#include "auto.h"
#include "fs.h"
#include "jsonx.h"
#include "xalloc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MANIFEST_MAX = 4 << 20 };

static struct options options = {
	.cluster_domain = "cluster.local",
	.resolv_conf = "/etc/resolv.conf",
	.log_dir = "/var/log/pods",
	.seccomp_dir = "/var/lib/kubelet/seccomp",
};

static int write_json(int dirfd, const char *name, const json_t *j, struct err *e)
{
	AUTO_FREE char *text = json_dumps(j, JSON_INDENT(2));
	if (!text)
		return err_set(e, ERR_FAILED, "%s: cannot be written", name);
	AUTO_FREE char *line = xasprintf("%s\n", text);
	return fs_replace_file_at(dirfd, name, 0600, line, strlen(line), 0, e);
}

/* The same as files: what podnet and ocibundle take, in the order of their start. */
static int write_files(const char *dir, json_t *out, struct err *e)
{
	size_t i;
	json_t *c;
	if (fs_mkdirs(AT_FDCWD, dir, 0700, e) < 0)
		return -1;
	AUTO_CLOSE int fd = fs_open_dir(AT_FDCWD, dir, e);
	if (fd < 0 || write_json(fd, "manifest.json", out, e) < 0 ||
	    write_json(fd, "00-pod.json", json_object_get(out, "pod"), e) < 0)
		return -1;
	json_array_foreach (json_object_get(out, "containers"), i, c) {
		AUTO_FREE char *name =
			xasprintf("%02zu-%s-%s.json", i + 1, str(c, "role"), str(c, "name"));
		if (write_json(fd, name, json_object_get(c, "config"), e) < 0)
			return -1;
	}
	return 0;
}

static int run(struct tool_ctx *c, int argc, char **argv, struct err *e)
{
	const char *what = strcmp(argv[0], "-") == 0 ? "standard input" : argv[0];
	AUTO_PM struct pm p = {.o = &options, .cfg = &c->cfg, .what = what, .write = !c->dry_run};
	AUTO_BUF struct buf text = BUF_INIT(MANIFEST_MAX);
	(void)argc;
	if (options.index < 0 || options.userns < 0 || options.userns > UINT32_MAX - 65536L)
		return err_set(e, ERR_USAGE, "--index, --userns: not a number that can be used");
	/* Modes are those of the manifest. */
	umask(022);
	if (fs_read_operand(argv[0], &text, e) < 0)
		return -1;
	AUTO_JSON json_t *out = manifest_convert(&p, text.data ? text.data : "", text.len, e);
	if (!out || (options.out_dir && !c->dry_run && write_files(options.out_dir, out, e) < 0))
		return -1;
	json_dumpf(out, stdout, JSON_INDENT(2));
	putchar('\n');
	return 0;
}

int main(int argc, char **argv)
{
	static const struct opt opts[] = {
		{"lenient", 0, OPT_FLAG, &options.lenient, NULL,
		 "warn of what cannot be honoured instead of refusing it"},
		{"pod", 0, OPT_STRING, &options.pod, "[KIND/]NAME",
		 "which of several workloads of the file"},
		{"configmap", 0, OPT_STRINGS, &options.configmaps, "NAME=DIR",
		 "the configMap's keys are the files of DIR"},
		{"secret", 0, OPT_STRINGS, &options.secrets, "NAME=DIR",
		 "the secret's keys are the files of DIR"},
		{"volume", 0, OPT_STRINGS, &options.volumes, "NAME=PATH",
		 "the volume of that name is this path of the host"},
		{"volumes", 0, OPT_STRING, &options.volumes_dir, "DIR",
		 "where volumes, /etc/hosts and last words are made (<runroot>/volumes/UID)"},
		{"out", 'o', OPT_STRING, &options.out_dir, "DIR",
		 "also write the pod's and each container's file there"},
		{"no-service-account", 0, OPT_FLAG, &options.no_service_account, NULL,
		 "leave out the volume with the API server's token"},
		{"name", 0, OPT_STRING, &options.name, "NAME", "the pod's name"},
		{"uid", 0, OPT_STRING, &options.uid, "UID", "the pod's uid"},
		{"index", 0, OPT_INT, &options.index, "N",
		 "which pod of a StatefulSet or an indexed Job (0)"},
		{"node-name", 0, OPT_STRING, &options.node_name, "NAME", "for spec.nodeName"},
		{"node-ip", 0, OPT_STRING, &options.node_ip, "ADDRESS", "for status.hostIP"},
		{"node-memory", 0, OPT_STRING, &options.node_memory, "QUANTITY",
		 "memory of the node, for oom_score_adj (this machine's)"},
		{"node-cpu", 0, OPT_STRING, &options.node_cpu, "QUANTITY",
		 "processors of the node (this machine's)"},
		{"pod-ip", 0, OPT_STRING, &options.pod_ip, "ADDRESS",
		 "for status.podIP and /etc/hosts, if it is known"},
		{"cluster-dns", 0, OPT_STRINGS, &options.cluster_dns, "ADDRESS",
		 "DNS server of the cluster (none: pods get the node's)"},
		{"cluster-domain", 0, OPT_STRING, &options.cluster_domain, "DOMAIN",
		 "domain of the cluster (cluster.local)"},
		{"resolv-conf", 0, OPT_STRING, &options.resolv_conf, "FILE",
		 "the node's DNS (/etc/resolv.conf)"},
		{"cgroup-parent", 0, OPT_STRING, &options.cgroup_parent, "PATH",
		 "instead of the kubelet's kubepods/CLASS/podUID"},
		{"log-dir", 0, OPT_STRING, &options.log_dir, "DIR",
		 "where the pod's directory of logs is made (/var/log/pods)"},
		{"seccomp-dir", 0, OPT_STRING, &options.seccomp_dir, "DIR",
		 "what localhost profiles are relative to (/var/lib/kubelet/seccomp)"},
		{"userns", 0, OPT_INT, &options.userns, "ID",
		 "first of the 65536 host ids of a pod with hostUsers: false"},
		{.name = NULL},
	};
	static const struct verb verbs[] = {
		{"", "FILE|-", "print the CRI messages of a Kubernetes pod, and make its volumes",
		 opts, 1, 1, run},
		{.name = NULL},
	};
	static const struct tool tool = {"podmanifest",
					 "a Kubernetes manifest to the CRI messages of a kubelet",
					 TOOL_DRY_RUN, NULL, verbs};
	return tool_main(&tool, argc, argv);
}
