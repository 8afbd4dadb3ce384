/* SPDX-License-Identifier: Apache-2.0 */
/* What needs no hashing, hence no libcrypto. */
#include "digest.h"

#include <string.h>

bool digest_is_hex(const char *s)
{
	return strspn(s, "0123456789abcdef") == DIGEST_HEX_LEN && s[DIGEST_HEX_LEN] == '\0';
}

const char *digest_parse(const char *s, struct err *e)
{
	if (strncmp(s, "sha256:", 7) != 0 || !digest_is_hex(s + 7))
		return err_set_p(e, ERR_BAD_INPUT, "'%.100s' is not a sha256 digest", s);
	return s + 7;
}
