/* SPDX-License-Identifier: Apache-2.0 */
#include "verify.h"

#include "policy.h"
#include "pull.h"

#include <stdio.h>

static int judge(struct pull *p, const struct policy *policy, const char *name, struct err *e)
{
	if (policy->rule == POLICY_REJECT)
		return err_set(e, ERR_SIGNATURE, "%s: policy %s rejects %s", name, policy->file,
			       *policy->prefix ? policy->prefix : "what no other allows");
	if (policy->rule == POLICY_ACCEPT)
		return 0;
	if (verify_signatures(p, policy, e) < 0)
		return err_wrap(e, "%s: policy %s", name, policy->file);
	return 0;
}

int verify_image(struct pull *p, const char *typed, struct err *e)
{
	struct policy policy;
	char name[REF_STR_SIZE];
	const struct config *cfg = &p->ctx->cfg;
	const struct ref *ref = p->src.kind == SOURCE_REGISTRY ? &p->src.ref : NULL;
	snprintf(name, sizeof name, "%s", typed);
	if (ref)
		ref_name(ref, name);
	int rc = policy_find(&policy, cfg->policy_dir, ref, e);
	if (rc == 0)
		rc = judge(p, &policy, name, e);
	if (rc == 0 && policy.verify)
		rc = verify_run(p, name, e);
	policy_release(&policy);
	return rc;
}
