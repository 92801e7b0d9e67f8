/* Inside of the HTTP server: a request, as httpd.c (its life) and httpd_request.c (what handlers
 * see) share it, and the address to listen on.  Nobody else includes this. */
#ifndef COMMON_IO_HTTPD_REQUEST_H
#define COMMON_IO_HTTPD_REQUEST_H

#include <event2/http.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/socket.h>
/* after queue.h, which it needs */
#include <event2/keyvalq_struct.h>

#include "common/io/httpd.h"

struct httpd_request {
	struct httpd_request *next, **at; /* under way */
	struct httpd *server;
	struct evhttp_request *req; /* NULL: answered, or the connection is gone */
	struct evhttp_request
		*owned; /* the same, kept for the handler when the connection is gone */
	int holders;
	bool handling, answered;
	bool closing; /* the connection ends with this answer */
	httpd_handler fn;
	void *arg;
	char *path; /* decoded; NULL: it can't be */
	bool parsed;
	struct evkeyvalq query;
};

struct httpd_request *httpd_request_new(struct evhttp_request *req);
void httpd_request_clear(struct httpd_request *q);
const char *httpd_reason(int status);

/* httpd_listen.c: "127.0.0.1:8700", "[::1]:0", "*:80", "localhost:0".  -EINVAL */
int httpd_listen_parse(const char *s, struct sockaddr_storage *out, int *len)
	__attribute__((warn_unused_result));
int httpd_listen_port(int fd);

#endif
