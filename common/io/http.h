/* The HTTP client: libcurl's multi interface on the loop.  One pool per partner (curl walks all connections
 * of a multi for each transfer), at most 500 connections a multi, keep-alive, HTTP/2 where offered, easy
 * handles reused, explicit timeouts, bounded bodies.  No cookies, no redirects, no proxy from the environment
 * unless asked. */
#ifndef COMMON_IO_HTTP_H
#define COMMON_IO_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

struct http_pool;

int http_global_init(void) __attribute__((warn_unused_result)); /* once a process; checks for the asynchronous resolver */
void http_set_ca_file(const char *path); /* certificates to trust in place of the system's; copied; for connections from now on */
struct http_pool *http_pool_new(const char *name, int max_connections); /* 0 = 500 */
void http_pool_free(struct http_pool *p); /* transfers under way end with -ECANCELED first */

struct http_header { const char *name, *value; };

struct http_request {
	const char *method;  /* "GET" … */
	const char *url;     /* whole */
	const struct http_header *headers; int n_headers; /* borrowed for the call */
	const char *body; size_t body_len;                /* borrowed for the call; NULL: none */
	int64_t connect_ms, read_ms, total_ms; /* 0 = 5,000 / 10,000 / 60,000; read = longest silence */
	size_t max_body_bytes;                 /* 0 = 16 MiB, after unpacking */
	bool once; /* never sent twice: takes a fresh connection, since libcurl sends any request again by itself when a
		    * kept connection turns out to be dead before an answer.  For what must not happen twice. */
};

struct http_response {
	int status;           /* 0 when there was none */
	const char *failure;  /* constant word when status is 0: "timeout" "refused" "dns" "tls" "reset" "too_large" "network"; else NULL.
			       * A failure midway through the answer has no status either. */
	char detail[160];     /* curl's own words for the failure */
	struct buf body;
	struct buf headers;   /* name\0value\0 …, names lower-case */
	int64_t sent_at_us;   /* redis-less real time the request was handed to curl, clock_real_us */
	int64_t duration_ms;
	int64_t bytes_up, bytes_down;
	bool reused;          /* connection */
};
void http_response_init(struct http_response *r);
void http_response_clear(struct http_response *r);
const char *http_response_header(const struct http_response *r, const char *name_lower); /* first; NULL; borrowed */

/* Waits.  0: the exchange ended, with a status or with a failure word (a partner's failure is a result, not an error).
 * -ETIMEDOUT (the coroutine's deadline), -ECANCELED: abandoned, the transfer is removed.  -EINVAL: not an http(s) URL,
 * or a line break in the method or a header: nothing was sent. */
int http_send(struct http_pool *p, const struct http_request *q, struct http_response *out) __attribute__((warn_unused_result));

/* Percent-encodes for a path segment or query value; appends. */
void http_escape(struct buf *out, const char *s, size_t n);

#endif
