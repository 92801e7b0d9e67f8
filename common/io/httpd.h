/* The HTTP server: evhttp, each request handled in a coroutine of its own, so handlers read
 * straight and may wait.  Bounds: body, headers, time to send the whole request (slow clients are
 * cut off), requests under way and their bytes, open files (some are left to the rest of the process).  Answers 400, 404,
 * 405, 413, 417, 431, 500, 501, 503 by itself, as problem details (RFC 9457), 400 also where it can't be told where a request ends; HEAD goes to the handler of GET.
 * A client that leaves while its handler waits is noticed when the answer is written, and the answer dropped. */
#ifndef COMMON_IO_HTTPD_H
#define COMMON_IO_HTTPD_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

struct httpd;
struct httpd_request;

/* Runs in a coroutine, or on the loop where the route is a direct one; must call httpd_reply or httpd_abort exactly once (500 is
 * sent if it returns without; a direct one may do so later).  What the functions below return of a request is gone after that. */
typedef void (*httpd_handler)(struct httpd_request *q, void *arg);

struct httpd_options {
	const char *listen;      /* "127.0.0.1:8700", "[::1]:8700", "*:8700"; port 0 picks one */
	size_t max_body_bytes;   /* 0 = 1 MiB */
	size_t max_header_bytes; /* 0 = 16 KiB */
	int64_t read_timeout_ms; /* 0 = 10,000; also how long a kept connection may be idle */
	int max_requests;        /* under way; 0 = 10,000; over it 503 with Retry-After */
	size_t max_buffered_bytes; /* of all requests, coming in or under way; 0 = 256 MiB; over it who sends is cut off */
};

/* -EINVAL, -EADDRINUSE …, with a text. */
int httpd_new(const struct httpd_options *o, struct httpd **out, struct err *err)
	__attribute__((warn_unused_result));
/* Closes all connections.  Handlers under way go on, their answers are dropped. */
void httpd_free(struct httpd *h);
/* Waits.  Accepts no more connections, and returns when no request is coming in or under way and all answers are
 * written; -ETIMEDOUT, -ECANCELED. */
int httpd_drain(struct httpd *h, int64_t deadline_ms);
int httpd_port(const struct httpd *h);

/* `method` "GET" or "*"; `path` exact, or a prefix when it ends in "/"; longest wins. */
void httpd_route(struct httpd *h, const char *method, const char *path, httpd_handler fn,
		 void *arg);

/* The same, but fn is called on the loop, must not wait, and may return before it has answered: for what is asked so often, or
 * waits for so many, that a stack each is too much. */
void httpd_route_direct(struct httpd *h, const char *method, const char *path, httpd_handler fn,
			void *arg);

/* All borrowed until the answer; path and query decoded. */
const char *httpd_method(const struct httpd_request *q);
const char *httpd_path(const struct httpd_request *q);                     /* without the query */
const char *httpd_raw_path(const struct httpd_request *q);                 /* undecoded */
const char *httpd_query(const struct httpd_request *q, const char *name);  /* NULL: none */
const char *httpd_raw_query(const struct httpd_request *q);                /* undecoded, or "" */
const char *httpd_header(const struct httpd_request *q, const char *name); /* NULL: none */
int httpd_header_count(const struct httpd_request *q, const char *name); /* how often it was sent */
const char *httpd_peer(const struct httpd_request *q);                   /* the client's address */
const void *httpd_body(const struct httpd_request *q, size_t *len);

void httpd_add_header(struct httpd_request *q, const char *name, const char *value);
void httpd_reply(struct httpd_request *q, int status, const char *content_type, const void *body,
		 size_t len);
void httpd_reply_text(struct httpd_request *q, int status, const char *text);
void httpd_reply_problem(struct httpd_request *q, int status, const char *detail); /* RFC 9457 */
/* Closes the connection without an answer (the sandbox's faults). */
void httpd_abort(struct httpd_request *q);

#endif
