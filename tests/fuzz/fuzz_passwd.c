/* SPDX-License-Identifier: Apache-2.0 */
/* An image's passwd and group files: the first byte says how much of the rest is the name asked
 * for. What is found must be what was asked for. */
#include "cmd/ocibundle/passwd.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[64];
	struct passwd_entry p;
	uint32_t gid;
	if (size < 1)
		return 0;
	size_t n = data[0] % sizeof name;
	if (n > size - 1)
		n = size - 1;
	memcpy(name, data + 1, n);
	name[n] = '\0';
	const char *text = (const char *)data + 1 + n;
	size_t len = size - 1 - n;
	if (passwd_find(text, len, name, 0, &p) && strcmp(p.name, name) != 0)
		abort();
	if (passwd_find(text, len, NULL, 1000, &p) && p.uid != 1000)
		abort();
	group_find(text, len, name, &gid);
	AUTO_ID_SET struct id_set s = {0};
	group_memberships(text, len, name, &s);
	id_set_sort(&s);
	for (size_t i = 1; i < s.count; i++)
		if (s.ids[i - 1] >= s.ids[i])
			abort();
	return 0;
}
