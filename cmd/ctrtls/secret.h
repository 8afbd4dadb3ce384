/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRTLS_SECRET_H
#define CTRTLS_SECRET_H
/* The server's side of one TLS connection: made from the files of the configuration while there is
 * still the right to read them, then without its private key once that has been used. */
#include "config.h"
#include "err.h"

#include <openssl/ssl.h>

/* First of all: whatever OpenSSL frees from then on is wiped. */
void secret_init(void);
/* TLS 1.2 or later; clients need a certificate when stream_tls_ca is set. NULL with *e, which names
 * the file. */
SSL *secret_session(const struct config *cfg, struct err *e);
/* The handshake is done: the certificate and its key are given up. */
void secret_forget(SSL *ssl);
void secret_free(SSL *ssl);
#define AUTO_SSL __attribute__((cleanup(secret_auto)))
static inline void secret_auto(SSL **ssl)
{
	secret_free(*ssl);
}
/* Why OpenSSL refuses, as *e. */
int secret_error(struct err *e, enum err_kind kind, const char *what);
#endif
