/* Inside of the HTTP server: a request, as httpd.c (its life), httpd_intake.c (its way in) and httpd_request.c (what
 * handlers see) share it, and the address to listen on.  Nobody else includes this. */
#ifndef COMMON_IO_HTTPD_REQUEST_H
#define COMMON_IO_HTTPD_REQUEST_H

#include <event2/http.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/socket.h>
/* after queue.h, which it needs */
#include <event2/keyvalq_struct.h>

#include "common/base/buf.h"
#include "common/io/httpd.h"

struct httpd {
	struct httpd *next_server;
	struct evhttp *http;
	struct evconnlistener *listener;
	struct evhttp_bound_socket *bound;
	struct loop_timer *accept_again;
	struct route *routes; /* longest path first */
	void *intakes;
	struct httpd_request *first; /* under way */
	int n, max, port;
	int64_t read_timeout_ms;
	size_t buffered, max_buffered; /* bytes of requests, coming in or under way */
	int64_t swept_ms;
	int files_max;             /* a descriptor from here on is the rest of the process's */
	size_t max_body, max_head; /* bytes */
	bool replying;             /* what goes out now is a handler's answer */
	bool draining;
	struct co *drainer;
};

struct httpd_request {
	struct httpd_request *next, **at; /* under way */
	struct httpd *server;
	struct evhttp_request *req; /* NULL: answered, or the connection is gone */
	struct evhttp_request
		*owned; /* the same, kept for the handler when the connection is gone */
	int holders;
	bool handling, answered;
	bool closing;  /* the connection ends with this answer */
	bool arriving; /* evhttp is still handing it over */
	bool direct;   /* its handler runs on the loop, and may answer later */
	size_t bytes;  /* of its body, counted in the server */
	httpd_handler fn;
	void *arg;
	char *path; /* decoded; NULL: it can't be */
	bool parsed;
	struct evkeyvalq query;
};

/* httpd_intake.c */
struct bufferevent *httpd_on_connection(struct event_base *base, void *h);
void httpd_intake_done(struct httpd *h, struct evhttp_connection *c); /* the request is whole */
int httpd_coming_in(
	struct httpd
		*h); /* requests of which a part is here; forgets those whose connection is gone */
void httpd_intakes_free(struct httpd *h);
/* httpd.c: pauses accepting while few open files are left. */
void httpd_mind_files(struct httpd *h);

/* httpd_refusal.c: puts a problem in the place of evhttp's own page, which stands in bev's output from `at` on.  True: it is
 * sent, and the client has to close; what it still sends is to be thrown away. */
bool httpd_refuse(struct httpd *h, struct bufferevent *bev, size_t at, bool head_is_too_long);

struct httpd_request *httpd_request_new(struct evhttp_request *req);
void httpd_request_clear(struct httpd_request *q);
const char *httpd_reason(int status);
void httpd_problem_print(struct buf *out, int status, const char *detail);
/* Once by the handler's end, once by the connection's or the answer's. */
void httpd_request_put(struct httpd_request *q);
/* Where a request ends can be read in two ways: whoever stands before us may have read it in the other. */
bool httpd_is_ambiguous(const struct httpd_request *q);

/* httpd_listen.c: "127.0.0.1:8700", "[::1]:0", "*:80", "localhost:0".  -EINVAL */
int httpd_listen_parse(const char *s, struct sockaddr_storage *out, int *len)
	__attribute__((warn_unused_result));
int httpd_listen_port(int fd);

#endif
