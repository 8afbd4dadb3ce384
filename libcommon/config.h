/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_CONFIG_H
#define CRISP_CONFIG_H
/* The one configuration of all programs: /etc/crisp/crisp.json (or --config FILE, or
 * $CRISP_CONFIG), then the .json files in conf.d beside it in lexical order, each key replacing the
 * earlier value, then the command line. An absent default file is fine; a file that was named must
 * exist. An unknown key or a wrong type is an error that names file and key. Everything has a
 * default under which a plain Debian works. */
#include "err.h"

#include <jansson.h>
#include <stdbool.h>

#define CONFIG_DEFAULT_FILE "/etc/crisp/crisp.json"

struct config {
	char *root;                /* /var/lib/crisp: what survives a reboot */
	char *runroot;             /* /run/crisp: what does not */
	char *listen;              /* CRI socket; default <runroot>/crisp.sock */
	char *stream_address;      /* 127.0.0.1 */
	char *stream_port;         /* "0" = any */
	char *stream_tls_cert;     /* PEM, with its chain: a file that ctrtls(1) reads */
	char *stream_tls_key;      /* PEM */
	char *stream_tls_ca;       /* PEM; when set, clients need a certificate of it */
	char *record;              /* file in which crispd writes every call; "" = none */
	char *metrics_host;        /* where crispd tells Prometheus of itself: 127.0.0.1 */
	char *metrics_port;        /* "" = nowhere, "0" = any */
	char *log_level;           /* error, warning, info, debug */
	char *default_runtime;     /* name of a handler; default: crun, else runc, whichever is
				      installed */
	char *handlers_dir;        /* /etc/crisp/handlers.d */
	char *registries_dir;      /* /etc/crisp/registries.d */
	char *certs_dir;           /* /etc/docker/certs.d: HOST[:PORT]/{*.crt,*.cert,*.key} */
	char *auth_file;           /* docker config.json form; "" = none */
	char *policy_dir;          /* /etc/crisp/policy.d: which images must be signed by whom */
	char *verify_dir;          /* /etc/crisp/verify.d: programs that judge images */
	char *cgroup_manager;      /* cgroupfs or systemd */
	char *network_dir;         /* /etc/cni/net.d */
	char *cni_default_network; /* by name; "" = first file */
	char *network_template;    /* rendered with the node's pod CIDR (podnet(1)); "" = none */
	char *seccomp_profile;     /* file for RuntimeDefault; "" = the built-in one */
	char *tools_dir; /* where crispd and ctrrun find the other programs; "" = beside themselves
			  */
	char *detach_keys;     /* how a person leaves ctrrun attach and exec -t; ctrl-p,ctrl-q */
	json_t *plugin_dirs;   /* strings; /opt/cni/bin, /usr/lib/cni */
	json_t *pinned_images; /* strings; references that RemoveImage and gc leave alone */
	json_t *default_capabilities; /* strings; the peers' usual set */
	json_t *hooks_dir;            /* strings; where OCI hooks are described: the directories
					 that podman and CRI-O read */
	json_t *cdi_spec_dirs;        /* strings; /etc/cdi, /var/run/cdi */
	json_t *default_sysctls;      /* object of strings */
	json_t *default_ulimits;      /* strings name=soft:hard */
	json_t *additional_devices; /* strings HOST[:INSIDE][:rwm], HOST a path or a pattern (glob(7)):
					 devices that every container gets */
	json_t *sources;            /* key -> the file that set it; not a key itself */
	struct config_seen *seen;    /* what was looked at for it; not a key either */
	json_int_t ctr_stop_timeout; /* seconds a stop waits when nobody says; 30 */
	json_int_t runtime_timeout;  /* seconds for one call of an OCI runtime; 120 */
	json_int_t network_timeout;  /* seconds for one CNI plugin; 60 */
	json_int_t
		pull_progress_timeout; /* seconds below pull_progress_rate that end a transfer; 60 */
	json_int_t pull_progress_rate;     /* bytes a second that count as progress; 1024 */
	json_int_t max_parallel_downloads; /* layers at once; 3 */
	json_int_t min_free_bytes;         /* what a pull leaves free in root; 128 MiB */
	json_int_t min_free_inodes;        /* and of inodes; 1024 */
	json_int_t unpack_max_bytes;       /* of a layer's tar stream; 128 GiB; 0 = any */
	json_int_t unpack_max_entries;     /* of a layer: entries, and files made; 2000000 */
	json_int_t unpack_max_ratio;       /* tar bytes for each compressed byte, counted
						   beyond 256 MiB of tar; 500 */
	json_int_t verify_timeout;         /* seconds for one program of verify_dir; 60 */
	json_int_t exec_drain_timeout;     /* seconds ExecSync waits for output of what outlives its
					  command; 2 */
	json_int_t max_container_log_line_size; /* bytes; 16384 */
	json_int_t grpc_max_recv_msg_size;      /* bytes; 16 MiB */
	json_int_t grpc_max_send_msg_size;      /* bytes; 16 MiB */
	json_int_t record_max_bytes;            /* of the record and the one before it; 128 MiB */
	json_int_t stream_idle_timeout;         /* seconds; 14400; 0 = any */
	json_int_t stream_creation_timeout;     /* seconds for a client to open its streams; 30 */
	bool stream_enable_tls;                 /* false */
	bool adopt_hand_made; /* false: crispd shows and takes orders for its own pods and
				 containers only; true: for those made by hand, too */
};

/* file NULL: $CRISP_CONFIG, else the default file. */
int config_load(struct config *c, const char *file, struct err *e);
void config_release(struct config *c);
/* Would it be loaded the same now? False also when that cannot be told, as a file was too young when it was read. */
bool config_is_current(const struct config *c);
/* All values as a JSON object (new reference): `crispd config`. */
json_t *config_dump(const struct config *c);
/* The names of the keys whose values differ, as a JSON array (new reference). */
json_t *config_differences(const struct config *a, const struct config *b);
/* One key's value, with where it came from; `to` has copies. */
void config_copy_key(struct config *to, const struct config *from, const char *name);
/* The path of another program of ours, to be freed: in tools_dir, else beside ourselves. NULL with
 * ERR_NOT_FOUND when it is not there. */
char *config_tool(const struct config *c, const char *name, struct err *e);
#define AUTO_CONFIG __attribute__((cleanup(config_release)))
#endif
