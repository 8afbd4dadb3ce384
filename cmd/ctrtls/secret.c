/* SPDX-License-Identifier: Apache-2.0 */
#include "secret.h"

#include "auto.h"
#include "fs.h"

#include <fcntl.h>
#include <malloc.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PEM_MAX = 1 << 20 };

/* Copies of a key lie about in buffers that the library frees without wiping them. */
static void wipe_free(void *p, const char *file, int line)
{
	(void)file, (void)line;
	if (p)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

static void *plain_malloc(size_t n, const char *file, int line)
{
	(void)file, (void)line;
	return malloc(n);
}

static void *wipe_realloc(void *p, size_t n, const char *file, int line)
{
	size_t had = p ? malloc_usable_size(p) : 0;
	if (n == 0) {
		wipe_free(p, file, line);
		return NULL;
	}
	void *q = malloc(n);
	if (q && p) {
		memcpy(q, p, had < n ? had : n);
		wipe_free(p, file, line);
	}
	return q;
}

void secret_init(void)
{
	CRYPTO_set_mem_functions(plain_malloc, wipe_realloc, wipe_free);
	/* No file but those named is read. */
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
}

int secret_error(struct err *e, enum err_kind kind, const char *what)
{
	char text[200] = "no reason given";
	unsigned long n = ERR_peek_last_error();
	const char *reason = n ? ERR_reason_error_string(n) : NULL;
	if (reason)
		snprintf(text, sizeof text, "%s", reason);
	else if (n)
		ERR_error_string_n(n, text, sizeof text);
	ERR_clear_error();
	return err_set(e, kind, "%s: %s", what, text);
}

/* Nobody is asked for a passphrase. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf, (void)size, (void)writing, (void)arg;
	return -1;
}

static void wiped(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	buf_release(b);
}

static BIO *open_pem(const char *file, struct buf *b, struct err *e)
{
	*b = BUF_INIT(PEM_MAX);
	if (fs_read_at(AT_FDCWD, file, b, e) < 0)
		return NULL;
	BIO *bio = BIO_new_mem_buf(b->data ? b->data : "", (int)b->len);
	if (!bio)
		secret_error(e, ERR_FAILED, file);
	return bio;
}

static int use_key(SSL *ssl, const char *file, struct err *e)
{
	__attribute__((cleanup(wiped))) struct buf b;
	BIO *bio = open_pem(file, &b, e);
	if (!bio)
		return -1;
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	if (!key)
		return secret_error(e, ERR_BAD_INPUT, file);
	int r = SSL_use_PrivateKey(ssl, key);
	EVP_PKEY_free(key);
	if (r != 1 || SSL_check_private_key(ssl) != 1)
		return secret_error(e, ERR_BAD_INPUT, file);
	return 0;
}

static int use_certificate(SSL *ssl, const char *file, struct err *e)
{
	__attribute__((cleanup(wiped))) struct buf b;
	BIO *bio = open_pem(file, &b, e);
	if (!bio)
		return -1;
	X509 *cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
	int r = cert ? SSL_use_certificate(ssl, cert) : 0;
	X509_free(cert);
	while (r == 1 && (cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)))
		r = (int)SSL_add0_chain_cert(ssl, cert);
	BIO_free(bio);
	if (r != 1)
		return secret_error(e, ERR_BAD_INPUT, file);
	ERR_clear_error();
	return 0;
}

static int require_client(SSL_CTX *ctx, const char *file, struct err *e)
{
	STACK_OF(X509_NAME) * names;
	if (access(file, R_OK) < 0)
		return err_sys(e, "%s", file);
	if (SSL_CTX_load_verify_locations(ctx, file, NULL) != 1 ||
	    !(names = SSL_load_client_CA_file(file)))
		return secret_error(e, ERR_BAD_INPUT, file);
	SSL_CTX_set_client_CA_list(ctx, names);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return 0;
}

/* HTTP/1.1 is what can be upgraded. A client that wants nothing else but HTTP/2 finds out by itself.
 */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
			   const unsigned char *in, unsigned len, void *arg)
{
	static const unsigned char ours[] = "\x08http/1.1";
	unsigned char *chosen;
	(void)ssl, (void)arg;
	if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, in, len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *new_context(const struct config *cfg, struct err *e)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	if (!ctx) {
		secret_error(e, ERR_FAILED, "TLS");
		return NULL;
	}
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					 SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
	if (!*cfg->stream_tls_ca || require_client(ctx, cfg->stream_tls_ca, e) == 0)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

SSL *secret_session(const struct config *cfg, struct err *e)
{
	if (!*cfg->stream_tls_cert || !*cfg->stream_tls_key) {
		err_set(e, ERR_BAD_INPUT,
			"configuration: stream_tls_cert and stream_tls_key are needed for TLS");
		return NULL;
	}
	SSL_CTX *ctx = new_context(cfg, e);
	if (!ctx)
		return NULL;
	/* Certificate and key belong to the connection, not to the context: so they can go. */
	SSL *ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	if (!ssl)
		secret_error(e, ERR_FAILED, "TLS");
	else if (use_certificate(ssl, cfg->stream_tls_cert, e) == 0 &&
		 use_key(ssl, cfg->stream_tls_key, e) == 0)
		return ssl;
	secret_free(ssl);
	return NULL;
}

void secret_forget(SSL *ssl)
{
	SSL_certs_clear(ssl);
}

void secret_free(SSL *ssl)
{
	SSL_free(ssl);
}
