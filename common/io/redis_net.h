/* The socket under a Redis connection: TCP, unix and TLS.  Everything is non-blocking. */
#ifndef COMMON_IO_REDIS_NET_H
#define COMMON_IO_REDIS_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/io/redis_url.h"

struct redis_net {
	int fd;             /* -1: closed */
	struct ssl_st *tls; /* NULL: plain */
};

/* Starts to connect; `address` is a literal, NULL for a unix socket. 0 (writable when it is
 * decided) or -errno. */
int redis_net_open(struct redis_net *n, const struct redis_url *u, const char *address)
	__attribute__((warn_unused_result));
/* The socket became writable: 0 connected (TLS begins), or -errno. *why is a constant or lives
 * as long as n. */
int redis_net_connected(struct redis_net *n, const struct redis_url *u, const char **why)
	__attribute__((warn_unused_result));
void redis_net_close(struct redis_net *n);
const char *redis_net_reason(const struct redis_net *n,
			     int rc); /* words for a failed recv or send; a constant */

/* > 0 bytes, 0 nothing now, -errno (-ECONNRESET also for a clean end). */
ssize_t redis_net_recv(struct redis_net *n, void *p, size_t len);
/* *taken bytes went out.  -errno, or what to do next. */
enum redis_net_next {
	REDIS_NET_WAIT_WRITABLE,
	REDIS_NET_WAIT_READABLE /* TLS shakes hands */,
	REDIS_NET_GO_ON
};
int redis_net_send(struct redis_net *n, const void *p, size_t len, size_t *taken);

#endif
