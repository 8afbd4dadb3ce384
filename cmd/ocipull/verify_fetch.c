/* SPDX-License-Identifier: Apache-2.0 */
#include "auto.h"
#include "jsonx.h"
#include "pull.h"
#include "signature.h"
#include "verify.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* The furthest that a signature came, for the message when none holds. */
enum rank { RANK_NONE, RANK_MALFORMED, RANK_UNKNOWN_KEY, RANK_WRONG_CLAIM };

struct check {
	struct pull *p;
	const struct policy *policy;
	struct registry *reg;
	struct sigkeys keys;
	bool vouched[POLICY_KEYS_MAX];
	json_int_t signers;
	size_t found;
	enum rank rank;
	char why[600];
	/* Signatures of one image by several keys often share the payload. */
	char have[DIGEST_STR_LEN + 1];
	struct buf payload;
	struct signature_list list;
};

static void note(struct check *c, enum rank rank, const char *why)
{
	if (rank <= c->rank)
		return;
	c->rank = rank;
	snprintf(c->why, sizeof c->why, "%.599s", why);
}

/* What the registry's content is to blame for is a signature that does not hold; all else ends the
 * pull as it would with the image itself. */
static bool is_content(const struct err *e)
{
	return e->kind == ERR_NOT_FOUND || e->kind == ERR_BAD_INPUT || e->kind == ERR_UNSUPPORTED;
}

/* 1 the payload is in c->payload, 0 it is not to be had. */
static int get_payload(struct check *c, const struct signature *s, struct err *e)
{
	char path[100], what[100];
	struct source *src = &c->p->src;
	const struct descriptor *d = &s->payload;
	if (strcmp(c->have, d->digest) == 0)
		return 1;
	c->have[0] = '\0';
	buf_clear(&c->payload);
	snprintf(path, sizeof path, "blobs/%s", d->digest);
	snprintf(what, sizeof what, "payload %s", d->digest);
	int rc = fetch_whole(&src->fetch, c->reg, path, NULL, what, &c->payload, e);
	if (rc == 0)
		rc = check_digest(what, d->digest, d->size, &c->payload, e);
	if (rc == 0) {
		snprintf(c->have, sizeof c->have, "%s", d->digest);
		return 1;
	}
	if (!is_content(e))
		return -1;
	note(c, RANK_MALFORMED, e->msg);
	return 0;
}

static int check_one(struct check *c, const struct signature *s, const char *digest, struct err *e)
{
	size_t k = 0;
	struct err why;
	int got = get_payload(c, s, e);
	if (got <= 0)
		return got;
	/* The signature first: what nobody vouches for is not even parsed. */
	while (k < c->keys.count &&
	       !sigkey_verify(&c->keys.key[k], c->payload.data, c->payload.len, s->bytes, s->len))
		k++;
	if (k == c->keys.count) {
		note(c, RANK_UNKNOWN_KEY, "");
	} else if (payload_check(c->payload.data, c->payload.len, digest, &c->p->src.ref, c->policy,
				 &why) < 0) {
		note(c, RANK_WRONG_CLAIM, why.msg);
	} else {
		c->signers += !c->vouched[k];
		c->vouched[k] = true;
	}
	return 0;
}

static int get_list(struct check *c, const char *digest, struct err *e)
{
	char path[100], what[100];
	struct source *src = &c->p->src;
	AUTO_BUF struct buf b = BUF_INIT(MANIFEST_MAX);
	snprintf(path, sizeof path, "manifests/sha256-%s.sig", digest + 7);
	snprintf(what, sizeof what, "signatures of %s", digest);
	c->list.count = c->list.found = 0;
	int rc = fetch_whole(&src->fetch, c->reg, path, manifest_accept, what, &b, e);
	AUTO_JSON json_t *j =
		rc == 0 ? jsonx_parse(b.data ? b.data : "", b.len, "signature manifest", e) : NULL;
	if (j && signature_list_parse(&c->list, j, src->fetch.http.content_type, e) < 0)
		err_wrap(e, "signature manifest");
	else if (j)
		return 0;
	if (!is_content(e))
		return -1;
	if (e->kind != ERR_NOT_FOUND)
		note(c, RANK_MALFORMED, e->msg);
	return 0;
}

static int check_digest_signed(struct check *c, const char *digest, struct err *e)
{
	if (get_list(c, digest, e) < 0)
		return -1;
	c->found += c->list.found;
	for (size_t i = 0; i < c->list.count && c->signers < c->policy->signers; i++)
		if (check_one(c, &c->list.sig[i], digest, e) < 0)
			return -1;
	if (c->list.count < c->list.found)
		note(c, RANK_MALFORMED, "some are malformed, or not among the first 64");
	static_assert(SIGNATURES_MAX == 64, "as the messages and the manual say");
	return 0;
}

static int verdict(const struct check *c, struct err *e)
{
	long long want = (long long)c->policy->signers;
	if (c->signers >= want)
		return 0;
	const char *sep = *c->why ? ": " : "";
	if (c->signers > 0)
		return err_set(e, ERR_SIGNATURE, "signed by %lld of its keys, %lld must have%s%s",
			       (long long)c->signers, want, sep, c->why);
	if (c->found == 0)
		return err_set(e, ERR_SIGNATURE, "no signature found%s%s", sep, c->why);
	if (c->rank == RANK_UNKNOWN_KEY)
		return err_set(e, ERR_SIGNATURE, "none of %zu signature%s%s is by one of its keys",
			       c->found, c->found == 1 ? "" : "s",
			       c->found > SIGNATURES_MAX ? " (the first 64 count)" : "");
	return err_set(e, ERR_SIGNATURE, "no signature holds%s%s", sep, c->why);
}

static int check_all(struct check *c, struct err *e)
{
	struct pull *p = c->p;
	if (sigkeys_load(&c->keys, p->ctx->cfg.policy_dir, c->policy->keys, e) < 0 ||
	    check_digest_signed(c, p->served_digest, e) < 0)
		return -1;
	if (c->signers < c->policy->signers && strcmp(p->served_digest, p->manifest_digest) != 0 &&
	    check_digest_signed(c, p->manifest_digest, e) < 0)
		return -1;
	return verdict(c, e);
}

int verify_signatures(struct pull *p, const struct policy *policy, struct err *e)
{
	static struct check c; /* too large for a stack */
	static struct registry other;
	c = (struct check){
		.p = p, .policy = policy, .reg = &p->src.reg, .payload = BUF_INIT(PAYLOAD_MAX)};
	other = (struct registry){.count = 0};
	int rc = 0;
	if (policy->elsewhere) {
		c.reg = &other;
		rc = registry_open(&other, p->src.engine, &p->ctx->cfg, &policy->repository,
				   &p->src.auth, e);
	}
	if (rc == 0)
		rc = check_all(&c, e);
	sigkeys_release(&c.keys);
	buf_release(&c.payload);
	registry_release(&other);
	return rc;
}
