/* libcurl on the loop.  Its callbacks only store: nothing is added, removed or resumed in them. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/io/http_pool.h"
#include "common/io/http_socket.h"
#include "common/io/target.h"

enum {
	MAX_CONNECTIONS = 500, /* of a pool that names no number */
	SHARD_CONNECTIONS = 64,
	HEADER_BYTES_MAX = 256 * 1024,
	DNS_CACHE_S = 300, /* longer than GIVEN_MS in http_host.c, or libcurl would look */
	TICK_MS = 250,
	IDLE_HANDLES = 64, /* kept by a pool that has nothing to do */
};

static char *ca_file;

void http_set_ca_file(const char *path)
{
	free(ca_file);
	ca_file = path ? mem_strdup(path) : NULL;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	t->last_ms = loop_now_ms();
	if (n > t->max_body - t->out->body.len) {
		t->too_large = true;
		return 0;
	}
	buf_append(&t->out->body, data, n);
	return n;
}

static bool announces_too_much(const struct transfer *t, const char *name, const char *value)
{
	return !t->is_head && strcmp(name, "content-length") == 0 &&
	       strtoull(value, NULL, 10) > (unsigned long long)t->max_body;
}

/* name\0value\0, as http_response_header reads it. */
static bool add_header(struct transfer *t, const char *line, size_t n)
{
	struct buf *b = &t->out->headers;
	const char *colon = memchr(line, ':', n);
	const char *value = colon + 1, *end = line + n;
	size_t at = b->len;

	if (!colon)
		return true;
	while (end > value && isspace((unsigned char)end[-1]))
		end--;
	while (value < end && isspace((unsigned char)*value))
		value++;
	buf_reserve(b, n + 2);
	for (const char *c = line; c < colon; c++)
		b->data[b->len++] = (char)tolower((unsigned char)*c);
	b->data[b->len++] = '\0';
	memcpy(b->data + b->len, value, (size_t)(end - value));
	b->len += (size_t)(end - value);
	b->data[b->len++] = '\0';
	b->data[b->len] = '\0';
	return !announces_too_much(t, b->data + at, b->data + at + (size_t)(colon - line) + 1);
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	t->last_ms = loop_now_ms();
	if (n >= 5 && memcmp(line, "HTTP/", 5) == 0) { /* an earlier block was a 1xx */
		buf_reset(&t->out->headers);
		return n;
	}
	if (t->out->headers.len + n > HEADER_BYTES_MAX || !add_header(t, line, n)) {
		t->too_large = true;
		return 0;
	}
	return n;
}

static void come_to(struct transfer *t, enum transfer_phase phase)
{
	t->phase = phase;
	t->last_ms = loop_now_ms();
	t->sent = 0; /* libcurl may begin anew */
}

/* The connection is there, for HTTP/2 too; the request is written next. */
static int on_sending(void *arg, char *to, char *from, int to_port, int from_port)
{
	struct transfer *t = arg;

	come_to(t, PHASE_SENT);
	t->unwanted = t->sending && !t->sending(t->sending_arg);
	return t->unwanted ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct transfer *t = arg;
	int fd;

	come_to(t, PHASE_CONNECTING);
	t->is_private = t->shard->pool->guarded && !target_is_allowed(t->host, &a->addr);
	if (t->is_private)
		return CURL_SOCKET_BAD;
	fd = socket(a->family, a->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->protocol);
	if (fd >= 0)
		http_socket_opened(fd);
	return fd >= 0 ? fd : CURL_SOCKET_BAD;
}

static int on_close(void *arg, curl_socket_t fd)
{
	http_socket_closing(fd);
	return close(fd);
}

void http_transfer_end(struct transfer *t)
{
	struct http_pool *p = t->shard->pool;

	curl_multi_remove_handle(t->shard->multi, t->easy);
	t->in_multi = false;
	t->shard->active--;
	if (t->prev)
		t->prev->next = t->next;
	else
		p->active = t->next;
	if (t->next)
		t->next->prev = t->prev;
}

/* The message dies with the handle's removal, so it is read before. */
static void collect(struct shard *s)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(s->multi, &left))) {
		struct transfer *t = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		t->result = m->data.result;
		if (!t->is_mail || t->result != CURLE_OK)
			http_transfer_end(t);
		completion_done(&t->done);
	}
}

static void act(struct shard *s, curl_socket_t fd, int bits)
{
	int running;

	curl_multi_socket_action(s->multi, fd, bits, &running);
	collect(s);
}

static void on_socket(int fd, short what, void *arg)
{
	act(arg, fd,
	    (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static int on_interest(CURL *easy, curl_socket_t fd, int what, void *arg, void *per_socket)
{
	bool in = what == CURL_POLL_IN || what == CURL_POLL_INOUT;
	bool out = what == CURL_POLL_OUT || what == CURL_POLL_INOUT;

	http_socket_watch(fd, (short)((in ? EV_READ : 0) | (out ? EV_WRITE : 0)), on_socket, arg);
	return 0;
}

static void on_timer(void *arg)
{
	act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static void on_kick(void *arg)
{
	struct shard *s = arg;

	s->kicked = false;
	act(s, CURL_SOCKET_TIMEOUT, 0);
}

/* Only arms, also for "now": libcurl may not be entered from here. */
static int on_timeout(CURLM *multi, long ms, void *arg)
{
	struct shard *s = arg;

	if (ms == 0 && !s->kicked) {
		s->kicked = true;
		loop_defer(on_kick, s);
	} else if (ms > 0) {
		loop_timer_set(s->timer, ms);
	}
	if (ms <= 0)
		loop_timer_stop(s->timer);
	return 0;
}

void http_transfer_free(struct transfer *t)
{
	curl_easy_cleanup(t->easy);
	mail_reply_clear(&t->reply);
	buf_clear(&t->ehlo);
	buf_clear(&t->head);
	free(t->lines);
	free(t);
}

static void stop(struct transfer *t, const char *word)
{
	t->stop = word;
	http_transfer_end(t);
	completion_done(&t->done);
}

static bool is_uploading(struct transfer *t, int64_t now)
{
	curl_off_t sent = 0;

	if (t->sent >= t->to_send || t->out->headers.len)
		return false;
	curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
	if (sent != t->sent) {
		t->sent = sent;
		t->last_ms = now;
	}
	return sent < t->to_send;
}

/* Whether nothing moved for longer than its phase allows. */
static void end_if_late(struct transfer *t, int64_t now)
{
	static const struct {
		const char *word, *text;
	} late[] = {
		{ "wait_timeout", "no connection was free for" },
		{ "timeout", "no connection within" },
		{ "write_timeout", "nothing of the body was taken for" },
		{ "timeout", "silent for" },
	};
	const int64_t limits[] = { t->wait_ms, t->connect_ms, t->write_ms, t->read_ms };
	int i = (int)t->phase;

	if (t->phase == PHASE_SENT && !is_uploading(t, now))
		i++;
	if (now - t->last_ms <= limits[i])
		return;
	stop(t, late[i].word);
	snprintf(t->error, sizeof(t->error), "%s %lld ms", late[i].text, (long long)limits[i]);
}

/* One look at all transfers four times a second is cheaper than a timer each. */
static void on_tick(void *arg)
{
	struct http_pool *p = arg;
	int64_t now = loop_now_ms();

	for (struct transfer *t = p->active, *next; t; t = next) {
		next = t->next;
		end_if_late(t, now);
	}
	if (p->active)
		return;
	while (p->n_idle > IDLE_HANDLES) {
		struct transfer *t = p->idle;

		p->idle = t->next;
		p->n_idle--;
		http_transfer_free(t);
	}
	loop_timer_stop(p->tick);
}

/* What no request changes.  The empty proxy keeps the environment's out; an easy handle whose
 * name lookup is under way would otherwise be joined, blocking the loop, when it is removed
 * (QUICK_EXIT). */
static CURL *easy_new(struct transfer *t)
{
	CURL *e = curl_easy_init();

	if (!e)
		abort(); /* out of memory */
	curl_easy_setopt(e, CURLOPT_PRIVATE, t);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->error);
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_PROXY, "");
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "gzip");
	curl_easy_setopt(e, CURLOPT_USERAGENT, "longshore");
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_DNS_CACHE_TIMEOUT, (long)DNS_CACHE_S);
	/* libcurl adds a byte to it, and an allocator's next size after 4096 is 5120. */
	curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 4095L);
	curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, 16384L);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_sending);
	curl_easy_setopt(e, CURLOPT_PREREQDATA, t);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, t);
	curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, on_close);
	if (ca_file)
		curl_easy_setopt(e, CURLOPT_CAINFO, ca_file);
	return e;
}

struct transfer *http_transfer_get(struct http_pool *p)
{
	struct transfer *t = p->idle;

	if (t) {
		p->idle = t->next;
		p->n_idle--;
		return t;
	}
	t = mem_new(struct transfer);
	t->easy = easy_new(t);
	return t;
}

void http_transfer_keep(struct http_pool *p, struct transfer *t)
{
	t->next = p->idle;
	p->idle = t;
	p->n_idle++;
}

/* At first use: each costs about 40 KiB and two descriptors. */
static void shard_open(struct shard *s)
{
	s->multi = curl_multi_init();
	if (!s->multi)
		abort(); /* out of memory, or of descriptors */
	s->timer = loop_timer_new(on_timer, s);
	curl_multi_setopt(s->multi, CURLMOPT_SOCKETFUNCTION, on_interest);
	curl_multi_setopt(s->multi, CURLMOPT_SOCKETDATA, s);
	curl_multi_setopt(s->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
	curl_multi_setopt(s->multi, CURLMOPT_TIMERDATA, s);
	curl_multi_setopt(s->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	curl_multi_setopt(s->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, s->connections);
	curl_multi_setopt(s->multi, CURLMOPT_MAX_HOST_CONNECTIONS, s->connections);
	curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, s->connections);
}

struct shard *http_shard_pick(struct http_pool *p)
{
	struct shard *best = p->shards;

	for (int i = 0; i < p->n_shards; i++) {
		struct shard *s = &p->shards[i];

		if (s->active < best->active)
			best = s;
		if (s->active < SHARD_CONNECTIONS) {
			best = s;
			break;
		}
	}
	if (!best->multi)
		shard_open(best);
	return best;
}

bool http_transfer_begin(struct http_pool *p, struct shard *s, struct transfer *t)
{
	t->shard = s;
	if (curl_multi_add_handle(s->multi, t->easy) != CURLM_OK)
		return false;
	t->in_multi = true;
	s->active++;
	t->prev = NULL;
	t->next = p->active;
	if (p->active)
		p->active->prev = t;
	else
		loop_timer_every(p->tick, TICK_MS);
	p->active = t;
	return true;
}

void http_pool_guard(struct http_pool *p)
{
	p->guarded = true;
}

struct http_pool *http_pool_new(const char *name, int max_connections)
{
	struct http_pool *p = mem_new(struct http_pool);
	int left = max_connections > 0 ? max_connections : MAX_CONNECTIONS;

	p->n_shards = (left + SHARD_CONNECTIONS - 1) / SHARD_CONNECTIONS;
	p->shards = mem_zalloc((size_t)p->n_shards * sizeof(*p->shards));
	for (int i = 0; i < p->n_shards; i++, left -= SHARD_CONNECTIONS)
		p->shards[i] = (struct shard){ .pool = p,
					       .index = i,
					       .connections = left < SHARD_CONNECTIONS
								      ? left
								      : SHARD_CONNECTIONS };
	p->hosts = http_hosts_new(p->n_shards);
	p->tick = loop_timer_new(on_tick, p);
	return p;
}

void http_pool_free(struct http_pool *p)
{
	if (!p)
		return;
	while (p->active) {
		struct transfer *t = p->active;

		t->pool_gone = true;
		stop(t, "closed");
	}
	while (p->idle) {
		struct transfer *t = p->idle;

		p->idle = t->next;
		http_transfer_free(t);
	}
	http_hosts_free(p->hosts);
	for (int i = 0; i < p->n_shards; i++) {
		struct shard *s = &p->shards[i];

		if (!s->multi)
			continue;
		curl_multi_cleanup(s->multi);
		loop_undefer(on_kick, s);
		loop_timer_free(s->timer);
	}
	loop_timer_free(p->tick);
	free(p->shards);
	free(p);
}
