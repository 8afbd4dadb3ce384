/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CRISP_DIGEST_H
#define CRISP_DIGEST_H
/* SHA-256 digests as OCI writes them: "sha256:" and 64 lower-case hex digits. Other algorithms are
 * refused. */
#include "err.h"

#include <stdbool.h>
#include <stddef.h>

enum { DIGEST_HEX_LEN = 64, DIGEST_STR_LEN = 7 + 64 };

/* Running hash. digest_init allocates libcrypto's state; digest_hex ends and frees it;
 * digest_release frees it when there is no interest in the result. */
struct digest {
	void *ctx;
};
void digest_init(struct digest *d);
void digest_update(struct digest *d, const void *data, size_t len);
void digest_hex(struct digest *d, char hex[DIGEST_HEX_LEN + 1]);
void digest_release(struct digest *d);
#define AUTO_DIGEST __attribute__((cleanup(digest_release)))

void digest_of(const void *data, size_t len, char hex[DIGEST_HEX_LEN + 1]);

/* True for 64 lower-case hex digits and nothing more. */
bool digest_is_hex(const char *s);
/* The hex part of "sha256:<hex>" (points into s), or NULL with ERR_BAD_INPUT. */
const char *digest_parse(const char *s, struct err *e);
#endif
