#include "tests/sandbox/news.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/io/co.h"

#define UNDER_WAY_MAX 2000 /* what comes beyond is not told: partners lose news too */

struct news {
	struct news *prev, *next;
	struct co *co;
	const struct teller *by;
	char *url, *body;
	char login[64], secret[64], id[ID_LEN + 8];
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
	const struct telling t = {
		.url = n->url, .login = n->login, .secret = n->secret, .body = n->body, .id = n->id
	};
	struct buf answer = BUF_INIT;
	int status = 0;

	for (size_t i = 0; i < ARRAY_LEN(waits_ms) && status / 100 != 2; i++) {
		if (co_is_cancelled() || co_sleep("news", waits_ms[i]) < 0)
			break;
		buf_reset(&answer);
		status = n->by->send(&t, &answer);
		if (n->by->gives_up(status, (int)i + 1))
			break;
	}
	buf_clear(&answer);
	news_end(n);
}

void news_tell(const struct teller *by, const struct telling *t)
{
	struct news *n;

	if (under_way >= UNDER_WAY_MAX)
		return;
	n = mem_new(struct news);
	n->by = by;
	n->url = mem_strdup(t->url);
	n->body = mem_strdup(t->body);
	snprintf(n->login, sizeof(n->login), "%s", t->login);
	snprintf(n->secret, sizeof(n->secret), "%s", t->secret);
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

static void tell(const struct subscription *s, struct account *a, const char *event,
		 const char *noun, const cJSON *item)
{
	struct buf body = BUF_INIT;

	s->by->body(a, event, noun, item, &body);
	news_tell(s->by, &(struct telling){ .url = s->url,
					    .login = s->login,
					    .secret = s->secret,
					    .body = buf_str(&body) });
	buf_clear(&body);
}

void news_of(struct account *a, const char *noun, enum change what, const cJSON *item,
	     const cJSON *fields)
{
	const struct subscription *s = NULL;
	const char *names[TELL_EVENTS_MAX];

	while ((s = subscription_next(s, NULL, a->number))) {
		int n = s->off ? 0 : s->by->events(noun, what, fields, names);

		for (int i = 0; i < n; i++)
			if (subscription_wants(s, names[i]))
				tell(s, a, names[i], noun, item);
	}
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
