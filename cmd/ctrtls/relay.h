/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CTRTLS_RELAY_H
#define CTRTLS_RELAY_H
#include "err.h"

#include <openssl/ssl.h>

/* The handshake on `tls`, then bytes both ways between it and `plain` until one of them ends; each
 * keeps its half close. Memory is bounded: who is slow is not read from, on the other side. Both
 * descriptors are the caller's. 0, or -1 with *e when the handshake failed. */
int relay_run(SSL *ssl, int tls, int plain, struct err *e);
#endif
