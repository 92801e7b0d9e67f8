/* evhttp underneath.  A request lives until its handler has returned and evhttp is done with its
 * answer, or the connection is gone, in whatever order: while the handler runs evhttp does not
 * read from the connection, so only httpd_free or an abort can end it then. */
#include "common/io/httpd.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/httpd_request.h"
#include "common/io/loop.h"

enum {
	BACKLOG = 4096, /* evhttp's own 128 drops bursts of connects */
	BODY_BYTES = 1024 * 1024,
	HEADER_BYTES = 16 * 1024,
	READ_TIMEOUT_MS = 10000,
	MAX_REQUESTS = 10000,
	ACCEPT_PAUSE_MS = 100, /* after "too many open files" */
	FILES_LEFT = 64,       /* to Redis, Postgres, partners, logs */
	BUFFERED_BYTES = 256 * 1024 * 1024,
	DRAIN_LOOK_MS = 20,
};

struct route {
	struct route *next;
	char *method, *path;
	size_t len;
	httpd_handler fn;
	void *arg;
	bool direct;
};

static struct httpd *servers; /* of the process */

static void pause_accepting(struct httpd *h, const char *why)
{
	log_event(LOG_WARN, "accept_failed", LS("why", why), LI("port", h->port));
	evconnlistener_disable(h->listener);
	loop_timer_set(h->accept_again, ACCEPT_PAUSE_MS);
}

/* Descriptors are given out from the lowest on: one that is high says that there are few left. */
void httpd_mind_files(struct httpd *h)
{
	int fd = dup(STDERR_FILENO);

	if (fd >= 0)
		close(fd);
	if (h->listener && (fd < 0 || fd >= h->files_max))
		pause_accepting(h, "few open files are left");
}

static bool fits(const struct route *r, const char *path)
{
	if (r->len && r->path[r->len - 1] == '/')
		return strncmp(path, r->path, r->len) == 0;
	return strcmp(path, r->path) == 0;
}

/* NULL: *status is 404, or 405 when only the method is wrong. */
static const struct route *find_route(const struct httpd *h, const char *method, const char *path,
				      int *status)
{
	*status = 404;
	for (const struct route *r = h->routes; r; r = r->next) {
		if (!fits(r, path))
			continue;
		if (strcmp(r->method, "*") == 0 || strcmp(r->method, method) == 0 ||
		    (strcmp(r->method, "GET") == 0 && strcmp(method, "HEAD") == 0))
			return r;
		*status = 405;
	}
	return NULL;
}

void httpd_request_put(struct httpd_request *q)
{
	if (--q->holders > 0)
		return;
	if (q->owned)
		evhttp_request_free(q->owned);
	httpd_request_clear(q);
	free(q);
}

static void under_way_end(struct httpd_request *q)
{
	struct httpd *h = q->server;

	*q->at = q->next;
	if (q->next)
		q->next->at = q->at;
	h->n--;
	h->buffered -= q->bytes;
	if (h->n == 0 && h->drainer)
		co_wake(h->drainer);
}

static void on_answered(struct evhttp_request *req, void *arg)
{
	struct httpd_request *q = arg;

	evhttp_connection_set_closecb(evhttp_request_get_connection(req), NULL, NULL);
	q->req = NULL;
	under_way_end(q);
	httpd_request_put(q);
}

/* The handler may go on reading the request, so it is taken from evhttp, which would free it
 * now. */
static void on_gone(struct evhttp_connection *c, void *arg)
{
	struct httpd_request *q = arg;

	if (q->handling && !q->answered) {
		evhttp_request_own(q->req);
		q->owned = q->req;
	}
	q->req = NULL;
	under_way_end(q);
	httpd_request_put(q);
}

static void handle(void *arg)
{
	struct httpd_request *q = arg;

	q->fn(q, q->arg);
	if (!q->answered)
		httpd_reply_problem(q, 500, "the handler gave no answer");
	q->handling = false;
	httpd_request_put(q);
}

static void begin(struct httpd *h, struct evhttp_request *req, struct httpd_request *q)
{
	struct evhttp_connection *c = evhttp_request_get_connection(req);

	q->server = h;
	q->holders = 2;
	q->handling = true;
	q->at = &h->first;
	q->next = h->first;
	if (h->first)
		h->first->at = &q->next;
	h->first = q;
	h->n++;
	q->bytes = evbuffer_get_length(evhttp_request_get_input_buffer(req));
	h->buffered += q->bytes;
	evhttp_connection_set_closecb(c, on_gone, q);
	evhttp_request_set_on_complete_cb(req, on_answered, q);
}

static const char *why_not(int status)
{
	switch (status) {
	case 400:
		return "the address does not read, or it can be told in two ways where the request ends (a body of GET or HEAD, two lengths, a blank before a colon)";
	case 404:
		return "there is nothing at this address";
	case 405:
		return "the address is not for this method";
	default:
		return "too many requests are under way";
	}
}

/* The methods of what stands at the address. */
static void add_allow(struct httpd_request *q)
{
	struct buf all = BUF_INIT;

	for (const struct route *r = q->server->routes; r; r = r->next)
		if (fits(r, q->path) && !strstr(buf_str(&all), r->method))
			buf_printf(&all, "%s%s", all.len ? ", " : "",
				   strcmp(r->method, "GET") == 0 ? "GET, HEAD" : r->method);
	httpd_add_header(q, "Allow", buf_str(&all));
	buf_clear(&all);
}

/* The route's handler; what can't be handled is answered here. */
static void dispatch(struct httpd_request *q, const struct route *r, int status)
{
	if (r) {
		q->fn = r->fn;
		q->arg = r->arg;
		q->direct = r->direct;
		if (r->direct) {
			q->holders++;
			q->arriving = true;
			q->fn(q, q->arg);
			q->arriving = false;
			httpd_request_put(q);
			return;
		}
		if (co_spawn("httpd", handle, q))
			return;
		status = 503;
	}
	if (status == 503)
		httpd_add_header(q, "Retry-After", "1");
	else if (status == 405)
		add_allow(q);
	httpd_reply_problem(q, status, why_not(status));
	q->handling = false;
	httpd_request_put(q);
}

static void on_request(struct evhttp_request *req, void *arg)
{
	struct httpd *h = arg;
	struct httpd_request *q = httpd_request_new(req);
	const struct route *r = NULL;
	int status = 400;

	httpd_intake_done(h, evhttp_request_get_connection(req));
	begin(h, req, q);
	q->closing = h->draining;
	if (httpd_is_ambiguous(q))
		q->closing = true;
	else if (q->path)
		r = find_route(h, httpd_method(q), q->path, &status);
	if (r && h->n > h->max) {
		r = NULL;
		status = 503;
	}
	dispatch(q, r, status);
}

static void on_accept_again(void *arg)
{
	struct httpd *h = arg;

	evconnlistener_enable(h->listener);
}

/* Out of descriptors the pending connection stays readable, and the loop would spin on it.  The
 * argument is evhttp's own. */
static void on_accept_error(struct evconnlistener *l, void *arg)
{
	struct httpd *h = servers;
	int e = errno;

	while (h && h->listener != l)
		h = h->next_server;
	if (!h)
		return;
	pause_accepting(h, strerror(e));
}

static int listen_on(struct httpd *h, const char *where, struct err *err)
{
	struct sockaddr_storage a = { 0 };
	int len, rc;

	if (!where || httpd_listen_parse(where, &a, &len) < 0)
		return err_set(err, -EINVAL, ERR_INTERNAL, "listen",
			       "cannot listen on %s: expected ADDRESS:PORT",
			       where ? where : "nothing");
	h->listener = evconnlistener_new_bind(loop_base(), NULL, NULL,
					      LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC |
						      LEV_OPT_CLOSE_ON_FREE,
					      BACKLOG, (struct sockaddr *)&a, len);
	rc = -errno;
	if (!h->listener)
		return err_set(err, rc, ERR_INTERNAL, "listen", "cannot listen on %s: %s", where,
			       strerror(-rc));
	h->bound = evhttp_bind_listener(h->http, h->listener);
	evconnlistener_set_error_cb(h->listener, on_accept_error);
	h->port = httpd_listen_port(evconnlistener_get_fd(h->listener));
	return 0;
}

static int files_max(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur > INT_MAX)
		return INT_MAX;
	return r.rlim_cur > 2 * FILES_LEFT ? (int)r.rlim_cur - FILES_LEFT : (int)r.rlim_cur;
}

static void configure(struct httpd *h, const struct httpd_options *o)
{
	struct timeval silence = { .tv_sec = h->read_timeout_ms / 1000,
				   .tv_usec = h->read_timeout_ms % 1000 * 1000 };

	h->max_body = o->max_body_bytes ? o->max_body_bytes : BODY_BYTES;
	h->max_head = o->max_header_bytes ? o->max_header_bytes : HEADER_BYTES;
	evhttp_set_timeout_tv(h->http, &silence);
	evhttp_set_max_body_size(h->http, (ev_ssize_t)h->max_body);
	evhttp_set_max_headers_size(h->http, (ev_ssize_t)h->max_head);
	evhttp_set_allowed_methods(h->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
						    EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
						    EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
	evhttp_set_default_content_type(h->http, NULL);
	evhttp_set_bevcb(h->http, httpd_on_connection, h);
	evhttp_set_gencb(h->http, on_request, h);
}

int httpd_new(const struct httpd_options *o, struct httpd **out, struct err *err)
{
	struct httpd *h = mem_new(struct httpd);
	int rc;

	h->http = evhttp_new(loop_base());
	if (!h->http)
		abort(); /* out of memory */
	h->read_timeout_ms = o->read_timeout_ms > 0 ? o->read_timeout_ms : READ_TIMEOUT_MS;
	h->max = o->max_requests > 0 ? o->max_requests : MAX_REQUESTS;
	h->max_buffered = o->max_buffered_bytes ? o->max_buffered_bytes : BUFFERED_BYTES;
	h->files_max = files_max();
	configure(h, o);
	rc = listen_on(h, o->listen, err);
	if (rc < 0) {
		evhttp_free(h->http);
		free(h);
		return rc;
	}
	h->accept_again = loop_timer_new(on_accept_again, h);
	h->next_server = servers;
	servers = h;
	*out = h;
	return 0;
}

static void stop_accepting(struct httpd *h)
{
	if (h->bound)
		evhttp_del_accept_socket(h->http, h->bound);
	h->bound = NULL;
	h->listener = NULL;
	loop_timer_stop(h->accept_again);
}

void httpd_free(struct httpd *h)
{
	struct httpd **at = &servers;

	if (!h)
		return;
	while (*at != h)
		at = &(*at)->next_server;
	*at = h->next_server;
	stop_accepting(h);
	evhttp_free(h->http);
	assert(h->n == 0);
	while (h->routes) {
		struct route *r = h->routes;

		h->routes = r->next;
		free(r->method);
		free(r->path);
		free(r);
	}
	httpd_intakes_free(h);
	loop_timer_free(h->accept_again);
	free(h);
}

int httpd_drain(struct httpd *h, int64_t deadline_ms)
{
	int rc = 0;

	stop_accepting(h);
	h->draining = true;
	h->drainer = co_self();
	for (struct httpd_request *q = h->first; q; q = q->next)
		q->closing = true;
	/* What stands in sockets already comes with the next turns: there is at least one look. */
	do {
		int64_t look = loop_now_ms() + DRAIN_LOOK_MS;

		rc = co_wait("drain", look < deadline_ms ? look : deadline_ms);
		if (rc == -ETIMEDOUT && loop_now_ms() < deadline_ms)
			rc = 0;
	} while (rc == 0 && (h->n > 0 || httpd_coming_in(h) > 0));
	h->drainer = NULL;
	return h->n == 0 ? 0 : rc;
}

int httpd_port(const struct httpd *h)
{
	return h->port;
}

static void add_route(struct httpd *h, const char *method, const char *path, httpd_handler fn,
		      void *arg, bool direct)
{
	struct route *r = mem_new(struct route), **at = &h->routes;

	r->method = mem_strdup(method);
	r->path = mem_strdup(path);
	r->len = strlen(path);
	r->fn = fn;
	r->arg = arg;
	r->direct = direct;
	while (*at && (*at)->len >= r->len)
		at = &(*at)->next;
	r->next = *at;
	*at = r;
}

void httpd_route(struct httpd *h, const char *method, const char *path, httpd_handler fn, void *arg)
{
	add_route(h, method, path, fn, arg, false);
}

void httpd_route_direct(struct httpd *h, const char *method, const char *path, httpd_handler fn,
			void *arg)
{
	add_route(h, method, path, fn, arg, true);
}
