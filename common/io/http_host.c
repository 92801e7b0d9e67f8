#include "common/io/http_host.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"

enum {
	HOSTS_MAX = 256,
	KNOWN_MS = 30000,
	GIVEN_MS = 120000, /* libcurl keeps it for longer: DNS_CACHE_S in http_pool.c */
};

/* Outlives the pool: resolve() cannot be recalled. */
struct http_lookup {
	struct http_host *host; /* NULL: nobody waits any more */
};

struct http_host_waiter {
	struct http_host_waiter *next;
	struct completion done;
	int rc;
	char text[160];
};

struct http_hosts {
	struct http_host *first; /* most recently used first */
	int n, n_shards;
};

static int port_of(const char *s, const char *end, int fallback)
{
	long port = 0;

	if (s == end)
		return fallback;
	for (; s < end && isdigit((unsigned char)*s) && port <= 65535; s++)
		port = port * 10 + (*s - '0');
	return s == end && port > 0 && port <= 65535 ? (int)port : -EINVAL;
}

static int copy_host(char *out, const char *s, size_t n)
{
	if (n == 0 || n >= HTTP_HOST_NAME_MAX)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)s[i] <= ' ' || s[i] == 0x7f)
			return -EINVAL;
		out[i] = (char)tolower((unsigned char)s[i]);
	}
	out[n] = '\0';
	return 0;
}

/* Where nobody says otherwise a mail is handed in, at a submission port: not carried from server to server. */
static const struct scheme {
	const char *prefix;
	bool tls, mail;
	int port;
} schemes[] = {
	{ "https://", true, false, 443 },
	{ "http://", false, false, 80 },
	{ "smtps://", true, true, 465 },
	{ "smtp://", false, true, 587 },
};

static const struct scheme *scheme_of(const char *url)
{
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (strncasecmp(url, schemes[i].prefix, strlen(schemes[i].prefix)) == 0)
			return &schemes[i];
	return NULL;
}

int http_url_parse(const char *url, struct http_url *out)
{
	const struct scheme *scheme = scheme_of(url);
	struct http_url u = { .tls = scheme && scheme->tls, .mail = scheme && scheme->mail };
	const char *host, *end, *colon;

	if (!scheme)
		return -EINVAL;
	host = url + strlen(scheme->prefix);
	end = host + strcspn(host, "/?#");
	for (const char *at = host; at < end; at++)
		if (*at == '@')
			host = at + 1;
	colon = end;
	if (*host == '[') {
		host++;
		colon = memchr(host, ']', (size_t)(end - host));
		if (!colon || (colon + 1 != end && colon[1] != ':'))
			return -EINVAL;
		if (copy_host(u.host, host, (size_t)(colon - host)) < 0)
			return -EINVAL;
		colon++;
	} else {
		const char *found = memchr(host, ':', (size_t)(end - host));

		colon = found ? found : end;
		if (copy_host(u.host, host, (size_t)(colon - host)) < 0)
			return -EINVAL;
	}
	u.port = port_of(colon == end ? end : colon + 1, end, scheme->port);
	if (u.port < 0)
		return -EINVAL;
	*out = u;
	return 0;
}

struct http_hosts *http_hosts_new(int n_shards)
{
	struct http_hosts *hs = mem_new(struct http_hosts);

	hs->n_shards = n_shards;
	return hs;
}

static void wake_all(struct http_host *h, int rc)
{
	struct http_host_waiter *w = h->waiters;

	for (h->waiters = NULL; w; w = w->next) {
		w->rc = rc;
		memcpy(w->text, h->text, sizeof(w->text));
		completion_done(&w->done);
	}
}

static void host_free(struct http_host *h)
{
	if (h->lookup)
		h->lookup->host = NULL;
	wake_all(h, -ECANCELED);
	free(h);
}

void http_hosts_free(struct http_hosts *hs)
{
	while (hs->first) {
		struct http_host *h = hs->first;

		hs->first = h->next;
		host_free(h);
	}
	free(hs);
}

/* The one that was used least recently and that nobody waits for. */
static void evict(struct http_hosts *hs)
{
	struct http_host **victim = NULL;

	for (struct http_host **at = &hs->first; *at; at = &(*at)->next)
		if (!(*at)->waiters)
			victim = at;
	if (victim) {
		struct http_host *h = *victim;

		*victim = h->next;
		hs->n--;
		host_free(h);
	}
}

static struct http_host *look(struct http_hosts *hs, const struct http_url *u)
{
	for (struct http_host **at = &hs->first; *at; at = &(*at)->next) {
		struct http_host *h = *at;

		if (h->port != u->port || strcmp(h->name, u->host) != 0)
			continue;
		*at = h->next;
		h->next = hs->first;
		hs->first = h;
		return h;
	}
	return NULL;
}

static struct http_host *look_or_add(struct http_hosts *hs, const struct http_url *u)
{
	struct http_host *h = look(hs, u);

	if (h)
		return h;
	if (hs->n >= HOSTS_MAX)
		evict(hs);
	h = mem_zalloc(sizeof(*h) + (size_t)hs->n_shards * sizeof(h->given[0]));
	h->owner = hs;
	h->port = u->port;
	snprintf(h->name, sizeof(h->name), "%s", u->host);
	h->next = hs->first;
	hs->first = h;
	hs->n++;
	return h;
}

/* A failed second look keeps the address that worked before. */
static void on_address(int rc, const char *address, const char *text, void *arg)
{
	struct http_lookup *l = arg;
	struct http_host *h = l->host;

	free(l);
	if (!h)
		return;
	h->lookup = NULL;
	if (rc == 0) {
		snprintf(h->address, sizeof(h->address), "%s", address);
		h->known_until_ms = loop_now_ms() + KNOWN_MS;
	} else {
		snprintf(h->text, sizeof(h->text), "%s", text);
	}
	wake_all(h, rc);
}

static void look_up(struct http_host *h)
{
	if (h->lookup)
		return;
	h->lookup = mem_alloc(sizeof(*h->lookup));
	h->lookup->host = h;
	resolve(h->name, on_address, h->lookup);
}

/* Waits. */
static int wait_for(struct http_host *h, int64_t deadline_ms, char text[160])
{
	struct http_host_waiter w = { .next = h->waiters };
	int rc;

	h->waiters = &w;
	rc = completion_wait(&w.done, "dns", deadline_ms);
	if (rc == 0) {
		memcpy(text, w.text, sizeof(w.text));
		return w.rc;
	}
	for (struct http_host_waiter **at = &h->waiters; *at; at = &(*at)->next)
		if (*at == &w) {
			*at = w.next;
			break;
		}
	return rc;
}

static bool is_address(const char *host)
{
	struct in6_addr room;

	return inet_pton(AF_INET, host, &room) == 1 || inet_pton(AF_INET6, host, &room) == 1;
}

int http_host_find(struct http_hosts *hs, const struct http_url *u, int64_t deadline_ms,
		   struct http_host **out, char text[160])
{
	struct http_host *h;
	int rc;

	if (is_address(u->host)) {
		*out = NULL;
		return 0;
	}
	h = look_or_add(hs, u);
	if (h->known_until_ms <= loop_now_ms())
		look_up(h);
	if (!h->address[0] && h->lookup) {
		rc = wait_for(h, deadline_ms, text);
		if (rc < 0)
			return rc;
		h = look_or_add(hs, u); /* it may have been evicted since the wake */
	}
	if (!h->address[0]) {
		memcpy(text, h->text, sizeof(h->text));
		return -EHOSTUNREACH;
	}
	*out = h;
	return 0;
}

void http_host_doubt(struct http_hosts *hs, const struct http_url *u)
{
	struct http_host *h = look(hs, u);

	if (h)
		h->known_until_ms = 0;
}

bool http_host_must_give(const struct http_host *h, int shard)
{
	const struct http_given *g = &h->given[shard];

	return strcmp(g->address, h->address) != 0 || loop_now_ms() - g->at_ms > GIVEN_MS;
}

void http_host_gave(struct http_hosts *hs, const struct http_url *u, int shard, const char *address)
{
	struct http_host *h = look(hs, u);

	if (!h)
		return;
	snprintf(h->given[shard].address, sizeof(h->given[shard].address), "%s", address);
	h->given[shard].at_ms = loop_now_ms();
}
