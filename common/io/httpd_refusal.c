/* What is said to requests that evhttp refuses by itself, before there is a handler to ask. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/util.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/io/httpd_request.h"

/* Of the page that stands there; 0 also where evhttp says nothing better. */
static int page_status(struct evbuffer *out, size_t at)
{
	struct evbuffer_ptr from;
	char line[24];
	ev_ssize_t n;
	int status = 0;

	if (evbuffer_ptr_set(out, &from, at, EVBUFFER_PTR_SET) < 0)
		return 0;
	n = evbuffer_copyout_from(out, &from, line, sizeof(line) - 1);
	line[n > 0 ? n : 0] = '\0';
	return sscanf(line, "HTTP/%*d.%*d %d", &status) == 1 ? status : 0;
}

static void refusal_print(const struct httpd *h, int status, struct buf *out)
{
	struct buf why = BUF_INIT, body = BUF_INIT;
	char date[40] = "";

	switch (status) {
	case 413:
		buf_printf(
			&why,
			"the body is larger than %zu bytes, or its chunks or trailers do not read",
			h->max_body);
		break;
	case 417:
		buf_puts(&why, "of Expect only 100-continue is known");
		break;
	case 431:
		buf_printf(&why, "the head of the request is larger than %zu bytes", h->max_head);
		break;
	case 501:
		buf_puts(&why,
			 "the method is none of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS");
		break;
	default:
		buf_puts(&why,
			 "the request line, a header or the length does not read as HTTP/1.1");
	}
	httpd_problem_print(&body, status, buf_str(&why));
	evutil_date_rfc1123(date, sizeof(date), NULL);
	buf_printf(
		out,
		"HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nDate: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
		status, httpd_reason(status), date, body.len);
	buf_append(out, body.data, body.len);
	buf_clear(&body);
	buf_clear(&why);
}

/* Puts text in the place of what stands in out from `at` on. */
static void replace(struct evbuffer *out, size_t at, const char *text, size_t len)
{
	struct evbuffer *before = evbuffer_new();

	if (!before)
		abort(); /* out of memory */
	evbuffer_remove_buffer(out, before, at);
	evbuffer_drain(out, evbuffer_get_length(out));
	evbuffer_add_buffer(out, before);
	evbuffer_add(out, text, len);
	evbuffer_free(before);
}

/* evhttp would close once its output is written, and what the client sends after that would reset the connection: he might never
 * see the answer.  So it goes out past evhttp, which is left waiting for the client to close, as long as for any silent one.  What the
 * socket does not take now evhttp writes, and closes. */
bool httpd_refuse(struct httpd *h, struct bufferevent *bev, size_t at, bool head_is_too_long)
{
	struct evbuffer *out = bufferevent_get_output(bev);
	int status, fd = bufferevent_getfd(bev);
	struct buf text = BUF_INIT;
	ssize_t sent = 0;
	bool whole;

	evbuffer_unfreeze(out, 1);
	status = page_status(out, at);
	if (head_is_too_long && status == 400)
		status = 431;
	else if (status < 400) /* 0: a method that it does not know */
		status = 501;
	refusal_print(h, status, &text);
	if (at == 0)
		sent = send(fd, text.data, text.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		sent = 0;
	whole = (size_t)sent == text.len;
	h->replying = true;
	replace(out, at, text.data + sent, text.len - (size_t)sent);
	h->replying = false;
	evbuffer_freeze(out, 1);
	if (whole)
		shutdown(fd, SHUT_WR);
	buf_clear(&text);
	return whole;
}
