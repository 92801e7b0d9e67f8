/* What this process knows of the breakers: found by partner and host, read from Redis once a second while calls are
 * made. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "common/queue/breaker_impl.h"

#define REFRESH_MS 1000
#define STALE_MS 2500 /* what was read longer ago is read anew before the call */

const char *breaker_state_name(enum breaker_state s)
{
	static const char *const names[] = { "closed", "half_open", "open" };

	return names[s];
}

enum breaker_state breaker_state_parse(const char *s, size_t n)
{
	if (n == 4 && memcmp(s, "open", 4) == 0)
		return BREAKER_OPEN;
	return n == 9 && memcmp(s, "half_open", 9) == 0 ? BREAKER_HALF_OPEN : BREAKER_CLOSED;
}

void breaker_entry_parse(const char *text, enum breaker_state *state, int64_t *until_ms)
{
	size_t n = strcspn(text, " ");

	*state = breaker_state_parse(text, n);
	*until_ms = strtoll(text + n, NULL, 10);
}

/* ---- what Redis knows ---- */

static struct breaker *find(struct breakers *all, const char *partner, const char *host,
			    struct breaker ***bucket)
{
	uint64_t h = crypto_hash64(host, strlen(host), crypto_hash64(partner, strlen(partner), 0));
	struct breaker *b;

	*bucket = &all->buckets[h % BREAKER_BUCKETS];
	for (b = **bucket; b; b = b->next)
		if (strcmp(b->host, host) == 0 && strcmp(b->partner->name, partner) == 0)
			return b;
	return NULL;
}

static void forget(struct breaker *b)
{
	b->state = BREAKER_CLOSED;
	b->until_ms = 0;
	b->listed = b->in_a_row = false;
}

static void index_read(struct breaker_partner *p, const redisReply *reply)
{
	struct breaker *b, **bucket;

	p->read_ms = loop_now_ms();
	for (b = p->first; b; b = b->next_of_partner)
		b->seen = false;
	for (size_t i = 0; i + 1 < reply->elements; i += 2) {
		b = find(p->all, p->name, reply->element[i]->str, &bucket);
		if (!b)
			continue;
		b->seen = b->listed = true;
		breaker_entry_parse(reply->element[i + 1]->str, &b->state, &b->until_ms);
	}
	for (b = p->first; b; b = b->next_of_partner)
		if (!b->seen && b->listed)
			forget(b);
}

/* ---- keeping up ---- */

static void on_index(int rc, redisReply *reply, const char *text, void *arg)
{
	struct breaker_reading *reading = arg;
	struct breaker_partner *p = reading->partner;

	if (p) {
		p->reading = NULL;
		if (rc == 0 && reply_is(reply, REDIS_REPLY_ARRAY))
			index_read(p, reply);
	}
	freeReplyObject(reply);
	free(reading);
}

static void index_ask(struct breaker_partner *p)
{
	struct redis_args a;

	if (p->reading)
		return;
	p->reading = mem_new(struct breaker_reading);
	p->reading->partner = p;
	redis_args_init(&a);
	redis_arg(&a, "HGETALL");
	redis_arg(&a, p->index);
	redis_send(p->all->r, &a, on_index, p->reading);
	redis_args_clear(&a);
}

static bool has_news(const struct breaker *b)
{
	for (int i = 0; b->listed && b->state == BREAKER_CLOSED && i < BREAKER_SLOTS; i++)
		if (b->ok[i].n)
			return true;
	return false;
}

static void on_timer(void *arg)
{
	struct breakers *all = arg;
	bool used = false;

	for (struct breaker_partner *p = all->partners; p; p = p->next) {
		if (loop_now_ms() - p->used_ms > STALE_MS)
			continue;
		used = true;
		for (struct breaker *b = p->first; b; b = b->next_of_partner)
			if (has_news(b))
				breaker_tell_ok(b);
		index_ask(p);
	}
	if (used)
		loop_timer_set(all->timer, REFRESH_MS);
}

/* Nobody looked for a while: what this process believes may be long over. */
void breaker_catch_up(struct breaker_partner *p)
{
	redisReply *reply = NULL;

	if (p->read_ms && loop_now_ms() - p->read_ms < STALE_MS)
		return;
	if (redis_callv(p->all->r, &reply, loop_now_ms() + BREAKER_REDIS_MS, NULL, "HGETALL",
			p->index, NULL) == 0 &&
	    reply_is(reply, REDIS_REPLY_ARRAY))
		index_read(p, reply);
	freeReplyObject(reply);
}

void breaker_keep_up(struct breaker_partner *p)
{
	p->used_ms = loop_now_ms();
	if (!loop_timer_pending(p->all->timer))
		loop_timer_set(p->all->timer, REFRESH_MS);
}

/* ---- the outside ---- */

struct breakers *breakers_new(struct redis *r)
{
	struct breakers *all = mem_new(struct breakers);

	all->r = r;
	all->timer = loop_timer_new(on_timer, all);
	return all;
}

static void partner_free(struct breaker_partner *p)
{
	if (p->reading)
		p->reading->partner = NULL;
	for (struct breaker *b = p->first, *next; b; b = next) {
		next = b->next_of_partner;
		free(b->host);
		free(b->key);
		free(b);
	}
	free(p);
}

void breakers_free(struct breakers *all)
{
	if (!all)
		return;
	for (struct breaker_partner *p = all->partners, *next; p; p = next) {
		next = p->next;
		partner_free(p);
	}
	loop_timer_free(all->timer);
	free(all);
}

static struct breaker_partner *partner_of(struct breakers *all, const char *name)
{
	struct breaker_partner *p = all->partners;

	while (p && strcmp(p->name, name) != 0)
		p = p->next;
	if (p)
		return p;
	p = mem_new(struct breaker_partner);
	p->all = all;
	snprintf(p->name, sizeof(p->name), "%s", name);
	snprintf(p->index, sizeof(p->index), "breaker:{%s}", name);
	p->next = all->partners;
	all->partners = p;
	return p;
}

struct breaker *breaker_of(struct breakers *all, const char *partner, const char *host)
{
	struct breaker **bucket, *b = find(all, partner, host, &bucket);

	if (b)
		return b;
	b = mem_new(struct breaker);
	b->partner = partner_of(all, partner);
	b->host = mem_strdup(host);
	b->key = mem_printf("breaker:{%s}:%s", partner, host);
	b->next = *bucket;
	*bucket = b;
	b->next_of_partner = b->partner->first;
	b->partner->first = b;
	b->partner->read_ms = 0; /* what was read had no place for it */
	return b;
}
