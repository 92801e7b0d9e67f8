/* A server that knows GET and nothing else, for measuring: no HTTP library, no coroutine.  All requests take the
 * same latency (jitter is left out), so who came first is answered first, and one timer serves all. */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/io/loop.h"
#include "tests/sandbox/bench.h"

#define REQUEST_MAX 4096
#define BACKLOG 4096

struct client {
	struct bench_port *port;
	struct event *readable;
	struct client *prev, *next;
	int fd, waiting; /* requests in the row */
	bool gone;       /* freed with its last request */
	size_t have;
	char request[REQUEST_MAX];
};

struct waiting {
	struct client *client;
	int64_t due_us, start, rows;
	uint64_t seq;
};

struct bench_port {
	struct sandbox *sandbox;
	struct evconnlistener *listener;
	struct event *timer;
	struct client *clients;
	struct waiting *row; /* a ring, oldest at head */
	size_t head, n, cap;
};

static void client_free(struct client *c)
{
	if (c->next)
		c->next->prev = c->prev;
	if (c->prev)
		c->prev->next = c->next;
	else
		c->port->clients = c->next;
	event_free(c->readable);
	close(c->fd);
	free(c);
}

static void client_gone(struct client *c)
{
	event_del(c->readable);
	c->gone = true;
	if (c->waiting == 0)
		client_free(c);
}

static void row_grow(struct bench_port *b)
{
	size_t cap = b->cap ? b->cap * 2 : 1024;
	struct waiting *row = mem_alloc(cap * sizeof(*row));

	for (size_t i = 0; i < b->n; i++)
		row[i] = b->row[(b->head + i) % b->cap];
	free(b->row);
	b->row = row;
	b->head = 0;
	b->cap = cap;
}

static void timer_arm(struct bench_port *b, int64_t now_us)
{
	int64_t left = b->row[b->head].due_us - now_us;
	struct timeval tv = { .tv_sec = 0, .tv_usec = 0 };

	if (left > 0) {
		tv.tv_sec = left / 1000000;
		tv.tv_usec = left % 1000000;
	}
	event_add(b->timer, &tv);
}

static int64_t number_after(const char *text, const char *end, const char *name, int64_t fallback)
{
	const char *at = memmem(text, (size_t)(end - text), name, strlen(name));

	return at ? strtoll(at + strlen(name), NULL, 10) : fallback;
}

static void request_wait(struct client *c, const char *line, const char *end)
{
	struct bench_port *b = c->port;
	int64_t now_us = journal_now_us(b->sandbox->journal);

	if (b->n == b->cap)
		row_grow(b);
	b->row[(b->head + b->n++) % b->cap] = (struct waiting){
		.client = c,
		.due_us = now_us + b->sandbox->latency_ms * 1000,
		.start = number_after(line, end, "start=", 0),
		.rows = number_after(line, end, "rows=", BENCH_ROWS),
		.seq = journal_arrival(b->sandbox->journal, now_us, "GET", "/bench/items", "",
				       true),
	};
	c->waiting++;
	if (b->n == 1)
		timer_arm(b, now_us);
}

/* The whole answer in one write; it fits a socket's buffer, or the client does not read and is dropped. */
static bool answer(const struct waiting *w)
{
	struct buf own = BUF_INIT, out = BUF_INIT;
	const struct buf *items = bench_items(w->start, w->rows, &own);
	bool sent;

	buf_reserve(&out, items->len + 128);
	buf_puts(&out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ");
	buf_putint(&out, (int64_t)items->len);
	buf_puts(&out, "\r\n\r\n");
	buf_append(&out, items->data, items->len);
	sent = write(w->client->fd, out.data, out.len) == (ssize_t)out.len;
	buf_clear(&out);
	buf_clear(&own);
	return sent;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct bench_port *b = arg;
	int64_t now_us = journal_now_us(b->sandbox->journal);

	while (b->n && b->row[b->head].due_us <= now_us) {
		struct waiting w = b->row[b->head];
		bool sent = !w.client->gone && answer(&w);

		b->head = (b->head + 1) % b->cap;
		b->n--;
		w.client->waiting--;
		journal_answer(b->sandbox->journal, w.seq, sent ? 200 : -1);
		if (!w.client->gone && !sent)
			client_gone(w.client);
		else if (w.client->gone && w.client->waiting == 0)
			client_free(w.client);
	}
	if (b->n)
		timer_arm(b, now_us);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;
	ssize_t got = read(fd, c->request + c->have, REQUEST_MAX - c->have);
	char *end;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0 || c->have + (size_t)got >= REQUEST_MAX) {
		client_gone(c);
		return;
	}
	c->have += (size_t)got;
	while ((end = memmem(c->request, c->have, "\r\n\r\n", 4))) {
		size_t used = (size_t)(end + 4 - c->request);

		request_wait(c, c->request, end);
		memmove(c->request, c->request + used, c->have - used);
		c->have -= used;
	}
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int len,
		      void *arg)
{
	struct bench_port *b = arg;
	struct client *c = mem_new(struct client);
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->port = b;
	c->fd = fd;
	c->next = b->clients;
	if (c->next)
		c->next->prev = c;
	b->clients = c;
	c->readable = event_new(loop_base(), fd, EV_READ | EV_PERSIST, on_readable, c);
	event_add(c->readable, NULL);
}

/* libevent's own parser refuses port 0. */
static int address_read(const char *text, struct sockaddr_in *out)
{
	const char *colon = strrchr(text, ':');
	char host[INET_ADDRSTRLEN], *end;
	long port = colon ? strtol(colon + 1, &end, 10) : -1;

	if (port < 0 || port > 65535 || end == colon + 1 || *end || colon - text >= INET_ADDRSTRLEN)
		return -EINVAL;
	snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	out->sin_family = AF_INET;
	out->sin_port = htons((uint16_t)port);
	return inet_pton(AF_INET, host, &out->sin_addr) == 1 ? 0 : -EINVAL;
}

int bench_port_open(struct sandbox *s, const char *listen, struct bench_port **out, int *port)
{
	struct bench_port *b;
	struct sockaddr_in a = { 0 };
	socklen_t len = sizeof(a);
	int rc = address_read(listen, &a);

	if (rc < 0) {
		fprintf(stderr, "longshore-sandbox: --bench-listen %s: expected 127.0.0.1:PORT\n",
			listen);
		return rc;
	}
	b = mem_new(struct bench_port);
	b->sandbox = s;
	b->listener = evconnlistener_new_bind(loop_base(), on_accept, b,
					      LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC |
						      LEV_OPT_CLOSE_ON_FREE,
					      BACKLOG, (struct sockaddr *)&a, sizeof(a));
	if (!b->listener) {
		rc = -errno;
		fprintf(stderr, "longshore-sandbox: cannot listen on %s: %s\n", listen,
			strerror(-rc));
		free(b);
		return rc;
	}
	getsockname(evconnlistener_get_fd(b->listener), (struct sockaddr *)&a, &len);
	*port = ntohs(a.sin_port);
	b->timer = event_new(loop_base(), -1, 0, on_timer, b);
	*out = b;
	return 0;
}

void bench_port_close(struct bench_port *b)
{
	if (!b)
		return;
	evconnlistener_free(b->listener);
	event_free(b->timer);
	while (b->clients)
		client_free(b->clients);
	free(b->row);
	free(b);
}
