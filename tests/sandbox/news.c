#include "tests/sandbox/news.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/mem.h"
#include "tests/sandbox/guesty.h"
#include "tests/sandbox/tell.h"

#define UNDER_WAY_MAX 2000 /* what comes beyond is not told: partners lose news too */

struct news {
	struct news *prev, *next;
	struct co *co;
	char *url, *body;
	char secret[64], id[ID_LEN + 8];
};

static struct news *first;
static int under_way;

static void news_end(struct news *n)
{
	if (n->prev)
		n->prev->next = n->next;
	else
		first = n->next;
	if (n->next)
		n->next->prev = n->prev;
	under_way--;
	free(n->url);
	free(n->body);
	free(n);
}

static void send(void *arg)
{
	static const int waits_ms[] = { 0, 1000, 2000, 4000, 8000, 15000, 30000, 60000 };
	struct news *n = arg;
	struct buf answer = BUF_INIT;
	int status = 0;

	for (size_t i = 0; i < ARRAY_LEN(waits_ms) && status / 100 != 2; i++) {
		if (co_is_cancelled() || co_sleep("news", waits_ms[i]) < 0)
			break;
		buf_reset(&answer);
		status = tell_once(n->url, n->secret, n->id, n->body, &answer);
	}
	buf_clear(&answer);
	news_end(n);
}

static void news_begin(const struct subscription *s, const char *body)
{
	struct news *n = mem_new(struct news);

	n->url = mem_strdup(s->url);
	n->body = mem_strdup(body);
	snprintf(n->secret, sizeof(n->secret), "%s", s->secret);
	memcpy(n->id, "msg_", 4);
	id_new(n->id + 4);
	n->next = first;
	if (first)
		first->prev = n;
	first = n;
	under_way++;
	n->co = co_spawn("news", send, n);
	if (!n->co)
		news_end(n);
}

/* As Guesty names them; NULL: it tells nobody. */
static const char *event_name(const char *noun, enum change what)
{
	static const char *const listing[] = { "listing.new", "listing.updated",
					       "listing.removed" };
	static const char *const stay[] = { "reservation.created.v2", "reservation.updated.v2",
					    NULL };

	return strcmp(noun, "listing") == 0 ? listing[what] : stay[what];
}

void news_of(int account, const char *noun, enum change what, const cJSON *item)
{
	const char *event = event_name(noun, what);
	const struct subscription *s = NULL;
	struct buf body = BUF_INIT;

	if (event)
		tell_body(event, noun, item, &body);
	while (event && under_way < UNDER_WAY_MAX && (s = subscription_next(s, account)))
		if (subscription_wants(s, event))
			news_begin(s, body.data);
	buf_clear(&body);
}

void news_cancel(void)
{
	for (struct news *n = first; n; n = n->next)
		co_cancel(n->co);
}

int news_under_way(void)
{
	return under_way;
}
