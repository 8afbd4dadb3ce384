/* SPDX-License-Identifier: Apache-2.0 */
#include "digest.h"

#include "xalloc.h"

/* The low-level calls, deprecated since OpenSSL 3: EVP reads a configuration file and starts
 * providers at the first use, 2 ms in a process that lives for 5. They are the same code, with the
 * processor's own instructions. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

void digest_init(struct digest *d)
{
	d->ctx = xmalloc(sizeof(SHA256_CTX));
	SHA256_Init(d->ctx);
}

void digest_update(struct digest *d, const void *data, size_t len)
{
	SHA256_Update(d->ctx, data, len);
}

void digest_hex(struct digest *d, char hex[DIGEST_HEX_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char raw[SHA256_DIGEST_LENGTH];
	SHA256_Final(raw, d->ctx);
	for (size_t i = 0; i < sizeof raw; i++) {
		hex[2 * i] = digits[raw[i] >> 4];
		hex[2 * i + 1] = digits[raw[i] & 15];
	}
	hex[DIGEST_HEX_LEN] = '\0';
	digest_release(d);
}

void digest_release(struct digest *d)
{
	free(d->ctx);
	d->ctx = NULL;
}

void digest_of(const void *data, size_t len, char hex[DIGEST_HEX_LEN + 1])
{
	struct digest d;
	digest_init(&d);
	digest_update(&d, data, len);
	digest_hex(&d, hex);
}
