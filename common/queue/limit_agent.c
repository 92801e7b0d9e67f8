#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "common/queue/limit_impl.h"

#define AGENT_IDLE_MS (10 * 60 * 1000)
#define SWEEP_MS (60 * 1000)
#define SIGNATURE_MAX (PARTNER_MAX + LIMIT_SCOPES_MAX * 161 + 2)

static void agent_keys(struct limit_agent *a)
{
	static const char *const suffix[] = { "", ":flight", ":hold", ":run" };

	a->since = mem_printf("limit:{%s}:since", a->partner);
	for (int i = 0; i < a->n_scopes; i++) {
		for (int k = 0; k < 4; k++)
			a->keys[i][k] = mem_printf("limit:{%s}:%s%s", a->partner, a->scopes[i].name,
						   suffix[k]);
	}
}

void agent_free(struct limit_agent *a)
{
	if (a->call)
		a->call->agent = NULL;
	for (int i = 0; i < a->n_scopes; i++) {
		for (int k = 0; k < 4; k++)
			free(a->keys[i][k]);
	}
	loop_timer_free(a->timer);
	buf_clear(&a->released.bytes);
	buf_clear(&a->refunded.bytes);
	free(a->since);
	free(a->signature);
	free(a);
}

static bool agent_is_idle(const struct limit_agent *a, int64_t now_ms)
{
	return !a->first && !a->call && !a->permits && !a->dirty &&
	       now_ms - a->used_ms > AGENT_IDLE_MS;
}

/* 20,000 integrations come and go: those unused for long are forgotten here; Redis remembers. */
static void sweep(struct limiter *l)
{
	int64_t now_ms = loop_now_ms();

	if (now_ms - l->swept_ms < SWEEP_MS)
		return;
	l->swept_ms = now_ms;
	for (int i = 0; i < LIMIT_BUCKETS; i++) {
		for (struct limit_agent **p = &l->buckets[i]; *p;) {
			struct limit_agent *a = *p;

			if (agent_is_idle(a, now_ms)) {
				*p = a->next;
				agent_free(a);
			} else {
				p = &a->next;
			}
		}
	}
}

static void on_timer(void *arg)
{
	struct limit_agent *a = arg;

	a->next_ms = 0;
	agent_ask(a);
}

static struct limit_agent *agent_new(struct limiter *l, const struct limit_set *set,
				     const char *signature)
{
	struct limit_agent *a = mem_new(struct limit_agent);

	a->limiter = l;
	a->signature = mem_strdup(signature);
	snprintf(a->partner, sizeof(a->partner), "%s", set->partner);
	a->n_scopes = set->n_scopes;
	memcpy(a->scopes, set->scopes, sizeof(set->scopes[0]) * (size_t)set->n_scopes);
	agent_keys(a);
	a->timer = loop_timer_new(on_timer, a);
	return a;
}

struct limit_agent *agent_of(struct limiter *l, const struct limit_set *set)
{
	char signature[SIGNATURE_MAX];
	int n = snprintf(signature, sizeof(signature), "%s", set->partner);

	for (int i = 0; i < set->n_scopes; i++)
		n += snprintf(signature + n, sizeof(signature) - (size_t)n, "\n%s",
			      set->scopes[i].name);
	struct limit_agent **bucket =
		&l->buckets[crypto_hash64(signature, (size_t)n, 0) % LIMIT_BUCKETS];
	for (struct limit_agent *a = *bucket; a; a = a->next) {
		if (strcmp(a->signature, signature) == 0) {
			/* A manifest that was read anew may have other tiers for the same keys. */
			memcpy(a->scopes, set->scopes,
			       sizeof(set->scopes[0]) * (size_t)set->n_scopes);
			return a;
		}
	}
	sweep(l);
	struct limit_agent *a = agent_new(l, set, signature);
	a->next = *bucket;
	*bucket = a;
	return a;
}

/* ---- giving back ---- */

static void tokens_send(struct limiter *l, const char *key, const struct tokens *a,
			const struct tokens *b)
{
	struct redis_args args;
	const struct tokens *both[] = { a, b };

	redis_args_init(&args);
	redis_arg(&args, "ZREM");
	redis_arg(&args, key);
	for (int i = 0; i < 2; i++) {
		for (size_t at = 0; both[i] && at < both[i]->bytes.len;) {
			const char *token = both[i]->bytes.data + at;

			redis_arg(&args, token);
			at += strlen(token) + 1;
		}
	}
	if (args.n > 2)
		redis_send(l->r, &args, NULL, NULL);
	redis_args_clear(&args);
}

static void agent_flush(struct limit_agent *a)
{
	for (int i = 0; i < a->n_scopes; i++) {
		if (a->scopes[i].flight > 0)
			tokens_send(a->limiter, a->keys[i][1], &a->released, &a->refunded);
		if (a->scopes[i].n_tiers > 0)
			tokens_send(a->limiter, a->keys[i][0], NULL, &a->refunded);
	}
	buf_reset(&a->released.bytes);
	buf_reset(&a->refunded.bytes);
	a->dirty = false;
	/* Freed places may be what the row waits for, and the same connection keeps the order. */
	if (a->first)
		agent_ask(a);
}

void limit_flush(void *arg)
{
	struct limiter *l = arg;

	if (!redis_is_up(l->r)) {
		loop_timer_set(l->flush, DOWN_RETRY_MS);
		return;
	}
	while (l->dirty) {
		struct limit_agent *a = l->dirty;

		l->dirty = a->next_dirty;
		agent_flush(a);
	}
}

void limit_give_back(struct limit_agent *a, struct tokens *to, const char *token)
{
	struct limiter *l = a->limiter;

	buf_append(&to->bytes, token, strlen(token) + 1);
	if (a->dirty)
		return;
	a->dirty = true;
	a->next_dirty = l->dirty;
	l->dirty = a;
	if (!loop_timer_pending(l->flush))
		loop_timer_set(l->flush, 0);
}

void limiter_release(struct limiter *l, struct permit *p)
{
	if (!p->agent)
		return;
	p->agent->permits--;
	if (p->flight)
		limit_give_back(p->agent, &p->agent->released, p->token);
	memset(p, 0, sizeof(*p));
}

void limiter_refund(struct limiter *l, struct permit *p)
{
	if (!p->agent)
		return;
	p->agent->permits--;
	limit_give_back(p->agent, &p->agent->refunded, p->token);
	memset(p, 0, sizeof(*p));
}
