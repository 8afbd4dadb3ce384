/* SPDX-License-Identifier: Apache-2.0 */
/* A reference that is accepted has a normal form that means the same, fits its buffers, and passes
 * through the store's file names unchanged. */
#include "image.h"
#include "ref.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ref a, b;
	struct err e;
	char text[4096], name[REF_STR_SIZE], file[NAME_MAX + 1], back[REF_STR_SIZE];
	if (size >= sizeof text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	(void)image_name_unescape(text, back, sizeof back);
	if (ref_parse(&a, text, &e) < 0)
		return 0;
	ref_name(&a, name);
	if (ref_parse(&b, name, &e) < 0 || strcmp(a.host, b.host) != 0 ||
	    strcmp(a.path, b.path) != 0 || strcmp(a.tag, b.tag) != 0)
		abort();
	if (strstr(a.path, "..") || a.path[0] == '/' || strchr(name, '\n'))
		abort();
	/* What is accepted can be kept, by tag and by digest. */
	ref_with_digest(&a,
			"sha256:0000000000000000000000000000000000000000000000000000000000000000",
			back);
	if (image_name_escape(back, file, sizeof file) < 0 ||
	    image_name_escape(name, file, sizeof file) < 0)
		abort();
	if (strchr(file, '/') || file[0] == '.' ||
	    image_name_unescape(file, back, sizeof back) < 0 || strcmp(back, name) != 0)
		abort();
	return 0;
}
