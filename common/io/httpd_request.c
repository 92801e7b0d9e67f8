#include "common/io/httpd_request.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/json.h"
#include "common/base/mem.h"

struct httpd_request *httpd_request_new(struct evhttp_request *req)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *raw = uri ? evhttp_uri_get_path(uri) : NULL;
	struct httpd_request *q = mem_new(struct httpd_request);
	size_t len = 0;

	q->req = req;
	TAILQ_INIT(&q->query);
	q->path = raw ? evhttp_uridecode(*raw ? raw : "/", 0, &len) : NULL;
	if (q->path && strlen(q->path) != len) { /* %00 */
		free(q->path);
		q->path = NULL;
	}
	return q;
}

void httpd_request_clear(struct httpd_request *q)
{
	evhttp_clear_headers(&q->query);
	free(q->path);
}

static struct evhttp_request *request_of(const struct httpd_request *q)
{
	return q->req ? q->req : q->owned;
}

const char *httpd_method(const struct httpd_request *q)
{
	switch (request_of(q) ? evhttp_request_get_command(request_of(q)) : 0) {
	case EVHTTP_REQ_GET:
		return "GET";
	case EVHTTP_REQ_POST:
		return "POST";
	case EVHTTP_REQ_HEAD:
		return "HEAD";
	case EVHTTP_REQ_PUT:
		return "PUT";
	case EVHTTP_REQ_DELETE:
		return "DELETE";
	case EVHTTP_REQ_OPTIONS:
		return "OPTIONS";
	case EVHTTP_REQ_PATCH:
		return "PATCH";
	default:
		return "";
	}
}

const char *httpd_path(const struct httpd_request *q)
{
	return q->path ? q->path : "";
}

const char *httpd_raw_path(const struct httpd_request *q)
{
	const struct evhttp_uri *uri =
		request_of(q) ? evhttp_request_get_evhttp_uri(request_of(q)) : NULL;
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;

	return path ? path : "";
}

const char *httpd_raw_query(const struct httpd_request *q)
{
	const struct evhttp_uri *uri =
		request_of(q) ? evhttp_request_get_evhttp_uri(request_of(q)) : NULL;
	const char *query = uri ? evhttp_uri_get_query(uri) : NULL;

	return query ? query : "";
}

const char *httpd_query(const struct httpd_request *q, const char *name)
{
	struct httpd_request *mine = (struct httpd_request *)q; /* parsed at the first question */

	if (!q->parsed) {
		mine->parsed = true;
		evhttp_parse_query_str(httpd_raw_query(q), &mine->query);
	}
	return evhttp_find_header(&q->query, name);
}

const char *httpd_header(const struct httpd_request *q, const char *name)
{
	struct evhttp_request *req = request_of(q);

	return req ? evhttp_find_header(evhttp_request_get_input_headers(req), name) : NULL;
}

int httpd_header_count(const struct httpd_request *q, const char *name)
{
	struct evhttp_request *req = request_of(q);
	const struct evkeyval *h;
	int n = 0;

	if (req)
		TAILQ_FOREACH(h, evhttp_request_get_input_headers(req), next)
	n += strcasecmp(h->key, name) == 0;
	return n;
}

/* "Content-Length : 5": evhttp takes it for another header, a proxy may not. */
static bool has_blank_in_name(const struct httpd_request *q)
{
	struct evhttp_request *req = request_of(q);
	const struct evkeyval *h;

	if (!req)
		return false;
	TAILQ_FOREACH(h, evhttp_request_get_input_headers(req), next)
	{
		if (!*h->key || strpbrk(h->key, " \t"))
			return true;
	}
	return false;
}

bool httpd_is_ambiguous(const struct httpd_request *q)
{
	const char *coding = httpd_header(q, "Transfer-Encoding"),
		   *length = httpd_header(q, "Content-Length");
	const char *method = httpd_method(q);
	bool bodiless = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;

	if (has_blank_in_name(q))
		return true;
	if (!coding && !length)
		return false;
	if (coding && (length || bodiless || strcasecmp(coding, "chunked") != 0))
		return true;
	return httpd_header_count(q, "Content-Length") > 1 ||
	       httpd_header_count(q, "Transfer-Encoding") > 1 ||
	       (length && (!*length || length[strspn(length, "0123456789")])) ||
	       (bodiless && length && length[strspn(length, "0")]);
}

const char *httpd_peer(const struct httpd_request *q)
{
	const struct evhttp_request *req = request_of(q);

	return req && req->remote_host ? req->remote_host : "";
}

const void *httpd_body(const struct httpd_request *q, size_t *len)
{
	struct evhttp_request *req = request_of(q);
	struct evbuffer *b = req ? evhttp_request_get_input_buffer(req) : NULL;

	*len = b ? evbuffer_get_length(b) : 0;
	return *len ? evbuffer_pullup(b, -1) : (const void *)"";
}

void httpd_add_header(struct httpd_request *q, const char *name, const char *value)
{
	if (q->req && !q->answered)
		evhttp_add_header(evhttp_request_get_output_headers(q->req), name, value);
}

const char *httpd_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} known[] = {
		{ 200, "OK" },
		{ 201, "Created" },
		{ 202, "Accepted" },
		{ 204, "No Content" },
		{ 302, "Found" },
		{ 304, "Not Modified" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 409, "Conflict" },
		{ 410, "Gone" },
		{ 412, "Precondition Failed" },
		{ 413, "Content Too Large" },
		{ 415, "Unsupported Media Type" },
		{ 417, "Expectation Failed" },
		{ 422, "Unprocessable Content" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (known[i].status == status)
			return known[i].reason;
	return "Status";
}

/* evhttp would send the bytes of a body also where none may be, and the next answer would begin
 * with them. */
static void put_body(struct httpd_request *q, int status, const void *body, size_t len)
{
	char number[24];

	if (status == 204 || status == 304)
		return;
	if (evhttp_request_get_command(q->req) != EVHTTP_REQ_HEAD) {
		evbuffer_add(evhttp_request_get_output_buffer(q->req), body, len);
		return;
	}
	snprintf(number, sizeof(number), "%zu", len);
	httpd_add_header(q, "Content-Length", number);
}

/* An answer that comes later goes out at once, while its bytes are warm: evhttp would only ask to be told when it may be written,
 * which nearly always is now.  What does not fit is left to it. */
static void send_now(struct evhttp_connection *c)
{
	struct bufferevent *bev = evhttp_connection_get_bufferevent(c);
	struct evbuffer *out = bufferevent_get_output(bev);

	evbuffer_unfreeze(out, 1);
	(void)evbuffer_write(out,
			     bufferevent_getfd(
				     bev)); /* an error comes again, where evhttp hears of it */
	evbuffer_freeze(out, 1);
	if (evbuffer_get_length(out) == 0)
		bufferevent_trigger(bev, EV_WRITE, 0); /* the request is gone now, and perhaps c */
}

/* With its answer a direct handler is through. */
static void direct_end(struct httpd_request *q)
{
	if (!q->direct)
		return;
	q->handling = false;
	httpd_request_put(q);
}

void httpd_reply(struct httpd_request *q, int status, const char *content_type, const void *body,
		 size_t len)
{
	struct evhttp_request *req = q->req;
	struct evhttp_connection *c = req ? evhttp_request_get_connection(req) : NULL;

	if (q->answered)
		return;
	if (req) {
		if (content_type)
			httpd_add_header(q, "Content-Type", content_type);
		if (q->closing)
			httpd_add_header(q, "Connection", "close");
		put_body(q, status, body, len);
	}
	q->answered = true;
	if (req) {
		q->server->replying = true;
		evhttp_send_reply(req, status, httpd_reason(status), NULL);
		q->server->replying = false;
	}
	if (c && q->direct && !q->arriving)
		send_now(c);
	direct_end(q);
}

void httpd_reply_text(struct httpd_request *q, int status, const char *text)
{
	httpd_reply(q, status, "text/plain; charset=utf-8", text, strlen(text));
}

void httpd_problem_print(struct buf *out, int status, const char *detail)
{
	buf_puts(out, "{\"type\":\"about:blank\",\"title\":");
	json_quote(out, httpd_reason(status), strlen(httpd_reason(status)));
	buf_printf(out, ",\"status\":%d,\"detail\":", status);
	json_quote(out, detail, strlen(detail));
	buf_putc(out, '}');
}

void httpd_reply_problem(struct httpd_request *q, int status, const char *detail)
{
	struct buf out = BUF_INIT;

	httpd_problem_print(&out, status, detail);
	httpd_reply(q, status, "application/problem+json", out.data, out.len);
	buf_clear(&out);
}

void httpd_abort(struct httpd_request *q)
{
	if (q->answered)
		return;
	q->answered = true;
	if (q->req)
		evhttp_connection_free(evhttp_request_get_connection(q->req));
	direct_end(q);
}
