/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_BUNDLE_H
#define CRISP_BUNDLE_H
/* What a container's config.json is made from, and the makers of its parts. All inputs are read
 * before the first part is made; a maker looks at them, at the root file system and at the host,
 * and, unless dry_run, makes the files that its part of config.json names. */
#include "buf.h"
#include "err.h"
#include "handler.h"
#include "image.h"
#include "record.h"
#include "tool.h"

#include <cri.pb-c.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct bundle {
	const struct config *cfg;
	const struct state *st;
	const Runtime__V1__ContainerConfig *ctr;
	const Runtime__V1__PodSandboxConfig *pod;
	/* The parts of ctr->linux and pod->linux; all defaults where the message is absent, so
	 * never NULL. */
	const Runtime__V1__LinuxContainerSecurityContext *sec;
	const Runtime__V1__NamespaceOption *pod_ns;
	const Runtime__V1__LinuxContainerResources *res; /* NULL when absent */
	struct pod_record pod_rec;
	struct image img;     /* with its configuration */
	json_t *mount_images; /* for each of ctr->mounts the id of its image, or null */
	char id[ID_SIZE];
	char *dir;         /* <root>/containers/<id> */
	char *run;         /* <runroot>/containers/<id> */
	char *pod_run;     /* <runroot>/pods/<pod id> */
	char *cgroup_path; /* linux.cgroupsPath */
	struct buf *why;   /* where each line comes from (flat.h) */
	const struct handler *handler;
	int rootfs; /* the root file system as the container will see it, -1 until mounted */
	int userns; /* the pod's user namespace; -1 = none, or a dry run (owners.h) */
	bool dry_run;
	bool sandbox;                 /* it is the pod's own container (sandbox.c) */
	bool cgroup2;                 /* the host's /sys/fs/cgroup is the unified hierarchy */
	uint64_t caps;                /* the container's bounding set, set by process_json */
	const char *root_propagation; /* linux.rootfsPropagation, set by mounts_json; NULL = none */
};

void bundle_release(struct bundle *b);
#define AUTO_BUNDLE __attribute__((cleanup(bundle_release)))
/* Fill in what follows from ctr, pod, pod_rec and id. */
void bundle_derive(struct bundle *b);

/* The name that podnet gave the pod, which is what uname says inside; a new string. */
char *pod_hostname(const struct bundle *b);

/* check.c: everything that can be refused by looking at the request (and the host), before anything
 * is made. */
int check_request(const struct bundle *b, struct err *e);
bool path_is_plain(const char *path); /* no "..", no control characters */
enum profile_kind { PROFILE_NONE, PROFILE_DEFAULT, PROFILE_UNCONFINED, PROFILE_LOCALHOST };
/* The seccomp (or AppArmor) profile that is asked for, by the new field or the deprecated string;
 * *ref is the path (name) of PROFILE_LOCALHOST. */
int seccomp_wanted(const struct bundle *b, enum profile_kind *kind, const char **ref,
		   struct err *e);
int apparmor_wanted(const struct bundle *b, enum profile_kind *kind, const char **ref,
		    struct err *e);
bool host_has_apparmor(void);

/* selinux.c. The labels of the container's processes and files, new strings; both NULL where the host
 * has no SELinux, or nothing confines the container. */
bool host_has_selinux(void);
int selinux_labels(const struct bundle *b, char **process, char **file, struct err *e);
int add_selinux(const struct bundle *b, json_t *process, json_t *lin, struct err *e);
/* The root file system, and images that are mounted, get the label of the container's files. */
int selinux_root(const struct bundle *b, struct err *e);
/* Give a volume and all in it the label of this pod's files; nothing without SELinux. */
int selinux_relabel(const struct bundle *b, const char *source, struct err *e);

/* Parts of config.json; a new reference or NULL. */
json_t *spec_build(struct bundle *b, struct err *e);   /* spec.c: the whole */
json_t *process_json(struct bundle *b, struct err *e); /* process.c */
/* user.c: process.user, and the home directory (to be freed). */
int user_json(struct bundle *b, char **home, json_t **user, struct err *e);
json_t *mounts_json(struct bundle *b, struct err *e);          /* mounts.c */
json_t *namespaces_json(struct bundle *b, struct err *e);      /* namespaces.c */
json_t *resources_json(const struct bundle *b, struct err *e); /* resources.c */
/* devices.c: linux.devices into *devices, and the cgroup's device rules. */
bool device_is_pattern(const char *host); /* glob(7), and no file has that name */
int devices_json(const struct bundle *b, json_t **devices, json_t **rules, struct err *e);

/* volumes.c: an anonymous volume for a directory that the image declares, filled with what the
 * image has there; and a read-only mount of another image. Both give the path to bind, a new
 * string. */
char *volume_make(struct bundle *b, unsigned number, const char *path, struct err *e);
char *image_mount_make(struct bundle *b, unsigned number, const Runtime__V1__Mount *m,
		       struct err *e);

/* The signal that stops the container: the request's, the image's, 0 for neither. */
int stop_signal_of(const struct bundle *b, int *number, struct err *e);
#endif
