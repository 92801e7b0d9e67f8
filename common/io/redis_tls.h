/* TLS for redis_net.c: OpenSSL straight on the socket, in builds with LONGSHORE_REDIS_TLS (and
 * -lssl).  The server's certificate and name are always verified.  Nothing here waits. */
#ifndef COMMON_IO_REDIS_TLS_H
#define COMMON_IO_REDIS_TLS_H

#include <stddef.h>
#include <sys/types.h>

struct ssl_st;

/* cacert: file of the authorities to trust; NULL: the system's.  *why is a constant. The
 * handshake is done by the first sends and receives. */
int redis_tls_begin(int fd, const char *host, const char *cacert, struct ssl_st **out,
		    const char **why) __attribute__((warn_unused_result));
void redis_tls_end(struct ssl_st *tls);
ssize_t redis_tls_recv(struct ssl_st *tls, void *p, size_t len); /* as redis_net_recv */
int redis_tls_send(struct ssl_st *tls, const void *p, size_t len,
		   size_t *taken); /* as redis_net_send */
const char *redis_tls_error(
	const struct ssl_st *tls); /* the certificate's fault, or NULL; borrowed for ever */

#endif
