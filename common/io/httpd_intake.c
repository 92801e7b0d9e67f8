/* Requests on their way in: how long each takes and how much of it is here. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <search.h>
#include <stdlib.h>
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
	size_t bytes;            /* that came since then */
	int fd; /* with its socket: another connection may have the number by now */
	ino_t socket;
	struct httpd *server;
};

#define SWEEP_MS 100 /* between two looks at who is gone, while there is too much */

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
	if (intake_is_open(in))
		coming_in++;
	else
		intake_reset(in);
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

/* A client that sends a byte now and then never runs into evhttp's timeout, which is one of
 * silence.  So the whole request has the same time, looked at as its bytes come. */
static void on_input(struct evbuffer *b, const struct evbuffer_cb_info *info, void *arg)
{
	struct intake *in = arg;

	if (!info->n_added)
		return;
	if (!in->began_ms)
		intake_begin(in);
	in->bytes += info->n_added;
	in->server->buffered += info->n_added;
	if (loop_now_ms() - in->began_ms > in->server->read_timeout_ms || is_too_much(in->server))
		shutdown(in->fd, SHUT_RDWR);
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
	httpd_mind_files(h);
	evbuffer_add_cb(bufferevent_get_input(bev), on_input, *found);
	return bev;
}

void httpd_intake_done(struct httpd *h, struct evhttp_connection *c)
{
	struct intake key = { .bev = evhttp_connection_get_bufferevent(c) };
	struct intake **found = tfind(&key, &h->intakes, by_address);

	if (found)
		intake_reset(*found);
}

void httpd_intakes_free(struct httpd *h)
{
	tdestroy(h->intakes, free);
	h->intakes = NULL;
}
