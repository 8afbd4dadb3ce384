/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_REDACT_H
#define CRISP_REDACT_H
/* What is taken out of documents that leave the machine: captures (podreplay) and records of calls
 * (crispd --record). One set of rules, so that the one does not tell what the other hides.
 *
 * A secret is found by its place (registry credentials, the data of a Secret), by its name
 * (DB_PASSWORD, --token, api-key) or by its looks (private keys in PEM, JSON web tokens, tokens of
 * known makers, URLs with a password, long random text). What was found once is taken out of all
 * text that comes later, wherever it stands: a password of the environment that a program prints is
 * not in its log either. Only whoever knows a secret can find one that has an innocent name, looks
 * and place: redactor_learn is for the contents of secret volumes and the like.
 *
 *	struct redactor *r = redactor_new(0);
 *	redactor_study(r, later);                 (what comes later may hold what is told here)
 *	redactor_json(r, "pod.json", pod);
 *	AUTO_FREE char *clean = redactor_text(r, "log", text, len, &clean_len);
 *	json_t *list = redactor_list(r);
 *
 * Everything stays valid: a value is replaced by REDACTED, keys and structure stay. */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define REDACTED "[redacted]"

struct redactor;

/* max_learned: secrets that are remembered, the newest; 0 = 4096. */
struct redactor *redactor_new(size_t max_learned);
void redactor_free(struct redactor *r);
static inline void auto_redactor(struct redactor **r)
{
	redactor_free(*r);
}
#define AUTO_REDACTOR __attribute__((cleanup(auto_redactor)))

/* From here on each value has a number, and "[redacted:N]" stands for it wherever it was, so that
 * whoever knows it can put it back; the rows of the list have it as "value". */
void redactor_number(struct redactor *r);
/* This is known to all (a name, what an image says): the value of a variable that is the same is no
 * secret, and one that is part of it is taken out only where it was found, so that names stay. */
void redactor_spare(struct redactor *r, const char *text);

/* Take this out of all that follows. What is too short to be told from words (below 6 bytes), or is
 * a number or an address, is not remembered. */
void redactor_learn(struct redactor *r, const char *value, size_t len);
/* The same for something of several lines, which may be printed one by one. */
void redactor_learn_lines(struct redactor *r, const char *text, size_t len);
/* Is anything that was learned in the text? */
bool redactor_knows(const struct redactor *r, const char *text, size_t len);
/* Learn what redactor_json would take out of the document, which stays as it is. */
void redactor_study(struct redactor *r, const json_t *j);

/* In place. The document is one of the CRI (pbjson.h), of OCI (config.json), or of Kubernetes:
 *
 *	envs, env          {"key"|"name", "value"} and "NAME=VALUE": by name and looks
 *	annotations        by name and looks; labels by name
 *	auth               all but the server's address and the user's name
 *	args, command, cmd "--password=X", "--token X", "X_KEY=X"
 *	data, stringData   of what has "kind": "Secret"
 *	url                what follows the last slash, when it is long: of Exec and its like, a ticket
 *
 * JSON within a string (last-applied-configuration) is taken apart as well, and every string is
 * searched as redactor_text does. `where` names the document in the list. True when something was
 * taken out. */
bool redactor_json(struct redactor *r, const char *where, json_t *j);

/* Text of any kind, bytes included: what was learned, private keys, tokens, passwords in URLs, and
 * NAME=VALUE, NAME: VALUE, "NAME": "VALUE" where the name is that of a secret. A new string with its
 * length (terminated, too), or NULL when nothing had to go. */
char *redactor_text(struct redactor *r, const char *where, const char *text, size_t len,
		    size_t *out_len);

/* What was taken out since the last redactor_forget_list: an array of {"where", "why"} (and "value"), borrowed.
 * where is "DOCUMENT: PATH"; why is "name", "looks", "place" or "seen" (a secret that was found
 * elsewhere). At most 1000; "more" counts the rest in a last {"more": N}. */
json_t *redactor_list(struct redactor *r);
void redactor_forget_list(struct redactor *r);

/* The single rules. */
bool redact_name_is_secret(const char *name);
bool redact_value_is_secret(const char *value);
/* Is the mount one of secrets: a Secret or a service account's token, as the kubelet lays them out, or
 * something below /run/secrets? Either path may be NULL. */
bool redact_mount_is_secret(const char *host_path, const char *container_path);
#endif
