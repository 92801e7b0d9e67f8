#include "common/io/http_socket.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/loop.h"

struct http_socket {
	struct event *ev;
	short armed, wanted;
	/* closed through http_socket_closing; others (a resolver's) may vanish without a word */
	bool ours;
	http_socket_fn fn;
	void *arg;
};

/* By descriptor, for libcurl forgets what it was given with a socket as soon as it wants nothing
 * of it. */
static struct http_socket **table;
static int table_n;

static void free_table(void *arg)
{
	for (int i = 0; i < table_n; i++)
		if (table[i])
			http_socket_closing(i);
	free(table);
	table = NULL;
	table_n = 0;
}

static struct http_socket *find(int fd)
{
	return fd < table_n ? table[fd] : NULL;
}

static struct http_socket *add(int fd, bool ours)
{
	if (fd >= table_n) {
		int n = fd + 256;

		if (!table)
			loop_at_close(free_table, NULL);
		table = mem_realloc(table, (size_t)n * sizeof(*table));
		memset(table + table_n, 0, (size_t)(n - table_n) * sizeof(*table));
		table_n = n;
	}
	table[fd] = mem_new(struct http_socket);
	table[fd]->ours = ours;
	return table[fd];
}

static void disarm(struct http_socket *s)
{
	if (s->armed)
		event_del(s->ev);
	s->armed = 0;
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct http_socket *s = arg;

	/* While idle: the other side closed it, or says something unasked.  libcurl looks before it
	 * uses it again. */
	if (!s->wanted)
		disarm(s);
	else
		s->fn(fd, what, s->arg);
}

static void arm(struct http_socket *s, int fd, short what)
{
	disarm(s);
	if (!s->ev)
		s->ev = event_new(loop_base(), fd, what | EV_PERSIST, on_ready, s);
	else
		event_assign(s->ev, loop_base(), fd, what | EV_PERSIST, on_ready, s);
	event_add(s->ev, NULL);
	s->armed = what;
}

void http_socket_opened(int fd)
{
	http_socket_closing(fd); /* what may be left of an earlier one of that number */
	add(fd, true);
}

void http_socket_watch(int fd, short what, http_socket_fn fn, void *arg)
{
	struct http_socket *s = find(fd);

	if (!s && !what)
		return;
	if (!s)
		s = add(fd, false);
	s->wanted = what;
	s->fn = fn;
	s->arg = arg;
	if (!what && !s->ours)
		http_socket_closing(fd);
	else if (!what && s->armed != EV_READ) /* writable would fire for ever */
		disarm(s);
	else if (what && s->armed != what)
		arm(s, fd, what);
}

void http_socket_closing(int fd)
{
	struct http_socket *s = find(fd);

	if (!s)
		return;
	disarm(s);
	if (s->ev)
		event_free(s->ev);
	free(s);
	table[fd] = NULL;
}
