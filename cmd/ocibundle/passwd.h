/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_PASSWD_H
#define CRISP_PASSWD_H
/* Parsers of an image's /etc/passwd and /etc/group, which anybody may have written. They work on
 * the text in memory, allocate nothing for what they skip, and ignore lines that are not of the
 * form. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PASSWD_NAME_MAX = 256, PASSWD_HOME_MAX = 4096, PASSWD_GROUPS_MAX = 65536 };

struct passwd_entry {
	char name[PASSWD_NAME_MAX + 1];
	char home[PASSWD_HOME_MAX + 1];
	uint32_t uid, gid;
};

/* A decimal id up to 2^32-2 and nothing more (2^32-1 means "no change" to the kernel). */
bool passwd_parse_id(const char *s, size_t len, uint32_t *id);

/* The first entry with that name (NULL: with that uid). */
bool passwd_find(const char *text, size_t len, const char *name, uint32_t uid,
		 struct passwd_entry *out);
/* The gid of the first group with that name. */
bool group_find(const char *text, size_t len, const char *name, uint32_t *gid);

struct id_set {
	uint32_t *ids;
	size_t count, cap;
};
void id_set_add(struct id_set *s, uint32_t id);
void id_set_sort(struct id_set *s); /* ascending, each once */
void id_set_release(struct id_set *s);
#define AUTO_ID_SET __attribute__((cleanup(id_set_release)))
/* Add the groups that list this user as a member, at most PASSWD_GROUPS_MAX. */
void group_memberships(const char *text, size_t len, const char *user, struct id_set *out);
#endif
