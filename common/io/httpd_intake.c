/* Requests on their way in: how long each takes and how much of it is here; and those that evhttp refuses by itself. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/base/mem.h"
#include "common/io/httpd_request.h"
#include "common/io/loop.h"

/* Of a connection: when the request that is coming in began.  Found by the bufferevent's
 * address, and used again by the next connection that gets the same, for evhttp does not tell
 * when it frees one without a request. */
struct intake {
	struct bufferevent *bev; /* first: the tree's key */
	int64_t began_ms;        /* 0: between requests */
	int64_t refused_ms;      /* not 0: it was, then; what comes now is thrown away */
	size_t thrown;           /* bytes of that */
	size_t page_at;          /* in the output: where evhttp began an answer of its own */
	size_t bytes;            /* that came since then */
	int fd; /* with its socket: another connection may have the number by now */
	ino_t socket;
	struct httpd *server;
};

#define THROWN_MAX (64 * 1024 * 1024)
#define PAGE_END "</HTML>\n" /* of evhttp_send_error */
#define SWEEP_MS 100         /* between two looks at who is gone, while there is too much */

static int by_address(const void *a, const void *b)
{
	const struct intake *x = a, *y = b;

	return x->bev < y->bev ? -1 : x->bev > y->bev;
}

static void intake_reset(struct intake *in)
{
	in->server->buffered -= in->bytes;
	in->bytes = 0;
	in->began_ms = 0;
}

/* evhttp tells nobody of a connection that goes in the middle of a request. */
static bool intake_is_open(const struct intake *in)
{
	struct stat st;

	return fstat(in->fd, &st) == 0 && st.st_ino == in->socket;
}

static void intake_begin(struct intake *in)
{
	struct stat st = { 0 };

	in->began_ms = loop_now_ms();
	if (in->socket)
		return;
	in->fd = bufferevent_getfd(in->bev);
	in->socket = fstat(in->fd, &st) == 0 ? st.st_ino : 0;
}

static int coming_in; /* of count_coming; twalk takes no argument */

static void count_coming(const void *node, VISIT when, int depth)
{
	struct intake *in = *(struct intake *const *)node;

	if ((when != postorder && when != leaf) || !in->began_ms)
		return;
	if (!intake_is_open(in))
		intake_reset(in);
	else if (!in->refused_ms) /* what a refused one still holds counts for memory alone */
		coming_in++;
}

/* Requests of which a part is here; forgets those whose connection is gone. */
int httpd_coming_in(struct httpd *h)
{
	coming_in = 0;
	twalk(h->intakes, count_coming);
	return coming_in;
}

/* Many that send large requests slowly would hold more memory than there is: who sends then is cut off. */
static bool is_too_much(struct httpd *h)
{
	if (h->buffered <= h->max_buffered)
		return false;
	if (loop_now_ms() - h->swept_ms > SWEEP_MS) {
		h->swept_ms = loop_now_ms();
		httpd_coming_in(h);
	}
	return h->buffered > h->max_buffered;
}

/* Who was refused in the middle of his request is heard out, or he would find the connection gone before he has looked for the answer. */
static void throw_away(struct intake *in, struct evbuffer *b)
{
	in->thrown += evbuffer_get_length(b);
	evbuffer_drain(b, evbuffer_get_length(b));
	if (in->thrown > THROWN_MAX || loop_now_ms() - in->refused_ms > in->server->read_timeout_ms)
		shutdown(in->fd, SHUT_RDWR);
}

/* A client that sends a byte now and then never runs into evhttp's timeout, which is one of
 * silence.  So the whole request has the same time, looked at as its bytes come. */
static void on_input(struct evbuffer *b, const struct evbuffer_cb_info *info, void *arg)
{
	struct intake *in = arg;

	if (!info->n_added)
		return;
	if (in->refused_ms) {
		throw_away(in, b);
		return;
	}
	if (!in->began_ms)
		intake_begin(in);
	in->bytes += info->n_added;
	in->server->buffered += info->n_added;
	if (loop_now_ms() - in->began_ms > in->server->read_timeout_ms || is_too_much(in->server))
		shutdown(in->fd, SHUT_RDWR);
}

/* Refused, and all is sent: with nothing to write evhttp does not hear that it is through, and does not close. */
static void wait_for_close(void *arg)
{
	struct intake *in = arg;

	if (in->refused_ms && intake_is_open(in))
		bufferevent_disable(in->bev, EV_WRITE);
}

/* Of a request that evhttp refuses: whether it is for the length of its head. */
static bool head_is_too_long(const struct intake *in)
{
	struct evbuffer *rest = bufferevent_get_input(in->bev);
	size_t left = evbuffer_get_length(rest), max = in->server->max_head;

	if (left > in->bytes)
		return false; /* came together with the request before it: not counted */
	return in->bytes - left > max ||
	       (in->bytes > max && evbuffer_search_eol(rest, NULL, NULL, EVBUFFER_EOL_LF).pos < 0);
}

/* libevent 2.1 asks nobody what to say to a request that does not read, is too large, or has a method that it does not know; 2.2 will
 * (evhttp_set_errorcb).  It writes a page while no handler's answer goes out, a line at a time: with its last piece ours takes its place. */
static void on_output(struct evbuffer *b, const struct evbuffer_cb_info *info, void *arg)
{
	struct intake *in = arg;
	struct evbuffer_ptr at;

	if (in->server->replying || !info->n_added ||
	    evbuffer_ptr_set(b, &at, info->orig_size, EVBUFFER_PTR_SET) < 0)
		return;
	if (evbuffer_search(b, "HTTP/", 5, &at).pos == at.pos)
		in->page_at = info->orig_size;
	if (evbuffer_search(b, PAGE_END, strlen(PAGE_END), &at).pos < 0)
		return;
	if (!httpd_refuse(in->server, in->bev, in->page_at, head_is_too_long(in))) {
		intake_reset(in);
		return;
	}
	in->refused_ms =
		loop_now_ms(); /* evhttp keeps what is here of it until the client is gone */
	loop_defer(wait_for_close, in);
}

struct bufferevent *httpd_on_connection(struct event_base *base, void *arg)
{
	struct httpd *h = arg;
	struct bufferevent *bev = bufferevent_socket_new(base, -1, 0);
	struct intake *fresh, **found;

	if (!bev)
		return NULL;
	fresh = mem_new(struct intake);
	fresh->bev = bev;
	found = tsearch(fresh, &h->intakes, by_address);
	if (!found)
		abort(); /* out of memory */
	if (*found == fresh)
		fresh->server = h;
	else
		free(fresh);
	intake_reset(*found);
	(*found)->socket = 0;
	(*found)->refused_ms = 0;
	(*found)->thrown = 0;
	httpd_mind_files(h);
	evbuffer_add_cb(bufferevent_get_input(bev), on_input, *found);
	evbuffer_add_cb(bufferevent_get_output(bev), on_output, *found);
	return bev;
}

void httpd_intake_done(struct httpd *h, struct evhttp_connection *c)
{
	struct intake key = { .bev = evhttp_connection_get_bufferevent(c) };
	struct intake **found = tfind(&key, &h->intakes, by_address);

	if (found)
		intake_reset(*found);
}

static void intake_free(void *node)
{
	loop_undefer(wait_for_close, node);
	free(node);
}

void httpd_intakes_free(struct httpd *h)
{
	tdestroy(h->intakes, intake_free);
	h->intakes = NULL;
}
