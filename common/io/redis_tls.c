#include "common/io/redis_tls.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/io/redis_net.h"

static int trust(SSL_CTX *context, const char *cacert, const char **why)
{
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(context,
			 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (cacert ? SSL_CTX_load_verify_file(context, cacert) == 1
		   : SSL_CTX_set_default_verify_paths(context) == 1)
		return 0;
	*why = cacert ? "the file of cacert= can't be read"
		      : "the system's certificates can't be read";
	return -EINVAL;
}

/* A name is asked for and checked; an address only checked (it has no server name). */
static int expect_host(SSL *tls, const char *host)
{
	if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), host) == 1)
		return 0;
	return SSL_set_tlsext_host_name(tls, host) == 1 && SSL_set1_host(tls, host) == 1 ? 0
											 : -EINVAL;
}

int redis_tls_begin(int fd, const char *host, const char *cacert, SSL **out, const char **why)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *tls = NULL;
	int rc = -ENOMEM;

	*why = "TLS can't be set up";
	if (context)
		rc = trust(context, cacert, why);
	if (rc == 0) {
		tls = SSL_new(context);
		rc = tls && SSL_set_fd(tls, fd) == 1 ? expect_host(tls, host) : -ENOMEM;
	}
	SSL_CTX_free(context); /* the SSL has its own reference */
	if (rc < 0) {
		SSL_free(tls);
		return rc;
	}
	SSL_set_connect_state(tls);
	*out = tls;
	return 0;
}

void redis_tls_end(SSL *tls)
{
	SSL_free(tls);
}

static int failed(SSL *tls, int rc)
{
	switch (SSL_get_error(tls, rc)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	case SSL_ERROR_SSL:
		return -EPROTO;
	default:
		return -ECONNRESET;
	}
}

ssize_t redis_tls_recv(SSL *tls, void *p, size_t len)
{
	int n;

	ERR_clear_error();
	n = SSL_read(tls, p, len < INT_MAX ? (int)len : INT_MAX);
	return n > 0 ? n : failed(tls, n);
}

int redis_tls_send(SSL *tls, const void *p, size_t len, size_t *taken)
{
	int n;

	ERR_clear_error();
	n = SSL_write(tls, p, len < INT_MAX ? (int)len : INT_MAX);
	if (n <= 0 && SSL_get_error(tls, n) == SSL_ERROR_WANT_READ)
		return REDIS_NET_WAIT_READABLE;
	if (n <= 0)
		return failed(tls, n); /* 0 is REDIS_NET_WAIT_WRITABLE */
	*taken = (size_t)n;
	return REDIS_NET_GO_ON; /* a partial write ends at a record: more may go */
}

const char *redis_tls_error(const SSL *tls)
{
	long verdict = SSL_get_verify_result(tls);

	return verdict == X509_V_OK ? NULL : X509_verify_cert_error_string(verdict);
}
