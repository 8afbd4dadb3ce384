/* SPDX-License-Identifier: Apache-2.0 */
/* Documents and text of any kind, redacted: what comes out is clean by the same rules, and valid. */
#include "auto.h"
#include "jsonx.h"
#include "redact.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_REDACTOR struct redactor *r = redactor_new(0);
	AUTO_JSON json_t *j = json_loadb((const char *)data, size, 0, NULL);
	size_t len;
	redactor_learn(r, "hunter22", 8);
	if (j) {
		redactor_study(r, j);
		redactor_json(r, "fuzz", j);
		AUTO_FREE char *text = json_dumps(j, JSON_COMPACT);
		if (!text)
			abort();
	}
	AUTO_FREE char *text = redactor_text(r, "fuzz", (const char *)data, size, &len);
	if (text && memmem(text, len, "hunter22", 8))
		abort();
	(void)redactor_list(r);
	return 0;
}
