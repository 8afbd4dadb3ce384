/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_INDEX_H
#define CRISP_INDEX_H
/* What the disk says, in memory: all pods, containers and images, so that reads answer at once
 * whatever a mount, a plugin or a runtime is doing. The disk stays the truth: index_new reads all
 * of it, and an object is read again when a job of ours ends, when the bus names it, and when the
 * process that watches over a container ends (a pidfd in the loop).
 *
 * Pointers to objects are good until the loop is entered again. Objects of origin "hand" are in the
 * index (a pod's removal must know them) but hidden from the CRI, unless the configuration says
 * adopt_hand_made: pod_visible, ctr_visible. */
#include "arena.h"
#include "crispd.h"
#include "image.h"
#include "record.h"
#include "table.h"
#include "usage.h"

#include "cri.pb-c.h"

struct index;

/* What statistics remember from one look to the next. */
struct cpu_sample {
	uint64_t ns; /* used so far */
	int64_t at;  /* when that was; 0 = never looked */
	uint64_t rate;
};

struct pod {
	struct entry o; /* o.id */
	struct pod_record rec;
	char *damage;       /* why the records cannot be read; NULL = fine */
	bool hidden;        /* from the CRI: made by hand, and not adopted */
	bool sandbox_ended; /* it needs a sandbox container and has none that runs */
	struct arena mem;
	Runtime__V1__PodSandboxConfig *config; /* in mem; never NULL */
	/* A PodSandbox as it stands in a ListPodSandboxResponse, length first. */
	uint8_t *packed;
	size_t packed_len;
	struct usage_dirs dirs; /* when somebody has asked (svc_stats.c) */
	struct cpu_sample cpu;
};

struct ctr_user {
	bool known;
	int64_t uid, gid;
	size_t n_groups;
	int64_t *groups;
};

struct ctr {
	struct entry o;
	struct index *index;
	struct ctr_record rec;
	struct exit_record exit; /* filled when state is CTR_EXITED */
	enum ctr_state state;
	char *damage;
	bool hidden;
	struct arena mem;
	Runtime__V1__ContainerConfig
		*config; /* in mem; without what no reply needs (env, command) */
	uint8_t *packed; /* a Container in a ListContainersResponse */
	size_t packed_len;
	int monitor;        /* pidfd of the monitor, from the reading until it is watched; or -1 */
	struct watch watch; /* pidfd of the monitor, or of the container itself */
	bool watching_monitor;
	struct timer again; /* when a process that has ended is not buried yet */
	struct ctr_user user;
	struct usage_dirs dirs;
	struct cpu_sample cpu;
	/* The writable layer as it was last walked (disk.h); disk_at 0 = not yet. */
	uint64_t disk_bytes, disk_inodes;
	int64_t disk_at, disk_asked;
};

struct image_entry {
	char id[IMAGE_ID_SIZE]; /* "sha256:…" */
	char **tags, **digests;
	size_t n_tags, n_digests;
	char *user; /* of the image's config; "" = none */
	uint64_t size;
	uint64_t dir, dir_changed; /* its directory's inode and time: a repeated pull replaces it */
	bool pinned;
	/* The same for every request and every handler: its id and its manifest's annotations. */
	Runtime__V1__ImageSpec spec;
	size_t n_layers;
	struct layer_use {
		char id[ID_SIZE];
		uint64_t size, inodes;
	} * layers;
	uint8_t *packed; /* an Image in a ListImagesResponse */
	size_t packed_len;
};

/* Reads everything. Damaged objects are in it; only an unreadable directory is an error. */
struct index *index_new(struct crispd *d, struct err *e);
void index_free(struct index *ix);

/* By id; typed may be a unique prefix of at least 4 digits. NULL = none. */
struct pod *index_pod(const struct index *ix, const char *typed);
struct ctr *index_ctr(const struct index *ix, const char *typed);
/* In no order; index_pod_at(ix, i) for i below index_n_pods(ix). */
size_t index_n_pods(const struct index *ix);
struct pod *index_pod_at(const struct index *ix, size_t i);
size_t index_n_ctrs(const struct index *ix);
struct ctr *index_ctr_at(const struct index *ix, size_t i);

bool pod_visible(const struct pod *p);
bool pod_ready(const struct pod *p);
/* Is a process of it there, or may be? */
bool ctr_live(const struct ctr *c);
bool ctr_visible(const struct ctr *c);

Runtime__V1__ContainerState ctr_cri_state(const struct ctr *c);
/* The image as List and Status tell it; strings borrowed from c. */
void ctr_image_spec(const struct ctr *c, Runtime__V1__ImageSpec *out);
/* The identity that the bundle gives the first process; read when first asked for. */
const struct ctr_user *ctr_user(struct ctr *c, const struct state *s);

/* Read one object again; it appears, changes or goes. */
void index_refresh_pod(struct index *ix, const char *id);
void index_refresh_ctr(struct index *ix, const char *id);
/* Everything once more: what is hidden may have changed. */
void index_reload(struct index *ix);
/* Find objects that appeared, were finished or went without a word. */
void index_rescan(struct index *ix);
/* The image store: names, and whatever images are new or gone. */
void index_refresh_images(struct index *ix);
/* Read it again when its directories have changed since: before an answer about images, so that what
 * was done by hand shows even when nobody told. */
void index_follow_images(const struct index *ix);

/* Every form that image.h knows. NULL = no such image. */
struct image_entry *index_image(const struct index *ix, const char *typed);
struct image_entry *const *index_images(const struct index *ix, size_t *n);

/* The image as a message whose strings are borrowed; uid and name hold what it points at. */
void image_message(const struct image_entry *im, Runtime__V1__Image *m,
		   Runtime__V1__Int64Value *uid, char name[256]);

/* What the bus said: index_event(ix, "container", id). Unknown kinds are ignored. */
void index_event(struct index *ix, const char *kind, const char *id, const char *pod);

/* The image store's part (index_images.c). */
struct images;
struct images *images_new(const struct crispd *d);
void images_free(struct images *im);
void images_refresh(struct images *im);
struct images *index_image_store(const struct index *ix);
#endif
