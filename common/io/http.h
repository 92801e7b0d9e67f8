/* The HTTP client: libcurl's multi interface on the loop.  One pool per partner, split inside into
 * multi handles of 64 connections (libcurl walks all connections of a multi for each transfer).
 * Keep-alive, HTTP/2 where offered over TLS, easy handles reused, explicit timeouts, bounded
 * bodies, names looked up by resolve.h.  No cookies, no redirects, no proxy. */
#ifndef COMMON_IO_HTTP_H
#define COMMON_IO_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

struct http_pool;
struct mail_dialogue;

/* Once a process; -ENOTSUP: this libcurl would resolve names in the loop.  The environment's SSL_CERT_FILE is what is trusted. */
int http_global_init(void) __attribute__((warn_unused_result));
/* Certificates to trust in place of the system's, for connections from now on; copied; NULL: the
 * system's again. */
void http_set_ca_file(const char *path);

struct http_pool *http_pool_new(const char *name, int max_connections); /* 0 = 500 */
void http_pool_free(struct http_pool *p); /* transfers under way end with -ECANCELED first */

/* From now on it connects to targets alone (target.h), whatever a name resolves to at that moment: for URLs that somebody else
 * has given.  Another is the failure "private". */
void http_pool_guard(struct http_pool *p);

struct http_header {
	const char *name, *value;
};

/* A mail in place of a request (http_mail.c): the URL is smtp:// or smtps://, the body the message, its lines ended by CRLF. */
struct http_mail {
	const char *from, *to; /* one address each */
	const char *user;      /* NULL: nobody logs in */
	const char *password;
	const char *token; /* in place of a password: one of OAuth 2, of the user's; NULL: none */
	bool plain;        /* smtp:// without STARTTLS, which is demanded else */
	struct mail_dialogue *dialogue; /* what is said is written down there; NULL: nowhere */
};

/* Everything is borrowed for the call. */
struct http_request {
	const char *method; /* "GET" … */
	const char *url;    /* whole */
	const struct http_header *headers;
	int n_headers;
	const char *body; /* NULL: none */
	size_t body_len;
	/* All but the total are checked four times a second. */
	int64_t wait_ms;       /* until a connection is free, or may be opened; 0 = 10,000 */
	int64_t connect_ms;    /* TCP and TLS, once it is being opened; 0 = 5,000 */
	int64_t write_ms;      /* the longest while no byte of a body goes out; 0 = 10,000 */
	int64_t read_ms;       /* the longest silence after that; 0 = 10,000 */
	int64_t total_ms;      /* 0 = 60,000 */
	size_t max_body_bytes; /* of the answer, unpacked; 0 = 16 MiB */
	/* Never sent twice.  Takes a fresh connection, since libcurl sends any request again by
	 * itself when a kept connection turns out to be dead before the answer began. */
	bool once;
	/* Called on the loop, not in a coroutine, when the connection is there and the request is about to be
	 * written: it may not wait or send.  False: it is not sent.  Called again where libcurl begins anew. */
	bool (*sending)(void *arg);
	void *sending_arg;
	const struct http_mail *mail; /* NULL: it is none; `once`, whatever that says */
	/* Of a mail: called in its coroutine when the server has all of the message but its end, without which it is none.  May wait.
	 * < 0: it is not ended, so not sent, and http_send returns that. */
	int (*ending)(void *arg);
};

struct http_response {
	int status; /* 0 when there was none */
	/* When status is 0, also when an answer broke off midway, one of "timeout" "wait_timeout"
	 * "write_timeout" "refused" "dns" "tls" "reset" "too_large" "private" "network"; else NULL. */
	const char *failure;
	char detail[160]; /* the failure in libcurl's own words */
	struct buf body;
	struct buf headers; /* name\0value\0 …, names in lower case */
	int64_t sent_at_us; /* when the request was handed to libcurl, clock_real_us */
	int64_t duration_ms;
	int64_t bytes_up, bytes_down;
	bool reused; /* the connection */
	bool mail;   /* the status is SMTP's, the body its last reply, without addresses */
	bool unsent; /* of a mail: the message's end was not written, so that it cannot have been taken */
};
void http_response_init(struct http_response *r);
void http_response_clear(struct http_response *r);
/* The first of that name, borrowed; NULL if there is none. */
const char *http_response_header(const struct http_response *r, const char *name_lower);

/* Waits.  0: the exchange ended, with a status or with a failure word (a partner's failure is a
 * result, not an error).  -ETIMEDOUT (the coroutine's deadline), -ECANCELED: abandoned, the
 * transfer is removed.  -EINVAL: not an http(s) URL (smtp(s), of a mail), or a line break in the method, a header or
 * an address; nothing was sent.  -ESTALE: `sending` said no.  `out` may have served before: its memory is used again. */
int http_send(struct http_pool *p, const struct http_request *q, struct http_response *out)
	__attribute__((warn_unused_result));

/* Percent-encodes for a path segment or query value; appends. */
void http_escape(struct buf *out, const char *s, size_t n);

#endif
